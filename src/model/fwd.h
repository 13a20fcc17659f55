/* The vocabulary in which architectures write their forward pass: one function per op. Each takes tensors and returns a tensor whose memory comes from the
 * forward's arena; errors are sticky (f->err) and turn what follows into nothing, so that a layer reads as mathematics. The same code runs
 *   - for inference: run at once, the arena rewound after each block;
 *   - for the planner: on a dry device, only sizes count;
 *   - for training: recorded on a tape, nothing rewound. */
#ifndef MP_MODEL_FWD_H
#define MP_MODEL_FWD_H

#include "base/arena.h"
#include "dev/dev.h"
#include "dev/tape.h"
#include "mem/pager.h"
#include "model/config.h"
#include "model/times.h"

/* What each forward works on: T tokens of any sequences. */
typedef struct mp_batch {
    const int32_t    *ids;  /* [T] */
    const int32_t    *pos;  /* [T] position of each in its sequence */
    const mp_segment *seg;  /* contiguous runs that cover the rows in order */
    int64_t           n_tok;
    int               n_seg;
    bool              decode; /* each segment is one token that follows an answer's last */
    mp_times         *times;  /* the clock, when whoever asks holds it */
} mp_batch;

typedef struct mp_routing mp_routing;   /* model/routing.h */
typedef struct mp_recorder mp_recorder;

typedef struct mp_fwd {
    mp_dev          *dev;
    mp_arena        *arena; /* of the device's memory: tensors and scratch */
    mp_arena        *host;  /* of the host's: what host code works with; the same arena where the memory is the same */
    mp_tape         *tape;  /* NULL: inference */
    mp_pager        *pager; /* NULL: experts are resident tensors */
    const mp_config *config;
    const mp_batch  *batch;
    mp_routing      *routing;  /* replaces the routers' choices; NULL: they count */
    mp_recorder     *recorder; /* sees them; NULL: nobody does */
    mp_tensor        pos, inv_freq; /* i32[T], f32[R/2] */
    mp_tensor        residual;      /* x[T,D] that the layer's experts will be added to: what the next layer's router is guessed from */
    struct mp_prefetch *prefetch;   /* NULL: no guesses */
    mp_tensor        chosen, chosen_weights; /* [layers with experts, T*k] i32, f32: where the routers leave their choices; none: each where it likes */
    bool             by_id;         /* the device finds the experts by them: the host learns of them when the forward ends */
    mp_page          late[MP_OP_CHOICES]; /* pinned, and perhaps still read by the device: until the host next waits for it */
    int              n_late;
    bool             may_be_late;   /* there are slots enough for that */
    struct mp_beside *beside;       /* the processor, where dev is a GPU's and pages its experts; NULL: it has no part */
    mp_times        *times; /* NULL: nobody asked where time goes */
    mp_product          product; /* which product the next LINEAR is: only times looks at it */
    mp_err           err;
} mp_fwd;

/* Memory for a result. */
mp_tensor mp_new_2d(mp_fwd *f, mp_dtype type, int64_t rows, int64_t cols);

mp_tensor mp_embed(mp_fwd *f, mp_tensor table, mp_tensor ids);                   /* [T,D] */
mp_tensor mp_rmsnorm(mp_fwd *f, mp_tensor x, mp_tensor w);                       /* x's shape */
mp_tensor mp_linear(mp_fwd *f, mp_tensor x, mp_tensor w, mp_tensor bias);        /* [T,N]; bias of rank 0: none */
/* Up to three products over one x, which is quantized once: y[i] = x w[i]^T + bias[i]. */
void      mp_linear_n(mp_fwd *f, mp_tensor x, int n, const mp_tensor *w, const mp_tensor *bias, mp_tensor *y);
mp_tensor mp_swiglu(mp_fwd *f, mp_tensor gate, mp_tensor up);
mp_tensor mp_gate(mp_fwd *f, mp_tensor x, mp_tensor g);                          /* x * sigmoid(g) */
mp_tensor mp_clamp(mp_fwd *f, mp_tensor x, float limit);
void      mp_residual(mp_fwd *f, mp_tensor *x, mp_tensor y);                     /* *x += y, in place unless a tape needs the old one */
mp_tensor mp_rope(mp_fwd *f, mp_tensor x);                                       /* [T,H,K] at the batch's positions */
/* Appends k, v [T,G,K] to the caches of layer's segments (not when training) and attends: [T,H*K]. */
mp_tensor mp_attention(mp_fwd *f, mp_tensor q, mp_tensor k, mp_tensor v, int layer);
mp_tensor mp_xent(mp_fwd *f, mp_tensor logits, mp_tensor targets);               /* [1] */

/* Runs op on the device: scratch from the arena, recorded when there is a tape. For blocks that build their own ops. */
void mp_emit(mp_fwd *f, mp_op *op);

/* The device is done with all that was enqueued: pages that were only pinned for it are let go. */
void      mp_fwd_caught_up(mp_fwd *f);
/* Memory of the host, until the mark is rewound; NULL on a dry device and after an error. */
void     *mp_host_new(mp_fwd *f, size_t bytes);
/* A tensor's elements where host code can read them: its own, or a copy in the host's memory, for which the device is waited for. */
void     *mp_host_of(mp_fwd *f, const mp_tensor *t);
/* Host code has changed what mp_host_of gave: the tensor has it too. */
void      mp_host_done(mp_fwd *f, const mp_tensor *t, const void *host);
/* i32[n] of the host as an operand. */
mp_tensor mp_operand_i32(mp_fwd *f, const int32_t *host, int64_t n);

/* A block's temporary memory: what was pushed since mark is free again (not when training). */
typedef struct mp_fwd_marks { size_t device, host; } mp_fwd_marks;
static inline mp_fwd_marks mp_fwd_mark(const mp_fwd *f) { return (mp_fwd_marks){ mp_arena_mark(f->arena), mp_arena_mark(f->host) }; }
static inline void         mp_fwd_rewind(mp_fwd *f, mp_fwd_marks mark)
{
    if (f->tape)
        return;
    mp_arena_rewind(f->arena, mark.device);
    mp_arena_rewind(f->host, mark.host);
}
#endif
