#include "support/routes.h"

#include <stdlib.h>
#include <string.h>

uint32_t routes_random(unsigned *state, uint32_t below) {
    *state = *state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(*state >> 8) * below) >> 24);
}

static bool has(const uint16_t *ids, uint32_t n, uint32_t id) {
    for (uint32_t i = 0; i < n; i++)
        if (ids[i] == id) return true;
    return false;
}

/* One of the experts; skewed: the least of three draws, turned by `turn`. */
static uint32_t draw(unsigned *state, uint32_t experts, bool skewed, uint32_t turn) {
    uint32_t e = routes_random(state, experts);
    for (int i = 0; skewed && i < 2; i++) {
        uint32_t other = routes_random(state, experts);
        if (other < e) e = other;
    }
    return (e + turn) % experts;
}

static void choose(const mp_trace *t, uint64_t token, uint32_t layer, routes_kind kind, unsigned *state) {
    uint16_t *ids = t->ids + (token * t->layers + layer) * t->top_k;
    uint32_t turn = layer * 7 + (kind == ROUTES_STICKY ? (uint32_t)(token / 150) * 13 : 0);
    bool scan = kind == ROUTES_LOOP || (kind == ROUTES_SCAN && token % 300 >= 240);
    for (uint32_t k = 0; k < t->top_k; k++) {
        uint32_t e = 0;
        for (int tries = 0; tries < 1000; tries++) {
            e = scan ? (uint32_t)(token * t->top_k + k) % t->experts : draw(state, t->experts, kind != ROUTES_UNIFORM && kind != ROUTES_AVOID, turn);
            if (kind == ROUTES_STICKY && token > 0 && tries == 0 && routes_random(state, 2)) e = mp_trace_ids(t, token - 1, layer)[k];
            bool rests = false;
            for (uint64_t back = 1; kind == ROUTES_AVOID && tries < 900 && back <= 8 && back <= token; back++)
                rests |= has(mp_trace_ids(t, token - back, layer), t->top_k, e);
            if (!has(ids, k, e) && !rests) break;
        }
        while (has(ids, k, e)) e = (e + 1) % t->experts;
        ids[k] = (uint16_t)e;
    }
}

mp_trace *routes_make(mp_ledger *ledger, mp_trace_shape shape, uint32_t tokens, routes_kind kind, unsigned seed) {
    mp_trace *t = NULL;
    if (mp_trace_make(ledger, MP_OWN_WORK, shape, tokens, &t)) return NULL;
    for (uint64_t i = 0; i < tokens; i++)
        for (uint32_t l = 0; l < shape.layers; l++) choose(t, i, l, kind, &seed);
    return t;
}
