/* EXPERTS whose choices the host does not know (u.experts.ids): the same bits as with jobs, for every type, for tokens that share experts and for a token that
 * chooses the last ones. */
#include "weights.h"

enum { EXPERTS = 7, K = 3, TOK = 8, WIDTH = 256, FF = 256 };
static both b;

typedef struct layer {
    mp_expert_job cpu[EXPERTS], gpu[EXPERTS]; /* weights of the host, and of the device */
    void         *at[EXPERTS * 3];
    int32_t       ids[TOK * K], rows[TOK * K];
    float        *x;
} layer;

static void open_layer(layer *l, const mp_dtype types[3])
{
    *l = (layer){ .x = both_floats(TOK * WIDTH, 0.1f) };
    for (int e = 0; e < EXPERTS; e++) {
        l->cpu[e].gate = weights(types[0], FF, WIDTH, ROW_RANDOM);
        l->cpu[e].up = weights(types[1], FF, WIDTH, ROW_RANDOM);
        l->cpu[e].down = weights(types[2], WIDTH, FF, ROW_RANDOM);
    }
    for (int i = 0; i < TOK * K; i++)
        l->ids[i] = i / K == TOK - 1 ? EXPERTS - 1 - i % K : (i / K * 2 + i % K * (i / K % 2 + 1)) % EXPERTS;
}

static void close_layer(layer *l)
{
    for (int e = 0; e < EXPERTS; e++)
        free(l->cpu[e].gate.data), free(l->cpu[e].up.data), free(l->cpu[e].down.data);
    free(l->x);
}

/* The weights where the device has them. */
static void place(layer *l)
{
    for (int e = 0; e < EXPERTS; e++) {
        l->gpu[e] = l->cpu[e];
        l->gpu[e].gate.data = l->at[3 * e] = both_put(&b, l->cpu[e].gate.data, mp_tensor_bytes(&l->cpu[e].gate));
        l->gpu[e].up.data = l->at[3 * e + 1] = both_put(&b, l->cpu[e].up.data, mp_tensor_bytes(&l->cpu[e].up));
        l->gpu[e].down.data = l->at[3 * e + 2] = both_put(&b, l->cpu[e].down.data, mp_tensor_bytes(&l->cpu[e].down));
    }
}

static int group(layer *l, int tok, mp_expert_job jobs[EXPERTS])
{
    int n = 0;
    for (int32_t e = 0, at = 0; e < EXPERTS; e++) {
        mp_expert_job j = l->gpu[e];
        j.rows = l->rows + at, j.first = at;
        for (int32_t i = 0; i < tok * K; i++)
            if (l->ids[i] == e)
                l->rows[at++] = i, j.n++;
        if (j.n)
            jobs[n++] = j;
    }
    return n;
}

/* Runs op on the device, into y. */
static void run(mp_op *op, int tok, float *y)
{
    const size_t bytes = (size_t)tok * K * WIDTH * sizeof(float);
    op->scratch = both_blank(&b, BOTH_SCRATCH, mp_dev_scratch(b.gpu, op));
    op->out[0] = mp_tensor_2d(both_blank(&b, BOTH_RESULT, bytes), MP_F32, tok * K, WIDTH);
    CHECK_OK(mp_dev_run(b.gpu, op));
    CHECK_OK(b.gpu->v->get(b.gpu, y, op->out[0].data, bytes));
}

static void compare(layer *l, int tok, mp_dtype type)
{
    static float want[TOK * K * WIDTH], got[TOK * K * WIDTH];
    mp_expert_job jobs[EXPERTS];
    both_forget(&b);
    place(l);
    mp_op op = { .kind = MP_OP_EXPERTS, .n_out = 1, .in = { mp_tensor_2d(both_put(&b, l->x, (size_t)tok * WIDTH * sizeof(float)), MP_F32, tok, WIDTH) } };
    op.u.experts.k = K, op.u.experts.jobs = jobs, op.u.experts.n_jobs = group(l, tok, jobs);
    run(&op, tok, want);
    mp_expert_job any = l->cpu[0];
    any.gate.data = any.up.data = any.down.data = NULL;
    op.u.experts.jobs = &any, op.u.experts.n_jobs = 1;
    op.u.experts.ids = both_put(&b, l->ids, (size_t)tok * K * sizeof(int32_t));
    op.u.experts.at = both_put(&b, l->at, sizeof l->at);
    run(&op, tok, got);
    bool same = memcmp(got, want, (size_t)tok * K * WIDTH * sizeof(float)) == 0;
    double sum = 0;
    for (int i = 0; i < tok * K * WIDTH; i++)
        sum += fabs((double)want[i]);
    if (!same)
        printf("  %s, %d tokens\n", mp_dtype_get(type)->name, tok);
    CHECK(same && sum > 0 && isfinite(sum));
}

TEST(the_same_bits_as_with_jobs)
{
    for (int type = 0; type < MP_I32; type++) {
        const mp_dtype types[3] = { (mp_dtype)type, (mp_dtype)type, (mp_dtype)(type == MP_Q4_K ? MP_Q6_K : type) };
        layer l;
        open_layer(&l, types);
        compare(&l, 1, (mp_dtype)type);
        compare(&l, TOK, (mp_dtype)type);
        close_layer(&l);
    }
}

int main(void)
{
    if (!both_open(&b))
        return both_skipped();
    RUN(the_same_bits_as_with_jobs);
    both_close(&b);
    return test_done();
}
