/* The window through which GGUF headers are read, and the store of short strings.
 * Invariants: never reads past the file's end; holds at most 1 MiB however large the header is; what was read leaves the page cache at close. */
#include "mem/gguf_int.h"

#include <string.h>

enum { WINDOW_BYTES = 1 << 20, TEXT_BLOCK_BYTES = 16 << 10 };

const char *mp_gguf_shown(mp_str s, char buf[MP_GGUF_SHOWN])
{
    size_t n = s.n < MP_GGUF_SHOWN - 4 ? s.n : MP_GGUF_SHOWN - 4;
    for (size_t i = 0; i < n; i++) {
        buf[i] = s.s[i] >= ' ' && s.s[i] <= '~' ? s.s[i] : '?';
    }
    memcpy(buf + n, n < s.n ? "..." : "", n < s.n ? 4 : 1);
    return buf;
}

mp_err mp_gguf_reader_open(mp_ledger *ledger, const mp_file *file, mp_gguf_reader *out)
{
    size_t cap = file->bytes < WINDOW_BYTES ? (size_t)file->bytes : WINDOW_BYTES;
    *out = (mp_gguf_reader){ .file = file, .cap = cap, .what = "the header" };
    return MP_NEW(ledger, MP_OWN_WORK, unsigned char, cap, &out->window);
}

void mp_gguf_reader_close(mp_gguf_reader *r)
{
    if (r->file && r->end > 0) {
        mp_file_drop_cache(r->file, 0, r->end);
    }
    mp_free(r->window);
    *r = (mp_gguf_reader){ 0 };
}

uint64_t mp_gguf_tell(const mp_gguf_reader *r) { return r->base + r->at; }
uint64_t mp_gguf_left(const mp_gguf_reader *r) { return r->file->bytes - mp_gguf_tell(r); }

void mp_gguf_seek(mp_gguf_reader *r, uint64_t place)
{
    if (place >= r->base && place - r->base <= r->have) {
        r->at = (size_t)(place - r->base);
    } else {
        r->base = place;
        r->have = r->at = 0;
    }
}

static mp_err check_left(const mp_gguf_reader *r, uint64_t n)
{
    if (n <= mp_gguf_left(r)) {
        return MP_OK;
    }
    return mp_fail(MP_E_MODEL, "the file ends inside %s: %llu bytes are needed at byte %llu and %llu are left; it is cut short or damaged, fetch it again",
                   r->what, (unsigned long long)n, (unsigned long long)mp_gguf_tell(r), (unsigned long long)mp_gguf_left(r));
}

/* Moves the window to the next unread byte and fills it as far as the file goes. */
static mp_err slide(mp_gguf_reader *r)
{
    uint64_t left = mp_gguf_left(r);
    r->base = mp_gguf_tell(r);
    r->at = r->have = 0;
    size_t n = left < r->cap ? (size_t)left : r->cap;
    mp_err err = mp_file_read(r->file, r->window, n, r->base);
    if (err == MP_OK) {
        r->have = n;
        r->end = r->base + n > r->end ? r->base + n : r->end;
    }
    return err;
}

mp_err mp_gguf_take(mp_gguf_reader *r, size_t n, const unsigned char **out)
{
    *out = NULL;
    if (r->have - r->at < n) {
        mp_err err = check_left(r, n);
        if (err == MP_OK) {
            err = slide(r);
        }
        if (err != MP_OK) {
            return err;
        }
    }
    *out = r->window + r->at;
    r->at += n;
    return MP_OK;
}

/* Byte by byte, so that the host's order does not matter; compilers make one load of it. */
mp_err mp_gguf_take_u32(mp_gguf_reader *r, uint32_t *out)
{
    const unsigned char *p;
    *out = 0;
    mp_err err = mp_gguf_take(r, 4, &p);
    for (int i = 0; err == MP_OK && i < 4; i++) {
        *out |= (uint32_t)p[i] << 8 * i;
    }
    return err;
}

mp_err mp_gguf_take_u64(mp_gguf_reader *r, uint64_t *out)
{
    const unsigned char *p;
    *out = 0;
    mp_err err = mp_gguf_take(r, 8, &p);
    for (int i = 0; err == MP_OK && i < 8; i++) {
        *out |= (uint64_t)p[i] << 8 * i;
    }
    return err;
}

mp_err mp_gguf_copy(mp_gguf_reader *r, void *dst, uint64_t n)
{
    unsigned char *to = dst;
    mp_err err = check_left(r, n);
    while (err == MP_OK && n > 0) {
        size_t part = r->have - r->at;
        if (part == 0) {
            err = slide(r);
            continue;
        }
        part = part < n ? part : (size_t)n;
        memcpy(to, r->window + r->at, part);
        r->at += part;
        to += part;
        n -= part;
    }
    return err;
}

mp_err mp_gguf_skip(mp_gguf_reader *r, uint64_t n)
{
    mp_err err = check_left(r, n);
    if (err == MP_OK) {
        mp_gguf_seek(r, mp_gguf_tell(r) + n);
    }
    return err;
}

struct mp_gguf_text_block {
    struct mp_gguf_text_block *before;
    size_t                     used, cap;
    char                       bytes[];
};

static mp_err text_room(mp_gguf_text *text, size_t n)
{
    struct mp_gguf_text_block *last = text->last, *fresh;
    if (last && last->cap - last->used >= n) {
        return MP_OK;
    }
    size_t cap = n > TEXT_BLOCK_BYTES ? n : TEXT_BLOCK_BYTES;
    mp_err err = mp_alloc(text->ledger, MP_OWN_TOKENIZER, sizeof *fresh + cap, (void **)&fresh);
    if (err == MP_OK) {
        *fresh = (struct mp_gguf_text_block){ .before = last, .cap = cap };
        text->last = fresh;
    }
    return err;
}

mp_err mp_gguf_text_read(mp_gguf_text *text, mp_gguf_reader *r, uint64_t n, mp_str *out)
{
    *out = (mp_str){ 0 };
    mp_err err = check_left(r, n); /* before memory is taken for it */
    if (err == MP_OK) {
        err = text_room(text, (size_t)n);
    }
    if (err == MP_OK) {
        err = mp_gguf_copy(r, text->last->bytes + text->last->used, n);
    }
    if (err == MP_OK) {
        *out = (mp_str){ text->last->bytes + text->last->used, (size_t)n };
        text->last->used += (size_t)n;
    }
    return err;
}

void mp_gguf_text_close(mp_gguf_text *text)
{
    while (text->last) {
        struct mp_gguf_text_block *before = text->last->before;
        mp_free(text->last);
        text->last = before;
    }
}
