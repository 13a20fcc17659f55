#include "model/block/mlp.h"

#include <stdio.h>

static void bind(mp_binder *b, const char *part, const char *suffix, int64_t rows, int64_t cols, mp_tensor *out)
{
    char name[64];
    snprintf(name, sizeof(name), "ffn_%s%s.weight", part, suffix);
    mp_bind_matrix(b, name, rows, cols, 0, out);
}

void mp_mlp_bind(mp_binder *b, const char *suffix, int64_t width, int64_t ff, mp_mlp *out)
{
    bind(b, "gate", suffix, ff, width, &out->w[0]);
    bind(b, "up", suffix, ff, width, &out->w[1]);
    bind(b, "down", suffix, width, ff, &out->down);
}

mp_tensor mp_mlp_forward(mp_fwd *f, const mp_mlp *w, mp_tensor x)
{
    mp_tensor y[2];
    mp_linear_n(f, x, 2, w->w, NULL, y);
    return mp_linear(f, mp_swiglu(f, y[0], y[1]), w->down, (mp_tensor){ 0 });
}
