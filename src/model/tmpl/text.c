/* Python's str over UTF-8. Case mapping and classes of characters come from utf8proc; of mappings to several characters only that of
 * the sharp s is known. */
#include "model/tmpl/text.h"

#include <string.h>
#include <utf8proc.h>

uint32_t mp_text_decode(const char *p, const char *end, int *len)
{
    const unsigned char *u = (const unsigned char *)p;
    *len = 1;
    if (u[0] < 0x80) return u[0];
    int n = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    if (end - p < n) return 0xfffd;
    uint32_t code = u[0] & (0x7fu >> n);
    for (int i = 1; i < n; i++) code = code << 6 | (u[i] & 0x3fu);
    *len = n;
    return code;
}

mp_err mp_text_put(mp_tbuf *buf, uint32_t code)
{
    char c[4];
    if (code < 0x80) return mp_tbuf_byte(buf, (char)code);
    if ((code >= 0xd800 && code < 0xe000) || code > 0x10ffff) code = 0xfffd;
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code >>= 6) c[i] = (char)(0x80 | (code & 0x3f));
    c[0] = (char)((0xf00u >> n) | code);
    return mp_tbuf_add(buf, c, n);
}

bool mp_text_valid(const char *p, size_t n)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *u = (const unsigned char *)p;
    for (size_t i = 0; i < n;) {
        if (u[i] < 0x80) {
            i++;
            continue;
        }
        size_t len = u[i] >= 0xf0 ? 4 : u[i] >= 0xe0 ? 3 : 2;
        if (u[i] < 0xc2 || u[i] > 0xf4 || n - i < len) return false;
        for (size_t k = 1; k < len; k++)
            if ((u[i + k] & 0xc0) != 0x80) return false;
        int bytes;
        uint32_t code = mp_text_decode(p + i, p + n, &bytes);
        if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
        i += len;
    }
    return true;
}

bool mp_text_is_space(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

bool mp_text_is_line_end(uint32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool mp_text_is_printable(uint32_t c)
{
    if (c < 0x80) return c >= 32 && c < 127;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
    }
}

int64_t mp_text_chars(const char *p, size_t n)
{
    int64_t chars = 0;
    for (size_t i = 0; i < n; i++) chars += (p[i] & 0xc0) != 0x80;
    return chars;
}

size_t mp_text_offset(mp_tv s, int64_t index)
{
    size_t at = 0;
    while (index-- > 0 && at < s.n) {
        at++;
        while (at < s.n && (s.s[at] & 0xc0) == 0x80) at++;
    }
    return at;
}

/* ---- strip, find, replace ---- */

static bool strips(uint32_t code, mp_tv chars)
{
    if (chars.type != MP_TV_STR) return mp_text_is_space(code);
    int len;
    for (const char *p = chars.s, *end = chars.s + chars.n; p < end; p += len)
        if (mp_text_decode(p, end, &len) == code) return true;
    return false;
}

mp_tv mp_text_strip(mp_tv s, mp_tv chars, int sides)
{
    const char *from = s.s, *to = s.s + s.n;
    int len;
    while ((sides & MP_TEXT_LEFT) && from < to && strips(mp_text_decode(from, to, &len), chars)) from += len;
    while ((sides & MP_TEXT_RIGHT) && from < to) {
        const char *last = to - 1;
        while (last > from && (*last & 0xc0) == 0x80) last--;
        if (!strips(mp_text_decode(last, to, &len), chars)) break;
        to = last;
    }
    mp_tv out = s; /* keeps the flag */
    out.s = from;
    out.n = (uint32_t)(to - from);
    return out;
}

int64_t mp_text_find(mp_tv s, mp_tv part, size_t from)
{
    if (from > s.n) return -1;
    if (part.n == 0) return (int64_t)from;
    const char *at = memmem(s.s + from, s.n - from, part.s, part.n);
    return at ? at - s.s : -1;
}

int64_t mp_text_rfind(mp_tv s, mp_tv part)
{
    for (int64_t at = (int64_t)s.n - (int64_t)part.n; at >= 0; at--)
        if (part.n == 0 || (s.s[at] == part.s[0] && memcmp(s.s + at, part.s, part.n) == 0)) return at;
    return -1;
}

/* An empty old text matches before every character and at the end. */
static mp_err replace_nothing(mp_tbuf *buf, mp_tv s, mp_tv new_text, int64_t count)
{
    mp_err err = MP_OK;
    for (size_t at = 0; at <= s.n && !err;) {
        size_t next = at == s.n ? s.n + 1 : at + 1;
        while (next < s.n && (s.s[next] & 0xc0) == 0x80) next++;
        if (count != 0) err = mp_tbuf_add(buf, new_text.s, new_text.n);
        if (count > 0) count--;
        if (!err && at < s.n) err = mp_tbuf_add(buf, s.s + at, next - at);
        at = next;
    }
    return err;
}

mp_err mp_text_replace(mp_tbuf *buf, mp_tv s, mp_tv old, mp_tv new_text, int64_t count)
{
    if (old.n == 0) return replace_nothing(buf, s, new_text, count);
    size_t from = 0;
    mp_err err = MP_OK;
    while (count != 0 && !err) {
        int64_t at = mp_text_find(s, old, from);
        if (at < 0) break;
        err = mp_tbuf_add(buf, s.s + from, (size_t)at - from);
        if (!err) err = mp_tbuf_add(buf, new_text.s, new_text.n);
        from = (size_t)at + old.n;
        if (count > 0) count--;
    }
    return err ? err : mp_tbuf_add(buf, s.s + from, s.n - from);
}

mp_err mp_text_escape(mp_tbuf *buf, mp_tv s)
{
    mp_err err = MP_OK;
    for (uint32_t i = 0; i < s.n && !err; i++) {
        switch (s.s[i]) {
        case '&': err = mp_tbuf_text(buf, "&amp;"); break;
        case '<': err = mp_tbuf_text(buf, "&lt;"); break;
        case '>': err = mp_tbuf_text(buf, "&gt;"); break;
        case '"': err = mp_tbuf_text(buf, "&#34;"); break;
        case '\'': err = mp_tbuf_text(buf, "&#39;"); break;
        default: err = mp_tbuf_byte(buf, s.s[i]);
        }
    }
    return err;
}

/* ---- case and classes ---- */

static bool is_upper(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_LU || (c >= 0x2160 && c <= 0x216f) || (c >= 0x24b6 && c <= 0x24cf);
}

static bool is_lower(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_LL || c == 0xaa || c == 0xba || (c >= 0x2170 && c <= 0x217f) || (c >= 0x24d0 && c <= 0x24e9);
}

static bool is_cased(uint32_t c)
{
    return is_upper(c) || is_lower(c) || utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_LT;
}

static uint32_t lower_of(uint32_t c) { return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c); }

static mp_err put_upper(mp_tbuf *buf, uint32_t c, bool title)
{
    if (c == 0xdf) return mp_tbuf_text(buf, title ? "Ss" : "SS");
    return mp_text_put(buf, (uint32_t)(title ? utf8proc_totitle((utf8proc_int32_t)c) : utf8proc_toupper((utf8proc_int32_t)c)));
}

mp_err mp_text_recase(mp_tbuf *buf, mp_tv s, mp_text_case how)
{
    mp_err err = MP_OK;
    bool after_cased = false; /* for title */
    int len;
    for (const char *p = s.s, *end = s.s + s.n; p < end && !err; p += len) {
        uint32_t c = mp_text_decode(p, end, &len);
        bool up = how == MP_TEXT_UPPER || (how == MP_TEXT_TITLE && !after_cased) || (how == MP_TEXT_CAPITALIZE && p == s.s) ||
                  (how == MP_TEXT_SWAP && is_lower(c));
        if (how == MP_TEXT_SWAP && !is_cased(c)) err = mp_text_put(buf, c);
        else if (up) err = put_upper(buf, c, how == MP_TEXT_TITLE || how == MP_TEXT_CAPITALIZE);
        else err = mp_text_put(buf, lower_of(c));
        after_cased = is_cased(c);
    }
    return err;
}

static bool is_numeric(uint32_t c, mp_text_class what)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    if (k == UTF8PROC_CATEGORY_ND) return true;
    if (what == MP_TEXT_DECIMAL) return false;
    bool super = c == 0xb2 || c == 0xb3 || c == 0xb9 || c == 0x2070 || (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
                 (c >= 0x2460 && c <= 0x2468);
    return super || (what != MP_TEXT_DIGIT && (k == UTF8PROC_CATEGORY_NO || k == UTF8PROC_CATEGORY_NL));
}

static bool is_alpha(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool mp_text_char_is(uint32_t c, mp_text_class what)
{
    switch (what) {
    case MP_TEXT_ALPHA: return is_alpha(c);
    case MP_TEXT_ALNUM: return is_alpha(c) || is_numeric(c, what);
    case MP_TEXT_SPACE: return mp_text_is_space(c);
    case MP_TEXT_ASCII: return c < 0x80;
    default: return is_numeric(c, what);
    }
}

/* isupper and islower want one cased character at least and none of the other case; istitle wants words as title() makes them. */
static bool case_is(mp_tv s, mp_text_class what)
{
    bool any = false, after_cased = false;
    int len;
    for (const char *p = s.s, *end = s.s + s.n; p < end; p += len) {
        uint32_t c = mp_text_decode(p, end, &len);
        if (!is_cased(c)) {
            after_cased = false;
            continue;
        }
        bool want_lower = what == MP_TEXT_IS_LOWER || (what == MP_TEXT_IS_TITLE && after_cased);
        if (want_lower ? !is_lower(c) : is_lower(c)) return false;
        any = after_cased = true;
    }
    return any;
}

bool mp_text_is(mp_tv s, mp_text_class what)
{
    int len;
    if (what >= MP_TEXT_IS_UPPER) return case_is(s, what);
    for (const char *p = s.s, *end = s.s + s.n; p < end; p += len)
        if (!mp_text_char_is(mp_text_decode(p, end, &len), what)) return false;
    return s.n > 0 || what == MP_TEXT_ASCII;
}
