/* The writer of routing traces (MTR2).
 *
 *   file   | head | seq head | tokens ... | seq head | tokens ...
 *                                  ^ flushed: on disk up to here    the rest is in the buffer
 *
 * Invariant: a sequence's count is patched before anything of the next one is written, and after an error nothing is: so the file's end is the only
 * place where something can be missing, and the reader knows from the open count in the head that it may be. */
#include "mem/trace_int.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/os_write.h"
#include "num/kern.h"

enum { BUFFER_BYTES = 64 << 10, REASON = 640 };

struct mp_trace_writer {
    mp_out         file;
    mp_trace_shape shape;
    uint32_t       id_bytes, sequences, tokens; /* tokens: of the last sequence */
    uint64_t       flushed, seq_at;             /* bytes on disk; where the last sequence's head lies */
    size_t         held;                        /* bytes in buffer, which belong at flushed */
    mp_err         err;
    char           reason[REASON], path[REASON / 2];
    unsigned char  buffer[BUFFER_BYTES];
};

static_assert(sizeof(mp_trace_writer) + 256 <= MP_TRACE_WRITER_BYTES, "with the hidden head of the ledger's blocks");

/* Keeps the first error; the sentence is set again by every call after it. */
static mp_err keep(mp_trace_writer *w, mp_err err) {
    if (err && !w->err) {
        w->err = err;
        snprintf(w->reason, sizeof w->reason, "the trace %.256s is not complete: %.300s", w->path, mp_err_text());
    }
    return w->err ? mp_fail(w->err, "%s", w->reason) : MP_OK;
}

static mp_err flush(mp_trace_writer *w) {
    if (w->err || !w->held) return w->err;
    mp_err err = mp_out_write(&w->file, w->buffer, w->held, w->flushed);
    if (!err) w->flushed += w->held, w->held = 0;
    return keep(w, err);
}

static void put(mp_trace_writer *w, const void *src, size_t n) {
    const unsigned char *p = src;
    while (n && !w->err) {
        size_t m = BUFFER_BYTES - w->held < n ? BUFFER_BYTES - w->held : n;
        memcpy(w->buffer + w->held, p, m);
        w->held += m, p += m, n -= m;
        if (w->held == BUFFER_BYTES) flush(w);
    }
}

static void u32_to(unsigned char *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> 8 * i);
}

static void put_u32(mp_trace_writer *w, uint32_t v) {
    unsigned char p[4];
    u32_to(p, v);
    put(w, p, sizeof p);
}

/* Changes a number that was put before, on disk or still in the buffer. */
static mp_err patch(mp_trace_writer *w, uint64_t at, uint32_t v) {
    unsigned char p[4];
    u32_to(p, v);
    if (!w->err && at < w->flushed && at + sizeof p > w->flushed) flush(w); /* half of it is on disk */
    if (w->err) return w->err;
    if (at >= w->flushed) return memcpy(w->buffer + (at - w->flushed), p, sizeof p), MP_OK;
    return keep(w, mp_out_write(&w->file, p, sizeof p, at));
}

/* A slip of the hand must not cost a model of 40 GB. */
static mp_err check_old(const mp_out *file, const char *path) {
    char magic[4] = {0};
    if (!file->bytes || (mp_out_peek(file, magic, 4, 0) == 4 && (!memcmp(magic, "MTR1", 4) || !memcmp(magic, "MTR2", 4)))) return MP_OK;
    return mp_fail(MP_E_USAGE, "%.512s is there already and is no trace; give another name", path);
}

mp_err mp_trace_create(mp_ledger *ledger, const char *path, mp_trace_shape shape, mp_trace_writer **out) {
    mp_trace_writer *w = NULL;
    uint32_t id_bytes = shape.experts > 256 ? 2 : 1;
    *out = NULL;
    if (mp_trace_check_shape(shape, id_bytes)) return mp_fail(MP_E_USAGE, "a trace cannot hold this model: %s", mp_err_text());
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, mp_trace_writer, 1, &w);
    if (err) return err;
    snprintf(w->path, sizeof w->path, "%s", path ? path : "");
    err = mp_out_open(path, &w->file);
    if (!err) err = check_old(&w->file, path);
    if (!err) err = mp_out_cut(&w->file, 0);
    if (err) {
        char why[REASON];
        snprintf(why, sizeof why, "%s", mp_err_text());
        mp_out_close(&w->file);
        mp_free(w);
        return mp_fail(err, "%s", why);
    }
    w->shape = shape;
    w->id_bytes = id_bytes;
    put(w, "MTR2", 4);
    put_u32(w, shape.layers);
    put_u32(w, shape.experts);
    put_u32(w, shape.top_k);
    put_u32(w, id_bytes);
    put_u32(w, MP_MTR_OPEN);
    put_u32(w, MP_MTR_WEIGHTS | MP_MTR_MARKS);
    *out = w;
    return MP_OK;
}

static mp_err end_sequence(mp_trace_writer *w) {
    return w->sequences ? patch(w, w->seq_at + MP_MTR_TOKENS_AT, w->tokens) : MP_OK;
}

mp_err mp_trace_begin(mp_trace_writer *w, const char *name) {
    char clean[MP_TRACE_NAME];
    size_t n = 0;
    for (; name && name[n] && n < sizeof clean; n++) clean[n] = (unsigned char)name[n] < ' ' || name[n] == 0x7f ? '?' : name[n];
    end_sequence(w);
    w->seq_at = w->flushed + w->held;
    put_u32(w, (uint32_t)n);
    put_u32(w, 0);
    put_u32(w, MP_MTR_OPEN);
    put(w, clean, n);
    if (!w->err) w->sequences++, w->tokens = 0;
    return keep(w, MP_OK);
}

static uint16_t to_half(float v) {
    if (!(v > 0)) return 0; /* NaN too */
    return mp_f16_from_f32(v < 65504.0f ? v : 65504.0f);
}

mp_err mp_trace_token(mp_trace_writer *w, bool prefill, const uint16_t *ids, const float *weights) {
    size_t n = (size_t)w->shape.layers * w->shape.top_k;
    unsigned char mark = prefill;
    assert(w->sequences || w->err);
    if (w->err) return keep(w, MP_OK);
    put(w, &mark, 1);
    for (size_t i = 0; i < n; i++) {
        assert(ids[i] < w->shape.experts);
        unsigned char p[2] = {(unsigned char)ids[i], (unsigned char)(ids[i] >> 8)};
        put(w, p, w->id_bytes);
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t h = weights ? to_half(weights[i]) : 0;
        unsigned char p[2] = {(unsigned char)h, (unsigned char)(h >> 8)};
        put(w, p, 2);
    }
    if (!w->err) w->tokens++;
    return keep(w, MP_OK);
}

mp_err mp_trace_end(mp_trace_writer **writer) {
    mp_trace_writer *w = writer ? *writer : NULL;
    if (!w) return MP_OK;
    end_sequence(w);
    flush(w);
    patch(w, MP_MTR_SEQUENCES_AT, w->sequences); /* last: from here on the file claims to be whole */
    flush(w);
    keep(w, mp_out_close(&w->file));
    mp_err err = keep(w, MP_OK);
    MP_FREE(*writer);
    return err;
}
