/* Binding: an architecture names the tensors that its layers need; the binder finds them in the file, checks their shapes, and remembers them for the
 * loader. Names and shapes are checked before any data is read. */
#ifndef MP_MODEL_BIND_H
#define MP_MODEL_BIND_H

#include "base/ledger.h"
#include "mem/gguf.h"
#include "mem/pager.h"
#include "num/tensor.h"

enum { MP_BIND_OPTIONAL = 1 };

typedef struct mp_binding {
    mp_tensor            *dst;
    const mp_gguf_tensor *src;
    uint64_t              offset, bytes; /* its share of src, in the file: all of it unless fused */
} mp_binding;

typedef struct mp_binder {
    mp_ledger     *ledger;
    const mp_gguf *gguf;
    int            layer;    /* of "blk.N." names; -1 outside of layers */
    mp_binding    *list;     /* dense tensors in the order bound */
    int            n, cap;
    mp_page_desc  *page;     /* experts, [moe_layers * experts] */
    uint32_t       pages, pages_cap;
    bool          *used;     /* [tensors of the file] asked for by somebody */
    mp_err         err;      /* sticky: binding reads like a table */
} mp_binder;

mp_err mp_binder_open(mp_ledger *ledger, const mp_gguf *gguf, uint32_t pages, mp_binder *out);
void   mp_binder_close(mp_binder *b);

/* *dst = the dense matrix [rows, cols] (any type with products) or vector [n] (float types; loaded as F32) of this name, "blk.N." in front when
 * b->layer >= 0. dst->data is set when the loader runs; dst must stay where it is until then. Returns whether it is there. */
bool mp_bind_matrix(mp_binder *b, const char *name, int64_t rows, int64_t cols, int flags, mp_tensor *dst);
bool mp_bind_vector(mp_binder *b, const char *name, int64_t n, int flags, mp_tensor *dst);

/* The same for rows (of a vector: elements) [first, first + n) of a tensor that holds `of` of them: several matrices fused into one. */
typedef struct mp_rows { int64_t first, n, of; } mp_rows;
bool mp_bind_matrix_rows(mp_binder *b, const char *name, mp_rows rows, int64_t cols, int flags, mp_tensor *dst);
bool mp_bind_vector_rows(mp_binder *b, const char *name, mp_rows rows, int flags, mp_tensor *dst);

/* The experts of one layer: stacked [E,rows,cols] tensors, or one tensor per expert (Mixtral files of before spring 2024), or gate and up fused. Fills the next
 * E pages: slice 0 gate [F,D], 1 up [F,D], 2 down [D,F]. shape: the same without data, of each. *first: the layer's first page. */
typedef struct mp_expert_shape { mp_tensor gate, up, down; } mp_expert_shape;
void mp_bind_experts(mp_binder *b, int experts, int64_t width, int64_t ff, mp_page *first, mp_expert_shape *shape);
/* How many of the file's tensors nobody asked for; *first (may be NULL): one of them. */
int64_t mp_binder_unused(const mp_binder *b, const mp_gguf_tensor **first);
/* Does the current layer have experts (under any of those names)? */
bool mp_bind_has_experts(const mp_binder *b);
#endif
