/* The last sentence of each thread. It is thread-local, like errno, so that a failing call needs no extra parameter. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_BYTES = 1024 };

static _Thread_local char text[TEXT_BYTES];

mp_err mp_fail(mp_err code, const char *format, ...) {
    char next[TEXT_BYTES]; /* apart from text, because an argument may be mp_err_text() itself */
    va_list args;
    va_start(args, format);
    vsnprintf(next, sizeof next, format, args);
    va_end(args);
    memcpy(text, next, sizeof text);
    return code;
}

const char *mp_err_text(void) {
    return text;
}

mp_err mp_fail_in(mp_err code, const char *prefix) {
    char old[TEXT_BYTES];
    memcpy(old, text, sizeof old);
    return mp_fail(code, "%s: %s", prefix, old);
}
