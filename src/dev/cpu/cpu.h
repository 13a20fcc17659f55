/* The CPU device's inside: what its op files share. */
#ifndef MP_DEV_CPU_CPU_H
#define MP_DEV_CPU_CPU_H

#include "dev/dev.h"

typedef struct mp_dev_cpu {
    mp_dev         base;
    mp_pool       *pool;
    const mp_kern *k;
} mp_dev_cpu;

/* One function per op kind, named after it. */
mp_err mp_cpu_embed(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_rmsnorm(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_linear(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_add(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_swiglu(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_gate(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_clamp(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_rope(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_kv_write(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_attn(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_route(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_experts(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_combine(mp_dev_cpu *d, const mp_op *op);
mp_err mp_cpu_xent(mp_dev_cpu *d, const mp_op *op);

/* Scratch of the ops that need some (0 otherwise). */
size_t mp_cpu_linear_scratch(const mp_dev_cpu *d, const mp_op *op);
size_t mp_cpu_experts_scratch(const mp_dev_cpu *d, const mp_op *op);
size_t mp_cpu_attn_scratch(const mp_dev_cpu *d, const mp_op *op);

static inline void *mp_row(const mp_tensor *t, int64_t row) /* row of a contiguous tensor seen as [rows, cols] */
{
    return (char *)t->data + (size_t)row * mp_dtype_row_bytes(t->dtype, t->shape[t->rank - 1]);
}

/* One token, for products of it alone or together with others. */
static inline void mp_cpu_quantize(const mp_kern *k, void *q8, const float *x, int64_t n, bool turned)
{
    k->quantize_q8(q8, x, n);
    if (turned && k->turn_q8)
        k->turn_q8(q8, n);
}

/* The fewest rows of weights that a thread takes at once: about 32 KiB of them, a multiple of the kernels' 16. */
static inline int64_t mp_cpu_row_grain(int64_t rows, size_t bytes)
{
    enum { LEAST_BYTES = 32 << 10 };
    int64_t grain = (int64_t)(LEAST_BYTES / (bytes / (size_t)rows + 1)) / 16 * 16;
    return grain < 16 ? 16 : grain;
}

/* Results of a product that its core's caches will not have any more when they are read. */
static inline bool mp_cpu_streams(size_t bytes)
{
    return bytes > (1 << 20);
}

/* Runs fn over [0, n) on the pool when the work is worth waking it, else here. */
static inline void mp_cpu_for(mp_dev_cpu *d, int64_t n, int64_t grain, mp_pool_fn *fn, void *arg)
{
    if (n <= grain)
        fn(arg, 0, n, 0);
    else
        mp_pool_run(d->pool, n, grain, fn, arg);
}
#endif
