/* moped plan: what a model will need and where it will go, before anything is loaded. */
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/json.h"
#include "app/plan_json.h"
#include "app/text.h"
#include "base/size.h"

/* "7.6B", "30.5B", "260K": parameters count in thousands. */
static const char *count_text(uint64_t n, char buf[16]) {
    static const struct { double unit; const char *name; } UNITS[] = {{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}};
    size_t i = 0;
    while (i < 3 && (double)n < UNITS[i].unit) i++;
    snprintf(buf, 16, "%.3g%s", (double)n / UNITS[i].unit, UNITS[i].name);
    return buf;
}

static void print_model(const moped_model_info *m) {
    char size[MP_SIZE_TEXT], a[MP_SIZE_TEXT], b[MP_SIZE_TEXT], count[16];
    printf("model      %s, %s, %s, %s parameters, %s\n", *m->name ? m->name : "(no name)", m->arch, m->quant, count_text(m->parameters, count),
           mp_size_format(m->file_bytes, size));
    printf("           %d layers, width %d, %d heads (%d for keys and values), context %d\n", m->layers, m->width, m->heads, m->kv_heads,
           m->ctx_train);
    if (m->experts > 0)
        printf("           %d experts in %d layers, %d used for a token; experts %s\n", m->experts, m->moe_layers, m->experts_used,
               mp_size_format(m->expert_bytes, size));
    printf("           read for one token: %s dense, %s of experts; one token of context: %s\n", mp_size_format(m->dense_bytes_per_tok, a),
           mp_size_format(m->expert_bytes_per_tok, b), mp_size_format(m->kv_bytes_per_tok, size));
}

static void print_table(const moped_plan_info *p) {
    char text[MP_SIZE_TEXT];
    uint64_t sum[MOPED_TIER_COUNT] = {0};
    printf("\n%-11s", "");
    for (int t = 0; t < MOPED_TIER_COUNT; t++) printf("%10s", moped_tier_name((moped_tier)t));
    printf("\n");
    for (int o = 0; o < MOPED_OWN_COUNT; o++) {
        printf("%-11s", moped_owner_name((moped_owner)o));
        for (int t = 0; t < MOPED_TIER_COUNT; t++) {
            sum[t] += p->bytes[t][o];
            printf("%10s", p->bytes[t][o] ? mp_size_format(p->bytes[t][o], text) : "-");
        }
        printf("\n");
    }
    printf("%-11s", "together");
    for (int t = 0; t < MOPED_TIER_COUNT; t++) printf("%10s", sum[t] ? mp_size_format(sum[t], text) : "-");
    printf("\n\n");
}

static void print_verdict(const moped_plan_info *p) {
    char a[MP_SIZE_TEXT], b[MP_SIZE_TEXT], c[MP_SIZE_TEXT];
    printf("budget     ram %s%s\n", mp_size_format(p->budget_bytes, a), p->budget_chosen ? " (what is free, less the headroom)" : "");
    if (p->vram_budget_bytes)
        printf("           vram %s%s; peak %s, least %s\n", mp_size_format(p->vram_budget_bytes, a), p->vram_chosen ? " (what is free there)" : "",
               mp_size_format(p->vram_need_bytes, b), mp_size_format(p->least_vram_bytes, c));
    printf("%s %s, context %d, batch %d, %d thread%s\n", p->fits ? "peak      " : "needs     ", mp_size_format(p->need_bytes, b), p->ctx_tok,
           p->batch_tok, p->threads, p->threads == 1 ? "" : "s");
    printf("least      ram %s with this context; largest context with this budget: %d\n", mp_size_format(p->least_ram_bytes, c), p->largest_ctx);
    if (p->expert_pages > 0 && p->vram_budget_bytes)
        printf("experts    %u of %u stay in vram (%.1f%%)\n", p->expert_vram_slots, p->expert_pages, 100.0 * p->expert_vram_slots / p->expert_pages);
    if (p->expert_pages > 0)
        printf("experts    %u of %u stay in ram (%.1f%%)\n", p->expert_slots, p->expert_pages, 100.0 * p->expert_slots / p->expert_pages);
    if (p->bound_tok_s > 0)
        printf("bound      %.2f tok/s: every byte once, %sram at %.1f GB/s, disk at %.2f GB/s%s\n", p->bound_tok_s,
               p->vram_bps > 0 ? "vram at 400 GB/s (assumed), " : "", p->ram_bps * 1e-9, p->disk_bps * 1e-9, p->bandwidth_assumed ? " (assumed: `moped doctor` measures them)" : "");
    printf("%s\n", p->fits ? "fits" : "does not fit");
}

static mp_err print_plan(const app_flags *flags, const moped_plan_info *p) {
    bool solve = app_given(flags, F_SOLVE);
    if (!app_on(flags, F_JSON)) {
        if (solve) {
            printf("%d\n", p->largest_ctx);
        } else {
            print_model(&p->model);
            print_table(p);
            print_verdict(p);
        }
        return MP_OK;
    }
    json_t *o = solve ? json_object() : app_plan_json(p);
    if (solve) {
        app_put_int(o, "largest_ctx", (uint64_t)p->largest_ctx);
        app_put_int(o, "budget_bytes", p->budget_bytes);
    }
    mp_err e = app_json_print(stdout, o);
    json_decref(o);
    return e;
}

int app_plan(app_flags *flags) {
    char *path = NULL, *profiles = NULL;
    app_ui ui;
    moped_options options;
    moped_plan_info plan;
    mp_err e = app_model_path(flags, false, &path);
    if (!e) e = app_options(flags, &ui, &options);
    if (!e) e = app_options_profile(flags, true, &options, &profiles); /* as run does: the same figures */
    if (!e) {
        options.path = path;
        app_options_bandwidth(&ui, &options);
        e = moped_plan(&options, &plan);
        if (!e || e == MOPED_E_BUDGET) {
            /* a context that was solved for is an answer, whether the default one fits or not */
            if (app_given(flags, F_SOLVE) && plan.largest_ctx > 0) e = MP_OK;
            mp_err printed = print_plan(flags, &plan);
            if (printed) e = printed;
        }
    }
    free(profiles);
    free(path);
    return app_report(e);
}
