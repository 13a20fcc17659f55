/* Lists, dicts, equality and hashing of template values, with Python's rules: 1 == 1.0 == True, and dicts keep their order. */
#include "model/tmpl/value.h"

#include <math.h>
#include <string.h>

enum { SMALL_DICT = 8, MAX_ELEMENTS = 1 << 28 };

mp_tv mp_tbuf_value(const mp_tbuf *buf) { return mp_tv_str(buf->p ? buf->p : "", buf->n); }

mp_tv mp_tv_undefined(int flag, const char *s, size_t n)
{
    return (mp_tv){ .type = MP_TV_UNDEFINED, .flag = (uint8_t)flag, .n = (uint32_t)n, .s = s };
}

bool mp_tv_is_text(mp_tv v, const char *text) { return v.type == MP_TV_STR && v.n == strlen(text) && memcmp(v.s, text, v.n) == 0; }

int mp_tv_shown(mp_tv v, int most)
{
    if (v.n <= (uint32_t)most) return (int)v.n;
    while (most > 0 && (v.s[most] & 0xc0) == 0x80) most--;
    return most;
}

int64_t mp_tv_length(mp_tv v)
{
    switch (v.type) {
    case MP_TV_LIST:
    case MP_TV_TUPLE: return v.list->n;
    case MP_TV_DICT:
    case MP_TV_VIEW: return v.dict->n;
    case MP_TV_RANGE: return v.range->n;
    case MP_TV_UNDEFINED: return 0;
    case MP_TV_STR: {
        int64_t chars = 0;
        for (uint32_t i = 0; i < v.n; i++) chars += (v.s[i] & 0xc0) != 0x80;
        return chars;
    }
    default: return -1;
    }
}

bool mp_tv_truth(mp_tv v)
{
    switch (v.type) {
    case MP_TV_MISSING:
    case MP_TV_UNDEFINED:
    case MP_TV_NONE: return false;
    case MP_TV_BOOL: return v.b;
    case MP_TV_INT: return v.i != 0;
    case MP_TV_FLOAT: return v.f != 0;
    case MP_TV_STR: return v.n > 0;
    default: return mp_tv_length(v) != 0;
    }
}

const char *mp_tv_type_name(mp_tv v)
{
    static const char *const names[] = {
        [MP_TV_MISSING] = "missing", [MP_TV_UNDEFINED] = "Undefined", [MP_TV_NONE] = "NoneType", [MP_TV_BOOL] = "bool",
        [MP_TV_INT] = "int", [MP_TV_FLOAT] = "float", [MP_TV_STR] = "str", [MP_TV_LIST] = "list", [MP_TV_TUPLE] = "tuple",
        [MP_TV_DICT] = "dict", [MP_TV_VIEW] = "dict view", [MP_TV_RANGE] = "range", [MP_TV_ITER] = "generator",
        [MP_TV_NAMESPACE] = "Namespace", [MP_TV_FUNC] = "function", [MP_TV_LOOP] = "LoopContext", [MP_TV_CYCLER] = "Cycler",
        [MP_TV_JOINER] = "Joiner",
    };
    return names[v.type];
}

int mp_tv_depth(mp_tv v)
{
    if (mp_tv_is_array(v)) return v.list->depth;
    if (v.type == MP_TV_DICT || v.type == MP_TV_VIEW) return v.dict->depth;
    if (v.type == MP_TV_ITER) return v.iter->list->depth;
    return 0;
}

uint32_t mp_tv_weight(mp_tv v)
{
    if (mp_tv_is_array(v)) return v.list->weight;
    if (v.type == MP_TV_DICT || v.type == MP_TV_VIEW) return v.dict->weight;
    if (v.type == MP_TV_ITER) return v.iter->list->weight;
    return v.type == MP_TV_STR ? 1 + v.n / 32 : 1;
}

/* ---- equality and hashing ---- */

static bool equal_arrays(const mp_tlist *a, const mp_tlist *b)
{
    if (a->n != b->n) return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (!mp_tv_equal(a->v[i], b->v[i])) return false;
    return true;
}

static bool equal_dicts(const mp_tdict *a, const mp_tdict *b)
{
    if (a->n != b->n) return false;
    for (uint32_t i = 0; i < a->n; i++) {
        const mp_tv *other = mp_tdict_get(b, a->pair[i].key);
        if (!other || !mp_tv_equal(a->pair[i].value, *other)) return false;
    }
    return true;
}

static bool equal_ranges(const mp_trange *a, const mp_trange *b)
{
    if (a->n != b->n) return false;
    return a->n == 0 || (a->start == b->start && (a->n == 1 || a->step == b->step));
}

bool mp_tv_equal(mp_tv a, mp_tv b)
{
    if (mp_tv_is_int(a) && mp_tv_is_int(b)) return mp_tv_as_int(a) == mp_tv_as_int(b);
    if (mp_tv_is_number(a) && mp_tv_is_number(b)) return mp_tv_as_float(a) == mp_tv_as_float(b);
    if (a.type != b.type) return false;
    switch (a.type) {
    case MP_TV_MISSING:
    case MP_TV_UNDEFINED:
    case MP_TV_NONE: return true;
    case MP_TV_STR: return a.n == b.n && memcmp(a.s, b.s, a.n) == 0;
    case MP_TV_LIST:
    case MP_TV_TUPLE: return equal_arrays(a.list, b.list);
    case MP_TV_DICT: return equal_dicts(a.dict, b.dict);
    case MP_TV_VIEW: return a.flag == b.flag && a.flag != MP_TV_VALUES && equal_dicts(a.dict, b.dict);
    case MP_TV_RANGE: return equal_ranges(a.range, b.range);
    default: return mp_tv_same(a, b);
    }
}

bool mp_tv_same(mp_tv a, mp_tv b)
{
    if (a.type != b.type) return false;
    switch (a.type) {
    case MP_TV_NONE: return true;
    case MP_TV_BOOL: return a.b == b.b;
    case MP_TV_INT: return a.i == b.i;
    case MP_TV_FLOAT: return a.f == b.f;
    case MP_TV_STR: return mp_tv_equal(a, b);
    default: return a.list == b.list;
    }
}

bool mp_tv_hashable(mp_tv v)
{
    if (v.type == MP_TV_LIST || v.type == MP_TV_DICT || v.type == MP_TV_VIEW) return false;
    if (v.type == MP_TV_TUPLE)
        for (uint32_t i = 0; i < v.list->n; i++)
            if (!mp_tv_hashable(v.list->v[i])) return false;
    return true;
}

static uint32_t hash_bytes(uint32_t h, const void *p, size_t n)
{
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 16777619u;
    return h;
}

static uint32_t hash(mp_tv v)
{
    uint32_t h = 2166136261u;
    if (mp_tv_is_number(v)) {
        double f = mp_tv_as_float(v);
        if (f == 0) f = 0; /* -0.0 equals 0.0 */
        return hash_bytes(h, &f, sizeof(f));
    }
    if (v.type == MP_TV_STR) return hash_bytes(h, v.s, v.n);
    if (v.type == MP_TV_TUPLE) {
        for (uint32_t i = 0; i < v.list->n; i++) h = (h ^ hash(v.list->v[i])) * 16777619u;
        return h;
    }
    return h + v.type;
}

/* ---- lists ---- */

mp_err mp_tlist_new(mp_tmem *mem, size_t room, mp_tlist **out)
{
    *out = NULL;
    if (room > MAX_ELEMENTS) return mp_fail(MP_E_MODEL, "the chat template makes a list of %zu elements", room);
    mp_tlist *list = NULL;
    mp_err err = MP_TNEW(mem, mp_tlist, 1, &list);
    if (!err) err = MP_TNEW(mem, mp_tv, room, &list->v);
    if (err) return err;
    list->room = (uint32_t)room;
    list->depth = 1;
    list->weight = 1;
    *out = list;
    return MP_OK;
}

static mp_err nest(mp_tv child, uint16_t *depth, uint32_t *weight)
{
    int d = mp_tv_depth(child) + 1;
    if (d > MP_TV_MAX_DEPTH) return mp_fail(MP_E_MODEL, "values are nested more than %d deep", MP_TV_MAX_DEPTH);
    if (d > *depth) *depth = (uint16_t)d;
    *weight += mp_tv_weight(child);
    if (*weight > MP_TV_MAX_WEIGHT) return mp_fail(MP_E_MODEL, "a value has more than %d elements", MP_TV_MAX_WEIGHT);
    return MP_OK;
}

mp_err mp_tlist_add(mp_tmem *mem, mp_tlist *list, mp_tv v)
{
    mp_err err = nest(v, &list->depth, &list->weight);
    if (err) return err;
    if (list->n == list->room) {
        mp_tv *bigger = NULL;
        if (list->room > MAX_ELEMENTS / 2) return mp_fail(MP_E_MODEL, "a list has more than %d elements", MAX_ELEMENTS);
        uint32_t room = list->room ? 2 * list->room : 4;
        err = MP_TNEW(mem, mp_tv, room, &bigger);
        if (err) return err;
        if (list->n) memcpy(bigger, list->v, list->n * sizeof(mp_tv));
        list->v = bigger;
        list->room = room;
    }
    list->v[list->n++] = v;
    return MP_OK;
}

/* ---- dicts ---- */

mp_err mp_tdict_new(mp_tmem *mem, mp_tdict **out)
{
    mp_err err = MP_TNEW(mem, mp_tdict, 1, out);
    if (!err) (*out)->depth = 1;
    if (!err) (*out)->weight = 1;
    return err;
}

static const mp_tpair *find(const mp_tdict *d, mp_tv key, uint32_t h)
{
    if (!d->index) {
        for (uint32_t i = 0; i < d->n; i++)
            if (d->pair[i].hash == h && mp_tv_equal(d->pair[i].key, key)) return &d->pair[i];
        return NULL;
    }
    for (uint32_t at = h;; at++) {
        uint32_t i = d->index[at & (d->index_room - 1)];
        if (i == 0) return NULL;
        if (d->pair[i - 1].hash == h && mp_tv_equal(d->pair[i - 1].key, key)) return &d->pair[i - 1];
    }
}

static void index_pair(mp_tdict *d, uint32_t number)
{
    uint32_t at = d->pair[number].hash;
    while (d->index[at & (d->index_room - 1)] != 0) at++;
    d->index[at & (d->index_room - 1)] = number + 1;
}

static mp_err grow(mp_tmem *mem, mp_tdict *d)
{
    if (d->room > MAX_ELEMENTS / 2) return mp_fail(MP_E_MODEL, "a dict has more than %d members", MAX_ELEMENTS);
    uint32_t room = d->room ? 2 * d->room : 4;
    mp_tpair *bigger = NULL;
    uint32_t *index = NULL;
    mp_err err = MP_TNEW(mem, mp_tpair, room, &bigger);
    if (!err && room > SMALL_DICT) err = MP_TNEW(mem, uint32_t, 2 * (size_t)room, &index);
    if (err) return err;
    if (d->n) memcpy(bigger, d->pair, d->n * sizeof(mp_tpair));
    d->pair = bigger;
    d->room = room;
    d->index = index;
    d->index_room = 2 * room;
    for (uint32_t i = 0; index && i < d->n; i++) index_pair(d, i);
    return MP_OK;
}

mp_err mp_tdict_set(mp_tmem *mem, mp_tdict *d, mp_tv key, mp_tv value)
{
    uint32_t h = hash(key);
    mp_err err = d->space ? MP_OK : nest(value, &d->depth, &d->weight);
    if (!err && !d->space) err = nest(key, &d->depth, &d->weight);
    if (err) return err;
    mp_tpair *there = (mp_tpair *)find(d, key, h);
    if (there) {
        there->value = value;
        return MP_OK;
    }
    if (d->n == d->room) err = grow(mem, d);
    if (err) return err;
    d->pair[d->n] = (mp_tpair){ key, value, h };
    if (d->index) index_pair(d, d->n);
    d->n++;
    return MP_OK;
}

const mp_tv *mp_tdict_get(const mp_tdict *d, mp_tv key)
{
    const mp_tpair *there = find(d, key, hash(key));
    return there ? &there->value : NULL;
}

const mp_tv *mp_tdict_text(const mp_tdict *d, const char *key) { return mp_tdict_get(d, mp_tv_str(key, strlen(key))); }

mp_err mp_tpair_tuple(mp_tmem *mem, const mp_tpair *pair, mp_tv *out)
{
    mp_tlist *list = NULL;
    *out = mp_tv_none();
    mp_err err = mp_tlist_new(mem, 2, &list);
    if (!err) err = mp_tlist_add(mem, list, pair->key);
    if (!err) err = mp_tlist_add(mem, list, pair->value);
    if (!err) *out = mp_tv_tuple(list);
    return err;
}
