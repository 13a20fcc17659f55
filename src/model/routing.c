/* The overrider: a recorded trace in place of the router's choices. The mapping is in routing.h. */
#include "model/routing.h"

#include <string.h>

#include "num/kern.h"

enum {
    TIMELINES = 64, /* remembered; one more takes the place of the one that was begun first */
    MOST_CHOSEN = 512,
};
static const uint64_t SEED = 0x6d6f706564;

typedef struct timeline {
    const void *kv;         /* the session's cache, which names it; NULL: unused */
    uint64_t    base, high; /* added to its positions; positions computed since it began */
} timeline;

struct mp_routing {
    mp_trace      *trace;
    mp_trace_shape shape;                /* the model's */
    uint32_t       banks, copies;
    uint16_t      *perm;                 /* [layers][experts] */
    uint64_t      *start;                /* [streams] first token */
    timeline       timeline[TIMELINES];
    uint64_t       sessions;             /* ever seen */
};

/* splitmix64, Steele et al. 2014: the x-th output of a seed. */
static uint64_t mix(uint64_t seed, uint64_t x)
{
    uint64_t z = seed + (x + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- opening ---- */

static void shuffle(uint16_t *perm, uint32_t n, uint64_t seed)
{
    for (uint32_t i = 0; i < n; i++) { /* from the inside out, Durstenfeld */
        uint32_t j = (uint32_t)(mix(seed, i) % (i + 1));
        perm[i] = perm[j];
        perm[j] = (uint16_t)i;
    }
}

/* First tokens of the streams, evenly over the sequences that have tokens, or over the tokens. */
static void place_streams(mp_routing *r, uint64_t streams)
{
    const mp_trace *t = r->trace;
    uint64_t full = 0, seen = 0, u = 0;
    for (uint32_t i = 0; i < t->sequences; i++)
        full += t->seq[i].tokens > 0;
    for (uint64_t s = 0; full < streams && s < streams; s++)
        r->start[s] = t->tokens * s / streams;
    for (uint32_t i = 0; full >= streams && i < t->sequences; i++) {
        if (!t->seq[i].tokens)
            continue;
        if (u < streams && seen == full * u / streams)
            r->start[u++] = t->seq[i].first;
        seen++;
    }
}

static uint32_t up(uint32_t a, uint32_t b)
{
    return (a + b - 1) / b;
}

mp_err mp_routing_open(mp_ledger *ledger, const char *path, mp_trace_shape shape, mp_routing **out)
{
    mp_routing *r = NULL;
    *out = NULL;
    if (shape.experts > MP_TRACE_EXPERTS || shape.top_k > MOST_CHOSEN)
        return mp_fail(MP_E_USAGE, "routing cannot be replaced in a model of %u experts with %u chosen", shape.experts, shape.top_k);
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, mp_routing, 1, &r);
    if (!err)
        err = mp_trace_open(ledger, MP_OWN_WORK, path, &r->trace);
    if (!err && !r->trace->tokens)
        err = mp_fail(MP_E_USAGE, "%.512s holds no tokens, so there is no routing to take from it", path);
    if (!err) {
        r->shape = shape;
        r->banks = up(shape.experts, r->trace->experts);
        r->copies = up(up(shape.top_k, r->banks), r->trace->top_k);
        err = MP_NEW(ledger, MP_OWN_WORK, uint16_t, (size_t)shape.layers * shape.experts, &r->perm);
    }
    uint64_t streams = err ? 0 : (uint64_t)up(shape.layers, r->trace->layers) * r->banks * r->copies;
    if (!err)
        err = MP_NEW(ledger, MP_OWN_WORK, uint64_t, (size_t)streams, &r->start);
    if (err) {
        mp_routing_close(&r);
        return err;
    }
    for (uint32_t l = 0; l < shape.layers; l++)
        shuffle(r->perm + (size_t)l * shape.experts, shape.experts, SEED + l);
    place_streams(r, streams);
    *out = r;
    return MP_OK;
}

void mp_routing_close(mp_routing **routing)
{
    mp_routing *r = routing ? *routing : NULL;
    if (!r)
        return;
    mp_trace_close(&r->trace);
    mp_free(r->perm);
    mp_free(r->start);
    MP_FREE(*routing);
}

/* ---- timelines ---- */

static timeline *find(mp_routing *r, const void *kv)
{
    for (int i = 0; i < TIMELINES; i++)
        if (r->timeline[i].kv == kv)
            return &r->timeline[i];
    return NULL;
}

/* i phi N, modulo N, in integers: 0x9e37... is 2^64 / phi, so that i times it is the fraction of i phi in 64 bits, of which 24 are enough. */
static uint64_t origin(uint64_t i, uint64_t tokens)
{
    return ((i * 0x9e3779b97f4a7c15u) >> 40) * tokens >> 24;
}

void mp_routing_begin(mp_routing *r, const mp_batch *batch)
{
    for (int i = 0; i < batch->n_seg; i++) {
        timeline *t = find(r, batch->seg[i].kv);
        if (!t) {
            t = &r->timeline[r->sessions % TIMELINES];
            *t = (timeline){ .kv = batch->seg[i].kv, .base = origin(r->sessions++, r->trace->tokens) };
        } else if (batch->seg[i].pos == 0) {
            t->base += t->high;
            t->high = 0;
        }
    }
}

void mp_routing_commit(mp_routing *r, const mp_batch *batch)
{
    for (int i = 0; i < batch->n_seg; i++) {
        timeline *t = find(r, batch->seg[i].kv);
        uint64_t high = (uint64_t)(batch->seg[i].pos + batch->seg[i].n);
        if (t && high > t->high)
            t->high = high;
    }
}

/* ---- choosing ---- */

/* One token's choices in one layer, as far as they are made. */
typedef struct pick {
    uint32_t layer, n;
    uint64_t at;     /* base + position */
    int32_t *ids;    /* [n] before the permutation */
    float   *weight; /* [n] of the trace, 0 where it had none for this choice */
} pick;

static bool taken(const pick *p, int32_t id)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->ids[i] == id)
            return true;
    return false;
}

static void put(pick *p, uint32_t id, float weight)
{
    p->ids[p->n] = (int32_t)id;
    p->weight[p->n++] = weight;
}

/* An expert that the trace did not name: of the bank from a seeded place on, then of the layer. There is one: top_k <= experts. */
static void fill(const mp_routing *r, pick *p, uint32_t lo, uint32_t width)
{
    uint64_t from = mix(mix(SEED, p->layer), p->at * r->shape.top_k + p->n);
    for (uint32_t i = 0; i < width; i++) {
        uint32_t id = lo + (uint32_t)((from + i) % width);
        if (!taken(p, (int32_t)id)) {
            put(p, id, 0);
            return;
        }
    }
    if (width < r->shape.experts)
        fill(r, p, 0, r->shape.experts);
}

/* The i-th choice that bank b gives to this token; turn: its trace's token. */
static void choose(const mp_routing *r, pick *p, uint32_t b, uint32_t i, uint64_t turn)
{
    const mp_trace *t = r->trace;
    uint64_t experts = r->shape.experts;
    uint32_t lo = (uint32_t)(b * experts / r->banks), width = (uint32_t)((b + 1) * experts / r->banks) - lo;
    uint64_t stream = ((uint64_t)(p->layer / t->layers) * r->banks + b) * r->copies + i / t->top_k;
    uint64_t token = (r->start[stream] + turn) % t->tokens;
    const uint16_t *ids = mp_trace_ids(t, token, p->layer % t->layers), *weights = mp_trace_weights(t, token, p->layer % t->layers);
    for (uint32_t rank = i % t->top_k; rank < t->top_k; rank++) {
        uint32_t id = lo + ids[rank] % width;
        if (taken(p, (int32_t)id))
            continue;
        put(p, id, weights ? mp_f16_to_f32(weights[rank]) : 0);
        return;
    }
    fill(r, p, lo, width);
}

static void choose_all(const mp_routing *r, pick *p)
{
    uint32_t k = r->shape.top_k, banks = r->banks;
    if (banks > k) {
        for (uint32_t i = 0; i < k; i++) {
            uint64_t j = p->at * k + i;
            choose(r, p, (uint32_t)(j % banks), 0, j / banks);
        }
        return;
    }
    for (uint32_t b = 0; b < banks; b++)
        for (uint32_t i = 0; i < k / banks + (b < k % banks); i++)
            choose(r, p, b, i, p->at);
}

/* The trace's weights with the sum of the router's; the router's own when the trace has none. */
static void weigh(const float *from, float *weights, uint32_t k)
{
    float sum = 0, own = 0;
    for (uint32_t i = 0; i < k; i++) {
        sum += from[i];
        own += weights[i];
    }
    for (uint32_t i = 0; sum > 0 && i < k; i++)
        weights[i] = from[i] / sum * own;
}

void mp_routing_apply(const mp_routing *r, int layer, const mp_batch *batch, int32_t *ids, float *weights)
{
    uint32_t k = r->shape.top_k;
    float from[MOST_CHOSEN];
    for (int i = 0; i < batch->n_seg; i++) {
        const mp_segment *s = &batch->seg[i];
        const timeline *t = find((mp_routing *)(uintptr_t)r, s->kv);
        for (int32_t n = 0; t && n < s->n; n++) {
            size_t row = (size_t)(s->row + n) * k;
            pick p = { .layer = (uint32_t)layer, .at = t->base + (uint64_t)(s->pos + n), .ids = ids + row, .weight = from };
            choose_all(r, &p);
            weigh(from, weights + row, k);
            for (uint32_t c = 0; c < k; c++)
                p.ids[c] = r->perm[(size_t)layer * r->shape.experts + (uint32_t)p.ids[c]];
        }
    }
}

void mp_routed(const mp_fwd *f, int layer, int32_t *ids, float *weights)
{
    if (f->err || f->dev->dry)
        return;
    if (f->routing)
        mp_routing_apply(f->routing, layer, f->batch, ids, weights);
    if (f->recorder)
        mp_recorder_layer(f->recorder, layer, f->batch, ids, weights);
}
