/* Rows of F32, F16 and BF16: products and decoding.
 *
 * The floor of a product, per 16 weights. Bytes: 64 (F32) or 32 of the row, read once for all tokens, and 64 of activations, from cache. Operations:
 * 4 FMLA a token, and 4 conversions (FCVTL of F16, SHLL of BF16) to be shared by the tokens. With two 128-bit units that is 2 cycles, or 4 for one
 * token of halves: 8 bytes of halves, or 32 of F32, a cycle. Decoding moves 6 bytes for each half and is bound by memory everywhere.
 */
#include "num/arm/arm.h"
#include "num/arm/simd_neon.h"

/* Reads the elements [at, at + 4), at any address; from `left` (which may be negative) on they are 0 and not touched. */
typedef float32x4_t load_fn(const void *src, int64_t at, int64_t left);

MP_INLINE float32x4_t load_f32(const void *src, int64_t at, int64_t left)
{
    return mp_get_neon((const char *)src + at * 4, left);
}

MP_INLINE float32x4_t load_f16(const void *src, int64_t at, int64_t left)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(mp_get_halves_neon((const char *)src + at * 2, left)));
}

MP_INLINE float32x4_t load_bf16(const void *src, int64_t at, int64_t left)
{
    return vreinterpretq_f32_u32(vshll_n_u16(mp_get_halves_neon((const char *)src + at * 2, left), 16));
}

/* Four accumulators a token: element i goes to lane i % 16, as in the reference. */
MP_INLINE void dot_tok(float *out, const mp_dot_in *in, int tok, load_fn *load)
{
    const float *xt[MP_DOT_TOK];
    float32x4_t acc[MP_DOT_TOK][4];
    int64_t i = 0, n = in->n;
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        xt[t] = in->x[t];
        acc[t][0] = acc[t][1] = acc[t][2] = acc[t][3] = vdupq_n_f32(0);
    }
    for (; n - i >= 16; i += 16) {
        MP_UNROLL
        for (int u = 0; u < 4; u++) {
            float32x4_t w = load(in->row, i + 4 * u, 4);
            MP_UNROLL
            for (int t = 0; t < tok; t++)
                acc[t][u] = vfmaq_f32(acc[t][u], w, vld1q_f32(xt[t] + i + 4 * u));
        }
    }
    for (int u = 0; u < 4 && i + 4 * u < n; u++) {
        int64_t left = n - i - 4 * u;
        float32x4_t w = load(in->row, i + 4 * u, left);
        MP_UNROLL
        for (int t = 0; t < tok; t++)
            acc[t][u] = vfmaq_f32(acc[t][u], w, mp_get_neon(xt[t] + i + 4 * u, left));
    }
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        out[t] = mp_fold_neon(acc[t]);
}

/* `tok` is a constant in each call, so that the loops over it unroll. */
MP_INLINE void dot_any(float *out, const mp_dot_in *in, load_fn *load)
{
    switch (in->tok) {
    case 1: dot_tok(out, in, 1, load); break;
    case 2: dot_tok(out, in, 2, load); break;
    case 3: dot_tok(out, in, 3, load); break;
    default: dot_tok(out, in, 4, load); break;
    }
}

static void dot_f32(float *out, const void *row, const void *const *x, int64_t n, int tok)
{
    dot_any(out, &(mp_dot_in){ row, x, n, tok }, load_f32);
}

static void dot_f16(float *out, const void *row, const void *const *x, int64_t n, int tok)
{
    dot_any(out, &(mp_dot_in){ row, x, n, tok }, load_f16);
}

static void dot_bf16(float *out, const void *row, const void *const *x, int64_t n, int tok)
{
    dot_any(out, &(mp_dot_in){ row, x, n, tok }, load_bf16);
}

MP_INLINE void decode(float *dst, const void *src, int64_t n, load_fn *load)
{
    for (int64_t i = 0; i < n; i += 4)
        mp_put_neon(dst + i, n - i, load(src, i, n - i));
}

static void dequant_f16(float *dst, const void *src, int64_t n) { decode(dst, src, n, load_f16); }
static void dequant_bf16(float *dst, const void *src, int64_t n) { decode(dst, src, n, load_bf16); }

void mp_neon_init_float(mp_kern *k)
{
    k->dequant[MP_F16] = dequant_f16;
    k->dequant[MP_BF16] = dequant_bf16;
    k->dot[MP_F32] = dot_f32;
    k->dot[MP_F16] = dot_f16;
    k->dot[MP_BF16] = dot_bf16;
}
