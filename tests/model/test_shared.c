/* Models of others against numbers of others, through moped.h: a trained dense model (float64 reference and the text that its author's program writes),
 * mixtures of experts (transformers in float64), and BF16 checkpoints, for which the test writes the GGUF itself. The files are not part of the
 * repository: without them every test here is skipped. */
#include <jansson.h>
#include <math.h>

#include "support/gguf_write.h"
#include "support/tiny.h"
#include "test.h"

static char dir[] = "/tmp/moped-shared-XXXXXX";

#define NEED(rel, path)                                           \
    char path[TINY_PATH];                                         \
    if (!test_shared(rel, path, sizeof(path)))                    \
        SKIP("no " rel " beside the checkout; set MOPED_SHARED")

/* ---- JSON ---- */

static json_t *load(const char *path)
{
    json_error_t e;
    json_t *j = json_load_file(path, 0, &e);
    if (!j) {
        fprintf(stderr, "%s: line %d: %s\n", path, e.line, e.text);
        exit(2);
    }
    return j;
}

static const json_t *get(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (!v) {
        fprintf(stderr, "the reference lacks '%s'\n", key);
        exit(2);
    }
    return v;
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(get(o, key));
}

static int32_t *ids_of(const json_t *array, size_t *n)
{
    *n = json_array_size(array);
    int32_t *ids = calloc(*n + 1, sizeof(*ids));
    for (size_t i = 0; ids && i < *n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return ids;
}

static float *floats_of(const json_t *array)
{
    float *out = calloc(json_array_size(array) + 1, sizeof(*out));
    for (size_t i = 0; out && i < json_array_size(array); i++)
        out[i] = (float)json_number_value(json_array_get(array, i));
    return out;
}

/* ---- running ---- */

static const moped_options roomy = { .ram_bytes = TINY_ROOM, .threads = 2 };

typedef struct run { moped_model *m; moped_session *s; int vocab; } run;

static bool run_open(const char *path, run *out)
{
    moped_options o = roomy;
    o.path = path;
    *out = (run){ 0 };
    bool ok = !moped_model_open(&o, &out->m) && !moped_session_open(out->m, 0, &out->s);
    if (!ok)
        fprintf(stderr, "%s: %s\n", path, moped_error());
    CHECK(ok);
    out->vocab = ok ? moped_model_plan(out->m)->model.vocab : 0;
    return ok;
}

static void run_close(run *r)
{
    moped_session_close(&r->s);
    moped_model_close(&r->m);
}

/* The greedy continuation of ids is want[0..n). */
static void check_greedy(run *r, const int32_t *ids, size_t n_ids, const int32_t *want, size_t n)
{
    moped_result out;
    moped_sampling greedy = tiny_greedy();
    moped_request q = { .tokens = ids, .n_tokens = n_ids, .max_tokens = (int)n, .sampling = &greedy, .ignore_eos = true };
    CHECK_EQ(moped_generate(r->s, &q, &out), MOPED_OK);
    CHECK_EQ(out.n_tokens, n);
    for (size_t i = 0; i < n && i < out.n_tokens; i++)
        CHECK_EQ(out.tokens[i], want[i]);
}

static double logsumexp(const float *x, int n)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (int i = 0; i < n; i++)
        sum += exp(x[i] - most);
    return most + log(sum);
}

/* ---- the trained model ---- */

TEST(stories_are_told_as_the_author_s_program_tells_them)
{
    NEED("data/llama2c/stories260K.gguf", model);
    NEED("data/llama2c/stories260K.expected.t0.n200.txt", text);
    NEED("data/llama2c/stories260K.golden.json", golden);
    char want[800] = "";
    FILE *f = fopen(text, "rb");
    size_t n = f ? fread(want, 1, sizeof(want) - 1, f) : 0;
    if (f)
        fclose(f);
    while (n && want[n - 1] == '\n')
        want[--n] = '\0';
    run r;
    moped_result out;
    moped_sampling greedy = tiny_greedy();
    if (run_open(model, &r)) {
        json_t *g = load(golden);
        size_t n_ids;
        int32_t *ids = ids_of(get(get(g, "greedy_from_bos"), "ids"), &n_ids);
        moped_request q = { .tokens = ids, .n_tokens = 1, .max_tokens = 200, .sampling = &greedy };
        CHECK_EQ(moped_generate(r.s, &q, &out), MOPED_OK);
        CHECK_EQ(out.n_tokens, 200);
        CHECK(out.n_tokens >= n_ids - 1 && !memcmp(out.tokens, ids + 1, (n_ids - 1) * sizeof(*ids)));
        const char *told = out.text ? out.text : "";
        CHECK_STR(told[0] == ' ' ? told + 1 : told, want); /* that program drops the blank after the begin token; here it is the caller's to drop */
        CHECK_EQ(out.finish, MOPED_FINISH_LENGTH);
        free(ids);
        json_decref(g);
    }
    run_close(&r);
}

static void check_position(const json_t *p, const float *logits, int vocab)
{
    const json_t *ids = get(p, "top5_ids"), *values = get(p, "top5_logits");
    CHECK_NEAR(logsumexp(logits, vocab), number(p, "logsumexp"), 1e-3);
    for (size_t i = 0; i < json_array_size(ids); i++)
        CHECK_NEAR(logits[json_integer_value(json_array_get(ids, i))], json_number_value(json_array_get(values, i)), 1e-3);
}

TEST(stories_logits_are_those_of_float64)
{
    NEED("data/llama2c/stories260K.gguf", model);
    NEED("data/llama2c/stories260K.golden.json", golden);
    json_t *g = load(golden), *c;
    size_t at;
    double most = 0;
    json_array_foreach((json_t *)(uintptr_t)get(g, "cases"), at, c) {
        size_t n, n_greedy;
        int32_t *ids = ids_of(get(c, "ids"), &n), *greedy = ids_of(get(c, "greedy_40_ids"), &n_greedy);
        run r;
        if (run_open(model, &r)) {
            float *y = tiny_session_logits(r.s, r.vocab, ids, n);
            const json_t *last = get(c, "last_logits"), *positions = get(c, "positions");
            CHECK_EQ(json_array_size(positions), n);
            for (size_t i = 0; y && i < json_array_size(positions); i++)
                check_position(json_array_get(positions, i), y + i * (size_t)r.vocab, r.vocab);
            for (int i = 0; y && i < r.vocab; i++) {
                double want = json_number_value(json_array_get(last, (size_t)i)), d = fabs(y[(n - 1) * (size_t)r.vocab + (size_t)i] - want);
                most = d <= most ? most : d;
            }
            CHECK(y);
            check_greedy(&r, ids, n, greedy, n_greedy);
            free(y);
        }
        run_close(&r);
        free(ids);
        free(greedy);
    }
    printf("        largest difference %.2g\n", most);
    CHECK(most <= 1e-3); /* logits of about 20; float32 sums of 172 products leave 1e-4 at most */
    json_decref(g);
}

TEST(stories_cost_what_float64_says)
{
    NEED("data/llama2c/stories260K.gguf", model);
    NEED("data/llama2c/stories260K.golden.json", golden);
    json_t *g = load(golden), *c;
    size_t at;
    run r;
    bool ok = run_open(model, &r);
    json_array_foreach((json_t *)(uintptr_t)get(g, "nll"), at, c) {
        size_t n;
        int32_t *ids = ids_of(get(c, "ids"), &n);
        float *y = ok ? tiny_session_logits(r.s, r.vocab, ids, n) : NULL;
        double nll = 0;
        for (size_t i = 0; y && i + 1 < n; i++)
            nll += logsumexp(y + i * (size_t)r.vocab, r.vocab) - y[i * (size_t)r.vocab + (size_t)ids[i + 1]];
        CHECK_NEAR(nll, number(c, "sum_nll"), 1e-5 * number(c, "sum_nll"));
        free(y);
        free(ids);
    }
    run_close(&r);
    json_decref(g);
}

/* ---- mixtures of experts ---- */

static void check_moe(const char *model, const char *golden)
{
    json_t *g = load(golden);
    size_t n, n_greedy = 0;
    int32_t *ids = ids_of(get(g, "input_ids"), &n), *greedy = NULL;
    float *want = floats_of(get(g, "hf_logits"));
    run r;
    if (run_open(model, &r)) {
        CHECK_EQ(json_array_size(get(g, "hf_logits")), n * (size_t)r.vocab);
        float *y = tiny_session_logits(r.s, r.vocab, ids, n);
        double d = tiny_distance(y, want, n * (size_t)r.vocab);
        printf("        %s: %.2g of the range\n", strrchr(model, '/') + 1, d);
        CHECK(d <= 1e-5); /* the bound that the project promises */
        free(y);
        if (json_object_get(g, "greedy_ids")) {
            greedy = ids_of(get(g, "greedy_ids"), &n_greedy);
            check_greedy(&r, ids, n, greedy, n_greedy);
        }
    }
    run_close(&r);
    free(ids);
    free(greedy);
    free(want);
    json_decref(g);
}

TEST(experts_are_those_of_transformers)
{
    static const char *const names[] = { "full_mixtral", "gqa_mixtral", "mixtral_scale", "qwen_moe_tiny" };
    NEED("data/tiny-moe/README.md", readme);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char rel[128], model[TINY_PATH], golden[TINY_PATH];
        snprintf(rel, sizeof(rel), "data/tiny-moe/%s.gguf", names[i]);
        CHECK(test_shared(rel, model, sizeof(model)));
        snprintf(rel, sizeof(rel), "data/tiny-moe/%s.json", names[i]);
        CHECK(test_shared(rel, golden, sizeof(golden)));
        check_moe(model, golden);
    }
}

TEST(decoding_with_a_cache_is_computing_anew)
{
    NEED("data/tiny-moe/full_mixtral.gguf", model);
    NEED("data/tiny-moe/full_mixtral_gen.json", golden);
    json_t *g = load(golden);
    size_t n, n_new;
    int32_t *ids = ids_of(get(g, "prompt_ids"), &n), *fresh = ids_of(get(g, "generated_ids"), &n_new), all[64];
    float *want = floats_of(get(g, "step_logits"));
    run r;
    if (run_open(model, &r)) {
        check_greedy(&r, ids, n, fresh, n_new);
        memcpy(all, ids, n * sizeof(*ids));
        memcpy(all + n, fresh, n_new * sizeof(*ids));
        float *y = tiny_session_logits(r.s, r.vocab, all, n + n_new);
        CHECK(tiny_distance(y ? y + (n - 1) * (size_t)r.vocab : NULL, want, n_new * (size_t)r.vocab) <= 1e-5);
        free(y);
    }
    run_close(&r);
    free(ids);
    free(fresh);
    free(want);
    json_decref(g);
}

/* ---- BF16 checkpoints: safetensors to GGUF ---- */

typedef struct checkpoint {
    uint8_t *bytes, *data; /* whole file; where offsets count from */
    json_t  *header, *config;
    int      heads, kv_heads, head_dim;
    bool     llama;        /* rows of q and k are permuted */
} checkpoint;

static checkpoint read_checkpoint(const char *model, const char *config)
{
    checkpoint c = { .config = load(config) };
    uint64_t n_header = 0;
    FILE *f = fopen(model, "rb");
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    rewind(f);
    c.bytes = malloc(n);
    if (fread(c.bytes, 1, n, f) != n)
        exit(2);
    fclose(f);
    memcpy(&n_header, c.bytes, 8);
    c.data = c.bytes + 8 + n_header;
    c.header = json_loadb((char *)c.bytes + 8, n_header, 0, NULL);
    c.heads = (int)number(c.config, "num_attention_heads");
    c.kv_heads = (int)number(c.config, "num_key_value_heads");
    c.head_dim = (int)number(c.config, "head_dim");
    c.llama = strcmp(json_string_value(get(c.config, "model_type")), "qwen3") != 0;
    return c;
}

static void close_checkpoint(checkpoint *c)
{
    free(c->bytes);
    json_decref(c->header);
    json_decref(c->config);
}

/* Rows of each head: pair i of rotated dimensions is rows (i, i + D/2) there and (2i, 2i + 1) in `llama` files. */
static void permute(uint8_t *rows, int heads, int head_dim, size_t row_bytes)
{
    size_t head_bytes = (size_t)head_dim * row_bytes;
    uint8_t *old = malloc(head_bytes);
    for (int h = 0; old && h < heads; h++) {
        uint8_t *at = rows + (size_t)h * head_bytes;
        memcpy(old, at, head_bytes);
        for (int i = 0; i < head_dim; i++) {
            int from = i / 2 + i % 2 * (head_dim / 2);
            memcpy(at + (size_t)i * row_bytes, old + (size_t)from * row_bytes, row_bytes);
        }
    }
    free(old);
}

static void put_tensor(gw *w, const checkpoint *c, const char *from, const char *to, int permuted_heads)
{
    const json_t *t = get(c->header, from), *shape = get(t, "shape");
    uint64_t ne[2] = { 1, 1 }, first = (uint64_t)json_integer_value(json_array_get(get(t, "data_offsets"), 0));
    uint32_t rank = (uint32_t)json_array_size(shape);
    for (uint32_t i = 0; i < rank; i++)
        ne[i] = (uint64_t)json_integer_value(json_array_get(shape, rank - 1 - i));
    size_t n = ne[0] * ne[1];
    CHECK_STR(json_string_value(get(t, "dtype")), "BF16");
    uint16_t *data = malloc(n * 2);
    float *wide = malloc(n * 4);
    memcpy(data, c->data + first, n * 2);
    if (permuted_heads)
        permute((uint8_t *)data, permuted_heads, c->head_dim, ne[0] * 2);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)data[i] << 16;
        memcpy(&wide[i], &bits, 4);
    }
    if (rank == 1)
        gw_tensor_f32(w, to, 1, ne, wide); /* norms are float32 in GGUF files */
    else
        gw_tensor(w, to, 30, 2, ne, data); /* 30: BF16 */
    free(data);
    free(wide);
}

/* Divisors of the angles: Llama 3's scaling by wave length (models.md 0.3; the formula is that of Meta's llama-models). */
static void put_rope_freqs(gw *w, const checkpoint *c)
{
    const json_t *s = json_object_get(c->config, "rope_scaling");
    if (!s)
        return;
    float out[256];
    double factor = number(s, "factor"), low = number(s, "low_freq_factor"), high = number(s, "high_freq_factor");
    double original = number(s, "original_max_position_embeddings"), base = number(c->config, "rope_theta");
    for (int i = 0; i < c->head_dim / 2; i++) {
        double freq = pow(base, -2.0 * i / c->head_dim), wave = 2 * acos(-1.0) / freq, t = (original / wave - low) / (high - low);
        double scaled = wave < original / high ? freq : wave > original / low ? freq / factor : (1 - t) * freq / factor + t * freq;
        out[i] = (float)(freq / scaled);
    }
    gw_tensor_f32(w, "rope_freqs.weight", 1, (uint64_t[]){ (uint64_t)c->head_dim / 2 }, out);
}

static void put_keys(gw *w, const checkpoint *c)
{
    static const struct { const char *from, *to; } keys[] = {
        { "hidden_size", "embedding_length" }, { "num_hidden_layers", "block_count" }, { "num_attention_heads", "attention.head_count" },
        { "num_key_value_heads", "attention.head_count_kv" }, { "head_dim", "attention.key_length" }, { "head_dim", "attention.value_length" },
        { "intermediate_size", "feed_forward_length" }, { "max_position_embeddings", "context_length" }, { "sliding_window", "attention.sliding_window" },
    };
    const char *arch = c->llama ? "llama" : "qwen3";
    char key[96];
    gw_str(w, "general.architecture", arch);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (!json_object_get(c->config, keys[i].from))
            continue;
        snprintf(key, sizeof(key), "%s.%s", arch, keys[i].to);
        gw_u32(w, key, (uint32_t)number(c->config, keys[i].from));
    }
    snprintf(key, sizeof(key), "%s.attention.layer_norm_rms_epsilon", arch);
    gw_f32(w, key, (float)number(c->config, "rms_norm_eps"));
    snprintf(key, sizeof(key), "%s.rope.freq_base", arch);
    gw_f32(w, key, (float)number(c->config, "rope_theta"));
}

static void put_layer(gw *w, const checkpoint *c, int layer)
{
    static const struct { const char *from, *to; } names[] = {
        { "input_layernorm", "attn_norm" }, { "post_attention_layernorm", "ffn_norm" }, { "self_attn.q_proj", "attn_q" }, { "self_attn.k_proj", "attn_k" },
        { "self_attn.v_proj", "attn_v" }, { "self_attn.o_proj", "attn_output" }, { "mlp.gate_proj", "ffn_gate" }, { "mlp.up_proj", "ffn_up" },
        { "mlp.down_proj", "ffn_down" }, { "self_attn.q_norm", "attn_q_norm" }, { "self_attn.k_norm", "attn_k_norm" },
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) - (c->llama ? 2 : 0); i++) {
        char from[128], to[96];
        int heads = !c->llama ? 0 : i == 2 ? c->heads : i == 3 ? c->kv_heads : 0;
        snprintf(from, sizeof(from), "model.layers.%d.%s.weight", layer, names[i].from);
        snprintf(to, sizeof(to), "blk.%d.%s.weight", layer, names[i].to);
        put_tensor(w, c, from, to, heads);
    }
}

static void convert(const char *model, const char *config, const char *out)
{
    checkpoint c = read_checkpoint(model, config);
    gw *w = gw_open();
    put_keys(w, &c);
    put_tensor(w, &c, "model.embed_tokens.weight", "token_embd.weight", 0);
    put_tensor(w, &c, "model.norm.weight", "output_norm.weight", 0);
    put_tensor(w, &c, "lm_head.weight", "output.weight", 0);
    put_rope_freqs(w, &c);
    for (int i = 0; i < (int)number(c.config, "num_hidden_layers"); i++)
        put_layer(w, &c, i);
    gw_save(w, out);
    gw_close(&w);
    close_checkpoint(&c);
}

static int argmax(const float *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

/* Weights are BF16 in both, activations float64 there and float32 here, so what remains is the rounding of float32 sums: 1e-5 of the range, as for
 * float32 files. Caches are float32: a cache of float16 alone would cost 1e-3. */
static void check_checkpoint(const char *model, const char *golden)
{
    json_t *g = load(golden);
    size_t n, n_greedy;
    int32_t *ids = ids_of(get(g, "input_ids"), &n), *greedy = ids_of(get(g, "greedy_16"), &n_greedy);
    float *want = floats_of(get(g, "last_logits"));
    moped_options o = roomy;
    run r = { 0 };
    o.path = model;
    o.kv = MOPED_KV_F32;
    CHECK_EQ(moped_model_open(&o, &r.m), MOPED_OK);
    if (r.m && !moped_session_open(r.m, 0, &r.s)) {
        r.vocab = moped_model_plan(r.m)->model.vocab;
        float *y = tiny_session_logits(r.s, r.vocab, ids, n);
        double d = tiny_distance(y ? y + (n - 1) * (size_t)r.vocab : NULL, want, (size_t)r.vocab);
        printf("        %s: %.2g of the range\n", strrchr(model, '/') + 1, d);
        CHECK(d <= 1e-5);
        for (size_t i = 0; y && i < n; i++) {
            const float *row = y + i * (size_t)r.vocab;
            CHECK_EQ(argmax(row, r.vocab), json_integer_value(json_array_get(get(g, "argmax_per_position"), i)));
            CHECK_NEAR(row[argmax(row, r.vocab)], json_number_value(json_array_get(get(g, "max_logit_per_position"), i)), 1e-5);
        }
        check_greedy(&r, ids, n, greedy, n_greedy);
        free(y);
    }
    run_close(&r);
    free(ids);
    free(greedy);
    free(want);
    json_decref(g);
}

TEST(checkpoints_are_those_of_float64)
{
    static const char *const names[] = { "tiny_llama3", "tiny_mistral", "tiny_qwen3" };
    NEED("data/tiny-hf/README.md", readme);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char rel[128], model[TINY_PATH], config[TINY_PATH], golden[TINY_PATH], out[128];
        snprintf(rel, sizeof(rel), "data/tiny-hf/%s/model.safetensors", names[i]);
        CHECK(test_shared(rel, model, sizeof(model)));
        snprintf(rel, sizeof(rel), "data/tiny-hf/%s/config.json", names[i]);
        CHECK(test_shared(rel, config, sizeof(config)));
        snprintf(rel, sizeof(rel), "data/tiny-hf/%s/golden.json", names[i]);
        CHECK(test_shared(rel, golden, sizeof(golden)));
        snprintf(out, sizeof(out), "%s/%s.gguf", dir, names[i]);
        convert(model, config, out);
        check_checkpoint(out, golden);
        unlink(out);
    }
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    RUN(stories_are_told_as_the_author_s_program_tells_them);
    RUN(stories_logits_are_those_of_float64);
    RUN(stories_cost_what_float64_says);
    RUN(experts_are_those_of_transformers);
    RUN(decoding_with_a_cache_is_computing_anew);
    RUN(checkpoints_are_those_of_float64);
    rmdir(dir);
    return test_done();
}
