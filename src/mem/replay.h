/* The simulator: what a cache would have done on a recorded trace. It drives an mp_policy as the pager does: access() with the whole set, then for
 * each page that is missing, in the set's order, a free slot, else victim() among the pages that are resident and not of the set; evicted(); loaded().
 *
 *   hit       a page that was resident before the set of its token and layer was admitted
 *   slots     shared by all layers, or (per_layer) so many for each layer by itself; sequences do not flush
 *   scratch   where no page can leave, because the set is larger than the cache: the page is used and not kept, and counts as a miss
 *   prompts   tokens that the trace marks as a prompt's are routed together, batch_tok at a time: a page is one access then, however many use it
 *
 * "oracle" is the clairvoyant bound under the same rules: the page whose next use (in the order of tokens and layers) is furthest leaves; of a set
 * that is larger than the cache, those are kept that are used soonest (other policies keep what they had of it, and then the first).
 * Tests: tests/mem/test_replay.c, tests/mem/test_policy_pager.c (the pager agrees exactly). Source of the bound: Belady 1966. */
#ifndef MP_MEM_REPLAY_H
#define MP_MEM_REPLAY_H

#include "mem/policy.h"
#include "mem/trace.h"

typedef struct mp_replay_options {
    const char *policy;     /* a name of mp_policy_name_at, or "oracle"; NULL: the default */
    double      slots;      /* pages a layer, on average; per_layer: whole numbers */
    bool        per_layer;
    bool        one_by_one; /* each id is a set of its own, in the order stored */
    uint32_t    batch_tok;  /* of prompts; 0: 512 */
    int       (*progress)(void *user, uint64_t done, uint64_t total); /* of accesses, now and then; nonzero stops. NULL: none */
    void       *user;
} mp_replay_options;

typedef struct mp_replay_result {
    uint64_t accesses, hits;
    uint32_t slots;       /* in all */
} mp_replay_result;

/* accesses, hits of each layer into layer[trace->layers]; NULL: not wanted. Errors: MP_E_USAGE (no such policy, slots that are none);
 * MP_E_BUDGET; MP_E_CANCELLED. */
mp_err mp_replay(mp_ledger *ledger, const mp_trace *trace, const mp_replay_options *options, mp_replay_result *layer, mp_replay_result *out);

/* ---- inside of replay*.c ---- */

typedef struct mp_replay_feed mp_replay_feed; /* the sets of a trace, or of one layer of it, in order */

mp_err mp_replay_feed_open(mp_ledger *ledger, const mp_trace *trace, const mp_replay_options *options, mp_replay_feed **out);
void   mp_replay_feed_close(mp_replay_feed **feed);
/* From the start again; layer >= 0: only that one, its pages numbered from 0. */
void   mp_replay_feed_rewind(mp_replay_feed *feed, int layer);
bool   mp_replay_feed_next(mp_replay_feed *feed, mp_access *set, uint32_t *layer); /* set is valid until the next call */

/* A policy that knows the feed's future; the feed is rewound. */
mp_err mp_replay_oracle(mp_ledger *ledger, const mp_policy_config *config, mp_replay_feed *feed, int layer, mp_policy *out);
void   mp_replay_oracle_order(void *self, uint32_t *pages, uint32_t n);
#endif
