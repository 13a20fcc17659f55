/* Model files that are wrong above the container: every kind of damage has its own sentence and the right code, from the plan and from the loader
 * alike, and leaves nothing behind (ledgers assert it in debug builds). And files that look different but say the same: bit for bit the same logits. */
#include <math.h>

#include "support/gguf_edit.h"
#include "support/tiny.h"
#include "test.h"

static char dir[] = "/tmp/moped-bad-XXXXXX";
static char made[64]; /* the file under test */

static ge *read_tiny(const char *name)
{
    char path[TINY_PATH];
    tiny_path(name, ".gguf", path);
    return ge_read(path);
}

/* ---- refusals ---- */

/* Opening and planning `made` fail with MOPED_E_MODEL and a sentence that contains says. */
static void check_refused(const char *what, const char *says)
{
    moped_options o = { .path = made, .ram_bytes = TINY_ROOM, .threads = 1 };
    moped_plan_info p;
    moped_model *m;
    for (int dry = 0; dry < 2; dry++) {
        moped_status err = dry ? moped_plan(&o, &p) : moped_model_open(&o, &m);
        bool good = err == MOPED_E_MODEL && strstr(moped_error(), says);
        if (!good)
            fprintf(stderr, "%s: %d: \"%s\" does not say \"%s\"\n", what, err, err ? moped_error() : "", says);
        CHECK(good);
        if (!dry)
            moped_model_close(&m);
    }
}

static void save_and_check(ge *e, const char *what, const char *says)
{
    ge_save(e, made);
    check_refused(what, says);
    ge_close(&e);
}

TEST(missing_keys_are_named)
{
    static const struct { const char *model, *key; } keys[] = {
        { "llama", "general.architecture" }, { "llama", "llama.block_count" }, { "llama", "llama.embedding_length" }, { "llama", "llama.context_length" },
        { "llama", "llama.attention.head_count" }, { "llama", "llama.attention.layer_norm_rms_epsilon" }, { "llama", "llama.feed_forward_length" },
        { "qwen3moe", "qwen3moe.expert_used_count" }, { "qwen3", "qwen3.feed_forward_length" }, { "olmoe", "olmoe.block_count" },
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        ge *e = read_tiny(keys[i].model);
        char says[128];
        if (!strcmp(keys[i].key, "llama.attention.head_count")) { /* else the prefix takes head_count_kv along */
            ge_drop_keys(e, keys[i].key);
            ge_set_u32(e, "llama.attention.head_count_kv", 2);
        } else {
            ge_drop_keys(e, keys[i].key);
        }
        snprintf(says, sizeof(says), "lack '%s'", keys[i].key);
        save_and_check(e, keys[i].key, says);
    }
}

TEST(architectures_are_known_or_refused)
{
    ge *e = read_tiny("llama");
    ge_set_str(e, "general.architecture", "mamba");
    save_and_check(e, "mamba", "the architecture 'mamba' is not supported; these are: llama, qwen2");
    e = read_tiny("llama");
    ge_set_str(e, "general.architecture", "");
    save_and_check(e, "an empty name", "the architecture '' is not supported");
    e = read_tiny("llama");
    ge_set_u32(e, "general.architecture", 5);
    save_and_check(e, "a number for a name", "'general.architecture'");
}

TEST(numbers_that_contradict_each_other)
{
    static const struct { const char *model, *key; uint32_t v; const char *says; } cases[] = {
        { "llama", "llama.attention.head_count_kv", 3, "4 query heads cannot share 3 KV heads" },
        { "llama", "llama.attention.head_count_kv", 8, "4 query heads cannot share 8 KV heads" },
        { "llama", "llama.attention.head_count", 0, "'llama.attention.head_count' is 0" },
        { "llama", "llama.attention.head_count", 8, "rotary settings are not usable (8 dimensions of 4" },
        { "qwen3", "qwen3.attention.head_count", 8, "'blk.0.attn_q.weight' has the shape" },
        { "qwen3", "qwen3.attention.head_count_kv", 1, "'blk.0.attn_k.weight' has the shape" },
        { "llama", "llama.attention.head_count", 64, "head size of 0" },
        { "llama", "llama.attention.key_length", 7, "head size of 7" },
        { "llama", "llama.attention.key_length", 16, "'blk.0.attn_q.weight' has the shape" },
        { "qwen3", "qwen3.attention.value_length", 8, "heads of different sizes (16 and 8)" },
        { "qwen3", "qwen3.attention.key_length", 0, "head size of 0" },
        { "qwen3", "qwen3.attention.key_length", 15, "head size of 15" },
        { "qwen3", "qwen3.attention.key_length", 65536, "head size of 65536" },
        { "llama", "llama.embedding_length", 64, "'token_embd.weight' has the shape {32,264}, but the file's metadata ask for {64,264}" },
        { "llama", "llama.embedding_length", 0, "'llama.embedding_length' is 0" },
        { "llama", "llama.embedding_length", 1 << 30, "head size of 268435456" },
        { "qwen3", "qwen3.embedding_length", 1 << 30, "not plausible" },
        { "qwen3", "qwen3.feed_forward_length", 80000, "rows of 80000 weights" },
        { "llama", "llama.feed_forward_length", 63, "'blk.0.ffn_gate.weight' has the shape" },
        { "llama", "llama.block_count", 0, "'llama.block_count' is 0" },
        { "llama", "llama.block_count", 3, "no tensor 'blk.2." },
        { "llama", "llama.block_count", 10000, "no tensor 'blk.2." },
        { "llama", "llama.block_count", 1000000000, "not plausible" },
        { "llama", "llama.context_length", 0, "'llama.context_length' is 0" },
        { "llama", "llama.rope.dimension_count", 10, "rotary settings are not usable (10 dimensions of 8" },
        { "llama", "llama.rope.dimension_count", 7, "rotary settings are not usable (7 dimensions of 8" },
        { "llama", "llama.rope.dimension_count", 0, "rotary settings are not usable (0 dimensions of 8" },
        { "llama", "llama.rope.dimension_count", 6, "'rope_freqs.weight' has the shape" },
        { "llama", "llama.expert_count", 8, "'llama.expert_used_count'" },
        { "qwen3moe", "qwen3moe.expert_count", 7, "'blk.0.ffn_gate_inp.weight' has the shape {32,8}, but the file's metadata ask for {32,7}" },
        { "qwen3moe", "qwen3moe.expert_count", 9, "'blk.0.ffn_gate_inp.weight' has the shape" },
        { "qwen3moe", "qwen3moe.expert_count", 65535, "65535 experts in each of 2 layers, more than the file can hold" },
        { "qwen3moe", "qwen3moe.expert_count", 65536, "3 of 65536 experts" },
        { "qwen3moe", "qwen3moe.expert_count", 2, "3 of 2 experts" },
        { "qwen3moe", "qwen3moe.expert_used_count", 9, "9 of 8 experts" },
        { "qwen3moe", "qwen3moe.expert_used_count", 0, "'qwen3moe.expert_used_count' is 0" },
        { "qwen3moe", "qwen3moe.expert_feed_forward_length", 16, "'blk.0.ffn_gate_exps.weight' has the shape" },
        { "qwen2moe", "qwen2moe.expert_shared_feed_forward_length", 8, "'blk.0.ffn_gate_shexp.weight' has the shape" },
        { "mixtral", "llama.expert_count", 4, "'blk.0.ffn_gate_inp.weight' has the shape" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ge *e = read_tiny(cases[i].model);
        char what[160];
        ge_set_u32(e, cases[i].key, cases[i].v);
        snprintf(what, sizeof(what), "%s %s = %u", cases[i].model, cases[i].key, cases[i].v);
        save_and_check(e, what, cases[i].says);
    }
}

TEST(numbers_that_are_none)
{
    static const struct { const char *key; float v; const char *says; } cases[] = {
        { "llama.attention.layer_norm_rms_epsilon", -1e-5f, "'llama.attention.layer_norm_rms_epsilon' is -1e-05" },
        { "llama.attention.layer_norm_rms_epsilon", NAN, "'llama.attention.layer_norm_rms_epsilon' is " },
        { "llama.attention.layer_norm_rms_epsilon", INFINITY, "'llama.attention.layer_norm_rms_epsilon' is inf" },
        { "llama.rope.freq_base", NAN, "rotary settings are not usable" },
        { "llama.rope.freq_base", -1, "rotary settings are not usable" },
        { "llama.rope.freq_base", 0, "rotary settings are not usable" },
        { "llama.rope.freq_base", INFINITY, "rotary settings are not usable" },
        { "llama.block_count", 2.5f, "lack 'llama.block_count'" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ge *e = read_tiny("llama");
        ge_set_f32(e, cases[i].key, cases[i].v);
        save_and_check(e, cases[i].key, cases[i].says);
    }
    ge *e = read_tiny("llama");
    ge_set_i32(e, "llama.block_count", -1);
    save_and_check(e, "-1 layers", "'llama.block_count' is -1");
    e = read_tiny("qwen3moe");
    ge_set_i32(e, "qwen3moe.expert_count", -8);
    save_and_check(e, "-8 experts", "of -8 experts");
}

/* Many experts and many layers on paper, none in the file: refused without taking memory for them. */
TEST(absurd_counts_cost_no_memory)
{
    ge *e = read_tiny("qwen3moe");
    ge_set_u32(e, "qwen3moe.block_count", 10000);
    ge_set_u32(e, "qwen3moe.expert_count", 65535);
    save_and_check(e, "655 million experts", "65535 experts in each of 10000 layers, more than the file can hold");
}

TEST(more_tokens_than_rows)
{
    ge *e = read_tiny("llama");
    ge_find(e, "token_embd.weight")->ne[1] = 200;
    ge_find(e, "token_embd.weight")->bytes = 200 * 32 * 4;
    save_and_check(e, "a short table", "the vocabulary has 264 tokens, but 'token_embd.weight' only 200 rows");
    e = read_tiny("llama");
    ge_find(e, "output.weight")->ne[1] = 200;
    ge_find(e, "output.weight")->bytes = 200 * 32 * 4;
    save_and_check(e, "a short head", "'output.weight' has the shape {32,200}, but the file's metadata ask for {32,264}");
}

/* ---- tensors ---- */

static const char *const families[] = { "llama", "mixtral", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "olmoe" };
enum { N_FAMILIES = sizeof(families) / sizeof(families[0]) };

static bool may_be_absent(const char *name)
{
    return !strcmp(name, "output.weight") || !strcmp(name, "rope_freqs.weight") || strstr(name, ".bias") || strstr(name, "ffn_gate_inp_shexp");
}

/* Without its down matrices a layer has no experts, and then it needs the dense matrices. */
static void says_missing(const char *name, char out[128])
{
    if (strstr(name, "ffn_down_exps"))
        snprintf(out, 128, "has no tensor '%.6sffn_", name);
    else
        snprintf(out, 128, "has no tensor '%s'", name);
}

TEST(missing_tensors_are_named)
{
    for (int f = 0; f < N_FAMILIES; f++) {
        ge *all = read_tiny(families[f]);
        int n = ge_tensors(all), refused = 0;
        for (int i = 0; i < n; i++) {
            const char *name = ge_at(all, i)->name;
            char says[128];
            ge *e = read_tiny(families[f]);
            ge_drop_tensor(e, name);
            says_missing(name, says);
            if (!strcmp(name, "token_embd.weight"))
                snprintf(says, sizeof(says), "no usable tensor 'token_embd.weight'");
            if (may_be_absent(name))
                ge_close(&e);
            else
                save_and_check(e, name, says), refused++;
        }
        CHECK(refused >= 20);
        ge_close(&all);
    }
}

/* The same numbers, in another shape. */
static void reshape(ge_tensor *t)
{
    if (t->rank == 1) {
        t->rank = 2;
        t->ne[0] /= 2;
        t->ne[1] = 2;
    } else {
        t->ne[0] *= 2;
        t->ne[1] /= 2;
    }
}

TEST(shapes_are_checked_before_anything_is_read)
{
    for (int f = 0; f < N_FAMILIES; f++) {
        ge *all = read_tiny(families[f]);
        for (int i = 0; i < ge_tensors(all); i++) {
            char says[160];
            ge *e = read_tiny(families[f]);
            ge_tensor *t = ge_at(e, i);
            reshape(t);
            snprintf(says, sizeof(says), "'%s' has the shape", t->name);
            if (!strcmp(t->name, "token_embd.weight"))
                snprintf(says, sizeof(says), "132 rows"); /* its rows are what the vocabulary is measured by */
            save_and_check(e, says, says);
        }
        ge_close(&all);
    }
}

TEST(types_are_checked)
{
    for (int f = 0; f < N_FAMILIES; f++) {
        ge *all = read_tiny(families[f]);
        for (int i = 0; i < ge_tensors(all); i++) {
            char says[160];
            ge *e = read_tiny(families[f]);
            ge_tensor *t = ge_at(e, i);
            t->type = 26; /* I32: as many bytes, no weights */
            snprintf(says, sizeof(says), "'%s' is I32; moped cannot use that type there", t->name);
            save_and_check(e, says, says);
        }
        ge_close(&all);
    }
    ge *e = read_tiny("llama");
    ge_tensor *t = ge_find(e, "blk.1.attn_norm.weight");
    t->type = 8; /* Q8_0 */
    t->bytes = 34;
    save_and_check(e, "a quantized norm", "'blk.1.attn_norm.weight' is Q8_0; moped cannot use that type there");
}

/* ---- experts, one tensor each ---- */

/* blk.L.ffn_P_exps.weight [E, ...] -> blk.L.ffn_P.E.weight, as files of before spring 2024 */
static void unstack(ge *e)
{
    static const char *const parts[] = { "gate", "up", "down" };
    for (int k = 0;; k++) {
        char stacked[96], name[96];
        snprintf(stacked, sizeof(stacked), "blk.%d.ffn_%s_exps.weight", k / 3, parts[k % 3]);
        if (!ge_has(e, stacked))
            return;
        ge_tensor t = *ge_find(e, stacked);
        uint64_t share = t.bytes / t.ne[2];
        for (uint64_t x = 0; x < t.ne[2]; x++) {
            snprintf(name, sizeof(name), "blk.%d.ffn_%s.%d.weight", k / 3, parts[k % 3], (int)x);
            ge_add_tensor(e, name, t.type, 2, t.ne, t.data + x * share);
        }
        ge_drop_tensor(e, stacked);
    }
}

/* gate and up of each expert in one tensor, gate's rows first */
static void fuse(ge *e)
{
    for (int layer = 0;; layer++) {
        char gate_name[96], up_name[96], name[96];
        snprintf(gate_name, sizeof(gate_name), "blk.%d.ffn_gate_exps.weight", layer);
        if (!ge_has(e, gate_name))
            return;
        snprintf(up_name, sizeof(up_name), "blk.%d.ffn_up_exps.weight", layer);
        snprintf(name, sizeof(name), "blk.%d.ffn_gate_up_exps.weight", layer);
        ge_tensor gate = *ge_find(e, gate_name), up = *ge_find(e, up_name);
        uint64_t share = gate.bytes / gate.ne[2];
        ge_tensor *t = ge_add_tensor(e, name, gate.type, 3, (uint64_t[]){ gate.ne[0], 2 * gate.ne[1], gate.ne[2] }, NULL);
        for (uint64_t x = 0; x < gate.ne[2]; x++) {
            memcpy(t->data + 2 * x * share, gate.data + x * share, share);
            memcpy(t->data + (2 * x + 1) * share, up.data + x * share, share);
        }
        ge_drop_tensor(e, gate_name);
        ge_drop_tensor(e, up_name);
    }
}

TEST(experts_of_one_layer_have_one_type)
{
    ge *e = read_tiny("mixtral");
    unstack(e);
    ge_tensor *t = ge_find(e, "blk.1.ffn_up.5.weight");
    t->type = 30; /* BF16 */
    t->bytes /= 2;
    save_and_check(e, "one BF16 expert", "'blk.1.ffn_up.5.weight' is BF16, but expert 0 of the same layer is F32");
    e = read_tiny("mixtral");
    unstack(e);
    ge_drop_tensor(e, "blk.0.ffn_down.7.weight");
    save_and_check(e, "seven of eight", "has no tensor 'blk.0.ffn_down.7.weight'");
    e = read_tiny("mixtral");
    unstack(e);
    reshape(ge_find(e, "blk.0.ffn_gate.3.weight"));
    save_and_check(e, "an expert of another shape", "'blk.0.ffn_gate.3.weight' has the shape");
}

/* ---- damaged numbers ---- */

static void poison(const char *name, size_t at, float v, const char *says)
{
    ge *e = read_tiny("qwen3moe");
    memcpy(ge_find(e, name)->data + at * 4, &v, 4);
    ge_save(e, made);
    moped_options o = { .path = made, .ram_bytes = TINY_ROOM, .threads = 1 };
    moped_model *m;
    CHECK_EQ(moped_model_open(&o, &m), MOPED_E_MODEL);
    bool good = strstr(moped_error(), says);
    if (!good)
        fprintf(stderr, "\"%s\" does not say \"%s\"\n", moped_error(), says);
    CHECK(good && !m);
    o.no_weights_check = true;
    CHECK_EQ(moped_model_open(&o, &m), MOPED_OK); /* who wants it has it */
    moped_model_close(&m);
    ge_close(&e);
}

TEST(one_nan_is_found)
{
    poison("blk.1.ffn_gate_inp.weight", 17, NAN, "'blk.1.ffn_gate_inp.weight' holds NaN at element 17");
    poison("blk.0.ffn_gate_inp.weight", 0, -INFINITY, "'blk.0.ffn_gate_inp.weight' holds an infinity at element 0");
    poison("blk.0.attn_norm.weight", 31, NAN, "'blk.0.attn_norm.weight' holds NaN at element 31");
    poison("output_norm.weight", 3, INFINITY, "'output_norm.weight' holds an infinity at element 3");
    poison("blk.1.attn_q_norm.weight", 15, NAN, "'blk.1.attn_q_norm.weight' holds NaN at element 15");
}

TEST(without_a_vocabulary_it_runs_by_ids)
{
    tiny_golden g = tiny_golden_read("llama");
    moped_vocab *v;
    moped_model *m;
    ge *e = read_tiny("llama");
    ge_drop_keys(e, "tokenizer.");
    ge_save(e, made);
    ge_close(&e);
    CHECK_EQ(moped_vocab_open(made, &v), MOPED_E_MODEL);
    CHECK(!v && strstr(moped_error(), "tokenizer.ggml.model"));
    moped_options o = { .path = made, .ram_bytes = TINY_ROOM, .threads = 1 };
    CHECK_EQ(moped_model_open(&o, &m), MOPED_OK);
    if (m) {
        CHECK(!moped_model_vocab(m) && !moped_model_plan(m)->model.has_vocab);
        moped_model_close(&m);
        float *y = tiny_logits(made, o, g.ids, (size_t)g.tok);
        CHECK(tiny_distance(y, g.logits, (size_t)g.tok * (size_t)g.vocab) <= 1e-5);
        free(y);
    }
    e = read_tiny("llama");
    ge_set_str(e, "tokenizer.ggml.model", "gpt5");
    ge_save(e, made);
    ge_close(&e);
    CHECK_EQ(moped_vocab_open(made, &v), MOPED_E_MODEL);
    CHECK(strstr(moped_error(), "gpt5"));
    tiny_golden_free(&g);
}

/* ---- a file that shrinks while it is read ---- */

TEST(a_file_that_shrinks_breaks_no_session)
{
    tiny_golden g = tiny_golden_read("qwen3moe"); /* its ids */
    size_t bytes;
    tiny_write_paged(made);
    ge *e = ge_read(made);
    gw *w = ge_writer(e);
    uint8_t *file = gw_build(w, &bytes, NULL);
    gw_save(w, made);
    moped_options o = { .path = made, .threads = 1, .batch_tok = 4, .ctx_tok = 128 };
    o.ram_bytes = tiny_least(made, o);
    moped_model *m;
    moped_session *s = NULL;
    moped_sampling greedy = tiny_greedy();
    moped_result r;
    int32_t want[8];
    moped_request q = { .tokens = g.ids, .n_tokens = 20, .max_tokens = 8, .sampling = &greedy, .ignore_eos = true };
    CHECK_EQ(moped_model_open(&o, &m), MOPED_OK);
    if (m && !moped_session_open(m, 0, &s)) {
        CHECK(moped_model_plan(m)->expert_slots < moped_model_plan(m)->expert_pages);
        CHECK_EQ(moped_generate(s, &q, &r), MOPED_OK);
        CHECK(r.n_tokens == 8 && r.disk_bytes > 0);
        memcpy(want, r.tokens, sizeof(want));
        moped_session_truncate(s, 0);
        CHECK(!truncate(made, 4096));
        moped_status err = moped_generate(s, &q, &r);
        CHECK_EQ(err, MOPED_E_FAILED);
        CHECK(strstr(moped_error(), "it is cut short or changed"));
        CHECK(!r.tokens && r.n_tokens == 0);
        gw_write_file(made, file, bytes); /* the same inode again */
        CHECK_EQ(moped_generate(s, &q, &r), MOPED_OK);
        CHECK(r.n_tokens == 8 && !memcmp(r.tokens, want, sizeof(want)));
    }
    moped_session_close(&s);
    moped_model_close(&m);
    free(file);
    gw_close(&w);
    ge_close(&e);
    tiny_golden_free(&g);
}

/* ---- the same model in another form ---- */

static tiny_golden golden;

static void check_same(const float *want, const char *path, const char *what)
{
    uint64_t least = tiny_least(path, (moped_options){ .threads = 2 });
    for (int tight = 0; tight < 2; tight++) { /* once everything resident, once paged */
        float *y = tiny_logits(path, (moped_options){ .threads = 2, .ram_bytes = tight ? least : TINY_ROOM }, golden.ids, (size_t)golden.tok);
        bool same = y && !memcmp(y, want, (size_t)golden.tok * (size_t)golden.vocab * sizeof(float));
        if (!same)
            fprintf(stderr, "other logits: %s%s\n", what, tight ? ", paged" : "");
        CHECK(same);
        free(y);
    }
}

/* Alignments, both versions, parts. */
static void check_forms(const ge *e, const float *want, const char *what)
{
    static const uint32_t alignments[] = { 8, 32, 64, 4096 };
    char text[96], stem[64], path[96];
    for (int i = 0; i < 4; i++) {
        gw *w = ge_writer_aligned(e, alignments[i]);
        gw_save(w, made);
        gw_close(&w);
        snprintf(text, sizeof(text), "%s, alignment %u", what, alignments[i]);
        check_same(want, made, text);
    }
    gw *w = ge_writer(e);
    gw_version(w, 2);
    gw_save(w, made);
    snprintf(text, sizeof(text), "%s, version 2", what);
    check_same(want, made, text);
    gw_close(&w);
    w = ge_writer(e);
    snprintf(stem, sizeof(stem), "%s/part", dir);
    gw_save_split(w, stem, 3);
    gw_close(&w);
    snprintf(path, sizeof(path), "%s-00001-of-00003.gguf", stem);
    snprintf(text, sizeof(text), "%s, three parts", what);
    check_same(want, path, text);
    for (int i = 1; i <= 3; i++) {
        snprintf(path, sizeof(path), "%s-%05d-of-%05d.gguf", stem, i, 3);
        unlink(path);
    }
}

static void check_all_forms(const char *path, void (*change)(ge *e), const char *what)
{
    ge *e = ge_read(path), *fused = ge_read(path);
    if (change)
        change(e), change(fused);
    ge_save(e, made);
    float *want = tiny_logits(made, (moped_options){ .threads = 1, .ram_bytes = TINY_ROOM }, golden.ids, (size_t)golden.tok);
    REQUIRE(want);
    check_forms(e, want, what);
    unstack(e);
    check_forms(e, want, "one tensor an expert");
    fuse(fused);
    check_forms(fused, want, "gate and up fused");
    ge_close(&e);
    ge_close(&fused);
    free(want);
}

/* Gate and up as MXFP4: 17 bytes for 32 weights, so that experts begin at odd places. */
static void make_odd(ge *e)
{
    for (int k = 0;; k++) {
        char name[96];
        snprintf(name, sizeof(name), "blk.%d.ffn_%s_exps.weight", k / 2, k % 2 ? "up" : "gate");
        if (!ge_has(e, name))
            return;
        ge_tensor *t = ge_find(e, name);
        t->type = 39;
        t->bytes = gw_bytes_of(39, t->rank, t->ne);
        for (uint64_t i = 0; i < t->bytes; i++)
            t->data[i] = i % 17 ? (uint8_t)(i * 37 + (uint64_t)k * 11 + i / 17 * 5) : 124; /* scale 2^-4, any values */
    }
}

TEST(forms_of_a_file_change_nothing)
{
    char path[TINY_PATH];
    golden = tiny_golden_read("mixtral");
    tiny_path("mixtral", ".gguf", path);
    check_all_forms(path, NULL, "mixtral");
    check_all_forms(path, make_odd, "mixtral, odd strides");
    snprintf(path, sizeof(path), "%s/paged.gguf", dir);
    tiny_write_paged(path);
    check_all_forms(path, NULL, "paged");
    check_all_forms(path, make_odd, "paged, odd strides");
    unlink(path);
    tiny_golden_free(&golden);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    snprintf(made, sizeof(made), "%s/made.gguf", dir);
    RUN(missing_keys_are_named);
    RUN(architectures_are_known_or_refused);
    RUN(numbers_that_contradict_each_other);
    RUN(numbers_that_are_none);
    RUN(absurd_counts_cost_no_memory);
    RUN(more_tokens_than_rows);
    RUN(missing_tensors_are_named);
    RUN(shapes_are_checked_before_anything_is_read);
    RUN(types_are_checked);
    RUN(experts_of_one_layer_have_one_type);
    RUN(one_nan_is_found);
    RUN(without_a_vocabulary_it_runs_by_ids);
    RUN(a_file_that_shrinks_breaks_no_session);
    RUN(forms_of_a_file_change_nothing);
    unlink(made);
    rmdir(dir);
    return test_done();
}
