/* Decoding of rows of F16 and BF16; their products are in mm_float_avx512.c. */
#include "num/x86/simd_avx512.h"
#include "num/x86/x86.h"

/* Reads the elements [at, at + 16) that the mask selects, at any address; others are 0 and are not touched. */
typedef __m512 load_fn(const void *src, int64_t at, __mmask16 mask);

MP_INLINE __m512 load_f16(const void *src, int64_t at, __mmask16 mask)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, (const char *)src + at * 2));
}

MP_INLINE __m512 load_bf16(const void *src, int64_t at, __mmask16 mask)
{
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const char *)src + at * 2));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
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
