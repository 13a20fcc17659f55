/* Unpackers of the types with blocks of 32, eight blocks at a time; the layouts are pictured in num/ref/legacy.c, iq4.c and mxfp4.c. */
#include "num/x86/block_avx2.h"
#include "num/x86/unpack_avx2.h"

/* The halves at the start of eight blocks that are `stride` bytes apart. */
MP_INLINE __m256 halves8(const uint8_t *p, int stride)
{
    uint16_t h[8];
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        memcpy(&h[b], p + b * stride, 2);
    return _mm256_cvtph_ps(_mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3], (short)h[4], (short)h[5], (short)h[6], (short)h[7]));
}

/* The second half of each block is a value m with x = d * q + m: the minimum is -m. */
MP_INLINE void set_scales_mins(mp_super256 *out, const uint8_t *src, int block_bytes)
{
    out->s.scale[0] = halves8(src, block_bytes);
    out->s.min[0] = _mm256_sub_ps(_mm256_setzero_ps(), halves8(src + 2, block_bytes));
}

/* 16 in every byte whose bit is set in the 32-bit mask at p. */
MP_INLINE __m256i fifth_bits(const uint8_t *p)
{
    const __m256i spread = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32((int)mp_word_256(p)), spread);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit), _mm256_set1_epi8(16));
}

MP_INLINE void unpack_q4_0(mp_super256 *out, const uint8_t *src)
{
    out->s.scale[0] = halves8(src, 18);
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        out->q[b] = mp_nibbles_256(mp_load16_256(src + 18 * b + 2));
}

MP_INLINE void unpack_q4_1(mp_super256 *out, const uint8_t *src)
{
    set_scales_mins(out, src, 20);
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        out->q[b] = mp_nibbles_256(mp_load16_256(src + 20 * b + 4));
}

MP_INLINE void unpack_q5_0(mp_super256 *out, const uint8_t *src)
{
    out->s.scale[0] = halves8(src, 22);
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        out->q[b] = _mm256_or_si256(mp_nibbles_256(mp_load16_256(src + 22 * b + 6)), fifth_bits(src + 22 * b + 2));
}

MP_INLINE void unpack_q5_1(mp_super256 *out, const uint8_t *src)
{
    set_scales_mins(out, src, 24);
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        out->q[b] = _mm256_or_si256(mp_nibbles_256(mp_load16_256(src + 24 * b + 8)), fifth_bits(src + 24 * b + 4));
}

MP_INLINE void unpack_q8_0(mp_super256 *out, const uint8_t *src)
{
    out->s.scale[0] = halves8(src, 34);
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        out->q[b] = mp_load32_256(src + 34 * b + 2);
}

MP_INLINE void unpack_iq4_nl(mp_super256 *out, const uint8_t *src)
{
    const __m256i values = _mm256_broadcastsi128_si256(_mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
    out->s.scale[0] = halves8(src, 18);
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        out->q[b] = _mm256_shuffle_epi8(values, mp_nibbles_256(mp_load16_256(src + 18 * b + 2)));
}

/* 2^(e - 128) as float bits: (e - 1) << 23 for a normal one, the subnormals 2^-128 and 2^-127 for e = 0 and 1, NaN for 255. */
MP_INLINE __m256 powers_of_two(__m256i e)
{
    __m256i bits = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x200000), e);
    bits = _mm256_blendv_epi8(bits, tiny, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e));
    bits = _mm256_blendv_epi8(bits, _mm256_set1_epi32(0x7fc00000), _mm256_cmpeq_epi32(e, _mm256_set1_epi32(255)));
    return _mm256_castsi256_ps(bits);
}

MP_INLINE void unpack_mxfp4(mp_super256 *out, const uint8_t *src)
{
    const __m256i doubled = _mm256_broadcastsi128_si256(_mm_setr_epi8(16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4));
    out->s.scale[0] = powers_of_two(_mm256_setr_epi32(src[0], src[17], src[34], src[51], src[68], src[85], src[102], src[119]));
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        out->q[b] = _mm256_shuffle_epi8(doubled, mp_nibbles_256(mp_load16_256(src + 17 * b + 1)));
}

static const mp_type256 q4_0 = { unpack_q4_0, 32, 8 * 18, { 32, 15, 8, MP_MIN_NONE } };
static const mp_type256 q4_1 = { unpack_q4_1, 32, 8 * 20, { 32, 15, 0, MP_MIN_32 } };
static const mp_type256 q5_0 = { unpack_q5_0, 32, 8 * 22, { 32, 31, 16, MP_MIN_NONE } };
static const mp_type256 q5_1 = { unpack_q5_1, 32, 8 * 24, { 32, 31, 0, MP_MIN_32 } };
static const mp_type256 q8_0 = { unpack_q8_0, 32, 8 * 34, { 32, 128, 0, MP_MIN_NONE } };
static const mp_type256 iq4_nl = { unpack_iq4_nl, 32, 8 * 18, { 32, 128, 0, MP_MIN_NONE } };
static const mp_type256 mxfp4 = { unpack_mxfp4, 32, 8 * 17, { 32, 28, 16, MP_MIN_NONE } };

MP_KERNELS_256(q4_0, q4_0)
MP_KERNELS_256(q4_1, q4_1)
MP_KERNELS_256(q5_0, q5_0)
MP_KERNELS_256(q5_1, q5_1)
MP_KERNELS_256(q8_0, q8_0)
MP_KERNELS_256(iq4_nl, iq4_nl)
MP_KERNELS_256(mxfp4, mxfp4)

void mp_avx2_init_legacy(mp_kern *k)
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
