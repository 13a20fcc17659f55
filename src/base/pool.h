/* A pool of worker threads for one parallel region at a time. Work is split by index, never by timing, so that results do not depend
 * on the number of threads. */
#ifndef MP_BASE_POOL_H
#define MP_BASE_POOL_H

#include "base/ledger.h"

typedef struct mp_pool mp_pool;

/* threads >= 1 counts the caller: threads - 1 workers are started (stack 256 KiB each, of which the 32 KiB that it touches are charged as OVERHEAD). */
mp_err mp_pool_open(mp_ledger *ledger, int threads, mp_pool **out);
void   mp_pool_close(mp_pool **pool);
int    mp_pool_threads(const mp_pool *pool);

/* Calls fn(arg, first, last, thread) for disjoint ranges that cover [0, n), each of `grain` items or a multiple (grain >= 1; the
 * last may be shorter), long ones first; threads take ranges as they get free. thread is in [0, threads). Returns when all are done. Not reentrant; one caller at a time. NULL pool: runs here. */
typedef void mp_pool_fn(void *arg, int64_t first, int64_t last, int thread);
void mp_pool_run(mp_pool *pool, int64_t n, int64_t grain, mp_pool_fn *fn, void *arg);
#endif
