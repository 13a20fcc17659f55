/* Every family against transformers: tests/golden/tiny (README.md there). Also what must not change a single bit of the logits: budget, threads, batch,
 * neighbours in the batch. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/session.h"
#include "test.h"

static const char *const names[] = { "llama", "llama_tied", "mixtral", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "olmoe" };
enum { N_NAMES = sizeof(names) / sizeof(names[0]) };

typedef struct golden {
    int32_t  tok, vocab;
    int32_t *ids;
    float   *logits;
} golden;

static void path_of(const char *name, const char *suffix, char out[512])
{
    snprintf(out, 512, "%s/tests/golden/tiny/%s%s", MOPED_SOURCE_DIR, name, suffix);
}

static golden read_golden(const char *name)
{
    char path[512];
    golden g = { 0 };
    path_of(name, ".bin", path);
    FILE *f = fopen(path, "rb");
    bool ok = f && fread(&g.tok, 4, 1, f) == 1 && fread(&g.vocab, 4, 1, f) == 1;
    g.ids = malloc((size_t)g.tok * 4);
    g.logits = malloc((size_t)g.tok * (size_t)g.vocab * 4);
    ok = ok && fread(g.ids, 4, (size_t)g.tok, f) == (size_t)g.tok && fread(g.logits, 4, (size_t)(g.tok * g.vocab), f) == (size_t)(g.tok * g.vocab);
    CHECK(ok);
    if (f)
        fclose(f);
    return g;
}

static void free_golden(golden *g)
{
    free(g->ids);
    free(g->logits);
}

static mp_model *load(const char *name, mp_model_options o)
{
    char path[512];
    mp_model *m;
    path_of(name, ".gguf", path);
    o.path = path;
    if (!o.ram_bytes)
        o.ram_bytes = 256u << 20;
    mp_err err = mp_model_open(&o, NULL, &m);
    if (err)
        fprintf(stderr, "%s: %s\n", name, mp_err_text());
    CHECK_EQ(err, MP_OK);
    return m;
}

typedef struct sink { float *out; int vocab; } sink;

static int take(void *user, int64_t position, const float *logits)
{
    sink *s = user;
    memcpy(s->out + position * s->vocab, logits, (size_t)s->vocab * sizeof(float));
    return 0;
}

/* All logits [tok, vocab] of ids under these options. */
static float *logits_of(const char *name, mp_model_options o, const golden *g)
{
    mp_model *m = load(name, o);
    mp_session *s;
    float *out = calloc((size_t)g->tok * (size_t)g->vocab, sizeof(float));
    if (!m)
        return out;
    CHECK_EQ(m->config.vocab, g->vocab);
    CHECK_EQ(mp_session_open(m, 0, &s), MP_OK);
    CHECK_EQ(mp_session_logits(s, g->ids, g->tok, 0, take, &(sink){ out, g->vocab }), MP_OK);
    mp_session_close(&s);
    mp_model_close(&m);
    return out;
}

static double worst(const float *a, const float *b, int64_t n)
{
    double most = 0, lo = INFINITY, hi = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        most = d > most || isnan(d) ? d : most;
        lo = b[i] < lo ? b[i] : lo;
        hi = b[i] > hi ? b[i] : hi;
    }
    return most / (hi - lo);
}

TEST(logits_are_those_of_transformers)
{
    for (int i = 0; i < N_NAMES; i++) {
        golden g = read_golden(names[i]);
        const mp_kern *k;
        for (int j = 0; (k = mp_kern_at(j)) != NULL; j++) {
            float *y = logits_of(names[i], (mp_model_options){ .isa = k->name }, &g);
            double w = worst(y, g.logits, (int64_t)g.tok * g.vocab);
            if (!(w <= 1e-5))
                fprintf(stderr, "%s on %s: %.3g of the range\n", names[i], k->name, w);
            CHECK(w <= 1e-5); /* the bound that the project promises */
            free(y);
        }
        free_golden(&g);
    }
}

static void check_same(const char *name, const golden *g, const float *want, mp_model_options o, const char *what)
{
    float *y = logits_of(name, o, g);
    bool same = !memcmp(y, want, (size_t)g->tok * (size_t)g->vocab * sizeof(float));
    if (!same)
        fprintf(stderr, "%s: logits change with %s\n", name, what);
    CHECK(same);
    free(y);
}

TEST(logits_do_not_depend_on_where_bytes_lay)
{
    for (int i = 0; i < N_NAMES; i++) {
        golden g = read_golden(names[i]);
        float *want = logits_of(names[i], (mp_model_options){ .threads = 1 }, &g);
        mp_plan p;
        mp_model *m;
        char path[512];
        path_of(names[i], ".gguf", path);
        CHECK_EQ(mp_model_open_dry(&(mp_model_options){ .path = path, .threads = 2, .ram_bytes = 1u << 20 }, &p, &m), MP_E_BUDGET);
        mp_model_close(&m);
        p.least_ram_bytes += TEST_SLACK_BYTES;
        check_same(names[i], &g, want, (mp_model_options){ .threads = 2 }, "the number of threads");
        check_same(names[i], &g, want, (mp_model_options){ .threads = 2, .ram_bytes = p.least_ram_bytes }, "the least budget");
        check_same(names[i], &g, want, (mp_model_options){ .threads = 1, .batch_tok = 1 }, "batches of 1");
        check_same(names[i], &g, want, (mp_model_options){ .threads = 2, .batch_tok = 7, .ram_bytes = p.least_ram_bytes }, "batches of 7");
        free(want);
        free_golden(&g);
    }
}

/* Two conversations in one batch: the second's tokens must not change the first's logits. */
static void beside(const char *name)
{
    golden g = read_golden(name);
    float *alone = logits_of(name, (mp_model_options){ 0 }, &g);
    mp_model *m = load(name, (mp_model_options){ .sessions = 2 });
    mp_kv *kv[2];
    int32_t ids[64], pos[64];
    mp_segment seg[2];
    for (int s = 0; s < 2; s++) {
        CHECK_EQ(mp_kv_open(m->kv_pool, 64, &kv[s]), MP_OK);
        CHECK_EQ(mp_kv_reserve(kv[s], 32), MP_OK);
        seg[s] = mp_segment_of(kv[s], s * 32, 32);
        for (int i = 0; i < 32; i++) {
            ids[s * 32 + i] = g.ids[s ? g.tok - 1 - i : i];
            pos[s * 32 + i] = i;
        }
    }
    mp_forward fw;
    mp_tensor y;
    CHECK_EQ(mp_forward_begin(m, &(mp_batch){ .ids = ids, .pos = pos, .seg = seg, .n_tok = 64, .n_seg = 2 }, NULL, &fw), MP_OK);
    for (int row = 0; row < 32; row += 8) {
        CHECK_EQ(mp_forward_logits(m, &fw, row, 8, &y), MP_OK);
        CHECK(!memcmp(y.data, alone + (int64_t)row * g.vocab, 8 * (size_t)g.vocab * sizeof(float)));
    }
    mp_forward_end(m, &fw);
    mp_kv_close(&kv[0]);
    mp_kv_close(&kv[1]);
    mp_model_close(&m);
    free(alone);
    free_golden(&g);
}

TEST(neighbours_in_a_batch_change_nothing)
{
    beside("llama");
    beside("qwen3moe");
}

int main(void)
{
    RUN(logits_are_those_of_transformers);
    RUN(logits_do_not_depend_on_where_bytes_lay);
    RUN(neighbours_in_a_batch_change_nothing);
    return test_done();
}
