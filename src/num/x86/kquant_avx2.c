/* Unpackers of the k-quants; the layouts are pictured in num/ref/kquant.c. */
#include "num/x86/block_avx2.h"
#include "num/x86/unpack_avx2.h"

/* The 6-bit scales and minima of Q4_K and Q5_K, from 12 bytes, as 8 bytes each: groups 0-3 in the low word, 4-7 in the high one. */
MP_INLINE void scales_6bit(mp_super256 *out, const uint8_t *src)
{
    const uint32_t u[3] = { mp_word_256(src + 4), mp_word_256(src + 8), mp_word_256(src + 12) };
    uint64_t scale_low = u[0] & 0x3f3f3f3f, scale_high = (u[2] & 0x0f0f0f0f) | ((u[0] >> 6) & 0x03030303) << 4;
    uint64_t min_low = u[1] & 0x3f3f3f3f, min_high = ((u[2] >> 4) & 0x0f0f0f0f) | ((u[1] >> 6) & 0x03030303) << 4;
    out->s.scale[0] = mp_bytes8_256(_mm_cvtsi64_si128((long long)(scale_low | scale_high << 32)), false, mp_half_256(src));
    out->s.min[0] = mp_bytes8_256(_mm_cvtsi64_si128((long long)(min_low | min_high << 32)), false, mp_half_256(src + 2));
}

/* 16 bytes, one for every 16 elements: those of the blocks' first halves in the low 8, of the second in the high ones. */
MP_INLINE __m128i by_halves(__m128i bytes)
{
    return _mm_shuffle_epi8(bytes, _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
}

/* 16 signed bytes as scales of 16 elements each. */
MP_INLINE void scales_16(__m256 *to, __m128i bytes, float factor)
{
    bytes = by_halves(bytes);
    to[0] = mp_bytes8_256(bytes, true, factor);
    to[1] = mp_bytes8_256(_mm_srli_si128(bytes, 8), true, factor);
}

MP_INLINE void unpack_q4_k(mp_super256 *out, const uint8_t *src)
{
    scales_6bit(out, src);
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        out->q[b] = mp_bits_256(mp_load32_256(src + 16 + 32 * (b / 2)), 4 * (b & 1), 4, 0);
}

MP_INLINE void unpack_q5_k(mp_super256 *out, const uint8_t *src)
{
    __m256i high = mp_load32_256(src + 16);
    scales_6bit(out, src);
    MP_UNROLL
    for (int b = 0; b < 8; b++) {
        __m256i low = mp_bits_256(mp_load32_256(src + 48 + 32 * (b / 2)), 4 * (b & 1), 4, 0);
        out->q[b] = _mm256_or_si256(low, mp_bits_256(high, b, 1, 4));
    }
}

MP_INLINE void unpack_q6_k(mp_super256 *out, const uint8_t *src)
{
    scales_16(out->s.scale, mp_load16_256(src + 192), mp_half_256(src + 208));
    MP_UNROLL
    for (int b = 0; b < 8; b++) {
        int half = b / 4, group = b % 4;
        __m256i low = mp_bits_256(mp_load32_256(src + 64 * half + 32 * (group & 1)), 4 * (group >> 1), 4, 0);
        __m256i high = mp_bits_256(mp_load32_256(src + 128 + 32 * half), 2 * group, 2, 4);
        out->q[b] = _mm256_or_si256(low, high);
    }
}

/* Two bits of every element of block b, as Q2_K and Q3_K store them. */
MP_INLINE __m256i two_bits(const uint8_t *qs, int b)
{
    return mp_bits_256(mp_load32_256(qs + 32 * (b / 4)), 2 * (b % 4), 2, 0);
}

MP_INLINE void unpack_q2_k(mp_super256 *out, const uint8_t *src)
{
    const __m256 scale = _mm256_set1_ps(mp_half_256(src + 80)), min = _mm256_set1_ps(mp_half_256(src + 82) * 0x1p-7f);
    __m128i bytes = by_halves(mp_load16_256(src));
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        __m256i both = _mm256_cvtepu8_epi32(h ? _mm_srli_si128(bytes, 8) : bytes);
        out->s.scale[h] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_and_si256(both, _mm256_set1_epi32(15))), scale);
        out->s.min[h] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(both, 4)), min);
    }
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        out->q[b] = two_bits(src + 16, b);
}

MP_INLINE void unpack_q3_k(mp_super256 *out, const uint8_t *src)
{
    const uint32_t u[3] = { mp_word_256(src + 96), mp_word_256(src + 100), mp_word_256(src + 104) };
    __m128i low = _mm_setr_epi32((int)u[0], (int)u[1], (int)(u[0] >> 4), (int)(u[1] >> 4));
    __m128i high = _mm_setr_epi32((int)(u[2] << 4), (int)(u[2] << 2), (int)u[2], (int)(u[2] >> 2));
    __m128i scale = _mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)), _mm_and_si128(high, _mm_set1_epi8(0x30)));
    scales_16(out->s.scale, _mm_sub_epi8(scale, _mm_set1_epi8(32)), mp_half_256(src + 108));
    __m256i mask = mp_load32_256(src);
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        out->q[b] = _mm256_or_si256(two_bits(src + 32, b), mp_bits_256(mask, b, 1, 2));
}

static const mp_type256 q2_k = { unpack_q2_k, 256, 84, { 16, 3, 0, MP_MIN_16 } };
static const mp_type256 q3_k = { unpack_q3_k, 256, 110, { 16, 7, 4, MP_MIN_NONE } };
static const mp_type256 q4_k = { unpack_q4_k, 256, 144, { 32, 15, 0, MP_MIN_32 } };
static const mp_type256 q5_k = { unpack_q5_k, 256, 176, { 32, 31, 0, MP_MIN_32 } };
static const mp_type256 q6_k = { unpack_q6_k, 256, 210, { 16, 63, 32, MP_MIN_NONE } };

MP_KERNELS_256(q2_k, q2_k)
MP_KERNELS_256(q3_k, q3_k)
MP_KERNELS_256(q4_k, q4_k)
MP_KERNELS_256(q5_k, q5_k)
MP_KERNELS_256(q6_k, q6_k)

void mp_avx2_init_kquant(mp_kern *k)
{
    k->dequant[MP_Q2_K] = dequant_q2_k;
    k->dequant[MP_Q3_K] = dequant_q3_k;
    k->dequant[MP_Q4_K] = dequant_q4_k;
    k->dequant[MP_Q5_K] = dequant_q5_k;
    k->dequant[MP_Q6_K] = dequant_q6_k;
    k->mm[MP_Q2_K] = mm_q2_k;
    k->mm[MP_Q3_K] = mm_q3_k;
    k->mm[MP_Q4_K] = mm_q4_k;
    k->mm[MP_Q5_K] = mm_q5_k;
    k->mm[MP_Q6_K] = mm_q6_k;
}
