/* The kernel table: every inner loop that has more than one implementation. Plain C fills it; each instruction set overrides what it does
 * better; the choice is made once at start. Kernels never allocate and need no alignment beyond that of a byte.
 *
 * Numeric order (architecture.md, the invariant): activations are quantized with one scale, amax / 127, for every 16, rounding to nearest
 * even; integer dots of 16 are exact; block results are added in float32 in an order that depends on the row's length and the
 * instruction set only - the same for one token and for many.
 */
#ifndef MP_NUM_KERN_H
#define MP_NUM_KERN_H

#include "num/dtype.h"

enum { MP_Q8_BLOCK = 32, MP_Q8_SCALE = 16, MP_DOT_TOK = 4 };

/* Activations of one token, quantized: x[i] ~ d[i/16] * q[i]. Three parallel arrays inside one buffer of mp_q8_bytes(n):
 *   | float d[2*nb] | float s[nb] | int8 q[nb*32] |      nb = ceil(n/32), s[b] = what the weights' minimum of block b is multiplied by: the
 * sum of d * q over its 32. A scale for every 16 costs the kernels nothing and a quarter of the rounding error of one for 32 (bench/results/kl.md).
 * n is padded with zeros to a multiple of 32 only in q; weights' rows are always whole blocks. */
typedef struct mp_q8 {
    const float  *d, *s;
    const int8_t *q;
} mp_q8;

static inline size_t mp_q8_bytes(int64_t n) /* of one token's buffer, a multiple of 64 */
{
    size_t nb = (size_t)(n + 31) / 32;
    return (nb * 44 + 63) & ~(size_t)63;
}
static inline mp_q8 mp_q8_at(const void *buf, int64_t n)
{
    size_t nb = (size_t)(n + 31) / 32;
    const float *f = buf;
    return (mp_q8){ f, f + 2 * nb, (const int8_t *)(f + 3 * nb) };
}

typedef struct mp_kern {
    const char *name; /* "ref", "avx2", "avx512" */

    /* dst[0..n) = the weights of one row, n a multiple of the type's block. Also F32 (copy), F16, BF16. */
    void (*dequant[MP_DTYPE_COUNT])(float *dst, const void *src, int64_t n);

    /* buf (mp_q8_bytes(n)) = x quantized. Where there is a NaN or an infinity, d and s are NaN, so that it shows. */
    void (*quantize_q8)(void *buf, const float *x, int64_t n);

    /* out[t] = row . x_t for t < tok, tok in 1..MP_DOT_TOK. Quantized types: x_t is the q8 buffer at (const char *)x + t * x_stride.
     * F32, F16, BF16: x_t is float[n] at the same place. NULL for types without products (I32). */
    void (*dot[MP_DTYPE_COUNT])(float *out, const void *row, const void *x, size_t x_stride, int64_t n, int tok);

    /* Float vectors of n. Sums are taken in a fixed order. */
    float (*sum_sq)(const float *x, int64_t n);
    float (*max)(const float *x, int64_t n);
    void (*scale_mul)(float *dst, const float *x, float scale, const float *w, int64_t n); /* dst = x * scale * w (w NULL: 1) */
    void (*add)(float *dst, const float *a, const float *b, int64_t n);
    void (*axpy)(float *dst, float a, const float *x, int64_t n);                          /* dst += a * x */
    void (*silu_mul)(float *dst, const float *gate, const float *up, int64_t n);           /* dst = silu(gate) * up */
    float (*exp_sum)(float *dst, const float *x, float max, int64_t n);                    /* dst = exp(x - max); returns the sum */
    void (*to_f16)(void *dst, const float *x, int64_t n);
    /* One tile of attention: n keys or values, rows `stride` bytes apart, kv F16 or F32. */
    void (*attn_dot_f16)(float *score, const float *q, const void *k, size_t stride, int64_t n, int64_t dim);
    void (*attn_dot_f32)(float *score, const float *q, const void *k, size_t stride, int64_t n, int64_t dim);
    void (*attn_acc_f16)(float *acc, const float *p, const void *v, size_t stride, int64_t n, int64_t dim); /* acc += sum p[i] v[i] */
    void (*attn_acc_f32)(float *acc, const float *p, const void *v, size_t stride, int64_t n, int64_t dim);
} mp_kern;

/* Our own exp: relative error below 2e-7 over the float range; the same polynomial everywhere. exp(-inf) = 0, exp(NaN) = NaN. */
float mp_expf(float x);

/* The best table for this processor; or by name ("ref", "avx2", "avx512"; NULL = best). NULL when the processor lacks it or the name is unknown. */
const mp_kern *mp_kern_get(const char *name);
/* The i-th table that this processor can run, best last; NULL past the end. For tests and doctor. */
const mp_kern *mp_kern_at(int i);

/* Scalars shared by the reference and the tests. */
float    mp_f16_to_f32(uint16_t h);
uint16_t mp_f16_from_f32(float f); /* nearest even */
static inline float mp_bf16_to_f32(uint16_t h)
{
    union { uint32_t u; float f; } v = { (uint32_t)h << 16 };
    return v.f;
}
#endif
