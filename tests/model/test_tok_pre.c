/* The hand-written pre-tokenizers against the published expressions themselves, run by PCRE2: on random text made to provoke them, both
 * cut in the same places. And what the expressions can't do: bytes that are no UTF-8, and very long runs. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "model/tok/pre.h"
#include "test.h"

enum { TEXT_MAX = 600, STAGES = 6 };

/* ---- the expressions ---- */

#define CONTRACTION "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])" /* (?i) would fold the long s as well; tokenizers fold ASCII */
#define TAIL "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CL100K(digits) CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL
#define U "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define L "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(end, digits) "[^\\r\\n\\p{L}\\p{N}]?" U "*" L "+" end "|[^\\r\\n\\p{L}\\p{N}]?" U "+" L "*" end "|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CJK "[\\x{4E00}-\\x{9FA5}\\x{0800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
#define BLOOM " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"
#define DEEPSEEK_LETTERS \
    "\\x{41}-\\x{5A}\\x{61}-\\x{7A}\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}" \
    "\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}" \
    "\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}" \
    "\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}" \
    "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}" \
    "\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}" \
    "\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}" \
    "\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}" \
    "\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}" \
    "\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}" \
    "\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}" \
    "\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"

static const struct { const char *name, *stages[STAGES]; } patterns[] = {
    { "gpt-2", { GPT2 } },
    { "llama-bpe", { CL100K("\\p{N}{1,3}") } },
    { "qwen2", { CL100K("\\p{N}") } },
    { "qwen35", { CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" TAIL } },
    { "seed-coder", { CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" TAIL } },
    { "gpt-4o", { CASED("(?:" CONTRACTION ")?", "\\p{N}{1,3}") } },
    { "tekken", { CASED("", "\\p{N}") } },
    { "starcoder", { "\\p{N}", GPT2 } },
    { "falcon", { "[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]" } },
    { "bloom", { BLOOM } },
    { "viking", { BLOOM, "\\p{N}" } },
    { "deepseek-llm", { "[\\r\\n]", "\\s?[" DEEPSEEK_LETTERS "]+",
                        "\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+", "\\s+$", CJK,
                        "\\p{N}" } },
    { "deepseek-coder", { "[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}" } },
    { "deepseek-v3", { "\\p{N}{1,3}", "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+",
                       "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
                       "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|"
                       TAIL } },
};
enum { PATTERNS = sizeof patterns / sizeof *patterns };

/* ---- cutting by expression: marks the end of each piece ---- */

static void cut(pcre2_code *const *stages, const char *text, size_t from, size_t to, unsigned char *ends)
{
    if (from == to) return;
    if (!*stages) {
        ends[to - 1] = 1;
        return;
    }
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(*stages, NULL);
    size_t            at = 0, n = to - from;
    while (at < n && pcre2_match(*stages, (PCRE2_SPTR)(text + from), n, at, 0, match, NULL) > 0) {
        const size_t *v = pcre2_get_ovector_pointer(match);
        cut(stages + 1, text, from + at, from + v[0], ends);
        cut(stages + 1, text, from + v[0], from + v[1], ends);
        at = v[1];
    }
    cut(stages + 1, text, from + at, to, ends);
    pcre2_match_data_free(match);
}

/* ---- cutting by scanner ---- */

typedef struct cuts {
    const char    *text;
    size_t         at;
    unsigned char *ends;
    size_t         pieces;
    bool           gap;
} cuts;

static mp_err note(void *arg, const char *piece, size_t n)
{
    cuts *c = arg;
    if (piece != c->text + c->at || n == 0) c->gap = true;
    c->at += n;
    c->pieces++;
    if (c->ends) c->ends[c->at - 1] = 1;
    return MP_OK;
}

static void scan(const mp_pre *pre, const char *text, size_t n, unsigned char *ends, size_t *pieces)
{
    cuts c = { .text = text, .ends = ends };
    CHECK_EQ(mp_pre_split(pre, text, n, note, &c), MP_OK);
    CHECK(c.at == n && !c.gap); /* in order, and all of it */
    if (pieces) *pieces = c.pieces;
}

/* ---- text ---- */

static uint64_t state = 1;
static unsigned dice(unsigned n)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)(state >> 33) % n;
}

static size_t put_utf8(uint32_t cp, char *out)
{
    if (cp < 0x80) return out[0] = (char)cp, 1;
    if (cp < 0x800) return out[0] = (char)(0xC0 | cp >> 6), out[1] = (char)(0x80 | (cp & 63)), 2;
    if (cp < 0x10000) return out[0] = (char)(0xE0 | cp >> 12), out[1] = (char)(0x80 | (cp >> 6 & 63)), out[2] = (char)(0x80 | (cp & 63)), 3;
    return out[0] = (char)(0xF0 | cp >> 18), out[1] = (char)(0x80 | (cp >> 12 & 63)), out[2] = (char)(0x80 | (cp >> 6 & 63)),
           out[3] = (char)(0x80 | (cp & 63)), 4;
}

/* Blocks that are the same in every Unicode version either library may have. (None has U+180E, white space to PCRE2 alone.) */
static uint32_t any_character(void)
{
    static const struct { uint32_t first, n; } blocks[] = {
        { 0x80, 0x2F0 }, { 0x300, 0x70 }, { 0x380, 0x180 }, { 0x5D0, 0x1B }, { 0x640, 0x30 }, { 0x660, 10 }, { 0x900, 0x78 },
        { 0x10A0, 0x26 },
        { 0x1E00, 0x100 }, { 0x2000, 0x30 }, { 0x2070, 0x60 }, { 0x2100, 0x90 }, { 0x2200, 0x100 }, { 0x3000, 0x100 }, { 0x4E00, 0x100 },
        { 0xA640, 0x60 }, { 0xAC00, 0x100 }, { 0xD7F0, 0x40 /* up to where surrogates begin, see below */ },
        { 0xFB00, 0x50 }, { 0xFF01, 0xB0 },
        { 0x10400, 0x50 }, { 0x1D400, 0x60 }, { 0x1F600, 0x50 }, { 0xE000, 16 },
    };
    unsigned i = dice(sizeof blocks / sizeof *blocks);
    uint32_t cp = blocks[i].first + dice(blocks[i].n);
    return cp >= 0xD800 && cp < 0xE000 ? 0xD7FF : cp;
}

static size_t random_text(char *out)
{
    static const char *const bits[] = { " ", "  ", "    ", "\n", "\r\n", "\n\n", "\t", "'s", "'S", "'Re", "'LL", "'", "don't",
                                        "a", "Bc", "ABC", "xY", "1", "12345", "/", "//", ".", "...", "!?", "(", "$", "_", "-",
                                        "\xC2\xA0", "\xE3\x80\x80", "\xCC\x81", "\xC2\x85", "\x1F", "\xE2\x85\xA7" };
    size_t   n = 0, want = 1 + dice(TEXT_MAX - 40);
    unsigned kind = dice(4);
    while (n < want) {
        unsigned d = dice(8);
        if (d < 4 || kind == 0) {
            const char *s = bits[dice(sizeof bits / sizeof *bits)];
            memcpy(out + n, s, strlen(s));
            n += strlen(s);
        } else if (d < 6) {
            out[n++] = (char)(1 + dice(127));
        } else {
            n += put_utf8(any_character(), out + n);
        }
    }
    return n;
}

/* ---- the tests ---- */

static void compare(int p, const mp_pre *pre, pcre2_code *const *stages, int rounds)
{
    char          text[TEXT_MAX];
    unsigned char want[TEXT_MAX], got[TEXT_MAX];
    for (int round = 0; round < rounds; round++) {
        size_t n = random_text(text);
        memset(want, 0, sizeof want);
        memset(got, 0, sizeof got);
        cut(stages, text, 0, n, want);
        scan(pre, text, n, got, NULL);
        bool same = memcmp(want, got, n) == 0;
        CHECK(same);
        if (same) continue;
        size_t i = 0;
        while (want[i] == got[i]) i++;
        size_t from = i > 12 ? i - 12 : 0;
        printf("%s: differs after byte %zu (expected a cut: %d) of:", patterns[p].name, i, want[i]);
        for (size_t k = from; k < n && k < i + 12; k++) printf(" %02X%s", (unsigned char)text[k], k == i ? "|" : "");
        printf("\n");
        return;
    }
}

TEST(scanners_cut_as_the_expressions_do)
{
    for (int p = 0; p < PATTERNS; p++) {
        pcre2_code   *stages[STAGES + 1] = { NULL };
        const mp_pre *pre = mp_pre_find(patterns[p].name, strlen(patterns[p].name));
        REQUIRE(pre);
        for (int k = 0; k < STAGES && patterns[p].stages[k]; k++) {
            int    code;
            size_t where;
            stages[k] = pcre2_compile((PCRE2_SPTR)patterns[p].stages[k], PCRE2_ZERO_TERMINATED,
                                      PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &code, &where, NULL);
            REQUIRE(stages[k]);
            pcre2_jit_compile(stages[k], PCRE2_JIT_COMPLETE);
        }
        compare(p, pre, stages, 3000);
        for (int k = 0; k < STAGES; k++) pcre2_code_free(stages[k]);
    }
}

/* Any bytes are cut into pieces that add up. */
TEST(bytes_that_are_no_text)
{
    char text[TEXT_MAX];
    for (int p = 0; p < PATTERNS; p++) {
        const mp_pre *pre = mp_pre_find(patterns[p].name, strlen(patterns[p].name));
        for (int round = 0; round < 300; round++) {
            size_t n = dice(TEXT_MAX);
            for (size_t i = 0; i < n; i++) text[i] = (char)(round % 3 ? 0x80 + dice(128) : dice(256));
            scan(pre, text, n, NULL, NULL);
        }
    }
}

/* Runs of 256 KiB, which would be 70 billion steps each if they were quadratic: it is enough that this ends. */
TEST(long_runs_end)
{
    static const char *const units[] = { "a", "A", " ", "\n", " \n", "1", ".", "\xCC\x81", "\xC2\xAA", "\xC2\xAA\x41",
                                         "'", "\xE4\xBD\xA0", "\xE2\x82\xAC", "\xFF", "\xC2\xA0" };
    enum { BYTES = 1 << 18 };
    char *text = malloc(BYTES + 4);
    if (!text) exit(2);
    for (int p = 0; p < PATTERNS; p++)
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            size_t len = strlen(units[u]), n = BYTES / len * len, pieces;
            for (size_t i = 0; i < n; i++) text[i] = units[u][i % len];
            memcpy(text + n, "\xE2\x82\xAC", 3); /* a run that something else ends */
            scan(mp_pre_find(patterns[p].name, strlen(patterns[p].name)), text, n + 3, NULL, &pieces);
            CHECK(pieces >= 1 && pieces <= n + 3);
        }
    free(text);
}

TEST(names)
{
    CHECK(mp_pre_find("", 0) == mp_pre_find("gpt-2", 5) && mp_pre_find("default", 7) == mp_pre_find("gpt-2", 5));
    CHECK(mp_pre_find("qwen", 4) == NULL && mp_pre_find("qwen2 ", 6) == NULL && mp_pre_find(" ", 1) == NULL);
    CHECK(mp_pre_whole_tokens(mp_pre_find("llama-bpe", 9)) && !mp_pre_whole_tokens(mp_pre_find("qwen2", 5)));
    CHECK(mp_pre_adds_bos(mp_pre_find("tekken", 6)) && !mp_pre_adds_bos(mp_pre_find("gpt-4o", 6)));
}

int main(void)
{
    RUN(scanners_cut_as_the_expressions_do);
    RUN(bytes_that_are_no_text);
    RUN(long_runs_end);
    RUN(names);
    return test_done();
}
