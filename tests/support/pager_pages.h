/* Made-up pages for the pager's tests: sizes that are no multiple of anything, contents that tell page, slice and generation, a source
 * that can fail, be slow, hold its breath, and remembers what was stored. */
#ifndef MP_TESTS_PAGER_PAGES_H
#define MP_TESTS_PAGER_PAGES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "mem/pager.h"

typedef struct pages {
    uint32_t        n;
    uint32_t        align;      /* of the source; 512, with which equal pages fall into several classes by their phase. 1: one class */
    mp_page_desc   *desc;
    atomic_uint    *generation; /* [n] what a load gives; a store sets it */
    atomic_uint    *loads;      /* [n] slices loaded */
    atomic_int      fail_loads, fail_stores; /* the next so many fail */
    atomic_int      slow_us;    /* every load takes so long */
    pthread_mutex_t gate;       /* held by a test: loads wait */
    atomic_int      inside;     /* loads that are at work */
    atomic_int      bad_stores; /* stores of a page whose slices disagree */
    uint32_t        order[4096]; /* pages in the order of their first slice's load */
    atomic_uint     ordered;
} pages;

/* n pages of three slices of about `bytes` each, laid out one after the other from an odd offset; every `odd`th page is 1.7 times as large
 * (0: none). */
void      pages_open(pages *p, uint32_t n, uint32_t bytes, uint32_t odd);
void      pages_close(pages *p);
mp_source pages_source(pages *p, bool can_store);
void      pages_write(const pages *p, mp_page page, uint32_t generation, unsigned char *const slice[MP_PAGE_SLICES]);
bool      pages_right(const pages *p, mp_page page, uint32_t generation, unsigned char *const slice[MP_PAGE_SLICES]);

/* A pager over the pages with a budget of `part` of what all cost (at least the least). */
mp_pager_config pages_config(pages *p, mp_ledger *ledger, double part);

#endif
