/* Everything at once, by both ways of reading: announcing, hints, pins, kept pages, warming, budgets that change, reads that fail. Whatever happens, a
 * pinned page holds its bytes, the counters agree in the end, all memory is given back, and nobody hangs (then the alarm ends the test). */
#include "test.h"

#include <pthread.h>

#include "base/uring.h"
#include "mem/source_file.h"
#include "support/temp_file.h"

enum { THREADS = 4, ROUNDS = 300, GROUPS = 6, GROUP = 12, PAGES = GROUPS * GROUP, SET = 8, FRAGILE = PAGES * 3 / 4 };
enum { SLICE_BYTES = 12032, STRIDE = 900 << 10, FILE_BYTES = 3 << 20, ALARM_S = 100 };

typedef struct wild {
    mp_file         file[2]; /* one file twice: slices of the second are never read directly, so that they can be made to fail */
    char            path[256];
    mp_file_source *files;
    mp_source       inner;
    mp_page_desc    desc[PAGES];
    mp_ledger      *ledger;
    mp_pager       *pager;
    mp_pager_cost   cost;
    atomic_int      fail, wrong, refused, uses, failures;
    atomic_bool     stop;
} wild;

typedef struct member {
    wild     *w;
    uint32_t  seed;
    pthread_t thread;
} member;

static uint32_t next(member *m, uint32_t below) {
    m->seed = m->seed * 1664525u + 1013904223u;
    return (m->seed >> 8) % below;
}

static mp_err load(void *self, mp_page page, const mp_page_desc *desc, int slice, unsigned char *dst) {
    wild *w = self;
    int n = atomic_load(&w->fail);
    while (page >= FRAGILE && n > 0)
        if (atomic_compare_exchange_weak(&w->fail, &n, n - 1)) return mp_fail(MP_E_FAILED, "page %u: made to fail", page);
    return w->inner.load(w->inner.self, page, desc, slice, dst);
}

static const mp_file *file_of(void *self, const mp_slice *slice) {
    wild *w = self;
    return slice->file ? NULL : w->inner.file(w->inner.self, slice);
}

static bool right(const wild *w, const mp_pin *pin) {
    for (int s = 0; s < 3; s++)
        if (!temp_right(pin->slice[s], w->desc[pin->page].slice[s].bytes, w->desc[pin->page].slice[s].offset)) return false;
    return true;
}

/* As a layer of a model does it: announce, guess the next layer, use what is there, wait for the rest. */
static void run_layer(member *m, uint32_t group) {
    wild *w = m->w;
    mp_page set[SET], hints[SET], first = group * GROUP;
    uint32_t n = 1 + next(m, SET), step = 1 + next(m, 2) * 4; /* 1 or 5: neither divides the group, so pages differ */
    for (uint32_t i = 0, at = next(m, GROUP); i < n; i++) set[i] = first + (at + i * step) % GROUP;
    for (uint32_t i = 0; i < SET; i++) hints[i] = (group + 1) % GROUPS * GROUP + next(m, GROUP);
    if (mp_pager_want(w->pager, &(mp_access){.pages = set, .n = n, .tokens = 1})) w->wrong++;
    if (next(m, 2)) mp_pager_hint(w->pager, hints, SET);
    while (n) {
        mp_pin pin[2];
        uint32_t pins = 0, which;
        for (uint32_t i = 0; i < n && pins < 2;) { /* two at once at most: with as many slots as all threads need nobody is ever refused */
            bool got = false;
            if (mp_pager_pin(w->pager, set[i], MP_PEEK, MP_PIN_READ, &pin[pins], &got)) w->wrong++;
            if (got) pins++, set[i] = set[--n];
            else i++;
        }
        for (uint32_t i = 0; i < pins; i++) w->wrong += !right(w, &pin[i]);
        for (uint32_t i = 0; i < pins; i++) mp_pager_unpin(w->pager, pin[i].page);
        w->uses += (int)pins;
        mp_err err = n ? mp_pager_wait_any(w->pager, set, n, &which) : MP_OK;
        w->refused += err == MP_E_BUDGET;
        w->failures += err == MP_E_FAILED;
        if (err && next(m, 2)) return; /* gives up, and leaves its announcement behind */
    }
}

static void *live(void *arg) {
    member *m = arg;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        mp_pin pin;
        bool got = false;
        if (next(m, 8)) {
            run_layer(m, i % GROUPS);
        } else if (!mp_pager_pin(m->w->pager, next(m, PAGES), next(m, 2) ? MP_MUST : MP_EASY, MP_PIN_READ, &pin, &got) && got) {
            m->w->wrong += !right(m->w, &pin);
            mp_pager_unpin(m->w->pager, pin.page);
        }
    }
    return NULL;
}

static void disturb_once(member *m) {
    wild *w = m->w;
    mp_page list[PAGES / 2];
    mp_pager_stats s;
    uint64_t budget = w->cost.least_bytes + next(m, 1001) * (w->cost.all_bytes - w->cost.least_bytes) / 1000;
    for (uint32_t i = 0; i < PAGES / 2; i++) list[i] = next(m, PAGES);
    switch (next(m, 6)) {
    case 0:
        if (!mp_pager_resize(w->pager, budget)) {
            mp_pager_get_stats(w->pager, &s);
            w->wrong += s.slot_bytes > budget;
        }
        break;
    case 1: w->wrong += mp_pager_warm(w->pager, list, next(m, PAGES / 2)) != MP_OK; break;
    case 2: (void)mp_pager_keep(w->pager, list[0], true); break;
    case 3: (void)mp_pager_keep(w->pager, list[0], false); break;
    case 4: w->fail = 3; break;
    case 5: (void)mp_pager_complete(w->pager), (void)mp_pager_absent(w->pager, list, 20); break;
    }
}

static void *disturb(void *arg) {
    member *m = arg;
    while (!m->w->stop) {
        disturb_once(m);
        usleep(300);
    }
    return NULL;
}

static bool wild_open(wild *w, mp_io_method method, const char *policy) {
    mp_policy_config learn = {.name = policy, .pages = PAGES, .group_pages = GROUP};
    if (mp_ledger_open(false, &w->ledger) || !temp_file(FILE_BYTES, w->path) || mp_file_open(w->path, true, &w->file[0])) return false;
    w->file[1] = w->file[0];
    if (mp_file_source_open_files(w->ledger, w->file, 2, &w->files)) return false;
    w->inner = mp_file_source_get(w->files);
    for (uint32_t i = 0; i < PAGES; i++)
        for (uint32_t s = 0; s < 3; s++)
            w->desc[i].slice[s] = (mp_slice){.offset = s * STRIDE + 96 + i * (uint64_t)SLICE_BYTES, .bytes = SLICE_BYTES, .file = i >= FRAGILE};
    mp_source source = {.self = w, .align = w->inner.align, .file = file_of, .load = load};
    mp_pager_config c = {.ledger = w->ledger, .owner = MP_OWN_EXPERTS, .pages = PAGES, .group_pages = GROUP, .desc = w->desc, .source = source, .readers = 4,
                         .method = method, .populate = true};
    if (mp_pager_price(&c, 2 * THREADS, &w->cost) || mp_policy_open(w->ledger, &learn, &c.policy)) return false;
    c.budget_bytes = w->cost.least_bytes * 2 < w->cost.all_bytes ? w->cost.least_bytes * 2 : w->cost.all_bytes;
    mp_err err = mp_pager_open(&c, 2 * THREADS, &w->pager);
    if (err) c.policy.close(c.policy.self);
    return !err;
}

/* Nothing fails any more and nothing is kept: with a slot for each, every page comes, and the counters agree. */
static void check_end(wild *w) {
    mp_pager_stats s;
    mp_pager_group_stats group[GROUPS];
    w->fail = 0;
    for (mp_page i = 0; i < PAGES; i++) CHECK_OK(mp_pager_keep(w->pager, i, false));
    CHECK_OK(mp_pager_warm(w->pager, NULL, 0));
    CHECK_OK(mp_pager_resize(w->pager, w->cost.least_bytes));
    for (mp_page i = 0; i < PAGES; i++) {
        mp_pin pin;
        bool got;
        CHECK_OK(mp_pager_pin(w->pager, i, MP_MUST, MP_PIN_READ, &pin, &got));
        CHECK(got && right(w, &pin));
        if (got) mp_pager_unpin(w->pager, i);
    }
    CHECK_OK(mp_pager_resize(w->pager, w->cost.all_bytes));
    for (int i = 0; i < 2000; i++) { /* a hint may still be on its way */
        mp_pager_get_stats(w->pager, &s);
        if (!s.in_flight) break;
        usleep(1000);
    }
    uint64_t sum[5] = {0};
    CHECK_EQ(mp_pager_get_groups(w->pager, group, GROUPS), GROUPS);
    mp_pager_get_stats(w->pager, &s);
    for (int g = 0; g < GROUPS; g++) {
        sum[0] += group[g].accesses, sum[1] += group[g].hits, sum[2] += group[g].misses;
        sum[3] += group[g].load_bytes, sum[4] += group[g].resident;
    }
    CHECK(sum[0] == s.accesses && sum[1] == s.hits && sum[2] == s.misses && sum[3] == s.load_bytes && sum[4] == s.resident);
    CHECK_EQ(s.accesses, s.hits + s.misses);
    CHECK_EQ(s.loads, s.evictions + s.resident);
    CHECK_EQ(s.load_bytes, s.loads * 3 * SLICE_BYTES);
    CHECK_EQ(s.in_flight, 0);
    CHECK(s.hints_used + s.hints_late <= s.hints_issued && s.hints_issued + s.hints_cancelled <= s.hints);
    CHECK_EQ(s.slot_bytes, mp_ledger_get(w->ledger, MP_TIER_RAM, MP_OWN_EXPERTS).used_bytes);
}

static void run(mp_io_method method, const char *policy) {
    static wild w;
    member m[THREADS + 1];
    memset(&w, 0, sizeof w);
    REQUIRE(wild_open(&w, method, policy));
    for (int i = 0; i <= THREADS; i++) {
        m[i] = (member){.w = &w, .seed = (uint32_t)i * 77u + 5u};
        REQUIRE(!pthread_create(&m[i].thread, NULL, i < THREADS ? live : disturb, &m[i]));
    }
    for (int i = 0; i < THREADS; i++) pthread_join(m[i].thread, NULL);
    w.stop = true;
    pthread_join(m[THREADS].thread, NULL);
    CHECK_EQ(w.wrong, 0);
    CHECK_EQ(w.refused, 0);
    CHECK(w.uses > ROUNDS * THREADS);
    CHECK(w.failures > 0);
    check_end(&w);
    mp_pager_close(&w.pager);
    mp_file_source_close(&w.files);
    CHECK_EQ(mp_ledger_used(w.ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&w.ledger);
    mp_file_close(&w.file[0]);
    unlink(w.path);
}

TEST(threads_that_read) {
    run(MP_IO_PREAD, "adaptive");
    run(MP_IO_PREAD, "lru");
}

TEST(a_ring) {
    mp_ledger *ledger = NULL;
    mp_uring *ring = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    bool have = !mp_uring_open(ledger, 2, &ring);
    mp_uring_close(&ring);
    mp_ledger_close(&ledger);
    if (!have) SKIP("io_uring is not to be had here");
    run(MP_IO_URING, "adaptive");
    run(MP_IO_URING, "lru");
}

int main(void) {
    alarm(ALARM_S);
    RUN(threads_that_read);
    RUN(a_ring);
    return test_done();
}
