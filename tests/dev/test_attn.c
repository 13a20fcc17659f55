/* KV_WRITE and ATTN on the CPU device: right (against double), and the same bits however a token comes: alone or in company, prompt cut or whole,
 * any number of threads, any instruction set, cache or the batch's own keys and values. Scratch is what was asked for, and not more. */
#include <math.h>

#include "dev/dev.h"
#include "mem/kv.h"
#include "test.h"

enum { LONGEST = 1100 }; /* three spans of 512, the last one begun */

typedef struct shape {
    int      heads, kv_heads, dim, window;
    int64_t  tok;
    mp_dtype type;
    float    times; /* of q: with 15, scores lie up to 200 apart, so that exp of a wrong difference overflows. 0: 1 */
} shape;

static const shape shapes[] = {
    { 8, 1, 128, 0, LONGEST, MP_F16, 0 }, { 2, 2, 64, 0, 1060, MP_F16, 0 }, { 3, 1, 80, 700, 1050, MP_F16, 0 }, { 4, 2, 40, 100, 600, MP_F32, 0 },
    { 7, 1, 33, 0, 600, MP_F32, 0 },      { 2, 1, 16, 1, 300, MP_F16, 0 },  { 80, 1, 8, 513, 540, MP_F16, 0 },  { 16, 4, 64, 0, 270, MP_F32, 0 },
    { 3, 1, 64, 0, 600, MP_F16, 15 },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

typedef struct world { /* one sequence: its q, k, v, and what the double reference says of some tokens */
    shape      s;
    mp_ledger *ledger;
    float     *q, *k, *v, *want; /* want: what one whole pass on one thread gave */
    int64_t    q_row, k_row;     /* floats of a token */
} world;

static float next_float(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (float)(int32_t)(*state >> 32) * 0x1p-31f;
}

static float *random_floats(int64_t n, uint64_t seed, float range)
{
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = next_float(&seed) * range;
    return x;
}

static void tile_of(const void *kv, int layer, int64_t pos, mp_kv_tile *out)
{
    mp_kv_tile_at(kv, layer, pos, out);
}

/* ---- running ---- */

typedef struct runner {
    mp_pool *pool;
    mp_dev  *dev;
} runner;

static runner runner_open(world *w, int threads, const char *kern)
{
    runner r = { 0 };
    CHECK_EQ(mp_pool_open(w->ledger, threads, &r.pool), MP_OK);
    CHECK_EQ(mp_dev_cpu_open(w->ledger, r.pool, mp_kern_get(kern), &r.dev), MP_OK);
    return r;
}

static void runner_close(runner *r)
{
    mp_dev_close(&r->dev);
    mp_pool_close(&r->pool);
}

enum { MARK = 64 };

/* Runs the op with scratch of the size that the device names, dirty, marked at its end. */
static void run_op(runner *r, mp_op *op)
{
    size_t bytes = mp_dev_scratch(r->dev, op), whole = (bytes + MARK + 63) / 64 * 64;
    unsigned char *p = aligned_alloc(64, whole);
    memset(p, 0xff, whole); /* NaN, should anyone take it for numbers */
    op->scratch = p;
    CHECK_EQ(mp_dev_run(r->dev, op), MP_OK);
    for (size_t i = bytes; i < bytes + MARK; i++)
        CHECK(p[i] == 0xff);
    free(p);
}

/* Tokens of a batch, from token `first` of the sequence on, in segments that lie behind each other; writes the caches first. */
static void run_batch(const world *w, runner *r, const mp_segment *seg, int n_seg, const int64_t *first, float *out)
{
    int64_t n = seg[n_seg - 1].row + seg[n_seg - 1].n;
    float *q = malloc((size_t)(n * w->q_row) * 4), *k = malloc((size_t)(n * w->k_row) * 4), *v = malloc((size_t)(n * w->k_row) * 4);
    for (int i = 0; i < n_seg; i++) {
        memcpy(q + seg[i].row * w->q_row, w->q + first[i] * w->q_row, (size_t)(seg[i].n * w->q_row) * 4);
        memcpy(k + seg[i].row * w->k_row, w->k + first[i] * w->k_row, (size_t)(seg[i].n * w->k_row) * 4);
        memcpy(v + seg[i].row * w->k_row, w->v + first[i] * w->k_row, (size_t)(seg[i].n * w->k_row) * 4);
    }
    mp_op op = { .kind = MP_OP_ATTN, .n_out = 1 };
    op.u.attn.seg = seg, op.u.attn.n_seg = n_seg, op.u.attn.layer = 1, op.u.attn.window = w->s.window, op.u.attn.scale = 0.3f;
    op.in[0] = mp_tensor_3d(q, MP_F32, n, w->s.heads, w->s.dim);
    op.in[1] = mp_tensor_3d(k, MP_F32, n, w->s.kv_heads, w->s.dim);
    op.in[2] = mp_tensor_3d(v, MP_F32, n, w->s.kv_heads, w->s.dim);
    op.out[0] = mp_tensor_2d(out, MP_F32, n, w->q_row);
    if (seg[0].tile) {
        mp_op write = { .kind = MP_OP_KV_WRITE, .in = { op.in[1], op.in[2] }, .u = op.u };
        CHECK_EQ(mp_dev_run(r->dev, &write), MP_OK);
    }
    memset(out, 0xff, (size_t)(n * w->q_row) * 4);
    run_op(r, &op);
    free(q), free(k), free(v);
}

typedef struct cache {
    mp_kv_pool *pool;
    mp_kv      *kv;
} cache;

static cache cache_open(const world *w)
{
    cache c = { 0 };
    mp_kv_config config = { .layers = 2, .heads = w->s.kv_heads, .k_dim = w->s.dim, .v_dim = w->s.dim, .dtype = w->s.type, .blocks = mp_kv_blocks_for(LONGEST) };
    CHECK_EQ(mp_kv_pool_open(w->ledger, &config, &c.pool), MP_OK);
    CHECK_EQ(mp_kv_open(c.pool, LONGEST, &c.kv), MP_OK);
    CHECK_EQ(mp_kv_reserve(c.kv, w->s.tok), MP_OK);
    return c;
}

static void cache_close(cache *c)
{
    mp_kv_close(&c->kv);
    mp_kv_pool_close(&c->pool);
}

static mp_segment segment(const world *w, const cache *c, int64_t row, int64_t n, int64_t pos)
{
    return (mp_segment){ .row = (int32_t)row, .n = (int32_t)n, .pos = pos, .kv = c ? c->kv : NULL, .dtype = w->s.type, .tile = c ? tile_of : NULL };
}

/* The whole sequence in pieces of `cut` tokens; 0: at once, own: without a cache. */
static void run_all(world *w, runner *r, int64_t cut, bool own, float *out)
{
    cache c = cache_open(w);
    for (int64_t at = 0; at < w->s.tok; at += cut ? cut : w->s.tok) {
        int64_t left = w->s.tok - at;
        mp_segment seg = segment(w, own ? NULL : &c, 0, cut && cut < left ? cut : left, at);
        run_batch(w, r, &seg, 1, &at, out + at * w->q_row);
    }
    cache_close(&c);
}

static world world_open(int i)
{
    world w = { .s = shapes[i] };
    CHECK_EQ(mp_ledger_open(false, &w.ledger), MP_OK);
    w.q_row = w.s.heads * w.s.dim, w.k_row = w.s.kv_heads * w.s.dim;
    w.q = random_floats(w.s.tok * w.q_row, 1, w.s.times > 0 ? 2.0f * w.s.times : 2.0f);
    w.k = random_floats(w.s.tok * w.k_row, 2, 2.0f);
    w.v = random_floats(w.s.tok * w.k_row, 3, 2.0f);
    w.want = malloc((size_t)(w.s.tok * w.q_row) * 4);
    runner r = runner_open(&w, 1, NULL);
    run_all(&w, &r, 0, false, w.want);
    runner_close(&r);
    return w;
}

static void world_close(world *w)
{
    free(w->q), free(w->k), free(w->v), free(w->want);
    CHECK_EQ(mp_ledger_used(w->ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&w->ledger);
}

static void expect_same(const world *w, const float *got, int64_t tok, int64_t n, const char *what)
{
    bool ok = memcmp(got, w->want + tok * w->q_row, (size_t)(n * w->q_row) * 4) == 0;
    if (!ok)
        printf("  %d/%d x %d, window %d: %s\n", w->s.heads, w->s.kv_heads, w->s.dim, w->s.window, what);
    CHECK(ok);
}

/* ---- right ---- */

static double rounded(const world *w, float x)
{
    return (double)(w->s.type == MP_F16 ? mp_f16_to_f32(mp_f16_from_f32(x)) : x);
}

/* One token and head in double. Values are below 2 and weights sum to 1, so what float32 adds is bounded by a few steps for each stage: scores of
 * |q||k| dim < 4 * 128 err by dim * 2^-24 * 512 at the most and by a hundredth of that on random data; 2e-4 leaves room for that, exp and the sums; fifteen times
 * that for scores fifteen times as large. */
static void check_token(const world *w, int64_t tok, int h)
{
    int64_t from = w->s.window && tok + 1 > w->s.window ? tok + 1 - w->s.window : 0, g = h / (w->s.heads / w->s.kv_heads);
    double p[LONGEST], max = -INFINITY, sum = 0;
    const float *q = w->q + tok * w->q_row + h * w->s.dim;
    for (int64_t j = from; j <= tok; j++) {
        p[j] = 0;
        for (int d = 0; d < w->s.dim; d++)
            p[j] += (double)q[d] * rounded(w, w->k[j * w->k_row + g * w->s.dim + d]);
        p[j] *= (double)0.3f;
        max = fmax(max, p[j]);
    }
    for (int64_t j = from; j <= tok; j++)
        sum += p[j] = exp(p[j] - max);
    for (int d = 0; d < w->s.dim; d++) {
        double y = 0;
        for (int64_t j = from; j <= tok; j++)
            y += p[j] / sum * rounded(w, w->v[j * w->k_row + g * w->s.dim + d]);
        CHECK_NEAR(w->want[tok * w->q_row + h * w->s.dim + d], y, w->s.times > 0 ? 3e-3 : 2e-4);
    }
}

TEST(matches_double)
{
    for (int i = 0; i < SHAPES; i++) {
        world w = world_open(i);
        for (int64_t t = 0; t < w.s.tok; t += t < 40 || t % 256 < 6 ? 1 : t % 256 > 195 ? 256 - t % 256 : 61) /* the first ones of each tile too */
            check_token(&w, t, (int)(t % w.s.heads));
        check_token(&w, w.s.tok - 1, w.s.heads - 1);
        world_close(&w);
    }
}

/* ---- the same ---- */

TEST(however_the_prompt_is_cut)
{
    static const int64_t cuts[] = { 1, 7, 64, 255, 513 };
    for (int i = 0; i < SHAPES; i++) {
        world w = world_open(i);
        float *got = malloc((size_t)(w.s.tok * w.q_row) * 4);
        for (int c = 0; c < 5; c++) {
            runner r = runner_open(&w, 1 + (i + c) % 4, NULL);
            run_all(&w, &r, cuts[c], false, got);
            expect_same(&w, got, 0, w.s.tok, "cut");
            runner_close(&r);
        }
        free(got);
        world_close(&w);
    }
}

TEST(with_any_instruction_set)
{
    for (int i = 0; i < SHAPES; i++) {
        world w = world_open(i);
        float *got = malloc((size_t)(w.s.tok * w.q_row) * 4);
        for (int isa = w.s.tok > 600; mp_kern_at(isa); isa++) { /* long ones would take the reference a while */
            runner r = runner_open(&w, 2, mp_kern_at(isa)->name);
            run_all(&w, &r, 0, false, got);
            expect_same(&w, got, 0, w.s.tok, mp_kern_at(isa)->name);
            runner_close(&r);
        }
        free(got);
        world_close(&w);
    }
}

/* Training reads the batch's own keys and values, which are those of an F32 cache. */
TEST(without_a_cache)
{
    for (int i = 0; i < SHAPES; i++) {
        world w = world_open(i);
        float *got = malloc((size_t)(w.s.tok * w.q_row) * 4);
        runner r = runner_open(&w, 3, NULL);
        if (w.s.type == MP_F32) {
            run_all(&w, &r, 0, true, got);
            expect_same(&w, got, 0, w.s.tok, "own keys and values");
        }
        runner_close(&r);
        free(got);
        world_close(&w);
    }
}

/* Four sequences in one batch: long and short pieces, one token and many. */
TEST(in_company)
{
    for (int i = 0; i < SHAPES; i++) {
        world w = world_open(i);
        int64_t tok = w.s.tok, first[4] = { tok - 1, 5, tok / 2, tok - 1 }, n[4] = { 1, 40, tok / 3, 1 }, row = 0;
        float *got = malloc((size_t)(tok * 2 * w.q_row) * 4);
        cache c[4];
        mp_segment seg[4];
        for (int threads = 1; threads <= 3; threads++) {
            runner r = runner_open(&w, threads, NULL);
            for (int j = 0; j < 4; j++) {
                c[j] = cache_open(&w);
                int64_t zero = 0;
                seg[j] = segment(&w, &c[j], 0, first[j], 0);
                run_batch(&w, &r, &seg[j], 1, &zero, got); /* what comes before */
                seg[j] = segment(&w, &c[j], row, n[j], first[j]);
                row += n[j];
            }
            run_batch(&w, &r, seg, 4, first, got);
            for (int j = 0; j < 4; j++) {
                expect_same(&w, got + seg[j].row * w.q_row, first[j], n[j], "in company");
                cache_close(&c[j]);
            }
            row = 0;
            runner_close(&r);
        }
        free(got);
        world_close(&w);
    }
}

/* What later tokens of the batch hold, a NaN say, does not reach earlier ones; in its own token it shows. */
TEST(nan_stays_where_it_is)
{
    world w = world_open(1);
    int64_t bad = 700;
    float *got = malloc((size_t)(w.s.tok * w.q_row) * 4);
    runner r = runner_open(&w, 2, NULL);
    w.k[bad * w.k_row] = NAN; /* of head 0 */
    w.v[bad * w.k_row + w.s.dim] = INFINITY;
    run_all(&w, &r, 0, false, got);
    expect_same(&w, got, 0, bad, "before a NaN");
    for (int64_t t = bad; t < w.s.tok; t += 13)
        CHECK(isnan(got[t * w.q_row]) && !isfinite(got[t * w.q_row + w.s.dim]));
    runner_close(&r);
    free(got);
    world_close(&w);
}

/* The planner asks a dry device about the largest batch: no smaller one may need more, and the context must not matter. */
TEST(scratch_grows_with_the_batch_only)
{
    mp_ledger *ledger = NULL;
    mp_pool *pool = NULL;
    mp_dev *dev = NULL;
    REQUIRE(mp_ledger_open(true, &ledger) == MP_OK && mp_pool_open(ledger, 3, &pool) == MP_OK && mp_dev_cpu_open(ledger, pool, mp_kern_get(NULL), &dev) == MP_OK);
    size_t before = 0;
    for (int64_t tok = 1; tok <= 512; tok++) {
        mp_op op = { .kind = MP_OP_ATTN, .in = { mp_tensor_3d(NULL, MP_F32, tok, 32, 128), mp_tensor_3d(NULL, MP_F32, tok, 4, 128) } };
        size_t bytes = mp_dev_scratch(dev, &op);
        CHECK(bytes >= before && bytes > 0);
        mp_segment seg = { .n = (int32_t)tok, .pos = 30000 };
        op.u.attn.seg = &seg, op.u.attn.n_seg = 1;
        CHECK_EQ(mp_dev_scratch(dev, &op), bytes);
        before = bytes;
    }
    mp_dev_close(&dev);
    mp_pool_close(&pool);
    mp_ledger_close(&ledger);
}

int main(void)
{
    RUN(matches_double);
    RUN(however_the_prompt_is_cut);
    RUN(with_any_instruction_set);
    RUN(without_a_cache);
    RUN(in_company);
    RUN(nan_stays_where_it_is);
    RUN(scratch_grows_with_the_batch_only);
    return test_done();
}
