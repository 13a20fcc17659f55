/* The functions that every template can call. */
#include <string.h>
#include <time.h>

#include "model/tmpl/eval.h"

enum { MAX_RANGE = 100000 }; /* Jinja's sandbox */

static mp_err range(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    int64_t v[3] = { 0, 0, 1 };
    mp_trange *range = NULL;
    mp_err err = MP_OK;
    bool one = c->a[1].type == MP_TV_MISSING;
    for (int i = 0; i < 3 && !err; i++) err = mp_targ_int(r, c->a[i], v[i], &v[i]);
    if (err) return err;
    int64_t start = one ? 0 : v[0], stop = one ? v[0] : v[1], step = v[2];
    if (step == 0) return mp_tr_fail(r, "the step of range is zero");
    uint64_t span = 0; /* the distance may not fit in an int64_t */
    if (step > 0 && start < stop) span = (uint64_t)stop - (uint64_t)start;
    if (step < 0 && start > stop) span = (uint64_t)start - (uint64_t)stop;
    uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step, n = span / stride + (span % stride != 0);
    if (n > MAX_RANGE) return mp_tr_fail(r, "a range of more than %d numbers", MAX_RANGE);
    err = MP_TNEW(&r->mem, mp_trange, 1, &range);
    if (err) return err;
    *range = (mp_trange){ start, stop, step, (int64_t)n };
    *out = (mp_tv){ .type = MP_TV_RANGE, .range = range };
    return MP_OK;
}

/* One element of dict([...]): a pair. */
static mp_err add_pair(mp_tr *r, mp_tdict *d, mp_tv pair)
{
    mp_tlist *list = NULL;
    mp_err err = mp_tv_elements(r, pair, &list);
    if (!err && list->n != 2) err = mp_tr_fail(r, "dict needs pairs");
    if (!err && !mp_tv_hashable(list->v[0])) err = mp_tr_fail(r, "a %s cannot be a key", mp_tv_type_name(list->v[0]));
    return err ? err : mp_tdict_set(&r->mem, d, list->v[0], list->v[1]);
}

/* dict(mapping or pairs, name=value, ...) into d. */
static mp_err fill_dict(mp_tr *r, const mp_targs *args, mp_tdict *d)
{
    mp_tlist *list = NULL;
    mp_err err = MP_OK;
    if (args->n > 1) return mp_tr_fail(r, "dict takes at most one argument without a name");
    if (args->n == 1 && args->v[0].type == MP_TV_DICT) {
        const mp_tdict *from = args->v[0].dict;
        for (uint32_t i = 0; i < from->n && !err; i++) err = mp_tdict_set(&r->mem, d, from->pair[i].key, from->pair[i].value);
    } else if (args->n == 1) {
        err = mp_tv_elements(r, args->v[0], &list);
        for (uint32_t i = 0; !err && i < list->n; i++) err = add_pair(r, d, list->v[i]);
    }
    for (int i = 0; i < args->n_kw && !err; i++) err = mp_tdict_set(&r->mem, d, args->kw[i].key, args->kw[i].value);
    return err;
}

static mp_err make_dict(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tdict *d = NULL;
    mp_err err = mp_tdict_new(&r->mem, &d);
    if (err) return err;
    d->space = c->how == MP_TV_NAMESPACE;
    *out = (mp_tv){ .type = (uint8_t)c->how, .dict = d };
    return fill_dict(r, c->args, d);
}

static mp_err raise_exception(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv text;
    mp_err err = mp_tv_to_str(r, c->a[0], &text);
    *out = mp_tv_none();
    return err ? err : mp_fail(MP_E_FAILED, "%.*s", mp_tv_shown(text, 1000), text.s);
}

static mp_err strftime_now(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    char text[2048], format[256];
    struct tm tm;
    time_t now = r->limits.now_unix ? (time_t)r->limits.now_unix : time(NULL);
    mp_err err = mp_tr_need_str(r, c->a[0], "strftime_now");
    if (err) return err;
    if (c->a[0].n + 2 > sizeof(format) || memchr(c->a[0].s, 0, c->a[0].n)) return mp_tr_fail(r, "the format of strftime_now is too long");
    format[0] = ' '; /* so that an empty result differs from one that does not fit */
    memcpy(format + 1, c->a[0].s, c->a[0].n);
    format[c->a[0].n + 1] = 0;
    bool known = r->limits.now_unix ? gmtime_r(&now, &tm) != NULL : localtime_r(&now, &tm) != NULL;
    size_t n = known ? strftime(text, sizeof(text), format, &tm) : 0;
    if (n == 0 || !mp_text_valid(text, n)) return mp_tr_fail(r, "the result of strftime_now is not usable");
    mp_tbuf buf = { .mem = &r->mem };
    err = mp_tbuf_add(&buf, text + 1, n - 1);
    *out = mp_tbuf_value(&buf);
    return err;
}

static mp_err cycler(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tcycle *cycle = NULL;
    if (c->args->n == 0) return mp_tr_fail(r, "cycler needs something to choose from");
    mp_err err = MP_TNEW(&r->mem, mp_tcycle, 1, &cycle);
    if (!err) err = mp_tlist_new(&r->mem, (size_t)c->args->n, &cycle->items);
    for (int i = 0; i < c->args->n && !err; i++) err = mp_tlist_add(&r->mem, cycle->items, c->args->v[i]);
    *out = (mp_tv){ .type = MP_TV_CYCLER, .cycle = cycle };
    return err;
}

static mp_err joiner(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tcycle *cycle = NULL;
    mp_err err = MP_TNEW(&r->mem, mp_tcycle, 1, &cycle);
    if (err) return err;
    cycle->sep = c->a[0].type == MP_TV_MISSING ? mp_tv_str(", ", 2) : c->a[0];
    *out = (mp_tv){ .type = MP_TV_JOINER, .cycle = cycle };
    return MP_OK;
}

const mp_tbuiltin *mp_tglobal_find(mp_tv name)
{
    static const mp_tbuiltin globals[] = {
        { "range", range, "/start stop step", 1, 0 }, { "dict", make_dict, "*", 0, MP_TV_DICT },
        { "namespace", make_dict, "*", 0, MP_TV_NAMESPACE }, { "raise_exception", raise_exception, "message", 1, 0 },
        { "strftime_now", strftime_now, "format", 1, 0 }, { "cycler", cycler, "*", 0, 0 }, { "joiner", joiner, "sep", 0, 0 }, { 0 },
    };
    return mp_tbuiltin_find(globals, name);
}
