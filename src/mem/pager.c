/* Opening, filling, resizing, flushing and closing the pager. What the pieces of it do is told in pager_int.h. */
#include "mem/pager_int.h"

#include <assert.h>
#include <string.h>
#include <time.h>

enum { READERS = 8 };
enum { FILL_AHEAD = 2 }; /* pages in flight per reader while filling: enough that none idles, few enough that stopping is prompt */

/* ---- open and close ---- */

static void init_sync(mp_pager *pager) { /* none of these can fail on Linux with these attributes */
    pthread_condattr_t attr;
    pthread_mutex_init(&pager->lock, NULL);
    pthread_cond_init(&pager->work, NULL);
    pthread_cond_init(&pager->touch, NULL);
    pthread_cond_init(&pager->touch_done, NULL);
    pthread_mutex_init(&pager->touch_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pager->changed, &attr);
    pthread_condattr_destroy(&attr);
}

static mp_err make_pages(mp_pager *pager) {
    const mp_pager_config *c = &pager->config;
    mp_pager_shape shape[MP_PAGER_CLASSES];
    mp_err err = MP_NEW(c->ledger, MP_OWN_OVERHEAD, mp_pager_page, c->pages, &pager->page);
    if (err) return err;
    pager->groups = c->group_pages ? (c->pages + c->group_pages - 1) / c->group_pages : 1;
    err = MP_NEW(c->ledger, MP_OWN_OVERHEAD, mp_pager_group_stats, pager->groups, &pager->group);
    if (err) return err;
    pager->classes = mp_pager_shapes(c, shape);
    for (uint32_t p = 0; p < c->pages; p++) {
        int class = mp_pager_class_of(shape, pager->classes, mp_pager_layout(&c->source, &c->desc[p], NULL));
        pager->page[p] = (mp_pager_page){.slot = MP_NONE, .class = (uint8_t)class};
    }
    for (int i = 0; i < pager->classes && !err; i++) {
        pager->class[i] = (mp_pager_class){.shape = shape[i], .free = MP_NONE};
        err = MP_NEW(c->ledger, MP_OWN_OVERHEAD, mp_pager_slot, shape[i].pages, &pager->class[i].slot);
    }
    return err;
}

static mp_err shape_for(mp_pager *pager, uint64_t budget_bytes, uint32_t slots[MP_PAGER_CLASSES]) {
    mp_pager_shape shape[MP_PAGER_CLASSES];
    for (int i = 0; i < pager->classes; i++) shape[i] = pager->class[i].shape;
    return mp_pager_divide(shape, pager->classes, pager->min_slots, budget_bytes, slots);
}

static mp_err open_all(mp_pager *pager) {
    uint32_t slots[MP_PAGER_CLASSES];
    mp_err err = make_pages(pager);
    if (!err) err = shape_for(pager, pager->config.budget_bytes, slots);
    pthread_mutex_lock(&pager->lock);
    if (!err) err = mp_pager_reshape(pager, slots);
    pthread_mutex_unlock(&pager->lock);
    if (!err && !pager->config.policy.victim) {
        mp_policy_config lru = {.pages = pager->config.pages, .group_pages = pager->config.group_pages};
        err = mp_policy_lru(pager->config.ledger, &lru, &pager->config.policy);
    }
    if (!err) err = mp_pager_readers_open(pager);
    if (!err && pager->config.populate) err = mp_pager_toucher_open(pager);
    return err;
}

mp_err mp_pager_open(const mp_pager_config *config, uint32_t min_slots, mp_pager **out) {
    mp_pager *pager = NULL;
    *out = NULL;
    mp_err err = mp_pager_check(config);
    if (!err) err = MP_NEW(config->ledger, MP_OWN_OVERHEAD, mp_pager, 1, &pager);
    if (err) return err;
    pager->config = *config;
    pager->config.readers = config->readers > 0 ? config->readers : READERS;
    if (config->method == MP_IO_URING && config->readers > MP_IO_DEPTH_MAX) pager->config.readers = MP_IO_DEPTH_MAX; /* as the ring's thread has room for */
    pager->min_slots = min_slots;
    pager->dry = mp_ledger_dry(config->ledger);
    pager->stats.pages = config->pages;
    init_sync(pager);
    err = open_all(pager);
    if (err && config->policy.victim) pager->config.policy = (mp_policy){0}; /* still the caller's */
    if (err) mp_pager_close(&pager);
    *out = pager;
    return err;
}

void mp_pager_close(mp_pager **pp) {
    if (!pp || !*pp) return;
    mp_pager *pager = *pp;
    mp_pager_toucher_close(pager);
    mp_pager_readers_close(pager);
    if (pager->config.policy.close) pager->config.policy.close(pager->config.policy.self);
    mp_pager_slots_close(pager);
    pthread_cond_destroy(&pager->changed);
    pthread_cond_destroy(&pager->work);
    pthread_cond_destroy(&pager->touch);
    pthread_cond_destroy(&pager->touch_done);
    pthread_mutex_destroy(&pager->touch_lock);
    pthread_mutex_destroy(&pager->lock);
    mp_free(pager->warm);
    mp_free(pager->group);
    mp_free(pager->page);
    MP_FREE(*pp);
}

/* ---- all pages ---- */

/* Starts pages from *next on, until `most` are ahead of `at` or the pages end. Pages of a full class are left away. */
static void fill_ahead(mp_pager *pager, mp_page at, mp_page *next, uint32_t most) {
    for (; *next < pager->config.pages && *next < at + most; (*next)++) {
        mp_pager_page *p = &pager->page[*next];
        if (p->state != MP_PAGE_AWAY || !pager->class[p->class].n_free) continue;
        p->waiters++; /* we will: without it the read would count as one that nobody needs */
        mp_pager_demand(pager, next, 1, false);
        p->waiters--;
    }
}

mp_err mp_pager_fill(mp_pager *pager, int (*progress)(void *user, uint64_t done, uint64_t total), void *user) {
    if (pager->dry) return MP_OK;
    uint64_t done = 0, total = 0;
    mp_page next = 0;
    mp_err err = MP_OK;
    for (mp_page p = 0; p < pager->config.pages; p++) total += mp_pager_page_bytes(pager, p);
    for (mp_page p = 0; p < pager->config.pages && !err; p++) {
        uint32_t which;
        pthread_mutex_lock(&pager->lock);
        fill_ahead(pager, p, &next, (uint32_t)pager->readers * FILL_AHEAD);
        if (pager->page[p].state == MP_PAGE_LOADING) err = mp_pager_wait(pager, &p, 1, MP_PIN_READ, &which);
        pthread_mutex_unlock(&pager->lock);
        done += mp_pager_page_bytes(pager, p);
        if (!err && progress && progress(user, done, total)) err = mp_fail(MP_E_CANCELLED, "loading was stopped on request");
    }
    return err;
}

bool mp_pager_complete(const mp_pager *pager) {
    mp_pager *p = (mp_pager *)(uintptr_t)pager; /* the lock is no part of what it is */
    pthread_mutex_lock(&p->lock);
    bool all = p->stats.resident == p->config.pages && p->stats.slots == p->config.pages;
    pthread_mutex_unlock(&p->lock);
    return all;
}

mp_err mp_pager_warm(mp_pager *pager, const mp_page *pages, uint32_t n) {
    mp_page *list = NULL;
    mp_err err = MP_NEW(pager->config.ledger, MP_OWN_OVERHEAD, mp_page, n, &list);
    if (err) return err;
    if (n) memcpy(list, pages, n * sizeof *list);
    pthread_mutex_lock(&pager->lock);
    mp_page *old = pager->warm;
    pager->warm = list;
    pager->warm_n = n;
    pager->warm_at = 0;
    if (!pager->dry) mp_pager_ring(pager, n);
    pthread_mutex_unlock(&pager->lock);
    mp_free(old);
    return MP_OK;
}

mp_err mp_pager_keep(mp_pager *pager, mp_page page, bool on) {
    mp_err err = MP_OK;
    pthread_mutex_lock(&pager->lock);
    mp_pager_page *p = &pager->page[page];
    mp_pager_class *c = &pager->class[p->class];
    if (on && !p->kept && c->kept >= c->slots / 2)
        err = mp_fail(MP_E_BUDGET, "only half of the %u slots for experts may be kept; let others go, or give a larger budget", c->slots);
    if (!err && on != p->kept) {
        p->kept = on;
        c->kept += on ? 1 : UINT32_MAX;
    }
    pthread_mutex_unlock(&pager->lock);
    if (!err && on) mp_pager_hint(pager, &page, 1);
    return err;
}

/* Counts dirty pages and starts the stores that can start. failed: one of them was refused. */
static uint32_t store_all(mp_pager *pager, bool *failed) {
    uint32_t dirty = 0;
    for (uint32_t p = 0; p < pager->config.pages; p++) {
        const mp_pager_page *page = &pager->page[p];
        *failed |= page->store_failed;
        if (!page->dirty || page->store_failed) continue;
        dirty++;
        if (!page->storing && !page->writing) mp_pager_store(pager, p);
    }
    return dirty;
}

mp_err mp_pager_flush(mp_pager *pager) {
    bool failed = false;
    mp_err err = MP_OK;
    pthread_mutex_lock(&pager->lock);
    for (uint32_t p = 0; p < pager->config.pages; p++) pager->page[p].store_failed = false; /* asked for again */
    while (store_all(pager, &failed)) mp_pager_sleep(pager, true);
    if (failed) err = mp_fail(pager->store_err, "%s", pager->store_text);
    pthread_mutex_unlock(&pager->lock);
    return err;
}

/* What classes have grown by is given back: kept, it would leave nothing to anybody else within the old limit. */
static void go_back(mp_pager *pager, uint32_t had[MP_PAGER_CLASSES]) {
    bool grown = false;
    for (int i = 0; i < pager->classes; i++) {
        grown |= pager->class[i].slots > had[i];
        if (pager->class[i].slots < had[i]) had[i] = pager->class[i].slots;
    }
    if (grown) (void)mp_pager_reshape(pager, had);
}

mp_err mp_pager_resize(mp_pager *pager, uint64_t budget_bytes) {
    uint32_t slots[MP_PAGER_CLASSES], had[MP_PAGER_CLASSES];
    mp_err err = shape_for(pager, budget_bytes, slots);
    if (err) return err;
    pthread_mutex_lock(&pager->lock);
    while (pager->resizing) mp_pager_sleep(pager, true);
    pager->resizing = true;
    for (int i = 0; i < pager->classes; i++) had[i] = pager->class[i].slots;
    err = mp_pager_reshape(pager, slots);
    if (err) go_back(pager, had);
    pager->resizing = false;
    mp_pager_toucher_again(pager);
    pthread_cond_broadcast(&pager->changed);
    pthread_mutex_unlock(&pager->lock);
    return err;
}

/* ---- counters ---- */

void mp_pager_get_stats(mp_pager *pager, mp_pager_stats *out) {
    pthread_mutex_lock(&pager->lock);
    *out = pager->stats;
    pthread_mutex_unlock(&pager->lock);
}

uint32_t mp_pager_get_groups(mp_pager *pager, mp_pager_group_stats *out, uint32_t room) {
    pthread_mutex_lock(&pager->lock);
    for (uint32_t g = 0; g < room && g < pager->groups; g++) out[g] = pager->group[g];
    pthread_mutex_unlock(&pager->lock);
    return pager->groups;
}

void mp_pager_get_uses(mp_pager *pager, uint32_t *out) {
    pthread_mutex_lock(&pager->lock);
    for (uint32_t p = 0; p < pager->config.pages; p++) out[p] = pager->page[p].uses;
    pthread_mutex_unlock(&pager->lock);
}

uint32_t mp_pager_uses_of(mp_pager *pager, mp_page page) {
    pthread_mutex_lock(&pager->lock);
    uint32_t uses = pager->page[page].uses;
    pthread_mutex_unlock(&pager->lock);
    return uses;
}

void mp_pager_reset_stats(mp_pager *pager) {
    pthread_mutex_lock(&pager->lock);
    const mp_pager_stats was = pager->stats;
    pager->stats = (mp_pager_stats){.slots = was.slots, .resident = was.resident, .pages = was.pages, .slot_bytes = was.slot_bytes, .in_flight = was.in_flight};
    for (uint32_t g = 0; g < pager->groups; g++) pager->group[g] = (mp_pager_group_stats){.resident = pager->group[g].resident};
    pthread_mutex_unlock(&pager->lock);
}
