/* moped perplexity: exp of the mean negative log likelihood.
 *
 *   |---- first half: context only ----|---- second half: scored ----|   windows of n_ctx tokens that don't overlap
 *
 * The windows, the begin token in place of each window's first, and the error are those of llama.cpp's perplexity tool, so that the
 * figures compare. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/json.h"
#include "app/text.h"
#include "base/os.h"

enum { WINDOW = 512, LEAST_WINDOW = 4 };

typedef struct score {
    const int32_t *tokens; /* of the window */
    size_t         n;
    double         nll, nll2; /* sums of -log p and of its square */
    uint64_t       count;
} score;

static int on_logits(void *user, size_t position, const float *logits, int vocab) {
    score *s = user;
    if (app_signal()) return 1;
    if (position + 1 >= s->n) return 0; /* the last position predicts nothing that is there */
    float top = logits[0];
    double sum = 0;
    for (int i = 1; i < vocab; i++) top = logits[i] > top ? logits[i] : top;
    for (int i = 0; i < vocab; i++) sum += (double)expf(logits[i] - top);
    double nll = log(sum) + (double)top - (double)logits[s->tokens[position + 1]];
    s->nll += nll;
    s->nll2 += nll * nll;
    s->count++;
    return 0;
}

static double score_error(const score *s) {
    double n = (double)s->count, mean = s->nll / n, variance = s->nll2 / n - mean * mean;
    return s->count > 1 && variance > 0 ? exp(mean) * sqrt(variance / (n - 1)) : 0;
}

typedef struct job {
    moped_session *session;
    int32_t       *tokens;  /* of the whole text */
    size_t         windows, ctx;
    int32_t        bos;     /* -1: the model wants none */
    bool           show;
} job;

static mp_err score_windows(const job *j, score *s) {
    for (size_t w = 0; w < j->windows; w++) {
        int32_t *window = j->tokens + w * j->ctx, first = window[0];
        s->tokens = window;
        s->n = j->ctx;
        if (j->bos >= 0) window[0] = j->bos;
        moped_session_truncate(j->session, 0);
        mp_err e = moped_logits(j->session, window, j->ctx, j->ctx / 2, on_logits, s);
        window[0] = first;
        if (!e && app_signal()) e = mp_fail(MP_E_CANCELLED, "stopped");
        if (e) return e;
        if (j->show) fprintf(stderr, "\r[%zu/%zu] %.4f ", w + 1, j->windows, exp(s->nll / (double)s->count));
    }
    if (j->show) fputc('\n', stderr);
    return MP_OK;
}

static mp_err print_score(const app_flags *flags, const job *j, const score *s, double seconds) {
    double ppl = exp(s->nll / (double)s->count), rate = seconds > 0 ? (double)(j->windows * j->ctx) / seconds : 0;
    if (!app_on(flags, F_JSON)) {
        printf("perplexity %.4f +/- %.5f   %llu tokens scored in %zu windows of %zu   %.1f tok/s\n", ppl, score_error(s),
               (unsigned long long)s->count, j->windows, j->ctx, rate);
        return MP_OK;
    }
    json_t *o = json_object();
    app_put_real(o, "perplexity", ppl);
    app_put_real(o, "error", score_error(s));
    app_put_real(o, "mean_nll", s->nll / (double)s->count);
    app_put_int(o, "tokens", s->count);
    app_put_int(o, "windows", j->windows);
    app_put_int(o, "ctx", j->ctx);
    app_put_real(o, "tok_s", rate);
    mp_err e = app_json_print(stdout, o);
    json_decref(o);
    return e;
}

/* Does the vocabulary put its begin token in front of a text? *bos: the token, or -1. */
static mp_err begin_token(const moped_vocab *vocab, int32_t *bos) {
    app_ids ids;
    *bos = -1;
    mp_err e = app_ids_of(vocab, "", 0, MOPED_TOK_BOS, &ids);
    if (!e && ids.n > 0 && ids.ids[0] == moped_vocab_bos(vocab)) *bos = ids.ids[0];
    app_ids_deinit(&ids);
    return e;
}

static mp_err measure(const app_flags *flags, moped_model *model, const char *text, size_t n) {
    const moped_vocab *vocab = moped_model_vocab(model);
    const moped_plan_info *plan = moped_model_plan(model);
    job j = {.ctx = (size_t)plan->ctx_tok, .bos = -1, .show = app_on(flags, F_VERBOSE) || isatty(STDERR_FILENO)};
    score s = {0};
    app_ids ids = {0};
    mp_err e = vocab ? MP_OK : mp_fail(MP_E_MODEL, "the model has no vocabulary, so it cannot read a text");
    if (!e) e = begin_token(vocab, &j.bos);
    if (!e) e = app_ids_of(vocab, text, n, MOPED_TOK_BOS, &ids);
    j.tokens = ids.ids;
    j.windows = ids.n / j.ctx;
    if (!e && j.windows == 0)
        e = mp_fail(MP_E_USAGE, "the text has %zu tokens, less than one window of %zu: give a longer text or a smaller -c", ids.n, j.ctx);
    if (!e) e = moped_session_open(model, 0, &j.session);
    uint64_t start = mp_now_ns();
    if (!e) e = score_windows(&j, &s);
    if (!e) e = print_score(flags, &j, &s, (double)(mp_now_ns() - start) * 1e-9);
    moped_session_close(&j.session);
    app_ids_deinit(&ids);
    return e;
}

int app_perplexity(app_flags *flags) {
    char *path = NULL, *text = NULL;
    size_t n = 0;
    app_ui ui;
    moped_options options;
    moped_model *model = NULL;
    mp_err e = app_model_path(flags, false, &path);
    if (!e) e = app_input_text(flags, NULL, &text, &n);
    if (!e && !text) e = mp_fail(MP_E_USAGE, "of what text? give -f FILE, or text on standard input");
    if (!e) e = app_options(flags, &ui, &options);
    if (!e && app_given(flags, F_CTX) && options.ctx_tok < LEAST_WINDOW)
        e = mp_fail(MP_E_USAGE, "a window needs at least %d tokens: -c %d is too small", LEAST_WINDOW, options.ctx_tok);
    if (!e) {
        if (options.ctx_tok == 0) options.ctx_tok = WINDOW;
        e = app_model_open(&options, &ui, &model);
    }
    if (!e) e = measure(flags, model, text, n);
    app_model_close(&model);
    free(text);
    free(path);
    return app_report(e);
}
