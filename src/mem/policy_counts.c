/* Policies that count uses: `lfu` with counts that fade, `static` with counts that stay. */
#include "mem/policy_rank.h"

enum { LFU_TOKENS = 512 }; /* time constant of lfu's counts: long enough to be about frequency, short enough to follow another subject */

typedef struct counts {
    mp_rank rank;
    double *count;  /* [pages] */
    float    keep;  /* what one token leaves of a count */
    bool    frozen; /* static with heat: uses change nothing */
} counts;

/* Closed form of `tokens` steps in each of which the page was used with probability rows / tokens. */
static void count_set(counts *c, const mp_access *set) {
    uint32_t tokens = set->tokens ? set->tokens : 1, g = mp_rank_group(&c->rank, set->pages[0]), first = g * c->rank.group_pages;
    double keep = mp_rank_power(c->keep, tokens), add = c->keep < 1 ? (1 - keep) / (1 - c->keep) / tokens : 1;
    for (uint32_t p = first; keep < 1 && p < first + c->rank.group_pages && p < c->rank.pages; p++) c->count[p] *= keep;
    for (uint32_t i = 0; i < set->n; i++) c->count[set->pages[i]] += add * (set->rows ? set->rows[i] : 1);
}

static void access_set(void *self, const mp_access *set) {
    counts *c = self;
    if (!set->n) return;
    if (!c->frozen) count_set(c, set);
    mp_rank_bring_back(&c->rank, c->count);
    mp_rank_score(&c->rank, mp_rank_group(&c->rank, set->pages[0]), c->count);
}

static void loaded(void *self, uint32_t page) {
    counts *c = self;
    mp_rank_hold(&c->rank, page, c->count[page]);
}

static void evicted(void *self, uint32_t page) {
    counts *c = self;
    mp_rank_drop(&c->rank, page);
}

static uint32_t victim(void *self, bool (*ok)(void *arg, uint32_t page), void *arg) {
    counts *c = self;
    return mp_rank_victim(&c->rank, NULL, c->count, ok, arg);
}

static void close_counts(void *self) {
    counts *c = self;
    mp_rank_close(&c->rank);
    MP_FREE(c->count);
    mp_free(c);
}

static mp_err open_counts(mp_ledger *ledger, const mp_policy_config *config, const char *name, float keep, mp_policy *out) {
    counts *c;
    *out = (mp_policy){0};
    mp_err err = MP_NEW(ledger, MP_OWN_OVERHEAD, counts, 1, &c);
    if (err) return err;
    err = mp_rank_open(ledger, config, &c->rank);
    if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, double, config->pages, &c->count);
    if (err) {
        close_counts(c);
        return err;
    }
    c->keep = keep;
    *out = (mp_policy){.self = c, .name = name, .access = access_set, .loaded = loaded, .evicted = evicted, .victim = victim, .close = close_counts};
    return MP_OK;
}

mp_err mp_policy_lfu(mp_ledger *ledger, const mp_policy_config *config, mp_policy *out) {
    return open_counts(ledger, config, "lfu", 1 - 1.0f / LFU_TOKENS, out);
}

mp_err mp_policy_static(mp_ledger *ledger, const mp_policy_config *config, mp_policy *out) {
    mp_err err = open_counts(ledger, config, "static", 1, out);
    if (err || !config->heat) return err;
    counts *c = out->self;
    for (uint32_t p = 0; p < config->pages; p++) c->count[p] = config->heat[p];
    c->frozen = true;
    return MP_OK;
}
