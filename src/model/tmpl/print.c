/* str() and repr() of values, and json.dumps. Printing a value walks it; lists and dicts are bounded in depth and size when they are
 * made, and namespaces, which can contain themselves, by the depth of evaluation. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/tmpl/eval.h"

static mp_err put_int(mp_tbuf *buf, int64_t i)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)i);
    return mp_tbuf_text(buf, text);
}

/* ---- repr ---- */

/* With the quotes that need less escaping, as in Python. */
static mp_err repr_char(mp_tbuf *buf, const char *p, int len, uint32_t c, char quote)
{
    static const char letters[] = "tnr";
    char text[16];
    if (c == (unsigned char)quote || c == '\\') {
        mp_err err = mp_tbuf_byte(buf, '\\');
        return err ? err : mp_tbuf_byte(buf, (char)c);
    }
    if (mp_text_is_printable(c)) return mp_tbuf_add(buf, p, (size_t)len);
    const char *at = c == '\t' || c == '\n' || c == '\r' ? strchr("\t\n\r", (int)c) : NULL;
    if (at) snprintf(text, sizeof(text), "\\%c", letters[c == '\t' ? 0 : c == '\n' ? 1 : 2]);
    else if (c < 0x100) snprintf(text, sizeof(text), "\\x%02x", c);
    else if (c < 0x10000) snprintf(text, sizeof(text), "\\u%04x", c);
    else snprintf(text, sizeof(text), "\\U%08x", c);
    return mp_tbuf_text(buf, text);
}

static mp_err repr_str(mp_tbuf *buf, mp_tv s)
{
    bool single = s.n && memchr(s.s, '\'', s.n), twice = s.n && memchr(s.s, '"', s.n);
    char quote = single && !twice ? '"' : '\'';
    mp_err err = s.flag == MP_TV_MARKUP ? mp_tbuf_text(buf, "Markup(") : MP_OK;
    if (!err) err = mp_tbuf_byte(buf, quote);
    int len;
    for (const char *p = s.s, *end = s.s + s.n; p < end && !err; p += len) {
        uint32_t c = mp_text_decode(p, end, &len);
        err = repr_char(buf, p, len, c, quote);
    }
    if (!err) err = mp_tbuf_byte(buf, quote);
    return err || s.flag != MP_TV_MARKUP ? err : mp_tbuf_byte(buf, ')');
}

static mp_err repr_array(mp_tr *r, mp_tbuf *buf, mp_tv v)
{
    bool tuple = v.type == MP_TV_TUPLE;
    mp_err err = mp_tbuf_byte(buf, tuple ? '(' : '[');
    for (uint32_t i = 0; i < v.list->n && !err; i++) {
        if (i > 0) err = mp_tbuf_text(buf, ", ");
        if (!err) err = mp_tv_repr(r, buf, v.list->v[i]);
    }
    if (!err && tuple && v.list->n == 1) err = mp_tbuf_byte(buf, ',');
    return err ? err : mp_tbuf_byte(buf, tuple ? ')' : ']');
}

static mp_err repr_dict(mp_tr *r, mp_tbuf *buf, mp_tdict *d)
{
    if (d->busy) return mp_tbuf_text(buf, "{...}");
    d->busy = d->space; /* only a namespace can contain itself */
    mp_err err = mp_tbuf_byte(buf, '{');
    for (uint32_t i = 0; i < d->n && !err; i++) {
        if (i > 0) err = mp_tbuf_text(buf, ", ");
        if (!err) err = mp_tv_repr(r, buf, d->pair[i].key);
        if (!err) err = mp_tbuf_text(buf, ": ");
        if (!err) err = mp_tv_repr(r, buf, d->pair[i].value);
    }
    d->busy = false;
    return err ? err : mp_tbuf_byte(buf, '}');
}

static mp_err repr_view(mp_tr *r, mp_tbuf *buf, mp_tv v)
{
    static const char *const names[] = { "dict_keys([", "dict_values([", "dict_items([" };
    mp_err err = mp_tbuf_text(buf, names[v.flag]);
    for (uint32_t i = 0; i < v.dict->n && !err; i++) {
        const mp_tpair *pair = &v.dict->pair[i];
        if (i > 0) err = mp_tbuf_text(buf, ", ");
        if (!err && v.flag == MP_TV_ITEMS) err = mp_tbuf_byte(buf, '(');
        if (!err) err = mp_tv_repr(r, buf, v.flag == MP_TV_VALUES ? pair->value : pair->key);
        if (err || v.flag != MP_TV_ITEMS) continue;
        err = mp_tbuf_text(buf, ", ");
        if (!err) err = mp_tv_repr(r, buf, pair->value);
        if (!err) err = mp_tbuf_byte(buf, ')');
    }
    return err ? err : mp_tbuf_text(buf, "])");
}

static mp_err repr_range(mp_tbuf *buf, const mp_trange *range)
{
    char text[96];
    if (range->step == 1) snprintf(text, sizeof(text), "range(%lld, %lld)", (long long)range->start, (long long)range->stop);
    else
        snprintf(text, sizeof(text), "range(%lld, %lld, %lld)", (long long)range->start, (long long)range->stop, (long long)range->step);
    return mp_tbuf_text(buf, text);
}

/* What Python prints with an address is printed without one. */
static mp_err repr_object(mp_tr *r, mp_tbuf *buf, mp_tv v)
{
    char text[64];
    if (v.type == MP_TV_FUNC && v.func->macro) {
        mp_err err = mp_tbuf_text(buf, "<Macro ");
        if (!err) err = repr_str(buf, v.func->macro->name);
        return err ? err : mp_tbuf_byte(buf, '>');
    }
    if (v.type == MP_TV_NAMESPACE) {
        mp_err err = mp_tbuf_text(buf, "<Namespace ");
        if (!err) err = repr_dict(r, buf, v.dict);
        return err ? err : mp_tbuf_byte(buf, '>');
    }
    if (v.type == MP_TV_LOOP) {
        mp_tv length = mp_tv_int(0);
        mp_err err = mp_tloop_attr(r, v.loop, mp_tv_str("length", 6), &length);
        if (err) return err;
        snprintf(text, sizeof(text), "<LoopContext %lld/%lld>", (long long)mp_tloop_index(v.loop), (long long)length.i);
    } else snprintf(text, sizeof(text), "<%s object>", mp_tv_type_name(v));
    return mp_tbuf_text(buf, text);
}

static mp_err repr(mp_tr *r, mp_tbuf *buf, mp_tv v)
{
    switch (v.type) {
    case MP_TV_UNDEFINED: return mp_tbuf_text(buf, "Undefined");
    case MP_TV_NONE: return mp_tbuf_text(buf, "None");
    case MP_TV_BOOL: return mp_tbuf_text(buf, v.b ? "True" : "False");
    case MP_TV_INT: return put_int(buf, v.i);
    case MP_TV_FLOAT: return mp_tbuf_float(buf, v.f);
    case MP_TV_STR: return repr_str(buf, v);
    case MP_TV_LIST:
    case MP_TV_TUPLE: return repr_array(r, buf, v);
    case MP_TV_DICT: return repr_dict(r, buf, v.dict);
    case MP_TV_VIEW: return repr_view(r, buf, v);
    case MP_TV_RANGE: return repr_range(buf, v.range);
    default: return repr_object(r, buf, v);
    }
}

mp_err mp_tv_repr(mp_tr *r, mp_tbuf *buf, mp_tv v)
{
    mp_err err = mp_tr_charge(r, 1);
    if (!err) err = mp_tr_enter(r);
    if (err) return err;
    err = repr(r, buf, v);
    r->depth--;
    return err;
}

mp_err mp_tv_print(mp_tr *r, mp_tbuf *buf, mp_tv v)
{
    if (v.type == MP_TV_STR) return mp_tbuf_add(buf, v.s, v.n);
    return v.type == MP_TV_UNDEFINED ? MP_OK : mp_tv_repr(r, buf, v);
}

mp_err mp_tv_to_str(mp_tr *r, mp_tv v, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    *out = v;
    if (v.type == MP_TV_STR) return MP_OK;
    mp_err err = mp_tv_print(r, &buf, v);
    *out = mp_tbuf_value(&buf);
    return err;
}

/* ---- json.dumps ---- */

static mp_err json_char(mp_tbuf *buf, const char *p, int len, uint32_t c, bool ascii)
{
    static const char plain[] = "\"\\\n\r\t\f\b", letters[] = "\"\\nrtfb";
    char text[16];
    const char *at = c < 0x80 && c ? strchr(plain, (int)c) : NULL;
    if (at) {
        mp_err err = mp_tbuf_byte(buf, '\\');
        return err ? err : mp_tbuf_byte(buf, letters[at - plain]);
    }
    if (c >= 0x20 && (c < 0x7f || !ascii)) return mp_tbuf_add(buf, p, (size_t)len);
    if (c < 0x10000) snprintf(text, sizeof(text), "\\u%04x", c);
    else snprintf(text, sizeof(text), "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
    return mp_tbuf_text(buf, text);
}

static mp_err json_str(mp_tbuf *buf, mp_tv s, bool ascii)
{
    mp_err err = mp_tbuf_byte(buf, '"');
    int len;
    for (const char *p = s.s, *end = s.s + s.n; p < end && !err; p += len) {
        uint32_t c = mp_text_decode(p, end, &len);
        err = json_char(buf, p, len, c, ascii);
    }
    return err ? err : mp_tbuf_byte(buf, '"');
}

static mp_err json_float(mp_tbuf *buf, double f)
{
    if (isnan(f)) return mp_tbuf_text(buf, "NaN");
    if (isinf(f)) return mp_tbuf_text(buf, f < 0 ? "-Infinity" : "Infinity");
    return mp_tbuf_float(buf, f);
}

static mp_err json_value(mp_tr *r, mp_tbuf *buf, mp_tv v, const mp_tjson *how, int level);

/* The line break and indentation before an element, when there is an indent at all. */
static mp_err json_break(mp_tbuf *buf, const mp_tjson *how, int level)
{
    if (how->indent.type == MP_TV_NONE) return MP_OK;
    mp_err err = mp_tbuf_byte(buf, '\n');
    if (err) return err;
    if (how->indent.type == MP_TV_STR) return mp_tbuf_fill(buf, how->indent.s, how->indent.n, level);
    int64_t width = mp_tv_as_int(how->indent);
    if (width > 1000) return mp_fail(MP_E_MODEL, "tojson is asked to indent by %lld", (long long)width);
    return mp_tbuf_fill(buf, " ", 1, level * width);
}

static mp_err json_array(mp_tr *r, mp_tbuf *buf, const mp_tlist *list, const mp_tjson *how, int level)
{
    if (list->n == 0) return mp_tbuf_text(buf, "[]");
    mp_err err = mp_tbuf_byte(buf, '[');
    for (uint32_t i = 0; i < list->n && !err; i++) {
        if (i > 0) err = mp_tbuf_add(buf, how->comma.s, how->comma.n);
        if (!err) err = json_break(buf, how, level + 1);
        if (!err) err = json_value(r, buf, list->v[i], how, level + 1);
    }
    if (!err) err = json_break(buf, how, level);
    return err ? err : mp_tbuf_byte(buf, ']');
}

/* Keys become strings, as in Python. */
static mp_err json_key(mp_tr *r, mp_tbuf *buf, mp_tv key, const mp_tjson *how)
{
    if (key.type == MP_TV_STR) return json_str(buf, key, how->ascii);
    if (!mp_tv_is_number(key) && key.type != MP_TV_NONE) return mp_tr_fail(r, "a key of type %s cannot be JSON", mp_tv_type_name(key));
    mp_err err = mp_tbuf_byte(buf, '"');
    if (!err) err = json_value(r, buf, key, how, 0);
    return err ? err : mp_tbuf_byte(buf, '"');
}

/* The members in the order of their keys, when they are to be sorted. */
static mp_err sorted_pairs(mp_tr *r, const mp_tdict *d, bool sorted, const mp_tpair **out)
{
    mp_tpair *copy = NULL;
    *out = d->pair;
    if (!sorted || d->n == 0) return MP_OK;
    mp_err err = MP_TNEW(&r->mem, mp_tpair, d->n, &copy);
    if (err) return err;
    memcpy(copy, d->pair, d->n * sizeof(mp_tpair));
    *out = copy;
    return mp_tr_sort(r, copy, d->n, false);
}

static mp_err json_dict(mp_tr *r, mp_tbuf *buf, const mp_tdict *d, const mp_tjson *how, int level)
{
    const mp_tpair *pair = NULL;
    if (d->n == 0) return mp_tbuf_text(buf, "{}");
    mp_err err = sorted_pairs(r, d, how->sorted, &pair);
    if (!err) err = mp_tbuf_byte(buf, '{');
    for (uint32_t i = 0; i < d->n && !err; i++) {
        if (i > 0) err = mp_tbuf_add(buf, how->comma.s, how->comma.n);
        if (!err) err = json_break(buf, how, level + 1);
        if (!err) err = json_key(r, buf, pair[i].key, how);
        if (!err) err = mp_tbuf_add(buf, how->colon.s, how->colon.n);
        if (!err) err = json_value(r, buf, pair[i].value, how, level + 1);
    }
    if (!err) err = json_break(buf, how, level);
    return err ? err : mp_tbuf_byte(buf, '}');
}

static mp_err json_value(mp_tr *r, mp_tbuf *buf, mp_tv v, const mp_tjson *how, int level)
{
    mp_err err = mp_tr_charge(r, 1);
    if (err) return err;
    switch (v.type) {
    case MP_TV_NONE: return mp_tbuf_text(buf, "null");
    case MP_TV_BOOL: return mp_tbuf_text(buf, v.b ? "true" : "false");
    case MP_TV_INT: return put_int(buf, v.i);
    case MP_TV_FLOAT: return json_float(buf, v.f);
    case MP_TV_STR: return json_str(buf, v, how->ascii);
    case MP_TV_LIST:
    case MP_TV_TUPLE: return json_array(r, buf, v.list, how, level);
    case MP_TV_DICT: return json_dict(r, buf, v.dict, how, level);
    default: return mp_tr_fail(r, "a value of type %s cannot be JSON", mp_tv_type_name(v));
    }
}

mp_err mp_tv_json(mp_tr *r, mp_tbuf *buf, mp_tv v, const mp_tjson *how) { return json_value(r, buf, v, how, 0); }
