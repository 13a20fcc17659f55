/* The ledger: who holds how many bytes of which tier. Every allocation is charged BEFORE it is made; one that
 * does not fit fails with the numbers. A dry ledger counts the same way and has no memory behind its regions:
 * the planner is the loader run on a dry ledger.
 *
 *   limit ─┬────────────────────────────────────────────┐
 *          │ weights │ experts │ kv │ work │ tok │ over │  free
 *          └────────────────────────────────────────────┘
 */
#ifndef MP_BASE_LEDGER_H
#define MP_BASE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum mp_tier { MP_TIER_VRAM, MP_TIER_RAM, MP_TIER_DISK, MP_TIER_COUNT } mp_tier;

/* Owner tags. WEIGHTS: dense weights. EXPERTS: expert slots. KV: keys, values, recurrent state. WORK: activations,
 * logits, staging. TOKENIZER: vocabulary and metadata. OVERHEAD: libraries, libc, threads, page tables of small things. */
typedef enum mp_owner {
    MP_OWN_WEIGHTS, MP_OWN_EXPERTS, MP_OWN_KV, MP_OWN_WORK, MP_OWN_TOKENIZER, MP_OWN_OVERHEAD, MP_OWN_COUNT
} mp_owner;

const char *mp_tier_name(mp_tier tier);    /* "vram" "ram" "disk" */
const char *mp_owner_name(mp_owner owner); /* "weights" "experts" "kv" "work" "tokenizer" "overhead" */

typedef struct mp_ledger mp_ledger;

typedef struct mp_ledger_line {
    uint64_t used_bytes, peak_bytes; /* of one owner in one tier */
} mp_ledger_line;

/* Opens a ledger without limits. dry: regions and arenas charged to it get no memory. Threads: all calls are thread-safe. */
mp_err mp_ledger_open(bool dry, mp_ledger **out);
void   mp_ledger_close(mp_ledger **ledger); /* asserts (debug builds) that everything was credited back */
bool   mp_ledger_dry(const mp_ledger *ledger);

/* 0 = no limit. Lowering below what is used is allowed: further charges fail until enough is credited. */
void     mp_ledger_set_limit(mp_ledger *ledger, mp_tier tier, uint64_t bytes);
uint64_t mp_ledger_limit(const mp_ledger *ledger, mp_tier tier);
uint64_t mp_ledger_used(const mp_ledger *ledger, mp_tier tier);
uint64_t mp_ledger_peak(const mp_ledger *ledger, mp_tier tier); /* peak of the tier's sum, not sum of peaks */
mp_ledger_line mp_ledger_get(const mp_ledger *ledger, mp_tier tier, mp_owner owner);

/* The tier that last had no room: by its limit, or because its memory gave none. MP_TIER_COUNT: none yet. */
mp_tier mp_ledger_refused(const mp_ledger *ledger);

/* Peaks start again from what is used now: after loading, whose buffers are gone when the large things come. */
void mp_ledger_reset_peaks(mp_ledger *ledger);

/* Errors: MP_E_BUDGET with need, used and limit in the sentence. */
mp_err mp_ledger_charge(mp_ledger *ledger, mp_tier tier, mp_owner owner, uint64_t bytes);
void   mp_ledger_credit(mp_ledger *ledger, mp_tier tier, mp_owner owner, uint64_t bytes);

/* Small memory: zeroed, 64-byte aligned, real also on a dry ledger. The block remembers ledger, owner and size, so freeing
 * needs only the pointer. Charged: size plus the hidden header. size 0 gives a valid pointer.
 * Errors: MP_E_BUDGET; MP_E_FAILED when the system has none. On error *out (a `void *`) is NULL. */
mp_err mp_alloc(mp_ledger *ledger, mp_owner owner, size_t bytes, void **out);
void   mp_free(void *p); /* NULL is fine */
#define MP_FREE(p) (mp_free(p), (p) = NULL)
/* New array of n T's into the variable p: MP_NEW(err, ledger, owner, T, n, p) - checks n * sizeof(T) for overflow. */
#define MP_NEW(ledger, owner, T, n, pp) mp_alloc_array((ledger), (owner), (n), sizeof(T), (void **)(void *)(pp))
mp_err mp_alloc_array(mp_ledger *ledger, mp_owner owner, size_t n, size_t size, void **out);

/* Where large memory comes from when it is not the host's: a device's. All calls may come from any thread, and are done when they return. */
typedef struct mp_memory {
    mp_tier  tier;
    size_t   grain; /* what is taken, and charged, is a multiple of it */
    void    *self;
    mp_err (*take)(void *self, size_t bytes, unsigned char **out); /* errors: MP_E_BUDGET when there is not so much */
    void   (*give)(void *self, unsigned char *base, size_t bytes);
    mp_err (*fill)(void *self, unsigned char *dst, const void *host, size_t bytes);
    mp_err (*copy)(void *self, unsigned char *dst, const unsigned char *src, size_t bytes); /* both in this memory */
} mp_memory;

/* Large memory, for weights, slots, KV, work. The host's: whole pages straight from the system, huge pages where the system gives them;
 * bytes is rounded up to 4096 (to 2 MiB from 8 MiB on); what is charged also counts its page tables (1/512).
 * populate: touch it all now, so that nothing faults later and the measured peak is the planned one.
 * base is NULL on a dry ledger. */
typedef struct mp_region {
    unsigned char *base;
    size_t         bytes;   /* usable */
    uint64_t       charged; /* what the ledger counts for it */
    mp_owner       owner;
    mp_ledger     *ledger;
    const mp_memory *memory; /* NULL: the host's */
} mp_region;

mp_err   mp_region_open(mp_ledger *ledger, mp_owner owner, size_t bytes, bool populate, mp_region *out);
void     mp_region_close(mp_region *region);         /* zeroes *region */
uint64_t mp_region_cost(size_t bytes);               /* what mp_region_open will charge for bytes */

/* The same in any memory (NULL: the host's, not populated), charged to its tier. */
mp_err   mp_region_open_in(mp_ledger *ledger, const mp_memory *memory, mp_owner owner, size_t bytes, mp_region *out);
uint64_t mp_region_cost_in(const mp_memory *memory, size_t bytes);
/* dst, in the memory (NULL: the host's), = the host's bytes. */
mp_err   mp_memory_fill(const mp_memory *memory, void *dst, const void *host, size_t bytes);
/* Both in the memory. */
mp_err   mp_memory_copy(const mp_memory *memory, void *dst, const void *src, size_t bytes);
#endif
