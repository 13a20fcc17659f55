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

/* ---- host and device ---- */

static mp_err cuda_wait(mp_dev *dev)
{
    return dev->dry ? MP_OK : mp_cuda_check(cudaStreamSynchronize(((mp_dev_cuda *)dev)->stream), "computing");
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

/* Where the system does not let it, copies go through the driver's buffers: slower, and as right. */
static void cuda_lock(mp_dev *dev, void *host, size_t bytes, bool on)
{
    if (mp_cuda_use((mp_dev_cuda *)dev) || (on ? cudaHostRegister(host, bytes, cudaHostRegisterPortable) : cudaHostUnregister(host)) != cudaSuccess)
        cudaGetLastError();
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
    mp_ledger_credit(dev->ledger, MP_TIER_VRAM, MP_OWN_OVERHEAD, d->context_bytes);
    mp_free(d);
}

static const mp_dev_vtable cuda_vtable = {
    "cuda", cuda_put, cuda_get, cuda_wait, cuda_lock, cuda_can, cuda_scratch, cuda_run, cuda_close,
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
    mp_err err = mp_cuda_use(d);
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

/* What the driver takes for this process counts too, so that its own tools agree with the ledger. */
static mp_err charge_context(mp_dev_cuda *d)
{
    mp_dev_vram v;
    mp_err err = mp_dev_cuda_vram(d->ordinal, &v);
    if (!err)
        err = mp_ledger_charge(d->base.ledger, MP_TIER_VRAM, MP_OWN_OVERHEAD, v.context_bytes);
    d->context_bytes = err ? 0 : v.context_bytes;
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
    mp_cuda_memory_of(d, &d->memory);
    d->base = (mp_dev){ .v = &cuda_vtable, .ledger = ledger, .memory = &d->memory, .dry = mp_ledger_dry(ledger) };
    err = mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, MP_CUDA_RING);
    if (err) {
        mp_free(d);
        return err;
    }
    err = find(d, ordinal);
    if (!err)
        err = charge_context(d);
    if (!err && !d->base.dry)
        err = set_up(d);
    if (err)
        cuda_close(&d->base);
    else
        *out = &d->base;
    return err;
}
