/* One super-block of 256 weights, and the product and decoder that every type shares. The AVX-512 twin is block_avx512.h; read that first, then tile_avx2.h.
 *
 *     q[b]        32 codes each, b = 0..7, in element order, unsigned with a bias, or signed (most = 128)
 *     scale[0]    8 floats, of block b in lane b;  where every 16 have their own (sub = 16): of the blocks' first halves, and scale[1]: of the second
 *     min[0..1]   the same places;  x = scale * (q - bias) - min. Per 16 they are divided by 128, as the activations' a16 are multiplied
 */
#ifndef MP_NUM_X86_BLOCK_AVX2_H
#define MP_NUM_X86_BLOCK_AVX2_H

#include "num/x86/tile_avx2.h"
#include "num/x86/x86.h"

/* What is known of a type when its kernels are compiled: every call below is inlined with a constant one. */
typedef struct mp_type256 {
    void (*unpack)(mp_super256 *out, const uint8_t *src);
    int        len;   /* elements of a block: 256, or 32, and then rows may end inside a super-block */
    int        bytes; /* of 256 weights */
    mp_kind256 kind;
} mp_type256;

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

/* In each 128-bit lane, the sums of v[0], of v[1], of v[2] and of v[3], which come as pairs in 16 bits: of codes to 31 still as pairs, else whole. */
MP_INLINE __m256i mp_gather_256(const __m256i v[4], int most)
{
    const __m256i one = _mm256_set1_epi16(1);
    __m256i a, b;
    if (mp_is_wide_256(most)) {
        __m256i m[4];
        MP_UNROLL
        for (int c = 0; c < 4; c++)
            m[c] = _mm256_madd_epi16(v[c], one);
        a = _mm256_add_epi32(_mm256_unpacklo_epi64(m[0], m[1]), _mm256_unpackhi_epi64(m[0], m[1]));
        b = _mm256_add_epi32(_mm256_unpacklo_epi64(m[2], m[3]), _mm256_unpackhi_epi64(m[2], m[3]));
    } else {
        a = mp_halves_added_256(v[0], v[1]), b = mp_halves_added_256(v[2], v[3]);
        if (most <= 31)
            return _mm256_add_epi16(mp_words_256(a, b, false), mp_words_256(a, b, true));
        a = _mm256_madd_epi16(a, one), b = _mm256_madd_epi16(b, one);
    }
    return _mm256_add_epi32(mp_words_256(a, b, false), mp_words_256(a, b, true));
}

/* Sums as mp_add_256 takes them, of what was gathered of blocks 0 to 3 and of 4 to 7. */
MP_INLINE void mp_sums_256(__m256i sum[2], mp_kind256 kind, __m256i low, __m256i high)
{
    const __m256i one = _mm256_set1_epi16(1);
    sum[0] = _mm256_inserti128_si256(low, _mm256_castsi256_si128(high), 1), sum[1] = _mm256_permute2x128_si256(low, high, 0x31);
    if (mp_chain_256(kind) == 8) {
        sum[0] = _mm256_madd_epi16(_mm256_add_epi16(sum[0], sum[1]), one);
        return;
    }
    if (kind.most <= 31)
        sum[0] = _mm256_madd_epi16(sum[0], one), sum[1] = _mm256_madd_epi16(sum[1], one);
    if (kind.sub == 32)
        sum[0] = _mm256_add_epi32(sum[0], sum[1]);
}

MP_INLINE __m256 mp_step_256(__m256 acc, const mp_type256 type, const uint8_t *src, const mp_q8 *x)
{
    mp_super256 w;
    __m256i four[2], sum[2];
    type.unpack(&w, src);
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        __m256i pairs[4];
        MP_UNROLL
        for (int b = 0; b < 4; b++)
            pairs[b] = mp_pairs_256(w.q[4 * h + b], mp_codes_256(x, 4 * h + b), type.kind.most);
        four[h] = mp_gather_256(pairs, type.kind.most);
    }
    mp_sums_256(sum, type.kind, four[0], four[1]);
    return mp_add_256(acc, type.kind, sum, &w.s, x);
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

MP_INLINE void mp_few_step_256(__m256 *acc, const mp_type256 type, const uint8_t *src, mp_tile256 *m)
{
    mp_super256 w;
    type.unpack(&w, src);
    mp_turn_256(w.q);
    m->w[0] = w.q;
    mp_turned256 s = mp_turned_256(type.kind, m);
    MP_UNROLL
    for (int t = 0; t < m->tok; t++)
        acc[t] = mp_add_256(acc[t], type.kind, s.v[t][0], &w.s, m->x[t]);
}

MP_INLINE void mp_few_tok_256(float *out, const mp_type256 type, const mp_dot_in *in, int tok)
{
    const uint8_t *src = in->row;
    mp_tile256 m = { .rows = 1, .tok = tok };
    __m256 acc[MP_FEW];
    int64_t n = in->n;
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        acc[t] = _mm256_setzero_ps(), m.x[t] = in->x[t];
    for (; n >= MP_SUPER; n -= MP_SUPER, src += type.bytes) {
        mp_few_step_256(acc, type, src, &m);
        MP_UNROLL
        for (int t = 0; t < tok; t++)
            m.x[t]++;
    }
    if (type.len < MP_SUPER && n > 0) {
        uint8_t padded[MP_SUPER * 2];
        mp_pad_256(padded, type, src, n);
        mp_few_step_256(acc, type, padded, &m);
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
    mp_super256 w;
    type.unpack(&w, src);
    mp_turn_256(w.q);
    if (!mp_is_wide_256(type.kind.most)) {
        *(mp_super256 *)to = w;
        return;
    }
    mp_wide256 *wide = (mp_wide256 *)to;
    MP_UNROLL
    for (int i = 0; i < 8; i++) {
        wide->q[2 * i] = _mm256_srai_epi16(_mm256_slli_epi16(w.q[i], 8), 8);
        wide->q[2 * i + 1] = _mm256_srai_epi16(w.q[i], 8);
    }
    wide->s = w.s;
}

MP_INLINE void mp_panel_256(__m256i *to, const mp_type256 type, const uint8_t *src, int64_t n)
{
    const size_t size = mp_is_wide_256(type.kind.most) ? sizeof(mp_wide256) : sizeof(mp_super256);
    for (; n > 0; n -= MP_SUPER, src += type.bytes, to += size / sizeof(*to)) {
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
    const mp_kind256 kind = type.kind;
    mp_super256 w;
    int8_t q[MP_SUPER];
    float scale[16], min[16];
    type.unpack(&w, src);
    for (int b = 0; b < 8; b++)
        _mm256_storeu_si256((__m256i *)(void *)(q + 32 * b), _mm256_sub_epi8(w.q[b], _mm256_set1_epi8((char)kind.bias)));
    for (int h = 0; h < 32 / kind.sub; h++) {
        _mm256_storeu_ps(scale + 8 * h, w.s.scale[h]);
        if (kind.min != MP_MIN_NONE)
            _mm256_storeu_ps(min + 8 * h, kind.min == MP_MIN_16 ? _mm256_mul_ps(w.s.min[h], _mm256_set1_ps(128.0f)) : w.s.min[h]);
    }
    for (int i = 0; i < MP_SUPER; i += 8) {
        const int g = i / 32 + (i % 32 / kind.sub) * 8;
        __m256 codes = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(q + i))));
        __m256 factor = _mm256_broadcast_ss(scale + g);
        __m256 v = kind.min != MP_MIN_NONE ? _mm256_fmsub_ps(codes, factor, _mm256_broadcast_ss(min + g)) : _mm256_mul_ps(codes, factor);
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
        mp_mm_256(m, &(const mp_mm256){ panel_##name, row_##name, few_##name, t.bytes, t.kind });                          \
    }
#endif
