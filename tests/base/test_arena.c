/* base/arena.h: alignment, marks, and that a dry arena predicts the real one. */
#include "base/arena.h"

#include "test.h"

static mp_ledger *open_ledger(bool dry) {
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(dry, &ledger));
    return ledger;
}

TEST(pushes_are_aligned_and_apart) {
    mp_ledger *ledger = open_ledger(false);
    mp_arena arena;
    CHECK_OK(mp_arena_open(ledger, MP_OWN_WORK, 64 << 10, &arena));
    CHECK_EQ(mp_ledger_get(ledger, MP_TIER_RAM, MP_OWN_WORK).used_bytes, mp_region_cost(64 << 10));
    unsigned char *last = NULL;
    for (size_t n = 1; n < 200; n += 7) {
        void *p;
        CHECK_OK(mp_arena_push(&arena, n, &p));
        REQUIRE(p);
        CHECK_EQ((uintptr_t)p % 64, 0);
        CHECK(!last || (unsigned char *)p >= last);
        memset(p, 0xff, n);
        last = (unsigned char *)p + n;
    }
    mp_arena_close(&arena);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    mp_arena_close(&arena);
    mp_ledger_close(&ledger);
}

TEST(rewind_gives_back) {
    mp_ledger *ledger = open_ledger(false);
    mp_arena arena;
    void *a, *b, *c;
    CHECK_OK(mp_arena_open(ledger, MP_OWN_WORK, 4096, &arena));
    CHECK_OK(mp_arena_push(&arena, 100, &a));
    size_t mark = mp_arena_mark(&arena);
    CHECK_OK(mp_arena_push(&arena, 2000, &b));
    mp_arena_rewind(&arena, mark);
    CHECK_OK(mp_arena_push(&arena, 500, &c));
    CHECK(b == c && c != a);
    CHECK_EQ(arena.peak, 128 + 2048);
    CHECK_EQ(arena.used, 128 + 512);
    mp_arena_close(&arena);
    mp_ledger_close(&ledger);
}

TEST(full_is_an_error) {
    mp_ledger *ledger = open_ledger(false);
    mp_arena arena;
    void *p;
    CHECK_OK(mp_arena_open(ledger, MP_OWN_WORK, 4096, &arena));
    CHECK_OK(mp_arena_push(&arena, 4096 - 64, &p));
    CHECK_EQ(mp_arena_push(&arena, 65, &p), MP_E_BUDGET);
    CHECK(p == NULL);
    CHECK_EQ(mp_arena_push(&arena, SIZE_MAX, &p), MP_E_BUDGET);
    CHECK_EQ(mp_arena_push(&arena, SIZE_MAX - 64, &p), MP_E_BUDGET);
    CHECK_OK(mp_arena_push(&arena, 64, &p));
    CHECK_EQ(mp_arena_push(&arena, 1, &p), MP_E_BUDGET);
    CHECK_EQ(arena.peak, 4096);
    mp_arena_close(&arena);
    mp_ledger_set_limit(ledger, MP_TIER_RAM, 4096);
    CHECK_EQ(mp_arena_open(ledger, MP_OWN_WORK, 4096, &arena), MP_E_BUDGET);
    CHECK(arena.region.base == NULL);
    mp_arena_close(&arena);
    mp_ledger_close(&ledger);
}

/* The same pushes on both; the dry peak is the capacity that the real one needs, to the byte. */
static mp_err some_work(mp_arena *arena) {
    void *p;
    mp_err err = mp_arena_push(arena, 1000, &p);
    for (size_t i = 0; i < 5 && !err; i++) {
        size_t mark = mp_arena_mark(arena);
        err = mp_arena_push(arena, 3000 + i * 777, &p);
        if (!err) err = mp_arena_push(arena, 1, &p);
        mp_arena_rewind(arena, mark);
    }
    return err;
}

TEST(dry_predicts) {
    mp_ledger *dry = open_ledger(true), *real = open_ledger(false);
    mp_arena a, b;
    CHECK_OK(mp_arena_open(dry, MP_OWN_WORK, 0, &a));
    CHECK(a.dry);
    CHECK_OK(some_work(&a));
    CHECK_EQ(mp_ledger_used(dry, MP_TIER_RAM), 0);
    CHECK_OK(mp_arena_open(real, MP_OWN_WORK, a.peak, &b));
    CHECK_OK(some_work(&b));
    CHECK_EQ(a.peak, b.peak);
    mp_arena_close(&b);
    CHECK_OK(mp_arena_open(real, MP_OWN_WORK, 4096, &b));
    CHECK_EQ(some_work(&b), MP_E_BUDGET); /* one page is less than the peak: it must be refused */
    mp_arena_close(&b);
    mp_arena_close(&a);
    mp_ledger_close(&dry);
    mp_ledger_close(&real);
}

int main(void) {
    RUN(pushes_are_aligned_and_apart);
    RUN(rewind_gives_back);
    RUN(full_is_an_error);
    RUN(dry_predicts);
    return test_done();
}
