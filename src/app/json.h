/* JSON out and in (jansson), safe for text that is not UTF-8: a model may stop in the middle of a character. */
#ifndef APP_JSON_H
#define APP_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/* A JSON string of n bytes; bytes that are not UTF-8 become U+FFFD. */
json_t *app_json_text(const char *text, size_t n);
json_t *app_json_tokens(const int32_t *tokens, size_t n);

/* One object and a newline; numbers with 17 digits only where needed. Errors: MP_E_FAILED when it cannot be written. */
mp_err app_json_print(FILE *to, const json_t *value);

/* Parses n bytes that must be one object. what: its name in the sentence. Errors: MP_E_USAGE with line and column. */
mp_err app_json_parse(const char *text, size_t n, const char *what, json_t **out);
#endif
