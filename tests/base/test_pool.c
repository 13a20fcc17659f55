/* base/pool.h: every index exactly once, whatever the threads, the size and the grain; ranges of whole grains. */
#include "base/pool.h"

#include "test.h"

enum { N_MAX = 3001, THREADS_MAX = 4 };

typedef struct tally {
    atomic_uchar seen[N_MAX];
    int64_t      n, grain;
    int          threads;
    atomic_int   wrong; /* a bad range or thread number */
    long         plain[N_MAX]; /* written without atomics: ThreadSanitizer sees an index that two threads take */
} tally;

static void count(void *arg, int64_t first, int64_t last, int thread) {
    tally *t = arg;
    if (first < 0 || first >= last || last > t->n || first % t->grain || (last % t->grain && last != t->n) || thread < 0 || thread >= t->threads) t->wrong++;
    for (int64_t i = first; i < last; i++) {
        atomic_fetch_add(&t->seen[i], 1);
        t->plain[i] += i;
    }
}

static void check_once(mp_pool *pool, int64_t n, int64_t grain, int threads) {
    static tally t;
    memset(&t, 0, sizeof t);
    t.n = n;
    t.grain = grain;
    t.threads = threads;
    mp_pool_run(pool, n, grain, count, &t);
    int missed = 0;
    for (int64_t i = 0; i < N_MAX; i++) missed += t.seen[i] != (i < n) || t.plain[i] != (i < n ? i : 0);
    CHECK_EQ(missed, 0);
    CHECK_EQ(t.wrong, 0);
}

TEST(every_index_once) {
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 63, 64, 65, 1000, N_MAX}, grains[] = {1, 2, 3, 17, 64, 5000};
    mp_ledger *ledger;
    CHECK_OK(mp_ledger_open(false, &ledger));
    for (int threads = 1; threads <= THREADS_MAX; threads++) {
        mp_pool *pool;
        CHECK_OK(mp_pool_open(ledger, threads, &pool));
        CHECK_EQ(mp_pool_threads(pool), threads);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (size_t g = 0; g < sizeof grains / sizeof *grains; g++) check_once(pool, sizes[s], grains[g], threads);
        mp_pool_close(&pool);
        CHECK(pool == NULL);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    }
    check_once(NULL, 100, 7, 1);
    CHECK_EQ(mp_pool_threads(NULL), 1);
    mp_ledger_close(&ledger);
}

typedef struct sum {
    long part[THREADS_MAX][16]; /* a cache line each */
} sum;

static void add(void *arg, int64_t first, int64_t last, int thread) {
    for (int64_t i = first; i < last; i++) ((sum *)arg)->part[thread][0] += i + 1;
}

TEST(ten_thousand_runs) {
    mp_ledger *ledger;
    CHECK_OK(mp_ledger_open(false, &ledger));
    for (int threads = 2; threads <= THREADS_MAX; threads++) {
        mp_pool *pool;
        CHECK_OK(mp_pool_open(ledger, threads, &pool));
        int wrong = 0;
        for (long run = 0; run < 10000; run++) {
            sum s = {0};
            long n = run % 41, total = 0;
            mp_pool_run(pool, n, 1 + run % 3, add, &s);
            for (int i = 0; i < threads; i++) total += s.part[i][0];
            wrong += total != n * (n + 1) / 2;
            if (run % 1000 == 0) usleep(2000); /* let the workers fall asleep now and then */
        }
        CHECK_EQ(wrong, 0);
        mp_pool_close(&pool);
    }
    mp_ledger_close(&ledger);
}

TEST(workers_do_take_part) {
    mp_ledger *ledger;
    mp_pool *pool;
    CHECK_OK(mp_ledger_open(false, &ledger));
    CHECK_OK(mp_pool_open(ledger, 3, &pool));
    long others = 0;
    for (int run = 0; run < 1000 && !others; run++) { /* one run may be over before a worker wakes; a thousand are not */
        sum s = {0};
        mp_pool_run(pool, 20000, 10, add, &s);
        others = s.part[1][0] + s.part[2][0];
    }
    CHECK(others > 0);
    mp_pool_close(&pool);
    mp_ledger_close(&ledger);
}

TEST(bad_counts_and_no_room) {
    mp_ledger *ledger;
    mp_pool *pool = (mp_pool *)&ledger;
    CHECK_OK(mp_ledger_open(false, &ledger));
    CHECK_EQ(mp_pool_open(ledger, 0, &pool), MP_E_USAGE);
    CHECK(pool == NULL);
    CHECK_OK(mp_pool_open(ledger, 3, &pool));
    uint64_t need = mp_ledger_used(ledger, MP_TIER_RAM);
    CHECK(need >= 2 * 32 << 10); /* the workers' stacks are charged */
    mp_pool_close(&pool);
    for (uint64_t limit = 1; limit < need; limit += need / 23) { /* refused at each point, and nothing kept */
        mp_ledger_set_limit(ledger, MP_TIER_RAM, limit);
        CHECK_EQ(mp_pool_open(ledger, 3, &pool), MP_E_BUDGET);
        CHECK(pool == NULL);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    }
    mp_pool_close(&pool);
    mp_ledger_close(&ledger);
}

int main(void) {
    RUN(every_index_once);
    RUN(ten_thousand_runs);
    RUN(workers_do_take_part);
    RUN(bad_counts_and_no_room);
    return test_done();
}
