/* Methods of str, dict, list, tuple, and of Jinja's own objects. Those that would change a list or dict do not exist here. */
#include <string.h>

#include "model/tmpl/eval.h"

/* ---- str: cases and classes ---- */

static mp_err recase(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    mp_err err = mp_text_recase(&buf, c->self, (mp_text_case)c->how);
    *out = mp_tbuf_value(&buf);
    out->flag = c->self.flag;
    return err;
}

static mp_err is_class(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    (void)r;
    *out = mp_tv_bool(mp_text_is(c->self, (mp_text_class)c->how));
    return MP_OK;
}

/* ---- str: parts ---- */

static mp_err strip(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    bool given = c->a[0].type != MP_TV_MISSING && c->a[0].type != MP_TV_NONE;
    mp_err err = given ? mp_tr_need_str(r, c->a[0], "strip") : MP_OK;
    if (!err && given) err = mp_tr_charge(r, (uint64_t)mp_tv_weight(c->self) * mp_tv_weight(c->a[0]));
    if (!err) *out = mp_text_strip(c->self, given ? c->a[0] : mp_tv_none(), c->how);
    return err;
}

static mp_err split(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    int64_t max;
    mp_err err = mp_targ_int(r, c->a[1], -1, &max);
    return err ? err : mp_tsplit(r, c->self, c->a[0], max, c->how, out);
}

static mp_err splitlines(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    return mp_tsplit_lines(r, c->self, mp_targ_truth(c->a[0], false), out);
}

static mp_err partition(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv s = c->self, sep = c->a[0], empty = mp_tv_str("", 0);
    mp_err err = mp_tr_need_str(r, sep, "partition");
    if (!err && sep.n == 0) err = mp_tr_fail(r, "the separator of partition is empty");
    if (!err && c->how) err = mp_tr_charge(r, (uint64_t)mp_tv_weight(s) * mp_tv_weight(sep));
    if (!err) err = mp_tr_new_list(r, 3, out);
    if (err) return err;
    int64_t at = c->how ? mp_text_rfind(s, sep) : mp_text_find(s, sep, 0);
    mp_tv parts[3] = { s, empty, empty };
    if (at < 0 && c->how) {
        parts[0] = empty;
        parts[2] = s;
    } else if (at >= 0) {
        parts[0] = mp_tv_str(s.s, (size_t)at);
        parts[1] = sep;
        parts[2] = mp_tv_str(s.s + at + sep.n, s.n - (size_t)at - sep.n);
    }
    for (int i = 0; i < 3 && !err; i++) err = mp_tlist_add(&r->mem, out->list, parts[i]);
    out->type = MP_TV_TUPLE;
    return err;
}

/* self[start:end] for find, count, startswith; *base: its first character's number. */
static mp_err window(mp_tr *r, mp_tv s, mp_tv start, mp_tv end, mp_tv *out, int64_t *base)
{
    int64_t n = mp_tv_length(s), bound[2];
    mp_tv given[2] = { start, end };
    *out = s;
    *base = 0;
    for (int i = 0; i < 2; i++) {
        if (given[i].type == MP_TV_NONE) given[i].type = MP_TV_MISSING;
        mp_err err = mp_targ_int(r, given[i], i == 0 ? 0 : n, &bound[i]);
        if (err) return err;
        if (bound[i] < 0) bound[i] += n;
        if (bound[i] < 0) bound[i] = 0;
    }
    if (bound[1] > n) bound[1] = n;
    *base = bound[0];
    if (bound[0] > bound[1]) { /* nothing, not even the empty string */
        *out = (mp_tv){ 0 };
        return MP_OK;
    }
    size_t from = mp_text_offset(s, bound[0]), to = mp_text_offset(s, bound[1]);
    *out = mp_tv_str(s.s + from, to - from);
    return MP_OK;
}

static bool matches_end(mp_tv s, mp_tv part, bool end)
{
    if (s.type != MP_TV_STR || part.n > s.n) return false;
    return part.n == 0 || memcmp(end ? s.s + s.n - part.n : s.s, part.s, part.n) == 0;
}

static mp_err starts_or_ends(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv part = c->a[0], s;
    int64_t base;
    bool yes = false;
    mp_err err = window(r, c->self, c->a[1], c->a[2], &s, &base);
    if (!err && part.type == MP_TV_TUPLE) {
        for (uint32_t i = 0; i < part.list->n && !yes && !err; i++) {
            err = mp_tr_need_str(r, part.list->v[i], "startswith");
            yes = !err && matches_end(s, part.list->v[i], c->how);
        }
    } else if (!err) {
        err = mp_tr_need_str(r, part, "startswith");
        yes = !err && matches_end(s, part, c->how);
    }
    *out = mp_tv_bool(yes);
    return err;
}

enum { FIND, RFIND, INDEX, RINDEX };

static mp_err find(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv s;
    int64_t base, at = -1;
    bool right = c->how == RFIND || c->how == RINDEX;
    mp_err err = mp_tr_need_str(r, c->a[0], "find");
    if (!err) err = window(r, c->self, c->a[1], c->a[2], &s, &base);
    if (!err && right) err = mp_tr_charge(r, (uint64_t)mp_tv_weight(c->self) * mp_tv_weight(c->a[0]));
    if (err) return err;
    if (s.type == MP_TV_STR) at = right ? mp_text_rfind(s, c->a[0]) : mp_text_find(s, c->a[0], 0);
    if (at < 0 && c->how >= INDEX) return mp_tr_fail(r, "the text to find is not there");
    *out = mp_tv_int(at < 0 ? -1 : base + mp_text_chars(s.s, (size_t)at));
    return MP_OK;
}

static mp_err count_str(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv s;
    int64_t base, n = 0;
    mp_err err = mp_tr_need_str(r, c->a[0], "count");
    if (!err) err = window(r, c->self, c->a[1], c->a[2], &s, &base);
    if (err) return err;
    if (s.type == MP_TV_STR && c->a[0].n == 0) n = mp_tv_length(s) + 1;
    else if (s.type == MP_TV_STR)
        for (int64_t at = 0; (at = mp_text_find(s, c->a[0], (size_t)at)) >= 0; at += c->a[0].n) n++;
    *out = mp_tv_int(n);
    return MP_OK;
}

/* ---- str: new texts ---- */

static mp_err replace(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    int64_t count;
    mp_err err = mp_tr_need_str(r, c->a[0], "replace");
    if (!err) err = mp_tr_need_str(r, c->a[1], "replace");
    if (!err) err = mp_targ_int(r, c->a[2], -1, &count);
    if (!err) err = mp_text_replace(&buf, c->self, c->a[0], c->a[1], count);
    *out = mp_tbuf_value(&buf);
    return err;
}

static mp_err join(mp_tr *r, const mp_tcall *c, mp_tv *out) { return mp_tjoin(r, c->self, c->a[0], false, out); }

static mp_err format(mp_tr *r, const mp_tcall *c, mp_tv *out) { return mp_tformat_braces(r, c->self, c->args, out); }

static mp_err remove_end(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_err err = mp_tr_need_str(r, c->a[0], c->how ? "removesuffix" : "removeprefix");
    if (err) return err;
    bool yes = matches_end(c->self, c->a[0], c->how);
    size_t n = yes ? c->a[0].n : 0;
    *out = mp_tv_str(c->how ? c->self.s : c->self.s + n, c->self.n - n);
    return MP_OK;
}

enum { CENTER, LEFT, RIGHT };

static mp_err justify(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    int64_t width;
    mp_tv fill = c->a[1].type == MP_TV_MISSING ? mp_tv_str(" ", 1) : c->a[1];
    mp_err err = mp_targ_int(r, c->a[0], 0, &width);
    if (!err) err = mp_tr_need_str(r, fill, "center");
    if (!err && mp_tv_length(fill) != 1) err = mp_tr_fail(r, "the fill must be one character");
    int64_t n = mp_tv_length(c->self), pad = !err && width > n ? width - n : 0;
    int64_t left = c->how == RIGHT ? pad : c->how == LEFT ? 0 : pad / 2 + (pad & width & 1); /* as CPython rounds */
    if (!err) err = mp_tbuf_fill(&buf, fill.s, fill.n, left);
    if (!err) err = mp_tbuf_add(&buf, c->self.s, c->self.n);
    if (!err) err = mp_tbuf_fill(&buf, fill.s, fill.n, pad - left);
    *out = mp_tbuf_value(&buf);
    return err;
}

static mp_err zfill(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    int64_t width;
    mp_tv s = c->self;
    mp_err err = mp_targ_int(r, c->a[0], 0, &width);
    size_t sign = s.n > 0 && (s.s[0] == '-' || s.s[0] == '+');
    if (!err) err = mp_tbuf_add(&buf, s.s, sign);
    if (!err) err = mp_tbuf_fill(&buf, "0", 1, width - mp_tv_length(s));
    if (!err) err = mp_tbuf_add(&buf, s.s + sign, s.n - sign);
    *out = mp_tbuf_value(&buf);
    return err;
}

static mp_err expandtabs(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    int64_t size, column = 0;
    int len;
    mp_err err = mp_targ_int(r, c->a[0], 8, &size);
    for (const char *p = c->self.s, *end = p + c->self.n; p < end && !err; p += len) {
        uint32_t code = mp_text_decode(p, end, &len);
        int64_t pad = size > 0 ? size - column % size : 0;
        if (code == '\t') err = mp_tbuf_fill(&buf, " ", 1, pad);
        else err = mp_tbuf_add(&buf, p, (size_t)len);
        column = code == '\n' || code == '\r' ? 0 : column + (code == '\t' ? pad : 1);
    }
    *out = mp_tbuf_value(&buf);
    return err;
}

static const mp_tbuiltin str_methods[] = {
    { "upper", recase, "", 0, MP_TEXT_UPPER }, { "lower", recase, "", 0, MP_TEXT_LOWER }, { "title", recase, "", 0, MP_TEXT_TITLE },
    { "capitalize", recase, "", 0, MP_TEXT_CAPITALIZE }, { "swapcase", recase, "", 0, MP_TEXT_SWAP },
    { "casefold", recase, "", 0, MP_TEXT_LOWER }, { "isalpha", is_class, "", 0, MP_TEXT_ALPHA },
    { "isdigit", is_class, "", 0, MP_TEXT_DIGIT }, { "isdecimal", is_class, "", 0, MP_TEXT_DECIMAL },
    { "isnumeric", is_class, "", 0, MP_TEXT_NUMERIC }, { "isalnum", is_class, "", 0, MP_TEXT_ALNUM },
    { "isspace", is_class, "", 0, MP_TEXT_SPACE }, { "isascii", is_class, "", 0, MP_TEXT_ASCII },
    { "isupper", is_class, "", 0, MP_TEXT_IS_UPPER }, { "islower", is_class, "", 0, MP_TEXT_IS_LOWER },
    { "istitle", is_class, "", 0, MP_TEXT_IS_TITLE }, { "strip", strip, "/chars", 0, MP_TEXT_LEFT | MP_TEXT_RIGHT },
    { "lstrip", strip, "/chars", 0, MP_TEXT_LEFT }, { "rstrip", strip, "/chars", 0, MP_TEXT_RIGHT },
    { "split", split, "sep maxsplit", 0, false }, { "rsplit", split, "sep maxsplit", 0, true },
    { "splitlines", splitlines, "keepends", 0, 0 }, { "partition", partition, "/sep", 1, false },
    { "rpartition", partition, "/sep", 1, true }, { "startswith", starts_or_ends, "/prefix start end", 1, false },
    { "endswith", starts_or_ends, "/suffix start end", 1, true }, { "find", find, "/sub start end", 1, FIND },
    { "rfind", find, "/sub start end", 1, RFIND }, { "index", find, "/sub start end", 1, INDEX },
    { "rindex", find, "/sub start end", 1, RINDEX }, { "count", count_str, "/sub start end", 1, 0 },
    { "replace", replace, "/old new count", 2, 0 }, { "join", join, "/iterable", 1, 0 }, { "format", format, "*", 0, 0 },
    { "removeprefix", remove_end, "/prefix", 1, false }, { "removesuffix", remove_end, "/suffix", 1, true },
    { "center", justify, "/width fillchar", 1, CENTER }, { "ljust", justify, "/width fillchar", 1, LEFT },
    { "rjust", justify, "/width fillchar", 1, RIGHT }, { "zfill", zfill, "/width", 1, 0 }, { "expandtabs", expandtabs, "tabsize", 0, 0 },
    { 0 },
};

/* ---- dict ---- */

static mp_err view(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    (void)r;
    *out = (mp_tv){ .type = MP_TV_VIEW, .flag = (uint8_t)c->how, .dict = c->self.dict };
    return MP_OK;
}

static mp_err get(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    if (!mp_tv_hashable(c->a[0])) return mp_tr_fail(r, "a %s cannot be a key", mp_tv_type_name(c->a[0]));
    const mp_tv *there = mp_tdict_get(c->self.dict, c->a[0]);
    *out = there ? *there : c->a[1].type == MP_TV_MISSING ? mp_tv_none() : c->a[1];
    return MP_OK;
}

static mp_err itself(mp_tr *r, const mp_tcall *c, mp_tv *out) /* copy: nothing can change either */
{
    (void)r;
    *out = c->self;
    return MP_OK;
}

static const mp_tbuiltin dict_methods[] = {
    { "items", view, "", 0, MP_TV_ITEMS }, { "keys", view, "", 0, MP_TV_KEYS }, { "values", view, "", 0, MP_TV_VALUES },
    { "get", get, "/key default", 1, 0 }, { "copy", itself, "", 0, 0 }, { 0 },
};

/* ---- list, tuple, range ---- */

static mp_err count_in(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL;
    int64_t n = 0;
    mp_err err = mp_tv_elements(r, c->self, &list);
    if (!err) err = mp_tr_charge(r, list->weight);
    for (uint32_t i = 0; !err && i < list->n; i++) n += mp_tv_equal(list->v[i], c->a[0]);
    *out = mp_tv_int(n);
    return err;
}

static mp_err index_in(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL;
    int64_t start, end;
    mp_err err = mp_tv_elements(r, c->self, &list);
    if (!err) err = mp_tr_charge(r, list->weight);
    if (!err) err = mp_targ_int(r, c->a[1], 0, &start);
    if (!err) err = mp_targ_int(r, c->a[2], list->n, &end);
    if (err) return err;
    if (start < 0) start = start + list->n < 0 ? 0 : start + list->n;
    if (end < 0) end += list->n;
    for (int64_t i = start; i < end && i < list->n; i++) {
        if (!mp_tv_equal(list->v[i], c->a[0])) continue;
        *out = mp_tv_int(i);
        return MP_OK;
    }
    return mp_tr_fail(r, "the value to find is not in the list");
}

static const mp_tbuiltin list_methods[] = {
    { "count", count_in, "/value", 1, 0 }, { "index", index_in, "/value start stop", 1, 0 }, { "copy", itself, "", 0, 0 }, { 0 },
};

/* ---- cycler ---- */

static mp_err cycler_next(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    (void)r;
    mp_tcycle *cycle = c->self.cycle;
    *out = cycle->items->v[cycle->at];
    cycle->at = (cycle->at + 1) % cycle->items->n;
    return MP_OK;
}

static mp_err cycler_reset(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    (void)r;
    c->self.cycle->at = 0;
    *out = mp_tv_none();
    return MP_OK;
}

static const mp_tbuiltin cycler_methods[] = { { "next", cycler_next, "", 0, 0 }, { "reset", cycler_reset, "", 0, 0 }, { 0 } };

const mp_tbuiltin *mp_tmethod_find(mp_tv self, mp_tv name)
{
    switch (self.type) {
    case MP_TV_STR: return mp_tbuiltin_find(str_methods, name);
    case MP_TV_DICT: return mp_tbuiltin_find(dict_methods, name);
    case MP_TV_LIST: return mp_tbuiltin_find(list_methods, name);
    case MP_TV_TUPLE:
    case MP_TV_RANGE: return mp_tv_is_text(name, "copy") ? NULL : mp_tbuiltin_find(list_methods, name);
    case MP_TV_CYCLER: return mp_tbuiltin_find(cycler_methods, name);
    default: return NULL;
    }
}
