/* The orders in which types have the 16 groups of a super-block, its 8 blocks' first and second 16, and the ways between them. A group's place is 4l + c:
 * lane l of q[c].
 *
 *               q[0] | q[1] | q[2] | q[3], each by lanes
 *     PLAIN     0 1 2 3 | 4 5 6 7 | ...                              what bytes give
 *     PAIRS     0 1 4 5 | 2 3 6 7 | 8 9 12 13 | ...                  the low and the high nibbles of 64 bytes: two blocks of 32 each
 *     HALVES    0 2 4 6 | 1 3 5 7 | 8 10 12 14 | ...                 the same, where a block's second half is its first one's high nibbles
 *     QUARTERS  0 1 8 9 | 2 3 10 11 | 4 5 12 13 | 6 7 14 15          64 bytes of four codes each
 *     TERNARY   0 1 10 15 | 2 3 11 8 | 4 5 12 9 | 6 7 13 14          TQ1_0's (rest_avx512.c)
 *
 * A one-token kernel is bound by its 512-bit operations. Zen 4, measured: two a cycle on four ports; products, vpdp*, multishift, tests into masks
 * and vfixupimm go to ports 0 and 1, vpermb, vpermps, packs and inserts to 1 and 2, shifts, conversions and additions of floats to 2 and 3, unpacks and
 * shufps to 1, 2 and 3. So whatever is not light costs 2/3 of a cycle; vpermi2b takes 4/3, since its third operand blocks port 0; a load of 64 bytes
 * takes a cycle, across lines 1.5. Neither order nor latency matters: 24 orders of the same instructions differ by 3 %.
 *
 * In the last two, the codes of q[1] and q[3] are four times too large, because that saves a shift: whoever adds up sums takes q[0] and q[2] four
 * times, and scales are a quarter of the type's.
 */
#ifndef MP_NUM_X86_ORDER_AVX512_H
#define MP_NUM_X86_ORDER_AVX512_H

#include "num/x86/simd_avx512.h"

typedef enum mp_order { MP_PLAIN, MP_PAIRS, MP_HALVES, MP_QUARTERS, MP_TERNARY } mp_order;

MP_INLINE int mp_lift_512(mp_order order)
{
    return order == MP_QUARTERS || order == MP_TERNARY ? 4 : 1;
}

/* The block at each of the 8 lanes of floats: where a decoded token's sums, scales and minima of it meet. */
MP_INLINE __m256i mp_blocks_512(mp_order order)
{
    switch (order) {
    case MP_PLAIN: return _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    case MP_PAIRS: return _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
    default: return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    }
}

/* The other way round: the lane of each block. */
MP_INLINE __m256 mp_in_order_512(__m256 v, mp_order order)
{
    switch (order) {
    case MP_PLAIN: return _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    case MP_PAIRS: return _mm256_permutevar8x32_ps(v, mp_blocks_512(MP_PAIRS));
    default: return v;
    }
}

/* TERNARY: where QUARTERS has the group of each place, and the other way round. */
MP_INLINE __m512i mp_ternary_back_512(void)
{
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 9, 13, 10, 14, 15, 8, 12, 11);
}
MP_INLINE __m512i mp_ternary_places_512(void)
{
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 13, 8, 10, 15, 14, 9, 11, 12);
}

MP_INLINE void mp_codes_from_plain_512(__m512i q[4], mp_order order)
{
    const __m512i a = q[0], b = q[1], c = q[2], d = q[3];
    switch (order) {
    case MP_PAIRS:
        q[0] = _mm512_shuffle_i64x2(a, b, 0x44), q[1] = _mm512_shuffle_i64x2(a, b, 0xee);
        q[2] = _mm512_shuffle_i64x2(c, d, 0x44), q[3] = _mm512_shuffle_i64x2(c, d, 0xee);
        break;
    case MP_HALVES:
        q[0] = _mm512_shuffle_i64x2(a, b, 0x88), q[1] = _mm512_shuffle_i64x2(a, b, 0xdd);
        q[2] = _mm512_shuffle_i64x2(c, d, 0x88), q[3] = _mm512_shuffle_i64x2(c, d, 0xdd);
        break;
    case MP_QUARTERS:
        q[0] = _mm512_shuffle_i64x2(a, c, 0x44), q[1] = _mm512_shuffle_i64x2(a, c, 0xee);
        q[2] = _mm512_shuffle_i64x2(b, d, 0x44), q[3] = _mm512_shuffle_i64x2(b, d, 0xee);
        break;
    case MP_TERNARY: /* lanes 2 and 3: 10 15 | 11 8 | 12 9 | 13 14 */
        q[0] = _mm512_shuffle_i64x2(a, _mm512_permutex2var_epi64(c, _mm512_setr_epi64(4, 5, 14, 15, 0, 0, 0, 0), d), 0x44);
        q[1] = _mm512_shuffle_i64x2(a, _mm512_permutex2var_epi64(c, _mm512_setr_epi64(6, 7, 0, 1, 0, 0, 0, 0), d), 0x4e);
        q[2] = _mm512_shuffle_i64x2(b, _mm512_permutex2var_epi64(c, _mm512_setr_epi64(8, 9, 2, 3, 0, 0, 0, 0), d), 0x44);
        q[3] = _mm512_shuffle_i64x2(b, _mm512_permutex2var_epi64(c, _mm512_setr_epi64(10, 11, 12, 13, 0, 0, 0, 0), d), 0x4e);
        break;
    default: break;
    }
}

MP_INLINE void mp_codes_to_quarters_512(__m512i q[4], mp_order order)
{
    const __m512i a = q[0], b = q[1], c = q[2], d = q[3];
    switch (order) {
    case MP_PLAIN: mp_codes_from_plain_512(q, MP_QUARTERS); break;
    case MP_PAIRS:
        q[0] = _mm512_shuffle_i64x2(a, c, 0x44), q[1] = _mm512_shuffle_i64x2(b, d, 0x44);
        q[2] = _mm512_shuffle_i64x2(a, c, 0xee), q[3] = _mm512_shuffle_i64x2(b, d, 0xee);
        break;
    case MP_HALVES: {
        const __m512i even = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), odd = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
        __m512i first02 = _mm512_shuffle_i64x2(a, c, 0x88), first13 = _mm512_shuffle_i64x2(a, c, 0xdd); /* 0 4 8 12, 2 6 10 14 */
        __m512i second02 = _mm512_shuffle_i64x2(b, d, 0x88), second13 = _mm512_shuffle_i64x2(b, d, 0xdd);
        q[0] = _mm512_permutex2var_epi64(first02, even, second02), q[1] = _mm512_permutex2var_epi64(first13, even, second13);
        q[2] = _mm512_permutex2var_epi64(first02, odd, second02), q[3] = _mm512_permutex2var_epi64(first13, odd, second13);
        break;
    }
    case MP_TERNARY: {
        __m512i high1 = _mm512_shuffle_i64x2(a, b, 0xee), high2 = _mm512_shuffle_i64x2(c, d, 0xee); /* 10 15 11 8, 12 9 13 14 */
        __m512i from8 = _mm512_permutex2var_epi64(high1, _mm512_setr_epi64(6, 7, 10, 11, 0, 1, 4, 5), high2);
        __m512i from12 = _mm512_permutex2var_epi64(high1, _mm512_setr_epi64(8, 9, 12, 13, 14, 15, 2, 3), high2);
        q[0] = _mm512_shuffle_i64x2(a, from8, 0x44), q[1] = _mm512_shuffle_i64x2(b, from8, 0xe4);
        q[2] = _mm512_shuffle_i64x2(c, from12, 0x44), q[3] = _mm512_shuffle_i64x2(d, from12, 0xe4);
        break;
    }
    default: break;
    }
}

/* turn_q8 (kern.h): the 8 words of each of 8 blocks, as they lie, become 8 words of which each is of another block, and back. */
MP_INLINE void mp_turn_super_512(__m512i q[4])
{
    mp_codes_from_plain_512(q, MP_QUARTERS);
    mp_turn_512(q);
    const __m512i a = q[0], b = q[1], c = q[2], d = q[3]; /* lanes: words k of blocks 0-3, 4 + k of them, k of 4-7, 4 + k */
    q[0] = _mm512_shuffle_i64x2(a, b, 0x88), q[1] = _mm512_shuffle_i64x2(c, d, 0x88);
    q[2] = _mm512_shuffle_i64x2(a, b, 0xdd), q[3] = _mm512_shuffle_i64x2(c, d, 0xdd);
}
#endif
