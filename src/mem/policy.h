/* Whom to evict: a small struct of functions. The pager owns no opinion. Called with the pager's lock held: no blocking, no allocation but in
 * open. The same code runs in the pager and in the simulator (mem/replay.h), so a policy may depend on the order of the calls, never on time.
 *
 * Pages come in groups of equal size: the experts of one layer. For each group in turn, access() tells the whole set that a token (or a batch
 * of tokens) needs there; then victim() is asked once for every page of it that finds no free slot; loaded() comes when a page has landed, at any
 * later moment and in any order. */
#ifndef MP_MEM_POLICY_H
#define MP_MEM_POLICY_H

#include "base/ledger.h"

/* What one group (layer) needs for `tokens` tokens. */
typedef struct mp_access {
    const uint32_t *pages;  /* [n], distinct, of one group */
    uint32_t        n;
    uint32_t        tokens; /* that were routed together: 1 in decode, the batch in prefill; 0 counts as 1 */
    const uint16_t *rows;   /* [n] how many of the tokens use each page; NULL: one each */
} mp_access;

typedef struct mp_policy {
    void *self;
    const char *name;
    void (*access)(void *self, const mp_access *set);
    void (*loaded)(void *self, uint32_t page);
    void (*evicted)(void *self, uint32_t page); /* also of a page whose read failed: it was announced and never loaded */
    /* The best victim among those for which ok(arg, page) holds (resident, not pinned, not of an announced set); UINT32_MAX if none. */
    uint32_t (*victim)(void *self, bool (*ok)(void *arg, uint32_t page), void *arg);
    void (*close)(void *self);
} mp_policy;

typedef struct mp_policy_config {
    const char  *name;        /* NULL, "": the default */
    uint32_t     pages;       /* how many there are */
    uint32_t     group_pages; /* pages of one group; 0: all are one group. page / group_pages is its group */
    const float *heat;        /* [pages] how often each was used, from a profile; NULL: none. Copied */
} mp_policy_config;

/* By name: "lru". Errors: MP_E_USAGE with the names that exist; MP_E_BUDGET. */
mp_err mp_policy_open(mp_ledger *ledger, const mp_policy_config *config, mp_policy *out);
const char *mp_policy_name_at(int i); /* the default first; NULL past the end */

/* Least recently used. Its announced pages count as used in the order of the set. */
mp_err mp_policy_lru(mp_ledger *ledger, const mp_policy_config *config, mp_policy *out);
/* Least often used, with counts that fade in 512 tokens. */
mp_err mp_policy_lfu(mp_ledger *ledger, const mp_policy_config *config, mp_policy *out);
/* Keeps to config.heat: the coldest page goes, uses change nothing. Without heat: uses since it was opened. */
mp_err mp_policy_static(mp_ledger *ledger, const mp_policy_config *config, mp_policy *out);
/* Learns who is used next, and falls back to the simpler rules where they do better: policy_adaptive.c. Heat: where it begins. */
mp_err mp_policy_adaptive(mp_ledger *ledger, const mp_policy_config *config, mp_policy *out);
#endif
