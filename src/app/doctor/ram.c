/* Read bandwidth of memory: all usable processors sum a buffer that is much larger than the last cache. */
#include <stdlib.h>

#include "app/app.h"
#include "app/doctor/machine.h"
#include "base/ledger.h"
#include "base/pool.h"

/* How far ahead to ask for memory: the processor's own prefetcher stops at the end of each small page. Measured on Zen 5, one thread, best of
 * 25: 33 GB/s with none, 31 at 1 KiB, 34 at 2 KiB, 38 at 4 KiB, which is what 64-byte loads reach too. */
enum { AHEAD_BYTES = 4096, LINE_BYTES = 64 };
enum { CHUNK_BYTES = 4 << 20, ROUNDS = 15, QUICK_ROUNDS = 6 };

typedef uint64_t lanes __attribute__((vector_size(64), may_alias)); /* the compiler makes of it what the processor has */

typedef struct job {
    const unsigned char *base;
    volatile uint64_t   *sink; /* one a chunk: what was summed, so that the reads cannot be left out */
} job;

static void read_chunks(void *arg, int64_t first, int64_t last, int thread) {
    const job *j = arg;
    (void)thread;
    for (int64_t c = first; c < last; c++) {
        const lanes *p = (const lanes *)(const void *)(j->base + c * CHUNK_BYTES), *end = p + CHUNK_BYTES / sizeof *p;
        lanes a = {0}, b = {0}, d = {0}, e = {0}; /* four sums: additions don't wait for each other */
        for (; p < end; p += 4) {
            for (int k = 0; k < 4; k++) __builtin_prefetch((const char *)p + AHEAD_BYTES + k * LINE_BYTES);
            a += p[0];
            b += p[1];
            d += p[2];
            e += p[3];
        }
        a += b + d + e;
        j->sink[c] = a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7];
    }
}

/* Best of several rounds: a neighbour on the machine can only make it slower. */
static mp_err measure(mp_pool *pool, uint64_t bytes, bool huge, int rounds, double *bps) {
    int64_t chunks = (int64_t)(bytes / CHUNK_BYTES);
    uint64_t *sink = calloc((size_t)chunks, sizeof *sink);
    unsigned char *p = sink ? mp_os_map(bytes, huge) : NULL;
    *bps = 0;
    if (!p || !mp_os_populate(p, bytes)) {
        if (p) mp_os_unmap(p, bytes);
        free(sink);
        return mp_fail(MP_E_FAILED, "there is no memory to measure with (%llu bytes)", (unsigned long long)bytes);
    }
    job j = {.base = p, .sink = sink};
    for (int r = 0; r < rounds && !app_signal(); r++) {
        uint64_t start = mp_now_ns();
        mp_pool_run(pool, chunks, 1, read_chunks, &j);
        double rate = (double)bytes * 1e9 / (double)(mp_now_ns() - start);
        if (rate > *bps) *bps = rate;
    }
    mp_os_unmap(p, bytes);
    free(sink);
    return app_signal() ? mp_fail(MP_E_CANCELLED, "stopped") : MP_OK;
}

/* Much larger than the last cache, but at most a quarter of what is free here. */
static uint64_t buffer_bytes(const app_machine *m, bool quick) {
    uint64_t bytes = quick ? 256ull << 20 : 1ull << 30, free_bytes = m->memory.available_bytes;
    if (bytes < 8 * m->l3_bytes) bytes = 8 * m->l3_bytes;
    if (m->memory.cgroup_limit_bytes && m->memory.cgroup_limit_bytes - m->memory.cgroup_used_bytes < free_bytes)
        free_bytes = m->memory.cgroup_limit_bytes > m->memory.cgroup_used_bytes ? m->memory.cgroup_limit_bytes - m->memory.cgroup_used_bytes : 0;
    if (bytes > free_bytes / 4) bytes = free_bytes / 4;
    if (bytes > 8ull << 30) bytes = 8ull << 30;
    return bytes / CHUNK_BYTES * CHUNK_BYTES;
}

mp_err app_ram_measure(app_machine *machine, bool quick) {
    mp_ledger *ledger = NULL;
    mp_pool *pool = NULL;
    int rounds = quick ? QUICK_ROUNDS : ROUNDS;
    uint64_t bytes = buffer_bytes(machine, quick);
    mp_err e = bytes > 0 ? mp_ledger_open(false, &ledger) : mp_fail(MP_E_FAILED, "there is too little free memory to measure with");
    if (!e) e = mp_pool_open(ledger, machine->cpus, &pool);
    if (!e) e = measure(pool, bytes, true, rounds, &machine->ram_bps);
    if (!e) e = measure(pool, bytes, false, rounds, &machine->ram_small_bps);
    machine->ram_tested_bytes = e ? 0 : bytes;
    mp_pool_close(&pool);
    mp_ledger_close(&ledger);
    return e;
}
