/* Reads the directory of tensors of one GGUF file and checks it: names, shapes, types, places.
 * Invariants after success: every tensor lies inside of its file, aligned, behind the one before it; its byte count follows from shape and type.
 * Tensors must lie in the order of their descriptions (as llama.cpp demands too): that makes "none overlap" one comparison each. */
#include "mem/gguf_int.h"

#include <string.h>

enum { TENSORS_MOST = 1 << 20, NAME_BYTES_MOST = 65535, LEAST_INFO_BYTES = 8 + 1 + 4 + 8 + 4 + 8 };

static const char decodes[] = "F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K, IQ4_XS, ...";

/* Microsoft's BitNet files give ids that mean something else (or nothing) elsewhere; see formats.md 5.1 and 12. */
static const char *bitnet_type(const mp_gguf_meta *meta, uint32_t id)
{
    static const char *const name[] = { "I2_S", "I8_S", "TL1", "TL2" };
    const mp_gguf_kv *kv = mp_gguf_meta_find(meta, "general.architecture");
    if (id < 36 || id > 39 || !kv || kv->type != MP_GGUF_STRING) {
        return NULL;
    }
    mp_str arch = kv->value.text;
    bool   bitnet = (arch.n == 12 && memcmp(arch.s, "bitnet-b1.58", 12) == 0) || (arch.n == 9 && memcmp(arch.s, "bitnet-25", 9) == 0);
    return bitnet ? name[id - 36] : NULL;
}

static mp_err check_type(const mp_gguf_meta *meta, uint32_t id, mp_dtype *out)
{
    const char *bitnet = bitnet_type(meta, id);
    const char *name = bitnet ? bitnet : mp_gguf_type_name(id);
    if (!bitnet && mp_dtype_from_gguf(id, out)) {
        return MP_OK;
    }
    if (name) {
        return mp_fail(MP_E_MODEL, "is %s, which moped does not decode; take a file with other types (%s)", name, decodes);
    }
    return mp_fail(MP_E_MODEL, "has type id %u, which is retired or unknown to moped; take a file with other types (%s)", (unsigned)id, decodes);
}

typedef struct info { /* one description behind its name, as the file has it */
    uint32_t rank, type;
    uint64_t ne[4]; /* innermost first */
    uint64_t offset;
} info;

/* Errors are the reader's only. A rank that is not legal ends the reading: check_shape says so. */
static mp_err read_info(mp_gguf_reader *r, info *out)
{
    *out = (info){ 0 };
    mp_err err = mp_gguf_take_u32(r, &out->rank);
    if (err != MP_OK || out->rank > 4) {
        return err;
    }
    for (uint32_t i = 0; err == MP_OK && i < out->rank; i++) {
        err = mp_gguf_take_u64(r, &out->ne[i]);
    }
    if (err == MP_OK) {
        err = mp_gguf_take_u32(r, &out->type);
    }
    return err != MP_OK ? err : mp_gguf_take_u64(r, &out->offset);
}

static mp_err check_shape(const info *in, mp_gguf_tensor *t)
{
    if (in->rank < 1 || in->rank > 4) {
        return mp_fail(MP_E_MODEL, "has %u dimensions; 1 to 4 are legal", (unsigned)in->rank);
    }
    t->rank = (int)in->rank;
    for (int i = 0; i < 4; i++) {
        t->shape[i] = 1;
    }
    for (int i = 0; i < t->rank; i++) {
        if (in->ne[i] == 0 || in->ne[i] > INT64_MAX) {
            return mp_fail(MP_E_MODEL, "has dimension %d of size %lld; sizes are at least 1", i, (long long)in->ne[i]);
        }
        t->shape[t->rank - 1 - i] = (int64_t)in->ne[i];
    }
    return MP_OK;
}

/* Computes t->bytes from shape and type. */
static mp_err size_up(mp_gguf_tensor *t)
{
    const mp_dtype_info *type = mp_dtype_get(t->dtype);
    int64_t              row = t->shape[t->rank - 1], elements = 1, bytes;
    if (row % type->block_len != 0) {
        return mp_fail(MP_E_MODEL, "has rows of %lld elements, which is no multiple of the %d that one %s block holds; the file is damaged",
                       (long long)row, type->block_len, type->name);
    }
    bool over = false;
    for (int i = 0; i < t->rank; i++) {
        over = __builtin_mul_overflow(elements, t->shape[i], &elements) || over;
    }
    if (over || __builtin_mul_overflow(elements / type->block_len, (int64_t)type->block_bytes, &bytes)) {
        return mp_fail(MP_E_MODEL, "claims more elements than can be counted in 63 bits; the file is damaged");
    }
    t->bytes = (uint64_t)bytes;
    return MP_OK;
}

static mp_err check_place(const mp_gguf_tensor *t, uint64_t alignment, uint64_t *end)
{
    if (t->offset % alignment != 0) {
        return mp_fail(MP_E_MODEL, "begins at byte %llu of the data, which is no multiple of the alignment %llu; the file is damaged",
                       (unsigned long long)t->offset, (unsigned long long)alignment);
    }
    if (t->offset < *end) {
        return mp_fail(MP_E_MODEL, "begins at byte %llu of the data, but the tensor described before it ends at %llu: they overlap or are out of order; the file is damaged",
                       (unsigned long long)t->offset, (unsigned long long)*end);
    }
    if (__builtin_add_overflow(t->offset, t->bytes, end) || *end > INT64_MAX) {
        return mp_fail(MP_E_MODEL, "begins at byte %llu of the data, which no file can have; the file is damaged", (unsigned long long)t->offset);
    }
    return MP_OK;
}

/* Fills *t from what the file says, or says what is wrong with it. *end: where the data of the tensors so far end. */
static mp_err check_info(const mp_gguf_meta *meta, const info *in, uint64_t alignment, uint64_t *end, mp_gguf_tensor *t)
{
    char   shown[MP_GGUF_SHOWN];
    mp_err err = check_shape(in, t);
    t->offset = in->offset; /* still relative to the data */
    if (err == MP_OK) {
        err = check_type(meta, in->type, &t->dtype);
    }
    if (err == MP_OK) {
        err = size_up(t);
    }
    if (err == MP_OK) {
        err = check_place(t, alignment, end);
    }
    return err == MP_OK ? MP_OK : mp_fail(err, "tensor %s %s", mp_gguf_shown(t->name, shown), mp_err_text());
}

/* Places become absolute, now that the end of the descriptions is known; the data must reach as far as the last tensor. */
static mp_err anchor(mp_gguf *g, int64_t first, uint64_t data, uint64_t end, const mp_file *file)
{
    for (int64_t i = first; i < g->n_tensors; i++) {
        g->tensor[i].offset += data;
    }
    if (first == g->n_tensors || data + end <= file->bytes) {
        return MP_OK;
    }
    char shown[MP_GGUF_SHOWN];
    return mp_fail(MP_E_MODEL, "%llu bytes are missing: tensor %s ends at byte %llu and the file has %llu; it is cut short, fetch it again",
                   (unsigned long long)(data + end - file->bytes), mp_gguf_shown(g->tensor[g->n_tensors - 1].name, shown),
                   (unsigned long long)(data + end), (unsigned long long)file->bytes);
}

static mp_err make_room(mp_gguf *g, mp_gguf_reader *r, uint64_t n)
{
    mp_gguf_tensor *larger;
    if (n > mp_gguf_left(r) / LEAST_INFO_BYTES || n + (uint64_t)g->n_tensors > TENSORS_MOST) {
        return mp_fail(MP_E_MODEL, "claims %llu tensors, more than a file of %llu bytes can describe or than moped takes (%d); the file is damaged",
                       (unsigned long long)n, (unsigned long long)r->file->bytes, TENSORS_MOST);
    }
    mp_err err = MP_NEW(g->ledger, MP_OWN_TOKENIZER, mp_gguf_tensor, (size_t)g->n_tensors + (size_t)n, &larger);
    if (err != MP_OK) {
        return err;
    }
    if (g->n_tensors > 0) {
        memcpy(larger, g->tensor, (size_t)g->n_tensors * sizeof *larger);
    }
    mp_free(g->tensor);
    g->tensor = larger;
    return MP_OK;
}

static mp_err read_name(mp_gguf *g, mp_gguf_reader *r, uint64_t i, mp_str *out)
{
    uint64_t n;
    mp_err   err = mp_gguf_take_u64(r, &n);
    if (err == MP_OK && (n == 0 || n > NAME_BYTES_MOST)) {
        err = mp_fail(MP_E_MODEL, "tensor %llu has a name of %llu bytes (1 to %d are allowed); the file is damaged", (unsigned long long)i, (unsigned long long)n, NAME_BYTES_MOST);
    }
    return err != MP_OK ? err : mp_gguf_text_read(&g->text, r, n, out);
}

mp_err mp_gguf_tensors_read(mp_gguf *g, int file, mp_gguf_reader *r, uint64_t n, uint64_t alignment)
{
    int64_t  first = g->n_tensors;
    uint64_t end = 0;
    mp_err   err = make_room(g, r, n);
    r->what = "the descriptions of the tensors";
    for (uint64_t i = 0; err == MP_OK && i < n; i++) {
        mp_gguf_tensor *t = &g->tensor[g->n_tensors];
        info            in;
        t->file = file;
        err = read_name(g, r, i, &t->name);
        if (err == MP_OK) {
            err = read_info(r, &in);
        }
        if (err == MP_OK) {
            err = check_info(&g->meta, &in, alignment, &end, t);
        }
        g->n_tensors += err == MP_OK;
    }
    return err != MP_OK ? err : anchor(g, first, (mp_gguf_tell(r) + alignment - 1) / alignment * alignment, end, r->file);
}
