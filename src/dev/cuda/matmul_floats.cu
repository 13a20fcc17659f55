/* Products of many tokens with weights of F32, F16 or BF16: in float32, as the processor does them, a tile of 64 rows by 16, 32 or 64 tokens through shared
 * memory. Floor: 2 T N K operations at the float32 rate (an RTX 4070: 29 Tflop/s; an H200: 67); tensor cores would take F16 weights ten times as fast, but
 * only with activations of 11 bits (or two products, of a high and a low half), which is not lost silently here. */
#include "dev/cuda/mm.h"

enum { ROWS = 64, STEP = 16, THREADS = 256 };

__device__ static inline float weight_at(int type, const unsigned char *row, int64_t i)
{
    return type == MP_F32 ? mp_float_at<MP_F32>(row, i) : type == MP_F16 ? mp_float_at<MP_F16>(row, i) : mp_float_at<MP_BF16>(row, i);
}

/* Thread (tx, ty) of 16 x 16: rows tx + 16 i, tokens ty + 16 j. */
template <int NT> __global__ static void __launch_bounds__(THREADS) matmul(const __grid_constant__ mp_cuda_mm mm)
{
    enum { TOKENS = 16 * NT };
    __shared__ float w[STEP][ROWS + 1], x[STEP][TOKENS + 1];
    mp_cuda_place at = {};
    if (!mp_cuda_find(&mm, ROWS, &at) || at.m->type > MP_BF16)
        return;
    const int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16, type = at.m->type;
    float acc[4][NT] = {};
    for (int64_t k = 0; k < mm.k; k += STEP) {
        const int64_t e = k + tx;
        __syncthreads();
        for (int r = ty; r < ROWS; r += 16) {
            const int64_t row = min(at.row + r, at.m->rows - 1);
            w[tx][r] = e < mm.k ? weight_at(type, at.m->w + row * mm.k * (type == MP_F32 ? 4 : 2), e) : 0.0f;
        }
        for (int t = ty; t < TOKENS; t += 16)
            x[tx][t] = e < mm.k ? mm.x[mp_mat_x(at.m, min(at.tok + t, at.m->n - 1), mm.x_div) * mm.k + e] : 0.0f;
        __syncthreads();
        for (int i = 0; i < STEP; i++)
            MP_UNROLLED for (int t = 0; t < NT; t++)
                MP_UNROLLED for (int r = 0; r < 4; r++)
                    acc[r][t] = fmaf(w[i][tx + 16 * r], x[i][ty + 16 * t], acc[r][t]);
    }
    MP_UNROLLED for (int t = 0; t < NT; t++) {
        const int tok = at.tok + ty + 16 * t;
        if (tok >= at.m->n)
            continue;
        float *out = at.m->out + mp_mat_out(at.m, tok) * at.m->rows;
        MP_UNROLLED for (int r = 0; r < 4; r++) {
            const int row = at.row + tx + 16 * r;
            if (row < at.m->rows)
                out[row] = at.m->bias ? acc[r][t] + at.m->bias[row] : acc[r][t];
        }
    }
}

void mp_cuda_matmul_floats(mp_dev_cuda *d, const mp_cuda_mm *mm)
{
    const mp_cuda_mm args = *mm;
    const dim3 grid = mp_cuda_grid(mm, ROWS);
    if (mm->tile == 16)
        MP_LAUNCH(matmul<1>, grid, THREADS, 0, d->stream, args);
    else if (mm->tile == 32)
        MP_LAUNCH(matmul<2>, grid, THREADS, 0, d->stream, args);
    else
        MP_LAUNCH(matmul<4>, grid, THREADS, 0, d->stream, args);
}
