/* Which tensor gets which type, as llama.cpp's quantizer decides it without an importance matrix: some layers of attn_v and ffn_down and the head take
 * more bits. Source: the rules of llama-quant.cpp (llama.cpp, 2026), written anew; a cut shape is treated as a model of so many layers. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "model/synth_int.h"

enum { FILE_F32 = 0, FILE_F16 = 1, FILE_Q4_0 = 2, FILE_Q8_0 = 7, FILE_Q2_K = 10, FILE_Q3_K_M = 12, FILE_Q4_K_S = 14, FILE_Q4_K_M = 15, FILE_Q5_K_M = 17,
       FILE_Q6_K = 18, FILE_IQ4_XS = 30, FILE_BF16 = 32 };

static const mp_mix MIXES[] = {
    { "Q4_K_M", MP_Q4_K, FILE_Q4_K_M }, { "Q4_K_S", MP_Q4_K, FILE_Q4_K_S }, { "Q5_K_M", MP_Q5_K, FILE_Q5_K_M }, { "Q6_K", MP_Q6_K, FILE_Q6_K },
    { "Q8_0", MP_Q8_0, FILE_Q8_0 }, { "Q4_0", MP_Q4_0, FILE_Q4_0 }, { "IQ4_XS", MP_IQ4_XS, FILE_IQ4_XS }, { "Q3_K_M", MP_Q3_K, FILE_Q3_K_M },
    { "Q2_K", MP_Q2_K, FILE_Q2_K }, { "F16", MP_F16, FILE_F16 }, { "BF16", MP_BF16, FILE_BF16 }, { "F32", MP_F32, FILE_F32 },
};

const mp_mix *mp_mix_at(int i)
{
    return i >= 0 && i < (int)(sizeof(MIXES) / sizeof(*MIXES)) ? &MIXES[i] : NULL;
}

const char *mp_mix_name(const mp_mix *m)
{
    return m->name;
}

mp_err mp_mix_find(const char *name, const mp_mix **out)
{
    char all[256] = "";
    *out = NULL;
    for (int i = 0; mp_mix_at(i); i++) {
        if (!name || !strcasecmp(name, MIXES[i].name)) {
            *out = &MIXES[i];
            return MP_OK;
        }
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "", MIXES[i].name);
    }
    return mp_fail(MP_E_USAGE, "there is no type \"%.32s\"; these are: %s", name, all);
}

/* The first and last eighth of the layers, and every third between. */
static bool more_bits(int layer, int layers)
{
    return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

static mp_dtype of_v(const mp_mix *m, const mp_shape *s, int layer)
{
    bool shared = s->heads / s->kv_heads >= 4; /* then v is small and bits are cheap */
    mp_dtype type = m->base;
    switch (m->file_type) {
    case FILE_Q2_K: type = shared ? MP_Q4_K : MP_Q3_K; break;
    case FILE_Q3_K_M: type = layer < 2 ? MP_Q5_K : MP_Q4_K; break;
    case FILE_IQ4_XS: type = shared ? MP_Q5_K : MP_IQ4_XS; break;
    case FILE_Q4_K_M:
    case FILE_Q5_K_M: type = more_bits(layer, s->layers) ? MP_Q6_K : m->base; break;
    case FILE_Q4_K_S: type = layer < 4 ? MP_Q5_K : MP_Q4_K; break;
    default: break;
    }
    if (s->all_layers == 80 && s->heads != s->kv_heads && (type == MP_Q3_K || type == MP_Q4_K))
        type = MP_Q5_K; /* the 70B and 72B models */
    return s->experts == 8 ? MP_Q8_0 : type;
}

static mp_dtype of_down(const mp_mix *m, const mp_shape *s, int layer)
{
    int layers = s->layers;
    switch (m->file_type) {
    case FILE_Q2_K: return MP_Q3_K;
    case FILE_Q3_K_M: return layer < layers / 16 ? MP_Q5_K : MP_Q4_K;
    case FILE_Q4_K_M:
    case FILE_Q5_K_M: return more_bits(layer, layers) ? MP_Q6_K : m->base;
    case FILE_IQ4_XS:
    case FILE_Q4_K_S: return layer < layers / 8 ? MP_Q5_K : m->base;
    default: return m->base;
    }
}

static mp_dtype of_attn_out(const mp_mix *m, const mp_shape *s)
{
    bool few_bits = m->file_type == FILE_Q2_K || m->file_type == FILE_Q3_K_M || m->file_type == FILE_Q4_K_S || m->file_type == FILE_Q4_K_M || m->file_type == FILE_IQ4_XS;
    if (s->experts == 8)
        return few_bits ? MP_Q5_K : m->base;
    return m->file_type == FILE_Q2_K ? MP_Q3_K : m->file_type == FILE_Q3_K_M ? MP_Q4_K : m->base;
}

static mp_dtype wanted(const mp_mix *m, const mp_shape *s, mp_role role, int layer, int64_t cols)
{
    if (!mp_dtype_get(m->base)->quantized)
        return m->base;
    if (role == MP_ROLE_EMBD && s->tied)
        role = MP_ROLE_HEAD; /* it is both */
    switch (role) {
    case MP_ROLE_HEAD: return cols % mp_dtype_get(m->base)->block_len || m->base == MP_Q8_0 ? MP_Q8_0 : MP_Q6_K;
    case MP_ROLE_V: return of_v(m, s, layer);
    case MP_ROLE_K: return s->experts == 8 ? MP_Q8_0 : m->base;
    case MP_ROLE_DOWN: return of_down(m, s, layer);
    case MP_ROLE_ATTN_OUT: return of_attn_out(m, s);
    default: return m->base;
    }
}

/* Rows that are no whole blocks of 256 get a type with blocks of 32. */
mp_dtype mp_mix_type(const mp_mix *m, const mp_shape *s, mp_role role, int layer, int64_t cols)
{
    static const struct { mp_dtype from, to; } smaller[] = {
        { MP_Q2_K, MP_Q4_0 }, { MP_Q3_K, MP_Q4_0 }, { MP_IQ4_XS, MP_IQ4_NL }, { MP_Q4_K, MP_Q5_0 }, { MP_Q5_K, MP_Q5_1 }, { MP_Q6_K, MP_Q8_0 },
    };
    mp_dtype type = wanted(m, s, role, layer, cols);
    for (size_t i = 0; cols % mp_dtype_get(type)->block_len && i < sizeof(smaller) / sizeof(*smaller); i++)
        if (smaller[i].from == type) {
            type = smaller[i].to;
            break;
        }
    return cols % mp_dtype_get(type)->block_len ? MP_F16 : type;
}
