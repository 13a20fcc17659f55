/* moped logits: float32 [tokens, vocabulary] as a .npy file, for comparing with other implementations. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/json.h"
#include "app/paths.h"
#include "app/text.h"

/* The token ids asked for, without loading weights. */
static mp_err ids_wanted(const app_flags *flags, const char *path, app_ids *out) {
    const char *list = app_text(flags, F_TOKENS);
    double *values = NULL;
    char *text = NULL;
    size_t n = 0;
    int count = 0;
    moped_vocab *vocab = NULL;
    *out = (app_ids){0};
    if (list) {
        mp_err e = app_list_parse(app_flag_find(APP_LOGITS, "--tokens"), list, &values, &count);
        if (e) return e;
        out->ids = malloc((size_t)count * sizeof *out->ids);
        out->own = true;
        for (int i = 0; out->ids && i < count; i++) out->ids[i] = (int32_t)values[i];
        out->n = out->ids ? (size_t)count : 0;
        free(values);
        return out->ids ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
    }
    unsigned how = (app_on(flags, F_NO_BOS) ? 0 : MOPED_TOK_BOS) | (app_on(flags, F_NO_SPECIAL) ? 0 : MOPED_TOK_SPECIAL);
    mp_err e = app_input_text(flags, NULL, &text, &n);
    if (!e && !text) e = mp_fail(MP_E_USAGE, "of what? give -p TEXT or --tokens 1,2,3");
    if (!e) e = moped_vocab_open(path, &vocab);
    if (!e) e = app_ids_of(vocab, text, n, how, out);
    if (!e && out->n == 0) e = mp_fail(MP_E_USAGE, "the text has no tokens, so there are no logits");
    moped_vocab_close(&vocab);
    free(text);
    return e;
}

typedef struct writer {
    FILE  *file;
    size_t rows;
    int    vocab;
    bool   failed;
} writer;

/* The header of NumPy's format 1.0: magic, version, length, a Python dict padded with spaces so that the data starts at a multiple of 64.
 * Source: numpy.lib.format. */
static bool write_header(FILE *f, size_t rows, int columns) {
    enum { FIXED = 10 };
    char dict[128];
    int n = snprintf(dict, sizeof dict, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %d), }", rows, columns);
    int padded = (FIXED + n + 1 + 63) / 64 * 64 - FIXED;
    const unsigned char head[FIXED] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(padded & 255), (unsigned char)(padded >> 8)};
    return fwrite(head, 1, FIXED, f) == FIXED && fprintf(f, "%s%*s\n", dict, padded - n - 1, "") == padded;
}

static int on_logits(void *user, size_t position, const float *logits, int vocab) {
    writer *w = user;
    if (app_signal()) return 1;
    if (position == 0 && !write_header(w->file, w->rows, vocab)) return w->failed = true, 1;
    w->vocab = vocab;
    if (fwrite(logits, sizeof *logits, (size_t)vocab, w->file) != (size_t)vocab) return w->failed = true, 1;
    return 0;
}

static mp_err compute(const moped_options *options, app_ui *ui, const app_ids *ids, writer *w) {
    moped_model *model = NULL;
    moped_session *session = NULL;
    mp_err e = app_model_open(options, ui, &model);
    if (!e) e = moped_session_open(model, 0, &session);
    if (!e) e = moped_logits(session, ids->ids, ids->n, 0, on_logits, w);
    if (w->failed) e = mp_fail(MP_E_FAILED, "cannot write the logits: %s", strerror(errno));
    moped_session_close(&session);
    app_model_close(&model);
    return e;
}

static mp_err print_done(const app_flags *flags, const char *out, const writer *w) {
    if (!app_on(flags, F_JSON)) return MP_OK;
    json_t *o = json_pack("{s:o s:[I,i] s:s}", "file", app_json_text(out, strlen(out)), "shape", (json_int_t)w->rows, w->vocab, "dtype", "float32");
    mp_err e = app_json_print(stdout, o);
    json_decref(o);
    return e;
}

int app_logits(app_flags *flags) {
    char *path = NULL, *none = NULL;
    const char *out = app_text(flags, F_OUT);
    app_ids ids = {0};
    app_ui ui;
    moped_options options;
    app_output output = {0};
    mp_err e = app_model_path(flags, false, &path);
    if (!e && !out) e = mp_fail(MP_E_USAGE, "where to? give -o OUT.npy");
    if (!e) e = app_options(flags, &ui, &options);
    if (!e) e = app_options_profile(flags, false, &options, &none);
    if (!e) e = ids_wanted(flags, path, &ids);
    if (!e) e = app_output_open(out, &output);
    writer w = {.file = output.file, .rows = ids.n};
    if (!e) {
        if (options.ctx_tok == 0) options.ctx_tok = (int)ids.n; /* no more memory than the question needs */
        if (options.kv == MOPED_KV_DEFAULT) options.kv = MOPED_KV_F32;
        e = compute(&options, &ui, &ids, &w);
    }
    mp_err closed = app_output_close(&output, e == MP_OK);
    if (!e) e = closed;
    if (!e) e = print_done(flags, out, &w);
    app_ids_deinit(&ids);
    free(path);
    return app_report(e);
}
