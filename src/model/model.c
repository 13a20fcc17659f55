#include "model/model.h"

#include "model/routing.h"

static void kv_tile(const void *kv, int layer, int64_t pos, mp_kv_tile *out)
{
    mp_kv_tile_at(kv, layer, pos, out);
}

mp_segment mp_segment_of(mp_kv *kv, int32_t row, int32_t n)
{
    return (mp_segment){ .row = row, .n = n, .pos = mp_kv_len(kv), .kv = kv, .dtype = mp_kv_get_config(kv)->dtype, .tile = kv_tile };
}

mp_err mp_model_open_routing(mp_model *m)
{
    const mp_config *c = &m->config;
    const mp_model_options *o = &m->opt;
    if (!m->binder.pages || o->train)
        return o->trace || o->routing ? mp_fail(MP_E_USAGE, "this model has no experts that are routed to here, so there is no trace to %s", o->routing ? "follow" : "record") : MP_OK;
    mp_trace_shape shape = { m->binder.pages / (uint32_t)c->experts, (uint32_t)c->experts, (uint32_t)c->experts_used };
    mp_err err = o->routing ? mp_routing_open(m->ledger, o->routing, shape, &m->routing) : MP_OK;
    return err ? err : mp_recorder_open(m->ledger, shape, o->batch_tok, o->trace, &m->recorder);
}

enum { LATE_SLOTS = 4 }; /* for each expert of a token: this layer's, the last one's, and what is on its way */

/* Where the device holds all experts, choices of a few tokens stay with it until the forward ends. Memory for them is taken anyway: what is held may change. */
static void keep_choices(mp_model *m, mp_fwd *f)
{
    int64_t choices = f->batch->n_tok * m->config.experts_used, layers = m->config.experts ? m->binder.pages / (uint32_t)m->config.experts : 0;
    if (!f->dev->memory || !layers || choices > MP_OP_CHOICES || f->batch->n_tok > MP_OP_FEW)
        return;
    f->chosen = mp_new_2d(f, MP_I32, layers, choices);
    f->chosen_weights = mp_new_2d(f, MP_F32, layers, choices);
    f->by_id = m->held && !f->routing && !f->dev->dry;
    mp_pager_stats s = { 0 };
    if (m->pager)
        mp_pager_get_stats(m->pager, &s);
    f->may_be_late = s.slots >= LATE_SLOTS * (uint32_t)m->config.experts_used;
}

/* The host's part of what a layer does with its choices, when the device has done the rest. */
static void learn_choices(mp_fwd *f)
{
    int experts = f->config->experts;
    int64_t n = f->chosen.shape[1];
    if (mp_tensor_none(&f->chosen) || (!f->by_id && !f->dev->dry))
        return;
    int32_t *ids = mp_host_of(f, &f->chosen);
    float *weights = mp_host_of(f, &f->chosen_weights);
    for (int layer = 0; layer < f->chosen.shape[0] && f->by_id && !f->err; layer++, ids += n, weights += n) {
        mp_page pages[MP_OP_CHOICES];
        uint16_t rows[MP_OP_CHOICES];
        uint32_t count = 0;
        mp_routed(f, layer, ids, weights);
        for (int64_t i = 0; i < n; i++) {
            mp_page page = (mp_page)(layer * experts + ids[i]);
            uint32_t at = 0;
            while (at < count && pages[at] != page)
                at++;
            rows[at] = at < count ? rows[at] + 1 : 1;
            pages[at] = page;
            count += at == count;
        }
        f->err = mp_pager_want(f->pager, &(mp_access){ .pages = pages, .n = count, .tokens = (uint32_t)f->batch->n_tok, .rows = rows });
    }
}

mp_err mp_forward_begin(mp_model *m, const mp_batch *batch, mp_tape *tape, mp_forward *out)
{
    pthread_mutex_lock(&m->lock);
    mp_fwd f = { .dev = m->dev, .arena = &m->work, .host = m->dev->memory ? &m->host_work : &m->work, .tape = tape, .pager = m->pager, .config = &m->config, .batch = batch };
    f.prefetch = &m->prefetch;
    f.beside = m->beside.cpu && !m->held ? &m->beside : NULL;
    f.routing = m->routing;
    f.recorder = m->recorder;
    f.times = batch->times;
    *out = (mp_forward){ .f = f, .mark = mp_fwd_mark(&f), .since_ns = mp_now_ns() };
    if (f.routing)
        mp_routing_begin(f.routing, batch);
    if (m->below && m->resident && !m->held)
        out->f.err = mp_model_hold(m); /* its slots are full again */
    keep_choices(m, &out->f);
    out->f.pos = mp_operand_i32(&out->f, batch->pos, batch->n_tok);
    out->f.inv_freq = m->inv_freq;
    out->x = mp_embed(&out->f, m->embd, mp_operand_i32(&out->f, batch->ids, batch->n_tok));
    for (int i = 0; i < m->config.layers && !out->f.err; i++) {
        mp_times_set_layer(out->f.times, i);
        m->arch->layer(&out->f, &m->layers[i], i, &out->x);
    }
    mp_times_set_layer(out->f.times, -1);
    return out->f.err;
}

mp_err mp_forward_logits(mp_model *m, mp_forward *fw, int64_t row, int64_t n, mp_tensor *out)
{
    mp_fwd *f = &fw->f;
    mp_fwd_marks mark = mp_fwd_mark(f);
    mp_tensor x = fw->x;
    if (!f->tape) { /* a tape needs whole tensors: there row is 0 and n all */
        x.data = x.data ? (char *)x.data + (size_t)row * x.stride[0] : NULL;
        x.shape[0] = n;
    }
    f->product = MP_PRODUCT_HEAD;
    *out = mp_linear(f, mp_rmsnorm(f, x, m->out_norm), m->output, (mp_tensor){ 0 });
    if (f->dev->memory)
        out->data = mp_host_of(f, out);
    mp_fwd_rewind(f, mark);
    return f->err;
}

/* Everything was computed: what was chosen counts. */
static void commit(const mp_fwd *f)
{
    mp_pager_stats st = { 0 };
    if (f->err || f->dev->dry)
        return;
    if (f->routing)
        mp_routing_commit(f->routing, f->batch);
    if (f->recorder && f->pager)
        mp_pager_get_stats(f->pager, &st);
    if (f->recorder)
        mp_recorder_commit(f->recorder, f->batch, st.accesses, st.hits);
}

mp_err mp_forward_end(mp_model *m, mp_forward *fw)
{
    if (!fw->f.err)
        learn_choices(&fw->f);
    if (fw->f.n_late)
        (void)fw->f.dev->v->wait(fw->f.dev); /* what it says was said before, or will be */
    mp_fwd_caught_up(&fw->f);
    if (!fw->f.err)
        mp_times_forward(fw->f.times, fw->f.batch->n_tok);
    if (!fw->f.err)
        mp_prefetch_took(&m->prefetch, fw->f.batch->n_tok, mp_now_ns() - fw->since_ns);
    commit(&fw->f);
    mp_arena_rewind(fw->f.arena, fw->mark.device);
    mp_arena_rewind(fw->f.host, fw->mark.host);
    pthread_mutex_unlock(&m->lock);
    return fw->f.err;
}

mp_err mp_model_params(mp_model *m, mp_tape *tape)
{
    mp_err err = MP_OK;
    for (int i = 0; i < m->binder.n && !err; i++)
        if (m->binder.list[i].dst != &m->rope_divisors) /* part of the positions, not of what is learned */
            err = mp_tape_param(tape, m->binder.list[i].dst);
    for (uint32_t i = 0; m->resident && i < m->binder.pages && !err; i++) {
        err = mp_tape_param(tape, &m->resident[i].gate);
        if (!err)
            err = mp_tape_param(tape, &m->resident[i].up);
        if (!err)
            err = mp_tape_param(tape, &m->resident[i].down);
    }
    if (m->output.data == m->embd.data)
        m->output.node = m->embd.node; /* tied: one matrix, one gradient */
    return err;
}
