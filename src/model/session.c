#include "model/session.h"

#include <string.h>

mp_err mp_session_open(mp_model *model, int64_t ctx_tok, mp_session **out)
{
    mp_ledger *l = model->ledger;
    mp_session *s;
    *out = NULL;
    int64_t ctx = ctx_tok ? ctx_tok : model->plan.ctx_tok;
    if (ctx < 1 || ctx > model->plan.ctx_tok)
        return mp_fail(MP_E_USAGE, "a session of %lld tokens does not fit the context of %lld that the model was loaded for", (long long)ctx,
                       (long long)model->plan.ctx_tok);
    mp_err err = MP_NEW(l, MP_OWN_WORK, mp_session, 1, &s);
    if (err)
        return err;
    s->model = model;
    s->ctx = ctx;
    err = mp_kv_open(model->kv_pool, ctx, &s->kv);
    if (!err)
        err = MP_NEW(l, MP_OWN_WORK, int32_t, (size_t)ctx, &s->ids);
    if (!err)
        err = MP_NEW(l, MP_OWN_WORK, int32_t, s->out_cap = (size_t)ctx, &s->out);
    if (!err)
        err = MP_NEW(l, MP_OWN_WORK, int32_t, (size_t)model->opt.batch_tok, &s->pos);
    if (!err)
        err = MP_NEW(l, MP_OWN_WORK, float, (size_t)model->config.vocab, &s->logits);
    if (err)
        mp_session_close(&s);
    *out = s;
    return err;
}

void mp_session_close(mp_session **session)
{
    mp_session *s = *session;
    if (!s)
        return;
    mp_kv_close(&s->kv);
    MP_FREE(s->ids);
    MP_FREE(s->out);
    MP_FREE(s->pos);
    MP_FREE(s->logits);
    MP_FREE(s->text);
    MP_FREE(s);
    *session = NULL;
}

int64_t mp_session_truncate(mp_session *s, int64_t n)
{
    if (n < mp_kv_len(s->kv))
        s->logits_valid = false;
    return mp_kv_truncate(s->kv, n);
}

typedef struct want {
    int64_t       first; /* position from which logits are wanted */
    mp_logits_fn *fn;
    void         *user;
    bool          decode; /* an answer's next token, not a prompt's last */
} want;

/* Hands out the logits of the rows that are wanted, a few at a time. */
static mp_err give_logits(mp_session *s, mp_forward *fw, int64_t pos, int64_t n, const want *w)
{
    for (int64_t row = w->first > pos ? w->first - pos : 0; row < n;) {
        int64_t rows = n - row < MP_HEAD_ROWS ? n - row : MP_HEAD_ROWS;
        mp_tensor y;
        mp_err err = mp_forward_logits(s->model, fw, row, rows, &y);
        for (int64_t i = 0; !err && i < rows; i++)
            if (w->fn(w->user, pos + row + i, (const float *)y.data + i * y.shape[1]))
                err = mp_fail(MP_E_CANCELLED, "stopped on request");
        if (err)
            return err;
        row += rows;
    }
    return MP_OK;
}

static int keep_last(void *user, int64_t position, const float *logits)
{
    mp_session *s = user;
    (void)position;
    memcpy(s->logits, logits, (size_t)s->model->config.vocab * sizeof(float));
    return 0;
}

/* One batch: tokens [at, at + n) of the timeline, at == the cache's length. */
static mp_err step(mp_session *s, const int32_t *tokens, int64_t at, int64_t n, const want *w)
{
    mp_err err = mp_kv_reserve(s->kv, n);
    if (err)
        return err;
    for (int64_t i = 0; i < n; i++)
        s->pos[i] = (int32_t)(at + i);
    mp_segment seg = mp_segment_of(s->kv, 0, (int32_t)n);
    mp_batch batch = { .ids = tokens + at, .pos = s->pos, .seg = &seg, .n_tok = n, .n_seg = 1, .decode = w->decode, .times = s->times };
    mp_forward fw;
    err = mp_forward_begin(s->model, &batch, NULL, &fw);
    if (!err)
        err = give_logits(s, &fw, at, n, w);
    mp_err end = mp_forward_end(s->model, &fw);
    err = err ? err : end;
    if (!err) {
        mp_kv_advance(s->kv, n);
        if (s->ids + at != tokens + at)
            memmove(s->ids + at, tokens + at, (size_t)n * sizeof(*tokens));
    }
    return err;
}

static mp_err check(const mp_session *s, const int32_t *tokens, int64_t n)
{
    if (n < 1)
        return mp_fail(MP_E_USAGE, "there is no token to start from");
    if (n > s->ctx)
        return mp_fail(MP_E_CONTEXT, "%lld tokens do not fit the context of %lld; give a larger one with --ctx-size", (long long)n, (long long)s->ctx);
    for (int64_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= s->model->config.vocab)
            return mp_fail(MP_E_USAGE, "token %d at place %lld is not in the vocabulary of %d", tokens[i], (long long)i, s->model->config.vocab);
    return MP_OK;
}

static mp_err run(mp_session *s, const int32_t *tokens, int64_t from, int64_t n, const want *w, mp_prefill_fn *progress, void *user)
{ /* long: seven parameters, the two callers' options side by side */
    for (int64_t at = from; at < n;) {
        int64_t m = n - at < s->model->opt.batch_tok ? n - at : s->model->opt.batch_tok;
        int before = mp_times_enter(s->times, MP_ROW_CALLER);
        bool stop = progress && progress(user, at - from, n - from);
        mp_times_leave(s->times, before);
        if (stop)
            return mp_fail(MP_E_CANCELLED, "stopped on request");
        mp_err err = step(s, tokens, at, m, w);
        if (err)
            return err;
        at += m;
    }
    return MP_OK;
}

mp_err mp_session_eval(mp_session *s, const int32_t *tokens, int64_t n, mp_prefill_fn *progress, void *user, int64_t *reused)
{
    int64_t same = 0, have = mp_kv_len(s->kv);
    if (reused)
        *reused = 0;
    mp_err err = check(s, tokens, n);
    if (err)
        return err;
    while (same < have && same < n && s->ids[same] == tokens[same])
        same++;
    if (same == n && have == n && s->logits_valid) {
        if (reused)
            *reused = n;
        return MP_OK;
    }
    same = mp_session_truncate(s, same < n ? same : n - 1); /* the last token is computed again: its logits are wanted */
    s->logits_valid = false;
    err = run(s, tokens, same, n, &(want){ n - 1, keep_last, s, false }, progress, user);
    s->logits_valid = !err;
    if (reused)
        *reused = same;
    return err;
}

mp_err mp_session_push(mp_session *s, int32_t token)
{
    int64_t at = mp_kv_len(s->kv);
    if (at >= s->ctx)
        return mp_fail(MP_E_CONTEXT, "the context of %lld tokens is full; give a larger one with --ctx-size, or --context-shift", (long long)s->ctx);
    s->ids[at] = token;
    s->logits_valid = false;
    mp_err err = step(s, s->ids, at, 1, &(want){ at, keep_last, s, true });
    s->logits_valid = !err;
    return err;
}

mp_err mp_session_logits(mp_session *s, const int32_t *tokens, int64_t n, int64_t first, mp_logits_fn *on_logits, void *user)
{
    mp_err err = check(s, tokens, n);
    if (err)
        return err;
    mp_session_truncate(s, 0);
    s->times = mp_times_begin(s->model->times, MP_PHASE_PREFILL);
    err = run(s, tokens, 0, n, &(want){ first, on_logits, user, false }, NULL, NULL);
    mp_times_end(&s->times);
    return err;
}
