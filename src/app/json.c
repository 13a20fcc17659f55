/* JSON out and in. Whatever a model writes must come out as valid JSON. */
#include "app/json.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 character at p (at most n bytes), or 0 when it is not one (RFC 3629: shortest form, no surrogates, up to U+10FFFF). */
static size_t character(const unsigned char *p, size_t n) {
    size_t k = p[0] < 0x80 ? 1 : p[0] >= 0xC2 && p[0] < 0xE0 ? 2 : p[0] >= 0xE0 && p[0] < 0xF0 ? 3 : p[0] >= 0xF0 && p[0] < 0xF5 ? 4 : 0;
    if (k == 0 || k > n) return 0;
    for (size_t i = 1; i < k; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    bool overlong = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
    bool outside = (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF4 && p[1] > 0x8F);
    return overlong || outside ? 0 : k;
}

json_t *app_json_text(const char *text, size_t n) {
    static const char REPLACEMENT[] = "\xEF\xBF\xBD";
    json_t *plain = json_stringn(text ? text : "", text ? n : 0);
    if (plain) return plain; /* the usual case: jansson checked it */
    char *copy = malloc(3 * n + 1);
    size_t used = 0;
    if (!copy) return NULL;
    for (size_t i = 0; i < n;) {
        size_t k = character((const unsigned char *)text + i, n - i);
        memcpy(copy + used, k ? text + i : REPLACEMENT, k ? k : 3);
        used += k ? k : 3;
        i += k ? k : 1;
    }
    json_t *string = json_stringn(copy, used);
    free(copy);
    return string;
}

json_t *app_json_tokens(const int32_t *tokens, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_integer(tokens[i]));
    return list;
}

void app_put(json_t *object, const char *key, json_t *value) {
    json_object_set_new(object, key, value);
}

void app_put_int(json_t *object, const char *key, uint64_t value) {
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

void app_put_real(json_t *object, const char *key, double value) {
    json_object_set_new(object, key, isfinite(value) ? json_real(value) : json_null());
}

void app_put_bool(json_t *object, const char *key, bool value) {
    json_object_set_new(object, key, json_boolean(value));
}

void app_put_text(json_t *object, const char *key, const char *text) {
    json_object_set_new(object, key, app_json_text(text, text ? strlen(text) : 0));
}

mp_err app_json_print(FILE *to, const json_t *value) {
    if (!value) return mp_fail(MP_E_FAILED, "out of memory while writing JSON");
    if (json_dumpf(value, to, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0 || fputc('\n', to) == EOF || fflush(to) != 0)
        return mp_fail(MP_E_FAILED, "cannot write the result: %s", strerror(errno));
    return MP_OK;
}

mp_err app_json_parse(const char *text, size_t n, const char *what, json_t **out) {
    json_error_t where;
    *out = json_loadb(text, n, 0, &where);
    if (!*out) return mp_fail(MP_E_USAGE, "%s is not valid JSON: %s (line %d, column %d)", what, where.text, where.line, where.column);
    if (json_is_object(*out)) return MP_OK;
    json_decref(*out);
    *out = NULL;
    return mp_fail(MP_E_USAGE, "%s must be a JSON object", what);
}
