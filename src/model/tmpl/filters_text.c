/* Filters that make texts and numbers. Most convert their value to a string first, as Jinja's do. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/tmpl/eval.h"

/* ---- strings ---- */

static mp_err recase(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    mp_tv s;
    mp_err err = mp_tv_to_str(r, c->self, &s);
    if (!err) err = mp_text_recase(&buf, s, (mp_text_case)c->how);
    *out = mp_tbuf_value(&buf);
    return err;
}

/* Words begin after whitespace and after - ( { [ <. */
static mp_err title(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    mp_tv s;
    bool first = true;
    int len;
    mp_err err = mp_tv_to_str(r, c->self, &s);
    for (const char *p = s.s, *end = s.s + s.n; !err && p < end; p += len) {
        uint32_t code = mp_text_decode(p, end, &len);
        err = mp_text_recase(&buf, mp_tv_str(p, (size_t)len), first ? MP_TEXT_UPPER : MP_TEXT_LOWER);
        first = mp_text_is_space(code) || (code < 0x80 && code && strchr("-({[<", (int)code));
    }
    *out = mp_tbuf_value(&buf);
    return err;
}

static mp_err trim(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv s, chars = c->a[0];
    mp_err err = mp_tv_to_str(r, c->self, &s);
    bool given = chars.type != MP_TV_MISSING && chars.type != MP_TV_NONE;
    if (!err && given) err = mp_tr_need_str(r, chars, "trim");
    if (!err && given) err = mp_tr_charge(r, (uint64_t)mp_tv_weight(s) * mp_tv_weight(chars));
    if (!err) *out = mp_text_strip(s, given ? chars : mp_tv_none(), MP_TEXT_LEFT | MP_TEXT_RIGHT);
    return err;
}

static mp_err replace(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    mp_tv s, old, new_text, count = c->a[2];
    int64_t max = -1;
    mp_err err = mp_tv_to_str(r, c->self, &s);
    if (!err) err = mp_tv_to_str(r, c->a[0], &old);
    if (!err) err = mp_tv_to_str(r, c->a[1], &new_text);
    if (!err && count.type != MP_TV_NONE) err = mp_targ_int(r, count, -1, &max);
    if (!err) err = mp_text_replace(&buf, s, old, new_text, max);
    *out = mp_tbuf_value(&buf);
    return err;
}

static mp_err to_string(mp_tr *r, const mp_tcall *c, mp_tv *out) { return mp_tv_to_str(r, c->self, out); }

static mp_err safe(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_err err = mp_tv_to_str(r, c->self, out);
    out->flag = MP_TV_MARKUP;
    return err;
}

static mp_err escape(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    mp_tv s;
    mp_err err = mp_tv_to_str(r, c->self, &s);
    *out = s;
    if (err || (s.flag == MP_TV_MARKUP && c->self.type == MP_TV_STR && !c->how)) return err;
    err = mp_text_escape(&buf, s);
    *out = mp_tbuf_value(&buf);
    out->flag = MP_TV_MARKUP;
    return err;
}

/* The first line and empty lines are left as they are unless asked for. */
static mp_err indent(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    mp_tv lines, width = c->a[0], pad = mp_tv_str(" ", 1);
    int64_t times = 1;
    bool first = mp_targ_truth(c->a[1], false), blank = mp_targ_truth(c->a[2], false);
    mp_err err = mp_tr_need_str(r, c->self, "indent");
    if (!err && width.type == MP_TV_STR) pad = width;
    else if (!err) err = mp_targ_int(r, width, 4, &times);
    if (!err) err = mp_tv_concat(r, c->self, mp_tv_str("\n", 1), &lines);
    if (!err) err = mp_tsplit_lines(r, lines, false, &lines);
    for (uint32_t i = 0; !err && i < lines.list->n; i++) {
        mp_tv line = lines.list->v[i];
        if (i > 0) err = mp_tbuf_byte(&buf, '\n');
        bool padded = i == 0 ? first : blank || line.n > 0;
        if (!err && padded) err = mp_tbuf_fill(&buf, pad.s, pad.n, times);
        if (!err) err = mp_tbuf_add(&buf, line.s, line.n);
    }
    *out = mp_tbuf_value(&buf);
    return err;
}

static mp_err center(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv s;
    mp_err err = mp_tv_to_str(r, c->self, &s);
    mp_tv width = c->a[0].type == MP_TV_MISSING ? mp_tv_int(80) : c->a[0];
    const mp_tbuiltin *method = mp_tmethod_find(mp_tv_str("", 0), mp_tv_str("center", 6));
    return err ? err : mp_tbuiltin_call(r, method, s, &(mp_targs){ .v = &width, .n = 1 }, out);
}

static mp_err truncate_text(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    int64_t length, leeway;
    mp_tv end = c->a[2].type == MP_TV_MISSING ? mp_tv_str("...", 3) : c->a[2], cut, list, given = c->a[3];
    if (given.type == MP_TV_NONE) given.type = MP_TV_MISSING;
    mp_err err = mp_targ_int(r, c->a[0], 255, &length);
    if (!err) err = mp_tr_need_str(r, end, "truncate");
    if (!err) err = mp_targ_int(r, given, 5, &leeway);
    if (!err && (length < mp_tv_length(end) || leeway < 0)) err = mp_tr_fail(r, "truncate is asked for less than its end mark");
    if (err) return err;
    *out = c->self;
    int64_t n = mp_tv_length(c->self);
    if (n >= 0 && n <= length + leeway) return MP_OK; /* of anything that has a length */
    err = mp_tr_need_str(r, c->self, "truncate");
    if (err) return err;
    cut = mp_tv_str(c->self.s, mp_text_offset(c->self, length - mp_tv_length(end)));
    if (!mp_targ_truth(c->a[1], false)) {
        err = mp_tsplit(r, cut, mp_tv_str(" ", 1), 1, true, &list);
        if (!err) cut = list.list->v[0];
    }
    return err ? err : mp_tv_concat(r, cut, end, out);
}

static mp_err format(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv s, args;
    mp_tdict *names = NULL;
    mp_err err = mp_tv_to_str(r, c->self, &s);
    if (!err && c->args->n && c->args->n_kw) err = mp_tr_fail(r, "format takes arguments with names or without, not both");
    if (!err && c->args->n_kw) {
        err = mp_tdict_new(&r->mem, &names);
        for (int i = 0; i < c->args->n_kw && !err; i++) err = mp_tdict_set(&r->mem, names, c->args->kw[i].key, c->args->kw[i].value);
        args = mp_tv_dict(names);
    } else if (!err) {
        err = mp_tr_new_list(r, (size_t)c->args->n, &args);
        for (int i = 0; i < c->args->n && !err; i++) err = mp_tlist_add(&r->mem, args.list, c->args->v[i]);
        args.type = MP_TV_TUPLE;
    }
    return err ? err : mp_tformat_percent(r, s, args, out);
}

static bool is_word(uint32_t code) { return code == '_' || mp_text_char_is(code, MP_TEXT_ALNUM); }

static mp_err wordcount(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv s;
    int64_t n = 0;
    bool inside = false;
    int len;
    mp_err err = mp_tv_to_str(r, c->self, &s);
    for (const char *p = s.s, *end = s.s + s.n; !err && p < end; p += len) {
        bool word = is_word(mp_text_decode(p, end, &len));
        n += word && !inside;
        inside = word;
    }
    *out = mp_tv_int(n);
    return err;
}

/* Everything but letters, digits and _ . - ~ (and / when it is allowed) becomes %XX; in queries a space becomes +. */
static mp_err quote_url(mp_tr *r, mp_tbuf *buf, mp_tv v, bool query)
{
    mp_tv s;
    char text[8];
    mp_err err = mp_tv_to_str(r, v, &s);
    for (uint32_t i = 0; !err && i < s.n; i++) {
        unsigned char b = (unsigned char)s.s[i];
        bool plain = b < 0x80 && b && (is_word((uint32_t)b) || strchr(query ? ".-~" : ".-~/", b));
        if (plain) err = mp_tbuf_byte(buf, (char)b);
        else if (query && b == ' ') err = mp_tbuf_byte(buf, '+');
        else {
            snprintf(text, sizeof(text), "%%%02X", b);
            err = mp_tbuf_text(buf, text);
        }
    }
    return err;
}

static mp_err urlencode(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    mp_tlist *list = NULL, *pair = NULL;
    mp_tv items = c->self;
    mp_err err = MP_OK;
    if (c->self.type == MP_TV_STR || (mp_tv_length(c->self) < 0 && c->self.type != MP_TV_ITER)) err = quote_url(r, &buf, c->self, false);
    else {
        if (items.type == MP_TV_DICT) items = (mp_tv){ .type = MP_TV_VIEW, .flag = MP_TV_ITEMS, .dict = items.dict };
        err = mp_tv_elements(r, items, &list);
        for (uint32_t i = 0; !err && i < list->n; i++) {
            err = mp_tv_elements(r, list->v[i], &pair);
            if (!err && pair->n != 2) err = mp_tr_fail(r, "urlencode needs pairs");
            if (!err && i > 0) err = mp_tbuf_byte(&buf, '&');
            if (!err) err = quote_url(r, &buf, pair->v[0], true);
            if (!err) err = mp_tbuf_byte(&buf, '=');
            if (!err) err = quote_url(r, &buf, pair->v[1], true);
        }
    }
    *out = mp_tbuf_value(&buf);
    return err;
}

/* ---- JSON, as Hugging Face defines the filter ---- */

static mp_err separators(mp_tr *r, mp_tv given, mp_tjson *how)
{
    mp_tlist *list = NULL;
    if (given.type == MP_TV_MISSING || given.type == MP_TV_NONE) return MP_OK;
    mp_err err = mp_tv_elements(r, given, &list);
    if (!err && list->n != 2) err = mp_tr_fail(r, "tojson needs two separators");
    if (!err) err = mp_tr_need_str(r, list->v[0], "tojson");
    if (!err) err = mp_tr_need_str(r, list->v[1], "tojson");
    if (err) return err;
    how->comma = list->v[0];
    how->colon = list->v[1];
    return MP_OK;
}

static mp_err tojson(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    mp_tv width = c->a[1].type == MP_TV_MISSING ? mp_tv_none() : c->a[1];
    bool lines = width.type != MP_TV_NONE;
    if (lines && !mp_tv_is_int(width) && width.type != MP_TV_STR) return mp_tr_fail(r, "the indent of tojson must be a number or a string");
    mp_tjson how = {
        .ascii = mp_targ_truth(c->a[0], false), .sorted = mp_targ_truth(c->a[3], false), .indent = width,
        .comma = mp_tv_str(", ", lines ? 1 : 2), .colon = mp_tv_str(": ", 2),
    };
    mp_err err = separators(r, c->a[2], &how);
    if (!err) err = mp_tv_json(r, &buf, c->self, &how);
    *out = mp_tbuf_value(&buf);
    return err;
}

/* ---- numbers ---- */

static mp_err to_int(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    int64_t i, base;
    double f = mp_tv_is_number(c->self) ? mp_tv_as_float(c->self) : NAN;
    mp_err err = mp_targ_int(r, c->a[1], 10, &base);
    if (err) return err;
    if (c->self.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, c->self);
    *out = c->a[0].type == MP_TV_MISSING ? mp_tv_int(0) : c->a[0];
    if (mp_tv_is_int(c->self)) *out = mp_tv_int(mp_tv_as_int(c->self));
    else if (c->self.type == MP_TV_STR && mp_text_to_int(c->self, base >= 0 && base <= 36 ? (int)base : -1, &i)) *out = mp_tv_int(i);
    else if (c->self.type == MP_TV_FLOAT || (c->self.type == MP_TV_STR && mp_text_to_float(c->self, &f))) {
        if (isinf(f) && c->self.type == MP_TV_FLOAT) return mp_tr_fail(r, "infinity cannot be an integer");
        if (isfinite(f) && fabs(f) >= 0x1p63) return mp_tr_fail(r, "an integer does not fit in 64 bits");
        if (isfinite(f)) *out = mp_tv_int((int64_t)f);
    }
    return MP_OK;
}

static mp_err to_float(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    double f;
    if (c->self.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, c->self);
    *out = c->a[0].type == MP_TV_MISSING ? mp_tv_float(0) : c->a[0];
    if (mp_tv_is_number(c->self)) *out = mp_tv_float(mp_tv_as_float(c->self));
    else if (c->self.type == MP_TV_STR && mp_text_to_float(c->self, &f)) *out = mp_tv_float(f);
    return MP_OK;
}

static mp_err absolute(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    *out = c->self;
    if (c->self.type == MP_TV_FLOAT) *out = mp_tv_float(fabs(c->self.f));
    else if (c->self.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, c->self);
    else if (!mp_tv_is_int(c->self)) return mp_tr_fail(r, "abs does not work on %s", mp_tv_type_name(c->self));
    else return mp_tv_negate(r, c->self, mp_tv_as_int(c->self) < 0, out);
    return MP_OK;
}

/* To `digits` decimals, half to even of the exact binary value: what printf does. Negative digits round to tens, hundreds, ... */
static double round_decimal(double f, int64_t digits)
{
    char text[400];
    if (!isfinite(f) || digits > 300) return f;
    if (digits < -300) return copysign(0, f);
    if (digits < 0) {
        double unit = pow(10, (double)-digits);
        return nearbyint(f / unit) * unit;
    }
    if (fabs(f) > 1e17) return f;
    snprintf(text, sizeof(text), "%.*f", (int)digits, f);
    return strtod(text, NULL);
}

static mp_err round_value(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    int64_t digits;
    mp_tv method = c->a[1];
    mp_err err = mp_targ_int(r, c->a[0], 0, &digits);
    if (err) return err;
    bool common = method.type == MP_TV_MISSING || mp_tv_is_text(method, "common");
    bool up = mp_tv_is_text(method, "ceil");
    if (!common && !up && !mp_tv_is_text(method, "floor")) return mp_tr_fail(r, "the method of round must be common, ceil or floor");
    if (c->self.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, c->self);
    if (!mp_tv_is_number(c->self)) return mp_tr_fail(r, "round does not work on %s", mp_tv_type_name(c->self));
    double f = mp_tv_as_float(c->self), unit = pow(10, (double)digits);
    if (common && mp_tv_is_int(c->self)) {
        f = digits < 0 ? round_decimal(f, digits) : f;
        *out = digits < 0 ? mp_tv_int(fabs(f) < 0x1p62 ? (int64_t)f : 0) : mp_tv_int(mp_tv_as_int(c->self));
    } else if (common) *out = mp_tv_float(round_decimal(f, digits));
    else *out = mp_tv_float((up ? ceil(f * unit) : floor(f * unit)) / unit);
    return MP_OK;
}

static mp_err filesize(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    static const char units[] = "kMGTPEZY";
    mp_tbuf buf = { .mem = &r->mem };
    bool binary = mp_targ_truth(c->a[0], false);
    double base = binary ? 1024 : 1000, f = mp_tv_is_number(c->self) ? mp_tv_as_float(c->self) : 0, unit = base;
    char text[64];
    bool number = c->self.type == MP_TV_STR ? mp_text_to_float(c->self, &f) : mp_tv_is_number(c->self);
    if (!number) return mp_tr_fail(r, "filesizeformat needs a number");
    if (!isfinite(f)) return mp_tr_fail(r, "filesizeformat needs a finite number");
    size_t i = 0;
    while (i < 7 && f >= unit * base) {
        unit *= base;
        i++;
    }
    char letter = binary && i == 0 ? 'K' : units[i];
    if (f == 1) snprintf(text, sizeof(text), "1 Byte");
    else if (f < base) snprintf(text, sizeof(text), "%.0f Bytes", trunc(f));
    else snprintf(text, sizeof(text), "%.1f %c%sB", f / unit < 1e30 ? f / unit : 1e30, letter, binary ? "i" : "");
    mp_err err = mp_tbuf_text(&buf, text);
    *out = mp_tbuf_value(&buf);
    return err;
}

const mp_tbuiltin mp_tfilters_text[] = {
    { "upper", recase, "", 0, MP_TEXT_UPPER }, { "lower", recase, "", 0, MP_TEXT_LOWER },
    { "capitalize", recase, "", 0, MP_TEXT_CAPITALIZE }, { "title", title, "", 0, 0 }, { "trim", trim, "chars", 0, 0 },
    { "replace", replace, "old new count", 2, 0 }, { "string", to_string, "", 0, 0 }, { "safe", safe, "", 0, 0 },
    { "escape", escape, "", 0, 0 }, { "e", escape, "", 0, 0 }, { "forceescape", escape, "", 0, 1 },
    { "indent", indent, "width first blank", 0, 0 }, { "center", center, "width", 0, 0 },
    { "truncate", truncate_text, "length killwords end leeway", 0, 0 }, { "format", format, "*", 0, 0 },
    { "wordcount", wordcount, "", 0, 0 }, { "urlencode", urlencode, "", 0, 0 },
    { "tojson", tojson, "ensure_ascii indent separators sort_keys", 0, 0 }, { "int", to_int, "default base", 0, 0 },
    { "float", to_float, "default", 0, 0 }, { "abs", absolute, "", 0, 0 }, { "round", round_value, "precision method", 0, 0 },
    { "filesizeformat", filesize, "binary", 0, 0 }, { 0 },
};
