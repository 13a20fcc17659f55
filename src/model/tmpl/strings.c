/* What filters and methods of strings share: arguments, split, join, sort. */
#include <string.h>

#include "model/tmpl/eval.h"

mp_err mp_tr_need_str(mp_tr *r, mp_tv v, const char *what)
{
    if (v.type == MP_TV_STR) return MP_OK;
    if (v.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, v);
    return mp_tr_fail(r, "%s needs a string, not %s", what, mp_tv_type_name(v));
}

mp_err mp_targ_int(mp_tr *r, mp_tv v, int64_t otherwise, int64_t *out)
{
    *out = otherwise;
    if (v.type == MP_TV_MISSING) return MP_OK;
    if (v.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, v);
    if (!mp_tv_is_int(v)) return mp_tr_fail(r, "an integer is needed, not %s", mp_tv_type_name(v));
    *out = mp_tv_as_int(v);
    return MP_OK;
}

bool mp_targ_truth(mp_tv v, bool otherwise) { return v.type == MP_TV_MISSING ? otherwise : mp_tv_truth(v); }

/* ---- split ---- */

static mp_err add_part(mp_tr *r, mp_tv list, mp_tv s, size_t from, size_t to)
{
    return mp_tlist_add(&r->mem, list.list, mp_tv_str(s.s + from, to - from));
}

static void reverse(mp_tlist *list, uint32_t from)
{
    for (uint32_t a = from, b = list->n; a + 1 < b; a++, b--) {
        mp_tv t = list->v[a];
        list->v[a] = list->v[b - 1];
        list->v[b - 1] = t;
    }
}

/* The next word of s at or behind from: [*begin, *end); false when only whitespace is left. */
static bool next_word(mp_tv s, size_t from, size_t *begin, size_t *end)
{
    mp_tv rest = mp_text_strip(mp_tv_str(s.s + from, s.n - from), mp_tv_none(), MP_TEXT_LEFT);
    int len;
    *begin = *end = (size_t)(rest.s - s.s);
    while (*end < s.n && !mp_text_is_space(mp_text_decode(s.s + *end, s.s + s.n, &len))) *end += (size_t)len;
    return *end > *begin;
}

/* The last word of s[0..to). */
static bool last_word(mp_tv s, size_t to, size_t *begin, size_t *end)
{
    mp_tv rest = mp_text_strip(mp_tv_str(s.s, to), mp_tv_none(), MP_TEXT_RIGHT);
    int len;
    *begin = *end = rest.n;
    while (*begin > 0) {
        size_t p = *begin - 1;
        while (p > 0 && (s.s[p] & 0xc0) == 0x80) p--;
        if (mp_text_is_space(mp_text_decode(s.s + p, s.s + s.n, &len))) break;
        *begin = p;
    }
    return *end > *begin;
}

static mp_err split_words(mp_tr *r, mp_tv s, int64_t max, bool from_right, mp_tv out)
{
    size_t begin, end, at = from_right ? s.n : 0;
    mp_err err = MP_OK;
    while (!err && (from_right ? last_word(s, at, &begin, &end) : next_word(s, at, &begin, &end))) {
        if (max-- == 0) { /* the rest is one part, without the whitespace next to what was split off */
            return from_right ? add_part(r, out, s, 0, end) : add_part(r, out, s, begin, s.n);
        }
        err = add_part(r, out, s, begin, end);
        at = from_right ? begin : end;
    }
    return err;
}

static mp_err split_at(mp_tr *r, mp_tv s, mp_tv sep, int64_t max, bool from_right, mp_tv out)
{
    size_t from = 0, to = s.n;
    mp_err err = MP_OK;
    while (!err && max-- != 0) {
        int64_t at = from_right ? mp_text_rfind(mp_tv_str(s.s, to), sep) : mp_text_find(s, sep, from);
        if (at < 0) break;
        if (from_right) {
            err = add_part(r, out, s, (size_t)at + sep.n, to);
            to = (size_t)at;
        } else {
            err = add_part(r, out, s, from, (size_t)at);
            from = (size_t)at + sep.n;
        }
    }
    return err ? err : add_part(r, out, s, from, to);
}

mp_err mp_tsplit(mp_tr *r, mp_tv s, mp_tv sep, int64_t max, bool from_right, mp_tv *out)
{
    mp_err err = mp_tr_new_list(r, 0, out);
    if (err) return err;
    if (sep.type == MP_TV_MISSING || sep.type == MP_TV_NONE) err = split_words(r, s, max, from_right, *out);
    else {
        err = mp_tr_need_str(r, sep, "split");
        if (!err && sep.n == 0) err = mp_tr_fail(r, "the separator of split is empty");
        if (!err && from_right) err = mp_tr_charge(r, (uint64_t)mp_tv_weight(s) * mp_tv_weight(sep));
        if (!err) err = split_at(r, s, sep, max, from_right, *out);
    }
    if (!err && from_right) reverse(out->list, 0);
    return err;
}

mp_err mp_tsplit_lines(mp_tr *r, mp_tv s, bool keep_ends, mp_tv *out)
{
    size_t from = 0;
    int len;
    mp_err err = mp_tr_new_list(r, 0, out);
    for (size_t at = 0; at < s.n && !err; at += (size_t)len) {
        if (!mp_text_is_line_end(mp_text_decode(s.s + at, s.s + s.n, &len))) continue;
        if (s.s[at] == '\r' && at + 1 < s.n && s.s[at + 1] == '\n') len = 2;
        err = add_part(r, *out, s, from, keep_ends ? at + (size_t)len : at);
        from = at + (size_t)len;
    }
    return err || from >= s.n ? err : add_part(r, *out, s, from, s.n);
}

/* ---- join and sort ---- */

mp_err mp_tjoin(mp_tr *r, mp_tv sep, mp_tv elements, bool convert, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem, .limit_bytes = r->limits.output_bytes };
    mp_tlist *list = NULL;
    mp_err err = mp_tv_elements(r, elements, &list);
    for (uint32_t i = 0; !err && i < list->n; i++) {
        if (!convert) err = mp_tr_need_str(r, list->v[i], "join");
        if (!err && i > 0) err = mp_tbuf_add(&buf, sep.s, sep.n);
        if (!err) err = mp_tv_print(r, &buf, list->v[i]);
    }
    *out = mp_tbuf_value(&buf);
    return err;
}

/* Merges the sorted halves [0, half) and [half, n) of from into to. */
static mp_err merge(mp_tr *r, const mp_tpair *from, uint32_t half, uint32_t n, bool reverse_order, mp_tpair *to)
{
    uint32_t a = 0, b = half;
    for (uint32_t i = 0; i < n; i++) {
        int order = -1;
        if (a < half && b < n) {
            mp_tv left = from[reverse_order ? b : a].key, right = from[reverse_order ? a : b].key;
            mp_err err = mp_tv_order(r, left, right, &order);
            if (err) return err;
            if (order == 2) order = 0; /* NaN */
        } else if (a >= half) order = 1;
        to[i] = order > 0 ? from[b++] : from[a++];
    }
    return MP_OK;
}

mp_err mp_tr_sort(mp_tr *r, mp_tpair *pairs, uint32_t n, bool reverse_order)
{
    mp_tpair *other = NULL;
    mp_err err = MP_TNEW(&r->mem, mp_tpair, n, &other);
    for (uint32_t width = 1; width < n && !err; width *= 2) {
        for (uint32_t at = 0; at < n && !err; at += 2 * width) {
            uint32_t len = n - at < 2 * width ? n - at : 2 * width;
            err = merge(r, pairs + at, len < width ? len : width, len, reverse_order, other + at);
        }
        if (!err) memcpy(pairs, other, n * sizeof(mp_tpair));
    }
    return err;
}
