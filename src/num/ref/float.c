/* Kernels over floats: conversions, exp, vectors.
 *
 * Sums run in 16 lanes (lane j adds elements j, j + 16, ...) that are folded 8, 4, 2, 1 at the end. sum_sq, max and exp_sum keep that order
 * in every instruction set, and the element-wise ones round the same way everywhere, so all of those give the same bits on every machine.
 * Products of float rows (dot) are free to use more lanes elsewhere.
 */
#include "num/ref/ref.h"

#include <math.h>
#include <string.h>

enum { LANES = 16 };

/* ---- halves ---- */

float mp_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 0x3ff;
    union { uint32_t u; float f; } v;
    if (exponent == 0) { /* zero or subnormal: a small integer times 2^-24, exact */
        v.f = (float)fraction * 0x1p-24f;
        v.u |= sign;
    } else if (exponent == 31) { /* infinity, or NaN made quiet, as the processors do */
        v.u = sign | 0x7f800000 | fraction << 13 | (fraction ? 0x400000 : 0);
    } else {
        v.u = sign | (exponent + 127 - 15) << 23 | fraction << 13;
    }
    return v.f;
}

uint16_t mp_f16_from_f32(float f)
{
    union { float f; uint32_t u; } v = { f }, tiny;
    uint32_t sign = (v.u >> 16) & 0x8000, abs = v.u & 0x7fffffff;
    if (abs > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | ((abs >> 13) & 0x3ff));
    if (abs >= 0x47800000) /* 65536 and above; what rounds up to it carries into the exponent below */
        return (uint16_t)(sign | 0x7c00);
    if (abs < 0x38800000) { /* below 2^-14: adding 1/2 rounds to the multiple of 2^-24 that a subnormal counts */
        tiny.u = abs;
        tiny.f += 0.5f;
        return (uint16_t)(sign | (tiny.u - 0x3f000000));
    }
    uint32_t odd = (abs >> 13) & 1;
    return (uint16_t)(sign | ((abs - ((127 - 15) << 23) + 0xfff + odd) >> 13));
}

/* Reading elements [at, at + n) of a row of each type. The row may lie at an odd address. */
typedef void load_fn(float *dst, const void *src, int64_t at, int64_t n);

static void load_f32(float *dst, const void *src, int64_t at, int64_t n)
{
    memcpy(dst, (const char *)src + at * 4, (size_t)n * 4);
}

static uint16_t half_at(const void *src, int64_t i)
{
    const uint8_t *p = (const uint8_t *)src + i * 2;
    return (uint16_t)(p[0] | p[1] << 8);
}

static void load_f16(float *dst, const void *src, int64_t at, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = mp_f16_to_f32(half_at(src, at + i));
}

static void load_bf16(float *dst, const void *src, int64_t at, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = mp_bf16_to_f32(half_at(src, at + i));
}

static void dequant_f32(float *dst, const void *src, int64_t n) { load_f32(dst, src, 0, n); }
static void dequant_f16(float *dst, const void *src, int64_t n) { load_f16(dst, src, 0, n); }
static void dequant_bf16(float *dst, const void *src, int64_t n) { load_bf16(dst, src, 0, n); }

static void to_f16(void *dst, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t h = mp_f16_from_f32(x[i]);
        memcpy((char *)dst + 2 * i, &h, 2);
    }
}

/* ---- sums ---- */

static float fold(float *lane)
{
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int j = 0; j < half; j++)
            lane[j] += lane[j + half];
    }
    return lane[0];
}

static int64_t chunk(int64_t left)
{
    return left < LANES ? left : LANES;
}

static float dot_one(const void *row, const float *x, int64_t n, load_fn *load)
{
    float lane[LANES] = { 0 }, w[LANES];
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t m = chunk(n - i);
        load(w, row, i, m);
        for (int64_t j = 0; j < m; j++)
            lane[j] = fmaf(w[j], x[i + j], lane[j]);
    }
    return fold(lane);
}

static void dot_rows(float *out, const mp_dot_in *in, load_fn *load)
{
    for (int t = 0; t < in->tok; t++)
        out[t] = dot_one(in->row, in->x[t], in->n, load);
}

static void dot_f32(float *out, const void *row, const void *const *x, int64_t n, int tok)
{
    dot_rows(out, &(mp_dot_in){ row, x, n, tok }, load_f32);
}

static void dot_f16(float *out, const void *row, const void *const *x, int64_t n, int tok)
{
    dot_rows(out, &(mp_dot_in){ row, x, n, tok }, load_f16);
}

static void dot_bf16(float *out, const void *row, const void *const *x, int64_t n, int tok)
{
    dot_rows(out, &(mp_dot_in){ row, x, n, tok }, load_bf16);
}

static float sum_sq(const float *x, int64_t n)
{
    float lane[LANES] = { 0 };
    for (int64_t i = 0; i < n; i++)
        lane[i % LANES] = fmaf(x[i], x[i], lane[i % LANES]);
    return fold(lane);
}

static float max(const float *x, int64_t n)
{
    float best = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

/* ---- element by element ---- */

static void scale_mul(float *dst, const float *x, float scale, const float *w, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = w ? x[i] * scale * w[i] : x[i] * scale;
}

static void add(float *dst, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = a[i] + b[i];
}

static void axpy(float *dst, float a, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = fmaf(a, x[i], dst[i]);
}

/* exp(x) = 2^k * exp(r), k = round(x / ln 2), |r| <= ln 2 / 2. The polynomial has degree 6 and the least largest error (4e-9 before rounding; our
 * own fit; tests/num/test_exp.c measures the whole); 2^k is applied as two factors, because k reaches -150 and 128, which one float's exponent does not hold. */
float mp_expf(float x)
{
    union { float f; uint32_t u; } t, a, b;
    x = x < -104.0f ? -104.0f : x; /* rounds to 0; NaN passes both */
    x = x > 89.0f ? 89.0f : x;     /* rounds to infinity */
    t.f = fmaf(x, 1.44269504f, 12582912.0f); /* 1.5 * 2^23: rounds to an integer that is left in the low bits */
    float k = t.f - 12582912.0f;
    float r = fmaf(k, -0.693145752f, x); /* ln 2 in two parts; the first has trailing zeros, so k * part is exact */
    r = fmaf(k, -1.42860677e-6f, r);
    float p = 1.38145697e-3f;
    p = fmaf(p, r, 8.36871285e-3f);
    p = fmaf(p, r, 4.16683890e-2f);
    p = fmaf(p, r, 1.66665211e-1f);
    p = fmaf(p, r, 0.49999994f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    int32_t n = (int32_t)(t.u - 0x4b400000u), half = n >> 1;
    a.u = (uint32_t)(half + 127) << 23;
    b.u = (uint32_t)(n - half + 127) << 23;
    return p * a.f * b.f;
}

static void silu_mul(float *dst, const float *gate, const float *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = gate[i] / (1.0f + mp_expf(-gate[i])) * up[i];
}

static float exp_sum(float *dst, const float *x, float largest, int64_t n)
{
    float lane[LANES] = { 0 };
    for (int64_t i = 0; i < n; i++) {
        dst[i] = mp_expf(x[i] - largest);
        lane[i % LANES] += dst[i];
    }
    return fold(lane);
}

void mp_ref_init_float(mp_kern *k)
{
    k->dequant[MP_F32] = dequant_f32;
    k->dequant[MP_F16] = dequant_f16;
    k->dequant[MP_BF16] = dequant_bf16;
    k->dot[MP_F32] = dot_f32;
    k->dot[MP_F16] = dot_f16;
    k->dot[MP_BF16] = dot_bf16;
    k->sum_sq = sum_sq;
    k->max = max;
    k->scale_mul = scale_mul;
    k->add = add;
    k->axpy = axpy;
    k->silu_mul = silu_mul;
    k->exp_sum = exp_sum;
    k->to_f16 = to_f16;
}
