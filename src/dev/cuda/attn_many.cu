/* Attention for many rows of a KV head: prompts. Each warp has 16 rows of its own and all read the same part of the cache. Floor: the operations, 4 dim for
 * each row and position that it sees, on tensor cores; q in two halves makes that 6 dim. */
#include "dev/cuda/attn_mma.h"

mp_err mp_cuda_attn_many(mp_dev_cuda *d, const mp_attn_args *a, unsigned x, unsigned n_seg)
{
    const dim3 grid(x, n_seg);
    switch (a->dim) { /* rows: mp_attn_many_rows */
    case 64: return mp_attn_launch<64, 64, 4, 1, 4>(d, *a, grid);
    case 80: return mp_attn_launch<80, 80, 4, 1, 2>(d, *a, grid);
    case 96: return mp_attn_launch<96, 96, 4, 1, 2>(d, *a, grid);
    case 128: return mp_attn_launch<128, 128, 4, 1, 2>(d, *a, grid);
    case 256: return mp_attn_launch<256, 256, 2, 2, 1>(d, *a, grid);
    default: return a->dim > 128 ? mp_attn_launch<256, 0, 2, 2, 1>(d, *a, grid) : mp_attn_launch<128, 0, 4, 1, 2>(d, *a, grid);
    }
}
