/* The pool of KV blocks and the timelines that share them.
 *
 *   pool    | block 0 | block 1 | ... one region, taken at open     refs[block]: timelines that hold it, 0 = on the free stack
 *   mp_kv   table[i] = the block of positions [256 i, 256 (i + 1))
 *
 * Invariants: a block that two timelines hold is never written: reserve copies it first. The last reference gives it back. Everything
 * that concerns references is done under the pool's lock; contents are written by the one owner of a timeline, without it. */
#include "mem/kv.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

enum { BLOCK_ALIGN = 64 };

struct mp_kv_pool {
    mp_kv_config    config;
    mp_ledger      *ledger;
    size_t          layer_bytes, block_bytes;
    mp_region       region;
    pthread_mutex_t lock;
    uint32_t       *refs; /* [blocks] */
    uint32_t       *free; /* [blocks] a stack: the first n_free are on it */
    uint32_t        n_free;
};

struct mp_kv {
    mp_kv_pool *pool;
    int64_t     len, max_tok;
    uint32_t   *table; /* [blocks_for(max_tok)] */
    uint32_t    held;  /* entries of table in use */
};

static size_t layer_bytes(const mp_kv_config *c) {
    size_t element = mp_dtype_row_bytes(c->dtype, 1);
    return (size_t)c->heads * MP_KV_BLOCK * ((size_t)c->k_dim + (size_t)c->v_dim) * element;
}

uint64_t mp_kv_block_bytes(const mp_kv_config *config) {
    uint64_t bytes = (uint64_t)layer_bytes(config) * (uint64_t)config->layers;
    return (bytes + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;
}

uint32_t mp_kv_blocks_for(int64_t tokens) {
    return (uint32_t)((tokens + MP_KV_BLOCK - 1) / MP_KV_BLOCK);
}

/* ---- the pool ---- */

static mp_err check_config(const mp_kv_config *c) {
    bool sizes = c->layers >= 0 && c->heads >= 1 && c->k_dim >= 1 && c->v_dim >= 1;
    if (sizes && (c->dtype == MP_F16 || c->dtype == MP_F32)) return MP_OK;
    return mp_fail(MP_E_USAGE, "a cache of %d layers, %d heads of %d and %d values of type %d cannot be; types are F16 and F32", c->layers,
                   c->heads, c->k_dim, c->v_dim, (int)c->dtype);
}

mp_err mp_kv_pool_open(mp_ledger *ledger, const mp_kv_config *config, mp_kv_pool **out) {
    *out = NULL;
    mp_kv_pool *pool = NULL;
    mp_err err = check_config(config);
    if (!err) err = MP_NEW(ledger, MP_OWN_KV, mp_kv_pool, 1, &pool);
    if (err) return err;
    pool->config = *config;
    pool->ledger = ledger;
    pool->layer_bytes = layer_bytes(config);
    pool->block_bytes = (size_t)mp_kv_block_bytes(config);
    pthread_mutex_init(&pool->lock, NULL); /* cannot fail with default attributes on Linux */
    err = MP_NEW(ledger, MP_OWN_KV, uint32_t, config->blocks, &pool->refs);
    if (!err) err = MP_NEW(ledger, MP_OWN_KV, uint32_t, config->blocks, &pool->free);
    size_t bytes = pool->block_bytes * config->blocks;
    if (!err && config->memory) err = mp_region_open_in(ledger, config->memory, MP_OWN_KV, bytes, &pool->region);
    if (!err && !config->memory) err = mp_region_open(ledger, MP_OWN_KV, bytes, true, &pool->region);
    if (err) mp_kv_pool_close(&pool);
    for (uint32_t i = 0; pool && i < config->blocks; i++) pool->free[i] = config->blocks - 1 - i; /* block 0 on top */
    if (pool) pool->n_free = config->blocks;
    *out = pool;
    return err;
}

void mp_kv_pool_close(mp_kv_pool **pp) {
    if (!pp || !*pp) return;
    mp_kv_pool *pool = *pp;
    assert((pool->n_free == pool->config.blocks || !pool->region.ledger) && "a timeline outlives its pool");
    mp_region_close(&pool->region);
    pthread_mutex_destroy(&pool->lock);
    mp_free(pool->free);
    mp_free(pool->refs);
    MP_FREE(*pp);
}

/* Takes n free blocks into blocks[], or none. */
static mp_err take_blocks(mp_kv_pool *pool, uint32_t n, uint32_t *blocks) {
    pthread_mutex_lock(&pool->lock);
    uint32_t n_free = pool->n_free;
    for (uint32_t i = 0; i < n && n <= n_free; i++) {
        blocks[i] = pool->free[--pool->n_free];
        pool->refs[blocks[i]] = 1;
    }
    pthread_mutex_unlock(&pool->lock);
    if (n <= n_free) return MP_OK;
    return mp_fail(MP_E_BUDGET, "the cache of keys and values has room for %u more blocks of %d tokens and %u are needed; "
                   "close a session or load the model with a larger context", n_free, (int)MP_KV_BLOCK, n);
}

static void drop_blocks(mp_kv_pool *pool, const uint32_t *blocks, uint32_t n) {
    pthread_mutex_lock(&pool->lock);
    for (uint32_t i = n; i-- > 0;) {
        assert(pool->refs[blocks[i]] > 0);
        if (--pool->refs[blocks[i]] == 0) pool->free[pool->n_free++] = blocks[i];
    }
    pthread_mutex_unlock(&pool->lock);
}

static void share_blocks(mp_kv_pool *pool, const uint32_t *blocks, uint32_t n) {
    pthread_mutex_lock(&pool->lock);
    for (uint32_t i = 0; i < n; i++) pool->refs[blocks[i]]++;
    pthread_mutex_unlock(&pool->lock);
}

static bool is_shared(mp_kv_pool *pool, uint32_t block) {
    pthread_mutex_lock(&pool->lock);
    bool shared = pool->refs[block] > 1;
    pthread_mutex_unlock(&pool->lock);
    return shared;
}

static unsigned char *block_at(const mp_kv_pool *pool, uint32_t block) {
    return pool->region.base ? pool->region.base + (size_t)block * pool->block_bytes : NULL; /* NULL: a dry run */
}

/* ---- timelines ---- */

mp_err mp_kv_open(mp_kv_pool *pool, int64_t max_tok, mp_kv **out) {
    *out = NULL;
    if (max_tok < 1 || max_tok > INT32_MAX) return mp_fail(MP_E_USAGE, "a timeline of %lld tokens cannot be", (long long)max_tok);
    mp_kv *kv = NULL;
    mp_err err = MP_NEW(pool->ledger, MP_OWN_KV, mp_kv, 1, &kv);
    if (err) return err;
    kv->pool = pool;
    kv->max_tok = max_tok;
    err = MP_NEW(pool->ledger, MP_OWN_KV, uint32_t, mp_kv_blocks_for(max_tok), &kv->table);
    if (err) mp_kv_close(&kv);
    *out = kv;
    return err;
}

void mp_kv_close(mp_kv **kv) {
    if (!kv || !*kv) return;
    drop_blocks((*kv)->pool, (*kv)->table, (*kv)->held);
    mp_free((*kv)->table);
    MP_FREE(*kv);
}

int64_t mp_kv_len(const mp_kv *kv) {
    return kv->len;
}

/* Puts a copy in the place of the last block in use when others hold it too. The block cannot vanish meanwhile: we hold a reference. */
static mp_err own_last(mp_kv *kv) {
    uint32_t last = mp_kv_blocks_for(kv->len);
    if (kv->len % MP_KV_BLOCK == 0 || !is_shared(kv->pool, kv->table[last - 1])) return MP_OK;
    uint32_t copy = 0;
    mp_err err = take_blocks(kv->pool, 1, &copy);
    if (err) return err;
    unsigned char *to = block_at(kv->pool, copy);
    err = to ? mp_memory_copy(kv->pool->config.memory, to, block_at(kv->pool, kv->table[last - 1]), kv->pool->block_bytes) : MP_OK;
    if (err) {
        drop_blocks(kv->pool, &copy, 1);
        return err;
    }
    drop_blocks(kv->pool, &kv->table[last - 1], 1);
    kv->table[last - 1] = copy;
    return MP_OK;
}

mp_err mp_kv_reserve(mp_kv *kv, int64_t n) {
    assert(n >= 0);
    if (n > kv->max_tok - kv->len)
        return mp_fail(MP_E_CONTEXT, "%lld tokens are in the context and %lld more do not fit its %lld", (long long)kv->len, (long long)n,
                       (long long)kv->max_tok);
    if (!n) return MP_OK;
    uint32_t held = kv->held, need = mp_kv_blocks_for(kv->len + n);
    mp_err err = need > held ? take_blocks(kv->pool, need - held, kv->table + held) : MP_OK;
    if (err) return err;
    if (need > held) kv->held = need;
    err = own_last(kv);
    if (err && need > held) {
        drop_blocks(kv->pool, kv->table + held, need - held);
        kv->held = held;
    }
    return err;
}

void mp_kv_advance(mp_kv *kv, int64_t n) {
    assert(n >= 0 && mp_kv_blocks_for(kv->len + n) <= kv->held && "advance without reserve");
    kv->len += n;
}

int64_t mp_kv_truncate(mp_kv *kv, int64_t n) {
    assert(n >= 0);
    if (n < kv->len) kv->len = n;
    uint32_t keep = mp_kv_blocks_for(kv->len); /* what was reserved and never used goes back too */
    if (keep < kv->held) drop_blocks(kv->pool, kv->table + keep, kv->held - keep);
    if (keep < kv->held) kv->held = keep;
    return kv->len;
}

mp_err mp_kv_fork(const mp_kv *kv, mp_kv **out) {
    mp_err err = mp_kv_open(kv->pool, kv->max_tok, out);
    if (err) return err;
    mp_kv *fork = *out;
    fork->len = kv->len;
    fork->held = mp_kv_blocks_for(kv->len); /* not what kv reserved beyond: it may write there without a copy */
    memcpy(fork->table, kv->table, fork->held * sizeof *fork->table);
    share_blocks(kv->pool, fork->table, fork->held);
    return MP_OK;
}

void mp_kv_tile_at(const mp_kv *kv, int layer, int64_t pos, mp_kv_tile *out) {
    const mp_kv_pool *pool = kv->pool;
    const mp_kv_config *c = &pool->config;
    size_t element = mp_dtype_row_bytes(c->dtype, 1);
    assert(layer >= 0 && layer < c->layers && pos >= 0 && mp_kv_blocks_for(pos + 1) <= kv->held);
    *out = (mp_kv_tile){.first = pos / MP_KV_BLOCK * MP_KV_BLOCK};
    out->k_head = (size_t)c->k_dim * element * MP_KV_BLOCK;
    out->v_head = (size_t)c->v_dim * element * MP_KV_BLOCK;
    unsigned char *block = block_at(pool, kv->table[pos / MP_KV_BLOCK]);
    if (!block) return;
    out->k = block + (size_t)layer * pool->layer_bytes;
    out->v = out->k + (size_t)c->heads * out->k_head;
}

const mp_kv_config *mp_kv_get_config(const mp_kv *kv) {
    return &kv->pool->config;
}
