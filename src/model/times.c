#include "model/times.h"

#include <stdatomic.h>
#include <string.h>

#include "base/os.h"

static const char *const row_names[MP_ROW_COUNT - MP_OP_COUNT] = {
    [MP_PRODUCT_QKV] = "q k v",
    [MP_PRODUCT_ATTN_OUT] = "attention out",
    [MP_PRODUCT_FFN_UP] = "gate up", /* dense layers' and shared experts' */
    [MP_PRODUCT_FFN_DOWN] = "down",
    [MP_PRODUCT_ROUTER] = "router",
    [MP_PRODUCT_SHARED_GATE] = "shared gate",
    [MP_PRODUCT_HEAD] = "head",
    [MP_ROW_GUESS - MP_OP_COUNT] = "guesses",
    [MP_ROW_MOE - MP_OP_COUNT] = "grouping",
    [MP_ROW_PAGER - MP_OP_COUNT] = "pager",
    [MP_ROW_STALL - MP_OP_COUNT] = "stall",
    [MP_ROW_SAMPLING - MP_OP_COUNT] = "sampling",
    [MP_ROW_TEXT - MP_OP_COUNT] = "text",
    [MP_ROW_CALLER - MP_OP_COUNT] = "caller",
    [MP_ROW_OTHER - MP_OP_COUNT] = "other",
};

struct mp_times {
    atomic_bool    held;
    int            layers, layer, row;
    mp_phase       phase;
    uint64_t       since_ns;
    mp_phase_total total[MP_PHASE_COUNT];
    mp_time       *cell; /* [phase][1 + layers][row], outside of the layers first */
};

static size_t cells(const mp_times *t)
{
    return (size_t)MP_PHASE_COUNT * (size_t)(t->layers + 1) * MP_ROW_COUNT;
}

static mp_time *cell(const mp_times *t, mp_phase phase, int layer, int row)
{
    return &t->cell[((size_t)phase * (size_t)(t->layers + 1) + (size_t)(layer + 1)) * MP_ROW_COUNT + (size_t)row];
}

mp_err mp_times_open(mp_ledger *ledger, int layers, mp_times **out)
{
    mp_times *t;
    *out = NULL;
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, mp_times, 1, &t);
    if (err)
        return err;
    t->layers = layers;
    err = MP_NEW(ledger, MP_OWN_WORK, mp_time, cells(t), &t->cell);
    if (err)
        mp_times_close(&t);
    *out = t;
    return err;
}

void mp_times_close(mp_times **times)
{
    if (!*times)
        return;
    mp_free((*times)->cell);
    MP_FREE(*times);
}

void mp_times_reset(mp_times *t)
{
    memset(t->cell, 0, cells(t) * sizeof(*t->cell));
    memset(t->total, 0, sizeof(t->total));
}

const char *mp_row_name(int row)
{
    return row < MP_OP_COUNT ? mp_op_name((mp_op_kind)row) : row < MP_ROW_COUNT ? row_names[row - MP_OP_COUNT] : "?";
}

const mp_time *mp_times_get(const mp_times *t, mp_phase phase, int layer, int row)
{
    return cell(t, phase, layer, row);
}

mp_phase_total mp_times_total(const mp_times *t, mp_phase phase)
{
    return t->total[phase];
}

static uint64_t lap(mp_times *t)
{
    uint64_t now = mp_now_ns();
    cell(t, t->phase, t->layer, t->row)->ns += now - t->since_ns;
    return t->since_ns = now;
}

mp_times *mp_times_begin(mp_times *t, mp_phase phase)
{
    if (!t || atomic_exchange(&t->held, true))
        return NULL;
    t->phase = phase;
    t->layer = -1;
    t->row = MP_ROW_OTHER;
    t->since_ns = mp_now_ns();
    return t;
}

void mp_times_end(mp_times **clock)
{
    if (!*clock)
        return;
    lap(*clock);
    atomic_store(&(*clock)->held, false);
    *clock = NULL;
}

int mp_times_switch(mp_times *t, int row, bool call)
{
    int before = t->row;
    lap(t);
    t->row = row;
    cell(t, t->phase, t->layer, row)->calls += call;
    return before;
}

void mp_times_set_layer(mp_times *t, int layer)
{
    if (!t)
        return;
    lap(t);
    t->layer = layer;
}

uint64_t mp_times_set_phase(mp_times *t, mp_phase phase)
{
    if (!t)
        return mp_now_ns();
    uint64_t now = lap(t);
    t->phase = phase;
    return now;
}

void mp_times_cost(mp_times *t, const mp_cost *cost)
{
    mp_cost_add(&cell(t, t->phase, t->layer, t->row)->cost, cost);
}

void mp_times_forward(mp_times *t, int64_t tokens)
{
    if (!t)
        return;
    t->total[t->phase].tokens += (uint64_t)tokens;
    t->total[t->phase].forwards++;
}
