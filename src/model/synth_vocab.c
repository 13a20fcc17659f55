/* A vocabulary that is made up and sound: every byte has a token, so any text can be spelled; syllables are merged out of letters, words of three
 * syllables fill it to the size of the real one.
 *
 *   gpt2    | 256 bytes | syllables | blank + syllable | words ... | named |
 *   llama   | <unk> <s> </s> | 256 bytes | syllables | blank + syllable | words ... | printable ASCII, blank |
 *
 * Every other word begins with a blank. A letter and a vowel make a syllable: 21 x 5 = 105. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "model/synth_int.h"
#include "model/tok/tok.h"

enum { SYLLABLES = 105, TEXT = 32, NAMED_MAX = 3, BYTES = 256, SPM_FIRST = 3, ASCII = 94 };

typedef struct kind {
    const char *pre;   /* NULL: SentencePiece */
    const char *named[NAMED_MAX]; /* NULL-ended unless full */
    int         bos, eos, eot; /* of `named`; -1: none */
    bool        add_bos;
} kind;

static const kind KINDS[] = {
    [MP_VOCAB_QWEN] = { "qwen2", { "<|endoftext|>", "<|im_start|>", "<|im_end|>" }, 0, 2, 2, false },
    [MP_VOCAB_LLAMA3] = { "llama-bpe", { "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>" }, 0, 1, 2, true },
    [MP_VOCAB_OLMO] = { "olmo", { "<|endoftext|>", "<|padding|>", NULL }, 0, 0, -1, false },
    [MP_VOCAB_SPM] = { NULL, { "<unk>", "<s>", "</s>" }, 1, 2, -1, true },
};

static void syllable(int i, char out[3])
{
    out[0] = "bcdfghjklmnpqrstvwxyz"[i / 5];
    out[1] = "aeiou"[i % 5];
    out[2] = 0;
}

/* The k-th word: its three syllables are the digits of k times a number without common factors with 105, so that neighbours look unlike. */
static void word(int k, const char *blank, char out[TEXT])
{
    char a[3], b[3], c[3];
    uint64_t x = (uint64_t)(k / 2) * 611953u % ((uint64_t)SYLLABLES * SYLLABLES * SYLLABLES);
    syllable((int)(x % SYLLABLES), a);
    syllable((int)(x / SYLLABLES % SYLLABLES), b);
    syllable((int)(x / SYLLABLES / SYLLABLES), c);
    snprintf(out, TEXT, "%s%s%s%s", k % 2 ? "" : blank, a, b, c);
}

/* The character of GPT-2's alphabet for a byte: itself where it is printable Latin-1, else U+0100 and up in order. */
static void byte_name(int byte, char out[TEXT])
{
    int code = 0x100;
    for (int b = 0; b <= byte; b++) {
        bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        if (b == byte && printable)
            code = b;
        else if (b < byte && !printable)
            code++;
    }
    if (code < 0x80)
        snprintf(out, TEXT, "%c", code);
    else
        snprintf(out, TEXT, "%c%c", 0xC0 | code >> 6, 0x80 | (code & 0x3F));
}

static int count_named(const kind *k)
{
    return k->named[2] ? 3 : 2;
}

/* What stands between the bytes and the end: syllables with and without blank, then words. */
static void made_up(int i, const char *blank, char out[TEXT])
{
    char s[3];
    if (i < 2 * SYLLABLES) {
        syllable(i % SYLLABLES, s);
        snprintf(out, TEXT, "%s%s", i < SYLLABLES ? "" : blank, s);
    } else {
        word(i - 2 * SYLLABLES, blank, out);
    }
}

static mp_tok_type token_bpe(const mp_shape *s, const kind *k, int id, char out[TEXT])
{
    int first_named = s->vocab - count_named(k);
    if (id >= first_named) {
        snprintf(out, TEXT, "%s", k->named[id - first_named]);
        return MP_TOK_CONTROL;
    }
    if (id < BYTES)
        byte_name(id, out);
    else
        made_up(id - BYTES, "\xC4\xA0", out); /* U+0120, the blank of the alphabet */
    return MP_TOK_NORMAL;
}

static mp_tok_type token_spm(const mp_shape *s, const kind *k, int id, char out[TEXT])
{
    int first_char = s->vocab - ASCII - 1;
    if (id < SPM_FIRST) {
        snprintf(out, TEXT, "%s", k->named[id]);
        return id ? MP_TOK_CONTROL : MP_TOK_UNKNOWN;
    }
    if (id < SPM_FIRST + BYTES) {
        snprintf(out, TEXT, "<0x%02X>", (unsigned)(id - SPM_FIRST));
        return MP_TOK_BYTE;
    }
    if (id < first_char)
        made_up(id - SPM_FIRST - BYTES, "\xE2\x96\x81", out); /* U+2581 */
    else if (id < first_char + ASCII)
        snprintf(out, TEXT, "%c", 0x21 + id - first_char);
    else
        snprintf(out, TEXT, "\xE2\x96\x81");
    return MP_TOK_NORMAL;
}

static void put_merges(mp_gguf_writer *w)
{
    char s[3], text[TEXT];
    mp_gguf_put_strings(w, "tokenizer.ggml.merges", 2 * SYLLABLES);
    for (int i = 0; i < 2 * SYLLABLES; i++) {
        syllable(i % SYLLABLES, s);
        int n = i < SYLLABLES ? snprintf(text, sizeof(text), "%c %c", s[0], s[1]) : snprintf(text, sizeof(text), "\xC4\xA0 %s", s);
        mp_gguf_put_element(w, text, (size_t)n);
    }
}

static void put_ids(mp_gguf_writer *w, const mp_shape *s, const kind *k)
{
    uint32_t first = k->pre ? (uint32_t)(s->vocab - count_named(k)) : 0;
    mp_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", first + (uint32_t)k->bos);
    mp_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", first + (uint32_t)k->eos);
    if (k->eot >= 0)
        mp_gguf_put_u32(w, "tokenizer.ggml.eot_token_id", first + (uint32_t)k->eot);
    if (!k->pre)
        mp_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    mp_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", k->add_bos);
}

mp_err mp_synth_put_vocab(mp_ledger *ledger, mp_gguf_writer *w, const mp_shape *s)
{
    const kind *k = &KINDS[s->tokens];
    int32_t *types = NULL;
    float *scores = NULL;
    char text[TEXT];
    uint64_t n = (uint64_t)s->vocab;
    assert(s->vocab >= BYTES + 2 * SYLLABLES + ASCII + 8);
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, int32_t, n, &types);
    if (!err && !k->pre)
        err = MP_NEW(ledger, MP_OWN_WORK, float, n, &scores);
    if (!err) {
        mp_gguf_put_str(w, "tokenizer.ggml.model", k->pre ? "gpt2" : "llama");
        mp_gguf_put_str(w, "tokenizer.ggml.pre", k->pre ? k->pre : "default");
        mp_gguf_put_strings(w, "tokenizer.ggml.tokens", n);
        for (int id = 0; id < s->vocab; id++) {
            types[id] = (int32_t)(k->pre ? token_bpe : token_spm)(s, k, id, text);
            mp_gguf_put_element(w, text, strlen(text));
            if (scores && id >= SPM_FIRST + BYTES)
                scores[id] = (float)(SPM_FIRST + BYTES - id);
        }
        mp_gguf_put_array(w, "tokenizer.ggml.token_type", MP_GGUF_I32, types, n);
        if (scores)
            mp_gguf_put_array(w, "tokenizer.ggml.scores", MP_GGUF_F32, scores, n);
        if (k->pre)
            put_merges(w);
        put_ids(w, s, k);
    }
    MP_FREE(types);
    MP_FREE(scores);
    return err;
}
