/* Pages in order of a score: see policy_rank.h. */
#include "mem/policy_rank.h"

#include <math.h>

mp_err mp_rank_open(mp_ledger *ledger, const mp_policy_config *config, mp_rank *out) {
    mp_rank *r = out;
    *r = (mp_rank){.pages = config->pages, .group_pages = config->group_pages ? config->group_pages : config->pages};
    if (!r->group_pages) r->group_pages = 1; /* no pages at all */
    r->groups = (r->pages + r->group_pages - 1) / r->group_pages;
    mp_err err = MP_NEW(ledger, MP_OWN_OVERHEAD, double, r->pages, &r->key);
    if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, uint32_t, r->groups, &r->low);
    if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, uint8_t, r->pages, &r->held);
    if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, uint8_t, r->groups, &r->part);
    if (err) {
        mp_rank_close(r);
        return err;
    }
    for (uint32_t p = 0; p < r->pages; p++) r->key[p] = INFINITY;
    for (uint32_t g = 0; g < r->groups; g++) r->low[g] = MP_NO_PAGE;
    return MP_OK;
}

void mp_rank_close(mp_rank *rank) {
    MP_FREE(rank->key);
    MP_FREE(rank->low);
    MP_FREE(rank->held);
    MP_FREE(rank->part);
}

static void find_low(mp_rank *r, uint32_t group) {
    uint32_t first = group * r->group_pages, end = first + r->group_pages, best = MP_NO_PAGE;
    double least = INFINITY;
    if (end > r->pages) end = r->pages;
    for (uint32_t p = first; p < end; p++)
        if (r->key[p] < least) least = r->key[p], best = p;
    r->low[group] = best;
}

void mp_rank_hold(mp_rank *rank, uint32_t page, double score) {
    uint32_t g = mp_rank_group(rank, page), low = rank->low[g];
    if (!rank->held[page]) rank->n++;
    rank->held[page] = 1;
    rank->key[page] = score;
    if (low == page) find_low(rank, g);
    else if (low == MP_NO_PAGE || score < rank->key[low] || (score == rank->key[low] && page < low)) rank->low[g] = page;
}

static void take_out(mp_rank *r, uint32_t page) {
    uint32_t g = mp_rank_group(r, page);
    r->key[page] = INFINITY;
    if (r->low[g] == page) find_low(r, g);
}

void mp_rank_aside(mp_rank *rank, uint32_t page) {
    rank->part[mp_rank_group(rank, page)] = 1;
    take_out(rank, page);
}

void mp_rank_drop(mp_rank *rank, uint32_t page) {
    if (!rank->held[page]) return;
    rank->held[page] = 0;
    rank->n--;
    take_out(rank, page);
}

void mp_rank_score(mp_rank *rank, uint32_t group, const double *score) {
    uint32_t first = group * rank->group_pages, end = first + rank->group_pages;
    if (end > rank->pages) end = rank->pages;
    for (uint32_t p = first; p < end; p++) rank->key[p] = rank->held[p] ? score[p] : INFINITY;
    rank->part[group] = 0;
    find_low(rank, group);
}

void mp_rank_bring_back(mp_rank *rank, const double *score) {
    for (uint32_t g = 0; g < rank->groups; g++)
        if (rank->part[g]) mp_rank_score(rank, g, score);
}

uint32_t mp_rank_lowest(const mp_rank *rank, const double *weight) {
    uint32_t best = MP_NO_PAGE;
    double least = INFINITY;
    for (uint32_t g = 0; g < rank->groups; g++) {
        uint32_t p = rank->low[g];
        if (p == MP_NO_PAGE) continue;
        double k = weight ? rank->key[p] * weight[g] : rank->key[p];
        if (k < least) least = k, best = p;
    }
    return best;
}

uint32_t mp_rank_victim(mp_rank *rank, const double *weight, const double *score, bool (*ok)(void *arg, uint32_t page), void *arg) {
    for (uint32_t p; (p = mp_rank_lowest(rank, weight)) != MP_NO_PAGE; mp_rank_aside(rank, p))
        if (ok(arg, p)) return p;
    uint32_t best = MP_NO_PAGE;
    double least = INFINITY;
    for (uint32_t p = 0; p < rank->pages; p++) {
        double k = weight ? score[p] * weight[mp_rank_group(rank, p)] : score[p];
        if (rank->held[p] && k < least && ok(arg, p)) least = k, best = p;
    }
    return best;
}
