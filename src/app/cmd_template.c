/* moped template: renders a chat template, exactly. */
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/json.h"
#include "app/paths.h"
#include "app/text.h"

/* The request with --bos and --eos in it, as new JSON text (free it). */
static mp_err read_request(const app_flags *flags, char **out) {
    static const struct { app_flag_id flag; const char *member; } EXTRA[] = {{F_BOS, "bos_token"}, {F_EOS, "eos_token"}};
    char *text = NULL;
    size_t n = 0;
    json_t *request = NULL;
    const char *file = app_text(flags, F_FILE);
    *out = NULL;
    mp_err e = app_read_file(file ? file : "-", &text, &n);
    if (!e) e = app_json_parse(text, n, "the request", &request);
    for (size_t i = 0; !e && i < sizeof EXTRA / sizeof *EXTRA; i++) {
        const char *given = app_text(flags, EXTRA[i].flag);
        if (given) json_object_set_new(request, EXTRA[i].member, app_json_text(given, strlen(given)));
    }
    if (!e && (*out = json_dumps(request, JSON_REAL_PRECISION(17))) == NULL) e = mp_fail(MP_E_FAILED, "out of memory");
    json_decref(request);
    free(text);
    return e;
}

static mp_err render(const app_flags *flags, const char *request, char **text, size_t *n) {
    const char *file = app_text(flags, F_TEMPLATE), *now = app_text(flags, F_NOW), *path = app_text(flags, F_MODEL);
    char *source = NULL;
    size_t n_source = 0;
    moped_vocab *vocab = NULL;
    mp_err e = MP_OK;
    *text = NULL;
    *n = 0;
    if (file) {
        e = app_read_file(file, &source, &n_source);
        if (!e) e = moped_template_render(source, request, now, text, n);
    } else if (path) {
        e = moped_vocab_open(path, &vocab);
        if (!e) e = moped_chat_render(vocab, request, now, text, n);
    } else {
        e = mp_fail(MP_E_USAGE, "whose template? give a model, or --template FILE");
    }
    moped_vocab_close(&vocab);
    free(source);
    return e;
}

int app_template(app_flags *flags) {
    char *request = NULL, *text = NULL;
    size_t n = 0;
    mp_err e = MP_OK;
    if (!app_text(flags, F_TEMPLATE) && !app_text(flags, F_MODEL)) e = mp_fail(MP_E_USAGE, "whose template? give a model, or --template FILE");
    if (!e) e = read_request(flags, &request);
    if (!e) e = render(flags, request, &text, &n);
    if (!e && app_on(flags, F_JSON)) {
        json_t *o = json_pack("{s:o}", "text", app_json_text(text, n));
        e = app_json_print(stdout, o);
        json_decref(o);
    } else if (!e && fwrite(text, 1, n, stdout) != n) {
        e = mp_fail(MP_E_FAILED, "cannot write the result");
    }
    moped_free(text);
    free(request);
    return app_report(e);
}
