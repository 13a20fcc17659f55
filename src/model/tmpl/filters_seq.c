/* Filters over sequences and mappings. Where Python returns a generator, so do these: an ITER, which can be walked once. */
#include <string.h>

#include "model/tmpl/eval.h"

static mp_err undefined_because(const char *why, mp_tv *out)
{
    *out = mp_tv_undefined(MP_TV_MESSAGE, why, strlen(why));
    return MP_OK;
}

/* ---- one element, or a number ---- */

static mp_err length(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    int64_t n = mp_tv_length(c->self);
    if (c->self.type == MP_TV_LOOP) return mp_tloop_attr(r, c->self.loop, mp_tv_str("length", 6), out);
    if (n < 0) return mp_tr_fail(r, "a value of type %s has no length", mp_tv_type_name(c->self));
    *out = mp_tv_int(n);
    return MP_OK;
}

static mp_err first(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL;
    if (c->self.type == MP_TV_ITER && c->self.iter->at < c->self.iter->list->n) {
        *out = c->self.iter->list->v[c->self.iter->at++];
        return MP_OK;
    }
    mp_err err = mp_tv_elements(r, c->self, &list);
    if (err) return err;
    if (list->n == 0) return undefined_because("an empty sequence has no first item", out);
    *out = list->v[0];
    return MP_OK;
}

static mp_err last(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL;
    if (c->self.type == MP_TV_ITER) return mp_tr_fail(r, "a generator has no last item; make a list of it");
    mp_err err = mp_tv_elements(r, c->self, &list);
    if (err) return err;
    if (list->n == 0) return undefined_because("an empty sequence has no last item", out);
    *out = list->v[list->n - 1];
    return MP_OK;
}

static mp_err default_value(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    (void)r;
    bool missing = c->self.type == MP_TV_UNDEFINED || (mp_targ_truth(c->a[1], false) && !mp_tv_truth(c->self));
    *out = !missing ? c->self : c->a[0].type == MP_TV_MISSING ? mp_tv_str("", 0) : c->a[0];
    return MP_OK;
}

/* self.attribute, or self itself when there is none; strings in lower case unless case matters. */
static mp_err key_of(mp_tr *r, mp_tv v, mp_tv attribute, bool case_sensitive, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    mp_err err = MP_OK;
    *out = v;
    if (attribute.type != MP_TV_MISSING && attribute.type != MP_TV_NONE) err = mp_tv_path(r, v, attribute, out);
    if (err || case_sensitive || out->type != MP_TV_STR) return err;
    err = mp_text_recase(&buf, *out, MP_TEXT_LOWER);
    *out = mp_tbuf_value(&buf);
    return err;
}

/* min and max: the first of the best. */
static mp_err extreme(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL;
    mp_tv best = { 0 }, key;
    mp_err err = mp_tv_elements(r, c->self, &list);
    if (!err && list->n == 0) return undefined_because("an empty sequence has no smallest or largest item", out);
    for (uint32_t i = 0; !err && i < list->n; i++) {
        int order = 0;
        err = key_of(r, list->v[i], c->a[1], mp_targ_truth(c->a[0], false), &key);
        if (!err && i > 0) err = c->how > 0 ? mp_tv_order(r, key, best, &order) : mp_tv_order(r, best, key, &order);
        if (err || (i > 0 && order != 1)) continue;
        best = key;
        *out = list->v[i];
    }
    return err;
}

static mp_err sum(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL;
    mp_tv v;
    bool path = c->a[0].type != MP_TV_MISSING && c->a[0].type != MP_TV_NONE;
    *out = c->a[1].type == MP_TV_MISSING ? mp_tv_int(0) : c->a[1];
    if (out->type == MP_TV_STR) return mp_tr_fail(r, "sum does not add strings; use join");
    mp_err err = mp_tv_elements(r, c->self, &list);
    for (uint32_t i = 0; !err && i < list->n; i++) {
        v = list->v[i];
        if (path) err = mp_tv_path(r, v, c->a[0], &v);
        if (!err) err = mp_tv_binary(r, MP_TT_ADD, *out, v, out);
    }
    return err;
}

/* ---- whole sequences ---- */

static mp_err to_list(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL;
    mp_err err = mp_tv_elements(r, c->self, &list);
    *out = mp_tv_list(list);
    return err;
}

static mp_err join(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv sep = c->a[0].type == MP_TV_MISSING ? mp_tv_str("", 0) : c->a[0], values = c->self;
    mp_tlist *list = NULL;
    bool path = c->a[1].type != MP_TV_MISSING && c->a[1].type != MP_TV_NONE;
    mp_err err = mp_tv_to_str(r, sep, &sep);
    if (!err && path) {
        err = mp_tv_elements(r, c->self, &list);
        if (!err) err = mp_tr_new_list(r, list->n, &values);
        for (uint32_t i = 0; !err && i < list->n; i++) {
            mp_tv v;
            err = mp_tv_path(r, list->v[i], c->a[1], &v);
            if (!err) err = mp_tlist_add(&r->mem, values.list, v);
        }
    }
    return err ? err : mp_tjoin(r, sep, values, true, out);
}

/* A string backwards, or an iterator over anything else. */
static mp_err reverse(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL;
    mp_tv turned;
    const mp_tv backwards[3] = { { 0 }, { 0 }, { .type = MP_TV_INT, .i = -1 } };
    if (c->self.type == MP_TV_STR) return mp_tv_slice(r, c->self, backwards, out);
    mp_err err = mp_tv_elements(r, c->self, &list);
    if (!err) err = mp_tv_slice(r, mp_tv_list(list), backwards, &turned);
    if (err) return err;
    if (c->self.type != MP_TV_ITER) return mp_tr_iter(r, turned.list, out);
    *out = turned; /* of a generator Jinja makes a list */
    return MP_OK;
}

static mp_err items(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL;
    mp_tv view = { .type = MP_TV_VIEW, .flag = MP_TV_ITEMS, .dict = c->self.dict };
    mp_err err = MP_OK;
    if (c->self.type == MP_TV_UNDEFINED) err = mp_tlist_new(&r->mem, 0, &list);
    else if (c->self.type != MP_TV_DICT) return mp_tr_fail(r, "items works on mappings only, not on %s", mp_tv_type_name(c->self));
    else err = mp_tv_elements(r, view, &list);
    return err ? err : mp_tr_iter(r, list, out);
}

/* The values of pairs, sorted by their keys. */
static mp_err sorted_values(mp_tr *r, mp_tpair *pairs, uint32_t n, bool backwards, mp_tv *out)
{
    mp_err err = mp_tr_sort(r, pairs, n, backwards);
    if (!err) err = mp_tr_new_list(r, n, out);
    for (uint32_t i = 0; i < n && !err; i++) err = mp_tlist_add(&r->mem, out->list, pairs[i].value);
    return err;
}

/* Several keys in one list: equal ones are passed over before they are ordered, so that even what has no order can be equal. */
static mp_err keys_of(mp_tr *r, mp_tv v, const mp_tlist *paths, bool case_sensitive, mp_tv *out)
{
    mp_tv key;
    mp_err err = mp_tr_new_list(r, paths->n, out);
    for (uint32_t i = 0; i < paths->n && !err; i++) {
        err = key_of(r, v, paths->v[i], case_sensitive, &key);
        if (!err) err = mp_tlist_add(&r->mem, out->list, key);
    }
    return err;
}

/* attribute="a,b": by a, then by b. */
static mp_err sort(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL;
    mp_tpair *pairs = NULL;
    mp_tv paths = c->a[2];
    mp_err err = mp_tv_elements(r, c->self, &list);
    if (!err && paths.type == MP_TV_STR) err = mp_tsplit(r, paths, mp_tv_str(",", 1), -1, false, &paths);
    else if (!err) {
        err = mp_tr_new_list(r, 1, &paths);
        if (!err) err = mp_tlist_add(&r->mem, paths.list, c->a[2]);
    }
    if (!err) err = MP_TNEW(&r->mem, mp_tpair, list->n, &pairs);
    for (uint32_t i = 0; !err && i < list->n; i++) {
        pairs[i].value = list->v[i];
        err = keys_of(r, list->v[i], paths.list, mp_targ_truth(c->a[1], false), &pairs[i].key);
    }
    return err ? err : sorted_values(r, pairs, list->n, mp_targ_truth(c->a[0], false), out);
}

static mp_err dictsort(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL;
    mp_tpair *pairs = NULL;
    mp_tv by = c->a[1];
    bool value = mp_tv_is_text(by, "value");
    if (by.type != MP_TV_MISSING && !value && !mp_tv_is_text(by, "key")) return mp_tr_fail(r, "dictsort sorts by 'key' or by 'value'");
    if (c->self.type != MP_TV_DICT) return mp_tr_fail(r, "dictsort works on mappings only, not on %s", mp_tv_type_name(c->self));
    mp_err err = mp_tv_elements(r, (mp_tv){ .type = MP_TV_VIEW, .flag = MP_TV_ITEMS, .dict = c->self.dict }, &list);
    if (!err) err = MP_TNEW(&r->mem, mp_tpair, list->n, &pairs);
    for (uint32_t i = 0; !err && i < list->n; i++) {
        pairs[i].value = list->v[i];
        err = key_of(r, list->v[i].list->v[value], mp_tv_none(), mp_targ_truth(c->a[0], false), &pairs[i].key);
    }
    return err ? err : sorted_values(r, pairs, list->n, mp_targ_truth(c->a[2], false), out);
}

static mp_err unique(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL, *kept = NULL;
    mp_tdict *seen = NULL;
    mp_tv key;
    mp_err err = mp_tv_elements(r, c->self, &list);
    if (!err) err = mp_tlist_new(&r->mem, 0, &kept);
    if (!err) err = mp_tdict_new(&r->mem, &seen);
    for (uint32_t i = 0; !err && i < list->n; i++) {
        err = key_of(r, list->v[i], c->a[1], mp_targ_truth(c->a[0], false), &key);
        if (!err && !mp_tv_hashable(key)) err = mp_tr_fail(r, "unique does not work on values of type %s", mp_tv_type_name(key));
        if (err || mp_tdict_get(seen, key)) continue;
        err = mp_tdict_set(&r->mem, seen, key, mp_tv_none());
        if (!err) err = mp_tlist_add(&r->mem, kept, list->v[i]);
    }
    return err ? err : mp_tr_iter(r, kept, out);
}

/* ---- groups ---- */

static mp_err group_key(mp_tr *r, const mp_tcall *c, mp_tv v, bool exact, mp_tv *out)
{
    mp_err err = key_of(r, v, c->a[0], true, out);
    if (!err && out->type == MP_TV_UNDEFINED && c->a[1].type != MP_TV_MISSING && c->a[1].type != MP_TV_NONE) *out = c->a[1];
    return err || exact ? err : key_of(r, *out, mp_tv_none(), false, out);
}

/* The pairs [0, n) are one group; its name is that of its first member, in its own case. */
static mp_err add_group(mp_tr *r, const mp_tcall *c, const mp_tpair *pairs, uint32_t n, mp_tlist *groups)
{
    mp_tv group, members, name;
    mp_err err = mp_tr_new_list(r, n, &members);
    for (uint32_t i = 0; i < n && !err; i++) err = mp_tlist_add(&r->mem, members.list, pairs[i].value);
    if (!err) err = group_key(r, c, pairs[0].value, true, &name);
    if (!err) err = mp_tr_new_list(r, 2, &group);
    if (!err) err = mp_tlist_add(&r->mem, group.list, name);
    if (!err) err = mp_tlist_add(&r->mem, group.list, members);
    if (err) return err;
    group.type = MP_TV_TUPLE;
    group.flag = MP_TV_GROUP;
    return mp_tlist_add(&r->mem, groups, group);
}

static mp_err groupby(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL;
    mp_tpair *pairs = NULL;
    bool exact = mp_targ_truth(c->a[2], false);
    mp_err err = mp_tv_elements(r, c->self, &list);
    if (!err) err = MP_TNEW(&r->mem, mp_tpair, list->n, &pairs);
    for (uint32_t i = 0; !err && i < list->n; i++) {
        pairs[i].value = list->v[i];
        err = group_key(r, c, list->v[i], exact, &pairs[i].key);
    }
    if (!err) err = mp_tr_sort(r, pairs, list->n, false);
    if (!err) err = mp_tr_new_list(r, 0, out);
    for (uint32_t i = 0, n = 1; !err && i < list->n; i += n, n = 1) {
        while (i + n < list->n && mp_tv_equal(pairs[i].key, pairs[i + n].key)) n++;
        err = add_group(r, c, pairs + i, n, out->list);
    }
    return err;
}

/* Lines of n elements; the last is filled up when there is something to fill with. */
static mp_err batch(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL, *lines = NULL;
    mp_tv line = { 0 };
    int64_t n;
    bool fills = c->a[1].type != MP_TV_MISSING && c->a[1].type != MP_TV_NONE;
    mp_err err = mp_targ_int(r, c->a[0], 1, &n);
    if (!err) err = mp_tv_elements(r, c->self, &list);
    if (!err) err = mp_tlist_new(&r->mem, 0, &lines);
    if (!err && n <= 0) err = mp_tr_fail(r, "batch needs a number above 0");
    if (!err && fills && n > 100000) err = mp_tr_fail(r, "batch of more than 100000");
    for (uint32_t i = 0; !err && i < list->n; i++) {
        if (i % n == 0) err = mp_tr_new_list(r, 0, &line);
        if (!err) err = mp_tlist_add(&r->mem, line.list, list->v[i]);
        if (!err && (i % n == n - 1 || i == list->n - 1)) {
            while (!err && fills && line.list->n < n) err = mp_tlist_add(&r->mem, line.list, c->a[1]);
            if (!err) err = mp_tlist_add(&r->mem, lines, line);
        }
    }
    return err ? err : mp_tr_iter(r, lines, out);
}

/* n columns of about the same length. */
static mp_err slice(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL, *columns = NULL;
    int64_t n, from = 0;
    mp_err err = mp_targ_int(r, c->a[0], 1, &n);
    if (!err) err = mp_tv_elements(r, c->self, &list);
    if (!err) err = mp_tlist_new(&r->mem, 0, &columns);
    if (!err && (n <= 0 || n > 100000)) err = mp_tr_fail(r, "slice needs a number between 1 and 100000");
    for (int64_t k = 0; !err && k < n; k++) {
        mp_tv column;
        int64_t take = list->n / n + (k < list->n % n);
        bool fills = c->a[1].type != MP_TV_MISSING && c->a[1].type != MP_TV_NONE && k >= list->n % n;
        err = mp_tr_new_list(r, 0, &column);
        for (int64_t i = from; !err && i < from + take; i++) err = mp_tlist_add(&r->mem, column.list, list->v[i]);
        if (!err && fills) err = mp_tlist_add(&r->mem, column.list, c->a[1]);
        if (!err) err = mp_tlist_add(&r->mem, columns, column);
        from += take;
    }
    return err ? err : mp_tr_iter(r, columns, out);
}

/* ---- map, select, reject ---- */

static const mp_tv *keyword(const mp_targs *args, const char *name)
{
    for (int i = 0; i < args->n_kw; i++)
        if (mp_tv_is_text(args->kw[i].key, name)) return &args->kw[i].value;
    return NULL;
}

static mp_err named(mp_tr *r, const mp_targs *args, int at, bool filter, const mp_tbuiltin **out, mp_targs *rest)
{
    mp_tv name = args->v[at];
    *out = name.type != MP_TV_STR ? NULL : filter ? mp_tfilter_find(name) : mp_ttest_find(name);
    *rest = (mp_targs){ args->v + at + 1, args->n - at - 1, args->kw, args->n_kw };
    if (*out) return MP_OK;
    return mp_tr_fail(r, "no such %s is known here: '%.*s'", filter ? "filter" : "test", name.type != MP_TV_STR ? 0 : mp_tv_shown(name, 60),
                      name.type == MP_TV_STR ? name.s : "");
}

static mp_err map_attribute(mp_tr *r, const mp_targs *args, mp_tv v, mp_tv *out)
{
    const mp_tv *otherwise = keyword(args, "default");
    mp_err err = mp_tv_path(r, v, *keyword(args, "attribute"), out);
    if (!err && otherwise && otherwise->type != MP_TV_NONE && out->type == MP_TV_UNDEFINED) *out = *otherwise;
    return err;
}

static mp_err map(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL, *mapped = NULL;
    const mp_tbuiltin *fn = NULL;
    mp_targs rest = { 0 };
    bool attribute = c->args->n == 0 && keyword(c->args, "attribute");
    mp_err err = mp_tlist_new(&r->mem, 0, &mapped);
    if (!err && !mp_tv_truth(c->self)) return mp_tr_iter(r, mapped, out);
    if (!err && !attribute && c->args->n == 0) err = mp_tr_fail(r, "map needs a filter or attribute=");
    if (!err && attribute && c->args->n_kw > 1 + (keyword(c->args, "default") != NULL)) err = mp_tr_fail(r, "map has no such argument");
    if (!err && !attribute) err = named(r, c->args, 0, true, &fn, &rest);
    if (!err) err = mp_tv_elements(r, c->self, &list);
    for (uint32_t i = 0; !err && i < list->n; i++) {
        mp_tv v;
        err = attribute ? map_attribute(r, c->args, list->v[i], &v) : mp_tbuiltin_call(r, fn, list->v[i], &rest, &v);
        if (!err) err = mp_tlist_add(&r->mem, mapped, v);
    }
    return err ? err : mp_tr_iter(r, mapped, out);
}

enum { SELECT = 0, REJECT = 1, ATTR = 2 };

/* select, reject: by a test or by truth; selectattr, rejectattr: the same of an attribute. */
static mp_err select_values(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tlist *list = NULL, *kept = NULL;
    const mp_tbuiltin *test = NULL;
    mp_targs rest = { 0 };
    int at = c->how & ATTR ? 1 : 0;
    mp_err err = mp_tlist_new(&r->mem, 0, &kept);
    if (!err && !mp_tv_truth(c->self)) return mp_tr_iter(r, kept, out);
    if (!err && c->args->n < at) err = mp_tr_fail(r, "the name of an attribute is missing");
    if (!err && c->args->n > at) err = named(r, c->args, at, false, &test, &rest);
    if (!err) err = mp_tv_elements(r, c->self, &list);
    for (uint32_t i = 0; !err && i < list->n; i++) {
        mp_tv v = list->v[i];
        err = mp_tr_charge(r, 1);
        if (!err && at) err = mp_tv_path(r, v, c->args->v[0], &v);
        if (!err && test) err = mp_tbuiltin_call(r, test, v, &rest, &v);
        if (!err && mp_tv_truth(v) != (c->how & REJECT)) err = mp_tlist_add(&r->mem, kept, list->v[i]);
    }
    return err ? err : mp_tr_iter(r, kept, out);
}

static mp_err attr(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_err err = mp_tr_need_str(r, c->a[0], "attr");
    if (err) return err;
    if (c->self.type != MP_TV_DICT || mp_tmethod_find(c->self, c->a[0])) return mp_tv_attr(r, c->self, c->a[0], out);
    *out = mp_tv_undefined(MP_TV_ATTR, c->a[0].s, c->a[0].n); /* attributes only, no members */
    return MP_OK;
}

const mp_tbuiltin mp_tfilters_seq[] = {
    { "length", length, "", 0, 0 }, { "count", length, "", 0, 0 }, { "first", first, "", 0, 0 }, { "last", last, "", 0, 0 },
    { "default", default_value, "default_value boolean", 0, 0 }, { "d", default_value, "default_value boolean", 0, 0 },
    { "min", extreme, "case_sensitive attribute", 0, -1 }, { "max", extreme, "case_sensitive attribute", 0, 1 },
    { "sum", sum, "attribute start", 0, 0 }, { "list", to_list, "", 0, 0 }, { "join", join, "d attribute", 0, 0 },
    { "reverse", reverse, "", 0, 0 }, { "items", items, "", 0, 0 }, { "sort", sort, "reverse case_sensitive attribute", 0, 0 },
    { "dictsort", dictsort, "case_sensitive by reverse", 0, 0 }, { "unique", unique, "case_sensitive attribute", 0, 0 },
    { "groupby", groupby, "attribute default case_sensitive", 1, 0 }, { "batch", batch, "linecount fill_with", 1, 0 },
    { "slice", slice, "slices fill_with", 1, 0 }, { "map", map, "*", 0, 0 }, { "select", select_values, "*", 0, SELECT },
    { "reject", select_values, "*", 0, REJECT }, { "selectattr", select_values, "*", 0, SELECT | ATTR },
    { "rejectattr", select_values, "*", 0, REJECT | ATTR }, { "attr", attr, "name", 1, 0 }, { 0 },
};

const mp_tbuiltin *mp_tfilter_find(mp_tv name)
{
    const mp_tbuiltin *fn = mp_tbuiltin_find(mp_tfilters_seq, name);
    return fn ? fn : mp_tbuiltin_find(mp_tfilters_text, name);
}
