/* {% for %}, with Jinja's `loop` object. The test of a filtered loop runs as the loop goes on, not before it, because what the body does
 * (to a namespace) may change its outcome; so the loop looks ahead one element only when it is asked for .last or .nextitem. */
#include "model/tmpl/eval.h"

struct mp_tloop {
    const mp_tnode *node;
    mp_tframe      *frame, *test_frame; /* of body and test; their outer frame is where the loop stands */
    mp_tlist       *list;    /* what is walked through; NULL: */
    mp_trange      *range;   /* these numbers */
    int64_t         at;      /* the next element to look at */
    bool            tested;  /* what is left of list has passed the test */
    mp_tv           previous, current, next;
    bool            peeked;  /* next is filled: with an element, or MISSING at the end */
    int64_t         index0, length; /* length -1: not known yet */
    int             depth0;
    bool            done_one; /* a body ran to its end: no else */
    mp_tv           changed;  /* what loop.changed() saw last */
};

int64_t mp_tloop_index(const mp_tloop *loop) { return loop->index0 + 1; }

static mp_err passes(mp_tr *r, mp_tloop *l, mp_tv v, bool *out)
{
    mp_tv yes;
    *out = true;
    if (!l->test_frame || l->tested) return MP_OK;
    mp_err err = mp_tframe_enter(r, l->node->test_scope, l->test_frame);
    if (!err) err = mp_tassign(r, l->test_frame, l->node->a, v);
    if (!err) err = mp_teval(r, l->test_frame, l->node->c, &yes);
    if (!err) *out = mp_tv_truth(yes);
    return err;
}

/* The next element that passes, MISSING at the end. */
static mp_err take(mp_tr *r, mp_tloop *l, mp_tv *out)
{
    bool yes = false;
    mp_err err = MP_OK;
    *out = (mp_tv){ 0 };
    int64_t n = l->list ? (int64_t)l->list->n : l->range->n;
    while (!yes && !err && l->at < n) {
        mp_tv v = l->list ? l->list->v[l->at] : mp_tv_int(l->range->start + l->at * l->range->step);
        l->at++;
        err = mp_tr_charge(r, 1);
        if (!err) err = passes(r, l, v, &yes);
        if (!err && yes) *out = v;
    }
    return err;
}

static mp_err peek(mp_tr *r, mp_tloop *l)
{
    if (l->peeked) return MP_OK;
    mp_err err = take(r, l, &l->next);
    l->peeked = !err;
    return err;
}

static mp_err advance(mp_tr *r, mp_tloop *l, bool *more)
{
    mp_err err = peek(r, l);
    *more = !err && l->next.type != MP_TV_MISSING;
    if (!*more) return err;
    l->previous = l->current;
    l->current = l->next;
    l->peeked = false;
    l->index0++;
    return MP_OK;
}

/* A filtered loop tests all that is left when somebody asks how long it is. */
static mp_err length(mp_tr *r, mp_tloop *l, int64_t *out)
{
    *out = l->length;
    if (l->length >= 0) return MP_OK;
    mp_tlist *rest = NULL;
    mp_tv v;
    mp_err err = mp_tlist_new(&r->mem, 0, &rest);
    while (!err) {
        err = take(r, l, &v);
        if (err || v.type == MP_TV_MISSING) break;
        err = mp_tlist_add(&r->mem, rest, v);
    }
    if (err) return err;
    l->list = rest;
    l->at = 0;
    l->tested = true;
    bool waiting = l->peeked && l->next.type != MP_TV_MISSING;
    *out = l->length = (int64_t)rest->n + l->index0 + 1 + waiting;
    return MP_OK;
}

/* ---- the statement ---- */

static mp_err loop_new(mp_tr *r, mp_tframe *outer, const mp_tnode *n, mp_tv iterable, mp_tloop **out)
{
    mp_tloop *l = NULL;
    mp_err err = MP_TNEW(&r->mem, mp_tloop, 1, &l);
    if (!err && iterable.type == MP_TV_RANGE) l->range = iterable.range;
    else if (!err) err = mp_tv_elements(r, iterable, &l->list);
    if (!err) err = mp_tframe_new(r, n->scope, outer, &l->frame);
    if (!err && n->c) err = mp_tframe_new(r, n->test_scope, outer, &l->test_frame);
    if (err) return err;
    l->node = n;
    l->index0 = -1;
    l->length = n->c ? -1 : l->list ? (int64_t)l->list->n : l->range->n;
    *out = l;
    return MP_OK;
}

static mp_err run_body(mp_tr *r, mp_tloop *l)
{
    const mp_tnode *n = l->node;
    bool more = false;
    mp_err err = advance(r, l, &more);
    while (!err && more) {
        err = mp_tframe_enter(r, n->scope, l->frame);
        l->frame->slot[n->slot] = (mp_tv){ .type = MP_TV_LOOP, .loop = l };
        if (!err) err = mp_tassign(r, l->frame, n->a, l->current);
        if (!err) err = mp_texec(r, l->frame, n->body);
        bool stop = r->flow == MP_TF_BREAK;
        l->done_one = l->done_one || r->flow == MP_TF_NEXT;
        r->flow = MP_TF_NEXT;
        if (err || stop) break;
        err = advance(r, l, &more);
    }
    return err;
}

static mp_err run(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv iterable, int depth0)
{
    mp_tloop *l = NULL;
    mp_tframe *other = NULL;
    mp_err err = loop_new(r, f, n, iterable, &l);
    if (err) return err;
    l->depth0 = depth0;
    err = run_body(r, l);
    if (err || l->done_one || !n->orelse) return err;
    err = mp_tframe_new(r, n->else_scope, f, &other);
    if (!err) err = mp_tframe_enter(r, n->else_scope, other);
    return err ? err : mp_texec(r, other, n->orelse);
}

mp_err mp_tfor(mp_tr *r, mp_tframe *f, const mp_tnode *n)
{
    mp_tv iterable;
    mp_err err = mp_teval(r, f, n->b, &iterable);
    if (err) return err;
    r->line = n->line;
    return run(r, f, n, iterable, 0);
}

/* ---- the object ---- */

static mp_err cycle(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    if (c->args->n == 0) return mp_tr_fail(r, "loop.cycle needs something to choose from");
    *out = c->args->v[c->self.loop->index0 % c->args->n];
    return MP_OK;
}

static mp_err changed(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv now;
    mp_err err = mp_tr_new_list(r, 0, &now);
    for (int i = 0; i < c->args->n && !err; i++) err = mp_tlist_add(&r->mem, now.list, c->args->v[i]);
    if (err) return err;
    *out = mp_tv_bool(!mp_tv_equal(now, c->self.loop->changed));
    c->self.loop->changed = now;
    return MP_OK;
}

static mp_err neighbour(mp_tr *r, mp_tloop *l, bool next, mp_tv *out)
{
    static const char none[] = "there is no such item next to this one";
    mp_err err = next ? peek(r, l) : MP_OK;
    if (err) return err;
    *out = next ? l->next : l->previous;
    if (out->type == MP_TV_MISSING) *out = mp_tv_undefined(MP_TV_MESSAGE, none, sizeof(none) - 1);
    return MP_OK;
}

mp_err mp_tloop_attr(mp_tr *r, mp_tloop *l, mp_tv name, mp_tv *out)
{
    static const mp_tbuiltin methods[] = { { "cycle", cycle, "*", 0, 0 }, { "changed", changed, "*", 0, 0 }, { 0 } };
    static const char *const numbers[] = { "index", "index0", "depth", "depth0", "length", "revindex", "revindex0" };
    int64_t n = 0;
    int which = 0;
    mp_err err = MP_OK;
    *out = (mp_tv){ 0 };
    while (which < 7 && !mp_tv_is_text(name, numbers[which])) which++;
    if (which >= 4 && which < 7) err = length(r, l, &n);
    if (err) return err;
    const int64_t values[] = { l->index0 + 1, l->index0, l->depth0 + 1, l->depth0, n, n - l->index0, n - l->index0 - 1 };
    if (which < 7) *out = mp_tv_int(values[which]);
    else if (mp_tv_is_text(name, "first")) *out = mp_tv_bool(l->index0 == 0);
    else if (mp_tv_is_text(name, "last")) {
        err = peek(r, l);
        if (!err) *out = mp_tv_bool(l->next.type == MP_TV_MISSING);
    } else if (mp_tv_is_text(name, "previtem")) err = neighbour(r, l, false, out);
    else if (mp_tv_is_text(name, "nextitem")) err = neighbour(r, l, true, out);
    else {
        const mp_tbuiltin *method = mp_tbuiltin_find(methods, name);
        if (method) err = mp_tv_builtin(r, method, (mp_tv){ .type = MP_TV_LOOP, .loop = l }, out);
    }
    return err;
}

/* loop(children), in a recursive loop: the body again, over other elements, as text. */
mp_err mp_tloop_call(mp_tr *r, mp_tloop *l, const mp_targs *args, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem, .limit_bytes = r->limits.output_bytes }, *outer = r->out;
    if (!l->node->flag) return mp_tr_fail(r, "a loop can be called only when it is marked 'recursive'");
    if (args->n != 1 || args->n_kw != 0) return mp_tr_fail(r, "a recursive loop takes one argument");
    mp_err err = mp_tr_enter(r);
    if (err) return err;
    r->out = &buf;
    err = run(r, l->frame->outer, l->node, args->v[0], l->depth0 + 1);
    r->out = outer;
    r->depth--;
    *out = mp_tbuf_value(&buf);
    return err;
}
