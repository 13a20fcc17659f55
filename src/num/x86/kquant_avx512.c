/* Unpackers of the k-quants; the layouts are pictured in num/ref/kquant.c.
 *
 * Operations of 256 weights with one token, those that cost 2/3 of a cycle in brackets:
 *
 *             codes   scales, minima   products, gathering   to floats, adding   together   floor, cycles
 *     Q2_K     5         6 (5)             10 (7)               7 (5)             28 (17)       14
 *     Q3_K    10 (4)     6 (3)             10 (7)               5 (4)             31 (18)       15.5
 */
#include "num/x86/block_avx512.h"

/* The 6-bit scales and minima of Q4_K and Q5_K, from 12 bytes b: those of blocks 0-3 are b[0..3] and b[4..7], six bits each; those of blocks 4-7 are
 * the lower and the upper nibbles of b[8..11] under the two top bits of b[0..3] and b[4..7]. Both halves are laid out as (low, b[8..11]) and
 * every byte is cut out of its half at the right bit, in PAIRS' order of blocks: 0 1 4 5 2 3 6 7. */
MP_INLINE void scales_6bit(mp_super512 *out, const uint8_t *src)
{
    const __m128i halves = _mm_setr_epi8(0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 8, 9, 10, 11);
    const __m128i low_at = _mm_setr_epi8(0, 8, 32, 40, 16, 24, 48, 56, 0, 8, 36, 44, 16, 24, 52, 60);
    const __m128i high_at = _mm_setr_epi8(0, 0, 2, 10, 0, 0, 18, 26, 0, 0, 2, 10, 0, 0, 18, 26);
    const __m128i low = _mm_set1_epi32(0x0f0f3f3f), high = _mm_set1_epi32(0x30300000);
    __m128i b = _mm_shuffle_epi8(mp_load16_512(src + 4), halves);
    __m128i bytes = _mm_and_si128(_mm_multishift_epi64_epi8(low_at, b), low);
    bytes = _mm_ternarylogic_epi32(_mm_multishift_epi64_epi8(high_at, b), high, bytes, 0xea); /* (a & b) | c */
    __m512 factor = _mm512_castps128_ps512(_mm_cvtph_ps(_mm_cvtsi32_si128((int)mp_word_512(src)))); /* d, dmin */
    factor = _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1), factor);
    __m512 both = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), factor); /* 8 scales, 8 minima */
    out->scale.of_32 = _mm512_castps512_ps256(both);
    out->min.of_32 = _mm512_extractf32x8_ps(both, 1);
}

MP_INLINE void unpack_q4_k(mp_super512 *out, const uint8_t *src)
{
    scales_6bit(out, src);
    mp_nibbles_512(out->q, mp_load64_512(src + 16));
    mp_nibbles_512(out->q + 2, mp_load64_512(src + 80));
}

MP_INLINE void unpack_q5_k(mp_super512 *out, const uint8_t *src)
{
    const __m512i bit0 = _mm512_set1_epi16(0x1000), bit1 = _mm512_set1_epi32(0x10100000); /* tables: 16 where an index has it */
    __m512i high = _mm512_srlv_epi64(_mm512_broadcast_i64x4(mp_load32_512(src + 16)), _mm512_setr_epi64(0, 0, 0, 0, 2, 2, 2, 2));
    __m512i upper = _mm512_srli_epi16(high, 4);
    scales_6bit(out, src);
    mp_nibbles_512(out->q, mp_load64_512(src + 48));
    mp_nibbles_512(out->q + 2, mp_load64_512(src + 112));
    MP_UNROLL
    for (int c = 0; c < 4; c++) /* blocks 0 2 | 1 3 | 4 6 | 5 7 */
        out->q[c] = _mm512_or_si512(out->q[c], _mm512_permutexvar_epi8(c < 2 ? high : upper, c % 2 ? bit1 : bit0));
}

MP_INLINE void unpack_q6_k(mp_super512 *out, const uint8_t *src)
{
    const __m128i groups = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15); /* PLAIN's places */
    __m512i scale = _mm512_cvtepi8_epi32(_mm_shuffle_epi8(mp_load16_512(src + 192), groups));
    out->scale.of_16 = _mm512_mul_ps(_mm512_cvtepi32_ps(scale), _mm512_set1_ps(mp_half_512(src + 208)));
    MP_UNROLL
    for (int c = 0; c < 4; c++) {
        __m512i low = _mm512_loadu_si512(src + 64 * (c / 2));
        __m512i high = _mm512_broadcast_i64x4(mp_load32_512(src + 128 + 32 * (c / 2)));
        /* Bits 2g and 2g+1 belong at 4 and 5: rotate left by 4, 2 (c even), 0, -2 (c odd); strangers are masked off. */
        const __m512i by = c & 1 ? _mm512_setr_epi64(0, 0, 0, 0, 62, 62, 62, 62) : _mm512_setr_epi64(4, 4, 4, 4, 2, 2, 2, 2);
        low = c & 1 ? _mm512_srli_epi16(low, 4) : low;
        __m512i q = _mm512_ternarylogic_epi32(_mm512_and_si512(low, _mm512_set1_epi8(15)), _mm512_rolv_epi64(high, by), _mm512_set1_epi8(0x30), 0xf8);
        out->q[c] = q;
    }
}

/* A byte of scales, the minimum in its high nibble, is what a table of sixteen multiples is looked up with, which looks at four bits. */
MP_INLINE void unpack_q2_k(mp_super512 *out, const uint8_t *src)
{
    const __m512 count = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i bytes = _mm512_permutexvar_epi8(mp_quarters_places_512(), _mm512_castsi128_si512(mp_load16_512(src)));
    mp_halves4_512 halves;
    mp_halves4_at_512(&halves, src + 76);
    __m512 scales = _mm512_mul_ps(_mm512_mul_ps(count, _mm512_set1_ps(0.25f)), _mm512_set1_ps(halves.at[2]));
    __m512 mins = _mm512_mul_ps(_mm512_mul_ps(count, _mm512_set1_ps(0x1p-7f)), _mm512_set1_ps(halves.at[3]));
    out->scale.of_16 = _mm512_permutexvar_ps(bytes, scales);
    out->min.of_16 = _mm512_permutexvar_ps(_mm512_srli_epi32(bytes, 4), mins);
    mp_two_bits_512(out->q, src + 16);
}

/* Scale k's low nibble is at bit 8 (k % 8) + 4 (k / 8) of bytes 96-103, its upper two bits at 8 (k % 4) + 2 (k / 4) of 104-107. They are cut out so
 * that they become bits 17 to 22 of a float 16 + k / 4. */
MP_INLINE __m512 quarter_scales_q3_k(const uint8_t *src)
{
    const __m512i k = mp_quarters_places_512(), seven = _mm512_set1_epi32(7), three = _mm512_set1_epi32(3);
    const __m512i low_at = _mm512_add_epi32(_mm512_slli_epi32(_mm512_and_si512(k, seven), 3), _mm512_slli_epi32(_mm512_srli_epi32(k, 3), 2));
    const __m512i high_at = _mm512_add_epi32(_mm512_slli_epi32(_mm512_and_si512(k, three), 3), _mm512_slli_epi32(_mm512_srli_epi32(k, 2), 1));
    const __m512i low_by = _mm512_slli_epi32(_mm512_sub_epi32(low_at, _mm512_set1_epi32(1)), 16);
    const __m512i high_by = _mm512_slli_epi32(_mm512_sub_epi32(high_at, _mm512_set1_epi32(5)), 16);
    const __m512i low_mask = _mm512_set1_epi32(0x1e0000), high_mask = _mm512_set1_epi32(0x600000), sixteen = _mm512_castps_si512(_mm512_set1_ps(16.0f));
    __m512i low = _mm512_multishift_epi64_epi8(low_by, _mm512_set1_epi64((int64_t)(mp_word_512(src + 96) | (uint64_t)mp_word_512(src + 100) << 32)));
    __m512i high = _mm512_multishift_epi64_epi8(high_by, _mm512_set1_epi32((int)mp_word_512(src + 104)));
    low = _mm512_ternarylogic_epi32(low, low_mask, sixteen, 0xea);   /* (a & b) | c */
    high = _mm512_ternarylogic_epi32(high, high_mask, low, 0xea);
    return _mm512_add_ps(_mm512_castsi512_ps(high), _mm512_set1_ps(-24.0f));
}

/* The third bits of elements 32 j + i and 128 + 32 j + i are bits j and 4 + j of byte i. Tables say what each nibble means for q[j]. */
MP_INLINE void unpack_q3_k(mp_super512 *out, const uint8_t *src)
{
    const __m512i table[4] = {
        _mm512_set1_epi16(0x0400), _mm512_set1_epi32(0x10100000), _mm512_set1_epi64(0x0404040400000000), _mm512_set4_epi32(0x10101010, 0x10101010, 0, 0)
    };
    __m512i nibbles = _mm512_srlv_epi64(_mm512_broadcast_i64x4(mp_load32_512(src)), _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4));
    mp_halves4_512 halves;
    mp_halves4_at_512(&halves, src + 102);
    out->scale.of_16 = _mm512_mul_ps(quarter_scales_q3_k(src), _mm512_set1_ps(halves.at[3]));
    mp_two_bits_512(out->q, src + 32);
    MP_UNROLL
    for (int c = 0; c < 4; c++)
        out->q[c] = _mm512_or_si512(out->q[c], _mm512_permutexvar_epi8(nibbles, table[c])); /* looks at six bits */
}

static const mp_type512 q2_k = { unpack_q2_k, 256, 84, 16, 3, 0, MP_MIN_16, MP_QUARTERS, 0 };
static const mp_type512 q3_k = { unpack_q3_k, 256, 110, 16, 7, 4, MP_MIN_NONE, MP_QUARTERS, 0 };
static const mp_type512 q4_k = { unpack_q4_k, 256, 144, 32, 15, 0, MP_MIN_32, MP_PAIRS, 0 };
static const mp_type512 q5_k = { unpack_q5_k, 256, 176, 32, 31, 0, MP_MIN_32, MP_PAIRS, 0 };
static const mp_type512 q6_k = { unpack_q6_k, 256, 210, 16, 63, 32, MP_MIN_NONE, MP_PLAIN, 0 };

MP_KERNELS_512(q2_k, q2_k)
MP_KERNELS_512(q3_k, q3_k)
MP_KERNELS_512(q4_k, q4_k)
MP_KERNELS_512(q5_k, q5_k)
MP_KERNELS_512(q6_k, q6_k)

void mp_avx512_init_kquant(mp_kern *k)
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
