/* Sizes as people write and read them: "8G", "1.5G", "512MB". */
#ifndef MP_BASE_SIZE_H
#define MP_BASE_SIZE_H

#include <stdint.h>

#include "base/err.h"

enum { MP_SIZE_TEXT = 16 }; /* bytes that mp_size_format may write, with the final NUL */

/* Reads a size: digits, at most one point, then an optional unit in either case. K M G T (also Ki, KiB, ...) count in 1024,
 * KB MB GB TB in 1000, B or nothing in bytes. A fraction is cut to whole bytes and needs a unit. No sign, no blanks.
 * Errors: MP_E_USAGE with a sentence that quotes the text; *out is then 0. Test: tests/base/test_size.c. */
mp_err mp_size_parse(const char *text, uint64_t *out);

/* Writes bytes with three digits and a unit that counts in 1024: "7.96G", "17.3G", "512M", "0B". A whole number of units has
 * no decimals. Returns buf. */
char *mp_size_format(uint64_t bytes, char buf[MP_SIZE_TEXT]);

#endif
