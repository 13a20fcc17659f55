/* Tokenizers when memory runs out: the N-th allocation fails, for every N, while opening and while encoding. */
#include "fault/wrap.h"
#include "model/tok/tok.h"
#include "support/gguf_write.h"
#include "support/tok_vocab.h"
#include "test.h"

static mp_ledger *ledger;

static int walk_open(const char *model)
{
    tv *v = tv_small(model, "qwen2");
    for (int n = 1;; n++) {
        mp_tok *t = (mp_tok *)&ledger;
        wrap_fail(WRAP_MEMORY, n);
        mp_err err = mp_tok_open_source(ledger, tv_source(v), &t);
        bool   hit = wrap_stop();
        CHECK_EQ(hit, err != MP_OK);
        CHECK_EQ(err != MP_OK, t == NULL);
        mp_tok_close(&t);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
        if (!hit) {
            free(v);
            return n - 1;
        }
    }
}

TEST(opening)
{
    CHECK(walk_open("gpt2") >= 9);
    CHECK(walk_open("llama") >= 9);
}

TEST(opening_a_file)
{
    char path[] = "/tmp/moped-tok-XXXXXX";
    int  fd = mkstemp(path), n = 1;
    REQUIRE(fd >= 0);
    close(fd);
    gw *w = gw_open();
    gw_str(w, "general.architecture", "llama");
    gw_str(w, "tokenizer.ggml.model", "gpt2");
    gw_array_str(w, "tokenizer.ggml.tokens", (const char *const[]){ "a", "b", "ab", "<|im_end|>" }, 4);
    gw_array_str(w, "tokenizer.ggml.merges", (const char *const[]){ "a b" }, 1);
    gw_str(w, "tokenizer.chat_template", "a template");
    gw_save(w, path);
    gw_close(&w);
    mp_gguf *g = NULL;
    CHECK_OK(mp_gguf_open(ledger, path, &g));
    unlink(path);
    REQUIRE(g);
    uint64_t before = mp_ledger_used(ledger, MP_TIER_RAM);
    for (bool hit = true; hit; n++) {
        mp_tok *t;
        wrap_fail(WRAP_MEMORY, n);
        mp_err err = mp_tok_open(ledger, g, &t);
        hit = wrap_stop();
        CHECK_EQ(hit, err != MP_OK);
        CHECK_EQ(err != MP_OK, t == NULL);
        mp_tok_close(&t);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), before);
    }
    CHECK(n > 10);
    mp_gguf_close(&g);
}

static int walk_encode(const mp_tok *t, const char *text, size_t n_text)
{
    uint64_t before = mp_ledger_used(ledger, MP_TIER_RAM);
    for (int n = 1;; n++) {
        size_t m = 1;
        wrap_fail(WRAP_MEMORY, n);
        mp_err err = mp_tok_encode(t, (mp_str){ text, n_text }, 0, NULL, 0, &m);
        bool   hit = wrap_stop();
        CHECK_EQ(hit, err != MP_OK);
        CHECK(!hit || m == 0);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), before);
        if (!hit) return n - 1;
    }
}

TEST(encoding)
{
    enum { BYTES = 40000 };
    char *text = malloc(BYTES);
    if (!text) exit(2);
    for (int kind = 0; kind < 2; kind++) {
        tv     *v = tv_small(kind ? "llama" : "gpt2", "qwen2");
        mp_tok *t = NULL;
        CHECK_OK(mp_tok_open_source(ledger, tv_source(v), &t));
        free(v);
        REQUIRE(t);
        memset(text, 'a', BYTES);
        CHECK_EQ(walk_encode(t, text, 20), 0);   /* short texts need nothing */
        CHECK(walk_encode(t, text, 200) >= 6);   /* a long piece: the merger */
        text[300] = ' ';                       /* ... and a longer one after it, and the cache; llama: a copy of the first word */
        CHECK(walk_encode(t, text, BYTES) >= (kind ? 14 : 13));
        mp_tok_close(&t);
    }
    free(text);
}

int main(void)
{
    if (mp_ledger_open(false, &ledger)) return 2;
    RUN(opening);
    RUN(opening_a_file);
    RUN(encoding);
    mp_ledger_close(&ledger);
    return test_done();
}
