/* The default policy: whoever is least likely to be used soon leaves; and when a simpler rule would have had more hits, that rule.
 *
 *   forecast     p of each page at the next access of its group (policy_forecast.h), divided by how far away that access is: a page that is
 *                passed over in two layers' time and then leaves costs its slot less long than one that has just been used
 *   rivals       LRU, counts that fade in 512 tokens, counts that stay
 *   shadows      each of the four runs a cache of its own, of as many pages as are resident, without contents. The one whose hits of the last
 *                thousands of tokens lead decides who really leaves
 *
 * Capacity is not told to a policy: it is the number of pages held when the last access that needed victims was done with.
 * A batch's accesses teach the forecast and fill the shadows, but do not count in the race: what shall be hit is decode. */
#include "mem/policy_forecast.h"
#include "mem/policy_rank.h"

#include "num/kern.h"

typedef enum rule { FORECAST, LRU, FADING, STAYING, RULES } rule;

static const double RACE_TOKENS = 2000;   /* time constant of the hits that are compared */
static const double LEAD_PART = 0.003, LEAD_SETS = 4; /* ahead by this part, and by so many accesses' sets: then the leader changes */
static const float  FADE_KEEP = 1 - 1.0f / 512;

typedef struct adaptive {
    mp_forecast forecast;
    double     *score[RULES]; /* [pages] */
    mp_rank     shadow[RULES], real;
    double      hits[RULES], race_keep;
    rule        leader;
    uint32_t    capacity;     /* of the shadows; 0: not known yet, nothing had to leave */
    bool        evicting;     /* victims were asked for since the last access */
    double      now;          /* accessed pages so far: LRU's clock */
    double     *near;         /* [groups] 1 / (accesses until the group's next one + groups) */
    uint8_t    *missed;       /* [group_pages] of a set: which of it a shadow misses */
} adaptive;

static void set_near(adaptive *a, uint32_t group) {
    uint32_t n = a->real.groups;
    for (uint32_t g = 0; g < n; g++) a->near[g] = 1.0 / ((g + n - group - 1) % n + 1 + n);
}

static const double *near_of(const adaptive *a, rule r) {
    return r == FORECAST ? a->near : NULL;
}

/* Scores of the set's group by each rule. */
static void score_group(adaptive *a, const mp_access *set, uint32_t group) {
    const mp_rank *r = &a->real;
    uint32_t first = group * r->group_pages, end = first + r->group_pages < r->pages ? first + r->group_pages : r->pages;
    double keep = mp_rank_power(FADE_KEEP, set->tokens), add = (1 - keep) / (1 - FADE_KEEP) / set->tokens;
    mp_forecast_access(&a->forecast, set, a->score[FORECAST]);
    for (uint32_t p = first; p < end; p++) a->score[FADING][p] *= keep;
    for (uint32_t i = 0; i < set->n; i++) {
        uint32_t p = set->pages[i], rows = set->rows ? set->rows[i] : 1;
        a->score[LRU][p] = ++a->now;
        a->score[FADING][p] += add * rows;
        a->score[STAYING][p] += rows;
    }
}

/* What this rule's cache would have done. Returns its hits. */
static uint32_t run_shadow(adaptive *a, rule r, const mp_access *set, uint32_t group) {
    mp_rank *s = &a->shadow[r];
    uint32_t hits = 0;
    mp_rank_bring_back(s, a->score[r]);
    for (uint32_t i = 0; i < set->n; i++) {
        hits += s->held[set->pages[i]];
        a->missed[i] = !s->held[set->pages[i]];
        s->n += a->missed[i];
        s->held[set->pages[i]] = 1;
    }
    mp_rank_score(s, group, a->score[r]);
    for (uint32_t i = 0; i < set->n; i++) mp_rank_aside(s, set->pages[i]);
    for (uint32_t p; a->capacity && s->n > a->capacity && (p = mp_rank_lowest(s, near_of(a, r))) != MP_NO_PAGE;) mp_rank_drop(s, p);
    for (uint32_t i = set->n; i-- > 0 && a->capacity && s->n > a->capacity;) /* a set larger than the cache: its last misses find no slot */
        if (a->missed[i]) mp_rank_drop(s, set->pages[i]);
    return hits;
}

static void race(adaptive *a, const uint32_t hits[RULES], uint32_t n) {
    rule best = FORECAST;
    for (int r = 0; r < RULES; r++) {
        a->hits[r] = a->hits[r] * a->race_keep + hits[r];
        if (a->hits[r] > a->hits[best]) best = (rule)r;
    }
    double lead = a->hits[best] - a->hits[a->leader];
    if (lead <= LEAD_PART * a->hits[a->leader] || lead <= LEAD_SETS * n) return;
    a->leader = best;
    for (uint32_t g = 0; g < a->real.groups; g++) mp_rank_score(&a->real, g, a->score[best]);
}

static void access_set(void *self, const mp_access *given) {
    adaptive *a = self;
    mp_access set = *given;
    uint32_t hits[RULES] = {0};
    if (!set.n) return;
    if (!set.tokens) set.tokens = 1;
    if (a->evicting || (a->capacity && a->real.n > a->capacity)) a->capacity = a->real.n;
    a->evicting = false;
    uint32_t group = mp_rank_group(&a->real, set.pages[0]);
    score_group(a, &set, group);
    set_near(a, group);
    for (int r = 0; r < RULES; r++) hits[r] = run_shadow(a, (rule)r, &set, group);
    mp_rank_bring_back(&a->real, a->score[a->leader]);
    if (set.tokens == 1) race(a, hits, set.n);
    for (uint32_t i = 0; i < set.n; i++) mp_rank_hold(&a->real, set.pages[i], 0);
    mp_rank_score(&a->real, group, a->score[a->leader]);
    for (uint32_t i = 0; i < set.n; i++) mp_rank_aside(&a->real, set.pages[i]);
}

/* Announced pages are held since their access; this is for hints and the filling at start. */
static void loaded(void *self, uint32_t page) {
    adaptive *a = self;
    if (!a->real.held[page]) mp_rank_hold(&a->real, page, a->score[a->leader][page]);
}

static void evicted(void *self, uint32_t page) {
    adaptive *a = self;
    mp_rank_drop(&a->real, page);
}

static uint32_t victim(void *self, bool (*ok)(void *arg, uint32_t page), void *arg) {
    adaptive *a = self;
    a->evicting = true;
    return mp_rank_victim(&a->real, near_of(a, a->leader), a->score[a->leader], ok, arg);
}

static void close_adaptive(void *self) {
    adaptive *a = self;
    mp_forecast_close(&a->forecast);
    mp_rank_close(&a->real);
    for (int r = 0; r < RULES; r++) {
        mp_rank_close(&a->shadow[r]);
        MP_FREE(a->score[r]);
    }
    MP_FREE(a->near);
    MP_FREE(a->missed);
    mp_free(a);
}

static mp_err open_parts(mp_ledger *ledger, const mp_policy_config *config, adaptive *a) {
    mp_err err = mp_forecast_open(ledger, config, &a->forecast);
    if (!err) err = mp_rank_open(ledger, config, &a->real);
    for (int r = 0; r < RULES && !err; r++) {
        err = mp_rank_open(ledger, config, &a->shadow[r]);
        if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, double, config->pages, &a->score[r]);
    }
    if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, double, a->real.groups, &a->near);
    if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, uint8_t, a->real.group_pages, &a->missed);
    return err;
}

mp_err mp_policy_adaptive(mp_ledger *ledger, const mp_policy_config *config, mp_policy *out) {
    adaptive *a;
    *out = (mp_policy){0};
    mp_err err = MP_NEW(ledger, MP_OWN_OVERHEAD, adaptive, 1, &a);
    if (err) return err;
    err = open_parts(ledger, config, a);
    if (err) {
        close_adaptive(a);
        return err;
    }
    a->race_keep = 1 - 1 / (RACE_TOKENS * (a->real.groups ? a->real.groups : 1));
    set_near(a, 0);
    for (uint32_t p = 0; config->heat && p < config->pages; p++) a->score[FORECAST][p] = a->forecast.page[p].count[MP_FORECAST_COUNTS - 1]; /* until it is forecast */
    *out = (mp_policy){.self = a, .name = "adaptive", .access = access_set, .loaded = loaded, .evicted = evicted, .victim = victim, .close = close_adaptive};
    return MP_OK;
}
