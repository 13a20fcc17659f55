/* What stands behind "is". */
#include <string.h>

#include "model/tmpl/eval.h"

static mp_err yes_or_no(bool yes, mp_tv *out)
{
    *out = mp_tv_bool(yes);
    return MP_OK;
}

enum {
    DEFINED, UNDEFINED, NONE, BOOLEAN, FALSE_, TRUE_, INTEGER, FLOAT, NUMBER, STRING, MAPPING, SEQUENCE, ITERABLE, CALLABLE, ESCAPED,
};

static bool is_callable(mp_tv v)
{
    return v.type == MP_TV_FUNC || v.type == MP_TV_LOOP || v.type == MP_TV_JOINER || v.type == MP_TV_UNDEFINED;
}

static bool is_kind(mp_tv v, int kind)
{
    switch (kind) {
    case DEFINED: return v.type != MP_TV_UNDEFINED;
    case UNDEFINED: return v.type == MP_TV_UNDEFINED;
    case NONE: return v.type == MP_TV_NONE;
    case BOOLEAN: return v.type == MP_TV_BOOL;
    case FALSE_: return v.type == MP_TV_BOOL && !v.b;
    case TRUE_: return v.type == MP_TV_BOOL && v.b;
    case INTEGER: return v.type == MP_TV_INT;
    case FLOAT: return v.type == MP_TV_FLOAT;
    case NUMBER: return mp_tv_is_number(v);
    case STRING: return v.type == MP_TV_STR;
    case MAPPING: return v.type == MP_TV_DICT;
    case SEQUENCE: return mp_tv_length(v) >= 0 && v.type != MP_TV_VIEW;
    case ITERABLE: return mp_tv_length(v) >= 0 || v.type == MP_TV_ITER || v.type == MP_TV_LOOP;
    case CALLABLE: return is_callable(v);
    default: return v.type == MP_TV_STR && v.flag == MP_TV_MARKUP;
    }
}

static mp_err kind(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    (void)r;
    return yes_or_no(is_kind(c->self, c->how), out);
}

/* odd and even are value % 2 == 1 and == 0, also for floats. */
static mp_err parity(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv rest;
    mp_err err = mp_tv_binary(r, MP_TT_MOD, c->self, mp_tv_int(2), &rest);
    return err ? err : yes_or_no(mp_tv_equal(rest, mp_tv_int(c->how)), out);
}

static mp_err divisible(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv rest;
    mp_err err = mp_tv_binary(r, MP_TT_MOD, c->self, c->a[0], &rest);
    return err ? err : yes_or_no(mp_tv_equal(rest, mp_tv_int(0)), out);
}

static mp_err in_case(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    mp_tv s;
    mp_err err = mp_tv_to_str(r, c->self, &s);
    return err ? err : yes_or_no(mp_text_is(s, (mp_text_class)c->how), out);
}

static mp_err compare(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    bool yes;
    mp_err err = mp_tv_compare(r, (mp_ttok_kind)c->how, c->self, c->a[0], &yes);
    return err ? err : yes_or_no(yes, out);
}

static mp_err same_as(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    (void)r;
    return yes_or_no(mp_tv_same(c->self, c->a[0]), out);
}

static mp_err exists(mp_tr *r, const mp_tcall *c, mp_tv *out)
{
    if (!mp_tv_hashable(c->self)) return mp_tr_fail(r, "a %s cannot be a name", mp_tv_type_name(c->self));
    if (c->self.type != MP_TV_STR) return yes_or_no(false, out);
    return yes_or_no((c->how ? mp_tfilter_find(c->self) : mp_ttest_find(c->self)) != NULL, out);
}

static const mp_tbuiltin tests[] = {
    { "defined", kind, "", 0, DEFINED }, { "undefined", kind, "", 0, UNDEFINED }, { "none", kind, "", 0, NONE },
    { "boolean", kind, "", 0, BOOLEAN }, { "false", kind, "", 0, FALSE_ }, { "true", kind, "", 0, TRUE_ },
    { "integer", kind, "", 0, INTEGER }, { "float", kind, "", 0, FLOAT }, { "number", kind, "", 0, NUMBER },
    { "string", kind, "", 0, STRING }, { "mapping", kind, "", 0, MAPPING }, { "sequence", kind, "", 0, SEQUENCE },
    { "iterable", kind, "", 0, ITERABLE }, { "callable", kind, "", 0, CALLABLE }, { "escaped", kind, "", 0, ESCAPED },
    { "odd", parity, "", 0, 1 }, { "even", parity, "", 0, 0 }, { "divisibleby", divisible, "num", 1, 0 },
    { "lower", in_case, "", 0, MP_TEXT_IS_LOWER }, { "upper", in_case, "", 0, MP_TEXT_IS_UPPER },
    { "in", compare, "seq", 1, MP_TT_IN }, { "sameas", same_as, "other", 1, 0 }, { "filter", exists, "", 0, 1 },
    { "test", exists, "", 0, 0 }, { "==", compare, "b", 1, MP_TT_EQ }, { "eq", compare, "b", 1, MP_TT_EQ },
    { "equalto", compare, "b", 1, MP_TT_EQ }, { "!=", compare, "b", 1, MP_TT_NE }, { "ne", compare, "b", 1, MP_TT_NE },
    { ">", compare, "b", 1, MP_TT_GT }, { "gt", compare, "b", 1, MP_TT_GT }, { "greaterthan", compare, "b", 1, MP_TT_GT },
    { ">=", compare, "b", 1, MP_TT_GE }, { "ge", compare, "b", 1, MP_TT_GE }, { "<", compare, "b", 1, MP_TT_LT },
    { "lt", compare, "b", 1, MP_TT_LT }, { "lessthan", compare, "b", 1, MP_TT_LT }, { "<=", compare, "b", 1, MP_TT_LE },
    { "le", compare, "b", 1, MP_TT_LE }, { 0 },
};

const mp_tbuiltin *mp_ttest_find(mp_tv name) { return mp_tbuiltin_find(tests, name); }
