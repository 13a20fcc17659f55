/* base under refusals: every allocation, every map and every read fails once, and nothing is kept or half done. */
#include "base/arena.h"
#include "base/ledger.h"
#include "base/os.h"
#include "base/pool.h"
#include "fault/wrap.h"
#include "test.h"

enum { FILE_BYTES = 3 * 4096 + 77 };

static char path[] = "/tmp/moped-fault-XXXXXX";

/* One of each of what base can hold, opened in turn. */
static mp_err hold_all(mp_ledger *ledger) {
    mp_region region = {0};
    mp_arena arena = {0};
    mp_pool *pool = NULL;
    void *block = NULL;
    mp_err err = mp_alloc(ledger, MP_OWN_KV, 1000, &block);
    if (!err) err = mp_region_open(ledger, MP_OWN_EXPERTS, 10 << 20, true, &region);
    if (!err) err = mp_arena_open(ledger, MP_OWN_WORK, 4096, &arena);
    if (!err) err = mp_pool_open(ledger, 2, &pool);
    mp_pool_close(&pool);
    mp_arena_close(&arena);
    mp_region_close(&region);
    mp_free(block);
    return err;
}

static void fail_each(wrap_kind kind, int at_least) {
    mp_ledger *ledger;
    REQUIRE(!mp_ledger_open(false, &ledger));
    int n = 0;
    for (bool hit = true; hit && n < 100;) {
        wrap_fail(kind, ++n);
        mp_err err = hold_all(ledger);
        hit = wrap_stop();
        CHECK_EQ(err, hit ? MP_E_FAILED : MP_OK);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    }
    CHECK(n > at_least && n < 100); /* that many calls were there to fail, and the last round had none left */
    mp_ledger_close(&ledger);
}

TEST(memory) {
    fail_each(WRAP_MEMORY, 3);
}

TEST(maps) {
    fail_each(WRAP_MAP, 2);
}

TEST(no_ledger) {
    mp_ledger *ledger = (mp_ledger *)path;
    wrap_fail(WRAP_MEMORY, 1);
    CHECK_EQ(mp_ledger_open(false, &ledger), MP_E_FAILED);
    CHECK(wrap_stop());
    CHECK(ledger == NULL);
}

static unsigned char byte_at(size_t i) {
    return (unsigned char)(i * 31 + i / 256);
}

static size_t wrong_bytes(const unsigned char *buf) {
    size_t wrong = 0;
    for (size_t i = 0; i < FILE_BYTES; i++) wrong += buf[i] != byte_at(i);
    return wrong;
}

/* Reads the whole file, past the cache or not. */
static mp_err read_all(bool direct, unsigned char *buf) {
    mp_file file;
    mp_err err = mp_file_open(path, direct, &file);
    if (err) return err;
    size_t whole = (FILE_BYTES + file.align - 1) / file.align * file.align;
    err = direct ? mp_file_read_direct(&file, buf, whole, 0) : mp_file_read(&file, buf, FILE_BYTES, 0);
    mp_file_close(&file);
    return err;
}

TEST(reads) {
    unsigned char *buf = NULL;
    REQUIRE(!posix_memalign((void **)&buf, 4096, 64 << 10));
    for (int direct = 0; direct < 2; direct++) {
        memset(buf, 0, 64 << 10);
        wrap_fail(WRAP_READ, 1);
        CHECK_EQ(read_all(direct, buf), MP_E_FAILED);
        CHECK(wrap_stop() && strstr(mp_err_text(), "Input/output error"));
        wrap_fail(WRAP_SHORT, 1); /* a short read is no error: the rest follows */
        CHECK_OK(read_all(direct, buf));
        CHECK(wrap_stop());
        CHECK_EQ(wrong_bytes(buf), 0);
        memset(buf, 0, 64 << 10);
        wrap_fail_from(WRAP_END, 1);
        CHECK_EQ(read_all(direct, buf), MP_E_FAILED);
        CHECK(wrap_stop() && strstr(mp_err_text(), "ends at 0"));
        CHECK_OK(read_all(direct, buf));
        CHECK_EQ(wrong_bytes(buf), 0);
    }
    free(buf);
}

int main(void) {
    int fd = mkstemp(path);
    if (fd < 0) return 1;
    for (size_t i = 0; i < FILE_BYTES; i++) {
        unsigned char c = byte_at(i);
        if (write(fd, &c, 1) != 1) return 1;
    }
    close(fd);
    RUN(memory);
    RUN(maps);
    RUN(no_ledger);
    RUN(reads);
    unlink(path);
    return test_done();
}
