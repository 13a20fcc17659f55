/* Tokenizers against ids that other implementations gave: llama.cpp's vocabulary tests, sentencepiece, Python's reference BPE.
 * Needs the shared reference data (shared/data/tokenizers); skipped, loudly, without it. */
#include <jansson.h>

#include "model/tok/tok.h"
#include "test.h"

static mp_ledger *ledger;

/* ---- files ---- */

static char *read_all(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f) exit(2);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *s = malloc(*n + 1);
    if (!s || fread(s, 1, *n, f) != *n) exit(2);
    s[*n] = 0;
    fclose(f);
    return s;
}

/* NULL: not there. */
static mp_tok *open_vocab(const char *file)
{
    char rel[256], path[1024];
    snprintf(rel, sizeof rel, "data/tokenizers/%s", file);
    if (!test_shared(rel, path, sizeof path)) return NULL;
    mp_gguf *g = NULL;
    mp_tok  *t = NULL;
    CHECK_OK(mp_gguf_open(ledger, path, &g));
    if (!g) return NULL;
    CHECK(mp_tok_usable(g));
    CHECK_OK(mp_tok_open(ledger, g, &t));
    mp_gguf_close(&g);
    return t;
}

/* ---- one text ---- */

static bool same_ids(const mp_tok *t, const char *text, size_t n, const int32_t *want, size_t n_want, const char *what)
{
    int32_t *ids = malloc((n + 8) * sizeof *ids);
    size_t   m = 0;
    if (!ids) exit(2);
    CHECK_OK(mp_tok_encode(t, (mp_str){ text, n }, 0, ids, n + 8, &m));
    size_t i = 0;
    while (i < m && i < n_want && ids[i] == want[i]) i++;
    bool ok = i == m && i == n_want;
    if (!ok) printf("%s: %zu ids, expected %zu; differ from id %zu on\n", what, m, n_want, i);
    free(ids);
    return ok;
}

static void check_round_trip(const mp_tok *t, const int32_t *ids, size_t n_ids, const char *text, size_t n)
{
    char  *buf = malloc(n + 16);
    size_t m = 0;
    if (!buf) exit(2);
    m = mp_tok_decode(t, ids, n_ids, 0, buf, n + 16);
    CHECK(m == n && memcmp(buf, text, n) == 0);
    free(buf);
}

/* ---- llama.cpp's vectors ---- */

static size_t read_ids(char **line, int32_t *ids, size_t cap)
{
    size_t n = 0;
    char  *p = *line, *end;
    for (;; p = end) {
        while (*p == ' ') p++;
        if (*p == '\n' || *p == 0) break;
        long v = strtol(p, &end, 10);
        if (end == p || n == cap) exit(2);
        ids[n++] = (int32_t)v;
    }
    *line = *p ? p + 1 : p;
    return n;
}

/* Cases are separated by "\n__ggml_vocab_test__\n"; line i of .out has the ids of case i. */
static int check_vectors(const mp_tok *t, const char *name)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    char              rel[256], path[1024];
    size_t            n_in, n_out;
    snprintf(rel, sizeof rel, "data/tokenizers/ggml-vocab-%s.gguf.inp", name);
    if (!test_shared(rel, path, sizeof path)) return 0;
    char *in = read_all(path, &n_in);
    snprintf(path + strlen(path) - 3, 4, "out");
    char *out = read_all(path, &n_out), *line = out, *s = in;
    int   cases = 0;
    while (*line) {
        char   *end = strstr(s, mark);
        size_t  n = end ? (size_t)(end - s) : strlen(s);
        int32_t ids[512];
        char    what[64];
        size_t  n_ids = read_ids(&line, ids, 512);
        snprintf(what, sizeof what, "%s case %d", name, cases + 1);
        CHECK(same_ids(t, s, n, ids, n_ids, what));
        check_round_trip(t, ids, n_ids, s, n);
        cases++;
        s = end ? end + sizeof mark - 1 : s + n;
    }
    free(in);
    free(out);
    return cases;
}

static bool vectors_of(const char *file, const char *name)
{
    mp_tok *t = open_vocab(file);
    if (!t) return false;
    CHECK_EQ(check_vectors(t, name), 46);
    mp_tok_close(&t);
    return true;
}

#define NO_DATA "shared/data/tokenizers is not there"
#define VECTORS(fn, file, name) TEST(fn) { if (!vectors_of(file, name)) SKIP(NO_DATA); }
VECTORS(vectors_gpt2, "ggml-vocab-gpt-2.gguf", "gpt-2")
VECTORS(vectors_llama_bpe, "llama-bpe-vocab.gguf", "llama-bpe")
VECTORS(vectors_qwen2, "qwen2-vocab.gguf", "qwen2")
VECTORS(vectors_deepseek_llm, "ggml-vocab-deepseek-llm.gguf", "deepseek-llm")
VECTORS(vectors_deepseek_coder, "ggml-vocab-deepseek-coder.gguf", "deepseek-coder")
VECTORS(vectors_llama_spm, "ggml-vocab-llama-spm.gguf", "llama-spm")
VECTORS(vectors_phi3, "ggml-vocab-phi-3.gguf", "phi-3")

/* ---- SentencePiece's own file format, as far as pieces go (a protocol buffer: message ModelProto, field 1) ---- */

typedef struct pieces {
    char   *file;
    mp_str *text;
    float  *score;
    int    *type;
    int64_t n;
} pieces;

static uint64_t varint(const unsigned char **p)
{
    uint64_t v = 0;
    for (int shift = 0;; shift += 7) {
        v |= (uint64_t)(**p & 0x7F) << shift;
        if (!(*(*p)++ & 0x80)) return v;
    }
}

static void read_piece(pieces *v, const unsigned char *p, const unsigned char *end)
{
    v->type[v->n] = MP_TOK_NORMAL;
    while (p < end) {
        uint64_t tag = varint(&p);
        if (tag == (1 << 3 | 2)) {
            uint64_t n = varint(&p);
            v->text[v->n] = (mp_str){ (const char *)p, n };
            p += n;
        } else if (tag == (2 << 3 | 5)) {
            memcpy(&v->score[v->n], p, 4);
            p += 4;
        } else if (tag == (3 << 3 | 0)) {
            v->type[v->n] = (int)varint(&p);
        } else {
            exit(2);
        }
    }
    v->n++;
}

static bool read_pieces(const char *rel, pieces *v)
{
    enum { MOST = 40000 };
    char   path[1024];
    size_t n;
    if (!test_shared(rel, path, sizeof path)) return false;
    *v = (pieces){ .file = read_all(path, &n), .text = calloc(MOST, sizeof *v->text), .score = calloc(MOST, 4),
                    .type = calloc(MOST, sizeof(int)) };
    const unsigned char *p = (const unsigned char *)v->file, *end = p + n;
    while (p < end && v->n < MOST && *p == (1 << 3 | 2)) {
        p++;
        uint64_t bytes = varint(&p);
        read_piece(v, p, p + bytes);
        p += bytes;
    }
    return v->n > 0;
}

static mp_str piece_text(const void *from, int64_t i) { return ((const pieces *)from)->text[i]; }
static double piece_score(const void *from, int64_t i) { return ((const pieces *)from)->score[i]; }
static int    piece_type(const void *from, int64_t i) { return ((const pieces *)from)->type[i]; }

static mp_tok *open_pieces(const char *rel)
{
    pieces  v;
    mp_tok *t = NULL;
    if (!read_pieces(rel, &v)) return NULL;
    mp_tok_source src = { .model = "llama", .n_tokens = v.n, .from = &v, .token = piece_text, .score = piece_score, .type = piece_type,
                          .bos = 1, .eos = 2, .eot = -1, .eom = -1, .unk = 0, .pad = -1,
                          .add_bos = -1, .add_eos = -1, .add_space_prefix = -1 };
    CHECK_OK(mp_tok_open_source(ledger, &src, &t));
    free(v.file);
    free(v.text);
    free(v.score);
    free(v.type);
    return t;
}

/* ---- longer texts ---- */

static int check_long(const mp_tok *t, const json_t *cases, const char *vocab)
{
    size_t  i;
    json_t *c;
    int     done = 0;
    json_array_foreach(cases, i, c) {
        const json_t *text = json_object_get(c, "text"), *list = json_object_get(json_object_get(c, "ids"), vocab);
        size_t        n = json_array_size(list);
        int32_t      *ids = malloc((n + 1) * sizeof *ids);
        if (!list || !ids) exit(2);
        for (size_t k = 0; k < n; k++) ids[k] = (int32_t)json_integer_value(json_array_get(list, k));
        CHECK(same_ids(t, json_string_value(text), json_string_length(text), ids, n, vocab));
        check_round_trip(t, ids, n, json_string_value(text), json_string_length(text));
        free(ids);
        done++;
    }
    return done;
}

TEST(long_texts)
{
    static const struct { const char *vocab, *file; } kinds[] = {
        { "gpt-2", "ggml-vocab-gpt-2.gguf" }, { "qwen2", "qwen2-vocab.gguf" }, { "llama-bpe", "llama-bpe-vocab.gguf" },
        { "llama-spm", "ggml-vocab-llama-spm.gguf" }, { "mistral-v1-spm", NULL }, { "mistral-v3-spm", NULL },
    };
    char path[1024];
    if (!test_shared("data/tokenizers/long-vectors.json", path, sizeof path)) SKIP(NO_DATA);
    json_t *all = json_load_file(path, 0, NULL);
    REQUIRE(all);
    for (int i = 0; i < 6; i++) {
        mp_tok *t = kinds[i].file ? open_vocab(kinds[i].file)
                                  : open_pieces(i == 4 ? "data/tokenizers/mistral/tokenizer.model.v1"
                                                       : "data/tokenizers/mistral/mistral_instruct_tokenizer_240323.model.v3");
        CHECK(t != NULL);
        if (t) CHECK_EQ(check_long(t, json_object_get(all, "cases"), kinds[i].vocab), 4);
        mp_tok_close(&t);
    }
    json_decref(all);
}

/* ---- special tokens of real vocabularies ---- */

static void check_special(const mp_tok *t, const char *text, unsigned flags, const int32_t *want, size_t n_want)
{
    int32_t ids[64];
    size_t  m;
    CHECK_OK(mp_tok_encode(t, (mp_str){ text, strlen(text) }, flags, ids, 64, &m));
    CHECK_EQ(m, n_want);
    for (size_t i = 0; i < m && i < n_want; i++) CHECK_EQ(ids[i], want[i]);
}

TEST(special_tokens)
{
    mp_tok *q = open_vocab("qwen2-vocab.gguf"), *l = open_vocab("llama-bpe-vocab.gguf"), *p = open_vocab("ggml-vocab-phi-3.gguf");
    if (!q || !l || !p) {
        mp_tok_close(&q);
        mp_tok_close(&l);
        mp_tok_close(&p);
        SKIP(NO_DATA);
    }
    check_special(q, "<|im_start|>Hello World<|im_end|>", MP_TOK_SPECIAL | MP_TOK_BOS, (int32_t[]){ 151644, 9707, 4337, 151645 }, 4);
    check_special(q, "<think>\n\n\n</think>", 0, (int32_t[]){ 151667, 1406, 151668 }, 3); /* user-defined: always found */
    check_special(l, "<|begin_of_text|>Hello World<|eot_id|>", MP_TOK_SPECIAL, (int32_t[]){ 128000, 9906, 4435, 128009 }, 4);
    check_special(l, "Hello World", MP_TOK_BOS, (int32_t[]){ 128000, 9906, 4435 }, 3);
    check_special(p, "<|user|>\n  Hello World<|end|>", MP_TOK_SPECIAL | MP_TOK_BOS, (int32_t[]){ 1, 32010, 15043, 2787, 32007 }, 5);
    CHECK(mp_tok_is_eog(q, 151645) && mp_tok_is_eog(q, 151643) && !mp_tok_is_eog(q, 151644) && !mp_tok_is_eog(q, 151668));
    CHECK(mp_tok_is_eog(l, 128009) && mp_tok_is_eog(l, 128001) && !mp_tok_is_eog(l, 128000));
    CHECK(mp_tok_is_eog(p, 32007) && mp_tok_is_eog(p, 32000) && mp_tok_is_eog(p, 2));
    CHECK_EQ(mp_tok_get_info(q)->bos, 151643);
    CHECK_EQ(mp_tok_get_info(q)->eot, 151645);
    CHECK(!mp_tok_get_info(q)->add_bos && mp_tok_get_info(l)->add_bos);
    CHECK(mp_tok_chat_template(q, NULL) == NULL);
    CHECK(mp_tok_chat_template(p, NULL) && strstr(mp_tok_chat_template(p, NULL), "message['role'] == 'user'"));
    CHECK(mp_tok_chat_template(p, "tool_use") == NULL);
    mp_tok_close(&q);
    mp_tok_close(&l);
    mp_tok_close(&p);
}

/* Every normal token of a vocabulary is its own bytes; bytes that are no text survive too. */
TEST(any_bytes_round_trip)
{
    static const char *const files[] = { "ggml-vocab-gpt-2.gguf", "qwen2-vocab.gguf", "llama-bpe-vocab.gguf", "ggml-vocab-llama-spm.gguf" };
    char                     text[4096], back[8192];
    int32_t                  ids[4200];
    for (int f = 0; f < 4; f++) {
        mp_tok *t = open_vocab(files[f]);
        if (!t) SKIP(NO_DATA);
        uint64_t x = 88172645463325252u;
        for (int round = 0; round < 200; round++) {
            size_t n = 1 + x % sizeof text, m, k;
            for (size_t i = 0; i < n; i++) {
                x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                text[i] = round % 2 ? (char)(x >> 24) : "aeiou \n\t'1.\xC3\xA9\xE4\xBD\xA0"[(x >> 24) % 16];
            }
            CHECK_OK(mp_tok_encode(t, (mp_str){ text, n }, 0, ids, 4200, &m));
            k = mp_tok_decode(t, ids, m, 0, back, sizeof back);
            CHECK(k == n && memcmp(back, text, n) == 0);
        }
        mp_tok_close(&t);
    }
}

TEST(memory_stays_small)
{
    mp_tok *t = open_vocab("llama-bpe-vocab.gguf");
    if (!t) SKIP(NO_DATA);
    uint64_t used = mp_ledger_get(ledger, MP_TIER_RAM, MP_OWN_TOKENIZER).used_bytes;
    CHECK_EQ(mp_tok_count(t), 128256);
    CHECK(used < 20u << 20);
    size_t n = 4 << 20, m;
    char  *text = malloc(n);
    if (!text) exit(2);
    memset(text, 'a', n);
    mp_ledger_set_limit(ledger, MP_TIER_RAM, used + (2u << 20)); /* encoding 4 MiB in 2 */
    CHECK_OK(mp_tok_encode(t, (mp_str){ text, n }, 0, NULL, 0, &m));
    mp_ledger_set_limit(ledger, MP_TIER_RAM, 0);
    CHECK(m > n / 64 && m < n);
    CHECK_EQ(mp_ledger_get(ledger, MP_TIER_RAM, MP_OWN_TOKENIZER).used_bytes, used);
    free(text);
    mp_tok_close(&t);
}

int main(void)
{
    if (mp_ledger_open(false, &ledger)) return 2;
    RUN(vectors_gpt2);
    RUN(vectors_llama_bpe);
    RUN(vectors_qwen2);
    RUN(vectors_deepseek_llm);
    RUN(vectors_deepseek_coder);
    RUN(vectors_llama_spm);
    RUN(vectors_phi3);
    RUN(long_texts);
    RUN(special_tokens);
    RUN(any_bytes_round_trip);
    RUN(memory_stays_small);
    mp_ledger_close(&ledger);
    return test_done();
}
