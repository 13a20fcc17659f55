#include "model/block/gqa.h"

void mp_gqa_bind(mp_binder *b, const mp_config *c, mp_qk_norm norm, mp_gqa *out)
{
    static const char *const weight[3] = { "attn_q.weight", "attn_k.weight", "attn_v.weight" };
    static const char *const bias[3] = { "attn_q.bias", "attn_k.bias", "attn_v.bias" };
    int64_t q = (int64_t)c->heads * c->head_dim, kv = (int64_t)c->kv_heads * c->head_dim;
    mp_rows part = { .of = q + 2 * kv };
    for (int i = 0; i < 3; i++) {
        part.n = i ? kv : q;
        if (mp_bind_matrix_rows(b, "attn_qkv.weight", part, c->width, MP_BIND_OPTIONAL, &out->w[i])) { /* all three in one, in this order */
            mp_bind_vector_rows(b, "attn_qkv.bias", part, MP_BIND_OPTIONAL, &out->bias[i]);
        } else {
            mp_bind_matrix(b, weight[i], part.n, c->width, 0, &out->w[i]);
            mp_bind_vector(b, bias[i], part.n, MP_BIND_OPTIONAL, &out->bias[i]);
        }
        part.first += part.n;
    }
    mp_bind_matrix(b, "attn_output.weight", c->width, q, 0, &out->out);
    mp_bind_vector(b, "attn_output.bias", c->width, MP_BIND_OPTIONAL, &out->out_bias);
    out->norm = norm;
    if (norm != MP_QK_NORM_NONE) {
        mp_bind_vector(b, "attn_q_norm.weight", norm == MP_QK_NORM_HEAD ? c->head_dim : q, 0, &out->q_norm);
        mp_bind_vector(b, "attn_k_norm.weight", norm == MP_QK_NORM_HEAD ? c->head_dim : kv, 0, &out->k_norm);
    }
}

/* [T, heads*dim] -> normed as the family does it -> [T, heads, dim] rotated */
static mp_tensor norm_and_rotate(mp_fwd *f, mp_tensor x, mp_qk_norm norm, mp_tensor w, int heads)
{
    const mp_config *c = f->config;
    if (norm == MP_QK_NORM_FULL)
        x = mp_rmsnorm(f, x, w);
    if (c->clamp_qkv > 0)
        x = mp_clamp(f, x, c->clamp_qkv);
    x = mp_tensor_reshape_3d(x, x.shape[0], heads, c->head_dim);
    if (norm == MP_QK_NORM_HEAD)
        x = mp_rmsnorm(f, x, w);
    return mp_rope(f, x);
}

mp_tensor mp_gqa_forward(mp_fwd *f, const mp_gqa *w, mp_tensor x, int layer)
{
    const mp_config *c = f->config;
    mp_tensor qkv[3];
    f->product = MP_PRODUCT_QKV;
    mp_linear_n(f, x, 3, w->w, w->bias, qkv);
    mp_tensor q = norm_and_rotate(f, qkv[0], w->norm, w->q_norm, c->heads);
    mp_tensor k = norm_and_rotate(f, qkv[1], w->norm, w->k_norm, c->kv_heads);
    mp_tensor v = c->clamp_qkv > 0 ? mp_clamp(f, qkv[2], c->clamp_qkv) : qkv[2];
    v = mp_tensor_reshape_3d(v, v.shape[0], c->kv_heads, c->head_dim);
    f->product = MP_PRODUCT_ATTN_OUT;
    return mp_linear(f, mp_attention(f, q, k, v, layer), w->out, w->out_bias);
}
