/* Eight sessions on one pager, each in a thread of its own, while the budget changes and hints fly: each says what it says alone. For ThreadSanitizer too. */
#include <pthread.h>

#include "base/err.h"
#include "support/tiny.h"
#include "test.h"

static char dir[] = "/tmp/moped-concurrent-XXXXXX", paged[64];
enum { VOCAB = 264, PROMPT = 16, ANSWER = 10, SESSIONS = 8, ROUNDS = 3, RESIZES = 2000 };

typedef struct talk {
    moped_model   *model;
    moped_session *session;
    pthread_t      thread;
    int32_t        ids[PROMPT], alone[ANSWER];
    int            same;
} talk;

static talk talks[SESSIONS];
static uint64_t least;
static atomic_bool done;

static moped_status answer(talk *t, int32_t out[ANSWER])
{
    moped_sampling greedy = tiny_greedy();
    moped_request q = { .tokens = t->ids, .n_tokens = PROMPT, .max_tokens = ANSWER, .sampling = &greedy, .ignore_eos = true };
    moped_result r;
    moped_session_truncate(t->session, 0);
    moped_status err = moped_generate(t->session, &q, &r);
    if (!err)
        memcpy(out, r.tokens, ANSWER * sizeof(*out));
    return err;
}

static void *talk_on(void *arg)
{
    talk *t = arg;
    for (int i = 0; i < ROUNDS; i++) {
        int32_t got[ANSWER] = { 0 };
        CHECK_OK(answer(t, got));
        t->same += !memcmp(got, t->alone, sizeof(got));
    }
    return NULL;
}

static void *squeeze_on(void *arg)
{
    uint64_t state = 5;
    while (!done) {
        moped_expert_stats s;
        moped_expert_layer layer[8];
        state = state * 6364136223846793005u + 1442695040888963407u;
        CHECK_OK(moped_model_resize(arg, least + (state >> 33) % (6u << 20)));
        moped_model_experts(arg, &s); /* counters are read from anywhere */
        CHECK_EQ(moped_model_expert_layers(arg, layer, 8), 8);
        CHECK_EQ(s.accesses, s.hits + s.misses);
    }
    return NULL;
}

static void run_all(const char *io, const char *policy)
{
    moped_options o = { .path = paged, .ram_bytes = least + (6u << 20), .ctx_tok = PROMPT + ANSWER + 2, .batch_tok = 6, .sessions = SESSIONS, .io = io };
    moped_model *model;
    pthread_t squeezer;
    o.expert_policy = policy;
    o.prefetch = MOPED_PREFETCH_ON;
    if (moped_model_open(&o, &model)) {
        printf("note: %s, %s: %s\n", io, policy, moped_error());
        CHECK(io && strstr(io, "uring"));
        return;
    }
    for (int i = 0; i < SESSIONS; i++) {
        talks[i].model = model;
        talks[i].same = 0;
        for (int k = 0; k < PROMPT; k++)
            talks[i].ids[k] = (k * 31 + i * 17 + 3) % VOCAB;
        CHECK_OK(moped_session_open(model, 0, &talks[i].session));
        CHECK_OK(answer(&talks[i], talks[i].alone));
    }
    done = false;
    REQUIRE(!pthread_create(&squeezer, NULL, squeeze_on, model));
    for (int i = 0; i < SESSIONS; i++)
        REQUIRE(!pthread_create(&talks[i].thread, NULL, talk_on, &talks[i]));
    for (int i = 0; i < SESSIONS; i++) {
        pthread_join(talks[i].thread, NULL);
        CHECK_EQ(talks[i].same, ROUNDS);
        moped_session_close(&talks[i].session);
    }
    done = true;
    pthread_join(squeezer, NULL);
    moped_model_close(&model);
}

TEST(eight_sessions_say_what_they_say_alone)
{
    run_all("pread:4", NULL);
    run_all("io_uring:4", "lru");
}

/* Budgets that change from two threads at once, one up while the other goes down. Each call is done whole: a growing one finds its limit as it set it, and in the
 * end there are as many slots as the last budget gives. */
typedef struct resizer {
    moped_model *model;
    pthread_t    thread;
    int          phase;
} resizer;

static uint64_t budget_at(int i)
{
    return least + (i % 2 ? 6u << 20 : 1u << 20);
}

static void *resize_on(void *arg)
{
    const resizer *r = arg;
    for (int i = 0; i < RESIZES; i++) {
        moped_memory m;
        CHECK_OK(moped_model_resize(r->model, budget_at(i + r->phase)));
        moped_model_memory(r->model, &m);
        CHECK(m.budget_bytes == budget_at(0) || m.budget_bytes == budget_at(1));
    }
    return NULL;
}

TEST(two_resizes_at_once)
{
    moped_options o = { .path = paged, .ram_bytes = least + (6u << 20), .ctx_tok = PROMPT + ANSWER + 2, .batch_tok = 6, .sessions = SESSIONS };
    moped_model *model;
    moped_memory m;
    moped_expert_stats s;
    uint32_t slots[2];
    REQUIRE(!moped_model_open(&o, &model));
    for (int i = 0; i < 2; i++) {
        CHECK_OK(moped_model_resize(model, budget_at(i)));
        moped_model_experts(model, &s);
        slots[i] = s.slots;
    }
    CHECK(slots[0] < slots[1]);
    resizer r[2] = { { .model = model, .phase = 0 }, { .model = model, .phase = 1 } };
    for (int i = 0; i < 2; i++)
        REQUIRE(!pthread_create(&r[i].thread, NULL, resize_on, &r[i]));
    for (int i = 0; i < 2; i++)
        pthread_join(r[i].thread, NULL);
    moped_model_memory(model, &m);
    moped_model_experts(model, &s);
    CHECK_EQ(s.slots, slots[m.budget_bytes == budget_at(1)]);
    moped_model_close(&model);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    snprintf(paged, sizeof(paged), "%s/paged.gguf", dir);
    tiny_write_paged(paged);
    least = tiny_least(paged, (moped_options){ .ctx_tok = PROMPT + ANSWER + 2, .batch_tok = 6, .sessions = SESSIONS });
    RUN(eight_sessions_say_what_they_say_alone);
    RUN(two_resizes_at_once);
    unlink(paged);
    rmdir(dir);
    return test_done();
}
