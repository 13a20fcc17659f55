/* Products of many tokens with weights of the quantized types, on tensor cores. A block has 128 rows of weights and a tile of 16, 32 or 64 tokens, and goes
 * through them 128 elements at a time:
 *
 *   all threads    unpack the weights' 512 blocks of 32 to shared memory (codes, scales, minima), copy the tokens'
 *   8 warps        4 x 2 of them: 32 rows by half of the tokens each; one mma of 16 x 8 x 32 is exactly one block: its integers become floats with their scales
 *
 *   shared   codes [128][144]  x [tile][144]     rows of 128 bytes and 16 of nothing, so that the eight rows that a fragment reads lie in different banks
 *            scale, low [half][4][128]           d, s [4][tile]
 *
 * Floor: 2 T N K operations of the tensor cores' int8 rate (an RTX 4070: 233 Top/s; an H200: 1979). But each of the 128 sums of an mma then takes three float
 * operations (four with minima), 12 a lane, and float units do 128 an SM and clock where tensor cores do one such mma in one (H200) to four (4070) clocks: so the
 * floats are the bound on an H200, at about a third of its int8 peak, and even on a 4070. An integer becomes a float without a conversion (which is slow):
 * sums start at the bits of 1.5 * 2^23, in whose binade an integer is its own mantissa. */
#include "dev/cuda/mm.h"

enum { ROWS = 128, STEP = 4 /* blocks of 32 */, PITCH = 144, THREADS = 256 };
#define MAGIC 12582912.0f /* 1.5 * 2^23 */
enum { MAGIC_BITS = 0x4b400000 };

typedef struct tile {
    unsigned char *codes, *x;
    float         *scale, *low, *d, *s; /* scale + STEP * ROWS: of second halves; so with low; s: of first halves alone, then of second ones, where SUB is 16 */
} tile;

/* ---- filling ---- */

template <int TYPE> __device__ static void unpack_rows(const mp_cuda_place *at, int64_t nb, int64_t b0, int nkb, const tile *s)
{
    typedef mp_unpack<TYPE> u;
    enum { PER = u::LEN / 32 };
    for (int i = (int)threadIdx.x; i < ROWS * STEP; i += THREADS) {
        const int r = i / STEP, kb = i % STEP;
        const int64_t row = min(at->row + r, at->m->rows - 1), b = b0 + kb;
        if (kb >= nkb)
            continue;
        mp_codes c;
        u::block(at->m->w + row * (nb / PER) * u::BYTES + b / PER * u::BYTES, (int)(b % PER), &c);
        uint4 *to = (uint4 *)(void *)(s->codes + r * PITCH + kb * 32);
        to[0] = make_uint4((unsigned)c.w[0], (unsigned)c.w[1], (unsigned)c.w[2], (unsigned)c.w[3]);
        to[1] = make_uint4((unsigned)c.w[4], (unsigned)c.w[5], (unsigned)c.w[6], (unsigned)c.w[7]);
        MP_UNROLLED for (int h = 0; h < (u::SUB == 16 ? 2 : 1); h++) {
            s->scale[(h * STEP + kb) * ROWS + r] = c.scale[h];
            if (u::MIN)
                s->low[(h * STEP + kb) * ROWS + r] = c.min[h];
        }
    }
}

__device__ static void copy_tokens(const mp_cuda_place *at, const mp_cuda_mm *mm, int64_t nb, int64_t b0, int nkb, int tokens, bool by_halves, const tile *s)
{
    for (int i = (int)threadIdx.x; i < tokens * STEP; i += THREADS) {
        const int t = i / STEP, kb = i % STEP;
        if (kb >= nkb)
            continue;
        const unsigned char *q = mm->q + mp_mat_x(at->m, min(at->tok + t, at->m->n - 1), mm->x_div) * (int64_t)mp_cuda_q8_bytes(mm->k);
        uint4 *to = (uint4 *)(void *)(s->x + t * PITCH + kb * 32);
        to[0] = __ldg((const uint4 *)(const void *)q + b0 + kb);
        to[1] = __ldg((const uint4 *)(const void *)q + nb + b0 + kb);
        const uint2 meta = __ldg((const uint2 *)(const void *)(q + 32 * nb) + b0 + kb);
        const float d = __uint_as_float(meta.x);
        const int s0 = (short)(meta.y & 0xffff), s1 = (short)(meta.y >> 16);
        s->d[kb * tokens + t] = d;
        s->s[kb * tokens + t] = d * (float)(by_halves ? s0 : s0 + s1);
        s->s[(STEP + kb) * tokens + t] = d * (float)s1;
    }
}

/* ---- multiplying ---- */

/* acc[m][n][i]: as an mma's c. */
template <int SUB, bool MIN, int NT> __device__ static inline void multiply(const tile *s, int nkb, int row, int tok, float (&acc)[2][NT][4])
{
    enum { TOKENS = 16 * NT, WORDS = PITCH / 4 };
    const int lane = (int)threadIdx.x % MP_WARP, g = lane / 4, j = lane % 4, start[4] = { MAGIC_BITS, MAGIC_BITS, MAGIC_BITS, MAGIC_BITS };
    const unsigned *codes = (const unsigned *)(const void *)s->codes, *x = (const unsigned *)(const void *)s->x;
    for (int kb = 0; kb < nkb; kb++) {
        unsigned a[2][4];
        float scale[2][2][2], low[2][2][2]; /* [half][m][row g or g + 8] */
        MP_UNROLLED for (int m = 0; m < 2; m++) {
            MP_UNROLLED for (int i = 0; i < 4; i++)
                a[m][i] = codes[(row + 16 * m + g + i % 2 * 8) * WORDS + kb * 8 + i / 2 * 4 + j];
            MP_UNROLLED for (int h = 0; h < 32 / SUB; h++)
                MP_UNROLLED for (int i = 0; i < 2; i++) {
                    const int at = (h * STEP + kb) * ROWS + row + 16 * m + g + 8 * i;
                    scale[h][m][i] = s->scale[at], low[h][m][i] = MIN ? s->low[at] : 0.0f;
                }
        }
        MP_UNROLLED for (int n = 0; n < NT; n++) {
            const int col = tok + 8 * n;
            const unsigned b[2] = { x[(col + g) * WORDS + kb * 8 + j], x[(col + g) * WORDS + kb * 8 + 4 + j] };
            MP_UNROLLED for (int m = 0; m < 2; m++) {
                int c[32 / SUB][4];
                if constexpr (SUB == 32) {
                    mp_mma_k32(c[0], start, a[m], b);
                } else {
                    mp_mma_k16(c[0], start, a[m][0], a[m][1], b[0]);
                    mp_mma_k16(c[1], start, a[m][2], a[m][3], b[1]);
                }
                MP_UNROLLED for (int i = 0; i < 4; i++) {
                    const int t = kb * TOKENS + col + 2 * j + i % 2;
                    const float d = s->d[t], v = __uint_as_float((unsigned)c[0][i]) - MAGIC;
                    float sum = acc[m][n][i];
                    if constexpr (SUB == 32)
                        sum = fmaf(scale[0][m][i / 2] * d, v, sum);
                    else
                        sum = fmaf(d, fmaf(scale[0][m][i / 2], v, scale[1][m][i / 2] * (__uint_as_float((unsigned)c[1][i]) - MAGIC)), sum);
                    if (MIN)
                        sum = fmaf(-low[0][m][i / 2], s->s[t], sum);
                    if (MIN && SUB == 16)
                        sum = fmaf(-low[1][m][i / 2], s->s[STEP * TOKENS + t], sum);
                    acc[m][n][i] = sum;
                }
            }
        }
    }
}

/* ---- the kernel ---- */

__device__ static inline bool by_sixteens(int type)
{
    return type == MP_Q2_K || type == MP_Q3_K || type == MP_Q6_K;
}

__device__ static inline bool has_minima(int type)
{
    return type == MP_Q4_1 || type == MP_Q5_1 || type == MP_Q4_K || type == MP_Q5_K;
}

template <int NT> __global__ static void __launch_bounds__(THREADS, 2) matmul(const __grid_constant__ mp_cuda_mm mm)
{
    enum { TOKENS = 16 * NT };
    __shared__ __align__(16) unsigned char codes[ROWS * PITCH], x[TOKENS * PITCH];
    __shared__ float scale[2 * STEP * ROWS], low[2 * STEP * ROWS], d[STEP * TOKENS], sums[2 * STEP * TOKENS];
    const tile s = { codes, x, scale, low, d, sums };
    mp_cuda_place at = {};
    if (!mp_cuda_find(&mm, ROWS, &at) || at.m->type <= MP_BF16)
        return;
    const int64_t nb = mm.k / 32;
    const int warp = (int)threadIdx.x / MP_WARP, row = warp % 4 * 32, tok = warp / 4 * 8 * NT, type = at.m->type;
    float acc[2][NT][4] = {};
    for (int64_t b = 0; b < nb; b += STEP) {
        const int nkb = (int)min((int64_t)STEP, nb - b);
        __syncthreads();
        switch (type) {
#define CASE(t) case t: unpack_rows<t>(&at, nb, b, nkb, &s); break;
            MP_QUANTIZED_TYPES(CASE)
#undef CASE
        }
        copy_tokens(&at, &mm, nb, b, nkb, TOKENS, type == MP_Q2_K, &s);
        __syncthreads();
        if (type == MP_Q2_K)
            multiply<16, true, NT>(&s, nkb, row, tok, acc);
        else if (by_sixteens(type))
            multiply<16, false, NT>(&s, nkb, row, tok, acc);
        else if (has_minima(type))
            multiply<32, true, NT>(&s, nkb, row, tok, acc);
        else
            multiply<32, false, NT>(&s, nkb, row, tok, acc);
    }
    const int g = (int)threadIdx.x % MP_WARP / 4, j = (int)threadIdx.x % 4;
    MP_UNROLLED for (int n = 0; n < NT; n++)
        MP_UNROLLED for (int i = 0; i < 2; i++) {
            const int t = at.tok + tok + 8 * n + 2 * j + i;
            if (t >= at.m->n)
                continue;
            float *out = at.m->out + mp_mat_out(at.m, t) * at.m->rows;
            MP_UNROLLED for (int m = 0; m < 4; m++) {
                const int r = at.row + row + 8 * m + g;
                if (r < at.m->rows)
                    out[r] = at.m->bias ? acc[m / 2][n][m % 2 * 2 + i] + at.m->bias[r] : acc[m / 2][n][m % 2 * 2 + i];
            }
        }
}

int mp_cuda_tile(int64_t tokens)
{
    return tokens <= 16 ? 16 : tokens <= 32 ? 32 : 64;
}

mp_err mp_cuda_matmul(mp_dev_cuda *d, const mp_cuda_mm *mm)
{
    const mp_cuda_mm args = *mm;
    const dim3 grid = mp_cuda_grid(mm, ROWS);
    const bool quantized = mm->types & mp_cuda_quantized_types();
    if (grid.x == 0 || grid.y == 0)
        return MP_OK;
    if (quantized && mm->tile == 16)
        MP_LAUNCH(matmul<1>, grid, THREADS, 0, d->stream, args);
    else if (quantized && mm->tile == 32)
        MP_LAUNCH(matmul<2>, grid, THREADS, 0, d->stream, args);
    else if (quantized)
        MP_LAUNCH(matmul<4>, grid, THREADS, 0, d->stream, args);
    if (mm->types & ~mp_cuda_quantized_types())
        mp_cuda_matmul_floats(d, mm);
    return mp_cuda_launched("matmul");
}
