/* Attention in float32, over F32 caches and over F16 ones with heads that tensor cores do not take. A block is one warp: 4 rows x one KV head x one span.
 *
 *   scores   lane l: position l % 16 of a group, every second element of the head; keys come in lines of 16 positions
 *   values   lane l: columns l, l + 32, ...; a panel's row is a line
 *
 * Floor: the cache's bytes once for all rows of a KV head; here once for every 4 rows, the rest from the caches, as no shared memory is used: simple first. */
#include "dev/cuda/attn.h"

enum { ROWS = MP_ATTN_PLAIN_ROWS, COLS = MP_ATTN_MOST_DIM / MP_WARP };

__device__ static inline float load(const float *p) { return *p; }
__device__ static inline float load(const uint16_t *p) { return mp_half_f32(*p); }

typedef struct rows_state {
    float acc[ROWS][COLS], max[ROWS], sum[ROWS];
    int   first[ROWS], last[ROWS]; /* positions that the row sees */
} rows_state;

/* Scores of a group of 16 positions from `base` on become weights, the same in both halves of the warp. q: [ROWS][dim], shared. */
template <class T> __device__ static inline void weigh(rows_state *m, float w[ROWS], const float *q, const T *keys, int base, int dim)
{
    const int lane = (int)threadIdx.x, pos = base + lane % 16;
    MP_UNROLLED
    for (int r = 0; r < ROWS; r++)
        w[r] = 0.0f;
#ifdef __CUDACC__
#pragma unroll 8
#endif
    for (int d = lane / 16; d < dim; d += 2) {
        const float k = load(keys + d * MP_TILE_GROUP + lane % 16);
        MP_UNROLLED
        for (int r = 0; r < ROWS; r++)
            w[r] = fmaf(q[r * dim + d], k, w[r]);
    }
    MP_UNROLLED
    for (int r = 0; r < ROWS; r++) {
        const float both = w[r] + __shfl_xor_sync(MP_ALL_LANES, w[r], 16), score = pos >= m->first[r] && pos <= m->last[r] ? both : -INFINITY;
        const float most = fmaxf(m->max[r], mp_warp_max(score)), zero = most == -INFINITY ? 0.0f : most, keep = exp2f(m->max[r] - zero);
        w[r] = exp2f(score - zero);
        m->sum[r] = m->sum[r] * keep + mp_warp_sum(lane < 16 ? w[r] : 0.0f);
        m->max[r] = most;
        MP_UNROLLED
        for (int c = 0; c < COLS; c++)
            m->acc[r][c] *= keep;
    }
}

/* Positions [row, row + n) of the tile. */
template <class T> __device__ static inline void add_values(rows_state *m, const float w[ROWS], const T *values, int row, int n, int dim)
{
    const int lane = (int)threadIdx.x;
    for (int i = 0; i < n; i++) {
        float v[COLS];
        MP_UNROLLED
        for (int c = 0; c < COLS; c++) {
            const int width = min(32, dim - c * 32);
            v[c] = lane < width ? load(values + c * 32 * MP_TILE_TOK + (row + i) * width + lane) : 0.0f;
        }
        MP_UNROLLED
        for (int r = 0; r < ROWS; r++) {
            const float p = __shfl_sync(MP_ALL_LANES, w[r], i);
            if (p != 0.0f) /* what a row does not see may be anything */
                MP_UNROLLED
                for (int c = 0; c < COLS; c++)
                    m->acc[r][c] = fmaf(p, v[c], m->acc[r][c]);
        }
    }
}

template <class T> __device__ static inline void span(rows_state *m, const mp_attn_args *a, const mp_attn_seg *s, const mp_attn_block *b, const float *q)
{
    const mp_attn_tile *tiles = a->tile + s->tile_at - s->first_tile;
    for (int base = b->from / MP_TILE_GROUP * MP_TILE_GROUP; base < b->to; base += MP_TILE_GROUP) {
        const mp_attn_tile *tile = tiles + base / MP_TILE_TOK;
        const T *keys = (const T *)(tile->k + b->head * tile->k_head), *values = (const T *)(tile->v + b->head * tile->v_head);
        const int row = base % MP_TILE_TOK;
        float w[ROWS];
        weigh(m, w, q, keys + (int64_t)row * a->dim, base, a->dim);
        add_values(m, w, values, row, min((int)MP_TILE_GROUP, b->to - base), a->dim);
    }
}

__global__ static void __launch_bounds__(MP_WARP) attn_plain(mp_attn_args a)
{
    MP_SHARED(float, q);
    const mp_attn_seg s = a.seg[blockIdx.y];
    const int lane = (int)threadIdx.x;
    mp_attn_block b;
    rows_state m;
    if (!mp_attn_find(&a, &s, ROWS, &b))
        return;
    MP_UNROLLED
    for (int r = 0; r < ROWS; r++) { /* rows past the end do the last one's work, and do not write */
        const int row = min(r, b.rows - 1);
        const float *from = a.q + mp_attn_row_at(&a, &s, &b, row);
        for (int d = lane; d < a.dim; d += MP_WARP)
            q[r * a.dim + d] = from[d] * a.scale;
        m.max[r] = -INFINITY, m.sum[r] = 0.0f;
        m.last[r] = s.pos + (b.row0 + row) / a.per;
        m.first[r] = mp_attn_sees_from(&a, m.last[r]);
        MP_UNROLLED
        for (int c = 0; c < COLS; c++)
            m.acc[r][c] = 0.0f;
    }
    __syncwarp();
    if (s.f16)
        span<uint16_t>(&m, &a, &s, &b, q);
    else
        span<float>(&m, &a, &s, &b, q);
    MP_UNROLLED
    for (int r = 0; r < ROWS; r++) {
        if (r >= b.rows)
            continue;
        const int64_t slot = s.spans > 1 ? mp_attn_slot(&a, &s, &b, r) : 0;
        float *to = s.spans > 1 ? a.partial + slot * a.dim : a.out + mp_attn_row_at(&a, &s, &b, r);
        const float times = s.spans > 1 ? 1.0f : 1.0f / m.sum[r];
        if (s.spans > 1 && lane == 0)
            a.state[slot] = make_float2(m.max[r], m.sum[r]);
        MP_UNROLLED
        for (int c = 0; c < COLS; c++)
            if (c * MP_WARP + lane < a.dim)
                to[c * MP_WARP + lane] = m.acc[r][c] * times;
    }
}

mp_err mp_cuda_attn_plain(mp_dev_cuda *d, const mp_attn_args *a, unsigned x, unsigned n_seg)
{
    const mp_attn_args args = *a;
    MP_LAUNCH(attn_plain, dim3(x, n_seg), MP_WARP, (size_t)(ROWS * a->dim) * sizeof(float), d->stream, args);
    return mp_cuda_launched("attention");
}
