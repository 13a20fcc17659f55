/* The pager, its file source, long reads and the KV pool with every allocation, mapping and read failing once. */
#include "test.h"

#include "fault/wrap.h"
#include "mem/kv.h"
#include "mem/source_file.h"
#include "support/temp_file.h"

enum { PAGES = 24, FILE_BYTES = 1 << 20, MOST = 400 };

static mp_page_desc desc[PAGES];
static mp_file file;
static mp_ledger *ledger;

static void describe(void) {
    for (uint32_t i = 0; i < PAGES; i++)
        for (uint32_t s = 0; s < 3; s++) desc[i].slice[s] = (mp_slice){.offset = s * 300000 + 32 + i * 11104ull, .bytes = 11104 + 64 * s};
}

static mp_pager_config config_of(mp_file_source *source) {
    mp_pager_config c = {.ledger = ledger, .owner = MP_OWN_EXPERTS, .pages = PAGES, .desc = desc, .source = mp_file_source_get(source), .readers = 3};
    mp_pager_cost cost;
    CHECK_OK(mp_pager_price(&c, 2, &cost));
    c.budget_bytes = (cost.least_bytes + cost.all_bytes) / 2;
    return c;
}

static mp_err use(mp_pager *pager, mp_page page) {
    mp_pin pin;
    bool got;
    mp_err err = mp_pager_pin(pager, page, MP_MUST, MP_PIN_READ, &pin, &got);
    if (err) return err;
    for (int s = 0; s < 3; s++) CHECK(temp_right(pin.slice[s], desc[page].slice[s].bytes, desc[page].slice[s].offset));
    mp_pager_unpin(pager, page);
    return MP_OK;
}

/* Opens everything, grows it, uses it. */
static mp_err open_and_grow(void) {
    mp_file_source *source = NULL;
    mp_pager *pager = NULL;
    mp_policy policy;
    mp_err err = mp_file_source_open_files(ledger, &file, 1, &source);
    if (err) return err;
    mp_pager_config c = config_of(source);
    err = mp_policy_open(ledger, &(mp_policy_config){.name = "lru", .pages = PAGES}, &policy);
    c.policy = policy;
    bool ours = !err; /* until a pager took it */
    if (!err) err = mp_pager_open(&c, 2, &pager);
    if (!err) ours = false;
    if (!err) err = mp_pager_resize(pager, c.budget_bytes * 3);
    if (!err) err = use(pager, 3);
    CHECK(!err || mp_err_text()[0]);
    mp_pager_close(&pager);
    if (ours) policy.close(policy.self);
    mp_file_source_close(&source);
    return err;
}

static mp_err kv_life(void) {
    mp_kv_config c = {.layers = 2, .heads = 1, .k_dim = 16, .v_dim = 16, .dtype = MP_F16, .blocks = 6};
    mp_kv_pool *pool = NULL;
    mp_kv *a = NULL, *b = NULL;
    mp_err err = mp_kv_pool_open(ledger, &c, &pool);
    if (!err) err = mp_kv_open(pool, 1000, &a);
    if (!err) err = mp_kv_reserve(a, 300);
    if (!err) mp_kv_advance(a, 300);
    if (!err) err = mp_kv_fork(a, &b);
    if (!err) err = mp_kv_reserve(b, 10);
    mp_kv_close(&b);
    mp_kv_close(&a);
    mp_kv_pool_close(&pool);
    return err;
}

static mp_err read_long(void) {
    static unsigned char memory[FILE_BYTES];
    mp_io_job job = {.file = &file, .dst = memory, .bytes = FILE_BYTES - 100, .offset = 32};
    mp_err err = mp_io_read_all(ledger, &job, 1, 3, NULL, NULL);
    if (!err) CHECK(temp_right(memory, FILE_BYTES - 100, 32));
    return err;
}

/* Walks n until nothing was made to fail; a call that failed must have been noticed, and nothing may leak. */
static void walk(wrap_kind kind, mp_err (*call)(void)) {
    int n = 1;
    for (bool hit = true; hit && n < MOST; n++) {
        wrap_fail(kind, n);
        mp_err err = call();
        hit = wrap_stop();
        CHECK_EQ(err != MP_OK, hit);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    }
    CHECK(n > 2 && n < MOST);
}

TEST(every_allocation_and_mapping) {
    walk(WRAP_MEMORY, open_and_grow);
    walk(WRAP_MAP, open_and_grow);
    walk(WRAP_MEMORY, kv_life);
    walk(WRAP_MAP, kv_life);
    walk(WRAP_MEMORY, read_long);
    walk(WRAP_MAP, read_long);
}

TEST(every_long_read) {
    walk(WRAP_READ, read_long);
    for (int n = 1; n < 12; n++) { /* half a read is no error */
        wrap_fail(WRAP_SHORT, n);
        CHECK_OK(read_long());
        (void)wrap_stop();
    }
    wrap_fail_from(WRAP_SHORT, 1);
    CHECK_OK(read_long());
    (void)wrap_stop();
    wrap_fail_from(WRAP_END, 1);
    CHECK_EQ(read_long(), MP_E_FAILED);
    (void)wrap_stop();
}

/* Reads all pages, each until it comes; errors counts how often one did not. */
static void use_all(mp_pager *pager, int *errors) {
    for (mp_page i = 0; i < PAGES; i++)
        for (int try = 0; try < 3; try++) {
            mp_err err = use(pager, i);
            if (!err) break;
            CHECK_EQ(err, MP_E_FAILED);
            CHECK(mp_err_text()[0] != 0);
            ++*errors;
        }
}

static void pages_under(wrap_kind kind, bool is_error) {
    mp_file_source *source = NULL;
    bool hit = true;
    REQUIRE(mp_file_source_open_files(ledger, &file, 1, &source) == 0);
    mp_pager_config c = config_of(source);
    int n = 1;
    for (; hit && n < MOST; n += 1 + n / 8) {
        mp_pager *pager = NULL;
        int errors = 0;
        REQUIRE(mp_pager_open(&c, 2, &pager) == 0);
        wrap_fail(kind, n);
        use_all(pager, &errors);
        hit = wrap_stop();
        CHECK_EQ(errors, hit && is_error);
        mp_pager_close(&pager);
    }
    CHECK(n > 2 && n < MOST);
    mp_file_source_close(&source);
}

TEST(every_read_of_a_page) {
    pages_under(WRAP_READ, true);
    pages_under(WRAP_SHORT, false);
    pages_under(WRAP_END, false); /* one end where there is none is read over; an end for good is not: below */
}

TEST(a_disk_that_is_gone) {
    mp_file_source *source = NULL;
    mp_pager *pager = NULL;
    int errors = 0;
    REQUIRE(mp_file_source_open_files(ledger, &file, 1, &source) == 0);
    mp_pager_config c = config_of(source);
    REQUIRE(mp_pager_open(&c, 2, &pager) == 0);
    for (wrap_kind kind = WRAP_READ; kind <= WRAP_END; kind = kind == WRAP_READ ? WRAP_END : WRAP_KINDS) {
        errors = 0;
        wrap_fail_from(kind, 1);
        use_all(pager, &errors);
        CHECK(wrap_stop());
        CHECK_EQ(errors, 3 * PAGES);
    }
    errors = 0;
    use_all(pager, &errors); /* and back again */
    CHECK_EQ(errors, 0);
    mp_pager_close(&pager);
    mp_file_source_close(&source);
}

/* A ring whose system call fails once, for a while, and for good: what was submitted before and what was not all comes. */
static void with_a_ring_that_fails(int nth, bool lasting) {
    mp_file_source *source = NULL;
    mp_pager *pager = NULL;
    REQUIRE(mp_file_source_open_files(ledger, &file, 1, &source) == 0);
    mp_pager_config c = config_of(source);
    c.method = MP_IO_URING;
    if (mp_pager_open(&c, 2, &pager)) {
        mp_file_source_close(&source);
        SKIP("there is no io_uring here");
    }
    if (lasting) wrap_fail_from(WRAP_RING, nth);
    else wrap_fail(WRAP_RING, nth);
    for (int round = 0; round < 3; round++) {
        int errors = 0;
        mp_page set[PAGES];
        for (mp_page i = 0; i < PAGES; i++) set[i] = (i * 7 + (mp_page)round) % PAGES;
        CHECK_OK(mp_pager_want(pager, &(mp_access){.pages = set, .n = PAGES}));
        use_all(pager, &errors);
        CHECK_EQ(errors, 0);
    }
    mp_pager_stats s;
    mp_pager_get_stats(pager, &s);
    CHECK(wrap_stop());
    CHECK_EQ(s.in_flight, 0);
    mp_pager_close(&pager);
    mp_file_source_close(&source);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

TEST(a_ring_that_fails) {
    for (int nth = 1; nth <= 4; nth++) {
        with_a_ring_that_fails(nth, false);
        with_a_ring_that_fails(nth, true);
    }
}

int main(void) {
    char path[256];
    describe();
    if (!temp_file(FILE_BYTES, path) || mp_file_open(path, true, &file) || mp_ledger_open(false, &ledger)) return 1;
    RUN(every_allocation_and_mapping);
    RUN(every_long_read);
    RUN(every_read_of_a_page);
    RUN(a_disk_that_is_gone);
    RUN(a_ring_that_fails);
    mp_ledger_close(&ledger);
    mp_file_close(&file);
    unlink(path);
    return test_done();
}
