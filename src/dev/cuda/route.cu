/* ROUTE: softmax over a token's E router logits, its k largest in falling order (ties to the lower index), their weights. A warp a token; lane l has
 * experts l, l + 32, l + 64, ...
 *
 * Floor: logits once in, probabilities once out: 8 E bytes a token, nothing; for one token it is a launch and k rounds of a warp's maximum. */
#include "dev/cuda/kernel.h"

enum { WARPS = 4, MOST_EXPERTS = 512, MOST_K = 32 /* lane j keeps choice j */ };

typedef struct route_args {
    const float *x;
    int32_t     *ids;
    float       *weights, *p;
    int64_t      tok;
    int          experts, k;
    bool         renorm;
    float        scale;
} route_args;

/* The order of choice as one number: the larger probability, then the lower index. Probabilities are not negative, so their bits are in order; NaN comes
 * first, and no index twice. 0 is below all. */
__device__ static inline uint64_t key_of(float p, int expert)
{
    return (uint64_t)__float_as_uint(p) << 32 | (0xffffffffu - (unsigned)expert);
}

__device__ static inline uint64_t warp_max_u64(uint64_t v)
{
    for (int step = MP_WARP / 2; step > 0; step /= 2) {
        const uint64_t other = __shfl_xor_sync(MP_ALL_LANES, (unsigned long long)v, step);
        v = other > v ? other : v;
    }
    return v;
}

/* PER: experts of a lane at most. */
template <int PER> __global__ static void route(route_args a)
{
    const int lane = (int)threadIdx.x % MP_WARP;
    const int64_t t = (int64_t)blockIdx.x * WARPS + threadIdx.x / MP_WARP;
    if (t >= a.tok)
        return;
    float p[PER], most = -INFINITY, total = 0.0f, sum = 0.0f, my_weight = 0.0f;
    int my_id = 0;
    MP_UNROLLED
    for (int i = 0; i < PER; i++) {
        const int e = lane + i * MP_WARP;
        p[i] = e < a.experts ? a.x[t * a.experts + e] : -INFINITY;
        most = fmaxf(most, p[i]);
    }
    most = mp_warp_max(most);
    MP_UNROLLED
    for (int i = 0; i < PER; i++) {
        p[i] = lane + i * MP_WARP < a.experts ? expf(p[i] - most) : 0.0f;
        total += p[i];
    }
    total = 1.0f / mp_warp_sum(total);
    MP_UNROLLED
    for (int i = 0; i < PER; i++)
        if (lane + i * MP_WARP < a.experts)
            a.p[t * a.experts + lane + i * MP_WARP] = p[i] *= total;
    unsigned taken = 0; /* bits of my experts */
    for (int j = 0; j < a.k; j++) {
        uint64_t best = 0;
        MP_UNROLLED
        for (int i = 0; i < PER; i++)
            if (lane + i * MP_WARP < a.experts && !(taken >> i & 1))
                best = max(best, key_of(p[i], lane + i * MP_WARP));
        best = warp_max_u64(best);
        const int id = (int)(0xffffffffu - (unsigned)best);
        const float w = __uint_as_float((unsigned)(best >> 32));
        if (id % MP_WARP == lane)
            taken |= 1u << id / MP_WARP;
        if (j == lane)
            my_id = id, my_weight = w;
        sum += w;
    }
    if (lane < a.k) {
        a.ids[t * a.k + lane] = my_id;
        a.weights[t * a.k + lane] = my_weight * (a.renorm ? a.scale / sum : a.scale);
    }
}

mp_err mp_cuda_route(mp_dev_cuda *d, const mp_op *op)
{
    route_args a = {};
    a.tok = mp_tensor_rows(&op->in[0]), a.experts = (int)mp_tensor_cols(&op->in[0]);
    a.x = (const float *)op->in[0].data, a.ids = (int32_t *)op->out[0].data;
    a.weights = (float *)op->out[1].data, a.p = (float *)op->out[2].data;
    a.k = op->u.route.k, a.renorm = op->u.route.renorm, a.scale = op->u.route.scale;
    if (a.experts > MOST_EXPERTS || a.k > MOST_K || a.k > a.experts)
        return mp_fail(MP_E_FAILED, "the GPU's router takes %d experts and %d of them a token at most, not %d and %d", MOST_EXPERTS, MOST_K, a.experts, a.k);
    const unsigned grid = mp_blocks_of(a.tok, WARPS), block = WARPS * MP_WARP;
    if (a.tok == 0)
        return MP_OK;
    if (a.experts <= 2 * MP_WARP)
        MP_LAUNCH(route<2>, grid, block, 0, d->stream, a);
    else if (a.experts <= 4 * MP_WARP)
        MP_LAUNCH(route<4>, grid, block, 0, d->stream, a);
    else if (a.experts <= 8 * MP_WARP)
        MP_LAUNCH(route<8>, grid, block, 0, d->stream, a);
    else
        MP_LAUNCH(route<16>, grid, block, 0, d->stream, a);
    return mp_cuda_launched("routing");
}
