/* Float vectors and the quantization of activations. All of these give the reference's bits: the same operations, the same order. */
#include <math.h>
#include <string.h>

#include "num/x86/simd_avx512.h"
#include "num/x86/x86.h"

static float sum_sq(const float *x, int64_t n)
{
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_maskz_loadu_ps(mp_mask_512(n - i), x + i);
        sum = _mm512_fmadd_ps(v, v, sum);
    }
    return mp_fold_512(sum);
}

/* NaN never wins, as in the reference: max_ps gives its second operand when one is NaN. */
static float max(const float *x, int64_t n)
{
    __m512 best = _mm512_set1_ps(-INFINITY);
    for (int64_t i = 0; i < n; i += 16)
        best = _mm512_max_ps(_mm512_mask_loadu_ps(best, mp_mask_512(n - i), x + i), best);
    return _mm512_reduce_max_ps(best);
}

static void scale_mul(float *dst, const float *x, float scale, const float *w, int64_t n)
{
    const __m512 s = _mm512_set1_ps(scale);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = mp_mask_512(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), s);
        _mm512_mask_storeu_ps(dst + i, m, w ? _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, w + i)) : v);
    }
}

static void add(float *dst, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = mp_mask_512(n - i);
        _mm512_mask_storeu_ps(dst + i, m, _mm512_add_ps(_mm512_maskz_loadu_ps(m, a + i), _mm512_maskz_loadu_ps(m, b + i)));
    }
}

static void axpy(float *dst, float a, const float *x, int64_t n)
{
    const __m512 factor = _mm512_set1_ps(a);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = mp_mask_512(n - i);
        _mm512_mask_storeu_ps(dst + i, m, _mm512_fmadd_ps(factor, _mm512_maskz_loadu_ps(m, x + i), _mm512_maskz_loadu_ps(m, dst + i)));
    }
}

static void silu_mul(float *dst, const float *gate, const float *up, int64_t n)
{
    const __m512 one = _mm512_set1_ps(1.0f), sign = _mm512_set1_ps(-0.0f);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = mp_mask_512(n - i);
        __m512 g = _mm512_maskz_loadu_ps(m, gate + i);
        __m512 sigma = _mm512_div_ps(g, _mm512_add_ps(one, mp_exp_512(_mm512_xor_ps(g, sign))));
        _mm512_mask_storeu_ps(dst + i, m, _mm512_mul_ps(sigma, _mm512_maskz_loadu_ps(m, up + i)));
    }
}

static float exp_sum(float *dst, const float *x, float largest, int64_t n)
{
    const __m512 shift = _mm512_set1_ps(largest);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = mp_mask_512(n - i);
        __m512 e = mp_exp_512(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, x + i), shift));
        _mm512_mask_storeu_ps(dst + i, m, e);
        sum = _mm512_mask_add_ps(sum, m, sum, e);
    }
    return mp_fold_512(sum);
}

static void to_f16(void *dst, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = mp_mask_512(n - i);
        __m256i h = _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, x + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm256_mask_storeu_epi16((char *)dst + 2 * i, m, h);
    }
}

/* Group g = 4c + l of a super-block, whose d and a go to lane 4l + c; see num/ref/q8.c for the rules. */
static float quantize_16(mp_q8 *out, int g, const float *x)
{
    int8_t *q = out->q + 16 * g;
    __m512 v = _mm512_loadu_ps(x);
    int most = _mm512_reduce_max_epi32(_mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff))), lane = g % 4 * 4 + g / 4;
    float amax;
    memcpy(&amax, &most, 4);
    float inverse = 127.0f / amax;
    if (most >= 0x7f800000 || isinf(inverse)) {
        memset(q, 0, MP_Q8_SCALE);
        out->a[lane] = 0;
        out->d[lane] = most >= 0x7f800000 ? NAN : 0.0f;
        return out->d[lane];
    }
    __m512i c = _mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(inverse)));
    _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(c));
    int sum = _mm512_reduce_add_epi32(c);
    out->d[lane] = amax / 127.0f;
    out->a[lane] = -128 * sum;
    return out->d[lane] * (float)sum;
}

static void quantize_super(mp_q8 *out, const float *x)
{
    for (int b = 0; b < 8; b++) {
        float low = quantize_16(out, 2 * b, x + 32 * b);
        out->s[b] = low + quantize_16(out, 2 * b + 1, x + 32 * b + 16);
    }
    memset(out->unused, 0, sizeof out->unused);
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

static void turn_q8(mp_q8 *q, int64_t n)
{
    for (; n > 0; n -= MP_Q8_SUPER, q++) {
        __m512i v[4];
        memcpy(v, q->q, sizeof v);
        mp_turn_512(v);
        memcpy(q->q, v, sizeof v);
    }
}

void mp_avx512_init_vector(mp_kern *k)
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
    k->q8_lanes = true;
    k->turn_q8 = turn_q8;
}
