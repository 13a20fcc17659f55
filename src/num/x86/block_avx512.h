/* One super-block of 256 weights in registers, and the products and the decoder that every type shares.
 *
 * An unpacker turns 256 weights (one k-quant block, or eight blocks of 32) into
 *
 *     q[c]    64 codes each, c = 0..3, in four 128-bit lanes l of 16: a group of elements with one scale. Which group it is, is the type's order
 *             (order_avx512.h)
 *     scale   16 floats, that of q[c]'s lane l at 4l + c
 *     min     per 32 elements in 8 floats, in order (MIN_32), or per 16 where scale has them and divided by 128 (MIN_16)
 *
 * with x = scale * (q - bias) - min. vpdpbusd wants unsigned x signed, so signed codes come with a bias, a power of two up to 128, which the
 * activations' `a` takes off again. It sums four neighbours into a 32-bit lane; the four sums of a group must meet before they become a float:
 *
 *     one token     codes stay in the type's order, and the activations are put into it once; the sums of the four q are added up within
 *                   128-bit lanes: 3 to 6 shuffles for 256 products
 *     more tokens   codes are put into PLAIN order and turned, once for many tokens: in each 128-bit lane, the 4 x 4 matrix of 32-bit words
 *                   (q[c], word k) is transposed, as it is in the activations (turn_q8). Four chained vpdpbusd then give the 16 sums at once
 *
 * Either way a lane holds the exact sum of a group, and one conversion and one fused product with (weight scale x activation scale) add it to the
 * row's 16 lanes, in PLAIN order at the end; minima add up apart for 8 super-blocks and are then taken off lanes 0 to 7. The lanes are folded once, at
 * the row's end. None of that looks at the other rows or tokens, so a token's result does not depend on its company.
 */
#ifndef MP_NUM_X86_BLOCK_AVX512_H
#define MP_NUM_X86_BLOCK_AVX512_H

#include <string.h>

#include "num/x86/mm.h"
#include "num/x86/pieces_avx512.h"
#include "num/x86/x86.h"

enum { MP_PIECE = 8 /* super-blocks */, AHEAD_BYTES = 4096, SHORT_ROW = 1024 /* bytes */ };

typedef struct mp_super512 {
    __m512i q[4];
    __m512  scale;
    union { __m512 all; __m256 of_32; } min;
} mp_super512;

/* What is known of a type when its kernels are compiled: every call below is inlined with a constant one. */
typedef struct mp_type512 {
    void (*unpack)(mp_super512 *out, const uint8_t *src);
    int         len;   /* elements of a block: 256, or 32, and then rows may end inside a super-block */
    int         bytes; /* of 256 weights */
    int         most;  /* the largest code, with its bias */
    int         bias;  /* 0: codes are unsigned */
    mp_min_kind min;
    mp_order    order;
    uint8_t     fill;  /* for what is past the row's end: a byte that gives finite scales, and normal ones, because others cost 100 cycles */
} mp_type512;

/* What mm_avx512.c needs of a type. */
typedef struct mp_mm512 {
    void (*panel)(mp_super512 *to, const uint8_t *row, int64_t n);              /* n weights turned, signed ones with a bias of 128 */
    void (*token)(mp_q8 *to, const mp_q8 *x, int64_t n, bool turned);           /* a token, turned or not, as `rows` wants it */
    void (*rows)(__m512 *lanes, const mp_mm *m, int64_t r, int count, const mp_q8 *x); /* whole rows for one token, from the r-th on */
    int         bytes; /* of 256 weights */
    bool        is_signed;
    mp_min_kind min;
} mp_mm512;

void mp_mm_512(const mp_mm *m, const mp_mm512 *how);

/* Codes, scales and minima per 16 from their type's order to PLAIN; lifted codes are all four times as large then. */
MP_INLINE void mp_plain_512(mp_super512 *w, const mp_type512 type)
{
    if (type.order == MP_PLAIN)
        return;
    for (int c = 0; c < 4 && mp_lift_512(type.order) == 4; c += 2)
        w->q[c] = _mm512_slli_epi16(w->q[c], 2);
    mp_codes_to_plain_512(w->q, type.order);
    w->scale = _mm512_permutexvar_ps(mp_places_512(type.order), w->scale);
    if (type.min == MP_MIN_16)
        w->min.all = _mm512_permutexvar_ps(mp_places_512(type.order), w->min.all);
}

/* What minima per 16, a 128th of them, are multiplied with. */
MP_INLINE __m512 mp_min_share_512(const mp_q8 *x)
{
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(x->a)), _mm512_loadu_ps(x->d)); /* a is -128 times the sum */
}

/* Adds 16 exact sums, times their scales. */
MP_INLINE __m512 mp_add_512(__m512 acc, __m512i sum, const mp_super512 *w, const mp_q8 *x)
{
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(w->scale, _mm512_loadu_ps(x->d)), acc);
}

/* In each 128-bit lane, the four words of v[0], of v[1], of v[2] and of v[3] added up, plus a; those of v[0] and v[2] `lift` times. |v| <= 4 * 127 * most. */
MP_INLINE __m512i mp_gather_512(const __m512i v[4], int most, int lift, __m512i a)
{
    if (most <= 31) { /* lifted: <= 7. Sums of 8 fit 16 bits */
        __m512 low = _mm512_castsi512_ps(_mm512_packs_epi32(v[0], v[1])), high = _mm512_castsi512_ps(_mm512_packs_epi32(v[2], v[3]));
        __m512i even = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0x88)), odd = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0xdd));
        return _mm512_dpwssd_epi32(a, _mm512_add_epi16(even, odd), _mm512_set4_epi32(0x10001, 0x10001 * lift, 0x10001, 0x10001 * lift));
    }
    if (most <= 63) {
        const __m512i one = _mm512_set1_epi16(1);
        __m512 low = _mm512_castsi512_ps(_mm512_madd_epi16(_mm512_packs_epi32(v[0], v[1]), one));
        __m512 high = _mm512_castsi512_ps(_mm512_madd_epi16(_mm512_packs_epi32(v[2], v[3]), one));
        __m512i even = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0x88)), odd = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0xdd));
        return _mm512_add_epi32(a, _mm512_add_epi32(even, odd));
    }
    __m512i low = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1])); /* (0, 1, 0, 1) */
    __m512i high = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    return _mm512_add_epi32(a, _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high)));
}

typedef struct mp_sums512 {
    __m512 lanes;
    __m256 min; /* MIN_32: what is to be taken off */
} mp_sums512;

/* A token for decoding: its codes in the type's order, and in `a` what the bias adds to a group's sum, or floats that minima per 16 are multiplied with. */
MP_INLINE void mp_token_512(mp_q8 *to, const mp_q8 *x, const mp_type512 type, bool turned)
{
    const __m512i back = mp_back_512(type.order);
    __m512i q[4], a = _mm512_loadu_si512(x->a); /* -128 times the sums */
    MP_UNROLL
    for (int c = 0; c < 4; c++)
        q[c] = _mm512_loadu_si512(x->q + 64 * c);
    if (turned)
        mp_turn_512(q);
    mp_codes_from_plain_512(q, type.order);
    MP_UNROLL
    for (int c = 0; c < 4; c++)
        _mm512_storeu_si512(to->q + 64 * c, q[c]);
    if (type.bias)
        a = _mm512_srai_epi32(a, (unsigned)__builtin_ctz(128 / (unsigned)(type.bias * mp_lift_512(type.order))));
    if (type.min == MP_MIN_16)
        a = _mm512_castps_si512(mp_min_share_512(x));
    _mm512_storeu_si512(to->a, _mm512_permutexvar_epi32(back, a));
    _mm512_storeu_ps(to->d, _mm512_permutexvar_ps(back, _mm512_loadu_ps(x->d)));
    _mm256_storeu_ps(to->s, _mm256_loadu_ps(x->s));
}

/* `supers` super-blocks as they are, each with its 256 activations from mp_token_512. Stage by stage for all of them: the processor's queues hold
 * hardly more than one chain of dependent operations. */
MP_INLINE void mp_step_one_512(mp_sums512 *to, const mp_type512 type, const uint8_t *src, const mp_q8 *x, int supers)
{
    mp_super512 w[2];
    __m512i v[2][4], sum[2];
    MP_UNROLL
    for (int i = 0; i < supers; i++)
        type.unpack(&w[i], src + i * type.bytes);
    MP_UNROLL
    for (int c = 0; c < 4; c++)
        MP_UNROLL
        for (int i = 0; i < supers; i++)
            v[i][c] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w[i].q[c], _mm512_loadu_si512(x[i].q + 64 * c));
    MP_UNROLL
    for (int i = 0; i < supers; i++)
        sum[i] = mp_gather_512(v[i], type.most, mp_lift_512(type.order), type.bias ? _mm512_loadu_si512(x[i].a) : _mm512_setzero_si512());
    MP_UNROLL
    for (int i = 0; i < supers; i++) {
        to->lanes = mp_add_512(to->lanes, sum[i], &w[i], x + i);
        if (type.min == MP_MIN_16)
            to->lanes = _mm512_fmadd_ps(w[i].min.all, _mm512_loadu_ps(x[i].a), to->lanes);
        if (type.min == MP_MIN_32)
            to->min = _mm256_fmadd_ps(w[i].min.of_32, _mm256_loadu_ps(x[i].s), to->min);
    }
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

MP_INLINE void mp_panel_512(mp_super512 *to, const mp_type512 type, const uint8_t *src, int64_t n)
{
    for (; n > 0; n -= MP_SUPER, src += type.bytes) {
        mp_super512 w;
        mp_padded512 padded;
        bool whole = type.len == MP_SUPER || n >= MP_SUPER;
        type.unpack(&w, whole ? src : mp_pad_512(&padded, type, src, n));
        mp_plain_512(&w, type);
        MP_UNROLL
        for (int c = 0; c < 4; c++)
            w.q[c] = _mm512_add_epi8(w.q[c], _mm512_set1_epi8((char)(type.bias ? 128 - type.bias * mp_lift_512(type.order) : 0)));
        mp_turn_512(w.q);
        *to++ = w;
    }
}

/* Decoding: rows follow each other in memory. The processor's own prefetcher keeps up with long ones, where asking ahead costs 2 to 10 %; at the ends of
 * short ones it falls back (docs/experiments.md). One row at a time: two streams read half as fast. */
MP_INLINE void mp_prefetch_512(const uint8_t *src, int bytes)
{
    for (int ahead = 0; ahead < bytes; ahead += 64)
        _mm_prefetch((const char *)src + AHEAD_BYTES + ahead, _MM_HINT_T0);
}

/* Up to MP_PIECE super-blocks, the last of which the row may end in. */
MP_INLINE void mp_row_piece_512(mp_sums512 *to, const mp_type512 type, const uint8_t *src, const mp_q8 *x, int64_t n, bool ahead)
{
    for (; n >= 2 * MP_SUPER; n -= 2 * MP_SUPER, x += 2, src += 2 * type.bytes) {
        if (ahead)
            mp_prefetch_512(src, 2 * type.bytes);
        mp_step_one_512(to, type, src, x, 2);
    }
    if (n >= MP_SUPER) {
        if (ahead)
            mp_prefetch_512(src, type.bytes);
        mp_step_one_512(to, type, src, x, 1);
        n -= MP_SUPER, x++, src += type.bytes;
    }
    if (type.len < MP_SUPER && n > 0) {
        mp_padded512 padded;
        mp_step_one_512(to, type, mp_pad_512(&padded, type, src, n), x, 1);
    }
}

MP_INLINE void mp_row_512(__m512 *lanes, const mp_type512 type, const uint8_t *src, const mp_q8 *x, int64_t n)
{
    const __m512i places = mp_places_512(type.order);
    const bool ahead = n * type.bytes <= (int64_t)SHORT_ROW * MP_SUPER;
    __m512 sum = _mm512_setzero_ps();
    for (; n > 0; n -= MP_PIECE * MP_SUPER, x += MP_PIECE, src += MP_PIECE * type.bytes) {
        mp_sums512 s = { sum, _mm256_setzero_ps() };
        mp_row_piece_512(&s, type, src, x, n < MP_PIECE * MP_SUPER ? n : MP_PIECE * MP_SUPER, ahead);
        sum = s.lanes;
        if (type.min == MP_MIN_32) /* groups' places of the type hold lanes of PLAIN: lane j of it is at places[j] */
            sum = _mm512_sub_ps(sum, _mm512_permutexvar_ps(mp_back_512(type.order), _mm512_zextps256_ps512(s.min)));
    }
    *lanes = type.order == MP_PLAIN ? sum : _mm512_permutexvar_ps(places, sum);
}

/* scale * q is exact (ref.h), so the fused operation gives the reference's bits. */
MP_INLINE void mp_decode_super_512(float *dst, const mp_type512 type, const uint8_t *src)
{
    mp_super512 w;
    type.unpack(&w, src);
    mp_plain_512(&w, type);
    __m512 min = _mm512_setzero_ps();
    if (type.min == MP_MIN_32)
        min = mp_twice8_512(w.min.of_32, MP_PLAIN);
    if (type.min == MP_MIN_16)
        min = _mm512_mul_ps(w.min.all, _mm512_set1_ps(128.0f));
    MP_UNROLL
    for (int c = 0; c < 4; c++)
        w.q[c] = _mm512_sub_epi8(w.q[c], _mm512_set1_epi8((char)(type.bias * mp_lift_512(type.order))));
    MP_UNROLL
    for (int i = 0; i < 16; i++) {
        const __m512i index = _mm512_set1_epi32(i % 4 * 4 + i / 4);
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
        mp_padded512 padded;
        float whole[MP_SUPER];
        mp_decode_super_512(whole, type, mp_pad_512(&padded, type, from, n));
        memcpy(dst, whole, (size_t)n * sizeof(float));
    }
}

/* Defines the kernels of a type over its static const mp_type512 `t`. */
#define MP_KERNELS_512(name, t)                                                                                            \
    static void dequant_##name(float *dst, const void *src, int64_t n) { mp_dequant_512(dst, t, src, n); }                 \
    static void panel_##name(mp_super512 *to, const uint8_t *row, int64_t n) { mp_panel_512(to, t, row, n); }              \
    static void token_##name(mp_q8 *to, const mp_q8 *x, int64_t n, bool turned)                                            \
    {                                                                                                                      \
        for (; n > 0; n -= MP_SUPER)                                                                                       \
            mp_token_512(to++, x++, t, turned);                                                                            \
    }                                                                                                                      \
    static void rows_##name(__m512 *lanes, const mp_mm *m, int64_t r, int count, const mp_q8 *x)                           \
    {                                                                                                                      \
        for (int i = 0; i < count; i++)                                                                                    \
            mp_row_512(lanes + i, t, (const uint8_t *)m->w + (size_t)(r + i) * m->row_bytes, x, m->n);                     \
    }                                                                                                                      \
    static void mm_##name(const mp_mm *m)                                                                                  \
    {                                                                                                                      \
        mp_mm_512(m, &(const mp_mm512){ panel_##name, token_##name, rows_##name, t.bytes, t.bias != 0, t.min });                 \
    }
#endif
