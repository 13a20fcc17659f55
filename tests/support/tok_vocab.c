#include "support/tok_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mp_str token_of(const void *from, int64_t i) { return (mp_str){ ((const tv *)from)->text[i], ((const tv *)from)->n_text[i] }; }
static mp_str merge_of(const void *from, int64_t i) { return (mp_str){ ((const tv *)from)->merge[i], ((const tv *)from)->n_merge[i] }; }
static double score_of(const void *from, int64_t i) { return ((const tv *)from)->score[i]; }
static int    type_of(const void *from, int64_t i) { return ((const tv *)from)->type[i]; }

tv *tv_open(const char *model, const char *pre)
{
    tv *v = calloc(1, sizeof *v);
    if (!v) exit(2);
    bool spm = strcmp(model, "llama") == 0;
    v->source = (mp_tok_source){ .model = model, .pre = pre, .from = v, .token = token_of, .merge = spm ? NULL : merge_of,
                                 .score = spm ? score_of : NULL, .type = type_of, .bos = -1, .eos = -1, .eot = -1, .eom = -1, .unk = -1,
                                 .pad = -1, .add_bos = -1, .add_eos = -1, .add_space_prefix = -1 };
    return v;
}

const mp_tok_source *tv_source(tv *v)
{
    v->source.n_tokens = v->n;
    v->source.n_merges = v->merges;
    return &v->source;
}

int tv_add(tv *v, const char *text, size_t n, int type, double score)
{
    if (v->n == TV_MOST || n > TV_TEXT) exit(2);
    memcpy(v->text[v->n], text, n);
    v->n_text[v->n] = n;
    v->type[v->n] = type;
    v->score[v->n] = score;
    return (int)v->n++;
}

int tv_named(tv *v, const char *text, int type) { return tv_add(v, text, strlen(text), type, 0); }

/* The GPT-2 alphabet by its rule: printable Latin-1 stands for itself, the others in order for U+0100 on. */
static size_t to_alphabet(const char *bytes, size_t n, char *out)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned c = (unsigned char)bytes[i], cp = c, others = 0x100;
        for (unsigned b = 0; b <= c; b++) {
            bool printable = (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD);
            if (b == c && !printable) cp = others;
            others += !printable;
        }
        if (cp >= 0x80) out[m++] = (char)(0xC0 | cp >> 6);
        out[m++] = (char)(cp < 0x80 ? cp : 0x80 | (cp & 63));
    }
    return m;
}

void tv_add_bytes(tv *v)
{
    for (int b = 0; b < 256; b++) {
        char   text[16], c = (char)b;
        bool   spm = v->source.score != NULL;
        size_t n = spm ? (size_t)snprintf(text, sizeof text, "<0x%02X>", (unsigned)b) : to_alphabet(&c, 1, text);
        tv_add(v, text, n, spm ? MP_TOK_BYTE : MP_TOK_NORMAL, 0);
    }
}

int tv_merge(tv *v, const char *left, const char *right)
{
    char  *m = v->merge[v->merges], whole[TV_TEXT];
    size_t nl = to_alphabet(left, strlen(left), m);
    m[nl] = ' ';
    size_t nr = to_alphabet(right, strlen(right), m + nl + 1);
    v->n_merge[v->merges++] = nl + 1 + nr;
    if (v->merges == TV_MOST || nl + nr > sizeof whole) exit(2);
    memcpy(whole, m, nl);
    memcpy(whole + nl, m + nl + 1, nr);
    for (int i = 0; i < v->n; i++)
        if (v->n_text[i] == nl + nr && memcmp(v->text[i], whole, nl + nr) == 0) return i;
    return tv_add(v, whole, nl + nr, MP_TOK_NORMAL, 0);
}

int tv_piece(tv *v, const char *text, double score)
{
    char   buf[TV_TEXT];
    size_t n = 0;
    for (; *text && n + 3 < sizeof buf; text++) {
        if (*text == ' ') {
            memcpy(buf + n, "\xE2\x96\x81", 3);
            n += 3;
        } else {
            buf[n++] = *text;
        }
    }
    return tv_add(v, buf, n, MP_TOK_NORMAL, score);
}

tv *tv_small(const char *model, const char *pre)
{
    tv *v = tv_open(model, pre);
    tv_named(v, "<unk>", MP_TOK_UNKNOWN);
    tv_named(v, "<s>", MP_TOK_CONTROL);
    tv_named(v, "</s>", MP_TOK_CONTROL);
    tv_named(v, "<|im_end|>", MP_TOK_CONTROL);
    tv_named(v, "<tool>", MP_TOK_USER);
    v->source.unk = 0;
    v->source.bos = 1;
    v->source.eos = 2;
    tv_add_bytes(v);
    if (v->source.score) {
        static const char *const pieces[] = { " t", "he", " the", "in", "an", " a", "aa", "aaaa", "  ", " ",
                                              "a", "e", "h", "i", "n", "t", "\xC3\xA9" };
        for (int i = 0; i < 17; i++) tv_piece(v, pieces[i], -(double)i);
        return v;
    }
    static const char *const merges[][2] = { { " ", "t" }, { "h", "e" }, { " t", "he" }, { "i", "n" }, { "a", "n" },
                                             { " ", "a" }, { "a", "a" }, { "aa", "aa" }, { " ", " " }, { "  ", "  " }, { "\n", "\n" },
                                             { "1", "2" }, { "\xC3", "\xA9" } };
    for (int i = 0; i < 13; i++) tv_merge(v, merges[i][0], merges[i][1]);
    return v;
}
