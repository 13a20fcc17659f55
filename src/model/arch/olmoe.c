/* olmoe: q and k are normed over all heads at once; router weights not renormalised; q, k, v optionally clamped. */
#include "model/arch.h"

static mp_err configure(const mp_gguf *g, mp_config *c)
{
    double clamp;
    if (mp_config_float(g, c->arch, "attention.clamp_kqv", &clamp) && clamp > 0)
        c->clamp_qkv = (float)clamp;
    return MP_OK;
}

static void bind(mp_binder *b, const mp_config *c, mp_layer *l)
{
    mp_layer_bind(b, c, MP_QK_NORM_FULL, l);
}

const mp_arch mp_arch_olmoe = { "olmoe", configure, bind, mp_layer_forward };
