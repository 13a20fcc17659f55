/* Unpackers of the types with blocks of 32, eight blocks at a time; the layouts are pictured in num/ref/legacy.c, iq4.c and mxfp4.c. */
#include "num/x86/block_avx512.h"

/* The eight scales at the start of each block, per 16 elements. */
MP_INLINE void set_scales(mp_super512 *out, const uint8_t *src, int block_bytes, mp_order order)
{
    out->scale = mp_twice8_512(mp_halves8_512(src, block_bytes), order);
}

/* The same, and eight values m with x = d * q + m: the minimum is -m. */
MP_INLINE void set_scales_mins(mp_super512 *out, const uint8_t *src, int block_bytes)
{
    set_scales(out, src, block_bytes, MP_HALVES);
    out->min.of_32 = _mm256_sub_ps(_mm256_setzero_ps(), mp_halves8_512(src + 2, block_bytes));
}

/* The 16 bytes of nibbles of four blocks: p in the first. */
MP_INLINE __m512i four_of_16(const uint8_t *p, int block_bytes)
{
    __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(mp_load16_512(p)), mp_load16_512(p + block_bytes), 1);
    __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(mp_load16_512(p + 2 * block_bytes)), mp_load16_512(p + 3 * block_bytes), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* Codes of the eight blocks, whose nibbles begin `at` bytes into each. */
MP_INLINE void nibbles(mp_super512 *out, const uint8_t *src, int block_bytes, int at)
{
    mp_nibbles_512(out->q, four_of_16(src + at, block_bytes));
    mp_nibbles_512(out->q + 2, four_of_16(src + at + 4 * block_bytes, block_bytes));
}

/* Adds 16 where the 32-bit mask that lies `at` bytes into a block has a bit: its first half is for the low nibbles. */
MP_INLINE void add_fifth_bits(mp_super512 *out, const uint8_t *src, int block_bytes, int at)
{
    const __m512i sixteen = _mm512_set1_epi8(16);
    const uint64_t first_halves = 0x0000ffff0000ffff;
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        const uint8_t *p = src + 4 * h * block_bytes + at;
        uint64_t a = mp_word_512(p) | (uint64_t)mp_word_512(p + block_bytes) << 32;
        uint64_t b = mp_word_512(p + 2 * block_bytes) | (uint64_t)mp_word_512(p + 3 * block_bytes) << 32;
        __mmask64 low = _cvtu64_mask64(_pext_u64(a, first_halves) | _pext_u64(b, first_halves) << 32);
        __mmask64 high = _cvtu64_mask64(_pext_u64(a, ~first_halves) | _pext_u64(b, ~first_halves) << 32);
        out->q[2 * h] = _mm512_mask_add_epi8(out->q[2 * h], low, out->q[2 * h], sixteen);
        out->q[2 * h + 1] = _mm512_mask_add_epi8(out->q[2 * h + 1], high, out->q[2 * h + 1], sixteen);
    }
}

MP_INLINE void look_up(mp_super512 *out, __m512i values)
{
    MP_UNROLL
    for (int c = 0; c < 4; c++)
        out->q[c] = _mm512_shuffle_epi8(values, out->q[c]);
}

MP_INLINE void unpack_q4_0(mp_super512 *out, const uint8_t *src)
{
    set_scales(out, src, 18, MP_HALVES);
    nibbles(out, src, 18, 2);
}

MP_INLINE void unpack_q4_1(mp_super512 *out, const uint8_t *src)
{
    set_scales_mins(out, src, 20);
    nibbles(out, src, 20, 4);
}

MP_INLINE void unpack_q5_0(mp_super512 *out, const uint8_t *src)
{
    set_scales(out, src, 22, MP_HALVES);
    nibbles(out, src, 22, 6);
    add_fifth_bits(out, src, 22, 2);
}

MP_INLINE void unpack_q5_1(mp_super512 *out, const uint8_t *src)
{
    set_scales_mins(out, src, 24);
    nibbles(out, src, 24, 8);
    add_fifth_bits(out, src, 24, 4);
}

MP_INLINE void unpack_q8_0(mp_super512 *out, const uint8_t *src)
{
    set_scales(out, src, 34, MP_PLAIN);
    MP_UNROLL
    for (int c = 0; c < 4; c++) {
        const uint8_t *p = src + 2 * c * 34 + 2;
        out->q[c] = _mm512_inserti64x4(_mm512_castsi256_si512(mp_load32_512(p)), mp_load32_512(p + 34), 1);
        out->q[c] = _mm512_xor_si512(out->q[c], _mm512_set1_epi8(-128));
    }
}

MP_INLINE void unpack_iq4_nl(mp_super512 *out, const uint8_t *src)
{
    set_scales(out, src, 18, MP_HALVES);
    nibbles(out, src, 18, 2);
    look_up(out, mp_iq4_values_512());
}

/* 2^(e - 128) as float bits: (e - 1) << 23 for a normal one, the subnormals 2^-128 and 2^-127 for e = 0 and 1, NaN for 255. */
MP_INLINE __m256 powers_of_two(__m256i e)
{
    __m256i bits = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x200000), e);
    bits = _mm256_mask_mov_epi32(bits, _mm256_cmplt_epi32_mask(e, _mm256_set1_epi32(2)), tiny);
    bits = _mm256_mask_mov_epi32(bits, _mm256_cmpeq_epi32_mask(e, _mm256_set1_epi32(255)), _mm256_set1_epi32(0x7fc00000));
    return _mm256_castsi256_ps(bits);
}

MP_INLINE void unpack_mxfp4(mp_super512 *out, const uint8_t *src)
{
    const __m512i doubled = _mm512_broadcast_i32x4(_mm_setr_epi8(16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4));
    __m256i e = _mm256_setr_epi32(src[0], src[17], src[34], src[51], src[68], src[85], src[102], src[119]);
    out->scale = mp_twice8_512(powers_of_two(e), MP_HALVES);
    nibbles(out, src, 17, 1);
    look_up(out, doubled);
}

static const mp_type512 q4_0 = { unpack_q4_0, 32, 8 * 18, 15, 8, MP_MIN_NONE, MP_HALVES };
static const mp_type512 q4_1 = { unpack_q4_1, 32, 8 * 20, 15, 0, MP_MIN_32, MP_HALVES };
static const mp_type512 q5_0 = { unpack_q5_0, 32, 8 * 22, 31, 16, MP_MIN_NONE, MP_HALVES };
static const mp_type512 q5_1 = { unpack_q5_1, 32, 8 * 24, 31, 0, MP_MIN_32, MP_HALVES };
static const mp_type512 q8_0 = { unpack_q8_0, 32, 8 * 34, 255, 128, MP_MIN_NONE, MP_PLAIN };
static const mp_type512 iq4_nl = { unpack_iq4_nl, 32, 8 * 18, 255, 128, MP_MIN_NONE, MP_HALVES };
static const mp_type512 mxfp4 = { unpack_mxfp4, 32, 8 * 17, 28, 16, MP_MIN_NONE, MP_HALVES };

MP_KERNELS_512(q4_0, q4_0)
MP_KERNELS_512(q4_1, q4_1)
MP_KERNELS_512(q5_0, q5_0)
MP_KERNELS_512(q5_1, q5_1)
MP_KERNELS_512(q8_0, q8_0)
MP_KERNELS_512(iq4_nl, iq4_nl)
MP_KERNELS_512(mxfp4, mxfp4)

void mp_avx512_init_legacy(mp_kern *k)
{
    k->dequant[MP_Q4_0] = dequant_q4_0;
    k->dequant[MP_Q4_1] = dequant_q4_1;
    k->dequant[MP_Q5_0] = dequant_q5_0;
    k->dequant[MP_Q5_1] = dequant_q5_1;
    k->dequant[MP_Q8_0] = dequant_q8_0;
    k->dequant[MP_IQ4_NL] = dequant_iq4_nl;
    k->dequant[MP_MXFP4] = dequant_mxfp4;
    k->mm[MP_Q4_0] = mm_q4_0;
    k->mm[MP_Q4_1] = mm_q4_1;
    k->mm[MP_Q5_0] = mm_q5_0;
    k->mm[MP_Q5_1] = mm_q5_1;
    k->mm[MP_Q8_0] = mm_q8_0;
    k->mm[MP_IQ4_NL] = mm_iq4_nl;
    k->mm[MP_MXFP4] = mm_mxfp4;
}
