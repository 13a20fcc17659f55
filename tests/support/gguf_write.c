/* See gguf_write.h. Plain malloc on purpose: the library's allocator is among what the tests break. */
#include "support/gguf_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bytes {
    uint8_t *p;
    size_t   n, cap;
} bytes;

typedef struct tensor {
    char    *name;
    uint32_t type, rank;
    uint64_t ne[8]; /* more than the legal 4, for tests of 5 */
    bytes    data;
    bool     moved; /* offset says something else than where the data lies */
    uint64_t offset;
} tensor;

struct gw {
    uint32_t version, alignment;
    char     magic[4];
    bool     lie_tensors, lie_keys;
    uint64_t claim_tensors, claim_keys;
    bytes    kv;
    uint64_t keys;
    tensor  *tensor;
    int      tensors, cap;
};

static void *need(void *p)
{
    if (!p) {
        fputs("gguf_write: out of memory\n", stderr);
        exit(2);
    }
    return p;
}

static void put(bytes *b, const void *p, size_t n)
{
    if (b->n + n > b->cap) {
        b->cap = 2 * (b->n + n) + 256;
        b->p = need(realloc(b->p, b->cap));
    }
    if (n > 0) {
        memcpy(b->p + b->n, p, n);
    }
    b->n += n;
}

static void put_u32(bytes *b, uint32_t v) { put(b, &v, 4); }
static void put_u64(bytes *b, uint64_t v) { put(b, &v, 8); }

static void put_text(bytes *b, const char *s)
{
    put_u64(b, strlen(s));
    put(b, s, strlen(s));
}

static void pad_to(bytes *b, uint64_t alignment)
{
    static const uint8_t zero;
    while (b->n % alignment != 0) {
        put(b, &zero, 1);
    }
}

gw *gw_open(void)
{
    gw *w = need(calloc(1, sizeof *w));
    w->version = 3;
    w->alignment = 32;
    memcpy(w->magic, "GGUF", 4);
    return w;
}

void gw_close(gw **w)
{
    if (*w) {
        for (int i = 0; i < (*w)->tensors; i++) {
            free((*w)->tensor[i].name);
            free((*w)->tensor[i].data.p);
        }
        free((*w)->tensor);
        free((*w)->kv.p);
        free(*w);
        *w = NULL;
    }
}

void gw_raw(gw *w, const void *key, size_t key_bytes, uint32_t type, const void *value, size_t value_bytes)
{
    put_u64(&w->kv, key_bytes);
    put(&w->kv, key, key_bytes);
    put_u32(&w->kv, type);
    put(&w->kv, value, value_bytes);
    w->keys++;
}

void gw_u8(gw *w, const char *key, uint8_t v) { gw_raw(w, key, strlen(key), GW_U8, &v, sizeof v); }
void gw_i8(gw *w, const char *key, int8_t v) { gw_raw(w, key, strlen(key), GW_I8, &v, sizeof v); }
void gw_u16(gw *w, const char *key, uint16_t v) { gw_raw(w, key, strlen(key), GW_U16, &v, sizeof v); }
void gw_i16(gw *w, const char *key, int16_t v) { gw_raw(w, key, strlen(key), GW_I16, &v, sizeof v); }
void gw_u32(gw *w, const char *key, uint32_t v) { gw_raw(w, key, strlen(key), GW_U32, &v, sizeof v); }
void gw_i32(gw *w, const char *key, int32_t v) { gw_raw(w, key, strlen(key), GW_I32, &v, sizeof v); }
void gw_u64(gw *w, const char *key, uint64_t v) { gw_raw(w, key, strlen(key), GW_U64, &v, sizeof v); }
void gw_i64(gw *w, const char *key, int64_t v) { gw_raw(w, key, strlen(key), GW_I64, &v, sizeof v); }
void gw_f32(gw *w, const char *key, float v) { gw_raw(w, key, strlen(key), GW_F32, &v, sizeof v); }
void gw_f64(gw *w, const char *key, double v) { gw_raw(w, key, strlen(key), GW_F64, &v, sizeof v); }

void gw_bool(gw *w, const char *key, bool v)
{
    uint8_t byte = v;
    gw_raw(w, key, strlen(key), GW_BOOL, &byte, 1);
}

static void raw_bytes(gw *w, const char *key, uint32_t type, bytes *value)
{
    gw_raw(w, key, strlen(key), type, value->p, value->n);
    free(value->p);
}

void gw_str(gw *w, const char *key, const char *v)
{
    bytes value = { 0 };
    put_text(&value, v);
    raw_bytes(w, key, GW_STRING, &value);
}

void gw_array(gw *w, const char *key, uint32_t type, const void *elements, uint64_t n)
{
    static const size_t size[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    bytes value = { 0 };
    put_u32(&value, type);
    put_u64(&value, n);
    put(&value, elements, n * size[type]);
    raw_bytes(w, key, GW_ARRAY, &value);
}

void gw_array_str(gw *w, const char *key, const char *const *strings, uint64_t n)
{
    bytes value = { 0 };
    put_u32(&value, GW_STRING);
    put_u64(&value, n);
    for (uint64_t i = 0; i < n; i++) {
        put_text(&value, strings[i]);
    }
    raw_bytes(w, key, GW_ARRAY, &value);
}

void gw_array_numbered(gw *w, const char *key, const char *prefix, uint64_t n)
{
    bytes value = { 0 };
    put_u32(&value, GW_STRING);
    put_u64(&value, n);
    for (uint64_t i = 0; i < n; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s%llu", prefix, (unsigned long long)i);
        put_text(&value, text);
    }
    raw_bytes(w, key, GW_ARRAY, &value);
}

uint64_t gw_bytes_of(uint32_t type, uint32_t rank, const uint64_t *ne)
{
    static const struct { uint64_t len, bytes; } block[] = {
        [0] = { 1, 4 }, [1] = { 1, 2 }, [30] = { 1, 2 }, [2] = { 32, 18 }, [3] = { 32, 20 }, [6] = { 32, 22 }, [7] = { 32, 24 }, [8] = { 32, 34 },
        [10] = { 256, 84 }, [11] = { 256, 110 }, [12] = { 256, 144 }, [13] = { 256, 176 }, [14] = { 256, 210 }, [20] = { 32, 18 },
        [23] = { 256, 136 }, [26] = { 1, 4 }, [34] = { 256, 54 }, [35] = { 256, 66 }, [39] = { 32, 17 },
    };
    if (type >= sizeof block / sizeof *block || block[type].len == 0) {
        return 0;
    }
    uint64_t n = 1;
    for (uint32_t i = 0; i < rank; i++) {
        n *= ne[i];
    }
    return n / block[type].len * block[type].bytes;
}

void gw_tensor_raw(gw *w, const char *name, uint32_t type, uint32_t rank, const uint64_t *ne, const void *data, uint64_t data_bytes)
{
    if (w->tensors == w->cap) {
        w->cap = 2 * w->cap + 16;
        w->tensor = need(realloc(w->tensor, (size_t)w->cap * sizeof *w->tensor));
    }
    tensor *t = &w->tensor[w->tensors++];
    *t = (tensor){ .name = need(strdup(name)), .type = type, .rank = rank };
    memcpy(t->ne, ne, (rank < 8 ? rank : 8) * sizeof *ne);
    if (data) {
        put(&t->data, data, data_bytes);
        return;
    }
    uint8_t first = (uint8_t)(w->tensors * 29 + name[0]);
    for (uint64_t i = 0; i < data_bytes; i++) {
        uint8_t byte = (uint8_t)(first + 7 * i);
        put(&t->data, &byte, 1);
    }
}

void gw_tensor(gw *w, const char *name, uint32_t type, uint32_t rank, const uint64_t *ne, const void *data)
{
    gw_tensor_raw(w, name, type, rank, ne, data, gw_bytes_of(type, rank, ne));
}

void gw_tensor_f32(gw *w, const char *name, uint32_t rank, const uint64_t *ne, const float *data)
{
    gw_tensor(w, name, 0, rank, ne, data);
}

void gw_version(gw *w, uint32_t version) { w->version = version; }
void gw_magic(gw *w, const char magic[4]) { memcpy(w->magic, magic, 4); }
void gw_layout_alignment(gw *w, uint32_t alignment) { w->alignment = alignment; }

void gw_alignment(gw *w, uint32_t alignment)
{
    w->alignment = alignment;
    gw_u32(w, "general.alignment", alignment);
}

void gw_claim_tensors(gw *w, uint64_t n)
{
    w->lie_tensors = true;
    w->claim_tensors = n;
}

void gw_claim_keys(gw *w, uint64_t n)
{
    w->lie_keys = true;
    w->claim_keys = n;
}

void gw_set_offset(gw *w, int i, uint64_t offset)
{
    w->tensor[i].moved = true;
    w->tensor[i].offset = offset;
}

static void put_infos(const gw *w, bytes *out, int first, int last)
{
    uint64_t offset = 0;
    for (int i = first; i < last; i++) {
        const tensor *t = &w->tensor[i];
        put_text(out, t->name);
        put_u32(out, t->rank);
        for (uint32_t d = 0; d < t->rank && d < 8; d++) {
            put_u64(out, t->ne[d]);
        }
        put_u32(out, t->type);
        put_u64(out, t->moved ? t->offset : offset);
        offset = (offset + t->data.n + w->alignment - 1) / w->alignment * w->alignment;
    }
}

/* One file of tensors [first, last) behind the given metadata. */
static bytes build(const gw *w, const bytes *kv, uint64_t keys, int first, int last, size_t *header_bytes)
{
    bytes out = { 0 };
    put(&out, w->magic, 4);
    put_u32(&out, w->version);
    put_u64(&out, w->lie_tensors ? w->claim_tensors : (uint64_t)(last - first));
    put_u64(&out, w->lie_keys ? w->claim_keys : keys);
    put(&out, kv->p, kv->n);
    put_infos(w, &out, first, last);
    if (header_bytes) {
        *header_bytes = out.n;
    }
    for (int i = first; i < last; i++) {
        pad_to(&out, w->alignment);
        put(&out, w->tensor[i].data.p, w->tensor[i].data.n);
    }
    return out;
}

uint8_t *gw_build(const gw *w, size_t *n, size_t *header_bytes)
{
    bytes out = build(w, &w->kv, w->keys, 0, w->tensors, header_bytes);
    *n = out.n;
    return out.p;
}

void gw_write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0) {
        fprintf(stderr, "gguf_write: cannot write %s\n", path);
        exit(2);
    }
}

void gw_save(const gw *w, const char *path)
{
    size_t   n;
    uint8_t *p = gw_build(w, &n, NULL);
    gw_write_file(path, p, n);
    free(p);
}

void gw_save_split(const gw *w, const char *stem, int parts)
{
    for (int i = 0; i < parts; i++) {
        gw  *keys = gw_open(); /* this part's metadata */
        char path[4096];
        if (i == 0) {
            put(&keys->kv, w->kv.p, w->kv.n);
            keys->keys = w->keys;
        } else if (w->alignment != 32) {
            gw_u32(keys, "general.alignment", w->alignment);
        }
        gw_u16(keys, "split.no", (uint16_t)i);
        gw_u16(keys, "split.count", (uint16_t)parts);
        gw_i32(keys, "split.tensors.count", w->tensors);
        bytes out = build(w, &keys->kv, keys->keys, w->tensors * i / parts, w->tensors * (i + 1) / parts, NULL);
        snprintf(path, sizeof path, "%s-%05d-of-%05d.gguf", stem, i + 1, parts);
        gw_write_file(path, out.p, out.n);
        free(out.p);
        gw_close(&keys);
    }
}

size_t gw_find(const uint8_t *haystack, size_t n, const void *needle, size_t needle_bytes)
{
    for (size_t i = 0; i + needle_bytes <= n; i++) {
        if (memcmp(haystack + i, needle, needle_bytes) == 0) {
            return i;
        }
    }
    return (size_t)-1;
}
