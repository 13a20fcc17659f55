/* UTF-8 text with Python's str rules: positions count code points. No function here allocates but those that take a buffer. */
#ifndef MP_MODEL_TMPL_TEXT_H
#define MP_MODEL_TMPL_TEXT_H

#include "model/tmpl/value.h"

/* The code point at p (valid UTF-8, p < end); *len: its bytes. */
uint32_t mp_text_decode(const char *p, const char *end, int *len);
mp_err   mp_text_put(mp_tbuf *buf, uint32_t code); /* a surrogate or beyond U+10FFFF becomes U+FFFD */
bool     mp_text_valid(const char *p, size_t n);   /* UTF-8 without surrogates and overlong forms */

bool mp_text_is_space(uint32_t code);     /* str.isspace of one character */
bool mp_text_is_printable(uint32_t code); /* what repr() shows as it is */
bool mp_text_is_line_end(uint32_t code);  /* what splitlines() splits at */

/* The byte offset of character `index` (0..length). */
size_t mp_text_offset(mp_tv s, int64_t index);
int64_t mp_text_chars(const char *p, size_t n);

/* strip: sides is a sum of these; chars MISSING or NONE: whitespace. */
enum { MP_TEXT_LEFT = 1, MP_TEXT_RIGHT = 2 };
mp_tv mp_text_strip(mp_tv s, mp_tv chars, int sides);

/* The byte offset of the first (last) `part` in s[from..n), or -1. */
int64_t mp_text_find(mp_tv s, mp_tv part, size_t from);
int64_t mp_text_rfind(mp_tv s, mp_tv part);

typedef enum mp_text_case { MP_TEXT_UPPER, MP_TEXT_LOWER, MP_TEXT_TITLE, MP_TEXT_CAPITALIZE, MP_TEXT_SWAP } mp_text_case;
mp_err mp_text_recase(mp_tbuf *buf, mp_tv s, mp_text_case how);

/* What all characters are, for isdigit and its kin. */
typedef enum mp_text_class {
    MP_TEXT_ALPHA, MP_TEXT_DIGIT, MP_TEXT_DECIMAL, MP_TEXT_NUMERIC, MP_TEXT_ALNUM, MP_TEXT_SPACE, MP_TEXT_ASCII, MP_TEXT_IS_UPPER,
    MP_TEXT_IS_LOWER, MP_TEXT_IS_TITLE,
} mp_text_class;
bool mp_text_is(mp_tv s, mp_text_class what);
bool mp_text_char_is(uint32_t code, mp_text_class what); /* up to MP_TEXT_ASCII */

/* Replaces up to count (< 0: all) of old by new. */
mp_err mp_text_replace(mp_tbuf *buf, mp_tv s, mp_tv old, mp_tv new_text, int64_t count);
mp_err mp_text_escape(mp_tbuf *buf, mp_tv s); /* & < > " ' for HTML */
#endif
