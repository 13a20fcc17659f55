/* Keys, values and (later) recurrent state of conversations: counted blocks of MP_KV_BLOCK positions, shared copy-on-write, read only through tiles.
 *
 *   block (256 positions):  layer 0: K[Hkv][256 Dk] V[Hkv][256 Dv] | layer 1: ... |    inside of one head's K and V: dev/tile.h
 *   mp_kv                :  length + table of blocks
 *
 * A tile is one block of one layer: attention reduces tiles in position order, so results do not depend on how a prompt was cut. */
#ifndef MP_MEM_KV_H
#define MP_MEM_KV_H

#include "base/ledger.h"
#include "dev/tile.h"

enum { MP_KV_BLOCK = MP_TILE_TOK };

typedef struct mp_kv_config {
    int      layers, heads;   /* layers that have keys and values; KV heads */
    int      k_dim, v_dim;    /* per head */
    mp_dtype dtype;           /* MP_F16 or MP_F32 */
    uint32_t blocks;          /* memory for so many blocks is taken at open, owner KV */
    const mp_memory *memory;  /* in which; NULL: the host's */
} mp_kv_config;

typedef struct mp_kv_pool mp_kv_pool;
typedef struct mp_kv mp_kv;

/* Threads: calls for different timelines may run at once; one timeline has one owner at a time. Owner tag of all memory: KV.
 * Errors: MP_E_BUDGET, MP_E_USAGE (sizes or a type that cannot be). Test: tests/mem/test_kv.c. */
uint64_t mp_kv_block_bytes(const mp_kv_config *config);
uint32_t mp_kv_blocks_for(int64_t tokens); /* ceil(tokens / MP_KV_BLOCK) */
mp_err mp_kv_pool_open(mp_ledger *ledger, const mp_kv_config *config, mp_kv_pool **out); /* dry ledger: no memory, blocks still counted */
void   mp_kv_pool_close(mp_kv_pool **pool); /* after all of its timelines */

mp_err  mp_kv_open(mp_kv_pool *pool, int64_t max_tok, mp_kv **out); /* an empty timeline; takes blocks as it grows */
void    mp_kv_close(mp_kv **kv);
int64_t mp_kv_len(const mp_kv *kv);
/* Makes positions [len, len + n) writable: takes blocks, copies a shared last block. Does not change len. Errors: MP_E_CONTEXT (max_tok),
 * MP_E_BUDGET (no free block); then nothing changed. */
mp_err  mp_kv_reserve(mp_kv *kv, int64_t n);
void    mp_kv_advance(mp_kv *kv, int64_t n);         /* len += n after they have been written */
int64_t mp_kv_truncate(mp_kv *kv, int64_t n);        /* drops positions >= n; returns the position it could reach (<= n) */
mp_err  mp_kv_fork(const mp_kv *kv, mp_kv **out);    /* shares all blocks */

/* The tile of one layer that holds position pos (dev/tile.h). */
void mp_kv_tile_at(const mp_kv *kv, int layer, int64_t pos, mp_kv_tile *out);
const mp_kv_config *mp_kv_get_config(const mp_kv *kv);
#endif
