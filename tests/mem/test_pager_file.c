/* Pages that lie in files: odd strides, direct reads into slots, several files, files that change. */
#include "test.h"

#include "base/uring.h"
#include "mem/source_file.h"
#include "support/temp_file.h"

enum { PAGES = 30, FILE_BYTES = 3 << 20 };

typedef struct fixture {
    char            path[2][256];
    mp_file         file[2];
    mp_page_desc    desc[PAGES];
    mp_ledger      *ledger;
    mp_file_source *source;
    mp_pager       *pager;
    mp_pager_config config;
    mp_io_method    method;
    bool            neighbours; /* all in one file, each tensor's slices one after the other */
} fixture;

/* Slices of three tensors, each with a stride that is a multiple of 32 and not of 512; odd pages lie in the second file. */
static void describe(fixture *f) {
    for (uint32_t i = 0; i < PAGES; i++)
        for (uint32_t s = 0; s < 3; s++)
            f->desc[i].slice[s] = f->neighbours ? (mp_slice){.offset = 1024 * s * 900 + 96 + i * 30016ull, .bytes = 30016} : (mp_slice){.offset = 1024 * s * 900 + 96 + i * 30048ull, .bytes = 30048 - 32 * s, .file = (uint16_t)(i % 2)};
}

static bool fixture_open(fixture *f, double part) {
    bool good = !mp_ledger_open(false, &f->ledger);
    for (int i = 0; i < 2 && good; i++) good = temp_file(FILE_BYTES, f->path[i]) && !mp_file_open(f->path[i], true, &f->file[i]);
    good = good && !mp_file_source_open_files(f->ledger, f->file, 2, &f->source);
    CHECK(good);
    if (!good) return false;
    describe(f);
    mp_file_source_buffered(f->source, f->method == MP_IO_BUFFERED, false);
    f->config = (mp_pager_config){.ledger = f->ledger, .owner = MP_OWN_EXPERTS, .pages = PAGES, .desc = f->desc,
                                  .source = mp_file_source_get(f->source), .readers = 4, .method = f->method};
    mp_pager_cost cost;
    CHECK_OK(mp_pager_price(&f->config, 2, &cost));
    f->config.budget_bytes = cost.least_bytes + (uint64_t)(part * (double)(cost.all_bytes - cost.least_bytes));
    CHECK_OK(mp_pager_open(&f->config, 2, &f->pager));
    return f->pager != NULL;
}

static void fixture_close(fixture *f) {
    mp_pager_close(&f->pager);
    mp_file_source_close(&f->source);
    CHECK_EQ(mp_ledger_used(f->ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&f->ledger);
    for (int i = 0; i < 2; i++) {
        mp_file_close(&f->file[i]);
        unlink(f->path[i]);
    }
}

static mp_err use(fixture *f, mp_page page) {
    mp_pin pin;
    bool got;
    mp_err err = mp_pager_pin(f->pager, page, MP_MUST, MP_PIN_READ, &pin, &got);
    if (err) return err;
    for (int s = 0; s < 3; s++) CHECK(temp_right(pin.slice[s], f->desc[page].slice[s].bytes, f->desc[page].slice[s].offset));
    mp_pager_unpin(f->pager, page);
    return MP_OK;
}

static bool have_ring(void) {
    mp_ledger *ledger = NULL;
    mp_uring *ring = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    bool have = !mp_uring_open(ledger, 2, &ring);
    if (!have) printf("note: io_uring is not tested: %s\n", mp_err_text());
    mp_uring_close(&ring);
    mp_ledger_close(&ledger);
    return have;
}

/* Every method, spread over two files or neighbours in one, with few slots, half, and all. */
TEST(odd_strides_land_right) {
    bool ring = have_ring();
    for (int kind = 0; kind < 18; kind++) {
        fixture f = {.method = (mp_io_method)(kind / 6), .neighbours = kind % 6 >= 3};
        if (f.method == MP_IO_URING && !ring) continue;
        REQUIRE(fixture_open(&f, kind % 3 * 0.5));
        CHECK(f.config.source.align >= f.file[0].align);
        if (f.file[0].direct_fd >= 0) CHECK_EQ(temp_cached(f.path[0]) + temp_cached(f.path[1]), 0);
        for (int round = 0; round < 3; round++) {
            mp_page set[PAGES];
            for (mp_page i = 0; i < PAGES; i++) set[i] = (i * 11 + (mp_page)round) % PAGES;
            CHECK_OK(mp_pager_want(f.pager, &(mp_access){.pages = set, .n = PAGES}));
            for (uint32_t n = PAGES, which; n; set[which] = set[--n]) {
                CHECK_OK(mp_pager_wait_any(f.pager, set, n, &which));
                CHECK_OK(use(&f, set[which]));
            }
        }
        mp_pager_stats s;
        mp_pager_get_stats(f.pager, &s);
        CHECK_EQ(s.in_flight, 0);
        bool runs = f.neighbours && f.method != MP_IO_BUFFERED && f.file[0].direct_fd >= 0;
        if (!runs) CHECK(s.run_reads == 0 && s.reads == s.loads * 3);
        else if (kind % 3 == 2) CHECK(s.run_reads > 0 && s.reads < s.loads * 3); /* all at once: neighbours wait side by side */
        if (f.file[0].direct_fd >= 0) CHECK_EQ(temp_cached(f.path[0]) + temp_cached(f.path[1]), 0);
        fixture_close(&f);
    }
}

static void shrink(fixture f) {
    REQUIRE(fixture_open(&f, 0.2));
    REQUIRE(truncate(f.path[1], 100000) == 0);
    for (mp_page i = 0; i < PAGES; i++) {
        mp_err err = use(&f, i);
        CHECK_EQ(err, i % 2 ? MP_E_FAILED : MP_OK); /* every odd page has slices behind the new end */
        if (err) CHECK(strstr(mp_err_text(), "cut short") != NULL);
    }
    fixture_close(&f);
}

TEST(a_file_that_shrinks_fails_only_its_pages) {
    shrink((fixture){0});
    if (have_ring()) shrink((fixture){.method = MP_IO_URING});
}

/* The same with neighbours: a run that fails is read piece by piece, so that the pages in front of the end still come. */
TEST(a_run_over_the_end_fails_only_what_lies_behind_it) {
    for (int ring = 0; ring < 2; ring++) {
        fixture f = {.neighbours = true, .method = ring ? MP_IO_URING : MP_IO_PREAD};
        mp_page set[PAGES];
        if (ring && !have_ring()) break;
        REQUIRE(fixture_open(&f, 1));
        uint64_t end = (f.desc[17].slice[2].offset + f.desc[17].slice[2].bytes + 4095) / 4096 * 4096;
        REQUIRE(truncate(f.path[0], (off_t)end) == 0);
        for (mp_page i = 0; i < PAGES; i++) set[i] = i;
        CHECK_OK(mp_pager_want(f.pager, &(mp_access){.pages = set, .n = PAGES}));
        for (mp_page i = 0; i < PAGES; i++) CHECK_EQ(use(&f, i), i <= 17 ? MP_OK : MP_E_FAILED);
        fixture_close(&f);
    }
}

TEST(a_slice_of_no_file_is_an_error) {
    fixture f = {0};
    REQUIRE(fixture_open(&f, 0.2));
    f.desc[4].slice[1].file = 2;
    f.desc[6].slice[2].offset = FILE_BYTES - 10;
    CHECK_EQ(use(&f, 4), MP_E_MODEL);
    CHECK_EQ(use(&f, 6), MP_E_FAILED);
    CHECK_OK(use(&f, 8));
    fixture_close(&f);
}

int main(void) {
    RUN(odd_strides_land_right);
    RUN(a_file_that_shrinks_fails_only_its_pages);
    RUN(a_run_over_the_end_fails_only_what_lies_behind_it);
    RUN(a_slice_of_no_file_is_an_error);
    return test_done();
}
