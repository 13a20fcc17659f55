#include "model/config.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "num/kern.h"

static void key_of(const char *arch, const char *name, char out[160])
{
    snprintf(out, 160, "%s.%s", arch, name);
}

bool mp_config_int(const mp_gguf *g, const char *arch, const char *name, int *out)
{
    char key[160];
    int64_t v;
    key_of(arch, name, key);
    if (!mp_gguf_i64(g, key, &v) || v < INT_MIN || v > INT_MAX)
        return false;
    *out = (int)v;
    return true;
}

bool mp_config_float(const mp_gguf *g, const char *arch, const char *name, double *out)
{
    char key[160];
    key_of(arch, name, key);
    return mp_gguf_f64(g, key, out);
}

static mp_err need(const mp_gguf *g, const char *arch, const char *name, int *out)
{
    if (!mp_config_int(g, arch, name, out))
        return mp_fail(MP_E_MODEL, "the metadata lack '%s.%s'", arch, name);
    if (*out <= 0)
        return mp_fail(MP_E_MODEL, "the metadata's '%s.%s' is %d; it must be positive", arch, name, *out);
    return MP_OK;
}

/* A number that may be given once or once per layer, then all equal. */
static mp_err same_for_all(const mp_gguf *g, const char *arch, const char *name, int *out)
{
    char key[160];
    key_of(arch, name, key);
    int64_t n = mp_gguf_array_len(g, key);
    if (n < 0)
        return MP_OK; /* a plain number, or absent: the caller reads it */
    for (int64_t i = 0; i < n; i++) {
        double v = 0;
        if (!mp_gguf_array_f64(g, key, i, &v) || !(v > 0) || v > INT_MAX || v != floor(v))
            return mp_fail(MP_E_MODEL, "element %lld of the metadata's '%s' is not a positive number", (long long)i, key);
        if (i && (int)v != *out)
            return mp_fail(MP_E_MODEL, "the metadata's '%s' differs between layers, which moped does not support yet", key);
        *out = (int)v;
    }
    return MP_OK;
}

static mp_err read_heads(const mp_gguf *g, const char *arch, mp_config *c)
{
    int k = 0, v = 0;
    mp_err err = same_for_all(g, arch, "attention.head_count", &c->heads);
    if (!err && !c->heads)
        err = need(g, arch, "attention.head_count", &c->heads);
    if (!err)
        err = same_for_all(g, arch, "attention.head_count_kv", &c->kv_heads);
    if (err)
        return err;
    if (!c->kv_heads && !mp_config_int(g, arch, "attention.head_count_kv", &c->kv_heads))
        c->kv_heads = c->heads;
    if (c->kv_heads <= 0 || c->heads % c->kv_heads)
        return mp_fail(MP_E_MODEL, "%d query heads cannot share %d KV heads", c->heads, c->kv_heads);
    if (!mp_config_int(g, arch, "attention.key_length", &k))
        k = c->width / c->heads;
    if (!mp_config_int(g, arch, "attention.value_length", &v))
        v = k;
    if (k <= 0 || k > 4096 || k % 2)
        return mp_fail(MP_E_MODEL, "a head size of %d is not usable", k);
    if (k != v)
        return mp_fail(MP_E_MODEL, "key and value heads of different sizes (%d and %d) are not supported for '%s'", k, v, arch);
    c->head_dim = k;
    return MP_OK;
}

static bool is(mp_str s, const char *word)
{
    return s.n == strlen(word) && !memcmp(s.s, word, s.n);
}

static mp_err read_rope(const mp_gguf *g, const char *arch, mp_config *c)
{
    mp_rope_config *r = &c->rope;
    mp_str type = { 0 };
    char key[160];
    double factor = 0, attn = 0;
    *r = (mp_rope_config){ .mode = MP_ROPE_NEOX, .base = 10000.0, .factor = 1.0, .beta_fast = 32, .beta_slow = 1, .attn_factor = 1.0, .dims = c->head_dim };
    r->original_ctx = c->ctx_train; /* what is meant when the key is missing */
    mp_config_int(g, arch, "rope.dimension_count", &r->dims);
    mp_config_float(g, arch, "rope.freq_base", &r->base);
    mp_config_float(g, arch, "rope.scaling.original_context_length", &r->original_ctx);
    mp_config_float(g, arch, "rope.scaling.yarn_beta_fast", &r->beta_fast);
    mp_config_float(g, arch, "rope.scaling.yarn_beta_slow", &r->beta_slow);
    if (mp_config_float(g, arch, "rope.scaling.factor", &factor) || mp_config_float(g, arch, "rope.scale_linear", &factor))
        r->factor = factor > 0 ? factor : 1.0;
    if (r->dims <= 0 || r->dims > c->head_dim || r->dims % 2 || !(r->base > 0) || isinf(r->base))
        return mp_fail(MP_E_MODEL, "the rotary settings are not usable (%d dimensions of %d, base %g)", r->dims, c->head_dim, r->base);
    key_of(arch, "rope.scaling.type", key);
    bool typed = mp_gguf_str(g, key, &type);
    if (typed && is(type, "yarn") && r->factor != 1.0) {
        r->scaling = MP_ROPE_YARN;
        r->attn_factor = 0.1 * log(r->factor) + 1.0;
        if (!(r->original_ctx > 0))
            return mp_fail(MP_E_MODEL, "the metadata's '%s.rope.scaling.original_context_length' is %g", arch, r->original_ctx);
    } else if (!typed || is(type, "linear")) {
        r->scaling = r->factor != 1.0 ? MP_ROPE_LINEAR : MP_ROPE_PLAIN;
    } else if (!is(type, "yarn") && !is(type, "none")) {
        return mp_fail(MP_E_MODEL, "rotary scaling of type '%.*s' is not supported", (int)(type.n < 64 ? type.n : 64), type.s);
    }
    if (mp_config_float(g, arch, "rope.scaling.attn_factor", &attn) && attn > 0)
        r->attn_factor *= attn; /* beside YaRN's own, as those who write the key mean it */
    return MP_OK;
}

/* Files of before the key for the experts' width: the stacked tensor [E,F,D] of the first layer that has one says; 0: none does. */
static int width_of_stack(const mp_gguf *g, int layers)
{
    for (int i = 0; i < layers; i++) {
        char name[64];
        snprintf(name, sizeof(name), "blk.%d.ffn_gate_exps.weight", i);
        const mp_gguf_tensor *t = mp_gguf_find(g, name);
        if (t)
            return t->rank == 3 && t->shape[1] <= INT_MAX ? (int)t->shape[1] : 0;
    }
    return 0;
}

static mp_err read_experts(const mp_gguf *g, const char *arch, mp_config *c)
{
    double scale = 1.0;
    int gating = 0;
    char key[160];
    c->expert_scale = 1.0f;
    if (!mp_config_int(g, arch, "expert_count", &c->experts) || c->experts == 0) {
        c->experts = 0;
        return MP_OK;
    }
    mp_err err = need(g, arch, "expert_used_count", &c->experts_used);
    if (err)
        return err;
    if (c->experts < 0 || c->experts > 65535 || c->experts_used > c->experts)
        return mp_fail(MP_E_MODEL, "the metadata ask for %d of %d experts per token", c->experts_used, c->experts);
    if (mp_config_int(g, arch, "expert_gating_func", &gating) && gating != 0 && gating != 1)
        return mp_fail(MP_E_MODEL, "the metadata's '%s.expert_gating_func' is %d; only softmax (1) is supported for this architecture", arch, gating);
    if (!mp_config_int(g, arch, "expert_feed_forward_length", &c->expert_ff) && !(c->expert_ff = width_of_stack(g, c->layers)))
        c->expert_ff = c->ff;
    if (c->expert_ff <= 0)
        return mp_fail(MP_E_MODEL, "the metadata lack '%s.expert_feed_forward_length'", arch);
    mp_config_int(g, arch, "expert_shared_feed_forward_length", &c->shared_ff);
    if (c->shared_ff < 0)
        return mp_fail(MP_E_MODEL, "the metadata's '%s.expert_shared_feed_forward_length' is %d", arch, c->shared_ff);
    key_of(arch, "expert_weights_norm", key);
    mp_gguf_bool(g, key, &c->renorm); /* written by some; a family that always does it says so itself */
    if (mp_config_float(g, arch, "expert_weights_scale", &scale) && scale > 0)
        c->expert_scale = (float)scale;
    return MP_OK;
}

static mp_err check_widths(const mp_config *c)
{
    int most = c->heads * c->head_dim;
    const int widths[] = { c->width, c->ff, c->expert_ff, c->shared_ff };
    for (int i = 0; i < 4; i++)
        most = widths[i] > most ? widths[i] : most;
    return most <= MP_MM_COLS ? MP_OK : mp_fail(MP_E_MODEL, "the model has rows of %d weights; moped multiplies with %d at most", most, MP_MM_COLS);
}

mp_err mp_config_read(const mp_gguf *g, const char *arch, mp_config *out)
{
    double eps = 0, scale = 0;
    mp_config c = { .arch = arch };
    *out = (mp_config){ 0 };
    const mp_gguf_tensor *embd = mp_gguf_find(g, "token_embd.weight");
    mp_err err = need(g, arch, "block_count", &c.layers);
    if (!err)
        err = need(g, arch, "embedding_length", &c.width);
    if (!err)
        err = need(g, arch, "context_length", &c.ctx_train);
    if (!err)
        err = read_heads(g, arch, &c);
    if (!err)
        err = read_rope(g, arch, &c);
    if (!err)
        err = same_for_all(g, arch, "feed_forward_length", &c.ff);
    if (err)
        return err;
    if (!c.ff)
        mp_config_int(g, arch, "feed_forward_length", &c.ff);
    if (c.layers > 10000 || c.width > 1 << 20)
        return mp_fail(MP_E_MODEL, "%d layers of width %d are not plausible", c.layers, c.width);
    if (!mp_config_float(g, arch, "attention.layer_norm_rms_epsilon", &eps))
        return mp_fail(MP_E_MODEL, "the metadata lack '%s.attention.layer_norm_rms_epsilon'", arch);
    if (!(eps >= 0) || eps > 1)
        return mp_fail(MP_E_MODEL, "the metadata's '%s.attention.layer_norm_rms_epsilon' is %g", arch, eps);
    c.eps = (float)eps;
    if (mp_config_float(g, arch, "attention.scale", &scale))
        c.attn_scale = (float)scale;
    mp_config_int(g, arch, "attention.sliding_window", &c.window);
    if (c.window < 0)
        return mp_fail(MP_E_MODEL, "the metadata's '%s.attention.sliding_window' is %d", arch, c.window);
    if (!embd || embd->rank != 2 || embd->shape[0] > INT_MAX)
        return mp_fail(MP_E_MODEL, "the file has no usable tensor 'token_embd.weight'");
    c.vocab = (int)embd->shape[0];
    err = read_experts(g, arch, &c);
    if (!err)
        err = check_widths(&c);
    if (!err)
        *out = c;
    return err;
}

/* Source: models.md 0.3; YaRN is Peng et al., 2023. */
void mp_rope_table(const mp_rope_config *rope, const float *divisors, float *inv_freq)
{
    double R = rope->dims, lo = 0, hi = 0;
    if (rope->scaling == MP_ROPE_YARN) {
        double turn = 2.0 * log(rope->base);
        lo = floor(R * log(rope->original_ctx / (2.0 * acos(-1.0) * rope->beta_fast)) / turn);
        hi = ceil(R * log(rope->original_ctx / (2.0 * acos(-1.0) * rope->beta_slow)) / turn);
        lo = lo > 0 ? lo : 0;
        hi = hi < R - 1 ? hi : R - 1;
    }
    for (int i = 0; i < rope->dims / 2; i++) {
        double f = pow(rope->base, -2.0 * i / R);
        if (rope->scaling == MP_ROPE_LINEAR)
            f /= rope->factor;
        if (rope->scaling == MP_ROPE_YARN) {
            double ramp = (i - lo) / (hi > lo ? hi - lo : 0.001);
            ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
            f = f * (1.0 - ramp) + f / rope->factor * ramp;
        }
        inv_freq[i] = (float)(divisors ? f / (double)divisors[i] : f);
    }
}
