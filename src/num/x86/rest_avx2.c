/* Unpackers of IQ4_XS and of the ternary types; the layouts are pictured in num/ref/iq4.c and ternary.c. */
#include "num/x86/block_avx2.h"
#include "num/x86/unpack_avx2.h"

MP_INLINE void unpack_iq4_xs(mp_super256 *out, const uint8_t *src)
{
    const __m256i values = _mm256_broadcastsi128_si256(_mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
    const __m256i nibble = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28), pair = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
    __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32((int)mp_word_256(src + 4)), nibble);
    __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32((int)(mp_word_256(src) >> 16)), pair);
    low = _mm256_and_si256(low, _mm256_set1_epi32(15));
    high = _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4);
    __m256i scale = _mm256_sub_epi32(_mm256_or_si256(low, high), _mm256_set1_epi32(32));
    out->s.scale[0] = _mm256_mul_ps(_mm256_cvtepi32_ps(scale), _mm256_set1_ps(mp_half_256(src)));
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        out->q[b] = _mm256_shuffle_epi8(values, mp_nibbles_256(mp_load16_256(src + 8 + 16 * b)));
}

MP_INLINE void unpack_tq2_0(mp_super256 *out, const uint8_t *src)
{
    out->s.scale[0] = _mm256_set1_ps(mp_half_256(src + 64));
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        out->q[b] = mp_bits_256(mp_load32_256(src + 32 * (b / 4)), 2 * (b % 4), 2, 0);
}

/* The first digit of every byte after multiplying by a power of three. `power` has it in both bytes of each 16-bit lane. As
 * (3 * v) >> 8 counts the thresholds 86 and 171 that v reaches, two comparisons (max(v, c) == v) read it. */
MP_INLINE __m256i digits(__m256i bytes, __m256i power)
{
    const __m256i two = _mm256_set1_epi8((char)171), one = _mm256_set1_epi8(86);
    __m256i even = _mm256_and_si256(_mm256_mullo_epi16(bytes, power), _mm256_set1_epi16(255));
    __m256i odd = _mm256_slli_epi16(_mm256_mullo_epi16(_mm256_srli_epi16(bytes, 8), power), 8);
    __m256i v = _mm256_or_si256(even, odd), q = _mm256_setzero_si256();
    q = _mm256_sub_epi8(q, _mm256_cmpeq_epi8(_mm256_max_epu8(v, one), v)); /* true is -1 */
    return _mm256_sub_epi8(q, _mm256_cmpeq_epi8(_mm256_max_epu8(v, two), v));
}

/* Elements 0-159: 32 bytes, five digits; 160-239: 16 bytes, five digits; 240-255: 4 bytes, four digits. */
MP_INLINE void unpack_tq1_0(mp_super256 *out, const uint8_t *src)
{
    __m256i rows = mp_load32_256(src);
    __m128i row = mp_load16_256(src + 32), last = _mm_set1_epi32((int)mp_word_256(src + 48));
    __m256i row2 = _mm256_broadcastsi128_si256(row);
    out->s.scale[0] = _mm256_set1_ps(mp_half_256(src + 52));
    out->q[0] = digits(rows, _mm256_set1_epi16(1));
    out->q[1] = digits(rows, _mm256_set1_epi16(3));
    out->q[2] = digits(rows, _mm256_set1_epi16(9));
    out->q[3] = digits(rows, _mm256_set1_epi16(27));
    out->q[4] = digits(rows, _mm256_set1_epi16(81));
    out->q[5] = digits(row2, _mm256_set_m128i(_mm_set1_epi16(3), _mm_set1_epi16(1)));
    out->q[6] = digits(row2, _mm256_set_m128i(_mm_set1_epi16(27), _mm_set1_epi16(9)));
    out->q[7] = digits(_mm256_set_m128i(last, row), _mm256_set_m128i(_mm_setr_epi16(1, 1, 3, 3, 9, 9, 27, 27), _mm_set1_epi16(81)));
}

static const mp_type256 iq4_xs = { unpack_iq4_xs, 256, 136, { 32, 128, 0, MP_MIN_NONE } };
static const mp_type256 tq1_0 = { unpack_tq1_0, 256, 54, { 32, 2, 1, MP_MIN_NONE } };
static const mp_type256 tq2_0 = { unpack_tq2_0, 256, 66, { 32, 3, 1, MP_MIN_NONE } };

MP_KERNELS_256(iq4_xs, iq4_xs)
MP_KERNELS_256(tq1_0, tq1_0)
MP_KERNELS_256(tq2_0, tq2_0)

void mp_avx2_init_rest(mp_kern *k)
{
    k->dequant[MP_IQ4_XS] = dequant_iq4_xs;
    k->dequant[MP_TQ1_0] = dequant_tq1_0;
    k->dequant[MP_TQ2_0] = dequant_tq2_0;
    k->mm[MP_IQ4_XS] = mm_iq4_xs;
    k->mm[MP_TQ1_0] = mm_tq1_0;
    k->mm[MP_TQ2_0] = mm_tq2_0;
}
