/* "%s: %d" % args and "{}: {:>5}".format(args). Both read their own notation into one spec and share what follows. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/tmpl/eval.h"

enum { MAX_WIDTH = 1 << 20, MAX_PRECISION = 100 };

typedef struct spec {
    mp_tv   fill;      /* one character */
    char    align;     /* < > ^ =, 0: as the type likes it */
    char    sign;      /* + or space; 0: only minus */
    char    type;      /* 0: none given */
    char    group;     /* , or _; 0: none */
    bool    alt, zero;
    int64_t width, precision; /* precision -1: none given */
} spec;

/* ---- from a value and a spec to text ---- */

/* sign, then body, padded to the width. */
static mp_err put_padded(mp_tbuf *buf, const char *sign, mp_tv body, const spec *s, char align)
{
    int64_t n = mp_tv_length(body) + (int64_t)strlen(sign), pad = s->width > n ? s->width - n : 0;
    if (s->align) align = s->align;
    int64_t left = align == '>' ? pad : align == '^' ? pad / 2 : 0, inner = align == '=' ? pad : 0;
    mp_err err = mp_tbuf_fill(buf, s->fill.s, s->fill.n, left);
    if (!err) err = mp_tbuf_text(buf, sign);
    if (!err) err = mp_tbuf_fill(buf, s->fill.s, s->fill.n, inner);
    if (!err) err = mp_tbuf_add(buf, body.s, body.n);
    return err ? err : mp_tbuf_fill(buf, s->fill.s, s->fill.n, pad - left - inner);
}

static mp_err put_text(mp_tbuf *buf, mp_tv text, const spec *s)
{
    spec padded = *s;
    if (s->precision >= 0) text = mp_tv_str(text.s, mp_text_offset(text, s->precision));
    if (s->zero && !s->align) padded.fill = mp_tv_str("0", 1);
    return put_padded(buf, "", text, &padded, '<');
}

/* Groups of three before the decimal point. */
static void group_digits(const char *digits, char mark, char *out, size_t room)
{
    size_t whole = strspn(digits, "0123456789"), to = 0;
    for (size_t i = 0; digits[i] && to + 2 < room; i++) {
        if (mark && i > 0 && i < whole && (whole - i) % 3 == 0) out[to++] = mark;
        out[to++] = digits[i];
    }
    out[to] = 0;
}

static mp_err put_number(mp_tbuf *buf, bool negative, const char *prefix, const char *digits, const spec *s)
{
    char sign[8], text[700];
    spec padded = *s;
    group_digits(digits, s->group, text, sizeof(text));
    snprintf(sign, sizeof(sign), "%s%s", negative ? "-" : s->sign == '+' ? "+" : s->sign == ' ' ? " " : "", prefix);
    if (s->zero && !s->align) {
        padded.align = '=';
        padded.fill = mp_tv_str("0", 1);
    }
    return put_padded(buf, sign, mp_tv_str(text, strlen(text)), &padded, '>');
}

static mp_err put_int(mp_tbuf *buf, int64_t i, const spec *s)
{
    char digits[200];
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    int n = 0, base = s->type == 'x' || s->type == 'X' ? 16 : s->type == 'o' ? 8 : s->type == 'b' ? 2 : 10;
    const char *letters = s->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    char reversed[200];
    for (; u > 0 || n == 0; u /= (unsigned)base) reversed[n++] = letters[u % (unsigned)base];
    while (n < s->precision && n < 150) reversed[n++] = '0';
    for (int k = 0; k < n; k++) digits[k] = reversed[n - 1 - k];
    digits[n] = 0;
    const char *prefix = !s->alt ? "" : s->type == 'x' ? "0x" : s->type == 'X' ? "0X" : s->type == 'o' ? "0o" : s->type == 'b' ? "0b" : "";
    return put_number(buf, i < 0, prefix, digits, s);
}

/* No type and no precision: as repr. No type but a precision: as g, and never without a decimal point or exponent. */
static mp_err plain_float(mp_tr *r, double f, const spec *s, char *text, size_t room)
{
    mp_tbuf buf = { .mem = &r->mem };
    if (s->precision >= 0) {
        snprintf(text, room, "%.*g", (int)s->precision, f);
        if (isfinite(f) && !strpbrk(text, ".e")) snprintf(text + strlen(text), room - strlen(text), ".0");
        return MP_OK;
    }
    mp_err err = mp_tbuf_float(&buf, f);
    if (!err) snprintf(text, room, "%.*s", (int)buf.n, buf.p);
    return err;
}

static mp_err put_float(mp_tr *r, mp_tbuf *buf, double f, const spec *s)
{
    char text[600], how[8];
    bool negative = signbit(f) && !isnan(f);
    int precision = s->precision >= 0 ? (int)s->precision : 6;
    mp_err err = MP_OK;
    if (precision > MAX_PRECISION) return mp_tr_fail(r, "a number is formatted with more than %d digits", MAX_PRECISION);
    f = fabs(f);
    if (!s->type) err = plain_float(r, f, s, text, sizeof(text));
    else if (s->type == '%') snprintf(text, sizeof(text), "%.*f%%", precision, f * 100);
    else {
        snprintf(how, sizeof(how), "%%%s.*%c", s->alt ? "#" : "", s->type == 'n' ? 'g' : s->type);
        snprintf(text, sizeof(text), how, precision, f);
    }
    return err ? err : put_number(buf, negative, "", text, s);
}

static bool float_type(char type) { return type && strchr("eEfFgGn%", type); }

static mp_err put_value(mp_tr *r, mp_tbuf *buf, mp_tv v, const spec *s)
{
    bool any = s->width || s->align || s->type || s->sign || s->zero || s->group || s->precision >= 0;
    bool text = v.type == MP_TV_STR && (!s->type || s->type == 's');
    if (text && (s->group || s->sign || s->alt || s->align == '=')) return mp_tr_fail(r, "a string is formatted like a number");
    if (text) return put_text(buf, v, s);
    if (v.type == MP_TV_FLOAT && (!s->type || float_type(s->type))) return put_float(r, buf, v.f, s);
    if (mp_tv_is_int(v) && float_type(s->type)) return put_float(r, buf, mp_tv_as_float(v), s);
    if (v.type == MP_TV_INT || (v.type == MP_TV_BOOL && any)) {
        if (s->type == 'c') return mp_text_put(buf, (uint32_t)mp_tv_as_int(v));
        if (!s->type || strchr("dxXob", s->type)) return put_int(buf, mp_tv_as_int(v), s);
    }
    if (any) return mp_tr_fail(r, "a value of type %s cannot be formatted that way", mp_tv_type_name(v));
    return mp_tv_print(r, buf, v);
}

/* ---- % ---- */

typedef struct percent {
    mp_tv    args;
    uint32_t at; /* the next one to take */
} percent;

static mp_err take(mp_tr *r, percent *p, mp_tv *out)
{
    uint32_t n = p->args.type == MP_TV_TUPLE ? p->args.list->n : 1;
    if (p->at >= n) return mp_tr_fail(r, "there are fewer values than the format needs");
    *out = p->args.type == MP_TV_TUPLE ? p->args.list->v[p->at] : p->args;
    p->at++;
    return MP_OK;
}

static int64_t read_number(const char **p, const char *end)
{
    int64_t n = 0;
    while (*p < end && **p >= '0' && **p <= '9') {
        if (n < MAX_WIDTH) n = n * 10 + (**p - '0');
        (*p)++;
    }
    return n;
}

/* (key)flags width .precision, up to the type. */
static mp_err percent_spec(mp_tr *r, const char **at, const char *end, percent *p, mp_tv *value, spec *s)
{
    const char *c = *at;
    mp_err err = MP_OK;
    *s = (spec){ .fill = mp_tv_str(" ", 1), .precision = -1 };
    if (c < end && *c == '(') {
        const char *close = memchr(c, ')', (size_t)(end - c));
        if (!close || p->args.type != MP_TV_DICT) return mp_tr_fail(r, "a format with names needs a dict");
        const mp_tv *there = mp_tdict_get(p->args.dict, mp_tv_str(c + 1, (size_t)(close - c - 1)));
        if (!there) return mp_tr_fail(r, "the dict lacks a name that the format wants");
        *value = *there;
        c = close + 1;
    }
    for (; c < end && *c && strchr("-+ #0", *c); c++) {
        if (*c == '-') s->align = '<';
        if (*c == '+' || (*c == ' ' && !s->sign)) s->sign = *c;
        if (*c == '#') s->alt = true;
        if (*c == '0') s->zero = true;
    }
    s->width = read_number(&c, end);
    if (c < end && *c == '.') {
        c++;
        s->precision = read_number(&c, end);
    }
    while (c < end && *c && strchr("hlL", *c)) c++;
    if (c == end) return mp_tr_fail(r, "the format ends too early");
    s->type = *c++;
    if (s->type != '%' && value->type == MP_TV_MISSING) err = take(r, p, value);
    *at = c;
    return err;
}

static mp_err percent_text(mp_tr *r, mp_tbuf *buf, mp_tv v, const spec *s)
{
    mp_tbuf text = { .mem = &r->mem };
    mp_err err = s->type == 's' ? mp_tv_print(r, &text, v) : mp_tv_repr(r, &text, v);
    spec plain = { .fill = s->fill, .align = s->align ? s->align : '>', .width = s->width, .precision = s->precision };
    return err ? err : put_text(buf, mp_tbuf_value(&text), &plain);
}

static mp_err percent_value(mp_tr *r, mp_tbuf *buf, mp_tv v, spec *s)
{
    if (s->type == 's' || s->type == 'r' || s->type == 'a') return percent_text(r, buf, v, s);
    if (s->type == 'c' && v.type == MP_TV_STR && mp_tv_length(v) == 1) {
        s->type = 's';
        s->precision = -1;
        return percent_text(r, buf, v, s);
    }
    if (v.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, v);
    if (!mp_tv_is_number(v)) return mp_tr_fail(r, "%%%c needs a number, not %s", s->type, mp_tv_type_name(v));
    if (s->type == 'd' || s->type == 'i' || s->type == 'u') {
        if (v.type == MP_TV_FLOAT && !(fabs(v.f) < 0x1p63)) return mp_tr_fail(r, "a number does not fit in 64 bits");
        if (v.type == MP_TV_FLOAT) v = mp_tv_int((int64_t)v.f);
        s->type = 'd';
    }
    if (!strchr("dxXoceEfFgG", s->type) || (v.type == MP_TV_FLOAT && strchr("xXoc", s->type)))
        return mp_tr_fail(r, "%%%c is not possible here", s->type);
    return put_value(r, buf, v, s);
}

mp_err mp_tformat_percent(mp_tr *r, mp_tv format, mp_tv args, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    percent p = { .args = args };
    const char *at = format.s, *end = format.s + format.n;
    bool leftover_is_fine = args.type == MP_TV_DICT || args.type == MP_TV_LIST || args.type == MP_TV_UNDEFINED;
    mp_err err = MP_OK;
    while (at < end && !err) {
        const char *mark = memchr(at, '%', (size_t)(end - at));
        err = mp_tbuf_add(&buf, at, (size_t)((mark ? mark : end) - at));
        at = mark ? mark + 1 : end;
        if (!mark || err) continue;
        spec s;
        mp_tv v = { 0 };
        err = percent_spec(r, &at, end, &p, &v, &s);
        if (!err) err = s.type == '%' ? mp_tbuf_byte(&buf, '%') : percent_value(r, &buf, v, &s);
    }
    uint32_t n = args.type == MP_TV_TUPLE ? args.list->n : 1;
    if (!err && p.at < n && !leftover_is_fine) err = mp_tr_fail(r, "there are more values than the format needs");
    *out = mp_tbuf_value(&buf);
    return err;
}

/* ---- {} ---- */

typedef struct braces {
    const mp_targs *args;
    int             next; /* of the fields without a number; -1: the fields have numbers */
} braces;

/* [[fill]align][sign][#][0][width][group][.precision][type] */
static mp_err brace_spec(mp_tr *r, const char *c, const char *end, spec *s)
{
    int len = 1;
    *s = (spec){ .fill = mp_tv_str(" ", 1), .precision = -1 };
    if (c < end) mp_text_decode(c, end, &len);
    if (c + len < end && c[len] && strchr("<>^=", c[len])) {
        s->fill = mp_tv_str(c, (size_t)len);
        s->align = c[len];
        c += len + 1;
    } else if (c < end && *c && strchr("<>^=", *c)) s->align = *c++;
    if (c < end && *c && strchr("+- ", *c)) s->sign = *c++;
    if (c < end && *c == '#') s->alt = *c++ == '#';
    if (c < end && *c == '0') s->zero = *c++ == '0';
    s->width = read_number(&c, end);
    if (c < end && (*c == ',' || *c == '_')) s->group = *c++;
    if (c < end && *c == '.') {
        c++;
        s->precision = read_number(&c, end);
    }
    if (c < end) s->type = *c++;
    if (c < end || (s->type && !strchr("sdbcoxXeEfFgGn%", s->type))) return mp_tr_fail(r, "a format between { and } is not understood");
    return MP_OK;
}

/* The argument that a field begins with: by name, by number, or the next one. */
static mp_err field_start(mp_tr *r, mp_tv name, braces *b, mp_tv *out)
{
    int64_t i;
    if (name.n == 0 || mp_text_to_int(name, 10, &i)) {
        if (name.n == 0 ? b->next < 0 : b->next > 0) return mp_tr_fail(r, "fields with and without numbers are mixed");
        if (name.n == 0) i = b->next++;
        else b->next = -1;
        if (i < 0 || i >= b->args->n) return mp_tr_fail(r, "there are fewer values than the format needs");
        *out = b->args->v[i];
        return MP_OK;
    }
    for (int k = 0; k < b->args->n_kw; k++) {
        if (!mp_tv_equal(b->args->kw[k].key, name)) continue;
        *out = b->args->kw[k].value;
        return MP_OK;
    }
    return mp_tr_fail(r, "the format wants a value named '%.*s'", mp_tv_shown(name, 60), name.s);
}

/* name.attribute[key]... */
static mp_err field_value(mp_tr *r, const char *c, const char *end, braces *b, mp_tv *out)
{
    const char *stop = c;
    while (stop < end && *stop != '.' && *stop != '[') stop++;
    mp_err err = field_start(r, mp_tv_str(c, (size_t)(stop - c)), b, out);
    while (!err && stop < end) {
        bool key = *stop == '[';
        c = stop + 1;
        stop = c;
        while (stop < end && (key ? *stop != ']' : *stop != '.' && *stop != '[')) stop++;
        mp_tv name = mp_tv_str(c, (size_t)(stop - c));
        int64_t i;
        if (key && stop == end) return mp_tr_fail(r, "a [ in a format is not closed");
        if (key && mp_text_to_int(name, 10, &i)) name = mp_tv_int(i);
        err = key ? mp_tv_item(r, *out, name, out) : mp_tv_attr(r, *out, name, out);
        if (key) stop++;
    }
    return err;
}

/* What stands between { and }. */
static mp_err put_field(mp_tr *r, mp_tbuf *buf, const char *c, const char *end, braces *b)
{
    const char *colon = memchr(c, ':', (size_t)(end - c)), *bang = memchr(c, '!', (size_t)((colon ? colon : end) - c));
    mp_tbuf text = { .mem = &r->mem };
    mp_tv v;
    spec s;
    mp_err err = field_value(r, c, bang ? bang : colon ? colon : end, b, &v);
    if (!err && bang) {
        char how = bang + 1 < end ? bang[1] : 0;
        if (how != 's' && how != 'r') return mp_tr_fail(r, "only !r and !s are possible in a format");
        err = how == 's' ? mp_tv_print(r, &text, v) : mp_tv_repr(r, &text, v);
        v = mp_tbuf_value(&text);
    }
    if (!err) err = brace_spec(r, colon ? colon + 1 : end, end, &s);
    return err ? err : put_value(r, buf, v, &s);
}

mp_err mp_tformat_braces(mp_tr *r, mp_tv format, const mp_targs *args, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    braces b = { .args = args };
    mp_err err = MP_OK;
    for (const char *at = format.s, *end = format.s + format.n; at < end && !err;) {
        bool mark = *at == '{' || *at == '}';
        if (!mark || (at + 1 < end && at[1] == *at)) {
            err = mp_tbuf_byte(&buf, *at);
            at += mark ? 2 : 1;
            continue;
        }
        const char *close = *at == '{' ? memchr(at, '}', (size_t)(end - at)) : NULL;
        if (!close || memchr(at + 1, '{', (size_t)(close - at - 1))) return mp_tr_fail(r, "the braces of a format do not match");
        err = put_field(r, &buf, at + 1, close, &b);
        at = close + 1;
    }
    *out = mp_tbuf_value(&buf);
    return err;
}
