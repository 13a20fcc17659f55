#include "dev/cost.h"

/* Products of `tok` rows with a matrix of any type. */
static void add_product(mp_cost *c, const mp_tensor *w, int64_t tok)
{
    c->weight_bytes += mp_tensor_bytes(w);
    c->ops[mp_dtype_arith(w->dtype)] += 2 * (uint64_t)(tok * mp_tensor_count(w));
}

static mp_cost linear(const mp_op *op)
{
    mp_cost c = { 0 };
    for (int i = 0; i < op->n_out; i++) {
        add_product(&c, &op->in[1 + 2 * i], mp_tensor_rows(&op->in[0]));
        if (!mp_tensor_none(&op->in[2 + 2 * i]))
            c.weight_bytes += mp_tensor_bytes(&op->in[2 + 2 * i]);
    }
    return c;
}

static mp_cost experts(const mp_op *op)
{
    mp_cost c = { 0 };
    int times = op->u.experts.ids ? (int)op->in[0].shape[0] * op->u.experts.k : 1; /* two tokens may share an expert: nobody here knows */
    for (int i = 0; i < op->u.experts.n_jobs * times; i++) {
        const mp_expert_job *job = &op->u.experts.jobs[i / times];
        add_product(&c, &job->gate, job->n);
        add_product(&c, &job->up, job->n);
        add_product(&c, &job->down, job->n);
    }
    return c;
}

/* Each query meets the keys up to its own position, or the last `window` of them, and as many values. */
static mp_cost attention(const mp_op *op)
{
    mp_cost c = { 0 };
    const mp_tensor *q = &op->in[0], *k = &op->in[1];
    int64_t heads = q->shape[1], dim = q->shape[2], kv_heads = k->shape[1], window = op->u.attn.window;
    for (int s = 0; s < op->u.attn.n_seg; s++) {
        const mp_segment *seg = &op->u.attn.seg[s];
        int64_t pairs = 0, first = window && seg->pos + 1 > window ? seg->pos + 1 - window : 0;
        for (int64_t p = seg->pos; p < seg->pos + seg->n; p++)
            pairs += window && p + 1 > window ? window : p + 1;
        c.ops[MP_ARITH_F32] += 4 * (uint64_t)(pairs * heads * dim);
        c.kv_bytes += 2 * (uint64_t)((seg->pos + seg->n - first) * kv_heads) * mp_dtype_row_bytes(seg->dtype, dim);
    }
    return c;
}

mp_cost mp_op_cost(const mp_op *op)
{
    mp_cost c = { 0 };
    switch (op->kind) {
    case MP_OP_EMBED: c.weight_bytes = (uint64_t)op->in[1].shape[0] * mp_dtype_row_bytes(op->in[0].dtype, mp_tensor_cols(&op->in[0])); break;
    case MP_OP_RMSNORM:
        c.weight_bytes = mp_tensor_none(&op->in[1]) ? 0 : mp_tensor_bytes(&op->in[1]);
        c.ops[MP_ARITH_F32] = 2 * (uint64_t)mp_tensor_count(&op->in[0]); /* the sum of squares */
        break;
    case MP_OP_LINEAR: return linear(op);
    case MP_OP_EXPERTS: return experts(op);
    case MP_OP_ATTN: return attention(op);
    case MP_OP_ROPE: c.ops[MP_ARITH_F32] = 2 * (uint64_t)(mp_tensor_rows(&op->in[0]) * 2 * op->in[2].shape[0]); break; /* x cos -+ y sin: one each */
    case MP_OP_COMBINE: c.ops[MP_ARITH_F32] = 2 * (uint64_t)mp_tensor_count(&op->in[0]); break;
    default: break;
    }
    return c;
}

void mp_cost_add(mp_cost *sum, const mp_cost *c)
{
    sum->weight_bytes += c->weight_bytes;
    sum->kv_bytes += c->kv_bytes;
    for (int i = 0; i < MP_ARITH_COUNT; i++)
        sum->ops[i] += c->ops[i];
}
