/* Pages that are written: stored before their slot goes, kept when that fails, right when they come back. */
#include "test.h"

#include "base/os.h"
#include "support/pager_pages.h"

typedef struct bench {
    pages      p;
    mp_ledger *ledger;
    mp_pager  *pager;
} bench;

/* slots: of one class. */
static bool bench_open(bench *b, uint32_t n, uint32_t slots) {
    mp_pager_cost cost;
    pages_open(&b->p, n, 2500, 0);
    b->p.align = 1;
    if (mp_ledger_open(false, &b->ledger)) return false;
    mp_pager_config c = pages_config(&b->p, b->ledger, 0);
    c.source = pages_source(&b->p, true);
    CHECK_OK(mp_pager_price(&c, slots, &cost));
    c.budget_bytes = cost.least_bytes;
    CHECK_OK(mp_pager_open(&c, slots, &b->pager));
    return b->pager != NULL;
}

static void bench_close(bench *b) {
    mp_pager_close(&b->pager);
    CHECK_EQ(b->p.bad_stores, 0);
    CHECK_EQ(mp_ledger_used(b->ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&b->ledger);
    pages_close(&b->p);
}

static mp_err put(bench *b, mp_page page, uint32_t generation) {
    mp_pin pin;
    bool got;
    mp_err err = mp_pager_pin(b->pager, page, MP_MUST, MP_PIN_READ | MP_PIN_WRITE, &pin, &got);
    if (err) return err;
    pages_write(&b->p, page, generation, pin.slice);
    mp_pager_unpin(b->pager, page);
    return MP_OK;
}

static mp_err get(bench *b, mp_page page, uint32_t generation) {
    mp_pin pin;
    bool got;
    mp_err err = mp_pager_pin(b->pager, page, MP_MUST, MP_PIN_READ, &pin, &got);
    if (err) return err;
    CHECK(pages_right(&b->p, page, generation, pin.slice));
    mp_pager_unpin(b->pager, page);
    return MP_OK;
}

static mp_pager_stats stats_of(bench *b) {
    mp_pager_stats s;
    mp_pager_get_stats(b->pager, &s);
    return s;
}

TEST(gives_back_what_was_written) {
    bench b;
    REQUIRE(bench_open(&b, 30, 4));
    for (uint32_t g = 1; g <= 5; g++) {
        for (mp_page i = 0; i < 30; i++) CHECK_OK(put(&b, i, g));
        for (mp_page i = 0; i < 30; i++) CHECK_OK(get(&b, i, g));
    }
    CHECK(stats_of(&b).stores >= 5 * 26); /* what fell out was stored; clean pages were not stored again */
    CHECK(stats_of(&b).stores <= 5 * 30);
    bench_close(&b);
}

TEST(flush_stores_each_dirty_page_once) {
    bench b;
    REQUIRE(bench_open(&b, 10, 8));
    for (mp_page i = 0; i < 6; i++) CHECK_OK(put(&b, i, 3));
    CHECK_OK(get(&b, 7, 0));
    CHECK_OK(mp_pager_flush(b.pager));
    CHECK_EQ(stats_of(&b).stores, 6);
    for (mp_page i = 0; i < 6; i++) CHECK_EQ(b.p.generation[i], 3);
    CHECK_OK(mp_pager_flush(b.pager));
    CHECK_EQ(stats_of(&b).stores, 6);
    CHECK_OK(put(&b, 2, 4));
    CHECK_OK(mp_pager_flush(b.pager));
    CHECK_EQ(stats_of(&b).stores, 7);
    CHECK_EQ(b.p.generation[2], 4);
    bench_close(&b);
}

TEST(a_failed_store_keeps_the_page) {
    bench b;
    REQUIRE(bench_open(&b, 20, 3));
    for (mp_page i = 0; i < 3; i++) CHECK_OK(put(&b, i, 9));
    b.p.fail_stores = 1; /* the oldest cannot go: the next one does */
    CHECK_OK(get(&b, 10, 0));
    CHECK_EQ(b.p.fail_stores, 0);
    CHECK_EQ(b.p.generation[0], 0);
    CHECK_OK(get(&b, 0, 9)); /* it is still there with what was written */
    CHECK_EQ(b.p.loads[0], 3);
    b.p.fail_stores = 1000;  /* nothing dirty can go */
    for (mp_page i = 0; i < 3; i++) (void)put(&b, i, 11);
    mp_err err = MP_OK;
    for (mp_page i = 12; i < 18 && !err; i++) err = put(&b, i, 1);
    CHECK_EQ(err, MP_E_FAILED);
    CHECK(strstr(mp_err_text(), "store was made to fail") != NULL);
    CHECK_EQ(mp_pager_flush(b.pager), MP_E_FAILED);
    b.p.fail_stores = 0;
    CHECK_OK(mp_pager_flush(b.pager));
    for (mp_page i = 0; i < 20; i++) CHECK_OK(get(&b, i, b.p.generation[i]));
    CHECK_OK(put(&b, 19, 2));
    bench_close(&b);
}

/* While a page is being stored it can be read; who wants to write waits. */
TEST(reads_during_a_store) {
    bench b;
    REQUIRE(bench_open(&b, 10, 2));
    CHECK_OK(put(&b, 0, 1));
    CHECK_OK(put(&b, 1, 1));
    b.p.slow_us = 20000;
    mp_page next = 2;
    CHECK_OK(mp_pager_want(b.pager, &(mp_access){.pages = &next, .n = 1})); /* the store of page 0 begins */
    CHECK_OK(get(&b, 0, 1));
    CHECK_OK(put(&b, 0, 2));
    CHECK_OK(get(&b, 2, 0));
    CHECK_OK(get(&b, 0, 2));
    CHECK_OK(mp_pager_flush(b.pager));
    CHECK_EQ(b.p.generation[0], 2);
    bench_close(&b);
}

TEST(shrinking_stores_what_is_dirty) {
    bench b;
    REQUIRE(bench_open(&b, 400, 300));
    for (mp_page i = 0; i < 300; i++) CHECK_OK(put(&b, i, 5));
    mp_pager_config c = pages_config(&b.p, b.ledger, 0);
    mp_pager_cost cost;
    CHECK_OK(mp_pager_price(&c, 300, &cost));
    CHECK_EQ(mp_pager_resize(b.pager, cost.least_bytes - 1), MP_E_BUDGET);
    mp_pager_close(&b.pager);
    c.source = pages_source(&b.p, true);
    c.budget_bytes = cost.least_bytes;
    CHECK_OK(mp_pager_open(&c, 1, &b.pager));
    for (mp_page i = 0; i < 300; i++) CHECK_OK(put(&b, i, 6));
    CHECK_OK(mp_pager_price(&c, 1, &cost));
    b.p.fail_stores = 100000;
    CHECK_EQ(mp_pager_resize(b.pager, cost.least_bytes), MP_E_FAILED); /* nothing can go: nothing is lost */
    b.p.fail_stores = 0;
    CHECK_OK(get(&b, 299, 6));
    CHECK_OK(mp_pager_flush(b.pager));
    CHECK_OK(mp_pager_resize(b.pager, cost.least_bytes));
    CHECK_EQ(stats_of(&b).slots, 1);
    for (mp_page i = 0; i < 300; i++) CHECK_OK(get(&b, i, 6));
    bench_close(&b);
}

int main(void) {
    RUN(gives_back_what_was_written);
    RUN(flush_stores_each_dirty_page_once);
    RUN(a_failed_store_keeps_the_page);
    RUN(reads_during_a_store);
    RUN(shrinking_stores_what_is_dirty);
    return test_done();
}
