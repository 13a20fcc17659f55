/* KV_WRITE and ATTN: causal attention of grouped heads over tiles of 256 positions, in position order, with a running maximum (online softmax).
 *
 * Unit of work: one token and one KV head; its H/G query heads pass over each tile while it is in cache. Bytes that must move: the cache up to the
 * token, once. Tiles are fixed, so a token's result depends on neither the batch nor the threads.
 * Source of the update rule: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018. */
#include <math.h>
#include <string.h>

#include "dev/cpu/cpu.h"

typedef struct attn {
    const mp_op   *op;
    const mp_kern *k;
    int64_t        heads, kv_heads, dim; /* dim of a head */
} attn;

static const mp_segment *segment_of(const mp_op *op, int64_t row)
{
    for (int s = 0; s < op->u.attn.n_seg; s++)
        if (row < op->u.attn.seg[s].row + op->u.attn.seg[s].n)
            return &op->u.attn.seg[s];
    return NULL;
}

static void kv_write_rows(void *arg, int64_t first, int64_t last, int thread)
{
    attn *a = arg;
    const mp_op *op = a->op;
    (void)thread;
    for (int64_t t = first; t < last; t++) {
        const mp_segment *s = segment_of(op, t);
        int64_t pos = s->pos + t - s->row;
        mp_kv_tile tile;
        s->tile(s->kv, op->u.attn.layer, pos, &tile);
        size_t row = (size_t)(pos - tile.first);
        for (int64_t h = 0; h < a->kv_heads; h++) {
            const float *k = (const float *)op->in[0].data + (t * a->kv_heads + h) * a->dim;
            const float *v = (const float *)op->in[1].data + (t * a->kv_heads + h) * a->dim;
            unsigned char *dk = tile.k + (size_t)h * tile.k_head + row * tile.k_row;
            unsigned char *dv = tile.v + (size_t)h * tile.v_head + row * tile.v_row;
            if (s->dtype == MP_F16) {
                a->k->to_f16(dk, k, a->dim);
                a->k->to_f16(dv, v, a->dim);
            } else {
                memcpy(dk, k, (size_t)a->dim * sizeof(float));
                memcpy(dv, v, (size_t)a->dim * sizeof(float));
            }
        }
    }
}

mp_err mp_cpu_kv_write(mp_dev_cpu *d, const mp_op *op)
{
    attn a = { .op = op, .k = d->k, .kv_heads = op->in[0].shape[1], .dim = op->in[0].shape[2] };
    mp_cpu_for(d, op->in[0].shape[0], 16, kv_write_rows, &a);
    return MP_OK;
}

/* The tile that holds pos: of the cache, or, when training, of the batch's own k and v. */
static void tile_at(const attn *a, const mp_segment *s, int64_t pos, mp_kv_tile *tile)
{
    const mp_op *op = a->op;
    if (s->tile) {
        s->tile(s->kv, op->u.attn.layer, pos, tile);
        return;
    }
    size_t head = (size_t)a->dim * sizeof(float), row = (size_t)a->kv_heads * head;
    tile->first = pos / MP_TILE_TOK * MP_TILE_TOK;
    size_t offset = (size_t)(s->row + tile->first - s->pos) * row;
    *tile = (mp_kv_tile){ (unsigned char *)op->in[1].data + offset, (unsigned char *)op->in[2].data + offset, head, head, row, row, tile->first };
}

/* One head over positions [lo, hi) of one tile: updates the running maximum m, sum and acc[dim]. */
static void head_tile(const attn *a, const mp_segment *s, const mp_kv_tile *t, int64_t g, int64_t lo, int64_t hi, const float *q, float *score,
                      float *acc, float ms[2]) /* long: ten parameters; the inner step of one loop nest, kept flat for the compiler */
{
    bool f16 = s->dtype == MP_F16;
    int64_t n = hi - lo;
    const unsigned char *k = t->k + (size_t)g * t->k_head + (size_t)(lo - t->first) * t->k_row;
    const unsigned char *v = t->v + (size_t)g * t->v_head + (size_t)(lo - t->first) * t->v_row;
    (f16 ? a->k->attn_dot_f16 : a->k->attn_dot_f32)(score, q, k, t->k_row, n, a->dim);
    a->k->scale_mul(score, score, a->op->u.attn.scale, NULL, n);
    float m = a->k->max(score, n);
    if (m < ms[0])
        m = ms[0];
    float keep = ms[1] > 0.0f ? mp_expf(ms[0] - m) : 0.0f;
    if (keep != 1.0f)
        a->k->scale_mul(acc, acc, keep, NULL, a->dim);
    ms[1] = ms[1] * keep + a->k->exp_sum(score, score, m, n);
    ms[0] = m;
    (f16 ? a->k->attn_acc_f16 : a->k->attn_acc_f32)(acc, score, v, t->v_row, n, a->dim);
}

static void attn_unit(const attn *a, int64_t tok, int64_t g, float *score)
{
    const mp_op *op = a->op;
    const mp_segment *s = segment_of(op, tok);
    int64_t pos = s->pos + tok - s->row, per = a->heads / a->kv_heads;
    int64_t start = op->u.attn.window && pos + 1 > op->u.attn.window ? pos + 1 - op->u.attn.window : 0;
    float *out = (float *)op->out[0].data + (tok * a->heads + g * per) * a->dim;
    const float *q = (const float *)op->in[0].data + (tok * a->heads + g * per) * a->dim;
    for (int64_t h = 0; h < per; h++) {
        float ms[2] = { -INFINITY, 0.0f }, *acc = out + h * a->dim;
        memset(acc, 0, (size_t)a->dim * sizeof(float));
        for (int64_t p = start; p <= pos;) {
            mp_kv_tile t;
            tile_at(a, s, p, &t);
            int64_t end = t.first + MP_TILE_TOK < pos + 1 ? t.first + MP_TILE_TOK : pos + 1;
            head_tile(a, s, &t, g, p, end, q + h * a->dim, score, acc, ms);
            p = end;
        }
        a->k->scale_mul(acc, acc, 1.0f / ms[1], NULL, a->dim);
    }
}

static void attn_units(void *arg, int64_t first, int64_t last, int thread)
{
    attn *a = arg;
    float score[MP_TILE_TOK];
    (void)thread;
    for (int64_t i = first; i < last; i++)
        attn_unit(a, i / a->kv_heads, i % a->kv_heads, score);
}

mp_err mp_cpu_attn(mp_dev_cpu *d, const mp_op *op)
{
    attn a = { .op = op, .k = d->k, .heads = op->in[0].shape[1], .dim = op->in[0].shape[2] };
    a.kv_heads = op->in[1].shape[1];
    mp_cpu_for(d, op->in[0].shape[0] * a.kv_heads, 1, attn_units, &a);
    return MP_OK;
}
