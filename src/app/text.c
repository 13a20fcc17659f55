/* Text in, tokens out. */
#include "app/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/paths.h"

mp_err app_model_path(const app_flags *flags, bool ships, char **out) {
    const char *named = app_text(flags, F_MODEL);
    *out = NULL;
    if (!named && ships) return app_default_model(out);
    if (!named) return mp_fail(MP_E_USAGE, "a model file is needed, as in `moped plan model.gguf`");
    *out = strdup(named);
    return *out ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
}

mp_err app_input_text(const app_flags *flags, const char *word, char **out, size_t *n) {
    const char *prompt = app_text(flags, F_PROMPT), *file = app_text(flags, F_FILE);
    const app_value *p = &flags->values[F_PROMPT], *f = &flags->values[F_FILE];
    *out = NULL;
    *n = 0;
    if (prompt && file && p->source == f->source)
        return mp_fail(MP_E_USAGE, "%s and %s both give a text: leave one out", p->where, f->where);
    if (word && ((prompt && p->source == APP_FROM_FLAG) || (file && f->source == APP_FROM_FLAG)))
        return mp_fail(MP_E_USAGE, "\"%.60s\" and %s both give a text: leave one out", word, prompt ? p->where : f->where);
    if (word) prompt = word;
    if (prompt && (word || !file || p->source > f->source)) {
        *out = strdup(prompt);
        *n = strlen(prompt);
        return *out ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
    }
    if (file) return app_read_file(file, out, n);
    return isatty(STDIN_FILENO) ? MP_OK : app_read_file("-", out, n);
}

mp_err app_ids_of(const moped_vocab *vocab, const char *text, size_t n, unsigned flags, app_ids *out) {
    *out = (app_ids){0};
    return moped_tokenize(vocab, text, n, flags, &out->ids, &out->n);
}

void app_ids_deinit(app_ids *ids) {
    if (ids->own)
        free(ids->ids);
    else
        moped_free(ids->ids);
    *ids = (app_ids){0};
}

mp_err app_ids_begin(const moped_vocab *vocab, app_ids *ids) {
    int32_t bos = moped_vocab_bos(vocab);
    if (bos < 0 || (ids->n > 0 && ids->ids[0] == bos)) return MP_OK;
    int32_t *more = malloc((ids->n + 1) * sizeof *more);
    if (!more) return mp_fail(MP_E_FAILED, "out of memory");
    more[0] = bos;
    if (ids->n > 0) memcpy(more + 1, ids->ids, ids->n * sizeof *more);
    app_ids fresh = {.ids = more, .n = ids->n + 1, .own = true};
    app_ids_deinit(ids);
    *ids = fresh;
    return MP_OK;
}
