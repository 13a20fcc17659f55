/* Builds a tokenizer's tables out of a source. The file is not trusted: whatever it says, the tables that come out are sound (ids in range,
 * offsets ascending), or it is refused. */
#include <math.h>
#include <string.h>

#include "model/tok/tok_int.h"
#include "model/tok/uchar.h"

/* ---- hashing ---- */

uint64_t mp_tok_hash(const char *s, size_t n)
{
    uint64_t h = n, w;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&w, s, 8);
        h = mp_tok_mix(h ^ w);
    }
    w = 0;
    memcpy(&w, s, n);
    return mp_tok_mix(h ^ w);
}

/* Maps a hash to [0, n) by its upper half: tables need not be powers of two. */
static uint32_t slot_of(uint64_t hash, uint32_t n) { return (uint32_t)((hash >> 32) * n >> 32); }

int32_t mp_tok_word(const mp_tok *t, const char *s, size_t n)
{
    if (n == 0 || n > t->max_bytes) return -1;
    for (uint32_t i = slot_of(mp_tok_hash(s, n), t->n_words); t->words[i]; i = i + 1 == t->n_words ? 0 : i + 1) {
        int32_t id = (int32_t)(t->words[i] - 1);
        mp_str  b = mp_tok_bytes(t, id);
        if (b.n == n && memcmp(b.s, s, n) == 0) return id;
    }
    return -1;
}

/* Of tokens with the same bytes the first counts. */
static void add_word(mp_tok *t, int32_t id)
{
    mp_str b = mp_tok_bytes(t, id);
    if (b.n == 0 || mp_tok_word(t, b.s, b.n) >= 0) return;
    uint32_t i = slot_of(mp_tok_hash(b.s, b.n), t->n_words);
    while (t->words[i]) i = i + 1 == t->n_words ? 0 : i + 1;
    t->words[i] = (uint32_t)id + 1;
}

static uint32_t pair_slot(const mp_tok *t, uint32_t left, uint32_t right)
{
    uint32_t i = slot_of(mp_tok_mix((uint64_t)left << 32 | right), t->n_pairs);
    while (t->pairs[i].left && (t->pairs[i].left != left || t->pairs[i].right != right)) i = i + 1 == t->n_pairs ? 0 : i + 1;
    return i;
}

const mp_tok_pair *mp_tok_pair_find(const mp_tok *t, int32_t left, int32_t right)
{
    if (left < 0 || right < 0) return NULL;
    const mp_tok_pair *p = &t->pairs[pair_slot(t, (uint32_t)left + 1, (uint32_t)right + 1)];
    return p->left ? p : NULL;
}

/* ---- token texts ---- */

/* The byte that a character of the GPT-2 alphabet stands for, -1: none. The 94 + 12 + 82 printable ones of Latin-1 stand for themselves,
 * the other 68 bytes in ascending order for U+0100 on. */
static int alphabet_byte(uint32_t cp)
{
    if ((cp >= 0x21 && cp <= 0x7E) || (cp >= 0xA1 && cp <= 0xAC) || (cp >= 0xAE && cp <= 0xFF)) return (int)cp;
    if (cp < 0x100 || cp > 0x143) return -1;
    cp -= 0x100;
    return (int)(cp < 33 ? cp : cp < 67 ? cp - 33 + 0x7F : 0xAD);
}

size_t mp_tok_from_alphabet(mp_str s, char *out, size_t cap)
{
    size_t m = 0, len;
    for (size_t i = 0; i < s.n; i += len) {
        uint32_t cp;
        len = mp_uchar_decode(s.s + i, s.n - i, &cp);
        int    b = alphabet_byte(cp);
        size_t k = b >= 0 ? 1 : len; /* what is outside of the alphabet stands for itself */
        if (m + k > cap) return cap + 1;
        if (b >= 0) out[m] = (char)b;
        else memcpy(out + m, s.s + i, len);
        m += k;
    }
    return m;
}

static size_t from_spm(mp_str s, char *out)
{
    size_t m = 0;
    for (size_t i = 0; i < s.n;) {
        bool blank = s.n - i >= 3 && memcmp(s.s + i, "\xE2\x96\x81", 3) == 0;
        out[m++] = blank ? ' ' : s.s[i];
        i += blank ? 3 : 1;
    }
    return m;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "<0x0A>" -> 10; -1 for anything else. */
static int byte_of_name(mp_str s)
{
    if (s.n != 6 || memcmp(s.s, "<0x", 3) != 0 || s.s[5] != '>') return -1;
    int hi = hex_digit(s.s[3]), lo = hex_digit(s.s[4]);
    return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

/* Raw bytes of a token; never longer than its text. */
static size_t token_bytes(const mp_tok *t, mp_tok_type type, mp_str text, char *out)
{
    int b = type == MP_TOK_BYTE ? byte_of_name(text) : -1;
    if (b >= 0) {
        out[0] = (char)b;
        return 1;
    }
    if (type == MP_TOK_NORMAL) return t->spm ? from_spm(text, out) : mp_tok_from_alphabet(text, out, text.n);
    if (text.n) memcpy(out, text.s, text.n);
    return text.n;
}

static mp_err read_texts(mp_tok *t, const mp_tok_source *src)
{
    uint64_t total = 0;
    for (int32_t i = 0; i < t->n; i++) total += src->token(src->from, i).n;
    if (total > UINT32_MAX)
        return mp_fail(MP_E_MODEL, "the vocabulary's tokens take %llu bytes; at most 4 GiB are read", (unsigned long long)total);
    mp_err err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, char, total + 1, &t->blob);
    if (!err) err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, uint32_t, (size_t)t->n + 1, &t->off);
    if (!err) err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, uint8_t, (size_t)t->n, &t->kind);
    if (err) return err;
    uint32_t at = 0;
    for (int32_t i = 0; i < t->n; i++) {
        int type = src->type ? src->type(src->from, i) : MP_TOK_NORMAL;
        if (type < MP_TOK_NORMAL || type > MP_TOK_BYTE) type = MP_TOK_UNUSED;
        t->kind[i] = (uint8_t)type;
        size_t n = token_bytes(t, (mp_tok_type)type, src->token(src->from, i), t->blob + at);
        if (n > t->max_bytes) t->max_bytes = n;
        at += (uint32_t)n;
        t->off[i + 1] = at;
    }
    return MP_OK;
}

static mp_err index_words(mp_tok *t)
{
    t->n_words = (uint32_t)t->n + (uint32_t)t->n / 2 + 8; /* two of three slots taken */
    mp_err err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, uint32_t, t->n_words, &t->words);
    for (int32_t i = 0; !err && i < t->n; i++)
        if (mp_tok_kind(t, i) == MP_TOK_NORMAL) add_word(t, i);
    return err;
}

/* ---- single bytes ---- */

static void find_bytes_spm(mp_tok *t)
{
    for (int32_t i = 0; i < t->n; i++) {
        mp_str b = mp_tok_bytes(t, i);
        if (mp_tok_kind(t, i) == MP_TOK_BYTE && b.n == 1) t->byte_id[(unsigned char)b.s[0]] = i;
    }
}

/* Some files (DeepSeek's) list the bytes that never occur in UTF-8 as user-defined tokens, named in the alphabet; they come second. */
static void find_bytes_bpe(mp_tok *t)
{
    for (int32_t i = 0; i < t->n; i++) {
        mp_str b = mp_tok_bytes(t, i);
        char   c;
        if (mp_tok_kind(t, i) != MP_TOK_USER || b.n == 0 || b.n > 2 || mp_tok_from_alphabet(b, &c, 1) != 1) continue;
        if (t->byte_id[(unsigned char)c] < 0) t->byte_id[(unsigned char)c] = i;
    }
    for (int b = 0; b < 256; b++) {
        char    c = (char)b;
        int32_t id = mp_tok_word(t, &c, 1);
        if (id >= 0) t->byte_id[b] = id;
    }
}

static void find_bytes(mp_tok *t)
{
    memset(t->byte_id, -1, sizeof t->byte_id);
    if (t->spm) find_bytes_spm(t);
    else find_bytes_bpe(t);
    for (int b = 0; b < 256; b++)
        if (t->byte_id[b] < 0) t->byte_id[b] = t->info.unk;
}

/* ---- gpt2: merges ---- */

/* Rules that name no token are skipped: published files have some, and they can never apply to ids. */
static void add_pair(mp_tok *t, uint32_t rank, mp_str left, mp_str right, char *buf)
{
    size_t  nl = mp_tok_from_alphabet(left, buf, t->max_bytes);
    int32_t l = mp_tok_word(t, buf, nl);
    size_t  nr = l < 0 ? 0 : mp_tok_from_alphabet(right, buf + nl, t->max_bytes);
    int32_t r = l < 0 ? -1 : mp_tok_word(t, buf + nl, nr);
    int32_t m = r < 0 ? -1 : mp_tok_word(t, buf, nl + nr);
    if (m < 0) return;
    mp_tok_pair *p = &t->pairs[pair_slot(t, (uint32_t)l + 1, (uint32_t)r + 1)];
    if (p->left) return; /* of equal rules the first counts */
    *p = (mp_tok_pair){ (uint32_t)l + 1, (uint32_t)r + 1, rank, (uint32_t)m };
}

static mp_err read_merges(mp_tok *t, const mp_tok_source *src)
{
    if (src->n_merges > INT32_MAX / 2) return mp_fail(MP_E_MODEL, "the vocabulary has %lld merges", (long long)src->n_merges);
    char *buf = NULL;
    t->n_pairs = (uint32_t)(src->n_merges + src->n_merges / 3 + 8); /* three of four slots taken */
    mp_err err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, mp_tok_pair, t->n_pairs, &t->pairs);
    if (!err) err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, char, 2 * t->max_bytes + 1, &buf);
    for (int64_t i = 0; !err && i < src->n_merges; i++) {
        mp_str      s = src->merge(src->from, i);
        const char *blank = s.n > 2 ? memchr(s.s + 1, ' ', s.n - 2) : NULL;
        if (!blank) {
            err = mp_fail(MP_E_MODEL, "merge %lld of the vocabulary (\"%.*s\") is not two tokens with a blank between them", (long long)i,
                          (int)(s.n < 40 ? s.n : 40), s.s ? s.s : "");
            break;
        }
        size_t left = (size_t)(blank - s.s);
        add_pair(t, (uint32_t)i, (mp_str){ s.s, left }, (mp_str){ blank + 1, s.n - left - 1 }, buf);
    }
    MP_FREE(buf);
    return err;
}

/* ---- llama: scores ---- */

/* Orders like the float, upside down: the highest score gets the lowest number. -0 counts as 0. */
static uint32_t rank_of_score(float score)
{
    uint32_t u;
    score += 0.0f;
    memcpy(&u, &score, 4);
    u = u & 0x80000000u ? ~u : u | 0x80000000u;
    return ~u;
}

static mp_err read_scores(mp_tok *t, const mp_tok_source *src)
{
    mp_err err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, uint32_t, (size_t)t->n, &t->rank);
    for (int32_t i = 0; !err && i < t->n; i++) {
        double score = src->score(src->from, i);
        if (isnan(score)) return mp_fail(MP_E_MODEL, "the score of token %d is not a number", (int)i);
        t->rank[i] = rank_of_score((float)score);
    }
    return err;
}

static mp_err index_joins(mp_tok *t)
{
    mp_err err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, uint8_t, 65536 / 8, &t->joins);
    for (int32_t i = 0; !err && i < t->n; i++) {
        if (mp_tok_kind(t, i) != MP_TOK_NORMAL) continue;
        mp_str b = mp_tok_bytes(t, i);
        for (size_t k = 1; k < b.n; k++) {
            unsigned bit = (unsigned)(unsigned char)b.s[k - 1] << 8 | (unsigned char)b.s[k];
            t->joins[bit / 8] |= (uint8_t)(1u << bit % 8);
        }
    }
    return err;
}

mp_err mp_tok_vocab_build(mp_tok *t, const mp_tok_source *source)
{
    mp_err err = read_texts(t, source);
    if (!err) err = index_words(t);
    if (err) return err;
    find_bytes(t);
    err = t->spm ? read_scores(t, source) : read_merges(t, source);
    if (!err && t->spm) err = index_joins(t);
    return err;
}
