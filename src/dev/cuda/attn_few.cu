/* Attention for up to 16 rows of a KV head - a token or a few of them -: the cache is what moves, so all warps share one tile of rows and each takes
 * another group of positions. Floor: the cache's bytes once over the bandwidth; the products, at 24 operations a byte with q in two halves and rows that are
 * not there computed too, are a fifth of what an RTX 4070's tensor cores do meanwhile. In flight: two parts of 64 positions, 32 KiB each at dim 128. */
#include "dev/cuda/attn_mma.h"

mp_err mp_cuda_attn_few(mp_dev_cuda *d, const mp_attn_args *a, unsigned x, unsigned n_seg)
{
    const dim3 grid(x, n_seg);
    switch (a->dim) {
    case 64: return mp_attn_launch<64, 64, 1, 4, 1>(d, *a, grid);
    case 80: return mp_attn_launch<80, 80, 1, 4, 1>(d, *a, grid);
    case 96: return mp_attn_launch<96, 96, 1, 4, 1>(d, *a, grid);
    case 128: return mp_attn_launch<128, 128, 1, 4, 1>(d, *a, grid);
    case 256: return mp_attn_launch<256, 256, 1, 2, 1>(d, *a, grid);
    default: return a->dim > 128 ? mp_attn_launch<256, 0, 1, 2, 1>(d, *a, grid) : mp_attn_launch<128, 0, 1, 4, 1>(d, *a, grid);
    }
}
