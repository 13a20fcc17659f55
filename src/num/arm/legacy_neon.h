/* Codes and scales of the types with blocks of 32, eight blocks at a time; the layouts are pictured in num/ref/legacy.c, iq4.c and mxfp4.c. */
#ifndef MP_NUM_ARM_LEGACY_NEON_H
#define MP_NUM_ARM_LEGACY_NEON_H

#include "num/arm/super_neon.h"

/* The halves at the start of four blocks that are `stride` bytes apart. */
MP_INLINE float32x4_t halves4(const uint8_t *p, int stride)
{
    uint16x4_t h = vdup_n_u16(mp_bits16_neon(p));
    h = vset_lane_u16(mp_bits16_neon(p + stride), h, 1);
    h = vset_lane_u16(mp_bits16_neon(p + 2 * stride), h, 2);
    h = vset_lane_u16(mp_bits16_neon(p + 3 * stride), h, 3);
    return vcvt_f32_f16(vreinterpret_f16_u16(h));
}

MP_INLINE void scales_32(mp_scales_neon *out, const uint8_t *src, int stride)
{
    out->scale[0][0] = halves4(src, stride);
    out->scale[0][1] = halves4(src + 4 * stride, stride);
}

/* The second half of each block is a value m with x = d * q + m: the minimum is -m. */
MP_INLINE void scales_mins_32(mp_scales_neon *out, const uint8_t *src, int stride)
{
    scales_32(out, src, stride);
    out->min[0][0] = vnegq_f32(halves4(src + 2, stride));
    out->min[0][1] = vnegq_f32(halves4(src + 2 + 4 * stride, stride));
}

MP_INLINE void scales_18(mp_scales_neon *out, const uint8_t *src) { scales_32(out, src, 18); } /* Q4_0, IQ4_NL */
MP_INLINE void scales_q5_0(mp_scales_neon *out, const uint8_t *src) { scales_32(out, src, 22); }
MP_INLINE void scales_q8_0(mp_scales_neon *out, const uint8_t *src) { scales_32(out, src, 34); }
MP_INLINE void scales_q4_1(mp_scales_neon *out, const uint8_t *src) { scales_mins_32(out, src, 20); }
MP_INLINE void scales_q5_1(mp_scales_neon *out, const uint8_t *src) { scales_mins_32(out, src, 24); }

MP_INLINE void codes_q4_0(int8x16_t *q, const uint8_t *src, int b)
{
    uint8x16_t nibbles[2];
    mp_nibbles_neon(nibbles, src + 18 * b + 2);
    q[0] = mp_less_neon(nibbles[0], 8);
    q[1] = mp_less_neon(nibbles[1], 8);
}

MP_INLINE void codes_q4_1(int8x16_t *q, const uint8_t *src, int b)
{
    uint8x16_t nibbles[2];
    mp_nibbles_neon(nibbles, src + 20 * b + 4);
    q[0] = vreinterpretq_s8_u8(nibbles[0]);
    q[1] = vreinterpretq_s8_u8(nibbles[1]);
}

/* 32 codes of five bits: nibbles at p + 4, their fifth bits in the 32-bit mask at p. */
MP_INLINE void five_bits(int8x16_t *q, const uint8_t *p, int offset)
{
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    const uint8x16_t spread = vcombine_u8(vdup_n_u8(0), vdup_n_u8(1));
    uint8x16_t mask = vreinterpretq_u8_u32(vdupq_n_u32(mp_bits32_neon(p))), nibbles[2];
    mp_nibbles_neon(nibbles, p + 4);
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        uint8x16_t of = vqtbl1q_u8(mask, vaddq_u8(spread, vdupq_n_u8((uint8_t)(2 * h))));
        q[h] = mp_less_neon(vorrq_u8(nibbles[h], vandq_u8(vtstq_u8(of, bit), vdupq_n_u8(16))), offset);
    }
}

MP_INLINE void codes_q5_0(int8x16_t *q, const uint8_t *src, int b) { five_bits(q, src + 22 * b + 2, 16); }
MP_INLINE void codes_q5_1(int8x16_t *q, const uint8_t *src, int b) { five_bits(q, src + 24 * b + 4, 0); }

MP_INLINE void codes_q8_0(int8x16_t *q, const uint8_t *src, int b)
{
    q[0] = vreinterpretq_s8_u8(vld1q_u8(src + 34 * b + 2));
    q[1] = vreinterpretq_s8_u8(vld1q_u8(src + 34 * b + 18));
}

MP_INLINE void codes_iq4_nl(int8x16_t *q, const uint8_t *src, int b)
{
    codes_iq4(q, src + 18 * b + 2);
}

/* 2^(e - 128) as float bits: (e - 1) << 23 for a normal one, the subnormals 2^-128 and 2^-127 for e = 0 and 1, NaN for 255. */
MP_INLINE float32x4_t powers_of_two(const uint8_t *p)
{
    uint32x4_t e = vdupq_n_u32(p[0]);
    e = vsetq_lane_u32(p[17], e, 1);
    e = vsetq_lane_u32(p[34], e, 2);
    e = vsetq_lane_u32(p[51], e, 3);
    uint32x4_t bits = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    uint32x4_t tiny = vshlq_u32(vdupq_n_u32(0x200000), vreinterpretq_s32_u32(e)); /* by the low byte: e < 2 is all that counts */
    bits = vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), tiny, bits);
    bits = vbslq_u32(vceqq_u32(e, vdupq_n_u32(255)), vdupq_n_u32(0x7fc00000), bits);
    return vreinterpretq_f32_u32(bits);
}

MP_INLINE void scales_mxfp4(mp_scales_neon *out, const uint8_t *src)
{
    out->scale[0][0] = powers_of_two(src);
    out->scale[0][1] = powers_of_two(src + 4 * 17);
}

MP_INLINE void codes_mxfp4(int8x16_t *q, const uint8_t *src, int b)
{
    static const int8_t doubled[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
    uint8x16_t index[2];
    mp_nibbles_neon(index, src + 17 * b + 1);
    q[0] = vqtbl1q_s8(vld1q_s8(doubled), index[0]);
    q[1] = vqtbl1q_s8(vld1q_s8(doubled), index[1]);
}
#endif
