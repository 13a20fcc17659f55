/* The chains that measure the processor: that they do what they say they do, not how fast. */
#include "num/limits.h"

#include "test.h"

/* A chain's result says how many multiply-adds were really done: each adds 1 (int8), or a quarter, to one of the lanes. */
TEST(every_operation_that_is_counted_was_done)
{
    for (int i = 0; mp_kern_at(i); i++)
        for (int a = 0; a < MP_ARITH_COUNT; a++) {
            const mp_kern *k = mp_kern_at(i);
            union { float f[16]; int32_t i[16]; } sink = { .f = { 0 } };
            if (!k->peak[a])
                continue;
            uint64_t ops = k->peak[a](sink.f, 100), done = 0;
            int lanes = strcmp(k->name, "avx2") || a == MP_ARITH_BF16 ? 16 : 8; /* avx512's table has avx2's chain nowhere */
            for (int j = 0; j < lanes; j++)
                done += a == MP_ARITH_INT8 ? (uint64_t)sink.i[j] : (uint64_t)(sink.f[j] * 4);
            CHECK_EQ(done * 2, ops);
            CHECK_EQ(k->peak[a](sink.f, 300), ops * 3);
        }
}

TEST(instruction_sets_have_what_they_should)
{
    const mp_kern *avx2 = mp_kern_get("avx2"), *avx512 = mp_kern_get("avx512");
    CHECK(!avx2 || (avx2->peak[MP_ARITH_INT8] && !avx2->peak[MP_ARITH_BF16] && avx2->peak[MP_ARITH_F32]));
    CHECK(!avx512 || (avx512->peak[MP_ARITH_INT8] != avx2->peak[MP_ARITH_INT8] && avx512->peak[MP_ARITH_BF16] && avx512->peak[MP_ARITH_F32] != avx2->peak[MP_ARITH_F32]));
}

TEST(limits_are_measured)
{
    mp_ledger *ledger;
    mp_pool *pool = NULL;
    double bps = 0;
    REQUIRE(mp_ledger_open(false, &ledger) == MP_OK && mp_pool_open(ledger, 2, &pool) == MP_OK);
    for (int i = 0; mp_kern_at(i); i++)
        for (int a = 0; a < MP_ARITH_COUNT; a++)
            CHECK((mp_limits_ops(mp_kern_at(i), (mp_arith)a) > 0) == (mp_kern_at(i)->peak[a] != NULL));
    CHECK_OK(mp_limits_read(pool, &(mp_read_test){ 8 << 20, true, 2 }, &bps));
    CHECK(bps > 0);
    CHECK_OK(mp_limits_read(NULL, &(mp_read_test){ (4 << 20) + 1, false, 1 }, &bps));
    CHECK(bps > 0);
    CHECK_EQ(mp_limits_read(pool, &(mp_read_test){ 1 << 20, true, 2 }, &bps), MP_E_FAILED); /* less than a chunk */
    CHECK_EQ(mp_limits_read(pool, &(mp_read_test){ 1ull << 60, true, 2 }, &bps), MP_E_FAILED);
    CHECK_NEAR(bps, 0, 0);
    mp_pool_close(&pool);
    mp_ledger_close(&ledger);
}

int main(void)
{
    RUN(every_operation_that_is_counted_was_done);
    RUN(instruction_sets_have_what_they_should);
    RUN(limits_are_measured);
    return test_done();
}
