/* Making tensors: shapes to strides. Nothing here owns memory. */
#include "num/tensor.h"

#include <assert.h>

/* Fills in the strides of a contiguous tensor. A row is whole blocks, so strides are counted from the row outwards. */
static mp_tensor contiguous(mp_tensor t)
{
    const mp_dtype_info *info = mp_dtype_get(t.dtype);
    int last = t.rank - 1;
    t.stride[last] = info->block_len == 1 ? info->block_bytes : 0; /* elements of a block type have no address */
    size_t bytes = mp_dtype_row_bytes(t.dtype, t.shape[last]);
    for (int i = last - 1; i >= 0; i--) {
        t.stride[i] = bytes;
        bytes *= (size_t)t.shape[i];
    }
    return t;
}

mp_tensor mp_tensor_1d(void *data, mp_dtype type, int64_t n)
{
    return contiguous((mp_tensor){ .data = data, .dtype = type, .rank = 1, .shape = { n, 1, 1, 1 } });
}

mp_tensor mp_tensor_2d(void *data, mp_dtype type, int64_t rows, int64_t cols)
{
    return contiguous((mp_tensor){ .data = data, .dtype = type, .rank = 2, .shape = { rows, cols, 1, 1 } });
}

mp_tensor mp_tensor_3d(void *data, mp_dtype type, int64_t a, int64_t b, int64_t c)
{
    return contiguous((mp_tensor){ .data = data, .dtype = type, .rank = 3, .shape = { a, b, c, 1 } });
}

int64_t mp_tensor_count(const mp_tensor *t)
{
    return mp_tensor_rows(t) * mp_tensor_cols(t);
}

int64_t mp_tensor_rows(const mp_tensor *t)
{
    int64_t rows = 1;
    for (int i = 0; i < t->rank - 1; i++)
        rows *= t->shape[i];
    return t->rank > 0 ? rows : 0;
}

int64_t mp_tensor_cols(const mp_tensor *t)
{
    return t->rank > 0 ? t->shape[t->rank - 1] : 0;
}

size_t mp_tensor_bytes(const mp_tensor *t)
{
    return mp_dtype_row_bytes(t->dtype, mp_tensor_cols(t)) * (size_t)mp_tensor_rows(t);
}

mp_tensor mp_tensor_reshape_2d(mp_tensor t, int64_t rows, int64_t cols)
{
    assert(rows * cols == mp_tensor_count(&t));
    mp_tensor out = mp_tensor_2d(t.data, t.dtype, rows, cols);
    out.node = t.node;
    return out;
}

mp_tensor mp_tensor_reshape_3d(mp_tensor t, int64_t a, int64_t b, int64_t c)
{
    assert(a * b * c == mp_tensor_count(&t));
    mp_tensor out = mp_tensor_3d(t.data, t.dtype, a, b, c);
    out.node = t.node;
    return out;
}
