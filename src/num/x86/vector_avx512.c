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

/* The largest of the 16 elements of each v[i], at element i. */
MP_INLINE __m512i max_16(const __m512i *v)
{
    __m512i half[8], quarter[4];
    __m512 eighth[2];
    MP_UNROLL
    for (int i = 0; i < 8; i++)
        half[i] = _mm512_max_epi32(_mm512_shuffle_i64x2(v[i], v[i + 8], 0x44), _mm512_shuffle_i64x2(v[i], v[i + 8], 0xee));
    MP_UNROLL
    for (int i = 0; i < 4; i++)
        quarter[i] = _mm512_max_epi32(_mm512_shuffle_i64x2(half[i], half[i + 4], 0x88), _mm512_shuffle_i64x2(half[i], half[i + 4], 0xdd));
    MP_UNROLL
    for (int i = 0; i < 2; i++)
        eighth[i] = _mm512_castsi512_ps(_mm512_max_epi32(_mm512_unpacklo_epi64(quarter[i], quarter[i + 2]), _mm512_unpackhi_epi64(quarter[i], quarter[i + 2])));
    __m512i even = _mm512_castps_si512(_mm512_shuffle_ps(eighth[0], eighth[1], 0x88)), odd = _mm512_castps_si512(_mm512_shuffle_ps(eighth[0], eighth[1], 0xdd));
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15), _mm512_max_epi32(even, odd));
}

/* The sums of each 16 codes, at their places. */
MP_INLINE __m512i sums_16(const int8_t *q)
{
    __m512i v[4];
    MP_UNROLL
    for (int c = 0; c < 4; c++)
        v[c] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), _mm512_loadu_si512(q + 64 * c));
    mp_turn_512(v);
    return _mm512_add_epi32(_mm512_add_epi32(v[0], v[1]), _mm512_add_epi32(v[2], v[3]));
}

/* All 16 groups at once; see num/ref/q8.c for the rules. Group 4c + l of d and a goes to place 4l + c. */
static void quantize_super(mp_q8 *out, const float *x)
{
    const __m512i places = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    __m512i bits[16];
    for (int g = 0; g < 16; g++)
        bits[g] = _mm512_and_si512(_mm512_loadu_si512(x + 16 * g), _mm512_set1_epi32(0x7fffffff));
    __m512i most = max_16(bits);
    __m512 amax = _mm512_castsi512_ps(most), inverse = _mm512_div_ps(_mm512_set1_ps(127.0f), amax);
    __mmask16 bad = _mm512_cmpge_epi32_mask(most, _mm512_set1_epi32(0x7f800000)), nothing = _mm512_cmp_ps_mask(inverse, _mm512_set1_ps(INFINITY), _CMP_EQ_OQ);
    __m512 d = _mm512_maskz_div_ps((__mmask16)~nothing, amax, _mm512_set1_ps(127.0f));
    d = _mm512_mask_mov_ps(d, bad, _mm512_set1_ps(NAN));
    for (int g = 0; g < 16; g++) { /* where a group has no scale, NaN and infinities become the code 0x80000000, whose low byte is 0 */
        __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + 16 * g), _mm512_permutexvar_ps(_mm512_set1_epi32(g), inverse));
        _mm_storeu_si128((__m128i *)(void *)(out->q + 16 * g), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
    }
    __m512i sum = sums_16(out->q);
    __m512 share = _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_permutexvar_epi32(places, sum))); /* in element order, as d is; the places are their own inverse */
    __m512 low = _mm512_permutexvar_ps(even, share), high = _mm512_permutexvar_ps(_mm512_add_epi32(even, _mm512_set1_epi32(1)), share);
    _mm256_storeu_ps(out->s, _mm512_castps512_ps256(_mm512_add_ps(low, high)));
    _mm512_storeu_ps(out->d, _mm512_permutexvar_ps(places, d));
    _mm512_storeu_si512(out->a, _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), sum), 7));
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
