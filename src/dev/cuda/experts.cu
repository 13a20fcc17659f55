/* EXPERTS: for each job (one expert) and each of its rows, y = down(silu(gate x) * up x). All jobs at once, in a few launches, whatever their types:
 *
 *   upload    what is where: matrices, rows of tokens, tiles
 *   quantize  the tokens; those of the jobs only, in job order, where that is fewer
 *   product   gate and up of all jobs
 *   silu      h = silu(gate) * up, and h as int8
 *   product   down of all jobs
 *
 *   scratch   tables (with room for as many jobs as the rows may be spread over) | xq [min(R, T)] | gate [R,F] (h as well) | up [R,F] | hq [R]       R rows of all jobs
 *
 * Where the choices are in the device's memory only (u.experts.ids), each is a job of one row and a kernel makes the tables: nothing waits for the host.
 *
 * Bytes that must move: every job's three matrices once. Where no job has more than eight rows a row's result depends on its token and its expert only; with
 * more, all jobs of the call go another way (matmul.cu), whose sums run in another order. */
#include "dev/cuda/mm.h"

enum { BLOCK = 256, JOBS = 1024 /* that a scratch has room for whatever is planned: the planner asks with one job of all rows */ };

typedef struct experts {
    const mp_op         *op;
    const mp_expert_job *jobs;
    int                  n_jobs, tile;
    bool                 few; /* no job of the batch has more rows than the kernels for few take */
    int64_t              tok, width, ff, rows, most, tasks; /* rows of all jobs, of the longest; tiles of tokens of all jobs */
    unsigned             types_up, types_down;
    size_t               mats, tasks_up, tasks_down, row_at, xq, gate, up, hq, total; /* where things are in the scratch */
} experts;

static size_t take(size_t *at, size_t bytes)
{
    size_t here = *at;
    *at = (here + bytes + 63) & ~(size_t)63;
    return here;
}

static bool gathered(const experts *e)
{
    return e->rows < e->tok;
}

static experts lay_out(const mp_op *op)
{
    experts e = {};
    e.op = op, e.jobs = op->u.experts.jobs, e.n_jobs = op->u.experts.n_jobs, e.tok = op->in[0].shape[0], e.width = op->in[0].shape[1];
    for (int i = 0; i < e.n_jobs; i++) {
        const mp_expert_job *j = &e.jobs[i];
        e.rows += op->u.experts.ids ? e.tok * op->u.experts.k : j->n;
        e.most = max(e.most, (int64_t)j->n);
        e.ff = j->gate.shape[0];
        e.types_up |= 1u << j->gate.dtype | 1u << j->up.dtype;
        e.types_down |= 1u << j->down.dtype;
    }
    if (op->u.experts.ids)
        e.n_jobs = (int)e.rows, e.most = 1;
    e.few = max(e.most, (int64_t)op->u.experts.most) <= MP_CUDA_FEW;
    e.tile = mp_cuda_tile(e.n_jobs ? e.rows / e.n_jobs : 0);
    for (int i = 0; !e.few && i < e.n_jobs; i++)
        e.tasks += (e.jobs[i].n + e.tile - 1) / e.tile;
    const unsigned quantized = mp_cuda_quantized_types();
    const size_t jobs = (size_t)max((int64_t)e.n_jobs, min(e.rows, (int64_t)JOBS)), tasks = jobs + (size_t)e.rows / 16, floats = (size_t)e.rows * (size_t)e.ff * sizeof(float);
    e.mats = take(&e.total, jobs * 3 * sizeof(mp_cuda_mat));
    e.tasks_up = take(&e.total, tasks * 2 * sizeof(mp_cuda_task));
    e.tasks_down = take(&e.total, tasks * sizeof(mp_cuda_task));
    e.row_at = take(&e.total, (size_t)e.rows * sizeof(int32_t));
    e.xq = take(&e.total, e.types_up & quantized ? (size_t)min(e.rows, e.tok) * mp_cuda_q8_bytes(e.width) : 0);
    e.gate = take(&e.total, floats);
    e.up = take(&e.total, floats);
    e.hq = take(&e.total, e.types_down & quantized ? (size_t)e.rows * mp_cuda_q8_bytes(e.ff) : 0);
    return e;
}

size_t mp_cuda_experts_scratch(const mp_dev_cuda *d, const mp_op *op)
{
    (void)d;
    return lay_out(op).total;
}

/* ---- the tables ---- */

/* Pieces of what goes up, gathered so that they are few: of what one token needs there is one. */
typedef struct up_writer {
    mp_dev_cuda  *d;
    unsigned char bytes[32 << 10];
    unsigned char *to; /* where bytes[0] goes */
    size_t        n;
    mp_err        err;
} up_writer;

static void flush(up_writer *w)
{
    if (w->n && !w->err)
        w->err = mp_cuda_upload(w->d, w->to, w->bytes, w->n);
    w->to += w->n, w->n = 0;
}

static void put(up_writer *w, unsigned char *to, const void *from, size_t bytes)
{
    if (w->to + w->n > to || to + bytes > w->to + sizeof w->bytes) {
        flush(w);
        w->to = to;
    }
    const size_t at = (size_t)(to - w->to); /* what is skipped is padding */
    if (bytes <= sizeof w->bytes) {
        memcpy(w->bytes + at, from, bytes);
        w->n = at + bytes;
    } else if (!w->err) {
        w->err = mp_cuda_upload(w->d, to, from, bytes);
    }
}

static mp_cuda_mat matrix(const experts *e, const mp_expert_job *j, const mp_tensor *w, float *out)
{
    unsigned char *base = (unsigned char *)e->op->scratch;
    const int32_t *rows = (const int32_t *)(void *)(base + e->row_at) + j->first;
    const bool down = w == &j->down, floats = !mp_dtype_get(w->dtype)->quantized;
    mp_cuda_mat m = {};
    m.w = (const unsigned char *)w->data, m.out = out, m.type = w->dtype, m.rows = (int32_t)w->shape[0], m.n = j->n;
    m.x_first = m.out_first = j->first;
    if (down)
        m.out_rows = rows;
    else if (floats || !gathered(e)) /* floats are read where they are; int8 lies in the order of the jobs where it was gathered */
        m.x_rows = rows;
    return m;
}

static void write_tasks(up_writer *w, const experts *e, size_t at, int per_job)
{
    unsigned char *to = (unsigned char *)e->op->scratch + at;
    for (int i = 0; i < e->n_jobs; i++)
        for (int h = 0; h < per_job; h++)
            for (int32_t first = 0; first < e->jobs[i].n; first += e->tile, to += sizeof(mp_cuda_task)) {
                const mp_cuda_task task = { i * per_job + h, first };
                put(w, to, &task, sizeof task);
            }
}

static mp_err write_tables(mp_dev_cuda *d, const experts *e)
{
    unsigned char *base = (unsigned char *)e->op->scratch, *to = base + e->mats;
    up_writer w;
    w.d = d, w.to = base, w.n = 0, w.err = MP_OK;
    for (int i = 0; i < 2 * e->n_jobs; i++, to += sizeof(mp_cuda_mat)) {
        const mp_expert_job *j = &e->jobs[i / 2];
        const mp_cuda_mat m = i % 2 ? matrix(e, j, &j->up, (float *)(void *)(base + e->up)) : matrix(e, j, &j->gate, (float *)(void *)(base + e->gate));
        put(&w, to, &m, sizeof m);
    }
    for (int i = 0; i < e->n_jobs; i++, to += sizeof(mp_cuda_mat)) {
        const mp_cuda_mat m = matrix(e, &e->jobs[i], &e->jobs[i].down, (float *)e->op->out[0].data);
        put(&w, to, &m, sizeof m);
    }
    if (e->tasks) {
        write_tasks(&w, e, e->tasks_up, 2);
        write_tasks(&w, e, e->tasks_down, 1);
    }
    for (int i = 0; i < e->n_jobs; i++)
        put(&w, base + e->row_at + (size_t)e->jobs[i].first * sizeof(int32_t), e->jobs[i].rows, (size_t)e->jobs[i].n * sizeof(int32_t));
    flush(&w);
    return w.err;
}

typedef struct choose_args {
    mp_cuda_mat     *mats;   /* [2n] gates and ups, [n] downs */
    int32_t         *row_at; /* [n] */
    const int32_t   *ids;    /* [n] */
    void *const     *at;     /* [3E] */
    float           *gate, *up, *out;
    mp_cuda_mat      of[3];  /* types and rows of gate, up, down */
    int              n;
} choose_args;

__global__ static void choose(choose_args a)
{
    const int i = (int)(blockIdx.x * BLOCK + threadIdx.x);
    if (i >= a.n)
        return;
    a.row_at[i] = i;
    MP_UNROLLED for (int w = 0; w < 3; w++) {
        mp_cuda_mat m = a.of[w];
        m.w = (const unsigned char *)a.at[3 * a.ids[i] + w];
        m.out = w == 0 ? a.gate : w == 1 ? a.up : a.out;
        m.n = 1, m.x_first = m.out_first = i;
        m.x_rows = w < 2 ? a.row_at + i : nullptr, m.out_rows = w < 2 ? nullptr : a.row_at + i;
        a.mats[w < 2 ? 2 * i + w : 2 * a.n + i] = m;
    }
}

static void choose_tables(mp_dev_cuda *d, const experts *e)
{
    unsigned char *base = (unsigned char *)e->op->scratch;
    const mp_expert_job *j = e->jobs;
    const mp_tensor *of[] = { &j->gate, &j->up, &j->down };
    choose_args a = {};
    a.mats = (mp_cuda_mat *)(void *)(base + e->mats), a.row_at = (int32_t *)(void *)(base + e->row_at);
    a.ids = e->op->u.experts.ids, a.at = e->op->u.experts.at, a.n = e->n_jobs;
    a.gate = (float *)(void *)(base + e->gate), a.up = (float *)(void *)(base + e->up), a.out = (float *)e->op->out[0].data;
    for (int w = 0; w < 3; w++)
        a.of[w].type = of[w]->dtype, a.of[w].rows = (int32_t)of[w]->shape[0];
    MP_LAUNCH(choose, mp_blocks_of(a.n, BLOCK), BLOCK, 0, d->stream, a);
}

/* ---- between the products ---- */

__device__ static inline float silu_times(float gate, float up)
{
    return gate / (1.0f + expf(-gate)) * up;
}

/* h over gate, and int8 of it; eight lanes a block of 32. */
__global__ static void silu_quantized(float *gate, const float *up, unsigned char *q, int64_t rows, int64_t ff)
{
    const int64_t nb = ff / 32, id = (int64_t)blockIdx.x * (BLOCK / 8) + threadIdx.x / 8, row = id / nb, b = id % nb, at = row * ff + b * 32 + threadIdx.x % 8 * 4;
    const bool live = row < rows;
    float v[4] = { 0, 0, 0, 0 };
    if (live) {
        const float4 g = *(const float4 *)(const void *)(gate + at), u = *(const float4 *)(const void *)(up + at);
        v[0] = silu_times(g.x, u.x), v[1] = silu_times(g.y, u.y), v[2] = silu_times(g.z, u.z), v[3] = silu_times(g.w, u.w);
        *(float4 *)(void *)(gate + at) = make_float4(v[0], v[1], v[2], v[3]);
    }
    mp_quantize4(q + row * (int64_t)mp_cuda_q8_bytes(ff), nb, b, v, live);
}

__global__ static void silu_floats(float *gate, const float *up, int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n)
        gate[i] = silu_times(gate[i], up[i]);
}

static void silu(mp_dev_cuda *d, const experts *e)
{
    unsigned char *base = (unsigned char *)e->op->scratch;
    float *gate = (float *)(void *)(base + e->gate), *up = (float *)(void *)(base + e->up);
    if (e->types_down & mp_cuda_quantized_types())
        MP_LAUNCH(silu_quantized, mp_blocks_of(e->rows * (e->ff / 32), BLOCK / 8), BLOCK, 0, d->stream, gate, up, base + e->hq, e->rows, e->ff);
    else
        MP_LAUNCH(silu_floats, mp_blocks_of(e->rows * e->ff, BLOCK), BLOCK, 0, d->stream, gate, up, e->rows * e->ff);
}

/* ---- the op ---- */

static mp_err product(mp_dev_cuda *d, const experts *e, bool down)
{
    unsigned char *base = (unsigned char *)e->op->scratch;
    mp_cuda_mm mm = {};
    mm.q = base + (down ? e->hq : e->xq);
    mm.x = down ? (const float *)(void *)(base + e->gate) : (const float *)e->op->in[0].data;
    mm.k = down ? e->ff : e->width, mm.rows = (int32_t)(down ? e->width : e->ff);
    mm.x_div = e->op->u.experts.k;
    mm.table = (const mp_cuda_mat *)(void *)(base + e->mats) + (down ? 2 * e->n_jobs : 0), mm.count = e->n_jobs * (down ? 1 : 2);
    mm.task = (const mp_cuda_task *)(void *)(base + (down ? e->tasks_down : e->tasks_up)), mm.tasks = (int32_t)(e->tasks * (down ? 1 : 2)), mm.tile = e->tile;
    mm.types = down ? e->types_down : e->types_up;
    mm.most = (int32_t)e->most;
    return e->few ? mp_cuda_matvec(d, &mm) : mp_cuda_matmul(d, &mm);
}

mp_err mp_cuda_experts(mp_dev_cuda *d, const mp_op *op)
{
    const experts e = lay_out(op);
    unsigned char *base = (unsigned char *)op->scratch;
    if (e.rows == 0)
        return MP_OK;
    mp_err err = MP_OK;
    if (op->u.experts.ids)
        choose_tables(d, &e);
    else
        err = write_tables(d, &e);
    if (!err && (e.types_up & mp_cuda_quantized_types()))
        err = mp_cuda_quantize(d, base + e.xq, (const float *)op->in[0].data, gathered(&e) ? e.rows : e.tok, e.width,
                               gathered(&e) ? (const int32_t *)(void *)(base + e.row_at) : NULL, op->u.experts.k);
    if (!err)
        err = product(d, &e, false);
    if (!err)
        silu(d, &e);
    return err ? err : product(d, &e, true);
}
