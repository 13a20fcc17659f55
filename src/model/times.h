/* Where a token's time goes. A clock that is always in exactly one row: entering a row ends the lap of the one before, so that the rows of a phase add up to
 * all the time between begin and end, and what has no row of its own shows as "other". A row is counted for the layer that the forward is in.
 *
 *   generation  | begin ------------ prefill ------------ | ------------ decode ------------ end |
 *   rows        | other | embed | rmsnorm | q k v | ...   | sampling | text | embed | ...
 *
 * The counters are the model's (NULL: not asked for; then all of this costs a comparison with NULL). One session at a time holds the clock: what another
 * does meanwhile is not seen.
 * Test: tests/model/test_times.c. */
#ifndef MP_MODEL_TIMES_H
#define MP_MODEL_TIMES_H

#include "base/ledger.h"
#include "dev/cost.h"

typedef enum mp_phase { MP_PHASE_PREFILL, MP_PHASE_DECODE, MP_PHASE_COUNT } mp_phase;

/* Which product a LINEAR is; the blocks say so before they emit it. */
typedef enum mp_product { MP_PRODUCT_QKV, MP_PRODUCT_ATTN_OUT, MP_PRODUCT_FFN_UP, MP_PRODUCT_FFN_DOWN, MP_PRODUCT_ROUTER, MP_PRODUCT_SHARED_GATE, MP_PRODUCT_HEAD, MP_PRODUCT_COUNT } mp_product;

/* Rows: an operation's kind; behind these a LINEAR's part; behind these what is no operation. */
enum {
    MP_ROW_PRODUCTS = MP_OP_COUNT,
    MP_ROW_GUESS = MP_ROW_PRODUCTS + MP_PRODUCT_COUNT, /* all of guessing the next layer's experts, its operations too */
    MP_ROW_MOE,     /* grouping tokens by expert, recording and replacing the routing */
    MP_ROW_PAGER,   /* announcing, pinning, unpinning */
    MP_ROW_STALL,   /* waiting for reads */
    MP_ROW_SAMPLING,
    MP_ROW_TEXT,    /* tokens to bytes, stop strings */
    MP_ROW_CALLER,  /* the request's callbacks */
    MP_ROW_OTHER,
    MP_ROW_COUNT
};

typedef struct mp_times mp_times;

typedef struct mp_time {
    uint64_t calls, ns; /* how often it was entered */
    mp_cost  cost;
} mp_time;

typedef struct mp_phase_total { uint64_t tokens, forwards; } mp_phase_total;

mp_err mp_times_open(mp_ledger *ledger, int layers, mp_times **out);
void   mp_times_close(mp_times **times);
void   mp_times_reset(mp_times *times); /* while nobody holds the clock */
const char    *mp_row_name(int row);
/* layer -1: outside of the layers. While nobody holds the clock. */
const mp_time *mp_times_get(const mp_times *times, mp_phase phase, int layer, int row);
mp_phase_total mp_times_total(const mp_times *times, mp_phase phase);

/* Takes the clock and starts it in "other", outside of the layers; NULL when times is NULL or somebody else has it. */
mp_times *mp_times_begin(mp_times *times, mp_phase phase);
void      mp_times_end(mp_times **clock); /* stops it, gives it back, *clock = NULL; NULL is fine */

/* For who holds the clock, or NULL. enter returns the row before, which leave goes back to. */
int  mp_times_switch(mp_times *clock, int row, bool call);
void mp_times_set_layer(mp_times *clock, int layer);
uint64_t  mp_times_set_phase(mp_times *clock, mp_phase phase); /* the moment at which it changed, on the clock of mp_now_ns; of NULL: now */
void mp_times_cost(mp_times *clock, const mp_cost *cost); /* of the row that the clock is in */
void mp_times_forward(mp_times *clock, int64_t tokens);   /* one more forward pass is done */
static inline int  mp_times_enter(mp_times *clock, int row) { return clock ? mp_times_switch(clock, row, true) : 0; }
static inline void mp_times_leave(mp_times *clock, int before)
{
    if (clock)
        (void)mp_times_switch(clock, before, false);
}
#endif
