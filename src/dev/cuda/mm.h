/* Products: what LINEAR and EXPERTS ask for, activations as int8, and the pieces that their kernels share. Only for .cu files.
 *
 * Activations of one token, K of them, nb = K / 32 blocks (mp_cuda_q8_bytes(K) bytes, a multiple of 16):
 *
 *   | first halves: nb x 16 int8 | second halves: nb x 16 int8 | nb x { float d; int16 sum of the first half, of the second } |
 *
 * so that 32 lanes, each with a block of its own, load whole lines. The codes and d are those of src/num/ref/q8.c, bit for bit where all is finite. */
#ifndef MP_DEV_CUDA_MM_H
#define MP_DEV_CUDA_MM_H

#include "dev/cuda/decode.h"

/* One matrix and the tokens that it meets. Token i is row x_rows[i] / x_div of the activations, or x_first + i; its result is row out_rows[i] of out, or out_first + i. */
typedef struct mp_cuda_mat {
    const unsigned char *w;
    float               *out; /* [.., rows] */
    const float         *bias;
    const int32_t       *x_rows, *out_rows; /* or NULL */
    int32_t              type, rows, n, x_first, out_first;
} mp_cuda_mat;

/* A tile of tokens of the mat-th matrix: [first, first + as many as the kernel's tile has). */
typedef struct mp_cuda_task {
    int32_t mat, first;
} mp_cuda_task;

enum { MP_CUDA_FEW = MP_OP_FEW /* tokens up to which a product is a matvec of several columns */, MP_CUDA_MATS = 3 };

typedef struct mp_cuda_mm {
    const unsigned char *q; /* quantized activations, or NULL where no matrix is of a quantized type */
    const float         *x; /* the same as floats, [.., k], or NULL where no matrix is of floats */
    int64_t              k;
    int32_t              x_div, count;
    mp_cuda_mat          mat[MP_CUDA_MATS]; /* where table is NULL */
    const mp_cuda_mat   *table;             /* or count of them in the device's memory, all with as many rows */
    const mp_cuda_task  *task;              /* with table, for many tokens */
    int32_t              tasks, tile;       /* tile: tokens of a task */
    unsigned             types;             /* 1 << type for every type of a matrix */
    int32_t              most;              /* tokens of a matrix, at most */
    int32_t              rows;              /* of each matrix of the table */
} mp_cuda_mm;

__host__ __device__ static inline size_t mp_cuda_q8_bytes(int64_t k)
{
    return ((size_t)(k / 32) * 40 + 15) & ~(size_t)15;
}

extern "C" {
/* Rows of x (row r, or rows[r] / div) to int8 at q. */
mp_err mp_cuda_quantize(mp_dev_cuda *d, unsigned char *q, const float *x, int64_t n, int64_t k, const int32_t *rows, int div);
/* At most MP_CUDA_FEW tokens for each matrix. A token's results do not depend on how many travel with it. */
mp_err mp_cuda_matvec(mp_dev_cuda *d, const mp_cuda_mm *mm);
/* Any number of tokens; mm->tile and the tasks are made with mp_cuda_tile. Sums run in another order than the matvec's. */
mp_err mp_cuda_matmul(mp_dev_cuda *d, const mp_cuda_mm *mm);
void mp_cuda_matmul_floats(mp_dev_cuda *d, const mp_cuda_mm *mm); /* its part for F32, F16 and BF16 */
/* Tokens of a tile for matrices that meet `tokens` each, on average. */
int mp_cuda_tile(int64_t tokens);
}

static inline unsigned mp_cuda_quantized_types(void)
{
    unsigned all = 0;
#define MP_ONE(type) all |= 1u << type;
    MP_QUANTIZED_TYPES(MP_ONE)
#undef MP_ONE
    return all;
}

__device__ static inline int64_t mp_mat_x(const mp_cuda_mat *m, int i, int div)
{
    return m->x_rows ? m->x_rows[i] / div : m->x_first + i;
}

__device__ static inline int64_t mp_mat_out(const mp_cuda_mat *m, int i)
{
    return m->out_rows ? m->out_rows[i] : m->out_first + i;
}

/* Four activations, elements 4 * (thread % 8) .. of block b of a token; eight lanes share the block. Every lane of the warp must come here; only those
 * with a block (live) write. */
__device__ static inline void mp_quantize4(unsigned char *token, int64_t nb, int64_t b, const float *v, bool live)
{
    const int part = (int)threadIdx.x % 8;
    unsigned most = 0;
    MP_UNROLLED for (int i = 0; i < 4; i++)
        most = max(most, __float_as_uint(v[i]) & 0x7fffffffu); /* infinity is above all numbers, NaN above infinity */
    MP_UNROLLED for (int step = 4; step > 0; step /= 2)
        most = max(most, __shfl_xor_sync(MP_ALL_LANES, most, step));
    const float amax = __uint_as_float(most), inverse = 127.0f / amax;
    const bool bad = most >= 0x7f800000u, zero = bad || inverse > 3.4028235e38f;
    unsigned word = 0;
    int sum = 0;
    MP_UNROLLED for (int i = 0; i < 4; i++) {
        const int q = zero ? 0 : __float2int_rn(v[i] * inverse);
        word |= (unsigned)(q & 255) << 8 * i;
        sum += q;
    }
    sum += __shfl_xor_sync(MP_ALL_LANES, sum, 1);
    sum += __shfl_xor_sync(MP_ALL_LANES, sum, 2);
    const int other = __shfl_xor_sync(MP_ALL_LANES, sum, 4);
    if (!live)
        return;
    *(unsigned *)(void *)(token + part / 4 * nb * 16 + b * 16 + part % 4 * 4) = word;
    if (part == 0) {
        const float d = bad ? __uint_as_float(0x7fc00000u) : zero ? 0.0f : amax / 127.0f;
        *(uint2 *)(void *)(token + nb * 32 + b * 8) = make_uint2(__float_as_uint(d), (unsigned)(sum & 0xffff) | (unsigned)other << 16);
    }
}

/* ---- where a block of a product of many tokens is ---- */

typedef struct mp_cuda_place {
    const mp_cuda_mat *m;
    int                row, tok; /* the first */
} mp_cuda_place;

/* false: nothing is to be done here. Tasks or tiles of tokens are the grid's x, so that the blocks which read the same weights run at the same time. */
__device__ static inline bool mp_cuda_find(const mp_cuda_mm *mm, int rows, mp_cuda_place *at)
{
    if (mm->table) {
        const mp_cuda_task task = mm->task[blockIdx.x];
        at->m = mm->table + task.mat, at->tok = task.first, at->row = (int)blockIdx.y * rows;
        return at->row < at->m->rows;
    }
    int block = (int)blockIdx.y;
    MP_UNROLLED for (int i = 0; i < MP_CUDA_MATS; i++) {
        const int each = i < mm->count ? (mm->mat[i].rows + rows - 1) / rows : 0;
        if (block >= 0 && block < each)
            at->m = &mm->mat[i], at->row = block * rows, at->tok = (int)blockIdx.x * mm->tile;
        block -= each;
    }
    return at->m && at->tok < at->m->n;
}

static inline dim3 mp_cuda_grid(const mp_cuda_mm *mm, int per_block)
{
    int64_t rows = mm->table ? (mm->rows + per_block - 1) / per_block : 0;
    for (int i = 0; !mm->table && i < mm->count; i++)
        rows += (mm->mat[i].rows + per_block - 1) / per_block;
    return dim3(mm->table ? (unsigned)mm->tasks : mp_blocks_of(mm->most, mm->tile), (unsigned)rows);
}

/* ---- 16 bytes from global to shared memory while the thread goes on (sm_80 and later) ---- */

__device__ static inline void mp_copy16(void *shared, const void *global)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((unsigned)__cvta_generic_to_shared(shared)), "l"(global) : "memory");
#else
    *(uint4 *)shared = *(const uint4 *)global;
#endif
}

__device__ static inline void mp_copy_commit(void)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* All but the last LEFT groups of this thread have arrived. */
template <int LEFT> __device__ static inline void mp_copy_wait(void)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#endif
}

/* ---- tensor cores: c = from + a b, int8 by int8 into int32, by all lanes of a warp ----
 *
 * Lane l, g = l / 4, j = l % 4: c[0..1] are row g, columns 2j and 2j + 1; c[2..3] row g + 8. a0, a1 are rows g and g + 8, k 4j to 4j + 3; b0 is column g, the
 * same k. For k = 32, a2, a3, b1 are the same of k 16 to 31. */

#if defined(__CUDA_ARCH__)
__device__ static inline void mp_mma_k16(int *c, const int *from, unsigned a0, unsigned a1, unsigned b0)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%10};"
                 : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
                 : "r"(a0), "r"(a1), "r"(b0), "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3]));
#else
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%4,%5};"
                 : "=r"(c[0]), "=r"(c[1]) : "r"(a0), "r"(b0), "r"(from[0]), "r"(from[1]));
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%4,%5};"
                 : "=r"(c[2]), "=r"(c[3]) : "r"(a1), "r"(b0), "r"(from[2]), "r"(from[3]));
#endif
}
#elif !defined(__CUDACC__)
static inline void mp_mma_k16(int *c, const int *from, unsigned a0, unsigned a1, unsigned b0) /* the emulation's */
{
    const int g = emu_lane() / 4, j = emu_lane() % 4;
    uint64_t a[32], b[32];
    emu_gather((uint64_t)a1 << 32 | a0, a);
    emu_gather((uint64_t)b0, b);
    for (int i = 0; i < 4; i++) {
        int sum = from[i];
        for (int k = 0; k < 16; k += 4)
            sum = __dp4a((int)(a[4 * g + k / 4] >> 32 * (i / 2)), (int)b[4 * (2 * j + i % 2) + k / 4], sum);
        c[i] = sum;
    }
}
#else
__device__ void mp_mma_k16(int *c, const int *from, unsigned a0, unsigned a1, unsigned b0); /* nvcc's pass for the host */
#endif

__device__ static inline void mp_mma_k32(int *c, const int *from, const unsigned *a, const unsigned *b)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3]));
#else
    mp_mma_k16(c, from, a[0], a[1], b[0]);
    mp_mma_k16(c, c, a[2], a[3], b[1]);
#endif
}
#endif
