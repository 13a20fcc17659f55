/* Character classes. */
#include "model/tok/uchar.h"

#include <utf8proc.h>

#define C 0                                  /* control */
#define B MP_U_SPACE                         /* blank */
#define R (MP_U_SPACE | MP_U_NEWLINE)        /* return */
#define P MP_U_PUNCT
#define S MP_U_SYMBOL
#define N MP_U_NUMBER
#define U (MP_U_LETTER | MP_U_UPPER)
#define L (MP_U_LETTER | MP_U_LOWER)

const uint16_t mp_uchar_ascii[128] = {
    C, C, C, C, C, C, C, C, C, B, R, B, B, R, C, C,
    C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C,
    B, P, P, P, S, P, P, P, P, P, P, S, P, P, P, P,
    N, N, N, N, N, N, N, N, N, N, P, P, S, S, S, P,
    P, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U,
    U, U, U, U, U, U, U, U, U, U, U, P, P, P, S, P,
    S, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, P, S, P, S, C,
};

/* By general category, in the order of utf8proc_category_t. Zl, Zs and Zp are White_Space as they stand. */
static const uint16_t by_category[] = {
    C, U, L, U, MP_U_LETTER, MP_U_LETTER, MP_U_MARK, MP_U_MARK, MP_U_MARK, N, N, N, P, P, P, P, P, P, P, S, S, S, S, B, B, B, C, C, C, C,
};

unsigned mp_uchar_class(uint32_t cp)
{
    if (cp == 0x85) return MP_U_SPACE; /* NEL: category Cc, yet White_Space */
    return by_category[utf8proc_category((utf8proc_int32_t)cp)];
}

/* Smallest code point that needs 2, 3, 4 bytes: anything less is overlong. */
static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };

size_t mp_uchar_decode(const char *s, size_t n, uint32_t *cp)
{
    unsigned char c = (unsigned char)s[0];
    size_t        len = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    *cp = 0xFFFD;
    if (len == 0 || len > n) return 1;
    uint32_t v = len == 1 ? c : (uint32_t)(c & (0x7F >> len));
    for (size_t i = 1; i < len; i++) {
        unsigned char t = (unsigned char)s[i];
        if ((t & 0xC0) != 0x80) return 1;
        v = v << 6 | (t & 0x3F);
    }
    if (v < least[len] || v > 0x10FFFF || (v >= 0xD800 && v <= 0xDFFF)) return 1;
    *cp = v;
    return len;
}
