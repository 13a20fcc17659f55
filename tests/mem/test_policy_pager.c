/* The pager and the simulator, fed with the same sets, have the same hits: the policies' code is one, and so are the rules. */
#include "support/pager_pages.h"
#include "support/routes.h"
#include "test.h"

#include "mem/replay.h"

enum { LAYERS = 4, EXPERTS = 16, TOP_K = 3, TOKENS = 250, BATCH = 4 };

/* Uses a set as the engine does: announces it, waits for each page and lets it go. */
static void use_set(mp_pager *pager, const mp_access *set) {
    mp_page left[EXPERTS];
    uint32_t n = set->n, which;
    memcpy(left, set->pages, n * sizeof *left);
    CHECK_OK(mp_pager_want(pager, set));
    while (n) {
        mp_pin pin;
        bool got = false;
        REQUIRE(mp_pager_wait_any(pager, left, n, &which) == 0);
        REQUIRE(mp_pager_pin(pager, left[which], MP_PEEK, MP_PIN_READ, &pin, &got) == 0);
        CHECK(got);
        if (got) mp_pager_unpin(pager, left[which]);
        left[which] = left[--n];
    }
}

static void compare(mp_ledger *ledger, const mp_trace *t, pages *p, const char *policy, double part) {
    mp_pager_config c = pages_config(p, ledger, part);
    mp_pager *pager = NULL;
    mp_pager_stats stats;
    mp_replay_feed *feed = NULL;
    mp_replay_result r;
    mp_access set;
    uint32_t layer;
    c.group_pages = EXPERTS;
    REQUIRE(mp_policy_open(ledger, &(mp_policy_config){.name = policy, .pages = p->n, .group_pages = EXPERTS}, &c.policy) == 0);
    REQUIRE(mp_pager_open(&c, 2 * TOP_K, &pager) == 0);
    mp_pager_get_stats(pager, &stats);
    mp_replay_options o = {.policy = policy, .slots = (double)stats.slots / LAYERS, .batch_tok = BATCH};
    REQUIRE(stats.slots >= 2 * EXPERTS || (!t->prefill[0] && stats.slots >= 2 * TOP_K));
    CHECK_OK(mp_replay_feed_open(ledger, t, &o, &feed));
    for (mp_replay_feed_rewind(feed, -1); mp_replay_feed_next(feed, &set, &layer);) use_set(pager, &set);
    CHECK_OK(mp_replay(ledger, t, &o, NULL, &r));
    mp_pager_get_stats(pager, &stats);
    CHECK_EQ(r.slots, stats.slots);
    CHECK_EQ(r.accesses, stats.accesses);
    CHECK_EQ(r.hits, stats.hits);
    CHECK(stats.evictions > 0);
    mp_replay_feed_close(&feed);
    mp_pager_close(&pager);
}

static void compare_all(bool prompts, double from) {
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    pages p;
    pages_open(&p, LAYERS * EXPERTS, 700, 0);
    p.align = 1; /* one class of slots: the simulator knows no other */
    for (int kind = 0; kind < ROUTES_KINDS; kind++) {
        mp_trace *t = routes_make(ledger, (mp_trace_shape){.layers = LAYERS, .experts = EXPERTS, .top_k = TOP_K}, TOKENS, (routes_kind)kind, 9);
        REQUIRE(t != NULL);
        for (uint32_t i = 0; prompts && i < TOKENS; i++) t->prefill[i] = i % 100 < 40;
        for (int i = 0; mp_policy_name_at(i); i++)
            for (double part = from; part < 0.9; part += 0.25) compare(ledger, t, &p, mp_policy_name_at(i), part);
        mp_trace_close(&t);
    }
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&ledger);
    pages_close(&p);
}

TEST(decode_agrees_for_every_policy) {
    compare_all(false, 0.13);
}

TEST(prompts_between_agree_too) {
    compare_all(true, 0.55);
}

int main(void) {
    RUN(decode_agrees_for_every_policy);
    RUN(prompts_between_agree_too);
    return test_done();
}
