/* The recorder.
 *
 *   stage   the choices of the forward under way: rows [skip, T) of it, in a trace file's run all rows, else the last MP_WINDOW_TOK
 *   ring    those of the last MP_WINDOW_TOK tokens whose forward succeeded; token i of all that were ever committed lies at i mod MP_WINDOW_TOK
 *
 * The stage belongs to the forward, which holds the model's lock; ring and writer are guarded by a lock of their own, held for copying only, so that
 * nobody who looks at the window waits for a forward. Memory that looking takes was charged when the recorder was opened: slots for experts leave
 * nothing to take later. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "mem/replay.h"
#include "model/routing.h"

typedef struct row {
    uint64_t accesses, hits; /* of the pager, when the forward was of one token */
    bool     prefill, first; /* first: of a sequence */
    char     name[48];       /* of the sequence, when it is its first */
} row;

struct mp_recorder {
    mp_ledger       *ledger;
    mp_trace_shape   shape;
    size_t           token;            /* choices of one: layers * top_k */
    int64_t          staged;           /* rows that the stage holds */
    uint16_t        *stage;            /* [staged][token] */
    float           *weights;          /* likewise, for the file; NULL: no file */
    uint16_t        *ring;             /* [MP_WINDOW_TOK][token] */
    row              rows[MP_WINDOW_TOK];
    pthread_mutex_t  lock, looking;
    uint64_t         committed, sequences;
    uint64_t         accesses, hits;   /* of the pager after the last forward */
    const void      *kv;               /* whose row was the last one, */
    int64_t          next;             /* and the position after it */
    mp_trace_writer *writer;           /* NULL: no file, or ended */
    mp_err           writer_err;       /* of its end */
    char             why[512];
    uint64_t         reserve;          /* charged, for what looking at the window takes */
    void            *dry_writer;       /* a dry ledger's stand-in */
};

/* ---- opening and closing ---- */

static uint64_t window_bytes(const mp_recorder *r)
{
    return MP_WINDOW_TOK * (r->token * sizeof(uint16_t) + 1 + sizeof(row));
}

/* What replaying it with foresight takes: of each choice its next use, of each page what is known of it (34 to 47 bytes). */
static uint64_t oracle_bytes(const mp_recorder *r)
{
    uint64_t pages = (uint64_t)r->shape.layers * r->shape.experts;
    return MP_WINDOW_TOK * (r->token + r->shape.layers) * 8 + pages * 64 + (64 << 10);
}

static mp_err allocate(mp_recorder *r, bool file)
{
    mp_err err = MP_NEW(r->ledger, MP_OWN_WORK, uint16_t, (size_t)r->staged * r->token, &r->stage);
    if (!err && file)
        err = MP_NEW(r->ledger, MP_OWN_WORK, float, (size_t)r->staged * r->token, &r->weights);
    if (!err)
        err = MP_NEW(r->ledger, MP_OWN_WORK, uint16_t, MP_WINDOW_TOK * r->token, &r->ring);
    uint64_t room = window_bytes(r) + (MP_TRACE_WRITER_BYTES > oracle_bytes(r) ? MP_TRACE_WRITER_BYTES : oracle_bytes(r)) + 4096;
    if (!err)
        err = mp_ledger_charge(r->ledger, MP_TIER_RAM, MP_OWN_WORK, room);
    r->reserve = err ? 0 : room;
    return err;
}

mp_err mp_recorder_open(mp_ledger *ledger, mp_trace_shape shape, int batch_tok, const char *path, mp_recorder **out)
{
    mp_recorder *r;
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, mp_recorder, 1, &r);
    *out = r;
    if (err)
        return err;
    pthread_mutex_init(&r->lock, NULL); /* cannot fail with default attributes on Linux */
    pthread_mutex_init(&r->looking, NULL);
    r->ledger = ledger;
    r->shape = shape;
    r->token = (size_t)shape.layers * shape.top_k;
    r->staged = path || batch_tok < MP_WINDOW_TOK ? batch_tok : MP_WINDOW_TOK;
    err = allocate(r, path != NULL);
    if (!err && path)
        err = mp_ledger_dry(ledger) ? mp_alloc(ledger, MP_OWN_WORK, MP_TRACE_WRITER_BYTES, &r->dry_writer) : mp_trace_create(ledger, path, shape, &r->writer);
    if (err)
        mp_recorder_close(out);
    return err;
}

mp_err mp_recorder_finish(mp_recorder *r)
{
    pthread_mutex_lock(&r->lock);
    if (r->writer) {
        r->writer_err = mp_trace_end(&r->writer);
        snprintf(r->why, sizeof(r->why), "%.500s", r->writer_err ? mp_err_text() : "");
    }
    mp_err err = r->writer_err;
    pthread_mutex_unlock(&r->lock);
    return err ? mp_fail(err, "%s", r->why) : MP_OK;
}

void mp_recorder_close(mp_recorder **recorder)
{
    mp_recorder *r = recorder ? *recorder : NULL;
    if (!r)
        return;
    mp_trace_end(&r->writer);
    mp_ledger_credit(r->ledger, MP_TIER_RAM, MP_OWN_WORK, r->reserve);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->looking);
    mp_free(r->stage);
    mp_free(r->weights);
    mp_free(r->ring);
    mp_free(r->dry_writer);
    MP_FREE(*recorder);
}

/* ---- a forward ---- */

/* Rows of a batch that are too old for the stage. */
static int64_t skipped(const mp_recorder *r, const mp_batch *batch)
{
    return batch->n_tok > r->staged ? batch->n_tok - r->staged : 0;
}

void mp_recorder_layer(mp_recorder *r, int layer, const mp_batch *batch, const int32_t *ids, const float *weights)
{
    size_t k = r->shape.top_k;
    int64_t skip = skipped(r, batch);
    for (int64_t i = skip; i < batch->n_tok; i++) {
        size_t at = (size_t)(i - skip) * r->token + (size_t)layer * k;
        for (size_t c = 0; c < k; c++)
            r->stage[at + c] = (uint16_t)ids[(size_t)i * k + c];
        if (r->weights)
            memcpy(r->weights + at, weights + (size_t)i * k, k * sizeof(*weights));
    }
}

/* One row into file and ring. */
static void keep(mp_recorder *r, const mp_segment *seg, int64_t pos, int64_t staged, bool prefill)
{
    row *to = &r->rows[r->committed % MP_WINDOW_TOK];
    *to = (row){ .prefill = prefill, .first = !r->committed || seg->kv != r->kv || pos != r->next };
    if (to->first) {
        snprintf(to->name, sizeof(to->name), "%llu from %lld", (unsigned long long)++r->sequences, (long long)pos);
        if (r->writer)
            mp_trace_begin(r->writer, to->name);
    }
    if (r->writer) /* its errors are its own: told at the end */
        mp_trace_token(r->writer, prefill, r->stage + (size_t)staged * r->token, r->weights + (size_t)staged * r->token);
    memcpy(r->ring + (r->committed % MP_WINDOW_TOK) * r->token, r->stage + (size_t)staged * r->token, r->token * sizeof(*r->ring));
    r->kv = seg->kv;
    r->next = pos + 1;
    r->committed++;
}

void mp_recorder_commit(mp_recorder *r, const mp_batch *batch, uint64_t accesses, uint64_t hits)
{
    int64_t skip = skipped(r, batch);
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < batch->n_seg; i++) {
        const mp_segment *s = &batch->seg[i];
        for (int64_t n = skip > s->row ? skip - s->row : 0; n < s->n; n++)
            keep(r, s, s->pos + n, s->row + n - skip, !batch->decode || s->n > 1);
    }
    if (batch->n_tok == 1 && batch->n_seg == 1) {
        row *last = &r->rows[(r->committed - 1) % MP_WINDOW_TOK];
        last->accesses = accesses >= r->accesses ? accesses - r->accesses : accesses; /* smaller: the counters began anew */
        last->hits = accesses >= r->accesses ? hits - r->hits : hits;
    }
    r->accesses = accesses;
    r->hits = hits;
    pthread_mutex_unlock(&r->lock);
}

/* ---- looking at the window ---- */

static uint64_t oldest(const mp_recorder *r)
{
    return r->committed > MP_WINDOW_TOK ? r->committed - MP_WINDOW_TOK : 0;
}

/* Only one that was decoded alone has counts of its own. */
static bool counted(const row *w)
{
    return !w->prefill && w->accesses;
}

void mp_recorder_window(mp_recorder *r, mp_window *out)
{
    *out = (mp_window){ 0 };
    pthread_mutex_lock(&r->lock);
    for (uint64_t i = oldest(r); i < r->committed; i++) {
        const row *w = &r->rows[i % MP_WINDOW_TOK];
        if (!counted(w))
            continue;
        out->tok++;
        out->accesses += w->accesses;
        out->hits += w->hits;
    }
    pthread_mutex_unlock(&r->lock);
}

/* The window as it was at one moment. */
typedef struct copy {
    mp_trace *trace;
    row      *rows; /* [tokens] */
} copy;

static mp_err copy_window(mp_recorder *r, bool decoded_only, copy *out)
{
    uint32_t n = 0;
    *out = (copy){ 0 };
    mp_err err = mp_trace_make(r->ledger, MP_OWN_WORK, r->shape, MP_WINDOW_TOK, &out->trace);
    if (!err)
        err = MP_NEW(r->ledger, MP_OWN_WORK, row, MP_WINDOW_TOK, &out->rows);
    pthread_mutex_lock(&r->lock);
    for (uint64_t i = oldest(r); !err && i < r->committed; i++) {
        const row *w = &r->rows[i % MP_WINDOW_TOK];
        if (decoded_only && !counted(w))
            continue;
        memcpy(out->trace->ids + n * r->token, r->ring + (i % MP_WINDOW_TOK) * r->token, r->token * sizeof(*r->ring));
        out->trace->prefill[n] = w->prefill;
        out->rows[n++] = *w;
    }
    pthread_mutex_unlock(&r->lock);
    if (!err)
        out->trace->tokens = out->trace->seq[0].tokens = n;
    return err;
}

static void drop(copy *c)
{
    mp_trace_close(&c->trace);
    mp_free(c->rows);
}

/* What looking may take is given back before memory is taken, and charged again when that is free. One looks at a time. */
static void lend(mp_recorder *r)
{
    pthread_mutex_lock(&r->looking);
    mp_ledger_credit(r->ledger, MP_TIER_RAM, MP_OWN_WORK, r->reserve);
}

static void take_back(mp_recorder *r)
{
    if (mp_ledger_charge(r->ledger, MP_TIER_RAM, MP_OWN_WORK, r->reserve)) /* a budget that shrank meanwhile */
        r->reserve = 0;
    pthread_mutex_unlock(&r->looking);
}

mp_err mp_recorder_export(mp_recorder *r, bool decoded_only, mp_trace **out)
{
    copy c;
    mp_err err = copy_window(r, decoded_only, &c);
    *out = c.trace;
    c.trace = NULL;
    drop(&c);
    if (err)
        mp_trace_close(out);
    return err;
}

static mp_err write_copy(const mp_recorder *r, const copy *c, const char *path)
{
    mp_trace_writer *w;
    mp_err err = mp_trace_create(r->ledger, path, r->shape, &w);
    if (err)
        return err;
    for (uint64_t i = 0; i < c->trace->tokens; i++) {
        if (c->rows[i].first || !i)
            mp_trace_begin(w, c->rows[i].first ? c->rows[i].name : "goes on");
        mp_trace_token(w, c->rows[i].prefill, mp_trace_ids(c->trace, i, 0), NULL);
    }
    return mp_trace_end(&w);
}

mp_err mp_recorder_save(mp_recorder *r, const char *path)
{
    copy c;
    lend(r);
    mp_err err = copy_window(r, false, &c);
    if (!err)
        err = write_copy(r, &c, path);
    drop(&c);
    take_back(r);
    return err;
}

/* ---- the clairvoyant rate ---- */

/* How many pages the trace names, but no more than most. */
static mp_err count_pages(const mp_recorder *r, const mp_trace *t, uint32_t most, uint32_t *out)
{
    uint8_t *seen;
    uint32_t n = 0;
    mp_err err = MP_NEW(r->ledger, MP_OWN_WORK, uint8_t, (size_t)t->layers * t->experts, &seen);
    for (uint64_t i = 0; !err && i < t->tokens * r->token; i++) {
        uint8_t *page = &seen[i / t->top_k % t->layers * t->experts + t->ids[i]];
        n += !*page;
        *page = 1;
    }
    MP_FREE(seen);
    *out = n < most ? n : most;
    return err;
}

mp_err mp_recorder_oracle(mp_recorder *r, uint32_t slots, mp_window *out)
{
    mp_trace *t = NULL;
    mp_replay_result best = { 0 };
    uint32_t held = 0;
    *out = (mp_window){ 0 };
    lend(r);
    mp_err err = mp_recorder_export(r, true, &t);
    if (!err && t->tokens && slots) {
        err = mp_replay(r->ledger, t, &(mp_replay_options){ .policy = "oracle", .slots = (double)slots / t->layers }, NULL, &best);
        if (!err)
            err = count_pages(r, t, slots, &held);
        *out = (mp_window){ (uint32_t)t->tokens, best.accesses, err ? 0 : best.hits + held };
    }
    mp_trace_close(&t);
    take_back(r);
    return err;
}
