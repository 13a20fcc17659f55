/* Characters and their classes, as the pre-tokenizers' patterns need them: a table for ASCII, utf8proc's categories for the rest. */
#ifndef MP_MODEL_TOK_UCHAR_H
#define MP_MODEL_TOK_UCHAR_H

#include <stddef.h>
#include <stdint.h>

/* Bits of a character's class; several may be set. \s is Unicode White_Space, \p{N} is Nd, Nl and No. */
enum {
    MP_U_LETTER = 1,   /* \p{L} */
    MP_U_NUMBER = 2,   /* \p{N} */
    MP_U_SPACE = 4,    /* \s */
    MP_U_MARK = 8,     /* \p{M} */
    MP_U_PUNCT = 16,   /* \p{P} */
    MP_U_SYMBOL = 32,  /* \p{S} */
    MP_U_UPPER = 64,   /* Lu, Lt */
    MP_U_LOWER = 128,  /* Ll; letters with neither are Lm, Lo */
    MP_U_NEWLINE = 256 /* \r or \n */
};

extern const uint16_t mp_uchar_ascii[128];

/* Class of a code point above 0x7F. */
unsigned mp_uchar_class(uint32_t cp);

/* Length of the well-formed UTF-8 character at s (n >= 1 bytes are there) and its code point; a byte that begins none counts as one
 * character of its own, U+FFFD (a symbol), so that any bytes can be cut into pieces. */
size_t mp_uchar_decode(const char *s, size_t n, uint32_t *cp);

/* The same, and the class: what the scanners' inner loops call. */
static inline unsigned mp_uchar_peek(const char *s, size_t n, size_t *len, uint32_t *cp)
{
    unsigned char c = (unsigned char)s[0];
    if (c < 0x80) {
        *len = 1;
        *cp = c;
        return mp_uchar_ascii[c];
    }
    *len = mp_uchar_decode(s, n, cp);
    return mp_uchar_class(*cp);
}
#endif
