/* EMBED: rows of a table of any type as float32. COMBINE: what the experts of a token gave, by their weights. Both move bytes and do little else:
 * EMBED a row's in its type and four for each element out; COMBINE four for each of k rows in and four out. */
#include "dev/cuda/decode.h"

enum { BLOCK = 128 };

template <int TYPE> __device__ static void write_block(float *out, const unsigned char *row, int64_t b)
{
    typedef mp_unpack<TYPE> u;
    mp_codes c;
    u::block(row + b / (u::LEN / 32) * u::BYTES, (int)(b % (u::LEN / 32)), &c);
    MP_UNROLLED for (int i = 0; i < 8; i++) {
        const float scale = u::SUB == 32 || i < 4 ? c.scale[0] : c.scale[1], low = u::SUB == 32 || i < 4 ? c.min[0] : c.min[1];
        MP_UNROLLED for (int j = 0; j < 4; j++)
            out[4 * i + j] = scale * (float)(signed char)(c.w[i] >> 8 * j) - low;
    }
}

/* A thread a block of 32, or an element of a float type. An id outside of the table gives NaN: the caller has checked them, and memory is not read for less. */
template <int TYPE, bool FLOATS> __device__ static void embed_row(float *out, const unsigned char *table, int64_t id, int64_t vocab, int64_t cols)
{
    const int64_t step = (int64_t)gridDim.x * BLOCK, first = (int64_t)blockIdx.x * BLOCK + threadIdx.x, n = FLOATS ? cols : cols / 32;
    const bool known = id >= 0 && id < vocab;
    for (int64_t i = first; i < n; i += step) {
        if (!known)
            for (int j = 0; j < (FLOATS ? 1 : 32); j++)
                out[(FLOATS ? 1 : 32) * i + j] = __uint_as_float(0x7fc00000u);
        else if constexpr (FLOATS)
            out[i] = mp_float_at<TYPE>(table + id * cols * (TYPE == MP_F32 ? 4 : 2), i);
        else
            write_block<TYPE>(out + 32 * i, table + id * (cols / mp_unpack<TYPE>::LEN) * mp_unpack<TYPE>::BYTES, i);
    }
}

__global__ static void embed(float *out, const unsigned char *table, int type, const int32_t *ids, int64_t vocab, int64_t cols)
{
    const int64_t id = ids[blockIdx.y];
    out += blockIdx.y * cols;
    switch (type) {
#define CASE(t) case t: embed_row<t, false>(out, table, id, vocab, cols); break;
        MP_QUANTIZED_TYPES(CASE)
#undef CASE
    case MP_F32: embed_row<MP_F32, true>(out, table, id, vocab, cols); break;
    case MP_F16: embed_row<MP_F16, true>(out, table, id, vocab, cols); break;
    case MP_BF16: embed_row<MP_BF16, true>(out, table, id, vocab, cols); break;
    }
}

mp_err mp_cuda_embed(mp_dev_cuda *d, const mp_op *op)
{
    enum { MOST = 32768 }; /* tokens of a launch: the grid's second dimension ends at 65535 */
    const mp_tensor *table = &op->in[0];
    const int64_t cols = table->shape[1], tok = op->in[1].shape[0], work = mp_dtype_get(table->dtype)->quantized ? cols / 32 : cols;
    for (int64_t t = 0; t < tok; t += MOST)
        MP_LAUNCH(embed, dim3(mp_blocks_of(work, BLOCK), (unsigned)min(tok - t, (int64_t)MOST)), BLOCK, 0, d->stream, (float *)op->out[0].data + t * cols,
                  (const unsigned char *)table->data, table->dtype, (const int32_t *)op->in[1].data + t, table->shape[0], cols);
    return mp_cuda_launched("embed");
}

/* In the router's order, as the processor does it. */
__global__ static void combine(float *out, const float *y, const float *w, int64_t n, int64_t cols, int64_t k)
{
    const int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x, t = i / cols, c = i % cols;
    if (i >= n)
        return;
    float sum = y[t * k * cols + c] * w[t * k];
    for (int64_t j = 1; j < k; j++)
        sum = fmaf(w[t * k + j], y[(t * k + j) * cols + c], sum);
    out[i] = sum;
}

mp_err mp_cuda_combine(mp_dev_cuda *d, const mp_op *op)
{
    const int64_t cols = mp_tensor_cols(&op->in[0]), n = op->in[1].shape[0] * cols;
    MP_LAUNCH(combine, mp_blocks_of(n, BLOCK), BLOCK, 0, d->stream, (float *)op->out[0].data, (const float *)op->in[0].data, (const float *)op->in[1].data, n, cols,
              mp_tensor_cols(&op->in[1]));
    return mp_cuda_launched("combine");
}
