/* What AVX-512 can do at most, for limits.c: VPDPBUSD (128 operations), VDPBF16PS (64), VFMADD (32). See peak_avx2.c. */
#include "num/x86/simd_avx512.h"
#include "num/x86/x86.h"

enum { CHAINS = 16 }; /* VDPBF16PS: latency 6, and two a cycle where it is fastest */

static uint64_t peak_i8(float *sink, int64_t rounds)
{
    __m512i acc[CHAINS], a = _mm512_set1_epi8(1);
    MP_UNROLL
    for (int i = 0; i < CHAINS; i++)
        acc[i] = _mm512_setzero_si512();
    for (int64_t r = 0; r < rounds; r++) {
        MP_UNROLL
        for (int i = 0; i < CHAINS; i++) {
            __asm__ volatile("" : "+v"(a));
            acc[i] = _mm512_dpbusd_epi32(acc[i], a, a);
        }
    }
    MP_UNROLL
    for (int i = 1; i < CHAINS; i++)
        acc[0] = _mm512_add_epi32(acc[0], acc[i]);
    _mm512_storeu_si512(sink, acc[0]);
    return (uint64_t)rounds * CHAINS * 128;
}

static uint64_t peak_bf16(float *sink, int64_t rounds)
{
    __m512 acc[CHAINS];
    __m512i a = _mm512_set1_epi16(0x3f00); /* 0.5 */
    MP_UNROLL
    for (int i = 0; i < CHAINS; i++)
        acc[i] = _mm512_setzero_ps();
    for (int64_t r = 0; r < rounds; r++) {
        MP_UNROLL
        for (int i = 0; i < CHAINS; i++) {
            __asm__ volatile("" : "+v"(a));
            acc[i] = _mm512_dpbf16_ps(acc[i], (__m512bh)a, (__m512bh)a);
        }
    }
    MP_UNROLL
    for (int i = 1; i < CHAINS; i++)
        acc[0] = _mm512_add_ps(acc[0], acc[i]);
    _mm512_storeu_ps(sink, acc[0]);
    return (uint64_t)rounds * CHAINS * 64;
}

static uint64_t peak_f32(float *sink, int64_t rounds)
{
    __m512 acc[CHAINS], a = _mm512_set1_ps(0.5f);
    MP_UNROLL
    for (int i = 0; i < CHAINS; i++)
        acc[i] = _mm512_setzero_ps();
    for (int64_t r = 0; r < rounds; r++) {
        MP_UNROLL
        for (int i = 0; i < CHAINS; i++) {
            __asm__ volatile("" : "+v"(a));
            acc[i] = _mm512_fmadd_ps(a, a, acc[i]);
        }
    }
    MP_UNROLL
    for (int i = 1; i < CHAINS; i++)
        acc[0] = _mm512_add_ps(acc[0], acc[i]);
    _mm512_storeu_ps(sink, acc[0]);
    return (uint64_t)rounds * CHAINS * 32;
}

void mp_avx512_init_peak(mp_kern *k)
{
    k->peak[MP_ARITH_INT8] = peak_i8;
    k->peak[MP_ARITH_BF16] = peak_bf16;
    k->peak[MP_ARITH_F32] = peak_f32;
}
