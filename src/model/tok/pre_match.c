/* The scanners. Alternatives are tried in the order of the published expressions, each greedy: what a comment quotes is the alternative
 * that the code below it stands for. None looks at a character more than a few times, so a text of one endless run costs no more. */
#include "model/tok/pre_int.h"
#include "model/tok/uchar.h"

/* Bytes of the longest run of characters with a class bit in `any` (none of `never`), starting at s. */
static size_t run_of(const char *s, size_t n, unsigned any, unsigned never)
{
    size_t   at = 0, len;
    uint32_t cp;
    while (at < n) {
        unsigned cls = mp_uchar_peek(s + at, n - at, &len, &cp);
        if ((any && !(cls & any)) || (cls & never)) break;
        at += len;
    }
    return at;
}

/* `'s|'t|'re|'ve|'m|'ll|'d` at s, which is an apostrophe; `(?i)` folds ASCII only. */
static size_t contraction(const char *s, size_t n, bool fold)
{
    char a = n > 1 ? s[1] : 0, b = n > 2 ? s[2] : 0;
    if (fold && a >= 'A' && a <= 'Z') a = (char)(a + 32);
    if (fold && b >= 'A' && b <= 'Z') b = (char)(b + 32);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return 0;
}

/* `\s*[\r\n]+` (when asked for), `\s+(?!\S)`, `\s+` */
static size_t spaces(const char *s, size_t n, bool newlines)
{
    size_t   at = 0, len, after_newline = 0, last = 0;
    uint32_t cp;
    while (at < n) {
        unsigned cls = mp_uchar_peek(s + at, n - at, &len, &cp);
        if (!(cls & MP_U_SPACE)) break;
        last = at;
        at += len;
        if (cls & MP_U_NEWLINE) after_newline = at;
    }
    if (newlines && after_newline) return after_newline;
    return at == n || last == 0 ? at : last; /* a run before something else leaves its last character to it */
}

size_t mp_pre_gpt2(const mp_pre_stage *stage, const char *s, size_t n)
{
    (void)stage;
    static const struct { unsigned any, never; } runs[] = {
        { MP_U_LETTER, 0 }, { MP_U_NUMBER, 0 }, { 0, MP_U_SPACE | MP_U_LETTER | MP_U_NUMBER },
    };
    size_t m, blank = s[0] == ' ';
    if (s[0] == '\'' && (m = contraction(s, n, false))) return m;
    for (int i = 0; i < 3; i++) { /* ` ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+` */
        m = run_of(s + blank, n - blank, runs[i].any, runs[i].never);
        if (m) return blank + m;
    }
    return spaces(s, n, false);
}

/* `[^\r\n\p{L}\p{N}]?\p{L}+` */
static size_t word(const char *s, size_t n, unsigned letters)
{
    size_t   len, m;
    uint32_t cp;
    unsigned cls = mp_uchar_peek(s, n, &len, &cp);
    if (!(cls & (MP_U_LETTER | MP_U_NUMBER | MP_U_NEWLINE))) {
        m = run_of(s + len, n - len, letters, 0);
        if (m) return len + m;
        if (!(cls & letters)) return 0;
    }
    return run_of(s, n, letters, 0);
}

/* In o200k a character may be upper (Lu Lt), lower (Ll) or, as Lm Lo and M are, both. */
static bool may_be_upper(unsigned cls) { return (cls & MP_U_MARK) || ((cls & MP_U_LETTER) && !(cls & MP_U_LOWER)); }
static bool may_be_lower(unsigned cls) { return (cls & MP_U_MARK) || ((cls & MP_U_LETTER) && !(cls & MP_U_UPPER)); }

/* `U*L+` into *first, else `U+L*` into *second, both from s: the two alternatives fail or match together, so one pass does. */
static void cased_runs(const char *s, size_t n, size_t *first, size_t *second)
{
    size_t   at = 0, len, lower_end = 0;
    uint32_t cp;
    *first = *second = 0;
    while (at < n) {
        unsigned cls = mp_uchar_peek(s + at, n - at, &len, &cp);
        if (!may_be_upper(cls)) break;
        at += len;
        if (may_be_lower(cls)) lower_end = at; /* where U* would step back to when no L follows */
    }
    *second = at;
    while (at < n && may_be_lower(mp_uchar_peek(s + at, n - at, &len, &cp))) at += len;
    *first = at > *second ? at : lower_end;
}

/* `[^\r\n\p{L}\p{N}]?U*L+` then `[^\r\n\p{L}\p{N}]?U+L*`, the optional first character tried first with, then without it. */
static size_t cased_word(const char *s, size_t n)
{
    size_t   len, with[2] = { 0, 0 }, without[2];
    uint32_t cp;
    unsigned cls = mp_uchar_peek(s, n, &len, &cp);
    if (!(cls & (MP_U_LETTER | MP_U_NUMBER | MP_U_NEWLINE))) cased_runs(s + len, n - len, &with[0], &with[1]);
    cased_runs(s, n, &without[0], &without[1]);
    for (int i = 0; i < 2; i++) {
        if (with[i]) return len + with[i];
        if (without[i]) return without[i];
    }
    return 0;
}

static size_t digits(const char *s, size_t n, unsigned most)
{
    size_t   at = 0, len;
    uint32_t cp;
    for (unsigned i = 0; i < most && at < n && (mp_uchar_peek(s + at, n - at, &len, &cp) & MP_U_NUMBER); i++) at += len;
    return at;
}

/* ` ?[...]+[\r\n]*`, the set given as for run_of; slash: `[\r\n/]*` */
static size_t punctuation(const char *s, size_t n, unsigned any, unsigned never, unsigned flags)
{
    size_t blank = s[0] == ' ', at = run_of(s + blank, n - blank, any, never);
    if (at == 0) return 0;
    at += blank;
    if (flags & MP_PRE_NO_TAIL) return at;
    while (at < n && (s[at] == '\r' || s[at] == '\n' || (s[at] == '/' && (flags & MP_PRE_SLASH)))) at++;
    return at;
}

size_t mp_pre_tiktoken(const mp_pre_stage *stage, const char *s, size_t n)
{
    unsigned flags = stage->flags, letters = MP_U_LETTER | (flags & MP_PRE_MARKS ? MP_U_MARK : 0);
    size_t   m;
    if ((flags & MP_PRE_CONTRACT) && s[0] == '\'' && (m = contraction(s, n, true))) return m;
    m = flags & MP_PRE_CASED ? cased_word(s, n) : word(s, n, letters);
    if (m && (flags & MP_PRE_CONTRACT_END) && m < n && s[m] == '\'') m += contraction(s + m, n - m, true);
    if (m) return m;
    if ((m = digits(s, n, stage->most))) return m;
    if ((m = punctuation(s, n, 0, MP_U_SPACE | MP_U_NUMBER | letters, flags))) return m;
    return spaces(s, n, true);
}

/* The stage's own digits and CJK runs were cut off before; what no alternative takes (control characters) stays a gap. */
size_t mp_pre_deepseek3(const mp_pre_stage *stage, const char *s, size_t n)
{
    (void)stage;
    size_t   len, m = 0;
    uint32_t cp;
    unsigned cls = mp_uchar_peek(s, n, &len, &cp), letters = MP_U_LETTER | MP_U_MARK;
    if (cp < 0x80 && (cls & (MP_U_PUNCT | MP_U_SYMBOL))) { /* `[ASCII punctuation][A-Za-z]+` */
        while (1 + m < n && (unsigned char)s[1 + m] < 0x80 && (mp_uchar_ascii[(unsigned char)s[1 + m]] & MP_U_LETTER)) m++;
        if (m) return 1 + m;
    }
    if (!(cls & (MP_U_NEWLINE | MP_U_LETTER | MP_U_PUNCT | MP_U_SYMBOL))) { /* `[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+` */
        m = run_of(s + len, n - len, letters, 0);
        if (m) return len + m;
    }
    if ((m = run_of(s, n, letters, 0))) return m;
    if ((m = punctuation(s, n, MP_U_PUNCT | MP_U_SYMBOL, 0, 0))) return m;
    return cls & MP_U_SPACE ? spaces(s, n, true) : 0;
}

static size_t run_in_set(const mp_pre_stage *stage, const char *s, size_t n)
{
    size_t   at = 0, len;
    uint32_t cp;
    unsigned count = 0;
    while (at < n && (stage->most == 0 || count < stage->most)) {
        unsigned cls = mp_uchar_peek(s + at, n - at, &len, &cp);
        if (!stage->set(cp, cls)) break;
        at += len;
        count++;
    }
    return count < stage->least ? 0 : at;
}

size_t mp_pre_run(const mp_pre_stage *stage, const char *s, size_t n)
{
    size_t   len, m;
    uint32_t cp;
    unsigned cls = mp_uchar_peek(s, n, &len, &cp);
    if (s[0] == ' ' ? stage->flags & (MP_PRE_BLANK | MP_PRE_SPACE) : (cls & MP_U_SPACE) && (stage->flags & MP_PRE_SPACE)) {
        m = run_in_set(stage, s + len, n - len);
        if (m) return len + m;
    }
    return run_in_set(stage, s, n);
}
