/* Unpackers of IQ4_XS and of the ternary types; the layouts are pictured in num/ref/iq4.c and ternary.c. */
#include "num/x86/block_avx512.h"

MP_INLINE void unpack_iq4_xs(mp_super512 *out, const uint8_t *src)
{
    const __m512i values = mp_iq4_values_512();
    const __m256i nibble = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28), pair = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
    __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32((int)mp_word_512(src + 4)), nibble);
    __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32((int)(mp_word_512(src) >> 16)), pair);
    low = _mm256_and_si256(low, _mm256_set1_epi32(15));
    high = _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4);
    __m256i scale = _mm256_sub_epi32(_mm256_or_si256(low, high), _mm256_set1_epi32(32));
    out->scale = mp_twice8_512(_mm256_mul_ps(_mm256_cvtepi32_ps(scale), _mm256_set1_ps(mp_half_512(src))), MP_HALVES);
    mp_look_up_512(out->q, mp_load64_512(src + 8), values);
    mp_look_up_512(out->q + 2, mp_load64_512(src + 72), values);
}

MP_INLINE void unpack_tq2_0(mp_super512 *out, const uint8_t *src)
{
    out->scale = _mm512_permutexvar_ps(_mm512_setzero_si512(), _mm512_castps128_ps512(_mm_set1_ps(mp_half_512(src + 64) * 0.25f)));
    mp_two_bits_512(out->q, src);
}

/* The first digit of every byte after multiplying by a power of three, 0 to 2. `power` has it in both bytes of each 16-bit lane. As
 * (3 * v) >> 8 counts the thresholds 86 and 171 that v reaches, two comparisons read it. */
MP_INLINE __m512i digits(__m512i bytes, __m512i power)
{
    const __m512i low_byte = _mm512_set1_epi16(255);
    __m512i even = _mm512_and_si512(_mm512_mullo_epi16(bytes, power), low_byte);
    __m512i odd = _mm512_slli_epi16(_mm512_mullo_epi16(_mm512_srli_epi16(bytes, 8), power), 8);
    __m512i v = _mm512_or_si512(even, odd), one = _mm512_set1_epi8(1);
    __m512i q = _mm512_setzero_si512();
    q = _mm512_mask_add_epi8(q, _mm512_cmpge_epu8_mask(v, _mm512_set1_epi8(86)), q, one);
    return _mm512_mask_add_epi8(q, _mm512_cmpge_epu8_mask(v, _mm512_set1_epi8((char)171)), q, one);
}

/* Powers of three for 16-byte quarters of a chunk. */
MP_INLINE __m512i powers(int a, int b, int c, int d)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(_mm_set1_epi16((short)b), _mm_set1_epi16((short)a))),
                              _mm256_set_m128i(_mm_set1_epi16((short)d), _mm_set1_epi16((short)c)), 1);
}

/* Elements 0-159: 32 bytes, five digits; 160-239: 16 bytes, five digits; 240-255: 4 bytes, four digits. */
MP_INLINE void unpack_tq1_0(mp_super512 *out, const uint8_t *src)
{
    __m256i rows = mp_load32_512(src);
    __m128i row = mp_load16_512(src + 32), last = _mm_set1_epi32((int)mp_word_512(src + 48));
    __m256i row2 = _mm256_broadcastsi128_si256(row);
    __m512i both = _mm512_broadcast_i64x4(rows);
    __m512i quarter3 = _mm512_inserti64x4(_mm512_castsi256_si512(row2), _mm256_set_m128i(last, row), 1);
    const __m512i tail_power = _mm512_inserti32x4(powers(9, 27, 81, 1), _mm_setr_epi16(1, 1, 3, 3, 9, 9, 27, 27), 3);
    out->scale = _mm512_set1_ps(mp_half_512(src + 52));
    out->q[0] = digits(both, powers(1, 1, 3, 3));
    out->q[1] = digits(both, powers(9, 9, 27, 27));
    out->q[2] = digits(_mm512_inserti64x4(both, row2, 1), powers(81, 81, 1, 3));
    out->q[3] = digits(quarter3, tail_power);
}

static const mp_type512 iq4_xs = { unpack_iq4_xs, 256, 136, 255, 128, MP_MIN_NONE, MP_HALVES, 0 };
static const mp_type512 tq1_0 = { unpack_tq1_0, 256, 54, 2, 1, MP_MIN_NONE, MP_PLAIN, 0 };
static const mp_type512 tq2_0 = { unpack_tq2_0, 256, 66, 3, 1, MP_MIN_NONE, MP_QUARTERS, 0 };

MP_KERNELS_512(iq4_xs, iq4_xs)
MP_KERNELS_512(tq1_0, tq1_0)
MP_KERNELS_512(tq2_0, tq2_0)

void mp_avx512_init_rest(mp_kern *k)
{
    k->dequant[MP_IQ4_XS] = dequant_iq4_xs;
    k->dequant[MP_TQ1_0] = dequant_tq1_0;
    k->dequant[MP_TQ2_0] = dequant_tq2_0;
    k->mm[MP_IQ4_XS] = mm_iq4_xs;
    k->mm[MP_TQ1_0] = mm_tq1_0;
    k->mm[MP_TQ2_0] = mm_tq2_0;
}
