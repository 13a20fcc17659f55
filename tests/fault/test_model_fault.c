/* A whole run - open, read a prompt, answer, close - when the system fails it: the N-th allocation, mapping, read, for every N. Each time an error with
 * a sentence, or the right answer when the failure did not matter; never a crash, and nothing left behind (ledgers assert it in debug builds, the
 * address sanitizer everywhere). After a failed read the session goes on as if nothing had been. */
#include "fault/wrap.h"
#include "support/tiny.h"
#include "test.h"

enum { PROMPT = 8, ANSWER = 4, READERS = 8 };

static char        dir[] = "/tmp/moped-fault-XXXXXX", paged[64], profiles[64];
static tiny_golden golden; /* its ids are the prompt */

typedef struct subject {
    const char *path;
    bool        least;        /* with the least budget, so that experts come and go */
    const char *profile;      /* read at the start and written at the end; NULL: none */
    int32_t     want[ANSWER]; /* without faults */
} subject;

/* ---- one run ---- */

/* The least is asked for anew each time: under a sanitizer a process that has run often holds more. */
static moped_options options_of(const subject *s)
{
    moped_options o = { .path = s->path, .ram_bytes = TINY_ROOM, .threads = 2, .ctx_tok = 32, .batch_tok = 4, .time_ops = true, .expert_profile = s->profile, .profile_out = s->profile };
    if (s->least)
        o.ram_bytes = tiny_least(s->path, o);
    return o;
}

static moped_status answer(moped_session *session, int32_t out[ANSWER])
{
    moped_sampling greedy = tiny_greedy();
    moped_result r;
    moped_request q = { .tokens = golden.ids, .n_tokens = PROMPT, .max_tokens = ANSWER, .sampling = &greedy, .ignore_eos = true };
    moped_status err = moped_generate(session, &q, &r);
    CHECK(err || r.n_tokens == ANSWER);
    CHECK(!err || (!r.tokens && !r.n_tokens && !r.text));
    if (!err)
        memcpy(out, r.tokens, ANSWER * sizeof(*out));
    return err;
}

/* Everything under the armed fault; then, if a session stands, its answer once more without. *survived: that was possible. */
static moped_status run(const subject *s, const moped_options *o, wrap_kind kind, int32_t out[ANSWER], bool *hit, bool *survived)
{
    moped_model *m;
    moped_session *session = NULL;
    moped_status err = moped_model_open(o, &m);
    CHECK_EQ(err != MOPED_OK, m == NULL);
    if (!err) {
        err = moped_session_open(m, 0, &session);
        CHECK_EQ(err != MOPED_OK, session == NULL);
    }
    if (!err)
        err = answer(session, out);
    *hit = wrap_stop();
    *survived = session != NULL;
    if (session) {
        int32_t again[ANSWER];
        moped_status late = answer(session, again);
        for (int i = 0; i < READERS && late == MOPED_E_FAILED && kind != WRAP_MEMORY; i++)
            late = answer(session, again); /* a read that was under way when the fault ended: each reader may have had one */
        CHECK_EQ(late, MOPED_OK);
        CHECK(!late && !memcmp(again, s->want, sizeof(again)));
    }
    moped_session_close(&session);
    moped_model_close(&m);
    return err;
}

/* Walks N until nothing fails any more: the Nth call, or with for_good all from it on. *failed: runs that gave an error, *survived: those after which
 * the session answered. */
static void walk(const subject *s, wrap_kind kind, bool for_good, int *failed, int *survived)
{
    *failed = *survived = 0;
    for (int n = 1;; n++) {
        int32_t out[ANSWER];
        bool hit, alive;
        moped_options o = options_of(s);
        (for_good ? wrap_fail_from : wrap_fail)(kind, n);
        moped_status err = run(s, &o, kind, out, &hit, &alive);
        CHECK(hit || !err);
        if (err) {
            bool said = err == MOPED_E_FAILED && *moped_error();
            if (!said)
                fprintf(stderr, "kind %d, call %d: %d: \"%s\"\n", (int)kind, n, err, moped_error());
            CHECK(said);
        } else {
            CHECK(!memcmp(out, s->want, sizeof(out)));
        }
        *failed += err != 0;
        *survived += err && alive;
        if (!hit)
            return;
    }
}

static bool prepare(const char *path, bool least, const char *profile, subject *out)
{
    bool hit, alive;
    *out = (subject){ .path = path, .least = least, .profile = profile };
    moped_options o = options_of(out);
    moped_model *m;
    moped_session *s;
    bool ok = !moped_model_open(&o, &m);
    if (ok) {
        const moped_plan_info *p = moped_model_plan(m);
        CHECK_EQ(least, p->expert_slots < p->expert_pages);
        ok = !moped_session_open(m, 0, &s) && !answer(s, out->want);
        moped_session_close(&s);
    }
    moped_model_close(&m);
    int32_t again[ANSWER];
    o = options_of(out);
    ok = ok && !run(out, &o, WRAP_MEMORY, again, &hit, &alive) && alive;
    CHECK(ok);
    return ok;
}

/* ---- the tests, each for a dense model and for one whose experts come and go ---- */

static subject dense, sparse, warm;

typedef struct least { int dense, sparse, survived; } least;

static void check_walk(wrap_kind kind, bool for_good, least at)
{
    int failed, survived;
    walk(&dense, kind, for_good, &failed, &survived);
    printf("        dense: %d runs failed, %d sessions went on\n", failed, survived);
    CHECK(failed >= at.dense);
    walk(&sparse, kind, for_good, &failed, &survived);
    printf("        experts: %d runs failed, %d sessions went on\n", failed, survived);
    CHECK(failed >= at.sparse && survived >= at.survived);
    if (kind != WRAP_MEMORY && kind != WRAP_READ)
        return; /* what a profile adds fails in these two ways */
    walk(&warm, kind, for_good, &failed, &survived);
    printf("        with a profile: %d runs failed, %d sessions went on\n", failed, survived);
    CHECK(failed >= at.sparse && survived >= at.survived / 8); /* a page that could not be warmed is read again when it is needed */
}

TEST(every_allocation_can_fail)
{
    check_walk(WRAP_MEMORY, false, (least){ 60, 60, 3 }); /* sampler, stop strings, text come with the answer */
}

TEST(every_mapping_can_fail)
{
    check_walk(WRAP_MAP, false, (least){ 3, 4, 0 }); /* weights, keys and values, work; experts */
}

/* One read that fails while nobody waits for its page yet is read again when somebody does: how many answers fail is a matter of time. */
TEST(every_read_can_fail)
{
    check_walk(WRAP_READ, false, (least){ 10, 20, 0 });
}

TEST(every_read_can_fail_for_good)
{
    check_walk(WRAP_READ, true, (least){ 10, 20, 8 }); /* most pages come with the answer */
}

/* One end is not believed: what direct reading lacks is read again through the cache. */
TEST(every_read_can_find_the_end)
{
    check_walk(WRAP_END, true, (least){ 10, 20, 8 });
}

TEST(short_reads_are_no_failure)
{
    const subject *all[] = { &dense, &sparse, &warm };
    for (int i = 0; i < 3; i++)
        for (int n = 1; n < 8; n++) {
            int32_t out[ANSWER];
            bool hit, alive;
            moped_options o = options_of(all[i]);
            wrap_fail_from(WRAP_SHORT, n * n);
            CHECK_EQ(run(all[i], &o, WRAP_SHORT, out, &hit, &alive), MOPED_OK);
            CHECK(!memcmp(out, all[i]->want, sizeof(out)));
        }
}

TEST(every_allocation_of_a_plan_can_fail)
{
    const subject *all[] = { &dense, &sparse, &warm };
    for (int i = 0; i < 3; i++)
        for (int n = 1;; n++) {
            moped_plan_info p;
            moped_options o = options_of(all[i]);
            wrap_fail(WRAP_MEMORY, n);
            moped_status err = moped_plan(&o, &p);
            bool hit = wrap_stop();
            CHECK_EQ(hit, err == MOPED_E_FAILED);
            CHECK_EQ(p.fits, !err);
            if (!hit) {
                CHECK_EQ(err, MOPED_OK);
                CHECK(n > 30);
                break;
            }
        }
}

int main(void)
{
    char path[TINY_PATH];
    if (!mkdtemp(dir))
        return 1;
    golden = tiny_golden_read("llama");
    tiny_path("llama", ".gguf", path);
    snprintf(paged, sizeof(paged), "%s/paged.gguf", dir);
    snprintf(profiles, sizeof(profiles), "%s/profiles/", dir);
    tiny_write_paged(paged);
    if (prepare(path, false, NULL, &dense) && prepare(paged, true, NULL, &sparse) && prepare(paged, true, profiles, &warm)) {
        RUN(every_allocation_can_fail);
        RUN(every_mapping_can_fail);
        RUN(every_read_can_fail);
        RUN(every_read_can_fail_for_good);
        RUN(every_read_can_find_the_end);
        RUN(short_reads_are_no_failure);
        RUN(every_allocation_of_a_plan_can_fail);
    }
    tiny_golden_free(&golden);
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", dir);
    CHECK_EQ(system(command), 0);
    return test_done() || test_now.failures != 0;
}
