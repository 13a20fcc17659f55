/* One super-block of 256 weights, and the product and decoder that every type shares. The AVX-512 twin is block_avx512.h; read that first.
 *
 *     q[b]       32 codes each, b = 0..7, in element order
 *     scale[0]   8 floats, one per 32 elements (sub = 32);  scale[0..1]: 16 floats, one per 16 (sub = 16)
 *     min[0..1]  the same places;  x = scale * q - min
 *
 * Without VNNI a product of bytes goes through pairs: pmaddubsw (unsigned x signed, two products added in 16 bits) and pmaddwd with ones. Pairs
 * stay below 2^15: codes of types with a minimum are at most 31, and for signed codes |q| <= 128 stands as the unsigned side while the
 * activation, at most 127, takes q's sign.
 */
#ifndef MP_NUM_X86_BLOCK_AVX2_H
#define MP_NUM_X86_BLOCK_AVX2_H

#include "num/x86/simd_avx2.h"
#include "num/x86/x86.h"

enum { MP_SUPER = 256 };

typedef struct mp_super256 {
    __m256i q[8];
    __m256  scale[2], min[2];
} mp_super256;

/* What is known of a type when its kernels are compiled: every call below is inlined with a constant one. */
typedef struct mp_type256 {
    void (*unpack)(mp_super256 *out, const uint8_t *src);
    int  len;       /* elements of a block: 256, or 32, and then rows may end inside a super-block */
    int  bytes;     /* of 256 weights */
    int  sub;       /* elements that share a scale: 16 or 32 */
    bool is_signed, has_min;
} mp_type256;

typedef struct mp_acc256 {
    __m256 even, odd;
} mp_acc256;

/* 8 scales per 32 elements, or 16 per 16, times the activations' 16 scales, in memory, from where they are spread. */
MP_INLINE void mp_scales_256(float *to, const __m256 *scale, const float *d, int sub)
{
    __m256 low = scale[0], high = scale[1];
    if (sub == 32) {
        high = _mm256_permutevar8x32_ps(scale[0], _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7));
        low = _mm256_permutevar8x32_ps(scale[0], _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
    }
    _mm256_storeu_ps(to, _mm256_mul_ps(low, _mm256_loadu_ps(d)));
    _mm256_storeu_ps(to + 8, _mm256_mul_ps(high, _mm256_loadu_ps(d + 8)));
}

/* The scales of block b for the 8 lanes: one for each half. */
MP_INLINE __m256 mp_spread_256(const float *scale, int b)
{
    double pair;
    memcpy(&pair, scale + 2 * b, sizeof pair);
    return _mm256_permutevar_ps(_mm256_castpd_ps(_mm256_set1_pd(pair)), _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}

/* Sums of four neighbours' products; `magnitude` is |q| for signed codes, q itself otherwise. */
MP_INLINE __m256 mp_products_256(__m256i magnitude, __m256i q, __m256i a, bool is_signed)
{
    __m256i pairs = _mm256_maddubs_epi16(magnitude, is_signed ? _mm256_sign_epi8(a, q) : a);
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

MP_INLINE void mp_mul_super_256(mp_acc256 *acc, const mp_type256 type, const mp_super256 *w, const mp_q8 *const *x, int tok)
{
    float scale[MP_DOT_TOK][16], min[MP_DOT_TOK][16];
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        mp_scales_256(scale[t], w->scale, x[t]->d, type.sub);
        if (type.has_min && type.sub == 32)
            acc[t].even = _mm256_fnmadd_ps(w->min[0], _mm256_loadu_ps(x[t]->s), acc[t].even);
        else if (type.has_min)
            mp_scales_256(min[t], w->min, x[t]->d, type.sub);
    }
    MP_UNROLL
    for (int b = 0; b < 8; b++) {
        __m256i q = w->q[b], magnitude = type.is_signed ? _mm256_abs_epi8(q) : q;
        MP_UNROLL
        for (int t = 0; t < tok; t++) {
            __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(x[t]->q + 32 * b));
            __m256 *to = b & 1 ? &acc[t].odd : &acc[t].even;
            *to = _mm256_fmadd_ps(mp_products_256(magnitude, q, a, type.is_signed), mp_spread_256(scale[t], b), *to);
            if (type.has_min && type.sub == 16)
                *to = _mm256_fnmadd_ps(mp_products_256(_mm256_set1_epi8(1), q, a, false), mp_spread_256(min[t], b), *to);
        }
    }
}

MP_INLINE void mp_dot_tok_256(float *out, const mp_type256 type, const mp_dot_in *in, int tok)
{
    const uint8_t *src = in->row;
    mp_acc256 acc[MP_DOT_TOK];
    const mp_q8 *x[MP_DOT_TOK];
    mp_super256 w;
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        acc[t] = (mp_acc256){ _mm256_setzero_ps(), _mm256_setzero_ps() };
        x[t] = in->x[t];
    }
    for (int64_t left = in->n / MP_SUPER; left > 0; left--) {
        type.unpack(&w, src);
        mp_mul_super_256(acc, type, &w, x, tok);
        src += type.bytes;
        MP_UNROLL
        for (int t = 0; t < tok; t++)
            x[t]++;
    }
    if (type.len < MP_SUPER && in->n % MP_SUPER) { /* the last blocks, filled up with zeros, whose products add nothing */
        uint8_t padded[MP_SUPER * 2] = { 0 };
        memcpy(padded, src, (size_t)(in->n % MP_SUPER / MP_Q8_BLOCK * (type.bytes / 8)));
        type.unpack(&w, padded);
        mp_mul_super_256(acc, type, &w, x, tok);
    }
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        out[t] = mp_fold_256(acc[t].even, acc[t].odd);
}

MP_INLINE void mp_dot_256(float *out, const mp_type256 type, const mp_dot_in *in)
{
    switch (in->tok) {
    case 1: mp_dot_tok_256(out, type, in, 1); break;
    case 2: mp_dot_tok_256(out, type, in, 2); break;
    case 3: mp_dot_tok_256(out, type, in, 3); break;
    default: mp_dot_tok_256(out, type, in, 4); break;
    }
}

/* scale * q is exact (ref.h), so the fused operation gives the reference's bits. */
MP_INLINE void mp_decode_super_256(float *dst, const mp_type256 type, const uint8_t *src)
{
    mp_super256 w;
    int8_t q[MP_SUPER];
    float scale[16], min[16] = { 0 };
    type.unpack(&w, src);
    for (int b = 0; b < 8; b++)
        _mm256_storeu_si256((__m256i *)(void *)(q + 32 * b), w.q[b]);
    for (int h = 0; h < 256 / type.sub; h += 8) {
        _mm256_storeu_ps(scale + h, w.scale[h / 8]);
        if (type.has_min)
            _mm256_storeu_ps(min + h, w.min[h / 8]);
    }
    for (int i = 0; i < MP_SUPER; i += 8) {
        __m256 codes = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(q + i))));
        __m256 factor = _mm256_broadcast_ss(scale + i / type.sub);
        __m256 v = type.has_min ? _mm256_fmsub_ps(codes, factor, _mm256_broadcast_ss(min + i / type.sub)) : _mm256_mul_ps(codes, factor);
        _mm256_storeu_ps(dst + i, v);
    }
}

MP_INLINE void mp_dequant_256(float *dst, const mp_type256 type, const void *src, int64_t n)
{
    const uint8_t *from = src;
    for (; n >= MP_SUPER; n -= MP_SUPER, dst += MP_SUPER, from += type.bytes)
        mp_decode_super_256(dst, type, from);
    if (type.len < MP_SUPER && n > 0) {
        uint8_t padded[MP_SUPER * 2] = { 0 };
        float whole[MP_SUPER];
        memcpy(padded, from, (size_t)(n / MP_Q8_BLOCK * (type.bytes / 8)));
        mp_decode_super_256(whole, type, padded);
        memcpy(dst, whole, (size_t)n * sizeof(float));
    }
}

/* Defines the two kernels of a type over its static const mp_type256 `t`. */
#define MP_KERNELS_256(name, t)                                                                                            \
    static void dequant_##name(float *dst, const void *src, int64_t n) { mp_dequant_256(dst, t, src, n); }                 \
    static void dot_##name(float *out, const void *row, const void *const *x, int64_t n, int tok)                          \
    {                                                                                                                      \
        mp_dot_256(out, t, &(mp_dot_in){ row, x, n, tok });                                                                \
    }

/* ---- pieces of unpackers ---- */

MP_INLINE float mp_half_256(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return _cvtsh_ss(h);
}

MP_INLINE uint32_t mp_word_256(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, 4);
    return u;
}

MP_INLINE __m128i mp_load16_256(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

MP_INLINE __m256i mp_load32_256(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* 8 bytes, unsigned or signed, times a factor. */
MP_INLINE __m256 mp_bytes8_256(__m128i bytes, bool is_signed, float factor)
{
    __m256i wide = is_signed ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
    return _mm256_mul_ps(_mm256_cvtepi32_ps(wide), _mm256_set1_ps(factor));
}

/* Bits [shift, shift + width) of every byte. */
MP_INLINE __m256i mp_bits_256(__m256i bytes, int shift, int width)
{
    return _mm256_and_si256(_mm256_srli_epi16(bytes, shift), _mm256_set1_epi8((char)((1 << width) - 1)));
}

/* `value` in every byte whose bit `bit` is set, else 0. */
MP_INLINE __m256i mp_where_bit_256(__m256i bytes, int bit, int value)
{
    const __m256i one = _mm256_set1_epi8((char)(1 << bit));
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, one), one), _mm256_set1_epi8((char)value));
}

/* 16 bytes to 32 nibbles: the low ones, then the high ones. */
MP_INLINE __m256i mp_nibbles_256(__m128i bytes)
{
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), _mm256_set1_epi8(15));
}
#endif
