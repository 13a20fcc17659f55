/* Attention over an F16 cache with tensor cores. One block: tile of rows x one KV head x one span of positions.
 *
 *   warps      WR over rows, 16 each, times WK over positions: of the groups of 16 in a part, warp k takes groups k, k + WK, ...; at the end the WK are merged
 *   part       PART = 16 NG WK positions of K and V in shared memory, as they lie in the cache; the next part is on its way meanwhile
 *     K  [groups][dim][16 positions]   rows of 32 bytes, their two halves exchanged in rows 4-7 of 8: ldmatrix then meets no bank twice
 *     V  [panels][positions][32]       rows of 64 bytes, piece c of 16 bytes at c ^ (row / 2 % 4), for the same reason
 *   both are B of a product with their rows in memory, so the turned ldmatrix makes fragments of them.
 *
 * What is rounded: q is scaled by a power of two per row so that its largest element is in [1, 2), and split into two halves, hi + lo: 22 bits, as an f16 of
 * 11 bits would move scores of 1000 by 0.5. Weights are rounded to f16 - 11 bits, as the values have - times 2^10, so that weights down to 2^-24 keep all
 * of them, and are added up as rounded: the result is a mean with weights that sum to 1. Tolerance: 2^-10 of the largest value (tests/cuda/test_attn.c).
 *
 * Registers hold q (D <= 128) and the result; q of larger heads lies in shared memory, a fragment a lane. */
#ifndef MP_DEV_CUDA_ATTN_MMA_H
#define MP_DEV_CUDA_ATTN_MMA_H

#include "dev/cuda/attn.h"
#include "dev/cuda/mma.h"

#define MP_WEIGHT_BITS 10.0f

/* D: dimension that registers have room for, a multiple of 16; DIM: the dimension, or 0: the op's, any multiple of 8 up to D. */
template <int D, int DIM, int WR, int WK, int NG> struct mp_attn_mma {
    enum { WARPS = WR * WK, THREADS = WARPS * MP_WARP, ROWS = 16 * WR, PART = 16 * NG * WK, Q_HERE = D <= 128, K_STEPS = D / 16, V_TILES = D / 8 };

    /* ---- shared memory ---- */

    static __host__ __device__ int k_rows(int dim) { return (dim + 15) / 16 * 16; } /* of a group of keys: those past dim are zeros */
    static __host__ __device__ int k_bytes(int dim) { return NG * WK * k_rows(dim) * 32; }
    static __host__ __device__ int part_bytes(int dim) { return k_bytes(dim) + (dim + 31) / 32 * PART * 64; }
    static __host__ __device__ int q_bytes() { return Q_HERE ? 0 : WR * K_STEPS * 2 * MP_WARP * 16; }
    static __host__ __device__ int merge_bytes() { return (WK - 1) * WR * (V_TILES * 4 + 4) * MP_WARP * 4; }
    static size_t shared_bytes(int dim, int stages)
    {
        const int parts = part_bytes(dim) * stages;
        return (size_t)q_bytes() + (size_t)(parts > merge_bytes() ? parts : merge_bytes());
    }

    /* ---- copying a part ---- */

    /* Positions [base, base + PART) of a head into `to`; values past `end` become zeros, for what lies there may be anything, and 0 * NaN is NaN. */
    static __device__ __forceinline__ void copy_part(unsigned char *to, const mp_attn_tile *tile, int head, int base, int end, int dim)
    {
        const int row = base % MP_TILE_TOK, panels = (dim + 31) / 32;
        const unsigned char *k = tile->k + head * tile->k_head + (size_t)row * dim * 2, *v = tile->v + head * tile->v_head;
        for (int i = threadIdx.x; i < PART / 8 * dim; i += THREADS) { /* 16 bytes each */
            const int d = i / 2 % dim, at = i / 2 / dim * k_rows(dim) + d;
            mp_copy_16(to + at * 32 + ((i ^ at >> 2) & 1) * 16, k + (size_t)i * 16, false);
        }
        to += k_bytes(dim);
        for (int i = threadIdx.x; i < panels * PART * 4; i += THREADS) {
            const int panel = i / (PART * 4), pos = i / 4 % PART, c = i % 4, width = min(32, dim - panel * 32);
            if (c * 8 < width)
                mp_copy_16(to + (panel * PART + pos) * 64 + (c ^ (pos >> 1 & 3)) * 16,
                           v + ((size_t)panel * 32 * MP_TILE_TOK + (size_t)(row + pos) * width + c * 8) * 2, base + pos >= end);
        }
        mp_copy_end();
    }

    /* Rows of keys past dim are in no copy. */
    static __device__ void clear_rest(unsigned char *part, int dim)
    {
        const int rest = k_rows(dim) - dim;
        for (int i = threadIdx.x; i < NG * WK * rest * 2; i += THREADS)
            *(uint4 *)(part + (i / 2 / rest * k_rows(dim) + dim + i / 2 % rest) * 32 + i % 2 * 16) = make_uint4(0, 0, 0, 0);
    }

    /* ---- a warp's 16 rows ---- */

    float    o[V_TILES][4];            /* results so far, of rows g and g + 8 of a lane */
    float    max[2], sum[2], back[2];  /* maximum of base 2; my part of the sum; what scores are multiplied by */
    int      first[2], last[2];        /* positions that the row sees */
    uint32_t q[Q_HERE ? K_STEPS : 1][2][4];

    static __device__ __forceinline__ float2 load_q(const float *row, int at, int dim)
    {
        return at < dim ? *(const float2 *)(row + at) : make_float2(0.0f, 0.0f);
    }

    /* wr: of the warps over rows. shared_q: where its fragments go when they do not stay here; NULL: another warp writes them. */
    __device__ __forceinline__ void start(const mp_attn_args *a, const mp_attn_seg *s, const mp_attn_block *b, int wr, int dim, uint4 *shared_q)
    {
        const int lane = (int)threadIdx.x % MP_WARP, t = 2 * (lane % 4);
        const float *row[2];
        float mul[2];
        MP_UNROLLED
        for (int h = 0; h < 2; h++) {
            const int r = min(wr * 16 + lane / 4 + 8 * h, b->rows - 1); /* rows past the end do the last one's work, and do not write */
            float most = 0.0f;
            row[h] = a->q + mp_attn_row_at(a, s, b, r);
            last[h] = s->pos + (b->row0 + r) / a->per;
            first[h] = mp_attn_sees_from(a, last[h]);
            for (int d = t; d < dim; d += 8) {
                const float2 x = load_q(row[h], d, dim);
                most = fmaxf(most, fmaxf(fabsf(x.x), fabsf(x.y)));
            }
            most = fmaxf(most, __shfl_xor_sync(MP_ALL_LANES, most, 1));
            most = fmaxf(most, __shfl_xor_sync(MP_ALL_LANES, most, 2));
            const unsigned power = min(max_u(__float_as_uint(fabsf(most * a->scale)) >> 23, 1u), 253u);
            mul[h] = __uint_as_float((254u - power) << 23);
            back[h] = __uint_as_float(power << 23);
            max[h] = -INFINITY, sum[h] = 0.0f;
        }
        MP_UNROLLED
        for (int i = 0; i < V_TILES; i++)
            o[i][0] = o[i][1] = o[i][2] = o[i][3] = 0.0f;
        MP_UNROLLED
        for (int k = 0; k < K_STEPS; k++) {
            uint32_t f[2][4];
            MP_UNROLLED
            for (int i = 0; i < 4; i++) {
                const float2 x = load_q(row[i % 2], k * 16 + t + i / 2 * 8, dim);
                const float u = x.x * a->scale * mul[i % 2], v = x.y * a->scale * mul[i % 2];
                f[0][i] = mp_pack_halves(u, v);
                f[1][i] = mp_pack_halves(u - mp_half_f32((uint16_t)f[0][i]), v - mp_half_f32((uint16_t)(f[0][i] >> 16)));
            }
            MP_UNROLLED
            for (int i = 0; i < 2; i++) {
                if (Q_HERE)
                    memcpy(q[Q_HERE ? k : 0][i], f[i], sizeof f[i]);
                else if (shared_q)
                    memcpy(&shared_q[(k * 2 + i) * MP_WARP + lane], f[i], sizeof f[i]);
            }
        }
    }

    static __device__ __forceinline__ unsigned max_u(unsigned a, unsigned b) { return a > b ? a : b; }

    /* s[2i], s[2i + 1]: scores of the first and last 8 positions of my i-th group. With one group the products of q's two halves are sums of their own, so that
     * four chains run side by side where there would be two. */
    __device__ __forceinline__ void score(float s[2 * NG][4], const unsigned char *keys, int wk, int dim, const uint4 *shared_q)
    {
        enum { CHAINS = NG == 1 ? 2 : 1 };
        const int lane = (int)threadIdx.x % MP_WARP;
        float small[2 * NG * (CHAINS - 1) + 1][4];
        keys += (lane % 16) * 32 + ((lane >> 4 ^ lane >> 2) & 1) * 16;
        MP_UNROLLED
        for (int i = 0; i < 2 * NG; i++) {
            s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0.0f;
            if (CHAINS == 2)
                small[i][0] = small[i][1] = small[i][2] = small[i][3] = 0.0f;
        }
        MP_UNROLLED
        for (int k = 0; k < K_STEPS; k++) {
            uint32_t f[2][4];
            if (!DIM && k * 16 >= dim)
                break;
            MP_UNROLLED
            for (int i = 0; i < 2; i++) {
                if (Q_HERE)
                    memcpy(f[i], q[Q_HERE ? k : 0][i], sizeof f[i]);
                else
                    memcpy(f[i], &shared_q[(k * 2 + i) * MP_WARP + lane], sizeof f[i]);
            }
            MP_UNROLLED
            for (int i = 0; i < NG; i++) {
                uint32_t b[4];
                mp_load_f16_8x8x4_turned(b, keys + ((i * WK + wk) * k_rows(dim) + k * 16) * 32);
                MP_UNROLLED
                for (int h = 0; h < 2; h++) {
                    mp_mma_f16_16x8x16(CHAINS == 2 ? small[h] : s[2 * i + h], f[1], b + 2 * h);
                    mp_mma_f16_16x8x16(s[2 * i + h], f[0], b + 2 * h);
                }
            }
        }
        if (CHAINS == 2)
            MP_UNROLLED
            for (int i = 0; i < 8; i++)
                s[i / 4][i % 4] += small[i / 4][i % 4];
    }

    /* Scores become weights, rounded to halves: p[i] is an A of my i-th group. The result so far is scaled to the new maximum. base: position of the part;
     * all: every row sees all of it. */
    __device__ __forceinline__ void soften(uint32_t p[NG][4], float s[2 * NG][4], int base, int wk, bool all)
    {
        const int t = 2 * ((int)threadIdx.x % 4);
        MP_UNROLLED
        for (int h = 0; h < 2; h++) {
            float most = max[h];
            MP_UNROLLED
            for (int i = 0; i < 2 * NG; i++)
                MP_UNROLLED
                for (int j = 0; j < 2; j++) {
                    const int pos = base + (i / 2 * WK + wk) * 16 + i % 2 * 8 + t + j;
                    float *x = &s[i][2 * h + j];
                    *x = all || (pos >= first[h] && pos <= last[h]) ? *x * back[h] : -INFINITY;
                    most = fmaxf(most, *x);
                }
            most = fmaxf(most, __shfl_xor_sync(MP_ALL_LANES, most, 1));
            most = fmaxf(most, __shfl_xor_sync(MP_ALL_LANES, most, 2));
            const float zero = most == -INFINITY ? 0.0f : most, keep = exp2f(max[h] - zero);
            float added = 0.0f;
            MP_UNROLLED
            for (int i = 0; i < 2 * NG; i++) {
                const uint32_t w = mp_pack_halves(exp2f(s[i][2 * h] - zero + MP_WEIGHT_BITS), exp2f(s[i][2 * h + 1] - zero + MP_WEIGHT_BITS));
                added += mp_half_f32((uint16_t)w) + mp_half_f32((uint16_t)(w >> 16));
                p[i / 2][i % 2 * 2 + h] = w;
            }
            sum[h] = sum[h] * keep + added;
            max[h] = most;
            MP_UNROLLED
            for (int i = 0; i < V_TILES; i++)
                o[i][2 * h] *= keep, o[i][2 * h + 1] *= keep;
        }
    }

    __device__ __forceinline__ void add_values(const uint32_t p[NG][4], const unsigned char *values, int wk, int dim)
    {
        const int lane = (int)threadIdx.x % MP_WARP, odd = lane >> 4;
        MP_UNROLLED
        for (int i = 0; i < NG; i++) {
            const unsigned char *row = values + ((i * WK + wk) * 16 + lane % 16) * 64;
            MP_UNROLLED
            for (int j = 0; j < V_TILES; j += 2) { /* 8 columns each */
                uint32_t b[4];
                if (!DIM && j * 8 >= dim)
                    break;
                mp_load_f16_8x8x4_turned(b, row + j / 4 * PART * 64 + ((j % 4 + odd) ^ (lane >> 1 & 3)) * 16);
                mp_mma_f16_16x8x16(o[j], p[i], b);
                if (DIM || j * 8 + 8 < dim)
                    mp_mma_f16_16x8x16(o[j + 1], p[i], b + 2);
            }
        }
    }

    /* ---- the end ---- */

    /* What warp wk > 0 has goes to its place in shared memory; warp 0 of the same rows adds all, in their order. For the whole block. */
    __device__ __forceinline__ void merge(float *place, int wr, int wk)
    {
        const int lane = (int)threadIdx.x % MP_WARP, size = (V_TILES * 4 + 4) * MP_WARP;
        if (wk > 0) {
            float *to = place + ((wk - 1) * WR + wr) * size + lane;
            MP_UNROLLED
            for (int i = 0; i < V_TILES * 4; i++)
                to[i * MP_WARP] = o[i / 4][i % 4];
            MP_UNROLLED
            for (int h = 0; h < 2; h++)
                to[(V_TILES * 4 + h) * MP_WARP] = max[h], to[(V_TILES * 4 + 2 + h) * MP_WARP] = sum[h];
        }
        __syncthreads();
        for (int w = 1; wk == 0 && w < WK; w++) {
            const float *from = place + ((w - 1) * WR + wr) * size + lane;
            MP_UNROLLED
            for (int h = 0; h < 2; h++) {
                const float other = from[(V_TILES * 4 + h) * MP_WARP], most = fmaxf(max[h], other), zero = most == -INFINITY ? 0.0f : most;
                const float keep = exp2f(max[h] - zero), take = exp2f(other - zero);
                sum[h] = sum[h] * keep + from[(V_TILES * 4 + 2 + h) * MP_WARP] * take;
                max[h] = most;
                MP_UNROLLED
                for (int i = 0; i < V_TILES * 2; i++) {
                    float *x = &o[i / 2][2 * h + i % 2];
                    *x = *x * keep + from[(i / 2 * 4 + 2 * h + i % 2) * MP_WARP] * take;
                }
            }
        }
    }

    __device__ __forceinline__ void finish(const mp_attn_args *a, const mp_attn_seg *s, const mp_attn_block *b, int wr, int dim)
    {
        const int lane = (int)threadIdx.x % MP_WARP;
        MP_UNROLLED
        for (int h = 0; h < 2; h++) {
            const int r = wr * 16 + lane / 4 + 8 * h;
            if (r >= b->rows)
                continue;
            const int64_t slot = s->spans > 1 ? mp_attn_slot(a, s, b, r) : 0;
            float *to = s->spans > 1 ? a->partial + slot * dim : a->out + mp_attn_row_at(a, s, b, r);
            const float times = s->spans > 1 ? 1.0f : 1.0f / sum[h];
            if (s->spans > 1 && lane % 4 == 0)
                a->state[slot] = make_float2(max[h], sum[h]);
            MP_UNROLLED
            for (int i = 0; i < V_TILES; i++)
                if (DIM || i * 8 < dim)
                    *(float2 *)(to + i * 8 + 2 * (lane % 4)) = make_float2(o[i][2 * h] * times, o[i][2 * h + 1] * times);
        }
    }
};

template <int D, int DIM, int WR, int WK, int NG> __global__ static void __launch_bounds__(WR *WK *MP_WARP) mp_attn_kernel(mp_attn_args a)
{
    typedef mp_attn_mma<D, DIM, WR, WK, NG> me;
    MP_SHARED(unsigned char, memory);
    const mp_attn_seg s = a.seg[blockIdx.y];
    const int dim = DIM ? DIM : a.dim, warp = (int)threadIdx.x / MP_WARP, wr = warp % WR, wk = warp / WR;
    mp_attn_block b;
    me m;
    if (!mp_attn_find(&a, &s, me::ROWS, &b))
        return;
    unsigned char *parts = memory + me::q_bytes();
    uint4 *shared_q = (uint4 *)memory + wr * me::K_STEPS * 2 * MP_WARP;
    const mp_attn_tile *tiles = a.tile + s.tile_at - s.first_tile;
    const int start = b.from / me::PART * me::PART, end = s.pos + s.n, seen = s.pos + b.row0 / a.per, from = mp_attn_sees_from(&a, s.pos + (b.row0 + b.rows - 1) / a.per);
    if (start < b.to)
        me::copy_part(parts, tiles + start / MP_TILE_TOK, b.head, start, end, dim);
    if (!DIM)
        for (int i = 0; i < a.stages; i++)
            me::clear_rest(parts + i * me::part_bytes(dim), dim);
    m.start(&a, &s, &b, wr, dim, wk == 0 ? shared_q : NULL);
    int stage = 0;
    for (int base = start; base < b.to; base += me::PART) {
        const unsigned char *part = parts + stage * me::part_bytes(dim);
        const int next = base + me::PART;
        const bool more = next < b.to;
        float score[2 * NG][4];
        uint32_t p[NG][4];
        if (a.stages == 2)
            stage ^= 1;
        if (more && a.stages == 2) {
            me::copy_part(parts + stage * me::part_bytes(dim), tiles + next / MP_TILE_TOK, b.head, next, end, dim);
            mp_copy_wait<1>();
        } else {
            mp_copy_wait<0>();
        }
        __syncthreads();
        m.score(score, part, wk, dim, shared_q);
        m.soften(p, score, base, wk, base >= from && base + me::PART - 1 <= seen);
        m.add_values(p, part + me::k_bytes(dim), wk, dim);
        __syncthreads();
        if (more && a.stages == 1)
            me::copy_part(parts, tiles + next / MP_TILE_TOK, b.head, next, end, dim);
    }
    MP_UNROLLED
    for (int h = 0; h < 2; h++) {
        m.sum[h] += __shfl_xor_sync(MP_ALL_LANES, m.sum[h], 1);
        m.sum[h] += __shfl_xor_sync(MP_ALL_LANES, m.sum[h], 2);
    }
    if (WK > 1)
        m.merge((float *)parts, wr, wk);
    if (wk == 0)
        m.finish(&a, &s, &b, wr, dim);
}

/* Enqueues it with as many stages as the card has room for. */
template <int D, int DIM, int WR, int WK, int NG> static mp_err mp_attn_launch(mp_dev_cuda *d, mp_attn_args a, dim3 grid)
{
    typedef mp_attn_mma<D, DIM, WR, WK, NG> me;
    a.stages = me::shared_bytes(a.dim, 2) <= mp_cuda_shared_limit(d) ? 2 : 1;
    const size_t shared = me::shared_bytes(a.dim, a.stages);
    if (shared > 48 << 10) {
        mp_err err = mp_cuda_check(cudaFuncSetAttribute((const void *)mp_attn_kernel<D, DIM, WR, WK, NG>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared),
                                   "asking for shared memory");
        if (err)
            return err;
    }
    MP_LAUNCH((mp_attn_kernel<D, DIM, WR, WK, NG>), grid, me::THREADS, shared, d->stream, a);
    return mp_cuda_launched("attention");
}
#endif
