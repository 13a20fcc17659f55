/* The inside of the pager, shared by pager*.c and by nothing else.
 *
 *   pager.c        open, close, fill, flush, counters
 *   pager_class.c  size classes: what slots cost and how a budget is divided (pure arithmetic)
 *   pager_slot.c   regions and slots; eviction; resize
 *   pager_queue.c  lists of pages; the beginning and the end of a read and of a store; hints and warming
 *   pager_read.c   the threads that read and store, by pread or io_uring
 *   pager_touch.c  the thread that touches slots before they are used
 *   pager_pin.c    want, hint, pin, unpin, and waiting
 *
 * One mutex guards everything here; contents of pages are written by readers without it (a page that loads has no pins) and by their
 * pinners. Functions below are called with it held, unless they say otherwise.
 *
 * A page is on at most one list:
 *   away      none | pending (a thread needs it; it waits for a slot) | hinted (it would be nice; no slot yet)
 *   loading   demand | spare (as demand, but hinted), until its last slice is handed to a reader; then none
 *   resident  none | stores, until a reader takes it */
#ifndef MP_MEM_PAGER_INT_H
#define MP_MEM_PAGER_INT_H

#include <pthread.h>

#include "base/uring.h"
#include "mem/pager.h"

#define MP_NONE UINT32_MAX

enum { MP_PAGER_CLASSES = 8, MP_PAGER_HOLDERS = 64, MP_PAGER_TEXT = 1024 };

typedef enum mp_page_state { MP_PAGE_AWAY, MP_PAGE_LOADING, MP_PAGE_RESIDENT } mp_page_state;
typedef enum mp_page_list { MP_LIST_NONE, MP_LIST_PENDING, MP_LIST_HINTED, MP_LIST_DEMAND, MP_LIST_SPARE, MP_LIST_STORES } mp_page_list;

typedef struct mp_pager_page {
    uint32_t prev, next; /* on its list */
    uint32_t slot;       /* in its class; MP_NONE while away */
    uint32_t pins;
    uint32_t waiters;    /* threads that wait for it: it is not taken from under them */
    uint32_t wanted;     /* number of the announcement that it waits to be used for; 0: none */
    uint32_t announcer;  /* whose */
    uint32_t uses;       /* rows that it was announced for; goes round */
    uint32_t begun;      /* loading: the number of its read */
    uint8_t  class, state, list;
    uint8_t  cursor;     /* loading: next slice to hand out */
    uint8_t  left;       /* loading: slices that have not landed */
    bool     load_failed;
    bool     hinted;     /* came, or comes, by a hint and was not used yet */
    bool     fresh;      /* and its group has not been announced since: it stays */
    bool     kept;       /* whatever the policy says */
    bool     dirty, writing, storing, store_failed; /* writing: pinned for it. store_failed: not tried again until somebody asks */
} mp_pager_page;

typedef struct mp_pager_list { uint32_t first, last, n; } mp_pager_list;

/* Which huge pages of a region were touched (pager_touch.c). */
typedef struct mp_pager_touched {
    unsigned char *base;
    size_t         bytes;
    uint32_t       n;
    uint8_t        state[]; /* [n] of each 2 MiB: not yet, now, done */
} mp_pager_touched;

typedef struct mp_pager_slot {
    unsigned char *base;
    mp_pager_touched *touched; /* of its region; NULL on a dry ledger */
    uint32_t       page, next_free;
} mp_pager_slot;

typedef struct mp_pager_region {
    mp_region memory;
    mp_pager_touched *touched;
    uint32_t  slots;
} mp_pager_region;

/* What a class is, apart from its memory. Slots come in regions of region_slots; the last region of a class may have fewer. */
typedef struct mp_pager_shape {
    uint64_t slot_bytes;
    uint32_t pages, region_slots;
    const mp_memory *memory;
} mp_pager_shape;

typedef struct mp_pager_class {
    mp_pager_shape   shape;
    mp_pager_region *region;   /* [region_cap] */
    uint32_t         regions, region_cap;
    mp_pager_slot   *slot;     /* [shape.pages]: there are never more slots than pages */
    uint32_t         slots;
    uint32_t         open;     /* slots from here on are being given up: no page comes to them */
    uint32_t         free, n_free; /* a stack through next_free */
    mp_pager_list    pending;
    uint32_t         loading, storing, fresh, kept;
    uint64_t         pins;
} mp_pager_class;

/* How many pins a thread holds, to tell waiting from waiting for oneself. */
typedef struct mp_pager_holder {
    pthread_t thread;
    uint64_t  total, pins[MP_PAGER_CLASSES]; /* total 0: the entry is free */
    bool      starved;                       /* it sleeps until somebody drops a pin */
} mp_pager_holder;

typedef struct mp_pager_waiter {
    const mp_page          *pages;
    uint32_t                n;
    uint32_t                since;  /* reads that had begun when it came */
    mp_page                 failed; /* the page that err is about */
    mp_err                  err;
    char                    text[MP_PAGER_TEXT];
    struct mp_pager_waiter *next;
} mp_pager_waiter;

struct mp_pager {
    mp_pager_config config;
    bool            dry;
    uint32_t        min_slots;
    pthread_mutex_t lock;
    pthread_cond_t  work;    /* readers: something to do */
    pthread_cond_t  changed; /* everybody else: a page landed or failed, a pin or a slot was dropped */
    mp_pager_page  *page;    /* [config.pages] */
    mp_pager_class  class[MP_PAGER_CLASSES];
    int             classes;
    mp_pager_list   hinted, demand, spare, stores;
    mp_pager_waiter *waiters;
    mp_pager_holder holder[MP_PAGER_HOLDERS];
    int             holders;  /* entries that were ever used */
    uint32_t        sleepers; /* threads that wait for a pin or a slot to be dropped, not for a read */
    uint32_t        epoch;    /* announcements so far */
    uint32_t        begun;    /* reads so far; goes round */
    uint32_t        idle;     /* readers without work */
    bool            stop, resizing;
    pthread_t      *reader;
    int             readers;  /* started */
    mp_uring       *ring;     /* method MP_IO_URING: its one thread's */
    void           *flights;  /* what is in the ring (pager_read.c) */
    bool            ringless; /* the ring refused for too long: its thread reads as one of the others would */
    bool            rung;     /* the ring was woken and has not looked yet */
    mp_page        *warm;     /* pages to read into free slots when nothing else is to be done, hottest first */
    uint32_t        warm_n, warm_at;
    pthread_t       toucher;  /* touches slots in the background */
    pthread_cond_t  touch;    /* it has something to do */
    bool            has_toucher, touch_again;
    unsigned char  *touching; /* the region that it is at; NULL: none */
    pthread_mutex_t touch_lock; /* guards the states of mp_pager_touched, and nothing else; taken last */
    pthread_cond_t  touch_done; /* one of them is done */
    mp_err          store_err; /* of the last store that failed */
    char            store_text[MP_PAGER_TEXT];
    mp_pager_stats  stats;
    mp_pager_group_stats *group; /* [groups] */
    uint32_t        groups;
};

static inline uint32_t mp_pager_group_of(const mp_pager *pager, mp_page page) {
    return pager->config.group_pages ? page / pager->config.group_pages : 0;
}

/* ---- pager_class.c: no state, no lock ---- */

mp_err   mp_pager_check(const mp_pager_config *config); /* MP_E_USAGE: no such source or page can be */
uint64_t mp_pager_unit(const mp_source *source); /* what spans and slots are rounded to */
/* Where each slice begins inside a slot, and the bytes that the page needs there. offset may be NULL. */
uint64_t mp_pager_layout(const mp_source *source, const mp_page_desc *desc, uint64_t offset[MP_PAGE_SLICES]);
/* Classes in descending order of slot_bytes; returns how many. */
int      mp_pager_shapes(const mp_pager_config *config, mp_pager_shape shape[MP_PAGER_CLASSES]);
int      mp_pager_class_of(const mp_pager_shape *shape, int classes, uint64_t bytes);
uint32_t mp_pager_least_slots(const mp_pager_shape *shape, int class, uint32_t min_slots); /* of one class, for mp_pager_open's min_slots */
uint64_t mp_pager_slots_cost(const mp_pager_shape *shape, uint32_t slots);   /* as the ledger charges it */
/* Divides the budget: slots[c] of each class. Errors: MP_E_BUDGET with the least. */
mp_err   mp_pager_divide(const mp_pager_shape *shape, int classes, uint32_t min_slots, uint64_t budget_bytes, uint32_t slots[MP_PAGER_CLASSES]);

/* ---- pager_slot.c ---- */

typedef enum mp_evict {
    MP_EVICT_PLAIN, /* pages that nobody announced */
    MP_EVICT_OWN,   /* those of the caller's own announcement too */
    MP_EVICT_ANY,   /* those of any */
} mp_evict;

uint32_t mp_pager_victim(mp_pager *pager, int class, mp_evict how); /* MP_NONE: none can go. It may be dirty */
void     mp_pager_evict(mp_pager *pager, mp_page page);             /* resident, clean, no pins */
uint32_t mp_pager_slot_take(mp_pager_class *class);                 /* a free slot; MP_NONE: there is none */
void     mp_pager_slot_free(mp_pager *pager, mp_page page);         /* the page leaves its slot and is away */
void     mp_pager_slot_addresses(const mp_pager *pager, mp_page page, unsigned char *slice[MP_PAGE_SLICES]);
/* Gives slots to the pages that wait for one, as far as there are any: free ones, then victims' (dirty victims are stored first). */
void     mp_pager_pump(mp_pager *pager, int class);
/* Brings every class to `slots`, whole regions at a time, within the charges that mp_pager_slots_cost says. Releases the lock at times. */
mp_err   mp_pager_reshape(mp_pager *pager, const uint32_t slots[MP_PAGER_CLASSES]);
void     mp_pager_slots_close(mp_pager *pager); /* no lock: nobody else is there */

/* ---- pager_queue.c ---- */

void   mp_pager_push(mp_pager *pager, mp_page page, mp_page_list list, bool front);
void   mp_pager_unlist(mp_pager *pager, mp_page page);
void   mp_pager_load(mp_pager *pager, mp_page page, uint32_t slot, mp_page_list list); /* list: DEMAND or SPARE */
void   mp_pager_store(mp_pager *pager, mp_page page);
bool   mp_pager_protected(const mp_pager *pager, mp_page page); /* announced, not used, and not long ago */
void   mp_pager_skip_unused(mp_pager *pager, mp_page page);      /* moves the cursor to the next slice; off its list after the last */
void   mp_pager_finish_slice(mp_pager *pager, mp_page page, mp_err err);
void   mp_pager_finish_store(mp_pager *pager, mp_page page, mp_err err);
bool   mp_pager_start_spare(mp_pager *pager); /* begins the read of a hint or of a page to warm; false: there is none for which there is room */
void   mp_pager_cancel_hints(mp_pager *pager, uint32_t group); /* those that have no slot yet; a read goes on once it has begun */
void   mp_pager_not_fresh(mp_pager *pager, mp_page page);
uint64_t mp_pager_page_bytes(const mp_pager *pager, mp_page page);

/* ---- pager_read.c ---- */

void   mp_pager_ring(mp_pager *pager, uint32_t jobs); /* there are as many more things to do */
mp_err mp_pager_readers_open(mp_pager *pager);  /* no lock */
void   mp_pager_readers_close(mp_pager *pager); /* no lock; reads in flight are waited for, the others forgotten */

/* ---- pager_touch.c ---- */

mp_err mp_pager_touched_open(mp_pager *pager, const mp_region *memory, mp_pager_touched **out);
/* [p, p + bytes) is backed by memory when it returns, and no two threads made it so at once. No lock; the slot that p lies in is not given up meanwhile. */
void   mp_pager_touch(mp_pager *pager, mp_pager_touched *touched, unsigned char *p, size_t bytes);
mp_err mp_pager_toucher_open(mp_pager *pager);  /* no lock */
void   mp_pager_toucher_close(mp_pager *pager); /* no lock */
void   mp_pager_toucher_again(mp_pager *pager); /* there may be new regions */

/* ---- pager_pin.c ---- */

uint32_t mp_pager_thread(void); /* a tag of the calling thread; two threads may share one, which costs no more than a page */
/* Puts the reads of those that are away in line, front: before all others, and starts them as far as there are slots. */
void     mp_pager_demand(mp_pager *pager, const mp_page *pages, uint32_t n, bool front);
/* Sleeps until something changed, at most STEAL_NS; for_pins: a dropped pin is a change that matters. */
void     mp_pager_sleep(mp_pager *pager, bool for_pins);
/* Until one of the pages can be pinned. Errors: the read's; MP_E_BUDGET. */
mp_err   mp_pager_wait(mp_pager *pager, const mp_page *pages, uint32_t n, mp_pin_mode mode, uint32_t *which);

#endif
