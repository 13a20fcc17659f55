/* The plan is the loader run dry: what it says is what the ledger counts, owner by owner; budgets are never broken; the least and the largest that it
 * names are true. Over models, budgets, contexts, batches, threads and sessions. */
#include <sys/wait.h>

#include "model/generate.h"
#include "support/tiny.h"
#include "test.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0 /* their own memory is many times the model's */
#endif

static char        dir[] = "/tmp/moped-plan-XXXXXX", paged[64];
static tiny_golden golden;

static const char *const names[] = { "paged", "llama", "llama_tied", "qwen2moe", "olmoe" };
enum { N_NAMES = sizeof(names) / sizeof(names[0]), MIB = 1 << 20 };

static void path_of(const char *name, char out[TINY_PATH])
{
    if (strcmp(name, "paged"))
        tiny_path(name, ".gguf", out);
    else
        snprintf(out, TINY_PATH, "%s", paged);
}

/* ---- the plan against the ledger ---- */

static const mp_model_options shapes[] = {
    { .threads = 1 },
    { .threads = 2, .ctx_tok = 300, .batch_tok = 7 },
    { .threads = 2, .ctx_tok = 512, .batch_tok = 64, .sessions = 3 },
    { .threads = 5, .ctx_tok = 33, .batch_tok = 1, .kv = MP_F16, .kv_given = true },
};
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static int64_t apart(uint64_t a, uint64_t b)
{
    return a > b ? (int64_t)(a - b) : (int64_t)(b - a);
}

/* Opens as many sessions as were planned for and lets each use its whole context. */
static void use_all(mp_model *m)
{
    mp_session *s[8] = { 0 };
    mp_result r;
    for (int i = 0; i < m->opt.sessions; i++) {
        CHECK_OK(mp_session_open(m, 0, &s[i]));
        mp_request q = { .tokens = golden.ids, .n_tokens = 30, .max_tokens = 0, .sampling = MP_SAMPLING_NEUTRAL, .ignore_eos = true };
        CHECK_OK(mp_generate(s[i], &q, &r));
        CHECK_EQ(r.finish, MP_FINISH_CONTEXT);
    }
    for (int i = 0; i < m->opt.sessions; i++)
        mp_session_close(&s[i]);
}

static void check_ledger(const char *what, mp_model *m, const mp_plan *p)
{
    for (int o = 0; o < MP_OWN_COUNT; o++) {
        mp_ledger_line line = mp_ledger_get(m->ledger, MP_TIER_RAM, (mp_owner)o);
        uint64_t plan = p->bytes[MP_TIER_RAM][o];
        uint64_t real = line.used_bytes;
        if (o == MP_OWN_WORK) /* sessions, which are not open yet, are planned for; so is reading, which is over */
            continue;
        if (apart(plan, real) > 0)
            fprintf(stderr, "%s: %s: %llu planned, %llu charged\n", what, mp_owner_name((mp_owner)o), (unsigned long long)plan, (unsigned long long)real);
        CHECK_EQ(real, plan);
    }
}

static void check_shape(const char *name, mp_model_options o, uint64_t extra)
{
    char path[TINY_PATH], what[256];
    mp_plan dry, p;
    mp_model *m;
    path_of(name, path);
    o.path = path;
    o.ram_bytes = MIB;
    CHECK_EQ(mp_model_open_dry(&o, &dry, &m), MP_E_BUDGET);
    mp_model_close(&m);
    CHECK_EQ(mp_model_open_dry(&o, &dry, &m), MP_E_BUDGET); /* by now the process has grown to its size */
    mp_model_close(&m);
    o.ram_bytes = dry.least_ram_bytes + extra;
    snprintf(what, sizeof(what), "%s, %d threads, %lld tokens, batch %d, %d sessions, %llu MiB", name, o.threads, (long long)o.ctx_tok, o.batch_tok,
             o.sessions, (unsigned long long)(o.ram_bytes / MIB));
    CHECK_OK(mp_model_open(&o, &p, &m));
    if (!m)
        return;
    CHECK(p.fits && p.need_bytes <= o.ram_bytes && mp_plan_ram(&p) <= p.need_bytes);
    check_ledger(what, m, &p);
    CHECK(!strcmp(name, "paged") || p.expert_slots == p.expert_pages);
    CHECK(strcmp(name, "paged") || (p.expert_slots < p.expert_pages) == !extra);
    use_all(m);
    /* peaks count from the end of loading; what remains of the plan is what a generation may take beyond this one: text, stop strings, biases */
    uint64_t peak = mp_ledger_peak(m->ledger, MP_TIER_RAM), plan = mp_plan_ram(&p), spare = (uint64_t)m->opt.sessions * (72 << 10);
    if (peak > plan || peak + spare < plan)
        fprintf(stderr, "%s: peak %llu of %llu planned\n", what, (unsigned long long)peak, (unsigned long long)plan);
    CHECK(peak <= plan && peak + spare >= plan);
    CHECK(mp_ledger_limit(m->ledger, MP_TIER_RAM) <= o.ram_bytes);
    mp_model_close(&m);
}

TEST(the_plan_is_what_the_ledger_counts)
{
    for (int i = 0; i < N_NAMES; i++)
        for (int j = 0; j < N_SHAPES; j++) {
            check_shape(names[i], shapes[j], 0);
            check_shape(names[i], shapes[j], 64 * MIB);
        }
}

/* In small steps around the budget that all experts fit: what is planned is never more than the budget less its slack. */
TEST(no_budget_is_planned_beyond)
{
    mp_plan p;
    mp_model *m;
    mp_model_options o = { .path = paged, .ram_bytes = TINY_ROOM, .threads = 1, .ctx_tok = 64 };
    int over = 0, partly = 0;
    CHECK_OK(mp_model_open_dry(&o, &p, &m));
    mp_model_close(&m);
    uint64_t all = mp_plan_with_slack(mp_plan_ram(&p));
    for (uint64_t bytes = all - (600 << 10); bytes < all + (32 << 10); bytes += 1 << 10) {
        o.ram_bytes = bytes;
        REQUIRE(!mp_model_open_dry(&o, &p, &m));
        over += mp_plan_ram(&p) > bytes - mp_plan_slack(bytes);
        partly += p.expert_slots < p.expert_pages;
        mp_model_close(&m);
    }
    CHECK_EQ(over, 0);
    CHECK(partly > 100);
}

/* Planning takes nothing: the dry run of a model for which no machine has the memory. */
TEST(a_plan_may_be_larger_than_the_machine)
{
    char path[TINY_PATH];
    moped_plan_info p;
    path_of("llama", path);
    moped_options o = { .path = path, .ram_bytes = 1ull << 30, .threads = 1, .ctx_tok = 1 << 30, .batch_tok = 16 };
    CHECK_EQ(moped_plan(&o, &p), MOPED_E_BUDGET);
    CHECK(!p.fits && p.least_ram_bytes > 1ull << 36);
    CHECK(strstr(moped_error(), "1073741824 tokens"));
    char want[64];
    snprintf(want, sizeof(want), "(-c %d)", p.largest_ctx);
    CHECK(p.largest_ctx > 0 && strstr(moped_error(), want));
}

/* ---- what the plan names is true ---- */

static moped_status open_close(const moped_options *o)
{
    moped_model *m;
    moped_session *s = NULL;
    moped_status err = moped_model_open(o, &m);
    if (!err)
        err = moped_session_open(m, 0, &s);
    moped_session_close(&s);
    moped_model_close(&m);
    return err;
}

TEST(the_least_budget_is_enough_and_less_is_not)
{
    for (int i = 0; i < N_NAMES; i++) {
        char path[TINY_PATH];
        moped_plan_info p;
        path_of(names[i], path);
        moped_options o = { .path = path, .threads = 2, .sessions = 2 };
        o.ram_bytes = tiny_least(path, o);
        CHECK_EQ(open_close(&o), MOPED_OK);
        o.ram_bytes -= 3 * MIB; /* whole MiB are named, and one more for what differs between processes */
        CHECK_EQ(open_close(&o), MOPED_E_BUDGET);
        CHECK(strstr(moped_error(), "give --ram"));
        CHECK_EQ(moped_plan(&o, &p), MOPED_E_BUDGET);
        CHECK(!p.fits && p.least_ram_bytes > o.ram_bytes && p.budget_bytes == o.ram_bytes);
        CHECK_EQ(p.need_bytes, p.least_ram_bytes);
    }
}

TEST(the_largest_context_is_the_largest)
{
    static const char *const some[] = { "paged", "llama" };
    for (int i = 0; i < 2; i++) {
        char path[TINY_PATH];
        moped_plan_info p;
        path_of(some[i], path);
        moped_options o = { .path = path, .threads = 2, .batch_tok = 32, .ctx_tok = 1 << 22 };
        uint64_t small = tiny_least(path, (moped_options){ .threads = 2, .batch_tok = 32, .ctx_tok = 64 });
        o.ram_bytes = small + 24 * MIB;
        CHECK_EQ(moped_plan(&o, &p), MOPED_E_BUDGET);
        CHECK(p.largest_ctx > 1024 && p.largest_ctx < o.ctx_tok);
        int largest = p.largest_ctx, more = (int)(4 * MIB / (p.model.kv_bytes_per_tok + 16)); /* the margin that the plan keeps, and then some */
        o.ctx_tok = largest;
        CHECK_EQ(open_close(&o), MOPED_OK);
        o.ctx_tok = largest + more;
        moped_status err = open_close(&o);
        if (err != MOPED_E_BUDGET)
            fprintf(stderr, "%s: largest %d, and %d opens\n", some[i], p.largest_ctx, o.ctx_tok);
        CHECK_EQ(err, MOPED_E_BUDGET);
    }
}

/* ---- the budget is the process's ---- */

/* In a process of its own: plan, open with the least and a little, answer, and see what the system counted. 0: all was well. */
static int child(const char *path, uint64_t extra)
{
    moped_options o = { .path = path, .threads = 2 };
    moped_model *m;
    moped_session *s;
    moped_result r;
    moped_memory mem;
    moped_sampling greedy = tiny_greedy();
    moped_request q = { .tokens = golden.ids, .n_tokens = 40, .max_tokens = 100, .sampling = &greedy, .ignore_eos = true };
    o.ram_bytes = tiny_least(path, o) + extra;
    if (moped_model_open(&o, &m) || moped_session_open(m, 0, &s) || moped_generate(s, &q, &r)) {
        printf("        %s: %s\n", path, moped_error());
        return 1;
    }
    moped_model_memory(m, &mem);
    printf("        %s: budget %.1f MiB, planned %.1f, held at most %.1f\n", strrchr(path, '/') + 1, (double)o.ram_bytes / MIB,
           (double)mem.plan_peak_bytes / MIB, (double)mem.peak_bytes / MIB);
    bool within = mem.peak_bytes <= o.ram_bytes && mem.budget_bytes == o.ram_bytes;
    moped_session_close(&s);
    moped_model_close(&m);
    fflush(stdout);
    return within ? 0 : 2;
}

TEST(a_process_stays_within_its_budget)
{
    if (SANITIZED)
        SKIP("a sanitizer's own memory is many times the model's");
    for (int i = 0; i < 2 * N_NAMES; i++) {
        char path[TINY_PATH];
        int status = -1;
        path_of(names[i / 2], path);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            _exit(child(path, i % 2 ? 64 * MIB : 0));
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        CHECK_EQ(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    golden = tiny_golden_read("llama");
    snprintf(paged, sizeof(paged), "%s/paged.gguf", dir);
    tiny_write_paged(paged);
    RUN(a_process_stays_within_its_budget); /* first: children start from a small process */
    RUN(the_plan_is_what_the_ledger_counts);
    RUN(no_budget_is_planned_beyond);
    RUN(a_plan_may_be_larger_than_the_machine);
    RUN(the_least_budget_is_enough_and_less_is_not);
    RUN(the_largest_context_is_the_largest);
    tiny_golden_free(&golden);
    unlink(paged);
    rmdir(dir);
    return test_done();
}
