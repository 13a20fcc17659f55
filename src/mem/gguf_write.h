/* Writes a GGUF file, version 3, front to end: metadata, then the directory of tensors, then their data in the same order. Nothing but a window of
 * 1 MiB is ever in memory, however large the file is.
 *
 *   mp_gguf_writer *w;
 *   mp_gguf_writer_open(ledger, path, &w);
 *   mp_gguf_put_str(w, "general.architecture", "llama");          metadata
 *   mp_gguf_put_tensor(w, "token_embd.weight", MP_Q4_K, 2, shape); directory
 *   err = mp_gguf_writer_begin(w);                                 no more of either
 *   err = mp_gguf_writer_data(w, bytes, n);  ...                   in pieces of any size; the pads are the writer's
 *   err = mp_gguf_writer_finish(w);                                the file gets its name
 *   mp_gguf_writer_close(&w);                                      what was not finished is gone
 *
 * The first error of a put is kept and returned by begin. Wrong order and wrong amounts are programmers' mistakes (asserts). Keys must differ, and so
 * must names of tensors; nobody checks. Threads: one at a time. Source: formats.md 2 (ggml's docs/gguf.md). Test: tests/mem/test_gguf_write.c. */
#ifndef MP_MEM_GGUF_WRITE_H
#define MP_MEM_GGUF_WRITE_H

#include "mem/gguf.h"

enum { MP_GGUF_ALIGNMENT = 32, MP_GGUF_NAME_MAX = 63 /* ggml reads no longer name of a tensor */ };

typedef struct mp_gguf_writer mp_gguf_writer;

/* path NULL: writes nothing and counts, for mp_gguf_writer_bytes. Errors: as mp_outfile_open; MP_E_BUDGET. */
mp_err mp_gguf_writer_open(mp_ledger *ledger, const char *path, mp_gguf_writer **out);
/* Claims the disk for the whole file when its size is known beforehand. Errors: as mp_outfile_reserve. */
mp_err mp_gguf_writer_reserve(mp_gguf_writer *w, uint64_t bytes);
void   mp_gguf_writer_close(mp_gguf_writer **w);

/* ---- metadata ---- */
/* One value of any type: n bytes as they stand in the file (numbers: little-endian; strings and arrays with their lengths). */
void mp_gguf_put_raw(mp_gguf_writer *w, const char *key, uint32_t type, const void *value, size_t n);
/* A number or bool of this type (MP_GGUF_U32, ...) at value. */
void mp_gguf_put(mp_gguf_writer *w, const char *key, uint32_t type, const void *value);
void mp_gguf_put_str(mp_gguf_writer *w, const char *key, const char *text);
void mp_gguf_put_array(mp_gguf_writer *w, const char *key, uint32_t type, const void *elements, uint64_t n); /* of numbers */
/* An array of n strings, which follow by exactly n calls of mp_gguf_put_element. */
void mp_gguf_put_strings(mp_gguf_writer *w, const char *key, uint64_t n);
void mp_gguf_put_element(mp_gguf_writer *w, const char *text, size_t n);

static inline void mp_gguf_put_u32(mp_gguf_writer *w, const char *key, uint32_t v) { mp_gguf_put(w, key, MP_GGUF_U32, &v); }
static inline void mp_gguf_put_f32(mp_gguf_writer *w, const char *key, float v) { mp_gguf_put(w, key, MP_GGUF_F32, &v); }
static inline void mp_gguf_put_bool(mp_gguf_writer *w, const char *key, bool v)
{
    uint8_t byte = v;
    mp_gguf_put(w, key, MP_GGUF_BOOL, &byte);
}

/* ---- tensors ---- */
/* shape outermost first; shape[rank-1] is a multiple of the type's block. */
void mp_gguf_put_tensor(mp_gguf_writer *w, const char *name, mp_dtype type, int rank, const int64_t *shape);
/* Ends the directory. Errors: that of an earlier put; writing. */
mp_err   mp_gguf_writer_begin(mp_gguf_writer *w);
uint64_t mp_gguf_writer_bytes(const mp_gguf_writer *w); /* of the whole file, from begin on */
mp_err   mp_gguf_writer_data(mp_gguf_writer *w, const void *p, size_t n);
/* All data was given. Errors: writing, renaming; the file is then removed by close. */
mp_err mp_gguf_writer_finish(mp_gguf_writer *w);
#endif
