/* Float vectors and the quantization of activations. All of these give the reference's bits: the same operations, the same order. Where the
 * reference adds in 16 lanes, two registers of 8 stand for them. */
#include <math.h>

#include "num/x86/simd_avx2.h"
#include "num/x86/x86.h"

static float sum_sq(const float *x, int64_t n)
{
    __m256 low = _mm256_setzero_ps(), high = low;
    for (int64_t i = 0; i < n; i += 16) {
        __m256 a = mp_get_256(x + i, n - i), b = mp_get_256(x + i + 8, n - i - 8);
        low = _mm256_fmadd_ps(a, a, low);
        high = _mm256_fmadd_ps(b, b, high);
    }
    return mp_fold_256(low, high);
}

/* NaN never wins, as in the reference: max_ps gives its second operand when one is NaN. */
static float max(const float *x, int64_t n)
{
    __m256 best = _mm256_set1_ps(-INFINITY);
    for (int64_t i = 0; i < n; i += 8) {
        __m256 valid = _mm256_castsi256_ps(mp_mask_256(n - i));
        best = _mm256_max_ps(_mm256_blendv_ps(best, mp_get_256(x + i, n - i), valid), best);
    }
    __m128 v = _mm_max_ps(_mm256_castps256_ps128(best), _mm256_extractf128_ps(best, 1));
    v = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
}

static void scale_mul(float *dst, const float *x, float scale, const float *w, int64_t n)
{
    const __m256 s = _mm256_set1_ps(scale);
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_mul_ps(mp_get_256(x + i, n - i), s);
        mp_put_256(dst + i, n - i, w ? _mm256_mul_ps(v, mp_get_256(w + i, n - i)) : v);
    }
}

static void add(float *dst, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i += 8)
        mp_put_256(dst + i, n - i, _mm256_add_ps(mp_get_256(a + i, n - i), mp_get_256(b + i, n - i)));
}

static void axpy(float *dst, float a, const float *x, int64_t n)
{
    const __m256 factor = _mm256_set1_ps(a);
    for (int64_t i = 0; i < n; i += 8)
        mp_put_256(dst + i, n - i, _mm256_fmadd_ps(factor, mp_get_256(x + i, n - i), mp_get_256(dst + i, n - i)));
}

static void silu_mul(float *dst, const float *gate, const float *up, int64_t n)
{
    const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);
    for (int64_t i = 0; i < n; i += 8) {
        __m256 g = mp_get_256(gate + i, n - i);
        __m256 sigma = _mm256_div_ps(g, _mm256_add_ps(one, mp_exp_256(_mm256_xor_ps(g, sign))));
        mp_put_256(dst + i, n - i, _mm256_mul_ps(sigma, mp_get_256(up + i, n - i)));
    }
}

/* Eight of them; 0 where there is no element, so that adding changes nothing. */
MP_INLINE __m256 exp_8(float *dst, const float *x, __m256 shift, int64_t left)
{
    __m256 e = mp_exp_256(_mm256_sub_ps(mp_get_256(x, left), shift));
    mp_put_256(dst, left, e);
    return _mm256_and_ps(e, _mm256_castsi256_ps(mp_mask_256(left)));
}

static float exp_sum(float *dst, const float *x, float largest, int64_t n)
{
    const __m256 shift = _mm256_set1_ps(largest);
    __m256 low = _mm256_setzero_ps(), high = low;
    for (int64_t i = 0; i < n; i += 16) {
        low = _mm256_add_ps(low, exp_8(dst + i, x + i, shift, n - i));
        high = _mm256_add_ps(high, exp_8(dst + i + 8, x + i + 8, shift, n - i - 8));
    }
    return mp_fold_256(low, high);
}

static void to_f16(void *dst, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 8) {
        __m128i h = _mm256_cvtps_ph(mp_get_256(x + i, n - i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        memcpy((char *)dst + 2 * i, &h, (size_t)(n - i < 8 ? n - i : 8) * 2);
    }
}

MP_INLINE int fold_max(__m256i v)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

/* The sum of 16 int8. */
MP_INLINE int sum_codes(__m128i q)
{
    __m128i m = _mm_madd_epi16(_mm_maddubs_epi16(_mm_set1_epi8(1), q), _mm_set1_epi16(1));
    m = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

/* The b-th block of a super-block; see num/ref/q8.c for the rules. */
static void quantize_32(mp_q8 *out, int b, const float *x)
{
    __m256 v[4];
    __m256i largest = _mm256_setzero_si256(), q[4];
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(v[i]), _mm256_set1_epi32(0x7fffffff)));
    }
    int most = fold_max(largest);
    float amax;
    memcpy(&amax, &most, 4);
    float inverse = 127.0f / amax;
    if (most >= 0x7f800000 || isinf(inverse)) {
        memset(out->q + 32 * b, 0, MP_Q8_BLOCK);
        out->a[b] = out->a16[0][b] = out->a16[1][b] = 0;
        out->d[b] = out->s[b] = most >= 0x7f800000 ? NAN : 0.0f;
        return;
    }
    for (int i = 0; i < 4; i++)
        q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], _mm256_set1_ps(inverse)));
    /* The packs work within halves; the permutation puts groups of four back in order. */
    __m256i codes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    codes = _mm256_permutevar8x32_epi32(codes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)(void *)(out->q + 32 * b), codes);
    int low = sum_codes(_mm256_castsi256_si128(codes)), high = sum_codes(_mm256_extracti128_si256(codes, 1));
    out->d[b] = amax / 127.0f;
    out->s[b] = out->d[b] * (float)(low + high);
    out->a[b] = -128 * (low + high), out->a16[0][b] = -128 * low, out->a16[1][b] = -128 * high;
}

static void quantize_super(mp_q8 *q, const float *x)
{
    for (int b = 0; b < 8; b++)
        quantize_32(q, b, x + 32 * b);
    memset(q->unused, 0, sizeof q->unused);
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
    for (; n > 0; n -= MP_Q8_SUPER, q++)
        mp_turn_codes_256(q->q, q->q);
}

void mp_avx2_init_vector(mp_kern *k)
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
    k->turn_q8 = turn_q8;
}
