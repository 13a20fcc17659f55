/* LINEAR of the CUDA device against the processor's; weights.h says by how much they may differ. */
#include "weights.h"

static both b;

static const int tokens[] = { 1, 2, 3, 5, 8, 9, 33, 70 };
enum { TOKENS = sizeof tokens / sizeof *tokens };

/* Output i of the last op against its twin. */
static void compare(const mp_op *op, int i)
{
    const mp_tensor *w = &op->in[1 + 2 * i];
    const int64_t tok = op->in[0].shape[0], k = op->in[0].shape[1], rows = w->shape[0];
    const float *want = b.want[i], *got = b.got[i];
    bool near = true;
    for (int64_t r = 0; r < rows; r++) {
        const double largest = weights_largest(w, r);
        for (int64_t t = 0; t < tok; t++) {
            const double a = (double)want[t * rows + r], c = (double)got[t * rows + r];
            if (!both_near(a, c, product_slack(w->dtype, largest, (const float *)op->in[0].data + t * k, k))) {
                if (near)
                    printf("  token %lld, row %lld: %.9g, not %.9g\n", (long long)t, (long long)r, c, a);
                near = false;
            }
        }
    }
    expect(near, "linear", w->dtype, tok, rows, k);
}

static mp_op op_of(int64_t tok, int64_t k, int outs, const int64_t *rows, const mp_dtype *types, row_kind kind)
{
    mp_op op = { .kind = MP_OP_LINEAR, .n_out = outs, .in = { mp_tensor_2d(both_floats(tok * k, 2.0f), MP_F32, tok, k) } };
    for (int i = 0; i < outs; i++) {
        op.in[1 + 2 * i] = weights(types[i], rows[i], k, kind);
        op.out[i] = mp_tensor_2d(NULL, MP_F32, tok, rows[i]);
    }
    return op;
}

static void op_free(mp_op *op)
{
    for (int i = 0; i < MP_OP_IN; i++)
        free(op->in[i].data);
}

/* Weights at base + shift on the GPU. */
static bool run(const mp_op *op, int shift)
{
    both_forget(&b);
    mp_op g = *op;
    g.in[0] = both_twin(&b, &op->in[0]);
    for (int i = 0; i < op->n_out; i++) {
        g.in[1 + 2 * i] = weights_twin(&b, &op->in[1 + 2 * i], shift);
        g.in[2 + 2 * i] = both_twin(&b, &op->in[2 + 2 * i]);
    }
    return both_run_placed(&b, op, &g);
}

static int64_t unit(mp_dtype type) /* columns come in these */
{
    const mp_dtype_info *info = mp_dtype_get(type);
    return info->quantized ? info->block_len : 7;
}

TEST(every_type_and_number_of_tokens)
{
    for (int type = 0; type < MP_I32; type++)
        for (int i = 0; i < TOKENS; i++) {
            const mp_dtype t = (mp_dtype)type;
            const int64_t rows[3] = { tokens[i] > 8 ? 131 : 21 }, k = unit(t) * (unit(t) == 256 ? 1 + i % 3 : unit(t) == 32 ? 3 + 13 * (i % 4) : 5 + 44 * (i % 3));
            mp_op op = op_of(tokens[i], k, 1, rows, &t, ROW_KINDS);
            CHECK(run(&op, t == MP_MXFP4 ? 1 + i % 16 : 2 * (i % 8)));
            compare(&op, 0);
            op_free(&op);
        }
}

/* A row is longer than what a warp has under way at once, and ends inside of a chunk. */
TEST(long_rows)
{
    for (int type = 0; type < MP_I32; type++)
        for (int i = 0; i < 4; i++) {
            const mp_dtype t = (mp_dtype)type;
            const int64_t tok = i < 2 ? i + 1 : i + 6, rows[1] = { 3 }, k = unit(t) == 7 ? 1343 : 256 * 23;
            mp_op op = op_of(tok, k, 1, rows, &t, ROW_RANDOM);
            CHECK(run(&op, t == MP_MXFP4 ? 5 : 6));
            compare(&op, 0);
            op_free(&op);
        }
}

TEST(three_of_different_types_with_biases)
{
    const mp_dtype mixes[][3] = { { MP_Q4_K, MP_Q4_K, MP_Q6_K }, { MP_F32, MP_Q8_0, MP_BF16 }, { MP_F16, MP_F32, MP_F32 }, { MP_MXFP4, MP_Q2_K, MP_IQ4_XS } };
    const int64_t rows[3] = { 150, 1, 37 };
    for (int m = 0; m < 4; m++)
        for (int i = 0; i < TOKENS; i++) {
            mp_op op = op_of(tokens[i], 512, 3, rows, mixes[m], ROW_RANDOM);
            op.in[2] = mp_tensor_1d(both_floats(rows[0], 3.0f), MP_F32, rows[0]);
            op.in[6] = mp_tensor_1d(both_floats(rows[2], 1e3f), MP_F32, rows[2]);
            CHECK(run(&op, 4));
            for (int o = 0; o < 3; o++)
                compare(&op, o);
            op_free(&op);
        }
}

/* Largest codes against largest codes: nothing wraps. */
TEST(extreme_rows)
{
    for (int type = MP_Q4_0; type < MP_I32; type++)
        for (int kind = 0; kind < ROW_KINDS; kind++)
            for (int tok = 2; tok <= 9; tok += 7) {
                const mp_dtype t = (mp_dtype)type;
                const int64_t rows[1] = { 5 };
                mp_op op = op_of(tok, 512, 1, rows, &t, (row_kind)kind);
                for (int i = 0; i < 512; i++)
                    ((float *)op.in[0].data)[i] = kind % 2 ? -1.0f : 1.0f;
                CHECK(run(&op, 2));
                compare(&op, 0);
                op_free(&op);
            }
}

static int count_bad(const float *x, int64_t n)
{
    int bad = 0;
    for (int64_t i = 0; i < n; i++)
        bad += !isfinite(x[i]);
    return bad;
}

/* NaN or infinity in a token shows in all of its results and nowhere else; an infinite scale in its row and nowhere else. */
TEST(what_is_not_finite_shows_where_it_is)
{
    enum { K = 512, ROWS = 19, BAD = 7 };
    for (int type = 0; type < MP_I32; type++)
        for (int tok = 3; tok <= 12; tok += 9) {
            const mp_dtype t = (mp_dtype)type;
            const int64_t rows[1] = { ROWS };
            mp_op op = op_of(tok, K, 1, rows, &t, ROW_RANDOM);
            float *x = op.in[0].data;
            x[K + 100] = tok == 3 ? NAN : INFINITY;
            CHECK(run(&op, 2));
            const float *y = b.got[0];
            expect(count_bad(y, ROWS) == 0 && count_bad(y + ROWS, ROWS) == ROWS && count_bad(y + 2 * ROWS, (tok - 2) * ROWS) == 0, "a bad token", t, tok, ROWS, K);
            x[K + 100] = 1.0f;
            int first, second;
            row_halves(t, &first, &second);
            unsigned char *row = (unsigned char *)op.in[1].data + BAD * mp_dtype_row_bytes(t, K);
            if (first >= 0)
                memcpy(row + first, &(uint16_t){ 0x7c00 }, 2);
            else if (t == MP_MXFP4)
                row[0] = 255;
            else
                memset(row, 0xff, 4); /* NaN in all float types */
            CHECK(run(&op, 2));
            y = b.got[0];
            for (int i = 0; i < tok * ROWS; i++)
                if ((i % ROWS == BAD) == isfinite(y[i])) {
                    expect(false, "a bad row", t, tok, i % ROWS, K);
                    break;
                }
            op_free(&op);
        }
}

/* Up to eight tokens: the same bits alone, two together, ... */
TEST(a_token_alone_and_among_others)
{
    enum { K = 768, ROWS = 21 };
    for (int type = 0; type < MP_I32; type++) {
        const mp_dtype t = (mp_dtype)type;
        const int64_t rows[1] = { ROWS };
        float all[8 * ROWS];
        mp_op op = op_of(8, K, 1, rows, &t, ROW_RANDOM);
        CHECK(run(&op, 2));
        compare(&op, 0);
        memcpy(all, b.got[0], sizeof all);
        for (int n = 1; n < 8; n++) {
            mp_op few = op;
            few.in[0].shape[0] = few.out[0].shape[0] = n;
            few.in[0].data = (float *)op.in[0].data + (8 - n) * K; /* the last n */
            CHECK(run(&few, 2));
            expect(!memcmp(b.got[0], all + (8 - n) * ROWS, (size_t)n * ROWS * sizeof(float)), "alone and in company", t, n, ROWS, K);
        }
        op_free(&op);
    }
}

int main(void)
{
    if (!both_open(&b))
        return both_skipped();
    RUN(every_type_and_number_of_tokens);
    RUN(long_rows);
    RUN(three_of_different_types_with_biases);
    RUN(extreme_rows);
    RUN(what_is_not_finite_shows_where_it_is);
    RUN(a_token_alone_and_among_others);
    both_close(&b);
    return test_done();
}
