/* Expressions. Recursion follows the tree and is bounded by the limit of depth; each level takes a few hundred bytes of stack. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/tmpl/eval.h"

/* ---- the state of a render ---- */

mp_err mp_tr_fail(mp_tr *r, const char *format, ...)
{
    char what[600];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return mp_fail(MP_E_MODEL, "the chat template stopped at line %d: %s", r->line, what);
}

mp_err mp_tr_fail_undefined(mp_tr *r, mp_tv v)
{
    int n = mp_tv_shown(v, 200);
    if (v.flag == MP_TV_MESSAGE) return mp_tr_fail(r, "%.*s", n, v.s);
    if (v.flag == MP_TV_ATTR) return mp_tr_fail(r, "there is no attribute or member '%.*s'", n, v.s);
    return mp_tr_fail(r, "'%.*s' is undefined", n, v.s);
}

mp_err mp_tr_charge(mp_tr *r, uint64_t steps)
{
    if (steps > r->limits.steps || r->steps > r->limits.steps - steps)
        return mp_tr_fail(r, "it takes more than %llu steps, which is its limit", (unsigned long long)r->limits.steps);
    r->steps += steps;
    return MP_OK;
}

mp_err mp_tr_enter(mp_tr *r)
{
    if (r->depth >= r->limits.depth) return mp_tr_fail(r, "it is nested more than %d deep, which is its limit", r->limits.depth);
    r->depth++;
    return MP_OK;
}

mp_err mp_tr_new_list(mp_tr *r, size_t room, mp_tv *out)
{
    mp_tlist *list = NULL;
    *out = mp_tv_none();
    mp_err err = mp_tlist_new(&r->mem, room, &list);
    if (!err) *out = mp_tv_list(list);
    return err;
}

mp_err mp_tr_iter(mp_tr *r, mp_tlist *list, mp_tv *out)
{
    mp_titer *it = NULL;
    mp_err err = MP_TNEW(&r->mem, mp_titer, 1, &it);
    if (err) return err;
    it->list = list;
    *out = (mp_tv){ .type = MP_TV_ITER, .iter = it };
    return MP_OK;
}

/* ---- frames and names ---- */

static mp_tframe *frame_at(mp_tframe *f, int hops)
{
    while (hops-- > 0) f = f->outer;
    return f;
}

mp_err mp_tframe_new(mp_tr *r, const mp_tscope *scope, mp_tframe *outer, mp_tframe **out)
{
    mp_err err = mp_tmem_push(&r->mem, sizeof(mp_tframe) + scope->n * sizeof(mp_tv), (void **)(void *)out);
    if (!err) (*out)->outer = outer;
    return err;
}

/* A variable of the caller, else a global function that we have, else MISSING. */
static mp_err lookup(mp_tr *r, mp_tv name, mp_tv *out)
{
    const mp_tv *there = mp_tdict_get(r->vars, name);
    *out = (mp_tv){ 0 };
    if (there) {
        *out = *there;
        return MP_OK;
    }
    const mp_tbuiltin *global = mp_tglobal_find(name);
    return global ? mp_tv_builtin(r, global, mp_tv_none(), out) : MP_OK;
}

mp_err mp_tframe_enter(mp_tr *r, const mp_tscope *scope, mp_tframe *f)
{
    mp_err err = MP_OK;
    for (int i = 0; i < scope->n && !err; i++) {
        const mp_tname *name = &scope->name[i];
        if (name->load == MP_TL_RESOLVE) err = lookup(r, name->name, &f->slot[i]);
        else if (name->load == MP_TL_ALIAS) f->slot[i] = frame_at(f, name->hops)->slot[name->slot];
        else if (name->load == MP_TL_UNSET) f->slot[i] = (mp_tv){ 0 };
    }
    return err;
}

static void load(mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    *out = frame_at(f, n->hops)->slot[n->slot];
    if (out->type == MP_TV_MISSING) *out = mp_tv_undefined(MP_TV_NAME, n->name.s, n->name.n);
}

static mp_err assign_namespace(mp_tr *r, mp_tframe *f, const mp_tnode *target, mp_tv value)
{
    mp_tv ns;
    load(f, target->a, &ns);
    if (ns.type != MP_TV_NAMESPACE) return mp_tr_fail(r, "only attributes of a namespace can be set, and this is %s", mp_tv_type_name(ns));
    return mp_tdict_set(&r->mem, ns.dict, target->name, value);
}

static mp_err unpack(mp_tr *r, mp_tframe *f, const mp_tnode *target, mp_tv value)
{
    mp_tlist *list = NULL;
    uint32_t i = 0, want = 0;
    mp_err err = mp_tv_elements(r, value, &list);
    for (const mp_tnode *n = target->list; n; n = n->next) want++;
    if (!err && list->n != want) err = mp_tr_fail(r, "%u values cannot be given to %u names", list->n, want);
    for (const mp_tnode *n = target->list; n && !err; n = n->next) err = mp_tassign(r, f, n, list->v[i++]);
    return err;
}

mp_err mp_tassign(mp_tr *r, mp_tframe *f, const mp_tnode *target, mp_tv value)
{
    if (target->kind == MP_TN_TUPLE) return unpack(r, f, target, value);
    if (target->kind == MP_TN_NSREF) return assign_namespace(r, f, target, value);
    f->slot[target->slot] = value;
    return MP_OK;
}

/* ---- arguments ---- */

typedef struct gathered {
    mp_tlist  pos;
    mp_tdict *kw;
} gathered;

static mp_err spread_names(mp_tr *r, mp_tv v, mp_tdict *kw)
{
    mp_err err = MP_OK;
    if (v.type == MP_TV_UNDEFINED) return mp_tr_fail_undefined(r, v);
    if (v.type != MP_TV_DICT) return mp_tr_fail(r, "** needs a dict, not %s", mp_tv_type_name(v));
    for (uint32_t i = 0; i < v.dict->n && !err; i++) {
        if (v.dict->pair[i].key.type != MP_TV_STR) return mp_tr_fail(r, "the names of arguments must be strings");
        err = mp_tdict_set(&r->mem, kw, v.dict->pair[i].key, v.dict->pair[i].value);
    }
    return err;
}

static mp_err gather(mp_tr *r, mp_tframe *f, const mp_tnode *arg, gathered *g)
{
    mp_tv v;
    mp_tlist *list = NULL;
    bool named = arg->kind == MP_TN_KEYWORD, spread = arg->kind == MP_TN_SPREAD;
    mp_err err = mp_teval(r, f, named || spread ? arg->a : arg, &v);
    if (err) return err;
    if (!named && !spread) return mp_tlist_add(&r->mem, &g->pos, v);
    if (!g->kw && (named || arg->flag)) err = mp_tdict_new(&r->mem, &g->kw);
    if (err) return err;
    if (named && mp_tdict_get(g->kw, arg->name))
        return mp_tr_fail(r, "the argument '%.*s' is given twice", mp_tv_shown(arg->name, 60), arg->name.s);
    if (named) return mp_tdict_set(&r->mem, g->kw, arg->name, v);
    if (arg->flag) return spread_names(r, v, g->kw);
    err = mp_tv_elements(r, v, &list);
    for (uint32_t i = 0; !err && i < list->n; i++) err = mp_tlist_add(&r->mem, &g->pos, list->v[i]);
    return err;
}

mp_err mp_teval_args(mp_tr *r, mp_tframe *f, const mp_tnode *list, mp_targs *out)
{
    gathered g = { .pos = { .depth = 1, .weight = 1 } };
    mp_err err = MP_OK;
    for (const mp_tnode *arg = list; arg && !err; arg = arg->next) err = gather(r, f, arg, &g);
    *out = (mp_targs){ g.pos.v, (int)g.pos.n, g.kw ? g.kw->pair : NULL, g.kw ? (int)g.kw->n : 0 };
    return err;
}

/* ---- filters, tests, calls ---- */

static mp_err unknown(mp_tr *r, const mp_tnode *n)
{
    return mp_tr_fail(r, "no %s named '%.*s' is known here", n->kind == MP_TN_FILTER ? "filter" : "test",
                      mp_tv_shown(n->name, 60), n->name.s);
}

static mp_err apply(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv self, mp_tv *out)
{
    mp_targs args;
    if (!n->fn) return unknown(r, n);
    mp_err err = mp_teval_args(r, f, n->list, &args);
    return err ? err : mp_tbuiltin_call(r, n->fn, self, &args, out);
}

static mp_err eval_applied(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    mp_tv self;
    mp_err err = mp_teval(r, f, n->a, &self);
    return err ? err : apply(r, f, n, self, out);
}

mp_err mp_teval_filters(mp_tr *r, mp_tframe *f, const mp_tnode *chain, mp_tv value, mp_tv *out)
{
    *out = value;
    if (!chain) return MP_OK;
    mp_err err = mp_tr_enter(r);
    if (err) return err;
    err = mp_teval_filters(r, f, chain->a, value, out);
    if (!err) err = apply(r, f, chain, *out, out);
    r->depth--;
    return err;
}

static mp_err eval_call(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    mp_tv callee;
    mp_targs args;
    mp_err err = mp_teval(r, f, n->a, &callee);
    if (!err) err = mp_teval_args(r, f, n->list, &args);
    if (err) return err;
    r->line = n->line;
    return mp_tv_call(r, callee, &args, out);
}

mp_err mp_tv_call(mp_tr *r, mp_tv callee, const mp_targs *args, mp_tv *out)
{
    switch (callee.type) {
    case MP_TV_FUNC:
        if (callee.func->macro) return mp_tmacro_call(r, callee.func, args, out);
        return mp_tbuiltin_call(r, callee.func->fn, callee.func->self, args, out);
    case MP_TV_LOOP: return mp_tloop_call(r, callee.loop, args, out);
    case MP_TV_JOINER:
        *out = callee.cycle->used ? callee.cycle->sep : mp_tv_str("", 0);
        callee.cycle->used = true;
        return MP_OK;
    case MP_TV_UNDEFINED: return mp_tr_fail_undefined(r, callee);
    default: return mp_tr_fail(r, "a value of type %s cannot be called", mp_tv_type_name(callee));
    }
}

/* ---- literals ---- */

static mp_err eval_list(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    mp_tv list, v;
    mp_err err = mp_tr_new_list(r, 0, &list);
    for (const mp_tnode *e = n->list; e && !err; e = e->next) {
        err = mp_teval(r, f, e, &v);
        if (!err) err = mp_tlist_add(&r->mem, list.list, v);
    }
    list.type = n->kind == MP_TN_TUPLE ? MP_TV_TUPLE : MP_TV_LIST;
    *out = list;
    return err;
}

static mp_err eval_dict(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    mp_tdict *d = NULL;
    mp_tv key, value;
    mp_err err = mp_tdict_new(&r->mem, &d);
    for (const mp_tnode *e = n->list; e && !err; e = e->next) {
        err = mp_teval(r, f, e->a, &key);
        if (!err) err = mp_teval(r, f, e->b, &value);
        if (!err && !mp_tv_hashable(key)) err = mp_tr_fail(r, "a %s cannot be a key", mp_tv_type_name(key));
        if (!err) err = mp_tdict_set(&r->mem, d, key, value);
    }
    *out = mp_tv_dict(d);
    return err;
}

/* ---- operators ---- */

static mp_err concat(mp_tr *r, mp_tv a, mp_tv b, mp_tv *out)
{
    mp_err err = mp_tv_to_str(r, a, &a);
    if (!err) err = mp_tv_to_str(r, b, &b);
    return err ? err : mp_tv_concat(r, a, b, out);
}

static mp_err eval_binary(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    mp_tv a, b;
    mp_err err = mp_teval(r, f, n->a, &a);
    if (!err) err = mp_teval(r, f, n->b, &b);
    if (err) return err;
    r->line = n->line;
    return n->op == MP_TT_TILDE ? concat(r, a, b, out) : mp_tv_binary(r, (mp_ttok_kind)n->op, a, b, out);
}

/* a < b < c: each operand is evaluated once, and none after the first that is false. */
static mp_err eval_compare(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    mp_tv a, b;
    bool yes = true;
    mp_err err = mp_teval(r, f, n->a, &a);
    for (const mp_tnode *o = n->list; o && yes && !err; o = o->next) {
        err = mp_teval(r, f, o->a, &b);
        if (!err) err = mp_tv_compare(r, (mp_ttok_kind)o->op, a, b, &yes);
        if (!err) a = b;
    }
    *out = mp_tv_bool(yes);
    return err;
}

static mp_err eval_logic(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    mp_err err = mp_teval(r, f, n->a, out);
    if (err || mp_tv_truth(*out) == (n->kind == MP_TN_OR)) return err;
    return mp_teval(r, f, n->b, out);
}

static mp_err eval_cond(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    static const char text[] = "the inline if was false and has no else";
    mp_err err = mp_teval(r, f, n->a, out);
    if (err) return err;
    if (mp_tv_truth(*out)) return mp_teval(r, f, n->b, out);
    if (n->c) return mp_teval(r, f, n->c, out);
    *out = mp_tv_undefined(MP_TV_MESSAGE, text, sizeof(text) - 1);
    return MP_OK;
}

static mp_err eval_item(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    mp_tv v, key;
    mp_err err = mp_teval(r, f, n->a, &v);
    if (!err) err = mp_teval(r, f, n->b, &key);
    return err ? err : mp_tv_item(r, v, key, out);
}

static mp_err eval_slice(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    mp_tv v, bounds[3] = { { 0 }, { 0 }, { 0 } };
    if (!n->a) return mp_tr_fail(r, "several slices at once are not possible");
    mp_err err = mp_teval(r, f, n->a, &v);
    if (!err && n->b) err = mp_teval(r, f, n->b, &bounds[0]);
    if (!err && n->c) err = mp_teval(r, f, n->c, &bounds[1]);
    if (!err && n->d) err = mp_teval(r, f, n->d, &bounds[2]);
    return err ? err : mp_tv_slice(r, v, bounds, out);
}

static mp_err eval_unary(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    mp_tv a;
    mp_err err = mp_teval(r, f, n->a, &a);
    if (err) return err;
    if (n->kind != MP_TN_NOT) return mp_tv_negate(r, a, n->kind == MP_TN_NEG, out);
    *out = mp_tv_bool(!mp_tv_truth(a));
    return MP_OK;
}

static mp_err eval_kind(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    mp_err err;
    switch (n->kind) {
    case MP_TN_CONST: *out = n->value; return MP_OK;
    case MP_TN_NAME: load(f, n, out); return MP_OK;
    case MP_TN_LIST:
    case MP_TN_TUPLE: return eval_list(r, f, n, out);
    case MP_TN_DICT: return eval_dict(r, f, n, out);
    case MP_TN_ATTR: err = mp_teval(r, f, n->a, out); return err ? err : mp_tv_attr(r, *out, n->name, out);
    case MP_TN_ITEM: return eval_item(r, f, n, out);
    case MP_TN_SLICE: return eval_slice(r, f, n, out);
    case MP_TN_CALL: return eval_call(r, f, n, out);
    case MP_TN_FILTER:
    case MP_TN_TEST: return eval_applied(r, f, n, out);
    case MP_TN_NOT:
    case MP_TN_NEG:
    case MP_TN_POS: return eval_unary(r, f, n, out);
    case MP_TN_BINARY: return eval_binary(r, f, n, out);
    case MP_TN_AND:
    case MP_TN_OR: return eval_logic(r, f, n, out);
    case MP_TN_COMPARE: return eval_compare(r, f, n, out);
    default: return eval_cond(r, f, n, out);
    }
}

mp_err mp_teval(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    r->line = n->line;
    mp_err err = mp_tr_charge(r, 1);
    if (!err) err = mp_tr_enter(r);
    if (err) return err;
    err = eval_kind(r, f, n, out);
    r->depth--;
    return err;
}
