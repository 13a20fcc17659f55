/* Pieces of unpackers (block_avx512.h): how halves, words and vectors are read at any address, and codes taken apart. */
#ifndef MP_NUM_X86_PIECES_AVX512_H
#define MP_NUM_X86_PIECES_AVX512_H

#include <string.h>

#include "num/x86/order_avx512.h"

MP_INLINE __m512i mp_iq4_values_512(void) /* the sixteen values of IQ4_NL and IQ4_XS, plus 128 */
{
    const __m128i values = _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
    return _mm512_broadcast_i32x4(_mm_xor_si128(values, _mm_set1_epi8(-128)));
}

MP_INLINE float mp_half_512(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return _cvtsh_ss(h);
}

/* A quarter of it in all lanes. */
MP_INLINE __m512 mp_quarter_half_512(const uint8_t *p)
{
    return _mm512_permutexvar_ps(_mm512_setzero_si512(), _mm512_castps128_ps512(_mm_set_ss(mp_half_512(p) * 0.25f)));
}

MP_INLINE uint32_t mp_word_512(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, 4);
    return u;
}

/* The halves at the start of eight blocks that are `stride` bytes apart. */
MP_INLINE __m256 mp_halves8_512(const uint8_t *p, int stride)
{
    uint16_t h[8];
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        memcpy(&h[b], p + b * stride, 2);
    return _mm256_cvtph_ps(_mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3], (short)h[4], (short)h[5], (short)h[6], (short)h[7]));
}

MP_INLINE __m128i mp_load16_512(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

MP_INLINE __m256i mp_load32_512(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* The barrier keeps the compiler from reading them anew for each use: two cycles each time, where they cross cache lines. */
MP_INLINE __m512i mp_load64_512(const uint8_t *p)
{
    __m512i v = _mm512_loadu_si512(p);
    __asm__("" : "+v"(v));
    return v;
}

/* Four codes of two bits in each of 64 bytes: QUARTERS. */
MP_INLINE void mp_two_bits_512(__m512i q[4], const uint8_t *src)
{
    const __m512i low = _mm512_set1_epi8(3), high = _mm512_set1_epi8(12);
    __m512i bytes = mp_load64_512(src), upper = _mm512_srli_epi16(bytes, 4);
    q[0] = _mm512_and_si512(bytes, low);
    q[1] = _mm512_and_si512(bytes, high);
    q[2] = _mm512_and_si512(upper, low);
    q[3] = _mm512_and_si512(upper, high);
}

/* Low and high nibbles of 64 bytes. */
MP_INLINE void mp_nibbles_512(__m512i q[2], __m512i bytes)
{
    const __m512i low = _mm512_set1_epi8(15);
    q[0] = _mm512_and_si512(bytes, low);
    q[1] = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low);
}

/* What low and high nibbles of 64 bytes stand for, given four times the sixteen values: a table of 64 is looked up with six bits, of which two then
 * do not matter, and nibbles need no masks. */
MP_INLINE void mp_look_up_512(__m512i q[2], __m512i bytes, __m512i values)
{
    q[0] = _mm512_permutexvar_epi8(bytes, values);
    q[1] = _mm512_permutexvar_epi8(_mm512_srli_epi16(bytes, 4), values);
}

/* 8 floats, one per 32 elements, to the places of their groups. */
MP_INLINE __m512 mp_twice8_512(__m256 v, mp_order order)
{
    return _mm512_permutexvar_ps(_mm512_srli_epi32(mp_groups_512(order), 1), _mm512_castps256_ps512(v));
}

/* The four halves at p as floats. The barrier leaves them in memory: broadcasting from there is part of a load, from a register it takes a shuffle. */
typedef struct mp_halves4_512 {
    float at[4];
} mp_halves4_512;

MP_INLINE void mp_halves4_at_512(mp_halves4_512 *out, const uint8_t *p)
{
    _mm_storeu_ps(out->at, _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)(const void *)p)));
    __asm__("" : "+m"(*out));
}

/* 16 bytes, one per group, to the groups' places in PLAIN order. */
MP_INLINE __m128i mp_lanes16_512(__m128i v)
{
    return _mm_shuffle_epi8(v, _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
}
#endif
