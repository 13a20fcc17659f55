/* Unpackers of IQ4_XS and of the ternary types; the layouts are pictured in num/ref/iq4.c and ternary.c.
 *
 * Floor with one token: TQ2_0 takes 20 operations for 256 weights, 10 cycles (codes 5, scale 1, products and gathering 10, floats 4), TQ1_0 32, four
 * of them vpermi2b: 17. */
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
    out->scale.of_32 = _mm256_mul_ps(_mm256_cvtepi32_ps(scale), _mm256_set1_ps(mp_half_512(src)));
    mp_look_up_512(out->q, mp_load64_512(src + 8), values);
    mp_look_up_512(out->q + 2, mp_load64_512(src + 72), values);
}

MP_INLINE void unpack_tq2_0(mp_super512 *out, const uint8_t *src)
{
    out->scale.of_32 = mp_quarter_half_512(src + 64);
    mp_two_bits_512(out->q, src);
}

/* What a byte of TQ1_0 means (num/ref/ternary.c): its digits 0 to 3 as in a byte of TQ2_0, and digit 4 at bits 0 and 2. */
#define DIGIT(byte, power) (((byte) * (power) & 255) * 3 >> 8)
#define FOUR(byte) (DIGIT(byte, 1) | DIGIT(byte, 3) << 2 | DIGIT(byte, 9) << 4 | DIGIT(byte, 27) << 6)
#define FIFTH(byte) (DIGIT(byte, 81) * 5)
#define OF_4(f, byte) f(byte), f(byte + 1), f(byte + 2), f(byte + 3)
#define OF_16(f, byte) OF_4(f, byte), OF_4(f, byte + 4), OF_4(f, byte + 8), OF_4(f, byte + 12)
#define OF_64(f, byte) OF_16(f, byte), OF_16(f, byte + 16), OF_16(f, byte + 32), OF_16(f, byte + 48)
#define OF_256(f) OF_64(f, 0), OF_64(f, 64), OF_64(f, 128), OF_64(f, 192)
static const uint8_t four_digits[256] = { OF_256(FOUR) }, fifth_digit[256] = { OF_256(FIFTH) };

/* table[v] for every byte; large: those from 128 on. */
MP_INLINE __m512i look_up_256(const uint8_t table[256], __m512i v, __mmask64 large)
{
    __m512i low = _mm512_permutex2var_epi8(_mm512_loadu_si512(table), v, _mm512_loadu_si512(table + 64));
    return _mm512_mask_blend_epi8(large, low, _mm512_permutex2var_epi8(_mm512_loadu_si512(table + 128), v, _mm512_loadu_si512(table + 192)));
}

/* Elements 0-159: 32 bytes, five digits; 160-239: 16 bytes, five digits; 240-255: 4 bytes, four digits. Those four bytes four times and shifted apart
 * make group 15 of lane 3 of q[0]; in the others lane 3 has nothing, which is where fifth digits go: groups 8, 9 and 14. */
MP_INLINE void unpack_tq1_0(mp_super512 *out, const uint8_t *src)
{
    const __m512i low = _mm512_set1_epi8(3), high = _mm512_set1_epi8(12), apart = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 6);
    __m512i v = _mm512_mask_loadu_epi64(_mm512_set1_epi32((int)mp_word_512(src + 48)), 0x3f, src);
    __mmask64 large = _mm512_movepi8_mask(v);
    __m512i fifth = look_up_256(fifth_digit, v, large);
    __m512i bytes = _mm512_srlv_epi32(look_up_256(four_digits, v, large), apart), upper = _mm512_srli_epi16(bytes, 4);
    out->scale.of_32 = mp_quarter_half_512(src + 52);
    out->q[0] = _mm512_and_si512(bytes, low);
    out->q[1] = _mm512_and_si512(_mm512_mask_shuffle_i64x2(bytes, 0xc0, fifth, fifth, 0x00), high);
    out->q[2] = _mm512_and_si512(_mm512_mask_shuffle_i64x2(upper, 0xc0, fifth, fifth, 0x55), low);
    out->q[3] = _mm512_and_si512(_mm512_mask_shuffle_i64x2(upper, 0xc0, fifth, fifth, 0xaa), high);
}

static const mp_type512 iq4_xs = { unpack_iq4_xs, 256, 136, 32, 255, 128, MP_MIN_NONE, MP_HALVES, 0 };
static const mp_type512 tq1_0 = { unpack_tq1_0, 256, 54, 32, 2, 1, MP_MIN_NONE, MP_TERNARY, 0 };
static const mp_type512 tq2_0 = { unpack_tq2_0, 256, 66, 32, 3, 1, MP_MIN_NONE, MP_QUARTERS, 0 };

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
