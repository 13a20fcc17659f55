/* ATTN: causal attention of grouped heads over tiles of 256 positions, in one pass with a running maximum. This file decides who does what:
 *
 *   segment    rows = tokens x query heads of a KV head, in tiles of rows; positions in up to W / (tiles x KV heads) spans, so that all multiprocessors work
 *   block      one tile of rows x one KV head x one span (attn_plain.cu, attn_few.cu, attn_many.cu); with one span it writes the result
 *   merge      with several, a block for each token and head adds the spans up, in an order that is fixed
 *
 * Which kernel, and where spans begin, is a function of the segment, the shapes and the card, and never of the other segments of the batch; so is every
 * result. It does depend on how many tokens of its own segment come with a token (a prompt that is cut differently differs in the last bits).
 *
 * Segments are worked on in waves: neighbours that go the same way and whose spans have room in scratch. A wave is one upload - the table of its segments
 * and tiles -, one launch, and one more for the merge. Scratch depends on the shapes and the card, not on the context.
 *
 * Floor for one token: the cache once at memory speed (8 KV heads of 128, 4096 positions of F16: 16.8 MB, 33 us at 504 GB/s, 3.5 us at 4.8 TB/s).
 * Source of the update rule: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; of spans: Dao et al., "Flash-Decoding", 2023. */
#include <string.h>

#include "dev/cuda/attn.h"

enum {
    MOST_SEGS = 1024, MOST_TILES = 1 << 14, /* of a wave's table; one segment may have 4M positions */
    TABLE_PIECE = 32 << 10,                 /* uploaded at once */
    MERGE_WARPS = 8, COLS = MP_ATTN_MOST_DIM / MP_WARP,
    LEAST_UNITS = 2,                        /* of a span: what it leaves is then an eighth of what it reads, at most, with 8 query heads to a KV head */
};

/* ---- merging ---- */

/* A block is one token and head; warp w takes spans w, w + MERGE_WARPS, ..., so that their loads are all on the way at once. */
__global__ static void merge(mp_attn_args a)
{
    __shared__ float of_warp[MERGE_WARPS][MP_ATTN_MOST_DIM + 1]; /* the last one: the sum */
    const mp_attn_seg s = a.seg[blockIdx.y];
    const int64_t row = blockIdx.x, slot = s.slot + row * s.spans;
    const int lane = (int)threadIdx.x % MP_WARP, warp = (int)threadIdx.x / MP_WARP;
    float max = -INFINITY, sum = 0.0f, acc[COLS] = {};
    if (s.spans == 1 || row >= (int64_t)s.n * a.heads)
        return;
    for (int i = threadIdx.x; i < s.spans; i += blockDim.x)
        max = fmaxf(max, a.state[slot + i].x);
    max = mp_block_max(max);
    max = max == -INFINITY ? 0.0f : max;
#ifdef __CUDACC__
#pragma unroll 4
#endif
    for (int i = warp; i < s.spans; i += MERGE_WARPS) {
        const float2 st = a.state[slot + i];
        const float take = exp2f(st.x - max);
        const float *from = a.partial + (slot + i) * a.dim + lane;
        sum = fmaf(st.y, take, sum);
        MP_UNROLLED
        for (int c = 0; c < COLS; c++) {
            const float v = c * MP_WARP + lane < a.dim ? from[c * MP_WARP] : 0.0f;
            acc[c] = st.y != 0.0f ? fmaf(v, take, acc[c]) : acc[c]; /* of a span that saw nothing v is anything */
        }
    }
    MP_UNROLLED
    for (int c = 0; c < COLS; c++)
        of_warp[warp][c * MP_WARP + lane] = acc[c];
    of_warp[warp][MP_ATTN_MOST_DIM] = sum;
    __syncthreads();
    for (int d = threadIdx.x; d < a.dim; d += blockDim.x) {
        float v = 0.0f, whole = 0.0f;
        for (int w = 0; w < MERGE_WARPS; w++)
            v += of_warp[w][d], whole += of_warp[w][MP_ATTN_MOST_DIM];
        a.out[((int64_t)s.row * a.heads + row) * a.dim + d] = v / whole;
    }
}

/* ---- scratch ---- */

static int blocks_wanted(const mp_dev_cuda *d, mp_attn_way way)
{
    return d->sms * (way == MP_ATTN_PLAIN ? 8 : 2);
}

/* Rows that a wave's spans have room for. A segment has spans > 1 only while tiles x G < W, and then at most W / (tiles x G) + 1: less than 2 W tiles of rows;
 * and no more than all its rows as often as one tile's. The largest W is the plain way's, the largest W times rows the other one's. */
static int64_t slots_of(const mp_dev_cuda *d, const mp_op *op)
{
    const int64_t most = 2 * 64 * (int64_t)blocks_wanted(d, MP_ATTN_MANY), rows = op->in[0].shape[0] * op->in[0].shape[1];
    const int64_t spans = blocks_wanted(d, MP_ATTN_PLAIN) / op->in[1].shape[1] + 1;
    return rows < most / spans ? rows * spans : most;
}

static size_t table_bytes(const mp_op *op)
{
    const int64_t tok = op->in[0].shape[0];
    return (size_t)(tok < MOST_SEGS ? tok : MOST_SEGS) * sizeof(mp_attn_seg) + MOST_TILES * sizeof(mp_attn_tile) + 64;
}

size_t mp_cuda_attn_scratch(const mp_dev_cuda *d, const mp_op *op)
{
    return table_bytes(op) + (size_t)slots_of(d, op) * ((size_t)op->in[0].shape[2] * sizeof(float) + sizeof(float2));
}

/* ---- planning ---- */

typedef struct plan { /* of one segment */
    mp_attn_seg s;
    mp_attn_way way;
    int         tiles; /* of the cache */
    int64_t     slots;
    int64_t     blocks;
} plan;

static plan plan_of(const mp_dev_cuda *d, const mp_op *op, const mp_attn_args *a, const mp_segment *seg)
{
    plan p = {};
    const int64_t rows = (int64_t)seg->n * a->per, end = seg->pos + seg->n;
    const int64_t from = a->window && seg->pos + 1 > a->window ? seg->pos + 1 - a->window : 0;
    p.way = seg->dtype != MP_F16 || a->dim % 8 ? MP_ATTN_PLAIN : rows <= MP_ATTN_FEW_ROWS ? MP_ATTN_FEW : MP_ATTN_MANY;
    const int tile_rows = p.way == MP_ATTN_PLAIN ? MP_ATTN_PLAIN_ROWS : p.way == MP_ATTN_FEW ? MP_ATTN_FEW_ROWS : mp_attn_many_rows(a->dim);
    p.s.row = seg->row, p.s.n = seg->n, p.s.pos = (int32_t)seg->pos, p.s.f16 = seg->dtype == MP_F16;
    p.s.row_tiles = (int32_t)((rows + tile_rows - 1) / tile_rows);
    p.s.first_tile = (int32_t)(from / MP_TILE_TOK), p.tiles = (int)((end - 1) / MP_TILE_TOK) + 1 - p.s.first_tile;
    p.s.unit = (int32_t)(from / MP_ATTN_UNIT);
    const int64_t units = (end - 1) / MP_ATTN_UNIT + 1 - p.s.unit, blocks = (int64_t)p.s.row_tiles * a->kv_heads, want = blocks_wanted(d, p.way);
    int64_t spans = blocks < want ? (want + blocks - 1) / blocks : 1;
    spans = spans < units / LEAST_UNITS ? spans : units / LEAST_UNITS;
    spans = spans > 1 ? spans : 1;
    p.s.span_units = (int32_t)((units + spans - 1) / spans);
    p.s.spans = (int32_t)((units + p.s.span_units - 1) / p.s.span_units);
    p.slots = p.s.spans > 1 ? (int64_t)seg->n * a->heads * p.s.spans : 0;
    p.blocks = blocks * p.s.spans;
    return p;
}

/* ---- a wave ---- */

typedef struct table { /* written front to back, a piece at a time */
    mp_dev_cuda  *d;
    char         *to;
    mp_err        err;
    int           n;
    unsigned char piece[TABLE_PIECE];
} table;

static void table_flush(table *t)
{
    if (!t->err && t->n)
        t->err = mp_cuda_upload(t->d, t->to, t->piece, (size_t)t->n);
    t->to += t->n, t->n = 0;
}

static void table_add(table *t, const void *entry, int bytes)
{
    if (t->n + bytes > TABLE_PIECE)
        table_flush(t);
    memcpy(t->piece + t->n, entry, (size_t)bytes);
    t->n += bytes;
}

typedef struct wave {
    int     first, n, tiles; /* segments of the op; tiles of all */
    int64_t slots, blocks, merge_rows;
    mp_attn_way way;
} wave;

static void add_tiles(table *t, const mp_op *op, const mp_segment *seg, const plan *p)
{
    for (int i = 0; i < p->tiles; i++) {
        mp_kv_tile tile;
        seg->tile(seg->kv, op->u.attn.layer, (int64_t)(p->s.first_tile + i) * MP_TILE_TOK, &tile);
        mp_attn_tile entry = { tile.k, tile.v, tile.k_head, tile.v_head };
        table_add(t, &entry, (int)sizeof entry);
    }
}

static mp_err run_wave(mp_dev_cuda *d, const mp_op *op, mp_attn_args *a, const wave *w)
{
    table t;
    int64_t slot = 0;
    int tile_at = 0;
    t.d = d, t.to = (char *)op->scratch, t.err = MP_OK, t.n = 0;
    for (int i = 0; i < w->n; i++) {
        plan p = plan_of(d, op, a, &op->u.attn.seg[w->first + i]);
        p.s.slot = slot, p.s.tile_at = tile_at;
        slot += p.slots, tile_at += p.tiles;
        table_add(&t, &p.s, (int)sizeof p.s);
    }
    for (int i = 0; i < w->n; i++) {
        const mp_segment *seg = &op->u.attn.seg[w->first + i];
        const plan p = plan_of(d, op, a, seg);
        add_tiles(&t, op, seg, &p);
    }
    table_flush(&t);
    a->seg = (const mp_attn_seg *)op->scratch;
    a->tile = (const mp_attn_tile *)(a->seg + w->n);
    static mp_err (*const ways[MP_ATTN_WAYS])(mp_dev_cuda *, const mp_attn_args *, unsigned, unsigned) = { mp_cuda_attn_plain, mp_cuda_attn_few, mp_cuda_attn_many };
    mp_err err = t.err ? t.err : ways[w->way](d, a, (unsigned)w->blocks, (unsigned)w->n);
    if (err || !w->merge_rows)
        return err;
    MP_LAUNCH(merge, dim3((unsigned)w->merge_rows, (unsigned)w->n), MERGE_WARPS * MP_WARP, 0, d->stream, *a);
    return mp_cuda_launched("adding up attention");
}

static int64_t most_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The segments from w->first on that go together. */
static mp_err gather(const mp_dev_cuda *d, const mp_op *op, const mp_attn_args *a, wave *w)
{
    const int64_t room = slots_of(d, op);
    w->n = w->tiles = 0, w->slots = w->blocks = w->merge_rows = 0;
    for (int i = w->first; i < op->u.attn.n_seg && w->n < MOST_SEGS; i++, w->n++) {
        const mp_segment *seg = &op->u.attn.seg[i];
        if (!seg->tile)
            return mp_fail(MP_E_FAILED, "attention over the batch's own keys and values - training - is not on the GPU");
        if (seg->n == 0 && w->n) /* nothing to do; the wave ends, or begins after it */
            return MP_OK;
        if (seg->n == 0) {
            w->first++, w->n--;
            continue;
        }
        if (seg->n < 0 || seg->pos < 0 || seg->pos + seg->n > (int64_t)MOST_TILES * MP_TILE_TOK)
            return mp_fail(MP_E_FAILED, "the GPU's attention goes to position %lld, not to %lld", (long long)MOST_TILES * MP_TILE_TOK, (long long)(seg->pos + seg->n));
        const plan p = plan_of(d, op, a, seg);
        if (p.slots > room || p.blocks > INT32_MAX)
            return mp_fail(MP_E_FAILED, "a segment of %d tokens is too large for the GPU's attention", seg->n);
        if (w->n && (p.way != w->way || w->slots + p.slots > room || w->tiles + p.tiles > MOST_TILES))
            return MP_OK;
        w->way = p.way, w->slots += p.slots, w->tiles += p.tiles;
        w->blocks = most_of(w->blocks, p.blocks);
        w->merge_rows = most_of(w->merge_rows, p.s.spans > 1 ? (int64_t)seg->n * a->heads : 0);
    }
    return MP_OK;
}

mp_err mp_cuda_attn(mp_dev_cuda *d, const mp_op *op)
{
    mp_attn_args a = {};
    wave w = {};
    mp_err err = MP_OK;
    a.heads = (int)op->in[0].shape[1], a.dim = (int)op->in[0].shape[2], a.kv_heads = (int)op->in[1].shape[1], a.per = a.heads / a.kv_heads;
    a.window = op->u.attn.window, a.scale = op->u.attn.scale * 1.44269504f;
    a.q = (const float *)op->in[0].data, a.out = (float *)op->out[0].data;
    a.state = (float2 *)((char *)op->scratch + table_bytes(op) / 64 * 64); /* pairs first: they must lie at multiples of 8, whatever dim is */
    a.partial = (float *)(a.state + slots_of(d, op));
    if (a.dim > MP_ATTN_MOST_DIM)
        return mp_fail(MP_E_FAILED, "the GPU's attention takes heads of %d elements at most, not of %d", MP_ATTN_MOST_DIM, a.dim);
    for (; !err && w.first < op->u.attn.n_seg; w.first += w.n) {
        err = gather(d, op, &a, &w);
        if (!err && w.n)
            err = run_wave(d, op, &a, &w);
    }
    return err;
}
