/* How likely each page is used when its group is accessed next: a logistic model that is learned while it runs.
 *
 *   z(page) = sum of base[k] * feature k of the page          six counts that fade in 1, 4, 16, 64, 256 and 2048 tokens, as logarithms;
 *                                                             these weights are shared by all pages
 *           + weight[page] . context                          what else was in use: a sum of fixed random signs (64 for each page), over the last
 *                                                             tokens of the page's own group, and over all groups' last accesses; each half has
 *                                                             length 1. Weights of its own for each page: experts that go with others
 *   p = 1 / (1 + exp(-z))
 *
 * At each access every page of the group takes one gradient step of the logarithmic loss for the forecast that the access before had made, with
 * a step that shrinks as evidence of the page adds up. Nothing but order and arithmetic: the same accesses give the same bits.
 * Measured (6,000 tokens of the gpt-oss trace from a cold start, slots for 25 %): of the gap between LRU and the clairvoyant bound it closes
 * 41 % with counts alone, 53 % with the context. Memory: about 770 bytes a page with the shadows of policy_adaptive.c. Threads: none of its own. Tests: tests/mem/test_policy.c. */
#ifndef MP_MEM_POLICY_FORECAST_H
#define MP_MEM_POLICY_FORECAST_H

#include "mem/policy.h"

enum { MP_FORECAST_COUNTS = 6, MP_FORECAST_LANES = 8, MP_FORECAST_HALF = 64, MP_FORECAST_CONTEXT = 2 * MP_FORECAST_HALF };

typedef struct mp_forecast_page {
    float count[MP_FORECAST_LANES];   /* uses a token, faded; [6] and [7] are not counts */
    float feature[MP_FORECAST_LANES]; /* what was forecast from: their logarithms, 1, 0 */
    float p;                          /* forecast for the next access of its group */
    float evidence;                   /* sum of p (1 - p) over its forecasts */
    float unused[6];                  /* to a multiple of 32 bytes */
} mp_forecast_page;

typedef struct mp_forecast {
    uint32_t          pages, group_pages, groups;
    mp_forecast_page *page;
    float            *weight;  /* [pages][MP_FORECAST_CONTEXT] */
    float            *context; /* [groups][MP_FORECAST_CONTEXT] that the standing forecasts were made from; of length 0 before the first */
    float            *own;     /* [groups][MP_FORECAST_HALF] signs of the group's last tokens, fading */
    float            *share;   /* [group_pages] of the access that is worked on: the part of its tokens that use each page */
    float             recent[MP_FORECAST_HALF]; /* the same of the last accesses of any group */
    float             base[MP_FORECAST_LANES]; /* weights of the features */
    float             keep_recent;
} mp_forecast;

mp_err mp_forecast_open(mp_ledger *ledger, const mp_policy_config *config, mp_forecast *out); /* errors: MP_E_BUDGET */
void   mp_forecast_close(mp_forecast *forecast);
/* Learns from the access and forecasts the next of its group: score[pages], those of the group are written. A score is the probability plus
 * 0.4 of what the counts alone say, which is what holds beyond the next token. */
void   mp_forecast_access(mp_forecast *forecast, const mp_access *set, double *score);
#endif
