#include "model/bind.h"

#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 128 };

mp_err mp_binder_open(mp_ledger *ledger, const mp_gguf *gguf, uint32_t pages, mp_binder *out)
{
    *out = (mp_binder){ .ledger = ledger, .gguf = gguf, .layer = -1, .pages_cap = pages };
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, mp_page_desc, pages, &out->page);
    if (!err)
        err = MP_NEW(ledger, MP_OWN_WORK, mp_binding, 64, &out->list);
    if (!err)
        err = MP_NEW(ledger, MP_OWN_WORK, bool, (size_t)mp_gguf_tensors(gguf), &out->used);
    out->cap = err ? 0 : 64;
    if (err)
        mp_binder_close(out);
    return err;
}

void mp_binder_close(mp_binder *b)
{
    MP_FREE(b->page);
    MP_FREE(b->list);
    MP_FREE(b->used);
    *b = (mp_binder){ 0 };
}

/* dst holds rows from `first` on of src, row_bytes each in the file. */
static void remember(mp_binder *b, mp_tensor *dst, const mp_gguf_tensor *src, int64_t first, size_t row_bytes)
{
    if (b->n == b->cap) {
        mp_binding *bigger;
        b->err = MP_NEW(b->ledger, MP_OWN_WORK, mp_binding, (size_t)b->cap * 2, &bigger);
        if (b->err)
            return;
        memcpy(bigger, b->list, (size_t)b->n * sizeof(*bigger));
        MP_FREE(b->list);
        b->list = bigger;
        b->cap *= 2;
    }
    b->list[b->n++] = (mp_binding){ dst, src, src->offset + (uint64_t)first * row_bytes, (uint64_t)dst->shape[0] * row_bytes };
}

static void full_name(const mp_binder *b, const char *name, char out[NAME_MAX_BYTES])
{
    if (b->layer >= 0)
        snprintf(out, NAME_MAX_BYTES, "blk.%d.%s", b->layer, name);
    else
        snprintf(out, NAME_MAX_BYTES, "%s", name);
}

/* The file's tensor of this name with the wanted shape (outermost first), or NULL with b->err set unless it is optional and absent. */
static const mp_gguf_tensor *find(mp_binder *b, const char *name, int rank, const int64_t *shape, int flags)
{
    char full[NAME_MAX_BYTES], want[96] = "", have[96] = "";
    if (b->err)
        return NULL;
    full_name(b, name, full);
    const mp_gguf_tensor *t = mp_gguf_find(b->gguf, full);
    if (!t) {
        if (!(flags & MP_BIND_OPTIONAL))
            b->err = mp_fail(MP_E_MODEL, "the file has no tensor '%s', which its architecture needs", full);
        return NULL;
    }
    int64_t extra = 1; /* a vector may be stored as [1,n], a gate row as [n] or [1,n]: leading ones do not count */
    int skip = t->rank > rank ? t->rank - rank : 0;
    for (int i = 0; i < skip; i++)
        extra *= t->shape[i];
    bool same = extra == 1 && (t->rank >= rank || (rank == 2 && t->rank == 1 && shape[0] == 1 && t->shape[0] == shape[1]));
    for (int i = 0; same && t->rank >= rank && i < rank; i++)
        same = t->shape[skip + i] == shape[i];
    if (same) {
        b->used[t - mp_gguf_tensor_at(b->gguf, 0)] = true;
        return t;
    }
    for (int i = t->rank - 1; i >= 0; i--) /* in the order in which GGUF tools print them */
        snprintf(have + strlen(have), sizeof(have) - strlen(have), "%s%lld", *have ? "," : "", (long long)t->shape[i]);
    for (int i = rank - 1; i >= 0; i--)
        snprintf(want + strlen(want), sizeof(want) - strlen(want), "%s%lld", *want ? "," : "", (long long)shape[i]);
    b->err = mp_fail(MP_E_MODEL, "tensor '%s' has the shape {%s}, but the file's metadata ask for {%s}", full, have, want);
    return NULL;
}

static bool has_products(mp_dtype type)
{
    return type != MP_I32;
}

static bool check_type(mp_binder *b, const mp_gguf_tensor *t, bool vector)
{
    bool ok = vector ? t->dtype == MP_F32 || t->dtype == MP_F16 || t->dtype == MP_BF16 : has_products(t->dtype);
    if (!ok)
        b->err = mp_fail(MP_E_MODEL, "tensor '%.*s' is %s; moped cannot use that type there", (int)t->name.n, t->name.s, mp_dtype_get(t->dtype)->name);
    return ok;
}

bool mp_bind_matrix_rows(mp_binder *b, const char *name, mp_rows rows, int64_t cols, int flags, mp_tensor *dst)
{
    const mp_gguf_tensor *t = find(b, name, 2, (int64_t[]){ rows.of, cols }, flags);
    *dst = (mp_tensor){ 0 };
    if (!t || !check_type(b, t, false))
        return false;
    *dst = mp_tensor_2d(NULL, t->dtype, rows.n, cols);
    remember(b, dst, t, rows.first, mp_dtype_row_bytes(t->dtype, cols));
    return true;
}

bool mp_bind_vector_rows(mp_binder *b, const char *name, mp_rows rows, int flags, mp_tensor *dst)
{
    const mp_gguf_tensor *t = find(b, name, 1, (int64_t[]){ rows.of }, flags);
    *dst = (mp_tensor){ 0 };
    if (!t || !check_type(b, t, true))
        return false;
    *dst = mp_tensor_1d(NULL, MP_F32, rows.n);
    remember(b, dst, t, rows.first, mp_dtype_row_bytes(t->dtype, 1));
    return true;
}

bool mp_bind_matrix(mp_binder *b, const char *name, int64_t rows, int64_t cols, int flags, mp_tensor *dst)
{
    return mp_bind_matrix_rows(b, name, (mp_rows){ 0, rows, rows }, cols, flags, dst);
}

bool mp_bind_vector(mp_binder *b, const char *name, int64_t n, int flags, mp_tensor *dst)
{
    return mp_bind_vector_rows(b, name, (mp_rows){ 0, n, n }, flags, dst);
}

int64_t mp_binder_unused(const mp_binder *b, const mp_gguf_tensor **first)
{
    int64_t n = 0;
    for (int64_t i = mp_gguf_tensors(b->gguf); i-- > 0;)
        if (!b->used[i]) {
            n++;
            if (first)
                *first = mp_gguf_tensor_at(b->gguf, i);
        }
    return n;
}

/* ---- experts ---- */

static const mp_gguf_tensor *of_expert(const mp_binder *b, const char *part, int expert)
{
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof(name), "blk.%d.ffn_%s.%d.weight", b->layer, part, expert);
    return mp_gguf_find(b->gguf, name);
}

bool mp_bind_has_experts(const mp_binder *b)
{
    char name[NAME_MAX_BYTES];
    full_name(b, "ffn_down_exps.weight", name);
    return mp_gguf_find(b->gguf, name) || of_expert(b, "down", 0);
}

/* A page's slice; an expert's share that its 32 bits cannot count is refused. */
static mp_slice slice_of(mp_binder *b, const mp_gguf_tensor *t, uint64_t at, uint64_t bytes)
{
    if (bytes > UINT32_MAX && !b->err)
        b->err = mp_fail(MP_E_MODEL, "an expert of tensor '%.*s' is larger than 4 GiB", (int)t->name.n, t->name.s);
    return (mp_slice){ t->offset + at, (uint32_t)bytes, (uint16_t)t->file };
}

/* Slice i of the layer's pages = part `at` of `parts` equal ones of each expert's share of a stacked tensor. */
static void stacked(mp_binder *b, const mp_gguf_tensor *t, int experts, int i, int at, int parts)
{
    uint64_t share = t->bytes / (uint64_t)experts, bytes = share / (uint64_t)parts;
    for (int e = 0; e < experts && !b->err; e++)
        b->page[b->pages + (uint32_t)e].slice[i] = slice_of(b, t, (uint64_t)e * share + (uint64_t)at * bytes, bytes);
}

static void one_by_one(mp_binder *b, const char *part, int experts, int i, const int64_t shape[2], mp_tensor *out)
{
    for (int e = 0; e < experts && !b->err; e++) {
        char name[64];
        snprintf(name, sizeof(name), "ffn_%s.%d.weight", part, e);
        const mp_gguf_tensor *t = find(b, name, 2, shape, 0);
        if (!t || !check_type(b, t, false))
            return;
        if (e == 0)
            *out = mp_tensor_2d(NULL, t->dtype, shape[0], shape[1]);
        else if (t->dtype != out->dtype)
            b->err = mp_fail(MP_E_MODEL, "tensor '%.*s' is %s, but expert 0 of the same layer is %s", (int)t->name.n, t->name.s,
                             mp_dtype_get(t->dtype)->name, mp_dtype_get(out->dtype)->name);
        if (!b->err)
            b->page[b->pages + (uint32_t)e].slice[i] = slice_of(b, t, 0, t->bytes);
    }
}

static void bind_part(mp_binder *b, const char *part, int experts, int i, const int64_t shape[2], mp_tensor *out)
{
    char name[64];
    if (b->err)
        return;
    if (of_expert(b, part, 0)) {
        one_by_one(b, part, experts, i, shape, out);
        return;
    }
    snprintf(name, sizeof(name), "ffn_%s_exps.weight", part);
    const mp_gguf_tensor *t = find(b, name, 3, (int64_t[]){ experts, shape[0], shape[1] }, 0);
    if (!t || !check_type(b, t, false))
        return;
    stacked(b, t, experts, i, 0, 1);
    *out = mp_tensor_2d(NULL, t->dtype, shape[0], shape[1]);
}

static bool bind_fused(mp_binder *b, int experts, int64_t width, int64_t ff, mp_expert_shape *shape)
{
    const mp_gguf_tensor *t = find(b, "ffn_gate_up_exps.weight", 3, (int64_t[]){ experts, 2 * ff, width }, MP_BIND_OPTIONAL);
    if (!t || !check_type(b, t, false))
        return false;
    stacked(b, t, experts, 0, 0, 2);
    stacked(b, t, experts, 1, 1, 2);
    shape->gate = shape->up = mp_tensor_2d(NULL, t->dtype, ff, width);
    return true;
}

void mp_bind_experts(mp_binder *b, int experts, int64_t width, int64_t ff, mp_page *first, mp_expert_shape *shape)
{
    *first = b->pages;
    *shape = (mp_expert_shape){ 0 };
    if (!b->err && b->pages + (uint32_t)experts > b->pages_cap)
        b->err = mp_fail(MP_E_MODEL, "the file has more MoE layers than its block count allows");
    if (b->err)
        return;
    if (!bind_fused(b, experts, width, ff, shape)) {
        bind_part(b, "gate", experts, 0, (int64_t[]){ ff, width }, &shape->gate);
        bind_part(b, "up", experts, 1, (int64_t[]){ ff, width }, &shape->up);
    }
    bind_part(b, "down", experts, 2, (int64_t[]){ width, ff }, &shape->down);
    b->pages += (uint32_t)experts;
}
