/* Whom to evict: a small struct of functions. The pager owns no opinion. Called with the pager's lock held: no blocking, no allocation but in
 * open. */
#ifndef MP_MEM_POLICY_H
#define MP_MEM_POLICY_H

#include "base/ledger.h"

typedef struct mp_policy {
    void *self;
    const char *name;
    /* A set of n pages is about to be used together (a layer of a token or of a batch). */
    void (*access)(void *self, const uint32_t *pages, uint32_t n);
    void (*loaded)(void *self, uint32_t page);
    void (*evicted)(void *self, uint32_t page); /* also of a page whose read failed: it was announced and never loaded */
    /* The best victim among those for which ok(arg, page) holds; UINT32_MAX if none. */
    uint32_t (*victim)(void *self, bool (*ok)(void *arg, uint32_t page), void *arg);
    void (*close)(void *self);
} mp_policy;

/* Least recently used. pages: how many there are. */
mp_err mp_policy_lru(mp_ledger *ledger, uint32_t pages, mp_policy *out);
/* By name: "lru" for now. Errors: MP_E_USAGE with the names that exist. */
mp_err mp_policy_open(mp_ledger *ledger, const char *name, uint32_t pages, mp_policy *out);
#endif
