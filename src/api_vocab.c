/* moped.h's vocabulary and chat templates. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api_int.h"
#include "mem/gguf.h"
#include "model/tmpl/tmpl.h"

/* ---- vocabulary ---- */

moped_status moped_vocab_open(const char *path, moped_vocab **out)
{
    mp_gguf *g = NULL;
    *out = NULL;
    if (!path || !*path)
        return mp_fail(MP_E_USAGE, "no model file was named");
    moped_vocab *v = mp_api_handle(sizeof(*v));
    if (!v)
        return MOPED_E_FAILED;
    mp_err err = mp_ledger_open(false, &v->ledger);
    if (!err)
        err = mp_gguf_open(v->ledger, path, &g);
    if (!err && !mp_tok_usable(g))
        err = MP_E_MODEL;
    if (!err)
        err = mp_tok_open(v->ledger, g, &v->tok);
    mp_gguf_close(&g);
    if (err)
        moped_vocab_close(&v);
    *out = v;
    return err;
}

void moped_vocab_close(moped_vocab **vocab)
{
    moped_vocab *v = vocab ? *vocab : NULL;
    if (!v || (v->tok && !v->ledger)) /* a model's own goes with it */
        return;
    mp_tok_close(&v->tok);
    if (v->ledger)
        mp_ledger_close(&v->ledger);
    free(v);
    *vocab = NULL;
}

moped_status moped_tokenize(const moped_vocab *vocab, const char *text, size_t n, unsigned flags, int32_t **tokens, size_t *n_tokens)
{
    size_t cap = n / 3 + 16;
    *tokens = NULL;
    *n_tokens = 0;
    for (;;) {
        int32_t *ids = malloc(cap * sizeof(*ids));
        if (!ids)
            return mp_fail(MP_E_FAILED, "the system has no memory for %zu tokens", cap);
        mp_err err = mp_tok_encode(vocab->tok, (mp_str){text, n}, flags, ids, cap, n_tokens);
        if (!err && *n_tokens <= cap) {
            *tokens = ids;
            return MOPED_OK;
        }
        free(ids);
        cap = *n_tokens;
        if (err) {
            *n_tokens = 0;
            return err;
        }
    }
}

moped_status moped_detokenize(const moped_vocab *vocab, const int32_t *tokens, size_t n, bool special, char **text, size_t *n_text)
{
    unsigned flags = special ? MP_TOK_SPECIAL : 0;
    *text = NULL;
    *n_text = 0;
    size_t bytes = mp_tok_decode(vocab->tok, tokens, n, flags, NULL, 0);
    char  *buf = malloc(bytes + 1);
    if (!buf)
        return mp_fail(MP_E_FAILED, "the system has no memory for %zu bytes of text", bytes);
    *n_text = mp_tok_decode(vocab->tok, tokens, n, flags, buf, bytes);
    buf[*n_text] = '\0';
    *text = buf;
    return MOPED_OK;
}

int moped_vocab_size(const moped_vocab *vocab)
{
    return mp_tok_count(vocab->tok);
}

int32_t moped_vocab_bos(const moped_vocab *vocab)
{
    return mp_tok_get_info(vocab->tok)->bos;
}

bool moped_vocab_is_eog(const moped_vocab *vocab, int32_t id)
{
    return mp_tok_is_eog(vocab->tok, id);
}

const char *moped_vocab_template(const moped_vocab *vocab)
{
    return mp_tok_chat_template(vocab->tok, NULL);
}

/* ---- chat templates ---- */

static const char chatml[] = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
                             "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

static mp_err parse_now(const char *now, int64_t *out)
{
    struct tm t = { 0 };
    *out = 0;
    if (!now)
        return MP_OK;
    const char *end = strptime(now, "%Y-%m-%d", &t);
    if (end && *end)
        end = strptime(end, " %H:%M:%S", &t);
    if (!end || *end)
        return mp_fail(MP_E_USAGE, "'%s' is not a date like 2026-01-31 or 2026-01-31 12:00:00", now);
    *out = (int64_t)timegm(&t);
    return MP_OK;
}

moped_status moped_template_render(const char *tmpl, const char *json, const char *now, char **text, size_t *n)
{
    mp_ledger *ledger;
    mp_tmpl *t = NULL;
    mp_tmpl_limits limits = { 0 };
    char *out = NULL;
    *text = NULL;
    *n = 0;
    mp_err err = mp_ledger_open(false, &ledger);
    if (err)
        return err;
    err = parse_now(now, &limits.now_unix);
    if (!err)
        err = mp_tmpl_compile(ledger, tmpl, strlen(tmpl), &t);
    if (!err)
        err = mp_tmpl_render(t, json, strlen(json), &limits, &out, n);
    if (!err) {
        *text = malloc(*n + 1); /* the caller's, beyond this ledger's life */
        if (*text)
            memcpy(*text, out, *n + 1);
        else
            err = mp_fail(MP_E_FAILED, "the system has no memory for %zu bytes of text", *n);
    }
    MP_FREE(out);
    mp_tmpl_close(&t);
    mp_ledger_close(&ledger);
    return err;
}

static void set_default(json_t *vars, const char *name, const mp_tok *tok, int32_t id)
{
    mp_str s = id >= 0 ? mp_tok_text(tok, id) : (mp_str){ "", 0 };
    if (!json_object_get(vars, name))
        json_object_set_new(vars, name, json_stringn(s.n ? s.s : "", s.n));
}

moped_status moped_chat_render(const moped_vocab *vocab, const char *json, const char *now, char **text, size_t *n)
{
    json_error_t e;
    const mp_tok_info *info = mp_tok_get_info(vocab->tok);
    const char *tmpl = mp_tok_chat_template(vocab->tok, NULL);
    *text = NULL;
    *n = 0;
    json_t *vars = json_loads(json, 0, &e);
    if (!json_is_object(vars)) {
        json_decref(vars);
        return mp_fail(MP_E_USAGE, "the chat request is not a JSON object: line %d: %s", e.line, e.text);
    }
    set_default(vars, "bos_token", vocab->tok, info->bos);
    set_default(vars, "eos_token", vocab->tok, info->eos);
    char *with = json_dumps(vars, JSON_COMPACT);
    json_decref(vars);
    if (!with)
        return mp_fail(MP_E_FAILED, "the chat request could not be written as JSON");
    moped_status err = moped_template_render(tmpl ? tmpl : chatml, with, now, text, n);
    free(with);
    return err;
}
