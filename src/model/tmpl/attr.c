/* v.name, v[key] and v[a:b:c]. As in Jinja, a dot tries Python's attributes first and then the key, brackets the other way round, and
 * what is not there is undefined, which becomes an error only where it is used. */
#include <string.h>

#include "model/tmpl/eval.h"

/* The attributes that Python objects of this kind have; MISSING when it is none of them. */
static mp_err attribute(mp_tr *r, mp_tv v, mp_tv name, mp_tv *out)
{
    const mp_tv *there = NULL;
    *out = (mp_tv){ 0 };
    if (name.n > 0 && name.s[0] == '_') return MP_OK; /* private: never given out */
    if (v.type == MP_TV_NAMESPACE) there = mp_tdict_get(v.dict, name);
    if (there) *out = *there;
    if (v.type == MP_TV_NAMESPACE) return MP_OK;
    if (v.type == MP_TV_LOOP) return mp_tloop_attr(r, v.loop, name, out);
    if (v.type == MP_TV_TUPLE && v.flag == MP_TV_GROUP) {
        if (mp_tv_is_text(name, "grouper")) *out = v.list->v[0];
        if (mp_tv_is_text(name, "list")) *out = v.list->v[1];
    }
    if (v.type == MP_TV_CYCLER && mp_tv_is_text(name, "current")) *out = v.cycle->items->v[v.cycle->at];
    if (v.type == MP_TV_FUNC && v.func->macro && mp_tv_is_text(name, "name")) *out = v.func->macro->name;
    const mp_tbuiltin *method = out->type == MP_TV_MISSING ? mp_tmethod_find(v, name) : NULL;
    return method ? mp_tv_builtin(r, method, v, out) : MP_OK;
}

/* Methods that would change a value exist, but are as good as undefined. */
static bool is_forbidden(mp_tv v, mp_tv name)
{
    static const char *const of_list[] = { "append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove", NULL };
    static const char *const of_dict[] = { "clear", "pop", "popitem", "setdefault", "update", NULL };
    const char *const *names = v.type == MP_TV_LIST ? of_list : v.type == MP_TV_DICT ? of_dict : NULL;
    for (; names && *names; names++)
        if (mp_tv_is_text(name, *names)) return true;
    return false;
}

static mp_tv forbidden(void)
{
    static const char text[] = "a template cannot change lists and dicts; build new ones, or use a namespace";
    return mp_tv_undefined(MP_TV_MESSAGE, text, sizeof(text) - 1);
}

/* Position i from the end when negative; false when it is outside. */
static bool position(int64_t i, int64_t n, int64_t *out)
{
    *out = i < 0 ? i + n : i;
    return *out >= 0 && *out < n;
}

/* v[key] as Python's objects give it; MISSING when there is no such element. */
static void element(mp_tv v, mp_tv key, mp_tv *out)
{
    int64_t i;
    const mp_tv *there = NULL;
    *out = (mp_tv){ 0 };
    if (v.type == MP_TV_DICT && mp_tv_hashable(key)) there = mp_tdict_get(v.dict, key);
    if (there) *out = *there;
    if (v.type == MP_TV_DICT || !mp_tv_is_int(key)) return;
    if (mp_tv_is_array(v) && position(mp_tv_as_int(key), v.list->n, &i)) *out = v.list->v[i];
    if (v.type == MP_TV_RANGE && position(mp_tv_as_int(key), v.range->n, &i)) *out = mp_tv_int(v.range->start + i * v.range->step);
    if (v.type == MP_TV_STR && position(mp_tv_as_int(key), mp_tv_length(v), &i)) {
        size_t from = mp_text_offset(v, i);
        int len;
        mp_text_decode(v.s + from, v.s + v.n, &len);
        *out = mp_tv_str(v.s + from, (size_t)len);
    }
}

mp_err mp_tv_attr(mp_tr *r, mp_tv v, mp_tv name, mp_tv *out)
{
    if (v.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, v);
    mp_err err = attribute(r, v, name, out);
    if (err || out->type != MP_TV_MISSING) return err;
    if (is_forbidden(v, name)) {
        *out = forbidden();
        return MP_OK;
    }
    element(v, name, out);
    if (out->type == MP_TV_MISSING) *out = mp_tv_undefined(MP_TV_ATTR, name.s, name.n);
    return MP_OK;
}

mp_err mp_tv_item(mp_tr *r, mp_tv v, mp_tv key, mp_tv *out)
{
    if (v.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, v);
    mp_err err = mp_tr_charge(r, v.type == MP_TV_STR ? mp_tv_weight(v) : mp_tv_weight(key));
    if (err) return err;
    element(v, key, out);
    if (out->type != MP_TV_MISSING) return MP_OK;
    static const char text[] = "a value has no such element";
    *out = mp_tv_undefined(MP_TV_MESSAGE, text, sizeof(text) - 1);
    if (key.type != MP_TV_STR) return MP_OK;
    mp_tv attr;
    err = attribute(r, v, key, &attr);
    if (err) return err;
    if (attr.type != MP_TV_MISSING) *out = attr;
    else *out = is_forbidden(v, key) ? forbidden() : mp_tv_undefined(MP_TV_ATTR, key.s, key.n);
    return MP_OK;
}

/* ---- slices ---- */

/* Python's slice.indices: start, stop and step made to fit n elements; *count of them are taken. */
static mp_err slice_bounds(mp_tr *r, const mp_tv bounds[3], int64_t n, int64_t *start, int64_t *step, int64_t *count)
{
    bool given[3];
    for (int i = 0; i < 3; i++) {
        given[i] = bounds[i].type != MP_TV_MISSING && bounds[i].type != MP_TV_NONE;
        if (given[i] && !mp_tv_is_int(bounds[i]))
            return mp_tr_fail(r, "the bounds of a slice must be integers, not %s", mp_tv_type_name(bounds[i]));
    }
    *step = given[2] ? mp_tv_as_int(bounds[2]) : 1;
    if (*step == 0) return mp_tr_fail(r, "the step of a slice is zero");
    if (*step < -INT32_MAX) *step = -INT32_MAX;
    if (*step > INT32_MAX) *step = INT32_MAX;
    int64_t low = *step < 0 ? -1 : 0, high = *step < 0 ? n - 1 : n, end[2];
    for (int i = 0; i < 2; i++) {
        bool at_low = (i == 0) == (*step > 0); /* where an absent bound lies */
        end[i] = given[i] ? mp_tv_as_int(bounds[i]) : at_low ? low : high;
        if (given[i] && end[i] < 0) end[i] += n;
        if (end[i] < low) end[i] = low;
        if (end[i] > high) end[i] = high;
    }
    *start = end[0];
    int64_t span = *step > 0 ? end[1] - end[0] : end[0] - end[1], stride = *step > 0 ? *step : -*step;
    *count = span > 0 ? (span + stride - 1) / stride : 0;
    return MP_OK;
}

static mp_err slice_str(mp_tr *r, mp_tv s, int64_t start, int64_t step, int64_t count, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    mp_tlist *chars = NULL;
    *out = mp_tv_str("", 0);
    if (count == 0) return MP_OK;
    if (step == 1) {
        size_t from = mp_text_offset(s, start);
        mp_tv rest = mp_tv_str(s.s + from, s.n - from);
        *out = mp_tv_str(rest.s, mp_text_offset(rest, count));
        return MP_OK;
    }
    mp_err err = mp_tv_elements(r, s, &chars);
    for (int64_t i = 0; i < count && !err; i++) {
        mp_tv c = chars->v[start + i * step];
        err = mp_tbuf_add(&buf, c.s, c.n);
    }
    *out = mp_tbuf_value(&buf);
    return err;
}

static mp_err slice_range(mp_tr *r, const mp_trange *from, const mp_tv bounds[3], mp_tv *out)
{
    int64_t start, step, count;
    mp_trange *range = NULL;
    mp_err err = slice_bounds(r, bounds, from->n, &start, &step, &count);
    if (!err) err = MP_TNEW(&r->mem, mp_trange, 1, &range);
    if (err) return err;
    range->start = from->start + start * from->step;
    range->step = from->step * step;
    range->n = count;
    range->stop = range->start + count * range->step;
    *out = (mp_tv){ .type = MP_TV_RANGE, .range = range };
    return MP_OK;
}

mp_err mp_tv_slice(mp_tr *r, mp_tv v, const mp_tv bounds[3], mp_tv *out)
{
    int64_t start, step, count;
    if (v.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, v);
    if (v.type == MP_TV_RANGE) return slice_range(r, v.range, bounds, out);
    if (v.type != MP_TV_STR && !mp_tv_is_array(v)) return mp_tr_fail(r, "a %s cannot be sliced", mp_tv_type_name(v));
    mp_err err = slice_bounds(r, bounds, mp_tv_length(v), &start, &step, &count);
    if (!err) err = mp_tr_charge(r, (uint64_t)count + mp_tv_weight(v) / 16);
    if (err) return err;
    if (v.type == MP_TV_STR) return slice_str(r, v, start, step, count, out);
    err = mp_tr_new_list(r, (size_t)count, out);
    for (int64_t i = 0; i < count && !err; i++) err = mp_tlist_add(&r->mem, out->list, v.list->v[start + i * step]);
    out->type = v.type;
    return err;
}

/* ---- attribute="a.b.0" in filters ---- */

mp_err mp_tv_path(mp_tr *r, mp_tv v, mp_tv path, mp_tv *out)
{
    mp_err err = MP_OK;
    *out = v;
    if (mp_tv_is_int(path)) return mp_tv_item(r, v, path, out);
    if (path.type != MP_TV_STR) return mp_tr_fail(r, "an attribute must be named by a string or a number");
    for (size_t from = 0; from <= path.n && !err;) {
        const char *dot = from < path.n ? memchr(path.s + from, '.', path.n - from) : NULL;
        size_t to = dot ? (size_t)(dot - path.s) : path.n;
        mp_tv part = mp_tv_str(path.s + from, to - from);
        int64_t i;
        bool digits = part.n > 0;
        for (size_t k = 0; k < part.n; k++) digits = digits && part.s[k] >= '0' && part.s[k] <= '9';
        if (digits && mp_text_to_int(part, 10, &i)) part = mp_tv_int(i);
        err = mp_tv_item(r, *out, part, out);
        from = to + 1;
    }
    return err;
}
