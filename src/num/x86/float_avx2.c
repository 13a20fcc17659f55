/* Rows of F32, F16 and BF16: products and decoding. */
#include "num/x86/simd_avx2.h"
#include "num/x86/x86.h"

/* Reads the elements [at, at + 8), at any address; from `left` (which may be negative) on they are 0 and not touched. */
typedef __m256 load_fn(const void *src, int64_t at, int64_t left);

MP_INLINE __m256 load_f32(const void *src, int64_t at, int64_t left)
{
    const void *p = (const char *)src + at * 4;
    return mp_get_256(p, left);
}

MP_INLINE __m128i load_halves(const void *src, int64_t at, int64_t left)
{
    __m128i h = _mm_setzero_si128();
    if (left > 0)
        memcpy(&h, (const char *)src + at * 2, left >= 8 ? 16 : (size_t)left * 2);
    return h;
}

MP_INLINE __m256 load_f16(const void *src, int64_t at, int64_t left)
{
    return _mm256_cvtph_ps(load_halves(src, at, left));
}

MP_INLINE __m256 load_bf16(const void *src, int64_t at, int64_t left)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_halves(src, at, left)), 16));
}

/* Two accumulators of 8 lanes a token: element i goes to lane i % 16. More would not fit the registers with four tokens. */
MP_INLINE void dot_tok(float *out, const mp_dot_in *in, int tok, load_fn *load)
{
    const float *xt[MP_DOT_TOK];
    __m256 acc[MP_DOT_TOK][2];
    int64_t i = 0, n = in->n;
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        xt[t] = in->x[t];
        acc[t][0] = acc[t][1] = _mm256_setzero_ps();
    }
    for (; n - i >= 16; i += 16) {
        MP_UNROLL
        for (int u = 0; u < 2; u++) {
            __m256 w = load(in->row, i + 8 * u, 8);
            MP_UNROLL
            for (int t = 0; t < tok; t++)
                acc[t][u] = _mm256_fmadd_ps(w, _mm256_loadu_ps(xt[t] + i + 8 * u), acc[t][u]);
        }
    }
    MP_UNROLL
    for (int u = 0; u < 2; u++) {
        int64_t left = n - i - 8 * u;
        __m256 w = load(in->row, i + 8 * u, left);
        MP_UNROLL
        for (int t = 0; t < tok; t++)
            acc[t][u] = _mm256_fmadd_ps(w, mp_get_256(xt[t] + i + 8 * u, left), acc[t][u]);
    }
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        out[t] = mp_fold_256(acc[t][0], acc[t][1]);
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
    for (int64_t i = 0; i < n; i += 8)
        mp_put_256(dst + i, n - i, load(src, i, n - i));
}

static void dequant_f16(float *dst, const void *src, int64_t n) { decode(dst, src, n, load_f16); }
static void dequant_bf16(float *dst, const void *src, int64_t n) { decode(dst, src, n, load_bf16); }

void mp_avx2_init_float(mp_kern *k)
{
    k->dequant[MP_F16] = dequant_f16;
    k->dequant[MP_BF16] = dequant_bf16;
    k->dot[MP_F32] = dot_f32;
    k->dot[MP_F16] = dot_f16;
    k->dot[MP_BF16] = dot_bf16;
}
