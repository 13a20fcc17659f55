/* The CPU as a device: memory is the ledger's, run() computes at once on the pool's threads, wait() has nothing to wait for. */
#include "dev/cpu/cpu.h"

#include <string.h>

typedef mp_err mp_cpu_fn(mp_dev_cpu *d, const mp_op *op);

static mp_cpu_fn *const table[MP_OP_COUNT] = {
    [MP_OP_EMBED] = mp_cpu_embed,     [MP_OP_RMSNORM] = mp_cpu_rmsnorm,   [MP_OP_LINEAR] = mp_cpu_linear,
    [MP_OP_ADD] = mp_cpu_add,         [MP_OP_SWIGLU] = mp_cpu_swiglu,     [MP_OP_GATE] = mp_cpu_gate,
    [MP_OP_CLAMP] = mp_cpu_clamp,     [MP_OP_ROPE] = mp_cpu_rope,         [MP_OP_KV_WRITE] = mp_cpu_kv_write,
    [MP_OP_ATTN] = mp_cpu_attn,       [MP_OP_ROUTE] = mp_cpu_route,       [MP_OP_EXPERTS] = mp_cpu_experts,
    [MP_OP_COMBINE] = mp_cpu_combine, [MP_OP_XENT] = mp_cpu_xent,
};

static mp_err cpu_put(mp_dev *dev, void *dst, const void *host, size_t bytes)
{
    if (!dev->dry)
        memcpy(dst, host, bytes);
    return MP_OK;
}

static mp_err cpu_get(mp_dev *dev, void *host, const void *src, size_t bytes)
{
    if (!dev->dry)
        memcpy(host, src, bytes);
    return MP_OK;
}

static mp_err cpu_wait(mp_dev *dev)
{
    (void)dev;
    return MP_OK;
}

static bool cpu_can(const mp_dev *dev, const mp_op *op)
{
    const mp_dev_cpu *d = (const mp_dev_cpu *)dev;
    if (op->kind <= MP_OP_NONE || op->kind >= MP_OP_COUNT || !table[op->kind])
        return false;
    for (int i = 0; op->kind == MP_OP_LINEAR && i < op->n_out; i++)
        if (!mp_kern_has_mm(d->k, op->in[1 + 2 * i].dtype))
            return false;
    return true;
}

static size_t cpu_scratch(const mp_dev *dev, const mp_op *op)
{
    const mp_dev_cpu *d = (const mp_dev_cpu *)dev;
    switch (op->kind) {
    case MP_OP_LINEAR: return mp_cpu_linear_scratch(d, op);
    case MP_OP_EXPERTS: return mp_cpu_experts_scratch(d, op);
    case MP_OP_ATTN: return mp_cpu_attn_scratch(d, op);
    default: return 0;
    }
}

static mp_err cpu_run(mp_dev *dev, const mp_op *op)
{
    if (op->kind <= MP_OP_NONE || op->kind >= MP_OP_COUNT || !table[op->kind])
        return mp_fail(MP_E_FAILED, "the CPU has no kernel for the operation '%s'", mp_op_name(op->kind));
    return table[op->kind]((mp_dev_cpu *)dev, op);
}

static void cpu_close(mp_dev *dev)
{
    mp_free(dev);
}

static const mp_dev_vtable cpu_vtable = {
    "cpu", cpu_put, cpu_get, cpu_wait, NULL, cpu_can, cpu_scratch, cpu_run, cpu_close,
};

mp_err mp_dev_cpu_open(mp_ledger *ledger, mp_pool *pool, const mp_kern *kern, mp_dev **out)
{
    void *p;
    *out = NULL;
    mp_err err = mp_alloc(ledger, MP_OWN_OVERHEAD, sizeof(mp_dev_cpu), &p);
    if (err)
        return err;
    mp_dev_cpu *d = p;
    d->base = (mp_dev){ .v = &cpu_vtable, .ledger = ledger, .dry = mp_ledger_dry(ledger) };
    d->pool = pool;
    d->k = kern;
    *out = &d->base;
    return MP_OK;
}

void mp_dev_close(mp_dev **dev)
{
    if (*dev)
        (*dev)->v->close(*dev);
    *dev = NULL;
}
