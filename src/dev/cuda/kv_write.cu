/* KV_WRITE: the batch's keys and values into the tiles of their segments' caches (dev/tile.h). Tiles in VRAM lie as they do in RAM, so that they can move.
 *
 * Floor: 8 G dim bytes of a token in, half of it out (F16). A block takes what the batch has of one group of 16 positions, for one head: its keys are then
 * written 16 positions at a time, 32 bytes for each element of a head. A single token's keys go to every 16th place, a sector of 32 bytes each: 64 KiB for
 * 8 heads of 128 read and written, four thousandths of what its attention reads at 4096 positions. */
#include "dev/cuda/kernel.h"

enum { BLOCK = 128, AT_ONCE = 256 /* pieces uploaded together */ };

typedef struct kv_piece { /* rows [row, row + n) of the batch are positions [first, first + n) of a tile, all of one group */
    unsigned char *k, *v;
    size_t         k_head, v_head;
    int            row, n, first, f16;
} kv_piece;

__device__ static inline void store(unsigned char *to, int64_t at, float v, int f16)
{
    if (f16)
        ((uint16_t *)to)[at] = mp_f32_half(v);
    else
        ((float *)to)[at] = v;
}

/* Block (x, y): piece x, head y. */
__global__ static void kv_write(const kv_piece *pieces, const float *k, const float *v, int heads, int dim)
{
    const kv_piece p = pieces[blockIdx.x];
    const int h = (int)blockIdx.y;
    unsigned char *to_k = p.k + h * p.k_head, *to_v = p.v + h * p.v_head;
    for (int i = threadIdx.x; i < p.n * dim; i += blockDim.x) {
        const int d = i / p.n, t = i - d * p.n; /* neighbours are positions */
        store(to_k, mp_tile_k_at(dim, p.first + t, d), k[((int64_t)(p.row + t) * heads + h) * dim + d], p.f16);
    }
    for (int i = threadIdx.x; i < p.n * dim; i += blockDim.x) {
        const int t = i / dim, d = i - t * dim; /* neighbours are elements */
        store(to_v, mp_tile_v_at(dim, MP_TILE_TOK, p.first + t, d), v[((int64_t)(p.row + t) * heads + h) * dim + d], p.f16);
    }
}

/* A piece has a token at least. */
size_t mp_cuda_kv_write_scratch(const mp_dev_cuda *, const mp_op *op)
{
    return (size_t)op->in[0].shape[0] * sizeof(kv_piece);
}

typedef struct writer {
    mp_dev_cuda *d;
    const mp_op *op;
    kv_piece     piece[AT_ONCE];
    int          n, done; /* waiting, launched */
} writer;

static mp_err flush(writer *w)
{
    kv_piece *at = (kv_piece *)w->op->scratch + w->done;
    if (w->n == 0)
        return MP_OK;
    mp_err err = mp_cuda_upload(w->d, at, w->piece, (size_t)w->n * sizeof *at);
    if (err)
        return err;
    const int heads = (int)w->op->in[0].shape[1], dim = (int)w->op->in[0].shape[2];
    MP_LAUNCH(kv_write, dim3((unsigned)w->n, (unsigned)heads), BLOCK, 0, w->d->stream, at, (const float *)w->op->in[0].data,
              (const float *)w->op->in[1].data, heads, dim);
    w->done += w->n, w->n = 0;
    return mp_cuda_launched("writing keys and values");
}

static mp_err write_segment(writer *w, const mp_segment *s)
{
    mp_err err = MP_OK;
    for (int32_t i = 0, n; !err && i < s->n; i += n) {
        mp_kv_tile tile;
        const int64_t pos = s->pos + i;
        n = MP_TILE_GROUP - (int32_t)(pos % MP_TILE_GROUP);
        n = n < s->n - i ? n : s->n - i;
        s->tile(s->kv, w->op->u.attn.layer, pos, &tile);
        kv_piece *p = &w->piece[w->n++];
        p->k = tile.k, p->v = tile.v, p->k_head = tile.k_head, p->v_head = tile.v_head;
        p->row = s->row + i, p->n = n, p->first = (int)(pos - tile.first), p->f16 = s->dtype == MP_F16;
        if (w->n == AT_ONCE)
            err = flush(w);
    }
    return err;
}

mp_err mp_cuda_kv_write(mp_dev_cuda *d, const mp_op *op)
{
    writer w;
    mp_err err = MP_OK;
    w.d = d, w.op = op, w.n = w.done = 0;
    for (int i = 0; !err && i < op->u.attn.n_seg; i++) {
        if (!op->u.attn.seg[i].tile)
            return mp_fail(MP_E_FAILED, "the GPU writes keys and values only to a cache");
        err = write_segment(&w, &op->u.attn.seg[i]);
    }
    return err ? err : flush(&w);
}
