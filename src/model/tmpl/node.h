/* The compiled form of a template: tokens, then a tree of nodes whose names are already resolved to slots of frames. All of it is
 * immutable after mp_tmpl_compile and lives in the template's own arena. */
#ifndef MP_MODEL_TMPL_NODE_H
#define MP_MODEL_TMPL_NODE_H

#include "model/tmpl/value.h"

/* ---- tokens ---- */

typedef enum mp_ttok_kind {
    MP_TT_EOF, MP_TT_DATA, MP_TT_VAR_BEGIN, MP_TT_VAR_END, MP_TT_BLOCK_BEGIN, MP_TT_BLOCK_END,
    MP_TT_NAME, MP_TT_STRING, MP_TT_INT, MP_TT_FLOAT,
    /* operators */
    MP_TT_ADD, MP_TT_SUB, MP_TT_MUL, MP_TT_DIV, MP_TT_FLOORDIV, MP_TT_MOD, MP_TT_POW, MP_TT_TILDE,
    MP_TT_EQ, MP_TT_NE, MP_TT_LT, MP_TT_LE, MP_TT_GT, MP_TT_GE, MP_TT_IN, MP_TT_NOT_IN, /* the last two are made by the parser */
    MP_TT_ASSIGN, MP_TT_DOT, MP_TT_COLON, MP_TT_PIPE, MP_TT_COMMA, MP_TT_SEMICOLON,
    MP_TT_LPAREN, MP_TT_RPAREN, MP_TT_LBRACKET, MP_TT_RBRACKET, MP_TT_LBRACE, MP_TT_RBRACE,
} mp_ttok_kind;

typedef struct mp_ttok {
    mp_ttok_kind kind;
    int          line;
    mp_tv        value; /* DATA, NAME, STRING: the text; INT, FLOAT: the number */
} mp_ttok;

typedef struct mp_ttoks {
    mp_ttok *v; /* ends with EOF */
    uint32_t n, room;
} mp_ttoks;

/* Splits text into tokens, with Jinja's rules for whitespace (trim_blocks, lstrip_blocks, one final newline dropped).
 * Errors: MP_E_MODEL with the line. */
mp_err mp_tmpl_lex(mp_tmem *mem, const char *text, size_t n, mp_ttoks *out);

/* ---- the tree ---- */

/* What a node's fields mean, by kind. Lists are chained by next. */
typedef enum mp_tnode_kind {
    /* expressions */
    MP_TN_CONST,    /* value */
    MP_TN_NAME,     /* name, hops, slot; op: how it is used (mp_tuse) */
    MP_TN_LIST,     /* list */
    MP_TN_TUPLE,    /* list; also as a target */
    MP_TN_DICT,     /* list of PAIR */
    MP_TN_PAIR,     /* a: b */
    MP_TN_ATTR,     /* a.name */
    MP_TN_ITEM,     /* a[b] */
    MP_TN_SLICE,    /* a[b:c:d], each of b, c, d may be absent; a is absent where it stands among several subscripts */
    MP_TN_CALL,     /* a(list) */
    MP_TN_KEYWORD,  /* in a list of arguments: name = a */
    MP_TN_SPREAD,   /* in a list of arguments: *a, or **a when flag */
    MP_TN_FILTER,   /* a | name(list); a absent: of a block; fn when the filter is known */
    MP_TN_TEST,     /* a is name(list); fn */
    MP_TN_NOT, MP_TN_NEG, MP_TN_POS, /* a */
    MP_TN_BINARY,   /* a op b; op: an mp_ttok_kind */
    MP_TN_AND, MP_TN_OR, /* a, b */
    MP_TN_CONCAT,   /* list */
    MP_TN_COMPARE,  /* a, then list of OPERAND */
    MP_TN_OPERAND,  /* op a */
    MP_TN_COND,     /* b if a else c (may be absent) */
    MP_TN_NSREF,    /* target ns.attr: a is the name of the namespace, name the attribute */
    /* statements */
    MP_TN_DATA,     /* value */
    MP_TN_PRINT,    /* list */
    MP_TN_IF,       /* a, body, orelse (an IF for elif) */
    MP_TN_FOR,      /* a target, b iterable, c test or absent, flag recursive, body, orelse; scopes: body, orelse, test */
    MP_TN_SET,      /* a target = b */
    MP_TN_SETBLOCK, /* a target, b FILTER chain or absent, body; scope */
    MP_TN_MACRO,    /* name, hops, slot, list of PARAM, body, op: mp_tcatch; scope */
    MP_TN_PARAM,    /* a: NAME, b: default or absent */
    MP_TN_CALLBLOCK,/* a: CALL, b: a MACRO (the caller) */
    MP_TN_FILTERBLOCK, /* b FILTER chain, body; scope */
    MP_TN_WITH,     /* list of PARAM, body; scope */
    MP_TN_SCOPE,    /* body; scope */
    MP_TN_BREAK, MP_TN_CONTINUE,
} mp_tnode_kind;

typedef enum mp_tuse { MP_TU_LOAD, MP_TU_STORE, MP_TU_PARAM } mp_tuse;
enum { MP_TC_CALLER = 1, MP_TC_VARARGS = 2, MP_TC_KWARGS = 4 }; /* MACRO.op: which special names its body uses */

typedef struct mp_tnode mp_tnode;
struct mp_tnode {
    uint8_t   kind, op;
    bool      flag;
    uint16_t  hops, slot;
    int       line;
    mp_tv     name; /* a string */
    mp_tv     value;
    mp_tnode *a, *b, *c, *d;
    mp_tnode *list, *body, *orelse, *next;
    const struct mp_tbuiltin *fn;
    struct mp_tscope         *scope, *else_scope, *test_scope;
};

/* How a slot gets its value when a frame is entered. */
typedef enum mp_tload {
    MP_TL_PARAM,   /* set by who enters the frame */
    MP_TL_RESOLVE, /* from the render's variables, then the global functions */
    MP_TL_ALIAS,   /* a copy of an outer frame's slot */
    MP_TL_UNSET,
} mp_tload;

typedef struct mp_tname {
    mp_tv    name;
    mp_tload load;
    uint16_t hops, slot;  /* ALIAS */
    uint32_t first_store; /* when the analysis first saw it stored; 0 = never */
} mp_tname;

typedef struct mp_tscope {
    struct mp_tscope *outer;
    mp_tname         *name;
    uint16_t          n, room;
} mp_tscope;

struct mp_tmpl {
    mp_tmem    mem;
    mp_tnode  *body;
    mp_tscope *scope;
};

/* Builds the tree of body. Errors: MP_E_MODEL with the line. */
mp_err mp_tmpl_parse(mp_tmem *mem, const mp_ttoks *toks, mp_tnode **body);

/* Resolves every name of the tree to a slot, and filters and tests to functions. */
mp_err mp_tmpl_resolve(mp_tmem *mem, mp_tnode *body, mp_tscope **scope);

#endif
