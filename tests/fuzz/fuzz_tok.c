/* Tokenizers on any bytes. The first byte chooses the kind and the pre-tokenizer; an odd one has the vocabulary itself made
 * out of the input, an even one takes a small sound one. The rest is text, and whatever comes of it has to hold together:
 * encoding counts the same with and without room, byte-level text comes back exactly, a stream of tokens says what all of them say. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/tok/tok.h"
#include "support/tok_vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const pres[] = { "gpt-2", "llama-bpe", "qwen2", "qwen35", "gpt-4o", "tekken", "starcoder", "falcon", "viking", 
                                    "deepseek-llm", "deepseek-coder", "deepseek-v3", "seed-coder" };
enum { PRES = sizeof pres / sizeof *pres };

#define ENSURE(cond) do { if (!(cond)) abort(); } while (0)

/* Tokens and merges from the input: "type length bytes" each, until a zero length. Returns what is left of it. */
static size_t make_vocab(tv *v, const uint8_t *data, size_t size)
{
    size_t at = 0;
    while (at + 2 < size && v->n < 600 && v->merges < 600) {
        unsigned type = data[at], n = data[at + 1] % TV_TEXT;
        at += 2;
        if (n == 0 || n > size - at) break;
        if (type < 128) {
            tv_add(v, (const char *)data + at, n, (int)(type % 8), (double)(int8_t)data[at]);
        } else {
            memcpy(v->merge[v->merges], data + at, n);
            v->n_merge[v->merges++] = n;
        }
        at += n;
    }
    return at;
}

static void check_stream(const mp_tok *t, const int32_t *ids, size_t n, unsigned flags, size_t n_whole)
{
    char    *out = malloc(mp_detok_cap(t));
    mp_detok d = mp_detok_init(flags);
    size_t   total = 0;
    ENSURE(out);
    for (size_t i = 0; i < n; i++) {
        size_t k = mp_detok_push(&d, t, ids[i], out);
        ENSURE(k <= mp_detok_cap(t));
        total += k;
    }
    total += mp_detok_flush(&d, out);
    ENSURE(total <= 3 * n_whole && (total > 0) == (n_whole > 0)); /* each byte gives at most one U+FFFD, none is lost */
    free(out);
}

static void check_text(const mp_tok *t, const char *text, size_t n, unsigned flags, bool exact)
{
    size_t   need, m, k;
    ENSURE(mp_tok_encode(t, (mp_str){ text, n }, flags, NULL, 0, &need) == MP_OK);
    int32_t *ids = malloc((need + 1) * sizeof *ids);
    ENSURE(ids);
    ENSURE(mp_tok_encode(t, (mp_str){ text, n }, flags, ids, need, &m) == MP_OK && m == need);
    for (size_t i = 0; i < m; i++) ENSURE(ids[i] >= 0 && ids[i] < mp_tok_count(t));
    k = mp_tok_decode(t, ids, m, flags, NULL, 0);
    char *back = malloc(k + 1);
    ENSURE(back && mp_tok_decode(t, ids, m, flags, back, k) == k);
    if (exact) ENSURE(k == n && memcmp(back, text, n) == 0);
    check_stream(t, ids, m, flags, k);
    free(back);
    free(ids);
}

/* The small vocabularies are opened once: the time is for texts. */
static const mp_tok *small_tok(mp_ledger *ledger, unsigned pre, bool spm)
{
    static mp_tok *open[PRES][2];
    mp_tok       **t = &open[pre][spm];
    if (*t) return *t;
    tv *v = tv_small(spm ? "llama" : "gpt2", pres[pre]);
    ENSURE(mp_tok_open_source(ledger, tv_source(v), t) == MP_OK);
    free(v);
    return *t;
}

static mp_ledger *open_ledger(void)
{
    static mp_ledger *ledger;
    if (!ledger) ENSURE(mp_ledger_open(false, &ledger) == MP_OK);
    return ledger;
}

static void own_vocab(mp_ledger *ledger, unsigned pre, bool spm, const uint8_t *data, size_t size)
{
    uint64_t before = mp_ledger_used(ledger, MP_TIER_RAM);
    mp_tok  *t = NULL;
    tv      *v = tv_open(spm ? "llama" : "gpt2", pres[pre]);
    size_t   at = 1 + make_vocab(v, data + 1, size - 1);
    if (data[0] & 8) tv_add_bytes(v);
    v->source.unk = data[0] >> 4;
    if (mp_tok_open_source(ledger, tv_source(v), &t) == MP_OK) check_text(t, (const char *)data + at, size - at, data[0] & 7, false);
    mp_tok_close(&t);
    free(v);
    ENSURE(mp_ledger_used(ledger, MP_TIER_RAM) == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    unsigned   pre = data[0] / 4 % PRES, flags = data[1] & 7;
    bool       spm = data[0] & 2;
    mp_ledger *ledger = open_ledger();
    if (data[0] & 1) {
        own_vocab(ledger, pre, spm, data + 1, size - 1);
        return 0;
    }
    const mp_tok *t = small_tok(ledger, pre, spm);
    check_text(t, (const char *)data + 2, size - 2, flags, !spm && !(flags & (MP_TOK_SPECIAL | MP_TOK_BOS)));
    return 0;
}
