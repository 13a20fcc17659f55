/* LINEAR: y[T,N] = x[T,K] W[N,K]^T + b, up to three W over one x.
 *
 * Bytes that must move for T = 1: those of W once (the floor: W's bytes over the machine's read bandwidth). For T tokens a panel of W's rows stays in
 * the caches while blocks of tokens pass over it. x is quantized once when a W is of a quantized type; the result for one token does not depend on T.
 *
 *   scratch   one panel for each thread | q8 of the tokens */
#include <string.h>

#include "dev/cpu/cpu.h"

enum { QUANT_GRAIN = 8 };

typedef struct linear {
    const mp_op   *op;
    const mp_kern *k;
    int64_t        tok, width, rows; /* rows of all W together */
    char          *q8, *panels;
    size_t         q8_bytes;
    bool           alone; /* the only thread */
} linear;

static bool any_quantized(const mp_op *op)
{
    for (int i = 0; i < op->n_out; i++)
        if (mp_dtype_get(op->in[1 + 2 * i].dtype)->quantized)
            return true;
    return false;
}

static size_t panel_bytes(const mp_dev_cpu *d)
{
    return (size_t)mp_pool_threads(d->pool) * MP_MM_SCRATCH;
}

size_t mp_cpu_linear_scratch(const mp_dev_cpu *d, const mp_op *op)
{
    return panel_bytes(d) + (any_quantized(op) ? (size_t)mp_tensor_rows(&op->in[0]) * mp_q8_bytes(mp_tensor_cols(&op->in[0])) : 0);
}

static void quantize_rows(void *arg, int64_t first, int64_t last, int thread)
{
    linear *l = arg;
    (void)thread;
    for (int64_t t = first; t < last; t++)
        mp_cpu_quantize(l->k, l->q8 + (size_t)t * l->q8_bytes, mp_row(&l->op->in[0], t), l->width, l->tok > 1);
}

/* Rows [r0, r1) of one W for all tokens. */
static void multiply(const linear *l, int w, int64_t r0, int64_t r1, int thread)
{
    const mp_tensor *W = &l->op->in[1 + 2 * w], *bias = &l->op->in[2 + 2 * w];
    bool quant = mp_dtype_get(W->dtype)->quantized;
    mp_mm m = { .w = mp_row(W, r0), .row_bytes = mp_dtype_row_bytes(W->dtype, l->width), .rows = r1 - r0, .n = l->width, .tok = l->tok, .turned = l->tok > 1 };
    m.x = quant ? l->q8 : l->op->in[0].data;
    m.x_stride = quant ? l->q8_bytes : (size_t)l->width * sizeof(float);
    m.out = (float *)l->op->out[w].data + r0;
    m.out_stride = W->shape[0];
    m.alone = l->alone;
    m.stream = l->tok > 1 && mp_cpu_streams(mp_tensor_bytes(&l->op->out[w]));
    m.scratch = l->panels + (size_t)thread * MP_MM_SCRATCH;
    mp_kern_mm(l->k, W->dtype, &m);
    for (int64_t t = 0; !mp_tensor_none(bias) && t < l->tok; t++)
        l->k->add(mp_mm_out(&m, t), mp_mm_out(&m, t), (const float *)bias->data + r0, m.rows);
}

static void rows_of(void *arg, int64_t first, int64_t last, int thread)
{
    linear *l = arg;
    int64_t base = 0;
    for (int w = 0; w < l->op->n_out; w++) {
        int64_t n = l->op->in[1 + 2 * w].shape[0];
        int64_t r0 = first > base ? first - base : 0, r1 = last - base < n ? last - base : n;
        if (r0 < r1)
            multiply(l, w, r0, r1, thread);
        base += n;
    }
}

mp_err mp_cpu_linear(mp_dev_cpu *d, const mp_op *op)
{
    linear l = { .op = op, .k = d->k, .alone = mp_pool_threads(d->pool) == 1, .tok = mp_tensor_rows(&op->in[0]), .width = mp_tensor_cols(&op->in[0]), .panels = op->scratch };
    l.q8 = l.panels + panel_bytes(d);
    l.q8_bytes = mp_q8_bytes(l.width);
    size_t bytes = 0;
    for (int i = 0; i < op->n_out; i++) {
        l.rows += op->in[1 + 2 * i].shape[0];
        bytes += mp_tensor_bytes(&op->in[1 + 2 * i]);
    }
    if (any_quantized(op))
        mp_cpu_for(d, l.tok, QUANT_GRAIN, quantize_rows, &l);
    mp_cpu_for(d, l.rows, mp_cpu_row_grain(l.rows, bytes), rows_of, &l);
    return MP_OK;
}
