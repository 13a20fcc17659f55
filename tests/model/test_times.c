/* Where time goes: which rows there are, how often each was entered, and to the byte what it had to read and compute. Never how long it took, but that
 * what the rows add up to is no more than all there was. */
#include <pthread.h>

#include "base/err.h"
#include "moped.h"
#include "support/tiny.h"
#include "test.h"

static char dir[] = "/tmp/moped-times-XXXXXX", paged[64];
enum { LAYERS = 8, WIDTH = 64, FF = 64, EXPERTS = 16, USED = 2, VOCAB = 264, HEADS = 4, KV_HEADS = 2, DIM = 16 }; /* of tiny_write_paged */
enum { PROMPT = 5, ANSWER = 4, STEPS = ANSWER - 1 /* the last token is not pushed */, ROOM = 512 };

typedef struct opened {
    moped_model   *m;
    moped_session *s;
} opened;

static opened open_model(const char *path, moped_options o)
{
    opened x = { 0 };
    o.path = path;
    CHECK_OK(moped_model_open(&o, &x.m));
    if (x.m)
        CHECK_OK(moped_session_open(x.m, 0, &x.s));
    return x;
}

static void close_model(opened *x)
{
    moped_session_close(&x->s);
    moped_model_close(&x->m);
}

static const int32_t prompt[PROMPT] = { 3, 250, 17, 99, 4 };

static moped_result generate(moped_session *s, int (*on_token)(void *, int32_t, const char *, size_t), void *user)
{
    moped_sampling greedy = tiny_greedy();
    moped_result r;
    moped_session_truncate(s, 0);
    CHECK_OK(moped_generate(s, &(moped_request){ .tokens = prompt, .n_tokens = PROMPT, .max_tokens = ANSWER, .sampling = &greedy, .ignore_eos = true, .on_token = on_token, .user = user }, &r));
    return r;
}

/* The sum of the rows of this name in layers [first, last]; zero when there is none. */
static moped_time sum_of(moped_model *m, moped_phase phase, const char *what, int first, int last)
{
    static moped_time rows[ROOM];
    int n = moped_model_times(m, phase, NULL, rows, ROOM);
    moped_time sum = { 0 };
    CHECK(n <= ROOM);
    for (int i = 0; i < n; i++) {
        if ((what && strcmp(rows[i].what, what) != 0) || rows[i].layer < first || rows[i].layer > last)
            continue;
        sum.op |= rows[i].op;
        sum.calls += rows[i].calls;
        sum.ns += rows[i].ns;
        sum.weight_bytes += rows[i].weight_bytes;
        sum.kv_bytes += rows[i].kv_bytes;
        for (int a = 0; a < MOPED_ARITH_COUNT; a++)
            sum.ops[a] += rows[i].ops[a];
    }
    return sum;
}

/* A product of float weights for `tokens` in each of `calls`. */
static void check_product(moped_model *m, moped_phase phase, const char *what, uint64_t calls, uint64_t elements)
{
    moped_time t = sum_of(m, phase, what, -1, LAYERS);
    uint64_t tokens = phase == MOPED_PHASE_PREFILL && strcmp(what, "head") ? PROMPT : 1;
    CHECK(t.op);
    CHECK_EQ(t.calls, calls);
    CHECK_EQ(t.weight_bytes, calls * elements * 4);
    CHECK_EQ(t.ops[MOPED_ARITH_F32], 2 * calls * elements * tokens);
    CHECK_EQ(t.ops[MOPED_ARITH_INT8] + t.ops[MOPED_ARITH_BF16] + t.kv_bytes, 0);
}

static void check_products(moped_model *m, moped_phase phase, uint64_t forwards)
{
    check_product(m, phase, "q k v", LAYERS * forwards, (HEADS + 2 * KV_HEADS) * DIM * WIDTH);
    check_product(m, phase, "attention out", LAYERS * forwards, WIDTH * HEADS * DIM);
    check_product(m, phase, "router", LAYERS * forwards, EXPERTS * WIDTH);
    check_product(m, phase, "head", forwards, VOCAB * WIDTH);
}

static void check_attention(moped_model *m, moped_phase phase)
{
    uint64_t pairs = 0, read = 0;
    for (uint64_t p = 0; p < PROMPT + STEPS; p++) {
        if ((p < PROMPT) != (phase == MOPED_PHASE_PREFILL))
            continue;
        pairs += p + 1;
        read = phase == MOPED_PHASE_PREFILL ? PROMPT : read + p + 1;
    }
    moped_time t = sum_of(m, phase, "attention", 0, LAYERS);
    CHECK_EQ(t.calls, LAYERS * (phase == MOPED_PHASE_PREFILL ? 1 : STEPS));
    CHECK_EQ(t.kv_bytes, LAYERS * read * 2 * KV_HEADS * DIM * 4);
    CHECK_EQ(t.ops[MOPED_ARITH_F32], LAYERS * pairs * 4 * HEADS * DIM);
}

/* Each of the chosen experts is read once a forward, in as many calls as it takes. */
static void check_experts(moped_model *m, moped_phase phase, bool one_call)
{
    uint64_t expert = 3 * WIDTH * FF, forwards = phase == MOPED_PHASE_PREFILL ? 1 : STEPS, tokens = phase == MOPED_PHASE_PREFILL ? PROMPT : STEPS;
    moped_time t = sum_of(m, phase, "experts", 0, LAYERS);
    CHECK(one_call ? t.calls == LAYERS * forwards : t.calls >= LAYERS * forwards);
    CHECK_EQ(t.ops[MOPED_ARITH_F32], 2 * LAYERS * tokens * USED * expert);
    if (phase == MOPED_PHASE_DECODE)
        CHECK_EQ(t.weight_bytes, LAYERS * tokens * USED * expert * 4);
    CHECK(t.weight_bytes % (expert * 4) == 0 && t.weight_bytes >= LAYERS * forwards * USED * expert * 4 && t.weight_bytes <= LAYERS * tokens * USED * expert * 4);
}

static void check_small(moped_model *m, moped_phase phase, uint64_t forwards)
{
    static const struct { const char *what; int layer, outside; } rows[] = {
        { "rmsnorm", 4, 1 }, { "rope", 2, 0 }, { "add", 2, 0 }, { "kv", 1, 0 }, { "route", 1, 0 }, { "combine", 1, 0 }, { "embed", 0, 1 }, { "grouping", 1, 0 },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK_EQ(sum_of(m, phase, rows[i].what, 0, LAYERS).calls, (uint64_t)rows[i].layer * LAYERS * forwards);
        CHECK_EQ(sum_of(m, phase, rows[i].what, 3, 3).calls, (uint64_t)rows[i].layer * forwards); /* and evenly */
        CHECK_EQ(sum_of(m, phase, rows[i].what, -1, -1).calls, (uint64_t)rows[i].outside * forwards);
    }
    CHECK_EQ(sum_of(m, phase, "rmsnorm", 0, LAYERS).weight_bytes, forwards * LAYERS * (2 * WIDTH + 2 * DIM) * 4);
    CHECK_EQ(sum_of(m, phase, "embed", -1, -1).weight_bytes, (phase == MOPED_PHASE_PREFILL ? PROMPT : STEPS) * WIDTH * 4);
}

static void check_phase(moped_model *m, moped_phase phase, bool resident)
{
    uint64_t forwards = phase == MOPED_PHASE_PREFILL ? 1 : STEPS;
    moped_times total;
    int n = moped_model_times(m, phase, &total, NULL, 0);
    CHECK_EQ(total.rows, n);
    CHECK_EQ(total.forwards, forwards);
    CHECK_EQ(total.tokens, phase == MOPED_PHASE_PREFILL ? PROMPT : STEPS);
    check_products(m, phase, forwards);
    check_attention(m, phase);
    check_experts(m, phase, resident);
    check_small(m, phase, forwards);
    CHECK_EQ(sum_of(m, phase, "sampling", -1, -1).calls, phase == MOPED_PHASE_PREFILL ? 1 : ANSWER);
    CHECK_EQ(sum_of(m, phase, "text", -1, -1).calls, phase == MOPED_PHASE_PREFILL ? 0 : ANSWER);
    CHECK_EQ(sum_of(m, phase, "caller", -1, -1).calls, phase == MOPED_PHASE_PREFILL ? 1 : ANSWER);
    CHECK(!sum_of(m, phase, "sampling", -1, LAYERS).op && !sum_of(m, phase, "other", -1, LAYERS).op);
    CHECK_EQ(sum_of(m, phase, "pager", -1, -1).calls, 0);
    CHECK(sum_of(m, phase, "pager", 0, LAYERS).calls >= 2 * LAYERS * forwards); /* announced, then pinned, run, unpinned */
}

TEST(rows_calls_and_costs_are_exact)
{
    opened x = open_model(paged, (moped_options){ .time_ops = true, .ram_bytes = TINY_ROOM, .threads = 2 });
    REQUIRE(x.s != NULL);
    moped_result r = generate(x.s, NULL, NULL);
    check_phase(x.m, MOPED_PHASE_PREFILL, true);
    check_phase(x.m, MOPED_PHASE_DECODE, true);
    CHECK_EQ(sum_of(x.m, MOPED_PHASE_DECODE, "stall", -1, LAYERS).calls, 0);
    CHECK_EQ(sum_of(x.m, MOPED_PHASE_DECODE, "guesses", -1, LAYERS).calls, 0);
    uint64_t ns = sum_of(x.m, MOPED_PHASE_PREFILL, NULL, -1, LAYERS).ns + sum_of(x.m, MOPED_PHASE_DECODE, NULL, -1, LAYERS).ns;
    CHECK(ns > 0 && ns <= r.prefill_ns + r.decode_ns);
    moped_model_reset_times(x.m);
    CHECK_EQ(moped_model_times(x.m, MOPED_PHASE_DECODE, NULL, NULL, 0), 0);
    generate(x.s, NULL, NULL);
    check_phase(x.m, MOPED_PHASE_DECODE, true);
    close_model(&x);
}

/* The same where experts come and go, within the smallest budget: the counters are part of the plan. */
TEST(waiting_and_guessing_have_rows_of_their_own)
{
    moped_options o = { .time_ops = true, .prefetch = MOPED_PREFETCH_ON, .threads = 2, .ctx_tok = 64 };
    o.ram_bytes = tiny_least(paged, o) + TEST_SLACK_BYTES;
    opened x = open_model(paged, o);
    REQUIRE(x.s != NULL);
    generate(x.s, NULL, NULL);
    check_phase(x.m, MOPED_PHASE_PREFILL, false);
    check_phase(x.m, MOPED_PHASE_DECODE, false);
    moped_time guess = sum_of(x.m, MOPED_PHASE_PREFILL, "guesses", 0, LAYERS);
    CHECK(TEST_SLACK_BYTES || guess.calls == LAYERS - 1); /* with room for a sanitizer everything is resident */
    CHECK(!guess.op && guess.weight_bytes == 0);
    for (int i = 0; i < 100 && !sum_of(x.m, MOPED_PHASE_PREFILL, "stall", 0, LAYERS).calls; i++)
        generate(x.s, NULL, NULL); /* reads may win every race once */
    moped_time stall = sum_of(x.m, MOPED_PHASE_PREFILL, "stall", 0, LAYERS);
    CHECK(TEST_SLACK_BYTES || stall.calls > 0);
    CHECK(!stall.op);
    close_model(&x);
}

TEST(dense_and_shared_products_are_told_apart)
{
    static const struct { const char *model, *has[3], *lacks; } cases[] = {
        { "llama", { "gate up", "swiglu", "down" }, "router" }, { "qwen2moe", { "gate up", "shared gate", "gate" }, "clamp" }, { "mixtral", { "router", "experts", "combine" }, "gate up" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[TINY_PATH];
        tiny_path(cases[i].model, ".gguf", path);
        opened x = open_model(path, (moped_options){ .time_ops = true, .ram_bytes = TINY_ROOM, .threads = 1, .ctx_tok = 64 });
        REQUIRE(x.s != NULL);
        CHECK_OK(moped_logits(x.s, prompt + 4, 1, 1, NULL, NULL)); /* not only generations are seen */
        for (int k = 0; k < 3; k++)
            CHECK(sum_of(x.m, MOPED_PHASE_PREFILL, cases[i].has[k], -1, LAYERS).calls > 0);
        CHECK_EQ(sum_of(x.m, MOPED_PHASE_PREFILL, cases[i].lacks, -1, LAYERS).calls, 0);
        close_model(&x);
    }
}

TEST(off_there_is_nothing_and_on_changes_nothing)
{
    opened off = open_model(paged, (moped_options){ .ram_bytes = TINY_ROOM, .threads = 2 }), on = open_model(paged, (moped_options){ .time_ops = true, .ram_bytes = TINY_ROOM, .threads = 2 });
    moped_times total = { 1, 1, 1 };
    REQUIRE(off.s && on.s);
    moped_result a = generate(off.s, NULL, NULL), b = generate(on.s, NULL, NULL);
    CHECK(a.n_tokens == b.n_tokens && !memcmp(a.tokens, b.tokens, a.n_tokens * sizeof(*a.tokens)));
    CHECK_EQ(moped_model_times(off.m, MOPED_PHASE_DECODE, &total, NULL, 0), 0);
    CHECK_EQ(total.tokens + total.forwards + (uint64_t)total.rows, 0);
    moped_model_reset_times(off.m);
    close_model(&off);
    close_model(&on);
}

static int generate_another(void *user, int32_t token, const char *text, size_t n)
{
    (void)token, (void)text, (void)n;
    generate(user, NULL, NULL);
    return 0;
}

/* While one session has the clock, another one's work is the first one's caller's time. */
TEST(one_session_is_counted_at_a_time)
{
    opened x = open_model(paged, (moped_options){ .time_ops = true, .ram_bytes = TINY_ROOM, .threads = 2, .sessions = 2, .ctx_tok = 64 });
    moped_session *other = NULL;
    REQUIRE(x.s && moped_session_open(x.m, 0, &other) == MOPED_OK);
    generate(x.s, generate_another, other);
    check_phase(x.m, MOPED_PHASE_PREFILL, true);
    check_phase(x.m, MOPED_PHASE_DECODE, true);
    generate(other, NULL, NULL); /* and now it can have it */
    moped_times total;
    moped_model_times(x.m, MOPED_PHASE_DECODE, &total, NULL, 0);
    CHECK_EQ(total.tokens, 2 * STEPS);
    moped_session_close(&other);
    close_model(&x);
}

static void *keep_generating(void *session)
{
    for (int i = 0; i < 20; i++)
        generate(session, NULL, NULL);
    return NULL;
}

/* Threads that take the clock from each other; what is counted is whole generations. */
TEST(sessions_of_many_threads)
{
    enum { SESSIONS = 3 };
    opened x = open_model(paged, (moped_options){ .time_ops = true, .ram_bytes = TINY_ROOM, .threads = 2, .sessions = SESSIONS, .ctx_tok = 64 });
    moped_session *s[SESSIONS] = { NULL };
    pthread_t thread[SESSIONS];
    REQUIRE(x.s != NULL);
    moped_session_close(&x.s);
    for (int i = 0; i < SESSIONS; i++)
        REQUIRE(moped_session_open(x.m, 0, &s[i]) == MOPED_OK);
    for (int i = 0; i < SESSIONS; i++)
        REQUIRE(pthread_create(&thread[i], NULL, keep_generating, s[i]) == 0);
    for (int i = 0; i < SESSIONS; i++)
        pthread_join(thread[i], NULL);
    moped_times prefill, decode;
    moped_model_times(x.m, MOPED_PHASE_PREFILL, &prefill, NULL, 0);
    moped_model_times(x.m, MOPED_PHASE_DECODE, &decode, NULL, 0);
    CHECK(prefill.forwards >= 1 && prefill.forwards <= 20 * SESSIONS);
    CHECK_EQ(decode.tokens, prefill.forwards * STEPS);
    CHECK_EQ(sum_of(x.m, MOPED_PHASE_DECODE, "q k v", 0, LAYERS).calls, decode.tokens * LAYERS);
    for (int i = 0; i < SESSIONS; i++)
        moped_session_close(&s[i]);
    moped_model_close(&x.m);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    snprintf(paged, sizeof(paged), "%s/paged.gguf", dir);
    tiny_write_paged(paged);
    RUN(rows_calls_and_costs_are_exact);
    RUN(waiting_and_guessing_have_rows_of_their_own);
    RUN(dense_and_shared_products_are_told_apart);
    RUN(off_there_is_nothing_and_on_changes_nothing);
    RUN(one_session_is_counted_at_a_time);
    RUN(sessions_of_many_threads);
    unlink(paged);
    rmdir(dir);
    return test_done();
}
