/* The GGUF container, versions 2 and 3, one file or split: metadata and the directory of tensors. Reads headers only.
 * Source: formats.md 2 to 4 (ggml's docs/gguf.md). Tests: tests/mem/test_gguf.c, tests/fuzz/fuzz_gguf.c. */
#ifndef MP_MEM_GGUF_H
#define MP_MEM_GGUF_H

#include "base/ledger.h"
#include "base/os.h"
#include "num/dtype.h"

/* ids of value types in the file (formats.md 2.2) */
enum {
    MP_GGUF_U8, MP_GGUF_I8, MP_GGUF_U16, MP_GGUF_I16, MP_GGUF_U32, MP_GGUF_I32, MP_GGUF_F32, MP_GGUF_BOOL,
    MP_GGUF_STRING, MP_GGUF_ARRAY, MP_GGUF_U64, MP_GGUF_I64, MP_GGUF_F64, MP_GGUF_TYPES
};

typedef struct mp_str { /* bytes, not terminated; owned by the gguf */
    const char *s;
    size_t      n;
} mp_str;

typedef struct mp_gguf_tensor {
    mp_str   name;
    mp_dtype dtype;
    int      rank;
    int64_t  shape[4];  /* outermost first: the file's ne reversed; shape[rank-1] is contiguous */
    int      file;      /* index of the shard */
    uint64_t offset;    /* absolute in that file */
    uint64_t bytes;
} mp_gguf_tensor;

typedef struct mp_gguf mp_gguf;

/* Opens path and, where it is `...-00001-of-0000N.gguf`, its other parts. Checks everything that headers can tell: counts, lengths, types,
 * duplicate keys and names, alignment, offsets and sizes inside the file, parts that belong together.
 * Any part of a split model may be given: it is opened from part 1 on.
 * Errors: MP_E_USAGE when path cannot be opened; MP_E_MODEL with a sentence that names the file and the place for all that is wrong inside,
 * and for a missing part; MP_E_FAILED when it cannot be read; MP_E_BUDGET. */
mp_err mp_gguf_open(mp_ledger *ledger, const char *path, mp_gguf **out);
void   mp_gguf_close(mp_gguf **gguf);

int            mp_gguf_files(const mp_gguf *g);
const mp_file *mp_gguf_file(const mp_gguf *g, int i);     /* open, with O_DIRECT where it can be had */
const char    *mp_gguf_path(const mp_gguf *g, int i);
uint64_t       mp_gguf_bytes(const mp_gguf *g);           /* of all parts */

int64_t               mp_gguf_tensors(const mp_gguf *g);
const mp_gguf_tensor *mp_gguf_tensor_at(const mp_gguf *g, int64_t i);
const mp_gguf_tensor *mp_gguf_find(const mp_gguf *g, const char *name); /* NULL: not there. O(1) */

/* Metadata. Integers are read leniently (any integer type, or a bool, that holds the value); a float key may be an integer.
 * Each returns whether the key is there with a usable type; *out is left alone when not (so a default can stand there before). */
bool mp_gguf_u64(const mp_gguf *g, const char *key, uint64_t *out);
bool mp_gguf_i64(const mp_gguf *g, const char *key, int64_t *out);
bool mp_gguf_f64(const mp_gguf *g, const char *key, double *out);
bool mp_gguf_bool(const mp_gguf *g, const char *key, bool *out);
bool mp_gguf_str(const mp_gguf *g, const char *key, mp_str *out);
/* Arrays: number of elements (-1: no such key or no array); element i as string or number. */
int64_t mp_gguf_array_len(const mp_gguf *g, const char *key);
bool    mp_gguf_array_str(const mp_gguf *g, const char *key, int64_t i, mp_str *out);
bool    mp_gguf_array_f64(const mp_gguf *g, const char *key, int64_t i, double *out);
/* For walking big arrays without a look-up each: a cursor. */
typedef struct mp_gguf_array { const void *impl; int64_t n; uint32_t type; } mp_gguf_array;
bool    mp_gguf_array_get(const mp_gguf *g, const char *key, mp_gguf_array *out);
mp_str  mp_gguf_array_str_at(const mp_gguf_array *a, int64_t i); /* {NULL, 0} when it holds no strings */
double  mp_gguf_array_f64_at(const mp_gguf_array *a, int64_t i);

/* The metadata's big arrays (tokens, merges, scores) are not needed once the tokenizer stands: gives their memory back. Keys, their lengths
 * and arrays of up to 1024 elements (per-layer values) stay; the elements of the others are gone, and cursors on them dead. */
void mp_gguf_drop_arrays(mp_gguf *g);
#endif
