/* One answer. */
#include "app/answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app/json.h"
#include "app/plan_json.h"
#include "base/size.h"

static int on_token(void *user, int32_t token, const char *text, size_t n) {
    app_runner *r = user;
    (void)token;
    if (r->stream && n > 0) {
        r->wrote_newline = text[n - 1] == '\n';
        if (fwrite(text, 1, n, stdout) != n || fflush(stdout) != 0) return r->write_failed = true, 1;
    }
    return app_signal() != 0;
}

static int on_prefill(void *user, int64_t done, int64_t total) {
    (void)user, (void)done, (void)total;
    return app_signal() != 0;
}

/* Tokens of the chat; with --context-shift the oldest turns go until the question fits with some room to answer. */
static mp_err chat_tokens(app_runner *r, app_ids *ids) {
    size_t room = (size_t)moped_model_plan(r->model)->ctx_tok;
    for (;;) {
        mp_err e = app_chat_ids(&r->chat, ids);
        if (e || ids->n + room / 8 < room) return e;
        if (!app_on(r->flags, F_SHIFT) || r->chat.raw || !app_chat_drop_oldest(&r->chat)) return MP_OK;
        app_ids_deinit(ids);
    }
}

/* The flags may have changed since the last answer (/set); a random seed is drawn once a run. */
static mp_err refresh_sampling(app_runner *r) {
    moped_bias *bias = NULL;
    mp_err e = app_sampling(r->flags, r->model, &r->sampling, &bias);
    free(r->bias);
    r->bias = bias;
    bool given = app_given(r->flags, F_SEED) && r->flags->values[F_SEED].integer >= 0;
    if (!r->seeded) r->seed = r->sampling.seed;
    if (!given) r->sampling.seed = r->seed;
    r->seeded = true;
    r->sampling.seed += r->rerolls;
    return e;
}

mp_err app_answer(app_runner *r) {
    app_ids ids = {0};
    const app_value *stop = &r->flags->values[F_STOP];
    int keep = app_int(r->flags, F_KEEP, 0), most = app_int(r->flags, F_PREDICT, -1);
    mp_err e = refresh_sampling(r);
    if (!e) e = chat_tokens(r, &ids);
    if (!e && ids.n == 0) e = mp_fail(MP_E_USAGE, "the prompt is empty, and this model has no begin token to start from");
    if (!e && most == 0) e = mp_fail(MP_E_USAGE, "-n 0 asks for no answer at all");
    if (e) return app_ids_deinit(&ids), e;
    moped_request request = {
        .tokens = ids.ids, .n_tokens = ids.n, .max_tokens = most > 0 ? most : 0, .sampling = &r->sampling,
        .stop = (const char *const *)stop->texts, .n_stop = stop->n_texts,
        .ignore_eos = app_on(r->flags, F_IGNORE_EOS), .show_special = app_on(r->flags, F_SPECIAL),
        .context_shift = app_on(r->flags, F_SHIFT), .keep_tok = keep < 0 ? (int)ids.n : keep,
        .on_token = on_token, .on_prefill = on_prefill, .user = r,
    };
    r->wrote_newline = true;
    r->write_failed = false;
    e = moped_generate(r->session, &request, &r->last);
    app_ids_deinit(&ids);
    if (r->write_failed) return mp_fail(MP_E_FAILED, "cannot write the answer: %s", strerror(errno));
    return e;
}

/* Decode time runs from the first token on, so it holds one token less than the answer. */
static double decode_rate(const moped_result *a) {
    return a->decode_ns > 0 && a->n_tokens > 1 ? (double)(a->n_tokens - 1) * 1e9 / (double)a->decode_ns : 0;
}

static double prefill_rate(const moped_result *a) {
    return a->prefill_ns > 0 ? (double)(a->prompt_tokens - a->reused_tokens) * 1e9 / (double)a->prefill_ns : 0;
}

static json_t *timings_json(const app_runner *r) {
    const moped_result *a = &r->last;
    json_t *o = json_object();
    app_put_real(o, "load_ms", (double)r->load_ns * 1e-6);
    app_put_real(o, "prompt_ms", (double)a->prefill_ns * 1e-6);
    app_put_real(o, "predicted_ms", (double)a->decode_ns * 1e-6);
    app_put_real(o, "prompt_per_second", prefill_rate(a));
    app_put_real(o, "predicted_per_second", decode_rate(a));
    return o;
}

/* Of the answer; "total": since loading. */
static json_t *expert_json(const app_runner *r) {
    const moped_result *a = &r->last;
    json_t *o = json_object();
    app_put_int(o, "accesses", a->expert_accesses);
    app_put_int(o, "hits", a->expert_hits);
    app_put_int(o, "misses", a->expert_accesses - a->expert_hits);
    app_put_int(o, "disk_bytes", a->disk_bytes);
    app_put(o, "total", app_experts_json(r->model));
    return o;
}

static json_t *memory_json(moped_model *model) {
    moped_memory m;
    json_t *o = json_object();
    moped_model_memory(model, &m);
    app_put_int(o, "ram_budget_bytes", m.budget_bytes);
    app_put_int(o, "ram_peak_bytes", m.peak_bytes);
    app_put_int(o, "plan_peak_bytes", m.plan_peak_bytes);
    app_put_int(o, "vram_budget_bytes", m.vram_budget_bytes);
    app_put_int(o, "vram_plan_bytes", m.vram_plan_bytes);
    app_put_int(o, "vram_peak_bytes", m.vram_peak_bytes);
    app_put(o, "owners", app_owners_json(&m));
    return o;
}

mp_err app_answer_json(const app_runner *r) {
    const moped_result *a = &r->last;
    json_t *o = json_object();
    app_put(o, "text", app_json_text(a->text, a->n_text));
    app_put(o, "tokens", app_json_tokens(a->tokens, a->n_tokens));
    app_put_int(o, "prompt_tokens", a->prompt_tokens);
    app_put_int(o, "completion_tokens", a->n_tokens);
    app_put_text(o, "finish_reason", moped_finish_name(a->finish));
    app_put_int(o, "seed", r->sampling.seed);
    app_put(o, "timings", timings_json(r));
    app_put(o, "expert", expert_json(r));
    app_put(o, "memory", memory_json(r->model));
    mp_err e = app_json_print(stdout, o);
    json_decref(o);
    return e;
}

static double percent(uint64_t part, uint64_t whole) {
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

/* Which layers the cache serves worst and best, and which one waits most. */
static void layer_line(FILE *to, moped_model *model) {
    int n = moped_model_expert_layers(model, NULL, 0), used = 0;
    moped_expert_layer *l = n > 0 ? calloc((size_t)n, sizeof *l) : NULL;
    const moped_expert_layer *worst = l, *best = l, *slow = l;
    if (l) n = moped_model_expert_layers(model, l, n);
    for (int i = 0; l && i < n; i++) {
        used += (int)l[i].used;
        if (percent(l[i].hits, l[i].accesses) < percent(worst->hits, worst->accesses)) worst = &l[i];
        if (percent(l[i].hits, l[i].accesses) > percent(best->hits, best->accesses)) best = &l[i];
        if (l[i].stall_ns > slow->stall_ns) slow = &l[i];
    }
    if (l)
        fprintf(to, "         layers: %.1f%% hits (layer %d) to %.1f%% (layer %d), layer %d waited most, %.1fs; %d experts were ever used\n",
                percent(worst->hits, worst->accesses), worst->layer, percent(best->hits, best->accesses), best->layer, slow->layer,
                (double)slow->stall_ns * 1e-9, used);
    free(l);
}

static void expert_lines(FILE *to, const app_runner *r, const moped_expert_stats *s) {
    char a[MP_SIZE_TEXT];
    const moped_result *x = &r->last;
    fprintf(to, "experts  last answer: %llu accesses, %.1f%% hits, %s from disk\n", (unsigned long long)x->expert_accesses,
            percent(x->expert_hits, x->expert_accesses), mp_size_format(x->disk_bytes, a));
    bool gpu = moped_model_plan(r->model)->vram_budget_bytes != 0;
    fprintf(to, "         since loading: %llu accesses, %.1f%% hits, %s from disk, %u of %u in %s, waited %.1fs\n",
            (unsigned long long)s->accesses, percent(s->hits, s->accesses), mp_size_format(s->disk_bytes, a), s->resident, s->pages,
            gpu ? "vram" : "ram", (double)s->stall_ns * 1e-9);
    if (gpu)
        fprintf(to, "         %s went up to vram, %llu were computed by the processor\n", mp_size_format(s->upload_bytes, a),
                (unsigned long long)s->computed);
    fprintf(to, "         %llu misses, %llu read (%u now), %llu evicted; guessed ahead: %llu read, %llu used, %llu late, %s wasted\n",
            (unsigned long long)s->misses, (unsigned long long)s->loads, s->reads_in_flight, (unsigned long long)s->evictions,
            (unsigned long long)s->prefetch_issued, (unsigned long long)s->prefetch_used, (unsigned long long)s->prefetch_late,
            mp_size_format(s->prefetch_wasted_bytes, a));
    if (s->misses) layer_line(to, r->model);
}

void app_answer_stats(FILE *to, const app_runner *r) {
    char a[MP_SIZE_TEXT], b[MP_SIZE_TEXT], c[MP_SIZE_TEXT];
    const moped_result *x = &r->last;
    moped_memory m;
    moped_expert_stats s;
    moped_model_memory(r->model, &m);
    moped_model_experts(r->model, &s);
    fprintf(to, "prompt   %zu tokens (%zu reused), %.1f tok/s\n", x->prompt_tokens, x->reused_tokens, prefill_rate(x));
    fprintf(to, "answer   %zu tokens, %.2f tok/s, finish: %s, seed %llu\n", x->n_tokens, decode_rate(x), moped_finish_name(x->finish),
            (unsigned long long)r->sampling.seed);
    fprintf(to, "context  %zu of %d tokens\n", moped_session_length(r->session), moped_model_plan(r->model)->ctx_tok);
    if (s.pages > 0) expert_lines(to, r, &s);
    fprintf(to, "memory   peak %s of %s (plan %s)\n", mp_size_format(m.peak_bytes, a), mp_size_format(m.budget_bytes, b),
            mp_size_format(m.plan_peak_bytes, c));
    if (m.vram_budget_bytes)
        fprintf(to, "vram     peak %s of %s (plan %s)\n", mp_size_format(m.vram_peak_bytes, a), mp_size_format(m.vram_budget_bytes, b),
                mp_size_format(m.vram_plan_bytes, c));
}
