/* Reads a vocabulary out of a GGUF file's metadata. Source: formats.md 3.3. */
#include <stdio.h>
#include <string.h>

#include "model/tok/tok_int.h"

enum { NAME_MAX_BYTES = 192 };

typedef struct arrays { mp_gguf_array tokens, merges, scores, types; } arrays;

static mp_str token_at(const void *from, int64_t i) { return mp_gguf_array_str_at(&((const arrays *)from)->tokens, i); }
static mp_str merge_at(const void *from, int64_t i) { return mp_gguf_array_str_at(&((const arrays *)from)->merges, i); }
static double score_at(const void *from, int64_t i) { return mp_gguf_array_f64_at(&((const arrays *)from)->scores, i); }

static int type_at(const void *from, int64_t i)
{
    double v = mp_gguf_array_f64_at(&((const arrays *)from)->types, i);
    return v >= MP_TOK_NORMAL && v <= MP_TOK_BYTE ? (int)v : 0;
}

/* An array of at least n elements, strings or numbers as asked for. */
static bool has_array(const mp_gguf *g, const char *key, bool strings, int64_t n, mp_gguf_array *out)
{
    return mp_gguf_array_get(g, key, out) && out->n >= n && (out->n == 0 || (mp_gguf_array_str_at(out, 0).s != NULL) == strings);
}

/* Copies the value of a string key, cut at `cap`; false when it is not there. */
static bool copy_str(const mp_gguf *g, const char *key, char *out, size_t cap)
{
    mp_str s;
    if (!mp_gguf_str(g, key, &s)) return false;
    size_t n = s.n < cap - 1 ? s.n : cap - 1;
    memcpy(out, s.s, n);
    out[n] = 0;
    return true;
}

/* MP_OK, or the sentence why there is no vocabulary; *out refers to g. */
static mp_err find_arrays(const mp_gguf *g, const char *model, arrays *out)
{
    if (!has_array(g, "tokenizer.ggml.tokens", true, 1, &out->tokens))
        return mp_fail(MP_E_MODEL, "the file has no vocabulary (tokenizer.ggml.tokens is missing or empty)");
    int64_t n = out->tokens.n;
    if (strcmp(model, "llama") == 0 && !has_array(g, "tokenizer.ggml.scores", false, n, &out->scores))
        return mp_fail(MP_E_MODEL, "the vocabulary has %lld tokens, and tokenizer.ggml.scores not as many numbers", (long long)n);
    if (strcmp(model, "gpt2") == 0 && !has_array(g, "tokenizer.ggml.merges", true, 1, &out->merges))
        return mp_fail(MP_E_MODEL, "the vocabulary has no merges (tokenizer.ggml.merges is missing or empty)");
    if (mp_gguf_array_len(g, "tokenizer.ggml.token_type") >= 0 && !has_array(g, "tokenizer.ggml.token_type", false, n, &out->types))
        return mp_fail(MP_E_MODEL, "the vocabulary has %lld tokens, and tokenizer.ggml.token_type not as many numbers", (long long)n);
    return MP_OK;
}

bool mp_tok_usable(const mp_gguf *g)
{
    char   model[NAME_MAX_BYTES];
    arrays a = { 0 };
    if (!copy_str(g, "tokenizer.ggml.model", model, sizeof model)) {
        mp_fail(MP_E_MODEL, "the file has no tokenizer (tokenizer.ggml.model is missing)");
        return false;
    }
    if (strcmp(model, "none") == 0 || strcmp(model, "no_vocab") == 0) {
        mp_fail(MP_E_MODEL, "the file says that it has no vocabulary (tokenizer.ggml.model is \"%s\")", model);
        return false;
    }
    return find_arrays(g, model, &a) == MP_OK;
}

static int64_t id_of(const mp_gguf *g, const char *key)
{
    uint64_t v;
    return mp_gguf_u64(g, key, &v) && v < INT32_MAX ? (int64_t)v : -1;
}

static int flag_of(const mp_gguf *g, const char *key)
{
    bool v;
    return mp_gguf_bool(g, key, &v) ? v : -1;
}

/* ---- chat templates ---- */

/* Appends name NUL text NUL at *at; with out NULL it only measures. Keys that are missing, or too long to be meant, add nothing. */
static void add_template(const mp_gguf *g, mp_str name, char *out, size_t *at)
{
    char   key[NAME_MAX_BYTES + 32];
    mp_str text;
    if (name.n > NAME_MAX_BYTES || memchr(name.s, 0, name.n)) return;
    snprintf(key, sizeof key, "tokenizer.chat_template%s%.*s", name.n ? "." : "", (int)name.n, name.s);
    if (!mp_gguf_str(g, key, &text)) return;
    size_t n = strnlen(text.s, text.n);
    if (out) {
        memcpy(out + *at, name.s, name.n);
        memcpy(out + *at + name.n + 1, text.s, n);
    }
    *at += name.n + 1 + n + 1;
}

static size_t add_templates(const mp_gguf *g, char *out)
{
    size_t        at = 0;
    mp_gguf_array names;
    add_template(g, (mp_str){ "", 0 }, out, &at);
    if (!mp_gguf_array_get(g, "tokenizer.chat_templates", &names)) return at;
    for (int64_t i = 0; i < names.n; i++) {
        mp_str name = mp_gguf_array_str_at(&names, i);
        if (name.s && name.n) add_template(g, name, out, &at);
    }
    return at;
}

static mp_err copy_templates(mp_tok *t, const mp_gguf *g)
{
    t->templates_bytes = add_templates(g, NULL);
    mp_err err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, char, t->templates_bytes, &t->templates);
    if (!err) add_templates(g, t->templates);
    return err;
}

mp_err mp_tok_open(mp_ledger *ledger, const mp_gguf *g, mp_tok **out)
{
    *out = NULL;
    if (!mp_tok_usable(g)) return MP_E_MODEL;
    char   model[NAME_MAX_BYTES], pre[NAME_MAX_BYTES], name[NAME_MAX_BYTES];
    arrays a = { 0 };
    copy_str(g, "tokenizer.ggml.model", model, sizeof model);
    mp_err err = find_arrays(g, model, &a);
    if (err) return err;
    mp_tok_source src = {
        .model = model,
        .pre = copy_str(g, "tokenizer.ggml.pre", pre, sizeof pre) ? pre : NULL,
        .name = copy_str(g, "general.name", name, sizeof name) ? name : NULL,
        .n_tokens = a.tokens.n, .n_merges = a.merges.n, .from = &a,
        .token = token_at, .merge = a.merges.n ? merge_at : NULL, .score = a.scores.n ? score_at : NULL, .type = a.types.n ? type_at : NULL,
        .bos = id_of(g, "tokenizer.ggml.bos_token_id"), .eos = id_of(g, "tokenizer.ggml.eos_token_id"),
        .eot = id_of(g, "tokenizer.ggml.eot_token_id"), .eom = id_of(g, "tokenizer.ggml.eom_token_id"),
        .unk = id_of(g, "tokenizer.ggml.unknown_token_id"), .pad = id_of(g, "tokenizer.ggml.padding_token_id"),
        .add_bos = flag_of(g, "tokenizer.ggml.add_bos_token"), .add_eos = flag_of(g, "tokenizer.ggml.add_eos_token"),
        .add_space_prefix = flag_of(g, "tokenizer.ggml.add_space_prefix"),
    };
    err = mp_tok_open_source(ledger, &src, out);
    if (!err) err = copy_templates(*out, g);
    if (err) mp_tok_close(out);
    return err;
}
