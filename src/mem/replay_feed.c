/* The sets of a trace in the order in which an engine would announce them: token by token, and layer by layer within one. */
#include <string.h>

#include "mem/replay.h"

enum { BATCH_TOK = 512, BATCH_MAX_TOK = UINT16_MAX };

struct mp_replay_feed {
    const mp_trace *trace;
    bool            one_by_one;
    uint32_t        batch_tok;
    int             only;      /* -1: all layers */
    uint32_t        seq;       /* of the token */
    uint64_t        token;     /* the batch's first */
    uint32_t        tokens;    /* of the batch; 0: the end */
    uint32_t        layer, id; /* what comes next of the batch */
    uint32_t       *pages;     /* [experts] */
    uint16_t       *rows;      /* [experts] */
    uint16_t       *used;      /* [experts] of a batch that is gathered */
};

mp_err mp_replay_feed_open(mp_ledger *ledger, const mp_trace *trace, const mp_replay_options *options, mp_replay_feed **out) {
    mp_replay_feed *f;
    *out = NULL;
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, mp_replay_feed, 1, &f);
    if (err) return err;
    uint32_t batch = options->batch_tok ? options->batch_tok : BATCH_TOK;
    *f = (mp_replay_feed){.trace = trace, .one_by_one = options->one_by_one, .batch_tok = batch < BATCH_MAX_TOK ? batch : BATCH_MAX_TOK};
    err = MP_NEW(ledger, MP_OWN_WORK, uint32_t, trace->experts, &f->pages);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, uint16_t, trace->experts, &f->rows);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, uint16_t, trace->experts, &f->used);
    if (err) mp_replay_feed_close(&f);
    *out = f;
    return err;
}

void mp_replay_feed_close(mp_replay_feed **feed) {
    mp_replay_feed *f = *feed;
    if (!f) return;
    MP_FREE(f->pages);
    MP_FREE(f->rows);
    MP_FREE(f->used);
    MP_FREE(*feed);
}

/* How many tokens from f->token on are routed together; moves on to the sequence that the token is of. */
static void find_batch(mp_replay_feed *f) {
    const mp_trace *t = f->trace;
    f->tokens = 0;
    if (f->token >= t->tokens) return;
    while (f->token >= t->seq[f->seq].first + t->seq[f->seq].tokens) f->seq++;
    uint64_t end = t->seq[f->seq].first + t->seq[f->seq].tokens;
    f->tokens = 1;
    if (!t->prefill || !t->prefill[f->token] || f->one_by_one) return;
    while (f->tokens < f->batch_tok && f->token + f->tokens < end && t->prefill[f->token + f->tokens]) f->tokens++;
}

void mp_replay_feed_rewind(mp_replay_feed *feed, int layer) {
    feed->only = layer;
    feed->seq = feed->id = 0;
    feed->token = 0;
    feed->layer = layer < 0 ? 0 : (uint32_t)layer;
    find_batch(feed);
}

/* The batch's pages of one layer in the order of their numbers, as the engine groups them. */
static uint32_t gather(mp_replay_feed *f, uint32_t base) {
    const mp_trace *t = f->trace;
    uint32_t n = 0;
    memset(f->used, 0, t->experts * sizeof *f->used);
    for (uint32_t i = 0; i < f->tokens; i++)
        for (uint32_t k = 0; k < t->top_k; k++) f->used[mp_trace_ids(t, f->token + i, f->layer)[k]]++;
    for (uint32_t e = 0; e < t->experts; e++)
        if (f->used[e]) f->rows[n] = f->used[e], f->pages[n++] = base + e;
    return n;
}

static void step(mp_replay_feed *f) {
    f->id = 0;
    if (f->only < 0 && ++f->layer < f->trace->layers) return;
    if (f->only < 0) f->layer = 0;
    f->token += f->tokens;
    find_batch(f);
}

bool mp_replay_feed_next(mp_replay_feed *feed, mp_access *set, uint32_t *layer) {
    mp_replay_feed *f = feed;
    const mp_trace *t = f->trace;
    if (!f->tokens) return false;
    uint32_t base = f->only < 0 ? f->layer * t->experts : 0;
    const uint16_t *ids = mp_trace_ids(t, f->token, f->layer);
    *layer = f->layer;
    *set = (mp_access){.pages = f->pages, .n = t->top_k, .tokens = f->tokens};
    if (f->tokens > 1) {
        set->n = gather(f, base);
        set->rows = f->rows;
    } else if (f->one_by_one) {
        set->n = 1;
        f->pages[0] = base + ids[f->id++];
        if (f->id < t->top_k) return true;
    } else {
        for (uint32_t k = 0; k < t->top_k; k++) f->pages[k] = base + ids[k];
    }
    step(f);
    return true;
}
