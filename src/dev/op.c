#include "dev/op.h"

static const char *const op_names[MP_OP_COUNT] = {
    [MP_OP_NONE] = "none",       [MP_OP_EMBED] = "embed",   [MP_OP_RMSNORM] = "rmsnorm",   [MP_OP_LINEAR] = "linear",
    [MP_OP_ADD] = "add",         [MP_OP_SWIGLU] = "swiglu", [MP_OP_GATE] = "gate",         [MP_OP_CLAMP] = "clamp",
    [MP_OP_ROPE] = "rope",       [MP_OP_KV_WRITE] = "kv",   [MP_OP_ATTN] = "attention",    [MP_OP_ROUTE] = "route",
    [MP_OP_EXPERTS] = "experts", [MP_OP_COMBINE] = "combine", [MP_OP_XENT] = "cross-entropy",
};

const char *mp_op_name(mp_op_kind kind)
{
    return kind >= 0 && kind < MP_OP_COUNT ? op_names[kind] : "?";
}

static uint64_t tensor_bytes(const mp_tensor *t)
{
    return mp_tensor_none(t) ? 0 : mp_tensor_bytes(t);
}

static mp_op_cost price_linear(const mp_op *op)
{
    mp_op_cost c = { 0, 0 };
    uint64_t rows = (uint64_t)mp_tensor_rows(&op->in[0]);
    for (int i = 0; i < op->n_out; i++) {
        c.bytes += tensor_bytes(&op->in[1 + 2 * i]) + tensor_bytes(&op->in[2 + 2 * i]);
        c.madds += rows * (uint64_t)mp_tensor_count(&op->in[1 + 2 * i]);
    }
    return c;
}

static mp_op_cost price_attn(const mp_op *op)
{
    mp_op_cost c = { 0, 0 };
    uint64_t heads = (uint64_t)op->in[0].shape[1], dim = (uint64_t)op->in[0].shape[2];
    for (int s = 0; s < op->u.attn.n_seg; s++) {
        const mp_segment *g = &op->u.attn.seg[s];
        uint64_t n = (uint64_t)g->n, end = (uint64_t)(g->pos + g->n);
        uint64_t pairs = n * end - n * (n - 1) / 2; /* causal */
        c.madds += 2 * pairs * heads * dim;
        c.bytes += end * 2 * dim * (uint64_t)op->in[1].shape[1] * (g->dtype == MP_F16 ? 2 : 4);
    }
    return c;
}

static mp_op_cost price_experts(const mp_op *op)
{
    mp_op_cost c = { 0, 0 };
    for (int i = 0; i < op->u.experts.n_jobs; i++) {
        const mp_expert_job *j = &op->u.experts.jobs[i];
        c.bytes += tensor_bytes(&j->gate) + tensor_bytes(&j->up) + tensor_bytes(&j->down);
        c.madds += (uint64_t)j->n * (uint64_t)(mp_tensor_count(&j->gate) + mp_tensor_count(&j->up) + mp_tensor_count(&j->down));
    }
    return c;
}

mp_op_cost mp_op_price(const mp_op *op)
{
    switch (op->kind) {
    case MP_OP_LINEAR: return price_linear(op);
    case MP_OP_ATTN: return price_attn(op);
    case MP_OP_EXPERTS: return price_experts(op);
    default: return (mp_op_cost){ 0, 0 }; /* activations only: they stay in cache */
    }
}
