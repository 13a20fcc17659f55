#include "support/pager_pages.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned char byte_of(mp_page page, int slice, uint32_t generation, uint32_t i) {
    return (unsigned char)(page * 131u + (uint32_t)slice * 17u + generation * 59u + i * 7u + (i >> 8));
}

void pages_open(pages *p, uint32_t n, uint32_t bytes, uint32_t odd) {
    memset(p, 0, sizeof *p);
    p->n = n;
    p->align = 512;
    p->desc = calloc(n, sizeof *p->desc);
    p->generation = calloc(n, sizeof *p->generation);
    p->loads = calloc(n, sizeof *p->loads);
    pthread_mutex_init(&p->gate, NULL);
    uint64_t at = 4000 + 37; /* no multiple of 512 or of 32 */
    for (uint32_t i = 0; i < n; i++)
        for (int s = 0; s < 3; s++) {
            uint32_t size = odd && i % odd == odd - 1 ? bytes * 17 / 10 : bytes;
            p->desc[i].slice[s] = (mp_slice){.offset = at, .bytes = size + 13 * (uint32_t)s};
            at += p->desc[i].slice[s].bytes;
        }
}

void pages_close(pages *p) {
    free(p->desc);
    free(p->generation);
    free(p->loads);
    pthread_mutex_destroy(&p->gate);
}

static bool take_one(atomic_int *count) {
    int n = atomic_load(count);
    while (n > 0)
        if (atomic_compare_exchange_weak(count, &n, n - 1)) return true;
    return false;
}

static mp_err load(void *self, mp_page page, const mp_page_desc *desc, int slice, unsigned char *dst) {
    pages *p = self;
    atomic_fetch_add(&p->inside, 1);
    pthread_mutex_lock(&p->gate);
    pthread_mutex_unlock(&p->gate);
    if (p->slow_us) usleep((useconds_t)p->slow_us);
    mp_err err = MP_OK;
    if (take_one(&p->fail_loads)) {
        err = mp_fail(MP_E_FAILED, "page %u slice %d: made to fail", page, slice);
    } else {
        uint32_t generation = p->generation[page];
        for (uint32_t i = 0; i < desc->slice[slice].bytes; i++) dst[i] = byte_of(page, slice, generation, i);
        if (slice == 0) {
            unsigned at = atomic_fetch_add(&p->ordered, 1);
            if (at < sizeof p->order / sizeof *p->order) p->order[at] = page;
        }
        atomic_fetch_add(&p->loads[page], 1);
    }
    atomic_fetch_sub(&p->inside, 1);
    return err;
}

/* The first byte tells the generation (for generations below 256, as 59 is odd); the rest must agree. */
static uint32_t read_generation(mp_page page, const unsigned char *slice) {
    uint32_t g = 0;
    while (g < 255 && byte_of(page, 0, g, 0) != slice[0]) g++;
    return g;
}

static mp_err store(void *self, mp_page page, const mp_page_desc *desc, unsigned char *const src[MP_PAGE_SLICES]) {
    pages *p = self;
    (void)desc;
    if (p->slow_us) usleep((useconds_t)p->slow_us);
    if (take_one(&p->fail_stores)) return mp_fail(MP_E_FAILED, "page %u: the store was made to fail", page);
    uint32_t generation = read_generation(page, src[0]);
    if (!pages_right(p, page, generation, src)) atomic_fetch_add(&p->bad_stores, 1);
    p->generation[page] = generation;
    return MP_OK;
}

mp_source pages_source(pages *p, bool can_store) {
    return (mp_source){.self = p, .align = p->align, .load = load, .store = can_store ? store : NULL};
}

void pages_write(const pages *p, mp_page page, uint32_t generation, unsigned char *const slice[MP_PAGE_SLICES]) {
    for (int s = 0; s < MP_PAGE_SLICES; s++)
        for (uint32_t i = 0; i < p->desc[page].slice[s].bytes; i++) slice[s][i] = byte_of(page, s, generation, i);
}

bool pages_right(const pages *p, mp_page page, uint32_t generation, unsigned char *const slice[MP_PAGE_SLICES]) {
    for (int s = 0; s < MP_PAGE_SLICES; s++)
        for (uint32_t i = 0; i < p->desc[page].slice[s].bytes; i++)
            if (slice[s][i] != byte_of(page, s, generation, i)) return false;
    return true;
}

mp_pager_config pages_config(pages *p, mp_ledger *ledger, double part) {
    mp_pager_config c = {.ledger = ledger, .owner = MP_OWN_EXPERTS, .pages = p->n, .desc = p->desc, .source = pages_source(p, false)};
    mp_pager_cost cost;
    if (mp_pager_price(&c, 1, &cost)) return c;
    c.budget_bytes = (uint64_t)((double)cost.all_bytes * part);
    if (c.budget_bytes < cost.least_bytes) c.budget_bytes = cost.least_bytes;
    return c;
}
