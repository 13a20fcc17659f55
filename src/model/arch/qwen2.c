/* qwen2 (biases on q, k, v) and qwen2moe (a shared expert behind a sigmoid gate; router weights not renormalised). */
#include "model/arch.h"

static mp_err configure(const mp_gguf *g, mp_config *c)
{
    (void)g, (void)c;
    return MP_OK;
}

/* Files of before the key for the shared expert's width: its tensor says. */
static mp_err configure_moe(const mp_gguf *g, mp_config *c)
{
    const mp_gguf_tensor *t = mp_gguf_find(g, "blk.0.ffn_gate_shexp.weight");
    if (!c->shared_ff && t && t->rank == 2)
        c->shared_ff = (int)t->shape[0];
    return MP_OK;
}

static void bind(mp_binder *b, const mp_config *c, mp_layer *l)
{
    mp_layer_bind(b, c, MP_QK_NORM_NONE, l);
}

const mp_arch mp_arch_qwen2 = { "qwen2", configure, bind, mp_layer_forward };
const mp_arch mp_arch_qwen2moe = { "qwen2moe", configure_moe, bind, mp_layer_forward };
