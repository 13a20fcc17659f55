/* Ids to text: all at once, and as a stream of whole characters. */
#include <string.h>

#include "model/tok/tok_int.h"
#include "model/tok/uchar.h"

mp_str mp_tok_shown(const mp_tok *t, int32_t id, unsigned flags)
{
    mp_str none = { "", 0 };
    if (id < 0 || id >= t->n) return none;
    mp_tok_type type = mp_tok_kind(t, id);
    bool        hidden = type == MP_TOK_UNUSED || ((type == MP_TOK_CONTROL || type == MP_TOK_UNKNOWN) && !(flags & MP_TOK_SPECIAL));
    return hidden ? none : mp_tok_bytes(t, id);
}

/* The blank that encoding put before the text: gone from the first token that shows anything. */
static mp_str without_blank(const mp_tok *t, mp_str s)
{
    if (t->info.add_space_prefix && s.n && s.s[0] == ' ') return (mp_str){ s.s + 1, s.n - 1 };
    return s;
}

size_t mp_tok_decode(const mp_tok *tok, const int32_t *ids, size_t n, unsigned flags, char *buf, size_t cap)
{
    bool   started = flags & MP_TOK_CONTINUE;
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        mp_str s = mp_tok_shown(tok, ids[i], flags);
        if (s.n == 0) continue;
        if (!started) s = without_blank(tok, s);
        started = true;
        size_t k = m >= cap ? 0 : s.n < cap - m ? s.n : cap - m;
        if (k) memcpy(buf + m, s.s, k);
        m += s.n;
    }
    return m;
}

/* ---- the stream ---- */

/* How the bytes at s go on: a whole character (its length), a beginning of one that the end of s cuts off (0), or a maximal invalid part
 * (minus its length). After the first byte only the second has a range of its own (no overlongs, no surrogates, nothing above 10FFFF). */
static int look(const unsigned char *s, size_t n)
{
    unsigned char c = s[0], lo = 0x80, hi = 0xBF;
    if (c < 0x80) return 1;
    int len = c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    if (len == 0) return -1;
    if (c == 0xE0) lo = 0xA0;
    if (c == 0xED) hi = 0x9F;
    if (c == 0xF0) lo = 0x90;
    if (c == 0xF4) hi = 0x8F;
    for (int i = 1; i < len; i++) {
        if ((size_t)i == n) return 0;
        if (s[i] < lo || s[i] > hi) return -i;
        lo = 0x80;
        hi = 0xBF;
    }
    return len;
}

static size_t put_replacement(char *out)
{
    memcpy(out, "\xEF\xBF\xBD", 3);
    return 3;
}

/* Adds one byte to what is held, and writes what becomes certain: at most two replacements, or one and a character. */
static size_t push_byte(mp_detok *d, unsigned char c, char *out)
{
    size_t m = 0;
    d->held[d->n_held++] = c;
    while (d->n_held) {
        int k = look(d->held, d->n_held);
        if (k == 0) break;
        size_t len = (size_t)(k < 0 ? -k : k);
        if (k > 0) memcpy(out + m, d->held, len);
        m += k > 0 ? len : put_replacement(out + m);
        d->n_held = (unsigned char)(d->n_held - len);
        memmove(d->held, d->held + len, d->n_held);
    }
    return m;
}

size_t mp_detok_cap(const mp_tok *tok) { return 3 * (tok->max_bytes + 4); }

size_t mp_detok_push(mp_detok *d, const mp_tok *tok, int32_t id, char *out)
{
    mp_str s = mp_tok_shown(tok, id, d->flags);
    size_t m = 0;
    if (s.n == 0) return 0;
    if (!d->started && !(d->flags & MP_TOK_CONTINUE)) s = without_blank(tok, s);
    d->started = true;
    for (size_t i = 0; i < s.n; i++) m += push_byte(d, (unsigned char)s.s[i], out + m);
    return m;
}

size_t mp_detok_flush(mp_detok *d, char *out)
{
    size_t m = d->n_held ? put_replacement(out) : 0; /* what is held is one maximal part: all of it could still have become a character */
    d->n_held = 0;
    return m;
}
