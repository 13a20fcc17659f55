/* Rows of F32, F16 and BF16: products and decoding. */
#include "num/x86/simd_avx512.h"
#include "num/x86/x86.h"

/* Reads the elements [at, at + 16) that the mask selects, at any address; others are 0 and are not touched. */
typedef __m512 load_fn(const void *src, int64_t at, __mmask16 mask);

MP_INLINE __m512 load_f32(const void *src, int64_t at, __mmask16 mask)
{
    return _mm512_maskz_loadu_ps(mask, (const char *)src + at * 4);
}

MP_INLINE __m512 load_f16(const void *src, int64_t at, __mmask16 mask)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, (const char *)src + at * 2));
}

MP_INLINE __m512 load_bf16(const void *src, int64_t at, __mmask16 mask)
{
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const char *)src + at * 2));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}

/* Four accumulators of 16 lanes a token: element i goes to lane i % 64. */
MP_INLINE void dot_tok(float *out, const mp_dot_in *in, int tok, load_fn *load)
{
    const float *xt[MP_DOT_TOK];
    __m512 acc[MP_DOT_TOK][4];
    int64_t i = 0, n = in->n;
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        xt[t] = in->x[t];
        acc[t][0] = acc[t][1] = acc[t][2] = acc[t][3] = _mm512_setzero_ps();
    }
    for (; n - i >= 64; i += 64) {
        MP_UNROLL
        for (int u = 0; u < 4; u++) {
            __m512 w = load(in->row, i + 16 * u, 0xffff);
            MP_UNROLL
            for (int t = 0; t < tok; t++)
                acc[t][u] = _mm512_fmadd_ps(w, _mm512_loadu_ps(xt[t] + i + 16 * u), acc[t][u]);
        }
    }
    MP_UNROLL
    for (int u = 0; u < 4; u++) {
        int64_t left = n - i - 16 * u;
        __mmask16 m = mp_mask_512(left > 0 ? left : 0);
        __m512 w = load(in->row, i + 16 * u, m);
        MP_UNROLL
        for (int t = 0; t < tok; t++)
            acc[t][u] = _mm512_fmadd_ps(w, _mm512_maskz_loadu_ps(m, xt[t] + i + 16 * u), acc[t][u]);
    }
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        out[t] = mp_fold_512(_mm512_add_ps(_mm512_add_ps(acc[t][0], acc[t][2]), _mm512_add_ps(acc[t][1], acc[t][3])));
}

MP_INLINE void decode(float *dst, const void *src, int64_t n, load_fn *load)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = mp_mask_512(n - i);
        _mm512_mask_storeu_ps(dst + i, m, load(src, i, m));
    }
}

static void dequant_f16(float *dst, const void *src, int64_t n) { decode(dst, src, n, load_f16); }
static void dequant_bf16(float *dst, const void *src, int64_t n) { decode(dst, src, n, load_bf16); }

void mp_avx512_init_float(mp_kern *k)
{
    k->dequant[MP_F16] = dequant_f16;
    k->dequant[MP_BF16] = dequant_bf16;
}
