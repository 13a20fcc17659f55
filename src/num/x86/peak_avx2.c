/* What AVX2 and FMA can do at most, for limits.c. int8 is what products of small codes do (block_avx2.h): four times multiply to int16 pairs and add those up,
 * then add pairs to int32; 256 operations for five multiplications and four additions. Wider codes need twice as many. bf16 has no instruction of its
 * own, so it is left out.
 *
 * CHAINS independent sums: more than latency (4 to 6) times instructions a cycle (2). The empty asm says that the operand may have changed, so that
 * nothing can be taken out of the loop. */
#include "num/x86/simd_avx2.h"
#include "num/x86/x86.h"

enum { CHAINS = 10 /* of 16 registers */, CHAINS_I8 = 4 /* of five multiplications each */ };

static uint64_t peak_i8(float *sink, int64_t rounds)
{
    __m256i acc[CHAINS_I8], a = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
    MP_UNROLL
    for (int i = 0; i < CHAINS_I8; i++)
        acc[i] = _mm256_setzero_si256();
    for (int64_t r = 0; r < rounds; r++) {
        MP_UNROLL
        for (int i = 0; i < CHAINS_I8; i++) {
            __m256i pairs = _mm256_setzero_si256();
            MP_UNROLL
            for (int k = 0; k < 4; k++) {
                __asm__ volatile("" : "+x"(a));
                __m256i p = _mm256_maddubs_epi16(a, a);
                pairs = k == 0 ? p : _mm256_add_epi16(pairs, p);
            }
            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(pairs, ones));
        }
    }
    MP_UNROLL
    for (int i = 1; i < CHAINS_I8; i++)
        acc[0] = _mm256_add_epi32(acc[0], acc[i]);
    _mm256_storeu_si256((__m256i *)(void *)sink, acc[0]);
    return (uint64_t)rounds * CHAINS_I8 * 256;
}

static uint64_t peak_f32(float *sink, int64_t rounds)
{
    __m256 acc[CHAINS], a = _mm256_set1_ps(0.5f);
    MP_UNROLL
    for (int i = 0; i < CHAINS; i++)
        acc[i] = _mm256_setzero_ps();
    for (int64_t r = 0; r < rounds; r++) {
        MP_UNROLL
        for (int i = 0; i < CHAINS; i++) {
            __asm__ volatile("" : "+x"(a));
            acc[i] = _mm256_fmadd_ps(a, a, acc[i]);
        }
    }
    MP_UNROLL
    for (int i = 1; i < CHAINS; i++)
        acc[0] = _mm256_add_ps(acc[0], acc[i]);
    _mm256_storeu_ps(sink, acc[0]);
    return (uint64_t)rounds * CHAINS * 16;
}

void mp_avx2_init_peak(mp_kern *k)
{
    k->peak[MP_ARITH_INT8] = peak_i8;
    k->peak[MP_ARITH_F32] = peak_f32;
}
