/* The tape: a list of ops, and a gradient per node.
 *
 *   nodes   1 .. n_params          parameters: kept by clear, gradients zeroed
 *           n_params+1 .. n_nodes  outputs of recorded ops: forgotten by clear
 */
#include "dev/tape.h"

#include <string.h>

struct mp_tape {
    mp_ledger *ledger;
    mp_op     *op;
    int        n_ops, cap_ops;
    mp_tensor *grad; /* [cap_nodes] by node; data NULL until it is first needed */
    int32_t    n_nodes, n_params, cap_nodes;
};

mp_err mp_tape_open(mp_ledger *ledger, mp_tape **out)
{
    mp_tape *t;
    *out = NULL;
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, mp_tape, 1, &t);
    if (err)
        return err;
    t->ledger = ledger;
    *out = t;
    return MP_OK;
}

static void drop_grads(mp_tape *t, int32_t first)
{
    for (int32_t i = first; i <= t->n_nodes; i++)
        MP_FREE(t->grad[i].data);
}

void mp_tape_close(mp_tape **tape)
{
    mp_tape *t = *tape;
    if (!t)
        return;
    drop_grads(t, 1);
    MP_FREE(t->grad);
    MP_FREE(t->op);
    MP_FREE(t);
    *tape = NULL;
}

void mp_tape_clear(mp_tape *t)
{
    drop_grads(t, t->n_params + 1);
    t->n_nodes = t->n_params;
    t->n_ops = 0;
    for (int32_t i = 1; i <= t->n_params; i++)
        if (t->grad[i].data)
            memset(t->grad[i].data, 0, mp_tensor_bytes(&t->grad[i]));
}

/* Room for one more of n items of an array. */
static mp_err grow(mp_ledger *ledger, void **array, size_t size, int32_t n, int32_t *cap)
{
    void *bigger;
    if (n < *cap)
        return MP_OK;
    int32_t want = *cap ? *cap * 2 : 64;
    mp_err err = mp_alloc_array(ledger, MP_OWN_WORK, (size_t)want, size, &bigger);
    if (err)
        return err;
    if (*array)
        memcpy(bigger, *array, (size_t)n * size);
    mp_free(*array);
    *array = bigger;
    *cap = want;
    return MP_OK;
}

static mp_err new_node(mp_tape *t, mp_tensor *tensor)
{
    void *array = t->grad;
    mp_err err = grow(t->ledger, &array, sizeof(mp_tensor), t->n_nodes + 1, &t->cap_nodes);
    t->grad = array;
    if (err)
        return err;
    tensor->node = ++t->n_nodes;
    mp_tensor g = *tensor;
    g.data = NULL;
    t->grad[tensor->node] = g;
    return MP_OK;
}

mp_err mp_tape_param(mp_tape *t, mp_tensor *weight)
{
    if (weight->dtype != MP_F32)
        return mp_fail(MP_E_USAGE, "training needs float32 weights, not %s", mp_dtype_get(weight->dtype)->name);
    if (t->n_ops)
        return mp_fail(MP_E_USAGE, "parameters must be named before the first operation is recorded");
    mp_err err = new_node(t, weight);
    t->n_params = t->n_nodes;
    return err;
}

mp_err mp_tape_record(mp_tape *t, mp_op *op)
{
    void *array = t->op;
    int32_t cap = t->cap_ops;
    mp_err err = grow(t->ledger, &array, sizeof(mp_op), t->n_ops, &cap);
    t->op = array;
    t->cap_ops = cap;
    for (int i = 0; i < op->n_out && !err; i++)
        if (op->out[i].dtype == MP_F32)
            err = new_node(t, &op->out[i]);
    if (!err)
        t->op[t->n_ops++] = *op;
    return err;
}

mp_tensor mp_tape_grad(const mp_tape *t, const mp_tensor *tensor)
{
    if (tensor->node <= 0 || tensor->node > t->n_nodes || !t->grad[tensor->node].data)
        return (mp_tensor){ 0 };
    return t->grad[tensor->node];
}

/* The gradient of an operand, made (zero) if it is not there yet. */
static mp_err wanted(mp_tape *t, const mp_tensor *operand, mp_tensor *out)
{
    *out = (mp_tensor){ 0 };
    if (operand->node <= 0)
        return MP_OK;
    mp_tensor *g = &t->grad[operand->node];
    if (!g->data) {
        mp_err err = mp_alloc(t->ledger, MP_OWN_WORK, mp_tensor_bytes(g), &g->data);
        if (err)
            return err;
    }
    *out = *g;
    return MP_OK;
}

static mp_err job_grads(mp_tape *t, const mp_op *op, mp_tensor **out)
{
    *out = NULL;
    if (op->kind != MP_OP_EXPERTS)
        return MP_OK;
    mp_err err = MP_NEW(t->ledger, MP_OWN_WORK, mp_tensor, (size_t)op->u.experts.n_jobs * 3, out);
    for (int i = 0; i < op->u.experts.n_jobs && !err; i++) {
        const mp_expert_job *j = &op->u.experts.jobs[i];
        err = wanted(t, &j->gate, &(*out)[3 * i]);
        if (!err)
            err = wanted(t, &j->up, &(*out)[3 * i + 1]);
        if (!err)
            err = wanted(t, &j->down, &(*out)[3 * i + 2]);
    }
    return err;
}

static mp_err step_back(mp_tape *t, const mp_op *op)
{
    mp_op_grads g = { 0 };
    mp_tensor *jobs = NULL;
    bool any = false;
    mp_err err = MP_OK;
    for (int i = 0; i < op->n_out; i++) {
        g.out[i] = mp_tape_grad(t, &op->out[i]);
        any |= !mp_tensor_none(&g.out[i]);
    }
    if (!any)
        return MP_OK; /* nothing depends on it */
    for (int i = 0; i < MP_OP_IN && !err; i++)
        err = wanted(t, &op->in[i], &g.in[i]);
    if (!err)
        err = job_grads(t, op, &jobs);
    g.job_grads = jobs;
    if (!err)
        err = mp_alloc(t->ledger, MP_OWN_WORK, mp_cpu_backward_scratch(op), &g.scratch);
    if (!err)
        err = mp_cpu_backward(op, &g);
    mp_free(g.scratch);
    MP_FREE(jobs);
    return err;
}

mp_err mp_tape_backward(mp_tape *t, mp_dev *dev, const mp_tensor *loss)
{
    mp_tensor seed;
    (void)dev; /* the CPU's backward is the only one yet */
    mp_err err = wanted(t, loss, &seed);
    if (err)
        return err;
    if (mp_tensor_none(&seed) || mp_tensor_count(&seed) != 1)
        return mp_fail(MP_E_USAGE, "the loss must be one recorded number");
    *(float *)seed.data = 1.0f;
    for (int i = t->n_ops - 1; i >= 0 && !err; i--)
        err = step_back(t, &t->op[i]);
    return err;
}
