/* The ledger and the two ways to get memory that are charged to it: small blocks and regions.
 *
 * Invariants: a tier's sum is the sum of its lines; a charge is made before the memory exists and credited after it is gone, so
 * that the ledger never says less than what is held. Writers hold the lock; readers take single counters without it.
 *
 * A small block:   [ mp_head, 64 bytes | size bytes, zeroed ]
 *                                        ^ what the caller sees
 */
#include "base/ledger.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/size.h"

enum { BLOCK_ALIGN = 64, PAGE_BYTES = 4096, HUGE_BYTES = 2 << 20, HUGE_FROM_BYTES = 8 << 20, PAGE_TABLE_SHARE = 512, TRIM_BYTES = 1 << 20 };

typedef struct counter {
    _Atomic uint64_t used, peak; /* bytes */
} counter;

struct mp_ledger {
    pthread_mutex_t  lock;
    bool             dry;
    _Atomic int      refused; /* mp_tier */
    _Atomic uint64_t limit[MP_TIER_COUNT];
    counter          sum[MP_TIER_COUNT];
    counter          line[MP_TIER_COUNT][MP_OWN_COUNT];
};

typedef struct head {
    _Alignas(BLOCK_ALIGN) mp_ledger *ledger;
    size_t   bytes; /* charged: with this head */
    mp_owner owner;
} head;

static_assert(sizeof(head) == BLOCK_ALIGN, "a block behind its head must stay aligned");

const char *mp_tier_name(mp_tier tier) {
    static const char *const names[MP_TIER_COUNT] = {"vram", "ram", "disk"};
    return names[tier];
}

const char *mp_owner_name(mp_owner owner) {
    static const char *const names[MP_OWN_COUNT] = {"weights", "experts", "kv", "work", "tokenizer", "overhead"};
    return names[owner];
}

mp_err mp_ledger_open(bool dry, mp_ledger **out) {
    *out = NULL;
    mp_ledger *ledger = calloc(1, sizeof *ledger); /* the one allocation that no ledger can be charged for */
    if (!ledger) return mp_fail(MP_E_FAILED, "the system has no memory for a ledger");
    if (pthread_mutex_init(&ledger->lock, NULL)) {
        free(ledger);
        return mp_fail(MP_E_FAILED, "the system refused a lock for the ledger");
    }
    ledger->dry = dry;
    ledger->refused = MP_TIER_COUNT;
    *out = ledger;
    return MP_OK;
}

void mp_ledger_close(mp_ledger **ledger) {
    if (!ledger || !*ledger) return;
    for (int tier = 0; tier < MP_TIER_COUNT; tier++) assert((*ledger)->sum[tier].used == 0 && "something was not freed");
    pthread_mutex_destroy(&(*ledger)->lock);
    free(*ledger);
    *ledger = NULL;
}

bool mp_ledger_dry(const mp_ledger *ledger) {
    return ledger->dry;
}

void mp_ledger_set_limit(mp_ledger *ledger, mp_tier tier, uint64_t bytes) {
    pthread_mutex_lock(&ledger->lock); /* so that no charge that saw the old limit ends after this call */
    ledger->limit[tier] = bytes;
    pthread_mutex_unlock(&ledger->lock);
}

uint64_t mp_ledger_limit(const mp_ledger *ledger, mp_tier tier) {
    return ledger->limit[tier];
}

uint64_t mp_ledger_used(const mp_ledger *ledger, mp_tier tier) {
    return ledger->sum[tier].used;
}

uint64_t mp_ledger_peak(const mp_ledger *ledger, mp_tier tier) {
    return ledger->sum[tier].peak;
}

mp_ledger_line mp_ledger_get(const mp_ledger *ledger, mp_tier tier, mp_owner owner) {
    const counter *line = &ledger->line[tier][owner];
    return (mp_ledger_line){.used_bytes = line->used, .peak_bytes = line->peak};
}

mp_tier mp_ledger_refused(const mp_ledger *ledger) {
    return (mp_tier)ledger->refused;
}

void mp_ledger_reset_peaks(mp_ledger *ledger) {
    pthread_mutex_lock(&ledger->lock);
    for (int tier = 0; tier < MP_TIER_COUNT; tier++) {
        ledger->sum[tier].peak = ledger->sum[tier].used;
        for (int owner = 0; owner < MP_OWN_COUNT; owner++) ledger->line[tier][owner].peak = ledger->line[tier][owner].used;
    }
    pthread_mutex_unlock(&ledger->lock);
}

static void counter_add(counter *c, uint64_t bytes) {
    c->used += bytes;
    if (c->used > c->peak) c->peak = c->used;
}

mp_err mp_ledger_charge(mp_ledger *ledger, mp_tier tier, mp_owner owner, uint64_t bytes) {
    pthread_mutex_lock(&ledger->lock);
    uint64_t limit = ledger->limit[tier], used = ledger->sum[tier].used;
    bool fits = bytes <= (limit ? limit : UINT64_MAX) && used <= (limit ? limit : UINT64_MAX) - bytes;
    if (fits) {
        counter_add(&ledger->sum[tier], bytes);
        counter_add(&ledger->line[tier][owner], bytes);
    }
    pthread_mutex_unlock(&ledger->lock);
    if (fits) return MP_OK;
    ledger->refused = tier;
    char need_text[MP_SIZE_TEXT], used_text[MP_SIZE_TEXT], limit_text[MP_SIZE_TEXT];
    return mp_fail(MP_E_BUDGET, "%s does not fit the %s budget: it needs %s, %s of %s are in use; give a larger budget",
                   mp_owner_name(owner), mp_tier_name(tier), mp_size_format(bytes, need_text),
                   mp_size_format(used, used_text), mp_size_format(limit, limit_text));
}

void mp_ledger_credit(mp_ledger *ledger, mp_tier tier, mp_owner owner, uint64_t bytes) {
    pthread_mutex_lock(&ledger->lock);
    assert(ledger->line[tier][owner].used >= bytes && "credited more than was charged");
    ledger->sum[tier].used -= bytes;
    ledger->line[tier][owner].used -= bytes;
    pthread_mutex_unlock(&ledger->lock);
}

/* ---- small blocks ---- */

mp_err mp_alloc(mp_ledger *ledger, mp_owner owner, size_t bytes, void **out) {
    *out = NULL;
    if (bytes > SIZE_MAX / 2) return mp_fail(MP_E_BUDGET, "%zu bytes are more than any system has", bytes);
    size_t total = bytes + sizeof(head);
    mp_err err = mp_ledger_charge(ledger, MP_TIER_RAM, owner, total);
    if (err) return err;
    void *block = NULL;
    if (posix_memalign(&block, BLOCK_ALIGN, total)) {
        mp_ledger_credit(ledger, MP_TIER_RAM, owner, total);
        return mp_fail(MP_E_FAILED, "the system has no %zu bytes of memory for %s", total, mp_owner_name(owner));
    }
    memset(block, 0, total);
    head *h = block;
    *h = (head){.ledger = ledger, .bytes = total, .owner = owner};
    *out = h + 1;
    return MP_OK;
}

void mp_free(void *p) {
    if (!p) return;
    head *h = (head *)p - 1;
    head was = *h;
    free(h);
    if (was.bytes >= TRIM_BYTES) mp_os_trim(); /* else each thread's heap keeps the largest blocks that it ever had: 2.3 MB a thread that generates */
    mp_ledger_credit(was.ledger, MP_TIER_RAM, was.owner, was.bytes);
}

mp_err mp_alloc_array(mp_ledger *ledger, mp_owner owner, size_t n, size_t size, void **out) {
    *out = NULL;
    if (size && n > SIZE_MAX / size)
        return mp_fail(MP_E_BUDGET, "%zu items of %zu bytes are more than any system has", n, size);
    return mp_alloc(ledger, owner, n * size, out);
}

/* ---- regions ---- */

static size_t region_bytes(size_t bytes) {
    size_t unit = bytes >= HUGE_FROM_BYTES ? HUGE_BYTES : PAGE_BYTES;
    return bytes > SIZE_MAX - unit ? SIZE_MAX / unit * unit : (bytes + unit - 1) / unit * unit;
}

uint64_t mp_region_cost(size_t bytes) {
    uint64_t whole = region_bytes(bytes);
    return whole + whole / PAGE_TABLE_SHARE;
}

mp_err mp_region_open(mp_ledger *ledger, mp_owner owner, size_t bytes, bool populate, mp_region *out) {
    *out = (mp_region){0};
    mp_region region = {.bytes = region_bytes(bytes), .charged = mp_region_cost(bytes), .owner = owner, .ledger = ledger};
    mp_err err = mp_ledger_charge(ledger, MP_TIER_RAM, owner, region.charged);
    if (err) return err;
    if (!ledger->dry && region.bytes) {
        region.base = mp_os_map(region.bytes, region.bytes >= HUGE_FROM_BYTES);
        if (!region.base || (populate && !mp_os_populate(region.base, region.bytes))) {
            mp_region_close(&region);
            char text[MP_SIZE_TEXT];
            return mp_fail(MP_E_FAILED, "the system has no %s of memory for %s; give a smaller budget or free some memory",
                           mp_size_format(region_bytes(bytes), text), mp_owner_name(owner));
        }
    }
    *out = region;
    return MP_OK;
}

void mp_region_close(mp_region *region) {
    if (!region || !region->ledger) return;
    const mp_memory *memory = region->memory;
    if (region->base && memory) memory->give(memory->self, region->base, region->bytes);
    if (region->base && !memory) mp_os_unmap(region->base, region->bytes);
    mp_ledger_credit(region->ledger, memory ? memory->tier : MP_TIER_RAM, region->owner, region->charged);
    *region = (mp_region){0};
}

uint64_t mp_region_cost_in(const mp_memory *memory, size_t bytes) {
    return memory ? (bytes + memory->grain - 1) / memory->grain * memory->grain : mp_region_cost(bytes);
}

mp_err mp_region_open_in(mp_ledger *ledger, const mp_memory *memory, mp_owner owner, size_t bytes, mp_region *out) {
    if (!memory) return mp_region_open(ledger, owner, bytes, false, out);
    *out = (mp_region){0};
    uint64_t whole = mp_region_cost_in(memory, bytes);
    mp_region region = {.bytes = whole, .charged = whole, .owner = owner, .ledger = ledger, .memory = memory};
    mp_err err = mp_ledger_charge(ledger, memory->tier, owner, whole);
    if (err) return err;
    if (!ledger->dry && whole) err = memory->take(memory->self, whole, &region.base);
    if (err) {
        if (err == MP_E_BUDGET) ledger->refused = memory->tier;
        mp_ledger_credit(ledger, memory->tier, owner, whole);
        return err;
    }
    *out = region;
    return MP_OK;
}

mp_err mp_memory_fill(const mp_memory *memory, void *dst, const void *host, size_t bytes) {
    if (memory) return memory->fill(memory->self, dst, host, bytes);
    memcpy(dst, host, bytes);
    return MP_OK;
}

mp_err mp_memory_copy(const mp_memory *memory, void *dst, const void *src, size_t bytes) {
    if (memory) return memory->copy(memory->self, dst, src, bytes);
    memcpy(dst, src, bytes);
    return MP_OK;
}
