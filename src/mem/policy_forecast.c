/* Learning who is used next: see policy_forecast.h. */
#include "mem/policy_forecast.h"

#include <math.h>
#include <string.h>

#include "mem/policy_rank.h"
#include "num/kern.h"

enum { COUNTS = MP_FORECAST_COUNTS, HALF = MP_FORECAST_HALF, CONTEXT = MP_FORECAST_CONTEXT, LANES = MP_FORECAST_LANES, WIDE = 4 };

/* Counts that fade in 1, 4, 16, 64, 256 and 2048 tokens: exp(-1 / tokens), and the uses that are taken for seen before any, 0.2 / (1 + tokens). */
static const float KEEP[LANES] = {0.36787944f, 0.77880078f, 0.93941306f, 0.98449644f, 0.99610137f, 0.99951184f, 1, 1};
static const float SEEN[LANES] = {0.1f, 0.04f, 0.011764706f, 0.0030769231f, 0.00077821012f, 0.000097608590f, 1, 1};
static const float KEEP_OWN = 0.64740711f; /* exp(-1 / 2.3 tokens) */
static const float STEP = 0.2f, STEP_SHRINK = 0.1f, STEP_BASE = 0.001f, LONG_PART = 0.4f;
static const float NO_ERROR = 0.003f; /* smaller errors move nothing: most pages are rightly not expected, and that saves their weights' traffic */

/* Elementwise arithmetic on WIDE floats; the compiler makes of it what the processor has, always with the same result. */
typedef float wide __attribute__((vector_size(WIDE * sizeof(float)), aligned(4), may_alias));
typedef int32_t iwide __attribute__((vector_size(WIDE * sizeof(int32_t)), aligned(4), may_alias));
#define AT(x, i) (*(wide *)((x) + (i)))
#define CAT(x, i) (*(const wide *)((x) + (i)))

/* A profile is where the slow counts begin: half a use a token for the hottest page of each group. */
static void start_from(mp_forecast *f, const float *heat) {
    for (uint32_t p = 0; p < f->pages; p++) {
        uint32_t first = p / f->group_pages * f->group_pages;
        float most = 0;
        for (uint32_t i = first; i < f->pages && i < first + f->group_pages; i++) most = heat[i] > most ? heat[i] : most;
        for (int k = COUNTS / 2; k < COUNTS; k++) f->page[p].count[k] = most > 0 ? 0.5f * heat[p] / most : 0;
    }
}

mp_err mp_forecast_open(mp_ledger *ledger, const mp_policy_config *config, mp_forecast *out) {
    mp_forecast *f = out;
    *f = (mp_forecast){.pages = config->pages, .group_pages = config->group_pages ? config->group_pages : config->pages};
    if (!f->group_pages) f->group_pages = 1; /* no pages at all */
    f->groups = (f->pages + f->group_pages - 1) / f->group_pages;
    f->keep_recent = mp_expf(-1 / (float)(f->groups ? f->groups : 1));
    for (int k = 0; k < COUNTS; k++) f->base[k] = 0.8f; /* about where they end on real traces */
    f->base[COUNTS] = 1;
    mp_err err = MP_NEW(ledger, MP_OWN_OVERHEAD, mp_forecast_page, f->pages, &f->page);
    if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, float, (size_t)f->pages * CONTEXT, &f->weight);
    if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, float, (size_t)f->groups * CONTEXT, &f->context);
    if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, float, (size_t)f->groups * HALF, &f->own);
    if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, float, f->group_pages, &f->share);
    if (err) mp_forecast_close(f);
    else if (config->heat) start_from(f, config->heat);
    return err;
}

void mp_forecast_close(mp_forecast *forecast) {
    MP_FREE(forecast->page);
    MP_FREE(forecast->weight);
    MP_FREE(forecast->context);
    MP_FREE(forecast->own);
    MP_FREE(forecast->share);
}

/* ---- small arithmetic ---- */

/* Natural logarithm of normal x > 0 to about 1e-4. */
static wide quick_log(wide x) {
    iwide bits = (iwide)x;
    wide m = (wide)((bits & 0x7fffff) | 0x3f800000), exponent = __builtin_convertvector((bits >> 23) - 127, wide);
    return 0.69314718f * (exponent + (-1.7417939f + (2.8212026f + (-1.4699568f + (0.44717955f - 0.056570851f * m) * m) * m) * m));
}

static float sum_of(const float x[LANES]) {
    return ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
}

static float logistic(float z) {
    return 1 / (1 + mp_expf(-z));
}

/* 64 fixed random bits of a page (splitmix64). */
static uint64_t signs_of(uint32_t page) {
    uint64_t x = (page + 1) * 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static float dot(const float *a, const float *b) {
    wide sum0 = {0}, sum1 = {0};
    float all[LANES];
    for (int i = 0; i < CONTEXT; i += 2 * WIDE) {
        sum0 += CAT(a, i) * CAT(b, i);
        sum1 += CAT(a, i + WIDE) * CAT(b, i + WIDE);
    }
    AT(all, 0) = sum0;
    AT(all, WIDE) = sum1;
    return sum_of(all);
}

static void add_scaled(float *w, float a, const float *x) {
    for (int i = 0; i < CONTEXT; i += WIDE) AT(w, i) += a * CAT(x, i);
}

static void unit_length(const float *x, float *out) {
    float sum = 1e-6f;
    for (int i = 0; i < HALF; i++) sum += x[i] * x[i];
    float scale = 1 / sqrtf(sum);
    for (int i = 0; i < HALF; i++) out[i] = x[i] * scale;
}

/* ---- one access ---- */

/* own and recent, one access further. A batch counts as its tokens' mean. */
static void move_context(mp_forecast *f, uint32_t group, const mp_access *set) {
    float *own = f->own + (size_t)group * HALF, sum[HALF] = {0}, all = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        uint64_t bits = signs_of(set->pages[i]);
        float share = f->share[set->pages[i] - group * f->group_pages];
        all += share;
        for (int k = 0; k < HALF; k++, bits >>= 1) sum[k] += share * (float)(int)(bits & 1);
    }
    for (int k = 0; k < HALF; k++) sum[k] = 2 * sum[k] - all; /* bits to signs */
    float keep = mp_rank_power(KEEP_OWN, set->tokens), add = (1 - keep) / (1 - KEEP_OWN);
    for (int k = 0; k < HALF; k++) own[k] = own[k] * keep + sum[k] * add;
    for (int k = 0; k < HALF; k++) f->recent[k] = f->recent[k] * f->keep_recent + sum[k];
}

/* What the forecast of this page was worth. grad: of the shared weights, added to. */
static void learn(const float *context, mp_forecast_page *p, float *weight, float share, float grad[LANES]) {
    float error = share - p->p;
    p->evidence += p->p * (1 - p->p);
    for (int k = 0; k < LANES; k += WIDE) AT(grad, k) += error * CAT(p->feature, k);
    if (fabsf(error) > NO_ERROR) add_scaled(weight, STEP * error / sqrtf(1 + STEP_SHRINK * p->evidence), context);
}

static double forecast(const mp_forecast *f, const float *context, mp_forecast_page *p, const float *weight) {
    float part[LANES];
    for (int k = 0; k < LANES; k += WIDE) AT(p->feature, k) = 0.25f * quick_log(CAT(p->count, k) + CAT(SEEN, k)); /* 0.25: features of about 1 */
    p->feature[COUNTS] = 1;
    p->feature[COUNTS + 1] = 0;
    for (int k = 0; k < LANES; k += WIDE) AT(part, k) = CAT(p->feature, k) * CAT(f->base, k);
    float z = sum_of(part);
    p->p = logistic(z + dot(weight, context));
    return (double)p->p + (double)(LONG_PART * logistic(z));
}

static void count(mp_forecast_page *p, const float keep[LANES], float share) {
    for (int k = 0; k < LANES; k += WIDE) AT(p->count, k) = CAT(p->count, k) * CAT(keep, k) + (1 - CAT(keep, k)) * share;
}

static void set_shares(mp_forecast *f, uint32_t first, const mp_access *set) {
    memset(f->share, 0, f->group_pages * sizeof *f->share);
    for (uint32_t i = 0; i < set->n; i++) f->share[set->pages[i] - first] = set->rows ? (float)set->rows[i] / (float)set->tokens : 1;
}

void mp_forecast_access(mp_forecast *f, const mp_access *set, double *score) {
    uint32_t group = set->pages[0] / f->group_pages, first = group * f->group_pages, end = first + f->group_pages;
    float *context = f->context + (size_t)group * CONTEXT, next[CONTEXT], keep[LANES], grad[LANES] = {0};
    if (end > f->pages) end = f->pages;
    set_shares(f, first, set);
    move_context(f, group, set);
    unit_length(f->own + (size_t)group * HALF, next);
    unit_length(f->recent, next + HALF);
    bool forecasted = f->page[first].p > 0; /* the group was accessed before */
    for (int k = 0; k < LANES; k++) keep[k] = mp_rank_power(KEEP[k], set->tokens);
    for (uint32_t p = first; p < end; p++) {
        float *weight = f->weight + (size_t)p * CONTEXT, share = f->share[p - first];
        if (forecasted) learn(context, &f->page[p], weight, share, grad);
        count(&f->page[p], keep, share);
        score[p] = forecast(f, next, &f->page[p], weight);
    }
    memcpy(context, next, sizeof next);
    for (int k = 0; k < LANES; k++) f->base[k] += STEP_BASE * grad[k];
}
