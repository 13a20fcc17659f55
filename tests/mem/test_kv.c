/* Timelines of keys and values: what is written is found again, shared blocks are never written, blocks come back. */
#include "test.h"

#include <pthread.h>

#include "mem/kv.h"

enum { LAYERS = 3, HEADS = 2, K_DIM = 8, V_DIM = 36 /* a whole panel and a narrow one */ };

static mp_kv_config config_of(uint32_t blocks, mp_dtype dtype) {
    return (mp_kv_config){.layers = LAYERS, .heads = HEADS, .k_dim = K_DIM, .v_dim = V_DIM, .dtype = dtype, .blocks = blocks};
}

static float value_of(int layer, int head, int64_t pos, int i, int mark) {
    return (float)(layer * 1000 + head * 100 + i * 10 + mark) + (float)pos * 0.25f;
}

/* Writes or checks one position of all layers and heads. Returns how many elements are wrong. */
static int touch(const mp_kv *kv, int64_t pos, int mark, bool write) {
    int wrong = 0;
    for (int layer = 0; layer < LAYERS; layer++) {
        mp_kv_tile t;
        mp_kv_tile_at(kv, layer, pos, &t);
        int64_t row = pos - t.first;
        for (int h = 0; h < HEADS; h++) {
            float *k = (float *)(void *)(t.k + (size_t)h * t.k_head);
            float *v = (float *)(void *)(t.v + (size_t)h * t.v_head);
            for (int i = 0; i < K_DIM; i++) {
                float *at = k + mp_tile_k_at(K_DIM, row, i), value = value_of(layer, h, pos, i, mark);
                if (write) *at = value;
                wrong += *at != value;
            }
            for (int i = 0; i < V_DIM; i++) {
                float *at = v + mp_tile_v_at(V_DIM, MP_TILE_TOK, row, i), value = -value_of(layer, h, pos, i, mark);
                if (write) *at = value;
                wrong += *at != value;
            }
        }
    }
    return wrong;
}

static void append(mp_kv *kv, int64_t n, int mark) {
    int64_t at = mp_kv_len(kv);
    CHECK_OK(mp_kv_reserve(kv, n));
    CHECK_EQ(mp_kv_len(kv), at);
    for (int64_t i = 0; i < n; i++) touch(kv, at + i, mark, true);
    mp_kv_advance(kv, n);
}

static int wrong_in(const mp_kv *kv, int64_t from, int64_t to, int mark) {
    int wrong = 0;
    for (int64_t i = from; i < to; i++) wrong += touch(kv, i, mark, false);
    return wrong;
}

TEST(keeps_what_was_written) {
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    mp_kv_config c = config_of(8, MP_F32);
    mp_kv_pool *pool = NULL;
    mp_kv *a = NULL, *b = NULL;
    CHECK_OK(mp_kv_pool_open(ledger, &c, &pool));
    CHECK_OK(mp_kv_open(pool, 1000, &a));
    CHECK_OK(mp_kv_open(pool, 1000, &b));
    for (int i = 0; i < 9; i++) { /* uneven pieces, taking blocks in turns */
        append(a, 100, 1);
        append(b, 60 + i, 2);
    }
    CHECK_EQ(mp_kv_len(a), 900);
    CHECK_EQ(wrong_in(a, 0, 900, 1), 0);
    CHECK_EQ(wrong_in(b, 0, mp_kv_len(b), 2), 0);
    mp_kv_tile t;
    mp_kv_tile_at(a, 1, 700, &t);
    CHECK_EQ(t.first, 512);
    CHECK_EQ(t.k_head, K_DIM * 4 * MP_KV_BLOCK);
    CHECK_EQ(t.v_head, V_DIM * 4 * MP_KV_BLOCK);
    CHECK_EQ(mp_kv_get_config(a)->heads, HEADS);
    mp_kv_close(&a);
    mp_kv_close(&b);
    CHECK(a == NULL);
    mp_kv_pool_close(&pool);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&ledger);
}

TEST(limits_are_errors) {
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    mp_kv_config c = config_of(3, MP_F32);
    mp_kv_pool *pool = NULL;
    mp_kv *a = NULL, *b = NULL, *none = NULL;
    CHECK_OK(mp_kv_pool_open(ledger, &c, &pool));
    CHECK_OK(mp_kv_open(pool, 600, &a));
    CHECK_OK(mp_kv_open(pool, 1000, &b));
    CHECK_EQ(mp_kv_open(pool, 0, &none), MP_E_USAGE);
    append(a, 300, 1); /* two blocks */
    CHECK_EQ(mp_kv_reserve(a, 301), MP_E_CONTEXT);
    CHECK(strstr(mp_err_text(), "600") != NULL);
    CHECK_EQ(mp_kv_reserve(b, 257), MP_E_BUDGET); /* two of one left: none is taken */
    append(b, 256, 2);
    CHECK_EQ(mp_kv_reserve(b, 1), MP_E_BUDGET);
    CHECK_EQ(mp_kv_truncate(a, 256), 256);
    append(b, 1, 2);
    CHECK_EQ(wrong_in(a, 0, 256, 1) + wrong_in(b, 0, 257, 2), 0);
    mp_kv_close(&a);
    mp_kv_close(&b);
    mp_kv_pool_close(&pool);
    c.dtype = MP_Q8_0;
    CHECK_EQ(mp_kv_pool_open(ledger, &c, &pool), MP_E_USAGE);
    CHECK(pool == NULL);
    mp_ledger_set_limit(ledger, MP_TIER_RAM, 100000);
    c = config_of(1000, MP_F16);
    CHECK_EQ(mp_kv_pool_open(ledger, &c, &pool), MP_E_BUDGET);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&ledger);
}

TEST(forks_share_until_one_writes) {
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    mp_kv_config c = config_of(5, MP_F32);
    mp_kv_pool *pool = NULL;
    mp_kv *a = NULL, *b = NULL;
    CHECK_OK(mp_kv_pool_open(ledger, &c, &pool));
    CHECK_OK(mp_kv_open(pool, 1280, &a));
    append(a, 700, 1); /* three blocks */
    CHECK_OK(mp_kv_fork(a, &b));
    CHECK_EQ(mp_kv_len(b), 700);
    mp_kv_tile ta, tb;
    mp_kv_tile_at(a, 0, 699, &ta);
    mp_kv_tile_at(b, 0, 699, &tb);
    CHECK(ta.k == tb.k);
    append(b, 100, 2); /* copies the last block, and needs one more: none are left */
    append(a, 60, 1);  /* alone again: no copy */
    mp_kv_tile_at(b, 0, 699, &tb);
    CHECK(ta.k != tb.k);
    mp_kv_tile_at(a, 0, 699, &tb);
    CHECK(ta.k == tb.k);
    CHECK_EQ(wrong_in(a, 0, 760, 1), 0);
    CHECK_EQ(wrong_in(b, 0, 700, 1), 0);
    CHECK_EQ(wrong_in(b, 700, 800, 2), 0);
    CHECK_EQ(mp_kv_reserve(a, 256), MP_E_BUDGET); /* 5 blocks: 2 shared, 1 of a, 2 of b */
    mp_kv_close(&a); /* gives one back */
    append(b, 256, 2);
    CHECK_EQ(wrong_in(b, 0, 700, 1) + wrong_in(b, 700, 1056, 2), 0);
    mp_kv_close(&b);
    mp_kv_pool_close(&pool);
    mp_ledger_close(&ledger);
}

/* A refused copy leaves the timeline as it was, with no block lost. */
TEST(a_refused_reserve_changes_nothing) {
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    mp_kv_config c = config_of(2, MP_F32);
    mp_kv_pool *pool = NULL;
    mp_kv *a = NULL, *b = NULL;
    CHECK_OK(mp_kv_pool_open(ledger, &c, &pool));
    CHECK_OK(mp_kv_open(pool, 1000, &a));
    append(a, 200, 1);
    CHECK_OK(mp_kv_fork(a, &b));
    CHECK_EQ(mp_kv_reserve(b, 100), MP_E_BUDGET); /* a copy and a new one: one is left */
    CHECK_EQ(mp_kv_len(b), 200);
    append(b, 20, 3);
    CHECK_EQ(wrong_in(a, 0, 200, 1) + wrong_in(b, 0, 200, 1) + wrong_in(b, 200, 220, 3), 0);
    mp_kv_close(&a);
    append(b, 100, 3);
    CHECK_EQ(wrong_in(b, 200, 320, 3), 0);
    mp_kv_close(&b);
    mp_kv_pool_close(&pool);
    mp_ledger_close(&ledger);
}

TEST(truncate_drops_and_rewrites) {
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    mp_kv_config c = config_of(4, MP_F32);
    mp_kv_pool *pool = NULL;
    mp_kv *a = NULL, *b = NULL;
    CHECK_OK(mp_kv_pool_open(ledger, &c, &pool));
    CHECK_OK(mp_kv_open(pool, 2000, &a));
    append(a, 1024, 1);
    CHECK_EQ(mp_kv_truncate(a, 5000), 1024);
    CHECK_EQ(mp_kv_truncate(a, 300), 300);
    CHECK_OK(mp_kv_fork(a, &b));
    append(a, 10, 4); /* into the middle of a shared block */
    CHECK_EQ(wrong_in(a, 0, 300, 1) + wrong_in(a, 300, 310, 4), 0);
    append(b, 10, 5);
    CHECK_EQ(wrong_in(a, 300, 310, 4) + wrong_in(b, 300, 310, 5), 0);
    CHECK_EQ(mp_kv_truncate(a, 0), 0);
    CHECK_EQ(mp_kv_truncate(b, 256), 256);
    CHECK_OK(mp_kv_reserve(a, 500)); /* reserved and never used */
    CHECK_EQ(mp_kv_reserve(b, 700), MP_E_BUDGET);
    CHECK_EQ(mp_kv_truncate(a, 0), 0);
    CHECK_OK(mp_kv_reserve(b, 700));
    CHECK_EQ(wrong_in(b, 0, 256, 1), 0);
    mp_kv_close(&a);
    mp_kv_close(&b);
    mp_kv_pool_close(&pool);
    mp_ledger_close(&ledger);
}

TEST(dry_charges_the_same) {
    mp_ledger *wet = NULL, *dry = NULL;
    REQUIRE(mp_ledger_open(false, &wet) == 0 && mp_ledger_open(true, &dry) == 0);
    for (int i = 0; i < 4; i++) {
        mp_kv_config c = config_of(7u << (3 * i), i % 2 ? MP_F16 : MP_F32);
        mp_kv_pool *a = NULL, *b = NULL;
        mp_kv *x = NULL, *y = NULL;
        CHECK_OK(mp_kv_pool_open(wet, &c, &a));
        CHECK_OK(mp_kv_pool_open(dry, &c, &b));
        CHECK_OK(mp_kv_open(a, 1000, &x));
        CHECK_OK(mp_kv_open(b, 1000, &y));
        CHECK_OK(mp_kv_reserve(y, 600));
        mp_kv_advance(y, 600);
        mp_kv_tile t;
        mp_kv_tile_at(y, 0, 599, &t);
        CHECK(t.k == NULL && t.v == NULL && t.k_head > 0);
        CHECK_EQ(mp_ledger_get(wet, MP_TIER_RAM, MP_OWN_KV).used_bytes, mp_ledger_get(dry, MP_TIER_RAM, MP_OWN_KV).used_bytes);
        CHECK(mp_ledger_used(dry, MP_TIER_RAM) >= mp_kv_block_bytes(&c) * c.blocks);
        mp_kv_close(&x);
        mp_kv_close(&y);
        mp_kv_pool_close(&a);
        mp_kv_pool_close(&b);
    }
    CHECK_EQ(mp_ledger_used(wet, MP_TIER_RAM) + mp_ledger_used(dry, MP_TIER_RAM), 0);
    mp_ledger_close(&wet);
    mp_ledger_close(&dry);
}

/* Several threads, each with its timeline, forks of one prefix. */
typedef struct thread_arg { const mp_kv *prefix; int mark, wrong; } thread_arg;

static void *grow_a_fork(void *p) {
    thread_arg *arg = p;
    for (int round = 0; round < 20; round++) {
        mp_kv *kv = NULL;
        if (mp_kv_fork(arg->prefix, &kv)) return NULL;
        append(kv, 200, arg->mark);
        arg->wrong += wrong_in(kv, 0, 300, 1) + wrong_in(kv, 300, 500, arg->mark);
        mp_kv_close(&kv);
    }
    return NULL;
}

TEST(threads_fork_one_prefix) {
    mp_ledger *ledger = NULL;
    REQUIRE(mp_ledger_open(false, &ledger) == 0);
    mp_kv_config c = config_of(2 + 3, MP_F32); /* each fork copies one block; 500 tokens need no further one */
    mp_kv_pool *pool = NULL;
    mp_kv *prefix = NULL;
    CHECK_OK(mp_kv_pool_open(ledger, &c, &pool));
    CHECK_OK(mp_kv_open(pool, 1000, &prefix));
    append(prefix, 300, 1);
    pthread_t thread[3];
    thread_arg arg[3];
    for (int i = 0; i < 3; i++) {
        arg[i] = (thread_arg){.prefix = prefix, .mark = 2 + i};
        pthread_create(&thread[i], NULL, grow_a_fork, &arg[i]);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        CHECK_EQ(arg[i].wrong, 0);
    }
    CHECK_EQ(wrong_in(prefix, 0, 300, 1), 0);
    mp_kv_close(&prefix);
    mp_kv_pool_close(&pool);
    mp_ledger_close(&ledger);
}

int main(void) {
    RUN(keeps_what_was_written);
    RUN(limits_are_errors);
    RUN(forks_share_until_one_writes);
    RUN(a_refused_reserve_changes_nothing);
    RUN(truncate_drops_and_rewrites);
    RUN(dry_charges_the_same);
    RUN(threads_fork_one_prefix);
    return test_done();
}
