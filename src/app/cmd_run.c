/* moped run: chat, or answer once. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/answer.h"
#include "app/repl.h"
#include "app/text.h"
#include "base/os.h"

/* Answers one text. What a person should know besides the answer goes to stderr. */
static mp_err answer_once(app_runner *r, const char *text, size_t n) {
    bool json = app_on(r->flags, F_JSON);
    if (n == 0 && !r->chat.raw) return mp_fail(MP_E_USAGE, "the prompt is empty: there is nothing to answer");
    mp_err e = app_chat_add(&r->chat, "user", text, n);
    r->stream = !json;
    if (!e) e = app_answer(r);
    if (r->stream && !r->wrote_newline) fputc('\n', stdout);
    if (e) return e;
    if (!app_given(r->flags, F_SEED) && r->sampling.temperature > 0) fprintf(stderr, "seed   %llu\n", (unsigned long long)r->sampling.seed);
    if (r->last.finish == MOPED_FINISH_CONTEXT)
        fprintf(stderr, "moped: the context of %d tokens is full, so the answer ends here; -c makes it larger, --context-shift goes on without\n",
                moped_model_plan(r->model)->ctx_tok);
    if (app_on(r->flags, F_VERBOSE)) app_answer_stats(stderr, r);
    if (json) e = app_answer_json(r);
    if (!e && r->last.finish == MOPED_FINISH_CANCELLED) e = mp_fail(MP_E_CANCELLED, "stopped");
    return e;
}

/* Files and pipes usually end with a newline that nobody meant: it goes, as llama.cpp does it. */
static void cut_newline(const app_flags *flags, const char *word, char *text, size_t *n) {
    const char *prompt = app_text(flags, F_PROMPT);
    bool typed = word || (prompt && strcmp(prompt, text) == 0);
    if (!typed && *n > 0 && text[*n - 1] == '\n') text[--*n] = '\0';
}

static mp_err open_runner(app_runner *r, const moped_options *options, app_ui *ui) {
    uint64_t start = mp_now_ns();
    mp_err e = app_model_open(options, ui, &r->model);
    r->load_ns = mp_now_ns() - start;
    if (e) return e;
    const moped_vocab *vocab = moped_model_vocab(r->model);
    if (!vocab)
        return mp_fail(MP_E_MODEL, "%s has no vocabulary that can be used, so it cannot talk (`moped logits --tokens` works without one)",
                       options->path);
    e = moped_session_open(r->model, 0, &r->session);
    return e ? e : app_chat_open(r->flags, &moped_model_plan(r->model)->model, vocab, &r->chat);
}

static void close_runner(app_runner *r) {
    app_chat_close(&r->chat);
    moped_session_close(&r->session);
    app_model_close(&r->model);
    free(r->bias);
}

int app_run(app_flags *flags) {
    app_runner r = {.flags = flags};
    app_ui ui;
    moped_options options;
    char *path = NULL, *text = NULL;
    size_t n = 0;
    int code = 0;
    const char *word = flags->n_positional > 0 ? flags->positional[0] : NULL;
    mp_err e = app_model_path(flags, true, &path);
    if (!e) e = app_options(flags, &ui, &options);
    if (!e) e = app_input_text(flags, word, &text, &n);
    if (text) cut_newline(flags, word, text, &n);
    if (!e && !text && app_on(flags, F_JSON)) e = mp_fail(MP_E_USAGE, "--json answers once: give -p TEXT, -f FILE, or text on standard input");
    if (!e) {
        options.path = path;
        app_options_bandwidth(&ui, &options);
        e = open_runner(&r, &options, &ui);
    }
    if (!e && r.chat.raw && app_given(flags, F_SYSTEM))
        fputs("moped: --system-prompt has no effect without a chat template\n", stderr);
    if (!e && text) e = answer_once(&r, text, n);
    if (!e && !text) r.stream = true, code = app_repl(&r);
    close_runner(&r);
    free(text);
    free(path);
    return e ? app_report(e) : code;
}
