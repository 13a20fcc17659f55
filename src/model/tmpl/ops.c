/* Operators: arithmetic, comparison, containment, what a loop sees. Python's semantics, with 64-bit integers. */
#include <math.h>
#include <string.h>

#include "model/tmpl/eval.h"

/* ---- arithmetic ---- */

static mp_err fail_types(mp_tr *r, const char *op, mp_tv a, mp_tv b)
{
    if (a.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, a);
    if (b.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, b);
    return mp_tr_fail(r, "%s does not work between %s and %s", op, mp_tv_type_name(a), mp_tv_type_name(b));
}

static mp_err power_int(mp_tr *r, int64_t base, int64_t exponent, mp_tv *out)
{
    int64_t result = 1;
    if (exponent < 0) {
        if (base == 0) return mp_tr_fail(r, "0 cannot be raised to a negative power");
        *out = mp_tv_float(pow((double)base, (double)exponent));
        return MP_OK;
    }
    for (; exponent > 0; exponent >>= 1) {
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) return mp_tr_fail(r, "an integer does not fit in 64 bits");
        if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return mp_tr_fail(r, "an integer does not fit in 64 bits");
    }
    *out = mp_tv_int(result);
    return MP_OK;
}

/* Rounds towards minus infinity, as Python does. b is not 0. */
static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }

static mp_err binary_int(mp_tr *r, mp_ttok_kind op, int64_t a, int64_t b, mp_tv *out)
{
    int64_t i = 0;
    bool overflow = false;
    bool divides = op == MP_TT_DIV || op == MP_TT_FLOORDIV || op == MP_TT_MOD;
    if (divides && b == 0) return mp_tr_fail(r, "division by zero");
    if (divides && op != MP_TT_DIV && a == INT64_MIN && b == -1) { /* the one quotient that does not fit */
        if (op == MP_TT_FLOORDIV) return mp_tr_fail(r, "an integer does not fit in 64 bits");
        *out = mp_tv_int(0);
        return MP_OK;
    }
    switch (op) {
    case MP_TT_ADD: overflow = __builtin_add_overflow(a, b, &i); break;
    case MP_TT_SUB: overflow = __builtin_sub_overflow(a, b, &i); break;
    case MP_TT_MUL: overflow = __builtin_mul_overflow(a, b, &i); break;
    case MP_TT_FLOORDIV: i = floor_div(a, b); break;
    case MP_TT_MOD: i = a - b * floor_div(a, b); break;
    case MP_TT_DIV: *out = mp_tv_float((double)a / (double)b); return MP_OK;
    default: return power_int(r, a, b, out);
    }
    if (overflow) return mp_tr_fail(r, "an integer does not fit in 64 bits");
    *out = mp_tv_int(i);
    return MP_OK;
}

static mp_err binary_float(mp_tr *r, mp_ttok_kind op, double a, double b, mp_tv *out)
{
    double f = 0, rest;
    if ((op == MP_TT_DIV || op == MP_TT_FLOORDIV || op == MP_TT_MOD) && b == 0) return mp_tr_fail(r, "division by zero");
    switch (op) {
    case MP_TT_ADD: f = a + b; break;
    case MP_TT_SUB: f = a - b; break;
    case MP_TT_MUL: f = a * b; break;
    case MP_TT_DIV: f = a / b; break;
    case MP_TT_FLOORDIV:
    case MP_TT_MOD:
        rest = fmod(a, b);
        if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
        else if (rest == 0) rest = copysign(0, b);
        f = op == MP_TT_MOD ? rest : round((a - rest) / b);
        break;
    default:
        if (a == 0 && b < 0) return mp_tr_fail(r, "0.0 cannot be raised to a negative power");
        if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b)) return mp_tr_fail(r, "a complex number would be the result of **");
        f = pow(a, b);
        if (isinf(f) && isfinite(a) && isfinite(b)) return mp_tr_fail(r, "the result of ** is too large");
    }
    *out = mp_tv_float(f);
    return MP_OK;
}

mp_err mp_tv_concat(mp_tr *r, mp_tv a, mp_tv b, mp_tv *out)
{
    char *p = NULL;
    if ((uint64_t)a.n + b.n > UINT32_MAX) return mp_tr_fail(r, "a text of more than 4 GiB");
    mp_err err = mp_tmem_extend(&r->mem, a.s, a.n, b.n, &p);
    if (err) return err;
    if (b.n) memcpy(p + a.n, b.s, b.n);
    *out = mp_tv_str(p, (size_t)a.n + b.n);
    return MP_OK;
}

static mp_err escaped(mp_tr *r, mp_tv v, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    *out = v;
    if (v.flag == MP_TV_MARKUP) return MP_OK;
    mp_err err = mp_text_escape(&buf, v);
    *out = mp_tbuf_value(&buf);
    return err;
}

/* Markup escapes what it is joined with. */
static mp_err add_str(mp_tr *r, mp_tv a, mp_tv b, mp_tv *out)
{
    bool markup = a.flag == MP_TV_MARKUP || b.flag == MP_TV_MARKUP;
    mp_err err = markup ? escaped(r, a, &a) : MP_OK;
    if (!err && markup) err = escaped(r, b, &b);
    if (!err) err = mp_tv_concat(r, a, b, out);
    if (!err && markup) out->flag = MP_TV_MARKUP;
    return err;
}

static mp_err add_arrays(mp_tr *r, mp_tv a, mp_tv b, mp_tv *out)
{
    mp_err err = mp_tr_charge(r, (uint64_t)a.list->n + b.list->n);
    if (!err) err = mp_tr_new_list(r, (size_t)a.list->n + b.list->n, out);
    for (uint32_t i = 0; i < a.list->n && !err; i++) err = mp_tlist_add(&r->mem, out->list, a.list->v[i]);
    for (uint32_t i = 0; i < b.list->n && !err; i++) err = mp_tlist_add(&r->mem, out->list, b.list->v[i]);
    out->type = a.type;
    return err;
}

static mp_err repeat(mp_tr *r, mp_tv v, int64_t times, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    if (times < 0) times = 0;
    mp_err err = mp_tr_charge(r, (uint64_t)times);
    if (err) return err;
    if (v.type == MP_TV_STR) {
        err = mp_tbuf_fill(&buf, v.s, v.n, times);
        *out = mp_tbuf_value(&buf);
        out->flag = v.flag;
        return err;
    }
    err = mp_tr_charge(r, (uint64_t)times * v.list->n);
    if (!err) err = mp_tr_new_list(r, 0, out);
    for (int64_t k = 0; k < times && !err; k++)
        for (uint32_t i = 0; i < v.list->n && !err; i++) err = mp_tlist_add(&r->mem, out->list, v.list->v[i]);
    out->type = v.type;
    return err;
}

static const char *op_name(mp_ttok_kind op)
{
    switch (op) {
    case MP_TT_ADD: return "+";
    case MP_TT_SUB: return "-";
    case MP_TT_MUL: return "*";
    case MP_TT_DIV: return "/";
    case MP_TT_FLOORDIV: return "//";
    case MP_TT_MOD: return "%";
    default: return "**";
    }
}

static bool repeats(mp_tv v) { return v.type == MP_TV_STR || mp_tv_is_array(v); }

mp_err mp_tv_binary(mp_tr *r, mp_ttok_kind op, mp_tv a, mp_tv b, mp_tv *out)
{
    if (mp_tv_is_int(a) && mp_tv_is_int(b)) return binary_int(r, op, mp_tv_as_int(a), mp_tv_as_int(b), out);
    if (mp_tv_is_number(a) && mp_tv_is_number(b)) return binary_float(r, op, mp_tv_as_float(a), mp_tv_as_float(b), out);
    if (op == MP_TT_ADD && a.type == MP_TV_STR && b.type == MP_TV_STR) return add_str(r, a, b, out);
    if (op == MP_TT_ADD && mp_tv_is_array(a) && a.type == b.type) return add_arrays(r, a, b, out);
    if (op == MP_TT_MUL && repeats(a) && mp_tv_is_int(b)) return repeat(r, a, mp_tv_as_int(b), out);
    if (op == MP_TT_MUL && repeats(b) && mp_tv_is_int(a)) return repeat(r, b, mp_tv_as_int(a), out);
    if (op == MP_TT_MOD && a.type == MP_TV_STR) return mp_tformat_percent(r, a, b, out);
    return fail_types(r, op_name(op), a, b);
}

mp_err mp_tv_negate(mp_tr *r, mp_tv a, bool negative, mp_tv *out)
{
    if (a.type == MP_TV_FLOAT) *out = mp_tv_float(negative ? -a.f : a.f);
    else if (mp_tv_is_int(a) && negative) return binary_int(r, MP_TT_SUB, 0, mp_tv_as_int(a), out);
    else if (mp_tv_is_int(a)) *out = mp_tv_int(mp_tv_as_int(a));
    else if (a.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, a);
    else return mp_tr_fail(r, "a sign does not work on %s", mp_tv_type_name(a));
    return MP_OK;
}

/* ---- comparison ---- */

static mp_err order_arrays(mp_tr *r, const mp_tlist *a, const mp_tlist *b, int *out)
{
    for (uint32_t i = 0; i < a->n && i < b->n; i++)
        if (!mp_tv_equal(a->v[i], b->v[i])) return mp_tv_order(r, a->v[i], b->v[i], out);
    *out = a->n < b->n ? -1 : a->n > b->n;
    return MP_OK;
}

mp_err mp_tv_order(mp_tr *r, mp_tv a, mp_tv b, int *out)
{
    *out = 0;
    mp_err err = mp_tr_charge(r, 1 + (uint64_t)mp_tv_weight(a) / 4);
    if (err) return err;
    if (mp_tv_is_int(a) && mp_tv_is_int(b)) {
        int64_t x = mp_tv_as_int(a), y = mp_tv_as_int(b);
        *out = x < y ? -1 : x > y;
        return MP_OK;
    }
    if (mp_tv_is_number(a) && mp_tv_is_number(b)) {
        double x = mp_tv_as_float(a), y = mp_tv_as_float(b);
        *out = x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
        return MP_OK;
    }
    if (a.type == MP_TV_STR && b.type == MP_TV_STR) { /* the order of UTF-8 bytes is that of code points */
        size_t n = a.n < b.n ? a.n : b.n;
        int c = n ? memcmp(a.s, b.s, n) : 0;
        *out = c ? (c < 0 ? -1 : 1) : a.n < b.n ? -1 : a.n > b.n;
        return MP_OK;
    }
    if (mp_tv_is_array(a) && a.type == b.type) return order_arrays(r, a.list, b.list, out);
    return fail_types(r, "a comparison", a, b);
}

static mp_err contains_view(mp_tr *r, mp_tv view, mp_tv needle, bool *out)
{
    mp_tlist *list = NULL;
    if (view.flag == MP_TV_KEYS) return mp_tv_contains(r, mp_tv_dict(view.dict), needle, out);
    mp_err err = mp_tv_elements(r, view, &list);
    return err ? err : mp_tv_contains(r, mp_tv_list(list), needle, out);
}

static bool in_range(const mp_trange *range, mp_tv v)
{
    if (v.type == MP_TV_FLOAT && v.f != floor(v.f)) return false;
    if (!mp_tv_is_number(v) || fabs(mp_tv_as_float(v)) > 1e15) return false;
    int64_t i = v.type == MP_TV_FLOAT ? (int64_t)v.f : mp_tv_as_int(v);
    bool inside = range->step > 0 ? i >= range->start && i < range->stop : i <= range->start && i > range->stop;
    return inside && (i - range->start) % range->step == 0;
}

/* Walks what is left of an iterator up to the first match, as Python does. */
static bool in_iter(mp_titer *it, mp_tv needle)
{
    while (it->at < it->list->n)
        if (mp_tv_equal(it->list->v[it->at++], needle)) return true;
    return false;
}

mp_err mp_tv_contains(mp_tr *r, mp_tv haystack, mp_tv needle, bool *out)
{
    *out = false;
    uint64_t work = haystack.type == MP_TV_DICT ? 1 : mp_tv_weight(haystack) / 4;
    mp_err err = mp_tr_charge(r, work + mp_tv_weight(needle) / 4);
    if (err) return err;
    switch (haystack.type) {
    case MP_TV_STR:
        if (needle.type != MP_TV_STR) return mp_tr_fail(r, "'in <string>' needs a string on its left, not %s", mp_tv_type_name(needle));
        *out = mp_text_find(haystack, needle, 0) >= 0;
        return MP_OK;
    case MP_TV_LIST:
    case MP_TV_TUPLE:
        for (uint32_t i = 0; i < haystack.list->n && !*out; i++) *out = mp_tv_equal(haystack.list->v[i], needle);
        return MP_OK;
    case MP_TV_DICT:
        if (!mp_tv_hashable(needle)) return mp_tr_fail(r, "a %s cannot be a key", mp_tv_type_name(needle));
        *out = mp_tdict_get(haystack.dict, needle) != NULL;
        return MP_OK;
    case MP_TV_VIEW: return contains_view(r, haystack, needle, out);
    case MP_TV_RANGE: *out = in_range(haystack.range, needle); return MP_OK;
    case MP_TV_ITER: *out = in_iter(haystack.iter, needle); return MP_OK;
    case MP_TV_UNDEFINED: return MP_OK;
    default: return mp_tr_fail(r, "'in' does not work on %s", mp_tv_type_name(haystack));
    }
}

mp_err mp_tv_compare(mp_tr *r, mp_ttok_kind op, mp_tv a, mp_tv b, bool *out)
{
    int order = 0;
    mp_err err;
    *out = false;
    if (op == MP_TT_EQ || op == MP_TT_NE) {
        err = mp_tr_charge(r, (uint64_t)(mp_tv_weight(a) < mp_tv_weight(b) ? mp_tv_weight(a) : mp_tv_weight(b)));
        *out = mp_tv_equal(a, b) == (op == MP_TT_EQ);
        return err;
    }
    if (op == MP_TT_IN || op == MP_TT_NOT_IN) {
        err = mp_tv_contains(r, b, a, out);
        *out = *out == (op == MP_TT_IN);
        return err;
    }
    err = mp_tv_order(r, a, b, &order);
    if (err || order == 2) return err;
    if (op == MP_TT_LT) *out = order < 0;
    else if (op == MP_TT_LE) *out = order <= 0;
    else if (op == MP_TT_GT) *out = order > 0;
    else *out = order >= 0;
    return MP_OK;
}

/* ---- what a loop sees ---- */

static mp_err elements_of_str(mp_tr *r, mp_tv s, mp_tlist *list)
{
    mp_err err = MP_OK;
    int len;
    for (const char *p = s.s, *end = s.s + s.n; p < end && !err; p += len) {
        mp_text_decode(p, end, &len);
        err = mp_tlist_add(&r->mem, list, mp_tv_str(p, (size_t)len));
    }
    return err;
}

static mp_err elements_of_dict(mp_tr *r, const mp_tdict *d, int what, mp_tlist *list)
{
    mp_err err = MP_OK;
    for (uint32_t i = 0; i < d->n && !err; i++) {
        mp_tv v = what == MP_TV_VALUES ? d->pair[i].value : d->pair[i].key;
        if (what == MP_TV_ITEMS) err = mp_tpair_tuple(&r->mem, &d->pair[i], &v);
        if (!err) err = mp_tlist_add(&r->mem, list, v);
    }
    return err;
}

static mp_err rest_of_iter(mp_tr *r, mp_titer *it, mp_tlist *list)
{
    mp_err err = MP_OK;
    while (it->at < it->list->n && !err) err = mp_tlist_add(&r->mem, list, it->list->v[it->at++]);
    return err;
}

mp_err mp_tv_elements(mp_tr *r, mp_tv v, mp_tlist **out)
{
    *out = NULL;
    if (mp_tv_is_array(v)) {
        *out = v.list;
        return MP_OK;
    }
    int64_t n = mp_tv_length(v);
    if (n < 0 && v.type != MP_TV_ITER) return mp_tr_fail(r, "a value of type %s cannot be walked through", mp_tv_type_name(v));
    mp_err err = mp_tr_charge(r, n > 0 ? (uint64_t)n : 0);
    if (!err) err = mp_tlist_new(&r->mem, n > 0 ? (size_t)n : 0, out);
    if (err) return err;
    switch (v.type) {
    case MP_TV_STR: return elements_of_str(r, v, *out);
    case MP_TV_DICT: return elements_of_dict(r, v.dict, MP_TV_KEYS, *out);
    case MP_TV_VIEW: return elements_of_dict(r, v.dict, v.flag, *out);
    case MP_TV_ITER: return rest_of_iter(r, v.iter, *out);
    case MP_TV_RANGE:
        for (int64_t i = 0; i < n && !err; i++) err = mp_tlist_add(&r->mem, *out, mp_tv_int(v.range->start + i * v.range->step));
        return err;
    default: return MP_OK; /* undefined: nothing */
    }
}
