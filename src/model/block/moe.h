/* Mixture of experts: one op to an architecture (x -> y). Inside, the driver routes, announces the chosen experts to the pager, computes those that are
 * resident while the others load, each as it lands, and sums in router order - so that y depends on neither what was resident nor what arrived first. */
#ifndef MP_MODEL_BLOCK_MOE_H
#define MP_MODEL_BLOCK_MOE_H

#include "model/block/mlp.h"

typedef struct mp_moe {
    mp_tensor       router;       /* [E,D] */
    mp_page         first;        /* page of expert 0 */
    mp_expert_shape expert;       /* of each; data NULL */
    mp_expert_shape *resident;    /* [E] when training, or while none is paged: experts as tensors of their own; NULL: paged */
    void           **at;          /* [3E] their addresses, where the device finds them; NULL: it does not */
    mp_mlp          shared;       /* width shared_ff, if any */
    mp_tensor       shared_gate;  /* [1,D] or none */
    bool            has_shared;
    const struct mp_moe *ahead;      /* the next layer with experts, NULL: none; and the norm in front of its router */
    const mp_tensor *ahead_norm;
} mp_moe;

void      mp_moe_bind(mp_binder *b, const mp_config *c, mp_moe *out);
/* w's router on x[T,D] normed: the ROUTE op as it ran, with ids i32[T,k], weights f32[T,k] and probabilities f32[T,E] in out[0..2]. kept: ids and weights are
 * left in f->chosen. */
mp_op     mp_moe_route(mp_fwd *f, const mp_moe *w, mp_tensor x, bool kept);
mp_tensor mp_moe_forward(mp_fwd *f, const mp_moe *w, mp_tensor x); /* x[T,D] normed -> [T,D] */
#endif
