/* A tensor is a plain value: where, what, shape and strides. Shapes are written outermost first, as in x[T, D]. */
#ifndef MP_NUM_TENSOR_H
#define MP_NUM_TENSOR_H

#include "num/dtype.h"

enum { MP_MAX_RANK = 4 };

typedef struct mp_tensor {
    void    *data;                 /* in the memory of its device; NULL in a dry run */
    mp_dtype dtype;
    int      rank;                 /* 1..4; 0 = no tensor (an optional operand that is absent) */
    int64_t  shape[MP_MAX_RANK];   /* outermost first; unused ones are 1 */
    size_t   stride[MP_MAX_RANK];  /* bytes from one index to the next; the last dimension is always contiguous */
    int32_t  node;                 /* the tape's number for it; 0 = no gradient */
} mp_tensor;

/* A contiguous tensor over data. Unused dimensions: pass rank. */
mp_tensor mp_tensor_1d(void *data, mp_dtype type, int64_t n);
mp_tensor mp_tensor_2d(void *data, mp_dtype type, int64_t rows, int64_t cols);
mp_tensor mp_tensor_3d(void *data, mp_dtype type, int64_t a, int64_t b, int64_t c);
int64_t   mp_tensor_count(const mp_tensor *t);  /* elements */
int64_t   mp_tensor_rows(const mp_tensor *t);   /* product of all dimensions but the last */
int64_t   mp_tensor_cols(const mp_tensor *t);   /* last dimension */
size_t    mp_tensor_bytes(const mp_tensor *t);  /* of a contiguous one */
static inline bool mp_tensor_none(const mp_tensor *t) { return t->rank == 0; }
/* The same data with another shape (contiguous only). */
mp_tensor mp_tensor_reshape_2d(mp_tensor t, int64_t rows, int64_t cols);
mp_tensor mp_tensor_reshape_3d(mp_tensor t, int64_t a, int64_t b, int64_t c);
#endif
