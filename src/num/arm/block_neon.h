/* One super-block of 256 weights, and the product and decoder that every quantized type shares. A type is two functions:
 *
 *     codes(q, src, b)    the 32 codes of block b = 0..7, in element order; all fit int8
 *     scales(w, src)      the scales of its blocks and, where it has them, their minima;  x = scale * q - min
 *
 * Four blocks, two registers of codes each, make a float32x4: their partial sums are added crosswise by pairs, so lane j of the result is the exact
 * sum of block j, and the scales of both sides, which lie in the order of the blocks, are applied to four at a time. Weights with a scale for every 16
 * (sub = 16) have one such sum of the first halves and one of the second, and add both, scaled, before the activations' scale comes in.
 *
 * The floor, per 256 weights and token. Bytes: those of the block (Q4_K 144, Q8_0 272), read once for all tokens, and an mp_q8 of activations, from
 * cache. Operations, sub = 32: 16 SDOT (and 8 registers set to zero for them), 6 ADDP, 2 conversions, 2 products of scales, 2 FMLA: 28, or 60 where
 * 16 each of SMULL, SMLAL2 and SADDLP or SADALP stand for SDOT; minima add 2. sub = 16: 12 ADDP, 4 conversions, 2 products, 4 FMLA: 38, or 70; minima
 * add 8, and 16 registers are set to zero. To be shared by the tokens: the unpacking, from nothing (Q8_0) over 16 ANDs and shifts (Q4_K) to about 90
 * (Q6_K), and some 20 for the scales. A core with two 128-bit units at one operation a cycle needs at least 14 cycles (30 without SDOT) a token of
 * sub = 32, and one token of Q4_K 23, the scales' 10 aside: it keeps up with 144 / 33 = 4.4 bytes of weights a cycle. These are counts, which the
 * compiled loops of one token agree with; the kernels were run under qemu only, which has no cycles.
 *
 * The integers are exact either way, so the tables "neon" and "dotprod" give the same bits (tests/kern/test_arm.c).
 */
#ifndef MP_NUM_ARM_BLOCK_NEON_H
#define MP_NUM_ARM_BLOCK_NEON_H

#include "num/arm/arm.h"
#include "num/arm/simd_neon.h"

enum { MP_SUPER = 256 };

/* [h][i]: of the h-th 16 (sub = 32, where h = 0: of all 32) elements of blocks 4i .. 4i + 3. */
typedef struct mp_scales_neon {
    float32x4_t scale[2][2], min[2][2];
} mp_scales_neon;

/* What is known of a type when its kernels are compiled: every call below is inlined with a constant one. */
typedef struct mp_type_neon {
    void (*scales)(mp_scales_neon *out, const uint8_t *src);
    void (*codes)(int8x16_t *q, const uint8_t *src, int b);
    int  len;     /* elements of a block: 256, or 32, and then rows may end inside a super-block */
    int  bytes;   /* of 256 weights */
    int  sub;     /* elements that share a scale: 16 or 32 */
    bool has_min;
} mp_type_neon;

/* 16 products, two added in 16 bits: at most 2 * 128 * 127 < 2^15. Four would not fit. */
MP_INLINE int16x8_t mp_pairs_neon(int8x16_t w, int8x16_t a)
{
    return vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(a)), w, a);
}

/* Four partial sums of `len` (16 or 32) products. */
MP_INLINE int32x4_t mp_sums_neon(const int8x16_t *w, const int8_t *a, int len)
{
#if defined(__ARM_FEATURE_DOTPROD)
    int32x4_t sum = vdotq_s32(vdupq_n_s32(0), w[0], vld1q_s8(a));
    return len == 32 ? vdotq_s32(sum, w[1], vld1q_s8(a + 16)) : sum;
#else
    int32x4_t sum = vpaddlq_s16(mp_pairs_neon(w[0], vld1q_s8(a)));
    return len == 32 ? vpadalq_s16(sum, mp_pairs_neon(w[1], vld1q_s8(a + 16))) : sum;
#endif
}

/* The dots of the first `len` elements of four blocks, as floats; a block is two registers of w and 32 bytes of a. */
MP_INLINE float32x4_t mp_dots_neon(const int8x16_t *w, const int8_t *a, int len)
{
    int32x4_t low = vpaddq_s32(mp_sums_neon(w, a, len), mp_sums_neon(w + 2, a + 32, len));
    int32x4_t high = vpaddq_s32(mp_sums_neon(w + 4, a + 64, len), mp_sums_neon(w + 6, a + 96, len));
    return vcvtq_f32_s32(vpaddq_s32(low, high));
}

/* What the four blocks from 4 * i on add, q being their codes. */
MP_INLINE float32x4_t mp_mul_four_neon(float32x4_t acc, const mp_type_neon type, const mp_scales_neon *w, const int8x16_t *q, const mp_q8 *x, int i)
{
    const int8_t *a = x->q + 128 * i;
    float32x4_t d = vld1q_f32(x->d + 4 * i);
    if (type.sub == 32) {
        acc = vfmaq_f32(acc, mp_dots_neon(q, a, 32), vmulq_f32(w->scale[0][i], d));
        return type.has_min ? vfmsq_f32(acc, w->min[0][i], vld1q_f32(x->s + 4 * i)) : acc;
    }
    float32x4_t sum = vmulq_f32(mp_dots_neon(q, a, 16), w->scale[0][i]);
    sum = vfmaq_f32(sum, mp_dots_neon(q + 1, a + 16, 16), w->scale[1][i]);
    if (type.has_min) { /* a16 / 2^7 is less the sum of q */
        sum = vfmaq_f32(sum, vcvtq_n_f32_s32(vld1q_s32(x->a16[0] + 4 * i), 7), w->min[0][i]);
        sum = vfmaq_f32(sum, vcvtq_n_f32_s32(vld1q_s32(x->a16[1] + 4 * i), 7), w->min[1][i]);
    }
    return vfmaq_f32(acc, sum, d);
}

MP_INLINE void mp_mul_super_neon(float32x4_t acc[][2], const mp_type_neon type, const uint8_t *src, const mp_q8 *const *x, int tok)
{
    mp_scales_neon w;
    type.scales(&w, src);
    MP_UNROLL
    for (int i = 0; i < 2; i++) {
        int8x16_t q[8];
        MP_UNROLL
        for (int b = 0; b < 4; b++)
            type.codes(q + 2 * b, src, 4 * i + b);
        MP_UNROLL
        for (int t = 0; t < tok; t++)
            acc[t][i] = mp_mul_four_neon(acc[t][i], type, &w, q, x[t], i);
    }
}

MP_INLINE void mp_dot_tok_neon(float *out, const mp_type_neon type, const mp_dot_in *in, int tok)
{
    const uint8_t *src = in->row;
    float32x4_t acc[MP_DOT_TOK][2];
    const mp_q8 *x[MP_DOT_TOK];
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        acc[t][0] = acc[t][1] = vdupq_n_f32(0);
        x[t] = in->x[t];
    }
    for (int64_t left = in->n / MP_SUPER; left > 0; left--) {
        mp_mul_super_neon(acc, type, src, x, tok);
        src += type.bytes;
        MP_UNROLL
        for (int t = 0; t < tok; t++)
            x[t]++;
    }
    if (type.len < MP_SUPER && in->n % MP_SUPER) { /* the last blocks, filled up with zeros, whose products add nothing */
        uint8_t padded[MP_SUPER * 2] = { 0 };
        memcpy(padded, src, (size_t)(in->n % MP_SUPER / MP_Q8_BLOCK * (type.bytes / 8)));
        mp_mul_super_neon(acc, type, padded, x, tok);
    }
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        float32x4_t sum = vaddq_f32(acc[t][0], acc[t][1]);
        float32x2_t half = vadd_f32(vget_low_f32(sum), vget_high_f32(sum));
        out[t] = vget_lane_f32(half, 0) + vget_lane_f32(half, 1);
    }
}

/* `tok` is a constant in each call, so that the loops over it unroll. */
MP_INLINE void mp_dot_neon(float *out, const mp_type_neon type, const mp_dot_in *in)
{
    switch (in->tok) {
    case 1: mp_dot_tok_neon(out, type, in, 1); break;
    case 2: mp_dot_tok_neon(out, type, in, 2); break;
    case 3: mp_dot_tok_neon(out, type, in, 3); break;
    default: mp_dot_tok_neon(out, type, in, 4); break;
    }
}

/* 16 weights. scale * q is exact (ref.h), so the fused operation gives the reference's bits. */
MP_INLINE void mp_decode16_neon(float *dst, int8x16_t q, float32x4_t scale, float32x4_t less, bool has_min)
{
    int16x8_t wide[2] = { vmovl_s8(vget_low_s8(q)), vmovl_high_s8(q) };
    MP_UNROLL
    for (int i = 0; i < 4; i++) {
        float32x4_t v = vcvtq_f32_s32(i & 1 ? vmovl_high_s16(wide[i / 2]) : vmovl_s16(vget_low_s16(wide[i / 2])));
        vst1q_f32(dst + 4 * i, has_min ? vfmaq_f32(less, v, scale) : vmulq_f32(v, scale));
    }
}

MP_INLINE void mp_decode_super_neon(float *dst, const mp_type_neon type, const uint8_t *src)
{
    mp_scales_neon w;
    float scale[2][8], min[2][8] = { 0 };
    type.scales(&w, src);
    MP_UNROLL
    for (int i = 0; i < 64 / type.sub; i++) {
        vst1q_f32(scale[i / 2] + i % 2 * 4, w.scale[i / 2][i % 2]);
        if (type.has_min)
            vst1q_f32(min[i / 2] + i % 2 * 4, w.min[i / 2][i % 2]);
    }
    MP_UNROLL
    for (int b = 0; b < 8; b++) {
        int8x16_t q[2];
        type.codes(q, src, b);
        MP_UNROLL
        for (int i = 0; i < 2; i++) {
            int h = type.sub == 16 ? i : 0;
            mp_decode16_neon(dst + 32 * b + 16 * i, q[i], vdupq_n_f32(scale[h][b]), vdupq_n_f32(-min[h][b]), type.has_min);
        }
    }
}

MP_INLINE void mp_dequant_neon(float *dst, const mp_type_neon type, const void *src, int64_t n)
{
    const uint8_t *from = src;
    for (; n >= MP_SUPER; n -= MP_SUPER, dst += MP_SUPER, from += type.bytes)
        mp_decode_super_neon(dst, type, from);
    if (type.len < MP_SUPER && n > 0) {
        uint8_t padded[MP_SUPER * 2] = { 0 };
        float whole[MP_SUPER];
        memcpy(padded, from, (size_t)(n / MP_Q8_BLOCK * (type.bytes / 8)));
        mp_decode_super_neon(whole, type, padded);
        memcpy(dst, whole, (size_t)n * sizeof(float));
    }
}

/* ---- pieces of unpackers ---- */

MP_INLINE uint16_t mp_bits16_neon(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return h;
}

MP_INLINE uint32_t mp_bits32_neon(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, 4);
    return u;
}

/* The half at p, in every lane. */
MP_INLINE float32x4_t mp_half_neon(const uint8_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(mp_bits16_neon(p))));
}

/* Eight small integers times a factor. */
MP_INLINE void mp_times_neon(float32x4_t *to, int16x8_t v, float32x4_t factor)
{
    to[0] = vmulq_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(v))), factor);
    to[1] = vmulq_f32(vcvtq_f32_s32(vmovl_high_s16(v)), factor);
}

/* 16 bytes to 32 nibbles: the low ones, then the high ones. */
MP_INLINE void mp_nibbles_neon(uint8x16_t *q, const uint8_t *p)
{
    uint8x16_t bytes = vld1q_u8(p);
    q[0] = vandq_u8(bytes, vdupq_n_u8(15));
    q[1] = vshrq_n_u8(bytes, 4);
}

/* Bits [shift, shift + width) of every byte; shift is a constant once inlined, which the shift by a register does not need. */
MP_INLINE uint8x16_t mp_field_neon(const uint8_t *p, int shift, int width)
{
    uint8x16_t low = vshlq_u8(vld1q_u8(p), vdupq_n_s8((int8_t)-shift));
    return shift + width == 8 ? low : vandq_u8(low, vdupq_n_u8((uint8_t)((1 << width) - 1)));
}

/* `value` in every byte of p whose bit `bit` is set, else 0. */
MP_INLINE uint8x16_t mp_where_bit_neon(const uint8_t *p, int bit, int value)
{
    return vandq_u8(vtstq_u8(vld1q_u8(p), vdupq_n_u8((uint8_t)(1 << bit))), vdupq_n_u8((uint8_t)value));
}

/* Codes less an offset. */
MP_INLINE int8x16_t mp_less_neon(uint8x16_t q, int offset)
{
    return vsubq_s8(vreinterpretq_s8_u8(q), vdupq_n_s8((int8_t)offset));
}
#endif
