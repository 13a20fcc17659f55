/* Generation: from a prefix of tokens to text, one token after the other. */
#ifndef MP_MODEL_GENERATE_H
#define MP_MODEL_GENERATE_H

#include "model/session.h"
#include "model/stop.h"

typedef enum mp_finish { MP_FINISH_NONE, MP_FINISH_STOP, MP_FINISH_LENGTH, MP_FINISH_CONTEXT, MP_FINISH_CANCELLED } mp_finish;

typedef struct mp_request {
    const int32_t        *tokens;
    int64_t               n_tokens;
    int64_t               max_tokens; /* 0: until the context is full */
    mp_sampling           sampling;
    const mp_stop_string *stop;
    int                   n_stop;
    bool                  ignore_eos, show_special, context_shift;
    int64_t               keep_tok;
    int (*on_token)(void *user, int32_t token, const char *text, size_t n); /* nonzero stops */
    mp_prefill_fn        *on_prefill;
    void                 *user;
} mp_request;

typedef struct mp_result { /* text and tokens: s->text, s->out */
    int64_t   prompt_tokens, reused_tokens;
    mp_finish finish;
    uint64_t  prefill_ns, decode_ns;
} mp_result;

/* Errors leave the session usable. */
mp_err mp_generate(mp_session *s, const mp_request *request, mp_result *out);
#endif
