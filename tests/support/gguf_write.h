/* A small GGUF writer for tests: builds a file in memory, whole or split, sound or spoilt on purpose.
 *
 *   gw *w = gw_open();
 *   gw_str(w, "general.architecture", "llama");
 *   gw_tensor(w, "token_embd.weight", 0, 2, (uint64_t[]){ 64, 256 }, NULL);   // NULL data: a pattern that depends on name and place
 *   gw_save(w, path);  gw_close(&w);
 *
 * Types are given as the file's own numbers, so that unknown ones can be written too. Out of memory or a file that cannot be written ends
 * the test program: a test without its input proves nothing. */
#ifndef MP_TESTS_GGUF_WRITE_H
#define MP_TESTS_GGUF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GW_U8, GW_I8, GW_U16, GW_I16, GW_U32, GW_I32, GW_F32, GW_BOOL, GW_STRING, GW_ARRAY, GW_U64, GW_I64, GW_F64 };

typedef struct gw gw;

gw  *gw_open(void);
void gw_close(gw **w);

/* ---- metadata; appended in the order of the calls ---- */
void gw_u8(gw *w, const char *key, uint8_t v);
void gw_i8(gw *w, const char *key, int8_t v);
void gw_u16(gw *w, const char *key, uint16_t v);
void gw_i16(gw *w, const char *key, int16_t v);
void gw_u32(gw *w, const char *key, uint32_t v);
void gw_i32(gw *w, const char *key, int32_t v);
void gw_u64(gw *w, const char *key, uint64_t v);
void gw_i64(gw *w, const char *key, int64_t v);
void gw_f32(gw *w, const char *key, float v);
void gw_f64(gw *w, const char *key, double v);
void gw_bool(gw *w, const char *key, bool v);
void gw_str(gw *w, const char *key, const char *v);
/* elements: n numbers of that type as they lie in memory (little-endian hosts only) */
void gw_array(gw *w, const char *key, uint32_t type, const void *elements, uint64_t n);
void gw_array_str(gw *w, const char *key, const char *const *strings, uint64_t n);
/* n strings "<prefix><i>", as a vocabulary of placeholders */
void gw_array_numbered(gw *w, const char *key, const char *prefix, uint64_t n);
/* Any bytes behind a key: for values that are wrong on purpose. key_bytes may contain zeros or be 0. */
void gw_raw(gw *w, const void *key, size_t key_bytes, uint32_t type, const void *value, size_t value_bytes);

/* ---- tensors: ne innermost first, type a GGUF id. Sizes of all types that moped decodes are known here (an own table, so that
 * a wrong one in the library shows); others take data_bytes of gw_tensor_raw. data NULL: bytes of a fixed pattern ---- */
void gw_tensor(gw *w, const char *name, uint32_t type, uint32_t rank, const uint64_t *ne, const void *data);
void gw_tensor_raw(gw *w, const char *name, uint32_t type, uint32_t rank, const uint64_t *ne, const void *data, uint64_t data_bytes);
void gw_tensor_f32(gw *w, const char *name, uint32_t rank, const uint64_t *ne, const float *data);
/* 0 for a type it does not know */
uint64_t gw_bytes_of(uint32_t type, uint32_t rank, const uint64_t *ne);

/* ---- form, and ways to spoil it; all optional, before gw_build ---- */
void gw_version(gw *w, uint32_t version);        /* default 3 */
void gw_magic(gw *w, const char magic[4]);       /* default "GGUF" */
void gw_alignment(gw *w, uint32_t alignment);    /* lays the file out by it and writes general.alignment. Default 32, no key */
void gw_layout_alignment(gw *w, uint32_t alignment); /* lays out only, writes no key */
void gw_claim_tensors(gw *w, uint64_t n);        /* counts in the header that are not true */
void gw_claim_keys(gw *w, uint64_t n);
void gw_set_offset(gw *w, int tensor, uint64_t offset); /* another offset in the description of tensor no. `tensor`; its data stays */

/* ---- result ---- */
/* The file's bytes; freed by the caller with free(). header_bytes (may be NULL): where the descriptions end, before the pad. */
uint8_t *gw_build(const gw *w, size_t *bytes, size_t *header_bytes);
void gw_save(const gw *w, const char *path);
/* Writes `<stem>-00001-of-0000N.gguf` ..., tensors dealt out in order, the model's metadata in the first part only. */
void gw_save_split(const gw *w, const char *stem, int parts);
void gw_write_file(const char *path, const void *bytes, size_t n);
/* First place of needle in haystack, (size_t)-1 when absent: to find the byte that a test wants to spoil. */
size_t gw_find(const uint8_t *haystack, size_t n, const void *needle, size_t needle_bytes);
#endif
