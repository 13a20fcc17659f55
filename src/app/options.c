/* From flags to the structs of moped.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "app/app.h"
#include "app/doctor/machine.h"
#include "app/paths.h"
#include "base/os.h"
#include "base/size.h"

static void log_line(void *user, moped_log_level level, const char *text) {
    const app_ui *ui = user;
    if (level > (ui->verbose ? MOPED_LOG_INFO : MOPED_LOG_WARN)) return;
    fprintf(stderr, "%s%s\n", ui->bar_drawn ? "\n" : "", text);
}

/* --kv, -ctk and -ctv mean one thing; the strongest source says it, and those that are equally strong must agree. */
static mp_err kv_type(const app_flags *flags, moped_kv_type *out) {
    static const app_flag_id SAME[] = {F_KV, F_CTK, F_CTV};
    const char *chosen = NULL, *where = NULL;
    app_source best = APP_FROM_DEFAULT;
    for (size_t i = 0; i < sizeof SAME / sizeof *SAME; i++) {
        const app_value *v = &flags->values[SAME[i]];
        if (v->source == APP_FROM_DEFAULT || v->source < best) continue;
        if (chosen && v->source == best && strcmp(chosen, app_text(flags, SAME[i])) != 0)
            return mp_fail(MP_E_USAGE, "%s says %s and %s says %s: keys and values have one type here, so they must agree", where, chosen,
                           v->where, app_text(flags, SAME[i]));
        chosen = app_text(flags, SAME[i]);
        where = v->where;
        best = v->source;
    }
    *out = !chosen ? MOPED_KV_DEFAULT : strcmp(chosen, "f32") == 0 ? MOPED_KV_F32 : MOPED_KV_F16;
    return MP_OK;
}

static mp_err check_isa(const char *isa) {
    char known[128] = "";
    const char *name;
    for (int i = 0; isa && (name = moped_isa_at(i)) != NULL; i++) {
        if (strcmp(isa, name) == 0) return MP_OK;
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", name);
    }
    return isa ? mp_fail(MP_E_USAGE, "this processor cannot run the instruction set \"%s\"; it can run: %s", isa, known) : MP_OK;
}

static mp_err vram_bytes(const char *text, uint64_t *out) {
    *out = 0;
    if (!text) return MP_OK;
    if (strcmp(text, "auto") == 0) {
        *out = MOPED_VRAM_AUTO;
        return MP_OK;
    }
    if (mp_size_parse(text, out) != MP_OK || *out == 0)
        return mp_fail(MP_E_USAGE, "--vram takes a size such as 11G, or auto, not \"%s\"", text);
    return MP_OK;
}

mp_err app_options(const app_flags *flags, app_ui *ui, moped_options *out) {
    *ui = (app_ui){.verbose = app_on(flags, F_VERBOSE), .bar = isatty(STDERR_FILENO) != 0};
    ui->show = ui->verbose || ui->bar;
    *out = (moped_options){
        .path = app_text(flags, F_MODEL),
        .ram_bytes = app_bytes(flags, F_RAM),
        .headroom_bytes = app_bytes(flags, F_HEADROOM),
        .ctx_tok = app_int(flags, F_CTX, 0),
        .batch_tok = app_int(flags, F_BATCH, 0),
        .threads = app_int(flags, F_THREADS, 0),
        .deterministic = app_on(flags, F_DETERMINISTIC),
        .no_paging = app_on(flags, F_NO_PAGING),
        .isa = app_text(flags, F_ISA),
        .expert_policy = app_text(flags, F_POLICY),
        .io = app_text(flags, F_IO),
        .trace = app_text(flags, F_TRACE),
        .routing = app_text(flags, F_ROUTING),
        .log = log_line,
        .user = ui,
    };
    mp_err e = vram_bytes(app_text(flags, F_VRAM), &out->vram_bytes);
    if (e) return e;
    const char *prefetch = app_text(flags, F_PREFETCH);
    if (prefetch && strcmp(prefetch, "auto") != 0) out->prefetch = strcmp(prefetch, "on") == 0 ? MOPED_PREFETCH_ON : MOPED_PREFETCH_OFF;
    e = kv_type(flags, &out->kv);
    return e ? e : check_isa(out->isa);
}

void app_options_bandwidth(app_ui *ui, moped_options *options) {
    app_bandwidth known;
    app_machine_cached(options->path, &known);
    options->ram_bps = known.ram_bps;
    options->disk_bps = known.disk_bps;
    memcpy(ui->io, known.io, sizeof ui->io);
    if (!options->io && ui->io[0]) options->io = ui->io;
}

mp_err app_profiles(char **out) {
    return app_path(APP_DIR_CACHE, "profiles/", 0, out);
}

mp_err app_options_profile(const app_flags *flags, bool automatic, moped_options *options, char **own) {
    const char *named = app_text(flags, F_EXPERT_PROFILE);
    *own = NULL;
    if (named && strcmp(named, "none") == 0) return MP_OK;
    if (named && !*named) return mp_fail(MP_E_USAGE, "--expert-profile needs a file, or none");
    if (named) {
        options->expert_profile = named;
    } else if (automatic && app_profiles(own) == MP_OK) { /* nowhere to keep it: no reason not to run */
        options->expert_profile = options->profile_out = *own;
    }
    return MP_OK;
}

static mp_err biases(const app_flags *flags, moped_sampling *s, moped_bias **bias) {
    const app_value *v = &flags->values[F_BIAS];
    *bias = NULL;
    if (v->n_texts == 0) return MP_OK;
    moped_bias *list = calloc((size_t)v->n_texts, sizeof *list);
    if (!list) return mp_fail(MP_E_FAILED, "out of memory");
    for (int i = 0; i < v->n_texts; i++) {
        mp_err e = app_bias_parse(v->texts[i], &list[i].token, &list[i].bias);
        if (e) return free(list), e;
    }
    s->bias = *bias = list;
    s->n_bias = v->n_texts;
    return MP_OK;
}

/* 32 bits are enough to be random and short enough to type again. */
static uint64_t random_seed(void) {
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) seed = (uint32_t)mp_now_ns();
    return seed;
}

mp_err app_sampling(const app_flags *flags, const moped_model *model, moped_sampling *out, moped_bias **bias) {
    moped_sampling_default(model, out);
    out->temperature = (float)app_real(flags, F_TEMP, (double)out->temperature);
    out->top_k = app_int(flags, F_TOP_K, out->top_k);
    out->top_p = (float)app_real(flags, F_TOP_P, (double)out->top_p);
    out->min_p = (float)app_real(flags, F_MIN_P, (double)out->min_p);
    out->typical_p = (float)app_real(flags, F_TYPICAL, (double)out->typical_p);
    out->repeat_penalty = (float)app_real(flags, F_REPEAT_PENALTY, (double)out->repeat_penalty);
    out->repeat_last_n = app_int(flags, F_REPEAT_LAST_N, out->repeat_last_n);
    out->presence_penalty = (float)app_real(flags, F_PRESENCE, (double)out->presence_penalty);
    out->frequency_penalty = (float)app_real(flags, F_FREQUENCY, (double)out->frequency_penalty);
    int64_t seed = flags->values[F_SEED].integer;
    if (app_given(flags, F_SEED) && seed >= 0)
        out->seed = (uint64_t)seed;
    else
        out->seed = random_seed();
    return biases(flags, out, bias);
}
