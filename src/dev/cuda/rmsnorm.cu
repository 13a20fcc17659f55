/* RMSNORM: out = x / rms(x) * w over the last dimension. A block a row: what it reads twice comes from the cache the second time. */
#include "dev/cuda/kernel.h"

enum { BLOCK = 256 };

__global__ static void rmsnorm(float *out, const float *x, const float *w, int64_t cols, float eps)
{
    const float *row = x + (int64_t)blockIdx.x * cols;
    float *to = out + (int64_t)blockIdx.x * cols;
    float sum = 0.0f;
    for (int64_t i = threadIdx.x; i < cols; i += blockDim.x)
        sum = fmaf(row[i], row[i], sum);
    const float scale = 1.0f / sqrtf(mp_block_sum(sum) / (float)cols + eps);
    for (int64_t i = threadIdx.x; i < cols; i += blockDim.x)
        to[i] = w ? row[i] * scale * w[i] : row[i] * scale;
}

mp_err mp_cuda_rmsnorm(mp_dev_cuda *d, const mp_op *op)
{
    const float *w = mp_tensor_none(&op->in[1]) ? NULL : (const float *)op->in[1].data;
    int64_t rows = mp_tensor_rows(&op->in[0]), cols = mp_tensor_cols(&op->in[0]);
    unsigned block = cols <= 128 ? 32 : BLOCK; /* heads are short, and many */
    MP_LAUNCH(rmsnorm, (unsigned)rows, block, 0, d->stream, (float *)op->out[0].data, (const float *)op->in[0].data, w, cols, op->u.norm.eps);
    return mp_cuda_launched("rmsnorm");
}
