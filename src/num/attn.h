/* Attention's inner loops: what they compute and how their operands lie.
 *
 * A score is one chain of fused multiply-adds over a head's elements 0, 1, 2, ..; an element of the result is one chain over positions. Chains run in
 * the lanes of a vector side by side and are never folded, so every instruction set gives the same bits, and so does any choice of rows at once.
 *
 *   K  [groups][dim][16 positions]         of F16 or F32
 *   V  [panels][room positions][32]        of F16 or F32; the last panel has dim % 32 columns when that is not 0
 *   q  [blocks][dim][8 rows]               float, the scale of scores in it; the last block has rows % 8 rows when that is not 0
 *   score, p  [rows][MP_ATTN_STRIDE]       float, one tile wide
 *   acc  [rows][dim]                       float
 *
 * Test: tests/kern/test_attn.c. */
#ifndef MP_NUM_ATTN_H
#define MP_NUM_ATTN_H

#include <stdint.h>

/* The stride is a tile of 256 and a cache line: rows at powers of two would share their places in the first cache. */
enum { MP_ATTN_GROUP = 16, MP_ATTN_PANEL = 32, MP_ATTN_ROWS = 8, MP_ATTN_STRIDE = 256 + 16 };

typedef struct mp_attn_keys { /* positions [0, n) of one head, from the first of a group on; n a multiple of 16, at most 256 */
    const void *k, *ahead; /* ahead: what will be read next is asked for on the way, as many bytes as here; or NULL */
    int64_t     n, dim;
} mp_attn_keys;

typedef struct mp_attn_values { /* positions [first, first + n) of one head */
    const void *v, *ahead; /* as above, room * dim elements */
    int64_t     room, first, n, dim;
} mp_attn_values;

/* score[r][i] = q_r . k_i for i < n */
typedef void mp_attn_score_fn(float *score, const float *q, const mp_attn_keys *k, int rows);

/* acc[r] += sum over i < n, in order, of p[r][i] * v[first + i] */
typedef void mp_attn_value_fn(float *acc, const float *p, const mp_attn_values *v, int rows);
#endif
