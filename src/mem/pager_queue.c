/* The lists of pages, and the beginning and the end of each read and store. A hinted page gets its slot only when a reader is there for it, so
 * that hints never hold memory that a demand could use; pages to warm only ever get free slots. */
#include "mem/pager_int.h"

#include <assert.h>
#include <stdio.h>

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

void mp_pager_skip_unused(mp_pager *pager, mp_page page) {
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

uint64_t mp_pager_page_bytes(const mp_pager *pager, mp_page page) {
    uint64_t sum = 0;
    for (int i = 0; i < MP_PAGE_SLICES; i++) sum += pager->config.desc[page].slice[i].bytes;
    return sum;
}

void mp_pager_not_fresh(mp_pager *pager, mp_page page) {
    mp_pager_page *p = &pager->page[page];
    if (p->fresh) pager->class[p->class].fresh--;
    p->fresh = false;
}

static void finish_load(mp_pager *pager, mp_page page) {
    mp_pager_page *p = &pager->page[page];
    mp_pager_class *c = &pager->class[p->class];
    c->loading--;
    if (p->load_failed) {
        pager->config.policy.evicted(pager->config.policy.self, page);
        mp_pager_not_fresh(pager, page);
        p->hinted = false;
        p->wanted = 0;
        mp_pager_slot_free(pager, page);
    } else {
        mp_pager_group_stats *group = &pager->group[mp_pager_group_of(pager, page)];
        uint64_t bytes = mp_pager_page_bytes(pager, page);
        p->state = MP_PAGE_RESIDENT;
        pager->config.policy.loaded(pager->config.policy.self, page);
        pager->stats.resident++;
        pager->stats.loads++;
        pager->stats.hints_loaded += p->hinted;
        pager->stats.load_bytes += bytes;
        group->load_bytes += bytes;
        group->resident++;
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
    p->begun = ++pager->begun;
    p->load_failed = p->store_failed = p->dirty = p->writing = false;
    p->hinted = p->fresh = list == MP_LIST_SPARE;
    pager->class[p->class].fresh += p->fresh;
    pager->class[p->class].slot[slot].page = page;
    pager->class[p->class].loading++;
    p->left = slices_from(pager, page, 0);
    mp_pager_push(pager, page, list, false);
    mp_pager_skip_unused(pager, page);
    mp_pager_ring(pager, p->left);
}

/* Tells whoever waits for the page and has waited since before it was begun: a read that somebody guessed, or gave up on, is no answer to those who came later.
 * They find the page away, and try again. */
static void tell_waiters(mp_pager *pager, mp_page page, mp_err err) {
    uint32_t begun = pager->page[page].begun;
    for (mp_pager_waiter *w = pager->waiters; w; w = w->next)
        for (uint32_t i = 0; i < w->n && !w->err; i++) {
            if (w->pages[i] != page || (int32_t)(begun - w->since) <= 0) continue; /* the count of reads goes round */
            w->err = err;
            w->failed = page;
            snprintf(w->text, sizeof w->text, "%s", mp_err_text());
        }
}

void mp_pager_finish_slice(mp_pager *pager, mp_page page, mp_err err) {
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
    mp_pager_ring(pager, 1);
}

void mp_pager_finish_store(mp_pager *pager, mp_page page, mp_err err) {
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

/* ---- what nobody waits for ---- */

/* Begins the first hint that gets a slot without a store; those before it are dropped, as hints may be. */
static bool start_hint(mp_pager *pager) {
    while (pager->hinted.n) {
        mp_page page = pager->hinted.first;
        int class = pager->page[page].class;
        mp_pager_class *c = &pager->class[class];
        if (c->fresh >= (c->slots + 3) / 4) return false; /* later: hints are used up as groups are announced */
        mp_pager_unlist(pager, page);
        mp_page victim = c->free == MP_NONE && !c->pending.n ? mp_pager_victim(pager, class, MP_EVICT_PLAIN) : MP_NONE;
        if (victim != MP_NONE && !pager->page[victim].dirty) mp_pager_evict(pager, victim);
        uint32_t slot = mp_pager_slot_take(c);
        if (slot == MP_NONE) {
            pager->stats.hints_cancelled++;
            continue;
        }
        pager->stats.hints_issued++;
        mp_pager_load(pager, page, slot, MP_LIST_SPARE);
        return true;
    }
    return false;
}

static bool start_warm(mp_pager *pager) {
    while (pager->warm_at < pager->warm_n) {
        mp_page page = pager->warm[pager->warm_at];
        mp_pager_class *c = &pager->class[pager->page[page].class];
        uint32_t slot = MP_NONE;
        if (c->pending.n) return false; /* later: slots are wanted now */
        pager->warm_at++;
        if (pager->page[page].state != MP_PAGE_AWAY || pager->page[page].list != MP_LIST_NONE) continue;
        slot = mp_pager_slot_take(c);
        if (slot == MP_NONE) continue;
        mp_pager_load(pager, page, slot, MP_LIST_SPARE);
        pager->page[page].hinted = false; /* no guess about the next layer */
        mp_pager_not_fresh(pager, page);
        return true;
    }
    return false;
}

bool mp_pager_start_spare(mp_pager *pager) {
    return start_hint(pager) || start_warm(pager);
}

void mp_pager_cancel_hints(mp_pager *pager, uint32_t group) {
    uint32_t size = pager->config.group_pages ? pager->config.group_pages : pager->config.pages;
    for (mp_page page = group * size; page < (group + 1) * size && page < pager->config.pages; page++) {
        mp_pager_page *p = &pager->page[page];
        mp_pager_not_fresh(pager, page);
        if (p->list == MP_LIST_HINTED) {
            mp_pager_unlist(pager, page);
            pager->stats.hints_cancelled++;
        }
    }
}
