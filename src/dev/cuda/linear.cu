/* LINEAR: y[T,N] = x[T,K] W[N,K]^T + b, up to three W over one x, in one or two launches beside that of the activations' quantization: all W together,
 * whatever their types. Up to eight tokens: matvec.cu, where a token's results are the same alone and among others; more: matmul.cu.
 *
 *   scratch   int8 of the tokens, where a W is of a quantized type */
#include "dev/cuda/mm.h"

static bool any_quantized(const mp_op *op)
{
    for (int i = 0; i < op->n_out; i++)
        if (mp_dtype_get(op->in[1 + 2 * i].dtype)->quantized)
            return true;
    return false;
}

size_t mp_cuda_linear_scratch(const mp_dev_cuda *d, const mp_op *op)
{
    (void)d;
    return any_quantized(op) ? (size_t)mp_tensor_rows(&op->in[0]) * mp_cuda_q8_bytes(mp_tensor_cols(&op->in[0])) : 0;
}

/* So large a tile of tokens as still gives every SM a block of 128 rows, or nearly. */
static int tile_of(const mp_dev_cuda *d, const mp_op *op, int64_t tok)
{
    int64_t rows = 0;
    int tile = mp_cuda_tile(tok);
    for (int i = 0; i < op->n_out; i++)
        rows += (op->in[1 + 2 * i].shape[0] + 127) / 128;
    while (tile > 16 && rows * ((tok + tile - 1) / tile) < d->sms)
        tile /= 2;
    return tile;
}

mp_err mp_cuda_linear(mp_dev_cuda *d, const mp_op *op)
{
    const int64_t tok = mp_tensor_rows(&op->in[0]), k = mp_tensor_cols(&op->in[0]);
    mp_cuda_mm mm = {};
    mm.x = (const float *)op->in[0].data, mm.k = k, mm.x_div = 1, mm.count = op->n_out, mm.most = (int32_t)tok, mm.tile = tile_of(d, op, tok);
    for (int i = 0; i < op->n_out; i++) {
        const mp_tensor *w = &op->in[1 + 2 * i], *bias = &op->in[2 + 2 * i];
        mp_cuda_mat *m = &mm.mat[i];
        m->w = (const unsigned char *)w->data, m->type = w->dtype, m->rows = (int32_t)w->shape[0], m->n = (int32_t)tok;
        m->out = (float *)op->out[i].data;
        m->bias = mp_tensor_none(bias) ? NULL : (const float *)bias->data;
        mm.types |= 1u << w->dtype;
    }
    if (any_quantized(op)) {
        mp_err err = mp_cuda_quantize(d, (unsigned char *)op->scratch, mm.x, tok, k, NULL, 1);
        if (err)
            return err;
        mm.q = (const unsigned char *)op->scratch;
    }
    return tok <= MP_CUDA_FEW ? mp_cuda_matvec(d, &mm) : mp_cuda_matmul(d, &mm);
}
