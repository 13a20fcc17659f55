/* What operations must read and compute, against numbers worked out by hand. */
#include "dev/cost.h"
#include "test.h"

static uint64_t all_ops(const mp_cost *c)
{
    return c->ops[MP_ARITH_INT8] + c->ops[MP_ARITH_BF16] + c->ops[MP_ARITH_F32];
}

TEST(products_read_each_weight_once_and_multiply_it_by_each_token)
{
    mp_op op = { .kind = MP_OP_LINEAR, .n_out = 2, .in = { mp_tensor_2d(NULL, MP_F32, 3, 256) } };
    op.in[1] = mp_tensor_2d(NULL, MP_Q4_K, 10, 256);
    op.in[2] = mp_tensor_1d(NULL, MP_F32, 10);
    op.in[3] = mp_tensor_2d(NULL, MP_F16, 7, 256);
    mp_cost c = mp_op_cost(&op);
    CHECK_EQ(c.weight_bytes, 10 * 144 + 10 * 4 + 7 * 256 * 2);
    CHECK_EQ(c.ops[MP_ARITH_INT8], 2 * 3 * 10 * 256);
    CHECK_EQ(c.ops[MP_ARITH_F32], 2 * 3 * 7 * 256); /* halves are not rounded to bf16 */
    CHECK_EQ(c.kv_bytes, 0);
}

TEST(experts_are_read_once_for_all_their_tokens)
{
    mp_expert_job job[2] = { { .n = 5 }, { .n = 1 } };
    for (int i = 0; i < 2; i++) {
        job[i].gate = job[i].up = mp_tensor_2d(NULL, MP_Q8_0, 64, 32);
        job[i].down = mp_tensor_2d(NULL, MP_BF16, 32, 64);
    }
    mp_op op = { .kind = MP_OP_EXPERTS, .n_out = 1 };
    op.u.experts.jobs = job;
    op.u.experts.n_jobs = 2;
    mp_cost c = mp_op_cost(&op);
    CHECK_EQ(c.weight_bytes, 2 * (2 * 64 * 34 + 32 * 64 * 2));
    CHECK_EQ(c.ops[MP_ARITH_INT8], 2 * 6 * 2 * 64 * 32);
    CHECK_EQ(c.ops[MP_ARITH_F32], 2 * 6 * 32 * 64);
    op.u.experts.n_jobs = 0;
    c = mp_op_cost(&op);
    CHECK_EQ(c.weight_bytes + all_ops(&c), 0);
}

static mp_cost attend(const mp_segment *seg, int n_seg, int64_t tok, int window)
{
    mp_op op = { .kind = MP_OP_ATTN, .n_out = 1, .in = { mp_tensor_3d(NULL, MP_F32, tok, 8, 16), mp_tensor_3d(NULL, MP_F32, tok, 2, 16) } };
    op.u.attn.seg = seg;
    op.u.attn.n_seg = n_seg;
    op.u.attn.window = window;
    return mp_op_cost(&op);
}

TEST(attention_meets_the_keys_up_to_each_token)
{
    mp_segment seg[2] = { { .n = 3, .pos = 10, .dtype = MP_F16 }, { .row = 3, .n = 1, .pos = 0, .dtype = MP_F16 } };
    mp_cost c = attend(seg, 2, 4, 0);
    CHECK_EQ(c.kv_bytes, (13 + 1) * 2 * 2 * 16 * 2); /* positions, keys and values, KV heads, elements, bytes */
    CHECK_EQ(c.ops[MP_ARITH_F32], 2 * 2 * 8 * 16 * (11 + 12 + 13 + 1));
    CHECK_EQ(all_ops(&c), c.ops[MP_ARITH_F32]);
    c = attend(seg, 2, 4, 12); /* the last token of the first segment no longer sees position 0, the first one does */
    CHECK_EQ(c.kv_bytes, (13 + 1) * 2 * 2 * 16 * 2);
    CHECK_EQ(c.ops[MP_ARITH_F32], 2 * 2 * 8 * 16 * (11 + 12 + 12 + 1));
    c = attend(seg, 1, 3, 4); /* positions 7 to 12 */
    CHECK_EQ(c.kv_bytes, 6 * 2 * 2 * 16 * 2);
    CHECK_EQ(c.ops[MP_ARITH_F32], 2 * 2 * 8 * 16 * 12);
    seg[1].dtype = MP_F32;
    c = attend(seg + 1, 1, 1, 0);
    CHECK_EQ(c.kv_bytes, 2 * 2 * 16 * 4);
}

TEST(small_operations)
{
    mp_op op = { .kind = MP_OP_EMBED, .n_out = 1, .in = { mp_tensor_2d(NULL, MP_Q6_K, 1000, 512), mp_tensor_1d(NULL, MP_I32, 3) } };
    CHECK_EQ(mp_op_cost(&op).weight_bytes, 3 * 2 * 210);
    op = (mp_op){ .kind = MP_OP_RMSNORM, .n_out = 1, .in = { mp_tensor_3d(NULL, MP_F32, 3, 8, 16), mp_tensor_1d(NULL, MP_F32, 16) } };
    mp_cost c = mp_op_cost(&op), sum = c;
    CHECK_EQ(c.weight_bytes, 64);
    CHECK_EQ(all_ops(&c), 2 * 3 * 8 * 16);
    op.in[1] = (mp_tensor){ 0 };
    CHECK_EQ(mp_op_cost(&op).weight_bytes, 0);
    op = (mp_op){ .kind = MP_OP_ROPE, .n_out = 1, .in = { mp_tensor_3d(NULL, MP_F32, 3, 8, 16), mp_tensor_1d(NULL, MP_I32, 3), mp_tensor_1d(NULL, MP_F32, 4) } };
    c = mp_op_cost(&op);
    CHECK_EQ(all_ops(&c), 2 * 3 * 8 * 8); /* 8 of 16 are rotated */
    op = (mp_op){ .kind = MP_OP_COMBINE, .n_out = 1, .in = { mp_tensor_2d(NULL, MP_F32, 6, 32), mp_tensor_2d(NULL, MP_F32, 3, 2) } };
    c = mp_op_cost(&op);
    CHECK_EQ(all_ops(&c), 2 * 6 * 32);
    mp_cost_add(&sum, &c);
    CHECK_EQ(sum.weight_bytes, 64);
    CHECK_EQ(all_ops(&sum), 2 * 3 * 8 * 16 + 2 * 6 * 32);
    for (int k = 0; k < MP_OP_COUNT; k++) { /* what has no multiply-add and no weight costs nothing; nothing is left to chance */
        if (k != MP_OP_ADD && k != MP_OP_SWIGLU && k != MP_OP_GATE && k != MP_OP_CLAMP && k != MP_OP_KV_WRITE && k != MP_OP_ROUTE)
            continue;
        op = (mp_op){ .kind = (mp_op_kind)k, .n_out = 1, .in = { mp_tensor_2d(NULL, MP_F32, 3, 32), mp_tensor_2d(NULL, MP_F32, 3, 32) } };
        c = mp_op_cost(&op);
        CHECK_EQ(c.weight_bytes + c.kv_bytes + all_ops(&c), 0);
    }
}

int main(void)
{
    RUN(products_read_each_weight_once_and_multiply_it_by_each_token);
    RUN(experts_are_read_once_for_all_their_tokens);
    RUN(attention_meets_the_keys_up_to_each_token);
    RUN(small_operations);
    return test_done();
}
