/* Opens a GGUF model: one file, or the parts of a split one. The first part's metadata is the model's; the tensors of all parts make one directory.
 * Invariants: only headers are read, through one window at a time; every part is the one its name and its split.* keys say. */
#include "mem/gguf_int.h"

#include <stdio.h>
#include <string.h>

enum { TAIL_BYTES = 20 }; /* of "-00001-of-00003.gguf" */

typedef struct part_name { /* what a file's name says about parts; of = 1 when it says nothing */
    size_t stem; /* bytes before "-00001-of-..." */
    int    no;   /* from 1 */
    int    of;
} part_name;

static int five_digits(const char *s)
{
    int v = 0;
    for (int i = 0; i < 5; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return -1;
        }
        v = v * 10 + (s[i] - '0');
    }
    return v;
}

static part_name name_parts(const char *path)
{
    size_t      n = strlen(path);
    part_name   whole = { .stem = n, .no = 1, .of = 1 };
    const char *tail = path + n - TAIL_BYTES;
    if (n < TAIL_BYTES || tail[0] != '-' || memcmp(tail + 6, "-of-", 4) != 0 || strcmp(tail + 15, ".gguf") != 0) {
        return whole;
    }
    part_name p = { .stem = n - TAIL_BYTES, .no = five_digits(tail + 1), .of = five_digits(tail + 10) };
    return p.no >= 1 && p.no <= p.of ? p : whole;
}

/* The path of part no (from 1) beside the given one; a copy of path when its name says nothing about parts. */
static mp_err part_path(mp_ledger *ledger, const char *path, part_name name, int no, char **out)
{
    size_t bytes = strlen(path) + 1;
    mp_err err = MP_NEW(ledger, MP_OWN_TOKENIZER, char, bytes, out);
    if (err != MP_OK) {
        return err;
    }
    memcpy(*out, path, bytes);
    if (name.stem + 1 < bytes) {
        char tail[32];
        snprintf(tail, sizeof tail, "-%05d-of-%05d.gguf", no, name.of);
        memcpy(*out + name.stem, tail, TAIL_BYTES);
    }
    return MP_OK;
}

static mp_err check_magic(const unsigned char *magic)
{
    static const char *const old[] = { "lmgg", "tjgg", "fmgg", "algg" }; /* GGML, GGJT, GGMF, GGLA of before August 2023 */
    if (memcmp(magic, "GGUF", 4) == 0) {
        return MP_OK;
    }
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
        if (memcmp(magic, old[i], 4) == 0) {
            return mp_fail(MP_E_MODEL, "is an old GGML file, from before GGUF, which moped does not read; take a GGUF version of the model");
        }
    }
    return mp_fail(MP_E_MODEL, "is not a GGUF file: it begins with the bytes %02x %02x %02x %02x, not with \"GGUF\"", magic[0], magic[1], magic[2], magic[3]);
}

static mp_err check_version(uint32_t version)
{
    if (version == 2 || version == 3) {
        return MP_OK;
    }
    if (version == 1) {
        return mp_fail(MP_E_MODEL, "is GGUF version 1, which moped does not read (2 and 3 it does); take a newer conversion of the model");
    }
    if (version != 0 && (version & 0xffff) == 0) {
        return mp_fail(MP_E_MODEL, "is a GGUF file of the other byte order (big-endian), which moped does not read; take the little-endian file");
    }
    return mp_fail(MP_E_MODEL, "is GGUF version %u, which moped does not know (2 and 3 it does)", (unsigned)version);
}

static mp_err read_header(mp_gguf_reader *r, uint64_t *tensors, uint64_t *keys)
{
    const unsigned char *magic;
    uint32_t             version = 0;
    *tensors = *keys = 0;
    if (r->file->bytes == 0) {
        return mp_fail(MP_E_MODEL, "is empty, so it is no GGUF model; fetch it again");
    }
    mp_err err = mp_gguf_take(r, 4, &magic);
    if (err == MP_OK) {
        err = check_magic(magic);
    }
    if (err == MP_OK) {
        err = mp_gguf_take_u32(r, &version);
    }
    if (err == MP_OK) {
        err = check_version(version);
    }
    if (err == MP_OK) {
        err = mp_gguf_take_u64(r, tensors);
    }
    return err != MP_OK ? err : mp_gguf_take_u64(r, keys);
}

static mp_err read_alignment(const mp_gguf_meta *meta, uint64_t *out)
{
    uint64_t v = 32;
    *out = v;
    if (!mp_gguf_meta_find(meta, "general.alignment")) {
        return MP_OK;
    }
    if (!mp_gguf_meta_u64(meta, "general.alignment", &v)) {
        return mp_fail(MP_E_MODEL, "general.alignment is not a natural number; the file is damaged");
    }
    if (v == 0 || (v & (v - 1)) != 0 || v > UINT32_MAX) {
        return mp_fail(MP_E_MODEL, "general.alignment is %llu, which is no power of two; the file is damaged", (unsigned long long)v);
    }
    *out = v;
    return MP_OK;
}

/* Part i (from 0) must say that it is part i of `parts`; a part that says nothing is a whole model. */
static mp_err check_split(const mp_gguf_meta *meta, uint64_t i, uint64_t parts)
{
    uint64_t no = 0, count = 1;
    mp_gguf_meta_u64(meta, "split.no", &no);
    mp_gguf_meta_u64(meta, "split.count", &count);
    count = count == 0 ? 1 : count;
    if (no == i && count == parts) {
        return MP_OK;
    }
    return mp_fail(MP_E_MODEL, "says that it is part %llu of %llu, but by its name and its first part it is %llu of %llu; the parts need their own names "
                   "(...-00001-of-0000N.gguf), all of one model", (unsigned long long)no + 1, (unsigned long long)count, (unsigned long long)i + 1, (unsigned long long)parts);
}

/* Reads the header of part i, whose file is open, into meta and the directory. */
static mp_err read_part(mp_gguf *g, int i, uint64_t parts, mp_gguf_meta *meta)
{
    mp_gguf_reader r;
    uint64_t       tensors, keys, alignment;
    mp_err         err = mp_gguf_reader_open(g->ledger, &g->shard[i].file, &r);
    if (err == MP_OK) {
        err = read_header(&r, &tensors, &keys);
    }
    if (err == MP_OK) {
        err = mp_gguf_meta_read(g->ledger, &r, keys, meta);
    }
    if (err == MP_OK) {
        err = check_split(meta, (uint64_t)i, parts);
    }
    if (err == MP_OK) {
        err = read_alignment(meta, &alignment);
    }
    if (err == MP_OK) {
        err = mp_gguf_tensors_read(g, i, &r, tensors, alignment);
    }
    mp_gguf_reader_close(&r);
    return err;
}

/* Says which part it is, in front of why it cannot be opened. */
static mp_err missing_part(int no, int of)
{
    char where[96];
    snprintf(where, sizeof where, "part %d of the %d that this model is split into (all must lie in one folder)", no, of);
    return mp_fail_in(MP_E_MODEL, where);
}

/* Opens and reads part i (from 0) of the model that path is a part of. What it leaves half-done on error, mp_gguf_close undoes. */
static mp_err open_part(mp_gguf *g, const char *path, part_name name, int i)
{
    mp_gguf_meta   own = { 0 }; /* later parts have only split.* keys, which are not kept */
    mp_gguf_shard *shard = &g->shard[i];
    mp_err         err = part_path(g->ledger, path, name, i + 1, &shard->path);
    if (err != MP_OK) {
        return err;
    }
    g->n_shards = i + 1;
    err = mp_file_open(shard->path, true, &shard->file);
    if (err != MP_OK) {
        shard->file.fd = shard->file.direct_fd = -1;
        return strcmp(shard->path, path) == 0 ? MP_E_USAGE : missing_part(i + 1, name.of);
    }
    err = read_part(g, i, (uint64_t)name.of, i == 0 ? &g->meta : &own);
    mp_gguf_meta_close(&own);
    return err != MP_OK ? mp_fail_in(err, shard->path) : MP_OK;
}

/* What only the whole can tell: as many tensors as the first part says, all of different names. */
static mp_err check_whole(mp_gguf *g)
{
    char     shown[MP_GGUF_SHOWN];
    int64_t  twin = -1;
    uint64_t said = (uint64_t)g->n_tensors;
    mp_gguf_meta_u64(&g->meta, "split.tensors.count", &said);
    if (said != (uint64_t)g->n_tensors) {
        return mp_fail(MP_E_MODEL, "%s: split.tensors.count says %llu tensors, but the parts have %lld together; they are not all of one model", g->shard[0].path,
                       (unsigned long long)said, (long long)g->n_tensors);
    }
    mp_err err = mp_gguf_names_open(g->ledger, g->tensor, sizeof *g->tensor, g->n_tensors, &g->names, &twin);
    if (err == MP_OK && twin >= 0) {
        err = mp_fail(MP_E_MODEL, "%s: tensor %s is there twice; the file is damaged", g->shard[g->tensor[twin].file].path, mp_gguf_shown(g->tensor[twin].name, shown));
    }
    return err;
}

mp_err mp_gguf_open(mp_ledger *ledger, const char *path, mp_gguf **out)
{
    part_name name = name_parts(path);
    mp_gguf  *g;
    *out = NULL;
    mp_err err = MP_NEW(ledger, MP_OWN_TOKENIZER, mp_gguf, 1, &g);
    if (err != MP_OK) {
        return err;
    }
    g->ledger = g->text.ledger = ledger;
    err = MP_NEW(ledger, MP_OWN_TOKENIZER, mp_gguf_shard, (size_t)name.of, &g->shard);
    for (int i = 0; err == MP_OK && i < name.of; i++) {
        err = open_part(g, path, name, i);
    }
    if (err == MP_OK) {
        err = check_whole(g);
    }
    if (err != MP_OK) {
        mp_gguf_close(&g);
    }
    *out = g;
    return err;
}

void mp_gguf_close(mp_gguf **gguf)
{
    mp_gguf *g = *gguf;
    if (!g) {
        return;
    }
    for (int i = 0; i < g->n_shards; i++) {
        mp_file_close(&g->shard[i].file);
        mp_free(g->shard[i].path);
    }
    mp_free(g->shard);
    mp_gguf_meta_close(&g->meta);
    mp_free(g->tensor);
    mp_gguf_names_close(&g->names);
    mp_gguf_text_close(&g->text);
    MP_FREE(*gguf);
}

int mp_gguf_files(const mp_gguf *g) { return g->n_shards; }
const mp_file *mp_gguf_file(const mp_gguf *g, int i) { return &g->shard[i].file; }
const char *mp_gguf_path(const mp_gguf *g, int i) { return g->shard[i].path; }

uint64_t mp_gguf_bytes(const mp_gguf *g)
{
    uint64_t sum = 0;
    for (int i = 0; i < g->n_shards; i++) {
        sum += g->shard[i].file.bytes;
    }
    return sum;
}

int64_t mp_gguf_tensors(const mp_gguf *g) { return g->n_tensors; }
const mp_gguf_tensor *mp_gguf_tensor_at(const mp_gguf *g, int64_t i) { return &g->tensor[i]; }

const mp_gguf_tensor *mp_gguf_find(const mp_gguf *g, const char *name)
{
    int64_t i = mp_gguf_names_find(&g->names, name, strlen(name));
    return i < 0 ? NULL : &g->tensor[i];
}
