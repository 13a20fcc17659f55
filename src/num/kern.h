/* The kernel table: every inner loop that has more than one implementation. Plain C fills it; each instruction set overrides what it does
 * better; the choice is made once at start. Kernels never allocate and need no alignment beyond that of a byte.
 *
 * Numeric order (architecture.md, the invariant): activations are quantized with one scale, amax / 127, for every 32, rounding to nearest
 * even; integer dots of 32 (of 16 where weights have a scale for every 16) are exact; block results are added in float32 in an order that
 * depends on the row's length and the instruction set only - the same for one token and for many.
 */
#ifndef MP_NUM_KERN_H
#define MP_NUM_KERN_H

#include "num/attn.h"
#include "num/dtype.h"

enum { MP_Q8_BLOCK = 32, MP_Q8_SUPER = 256, MP_DOT_TOK = 4, MP_MM_SCRATCH = 192 << 10, MP_MM_COLS = 74752 /* the longest row of a product: a token's mp_q8 fit the scratch */ };

/* 256 activations of one token, quantized: x[i] ~ d[i/32] * q[i]; what is past the row's end is 0.
 *
 *   q   int8, in element order, or turned (mp_kern.turn_q8)
 *   d   scales, one for every block of 32
 *   s   what the weights' minimum of a block is multiplied by: d times the sum of its q
 *   a   -128 times the sum of a block's q: what turns a sum over codes plus 128 into one over codes
 *   a16 the same of the first 16 of each block, then of the second 16
 *
 * One scale for 32, as the blocks of most weights have one: a sum of 32 exact products becomes a float once. One for 16 had a quarter less rounding error
 * and cost a sixth of the speed of many tokens (docs/experiments.md). A token is mp_q8_bytes(n) of these, one after the other; 64-byte aligned they
 * cost no split loads. */
typedef struct mp_q8 {
    int8_t  q[256];
    float   d[8], s[8];
    int32_t a[8], a16[2][8];
    float   unused[8];
} mp_q8;

static inline size_t mp_q8_bytes(int64_t n) /* of one token, a multiple of 64 */
{
    return (size_t)((n + MP_Q8_SUPER - 1) / MP_Q8_SUPER) * sizeof(mp_q8);
}

/* out[t][r] = row r of w . x_t, for `rows` rows of n weights and tok tokens; n is a multiple of the type's block, at most MP_MM_COLS. */
typedef struct mp_mm {
    const void    *w;
    size_t         row_bytes;
    int64_t        rows, n;
    const void    *x;      /* quantized types: mp_q8 of token t at x + x_row[t] / x_div * x_stride bytes; F32, F16, BF16: float[n] there */
    size_t         x_stride;
    const int32_t *x_row;  /* NULL: token t is row t */
    int32_t        x_div;  /* only with x_row */
    float         *out;    /* of token t at out + out_row[t] * out_stride floats */
    int64_t        out_stride;
    const int32_t *out_row; /* NULL: token t is row t */
    int64_t        tok;
    bool           turned;  /* the tokens went through turn_q8; must be so for more than one */
    bool           alone;   /* no other thread reads weights meanwhile: memory waits for this one */
    bool           stream;  /* the results are many and read later: a kernel may write them past the caches */
    const void    *next;    /* NULL, or the rows that the caller multiplies next, as long as these: a kernel may ask memory for the first 16 */
    void          *scratch; /* MP_MM_SCRATCH bytes, 64-byte aligned, nobody else's */
} mp_mm;

static inline const void *mp_mm_x(const mp_mm *m, int64_t t)
{
    return (const char *)m->x + (size_t)(m->x_row ? m->x_row[t] / m->x_div : t) * m->x_stride;
}
static inline float *mp_mm_out(const mp_mm *m, int64_t t)
{
    return m->out + (m->out_row ? m->out_row[t] : t) * m->out_stride;
}

typedef struct mp_kern {
    const char *name; /* "ref", "avx2", "avx512", "neon", "dotprod" */

    /* dst[0..n) = the weights of one row, n a multiple of the type's block. Also F32 (copy), F16, BF16. */
    void (*dequant[MP_DTYPE_COUNT])(float *dst, const void *src, int64_t n);

    /* q (mp_q8_bytes(n)) = x quantized. Where there is a NaN or an infinity, d and s are NaN, so that it shows. */
    void (*quantize_q8)(mp_q8 *q, const float *x, int64_t n);
    /* NULL, or what tokens go through before products of several of them: bytes 32b + 4w + i of a super-block, to 32w + 4b + i. Twice is back. */
    void (*turn_q8)(mp_q8 *q, int64_t n);

    /* Products (mp_kern_mm): a whole one, or, where that is NULL, one row: out[t] = row . x[t] for t < tok, tok in 1..MP_DOT_TOK.
     * Both are NULL for types without products (I32). */
    void (*mm[MP_DTYPE_COUNT])(const mp_mm *m);
    void (*dot[MP_DTYPE_COUNT])(float *out, const void *row, const void *const *x, int64_t n, int tok);

    /* Float vectors of n. Sums are taken in a fixed order. */
    float (*sum_sq)(const float *x, int64_t n);
    float (*max)(const float *x, int64_t n);
    void (*scale_mul)(float *dst, const float *x, float scale, const float *w, int64_t n); /* dst = x * scale * w (w NULL: 1) */
    void (*add)(float *dst, const float *a, const float *b, int64_t n);
    void (*axpy)(float *dst, float a, const float *x, int64_t n);                          /* dst += a * x */
    void (*silu_mul)(float *dst, const float *gate, const float *up, int64_t n);           /* dst = silu(gate) * up */
    float (*exp_sum)(float *dst, const float *x, float max, int64_t n);                    /* dst = exp(x - max); returns the sum */
    void (*to_f16)(void *dst, const float *x, int64_t n);
    /* Attention: `rows` queries over one head of a tile of keys or values (num/attn.h says how they lie). */
    mp_attn_score_fn *attn_score_f16, *attn_score_f32;
    mp_attn_value_fn *attn_value_f16, *attn_value_f32;

    /* Not for models: `rounds` of independent chains of the instruction that products of this arithmetic are made of (limits.h). Returns how many
     * operations that was, two for each multiply-add; sink[16] gets a result. NULL: this set has no instruction for it. */
    uint64_t (*peak[MP_ARITH_COUNT])(float *sink, int64_t rounds);
} mp_kern;

/* Our own exp: relative error below 2e-7 over the float range; the same polynomial everywhere. exp(-inf) = 0, exp(NaN) = NaN. */
float mp_expf(float x);

/* The best table for this processor; or by name (NULL = best). NULL when the processor lacks it or the name is unknown. */
const mp_kern *mp_kern_get(const char *name);
/* The i-th table that this processor can run, best last; NULL past the end. For tests and doctor. */
const mp_kern *mp_kern_at(int i);

bool mp_kern_has_mm(const mp_kern *k, mp_dtype type);
void mp_kern_mm(const mp_kern *k, mp_dtype type, const mp_mm *m); /* a token's results do not depend on the other tokens, nor a row's on other rows */

/* Scalars shared by the reference and the tests. */
float    mp_f16_to_f32(uint16_t h);
uint16_t mp_f16_from_f32(float f); /* nearest even */
static inline float mp_bf16_to_f32(uint16_t h)
{
    union { uint32_t u; float f; } v = { (uint32_t)h << 16 };
    return v.f;
}
#endif
