/* Touching slots in the background. Memory that a process was given costs nothing until it is touched; then the system finds and clears it, and
 * under a hypervisor that takes free memory back the first touch of 4 GiB took 20 s here. Done at open it would delay the first token by that; never done,
 * the peak would be less than the plan says until the last slot is used. So one thread does it, giving way to others but not for ever, since it
 * holds a lock now and then and a huge page that a reader may wait for (it ran only in idle time before: that could have stalled them), from the last region
 * down, while reads fill slots from the first up.
 *
 * Two threads that touch the same huge page at once each get one from the system, and one of them is thrown away: with eight readers the process holds up to
 * 16 MiB more than it will keep, which in a control group of exactly the budget once was its end. So whoever needs a huge page first claims it. */
#include "mem/pager_int.h"

#include <signal.h>

#include "base/os.h"

enum { STACK_BYTES = 64 << 10, STACK_USED_BYTES = 8 << 10, HUGE_BYTES = 2 << 20 };
enum { UNTOUCHED, CLAIMED, TOUCHED };

mp_err mp_pager_touched_open(mp_pager *pager, const mp_region *memory, mp_pager_touched **out) {
    size_t n = (memory->bytes + HUGE_BYTES - 1) / HUGE_BYTES;
    void *block;
    *out = NULL;
    mp_err err = mp_alloc(pager->config.ledger, MP_OWN_OVERHEAD, sizeof(mp_pager_touched) + n, &block);
    if (err) return err;
    *out = block;
    **out = (mp_pager_touched){.base = memory->base, .bytes = memory->bytes, .n = (uint32_t)n};
    return MP_OK;
}

static void touch_one(mp_pager *pager, mp_pager_touched *t, uint32_t i) {
    pthread_mutex_lock(&pager->touch_lock);
    while (t->state[i] == CLAIMED) pthread_cond_wait(&pager->touch_done, &pager->touch_lock);
    bool mine = t->state[i] == UNTOUCHED;
    if (mine) t->state[i] = CLAIMED;
    pthread_mutex_unlock(&pager->touch_lock);
    if (!mine) return;
    size_t at = (size_t)i * HUGE_BYTES;
    mp_os_populate(t->base + at, t->bytes - at < HUGE_BYTES ? t->bytes - at : HUGE_BYTES); /* refused: then using it touches it */
    pthread_mutex_lock(&pager->touch_lock);
    t->state[i] = TOUCHED;
    pthread_cond_broadcast(&pager->touch_done);
    pthread_mutex_unlock(&pager->touch_lock);
}

void mp_pager_touch(mp_pager *pager, mp_pager_touched *t, unsigned char *p, size_t bytes) {
    if (!t || !bytes) return;
    size_t first = (size_t)(p - t->base) / HUGE_BYTES, last = ((size_t)(p - t->base) + bytes - 1) / HUGE_BYTES;
    for (size_t i = first; i <= last && i < t->n; i++) touch_one(pager, t, (uint32_t)i);
}

/* Regions are counted over all classes; NULL past the last. */
static const mp_pager_region *region_at(const mp_pager *pager, uint32_t index) {
    for (int c = 0; c < pager->classes; c++) {
        if (index < pager->class[c].regions) return &pager->class[c].region[index];
        index -= pager->class[c].regions;
    }
    return NULL;
}

static uint32_t count_regions(const mp_pager *pager) {
    uint32_t n = 0;
    for (int c = 0; c < pager->classes; c++) n += pager->class[c].regions;
    return n;
}

/* One region, in steps, so that closing does not wait for long. Called with the lock, which is released meanwhile: dropping the region waits. */
static void touch_region(mp_pager *pager, mp_pager_touched *t) {
    pager->touching = t->base;
    for (uint32_t i = 0; i < t->n && !pager->stop && !pager->resizing; i++) {
        pthread_mutex_unlock(&pager->lock);
        touch_one(pager, t, i);
        pthread_mutex_lock(&pager->lock);
    }
    pager->touching = NULL;
    if (pager->sleepers) pthread_cond_broadcast(&pager->changed);
}

static void touch_all(mp_pager *pager) {
    for (uint32_t i = count_regions(pager); i-- > 0 && !pager->stop && !pager->touch_again;) {
        const mp_pager_region *r = region_at(pager, i);
        if (r && r->touched) touch_region(pager, r->touched);
    }
}

static void *touch_on(void *arg) {
    mp_pager *pager = arg;
    mp_os_thread_background();
    pthread_mutex_lock(&pager->lock);
    while (!pager->stop) {
        while (!pager->stop && (!pager->touch_again || pager->resizing)) pthread_cond_wait(&pager->touch, &pager->lock);
        pager->touch_again = false;
        if (!pager->stop) touch_all(pager);
    }
    pthread_mutex_unlock(&pager->lock);
    return NULL;
}

void mp_pager_toucher_again(mp_pager *pager) {
    pager->touch_again = true;
    if (pager->has_toucher) pthread_cond_signal(&pager->touch);
}

mp_err mp_pager_toucher_open(mp_pager *pager) {
    pthread_attr_t attr;
    mp_err err = mp_ledger_charge(pager->config.ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, STACK_USED_BYTES);
    if (err) return err;
    pager->has_toucher = true;
    pager->touch_again = true;
    if (pager->dry) return MP_OK;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = !pthread_attr_init(&attr);
    if (started) {
        pthread_attr_setstacksize(&attr, STACK_BYTES);
        started = !pthread_create(&pager->toucher, &attr, touch_on, pager);
        pthread_attr_destroy(&attr);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started) return MP_OK;
    pager->has_toucher = false;
    mp_ledger_credit(pager->config.ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, STACK_USED_BYTES);
    return mp_fail(MP_E_FAILED, "the system refused a thread that touches memory");
}

void mp_pager_toucher_close(mp_pager *pager) {
    if (!pager->has_toucher) return;
    pthread_mutex_lock(&pager->lock);
    pager->stop = true;
    pthread_cond_signal(&pager->touch);
    pthread_mutex_unlock(&pager->lock);
    if (!pager->dry) pthread_join(pager->toucher, NULL);
    mp_ledger_credit(pager->config.ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, STACK_USED_BYTES);
}
