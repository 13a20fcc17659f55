/* EMBED and COMBINE of the CUDA device. EMBED must agree with the reference to the bit, for every block type: that is the test of src/dev/cuda/decode.h. */
#include "weights.h"

static both b;

/* Runs the op with the table at base + shift on the GPU, and what the reference decodes on the other side. */
static void check_table(mp_dtype type, int64_t vocab, int64_t cols, row_kind kind, int shift)
{
    enum { TOK = 5 };
    const int32_t ids[TOK] = { (int32_t)vocab - 1, 0, 1, (int32_t)vocab, -1 };
    mp_tensor table = weights(type, vocab, cols, kind);
    float *want = malloc((size_t)cols * sizeof *want);
    both_forget(&b);
    mp_op op = { .kind = MP_OP_EMBED, .n_out = 1, .in = { weights_twin(&b, &table, shift), mp_tensor_1d(both_put(&b, ids, sizeof ids), MP_I32, TOK) } };
    op.out[0] = mp_tensor_2d(both_blank(&b, BOTH_RESULT, (size_t)cols * TOK * 4), MP_F32, TOK, cols);
    float *got = malloc((size_t)cols * TOK * 4);
    CHECK_OK(mp_dev_run(b.gpu, &op));
    CHECK_OK(b.gpu->v->get(b.gpu, got, op.out[0].data, (size_t)cols * TOK * 4));
    for (int t = 0; t < 3; t++) {
        mp_kern_at(0)->dequant[type](want, (const char *)table.data + (size_t)ids[t] * mp_dtype_row_bytes(type, cols), cols);
        expect(both_same(want, got + t * cols, cols), "embed", type, t, vocab, cols);
    }
    bool all = true;
    for (int64_t i = 3 * cols; i < TOK * cols; i++)
        all &= isnan(got[i]);
    expect(all, "ids outside", type, TOK, vocab, cols);
    free(want), free(got), free(table.data);
}

TEST(embed_decodes_every_type_as_the_reference)
{
    for (int type = 0; type < MP_I32; type++)
        for (int kind = 0; kind < ROW_KINDS; kind++) {
            const int64_t len = mp_dtype_get((mp_dtype)type)->block_len == 256 ? 256 : mp_dtype_get((mp_dtype)type)->quantized ? 32 : 33;
            check_table((mp_dtype)type, 7, len, (row_kind)kind, 0);
            check_table((mp_dtype)type, 4, 17 * len, (row_kind)kind, type == MP_MXFP4 ? 1 : 2); /* blocks past a thread block's share come later */
        }
}

TEST(embed_of_every_power_of_mxfp4)
{
    enum { VOCAB = 256, TOK = 256 };
    unsigned char table[VOCAB][17];
    int32_t ids[TOK];
    float want[32], got[TOK * 32];
    for (int e = 0; e < VOCAB; e++) {
        memset(table[e], e * 37 | 0x81, sizeof table[e]);
        table[e][0] = (unsigned char)e;
        ids[e] = e;
    }
    both_forget(&b);
    mp_op op = { .kind = MP_OP_EMBED, .n_out = 1, .in = { mp_tensor_2d(both_put(&b, table, sizeof table), MP_MXFP4, VOCAB, 32), mp_tensor_1d(both_put(&b, ids, sizeof ids), MP_I32, TOK) } };
    op.out[0] = mp_tensor_2d(both_blank(&b, BOTH_RESULT, sizeof got), MP_F32, TOK, 32);
    CHECK_OK(mp_dev_run(b.gpu, &op));
    CHECK_OK(b.gpu->v->get(b.gpu, got, op.out[0].data, sizeof got));
    for (int e = 0; e < VOCAB; e++) {
        mp_kern_at(0)->dequant[MP_MXFP4](want, table[e], 32);
        CHECK(both_same(want, got + 32 * e, 32));
    }
}

/* Both multiply and add with one rounding, in the router's order: so the same bits, whatever else is in the sum. Some elements meet what overflows, what
 * swallows the other terms, 0 times infinity, and a choice without weight. */
TEST(combine_in_the_routers_order)
{
    static const int64_t shapes[][3] = { { 1, 8, 64 }, { 3, 1, 33 }, { 5, 2, 700 }, { 70, 6, 5 } }; /* T, k, D */
    static const float odd[] = { -1e30f, 3e38f, INFINITY, NAN, -0.0f, 1e-45f, -1e-38f };
    enum { ODD = sizeof odd / sizeof *odd };
    for (int i = 0; i < 2 * 4; i++) {
        const int64_t *s = shapes[i / 2], n = s[0] * s[1];
        mp_op op = { .kind = MP_OP_COMBINE, .n_out = 1, .in = { mp_tensor_2d(both_floats(n * s[2], 3.0f), MP_F32, n, s[2]), mp_tensor_2d(both_floats(n, 1.0f), MP_F32, s[0], s[1]) } };
        op.out[0] = mp_tensor_2d(NULL, MP_F32, s[0], s[2]);
        for (int64_t k = 0; i % 2 && k < n * s[2]; k += 7)
            ((float *)op.in[0].data)[k] = odd[k / 7 % ODD];
        if (i % 2)
            ((float *)op.in[1].data)[n - 1] = 0.0f;
        CHECK(both_run(&b, &op));
        CHECK(both_same(b.want[0], b.got[0], b.n[0]));
        free(op.in[0].data), free(op.in[1].data);
    }
}

int main(void)
{
    if (!both_open(&b))
        return both_skipped();
    RUN(embed_decodes_every_type_as_the_reference);
    RUN(embed_of_every_power_of_mxfp4);
    RUN(combine_in_the_routers_order);
    both_close(&b);
    return test_done();
}
