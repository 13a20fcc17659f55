/* What the files of attention share (attn.cu says how it works): the table that tells blocks what they have to do, and what a span leaves. Only for .cu files. */
#ifndef MP_DEV_CUDA_ATTN_H
#define MP_DEV_CUDA_ATTN_H

#include "dev/cuda/kernel.h"

enum { MP_ATTN_UNIT = 64 /* positions: spans begin at multiples */, MP_ATTN_MOST_DIM = 256 };

typedef enum mp_attn_way { MP_ATTN_PLAIN, MP_ATTN_FEW, MP_ATTN_MANY, MP_ATTN_WAYS } mp_attn_way; /* kernels: float32; tensor cores, up to 16 rows; and more */

/* A row is a token and query head of one KV head: row = token * (H / G) + head within the group. */
typedef struct mp_attn_seg { /* a segment; rows are split into tiles of rows, positions into spans */
    int32_t row, n, pos;     /* as in mp_segment */
    int32_t first_tile, tile_at; /* tile of the cache (pos / 256) that the table's entry tile_at is */
    int32_t unit, span_units;    /* first unit of the first span; units of a span */
    int32_t spans, row_tiles;
    int32_t f16;
    int64_t slot;                /* first of n * H * spans rows of partial results, when spans > 1 */
} mp_attn_seg;

typedef struct mp_attn_tile { /* of head 0 */
    const unsigned char *k, *v;
    size_t               k_head, v_head;
} mp_attn_tile;

typedef struct mp_attn_args {
    const float        *q;
    float              *out;
    float              *partial; /* [slots][dim] */
    float2             *state;   /* [slots]: maximum (base 2) and sum; a sum of 0: nothing was seen, and partial is anything */
    const mp_attn_seg  *seg;     /* blockIdx.y is one */
    const mp_attn_tile *tile;
    int                 heads, kv_heads, per, dim, window;
    float               scale;   /* times log2(e): exponentials are of base 2 */
    int                 stages;  /* of tensor-core kernels: parts of the cache in shared memory, 1 or 2 */
} mp_attn_args;

/* What a block of any way works on. */
typedef struct mp_attn_block {
    int head, span, row0, rows;  /* KV head; rows [row0, row0 + rows) of the segment */
    int from, to;                /* positions that any of its rows sees in the span; to <= from: none */
} mp_attn_block;

__device__ static inline int mp_attn_sees_from(const mp_attn_args *a, int pos)
{
    return a->window ? max(0, pos + 1 - a->window) : 0;
}

/* false: the segment has fewer blocks than others. Spans of a head run side by side, later rows first: they see most. */
__device__ static inline bool mp_attn_find(const mp_attn_args *a, const mp_attn_seg *s, int tile_rows, mp_attn_block *b)
{
    const unsigned units = (unsigned)s->spans * (unsigned)a->kv_heads, at = blockIdx.x / units, rest = blockIdx.x % units;
    if (at >= (unsigned)s->row_tiles)
        return false;
    b->span = (int)(rest % (unsigned)s->spans), b->head = (int)(rest / (unsigned)s->spans);
    b->row0 = (s->row_tiles - 1 - (int)at) * tile_rows;
    b->rows = min(tile_rows, s->n * a->per - b->row0);
    const int first = s->pos + b->row0 / a->per, last = s->pos + (b->row0 + b->rows - 1) / a->per;
    const int begin = (s->unit + b->span * s->span_units) * MP_ATTN_UNIT;
    b->from = max(begin, mp_attn_sees_from(a, first));
    b->to = min(begin + s->span_units * MP_ATTN_UNIT, last + 1);
    return true;
}

/* Elements before row r's in q and in the result. */
__device__ static inline int64_t mp_attn_row_at(const mp_attn_args *a, const mp_attn_seg *s, const mp_attn_block *b, int r)
{
    const int row = b->row0 + r, token = row / a->per;
    return (((int64_t)s->row + token) * a->heads + b->head * a->per + row - token * a->per) * a->dim;
}

/* The row's place among partial results. */
__device__ static inline int64_t mp_attn_slot(const mp_attn_args *a, const mp_attn_seg *s, const mp_attn_block *b, int r)
{
    const int row = b->row0 + r, token = row / a->per;
    return s->slot + ((int64_t)token * a->heads + b->head * a->per + row - token * a->per) * s->spans + b->span;
}

/* Enqueue for segments [0, n_seg) of the table, x blocks each at the most. */
extern "C" {
mp_err mp_cuda_attn_plain(mp_dev_cuda *d, const mp_attn_args *a, unsigned x, unsigned n_seg);
mp_err mp_cuda_attn_few(mp_dev_cuda *d, const mp_attn_args *a, unsigned x, unsigned n_seg);
mp_err mp_cuda_attn_many(mp_dev_cuda *d, const mp_attn_args *a, unsigned x, unsigned n_seg);
}

/* Rows of a tile. */
enum { MP_ATTN_PLAIN_ROWS = 4, MP_ATTN_FEW_ROWS = 16 };
static inline int mp_attn_many_rows(int dim)
{
    return dim > 128 ? 32 : 64; /* of a head of 256 the queries take as much shared memory as the cache */
}
static inline size_t mp_cuda_shared_limit(const mp_dev_cuda *d) /* bytes of shared memory that a block can have */
{
    const int v = d->major * 10 + d->minor;
    return (size_t)(v < 80 ? 64 : v == 80 || v == 87 ? 163 : v >= 90 && v < 120 ? 227 : 99) << 10;
}
#endif
