/* The GGUF reader on files that tests/support/gguf_write.c makes: sound ones (all value types, all tensor types, versions, alignments) and parts.
 * Files that are wrong are in test_gguf_bad.c. */
#include "mem/gguf.h"

#include "support/gguf_write.h"
#include "test.h"

static char       dir[] = "/tmp/moped-gguf-XXXXXX";
static mp_ledger *ledger;

static const char *in_dir(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* Writes w, closes it, opens the file. NULL (and a failed check) when it does not open. */
static mp_gguf *reopen(gw **w)
{
    mp_gguf *g = NULL;
    gw_save(*w, in_dir("one.gguf"));
    gw_close(w);
    CHECK_OK(mp_gguf_open(ledger, in_dir("one.gguf"), &g));
    return g;
}

static bool is(mp_str s, const char *text) { return s.n == strlen(text) && memcmp(s.s, text, s.n) == 0; }

/* A key of every number type, at values that only that type holds. */
static mp_gguf *open_numbers(void)
{
    gw *w = gw_open();
    gw_u8(w, "u8", 255);
    gw_i8(w, "i8", -128);
    gw_u16(w, "u16", 65535);
    gw_i16(w, "i16", -32768);
    gw_u32(w, "u32", UINT32_MAX);
    gw_i32(w, "i32", INT32_MIN);
    gw_u64(w, "u64", UINT64_MAX);
    gw_i64(w, "i64", INT64_MIN);
    gw_i64(w, "positive", 5);
    gw_f32(w, "f32", 0.1f);
    gw_f64(w, "f64", 0.1);
    gw_bool(w, "yes", true);
    gw_bool(w, "no", false);
    gw_str(w, "text", "words");
    gw_str(w, "empty", "");
    return reopen(&w);
}

TEST(reads_numbers_of_every_type)
{
    mp_gguf *g = open_numbers();
    REQUIRE(g);
    uint64_t u = 0;
    int64_t  i = 0;
    double   f = 0;
    CHECK(mp_gguf_u64(g, "u8", &u) && u == 255);
    CHECK(mp_gguf_u64(g, "u16", &u) && u == 65535);
    CHECK(mp_gguf_u64(g, "u32", &u) && u == UINT32_MAX);
    CHECK(mp_gguf_u64(g, "u64", &u) && u == UINT64_MAX);
    CHECK(mp_gguf_u64(g, "positive", &u) && u == 5);
    CHECK(mp_gguf_u64(g, "yes", &u) && u == 1);
    CHECK(mp_gguf_i64(g, "i8", &i) && i == -128);
    CHECK(mp_gguf_i64(g, "i16", &i) && i == -32768);
    CHECK(mp_gguf_i64(g, "i32", &i) && i == INT32_MIN);
    CHECK(mp_gguf_i64(g, "i64", &i) && i == INT64_MIN);
    CHECK(mp_gguf_i64(g, "u32", &i) && i == (int64_t)UINT32_MAX);
    CHECK(mp_gguf_f64(g, "f32", &f) && f == (double)0.1f);
    CHECK(mp_gguf_f64(g, "f64", &f) && f == 0.1);
    CHECK(mp_gguf_f64(g, "i8", &f) && f == -128);
    CHECK(mp_gguf_f64(g, "u64", &f) && f == 18446744073709551616.0);
    mp_gguf_close(&g);
    CHECK(!g);
}

TEST(leaves_out_alone_when_a_value_does_not_fit)
{
    mp_gguf *g = open_numbers();
    REQUIRE(g);
    uint64_t u = 7;
    int64_t  i = 7;
    double   f = 7;
    bool     b = true;
    mp_str   s = { "x", 1 };
    CHECK(!mp_gguf_u64(g, "i8", &u) && !mp_gguf_u64(g, "f32", &u) && !mp_gguf_u64(g, "text", &u) && !mp_gguf_u64(g, "absent", &u) && u == 7);
    CHECK(!mp_gguf_i64(g, "u64", &i) && !mp_gguf_i64(g, "f64", &i) && i == 7);
    CHECK(!mp_gguf_f64(g, "text", &f) && !mp_gguf_f64(g, "", &f) && f == 7);
    CHECK(!mp_gguf_bool(g, "u8", &b) && !mp_gguf_bool(g, "text", &b) && b);
    CHECK(mp_gguf_bool(g, "no", &b) && !b);
    CHECK(mp_gguf_bool(g, "yes", &b) && b);
    CHECK(!mp_gguf_str(g, "u8", &s) && s.n == 1);
    CHECK(mp_gguf_str(g, "text", &s) && is(s, "words"));
    CHECK(mp_gguf_str(g, "empty", &s) && s.n == 0);
    CHECK_EQ(mp_gguf_array_len(g, "text"), -1);
    CHECK_EQ(mp_gguf_array_len(g, "absent"), -1);
    mp_gguf_close(&g);
}

TEST(reads_arrays)
{
    gw *w = gw_open();
    gw_array_str(w, "words", (const char *const[]){ "a", "", "three", "\xff\x01" }, 4);
    gw_array(w, "f32", GW_F32, (float[]){ 0.5f, -1.0f }, 2);
    gw_array(w, "i32", GW_I32, (int32_t[]){ -1, 2, 3 }, 3);
    gw_array(w, "u64", GW_U64, (uint64_t[]){ 1, UINT64_MAX }, 2);
    gw_array(w, "bool", GW_BOOL, (uint8_t[]){ 1, 0 }, 2);
    gw_array(w, "none", GW_F64, NULL, 0);
    gw_array_str(w, "no words", NULL, 0);
    mp_gguf *g = reopen(&w);
    REQUIRE(g);
    mp_str        s = { 0 };
    double        f = 0;
    mp_gguf_array a;
    CHECK_EQ(mp_gguf_array_len(g, "words"), 4);
    CHECK(mp_gguf_array_str(g, "words", 2, &s) && is(s, "three"));
    CHECK(mp_gguf_array_str(g, "words", 1, &s) && s.n == 0);
    CHECK(mp_gguf_array_str(g, "words", 3, &s) && is(s, "\xff\x01"));
    CHECK(!mp_gguf_array_str(g, "words", 4, &s) && !mp_gguf_array_str(g, "words", -1, &s) && !mp_gguf_array_f64(g, "words", 0, &f));
    CHECK(mp_gguf_array_f64(g, "f32", 1, &f) && f == -1);
    CHECK(mp_gguf_array_f64(g, "i32", 0, &f) && f == -1);
    CHECK(mp_gguf_array_f64(g, "bool", 0, &f) && f == 1);
    CHECK(!mp_gguf_array_f64(g, "f32", 2, &f) && !mp_gguf_array_str(g, "f32", 0, &s));
    CHECK(mp_gguf_array_len(g, "none") == 0 && mp_gguf_array_len(g, "no words") == 0);
    CHECK(mp_gguf_array_get(g, "u64", &a) && a.n == 2 && a.type == GW_U64 && mp_gguf_array_f64_at(&a, 1) == 18446744073709551616.0);
    CHECK(mp_gguf_array_str_at(&a, 0).s == NULL && mp_gguf_array_f64_at(&a, 2) == 0);
    CHECK(!mp_gguf_array_get(g, "absent", &a));
    mp_gguf_close(&g);
}

/* 200,000 strings: more than fit into one window, so values cross its edge at every phase. */
TEST(reads_a_vocabulary_and_gives_its_memory_back)
{
    enum { N = 200000 };
    gw *w = gw_open();
    gw_str(w, "general.architecture", "llama");
    gw_array_numbered(w, "tokenizer.ggml.tokens", "token number ", N);
    gw_array(w, "layers", GW_I32, (int32_t[]){ 4, 5 }, 2);
    mp_gguf *g = reopen(&w);
    REQUIRE(g);
    mp_gguf_array a;
    char          want[64];
    int           wrong = 0;
    REQUIRE(mp_gguf_array_get(g, "tokenizer.ggml.tokens", &a));
    for (int i = 0; i < N; i++) {
        snprintf(want, sizeof want, "token number %d", i);
        wrong += !is(mp_gguf_array_str_at(&a, i), want);
    }
    CHECK_EQ(wrong, 0);
    uint64_t full = mp_ledger_get(ledger, MP_TIER_RAM, MP_OWN_TOKENIZER).used_bytes;
    CHECK(full < N * (19 + 4) + 100000); /* text and one offset each */
    mp_gguf_drop_arrays(g);
    CHECK(mp_ledger_get(ledger, MP_TIER_RAM, MP_OWN_TOKENIZER).used_bytes + N * 20 < full);
    double d = 0;
    mp_str s;
    CHECK_EQ(mp_gguf_array_len(g, "tokenizer.ggml.tokens"), N);
    CHECK(!mp_gguf_array_str(g, "tokenizer.ggml.tokens", 0, &s) && !mp_gguf_array_get(g, "tokenizer.ggml.tokens", &a));
    CHECK(mp_gguf_array_f64(g, "layers", 1, &d) && d == 5);
    mp_gguf_drop_arrays(g);
    mp_gguf_close(&g);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

/* Every type at the ids of the format's table, not at the library's own. */
static const struct { uint32_t id; mp_dtype dtype; } all_types[] = {
    { 0, MP_F32 }, { 1, MP_F16 }, { 30, MP_BF16 }, { 2, MP_Q4_0 }, { 3, MP_Q4_1 }, { 6, MP_Q5_0 }, { 7, MP_Q5_1 }, { 8, MP_Q8_0 },
    { 10, MP_Q2_K }, { 11, MP_Q3_K }, { 12, MP_Q4_K }, { 13, MP_Q5_K }, { 14, MP_Q6_K }, { 20, MP_IQ4_NL }, { 23, MP_IQ4_XS },
    { 34, MP_TQ1_0 }, { 35, MP_TQ2_0 }, { 39, MP_MXFP4 }, { 26, MP_I32 },
};
enum { ALL_TYPES = sizeof all_types / sizeof *all_types };

/* Compares what the directory says of tensor `name` with the bytes that the writer put into the file: the first and the last of its data. */
static void check_tensor(const mp_gguf *g, const char *name, uint32_t id, mp_dtype dtype, uint8_t first)
{
    const uint64_t        ne[3] = { 512, 3, 2 };
    const mp_gguf_tensor *t = mp_gguf_find(g, name);
    uint8_t               bytes[2] = { 0 };
    REQUIRE(t);
    CHECK(is(t->name, name));
    CHECK_EQ(t->dtype, dtype);
    CHECK(t->rank == 3 && t->shape[0] == 2 && t->shape[1] == 3 && t->shape[2] == 512 && t->shape[3] == 1);
    CHECK_EQ(t->bytes, gw_bytes_of(id, 3, ne));
    CHECK_OK(mp_file_read(mp_gguf_file(g, t->file), &bytes[0], 1, t->offset));
    CHECK_OK(mp_file_read(mp_gguf_file(g, t->file), &bytes[1], 1, t->offset + t->bytes - 1));
    CHECK_EQ(bytes[0], first);
    CHECK_EQ(bytes[1], (uint8_t)(first + 7 * (t->bytes - 1)));
}

static gw *write_all_types(void)
{
    gw *w = gw_open();
    gw_str(w, "general.architecture", "llama");
    for (int i = 0; i < ALL_TYPES; i++) {
        char name[32];
        snprintf(name, sizeof name, "blk.%d.weight", i);
        gw_tensor(w, name, all_types[i].id, 3, (uint64_t[]){ 512, 3, 2 }, NULL);
    }
    return w;
}

static void check_all_types(const mp_gguf *g)
{
    CHECK_EQ(mp_gguf_tensors(g), ALL_TYPES);
    for (int i = 0; i < ALL_TYPES; i++) {
        char name[32];
        snprintf(name, sizeof name, "blk.%d.weight", i);
        check_tensor(g, name, all_types[i].id, all_types[i].dtype, (uint8_t)((i + 1) * 29 + 'b'));
        CHECK(mp_gguf_tensor_at(g, i) == mp_gguf_find(g, name));
    }
    CHECK(!mp_gguf_find(g, "blk.99.weight"));
    CHECK(!mp_gguf_find(g, ""));
}

TEST(finds_tensors_of_every_type_in_both_versions_and_at_every_alignment)
{
    static const uint32_t alignments[] = { 1, 8, 32, 64, 4096 };
    for (uint32_t version = 2; version <= 3; version++) {
        for (int i = 0; i < 5; i++) {
            gw *w = write_all_types();
            gw_version(w, version);
            gw_alignment(w, alignments[i]);
            mp_gguf *g = reopen(&w);
            REQUIRE(g);
            check_all_types(g);
            CHECK_EQ(mp_gguf_files(g), 1);
            CHECK_EQ(mp_gguf_bytes(g), mp_gguf_file(g, 0)->bytes);
            CHECK_STR(mp_gguf_path(g, 0), in_dir("one.gguf"));
            mp_gguf_close(&g);
        }
    }
    gw      *w = write_all_types(); /* no alignment key: 32 */
    mp_gguf *g = reopen(&w);
    REQUIRE(g);
    check_all_types(g);
    CHECK(mp_gguf_find(g, "blk.1.weight")->offset % 32 == 0);
    mp_gguf_close(&g);
}

/* Ranks 1 to 4, gaps between tensors (the offset is what the file says), and bytes behind the last one. */
TEST(takes_offsets_from_the_file)
{
    gw *w = gw_open();
    gw_tensor(w, "vector", 0, 1, (uint64_t[]){ 5 }, NULL);
    gw_tensor(w, "four", 0, 4, (uint64_t[]){ 2, 3, 4, 5 }, NULL);
    gw_tensor_raw(w, "last", 0, 1, (uint64_t[]){ 1 }, NULL, 200);
    gw_set_offset(w, 2, 32 + 480 + 64);
    mp_gguf *g = reopen(&w);
    REQUIRE(g);
    const mp_gguf_tensor *v = mp_gguf_find(g, "vector"), *f = mp_gguf_find(g, "four"), *l = mp_gguf_find(g, "last");
    REQUIRE(v && f && l);
    CHECK(v->rank == 1 && v->shape[0] == 5 && v->bytes == 20);
    CHECK(f->rank == 4 && f->shape[0] == 5 && f->shape[1] == 4 && f->shape[2] == 3 && f->shape[3] == 2 && f->bytes == 480);
    CHECK_EQ(f->offset, v->offset + 32);
    CHECK_EQ(l->offset, v->offset + 32 + 480 + 64);
    mp_gguf_close(&g);
}

TEST(opens_a_split_model_from_any_part)
{
    for (int parts = 1; parts <= 5; parts++) {
        for (uint32_t version = 2; version <= 3; version++) {
            gw *w = write_all_types();
            gw_version(w, version);
            if (parts == 3) {
                gw_alignment(w, 64);
            }
            gw_save_split(w, in_dir("split"), parts);
            gw_close(&w);
            for (int given = 1; given <= parts; given++) {
                char     name[64];
                mp_gguf *g;
                snprintf(name, sizeof name, "split-%05d-of-%05d.gguf", given, parts);
                CHECK_OK(mp_gguf_open(ledger, in_dir(name), &g));
                REQUIRE(g);
                CHECK_EQ(mp_gguf_files(g), parts);
                check_all_types(g);
                CHECK_EQ(mp_gguf_tensor_at(g, ALL_TYPES - 1)->file, parts - 1);
                CHECK(strstr(mp_gguf_path(g, 0), "-00001-of-"));
                mp_gguf_close(&g);
            }
        }
    }
}

static void check_vocabulary(const char *rel, int64_t tokens, int64_t merges)
{
    char     path[512];
    mp_gguf *g;
    mp_str   model = { 0 };
    if (!test_shared(rel, path, sizeof path)) {
        SKIP("the reference vocabularies are not beside the checkout");
    }
    CHECK_OK(mp_gguf_open(ledger, path, &g));
    REQUIRE(g);
    CHECK(mp_gguf_str(g, "tokenizer.ggml.model", &model) && model.n > 0);
    CHECK_EQ(mp_gguf_array_len(g, "tokenizer.ggml.tokens"), tokens);
    CHECK_EQ(mp_gguf_array_len(g, "tokenizer.ggml.merges"), merges);
    CHECK_EQ(mp_gguf_array_len(g, "tokenizer.ggml.token_type"), tokens);
    mp_gguf_close(&g);
}

TEST(opens_published_vocabularies)
{
    check_vocabulary("data/tokenizers/llama-bpe-vocab.gguf", 128256, 280147);
    check_vocabulary("data/tokenizers/qwen2-vocab.gguf", 151936, 151387);
    check_vocabulary("data/tokenizers/ggml-vocab-llama-spm.gguf", 32000, -1);
    check_vocabulary("data/tokenizers/ggml-vocab-gpt-2.gguf", 50257, 50000);
}

TEST(first_token_of_a_published_vocabulary_is_right)
{
    char     path[512];
    mp_gguf *g;
    mp_str   s = { 0 };
    if (!test_shared("data/tokenizers/ggml-vocab-gpt-2.gguf", path, sizeof path)) {
        SKIP("the reference vocabularies are not beside the checkout");
    }
    CHECK_OK(mp_gguf_open(ledger, path, &g));
    REQUIRE(g);
    CHECK(mp_gguf_array_str(g, "tokenizer.ggml.tokens", 0, &s) && is(s, "!"));
    CHECK(mp_gguf_array_str(g, "tokenizer.ggml.tokens", 50256, &s) && is(s, "<|endoftext|>"));
    CHECK(mp_gguf_array_str(g, "tokenizer.ggml.merges", 0, &s) && is(s, "\xc4\xa0 t"));
    mp_gguf_close(&g);
}

TEST(gives_everything_back)
{
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

int main(void)
{
    if (!mkdtemp(dir) || mp_ledger_open(false, &ledger) != MP_OK) {
        return 1;
    }
    RUN(reads_numbers_of_every_type);
    RUN(leaves_out_alone_when_a_value_does_not_fit);
    RUN(reads_arrays);
    RUN(reads_a_vocabulary_and_gives_its_memory_back);
    RUN(finds_tensors_of_every_type_in_both_versions_and_at_every_alignment);
    RUN(takes_offsets_from_the_file);
    RUN(opens_a_split_model_from_any_part);
    RUN(opens_published_vocabularies);
    RUN(first_token_of_a_published_vocabulary_is_right);
    RUN(gives_everything_back);
    mp_ledger_close(&ledger);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command) == 0 ? test_done() : 1;
}
