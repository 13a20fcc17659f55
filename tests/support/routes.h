/* Made-up routing for the tests of policies and of the simulator. */
#ifndef MP_TESTS_ROUTES_H
#define MP_TESTS_ROUTES_H

#include "mem/trace.h"

typedef enum routes_kind {
    ROUTES_UNIFORM, /* any experts */
    ROUTES_SKEWED,  /* a few are hot, for ever */
    ROUTES_STICKY,  /* half of a token's experts stay for the next; the hot ones change every 150 tokens */
    ROUTES_LOOP,    /* round and round */
    ROUTES_SCAN,    /* skewed, and now and then all in turn for 60 tokens */
    ROUTES_AVOID,   /* who was used rests for eight tokens */
    ROUTES_KINDS
} routes_kind;

/* Deterministic. NULL: the shape cannot be. Close it with mp_trace_close. */
mp_trace *routes_make(mp_ledger *ledger, mp_trace_shape shape, uint32_t tokens, routes_kind kind, unsigned seed);
uint32_t  routes_random(unsigned *state, uint32_t below);
#endif
