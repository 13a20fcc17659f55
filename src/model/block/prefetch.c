#include "model/block/prefetch.h"

#include <stdlib.h>
#include <string.h>

enum { SKIP = 1, WINDOW = 8, PAIRS = 4 };            /* the first token of a window pays for the one before */
enum { HOLD = 256, HOLD_MOST = 2048 };
enum { ROWS = 32 };                                  /* of a batch: what more rows would name, these name too */
static const double WORTH = 0.995;                   /* it must win by as much */
static const float TRUTH = 0.45f, PRIOR = 0.6f, STEP = 1.0f / 64; /* which ranks are hinted; what is believed of them at first; how fast that changes */
_Static_assert(MP_PREFETCH_SAMPLES == (WINDOW - SKIP) * PAIRS, "what a comparison collects");

void mp_prefetch_init(mp_prefetch *p, mp_prefetch_mode mode)
{
    *p = (mp_prefetch){ .mode = mode, .pays = mode != MP_PREFETCH_OFF, .probing = mode == MP_PREFETCH_AUTO, .hold = HOLD };
    for (int r = 0; r < MP_PREFETCH_RANKS; r++)
        p->truth[r] = PRIOR;
}

static bool window_has_it(const mp_prefetch *p)
{
    return p->at / WINDOW % 2 == 0;
}

bool mp_prefetch_on(const mp_prefetch *p, int64_t tokens)
{
    if (p->mode != MP_PREFETCH_AUTO)
        return p->mode == MP_PREFETCH_ON;
    return tokens > 1 || (p->probing ? window_has_it(p) : p->pays);
}

mp_prefetch_state mp_prefetch_now(const mp_prefetch *p)
{
    if (p->mode != MP_PREFETCH_AUTO)
        return p->mode == MP_PREFETCH_ON ? MP_PREFETCH_IS_ON : MP_PREFETCH_IS_OFF;
    return p->probing ? MP_PREFETCH_PROBING : p->pays ? MP_PREFETCH_IS_ON : MP_PREFETCH_IS_OFF;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The mean of the middle half: a hiccup of the disk is not the guesses' fault. */
static double middle(uint64_t ns[MP_PREFETCH_SAMPLES])
{
    double sum = 0;
    qsort(ns, MP_PREFETCH_SAMPLES, sizeof(*ns), by_size);
    for (int i = MP_PREFETCH_SAMPLES / 4; i < MP_PREFETCH_SAMPLES * 3 / 4; i++)
        sum += (double)ns[i];
    return sum;
}

static void decide(mp_prefetch *p)
{
    bool was = p->pays;
    p->pays = middle(p->ns[1]) < middle(p->ns[0]) * WORTH;
    p->hold = was != p->pays ? HOLD : p->hold < HOLD_MOST ? p->hold * 2 : HOLD_MOST;
    p->probing = false;
    p->at = 0;
    p->n[0] = p->n[1] = 0;
}

void mp_prefetch_took(mp_prefetch *p, int64_t tokens, uint64_t ns)
{
    if (p->mode != MP_PREFETCH_AUTO || tokens != 1)
        return;
    int with = window_has_it(p);
    if (p->probing && p->at % WINDOW >= SKIP && p->n[with] < MP_PREFETCH_SAMPLES)
        p->ns[with][p->n[with]++] = ns;
    p->at++;
    if (p->probing && p->at == 2 * WINDOW * PAIRS) {
        decide(p);
    } else if (!p->probing && p->at >= p->hold) {
        p->probing = true;
        p->at = 0;
    }
}

typedef struct candidate {
    mp_page page;
    float   score;
} candidate;

static int by_score(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? 1 : -1) : (x->page > y->page) - (x->page < y->page);
}

/* [rows,D] of f->residual: all of them, or ROWS spread over the batch. */
static mp_tensor sample(mp_fwd *f)
{
    int64_t n = f->residual.shape[0], rows = n < ROWS ? n : ROWS;
    if (rows == n)
        return f->residual;
    if (f->dev->memory) { /* the last ones, as they lie */
        mp_tensor last = f->residual;
        last.data = last.data ? (char *)last.data + (n - rows) * last.stride[0] : NULL;
        last.shape[0] = rows;
        return last;
    }
    mp_tensor x = mp_new_2d(f, MP_F32, rows, f->residual.shape[1]);
    for (int64_t r = 0; !f->err && !f->dev->dry && r < rows; r++)
        memcpy((char *)x.data + r * x.stride[0], (const char *)f->residual.data + (r * n / rows) * f->residual.stride[0], (size_t)x.stride[0]);
    return x;
}

/* Remembers a token's guesses, and keeps of pages[0..n) those that are absent and of a rank that is mostly right. Returns how many. */
static uint32_t believe(mp_fwd *f, mp_page *pages, uint32_t n)
{
    mp_prefetch *p = f->prefetch;
    uint32_t kept = 0;
    p->guesses = n < MP_PREFETCH_RANKS ? (int)n : MP_PREFETCH_RANKS;
    memcpy(p->guess, pages, (size_t)p->guesses * sizeof(*pages));
    p->absent = mp_pager_absent(f->pager, pages, (uint32_t)p->guesses);
    for (int r = 0; r < p->guesses; r++)
        if ((p->absent >> r & 1) && p->truth[r] >= TRUTH)
            pages[kept++] = p->guess[r];
    return kept;
}

void mp_prefetch_learn(mp_prefetch *p, const mp_page *pages, int n)
{
    for (int r = 0; r < p->guesses && p->absent; r++) {
        bool right = false;
        for (int i = 0; i < n; i++)
            right |= pages[i] == p->guess[r];
        if (p->absent >> r & 1)
            p->truth[r] += ((float)right - p->truth[r]) * STEP;
    }
    p->absent = 0;
}

static void hint(mp_fwd *f, const mp_moe *next, const mp_tensor *ids, const mp_tensor *weights)
{
    int experts = f->config->experts;
    int64_t n = ids->shape[0] * ids->shape[1];
    const int32_t *id = mp_host_of(f, ids);
    const float *weight = mp_host_of(f, weights);
    void *memory = mp_host_new(f, (size_t)experts * (sizeof(candidate) + sizeof(mp_page)));
    if (f->err || f->dev->dry)
        return;
    candidate *c = memory;
    mp_page *pages = (mp_page *)(c + experts);
    for (int e = 0; e < experts; e++)
        c[e] = (candidate){ next->first + (mp_page)e, 0 };
    for (int64_t i = 0; i < n; i++)
        c[id[i]].score += weight[i];
    qsort(c, (size_t)experts, sizeof(*c), by_score);
    uint32_t likely = 0;
    while (likely < (uint32_t)experts && c[likely].score > 0) {
        pages[likely] = c[likely].page;
        likely++;
    }
    if (f->batch->n_tok == 1)
        likely = believe(f, pages, likely);
    mp_pager_hint(f->pager, pages, likely);
}

void mp_prefetch_guess(mp_fwd *f, const mp_moe *w)
{
    if (!w->ahead || !f->prefetch || f->routing || f->err || f->tape || /* no router says what a trace chooses */
        (!f->dev->dry && !mp_prefetch_on(f->prefetch, f->batch->n_tok)))
        return;
    mp_fwd_marks mark = mp_fwd_mark(f);
    mp_times *times = f->times;
    int before = mp_times_enter(times, MP_ROW_GUESS);
    f->times = NULL; /* its operations are part of the guess, and none of the forward pass */
    mp_tensor x = mp_rmsnorm(f, sample(f), *w->ahead_norm);
    mp_op route = mp_moe_route(f, w->ahead, x, false);
    if (!f->err)
        hint(f, w->ahead, &route.out[0], &route.out[1]);
    f->times = times;
    mp_times_leave(times, before);
    mp_fwd_rewind(f, mark);
}
