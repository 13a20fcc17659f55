/* VRAM over RAM over disk, with the CPU device playing a small GPU (support/sim_gpu): whatever lies where, whatever comes late or fails, the logits are those of
 * the model that lies in RAM, to the bit, and no budget is exceeded. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"
#include "moped.h"
#include "support/sim_gpu.h"
#include "support/tiny.h"
#include "test.h"

enum { N = 40, VOCAB = 264, CTX = 256 };
static const uint64_t ROOM = 512u << 20;
static char path[64] = "/tmp/moped-tier-XXXXXX";
static int32_t ids[N];
static float *want; /* [N, VOCAB] of the model in RAM */

static moped_options options(uint64_t ram, uint64_t vram, int batch)
{
    return (moped_options){ .path = path, .ram_bytes = ram, .vram_bytes = vram, .ctx_tok = CTX, .batch_tok = batch, .threads = 2, .kv = MOPED_KV_F32 };
}

/* The least budget of RAM; of VRAM. */
static uint64_t least_ram(uint64_t vram, int batch)
{
    return tiny_least(path, options(0, vram, batch));
}

static uint64_t least_vram_of(moped_options o)
{
    moped_plan_info p;
    o.vram_bytes = 1;
    CHECK_EQ(moped_plan(&o, &p), MOPED_E_BUDGET);
    CHECK(!p.fits && p.least_vram_bytes > 0);
    return p.least_vram_bytes;
}

static uint64_t least_vram(int batch)
{
    return least_vram_of(options(ROOM, 1, batch));
}

static float *logits(moped_model *m)
{
    moped_session *s = NULL;
    float *y = NULL;
    if (moped_session_open(m, 0, &s) == MOPED_OK)
        y = tiny_session_logits(s, VOCAB, ids, N);
    moped_session_close(&s);
    return y;
}

static bool same(float *y)
{
    bool is = y && memcmp(y, want, sizeof(float) * N * VOCAB) == 0;
    free(y);
    return is;
}

static moped_model *opened(moped_options o)
{
    moped_model *m;
    CHECK_OK(moped_model_open(&o, &m));
    if (!m) {
        printf("  %s\n", moped_error());
        exit(1);
    }
    return m;
}

static void check_budgets(moped_model *m, uint64_t vram)
{
    moped_memory mem;
    moped_model_memory(m, &mem);
    CHECK(mem.vram_peak_bytes <= vram && mem.vram_peak_bytes > 0);
    CHECK_EQ(mem.vram_budget_bytes, vram);
    CHECK(mem.vram_peak_bytes <= mem.vram_plan_bytes + mem.vram_plan_bytes / 50);
}

/* One run under these budgets; stats may be NULL. */
static void check_run(moped_options o, moped_expert_stats *stats)
{
    moped_expert_stats s;
    moped_model *m = opened(o);
    bool is = same(logits(m));
    moped_model_experts(m, &s);
    if (!is)
        printf("  vram %llu, ram %llu, batch %d\n", (unsigned long long)o.vram_bytes, (unsigned long long)o.ram_bytes, o.batch_tok);
    CHECK(is);
    check_budgets(m, o.vram_bytes);
    CHECK_EQ(s.slots, moped_model_plan(m)->expert_vram_slots); /* an elastic pager must not hide that the plan was wrong */
    CHECK_EQ(s.tier_bytes[0] + s.tier_bytes[1] + s.tier_bytes[2], 128ull * 48 * 1024);
    moped_expert_layer layers[8];
    uint64_t disk = 0;
    CHECK_EQ(moped_model_expert_layers(m, layers, 8), 8);
    for (int i = 0; i < 8; i++)
        disk += layers[i].disk_bytes;
    moped_expert_stats later; /* guesses are still being read */
    moped_model_experts(m, &later);
    CHECK(disk >= s.disk_bytes && disk <= later.disk_bytes);
    if (stats)
        *stats = s;
    moped_model_close(&m);
}

TEST(results_do_not_depend_on_where_the_bytes_lie)
{
    sim_gpu_set(&(sim_gpu){ 0 });
    for (int batch = 1; batch <= 40; batch += 13) {
        uint64_t few = least_vram(batch);
        for (uint64_t vram = few; vram <= few + (8u << 20); vram += 1600 << 10)
            for (int deterministic = 0; deterministic < 2; deterministic++) {
                moped_options o = options(least_ram(vram, batch), vram, batch);
                o.deterministic = deterministic;
                check_run(o, NULL);
                o.ram_bytes = ROOM;
                check_run(o, NULL);
            }
    }
}

/* From the least number of slots on, one more each time: also where a layer has more experts than there are slots, and those that are not released yet could be
 * in the way of those to come. */
TEST(every_small_number_of_slots_is_enough)
{
    sim_gpu_set(&(sim_gpu){ 0 });
    for (int batch = 1; batch <= 8; batch += 7) {
        uint64_t few = least_vram(batch);
        for (uint64_t vram = few; vram < few + (2u << 20); vram += 64 << 10) {
            moped_options o = options(ROOM, vram, batch);
            o.deterministic = true;
            check_run(o, NULL);
        }
    }
}

/* With a slow link the processor takes what it can; with --deterministic nothing but the link does. */
TEST(the_processor_computes_what_the_link_is_too_slow_for)
{
    moped_expert_stats s;
    uint64_t vram = least_vram(1);
    sim_gpu_set(&(sim_gpu){ .link_bps = 50e6 });
    check_run(options(ROOM, vram, 1), &s);
    CHECK(s.computed > s.misses / 2 && s.computed <= s.misses);
    CHECK(s.upload_bytes < s.misses * 48 * 1024);
    moped_options o = options(ROOM, vram, 1);
    o.deterministic = true;
    check_run(o, &s);
    CHECK_EQ(s.computed, 0);
    CHECK(s.upload_bytes >= s.misses * 48 * 1024);
    sim_gpu_set(&(sim_gpu){ 0 });
    check_run(options(ROOM, least_vram(40), 40), &s); /* a prompt's batch goes up */
    CHECK_EQ(s.computed, 0);
}

/* A batch needs each expert once, however few slots there are. */
TEST(a_batch_uploads_each_expert_once)
{
    moped_expert_stats s;
    sim_gpu_set(&(sim_gpu){ 0 });
    check_run(options(ROOM, least_vram(N), N), &s);
    CHECK_EQ(s.upload_bytes, s.misses * 48 * 1024);
    CHECK(s.misses <= 128);
}

TEST(the_link_reads_locked_memory)
{
    sim_gpu_set(&(sim_gpu){ 0 });
    moped_model *m = opened(options(ROOM, least_vram(1), 1));
    CHECK(sim_gpu_get().locked_bytes >= 128 * 48 * 1024);
    moped_model_close(&m);
    CHECK_EQ(sim_gpu_get().locked_bytes, 0);
    CHECK_EQ(sim_gpu_get().taken_bytes, 0);
}

/* Each upload of a run fails once: one clear sentence, and the session answers as before when the link is back. */
TEST(a_link_that_fails_is_an_ordinary_error)
{
    sim_gpu_set(&(sim_gpu){ 0 });
    uint64_t vram = least_vram(8);
    moped_options o = options(ROOM, vram, 8);
    o.deterministic = true;
    moped_model *m = opened(o);
    int failed = 0;
    for (int at = 1; at < 200; at += 23) {
        sim_gpu_set(&(sim_gpu){ .fail_fill = at });
        moped_session *s;
        CHECK_OK(moped_session_open(m, 0, &s));
        moped_status err = moped_logits(s, ids, N, N - 1, NULL, NULL);
        failed += err != MOPED_OK;
        CHECK(err == MOPED_OK || strstr(moped_error(), "the simulated link failed"));
        moped_session_close(&s);
        sim_gpu_set(&(sim_gpu){ 0 });
        CHECK(same(logits(m)));
    }
    CHECK(failed >= 5);
    moped_model_close(&m);
    sim_gpu_set(&(sim_gpu){ .fail_fill = 1 }); /* while loading */
    CHECK_EQ(moped_model_open(&o, &m), MOPED_E_FAILED);
    sim_gpu_set(&(sim_gpu){ 0 });
    CHECK_EQ(sim_gpu_get().taken_bytes, 0);
}

/* Memory that was there when it was planned is gone when it is taken: fewer slots, then a smaller batch, then a refusal. */
TEST(memory_that_others_took_is_an_ordinary_error)
{
    int opened_with_fewer = 0, refused = 0;
    moped_options o = options(ROOM, 256u << 20, 512);
    o.ctx_tok = 512;
    for (int at = 1; at < 12; at++) {
        moped_model *m;
        sim_gpu_set(&(sim_gpu){ .fail_take = at });
        moped_status err = moped_model_open(&o, &m);
        CHECK(err == MOPED_OK || err == MOPED_E_BUDGET);
        if (err)
            CHECK(strstr(moped_error(), "the simulated GPU has not so much memory left") || strstr(moped_error(), "--vram"));
        refused += err != MOPED_OK;
        if (!err) {
            moped_memory mem;
            moped_model_memory(m, &mem);
            opened_with_fewer += mem.vram_now_bytes < mem.vram_plan_bytes;
            CHECK(same(logits(m)));
        }
        moped_model_close(&m);
        CHECK_EQ(sim_gpu_get().taken_bytes, 0);
    }
    CHECK(opened_with_fewer >= 1 && refused >= 1);
}

/* The card is smaller than the budget: the budget is what it has, the batch shrinks when that is not enough, and in the end it is refused with the number. */
TEST(a_budget_beyond_the_card_is_what_the_card_has)
{
    moped_model *m;
    moped_options o = options(ROOM, 256u << 20, 512);
    o.ctx_tok = 512;
    uint64_t large = least_vram_of(o); /* with the smallest batch that it shrinks to */
    sim_gpu_set(&(sim_gpu){ .room_bytes = large + (64 << 10) });
    CHECK_OK(moped_model_open(&o, &m));
    if (m) {
        CHECK(moped_model_plan(m)->batch_tok < 512 && moped_model_plan(m)->vram_budget_bytes == large + (64 << 10));
        CHECK(sim_gpu_get().peak_bytes <= large + (64 << 10));
        CHECK(same(logits(m)));
    }
    moped_model_close(&m);
    sim_gpu_set(&(sim_gpu){ .room_bytes = 1 << 20 });
    CHECK_EQ(moped_model_open(&o, &m), MOPED_E_BUDGET);
    CHECK(strstr(moped_error(), "--vram") != NULL);
    sim_gpu_set(&(sim_gpu){ .room_bytes = 1 << 30, .context_bytes = 300 << 20 }); /* the driver's own share counts */
    CHECK_EQ(moped_model_open(&o, &m), MOPED_E_BUDGET);
    o.vram_bytes = MOPED_VRAM_AUTO;
    CHECK_OK(moped_model_open(&o, &m));
    CHECK_EQ(moped_model_plan(m)->vram_budget_bytes, (1u << 30) + (300u << 20) - (256u << 20));
    CHECK_EQ(moped_model_plan(m)->bytes[MOPED_TIER_VRAM][MOPED_OWN_OVERHEAD], 300 << 20);
    moped_model_close(&m);
    sim_gpu_set(&(sim_gpu){ 0 });
}

/* A token's way through a model that lies in VRAM: the host waits for the logits and the choices, not in every layer; what was chosen is counted all the same. */
TEST(a_resident_model_needs_no_host_in_its_layers)
{
    moped_expert_stats s;
    moped_session *session;
    sim_gpu_set(&(sim_gpu){ 0 });
    moped_model *m = opened(options(ROOM, 256 << 20, 1));
    CHECK_OK(moped_session_open(m, 0, &session));
    sim_gpu_set(&(sim_gpu){ 0 });
    CHECK_OK(moped_logits(session, ids, N, N, NULL, NULL));
    CHECK_EQ(sim_gpu_get().waits, N * 2); /* ids and weights of all layers */
    moped_model_experts(m, &s);
    CHECK(s.accesses == N * 8 * 2 && s.hits == s.accesses);
    CHECK_EQ(s.tier_bytes[MOPED_TIER_VRAM], 128 * 48 * 1024);
    moped_session_close(&session);
    CHECK(same(logits(m)));
    CHECK_OK(moped_model_resize_vram(m, least_vram(1)));
    CHECK(same(logits(m)));
    moped_model_experts(m, &s);
    uint64_t disk = s.disk_bytes;
    CHECK(s.misses > 0);
    CHECK(same(logits(m)));
    moped_model_experts(m, &s);
    CHECK(s.tier_bytes[MOPED_TIER_VRAM] > 0 && s.tier_bytes[MOPED_TIER_VRAM] < 128 * 48 * 1024 && s.tier_bytes[MOPED_TIER_RAM] > 0);
    CHECK_EQ(s.disk_bytes, disk); /* what VRAM no longer holds has found room in RAM */
    CHECK_OK(moped_model_resize_vram(m, 256 << 20));
    CHECK(same(logits(m)));
    moped_model_close(&m);
}

/* The least RAM that is named is enough beside a VRAM that holds everything, and nothing is made smaller for it. */
TEST(the_least_ram_is_enough_where_vram_holds_everything)
{
    moped_model *m;
    sim_gpu_set(&(sim_gpu){ 0 });
    moped_options o = options(0, 256 << 20, 512);
    o.ctx_tok = 512;
    o.ram_bytes = tiny_least(path, o);
    CHECK(o.ram_bytes > 0);
    CHECK_OK(moped_model_open(&o, &m));
    if (m) {
        CHECK_EQ(moped_model_plan(m)->batch_tok, 512);
        CHECK_EQ(moped_model_plan(m)->expert_vram_slots, 128);
        CHECK(same(logits(m)));
    }
    moped_model_close(&m);
}

TEST(vram_is_resized_while_it_is_used)
{
    sim_gpu_set(&(sim_gpu){ 0 });
    uint64_t few = least_vram(4), seed = 5;
    moped_model *m = opened(options(ROOM, few + (2 << 20), 4));
    CHECK_EQ(moped_model_resize_vram(m, few - 1), MOPED_E_BUDGET);
    for (int i = 0; i < 12; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t vram = few + (seed >> 33) % (10 << 20);
        CHECK_OK(moped_model_resize_vram(m, vram));
        moped_memory mem;
        moped_model_memory(m, &mem);
        CHECK(mem.vram_now_bytes <= vram && mem.vram_budget_bytes == vram);
        CHECK(same(logits(m)));
        moped_model_memory(m, &mem);
        CHECK(mem.vram_now_bytes <= vram && sim_gpu_get().taken_bytes == mem.vram_now_bytes);
    }
    moped_model_close(&m);
    m = opened(options(ROOM, 0, 4));
    CHECK_EQ(moped_model_resize_vram(m, few), MOPED_E_USAGE);
    moped_model_close(&m);
}

/* Every family, dense ones too, with all kinds of budgets and options that have ways of their own. */
TEST(every_family_and_option)
{
    static const char *const names[] = { "llama", "llama_tied", "mixtral", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "olmoe" };
    sim_gpu_set(&(sim_gpu){ 0 });
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char file[TINY_PATH];
        tiny_golden g = tiny_golden_read(names[i]);
        tiny_path(names[i], ".gguf", file);
        for (int batch = 1; batch <= 64; batch *= 4)
            for (int how = 0; how < 3; how++) {
                moped_options o = { .ram_bytes = ROOM, .batch_tok = batch, .no_paging = how == 1, .expert_policy = how == 2 ? "none" : NULL };
                float *a = tiny_logits(file, o, g.ids, (size_t)g.tok);
                o.vram_bytes = 64 << 20;
                float *y = tiny_logits(file, o, g.ids, (size_t)g.tok);
                CHECK(a && y && memcmp(a, y, sizeof(float) * (size_t)(g.tok * g.vocab)) == 0);
                free(a), free(y);
            }
        tiny_golden_free(&g);
    }
}

typedef struct talker {
    moped_model *m;
    bool         ok;
} talker;

static void *talk(void *arg)
{
    talker *t = arg;
    t->ok = true;
    for (int i = 0; i < 6; i++)
        t->ok &= same(logits(t->m));
    return NULL;
}

TEST(sessions_go_on_while_both_budgets_change)
{
    sim_gpu_set(&(sim_gpu){ 0 });
    uint64_t seed = 11, vram = least_vram(8), ram = least_ram(vram, 8) + (8 << 20);
    moped_options o = options(ROOM, vram + (8 << 20), 8);
    o.sessions = 3;
    moped_plan_info p;
    CHECK_OK(moped_plan(&o, &p));
    vram = p.least_vram_bytes;
    ram = p.least_ram_bytes > ram ? p.least_ram_bytes : ram;
    moped_model *m = opened(o);
    talker talkers[2] = { { m, false }, { m, false } };
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, talk, &talkers[i]);
    for (int i = 0; i < 20; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        CHECK_OK(moped_model_resize_vram(m, vram + (seed >> 33) % (10 << 20)));
        CHECK_OK(moped_model_resize(m, i % 2 ? ROOM : ram + (4 << 20)));
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        CHECK(talkers[i].ok);
    }
    moped_model_close(&m);
}

int main(void)
{
    close(mkstemp(path));
    tiny_write_paged(path);
    for (int i = 0; i < N; i++)
        ids[i] = (i * 37 + i / 5) % VOCAB;
    want = tiny_logits(path, options(ROOM, 0, 7), ids, N);
    RUN(results_do_not_depend_on_where_the_bytes_lie);
    RUN(every_small_number_of_slots_is_enough);
    RUN(the_processor_computes_what_the_link_is_too_slow_for);
    RUN(a_batch_uploads_each_expert_once);
    RUN(the_link_reads_locked_memory);
    RUN(a_link_that_fails_is_an_ordinary_error);
    RUN(memory_that_others_took_is_an_ordinary_error);
    RUN(a_budget_beyond_the_card_is_what_the_card_has);
    RUN(a_resident_model_needs_no_host_in_its_layers);
    RUN(the_least_ram_is_enough_where_vram_holds_everything);
    RUN(every_family_and_option);
    RUN(sessions_go_on_while_both_budgets_change);
    RUN(vram_is_resized_while_it_is_used);
    free(want);
    unlink(path);
    return test_done();
}
