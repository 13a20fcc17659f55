/* moped experts profile, pin and unpin: counting which experts a text uses, and choosing some to stay. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/experts.h"
#include "app/json.h"
#include "app/text.h"
#include "base/os.h"

enum { WINDOW = 512 };

mp_err app_profile_of(const app_flags *flags, moped_profile **out) {
    char *path = NULL, *folder = NULL;
    const char *named = app_text(flags, F_EXPERT_PROFILE);
    *out = NULL;
    if (named && strcmp(named, "none") == 0) return mp_fail(MP_E_USAGE, "--expert-profile none leaves no profile to work on");
    mp_err e = app_model_path(flags, false, &path);
    if (!e && !named) e = app_profiles(&folder);
    if (!e) e = moped_profile_open(path, named ? named : folder, out);
    free(folder);
    free(path);
    return e;
}

/* ---- profile ---- */

typedef struct count {
    size_t tokens;
    double seconds;
} count;

/* The whole text, window after window; the last one is shorter. Logits are not asked for. */
static mp_err run_text(const app_ui *ui, moped_model *model, const app_ids *ids, count *out) {
    moped_session *session = NULL;
    size_t ctx = (size_t)moped_model_plan(model)->ctx_tok;
    uint64_t start = mp_now_ns();
    mp_err e = moped_session_open(model, 0, &session);
    for (size_t at = 0; !e && at < ids->n; at += ctx) {
        size_t n = ids->n - at < ctx ? ids->n - at : ctx;
        e = moped_logits(session, ids->ids + at, n, n, NULL, NULL);
        if (!e && app_signal()) e = mp_fail(MP_E_CANCELLED, "stopped");
        if (!e && ui->bar) fprintf(stderr, "\rcount  %zu/%zu tokens ", at + n, ids->n);
    }
    if (ui->bar) fputc('\n', stderr);
    moped_session_close(&session);
    *out = (count){.tokens = ids->n, .seconds = (double)(mp_now_ns() - start) * 1e-9};
    return e;
}

static mp_err print_count(const app_flags *flags, const moped_options *options, const count *c) {
    moped_profile *profile = NULL;
    moped_profile_info info;
    mp_err e = moped_profile_open(options->path, options->profile_out, &profile);
    if (e) return e;
    moped_profile_get(profile, &info);
    double rate = c->seconds > 0 ? (double)c->tokens / c->seconds : 0;
    if (app_on(flags, F_JSON)) {
        json_t *o = json_object();
        app_put_text(o, "file", info.path);
        app_put_int(o, "tokens", c->tokens);
        app_put_int(o, "total_tokens", info.tokens);
        app_put_real(o, "seconds", c->seconds);
        app_put_real(o, "tok_s", rate);
        e = app_json_print(stdout, o);
        json_decref(o);
    } else {
        printf("%zu tokens counted in %.1fs (%.1f tok/s); %s holds %llu\n", c->tokens, c->seconds, rate, info.path, (unsigned long long)info.tokens);
    }
    moped_profile_close(&profile);
    return e;
}

static mp_err count_text(const app_flags *flags, const moped_options *options, app_ui *ui, const char *text, size_t n) {
    moped_model *model = NULL;
    app_ids ids = {0};
    count c = {0};
    mp_err e = app_model_open(options, ui, &model);
    const moped_vocab *vocab = e ? NULL : moped_model_vocab(model);
    if (!e && moped_model_plan(model)->model.experts == 0) e = mp_fail(MP_E_USAGE, "%s has no experts, so there is nothing to profile", options->path);
    if (!e && !vocab) e = mp_fail(MP_E_MODEL, "the model has no vocabulary, so it cannot read a text");
    if (!e) e = app_ids_of(vocab, text, n, MOPED_TOK_BOS, &ids);
    if (!e && ids.n == 0) e = mp_fail(MP_E_USAGE, "the text has no tokens, so there is nothing to count");
    if (!e) e = run_text(ui, model, &ids, &c);
    if (!e) e = moped_model_save_profile(model);
    if (!e) e = print_count(flags, options, &c);
    app_ids_deinit(&ids);
    moped_model_close(&model);
    return e;
}

int app_experts_profile(app_flags *flags) {
    char *path = NULL, *text = NULL, *folder = NULL;
    size_t n = 0;
    app_ui ui;
    moped_options options;
    mp_err e = app_model_path(flags, false, &path);
    if (!e) e = app_input_text(flags, NULL, &text, &n);
    if (!e && !text) e = mp_fail(MP_E_USAGE, "of what text? give -f FILE, or text on standard input");
    if (!e) e = app_options(flags, &ui, &options);
    if (!e && !app_given(flags, F_OUT)) e = app_profiles(&folder);
    if (!e) {
        options.path = path;
        options.profile_out = folder ? folder : app_text(flags, F_OUT);
        if (options.ctx_tok == 0) options.ctx_tok = WINDOW;
        e = count_text(flags, &options, &ui, text, n);
    }
    free(folder);
    free(text);
    free(path);
    return app_report(e);
}

/* ---- pin, unpin ---- */

/* One "LAYER:EXPERT". */
static mp_err pin_one(moped_profile *profile, const char *word, bool on) {
    char *end = NULL;
    errno = 0;
    long layer = strtol(word, &end, 10);
    bool ok = end != word && *end == ':' && word[0] != '-';
    const char *second = ok ? end + 1 : "";
    long expert = strtol(second, &end, 10);
    if (!ok || end == second || *end || *second == '-' || errno || layer > INT32_MAX || expert > INT32_MAX)
        return mp_fail(MP_E_USAGE, "an expert is written LAYER:EXPERT, like 3:17, not \"%.60s\"", word);
    return moped_profile_pin(profile, (int)layer, (int)expert, on);
}

static mp_err pin_list(moped_profile *profile, const char *list, bool on) {
    char *copy = strdup(list), *rest = copy, *word;
    mp_err e = copy ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
    while (!e && (word = strsep(&rest, ",")) != NULL) e = pin_one(profile, word, on);
    free(copy);
    return e;
}

static mp_err print_pins(const app_flags *flags, const moped_profile *profile) {
    moped_profile_info info;
    moped_profile_get(profile, &info);
    if (!app_on(flags, F_JSON)) return printf("%d experts are pinned in %s\n", info.pinned, info.path), MP_OK;
    bool *pins = calloc((size_t)info.experts, sizeof *pins);
    json_t *o = json_object(), *list = json_array();
    for (int i = 0; pins && i < info.layers; i++) {
        int layer = moped_profile_layer(profile, i, NULL, pins);
        for (int x = 0; x < info.experts; x++)
            if (pins[x]) json_array_append_new(list, json_pack("[i,i]", layer, x));
    }
    app_put_text(o, "file", info.path);
    app_put(o, "pinned", list);
    mp_err e = pins ? app_json_print(stdout, o) : mp_fail(MP_E_FAILED, "out of memory");
    json_decref(o);
    free(pins);
    return e;
}

static int edit_pins(const app_flags *flags, bool on) {
    moped_profile *profile = NULL;
    const char *list = flags->n_positional > 0 ? flags->positional[0] : NULL;
    mp_err e = app_text(flags, F_MODEL) ? MP_OK : mp_fail(MP_E_USAGE, "a model file is needed, as in `moped experts pin model.gguf 3:17`");
    if (!e && !list) e = mp_fail(MP_E_USAGE, "which ones? name them LAYER:EXPERT, like 3:17,4:0%s", on ? "" : ", or all");
    if (!e) e = app_profile_of(flags, &profile);
    if (!e && !on && strcmp(list, "all") == 0)
        moped_profile_unpin_all(profile);
    else if (!e)
        e = pin_list(profile, list, on);
    if (!e) e = moped_profile_save(profile);
    if (!e) e = print_pins(flags, profile);
    moped_profile_close(&profile);
    return app_report(e);
}

int app_experts_pin(app_flags *flags) {
    return edit_pins(flags, true);
}

int app_experts_unpin(app_flags *flags) {
    return edit_pins(flags, false);
}
