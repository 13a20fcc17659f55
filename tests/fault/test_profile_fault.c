/* A profile when the system fails it: the N-th allocation, the N-th read. Each time an error or the right counts, and nothing kept. */
#include "fault/wrap.h"
#include "mem/profile.h"
#include "test.h"

enum { LAYERS = 2, EXPERTS = 4, PAGES = LAYERS * EXPERTS };
static const mp_profile_id ID = {99, 7};

static char path[] = "/tmp/moped-profile-fault-XXXXXX";

/* Opens and reads. *right: the counts are those of the file. */
static mp_err open_and_read(mp_ledger *ledger, bool *right) {
    mp_profile *p = NULL;
    bool found = false;
    mp_err err = mp_profile_open(ledger, &ID, LAYERS, EXPERTS, &p);
    CHECK_EQ(err != MP_OK, p == NULL);
    if (!err) err = mp_profile_read(p, path, &found);
    *right = !err && found && p->tokens == 10 && p->count[3] == 3;
    if (err && p) CHECK(p->tokens == 0 && p->count[3] == 0);
    mp_profile_close(&p);
    return err;
}

static void fail_each(wrap_kind kind, int least) {
    mp_ledger *ledger;
    REQUIRE(!mp_ledger_open(false, &ledger));
    int n = 0;
    for (bool hit = true; hit && n < 50;) {
        bool right;
        if (kind == WRAP_END) wrap_fail_from(kind, ++n);
        else wrap_fail(kind, ++n);
        mp_err err = open_and_read(ledger, &right);
        hit = wrap_stop();
        bool harmless = kind == WRAP_SHORT;
        CHECK_EQ(err, hit && !harmless ? MP_E_FAILED : MP_OK);
        CHECK_EQ(right, !hit || harmless);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    }
    CHECK(n > least && n < 50);
    mp_ledger_close(&ledger);
}

TEST(allocations) {
    fail_each(WRAP_MEMORY, 4);
}

TEST(reads) {
    fail_each(WRAP_READ, 1);
}

TEST(short_reads) {
    fail_each(WRAP_SHORT, 1);
}

TEST(a_file_that_ends) {
    fail_each(WRAP_END, 1);
}

int main(void) {
    mp_ledger *ledger;
    mp_profile *p = NULL;
    uint32_t uses[PAGES] = {0, 1, 2, 3, 4, 5, 6, 7};
    int fd = mkstemp(path);
    if (fd < 0 || close(fd) || mp_ledger_open(false, &ledger) || mp_profile_open(ledger, &ID, LAYERS, EXPERTS, &p)) return 1;
    mp_profile_add(p, uses, 10);
    if (mp_profile_write(p, path)) return 1;
    mp_profile_close(&p);
    mp_ledger_close(&ledger);
    RUN(allocations);
    RUN(reads);
    RUN(short_reads);
    RUN(a_file_that_ends);
    unlink(path);
    return test_done();
}
