/* What attention sees of a cache of keys and values: one tile at a time, in position order. The cache itself lives a floor above (mem/kv.h). */
#ifndef MP_DEV_TILE_H
#define MP_DEV_TILE_H

#include "num/tensor.h"

enum { MP_TILE_TOK = 256 }; /* positions per tile: fixed, so that sums do not depend on how a prompt was cut */

/* Row r of head h: k + h * k_head + r * k_row, k_dim elements; likewise v. Row 0 is position `first`, a multiple of MP_TILE_TOK. */
typedef struct mp_kv_tile {
    unsigned char *k, *v;
    size_t  k_head, v_head; /* bytes from one head to the next */
    size_t  k_row, v_row;   /* bytes from one position to the next */
    int64_t first;
} mp_kv_tile;

/* A contiguous run of one sequence's tokens inside a batch: rows [row, row + n) are its positions [pos, pos + n). */
typedef struct mp_segment {
    int32_t  row, n;
    int64_t  pos;
    void    *kv;    /* handed to tile() */
    mp_dtype dtype; /* of keys and values: MP_F16 or MP_F32 */
    void   (*tile)(const void *kv, int layer, int64_t pos, mp_kv_tile *out); /* the tile that holds pos */
} mp_segment;
#endif
