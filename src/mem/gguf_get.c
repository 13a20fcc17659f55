/* The getters of GGUF metadata: numbers of any width, strings, arrays. All are const look-ups, so any number of threads may use them at once
 * (not during mp_gguf_drop_arrays). */
#include "mem/gguf_int.h"

#include <string.h>

/* A number of the file, whatever its type was. */
typedef struct number {
    enum { NONE, NATURAL, NEGATIVE, REAL } kind;
    uint64_t natural;
    int64_t  negative;
    double   real;
} number;

static uint64_t load(const unsigned char *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++) {
        v |= (uint64_t)p[i] << 8 * i;
    }
    return v;
}

static number of_signed(uint64_t bits, int bytes)
{
    uint64_t sign = (uint64_t)1 << (8 * bytes - 1);
    int64_t  v = (int64_t)((bits ^ sign) - sign); /* sign-extends */
    return v < 0 ? (number){ .kind = NEGATIVE, .negative = v } : (number){ .kind = NATURAL, .natural = (uint64_t)v };
}

static number decode(uint32_t type, const unsigned char *p)
{
    int      bytes = mp_gguf_number_bytes(type);
    uint64_t bits = load(p, bytes);
    uint32_t bits32 = (uint32_t)bits;
    number   out = { 0 };
    float    single;
    switch (type) {
    case MP_GGUF_BOOL:
        return (number){ .kind = NATURAL, .natural = bits != 0 };
    case MP_GGUF_U8: case MP_GGUF_U16: case MP_GGUF_U32: case MP_GGUF_U64:
        return (number){ .kind = NATURAL, .natural = bits };
    case MP_GGUF_I8: case MP_GGUF_I16: case MP_GGUF_I32: case MP_GGUF_I64:
        return of_signed(bits, bytes);
    case MP_GGUF_F32:
        memcpy(&single, &bits32, sizeof single);
        return (number){ .kind = REAL, .real = (double)single };
    case MP_GGUF_F64:
        out.kind = REAL;
        memcpy(&out.real, &bits, sizeof out.real);
        return out;
    default:
        return out;
    }
}

static double to_real(number v)
{
    return v.kind == NATURAL ? (double)v.natural : v.kind == NEGATIVE ? (double)v.negative : v.real;
}

static number scalar(const mp_gguf_meta *meta, const char *key)
{
    const mp_gguf_kv *kv = mp_gguf_meta_find(meta, key);
    bool              usable = kv && kv->type != MP_GGUF_STRING && kv->type != MP_GGUF_ARRAY;
    return usable ? decode(kv->type, kv->value.raw) : (number){ .kind = NONE };
}

bool mp_gguf_meta_u64(const mp_gguf_meta *meta, const char *key, uint64_t *out)
{
    number v = scalar(meta, key);
    if (v.kind != NATURAL) {
        return false;
    }
    *out = v.natural;
    return true;
}

bool mp_gguf_u64(const mp_gguf *g, const char *key, uint64_t *out)
{
    return mp_gguf_meta_u64(&g->meta, key, out);
}

bool mp_gguf_i64(const mp_gguf *g, const char *key, int64_t *out)
{
    number v = scalar(&g->meta, key);
    if (v.kind == NEGATIVE) {
        *out = v.negative;
    } else if (v.kind == NATURAL && v.natural <= INT64_MAX) {
        *out = (int64_t)v.natural;
    } else {
        return false;
    }
    return true;
}

bool mp_gguf_f64(const mp_gguf *g, const char *key, double *out)
{
    number v = scalar(&g->meta, key);
    if (v.kind == NONE) {
        return false;
    }
    *out = to_real(v);
    return true;
}

bool mp_gguf_bool(const mp_gguf *g, const char *key, bool *out)
{
    number v = scalar(&g->meta, key);
    if (v.kind != NATURAL || v.natural > 1) {
        return false;
    }
    *out = v.natural == 1;
    return true;
}

bool mp_gguf_str(const mp_gguf *g, const char *key, mp_str *out)
{
    const mp_gguf_kv *kv = mp_gguf_meta_find(&g->meta, key);
    if (!kv || kv->type != MP_GGUF_STRING) {
        return false;
    }
    *out = kv->value.text;
    return true;
}

int64_t mp_gguf_array_len(const mp_gguf *g, const char *key)
{
    const mp_gguf_kv *kv = mp_gguf_meta_find(&g->meta, key);
    return kv && kv->type == MP_GGUF_ARRAY ? kv->value.items.n : -1;
}

bool mp_gguf_array_get(const mp_gguf *g, const char *key, mp_gguf_array *out)
{
    const mp_gguf_kv *kv = mp_gguf_meta_find(&g->meta, key);
    if (!kv || kv->type != MP_GGUF_ARRAY || !kv->value.items.bytes) {
        return false;
    }
    *out = (mp_gguf_array){ .impl = &kv->value.items, .n = kv->value.items.n, .type = kv->value.items.type };
    return true;
}

mp_str mp_gguf_array_str_at(const mp_gguf_array *a, int64_t i)
{
    const mp_gguf_items *items = a->impl;
    if (a->type != MP_GGUF_STRING || !items->bytes || i < 0 || i >= a->n) {
        return (mp_str){ 0 };
    }
    return (mp_str){ (const char *)items->bytes + items->offset[i], items->offset[i + 1] - items->offset[i] };
}

double mp_gguf_array_f64_at(const mp_gguf_array *a, int64_t i)
{
    const mp_gguf_items *items = a->impl;
    if (a->type == MP_GGUF_STRING || !items->bytes || i < 0 || i >= a->n) {
        return 0;
    }
    return to_real(decode(a->type, items->bytes + i * mp_gguf_number_bytes(a->type)));
}

bool mp_gguf_array_str(const mp_gguf *g, const char *key, int64_t i, mp_str *out)
{
    mp_gguf_array a;
    if (!mp_gguf_array_get(g, key, &a) || a.type != MP_GGUF_STRING || i < 0 || i >= a.n) {
        return false;
    }
    *out = mp_gguf_array_str_at(&a, i);
    return true;
}

bool mp_gguf_array_f64(const mp_gguf *g, const char *key, int64_t i, double *out)
{
    mp_gguf_array a;
    if (!mp_gguf_array_get(g, key, &a) || a.type == MP_GGUF_STRING || i < 0 || i >= a.n) {
        return false;
    }
    *out = mp_gguf_array_f64_at(&a, i);
    return true;
}

void mp_gguf_drop_arrays(mp_gguf *g)
{
    enum { SMALL = 1024 }; /* per-layer arrays stay; no model has so many layers */
    for (int64_t i = 0; i < g->meta.n; i++) {
        mp_gguf_kv *kv = &g->meta.kv[i];
        if (kv->type == MP_GGUF_ARRAY && kv->value.items.n > SMALL) {
            MP_FREE(kv->value.items.bytes);
            MP_FREE(kv->value.items.offset);
        }
    }
}
