/* One mutable timeline of tokens. The caller hands in the whole prefix; the session reuses what it has, extends, or rebuilds. */
#ifndef MP_MODEL_SESSION_H
#define MP_MODEL_SESSION_H

#include "model/model.h"
#include "model/sampler.h"

typedef struct mp_session {
    mp_model *model;
    mp_kv    *kv;
    int64_t   ctx;
    int32_t  *ids;      /* [ctx] tokens whose keys and values are held */
    int32_t  *pos;      /* [batch] */
    float    *logits;   /* [V] after the last token */
    bool      logits_valid;
    mp_times *times;    /* the model's clock, while this session holds it */
    /* of the last generation */
    int32_t  *out;      /* [out_cap] ctx of them, more when an answer outlives its context by shifting */
    size_t    n_out, out_cap;
    char     *text;
    size_t    n_text, text_cap;
} mp_session;

mp_err mp_session_open(mp_model *model, int64_t ctx_tok, mp_session **out); /* 0: the model's */
void   mp_session_close(mp_session **session);

/* Called for each position from the first wanted one on. Nonzero stops: MP_E_CANCELLED. */
typedef int mp_logits_fn(void *user, int64_t position, const float *logits);
typedef int mp_prefill_fn(void *user, int64_t done, int64_t total);

/* Brings the timeline to exactly tokens[0..n): the common prefix is kept (all but the last token at most), the rest is computed in batches; s->logits are those
 * after the last token. *reused: tokens kept. On error the session holds a shorter prefix and stays usable. Errors: MP_E_CONTEXT, MP_E_CANCELLED, the pager's. */
mp_err mp_session_eval(mp_session *s, const int32_t *tokens, int64_t n, mp_prefill_fn *progress, void *user, int64_t *reused);
/* The same from scratch, calling on_logits for positions >= first. */
mp_err mp_session_logits(mp_session *s, const int32_t *tokens, int64_t n, int64_t first, mp_logits_fn *on_logits, void *user);
int64_t mp_session_truncate(mp_session *s, int64_t n);
/* One more token at the end; s->logits are those after it. Errors: MP_E_CONTEXT when the context is full. */
mp_err mp_session_push(mp_session *s, int32_t token);
#endif
