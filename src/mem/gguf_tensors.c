/* Reads the directory of tensors of one GGUF file and checks it: names, shapes, types, places.
 * Invariants after success: every tensor lies inside of its file, aligned, behind the one before it; its byte count follows from shape and type.
 * Tensors must lie in the order of their descriptions (as llama.cpp demands too): that makes "none overlap" one comparison each. */
#include "mem/gguf_int.h"

#include <stdio.h>
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

/* dims come innermost first. */
static mp_err read_shape(mp_gguf_reader *r, mp_gguf_tensor *t)
{
    uint32_t rank;
    mp_err   err = mp_gguf_take_u32(r, &rank);
    if (err == MP_OK && (rank < 1 || rank > 4)) {
        err = mp_fail(MP_E_MODEL, "has %u dimensions; 1 to 4 are legal", (unsigned)rank);
    }
    if (err != MP_OK) {
        return err;
    }
    t->rank = (int)rank;
    t->shape[0] = t->shape[1] = t->shape[2] = t->shape[3] = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        uint64_t n;
        err = mp_gguf_take_u64(r, &n);
        if (err != MP_OK) {
            return err;
        }
        if (n == 0 || n > INT64_MAX) {
            return mp_fail(MP_E_MODEL, "has dimension %d of size %lld; sizes are at least 1", t->rank - 1 - i, (long long)n);
        }
        t->shape[i] = (int64_t)n;
    }
    return MP_OK;
}

/* Computes t->bytes from shape and type. */
static mp_err size_up(mp_gguf_tensor *t)
{
    const mp_dtype_info *info = mp_dtype_get(t->dtype);
    int64_t              row = t->shape[t->rank - 1], elements = 1, bytes;
    if (row % info->block_len != 0) {
        return mp_fail(MP_E_MODEL, "has rows of %lld elements, which is no multiple of the %d that one %s block holds; the file is damaged",
                       (long long)row, info->block_len, info->name);
    }
    bool over = false;
    for (int i = 0; i < t->rank; i++) {
        over = __builtin_mul_overflow(elements, t->shape[i], &elements) || over;
    }
    if (over || __builtin_mul_overflow(elements / info->block_len, (int64_t)info->block_bytes, &bytes)) {
        return mp_fail(MP_E_MODEL, "claims more elements than can be counted in 63 bits; the file is damaged");
    }
    t->bytes = (uint64_t)bytes;
    return MP_OK;
}

/* Reads one description behind its name. t->offset is still relative to the data. */
static mp_err read_info(const mp_gguf_meta *meta, mp_gguf_reader *r, mp_gguf_tensor *t)
{
    uint32_t id = 0;
    mp_err   err = read_shape(r, t);
    if (err == MP_OK) {
        err = mp_gguf_take_u32(r, &id);
    }
    if (err == MP_OK) {
        err = mp_gguf_take_u64(r, &t->offset);
    }
    if (err == MP_OK) {
        err = check_type(meta, id, &t->dtype);
    }
    return err != MP_OK ? err : size_up(t);
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
    char     shown[MP_GGUF_SHOWN], where[MP_GGUF_SHOWN + 16];
    int64_t  first = g->n_tensors;
    uint64_t end = 0;
    mp_err   err = make_room(g, r, n);
    r->what = "the descriptions of the tensors";
    for (uint64_t i = 0; err == MP_OK && i < n; i++) {
        mp_gguf_tensor *t = &g->tensor[g->n_tensors];
        t->file = file;
        err = read_name(g, r, i, &t->name);
        if (err != MP_OK) {
            break;
        }
        err = read_info(&g->meta, r, t);
        if (err == MP_OK) {
            err = check_place(t, alignment, &end);
        }
        if (err != MP_OK) {
            snprintf(where, sizeof where, "tensor %s", mp_gguf_shown(t->name, shown));
            return mp_fail_in(err, where);
        }
        g->n_tensors++;
    }
    return err != MP_OK ? err : anchor(g, first, (mp_gguf_tell(r) + alignment - 1) / alignment * alignment, end, r->file);
}
