/* EXPERTS of the CUDA device against the processor's.
 *
 * Tolerance. With matrices of floats only, sums in another order and exponentials good to 2^-21: 2^-17 of the largest result of a row. Where `down` is quantized,
 * h is rounded to int8 in between, and an h that differs in its last bits may be rounded to the other side: one step of 1 / 127 of its block's largest, in one of
 * F = 256 or more terms, moves a result by about 2^-11 of the largest one; it happens to one h in some ten thousand, so several times in these tests and seldom
 * twice in a row of results: 2^-9. What could be wrong here beyond the products (test_linear.c) is whose rows meet whose weights, and that is of order 1. */
#include "weights.h"

static both b;

static const int tokens[] = { 1, 2, 3, 5, 8, 9, 33, 70 };
enum { TOKENS = sizeof tokens / sizeof *tokens, EXPERTS = 5, K = 2 };

typedef struct layer {
    int64_t       tok, width, ff;
    mp_expert_job job[EXPERTS], gpu[EXPERTS]; /* gpu: the same with weights there */
    int           n;
    int32_t       rows[70 * K];
    float        *x;
} layer;

/* Weights of an expert, small enough that silu is neither 0 nor the identity everywhere. */
static void make_job(mp_expert_job *j, const mp_dtype types[3], int64_t ff, int64_t width)
{
    j->gate = weights(types[0], ff, width, ROW_RANDOM);
    j->up = weights(types[1], ff, width, ROW_RANDOM);
    j->down = weights(types[2], width, ff, ROW_RANDOM);
}

/* Token t's first choice is expert t * t % EXPERTS, the second the one after, but that most first choices are expert 1 where `lopsided`: jobs of very
 * different lengths, one perhaps of none. */
static void open_layer(layer *l, int64_t tok, int64_t width, int64_t ff, const mp_dtype (*types)[3], int n_types, bool lopsided)
{
    *l = (layer){ .tok = tok, .width = width, .ff = ff, .x = both_floats(tok * width, 0.1f) };
    int32_t at = 0;
    for (int e = 0; e < EXPERTS; e++) {
        mp_expert_job *j = &l->job[l->n];
        *j = (mp_expert_job){ .rows = l->rows + at, .first = at };
        for (int32_t i = 0; i < tok * K; i++) {
            int32_t t = i / K, first = lopsided && t % 5 ? 1 : t * t % EXPERTS;
            if ((first + i % K) % EXPERTS == e)
                l->rows[at++] = i, j->n++;
        }
        if (j->n)
            make_job(j, types[e % n_types], ff, width), l->n++;
    }
}

static void close_layer(layer *l)
{
    for (int i = 0; i < l->n; i++)
        free(l->job[i].gate.data), free(l->job[i].up.data), free(l->job[i].down.data);
    free(l->x);
}

/* Jobs [from, to) of the layer for tokens [t0, t0 + tok) of it, on both devices; rows are those of the jobs. */
static bool run(layer *l, int from, int to)
{
    both_forget(&b);
    const int32_t base = l->job[from].first;
    mp_expert_job job[EXPERTS];
    for (int i = from; i < to; i++) {
        job[i] = l->job[i], l->gpu[i] = l->job[i];
        job[i].first = l->gpu[i].first = l->job[i].first - base;
        const int shift = l->job[i].gate.dtype == MP_MXFP4 ? 3 : 2 * i;
        l->gpu[i].gate = weights_twin(&b, &l->job[i].gate, shift);
        l->gpu[i].up = weights_twin(&b, &l->job[i].up, 2 * i);
        l->gpu[i].down = weights_twin(&b, &l->job[i].down, 6);
    }
    mp_op op = { .kind = MP_OP_EXPERTS, .n_out = 1, .in = { mp_tensor_2d(l->x, MP_F32, l->tok, l->width) } };
    op.out[0] = mp_tensor_2d(NULL, MP_F32, l->tok * K, l->width);
    op.u.experts.jobs = job + from, op.u.experts.n_jobs = to - from, op.u.experts.k = K;
    mp_op gpu = op;
    gpu.u.experts.jobs = l->gpu + from;
    return both_run_as(&b, &op, &gpu);
}

/* A row of nothing, or of NaN on both, would say nothing. */
static bool row_near(const float *want, const float *got, int64_t n, double tolerance)
{
    double largest = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(want[i]))
            return false;
        largest = fmax(largest, fabs((double)want[i]));
    }
    for (int64_t i = 0; i < n; i++)
        if (!both_near((double)want[i], (double)got[i], tolerance * largest))
            return false;
    return largest > 0;
}

/* Rows that are no job's stay what they were. */
static bool others_untouched(const layer *l, int from, int to)
{
    const unsigned char *got = b.got[0];
    const size_t row_bytes = (size_t)l->width * sizeof(float);
    bool ours[70 * K] = { 0 }, same = true;
    for (int e = from; e < to; e++)
        for (int i = 0; i < l->job[e].n; i++)
            ours[l->job[e].rows[i]] = true;
    for (int64_t r = 0; r < l->tok * K; r++)
        for (size_t i = 0; !ours[r] && i < row_bytes; i++)
            same &= got[(size_t)r * row_bytes + i] == BOTH_RESULT;
    return same;
}

static void compare(const layer *l, int from, int to)
{
    for (int e = from; e < to; e++) {
        const mp_expert_job *j = &l->job[e];
        const double tolerance = mp_dtype_get(j->down.dtype)->quantized ? 0x1p-9 : 0x1p-17;
        bool near = true;
        for (int i = 0; i < j->n; i++)
            near &= row_near((const float *)b.want[0] + j->rows[i] * l->width, (const float *)b.got[0] + j->rows[i] * l->width, l->width, tolerance);
        if (!near)
            printf("  expert %d of %d rows; up is %s, down %s\n", e, j->n, mp_dtype_get(j->up.dtype)->name, mp_dtype_get(j->down.dtype)->name);
        expect(near, "experts", j->gate.dtype, l->tok, l->ff, l->width);
    }
    CHECK(others_untouched(l, from, to));
}

TEST(every_type)
{
    for (int type = 0; type < MP_I32; type++)
        for (int i = 2; i < TOKENS; i += 4) { /* 3 and 33 tokens */
            const mp_dtype types[1][3] = { { (mp_dtype)type, (mp_dtype)type, (mp_dtype)type } };
            const bool k_quant = mp_dtype_get((mp_dtype)type)->block_len == 256;
            layer l;
            open_layer(&l, tokens[i], k_quant ? 512 : 96, k_quant ? 256 : 288, types, 1, false);
            CHECK(run(&l, 0, l.n));
            compare(&l, 0, l.n);
            close_layer(&l);
        }
}

TEST(experts_of_different_types)
{
    const mp_dtype mixes[][3] = { { MP_Q4_K, MP_Q4_K, MP_Q6_K }, { MP_F32, MP_Q8_0, MP_BF16 }, { MP_Q2_K, MP_F16, MP_Q3_K }, { MP_Q5_K, MP_IQ4_XS, MP_Q4_0 } };
    for (int i = 0; i < TOKENS; i++)
        for (int lopsided = 0; lopsided < 2; lopsided++) {
            layer l;
            open_layer(&l, tokens[i], 512, 256, mixes, 4, lopsided);
            CHECK(run(&l, 0, l.n));
            compare(&l, 0, l.n);
            close_layer(&l);
        }
}

/* ---- where h is exact ---- */

/* Whole numbers, so that gate x and up x are exact in any order: gates from 32 to 192, where silu is the identity, and up to 32 * 9 beside them. */
static void make_whole(layer *l)
{
    for (int64_t i = 0; i < l->tok * l->width; i++)
        l->x[i] = (float)(1 + i * 7 % 5 % 3);
    for (int e = 0; e < l->n; e++)
        for (int64_t i = 0; i < l->ff * l->width; i++) {
            ((float *)l->job[e].gate.data)[i] = (float)(1 + (i / 3 + e) % 2);
            ((float *)l->job[e].up.data)[i] = (float)((i * 5 + i / 11 + e) % 7 - 3);
        }
}

static void exact_h(const layer *l, const mp_expert_job *j, const float *x, float *h)
{
    for (int64_t f = 0; f < l->ff; f++) {
        float gate = 0, up = 0;
        for (int64_t i = 0; i < l->width; i++)
            gate += ((const float *)j->gate.data)[f * l->width + i] * x[i], up += ((const float *)j->up.data)[f * l->width + i] * x[i];
        h[f] = gate * up;
    }
}

static void compare_exact(const layer *l)
{
    float *h = malloc((size_t)l->ff * sizeof *h);
    for (int e = 0; e < l->n; e++) {
        const mp_expert_job *j = &l->job[e];
        bool near = true;
        for (int i = 0; i < j->n; i++) {
            exact_h(l, j, l->x + j->rows[i] / K * l->width, h);
            for (int64_t r = 0; r < l->width; r++) {
                const int64_t at = j->rows[i] * l->width + r;
                near &= both_near((double)((float *)b.want[0])[at], (double)((float *)b.got[0])[at], product_slack(j->down.dtype, weights_largest(&j->down, r), h, l->ff));
            }
        }
        expect(near, "down of an exact h", j->down.dtype, l->tok, l->width, l->ff);
    }
    free(h);
}

/* Then both have the same int8 of h as well, and `down` is as near as a product of its own (weights.h): a single h that were a step off would show. */
TEST(down_of_an_exact_h)
{
    for (int type = 0; type < MP_I32; type++)
        for (int tok = 3; tok <= 33; tok += 30) {
            const mp_dtype types[1][3] = { { MP_F32, MP_F32, (mp_dtype)type } };
            layer l;
            open_layer(&l, tok, 32, 256, types, 1, false);
            make_whole(&l);
            CHECK(run(&l, 0, l.n));
            compare_exact(&l);
            close_layer(&l);
        }
}

/* Floats may have any width. */
TEST(odd_shapes)
{
    const mp_dtype mixes[][3] = { { MP_F32, MP_F32, MP_F32 }, { MP_F16, MP_F32, MP_BF16 }, { MP_BF16, MP_F16, MP_F16 } };
    for (int i = 0; i < TOKENS; i++) {
        layer l;
            open_layer(&l, tokens[i], 35, 71, mixes, 3, i % 2);
        CHECK(run(&l, 0, l.n));
        compare(&l, 0, l.n);
        close_layer(&l);
    }
}

/* As the pager hands them over: some experts now, others later; their rows are fewer than the tokens and are gathered. */
TEST(jobs_in_several_calls)
{
    const mp_dtype mixes[][3] = { { MP_Q4_K, MP_Q4_K, MP_Q4_K }, { MP_Q6_K, MP_Q8_0, MP_Q4_K } };
    for (int i = 3; i < TOKENS; i++) {
        layer l;
            open_layer(&l, tokens[i], 256, 512, mixes, 2, false);
        for (int e = 0; e < l.n; e++) {
            CHECK(run(&l, e, e + 1));
            compare(&l, e, e + 1);
        }
        close_layer(&l);
    }
}

/* More rows than a piece of the upload holds, and scratch as the planner asks for it: with one job of all rows. */
TEST(scratch_of_a_plan_is_enough)
{
    const mp_dtype mix[][3] = { { MP_Q4_K, MP_Q4_K, MP_Q6_K } };
    for (int i = 0; i < TOKENS; i++) {
        layer l;
            open_layer(&l, tokens[i], 512, 256, mix, 1, i % 2);
        mp_op op = { .kind = MP_OP_EXPERTS, .n_out = 1, .in = { mp_tensor_2d(l.x, MP_F32, l.tok, l.width) }, .u.experts = { .jobs = l.job, .n_jobs = l.n, .k = K } };
        const size_t real = mp_dev_scratch(b.gpu, &op);
        mp_expert_job all = l.job[0];
        all.n = (int32_t)l.tok * K, all.first = 0;
        op.u.experts.jobs = &all, op.u.experts.n_jobs = 1;
        CHECK(real <= mp_dev_scratch(b.gpu, &op));
        for (int n = 1; n < l.n; n++) { /* and with fewer of them */
            op.u.experts.jobs = l.job, op.u.experts.n_jobs = n;
            CHECK(mp_dev_scratch(b.gpu, &op) <= real);
        }
        close_layer(&l);
    }
}

/* One token by itself has the bits that it has among others, while no expert has more than eight of them. */
TEST(a_token_alone_and_among_others)
{
    enum { TOK = 6, WIDTH = 512 };
    const mp_dtype mixes[][3] = { { MP_Q4_K, MP_Q4_K, MP_Q6_K }, { MP_F32, MP_F16, MP_BF16 }, { MP_Q8_0, MP_MXFP4, MP_Q2_K } };
    float all[TOK * K * WIDTH];
    layer l;
            open_layer(&l, TOK, WIDTH, 256, mixes, 3, false);
    CHECK(run(&l, 0, l.n));
    memcpy(all, b.got[0], sizeof all);
    for (int t = 0; t < TOK; t++) {
        layer one = { .tok = 1, .width = WIDTH, .ff = 256, .x = l.x + t * WIDTH };
        for (int e = 0; e < l.n; e++)
            for (int i = 0; i < l.job[e].n; i++)
                if (l.job[e].rows[i] / K == t) {
                    one.job[one.n] = l.job[e];
                    one.job[one.n].rows = &one.rows[one.n], one.job[one.n].n = 1, one.job[one.n].first = one.n;
                    one.rows[one.n++] = l.job[e].rows[i] % K;
                }
        CHECK_EQ(one.n, K);
        CHECK(run(&one, 0, one.n));
        CHECK(!memcmp(b.got[0], all + t * K * WIDTH, K * WIDTH * sizeof(float)));
    }
    close_layer(&l);
}

TEST(a_bad_token_shows_in_its_rows_only)
{
    enum { BAD = 2, WIDTH = 256 };
    const mp_dtype mixes[][3] = { { MP_Q4_K, MP_Q4_K, MP_Q6_K }, { MP_F32, MP_F32, MP_F32 } };
    for (int tok = 4; tok <= 40; tok += 36) {
        layer l;
            open_layer(&l, tok, WIDTH, 256, mixes, 2, false);
        l.x[BAD * WIDTH + 9] = NAN;
        CHECK(run(&l, 0, l.n));
        const float *y = b.got[0];
        for (int64_t i = 0; i < tok * K * WIDTH; i++)
            if (isfinite(y[i]) == (i / WIDTH / K == BAD)) {
                CHECK(false);
                break;
            }
        close_layer(&l);
    }
}

TEST(no_jobs)
{
    mp_expert_job none;
    mp_op op = { .kind = MP_OP_EXPERTS, .n_out = 1, .in = { mp_tensor_2d(NULL, MP_F32, 1, 32) }, .u.experts = { .jobs = &none, .k = K } };
    both_forget(&b);
    op.scratch = both_blank(&b, BOTH_SCRATCH, mp_dev_scratch(b.gpu, &op));
    CHECK_OK(mp_dev_run(b.gpu, &op));
}

int main(void)
{
    if (!both_open(&b))
        return both_skipped();
    RUN(every_type);
    RUN(experts_of_different_types);
    RUN(down_of_an_exact_h);
    RUN(odd_shapes);
    RUN(jobs_in_several_calls);
    RUN(scratch_of_a_plan_is_enough);
    RUN(a_token_alone_and_among_others);
    RUN(a_bad_token_shows_in_its_rows_only);
    RUN(no_jobs);
    both_close(&b);
    return test_done();
}
