/* qwen3 and qwen3moe: q and k are normed per head before the rotation; router weights renormalised. */
#include "model/arch.h"

static mp_err configure(const mp_gguf *g, mp_config *c)
{
    (void)g;
    c->renorm = true;
    return MP_OK;
}

static void bind(mp_binder *b, const mp_config *c, mp_layer *l)
{
    mp_layer_bind(b, c, MP_QK_NORM_HEAD, l);
}

const mp_arch mp_arch_qwen3 = { "qwen3", configure, bind, mp_layer_forward };
const mp_arch mp_arch_qwen3moe = { "qwen3moe", configure, bind, mp_layer_forward };
