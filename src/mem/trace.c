/* The reader of routing traces. Two passes over the file through one window: the first walks the sequences' heads and adds up what they claim, which
 * the file's size bounds; only then is memory taken, and the second fills it. Invariant: no number of the file is used before it was checked. */
#include "mem/trace.h"

#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "mem/trace_int.h"

enum { WINDOW_BYTES = 64 << 10 };

typedef struct reader {
    mp_file        file;
    mp_trace_shape shape;
    uint32_t       id_bytes, flags, claimed; /* claimed: sequences by the head */
    bool           open, cut;                /* the writer did not end; the sequence whose head was read last goes past the file's end */
    uint64_t       at;                       /* next byte to be taken */
    uint64_t       base;                     /* offset of what is in the window */
    size_t         have;
    uint64_t       sequences, tokens, name_bytes; /* found by the first pass */
    unsigned char *window;                   /* [WINDOW_BYTES] */
    uint64_t      *seen;                     /* [experts] the last token-layer that had this expert, counted from 1 */
} reader;

mp_err mp_trace_check_shape(mp_trace_shape s, uint32_t id_bytes) {
    if (s.layers < 1 || s.layers > MP_TRACE_LAYERS || s.experts < 1 || s.experts > MP_TRACE_EXPERTS || s.top_k < 1 || s.top_k > s.experts)
        return mp_fail(MP_E_MODEL, "%u layers of %u experts with %u chosen cannot be", s.layers, s.experts, s.top_k);
    if ((id_bytes != 1 && id_bytes != 2) || (id_bytes == 1 && s.experts > 256))
        return mp_fail(MP_E_MODEL, "%u experts and %u bytes for an id do not go together", s.experts, id_bytes);
    return MP_OK;
}

static uint64_t left(const reader *r) {
    return r->file.bytes - r->at;
}

/* The next n <= WINDOW_BYTES bytes, of which at least so many are left. Valid until the next call. */
static mp_err take(reader *r, size_t n, const unsigned char **out) {
    if (r->at < r->base || r->at + n > r->base + r->have) {
        size_t want = left(r) < WINDOW_BYTES ? (size_t)left(r) : WINDOW_BYTES;
        mp_err err = mp_file_read(&r->file, r->window, want, r->at);
        if (err) return err;
        r->base = r->at;
        r->have = want;
    }
    *out = r->window + (r->at - r->base);
    r->at += n;
    return MP_OK;
}

static uint32_t u32_of(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t token_bytes(const reader *r) {
    uint64_t n = (uint64_t)r->shape.layers * r->shape.top_k;
    return n * r->id_bytes + (r->flags & MP_MTR_WEIGHTS ? n * 2 : 0) + (r->flags & MP_MTR_MARKS ? 1 : 0);
}

static mp_err read_head(reader *r) {
    const unsigned char *p;
    if (left(r) < MP_MTR_HEAD) return mp_fail(MP_E_MODEL, "it is no routing trace: %llu bytes are too few", (unsigned long long)left(r));
    mp_err err = take(r, MP_MTR_HEAD, &p);
    if (err) return err;
    bool second = !memcmp(p, "MTR2", 4);
    if (!second && memcmp(p, "MTR1", 4) != 0) return mp_fail(MP_E_MODEL, "it is no routing trace: it does not begin with MTR1 or MTR2");
    r->shape = (mp_trace_shape){u32_of(p + 4), u32_of(p + 8), u32_of(p + 12)};
    r->id_bytes = u32_of(p + 16);
    r->claimed = u32_of(p + MP_MTR_SEQUENCES_AT);
    r->open = second && r->claimed == MP_MTR_OPEN;
    err = mp_trace_check_shape(r->shape, r->id_bytes);
    if (err || !second) return err;
    if (left(r) < 4) return mp_fail(MP_E_MODEL, "the trace ends inside its head");
    err = take(r, 4, &p);
    if (!err) r->flags = u32_of(p);
    if (!err && r->flags & ~(uint32_t)(MP_MTR_WEIGHTS | MP_MTR_MARKS)) err = mp_fail(MP_E_MODEL, "the trace has flags %#x, which are not known here", r->flags);
    return err;
}

typedef struct seq_head { uint32_t name_bytes, prompt_tok, tokens; } seq_head;

/* The head and the place behind the name. *end: an unfinished file has no whole sequence here. Afterwards all that *out says is in the file. */
static mp_err read_seq_head(reader *r, uint64_t i, seq_head *out, bool *end) {
    const unsigned char *p;
    uint64_t start = r->at;
    *out = (seq_head){0};
    *end = r->open && left(r) < MP_MTR_SEQ_HEAD;
    if (*end) return MP_OK;
    if (left(r) < MP_MTR_SEQ_HEAD) return mp_fail(MP_E_MODEL, "the trace ends before sequence %llu of %u", (unsigned long long)i + 1, r->claimed);
    mp_err err = take(r, MP_MTR_SEQ_HEAD, &p);
    if (err) return err;
    *out = (seq_head){u32_of(p), u32_of(p + 4), u32_of(p + MP_MTR_TOKENS_AT)};
    if (out->name_bytes > MP_TRACE_NAME)
        return mp_fail(MP_E_MODEL, "sequence %llu at byte %llu has a name of %u bytes, more than %d", (unsigned long long)i + 1, (unsigned long long)start,
                       out->name_bytes, MP_TRACE_NAME);
    *end = r->open && left(r) < out->name_bytes;
    if (*end) return MP_OK;
    if (left(r) < out->name_bytes) return mp_fail(MP_E_MODEL, "the trace ends inside the name of sequence %llu", (unsigned long long)i + 1);
    uint64_t room = (left(r) - out->name_bytes) / token_bytes(r);
    if (out->tokens <= room) return MP_OK;
    if (!r->open)
        return mp_fail(MP_E_MODEL, "sequence %llu at byte %llu claims %u tokens, and the rest of the file holds %llu; it is cut short or damaged",
                       (unsigned long long)i + 1, (unsigned long long)start, out->tokens, (unsigned long long)room);
    out->tokens = (uint32_t)room;
    r->cut = true;
    return MP_OK;
}

/* The first pass. Ends with at == file's end unless an unfinished file has a part of a token there. */
static mp_err add_up(reader *r) {
    bool end = false;
    if (!r->open && r->claimed > left(r) / MP_MTR_SEQ_HEAD)
        return mp_fail(MP_E_MODEL, "the trace claims %u sequences, more than its %llu bytes can hold", r->claimed, (unsigned long long)r->file.bytes);
    while (r->open ? !r->cut : r->sequences < r->claimed) {
        seq_head h;
        mp_err err = read_seq_head(r, r->sequences, &h, &end);
        if (err) return err;
        if (end) break;
        r->at += h.name_bytes + h.tokens * token_bytes(r);
        r->sequences++;
        r->tokens += h.tokens;
        r->name_bytes += h.name_bytes + 1;
    }
    if (!r->open && left(r)) return mp_fail(MP_E_MODEL, "%llu bytes follow the trace's last sequence", (unsigned long long)left(r));
    if (r->sequences > UINT32_MAX - 1) return mp_fail(MP_E_MODEL, "the trace has more sequences than can be counted");
    return MP_OK;
}

static mp_err allocate(mp_ledger *ledger, mp_owner owner, const reader *r, mp_trace **out) {
    mp_trace *t;
    size_t n = (size_t)r->tokens * r->shape.layers * r->shape.top_k; /* bounded by the file, or by the caller: no overflow */
    mp_err err = MP_NEW(ledger, owner, mp_trace, 1, &t);
    *out = t;
    if (err) return err;
    t->layers = r->shape.layers;
    t->experts = r->shape.experts;
    t->top_k = r->shape.top_k;
    t->sequences = (uint32_t)r->sequences;
    t->tokens = r->tokens;
    err = MP_NEW(ledger, owner, mp_trace_seq, (size_t)r->sequences, &t->seq);
    if (!err) err = MP_NEW(ledger, owner, char, (size_t)r->name_bytes, &t->text);
    if (!err) err = MP_NEW(ledger, owner, uint16_t, n, &t->ids);
    if (!err && r->flags & MP_MTR_WEIGHTS) err = MP_NEW(ledger, owner, uint16_t, n, &t->weights);
    if (!err && r->flags & MP_MTR_MARKS) err = MP_NEW(ledger, owner, uint8_t, (size_t)r->tokens, &t->prefill);
    return err;
}

void mp_trace_close(mp_trace **trace) {
    mp_trace *t = trace ? *trace : NULL;
    if (!t) return;
    mp_free(t->seq);
    mp_free(t->text);
    mp_free(t->ids);
    mp_free(t->weights);
    mp_free(t->prefill);
    MP_FREE(*trace);
}

/* ---- the second pass ---- */

static mp_err read_name(reader *r, uint64_t i, uint32_t n, char *dst) {
    const unsigned char *p;
    mp_err err = take(r, n, &p);
    if (err) return err;
    for (uint32_t b = 0; b < n; b++)
        if (p[b] < ' ' || p[b] == 0x7f) return mp_fail(MP_E_MODEL, "the name of sequence %llu has a control byte (%#x)", (unsigned long long)i + 1, p[b]);
    memcpy(dst, p, n);
    return MP_OK;
}

/* n numbers of one or two bytes. */
static mp_err read_numbers(reader *r, uint32_t bytes, uint64_t n, uint16_t *dst) {
    while (n) {
        const unsigned char *p;
        size_t part = n < WINDOW_BYTES / 2 ? (size_t)n : WINDOW_BYTES / 2;
        mp_err err = take(r, part * bytes, &p);
        if (err) return err;
        for (size_t i = 0; i < part; i++) dst[i] = (uint16_t)(bytes == 1 ? p[i] : p[2 * i] | p[2 * i + 1] << 8);
        dst += part;
        n -= part;
    }
    return MP_OK;
}

/* Every layer's ids are below experts and distinct. */
static mp_err check_ids(reader *r, uint64_t token, const uint16_t *ids) {
    for (uint32_t l = 0; l < r->shape.layers; l++, ids += r->shape.top_k) {
        uint64_t now = token * r->shape.layers + l + 1;
        for (uint32_t k = 0; k < r->shape.top_k; k++) {
            if (ids[k] >= r->shape.experts)
                return mp_fail(MP_E_MODEL, "token %llu of the trace, layer %u: expert %u of %u", (unsigned long long)token, l, ids[k], r->shape.experts);
            if (r->seen[ids[k]] == now)
                return mp_fail(MP_E_MODEL, "token %llu of the trace, layer %u: expert %u twice", (unsigned long long)token, l, ids[k]);
            r->seen[ids[k]] = now;
        }
    }
    return MP_OK;
}

static mp_err check_weights(uint64_t token, const uint16_t *w, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (w[i] >= 0x7c00) /* infinities, NaN, and all that is below 0 */
            return mp_fail(MP_E_MODEL, "token %llu of the trace has a weight (half %#x) that no router gives", (unsigned long long)token, w[i]);
    return MP_OK;
}

static mp_err read_token(reader *r, mp_trace *t, uint64_t token) {
    uint64_t n = (uint64_t)t->layers * t->top_k;
    const unsigned char *mark;
    mp_err err = MP_OK;
    if (t->prefill) {
        err = take(r, 1, &mark);
        if (!err && *mark > 1) err = mp_fail(MP_E_MODEL, "token %llu of the trace has the mark %u", (unsigned long long)token, *mark);
        if (!err) t->prefill[token] = *mark;
    }
    if (!err) err = read_numbers(r, r->id_bytes, n, t->ids + token * n);
    if (!err) err = check_ids(r, token, t->ids + token * n);
    if (!err && t->weights) err = read_numbers(r, 2, n, t->weights + token * n);
    if (!err && t->weights) err = check_weights(token, t->weights + token * n, n);
    return err;
}

static mp_err fill(reader *r, mp_trace *t) {
    char *text = t->text;
    uint64_t token = 0;
    for (uint32_t i = 0; i < t->sequences; i++) {
        seq_head h;
        bool end;
        mp_err err = read_seq_head(r, i, &h, &end);
        /* The file is open, not locked: one that changes between the passes must not lead us out of what was allocated. */
        if (!err && (end || h.tokens > t->tokens - token || h.name_bytes >= r->name_bytes - (uint64_t)(text - t->text)))
            err = mp_fail(MP_E_FAILED, "the trace changes while it is read");
        if (!err) err = read_name(r, i, h.name_bytes, text);
        if (err) return err;
        t->seq[i] = (mp_trace_seq){.name = text, .prompt_tok = h.prompt_tok, .tokens = h.tokens, .first = token};
        text += h.name_bytes + 1;
        for (uint64_t end_token = token + h.tokens; !err && token < end_token; token++) err = read_token(r, t, token);
        if (err) return err;
    }
    return MP_OK;
}

static mp_err read_all(mp_ledger *ledger, mp_owner owner, reader *r, mp_trace **out) {
    mp_err err = MP_NEW(ledger, owner, unsigned char, WINDOW_BYTES, &r->window);
    if (!err) err = read_head(r);
    uint64_t first = r->at;
    if (!err) err = add_up(r);
    if (!err) err = MP_NEW(ledger, owner, uint64_t, r->shape.experts, &r->seen);
    if (!err) err = allocate(ledger, owner, r, out);
    r->at = first;
    if (!err) err = fill(r, *out);
    mp_free(r->window);
    mp_free(r->seen);
    return err;
}

mp_err mp_trace_open(mp_ledger *ledger, mp_owner owner, const char *path, mp_trace **out) {
    reader r = {.file = {.fd = -1, .direct_fd = -1}};
    *out = NULL;
    mp_err err = mp_file_open(path, false, &r.file);
    if (err) return err;
    err = read_all(ledger, owner, &r, out);
    mp_file_drop_cache(&r.file, 0, r.file.bytes);
    mp_file_close(&r.file);
    if (!err) return MP_OK;
    mp_trace_close(out);
    char name[512];
    snprintf(name, sizeof name, "%s", path);
    return mp_fail_in(err, name);
}

mp_err mp_trace_make(mp_ledger *ledger, mp_owner owner, mp_trace_shape shape, uint32_t tokens, mp_trace **out) {
    reader r = {.shape = shape, .flags = MP_MTR_MARKS, .sequences = 1, .tokens = tokens, .name_bytes = 1};
    *out = NULL;
    if (mp_trace_check_shape(shape, 2)) return mp_fail(MP_E_USAGE, "%s", mp_err_text());
    mp_err err = allocate(ledger, owner, &r, out);
    if (err) mp_trace_close(out);
    else (*out)->seq[0] = (mp_trace_seq){.name = (*out)->text, .tokens = tokens};
    return err;
}
