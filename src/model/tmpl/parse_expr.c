/* Expressions, by precedence from the outside in:
 *
 *   a if b else c;  or;  and;  not;  comparisons, in, not in;  + -;  ~;  * / // %;  ** (left to right);  unary;  postfix;  | and is
 *
 * Source: the Jinja 3.1 template designer documentation and observation of its parser (Jinja's "**" groups left to right). */
#include <string.h>

#include "model/tmpl/parse.h"

static mp_err parse_or(mp_tparser *p, mp_tnode **out);
static mp_err parse_unary(mp_tparser *p, bool filters, mp_tnode **out);

static void append(mp_tnode **first, mp_tnode **last, mp_tnode *node)
{
    if (*last) (*last)->next = node;
    else *first = node;
    *last = node;
}

/* ---- arguments and postfix ---- */

static mp_err parse_argument(mp_tparser *p, mp_tnode **out)
{
    mp_err err;
    if (p->tok->kind == MP_TT_MUL || p->tok->kind == MP_TT_POW) {
        err = mp_tp_new(p, MP_TN_SPREAD, out);
        if (err) return err;
        (*out)->flag = p->tok->kind == MP_TT_POW;
        p->tok++;
        return mp_tp_expr(p, true, &(*out)->a);
    }
    if (p->tok->kind == MP_TT_NAME && p->tok[1].kind == MP_TT_ASSIGN) {
        err = mp_tp_new(p, MP_TN_KEYWORD, out);
        if (err) return err;
        (*out)->name = p->tok->value;
        p->tok += 2;
        return mp_tp_expr(p, true, &(*out)->a);
    }
    return mp_tp_expr(p, true, out);
}

/* Python's order: positional, keywords and one *, one **. */
static bool allowed_after(const mp_tnode *next, const mp_tnode *list)
{
    bool star = false, double_star = false, keyword = false;
    for (; list; list = list->next) {
        star = star || (list->kind == MP_TN_SPREAD && !list->flag);
        double_star = double_star || (list->kind == MP_TN_SPREAD && list->flag);
        keyword = keyword || list->kind == MP_TN_KEYWORD;
    }
    if (next->kind == MP_TN_SPREAD) return next->flag ? !double_star : !star && !double_star;
    if (next->kind == MP_TN_KEYWORD) return !double_star;
    return !star && !double_star && !keyword;
}

static mp_err parse_arguments(mp_tparser *p, mp_tnode **list)
{
    mp_tnode *last = NULL;
    *list = NULL;
    mp_err err = mp_tp_expect(p, MP_TT_LPAREN);
    while (!err && p->tok->kind != MP_TT_RPAREN) {
        mp_tnode *arg = NULL;
        if (last) err = mp_tp_expect(p, MP_TT_COMMA);
        if (!err && last && p->tok->kind == MP_TT_RPAREN) break;
        if (!err) err = parse_argument(p, &arg);
        if (!err && !allowed_after(arg, *list)) err = mp_tp_fail(p, "arguments in the order: values, then names");
        if (!err) append(list, &last, arg);
    }
    return err ? err : mp_tp_expect(p, MP_TT_RPAREN);
}

static mp_err parse_call(mp_tparser *p, mp_tnode **node)
{
    mp_tnode *call = NULL;
    mp_err err = mp_tp_new(p, MP_TN_CALL, &call);
    if (err) return err;
    call->a = *node;
    *node = call;
    return parse_arguments(p, &call->list);
}

/* One subscript: an expression or a slice (its object is set by the caller). */
static mp_err parse_subscript(mp_tparser *p, mp_tnode **out)
{
    mp_tnode *first = NULL, *slice = NULL;
    mp_err err = MP_OK;
    *out = NULL;
    if (p->tok->kind != MP_TT_COLON) err = mp_tp_expr(p, true, &first);
    if (err) return err;
    if (!mp_tp_skip(p, MP_TT_COLON)) {
        *out = first;
        return MP_OK;
    }
    err = mp_tp_new(p, MP_TN_SLICE, &slice);
    if (err) return err;
    slice->b = first;
    mp_ttok_kind k = p->tok->kind;
    if (k != MP_TT_COLON && k != MP_TT_RBRACKET && k != MP_TT_COMMA) err = mp_tp_expr(p, true, &slice->c);
    if (!err && mp_tp_skip(p, MP_TT_COLON) && p->tok->kind != MP_TT_RBRACKET && p->tok->kind != MP_TT_COMMA)
        err = mp_tp_expr(p, true, &slice->d);
    *out = slice;
    return err;
}

/* a[...]: *node is the object before and the whole after. */
static mp_err parse_item(mp_tparser *p, mp_tnode **node)
{
    mp_tnode *first = NULL, *last = NULL, *item = NULL;
    int n = 0;
    mp_err err = mp_tp_expect(p, MP_TT_LBRACKET);
    while (!err && p->tok->kind != MP_TT_RBRACKET) {
        mp_tnode *part = NULL;
        if (n > 0) err = mp_tp_expect(p, MP_TT_COMMA);
        if (!err) err = parse_subscript(p, &part);
        if (!err) append(&first, &last, part);
        n++;
    }
    if (!err) err = mp_tp_expect(p, MP_TT_RBRACKET);
    if (!err && n == 1 && first->kind == MP_TN_SLICE && !first->a) { /* with an object it is a slice of something else */
        first->a = *node;
        *node = first;
        return MP_OK;
    }
    if (!err) err = mp_tp_new(p, MP_TN_ITEM, &item);
    if (err) return err;
    item->a = *node;
    item->b = first;
    *node = item;
    if (n == 1) return MP_OK;
    err = mp_tp_new(p, MP_TN_TUPLE, &item->b);
    if (!err) item->b->list = first;
    return err;
}

static mp_err parse_dot(mp_tparser *p, mp_tnode **node)
{
    mp_tnode *n = NULL;
    p->tok++;
    if (p->tok->kind != MP_TT_NAME && p->tok->kind != MP_TT_INT) return mp_tp_fail(p, "a name or a number after '.'");
    mp_err err = mp_tp_new(p, p->tok->kind == MP_TT_NAME ? MP_TN_ATTR : MP_TN_ITEM, &n);
    if (!err && n->kind == MP_TN_ITEM) err = mp_tp_new(p, MP_TN_CONST, &n->b);
    if (err) return err;
    n->a = *node;
    n->name = p->tok->value;
    if (n->b) n->b->value = p->tok->value;
    p->tok++;
    *node = n;
    return MP_OK;
}

static mp_err parse_postfix(mp_tparser *p, mp_tnode **node)
{
    mp_err err = MP_OK;
    while (!err) {
        if (p->tok->kind == MP_TT_DOT) err = parse_dot(p, node);
        else if (p->tok->kind == MP_TT_LBRACKET) err = parse_item(p, node);
        else if (p->tok->kind == MP_TT_LPAREN) err = parse_call(p, node);
        else break;
    }
    return err;
}

/* ---- filters and tests ---- */

/* A dotted name, as filters and tests may have. */
static mp_err parse_dotted(mp_tparser *p, mp_tv *out)
{
    mp_err err = mp_tp_name(p, out);
    if (err || p->tok->kind != MP_TT_DOT) return err;
    return mp_tp_fail(p, "a filter or test without dots in its name");
}

mp_err mp_tp_filters(mp_tparser *p, mp_tnode *value, bool inline_first, mp_tnode **out)
{
    mp_err err = MP_OK;
    *out = value;
    while (!err && (inline_first || p->tok->kind == MP_TT_PIPE)) {
        mp_tnode *filter = NULL;
        if (!inline_first) p->tok++;
        inline_first = false;
        err = mp_tp_new(p, MP_TN_FILTER, &filter);
        if (err) return err;
        filter->a = *out;
        *out = filter;
        err = parse_dotted(p, &filter->name);
        if (!err && p->tok->kind == MP_TT_LPAREN) err = parse_arguments(p, &filter->list);
    }
    return err;
}

/* Whether what follows a test's name is its argument, written without brackets. */
static bool at_test_argument(const mp_tparser *p)
{
    switch (p->tok->kind) {
    case MP_TT_NAME: return !mp_tp_at_name(p, "else") && !mp_tp_at_name(p, "or") && !mp_tp_at_name(p, "and");
    case MP_TT_STRING:
    case MP_TT_INT:
    case MP_TT_FLOAT:
    case MP_TT_LBRACKET:
    case MP_TT_LBRACE: return true;
    default: return false;
    }
}

static mp_err parse_test(mp_tparser *p, mp_tnode **node)
{
    mp_tnode *test = NULL, *negation = NULL;
    p->tok++;
    bool negated = mp_tp_skip_name(p, "not");
    mp_err err = mp_tp_new(p, MP_TN_TEST, &test);
    if (!err && negated) err = mp_tp_new(p, MP_TN_NOT, &negation);
    if (err) return err;
    test->a = *node;
    *node = test;
    if (negated) {
        negation->a = test;
        *node = negation;
    }
    err = parse_dotted(p, &test->name);
    if (err) return err;
    if (p->tok->kind == MP_TT_LPAREN) return parse_arguments(p, &test->list);
    if (!at_test_argument(p)) return MP_OK;
    if (mp_tp_at_name(p, "is")) return mp_tp_fail(p, "no second 'is' after a test");
    err = mp_tp_primary(p, false, &test->list);
    return err ? err : parse_postfix(p, &test->list);
}

static mp_err parse_filters_and_tests(mp_tparser *p, mp_tnode **node)
{
    mp_err err = MP_OK;
    while (!err) {
        if (p->tok->kind == MP_TT_PIPE) err = mp_tp_filters(p, *node, false, node);
        else if (mp_tp_at_name(p, "is")) err = parse_test(p, node);
        else if (p->tok->kind == MP_TT_LPAREN) err = parse_call(p, node);
        else break;
    }
    return err;
}

/* ---- primaries ---- */

static mp_err parse_list(mp_tparser *p, mp_tnode *node)
{
    mp_tnode *last = NULL;
    mp_err err = MP_OK;
    p->tok++;
    while (!err && p->tok->kind != MP_TT_RBRACKET) {
        mp_tnode *element = NULL;
        if (last) err = mp_tp_expect(p, MP_TT_COMMA);
        if (!err && last && p->tok->kind == MP_TT_RBRACKET) break;
        if (!err) err = mp_tp_expr(p, true, &element);
        if (!err) append(&node->list, &last, element);
    }
    return err ? err : mp_tp_expect(p, MP_TT_RBRACKET);
}

static mp_err parse_dict(mp_tparser *p, mp_tnode *node)
{
    mp_tnode *last = NULL;
    mp_err err = MP_OK;
    p->tok++;
    while (!err && p->tok->kind != MP_TT_RBRACE) {
        mp_tnode *pair = NULL;
        if (last) err = mp_tp_expect(p, MP_TT_COMMA);
        if (!err && last && p->tok->kind == MP_TT_RBRACE) break;
        if (!err) err = mp_tp_new(p, MP_TN_PAIR, &pair);
        if (!err) err = mp_tp_expr(p, true, &pair->a);
        if (!err) err = mp_tp_expect(p, MP_TT_COLON);
        if (!err) err = mp_tp_expr(p, true, &pair->b);
        if (!err) append(&node->list, &last, pair);
    }
    return err ? err : mp_tp_expect(p, MP_TT_RBRACE);
}

/* Strings that stand side by side are one. */
static mp_err parse_strings(mp_tparser *p, mp_tnode *node)
{
    mp_tbuf buf = { .mem = p->mem };
    mp_err err = MP_OK;
    node->value = p->tok->value;
    p->tok++;
    if (p->tok->kind != MP_TT_STRING) return MP_OK;
    err = mp_tbuf_add(&buf, node->value.s, node->value.n);
    for (; !err && p->tok->kind == MP_TT_STRING; p->tok++) err = mp_tbuf_add(&buf, p->tok->value.s, p->tok->value.n);
    node->value = mp_tbuf_value(&buf);
    return err;
}

static mp_err parse_name(mp_tparser *p, bool namespaces, mp_tnode *node)
{
    mp_tv name = p->tok->value;
    p->tok++;
    node->name = name;
    bool yes = mp_tv_is_text(name, "true") || mp_tv_is_text(name, "True");
    if (yes || mp_tv_is_text(name, "false") || mp_tv_is_text(name, "False")) {
        node->kind = MP_TN_CONST;
        node->value = mp_tv_bool(yes);
    } else if (mp_tv_is_text(name, "none") || mp_tv_is_text(name, "None")) {
        node->kind = MP_TN_CONST;
        node->value = mp_tv_none();
    } else if (namespaces && p->tok->kind == MP_TT_DOT) {
        p->tok++;
        node->kind = MP_TN_NSREF;
        mp_err err = mp_tp_new(p, MP_TN_NAME, &node->a);
        if (err) return err;
        node->a->name = name;
        return mp_tp_name(p, &node->name);
    }
    if (mp_tv_is_text(name, "caller")) p->specials |= MP_TC_CALLER;
    if (mp_tv_is_text(name, "varargs")) p->specials |= MP_TC_VARARGS;
    if (mp_tv_is_text(name, "kwargs")) p->specials |= MP_TC_KWARGS;
    return MP_OK;
}

static mp_err parse_brackets(mp_tparser *p, mp_tnode **out)
{
    mp_err err = mp_tp_enter(p);
    if (err) return err;
    p->tok++;
    if (p->tok->kind == MP_TT_RPAREN) err = mp_tp_new(p, MP_TN_TUPLE, out);
    else err = mp_tp_tuple(p, true, out);
    p->depth--;
    return err ? err : mp_tp_expect(p, MP_TT_RPAREN);
}

mp_err mp_tp_primary(mp_tparser *p, bool namespaces, mp_tnode **out)
{
    *out = NULL;
    if (p->tok->kind == MP_TT_LPAREN) return parse_brackets(p, out);
    mp_err err = mp_tp_new(p, MP_TN_CONST, out);
    if (err) return err;
    switch (p->tok->kind) {
    case MP_TT_NAME: (*out)->kind = MP_TN_NAME; return parse_name(p, namespaces, *out);
    case MP_TT_STRING: return parse_strings(p, *out);
    case MP_TT_LBRACKET: (*out)->kind = MP_TN_LIST; return parse_list(p, *out);
    case MP_TT_LBRACE: (*out)->kind = MP_TN_DICT; return parse_dict(p, *out);
    case MP_TT_INT:
    case MP_TT_FLOAT: (*out)->value = p->tok->value; p->tok++; return MP_OK;
    default: return mp_tp_fail(p, "an expression");
    }
}

/* ---- operators ---- */

static mp_err parse_signed(mp_tparser *p, mp_tnode **out)
{
    mp_err err = mp_tp_enter(p);
    if (!err) err = mp_tp_new(p, p->tok->kind == MP_TT_SUB ? MP_TN_NEG : MP_TN_POS, out);
    if (err) return err;
    p->tok++;
    err = parse_unary(p, false, &(*out)->a);
    p->depth--;
    return err;
}

static mp_err parse_unary(mp_tparser *p, bool filters, mp_tnode **out)
{
    bool sign = p->tok->kind == MP_TT_SUB || p->tok->kind == MP_TT_ADD;
    mp_err err = sign ? parse_signed(p, out) : mp_tp_primary(p, false, out);
    if (!err) err = parse_postfix(p, out);
    if (!err && filters) err = parse_filters_and_tests(p, out);
    return err;
}

static int precedence(mp_ttok_kind kind)
{
    switch (kind) {
    case MP_TT_ADD:
    case MP_TT_SUB: return 1;
    case MP_TT_TILDE: return 2;
    case MP_TT_MUL:
    case MP_TT_DIV:
    case MP_TT_FLOORDIV:
    case MP_TT_MOD: return 3;
    case MP_TT_POW: return 4;
    default: return 0;
    }
}

/* Operators of at least this precedence, left to right. */
static mp_err parse_math(mp_tparser *p, int least, mp_tnode **out)
{
    mp_err err = parse_unary(p, true, out);
    while (!err && precedence(p->tok->kind) >= least) {
        mp_tnode *node = NULL;
        err = mp_tp_new(p, MP_TN_BINARY, &node);
        if (err) return err;
        node->op = (uint8_t)p->tok->kind;
        node->a = *out;
        p->tok++;
        err = parse_math(p, precedence((mp_ttok_kind)node->op) + 1, &node->b);
        *out = node;
    }
    return err;
}

/* The comparison at the current token, skipped; 0 when there is none. */
static int take_comparison(mp_tparser *p)
{
    mp_ttok_kind kind = p->tok->kind;
    if (kind >= MP_TT_EQ && kind <= MP_TT_GE) {
        p->tok++;
        return kind;
    }
    if (mp_tp_skip_name(p, "in")) return MP_TT_IN;
    if (!mp_tp_at_name(p, "not") || p->tok[1].kind != MP_TT_NAME || !mp_tv_is_text(p->tok[1].value, "in")) return 0;
    p->tok += 2;
    return MP_TT_NOT_IN;
}

static mp_err parse_comparison(mp_tparser *p, mp_tnode **out)
{
    mp_tnode *compare = NULL, *last = NULL;
    mp_err err = parse_math(p, 1, out);
    for (int op; !err && (op = take_comparison(p)) != 0;) {
        mp_tnode *operand = NULL;
        if (!compare) {
            err = mp_tp_new(p, MP_TN_COMPARE, &compare);
            if (err) return err;
            compare->a = *out;
            *out = compare;
        }
        err = mp_tp_new(p, MP_TN_OPERAND, &operand);
        if (err) return err;
        operand->op = (uint8_t)op;
        append(&compare->list, &last, operand);
        err = parse_math(p, 1, &operand->a);
    }
    return err;
}

static mp_err parse_not(mp_tparser *p, mp_tnode **out)
{
    if (!mp_tp_at_name(p, "not")) return parse_comparison(p, out);
    mp_err err = mp_tp_enter(p);
    if (!err) err = mp_tp_new(p, MP_TN_NOT, out);
    if (err) return err;
    p->tok++;
    err = parse_not(p, &(*out)->a);
    p->depth--;
    return err;
}

static mp_err join(mp_tparser *p, mp_tnode_kind kind, mp_tnode **left, mp_tnode **right)
{
    mp_tnode *node = NULL;
    mp_err err = mp_tp_new(p, kind, &node);
    if (err) return err;
    node->a = *left;
    node->b = *right;
    *left = node;
    return MP_OK;
}

static mp_err parse_and(mp_tparser *p, mp_tnode **out)
{
    mp_err err = parse_not(p, out);
    while (!err && mp_tp_skip_name(p, "and")) {
        mp_tnode *right = NULL;
        err = parse_not(p, &right);
        if (!err) err = join(p, MP_TN_AND, out, &right);
    }
    return err;
}

static mp_err parse_or(mp_tparser *p, mp_tnode **out)
{
    mp_err err = parse_and(p, out);
    while (!err && mp_tp_skip_name(p, "or")) {
        mp_tnode *right = NULL;
        err = parse_and(p, &right);
        if (!err) err = join(p, MP_TN_OR, out, &right);
    }
    return err;
}

mp_err mp_tp_expr(mp_tparser *p, bool cond, mp_tnode **out)
{
    *out = NULL;
    mp_err err = mp_tp_enter(p);
    if (err) return err;
    err = parse_or(p, out);
    while (!err && cond && mp_tp_skip_name(p, "if")) {
        mp_tnode *node = NULL;
        err = mp_tp_new(p, MP_TN_COND, &node);
        if (err) return err;
        node->b = *out;
        *out = node;
        err = parse_or(p, &node->a);
        if (!err && mp_tp_skip_name(p, "else")) err = mp_tp_expr(p, true, &node->c);
    }
    p->depth--;
    return err;
}

/* ---- tuples and targets ---- */

static bool at_tuple_end(const mp_tparser *p)
{
    mp_ttok_kind k = p->tok->kind;
    return k == MP_TT_VAR_END || k == MP_TT_BLOCK_END || k == MP_TT_RPAREN;
}

typedef enum element { EXPR, EXPR_WITHOUT_COND, TARGET, TARGET_OR_NAMESPACE } element;

static mp_err parse_element(mp_tparser *p, element what, mp_tnode **out)
{
    if (what == EXPR || what == EXPR_WITHOUT_COND) return mp_tp_expr(p, what == EXPR, out);
    return mp_tp_primary(p, what == TARGET_OR_NAMESPACE, out);
}

/* One element, or several with commas between them. */
static mp_err parse_elements(mp_tparser *p, element what, mp_tnode **out)
{
    mp_tnode *first = NULL, *last = NULL, *tuple = NULL;
    bool comma = false;
    mp_err err = MP_OK;
    *out = NULL;
    while (!err && !at_tuple_end(p)) {
        mp_tnode *part = NULL;
        err = parse_element(p, what, &part);
        if (!err) append(&first, &last, part);
        if (err || !mp_tp_skip(p, MP_TT_COMMA)) break;
        comma = true;
    }
    if (!err && !first) err = mp_tp_fail(p, "an expression");
    *out = first;
    if (err || !comma) return err;
    err = mp_tp_new(p, MP_TN_TUPLE, &tuple);
    if (err) return err;
    tuple->list = first;
    *out = tuple;
    return MP_OK;
}

mp_err mp_tp_tuple(mp_tparser *p, bool cond, mp_tnode **out)
{
    return parse_elements(p, cond ? EXPR : EXPR_WITHOUT_COND, out);
}

static mp_err make_target(mp_tparser *p, mp_tnode *node)
{
    mp_err err = MP_OK;
    if (node->kind == MP_TN_NSREF) return MP_OK;
    if (node->kind == MP_TN_TUPLE) {
        for (mp_tnode *part = node->list; part && !err; part = part->next) err = make_target(p, part);
        return err;
    }
    if (node->kind != MP_TN_NAME) return mp_tp_fail(p, "something that can be assigned to");
    node->op = MP_TU_STORE;
    return MP_OK;
}

mp_err mp_tp_target(mp_tparser *p, bool namespaces, mp_tnode **out)
{
    mp_err err = parse_elements(p, namespaces ? TARGET_OR_NAMESPACE : TARGET, out);
    return err ? err : make_target(p, *out);
}
