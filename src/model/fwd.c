#include "model/fwd.h"

#include <math.h>

mp_tensor mp_new_2d(mp_fwd *f, mp_dtype type, int64_t rows, int64_t cols)
{
    void *p = NULL;
    if (!f->err)
        f->err = mp_arena_push(f->arena, (size_t)rows * mp_dtype_row_bytes(type, cols), &p);
    return mp_tensor_2d(p, type, rows, cols);
}

void mp_fwd_caught_up(mp_fwd *f)
{
    while (f->n_late)
        mp_pager_unpin(f->pager, f->late[--f->n_late]);
}

static mp_tensor new_like(mp_fwd *f, const mp_tensor *x)
{
    void *p = NULL;
    if (!f->err)
        f->err = mp_arena_push(f->arena, mp_tensor_bytes(x), &p);
    mp_tensor y = *x;
    y.data = p;
    y.node = 0;
    return y;
}

void *mp_host_new(mp_fwd *f, size_t bytes)
{
    void *p = NULL;
    if (!f->err)
        f->err = mp_arena_push(f->host, bytes, &p);
    return p;
}

void *mp_host_of(mp_fwd *f, const mp_tensor *t)
{
    if (!f->dev->memory)
        return t->data;
    void *p = mp_host_new(f, mp_tensor_bytes(t));
    if (!f->err && !f->dev->dry)
        f->err = f->dev->v->get(f->dev, p, t->data, mp_tensor_bytes(t));
    return p;
}

void mp_host_done(mp_fwd *f, const mp_tensor *t, const void *host)
{
    if (f->dev->memory && !f->err && !f->dev->dry)
        f->err = f->dev->v->put(f->dev, t->data, host, mp_tensor_bytes(t));
}

mp_tensor mp_operand_i32(mp_fwd *f, const int32_t *host, int64_t n)
{
    if (!f->dev->memory)
        return mp_tensor_1d((void *)(uintptr_t)host, MP_I32, n);
    mp_tensor t = mp_new_2d(f, MP_I32, 1, n);
    mp_host_done(f, &t, host);
    return mp_tensor_1d(t.data, MP_I32, n);
}

static int row_of(const mp_fwd *f, const mp_op *op)
{
    return op->kind == MP_OP_LINEAR ? MP_ROW_PRODUCTS + (int)f->product : (int)op->kind;
}

/* Runs op in its row of the profile. */
static mp_err run_timed(mp_fwd *f, const mp_op *op)
{
    mp_cost cost = mp_op_cost(op);
    int before = mp_times_enter(f->times, row_of(f, op));
    mp_err err = mp_dev_run(f->dev, op);
    mp_times_cost(f->times, &cost);
    mp_times_leave(f->times, before);
    return err;
}

void mp_emit(mp_fwd *f, mp_op *op)
{
    size_t mark = mp_arena_mark(f->arena);
    if (!f->err)
        f->err = mp_arena_push(f->arena, mp_dev_scratch(f->dev, op), &op->scratch);
    if (!f->err)
        f->err = f->times ? run_timed(f, op) : mp_dev_run(f->dev, op);
    mp_arena_rewind(f->arena, mark); /* scratch means nothing after the op, on a tape too */
    op->scratch = NULL;
    if (!f->err && f->tape)
        f->err = mp_tape_record(f->tape, op);
}

static mp_tensor emit1(mp_fwd *f, mp_op *op)
{
    op->n_out = 1;
    mp_emit(f, op);
    return op->out[0];
}

mp_tensor mp_embed(mp_fwd *f, mp_tensor table, mp_tensor ids)
{
    mp_op op = { .kind = MP_OP_EMBED, .in = { table, ids } };
    op.out[0] = mp_new_2d(f, MP_F32, ids.shape[0], mp_tensor_cols(&table));
    return emit1(f, &op);
}

mp_tensor mp_rmsnorm(mp_fwd *f, mp_tensor x, mp_tensor w)
{
    mp_op op = { .kind = MP_OP_RMSNORM, .in = { x, w }, .u.norm.eps = f->config->eps };
    op.out[0] = new_like(f, &x);
    return emit1(f, &op);
}

void mp_linear_n(mp_fwd *f, mp_tensor x, int n, const mp_tensor *w, const mp_tensor *bias, mp_tensor *y)
{
    mp_op op = { .kind = MP_OP_LINEAR, .n_out = n, .in = { x } };
    for (int i = 0; i < n; i++) {
        op.in[1 + 2 * i] = w[i];
        if (bias)
            op.in[2 + 2 * i] = bias[i];
        op.out[i] = mp_new_2d(f, MP_F32, mp_tensor_rows(&x), w[i].shape[0]);
    }
    mp_emit(f, &op);
    for (int i = 0; i < n; i++)
        y[i] = op.out[i];
}

mp_tensor mp_linear(mp_fwd *f, mp_tensor x, mp_tensor w, mp_tensor bias)
{
    mp_tensor y;
    mp_linear_n(f, x, 1, &w, &bias, &y);
    return y;
}

mp_tensor mp_swiglu(mp_fwd *f, mp_tensor gate, mp_tensor up)
{
    mp_op op = { .kind = MP_OP_SWIGLU, .in = { gate, up } };
    op.out[0] = f->tape ? new_like(f, &gate) : gate; /* in place */
    return emit1(f, &op);
}

mp_tensor mp_gate(mp_fwd *f, mp_tensor x, mp_tensor g)
{
    mp_op op = { .kind = MP_OP_GATE, .in = { x, g } };
    op.out[0] = f->tape ? new_like(f, &x) : x;
    return emit1(f, &op);
}

mp_tensor mp_clamp(mp_fwd *f, mp_tensor x, float limit)
{
    mp_op op = { .kind = MP_OP_CLAMP, .in = { x }, .u.clamp.limit = limit };
    op.out[0] = f->tape ? new_like(f, &x) : x;
    return emit1(f, &op);
}

void mp_residual(mp_fwd *f, mp_tensor *x, mp_tensor y)
{
    mp_op op = { .kind = MP_OP_ADD, .in = { *x, y } };
    op.out[0] = f->tape ? new_like(f, x) : *x;
    *x = emit1(f, &op);
}

mp_tensor mp_rope(mp_fwd *f, mp_tensor x)
{
    mp_op op = { .kind = MP_OP_ROPE, .in = { x, f->pos, f->inv_freq } };
    op.u.rope.mode = f->config->rope.mode;
    op.u.rope.factor = (float)f->config->rope.attn_factor;
    op.out[0] = f->tape ? new_like(f, &x) : x;
    return emit1(f, &op);
}

mp_tensor mp_attention(mp_fwd *f, mp_tensor q, mp_tensor k, mp_tensor v, int layer)
{
    mp_op op = { .kind = MP_OP_ATTN, .in = { q, k, v } };
    op.u.attn.seg = f->batch->seg;
    op.u.attn.n_seg = f->batch->n_seg;
    op.u.attn.layer = layer;
    op.u.attn.window = f->config->window;
    op.u.attn.scale = f->config->attn_scale > 0 ? f->config->attn_scale : 1.0f / sqrtf((float)q.shape[2]);
    if (!f->tape) {
        mp_op write = { .kind = MP_OP_KV_WRITE, .in = { k, v }, .u = op.u };
        mp_emit(f, &write);
    }
    op.out[0] = mp_new_2d(f, MP_F32, q.shape[0], q.shape[1] * q.shape[2]);
    return emit1(f, &op);
}

mp_tensor mp_xent(mp_fwd *f, mp_tensor logits, mp_tensor targets)
{
    mp_op op = { .kind = MP_OP_XENT, .in = { logits, targets } };
    op.out[0] = mp_new_2d(f, MP_F32, 1, 1);
    return emit1(f, &op);
}
