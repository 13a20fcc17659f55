/* What the files gguf*.c share and nobody else includes: the window on a file, the metadata table, the name index.
 *
 *   file   | magic version counts | keys and values | tensor descriptions | pad | data ...
 *                      ^ window (1 MiB) slides over this part only
 *
 * Parsing functions fail with a sentence that does not name the file; mp_gguf_open puts the name in front of it once. */
#ifndef MP_MEM_GGUF_INT_H
#define MP_MEM_GGUF_INT_H

#include "mem/gguf.h"

enum { MP_GGUF_SHOWN = 96 };
/* The bytes of s for a sentence: unprintable ones as '?', long ones cut. Returns buf. */
const char *mp_gguf_shown(mp_str s, char buf[MP_GGUF_SHOWN]);

/* ---- the window ---- */
typedef struct mp_gguf_reader {
    const mp_file *file;
    unsigned char *window; /* [cap], owned */
    size_t         cap;
    size_t         have, at; /* valid bytes; the next one to read */
    uint64_t       base;   /* place of window[0] in the file */
    uint64_t       end;    /* highest place read so far: what close drops from the page cache */
    const char    *what;   /* what is being read, for the sentence when the file ends there */
} mp_gguf_reader;

mp_err mp_gguf_reader_open(mp_ledger *ledger, const mp_file *file, mp_gguf_reader *out);
void   mp_gguf_reader_close(mp_gguf_reader *r); /* also gives back the page cache that reading filled */
/* The next n (<= 4096) bytes, valid until the next call. Errors, here and below: MP_E_MODEL where the file ends, MP_E_FAILED. */
mp_err   mp_gguf_take(mp_gguf_reader *r, size_t n, const unsigned char **out);
mp_err   mp_gguf_take_u32(mp_gguf_reader *r, uint32_t *out);
mp_err   mp_gguf_take_u64(mp_gguf_reader *r, uint64_t *out);
mp_err   mp_gguf_copy(mp_gguf_reader *r, void *dst, uint64_t n);
mp_err   mp_gguf_skip(mp_gguf_reader *r, uint64_t n);
uint64_t mp_gguf_tell(const mp_gguf_reader *r);
uint64_t mp_gguf_left(const mp_gguf_reader *r); /* bytes from here to the file's end */
void     mp_gguf_seek(mp_gguf_reader *r, uint64_t place); /* place <= file->bytes */

/* ---- text: many short strings in few blocks; their addresses stay ---- */
typedef struct mp_gguf_text {
    mp_ledger *ledger;
    struct mp_gguf_text_block *last;
} mp_gguf_text;

mp_err mp_gguf_text_read(mp_gguf_text *text, mp_gguf_reader *r, uint64_t n, mp_str *out);
void   mp_gguf_text_close(mp_gguf_text *text);

/* ---- index: name -> number, over an array of structs that begin with an mp_str ---- */
typedef struct mp_gguf_names {
    const void *items;
    size_t      stride;
    uint32_t   *slot; /* [mask + 1], number + 1, 0 = free; owned */
    uint32_t    mask;
} mp_gguf_names;

/* *twin: the number of the first item whose name an earlier item has too; -1 if all differ. The items stay the caller's and must not move. */
mp_err  mp_gguf_names_open(mp_ledger *ledger, const void *items, size_t stride, int64_t n, mp_gguf_names *out, int64_t *twin);
void    mp_gguf_names_close(mp_gguf_names *names);
int64_t mp_gguf_names_find(const mp_gguf_names *names, const char *s, size_t n); /* -1: not there */

/* ---- metadata ---- */
typedef struct mp_gguf_items { /* an array value; bytes NULL: dropped */
    uint32_t       type;   /* of the elements */
    int64_t        n;
    unsigned char *bytes;  /* the elements as in the file, or the strings end to end; owned */
    uint32_t      *offset; /* [n + 1] strings only: string i is bytes[offset[i] .. offset[i+1]); owned */
} mp_gguf_items;

typedef struct mp_gguf_kv {
    mp_str   key; /* first: mp_gguf_names looks there */
    uint32_t type;
    union {
        unsigned char raw[8]; /* numbers, as in the file */
        mp_str        text;
        mp_gguf_items items;
    } value;
} mp_gguf_kv;

typedef struct mp_gguf_meta {
    mp_ledger    *ledger;
    mp_gguf_kv   *kv; /* owned */
    int64_t       n;
    mp_gguf_names names;
    mp_gguf_text  text;
} mp_gguf_meta;

mp_err mp_gguf_meta_read(mp_ledger *ledger, mp_gguf_reader *r, uint64_t n, mp_gguf_meta *out);
void   mp_gguf_meta_close(mp_gguf_meta *meta);
const mp_gguf_kv *mp_gguf_meta_find(const mp_gguf_meta *meta, const char *key);
bool   mp_gguf_meta_u64(const mp_gguf_meta *meta, const char *key, uint64_t *out); /* as mp_gguf_u64 */
int    mp_gguf_number_bytes(uint32_t type); /* of one number; 0 for strings, arrays and unknown ids */

/* ---- the whole ---- */
typedef struct mp_gguf_shard {
    char   *path; /* owned */
    mp_file file;
} mp_gguf_shard;

struct mp_gguf {
    mp_ledger      *ledger;
    mp_gguf_shard  *shard; /* [n_shards] */
    int             n_shards;
    mp_gguf_meta    meta;  /* of the first part */
    mp_gguf_tensor *tensor; /* [n_tensors], of all parts in order */
    int64_t         n_tensors;
    mp_gguf_names   names;
    mp_gguf_text    text;  /* the tensors' names */
};

/* Reads the n descriptions of part `file` at r and appends them; alignment is that part's. */
mp_err mp_gguf_tensors_read(mp_gguf *g, int file, mp_gguf_reader *r, uint64_t n, uint64_t alignment);
#endif
