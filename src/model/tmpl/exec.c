/* Statements, macros, and calls of our own functions with Python's rules for arguments. */
#include <string.h>

#include "model/tmpl/eval.h"

/* ---- functions of ours ---- */

const mp_tbuiltin *mp_tbuiltin_find(const mp_tbuiltin *table, mp_tv name)
{
    for (; table->name; table++)
        if (mp_tv_is_text(name, table->name)) return table;
    return NULL;
}

mp_err mp_tv_builtin(mp_tr *r, const mp_tbuiltin *fn, mp_tv self, mp_tv *out)
{
    mp_tfunc *func = NULL;
    mp_err err = MP_TNEW(&r->mem, mp_tfunc, 1, &func);
    if (err) return err;
    func->fn = fn;
    func->self = self;
    *out = (mp_tv){ .type = MP_TV_FUNC, .func = func };
    return MP_OK;
}

/* The number of the parameter with this name in "a b c", or -1; *n: how many there are. */
static int param_index(const char *params, mp_tv name, int *n)
{
    int found = -1;
    *n = 0;
    for (const char *p = params; *p; (*n)++) {
        size_t len = strcspn(p, " ");
        if (name.type == MP_TV_STR && len == name.n && memcmp(p, name.s, len) == 0) found = *n;
        p += len;
        p += *p == ' ';
    }
    return found;
}

static mp_err bind_arguments(mp_tr *r, const mp_tbuiltin *fn, const mp_targs *args, mp_tv *a)
{
    int n;
    bool by_position = *fn->params == '/';
    const char *params = by_position ? fn->params + 1 : fn->params;
    param_index(params, mp_tv_none(), &n);
    if (args->n > n) return mp_tr_fail(r, "%s takes at most %d arguments, not %d", fn->name, n, args->n);
    for (int i = 0; i < args->n; i++) a[i] = args->v[i];
    for (int i = 0; i < args->n_kw; i++) {
        mp_tv key = args->kw[i].key;
        int at = by_position ? -1 : param_index(params, key, &n);
        if (at < 0 || a[at].type != MP_TV_MISSING)
            return mp_tr_fail(r, "%s has no free argument '%.*s'", fn->name, mp_tv_shown(key, 60), key.s);
        a[at] = args->kw[i].value;
    }
    for (int i = 0; i < fn->required; i++)
        if (a[i].type == MP_TV_MISSING) return mp_tr_fail(r, "%s needs %d arguments", fn->name, fn->required);
    return MP_OK;
}

mp_err mp_tbuiltin_call(mp_tr *r, const mp_tbuiltin *fn, mp_tv self, const mp_targs *args, mp_tv *out)
{
    mp_tcall call = { .self = self, .args = args };
    *out = mp_tv_none();
    mp_err err = mp_tr_charge(r, self.type == MP_TV_STR ? mp_tv_weight(self) : 1);
    if (!err && *fn->params != '*') err = bind_arguments(r, fn, args, call.a);
    if (!err) err = mp_tr_enter(r);
    if (err) return err;
    call.how = fn->how;
    err = fn->fn(r, &call, out);
    r->depth--;
    return err;
}

/* ---- macros ---- */

static mp_err make_macro(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out)
{
    mp_tfunc *func = NULL;
    mp_err err = MP_TNEW(&r->mem, mp_tfunc, 1, &func);
    if (err) return err;
    func->macro = n;
    func->frame = f;
    *out = (mp_tv){ .type = MP_TV_FUNC, .func = func };
    return MP_OK;
}

/* The arguments from number `from` on. */
static mp_err to_tuple(mp_tr *r, const mp_targs *args, int from, mp_tv *out)
{
    mp_err err = mp_tr_new_list(r, 0, out);
    for (int i = from; i < args->n && !err; i++) err = mp_tlist_add(&r->mem, out->list, args->v[i]);
    out->type = MP_TV_TUPLE;
    return err;
}

/* Gives the arguments with names to the parameters after the first `at`; what no parameter has is left in rest. */
static mp_err bind_names(mp_tr *r, const mp_tnode *macro, int at, const mp_targs *args, mp_tframe *f, mp_tdict *rest)
{
    mp_err err = MP_OK;
    for (int i = 0; i < args->n_kw && !err; i++) {
        int slot = 0;
        const mp_tnode *p = macro->list;
        for (; p && !mp_tv_equal(p->a->name, args->kw[i].key); p = p->next) slot++;
        if (p && slot >= at) f->slot[slot] = args->kw[i].value;
        else err = mp_tdict_set(&r->mem, rest, args->kw[i].key, args->kw[i].value);
    }
    return err;
}

/* The special names have the slots behind the parameters: caller, varargs, kwargs, as far as the body mentions them. */
static mp_err bind_specials(mp_tr *r, const mp_tnode *macro, int n, const mp_targs *args, mp_tframe *f, mp_tdict *rest)
{
    static const char no_caller[] = "no caller is defined";
    const mp_tv *caller = mp_tdict_text(rest, "caller");
    uint32_t left = rest->n;
    int slot = n;
    if (macro->op & MP_TC_CALLER) {
        f->slot[slot++] = caller ? *caller : mp_tv_undefined(MP_TV_MESSAGE, no_caller, sizeof(no_caller) - 1);
        left -= caller != NULL;
    }
    mp_err err = MP_OK;
    if (macro->op & MP_TC_VARARGS) err = to_tuple(r, args, n, &f->slot[slot++]);
    else if (args->n > n)
        return mp_tr_fail(r, "the macro '%.*s' takes at most %d arguments", mp_tv_shown(macro->name, 60), macro->name.s, n);
    if (err) return err;
    if (!(macro->op & MP_TC_KWARGS) && left == 0) return MP_OK;
    if (!(macro->op & MP_TC_KWARGS))
        return mp_tr_fail(r, "the macro '%.*s' has no parameter of that name", mp_tv_shown(macro->name, 60), macro->name.s);
    mp_tdict *kwargs = NULL;
    err = mp_tdict_new(&r->mem, &kwargs);
    for (uint32_t i = 0; i < rest->n && !err; i++)
        if (!(macro->op & MP_TC_CALLER) || !mp_tv_is_text(rest->pair[i].key, "caller"))
            err = mp_tdict_set(&r->mem, kwargs, rest->pair[i].key, rest->pair[i].value);
    f->slot[slot] = mp_tv_dict(kwargs);
    return err;
}

/* Defaults are evaluated at each call, in the macro's own frame. */
static mp_err fill_defaults(mp_tr *r, const mp_tnode *macro, mp_tframe *f)
{
    mp_err err = MP_OK;
    int slot = 0;
    for (const mp_tnode *p = macro->list; p && !err; p = p->next, slot++) {
        if (f->slot[slot].type != MP_TV_MISSING) continue;
        if (p->b) err = mp_teval(r, f, p->b, &f->slot[slot]);
        else f->slot[slot] = mp_tv_undefined(MP_TV_NAME, p->a->name.s, p->a->name.n);
    }
    return err;
}

mp_err mp_tmacro_call(mp_tr *r, const mp_tfunc *func, const mp_targs *args, mp_tv *out)
{
    const mp_tnode *macro = func->macro;
    mp_tframe *f = NULL;
    mp_tdict *rest = NULL;
    int n = 0;
    for (const mp_tnode *p = macro->list; p; p = p->next) n++;
    mp_err err = mp_tframe_new(r, macro->scope, func->frame, &f);
    if (!err) err = mp_tdict_new(&r->mem, &rest);
    if (!err) err = mp_tframe_enter(r, macro->scope, f);
    for (int i = 0; !err && i < n && i < args->n; i++) f->slot[i] = args->v[i];
    if (!err) err = bind_names(r, macro, args->n, args, f, rest);
    if (!err) err = bind_specials(r, macro, n, args, f, rest);
    if (!err) err = fill_defaults(r, macro, f);
    return err ? err : mp_texec_capture(r, f, macro->body, out);
}

/* ---- statements ---- */

static mp_err exec_print(mp_tr *r, mp_tframe *f, const mp_tnode *n)
{
    mp_tv v;
    mp_err err = MP_OK;
    for (const mp_tnode *e = n->list; e && !err; e = e->next) {
        err = mp_teval(r, f, e, &v);
        if (!err) err = mp_tv_print(r, r->out, v);
    }
    return err;
}

static mp_err exec_if(mp_tr *r, mp_tframe *f, const mp_tnode *n)
{
    mp_tv v;
    mp_err err = mp_teval(r, f, n->a, &v);
    return err ? err : mp_texec(r, f, mp_tv_truth(v) ? n->body : n->orelse);
}

static mp_err exec_set(mp_tr *r, mp_tframe *f, const mp_tnode *n)
{
    mp_tv v;
    mp_err err = mp_teval(r, f, n->b, &v);
    return err ? err : mp_tassign(r, f, n->a, v);
}

/* A frame of its own for the statement's body. */
static mp_err enter_scope(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tframe **out)
{
    mp_err err = mp_tframe_new(r, n->scope, f, out);
    return err ? err : mp_tframe_enter(r, n->scope, *out);
}

/* SETBLOCK and FILTERBLOCK: the body's text through the filters. */
static mp_err exec_captured(mp_tr *r, mp_tframe *f, const mp_tnode *n)
{
    mp_tframe *inner = NULL;
    mp_tv text;
    mp_err err = enter_scope(r, f, n, &inner);
    if (!err) err = mp_texec_capture(r, inner, n->body, &text);
    if (err || r->flow != MP_TF_NEXT) return err;
    err = mp_teval_filters(r, inner, n->b, text, &text);
    if (err) return err;
    if (n->kind == MP_TN_SETBLOCK) return mp_tassign(r, f, n->a, text);
    err = mp_tr_need_str(r, text, "a filter block");
    return err ? err : mp_tv_print(r, r->out, text);
}

static mp_err exec_with(mp_tr *r, mp_tframe *f, const mp_tnode *n)
{
    mp_tframe *inner = NULL;
    int slot = 0;
    mp_err err = enter_scope(r, f, n, &inner);
    for (const mp_tnode *p = n->list; p && !err; p = p->next, slot++) err = mp_teval(r, f, p->b, &inner->slot[p->a->slot]);
    return err ? err : mp_texec(r, inner, n->body);
}

static mp_err exec_scope(mp_tr *r, mp_tframe *f, const mp_tnode *n)
{
    mp_tframe *inner = NULL;
    mp_err err = enter_scope(r, f, n, &inner);
    return err ? err : mp_texec(r, inner, n->body);
}

/* {% call m(...) %}: the call with one more argument, caller. */
static mp_err exec_call(mp_tr *r, mp_tframe *f, const mp_tnode *n)
{
    mp_tv callee, caller, text;
    mp_targs args;
    mp_tpair *kw = NULL;
    mp_err err = make_macro(r, f, n->b, &caller);
    if (!err) err = mp_teval(r, f, n->a->a, &callee);
    if (!err) err = mp_teval_args(r, f, n->a->list, &args);
    if (!err) err = MP_TNEW(&r->mem, mp_tpair, (size_t)args.n_kw + 1, &kw);
    if (err) return err;
    if (args.n_kw) memcpy(kw, args.kw, (size_t)args.n_kw * sizeof(mp_tpair));
    kw[args.n_kw] = (mp_tpair){ mp_tv_str("caller", 6), caller, 0 };
    args.kw = kw;
    args.n_kw++;
    r->line = n->line;
    err = mp_tv_call(r, callee, &args, &text);
    return err ? err : mp_tv_print(r, r->out, text);
}

static mp_err exec_one(mp_tr *r, mp_tframe *f, const mp_tnode *n)
{
    switch (n->kind) {
    case MP_TN_DATA: return mp_tbuf_add(r->out, n->value.s, n->value.n);
    case MP_TN_PRINT: return exec_print(r, f, n);
    case MP_TN_IF: return exec_if(r, f, n);
    case MP_TN_FOR: return mp_tfor(r, f, n);
    case MP_TN_SET: return exec_set(r, f, n);
    case MP_TN_SETBLOCK:
    case MP_TN_FILTERBLOCK: return exec_captured(r, f, n);
    case MP_TN_MACRO: return make_macro(r, f, n, &f->slot[n->slot]);
    case MP_TN_CALLBLOCK: return exec_call(r, f, n);
    case MP_TN_WITH: return exec_with(r, f, n);
    case MP_TN_SCOPE: return exec_scope(r, f, n);
    default: r->flow = n->kind == MP_TN_BREAK ? MP_TF_BREAK : MP_TF_CONTINUE; return MP_OK;
    }
}

mp_err mp_texec(mp_tr *r, mp_tframe *f, const mp_tnode *list)
{
    mp_err err = mp_tr_enter(r);
    if (err) return err;
    for (const mp_tnode *n = list; n && !err && r->flow == MP_TF_NEXT; n = n->next) {
        r->line = n->line;
        err = mp_tr_charge(r, 1);
        if (!err) err = exec_one(r, f, n);
    }
    r->depth--;
    return err;
}

mp_err mp_texec_capture(mp_tr *r, mp_tframe *f, const mp_tnode *list, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem, .limit_bytes = r->limits.output_bytes }, *outer = r->out;
    *out = mp_tv_none();
    r->out = &buf;
    mp_err err = mp_texec(r, f, list);
    r->out = outer;
    *out = mp_tbuf_value(&buf);
    return err;
}
