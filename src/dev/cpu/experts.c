/* EXPERTS: for each job (one expert) and each of its rows, y = down(silu(gate x) * up x). Three parallel passes over all jobs at once, so that
 * eight experts of one token keep every core busy:
 *
 *   gather   q8 of each (token, choice) row, in job order      scratch  | xq [R] | h [R,F] f32 | hq [R] |     R rows of all jobs
 *   up       h = silu(gate) * up, 32 rows of F at a time
 *   down     y rows, 32 rows of D at a time
 *
 * Bytes that must move: every job's three matrices once. A row's result depends on its token and its expert only: not on which jobs share a call. */
#include <string.h>

#include "dev/cpu/cpu.h"

enum { CHUNK = 32 };

typedef struct experts {
    const mp_op   *op;
    const mp_kern *k;
    int64_t        width, ff, rows;
    char          *xq, *hq; /* q8 buffers, or NULL when that side's weights are not quantized */
    float         *xf, *h;  /* xf: gathered rows in float, when gate or up are not quantized */
    size_t         xq_bytes, hq_bytes;
} experts;

typedef struct layout { size_t xq, xf, h, hq, total; int64_t rows; bool quant_x, float_x, quant_h; } layout;

static layout lay_out(const mp_op *op)
{
    layout l = { 0 };
    int64_t width = op->in[0].shape[1], ff = 0;
    for (int i = 0; i < op->u.experts.n_jobs; i++) {
        const mp_expert_job *j = &op->u.experts.jobs[i];
        bool gq = mp_dtype_get(j->gate.dtype)->quantized, uq = mp_dtype_get(j->up.dtype)->quantized;
        l.rows += j->n;
        ff = j->gate.shape[0];
        l.quant_x |= gq || uq;
        l.float_x |= !gq || !uq;
        l.quant_h |= mp_dtype_get(j->down.dtype)->quantized;
    }
    size_t n = (size_t)l.rows, at = 0;
    l.xq = at, at += l.quant_x ? n * mp_q8_bytes(width) : 0;
    l.xf = at, at += l.float_x ? n * (size_t)width * sizeof(float) : 0;
    l.h = at, at += n * (size_t)ff * sizeof(float);
    at = (at + 63) & ~(size_t)63;
    l.hq = at, at += l.quant_h ? n * mp_q8_bytes(ff) : 0;
    l.total = at;
    return l;
}

size_t mp_cpu_experts_scratch(const mp_op *op)
{
    return lay_out(op).total;
}

static void gather(void *arg, int64_t first, int64_t last, int thread)
{
    experts *e = arg;
    (void)thread;
    for (int j = 0; j < e->op->u.experts.n_jobs; j++) {
        const mp_expert_job *job = &e->op->u.experts.jobs[j];
        int64_t a = first > job->first ? first - job->first : 0;
        int64_t b = last - job->first < job->n ? last - job->first : job->n;
        for (int64_t i = a; i < b; i++) {
            const float *x = mp_row(&e->op->in[0], job->rows[i] / e->op->u.experts.k);
            if (e->xq)
                e->k->quantize_q8(e->xq + (size_t)(job->first + i) * e->xq_bytes, x, e->width);
            if (e->xf)
                memcpy(e->xf + (job->first + i) * e->width, x, (size_t)e->width * sizeof(float));
        }
    }
}

static void quantize_h(void *arg, int64_t first, int64_t last, int thread)
{
    experts *e = arg;
    (void)thread;
    for (int64_t r = first; r < last; r++)
        e->k->quantize_q8(e->hq + (size_t)r * e->hq_bytes, e->h + r * e->ff, e->ff);
}

/* y[t][i] = row (r0 + i) of W . x of rows (row + t), for n rows of W and tok <= MP_DOT_TOK tokens. */
static void block(const experts *e, const mp_tensor *W, const char *q, size_t q_bytes, const float *f, int64_t row, int64_t r0, int n, int tok,
                  float y[MP_DOT_TOK][CHUNK]) /* long: nine parameters, all of one product; a struct would only rename them */
{
    bool quant = mp_dtype_get(W->dtype)->quantized;
    int64_t cols = W->shape[1];
    const char *x = quant ? q + (size_t)row * q_bytes : (const char *)(f + row * cols);
    size_t stride = quant ? q_bytes : (size_t)cols * sizeof(float);
    for (int i = 0; i < n; i++) {
        float v[MP_DOT_TOK];
        e->k->dot[W->dtype](v, mp_row(W, r0 + i), x, stride, cols, tok);
        for (int t = 0; t < tok; t++)
            y[t][i] = v[t];
    }
}

static void up_chunk(const experts *e, const mp_expert_job *job, int64_t r0)
{
    int n = e->ff - r0 < CHUNK ? (int)(e->ff - r0) : CHUNK;
    for (int64_t i = 0; i < job->n; i += MP_DOT_TOK) {
        float g[MP_DOT_TOK][CHUNK], u[MP_DOT_TOK][CHUNK];
        int tok = job->n - i < MP_DOT_TOK ? (int)(job->n - i) : MP_DOT_TOK;
        block(e, &job->gate, e->xq, e->xq_bytes, e->xf, job->first + i, r0, n, tok, g);
        block(e, &job->up, e->xq, e->xq_bytes, e->xf, job->first + i, r0, n, tok, u);
        for (int t = 0; t < tok; t++)
            e->k->silu_mul(e->h + (job->first + i + t) * e->ff + r0, g[t], u[t], n);
    }
}

static void down_chunk(const experts *e, const mp_expert_job *job, int64_t r0)
{
    int n = e->width - r0 < CHUNK ? (int)(e->width - r0) : CHUNK;
    for (int64_t i = 0; i < job->n; i += MP_DOT_TOK) {
        float y[MP_DOT_TOK][CHUNK];
        int tok = job->n - i < MP_DOT_TOK ? (int)(job->n - i) : MP_DOT_TOK;
        block(e, &job->down, e->hq, e->hq_bytes, e->h, job->first + i, r0, n, tok, y);
        for (int t = 0; t < tok; t++)
            memcpy((float *)mp_row(&e->op->out[0], job->rows[i + t]) + r0, y[t], (size_t)n * sizeof(float));
    }
}

static void up_items(void *arg, int64_t first, int64_t last, int thread)
{
    const experts *e = arg;
    int64_t per = (e->ff + CHUNK - 1) / CHUNK;
    (void)thread;
    for (int64_t i = first; i < last; i++)
        up_chunk(e, &e->op->u.experts.jobs[i / per], i % per * CHUNK);
}

static void down_items(void *arg, int64_t first, int64_t last, int thread)
{
    const experts *e = arg;
    int64_t per = (e->width + CHUNK - 1) / CHUNK;
    (void)thread;
    for (int64_t i = first; i < last; i++)
        down_chunk(e, &e->op->u.experts.jobs[i / per], i % per * CHUNK);
}

mp_err mp_cpu_experts(mp_dev_cpu *d, const mp_op *op)
{
    int jobs = op->u.experts.n_jobs;
    if (jobs == 0)
        return MP_OK;
    layout l = lay_out(op);
    char *s = op->scratch;
    experts e = { .op = op, .k = d->k, .width = op->in[0].shape[1], .ff = op->u.experts.jobs[0].gate.shape[0], .rows = l.rows };
    e.xq_bytes = mp_q8_bytes(e.width), e.hq_bytes = mp_q8_bytes(e.ff);
    e.xq = l.quant_x ? s + l.xq : NULL;
    e.xf = l.float_x ? (float *)(void *)(s + l.xf) : NULL;
    e.h = (float *)(void *)(s + l.h);
    e.hq = l.quant_h ? s + l.hq : NULL;
    mp_cpu_for(d, e.rows, 16, gather, &e);
    mp_cpu_for(d, (e.ff + CHUNK - 1) / CHUNK * jobs, 1, up_items, &e);
    if (e.hq)
        mp_cpu_for(d, e.rows, 16, quantize_h, &e);
    mp_cpu_for(d, (e.width + CHUNK - 1) / CHUNK * jobs, 1, down_items, &e);
    return MP_OK;
}
