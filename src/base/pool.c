/* The worker pool.
 *
 * A run writes the job, opens the gate and rings; workers that come in time join, take ranges from one counter and leave. The
 * caller works too, and when the ranges are out it shuts the gate and waits only for those who are inside: a worker that was
 * asleep through a short run never delays it.
 *
 *   gate = SHUT | number of workers inside
 *
 * Invariants: the job is written only while the gate is shut and nobody is inside; it is read only from inside.
 */
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "base/os.h"

enum { STACK_BYTES = 256 << 10, STACK_USED_BYTES = 32 << 10 /* what a worker touches of it is what it costs */, CACHE_LINE = 64 };
enum { SPINS = 1000 }; /* about 50 us of pauses: longer than the gap between two ops, shorter than a person's notice */
#define SHUT 0x80000000u

typedef struct job {
    mp_pool_fn *fn;
    void       *arg;
    int64_t     n, grain;
} job;

typedef struct worker {
    mp_pool  *pool;
    pthread_t thread;
    int       index; /* 1 .. threads - 1; the caller is 0 */
} worker;

struct mp_pool {
    _Alignas(CACHE_LINE) _Atomic int64_t next; /* first index that nobody took */
    _Alignas(CACHE_LINE) atomic_uint gate;
    _Alignas(CACHE_LINE) atomic_uint ring; /* counts runs; workers wait for it to change */
    atomic_int  asleep;                    /* workers in or near cond_wait */
    atomic_bool stop;
    job         job;
    pthread_mutex_t lock; /* for sleeping only */
    pthread_cond_t  wake, done;
    mp_ledger *ledger;
    worker    *workers;
    int        threads, started, spins;
};

/* A thread's share of what is left, halved, in whole grains: long ranges first, which are read at full speed from their beginnings on, and short ones
 * at the end, so that nobody waits long for the last. */
static int64_t range(const mp_pool *pool, int64_t left) {
    int64_t grains = left / pool->job.grain / (2 * pool->threads);
    return (grains < 1 ? 1 : grains) * pool->job.grain;
}

static void take_ranges(mp_pool *pool, int thread) {
    job j = pool->job;
    int64_t seen = 0; /* others may have taken more since; then the range is only longer than it should be */
    for (;;) {
        int64_t most = range(pool, j.n - seen);
        int64_t first = atomic_fetch_add_explicit(&pool->next, most, memory_order_relaxed);
        if (first >= j.n) return;
        int64_t last = j.n - first < most ? j.n : first + most;
        j.fn(j.arg, first, last, thread);
        seen = atomic_load_explicit(&pool->next, memory_order_relaxed);
        if (seen > j.n) return;
    }
}

static bool gate_enter(mp_pool *pool) {
    unsigned gate = atomic_load(&pool->gate);
    while (!(gate & SHUT))
        if (atomic_compare_exchange_weak(&pool->gate, &gate, gate + 1)) return true;
    return false;
}

static void gate_leave(mp_pool *pool) {
    if (atomic_fetch_sub(&pool->gate, 1) != (SHUT | 1)) return;
    pthread_mutex_lock(&pool->lock); /* the last one out: the caller may be asleep */
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->lock);
}

/* Waits until the ring is no longer `seen`, or stop. */
static void wait_ring(mp_pool *pool, unsigned seen) {
    for (int i = 0; i < pool->spins; i++) {
        if (atomic_load(&pool->ring) != seen) return;
        mp_cpu_relax();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->asleep, 1); /* before the last look at ring: mp_pool_run looks at the two in the other order */
    while (atomic_load(&pool->ring) == seen) pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->asleep, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void ring(mp_pool *pool) {
    atomic_fetch_add(&pool->ring, 1);
    if (!atomic_load(&pool->asleep)) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

static void *work(void *arg) {
    worker *w = arg;
    mp_pool *pool = w->pool;
    unsigned seen = 0;
    for (;;) {
        wait_ring(pool, seen);
        seen = atomic_load(&pool->ring);
        if (atomic_load(&pool->stop)) return NULL;
        if (!gate_enter(pool)) continue;
        take_ranges(pool, w->index);
        gate_leave(pool);
    }
}

static mp_err start_workers(mp_pool *pool) {
    pthread_attr_t attr;
    if (pthread_attr_init(&attr)) return mp_fail(MP_E_FAILED, "the system refused the attributes of a thread");
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigset_t all, before; /* signals are for the program's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    mp_err err = MP_OK;
    for (int i = 1; i < pool->threads && !err; i++) {
        worker *w = &pool->workers[i - 1];
        *w = (worker){.pool = pool, .index = i};
        err = mp_ledger_charge(pool->ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, STACK_USED_BYTES);
        if (err) break;
        if (pthread_create(&w->thread, &attr, work, w)) {
            mp_ledger_credit(pool->ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, STACK_USED_BYTES);
            err = mp_fail(MP_E_FAILED, "the system refused thread %d of %d; ask for fewer threads", i + 1, pool->threads);
        } else {
            pool->started++;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return err;
}

mp_err mp_pool_open(mp_ledger *ledger, int threads, mp_pool **out) {
    *out = NULL;
    if (threads < 1) return mp_fail(MP_E_USAGE, "%d threads cannot work; give 1 or more", threads);
    mp_pool *pool = NULL;
    mp_err err = MP_NEW(ledger, MP_OWN_OVERHEAD, mp_pool, 1, &pool);
    if (err) return err;
    pool->ledger = ledger;
    pool->threads = threads;
    pool->spins = threads <= mp_os_cpus() ? SPINS : 0; /* spinning takes the processor from the one that is waited for */
    atomic_init(&pool->gate, SHUT);
    pthread_mutex_init(&pool->lock, NULL); /* these three cannot fail with default attributes on Linux */
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    err = MP_NEW(ledger, MP_OWN_OVERHEAD, worker, (size_t)threads - 1, &pool->workers);
    if (!err) err = start_workers(pool);
    if (err) mp_pool_close(&pool);
    *out = pool;
    return err;
}

void mp_pool_close(mp_pool **pp) {
    if (!pp || !*pp) return;
    mp_pool *pool = *pp;
    atomic_store(&pool->stop, true);
    ring(pool);
    for (int i = 0; i < pool->started; i++) {
        pthread_join(pool->workers[i].thread, NULL);
        mp_ledger_credit(pool->ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, STACK_USED_BYTES);
    }
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    mp_free(pool->workers);
    MP_FREE(*pp);
}

int mp_pool_threads(const mp_pool *pool) {
    return pool ? pool->threads : 1;
}

static void wait_empty(mp_pool *pool) {
    for (int i = 0; i < pool->spins; i++) {
        if (atomic_load(&pool->gate) == SHUT) return;
        mp_cpu_relax();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->gate) != SHUT) pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

void mp_pool_run(mp_pool *pool, int64_t n, int64_t grain, mp_pool_fn *fn, void *arg) {
    if (!pool || pool->threads == 1 || n <= grain) {
        if (n > 0) fn(arg, 0, n, 0);
        return;
    }
    pool->job = (job){.fn = fn, .arg = arg, .n = n, .grain = grain};
    atomic_store(&pool->next, 0);
    atomic_store(&pool->gate, 0);
    ring(pool);
    take_ranges(pool, 0);
    if (atomic_fetch_or(&pool->gate, SHUT) != 0) wait_empty(pool);
}
