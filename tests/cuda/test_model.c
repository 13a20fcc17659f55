/* Whole models on the CUDA device: every family against transformers (tests/golden/tiny), and the tiers: a model whose experts do not all fit VRAM, nor
 * RAM, gives the same bits. */
#include "both.h"
#include "model/session.h"
#include "support/tiny.h"

enum { VRAM = 640 << 20, RAM = 256 << 20 }; /* of the former the driver is believed to take 512 MiB */

typedef struct sink { float *out; int64_t vocab; } sink;

static int take(void *user, int64_t position, const float *logits)
{
    sink *s = user;
    memcpy(s->out + position * s->vocab, logits, (size_t)s->vocab * sizeof(float));
    return 0;
}

/* All logits [n, vocab] under these options; stats (may be NULL): of the slots in VRAM. */
static float *logits_of(const char *path, mp_model_options o, const int32_t *ids, int64_t n, mp_pager_stats *stats)
{
    mp_model *m;
    mp_session *s;
    o.path = path;
    CHECK_OK(mp_model_open(&o, NULL, &m));
    if (!m)
        exit(1);
    float *out = calloc((size_t)(n * m->config.vocab), sizeof *out);
    CHECK_OK(mp_session_open(m, 0, &s));
    CHECK_OK(mp_session_logits(s, ids, n, 0, take, &(sink){ out, m->config.vocab }));
    CHECK(mp_ledger_peak(m->ledger, MP_TIER_VRAM) <= o.vram_bytes && mp_ledger_peak(m->ledger, MP_TIER_VRAM) > 0);
    if (stats)
        mp_pager_get_stats(m->pager, stats);
    mp_session_close(&s);
    mp_model_close(&m);
    return out;
}

TEST(logits_are_those_of_transformers)
{
    static const char *const names[] = { "llama", "llama_tied", "mixtral", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "olmoe" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[TINY_PATH];
        tiny_golden g = tiny_golden_read(names[i]);
        tiny_path(names[i], ".gguf", path);
        float *y = logits_of(path, (mp_model_options){ .ram_bytes = RAM, .vram_bytes = VRAM }, g.ids, g.tok, NULL);
        double w = tiny_distance(y, g.logits, (size_t)g.tok * (size_t)g.vocab);
        if (!(w <= 1e-5))
            printf("  %s: %.3g of the range\n", names[i], w);
        CHECK(w <= 1e-5); /* the bound that the project promises */
        free(y), tiny_golden_free(&g);
    }
}

/* The least that the refusal of a plan names: the remedy must work. flag: "--vram " or "--ram ". */
static uint64_t least_of(const char *path, uint64_t ram, uint64_t vram, const char *flag)
{
    unsigned long long least = 0;
    mp_plan p;
    mp_model *m;
    CHECK_EQ(mp_model_open_dry(&(mp_model_options){ .path = path, .ram_bytes = ram, .vram_bytes = vram, .ctx_tok = 256 }, &p, &m), MP_E_BUDGET);
    mp_model_close(&m);
    const char *give = strstr(mp_err_text(), flag);
    CHECK(give && sscanf(give + strlen(flag), "%lluM", &least) == 1);
    return (uint64_t)least << 20;
}

/* The least budgets that work, so that experts come and go in both tiers. */
TEST(logits_do_not_depend_on_the_tier)
{
    enum { N = 48 };
    int32_t ids[N];
    char path[64] = "/tmp/moped-cuda-XXXXXX";
    mp_pager_stats all, few;
    close(mkstemp(path));
    tiny_write_paged(path);
    for (int i = 0; i < N; i++)
        ids[i] = (i * 37 + i / 5) % 264;
    uint64_t least = least_of(path, RAM, 1, "--vram ");
    float *want = logits_of(path, (mp_model_options){ .ram_bytes = RAM, .vram_bytes = VRAM, .ctx_tok = 256, .batch_tok = 1 }, ids, N, &all);
    uint64_t ram = least_of(path, 1 << 20, VRAM, "--ram "); /* what the emulated GPU has touched counts as the process's */
    mp_model_options o = { .ram_bytes = ram, .vram_bytes = least, .ctx_tok = 256, .batch_tok = 1, .deterministic = true };
    float *got = logits_of(path, o, ids, N, &few);
    CHECK(memcmp(got, want, sizeof(float) * N * 264) == 0);
    CHECK(all.slots == all.pages && few.slots < few.pages && few.evictions > 0);
    free(got);
    o.deterministic = false; /* the processor computes what it is the faster for, and adds in another order */
    o.ram_bytes = least_of(path, 1 << 20, VRAM, "--ram ");
    got = logits_of(path, o, ids, N, &few);
    CHECK(tiny_distance(got, want, (size_t)N * 264) <= 1e-5 && memcmp(got, want, sizeof(float) * N * 264) != 0);
    free(got);
    ram = least_of(path, 1 << 20, VRAM, "--ram ");
    got = logits_of(path, (mp_model_options){ .ram_bytes = ram, .vram_bytes = least, .ctx_tok = 256, .batch_tok = 16 }, ids, N, &few);
    CHECK(tiny_distance(got, want, (size_t)N * 264) <= 1e-5 && few.evictions > 0); /* a batch takes other kernels */
    free(got), free(want);
    unlink(path);
}

TEST(training_says_that_it_is_not_for_the_gpu)
{
    char path[TINY_PATH];
    mp_model *m;
    tiny_path("llama", ".gguf", path);
    CHECK_EQ(mp_model_open(&(mp_model_options){ .path = path, .ram_bytes = RAM, .vram_bytes = VRAM, .train = true }, NULL, &m), MP_E_USAGE);
}

int main(void)
{
    both b;
    if (!both_open(&b))
        return both_skipped();
    both_close(&b);
    RUN(logits_are_those_of_transformers);
    RUN(logits_do_not_depend_on_the_tier);
    RUN(training_says_that_it_is_not_for_the_gpu);
    return test_done();
}
