/* Least recently used: a doubly linked list through one array, newest first.
 *
 *   link[pages] is the head and tail in one:  head.next = newest ... head.prev = oldest
 *
 * On the list: pages that were announced, are on their way, or resident. A page that is on its way keeps the place that its use gave it. */
#include "mem/policy.h"

#include <string.h>

typedef struct link {
    uint32_t prev, next;
    bool     resident;
} link;

typedef struct lru {
    uint32_t pages;
    link     link[]; /* [pages + 1] */
} lru;

static void unlink_page(lru *l, uint32_t page) {
    l->link[l->link[page].prev].next = l->link[page].next;
    l->link[l->link[page].next].prev = l->link[page].prev;
}

static void link_newest(lru *l, uint32_t page) {
    uint32_t head = l->pages, first = l->link[head].next;
    l->link[page].prev = head;
    l->link[page].next = first;
    l->link[first].prev = page;
    l->link[head].next = page;
}

static void access_set(void *self, const mp_access *set) {
    lru *l = self;
    for (uint32_t i = 0; i < set->n; i++) {
        uint32_t page = set->pages[i];
        if (l->link[page].next != page) unlink_page(l, page);
        link_newest(l, page);
    }
}

/* A page that nobody announced (a hint, the filling at start) counts as used when it lands; others were put in front by their access. */
static void loaded(void *self, uint32_t page) {
    lru *l = self;
    if (l->link[page].next == page) link_newest(l, page);
    l->link[page].resident = true;
}

static void evicted(void *self, uint32_t page) {
    lru *l = self;
    unlink_page(l, page);
    l->link[page] = (link){.prev = page, .next = page};
}

/* O(1) typical: what cannot be taken is pinned or wanted, and so at the newest end. */
static uint32_t victim(void *self, bool (*ok)(void *arg, uint32_t page), void *arg) {
    const lru *l = self;
    for (uint32_t p = l->link[l->pages].prev; p != l->pages; p = l->link[p].prev)
        if (l->link[p].resident && ok(arg, p)) return p;
    return UINT32_MAX;
}

static void close_lru(void *self) {
    mp_free(self);
}

mp_err mp_policy_lru(mp_ledger *ledger, const mp_policy_config *config, mp_policy *out) {
    uint32_t pages = config->pages;
    *out = (mp_policy){0};
    void *memory = NULL;
    mp_err err = mp_alloc(ledger, MP_OWN_OVERHEAD, sizeof(lru) + ((size_t)pages + 1) * sizeof(link), &memory);
    if (err) return err;
    lru *l = memory;
    l->pages = pages;
    for (uint32_t i = 0; i <= pages; i++) l->link[i] = (link){.prev = i, .next = i}; /* alone: not on the list */
    *out = (mp_policy){.self = l, .name = "lru", .access = access_set, .loaded = loaded, .evicted = evicted, .victim = victim, .close = close_lru};
    return MP_OK;
}
