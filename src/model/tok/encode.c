/* Text to ids. The text is cut at named tokens, each stretch between them into pieces that merges never cross, each piece is merged.
 *
 *   "Hi there<|im_end|>"  ->  stretch "Hi there", token            (named.c)
 *   "Hi there"            ->  pieces "Hi", " there"                (gpt2: pre.c; llama: below, by what no token spans)
 *   " there"              ->  ids                                  (a small cache of pieces, else merge.c)
 *
 * A piece beyond MP_TOK_MERGE_MAX bytes is merged in windows that overlap, see encode_long. All memory is the call's own. */
#include <string.h>

#include "model/tok/tok_int.h"
#include "model/tok/uchar.h"

enum { KEY_MAX = 22, IDS_MAX = 10, CACHE_MAX = 8192, CUT_TRIES = 64 };

/* One cache line: a piece and its ids. len 0: empty. */
typedef struct entry {
    uint8_t len, count;
    char    key[KEY_MAX];
    int32_t ids[IDS_MAX];
} entry;

typedef struct encoder {
    const mp_tok  *t;
    int32_t       *ids;
    size_t         cap, n;     /* n goes on counting beyond cap */
    entry         *cache;      /* direct-mapped; NULL for short texts */
    size_t         n_cache;
    mp_tok_merger *merger;     /* opened by the first long piece, and again by a longer one */
    mp_tok_symbol *symbols[3]; /* as long as the merger's pieces */
} encoder;

static void emit(encoder *e, int32_t id)
{
    if (id < 0) return; /* bytes that the vocabulary has no word for */
    if (e->n < e->cap) e->ids[e->n] = id;
    e->n++;
}

/* ids has room for the symbols' bytes. Returns how many. */
static size_t symbols_to_ids(const mp_tok *t, const char *s, const mp_tok_symbol *symbols, size_t n, int32_t *ids)
{
    size_t m = 0;
    for (size_t i = 0; i < n; s += symbols[i++].len) {
        if (symbols[i].id >= 0) {
            ids[m++] = symbols[i].id;
            continue;
        }
        for (size_t k = 0; k < symbols[i].len; k++)
            if (t->byte_id[(unsigned char)s[k]] >= 0) ids[m++] = t->byte_id[(unsigned char)s[k]];
    }
    return m;
}

static void emit_symbols(encoder *e, const char *s, const mp_tok_symbol *symbols, size_t n)
{
    int32_t ids[4]; /* a symbol that is no token is one character */
    for (size_t i = 0; i < n; s += symbols[i++].len) {
        size_t m = symbols_to_ids(e->t, s, &symbols[i], 1, ids);
        for (size_t k = 0; k < m; k++) emit(e, ids[k]);
    }
}

/* ---- short pieces, and the cache ---- */

static size_t short_ids(const mp_tok *t, const char *s, size_t n, int32_t *ids)
{
    mp_tok_symbol symbols[MP_TOK_SHORT_MAX];
    return symbols_to_ids(t, s, symbols, mp_tok_merge_short(t, s, n, symbols), ids);
}

static void encode_short(encoder *e, const char *s, size_t n)
{
    int32_t ids[MP_TOK_SHORT_MAX];
    entry  *c = e->cache && n <= KEY_MAX ? &e->cache[mp_tok_hash(s, n) >> 32 & (e->n_cache - 1)] : NULL;
    if (c && c->len == n && memcmp(c->key, s, n) == 0) {
        for (size_t i = 0; i < c->count; i++) emit(e, c->ids[i]);
        return;
    }
    size_t count = short_ids(e->t, s, n, ids);
    for (size_t i = 0; i < count; i++) emit(e, ids[i]);
    if (!c || count > IDS_MAX) return;
    c->len = (uint8_t)n;
    c->count = (uint8_t)count;
    memcpy(c->key, s, n);
    memcpy(c->ids, ids, count * sizeof *ids);
}

/* ---- long pieces ---- */

static void close_merger(encoder *e)
{
    mp_tok_merger_close(&e->merger);
    for (int i = 0; i < 3; i++) MP_FREE(e->symbols[i]);
}

static mp_err open_merger(encoder *e, size_t bytes)
{
    if (bytes <= mp_tok_merger_max(e->merger)) return MP_OK;
    close_merger(e);
    size_t max = 256;
    while (max < bytes) max *= 2;
    mp_err err = mp_tok_merger_open(e->t, max, &e->merger);
    for (int i = 0; i < 3 && !err; i++) err = MP_NEW(e->t->ledger, MP_OWN_TOKENIZER, mp_tok_symbol, max, &e->symbols[i]);
    return err;
}

/* Merges the window of the piece that begins at `at`. */
static size_t merge_window(encoder *e, const char *s, size_t n, size_t at, mp_tok_symbol *symbols)
{
    size_t end = n;
    if (n - at > MP_TOK_MERGE_MAX) {
        end = at + MP_TOK_MERGE_MAX;
        if (e->t->spm) { /* whole characters only */
            uint32_t cp;
            size_t   next = at;
            do {
                end = next;
                next += mp_uchar_decode(s + next, n - next, &cp);
            } while (next <= at + MP_TOK_MERGE_MAX);
        }
    }
    return mp_tok_merge(e->merger, s + at, end - at, symbols);
}

/* Do these two tokens' bytes, a of them and then b, merge to just these two? */
static bool agree(encoder *e, const char *s, size_t a, size_t b)
{
    if (a + b > MP_TOK_MERGE_MAX) return false;
    return mp_tok_merge(e->merger, s, a + b, e->symbols[2]) == 2 && e->symbols[2][0].len == a;
}

/* A list of tokens is what merging the whole gives exactly if each two neighbours are what merging their own bytes gives: the first join
 * across a boundary would have happened in the two alone as well, since until then they are joined in the same order. Within a window that
 * holds already; so the next window begins after a token of this one, where its own first token agrees with that token. If none of
 * CUT_TRIES places does (no text is known for which that happens) the last one is taken: memory stays bounded, ids may differ. */
static mp_err encode_long(encoder *e, const char *s, size_t n)
{
    mp_err err = open_merger(e, MP_TOK_MERGE_MAX);
    if (err) return err;
    mp_tok_symbol *a = e->symbols[0], *b = e->symbols[1];
    size_t         at = 0, na = merge_window(e, s, n, 0, a), nb = 0;
    for (;;) {
        size_t bytes = 0, k = 0;
        for (; k < na && (k == 0 || bytes + a[k].len <= MP_TOK_MERGE_MAX / 4 * 3); k++) bytes += a[k].len;
        if (n - at <= MP_TOK_MERGE_MAX) break;
        for (int tries = 1;; tries++) {
            nb = merge_window(e, s, n, at + bytes, b);
            if (k == 1 || tries == CUT_TRIES || agree(e, s + at + bytes - a[k - 1].len, a[k - 1].len, b[0].len)) break;
            bytes -= a[--k].len;
        }
        emit_symbols(e, s + at, a, k);
        at += bytes;
        na = nb;
        mp_tok_symbol *swap = a;
        a = b;
        b = swap;
    }
    emit_symbols(e, s + at, a, na);
    return MP_OK;
}

static mp_err encode_piece(void *arg, const char *s, size_t n)
{
    encoder *e = arg;
    int32_t  id = e->t->whole_tokens ? mp_tok_word(e->t, s, n) : -1;
    if (id >= 0) {
        emit(e, id);
        return MP_OK;
    }
    if (n <= MP_TOK_SHORT_MAX) {
        encode_short(e, s, n);
        return MP_OK;
    }
    if (n > MP_TOK_MERGE_MAX) return encode_long(e, s, n);
    mp_err err = open_merger(e, n);
    if (err) return err;
    emit_symbols(e, s, e->symbols[0], mp_tok_merge(e->merger, s, n, e->symbols[0]));
    return MP_OK;
}

/* ---- llama: pieces ---- */

static bool is_mark(const char *s, size_t n) { return n >= 3 && memcmp(s, "\xE2\x96\x81", 3) == 0; } /* U+2581 stands for a blank */

/* Where the word that begins at `at` ends: before the first character that no token holds after the one before it. */
static size_t word_end(const mp_tok *t, const char *s, size_t n, size_t at)
{
    uint32_t cp;
    for (;;) {
        bool mark = is_mark(s + at, n - at);
        at += mp_uchar_decode(s + at, n - at, &cp);
        if (at == n) return n;
        unsigned a = mark ? ' ' : (unsigned char)s[at - 1], b = is_mark(s + at, n - at) ? ' ' : (unsigned char)s[at];
        unsigned bit = a << 8 | b;
        if (!(t->joins[bit / 8] >> bit % 8 & 1)) return at;
    }
}

/* A word in which blanks are written otherwise, or are missing in front: encodes a copy. */
static mp_err encode_respelled(encoder *e, const char *s, size_t n, bool blank)
{
    char   small[256], *buf = small;
    size_t m = 0;
    mp_err err = n < sizeof small ? MP_OK : MP_NEW(e->t->ledger, MP_OWN_TOKENIZER, char, n + 1, &buf);
    if (err) return err;
    if (blank) buf[m++] = ' ';
    for (size_t i = 0; i < n;) {
        bool mark = is_mark(s + i, n - i);
        buf[m++] = mark ? ' ' : s[i];
        i += mark ? 3 : 1;
    }
    err = encode_piece(e, buf, m);
    if (buf != small) mp_free(buf);
    return err;
}

static mp_err encode_spm(encoder *e, const char *s, size_t n, bool blank)
{
    bool   marks = memmem(s, n, "\xE2\x96\x81", 3) != NULL;
    mp_err err = MP_OK;
    for (size_t at = 0, end; at < n && !err; at = end) {
        end = word_end(e->t, s, n, at);
        bool respell = (blank && at == 0) || (marks && memmem(s + at, end - at, "\xE2\x96\x81", 3));
        err = respell ? encode_respelled(e, s + at, end - at, blank && at == 0) : encode_piece(e, s + at, end - at);
    }
    return err;
}

/* ---- the whole ---- */

static mp_err encode_text(encoder *e, const char *text, size_t n, bool control)
{
    const mp_tok *t = e->t;
    bool          first = true; /* of the text, or after a named token */
    mp_err        err = MP_OK;
    for (size_t at = 0, end; at < n && !err;) {
        int32_t id = mp_tok_named_next(t, text, n, at, control, &end);
        if (id < 0) end = n;
        if (end > at) {
            err = t->spm ? encode_spm(e, text + at, end - at, first && t->info.add_space_prefix)
                         : mp_pre_split(t->pre, text + at, end - at, encode_piece, e);
            first = false;
        }
        if (id < 0) break;
        emit(e, id);
        first = true;
        at = end + mp_tok_bytes(t, id).n;
        if (t->kind[id] & MP_TOK_EATS_SPACE)
            while (at < n && (text[at] == ' ' || (text[at] >= '\t' && text[at] <= '\r'))) at++;
    }
    return err;
}

mp_err mp_tok_encode(const mp_tok *tok, mp_str text, unsigned flags, int32_t *ids, size_t cap, size_t *out_n)
{
    *out_n = 0;
    encoder e = { .t = tok, .ids = ids, .cap = cap };
    mp_err  err = MP_OK;
    if (text.n >= 1024) { /* shorter texts hardly repeat themselves */
        e.n_cache = 64;
        while (e.n_cache < CACHE_MAX && e.n_cache < text.n / 16) e.n_cache *= 2;
        err = MP_NEW(tok->ledger, MP_OWN_TOKENIZER, entry, e.n_cache, &e.cache);
    }
    if ((flags & MP_TOK_BOS) && tok->info.add_bos) emit(&e, tok->info.bos);
    if (!err) err = encode_text(&e, text.s, text.n, flags & MP_TOK_SPECIAL);
    if ((flags & MP_TOK_BOS) && tok->info.add_eos) emit(&e, tok->info.eos);
    close_merger(&e);
    mp_free(e.cache);
    if (!err) *out_n = e.n;
    return err;
}
