/* Traces and routing when the system fails: the N-th allocation, read and write, for every N. The model never hears of it but by an error code; the file is readable. */
#include "fault/wrap.h"
#include "model/routing.h"
#include "test.h"

static char dir[] = "/tmp/moped-trace-XXXXXX", path[64];
static mp_ledger *ledger;
static const mp_trace_shape shape = {24, 64, 4};
enum { TOKENS = 900, SEQUENCES = 3 }; /* 289 bytes a token: four buffers */

static void choice(int token, uint16_t ids[96]) {
    for (int i = 0; i < 96; i++) ids[i] = (uint16_t)((token + i) % 64);
}

/* The whole life of a writer; the first error, or that of its end. */
static mp_err write_all(void) {
    mp_trace_writer *w;
    uint16_t ids[96];
    mp_err err = mp_trace_create(ledger, path, shape, &w), seen = MP_OK;
    if (err) return CHECK(!w), err;
    for (int i = 0; i < TOKENS; i++) {
        if (i % (TOKENS / SEQUENCES) == 0) mp_trace_begin(w, "s");
        choice(i, ids);
        mp_err now = mp_trace_token(w, false, ids, NULL);
        CHECK(!seen || now == seen); /* kept */
        seen = now;
    }
    err = mp_trace_end(&w);
    CHECK(!w && (!seen || err == seen));
    return err;
}

static uint64_t readable(void) {
    mp_trace *t;
    uint16_t ids[96];
    CHECK_OK(mp_trace_open(ledger, MP_OWN_WORK, path, &t));
    if (!t) return 0;
    uint64_t n = t->tokens;
    for (uint64_t i = 0; i < n; i++) {
        choice((int)i, ids);
        CHECK(!memcmp(mp_trace_ids(t, i, 0), ids, sizeof ids));
    }
    mp_trace_close(&t);
    return n;
}

TEST(every_write_can_fail) {
    for (int n = 1;; n++) {
        wrap_fail(WRAP_WRITE, n); /* once: what comes after the error must not be written, though it could */
        mp_err err = write_all();
        bool hit = wrap_stop();
        CHECK_EQ(err, hit ? MP_E_FAILED : MP_OK);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
        if (hit) CHECK(strstr(mp_err_text(), path) && strstr(mp_err_text(), "No space left"));
        if (n == 1) continue; /* nothing is in the file then */
        uint64_t whole = readable();
        CHECK(hit ? whole <= TOKENS && whole > 100 : whole == TOKENS);
        if (!hit) {
            CHECK(n > 6); /* four buffers, counts on disk, the head */
            break;
        }
    }
}

TEST(short_writes_are_no_failure) {
    wrap_fail_from(WRAP_PART, 1);
    CHECK_OK(write_all());
    CHECK(wrap_stop());
    CHECK_EQ(readable(), TOKENS);
}

static void reads_under(wrap_kind kind) {
    CHECK_OK(write_all());
    for (int n = 1;; n++) {
        mp_trace *t;
        wrap_fail(kind, n);
        mp_err err = mp_trace_open(ledger, MP_OWN_WORK, path, &t);
        bool hit = wrap_stop();
        CHECK_EQ(err, hit ? MP_E_FAILED : MP_OK);
        CHECK_EQ(t == NULL, hit);
        mp_trace_close(&t);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
        if (!hit) {
            CHECK(n > 5);
            return;
        }
    }
}

TEST(every_read_and_allocation_of_the_reader_can_fail) {
    reads_under(WRAP_READ);
    reads_under(WRAP_END);
    reads_under(WRAP_MEMORY);
}

TEST(every_allocation_of_the_writer_can_fail) {
    wrap_fail(WRAP_MEMORY, 1);
    CHECK_EQ(write_all(), MP_E_FAILED);
    CHECK(wrap_stop());
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

/* What a model opens for routing: with the file, for following one, for looking at the window. */
static mp_err open_all(void) {
    mp_recorder *recorder = NULL;
    mp_routing *routing = NULL;
    mp_trace *window = NULL;
    char other[80];
    snprintf(other, sizeof other, "%s.new", path);
    mp_err err = mp_routing_open(ledger, path, shape, &routing);
    if (!err) err = mp_recorder_open(ledger, shape, 16, other, &recorder);
    if (!err) err = mp_recorder_export(recorder, true, &window);
    if (!err) err = mp_recorder_save(recorder, path);
    mp_trace_close(&window);
    mp_recorder_close(&recorder);
    mp_routing_close(&routing);
    unlink(other);
    return err;
}

TEST(every_allocation_of_the_router_can_fail) {
    for (int n = 1;; n++) {
        CHECK_OK(write_all());
        wrap_fail(WRAP_MEMORY, n);
        mp_err err = open_all();
        bool hit = wrap_stop();
        CHECK_EQ(err, hit ? MP_E_FAILED : MP_OK);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
        if (!hit) {
            CHECK(n > 15);
            return;
        }
    }
}

int main(void) {
    if (!mkdtemp(dir) || mp_ledger_open(false, &ledger)) return 1;
    snprintf(path, sizeof path, "%s/t.mtr", dir);
    RUN(every_write_can_fail);
    RUN(short_writes_are_no_failure);
    RUN(every_read_and_allocation_of_the_reader_can_fail);
    RUN(every_allocation_of_the_writer_can_fail);
    RUN(every_allocation_of_the_router_can_fail);
    unlink(path);
    rmdir(dir);
    mp_ledger_close(&ledger);
    return test_done();
}
