/* The simulator: against the reference figures of real routing, against brute force, and its rules one by one. */
#include <jansson.h>

#include "support/routes.h"
#include "test.h"

#include "mem/replay.h"

static mp_ledger *open_ledger(void) {
    mp_ledger *ledger = NULL;
    return mp_ledger_open(false, &ledger) ? NULL : ledger;
}

static mp_replay_result replay(mp_ledger *ledger, const mp_trace *t, mp_replay_options o) {
    mp_replay_result r;
    CHECK_OK(mp_replay(ledger, t, &o, NULL, &r));
    return r;
}

/* ---- real routing ---- */

static void compare(mp_ledger *ledger, const mp_trace *t, int slots, const json_t *want) {
    mp_replay_result layer[64], r;
    mp_replay_options o = {.policy = "lru", .slots = slots, .per_layer = true, .one_by_one = true};
    const json_t *misses = json_object_get(want, "lru_misses_per_layer");
    REQUIRE(t->layers <= 64 && json_array_size(misses) == t->layers);
    CHECK_OK(mp_replay(ledger, t, &o, layer, &r));
    CHECK_EQ(r.accesses, json_integer_value(json_object_get(want, "accesses")));
    CHECK_EQ(r.accesses - r.hits, json_integer_value(json_object_get(want, "lru_misses")));
    for (uint32_t l = 0; l < t->layers; l++) CHECK_EQ(layer[l].accesses - layer[l].hits, json_integer_value(json_array_get(misses, l)));
    o.policy = "oracle";
    CHECK_OK(mp_replay(ledger, t, &o, NULL, &r));
    CHECK_EQ(r.accesses - r.hits, json_integer_value(json_object_get(want, "belady_misses")));
}

TEST(reproduces_the_reference_figures) {
    char path[1024];
    if (!test_shared("data/moe-traces/gpt-oss-20b.decode.reference.json", path, sizeof path)) SKIP("no ../shared/data/moe-traces");
    json_t *reference = json_load_file(path, 0, NULL);
    REQUIRE(reference != NULL);
    REQUIRE(test_shared("data/moe-traces/gpt-oss-20b.decode.mtr", path, sizeof path));
    mp_ledger *ledger = open_ledger();
    mp_trace *t = NULL;
    CHECK_OK(mp_trace_open(ledger, MP_OWN_WORK, path, &t));
    const char *slots;
    json_t *want, *all = json_object_get(reference, "per_capacity");
    CHECK(json_object_size(all) >= 7);
    json_object_foreach(all, slots, want) if (t) compare(ledger, t, atoi(slots), want);
    mp_trace_close(&t);
    json_decref(reference);
    mp_ledger_close(&ledger);
}

/* ---- brute force ---- */

enum { BRUTE_TOKENS = 9, BRUTE_MAX_PAGES = 8 };

typedef struct brute {
    uint32_t sets[64], n, slots; /* masks of pages */
    int      best[64][1 << BRUTE_MAX_PAGES]; /* most hits from set i on with these resident; -1: not known */
} brute;

/* Every cache that the rules allow after a set. */
static int most_hits(brute *b, uint32_t i, uint32_t resident) {
    if (i == b->n) return 0;
    int *best = &b->best[i][resident];
    if (*best >= 0) return *best;
    uint32_t set = b->sets[i], all = resident | set, size = (uint32_t)__builtin_popcount(set);
    uint32_t keep = (uint32_t)__builtin_popcount(all) < b->slots ? (uint32_t)__builtin_popcount(all) : b->slots;
    for (uint32_t next = 0; next <= all; next++) {
        if ((next & ~all) || (uint32_t)__builtin_popcount(next) != keep) continue;
        if (size <= b->slots && (set & ~next)) continue;                         /* the whole set is admitted */
        if (size > b->slots && (next & ~set)) continue;                          /* only of the set */
        int hits = most_hits(b, i + 1, next);
        if (hits > *best) *best = hits;
    }
    return *best += __builtin_popcount(set & resident);
}

TEST(oracle_is_the_best_that_the_rules_allow) {
    mp_ledger *ledger = open_ledger();
    static brute b;
    for (unsigned seed = 0; seed < 60; seed++) {
        mp_trace_shape shape = {.layers = 1 + seed % 2, .experts = 4 - seed % 2, .top_k = 1 + seed % 3};
        mp_trace *t = routes_make(ledger, shape, BRUTE_TOKENS, ROUTES_UNIFORM, seed);
        REQUIRE(t != NULL);
        for (b.slots = 1; b.slots < shape.layers * shape.experts; b.slots++) {
            b.n = 0;
            memset(b.best, -1, sizeof b.best);
            for (uint64_t i = 0; i < t->tokens; i++)
                for (uint32_t l = 0; l < shape.layers; l++, b.n++) {
                    b.sets[b.n] = 0;
                    for (uint32_t k = 0; k < shape.top_k; k++) b.sets[b.n] |= 1u << (l * shape.experts + mp_trace_ids(t, i, l)[k]);
                }
            mp_replay_result r = replay(ledger, t, (mp_replay_options){.policy = "oracle", .slots = (double)b.slots / shape.layers});
            CHECK_EQ(r.slots, b.slots);
            CHECK_EQ(r.hits, most_hits(&b, 0, 0));
        }
        mp_trace_close(&t);
    }
    mp_ledger_close(&ledger);
}

TEST(nobody_beats_the_oracle) {
    static const char *const NAMES[] = {"adaptive", "lru", "lfu", "static", "none"};
    mp_ledger *ledger = open_ledger();
    for (int kind = 0; kind < ROUTES_KINDS; kind++) {
        mp_trace *t = routes_make(ledger, (mp_trace_shape){.layers = 3, .experts = 20, .top_k = 3}, 400, (routes_kind)kind, 5);
        REQUIRE(t != NULL);
        for (int c = 0; c < 16; c++) {
            mp_replay_options o = {.policy = "oracle", .slots = 1 + c / 4 * 5, .per_layer = c & 1, .one_by_one = c & 2};
            uint64_t bound = replay(ledger, t, o).hits;
            for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
                o.policy = NAMES[i];
                mp_replay_result r = replay(ledger, t, o);
                CHECK(r.hits <= bound && r.accesses == 400 * 3 * 3);
            }
        }
        mp_trace_close(&t);
    }
    mp_ledger_close(&ledger);
}

/* ---- the rules ---- */

static mp_trace *by_hand(mp_ledger *ledger, mp_trace_shape shape, const uint16_t *ids, uint32_t tokens) {
    mp_trace *t = NULL;
    CHECK_OK(mp_trace_make(ledger, MP_OWN_WORK, shape, tokens, &t));
    if (t) memcpy(t->ids, ids, (size_t)tokens * shape.layers * shape.top_k * sizeof *ids);
    return t;
}

TEST(a_set_is_seen_whole_before_anybody_leaves) {
    static const uint16_t IDS[] = {0, 1, 2, 0, 0, 1};
    mp_ledger *ledger = open_ledger();
    mp_trace *t = by_hand(ledger, (mp_trace_shape){.layers = 1, .experts = 4, .top_k = 2}, IDS, 3);
    REQUIRE(t != NULL);
    /* {0 1} miss; {2 0}: 0 hits, 1 leaves for 2; {0 1}: 0 hits. One by one the least recent, 0, would have left for 2. */
    CHECK_EQ(replay(ledger, t, (mp_replay_options){.policy = "lru", .slots = 2}).hits, 2);
    CHECK_EQ(replay(ledger, t, (mp_replay_options){.policy = "lru", .slots = 2, .one_by_one = true}).hits, 1);
    mp_trace_close(&t);
    mp_ledger_close(&ledger);
}

TEST(a_set_larger_than_the_cache_goes_through_scratch) {
    static const uint16_t IDS[] = {0, 1, 2, 0, 1, 2, 2, 1, 0};
    mp_ledger *ledger = open_ledger();
    mp_trace *t = by_hand(ledger, (mp_trace_shape){.layers = 1, .experts = 3, .top_k = 3}, IDS, 3);
    REQUIRE(t != NULL);
    for (int i = 0; mp_policy_name_at(i); i++) { /* two are kept, the third is never there */
        mp_replay_result r = replay(ledger, t, (mp_replay_options){.policy = mp_policy_name_at(i), .slots = 2});
        CHECK_EQ(r.hits, 4);
        CHECK_EQ(r.accesses, 9);
    }
    mp_trace_close(&t);
    mp_ledger_close(&ledger);
}

TEST(slots_are_shared_or_each_layers_own) {
    static const uint16_t IDS[] = {0, 0, 1, 0, 2, 0, 0, 0, 1, 0, 2, 0}; /* layer 0 goes round three, layer 1 stays */
    mp_ledger *ledger = open_ledger();
    mp_replay_result layer[2], r;
    mp_trace *t = by_hand(ledger, (mp_trace_shape){.layers = 2, .experts = 4, .top_k = 1}, IDS, 6);
    REQUIRE(t != NULL);
    CHECK_OK(mp_replay(ledger, t, &(mp_replay_options){.policy = "lru", .slots = 2}, layer, &r));
    CHECK_EQ(r.slots, 4);
    CHECK_EQ(layer[0].hits, 3); /* three of the four slots are enough for it */
    CHECK_EQ(layer[1].hits, 5);
    CHECK_OK(mp_replay(ledger, t, &(mp_replay_options){.policy = "lru", .slots = 2, .per_layer = true}, layer, &r));
    CHECK_EQ(r.slots, 4);
    CHECK_EQ(layer[0].hits, 0);
    CHECK_EQ(layer[1].hits, 5);
    CHECK_EQ(layer[0].accesses, 6);
    CHECK_EQ(mp_replay(ledger, t, &(mp_replay_options){.policy = "lru", .slots = 1.5, .per_layer = true}, NULL, &r), MP_E_USAGE);
    CHECK_OK(mp_replay(ledger, t, &(mp_replay_options){.policy = "lru", .slots = 1.5}, NULL, &r));
    CHECK_EQ(r.slots, 3);
    CHECK_EQ(mp_replay(ledger, t, &(mp_replay_options){.policy = "lru", .slots = 0.2}, NULL, &r), MP_E_USAGE);
    CHECK_EQ(mp_replay(ledger, t, &(mp_replay_options){.policy = "lru"}, NULL, &r), MP_E_USAGE);
    CHECK_EQ(mp_replay(ledger, t, &(mp_replay_options){.policy = "best", .slots = 2}, NULL, &r), MP_E_USAGE);
    mp_trace_close(&t);
    mp_ledger_close(&ledger);
}

TEST(a_prompt_is_one_access_a_page_and_batch) {
    static const uint16_t IDS[] = {5, 6, 5, 7, 5, 6, 5, 6};
    mp_ledger *ledger = open_ledger();
    mp_trace *t = by_hand(ledger, (mp_trace_shape){.layers = 1, .experts = 8, .top_k = 2}, IDS, 4);
    REQUIRE(t != NULL && t->prefill != NULL);
    memset(t->prefill, 1, 3);
    mp_replay_result r = replay(ledger, t, (mp_replay_options){.policy = "lru", .slots = 8}); /* {5 6 7}, {5 6} */
    CHECK_EQ(r.accesses, 5);
    CHECK_EQ(r.hits, 2);
    r = replay(ledger, t, (mp_replay_options){.policy = "lru", .slots = 8, .batch_tok = 2}); /* {5 6 7}, {5 6}, {5 6} */
    CHECK_EQ(r.accesses, 7);
    CHECK_EQ(r.hits, 4);
    r = replay(ledger, t, (mp_replay_options){.policy = "lru", .slots = 8, .one_by_one = true});
    CHECK_EQ(r.accesses, 8);
    mp_trace_close(&t);
    mp_ledger_close(&ledger);
}

TEST(five_hundred_experts_and_two_layers_of_ten) {
    mp_ledger *ledger = open_ledger();
    mp_trace *t = routes_make(ledger, (mp_trace_shape){.layers = 2, .experts = 512, .top_k = 10}, 300, ROUTES_STICKY, 1);
    REQUIRE(t != NULL);
    mp_replay_result all = replay(ledger, t, (mp_replay_options){.policy = "lru", .slots = 512}), few = replay(ledger, t, (mp_replay_options){.slots = 64});
    bool seen[2][512] = {{0}};
    uint64_t distinct = 0;
    for (uint64_t i = 0; i < t->tokens * 2; i++)
        for (uint32_t k = 0; k < 10; k++) {
            bool *s = &seen[i % 2][t->ids[i * 10 + k]];
            distinct += !*s;
            *s = true;
        }
    CHECK(distinct > 512);
    CHECK_EQ(all.accesses - all.hits, distinct); /* with room for all, each is read once */
    CHECK(few.hits > 0 && few.hits < all.hits);
    CHECK_EQ(few.hits, replay(ledger, t, (mp_replay_options){.policy = "adaptive", .slots = 64}).hits); /* the default, and the same bits again */
    mp_trace_close(&t);
    mp_ledger_close(&ledger);
}

static int stop(void *user, uint64_t done, uint64_t total) {
    (void)total;
    *(uint64_t *)user = done;
    return 1;
}

TEST(stops_when_asked_and_keeps_no_memory) {
    mp_ledger *ledger = open_ledger();
    uint64_t done = 0;
    mp_replay_result r;
    mp_trace *t = routes_make(ledger, (mp_trace_shape){.layers = 8, .experts = 8, .top_k = 1}, 20000, ROUTES_UNIFORM, 1);
    REQUIRE(t != NULL);
    uint64_t before = mp_ledger_used(ledger, MP_TIER_RAM);
    CHECK_EQ(mp_replay(ledger, t, &(mp_replay_options){.policy = "lru", .slots = 2, .progress = stop, .user = &done}, NULL, &r), MP_E_CANCELLED);
    CHECK(done > 0 && done < 160000 && r.hits == 0);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), before);
    for (int i = 0; i < 30; i++) { /* whatever allocation does not fit: refused, and given back */
        mp_ledger_set_limit(ledger, MP_TIER_RAM, before + (uint64_t)i * 2000 + 1);
        const char *name = i % 2 ? "oracle" : "adaptive";
        mp_err err = mp_replay(ledger, t, &(mp_replay_options){.policy = name, .slots = 2, .progress = stop, .user = &done}, NULL, &r);
        CHECK(err == MP_E_BUDGET || err == MP_E_CANCELLED);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), before);
    }
    mp_trace_close(&t);
    mp_ledger_close(&ledger);
}

int main(void) {
    RUN(reproduces_the_reference_figures);
    RUN(oracle_is_the_best_that_the_rules_allow);
    RUN(nobody_beats_the_oracle);
    RUN(a_set_is_seen_whole_before_anybody_leaves);
    RUN(a_set_larger_than_the_cache_goes_through_scratch);
    RUN(slots_are_shared_or_each_layers_own);
    RUN(a_prompt_is_one_access_a_page_and_batch);
    RUN(five_hundred_experts_and_two_layers_of_ten);
    RUN(stops_when_asked_and_keeps_no_memory);
    return test_done();
}
