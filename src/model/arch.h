/* An architecture: one small file that reads its settings, names its tensors, and writes one layer's forward pass with the functions of fwd.h and the
 * blocks. To add one: write src/model/arch/NAME.c and list it in arch.c. */
#ifndef MP_MODEL_ARCH_H
#define MP_MODEL_ARCH_H

#include "model/block/gqa.h"
#include "model/block/mlp.h"
#include "model/block/moe.h"

/* The blocks that layers are made of; a family uses those that it binds. */
typedef struct mp_layer {
    mp_tensor attn_norm, ffn_norm;
    mp_gqa    gqa;
    mp_mlp    mlp;
    mp_moe    moe;
    bool      is_moe;
} mp_layer;

typedef struct mp_arch {
    const char *name; /* general.architecture */
    mp_err    (*configure)(const mp_gguf *g, mp_config *c);           /* what differs from mp_config_read's defaults */
    void      (*bind)(mp_binder *b, const mp_config *c, mp_layer *l); /* the tensors of layer b->layer */
    void      (*layer)(mp_fwd *f, const mp_layer *l, int i, mp_tensor *x); /* x[T,D] += what layer i adds */
} mp_arch;

/* Errors: MP_E_MODEL naming the architecture and those that are supported. */
mp_err mp_arch_find(const mp_gguf *g, const mp_arch **out);

/* The pre-norm block of most families: x += gqa(norm x); x += ffn(norm x), ffn a dense MLP or experts. */
void mp_layer_bind(mp_binder *b, const mp_config *c, mp_qk_norm norm, mp_layer *l);
void mp_layer_forward(mp_fwd *f, const mp_layer *l, int i, mp_tensor *x);

extern const mp_arch mp_arch_llama, mp_arch_qwen2, mp_arch_qwen2moe, mp_arch_qwen3, mp_arch_qwen3moe, mp_arch_olmoe;
#endif
