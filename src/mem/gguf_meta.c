/* Reads the metadata of one GGUF file into a table.
 * Invariants: memory is taken only for bytes that are known to be in the file; an array of strings is one blob and one table of offsets
 * (a vocabulary of 150K tokens and 280K merges is two allocations each, not 430K). */
#include "mem/gguf_int.h"

#include <stdio.h>
#include <string.h>

enum { KEYS_MOST = 1 << 16, KEY_BYTES_MOST = 65535 };
static const uint64_t value_bytes_most = 1u << 30; /* of one value; the largest known vocabulary takes about 10 MB */

int mp_gguf_number_bytes(uint32_t type)
{
    static const int bytes[MP_GGUF_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return type < MP_GGUF_TYPES ? bytes[type] : 0;
}

static mp_err too_large(uint64_t n, const char *unit)
{
    return mp_fail(MP_E_MODEL, "has %llu %s, more than moped takes (%llu bytes); the file is damaged or not meant for moped",
                   (unsigned long long)n, unit, (unsigned long long)value_bytes_most);
}

/* First of two passes over an array of strings: how many bytes they have together. The second pass reads the same bytes again (out of
 * the page cache), which costs less than growing a blob and keeps the peak at the final size. */
static mp_err measure_strings(mp_gguf_reader *r, int64_t n, uint64_t *total)
{
    mp_err err = MP_OK;
    *total = 0;
    for (int64_t i = 0; err == MP_OK && i < n; i++) {
        uint64_t len;
        err = mp_gguf_take_u64(r, &len);
        if (err == MP_OK) {
            err = mp_gguf_skip(r, len);
        }
        *total += err == MP_OK ? len : 0; /* at most the file's size, so no overflow */
    }
    return err != MP_OK || *total <= value_bytes_most ? err : too_large(*total, "bytes of strings");
}

static mp_err read_strings(mp_ledger *ledger, mp_gguf_reader *r, mp_gguf_items *items)
{
    uint64_t start = mp_gguf_tell(r), total;
    mp_err   err = measure_strings(r, items->n, &total);
    if (err == MP_OK) {
        err = MP_NEW(ledger, MP_OWN_TOKENIZER, unsigned char, (size_t)total, &items->bytes);
    }
    if (err == MP_OK) {
        err = MP_NEW(ledger, MP_OWN_TOKENIZER, uint32_t, (size_t)items->n + 1, &items->offset);
    }
    mp_gguf_seek(r, start);
    uint64_t at = 0;
    for (int64_t i = 0; err == MP_OK && i < items->n; i++) {
        uint64_t len;
        err = mp_gguf_take_u64(r, &len);
        if (err == MP_OK && len > total - at) {
            err = mp_fail(MP_E_FAILED, "the file changed while it was read");
        }
        if (err == MP_OK) {
            err = mp_gguf_copy(r, items->bytes + at, len);
        }
        at += err == MP_OK ? len : 0;
        items->offset[i + 1] = (uint32_t)at;
    }
    return err;
}

static mp_err read_array(mp_ledger *ledger, mp_gguf_reader *r, mp_gguf_items *items)
{
    uint64_t n;
    mp_err   err = mp_gguf_take_u32(r, &items->type);
    if (err == MP_OK) {
        err = mp_gguf_take_u64(r, &n);
    }
    if (err != MP_OK) {
        return err;
    }
    if (items->type == MP_GGUF_ARRAY) {
        return mp_fail(MP_E_MODEL, "is an array of arrays, which no known model needs and moped does not read");
    }
    if (items->type >= MP_GGUF_TYPES) {
        return mp_fail(MP_E_MODEL, "is an array of elements of unknown type %u", (unsigned)items->type);
    }
    uint64_t size = items->type == MP_GGUF_STRING ? 8 : (uint64_t)mp_gguf_number_bytes(items->type); /* the least that one takes in the file */
    if (n > mp_gguf_left(r) / size) {
        return mp_fail(MP_E_MODEL, "claims %llu array elements of at least %llu bytes, and the file has %llu bytes left; it is cut short or damaged",
                       (unsigned long long)n, (unsigned long long)size, (unsigned long long)mp_gguf_left(r));
    }
    if (n > value_bytes_most / size) {
        return too_large(n, "array elements");
    }
    items->n = (int64_t)n;
    if (items->type == MP_GGUF_STRING) {
        return read_strings(ledger, r, items);
    }
    err = MP_NEW(ledger, MP_OWN_TOKENIZER, unsigned char, (size_t)(n * size), &items->bytes);
    return err != MP_OK ? err : mp_gguf_copy(r, items->bytes, n * size);
}

static mp_err read_text(mp_gguf_meta *meta, mp_gguf_reader *r, mp_str *out)
{
    uint64_t n;
    mp_err   err = mp_gguf_take_u64(r, &n);
    if (err == MP_OK && n <= mp_gguf_left(r) && n > value_bytes_most) {
        err = too_large(n, "bytes of text");
    }
    return err != MP_OK ? err : mp_gguf_text_read(&meta->text, r, n, out);
}

static mp_err read_value(mp_gguf_meta *meta, mp_gguf_reader *r, mp_gguf_kv *kv)
{
    const unsigned char *p;
    uint32_t             type;
    mp_err               err = mp_gguf_take_u32(r, &type);
    if (err != MP_OK) {
        return err;
    }
    if (type >= MP_GGUF_TYPES) {
        return mp_fail(MP_E_MODEL, "has a value of unknown type %u (0 to %d are known); the file is damaged or newer than moped", (unsigned)type, MP_GGUF_TYPES - 1);
    }
    kv->type = type;
    if (type == MP_GGUF_STRING) {
        return read_text(meta, r, &kv->value.text);
    }
    if (type == MP_GGUF_ARRAY) {
        return read_array(meta->ledger, r, &kv->value.items);
    }
    size_t n = (size_t)mp_gguf_number_bytes(type);
    err = mp_gguf_take(r, n, &p);
    if (err == MP_OK) {
        memcpy(kv->value.raw, p, n);
    }
    return err;
}

static mp_err read_key(mp_gguf_meta *meta, mp_gguf_reader *r, int64_t i, mp_str *out)
{
    uint64_t n;
    mp_err   err = mp_gguf_take_u64(r, &n);
    if (err == MP_OK && n == 0) {
        err = mp_fail(MP_E_MODEL, "metadata key %lld is empty; the file is damaged", (long long)i);
    }
    if (err == MP_OK && n > KEY_BYTES_MOST) {
        err = mp_fail(MP_E_MODEL, "metadata key %lld claims %llu bytes (at most %d are allowed); the file is damaged", (long long)i, (unsigned long long)n, KEY_BYTES_MOST);
    }
    return err != MP_OK ? err : mp_gguf_text_read(&meta->text, r, n, out);
}

static mp_err read_kv(mp_gguf_meta *meta, mp_gguf_reader *r, int64_t i)
{
    char        shown[MP_GGUF_SHOWN], where[MP_GGUF_SHOWN + 32];
    mp_gguf_kv *kv = &meta->kv[i];
    r->what = "the keys of the metadata";
    mp_err err = read_key(meta, r, i, &kv->key);
    if (err != MP_OK) {
        return err;
    }
    meta->n = i + 1; /* from here on close frees the value, also a half-read one */
    r->what = "its value";
    err = read_value(meta, r, kv);
    r->what = "the metadata";
    if (err != MP_OK) {
        snprintf(where, sizeof where, "metadata key %s", mp_gguf_shown(kv->key, shown));
        return mp_fail_in(err, where);
    }
    return MP_OK;
}

mp_err mp_gguf_meta_read(mp_ledger *ledger, mp_gguf_reader *r, uint64_t n, mp_gguf_meta *out)
{
    char    shown[MP_GGUF_SHOWN];
    int64_t twin = -1;
    *out = (mp_gguf_meta){ .ledger = ledger, .text.ledger = ledger };
    if (n > KEYS_MOST || n > mp_gguf_left(r) / 13) { /* the shortest: length 8, key 1, type 4 and an empty remainder */
        return mp_fail(MP_E_MODEL, "claims %llu metadata keys, more than a file of %llu bytes can have or than moped takes (%d); the file is damaged",
                       (unsigned long long)n, (unsigned long long)r->file->bytes, KEYS_MOST);
    }
    mp_err err = MP_NEW(ledger, MP_OWN_TOKENIZER, mp_gguf_kv, (size_t)n, &out->kv);
    for (int64_t i = 0; err == MP_OK && i < (int64_t)n; i++) {
        err = read_kv(out, r, i);
    }
    if (err == MP_OK) {
        err = mp_gguf_names_open(ledger, out->kv, sizeof *out->kv, out->n, &out->names, &twin);
    }
    if (err == MP_OK && twin >= 0) {
        err = mp_fail(MP_E_MODEL, "metadata key %s is there twice, so what it means is not certain; the file is damaged", mp_gguf_shown(out->kv[twin].key, shown));
    }
    if (err != MP_OK) {
        mp_gguf_meta_close(out);
    }
    return err;
}

void mp_gguf_meta_close(mp_gguf_meta *meta)
{
    for (int64_t i = 0; i < meta->n; i++) {
        if (meta->kv[i].type == MP_GGUF_ARRAY) {
            mp_free(meta->kv[i].value.items.bytes);
            mp_free(meta->kv[i].value.items.offset);
        }
    }
    mp_free(meta->kv);
    mp_gguf_names_close(&meta->names);
    mp_gguf_text_close(&meta->text);
    *meta = (mp_gguf_meta){ 0 };
}

const mp_gguf_kv *mp_gguf_meta_find(const mp_gguf_meta *meta, const char *key)
{
    int64_t i = mp_gguf_names_find(&meta->names, key, strlen(key));
    return i < 0 ? NULL : &meta->kv[i];
}
