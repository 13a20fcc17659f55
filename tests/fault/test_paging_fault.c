/* A session whose experts come from a disk that fails, stops short, is interrupted or hangs: a request ends with a sentence or goes through, the session
 * stays usable, and what comes out is what comes out without faults, bit for bit. By every way of reading; what a ring cannot read is read by pread, so
 * that the same faults reach it when its file goes away underneath. */
#include "fault/wrap.h"
#include "model/session.h"
#include "support/tiny.h"
#include "test.h"

static char dir[] = "/tmp/moped-paging-fault-XXXXXX", paged[64];
enum { VOCAB = 264, PROMPT = 20, ANSWER = 12, MOST = 4000 };

static int32_t ids[PROMPT], want[ANSWER];
static uint64_t least;

typedef struct chat {
    moped_model   *model;
    moped_session *session;
} chat;

static bool chat_open(chat *c, const char *path, const char *io, moped_prefetch prefetch)
{
    moped_options o = { .path = path, .ram_bytes = least, .ctx_tok = PROMPT + ANSWER + 4, .batch_tok = 8, .io = io, .prefetch = prefetch };
    *c = (chat){ 0 };
    bool good = !moped_model_open(&o, &c->model) && !moped_session_open(c->model, 0, &c->session);
    if (!good)
        printf("note: %s: %s\n", io, moped_error());
    return good;
}

static void chat_close(chat *c)
{
    moped_session_close(&c->session);
    moped_model_close(&c->model);
}

/* Does it answer as it did? Errors: the request's. */
static moped_status ask(chat *c, bool keep)
{
    moped_sampling greedy = tiny_greedy();
    moped_result r;
    moped_request q = { .tokens = ids, .n_tokens = PROMPT, .max_tokens = ANSWER, .sampling = &greedy, .ignore_eos = true };
    moped_session_truncate(c->session, 0);
    moped_status err = moped_generate(c->session, &q, &r);
    if (err)
        return err;
    CHECK_EQ(r.n_tokens, ANSWER);
    if (keep)
        memcpy(want, r.tokens, sizeof(want));
    CHECK(!memcmp(want, r.tokens, sizeof(want)));
    return MOPED_OK;
}

static void check_counters(const chat *c)
{
    moped_expert_stats s;
    moped_model_experts(c->model, &s);
    CHECK_EQ(s.accesses, s.hits + s.misses);
    CHECK(s.resident <= s.slots);
}

/* A read that failed before the faults ended may be told to who asks for its page a moment later: until none is on its way. */
static void settle(const chat *c)
{
    moped_expert_stats s;
    do {
        usleep(1000);
        moped_model_experts(c->model, &s);
    } while (s.reads_in_flight);
}

/* The nth read of a request fails, for every n that there is (in steps that grow). */
static void walk(const char *io, moped_prefetch prefetch, wrap_kind kind, bool may_fail)
{
    chat c;
    int errors = 0, n = 1;
    REQUIRE(chat_open(&c, paged, io, prefetch));
    for (bool hit = true; hit && n < MOST; n += 1 + n / 6) {
        wrap_fail(kind, n);
        moped_status err = ask(&c, false);
        hit = wrap_stop();
        settle(&c);
        CHECK(!err || (may_fail && hit && err == MOPED_E_FAILED && moped_error()[0]));
        errors += err != MOPED_OK;
        CHECK_OK(ask(&c, false));
    }
    CHECK(n > 2 && n < MOST);
    CHECK(may_fail || !errors); /* one read that fails is no error when nobody waits for it yet, as on a slow processor: it is tried again */
    check_counters(&c);
    chat_close(&c);
}

static const char *const ways[] = { "pread:3", "buffered:2" };

TEST(reads_that_fail)
{
    for (int i = 0; i < 2; i++)
        for (moped_prefetch p = MOPED_PREFETCH_OFF; p <= MOPED_PREFETCH_ON; p++)
            walk(ways[i], p, WRAP_READ, true);
}

TEST(reads_that_stop_short_or_are_interrupted)
{
    for (int i = 0; i < 2; i++) {
        walk(ways[i], MOPED_PREFETCH_ON, WRAP_SHORT, false);
        walk(ways[i], MOPED_PREFETCH_ON, WRAP_INTR, false);
    }
}

TEST(a_disk_that_is_gone_and_comes_back)
{
    chat c;
    REQUIRE(chat_open(&c, paged, "pread:4", MOPED_PREFETCH_ON));
    for (int round = 0; round < 3; round++) {
        wrap_fail_from(round == 1 ? WRAP_END : WRAP_READ, 1 + round * 40);
        CHECK_EQ(ask(&c, false), MOPED_E_FAILED);
        CHECK(wrap_stop());
        settle(&c);
        CHECK_OK(ask(&c, false));
    }
    check_counters(&c);
    chat_close(&c);
}

/* Five seconds without an answer from the disk: the request waits, and is right. */
TEST(a_read_that_hangs)
{
    chat c;
    REQUIRE(chat_open(&c, paged, "pread:4", MOPED_PREFETCH_ON));
    wrap_fail(WRAP_HANG, 9);
    CHECK_OK(ask(&c, false));
    CHECK(wrap_stop());
    chat_close(&c);
}

/* Growing that gets no memory half way: the old budget holds, also for what is asked next. */
TEST(a_larger_budget_that_cannot_be_had)
{
    static const wrap_kind kinds[] = { WRAP_MAP, WRAP_MEMORY };
    for (int k = 0; k < 2; k++) {
        chat c;
        moped_expert_stats before, after;
        bool hit = true;
        int failed = 0;
        REQUIRE(chat_open(&c, paged, NULL, MOPED_PREFETCH_OFF));
        moped_model_experts(c.model, &before);
        for (int n = 1; hit && n < MOST; n++) {
            wrap_fail(kinds[k], n);
            moped_status err = moped_model_resize(c.model, least + (64u << 20));
            hit = wrap_stop();
            CHECK_EQ(err != MOPED_OK, hit);
            moped_model_experts(c.model, &after);
            failed += err != MOPED_OK;
            CHECK(err ? after.slots <= before.slots : after.slots == after.pages);
            CHECK(!err || moped_error()[0]);
            CHECK_OK(ask(&c, false));
        }
        CHECK(failed > 1);
        check_counters(&c);
        chat_close(&c);
    }
}

static bool copy_file(const char *from, const char *to)
{
    char command[256];
    snprintf(command, sizeof(command), "cp %s %s", from, to);
    return system(command) == 0;
}

/* The file is cut while it is open: requests that need what is gone fail; when it is whole again they go on. Replaced by another of the same name, the one
 * that was opened is still read. */
static void cut_and_replace(const char *io)
{
    char copy[96];
    chat c;
    snprintf(copy, sizeof(copy), "%s/copy.gguf", dir);
    REQUIRE(copy_file(paged, copy));
    if (!chat_open(&c, copy, io, MOPED_PREFETCH_OFF))
        return; /* no io_uring here, as was said */
    CHECK_OK(ask(&c, false));
    REQUIRE(truncate(copy, 100000) == 0);
    CHECK_EQ(ask(&c, false), MOPED_E_FAILED);
    CHECK(strstr(moped_error(), "cut short") != NULL);
    REQUIRE(copy_file(paged, copy)); /* the same file, whole again */
    CHECK_OK(ask(&c, false));
    REQUIRE(unlink(copy) == 0);
    REQUIRE(copy_file("/etc/passwd", copy));
    CHECK_OK(ask(&c, false));
    check_counters(&c);
    chat_close(&c);
    unlink(copy);
}

TEST(a_file_that_is_cut_or_replaced_while_open)
{
    cut_and_replace("pread:4");
    cut_and_replace("io_uring:4");
    cut_and_replace("buffered:1");
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    snprintf(paged, sizeof(paged), "%s/paged.gguf", dir);
    tiny_write_paged(paged);
    for (int i = 0; i < PROMPT; i++)
        ids[i] = (i * 53 + 7) % VOCAB;
    least = tiny_least(paged, (moped_options){ .ctx_tok = PROMPT + ANSWER + 4, .batch_tok = 8 });
    chat c;
    if (!least || !chat_open(&c, paged, NULL, MOPED_PREFETCH_OFF) || ask(&c, true))
        return 1;
    chat_close(&c);
    RUN(reads_that_fail);
    RUN(reads_that_stop_short_or_are_interrupted);
    RUN(a_disk_that_is_gone_and_comes_back);
    RUN(a_read_that_hangs);
    RUN(a_larger_budget_that_cannot_be_had);
    RUN(a_file_that_is_cut_or_replaced_while_open);
    unlink(paged);
    rmdir(dir);
    return test_done();
}
