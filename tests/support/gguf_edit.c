/* See gguf_edit.h. */
#include "support/gguf_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct key {
    char    *name;
    uint32_t type;
    uint8_t *value;
    size_t   bytes;
} key;

struct ge {
    key       *key;
    ge_tensor *tensor;
    int        keys, tensors, keys_cap, tensors_cap;
};

typedef struct cursor { const uint8_t *p, *end; } cursor;

static void die(const char *what, const char *name)
{
    fprintf(stderr, "gguf_edit: %s: %s\n", what, name);
    exit(2);
}

static void *need(void *p)
{
    if (!p)
        die("out of memory", "");
    return p;
}

static void *copy_of(const void *p, size_t n)
{
    uint8_t *out = need(calloc(1, n + 1));
    if (p)
        memcpy(out, p, n);
    return out;
}

/* ---- reading ---- */

static const uint8_t *take(cursor *c, uint64_t n)
{
    if (n > (uint64_t)(c->end - c->p))
        die("ends too soon", "");
    const uint8_t *p = c->p;
    c->p += n;
    return p;
}

static uint32_t take_u32(cursor *c)
{
    uint32_t v;
    memcpy(&v, take(c, 4), 4);
    return v;
}

static uint64_t take_u64(cursor *c)
{
    uint64_t v;
    memcpy(&v, take(c, 8), 8);
    return v;
}

static void skip_value(cursor *c, uint32_t type)
{
    static const uint8_t size[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    if (type == GW_STRING) {
        take(c, take_u64(c));
    } else if (type == GW_ARRAY) {
        uint32_t of = take_u32(c);
        for (uint64_t n = take_u64(c); n > 0; n--)
            skip_value(c, of);
    } else {
        take(c, size[type]);
    }
}

static key *new_key(ge *e)
{
    if (e->keys == e->keys_cap) {
        e->keys_cap = 2 * e->keys_cap + 32;
        e->key = need(realloc(e->key, (size_t)e->keys_cap * sizeof(*e->key)));
    }
    return &e->key[e->keys++];
}

static ge_tensor *new_tensor(ge *e)
{
    if (e->tensors == e->tensors_cap) {
        e->tensors_cap = 2 * e->tensors_cap + 32;
        e->tensor = need(realloc(e->tensor, (size_t)e->tensors_cap * sizeof(*e->tensor)));
    }
    e->tensor[e->tensors] = (ge_tensor){ .rank = 0 };
    return &e->tensor[e->tensors++];
}

static void read_key(ge *e, cursor *c)
{
    uint64_t n = take_u64(c);
    const void *name = take(c, n);
    uint32_t type = take_u32(c);
    const uint8_t *value = c->p;
    skip_value(c, type);
    *new_key(e) = (key){ copy_of(name, n), type, copy_of(value, (size_t)(c->p - value)), (size_t)(c->p - value) };
}

/* Returns the tensor's offset in the data. */
static uint64_t read_tensor(ge *e, cursor *c)
{
    ge_tensor *t = new_tensor(e);
    uint64_t n = take_u64(c);
    if (n >= sizeof(t->name))
        die("a tensor's name is too long", "");
    memcpy(t->name, take(c, n), n);
    t->rank = take_u32(c);
    for (uint32_t i = 0; i < t->rank; i++)
        t->ne[i] = take_u64(c);
    t->type = take_u32(c);
    t->bytes = gw_bytes_of(t->type, t->rank, t->ne);
    return take_u64(c);
}

static uint8_t *read_all(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END))
        die("cannot read", path);
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *p = need(malloc(*n + 1));
    if (fread(p, 1, *n, f) != *n)
        die("cannot read", path);
    fclose(f);
    return p;
}

ge *ge_read(const char *path)
{
    size_t n;
    uint8_t *file = read_all(path, &n);
    cursor c = { file, file + n };
    ge *e = need(calloc(1, sizeof(*e)));
    if (memcmp(take(&c, 4), "GGUF", 4) || take_u32(&c) != 3)
        die("not GGUF version 3", path);
    uint64_t tensors = take_u64(&c), keys = take_u64(&c);
    while (keys-- > 0)
        read_key(e, &c);
    uint64_t *offset = need(calloc(tensors + 1, sizeof(*offset)));
    for (uint64_t i = 0; i < tensors; i++)
        offset[i] = read_tensor(e, &c);
    c.p = file + (((size_t)(c.p - file) + 31) & ~(size_t)31); /* the scripts write no other alignment */
    for (uint64_t i = 0; i < tensors; i++) {
        cursor at = { c.p + offset[i], c.end };
        e->tensor[i].data = copy_of(take(&at, e->tensor[i].bytes), e->tensor[i].bytes);
    }
    free(offset);
    free(file);
    return e;
}

void ge_close(ge **e)
{
    for (int i = 0; i < (*e)->keys; i++) {
        free((*e)->key[i].name);
        free((*e)->key[i].value);
    }
    for (int i = 0; i < (*e)->tensors; i++)
        free((*e)->tensor[i].data);
    free((*e)->key);
    free((*e)->tensor);
    free(*e);
    *e = NULL;
}

/* ---- tensors ---- */

static int index_of(const ge *e, const char *name)
{
    for (int i = 0; i < e->tensors; i++)
        if (!strcmp(e->tensor[i].name, name))
            return i;
    return -1;
}

int ge_tensors(const ge *e)
{
    return e->tensors;
}

ge_tensor *ge_at(ge *e, int i)
{
    return &e->tensor[i];
}

bool ge_has(const ge *e, const char *name)
{
    return index_of(e, name) >= 0;
}

ge_tensor *ge_find(ge *e, const char *name)
{
    int i = index_of(e, name);
    if (i < 0)
        die("no such tensor", name);
    return &e->tensor[i];
}

ge_tensor *ge_add_tensor(ge *e, const char *name, uint32_t type, uint32_t rank, const uint64_t *ne, const void *data)
{
    ge_tensor *t = new_tensor(e);
    snprintf(t->name, sizeof(t->name), "%s", name);
    t->type = type;
    t->rank = rank;
    memcpy(t->ne, ne, rank * sizeof(*ne));
    t->bytes = gw_bytes_of(type, rank, ne);
    t->data = copy_of(data, t->bytes);
    return t;
}

void ge_drop_tensor(ge *e, const char *name)
{
    int i = index_of(e, name);
    if (i < 0)
        die("no such tensor", name);
    free(e->tensor[i].data);
    e->tensors--;
    memmove(e->tensor + i, e->tensor + i + 1, (size_t)(e->tensors - i) * sizeof(*e->tensor));
}

/* ---- keys ---- */

void ge_set_raw(ge *e, const char *name, uint32_t type, const void *value, size_t bytes)
{
    key *k = NULL;
    for (int i = 0; i < e->keys && !k; i++)
        if (!strcmp(e->key[i].name, name))
            k = &e->key[i];
    if (k)
        free(k->value);
    else
        *(k = new_key(e)) = (key){ .name = copy_of(name, strlen(name)) };
    k->type = type;
    k->value = copy_of(value, bytes);
    k->bytes = bytes;
}

void ge_set_u32(ge *e, const char *name, uint32_t v) { ge_set_raw(e, name, GW_U32, &v, sizeof(v)); }
void ge_set_i32(ge *e, const char *name, int32_t v) { ge_set_raw(e, name, GW_I32, &v, sizeof(v)); }
void ge_set_f32(ge *e, const char *name, float v) { ge_set_raw(e, name, GW_F32, &v, sizeof(v)); }

void ge_set_str(ge *e, const char *name, const char *v)
{
    uint64_t n = strlen(v);
    uint8_t *value = need(malloc(n + 8));
    memcpy(value, &n, 8);
    memcpy(value + 8, v, n);
    ge_set_raw(e, name, GW_STRING, value, n + 8);
    free(value);
}

void ge_drop_keys(ge *e, const char *prefix)
{
    int kept = 0;
    for (int i = 0; i < e->keys; i++) {
        if (strncmp(e->key[i].name, prefix, strlen(prefix))) {
            e->key[kept++] = e->key[i];
        } else {
            free(e->key[i].name);
            free(e->key[i].value);
        }
    }
    if (kept == e->keys)
        die("no such key", prefix);
    e->keys = kept;
}

bool ge_has_key(const ge *e, const char *name)
{
    for (int i = 0; i < e->keys; i++)
        if (!strcmp(e->key[i].name, name))
            return true;
    return false;
}

/* ---- writing ---- */

gw *ge_writer_aligned(const ge *e, uint32_t alignment)
{
    gw *w = gw_open();
    if (alignment)
        gw_alignment(w, alignment);
    for (int i = 0; i < e->keys; i++)
        gw_raw(w, e->key[i].name, strlen(e->key[i].name), e->key[i].type, e->key[i].value, e->key[i].bytes);
    for (int i = 0; i < e->tensors; i++) {
        const ge_tensor *t = &e->tensor[i];
        gw_tensor_raw(w, t->name, t->type, t->rank, t->ne, t->data, t->bytes);
    }
    return w;
}

gw *ge_writer(const ge *e)
{
    return ge_writer_aligned(e, 0);
}

void ge_save(const ge *e, const char *path)
{
    gw *w = ge_writer(e);
    gw_save(w, path);
    gw_close(&w);
}
