/* Small things that all AVX-512 kernels use: loop unrolling, masks, the fixed fold of 16 lanes, exp. */
#ifndef MP_NUM_X86_SIMD_AVX512_H
#define MP_NUM_X86_SIMD_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define MP_INLINE static inline __attribute__((always_inline))
/* In front of every loop over tokens or chunks: only unrolled do its arrays become registers. */
#if defined(__clang__)
#define MP_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MP_UNROLL _Pragma("GCC unroll 16")
#endif

/* Lanes of the next 16 elements when `left` remain; all of them from 16 on. */
MP_INLINE __mmask16 mp_mask_512(int64_t left)
{
    if (left >= 16)
        return 0xffff;
    return (__mmask16)((1u << left) - 1);
}

/* The sum of 16 lanes in the order of the reference: lane j with j + 8, then + 4, + 2, + 1. */
MP_INLINE float mp_fold_512(__m512 v)
{
    __m256 v8 = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

/* The sums of 16 vectors, each folded as mp_fold_512 does it: element i is that of v[i]. */
MP_INLINE __m512 mp_fold16_512(const __m512 *v)
{
    __m512 half[8], quarter[4], eighth[2];
    MP_UNROLL
    for (int i = 0; i < 8; i++)
        half[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[i], v[i + 8], 0x44), _mm512_shuffle_f32x4(v[i], v[i + 8], 0xee));
    MP_UNROLL
    for (int i = 0; i < 4; i++)
        quarter[i] = _mm512_add_ps(_mm512_shuffle_f32x4(half[i], half[i + 4], 0x88), _mm512_shuffle_f32x4(half[i], half[i + 4], 0xdd));
    MP_UNROLL
    for (int i = 0; i < 2; i++)
        eighth[i] = _mm512_add_ps(_mm512_shuffle_ps(quarter[i], quarter[i + 2], 0x44), _mm512_shuffle_ps(quarter[i], quarter[i + 2], 0xee));
    __m512 sum = _mm512_add_ps(_mm512_shuffle_ps(eighth[0], eighth[1], 0x88), _mm512_shuffle_ps(eighth[0], eighth[1], 0xdd));
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15), sum);
}

/* The sums of 8 lanes each of 16 rows, of which v[i] has two side by side: lane j with j + 4, then + 2, + 1. Element r is that of row r. */
MP_INLINE __m512 mp_fold8_512(const __m512 v[8])
{
    __m512 half[4], quarter[2];
    MP_UNROLL
    for (int i = 0; i < 4; i++)
        half[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[i], v[i + 4], 0x88), _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd));
    MP_UNROLL
    for (int i = 0; i < 2; i++)
        quarter[i] = _mm512_add_ps(_mm512_shuffle_ps(half[i], half[i + 2], 0x44), _mm512_shuffle_ps(half[i], half[i + 2], 0xee));
    __m512 sum = _mm512_add_ps(_mm512_shuffle_ps(quarter[0], quarter[1], 0x88), _mm512_shuffle_ps(quarter[0], quarter[1], 0xdd));
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 2, 6, 1, 5, 3, 7, 8, 12, 10, 14, 9, 13, 11, 15), sum);
}

/* Transposes the 4 x 4 words of each 128-bit lane. */
MP_INLINE void mp_turn_512(__m512i q[4])
{
    __m512i a = _mm512_unpacklo_epi32(q[0], q[1]), b = _mm512_unpackhi_epi32(q[0], q[1]);
    __m512i c = _mm512_unpacklo_epi32(q[2], q[3]), d = _mm512_unpackhi_epi32(q[2], q[3]);
    q[0] = _mm512_unpacklo_epi64(a, c);
    q[1] = _mm512_unpackhi_epi64(a, c);
    q[2] = _mm512_unpacklo_epi64(b, d);
    q[3] = _mm512_unpackhi_epi64(b, d);
}

/* mp_expf, lane by lane, the same bits (except which NaN). The order of max's operands lets NaN through. */
MP_INLINE __m512 mp_exp_512(__m512 x)
{
    const __m512 magic = _mm512_set1_ps(12582912.0f);
    x = _mm512_min_ps(_mm512_set1_ps(89.0f), _mm512_max_ps(_mm512_set1_ps(-104.0f), x));
    __m512 t = _mm512_fmadd_ps(x, _mm512_set1_ps(1.44269504f), magic), k = _mm512_sub_ps(t, magic);
    __m512 r = _mm512_fmadd_ps(k, _mm512_set1_ps(-0.693145752f), x);
    r = _mm512_fmadd_ps(k, _mm512_set1_ps(-1.42860677e-6f), r);
    __m512 p = _mm512_set1_ps(1.38145697e-3f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.36871285e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.16683890e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.66665211e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.49999994f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, k); /* rounds once, as the two factors do; 12 cycles for 16 against 18 */
}
#endif
