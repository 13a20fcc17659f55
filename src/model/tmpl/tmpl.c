/* Compiling and rendering, from the outside. */
#include "model/tmpl/tmpl.h"

#include <string.h>

#include "model/tmpl/eval.h"
#include "model/tmpl/node.h"

enum { DEFAULT_STEPS = 20000000, DEFAULT_DEPTH = 500, MAX_DEPTH = 2000 };

mp_err mp_tmpl_compile(mp_ledger *ledger, const char *text, size_t n, mp_tmpl **out)
{
    mp_tmpl *t = NULL;
    mp_ttoks toks;
    *out = NULL;
    mp_err err = MP_NEW(ledger, MP_OWN_TOKENIZER, mp_tmpl, 1, &t);
    if (err) return err;
    mp_tmem_init(ledger, (256ull << 20), &t->mem);
    err = mp_tmpl_lex(&t->mem, text, n, &toks);
    if (!err) err = mp_tmpl_parse(&t->mem, &toks, &t->body);
    if (!err) err = mp_tmpl_resolve(&t->mem, t->body, &t->scope);
    if (err) mp_tmpl_close(&t);
    *out = t;
    return err;
}

void mp_tmpl_close(mp_tmpl **tmpl)
{
    mp_tmpl *t = *tmpl;
    *tmpl = NULL;
    if (!t) return;
    mp_tmem_free(&t->mem);
    mp_free(t);
}

static mp_tmpl_limits with_defaults(const mp_tmpl_limits *given, size_t json_bytes)
{
    mp_tmpl_limits l = given ? *given : (mp_tmpl_limits){ 0 };
    if (l.steps == 0) l.steps = DEFAULT_STEPS;
    if (l.output_bytes == 0) l.output_bytes = (4ull << 20) + 8 * (uint64_t)json_bytes;
    if (l.memory_bytes == 0) l.memory_bytes = (64ull << 20) + 32 * (uint64_t)json_bytes;
    if (l.depth <= 0) l.depth = DEFAULT_DEPTH;
    if (l.depth > MAX_DEPTH) l.depth = MAX_DEPTH;
    return l;
}

static mp_err render(mp_tr *r, const mp_tmpl *tmpl, const char *json, size_t n)
{
    mp_tv vars;
    mp_tframe *frame = NULL;
    mp_err err = mp_tv_from_json(r, json, n, &vars);
    if (!err && vars.type != MP_TV_DICT) err = mp_fail(MP_E_USAGE, "the variables of the chat template must be a JSON object");
    if (err) return err;
    r->vars = vars.dict;
    err = mp_tframe_new(r, tmpl->scope, NULL, &frame);
    if (!err) err = mp_tframe_enter(r, tmpl->scope, frame);
    return err ? err : mp_texec(r, frame, tmpl->body);
}

mp_err mp_tmpl_render(const mp_tmpl *tmpl, const char *json, size_t n, const mp_tmpl_limits *limits, char **out, size_t *out_n)
{
    mp_tr r = { .limits = with_defaults(limits, n), .line = 1 };
    *out = NULL;
    *out_n = 0;
    mp_tmem_init(tmpl->mem.ledger, r.limits.memory_bytes, &r.mem);
    mp_tbuf text = { .mem = &r.mem, .limit_bytes = r.limits.output_bytes };
    r.out = &text;
    mp_err err = render(&r, tmpl, json, n);
    if (!err) err = mp_alloc(tmpl->mem.ledger, MP_OWN_TOKENIZER, text.n + 1, (void **)(void *)out);
    if (!err) {
        if (text.n) memcpy(*out, text.p, text.n);
        *out_n = text.n;
    }
    mp_tmem_free(&r.mem);
    return err;
}
