/* The composition root: implements moped.h over the floors below. Nothing here computes; it translates names, owns handles, and fills tables. */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_int.h"
#include "base/size.h"
#include "model/generate.h"
#include "model/heat.h"
#include "model/measure.h"
#include "model/routing.h"
#include "moped.h"

static_assert((int)MOPED_E_CONTEXT == (int)MP_E_CONTEXT && (int)MOPED_E_MODEL == (int)MP_E_MODEL, "status codes are the library's own");
static_assert((int)MOPED_OWN_COUNT == (int)MP_OWN_COUNT && (int)MOPED_TIER_COUNT == (int)MP_TIER_COUNT, "owners and tiers likewise");
static_assert((int)MOPED_FINISH_CANCELLED == (int)MP_FINISH_CANCELLED && (int)MOPED_LOG_DEBUG == (int)MP_LOG_DEBUG, "and these");
static_assert((int)MOPED_PHASE_COUNT == (int)MP_PHASE_COUNT && (int)MOPED_ARITH_COUNT == (int)MP_ARITH_COUNT, "and these");
static_assert((int)MOPED_TOK_SPECIAL == (int)MP_TOK_SPECIAL && (int)MOPED_TOK_BOS == (int)MP_TOK_BOS, "and the tokenizer's flags");

struct moped_model {
    mp_model       *m;
    moped_vocab     vocab;
    moped_plan_info plan;
    pthread_mutex_t resizing; /* one at a time: each reads the limit, tries, and may go back to it */
    _Atomic uint64_t budget_bytes;
};

struct moped_session {
    mp_session  *s;
    moped_model *model;
};

/* ---- small things ---- */

const char *moped_error(void)
{
    return mp_err_text();
}

const char *moped_version(void)
{
    return MOPED_VERSION;
}

const char *moped_isa_at(int i)
{
    const mp_kern *k = mp_kern_at(i);
    return k ? k->name : NULL;
}

void moped_free(void *p)
{
    free(p);
}

const char *moped_owner_name(moped_owner owner)
{
    return mp_owner_name((mp_owner)owner);
}

const char *moped_tier_name(moped_tier tier)
{
    return mp_tier_name((mp_tier)tier);
}

const char *moped_finish_name(moped_finish finish)
{
    static const char *const names[] = { "none", "stop", "length", "context", "cancelled" };
    return names[finish];
}

void *mp_api_handle(size_t bytes)
{
    void *p = calloc(1, bytes);
    if (!p)
        mp_fail(MP_E_FAILED, "the system has no memory");
    return p;
}

/* ---- options and plan ---- */

static void pass_log(void *user, mp_log_level level, const char *text)
{
    const moped_options *o = user;
    o->log(o->user, (moped_log_level)level, text);
}

static mp_model_options options_of(const moped_options *o)
{
    mp_model_options m = { .path = o->path, .ram_bytes = o->ram_bytes, .headroom_bytes = o->headroom_bytes, .ctx_tok = o->ctx_tok, .batch_tok = o->batch_tok };
    m.threads = o->threads;
    m.sessions = o->sessions;
    m.kv = o->kv == MOPED_KV_F32 ? MP_F32 : MP_F16;
    m.kv_given = o->kv != MOPED_KV_DEFAULT;
    m.no_check = o->no_weights_check;
    m.no_paging = o->no_paging;
    m.deterministic = o->deterministic;
    m.vram_bytes = o->vram_bytes;
    m.times = o->time_ops;
    m.isa = o->isa;
    m.policy = o->expert_policy;
    m.profile = o->expert_profile;
    m.profile_out = o->profile_out;
    m.io = o->io;
    m.prefetch = (int)o->prefetch;
    m.trace = o->trace;
    m.routing = o->routing;
    m.ram_bps = o->ram_bps;
    m.disk_bps = o->disk_bps;
    m.progress = o->progress;
    m.user = o->user;
    if (o->log)
        m.log = (mp_log){ pass_log, (void *)(uintptr_t)o, MP_LOG_DEBUG };
    return m;
}

static void copy_str(char *out, size_t cap, mp_str s)
{
    snprintf(out, cap, "%.*s", (int)(s.n < cap ? s.n : cap - 1), s.s ? s.s : "");
}

/* The type that most of the file's bytes have. */
static const char *main_type(const mp_gguf *g, uint64_t *parameters)
{
    uint64_t bytes[MP_DTYPE_COUNT] = { 0 };
    int best = 0;
    *parameters = 0;
    for (int64_t i = 0; i < mp_gguf_tensors(g); i++) {
        const mp_gguf_tensor *t = mp_gguf_tensor_at(g, i);
        uint64_t n = 1;
        for (int d = 0; d < t->rank; d++)
            n *= (uint64_t)t->shape[d];
        *parameters += n;
        bytes[t->dtype] += t->bytes;
    }
    for (int i = 1; i < MP_DTYPE_COUNT; i++)
        if (bytes[i] > bytes[best])
            best = i;
    return mp_dtype_get((mp_dtype)best)->name;
}

static void fill_info(const mp_model *m, moped_model_info *out)
{
    const mp_config *c = &m->config;
    mp_str name = { 0 };
    mp_gguf_str(m->gguf, "general.name", &name);
    copy_str(out->name, sizeof(out->name), name);
    snprintf(out->arch, sizeof(out->arch), "%s", c->arch);
    snprintf(out->quant, sizeof(out->quant), "%s", main_type(m->gguf, &out->parameters));
    out->file_bytes = mp_gguf_bytes(m->gguf);
    out->layers = c->layers;
    out->width = c->width;
    out->heads = c->heads;
    out->kv_heads = c->kv_heads;
    out->experts = c->experts;
    out->experts_used = c->experts_used;
    out->moe_layers = c->experts ? (int)m->binder.pages / c->experts : 0;
    out->vocab = c->vocab;
    out->ctx_train = c->ctx_train;
    out->dense_bytes_per_tok = m->plan.dense_tok_bytes;
    out->expert_bytes_per_tok = m->plan.expert_tok_bytes;
    out->expert_bytes = c->experts_used ? m->plan.expert_tok_bytes / (uint64_t)c->experts_used * (uint64_t)c->experts : 0;
    out->kv_bytes_per_tok = (uint64_t)c->layers * (uint64_t)c->kv_heads * (uint64_t)c->head_dim * 2 * (m->opt.kv == MP_F32 ? 4 : 2);
    out->has_vocab = m->tok != NULL;
    out->has_template = m->tok && mp_tok_chat_template(m->tok, NULL);
}

static void fill_plan(const mp_model *m, moped_plan_info *out)
{
    const mp_plan *p = &m->plan;
    *out = (moped_plan_info){ .fits = p->fits, .budget_bytes = p->budget_bytes, .budget_chosen = p->budget_chosen, .need_bytes = p->need_bytes };
    fill_info(m, &out->model);
    out->least_ram_bytes = p->least_ram_bytes;
    out->ctx_tok = (int)p->ctx_tok;
    out->largest_ctx = (int)p->largest_ctx;
    out->batch_tok = p->batch_tok;
    out->threads = p->threads;
    out->sessions = p->sessions;
    memcpy(out->bytes, p->bytes, sizeof(out->bytes));
    out->expert_pages = p->expert_pages;
    out->expert_slots = p->expert_slots;
    out->expert_vram_slots = p->expert_vram_slots;
    out->vram_budget_bytes = p->vram_budget_bytes;
    out->vram_chosen = p->vram_chosen;
    out->vram_need_bytes = p->vram_need_bytes;
    out->least_vram_bytes = p->least_vram_bytes;
    out->vram_bps = p->vram_bps;
    out->bound_tok_s = p->bound_tok_s;
    out->ram_bps = p->ram_bps;
    out->disk_bps = p->disk_bps;
    out->bandwidth_assumed = p->bandwidth_assumed;
}

static moped_status check_options(const moped_options *o)
{
    if (!o || !o->path || !*o->path)
        return mp_fail(MP_E_USAGE, "no model file was named");
    if (o->kv < MOPED_KV_DEFAULT || o->kv > MOPED_KV_F32)
        return mp_fail(MP_E_USAGE, "the type of the KV cache must be f16 or f32");
    return MOPED_OK;
}

moped_status moped_plan(const moped_options *options, moped_plan_info *out)
{
    *out = (moped_plan_info){ 0 };
    moped_status err = check_options(options);
    if (err)
        return err;
    mp_model_options o = options_of(options);
    mp_model *m;
    err = mp_model_open_dry(&o, NULL, &m);
    if (m)
        fill_plan(m, out);
    mp_model_close(&m);
    return err;
}

moped_status moped_disk_rate(const moped_options *options, double seconds, double *bytes_per_second)
{
    *bytes_per_second = 0;
    moped_status err = check_options(options);
    mp_model_options o = options_of(options);
    return err ? err : mp_measure_disk(&o, (uint64_t)(seconds * 1e9), bytes_per_second);
}

/* ---- model ---- */

moped_status moped_model_open(const moped_options *options, moped_model **out)
{
    *out = NULL;
    moped_status err = check_options(options);
    if (err)
        return err;
    moped_model *h = mp_api_handle(sizeof(*h));
    if (!h)
        return MOPED_E_FAILED;
    mp_model_options o = options_of(options);
    err = mp_model_open(&o, NULL, &h->m);
    if (err) {
        free(h);
        return err;
    }
    h->m->opt.log = (mp_log){ 0 }; /* options may be gone when open returns */
    h->m->opt.progress = NULL;
    h->m->opt.path = h->m->opt.isa = h->m->opt.policy = h->m->opt.profile = h->m->opt.profile_out = h->m->opt.trace = h->m->opt.routing = h->m->opt.io = NULL;
    h->vocab.tok = h->m->tok;
    fill_plan(h->m, &h->plan);
    h->budget_bytes = h->m->plan.budget_bytes;
    pthread_mutex_init(&h->resizing, NULL);
    *out = h;
    return MOPED_OK;
}

void moped_model_close(moped_model **model)
{
    if (!model || !*model)
        return;
    mp_model_close(&(*model)->m);
    pthread_mutex_destroy(&(*model)->resizing);
    free(*model);
    *model = NULL;
}

const moped_plan_info *moped_model_plan(const moped_model *model)
{
    return &model->plan;
}

void moped_model_memory(moped_model *model, moped_memory *out)
{
    mp_os_usage u;
    uint64_t used = 0, peak = 0;
    mp_os_usage_get(&u);
    *out = (moped_memory){ .budget_bytes = model->budget_bytes, .plan_peak_bytes = model->m->plan.need_bytes, .peak_bytes = u.peak_bytes, .now_bytes = u.now_bytes };
    for (int i = 0; i < MP_OWN_COUNT; i++) {
        mp_ledger_line line = mp_ledger_get(model->m->ledger, MP_TIER_RAM, (mp_owner)i);
        out->owner[i].plan_bytes = model->m->plan.bytes[MP_TIER_RAM][i];
        out->owner[i].used_bytes = line.used_bytes;
        out->owner[i].peak_bytes = line.peak_bytes;
        used += i == MP_OWN_OVERHEAD ? 0 : line.used_bytes;
        peak += i == MP_OWN_OVERHEAD ? 0 : line.peak_bytes;
    }
    if (model->m->dev->memory) {
        out->vram_budget_bytes = mp_ledger_limit(model->m->ledger, MP_TIER_VRAM);
        out->vram_plan_bytes = model->m->plan.vram_need_bytes;
        out->vram_peak_bytes = mp_ledger_peak(model->m->ledger, MP_TIER_VRAM);
        out->vram_now_bytes = mp_ledger_used(model->m->ledger, MP_TIER_VRAM);
    }
    out->owner[MP_OWN_OVERHEAD].used_bytes = u.now_bytes > used ? u.now_bytes - used : 0;
    out->owner[MP_OWN_OVERHEAD].peak_bytes = u.peak_bytes > peak ? u.peak_bytes - peak : 0;
}

/* All but where the bytes lie, which takes a walk over the pages. */
static void read_counters(const moped_model *model, moped_expert_stats *out)
{
    mp_pager_stats s = { 0 };
    if (model->m->pager)
        mp_pager_get_stats(model->m->pager, &s);
    *out = (moped_expert_stats){ .accesses = s.accesses, .hits = s.hits, .misses = s.misses, .disk_bytes = s.load_bytes, .evictions = s.evictions,
                                 .stall_ns = s.wait_ns, .slots = s.slots, .resident = s.resident, .pages = s.pages };
    out->loads = s.loads;
    out->bound_bytes = s.bound_bytes;
    out->reads_in_flight = s.in_flight;
    out->prefetch_issued = s.hints_issued;
    out->prefetch_used = s.hints_used;
    out->prefetch_late = s.hints_late;
    out->prefetch_wasted_bytes = s.hints_wasted_bytes;
    if (model->m->below) {
        out->upload_bytes = s.load_bytes;
        out->computed = model->m->beside.computed;
        mp_pager_get_stats(model->m->below, &s);
        out->disk_bytes = s.load_bytes;
        out->loads = s.loads;
    }
}

/* Per layer, of a model with a pager; with the uses of all pages behind it. NULL when the system has no memory. free() it. */
static mp_pager_group_stats *read_groups(const mp_model *m, uint32_t **uses)
{
    uint32_t pages = m->binder.pages, groups = pages / (uint32_t)m->config.experts;
    mp_pager_group_stats *g = mp_api_handle(groups * sizeof(*g) + pages * sizeof(**uses));
    *uses = (uint32_t *)(void *)(g ? g + groups : NULL);
    if (g) {
        mp_pager_get_groups(m->pager, g, groups);
        mp_pager_get_uses(m->pager, *uses);
    }
    return g;
}

static uint64_t page_bytes(const mp_model *m, mp_page page)
{
    uint64_t sum = 0;
    for (int i = 0; i < MP_PAGE_SLICES; i++)
        sum += m->binder.page[page].slice[i].bytes;
    return sum;
}

/* The highest tier in which each expert is. */
static void fill_tiers(const mp_model *m, uint64_t bytes[MOPED_TIER_COUNT])
{
    for (uint32_t p = 0; m->pager && p < m->binder.pages; p++) {
        bool away = mp_pager_absent(m->pager, &p, 1);
        moped_tier tier = !away ? (m->below ? MOPED_TIER_VRAM : MOPED_TIER_RAM) : m->below && !mp_pager_absent(m->below, &p, 1) ? MOPED_TIER_RAM : MOPED_TIER_DISK;
        bytes[tier] += page_bytes(m, p);
    }
}

void moped_model_experts(moped_model *model, moped_expert_stats *out)
{
    const mp_model *m = model->m;
    read_counters(model, out);
    fill_tiers(m, out->tier_bytes);
    mp_window w = { 0 }, best = { 0 };
    if (m->recorder)
        mp_recorder_window(m->recorder, &w);
    if (w.tok)
        mp_recorder_oracle(m->recorder, out->slots, &best);
    out->window_tok = w.tok;
    out->window_hit_rate = w.accesses ? (double)w.hits / (double)w.accesses : 0;
    out->oracle_hit_rate = best.accesses ? (double)best.hits / (double)best.accesses : 0;
}

int moped_model_expert_layers(moped_model *model, moped_expert_layer *out, int room)
{
    const mp_model *m = model->m;
    uint32_t *uses, experts = (uint32_t)m->config.experts;
    mp_pager_group_stats *groups = m->pager ? read_groups(m, &uses) : NULL;
    uint32_t layers = groups ? m->binder.pages / experts : 0;
    mp_pager_group_stats *below = groups && m->below ? mp_api_handle(layers * sizeof(*below)) : NULL; /* what came from the disk came there */
    if (below)
        mp_pager_get_groups(m->below, below, layers);
    int n = 0;
    for (int l = 0; groups && l < m->config.layers; l++) {
        uint32_t first = m->layers[l].moe.first;
        const mp_pager_group_stats *g = &groups[first / experts];
        if (!m->layers[l].is_moe || n++ >= room)
            continue;
        moped_expert_layer *o = &out[n - 1];
        *o = (moped_expert_layer){ .layer = l, .accesses = g->accesses, .hits = g->hits, .misses = g->misses, .disk_bytes = g->load_bytes, .stall_ns = g->wait_ns };
        if (below)
            o->disk_bytes = below[first / experts].load_bytes;
        o->experts = experts;
        o->resident = g->resident;
        for (uint32_t e = 0; e < experts; e++)
            o->used += uses[first + e] != 0;
    }
    free(below);
    free(groups);
    return n;
}

int moped_model_times(moped_model *model, moped_phase phase, moped_times *total, moped_time *out, int room)
{
    const mp_times *times = model->m->times;
    mp_phase_total sum = { 0 };
    int n = 0;
    for (int i = 0; times && i < (model->m->config.layers + 1) * MP_ROW_COUNT; i++) {
        int layer = i / MP_ROW_COUNT - 1, row = i % MP_ROW_COUNT;
        const mp_time *t = mp_times_get(times, (mp_phase)phase, layer, row);
        if ((!t->calls && !t->ns) || n++ >= room)
            continue;
        out[n - 1] = (moped_time){ .what = mp_row_name(row), .layer = layer, .op = row < MP_ROW_GUESS, .calls = t->calls, .ns = t->ns };
        out[n - 1].weight_bytes = t->cost.weight_bytes;
        out[n - 1].kv_bytes = t->cost.kv_bytes;
        memcpy(out[n - 1].ops, t->cost.ops, sizeof(t->cost.ops));
    }
    if (times)
        sum = mp_times_total(times, (mp_phase)phase);
    if (total)
        *total = (moped_times){ sum.tokens, sum.forwards, n };
    return n;
}

void moped_model_reset_times(moped_model *model)
{
    if (model->m->times)
        mp_times_reset(model->m->times);
}

moped_status moped_model_save_profile(moped_model *model)
{
    return mp_heat_save(model->m);
}

moped_status moped_model_end_trace(moped_model *model)
{
    return model->m->recorder ? mp_recorder_finish(model->m->recorder) : MOPED_OK;
}

moped_status moped_model_trace(moped_model *model, const char *path)
{
    return model->m->recorder ? mp_recorder_save(model->m->recorder, path) : mp_fail(MP_E_USAGE, "this model has no experts, so there is no routing to write down");
}

static mp_err resize(mp_model *m, uint64_t ram_bytes)
{
    uint64_t limit = ram_bytes - mp_plan_slack(ram_bytes), others = mp_plan_ram(&m->plan) - m->plan.bytes[MP_TIER_RAM][MP_OWN_EXPERTS];
    if (limit < others + m->plan.expert_least_bytes)
        return mp_fail(MP_E_BUDGET, "%llu bytes are less than the %llu that this model needs", (unsigned long long)ram_bytes,
                       (unsigned long long)m->plan.least_ram_bytes);
    uint64_t before = mp_ledger_limit(m->ledger, MP_TIER_RAM);
    if (limit > before)
        mp_ledger_set_limit(m->ledger, MP_TIER_RAM, limit);
    mp_err err = mp_model_resize_slots(m, limit);
    mp_ledger_set_limit(m->ledger, MP_TIER_RAM, err ? before : limit);
    return err;
}

moped_status moped_model_resize(moped_model *model, uint64_t ram_bytes)
{
    if (model->m->opt.no_paging)
        return mp_fail(MP_E_USAGE, "a model that was opened without paging keeps its budget");
    pthread_mutex_lock(&model->resizing);
    mp_err err = resize(model->m, ram_bytes);
    if (!err)
        model->budget_bytes = ram_bytes;
    pthread_mutex_unlock(&model->resizing);
    return err;
}

static mp_err resize_vram(mp_model *m, uint64_t vram_bytes)
{
    const mp_plan *p = &m->plan;
    char have[MP_SIZE_TEXT], least[MP_SIZE_TEXT];
    uint64_t before = mp_ledger_limit(m->ledger, MP_TIER_VRAM), others = p->least_vram_bytes - p->expert_vram_least_bytes;
    if (vram_bytes < p->least_vram_bytes)
        return mp_fail(MP_E_BUDGET, "%s of VRAM are less than the %s that this model needs", mp_size_format(vram_bytes, have), mp_size_format(p->least_vram_bytes, least));
    if (vram_bytes > before)
        mp_ledger_set_limit(m->ledger, MP_TIER_VRAM, vram_bytes);
    uint64_t bytes = vram_bytes - others < p->expert_vram_all_bytes ? vram_bytes - others : p->expert_vram_all_bytes;
    mp_err err = m->pager ? mp_pager_resize(m->pager, bytes) : MP_OK;
    mp_ledger_set_limit(m->ledger, MP_TIER_VRAM, err ? before : vram_bytes);
    if (!err)
        err = mp_model_resize_slots(m, mp_ledger_limit(m->ledger, MP_TIER_RAM));
    return err ? err : mp_model_hold(m);
}

moped_status moped_model_resize_vram(moped_model *model, uint64_t vram_bytes)
{
    if (!model->m->dev->memory || model->m->opt.no_paging)
        return mp_fail(MP_E_USAGE, "a model that was opened without %s keeps its budget of VRAM", model->m->dev->memory ? "paging" : "a GPU");
    pthread_mutex_lock(&model->m->lock); /* between two forwards */
    pthread_mutex_lock(&model->resizing);
    mp_model_release(model->m);
    mp_err err = resize_vram(model->m, vram_bytes);
    pthread_mutex_unlock(&model->resizing);
    pthread_mutex_unlock(&model->m->lock);
    return err;
}

moped_vocab *moped_model_vocab(moped_model *model)
{
    return model->vocab.tok ? &model->vocab : NULL;
}

/* ---- sessions and generation ---- */

moped_status moped_session_open(moped_model *model, int ctx_tok, moped_session **out)
{
    *out = NULL;
    moped_session *h = mp_api_handle(sizeof(*h));
    if (!h)
        return MOPED_E_FAILED;
    h->model = model;
    mp_err err = mp_session_open(model->m, ctx_tok, &h->s);
    if (err) {
        free(h);
        return err;
    }
    *out = h;
    return MOPED_OK;
}

void moped_session_close(moped_session **session)
{
    if (!session || !*session)
        return;
    mp_session_close(&(*session)->s);
    free(*session);
    *session = NULL;
}

void moped_sampling_default(const moped_model *model, moped_sampling *out)
{
    double v;
    int64_t k;
    *out = (moped_sampling){ .temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .typical_p = 1.0f, .repeat_penalty = 1.0f, .repeat_last_n = 64 };
    if (!model)
        return;
    const mp_gguf *g = model->m->gguf;
    if (mp_gguf_f64(g, "general.sampling.temp", &v) && v >= 0)
        out->temperature = (float)v;
    if (mp_gguf_i64(g, "general.sampling.top_k", &k) && k >= 0 && k < 1 << 20)
        out->top_k = (int)k;
    if (mp_gguf_f64(g, "general.sampling.top_p", &v) && v > 0 && v <= 1)
        out->top_p = (float)v;
    if (mp_gguf_f64(g, "general.sampling.min_p", &v) && v >= 0 && v <= 1)
        out->min_p = (float)v;
    if (mp_gguf_f64(g, "general.sampling.penalty_repeat", &v) && v > 0)
        out->repeat_penalty = (float)v;
}

static mp_err sampling_of(const moped_session *s, const moped_sampling *in, mp_sampling *out, mp_logit_bias **bias)
{
    moped_sampling def;
    *bias = NULL;
    if (!in) {
        moped_sampling_default(s->model, &def);
        in = &def;
    }
    *out = (mp_sampling){ .temperature = in->temperature, .top_p = in->top_p, .min_p = in->min_p, .typical_p = in->typical_p, .top_k = in->top_k, .seed = in->seed };
    out->repeat_penalty = in->repeat_penalty;
    out->presence_penalty = in->presence_penalty;
    out->frequency_penalty = in->frequency_penalty;
    out->repeat_last_n = in->repeat_last_n >= 0 ? in->repeat_last_n : s->s->ctx < 65536 ? (int)s->s->ctx : 65536;
    if (in->n_bias <= 0)
        return MP_OK;
    mp_err err = MP_NEW(s->model->m->ledger, MP_OWN_WORK, mp_logit_bias, (size_t)in->n_bias, bias);
    for (int i = 0; !err && i < in->n_bias; i++)
        (*bias)[i] = (mp_logit_bias){ in->bias[i].token, in->bias[i].bias };
    out->bias = *bias;
    out->n_bias = err ? 0 : in->n_bias;
    return err;
}

static mp_err stops_of(const moped_session *s, const moped_request *q, mp_stop_string **out)
{
    *out = NULL;
    if (q->n_stop <= 0)
        return MP_OK;
    mp_err err = MP_NEW(s->model->m->ledger, MP_OWN_WORK, mp_stop_string, (size_t)q->n_stop, out);
    for (int i = 0; !err && i < q->n_stop; i++)
        (*out)[i] = (mp_stop_string){ q->stop[i], strlen(q->stop[i]) };
    return err;
}

static void fill_result(const moped_session *h, const mp_result *r, const moped_expert_stats *before, moped_result *out)
{
    moped_expert_stats after;
    read_counters(h->model, &after);
    *out = (moped_result){ .text = h->s->text, .n_text = h->s->n_text, .tokens = h->s->out, .n_tokens = h->s->n_out };
    out->prompt_tokens = (size_t)r->prompt_tokens;
    out->reused_tokens = (size_t)r->reused_tokens;
    out->finish = (moped_finish)r->finish;
    out->prefill_ns = r->prefill_ns;
    out->decode_ns = r->decode_ns;
    out->expert_accesses = after.accesses - before->accesses;
    out->expert_hits = after.hits - before->hits;
    out->disk_bytes = after.disk_bytes - before->disk_bytes;
}

moped_status moped_generate(moped_session *session, const moped_request *q, moped_result *out)
{
    mp_request r = { .tokens = q->tokens, .n_tokens = (int64_t)q->n_tokens, .max_tokens = q->max_tokens, .n_stop = q->n_stop > 0 ? q->n_stop : 0 };
    mp_logit_bias *bias;
    mp_stop_string *stop = NULL;
    mp_result result;
    moped_expert_stats before;
    *out = (moped_result){ 0 };
    r.ignore_eos = q->ignore_eos;
    r.show_special = q->show_special;
    r.context_shift = q->context_shift;
    r.keep_tok = q->keep_tok;
    r.on_token = q->on_token;
    r.on_prefill = q->on_prefill;
    r.user = q->user;
    read_counters(session->model, &before);
    mp_err err = sampling_of(session, q->sampling, &r.sampling, &bias);
    if (!err)
        err = stops_of(session, q, &stop);
    r.stop = stop;
    if (!err)
        err = mp_generate(session->s, &r, &result);
    MP_FREE(bias);
    MP_FREE(stop);
    if (!err)
        fill_result(session, &result, &before, out);
    return err;
}

typedef struct logits_call {
    int (*fn)(void *user, size_t position, const float *logits, int vocab);
    void *user;
    int   vocab;
} logits_call;

static int pass_logits(void *user, int64_t position, const float *logits)
{
    const logits_call *c = user;
    return c->fn(c->user, (size_t)position, logits, c->vocab);
}

moped_status moped_logits(moped_session *session, const int32_t *tokens, size_t n, size_t first,
                          int (*on_logits)(void *user, size_t position, const float *logits, int vocab), void *user)
{
    logits_call c = { on_logits, user, session->model->m->config.vocab };
    return mp_session_logits(session->s, tokens, (int64_t)n, (int64_t)(first < n ? first : n), pass_logits, &c);
}

size_t moped_session_length(const moped_session *session)
{
    return (size_t)mp_kv_len(session->s->kv);
}

size_t moped_session_truncate(moped_session *session, size_t n)
{
    return (size_t)mp_session_truncate(session->s, n < INT64_MAX ? (int64_t)n : INT64_MAX);
}

const int32_t *moped_session_tokens(const moped_session *session, size_t *n)
{
    *n = (size_t)mp_kv_len(session->s->kv);
    return session->s->ids;
}
