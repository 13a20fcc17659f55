/* Float vectors and the quantization of activations. All of these give the reference's bits: the same operations, the same order. */
#include <math.h>
#include <string.h>

#include "num/x86/order_avx512.h"
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

/* The largest of the 16 elements of each v[i], at element i. */
MP_INLINE __m256i max_8(const __m512i v[8])
{
    __m512i half[4], quarter[2];
    MP_UNROLL
    for (int i = 0; i < 4; i++)
        half[i] = _mm512_max_epi32(_mm512_shuffle_i64x2(v[i], v[i + 4], 0x44), _mm512_shuffle_i64x2(v[i], v[i + 4], 0xee));
    MP_UNROLL
    for (int i = 0; i < 2; i++)
        quarter[i] = _mm512_max_epi32(_mm512_shuffle_i64x2(half[i], half[i + 2], 0x88), _mm512_shuffle_i64x2(half[i], half[i + 2], 0xdd)); /* of i, 4 + i, 2 + i, 6 + i */
    __m512i pairs = _mm512_max_epi32(_mm512_unpacklo_epi32(quarter[0], quarter[1]), _mm512_unpackhi_epi32(quarter[0], quarter[1]));
    pairs = _mm512_max_epi32(pairs, _mm512_shuffle_epi32(pairs, _MM_PERM_BADC));
    return _mm512_castsi512_si256(_mm512_permutexvar_epi32(_mm512_setr_epi32(0, 1, 8, 9, 4, 5, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0), pairs));
}

/* The sums of each 16 codes: the first ones of the 8 blocks, and the second ones. */
MP_INLINE __m512i sums_16(const int8_t *q)
{
    __m512i v[4];
    MP_UNROLL
    for (int c = 0; c < 4; c++)
        v[c] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), _mm512_loadu_si512(q + 64 * c));
    mp_turn_512(v); /* that of group 4c + l to place 4l + c */
    __m512i sums = _mm512_add_epi32(_mm512_add_epi32(v[0], v[1]), _mm512_add_epi32(v[2], v[3]));
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15), sums);
}

/* All 8 blocks at once; see num/ref/q8.c for the rules. */
static void quantize_super(mp_q8 *out, const float *x)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i bits[8];
    for (int b = 0; b < 8; b++) {
        __m512i low = _mm512_loadu_si512(x + 32 * b), high = _mm512_loadu_si512(x + 32 * b + 16);
        bits[b] = _mm512_max_epi32(_mm512_and_si512(low, magnitude), _mm512_and_si512(high, magnitude));
    }
    __m256i most = max_8(bits);
    __m256 amax = _mm256_castsi256_ps(most), inverse = _mm256_div_ps(_mm256_set1_ps(127.0f), amax);
    __mmask8 bad = _mm256_cmpge_epi32_mask(most, _mm256_set1_epi32(0x7f800000)), nothing = _mm256_cmp_ps_mask(inverse, _mm256_set1_ps(INFINITY), _CMP_EQ_OQ);
    __m256 d = _mm256_maskz_div_ps((__mmask8)~nothing, amax, _mm256_set1_ps(127.0f));
    d = _mm256_mask_mov_ps(d, bad, _mm256_set1_ps(NAN));
    for (int g = 0; g < 16; g++) { /* where a block has no scale, NaN and infinities become the code 0x80000000, whose low byte is 0 */
        __m512 factor = _mm512_permutexvar_ps(_mm512_set1_epi32(g / 2), _mm512_castps256_ps512(inverse));
        __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + 16 * g), factor);
        _mm_storeu_si128((__m128i *)(void *)(out->q + 16 * g), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
    }
    __m512i halves = sums_16(out->q);
    __m256i sum = _mm256_add_epi32(_mm512_castsi512_si256(halves), _mm512_extracti32x8_epi32(halves, 1));
    _mm256_storeu_ps(out->d, d);
    _mm256_storeu_ps(out->s, _mm256_mul_ps(d, _mm256_cvtepi32_ps(sum)));
    _mm256_storeu_si256((__m256i *)(void *)out->a, _mm256_slli_epi32(_mm256_sub_epi32(_mm256_setzero_si256(), sum), 7));
    _mm512_storeu_si512(out->a16, _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), halves), 7));
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
        mp_turn_super_512(v);
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
    k->turn_q8 = turn_q8;
}
