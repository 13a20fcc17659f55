/* base/ledger.h and base/arena.h: what is charged, what is refused, and that nothing is lost between threads. */
#include "base/ledger.h"

#include <pthread.h>

#include "base/arena.h"
#include "base/os.h"
#include "test.h"

TEST(charges_and_credits) {
    mp_ledger *ledger;
    CHECK_OK(mp_ledger_open(false, &ledger));
    CHECK_OK(mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_KV, 1000));
    CHECK_OK(mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_WORK, 500));
    CHECK_OK(mp_ledger_charge(ledger, MP_TIER_DISK, MP_OWN_KV, 7));
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 1500);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_DISK), 7);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_VRAM), 0);
    mp_ledger_credit(ledger, MP_TIER_RAM, MP_OWN_KV, 1000);
    CHECK_OK(mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_WORK, 600));
    /* the tier's peak is of the sum (1500), not the sum of the lines' peaks (1000 + 1100) */
    CHECK_EQ(mp_ledger_peak(ledger, MP_TIER_RAM), 1500);
    mp_ledger_line kv = mp_ledger_get(ledger, MP_TIER_RAM, MP_OWN_KV), work = mp_ledger_get(ledger, MP_TIER_RAM, MP_OWN_WORK);
    CHECK_EQ(kv.used_bytes, 0);
    CHECK_EQ(kv.peak_bytes, 1000);
    CHECK_EQ(work.used_bytes, 1100);
    CHECK_EQ(work.peak_bytes, 1100);
    mp_ledger_credit(ledger, MP_TIER_RAM, MP_OWN_WORK, 1100);
    mp_ledger_credit(ledger, MP_TIER_DISK, MP_OWN_KV, 7);
    mp_ledger_close(&ledger);
    CHECK(ledger == NULL);
    mp_ledger_close(&ledger);
}

TEST(limit_is_hard) {
    mp_ledger *ledger;
    CHECK_OK(mp_ledger_open(false, &ledger));
    mp_ledger_set_limit(ledger, MP_TIER_RAM, 1 << 20);
    CHECK_EQ(mp_ledger_limit(ledger, MP_TIER_RAM), 1 << 20);
    CHECK_OK(mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_KV, 1 << 20));
    CHECK_EQ(mp_ledger_refused(ledger), MP_TIER_COUNT);
    CHECK_EQ(mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_WEIGHTS, 1), MP_E_BUDGET);
    CHECK_EQ(mp_ledger_refused(ledger), MP_TIER_RAM);
    CHECK(strstr(mp_err_text(), "weights") && strstr(mp_err_text(), "1M of 1M"));
    CHECK_EQ(mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_KV, UINT64_MAX), MP_E_BUDGET);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 1 << 20);
    CHECK_EQ(mp_ledger_peak(ledger, MP_TIER_RAM), 1 << 20);
    mp_ledger_set_limit(ledger, MP_TIER_RAM, 1000); /* below what is used: allowed, nothing more fits */
    CHECK_EQ(mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_KV, 1), MP_E_BUDGET);
    CHECK_OK(mp_ledger_charge(ledger, MP_TIER_VRAM, MP_OWN_KV, 1 << 30)); /* another tier, no limit there */
    mp_ledger_credit(ledger, MP_TIER_VRAM, MP_OWN_KV, 1 << 30);
    mp_ledger_credit(ledger, MP_TIER_RAM, MP_OWN_KV, (1 << 20) - 999);
    CHECK_OK(mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_KV, 1));
    CHECK_EQ(mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_KV, 1), MP_E_BUDGET);
    mp_ledger_set_limit(ledger, MP_TIER_RAM, 0);
    CHECK_OK(mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_KV, UINT64_MAX - 1000)); /* no limit, and no wrapping round */
    CHECK_EQ(mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_KV, 1), MP_E_BUDGET);
    mp_ledger_credit(ledger, MP_TIER_RAM, MP_OWN_KV, UINT64_MAX);
    mp_ledger_close(&ledger);
}

TEST(blocks_are_zero_and_aligned) {
    mp_ledger *ledger;
    CHECK_OK(mp_ledger_open(false, &ledger));
    void *p[100];
    uint64_t asked = 0;
    for (int i = 0; i < 100; i++) {
        CHECK_OK(mp_alloc(ledger, MP_OWN_TOKENIZER, (size_t)(i * 37), &p[i]));
        REQUIRE(p[i]);
        CHECK_EQ((uintptr_t)p[i] % 64, 0);
        for (int k = 0; k < i * 37; k++) CHECK(((unsigned char *)p[i])[k] == 0);
        memset(p[i], 0xa5, (size_t)(i * 37));
        asked += (uint64_t)(i * 37);
    }
    uint64_t used = mp_ledger_get(ledger, MP_TIER_RAM, MP_OWN_TOKENIZER).used_bytes;
    CHECK(used > asked && used <= asked + 100 * 128); /* the hidden heads are counted too */
    for (int i = 0; i < 100; i++) MP_FREE(p[i]);
    CHECK(p[5] == NULL);
    mp_free(NULL);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&ledger);
}

TEST(blocks_that_do_not_fit) {
    mp_ledger *ledger;
    CHECK_OK(mp_ledger_open(false, &ledger));
    void *p = &p;
    int *numbers = NULL;
    CHECK_EQ(mp_alloc(ledger, MP_OWN_KV, SIZE_MAX, &p), MP_E_BUDGET);
    CHECK(p == NULL);
    CHECK_EQ(MP_NEW(ledger, MP_OWN_KV, int, SIZE_MAX / 2, &numbers), MP_E_BUDGET);
    CHECK(numbers == NULL);
    mp_ledger_set_limit(ledger, MP_TIER_RAM, 4096);
    CHECK_EQ(mp_alloc(ledger, MP_OWN_KV, 4096, &p), MP_E_BUDGET); /* its head does not fit any more */
    CHECK(p == NULL);
    CHECK_OK(MP_NEW(ledger, MP_OWN_KV, int, 100, &numbers));
    REQUIRE(numbers);
    numbers[99] = 1;
    MP_FREE(numbers);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&ledger);
}

static void check_region(mp_ledger *ledger, size_t bytes, size_t whole) {
    mp_region region;
    CHECK_OK(mp_region_open(ledger, MP_OWN_EXPERTS, bytes, true, &region));
    CHECK_EQ(region.bytes, whole);
    CHECK_EQ(region.charged, whole + whole / 512);
    CHECK_EQ(region.charged, mp_region_cost(bytes));
    CHECK_EQ(mp_ledger_get(ledger, MP_TIER_RAM, MP_OWN_EXPERTS).used_bytes, region.charged);
    if (mp_ledger_dry(ledger)) {
        CHECK(region.base == NULL);
    } else {
        REQUIRE(region.base);
        CHECK_EQ((uintptr_t)region.base % (whole >= 8 << 20 ? 2 << 20 : 4096), 0);
        for (size_t i = 0; i < whole; i += 4096) CHECK(region.base[i] == 0);
        region.base[0] = region.base[whole - 1] = 1;
    }
    mp_region_close(&region);
    CHECK(region.base == NULL && region.bytes == 0);
    mp_region_close(&region);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

TEST(regions) {
    for (int dry = 0; dry < 2; dry++) {
        mp_ledger *ledger;
        CHECK_OK(mp_ledger_open(dry, &ledger));
        CHECK_EQ(mp_ledger_dry(ledger), dry);
        check_region(ledger, 1, 4096);
        check_region(ledger, 4096, 4096);
        check_region(ledger, 4097, 8192);
        check_region(ledger, (8 << 20) - 1, 8 << 20);
        check_region(ledger, 8 << 20, 8 << 20);
        check_region(ledger, (8 << 20) + 1, 10 << 20);
        mp_ledger_close(&ledger);
    }
}

TEST(regions_that_do_not_fit) {
    for (int dry = 0; dry < 2; dry++) {
        mp_ledger *ledger;
        CHECK_OK(mp_ledger_open(dry, &ledger));
        mp_region region = {.bytes = 1};
        mp_ledger_set_limit(ledger, MP_TIER_RAM, 1 << 20); /* the page tables do not fit any more */
        CHECK_EQ(mp_region_open(ledger, MP_OWN_EXPERTS, 1 << 20, false, &region), MP_E_BUDGET);
        CHECK(region.base == NULL && region.bytes == 0 && region.ledger == NULL);
        mp_region_close(&region);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
        mp_ledger_close(&ledger);
    }
}

TEST(a_system_that_refuses) {
    mp_ledger *ledger;
    CHECK_OK(mp_ledger_open(false, &ledger));
    mp_region region;
    CHECK_EQ(mp_region_open(ledger, MP_OWN_KV, (size_t)1 << 60, false, &region), MP_E_FAILED);
    CHECK(region.base == NULL && region.ledger == NULL);
    CHECK(strstr(mp_err_text(), "kv") != NULL);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&ledger);
}

TEST(populate_is_resident) {
    mp_ledger *ledger;
    CHECK_OK(mp_ledger_open(false, &ledger));
    mp_os_usage before, after;
    mp_region region;
    mp_os_usage_get(&before);
    CHECK_OK(mp_region_open(ledger, MP_OWN_KV, 32 << 20, true, &region));
    mp_os_usage_get(&after);
    CHECK(after.anon_bytes >= before.anon_bytes + (31 << 20));
    CHECK(after.peak_bytes >= before.now_bytes + (31 << 20));
    mp_region_close(&region);
    mp_os_usage_get(&after);
    CHECK(after.anon_bytes < before.anon_bytes + (16 << 20));
    mp_ledger_close(&ledger);
}

enum { THREADS = 4, ROUNDS = 5000, LIMIT = 3000 };

typedef struct racer {
    mp_ledger *ledger;
    int        index, fits;
} racer;

static void *race(void *arg) {
    racer *r = arg;
    mp_owner owner = (mp_owner)(r->index % 2);
    for (int i = 0; i < ROUNDS; i++) {
        void *p = NULL;
        if (mp_ledger_charge(r->ledger, MP_TIER_RAM, owner, 1000)) continue;
        r->fits++;
        CHECK(mp_ledger_used(r->ledger, MP_TIER_RAM) <= LIMIT);
        if (!mp_alloc(r->ledger, owner, 100, &p)) mp_free(p);
        mp_ledger_credit(r->ledger, MP_TIER_RAM, owner, 1000);
    }
    return NULL;
}

TEST(threads_never_pass_the_limit) {
    mp_ledger *ledger;
    CHECK_OK(mp_ledger_open(false, &ledger));
    mp_ledger_set_limit(ledger, MP_TIER_RAM, LIMIT);
    racer racers[THREADS];
    pthread_t threads[THREADS];
    int fits = 0;
    for (int i = 0; i < THREADS; i++) {
        racers[i] = (racer){.ledger = ledger, .index = i};
        REQUIRE(!pthread_create(&threads[i], NULL, race, &racers[i]));
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        fits += racers[i].fits;
    }
    CHECK(fits >= ROUNDS); /* somebody always gets in */
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    CHECK(mp_ledger_peak(ledger, MP_TIER_RAM) <= LIMIT);
    mp_ledger_close(&ledger);
}

TEST(names) {
    CHECK_STR(mp_tier_name(MP_TIER_DISK), "disk");
    CHECK_STR(mp_owner_name(MP_OWN_TOKENIZER), "tokenizer");
    for (int i = 0; i < MP_OWN_COUNT; i++)
        for (int k = 0; k < i; k++) CHECK(strcmp(mp_owner_name((mp_owner)i), mp_owner_name((mp_owner)k)) != 0);
}

/* Blocks as a generation takes them, in a thread of its own: what is freed must not stay in that thread's heap. */
static void *take_and_free(void *ledger) {
    for (int i = 0; i < 4; i++) {
        void *block;
        CHECK_OK(mp_alloc(ledger, MP_OWN_WORK, 3 << 20, &block)); /* zeroed, and so touched */
        mp_free(block);
    }
    return NULL;
}

TEST(large_blocks_go_back_to_the_system) {
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    take_and_free(ledger); /* the C library learns from here on to serve such blocks from heaps */
    uint64_t before = mp_os_own_bytes();
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, take_and_free, ledger) == 0);
        pthread_join(thread, NULL);
    }
    uint64_t after = mp_os_own_bytes();
    CHECK(after < before + (1 << 20));
    mp_ledger_close(&ledger);
}

int main(void) {
    RUN(charges_and_credits);
    RUN(limit_is_hard);
    RUN(blocks_are_zero_and_aligned);
    RUN(blocks_that_do_not_fit);
    RUN(regions);
    RUN(regions_that_do_not_fit);
    RUN(a_system_that_refuses);
    RUN(populate_is_resident);
    RUN(threads_never_pass_the_limit);
    RUN(names);
    RUN(large_blocks_go_back_to_the_system);
    return test_done();
}
