/* The tables of moped.h as JSON. */
#include "app/plan_json.h"

#include <stdlib.h>

#include "app/json.h"

static json_t *tier_json(const uint64_t *bytes) {
    json_t *o = json_object();
    for (int i = 0; i < MOPED_OWN_COUNT; i++) app_put_int(o, moped_owner_name((moped_owner)i), bytes[i]);
    return o;
}

json_t *app_owners_json(const moped_memory *m) {
    json_t *all = json_object();
    for (int i = 0; i < MOPED_OWN_COUNT; i++) {
        json_t *o = json_object();
        app_put_int(o, "plan_bytes", m->owner[i].plan_bytes);
        app_put_int(o, "used_bytes", m->owner[i].used_bytes);
        app_put_int(o, "peak_bytes", m->owner[i].peak_bytes);
        app_put(all, moped_owner_name((moped_owner)i), o);
    }
    return all;
}

static json_t *model_json(const moped_model_info *m) {
    json_t *o = json_object();
    app_put_text(o, "name", m->name);
    app_put_text(o, "arch", m->arch);
    app_put_text(o, "quant", m->quant);
    app_put_int(o, "file_bytes", m->file_bytes);
    app_put_int(o, "parameters", m->parameters);
    app_put_int(o, "layers", (uint64_t)m->layers);
    app_put_int(o, "width", (uint64_t)m->width);
    app_put_int(o, "heads", (uint64_t)m->heads);
    app_put_int(o, "kv_heads", (uint64_t)m->kv_heads);
    app_put_int(o, "experts", (uint64_t)m->experts);
    app_put_int(o, "experts_used", (uint64_t)m->experts_used);
    app_put_int(o, "moe_layers", (uint64_t)m->moe_layers);
    app_put_int(o, "vocab", (uint64_t)m->vocab);
    app_put_int(o, "ctx_train", (uint64_t)m->ctx_train);
    app_put_int(o, "expert_bytes", m->expert_bytes);
    app_put_int(o, "dense_bytes_per_tok", m->dense_bytes_per_tok);
    app_put_int(o, "expert_bytes_per_tok", m->expert_bytes_per_tok);
    app_put_int(o, "kv_bytes_per_tok", m->kv_bytes_per_tok);
    app_put_bool(o, "has_vocab", m->has_vocab);
    app_put_bool(o, "has_template", m->has_template);
    return o;
}

static json_t *bandwidth_json(const moped_plan_info *p) {
    json_t *o = json_object();
    app_put_real(o, "vram_bps", p->vram_bps);
    app_put_real(o, "ram_bps", p->ram_bps);
    app_put_real(o, "disk_bps", p->disk_bps);
    app_put_bool(o, "assumed", p->bandwidth_assumed);
    return o;
}

json_t *app_plan_json(const moped_plan_info *p) {
    json_t *o = json_object(), *tiers = json_object(), *experts = json_object();
    for (int t = 0; t < MOPED_TIER_COUNT; t++) app_put(tiers, moped_tier_name((moped_tier)t), tier_json(p->bytes[t]));
    app_put_int(experts, "pages", p->expert_pages);
    app_put_int(experts, "slots", p->expert_slots);
    app_put_int(experts, "vram_slots", p->expert_vram_slots);
    app_put_bool(o, "fits", p->fits);
    app_put_int(o, "need_bytes", p->need_bytes);
    app_put_int(o, "least_ram_bytes", p->least_ram_bytes);
    app_put_int(o, "largest_ctx", (uint64_t)p->largest_ctx);
    app_put_int(o, "budget_bytes", p->budget_bytes);
    app_put_bool(o, "budget_chosen", p->budget_chosen);
    app_put_int(o, "vram_budget_bytes", p->vram_budget_bytes);
    app_put_bool(o, "vram_chosen", p->vram_chosen);
    app_put_int(o, "vram_need_bytes", p->vram_need_bytes);
    app_put_int(o, "least_vram_bytes", p->least_vram_bytes);
    app_put_int(o, "ctx", (uint64_t)p->ctx_tok);
    app_put_int(o, "plan_peak_bytes", p->need_bytes);
    app_put_int(o, "batch", (uint64_t)p->batch_tok);
    app_put_int(o, "threads", (uint64_t)p->threads);
    app_put_int(o, "sessions", (uint64_t)p->sessions);
    app_put(o, "tiers", tiers);
    app_put(o, "experts", experts);
    app_put_real(o, "bound_tok_s", p->bound_tok_s);
    app_put(o, "bandwidth", bandwidth_json(p));
    app_put(o, "model", model_json(&p->model));
    return o;
}

static json_t *layers_json(moped_model *model) {
    int n = moped_model_expert_layers(model, NULL, 0);
    moped_expert_layer *layers = n > 0 ? calloc((size_t)n, sizeof *layers) : NULL;
    json_t *list = json_array();
    if (layers) n = moped_model_expert_layers(model, layers, n);
    for (int i = 0; layers && i < n; i++) {
        const moped_expert_layer *l = &layers[i];
        json_t *o = json_object();
        app_put_int(o, "layer", (uint64_t)l->layer);
        app_put_int(o, "accesses", l->accesses);
        app_put_int(o, "hits", l->hits);
        app_put_int(o, "misses", l->misses);
        app_put_int(o, "disk_bytes", l->disk_bytes);
        app_put_int(o, "stall_ns", l->stall_ns);
        app_put_int(o, "used_experts", l->used);
        app_put_int(o, "resident", l->resident);
        json_array_append_new(list, o);
    }
    free(layers);
    return list;
}

json_t *app_experts_json(moped_model *model) {
    moped_expert_stats s;
    json_t *o = json_object(), *prefetch = json_object(), *tiers = json_object();
    moped_model_experts(model, &s);
    app_put_int(o, "accesses", s.accesses);
    app_put_int(o, "hits", s.hits);
    app_put_int(o, "misses", s.misses);
    app_put_int(o, "loads", s.loads);
    app_put_int(o, "disk_bytes", s.disk_bytes);
    app_put_int(o, "reads_in_flight", s.reads_in_flight);
    app_put_int(o, "evictions", s.evictions);
    app_put_int(o, "upload_bytes", s.upload_bytes);
    app_put_int(o, "computed", s.computed);
    app_put_int(o, "stall_ns", s.stall_ns);
    app_put_int(o, "slots", s.slots);
    app_put_int(o, "resident", s.resident);
    app_put_int(o, "pages", s.pages);
    app_put_int(prefetch, "issued", s.prefetch_issued);
    app_put_int(prefetch, "used", s.prefetch_used);
    app_put_int(prefetch, "late", s.prefetch_late);
    app_put_int(prefetch, "wasted_bytes", s.prefetch_wasted_bytes);
    app_put(o, "prefetch", prefetch);
    for (int t = 0; t < MOPED_TIER_COUNT; t++) app_put_int(tiers, moped_tier_name((moped_tier)t), s.tier_bytes[t]);
    app_put(o, "tier_bytes", tiers);
    app_put(o, "layers", layers_json(model));
    return o;
}
