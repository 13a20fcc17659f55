/* The small operations of the CUDA device against the CPU's. Both compute in float32 with a few roundings each and exponentials good to 2^-21: results differ
 * by at most 2^-19 of the largest. */
#include "both.h"

static const double tolerance = 0x1p-19;
static both b;

static mp_tensor tensor(int64_t rows, int64_t cols, float range)
{
    return mp_tensor_2d(both_floats(rows * cols, range), MP_F32, rows, cols);
}

static const int64_t shapes[][2] = { { 1, 1 }, { 1, 2048 }, { 3, 128 }, { 7, 33 }, { 64, 64 }, { 2, 5000 } };
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void of_two(mp_op_kind kind, float range)
{
    for (int i = 0; i < SHAPES; i++) {
        mp_op op = { .kind = kind, .n_out = 1, .in = { tensor(shapes[i][0], shapes[i][1], range), tensor(shapes[i][0], shapes[i][1], range) } };
        op.out[0] = mp_tensor_2d(NULL, MP_F32, shapes[i][0], shapes[i][1]);
        ((float *)op.in[0].data)[0] = i % 2 ? -1e30f : 0.0f; /* what overflows or vanishes on the way */
        CHECK(both_run(&b, &op));
        CHECK_NEAR(both_distance(&b, 0), 0, tolerance);
        free(op.in[0].data), free(op.in[1].data);
    }
}

TEST(add_and_swiglu)
{
    of_two(MP_OP_ADD, 3.0f);
    of_two(MP_OP_SWIGLU, 8.0f);
    of_two(MP_OP_GATE, 8.0f);
}

TEST(gate_of_rows_and_clamp)
{
    for (int i = 0; i < SHAPES; i++) {
        mp_op op = { .kind = MP_OP_GATE, .n_out = 1, .in = { tensor(shapes[i][0], shapes[i][1], 2.0f), tensor(shapes[i][0], 1, 5.0f) } };
        op.out[0] = mp_tensor_2d(NULL, MP_F32, shapes[i][0], shapes[i][1]);
        CHECK(both_run(&b, &op));
        CHECK_NEAR(both_distance(&b, 0), 0, tolerance);
        free(op.in[1].data);
        op.kind = MP_OP_CLAMP, op.in[1].rank = 0, op.u.clamp.limit = 0.75f;
        ((float *)op.in[0].data)[0] = NAN;
        CHECK(both_run(&b, &op));
        CHECK(both_distance(&b, 0) == 0);
        free(op.in[0].data);
    }
}

TEST(rmsnorm_with_and_without_weights)
{
    for (int i = 0; i < 2 * SHAPES; i++) {
        const int64_t *s = shapes[i / 2];
        mp_op op = { .kind = MP_OP_RMSNORM, .n_out = 1, .in = { tensor(s[0], s[1], i % 2 ? 1e-4f : 100.0f) }, .u.norm.eps = 1e-6f };
        if (i % 2)
            op.in[1] = mp_tensor_1d(both_floats(s[1], 2.0f), MP_F32, s[1]);
        op.out[0] = mp_tensor_2d(NULL, MP_F32, s[0], s[1]);
        CHECK(both_run(&b, &op));
        CHECK_NEAR(both_distance(&b, 0), 0, tolerance);
        free(op.in[0].data), free(op.in[1].data);
    }
}

/* The ring of uploads comes round many times, and large pieces go past it. */
TEST(what_is_put_comes_back)
{
    enum { MOST = 5 << 20 };
    unsigned char *from = malloc(MOST), *to = malloc(MOST);
    for (int i = 0; i < MOST; i++)
        from[i] = (unsigned char)(i * 7 + i / 251);
    for (int i = 0; i < 60; i++) {
        size_t bytes = i % 7 == 6 ? MOST : (size_t)(1 + i * 37 % 50) * 40961;
        both_forget(&b);
        memset(to, 0, bytes);
        void *p = both_put(&b, from, bytes);
        CHECK(!b.gpu->v->get(b.gpu, to, p, bytes) && !memcmp(from, to, bytes));
    }
    free(from), free(to);
}

TEST(memory_is_charged_as_vram_and_given_back)
{
    mp_region r;
    uint64_t before = mp_ledger_used(b.ledger, MP_TIER_VRAM);
    mp_ledger_set_limit(b.ledger, MP_TIER_VRAM, before + (4 << 20));
    CHECK_EQ(mp_region_open_in(b.ledger, b.gpu->memory, MP_OWN_EXPERTS, 5 << 20, &r), MP_E_BUDGET);
    CHECK_EQ(mp_region_open_in(b.ledger, b.gpu->memory, MP_OWN_EXPERTS, 3 << 20, &r), MP_OK);
    CHECK(mp_ledger_used(b.ledger, MP_TIER_VRAM) == before + (4 << 20) && r.bytes >= 3 << 20);
    mp_region_close(&r);
    CHECK(mp_ledger_used(b.ledger, MP_TIER_VRAM) == before && !r.base);
    mp_ledger_set_limit(b.ledger, MP_TIER_VRAM, 0);
}

int main(void)
{
    if (!both_open(&b))
        return both_skipped();
    RUN(add_and_swiglu);
    RUN(gate_of_rows_and_clamp);
    RUN(rmsnorm_with_and_without_weights);
    RUN(what_is_put_comes_back);
    both_forget(&b);
    RUN(memory_is_charged_as_vram_and_given_back);
    both_close(&b);
    return test_done();
}
