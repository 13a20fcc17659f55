#include "num/limits.h"

#include "base/os.h"

/* How far ahead to ask for memory: the processor's own prefetcher stops at the end of each small page. Measured on Zen 5, one thread, best of
 * 25: 33 GB/s with none, 31 at 1 KiB, 34 at 2 KiB, 38 at 4 KiB, which is what 64-byte loads reach too. On Zen 4 none is as good or better (30.2 against
 * 28.9 at 4 KiB; 64-byte loads 29.2), so both are tried in turn. */
enum { AHEAD_BYTES = 4096, LINE_BYTES = 64, CHUNK_BYTES = 4 << 20 };
enum { TRIES = 100, TRY_ROUNDS = 20000 }; /* about 100 us each: many of them fit between two moments in which others have the processor */

typedef uint64_t lanes __attribute__((vector_size(64), may_alias)); /* the compiler makes of it what the processor has */

typedef struct reading {
    const unsigned char *base;
    int                  ahead; /* bytes; 0: no prefetch */
    volatile uint64_t   *sink; /* one a chunk: what was summed, so that the reads cannot be left out */
} reading;

static void read_chunks(void *arg, int64_t first, int64_t last, int thread)
{
    const reading *r = arg;
    (void)thread;
    for (int64_t c = first; c < last; c++) {
        const lanes *p = (const lanes *)(const void *)(r->base + c * CHUNK_BYTES), *end = p + CHUNK_BYTES / sizeof(*p);
        lanes a = { 0 }, b = { 0 }, d = { 0 }, e = { 0 }; /* four sums: additions don't wait for each other */
        for (; p < end; p += 4) {
            for (int k = 0; k < 4 && r->ahead; k++)
                __builtin_prefetch((const char *)p + r->ahead + k * LINE_BYTES);
            a += p[0];
            b += p[1];
            d += p[2];
            e += p[3];
        }
        a += b + d + e;
        r->sink[c] = a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7];
    }
}

mp_err mp_limits_read(mp_pool *pool, const mp_read_test *test, double *bps)
{
    int64_t chunks = (int64_t)(test->bytes / CHUNK_BYTES);
    uint64_t bytes = (uint64_t)chunks * CHUNK_BYTES, sinks = (uint64_t)chunks * sizeof(uint64_t);
    unsigned char *p = chunks ? mp_os_map(bytes + sinks, test->huge) : NULL;
    *bps = 0;
    if (!p || !mp_os_populate(p, bytes + sinks)) {
        if (p)
            mp_os_unmap(p, bytes + sinks);
        return mp_fail(MP_E_FAILED, "there is no memory to measure with (%llu bytes)", (unsigned long long)test->bytes);
    }
    reading r = { p, 0, (volatile uint64_t *)(void *)(p + bytes) };
    for (int i = 0; i < test->rounds; i++) {
        r.ahead = i % 2 ? AHEAD_BYTES : 0;
        uint64_t start = mp_now_ns();
        mp_pool_run(pool, chunks, 1, read_chunks, &r);
        double rate = (double)bytes * 1e9 / (double)(mp_now_ns() - start);
        if (rate > *bps)
            *bps = rate;
    }
    mp_os_unmap(p, bytes + sinks);
    return MP_OK;
}

double mp_limits_ops(const mp_kern *k, mp_arith arith)
{
    double best = 0;
    for (int i = 0; k->peak[arith] && i < TRIES; i++) {
        float sink[16];
        uint64_t start = mp_now_ns(), ops = k->peak[arith](sink, TRY_ROUNDS);
        double rate = (double)ops * 1e9 / (double)(mp_now_ns() - start);
        if (rate > best)
            best = rate;
    }
    return best;
}
