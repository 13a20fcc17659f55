/* ADD, SWIGLU, GATE, CLAMP: element by element. Bytes are all there is to them: operands once, results once. */
#include "dev/cuda/kernel.h"

enum { BLOCK = 256 };

__device__ static inline float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

__global__ static void add(float *out, const float *a, const float *b, int64_t n)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        out[i] = a[i] + b[i];
}

__global__ static void swiglu(float *out, const float *gate, const float *up, int64_t n)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        out[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

/* per: gates of a row, 1 or cols. */
__global__ static void gate(float *out, const float *x, const float *g, int64_t n, int64_t cols, int64_t per)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        out[i] = x[i] * sigmoid(g[per == 1 ? i / cols : i]);
}

__global__ static void clamp(float *out, const float *x, float limit, int64_t n)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        out[i] = x[i] < -limit ? -limit : x[i] > limit ? limit : x[i]; /* NaN stays */
}

mp_err mp_cuda_add(mp_dev_cuda *d, const mp_op *op)
{
    int64_t n = mp_tensor_count(&op->in[0]);
    MP_LAUNCH(add, mp_blocks_of(n, BLOCK), BLOCK, 0, d->stream, (float *)op->out[0].data, (const float *)op->in[0].data, (const float *)op->in[1].data, n);
    return mp_cuda_launched("add");
}

mp_err mp_cuda_swiglu(mp_dev_cuda *d, const mp_op *op)
{
    int64_t n = mp_tensor_count(&op->in[0]);
    MP_LAUNCH(swiglu, mp_blocks_of(n, BLOCK), BLOCK, 0, d->stream, (float *)op->out[0].data, (const float *)op->in[0].data, (const float *)op->in[1].data, n);
    return mp_cuda_launched("swiglu");
}

mp_err mp_cuda_gate(mp_dev_cuda *d, const mp_op *op)
{
    int64_t n = mp_tensor_count(&op->in[0]), cols = mp_tensor_cols(&op->in[0]), per = mp_tensor_cols(&op->in[1]);
    MP_LAUNCH(gate, mp_blocks_of(n, BLOCK), BLOCK, 0, d->stream, (float *)op->out[0].data, (const float *)op->in[0].data, (const float *)op->in[1].data, n, cols, per);
    return mp_cuda_launched("gate");
}

mp_err mp_cuda_clamp(mp_dev_cuda *d, const mp_op *op)
{
    int64_t n = mp_tensor_count(&op->in[0]);
    MP_LAUNCH(clamp, mp_blocks_of(n, BLOCK), BLOCK, 0, d->stream, (float *)op->out[0].data, (const float *)op->in[0].data, op->u.clamp.limit, n);
    return mp_cuda_launched("clamp");
}
