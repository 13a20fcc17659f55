/* The index of names: open addressing, at most half full, FNV-1a. Built once when the items are complete; finding touches about one slot. */
#include "mem/gguf_int.h"

#include <string.h>

static uint32_t hash(const char *s, size_t n)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)s[i]) * 1099511628211u;
    }
    return (uint32_t)(h ^ h >> 32);
}

static mp_str name_at(const mp_gguf_names *names, uint32_t i)
{
    mp_str s;
    memcpy(&s, (const char *)names->items + i * names->stride, sizeof s);
    return s;
}

/* The slot where the name is, or the free one where it belongs. */
static uint32_t *probe(const mp_gguf_names *names, const char *s, size_t n)
{
    for (uint32_t i = hash(s, n) & names->mask;; i = (i + 1) & names->mask) {
        uint32_t *slot = &names->slot[i];
        if (*slot == 0) {
            return slot;
        }
        mp_str name = name_at(names, *slot - 1);
        if (name.n == n && memcmp(name.s, s, n) == 0) {
            return slot;
        }
    }
}

mp_err mp_gguf_names_open(mp_ledger *ledger, const void *items, size_t stride, int64_t n, mp_gguf_names *out, int64_t *twin)
{
    uint32_t slots = 2;
    while (slots < 2 * (uint64_t)n) {
        slots *= 2; /* n is at most 2^20, so this cannot wrap */
    }
    *twin = -1;
    *out = (mp_gguf_names){ .items = items, .stride = stride, .mask = slots - 1 };
    mp_err err = MP_NEW(ledger, MP_OWN_TOKENIZER, uint32_t, slots, &out->slot);
    for (int64_t i = 0; err == MP_OK && i < n && *twin < 0; i++) {
        mp_str    name = name_at(out, (uint32_t)i);
        uint32_t *slot = probe(out, name.s, name.n);
        if (*slot != 0) {
            *twin = i;
        } else {
            *slot = (uint32_t)i + 1;
        }
    }
    return err;
}

void mp_gguf_names_close(mp_gguf_names *names)
{
    mp_free(names->slot);
    *names = (mp_gguf_names){ 0 };
}

int64_t mp_gguf_names_find(const mp_gguf_names *names, const char *s, size_t n)
{
    return names->slot ? (int64_t)*probe(names, s, n) - 1 : -1;
}
