#include "model/block/mlp.h"

#include <stdio.h>

typedef struct shape { int64_t rows, cols; } shape;

static void bind(mp_binder *b, const char *part, const char *suffix, shape s, mp_tensor *out, mp_tensor *bias)
{
    char name[64];
    snprintf(name, sizeof(name), "ffn_%s%s.weight", part, suffix);
    mp_bind_matrix(b, name, s.rows, s.cols, 0, out);
    snprintf(name, sizeof(name), "ffn_%s%s.bias", part, suffix);
    mp_bind_vector(b, name, s.rows, MP_BIND_OPTIONAL, bias);
}

void mp_mlp_bind(mp_binder *b, const char *suffix, int64_t width, int64_t ff, mp_mlp *out)
{
    bind(b, "gate", suffix, (shape){ ff, width }, &out->w[0], &out->bias[0]);
    bind(b, "up", suffix, (shape){ ff, width }, &out->w[1], &out->bias[1]);
    bind(b, "down", suffix, (shape){ width, ff }, &out->down, &out->down_bias);
}

mp_tensor mp_mlp_forward(mp_fwd *f, const mp_mlp *w, mp_tensor x)
{
    mp_tensor y[2];
    f->product = MP_PRODUCT_FFN_UP;
    mp_linear_n(f, x, 2, w->w, w->bias, y);
    f->product = MP_PRODUCT_FFN_DOWN;
    return mp_linear(f, mp_swiglu(f, y[0], y[1]), w->down, w->down_bias);
}
