/* The dense SwiGLU feed-forward: down(silu(gate x) * up x). */
#ifndef MP_MODEL_BLOCK_MLP_H
#define MP_MODEL_BLOCK_MLP_H

#include "model/bind.h"
#include "model/fwd.h"

typedef struct mp_mlp { mp_tensor w[2], bias[2], down, down_bias; } mp_mlp; /* w: gate [F,D], up [F,D]; down [D,F]; biases: when the file has them */

/* suffix "" for "ffn_gate.weight", "_shexp" for a shared expert's. */
void      mp_mlp_bind(mp_binder *b, const char *suffix, int64_t width, int64_t ff, mp_mlp *out);
mp_tensor mp_mlp_forward(mp_fwd *f, const mp_mlp *w, mp_tensor x); /* [T,D] -> [T,D] */
#endif
