/* What the two halves of the parser share: expressions (parse_expr.c) and statements (parse.c). */
#ifndef MP_MODEL_TMPL_PARSE_H
#define MP_MODEL_TMPL_PARSE_H

#include "model/tmpl/node.h"

enum { MP_TP_MAX_DEPTH = 150 }; /* of brackets and blocks in each other: about 1 KiB of stack each */

typedef struct mp_tparser {
    mp_tmem       *mem;
    const mp_ttok *tok;      /* the current token */
    int            depth, loops;
    uint8_t        specials; /* MP_TC_* that the macro being read has mentioned */
} mp_tparser;

mp_err mp_tp_fail(const mp_tparser *p, const char *expected); /* "expected ..., found ..." */
mp_err mp_tp_enter(mp_tparser *p);                            /* one level deeper; leave with p->depth-- */
bool   mp_tp_at_name(const mp_tparser *p, const char *name);
bool   mp_tp_skip(mp_tparser *p, mp_ttok_kind kind);
bool   mp_tp_skip_name(mp_tparser *p, const char *name);
mp_err mp_tp_expect(mp_tparser *p, mp_ttok_kind kind);
mp_err mp_tp_name(mp_tparser *p, mp_tv *out); /* the text of a name token */
mp_err mp_tp_new(mp_tparser *p, mp_tnode_kind kind, mp_tnode **out);

/* Expressions. cond: whether "a if b else c" may stand here. */
mp_err mp_tp_expr(mp_tparser *p, bool cond, mp_tnode **out);
mp_err mp_tp_tuple(mp_tparser *p, bool cond, mp_tnode **out);
mp_err mp_tp_target(mp_tparser *p, bool namespaces, mp_tnode **out);
mp_err mp_tp_primary(mp_tparser *p, bool namespaces, mp_tnode **out);
mp_err mp_tp_filters(mp_tparser *p, mp_tnode *value, bool inline_first, mp_tnode **out);
#endif
