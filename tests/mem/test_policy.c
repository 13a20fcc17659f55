/* Least recently used, against a naive one. */
#include "test.h"

#include "mem/policy.h"

enum { PAGES = 50 };

typedef struct seen { /* time of the last use; 0: not resident */
    uint64_t used[PAGES];
    bool     resident[PAGES], banned[PAGES];
} seen;

static bool may_go(void *arg, uint32_t page) {
    return !((const seen *)arg)->banned[page];
}

static uint32_t oldest(const seen *s) {
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < PAGES; i++)
        if (s->resident[i] && !s->banned[i] && (best == UINT32_MAX || s->used[i] < s->used[best])) best = i;
    return best;
}

TEST(names_the_same_victims_as_a_naive_one) {
    mp_ledger *ledger = NULL;
    mp_policy lru;
    static seen s;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    REQUIRE(mp_policy_lru(ledger, &(mp_policy_config){.pages = PAGES}, &lru) == 0);
    CHECK_STR(lru.name, "lru");
    CHECK_EQ(lru.victim(lru.self, may_go, &s), UINT32_MAX);
    srand(3);
    uint64_t now = 0;
    for (int i = 0; i < 5000; i++) {
        uint32_t set[3] = {(uint32_t)rand() % PAGES, (uint32_t)rand() % PAGES, (uint32_t)rand() % PAGES};
        s.banned[rand() % PAGES] = rand() % 4 == 0;
        lru.access(lru.self, &(mp_access){.pages = set, .n = 3});
        for (int j = 0; j < 3; j++) s.used[set[j]] = ++now;
        for (int j = 0; j < 3; j++)
            if (!s.resident[set[j]]) {
                lru.loaded(lru.self, set[j]);
                s.resident[set[j]] = true;
            }
        uint32_t victim = lru.victim(lru.self, may_go, &s);
        CHECK_EQ(victim, oldest(&s));
        if (victim != UINT32_MAX && rand() % 2) {
            lru.evicted(lru.self, victim);
            s.resident[victim] = false;
        }
    }
    lru.close(lru.self);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&ledger);
}

/* What nobody announced counts as used when it lands; what was announced keeps the place of its use. */
TEST(landing_is_a_use_only_for_the_unannounced) {
    mp_ledger *ledger = NULL;
    mp_policy lru;
    static seen s;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    REQUIRE(mp_policy_open(ledger, &(mp_policy_config){.name = "lru", .pages = PAGES}, &lru) == 0);
    uint32_t a = 1, b = 2;
    lru.access(lru.self, &(mp_access){.pages = &a, .n = 1});
    lru.access(lru.self, &(mp_access){.pages = &b, .n = 1});
    lru.loaded(lru.self, b);
    lru.loaded(lru.self, 3); /* a hint */
    lru.loaded(lru.self, a); /* lands last, was used first */
    CHECK_EQ(lru.victim(lru.self, may_go, &s), a);
    lru.evicted(lru.self, a);
    CHECK_EQ(lru.victim(lru.self, may_go, &s), b);
    lru.evicted(lru.self, b);
    CHECK_EQ(lru.victim(lru.self, may_go, &s), 3);
    lru.close(lru.self);
    mp_ledger_close(&ledger);
}

TEST(knows_its_names) {
    mp_ledger *ledger = NULL;
    mp_policy policy;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    CHECK_OK(mp_policy_open(ledger, &(mp_policy_config){.name = NULL, .pages = 4}, &policy));
    CHECK_STR(policy.name, "lru");
    policy.close(policy.self);
    CHECK_EQ(mp_policy_open(ledger, &(mp_policy_config){.name = "best", .pages = 4}, &policy), MP_E_USAGE);
    CHECK(policy.self == NULL && strstr(mp_err_text(), "best") && strstr(mp_err_text(), "lru"));
    mp_ledger_set_limit(ledger, MP_TIER_RAM, 1000);
    CHECK_EQ(mp_policy_open(ledger, &(mp_policy_config){.name = "lru", .pages = 1000}, &policy), MP_E_BUDGET);
    CHECK(policy.self == NULL && policy.victim == NULL);
    mp_ledger_close(&ledger);
}

int main(void) {
    RUN(names_the_same_victims_as_a_naive_one);
    RUN(landing_is_a_use_only_for_the_unannounced);
    RUN(knows_its_names);
    return test_done();
}
