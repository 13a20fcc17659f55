/* Grouped-query attention: H query heads share G KV heads; optional biases and norms of q and k. */
#ifndef MP_MODEL_BLOCK_GQA_H
#define MP_MODEL_BLOCK_GQA_H

#include "model/bind.h"
#include "model/fwd.h"

typedef enum mp_qk_norm { MP_QK_NORM_NONE, MP_QK_NORM_HEAD, MP_QK_NORM_FULL } mp_qk_norm; /* per head, or over all heads at once */

typedef struct mp_gqa {
    mp_tensor  w[3], bias[3];   /* q, k, v */
    mp_tensor  out, out_bias;
    mp_tensor  q_norm, k_norm;
    mp_qk_norm norm;
} mp_gqa;

/* Biases are taken when the file has them. */
void      mp_gqa_bind(mp_binder *b, const mp_config *c, mp_qk_norm norm, mp_gqa *out);
mp_tensor mp_gqa_forward(mp_fwd *f, const mp_gqa *w, mp_tensor x, int layer); /* x[T,D] normed -> [T,D] */
#endif
