/* What holds of the AArch64 tables alone: which of them this processor has, and that they give the same bits, because integer sums are exact. */
#include "kern_data.h"

/* The processor that qemu plays is chosen by who runs the tests (CMakePresets.json), who also says what must be found there. */
TEST(best_table_is_the_expected_one)
{
    const char *want = getenv("MOPED_BEST_ISA");
    CHECK(mp_kern_get("neon") != NULL);
    if (!want)
        SKIP("MOPED_BEST_ISA does not say which table must be the best here");
    CHECK_STR(mp_kern_get(NULL)->name, want);
}

TEST(products_with_and_without_sdot_agree)
{
    enum { N = 1536 };
    static float x[N];
    const mp_kern *neon = mp_kern_get("neon"), *sdot = mp_kern_get("dotprod");
    if (!sdot)
        SKIP("this processor has no SDOT");
    const void *act[MP_DOT_TOK];
    static mp_q8 q8[MP_DOT_TOK][N / MP_Q8_SUPER];
    for (int t = 0; t < MP_DOT_TOK; t++) {
        for (int i = 0; i < N; i++)
            x[i] = rng_float();
        neon->quantize_q8(q8[t], x, N);
        act[t] = q8[t];
    }
    for (int type = 0; type < MP_DTYPE_COUNT; type++) {
        for (int kind = 0; mp_dtype_get((mp_dtype)type)->quantized && kind < ROW_KINDS; kind++) {
            guard row = guard_open(mp_dtype_row_bytes((mp_dtype)type, N));
            float a[MP_DOT_TOK], b[MP_DOT_TOK];
            row_fill((mp_dtype)type, row.p, N, (row_kind)kind);
            neon->dot[type](a, row.p, act, N, MP_DOT_TOK);
            sdot->dot[type](b, row.p, act, N, MP_DOT_TOK);
            CHECK(neon->dot[type] != sdot->dot[type] && memcmp(a, b, sizeof a) == 0);
            guard_close(&row);
        }
    }
}

/* Nothing is left to the reference that has a kernel here. */
TEST(neon_overrides_all_products)
{
    const mp_kern *ref = mp_kern_at(0), *neon = mp_kern_get("neon");
    for (int type = 0; type < MP_DTYPE_COUNT; type++)
        CHECK(neon->dot[type] != ref->dot[type] || !ref->dot[type]);
    CHECK(neon->quantize_q8 != ref->quantize_q8 && neon->exp_sum != ref->exp_sum && neon->silu_mul != ref->silu_mul);
}

int main(void)
{
    RUN(best_table_is_the_expected_one);
    RUN(products_with_and_without_sdot_agree);
    RUN(neon_overrides_all_products);
    return test_done();
}
