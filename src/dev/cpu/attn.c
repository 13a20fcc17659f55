/* ATTN: causal attention of grouped heads, softmax on the way (a running maximum), over tiles of 256 positions.
 *
 * The order, which is a function of a token's position only (docs/architecture.md, "One numeric order"):
 *
 *   position   0        256       512       768      1024 ...
 *   tile       |---------|---------|---------|---------|      maximum, sum and result of a row are carried from tile to tile inside a span
 *   span       |-------------------|-------------------|      starts from nothing, so that any thread can compute it at any time
 *   row        span 0 (+) span 1 (+) span 2 ...               (+): both scaled to the larger maximum, in position order
 *
 * Inside a tile: a score is one chain over the head's elements, a result one chain over positions (num/attn.h), exp and its sum are the vectors' own.
 * A row (token, query head) never meets another row, so it does not matter how many are computed at once, nor who computes which span.
 *
 * Work: a block is up to 64 rows: neighbouring tokens of a segment times the H/G query heads of one KV head, which pass together over each tile.
 *   whole   many blocks (prefill): a thread takes a block through all its spans.
 *   split   few (decode): a thread takes one span of a block and leaves it in a slot; when all slots of a wave are full they are merged.
 *
 * Floor for one token: the cache, read once, at memory speed, or 4 dim operations for each query head and position, whichever is longer: with 8
 * query heads to a KV head and one vector of 16 lanes a cycle the second (bench/results/attn.md). Prefill: the operations.
 * Scratch depends on the shapes and the pool's threads, never on the context.
 * Source of the update rule: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; of the merge: Dao et al., "Flash-Decoding", 2023. */
#include <math.h>
#include <string.h>

#include "dev/cpu/cpu.h"

enum {
    SPAN_TOK = 2 * MP_TILE_TOK,
    BLOCK_ROWS = 64, BLOCK_TOK = 32, /* a block's rows at most, unless H/G alone is more; its tokens at most */
    SHARES = 8,                      /* of a wave that a thread takes, about */
    SPLIT_ROWS = 1024,               /* rows that the slots of a wave have room for: 16K positions of a token with 32 heads */
};

typedef struct row_state { /* of the softmax: sum is 0 exactly when nothing was seen */
    float max, sum;
} row_state;

typedef struct scratch { /* of a thread */
    float     *q;       /* packed as num/attn.h says, times the scale */
    float     *score;   /* [rows][MP_ATTN_STRIDE] */
    float     *acc;     /* [rows][dim] */
    float     *pack;    /* one group of 16 keys or values of the batch's own, when training */
    row_state *state;   /* [2][rows]: of a span; of all so far */
} scratch;

typedef struct attn {
    const mp_op   *op;
    const mp_kern *k;
    int64_t        tok, heads, kv_heads, dim, per; /* dim of a head; per = query heads of a KV head */
    int64_t        block_tok, rows;                /* of a block at most */
    int64_t        units;                          /* blocks times KV heads */
    int64_t        split_rows, wave, base;         /* room of the slots; slots of a unit; the first slot's span, counted from the unit's first */
    size_t         thread_bytes;
    char          *threads;
    float         *partial;                        /* [units * wave][rows][dim] */
    row_state     *partial_state, *total;          /* [units * wave][rows], [units][rows] */
} attn;

typedef struct block { /* tokens of one segment and one KV head */
    const mp_segment *s;
    int64_t           row, n, pos; /* first row of the batch, tokens, position of the first */
    int64_t           head, first_span, spans;
} block;

/* ---- shapes ---- */

static attn attn_of(const mp_op *op)
{
    attn a = { .op = op, .tok = op->in[0].shape[0], .heads = op->in[0].shape[1], .dim = op->in[0].shape[2], .kv_heads = op->in[1].shape[1] };
    a.per = a.heads / a.kv_heads;
    a.block_tok = a.per > BLOCK_ROWS ? 1 : BLOCK_ROWS / a.per;
    a.block_tok = a.block_tok > BLOCK_TOK ? BLOCK_TOK : a.block_tok;
    a.block_tok = a.block_tok > a.tok ? a.tok : a.block_tok;
    a.rows = a.block_tok * a.per;
    a.split_rows = 16 * a.heads > SPLIT_ROWS ? 16 * a.heads : SPLIT_ROWS;
    size_t floats = (size_t)a.rows * (size_t)(2 * a.dim + MP_ATTN_STRIDE) + (size_t)(MP_TILE_GROUP * a.dim);
    a.thread_bytes = (floats * sizeof(float) + 2 * (size_t)a.rows * sizeof(row_state) + 63) & ~(size_t)63;
    return a;
}

size_t mp_cpu_attn_scratch(const mp_dev_cpu *d, const mp_op *op)
{
    attn a = attn_of(op);
    return (size_t)mp_pool_threads(d->pool) * a.thread_bytes + (size_t)a.split_rows * ((size_t)a.dim * sizeof(float) + 2 * sizeof(row_state));
}

static scratch scratch_of(const attn *a, int thread)
{
    scratch s = { .q = (float *)(void *)(a->threads + (size_t)thread * a->thread_bytes) };
    s.score = s.q + a->rows * a->dim;
    s.acc = s.score + a->rows * MP_ATTN_STRIDE;
    s.pack = s.acc + a->rows * a->dim;
    s.state = (row_state *)(void *)(s.pack + MP_TILE_GROUP * a->dim);
    return s;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The first position that the token at pos sees. */
static int64_t sees_from(const attn *a, int64_t pos)
{
    return a->op->u.attn.window ? most(0, pos + 1 - a->op->u.attn.window) : 0;
}

static block block_of(const attn *a, int64_t unit)
{
    int64_t i = unit / a->kv_heads;
    const mp_segment *s = a->op->u.attn.seg;
    for (; i >= (s->n + a->block_tok - 1) / a->block_tok; s++)
        i -= (s->n + a->block_tok - 1) / a->block_tok;
    block b = { .s = s, .row = s->row + i * a->block_tok, .head = unit % a->kv_heads };
    b.pos = s->pos + i * a->block_tok;
    b.n = least(a->block_tok, s->n - i * a->block_tok);
    b.first_span = sees_from(a, b.pos) / SPAN_TOK;
    b.spans = (b.pos + b.n - 1) / SPAN_TOK + 1 - b.first_span;
    return b;
}

/* ---- one tile ---- */

typedef struct part { /* positions [from, to) of the tile that starts at `first`, for one block */
    const block *b;
    scratch     *s;
    mp_kv_tile   tile;
    int64_t      from, to;
    bool         own;   /* keys and values are the batch's own: training */
    bool         f16;
    const void  *ahead; /* keys of the next tile, or NULL */
} part;

/* When training: 16 positions of the batch's own k or v, from `pos` on, laid out like a group of keys or a panel's 16 positions. */
static const float *pack_own(const attn *a, const part *p, int64_t pos, bool keys)
{
    const float *src = a->op->in[keys ? 1 : 2].data;
    int64_t n = least(MP_TILE_GROUP, p->b->s->pos + p->b->s->n - pos), row = p->b->s->row + pos - p->b->s->pos;
    for (int64_t i = 0; i < MP_TILE_GROUP; i++)
        for (int64_t d = 0; d < a->dim; d++)
            p->s->pack[keys ? mp_tile_k_at(a->dim, i, d) : mp_tile_v_at(a->dim, MP_TILE_GROUP, i, d)] =
                i < n ? src[((row + i) * a->kv_heads + p->b->head) * a->dim + d] : 0.0f;
    return p->s->pack;
}

/* Scores of all rows for the groups that hold [from, to): a few more than are used; what lies there does not matter. */
static void score_part(const attn *a, const part *p)
{
    int rows = (int)(p->b->n * a->per);
    int64_t first = (p->from - p->tile.first) & -(int64_t)MP_TILE_GROUP, n = (p->to - p->tile.first - first + MP_TILE_GROUP - 1) & -(int64_t)MP_TILE_GROUP;
    float *score = p->s->score + first;
    size_t at = (size_t)(first * a->dim) * (p->f16 ? 2 : 4);
    mp_attn_keys k = { p->tile.k + (size_t)p->b->head * p->tile.k_head + at, p->tile.v + (size_t)p->b->head * p->tile.v_head + at, n, a->dim };
    if (!p->own) {
        (p->f16 ? a->k->attn_score_f16 : a->k->attn_score_f32)(score, p->s->q, &k, rows);
        return;
    }
    for (int64_t i = 0; i < n; i += MP_TILE_GROUP) {
        k = (mp_attn_keys){ pack_own(a, p, p->tile.first + first + i, true), NULL, MP_TILE_GROUP, a->dim };
        a->k->attn_score_f32(score + i, p->s->q, &k, rows);
    }
}

/* Values of positions [from, to) of the tile for tokens [t0, t1) of the block. */
static void value_part(const attn *a, const part *p, int64_t t0, int64_t t1, int64_t from, int64_t to)
{
    int rows = (int)((t1 - t0) * a->per);
    float *acc = p->s->acc + t0 * a->per * a->dim;
    const float *w = p->s->score + t0 * a->per * MP_ATTN_STRIDE;
    int64_t first = from - p->tile.first, last = to - p->tile.first;
    mp_attn_values v = { p->tile.v + (size_t)p->b->head * p->tile.v_head, t1 - t0 == p->b->n ? p->ahead : NULL, MP_TILE_TOK, first, last - first, a->dim };
    if (from >= to)
        return;
    if (!p->own) {
        (p->f16 ? a->k->attn_value_f16 : a->k->attn_value_f32)(acc, w + first, &v, rows);
        return;
    }
    for (int64_t group = first & -(int64_t)MP_TILE_GROUP; group < last; group += MP_TILE_GROUP) {
        int64_t lo = most(first, group), hi = least(last, group + MP_TILE_GROUP);
        v = (mp_attn_values){ pack_own(a, p, p->tile.first + group, false), NULL, MP_TILE_GROUP, lo - group, hi - lo, a->dim };
        a->k->attn_value_f32(acc, w + lo, &v, rows);
    }
}

/* Scores become weights; a row's result so far is scaled to its new maximum. */
static void soften(const attn *a, scratch *s, int64_t row, int64_t first, int64_t n)
{
    float *p = s->score + row * MP_ATTN_STRIDE + first, *acc = s->acc + row * a->dim;
    row_state *st = &s->state[row];
    float max = a->k->max(p, n);
    max = max < st->max ? st->max : max;
    float keep = st->sum > 0.0f ? mp_expf(st->max - max) : st->sum; /* NaN stays */
    if (keep != 1.0f && st->sum != 0.0f)
        a->k->scale_mul(acc, acc, keep, NULL, a->dim);
    st->sum = st->sum * keep + a->k->exp_sum(p, p, max, n);
    st->max = max;
}

/* The block's tokens see [lo, hi) of the part, both growing with the token. What all of them see is done at once; then each row's rest. A row's
 * positions still come in order: those before, the common ones, those after. */
static void part_block(const attn *a, const part *p)
{
    const block *b = p->b;
    int64_t t0 = most(0, p->from - b->pos), t1 = t0; /* tokens that see any of it */
    score_part(a, p);
    for (; t1 < b->n && sees_from(a, b->pos + t1) < p->to; t1++) {
        int64_t lo = most(p->from, sees_from(a, b->pos + t1)), hi = least(p->to, b->pos + t1 + 1);
        for (int64_t r = t1 * a->per; r < (t1 + 1) * a->per; r++)
            soften(a, p->s, r, lo - p->tile.first, hi - lo);
    }
    if (t0 >= t1)
        return;
    int64_t lo = most(p->from, sees_from(a, b->pos + t1 - 1)), hi = least(p->to, b->pos + t0 + 1); /* what all see */
    bool common = lo < hi;
    for (int64_t t = t0; t < t1; t++)
        value_part(a, p, t, t + 1, most(p->from, sees_from(a, b->pos + t)), common ? lo : least(p->to, b->pos + t + 1));
    if (!common)
        return;
    value_part(a, p, t0, t1, lo, hi);
    for (int64_t t = t0; t < t1; t++)
        value_part(a, p, t, t + 1, hi, least(p->to, b->pos + t + 1));
}

/* ---- one span ---- */

/* q of the block, in blocks of 8 rows, times the scale. */
static void pack_q(const attn *a, const block *b, float *dst)
{
    int64_t rows = b->n * a->per;
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = r / MP_ATTN_ROWS * MP_ATTN_ROWS, step = least(MP_ATTN_ROWS, rows - at);
        const float *q = (const float *)a->op->in[0].data + ((b->row + r / a->per) * a->heads + b->head * a->per + r % a->per) * a->dim;
        float *to = dst + at * a->dim + r - at;
        for (int64_t d = 0; d < a->dim; d++)
            to[d * step] = q[d] * a->op->u.attn.scale;
    }
}

static void tile_at(const attn *a, part *p, int64_t pos)
{
    const mp_segment *s = p->b->s;
    p->tile = (mp_kv_tile){ .first = pos / MP_TILE_TOK * MP_TILE_TOK };
    if (!p->own)
        s->tile(s->kv, a->op->u.attn.layer, pos, &p->tile);
}

/* Leaves the span's result in s->acc and s->state. */
static void span_block(const attn *a, const block *b, int64_t span, scratch *s)
{
    int64_t rows = b->n * a->per;
    part p = { .b = b, .s = s, .own = !b->s->tile, .f16 = b->s->tile && b->s->dtype == MP_F16 };
    int64_t from = most(span * SPAN_TOK, sees_from(a, b->pos)), to = least((span + 1) * SPAN_TOK, b->pos + b->n);
    memset(s->acc, 0, (size_t)(rows * a->dim) * sizeof(float));
    for (int64_t r = 0; r < rows; r++)
        s->state[r] = (row_state){ -INFINITY, 0.0f };
    tile_at(a, &p, from);
    for (p.from = from; p.from < to; p.from = p.to) {
        part next = p;
        p.to = least(p.tile.first + MP_TILE_TOK, to);
        if (p.to < b->pos + b->n) /* also the next span's, which often is the same thread's */
            tile_at(a, &next, p.to);
        p.ahead = next.tile.k != p.tile.k ? next.tile.k + (size_t)b->head * next.tile.k_head : NULL;
        part_block(a, &p);
        p.tile = next.tile;
    }
}

/* (acc, st) of the spans before (+) that of the next. */
static void merge(const attn *a, float *acc, row_state *st, const float *next, row_state ns)
{
    if (ns.sum == 0.0f)
        return;
    if (st->sum == 0.0f) {
        memcpy(acc, next, (size_t)a->dim * sizeof(float));
        *st = ns;
        return;
    }
    float max = st->max < ns.max ? ns.max : st->max, keep = mp_expf(st->max - max), take = mp_expf(ns.max - max);
    if (keep != 1.0f)
        a->k->scale_mul(acc, acc, keep, NULL, a->dim);
    a->k->axpy(acc, take, next, a->dim);
    *st = (row_state){ max, st->sum * keep + ns.sum * take };
}

static float *out_of(const attn *a, const block *b, int64_t r)
{
    return (float *)a->op->out[0].data + ((b->row + r / a->per) * a->heads + b->head * a->per + r % a->per) * a->dim;
}

/* ---- whole ---- */

static void whole_units(void *arg, int64_t first, int64_t last, int thread)
{
    attn *a = arg;
    scratch s = scratch_of(a, thread);
    row_state *total = s.state + a->rows;
    for (int64_t i = first; i < last; i++) {
        block b = block_of(a, a->units - 1 - i); /* the last tokens see most: they begin */
        pack_q(a, &b, s.q);
        for (int64_t r = 0; r < b.n * a->per; r++)
            total[r] = (row_state){ -INFINITY, 0.0f };
        for (int64_t span = 0; span < b.spans; span++) {
            span_block(a, &b, b.first_span + span, &s);
            for (int64_t r = 0; r < b.n * a->per; r++)
                merge(a, out_of(a, &b, r), &total[r], s.acc + r * a->dim, s.state[r]);
        }
        for (int64_t r = 0; r < b.n * a->per; r++)
            a->k->scale_mul(out_of(a, &b, r), out_of(a, &b, r), 1.0f / total[r].sum, NULL, a->dim);
    }
}

/* ---- split ---- */

/* Slots [first, last): spans of one unit follow each other, so that what a span asks for ahead is the next one's. */
static void split_units(void *arg, int64_t first, int64_t last, int thread)
{
    attn *a = arg;
    scratch s = scratch_of(a, thread);
    int64_t packed = -1;
    for (int64_t i = first; i < last; i++) {
        block b = block_of(a, i / a->wave);
        int64_t span = a->base + i % a->wave;
        if (span >= b.spans)
            continue;
        s.acc = a->partial + i * a->rows * a->dim;
        s.state = a->partial_state + i * a->rows;
        if (packed != i / a->wave)
            pack_q(a, &b, s.q);
        packed = i / a->wave;
        span_block(a, &b, b.first_span + span, &s);
    }
}

/* Rows of the units: the slots of a wave onto what the waves before gave. */
static void merge_rows(void *arg, int64_t first, int64_t last, int thread)
{
    attn *a = arg;
    (void)thread;
    for (int64_t i = first; i < last; i++) {
        int64_t unit = i / a->rows, r = i % a->rows;
        block b = block_of(a, unit);
        row_state *total = &a->total[i];
        if (r >= b.n * a->per || a->base >= b.spans)
            continue;
        float *out = out_of(a, &b, r);
        if (a->base == 0)
            *total = (row_state){ -INFINITY, 0.0f };
        for (int64_t w = 0; w < least(a->wave, b.spans - a->base); w++) {
            int64_t slot = (unit * a->wave + w) * a->rows + r;
            merge(a, out, total, a->partial + slot * a->dim, a->partial_state[slot]);
        }
        if (a->base + a->wave >= b.spans)
            a->k->scale_mul(out, out, 1.0f / total->sum, NULL, a->dim);
    }
}

static void run_split(mp_dev_cpu *d, attn *a, int64_t spans)
{
    a->wave = least(a->wave, spans);
    a->partial = (float *)(void *)(a->threads + (size_t)mp_pool_threads(d->pool) * a->thread_bytes);
    a->partial_state = (row_state *)(void *)(a->partial + a->split_rows * a->dim);
    a->total = a->partial_state + a->split_rows;
    for (a->base = 0; a->base < spans; a->base += a->wave) {
        int64_t share = a->units * a->wave / (SHARES * mp_pool_threads(d->pool));
        mp_cpu_for(d, a->units * a->wave, most(share, 1), split_units, a);
        mp_cpu_for(d, a->units * a->rows, 16, merge_rows, a);
    }
}

mp_err mp_cpu_attn(mp_dev_cpu *d, const mp_op *op)
{
    attn a = attn_of(op);
    int64_t spans = 0;
    a.k = d->k;
    a.threads = op->scratch;
    for (int i = 0; i < op->u.attn.n_seg; i++)
        a.units += (op->u.attn.seg[i].n + a.block_tok - 1) / a.block_tok * a.kv_heads;
    for (int64_t u = 0; u < a.units; u += a.kv_heads)
        spans = most(spans, block_of(&a, u).spans);
    a.wave = a.units ? a.split_rows / (a.units * a.rows) : 0;
    if (a.wave > 1 && spans > 1)
        run_split(d, &a, spans);
    else
        mp_cpu_for(d, a.units, 1, whole_units, &a);
    return MP_OK;
}
