/* The clairvoyant bound: the page whose next use is furthest leaves (Belady 1966). */
#include "mem/policy_rank.h"
#include "mem/replay.h"

typedef struct oracle {
    mp_rank   rank;
    double   *soon;  /* [pages] minus the number of the access of its next use; what is never used again comes first to leave */
    uint64_t *start; /* [accesses + 1] where each access's pages begin in next */
    uint64_t *next;  /* [ids] of each page of each access: the access of its next use */
    uint64_t  at;    /* accesses seen */
} oracle;

static void access_set(void *self, const mp_access *set) {
    oracle *o = self;
    const uint64_t *next = o->next + o->start[o->at++];
    for (uint32_t i = 0; i < set->n; i++) o->soon[set->pages[i]] = -(double)next[i];
    mp_rank_bring_back(&o->rank, o->soon);
    if (set->n) mp_rank_score(&o->rank, mp_rank_group(&o->rank, set->pages[0]), o->soon);
}

static void loaded(void *self, uint32_t page) {
    oracle *o = self;
    mp_rank_hold(&o->rank, page, o->soon[page]);
}

static void evicted(void *self, uint32_t page) {
    oracle *o = self;
    mp_rank_drop(&o->rank, page);
}

static uint32_t victim(void *self, bool (*ok)(void *arg, uint32_t page), void *arg) {
    oracle *o = self;
    return mp_rank_victim(&o->rank, NULL, o->soon, ok, arg);
}

static void close_oracle(void *self) {
    oracle *o = self;
    mp_rank_close(&o->rank);
    MP_FREE(o->soon);
    MP_FREE(o->start);
    MP_FREE(o->next);
    mp_free(o);
}

void mp_replay_oracle_order(void *self, uint32_t *pages, uint32_t n) {
    const oracle *o = self;
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t j = i; j > 0 && o->soon[pages[j]] > o->soon[pages[j - 1]]; j--) {
            uint32_t page = pages[j];
            pages[j] = pages[j - 1];
            pages[j - 1] = page;
        }
}

/* Twice through the feed: to count, and to fill; then backwards through what was written down. */
static mp_err look_ahead(mp_ledger *ledger, oracle *o, mp_replay_feed *feed, int layer) {
    uint64_t accesses = 0, ids = 0, *last = NULL;
    uint32_t l;
    mp_access set;
    for (mp_replay_feed_rewind(feed, layer); mp_replay_feed_next(feed, &set, &l); accesses++) ids += set.n;
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, uint64_t, accesses + 1, &o->start);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, uint64_t, ids, &o->next);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, uint64_t, o->rank.pages, &last);
    if (err) return err;
    uint64_t a = 0;
    for (mp_replay_feed_rewind(feed, layer); mp_replay_feed_next(feed, &set, &l); a++) {
        o->start[a + 1] = o->start[a] + set.n;
        for (uint32_t i = 0; i < set.n; i++) o->next[o->start[a] + i] = set.pages[i];
    }
    for (uint32_t p = 0; p < o->rank.pages; p++) last[p] = accesses;
    for (; a-- > 0;)
        for (uint64_t i = o->start[a]; i < o->start[a + 1]; i++) {
            uint64_t page = o->next[i];
            o->next[i] = last[page];
            last[page] = a;
        }
    mp_free(last);
    mp_replay_feed_rewind(feed, layer);
    return MP_OK;
}

mp_err mp_replay_oracle(mp_ledger *ledger, const mp_policy_config *config, mp_replay_feed *feed, int layer, mp_policy *out) {
    oracle *o;
    *out = (mp_policy){0};
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, oracle, 1, &o);
    if (err) return err;
    err = mp_rank_open(ledger, config, &o->rank);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, double, config->pages, &o->soon);
    if (!err) err = look_ahead(ledger, o, feed, layer);
    if (err) {
        close_oracle(o);
        return err;
    }
    *out = (mp_policy){.self = o, .name = "oracle", .access = access_set, .loaded = loaded, .evicted = evicted, .victim = victim, .close = close_oracle};
    return MP_OK;
}
