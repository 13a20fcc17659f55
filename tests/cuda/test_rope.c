/* Rotation on the CUDA device against the CPU's. Angles are good to 2^-24 of half a turn at any position, cosines and sines to a bit or two beyond that, and
 * two products are added: 2^-20 of the pair, |u| + |v|, times factor. Pairs are of very different sizes, so that one which takes from another shows. */
#include "both.h"

static const double tolerance = 0x1p-20;
static both b;

typedef struct shape {
    int64_t      tok, heads, dim, half;
    mp_rope_mode mode;
    float        factor;
} shape;

static const shape shapes[] = {
    { 1, 32, 128, 64, MP_ROPE_NEOX, 1.0f }, { 1, 1, 64, 32, MP_ROPE_NORM, 1.0f },  { 5, 3, 80, 16, MP_ROPE_NEOX, 1.19f }, { 70, 2, 64, 32, MP_ROPE_NORM, 1.0f },
    { 65, 9, 40, 20, MP_ROPE_NEOX, 0.5f },  { 3, 17, 256, 1, MP_ROPE_NORM, 1.0f }, { 2, 8, 256, 128, MP_ROPE_NEOX, 1.0f }, { 1, 20, 96, 24, MP_ROPE_NORM, 2.0f },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Elements of pair i % half of head i / half, counted over all tokens. */
static void pair_at(const shape *s, int64_t i, int64_t *u, int64_t *v)
{
    const int64_t head = i / s->half * s->dim, p = i % s->half;
    *u = head + (s->mode == MP_ROPE_NEOX ? p : 2 * p);
    *v = *u + (s->mode == MP_ROPE_NEOX ? s->half : 1);
}

static mp_op op_of(const shape *s)
{
    mp_op op = { .kind = MP_OP_ROPE, .n_out = 1, .u.rope = { s->mode, s->factor } };
    int32_t *pos = malloc((size_t)s->tok * sizeof *pos);
    float *freq = malloc((size_t)s->half * sizeof *freq);
    for (int64_t t = 0; t < s->tok; t++)
        pos[t] = t == 0 ? 0 : t % 3 == 0 ? 262143 + (int32_t)t : t % 3 == 1 ? (int32_t)(t * 977) : 1 << 20;
    if (s->tok == 1)
        pos[0] = 131071;
    for (int64_t i = 0; i < s->half; i++)
        freq[i] = powf(10000.0f, -(float)i / (float)s->half);
    op.in[0] = mp_tensor_3d(both_floats(s->tok * s->heads * s->dim, 4.0f), MP_F32, s->tok, s->heads, s->dim);
    for (int64_t i = 0; i < s->tok * s->heads * s->half; i++) {
        static const float size[] = { 1e30f, 1.0f, 1e-30f, 0.0f, 1.0f, 1e4f, 1.0f };
        int64_t u, v;
        pair_at(s, i, &u, &v);
        ((float *)op.in[0].data)[u] *= size[i % 7], ((float *)op.in[0].data)[v] *= size[i % 7];
    }
    op.in[1] = mp_tensor_1d(pos, MP_I32, s->tok);
    op.in[2] = mp_tensor_1d(freq, MP_F32, s->half);
    op.out[0] = mp_tensor_3d(NULL, MP_F32, s->tok, s->heads, s->dim);
    return op;
}

static void op_free(mp_op *op)
{
    for (int i = 0; i < 3; i++)
        free(op->in[i].data);
}

static void check_pairs(const shape *s, const float *x)
{
    const float *want = b.want[0], *got = b.got[0];
    for (int64_t i = 0; i < s->tok * s->heads * s->half; i++) {
        int64_t at[2];
        pair_at(s, i, &at[0], &at[1]);
        const double slack = tolerance * (double)s->factor * (fabs((double)x[at[0]]) + fabs((double)x[at[1]]));
        for (int j = 0; j < 2; j++)
            if (!both_near((double)want[at[j]], (double)got[at[j]], slack)) {
                printf("  pair %lld of head %lld: %.9g, not %.9g\n", (long long)(i % s->half), (long long)(i / s->half), (double)got[at[j]], (double)want[at[j]]);
                CHECK(false);
                return;
            }
    }
}

TEST(both_modes_far_positions)
{
    for (int i = 0; i < SHAPES; i++) {
        mp_op op = op_of(&shapes[i]);
        CHECK(both_run(&b, &op));
        check_pairs(&shapes[i], op.in[0].data);
        op_free(&op);
    }
}

/* What is not rotated is the same bits. */
TEST(rest_of_a_head_stays)
{
    for (int i = 0; i < SHAPES; i++) {
        const shape *s = &shapes[i];
        mp_op op = op_of(s);
        const float *x = op.in[0].data;
        CHECK(both_run(&b, &op));
        for (int64_t r = 0; r < s->tok * s->heads; r++)
            CHECK(!memcmp(x + r * s->dim + 2 * s->half, (float *)b.got[0] + r * s->dim + 2 * s->half, (size_t)(s->dim - 2 * s->half) * 4));
        op_free(&op);
    }
}

/* out is in0: the same bits as apart, and company changes nothing. */
TEST(in_place_and_alone)
{
    for (int i = 0; i < SHAPES; i++) {
        const shape *s = &shapes[i];
        mp_op op = op_of(s), gpu;
        const int64_t row = s->heads * s->dim, tok = s->tok - 1;
        CHECK(both_run(&b, &op));
        float *apart = b.got[0];
        b.got[0] = NULL;
        both_forget(&b);
        gpu = op;
        for (int k = 0; k < 3; k++)
            gpu.in[k] = both_twin(&b, &op.in[k]);
        gpu.out[0] = gpu.in[0];
        float *got = malloc(mp_tensor_bytes(&op.out[0]));
        CHECK(!mp_dev_run(b.gpu, &gpu) && !b.gpu->v->get(b.gpu, got, gpu.out[0].data, mp_tensor_bytes(&op.out[0])));
        CHECK(!memcmp(apart, got, mp_tensor_bytes(&op.out[0])));
        mp_op one = op;
        one.in[0] = mp_tensor_3d((float *)op.in[0].data + tok * row, MP_F32, 1, s->heads, s->dim);
        one.in[1] = mp_tensor_1d((int32_t *)op.in[1].data + tok, MP_I32, 1);
        one.out[0] = mp_tensor_3d(NULL, MP_F32, 1, s->heads, s->dim);
        CHECK(both_run(&b, &one));
        CHECK(!memcmp(apart + tok * row, b.got[0], (size_t)row * 4));
        free(apart), free(got);
        op_free(&op);
    }
}

int main(void)
{
    if (!both_open(&b))
        return both_skipped();
    RUN(both_modes_far_positions);
    RUN(rest_of_a_head_stays);
    RUN(in_place_and_alone);
    both_close(&b);
    return test_done();
}
