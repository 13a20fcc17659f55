/* What a person sees while a model loads:
 *
 *   plan   weights 17.3G = ram 7.1G + disk 10.2G | kv 0.4G (8192) | work 0.2G | budget ram 8G → fits, about 5.1 tok/s
 *   load   [########--------] 52%  0.9G/1.7G  2.9G/s  ETA 1s   dense weights
 *   ready  1.8s   ram 7.96G of 8.00G (plan 7.93G, +0.4%)
 *
 * All of it goes to stderr, and only when that is a terminal or with -v. */
#include <string.h>

#include "app/app.h"
#include "app/json.h"
#include "base/os.h"
#include "base/size.h"

enum { REDRAW_NS = 100000000, BAR_WIDTH = 16 };

static uint64_t tier_sum(const moped_plan_info *p, moped_tier tier) {
    return p->bytes[tier][MOPED_OWN_WEIGHTS] + p->bytes[tier][MOPED_OWN_EXPERTS];
}

void app_plan_line(FILE *to, const moped_plan_info *p) {
    char a[MP_SIZE_TEXT], b[MP_SIZE_TEXT], c[MP_SIZE_TEXT], d[MP_SIZE_TEXT], e[MP_SIZE_TEXT], f[MP_SIZE_TEXT];
    const uint64_t *ram = p->bytes[MOPED_TIER_RAM];
    /* the slots in RAM hold copies of what lies on disk, so the parts add up to more than the whole only on paper */
    uint64_t in_ram = tier_sum(p, MOPED_TIER_RAM), on_disk = p->bytes[MOPED_TIER_DISK][MOPED_OWN_EXPERTS];
    fprintf(to, "plan   weights %s = ram %s + disk %s | kv %s (%d) | work %s | budget ram %s → %s", mp_size_format(p->model.file_bytes, a),
            mp_size_format(in_ram, b), mp_size_format(on_disk, c), mp_size_format(ram[MOPED_OWN_KV], d), p->ctx_tok,
            mp_size_format(ram[MOPED_OWN_WORK], e), mp_size_format(p->budget_bytes, f), p->fits ? "fits" : "does not fit");
    if (p->fits && p->bound_tok_s > 0)
        fprintf(to, ", at most %.*f tok/s%s", p->bound_tok_s < 100 ? 1 : 0, p->bound_tok_s, p->bandwidth_assumed ? " (bandwidths assumed)" : "");
}

static void draw_bar(const app_ui *ui, const char *stage, uint64_t done, uint64_t total, uint64_t now) {
    char bar[BAR_WIDTH + 1], a[MP_SIZE_TEXT], b[MP_SIZE_TEXT], c[MP_SIZE_TEXT];
    double share = total ? (double)done / (double)total : 1, seconds = (double)(now - ui->start_ns) * 1e-9;
    int full = (int)(share * BAR_WIDTH);
    double rate = seconds > 0 ? (double)done / seconds : 0;
    for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i < full ? '#' : '-';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\rload   [%s] %3.0f%%  %s/%s  %s/s", bar, share * 100, mp_size_format(done, a), mp_size_format(total, b),
            mp_size_format((uint64_t)rate, c));
    if (rate > 0) fprintf(stderr, "  ETA %.0fs", (double)(total - done) / rate);
    fprintf(stderr, "   %s\033[K", stage);
    fflush(stderr);
}

/* The library calls this while it loads; nonzero stops it. */
static int on_progress(void *user, const char *stage, uint64_t done, uint64_t total) {
    app_ui *ui = user;
    uint64_t now = mp_now_ns();
    if (app_signal()) return 1;
    if (!ui->bar || (done < total && now - ui->last_ns < REDRAW_NS)) return 0;
    ui->last_ns = now;
    ui->bar_drawn = true;
    draw_bar(ui, stage, done < total ? done : total, total, now);
    return 0;
}

static void ready_line(moped_model *model, const app_ui *ui) {
    char a[MP_SIZE_TEXT], b[MP_SIZE_TEXT], c[MP_SIZE_TEXT];
    moped_memory m;
    moped_model_memory(model, &m);
    double off = m.plan_peak_bytes ? 100.0 * ((double)m.peak_bytes / (double)m.plan_peak_bytes - 1) : 0;
    fprintf(stderr, "%sready  %.1fs   ram %s of %s (plan %s, %+.1f%%)\n", ui->bar_drawn ? "\r\033[K" : "",
            (double)(mp_now_ns() - ui->start_ns) * 1e-9, mp_size_format(m.peak_bytes, a), mp_size_format(m.budget_bytes, b),
            mp_size_format(m.plan_peak_bytes, c), off);
}

mp_err app_model_open(const moped_options *options, app_ui *ui, moped_model **out) {
    moped_options o = *options;
    moped_plan_info plan;
    *out = NULL;
    ui->start_ns = mp_now_ns();
    mp_err e = moped_plan(&o, &plan);
    if (e && e != MOPED_E_BUDGET) return e;
    if (ui->show) {
        app_plan_line(stderr, &plan);
        fputc('\n', stderr);
    }
    if (e) return e;
    if (ui->show && plan.budget_chosen) {
        char size[MP_SIZE_TEXT];
        fprintf(stderr, "ram    no --ram given: taking %s, what is free less the headroom\n", mp_size_format(plan.budget_bytes, size));
    }
    o.progress = on_progress;
    o.user = ui;
    e = moped_model_open(&o, out);
    if (e && ui->bar_drawn) fputc('\n', stderr);
    if (!e && ui->show) ready_line(*out, ui);
    ui->bar_drawn = false;
    return e;
}

static json_t *tier_json(const uint64_t *bytes) {
    json_t *o = json_object();
    for (int i = 0; i < MOPED_OWN_COUNT; i++) json_object_set_new(o, moped_owner_name((moped_owner)i), json_integer((json_int_t)bytes[i]));
    return o;
}

void *app_owners_json(const moped_memory *m) {
    json_t *o = json_object();
    for (int i = 0; i < MOPED_OWN_COUNT; i++)
        json_object_set_new(o, moped_owner_name((moped_owner)i), json_pack("{s:I s:I s:I}", "plan_bytes", (json_int_t)m->owner[i].plan_bytes,
                            "used_bytes", (json_int_t)m->owner[i].used_bytes, "peak_bytes", (json_int_t)m->owner[i].peak_bytes));
    return o;
}

static json_t *model_json(const moped_model_info *m) {
    return json_pack("{s:o s:o s:o s:I s:I s:i s:i s:i s:i s:i s:i s:i s:i s:i s:I s:I s:I s:I s:b s:b}",
                     "name", app_json_text(m->name, strlen(m->name)), "arch", app_json_text(m->arch, strlen(m->arch)),
                     "quant", app_json_text(m->quant, strlen(m->quant)), "file_bytes", (json_int_t)m->file_bytes,
                     "parameters", (json_int_t)m->parameters, "layers", m->layers, "width", m->width, "heads", m->heads,
                     "kv_heads", m->kv_heads, "experts", m->experts, "experts_used", m->experts_used, "moe_layers", m->moe_layers,
                     "vocab", m->vocab, "ctx_train", m->ctx_train, "expert_bytes", (json_int_t)m->expert_bytes,
                     "dense_bytes_per_tok", (json_int_t)m->dense_bytes_per_tok, "expert_bytes_per_tok", (json_int_t)m->expert_bytes_per_tok,
                     "kv_bytes_per_tok", (json_int_t)m->kv_bytes_per_tok, "has_vocab", m->has_vocab, "has_template", m->has_template);
}

void *app_plan_json(const moped_plan_info *p) {
    json_t *tiers = json_object();
    for (int t = 0; t < MOPED_TIER_COUNT; t++) json_object_set_new(tiers, moped_tier_name((moped_tier)t), tier_json(p->bytes[t]));
    return json_pack("{s:b s:I s:I s:i s:I s:b s:i s:I s:i s:i s:i s:o s:{s:I s:I} s:f s:{s:f s:f s:b} s:o}",
                     "fits", p->fits, "need_bytes", (json_int_t)p->need_bytes, "least_ram_bytes", (json_int_t)p->least_ram_bytes,
                     "largest_ctx", p->largest_ctx, "budget_bytes", (json_int_t)p->budget_bytes, "budget_chosen", p->budget_chosen,
                     "ctx", p->ctx_tok, "plan_peak_bytes", (json_int_t)p->need_bytes, "batch", p->batch_tok, "threads", p->threads,
                     "sessions", p->sessions, "tiers", tiers, "experts", "pages", (json_int_t)p->expert_pages, "slots", (json_int_t)p->expert_slots,
                     "bound_tok_s", p->bound_tok_s, "bandwidth", "ram_bps", p->ram_bps, "disk_bps", p->disk_bps, "assumed", p->bandwidth_assumed,
                     "model", model_json(&p->model));
}
