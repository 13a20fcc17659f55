/* Random and adversarial weights for tests/cuda: rows of every type (tests/kern/kern_data.h), and their place in the GPU's memory at addresses that no
 * load wider than their type's promise may assume. */
#ifndef MP_TESTS_CUDA_WEIGHTS_H
#define MP_TESTS_CUDA_WEIGHTS_H

#include "../kern/kern_data.h"
#include "both.h"

/* rows x cols of a type, in the host's memory; every row of another kind of data where kind is ROW_KINDS. */
static inline mp_tensor weights(mp_dtype type, int64_t rows, int64_t cols, row_kind kind)
{
    mp_tensor t = mp_tensor_2d(NULL, type, rows, cols);
    size_t row_bytes = mp_dtype_row_bytes(type, cols);
    unsigned char *p = malloc(mp_tensor_bytes(&t) + 1);
    for (int64_t r = 0; r < rows; r++)
        row_fill(type, p + (size_t)r * row_bytes, cols, kind == ROW_KINDS ? (row_kind)(r % ROW_HUGE) : kind);
    t.data = p;
    return t;
}

/* The same in the GPU's memory, `shift` bytes after a multiple of 256. */
static inline mp_tensor weights_twin(both *b, const mp_tensor *t, int shift)
{
    size_t bytes = mp_tensor_bytes(t);
    unsigned char *moved = malloc(bytes + (size_t)shift);
    mp_tensor twin = *t;
    memset(moved, 0xff, (size_t)shift);
    memcpy(moved + shift, t->data, bytes);
    twin.data = (char *)both_put(b, moved, bytes + (size_t)shift) + shift;
    free(moved);
    return twin;
}

/* Names the case that failed, since the check is one line for all of them. */
static inline void expect(bool ok, const char *what, mp_dtype type, int64_t tok, int64_t rows, int64_t cols)
{
    if (!ok)
        printf("  %s: %s, %lld tokens, [%lld, %lld]\n", what, mp_dtype_get(type)->name, (long long)tok, (long long)rows, (long long)cols);
    CHECK(ok);
}
#endif
