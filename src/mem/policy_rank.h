/* Pages in order of a score, group by group: what the policies that count share, and the shadows of `adaptive`.
 *
 *   key[page]    its score while it may be chosen; infinite while it is not held, or is set aside
 *   low[group]   the page with the lowest key of the group: the lowest of all is the lowest of these
 *
 * Scores change only when their group is accessed, so that a victim costs one look at each group and one pass over the group that it leaves.
 * Memory is part of its owner's: mp_rank_bytes says how much. Threads: none of its own. Tests: tests/mem/test_policy.c. */
#ifndef MP_MEM_POLICY_RANK_H
#define MP_MEM_POLICY_RANK_H

#include "mem/policy.h"

#define MP_NO_PAGE UINT32_MAX

typedef struct mp_rank {
    uint32_t pages, group_pages, groups;
    uint32_t n;    /* pages held */
    double  *key;  /* [pages] */
    uint32_t *low; /* [groups]; MP_NO_PAGE: none */
    uint8_t *held; /* [pages] */
    uint8_t *part; /* [groups] some of it is set aside */
} mp_rank;

/* Charged OVERHEAD. Errors: MP_E_BUDGET. */
mp_err mp_rank_open(mp_ledger *ledger, const mp_policy_config *config, mp_rank *out);
void   mp_rank_close(mp_rank *rank);

void mp_rank_hold(mp_rank *rank, uint32_t page, double score);
void mp_rank_drop(mp_rank *rank, uint32_t page);
void mp_rank_aside(mp_rank *rank, uint32_t page);                    /* not to be chosen until it is brought back */
void mp_rank_score(mp_rank *rank, uint32_t group, const double *score); /* score[pages]: those of the group are taken over, and none of it is aside */
void mp_rank_bring_back(mp_rank *rank, const double *score);           /* all that was set aside */
/* The page with the lowest key times weight[group]; weight NULL: 1. MP_NO_PAGE: none. Of equals the first. */
uint32_t mp_rank_lowest(const mp_rank *rank, const double *weight);
/* The same among those for which ok holds; what is refused is set aside. When all are, score[pages] is searched, whatever was set aside. */
uint32_t mp_rank_victim(mp_rank *rank, const double *weight, const double *score, bool (*ok)(void *arg, uint32_t page), void *arg);

/* x to the n, by squaring: the same bits everywhere. */
static inline float mp_rank_power(float x, uint32_t n) {
    float y = 1;
    for (; n; n >>= 1, x *= x)
        if (n & 1) y *= x;
    return y;
}

static inline uint32_t mp_rank_group(const mp_rank *rank, uint32_t page) {
    return page / rank->group_pages;
}
#endif
