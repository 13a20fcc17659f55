/* The experts' section of moped.h: policies, traces, the simulator. */
#include "mem/replay.h"
#include "moped.h"

struct moped_trace {
    mp_ledger *ledger;
    mp_trace  *t;
};

const char *moped_policy_at(int i)
{
    return mp_policy_name_at(i);
}

moped_status moped_trace_open(const char *path, moped_trace **out)
{
    *out = NULL;
    if (!path || !*path)
        return mp_fail(MP_E_USAGE, "no trace was named");
    mp_ledger *ledger;
    moped_trace *t = NULL;
    mp_err err = mp_ledger_open(false, &ledger);
    if (err)
        return err;
    err = MP_NEW(ledger, MP_OWN_WORK, moped_trace, 1, &t);
    if (err) {
        mp_ledger_close(&ledger);
        return err;
    }
    t->ledger = ledger;
    err = mp_trace_open(ledger, MP_OWN_WORK, path, &t->t);
    if (err)
        moped_trace_close(&t);
    *out = t;
    return err;
}

void moped_trace_close(moped_trace **trace)
{
    moped_trace *t = trace ? *trace : NULL;
    if (!t)
        return;
    mp_ledger *ledger = t->ledger;
    mp_trace_close(&t->t);
    mp_free(t);
    mp_ledger_close(&ledger);
    *trace = NULL;
}

void moped_trace_get_info(const moped_trace *trace, moped_trace_info *out)
{
    const mp_trace *t = trace->t;
    *out = (moped_trace_info){ .layers = (int)t->layers, .experts = (int)t->experts, .experts_used = (int)t->top_k, .sequences = (int)t->sequences, .tokens = t->tokens };
    for (uint64_t i = 0; t->prefill && i < t->tokens; i++)
        out->prompt_tokens += t->prefill[i];
}

moped_status moped_replay(const moped_trace *trace, const moped_replay_options *options, moped_replay_result *layer, moped_replay_result *out)
{
    const mp_replay_options o = { .policy = options->policy, .slots = options->slots, .per_layer = options->per_layer, .one_by_one = options->one_by_one,
                                  .batch_tok = options->batch_tok > 0 ? (uint32_t)options->batch_tok : 0, .progress = options->progress, .user = options->user };
    mp_replay_result r, *each = NULL;
    *out = (moped_replay_result){ 0 };
    mp_err err = layer ? MP_NEW(trace->ledger, MP_OWN_WORK, mp_replay_result, trace->t->layers, &each) : MP_OK;
    if (!err)
        err = mp_replay(trace->ledger, trace->t, &o, each, &r);
    for (uint32_t l = 0; !err && layer && l < trace->t->layers; l++)
        layer[l] = (moped_replay_result){ .accesses = each[l].accesses, .hits = each[l].hits, .slots = each[l].slots };
    if (!err)
        *out = (moped_replay_result){ .accesses = r.accesses, .hits = r.hits, .slots = r.slots };
    mp_free(each);
    return err;
}
