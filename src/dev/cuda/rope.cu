/* ROPE: pairs of a head's first R elements are turned by pos * freq, the others stay.
 *
 * Floor: x once in, once out: 8 bytes an element, so 32 heads of 128 for 4096 tokens take 266 us at 504 GB/s, 28 us at 4.8 TB/s; a launch for one token.
 * An angle at position 262144 in float is off by 1e-2 (dev/cpu/elem.c), and consumer cards have one double unit for 64 floats. So only the turns, their whole
 * part taken off, are in double: four operations for a token and pair, shared by the heads; what is left is within a half turn, where float is off by
 * 2^-24 of it at most, and its sine and cosine are float's. */
#include "dev/cuda/kernel.h"

enum { BLOCK = 256, FEW_TOK = 64, FEW_HEADS = 8 };

typedef struct rope_args {
    float         *out;
    const float   *x, *freq;
    const int32_t *pos;
    int            heads, dim, half, per; /* per: heads of a block */
    float          factor;
    bool           neox;
} rope_args;

/* Block (t, y): heads [y per, (y + 1) per) of token t. A pair is read and written by one thread, so out may be x. */
__global__ static void rope(rope_args a)
{
    MP_SHARED(float2, turn); /* cosine and sine of each pair, times factor */
    const double pos = (double)a.pos[blockIdx.x];
    for (int i = threadIdx.x; i < a.half; i += blockDim.x) {
        const double turns = pos * (double)a.freq[i] * 0.15915494309189533577;
        float s, c;
        sincospif((float)(2.0 * (turns - rint(turns))), &s, &c);
        turn[i] = make_float2(c * a.factor, s * a.factor);
    }
    __syncthreads();
    const int first = (int)blockIdx.y * a.per, n = min(a.per, a.heads - first), rest = a.dim - 2 * a.half;
    const int64_t at = ((int64_t)blockIdx.x * a.heads + first) * a.dim;
    const float *x = a.x + at;
    float *out = a.out + at;
    for (int i = threadIdx.x; i < n * a.half; i += blockDim.x) {
        const int h = i / a.half, p = i - h * a.half;
        const int u = h * a.dim + (a.neox ? p : 2 * p), v = a.neox ? u + a.half : u + 1;
        const float xu = x[u], xv = x[v];
        out[u] = xu * turn[p].x - xv * turn[p].y;
        out[v] = xv * turn[p].x + xu * turn[p].y;
    }
    if (out == x)
        return;
    for (int i = threadIdx.x; i < n * rest; i += blockDim.x) {
        const int at_rest = i / rest * a.dim + 2 * a.half + i % rest;
        out[at_rest] = x[at_rest];
    }
}

mp_err mp_cuda_rope(mp_dev_cuda *d, const mp_op *op)
{
    const int64_t tok = op->in[0].shape[0];
    rope_args a = {};
    a.out = (float *)op->out[0].data;
    a.x = (const float *)op->in[0].data, a.pos = (const int32_t *)op->in[1].data, a.freq = (const float *)op->in[2].data;
    a.heads = (int)op->in[0].shape[1], a.dim = (int)op->in[0].shape[2], a.half = (int)op->in[2].shape[0];
    a.factor = op->u.rope.factor, a.neox = op->u.rope.mode == MP_ROPE_NEOX;
    a.per = tok < FEW_TOK ? FEW_HEADS : a.heads; /* one token's heads go to several multiprocessors, each with angles of its own */
    if (tok == 0)
        return MP_OK;
    MP_LAUNCH(rope, dim3((unsigned)tok, mp_blocks_of(a.heads, a.per)), BLOCK, (size_t)a.half * sizeof(float2), d->stream, a);
    return mp_cuda_launched("rotating");
}
