/* Tokenizers on small vocabularies made by hand: the algorithm against a naive one, what files can get wrong, decoding as a stream. */
#include "model/tok/tok.h"
#include "support/gguf_write.h"
#include "support/tok_vocab.h"
#include "test.h"

static mp_ledger *ledger;

static uint64_t state = 88172645463325252u;
static unsigned dice(unsigned n)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)(state >> 33) % n;
}

static mp_tok *open_vocab(tv *v)
{
    mp_tok *t = NULL;
    CHECK_OK(mp_tok_open_source(ledger, tv_source(v), &t));
    if (!t) exit(1);
    return t;
}

static mp_tok *open_small(const char *model, const char *pre)
{
    tv     *v = tv_small(model, pre);
    mp_tok *t = open_vocab(v);
    free(v);
    return t;
}

/* Encodes and compares with ids given as the tokens' texts, separated by '|'. */
static void check_pieces(const mp_tok *t, const char *text, unsigned flags, const char *want)
{
    int32_t ids[256];
    char    got[400];
    size_t  n, m = 0;
    CHECK_OK(mp_tok_encode(t, (mp_str){ text, strlen(text) }, flags, ids, 256, &n));
    for (size_t i = 0; i < n; i++) {
        mp_str s = mp_tok_text(t, ids[i]);
        if (i) got[m++] = '|';
        memcpy(got + m, s.s, s.n);
        m += s.n;
    }
    got[m] = 0;
    CHECK_STR(got, want);
}

/* ---- what comes out ---- */

TEST(byte_level)
{
    mp_tok *t = open_small("gpt2", "gpt-2");
    check_pieces(t, "the tin aaaaa", 0, "t|he| t|in| a|aaaa");
    check_pieces(t, " the  the", 0, " the| | the");
    check_pieces(t, "the", MP_TOK_BOS, "t|he"); /* gpt-2 adds no BOS by itself */
    check_pieces(t, "\xC3\xA9\xC3", 0, "\xC3\xA9|\xC3");
    check_pieces(t, "", MP_TOK_BOS | MP_TOK_SPECIAL, "");
    mp_tok_close(&t);
    CHECK(t == NULL);
    mp_tok_close(&t);
}

TEST(sentencepiece)
{
    mp_tok *t = open_small("llama", NULL);
    check_pieces(t, "the tin", 0, " the| t|in");
    check_pieces(t, "the tin", MP_TOK_BOS, "<s>| the| t|in");
    check_pieces(t, "  a", 0, "  | a");
    check_pieces(t, "\xE2\x96\x81" "a", 0, " | a"); /* U+2581 is a blank */
    check_pieces(t, "\xC3\xA9\xC3", 0, " |\xC3\xA9|\xC3");
    check_pieces(t, "the</s>the", MP_TOK_SPECIAL, " the|</s>| the");
    check_pieces(t, "</s>", 0, " |<|/|s|>"); /* in plain text a name is only text */
    mp_tok_close(&t);
    tv *v = tv_small("llama", NULL);
    v->source.add_space_prefix = 0;
    t = open_vocab(v);
    check_pieces(t, "the tin", 0, "t|he| t|in");
    mp_tok_close(&t);
    free(v);
}

TEST(named_tokens)
{
    static const char *const names[] = { "<a", "<ab", "<abcd>", "<|", "<|im", "\xC3\xA9!" };
    tv *v = tv_small("gpt2", "qwen2");
    for (int i = 0; i < 6; i++) tv_named(v, names[i], i == 1 ? MP_TOK_USER : MP_TOK_CONTROL);
    mp_tok *t = open_vocab(v);
    check_pieces(t, "<abcd<abcd><a", MP_TOK_SPECIAL, "<ab|c|d|<abcd>|<a"); /* leftmost, then longest */
    check_pieces(t, "<abcd><a", 0, "<ab|c|d|>|<|a");                       /* user-defined ones only */
    check_pieces(t, "<|im_end|><|im_en<|", MP_TOK_SPECIAL, "<|im_end|>|<|im|_|e|n|<|");
    check_pieces(t, "\xC3\xA9!\xC3\xA9", MP_TOK_SPECIAL, "\xC3\xA9!|\xC3\xA9");
    check_pieces(t, "<tool><unk>", 0, "<tool>|<|u|n|k|>");
    check_pieces(t, "<tool><unk>", MP_TOK_SPECIAL, "<tool>|<unk>");
    CHECK_EQ(mp_tok_find(t, "<tool>", 6), 4);
    CHECK_EQ(mp_tok_find(t, "<tool", 5), -1);
    CHECK_EQ(mp_tok_find(t, "the", 3), -1);
    CHECK_EQ(mp_tok_find(t, "", 0), -1);
    mp_tok_close(&t);
    free(v);
}

TEST(whole_tokens_are_not_merged)
{
    tv *v = tv_small("gpt2", "llama-bpe");
    tv_add(v, "nine", 4, MP_TOK_NORMAL, 0); /* no merge leads there */
    mp_tok *t = open_vocab(v);
    check_pieces(t, "nine nine", 0, "nine| |n|in|e");
    CHECK(mp_tok_get_info(t)->add_bos);
    mp_tok_close(&t);
    v->source.pre = "qwen2";
    t = open_vocab(v);
    check_pieces(t, "nine", 0, "n|in|e");
    mp_tok_close(&t);
    free(v);
}

TEST(too_little_room)
{
    mp_tok *t = open_small("gpt2", "gpt-2");
    int32_t ids[4] = { -9, -9, -9, -9 };
    char    buf[4] = "????";
    size_t  n = 0;
    CHECK_OK(mp_tok_encode(t, (mp_str){ "the tin", 7 }, 0, NULL, 0, &n));
    CHECK_EQ(n, 4);
    CHECK_OK(mp_tok_encode(t, (mp_str){ "the tin", 7 }, 0, ids, 3, &n));
    CHECK(n == 4 && ids[2] >= 0 && ids[3] == -9);
    n = mp_tok_decode(t, ids, 3, 0, buf, 2);
    CHECK(n == 5 && memcmp(buf, "th??", 4) == 0);
    n = mp_tok_decode(t, ids, 3, 0, NULL, 0);
    CHECK_EQ(n, 5);
    mp_tok_close(&t);
}

TEST(decoding)
{
    mp_tok *t = open_small("llama", NULL);
    char    buf[64];
    size_t  n;
    int32_t ids[] = { 1, 261 + 2, 4, 99999, -1, INT32_MIN, 261 + 2, 2 };
    n = mp_tok_decode(t, ids, 8, 0, buf, sizeof buf);
    CHECK(n == 13 && memcmp(buf, "the<tool> the", 13) == 0);
    n = mp_tok_decode(t, ids, 8, MP_TOK_SPECIAL, buf, sizeof buf);
    CHECK(n == 21 && memcmp(buf, "<s> the<tool> the</s>", 21) == 0);
    n = mp_tok_decode(t, ids, 8, MP_TOK_CONTINUE, buf, sizeof buf);
    CHECK(n == 14 && memcmp(buf, " the<tool> the", 14) == 0);
    CHECK_EQ(mp_tok_text(t, 99999).n, 0);
    CHECK_EQ(mp_tok_type_of(t, -1), MP_TOK_UNUSED);
    CHECK_EQ(mp_tok_type_of(t, 5), MP_TOK_BYTE);
    CHECK(!mp_tok_is_eog(t, -1) && !mp_tok_is_eog(t, 99999) && mp_tok_is_eog(t, 2) && mp_tok_is_eog(t, 3) && !mp_tok_is_eog(t, 4));
    CHECK_EQ(mp_tok_get_info(t)->eot, 3);
    mp_tok_close(&t);
}

TEST(end_tokens_of_gpt_oss)
{
    tv *v = tv_small("gpt2", "gpt-4o");
    int end = tv_named(v, "<|end|>", MP_TOK_CONTROL), ret = tv_named(v, "<|return|>", MP_TOK_CONTROL);
    mp_tok *t = open_vocab(v);
    CHECK(mp_tok_is_eog(t, end) && mp_tok_is_eog(t, ret));
    mp_tok_close(&t);
    int call = tv_named(v, "<|call|>", MP_TOK_CONTROL); /* now it is the format in which <|end|> closes a message only */
    t = open_vocab(v);
    CHECK(!mp_tok_is_eog(t, end) && mp_tok_is_eog(t, ret) && mp_tok_is_eog(t, call));
    mp_tok_close(&t);
    free(v);
}

/* ---- against a naive merger ---- */

typedef struct naive { int32_t id; size_t at, n; } naive;

/* Index of the best pair by the rule itself, looking at all of them; -1: none. out: what it gives. */
static long naive_best(const tv *v, const char *text, const naive *a, size_t n, const int16_t (*rank)[TV_MOST], int32_t *out)
{
    long   best = -1;
    double best_key = 1e300;
    for (size_t i = 0; i + 1 < n; i++) {
        int32_t id = -1;
        double  key = 1e300;
        if (rank) {
            if (rank[a[i].id][a[i + 1].id] >= 0) key = rank[a[i].id][a[i + 1].id], id = 0;
        } else {
            for (int32_t k = 261; k < v->n && id < 0; k++)
                if (v->n_text[k] == a[i].n + a[i + 1].n && memcmp(v->text[k], text + a[i].at, v->n_text[k]) == 0)
                    id = k, key = -v->score[k];
        }
        if (id < 0 || key >= best_key) continue;
        best = (long)i;
        best_key = key;
        *out = id;
    }
    return best;
}

static size_t naive_merge(const tv *v, const char *text, size_t n, const int16_t (*rank)[TV_MOST], const int32_t *gives, int32_t *ids)
{
    naive *a = calloc(n, sizeof *a);
    long   i;
    if (!a) exit(2);
    for (size_t k = 0; k < n; k++) {
        a[k] = (naive){ 5 + (unsigned char)text[k], k, 1 };
        for (int32_t j = 261; !rank && j < v->n; j++)
            if (v->n_text[j] == 1 && v->text[j][0] == text[k]) a[k].id = j;
    }
    int32_t out = 0;
    while ((i = naive_best(v, text, a, n, rank, &out)) >= 0) {
        a[i].id = rank ? gives[rank[a[i].id][a[i + 1].id]] : out;
        a[i].n += a[i + 1].n;
        n--;
        memmove(a + i + 1, a + i + 2, (n - (size_t)i - 1) * sizeof *a);
    }
    for (size_t k = 0; k < n; k++) ids[k] = a[k].id;
    free(a);
    return n;
}

static void compare_with_naive(tv *v, const mp_tok *t, const char *text, size_t n, const int16_t (*rank)[TV_MOST], const int32_t *gives)
{
    int32_t *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got);
    size_t   m;
    if (!want || !got) exit(2);
    size_t n_want = naive_merge(v, text, n, rank, gives, want);
    CHECK_OK(mp_tok_encode(t, (mp_str){ text, n }, 0, got, n, &m));
    CHECK_EQ(m, n_want);
    CHECK(m == n_want && memcmp(got, want, m * sizeof *got) == 0);
    free(want);
    free(got);
}

static void swap_merges(tv *v, int i, int j)
{
    char   swap[2 * TV_TEXT + 1];
    size_t n = v->n_merge[i];
    memcpy(swap, v->merge[i], sizeof swap);
    memcpy(v->merge[i], v->merge[j], sizeof swap);
    memcpy(v->merge[j], swap, sizeof swap);
    v->n_merge[i] = v->n_merge[j];
    v->n_merge[j] = n;
}

static int32_t id_of(const tv *v, const char *s, size_t n)
{
    for (int32_t i = 5; i < v->n; i++)
        if (v->n_text[i] == n && memcmp(v->text[i], s, n) == 0) return i;
    return exit(2), -1;
}

/* The table that the naive merger works with: rank[left][right], and the result by rank. */
static void rank_merges(const tv *v, int16_t (*rank)[TV_MOST], int32_t *gives)
{
    memset(rank, -1, sizeof(int16_t) * TV_MOST * TV_MOST);
    for (int i = 0; i < v->merges; i++) {
        const char *m = v->merge[i];
        size_t      n = v->n_merge[i], nl = (size_t)((const char *)memchr(m, ' ', n) - m);
        char        whole[2 * TV_TEXT];
        memcpy(whole, m, nl);
        memcpy(whole + nl, m + nl + 1, n - nl - 1);
        int16_t *r = &rank[id_of(v, m, nl)][id_of(v, m + nl + 1, n - nl - 1)];
        if (*r < 0) *r = (int16_t)i;
        gives[i] = id_of(v, whole, n - 1);
    }
}

/* Random merges over three letters, in random order, so that some come before the merges that make their parts. */
static tv *random_merges(int count, int16_t (*rank)[TV_MOST], int32_t *gives)
{
    tv      *v = tv_small("gpt2", "gpt-2");
    char     words[256][24] = { "b", "c", "d" };
    unsigned n = 3;
    v->merges = 0;
    while (v->merges < count) {
        char whole[48];
        const char *l = words[dice(n)], *r = words[dice(n)];
        snprintf(whole, sizeof whole, "%s%s", l, r);
        if (strlen(whole) > 9) continue;
        tv_merge(v, l, r);
        memcpy(words[n], whole, 10);
        if (n < 255) n++;
    }
    for (int i = count - 1; i > 0; i--) swap_merges(v, i, (int)dice((unsigned)i + 1));
    rank_merges(v, rank, gives);
    return v;
}

static int16_t ranks[TV_MOST][TV_MOST];

TEST(merges_as_the_rule_says)
{
    int32_t gives[TV_MOST];
    char    text[200];
    for (int round = 0; round < 40; round++) {
        tv     *v = random_merges(3 + (int)dice(60), ranks, gives);
        mp_tok *t = open_vocab(v);
        for (int k = 0; k < 40; k++) {
            size_t n = 1 + dice(k % 2 ? 32 : 199);
            for (size_t i = 0; i < n; i++) text[i] = "bcd"[dice(k % 3 ? 3 : 2)];
            compare_with_naive(v, t, text, n, (const int16_t (*)[TV_MOST])ranks, gives);
        }
        mp_tok_close(&t);
        free(v);
    }
}

/* Pieces of more than one window of 16 KiB come out as if there were no windows. */
TEST(windows_do_not_show)
{
    enum { N = 30000 };
    int32_t gives[TV_MOST];
    char   *text = malloc(N);
    if (!text) exit(2);
    for (int round = 0; round < 3; round++) {
        tv     *v = random_merges(120, ranks, gives);
        mp_tok *t = open_vocab(v);
        for (size_t i = 0; i < N; i++) text[i] = round == 2 ? "bcdbd"[i % 5] : "bcd"[dice(3)];
        compare_with_naive(v, t, text, round == 1 ? N : 20000, (const int16_t (*)[TV_MOST])ranks, gives);
        mp_tok_close(&t);
        free(v);
    }
    free(text);
}

/* Tokens of x, xx, ... 8192 x, of c and 8192 x, and b, c: after enough b's a window ends within the token that begins with c, and looks as
 * if c were a token of its own, after which the next window could begin. */
typedef struct doubling { char x[8193], merge[14][16400]; } doubling;

static mp_str doubling_token(const void *from, int64_t i)
{
    const doubling *d = from;
    if (i == 14) return (mp_str){ "b", 1 };
    return i > 14 ? (mp_str){ d->x, i == 15 ? 1 : 8193 } : (mp_str){ d->x + 1, (size_t)1 << i };
}

static mp_str doubling_merge(const void *from, int64_t i)
{
    return (mp_str){ ((const doubling *)from)->merge[i], i == 13 ? 8194 : ((size_t)2 << i) + 1 };
}

TEST(windows_and_huge_tokens)
{
    enum { N = 40000 };
    static doubling d;
    static char     text[N];
    static int32_t  ids[N];
    mp_tok         *t = NULL;
    memset(&d, 'x', sizeof d);
    d.x[0] = d.merge[13][0] = 'c';
    d.merge[13][1] = ' ';
    for (int i = 0; i < 13; i++) d.merge[i][1 << i] = ' ';
    mp_tok_source src = { .model = "gpt2", .n_tokens = 17, .n_merges = 14, .from = &d, .token = doubling_token, .merge = doubling_merge,
                          .bos = -1, .eos = -1, .eot = -1, .eom = -1, .unk = -1, .pad = -1 };
    CHECK_OK(mp_tok_open_source(ledger, &src, &t));
    if (!t) return;
    for (size_t b = 0; b < 17000; b += 200) {
        size_t n, at = 0, run = N - b - 8193;
        memset(text, 'b', b);
        memset(text + b, 'x', N - b);
        text[b] = 'c';
        CHECK_OK(mp_tok_encode(t, (mp_str){ text, N }, 0, ids, N, &n));
        while (at < n && ids[at] == 14) at++;
        CHECK(at == b && ids[at++] == 16);
        for (; run && at < n; at++) { /* the largest token that fits, again and again */
            int k = 13;
            while ((size_t)1 << k > run) k--;
            CHECK_EQ(ids[at], k);
            run -= (size_t)1 << k;
        }
        CHECK(run == 0 && at == n);
    }
    mp_tok_close(&t);
}

TEST(scores_as_the_rule_says)
{
    char text[120];
    for (int round = 0; round < 30; round++) {
        tv *v = tv_small("llama", NULL);
        v->n = 261;
        v->source.add_space_prefix = 0;
        for (int i = 0; i < 3; i++) tv_piece(v, (const char[]){ "bcd"[i], 0 }, 0);
        for (int i = 0; i < 40; i++) {
            char   piece[8];
            size_t n = 2 + dice(5);
            for (size_t k = 0; k < n; k++) piece[k] = "bcd"[dice(3)];
            piece[n] = 0;
            tv_piece(v, piece, (double)dice(12) - 6); /* with ties */
        }
        mp_tok *t = open_vocab(v);
        for (int k = 0; k < 30; k++) {
            size_t n = 1 + dice(sizeof text - 1);
            for (size_t i = 0; i < n; i++) text[i] = "bcd"[dice(3)];
            /* a piece that is there twice is known by its first id, as the naive one finds it */
            compare_with_naive(v, t, text, n, NULL, NULL);
        }
        mp_tok_close(&t);
        free(v);
    }
}

/* ---- any text ---- */

TEST(long_texts_end)
{
    static const char *const units[] = { "a", " ", "\n", "an", "\xC3\xA9", "\xE2\x96\x81", "\xFF", "the ", "<", "<tool", "<tool>", "x" };
    enum { BYTES = 1 << 20 };
    char *text = malloc(BYTES), *back = malloc(2 * BYTES);
    int32_t *ids = malloc(BYTES * sizeof *ids);
    if (!text || !back || !ids) exit(2);
    for (int kind = 0; kind < 2; kind++) {
        mp_tok *t = kind ? open_small("llama", NULL) : open_small("gpt2", "qwen2");
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            size_t len = strlen(units[u]), n = BYTES / len * len - (kind ? len : 0), m, k;
            for (size_t i = 0; i < n; i++) text[i] = units[u][i % len];
            CHECK_OK(mp_tok_encode(t, (mp_str){ text, n }, 0, ids, BYTES, &m));
            CHECK(m <= BYTES);
            k = mp_tok_decode(t, ids, m, 0, back, 2 * BYTES);
            bool respelled = kind && (u == 5 || u == 10); /* U+2581 comes back as a blank, and a blank goes before each stretch */
            CHECK(respelled || (k == n && memcmp(back, text, n) == 0));
        }
        mp_tok_close(&t);
    }
    free(text);
    free(back);
    free(ids);
}

/* ---- the stream ---- */

/* Can these bytes, n of them, begin a well-formed character of `len`? By the range of code points they leave open. */
static bool may_begin(const unsigned char *s, int n, int len)
{
    static const unsigned lead[5] = { 0, 0, 0xC0, 0xE0, 0xF0 }, bits[5] = { 0, 0x7F, 0x1F, 0x0F, 0x07 };
    static const unsigned least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (len == 1) return s[0] < 0x80;
    if ((s[0] & ~bits[len] & 0xFF) != lead[len]) return false;
    unsigned lo = s[0] & bits[len], hi = lo;
    for (int i = 1; i < len; i++) {
        if (i < n && (s[i] & 0xC0) != 0x80) return false;
        lo = lo << 6 | (i < n ? s[i] & 0x3Fu : 0);
        hi = hi << 6 | (i < n ? s[i] & 0x3Fu : 0x3F);
    }
    return hi >= least[len] && lo <= 0x10FFFF && !(lo >= 0xD800 && hi <= 0xDFFF);
}

/* Bytes of the first character, or, negative, of the first maximal part that is none. */
static int first_part(const unsigned char *s, size_t n)
{
    int best = 1;
    for (int len = 1; len <= 4; len++)
        for (int k = 1; k <= len && (size_t)k <= n && may_begin(s, k, len); k++) {
            if (k == len) return len;
            if (k > best) best = k;
        }
    return -best;
}

static size_t with_replacements(const unsigned char *s, size_t n, char *out)
{
    size_t m = 0;
    for (size_t i = 0; i < n;) {
        int k = first_part(s + i, n - i);
        if (k > 0) memcpy(out + m, s + i, (size_t)k);
        else memcpy(out + m, "\xEF\xBF\xBD", 3);
        m += k > 0 ? (size_t)k : 3;
        i += (size_t)abs(k);
    }
    return m;
}

static void check_stream(const mp_tok *t, const int32_t *ids, size_t n, unsigned flags)
{
    char     whole[4096], want[12288], got[12288];
    size_t   n_whole, n_got = 0;
    mp_detok d = mp_detok_init(flags);
    n_whole = mp_tok_decode(t, ids, n, flags, whole, sizeof whole);
    size_t n_want = with_replacements((unsigned char *)whole, n_whole, want);
    for (size_t i = 0; i < n; i++) {
        size_t k = mp_detok_push(&d, t, ids[i], got + n_got);
        CHECK(k <= mp_detok_cap(t));
        for (size_t at = 0; at < k;) { /* whole characters, each time */
            int len = first_part((unsigned char *)got + n_got + at, k - at);
            CHECK(len > 0);
            at += (size_t)abs(len);
        }
        n_got += k;
    }
    n_got += mp_detok_flush(&d, got + n_got);
    CHECK(n_got == n_want && memcmp(got, want, n_got) == 0);
}

TEST(stream_equals_whole)
{
    static const unsigned char spice[] = { 0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0x80, 0xED, 0xA0,
                                          0xE0, 0x80, 0xF4, 0x90, 0xFF, 'a', 0xBF, 0xC1 };
    for (int kind = 0; kind < 2; kind++) {
        mp_tok *t = kind ? open_small("llama", NULL) : open_small("gpt2", "gpt-2");
        for (int round = 0; round < 3000; round++) {
            int32_t ids[40];
            size_t  n = 1 + dice(40);
            for (size_t i = 0; i < n; i++)
                ids[i] = dice(3) ? 5 + spice[dice(sizeof spice)] : (int32_t)dice((unsigned)mp_tok_count(t) + 3) - 1;
            check_stream(t, ids, n, dice(4) * 2);
        }
        mp_tok_close(&t);
    }
}

/* As Python decodes with errors="replace". */
TEST(replacements)
{
    static const struct { const char *bytes, *text; } cases[] = {
        { "\xE2\x82" "A", "\xEF\xBF\xBD" "A" }, { "\xF0\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" },
        { "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" }, { "\xE2\x82\xAC", "\xE2\x82\xAC" }, { "\xF0\x9F\x98", "\xEF\xBF\xBD" },
        { "\xC3\xC3\xA9", "\xEF\xBF\xBD\xC3\xA9" }, { "\xF4\x90", "\xEF\xBF\xBD\xEF\xBF\xBD" }, { "\x80", "\xEF\xBF\xBD" },
    };
    mp_tok *t = open_small("gpt2", "gpt-2");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char     got[64];
        size_t   n = 0;
        mp_detok d = mp_detok_init(0);
        for (const char *c = cases[i].bytes; *c; c++) n += mp_detok_push(&d, t, 5 + (unsigned char)*c, got + n);
        n += mp_detok_flush(&d, got + n);
        got[n] = 0;
        CHECK_STR(got, cases[i].text);
    }
    mp_tok_close(&t);
}

/* ---- what files can get wrong ---- */

static void refused(tv *v, const char *because)
{
    mp_tok *t = (mp_tok *)&ledger;
    CHECK_EQ(mp_tok_open_source(ledger, tv_source(v), &t), MP_E_MODEL);
    CHECK(t == NULL);
    if (!strstr(mp_err_text(), because)) CHECK_STR(mp_err_text(), because);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    free(v);
}

TEST(bad_vocabularies)
{
    tv *v = tv_small("gpt2", "klingon");
    refused(v, "pre-tokenizer \"klingon\"");
    v = tv_small("wordpiece", NULL);
    refused(v, "\"wordpiece\"");
    v = tv_small("gpt2", NULL);
    memcpy(v->merge[3], "nothing", v->n_merge[3] = 7);
    refused(v, "merge 3");
    v = tv_small("gpt2", NULL);
    v->n_merge[0] = 0;
    refused(v, "merge 0");
    v = tv_small("gpt2", NULL);
    v->source.merge = NULL;
    refused(v, "no merges");
    v = tv_small("llama", NULL);
    v->score[7] = 0.0 / 0.0;
    refused(v, "token 7");
    v = tv_small("llama", NULL);
    v->source.score = NULL;
    refused(v, "no scores");
    v = tv_open("gpt2", NULL);
    refused(v, "0 tokens");
}

/* What is odd but harmless is taken as it comes. */
TEST(odd_vocabularies)
{
    tv *v = tv_small("gpt2", "gpt-2");
    tv_add(v, "", 0, MP_TOK_NORMAL, 0);
    tv_add(v, "", 0, MP_TOK_CONTROL, 0);
    tv_add(v, v->text[263], v->n_text[263], MP_TOK_NORMAL, 0);  /* a token twice: the first counts */
    tv_add(v, "in", 2, MP_TOK_USER, 0);                         /* also as a user-defined one */
    tv_add(v, "zz", 2, 77, 0);                                  /* a type that does not exist */
    memcpy(v->merge[v->merges], "q unheard-of", v->n_merge[v->merges] = 12); /* a rule for a token that does not exist */
    v->merges++;
    v->source.bos = v->source.eot = INT64_MAX;
    v->source.add_bos = v->source.add_eos = 1;
    mp_tok *t = open_vocab(v);
    check_pieces(t, " the tin qu zz", MP_TOK_BOS, " the| t|in| |q|u| |z|z|</s>");
    CHECK_EQ(mp_tok_get_info(t)->bos, -1);
    CHECK_EQ(mp_tok_get_info(t)->eot, 3);
    mp_tok_close(&t);
    free(v);
    v = tv_open("gpt2", "gpt-2"); /* nothing but two letters, and no unk: the rest of the text is lost, quietly */
    tv_named(v, "a", MP_TOK_NORMAL);
    tv_named(v, "b", MP_TOK_NORMAL);
    tv_merge(v, "a", "b");
    t = open_vocab(v);
    check_pieces(t, "xabxba", 0, "ab|b|a");
    mp_tok_close(&t);
    v->source.unk = 1;
    t = open_vocab(v);
    check_pieces(t, "xab", 0, "b|ab");
    mp_tok_close(&t);
    free(v);
}

/* ---- out of a file ---- */

typedef struct from_file { mp_gguf *g; mp_tok *t; mp_err err; bool usable; } from_file;

static from_file open_file(gw **w)
{
    from_file f = { 0 };
    char      path[] = "/tmp/moped-tok-XXXXXX";
    int       fd = mkstemp(path);
    if (fd < 0) exit(2);
    close(fd);
    gw_save(*w, path);
    gw_close(w);
    CHECK_OK(mp_gguf_open(ledger, path, &f.g));
    unlink(path);
    if (!f.g) exit(1);
    f.usable = mp_tok_usable(f.g);
    f.err = mp_tok_open(ledger, f.g, &f.t);
    CHECK_EQ(f.err != MP_OK, f.t == NULL);
    mp_gguf_close(&f.g);
    return f;
}

static gw *small_file(const char *model)
{
    static const char *const tokens[] = { "<unk>", "<s>", "</s>", "a", "b", "ab", "\xE2\x96\x81" }, *const merges[] = { "a b" };
    gw *w = gw_open();
    gw_str(w, "general.architecture", "llama");
    if (model) gw_str(w, "tokenizer.ggml.model", model);
    gw_array_str(w, "tokenizer.ggml.tokens", tokens, 7);
    gw_array(w, "tokenizer.ggml.token_type", GW_I32, (int32_t[]){ 2, 3, 3, 1, 1, 1, 1 }, 7);
    if (model && !strcmp(model, "llama")) gw_array(w, "tokenizer.ggml.scores", GW_F32, (float[]){ 0, 0, 0, -3, -2, -1, -4 }, 7);
    else gw_array_str(w, "tokenizer.ggml.merges", merges, 1);
    return w;
}

TEST(files)
{
    gw *w = small_file("llama");
    gw_u32(w, "tokenizer.ggml.eos_token_id", 3);
    gw_u32(w, "tokenizer.ggml.padding_token_id", 4000000000u);
    gw_bool(w, "tokenizer.ggml.add_eos_token", true);
    gw_str(w, "tokenizer.chat_template", "plain");
    gw_array_str(w, "tokenizer.chat_templates", (const char *const[]){ "tool_use", "missing", "" }, 3);
    gw_str(w, "tokenizer.chat_template.tool_use", "tools");
    from_file f = open_file(&w);
    CHECK(f.usable && f.err == MP_OK);
    if (!f.t) return;
    check_pieces(f.t, "ab", MP_TOK_BOS, "<s>| |ab|a");
    CHECK_EQ(mp_tok_get_info(f.t)->eos, 3);
    CHECK_EQ(mp_tok_get_info(f.t)->pad, -1);
    CHECK_STR(mp_tok_chat_template(f.t, NULL), "plain");
    CHECK_STR(mp_tok_chat_template(f.t, "tool_use"), "tools");
    CHECK(mp_tok_chat_template(f.t, "missing") == NULL);
    mp_tok_close(&f.t);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

static void unusable(gw *w, bool usable, const char *because)
{
    from_file f = open_file(&w);
    CHECK_EQ(f.usable, usable);
    CHECK_EQ(f.err, MP_E_MODEL);
    if (!strstr(mp_err_text(), because)) CHECK_STR(mp_err_text(), because);
    mp_tok_close(&f.t);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

TEST(files_without_a_vocabulary)
{
    unusable(small_file(NULL), false, "tokenizer.ggml.model is missing");
    unusable(small_file("no_vocab"), false, "\"no_vocab\"");
    unusable(small_file("t5"), true, "\"t5\"");
    gw *w = gw_open();
    gw_str(w, "tokenizer.ggml.model", "gpt2");
    unusable(w, false, "tokenizer.ggml.tokens is missing");
    w = gw_open();
    gw_str(w, "tokenizer.ggml.model", "gpt2");
    gw_array_numbered(w, "tokenizer.ggml.tokens", "<placeholder", 10);
    unusable(w, false, "tokenizer.ggml.merges is missing");
    w = gw_open();
    gw_str(w, "tokenizer.ggml.model", "llama");
    gw_array_numbered(w, "tokenizer.ggml.tokens", "<placeholder", 10);
    gw_array(w, "tokenizer.ggml.scores", GW_F32, (float[]){ 0, 1, 2 }, 3);
    unusable(w, false, "tokenizer.ggml.scores");
    w = small_file("gpt2");
    gw_str(w, "tokenizer.ggml.pre", "klingon");
    unusable(w, true, "klingon");
    w = gw_open();
    gw_str(w, "tokenizer.ggml.model", "gpt2");
    gw_array(w, "tokenizer.ggml.tokens", GW_I32, (int32_t[]){ 1, 2 }, 2);
    unusable(w, false, "tokenizer.ggml.tokens");
}

int main(void)
{
    if (mp_ledger_open(false, &ledger)) return 2;
    RUN(byte_level);
    RUN(sentencepiece);
    RUN(named_tokens);
    RUN(whole_tokens_are_not_merged);
    RUN(too_little_room);
    RUN(decoding);
    RUN(end_tokens_of_gpt_oss);
    RUN(merges_as_the_rule_says);
    RUN(windows_do_not_show);
    RUN(windows_and_huge_tokens);
    RUN(scores_as_the_rule_says);
    RUN(long_texts_end);
    RUN(stream_equals_whole);
    RUN(replacements);
    RUN(bad_vocabularies);
    RUN(odd_vocabularies);
    RUN(files);
    RUN(files_without_a_vocabulary);
    mp_ledger_close(&ledger);
    return test_done();
}
