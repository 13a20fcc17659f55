/* A GPU as a device: memory is VRAM on the ledger, run() enqueues on one stream, get() and wait() are where the host waits. */
#include "dev/cuda/cuda.h"

#include <stdio.h>
#include <string.h>

mp_err mp_cuda_check(cudaError_t e, const char *what)
{
    if (e == cudaSuccess)
        return MP_OK;
    return mp_fail(e == cudaErrorMemoryAllocation ? MP_E_BUDGET : MP_E_FAILED, "the GPU: %s: %s", what, cudaGetErrorString(e));
}

mp_err mp_cuda_upload(mp_dev_cuda *d, void *dst, const void *host, size_t bytes)
{
    enum { HALF = MP_CUDA_RING / 2 };
    size_t at = (d->ring_at + 63) & ~(size_t)63;
    if (bytes > HALF)
        return mp_fail(MP_E_FAILED, "%zu bytes do not fit the upload ring's half of %d", bytes, HALF);
    if (at / HALF != (at + bytes) / HALF || at >= MP_CUDA_RING) { /* on to the other half, once what was read from it there has been read */
        int left = (int)(d->ring_at ? (d->ring_at - 1) / HALF : 0), next = !left;
        mp_err err = mp_cuda_check(cudaEventRecord(d->ring_half[left], d->stream), "recording an event");
        if (!err)
            err = mp_cuda_check(cudaEventSynchronize(d->ring_half[next]), "waiting for an upload");
        if (err)
            return err;
        at = (size_t)next * HALF;
    }
    memcpy(d->ring + at, host, bytes);
    d->ring_at = at + bytes;
    return mp_cuda_check(cudaMemcpyAsync(dst, d->ring + at, bytes, cudaMemcpyHostToDevice, d->stream), "an upload");
}

/* ---- memory ---- */

static mp_err cuda_wait(mp_dev *dev)
{
    return dev->dry ? MP_OK : mp_cuda_check(cudaStreamSynchronize(((mp_dev_cuda *)dev)->stream), "computing");
}

/* The runtime keeps the current device for each thread. */
static mp_err use(const mp_dev_cuda *d)
{
    return mp_cuda_check(cudaSetDevice(d->ordinal), "choosing it");
}

enum { GRAIN = 2 << 20 }; /* what the driver hands out, and therefore what is charged */

static mp_err take(void *self, size_t bytes, unsigned char **out)
{
    void *p = NULL;
    mp_err err = use(self);
    if (!err)
        err = mp_cuda_check(cudaMalloc(&p, bytes), "allocating memory");
    if (err)
        cudaGetLastError(); /* it is told; the next launch must not be blamed for it */
    *out = p;
    return err;
}

static void give(void *self, unsigned char *base, size_t bytes)
{
    (void)bytes;
    if (!use(self))
        cudaFree(base);
}

/* On the stream for copies, under what is computed. Memory that is not pinned is copied through the driver's own buffers. */
static mp_err move(mp_dev_cuda *d, void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind)
{
    mp_err err = use(d);
    if (!err)
        err = mp_cuda_check(cudaMemcpyAsync(dst, src, bytes, kind, d->copies), "a copy");
    return err ? err : mp_cuda_check(cudaStreamSynchronize(d->copies), "a copy");
}

static mp_err fill(void *self, unsigned char *dst, const void *host, size_t bytes)
{
    return move(self, dst, host, bytes, cudaMemcpyHostToDevice);
}

static mp_err copy(void *self, unsigned char *dst, const unsigned char *src, size_t bytes)
{
    mp_err err = cuda_wait(self); /* what is copied may still be computed */
    return err ? err : move(self, dst, src, bytes, cudaMemcpyDeviceToDevice);
}

static mp_err cuda_put(mp_dev *dev, void *dst, const void *host, size_t bytes)
{
    mp_dev_cuda *d = (mp_dev_cuda *)dev;
    if (dev->dry || !bytes)
        return MP_OK;
    if (bytes <= MP_CUDA_RING / 2)
        return mp_cuda_upload(d, dst, host, bytes);
    mp_err err = mp_cuda_check(cudaMemcpyAsync(dst, host, bytes, cudaMemcpyHostToDevice, d->stream), "an upload");
    return err ? err : cuda_wait(dev);
}

static mp_err cuda_get(mp_dev *dev, void *host, const void *src, size_t bytes)
{
    if (dev->dry || !bytes)
        return MP_OK;
    mp_err err = mp_cuda_check(cudaMemcpyAsync(host, src, bytes, cudaMemcpyDeviceToHost, ((mp_dev_cuda *)dev)->stream), "a download");
    return err ? err : cuda_wait(dev);
}

/* ---- operations ---- */

typedef mp_err mp_cuda_fn(mp_dev_cuda *d, const mp_op *op);

static mp_cuda_fn *const table[MP_OP_COUNT] = {
    [MP_OP_EMBED] = mp_cuda_embed,     [MP_OP_RMSNORM] = mp_cuda_rmsnorm,   [MP_OP_LINEAR] = mp_cuda_linear,
    [MP_OP_ADD] = mp_cuda_add,         [MP_OP_SWIGLU] = mp_cuda_swiglu,     [MP_OP_GATE] = mp_cuda_gate,
    [MP_OP_CLAMP] = mp_cuda_clamp,     [MP_OP_ROPE] = mp_cuda_rope,         [MP_OP_KV_WRITE] = mp_cuda_kv_write,
    [MP_OP_ATTN] = mp_cuda_attn,       [MP_OP_ROUTE] = mp_cuda_route,       [MP_OP_EXPERTS] = mp_cuda_experts,
    [MP_OP_COMBINE] = mp_cuda_combine,
};

static bool cuda_can(const mp_dev *dev, const mp_op *op)
{
    (void)dev;
    return op->kind > MP_OP_NONE && op->kind < MP_OP_COUNT && table[op->kind];
}

static size_t cuda_scratch(const mp_dev *dev, const mp_op *op)
{
    const mp_dev_cuda *d = (const mp_dev_cuda *)dev;
    switch (op->kind) {
    case MP_OP_LINEAR: return mp_cuda_linear_scratch(d, op);
    case MP_OP_KV_WRITE: return mp_cuda_kv_write_scratch(d, op);
    case MP_OP_ATTN: return mp_cuda_attn_scratch(d, op);
    case MP_OP_EXPERTS: return mp_cuda_experts_scratch(d, op);
    default: return 0;
    }
}

static mp_err cuda_run(mp_dev *dev, const mp_op *op)
{
    if (!cuda_can(dev, op))
        return mp_fail(MP_E_FAILED, "the GPU has no kernel for the operation '%s'", mp_op_name(op->kind));
    return table[op->kind]((mp_dev_cuda *)dev, op);
}

/* ---- opening ---- */

static void cuda_close(mp_dev *dev)
{
    mp_dev_cuda *d = (mp_dev_cuda *)dev;
    for (int i = 0; i < 2; i++)
        if (d->ring_half[i])
            cudaEventDestroy(d->ring_half[i]);
    if (d->stream)
        cudaStreamDestroy(d->stream);
    if (d->copies)
        cudaStreamDestroy(d->copies);
    if (d->ring)
        cudaFreeHost(d->ring);
    mp_ledger_credit(dev->ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, MP_CUDA_RING);
    mp_free(d);
}

static const mp_dev_vtable cuda_vtable = {
    "cuda", cuda_put, cuda_get, cuda_wait, cuda_can, cuda_scratch, cuda_run, cuda_close,
};

static mp_err find(mp_dev_cuda *d, int ordinal)
{
    struct cudaDeviceProp prop;
    int n = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0) {
        cudaGetLastError();
        return mp_fail(MP_E_FAILED, "there is no NVIDIA GPU here, or no driver for it");
    }
    if (ordinal < 0 || ordinal >= n)
        return mp_fail(MP_E_USAGE, "there is no GPU %d; the last one here is %d", ordinal, n - 1);
    mp_err err = mp_cuda_check(cudaGetDeviceProperties(&prop, ordinal), "asking what it is");
    if (err)
        return err;
    if (prop.major * 10 + prop.minor < 75)
        return mp_fail(MP_E_FAILED, "%s is of compute capability %d.%d; moped needs 7.5 or later", prop.name, prop.major, prop.minor);
    d->ordinal = ordinal, d->major = prop.major, d->minor = prop.minor, d->sms = prop.multiProcessorCount;
    snprintf(d->name, sizeof d->name, "%.*s", (int)sizeof d->name - 1, prop.name);
    return MP_OK;
}

static mp_err set_up(mp_dev_cuda *d)
{
    void *ring = NULL;
    mp_err err = use(d);
    if (!err)
        err = mp_cuda_check(cudaHostAlloc(&ring, MP_CUDA_RING, cudaHostAllocDefault), "pinning memory");
    d->ring = ring;
    if (!err)
        err = mp_cuda_check(cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking), "opening a stream");
    if (!err)
        err = mp_cuda_check(cudaStreamCreateWithFlags(&d->copies, cudaStreamNonBlocking), "opening a stream");
    for (int i = 0; !err && i < 2; i++)
        err = mp_cuda_check(cudaEventCreateWithFlags(&d->ring_half[i], cudaEventDisableTiming), "making an event");
    return err;
}

mp_err mp_dev_cuda_open(mp_ledger *ledger, int ordinal, mp_dev **out)
{
    void *p;
    *out = NULL;
    mp_err err = mp_alloc(ledger, MP_OWN_OVERHEAD, sizeof(mp_dev_cuda), &p);
    if (err)
        return err;
    mp_dev_cuda *d = p;
    d->memory = (mp_memory){ .tier = MP_TIER_VRAM, .grain = GRAIN, .self = d, .take = take, .give = give, .fill = fill, .copy = copy };
    d->base = (mp_dev){ .v = &cuda_vtable, .ledger = ledger, .memory = &d->memory, .dry = mp_ledger_dry(ledger) };
    err = mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, MP_CUDA_RING);
    if (err) {
        mp_free(d);
        return err;
    }
    err = find(d, ordinal);
    if (!err && !d->base.dry)
        err = set_up(d);
    if (err)
        cuda_close(&d->base);
    else
        *out = &d->base;
    return err;
}
