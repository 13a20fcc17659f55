/* The pager under several threads: whatever they do to each other, a pinned page holds its bytes, and nobody hangs. */
#include "test.h"

#include "base/os.h"
#include "support/pager_pages.h"

enum { THREADS = 4, PAGES = 96, ROUNDS = 250, SET = 12 };

typedef struct crowd {
    pages       p;
    mp_ledger  *ledger;
    mp_pager   *pager;
    mp_pager_cost cost;
    atomic_bool stop;
    uint32_t    written[PAGES]; /* generation of the private pages; each is one thread's */
    atomic_int  wrong, errors, uses;
} crowd;

typedef struct member {
    crowd    *c;
    int       index;
    uint32_t  seed;
    pthread_t thread;
} member;

static uint32_t next(member *m, uint32_t below) {
    m->seed = m->seed * 1664525u + 1013904223u;
    return (m->seed >> 8) % below;
}

/* Pages of the upper half are read by all; of the lower half, those with index mod THREADS are written by one. */
static mp_page shared_page(member *m) {
    return PAGES / 2 + next(m, PAGES / 2);
}

static void read_set(member *m) {
    mp_page set[SET];
    uint32_t n = 1 + next(m, SET), which = 0;
    for (uint32_t i = 0; i < n; i++) set[i] = shared_page(m); /* twins may occur */
    if (mp_pager_want(m->c->pager, &(mp_access){.pages = set, .n = n})) m->c->errors++;
    while (n) {
        mp_pin pin;
        bool got = false;
        mp_err err = mp_pager_wait_any(m->c->pager, set, n, &which);
        if (!err) err = mp_pager_pin(m->c->pager, set[which], next(m, 2) ? MP_PEEK : MP_MUST, MP_PIN_READ, &pin, &got);
        if (err == MP_E_BUDGET) m->c->errors++; /* never: no thread holds more than two pins; other errors are made by the source */
        if (err && next(m, 4) == 0) return;   /* gives up, and leaves its announcement behind */
        if (!got) continue;
        if (!pages_right(&m->c->p, set[which], 0, pin.slice)) m->c->wrong++;
        mp_pager_unpin(m->c->pager, set[which]);
        m->c->uses++;
        set[which] = set[--n];
    }
}

static void write_one(member *m) {
    mp_page page = next(m, PAGES / 2 / THREADS) * THREADS + (uint32_t)m->index;
    mp_pin pin, other;
    bool got = false, got_other = false;
    mp_pin_mode mode = next(m, 2) ? MP_PIN_READ : (mp_pin_mode)(MP_PIN_READ | MP_PIN_WRITE);
    if (mp_pager_pin(m->c->pager, page, MP_MUST, mode, &pin, &got)) return;
    if (!pages_right(&m->c->p, page, m->c->written[page], pin.slice)) m->c->wrong++;
    mp_page second = shared_page(m);
    (void)mp_pager_pin(m->c->pager, second, MP_EASY, MP_PIN_READ, &other, &got_other);
    if (mode & MP_PIN_WRITE) {
        m->c->written[page] = next(m, 250);
        pages_write(&m->c->p, page, m->c->written[page], pin.slice);
    }
    if (got_other && !pages_right(&m->c->p, second, 0, other.slice)) m->c->wrong++;
    if (got_other) mp_pager_unpin(m->c->pager, second);
    mp_pager_unpin(m->c->pager, page);
    m->c->uses++;
}

static void *live(void *arg) {
    member *m = arg;
    for (int i = 0; i < ROUNDS; i++) {
        mp_page hints[3] = {shared_page(m), shared_page(m), shared_page(m)};
        if (next(m, 3)) read_set(m);
        else write_one(m);
        if (next(m, 4) == 0) mp_pager_hint(m->c->pager, hints, 3);
    }
    return NULL;
}

static void *disturb(void *arg) {
    member *m = arg;
    crowd *c = m->c;
    while (!c->stop) {
        uint64_t budget = c->cost.least_bytes + next(m, 1000) * (c->cost.all_bytes - c->cost.least_bytes) / 1000;
        mp_err err = mp_pager_resize(c->pager, budget);
        mp_pager_stats s;
        mp_pager_get_stats(c->pager, &s);
        if (!err && s.slot_bytes > budget) c->wrong++;
        if (next(m, 4) == 0) (void)mp_pager_flush(c->pager);
        if (next(m, 4) == 0) c->p.fail_loads = 2;
        if (next(m, 4) == 0) c->p.fail_stores = 2;
        usleep(500);
    }
    return NULL;
}

TEST(random_work_keeps_the_bytes) {
    static crowd c;
    pages_open(&c.p, PAGES, 30000, 5);
    REQUIRE(mp_ledger_open(false, &c.ledger) == 0);
    mp_pager_config config = pages_config(&c.p, c.ledger, 0);
    config.source = pages_source(&c.p, true);
    CHECK_OK(mp_pager_price(&config, 3 * THREADS, &c.cost));
    config.budget_bytes = c.cost.least_bytes * 2;
    REQUIRE(mp_pager_open(&config, 3 * THREADS, &c.pager) == 0);
    member m[THREADS + 1];
    for (int i = 0; i <= THREADS; i++) {
        m[i] = (member){.c = &c, .index = i, .seed = (uint32_t)i * 77u + 5u};
        pthread_create(&m[i].thread, NULL, i < THREADS ? live : disturb, &m[i]);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(m[i].thread, NULL);
    c.stop = true;
    pthread_join(m[THREADS].thread, NULL);
    c.p.fail_loads = c.p.fail_stores = 0;
    CHECK_OK(mp_pager_flush(c.pager));
    for (mp_page i = 0; i < PAGES / 2; i++) CHECK_EQ(c.p.generation[i], c.written[i]);
    CHECK_EQ(c.wrong, 0);
    CHECK_EQ(c.errors, 0);
    CHECK_EQ(c.p.bad_stores, 0);
    CHECK(c.uses > ROUNDS * THREADS / 2);
    mp_pager_close(&c.pager);
    CHECK_EQ(mp_ledger_used(c.ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&c.ledger);
    pages_close(&c.p);
}

/* ---- few slots, several threads ---- */

typedef struct pair {
    pages            *p;
    mp_pager         *pager;
    pthread_barrier_t both;
    atomic_int        refused, got;
} pair;

/* Each holds one of the two slots and asks for a third page. */
static void *grab_two(void *arg) {
    pair *two = arg;
    static atomic_uint turn;
    mp_page own = atomic_fetch_add(&turn, 1) % 2, more = own + 2;
    mp_pin pin;
    bool got;
    if (mp_pager_pin(two->pager, own, MP_MUST, MP_PIN_READ, &pin, &got)) return NULL;
    pthread_barrier_wait(&two->both);
    mp_err err = mp_pager_pin(two->pager, more, MP_MUST, MP_PIN_READ, &pin, &got);
    if (err == MP_E_BUDGET) two->refused++;
    if (!err && pages_right(two->p, more, 0, pin.slice)) two->got++;
    if (!err) mp_pager_unpin(two->pager, more);
    mp_pager_unpin(two->pager, own);
    return NULL;
}

static mp_pager *open_small(pages *p, mp_ledger *ledger, uint32_t slots) {
    mp_pager_config c = pages_config(p, ledger, 0);
    mp_pager_cost cost;
    mp_pager *pager = NULL;
    CHECK_OK(mp_pager_price(&c, slots, &cost));
    c.budget_bytes = cost.least_bytes;
    CHECK_OK(mp_pager_open(&c, slots, &pager));
    return pager;
}

static void run_pair(pair *two, void *(*fn)(void *)) {
    pthread_t a, b;
    pthread_create(&a, NULL, fn, two);
    pthread_create(&b, NULL, fn, two);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
}

TEST(two_that_wait_for_each_other) {
    pages p;
    pages_open(&p, 8, 2000, 0);
    p.align = 1;
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    pair two = {.p = &p, .pager = open_small(&p, ledger, 2)};
    pthread_barrier_init(&two.both, NULL, 2);
    for (int i = 0; i < 10; i++) {
        two.refused = two.got = 0;
        run_pair(&two, grab_two);
        CHECK_EQ(two.refused, 1); /* the second to ask; it then lets the first one go on */
        CHECK_EQ(two.got, 1);
    }
    pthread_barrier_destroy(&two.both);
    mp_pager_close(&two.pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* Two sessions, one slot: they take turns. */
static void *take_turns(void *arg) {
    pair *two = arg;
    static atomic_uint turn;
    mp_page first = atomic_fetch_add(&turn, 1) % 2 * 4;
    for (int round = 0; round < 5; round++) {
        mp_page set[4] = {first, first + 1, first + 2, first + 3};
        uint32_t n = 4, which;
        (void)mp_pager_want(two->pager, &(mp_access){.pages = set, .n = n});
        while (n) {
            mp_pin pin;
            bool got = false;
            if (mp_pager_wait_any(two->pager, set, n, &which)) return NULL;
            if (mp_pager_pin(two->pager, set[which], MP_PEEK, MP_PIN_READ, &pin, &got)) return NULL;
            if (!got) continue;
            if (pages_right(two->p, set[which], 0, pin.slice)) two->got++;
            mp_pager_unpin(two->pager, set[which]);
            set[which] = set[--n];
        }
    }
    return NULL;
}

TEST(two_sessions_share_one_slot) {
    pages p;
    pages_open(&p, 8, 2000, 0);
    p.align = 1;
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    pair two = {.p = &p, .pager = open_small(&p, ledger, 1)};
    run_pair(&two, take_turns);
    CHECK_EQ(two.got, 2 * 5 * 4);
    mp_pager_close(&two.pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* Every waiter of a page hears of its failed read, also those who come from another thread. */
static void *wait_for_failure(void *arg) {
    pair *two = arg;
    mp_pin pin;
    bool got;
    mp_err err = mp_pager_pin(two->pager, 3, MP_MUST, MP_PIN_READ, &pin, &got);
    if (err == MP_E_FAILED && strstr(mp_err_text(), "page 3")) two->refused++;
    if (!err) mp_pager_unpin(two->pager, 3);
    return NULL;
}

TEST(all_who_wait_hear_of_it) {
    pages p;
    pages_open(&p, 8, 2000, 0);
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    pair two = {.p = &p, .pager = open_small(&p, ledger, 4)};
    p.fail_loads = 1000;
    run_pair(&two, wait_for_failure);
    CHECK_EQ(two.refused, 2);
    p.fail_loads = 0;
    two.refused = 0;
    run_pair(&two, wait_for_failure);
    CHECK_EQ(two.refused, 0);
    mp_pager_close(&two.pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

int main(void) {
    RUN(random_work_keeps_the_bytes);
    RUN(two_that_wait_for_each_other);
    RUN(two_sessions_share_one_slot);
    RUN(all_who_wait_hear_of_it);
    return test_done();
}
