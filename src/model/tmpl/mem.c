/* The arena of templates. A chunk is 16 KiB at first, 64 KiB later; what is larger gets a chunk of its own. */
#include "model/tmpl/mem.h"

#include <string.h>

enum { FIRST_CHUNK = 16 << 10, CHUNK = 64 << 10 };

typedef struct mp_tmem_chunk {
    struct mp_tmem_chunk *next;
    uint64_t              bytes;
    char                  data[];
} chunk;

void mp_tmem_init(mp_ledger *ledger, uint64_t limit_bytes, mp_tmem *out)
{
    *out = (mp_tmem){ .ledger = ledger, .limit_bytes = limit_bytes };
}

void mp_tmem_free(mp_tmem *mem)
{
    while (mem->chunks) {
        chunk *next = mem->chunks->next;
        mp_free(mem->chunks);
        mem->chunks = next;
    }
    mem->at = mem->end = NULL;
    mem->held_bytes = 0;
}

static mp_err add_chunk(mp_tmem *mem, size_t bytes)
{
    size_t want = mem->chunks ? CHUNK : FIRST_CHUNK;
    if (bytes > want / 2) want = bytes;
    chunk *c = NULL;
    if (bytes > mem->limit_bytes || mem->held_bytes + want > mem->limit_bytes)
        return mp_fail(MP_E_MODEL, "the chat template needs more than %llu bytes of memory, which is its limit",
                       (unsigned long long)mem->limit_bytes);
    mp_err err = mp_alloc(mem->ledger, MP_OWN_TOKENIZER, sizeof(chunk) + want, (void **)(void *)&c);
    if (err) return err;
    c->bytes = want;
    c->next = mem->chunks;
    mem->chunks = c;
    mem->held_bytes += want;
    mem->at = c->data;
    mem->end = c->data + want;
    return MP_OK;
}

static size_t padding(const mp_tmem *mem) { return (size_t)(-(uintptr_t)mem->at & 7); }

mp_err mp_tmem_push(mp_tmem *mem, size_t bytes, void **out)
{
    static char nothing[8];
    *out = nothing;
    if (bytes == 0) return MP_OK;
    *out = NULL;
    if (bytes > SIZE_MAX / 4) return mp_fail(MP_E_MODEL, "the chat template asks for %zu bytes at once", bytes);
    if (!mem->at || bytes + padding(mem) > (size_t)(mem->end - mem->at)) {
        mp_err err = add_chunk(mem, bytes + 8);
        if (err) return err;
    }
    mem->at += padding(mem);
    *out = mem->at;
    mem->at += bytes;
    return MP_OK;
}

mp_err mp_tmem_array(mp_tmem *mem, size_t n, size_t size, void **out)
{
    *out = NULL;
    if (size && n > SIZE_MAX / 4 / size) return mp_fail(MP_E_MODEL, "the chat template asks for %zu elements at once", n);
    return mp_tmem_push(mem, n * size, out);
}

mp_err mp_tmem_extend(mp_tmem *mem, const char *p, size_t n, size_t more, char **out)
{
    *out = NULL;
    if (more > SIZE_MAX / 4 || n > SIZE_MAX / 4) return mp_fail(MP_E_MODEL, "the chat template asks for %zu bytes at once", more);
    bool newest = p && mem->at && p + n == mem->at;
    if (newest && more <= (size_t)(mem->end - mem->at)) {
        *out = mem->at - n;
        mem->at += more;
        return MP_OK;
    }
    if (!mem->at || n + more > (size_t)(mem->end - mem->at)) {
        mp_err err = add_chunk(mem, n + more + n); /* with room to grow in place */
        if (err) return err;
    }
    *out = mem->at;
    if (n) memcpy(mem->at, p, n);
    mem->at += n + more;
    return MP_OK;
}

/* Makes room for n more bytes: at least doubled, so that adding is linear on average. */
static mp_err reserve(mp_tbuf *buf, size_t n)
{
    if (n <= buf->room - buf->n) return MP_OK;
    if (buf->limit_bytes && buf->n + n > buf->limit_bytes)
        return mp_fail(MP_E_MODEL, "the chat template writes more than %llu bytes, which is its limit",
                       (unsigned long long)buf->limit_bytes);
    size_t more = buf->room + 64 > n ? buf->room + 64 : n;
    mp_err err = mp_tmem_extend(buf->mem, buf->p, buf->room, more, &buf->p);
    if (err) {
        buf->n = buf->room = 0;
        return err;
    }
    buf->room += more;
    return MP_OK;
}

mp_err mp_tbuf_add(mp_tbuf *buf, const char *p, size_t n)
{
    mp_err err = reserve(buf, n);
    if (err) return err;
    if (n) memcpy(buf->p + buf->n, p, n);
    buf->n += n;
    return MP_OK;
}

mp_err mp_tbuf_text(mp_tbuf *buf, const char *zero_terminated) { return mp_tbuf_add(buf, zero_terminated, strlen(zero_terminated)); }

mp_err mp_tbuf_byte(mp_tbuf *buf, char byte) { return mp_tbuf_add(buf, &byte, 1); }

mp_err mp_tbuf_fill(mp_tbuf *buf, const char *p, size_t n, int64_t times)
{
    if (times <= 0 || n == 0) return MP_OK;
    if ((uint64_t)times > SIZE_MAX / 4 / n) return mp_fail(MP_E_MODEL, "the chat template repeats a text %lld times", (long long)times);
    mp_err err = reserve(buf, n * (size_t)times);
    if (err) return err;
    for (int64_t i = 0; i < times; i++) memcpy(buf->p + buf->n + (size_t)i * n, p, n);
    buf->n += n * (size_t)times;
    return MP_OK;
}
