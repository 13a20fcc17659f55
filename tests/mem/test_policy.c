/* Policies: LRU against a naive one; what each promises; what none may do. */
#include "support/routes.h"
#include "test.h"

#include "mem/replay.h"

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
    CHECK_STR(policy.name, "adaptive");
    policy.close(policy.self);
    for (int i = 0; mp_policy_name_at(i); i++) {
        CHECK_OK(mp_policy_open(ledger, &(mp_policy_config){.name = mp_policy_name_at(i), .pages = 12, .group_pages = 4}, &policy));
        CHECK_STR(policy.name, mp_policy_name_at(i));
        CHECK_EQ(policy.victim(policy.self, may_go, NULL), UINT32_MAX); /* nothing is there, nobody is asked */
        policy.close(policy.self);
    }
    CHECK_STR(mp_policy_name_at(0), "adaptive");
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    CHECK_EQ(mp_policy_open(ledger, &(mp_policy_config){.name = "best", .pages = 4}, &policy), MP_E_USAGE);
    CHECK(policy.self == NULL && strstr(mp_err_text(), "best") && strstr(mp_err_text(), "lru"));
    mp_ledger_set_limit(ledger, MP_TIER_RAM, 1000);
    CHECK_EQ(mp_policy_open(ledger, &(mp_policy_config){.name = "lru", .pages = 1000}, &policy), MP_E_BUDGET);
    CHECK(policy.self == NULL && policy.victim == NULL);
    mp_ledger_close(&ledger);
}

/* ---- every policy ---- */

static void use(mp_policy *p, seen *s, const mp_access *set) {
    p->access(p->self, set);
    for (uint32_t i = 0; i < set->n; i++) {
        if (!s->resident[set->pages[i]]) p->loaded(p->self, set->pages[i]);
        s->resident[set->pages[i]] = true;
    }
}

static bool is_there(void *arg, uint32_t page) {
    const seen *s = arg;
    return s->resident[page] && !s->banned[page];
}

static mp_policy open_policy(mp_ledger *ledger, const char *name, const float *heat) {
    mp_policy p = {0};
    CHECK_OK(mp_policy_open(ledger, &(mp_policy_config){.name = name, .pages = PAGES, .group_pages = 10, .heat = heat}, &p));
    return p;
}

/* Whatever is refused, one that may go is found as long as there is one, and nothing is allocated on the way. */
TEST(find_the_one_that_may_go) {
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    for (int i = 0; mp_policy_name_at(i); i++) {
        mp_policy p = open_policy(ledger, mp_policy_name_at(i), NULL);
        static seen s;
        memset(&s, 0, sizeof s);
        uint64_t used = mp_ledger_used(ledger, MP_TIER_RAM);
        unsigned state = 7;
        for (int step = 0; step < 3000; step++) {
            uint32_t group = routes_random(&state, 5) * 10, a = routes_random(&state, 10), b = routes_random(&state, 9), set[2] = {group + a, group + (b < a ? b : b + 1)};
            uint32_t can = 0, any = 0;
            use(&p, &s, &(mp_access){.pages = set, .n = 2, .tokens = 1});
            for (uint32_t j = 0; j < PAGES; j++) s.banned[j] = routes_random(&state, 8) != 0;
            for (uint32_t j = 0; j < PAGES; j++) can += is_there(&s, j), any = is_there(&s, j) ? j : any;
            uint32_t victim = p.victim(p.self, is_there, &s);
            CHECK((victim != UINT32_MAX) == (can > 0));
            if (can == 1) CHECK_EQ(victim, any);
            if (victim == UINT32_MAX) continue;
            CHECK(is_there(&s, victim));
            if (step % 2) p.evicted(p.self, victim), s.resident[victim] = false;
        }
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), used);
        p.close(p.self);
    }
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&ledger);
}

/* The same accesses, victims and evictions, with loaded() at once or three sets later: the same choices. */
TEST(do_not_care_when_pages_land) {
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    mp_trace *t = routes_make(ledger, (mp_trace_shape){.layers = 5, .experts = 10, .top_k = 2}, 600, ROUTES_STICKY, 3);
    REQUIRE(t != NULL);
    for (int i = 0; mp_policy_name_at(i); i++) {
        mp_policy now = open_policy(ledger, mp_policy_name_at(i), NULL), late = open_policy(ledger, mp_policy_name_at(i), NULL);
        static seen s;
        uint32_t waiting[3][2], n_waiting[3] = {0}, held = 0;
        memset(&s, 0, sizeof s);
        for (uint64_t step = 0; step < t->tokens * 5; step++) {
            uint32_t set[2], missing[2], n = 0;
            for (int k = 0; k < 2; k++) set[k] = (uint32_t)(step % 5) * 10 + t->ids[step * 2 + k];
            const mp_access access = {.pages = set, .n = 2, .tokens = 1};
            now.access(now.self, &access);
            late.access(late.self, &access);
            for (uint32_t j = 0; j < n_waiting[step % 3]; j++) {
                late.loaded(late.self, waiting[step % 3][j]);
                s.banned[waiting[step % 3][j]] = false; /* on its way until now: no victim for either */
            }
            s.banned[set[0]] = s.banned[set[1]] = true;
            for (int k = 0; k < 2; k++)
                if (!s.resident[set[k]]) missing[n++] = set[k];
            for (uint32_t j = 0; j < n; j++) {
                if (held == 20) {
                    uint32_t victim = now.victim(now.self, is_there, &s);
                    CHECK_EQ(victim, late.victim(late.self, is_there, &s));
                    REQUIRE(victim != UINT32_MAX);
                    now.evicted(now.self, victim);
                    late.evicted(late.self, victim);
                    s.resident[victim] = false;
                    held--;
                }
                now.loaded(now.self, missing[j]);
                s.resident[missing[j]] = true;
                held++;
            }
            for (int k = 0; k < 2; k++) s.banned[set[k]] = false;
            memcpy(waiting[step % 3], missing, sizeof missing);
            n_waiting[step % 3] = n;
            for (uint32_t j = 0; j < n; j++) s.banned[missing[j]] = true;
        }
        CHECK_EQ(held, 20);
        now.close(now.self);
        late.close(late.self);
    }
    mp_trace_close(&t);
    mp_ledger_close(&ledger);
}

/* A prompt of 400 tokens, of which one uses each of pages 4 to 9: they leave before what decode used all the time, and before what the
 * whole prompt used. */
TEST(a_long_prompt_does_not_flush) {
    static const char *const NAMES[] = {"adaptive", "lfu", "static"};
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        mp_policy p = open_policy(ledger, NAMES[i], NULL);
        static seen s;
        static const uint32_t HOT[2] = {0, 1}, BATCH[8] = {2, 3, 4, 5, 6, 7, 8, 9};
        static const uint16_t ROWS[8] = {400, 394, 1, 1, 1, 1, 1, 1};
        memset(&s, 0, sizeof s);
        for (int step = 0; step < 500; step++) use(&p, &s, &(mp_access){.pages = HOT, .n = 2, .tokens = 1});
        use(&p, &s, &(mp_access){.pages = BATCH, .n = 8, .tokens = 400, .rows = ROWS});
        for (int step = 0; step < 2; step++) use(&p, &s, &(mp_access){.pages = HOT, .n = 2, .tokens = 1});
        for (int n = 0; n < 6; n++) {
            uint32_t victim = p.victim(p.self, is_there, &s);
            CHECK(victim >= 4 && victim <= 9);
            if (victim >= PAGES) break;
            p.evicted(p.self, victim);
            s.resident[victim] = false;
        }
        p.close(p.self);
    }
    mp_ledger_close(&ledger);
}

TEST(static_keeps_to_its_heat) {
    mp_ledger *ledger = NULL;
    float heat[PAGES];
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    for (uint32_t i = 0; i < PAGES; i++) heat[i] = (float)(i * 37 % PAGES);
    mp_policy p = open_policy(ledger, "static", heat);
    static seen s;
    unsigned state = 1;
    memset(heat, 0, sizeof heat); /* it was copied */
    for (int step = 0; step < 300; step++) {
        uint32_t set = routes_random(&state, PAGES), coldest = UINT32_MAX;
        use(&p, &s, &(mp_access){.pages = &set, .n = 1, .tokens = 1});
        for (uint32_t i = 0; i < PAGES; i++)
            if (s.resident[i] && (coldest == UINT32_MAX || i * 37 % PAGES < coldest * 37 % PAGES)) coldest = i;
        CHECK_EQ(p.victim(p.self, is_there, &s), coldest);
        p.evicted(p.self, coldest);
        s.resident[coldest] = false;
    }
    p.close(p.self);
    mp_ledger_close(&ledger);
}

/* ---- adaptive ---- */

/* Warmed from a profile: what was hot then stays before what was not, also once the layer has been used. */
TEST(adaptive_begins_with_its_heat) {
    mp_ledger *ledger = NULL;
    float heat[PAGES];
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    for (uint32_t i = 0; i < PAGES; i++) heat[i] = (float)(1 + i * 37 % PAGES);
    mp_policy p = open_policy(ledger, "adaptive", heat);
    static seen s;
    memset(&s, 0, sizeof s);
    for (uint32_t i = 0; i < PAGES; i++) p.loaded(p.self, i), s.resident[i] = true;
    for (uint32_t g = 0; g < 5; g++) use(&p, &s, &(mp_access){.pages = (const uint32_t[]){g * 10}, .n = 1, .tokens = 1});
    int cold = 0;
    for (int n = 0; n < 20; n++) {
        uint32_t victim = p.victim(p.self, is_there, &s);
        REQUIRE(victim < PAGES);
        cold += heat[victim] <= PAGES * 0.6;
        p.evicted(p.self, victim);
        s.resident[victim] = false;
    }
    CHECK(cold >= 18);
    p.close(p.self);
    mp_ledger_close(&ledger);
}

/* Hits of a policy in parts of a thousand. */
static int rate(mp_ledger *ledger, const mp_trace *t, const char *policy, double slots) {
    mp_replay_result r = {0};
    CHECK_OK(mp_replay(ledger, t, &(mp_replay_options){.policy = policy, .slots = slots}, NULL, &r));
    return r.accesses ? (int)(r.hits * 1000 / r.accesses) : 0;
}

TEST(adaptive_is_never_much_below_the_better_of_lru_and_lfu) {
    static const mp_trace_shape SHAPES[] = {{4, 32, 4}, {6, 8, 2}, {2, 300, 10}, {5, 40, 1}};
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    for (size_t shape = 0; shape < sizeof SHAPES / sizeof *SHAPES; shape++)
        for (int kind = 0; kind < ROUTES_KINDS; kind++) {
            uint32_t tokens = 16000 / (SHAPES[shape].layers * SHAPES[shape].top_k); /* fewer accesses tell half a point no more from luck */
            mp_trace *t = routes_make(ledger, SHAPES[shape], tokens, (routes_kind)kind, 11);
            REQUIRE(t != NULL);
            for (int part = 1; part <= 24; part = part * 2 + (part == 1)) { /* 3, 9, 21, 44 % */
                double slots = SHAPES[shape].experts * part / 32.0;
                if (slots * SHAPES[shape].layers < 1) continue;
                int lru = rate(ledger, t, "lru", slots), lfu = rate(ledger, t, "lfu", slots), ours = rate(ledger, t, "adaptive", slots);
                if (ours + 5 < (lru > lfu ? lru : lfu)) printf("shape %zu kind %d slots %g: %d, lru %d, lfu %d\n", shape, kind, slots, ours, lru, lfu);
                CHECK(ours + 5 >= lru && ours + 5 >= lfu);
            }
            mp_trace_close(&t);
        }
    mp_ledger_close(&ledger);
}

/* Experts that go together: what one token used tells what the next one will. Counts can't know it. */
TEST(adaptive_learns_who_follows_whom) {
    mp_ledger *ledger = NULL;
    unsigned state = 5;
    uint32_t now = 0;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    mp_trace *t = NULL;
    CHECK_OK(mp_trace_make(ledger, MP_OWN_WORK, (mp_trace_shape){2, 64, 1}, 6000, &t));
    for (uint32_t i = 0; i < 6000; i++) {
        now = routes_random(&state, 5) ? (now * 29 + 7) % 64 : routes_random(&state, 64); /* four times of five the one that always follows */
        t->ids[i * 2] = t->ids[i * 2 + 1] = (uint16_t)now;
    }
    int lru = rate(ledger, t, "lru", 16), lfu = rate(ledger, t, "lfu", 16), ours = rate(ledger, t, "adaptive", 16);
    printf("lru %d, lfu %d, adaptive %d of 1000\n", lru, lfu, ours);
    CHECK(ours > lru + 20 && ours > lfu + 20);
    mp_trace_close(&t);
    mp_ledger_close(&ledger);
}

int main(void) {
    RUN(names_the_same_victims_as_a_naive_one);
    RUN(landing_is_a_use_only_for_the_unannounced);
    RUN(knows_its_names);
    RUN(find_the_one_that_may_go);
    RUN(do_not_care_when_pages_land);
    RUN(a_long_prompt_does_not_flush);
    RUN(static_keeps_to_its_heat);
    RUN(adaptive_begins_with_its_heat);
    RUN(adaptive_is_never_much_below_the_better_of_lru_and_lfu);
    RUN(adaptive_learns_who_follows_whom);
    return test_done();
}
