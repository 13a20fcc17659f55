/* Codes and scales of the types with super-blocks of 256; the layouts are pictured in num/ref/kquant.c, iq4.c and ternary.c. */
#ifndef MP_NUM_ARM_SUPER_NEON_H
#define MP_NUM_ARM_SUPER_NEON_H

#include "num/arm/block_neon.h"

/* Eight bytes below 128, one per block, times the half at p. */
MP_INLINE void bytes8(float32x4_t *to, uint64_t bytes, const uint8_t *p)
{
    mp_times_neon(to, vmovl_s8(vcreate_s8(bytes)), mp_half_neon(p));
}

/* 16 bytes, two per block, times the half at p. */
MP_INLINE void bytes16(float32x4_t (*to)[2], int8x16_t bytes, const uint8_t *p)
{
    int16x8_t pairs = vreinterpretq_s16_s8(bytes);
    mp_times_neon(to[0], vshrq_n_s16(vshlq_n_s16(pairs, 8), 8), mp_half_neon(p));
    mp_times_neon(to[1], vshrq_n_s16(pairs, 8), mp_half_neon(p));
}

/* The 6-bit scales and minima of Q4_K and Q5_K, from 12 bytes, as 8 bytes each: groups 0-3 in the low word, 4-7 in the high one. */
MP_INLINE void scales_6bit(mp_scales_neon *out, const uint8_t *src)
{
    const uint32_t u[3] = { mp_bits32_neon(src + 4), mp_bits32_neon(src + 8), mp_bits32_neon(src + 12) };
    uint64_t scale_low = u[0] & 0x3f3f3f3f, scale_high = (u[2] & 0x0f0f0f0f) | ((u[0] >> 6) & 0x03030303) << 4;
    uint64_t min_low = u[1] & 0x3f3f3f3f, min_high = ((u[2] >> 4) & 0x0f0f0f0f) | ((u[1] >> 6) & 0x03030303) << 4;
    bytes8(out->scale[0], scale_low | scale_high << 32, src);
    bytes8(out->min[0], min_low | min_high << 32, src + 2);
}

MP_INLINE void codes_q4_k(int8x16_t *q, const uint8_t *src, int b)
{
    MP_UNROLL
    for (int h = 0; h < 2; h++)
        q[h] = vreinterpretq_s8_u8(mp_field_neon(src + 16 + 32 * (b / 2) + 16 * h, 4 * (b & 1), 4));
}

MP_INLINE void codes_q5_k(int8x16_t *q, const uint8_t *src, int b)
{
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        uint8x16_t low = mp_field_neon(src + 48 + 32 * (b / 2) + 16 * h, 4 * (b & 1), 4);
        q[h] = vreinterpretq_s8_u8(vorrq_u8(low, mp_where_bit_neon(src + 16 + 16 * h, b, 16)));
    }
}

MP_INLINE void scales_q6_k(mp_scales_neon *out, const uint8_t *src)
{
    bytes16(out->scale, vreinterpretq_s8_u8(vld1q_u8(src + 192)), src + 208);
}

MP_INLINE void codes_q6_k(int8x16_t *q, const uint8_t *src, int b)
{
    int half = b / 4, group = b % 4;
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        uint8x16_t low = mp_field_neon(src + 64 * half + 32 * (group & 1) + 16 * h, 4 * (group >> 1), 4);
        uint8x16_t high = mp_field_neon(src + 128 + 32 * half + 16 * h, 2 * group, 2);
        q[h] = mp_less_neon(vorrq_u8(low, vshlq_n_u8(high, 4)), 32);
    }
}

/* Two bits of every element of half h of block b, as Q2_K, Q3_K and TQ2_0 store them. */
MP_INLINE uint8x16_t two_bits(const uint8_t *qs, int b, int h)
{
    return mp_field_neon(qs + 32 * (b / 4) + 16 * h, 2 * (b % 4), 2);
}

MP_INLINE void scales_q2_k(mp_scales_neon *out, const uint8_t *src)
{
    uint8x16_t nibbles[2];
    mp_nibbles_neon(nibbles, src);
    bytes16(out->scale, vreinterpretq_s8_u8(nibbles[0]), src + 80);
    bytes16(out->min, vreinterpretq_s8_u8(nibbles[1]), src + 82);
}

MP_INLINE void codes_q2_k(int8x16_t *q, const uint8_t *src, int b)
{
    q[0] = vreinterpretq_s8_u8(two_bits(src + 16, b, 0));
    q[1] = vreinterpretq_s8_u8(two_bits(src + 16, b, 1));
}

/* 12 bytes: the low nibbles of scales 0-7 and the high ones of 8-15 share the first 8, the upper two bits of 4 k .. 4 k + 3 are at 2 k in the last 4. */
MP_INLINE void scales_q3_k(mp_scales_neon *out, const uint8_t *src)
{
    const int32x4_t up = vcombine_s32(vcreate_s32(4 | (uint64_t)2 << 32), vcreate_s32((uint64_t)0xfffffffe << 32)); /* 4 2 0 -2 */
    uint8x8_t first = vld1_u8(src + 96);
    uint8x16_t low = vcombine_u8(vand_u8(first, vdup_n_u8(15)), vshr_n_u8(first, 4));
    uint8x16_t high = vreinterpretq_u8_u32(vshlq_u32(vdupq_n_u32(mp_bits32_neon(src + 104)), up));
    bytes16(out->scale, mp_less_neon(vorrq_u8(low, vandq_u8(high, vdupq_n_u8(0x30))), 32), src + 108);
}

MP_INLINE void codes_q3_k(int8x16_t *q, const uint8_t *src, int b)
{
    MP_UNROLL
    for (int h = 0; h < 2; h++)
        q[h] = mp_less_neon(vorrq_u8(two_bits(src + 32, b, h), mp_where_bit_neon(src + 16 * h, b, 4)), 4);
}

/* 6-bit scales plus 32: their nibbles in 4 bytes from 4 on, the upper two bits in the 16 from 2 on. */
MP_INLINE void scales_iq4_xs(mp_scales_neon *out, const uint8_t *src)
{
    uint32_t nibbles = mp_bits32_neon(src + 4), pairs = mp_bits16_neon(src + 2);
    uint64_t bytes = 0;
    MP_UNROLL
    for (int k = 0; k < 8; k++)
        bytes |= (uint64_t)(((nibbles >> 4 * k) & 15) | ((pairs >> 2 * k) & 3) << 4) << 8 * k;
    mp_times_neon(out->scale[0], vsubl_s8(vcreate_s8(bytes), vdup_n_s8(32)), mp_half_neon(src));
}

MP_INLINE void codes_iq4(int8x16_t *q, const uint8_t *nibbles)
{
    static const int8_t values[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
    uint8x16_t index[2];
    mp_nibbles_neon(index, nibbles);
    q[0] = vqtbl1q_s8(vld1q_s8(values), index[0]);
    q[1] = vqtbl1q_s8(vld1q_s8(values), index[1]);
}

MP_INLINE void codes_iq4_xs(int8x16_t *q, const uint8_t *src, int b)
{
    codes_iq4(q, src + 8 + 16 * b);
}

MP_INLINE void one_scale(mp_scales_neon *out, const uint8_t *p)
{
    out->scale[0][0] = out->scale[0][1] = mp_half_neon(p);
}

MP_INLINE void scales_tq2_0(mp_scales_neon *out, const uint8_t *src)
{
    one_scale(out, src + 64);
}

MP_INLINE void codes_tq2_0(int8x16_t *q, const uint8_t *src, int b)
{
    q[0] = mp_less_neon(two_bits(src, b, 0), 1);
    q[1] = mp_less_neon(two_bits(src, b, 1), 1);
}

MP_INLINE void scales_tq1_0(mp_scales_neon *out, const uint8_t *src)
{
    one_scale(out, src + 52);
}

/* The first digit of every byte after multiplying by a power of three, less 1. As (3 * v) >> 8 counts the thresholds 86 and 171 that v
 * reaches, two comparisons, whose true is -1, read it. */
MP_INLINE int8x16_t digits(uint8x16_t bytes, uint8x16_t power)
{
    uint8x16_t v = vmulq_u8(bytes, power), q = vdupq_n_u8(255);
    q = vsubq_u8(q, vcgeq_u8(v, vdupq_n_u8(86)));
    return vreinterpretq_s8_u8(vsubq_u8(q, vcgeq_u8(v, vdupq_n_u8(171))));
}

/* Elements 0-159: 32 bytes, five digits; 160-239: 16 bytes, five digits; 240-255: 4 bytes, four digits. */
MP_INLINE void codes_tq1_0(int8x16_t *q, const uint8_t *src, int b)
{
    static const uint8_t powers[7] = { 1, 3, 9, 27, 81, 0, 0 };
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        int nth = 2 * b + h; /* 16 elements */
        if (nth < 10) {
            q[h] = digits(vld1q_u8(src + 16 * h), vdupq_n_u8(powers[b]));
        } else if (nth < 15) {
            q[h] = digits(vld1q_u8(src + 32), vdupq_n_u8(powers[nth - 10]));
        } else {
            const uint8x16_t rising = vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(0x0303030301010101), vcreate_u64(0x1b1b1b1b09090909)));
            q[h] = digits(vreinterpretq_u8_u32(vdupq_n_u32(mp_bits32_neon(src + 48))), rising);
        }
    }
}
#endif
