/* Products of up to eight tokens: each warp two rows of weights, each lane a block of 32 of both, unpacked in registers and multiplied with every token's.
 *
 * Floor: the weights' bytes once (Q4_K 0.56 a weight; an RTX 4070 has 504 GB/s, an H200 4.8 TB/s). To keep memory busy an SM needs about 7 KB (4070) to
 * 30 KB (H200) under way at any time; so rows come as 16-byte pieces into a ring of shared memory, STAGES chunks of 1024 weights deep, whatever their
 * format's alignment is, and are read from there, shifted, by the lanes:
 *
 *   ring of a warp   | stage 0: row 0, row 1 | stage 1: ... |     slot bytes for each row's chunk: the whole 16-byte pieces that it touches
 *
 * Before sm_80 there are two stages, and what comes next waits in registers.
 *
 * Per block of 32 a lane does some 60 operations for the unpacking and 12 for each token. Each lane adds its blocks in order, then the lanes are added by halves:
 * so a result depends on the row and its token alone. Operations that a compiler might fuse here and not there are spelled out. */
#include "dev/cuda/mm.h"

#ifdef __CUDACC__
#define MP_PAIRS _Pragma("unroll 2")
#else
#define MP_PAIRS
#endif

enum { WARPS = 4, ROWS = 2, STAGES = 4, CHUNK = 32 /* blocks of 32 */ };

/* Does the machine that this is compiled for copy to shared memory by itself? The emulation does it both ways, so that both are tested. */
__host__ __device__ static constexpr bool copies_async(int tokens)
{
#ifdef __CUDA_ARCH__
    return tokens > 0 && __CUDA_ARCH__ >= 800;
#else
    return tokens != 2;
#endif
}

typedef struct work {
    const mp_cuda_mat *m;
    int                row, rows[ROWS]; /* the first; what is read: the last one twice where they are odd */
    int                lane;
} work;

template <int NT> struct sums {
    float of[ROWS][NT];
};

/* ---- one block with one token ---- */

template <int TYPE> __device__ static inline float times(const mp_codes *c, const uint4 *x, uint2 meta)
{
    typedef mp_unpack<TYPE> u;
    const float d = __uint_as_float(meta.x);
    const int s0 = (short)(meta.y & 0xffff), s1 = (short)(meta.y >> 16);
    int first = 0, second = 0;
    first = __dp4a(c->w[0], (int)x[0].x, first), first = __dp4a(c->w[1], (int)x[0].y, first);
    first = __dp4a(c->w[2], (int)x[0].z, first), first = __dp4a(c->w[3], (int)x[0].w, first);
    second = __dp4a(c->w[4], (int)x[1].x, second), second = __dp4a(c->w[5], (int)x[1].y, second);
    second = __dp4a(c->w[6], (int)x[1].z, second), second = __dp4a(c->w[7], (int)x[1].w, second);
    if (u::SUB == 32) {
        const float off = u::MIN ? -__fmul_rn(c->min[0], __fmul_rn(d, (float)(s0 + s1))) : 0.0f;
        return __fmaf_rn(__fmul_rn(c->scale[0], d), (float)(first + second), off);
    }
    const float sum = __fmaf_rn(c->scale[0], (float)first, __fmul_rn(c->scale[1], (float)second));
    if (!u::MIN)
        return __fmul_rn(d, sum);
    const float off = __fmaf_rn(c->min[0], (float)s0, __fmul_rn(c->min[1], (float)s1));
    return __fmaf_rn(d, sum, -__fmul_rn(d, off));
}

/* ---- rows of a quantized type ---- */

/* Where a row's chunk begins, and how many 16-byte pieces of memory it touches. */
template <int TYPE> struct chunk_of {
    typedef mp_unpack<TYPE> u;
    enum { PER = u::LEN / 32, MOST = (CHUNK / PER * u::BYTES + 15 + 15) / 16, TURNS = (MOST + MP_WARP - 1) / MP_WARP };
    const unsigned char *from;
    int                  pieces;
    __device__ chunk_of(const work *k, int r, int64_t nb, int chunk)
    {
        const int64_t left = nb - (int64_t)chunk * CHUNK;
        from = k->m->w + ((int64_t)k->rows[r] * (nb / PER) + (int64_t)chunk * (CHUNK / PER)) * u::BYTES;
        pieces = left > 0 ? (int)(skip() + (unsigned)((int)min((int64_t)CHUNK, left) / PER * u::BYTES) + 15) / 16 : 0;
    }
    __device__ unsigned skip() const { return (unsigned)((uintptr_t)from & 15); }
};

template <int TYPE> __device__ static inline void fetch(const work *k, int64_t nb, int chunk, unsigned char *stage, int slot)
{
    MP_UNROLLED for (int r = 0; r < ROWS; r++) {
        const chunk_of<TYPE> c(k, r, nb, chunk);
        MP_UNROLLED for (int j = 0; j < c.TURNS; j++) {
            const int i = k->lane + MP_WARP * j;
            if (i < c.pieces)
                mp_copy16(stage + r * slot + 16 * i, c.from - c.skip() + 16 * i);
        }
    }
    mp_copy_commit();
}

/* The same in two steps through registers, for what cannot copy while it computes (before sm_80): loads are under way while the chunk before is multiplied. */
template <int TYPE> struct carried {
    uint4 piece[ROWS][chunk_of<TYPE>::TURNS];
};

template <int TYPE> __device__ static inline void load(const work *k, int64_t nb, int chunk, carried<TYPE> *v)
{
    MP_UNROLLED for (int r = 0; r < ROWS; r++) {
        const chunk_of<TYPE> c(k, r, nb, chunk);
        MP_UNROLLED for (int j = 0; j < c.TURNS; j++)
            if (k->lane + MP_WARP * j < c.pieces)
                v->piece[r][j] = __ldg((const uint4 *)(const void *)(c.from - c.skip()) + k->lane + MP_WARP * j);
    }
}

template <int TYPE> __device__ static inline void store(const work *k, int64_t nb, int chunk, const carried<TYPE> *v, unsigned char *stage, int slot)
{
    MP_UNROLLED for (int r = 0; r < ROWS; r++) {
        const chunk_of<TYPE> c(k, r, nb, chunk);
        MP_UNROLLED for (int j = 0; j < c.TURNS; j++)
            if (k->lane + MP_WARP * j < c.pieces)
                *((uint4 *)(void *)(stage + r * slot) + k->lane + MP_WARP * j) = v->piece[r][j];
    }
}

template <int TYPE, int NT> __device__ static inline void multiply(const work *k, const mp_cuda_mm *mm, int64_t nb, int chunk, const unsigned char *stage, int slot,
                                                                   const unsigned (&at)[NT], sums<NT> *acc)
{
    const int64_t b = (int64_t)chunk * CHUNK + k->lane;
    if (b >= nb)
        return;
    mp_codes codes[ROWS];
    MP_UNROLLED for (int r = 0; r < ROWS; r++) {
        const chunk_of<TYPE> c(k, r, nb, chunk);
        mp_unpack<TYPE>::block(stage + r * slot + c.skip() + k->lane / c.PER * mp_unpack<TYPE>::BYTES, k->lane % c.PER, &codes[r]);
    }
    MP_UNROLLED for (int t = 0; t < NT; t++) {
        if (t >= k->m->n)
            break;
        const uint4 *q = (const uint4 *)(const void *)mm->q + at[t] + b;
        const uint4 x[2] = { __ldg(q), __ldg(q + nb) };
        const uint2 meta = __ldg((const uint2 *)(const void *)((const uint4 *)(const void *)mm->q + at[t] + 2 * nb) + b);
        MP_UNROLLED for (int r = 0; r < ROWS; r++)
            acc->of[r][t] = __fadd_rn(acc->of[r][t], times<TYPE>(&codes[r], x, meta));
    }
}

template <int TYPE, int NT> __device__ static void quantized(const work *k, const mp_cuda_mm *mm, unsigned char *ring, int slot, sums<NT> *acc)
{
    const int64_t nb = mm->k / 32;
    const int chunks = (int)((nb + CHUNK - 1) / CHUNK);
    unsigned at[NT]; /* where a token's activations begin, in 16 bytes */
    MP_UNROLLED for (int t = 0; t < NT; t++)
        at[t] = t < k->m->n ? (unsigned)(mp_mat_x(k->m, t, mm->x_div) * (int64_t)(mp_cuda_q8_bytes(mm->k) / 16)) : 0;
    if constexpr (copies_async(NT)) {
        MP_UNROLLED for (int s = 0; s < STAGES - 1; s++)
            fetch<TYPE>(k, nb, s, ring + s * ROWS * slot, slot);
        for (int c = 0; c < chunks; c++) {
            mp_copy_wait<STAGES - 2>();
            __syncwarp(); /* chunk c is there for all lanes, and all have left the stage that is filled next */
            fetch<TYPE>(k, nb, c + STAGES - 1, ring + (c + STAGES - 1) % STAGES * ROWS * slot, slot);
            multiply<TYPE, NT>(k, mm, nb, c, ring + c % STAGES * ROWS * slot, slot, at, acc);
        }
    } else {
        carried<TYPE> next;
        load<TYPE>(k, nb, 0, &next);
        store<TYPE>(k, nb, 0, &next, ring, slot);
        for (int c = 0; c < chunks; c++) {
            __syncwarp();
            load<TYPE>(k, nb, c + 1, &next);
            multiply<TYPE, NT>(k, mm, nb, c, ring + c % 2 * ROWS * slot, slot, at, acc);
            store<TYPE>(k, nb, c + 1, &next, ring + (c + 1) % 2 * ROWS * slot, slot);
        }
    }
}

/* ---- rows of floats: four of them at a time, in float32 ---- */

template <int TYPE> __device__ static inline float4 four_of(const unsigned char *row, int64_t i, int64_t n)
{
    enum { SIZE = TYPE == MP_F32 ? 4 : 2 };
    const unsigned char *p = row + i * SIZE;
    if (i + 4 > n || ((uintptr_t)p & (4 * SIZE - 1))) {
        float v[4];
        MP_UNROLLED for (int j = 0; j < 4; j++)
            v[j] = i + j < n ? mp_float_at<TYPE>(row, i + j) : 0.0f;
        return make_float4(v[0], v[1], v[2], v[3]);
    }
    if (TYPE == MP_F32)
        return __ldg((const float4 *)(const void *)p);
    const uint2 h = __ldg((const uint2 *)(const void *)p);
    if (TYPE == MP_BF16)
        return make_float4(__uint_as_float(h.x << 16), __uint_as_float(h.x & 0xffff0000u), __uint_as_float(h.y << 16), __uint_as_float(h.y & 0xffff0000u));
    return make_float4(mp_half_f32((uint16_t)(h.x & 0xffff)), mp_half_f32((uint16_t)(h.x >> 16)), mp_half_f32((uint16_t)(h.y & 0xffff)), mp_half_f32((uint16_t)(h.y >> 16)));
}

template <int TYPE, int NT> __device__ static void floats(const work *k, const mp_cuda_mm *mm, sums<NT> *acc)
{
    const unsigned char *row[ROWS], *x[NT];
    MP_UNROLLED for (int r = 0; r < ROWS; r++)
        row[r] = k->m->w + k->rows[r] * mm->k * (TYPE == MP_F32 ? 4 : 2);
    MP_UNROLLED for (int t = 0; t < NT; t++)
        x[t] = (const unsigned char *)(mm->x + (t < k->m->n ? mp_mat_x(k->m, t, mm->x_div) : 0) * mm->k);
    MP_PAIRS for (int64_t i = 4 * k->lane; i < mm->k; i += 4 * MP_WARP) {
        float4 w[ROWS];
        MP_UNROLLED for (int r = 0; r < ROWS; r++)
            w[r] = four_of<TYPE>(row[r], i, mm->k);
        MP_UNROLLED for (int t = 0; t < NT; t++) {
            if (t >= k->m->n)
                break;
            const float4 v = four_of<MP_F32>(x[t], i, mm->k);
            MP_UNROLLED for (int r = 0; r < ROWS; r++) {
                float s = acc->of[r][t];
                s = __fmaf_rn(w[r].x, v.x, s), s = __fmaf_rn(w[r].y, v.y, s), s = __fmaf_rn(w[r].z, v.z, s), s = __fmaf_rn(w[r].w, v.w, s);
                acc->of[r][t] = s;
            }
        }
    }
}

/* ---- the kernel ---- */

/* The block's matrix and the first of its rows; NULL: past the end. */
__device__ static inline const mp_cuda_mat *matrix_of(const mp_cuda_mm *mm, int per_block, int *row)
{
    int block = (int)blockIdx.x;
    if (mm->table) {
        const int each = (mm->rows + per_block - 1) / per_block;
        *row = block % each * per_block;
        return mm->table + block / each;
    }
    MP_UNROLLED for (int i = 0; i < MP_CUDA_MATS; i++) {
        const int each = i < mm->count ? (mm->mat[i].rows + per_block - 1) / per_block : 0;
        *row = block * per_block;
        if (block < each)
            return &mm->mat[i];
        block -= each;
    }
    return NULL;
}

template <int NT> __global__ static void __launch_bounds__(WARPS *MP_WARP, NT == 1 ? 6 : NT == 2 ? 5 : NT == 4 ? 4 : 3) matvec(const __grid_constant__ mp_cuda_mm mm, int slot)
{
    MP_SHARED(unsigned char, rings);
    work k;
    int row = 0;
    k.m = matrix_of(&mm, WARPS * ROWS, &row);
    if (!k.m)
        return;
    const int warp = (int)threadIdx.x / MP_WARP;
    k.lane = (int)threadIdx.x % MP_WARP;
    k.row = row + warp * ROWS;
    if (k.row >= k.m->rows)
        return;
    MP_UNROLLED for (int r = 0; r < ROWS; r++)
        k.rows[r] = min(k.row + r, k.m->rows - 1);
    unsigned char *ring = rings + warp * (copies_async(NT) ? STAGES : 2) * ROWS * slot;
    sums<NT> acc = {};
    switch (k.m->type) {
#define CASE(t) case t: quantized<t, NT>(&k, &mm, ring, slot, &acc); break;
        MP_QUANTIZED_TYPES(CASE)
#undef CASE
    case MP_F32: floats<MP_F32, NT>(&k, &mm, &acc); break;
    case MP_F16: floats<MP_F16, NT>(&k, &mm, &acc); break;
    case MP_BF16: floats<MP_BF16, NT>(&k, &mm, &acc); break;
    }
    MP_UNROLLED for (int r = 0; r < ROWS; r++) {
        MP_UNROLLED for (int t = 0; t < NT; t++) {
            const float sum = mp_warp_sum(acc.of[r][t]);
            if (k.lane == r * NT + t && t < k.m->n && k.row + r < k.m->rows)
                k.m->out[mp_mat_out(k.m, t) * k.m->rows + k.row + r] = k.m->bias ? sum + k.m->bias[k.row + r] : sum;
        }
    }
}

/* Bytes of a row's chunk in the ring: of the largest type here. */
static int slot_of(const mp_cuda_mm *mm)
{
    int slot = 0;
    const int64_t nb = min(mm->k / 32, (int64_t)CHUNK);
    for (int t = 0; t < MP_DTYPE_COUNT; t++) {
        const mp_dtype_info *info = mp_dtype_get((mp_dtype)t);
        if ((mm->types >> t & 1) && info->quantized)
            slot = max(slot, ((int)nb * 32 / info->block_len * info->block_bytes + 15 + 15) / 16 * 16);
    }
    return slot;
}

mp_err mp_cuda_matvec(mp_dev_cuda *d, const mp_cuda_mm *mm)
{
    const int slot = slot_of(mm), per_block = WARPS * ROWS, stages = d->major < 8 ? 2 : STAGES;
    const size_t shared = (size_t)(WARPS * stages * ROWS * slot);
    int64_t blocks = mm->table ? (int64_t)mm->count * ((mm->rows + per_block - 1) / per_block) : 0;
    for (int i = 0; !mm->table && i < mm->count; i++)
        blocks += (mm->mat[i].rows + per_block - 1) / per_block;
    if (blocks == 0 || mm->most == 0)
        return MP_OK;
    const mp_cuda_mm args = *mm;
    if (mm->most == 1)
        MP_LAUNCH(matvec<1>, (unsigned)blocks, WARPS * MP_WARP, shared, d->stream, args, slot);
    else if (mm->most == 2)
        MP_LAUNCH(matvec<2>, (unsigned)blocks, WARPS * MP_WARP, shared, d->stream, args, slot);
    else if (mm->most <= 4)
        MP_LAUNCH(matvec<4>, (unsigned)blocks, WARPS * MP_WARP, shared, d->stream, args, slot);
    else
        MP_LAUNCH(matvec<MP_CUDA_FEW>, (unsigned)blocks, WARPS * MP_WARP, shared, d->stream, args, slot);
    return mp_cuda_launched("matvec");
}
