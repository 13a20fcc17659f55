#include "model/arch.h"

#include <stdio.h>
#include <string.h>

static const mp_arch *const archs[] = { &mp_arch_llama, &mp_arch_qwen2, &mp_arch_qwen2moe, &mp_arch_qwen3, &mp_arch_qwen3moe, &mp_arch_olmoe };
enum { N_ARCHS = sizeof(archs) / sizeof(archs[0]) };

mp_err mp_arch_find(const mp_gguf *g, const mp_arch **out)
{
    mp_str name;
    char all[256] = "";
    *out = NULL;
    if (!mp_gguf_str(g, "general.architecture", &name))
        return mp_fail(MP_E_MODEL, "the metadata lack 'general.architecture', so this is not a model file that can be run");
    for (int i = 0; i < N_ARCHS; i++) {
        if (name.n == strlen(archs[i]->name) && !memcmp(name.s, archs[i]->name, name.n)) {
            *out = archs[i];
            return MP_OK;
        }
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "", archs[i]->name);
    }
    return mp_fail(MP_E_MODEL, "the architecture '%.*s' is not supported; these are: %s", (int)(name.n < 64 ? name.n : 64), name.s, all);
}

void mp_layer_bind(mp_binder *b, const mp_config *c, mp_qk_norm norm, mp_layer *l)
{
    mp_bind_vector(b, "attn_norm.weight", c->width, 0, &l->attn_norm);
    mp_gqa_bind(b, c, norm, &l->gqa);
    mp_bind_vector(b, "ffn_norm.weight", c->width, 0, &l->ffn_norm);
    l->is_moe = c->experts > 0 && mp_bind_has_experts(b);
    if (l->is_moe)
        mp_moe_bind(b, c, &l->moe);
    else if (c->ff <= 0 && !b->err)
        b->err = mp_fail(MP_E_MODEL, "the metadata lack '%s.feed_forward_length'", c->arch);
    else
        mp_mlp_bind(b, "", c->width, c->ff, &l->mlp);
}

void mp_layer_forward(mp_fwd *f, const mp_layer *l, int i, mp_tensor *x)
{
    mp_fwd_marks mark = mp_fwd_mark(f);
    mp_residual(f, x, mp_gqa_forward(f, &l->gqa, mp_rmsnorm(f, *x, l->attn_norm), i));
    mp_fwd_rewind(f, mark);
    mp_tensor h = mp_rmsnorm(f, *x, l->ffn_norm);
    f->residual = *x;
    mp_residual(f, x, l->is_moe ? mp_moe_forward(f, &l->moe, h) : mp_mlp_forward(f, &l->mlp, h));
    mp_fwd_rewind(f, mark);
}
