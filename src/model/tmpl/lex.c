/* Text to tokens. Outside of tags text is data; inside, Python-like tokens. Whitespace control is done here, so that the parser never
 * sees it: "-" strips all whitespace on its side, "+" keeps it; without a sign a block or comment eats the newline behind it
 * (trim_blocks) and the blanks before it when nothing else stands on its line (lstrip_blocks). */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/tmpl/node.h"
#include "model/tmpl/text.h"

enum { MAX_OPEN = 256, MAX_BYTES = 4 << 20 };

typedef struct lexer {
    mp_tmem    *mem;
    mp_ttoks   *out;
    const char *p, *end;
    int         line;
    bool        line_starting; /* what was read last ended with a newline */
    char        open[MAX_OPEN]; /* the closing brackets that are waited for */
    int         n_open;
} lexer;

static mp_err fail(const lexer *x, const char *what) { return mp_fail(MP_E_MODEL, "chat template, line %d: %s", x->line, what); }

static mp_err emit(lexer *x, mp_ttok_kind kind, mp_tv value)
{
    mp_ttoks *t = x->out;
    if (t->n == t->room) {
        mp_ttok *bigger = NULL;
        uint32_t room = t->room ? 2 * t->room : 256;
        mp_err err = MP_TNEW(x->mem, mp_ttok, room, &bigger);
        if (err) return err;
        if (t->n) memcpy(bigger, t->v, t->n * sizeof(mp_ttok));
        t->v = bigger;
        t->room = room;
    }
    t->v[t->n++] = (mp_ttok){ kind, x->line, value };
    return MP_OK;
}

/* Moves to `to`, counting lines. */
static void advance(lexer *x, const char *to)
{
    if (to == x->p) return;
    for (; x->p < to; x->p++) x->line += *x->p == '\n';
    x->line_starting = x->p[-1] == '\n';
}

static const char *skip_space(const char *p, const char *end)
{
    int len;
    while (p < end && mp_text_is_space(mp_text_decode(p, end, &len))) p += len;
    return p;
}

static bool starts(const char *p, const char *end, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(end - p) >= n && memcmp(p, text, n) == 0;
}

/* The end of a block or comment at p ("%}", "-%}", "+%}"): where the text after it begins; NULL when there is none at p. */
static const char *match_close(const char *p, const char *end, const char *close)
{
    char sign = p < end && (*p == '-' || *p == '+') ? *p : 0;
    if (sign) p++;
    if (!starts(p, end, close)) return NULL;
    p += 2;
    if (sign == '-') return skip_space(p, end);
    if (!sign && p < end && *p == '\n') p++;
    return p;
}

/* The word and the spaces around it; NULL when something else stands there. */
static const char *match_word(const char *p, const char *end, const char *word)
{
    p = skip_space(p, end);
    if (!starts(p, end, word)) return NULL;
    return skip_space(p + strlen(word), end);
}

/* What of the data [from, to) is kept before a tag with this sign. */
static const char *strip_before(const lexer *x, const char *from, const char *to, char sign, bool variable)
{
    if (sign == '-') {
        mp_tv kept = mp_text_strip(mp_tv_str(from, (size_t)(to - from)), mp_tv_none(), MP_TEXT_RIGHT);
        return from + kept.n;
    }
    if (sign == '+' || variable) return to;
    const char *line = to;
    while (line > from && line[-1] != '\n') line--;
    bool whole_line = line > from || x->line_starting;
    return whole_line && skip_space(line, to) == to ? line : to;
}

static mp_err emit_data(lexer *x, const char *from, const char *to)
{
    return to > from ? emit(x, MP_TT_DATA, mp_tv_str(from, (size_t)(to - from))) : MP_OK;
}

/* ---- inside of tags: strings and numbers ---- */

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 99;
}

/* \xHH, \uHHHH, \UHHHHHHHH: exactly `digits` of them. */
static mp_err put_hex(const lexer *x, mp_tbuf *buf, const char **p, const char *end, int digits)
{
    uint32_t code = 0;
    for (int i = 0; i < digits; i++, (*p)++) {
        if (*p >= end || digit_of(**p) > 15) return fail(x, "a \\x, \\u or \\U in a string has too few digits");
        code = code << 4 | (uint32_t)digit_of(**p);
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return fail(x, "a string names a character that does not exist");
    return mp_text_put(buf, code);
}

static mp_err put_octal(mp_tbuf *buf, const char **p, const char *end)
{
    uint32_t code = 0;
    for (int i = 0; i < 3 && *p < end && **p >= '0' && **p <= '7'; i++, (*p)++) code = code * 8 + (uint32_t)(**p - '0');
    return mp_text_put(buf, code);
}

/* One escape; *p stands behind the backslash. Unknown ones keep it, as in Python. */
static mp_err put_escape(const lexer *x, mp_tbuf *buf, const char **p, const char *end)
{
    static const char names[] = "\\'\"abfnrtv", codes[] = "\\'\"\a\b\f\n\r\t\v";
    char c = **p;
    if (c >= '0' && c <= '7') return put_octal(buf, p, end);
    (*p)++;
    if (c == '\n') return MP_OK;
    if (c == 'x') return put_hex(x, buf, p, end, 2);
    if (c == 'u') return put_hex(x, buf, p, end, 4);
    if (c == 'U') return put_hex(x, buf, p, end, 8);
    if (c == 'N') return fail(x, "\\N{...} in strings is not supported; write the character itself");
    const char *at = c ? strchr(names, c) : NULL;
    if (at) return mp_tbuf_byte(buf, codes[at - names]);
    mp_err err = mp_tbuf_byte(buf, '\\');
    return err ? err : mp_tbuf_byte(buf, c);
}

static mp_err unescape(const lexer *x, const char *p, const char *end, mp_tv *out)
{
    mp_tbuf buf = { .mem = x->mem };
    mp_err err = MP_OK;
    while (p < end && !err) {
        if (*p == '\\' && p + 1 < end) {
            p++;
            err = put_escape(x, &buf, &p, end);
        } else err = mp_tbuf_byte(&buf, *p++);
    }
    *out = mp_tbuf_value(&buf);
    return err;
}

static mp_err lex_string(lexer *x)
{
    const char *p = x->p + 1;
    bool escaped = false;
    while (p < x->end && *p != *x->p) {
        escaped = escaped || *p == '\\';
        p += *p == '\\' ? 2 : 1;
    }
    if (p >= x->end) return fail(x, "a string is not closed");
    mp_tv value = mp_tv_str(x->p + 1, (size_t)(p - x->p - 1));
    mp_err err = escaped ? unescape(x, x->p + 1, p, &value) : MP_OK;
    if (!err) err = emit(x, MP_TT_STRING, value);
    advance(x, p + 1);
    return err;
}

/* The end of digits of this base with single underscores between them; from when there are none. */
static const char *digits_end(const char *from, const char *end, int base)
{
    const char *p = from;
    while (p < end) {
        bool under = *p == '_' && p > from && p + 1 < end;
        if (digit_of(under ? p[1] : *p) >= base) break;
        p += under ? 2 : 1;
    }
    return p;
}

/* The end of a float at p, or NULL when it is none: it needs a fraction or an exponent. */
static const char *float_end(const char *p, const char *end)
{
    const char *at = digits_end(p, end, 10), *fraction = at;
    if (at < end && *at == '.') {
        const char *to = digits_end(at + 1, end, 10);
        if (to > at + 1) fraction = to;
    }
    const char *e = fraction;
    if (e < end && (*e == 'e' || *e == 'E')) {
        e++;
        if (e < end && (*e == '+' || *e == '-')) e++;
        const char *to = digits_end(e, end, 10);
        if (to > e) return to;
    }
    return fraction > at ? fraction : NULL;
}

/* The digits without underscores, zero-terminated. */
static mp_err plain_digits(const lexer *x, const char *p, const char *end, char **out)
{
    mp_tbuf buf = { .mem = x->mem };
    mp_err err = MP_OK;
    for (; p < end && !err; p++)
        if (*p != '_') err = mp_tbuf_byte(&buf, *p);
    if (!err) err = mp_tbuf_byte(&buf, 0);
    *out = buf.p;
    return err;
}

/* Where the digits of the integer at x->p lie. */
static void lex_integer(const lexer *x, int *base, const char **from, const char **to)
{
    const char *p = x->p;
    char mark = p + 1 < x->end && *p == '0' ? (char)(p[1] | 0x20) : 0;
    *base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
    *from = *base == 10 ? p : p + 2;
    if (*base != 10 && *from < x->end && **from == '_') (*from)++;
    *to = digits_end(*from, x->end, *base);
    if (*to == *from) { /* "0x" without digits: a zero, and then a name */
        *base = 10;
        *from = p;
        *to = p + 1;
    }
    if (*base == 10 && *p == '0') *to = digits_end(p, x->end, 1); /* zeros only, as in Python */
}

static mp_err lex_number(lexer *x)
{
    char *digits = NULL;
    bool after_dot = x->out->n > 0 && x->out->v[x->out->n - 1].kind == MP_TT_DOT;
    const char *end = after_dot ? NULL : float_end(x->p, x->end), *from = x->p;
    mp_tv value;
    mp_err err;
    if (end) {
        err = plain_digits(x, from, end, &digits);
        if (err) return err;
        value = mp_tv_float(strtod(digits, NULL));
    } else {
        int base;
        lex_integer(x, &base, &from, &end);
        err = plain_digits(x, from, end, &digits);
        if (err) return err;
        errno = 0;
        value = mp_tv_int(strtoll(digits, NULL, base));
        if (errno == ERANGE) return fail(x, "an integer does not fit in 64 bits");
    }
    err = emit(x, value.type == MP_TV_INT ? MP_TT_INT : MP_TT_FLOAT, value);
    advance(x, end);
    return err;
}

/* ---- inside of tags: names and operators ---- */

static bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80); }

static mp_err lex_name(lexer *x)
{
    const char *p = x->p;
    while (p < x->end && is_word(*p)) p++;
    mp_err err = emit(x, MP_TT_NAME, mp_tv_str(x->p, (size_t)(p - x->p)));
    advance(x, p);
    return err;
}

static mp_err track_brackets(lexer *x, char c)
{
    const char *opening = "([{", *closing = ")]}";
    const char *at = strchr(opening, c);
    if (at) {
        if (x->n_open == MAX_OPEN) return fail(x, "brackets are nested too deep");
        x->open[x->n_open++] = closing[at - opening];
        return MP_OK;
    }
    if (!strchr(closing, c)) return MP_OK;
    if (x->n_open == 0 || x->open[x->n_open - 1] != c)
        return mp_fail(MP_E_MODEL, "chat template, line %d: unexpected '%c'", x->line, c);
    x->n_open--;
    return MP_OK;
}

static mp_err lex_operator(lexer *x)
{
    static const struct { char text[3]; uint8_t kind; } ops[] = {
        { "//", MP_TT_FLOORDIV }, { "**", MP_TT_POW }, { "==", MP_TT_EQ }, { "!=", MP_TT_NE }, { ">=", MP_TT_GE }, { "<=", MP_TT_LE },
        { "+", MP_TT_ADD }, { "-", MP_TT_SUB }, { "/", MP_TT_DIV }, { "*", MP_TT_MUL }, { "%", MP_TT_MOD }, { "~", MP_TT_TILDE },
        { "[", MP_TT_LBRACKET }, { "]", MP_TT_RBRACKET }, { "(", MP_TT_LPAREN }, { ")", MP_TT_RPAREN }, { "{", MP_TT_LBRACE },
        { "}", MP_TT_RBRACE }, { ">", MP_TT_GT }, { "<", MP_TT_LT }, { "=", MP_TT_ASSIGN }, { ".", MP_TT_DOT }, { ":", MP_TT_COLON },
        { "|", MP_TT_PIPE }, { ",", MP_TT_COMMA }, { ";", MP_TT_SEMICOLON },
    };
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (!starts(x->p, x->end, ops[i].text)) continue;
        mp_err err = ops[i].text[1] ? MP_OK : track_brackets(x, ops[i].text[0]);
        if (!err) err = emit(x, (mp_ttok_kind)ops[i].kind, mp_tv_none());
        advance(x, x->p + strlen(ops[i].text));
        return err;
    }
    return mp_fail(MP_E_MODEL, "chat template, line %d: unexpected character '%c'", x->line, *x->p);
}

/* Everything up to and with the end of a tag. */
static mp_err lex_tag(lexer *x, bool variable)
{
    mp_err err = MP_OK;
    x->n_open = 0;
    while (!err && x->p < x->end) {
        const char *after = NULL;
        if (x->n_open == 0 && !variable) after = match_close(x->p, x->end, "%}");
        if (x->n_open == 0 && variable && starts(x->p, x->end, "-}}")) after = skip_space(x->p + 3, x->end);
        if (x->n_open == 0 && variable && starts(x->p, x->end, "}}")) after = x->p + 2;
        if (after) {
            err = emit(x, variable ? MP_TT_VAR_END : MP_TT_BLOCK_END, mp_tv_none());
            advance(x, after);
            return err;
        }
        const char *next = skip_space(x->p, x->end);
        if (next > x->p) advance(x, next);
        else if (*x->p >= '0' && *x->p <= '9') err = lex_number(x);
        else if (is_word(*x->p)) err = lex_name(x);
        else if (*x->p == '\'' || *x->p == '"') err = lex_string(x);
        else err = lex_operator(x);
    }
    return err; /* the end of the text inside of a tag: the parser says what is missing */
}

/* ---- outside of tags ---- */

static mp_err lex_comment(lexer *x)
{
    for (const char *p = x->p; p < x->end; p++) {
        const char *after = match_close(p, x->end, "#}");
        if (!after) continue;
        advance(x, after);
        return MP_OK;
    }
    return fail(x, "a comment is not closed");
}

/* {% raw %}: x->p stands behind its opening tag. */
static mp_err lex_raw(lexer *x)
{
    for (const char *p = x->p; p < x->end; p++) {
        if (!starts(p, x->end, "{%")) continue;
        const char *q = p + 2;
        char sign = q < x->end && (*q == '-' || *q == '+') ? *q++ : 0;
        q = match_word(q, x->end, "endraw");
        const char *after = q ? match_close(q, x->end, "%}") : NULL;
        if (!after) continue;
        mp_err err = emit_data(x, x->p, strip_before(x, x->p, p, sign, false));
        advance(x, after);
        return err;
    }
    return fail(x, "a raw block is not closed");
}

/* Where the opening tag of a raw block at p ends, or NULL. A newline behind it stays. */
static const char *match_raw(const char *p, const char *end)
{
    const char *q = match_word(p, end, "raw");
    if (q && starts(q, end, "-%}")) return skip_space(q + 3, end);
    return q && starts(q, end, "%}") ? q + 2 : NULL;
}

/* The tag at p, which begins with two of "{%", "{{", "{#". */
static mp_err lex_opening(lexer *x, const char *p)
{
    char kind = p[1];
    const char *q = p + 2;
    char sign = q < x->end && (*q == '-' || *q == '+') ? *q : 0;
    if (sign) q++;
    mp_err err = emit_data(x, x->p, strip_before(x, x->p, p, sign, kind == '{'));
    if (err) return err;
    const char *raw = kind == '%' ? match_raw(q, x->end) : NULL;
    advance(x, raw ? raw : q);
    if (raw) return lex_raw(x);
    if (kind == '#') return lex_comment(x);
    err = emit(x, kind == '{' ? MP_TT_VAR_BEGIN : MP_TT_BLOCK_BEGIN, mp_tv_none());
    return err ? err : lex_tag(x, kind == '{');
}

static mp_err lex_all(lexer *x)
{
    mp_err err = MP_OK;
    while (x->p < x->end && !err) {
        const char *p = x->p;
        while (p < x->end && !(*p == '{' && p + 1 < x->end && (p[1] == '%' || p[1] == '{' || p[1] == '#'))) p++;
        if (p < x->end) {
            err = lex_opening(x, p);
            continue;
        }
        err = emit_data(x, x->p, x->end);
        advance(x, x->end);
    }
    return err ? err : emit(x, MP_TT_EOF, mp_tv_none());
}

/* A copy with "\r\n" and "\r" as "\n", and without one final newline. */
static mp_err normalize(mp_tmem *mem, const char *text, size_t n, mp_tv *out)
{
    char *copy = NULL;
    mp_err err = mp_tmem_push(mem, n + 1, (void **)(void *)&copy);
    if (err) return err;
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n' && i > 0 && text[i - 1] == '\r') continue;
        copy[to++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (to > 0 && copy[to - 1] == '\n') to--;
    *out = mp_tv_str(copy, to);
    return MP_OK;
}

mp_err mp_tmpl_lex(mp_tmem *mem, const char *text, size_t n, mp_ttoks *out)
{
    mp_tv source;
    *out = (mp_ttoks){ 0 };
    if (n > MAX_BYTES) return mp_fail(MP_E_MODEL, "the chat template has %zu bytes; at most %d are possible", n, MAX_BYTES);
    if (!mp_text_valid(text, n)) return mp_fail(MP_E_MODEL, "the chat template is not valid UTF-8");
    mp_err err = normalize(mem, text, n, &source);
    if (err) return err;
    lexer x = { .mem = mem, .out = out, .p = source.s, .end = source.s + source.n, .line = 1, .line_starting = true };
    return lex_all(&x);
}
