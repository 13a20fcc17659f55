/* Model files with random weights: the table of shapes against what the models' makers state, every type's weights against the deviation asked for, every
 * family opened, tokenized with and computed. */
#include <math.h>
#include <sys/stat.h>

#include "model/synth_int.h"
#include "num/kern.h"
#include "support/tiny.h"
#include "test.h"

static char       dir[] = "/tmp/moped-synth-XXXXXX", path[64];
static mp_ledger *ledger;
static const char *const TINY[] = { "tiny-llama", "tiny-mixtral", "tiny-qwen2", "tiny-qwen2moe", "tiny-qwen3", "tiny-qwen3moe", "tiny-olmoe" };
enum { N_TINY = sizeof TINY / sizeof *TINY };

static uint64_t bytes_of(const char *shape, const char *type)
{
    moped_shape_info info;
    CHECK_OK(moped_shape_find(shape, type, &info));
    return info.file_bytes;
}

static bool make(const char *shape, const char *type, uint64_t seed)
{
    moped_synth_options o = { .shape = shape, .type = type, .path = path, .seed = seed };
    int err = moped_synth(&o);
    if (err)
        printf("  %s %s: %s\n", shape, type ? type : "", moped_error());
    return err == MOPED_OK;
}

/* ---- the table ---- */

TEST(shapes_have_the_published_parameters)
{
    int real = 0;
    for (int i = 0; mp_shape_at(i); i++) {
        const mp_shape *s = mp_shape_at(i);
        uint64_t active, all = mp_shape_parameters(s, &active);
        CHECK(active <= all && (active == all) == (s->experts == 0));
        CHECK(s->heads % s->kv_heads == 0 && s->used <= s->experts && (s->experts > 0) == (s->expert_ff > 0));
        if (s->published <= 0)
            continue;
        real++;
        if (fabs((double)all * 1e-9 - s->published) > 0.03 * s->published)
            printf("  %s: %.3f billions, published %.3f\n", s->name, (double)all * 1e-9, s->published), CHECK(false);
    }
    CHECK(real >= 26);
}

/* The count of the formula is that of the tensors in a file. */
TEST(parameters_are_those_of_the_file)
{
    for (int i = 0; i < N_TINY; i++) {
        moped_plan_info plan;
        moped_shape_info info;
        uint64_t rotation = i ? 0 : 32; /* Llama 3.1's divisors are no parameters */
        REQUIRE(make(TINY[i], "Q8_0", 0));
        CHECK_OK(moped_shape_find(TINY[i], "Q8_0", &info));
        CHECK_OK(moped_plan(&(moped_options){ .path = path, .ram_bytes = TINY_ROOM }, &plan));
        CHECK_EQ(plan.model.parameters, info.parameters + rotation);
        CHECK_STR(plan.model.arch, info.arch);
        CHECK_EQ(plan.model.layers, info.layers);
        CHECK_EQ(plan.model.experts, info.experts);
        CHECK_EQ(plan.model.experts_used, info.experts_used);
        CHECK_EQ(plan.model.moe_layers, info.experts ? info.layers : 0);
    }
}

/* Sizes in GB of files that llama.cpp's quantizer made of these models without an importance matrix, as their publishers list them. */
TEST(mixes_have_the_sizes_of_published_files)
{
    static const struct { const char *shape, *type; double gb; } KNOWN[] = {
        { "llama-2-7b", "Q4_0", 3.83 }, { "llama-2-7b", "Q3_K_M", 3.30 }, { "llama-2-7b", "Q4_K_S", 3.86 }, { "llama-2-7b", "Q4_K_M", 4.08 },
        { "llama-2-7b", "Q5_K_M", 4.78 }, { "llama-2-7b", "Q6_K", 5.53 }, { "llama-2-7b", "Q8_0", 7.16 }, { "llama-3.1-8b", "Q2_K", 3.18 },
        { "llama-3.1-8b", "Q3_K_M", 4.02 }, { "llama-3.1-8b", "Q4_K_S", 4.69 }, { "llama-3.1-8b", "Q4_K_M", 4.92 }, { "llama-3.1-8b", "Q6_K", 6.60 },
        { "llama-3.1-70b", "Q4_K_M", 42.52 }, { "qwen2.5-7b", "Q4_K_M", 4.68 }, { "qwen2.5-72b", "Q4_K_M", 47.42 }, { "qwen3-30b-a3b", "Q4_K_M", 18.56 },
        { "qwen3-30b-a3b", "Q8_0", 32.48 }, { "qwen3-235b-a22b", "Q4_K_M", 142.2 }, { "mixtral-8x22b", "Q4_K_M", 85.59 }, { "olmoe-1b-7b", "Q4_K_M", 4.21 },
    };
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
        double gb = (double)bytes_of(KNOWN[i].shape, KNOWN[i].type) * 1e-9;
        if (fabs(gb - KNOWN[i].gb) > 0.005 * KNOWN[i].gb)
            printf("  %s %s: %.3f GB, published %.3f\n", KNOWN[i].shape, KNOWN[i].type, gb, KNOWN[i].gb), CHECK(false);
    }
}

TEST(cut_shapes)
{
    moped_shape_info whole, half;
    CHECK_OK(moped_shape_find("qwen3-30b-a3b", NULL, &whole));
    CHECK_OK(moped_shape_find("qwen3-30b-a3b@24", NULL, &half));
    CHECK_EQ(half.layers, 24);
    CHECK_EQ(half.all_layers, 48);
    CHECK_STR(half.type, "Q4_K_M");
    uint64_t ends = 2ull * 151936 * 2048 + 2048;
    CHECK_EQ(2 * (half.parameters - ends), whole.parameters - ends);
    CHECK(half.file_bytes < 10ull << 30);
    static const char *const BAD[] = { "", "qwen3", "qwen3-30b-a3b@", "qwen3-30b-a3b@0", "qwen3-30b-a3b@49", "qwen3-30b-a3b@2x", "@2", "qwen3-30b-a3b2" };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        CHECK_EQ(moped_shape_find(BAD[i], NULL, &half), MOPED_E_USAGE);
        CHECK_EQ(half.layers, 0);
    }
    CHECK_EQ(moped_shape_find(NULL, NULL, &half), MOPED_E_USAGE);
    CHECK_EQ(moped_shape_find("small", "Q9", &half), MOPED_E_USAGE);
    CHECK(strstr(moped_error(), "Q4_K_M, Q4_K_S") != NULL);
    CHECK_OK(moped_shape_find("small", "q4_k_s", &half));
    CHECK_STR(half.type, "Q4_K_S");
}

/* ---- weights ---- */

static void check_fill(mp_dtype type, double deviation)
{
    enum { N = 1 << 20 };
    const mp_kern *k = mp_kern_get("ref");
    float *x = malloc(N * sizeof *x);
    unsigned char *block = aligned_alloc(64, mp_dtype_row_bytes(type, N) + 64);
    mp_rng r = mp_rng_init(7, "a name");
    double sum = 0, squares = 0;
    bool finite = true;
    mp_synth_fill(&r, type, (float)deviation, block, N);
    k->dequant[type](x, block, N);
    for (int i = 0; i < N; i++) {
        finite = finite && isfinite(x[i]);
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    double mean = sum / N, got = sqrt(squares / N - mean * mean);
    CHECK(finite);
    if (fabs(got / deviation - 1) > 0.02 || fabs(mean) > 0.02 * deviation)
        printf("  %s: deviation %.6g, wanted %.6g; mean %.3g\n", mp_dtype_get(type)->name, got, deviation, mean), CHECK(false);
    free(x), free(block);
}

TEST(weights_deviate_as_asked)
{
    static const mp_dtype TYPES[] = { MP_F32, MP_F16, MP_BF16, MP_Q4_0, MP_Q5_0, MP_Q5_1, MP_Q8_0, MP_Q2_K, MP_Q3_K, MP_Q4_K, MP_Q5_K, MP_Q6_K, MP_IQ4_NL, MP_IQ4_XS };
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
        check_fill(TYPES[i], 1);
        check_fill(TYPES[i], 1 / sqrt(2048));
        check_fill(TYPES[i], 1 / sqrt(29568)); /* the widest fan-in of the table: scales are small halves then */
    }
}

/* Every type that a mix can ask for has a format: an assert in mp_synth_fill would say so, and release builds have none. */
TEST(every_type_of_a_mix_was_tried)
{
    bool used[MP_DTYPE_COUNT] = { false };
    for (int m = 0; mp_mix_at(m); m++)
        for (int s = 0; mp_shape_at(s); s++)
            for (int role = 0; role <= MP_ROLE_DOWN; role++)
                for (int layer = 0; layer < mp_shape_at(s)->layers; layer++) {
                    mp_shape cut = *mp_shape_at(s);
                    cut.all_layers = cut.layers;
                    used[mp_mix_type(mp_mix_at(m), &cut, (mp_role)role, layer, 1024)] = true;
                    used[mp_mix_type(mp_mix_at(m), &cut, (mp_role)role, layer, 1408)] = true;
                    used[mp_mix_type(mp_mix_at(m), &cut, (mp_role)role, layer, 40)] = true;
                }
    static const mp_dtype TRIED[] = { MP_F32, MP_F16, MP_BF16, MP_Q4_0, MP_Q5_0, MP_Q5_1, MP_Q8_0, MP_Q2_K, MP_Q3_K, MP_Q4_K, MP_Q5_K, MP_Q6_K, MP_IQ4_NL, MP_IQ4_XS };
    for (size_t i = 0; i < sizeof TRIED / sizeof *TRIED; i++) {
        CHECK(used[TRIED[i]]);
        used[TRIED[i]] = false;
    }
    for (int i = 0; i < MP_DTYPE_COUNT; i++)
        CHECK(!used[i]);
}

TEST(normal_numbers)
{
    mp_rng r = mp_rng_init(1, "n");
    double sum = 0, squares = 0;
    enum { N = 200000 };
    for (int i = 0; i < N; i++) {
        double v = (double)mp_rng_normal(&r);
        sum += v;
        squares += v * v;
    }
    CHECK_NEAR(sum / N, 0, 0.01);
    CHECK_NEAR(squares / N, 1, 0.01);
}

/* Rows of the router differ in length as log-normal numbers do. */
TEST(routers_are_skewed)
{
    mp_gguf *g;
    float *x = malloc(128 * 2048 * sizeof *x);
    REQUIRE(make("tiny-qwen3moe", "F16", 3));
    CHECK_OK(mp_gguf_open(ledger, path, &g));
    double logs = 0, squares = 0;
    int n = 0;
    for (int layer = 0; layer < 8; layer++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.weight", layer);
        const mp_gguf_tensor *t = mp_gguf_find(g, name);
        REQUIRE(t && t->dtype == MP_F32 && t->rank == 2 && t->shape[0] == 16 && t->shape[1] == 256);
        CHECK_OK(mp_file_read(mp_gguf_file(g, 0), x, t->bytes, t->offset));
        for (int e = 0; e < 16; e++) {
            double norm = 0;
            for (int i = 0; i < 256; i++)
                norm += (double)x[e * 256 + i] * (double)x[e * 256 + i];
            logs += log(norm) / 2; /* of fan-in 256: a row's norm is about 1 */
            squares += log(norm) * log(norm) / 4;
            n++;
        }
    }
    CHECK_NEAR(logs / n, 0, 0.15);
    CHECK_NEAR(sqrt(squares / n - logs / n * (logs / n)), 0.5, 0.12); /* 128 samples */
    mp_gguf_close(&g);
    free(x);
}

static uint64_t hash_file(void)
{
    uint64_t h = 0xCBF29CE484222325u;
    FILE *f = fopen(path, "rb");
    for (int c; f && (c = getc(f)) != EOF;)
        h = (h ^ (uint64_t)c) * 0x100000001B3u;
    if (f)
        fclose(f);
    return h;
}

TEST(a_seed_means_a_file)
{
    REQUIRE(make("tiny-qwen2moe@2", NULL, 5));
    uint64_t a = hash_file();
    REQUIRE(make("tiny-qwen2moe@2", NULL, 5));
    CHECK_EQ(hash_file(), a);
    REQUIRE(make("tiny-qwen2moe@2", NULL, 6));
    CHECK(hash_file() != a);
}

/* ---- whole files ---- */

static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* Logits that are numbers, differ from token to token, and are of the size that the deviations promise. */
static void check_logits(const char *shape, const char *type)
{
    static const int32_t ids[] = { 5, 300, 17, 300, 299, 700, 64, 1 };
    struct stat st;
    enum { N = 8, VOCAB = 768 };
    REQUIRE(make(shape, type, 1));
    CHECK(stat(path, &st) == 0 && (uint64_t)st.st_size == bytes_of(shape, type));
    float *x = tiny_logits(path, (moped_options){ .ram_bytes = TINY_ROOM, .threads = 2 }, ids, N);
    REQUIRE(x != NULL);
    CHECK(all_finite(x, N * VOCAB));
    double squares = 0;
    for (int i = 0; i < N * VOCAB; i++)
        squares += (double)x[i] * (double)x[i] / (N * VOCAB);
    if (!(squares > 0.5 && squares < 2))
        printf("  %s %s: logits have a variance of %.3f\n", shape, type ? type : "", squares), CHECK(false);
    CHECK(memcmp(x, x + VOCAB, VOCAB * sizeof *x));
    free(x);
}

TEST(every_family_computes)
{
    for (int i = 0; i < N_TINY; i++)
        check_logits(TINY[i], NULL);
}

TEST(every_type_computes)
{
    for (int i = 0; moped_synth_type_at(i); i++) {
        check_logits("tiny-qwen2moe@2", moped_synth_type_at(i));
        check_logits("tiny-llama@1", moped_synth_type_at(i));
    }
}

TEST(every_vocabulary_spells_any_text)
{
#define BYTES(text) { text, sizeof(text) - 1 }
    static const struct { const char *s; size_t n; } TEXTS[] = {
        BYTES(""), BYTES(" "), BYTES("Hello world"), BYTES("bako dizu  kalo\n\tx"), BYTES("\xC3\xA4\xE6\xBC\xA2\xF0\x9F\x99\x82 \xC3"), BYTES("a\0b\xFF\xFE"),
        BYTES("<s><|im_end|><unk>"),
    };
    for (int i = 0; i < N_TINY; i++) {
        moped_vocab *v;
        REQUIRE(make(TINY[i], NULL, 1));
        CHECK_OK(moped_vocab_open(path, &v));
        REQUIRE(v != NULL);
        CHECK_EQ(moped_vocab_size(v), 768);
        CHECK(moped_vocab_bos(v) >= 0);
        for (size_t t = 0; t < sizeof TEXTS / sizeof *TEXTS; t++) {
            int32_t *ids;
            char *back;
            size_t n, m;
            CHECK_OK(moped_tokenize(v, TEXTS[t].s, TEXTS[t].n, 0, &ids, &n));
            CHECK_OK(moped_detokenize(v, ids, n, true, &back, &m));
            CHECK(m == TEXTS[t].n && !memcmp(back, TEXTS[t].s, m));
            moped_free(ids), moped_free(back);
        }
        moped_vocab_close(&v);
    }
}

/* Tokens differ from each other, also in a vocabulary of the largest size. */
TEST(tokens_are_unique)
{
    static const char *const SHAPES[] = { "qwen2.5-7b@1", "mistral-7b@1" };
    for (int i = 0; i < 2; i++) {
        mp_shape s;
        mp_gguf *g;
        mp_gguf_writer *w;
        mp_gguf_array a;
        int twins = 0;
        CHECK_OK(mp_shape_find(SHAPES[i], &s));
        CHECK_OK(mp_gguf_writer_open(ledger, path, &w));
        CHECK_OK(mp_synth_put_vocab(ledger, w, &s));
        CHECK_OK(mp_gguf_writer_begin(w));
        CHECK_OK(mp_gguf_writer_finish(w));
        mp_gguf_writer_close(&w);
        CHECK_OK(mp_gguf_open(ledger, path, &g));
        REQUIRE(mp_gguf_array_get(g, "tokenizer.ggml.tokens", &a) && a.n == s.vocab);
        enum { SLOTS = 1 << 20 };
        int32_t *slot = calloc(SLOTS, sizeof *slot);
        for (int64_t id = 0; id < a.n; id++) {
            mp_str t = mp_gguf_array_str_at(&a, id), other;
            uint64_t h = 0xCBF29CE484222325u;
            for (size_t k = 0; k < t.n; k++)
                h = (h ^ (unsigned char)t.s[k]) * 0x100000001B3u;
            size_t at = h % SLOTS;
            for (; slot[at]; at = (at + 1) % SLOTS) {
                other = mp_gguf_array_str_at(&a, slot[at] - 1);
                twins += other.n == t.n && !memcmp(other.s, t.s, t.n);
            }
            slot[at] = (int32_t)id + 1;
        }
        CHECK_EQ(twins, 0);
        free(slot);
        mp_gguf_close(&g);
    }
}

static int stop_after(void *user, const char *stage, uint64_t done, uint64_t total)
{
    int *left = user;
    CHECK(strlen(stage) > 0 && done <= total);
    return --*left < 0;
}

TEST(stopped_or_refused_leaves_nothing)
{
    int left = 3;
    moped_synth_options o = { .shape = "tiny-llama", .path = path, .progress = stop_after, .user = &left };
    remove(path);
    CHECK_EQ(moped_synth(&o), MOPED_E_CANCELLED);
    CHECK(access(path, F_OK) != 0);
    o.progress = NULL;
    o.type = "nope";
    CHECK_EQ(moped_synth(&o), MOPED_E_USAGE);
    o.type = NULL;
    o.path = NULL;
    CHECK_EQ(moped_synth(&o), MOPED_E_USAGE);
    o.path = "/nosuchfolder/x.gguf";
    CHECK_EQ(moped_synth(&o), MOPED_E_USAGE);
    CHECK(access(path, F_OK) != 0);
}

int main(void)
{
    if (!mkdtemp(dir) || mp_ledger_open(false, &ledger))
        return 2;
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    RUN(shapes_have_the_published_parameters);
    RUN(parameters_are_those_of_the_file);
    RUN(mixes_have_the_sizes_of_published_files);
    RUN(cut_shapes);
    RUN(weights_deviate_as_asked);
    RUN(every_type_of_a_mix_was_tried);
    RUN(normal_numbers);
    RUN(routers_are_skewed);
    RUN(a_seed_means_a_file);
    RUN(every_family_computes);
    RUN(every_type_computes);
    RUN(every_vocabulary_spells_any_text);
    RUN(tokens_are_unique);
    RUN(stopped_or_refused_leaves_nothing);
    remove(path);
    rmdir(dir);
    mp_ledger_close(&ledger);
    return test_done();
}
