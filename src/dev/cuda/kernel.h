/* What kernels share: how they are launched, halves, sums over a warp and a block. Only for .cu files. */
#ifndef MP_DEV_CUDA_KERNEL_H
#define MP_DEV_CUDA_KERNEL_H

#include <cuda_fp16.h>

#include "dev/cuda/cuda.h"

/* The emulation of the tests has a function for it, because <<<>>> is not C++. */
#ifdef __CUDACC__
#define MP_LAUNCH(kernel, grid, block, shared, stream, ...) kernel<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
#define MP_SHARED(type, name) extern __shared__ __align__(16) unsigned char name##_bytes[]; type *const name = (type *)(void *)name##_bytes
#endif

/* Before a loop that keeps its arrays in registers: it must be unrolled whole. */
#ifdef __CUDACC__
#define MP_UNROLLED _Pragma("unroll")
#else
#define MP_UNROLLED
#endif

enum { MP_WARP = 32 };
#define MP_ALL_LANES 0xffffffffu

/* Kernels are enqueued without a check of their own; this is the check, once for an op. */
static inline mp_err mp_cuda_launched(const char *what)
{
    return mp_cuda_check(cudaGetLastError(), what);
}

static inline unsigned mp_blocks_of(int64_t n, int64_t per)
{
    return (unsigned)((n + per - 1) / per);
}

__device__ static inline float mp_half_f32(uint16_t h)
{
    return __half2float(__ushort_as_half(h));
}

__device__ static inline uint16_t mp_f32_half(float f) /* to nearest even */
{
    return __half_as_ushort(__float2half_rn(f));
}

__device__ static inline float mp_bf16_f32(uint16_t h)
{
    return __uint_as_float((unsigned)h << 16);
}

__device__ static inline float mp_warp_sum(float v)
{
    for (int step = MP_WARP / 2; step > 0; step /= 2)
        v += __shfl_xor_sync(MP_ALL_LANES, v, step);
    return v;
}

__device__ static inline float mp_warp_max(float v)
{
    for (int step = MP_WARP / 2; step > 0; step /= 2)
        v = fmaxf(v, __shfl_xor_sync(MP_ALL_LANES, v, step));
    return v;
}

/* Over all threads of a block of whole warps, one-dimensional; every thread gets it. The order is fixed. */
__device__ static inline float mp_block_sum(float v)
{
    __shared__ float of_warp[MP_WARP];
    const int warp = (int)threadIdx.x / MP_WARP, lane = (int)threadIdx.x % MP_WARP, warps = (int)blockDim.x / MP_WARP;
    v = mp_warp_sum(v);
    __syncthreads(); /* whoever called before may still be reading */
    if (lane == 0)
        of_warp[warp] = v;
    __syncthreads();
    return mp_warp_sum(lane < warps ? of_warp[lane] : 0.0f);
}

__device__ static inline float mp_block_max(float v)
{
    __shared__ float of_warp[MP_WARP];
    const int warp = (int)threadIdx.x / MP_WARP, lane = (int)threadIdx.x % MP_WARP, warps = (int)blockDim.x / MP_WARP;
    v = mp_warp_max(v);
    __syncthreads();
    if (lane == 0)
        of_warp[warp] = v;
    __syncthreads();
    return mp_warp_max(lane < warps ? of_warp[lane] : -INFINITY);
}
#endif
