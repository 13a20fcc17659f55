/* LINEAR and EXPERTS on the CPU device with matrices of many pieces: right (against double), whatever the threads, whose shares begin and end anywhere, and
 * the same bits on one thread and on several, for one token alone and among others. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dev/dev.h"
#include "test.h"

enum { TOK = 5, WIDTH = 288, FF = 800, EXPERTS = 3, K = 2, OUTS = 3 };
static const int out_rows[OUTS] = { 700, 33, 516 };

static mp_ledger *ledger;
static uint64_t seed = 7;

static float next_float(void)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (float)(int32_t)(seed >> 32) * 0x1p-31f;
}

static float *floats(int64_t n)
{
    float *x = malloc((size_t)n * sizeof(*x));
    for (int64_t i = 0; i < n; i++)
        x[i] = next_float();
    return x;
}

/* Random weights of F32 or Q8_0. */
static mp_tensor matrix(mp_dtype type, int64_t rows, int64_t cols)
{
    mp_tensor t = mp_tensor_2d(NULL, type, rows, cols);
    unsigned char *p = malloc(mp_tensor_bytes(&t));
    t.data = p;
    for (int64_t i = 0; type == MP_F32 && i < rows * cols; i++) {
        float f = next_float() * 0.1f;
        memcpy(p + 4 * i, &f, 4);
    }
    for (int64_t b = 0; type == MP_Q8_0 && b < rows * cols / 32; b++) {
        uint16_t scale = mp_f16_from_f32(0.001f);
        memcpy(p + 34 * b, &scale, 2);
        for (int i = 2; i < 34; i++)
            p[34 * b + i] = (unsigned char)(int)(next_float() * 127.0f);
    }
    return t;
}

/* Row r of w times x, and the sum of the terms' magnitudes. */
static double row_times(const mp_tensor *w, int64_t r, const double *x, double *magnitude)
{
    int64_t n = w->shape[1];
    float *row = malloc((size_t)n * sizeof(*row));
    double sum = 0;
    mp_kern_get("ref")->dequant[w->dtype](row, (char *)w->data + (size_t)r * mp_dtype_row_bytes(w->dtype, n), n);
    *magnitude = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)row[i] * x[i];
        *magnitude += fabs((double)row[i] * x[i]);
    }
    free(row);
    return sum;
}

static void run(int threads, mp_op *op)
{
    mp_pool *pool;
    mp_dev *dev;
    CHECK_EQ(mp_pool_open(ledger, threads, &pool), MP_OK);
    CHECK_EQ(mp_dev_cpu_open(ledger, pool, mp_kern_get(NULL), &dev), MP_OK);
    op->scratch = aligned_alloc(64, (mp_dev_scratch(dev, op) + 127) & ~(size_t)63);
    CHECK_EQ(mp_dev_run(dev, op), MP_OK);
    free(op->scratch);
    op->scratch = NULL;
    mp_dev_close(&dev);
    mp_pool_close(&pool);
}

/* 8-bit activations are off by at most half a step of 127 in 32; float sums by their rounding. */
static double slack(mp_dtype type)
{
    return type == MP_F32 ? 1e-5 : 1.0 / 127;
}

static void check_linear(mp_dtype type)
{
    float *x = floats(TOK * WIDTH), *bias = floats(out_rows[1]), *out[OUTS], *one[OUTS];
    mp_op op = { .kind = MP_OP_LINEAR, .n_out = OUTS, .in = { mp_tensor_2d(x, MP_F32, TOK, WIDTH) } };
    for (int i = 0; i < OUTS; i++) {
        op.in[1 + 2 * i] = matrix(type, out_rows[i], WIDTH);
        out[i] = calloc((size_t)(TOK * out_rows[i]), sizeof(float));
        one[i] = calloc((size_t)out_rows[i], sizeof(float));
        op.out[i] = mp_tensor_2d(out[i], MP_F32, TOK, out_rows[i]);
    }
    op.in[4] = mp_tensor_1d(bias, MP_F32, out_rows[1]);
    run(3, &op);
    for (int t = 0; t < TOK; t++) {
        mp_op alone = op;
        alone.in[0] = mp_tensor_2d(x + t * WIDTH, MP_F32, 1, WIDTH);
        for (int i = 0; i < OUTS; i++)
            alone.out[i] = mp_tensor_2d(one[i], MP_F32, 1, out_rows[i]);
        run(1 + t % 3, &alone);
        double token[WIDTH], magnitude;
        for (int i = 0; i < WIDTH; i++)
            token[i] = (double)x[t * WIDTH + i];
        for (int i = 0; i < OUTS; i++) {
            CHECK(!memcmp(one[i], out[i] + t * out_rows[i], (size_t)out_rows[i] * sizeof(float)));
            for (int r = 0; r < out_rows[i]; r++) {
                double want = row_times(&op.in[1 + 2 * i], r, token, &magnitude) + (i == 1 ? (double)bias[r] : 0);
                CHECK_NEAR(out[i][t * out_rows[i] + r], want, slack(type) * (magnitude + 1));
            }
        }
    }
    for (int i = 0; i < OUTS; i++)
        free(op.in[1 + 2 * i].data), free(out[i]), free(one[i]);
    free(x), free(bias);
}

TEST(linear_in_pieces)
{
    check_linear(MP_F32);
    check_linear(MP_Q8_0);
}

static void expert_in_double(const mp_expert_job *job, const float *x, double *y, double *magnitude)
{
    double token[WIDTH], h[FF], m;
    for (int i = 0; i < WIDTH; i++)
        token[i] = (double)x[i];
    for (int r = 0; r < FF; r++) {
        double g = row_times(&job->gate, r, token, &m);
        h[r] = g / (1 + exp(-g)) * row_times(&job->up, r, token, &m);
    }
    for (int r = 0; r < WIDTH; r++)
        y[r] = row_times(&job->down, r, h, &magnitude[r]);
}

/* Tokens 0 to 4 take experts t and t + 1 (of three); a single job of two rows, fewer than the tokens, is gathered. */
static void check_experts(mp_dtype type)
{
    float *x = floats(TOK * WIDTH), *y = calloc(TOK * K * WIDTH, sizeof(float)), *again = calloc(TOK * K * WIDTH, sizeof(float));
    int32_t rows[EXPERTS][TOK * K];
    mp_expert_job job[EXPERTS];
    int32_t first = 0;
    for (int e = 0; e < EXPERTS; e++) {
        job[e] = (mp_expert_job){ matrix(type, FF, WIDTH), matrix(type, FF, WIDTH), matrix(type, WIDTH, FF), rows[e], 0, first };
        for (int32_t i = 0; i < TOK * K; i++)
            if ((i / K + i % K) % EXPERTS == e)
                rows[e][job[e].n++] = i;
        first += job[e].n;
    }
    mp_op op = { .kind = MP_OP_EXPERTS, .n_out = 1, .in = { mp_tensor_2d(x, MP_F32, TOK, WIDTH) }, .out = { mp_tensor_2d(y, MP_F32, TOK * K, WIDTH) } };
    op.u.experts.jobs = job, op.u.experts.n_jobs = EXPERTS, op.u.experts.k = K;
    run(3, &op);
    for (int e = 0; e < EXPERTS; e++)
        for (int32_t i = 0; i < job[e].n; i++) {
            double want[WIDTH], magnitude[WIDTH];
            expert_in_double(&job[e], x + rows[e][i] / K * WIDTH, want, magnitude);
            for (int r = 0; r < WIDTH; r++)
                CHECK_NEAR(y[rows[e][i] * WIDTH + r], want[r], 3 * slack(type) * (magnitude[r] + 1));
        }
    op.out[0].data = again;
    run(1, &op);
    CHECK(!memcmp(again, y, TOK * K * WIDTH * sizeof(float)));
    memset(again, 0, TOK * K * WIDTH * sizeof(float));
    for (int e = 0; e < EXPERTS; e++)
        for (int32_t i = 0; i < job[e].n; i++) { /* each row by itself */
            mp_expert_job single = job[e];
            single.rows = &rows[e][i], single.n = 1, single.first = 0;
            op.u.experts.jobs = &single, op.u.experts.n_jobs = 1;
            run(2, &op);
        }
    CHECK(!memcmp(again, y, TOK * K * WIDTH * sizeof(float)));
    for (int e = 0; e < EXPERTS; e++)
        free(job[e].gate.data), free(job[e].up.data), free(job[e].down.data);
    free(x), free(y), free(again);
}

TEST(experts_in_pieces)
{
    check_experts(MP_F32);
    check_experts(MP_Q8_0);
}

int main(void)
{
    CHECK_EQ(mp_ledger_open(false, &ledger), MP_OK);
    RUN(linear_in_pieces);
    RUN(experts_in_pieces);
    mp_ledger_close(&ledger);
    return test_done();
}
