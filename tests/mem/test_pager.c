/* The pager on made-up pages: what is resident, what is counted, what is charged, who goes. */
#include "test.h"

#include "base/os.h"
#include "support/pager_pages.h"

static mp_ledger *open_ledger(bool dry) {
    mp_ledger *ledger = NULL;
    if (mp_ledger_open(dry, &ledger)) abort();
    return ledger;
}

static void use(mp_pager *pager, const pages *p, mp_page page) {
    mp_pin pin;
    bool got = false;
    CHECK_OK(mp_pager_pin(pager, page, MP_MUST, MP_PIN_READ, &pin, &got));
    CHECK(got);
    if (!got) return;
    CHECK(pages_right(p, page, 0, pin.slice));
    CHECK(pin.slice[3] == NULL);
    mp_pager_unpin(pager, page);
}

static bool resident(mp_pager *pager, mp_page page) {
    mp_pin pin;
    bool got = false;
    CHECK_OK(mp_pager_pin(pager, page, MP_PEEK, MP_PIN_READ, &pin, &got));
    if (got) mp_pager_unpin(pager, page);
    return got;
}

static mp_pager_stats stats_of(mp_pager *pager) {
    mp_pager_stats s;
    mp_pager_get_stats(pager, &s);
    return s;
}

/* Waits for reads that nobody waits for (hints) to land. */
static void settle(mp_pager *pager, uint64_t loads) {
    for (int i = 0; i < 5000 && stats_of(pager).loads < loads; i++) usleep(1000);
}

TEST(reads_right_bytes_at_their_phase) {
    pages p;
    pages_open(&p, 40, 5000, 5);
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0.3);
    mp_pager *pager = NULL;
    REQUIRE(mp_pager_open(&c, 2, &pager) == 0);
    for (int round = 0; round < 3; round++)
        for (mp_page i = 0; i < p.n; i++) {
            mp_pin pin;
            bool got = false;
            CHECK_OK(mp_pager_pin(pager, i, MP_MUST, MP_PIN_READ, &pin, &got));
            CHECK(got && pages_right(&p, i, 0, pin.slice));
            for (int s = 0; s < 3; s++) CHECK_EQ((uintptr_t)pin.slice[s] % 512, p.desc[i].slice[s].offset % 512);
            mp_pager_unpin(pager, i);
        }
    CHECK(stats_of(pager).evictions > 0);
    CHECK_EQ(stats_of(pager).loads, stats_of(pager).evictions + stats_of(pager).resident);
    mp_pager_close(&pager);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* Budgets from the least to all and beyond: charged never more than allowed, all pages stay when all is given. */
TEST(keeps_every_budget) {
    pages p;
    pages_open(&p, 60, 9000, 4);
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 1);
    mp_pager_cost cost;
    CHECK_OK(mp_pager_price(&c, 3, &cost));
    CHECK(cost.least_bytes < cost.all_bytes);
    for (int i = 0; i <= 10; i++) {
        c.budget_bytes = cost.least_bytes + (cost.all_bytes - cost.least_bytes) * (uint64_t)i / 10 + (i == 10 ? 0 : 123);
        mp_pager *pager = NULL;
        CHECK_OK(mp_pager_open(&c, 3, &pager));
        if (!pager) continue;
        CHECK(stats_of(pager).slot_bytes <= c.budget_bytes);
        CHECK_EQ(mp_ledger_get(ledger, MP_TIER_RAM, MP_OWN_EXPERTS).used_bytes, stats_of(pager).slot_bytes);
        for (mp_page j = 0; j < p.n; j++) use(pager, &p, j);
        CHECK((stats_of(pager).slots == p.n) == (i == 10));
        CHECK((stats_of(pager).resident == p.n) == (i == 10));
        mp_pager_close(&pager);
    }
    c.budget_bytes = cost.least_bytes - 1;
    mp_pager *none = (mp_pager *)1;
    CHECK_EQ(mp_pager_open(&c, 3, &none), MP_E_BUDGET);
    CHECK(none == NULL && strstr(mp_err_text(), "least"));
    mp_ledger_close(&ledger);
    pages_close(&p);
}

TEST(dry_charges_the_same) {
    pages p;
    pages_open(&p, 300, 30000, 7);
    for (int i = 0; i < 6; i++) {
        mp_ledger *dry = open_ledger(true), *wet = open_ledger(false);
        mp_pager_config c = pages_config(&p, wet, 0.1 + 0.18 * i), d = c;
        d.ledger = dry;
        mp_pager *a = NULL, *b = NULL;
        CHECK_OK(mp_pager_open(&c, 8, &a));
        CHECK_OK(mp_pager_open(&d, 8, &b));
        for (int o = 0; o < MP_OWN_COUNT; o++) {
            mp_ledger_line x = mp_ledger_get(wet, MP_TIER_RAM, (mp_owner)o), y = mp_ledger_get(dry, MP_TIER_RAM, (mp_owner)o);
            CHECK_EQ(x.used_bytes, y.used_bytes);
            CHECK_EQ(x.peak_bytes, y.peak_bytes);
        }
        CHECK_EQ(stats_of(a).slots, stats_of(b).slots);
        CHECK(stats_of(a).slots > 0);
        mp_pager_close(&a);
        mp_pager_close(&b);
        mp_ledger_close(&dry);
        mp_ledger_close(&wet);
    }
    pages_close(&p);
}

/* Classes: phases of equal pages make one class; the waste of slots stays small for records of 2.65 MB. */
TEST(slots_waste_little) {
    enum { N = 1000, SLICE = 884736 };
    static mp_page_desc desc[N];
    pages p;
    pages_open(&p, 1, 100, 0);
    p.align = 4096;
    uint64_t at = 12345 * 32, useful = 0;
    for (int i = 0; i < N; i++)
        for (int s = 0; s < 3; s++) {
            desc[i].slice[s] = (mp_slice){.offset = at, .bytes = SLICE};
            at += SLICE + 32;
            useful += SLICE;
        }
    mp_pager_config c = {.pages = N, .desc = desc, .source = pages_source(&p, false)};
    mp_pager_cost cost;
    CHECK_OK(mp_pager_price(&c, 8, &cost));
    CHECK((double)cost.all_bytes < 1.03 * (double)useful);
    CHECK(cost.least_bytes >= 8u * 3 * SLICE && cost.least_bytes < 10u * 3 * SLICE + (2u << 20));
    pages_close(&p);
}

/* Pages of 40 very different sizes still make a pager that works. */
TEST(many_sizes_few_classes) {
    enum { N = 40 };
    pages p;
    pages_open(&p, N, 100, 0);
    uint64_t at = 77;
    for (uint32_t i = 0; i < N; i++)
        for (int s = 0; s < 3; s++) {
            p.desc[i].slice[s] = (mp_slice){.offset = at, .bytes = s == 1 && i % 3 ? 0 : 300 + i * i * 97};
            at += p.desc[i].slice[s].bytes;
        }
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0.5);
    mp_pager *pager = NULL;
    CHECK_OK(mp_pager_open(&c, 1, &pager));
    for (int round = 0; pager && round < 2; round++)
        for (mp_page i = 0; i < N; i++) use(pager, &p, i);
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* ---- counters and the order of eviction, against a naive model ---- */

typedef struct naive {
    mp_page  order[256]; /* resident pages, least recently used first */
    uint32_t n, slots;
} naive;

static int naive_find(const naive *m, mp_page page) {
    for (uint32_t i = 0; i < m->n; i++)
        if (m->order[i] == page) return (int)i;
    return -1;
}

static void naive_drop(naive *m, uint32_t at) {
    memmove(m->order + at, m->order + at + 1, (--m->n - at) * sizeof *m->order);
}

static bool naive_use(naive *m, mp_page page) {
    int at = naive_find(m, page);
    if (at >= 0) naive_drop(m, (uint32_t)at);
    m->order[m->n++] = page;
    return at >= 0;
}

TEST(evicts_as_a_naive_lru) {
    pages p;
    pages_open(&p, 100, 2000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0.3);
    mp_pager *pager = NULL;
    REQUIRE(mp_pager_open(&c, 1, &pager) == 0);
    naive m = {.slots = stats_of(pager).slots};
    CHECK(m.slots > 10 && m.slots < 90);
    uint64_t accesses = 0, hits = 0, loads = 0, bytes = 0;
    srand(7);
    for (int round = 0; round < 300; round++) {
        mp_page set[8];
        uint32_t n = 0;
        while (n < 8) { /* a set without twins, skewed so that some are hits */
            mp_page page = (mp_page)(rand() % 100) * (mp_page)(rand() % 100) / 100;
            bool twin = false;
            for (uint32_t i = 0; i < n; i++) twin |= set[i] == page;
            if (!twin) set[n++] = page;
        }
        for (uint32_t i = 0; i < n; i++) {
            accesses++;
            if (naive_use(&m, set[i])) {
                hits++;
                continue;
            }
            loads++;
            for (int s = 0; s < 3; s++) bytes += p.desc[set[i]].slice[s].bytes;
        }
        while (m.n > m.slots) naive_drop(&m, 0);
        CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = set, .n = n}));
        for (uint32_t i = 0; i < n; i++) use(pager, &p, set[i]);
        mp_pager_stats s = stats_of(pager);
        CHECK_EQ(s.accesses, accesses);
        CHECK_EQ(s.hits, hits);
        CHECK_EQ(s.misses, accesses - hits);
        CHECK_EQ(s.loads, loads);
        CHECK_EQ(s.load_bytes, bytes);
        CHECK_EQ(s.resident, m.n);
    }
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < m.n; i++) wrong += !resident(pager, m.order[i]);
    CHECK_EQ(wrong, 0);
    CHECK(hits > 100 && loads > 100);
    mp_pager_reset_stats(pager);
    CHECK_EQ(stats_of(pager).accesses + stats_of(pager).loads + stats_of(pager).hits, 0);
    CHECK_EQ(stats_of(pager).resident, m.n);
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* ---- sets ---- */

TEST(a_set_larger_than_the_slots) {
    pages p;
    pages_open(&p, 50, 3000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    for (uint32_t slots = 1; slots <= 7; slots += 2) {
        mp_pager_config c = pages_config(&p, ledger, 0);
        mp_pager_cost cost;
        mp_pager *pager = NULL;
        CHECK_OK(mp_pager_price(&c, slots, &cost));
        c.budget_bytes = cost.least_bytes;
        REQUIRE(mp_pager_open(&c, slots, &pager) == 0);
        for (int round = 0; round < 3; round++) {
            mp_page left[50];
            uint32_t n = 50, which = 0;
            for (uint32_t i = 0; i < n; i++) left[i] = (i * 7 + (uint32_t)round) % 50;
            CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = left, .n = n}));
            while (n) {
                CHECK_OK(mp_pager_wait_any(pager, left, n, &which));
                use(pager, &p, left[which]);
                left[which] = left[--n];
            }
            CHECK_EQ(stats_of(pager).accesses, 50u * (unsigned)(round + 1));
        }
        CHECK(stats_of(pager).loads <= 150); /* nothing is read twice for one announcement */
        mp_pager_close(&pager);
    }
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* Announced and resident pages stay while the misses of the same set come in. */
TEST(a_set_does_not_evict_itself) {
    pages p;
    pages_open(&p, 20, 3000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0);
    mp_pager_cost cost;
    mp_pager *pager = NULL;
    CHECK_OK(mp_pager_price(&c, 8, &cost));
    c.budget_bytes = cost.least_bytes;
    REQUIRE(mp_pager_open(&c, 8, &pager) == 0);
    for (mp_page i = 0; i < 8; i++) use(pager, &p, i); /* 0 is the oldest */
    mp_page set[] = {10, 11, 12, 13, 0, 1, 2, 3};
    CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = set, .n = 8}));
    CHECK_EQ(stats_of(pager).hits, 4);
    for (int i = 0; i < 8; i++) use(pager, &p, set[i]);
    CHECK_EQ(stats_of(pager).loads, 12);
    for (mp_page i = 4; i < 8; i++) CHECK(!resident(pager, i));
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

TEST(pinning_out_of_order_and_too_much) {
    pages p;
    pages_open(&p, 20, 3000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0);
    mp_pager_cost cost;
    mp_pager *pager = NULL;
    CHECK_OK(mp_pager_price(&c, 3, &cost));
    c.budget_bytes = cost.least_bytes;
    REQUIRE(mp_pager_open(&c, 3, &pager) == 0);
    mp_page set[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = set, .n = 10}));
    for (int i = 9; i >= 0; i--) use(pager, &p, set[i]);
    mp_pin pin;
    bool got;
    unsigned char *first = NULL;
    for (mp_page i = 0; i < 3; i++) {
        CHECK_OK(mp_pager_pin(pager, i, MP_MUST, MP_PIN_READ, &pin, &got));
        if (i == 0) first = pin.slice[0];
    }
    CHECK_EQ(mp_pager_pin(pager, 3, MP_MUST, MP_PIN_READ, &pin, &got), MP_E_BUDGET);
    CHECK(!got && pin.slice[0] == NULL);
    uint32_t which;
    CHECK_EQ(mp_pager_wait_any(pager, set + 3, 4, &which), MP_E_BUDGET);
    CHECK_OK(mp_pager_pin(pager, 3, MP_PEEK, MP_PIN_READ, &pin, &got));
    CHECK(!got);
    CHECK_OK(mp_pager_pin(pager, 3, MP_EASY, MP_PIN_READ, &pin, &got));
    CHECK(!got);
    CHECK_OK(mp_pager_pin(pager, 0, MP_MUST, MP_PIN_READ, &pin, &got)); /* a second pin of the same page */
    CHECK(got && pin.slice[0] == first);
    for (mp_page i = 0; i < 3; i++) mp_pager_unpin(pager, i);
    use(pager, &p, 3);
    CHECK(resident(pager, 0)); /* one of its two pins is left */
    mp_pager_unpin(pager, 0);
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

TEST(easy_reads_into_a_free_slot) {
    pages p;
    pages_open(&p, 10, 3000, 0);
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0.5);
    mp_pager *pager = NULL;
    REQUIRE(mp_pager_open(&c, 1, &pager) == 0);
    uint32_t slots = stats_of(pager).slots, taken = 0;
    usleep(20000); /* the readers come to rest; when they do not in time, EASY may say no and the test below still holds */
    for (mp_page i = 0; i < 10; i++) {
        mp_pin pin;
        bool got;
        CHECK_OK(mp_pager_pin(pager, i, MP_EASY, MP_PIN_READ, &pin, &got));
        if (!got) continue;
        CHECK(pages_right(&p, i, 0, pin.slice));
        mp_pager_unpin(pager, i);
        taken++;
    }
    CHECK(taken > 0 && taken <= slots);
    CHECK_EQ(stats_of(pager).evictions, 0);
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* ---- what the policy is told ---- */

static mp_policy real_policy;
static uint32_t evicted_n[40];

static void count_evicted(void *self, uint32_t page) {
    evicted_n[page]++;
    real_policy.evicted(self, page);
}

/* A page that was announced and given up on before there was a slot: the policy, which took it for held since then, hears that it is not. */
TEST(a_page_that_never_came_is_told_to_the_policy) {
    enum { GIVEN_UP = 64 };
    pages p;
    pages_open(&p, 40, 3000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0);
    mp_pager_cost cost;
    mp_pager *pager = NULL;
    mp_pin pin;
    bool got;
    mp_page page = 5;
    CHECK_OK(mp_pager_price(&c, 2, &cost));
    c.budget_bytes = cost.least_bytes;
    CHECK_OK(mp_policy_adaptive(ledger, &(mp_policy_config){.pages = 40}, &real_policy));
    c.policy = real_policy;
    c.policy.evicted = count_evicted;
    memset(evicted_n, 0, sizeof evicted_n);
    REQUIRE(mp_pager_open(&c, 2, &pager) == 0);
    for (mp_page i = 0; i < 2; i++) CHECK_OK(mp_pager_pin(pager, i, MP_MUST, MP_PIN_READ, &pin, &got));
    CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = &page, .n = 1}));
    for (int i = 0; i < GIVEN_UP; i++) CHECK_OK(mp_pager_want(pager, &(mp_access){.n = 0}));
    CHECK_EQ(evicted_n[5], 0);
    for (mp_page i = 0; i < 2; i++) mp_pager_unpin(pager, i);
    CHECK_EQ(evicted_n[5], 1);
    CHECK_EQ(evicted_n[0] + evicted_n[1], 0);
    CHECK_EQ(stats_of(pager).loads, 2);
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* ---- hints, filling, closing ---- */

TEST(hints_load_and_demand_goes_first) {
    pages p;
    pages_open(&p, 40, 3000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 1);
    c.readers = 1;
    c.group_pages = 20;
    mp_pager *pager = NULL;
    REQUIRE(mp_pager_open(&c, 1, &pager) == 0);
    mp_page hints[] = {1, 2, 3, 4, 5, 6}, demand[] = {20, 21, 22, 23}, next[] = {1, 2, 7};
    pthread_mutex_lock(&p.gate);
    mp_pager_hint(pager, hints, 6);
    for (int i = 0; i < 5000 && !p.inside; i++) usleep(1000); /* the reader holds the first hint */
    CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = demand, .n = 4}));
    CHECK_EQ(stats_of(pager).hits, 0);
    pthread_mutex_unlock(&p.gate);
    settle(pager, 10);
    mp_pager_stats s = stats_of(pager);
    CHECK_EQ(s.loads, 10);
    CHECK_EQ(s.hints, 6);
    CHECK_EQ(s.hints_loaded, 6);
    CHECK_EQ(s.hints_issued, 6);
    CHECK_EQ(p.order[0], 1);
    for (int i = 0; i < 4; i++) CHECK_EQ(p.order[1 + i], demand[i]);
    CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = next, .n = 3}));
    s = stats_of(pager);
    CHECK_EQ(s.hits, 2);
    CHECK_EQ(s.hints_used, 2);
    CHECK_EQ(s.hints_late, 0);
    for (mp_page i = 1; i <= 6; i++) CHECK(resident(pager, i));
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* When a group is announced, hints of it that did not begin are forgotten; one that was read stays, and counts as wasted when it goes unused. */
TEST(hints_of_a_group_end_with_it) {
    pages p;
    pages_open(&p, 40, 3000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0);
    mp_pager_cost cost;
    mp_pager *pager = NULL;
    c.readers = 1;
    c.group_pages = 20;
    CHECK_OK(mp_pager_price(&c, 8, &cost));
    c.budget_bytes = cost.least_bytes;
    REQUIRE(mp_pager_open(&c, 8, &pager) == 0);
    mp_page hints[] = {1, 2, 3, 4}, set[] = {9};
    pthread_mutex_lock(&p.gate);
    mp_pager_hint(pager, hints, 4);
    for (int i = 0; i < 5000 && !p.inside; i++) usleep(1000);
    CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = set, .n = 1}));
    pthread_mutex_unlock(&p.gate);
    settle(pager, 2);
    usleep(5000);
    mp_pager_stats s = stats_of(pager);
    CHECK_EQ(s.loads, 2);
    CHECK_EQ(s.hints_issued, 1);
    CHECK_EQ(s.hints_cancelled, 3);
    CHECK_EQ(s.hints_wasted_bytes, 0);
    for (mp_page i = 20; i < 40; i++) use(pager, &p, i);
    s = stats_of(pager);
    CHECK(!resident(pager, 1));
    CHECK_EQ(s.hints_wasted_bytes, p.desc[1].slice[0].bytes + p.desc[1].slice[1].bytes + p.desc[1].slice[2].bytes);
    CHECK_EQ(s.hints_used, 0);
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* Hints of later calls push out the oldest, which count as cancelled, as those do for which there is no room. */
TEST(every_hint_is_accounted_for) {
    pages p;
    pages_open(&p, 600, 300, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 1);
    mp_pager *pager = NULL;
    c.readers = 1;
    REQUIRE(mp_pager_open(&c, 1, &pager) == 0);
    pthread_mutex_lock(&p.gate);
    mp_page first = 599;
    mp_pager_hint(pager, &first, 1);
    for (int i = 0; i < 5000 && !p.inside; i++) usleep(1000); /* the only reader is busy */
    for (mp_page i = 0; i < 300; i++) mp_pager_hint(pager, &i, 1);
    CHECK_EQ(stats_of(pager).hints_cancelled, 300 - 256);
    pthread_mutex_unlock(&p.gate);
    settle(pager, 150);
    mp_pager_stats s = stats_of(pager);
    CHECK_EQ(s.hints_issued, 150);
    CHECK_EQ(p.order[1], 300 - 256); /* the oldest that is left */
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

typedef struct asking {
    mp_pager   *pager;
    mp_page     page;
    mp_err      err;
    atomic_bool asks;
} asking;

static void *ask_for(void *arg) {
    asking *a = arg;
    mp_pin pin;
    bool got;
    a->asks = true;
    a->err = mp_pager_pin(a->pager, a->page, MP_MUST, MP_PIN_READ, &pin, &got);
    if (!a->err) mp_pager_unpin(a->pager, a->page);
    return NULL;
}

/* A request for a page whose read a hint began and which then fails, so many times. */
static mp_err ask_while_it_fails(int fails, unsigned *loads) {
    pages p;
    pages_open(&p, 20, 3000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 1);
    asking a = {.page = 3};
    pthread_t thread;
    c.readers = 2;
    CHECK_OK(mp_pager_open(&c, 1, &a.pager));
    pthread_mutex_lock(&p.gate);
    mp_pager_hint(a.pager, &a.page, 1);
    for (int i = 0; i < 5000 && p.inside < 2; i++) usleep(1000); /* two of its slices are being read */
    CHECK(!pthread_create(&thread, NULL, ask_for, &a));
    while (!a.asks) usleep(1000);
    usleep(50000); /* it waits by now; if not, nothing is tested, and nothing is wrong */
    p.fail_loads = fails;
    pthread_mutex_unlock(&p.gate);
    pthread_join(thread, NULL);
    *loads = p.loads[a.page];
    mp_pager_close(&a.pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
    return a.err;
}

TEST(the_error_of_a_read_from_before_is_not_the_requests) {
    unsigned loads;
    CHECK_OK(ask_while_it_fails(1, &loads));
    CHECK(loads >= 3);
    CHECK_OK(ask_while_it_fails(2, &loads));
    CHECK_EQ(ask_while_it_fails(1000, &loads), MP_E_FAILED); /* for good: it is told */
    CHECK_EQ(loads, 0);
}

/* Hints never push out what is announced or pinned, and more of them than there is room for do no harm. */
TEST(hints_respect_what_is_needed) {
    pages p;
    pages_open(&p, 40, 3000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0);
    mp_pager_cost cost;
    mp_pager *pager = NULL;
    CHECK_OK(mp_pager_price(&c, 4, &cost));
    c.budget_bytes = cost.least_bytes;
    REQUIRE(mp_pager_open(&c, 4, &pager) == 0);
    mp_page set[] = {0, 1, 2, 3}, hints[36];
    for (uint32_t i = 0; i < 36; i++) hints[i] = 4 + i;
    CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = set, .n = 4}));
    mp_pin pin;
    bool got;
    for (int i = 0; i < 4; i++) CHECK_OK(mp_pager_pin(pager, set[i], MP_MUST, MP_PIN_READ, &pin, &got));
    mp_pager_hint(pager, hints, 36);
    usleep(20000);
    CHECK_EQ(stats_of(pager).loads, 4);
    for (int i = 0; i < 4; i++) mp_pager_unpin(pager, set[i]);
    for (mp_page i = 0; i < 40; i++) use(pager, &p, i);
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* The floor of an announced set: the larger of reading what is missing, with the last page's own time, and computing what is there. */
TEST(the_bound_of_a_set) {
    pages p;
    pages_open(&p, 8, 3000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 1);
    c.disk_cost = 10;
    mp_pager *pager = NULL;
    REQUIRE(mp_pager_open(&c, 1, &pager) == 0);
    double bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (double)p.desc[i].slice[0].bytes + p.desc[i].slice[1].bytes + p.desc[i].slice[2].bytes;
    for (mp_page i = 0; i < 3; i++) use(pager, &p, i);
    mp_page set[] = {0, 1, 2, 3, 4};
    CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = set, .n = 5}));
    CHECK_NEAR(stats_of(pager).bound_bytes, 10 * (bytes[3] + bytes[4]) + bytes[4], 1e-6);
    for (mp_page i = 0; i < 5; i++) use(pager, &p, i);
    mp_pager_reset_stats(pager);
    CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = set, .n = 5}));
    CHECK_NEAR(stats_of(pager).bound_bytes, bytes[0] + bytes[1] + bytes[2] + bytes[3] + bytes[4], 1e-6);
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* Warming fills free slots in the order of the list, and takes nothing from anybody. */
TEST(warming_fills_free_slots_only) {
    pages p;
    pages_open(&p, 40, 3000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0);
    mp_pager_cost cost;
    mp_pager *pager = NULL;
    CHECK_OK(mp_pager_price(&c, 8, &cost));
    c.budget_bytes = cost.least_bytes;
    c.readers = 1;
    REQUIRE(mp_pager_open(&c, 8, &pager) == 0);
    for (mp_page i = 30; i < 33; i++) use(pager, &p, i);
    mp_page list[] = {31, 5, 6, 7, 8, 9, 10, 11, 12};
    CHECK_OK(mp_pager_warm(pager, list, 9));
    settle(pager, 8);
    usleep(5000);
    CHECK_EQ(stats_of(pager).loads, 8);
    CHECK_EQ(stats_of(pager).evictions, 0);
    CHECK_EQ(stats_of(pager).hints_issued, 0);
    for (mp_page i = 5; i < 10; i++) CHECK(resident(pager, i));
    for (mp_page i = 30; i < 33; i++) CHECK(resident(pager, i));
    CHECK_OK(mp_pager_warm(pager, NULL, 0));
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* A kept page outlives any number of others; half of the slots may be kept. */
TEST(kept_pages_stay) {
    pages p;
    pages_open(&p, 40, 3000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0);
    mp_pager_cost cost;
    mp_pager *pager = NULL;
    CHECK_OK(mp_pager_price(&c, 8, &cost));
    c.budget_bytes = cost.least_bytes;
    REQUIRE(mp_pager_open(&c, 8, &pager) == 0);
    for (mp_page i = 0; i < 4; i++) CHECK_OK(mp_pager_keep(pager, i, true));
    CHECK_OK(mp_pager_keep(pager, 3, true));
    CHECK_EQ(mp_pager_keep(pager, 4, true), MP_E_BUDGET);
    settle(pager, 2); /* hints hold a quarter of the slots at most; the others come when they are used */
    for (int round = 0; round < 3; round++)
        for (mp_page i = 0; i < 40; i++) use(pager, &p, i);
    for (mp_page i = 0; i < 4; i++) CHECK(resident(pager, i));
    CHECK_OK(mp_pager_keep(pager, 0, false));
    CHECK_OK(mp_pager_keep(pager, 4, true));
    for (mp_page i = 4; i < 40; i++) use(pager, &p, i);
    CHECK(!resident(pager, 0) && resident(pager, 4));
    CHECK_OK(mp_pager_resize(pager, cost.least_bytes)); /* nothing changes */
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* A budget that shrank may leave more kept pages than slots may be kept: then what is announced still comes, before anybody waits for it. */
TEST(kept_pages_give_way_in_a_pager_that_shrank) {
    pages p;
    pages_open(&p, 40, 3000, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0);
    mp_pager_cost large, small;
    mp_pager *pager = NULL;
    CHECK_OK(mp_pager_price(&c, 16, &large));
    CHECK_OK(mp_pager_price(&c, 4, &small));
    c.budget_bytes = large.least_bytes;
    REQUIRE(mp_pager_open(&c, 4, &pager) == 0);
    uint32_t most = stats_of(pager).slots / 2;
    for (mp_page i = 0; i < most; i++) {
        use(pager, &p, i);
        CHECK_OK(mp_pager_keep(pager, i, true));
    }
    CHECK_OK(mp_pager_resize(pager, small.least_bytes));
    CHECK(stats_of(pager).slots <= most);
    for (mp_page i = 0; i < most; i++) use(pager, &p, i);
    mp_page set[] = {30, 31};
    uint64_t loads = stats_of(pager).loads;
    CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = set, .n = 2}));
    settle(pager, loads + 2);
    CHECK_EQ(stats_of(pager).loads, loads + 2);
    CHECK_OK(mp_pager_resize(pager, large.least_bytes));
    for (mp_page i = 0; i < most; i++) use(pager, &p, i);
    for (mp_page i = most; i < 40; i++) use(pager, &p, i);
    for (mp_page i = 0; i < most; i++) CHECK(resident(pager, i)); /* as before */
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* More hints than are remembered: the likeliest, which come first, are not the ones to be forgotten. */
TEST(of_too_many_hints_the_first_count) {
    pages p;
    pages_open(&p, 600, 300, 0);
    p.align = 1;
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 1);
    mp_page hints[500];
    mp_pager *pager = NULL;
    c.readers = 1;
    REQUIRE(mp_pager_open(&c, 1, &pager) == 0);
    for (uint32_t i = 0; i < 500; i++) hints[i] = 599 - i;
    mp_pager_hint(pager, hints, 500);
    settle(pager, 150); /* a quarter of the slots */
    CHECK_EQ(stats_of(pager).loads, 150);
    CHECK_EQ(p.order[0], 599);
    CHECK_EQ(stats_of(pager).hints_cancelled, 500 - 256);
    for (uint32_t i = 0; i < 150; i++) CHECK(resident(pager, hints[i]));
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

static int count_progress(void *user, uint64_t done, uint64_t total) {
    uint64_t *last = user;
    CHECK(done > *last && done <= total);
    *last = done;
    return 0;
}

static int stop_soon(void *user, uint64_t done, uint64_t total) {
    (void)done, (void)total;
    return ++*(int *)user == 5;
}

TEST(fill_loads_until_full) {
    pages p;
    pages_open(&p, 60, 3000, 5);
    mp_ledger *ledger = open_ledger(false);
    for (int all = 0; all < 2; all++) {
        mp_pager_config c = pages_config(&p, ledger, all ? 1 : 0.4);
        mp_pager *pager = NULL;
        uint64_t last = 0;
        REQUIRE(mp_pager_open(&c, 1, &pager) == 0);
        CHECK_OK(mp_pager_fill(pager, count_progress, &last));
        mp_pager_stats s = stats_of(pager);
        CHECK_EQ(s.resident, s.slots);
        CHECK_EQ(s.loads, s.slots);
        CHECK_EQ(s.evictions, 0);
        CHECK((s.slots == p.n) == (all == 1));
        mp_pager_close(&pager);
        int calls = 0;
        REQUIRE(mp_pager_open(&c, 1, &pager) == 0);
        CHECK_EQ(mp_pager_fill(pager, stop_soon, &calls), MP_E_CANCELLED);
        CHECK(stats_of(pager).loads < 60 || calls == 5);
        mp_pager_close(&pager);
    }
    mp_ledger_close(&ledger);
    pages_close(&p);
}

TEST(closes_with_reads_in_flight) {
    pages p;
    pages_open(&p, 40, 3000, 0);
    p.slow_us = 2000;
    mp_ledger *ledger = open_ledger(false);
    for (int i = 0; i < 5; i++) {
        mp_pager_config c = pages_config(&p, ledger, 0.5);
        mp_pager *pager = NULL;
        mp_page set[40];
        for (uint32_t j = 0; j < 40; j++) set[j] = j;
        REQUIRE(mp_pager_open(&c, 1, &pager) == 0);
        mp_pager_hint(pager, set + 20, 20);
        CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = set, .n = 20}));
        usleep((useconds_t)i * 500);
        mp_pager_close(&pager);
        CHECK_EQ(p.inside, 0);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    }
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* ---- resizing ---- */

TEST(resizes_both_ways) {
    pages p;
    pages_open(&p, 120, 200000, 6); /* 72 MB: several regions */
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 1);
    mp_pager_cost cost;
    mp_pager *pager = NULL;
    CHECK_OK(mp_pager_price(&c, 2, &cost));
    REQUIRE(mp_pager_open(&c, 2, &pager) == 0);
    static const double part[] = {1, 0.7, 0.3, 0, 0.25, 0.9, 0.5, 1};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        uint64_t budget = cost.least_bytes + (uint64_t)(part[i] * (double)(cost.all_bytes - cost.least_bytes));
        mp_pager_stats before = stats_of(pager);
        CHECK_OK(mp_pager_resize(pager, budget));
        mp_pager_stats s = stats_of(pager);
        CHECK(s.slot_bytes <= budget);
        CHECK(s.slots >= 3);
        CHECK_EQ(mp_ledger_get(ledger, MP_TIER_RAM, MP_OWN_EXPERTS).used_bytes, s.slot_bytes);
        if (s.slots >= before.slots) CHECK_EQ(s.resident, before.resident); /* growing loses nothing */
        for (mp_page j = 0; j < p.n; j++) use(pager, &p, j);
    }
    CHECK_EQ(mp_pager_resize(pager, cost.least_bytes - 1), MP_E_BUDGET);
    CHECK_EQ(stats_of(pager).slot_bytes <= cost.all_bytes, 1);
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* Shrinking keeps the pages that were used last, although they lie in the slots that go. */
TEST(shrinking_keeps_the_warm_pages) {
    pages p;
    pages_open(&p, 200, 200000, 0); /* 120 MB */
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 1);
    mp_pager *pager = NULL;
    REQUIRE(mp_pager_open(&c, 2, &pager) == 0);
    p.align = 1;
    for (mp_page i = 0; i < p.n; i++) use(pager, &p, i);
    CHECK_OK(mp_pager_resize(pager, c.budget_bytes / 2));
    uint32_t left = stats_of(pager).resident;
    CHECK(left > 20 && left <= 100);
    uint32_t wrong = 0;
    for (mp_page i = p.n - left; i < p.n; i++) {
        wrong += !resident(pager, i);
        use(pager, &p, i);
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(stats_of(pager).loads, 200);
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

/* ---- errors ---- */

TEST(a_failed_read_reaches_the_one_who_waits) {
    pages p;
    pages_open(&p, 20, 3000, 0);
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 0.5);
    mp_pager *pager = NULL;
    REQUIRE(mp_pager_open(&c, 1, &pager) == 0);
    mp_pin pin;
    bool got;
    p.fail_loads = 3;
    CHECK_EQ(mp_pager_pin(pager, 4, MP_MUST, MP_PIN_READ, &pin, &got), MP_E_FAILED);
    CHECK(!got && strstr(mp_err_text(), "page 4") && strstr(mp_err_text(), "made to fail"));
    p.fail_loads = 0;
    CHECK(!resident(pager, 4));
    CHECK_EQ(stats_of(pager).loads, 0);
    use(pager, &p, 4); /* may be tried again */
    use(pager, &p, 5);
    CHECK_EQ(stats_of(pager).resident, 2);
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

TEST(refuses_bad_configurations) {
    pages p;
    pages_open(&p, 5, 3000, 0);
    mp_ledger *ledger = open_ledger(false);
    mp_pager_config c = pages_config(&p, ledger, 1);
    mp_pager *pager = NULL;
    mp_pager_config bad = c;
    bad.source.align = 513;
    CHECK_EQ(mp_pager_open(&bad, 1, &pager), MP_E_USAGE);
    bad = c;
    bad.source.load = NULL;
    CHECK_EQ(mp_pager_open(&bad, 1, &pager), MP_E_USAGE);
    p.desc[2] = (mp_page_desc){0};
    CHECK_EQ(mp_pager_open(&c, 1, &pager), MP_E_USAGE);
    mp_pager_close(&pager);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

int main(void) {
    RUN(reads_right_bytes_at_their_phase);
    RUN(keeps_every_budget);
    RUN(dry_charges_the_same);
    RUN(slots_waste_little);
    RUN(many_sizes_few_classes);
    RUN(evicts_as_a_naive_lru);
    RUN(a_set_larger_than_the_slots);
    RUN(a_set_does_not_evict_itself);
    RUN(pinning_out_of_order_and_too_much);
    RUN(easy_reads_into_a_free_slot);
    RUN(a_page_that_never_came_is_told_to_the_policy);
    RUN(hints_load_and_demand_goes_first);
    RUN(hints_of_a_group_end_with_it);
    RUN(every_hint_is_accounted_for);
    RUN(the_error_of_a_read_from_before_is_not_the_requests);
    RUN(hints_respect_what_is_needed);
    RUN(the_bound_of_a_set);
    RUN(warming_fills_free_slots_only);
    RUN(kept_pages_stay);
    RUN(kept_pages_give_way_in_a_pager_that_shrank);
    RUN(of_too_many_hints_the_first_count);
    RUN(fill_loads_until_full);
    RUN(closes_with_reads_in_flight);
    RUN(resizes_both_ways);
    RUN(shrinking_keeps_the_warm_pages);
    RUN(a_failed_read_reaches_the_one_who_waits);
    RUN(refuses_bad_configurations);
    return test_done();
}
