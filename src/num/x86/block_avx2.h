/* One super-block of 256 weights, and the product and decoder that every type shares. The AVX-512 twin is block_avx512.h; read that first.
 *
 *     q[b]       32 codes each, b = 0..7, in element order, unsigned with a bias, or signed (most = 128)
 *     scale[0]   8 floats, one per 32 elements (sub = 32);  scale[0..1]: 16 floats, one per 16 (sub = 16), in lanes: that of group 4c + l at 4l + c
 *     min[0..1]  the same places;  x = scale * (q - bias) - min. Per 16 they are divided by 128, as the activations' `a` are multiplied
 *
 * Without VNNI a product of bytes is vpmaddubsw: unsigned x signed, two neighbours added in 16 bits, where 2 * 127 * 128 is all that fits. How many
 * pairs can be added up in 16 bits before vpmaddwd makes them 32 depends on the largest code:
 *
 *     most 31    four, half of a group: one vpmaddwd for 8 groups
 *     most 63    two: two of them
 *     most 128   one: rows of few tokens multiply |q| with activations that have taken q's sign; products of many take codes of 16 bits
 *
 * The exact sum of a group of 16 then becomes a float: lane j of half h is group 4 * (j % 4) + 2h + j / 4, the order of mp_q8's d and a. For one
 * token the sums of blocks h, 2 + h, 4 + h, 6 + h are gathered into these lanes; for more, codes and activations are turned (kern.h), so that the lanes
 * hold them as they are: for 2 to 4 tokens each super-block in registers, for more in a panel (mm_avx2.c). One conversion and one fused product add
 * them to the row's 8 lanes: of every super-block half 0, half 1, then what minima take off. Wide codes' sums come 256 times as large and their scales
 * a 256th, which is how activations become 16 bits at the least cost.
 */
#ifndef MP_NUM_X86_BLOCK_AVX2_H
#define MP_NUM_X86_BLOCK_AVX2_H

#include "num/x86/mm.h"
#include "num/x86/simd_avx2.h"
#include "num/x86/x86.h"

enum { MP_FEW = 4 /* tokens */ };

typedef struct mp_super256 {
    __m256i q[8];
    __m256  scale[2], min[2];
} mp_super256;

/* What is known of a type when its kernels are compiled: every call below is inlined with a constant one. */
typedef struct mp_type256 {
    void (*unpack)(mp_super256 *out, const uint8_t *src);
    int         len;   /* elements of a block: 256, or 32, and then rows may end inside a super-block */
    int         bytes; /* of 256 weights */
    int         sub;   /* elements that share a scale: 16 or 32 */
    int         most;  /* the largest code, with its bias; 128: codes are signed */
    int         bias;  /* a power of two, or 0 */
    mp_min_kind min;
} mp_type256;

/* A super-block of a panel, turned: codes of both halves, words 0..3 of the groups (wide: even and odd bytes of them, as 16 bits), then scales and minima. */
enum { MP_CODES = 8, MP_CODES_WIDE = 16, MP_PANEL_MORE = 4 };

/* What mm_avx2.c needs of a type. */
typedef struct mp_mm256 {
    void (*panel)(__m256i *to, const uint8_t *row, int64_t n);       /* n weights */
    float (*row)(const uint8_t *row, const mp_q8 *x, int64_t n);     /* a whole row for one token that is not turned */
    void (*few)(float *out, const uint8_t *row, const void *const *x, int64_t n, int tok); /* for 2 to MP_FEW turned ones */
    int         bytes, most, bias;
    mp_min_kind min;
} mp_mm256;

void mp_mm_256(const mp_mm *m, const mp_mm256 *how);

MP_INLINE bool mp_is_wide_256(int most)
{
    return most > 63;
}

/* Scales in lanes: of 8 per 32 elements, each half takes every other one, twice. */
MP_INLINE void mp_lanes_256(__m256 to[2], const mp_super256 *w, const mp_type256 type)
{
    if (type.sub == 32) {
        to[0] = _mm256_permutevar8x32_ps(w->scale[0], _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
        to[1] = _mm256_permutevar8x32_ps(w->scale[0], _mm256_setr_epi32(1, 3, 5, 7, 1, 3, 5, 7));
    } else {
        to[0] = w->scale[0], to[1] = w->scale[1];
    }
    if (mp_is_wide_256(type.most))
        to[0] = _mm256_mul_ps(to[0], _mm256_set1_ps(0x1p-8f)), to[1] = _mm256_mul_ps(to[1], _mm256_set1_ps(0x1p-8f));
}

/* The bias's share of the sums of half h. */
MP_INLINE __m256i mp_bias_256(const mp_q8 *x, int h, int bias)
{
    __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(x->a + 8 * h)); /* -128 times the sum of the group */
    return _mm256_srai_epi32(a, __builtin_ctz(128 / (unsigned)bias));
}

/* Adds 8 exact sums of half h, times their scales. */
MP_INLINE __m256 mp_add_256(__m256 acc, __m256i sum, __m256 scale, const mp_q8 *x, int h)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(scale, _mm256_loadu_ps(x->d + 8 * h)), acc);
}

/* Takes off the minima of a super-block. */
MP_INLINE __m256 mp_off_256(__m256 acc, mp_min_kind kind, const __m256 min[2], const mp_q8 *x)
{
    if (kind == MP_MIN_32)
        return _mm256_fnmadd_ps(min[0], _mm256_loadu_ps(x->s), acc);
    if (kind == MP_MIN_NONE)
        return acc;
    acc = mp_add_256(acc, _mm256_loadu_si256((const __m256i *)(const void *)x->a), min[0], x, 0);
    return mp_add_256(acc, _mm256_loadu_si256((const __m256i *)(const void *)(x->a + 8)), min[1], x, 1);
}

/* ---- one token ---- */

MP_INLINE __m256i mp_halves_added_256(__m256i a, __m256i b) /* of each 128-bit lane, 16 bits each */
{
    return _mm256_add_epi16(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

/* Every other 32 bits of both, and those between. */
MP_INLINE __m256i mp_words_256(__m256i a, __m256i b, bool odd)
{
    __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
    return _mm256_castps_si256(odd ? _mm256_shuffle_ps(x, y, 0xdd) : _mm256_shuffle_ps(x, y, 0x88));
}

/* In each 128-bit lane, the sums of v[0], of v[1], of v[2] and of v[3], which come as pairs in 16 bits. */
MP_INLINE __m256i mp_gather_256(const __m256i v[4], int most)
{
    const __m256i one = _mm256_set1_epi16(1);
    __m256i a, b;
    if (mp_is_wide_256(most)) { /* 256 times */
        const __m256i many = _mm256_set1_epi16(256);
        __m256i m[4];
        MP_UNROLL
        for (int c = 0; c < 4; c++)
            m[c] = _mm256_madd_epi16(v[c], many);
        a = _mm256_add_epi32(_mm256_unpacklo_epi64(m[0], m[1]), _mm256_unpackhi_epi64(m[0], m[1]));
        b = _mm256_add_epi32(_mm256_unpacklo_epi64(m[2], m[3]), _mm256_unpackhi_epi64(m[2], m[3]));
    } else {
        a = mp_halves_added_256(v[0], v[1]), b = mp_halves_added_256(v[2], v[3]);
        if (most <= 31)
            return _mm256_madd_epi16(_mm256_add_epi16(mp_words_256(a, b, false), mp_words_256(a, b, true)), one);
        a = _mm256_madd_epi16(a, one), b = _mm256_madd_epi16(b, one);
    }
    return _mm256_add_epi32(mp_words_256(a, b, false), mp_words_256(a, b, true));
}

MP_INLINE __m256i mp_pairs_256(__m256i q, __m256i a, int most)
{
    return mp_is_wide_256(most) ? _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(a, q)) : _mm256_maddubs_epi16(q, a);
}

MP_INLINE __m256 mp_step_256(__m256 acc, const mp_type256 type, const uint8_t *src, const mp_q8 *x)
{
    mp_super256 w;
    __m256 scale[2];
    type.unpack(&w, src);
    mp_lanes_256(scale, &w, type);
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        __m256i v[4];
        MP_UNROLL
        for (int c = 0; c < 4; c++)
            v[c] = mp_pairs_256(w.q[2 * c + h], _mm256_loadu_si256((const __m256i *)(const void *)(x->q + 64 * c + 32 * h)), type.most);
        __m256i sum = mp_gather_256(v, type.most);
        if (type.bias)
            sum = _mm256_add_epi32(sum, mp_bias_256(x, h, type.bias));
        acc = mp_add_256(acc, sum, scale[h], x, h);
    }
    return mp_off_256(acc, type.min, w.min, x);
}

/* The last n % 256 weights with zeros behind them: what those are multiplied with is 0 too, so they add nothing. */
MP_INLINE void mp_pad_256(uint8_t padded[MP_SUPER * 2], const mp_type256 type, const uint8_t *src, int64_t n)
{
    memset(padded, 0, MP_SUPER * 2);
    memcpy(padded, src, (size_t)(n / MP_Q8_BLOCK * (type.bytes / 8)));
}

MP_INLINE float mp_row_256(const mp_type256 type, const uint8_t *src, const mp_q8 *x, int64_t n)
{
    __m256 acc = _mm256_setzero_ps();
    for (; n >= MP_SUPER; n -= MP_SUPER, src += type.bytes, x++)
        acc = mp_step_256(acc, type, src, x);
    if (type.len < MP_SUPER && n > 0) {
        uint8_t padded[MP_SUPER * 2];
        mp_pad_256(padded, type, src, n);
        acc = mp_step_256(acc, type, padded, x);
    }
    return mp_fold8_256(acc);
}

/* ---- few tokens ---- */

/* The sums of half h of one token with turned codes; wide: with their magnitudes too, and 256 times. */
MP_INLINE __m256i mp_turned_256(const __m256i q[4], const __m256i size[4], const mp_q8 *x, int h, int most)
{
    const __m256i unit = _mm256_set1_epi16(mp_is_wide_256(most) ? 256 : 1);
    const int step = mp_is_wide_256(most) ? 1 : most > 31 ? 2 : 4;
    __m256i sum = _mm256_setzero_si256();
    MP_UNROLL
    for (int k = 0; k < 4; k += step) {
        __m256i pairs = _mm256_setzero_si256();
        MP_UNROLL
        for (int i = k; i < k + step; i++) {
            __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(x->q + 64 * i + 32 * h));
            pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(size[i], mp_is_wide_256(most) ? _mm256_sign_epi8(a, q[i]) : a));
        }
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, unit));
    }
    return sum;
}

MP_INLINE void mp_few_step_256(__m256 *acc, const mp_type256 type, const uint8_t *src, const mp_q8 *const *x, int tok)
{
    mp_super256 w;
    __m256 scale[2];
    type.unpack(&w, src);
    mp_lanes_256(scale, &w, type);
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        __m256i q[4] = { w.q[h], w.q[2 + h], w.q[4 + h], w.q[6 + h] }, size[4];
        mp_turn_256(q);
        MP_UNROLL
        for (int k = 0; k < 4; k++)
            size[k] = mp_is_wide_256(type.most) ? _mm256_abs_epi8(q[k]) : q[k];
        MP_UNROLL
        for (int t = 0; t < tok; t++) {
            __m256i sum = mp_turned_256(q, size, x[t], h, type.most);
            if (type.bias)
                sum = _mm256_add_epi32(sum, mp_bias_256(x[t], h, type.bias));
            acc[t] = mp_add_256(acc[t], sum, scale[h], x[t], h);
        }
    }
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        acc[t] = mp_off_256(acc[t], type.min, w.min, x[t]);
}

MP_INLINE void mp_few_tok_256(float *out, const mp_type256 type, const mp_dot_in *in, int tok)
{
    const uint8_t *src = in->row;
    const mp_q8 *x[MP_FEW];
    __m256 acc[MP_FEW];
    int64_t n = in->n;
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        acc[t] = _mm256_setzero_ps(), x[t] = in->x[t];
    for (; n >= MP_SUPER; n -= MP_SUPER, src += type.bytes) {
        mp_few_step_256(acc, type, src, x, tok);
        MP_UNROLL
        for (int t = 0; t < tok; t++)
            x[t]++;
    }
    if (type.len < MP_SUPER && n > 0) {
        uint8_t padded[MP_SUPER * 2];
        mp_pad_256(padded, type, src, n);
        mp_few_step_256(acc, type, padded, x, tok);
    }
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        out[t] = mp_fold8_256(acc[t]);
}

MP_INLINE void mp_few_256(float *out, const mp_type256 type, const mp_dot_in *in)
{
    switch (in->tok) {
    case 2: mp_few_tok_256(out, type, in, 2); break;
    case 3: mp_few_tok_256(out, type, in, 3); break;
    default: mp_few_tok_256(out, type, in, 4); break;
    }
}

/* ---- panels ---- */

MP_INLINE void mp_panel_super_256(__m256i *to, const mp_type256 type, const uint8_t *src)
{
    const int codes = mp_is_wide_256(type.most) ? MP_CODES_WIDE : MP_CODES;
    mp_super256 w;
    __m256 scale[2];
    type.unpack(&w, src);
    mp_lanes_256(scale, &w, type);
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        __m256i q[4] = { w.q[h], w.q[2 + h], w.q[4 + h], w.q[6 + h] };
        mp_turn_256(q);
        MP_UNROLL
        for (int k = 0; k < 4; k++) {
            if (mp_is_wide_256(type.most)) {
                to[8 * h + 2 * k] = _mm256_srai_epi16(_mm256_slli_epi16(q[k], 8), 8);
                to[8 * h + 2 * k + 1] = _mm256_srai_epi16(q[k], 8);
            } else {
                to[4 * h + k] = q[k];
            }
        }
        to[codes + h] = _mm256_castps_si256(scale[h]);
        if (h == 0 ? type.min != MP_MIN_NONE : type.min == MP_MIN_16)
            to[codes + 2 + h] = _mm256_castps_si256(w.min[h]);
    }
}

MP_INLINE void mp_panel_256(__m256i *to, const mp_type256 type, const uint8_t *src, int64_t n)
{
    const int size = (mp_is_wide_256(type.most) ? MP_CODES_WIDE : MP_CODES) + MP_PANEL_MORE;
    for (; n > 0; n -= MP_SUPER, src += type.bytes, to += size) {
        uint8_t padded[MP_SUPER * 2];
        bool whole = type.len == MP_SUPER || n >= MP_SUPER;
        if (!whole)
            mp_pad_256(padded, type, src, n);
        mp_panel_super_256(to, type, whole ? src : padded);
    }
}

/* ---- decoding ---- */

/* scale * q is exact (ref.h), so the fused operation gives the reference's bits. */
MP_INLINE void mp_decode_super_256(float *dst, const mp_type256 type, const uint8_t *src)
{
    mp_super256 w;
    int8_t q[MP_SUPER];
    float scale[16], min[16] = { 0 };
    type.unpack(&w, src);
    for (int b = 0; b < 8; b++)
        _mm256_storeu_si256((__m256i *)(void *)(q + 32 * b), _mm256_sub_epi8(w.q[b], _mm256_set1_epi8((char)type.bias)));
    for (int h = 0; h < 256 / type.sub; h += 8) {
        _mm256_storeu_ps(scale + h, w.scale[h / 8]);
        if (type.min != MP_MIN_NONE)
            _mm256_storeu_ps(min + h, type.min == MP_MIN_16 ? _mm256_mul_ps(w.min[h / 8], _mm256_set1_ps(128.0f)) : w.min[0]);
    }
    for (int i = 0; i < MP_SUPER; i += 8) {
        const int g = type.sub == 32 ? i / 32 : i / 16 % 4 * 4 + i / 64;
        __m256 codes = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(q + i))));
        __m256 factor = _mm256_broadcast_ss(scale + g);
        __m256 v = type.min != MP_MIN_NONE ? _mm256_fmsub_ps(codes, factor, _mm256_broadcast_ss(min + g)) : _mm256_mul_ps(codes, factor);
        _mm256_storeu_ps(dst + i, v);
    }
}

MP_INLINE void mp_dequant_256(float *dst, const mp_type256 type, const void *src, int64_t n)
{
    const uint8_t *from = src;
    for (; n >= MP_SUPER; n -= MP_SUPER, dst += MP_SUPER, from += type.bytes)
        mp_decode_super_256(dst, type, from);
    if (type.len < MP_SUPER && n > 0) {
        uint8_t padded[MP_SUPER * 2];
        float whole[MP_SUPER];
        mp_pad_256(padded, type, from, n);
        mp_decode_super_256(whole, type, padded);
        memcpy(dst, whole, (size_t)n * sizeof(float));
    }
}

/* Defines the kernels of a type over its static const mp_type256 `t`. */
#define MP_KERNELS_256(name, t)                                                                                            \
    static void dequant_##name(float *dst, const void *src, int64_t n) { mp_dequant_256(dst, t, src, n); }                 \
    static void panel_##name(__m256i *to, const uint8_t *row, int64_t n) { mp_panel_256(to, t, row, n); }                  \
    static float row_##name(const uint8_t *row, const mp_q8 *x, int64_t n) { return mp_row_256(t, row, x, n); }            \
    static void few_##name(float *out, const uint8_t *row, const void *const *x, int64_t n, int tok)                       \
    {                                                                                                                      \
        mp_few_256(out, t, &(mp_dot_in){ row, x, n, tok });                                                                \
    }                                                                                                                      \
    static void mm_##name(const mp_mm *m)                                                                                  \
    {                                                                                                                      \
        mp_mm_256(m, &(const mp_mm256){ panel_##name, row_##name, few_##name, t.bytes, t.most, t.bias, t.min });                       \
    }
#endif
