/* What a user of pages calls: want, hint, wait, pin, unpin.
 *
 * A thread that waits goes round: is a page there? did its read fail? put the reads in line; and when nothing is being read, because
 * every slot of the class is taken, find room: first from the thread's own announcement, then, after STEAL_NS, from others'. When all
 * pins of the class are held by threads that wait themselves, nobody would ever drop one: that is MP_E_BUDGET, never a hang. */
#include "mem/pager_int.h"

#include <assert.h>
#include <time.h>

#include "base/os.h"

enum { STEAL_NS = 20000000 };  /* a few decode steps: a session that still runs has used its pages by then */
enum { HINTS_MAX = 256 };      /* older ones are about layers that have gone by */
enum { NS_PER_S = 1000000000 };

uint32_t mp_pager_thread(void) {
    return (uint32_t)((uintptr_t)pthread_self() >> 6); /* the address of its control block on Linux */
}

/* ---- who holds pins ---- */

static mp_pager_holder *find_holder(mp_pager *pager) {
    for (int i = 0; i < pager->holders; i++)
        if (pager->holder[i].total && pthread_equal(pager->holder[i].thread, pthread_self())) return &pager->holder[i];
    return NULL;
}

/* NULL: too many threads hold pins; those beyond the table are not counted, and so never taken for waiting on themselves. */
static mp_pager_holder *make_holder(mp_pager *pager) {
    mp_pager_holder *h = find_holder(pager);
    for (int i = 0; !h && i < MP_PAGER_HOLDERS; i++)
        if (!pager->holder[i].total) h = &pager->holder[i];
    if (!h) return NULL;
    if (!h->total) *h = (mp_pager_holder){.thread = pthread_self()};
    if (h - pager->holder >= pager->holders) pager->holders = (int)(h - pager->holder) + 1;
    return h;
}

static void count_pin(mp_pager *pager, int class) {
    pager->class[class].pins++;
    mp_pager_holder *h = make_holder(pager);
    if (!h) return;
    h->total++;
    h->pins[class]++;
}

static void count_unpin(mp_pager *pager, int class) {
    pager->class[class].pins--;
    mp_pager_holder *h = find_holder(pager);
    for (int i = 0; (!h || !h->pins[class]) && i < pager->holders; i++) /* another thread's pin: any that counts */
        if (pager->holder[i].pins[class]) h = &pager->holder[i];
    if (!h || !h->pins[class]) return;
    h->total--;
    h->pins[class]--;
}

/* Every slot is pinned, and every pin held by a thread that waits for one. O(slots), only when starved. */
static bool is_stuck(mp_pager *pager, int class) {
    const mp_pager_class *c = &pager->class[class];
    const mp_pager_holder *me = find_holder(pager);
    uint64_t held = 0;
    for (uint32_t s = 0; s < c->slots; s++) {
        mp_page page = c->slot[s].page;
        if (page == MP_NONE || (!pager->page[page].pins && !pager->page[page].store_failed)) return false;
    }
    for (int i = 0; i < pager->holders; i++)
        if (pager->holder[i].starved || &pager->holder[i] == me) held += pager->holder[i].pins[class];
    return held == c->pins;
}

/* ---- waiting ---- */

void mp_pager_demand(mp_pager *pager, const mp_page *pages, uint32_t n, bool front) {
    for (uint32_t i = 0; i < n; i++) {
        mp_pager_page *p = &pager->page[pages[i]];
        if (p->state == MP_PAGE_LOADING && p->list == MP_LIST_SPARE) {
            mp_pager_unlist(pager, pages[i]);
            mp_pager_push(pager, pages[i], MP_LIST_DEMAND, false);
        } else if (p->state == MP_PAGE_AWAY && (p->list != MP_LIST_PENDING || front)) {
            mp_pager_unlist(pager, pages[i]);
            mp_pager_push(pager, pages[i], MP_LIST_PENDING, front);
        }
    }
    for (int c = 0; c < pager->classes; c++) mp_pager_pump(pager, c);
}

void mp_pager_sleep(mp_pager *pager, bool for_pins) {
    if (!for_pins) {
        pthread_cond_wait(&pager->changed, &pager->lock);
        return;
    }
    uint64_t until = mp_now_ns() + STEAL_NS;
    struct timespec t = {.tv_sec = (time_t)(until / NS_PER_S), .tv_nsec = (long)(until % NS_PER_S)};
    pager->sleepers++;
    pthread_cond_timedwait(&pager->changed, &pager->lock, &t);
    pager->sleepers--;
}

static bool is_ready(const mp_pager *pager, mp_page page, mp_pin_mode mode) {
    const mp_pager_page *p = &pager->page[page];
    return p->state == MP_PAGE_RESIDENT && !((mode & MP_PIN_WRITE) && p->storing); /* a store must see bytes that stand still */
}

static bool find_ready(const mp_pager *pager, const mp_pager_waiter *w, mp_pin_mode mode, uint32_t *which) {
    for (uint32_t i = 0; i < w->n; i++)
        if (is_ready(pager, w->pages[i], mode)) {
            *which = i;
            return true;
        }
    return false;
}

static bool is_reading(const mp_pager *pager, const mp_pager_waiter *w) {
    for (uint32_t i = 0; i < w->n; i++)
        if (pager->page[w->pages[i]].state != MP_PAGE_AWAY) return true; /* loading, or resident and being stored */
    return false;
}

/* Room in one class. *hope: something will change without us. Returns true when something was changed. */
static bool make_room(mp_pager *pager, int class, mp_evict how, bool *hope) {
    mp_pager_class *c = &pager->class[class];
    if (c->loading || c->storing || pager->resizing) {
        *hope = true;
        return false;
    }
    mp_page victim = mp_pager_victim(pager, class, how);
    if (victim == MP_NONE) {
        if (!is_stuck(pager, class)) *hope = true;
        return false;
    }
    if (pager->page[victim].dirty) mp_pager_store(pager, victim);
    else mp_pager_evict(pager, victim);
    mp_pager_pump(pager, class);
    return true;
}

/* The last thing before nobody could ever go on. A store that failed is why there is no room, if there is one; it may be tried again. */
static mp_err fail_stuck(mp_pager *pager, int class) {
    bool failed = false;
    for (uint32_t p = 0; p < pager->config.pages; p++) {
        failed |= pager->page[p].store_failed && pager->page[p].class == class;
        if (pager->page[p].class == class) pager->page[p].store_failed = false;
    }
    if (failed) return mp_fail(pager->store_err, "%s", pager->store_text);
    return mp_fail(MP_E_BUDGET, "all %u slots for experts of %llu bytes are pinned by those who wait for another; use fewer at once or give a "
                   "larger budget", pager->class[class].slots, (unsigned long long)pager->class[class].shape.slot_bytes);
}

/* All of w's pages are away and no slot came. since: when the waiting began. */
static mp_err starve(mp_pager *pager, const mp_pager_waiter *w, uint64_t since) {
    bool hope = false, seen[MP_PAGER_CLASSES] = {false};
    mp_evict how = mp_now_ns() - since > STEAL_NS ? MP_EVICT_ANY : MP_EVICT_OWN;
    for (uint32_t i = 0; i < w->n; i++) {
        int class = pager->page[w->pages[i]].class;
        if (!seen[class] && make_room(pager, class, how, &hope)) return MP_OK;
        seen[class] = true;
    }
    if (!hope) return fail_stuck(pager, pager->page[w->pages[0]].class);
    mp_pager_holder *me = find_holder(pager);
    if (me) me->starved = true;
    mp_pager_sleep(pager, true);
    if (me) me->starved = false; /* it is still ours: only our own unpins empty it, or others' that we asked for it */
    return MP_OK;
}

static mp_err wait_on(mp_pager *pager, mp_pager_waiter *w, mp_pin_mode mode, uint32_t *which) {
    uint64_t since = mp_now_ns();
    mp_err err = MP_OK;
    while (!err && !find_ready(pager, w, mode, which)) {
        if (w->err && pager->page[w->failed].state != MP_PAGE_LOADING) {
            err = mp_fail(w->err, "%s", w->text);
            break;
        }
        mp_pager_demand(pager, w->pages, w->n, w->n == 1);
        if (is_reading(pager, w)) mp_pager_sleep(pager, false);
        else err = starve(pager, w, since);
    }
    uint64_t waited = mp_now_ns() - since;
    pager->stats.wait_ns += waited;
    pager->group[mp_pager_group_of(pager, w->pages[0])].wait_ns += waited;
    return err;
}

static void unlink_waiter(mp_pager *pager, const mp_pager_waiter *w) {
    mp_pager_waiter **at = &pager->waiters;
    while (*at != w) at = &(*at)->next;
    *at = w->next;
}

mp_err mp_pager_wait(mp_pager *pager, const mp_page *pages, uint32_t n, mp_pin_mode mode, uint32_t *which) {
    mp_pager_waiter w;
    w.pages = pages;
    w.n = n;
    w.since = pager->begun;
    if (find_ready(pager, &w, mode, which)) return MP_OK;
    w.err = MP_OK;
    w.failed = 0;
    w.next = pager->waiters;
    pager->waiters = &w;
    for (uint32_t i = 0; i < n; i++) pager->page[pages[i]].waiters++;
    mp_err err = wait_on(pager, &w, mode, which);
    for (uint32_t i = 0; i < n; i++) pager->page[pages[i]].waiters--;
    unlink_waiter(pager, &w);
    return err;
}

/* ---- the calls ---- */

/* While every page is resident nobody has to leave, and a policy's opinion costs time for nothing. */
static void tell_policy(mp_pager *pager, const mp_access *set) {
    bool complete = pager->stats.resident == pager->config.pages && pager->stats.slots == pager->config.pages;
    if (!complete) pager->config.policy.access(pager->config.policy.self, set);
}

/* The page is needed: if a hint brought it, or is bringing it, that hint was right. */
static void count_hint(mp_pager *pager, mp_page page) {
    mp_pager_page *p = &pager->page[page];
    if (!p->hinted) return;
    if (p->state == MP_PAGE_RESIDENT) pager->stats.hints_used++;
    else pager->stats.hints_late++;
    mp_pager_not_fresh(pager, page);
    p->hinted = false;
}

/* Adds to stats.bound_bytes what this set cannot be faster than. */
static void add_bound(mp_pager *pager, const mp_access *set) {
    uint64_t hit = 0, missed = 0, last = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        uint64_t bytes = mp_pager_page_bytes(pager, set->pages[i]);
        if (pager->page[set->pages[i]].state == MP_PAGE_RESIDENT) hit += bytes;
        else missed += last = bytes;
    }
    double read = (double)missed * pager->config.disk_cost + (double)last;
    pager->stats.bound_bytes += read > (double)hit ? read : (double)hit;
}

static void announce(mp_pager *pager, mp_page page, bool elsewhere) {
    assert(page < pager->config.pages);
    mp_pager_page *p = &pager->page[page];
    mp_pager_group_stats *group = &pager->group[mp_pager_group_of(pager, page)];
    bool hit = p->state == MP_PAGE_RESIDENT;
    if (!elsewhere) {
        p->wanted = pager->epoch;
        p->announcer = mp_pager_thread();
    } else if (p->state == MP_PAGE_AWAY && p->list != MP_LIST_PENDING) {
        pager->config.policy.evicted(pager->config.policy.self, page); /* it was told of, and will not come */
    }
    pager->stats.accesses++, group->accesses++;
    if (hit) pager->stats.hits++, group->hits++;
    else pager->stats.misses++, group->misses++;
    count_hint(pager, page);
}

/* The reads of those that were announced for themselves, in runs. */
static void demand_here(mp_pager *pager, const mp_access *set, const bool *elsewhere) {
    for (uint32_t i = 0, n; i < set->n; i += n) {
        for (n = 1; elsewhere && i + n < set->n && elsewhere[i + n] == elsewhere[i];) n++;
        if (!elsewhere) n = set->n;
        if (!elsewhere || !elsewhere[i]) mp_pager_demand(pager, set->pages + i, n, false);
    }
}

mp_err mp_pager_want(mp_pager *pager, const mp_access *set) {
    return mp_pager_want_some(pager, set, NULL);
}

mp_err mp_pager_want_some(mp_pager *pager, const mp_access *set, const bool *elsewhere) {
    const mp_page *pages = set->pages;
    uint32_t n = set->n;
    pthread_mutex_lock(&pager->lock);
    pager->epoch += pager->epoch == UINT32_MAX ? 2 : 1; /* 0 means none */
    tell_policy(pager, set);
    add_bound(pager, set);
    for (uint32_t i = 0; i < n; i++) {
        announce(pager, pages[i], elsewhere && elsewhere[i]);
        pager->page[pages[i]].uses += set->rows ? set->rows[i] : 1;
    }
    if (n && !pager->dry) {
        demand_here(pager, set, elsewhere);
        mp_pager_cancel_hints(pager, mp_pager_group_of(pager, pages[0])); /* what the set needs is no hint any more */
        if (pager->hinted.n) mp_pager_ring(pager, 1); /* this group's made room for those of others */
    }
    pthread_mutex_unlock(&pager->lock);
    return MP_OK;
}

mp_err mp_pager_wait_any(mp_pager *pager, const mp_page *pages, uint32_t n, uint32_t *which) {
    assert(n >= 1 && !pager->dry);
    *which = 0;
    pthread_mutex_lock(&pager->lock);
    mp_err err = mp_pager_wait(pager, pages, n, MP_PIN_READ, which);
    pthread_mutex_unlock(&pager->lock);
    return err;
}

static void take_pin(mp_pager *pager, mp_page page, mp_pin_mode mode, mp_pin *out) {
    mp_pager_page *p = &pager->page[page];
    if (!p->wanted) tell_policy(pager, &(mp_access){.pages = &page, .n = 1, .tokens = 1}); /* the announcement told it otherwise */
    count_hint(pager, page);
    p->wanted = 0;
    p->pins++;
    count_pin(pager, p->class);
    if (mode & MP_PIN_WRITE) {
        assert(pager->config.source.store && "a page of this source cannot be written");
        p->dirty = p->writing = true;
        p->store_failed = false;
    }
    out->page = page;
    mp_pager_slot_addresses(pager, page, out->slice);
}

mp_err mp_pager_pin(mp_pager *pager, mp_page page, mp_want want, mp_pin_mode mode, mp_pin *out, bool *got) {
    assert(page < pager->config.pages && !pager->dry);
    mp_err err = MP_OK;
    uint32_t which;
    *out = (mp_pin){0};
    pthread_mutex_lock(&pager->lock);
    const mp_pager_page *p = &pager->page[page];
    bool easy = p->state == MP_PAGE_AWAY && pager->class[p->class].n_free && pager->idle && !pager->demand.n;
    if (want == MP_MUST || (want == MP_EASY && easy)) err = mp_pager_wait(pager, &page, 1, mode, &which);
    *got = !err && is_ready(pager, page, mode);
    if (*got) take_pin(pager, page, mode, out);
    pthread_mutex_unlock(&pager->lock);
    return err;
}

void mp_pager_unpin(mp_pager *pager, mp_page page) {
    pthread_mutex_lock(&pager->lock);
    mp_pager_page *p = &pager->page[page];
    assert(p->pins > 0);
    count_unpin(pager, p->class);
    if (--p->pins == 0) {
        p->writing = false;
        mp_pager_pump(pager, p->class);
        if (pager->sleepers) pthread_cond_broadcast(&pager->changed);
    }
    pthread_mutex_unlock(&pager->lock);
}

uint64_t mp_pager_absent(mp_pager *pager, const mp_page *pages, uint32_t n) {
    uint64_t absent = 0;
    pthread_mutex_lock(&pager->lock);
    for (uint32_t i = 0; i < n && i < 64; i++) absent |= (uint64_t)(pager->page[pages[i]].state == MP_PAGE_AWAY) << i;
    pthread_mutex_unlock(&pager->lock);
    return absent;
}

void mp_pager_hint(mp_pager *pager, const mp_page *pages, uint32_t n) {
    pthread_mutex_lock(&pager->lock);
    pager->stats.hints += n;
    for (uint32_t i = 0; i < n && !pager->dry; i++) {
        const mp_pager_page *p = &pager->page[pages[i]];
        if (p->state != MP_PAGE_AWAY || p->list != MP_LIST_NONE) continue;
        bool most = pager->hinted.n == HINTS_MAX;
        if (most || i >= HINTS_MAX) pager->stats.hints_cancelled++;
        if (i >= HINTS_MAX) continue; /* of too many the likeliest stay */
        if (most) mp_pager_unlist(pager, pager->hinted.first);
        mp_pager_push(pager, pages[i], MP_LIST_HINTED, false);
        mp_pager_ring(pager, 1);
    }
    pthread_mutex_unlock(&pager->lock);
}
