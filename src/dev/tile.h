/* What attention sees of a cache of keys and values: one tile at a time, in position order. The cache itself lives a floor above (mem/kv.h). */
#ifndef MP_DEV_TILE_H
#define MP_DEV_TILE_H

#include "num/attn.h"
#include "num/tensor.h"

/* MP_TILE_TOK positions per tile: fixed, so that sums do not depend on how a prompt was cut. One head of one tile, n = dim:
 *
 *   K [16 groups][n][16 positions]      a vector of keys' i-th elements is contiguous: scores are columns of products, never folded
 *   V [n/32 panels][256 positions][32]  a panel stays in the first cache while all positions pass; the last one is narrower when 32 does not divide n
 */
enum { MP_TILE_TOK = 256, MP_TILE_GROUP = MP_ATTN_GROUP, MP_TILE_PANEL = MP_ATTN_PANEL };

typedef struct mp_kv_tile {
    unsigned char *k, *v;          /* of head 0 */
    size_t         k_head, v_head; /* bytes from one head to the next */
    int64_t        first;          /* position, a multiple of MP_TILE_TOK */
} mp_kv_tile;

#ifdef __CUDACC__ /* kernels ask too */
#define MP_TILE_FN static inline __host__ __device__
#else
#define MP_TILE_FN static inline
#endif

/* Where element i of position row (0 is the tile's first) lies in K or V of one head, in elements. room: positions that a panel has room for, MP_TILE_TOK in a tile. */
MP_TILE_FN int64_t mp_tile_k_at(int64_t dim, int64_t row, int64_t i)
{
    return (row / MP_TILE_GROUP * dim + i) * MP_TILE_GROUP + row % MP_TILE_GROUP;
}
MP_TILE_FN int64_t mp_tile_v_at(int64_t dim, int64_t room, int64_t row, int64_t i)
{
    int64_t panel = i / MP_TILE_PANEL * MP_TILE_PANEL, width = dim - panel < MP_TILE_PANEL ? dim - panel : MP_TILE_PANEL;
    return panel * room + row * width + i - panel;
}

/* A contiguous run of one sequence's tokens inside a batch: rows [row, row + n) are its positions [pos, pos + n). */
typedef struct mp_segment {
    int32_t  row, n;
    int64_t  pos;
    void    *kv;    /* handed to tile() */
    mp_dtype dtype; /* of keys and values: MP_F16 or MP_F32 */
    void   (*tile)(const void *kv, int layer, int64_t pos, mp_kv_tile *out); /* the tile that holds pos */
} mp_segment;
#endif
