/* Activations to int8, one scale for 32 (mm.h says how they lie). Bytes: four read and one and a quarter written for each. Eight lanes share a block, four
 * elements each, so that loads are 16 bytes a lane and lines are whole. */
#include "dev/cuda/mm.h"

enum { BLOCK = 256 };

__global__ static void quantize(unsigned char *q, const float *x, int64_t n, int64_t k, const int32_t *rows, int div)
{
    const int64_t nb = k / 32, id = (int64_t)blockIdx.x * (BLOCK / 8) + threadIdx.x / 8, row = id / nb, b = id % nb;
    const bool live = row < n;
    float v[4] = { 0, 0, 0, 0 };
    if (live) {
        const int64_t from = rows ? rows[row] / div : row;
        const float4 four = *(const float4 *)(const void *)(x + from * k + b * 32 + threadIdx.x % 8 * 4);
        v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
    }
    mp_quantize4(q + row * (int64_t)mp_cuda_q8_bytes(k), nb, b, v, live);
}

mp_err mp_cuda_quantize(mp_dev_cuda *d, unsigned char *q, const float *x, int64_t n, int64_t k, const int32_t *rows, int div)
{
    MP_LAUNCH(quantize, mp_blocks_of(n * (k / 32), BLOCK / 8), BLOCK, 0, d->stream, q, x, n, k, rows, div);
    return mp_cuda_launched("quantize");
}
