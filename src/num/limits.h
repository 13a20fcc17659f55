/* What this machine can do at most: bytes read from memory and operations a second. Measured, never taken from a table; the best of several tries, since
 * a neighbour on the machine can only make it slower. `bench --profile`, `doctor` and tests/kern --bench hold kernels against it.
 * Test: tests/num/test_limits.c. */
#ifndef MP_NUM_LIMITS_H
#define MP_NUM_LIMITS_H

#include "base/pool.h"
#include "num/kern.h"

/* *bps: bytes a second at which the pool's threads (NULL: this one) read `bytes` of fresh memory, in huge pages or small ones, the best of `rounds`
 * passes. bytes: rounded down to 4 MiB; much more than the caches hold, to mean anything. Errors: MP_E_FAILED (no memory). */
typedef struct mp_read_test { uint64_t bytes; bool huge; int rounds; } mp_read_test;
mp_err mp_limits_read(mp_pool *pool, const mp_read_test *test, double *bps);

/* Operations a second (a multiply-add is two) of this arithmetic on one thread, by chains of k's instruction for it; about 10 ms.
 * 0: k's instruction set has none. */
double mp_limits_ops(const mp_kern *k, mp_arith arith);
#endif
