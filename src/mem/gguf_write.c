/* The window collects small pieces; a piece that is larger goes to the file directly. The two counts of the header are written over at begin. */
#include "mem/gguf_write.h"

#include <assert.h>
#include <string.h>

#include "base/outfile.h"

enum { WINDOW = 1 << 20, COUNTS_AT = 8, FIRST_TENSORS = 512 };

typedef enum phase { METADATA, STRINGS, DIRECTORY, DATA, FINISHED } phase;

struct mp_gguf_writer {
    mp_ledger     *ledger;
    mp_outfile     file;
    bool           counting;     /* no file */
    phase          phase;
    mp_err         err;          /* of a put */
    unsigned char *window;       /* [WINDOW] */
    size_t         have;
    uint64_t       at;           /* bytes put so far: the place in the file */
    uint64_t       keys, strings /* that are still to come */;
    uint64_t      *bytes;        /* [cap] of each tensor */
    size_t         tensors, cap, now; /* now: the tensor whose data come */
    uint64_t       left;         /* bytes of it */
    uint64_t       offset, end;  /* of the next tensor; of the file */
};

mp_err mp_gguf_writer_open(mp_ledger *ledger, const char *path, mp_gguf_writer **out)
{
    mp_gguf_writer *w;
    *out = NULL;
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, mp_gguf_writer, 1, &w);
    if (err)
        return err;
    w->ledger = ledger;
    w->counting = !path;
    w->file.fd = -1;
    err = path ? mp_outfile_open(ledger, path, &w->file) : MP_OK;
    if (!err && path)
        err = MP_NEW(ledger, MP_OWN_WORK, unsigned char, WINDOW, &w->window);
    if (err) {
        mp_gguf_writer_close(&w);
        return err;
    }
    *out = w;
    return MP_OK;
}

mp_err mp_gguf_writer_reserve(mp_gguf_writer *w, uint64_t bytes)
{
    return w->counting ? MP_OK : mp_outfile_reserve(&w->file, bytes);
}

void mp_gguf_writer_close(mp_gguf_writer **w)
{
    if (!w || !*w)
        return;
    mp_outfile_close(&(*w)->file);
    MP_FREE((*w)->window);
    MP_FREE((*w)->bytes);
    MP_FREE(*w);
}

static mp_err flush(mp_gguf_writer *w)
{
    size_t n = w->have;
    w->have = 0;
    return n ? mp_outfile_append(&w->file, w->window, n) : MP_OK;
}

static mp_err append(mp_gguf_writer *w, const void *p, size_t n)
{
    mp_err err = MP_OK;
    w->at += n;
    if (w->counting)
        return MP_OK;
    if (w->have + n > WINDOW)
        err = flush(w);
    if (!err && n >= WINDOW)
        return mp_outfile_append(&w->file, p, n);
    if (!err && n) {
        memcpy(w->window + w->have, p, n);
        w->have += n;
    }
    return err;
}

static mp_err pad(mp_gguf_writer *w)
{
    static const unsigned char zero[MP_GGUF_ALIGNMENT];
    return append(w, zero, (size_t)(-w->at % MP_GGUF_ALIGNMENT));
}

/* ---- metadata ---- */

static void put(mp_gguf_writer *w, const void *p, size_t n)
{
    if (!w->err)
        w->err = append(w, p, n);
}

static void put_string(mp_gguf_writer *w, const char *s, size_t n)
{
    uint64_t len = n;
    put(w, &len, sizeof(len));
    put(w, s, n);
}

static void put_head(mp_gguf_writer *w)
{
    static const struct { char magic[4]; uint32_t version; uint64_t counts[2]; } head = { { 'G', 'G', 'U', 'F' }, 3, { 0, 0 } };
    static_assert(sizeof(head) == 24, "as in the file");
    put(w, &head, sizeof(head));
}

static void put_key(mp_gguf_writer *w, const char *key, uint32_t type)
{
    assert(w->phase == METADATA);
    if (w->at == 0)
        put_head(w);
    put_string(w, key, strlen(key));
    put(w, &type, sizeof(type));
    w->keys++;
}

static size_t size_of(uint32_t type)
{
    static const unsigned char size[MP_GGUF_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    assert(type < MP_GGUF_TYPES && size[type]);
    return size[type];
}

void mp_gguf_put_raw(mp_gguf_writer *w, const char *key, uint32_t type, const void *value, size_t n)
{
    put_key(w, key, type);
    put(w, value, n);
}

void mp_gguf_put(mp_gguf_writer *w, const char *key, uint32_t type, const void *value)
{
    mp_gguf_put_raw(w, key, type, value, size_of(type));
}

void mp_gguf_put_str(mp_gguf_writer *w, const char *key, const char *text)
{
    put_key(w, key, MP_GGUF_STRING);
    put_string(w, text, strlen(text));
}

static void put_array_head(mp_gguf_writer *w, const char *key, uint32_t type, uint64_t n)
{
    put_key(w, key, MP_GGUF_ARRAY);
    put(w, &type, sizeof(type));
    put(w, &n, sizeof(n));
}

void mp_gguf_put_array(mp_gguf_writer *w, const char *key, uint32_t type, const void *elements, uint64_t n)
{
    put_array_head(w, key, type, n);
    put(w, elements, (size_t)n * size_of(type));
}

void mp_gguf_put_strings(mp_gguf_writer *w, const char *key, uint64_t n)
{
    put_array_head(w, key, MP_GGUF_STRING, n);
    w->strings = n;
    w->phase = n ? STRINGS : METADATA;
}

void mp_gguf_put_element(mp_gguf_writer *w, const char *text, size_t n)
{
    assert(w->phase == STRINGS);
    put_string(w, text, n);
    if (--w->strings == 0)
        w->phase = METADATA;
}

/* ---- tensors ---- */

static void remember(mp_gguf_writer *w, uint64_t bytes)
{
    if (w->tensors == w->cap && !w->err) {
        uint64_t *more = NULL;
        size_t cap = w->cap ? 2 * w->cap : FIRST_TENSORS;
        w->err = MP_NEW(w->ledger, MP_OWN_WORK, uint64_t, cap, &more);
        if (!w->err && w->tensors)
            memcpy(more, w->bytes, w->tensors * sizeof(*more));
        if (!w->err) {
            MP_FREE(w->bytes);
            w->bytes = more;
            w->cap = cap;
        }
    }
    if (!w->err)
        w->bytes[w->tensors++] = bytes;
}

void mp_gguf_put_tensor(mp_gguf_writer *w, const char *name, mp_dtype type, int rank, const int64_t *shape)
{
    uint32_t head = (uint32_t)rank, id = (uint32_t)mp_dtype_get(type)->gguf_id;
    uint64_t bytes = mp_dtype_row_bytes(type, shape[rank - 1]);
    assert((w->phase == METADATA || w->phase == DIRECTORY) && rank >= 1 && rank <= 4 && strlen(name) <= MP_GGUF_NAME_MAX);
    w->phase = DIRECTORY;
    if (w->at == 0)
        put_head(w);
    put_string(w, name, strlen(name));
    put(w, &head, sizeof(head));
    for (int i = rank - 1; i >= 0; i--) { /* the file has the innermost first */
        uint64_t ne = (uint64_t)shape[i];
        put(w, &ne, sizeof(ne));
        bytes *= i < rank - 1 ? ne : 1;
    }
    put(w, &id, sizeof(id));
    put(w, &w->offset, sizeof(w->offset));
    w->offset += (bytes + MP_GGUF_ALIGNMENT - 1) / MP_GGUF_ALIGNMENT * MP_GGUF_ALIGNMENT;
    remember(w, bytes);
}

/* Pads behind what is complete and goes on to the next tensor that has bytes. */
static mp_err next_tensor(mp_gguf_writer *w)
{
    mp_err err = MP_OK;
    while (!err && w->left == 0 && w->now < w->tensors) {
        err = pad(w);
        w->left = w->bytes[w->now++];
    }
    return err;
}

mp_err mp_gguf_writer_begin(mp_gguf_writer *w)
{
    assert(w->phase == METADATA || w->phase == DIRECTORY);
    uint64_t counts[2] = { w->tensors, w->keys };
    if (w->at == 0)
        put_head(w);
    if (!w->err && !w->counting)
        w->err = flush(w);
    if (!w->err && !w->counting)
        w->err = mp_outfile_patch(&w->file, COUNTS_AT, counts, sizeof(counts));
    w->end = (w->at + MP_GGUF_ALIGNMENT - 1) / MP_GGUF_ALIGNMENT * MP_GGUF_ALIGNMENT + w->offset;
    w->phase = DATA;
    return w->err ? w->err : next_tensor(w);
}

uint64_t mp_gguf_writer_bytes(const mp_gguf_writer *w)
{
    assert(w->phase >= DATA);
    return w->end;
}

mp_err mp_gguf_writer_data(mp_gguf_writer *w, const void *p, size_t n)
{
    const unsigned char *at = p;
    mp_err err = MP_OK;
    assert(w->phase == DATA);
    while (!err && n > 0) {
        assert(w->left > 0);
        size_t k = n < w->left ? n : (size_t)w->left;
        err = append(w, at, k);
        at += k;
        n -= k;
        w->left -= k;
        if (!err)
            err = next_tensor(w);
    }
    return err;
}

mp_err mp_gguf_writer_finish(mp_gguf_writer *w)
{
    assert(w->phase == DATA && w->left == 0 && w->now == w->tensors);
    mp_err err = pad(w); /* the last one too: readers that map whole blocks find them */
    if (!err && !w->counting)
        err = flush(w);
    if (!err && !w->counting)
        err = mp_outfile_commit(&w->file);
    assert(err || w->at == w->end);
    w->phase = FINISHED;
    return err;
}
