/* Profiles: how often each expert of one model was used, and which are pinned. Kept between runs, so that the next one starts warm.
 *
 *   "MPRF" | u32 version 1 | u64 bytes of the model | u64 hash of it | u32 layers | u32 experts | u64 tokens | u64 0
 *   u32 count [layers][experts] | u8 pinned [layers][experts] | u64 FNV-1a of all before          little endian, nothing behind it
 *
 * Layers are those with experts, in their order: count[i] is page i of the pager. A file is believed only when its length, its checksum and every
 * value fit, and only for the model that it was made of. Counts decay: when more than MP_PROFILE_TOKENS were counted, everything is halved.
 * Threads: none of its own; a profile belongs to one thread at a time.
 * Tests: tests/mem/test_profile.c, tests/fault/test_profile_fault.c, tests/fuzz/fuzz_profile.c. */
#ifndef MP_MEM_PROFILE_H
#define MP_MEM_PROFILE_H

#include "base/ledger.h"
#include "mem/gguf.h"

enum { MP_PROFILE_TOKENS = 1 << 18 }; /* some hundred pages of talk: older habits count half, then a quarter */

typedef struct mp_profile_id { uint64_t bytes, hash; } mp_profile_id;

/* All parts' sizes, and a hash of them with the first 64 KiB of the first part (where the name stands) and the last 4 KiB of each (weights: what
 * was trained on has other ones). Reads 64 KiB and 4 KiB a part. Errors: MP_E_FAILED. */
mp_err mp_profile_identify(const mp_gguf *g, mp_profile_id *out);

typedef struct mp_profile {
    mp_profile_id  id;
    uint32_t       layers, experts;
    uint64_t       tokens;  /* counted, after decay */
    float         *count;   /* [layers * experts] whole numbers, each at most tokens */
    unsigned char *pinned;  /* [layers * experts] 0, 1 */
    unsigned char *file;    /* [file_bytes] room for reading and writing, so that a run whose memory is all spent can still be kept */
    size_t         file_bytes;
} mp_profile;

/* An empty one. Charged OVERHEAD, also on a dry ledger: 10 bytes an expert. Errors: MP_E_BUDGET, MP_E_FAILED. */
mp_err mp_profile_open(mp_ledger *ledger, const mp_profile_id *id, uint32_t layers, uint32_t experts, mp_profile **out);
void   mp_profile_close(mp_profile **profile);
void   mp_profile_clear(mp_profile *profile); /* no counts, no pins */

/* Takes over what is in a file, or in n bytes, of the same model. *found false, with MP_OK: there is no such file. On error, and when not found,
 * it is empty. Errors: MP_E_FAILED (cannot be read); MP_E_MODEL (no profile, or damaged); MP_E_USAGE (another model's). */
mp_err mp_profile_read(mp_profile *profile, const char *path, bool *found);
mp_err mp_profile_parse(mp_profile *profile, const void *data, size_t n);
/* Replaces path whole. Errors: MP_E_FAILED; then path is as it was. */
mp_err mp_profile_write(mp_profile *profile, const char *path);

/* Adds a run: uses [layers * experts], tokens. Halves everything until at most MP_PROFILE_TOKENS are counted. */
void mp_profile_add(mp_profile *profile, const uint32_t *uses, uint64_t tokens);

/* The pages in the order in which they should be resident: pinned ones, then those that were used, most used first; equals by number.
 * order [layers * experts]. Returns how many there are. */
uint32_t mp_profile_order(const mp_profile *profile, uint32_t *order);

#endif
