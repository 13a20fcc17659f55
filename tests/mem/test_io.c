/* Reading past the page cache: right bytes at every phase, nothing around them touched, nothing left in the cache. */
#include "test.h"

#include <stdatomic.h>

#include "mem/io.h"
#include "support/temp_file.h"

enum { FILE_BYTES = (9 << 20) + 777, GUARD = 64 };

typedef struct fixture {
    char       path[256];
    mp_file    file;
    mp_ledger *ledger;
    mp_region  memory; /* large enough for the file and 64 KiB */
} fixture;

static bool fixture_open(fixture *f) {
    bool good = temp_file(FILE_BYTES, f->path) && !mp_file_open(f->path, true, &f->file) && !mp_ledger_open(false, &f->ledger) &&
                !mp_region_open(f->ledger, MP_OWN_WEIGHTS, FILE_BYTES + (64 << 10), true, &f->memory);
    CHECK(good);
    if (good && f->file.direct_fd < 0) printf("note: direct reads are refused here, buffered ones are tested\n");
    return good;
}

static void fixture_close(fixture *f) {
    mp_region_close(&f->memory);
    CHECK_EQ(mp_ledger_used(f->ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&f->ledger);
    mp_file_close(&f->file);
    unlink(f->path);
}

static bool untouched(const unsigned char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0xa5) return false;
    return true;
}

TEST(slices_at_their_phase) {
    fixture f = {0};
    REQUIRE(fixture_open(&f));
    uint32_t align = f.file.align;
    static const uint64_t offset[] = {0, 1, 32, 511, 512, 4095, 4096, 123457, FILE_BYTES - 5000, FILE_BYTES - 1};
    static const size_t bytes[] = {1, 31, 512, 4096, 4097, 100001};
    for (size_t i = 0; i < sizeof offset / sizeof *offset; i++)
        for (size_t j = 0; j < sizeof bytes / sizeof *bytes; j++)
            for (int phase = 0; phase < 2; phase++) {
                size_t n = offset[i] + bytes[j] > FILE_BYTES ? (size_t)(FILE_BYTES - offset[i]) : bytes[j];
                unsigned char *dst = f.memory.base + 8192 + (offset[i] + (phase ? 0 : 16)) % align;
                memset(f.memory.base, 0xa5, 8192 + 8192 + n + align);
                CHECK_OK(mp_io_read_phase(&f.file, dst, n, offset[i]));
                CHECK(temp_right(dst, n, offset[i]));
                size_t pad = phase ? align - 1 : 0; /* what may be overwritten around it */
                CHECK(untouched(f.memory.base, (size_t)(dst - f.memory.base) - pad));
                CHECK(untouched(dst + n + pad, 4096));
            }
    fixture_close(&f);
}

TEST(refuses_what_lies_beyond_the_end) {
    fixture f = {0};
    REQUIRE(fixture_open(&f));
    CHECK_EQ(mp_io_read_phase(&f.file, f.memory.base, 10, FILE_BYTES - 9), MP_E_FAILED);
    CHECK_EQ(mp_io_read_phase(&f.file, f.memory.base, 1, UINT64_MAX - 3), MP_E_FAILED);
    mp_io_job job = {.file = &f.file, .dst = f.memory.base, .bytes = 20, .offset = FILE_BYTES - 19};
    CHECK_EQ(mp_io_read_all(f.ledger, &job, 1, 2, NULL, NULL), MP_E_FAILED);
    CHECK(strstr(mp_err_text(), "past the end") != NULL);
    fixture_close(&f);
}

/* Jobs side by side in memory and apart in the file, at every kind of phase, on 1 to 8 threads. */
TEST(long_ranges_land_exactly) {
    fixture f = {0};
    REQUIRE(fixture_open(&f));
    if (f.file.direct_fd >= 0) CHECK_EQ(temp_cached(f.path), 0);
    for (int threads = 1; threads <= 8; threads += 7)
        for (size_t shift = 0; shift < 3; shift++) {
            memset(f.memory.base, 0xa5, f.memory.bytes);
            mp_io_job job[5];
            static const uint64_t from[5] = {96, 4096, 5000032, 4194304, 9000001}, bytes[5] = {3000, 2 << 20, 4100000, 64, 0};
            unsigned char *at = f.memory.base + GUARD + (shift == 1 ? 32 : shift == 2 ? 4093 : 0);
            unsigned char *start = at;
            for (int i = 0; i < 5; i++) {
                job[i] = (mp_io_job){.file = &f.file, .dst = at, .bytes = bytes[i], .offset = from[i]};
                at += bytes[i];
            }
            CHECK_OK(mp_io_read_all(f.ledger, job, 5, threads, NULL, NULL));
            for (int i = 0; i < 5; i++) CHECK(temp_right(job[i].dst, bytes[i], from[i]));
            CHECK(untouched(start - GUARD, GUARD) && untouched(at, GUARD));
        }
    mp_io_job whole = {.file = &f.file, .dst = f.memory.base, .bytes = FILE_BYTES}; /* in phase: straight into place */
    CHECK_OK(mp_io_read_all(f.ledger, &whole, 1, 8, NULL, NULL));
    CHECK(temp_right(f.memory.base, FILE_BYTES, 0));
    if (f.file.direct_fd >= 0) CHECK_EQ(temp_cached(f.path), 0);
    fixture_close(&f);
}

typedef struct watch { uint64_t last, total; int calls, stop_at; } watch;

static int watch_progress(void *user, uint64_t done, uint64_t total) {
    watch *w = user;
    CHECK(done >= w->last && done <= total);
    w->last = done;
    w->total = total;
    return ++w->calls == w->stop_at;
}

TEST(progress_and_stopping) {
    fixture f = {0};
    REQUIRE(fixture_open(&f));
    mp_io_job job = {.file = &f.file, .dst = f.memory.base, .bytes = FILE_BYTES};
    watch w = {0};
    CHECK_OK(mp_io_read_all(f.ledger, &job, 1, 1, watch_progress, &w));
    CHECK_EQ(w.last, FILE_BYTES);
    CHECK_EQ(w.total, FILE_BYTES);
    CHECK(w.calls >= 3);
    w = (watch){.stop_at = 1};
    CHECK_EQ(mp_io_read_all(f.ledger, &job, 1, 1, watch_progress, &w), MP_E_CANCELLED);
    CHECK_EQ(w.calls, 1);
    fixture_close(&f);
}

TEST(a_file_that_shrinks_is_an_error) {
    fixture f = {0};
    REQUIRE(fixture_open(&f));
    REQUIRE(truncate(f.path, 5 << 20) == 0);
    mp_io_job job = {.file = &f.file, .dst = f.memory.base, .bytes = FILE_BYTES};
    CHECK_EQ(mp_io_read_all(f.ledger, &job, 1, 4, NULL, NULL), MP_E_FAILED);
    CHECK(strstr(mp_err_text(), "cut short") != NULL);
    CHECK_EQ(mp_io_read_phase(&f.file, f.memory.base + 6 % f.file.align, 4096, (5 << 20) - 100), MP_E_FAILED);
    CHECK_OK(mp_io_read_phase(&f.file, f.memory.base, 4096, (5 << 20) - 4096));
    CHECK(temp_right(f.memory.base, 4096, (5 << 20) - 4096));
    fixture_close(&f);
}

TEST(charges_what_it_says_wet_and_dry) {
    fixture f = {0};
    mp_ledger *dry = NULL;
    REQUIRE(fixture_open(&f));
    REQUIRE(mp_ledger_open(true, &dry) == 0);
    mp_io_job job = {.file = &f.file, .dst = f.memory.base, .bytes = FILE_BYTES}, none = {.file = &f.file, .bytes = FILE_BYTES};
    for (int threads = 1; threads <= 8; threads *= 2) {
        CHECK_OK(mp_io_read_all(f.ledger, &job, 1, threads, NULL, NULL));
        CHECK_OK(mp_io_read_all(dry, &none, 1, threads, NULL, NULL));
        mp_ledger_line a = mp_ledger_get(f.ledger, MP_TIER_RAM, MP_OWN_WORK), b = mp_ledger_get(dry, MP_TIER_RAM, MP_OWN_WORK);
        CHECK_EQ(a.peak_bytes, mp_io_staging_bytes(threads));
        CHECK_EQ(b.peak_bytes, a.peak_bytes);
        CHECK_EQ(mp_ledger_get(f.ledger, MP_TIER_RAM, MP_OWN_OVERHEAD).peak_bytes,
                 mp_ledger_get(dry, MP_TIER_RAM, MP_OWN_OVERHEAD).peak_bytes);
        CHECK_EQ(a.used_bytes + b.used_bytes, 0);
    }
    mp_ledger_set_limit(f.ledger, MP_TIER_RAM, mp_ledger_used(f.ledger, MP_TIER_RAM) + 1000);
    CHECK_EQ(mp_io_read_all(f.ledger, &job, 1, 4, NULL, NULL), MP_E_BUDGET);
    mp_ledger_close(&dry);
    fixture_close(&f);
}

/* Slices that follow each other in the file and go to slots of their own, in one read, blocks shared between neighbours included. */
TEST(runs_land_right) {
    fixture f = {0};
    REQUIRE(fixture_open(&f));
    if (f.file.direct_fd < 0) {
        fixture_close(&f);
        SKIP("direct reads are refused here");
    }
    uint64_t state = 7;
    for (int round = 0; round < 300; round++) {
        size_t sum = 0;
        mp_io_run run = {.file = &f.file, .n = 1 + (int)(state >> 40) % MP_IO_RUN};
        for (int i = 0; i < run.n; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            run.slice[i].bytes = (size_t)(round % 4 == 0 ? 4096 * (1 + (state >> 33) % 9) : 4096 + (state >> 33) % 90000);
            sum += run.slice[i].bytes;
        }
        run.offset = round % 7 == 0 ? FILE_BYTES - sum : (state >> 20) % (FILE_BYTES - sum); /* some end where the file ends */
        uint64_t at = run.offset;
        unsigned char *slot = f.memory.base;
        for (int i = 0; i < run.n; i++) {
            memset(slot, 0xa5, run.slice[i].bytes + 3 * 4096);
            run.slice[i].dst = slot + 4096 + at % f.file.align;
            at += run.slice[i].bytes;
            slot += (run.slice[i].bytes + 5 * 4096) / 4096 * 4096;
        }
        CHECK(mp_io_read_run(&run));
        at = run.offset;
        for (int i = 0; i < run.n; i++) {
            CHECK(temp_right(run.slice[i].dst, run.slice[i].bytes, at));
            CHECK(untouched(run.slice[i].dst - at % f.file.align - 512, 512));
            at += run.slice[i].bytes;
        }
    }
    fixture_close(&f);
}

TEST(runs_that_cannot_be_one_read) {
    fixture f = {0};
    REQUIRE(fixture_open(&f));
    unsigned char *p = f.memory.base;
    mp_io_run tiny = {.file = &f.file, .offset = 100, .n = 2, .slice = {{p + 100, 50}, {p + 8192 + 150, 50}}};
    CHECK(!mp_io_read_run(&tiny)); /* the second has no block of its own */
    mp_io_run odd = {.file = &f.file, .offset = 100, .n = 1, .slice = {{p + 101, 50}}};
    CHECK(!mp_io_read_run(&odd)); /* out of phase */
    mp_io_run far = {.file = &f.file, .offset = FILE_BYTES - 100, .n = 1, .slice = {{p + (FILE_BYTES - 100) % f.file.align, 5000}}};
    CHECK(!mp_io_read_run(&far)); /* past the end */
    if (f.file.direct_fd >= 0) {
        mp_io_run cut = {.file = &f.file, .offset = 8u << 20, .n = 1, .slice = {{p, 5000}}};
        CHECK(mp_io_read_run(&cut));
        REQUIRE(truncate(f.path, 5 << 20) == 0);
        CHECK(!mp_io_read_run(&cut)); /* short */
    }
    fixture_close(&f);
}

TEST(methods_by_name) {
    mp_io_choice c;
    CHECK_OK(mp_io_parse(NULL, &c));
    CHECK(c.method == MP_IO_PREAD && c.depth == MP_IO_DEPTH);
    CHECK_OK(mp_io_parse("io_uring:16", &c));
    CHECK(c.method == MP_IO_URING && c.depth == 16);
    CHECK_OK(mp_io_parse("buffered", &c));
    CHECK(c.method == MP_IO_BUFFERED && c.depth == MP_IO_DEPTH);
    CHECK_STR(mp_io_name(MP_IO_URING), "io_uring");
    static const char *const bad[] = {"mmap", "pread:", "pread:0", "pread:65", "pread:8x", "pread:-1", ":8", "PREAD", "io_uring:99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK_EQ(mp_io_parse(bad[i], &c), MP_E_USAGE);
}

int main(void) {
    RUN(runs_land_right);
    RUN(runs_that_cannot_be_one_read);
    RUN(methods_by_name);
    RUN(slices_at_their_phase);
    RUN(refuses_what_lies_beyond_the_end);
    RUN(long_ranges_land_exactly);
    RUN(progress_and_stopping);
    RUN(a_file_that_shrinks_is_an_error);
    RUN(charges_what_it_says_wet_and_dry);
    return test_done();
}
