/* EXPERTS: for each job (one expert) and each of its rows, y = down(silu(gate x) * up x). Passes over all jobs at once, so that eight experts of
 * one token keep every core busy:
 *
 *   quantize  the tokens to q8; those of the jobs only, in job order, where that is fewer
 *   up        h = silu(gate) * up, pieces of F
 *   quantize  h
 *   down      y rows, pieces of D
 *
 *   scratch   one panel for each thread | xq [min(R, T)] | h [R,F] f32 | hq [R]     R rows of all jobs
 *
 * Bytes that must move: every job's three matrices once. A row's result depends on its token and its expert only: not on which jobs share a call. */
#include <string.h>

#include "dev/cpu/cpu.h"

enum { TOK_BLOCK = 128, UP_FLOATS = 32 * TOK_BLOCK, QUANT_GRAIN = 16 };

typedef struct experts {
    const mp_op   *op;
    const mp_kern *k;
    int64_t        tok, width, ff, rows;
    bool           quant_x, quant_h; /* some gate or up, some down is of a quantized type */
    char          *panels, *xq, *hq;
    float         *h;
    size_t         xq_bytes, hq_bytes, total; /* of a row; of all scratch */
    int64_t        grain; /* rows of weights in a piece */
    bool           alone; /* the only thread */
} experts;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool gathered(const experts *e)
{
    return e->rows < e->tok;
}

static bool quantized(const mp_tensor *w)
{
    return mp_dtype_get(w->dtype)->quantized;
}

static experts lay_out(const mp_dev_cpu *d, const mp_op *op)
{
    experts e = { .op = op, .k = d->k, .alone = mp_pool_threads(d->pool) == 1, .tok = op->in[0].shape[0], .width = op->in[0].shape[1], .panels = op->scratch };
    for (int i = 0; i < op->u.experts.n_jobs; i++) {
        const mp_expert_job *j = &op->u.experts.jobs[i];
        e.rows += j->n;
        e.ff = j->gate.shape[0];
        e.quant_x |= quantized(&j->gate) || quantized(&j->up);
        e.quant_h |= quantized(&j->down);
    }
    e.xq_bytes = mp_q8_bytes(e.width), e.hq_bytes = mp_q8_bytes(e.ff);
    size_t at = (size_t)mp_pool_threads(d->pool) * MP_MM_SCRATCH, n = (size_t)e.rows;
    e.xq = e.panels + at, at += e.quant_x ? (gathered(&e) ? n : (size_t)e.tok) * e.xq_bytes : 0;
    e.h = (float *)(void *)(e.panels + at), at += n * (size_t)e.ff * sizeof(float);
    at = (at + 63) & ~(size_t)63;
    e.hq = e.panels + at, at += e.quant_h ? n * e.hq_bytes : 0;
    e.total = at;
    return e;
}

size_t mp_cpu_experts_scratch(const mp_dev_cpu *d, const mp_op *op)
{
    return lay_out(d, op).total;
}

static void quantize_tokens(void *arg, int64_t first, int64_t last, int thread)
{
    experts *e = arg;
    (void)thread;
    for (int64_t t = first; t < last; t++)
        mp_cpu_quantize(e->k, e->xq + (size_t)t * e->xq_bytes, mp_row(&e->op->in[0], t), e->width, e->tok > 1);
}

static void quantize_gathered(void *arg, int64_t first, int64_t last, int thread)
{
    experts *e = arg;
    (void)thread;
    for (int j = 0; j < e->op->u.experts.n_jobs; j++) {
        const mp_expert_job *job = &e->op->u.experts.jobs[j];
        int64_t a = first > job->first ? first - job->first : 0;
        int64_t b = last - job->first < job->n ? last - job->first : job->n;
        for (int64_t i = a; i < b; i++) {
            const float *x = mp_row(&e->op->in[0], job->rows[i] / e->op->u.experts.k);
            mp_cpu_quantize(e->k, e->xq + (size_t)(job->first + i) * e->xq_bytes, x, e->width, e->tok > 1);
        }
    }
}

static void quantize_h(void *arg, int64_t first, int64_t last, int thread)
{
    experts *e = arg;
    (void)thread;
    for (int64_t r = first; r < last; r++)
        mp_cpu_quantize(e->k, e->hq + (size_t)r * e->hq_bytes, e->h + r * e->ff, e->ff, e->tok > 1);
}

/* Rows [r0, r1) of W, with nothing said yet of tokens and results. */
static mp_mm rows_of(const experts *e, const mp_tensor *W, int64_t r0, int64_t r1, int thread)
{
    int64_t cols = W->shape[1];
    return (mp_mm){ .w = mp_row(W, r0), .row_bytes = mp_dtype_row_bytes(W->dtype, cols), .rows = r1 - r0, .n = cols, .turned = e->tok > 1,
                    .alone = e->alone, .scratch = e->panels + (size_t)thread * MP_MM_SCRATCH };
}

/* Rows r0.. of gate or up for the job's tokens [i, i + tok). */
static void multiply_x(const experts *e, const mp_expert_job *job, const mp_tensor *W, mp_mm *m, int64_t i)
{
    if (!quantized(W)) {
        m->x = e->op->in[0].data;
        m->x_stride = (size_t)e->width * sizeof(float);
    } else {
        m->x = gathered(e) ? e->xq + (size_t)(job->first + i) * e->xq_bytes : e->xq;
        m->x_stride = e->xq_bytes;
    }
    m->x_row = quantized(W) && gathered(e) ? NULL : job->rows + i;
    m->x_div = e->op->u.experts.k;
    mp_kern_mm(e->k, W->dtype, m);
}

/* Rows of F at a time: so many that their `up` of a block of tokens fits up_chunk's buffer. */
static int64_t chunk_rows(const mp_expert_job *job)
{
    return UP_FLOATS / least(job->n, TOK_BLOCK) / 16 * 16;
}

static void up_chunk(const experts *e, const mp_expert_job *job, int64_t r0, int64_t r1, int thread)
{
    float u[UP_FLOATS];
    mp_mm gate = rows_of(e, &job->gate, r0, r1, thread), up = rows_of(e, &job->up, r0, r1, thread);
    for (int64_t i = 0; i < job->n; i += TOK_BLOCK) {
        gate.out = e->h + (job->first + i) * e->ff + r0, gate.out_stride = e->ff;
        up.out = u, up.out_stride = r1 - r0;
        gate.tok = up.tok = job->n - i < TOK_BLOCK ? job->n - i : TOK_BLOCK;
        if (gate.row_bytes == up.row_bytes) {
            gate.next = up.w;
            up.next = i + TOK_BLOCK < job->n ? gate.w : r1 < job->gate.shape[0] ? mp_row(&job->gate, r1) : NULL;
        }
        multiply_x(e, job, &job->gate, &gate, i);
        multiply_x(e, job, &job->up, &up, i);
        for (int64_t t = 0; t < gate.tok; t++)
            e->k->silu_mul(mp_mm_out(&gate, t), mp_mm_out(&gate, t), mp_mm_out(&up, t), gate.rows);
    }
}

static void down_piece(const experts *e, const mp_expert_job *job, int64_t r0, int64_t r1, int thread)
{
    bool quant = quantized(&job->down);
    mp_mm m = rows_of(e, &job->down, r0, r1, thread);
    m.x = quant ? e->hq + (size_t)job->first * e->hq_bytes : (const char *)(e->h + job->first * e->ff);
    m.x_stride = quant ? e->hq_bytes : (size_t)e->ff * sizeof(float);
    m.out = (float *)e->op->out[0].data + r0;
    m.out_stride = e->width;
    m.out_row = job->rows;
    m.stream = e->tok > 1 && mp_cpu_streams(mp_tensor_bytes(&e->op->out[0]));
    m.tok = job->n;
    mp_kern_mm(e->k, job->down.dtype, &m);
}

static int64_t pieces(int64_t rows, int64_t grain)
{
    return (rows + grain - 1) / grain;
}

/* The rows [from, to) of one job that pieces [first, last) begin with; returns the pieces that come after them. */
static int64_t rows_of_pieces(const experts *e, int64_t all, int64_t first, int64_t last, int64_t rows[2])
{
    int64_t per = pieces(all, e->grain), end = least(last, (first / per + 1) * per);
    rows[0] = first % per * e->grain;
    rows[1] = least(rows[0] + (end - first) * e->grain, all);
    return end;
}

static void up_pieces(void *arg, int64_t first, int64_t last, int thread)
{
    const experts *e = arg;
    while (first < last) {
        const mp_expert_job *job = &e->op->u.experts.jobs[first / pieces(e->ff, e->grain)];
        int64_t rows[2], chunk = chunk_rows(job);
        first = rows_of_pieces(e, e->ff, first, last, rows);
        for (int64_t r = rows[0]; r < rows[1]; r += chunk)
            up_chunk(e, job, r, least(r + chunk, rows[1]), thread);
    }
}

static void down_pieces(void *arg, int64_t first, int64_t last, int thread)
{
    const experts *e = arg;
    while (first < last) {
        const mp_expert_job *job = &e->op->u.experts.jobs[first / pieces(e->width, e->grain)];
        int64_t rows[2];
        first = rows_of_pieces(e, e->width, first, last, rows);
        down_piece(e, job, rows[0], rows[1], thread);
    }
}

mp_err mp_cpu_experts(mp_dev_cpu *d, const mp_op *op)
{
    int jobs = op->u.experts.n_jobs;
    if (jobs == 0)
        return MP_OK;
    experts e = lay_out(d, op);
    if (e.quant_x && gathered(&e))
        mp_cpu_for(d, e.rows, QUANT_GRAIN, quantize_gathered, &e);
    else if (e.quant_x)
        mp_cpu_for(d, e.tok, QUANT_GRAIN, quantize_tokens, &e);
    const mp_expert_job *job = op->u.experts.jobs;
    e.grain = mp_cpu_row_grain(e.ff, mp_tensor_bytes(&job->gate));
    mp_cpu_for(d, pieces(e.ff, e.grain) * jobs, 1, up_pieces, &e);
    if (e.quant_h)
        mp_cpu_for(d, e.rows, QUANT_GRAIN, quantize_h, &e);
    e.grain = mp_cpu_row_grain(e.width, mp_tensor_bytes(&job->down));
    mp_cpu_for(d, pieces(e.width, e.grain) * jobs, 1, down_pieces, &e);
    return MP_OK;
}
