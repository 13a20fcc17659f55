/* The pager: which pages are resident, and how they come. Mechanism only: whom to evict is asked of a policy, how bytes arrive of a source.
 *
 *   page    the unit of paging: one expert's record (up to MP_PAGE_SLICES slices: gate, up, down), or a block of KV
 *   slot    memory for one page of a size class; a slice lies at its file phase (offset modulo the direct-I/O alignment) inside it
 *
 *   slot  |pad|== gate ==|pad|pad|== up ==|pad|pad|== down ==|pad|       one class: all slots equally large
 *
 *   states of a page:  away -> loading -> resident -> (dirty -> storing ->) away
 *
 * Invariants: a pinned page's address is fixed until its last unpin; a page of the announced set is not evicted while another victim exists;
 * the pager never holds more than its budget; results never depend on what is resident.
 * Threads: all calls may come from any number of threads. A pin is dropped by the thread that took it. No thread waits for ever as long as each holds
 * at most (slots of a class) / (threads that pin) pins of a class; when that is broken, one of them gets MP_E_BUDGET instead.
 * Tests: tests/mem/test_pager*.c, tests/fault/test_pager_fault.c. */
#ifndef MP_MEM_PAGER_H
#define MP_MEM_PAGER_H

#include "base/ledger.h"
#include "mem/io.h"
#include "mem/policy.h"

enum { MP_PAGE_SLICES = 4 };

typedef uint32_t mp_page; /* 0 .. n_pages-1; for experts: layer * experts + expert, numbered over MoE layers */

typedef struct mp_slice {
    uint64_t offset; /* in the file */
    uint32_t bytes;  /* 0: unused */
    uint16_t file;   /* index that the source understands */
} mp_slice;

typedef struct mp_page_desc {
    mp_slice slice[MP_PAGE_SLICES];
} mp_page_desc;

/* Where pages come from and, when dirty, go to. load and store are called on I/O threads, any number at once, the slices of one page too.
 * dst is where the slice's first byte belongs; the source may write whole aligned blocks around it: `align - 1` bytes of pad before and after
 * a slice (rounded to the alignment) belong to the slot. src[i]: slice i, NULL where unused. NULL store: pages are never dirty. */
typedef struct mp_source {
    void    *self;
    uint32_t align; /* power of two; slices keep their phase modulo it */
    /* The file in which a slice lies, if it may be read directly: then neighbouring slices come in one read, and io_uring can be used. May be NULL. */
    const mp_file *(*file)(void *self, const mp_slice *slice);
    mp_err (*load)(void *self, mp_page page, const mp_page_desc *desc, int slice, unsigned char *dst);
    mp_err (*store)(void *self, mp_page page, const mp_page_desc *desc, unsigned char *const src[MP_PAGE_SLICES]);
} mp_source;

typedef enum mp_want {
    MP_PEEK, /* only if resident now */
    MP_EASY, /* only if resident, or a free slot and an idle reader are at hand (then it waits for the read) */
    MP_MUST, /* wait for it */
} mp_want;
typedef enum mp_pin_mode { MP_PIN_READ = 1, MP_PIN_WRITE = 2 } mp_pin_mode;

typedef struct mp_pin {
    mp_page        page;
    unsigned char *slice[MP_PAGE_SLICES]; /* addresses of the slices; NULL where unused */
} mp_pin;

typedef struct mp_pager mp_pager;

typedef struct mp_pager_config {
    mp_ledger          *ledger;     /* slots are charged to owner EXPERTS of tier RAM (or `owner`) */
    mp_owner            owner;
    const mp_memory    *memory;     /* in which slots lie; NULL: the host's. Of another one the source must have no file: it puts bytes there itself */
    uint32_t            pages;      /* number of pages */
    uint32_t            group_pages; /* pages of one group (layer), for the policy; 0: all are one */
    const mp_page_desc *desc;       /* [pages]; kept by the caller for the pager's life */
    mp_source           source;
    mp_policy           policy;     /* by value; the pager closes it once it is open (on error it stays the caller's). Zero: LRU */
    uint64_t            budget_bytes; /* for slots, as the ledger charges them; as many slots as fit, but no more than pages */
    int                 readers;    /* reads in flight at most; 0: 8 */
    mp_io_method        method;     /* MP_IO_URING: one thread keeps them all in a ring (for slices whose source names their file), else a thread each */
    double              disk_cost;  /* how many bytes memory reads while the disk reads one; 0: not known. Only for stats.bound_bytes */
    /* Told of each region of slots when it has come (on), and before it goes; no lock is held. NULL: nobody asks. */
    void              (*region)(void *self, unsigned char *base, size_t bytes, bool on);
    void               *region_self;
    bool                elastic;    /* with memory: where it has less to give than the budget, open takes fewer slots, but not fewer than the least */
    bool                populate;   /* touch all slots in the background, with what the processors have to spare, so that the peak is the planned one */
} mp_pager_config;

/* What slots cost: least that works (min_slots pages of the largest class plus one of each other), and all pages resident. Pure function of
 * the descriptors and the source's alignment. Errors: MP_E_USAGE (a page without bytes, an alignment that is not 2^n). */
typedef struct mp_pager_cost { uint64_t least_bytes, all_bytes; } mp_pager_cost;
mp_err mp_pager_price(const mp_pager_config *config, uint32_t min_slots, mp_pager_cost *out);

/* On a dry ledger: charges the same, counts slots, starts no thread, has no memory; then nothing can be pinned.
 * Errors: MP_E_BUDGET when not even min_slots fit; MP_E_USAGE as above; MP_E_FAILED (memory, threads). */
mp_err mp_pager_open(const mp_pager_config *config, uint32_t min_slots, mp_pager **out);
/* Waits for reads in flight, forgets the others. What is dirty is lost: flush first. Nobody holds pins. */
void   mp_pager_close(mp_pager **pager);

/* Announces the set that will be pinned with MUST next (one layer's experts): counted as accesses, hits are those resident now (what a hint has
 * in flight is a miss). The policy sees the whole set before it evicts; reads of the misses start at once, as far as slots permit, the others as
 * pins are dropped. set->n may exceed the slots. */
mp_err mp_pager_want(mp_pager *pager, const mp_access *set);
/* The same, but of elsewhere[i] (NULL: none) only the use is counted: whoever asks does without it if it is not resident, and must not pin it then. */
mp_err mp_pager_want_some(mp_pager *pager, const mp_access *set, const bool *elsewhere);
/* Every page has a slot and is in it: nothing will be read any more. */
bool   mp_pager_complete(const mp_pager *pager);
/* Waits until one of pages[0..n) can be pinned without waiting, and says which. n >= 1. Errors: as of a pin with MUST. */
mp_err mp_pager_wait_any(mp_pager *pager, const mp_page *pages, uint32_t n, uint32_t *which);
/* *got false (with MP_OK) when PEEK or EASY did not get it. MUST starts the read itself if nobody announced it. WRITE marks the page dirty, and
 * waits while it is being stored. Errors: the read's, if it began while this call waited (one from before is done again; the page stays away and may be tried); MP_E_BUDGET when every slot of its class is
 * pinned by this thread or by others that wait for such a slot themselves; a store's, when no page can make room because its store failed. */
mp_err mp_pager_pin(mp_pager *pager, mp_page page, mp_want want, mp_pin_mode mode, mp_pin *out, bool *got);
void   mp_pager_unpin(mp_pager *pager, mp_page page);
/* Will be needed soon, the likeliest first: reads start only when no demand read waits. A page that came by a hint stays until its group is announced
 * next; then it is like any other, and reads of its group that did not begin are cancelled. Dropped are: hints older than the last 256, and pages for
 * which there is no room but that of announced, pinned, dirty or other hinted ones, which never hold more than a quarter of a class. */
void   mp_pager_hint(mp_pager *pager, const mp_page *pages, uint32_t n);
/* Background warming: these pages, hottest first, are read into free slots only, while no demand and no hint waits. Replaces an earlier list; copied. */
mp_err mp_pager_warm(mp_pager *pager, const mp_page *pages, uint32_t n);
/* Keeps a page resident once it is (read in the background now), whatever the policy says; at most half of a class's slots. on false: lets it go
 * again. Errors: MP_E_BUDGET: too many. */
mp_err mp_pager_keep(mp_pager *pager, mp_page page, bool on);
/* Which of pages[0..n), n <= 64, are neither resident nor on their way: bit i for page i. */
uint64_t mp_pager_absent(mp_pager *pager, const mp_page *pages, uint32_t n);
/* Loads pages into free slots until they are full or all are resident (used at start when everything fits). progress may be NULL; nonzero stops
 * it (MP_E_CANCELLED). Errors: the first read's. */
mp_err mp_pager_fill(mp_pager *pager, int (*progress)(void *user, uint64_t done, uint64_t total), void *user);
/* New budget, both ways, while pages are pinned by others: shrinking evicts or waits for unpins, and gives whole regions back. The caller holds
 * no pins. Errors: MP_E_BUDGET: less than the least (nothing changed), or no room in the ledger to grow; a store's. Then it is as large as it
 * was, or as small as it got. */
mp_err mp_pager_resize(mp_pager *pager, uint64_t budget_bytes);
/* Stores all dirty pages and waits, also for other threads' pins for writing; the caller holds none. Errors: that of the last store that
 * failed; all others are done. */
mp_err mp_pager_flush(mp_pager *pager);

typedef struct mp_pager_stats {
    uint64_t accesses, hits, misses;  /* accesses = hits + misses */
    uint64_t loads, load_bytes;       /* pages read, useful bytes */
    uint64_t reads, run_reads;        /* requests to the source; of them those of several slices */
    uint64_t evictions, stores;
    uint64_t wait_ns;                 /* stall: time spent in wait_any and pin */
    /* The least that the announced sets could take, in bytes at the speed of memory: of each the larger of its misses' bytes * disk_cost and its hits' bytes,
     * and one page for the last miss, which nothing hides. */
    double   bound_bytes;
    uint64_t hints, hints_loaded;     /* asked for; read */
    uint64_t hints_issued, hints_used, hints_late; /* reads begun; resident when needed; still on their way then (these are misses) */
    uint64_t hints_cancelled, hints_wasted_bytes;  /* dropped before they began, whatever for; read and evicted without ever being used */
    uint32_t slots, resident, pages, in_flight;    /* in_flight: slices being read now */
    uint64_t slot_bytes;              /* charged */
} mp_pager_stats;
/* The same for one group. */
typedef struct mp_pager_group_stats {
    uint64_t accesses, hits, misses, load_bytes, wait_ns;
    uint32_t resident;
} mp_pager_group_stats;
/* out[0 .. room): the first groups. Returns how many groups there are. */
uint32_t mp_pager_get_groups(mp_pager *pager, mp_pager_group_stats *out, uint32_t room);
void mp_pager_get_stats(mp_pager *pager, mp_pager_stats *out);
void mp_pager_reset_stats(mp_pager *pager); /* counters only */
/* How many tokens each page was announced for, out [pages]; goes round at 2^32; resetting the counters does not touch it. */
void mp_pager_get_uses(mp_pager *pager, uint32_t *out);
uint32_t mp_pager_uses_of(mp_pager *pager, mp_page page); /* of one */
#endif
