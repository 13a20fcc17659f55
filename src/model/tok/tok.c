/* A tokenizer's life: from a file's metadata or another source, special ids, end tokens, chat templates. */
#include "model/tok/tok.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "model/tok/tok_int.h"

static bool str_is(mp_str s, const char *text) { return s.n == strlen(text) && memcmp(s.s, text, s.n) == 0; }

/* ---- special ids and end tokens ---- */

/* A control or user-defined token: what a vocabulary merely happens to contain does not end an answer. */
static int32_t find_special(const mp_tok *t, const char *name)
{
    int32_t id = mp_tok_find(t, name, strlen(name));
    return id >= 0 && mp_tok_kind(t, id) != MP_TOK_UNKNOWN ? id : -1;
}

static int32_t first_of(const mp_tok *t, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t id = find_special(t, names[i]);
        if (id >= 0) return id;
    }
    return -1;
}

#define DEEPSEEK_END "<\xEF\xBD\x9C" "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>" /* in two, or \x9C would swallow the e */

static const char *const eot_names[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|EOT|>", "<EOT>", "[EOT]", "<end_of_utterance>",
};
static const char *const eom_names[] = { "<|eom_id|>" };
static const char *const end_names[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|EOT|>", "<EOT>", "[EOT]", "<end_of_utterance>", "<|eom_id|>",
    "<|endoftext|>", "<|end_of_text|>", "<|return|>", "<|call|>", "</s>", "<eos>", "[EOS]",
    (DEEPSEEK_END),
};

static void mark_end(mp_tok *t, int32_t id)
{
    if (id >= 0) t->kind[id] |= MP_TOK_EOG;
}

/* In gpt-oss's format <|end|> closes one message of several; the answer goes on until <|return|> or <|call|>. */
static void find_ends(mp_tok *t)
{
    mp_tok_info *info = &t->info;
    int32_t      end = find_special(t, "<|end|>");
    bool         harmony = end >= 0 && find_special(t, "<|return|>") >= 0 && find_special(t, "<|call|>") >= 0;
    if (info->eot < 0 && !harmony) info->eot = first_of(t, eot_names, sizeof eot_names / sizeof *eot_names);
    if (info->eom < 0) info->eom = first_of(t, eom_names, sizeof eom_names / sizeof *eom_names);
    for (size_t i = 0; i < sizeof end_names / sizeof *end_names; i++) mark_end(t, find_special(t, end_names[i]));
    if (harmony) t->kind[end] &= (uint8_t)~MP_TOK_EOG;
    mark_end(t, info->eos);
    mark_end(t, info->eot);
    mark_end(t, info->eom);
}

/* Phi-3's special tokens swallow the white space behind them. GGUF has no key for it, so the model's name has to do. */
static void find_space_eaters(mp_tok *t, const char *name)
{
    if (!name || (!strcasestr(name, "phi-3") && !strcasestr(name, "phi3"))) return;
    for (int32_t i = 0; i < t->n_named; i++) {
        mp_str s = mp_tok_bytes(t, t->named[i]);
        if (!str_is(s, "<unk>") && !str_is(s, "<s>") && !str_is(s, "<|endoftext|>")) t->kind[t->named[i]] |= MP_TOK_EATS_SPACE;
    }
}

static int32_t checked_id(const mp_tok *t, int64_t id, int64_t otherwise)
{
    if (id < 0) id = otherwise;
    return id < 0 || id >= t->n ? -1 : (int32_t)id;
}

/* Before the tables: unknown bytes need unk. */
static void read_ids(mp_tok *t, const mp_tok_source *src)
{
    bool spm = t->spm;
    t->info.bos = checked_id(t, src->bos, spm ? 1 : -1);
    t->info.eos = checked_id(t, src->eos, spm ? 2 : -1);
    t->info.unk = checked_id(t, src->unk, spm ? 0 : -1);
    t->info.eot = checked_id(t, src->eot, -1);
    t->info.eom = checked_id(t, src->eom, -1);
    t->info.pad = checked_id(t, src->pad, -1);
    t->info.add_bos = src->add_bos >= 0 ? src->add_bos : spm || mp_pre_adds_bos(t->pre);
    t->info.add_eos = src->add_eos > 0;
    t->info.add_space_prefix = spm && src->add_space_prefix != 0;
}

/* ---- opening ---- */

static mp_err choose_kind(mp_tok *t, const mp_tok_source *src)
{
    if (!src->model) return mp_fail(MP_E_MODEL, "the file has no tokenizer (tokenizer.ggml.model is missing)");
    t->spm = strcmp(src->model, "llama") == 0;
    if (!t->spm && strcmp(src->model, "gpt2") != 0)
        return mp_fail(MP_E_MODEL, "the tokenizer is of the kind \"%.64s\"; moped knows gpt2 (byte-level BPE) and llama (SentencePiece)",
                       src->model);
    if (src->n_tokens < 1 || src->n_tokens > INT32_MAX / 2)
        return mp_fail(MP_E_MODEL, "the vocabulary has %lld tokens", (long long)src->n_tokens);
    if (t->spm && !src->score) return mp_fail(MP_E_MODEL, "the SentencePiece vocabulary has no scores (tokenizer.ggml.scores)");
    if (!t->spm && !src->merge) return mp_fail(MP_E_MODEL, "the BPE vocabulary has no merges (tokenizer.ggml.merges)");
    t->n = (int32_t)src->n_tokens;
    t->info.model = t->spm ? "llama" : "gpt2";
    const char *pre = t->spm || !src->pre ? "" : src->pre;
    size_t      n = strlen(pre);
    if (!t->spm && !(t->pre = mp_pre_find(pre, n)))
        return mp_fail(MP_E_MODEL, "the pre-tokenizer \"%.64s\" is not one that moped knows: text would be cut in the wrong places", pre);
    t->whole_tokens = !t->spm && mp_pre_whole_tokens(t->pre);
    mp_err err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, char, n + 1, &t->pre_name);
    if (!err) memcpy(t->pre_name, pre, n);
    t->info.pre = t->pre_name;
    return err;
}

mp_err mp_tok_open_source(mp_ledger *ledger, const mp_tok_source *source, mp_tok **out)
{
    *out = NULL;
    mp_tok *t = NULL;
    mp_err  err = MP_NEW(ledger, MP_OWN_TOKENIZER, mp_tok, 1, &t);
    if (err) return err;
    t->ledger = ledger;
    err = choose_kind(t, source);
    if (!err) {
        read_ids(t, source);
        err = mp_tok_vocab_build(t, source);
    }
    if (!err) err = mp_tok_named_build(t);
    if (err) {
        mp_tok_close(&t);
        return err;
    }
    find_ends(t);
    find_space_eaters(t, source->name);
    *out = t;
    return MP_OK;
}

void mp_tok_close(mp_tok **tok)
{
    mp_tok *t = *tok;
    if (!t) return;
    mp_free(t->pre_name);
    mp_free(t->blob);
    mp_free(t->off);
    mp_free(t->kind);
    mp_free(t->words);
    mp_free(t->pairs);
    mp_free(t->rank);
    mp_free(t->joins);
    mp_free(t->named);
    mp_free(t->templates);
    MP_FREE(*tok);
}

/* ---- what it holds ---- */

int mp_tok_count(const mp_tok *tok) { return tok->n; }
const mp_tok_info *mp_tok_get_info(const mp_tok *tok) { return &tok->info; }

mp_str mp_tok_text(const mp_tok *tok, int32_t id)
{
    return id < 0 || id >= tok->n ? (mp_str){ "", 0 } : mp_tok_bytes(tok, id);
}

mp_tok_type mp_tok_type_of(const mp_tok *tok, int32_t id) { return id < 0 || id >= tok->n ? MP_TOK_UNUSED : mp_tok_kind(tok, id); }

bool mp_tok_is_eog(const mp_tok *tok, int32_t id) { return id >= 0 && id < tok->n && (tok->kind[id] & MP_TOK_EOG); }

const char *mp_tok_chat_template(const mp_tok *tok, const char *name)
{
    const char *p = tok->templates, *end = p + tok->templates_bytes;
    while (p < end) {
        const char *text = p + strlen(p) + 1;
        if (strcmp(p, name ? name : "") == 0) return text;
        p = text + strlen(text) + 1;
    }
    return NULL;
}
