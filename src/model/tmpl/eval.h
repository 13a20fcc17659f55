/* Rendering: the state of one render and what its parts offer each other. Every function that can fail returns mp_err and leaves *out
 * untouched or none on error; values they return live until the render ends. */
#ifndef MP_MODEL_TMPL_EVAL_H
#define MP_MODEL_TMPL_EVAL_H

#include "model/tmpl/node.h"
#include "model/tmpl/text.h"
#include "model/tmpl/tmpl.h"

/* The variables of one entered scope. */
typedef struct mp_tframe {
    struct mp_tframe *outer;
    mp_tv             slot[];
} mp_tframe;

typedef enum mp_tflow { MP_TF_NEXT, MP_TF_BREAK, MP_TF_CONTINUE } mp_tflow;

typedef struct mp_tr {
    mp_tmem        mem;
    mp_tmpl_limits limits; /* all set */
    uint64_t       steps;
    int            depth;
    int            line;   /* of the node being evaluated, for error messages */
    mp_tflow       flow;
    mp_tbuf       *out;    /* where text goes now */
    mp_tdict      *vars;   /* the caller's variables */
} mp_tr;

/* Errors: MP_E_MODEL, "the chat template stopped at line N: ...". */
mp_err mp_tr_fail(mp_tr *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
mp_err mp_tr_fail_undefined(mp_tr *r, mp_tv v);  /* v is used where a value is needed */
mp_err mp_tr_charge(mp_tr *r, uint64_t steps);   /* counts work against the limit of steps */
mp_err mp_tr_enter(mp_tr *r);                    /* one evaluation deeper; leave with r->depth-- */

/* ---- calls and functions ---- */

typedef struct mp_targs {
    const mp_tv    *v; /* by position */
    int             n;
    const mp_tpair *kw; /* by name */
    int             n_kw;
} mp_targs;

enum { MP_TB_MAX_ARGS = 6 };

/* One call of a function of ours: self is the value before the | or the dot; a[] are the arguments in the order of the function's
 * parameter names, MISSING where not given; args as they came. */
typedef struct mp_tcall {
    mp_tv           self;
    mp_tv           a[MP_TB_MAX_ARGS];
    const mp_targs *args;
    int             how; /* of mp_tbuiltin */
} mp_tcall;

typedef struct mp_tbuiltin {
    const char *name;
    mp_err (*fn)(mp_tr *r, const mp_tcall *c, mp_tv *out);
    const char *params;   /* names, separated by spaces; "/" first: they cannot be given by name; "*": the function looks at args itself */
    int         required; /* how many of them must be given */
    int         how;      /* for functions that share one fn: which of them */
} mp_tbuiltin;

struct mp_tfunc {
    const mp_tbuiltin *fn;    /* one of ours, bound to self; or */
    mp_tv              self;
    const mp_tnode    *macro; /* a macro with the frame it was defined in */
    mp_tframe         *frame;
};

const mp_tbuiltin *mp_tbuiltin_find(const mp_tbuiltin *table, mp_tv name); /* a table ends with a NULL name */
const mp_tbuiltin *mp_tfilter_find(mp_tv name);
const mp_tbuiltin *mp_ttest_find(mp_tv name);
const mp_tbuiltin *mp_tglobal_find(mp_tv name);               /* range, namespace, raise_exception, ... */
const mp_tbuiltin *mp_tmethod_find(mp_tv self, mp_tv name);   /* of a str, dict, list, ... */
extern const mp_tbuiltin mp_tfilters_text[], mp_tfilters_seq[]; /* the parts of the filters' table */

mp_err mp_tv_builtin(mp_tr *r, const mp_tbuiltin *fn, mp_tv self, mp_tv *out); /* a FUNC value */
mp_err mp_tbuiltin_call(mp_tr *r, const mp_tbuiltin *fn, mp_tv self, const mp_targs *args, mp_tv *out);
mp_err mp_tv_call(mp_tr *r, mp_tv callee, const mp_targs *args, mp_tv *out);

/* ---- expressions and statements ---- */

mp_err mp_teval(mp_tr *r, mp_tframe *f, const mp_tnode *n, mp_tv *out);
mp_err mp_teval_args(mp_tr *r, mp_tframe *f, const mp_tnode *list, mp_targs *out);
mp_err mp_teval_filters(mp_tr *r, mp_tframe *f, const mp_tnode *chain, mp_tv value, mp_tv *out); /* of a block */
mp_err mp_texec(mp_tr *r, mp_tframe *f, const mp_tnode *list);
mp_err mp_texec_capture(mp_tr *r, mp_tframe *f, const mp_tnode *list, mp_tv *out); /* what it writes, as a string */
mp_err mp_tframe_new(mp_tr *r, const mp_tscope *scope, mp_tframe *outer, mp_tframe **out);
mp_err mp_tframe_enter(mp_tr *r, const mp_tscope *scope, mp_tframe *f); /* slots to their first values, but parameters */
mp_err mp_tassign(mp_tr *r, mp_tframe *f, const mp_tnode *target, mp_tv value);
mp_err mp_tmacro_call(mp_tr *r, const mp_tfunc *macro, const mp_targs *args, mp_tv *out);

/* Loops (loop.c): the statement, loop.x, loop(...). */
mp_err mp_tfor(mp_tr *r, mp_tframe *f, const mp_tnode *n);
mp_err mp_tloop_attr(mp_tr *r, mp_tloop *loop, mp_tv name, mp_tv *out); /* MISSING: no such attribute */
mp_err mp_tloop_call(mp_tr *r, mp_tloop *loop, const mp_targs *args, mp_tv *out);
int64_t mp_tloop_index(const mp_tloop *loop);

/* ---- operations on values (ops.c, attr.c) ---- */

mp_err mp_tv_binary(mp_tr *r, mp_ttok_kind op, mp_tv a, mp_tv b, mp_tv *out);
mp_err mp_tv_negate(mp_tr *r, mp_tv a, bool negative, mp_tv *out);
mp_err mp_tv_order(mp_tr *r, mp_tv a, mp_tv b, int *out);                      /* < 0, 0, > 0; 2: not comparable numbers (NaN) */
mp_err mp_tv_compare(mp_tr *r, mp_ttok_kind op, mp_tv a, mp_tv b, bool *out);  /* also in, not in */
mp_err mp_tv_contains(mp_tr *r, mp_tv haystack, mp_tv needle, bool *out);
mp_err mp_tv_elements(mp_tr *r, mp_tv v, mp_tlist **out); /* what a loop over v sees; do not change it. Empties an ITER */
mp_err mp_tv_concat(mp_tr *r, mp_tv a, mp_tv b, mp_tv *out);                   /* of two strings */
mp_err mp_tv_attr(mp_tr *r, mp_tv v, mp_tv name, mp_tv *out);                  /* v.name */
mp_err mp_tv_item(mp_tr *r, mp_tv v, mp_tv key, mp_tv *out);                   /* v[key] */
mp_err mp_tv_slice(mp_tr *r, mp_tv v, const mp_tv bounds[3], mp_tv *out);      /* v[a:b:c], MISSING or NONE: absent */
mp_err mp_tv_path(mp_tr *r, mp_tv v, mp_tv path, mp_tv *out);                  /* "a.b.0", as attribute= in filters */

/* ---- text of values (print.c, number.c, format.c, json.c) ---- */

mp_err mp_tv_print(mp_tr *r, mp_tbuf *buf, mp_tv v);      /* str() */
mp_err mp_tv_repr(mp_tr *r, mp_tbuf *buf, mp_tv v);
mp_err mp_tv_to_str(mp_tr *r, mp_tv v, mp_tv *out);       /* str() as a value; a string stays itself */
mp_err mp_tbuf_float(mp_tbuf *buf, double f);             /* as Python's repr: the shortest digits that give f back */
bool   mp_text_to_int(mp_tv s, int base, int64_t *out);   /* as Python's int(s, base) */
bool   mp_text_to_float(mp_tv s, double *out);            /* as Python's float(s) */

typedef struct mp_tjson {
    bool  ascii, sorted;
    mp_tv indent;          /* NONE: on one line; INT or STR */
    mp_tv comma, colon;    /* strings */
} mp_tjson;
mp_err mp_tv_json(mp_tr *r, mp_tbuf *buf, mp_tv v, const mp_tjson *how);
mp_err mp_tv_from_json(mp_tr *r, const char *text, size_t n, mp_tv *out); /* MP_E_USAGE */

mp_err mp_tformat_percent(mp_tr *r, mp_tv format, mp_tv args, mp_tv *out);             /* format % args */
mp_err mp_tformat_braces(mp_tr *r, mp_tv format, const mp_targs *args, mp_tv *out);    /* format.format(args) */

/* ---- helpers for filters and methods ---- */

mp_err mp_tr_new_list(mp_tr *r, size_t room, mp_tv *out);
mp_err mp_tr_iter(mp_tr *r, mp_tlist *list, mp_tv *out);  /* an ITER over the list */
mp_err mp_tr_sort(mp_tr *r, mp_tpair *pairs, uint32_t n, bool reverse); /* by key, stable */
mp_err mp_tr_need_str(mp_tr *r, mp_tv v, const char *what);
/* An argument: its default when MISSING; an error when it is of another type. */
mp_err mp_targ_int(mp_tr *r, mp_tv v, int64_t otherwise, int64_t *out);
bool   mp_targ_truth(mp_tv v, bool otherwise);
mp_err mp_tsplit(mp_tr *r, mp_tv s, mp_tv sep, int64_t max, bool from_right, mp_tv *out); /* str.split, str.rsplit */
mp_err mp_tsplit_lines(mp_tr *r, mp_tv s, bool keep_ends, mp_tv *out);
mp_err mp_tjoin(mp_tr *r, mp_tv sep, mp_tv elements, bool convert, mp_tv *out); /* convert: str() of each, else they must be strings */

#endif
