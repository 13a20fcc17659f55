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
MP_INLINE __m256 mp_quarter_half_512(const uint8_t *p)
{
    return _mm256_set1_ps(mp_half_512(p) * 0.25f);
}

MP_INLINE uint32_t mp_word_512(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, 4);
    return u;
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

/* The four halves at p as floats. The barrier leaves them in memory: broadcasting from there is part of a load, from a register it takes a shuffle. */
typedef struct mp_halves4_512 {
    float at[4];
} mp_halves4_512;

MP_INLINE void mp_halves4_at_512(mp_halves4_512 *out, const uint8_t *p)
{
    _mm_storeu_ps(out->at, _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)(const void *)p)));
    __asm__("" : "+m"(*out));
}

/* QUARTERS: the group at each place. */
MP_INLINE __m512i mp_quarters_places_512(void)
{
    return _mm512_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
}
#endif
