/* The simulator: see replay.h. */
#include "mem/replay.h"

#include <math.h>
#include <string.h>

enum { PROGRESS_ACCESSES = 1 << 16 };

typedef struct cache {
    uint32_t  pages, slots, n; /* n: slots taken */
    uint8_t  *resident;   /* [pages] */
    uint64_t *wanted;     /* [pages] number of the last access whose set it was in */
    uint32_t *missing;    /* [pages of a group] */
    uint64_t  access;
    bool      clairvoyant;
    mp_policy policy;
} cache;

static bool may_go(void *arg, uint32_t page) {
    const cache *c = arg;
    return c->resident[page] && c->wanted[page] != c->access;
}

static void leave(cache *c, uint32_t page) {
    c->policy.evicted(c->policy.self, page);
    c->resident[page] = 0;
    c->n--;
}

static void admit(cache *c, uint32_t page) {
    if (c->n == c->slots) {
        uint32_t victim = c->policy.victim(c->policy.self, may_go, c);
        if (victim == UINT32_MAX) { /* scratch: announced, and never there */
            c->policy.evicted(c->policy.self, page);
            return;
        }
        leave(c, victim);
    }
    c->n++;
    c->resident[page] = 1;
    c->policy.loaded(c->policy.self, page);
}

/* A set larger than the cache, for the clairvoyant: whatever it had leaves, and of the set those stay that are used soonest. Others have no choice:
 * they keep what they had of it. */
static void keep_soonest(cache *c, const mp_access *set) {
    for (uint32_t p = 0; p < c->pages && c->n; p++)
        if (c->resident[p]) leave(c, p);
    memcpy(c->missing, set->pages, set->n * sizeof *c->missing);
    mp_replay_oracle_order(c->policy.self, c->missing, set->n);
    for (uint32_t i = 0; i < set->n; i++) admit(c, c->missing[i]);
}

/* Returns the hits. */
static uint32_t serve(cache *c, const mp_access *set) {
    uint32_t n = 0;
    c->access++;
    c->policy.access(c->policy.self, set);
    for (uint32_t i = 0; i < set->n; i++) {
        c->wanted[set->pages[i]] = c->access;
        if (!c->resident[set->pages[i]]) c->missing[n++] = set->pages[i];
    }
    if (c->clairvoyant && set->n > c->slots) {
        keep_soonest(c, set);
        return set->n - n;
    }
    for (uint32_t i = 0; i < n; i++) admit(c, c->missing[i]);
    return set->n - n;
}

static void close_cache(cache *c) {
    if (c->policy.close) c->policy.close(c->policy.self);
    MP_FREE(c->resident);
    MP_FREE(c->wanted);
    MP_FREE(c->missing);
}

static mp_err open_cache(mp_ledger *ledger, const mp_replay_options *o, const mp_policy_config *config, mp_replay_feed *feed, int layer, cache *c) {
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, uint8_t, config->pages, &c->resident);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, uint64_t, config->pages, &c->wanted);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, uint32_t, config->group_pages, &c->missing);
    if (err) return err;
    c->clairvoyant = o->policy && !strcmp(o->policy, "oracle");
    return c->clairvoyant ? mp_replay_oracle(ledger, config, feed, layer, &c->policy) : mp_policy_open(ledger, config, &c->policy);
}

/* One cache over the whole feed, or over one layer of it. */
static mp_err run(mp_ledger *ledger, const mp_trace *trace, const mp_replay_options *o, mp_replay_feed *feed, int only, mp_replay_result *layers) {
    mp_policy_config config = {.name = o->policy, .pages = only < 0 ? trace->layers * trace->experts : trace->experts, .group_pages = trace->experts};
    double slots = only < 0 ? round(o->slots * trace->layers) : o->slots;
    cache c = {.pages = config.pages, .slots = slots < config.pages ? (uint32_t)slots : config.pages};
    mp_err err = open_cache(ledger, o, &config, feed, only, &c);
    mp_access set;
    uint32_t layer;
    uint64_t total = trace->tokens * trace->layers * (o->one_by_one ? trace->top_k : 1), before = only < 0 ? 0 : total / trace->layers * (uint64_t)only;
    mp_replay_feed_rewind(feed, only);
    while (!err && mp_replay_feed_next(feed, &set, &layer)) {
        layers[layer].accesses += set.n;
        layers[layer].hits += serve(&c, &set);
        if (o->progress && c.access % PROGRESS_ACCESSES == 0 && o->progress(o->user, before + c.access, total))
            err = mp_fail(MP_E_CANCELLED, "the replay was stopped on request");
    }
    for (uint32_t l = 0; l < trace->layers; l++)
        if (only < 0 || l == (uint32_t)only) layers[l].slots = c.slots;
    close_cache(&c);
    return err;
}

static mp_err check(const mp_trace *trace, const mp_replay_options *o) {
    if (!(o->slots > 0) || !(o->slots < 4e9)) return mp_fail(MP_E_USAGE, "%g slots a layer are not a cache", o->slots);
    if (o->per_layer && o->slots != floor(o->slots))
        return mp_fail(MP_E_USAGE, "%g slots: each layer has whole slots; fractions are for slots that all layers share", o->slots);
    if (!o->per_layer && round(o->slots * trace->layers) < 1) return mp_fail(MP_E_USAGE, "%g slots for each of %u layers are none at all", o->slots, trace->layers);
    if (trace->experts && trace->layers > UINT32_MAX / trace->experts - 1)
        return mp_fail(MP_E_USAGE, "%u layers of %u experts are more pages than can be numbered", trace->layers, trace->experts);
    return MP_OK;
}

mp_err mp_replay(mp_ledger *ledger, const mp_trace *trace, const mp_replay_options *options, mp_replay_result *layer, mp_replay_result *out) {
    mp_replay_result *layers = NULL;
    mp_replay_feed *feed = NULL;
    *out = (mp_replay_result){0};
    mp_err err = check(trace, options);
    if (!err) err = mp_replay_feed_open(ledger, trace, options, &feed);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, mp_replay_result, trace->layers, &layers);
    if (!err && !options->per_layer) err = run(ledger, trace, options, feed, -1, layers);
    for (uint32_t l = 0; !err && options->per_layer && l < trace->layers; l++) err = run(ledger, trace, options, feed, (int)l, layers);
    for (uint32_t l = 0; !err && l < trace->layers; l++) {
        out->accesses += layers[l].accesses;
        out->hits += layers[l].hits;
        out->slots = options->per_layer ? out->slots + layers[l].slots : layers[l].slots;
        if (layer) layer[l] = layers[l];
    }
    mp_replay_feed_close(&feed);
    mp_free(layers);
    return err;
}
