/* Tokens that are found in text by their name: control tokens such as <|im_end|>, and user-defined ones. The names lie sorted, so that
 * a search narrows a range of them byte by byte: the sorted array stands for a trie. */
#include <stdlib.h>
#include <string.h>

#include "model/tok/tok_int.h"

static bool is_named(mp_tok_type type) { return type == MP_TOK_CONTROL || type == MP_TOK_USER || type == MP_TOK_UNKNOWN; }

static int by_name(const void *a, const void *b, void *tok)
{
    mp_str x = mp_tok_bytes(tok, *(const int32_t *)a), y = mp_tok_bytes(tok, *(const int32_t *)b);
    size_t n = x.n < y.n ? x.n : y.n;
    int    c = n ? memcmp(x.s, y.s, n) : 0;
    return c ? c : (x.n > y.n) - (x.n < y.n);
}

mp_err mp_tok_named_build(mp_tok *t)
{
    for (int32_t i = 0; i < t->n; i++) t->n_named += is_named(mp_tok_kind(t, i)) && mp_tok_bytes(t, i).n > 0;
    mp_err err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, int32_t, (size_t)t->n_named, &t->named);
    if (err) return err;
    int32_t k = 0;
    for (int32_t i = 0; i < t->n; i++) {
        mp_str b = mp_tok_bytes(t, i);
        if (!is_named(mp_tok_kind(t, i)) || b.n == 0) continue;
        unsigned char c = (unsigned char)b.s[0];
        t->first_any[c / 8] |= (uint8_t)(1u << c % 8);
        if (mp_tok_kind(t, i) == MP_TOK_USER) t->first_user[c / 8] |= (uint8_t)(1u << c % 8);
        t->named[k++] = i;
    }
    qsort_r(t->named, (size_t)t->n_named, sizeof *t->named, by_name, t);
    return MP_OK;
}

/* First place in [lo, hi) whose name, all of which agree in their first `depth` bytes and are longer, has a byte >= c there. */
static int32_t lower_bound(const mp_tok *t, int32_t lo, int32_t hi, size_t depth, unsigned c)
{
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if ((unsigned char)mp_tok_bytes(t, t->named[mid]).s[depth] < c) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* The longest name that the text begins with, -1: none. */
static int32_t match(const mp_tok *t, const char *text, size_t n, bool control)
{
    int32_t lo = 0, hi = t->n_named, best = -1;
    for (size_t depth = 0; lo < hi; depth++) {
        while (lo < hi && mp_tok_bytes(t, t->named[lo]).n == depth) { /* names that end here sort first */
            if (control || mp_tok_kind(t, t->named[lo]) == MP_TOK_USER) best = t->named[lo];
            lo++;
        }
        if (depth == n) break;
        unsigned c = (unsigned char)text[depth];
        lo = lower_bound(t, lo, hi, depth, c);
        hi = lower_bound(t, lo, hi, depth, c + 1);
    }
    return best;
}

int32_t mp_tok_named_next(const mp_tok *t, const char *text, size_t n, size_t from, bool control, size_t *at)
{
    const uint8_t *first = control ? t->first_any : t->first_user;
    for (size_t i = from; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!(first[c / 8] >> c % 8 & 1)) continue;
        int32_t id = match(t, text + i, n - i, control);
        if (id < 0) continue;
        *at = i;
        return id;
    }
    return -1;
}

int32_t mp_tok_find(const mp_tok *t, const char *text, size_t n)
{
    int32_t id = n ? match(t, text, n, true) : -1;
    return id >= 0 && mp_tok_bytes(t, id).n == n ? id : -1;
}
