/* The small ops: embedding, norm, rotation, routing, sums. For one token they run on the calling thread: waking another costs more. */
#include <math.h>
#include <string.h>

#include "dev/cpu/cpu.h"

enum { TOK_GRAIN = 8 }; /* tokens per thread's share: below two shares nobody is woken */

typedef struct elem {
    const mp_op   *op;
    const mp_kern *k;
    int64_t        cols;
} elem;

static mp_err over_rows(mp_dev_cpu *d, const mp_op *op, int64_t rows, int64_t cols, mp_pool_fn *fn)
{
    elem e = { op, d->k, cols };
    int64_t grain = TOK_GRAIN * ((4096 + cols - 1) / cols); /* about 32 K elements each */
    mp_cpu_for(d, rows, grain, fn, &e);
    return MP_OK;
}

static void embed_rows(void *arg, int64_t first, int64_t last, int thread)
{
    elem *e = arg;
    const mp_tensor *table = &e->op->in[0];
    (void)thread;
    for (int64_t t = first; t < last; t++) {
        int64_t id = ((const int32_t *)e->op->in[1].data)[t];
        e->k->dequant[table->dtype](mp_row(&e->op->out[0], t), mp_row(table, id), e->cols);
    }
}

mp_err mp_cpu_embed(mp_dev_cpu *d, const mp_op *op)
{
    const int32_t *ids = op->in[1].data;
    for (int64_t t = 0; t < op->in[1].shape[0]; t++)
        if (ids[t] < 0 || ids[t] >= op->in[0].shape[0])
            return mp_fail(MP_E_USAGE, "token %d is not in the vocabulary of %lld", ids[t], (long long)op->in[0].shape[0]);
    return over_rows(d, op, op->in[1].shape[0], mp_tensor_cols(&op->in[0]), embed_rows);
}

static void rmsnorm_rows(void *arg, int64_t first, int64_t last, int thread)
{
    elem *e = arg;
    const float *w = mp_tensor_none(&e->op->in[1]) ? NULL : e->op->in[1].data;
    (void)thread;
    for (int64_t r = first; r < last; r++) {
        const float *x = mp_row(&e->op->in[0], r);
        float ss = e->k->sum_sq(x, e->cols) / (float)e->cols;
        e->k->scale_mul(mp_row(&e->op->out[0], r), x, 1.0f / sqrtf(ss + e->op->u.norm.eps), w, e->cols);
    }
}

mp_err mp_cpu_rmsnorm(mp_dev_cpu *d, const mp_op *op)
{
    return over_rows(d, op, mp_tensor_rows(&op->in[0]), mp_tensor_cols(&op->in[0]), rmsnorm_rows);
}

static void add_rows(void *arg, int64_t first, int64_t last, int thread)
{
    elem *e = arg;
    (void)thread;
    for (int64_t r = first; r < last; r++)
        e->k->add(mp_row(&e->op->out[0], r), mp_row(&e->op->in[0], r), mp_row(&e->op->in[1], r), e->cols);
}

mp_err mp_cpu_add(mp_dev_cpu *d, const mp_op *op)
{
    return over_rows(d, op, mp_tensor_rows(&op->in[0]), mp_tensor_cols(&op->in[0]), add_rows);
}

static void swiglu_rows(void *arg, int64_t first, int64_t last, int thread)
{
    elem *e = arg;
    (void)thread;
    for (int64_t r = first; r < last; r++)
        e->k->silu_mul(mp_row(&e->op->out[0], r), mp_row(&e->op->in[0], r), mp_row(&e->op->in[1], r), e->cols);
}

mp_err mp_cpu_swiglu(mp_dev_cpu *d, const mp_op *op)
{
    return over_rows(d, op, mp_tensor_rows(&op->in[0]), mp_tensor_cols(&op->in[0]), swiglu_rows);
}

static float sigmoid(float x)
{
    return 1.0f / (1.0f + mp_expf(-x));
}

static void gate_rows(void *arg, int64_t first, int64_t last, int thread)
{
    elem *e = arg;
    int64_t per = mp_tensor_cols(&e->op->in[1]);
    (void)thread;
    for (int64_t r = first; r < last; r++) {
        const float *x = mp_row(&e->op->in[0], r), *g = mp_row(&e->op->in[1], r);
        float *y = mp_row(&e->op->out[0], r);
        if (per == 1)
            e->k->scale_mul(y, x, sigmoid(g[0]), NULL, e->cols);
        else
            for (int64_t i = 0; i < e->cols; i++)
                y[i] = x[i] * sigmoid(g[i]);
    }
}

mp_err mp_cpu_gate(mp_dev_cpu *d, const mp_op *op)
{
    return over_rows(d, op, mp_tensor_rows(&op->in[0]), mp_tensor_cols(&op->in[0]), gate_rows);
}

static void clamp_rows(void *arg, int64_t first, int64_t last, int thread)
{
    elem *e = arg;
    float c = e->op->u.clamp.limit;
    (void)thread;
    for (int64_t r = first; r < last; r++) {
        const float *x = mp_row(&e->op->in[0], r);
        float *y = mp_row(&e->op->out[0], r);
        for (int64_t i = 0; i < e->cols; i++)
            y[i] = x[i] < -c ? -c : x[i] > c ? c : x[i];
    }
}

mp_err mp_cpu_clamp(mp_dev_cpu *d, const mp_op *op)
{
    return over_rows(d, op, mp_tensor_rows(&op->in[0]), mp_tensor_cols(&op->in[0]), clamp_rows);
}

/* Angles in double: at position 262144 a float angle is off by 1e-2. Computed once per token and used for all its heads. */
static void rope_rows(void *arg, int64_t first, int64_t last, int thread)
{
    elem *e = arg;
    const mp_tensor *x = &e->op->in[0];
    const float *freq = e->op->in[2].data;
    int64_t heads = x->shape[1], dim = x->shape[2], half = e->op->in[2].shape[0];
    bool neox = e->op->u.rope.mode == MP_ROPE_NEOX;
    (void)thread;
    for (int64_t t = first; t < last; t++) {
        double pos = ((const int32_t *)e->op->in[1].data)[t];
        const float *src = (const float *)x->data + t * heads * dim;
        float *dst = (float *)e->op->out[0].data + t * heads * dim;
        if (dst != src)
            memcpy(dst, src, (size_t)(heads * dim) * sizeof(float));
        for (int64_t i = 0; i < half; i++) {
            float c = (float)cos(pos * (double)freq[i]) * e->op->u.rope.factor, s = (float)sin(pos * (double)freq[i]) * e->op->u.rope.factor;
            int64_t a = neox ? i : 2 * i, b = neox ? i + half : 2 * i + 1;
            for (int64_t h = 0; h < heads; h++) {
                float u = dst[h * dim + a], v = dst[h * dim + b];
                dst[h * dim + a] = u * c - v * s;
                dst[h * dim + b] = v * c + u * s;
            }
        }
    }
}

mp_err mp_cpu_rope(mp_dev_cpu *d, const mp_op *op)
{
    return over_rows(d, op, op->in[0].shape[0], op->in[0].shape[1] * op->in[0].shape[2], rope_rows);
}

/* The k largest of p, ties to the lower index. Chosen places are marked meanwhile and put back. */
static void choose(float *p, int64_t experts, int k, int32_t *ids, float *w)
{
    for (int j = 0; j < k; j++) {
        int64_t best = 0;
        for (int64_t i = 1; i < experts; i++)
            if (p[i] > p[best])
                best = i;
        ids[j] = (int32_t)best;
        w[j] = p[best];
        p[best] = -1.0f; /* below every probability */
    }
    for (int j = k - 1; j >= 0; j--)
        p[ids[j]] = w[j];
}

static void route_rows(void *arg, int64_t first, int64_t last, int thread)
{
    elem *e = arg;
    int k = e->op->u.route.k;
    (void)thread;
    for (int64_t t = first; t < last; t++) {
        const float *x = mp_row(&e->op->in[0], t);
        float *p = mp_row(&e->op->out[2], t), *w = mp_row(&e->op->out[1], t), sum = 0.0f;
        float total = e->k->exp_sum(p, x, e->k->max(x, e->cols), e->cols);
        e->k->scale_mul(p, p, 1.0f / total, NULL, e->cols);
        choose(p, e->cols, k, mp_row(&e->op->out[0], t), w);
        for (int j = 0; j < k; j++)
            sum += w[j];
        float scale = e->op->u.route.renorm ? e->op->u.route.scale / sum : e->op->u.route.scale;
        for (int j = 0; j < k; j++)
            w[j] *= scale;
    }
}

mp_err mp_cpu_route(mp_dev_cpu *d, const mp_op *op)
{
    return over_rows(d, op, mp_tensor_rows(&op->in[0]), mp_tensor_cols(&op->in[0]), route_rows);
}

static void combine_rows(void *arg, int64_t first, int64_t last, int thread)
{
    elem *e = arg;
    int64_t k = mp_tensor_cols(&e->op->in[1]);
    (void)thread;
    for (int64_t t = first; t < last; t++) {
        const float *w = mp_row(&e->op->in[1], t);
        float *out = mp_row(&e->op->out[0], t);
        e->k->scale_mul(out, mp_row(&e->op->in[0], t * k), w[0], NULL, e->cols);
        for (int64_t j = 1; j < k; j++)
            e->k->axpy(out, w[j], mp_row(&e->op->in[0], t * k + j), e->cols);
    }
}

mp_err mp_cpu_combine(mp_dev_cpu *d, const mp_op *op)
{
    return over_rows(d, op, op->in[1].shape[0], mp_tensor_cols(&op->in[0]), combine_rows);
}

mp_err mp_cpu_xent(mp_dev_cpu *d, const mp_op *op)
{
    int64_t rows = mp_tensor_rows(&op->in[0]), vocab = mp_tensor_cols(&op->in[0]), counted = 0;
    double loss = 0.0;
    for (int64_t t = 0; t < rows; t++) {
        int32_t target = ((const int32_t *)op->in[1].data)[t];
        const float *x = mp_row(&op->in[0], t);
        if (target < 0)
            continue;
        double max = (double)d->k->max(x, vocab), sum = 0.0;
        for (int64_t i = 0; i < vocab; i++)
            sum += exp((double)x[i] - max);
        loss += log(sum) + max - (double)x[target];
        counted++;
    }
    ((float *)op->out[0].data)[0] = counted ? (float)(loss / (double)counted) : 0.0f;
    return MP_OK;
}
