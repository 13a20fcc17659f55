/* moped tokenize: text to ids, one a line with its text, or {"tokens":[...]}. Reads the vocabulary only. */
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/json.h"
#include "app/text.h"

/* One token as people can read it: control characters and backslashes escaped. */
static void print_token(const moped_vocab *vocab, int32_t id) {
    char *text = NULL;
    size_t n = 0;
    printf("%8d  ", id);
    if (moped_detokenize(vocab, &id, 1, true, &text, &n) == MOPED_OK)
        for (size_t i = 0; i < n; i++) {
            unsigned char c = (unsigned char)text[i];
            if (c == '\n')
                fputs("\\n", stdout);
            else if (c < 32 || c == 127)
                printf("\\x%02x", c);
            else
                putchar(c);
        }
    putchar('\n');
    moped_free(text);
}

static mp_err print_ids(const app_flags *flags, const moped_vocab *vocab, const app_ids *ids) {
    if (app_on(flags, F_JSON)) {
        json_t *o = json_pack("{s:o}", "tokens", app_json_tokens(ids->ids, ids->n));
        mp_err e = app_json_print(stdout, o);
        json_decref(o);
        return e;
    }
    for (size_t i = 0; i < ids->n; i++) print_token(vocab, ids->ids[i]);
    return MP_OK;
}

int app_tokenize(app_flags *flags) {
    char *path = NULL, *text = NULL;
    size_t n = 0;
    moped_vocab *vocab = NULL;
    app_ids ids = {0};
    unsigned how = (app_on(flags, F_NO_BOS) ? 0 : MOPED_TOK_BOS) | (app_on(flags, F_NO_SPECIAL) ? 0 : MOPED_TOK_SPECIAL);
    mp_err e = app_model_path(flags, false, &path);
    if (!e) e = app_input_text(flags, NULL, &text, &n);
    if (!e && !text) e = mp_fail(MP_E_USAGE, "what text? give -p TEXT, -f FILE, or text on standard input");
    if (!e) e = moped_vocab_open(path, &vocab);
    if (!e) e = app_ids_of(vocab, text, n, how, &ids);
    if (!e && app_on(flags, F_BOS_FIRST)) e = app_ids_begin(vocab, &ids);
    if (!e) e = print_ids(flags, vocab, &ids);
    int code = app_report(e);
    app_ids_deinit(&ids);
    moped_vocab_close(&vocab);
    free(text);
    free(path);
    return code;
}
