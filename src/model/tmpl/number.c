/* Numbers and text, with Python's rules. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/tmpl/eval.h"

/* digits: "d.ddde+xx" of the shortest %e that gives the number back. Python writes an exponent below 1e-4 and from 1e16 on. */
static mp_err put_shortest(mp_tbuf *buf, const char *sci)
{
    char digits[32], text[64];
    int n = 0, exponent = 0;
    const char *e = strchr(sci, 'e');
    for (const char *p = sci; p < e; p++)
        if (*p >= '0' && *p <= '9') digits[n++] = *p;
    while (n > 1 && digits[n - 1] == '0') n--;
    digits[n] = 0;
    exponent = atoi(e + 1);
    if (exponent < -4 || exponent >= 16)
        snprintf(text, sizeof(text), "%c%s%se%c%02d", digits[0], n > 1 ? "." : "", digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
    else if (exponent < 0) snprintf(text, sizeof(text), "0.%.*s%s", -exponent - 1, "0000", digits);
    else if (n <= exponent + 1) snprintf(text, sizeof(text), "%s%.*s.0", digits, exponent + 1 - n, "0000000000000000");
    else snprintf(text, sizeof(text), "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
    return mp_tbuf_text(buf, text);
}

mp_err mp_tbuf_float(mp_tbuf *buf, double f)
{
    char sci[40];
    if (isnan(f)) return mp_tbuf_text(buf, "nan");
    if (isinf(f)) return mp_tbuf_text(buf, f < 0 ? "-inf" : "inf");
    mp_err err = signbit(f) ? mp_tbuf_byte(buf, '-') : MP_OK;
    if (err) return err;
    f = fabs(f);
    for (int precision = 0; precision <= 17; precision++) {
        snprintf(sci, sizeof(sci), "%.*e", precision, f);
        if (strtod(sci, NULL) == f) break;
    }
    return put_shortest(buf, sci);
}

/* Copies s without surrounding whitespace and without single underscores between digits; false when it is too long for a number or has
 * a wrong underscore. */
static bool plain_number(mp_tv s, char *out, size_t room)
{
    size_t n = 0;
    s = mp_text_strip(s, mp_tv_none(), MP_TEXT_LEFT | MP_TEXT_RIGHT);
    for (uint32_t i = 0; i < s.n; i++) {
        char c = s.s[i];
        if (c == 0 || (c & 0x80) || n + 1 >= room) return false;
        if (c == '_') {
            bool between = i > 0 && i + 1 < s.n && s.s[i - 1] != '_' && s.s[i + 1] != '_';
            if (!between) return false;
            continue;
        }
        out[n++] = c;
    }
    out[n] = 0;
    return n > 0;
}

bool mp_text_to_int(mp_tv s, int base, int64_t *out)
{
    char text[128];
    char *p = text, *end;
    *out = 0;
    if (base != 0 && (base < 2 || base > 36)) return false;
    if (!plain_number(s, text, sizeof(text))) return false;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    if (p[0] == '0' && p[1] && p[2]) {
        char mark = (char)(p[1] | 0x20);
        int said = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
        if (said && (base == 0 || base == said)) {
            p += 2;
            base = said;
        }
    }
    if (base == 0 && p[0] == '0' && strspn(p, "0") != strlen(p)) return false; /* 010 means nothing in base 0 */
    if (*p == '-' || *p == '+' || *p == ' ' || (*p >= 9 && *p <= 13)) return false; /* what strtoull would take */
    if (base == 16 && p[0] == '0' && (p[1] | 0x20) == 'x') return false;
    errno = 0;
    unsigned long long u = strtoull(p, &end, base == 0 ? 10 : base);
    if (*end || end == p || errno || u > (negative ? 1ull << 63 : (1ull << 63) - 1)) return false;
    *out = negative ? (int64_t)(0 - u) : (int64_t)u;
    return true;
}

/* Only what Python takes: no hexadecimal floats, no "nan(...)". */
static bool float_letters(const char *text)
{
    const char *p = *text == '-' || *text == '+' ? text + 1 : text;
    if (strcasecmp(p, "inf") == 0 || strcasecmp(p, "infinity") == 0 || strcasecmp(p, "nan") == 0) return true;
    return strspn(p, "0123456789.eE+-") == strlen(p);
}

bool mp_text_to_float(mp_tv s, double *out)
{
    char text[512];
    char *end;
    *out = 0;
    if (!plain_number(s, text, sizeof(text)) || !float_letters(text)) return false;
    *out = strtod(text, &end);
    return *end == 0 && end != text;
}
