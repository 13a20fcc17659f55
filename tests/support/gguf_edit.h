/* A GGUF file taken apart, to be changed and written again: how tests make a spoilt model, or the same model in another form, of a sound one.
 *
 *   ge *e = ge_read(path);
 *   ge_set_u32(e, "llama.block_count", 1000000000);
 *   ge_drop_tensor(e, "blk.0.attn_q.weight");
 *   ge_save(e, other);  ge_close(&e);
 *
 * Has a reader of its own, which trusts the file: only for what this repository's scripts wrote. What cannot be read or is not there ends the test
 * program: a test without its input proves nothing. */
#ifndef MP_TESTS_GGUF_EDIT_H
#define MP_TESTS_GGUF_EDIT_H

#include "support/gguf_write.h"

typedef struct ge_tensor { /* may be changed in place; data is freed with free() */
    char     name[96];
    uint32_t type, rank;
    uint64_t ne[4]; /* innermost first */
    uint8_t *data;
    uint64_t bytes;
} ge_tensor;

typedef struct ge ge;

ge  *ge_read(const char *path);
void ge_close(ge **e);

int        ge_tensors(const ge *e);
ge_tensor *ge_at(ge *e, int i);
ge_tensor *ge_find(ge *e, const char *name);
bool       ge_has(const ge *e, const char *name);
/* data NULL: zeros */
ge_tensor *ge_add_tensor(ge *e, const char *name, uint32_t type, uint32_t rank, const uint64_t *ne, const void *data);
void       ge_drop_tensor(ge *e, const char *name);

/* ---- keys: set replaces or appends ---- */
void ge_set_u32(ge *e, const char *key, uint32_t v);
void ge_set_i32(ge *e, const char *key, int32_t v);
void ge_set_f32(ge *e, const char *key, float v);
void ge_set_str(ge *e, const char *key, const char *v);
void ge_set_raw(ge *e, const char *key, uint32_t type, const void *value, size_t bytes);
void ge_drop_keys(ge *e, const char *prefix); /* all keys that begin so */
bool ge_has_key(const ge *e, const char *key);

/* A writer with everything in it, for forms that gguf_write.h knows (version, alignment, split); the caller closes it. */
gw  *ge_writer(const ge *e);
gw  *ge_writer_aligned(const ge *e, uint32_t alignment);
void ge_save(const ge *e, const char *path);
#endif
