/* JSON out and in (jansson), safe for text that is not UTF-8: a model may stop in the middle of a character. */
#ifndef APP_JSON_H
#define APP_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/* A JSON string of n bytes; bytes that are not UTF-8 become U+FFFD. */
json_t *app_json_text(const char *text, size_t n);
json_t *app_json_tokens(const int32_t *tokens, size_t n);

/* Members of an object, for objects of many. `put` takes over the value's reference. */
void app_put(json_t *object, const char *key, json_t *value);
void app_put_int(json_t *object, const char *key, uint64_t value);
void app_put_real(json_t *object, const char *key, double value); /* null when it is no number */
void app_put_bool(json_t *object, const char *key, bool value);
void app_put_text(json_t *object, const char *key, const char *text); /* NULL: "" */

/* One object and a newline; numbers with 17 digits only where needed. Errors: MP_E_FAILED when it cannot be written. */
mp_err app_json_print(FILE *to, const json_t *value);

/* Parses n bytes that must be one object. what: its name in the sentence. Errors: MP_E_USAGE with line and column. */
mp_err app_json_parse(const char *text, size_t n, const char *what, json_t **out);
#endif
