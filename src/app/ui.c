/* What a person sees while a model loads:
 *
 *   plan   weights 17.3G = ram 7.1G + disk 10.2G | kv 0.4G (8192) | work 0.2G | budget ram 8G → fits, at most 5.1 tok/s
 *   load   [########--------] 52%  0.9G/1.7G  2.9G/s  ETA 1s   dense weights
 *   ready  1.8s   ram 1.70G of 8.00G (plan 7.93G), 2304 slots for experts to fill, read by pread:8
 *
 * All of it goes to stderr, and only when that is a terminal or with -v. */
#include "app/app.h"
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
            mp_size_format(in_ram, b), mp_size_format(on_disk, c), mp_size_format(ram[MOPED_OWN_KV] + p->bytes[MOPED_TIER_VRAM][MOPED_OWN_KV], d), p->ctx_tok,
            mp_size_format(ram[MOPED_OWN_WORK], e), mp_size_format(p->budget_bytes, f), p->fits ? "fits" : "does not fit");
    if (p->vram_budget_bytes)
        fprintf(to, ", vram %s of %s (%u of %u experts)", mp_size_format(p->vram_need_bytes, a), mp_size_format(p->vram_budget_bytes, b), p->expert_vram_slots,
                p->expert_pages);
    if (p->fits && p->bound_tok_s > 0)
        fprintf(to, ", at most %.*f tok/s%s", p->bound_tok_s < 100 ? 1 : 0, p->bound_tok_s, p->bandwidth_assumed ? " (bandwidths assumed)" : "");
}

static void draw_bar(const app_ui *ui, const char *label, const char *stage, uint64_t done, uint64_t total) {
    char bar[BAR_WIDTH + 1], a[MP_SIZE_TEXT], b[MP_SIZE_TEXT], c[MP_SIZE_TEXT];
    double share = total ? (double)done / (double)total : 1, seconds = (double)(ui->last_ns - ui->start_ns) * 1e-9;
    int full = (int)(share * BAR_WIDTH);
    double rate = seconds > 0 ? (double)done / seconds : 0;
    for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i < full ? '#' : '-';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%-6s [%s] %3.0f%%  %s/%s  %s/s", label, bar, share * 100, mp_size_format(done, a), mp_size_format(total, b),
            mp_size_format((uint64_t)rate, c));
    if (rate > 0) fprintf(stderr, "  ETA %.0fs", (double)(total - done) / rate);
    fprintf(stderr, "   %s\033[K", stage);
    fflush(stderr);
}

void app_ui_bar(app_ui *ui, const char *label, const char *stage, uint64_t done, uint64_t total) {
    uint64_t now = mp_now_ns();
    if (!ui->bar || (done < total && now - ui->last_ns < REDRAW_NS)) return;
    ui->last_ns = now;
    ui->bar_drawn = true;
    draw_bar(ui, label, stage, done < total ? done : total, total);
}

/* The library calls this while it loads; nonzero stops it. */
static int on_progress(void *user, const char *stage, uint64_t done, uint64_t total) {
    if (app_signal()) return 1;
    app_ui_bar(user, "load", stage, done, total);
    return 0;
}

static void ready_line(moped_model *model, const app_ui *ui, const char *io) {
    char a[MP_SIZE_TEXT], b[MP_SIZE_TEXT], c[MP_SIZE_TEXT];
    moped_memory m;
    moped_model_memory(model, &m);
    moped_expert_stats experts;
    moped_model_experts(model, &experts);
    fprintf(stderr, "%sready  %.1fs   ram %s of %s (plan %s)", ui->bar_drawn ? "\r\033[K" : "", (double)(mp_now_ns() - ui->start_ns) * 1e-9,
            mp_size_format(m.now_bytes, a), mp_size_format(m.budget_bytes, b), mp_size_format(m.plan_peak_bytes, c));
    if (m.vram_budget_bytes)
        fprintf(stderr, ", vram %s of %s", mp_size_format(m.vram_now_bytes, a), mp_size_format(m.vram_budget_bytes, b));
    if (experts.slots > experts.resident) /* they are filled as tokens ask for them */
        fprintf(stderr, ", %u slots for experts to fill, read by %s", experts.slots - experts.resident, io);
    fputc('\n', stderr);
}

/* The plan and ram lines. Errors: as moped_plan. */
static mp_err tell_plan(const moped_options *options) {
    char size[MP_SIZE_TEXT];
    moped_plan_info plan;
    mp_err e = moped_plan(options, &plan);
    if (e && e != MOPED_E_BUDGET) return e;
    app_plan_line(stderr, &plan);
    fputc('\n', stderr);
    if (!e && plan.budget_chosen)
        fprintf(stderr, "ram    no --ram given: taking %s, what is free less the headroom\n", mp_size_format(plan.budget_bytes, size));
    return e;
}

mp_err app_model_open(const moped_options *options, app_ui *ui, moped_model **out) {
    moped_options o = *options;
    *out = NULL;
    ui->start_ns = mp_now_ns();
    mp_err e = ui->show ? tell_plan(&o) : MP_OK; /* nobody looks: opening plans by itself */
    if (e) return e;
    o.progress = on_progress;
    o.user = ui;
    e = moped_model_open(&o, out);
    if (e && ui->bar_drawn) fputc('\n', stderr);
    if (!e && ui->show) ready_line(*out, ui, o.io ? o.io : "pread:8");
    ui->bar_drawn = false;
    return e;
}

void app_model_close(moped_model **model) {
    char sentence[1024]; /* of an error that the command is about to report */
    snprintf(sentence, sizeof sentence, "%s", mp_err_text());
    if (*model && moped_model_save_profile(*model)) fprintf(stderr, "moped: what was learned about the experts is not kept: %s\n", moped_error());
    if (*model && moped_model_end_trace(*model)) fprintf(stderr, "moped: %s\n", moped_error());
    moped_model_close(model);
    mp_fail(MP_E_FAILED, "%s", sentence);
}
