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

/* ---- products ----
 *
 * Both devices quantize activations to the same bits (test_quantize.c) and take a block's integer product exactly; what differs is where float operations
 * round and in which order K / 32 blocks (floats: K terms) are added. As in tests/kern: the distance of two orders stays below (K / 16 + 16) * 2^-23 of the
 * largest |weight| of the row times the sum of |x|. Where a type has minima, a weight is the difference of two parts, and the largest weight of a row may be
 * smaller than its largest part: four times as much (0.65 of it was seen with Q2_K, 0.01 with other types). At K = 512 that is 2^-17.7: a single code of
 * Q8_0 that is one off would be seen. */

/* NaN and infinity do not count. */
static inline double weights_largest(const mp_tensor *w, int64_t r)
{
    const int64_t n = w->shape[1];
    float *row = malloc((size_t)n * sizeof *row);
    double largest = 0;
    mp_kern_at(0)->dequant[w->dtype](row, (const char *)w->data + (size_t)r * mp_dtype_row_bytes(w->dtype, n), n);
    for (int64_t i = 0; i < n; i++)
        largest = isfinite(row[i]) ? fmax(largest, fabs((double)row[i])) : largest;
    free(row);
    return largest;
}

/* Of one result: a row whose largest weight is this, times x[k]. */
static inline double product_slack(mp_dtype type, double largest, const float *x, int64_t k)
{
    const bool minima = type == MP_Q4_1 || type == MP_Q5_1 || type == MP_Q2_K || type == MP_Q4_K || type == MP_Q5_K;
    double sum = 0;
    for (int64_t i = 0; i < k; i++)
        sum += fabs((double)x[i]);
    return ((double)k / 16 + 16) * 0x1p-23 * (minima ? 4 : 1) * largest * sum + 0x1p-148;
}

/* Names the case that failed, since the check is one line for all of them. */
static inline void expect(bool ok, const char *what, mp_dtype type, int64_t tok, int64_t rows, int64_t cols)
{
    if (!ok)
        printf("  %s: %s, %lld tokens, [%lld, %lld]\n", what, mp_dtype_get(type)->name, (long long)tok, (long long)rows, (long long)cols);
    CHECK(ok);
}
#endif
