#include "model/generate.h"

#include <math.h>
#include <string.h>

typedef struct generation {
    mp_session       *s;
    const mp_request *req;
    mp_sampler       *sampler;
    mp_stop          *stop;
    mp_detok          detok;
    size_t            shown; /* bytes of s->text handed out */
    int32_t           n_valid;
    mp_result         r;
} generation;

/* Does the answer go on from text? Then a leading blank is part of it. */
static bool goes_on(const mp_tok *tok, const mp_request *req)
{
    for (int64_t i = 0; tok && i < req->n_tokens; i++)
        if (mp_tok_type_of(tok, req->tokens[i]) != MP_TOK_CONTROL)
            return true;
    return false;
}

static mp_err open_generation(generation *g)
{
    mp_session *s = g->s;
    mp_ledger *l = s->model->ledger;
    mp_err err = mp_sampler_open(l, s->model->config.vocab, &g->req->sampling, &g->sampler);
    if (!err)
        err = mp_stop_open(l, g->req->stop, g->req->n_stop, &g->stop);
    if (!err && !s->text)
        err = MP_NEW(l, MP_OWN_WORK, char, s->text_cap = 4096, &s->text);
    g->detok = mp_detok_init((g->req->show_special ? MP_TOK_SPECIAL : 0) | (goes_on(s->model->tok, g->req) ? MP_TOK_CONTINUE : 0));
    g->n_valid = s->model->tok ? mp_tok_count(s->model->tok) : s->model->config.vocab; /* rows beyond the vocabulary are padding */
    s->n_out = s->n_text = 0;
    if (!err)
        s->text[0] = '\0';
    return err;
}

/* Room for n more bytes of text. */
static mp_err grow_text(mp_session *s, size_t n)
{
    if (s->n_text + n + 1 <= s->text_cap)
        return MP_OK;
    char *bigger;
    size_t cap = (s->n_text + n + 1) * 2;
    mp_err err = MP_NEW(s->model->ledger, MP_OWN_WORK, char, cap, &bigger);
    if (err)
        return err;
    memcpy(bigger, s->text, s->n_text);
    MP_FREE(s->text);
    s->text = bigger;
    s->text_cap = cap;
    return MP_OK;
}

/* Room for one more token of the answer: only an answer that shifts its context needs more than the session began with. */
static mp_err grow_out(mp_session *s)
{
    if (s->n_out < s->out_cap)
        return MP_OK;
    int32_t *bigger;
    mp_err err = MP_NEW(s->model->ledger, MP_OWN_WORK, int32_t, s->out_cap * 2, &bigger);
    if (err)
        return err;
    memcpy(bigger, s->out, s->n_out * sizeof(*bigger));
    MP_FREE(s->out);
    s->out = bigger;
    s->out_cap *= 2;
    return MP_OK;
}

/* Takes what the token adds to the text, hands out what no stop string can claim any more. *matched: a stop string is complete. */
static mp_err show(generation *g, int32_t id, bool last, bool *matched)
{
    mp_session *s = g->s;
    size_t n = 0;
    mp_err err = MP_OK;
    if (s->model->tok) {
        err = grow_text(s, mp_detok_cap(s->model->tok) + 4);
        if (err)
            return err;
        n = mp_detok_push(&g->detok, s->model->tok, id, s->text + s->n_text);
        if (last)
            n += mp_detok_flush(&g->detok, s->text + s->n_text + n);
    }
    mp_stop_result r = mp_stop_feed(g->stop, s->text + s->n_text, n);
    s->n_text += n;
    if (last && !r.matched)
        r = mp_stop_finish(g->stop);
    *matched = r.matched;
    size_t from = g->shown, to = (size_t)r.emit_to;
    g->shown = to;
    if (r.matched)
        s->n_text = to;
    s->text[s->n_text] = '\0';
    int before = mp_times_enter(s->times, MP_ROW_CALLER);
    if (g->req->on_token && g->req->on_token(g->req->user, id, s->text + from, to - from))
        g->r.finish = MP_FINISH_CANCELLED;
    mp_times_leave(s->times, before);
    return MP_OK;
}

static mp_err pick(generation *g, int32_t *id)
{
    mp_session *s = g->s;
    const mp_model *m = s->model;
    for (int i = 0; g->req->ignore_eos && i < m->n_eog; i++)
        s->logits[m->eog[i]] = -INFINITY;
    s->logits_valid = false; /* the sampler changes them */
    mp_err err = mp_sampler_pick(g->sampler, s->logits, g->n_valid, id);
    if (!err)
        err = grow_out(s);
    if (err)
        return err;
    mp_sampler_accept(g->sampler, *id);
    s->out[s->n_out++] = *id;
    return MP_OK;
}

static bool is_end(const generation *g, int32_t id)
{
    return !g->req->ignore_eos && g->s->model->tok && mp_tok_is_eog(g->s->model->tok, id);
}

/* The context is full: keep the head and the newer half of the rest, computed anew at their new positions, so that the result is exact. */
static mp_err shift(generation *g)
{
    mp_session *s = g->s;
    int64_t keep = g->req->keep_tok < s->ctx / 2 ? g->req->keep_tok : s->ctx / 2, n = mp_kv_len(s->kv), tail = (n - keep) / 2;
    int32_t *kept;
    if (keep + tail == 0) { /* a context of one token */
        mp_session_truncate(s, 0);
        return MP_OK;
    }
    mp_err err = MP_NEW(s->model->ledger, MP_OWN_WORK, int32_t, (size_t)(keep + tail), &kept);
    if (err)
        return err;
    memcpy(kept, s->ids, (size_t)keep * sizeof(*kept));
    memcpy(kept + keep, s->ids + n - tail, (size_t)tail * sizeof(*kept));
    err = mp_session_eval(s, kept, keep + tail, NULL, NULL, NULL);
    MP_FREE(kept);
    return err;
}

/* The answer's tokens, until something ends it. */
static mp_err decode(generation *g)
{
    mp_session *s = g->s;
    int64_t most = g->req->max_tokens > 0 ? g->req->max_tokens : INT64_MAX; /* a context that does not shift ends it before */
    for (;;) {
        int32_t id;
        bool matched = false;
        int before = mp_times_enter(s->times, MP_ROW_SAMPLING);
        mp_err err = pick(g, &id);
        mp_times_leave(s->times, before);
        if (err)
            return err;
        bool end = is_end(g, id), full = mp_kv_len(s->kv) >= s->ctx;
        g->r.finish = end ? MP_FINISH_STOP : (int64_t)s->n_out >= most ? MP_FINISH_LENGTH : full && !g->req->context_shift ? MP_FINISH_CONTEXT : MP_FINISH_NONE;
        before = mp_times_enter(s->times, MP_ROW_TEXT);
        err = show(g, id, g->r.finish != MP_FINISH_NONE, &matched);
        mp_times_leave(s->times, before);
        if (matched)
            g->r.finish = MP_FINISH_STOP;
        if (err || g->r.finish != MP_FINISH_NONE)
            return err;
        if (full)
            err = shift(g);
        if (!err)
            err = mp_session_push(s, id);
        if (err)
            return err;
    }
}

static mp_err prefill(generation *g)
{
    const mp_request *q = g->req;
    mp_err err = mp_session_eval(g->s, q->tokens, q->n_tokens, q->on_prefill, q->user, &g->r.reused_tokens);
    g->r.prompt_tokens = q->n_tokens;
    int before = mp_times_enter(g->s->times, MP_ROW_SAMPLING);
    for (int64_t i = 0; i < q->n_tokens && !err; i++)
        mp_sampler_accept(g->sampler, q->tokens[i]);
    if (!err)
        mp_sampler_seek(g->sampler, 0);
    mp_times_leave(g->s->times, before);
    return err;
}

mp_err mp_generate(mp_session *s, const mp_request *request, mp_result *out)
{
    generation g = { .s = s, .req = request };
    uint64_t start = mp_now_ns(), first = start;
    *out = (mp_result){ 0 };
    s->times = mp_times_begin(s->model->times, MP_PHASE_PREFILL);
    mp_err err = request->keep_tok < 0 ? mp_fail(MP_E_USAGE, "%lld tokens to keep at the head of the context", (long long)request->keep_tok) : MP_OK;
    if (!err)
        err = open_generation(&g);
    if (!err)
        err = prefill(&g);
    first = mp_times_set_phase(s->times, MP_PHASE_DECODE); /* one moment for both: else the rows of a phase could be more than the phase */
    if (!err)
        err = decode(&g);
    mp_times_end(&s->times);
    if (err == MP_E_CANCELLED) {
        g.r.finish = MP_FINISH_CANCELLED;
        err = MP_OK;
    }
    g.r.prefill_ns = first - start;
    g.r.decode_ns = mp_now_ns() - first;
    mp_sampler_close(&g.sampler);
    mp_stop_close(&g.stop);
    if (!err)
        *out = g.r;
    return err;
}
