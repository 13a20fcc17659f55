/* Reading and printing sizes. Integer arithmetic only, so that neither the locale nor a rounding mode has a say. */
#include "base/size.h"

#include <stdbool.h>
#include <stdio.h>
#include <strings.h>

typedef struct unit {
    const char *name;
    uint64_t    bytes;
} unit;

static const unit units[] = {
    {"", 1},           {"b", 1},
    {"k", 1ull << 10}, {"ki", 1ull << 10}, {"kib", 1ull << 10}, {"kb", 1000},
    {"m", 1ull << 20}, {"mi", 1ull << 20}, {"mib", 1ull << 20}, {"mb", 1000000},
    {"g", 1ull << 30}, {"gi", 1ull << 30}, {"gib", 1ull << 30}, {"gb", 1000000000},
    {"t", 1ull << 40}, {"ti", 1ull << 40}, {"tib", 1ull << 40}, {"tb", 1000000000000},
};

static uint64_t unit_bytes(const char *name) {
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcasecmp(name, units[i].name)) return units[i].bytes;
    return 0;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

mp_err mp_size_parse(const char *text, uint64_t *out) {
    enum { MILLION = 1000000 }; /* six decimals count: with T they still fit 64 bits, and say a megabyte */
    *out = 0;
    const char *s = text;
    uint64_t whole = 0, millionths = 0;
    bool big = false, point = false;
    int digits = 0;
    for (; is_digit(*s); s++, digits++) {
        uint64_t d = (uint64_t)(*s - '0');
        if (whole > (UINT64_MAX - d) / 10) big = true;
        else whole = whole * 10 + d;
    }
    if (*s == '.') {
        point = true;
        s++;
        for (uint64_t place = MILLION / 10; is_digit(*s); s++, digits++, place /= 10)
            millionths += (uint64_t)(*s - '0') * place;
    }
    uint64_t each = unit_bytes(s);
    if (!digits || !each || (point && each == 1))
        return mp_fail(MP_E_USAGE, "\"%.40s\" is not a size; write it like 8G, 1.5G or 512M (1024) or 8GB (1000)", text);
    uint64_t part = millionths * each / MILLION;
    if (big || whole > (UINT64_MAX - part) / each) return mp_fail(MP_E_USAGE, "\"%.40s\" is too large a size", text);
    *out = whole * each + part;
    return MP_OK;
}

/* bytes / unit rounded to the nearest, in steps of a hundredth (shift is at least 10, so nothing is lost that matters) */
static uint64_t hundredths(uint64_t bytes, int shift) {
    uint64_t whole = bytes >> shift, rest = bytes & ((1ull << shift) - 1);
    if (shift > 40) { /* so that rest * 100 fits */
        rest >>= shift - 40;
        shift = 40;
    }
    return whole * 100 + ((rest * 100 + (1ull << (shift - 1))) >> shift);
}

char *mp_size_format(uint64_t bytes, char buf[MP_SIZE_TEXT]) {
    static const char letters[] = "BKMGTPE";
    int u = 0;
    while (u < 6 && bytes >> (10 * u) >= 1024) u++;
    if (u > 0 && u < 6 && hundredths(bytes, 10 * u) >= 102350) u++; /* would print as 1024 of a unit */
    if (u == 0 || (bytes & ((1ull << (10 * u)) - 1)) == 0) {
        snprintf(buf, MP_SIZE_TEXT, "%llu%c", (unsigned long long)(bytes >> (10 * u)), letters[u]);
        return buf;
    }
    unsigned h = (unsigned)hundredths(bytes, 10 * u);
    if (h < 1000) snprintf(buf, MP_SIZE_TEXT, "%u.%02u%c", h / 100, h % 100, letters[u]);
    else if (h < 9995) snprintf(buf, MP_SIZE_TEXT, "%u.%u%c", (h + 5) / 100, (h + 5) / 10 % 10, letters[u]);
    else snprintf(buf, MP_SIZE_TEXT, "%u%c", (h + 50) / 100, letters[u]);
    return buf;
}
