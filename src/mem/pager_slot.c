/* Slots: which page lies where, who has to go, and the regions that slots are cut from.
 *
 *   region 0  | slot 0 | slot 1 | ... | slot 23 |waste|
 *   region 1  | slot 24 | ...                   |waste|      slots do not straddle regions, so that a region can be given back
 *                 ^ shrinking empties the last region: its pages move to slots that colder pages leave
 */
#include "mem/pager_int.h"

#include <assert.h>
#include <string.h>

void mp_pager_slot_addresses(const mp_pager *pager, mp_page page, unsigned char *slice[MP_PAGE_SLICES]) {
    const mp_pager_page *p = &pager->page[page];
    const mp_page_desc *desc = &pager->config.desc[page];
    unsigned char *base = pager->class[p->class].slot[p->slot].base;
    uint64_t offset[MP_PAGE_SLICES];
    mp_pager_layout(&pager->config.source, desc, offset);
    for (int i = 0; i < MP_PAGE_SLICES; i++) slice[i] = desc->slice[i].bytes ? base + offset[i] : NULL;
}

static void push_free(mp_pager_class *c, uint32_t slot) {
    c->slot[slot].page = MP_NONE;
    if (slot >= c->open) return; /* it goes away with its region */
    c->slot[slot].next_free = c->free;
    c->free = slot;
    c->n_free++;
}

uint32_t mp_pager_slot_take(mp_pager_class *c) {
    uint32_t slot = c->free;
    if (slot == MP_NONE) return MP_NONE;
    c->free = c->slot[slot].next_free;
    c->n_free--;
    return slot;
}

/* After open has changed. Lower slots come first, so that the last region fills last. */
static void rebuild_free(mp_pager_class *c) {
    c->free = MP_NONE;
    c->n_free = 0;
    for (uint32_t s = c->open; s-- > 0;)
        if (c->slot[s].page == MP_NONE) push_free(c, s);
}

void mp_pager_slot_free(mp_pager *pager, mp_page page) {
    mp_pager_page *p = &pager->page[page];
    push_free(&pager->class[p->class], p->slot);
    p->slot = MP_NONE;
    p->state = MP_PAGE_AWAY;
}

/* ---- eviction ---- */

typedef struct asked {
    const mp_pager *pager;
    int             class;
    mp_evict        how;
    uint32_t        thread;
} asked;

static bool may_go(void *arg, uint32_t page) {
    const asked *a = arg;
    const mp_pager_page *p = &a->pager->page[page];
    const mp_pager_class *c = &a->pager->class[p->class];
    bool kept = p->kept && c->kept <= c->slots / 2; /* a class that shrank may have too many of them: then they are like others until it grows again */
    if (p->class != a->class || p->state != MP_PAGE_RESIDENT || p->pins || p->waiters || p->storing || p->store_failed) return false;
    if (a->how == MP_EVICT_PLAIN && (p->fresh || kept)) return false;
    if (a->how == MP_EVICT_ANY || !mp_pager_protected(a->pager, page)) return true;
    return a->how == MP_EVICT_OWN && p->announcer == a->thread;
}

uint32_t mp_pager_victim(mp_pager *pager, int class, mp_evict how) {
    asked a = {.pager = pager, .class = class, .how = how, .thread = mp_pager_thread()};
    return pager->config.policy.victim(pager->config.policy.self, may_go, &a);
}

void mp_pager_evict(mp_pager *pager, mp_page page) {
    assert(pager->page[page].state == MP_PAGE_RESIDENT && !pager->page[page].pins && !pager->page[page].dirty);
    pager->config.policy.evicted(pager->config.policy.self, page);
    mp_pager_not_fresh(pager, page);
    if (pager->page[page].hinted) pager->stats.hints_wasted_bytes += mp_pager_page_bytes(pager, page);
    pager->page[page].hinted = false;
    pager->page[page].wanted = 0;
    pager->stats.resident--;
    pager->group[mp_pager_group_of(pager, page)].resident--;
    pager->stats.evictions++;
    mp_pager_slot_free(pager, page);
}

/* Nobody waits for it any more, and what announced it went on to other things. */
static bool is_stale(const mp_pager *pager, mp_page page) {
    return !pager->page[page].waiters && !mp_pager_protected(pager, page);
}

void mp_pager_pump(mp_pager *pager, int class) {
    mp_pager_class *c = &pager->class[class];
    while (c->pending.n) {
        mp_page page = c->pending.first;
        if (is_stale(pager, page)) {
            mp_pager_unlist(pager, page);
            pager->config.policy.evicted(pager->config.policy.self, page); /* it was announced, and will not come */
            continue;
        }
        uint32_t slot = mp_pager_slot_take(c);
        if (slot == MP_NONE) {
            if (c->pending.n <= c->storing) return; /* slots for all of them are on their way */
            mp_page victim = mp_pager_victim(pager, class, MP_EVICT_PLAIN);
            if (victim == MP_NONE) return;
            if (pager->page[victim].dirty) mp_pager_store(pager, victim);
            else mp_pager_evict(pager, victim);
            continue;
        }
        mp_pager_unlist(pager, page);
        mp_pager_load(pager, page, slot, MP_LIST_DEMAND);
    }
}

/* ---- regions ---- */

static mp_err reserve_region(mp_pager *pager, mp_pager_class *c) {
    if (c->regions < c->region_cap) return MP_OK;
    mp_pager_region *more;
    uint32_t cap = c->region_cap * 2 + 4;
    mp_err err = MP_NEW(pager->config.ledger, MP_OWN_OVERHEAD, mp_pager_region, cap, &more);
    if (err) return err;
    if (c->regions) memcpy(more, c->region, c->regions * sizeof *more);
    mp_free(c->region);
    c->region = more;
    c->region_cap = cap;
    return MP_OK;
}

static void tell_region(const mp_pager *pager, const mp_region *memory, bool on) {
    if (pager->config.region && memory->base) pager->config.region(pager->config.region_self, memory->base, memory->bytes, on);
}

/* The lock is released while the memory is made; resizing keeps others off the regions. */
static mp_err add_region(mp_pager *pager, int class, uint32_t slots) {
    mp_pager_class *c = &pager->class[class];
    mp_err err = reserve_region(pager, c);
    if (err) return err;
    mp_region memory;
    mp_pager_touched *touched = NULL;
    pthread_mutex_unlock(&pager->lock);
    err = mp_region_open_in(pager->config.ledger, pager->config.memory, pager->config.owner, slots * c->shape.slot_bytes, &memory);
    if (!err && !pager->config.memory) err = mp_pager_touched_open(pager, &memory, &touched);
    if (!err) tell_region(pager, &memory, true);
    pthread_mutex_lock(&pager->lock);
    if (err) {
        mp_region_close(&memory);
        return err;
    }
    for (uint32_t i = 0; i < slots; i++) {
        unsigned char *base = memory.base ? memory.base + i * c->shape.slot_bytes : NULL;
        c->slot[c->slots + i] = (mp_pager_slot){.base = base, .touched = base ? touched : NULL, .page = MP_NONE};
    }
    c->region[c->regions++] = (mp_pager_region){.memory = memory, .touched = touched, .slots = slots};
    c->slots += slots;
    c->open = c->slots;
    rebuild_free(c);
    pager->stats.slots += slots;
    pager->stats.slot_bytes += memory.charged;
    mp_pager_pump(pager, class);
    return MP_OK;
}

/* Shrinking moves what can be moved: reading it again would take longer than copying it. */
static mp_err move_page(mp_pager *pager, mp_page page) {
    mp_pager_page *p = &pager->page[page];
    mp_pager_class *c = &pager->class[p->class];
    uint32_t to = mp_pager_slot_take(c), from = p->slot;
    mp_pager_touch(pager, c->slot[to].touched, c->slot[to].base, c->shape.slot_bytes);
    mp_err err = mp_memory_copy(pager->config.memory, c->slot[to].base, c->slot[from].base, c->shape.slot_bytes);
    if (err) {
        rebuild_free(c); /* the page stays where it is */
        return err;
    }
    c->slot[to].page = page;
    c->slot[from].page = MP_NONE;
    p->slot = to;
    return MP_OK;
}

/* One step towards slots [open, slots) being empty. Errors: a store that failed. */
static mp_err empty_step(mp_pager *pager, int class, bool *empty) {
    mp_pager_class *c = &pager->class[class];
    bool failed = false;
    *empty = true;
    for (uint32_t s = c->open; s < c->slots; s++) {
        if (c->slot[s].page == MP_NONE) continue;
        const mp_pager_page *p = &pager->page[c->slot[s].page];
        *empty = false;
        failed |= p->store_failed && !p->pins;
        if (p->state != MP_PAGE_RESIDENT || p->pins || p->storing || c->free == MP_NONE) continue;
        return move_page(pager, c->slot[s].page);
    }
    if (*empty) return MP_OK;
    mp_page victim = c->free == MP_NONE ? mp_pager_victim(pager, class, MP_EVICT_PLAIN) : MP_NONE;
    if (victim == MP_NONE && c->free == MP_NONE) victim = mp_pager_victim(pager, class, MP_EVICT_ANY);
    if (victim != MP_NONE && pager->page[victim].dirty) mp_pager_store(pager, victim);
    else if (victim != MP_NONE) mp_pager_evict(pager, victim);
    else if (failed && !c->storing) return mp_fail(pager->store_err, "%s", pager->store_text);
    else mp_pager_sleep(pager, true);
    return MP_OK;
}

static mp_err drop_region(mp_pager *pager, int class) {
    mp_pager_class *c = &pager->class[class];
    uint32_t last = c->slots - c->region[c->regions - 1].slots;
    c->open = last;
    rebuild_free(c);
    mp_err err = MP_OK;
    for (bool empty = false; !empty && !err;) {
        err = empty_step(pager, class, &empty);
        pthread_mutex_unlock(&pager->lock); /* a step copies a page: others come between two */
        pthread_mutex_lock(&pager->lock);
    }
    if (err) {
        c->open = c->slots;
        rebuild_free(c);
        mp_pager_pump(pager, class);
        return err;
    }
    while (pager->touching && pager->touching == c->region[c->regions - 1].memory.base) mp_pager_sleep(pager, true);
    mp_region memory = c->region[--c->regions].memory;
    mp_free(c->region[c->regions].touched);
    c->slots = last;
    pager->stats.slots = pager->stats.slots - c->region[c->regions].slots;
    pager->stats.slot_bytes -= memory.charged;
    pthread_mutex_unlock(&pager->lock);
    tell_region(pager, &memory, false);
    mp_region_close(&memory);
    pthread_mutex_lock(&pager->lock);
    return MP_OK;
}

static uint64_t charged(const mp_pager_class *c) {
    uint64_t sum = 0;
    for (uint32_t r = 0; r < c->regions; r++) sum += c->region[r].memory.charged;
    return sum;
}

/* Adds regions until the class has `slots`, or the next would cost more than `bytes` in all: after a few resizes regions are not
 * the ones that a fresh pager has, and a few slots less may fit. */
static mp_err grow_class(mp_pager *pager, int class, uint32_t slots, uint64_t bytes) {
    mp_pager_class *c = &pager->class[class];
    uint32_t least = mp_pager_least_slots(&c->shape, class, pager->min_slots);
    mp_err err = MP_OK;
    while (c->slots < slots && !err) {
        uint32_t n = slots - c->slots < c->shape.region_slots ? slots - c->slots : c->shape.region_slots;
        while (n && charged(c) + mp_region_cost_in(c->shape.memory, n * c->shape.slot_bytes) > bytes) n--;
        if (!n) break;
        err = add_region(pager, class, n);
        if (err == MP_E_BUDGET && pager->config.elastic && mp_ledger_refused(pager->config.ledger) == pager->config.memory->tier) {
            if (c->slots >= least) return MP_OK; /* what the region would have taken stays free: somebody is short of memory there */
            slots = c->slots + n / 2 > least ? c->slots + n / 2 : least;
            if (n > least - c->slots) err = MP_OK; /* once more, for less */
        }
    }
    return err;
}

mp_err mp_pager_reshape(mp_pager *pager, const uint32_t slots[MP_PAGER_CLASSES]) {
    mp_err err = MP_OK;
    for (int i = 0; i < pager->classes && !err; i++) {
        mp_pager_class *c = &pager->class[i];
        uint64_t bytes = mp_pager_slots_cost(&c->shape, slots[i]);
        while (!err && c->regions && charged(c) > bytes) err = drop_region(pager, i);
    }
    for (int i = 0; i < pager->classes && !err; i++)
        err = grow_class(pager, i, slots[i], mp_pager_slots_cost(&pager->class[i].shape, slots[i]));
    return err;
}

void mp_pager_slots_close(mp_pager *pager) {
    for (int i = 0; i < pager->classes; i++) {
        mp_pager_class *c = &pager->class[i];
        for (uint32_t r = 0; r < c->regions; r++) {
            mp_free(c->region[r].touched);
            tell_region(pager, &c->region[r].memory, false);
            mp_region_close(&c->region[r].memory);
        }
        MP_FREE(c->region);
        MP_FREE(c->slot);
    }
}
