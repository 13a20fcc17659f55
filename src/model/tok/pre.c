/* The table of pre-tokenizers by the names that GGUF files use, and the driver that runs their stages.
 * Sources: the Split patterns of the published tokenizer.json files, formats.md 3.3 and models.md 9.2; which name means which pattern:
 * llama.cpp's table of names (facts only). */
#include "model/tok/pre.h"

#include <string.h>

#include "model/tok/pre_int.h"
#include "model/tok/uchar.h"

typedef struct range { uint32_t first, last; } range;

/* DeepSeek-LLM's own idea of a letter: cased scripts as of some Unicode version, written out in its tokenizer.json. */
static const range deepseek_letters[] = {
    { 0x41, 0x5A }, { 0x61, 0x7A }, { 0xB5, 0xB5 }, { 0xC0, 0xD6 }, { 0xD8, 0xF6 }, { 0xF8, 0x1BA }, { 0x1BC, 0x1BF }, { 0x1C4, 0x293 },
    { 0x295, 0x2AF }, { 0x370, 0x373 }, { 0x376, 0x376 }, { 0x377, 0x377 }, { 0x37B, 0x37D }, { 0x37F, 0x37F }, { 0x386, 0x386 },
    { 0x388, 0x38A }, { 0x38C, 0x38C }, { 0x38E, 0x3A1 }, { 0x3A3, 0x3F5 }, { 0x3F7, 0x481 }, { 0x48A, 0x52F }, { 0x531, 0x556 },
    { 0x10A0, 0x10C5 }, { 0x13A0, 0x13F5 }, { 0x13F8, 0x13FD }, { 0x1C90, 0x1CBA }, { 0x1CBD, 0x1CBF }, { 0x1D00, 0x1D2B },
    { 0x1D6B, 0x1D77 }, { 0x1D79, 0x1D9A }, { 0x1E00, 0x1F15 }, { 0x1F18, 0x1F1D }, { 0x1F20, 0x1F45 }, { 0x1F48, 0x1F4D },
    { 0x1F50, 0x1F57 }, { 0x1F59, 0x1F59 }, { 0x1F5B, 0x1F5B }, { 0x1F5D, 0x1F5D }, { 0x1F5F, 0x1F7D }, { 0x1F80, 0x1FB4 },
    { 0x1FB6, 0x1FBC }, { 0x1FBE, 0x1FBE }, { 0x1FC2, 0x1FC4 }, { 0x1FC6, 0x1FCC }, { 0x1FD0, 0x1FD3 }, { 0x1FD6, 0x1FDB },
    { 0x1FE0, 0x1FEC }, { 0x1FF2, 0x1FF4 }, { 0x1FF6, 0x1FFC }, { 0x2102, 0x2102 }, { 0x2107, 0x2107 }, { 0x210A, 0x2113 },
    { 0x2115, 0x2115 }, { 0x2119, 0x211D }, { 0x2124, 0x2124 }, { 0x2126, 0x2126 }, { 0x2128, 0x2128 }, { 0x212A, 0x212D },
    { 0x212F, 0x2134 }, { 0x2139, 0x2139 }, { 0x213C, 0x213F }, { 0x2145, 0x2149 }, { 0x214E, 0x214E }, { 0x2183, 0x2183 },
    { 0x2184, 0x2184 }, { 0x2C00, 0x2C7B }, { 0x2C7E, 0x2CE4 }, { 0x2CEB, 0x2CEE }, { 0x2CF2, 0x2CF2 }, { 0x2CF3, 0x2CF3 },
    { 0xA640, 0xA66D }, { 0xA680, 0xA69B }, { 0xA722, 0xA76F }, { 0xA771, 0xA787 }, { 0xA78B, 0xA78E }, { 0xAB70, 0xABBF },
    { 0xFB00, 0xFB06 }, { 0xFB13, 0xFB17 }, { 0xFF21, 0xFF3A }, { 0xFF41, 0xFF5A }, { 0x10400, 0x1044F }, { 0x104B0, 0x104D3 },
    { 0x104D8, 0x104FB }, { 0x10C80, 0x10CB2 }, { 0x10CC0, 0x10CF2 }, { 0x118A0, 0x118DF }, { 0x1E900, 0x1E943 },
};

static bool is_newline(uint32_t cp, unsigned cls) { (void)cp; return cls & MP_U_NEWLINE; }
static bool is_letter(uint32_t cp, unsigned cls) { (void)cp; return cls & MP_U_LETTER; }
static bool is_number(uint32_t cp, unsigned cls) { (void)cp; return cls & MP_U_NUMBER; }
static bool is_punct(uint32_t cp, unsigned cls) { (void)cp; return cls & MP_U_PUNCT; }
static bool is_digit(uint32_t cp, unsigned cls) { (void)cls; return cp >= '0' && cp <= '9'; }

static bool is_deepseek_letter(uint32_t cp, unsigned cls)
{
    if (cp < 0x80) return cls & MP_U_LETTER;
    size_t lo = 0, hi = sizeof deepseek_letters / sizeof *deepseek_letters;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cp > deepseek_letters[mid].last) lo = mid + 1;
        else hi = mid;
    }
    return lo < sizeof deepseek_letters / sizeof *deepseek_letters && cp >= deepseek_letters[lo].first;
}

/* `[!-/:-~！-／：-～‘-‟　-。]`: the ASCII range holds letters too, but those are gone by then. */
static bool is_deepseek_punct(uint32_t cp, unsigned cls)
{
    (void)cls;
    return (cp >= 0x21 && cp <= 0x2F) || (cp >= 0x3A && cp <= 0x7E) || (cp >= 0xFF01 && cp <= 0xFF0F) || (cp >= 0xFF1A && cp <= 0xFF5E)
        || (cp >= 0x2018 && cp <= 0x201F) || (cp >= 0x3000 && cp <= 0x3002);
}

static bool is_deepseek_cjk(uint32_t cp, unsigned cls)
{
    (void)cls;
    return (cp >= 0x0800 && cp <= 0x9FA5) || (cp >= 0xAC00 && cp <= 0xD7FF);
}

static bool is_deepseek3_cjk(uint32_t cp, unsigned cls)
{
    (void)cls;
    return (cp >= 0x4E00 && cp <= 0x9FA5) || (cp >= 0x3040 && cp <= 0x30FF);
}

static bool is_falcon_punct(uint32_t cp, unsigned cls)
{
    return (cls & MP_U_PUNCT) || (cp < 0x80 && cp && strchr("$+<=>^~|`", (int)cp));
}

/* `[^(\s|.,!?…。，、।۔،)]` */
static bool is_bloom_word(uint32_t cp, unsigned cls)
{
    if (cls & MP_U_SPACE) return false;
    if (cp < 0x80) return cp == 0 || !strchr("(|.,!?)", (int)cp);
    return cp != 0x2026 && cp != 0x3002 && cp != 0xFF0C && cp != 0x3001 && cp != 0x0964 && cp != 0x06D4 && cp != 0x060C;
}

#define RUN(set_, flags_, most_) { .match = mp_pre_run, .set = (set_), .flags = (flags_), .most = (most_), .least = 1 }
#define TIKTOKEN(flags_, digits_) { .match = mp_pre_tiktoken, .flags = (flags_), .most = (digits_) }
#define GPT2 { .match = mp_pre_gpt2 }

enum { STAGES_MAX = 6, WHOLE = 1, BOS = 2 };

struct mp_pre {
    const char  *names; /* blank-separated, the first is the one to show */
    unsigned     flags;
    int          n_stages;
    mp_pre_stage stages[STAGES_MAX];
};

static const mp_pre table[] = {
    { "gpt-2 default phi-2 mpt olmo jais trillion granite-docling exaone4 gigachat a.x-4.0 mellum modern-bert jina-es jina-de jina-v2-es "
      "jina-v2-de", 0, 1, { GPT2 } },
    { "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2", WHOLE | BOS, 1, { TIKTOKEN(MP_PRE_CONTRACT, 3) } },
    { "dbrx smaug-bpe glm4 chatglm-bpe", 0, 1, { TIKTOKEN(MP_PRE_CONTRACT, 3) } },
    { "qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan solar-open grok-2 kormo bailingmoe bailingmoe2 llada-moe", 0, 1,
      { TIKTOKEN(MP_PRE_CONTRACT, 1) } },
    { "qwen35", 0, 1, { TIKTOKEN(MP_PRE_CONTRACT | MP_PRE_MARKS, 1) } },
    { "seed-coder", 0, 1, { TIKTOKEN(MP_PRE_CONTRACT | MP_PRE_NO_TAIL, 1) } },
    { "gpt-4o llama4 kanana2 minimax-m2", 0, 1, { TIKTOKEN(MP_PRE_CASED | MP_PRE_CONTRACT_END | MP_PRE_SLASH, 3) } },
    { "tekken", WHOLE | BOS, 1, { TIKTOKEN(MP_PRE_CASED | MP_PRE_SLASH, 1) } },
    { "starcoder refact command-r smollm codeshell exaone minerva-7b", 0, 2, { RUN(is_number, 0, 1), GPT2 } },
    { "falcon", 0, 3, { RUN(is_falcon_punct, 0, 0), GPT2, { .match = mp_pre_run, .set = is_digit, .most = 3, .least = 3 } } },
    { "bloom poro-chat gpt3-finnish", 0, 1, { RUN(is_bloom_word, MP_PRE_BLANK, 0) } },
    { "viking", 0, 2, { RUN(is_bloom_word, MP_PRE_BLANK, 0), RUN(is_number, 0, 1) } },
    { "deepseek-llm", 0, 6,
      { RUN(is_newline, 0, 1), RUN(is_deepseek_letter, MP_PRE_SPACE, 0), RUN(is_deepseek_punct, MP_PRE_SPACE, 0), { .match = NULL },
        RUN(is_deepseek_cjk, 0, 0), RUN(is_number, 0, 1) } },
    { "deepseek-coder", 0, 5,
      { RUN(is_newline, 0, 1), RUN(is_letter, MP_PRE_SPACE, 0), RUN(is_punct, MP_PRE_SPACE, 0), RUN(is_deepseek_cjk, 0, 0),
        RUN(is_number, 0, 1) } },
    { "deepseek-v3 hunyuan-dense joyai-llm", 0, 3,
      { RUN(is_number, 0, 3), RUN(is_deepseek3_cjk, 0, 0), { .match = mp_pre_deepseek3 } } },
};

static bool has_name(const char *names, const char *name, size_t n)
{
    while (*names) {
        size_t len = strcspn(names, " ");
        if (len == n && memcmp(names, name, n) == 0) return true;
        names += len;
        names += *names == ' ';
    }
    return false;
}

const mp_pre *mp_pre_find(const char *name, size_t n)
{
    if (n == 0) return &table[0];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (has_name(table[i].names, name, n)) return &table[i];
    return NULL;
}

bool mp_pre_whole_tokens(const mp_pre *pre) { return pre->flags & WHOLE; }
bool mp_pre_adds_bos(const mp_pre *pre) { return pre->flags & BOS; }

/* Where the white space at the end of the piece begins. Found once for a piece: trying `\s+$` at every place would be quadratic. */
static size_t trailing(const char *s, size_t n)
{
    size_t   at = 0, len, start = 0;
    uint32_t cp;
    while (at < n) {
        unsigned cls = mp_uchar_peek(s + at, n - at, &len, &cp);
        at += len;
        if (!(cls & MP_U_SPACE)) start = at;
    }
    return start;
}

static mp_err split(const mp_pre *pre, int k, const char *s, size_t n, mp_pre_sink *sink, void *arg);

static mp_err split_trailing(const mp_pre *pre, int k, const char *s, size_t n, mp_pre_sink *sink, void *arg)
{
    size_t start = trailing(s, n);
    mp_err err = split(pre, k + 1, s, start, sink, arg);
    return err ? err : split(pre, k + 1, s + start, n - start, sink, arg);
}

/* Runs the stages from k on. Recursion is as deep as there are stages. */
static mp_err split(const mp_pre *pre, int k, const char *s, size_t n, mp_pre_sink *sink, void *arg)
{
    if (n == 0) return MP_OK;
    if (k == pre->n_stages) return sink(arg, s, n);
    const mp_pre_stage *stage = &pre->stages[k];
    if (!stage->match) return split_trailing(pre, k, s, n, sink, arg);
    size_t   at = 0, gap = 0, len;
    uint32_t cp;
    mp_err   err = MP_OK;
    while (at < n && !err) {
        size_t m = stage->match(stage, s + at, n - at);
        if (m == 0) {
            mp_uchar_peek(s + at, n - at, &len, &cp);
            at += len;
            continue;
        }
        if (gap < at) err = split(pre, k + 1, s + gap, at - gap, sink, arg);
        if (!err) err = split(pre, k + 1, s + at, m, sink, arg);
        gap = at += m;
    }
    return err || gap == n ? err : split(pre, k + 1, s + gap, n - gap, sink, arg);
}

mp_err mp_pre_split(const mp_pre *pre, const char *text, size_t n, mp_pre_sink *sink, void *arg)
{
    return split(pre, 0, text, n, sink, arg);
}
