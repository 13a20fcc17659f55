/* Small things that all AVX2 kernels use: loop unrolling, partial loads and stores, the fixed fold of 16 lanes, exp. */
#ifndef MP_NUM_X86_SIMD_AVX2_H
#define MP_NUM_X86_SIMD_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define MP_INLINE static inline __attribute__((always_inline))
/* In front of every loop over tokens or blocks: only unrolled do its arrays become registers. */
#if defined(__clang__)
#define MP_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MP_UNROLL _Pragma("GCC unroll 16")
#endif

/* All ones in the lanes of the next 8 elements when `left` (may be negative) remain. */
MP_INLINE __m256i mp_mask_256(int64_t left)
{
    int few = left > 8 ? 8 : left < 0 ? 0 : (int)left;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(few), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The next 8 floats, 0 past the end, which is not touched. */
MP_INLINE __m256 mp_get_256(const float *x, int64_t left)
{
    return left >= 8 ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, mp_mask_256(left));
}

MP_INLINE void mp_put_256(float *x, int64_t left, __m256 v)
{
    if (left >= 8)
        _mm256_storeu_ps(x, v);
    else
        _mm256_maskstore_ps(x, mp_mask_256(left), v);
}

/* The sum of 8 lanes: lane j with j + 4, then + 2, + 1. */
MP_INLINE float mp_fold8_256(__m256 v8)
{
    __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

/* The sum of 16 lanes in the order of the reference: lane j with j + 8, then + 4, + 2, + 1. */
MP_INLINE float mp_fold_256(__m256 low, __m256 high)
{
    return mp_fold8_256(_mm256_add_ps(low, high));
}

/* The sums of 8 vectors, each folded as mp_fold8_256 does it: element i is that of v[i]. */
MP_INLINE __m256 mp_folds_256(const __m256 *v)
{
    __m256 half[4], quarter[2];
    MP_UNROLL
    for (int i = 0; i < 4; i++)
        half[i] = _mm256_add_ps(_mm256_permute2f128_ps(v[i], v[i + 4], 0x20), _mm256_permute2f128_ps(v[i], v[i + 4], 0x31));
    MP_UNROLL
    for (int i = 0; i < 2; i++)
        quarter[i] = _mm256_add_ps(_mm256_shuffle_ps(half[i], half[i + 2], 0x44), _mm256_shuffle_ps(half[i], half[i + 2], 0xee));
    __m256 sum = _mm256_add_ps(_mm256_shuffle_ps(quarter[0], quarter[1], 0x88), _mm256_shuffle_ps(quarter[0], quarter[1], 0xdd));
    return _mm256_permutevar8x32_ps(sum, _mm256_setr_epi32(0, 2, 1, 3, 4, 6, 5, 7));
}

/* Transposes the 8 x 8 words: within the 128-bit lanes of four, then between fours. */
MP_INLINE void mp_turn_256(__m256i q[8])
{
    MP_UNROLL
    for (int i = 0; i < 8; i += 4) {
        __m256i a = _mm256_unpacklo_epi32(q[i], q[i + 1]), b = _mm256_unpackhi_epi32(q[i], q[i + 1]);
        __m256i c = _mm256_unpacklo_epi32(q[i + 2], q[i + 3]), d = _mm256_unpackhi_epi32(q[i + 2], q[i + 3]);
        q[i] = _mm256_unpacklo_epi64(a, c);
        q[i + 1] = _mm256_unpackhi_epi64(a, c);
        q[i + 2] = _mm256_unpacklo_epi64(b, d);
        q[i + 3] = _mm256_unpackhi_epi64(b, d);
    }
    MP_UNROLL
    for (int i = 0; i < 4; i++) {
        __m256i low = q[i], high = q[4 + i];
        q[i] = _mm256_inserti128_si256(low, _mm256_castsi256_si128(high), 1);
        q[4 + i] = _mm256_permute2x128_si256(low, high, 0x31);
    }
}

/* Turns the 256 codes of a super-block (kern.h); twice is back. */
MP_INLINE void mp_turn_codes_256(int8_t *to, const int8_t *from)
{
    __m256i q[8];
    MP_UNROLL
    for (int i = 0; i < 8; i++)
        q[i] = _mm256_loadu_si256((const __m256i *)(const void *)(from + 32 * i));
    mp_turn_256(q);
    MP_UNROLL
    for (int i = 0; i < 8; i++)
        _mm256_storeu_si256((__m256i *)(void *)(to + 32 * i), q[i]);
}

/* mp_expf, lane by lane, the same bits (except which NaN). The order of max's operands lets NaN through. */
MP_INLINE __m256 mp_exp_256(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(12582912.0f);
    x = _mm256_min_ps(_mm256_set1_ps(89.0f), _mm256_max_ps(_mm256_set1_ps(-104.0f), x));
    __m256 t = _mm256_fmadd_ps(x, _mm256_set1_ps(1.44269504f), magic), k = _mm256_sub_ps(t, magic);
    __m256 r = _mm256_fmadd_ps(k, _mm256_set1_ps(-0.693145752f), x);
    r = _mm256_fmadd_ps(k, _mm256_set1_ps(-1.42860677e-6f), r);
    __m256 p = _mm256_set1_ps(1.38145697e-3f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.36871285e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.16683890e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.66665211e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.49999994f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    __m256i n = _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_castps_si256(magic)), half = _mm256_srai_epi32(n, 1);
    const __m256i bias = _mm256_set1_epi32(127);
    __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(n, half), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}
#endif
