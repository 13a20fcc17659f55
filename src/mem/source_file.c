/* Pages that lie in files. A slot keeps the phase that its slices have in the file, so that O_DIRECT lands in place without a copy. */
#include "mem/source_file.h"

struct mp_file_source {
    uint32_t align;
    bool     buffered, keep;
    int      n;
    mp_file  file[];
};

static mp_err load(void *self, mp_page page, const mp_page_desc *desc, int slice, unsigned char *dst) {
    const mp_file_source *s = self;
    const mp_slice *at = &desc->slice[slice];
    if (at->file >= s->n) return mp_fail(MP_E_MODEL, "page %u lies in file %d of %d", page, at->file + 1, s->n);
    const mp_file *file = &s->file[at->file];
    if (s->keep) return mp_file_read(file, dst, at->bytes, at->offset);
    if (!s->buffered) return mp_io_read_phase(file, dst, at->bytes, at->offset);
    mp_file cached = *file;
    cached.direct_fd = -1;
    return mp_io_read_phase(&cached, dst, at->bytes, at->offset);
}

static const mp_file *file_of(void *self, const mp_slice *slice) {
    const mp_file_source *s = self;
    if (s->buffered || slice->file >= s->n || s->file[slice->file].direct_fd < 0) return NULL;
    return &s->file[slice->file];
}

void mp_file_source_buffered(mp_file_source *source, bool buffered, bool keep) {
    source->buffered = buffered || keep;
    source->keep = keep;
}

static mp_err open_empty(mp_ledger *ledger, int n, mp_file_source **out) {
    void *memory = NULL;
    mp_err err = mp_alloc(ledger, MP_OWN_OVERHEAD, sizeof(mp_file_source) + (size_t)n * sizeof(mp_file), &memory);
    *out = memory;
    if (err) return err;
    (*out)->align = 1;
    (*out)->n = n;
    return MP_OK;
}

static void put_file(mp_file_source *s, int i, const mp_file *file) {
    s->file[i] = *file;
    if (file->align > s->align) s->align = file->align; /* powers of two: the largest keeps every file's phase */
}

mp_err mp_file_source_open(mp_ledger *ledger, const mp_gguf *gguf, mp_file_source **out) {
    mp_err err = open_empty(ledger, mp_gguf_files(gguf), out);
    for (int i = 0; !err && i < (*out)->n; i++) put_file(*out, i, mp_gguf_file(gguf, i));
    return err;
}

mp_err mp_file_source_open_files(mp_ledger *ledger, const mp_file *files, int n, mp_file_source **out) {
    mp_err err = open_empty(ledger, n, out);
    for (int i = 0; !err && i < n; i++) put_file(*out, i, &files[i]);
    return err;
}

void mp_file_source_close(mp_file_source **source) {
    if (source) MP_FREE(*source);
}

mp_source mp_file_source_get(mp_file_source *source) {
    return (mp_source){.self = source, .align = source->align, .file = file_of, .load = load};
}
