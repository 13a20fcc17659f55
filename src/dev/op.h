/* One operation: kind, operands, parameters. A device runs it at once; the tape records it when training; the planner prices it.
 *
 * Glossary of dimensions: T tokens of the batch, D model width, H heads, G KV heads, K head size, N outputs, E experts, k experts per token,
 * F expert width, V vocabulary, R rotated dimensions. */
#ifndef MP_DEV_OP_H
#define MP_DEV_OP_H

#include "base/err.h"
#include "dev/tile.h"

typedef enum mp_op_kind {
    MP_OP_NONE,
    MP_OP_EMBED,    /* out[T,D] = in0[ids]:       in0 table[V,D] any type, in1 ids i32[T] */
    MP_OP_RMSNORM,  /* out[..,n] = in0 / rms(in0) * in1: in0 [..,n], in1 w[n] or none; over the last dimension */
    MP_OP_LINEAR,   /* out_i[T,N_i] = in0[T,K] W_i^T + b_i: in[1+2i] W_i[N_i,K] any type, in[2+2i] b_i[N_i] or none; i < n_out <= 3 */
    MP_OP_ADD,      /* out = in0 + in1 (same shape; out may be in0) */
    MP_OP_SWIGLU,   /* out = silu(in0) * in1 */
    MP_OP_GATE,     /* out[T,D] = in0[T,D] * sigmoid(in1[T,1 or D]) */
    MP_OP_CLAMP,    /* out = min(max(in0, -c), c) */
    MP_OP_ROPE,     /* out[T,H,K] = rotate(in0[T,H,K]): in1 pos i32[T], in2 inverse frequencies f32[R/2] (out may be in0) */
    MP_OP_KV_WRITE, /* appends in0 k[T,G,K], in1 v[T,G,K] to the segments' caches */
    MP_OP_ATTN,     /* out[T,H*K] = attention: in0 q[T,H,K]; keys and values from the segments' caches, or in1 k[T,G,K], in2 v[T,G,K] when training */
    MP_OP_ROUTE,    /* out0 ids i32[T,k], out1 weights f32[T,k] in falling order, out2 probabilities f32[T,E]: in0 router logits[T,E] */
    MP_OP_EXPERTS,  /* out[T*k,D] rows of the jobs = down(silu(gate x) * up x): in0 x[T,D]; the jobs name weights and rows */
    MP_OP_COMBINE,  /* out[T,D] = sum_j in1[t,j] * in0[t*k+j, :], j in router order: in0 y[T*k,D], in1 weights[T,k] */
    MP_OP_XENT,     /* out[1] = mean cross-entropy: in0 logits[T,V], in1 targets i32[T] (negative: not counted) */
    MP_OP_COUNT,
} mp_op_kind;

enum { MP_OP_IN = 7, MP_OP_OUT = 3, MP_OP_CHOICES = 64, MP_OP_FEW = 8 };

/* The tokens of one expert: rows[i] = t * k + j says that token t's j-th choice is this expert. */
typedef struct mp_expert_job {
    mp_tensor      gate, up, down; /* [F,D] [F,D] [D,F], any type */
    const int32_t *rows;
    int32_t        n;
    int32_t        first; /* of its rows in the device's scratch: the sum of n of the jobs before */
} mp_expert_job;

typedef enum mp_rope_mode { MP_ROPE_NEOX, MP_ROPE_NORM } mp_rope_mode; /* pairs (i, i+R/2), or (2i, 2i+1) */

typedef struct mp_op {
    mp_op_kind kind;
    int        n_out;
    mp_tensor  in[MP_OP_IN], out[MP_OP_OUT];
    union {
        struct { float eps; } norm;
        struct { float limit; } clamp;
        struct { mp_rope_mode mode; float factor; } rope; /* cos and sin are multiplied by factor */
        struct { const mp_segment *seg; int n_seg, layer, window; float scale; } attn; /* window 0: all; also for KV_WRITE */
        struct { int k; bool renorm; float scale; } route;  /* softmax over all E; renorm over the chosen; times scale */
        /* most: rows of the longest job of the batch, of this call or another: how sums are ordered may depend on that, and on no job's company.
         * ids (may be NULL): the choices [T*k] as ROUTE left them, in the device's memory, where every expert e lies at at[3e..] (gate, up, down; that list too
         * lies there). Then jobs is one, of which only types and shapes count, and the host needs not know who was chosen. At most MP_OP_CHOICES of at
         * most MP_OP_FEW tokens: no expert has more rows then, which is what `most` would say */
        struct { const mp_expert_job *jobs; int n_jobs, k; int32_t most; const int32_t *ids; void *const *at; } experts;
    } u;
    void *scratch; /* mp_dev_scratch() bytes in the device's memory; contents mean nothing before and after */
} mp_op;

const char *mp_op_name(mp_op_kind kind);
#endif
