/* Recorded choices are the ones that were used; replaced ones depend on the trace and the position alone; the window and the trace file agree. On the paged
 * model of tests/support/tiny.h (8 layers of 16 experts, 2 used) and on made-up shapes. */
#include "model/routing.h"

#include "model/session.h"
#include "num/kern.h"
#include "support/gguf_edit.h"
#include "support/tiny.h"
#include "test.h"

enum { LAYERS = 8, EXPERTS = 16, USED = 2, TOKENS = 40 };
static char dir[] = "/tmp/moped-routing-XXXXXX", paged[64], trace_path[64], made_path[64];
static mp_ledger *ledger;
static int32_t ids[TOKENS];

static mp_trace *read_trace(const char *path)
{
    mp_trace *t;
    CHECK_OK(mp_trace_open(ledger, MP_OWN_WORK, path, &t));
    return t;
}

/* ---- made-up traces ---- */

static uint32_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Choices that stay for a while: each rank of each layer keeps its expert with a chance of 3 in 4. */
static void make_trace(mp_trace_shape s, int sequences, int tokens, bool weights)
{
    mp_trace_writer *w;
    uint64_t state = 7;
    uint16_t *now = calloc((size_t)s.layers * s.top_k, sizeof(*now));
    float *weight = calloc((size_t)s.layers * s.top_k, sizeof(*weight));
    CHECK_OK(mp_trace_create(ledger, made_path, s, &w));
    for (int q = 0; now && weight && q < sequences; q++) {
        mp_trace_begin(w, "made up");
        for (int t = 0; t < tokens; t++) {
            for (uint32_t l = 0; l < s.layers; l++) {
                uint16_t *at = now + l * s.top_k;
                for (uint32_t k = 0; k < s.top_k; k++) {
                    bool twice = t == 0 || next(&state) % 4 == 0;
                    if (twice)
                        at[k] = (uint16_t)(next(&state) % s.experts);
                    for (uint32_t j = 0; j < k; j++)
                        if (at[j] == at[k])
                            at[k] = (uint16_t)((at[k] + 1) % s.experts), j = UINT32_MAX; /* from the start again */
                    weight[l * s.top_k + k] = (float)(s.top_k - k) / 4;
                }
            }
            mp_trace_token(w, false, now, weights ? weight : NULL);
        }
    }
    CHECK_OK(mp_trace_end(&w));
    free(now);
    free(weight);
}

/* ---- what is recorded was used ---- */

static float *logits_with(const char *path, moped_options o, size_t n)
{
    o.ram_bytes = o.ram_bytes ? o.ram_bytes : TINY_ROOM;
    o.threads = o.threads ? o.threads : 2;
    float *out = tiny_logits(path, o, ids, n);
    CHECK(out);
    return out;
}

static bool used_by(const mp_trace *t, uint32_t layer, uint16_t expert)
{
    for (uint64_t i = 0; i < t->tokens; i++)
        for (uint32_t k = 0; k < t->top_k; k++)
            if (mp_trace_ids(t, i, layer)[k] == expert)
                return true;
    return false;
}

/* Another down matrix for one expert. */
static void spoil(ge *e, uint32_t layer, uint32_t expert)
{
    char name[64];
    snprintf(name, sizeof(name), "blk.%u.ffn_down_exps.weight", layer);
    ge_tensor *t = ge_find(e, name);
    size_t each = t->bytes / EXPERTS / sizeof(float);
    float *v = (float *)(void *)t->data + expert * each;
    for (size_t i = 0; i < each; i++)
        v[i] = -3 * v[i] + 0.5f;
}

static void check_spoilt(ge *e, const float *want, size_t n, bool same, const char *routing)
{
    char other[96];
    snprintf(other, sizeof(other), "%s/spoilt.gguf", dir);
    ge_save(e, other);
    float *got = logits_with(other, (moped_options){ .routing = routing }, n);
    int vocab = 264;
    CHECK_EQ(!memcmp(got, want, n * (size_t)vocab * sizeof(*want)), same);
    free(got);
    unlink(other);
}

/* Experts that the trace does not name can be anything; the one that it names last cannot. */
static void check_recorded(const char *routing)
{
    enum { N = 6 };
    float *want = logits_with(paged, (moped_options){ .trace = trace_path, .routing = routing }, N);
    mp_trace *t = read_trace(trace_path);
    REQUIRE(t && want);
    CHECK(t->layers == LAYERS && t->experts == EXPERTS && t->top_k == USED && t->tokens == N && t->sequences == 1);
    ge *e = ge_read(paged);
    int unused = 0;
    for (uint32_t l = 0; l < LAYERS; l++)
        for (uint16_t x = 0; x < EXPERTS; x++)
            if (!used_by(t, l, x)) {
                spoil(e, l, x);
                unused++;
            }
    CHECK(unused >= LAYERS * (EXPERTS - N * USED));
    check_spoilt(e, want, N, true, routing);
    spoil(e, LAYERS - 1, mp_trace_ids(t, N - 1, LAYERS - 1)[USED - 1]);
    check_spoilt(e, want, N, false, routing);
    ge_close(&e);
    mp_trace_close(&t);
    free(want);
}

TEST(recorded_choices_are_those_that_were_used)
{
    check_recorded(NULL);
    make_trace((mp_trace_shape){ 3, 8, 2 }, 20, 30, false);
    check_recorded(made_path);
}

TEST(the_file_does_not_depend_on_batch_threads_or_budget)
{
    moped_options o[] = { { .batch_tok = 512 }, { .batch_tok = 7, .threads = 1 }, { .batch_tok = 1, .threads = 3 }, { .batch_tok = 16 } };
    mp_trace *first = NULL;
    o[3].ram_bytes = tiny_least(paged, (moped_options){ .batch_tok = 16, .ctx_tok = TOKENS, .trace = trace_path }) + TEST_SLACK_BYTES;
    for (int i = 0; i < 4; i++) {
        o[i].trace = trace_path;
        o[i].ctx_tok = TOKENS;
        free(logits_with(paged, o[i], TOKENS));
        mp_trace *t = read_trace(trace_path);
        REQUIRE(t && t->tokens == TOKENS && t->weights && t->prefill);
        for (uint64_t n = 0; n < t->tokens; n++)
            CHECK_EQ(t->prefill[n], 1);
        for (uint64_t n = 0; n < t->tokens * LAYERS; n++) { /* falling weights that sum to 1, as this architecture's do */
            const uint16_t *w = t->weights + n * USED;
            CHECK(mp_f16_to_f32(w[0]) >= mp_f16_to_f32(w[1]) && w[1] > 0);
            CHECK_NEAR(mp_f16_to_f32(w[0]) + mp_f16_to_f32(w[1]), 1, 0.002);
        }
        if (first)
            CHECK(!memcmp(first->ids, t->ids, TOKENS * LAYERS * USED * sizeof(*t->ids)) && !memcmp(first->weights, t->weights, TOKENS * LAYERS * USED * sizeof(*t->ids)));
        if (!first)
            first = t;
        else
            mp_trace_close(&t);
    }
    mp_trace_close(&first);
}

/* ---- sequences and marks ---- */

static mp_model *open_low(mp_model_options o)
{
    mp_model *m = NULL;
    o.path = paged;
    o.ram_bytes = o.ram_bytes ? o.ram_bytes : TINY_ROOM;
    o.threads = 2;
    o.batch_tok = o.batch_tok ? o.batch_tok : 4;
    o.sessions = 2;
    CHECK_OK(mp_model_open(&o, NULL, &m));
    return m;
}

TEST(sequences_follow_the_sessions_and_marks_tell_prompts)
{
    mp_model *m = open_low((mp_model_options){ .trace = trace_path });
    mp_session *a = NULL, *b = NULL;
    REQUIRE(m);
    CHECK_OK(mp_session_open(m, 0, &a));
    CHECK_OK(mp_session_open(m, 0, &b));
    CHECK_OK(mp_session_eval(a, ids, 5, NULL, NULL, NULL)); /* batches of 4 and 1 */
    CHECK_OK(mp_session_push(a, ids[5]));
    CHECK_OK(mp_session_eval(b, ids, 1, NULL, NULL, NULL)); /* a prompt of one token */
    CHECK_OK(mp_session_push(b, ids[1]));
    CHECK_OK(mp_session_push(a, ids[6])); /* back to a, which goes on */
    CHECK_OK(mp_session_push(a, ids[7]));
    CHECK_OK(mp_session_eval(a, ids, 6, NULL, NULL, NULL)); /* shorter: only the last token is computed again */
    mp_session_truncate(a, 0);
    CHECK_OK(mp_session_eval(a, ids, 2, NULL, NULL, NULL));
    CHECK_EQ(mp_session_push(a, ids[2]), MP_OK);
    CHECK_OK(mp_recorder_finish(m->recorder));
    CHECK_OK(mp_session_push(a, ids[3])); /* no longer in the file */
    CHECK_OK(mp_recorder_finish(m->recorder));
    mp_session_close(&a);
    mp_session_close(&b);
    mp_model_close(&m);
    mp_trace *t = read_trace(trace_path);
    static const uint32_t tokens[] = { 6, 2, 2, 1, 3 };
    static const uint8_t marks[] = { 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0 };
    static const char *const names[] = { "1 from 0", "2 from 0", "3 from 6", "4 from 5", "5 from 0" };
    REQUIRE(t && t->sequences == 5 && t->tokens == 14);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(t->seq[i].tokens, tokens[i]);
        CHECK_STR(t->seq[i].name, names[i]);
    }
    CHECK(!memcmp(t->prefill, marks, sizeof(marks)));
    CHECK(!memcmp(mp_trace_ids(t, 0, 0), mp_trace_ids(t, 11, 0), 2 * LAYERS * USED * sizeof(uint16_t))); /* the same two tokens in an empty context */
    mp_trace_close(&t);
}

TEST(a_trace_that_cannot_be_written_costs_no_answer)
{
    if (access("/dev/full", W_OK))
        SKIP("there is no /dev/full");
    moped_model *m;
    moped_session *s = NULL;
    float *want = logits_with(paged, (moped_options){ 0 }, TOKENS);
    REQUIRE(!moped_model_open(&(moped_options){ .path = paged, .ram_bytes = TINY_ROOM, .threads = 2, .trace = "/dev/full" }, &m));
    CHECK_OK(moped_session_open(m, 0, &s));
    for (int i = 0; i < 40; i++) { /* 2560 tokens of 65 bytes: more than the buffer, so that the error comes in between */
        float *got = tiny_session_logits(s, 264, ids, TOKENS);
        CHECK(got && want && !memcmp(got, want, TOKENS * 264 * sizeof(*got)));
        free(got);
    }
    CHECK_EQ(moped_model_end_trace(m), MOPED_E_FAILED);
    CHECK(strstr(moped_error(), "/dev/full") && strstr(moped_error(), "No space left"));
    CHECK_EQ(moped_model_end_trace(m), MOPED_E_FAILED); /* it stays */
    moped_session_close(&s);
    moped_model_close(&m);
    free(want);
}

TEST(what_cannot_be_followed_or_recorded_is_said)
{
    moped_model *m = NULL;
    char dense[TINY_PATH];
    tiny_path("llama", ".gguf", dense);
    CHECK_EQ(moped_model_open(&(moped_options){ .path = dense, .ram_bytes = TINY_ROOM, .trace = trace_path }, &m), MOPED_E_USAGE);
    CHECK(strstr(moped_error(), "no experts"));
    CHECK_EQ(moped_model_open(&(moped_options){ .path = paged, .ram_bytes = TINY_ROOM, .routing = "/none/x.mtr" }, &m), MOPED_E_USAGE);
    CHECK_EQ(moped_model_open(&(moped_options){ .path = paged, .ram_bytes = TINY_ROOM, .routing = paged }, &m), MOPED_E_MODEL);
    CHECK(strstr(moped_error(), "no routing trace"));
    CHECK_EQ(moped_model_open(&(moped_options){ .path = paged, .ram_bytes = TINY_ROOM, .trace = paged }, &m), MOPED_E_USAGE);
    CHECK(strstr(moped_error(), "is no trace"));
    make_trace((mp_trace_shape){ 3, 8, 2 }, 2, 0, false);
    CHECK_EQ(moped_model_open(&(moped_options){ .path = paged, .ram_bytes = TINY_ROOM, .routing = made_path }, &m), MOPED_E_USAGE);
    CHECK(strstr(moped_error(), "no tokens") && !m);
    moped_plan_info p; /* a plan makes no file */
    unlink(trace_path);
    CHECK_OK(moped_plan(&(moped_options){ .path = paged, .ram_bytes = TINY_ROOM, .trace = trace_path }, &p));
    CHECK(access(trace_path, F_OK));
}

/* ---- the window ---- */

TEST(the_window_is_the_end_of_the_file_and_is_counted)
{
    enum { PROMPT = 300, MOST = 500 };
    mp_model *m = open_low((mp_model_options){ .trace = trace_path, .batch_tok = 290, .ctx_tok = 512 });
    mp_session *s = NULL;
    char window_path[64];
    int32_t long_ids[MOST];
    REQUIRE(m);
    for (int i = 0; i < MOST; i++)
        long_ids[i] = (i * 37 + i / 7) % 264;
    CHECK_OK(mp_session_open(m, 0, &s));
    mp_window w;
    mp_recorder_window(m->recorder, &w);
    CHECK(!w.tok && !w.accesses);
    CHECK_OK(mp_session_eval(s, long_ids, PROMPT, NULL, NULL, NULL)); /* batches longer than the window */
    mp_recorder_window(m->recorder, &w);
    CHECK_EQ(w.tok, 0);
    mp_pager_stats before, after;
    mp_pager_get_stats(m->pager, &before);
    for (int i = PROMPT; i < MOST; i++)
        CHECK_OK(mp_session_push(s, long_ids[i]));
    mp_pager_get_stats(m->pager, &after);
    mp_recorder_window(m->recorder, &w);
    CHECK_EQ(w.tok, MOST - PROMPT);
    CHECK_EQ(w.accesses, after.accesses - before.accesses);
    CHECK_EQ(w.accesses, (MOST - PROMPT) * LAYERS * USED);
    CHECK_EQ(w.hits, after.hits - before.hits);
    snprintf(window_path, sizeof(window_path), "%s/window.mtr", dir);
    CHECK_OK(mp_recorder_save(m->recorder, window_path));
    mp_trace *decoded = NULL;
    CHECK_OK(mp_recorder_export(m->recorder, true, &decoded));
    CHECK_OK(mp_recorder_finish(m->recorder));
    mp_trace *all = read_trace(trace_path), *last = read_trace(window_path);
    REQUIRE(all && last && decoded);
    CHECK(all->tokens == MOST && last->tokens == MP_WINDOW_TOK && decoded->tokens == MOST - PROMPT && last->sequences == 1);
    size_t token = LAYERS * USED * sizeof(uint16_t);
    CHECK(!memcmp(mp_trace_ids(all, MOST - MP_WINDOW_TOK, 0), last->ids, MP_WINDOW_TOK * token));
    CHECK(!memcmp(all->prefill + MOST - MP_WINDOW_TOK, last->prefill, MP_WINDOW_TOK));
    CHECK(!memcmp(mp_trace_ids(all, PROMPT, 0), decoded->ids, (MOST - PROMPT) * token));
    mp_trace_close(&decoded);
    mp_trace_close(&all);
    mp_trace_close(&last);
    mp_session_close(&s);
    mp_model_close(&m); /* whose ledger says when something is left */
    unlink(window_path);
}

/* n decoded tokens of a made-up routing into a recorder. */
static void decode_into(mp_recorder *r, mp_trace_shape s, int n)
{
    uint64_t state = 3;
    int32_t chosen[16];
    float weights[16] = { 0 };
    for (int t = 0; t < n; t++) {
        mp_segment seg = { .n = 1, .pos = t, .kv = dir };
        mp_batch b = { .seg = &seg, .n_tok = 1, .n_seg = 1, .decode = true };
        for (uint32_t l = 0; l < s.layers; l++) {
            uint32_t part = s.experts / s.top_k;
            for (uint32_t k = 0; k < s.top_k; k++)
                chosen[k] = (int32_t)(k * part + next(&state) % part);
            mp_recorder_layer(r, (int)l, &b, chosen, weights);
        }
        mp_recorder_commit(r, &b, (uint64_t)(t + 1) * s.layers * s.top_k, 0);
    }
}

TEST(looking_at_the_window_takes_what_was_planned)
{
    static const mp_trace_shape shapes[] = { { 12, 128, 8 }, { 1, 4, 2 }, { 6, 512, 10 }, { 90, 8, 1 } };
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        mp_trace_shape s = shapes[i];
        mp_recorder *r;
        mp_window w, before = { 0 };
        CHECK_OK(mp_recorder_open(ledger, s, 64, NULL, &r));
        REQUIRE(r);
        uint64_t used = mp_ledger_used(ledger, MP_TIER_RAM), accesses = (uint64_t)MP_WINDOW_TOK * s.layers * s.top_k;
        mp_ledger_set_limit(ledger, MP_TIER_RAM, used);
        CHECK_OK(mp_recorder_oracle(r, 5, &w));
        CHECK(!w.tok && !w.accesses && !w.hits);
        decode_into(r, s, 300);
        for (uint32_t slots = 1; slots <= s.layers * s.experts; slots = slots * 8 + 1) {
            CHECK_OK(mp_recorder_oracle(r, slots, &w));
            CHECK(w.tok == MP_WINDOW_TOK && w.accesses == accesses && w.hits >= before.hits && w.hits <= accesses);
            before = w;
        }
        CHECK_OK(mp_recorder_oracle(r, s.layers * s.experts, &w)); /* all could have been there from the start */
        CHECK_EQ(w.hits, accesses);
        CHECK_OK(mp_recorder_save(r, trace_path));
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), used);
        mp_ledger_set_limit(ledger, MP_TIER_RAM, 0);
        mp_recorder_close(&r);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    }
}

TEST(the_clairvoyant_rate_is_a_bound)
{
    moped_options o = { .path = paged, .threads = 2, .prefetch = MOPED_PREFETCH_OFF, .ctx_tok = 512 };
    moped_model *m;
    moped_session *s = NULL;
    moped_result r;
    moped_expert_stats st;
    o.ram_bytes = tiny_least(paged, o) + TEST_SLACK_BYTES;
    REQUIRE(!moped_model_open(&o, &m));
    CHECK_OK(moped_session_open(m, 0, &s));
    moped_model_experts(m, &st);
    CHECK(!st.window_tok && st.window_hit_rate == 0 && st.oracle_hit_rate == 0);
    moped_sampling greedy = tiny_greedy();
    for (int i = 0; i < 2; i++) {
        moped_session_truncate(s, 0);
        CHECK_OK(moped_generate(s, &(moped_request){ .tokens = ids, .n_tokens = 3, .max_tokens = 400, .sampling = &greedy, .ignore_eos = true }, &r));
        moped_model_experts(m, &st);
        CHECK_EQ(st.window_tok, MP_WINDOW_TOK);
        CHECK(st.window_hit_rate < 1 || st.slots == st.pages);
        CHECK(st.oracle_hit_rate >= st.window_hit_rate && st.oracle_hit_rate <= 1);
    }
    printf("note: %u of %u slots, hits %.3f, clairvoyant %.3f\n", st.slots, st.pages, st.window_hit_rate, st.oracle_hit_rate);
    moped_session_close(&s);
    moped_model_close(&m);
}

/* ---- replaced choices ---- */

TEST(replaced_choices_give_the_same_logits_however_they_are_computed)
{
    static const struct { uint32_t layers, experts, top_k; bool weights; } shapes[] = { { 8, 16, 2, false }, { 3, 8, 4, true }, { 12, 64, 3, true }, { 1, 4, 1, false } };
    float *plain = logits_with(paged, (moped_options){ 0 }, TOKENS);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        make_trace((mp_trace_shape){ shapes[i].layers, shapes[i].experts, shapes[i].top_k }, 20, 30, shapes[i].weights);
        moped_options o[] = { { .batch_tok = 512 }, { .batch_tok = 7, .threads = 1 }, { .batch_tok = 1, .threads = 3 }, { .batch_tok = 16 } };
        float *first = NULL;
        o[3].ram_bytes = tiny_least(paged, (moped_options){ .batch_tok = 16, .ctx_tok = TOKENS, .routing = made_path }) + TEST_SLACK_BYTES;
        for (int c = 0; c < 4; c++) {
            o[c].routing = made_path;
            o[c].ctx_tok = TOKENS;
            float *got = logits_with(paged, o[c], TOKENS);
            CHECK(got && plain && memcmp(got, plain, TOKENS * 264 * sizeof(*got)) != 0);
            CHECK(tiny_distance(got, got, TOKENS * 264) == 0); /* finite */
            CHECK(!first || !memcmp(got, first, TOKENS * 264 * sizeof(*got)));
            if (first)
                free(got);
            else
                first = got;
        }
        free(first);
    }
    free(plain);
}

TEST(a_second_run_of_a_session_goes_on_in_the_trace)
{
    float *run[4] = { 0 };
    make_trace((mp_trace_shape){ 3, 8, 2 }, 20, 30, false);
    for (int i = 0; i < 4; i += 2) { /* two models, two runs each */
        moped_model *m;
        moped_session *s = NULL;
        REQUIRE(!moped_model_open(&(moped_options){ .path = paged, .ram_bytes = TINY_ROOM, .threads = 2, .routing = made_path, .batch_tok = 5 + i }, &m));
        CHECK_OK(moped_session_open(m, 0, &s));
        run[i] = tiny_session_logits(s, 264, ids, TOKENS);
        run[i + 1] = tiny_session_logits(s, 264, ids, TOKENS);
        moped_session_close(&s);
        moped_model_close(&m);
    }
    REQUIRE(run[0] && run[1] && run[2] && run[3]);
    CHECK(memcmp(run[0], run[1], TOKENS * 264 * sizeof(float)) != 0);
    CHECK(!memcmp(run[0], run[2], TOKENS * 264 * sizeof(float)) && !memcmp(run[1], run[3], TOKENS * 264 * sizeof(float)));
    for (int i = 0; i < 4; i++)
        free(run[i]);
}

/* One timeline's choices [tok][layers][k], computed in batches of `batch`. */
static int32_t *choices(mp_routing *r, mp_trace_shape s, const void *kv, int tok, int batch)
{
    size_t each = (size_t)s.layers * s.top_k;
    int32_t *out = calloc((size_t)tok * each, sizeof(*out)), *row = calloc((size_t)batch * s.top_k, sizeof(*row));
    float *weights = calloc((size_t)batch * s.top_k, sizeof(*weights));
    for (int at = 0; out && row && weights && at < tok; at += batch) {
        int n = tok - at < batch ? tok - at : batch;
        mp_segment seg = { .n = n, .pos = at, .kv = (void *)(uintptr_t)kv };
        mp_batch b = { .seg = &seg, .n_tok = n, .n_seg = 1 };
        mp_routing_begin(r, &b);
        for (uint32_t l = 0; l < s.layers; l++) {
            for (size_t i = 0; i < (size_t)n * s.top_k; i++)
                weights[i] = 1.0f / (float)s.top_k;
            mp_routing_apply(r, (int)l, &b, row, weights);
            for (int i = 0; i < n; i++)
                memcpy(out + (size_t)(at + i) * each + l * s.top_k, row + (size_t)i * s.top_k, s.top_k * sizeof(*row));
        }
        mp_routing_commit(r, &b);
    }
    free(row);
    free(weights);
    return out;
}

static void check_sets(const int32_t *c, mp_trace_shape s, int tok)
{
    int bad = 0;
    for (size_t i = 0; i < (size_t)tok * s.layers; i++)
        for (uint32_t k = 0; k < s.top_k; k++) {
            int32_t id = c[i * s.top_k + k];
            bad += id < 0 || (uint32_t)id >= s.experts;
            for (uint32_t j = 0; j < k; j++)
                bad += c[i * s.top_k + j] == id;
        }
    CHECK_EQ(bad, 0);
}

/* Every expert of every layer is used, and if layer m were layer l under other names, each first choice of l would always meet the same one of m. */
static void check_layers(const int32_t *c, mp_trace_shape s, int tok)
{
    bool *used = calloc(s.experts, 1), *pair = calloc((size_t)s.experts * s.experts, 1);
    for (uint32_t l = 0; l < s.layers && used && pair; l++) {
        size_t each = (size_t)s.layers * s.top_k;
        uint32_t n = 0;
        memset(used, 0, s.experts);
        for (size_t t = 0; t < (size_t)tok; t++)
            for (uint32_t k = 0; k < s.top_k; k++)
                n += !used[c[t * each + l * s.top_k + k]], used[c[t * each + l * s.top_k + k]] = true;
        CHECK_EQ(n, s.experts);
        for (uint32_t m = 0; m < s.layers; m++) {
            uint32_t firsts = 0, pairs = 0;
            memset(used, 0, s.experts);
            memset(pair, 0, (size_t)s.experts * s.experts);
            for (size_t t = 0; t < (size_t)tok; t++) {
                int32_t a = c[t * each + l * s.top_k], b = c[t * each + m * s.top_k];
                firsts += !used[a], used[a] = true;
                pairs += !pair[(size_t)a * s.experts + b], pair[(size_t)a * s.experts + b] = true;
            }
            CHECK(m == l ? pairs == firsts : pairs > 2 * firsts);
        }
    }
    free(used);
    free(pair);
}

TEST(choices_of_any_shape)
{
    static const mp_trace_shape trace = { 4, 8, 3 };
    static const mp_trace_shape shapes[] = { { 4, 8, 3 }, { 10, 8, 3 }, { 9, 32, 8 }, { 5, 64, 3 }, { 6, 20, 7 }, { 4, 8, 7 }, { 4, 6, 3 }, { 4, 12, 5 }, { 4, 300, 12 } };
    enum { TOK = 1500 };
    make_trace(trace, 40, 200, false);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        mp_trace_shape s = shapes[i];
        size_t bytes = (size_t)TOK * s.layers * s.top_k * sizeof(int32_t);
        int32_t *first = NULL;
        static const int batches[] = { 512, 1, 7 };
        for (int b = 0; b < 3; b++) {
            mp_routing *r;
            CHECK_OK(mp_routing_open(ledger, made_path, s, &r));
            REQUIRE(r);
            int32_t *c = choices(r, s, dir, TOK, batches[b]);
            REQUIRE(c);
            if (!first) {
                first = c;
                check_sets(c, s, TOK);
                check_layers(c, s, TOK);
            } else {
                CHECK(!memcmp(first, c, bytes));
                free(c);
            }
            mp_routing_close(&r);
        }
        free(first);
    }
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

TEST(a_model_smaller_than_what_it_chooses_from_one_layer)
{
    static const mp_trace_shape s = { 3, 4, 4 }; /* all experts, every time: folding leaves gaps that are filled */
    make_trace((mp_trace_shape){ 1, 64, 2 }, 3, 5, false);
    mp_routing *r;
    CHECK_OK(mp_routing_open(ledger, made_path, s, &r));
    REQUIRE(r);
    int32_t *c = choices(r, s, dir, 100, 9);
    check_sets(c, s, 100);
    free(c);
    mp_routing_close(&r);
}

/* Of the choices of a layer, how many were choices of the token before. */
static double reuse(const int32_t *c, mp_trace_shape s, int tok)
{
    double same = 0;
    for (size_t t = 1; t < (size_t)tok; t++)
        for (uint32_t l = 0; l < s.layers; l++)
            for (uint32_t k = 0; k < s.top_k; k++)
                for (uint32_t j = 0; j < s.top_k; j++)
                    same += c[(t * s.layers + l) * s.top_k + k] == c[((t - 1) * s.layers + l) * s.top_k + j];
    return same / ((double)(tok - 1) * s.layers * s.top_k);
}

TEST(locality_is_the_traces_own)
{
    static const mp_trace_shape shapes[] = { { 4, 8, 2 }, { 11, 8, 2 }, { 4, 32, 8 } };
    enum { TOK = 2000 };
    mp_routing *r;
    make_trace((mp_trace_shape){ 4, 8, 2 }, 40, 100, false);
    mp_trace *t = read_trace(made_path);
    REQUIRE(t);
    int32_t *own = calloc((size_t)TOK * 8, sizeof(*own));
    for (size_t i = 0; own && i < (size_t)TOK * 8; i++)
        own[i] = t->ids[i];
    double want = reuse(own, (mp_trace_shape){ 4, 8, 2 }, TOK);
    CHECK(want > 0.6);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(mp_routing_open(ledger, made_path, shapes[i], &r));
        REQUIRE(r);
        int32_t *c = choices(r, shapes[i], dir, TOK, 64);
        CHECK_NEAR(reuse(c, shapes[i], TOK), want, 0.03);
        free(c);
        mp_routing_close(&r);
    }
    free(own);
    mp_trace_close(&t);
}

TEST(a_repetition_goes_on_and_another_session_is_elsewhere)
{
    static const mp_trace_shape s = { 2, 16, 4 };
    enum { A = 50, B = 70 };
    size_t each = (size_t)s.layers * s.top_k;
    int other;
    mp_routing *r, *whole;
    make_trace((mp_trace_shape){ 2, 8, 2 }, 30, 40, false);
    CHECK_OK(mp_routing_open(ledger, made_path, s, &r));
    CHECK_OK(mp_routing_open(ledger, made_path, s, &whole));
    REQUIRE(r && whole);
    int32_t *all = choices(whole, s, dir, A + B, 16), *first = choices(r, s, dir, A, 16), *then = choices(r, s, dir, B, 16), *apart = choices(r, s, &other, A, 16);
    CHECK(!memcmp(first, all, A * each * sizeof(*all)));
    CHECK(!memcmp(then, all + A * each, B * each * sizeof(*all))); /* where the first ended */
    CHECK(memcmp(then, first, A * each * sizeof(*all)) != 0);
    CHECK(memcmp(apart, first, A * each * sizeof(*all)) != 0 && memcmp(apart, then, A * each * sizeof(*all)) != 0);
    int32_t *twice[2];
    mp_routing_close(&r);
    CHECK_OK(mp_routing_open(ledger, made_path, s, &r));
    for (int i = 0; i < 2; i++) { /* a forward that fails commits nothing, so that what is tried again is the same */
        mp_segment seg = { .n = A, .kv = dir };
        mp_batch b = { .seg = &seg, .n_tok = A, .n_seg = 1 };
        twice[i] = calloc(A * s.top_k, sizeof(int32_t));
        float weights[A * 4] = { 0 };
        mp_routing_begin(r, &b);
        mp_routing_apply(r, 0, &b, twice[i], weights);
    }
    CHECK(!memcmp(twice[0], twice[1], A * s.top_k * sizeof(int32_t)));
    free(twice[0]);
    free(twice[1]);
    free(all);
    free(first);
    free(then);
    free(apart);
    mp_routing_close(&r);
    mp_routing_close(&whole);
}

TEST(weights_are_the_traces_with_the_routers_sum)
{
    static const mp_trace_shape s = { 1, 16, 4 };
    mp_segment seg = { .n = 1, .kv = dir };
    mp_batch b = { .seg = &seg, .n_tok = 1, .n_seg = 1 };
    for (int with = 0; with < 2; with++) {
        mp_routing *r;
        int32_t chosen[4];
        float weights[4] = { 0.9f, 0.7f, 0.3f, 0.1f };
        make_trace((mp_trace_shape){ 1, 8, 2 }, 4, 10, with == 1); /* of each of two banks the ranks with 0.5 and 0.25 */
        CHECK_OK(mp_routing_open(ledger, made_path, s, &r));
        REQUIRE(r);
        mp_routing_begin(r, &b);
        mp_routing_apply(r, 0, &b, chosen, weights);
        static const float own[] = { 0.9f, 0.7f, 0.3f, 0.1f };
        for (int i = 0; i < 4; i++)
            CHECK_NEAR(weights[i], with ? (i % 2 ? 1.0 : 2.0) / 3 : (double)own[i], 1e-6); /* 2 times 0.5, 0.25, 0.5, 0.25 over 1.5 */
        mp_routing_close(&r);
    }
}

int main(void)
{
    if (!mkdtemp(dir) || mp_ledger_open(false, &ledger))
        return 1;
    snprintf(paged, sizeof(paged), "%s/paged.gguf", dir);
    snprintf(trace_path, sizeof(trace_path), "%s/t.mtr", dir);
    snprintf(made_path, sizeof(made_path), "%s/made.mtr", dir);
    tiny_write_paged(paged);
    for (int i = 0; i < TOKENS; i++)
        ids[i] = (i * 41 + 3) % 264;
    RUN(recorded_choices_are_those_that_were_used);
    RUN(the_file_does_not_depend_on_batch_threads_or_budget);
    RUN(sequences_follow_the_sessions_and_marks_tell_prompts);
    RUN(a_trace_that_cannot_be_written_costs_no_answer);
    RUN(what_cannot_be_followed_or_recorded_is_said);
    RUN(the_window_is_the_end_of_the_file_and_is_counted);
    RUN(looking_at_the_window_takes_what_was_planned);
    RUN(the_clairvoyant_rate_is_a_bound);
    RUN(replaced_choices_give_the_same_logits_however_they_are_computed);
    RUN(a_second_run_of_a_session_goes_on_in_the_trace);
    RUN(choices_of_any_shape);
    RUN(a_model_smaller_than_what_it_chooses_from_one_layer);
    RUN(locality_is_the_traces_own);
    RUN(a_repetition_goes_on_and_another_session_is_elsewhere);
    RUN(weights_are_the_traces_with_the_routers_sum);
    unlink(paged);
    unlink(trace_path);
    unlink(made_path);
    rmdir(dir);
    mp_ledger_close(&ledger);
    return test_done();
}
