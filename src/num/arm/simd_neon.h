/* Small things that all NEON kernels use: loop unrolling, loads at any address and at a row's end, the fixed fold of 16 lanes, exp. */
#ifndef MP_NUM_ARM_SIMD_NEON_H
#define MP_NUM_ARM_SIMD_NEON_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define MP_INLINE static inline __attribute__((always_inline))
/* In front of every loop over tokens or blocks: only unrolled do its arrays become registers. */
#if defined(__clang__)
#define MP_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MP_UNROLL _Pragma("GCC unroll 16")
#endif

/* Elements of the next `lanes` that are there. */
MP_INLINE size_t mp_few_neon(int64_t left, int lanes)
{
    return left >= lanes ? (size_t)lanes : left < 0 ? 0 : (size_t)left;
}

/* The next 4 floats, at any address; 0 past the end, which is not touched. */
MP_INLINE float32x4_t mp_get_neon(const void *x, int64_t left)
{
    if (left >= 4)
        return vreinterpretq_f32_u8(vld1q_u8(x));
    float few[4] = { 0 };
    memcpy(few, x, mp_few_neon(left, 4) * sizeof(float));
    return vld1q_f32(few);
}

MP_INLINE void mp_put_neon(float *x, int64_t left, float32x4_t v)
{
    if (left >= 4) {
        vst1q_f32(x, v);
        return;
    }
    float few[4];
    vst1q_f32(few, v);
    memcpy(x, few, mp_few_neon(left, 4) * sizeof(float));
}

/* The next 4 halves, or bfloats, as bits. */
MP_INLINE uint16x4_t mp_get_halves_neon(const void *x, int64_t left)
{
    if (left >= 4)
        return vreinterpret_u16_u8(vld1_u8(x));
    uint16_t few[4] = { 0 };
    memcpy(few, x, mp_few_neon(left, 4) * sizeof(uint16_t));
    return vld1_u16(few);
}

/* The sum of 16 lanes in the order of the reference: lane j with j + 8, then + 4, + 2, + 1. */
MP_INLINE float mp_fold_neon(const float32x4_t *lane)
{
    float32x4_t v4 = vaddq_f32(vaddq_f32(lane[0], lane[2]), vaddq_f32(lane[1], lane[3]));
    float32x2_t v2 = vadd_f32(vget_low_f32(v4), vget_high_f32(v4));
    return vget_lane_f32(v2, 0) + vget_lane_f32(v2, 1);
}

/* mp_expf, lane by lane, the same bits (except which NaN). max and min let NaN through. */
MP_INLINE float32x4_t mp_exp_neon(float32x4_t x)
{
    const float32x4_t magic = vdupq_n_f32(12582912.0f);
    x = vminq_f32(vmaxq_f32(x, vdupq_n_f32(-104.0f)), vdupq_n_f32(89.0f));
    float32x4_t t = vfmaq_f32(magic, x, vdupq_n_f32(1.44269504f)), k = vsubq_f32(t, magic);
    float32x4_t r = vfmaq_f32(x, k, vdupq_n_f32(-0.693145752f));
    r = vfmaq_f32(r, k, vdupq_n_f32(-1.42860677e-6f));
    float32x4_t p = vfmaq_f32(vdupq_n_f32(8.36871285e-3f), vdupq_n_f32(1.38145697e-3f), r);
    p = vfmaq_f32(vdupq_n_f32(4.16683890e-2f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.66665211e-1f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.49999994f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    int32x4_t n = vsubq_s32(vreinterpretq_s32_f32(t), vreinterpretq_s32_f32(magic)), half = vshrq_n_s32(n, 1);
    const int32x4_t bias = vdupq_n_s32(127);
    float32x4_t a = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    float32x4_t b = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vsubq_s32(n, half), bias), 23));
    return vmulq_f32(vmulq_f32(p, a), b);
}
#endif
