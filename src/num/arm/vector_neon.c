/* Float vectors and the quantization of activations. All of these give the reference's bits: the same operations, the same order. Where the
 * reference adds in 16 lanes, four registers of 4 stand for them. The floor is the bytes: 4 to 12 an element, all from cache while decoding. */
#include <math.h>

#include "num/arm/arm.h"
#include "num/arm/simd_neon.h"

static float sum_sq(const float *x, int64_t n)
{
    float32x4_t lane[4] = { vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0) };
    for (int64_t i = 0; i < n; i += 16) {
        MP_UNROLL
        for (int u = 0; u < 4; u++) {
            float32x4_t v = mp_get_neon(x + i + 4 * u, n - i - 4 * u);
            lane[u] = vfmaq_f32(lane[u], v, v);
        }
    }
    return mp_fold_neon(lane);
}

/* NaN never wins, as in the reference: no comparison with it is true. */
static float max(const float *x, int64_t n)
{
    float32x4_t best = vdupq_n_f32(-INFINITY);
    int64_t i = 0;
    for (; n - i >= 4; i += 4) {
        float32x4_t v = vld1q_f32(x + i);
        best = vbslq_f32(vcgtq_f32(v, best), v, best);
    }
    float most = vmaxvq_f32(best);
    for (; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

static void scale_mul(float *dst, const float *x, float scale, const float *w, int64_t n)
{
    for (int64_t i = 0; i < n; i += 4) {
        float32x4_t v = vmulq_n_f32(mp_get_neon(x + i, n - i), scale);
        mp_put_neon(dst + i, n - i, w ? vmulq_f32(v, mp_get_neon(w + i, n - i)) : v);
    }
}

static void add(float *dst, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i += 4)
        mp_put_neon(dst + i, n - i, vaddq_f32(mp_get_neon(a + i, n - i), mp_get_neon(b + i, n - i)));
}

static void axpy(float *dst, float a, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 4)
        mp_put_neon(dst + i, n - i, vfmaq_n_f32(mp_get_neon(dst + i, n - i), mp_get_neon(x + i, n - i), a));
}

static void silu_mul(float *dst, const float *gate, const float *up, int64_t n)
{
    for (int64_t i = 0; i < n; i += 4) {
        float32x4_t g = mp_get_neon(gate + i, n - i);
        float32x4_t sigma = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0f), mp_exp_neon(vnegq_f32(g))));
        mp_put_neon(dst + i, n - i, vmulq_f32(sigma, mp_get_neon(up + i, n - i)));
    }
}

/* Four of them; 0 where there is no element, so that adding changes nothing. */
MP_INLINE float32x4_t exp_4(float *dst, const float *x, float32x4_t shift, int64_t left)
{
    if (left <= 0)
        return vdupq_n_f32(0);
    float32x4_t e = mp_exp_neon(vsubq_f32(mp_get_neon(x, left), shift));
    mp_put_neon(dst, left, e);
    return left >= 4 ? e : mp_get_neon(dst, left);
}

static float exp_sum(float *dst, const float *x, float largest, int64_t n)
{
    const float32x4_t shift = vdupq_n_f32(largest);
    float32x4_t lane[4] = { vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0) };
    for (int64_t i = 0; i < n; i += 16) {
        MP_UNROLL
        for (int u = 0; u < 4; u++)
            lane[u] = vaddq_f32(lane[u], exp_4(dst + i + 4 * u, x + i + 4 * u, shift, n - i - 4 * u));
    }
    return mp_fold_neon(lane);
}

static void to_f16(void *dst, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 4) {
        float16x4_t h = vcvt_f16_f32(mp_get_neon(x + i, n - i));
        memcpy((char *)dst + 2 * i, &h, mp_few_neon(n - i, 4) * 2);
    }
}

/* Stores the codes of 16 activations and returns their sum. */
static int codes_16(int8_t *q, const float32x4_t *v, float inverse)
{
    int32x4_t c[4];
    MP_UNROLL
    for (int u = 0; u < 4; u++)
        c[u] = vcvtnq_s32_f32(vmulq_n_f32(v[u], inverse)); /* nearest even */
    int16x8_t low = vmovn_high_s32(vmovn_s32(c[0]), c[1]), high = vmovn_high_s32(vmovn_s32(c[2]), c[3]);
    int8x16_t codes = vmovn_high_s16(vmovn_s16(low), high);
    vst1q_s8(q, codes);
    return vaddlvq_s8(codes);
}

/* The b-th block of a super-block that is zero before. See num/ref/q8.c for the rules. */
static void quantize_32(mp_q8 *out, int b, const float *x)
{
    float32x4_t v[8];
    uint32x4_t most = vdupq_n_u32(0);
    MP_UNROLL
    for (int u = 0; u < 8; u++) {
        v[u] = vld1q_f32(x + 4 * u);
        most = vmaxq_u32(most, vreinterpretq_u32_f32(vabsq_f32(v[u]))); /* as bits: NaN is above infinity, and that above all numbers */
    }
    uint32_t bits = vmaxvq_u32(most);
    float amax;
    memcpy(&amax, &bits, 4);
    float inverse = 127.0f / amax;
    out->d[b] = out->s[b] = bits >= 0x7f800000 ? NAN : 0.0f;
    if (bits >= 0x7f800000 || isinf(inverse))
        return;
    int first = codes_16(out->q + 32 * b, v, inverse), second = codes_16(out->q + 32 * b + 16, v + 4, inverse);
    out->d[b] = amax / 127.0f;
    out->s[b] = out->d[b] * (float)(first + second);
    out->a16[0][b] = -128 * first;
    out->a16[1][b] = -128 * second;
    out->a[b] = -128 * (first + second);
}

static void quantize_super(mp_q8 *q, const float *x)
{
    memset(q, 0, sizeof *q);
    for (int b = 0; b < 8; b++)
        quantize_32(q, b, x + 32 * b);
}

static void quantize_q8(mp_q8 *q, const float *x, int64_t n)
{
    for (; n >= MP_Q8_SUPER; n -= MP_Q8_SUPER, x += MP_Q8_SUPER)
        quantize_super(q++, x);
    if (n > 0) {
        float padded[MP_Q8_SUPER] = { 0 };
        memcpy(padded, x, (size_t)n * sizeof(float));
        quantize_super(q, padded);
    }
}

void mp_neon_init_vector(mp_kern *k)
{
    k->sum_sq = sum_sq;
    k->max = max;
    k->scale_mul = scale_mul;
    k->add = add;
    k->axpy = axpy;
    k->silu_mul = silu_mul;
    k->exp_sum = exp_sum;
    k->to_f16 = to_f16;
    k->quantize_q8 = quantize_q8;
}
