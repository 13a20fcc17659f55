/* Lists a family's tensors, writes the metadata that its loader asks for, and fills the tensors one after the other through a buffer of 1 MiB. Every
 * tensor's random numbers come from its own name and the seed, so that a cut shape has the same layers as the whole one where their types agree. */
#include "model/synth.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/synth_int.h"
#include "num/kern.h"

enum { CHUNK = 1 << 20, PER_LAYER = 20, ENDS = 4 };

typedef enum content { MATRIX, NORM, BIAS, ROUTER, ROTATION } content;

typedef struct tensor {
    char     name[MP_GGUF_NAME_MAX + 1];
    content  content;
    mp_dtype type;
    int      rank;
    int64_t  shape[3]; /* outermost first */
    float    deviation;
} tensor;

typedef struct list {
    const mp_shape *s;
    const mp_mix   *mix;
    tensor         *t; /* [PER_LAYER * layers + ENDS] */
    int             n, layer; /* layer -1: outside of them */
} list;

/* ---- the tensors of a shape ---- */

static tensor *add(list *l, const char *name, content what, int64_t n)
{
    tensor *t = &l->t[l->n++];
    *t = (tensor){ .content = what, .type = MP_F32, .rank = 1, .shape = { n } };
    if (l->layer >= 0)
        snprintf(t->name, sizeof(t->name), "blk.%d.%s", l->layer, name);
    else
        snprintf(t->name, sizeof(t->name), "%s", name);
    return t;
}

/* [rows, cols], or [experts, rows, cols] */
static tensor *add_matrix(list *l, const char *name, mp_role role, int64_t rows, int64_t cols)
{
    tensor *t = add(l, name, MATRIX, rows);
    t->rank = 2;
    t->shape[1] = cols;
    t->type = mp_mix_type(l->mix, l->s, role, l->layer, cols);
    t->deviation = 1.0f / sqrtf((float)cols);
    return t;
}

static void add_stack(list *l, const char *name, mp_role role, int64_t rows, int64_t cols)
{
    tensor *t = add_matrix(l, name, role, rows, cols);
    t->rank = 3;
    t->shape[2] = cols;
    t->shape[1] = rows;
    t->shape[0] = l->s->experts;
}

static void add_attention(list *l)
{
    const mp_shape *s = l->s;
    int64_t q = (int64_t)s->heads * s->head_dim, kv = (int64_t)s->kv_heads * s->head_dim;
    add(l, "attn_norm.weight", NORM, s->width);
    add_matrix(l, "attn_q.weight", MP_ROLE_Q, q, s->width);
    add_matrix(l, "attn_k.weight", MP_ROLE_K, kv, s->width);
    add_matrix(l, "attn_v.weight", MP_ROLE_V, kv, s->width);
    add_matrix(l, "attn_output.weight", MP_ROLE_ATTN_OUT, s->width, q);
    if (s->family == MP_FAMILY_QWEN2 || s->family == MP_FAMILY_QWEN2MOE) {
        add(l, "attn_q.bias", BIAS, q);
        add(l, "attn_k.bias", BIAS, kv);
        add(l, "attn_v.bias", BIAS, kv);
    }
    bool per_head = s->family == MP_FAMILY_QWEN3 || s->family == MP_FAMILY_QWEN3MOE;
    if (per_head || s->family == MP_FAMILY_OLMOE) {
        add(l, "attn_q_norm.weight", NORM, per_head ? s->head_dim : q);
        add(l, "attn_k_norm.weight", NORM, per_head ? s->head_dim : kv);
    }
}

static void add_ffn(list *l)
{
    const mp_shape *s = l->s;
    add(l, "ffn_norm.weight", NORM, s->width);
    if (!s->experts) {
        add_matrix(l, "ffn_gate.weight", MP_ROLE_UP, s->ff, s->width);
        add_matrix(l, "ffn_up.weight", MP_ROLE_UP, s->ff, s->width);
        add_matrix(l, "ffn_down.weight", MP_ROLE_DOWN, s->width, s->ff);
        return;
    }
    tensor *router = add(l, "ffn_gate_inp.weight", ROUTER, s->experts);
    router->rank = 2;
    router->shape[1] = s->width;
    router->deviation = 1.0f / sqrtf((float)s->width);
    add_stack(l, "ffn_gate_exps.weight", MP_ROLE_UP, s->expert_ff, s->width);
    add_stack(l, "ffn_up_exps.weight", MP_ROLE_UP, s->expert_ff, s->width);
    add_stack(l, "ffn_down_exps.weight", MP_ROLE_DOWN, s->width, s->expert_ff);
    if (s->shared_ff) {
        tensor *gate = add(l, "ffn_gate_inp_shexp.weight", MATRIX, s->width);
        gate->deviation = 1.0f / sqrtf((float)s->width);
        add_matrix(l, "ffn_gate_shexp.weight", MP_ROLE_UP, s->shared_ff, s->width);
        add_matrix(l, "ffn_up_shexp.weight", MP_ROLE_UP, s->shared_ff, s->width);
        add_matrix(l, "ffn_down_shexp.weight", MP_ROLE_DOWN, s->width, s->shared_ff);
    }
}

static mp_err list_open(mp_ledger *ledger, const mp_shape *s, const mp_mix *mix, list *l)
{
    *l = (list){ .s = s, .mix = mix, .layer = -1 };
    size_t most = (size_t)(PER_LAYER * s->layers + ENDS);
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, tensor, most, &l->t);
    if (err)
        return err;
    tensor *embd = add_matrix(l, "token_embd.weight", MP_ROLE_EMBD, s->vocab, s->width);
    if (!s->tied) { /* its rows are looked up, not multiplied */
        embd->deviation = 1.0f;
        add_matrix(l, "output.weight", MP_ROLE_HEAD, s->vocab, s->width);
    }
    add(l, "output_norm.weight", NORM, s->width);
    if (s->rope_factor)
        add(l, "rope_freqs.weight", ROTATION, s->head_dim / 2);
    for (l->layer = 0; l->layer < s->layers; l->layer++) {
        add_attention(l);
        add_ffn(l);
    }
    assert((size_t)l->n <= most);
    return MP_OK;
}

/* ---- metadata ---- */

static void put_int(mp_gguf_writer *w, const mp_shape *s, const char *name, int v)
{
    char key[96];
    snprintf(key, sizeof(key), "%s.%s", mp_shape_arch(s), name);
    mp_gguf_put_u32(w, key, (uint32_t)v);
}

static void put_float(mp_gguf_writer *w, const mp_shape *s, const char *name, float v)
{
    char key[96];
    snprintf(key, sizeof(key), "%s.%s", mp_shape_arch(s), name);
    mp_gguf_put_f32(w, key, v);
}

static void put_metadata(mp_gguf_writer *w, const mp_shape *s, const mp_mix *mix)
{
    char name[128];
    if (s->layers == s->all_layers)
        snprintf(name, sizeof(name), "random weights like %s", s->name);
    else
        snprintf(name, sizeof(name), "random weights like %s, %d layer%s", s->name, s->layers, s->layers == 1 ? "" : "s");
    mp_gguf_put_str(w, "general.architecture", mp_shape_arch(s));
    mp_gguf_put_str(w, "general.type", "model");
    mp_gguf_put_str(w, "general.name", name);
    mp_gguf_put_u32(w, "general.file_type", mix->file_type);
    mp_gguf_put_u32(w, "general.quantization_version", 2);
    put_int(w, s, "block_count", s->layers);
    put_int(w, s, "context_length", s->ctx);
    put_int(w, s, "embedding_length", s->width);
    put_int(w, s, "feed_forward_length", s->ff);
    put_int(w, s, "attention.head_count", s->heads);
    put_int(w, s, "attention.head_count_kv", s->kv_heads);
    put_int(w, s, "attention.key_length", s->head_dim);
    put_int(w, s, "attention.value_length", s->head_dim);
    put_int(w, s, "rope.dimension_count", s->head_dim);
    put_int(w, s, "vocab_size", s->vocab);
    put_float(w, s, "attention.layer_norm_rms_epsilon", s->eps);
    put_float(w, s, "rope.freq_base", s->rope_base);
    if (s->experts) {
        put_int(w, s, "expert_count", s->experts);
        put_int(w, s, "expert_used_count", s->used);
        put_int(w, s, "expert_feed_forward_length", s->expert_ff);
    }
    if (s->shared_ff)
        put_int(w, s, "expert_shared_feed_forward_length", s->shared_ff);
}

/* Header and directory; the writer then waits for data. */
static mp_err put_front(mp_ledger *ledger, mp_gguf_writer *w, const list *l)
{
    put_metadata(w, l->s, l->mix);
    mp_err err = mp_synth_put_vocab(ledger, w, l->s);
    for (int i = 0; !err && i < l->n; i++)
        mp_gguf_put_tensor(w, l->t[i].name, l->t[i].type, l->t[i].rank, l->t[i].shape);
    return err ? err : mp_gguf_writer_begin(w);
}

static mp_err count_bytes(mp_ledger *ledger, const list *l, uint64_t *out)
{
    mp_gguf_writer *w;
    *out = 0;
    mp_err err = mp_gguf_writer_open(ledger, NULL, &w);
    if (err)
        return err;
    err = put_front(ledger, w, l);
    if (!err)
        *out = mp_gguf_writer_bytes(w);
    mp_gguf_writer_close(&w);
    return err;
}

mp_err mp_synth_bytes(mp_ledger *ledger, const mp_shape *shape, const mp_mix *mix, uint64_t *out)
{
    list l;
    *out = 0;
    mp_err err = list_open(ledger, shape, mix, &l);
    if (!err)
        err = count_bytes(ledger, &l, out);
    MP_FREE(l.t);
    return err;
}

/* ---- weights ---- */

typedef struct writing {
    const mp_synth_options *o;
    mp_gguf_writer         *w;
    unsigned char          *buf; /* [CHUNK + 8] */
    uint64_t                done, total;
} writing;

/* One divisor for each rotated pair: 1 for the fast ones, the factor for the slow ones, between 1/4 and all of 8192 positions a blend (Llama 3.1). */
static float divisor(const mp_shape *s, int64_t i)
{
    double wave = 2 * acos(-1.0) * pow((double)s->rope_base, 2.0 * (double)i / s->head_dim), old = 8192;
    if (wave < old / 4)
        return 1;
    if (wave > old)
        return (float)s->rope_factor;
    double blend = (old / wave - 1) / 3;
    return (float)(1 / ((1 - blend) / s->rope_factor + blend));
}

/* Elements [first, first + n) of a vector or a router. */
static void fill_special(const mp_shape *s, const tensor *t, mp_rng *r, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = t->content == NORM ? 1 + 0.02f * mp_rng_normal(r) : t->content == BIAS ? 0.1f * mp_rng_normal(r) : divisor(s, i);
    if (t->content == ROUTER) { /* one row */
        float norm = mp_expf(0.5f * mp_rng_normal(r));
        for (int64_t i = 0; i < n; i++)
            dst[i] = norm * t->deviation * mp_rng_normal(r);
    }
}

static mp_err put_piece(writing *g, size_t bytes)
{
    mp_err err = mp_gguf_writer_data(g->w, g->buf, bytes);
    g->done += bytes;
    if (!err && g->o->progress && g->o->progress(g->o->user, "random weights", g->done < g->total ? g->done : g->total, g->total))
        err = mp_fail(MP_E_CANCELLED, "stopped");
    return err;
}

static mp_err put_weights(writing *g, const mp_shape *s, const tensor *t)
{
    const mp_dtype_info *info = mp_dtype_get(t->type);
    mp_rng r = mp_rng_init(g->o->seed, t->name);
    int64_t n = 1, most = (int64_t)(CHUNK / info->block_bytes) * info->block_len;
    mp_err err = MP_OK;
    for (int i = 0; i < t->rank; i++)
        n *= t->shape[i];
    if (t->content != MATRIX)
        most = t->shape[t->rank - 1];
    assert(mp_dtype_row_bytes(t->type, most) <= CHUNK);
    for (int64_t at = 0; !err && at < n; at += most) {
        int64_t k = n - at < most ? n - at : most;
        if (t->content == MATRIX)
            mp_synth_fill(&r, t->type, t->deviation, g->buf, k);
        else
            fill_special(s, t, &r, (float *)(void *)g->buf, k);
        err = put_piece(g, mp_dtype_row_bytes(t->type, k));
    }
    return err;
}

static mp_err write_all(mp_ledger *ledger, const mp_synth_options *o, const list *l)
{
    writing g = { .o = o };
    mp_err err = count_bytes(ledger, l, &g.total);
    if (!err)
        err = MP_NEW(ledger, MP_OWN_WORK, unsigned char, CHUNK + 8, &g.buf);
    if (!err)
        err = mp_gguf_writer_open(ledger, o->path, &g.w);
    if (!err)
        err = mp_gguf_writer_reserve(g.w, g.total);
    if (!err)
        err = put_front(ledger, g.w, l);
    for (int i = 0; !err && i < l->n; i++)
        err = put_weights(&g, l->s, &l->t[i]);
    if (!err)
        err = mp_gguf_writer_finish(g.w);
    mp_gguf_writer_close(&g.w);
    MP_FREE(g.buf);
    return err;
}

mp_err mp_synth_write(mp_ledger *ledger, const mp_synth_options *o)
{
    mp_shape s;
    const mp_mix *mix;
    list l = { 0 };
    if (!o->path || !*o->path)
        return mp_fail(MP_E_USAGE, "no file name was given");
    mp_err err = mp_shape_find(o->shape, &s);
    if (!err)
        err = mp_mix_find(o->type, &mix);
    if (!err)
        err = list_open(ledger, &s, mix, &l);
    if (!err)
        err = write_all(ledger, o, &l);
    MP_FREE(l.t);
    return err;
}
