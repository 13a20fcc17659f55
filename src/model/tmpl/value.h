/* Values of the template language: Python's, as far as templates see them. All live in the arena of their render (or of the compiled
 * template, for constants) and never change once they are visible, except namespaces, iterators and loops.
 *
 *   | type 1 | flag 1 | - 2 | n 4 | pointer, int64, double or bool 8 |      16 bytes, passed by value
 */
#ifndef MP_MODEL_TMPL_VALUE_H
#define MP_MODEL_TMPL_VALUE_H

#include "model/tmpl/mem.h"

typedef enum mp_tv_type {
    MP_TV_MISSING,   /* no value at all: an argument that was not given, a name that was not set */
    MP_TV_UNDEFINED, /* Jinja's Undefined; s and n: the name or the message, flag says which */
    MP_TV_NONE,
    MP_TV_BOOL,
    MP_TV_INT,
    MP_TV_FLOAT,
    MP_TV_STR,       /* s[n]: UTF-8, not terminated */
    MP_TV_LIST,
    MP_TV_TUPLE,     /* list */
    MP_TV_DICT,
    MP_TV_VIEW,      /* of dict: keys(), values(), items() by flag */
    MP_TV_RANGE,
    MP_TV_ITER,      /* what Python has as a generator: can be walked once, has no length, is always true */
    MP_TV_NAMESPACE, /* dict */
    MP_TV_FUNC,
    MP_TV_LOOP,
    MP_TV_CYCLER,
    MP_TV_JOINER,
} mp_tv_type;

/* Flags. */
enum { MP_TV_NAME, MP_TV_ATTR, MP_TV_MESSAGE };      /* UNDEFINED: 'x' is undefined; no attribute 'x'; the text itself */
enum { MP_TV_PLAIN, MP_TV_MARKUP };                  /* STR: Markup escapes what is added to it */
enum { MP_TV_KEYS, MP_TV_VALUES, MP_TV_ITEMS };      /* VIEW */
enum { MP_TV_GROUP = 1 };                            /* TUPLE: from groupby, with .grouper and .list */

/* How deep lists and dicts can nest, so that what walks values may recurse; and how many elements they can hold, those of shared
 * members counted each time, so that walking ends ([x, x] again and again doubles). */
enum { MP_TV_MAX_DEPTH = 256, MP_TV_MAX_WEIGHT = 1 << 24 };

typedef struct mp_tlist  mp_tlist;
typedef struct mp_tdict  mp_tdict;
typedef struct mp_trange mp_trange;
typedef struct mp_titer  mp_titer;
typedef struct mp_tfunc  mp_tfunc;
typedef struct mp_tloop  mp_tloop;
typedef struct mp_tcycle mp_tcycle;

typedef struct mp_tv {
    uint8_t  type, flag;
    uint32_t n; /* STR, UNDEFINED: bytes */
    union {
        bool        b;
        int64_t     i;
        double      f;
        const char *s;
        mp_tlist   *list;
        mp_tdict   *dict;
        mp_trange  *range;
        mp_titer   *iter;
        mp_tfunc   *func;
        mp_tloop   *loop;
        mp_tcycle  *cycle;
    };
} mp_tv;

struct mp_tlist {
    mp_tv   *v;
    uint32_t n, room;
    uint16_t depth;  /* 1 + the deepest element's */
    uint32_t weight; /* 1 + the elements' */
};

typedef struct mp_tpair {
    mp_tv    key, value;
    uint32_t hash;
} mp_tpair;

struct mp_tdict {
    mp_tpair *pair; /* in the order of insertion */
    uint32_t  n, room;
    uint32_t *index; /* open addressing, pair number + 1; NULL while the dict is small */
    uint32_t  index_room;
    uint16_t  depth;
    uint32_t  weight;
    bool      space; /* a namespace's: neither depth nor weight count, it is compared by identity */
    bool      busy;  /* being printed: a namespace can contain itself */
};

struct mp_trange {
    int64_t start, stop, step, n;
};

struct mp_titer {
    mp_tlist *list;
    uint32_t  at;
};

struct mp_tcycle {
    mp_tlist *items; /* CYCLER */
    uint32_t  at;
    mp_tv     sep;   /* JOINER */
    bool      used;
};

static inline mp_tv mp_tv_none(void) { return (mp_tv){ .type = MP_TV_NONE }; }
static inline mp_tv mp_tv_bool(bool b) { return (mp_tv){ .type = MP_TV_BOOL, .b = b }; }
static inline mp_tv mp_tv_int(int64_t i) { return (mp_tv){ .type = MP_TV_INT, .i = i }; }
static inline mp_tv mp_tv_float(double f) { return (mp_tv){ .type = MP_TV_FLOAT, .f = f }; }
static inline mp_tv mp_tv_str(const char *s, size_t n) { return (mp_tv){ .type = MP_TV_STR, .n = (uint32_t)n, .s = s }; }
static inline mp_tv mp_tv_list(mp_tlist *list) { return (mp_tv){ .type = MP_TV_LIST, .list = list }; }
static inline mp_tv mp_tv_tuple(mp_tlist *list) { return (mp_tv){ .type = MP_TV_TUPLE, .list = list }; }
static inline mp_tv mp_tv_dict(mp_tdict *dict) { return (mp_tv){ .type = MP_TV_DICT, .dict = dict }; }
static inline bool  mp_tv_is_int(mp_tv v) { return v.type == MP_TV_INT || v.type == MP_TV_BOOL; } /* Python's bool is an int */
static inline int64_t mp_tv_as_int(mp_tv v) { return v.type == MP_TV_BOOL ? (int64_t)v.b : v.i; }
static inline bool   mp_tv_is_number(mp_tv v) { return mp_tv_is_int(v) || v.type == MP_TV_FLOAT; }
static inline double mp_tv_as_float(mp_tv v) { return v.type == MP_TV_FLOAT ? v.f : (double)mp_tv_as_int(v); }
static inline bool   mp_tv_is_array(mp_tv v) { return v.type == MP_TV_LIST || v.type == MP_TV_TUPLE; }
mp_tv mp_tbuf_value(const mp_tbuf *buf); /* its bytes as a string */
mp_tv mp_tv_undefined(int flag, const char *s, size_t n);
bool  mp_tv_is_text(mp_tv v, const char *zero_terminated); /* a string with exactly this text */
int   mp_tv_shown(mp_tv v, int most); /* how many of its bytes, whole characters, an error message shows: for %.*s */

bool        mp_tv_truth(mp_tv v);
const char *mp_tv_type_name(mp_tv v); /* Python's */
bool        mp_tv_equal(mp_tv a, mp_tv b);
bool        mp_tv_same(mp_tv a, mp_tv b); /* Python's `is` */
bool        mp_tv_hashable(mp_tv v);
int         mp_tv_depth(mp_tv v);
uint32_t    mp_tv_weight(mp_tv v);   /* how much work it is to walk it */
int64_t     mp_tv_length(mp_tv v); /* -1: it has none */

mp_err mp_tlist_new(mp_tmem *mem, size_t room, mp_tlist **out);
mp_err mp_tlist_add(mp_tmem *mem, mp_tlist *list, mp_tv v); /* MP_E_MODEL when it nests too deep */

mp_err mp_tdict_new(mp_tmem *mem, mp_tdict **out);
mp_err mp_tdict_set(mp_tmem *mem, mp_tdict *dict, mp_tv key, mp_tv value); /* key: hashable */
const mp_tv *mp_tdict_get(const mp_tdict *dict, mp_tv key);                /* NULL: not there */
const mp_tv *mp_tdict_text(const mp_tdict *dict, const char *key);         /* the same for a zero-terminated key */
mp_err mp_tpair_tuple(mp_tmem *mem, const mp_tpair *pair, mp_tv *out);     /* (key, value) */
#endif
