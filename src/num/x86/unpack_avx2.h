/* Pieces that the unpackers of several types are made of. */
#ifndef MP_NUM_X86_UNPACK_AVX2_H
#define MP_NUM_X86_UNPACK_AVX2_H

#include "num/x86/simd_avx2.h"

MP_INLINE float mp_half_256(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return _cvtsh_ss(h);
}

MP_INLINE uint32_t mp_word_256(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, 4);
    return u;
}

MP_INLINE __m128i mp_load16_256(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

MP_INLINE __m256i mp_load32_256(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* 8 bytes, unsigned or signed, times a factor. */
MP_INLINE __m256 mp_bytes8_256(__m128i bytes, bool is_signed, float factor)
{
    __m256i wide = is_signed ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
    return _mm256_mul_ps(_mm256_cvtepi32_ps(wide), _mm256_set1_ps(factor));
}

/* Bits [from, from + width) of every byte, at [to, to + width). */
MP_INLINE __m256i mp_bits_256(__m256i bytes, int from, int width, int to)
{
    bytes = from >= to ? _mm256_srli_epi16(bytes, from - to) : _mm256_slli_epi16(bytes, to - from);
    return _mm256_and_si256(bytes, _mm256_set1_epi8((char)(((1 << width) - 1) << to)));
}

/* 16 bytes to 32 nibbles: the low ones, then the high ones. */
MP_INLINE __m256i mp_nibbles_256(__m128i bytes)
{
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), _mm256_set1_epi8(15));
}
#endif
