/* One super-block of 256 weights in registers, and the product and decoder that every type shares.
 *
 * An unpacker turns 256 weights (one k-quant block, or eight blocks of 32) into
 *
 *     q[c]    64 codes each, c = 0..3, in element order
 *     scale   16 floats, one per 16 elements
 *     min     per 32 elements in the lower 8 lanes (MIN_32), or per 16 in all of them (MIN_16);  x = scale * q - min
 *
 * The product of a chunk of 64: vpdpbusd sums four neighbours exactly, which leaves 16 int32, four for each 16 elements; as floats they are
 * multiplied by (weight scale x activation scale) and added to 16 lanes. Two accumulators (even and odd chunks) hide the latency of the add;
 * they are folded once per row. None of that looks at the number of tokens, so a token's result does not depend on its company.
 *
 * vpdpbusd wants unsigned x signed. Codes of types with a minimum are unsigned as they are. For signed codes the activations are made
 * unsigned by flipping their top bit (adding 128), and -128 * sum(q), computed once for all tokens, is where the sum starts: exact.
 */
#ifndef MP_NUM_X86_BLOCK_AVX512_H
#define MP_NUM_X86_BLOCK_AVX512_H

#include <string.h>

#include "num/x86/simd_avx512.h"
#include "num/x86/x86.h"

enum { MP_SUPER = 256, PREFETCH_BYTES = 2048 };
typedef enum mp_min_kind { MP_MIN_NONE, MP_MIN_32, MP_MIN_16 } mp_min_kind;

typedef struct mp_super512 {
    __m512i q[4];
    __m512  scale, min;
} mp_super512;

/* What is known of a type when its kernels are compiled: every call below is inlined with a constant one. */
typedef struct mp_type512 {
    void (*unpack)(mp_super512 *out, const uint8_t *src);
    int         len;   /* elements of a block: 256, or 32, and then rows may end inside a super-block */
    int         bytes; /* of 256 weights */
    bool        is_signed;
    mp_min_kind min;
} mp_type512;

typedef struct mp_acc512 {
    __m512 even, odd;
} mp_acc512;

/* 8 floats, each twice: per 32 elements to per 16. */
MP_INLINE __m512 mp_twice8_512(__m256 v)
{
    const __m512i index = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(index, _mm512_castps256_ps512(v));
}

/* Floats 4c .. 4c+3, each four times: the scales of chunk c, lane by lane. */
MP_INLINE __m512 mp_spread_512(__m512 v, int c)
{
    const __m512i index = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutexvar_ps(_mm512_add_epi32(index, _mm512_set1_epi32(4 * c)), v);
}

/* Adds the super-block's product with the activations at x8 (floats d, s, codes of 8 blocks) for `tok` tokens. */
MP_INLINE void mp_mul_super_512(mp_acc512 *acc, const mp_type512 type, const mp_super512 *w, const mp_q8 *x, int tok)
{
    __m512 scale[MP_DOT_TOK], min[MP_DOT_TOK];
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        __m512 d = _mm512_loadu_ps(x[t].d);
        scale[t] = _mm512_mul_ps(w->scale, d);
        if (type.min == MP_MIN_32)
            acc[t].even = _mm512_fnmadd_ps(w->min, _mm512_zextps256_ps512(_mm256_loadu_ps(x[t].s)), acc[t].even);
        if (type.min == MP_MIN_16)
            min[t] = _mm512_mul_ps(w->min, d);
    }
    const __m512i flip = _mm512_set1_epi8(-128);
    MP_UNROLL
    for (int c = 0; c < 4; c++) {
        __m512i start = _mm512_setzero_si512();
        if (type.is_signed)
            start = _mm512_sub_epi32(start, _mm512_dpbusd_epi32(_mm512_setzero_si512(), flip, w->q[c]));
        MP_UNROLL
        for (int t = 0; t < tok; t++) {
            __m512i a = _mm512_loadu_si512(x[t].q + 64 * c);
            __m512i sum = type.is_signed ? _mm512_dpbusd_epi32(start, _mm512_xor_si512(a, flip), w->q[c])
                                         : _mm512_dpbusd_epi32(start, w->q[c], a);
            __m512 *to = c & 1 ? &acc[t].odd : &acc[t].even;
            *to = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), mp_spread_512(scale[t], c), *to);
            if (type.min == MP_MIN_16) {
                __m512i a_sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), a);
                *to = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(a_sum), mp_spread_512(min[t], c), *to);
            }
        }
    }
}

/* The last n % 256 weights, as a super-block filled up with zeros, whose products add nothing. */
MP_INLINE void mp_mul_tail_512(mp_acc512 *acc, const mp_type512 type, const uint8_t *src, const mp_q8 *x, int64_t blocks, int tok)
{
    uint8_t padded[MP_SUPER * 2] = { 0 };
    float d[MP_DOT_TOK][16] = { { 0 } }, s[MP_DOT_TOK][8] = { { 0 } };
    int8_t q[MP_DOT_TOK][MP_SUPER] = { { 0 } };
    mp_q8 view[MP_DOT_TOK];
    mp_super512 w;
    memcpy(padded, src, (size_t)(blocks * (type.bytes / 8)));
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        memcpy(d[t], x[t].d, (size_t)blocks * 2 * sizeof(float));
        memcpy(s[t], x[t].s, (size_t)blocks * sizeof(float));
        memcpy(q[t], x[t].q, (size_t)blocks * MP_Q8_BLOCK);
        view[t] = (mp_q8){ d[t], s[t], q[t] };
    }
    type.unpack(&w, padded);
    mp_mul_super_512(acc, type, &w, view, tok);
}

MP_INLINE void mp_dot_tok_512(float *out, const mp_type512 type, const uint8_t *src, const mp_q8 *first, int64_t n, int tok)
{
    mp_acc512 acc[MP_DOT_TOK];
    mp_q8 x[MP_DOT_TOK];
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        acc[t] = (mp_acc512){ _mm512_setzero_ps(), _mm512_setzero_ps() };
        x[t] = first[t];
    }
    for (int64_t left = n / MP_SUPER; left > 0; left--) {
        mp_super512 w;
        if (tok == 1) /* decoding: rows follow each other in memory, and their ends stop the processor's own prefetcher */
            for (int ahead = 0; ahead < type.bytes; ahead += 64)
                _mm_prefetch((const char *)src + PREFETCH_BYTES + ahead, _MM_HINT_T0);
        type.unpack(&w, src);
        mp_mul_super_512(acc, type, &w, x, tok);
        src += type.bytes;
        MP_UNROLL
        for (int t = 0; t < tok; t++)
            x[t] = (mp_q8){ x[t].d + 16, x[t].s + 8, x[t].q + MP_SUPER };
    }
    if (type.len < MP_SUPER && n % MP_SUPER)
        mp_mul_tail_512(acc, type, src, x, n % MP_SUPER / MP_Q8_BLOCK, tok);
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        out[t] = mp_fold_512(_mm512_add_ps(acc[t].even, acc[t].odd));
}

MP_INLINE void mp_dot_512(float *out, const mp_type512 type, const mp_dot_in *in)
{
    mp_q8 first[MP_DOT_TOK] = { { 0 } };
    for (int t = 0; t < in->tok; t++)
        first[t] = mp_q8_at(mp_dot_x(in, t), in->n);
    switch (in->tok) {
    case 1: mp_dot_tok_512(out, type, in->row, first, in->n, 1); break;
    case 2: mp_dot_tok_512(out, type, in->row, first, in->n, 2); break;
    case 3: mp_dot_tok_512(out, type, in->row, first, in->n, 3); break;
    default: mp_dot_tok_512(out, type, in->row, first, in->n, 4); break;
    }
}

/* scale * q is exact (ref.h), so the fused operation gives the reference's bits. */
MP_INLINE void mp_decode_super_512(float *dst, const mp_type512 type, const uint8_t *src)
{
    mp_super512 w;
    type.unpack(&w, src);
    __m512 min = type.min == MP_MIN_32 ? mp_twice8_512(_mm512_castps512_ps256(w.min)) : w.min;
    MP_UNROLL
    for (int i = 0; i < 16; i++) {
        const __m512i index = _mm512_set1_epi32(i);
        __m512 q = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm512_extracti32x4_epi32(w.q[i / 4], 0)));
        __m512 scale = _mm512_permutexvar_ps(index, w.scale);
        __m512 x = type.min == MP_MIN_NONE ? _mm512_mul_ps(q, scale) : _mm512_fmsub_ps(q, scale, _mm512_permutexvar_ps(index, min));
        _mm512_storeu_ps(dst + 16 * i, x);
        w.q[i / 4] = _mm512_alignr_epi64(w.q[i / 4], w.q[i / 4], 2); /* the next 16 codes */
    }
}

MP_INLINE void mp_dequant_512(float *dst, const mp_type512 type, const void *src, int64_t n)
{
    const uint8_t *from = src;
    for (; n >= MP_SUPER; n -= MP_SUPER, dst += MP_SUPER, from += type.bytes)
        mp_decode_super_512(dst, type, from);
    if (type.len < MP_SUPER && n > 0) {
        uint8_t padded[MP_SUPER * 2] = { 0 };
        float whole[MP_SUPER];
        memcpy(padded, from, (size_t)(n / MP_Q8_BLOCK * (type.bytes / 8)));
        mp_decode_super_512(whole, type, padded);
        memcpy(dst, whole, (size_t)n * sizeof(float));
    }
}

/* Defines the two kernels of a type over its static const mp_type512 `t`. */
#define MP_KERNELS_512(name, t)                                                                                            \
    static void dequant_##name(float *dst, const void *src, int64_t n) { mp_dequant_512(dst, t, src, n); }                 \
    static void dot_##name(float *out, const void *row, const void *x, size_t x_stride, int64_t n, int tok)                \
    {                                                                                                                      \
        mp_dot_512(out, t, &(mp_dot_in){ row, x, x_stride, n, tok });                                                      \
    }

/* ---- pieces of unpackers ---- */

MP_INLINE float mp_half_512(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return _cvtsh_ss(h);
}

MP_INLINE uint32_t mp_word_512(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, 4);
    return u;
}

/* The halves at the start of eight blocks that are `stride` bytes apart. */
MP_INLINE __m256 mp_halves8_512(const uint8_t *p, int stride)
{
    uint16_t h[8];
    MP_UNROLL
    for (int b = 0; b < 8; b++)
        memcpy(&h[b], p + b * stride, 2);
    return _mm256_cvtph_ps(_mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3], (short)h[4], (short)h[5], (short)h[6], (short)h[7]));
}

MP_INLINE __m128i mp_load16_512(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

MP_INLINE __m256i mp_load32_512(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* 32 bytes in both halves, the halves shifted right by different numbers of bits. Bits of neighbours come along: mask them off. */
MP_INLINE __m512i mp_shift_halves_512(__m256i bytes, int low, int high)
{
    const __m512i by = _mm512_setr_epi64(low, low, low, low, high, high, high, high);
    return _mm512_srlv_epi64(_mm512_broadcast_i64x4(bytes), by);
}

/* Bit `low` of byte i selects element i, bit `high` element 32 + i. */
MP_INLINE __mmask64 mp_bit_halves_512(__m512i both, int low, int high)
{
    const __m512i bits = _mm512_inserti64x4(_mm512_set1_epi8((char)(1 << low)), _mm256_set1_epi8((char)(1 << high)), 1);
    return _mm512_test_epi8_mask(both, bits);
}

/* Nibbles of two blocks of 16 bytes, [0..15] block a low, [16..31] a high, then b. */
MP_INLINE __m512i mp_nibbles_512(__m128i a, __m128i b)
{
    const __m512i by = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_broadcastsi128_si256(a)), _mm256_broadcastsi128_si256(b), 1);
    return _mm512_and_si512(_mm512_srlv_epi64(both, by), _mm512_set1_epi8(15));
}
#endif
