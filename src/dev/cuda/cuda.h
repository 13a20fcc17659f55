/* The CUDA device's inside: what its op files share. Plain CUDA C over the runtime's C API, linked statically; the driver is found when the program runs.
 *
 *     host ──upload──▶ ring (pinned) ──▶ scratch     small tables that an op needs: rows of jobs, addresses of tiles
 *     op.in, op.out, op.scratch                      in the device's memory, all of them; ids and positions too
 *     stream                                         every op is enqueued on it and returns at once; wait() is the host's only stop
 *
 * Every kernel is written once and compiled twice: by nvcc, and by the C++ compiler over tests/support/cuda/cuda_runtime.h, which runs a grid's threads
 * one after the other on the processor. So every op's arithmetic is tested where there is no GPU (tests/cuda/). */
#ifndef MP_DEV_CUDA_CUDA_H
#define MP_DEV_CUDA_CUDA_H

#include <cuda_runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "dev/dev.h"

enum { MP_CUDA_RING = 4 << 20 /* bytes of the ring */ };

typedef struct mp_dev_cuda {
    mp_dev         base;
    int            ordinal, major, minor, sms;
    cudaStream_t   stream, copies;             /* run() and put(); the memory's fill and copy, from any thread */
    mp_memory      memory;
    unsigned char *ring;                       /* pinned */
    size_t         ring_at;
    cudaEvent_t    ring_half[2];               /* recorded when a half of the ring was enqueued for good */
    uint64_t       context_bytes;              /* charged for the driver's own */
    char           name[64];
} mp_dev_cuda;

/* MP_OK, or an error that names what was done. */
mp_err mp_cuda_check(cudaError_t e, const char *what);

/* memory.c: makes it the thread's device, which the runtime keeps for each thread; the device's memory, for regions. */
mp_err mp_cuda_use(const mp_dev_cuda *d);
void   mp_cuda_memory_of(mp_dev_cuda *d, mp_memory *out);

/* dst (device memory) = host's bytes, in stream order; host may be changed or freed at once. At most MP_CUDA_RING / 2 bytes. */
mp_err mp_cuda_upload(mp_dev_cuda *d, void *dst, const void *host, size_t bytes);

/* One function per op kind, named after it: enqueues its kernels. */
mp_err mp_cuda_embed(mp_dev_cuda *d, const mp_op *op);
mp_err mp_cuda_rmsnorm(mp_dev_cuda *d, const mp_op *op);
mp_err mp_cuda_linear(mp_dev_cuda *d, const mp_op *op);
mp_err mp_cuda_add(mp_dev_cuda *d, const mp_op *op);
mp_err mp_cuda_swiglu(mp_dev_cuda *d, const mp_op *op);
mp_err mp_cuda_gate(mp_dev_cuda *d, const mp_op *op);
mp_err mp_cuda_clamp(mp_dev_cuda *d, const mp_op *op);
mp_err mp_cuda_rope(mp_dev_cuda *d, const mp_op *op);
mp_err mp_cuda_kv_write(mp_dev_cuda *d, const mp_op *op);
mp_err mp_cuda_attn(mp_dev_cuda *d, const mp_op *op);
mp_err mp_cuda_route(mp_dev_cuda *d, const mp_op *op);
mp_err mp_cuda_experts(mp_dev_cuda *d, const mp_op *op);
mp_err mp_cuda_combine(mp_dev_cuda *d, const mp_op *op);

/* Device memory that an op needs beside its operands (0 otherwise). */
size_t mp_cuda_linear_scratch(const mp_dev_cuda *d, const mp_op *op);
size_t mp_cuda_kv_write_scratch(const mp_dev_cuda *d, const mp_op *op);
size_t mp_cuda_attn_scratch(const mp_dev_cuda *d, const mp_op *op);
size_t mp_cuda_experts_scratch(const mp_dev_cuda *d, const mp_op *op);

#ifdef __cplusplus
}
#endif
#endif
