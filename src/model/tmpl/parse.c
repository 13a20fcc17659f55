/* Statements: what stands between {% and %}, and the text around them. */
#include "model/tmpl/parse.h"

#include <string.h>

static mp_err parse_body(mp_tparser *p, const char *const *ends, mp_tnode **out);

/* ---- tokens ---- */

static const char *describe(const mp_ttok *t)
{
    static const char *const names[] = {
        [MP_TT_EOF] = "the end of the template", [MP_TT_DATA] = "text", [MP_TT_VAR_BEGIN] = "{{", [MP_TT_VAR_END] = "}}",
        [MP_TT_BLOCK_BEGIN] = "{%", [MP_TT_BLOCK_END] = "%}", [MP_TT_NAME] = "a name", [MP_TT_STRING] = "a string",
        [MP_TT_INT] = "an integer", [MP_TT_FLOAT] = "a number", [MP_TT_ADD] = "+", [MP_TT_SUB] = "-", [MP_TT_MUL] = "*",
        [MP_TT_DIV] = "/", [MP_TT_FLOORDIV] = "//", [MP_TT_MOD] = "%", [MP_TT_POW] = "**", [MP_TT_TILDE] = "~", [MP_TT_EQ] = "==",
        [MP_TT_NE] = "!=", [MP_TT_LT] = "<", [MP_TT_LE] = "<=", [MP_TT_GT] = ">", [MP_TT_GE] = ">=", [MP_TT_IN] = "in",
        [MP_TT_NOT_IN] = "not in", [MP_TT_ASSIGN] = "=", [MP_TT_DOT] = ".", [MP_TT_COLON] = ":", [MP_TT_PIPE] = "|",
        [MP_TT_COMMA] = ",", [MP_TT_SEMICOLON] = ";", [MP_TT_LPAREN] = "(", [MP_TT_RPAREN] = ")", [MP_TT_LBRACKET] = "[",
        [MP_TT_RBRACKET] = "]", [MP_TT_LBRACE] = "{", [MP_TT_RBRACE] = "}",
    };
    return names[t->kind];
}

mp_err mp_tp_fail(const mp_tparser *p, const char *expected)
{
    const mp_ttok *t = p->tok;
    if (t->kind == MP_TT_NAME)
        return mp_fail(MP_E_MODEL, "chat template, line %d: expected %s, found '%.*s'", t->line, expected,
                       mp_tv_shown(t->value, 60), t->value.s);
    return mp_fail(MP_E_MODEL, "chat template, line %d: expected %s, found %s", t->line, expected, describe(t));
}

mp_err mp_tp_enter(mp_tparser *p)
{
    if (p->depth >= MP_TP_MAX_DEPTH)
        return mp_fail(MP_E_MODEL, "chat template, line %d: nested more than %d deep", p->tok->line, MP_TP_MAX_DEPTH);
    p->depth++;
    return MP_OK;
}

bool mp_tp_at_name(const mp_tparser *p, const char *name) { return p->tok->kind == MP_TT_NAME && mp_tv_is_text(p->tok->value, name); }

bool mp_tp_skip(mp_tparser *p, mp_ttok_kind kind)
{
    if (p->tok->kind != kind) return false;
    p->tok++;
    return true;
}

bool mp_tp_skip_name(mp_tparser *p, const char *name)
{
    if (!mp_tp_at_name(p, name)) return false;
    p->tok++;
    return true;
}

mp_err mp_tp_expect(mp_tparser *p, mp_ttok_kind kind)
{
    if (p->tok->kind != kind) return mp_tp_fail(p, describe(&(mp_ttok){ .kind = kind }));
    p->tok++;
    return MP_OK;
}

mp_err mp_tp_name(mp_tparser *p, mp_tv *out)
{
    *out = mp_tv_none();
    if (p->tok->kind != MP_TT_NAME) return mp_tp_fail(p, "a name");
    *out = p->tok->value;
    p->tok++;
    return MP_OK;
}

mp_err mp_tp_new(mp_tparser *p, mp_tnode_kind kind, mp_tnode **out)
{
    mp_err err = MP_TNEW(p->mem, mp_tnode, 1, out);
    if (err) return err;
    (*out)->kind = (uint8_t)kind;
    (*out)->line = p->tok->line;
    return MP_OK;
}

static mp_err expect_name(mp_tparser *p, const char *name)
{
    return mp_tp_skip_name(p, name) ? MP_OK : mp_tp_fail(p, name);
}

/* ---- blocks ---- */

/* The rest of an opening tag, then the body up to one of the words in ends, which is the current token then. */
static mp_err parse_block(mp_tparser *p, const char *const *ends, mp_tnode **out)
{
    *out = NULL;
    mp_tp_skip(p, MP_TT_COLON);
    mp_err err = mp_tp_expect(p, MP_TT_BLOCK_END);
    if (!err) err = mp_tp_enter(p);
    if (err) return err;
    err = parse_body(p, ends, out);
    p->depth--;
    return err;
}

static mp_err parse_block_to(mp_tparser *p, const char *end, mp_tnode **out)
{
    const char *const ends[] = { end, NULL };
    mp_err err = parse_block(p, ends, out);
    return err ? err : expect_name(p, end);
}

static mp_err parse_if(mp_tparser *p, mp_tnode *node)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    mp_err err = mp_tp_tuple(p, false, &node->a);
    if (!err) err = parse_block(p, ends, &node->body);
    while (!err && mp_tp_skip_name(p, "elif")) {
        err = mp_tp_new(p, MP_TN_IF, &node->orelse);
        if (err) return err;
        node = node->orelse;
        err = mp_tp_tuple(p, false, &node->a);
        if (!err) err = parse_block(p, ends, &node->body);
    }
    if (!err && mp_tp_skip_name(p, "else")) return parse_block_to(p, "endif", &node->orelse);
    return err ? err : expect_name(p, "endif");
}

static mp_err parse_for(mp_tparser *p, mp_tnode *node)
{
    static const char *const ends[] = { "endfor", "else", NULL };
    mp_err err = mp_tp_target(p, false, &node->a);
    if (!err) err = expect_name(p, "in");
    if (!err) err = mp_tp_tuple(p, false, &node->b);
    if (!err && mp_tp_skip_name(p, "if")) err = mp_tp_expr(p, true, &node->c);
    if (err) return err;
    node->flag = mp_tp_skip_name(p, "recursive");
    p->loops++;
    err = parse_block(p, ends, &node->body);
    p->loops--;
    if (err) return err;
    if (mp_tp_skip_name(p, "endfor")) return MP_OK;
    p->tok++;
    return parse_block_to(p, "endfor", &node->orelse);
}

static mp_err parse_set(mp_tparser *p, mp_tnode *node)
{
    mp_err err = mp_tp_target(p, true, &node->a);
    if (err) return err;
    if (mp_tp_skip(p, MP_TT_ASSIGN)) return mp_tp_tuple(p, true, &node->b);
    node->kind = MP_TN_SETBLOCK;
    err = mp_tp_filters(p, NULL, false, &node->b);
    return err ? err : parse_block_to(p, "endset", &node->body);
}

/* ---- macros ---- */

static mp_err new_param(mp_tparser *p, mp_tnode **out)
{
    mp_err err = mp_tp_new(p, MP_TN_PARAM, out);
    if (!err) err = mp_tp_new(p, MP_TN_NAME, &(*out)->a);
    if (err) return err;
    (*out)->a->op = MP_TU_PARAM;
    return mp_tp_name(p, &(*out)->a->name);
}

/* (a, b=1): parameters with a default come last. */
static mp_err parse_signature(mp_tparser *p, mp_tnode **list)
{
    mp_tnode **tail = list, *previous = NULL;
    mp_err err = mp_tp_expect(p, MP_TT_LPAREN);
    while (!err && p->tok->kind != MP_TT_RPAREN) {
        mp_tnode *param = NULL;
        if (previous) err = mp_tp_expect(p, MP_TT_COMMA);
        if (!err) err = new_param(p, &param);
        if (!err && mp_tp_skip(p, MP_TT_ASSIGN)) err = mp_tp_expr(p, true, &param->b);
        else if (!err && previous && previous->b) err = mp_tp_fail(p, "a default, as the parameter before has one");
        if (!err && !param->b && mp_tv_is_text(param->a->name, "caller")) err = mp_tp_fail(p, "a default for a parameter named caller");
        if (err) return err;
        *tail = previous = param;
        tail = &param->next;
    }
    return err ? err : mp_tp_expect(p, MP_TT_RPAREN);
}

/* The body of a macro or caller: break cannot leave it, and it has special names of its own. */
static mp_err parse_macro_body(mp_tparser *p, const char *end, mp_tnode *macro)
{
    int loops = p->loops;
    uint8_t outer = p->specials;
    p->loops = 0;
    p->specials = 0;
    mp_err err = parse_block_to(p, end, &macro->body);
    macro->op = p->specials;
    p->specials |= outer;
    p->loops = loops;
    return err;
}

static mp_err parse_macro(mp_tparser *p, mp_tnode *node)
{
    mp_err err = mp_tp_name(p, &node->name);
    if (!err) err = parse_signature(p, &node->list);
    return err ? err : parse_macro_body(p, "endmacro", node);
}

static mp_err parse_call(mp_tparser *p, mp_tnode *node)
{
    mp_err err = mp_tp_new(p, MP_TN_MACRO, &node->b);
    if (err) return err;
    node->b->name = mp_tv_str("caller", 6);
    if (p->tok->kind == MP_TT_LPAREN) err = parse_signature(p, &node->b->list);
    if (!err) err = mp_tp_expr(p, true, &node->a);
    if (!err && node->a->kind != MP_TN_CALL) err = mp_tp_fail(p, "a call");
    return err ? err : parse_macro_body(p, "endcall", node->b);
}

/* ---- the other statements ---- */

static mp_err parse_with(mp_tparser *p, mp_tnode *node)
{
    mp_tnode **tail = &node->list;
    mp_err err = MP_OK;
    while (!err && p->tok->kind != MP_TT_BLOCK_END) {
        mp_tnode *param = NULL;
        if (node->list) err = mp_tp_expect(p, MP_TT_COMMA);
        if (!err) err = new_param(p, &param);
        if (!err) err = mp_tp_expect(p, MP_TT_ASSIGN);
        if (!err) err = mp_tp_expr(p, true, &param->b);
        if (err) return err;
        *tail = param;
        tail = &param->next;
    }
    return err ? err : parse_block_to(p, "endwith", &node->body);
}

static mp_err parse_filter_block(mp_tparser *p, mp_tnode *node)
{
    mp_err err = mp_tp_filters(p, NULL, true, &node->b);
    return err ? err : parse_block_to(p, "endfilter", &node->body);
}

static mp_err parse_print(mp_tparser *p, mp_tnode *node)
{
    mp_tnode **tail = &node->list;
    mp_err err = MP_OK;
    while (!err && p->tok->kind != MP_TT_BLOCK_END) {
        if (node->list) err = mp_tp_expect(p, MP_TT_COMMA);
        if (!err) err = mp_tp_expr(p, true, tail);
        if (!err) tail = &(*tail)->next;
    }
    return err;
}

static mp_err parse_loop_control(mp_tparser *p, mp_tnode *node)
{
    (void)node;
    return p->loops > 0 ? MP_OK : mp_tp_fail(p, "break and continue inside of a loop only");
}

/* Marks what a model wrote, for training; for printing it is a scope. */
static mp_err parse_generation(mp_tparser *p, mp_tnode *node) { return parse_macro_body(p, "endgeneration", node); }

static mp_err parse_unsupported(mp_tparser *p, mp_tnode *node)
{
    (void)p;
    return mp_fail(MP_E_MODEL, "chat template, line %d: templates cannot use other files, blocks or autoescape here", node->line);
}

static mp_err parse_statement(mp_tparser *p, mp_tnode **out)
{
    static const struct {
        const char *tag;
        mp_tnode_kind kind;
        mp_err (*parse)(mp_tparser *p, mp_tnode *node);
    } statements[] = {
        { "if", MP_TN_IF, parse_if }, { "for", MP_TN_FOR, parse_for }, { "set", MP_TN_SET, parse_set },
        { "macro", MP_TN_MACRO, parse_macro }, { "call", MP_TN_CALLBLOCK, parse_call }, { "with", MP_TN_WITH, parse_with },
        { "filter", MP_TN_FILTERBLOCK, parse_filter_block }, { "print", MP_TN_PRINT, parse_print },
        { "break", MP_TN_BREAK, parse_loop_control }, { "continue", MP_TN_CONTINUE, parse_loop_control },
        { "generation", MP_TN_SCOPE, parse_generation }, { "include", MP_TN_SCOPE, parse_unsupported },
        { "import", MP_TN_SCOPE, parse_unsupported }, { "from", MP_TN_SCOPE, parse_unsupported },
        { "extends", MP_TN_SCOPE, parse_unsupported }, { "block", MP_TN_SCOPE, parse_unsupported },
        { "autoescape", MP_TN_SCOPE, parse_unsupported },
    };
    *out = NULL;
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        if (!mp_tp_at_name(p, statements[i].tag)) continue;
        mp_err err = mp_tp_new(p, statements[i].kind, out);
        p->tok++;
        return err ? err : statements[i].parse(p, *out);
    }
    return mp_tp_fail(p, "a tag that Jinja knows and that fits here");
}

static bool at_any(const mp_tparser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (mp_tp_at_name(p, *ends)) return true;
    return false;
}

static mp_err parse_variable(mp_tparser *p, mp_tnode **out)
{
    mp_err err = mp_tp_new(p, MP_TN_PRINT, out);
    if (err) return err;
    p->tok++;
    err = mp_tp_tuple(p, true, &(*out)->list);
    return err ? err : mp_tp_expect(p, MP_TT_VAR_END);
}

static mp_err parse_data(mp_tparser *p, mp_tnode **out)
{
    mp_err err = mp_tp_new(p, MP_TN_DATA, out);
    if (err) return err;
    (*out)->value = p->tok->value;
    p->tok++;
    return MP_OK;
}

/* Statements up to a tag that begins with one of ends (NULL: up to the end of the template). */
static mp_err parse_body(mp_tparser *p, const char *const *ends, mp_tnode **out)
{
    mp_tnode **tail = out;
    mp_err err = MP_OK;
    *out = NULL;
    while (!err && p->tok->kind != MP_TT_EOF) {
        if (p->tok->kind == MP_TT_DATA) err = parse_data(p, tail);
        else if (p->tok->kind == MP_TT_VAR_BEGIN) err = parse_variable(p, tail);
        else {
            p->tok++;
            if (at_any(p, ends)) return MP_OK;
            err = parse_statement(p, tail);
            if (!err) err = mp_tp_expect(p, MP_TT_BLOCK_END);
        }
        if (!err) tail = &(*tail)->next;
    }
    return err || !ends ? err : mp_tp_fail(p, ends[0]);
}

mp_err mp_tmpl_parse(mp_tmem *mem, const mp_ttoks *toks, mp_tnode **body)
{
    mp_tparser p = { .mem = mem, .tok = toks->v };
    return parse_body(&p, NULL, body);
}
