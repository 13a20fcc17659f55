/* One super-block of 256 weights in registers, and the products and the decoder that every type shares.
 *
 * An unpacker turns 256 weights (one k-quant block, or eight blocks of 32) into
 *
 *     q[c]      64 codes each, c = 0..3, in four 128-bit lanes of 16: a group. Which group it is, is the type's order (order_avx512.h)
 *     scale     8 floats, of the blocks of 32 in the order's lanes; where a type has a scale for every 16 (sub), 16 floats, that of q[c]'s lane l at 4l + c
 *     min       the same: per 32 (MIN_32), or per 16 and divided by 128 (MIN_16)
 *
 * with x = scale * (q - bias) - min. vpdpbusd wants unsigned x signed, so signed codes come with a bias, a power of two up to 128, which the
 * activations' `a` takes off again. It sums four neighbours into a 32-bit lane; the eight sums of a block (four of a half, where they have scales) must
 * meet before they become a float:
 *
 *     one token     codes stay in the type's order, and the activations are put into it once. Two super-blocks at a time: where q[0] and q[1] have the
 *                   halves of the same blocks their products are chained; the sums are added up within 128-bit lanes, and lanes with one another
 *     more tokens   codes are turned once for many tokens, as activations are (turn_q8): 8 registers of two rows side by side, lane j of the w-th
 *                   being word w of block j. Eight chained vpdpbusd then give 16 sums at once
 *
 * Either way a lane holds the exact sum of a block, and one fused product with (weight scale x activation scale) adds it to the row's 8 lanes, from which
 * then its minimum is taken; or it holds that of a half, whose products with its scale and its minimum meet those of the other before. The lanes are
 * folded once, at the row's end. None of that looks at the other rows or tokens, so a token's result does not depend on its company.
 */
#ifndef MP_NUM_X86_BLOCK_AVX512_H
#define MP_NUM_X86_BLOCK_AVX512_H

#include <string.h>

#include "num/x86/mm.h"
#include "num/x86/pieces_avx512.h"
#include "num/x86/x86.h"

typedef union mp_scales512 {
    __m256 of_32;
    __m512 of_16;
} mp_scales512;

typedef struct mp_super512 {
    __m512i      q[4];
    mp_scales512 scale, min;
} mp_super512;

/* What is known of a type when its kernels are compiled: every call below is inlined with a constant one. */
typedef struct mp_type512 {
    void (*unpack)(mp_super512 *out, const uint8_t *src);
    int         len;   /* elements of a block: 256, or 32, and then rows may end inside a super-block */
    int         bytes; /* of 256 weights */
    int         sub;   /* elements that share a scale: 16, or 32 and more */
    int         most;  /* the largest code, with its bias */
    int         bias;  /* 0: codes are unsigned */
    mp_min_kind min;
    mp_order    order;
    uint8_t     fill;  /* for what is past the row's end: a byte that gives finite scales, and normal ones, because others cost 100 cycles */
} mp_type512;

/* Two rows' super-blocks side by side, turned; signed codes have a bias of 128. Scales and minima of first halves and of second ones, or of blocks. */
typedef struct mp_pair512 {
    __m512i q[8];
    __m512  scale[2], min[2];
} mp_pair512;

/* Two super-blocks of a token for decoding, in the type's order.
 *   d, s  in the order's lanes
 *   a     per group, at its place: what the bias adds to its sum; MIN_16: floats that minima are multiplied with, of both super-blocks' first halves, then
 *         of their second ones */
typedef struct mp_token512 {
    int8_t  q[2][256];
    float   d[2][8], s[2][8];
    int32_t a[2][16];
} mp_token512;

/* What mm_avx512.c needs of a type. */
typedef struct mp_mm512 {
    void (*panel)(mp_pair512 *to, const uint8_t *const rows[2], int64_t n);     /* n weights of two rows */
    void (*token)(mp_token512 *to, const mp_q8 *x, int64_t n, bool turned);     /* a token, turned or not, as `rows` wants it */
    void (*rows)(__m256 *lanes, const mp_mm *m, int64_t r, int count, const mp_token512 *x); /* whole rows for one token, from the r-th on */
    int         bytes; /* of 256 weights */
    int         sub;
    bool        is_signed;
    mp_min_kind min;
} mp_mm512;

void mp_mm_512(const mp_mm *m, const mp_mm512 *how);

MP_INLINE __m512 mp_both_512(__m256 low, __m256 high)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

MP_INLINE __m256 mp_half_of_512(__m512 v, int h)
{
    return h ? _mm512_extractf32x8_ps(v, 1) : _mm512_castps512_ps256(v);
}

/* Scales or minima of blocks, or of their halves h, in element order. */
MP_INLINE __m256 mp_scales_512(const mp_scales512 *of, const mp_type512 type, int h)
{
    if (type.sub == 32)
        return mp_in_order_512(of->of_32, type.order);
    return mp_in_order_512(mp_half_of_512(_mm512_shuffle_f32x4(of->of_16, of->of_16, 0xd8), h), type.order);
}

/* Codes to QUARTERS order; lifted ones are all four times as large then. */
MP_INLINE void mp_quarters_512(__m512i q[4], mp_order order)
{
    for (int c = 0; c < 4 && mp_lift_512(order) == 4; c += 2)
        q[c] = _mm512_slli_epi16(q[c], 2);
    mp_codes_to_quarters_512(q, order);
}

/* In each 128-bit lane, the four words of v[0], of v[1], of v[2] and of v[3] added up, plus a; those of v[0] and v[2] `lift` times. A word is at most
 * 127 * reach. */
MP_INLINE __m512i mp_gather_512(const __m512i v[4], int reach, int lift, __m512i a)
{
    if (reach <= 252) { /* they fit 16 bits */
        const __m512i factors = _mm512_set4_epi32(0x10001, 0x10001 * lift, 0x10001, 0x10001 * lift);
        __m512 low = _mm512_castsi512_ps(_mm512_packs_epi32(v[0], v[1])), high = _mm512_castsi512_ps(_mm512_packs_epi32(v[2], v[3]));
        __m512i even = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0x88)), odd = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0xdd));
        if (reach <= 124) /* and so do two of them */
            return _mm512_dpwssd_epi32(a, _mm512_add_epi16(even, odd), factors);
        return _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(a, even, factors), odd, factors);
    }
    __m512i low = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1])); /* (0, 1, 0, 1) */
    __m512i high = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    return _mm512_add_epi32(a, _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high)));
}

/* ---- one token ---- */

/* HALVES: where the sums of two super-blocks' blocks are after gathering, and, as it is its own inverse, the place of each. */
MP_INLINE __m512i mp_halves_places_512(void)
{
    return _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

/* What belongs to the groups of a super-block, first halves and second ones apart, to the groups' places. */
MP_INLINE __m512i mp_to_places_512(__m512i v, mp_order order)
{
    const __m256i blocks = mp_blocks_512(order);
    __m512i at = _mm512_inserti32x8(_mm512_castsi256_si512(blocks), _mm256_add_epi32(blocks, _mm256_set1_epi32(8)), 1);
    at = _mm512_shuffle_i64x2(at, at, 0xd8);
    if (order == MP_TERNARY)
        at = _mm512_permutexvar_epi32(mp_ternary_back_512(), at);
    return _mm512_permutexvar_epi32(at, v);
}

/* What the bias adds to the sums of groups; HALVES: of the blocks of both super-blocks. */
MP_INLINE void mp_token_bias_512(mp_token512 *to, const mp_q8 *x, const mp_type512 type, int supers)
{
    const unsigned shift = (unsigned)__builtin_ctz(128 / (unsigned)(type.bias * mp_lift_512(type.order)));
    if (type.order == MP_HALVES) {
        __m512i a = _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)x[0].a));
        if (supers == 2)
            a = _mm512_inserti32x8(a, _mm256_loadu_si256((const __m256i *)(const void *)x[1].a), 1);
        _mm512_storeu_si512(to->a[0], _mm512_srai_epi32(_mm512_permutexvar_epi32(mp_halves_places_512(), a), shift));
        return;
    }
    for (int i = 0; i < supers; i++)
        _mm512_storeu_si512(to->a[i], _mm512_srai_epi32(mp_to_places_512(_mm512_loadu_si512(x[i].a16), type.order), shift));
}

/* One or two super-blocks of a token. */
MP_INLINE void mp_token_pair_512(mp_token512 *to, const mp_q8 *x, const mp_type512 type, int supers, bool turned)
{
    const __m256i blocks = mp_blocks_512(type.order);
    for (int i = 0; i < supers; i++) {
        __m512i q[4];
        MP_UNROLL
        for (int c = 0; c < 4; c++)
            q[c] = _mm512_loadu_si512(x[i].q + 64 * c);
        if (turned)
            mp_turn_super_512(q);
        mp_codes_from_plain_512(q, type.order);
        MP_UNROLL
        for (int c = 0; c < 4; c++)
            _mm512_storeu_si512(to->q[i] + 64 * c, q[c]);
        _mm256_storeu_ps(to->d[i], _mm256_permutevar8x32_ps(_mm256_loadu_ps(x[i].d), blocks));
        _mm256_storeu_ps(to->s[i], _mm256_permutevar8x32_ps(_mm256_loadu_ps(x[i].s), blocks));
        for (int h = 0; type.min == MP_MIN_16 && h < 2; h++) {
            __m256i a = _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const __m256i *)(const void *)x[i].a16[h]), blocks);
            _mm256_storeu_ps((float *)(void *)(to->a[h] + 8 * i), _mm256_cvtepi32_ps(a));
        }
    }
    if (type.bias)
        mp_token_bias_512(to, x, type, supers);
}

MP_INLINE void mp_token_512(mp_token512 *to, const mp_q8 *x, const mp_type512 type, int64_t n, bool turned)
{
    for (; n > 0; n -= 2 * MP_SUPER, x += 2)
        mp_token_pair_512(to++, x, type, n > MP_SUPER ? 2 : 1, turned);
}

/* HALVES: the exact sums of the blocks of one or two super-blocks, one after the other. */
MP_INLINE __m512i mp_halves_sums_512(const mp_type512 type, const mp_super512 *w, const mp_token512 *x, int supers)
{
    __m512i v[4] = { _mm512_setzero_si512() };
    MP_UNROLL
    for (int k = 0; k < 2; k++)
        MP_UNROLL
        for (int i = 0; i < 2 * supers; i++) {
            const int c = i % 2 * 2 + k;
            v[i] = _mm512_dpbusd_epi32(k ? v[i] : _mm512_setzero_si512(), w[i / 2].q[c], _mm512_loadu_si512(x->q[i / 2] + 64 * c));
        }
    __m512i sums = mp_gather_512(v, 8 * type.most, 1, type.bias ? _mm512_loadu_si512(x->a[0]) : _mm512_setzero_si512());
    return _mm512_permutexvar_epi32(mp_halves_places_512(), sums);
}

/* The exact sums of the groups of each super-block, at their places. */
MP_INLINE void mp_group_sums_512(__m512i sums[2], const mp_type512 type, const mp_super512 *w, const mp_token512 *x, int supers)
{
    __m512i v[2][4];
    MP_UNROLL
    for (int c = 0; c < 4; c++)
        MP_UNROLL
        for (int i = 0; i < supers; i++)
            v[i][c] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w[i].q[c], _mm512_loadu_si512(x->q[i] + 64 * c));
    MP_UNROLL
    for (int i = 0; i < supers; i++) {
        sums[i] = mp_gather_512(v[i], 4 * type.most, mp_lift_512(type.order), type.bias ? _mm512_loadu_si512(x->a[i]) : _mm512_setzero_si512());
        sums[i] = type.order == MP_TERNARY ? _mm512_permutexvar_epi32(mp_ternary_places_512(), sums[i]) : sums[i];
    }
}

/* Of two super-blocks' groups, the first halves (h = 0) or the second ones, in the order's lanes. */
MP_INLINE __m512 mp_halves_of_512(__m512 a, __m512 b, int h)
{
    return h ? _mm512_shuffle_f32x4(a, b, 0xdd) : _mm512_shuffle_f32x4(a, b, 0x88);
}

MP_INLINE __m512i mp_sums_of_512(const __m512i sums[2], int supers, int h)
{
    return h ? _mm512_shuffle_i64x2(sums[0], sums[supers - 1], 0xdd) : _mm512_shuffle_i64x2(sums[0], sums[supers - 1], 0x88);
}

/* Scales for 16: what both super-blocks' blocks add up to, but for the activations' scales. */
MP_INLINE __m512 mp_of_16_512(const mp_type512 type, const mp_super512 *w, const mp_token512 *x, const __m512i sums[2], int supers)
{
    const mp_super512 *v = w + supers - 1;
    __m512 p = _mm512_mul_ps(_mm512_cvtepi32_ps(mp_sums_of_512(sums, supers, 0)), mp_halves_of_512(w->scale.of_16, v->scale.of_16, 0));
    p = _mm512_fmadd_ps(_mm512_cvtepi32_ps(mp_sums_of_512(sums, supers, 1)), mp_halves_of_512(w->scale.of_16, v->scale.of_16, 1), p);
    for (int h = 0; type.min == MP_MIN_16 && h < 2; h++)
        p = _mm512_fmadd_ps(mp_halves_of_512(w->min.of_16, v->min.of_16, h), _mm512_loadu_ps(x->a[h]), p);
    return p;
}

/* One or two super-blocks as they are. Stage by stage for both of them: the processor's queues hold hardly more than one chain of dependent operations. */
MP_INLINE __m256 mp_step_one_512(__m256 acc, const mp_type512 type, const uint8_t *const src[2], const mp_token512 *x, int supers)
{
    mp_super512 w[2];
    __m512i sums[2];
    __m512 of_blocks;
    MP_UNROLL
    for (int i = 0; i < supers; i++)
        type.unpack(&w[i], src[i]);
    if (type.order == MP_HALVES)
        sums[0] = mp_halves_sums_512(type, w, x, supers);
    else
        mp_group_sums_512(sums, type, w, x, supers);
    if (type.sub == 16)
        of_blocks = mp_of_16_512(type, w, x, sums, supers);
    else if (type.order == MP_HALVES)
        of_blocks = _mm512_cvtepi32_ps(sums[0]);
    else
        of_blocks = _mm512_cvtepi32_ps(_mm512_add_epi32(mp_sums_of_512(sums, supers, 0), mp_sums_of_512(sums, supers, 1)));
    MP_UNROLL
    for (int i = 0; i < supers; i++) {
        __m256 d = _mm256_loadu_ps(x->d[i]);
        acc = _mm256_fmadd_ps(mp_half_of_512(of_blocks, i), type.sub == 16 ? d : _mm256_mul_ps(w[i].scale.of_32, d), acc);
        if (type.min == MP_MIN_32)
            acc = _mm256_fnmadd_ps(w[i].min.of_32, _mm256_loadu_ps(x->s[i]), acc);
    }
    return acc;
}

typedef struct mp_padded512 {
    __m512i part[5]; /* as many as the largest super-block of eight blocks has: Q8_0's */
} mp_padded512;

/* The last n % 256 weights with others behind them: what those are multiplied with is 0, so they add nothing. */
MP_INLINE const uint8_t *mp_pad_512(mp_padded512 *to, const mp_type512 type, const uint8_t *src, int64_t n)
{
    const int64_t bytes = n / MP_Q8_BLOCK * (type.bytes / 8);
    MP_UNROLL
    for (int i = 0; i < (type.bytes + 63) / 64; i++) {
        int64_t left = bytes - 64 * i;
        __mmask64 there = _cvtu64_mask64(left <= 0 ? 0 : _bzhi_u64(~0ull, left < 64 ? (unsigned)left : 64));
        to->part[i] = _mm512_mask_loadu_epi8(_mm512_set1_epi8((char)type.fill), there, src + 64 * i);
    }
    return (const uint8_t *)to->part;
}

/* ---- more tokens ---- */

/* A super-block in QUARTERS order turned, with a bias of 128: q[k] has the words k and 4 + k of the blocks 0 to 3, then of the others. */
MP_INLINE void mp_turned_512(mp_super512 *w, const mp_type512 type, const uint8_t *src, int64_t n)
{
    const __m512i more = _mm512_set1_epi8((char)(type.bias ? 128 - type.bias * mp_lift_512(type.order) : 0));
    mp_padded512 padded;
    type.unpack(w, type.len == MP_SUPER || n >= MP_SUPER ? src : mp_pad_512(&padded, type, src, n));
    mp_quarters_512(w->q, type.order);
    MP_UNROLL
    for (int c = 0; c < 4; c++)
        w->q[c] = _mm512_add_epi8(w->q[c], more);
    mp_turn_512(w->q);
}

MP_INLINE void mp_panel_512(mp_pair512 *to, const mp_type512 type, const uint8_t *const rows[2], int64_t n)
{
    for (int64_t at = 0; at * MP_SUPER < n; at++, to++) {
        mp_super512 a, b;
        mp_turned_512(&a, type, rows[0] + at * type.bytes, n - at * MP_SUPER);
        mp_turned_512(&b, type, rows[1] + at * type.bytes, n - at * MP_SUPER);
        MP_UNROLL
        for (int k = 0; k < 4; k++) {
            to->q[k] = _mm512_shuffle_i64x2(a.q[k], b.q[k], 0x88);
            to->q[4 + k] = _mm512_shuffle_i64x2(a.q[k], b.q[k], 0xdd);
        }
        for (int h = 0; h < 32 / type.sub; h++) {
            to->scale[h] = mp_both_512(mp_scales_512(&a.scale, type, h), mp_scales_512(&b.scale, type, h));
            if (type.min != MP_MIN_NONE)
                to->min[h] = mp_both_512(mp_scales_512(&a.min, type, h), mp_scales_512(&b.min, type, h));
        }
    }
}

/* ---- decoding: rows follow each other in memory ---- */

/* How what comes next is asked for. The processor's own prefetcher keeps up with long rows, where asking costs 2 to 20 %; at the ends of short ones it
 * falls back. Where memory waits for one thread it pays for longer ones, and from farther (docs/experiments.md). One row at a time: two streams read half
 * as fast. */
typedef enum mp_ask { MP_ASK_NOT, MP_ASK_NEAR = 4096, MP_ASK_FAR = 8192 /* bytes ahead */ } mp_ask;

MP_INLINE mp_ask mp_ask_for_512(const mp_mm *m)
{
    if (m->alone)
        return m->row_bytes <= 1536 ? MP_ASK_FAR : MP_ASK_NOT;
    return m->row_bytes <= 1024 ? MP_ASK_NEAR : MP_ASK_NOT;
}

MP_INLINE void mp_ask_512(const uint8_t *src, int bytes, mp_ask how)
{
    for (int at = 0; how == MP_ASK_NEAR && at < bytes; at += 64)
        _mm_prefetch((const char *)src + MP_ASK_NEAR + at, _MM_HINT_T0);
    for (int at = 0; how == MP_ASK_FAR && at < bytes; at += 64)
        _mm_prefetch((const char *)src + MP_ASK_FAR + at, _MM_HINT_T1);
}

MP_INLINE void mp_row_512(__m256 *lanes, const mp_type512 type, const uint8_t *src, const mp_token512 *x, int64_t n, mp_ask ask)
{
    __m256 sum = _mm256_setzero_ps();
    for (; n >= 2 * MP_SUPER; n -= 2 * MP_SUPER, x++, src += 2 * type.bytes) {
        mp_ask_512(src, 2 * type.bytes, ask);
        sum = mp_step_one_512(sum, type, (const uint8_t *const[2]){ src, src + type.bytes }, x, 2);
    }
    if (n > 0) { /* the last one or two, of which the very last may be part of one */
        const uint8_t *last = n > MP_SUPER ? src + type.bytes : src;
        mp_padded512 padded;
        mp_ask_512(src, type.bytes, ask);
        if (type.len < MP_SUPER && n % MP_SUPER)
            last = mp_pad_512(&padded, type, last, n % MP_SUPER);
        if (n > MP_SUPER)
            sum = mp_step_one_512(sum, type, (const uint8_t *const[2]){ src, last }, x, 2);
        else
            sum = mp_step_one_512(sum, type, (const uint8_t *const[2]){ last, last }, x, 1);
    }
    *lanes = mp_in_order_512(sum, type.order);
}

/* ---- decoder ---- */

/* scale * q is exact (ref.h), so the fused operation gives the reference's bits. */
MP_INLINE void mp_decode_super_512(float *dst, const mp_type512 type, const uint8_t *src)
{
    mp_super512 w;
    __m512 scale[2], min[2];
    type.unpack(&w, src);
    mp_quarters_512(w.q, type.order);
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        scale[h] = _mm512_castps256_ps512(mp_scales_512(&w.scale, type, h));
        if (type.min != MP_MIN_NONE)
            min[h] = _mm512_mul_ps(_mm512_castps256_ps512(mp_scales_512(&w.min, type, h)), _mm512_set1_ps(type.min == MP_MIN_16 ? 128.0f : 1.0f));
    }
    MP_UNROLL
    for (int c = 0; c < 4; c++)
        w.q[c] = _mm512_sub_epi8(w.q[c], _mm512_set1_epi8((char)(type.bias * mp_lift_512(type.order))));
    MP_UNROLL
    for (int i = 0; i < 16; i++) { /* lane i / 4 of q[i % 4] */
        const int h = i / 4 % 2, block = i % 4 + i / 8 * 4;
        const __m512i index = _mm512_set1_epi32(block);
        __m512 q = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm512_castsi512_si128(w.q[i % 4])));
        __m512 x = _mm512_mul_ps(q, _mm512_permutexvar_ps(index, scale[h]));
        if (type.min != MP_MIN_NONE)
            x = _mm512_fmsub_ps(q, _mm512_permutexvar_ps(index, scale[h]), _mm512_permutexvar_ps(index, min[h]));
        _mm512_storeu_ps(dst + 32 * block + 16 * h, x);
        w.q[i % 4] = _mm512_alignr_epi64(w.q[i % 4], w.q[i % 4], 2); /* the next 16 codes */
    }
}

MP_INLINE void mp_dequant_512(float *dst, const mp_type512 type, const void *src, int64_t n)
{
    const uint8_t *from = src;
    for (; n >= MP_SUPER; n -= MP_SUPER, dst += MP_SUPER, from += type.bytes)
        mp_decode_super_512(dst, type, from);
    if (type.len < MP_SUPER && n > 0) {
        mp_padded512 padded;
        float whole[MP_SUPER];
        mp_decode_super_512(whole, type, mp_pad_512(&padded, type, from, n));
        memcpy(dst, whole, (size_t)n * sizeof(float));
    }
}

/* Defines the kernels of a type over its static const mp_type512 `t`. */
#define MP_KERNELS_512(name, t)                                                                                            \
    static void dequant_##name(float *dst, const void *src, int64_t n) { mp_dequant_512(dst, t, src, n); }                 \
    static void panel_##name(mp_pair512 *to, const uint8_t *const rows[2], int64_t n) { mp_panel_512(to, t, rows, n); }    \
    static void token_##name(mp_token512 *to, const mp_q8 *x, int64_t n, bool turned) { mp_token_512(to, x, t, n, turned); } \
    static void rows_##name(__m256 *lanes, const mp_mm *m, int64_t r, int count, const mp_token512 *x)                     \
    {                                                                                                                      \
        for (int i = 0; i < count; i++)                                                                                    \
            mp_row_512(lanes + i, t, mp_mm_row(m, r + i), x, m->n, mp_ask_for_512(m));                                     \
    }                                                                                                                      \
    static void mm_##name(const mp_mm *m)                                                                                  \
    {                                                                                                                      \
        mp_mm_512(m, &(const mp_mm512){ panel_##name, token_##name, rows_##name, t.bytes, t.sub, t.bias != 0, t.min });    \
    }
#endif
