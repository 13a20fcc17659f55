/* Unpackers of the types with blocks of 32, eight blocks at a time; the layouts are pictured in num/ref/legacy.c, iq4.c and mxfp4.c.
 *
 * Floor with one token: MXFP4 takes 22 operations for 256 weights, 11 cycles (codes 8, scales 4, products and gathering 8, floats 2). Three are
 * vpermi2b, so that it comes to 15 (order_avx512.h). */
#include "num/x86/block_avx512.h"

/* The bytes of eight blocks in three registers, the last of which overlaps the second: what is not whole in two neighbouring ones is nowhere needed. */
typedef struct blocks8 {
    __m512i first, second, last;
} blocks8;

MP_INLINE blocks8 load_blocks(const uint8_t *src, int block_bytes)
{
    return (blocks8){ mp_load64_512(src), mp_load64_512(src + 64), mp_load64_512(src + 8 * block_bytes - 64) };
}

/* a, a + 1, ... a + 15 as bytes of the first lane, and so on. */
MP_INLINE __m512i sixteen_from(int a, int b, int c, int d)
{
    const __m512i ramp = _mm512_set4_epi32(0x0f0e0d0c, 0x0b0a0908, 0x07060504, 0x03020100);
    a *= 0x01010101, b *= 0x01010101, c *= 0x01010101, d *= 0x01010101;
    return _mm512_add_epi8(ramp, _mm512_setr_epi32(a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d));
}

/* Where the 16 bytes from `at` on of all eight blocks are: in first and second, or in second and last. */
MP_INLINE int in_last(int byte, int block_bytes)
{
    return byte + 16 <= 128 ? byte - 64 : byte - (8 * block_bytes - 64) + 64;
}

/* The 16 bytes of nibbles of all blocks, that begin `at` bytes into each. */
MP_INLINE void gather_nibbles(__m512i to[2], const blocks8 *b, int block_bytes, int at)
{
    const int n = block_bytes;
    const __m512i low = sixteen_from(at, at + n, at + 2 * n, at + 3 * n);
    const __m512i high = sixteen_from(in_last(at + 4 * n, n), in_last(at + 5 * n, n), in_last(at + 6 * n, n), in_last(at + 7 * n, n));
    to[0] = _mm512_permutex2var_epi8(b->first, low, b->second);
    to[1] = _mm512_permutex2var_epi8(b->second, high, b->last);
}

/* Two halves' bytes as a word. */
MP_INLINE int two_halves(int low, int high)
{
    return (int)((uint32_t)(low | (low + 1) << 8 | high << 16) | (uint32_t)(high + 1) << 24);
}

/* The eight halves that blocks begin with, in order; two: and behind them the halves that follow each. */
MP_INLINE __m512i gather_halves(const blocks8 *b, int n, bool two)
{
    const __m512i at = _mm512_setr_epi32(two_halves(0, n), two_halves(2 * n, 3 * n), two_halves(4 * n, 5 * n), two_halves(6 * n, 7 * n), two_halves(2, n + 2),
                                         two_halves(2 * n + 2, 3 * n + 2), two_halves(4 * n + 2, 5 * n + 2), two_halves(6 * n + 2, 7 * n + 2), 0, 0, 0, 0, 0, 0, 0, 0);
    __m512i v = _mm512_permutex2var_epi8(b->first, at, b->second);
    if (7 * n + (two ? 4 : 2) > 128)
        v = _mm512_mask_permutexvar_epi8(v, _mm512_movepi8_mask(at), _mm512_sub_epi8(at, _mm512_set1_epi8((char)(8 * n - 64))), b->last);
    return v;
}

MP_INLINE void set_block_scales(mp_super512 *out, const blocks8 *b, int block_bytes)
{
    out->scale.of_32 = _mm256_cvtph_ps(_mm512_castsi512_si128(gather_halves(b, block_bytes, false)));
}

/* The same, and eight values m with x = d * q + m: the minimum is -m. */
MP_INLINE void set_block_scales_mins(mp_super512 *out, const blocks8 *b, int block_bytes)
{
    __m512i halves = gather_halves(b, block_bytes, true);
    out->scale.of_32 = _mm256_cvtph_ps(_mm512_castsi512_si128(halves));
    out->min.of_32 = _mm256_sub_ps(_mm256_setzero_ps(), _mm256_cvtph_ps(_mm256_extracti128_si256(_mm512_castsi512_si256(halves), 1)));
}

/* Codes of the eight blocks. */
MP_INLINE void nibbles(mp_super512 *out, const blocks8 *b, int block_bytes, int at)
{
    __m512i bytes[2];
    gather_nibbles(bytes, b, block_bytes, at);
    mp_nibbles_512(out->q, bytes[0]);
    mp_nibbles_512(out->q + 2, bytes[1]);
}

/* What each nibble stands for. */
MP_INLINE void look_up(mp_super512 *out, const blocks8 *b, int block_bytes, int at, __m512i values)
{
    __m512i bytes[2];
    gather_nibbles(bytes, b, block_bytes, at);
    mp_look_up_512(out->q, bytes[0], values);
    mp_look_up_512(out->q + 2, bytes[1], values);
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

MP_INLINE void unpack_q4_0(mp_super512 *out, const uint8_t *src)
{
    const blocks8 b = load_blocks(src, 18);
    set_block_scales(out, &b, 18);
    nibbles(out, &b, 18, 2);
}

MP_INLINE void unpack_q4_1(mp_super512 *out, const uint8_t *src)
{
    const blocks8 b = load_blocks(src, 20);
    set_block_scales_mins(out, &b, 20);
    nibbles(out, &b, 20, 4);
}

MP_INLINE void unpack_q5_0(mp_super512 *out, const uint8_t *src)
{
    const blocks8 b = load_blocks(src, 22);
    set_block_scales(out, &b, 22);
    nibbles(out, &b, 22, 6);
    add_fifth_bits(out, src, 22, 2);
}

MP_INLINE void unpack_q5_1(mp_super512 *out, const uint8_t *src)
{
    const blocks8 b = load_blocks(src, 24);
    set_block_scales_mins(out, &b, 24);
    nibbles(out, &b, 24, 8);
    add_fifth_bits(out, src, 24, 4);
}

MP_INLINE void unpack_q8_0(mp_super512 *out, const uint8_t *src)
{
    uint16_t d[8]; /* in PLAIN's order of blocks */
    MP_UNROLL
    for (int i = 0; i < 8; i++)
        memcpy(&d[i], src + (i % 4 * 2 + i / 4) * 34, 2);
    out->scale.of_32 = _mm256_cvtph_ps(_mm_setr_epi16((short)d[0], (short)d[1], (short)d[2], (short)d[3], (short)d[4], (short)d[5], (short)d[6], (short)d[7]));
    MP_UNROLL
    for (int c = 0; c < 4; c++) {
        const uint8_t *p = src + 2 * c * 34 + 2;
        out->q[c] = _mm512_inserti64x4(_mm512_castsi256_si512(mp_load32_512(p)), mp_load32_512(p + 34), 1);
        out->q[c] = _mm512_xor_si512(out->q[c], _mm512_set1_epi8(-128));
    }
}

MP_INLINE void unpack_iq4_nl(mp_super512 *out, const uint8_t *src)
{
    const blocks8 b = load_blocks(src, 18);
    set_block_scales(out, &b, 18);
    look_up(out, &b, 18, 2, mp_iq4_values_512());
}

/* The eight powers 2^(e - 128). A byte e shifted to a float's exponent is 2^(e - 127), but 0 instead of the subnormal 2^-127, and infinity instead
 * of NaN. */
MP_INLINE __m256 powers_of_two(const blocks8 *b)
{
    const __m512i at = _mm512_slli_epi32(_mm512_setr_epi32(0, 17, 34, 51, 68, 85, 102, 119, 0, 0, 0, 0, 0, 0, 0, 0), 24);
    const __m256i how = _mm256_set1_epi32(1 << 4 * 3 | 3 << 4 * 5 | 1 << 4 * 7); /* zero: the first operand, infinity: NaN, one and others: stay */
    __m256i bits = _mm512_castsi512_si256(_mm512_maskz_permutex2var_epi8(0x88888888, b->first, at, b->second));
    __m256 power = _mm256_fixupimm_ps(_mm256_set1_ps(0x1p-127f), _mm256_castsi256_ps(_mm256_srli_epi32(bits, 1)), how, 0);
    return _mm256_mul_ps(power, _mm256_set1_ps(0.5f));
}

MP_INLINE void unpack_mxfp4(mp_super512 *out, const uint8_t *src)
{
    const __m512i doubled = _mm512_broadcast_i32x4(_mm_setr_epi8(16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4));
    const blocks8 b = load_blocks(src, 17);
    out->scale.of_32 = powers_of_two(&b);
    look_up(out, &b, 17, 1, doubled);
}

static const mp_type512 q4_0 = { unpack_q4_0, 32, 8 * 18, 32, 15, 8, MP_MIN_NONE, MP_HALVES, 0 };
static const mp_type512 q4_1 = { unpack_q4_1, 32, 8 * 20, 32, 15, 0, MP_MIN_32, MP_HALVES, 0 };
static const mp_type512 q5_0 = { unpack_q5_0, 32, 8 * 22, 32, 31, 16, MP_MIN_NONE, MP_HALVES, 0 };
static const mp_type512 q5_1 = { unpack_q5_1, 32, 8 * 24, 32, 31, 0, MP_MIN_32, MP_HALVES, 0 };
static const mp_type512 q8_0 = { unpack_q8_0, 32, 8 * 34, 32, 255, 128, MP_MIN_NONE, MP_PLAIN, 0 };
static const mp_type512 iq4_nl = { unpack_iq4_nl, 32, 8 * 18, 32, 255, 128, MP_MIN_NONE, MP_HALVES, 0 };
static const mp_type512 mxfp4 = { unpack_mxfp4, 32, 8 * 17, 32, 28, 16, MP_MIN_NONE, MP_HALVES, 127 };

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
