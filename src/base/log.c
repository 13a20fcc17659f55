/* Formats a message and hands it to the sink. Nothing here prints: what is done with a message is the program's business. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

enum { MESSAGE_BYTES = 1024 }; /* longer messages are cut */

void mp_logf(const mp_log *log, mp_log_level level, const char *format, ...) {
    if (!log || !log->fn || level > log->level) return;
    char message[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    log->fn(log->user, level, message);
}
