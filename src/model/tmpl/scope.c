/* Names to slots. Jinja decides when it compiles where a name lives: every template, loop body, macro, set block, filter block and with
 * has a frame; what a frame stores is its own (nothing leaks out of a loop), and what it only reads is found further out. A name that a
 * frame stores somewhere, but not on every path, begins as a copy of the outer one. The analysis here takes the same decisions, so that
 * the odd cases (a loop above the first "set" of a name does not see the caller's variable of that name) come out alike.
 *
 * Two passes over each frame: see() collects its names without entering inner frames; bind() gives every name its slot and then does
 * the same for the inner frames, which need the outer one complete. */
#include <string.h>

#include "model/tmpl/eval.h"
#include "model/tmpl/node.h"

enum { MAX_NAMES = 1000, MAX_DEPTH = 1200 };

typedef struct resolver {
    mp_tmem *mem;
    int      depth;
    uint32_t stores; /* a clock that ticks at every store */
} resolver;

static mp_err see(resolver *r, const mp_tnode *n, mp_tscope *s);
static mp_err bind(resolver *r, mp_tnode *n, mp_tscope *s, bool soft);

/* ---- the names of one frame ---- */

static mp_tname *own(const mp_tscope *s, mp_tv name)
{
    for (int i = 0; i < s->n; i++)
        if (mp_tv_equal(s->name[i].name, name)) return &s->name[i];
    return NULL;
}

/* The frame that has the name, from s outwards. */
static bool locate(const mp_tscope *s, mp_tv name, uint16_t *hops, uint16_t *slot)
{
    *hops = 0;
    for (; s; s = s->outer, (*hops)++) {
        const mp_tname *there = own(s, name);
        if (!there) continue;
        *slot = (uint16_t)(there - s->name);
        return true;
    }
    return false;
}

static mp_err define(resolver *r, mp_tscope *s, mp_tv name, mp_tload load, mp_tname **out)
{
    *out = own(s, name);
    if (*out) return MP_OK;
    if (s->n >= MAX_NAMES) return mp_fail(MP_E_MODEL, "the chat template uses more than %d names in one place", MAX_NAMES);
    if (s->n == s->room) {
        mp_tname *bigger = NULL;
        uint16_t room = s->room ? (uint16_t)(2 * s->room) : 8;
        mp_err err = MP_TNEW(r->mem, mp_tname, room, &bigger);
        if (err) return err;
        if (s->n) memcpy(bigger, s->name, s->n * sizeof(mp_tname));
        s->name = bigger;
        s->room = room;
    }
    *out = &s->name[s->n++];
    **out = (mp_tname){ .name = name, .load = load };
    return MP_OK;
}

static mp_err see_load(resolver *r, mp_tscope *s, mp_tv name)
{
    uint16_t hops, slot;
    mp_tname *unused;
    return locate(s, name, &hops, &slot) ? MP_OK : define(r, s, name, MP_TL_RESOLVE, &unused);
}

/* Begins as a copy of the outer name if there is one. */
static void alias(const mp_tscope *s, mp_tname *name, mp_tload otherwise)
{
    name->load = otherwise;
    if (!s->outer || !locate(s->outer, name->name, &name->hops, &name->slot)) return;
    name->load = MP_TL_ALIAS;
    name->hops++;
}

static mp_err see_store(resolver *r, mp_tscope *s, mp_tv name)
{
    mp_tname *there = own(s, name);
    if (!there) {
        mp_err err = define(r, s, name, MP_TL_UNSET, &there);
        if (err) return err;
        alias(s, there, MP_TL_UNSET);
    }
    r->stores++;
    if (!there->first_store) there->first_store = r->stores;
    return MP_OK;
}

static mp_err see_param(resolver *r, mp_tscope *s, mp_tv name)
{
    mp_tname *there;
    mp_err err = define(r, s, name, MP_TL_PARAM, &there);
    if (err) return err;
    there->load = MP_TL_PARAM;
    there->first_store = ++r->stores;
    return MP_OK;
}

static mp_err see_params(resolver *r, const mp_tnode *target, mp_tscope *s)
{
    if (target->kind == MP_TN_NAME) return see_param(r, s, target->name);
    mp_err err = MP_OK;
    for (const mp_tnode *n = target->list; n && !err; n = n->next) err = see_params(r, n, s);
    return err;
}

static mp_err see_list(resolver *r, const mp_tnode *n, mp_tscope *s)
{
    mp_err err = MP_OK;
    for (; n && !err; n = n->next) err = see(r, n, s);
    return err;
}

/* What a branch may or may not store begins as what it was outside. */
static mp_err see_if(resolver *r, const mp_tnode *n, mp_tscope *s)
{
    mp_err err = see(r, n->a, s);
    uint32_t before = r->stores;
    if (!err) err = see_list(r, n->body, s);
    if (!err) err = see_list(r, n->orelse, s);
    for (int i = 0; i < s->n; i++)
        if (s->name[i].first_store > before) alias(s, &s->name[i], MP_TL_RESOLVE);
    return err;
}

static mp_err see_parts(resolver *r, const mp_tnode *n, mp_tscope *s)
{
    mp_err err = n->a ? see(r, n->a, s) : MP_OK;
    if (!err && n->b) err = see(r, n->b, s);
    if (!err && n->c) err = see(r, n->c, s);
    if (!err && n->d) err = see(r, n->d, s);
    return err ? err : see_list(r, n->list, s);
}

static mp_err see_kind(resolver *r, const mp_tnode *n, mp_tscope *s)
{
    mp_err err = MP_OK;
    switch (n->kind) {
    case MP_TN_NAME: return n->op == MP_TU_LOAD ? see_load(r, s, n->name) : see_store(r, s, n->name);
    case MP_TN_IF: return see_if(r, n, s);
    case MP_TN_FOR: return see(r, n->b, s);
    case MP_TN_MACRO: return see_store(r, s, n->name);
    case MP_TN_CALLBLOCK:
    case MP_TN_SETBLOCK: return see(r, n->a, s);
    case MP_TN_FILTERBLOCK: return see(r, n->b, s);
    case MP_TN_WITH:
        for (const mp_tnode *p = n->list; p && !err; p = p->next) err = see(r, p->b, s);
        return err;
    case MP_TN_SET: err = see(r, n->b, s); return err ? err : see(r, n->a, s);
    case MP_TN_SCOPE:
    case MP_TN_DATA:
    case MP_TN_BREAK:
    case MP_TN_CONTINUE: return MP_OK;
    default: return see_parts(r, n, s);
    }
}

static mp_err deeper(resolver *r, const mp_tnode *n)
{
    if (r->depth >= MAX_DEPTH) return mp_fail(MP_E_MODEL, "chat template, line %d: nested more than %d deep", n->line, MAX_DEPTH);
    r->depth++;
    return MP_OK;
}

static mp_err see(resolver *r, const mp_tnode *n, mp_tscope *s)
{
    mp_err err = deeper(r, n);
    if (err) return err;
    err = see_kind(r, n, s);
    r->depth--;
    return err;
}

/* ---- binding ---- */

static mp_err bind_list(resolver *r, mp_tnode *n, mp_tscope *s, bool soft)
{
    mp_err err = MP_OK;
    for (; n && !err; n = n->next) err = bind(r, n, s, soft);
    return err;
}

static mp_err new_scope(resolver *r, mp_tscope *outer, mp_tscope **out)
{
    mp_err err = MP_TNEW(r->mem, mp_tscope, 1, out);
    if (!err) (*out)->outer = outer;
    return err;
}

/* A frame whose names are those of its statements. */
static mp_err bind_body(resolver *r, mp_tnode *body, mp_tscope *s)
{
    mp_err err = see_list(r, body, s);
    return err ? err : bind_list(r, body, s, false);
}

/* The target's slots are the same in the frames of body and test: they come first in both. */
static mp_err bind_for(resolver *r, mp_tnode *n, mp_tscope *s, bool soft)
{
    mp_err err = bind(r, n->b, s, soft);
    if (!err) err = new_scope(r, s, &n->scope);
    if (!err) err = see_params(r, n->a, n->scope);
    if (!err) err = see_param(r, n->scope, mp_tv_str("loop", 4));
    if (!err) err = bind_body(r, n->body, n->scope);
    if (!err) err = bind(r, n->a, n->scope, false);
    if (!err && n->c) {
        err = new_scope(r, s, &n->test_scope);
        if (!err) err = see_params(r, n->a, n->test_scope);
        if (!err) err = see(r, n->c, n->test_scope);
        if (!err) err = bind(r, n->c, n->test_scope, false);
    }
    if (!err && n->orelse) {
        err = new_scope(r, s, &n->else_scope);
        if (!err) err = bind_body(r, n->orelse, n->else_scope);
    }
    if (!err) locate(n->scope, mp_tv_str("loop", 4), &n->hops, &n->slot);
    return err;
}

/* Slots: the parameters in their order, then those of caller, varargs, kwargs that the body mentions. */
static mp_err bind_macro(resolver *r, mp_tnode *n, mp_tscope *s)
{
    static const char *const specials[] = { "caller", "varargs", "kwargs" };
    mp_err err = new_scope(r, s, &n->scope);
    for (const mp_tnode *p = n->list; p && !err; p = p->next) {
        if (own(n->scope, p->a->name))
            return mp_fail(MP_E_MODEL, "chat template, line %d: a macro has two parameters of one name", n->line);
        err = see_param(r, n->scope, p->a->name);
    }
    for (int i = 0; i < 3 && !err; i++) {
        mp_tv name = mp_tv_str(specials[i], strlen(specials[i]));
        if (own(n->scope, name)) n->op &= (uint8_t)~(1u << i); /* an ordinary parameter of this macro */
        else if (n->op & (1 << i)) err = see_param(r, n->scope, name);
    }
    for (mp_tnode *p = n->list; p && !err; p = p->next)
        if (p->b) err = see(r, p->b, n->scope);
    if (!err) err = see_list(r, n->body, n->scope);
    for (mp_tnode *p = n->list; p && !err; p = p->next)
        if (p->b) err = bind(r, p->b, n->scope, false);
    return err ? err : bind_list(r, n->body, n->scope, false);
}

static mp_err bind_with(resolver *r, mp_tnode *n, mp_tscope *s, bool soft)
{
    mp_err err = new_scope(r, s, &n->scope);
    for (mp_tnode *p = n->list; p && !err; p = p->next) err = bind(r, p->b, s, soft);
    for (mp_tnode *p = n->list; p && !err; p = p->next) err = see_param(r, n->scope, p->a->name);
    if (!err) err = bind_body(r, n->body, n->scope);
    for (mp_tnode *p = n->list; p && !err; p = p->next) err = bind(r, p->a, n->scope, false);
    return err;
}

/* SETBLOCK, FILTERBLOCK, SCOPE: the filters see the inner frame. */
static mp_err bind_inner(resolver *r, mp_tnode *n, mp_tscope *s)
{
    mp_err err = new_scope(r, s, &n->scope);
    if (!err && n->b) err = see(r, n->b, n->scope);
    if (!err) err = bind_body(r, n->body, n->scope);
    return err || !n->b ? err : bind(r, n->b, n->scope, false);
}

static mp_err bind_function(mp_tnode *n, bool soft)
{
    bool filter = n->kind == MP_TN_FILTER;
    n->fn = filter ? mp_tfilter_find(n->name) : mp_ttest_find(n->name);
    if (n->fn || soft) return MP_OK; /* inside of an if, Jinja complains only when it gets there */
    return mp_fail(MP_E_MODEL, "chat template, line %d: no %s named '%.*s' is known here", n->line, filter ? "filter" : "test",
                   mp_tv_shown(n->name, 60), n->name.s);
}

static mp_err bind_parts(resolver *r, mp_tnode *n, mp_tscope *s, bool soft)
{
    soft = soft || n->kind == MP_TN_COND || n->kind == MP_TN_IF;
    mp_err err = n->kind == MP_TN_FILTER || n->kind == MP_TN_TEST ? bind_function(n, soft) : MP_OK;
    if (!err && n->a) err = bind(r, n->a, s, soft);
    if (!err && n->b) err = bind(r, n->b, s, soft);
    if (!err && n->c) err = bind(r, n->c, s, soft);
    if (!err && n->d) err = bind(r, n->d, s, soft);
    if (!err) err = bind_list(r, n->list, s, soft);
    if (!err) err = bind_list(r, n->body, s, soft);
    return err ? err : bind_list(r, n->orelse, s, soft);
}

static mp_err bind_kind(resolver *r, mp_tnode *n, mp_tscope *s, bool soft)
{
    mp_err err = MP_OK;
    switch (n->kind) {
    case MP_TN_NAME:
        if (locate(s, n->name, &n->hops, &n->slot)) return MP_OK;
        return mp_fail(MP_E_MODEL, "chat template, line %d: a name was lost", n->line);
    case MP_TN_FOR: return bind_for(r, n, s, soft);
    case MP_TN_MACRO:
        locate(s, n->name, &n->hops, &n->slot);
        return bind_macro(r, n, s);
    case MP_TN_CALLBLOCK: err = bind(r, n->a, s, soft); return err ? err : bind_macro(r, n->b, s);
    case MP_TN_WITH: return bind_with(r, n, s, soft);
    case MP_TN_SETBLOCK: err = bind(r, n->a, s, soft); return err ? err : bind_inner(r, n, s);
    case MP_TN_FILTERBLOCK:
    case MP_TN_SCOPE: return bind_inner(r, n, s);
    default: return bind_parts(r, n, s, soft);
    }
}

static mp_err bind(resolver *r, mp_tnode *n, mp_tscope *s, bool soft)
{
    mp_err err = deeper(r, n);
    if (err) return err;
    err = bind_kind(r, n, s, soft);
    r->depth--;
    return err;
}

mp_err mp_tmpl_resolve(mp_tmem *mem, mp_tnode *body, mp_tscope **scope)
{
    resolver r = { .mem = mem };
    mp_err err = new_scope(&r, NULL, scope);
    return err ? err : bind_body(&r, body, *scope);
}
