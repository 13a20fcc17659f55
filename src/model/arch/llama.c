/* llama: Llama 2 and 3, Mistral, and with experts Mixtral. GGUF rows of q and k are permuted for rotation of adjacent pairs (models.md 0.3). */
#include "model/arch.h"

static mp_err configure(const mp_gguf *g, mp_config *c)
{
    (void)g;
    c->rope.mode = MP_ROPE_NORM;
    c->renorm = true;
    return MP_OK;
}

static void bind(mp_binder *b, const mp_config *c, mp_layer *l)
{
    mp_layer_bind(b, c, MP_QK_NORM_NONE, l);
}

const mp_arch mp_arch_llama = { "llama", configure, bind, mp_layer_forward };
