/* io_uring: whole files in any order of parts, the end of a file, errors, and a wake from another thread. */
#include "test.h"

#include <pthread.h>

#include "base/uring.h"
#include "support/temp_file.h"

enum { FILE_BYTES = (1 << 20) + 777, DEPTH = 4 };

static void *wake_later(void *ring) {
    usleep(20000);
    mp_uring_wake(ring);
    return NULL;
}

static mp_uring *open_ring(mp_ledger *ledger) {
    mp_uring *ring = NULL;
    if (mp_uring_open(ledger, DEPTH, &ring)) printf("note: %s\n", mp_err_text());
    return ring;
}

TEST(reads_and_wakes) {
    char path[256];
    mp_file file;
    mp_ledger *ledger = NULL;
    mp_region memory;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    mp_uring *ring = open_ring(ledger);
    if (!ring) {
        mp_ledger_close(&ledger);
        SKIP("there is no io_uring here");
    }
    REQUIRE(temp_file(FILE_BYTES, path) && !mp_file_open(path, false, &file) && !mp_region_open(ledger, MP_OWN_WORK, 4 << 20, true, &memory));
    unsigned char *p = memory.base;
    mp_part parts[3] = {{p, 1000}, {p + 2000, 5000}, {p + 9000, 1}}, last = {p + 20000, 5000};
    CHECK(mp_uring_read(ring, file.fd, parts, 3, 12345, 7));
    CHECK(mp_uring_read(ring, file.fd, &last, 1, FILE_BYTES - 100, 8));
    CHECK(mp_uring_read(ring, -1, &last, 1, 0, 9));
    int seen = 0;
    for (int got = 0; got < 3;) {
        mp_uring_done done[DEPTH];
        int n = mp_uring_wait(ring, done, DEPTH);
        for (int i = 0; i < n; i++) {
            if (done[i].tag == 7) CHECK_EQ(done[i].bytes, 6001);
            else if (done[i].tag == 8) CHECK_EQ(done[i].bytes, 100);
            else CHECK(done[i].tag == 9 && done[i].bytes < 0);
            seen |= 1 << (done[i].tag - 7);
        }
        got += n;
    }
    CHECK_EQ(seen, 7);
    CHECK(temp_right(p, 1000, 12345) && temp_right(p + 2000, 5000, 13345) && temp_right(p + 9000, 1, 18345) && temp_right(p + 20000, 100, FILE_BYTES - 100));
    mp_uring_done done[DEPTH];
    for (int i = 0; i < 3; i++) { /* nothing is in flight: only the wake can end the wait */
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, wake_later, ring) == 0);
        CHECK_EQ(mp_uring_wait(ring, done, DEPTH), 0);
        pthread_join(thread, NULL);
    }
    mp_uring_close(&ring);
    mp_region_close(&memory);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&ledger);
    mp_file_close(&file);
    unlink(path);
}

TEST(refuses_when_the_queue_is_full_or_the_budget) {
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    mp_uring *ring = open_ring(ledger);
    if (!ring) {
        mp_ledger_close(&ledger);
        SKIP("there is no io_uring here");
    }
    unsigned char byte;
    mp_part part = {&byte, 1};
    int n = 0;
    while (n < 1000 && mp_uring_read(ring, -1, &part, 1, 0, (uint32_t)n)) n++;
    CHECK(n >= DEPTH && n < 1000);
    mp_uring_close(&ring);
    mp_ledger_set_limit(ledger, MP_TIER_RAM, 1000);
    CHECK_EQ(mp_uring_open(ledger, DEPTH, &ring), MP_E_BUDGET);
    CHECK(!ring);
    mp_ledger_close(&ledger);
}

int main(void) {
    RUN(reads_and_wakes);
    RUN(refuses_when_the_queue_is_full_or_the_budget);
    return test_done();
}
