/* The lists of pages and the threads that read and store.
 *
 * The unit of reading is a slice, so that one missing page keeps several readers busy. Order: slices that a thread waits for, then
 * stores (they make room for such), then hints. A hinted page gets its slot only when a reader is there for it, so that hints never
 * hold memory that a demand could use. */
#include "mem/pager_int.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>

enum { STACK_BYTES = 128 << 10, STACK_USED_BYTES = 16 << 10 }; /* what a reader touches of it is what it costs */
enum { STALE_ANNOUNCEMENTS = 64 }; /* more than the sessions that take turns; an announcement that was given up on protects no longer */

/* ---- lists ---- */

static mp_pager_list *list_of(mp_pager *pager, mp_page page, mp_page_list list) {
    switch (list) {
    case MP_LIST_PENDING: return &pager->class[pager->page[page].class].pending;
    case MP_LIST_HINTED: return &pager->hinted;
    case MP_LIST_DEMAND: return &pager->demand;
    case MP_LIST_SPARE: return &pager->spare;
    case MP_LIST_STORES: return &pager->stores;
    case MP_LIST_NONE: break;
    }
    return NULL;
}

void mp_pager_push(mp_pager *pager, mp_page page, mp_page_list list, bool front) {
    mp_pager_page *p = &pager->page[page];
    mp_pager_list *l = list_of(pager, page, list);
    assert(p->list == MP_LIST_NONE && l);
    p->list = (uint8_t)list;
    p->prev = front || !l->n ? MP_NONE : l->last;
    p->next = front && l->n ? l->first : MP_NONE;
    if (p->prev != MP_NONE) pager->page[p->prev].next = page;
    else l->first = page;
    if (p->next != MP_NONE) pager->page[p->next].prev = page;
    else l->last = page;
    l->n++;
}

void mp_pager_unlist(mp_pager *pager, mp_page page) {
    mp_pager_page *p = &pager->page[page];
    mp_pager_list *l = list_of(pager, page, (mp_page_list)p->list);
    if (!l) return;
    if (p->prev != MP_NONE) pager->page[p->prev].next = p->next;
    else l->first = p->next;
    if (p->next != MP_NONE) pager->page[p->next].prev = p->prev;
    else l->last = p->prev;
    l->n--;
    p->list = MP_LIST_NONE;
}

bool mp_pager_protected(const mp_pager *pager, mp_page page) {
    uint32_t wanted = pager->page[page].wanted;
    return wanted && pager->epoch - wanted < STALE_ANNOUNCEMENTS;
}

/* ---- the start and the end of a read and of a store ---- */

static void skip_unused(mp_pager *pager, mp_page page) {
    mp_pager_page *p = &pager->page[page];
    while (p->cursor < MP_PAGE_SLICES && !pager->config.desc[page].slice[p->cursor].bytes) p->cursor++;
    if (p->cursor == MP_PAGE_SLICES) mp_pager_unlist(pager, page);
}

static uint8_t slices_from(const mp_pager *pager, mp_page page, int first) {
    uint8_t n = 0;
    for (int i = first; i < MP_PAGE_SLICES; i++)
        if (pager->config.desc[page].slice[i].bytes) n++;
    return n;
}

static void finish_load(mp_pager *pager, mp_page page) {
    mp_pager_page *p = &pager->page[page];
    mp_pager_class *c = &pager->class[p->class];
    c->loading--;
    if (p->load_failed) {
        pager->config.policy.evicted(pager->config.policy.self, page);
        p->wanted = 0;
        mp_pager_slot_free(pager, page);
    } else {
        p->state = MP_PAGE_RESIDENT;
        pager->config.policy.loaded(pager->config.policy.self, page);
        pager->stats.resident++;
        pager->stats.loads++;
        pager->stats.hints_loaded += p->hinted;
        for (int i = 0; i < MP_PAGE_SLICES; i++) pager->stats.load_bytes += pager->config.desc[page].slice[i].bytes;
    }
    mp_pager_pump(pager, p->class);
    pthread_cond_broadcast(&pager->changed);
}

void mp_pager_load(mp_pager *pager, mp_page page, uint32_t slot, mp_page_list list) {
    mp_pager_page *p = &pager->page[page];
    assert(p->state == MP_PAGE_AWAY && p->list == MP_LIST_NONE);
    p->state = MP_PAGE_LOADING;
    p->slot = slot;
    p->cursor = 0;
    p->load_failed = p->store_failed = p->dirty = p->writing = false;
    p->hinted = list == MP_LIST_SPARE;
    pager->class[p->class].slot[slot].page = page;
    pager->class[p->class].loading++;
    p->left = slices_from(pager, page, 0);
    mp_pager_push(pager, page, list, false);
    skip_unused(pager, page);
    for (uint32_t i = 0; i < p->left && i < pager->idle; i++) pthread_cond_signal(&pager->work);
}

/* Tells whoever waits for the page; who comes later finds it away and may try again. */
static void tell_waiters(mp_pager *pager, mp_page page, mp_err err) {
    for (mp_pager_waiter *w = pager->waiters; w; w = w->next)
        for (uint32_t i = 0; i < w->n && !w->err; i++) {
            if (w->pages[i] != page) continue;
            w->err = err;
            w->failed = page;
            snprintf(w->text, sizeof w->text, "%s", mp_err_text());
        }
}

static void finish_slice(mp_pager *pager, mp_page page, mp_err err) {
    mp_pager_page *p = &pager->page[page];
    p->left--;
    if (err) {
        tell_waiters(pager, page, err);
        p->load_failed = true;
        if (p->list != MP_LIST_NONE) { /* the slices that no reader has are not read any more */
            mp_pager_unlist(pager, page);
            p->left = (uint8_t)(p->left - slices_from(pager, page, p->cursor));
        }
    }
    if (!p->left) finish_load(pager, page);
}

void mp_pager_store(mp_pager *pager, mp_page page) {
    mp_pager_page *p = &pager->page[page];
    assert(p->dirty && !p->storing && !p->writing && p->state == MP_PAGE_RESIDENT);
    p->storing = true;
    pager->class[p->class].storing++;
    mp_pager_push(pager, page, MP_LIST_STORES, false);
    pthread_cond_signal(&pager->work);
}

static void finish_store(mp_pager *pager, mp_page page, mp_err err) {
    mp_pager_page *p = &pager->page[page];
    p->storing = false;
    pager->class[p->class].storing--;
    if (err) {
        p->store_failed = true;
        pager->store_err = err;
        snprintf(pager->store_text, sizeof pager->store_text, "%s", mp_err_text());
    } else {
        p->dirty = false;
        pager->stats.stores++;
    }
    mp_pager_pump(pager, p->class);
    pthread_cond_broadcast(&pager->changed);
}

/* ---- readers ---- */

typedef struct job {
    mp_page page;
    int     slice; /* -1: store the page */
} job;

static job next_slice(mp_pager *pager, mp_page page) {
    job j = {.page = page, .slice = pager->page[page].cursor++};
    skip_unused(pager, page);
    return j;
}

/* Starts the first hint that gets a slot without a store; the others before it are dropped, as hints may be. */
static bool start_hint(mp_pager *pager) {
    while (pager->hinted.n) {
        mp_page page = pager->hinted.first;
        int class = pager->page[page].class;
        mp_pager_class *c = &pager->class[class];
        mp_pager_unlist(pager, page);
        mp_page victim = c->free == MP_NONE && !c->pending.n ? mp_pager_victim(pager, class, MP_EVICT_PLAIN) : MP_NONE;
        if (victim != MP_NONE && !pager->page[victim].dirty) mp_pager_evict(pager, victim);
        uint32_t slot = mp_pager_slot_take(c);
        if (slot == MP_NONE) continue;
        mp_pager_load(pager, page, slot, MP_LIST_SPARE);
        return true;
    }
    return false;
}

static bool next_job(mp_pager *pager, job *out) {
    if (pager->demand.n) {
        *out = next_slice(pager, pager->demand.first);
    } else if (pager->stores.n) {
        *out = (job){.page = pager->stores.first, .slice = -1};
        mp_pager_unlist(pager, out->page);
    } else if (pager->spare.n || start_hint(pager)) {
        *out = next_slice(pager, pager->spare.first);
    } else {
        return false;
    }
    return true;
}

/* The lock is released while the source works. */
static void do_job(mp_pager *pager, job j) {
    unsigned char *slice[MP_PAGE_SLICES];
    const mp_source *source = &pager->config.source;
    const mp_page_desc *desc = &pager->config.desc[j.page];
    mp_pager_slot_addresses(pager, j.page, slice);
    pthread_mutex_unlock(&pager->lock);
    mp_err err = j.slice < 0 ? source->store(source->self, j.page, desc, slice) : source->load(source->self, j.page, desc, j.slice, slice[j.slice]);
    pthread_mutex_lock(&pager->lock);
    if (j.slice < 0) finish_store(pager, j.page, err);
    else finish_slice(pager, j.page, err);
}

static void *read_on(void *arg) {
    mp_pager *pager = arg;
    pthread_mutex_lock(&pager->lock);
    while (!pager->stop) {
        job j;
        if (next_job(pager, &j)) {
            do_job(pager, j);
            continue;
        }
        pager->idle++;
        pthread_cond_wait(&pager->work, &pager->lock);
        pager->idle--;
    }
    pthread_mutex_unlock(&pager->lock);
    return NULL;
}

static mp_err start_reader(mp_pager *pager, const pthread_attr_t *attr) {
    mp_err err = mp_ledger_charge(pager->config.ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, STACK_USED_BYTES);
    if (err) return err;
    if (!pager->dry && pthread_create(&pager->reader[pager->readers], attr, read_on, pager)) {
        mp_ledger_credit(pager->config.ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, STACK_USED_BYTES);
        return mp_fail(MP_E_FAILED, "the system refused reader thread %d of %d", pager->readers + 1, pager->config.readers);
    }
    pager->readers++;
    return MP_OK;
}

mp_err mp_pager_readers_open(mp_pager *pager) {
    pthread_attr_t attr;
    mp_err err = MP_NEW(pager->config.ledger, MP_OWN_OVERHEAD, pthread_t, (size_t)pager->config.readers, &pager->reader);
    if (err) return err;
    if (pthread_attr_init(&attr)) return mp_fail(MP_E_FAILED, "the system refused the attributes of a thread");
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigset_t all, before; /* signals are for the program's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (!err && pager->readers < pager->config.readers) err = start_reader(pager, &attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return err;
}

void mp_pager_readers_close(mp_pager *pager) {
    pthread_mutex_lock(&pager->lock);
    pager->stop = true;
    pthread_cond_broadcast(&pager->work);
    pthread_mutex_unlock(&pager->lock);
    for (; pager->readers > 0; pager->readers--) {
        if (!pager->dry) pthread_join(pager->reader[pager->readers - 1], NULL);
        mp_ledger_credit(pager->config.ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, STACK_USED_BYTES);
    }
    MP_FREE(pager->reader);
}
