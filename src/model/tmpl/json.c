/* The caller's variables: JSON to values. jansson keeps the order of members and tells integers from reals; its own memory is freed
 * before the render begins. */
#include <jansson.h>
#include <string.h>

#include "model/tmpl/eval.h"

static mp_err copy_value(mp_tr *r, const json_t *j, int depth, mp_tv *out);

static mp_err copy_text(mp_tr *r, const char *s, size_t n, mp_tv *out)
{
    mp_tbuf buf = { .mem = &r->mem };
    mp_err err = mp_tbuf_add(&buf, s, n);
    *out = mp_tbuf_value(&buf);
    return err;
}

static mp_err copy_array(mp_tr *r, const json_t *j, int depth, mp_tv *out)
{
    mp_err err = mp_tr_new_list(r, json_array_size(j), out);
    for (size_t i = 0; i < json_array_size(j) && !err; i++) {
        mp_tv element;
        err = copy_value(r, json_array_get(j, i), depth + 1, &element);
        if (!err) err = mp_tlist_add(&r->mem, out->list, element);
    }
    return err;
}

static mp_err copy_object(mp_tr *r, const json_t *j, int depth, mp_tv *out)
{
    mp_tdict *d = NULL;
    mp_err err = mp_tdict_new(&r->mem, &d);
    json_t *object = (json_t *)(uintptr_t)j; /* jansson's iterators take no const */
    for (void *it = json_object_iter(object); it && !err; it = json_object_iter_next(object, it)) {
        mp_tv key, value;
        const char *name = json_object_iter_key(it); /* the parser refuses a NUL in a name, whatever it allows in strings */
        err = copy_text(r, name, strlen(name), &key);
        if (!err) err = copy_value(r, json_object_iter_value(it), depth + 1, &value);
        if (!err) err = mp_tdict_set(&r->mem, d, key, value);
    }
    *out = mp_tv_dict(d);
    return err;
}

static mp_err copy_value(mp_tr *r, const json_t *j, int depth, mp_tv *out)
{
    *out = mp_tv_none();
    if (depth > MP_TV_MAX_DEPTH)
        return mp_fail(MP_E_USAGE, "the variables of the chat template are nested more than %d deep", MP_TV_MAX_DEPTH);
    switch (json_typeof(j)) {
    case JSON_OBJECT: return copy_object(r, j, depth, out);
    case JSON_ARRAY: return copy_array(r, j, depth, out);
    case JSON_STRING: return copy_text(r, json_string_value(j), json_string_length(j), out);
    case JSON_INTEGER: *out = mp_tv_int(json_integer_value(j)); return MP_OK;
    case JSON_REAL: *out = mp_tv_float(json_real_value(j)); return MP_OK;
    case JSON_TRUE: *out = mp_tv_bool(true); return MP_OK;
    case JSON_FALSE: *out = mp_tv_bool(false); return MP_OK;
    default: return MP_OK;
    }
}

mp_err mp_tv_from_json(mp_tr *r, const char *text, size_t n, mp_tv *out)
{
    json_error_t what;
    *out = mp_tv_none();
    json_t *j = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &what);
    if (!j) return mp_fail(MP_E_USAGE, "the variables of the chat template are not JSON: line %d, %s", what.line, what.text);
    mp_err err = copy_value(r, j, 0, out);
    json_decref(j);
    return err;
}
