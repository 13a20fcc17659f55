/* KV_WRITE: the batch's keys and values into the tiles of their segments' caches (dev/tile.h says how they lie there).
 *
 * A position's keys go to every 16th place of one group of its head: 64 cache lines at dim 128 where rows would take 4. Attention reads that
 * group next, so only writing it back later is extra: 4 KiB for each layer and KV head of a token, a few thousandths of what a token reads. */
#include <string.h>

#include "dev/cpu/cpu.h"

typedef struct kv_write {
    const mp_op   *op;
    const mp_kern *k;
    int64_t        heads, dim;
} kv_write;

static const mp_segment *segment_of(const mp_op *op, int64_t row)
{
    for (int s = 0; s < op->u.attn.n_seg; s++)
        if (row < op->u.attn.seg[s].row + op->u.attn.seg[s].n)
            return &op->u.attn.seg[s];
    return NULL;
}

/* One head of one position, a panel at a time. row: in the tile. */
static void write_f16(const kv_write *w, uint16_t *dk, uint16_t *dv, int64_t row, const float *k, const float *v)
{
    uint16_t half[MP_TILE_PANEL];
    for (int64_t i = 0; i < w->dim; i += MP_TILE_PANEL) {
        int64_t n = w->dim - i < MP_TILE_PANEL ? w->dim - i : MP_TILE_PANEL;
        w->k->to_f16(half, k + i, n);
        for (int64_t j = 0; j < n; j++)
            dk[mp_tile_k_at(w->dim, row, i + j)] = half[j];
        w->k->to_f16(dv + mp_tile_v_at(w->dim, MP_TILE_TOK, row, i), v + i, n);
    }
}

static void write_f32(const kv_write *w, float *dk, float *dv, int64_t row, const float *k, const float *v)
{
    for (int64_t i = 0; i < w->dim; i++) {
        dk[mp_tile_k_at(w->dim, row, i)] = k[i];
        dv[mp_tile_v_at(w->dim, MP_TILE_TOK, row, i)] = v[i];
    }
}

static void write_rows(void *arg, int64_t first, int64_t last, int thread)
{
    kv_write *w = arg;
    (void)thread;
    for (int64_t t = first; t < last; t++) {
        const mp_segment *s = segment_of(w->op, t);
        mp_kv_tile tile;
        s->tile(s->kv, w->op->u.attn.layer, s->pos + t - s->row, &tile);
        for (int64_t h = 0; h < w->heads; h++) {
            const float *k = (const float *)w->op->in[0].data + (t * w->heads + h) * w->dim;
            const float *v = (const float *)w->op->in[1].data + (t * w->heads + h) * w->dim;
            void *dk = tile.k + (size_t)h * tile.k_head, *dv = tile.v + (size_t)h * tile.v_head;
            int64_t row = s->pos + t - s->row - tile.first;
            if (s->dtype == MP_F16)
                write_f16(w, dk, dv, row, k, v);
            else
                write_f32(w, dk, dv, row, k, v);
        }
    }
}

mp_err mp_cpu_kv_write(mp_dev_cpu *d, const mp_op *op)
{
    kv_write w = { op, d->k, op->in[0].shape[1], op->in[0].shape[2] };
    mp_cpu_for(d, op->in[0].shape[0], 16, write_rows, &w);
    return MP_OK;
}
