/* LINEAR: y[T,N] = x[T,K] W[N,K]^T + b, up to three W over one x.
 *
 * Bytes that must move for T = 1: those of W once (the floor: W's bytes over the machine's read bandwidth). For T tokens the rows of W stay in the
 * first cache while a block of tokens passes over them, so W still comes from memory once per token block.
 * x is quantized once into scratch when a W is of a quantized type; the result for one token does not depend on T. */
#include <string.h>

#include "dev/cpu/cpu.h"

enum { ROW_GRAIN = 32, TOK_BLOCK = 64 };

typedef struct linear {
    const mp_op   *op;
    const mp_kern *k;
    int64_t        tok, width, rows; /* rows of all W together */
    char          *q8;
    size_t         q8_bytes;
} linear;

static bool any_quantized(const mp_op *op)
{
    for (int i = 0; i < op->n_out; i++)
        if (mp_dtype_get(op->in[1 + 2 * i].dtype)->quantized)
            return true;
    return false;
}

size_t mp_cpu_linear_scratch(const mp_op *op)
{
    return any_quantized(op) ? (size_t)mp_tensor_rows(&op->in[0]) * mp_q8_bytes(mp_tensor_cols(&op->in[0])) : 0;
}

static void quantize_rows(void *arg, int64_t first, int64_t last, int thread)
{
    linear *l = arg;
    (void)thread;
    for (int64_t t = first; t < last; t++)
        l->k->quantize_q8(l->q8 + (size_t)t * l->q8_bytes, mp_row(&l->op->in[0], t), l->width);
}

/* Rows [r0, r1) of one W for tokens [t0, t1). */
static void tile(const linear *l, int w, int64_t r0, int64_t r1, int64_t t0, int64_t t1)
{
    const mp_tensor *W = &l->op->in[1 + 2 * w], *bias = &l->op->in[2 + 2 * w], *out = &l->op->out[w];
    bool quant = mp_dtype_get(W->dtype)->quantized;
    const char *x = quant ? l->q8 : l->op->in[0].data;
    size_t x_stride = quant ? l->q8_bytes : (size_t)l->width * sizeof(float);
    int64_t n_out = W->shape[0];
    for (int64_t r = r0; r < r1; r++) {
        const void *row = mp_row(W, r);
        float b = mp_tensor_none(bias) ? 0.0f : ((const float *)bias->data)[r];
        for (int64_t t = t0; t < t1; t += MP_DOT_TOK) {
            float y[MP_DOT_TOK];
            int n = t1 - t < MP_DOT_TOK ? (int)(t1 - t) : MP_DOT_TOK;
            l->k->dot[W->dtype](y, row, x + (size_t)t * x_stride, x_stride, l->width, n);
            for (int i = 0; i < n; i++)
                ((float *)out->data)[(t + i) * n_out + r] = y[i] + b;
        }
    }
}

static void rows_of(void *arg, int64_t first, int64_t last, int thread)
{
    linear *l = arg;
    (void)thread;
    int64_t base = 0;
    for (int w = 0; w < l->op->n_out; w++) {
        int64_t n = l->op->in[1 + 2 * w].shape[0];
        int64_t r0 = first > base ? first - base : 0, r1 = last - base < n ? last - base : n;
        for (int64_t t = 0; r0 < r1 && t < l->tok; t += TOK_BLOCK)
            tile(l, w, r0, r1, t, t + TOK_BLOCK < l->tok ? t + TOK_BLOCK : l->tok);
        base += n;
    }
}

mp_err mp_cpu_linear(mp_dev_cpu *d, const mp_op *op)
{
    linear l = { .op = op, .k = d->k, .tok = mp_tensor_rows(&op->in[0]), .width = mp_tensor_cols(&op->in[0]), .q8 = op->scratch };
    l.q8_bytes = mp_q8_bytes(l.width);
    for (int i = 0; i < op->n_out; i++)
        l.rows += op->in[1 + 2 * i].shape[0];
    if (any_quantized(op))
        mp_cpu_for(d, l.tok, 8, quantize_rows, &l);
    mp_cpu_for(d, l.rows, ROW_GRAIN, rows_of, &l);
    return MP_OK;
}
