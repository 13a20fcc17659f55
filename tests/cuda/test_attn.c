/* KV_WRITE and ATTN of the CUDA device against the CPU's: caches bit for bit, results within what is rounded, and the same bits alone and in company.
 *
 * Tolerance, as a share of the largest value v: with an F16 cache weights are rounded to 11 bits and then add up to 1, so a mean moves by at most
 * 2^-11 * |v - mean| <= 2^-10; in float32 by a few 2^-24 for each of the up to 3000 terms added in another order, 2^-17. A score of size S - the root of its
 * sum of squares - is 2^-22 S off where q is in two halves and about as much where floats are added in another order; its weight moves by as much: 2^-20 S. */
#include "both.h"
#include "dev/cuda/cuda.h" /* to play an older card */

static both b;

/* ---- a cache on both devices ---- */

typedef struct cache { /* one layer; tiles lie in falling order, heads with a gap between them; never written: NaN */
    int            heads, dim;
    mp_dtype       dtype;
    int64_t        tiles;
    size_t         head, tile; /* bytes */
    unsigned char *cpu, *base; /* base: of the device that is asked */
    mp_region      gpu;
} cache;

static void tile_at(const void *kv, int layer, int64_t pos, mp_kv_tile *out)
{
    const cache *c = kv;
    int64_t i = pos / MP_TILE_TOK;
    if (layer != 3 || i < 0 || i >= c->tiles)
        abort();
    unsigned char *p = c->base + (size_t)(c->tiles - 1 - i) * c->tile;
    *out = (mp_kv_tile){ .k = p, .v = p + (size_t)c->heads * c->head, .k_head = c->head, .v_head = c->head, .first = i * MP_TILE_TOK };
}

static cache cache_open(int heads, int dim, mp_dtype dtype, int64_t tok)
{
    cache c = { .heads = heads, .dim = dim, .dtype = dtype, .tiles = (tok + MP_TILE_TOK - 1) / MP_TILE_TOK };
    c.head = (size_t)(MP_TILE_TOK * dim) * (dtype == MP_F16 ? 2 : 4) + 64;
    c.tile = 2 * (size_t)heads * c.head;
    c.cpu = malloc((size_t)c.tiles * c.tile);
    memset(c.cpu, 0xff, (size_t)c.tiles * c.tile);
    CHECK(!mp_region_open_in(b.ledger, b.gpu->memory, MP_OWN_KV, (size_t)c.tiles * c.tile, &c.gpu) && !b.gpu->v->put(b.gpu, c.gpu.base, c.cpu, (size_t)c.tiles * c.tile));
    return c;
}

static void cache_close(cache *c)
{
    free(c->cpu);
    mp_region_close(&c->gpu);
}

static bool cache_same(const cache *c)
{
    unsigned char *got = malloc((size_t)c->tiles * c->tile);
    bool same = !b.gpu->v->get(b.gpu, got, c->gpu.base, (size_t)c->tiles * c->tile) && !memcmp(got, c->cpu, (size_t)c->tiles * c->tile);
    free(got);
    return same;
}

/* A segment, and the cache that it is of. */
typedef struct part {
    cache  *c;
    int64_t pos;
    int     n;
} part;

enum { PARTS = 6 };

/* Segments of parts, behind each other. Both devices' caches have the same kv, so the device is chosen by a twin of the cache. */
typedef struct batch {
    mp_segment cpu[PARTS], gpu[PARTS];
    cache      of_cpu[PARTS], of_gpu[PARTS];
    int        n;
    int64_t    tok;
} batch;

static void batch_of(batch *s, const part *parts)
{
    *s = (batch){ 0 };
    for (; s->n < PARTS && parts[s->n].c; s->n++) {
        const part *p = &parts[s->n];
        s->of_cpu[s->n] = s->of_gpu[s->n] = *p->c;
        s->of_cpu[s->n].base = p->c->cpu, s->of_gpu[s->n].base = p->c->gpu.base;
        s->cpu[s->n] = (mp_segment){ (int32_t)s->tok, p->n, p->pos, &s->of_cpu[s->n], p->c->dtype, tile_at };
        s->gpu[s->n] = s->cpu[s->n];
        s->gpu[s->n].kv = &s->of_gpu[s->n];
        s->tok += p->n;
    }
}

/* Runs op on both; returns the GPU's result (NULL where there is none). want: NULL, or gets the CPU's. Scratch has marks at its end. */
static float *run(mp_op *op, const batch *s, float **want)
{
    enum { MARK = 256 };
    mp_op gpu = *op;
    both_forget(&b);
    op->u.attn.seg = s->cpu, gpu.u.attn.seg = s->gpu, op->u.attn.n_seg = gpu.u.attn.n_seg = s->n;
    op->u.attn.layer = gpu.u.attn.layer = 3;
    for (int i = 0; i < MP_OP_IN; i++)
        gpu.in[i] = both_twin(&b, &op->in[i]);
    size_t bytes = mp_dev_scratch(b.gpu, &gpu), out = op->n_out ? mp_tensor_bytes(&op->out[0]) : 0;
    unsigned char *mark = malloc(bytes + MARK);
    float *got = NULL;
    memset(mark, 0xff, bytes + MARK);
    gpu.scratch = both_put(&b, mark, bytes + MARK);
    if (op->n_out)
        got = malloc(out), gpu.out[0].data = both_blank(&b, BOTH_RESULT, out);
    if (mp_dev_run(b.gpu, &gpu))
        printf("  %s\n", mp_err_text()), exit(1);
    CHECK(!b.gpu->v->get(b.gpu, mark, gpu.scratch, bytes + MARK));
    for (int i = 0; i < MARK; i++)
        CHECK(mark[bytes + (size_t)i] == 0xff);
    free(mark);
    if (got)
        CHECK(!b.gpu->v->get(b.gpu, got, gpu.out[0].data, out));
    if (want || !got) {
        op->out[0].data = got ? *want = malloc(out) : NULL;
        op->scratch = aligned_alloc(64, (mp_dev_scratch(b.cpu, op) + 127) / 64 * 64);
        CHECK_EQ(mp_dev_run(b.cpu, op), MP_OK);
        free(op->scratch);
    }
    return got;
}

/* Writes the parts' positions: keys and values are [tokens, heads, dim]. */
static void write_cache(const part *parts, float *k, float *v)
{
    batch s;
    mp_op op = { .kind = MP_OP_KV_WRITE };
    batch_of(&s, parts);
    op.in[0] = mp_tensor_3d(k, MP_F32, s.tok, parts->c->heads, parts->c->dim);
    op.in[1] = mp_tensor_3d(v, MP_F32, s.tok, parts->c->heads, parts->c->dim);
    run(&op, &s, NULL);
}

static void fill(const part *parts, float range) /* with random ones */
{
    batch s;
    batch_of(&s, parts);
    const int64_t n = s.tok * parts->c->heads * parts->c->dim;
    float *k = both_floats(n, range), *v = both_floats(n, range);
    k[1] = 1e-6f, v[2] = -3e-8f, v[3] = 0x1.002p0f; /* subnormal halves, a tie */
    write_cache(parts, k, v);
    free(k), free(v);
}

/* Elements of the CPU's cache that were written: none of them is the NaN that was there. */
static int64_t count_written(const cache *c)
{
    const size_t size = c->dtype == MP_F16 ? 2 : 4;
    int64_t n = 0;
    for (size_t i = 0; i < (size_t)c->tiles * c->tile; i += size)
        n += memcmp(c->cpu + i, &(uint32_t){ 0xffffffff }, size) != 0;
    return n;
}

TEST(caches_are_the_same_bits)
{
    static const struct { int heads, dim; mp_dtype dtype; } of[] = { { 2, 128, MP_F16 }, { 1, 40, MP_F16 }, { 3, 33, MP_F32 }, { 1, 256, MP_F32 }, { 4, 16, MP_F16 } };
    for (int i = 0; i < 5; i++) {
        cache a = cache_open(of[i].heads, of[i].dim, of[i].dtype, 600), c = cache_open(of[i].heads, of[i].dim, of[i].dtype, 300);
        fill((part[PARTS]){ { &a, 0, 1 } }, 3.0f);
        fill((part[PARTS]){ { &a, 1, 37 }, { &c, 250, 20 } }, 3.0f);
        fill((part[PARTS]){ { &a, 300, 300 }, { &c, 0, 1 }, { &c, 100, 9 } }, 60000.0f);
        CHECK(cache_same(&a) && cache_same(&c));
        const int64_t each = 2 * of[i].heads * of[i].dim;
        CHECK_EQ(count_written(&a), (1 + 37 + 300) * each);
        CHECK_EQ(count_written(&c), (20 + 1 + 9) * each);
        cache_close(&a), cache_close(&c);
    }
}

/* ---- attention ---- */

typedef struct shape {
    int      heads, kv_heads, dim, window;
    mp_dtype dtype;
    float    q; /* largest; keys are below 2, so scores below 0.3 * 2 dim q */
} shape;

static double tolerance(const shape *s)
{
    double score = (double)0.3f * (double)s->q * 2.0 * sqrt((double)s->dim);
    if (s->q > 1e6f) /* one weight is 1, the others 0: scores of 1e7 lie further apart than they are off */
        return 0x1p-20;
    return (s->dtype == MP_F16 && s->dim % 8 == 0 ? 0x1p-10 : 0x1p-17) + 0x1p-20 * score;
}

static mp_op attn_of(const shape *s, int64_t tok, float *q)
{
    mp_op op = { .kind = MP_OP_ATTN, .n_out = 1 };
    op.u.attn.window = s->window, op.u.attn.scale = 0.3f;
    op.in[0] = mp_tensor_3d(q, MP_F32, tok, s->heads, s->dim);
    op.in[1] = op.in[2] = mp_tensor_3d(NULL, MP_F32, tok, s->kv_heads, s->dim);
    op.out[0] = mp_tensor_2d(NULL, MP_F32, tok, s->heads * s->dim);
    return op;
}

static double worst; /* share of the tolerance that was met */

/* The batch against the CPU, and each part alone against the batch. */
static void check_batch(const shape *s, const part *parts)
{
    batch all, one;
    batch_of(&all, parts);
    const int64_t row = s->heads * s->dim;
    float *q = both_floats(all.tok * row, s->q), *want;
    mp_op op = attn_of(s, all.tok, q);
    float *got = run(&op, &all, &want);
    double most = 0;
    for (int64_t i = 0; i < all.tok * row; i++)
        most = isfinite(got[i]) && isfinite(want[i]) ? fmax(most, fabs((double)got[i] - (double)want[i])) : INFINITY;
    CHECK_NEAR(most / 2.0, 0, tolerance(s));
    if (!(most / 2.0 <= tolerance(s)))
        printf("  %d/%d x %d, window %d, type %d, %lld tokens\n", s->heads, s->kv_heads, s->dim, s->window, s->dtype, (long long)all.tok);
    worst = fmax(worst, most / 2.0 / tolerance(s));
    for (int i = 0; all.n > 1 && i < all.n; i++) {
        batch_of(&one, (part[PARTS]){ parts[i] });
        op = attn_of(s, one.tok, q + all.cpu[i].row * row);
        float *alone = run(&op, &one, NULL);
        CHECK(!memcmp(alone, got + all.cpu[i].row * row, (size_t)(one.tok * row) * 4));
        free(alone);
    }
    free(q), free(got), free(want);
}

static void check_shape(const shape *s)
{
    cache a = cache_open(s->kv_heads, s->dim, s->dtype, 400), c = cache_open(s->kv_heads, s->dim, s->dtype, 300);
    fill((part[PARTS]){ { &a, 0, 390 }, { &c, 0, 290 } }, 2.0f);
    check_batch(s, (part[PARTS]){ { &a, 389, 1 }, { &c, 289, 1 }, { &a, 0, 1 }, { &c, 255, 1 }, { &a, 256, 1 } });
    check_batch(s, (part[PARTS]){ { &a, 240, 30 }, { &c, 100, 1 }, { &a, 254, 2 }, { &c, 0, 19 } });
    cache_close(&a), cache_close(&c);
}

TEST(head_sizes_and_groups)
{
    static const shape shapes[] = {
        { 8, 1, 64, 0, MP_F16, 1 },   { 4, 2, 128, 0, MP_F16, 1 },  { 2, 2, 80, 0, MP_F16, 1 },   { 5, 1, 96, 0, MP_F16, 1 },  { 2, 1, 256, 0, MP_F16, 1 },
        { 3, 1, 40, 0, MP_F16, 1 },   { 2, 1, 32, 0, MP_F16, 1 },   { 2, 1, 136, 0, MP_F16, 1 },  { 1, 1, 200, 0, MP_F16, 1 }, { 20, 1, 72, 0, MP_F16, 1 },
        { 2, 1, 33, 0, MP_F16, 1 },   { 6, 2, 64, 0, MP_F32, 1 },   { 7, 1, 33, 0, MP_F32, 1 },   { 1, 1, 256, 0, MP_F32, 1 },
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i += BOTH_STEP)
        check_shape(&shapes[i]);
    printf("  %.3f of the tolerance\n", worst);
}

TEST(windows)
{
    static const shape shapes[] = {
        { 4, 1, 64, 1, MP_F16, 1 }, { 4, 1, 64, 17, MP_F16, 1 }, { 2, 1, 128, 100, MP_F16, 1 }, { 2, 1, 256, 300, MP_F16, 1 }, { 3, 1, 40, 64, MP_F32, 1 }, { 2, 1, 48, 5000, MP_F16, 1 },
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i += BOTH_STEP)
        check_shape(&shapes[i]);
}

/* Scores hundreds apart, so that a wrong difference overflows and q rounded to 11 bits shows; q that halves cannot hold; q that vanishes. */
TEST(huge_and_tiny_scores)
{
    static const shape shapes[] = { { 4, 1, 64, 0, MP_F16, 60 }, { 2, 1, 128, 0, MP_F16, 200 }, { 3, 1, 40, 90, MP_F32, 60 }, { 2, 1, 256, 0, MP_F16, 50 }, { 2, 1, 64, 0, MP_F16, 1e-30f } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i += BOTH_STEP)
        check_shape(&shapes[i]);
    printf("  %.3f of the tolerance\n", worst);
}

/* q beyond what a half holds: the CPU's softmax picks one position, and so must the GPU's. */
TEST(q_beyond_halves)
{
    shape s = { 2, 1, 64, 0, MP_F16, 1e7f };
    cache a = cache_open(1, 64, MP_F16, 300);
    fill((part[PARTS]){ { &a, 0, 300 } }, 2.0f);
    check_batch(&s, (part[PARTS]){ { &a, 299, 1 }, { &a, 30, 20 } });
    cache_close(&a);
}

/* What is 1 + p / dim at element (p + h) % dim of position p and head h, and 0 elsewhere. */
static void fill_counts(cache *c, int64_t tok)
{
    const int64_t n = tok * c->heads * c->dim;
    float *k = both_floats(n, 2.0f), *v = calloc((size_t)n, sizeof *v);
    for (int64_t i = 0; i < tok * c->heads; i++)
        v[i * c->dim + (i / c->heads + i % c->heads) % c->dim] = (float)(1 + i / c->heads / c->dim);
    write_cache((part[PARTS]){ { c, 0, (int)tok } }, k, v);
    free(k), free(v);
}

/* A query of zeros at position `pos` and KV head h sees them all alike. */
static bool counts_right(const shape *s, const float *got, int64_t pos, int64_t h)
{
    double sum[MP_TILE_TOK] = { 0 };
    const int64_t from = s->window && pos + 1 > s->window ? pos + 1 - s->window : 0;
    for (int64_t p = from; p <= pos; p++)
        sum[(p + h) % s->dim] += (double)(1 + p / s->dim);
    for (int d = 0; d < s->dim; d++) {
        const double want = sum[d] / (double)(pos + 1 - from);
        if (!both_near(want, (double)got[d], 0x1p-22 * want)) {
            printf("  position %lld, head %lld, element %d of %d, window %d: %.9g, not %.9g\n", (long long)pos, (long long)h, d, s->dim, s->window, (double)got[d], want);
            return false;
        }
    }
    return true;
}

/* Random values may hide one position among thousands: unless its weight is large it moves a mean by less than the tolerance of halves. With q = 0 every weight is 1, exactly, and values are
 * small integers: so is every sum, in any order and type, and what is left out, seen twice or taken from elsewhere shows however long the context is. */
TEST(every_position_counts_once)
{
    static const shape shapes[] = {
        { 4, 1, 64, 0, MP_F16, 0 }, { 6, 3, 64, 900, MP_F16, 0 }, { 2, 2, 256, 700, MP_F16, 0 }, { 4, 2, 128, 1, MP_F16, 0 }, { 3, 1, 40, 65, MP_F16, 0 },
        { 2, 1, 33, 0, MP_F16, 0 }, { 4, 2, 24, 0, MP_F32, 0 },    { 2, 1, 48, 1000, MP_F32, 0 },
    };
    enum { TOK = 1100 };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i += BOTH_STEP) {
        const shape *s = &shapes[i];
        cache c = cache_open(s->kv_heads, s->dim, s->dtype, TOK);
        const part parts[PARTS] = { { &c, TOK - 1, 1 }, { &c, TOK - 9, 8 }, { &c, 1023, 1 }, { &c, 511, 2 }, { &c, 0, 9 } };
        batch all;
        fill_counts(&c, TOK);
        batch_of(&all, parts);
        float *q = calloc((size_t)(all.tok * s->heads * s->dim), sizeof *q);
        mp_op op = attn_of(s, all.tok, q);
        float *got = run(&op, &all, NULL);
        bool right = true;
        for (int p = 0; p < all.n; p++)
            for (int r = 0; right && r < parts[p].n * s->heads; r++)
                right = counts_right(s, got + ((int64_t)all.cpu[p].row * s->heads + r) * s->dim, parts[p].pos + r / s->heads, r % s->heads / (s->heads / s->kv_heads));
        CHECK(right);
        free(q), free(got);
        cache_close(&c);
    }
}

TEST(many_spans)
{
    static const shape shapes[] = { { 4, 1, 64, 0, MP_F16, 1 }, { 2, 1, 64, 2500, MP_F16, 2 }, { 2, 1, 24, 0, MP_F32, 1 } };
    for (int i = 0; i < 3; i++) {
        const shape *of = &shapes[i];
        cache a = cache_open(1, of->dim, of->dtype, 3001);
        fill((part[PARTS]){ { &a, 0, 3001 } }, 2.0f);
        check_batch(of, (part[PARTS]){ { &a, 3000, 1 }, { &a, 2990, 11 }, { &a, 1023, 1 }, { &a, 511, 2 } });
        cache_close(&a);
    }
}

/* Spans of five tokens do not all have room in scratch at once. */
TEST(several_waves)
{
    static const shape s = { 12, 1, 8, 0, MP_F32, 1 };
    cache a = cache_open(1, 8, MP_F32, 4200);
    fill((part[PARTS]){ { &a, 0, 4200 } }, 2.0f);
    check_batch(&s, (part[PARTS]){ { &a, 4199, 1 }, { &a, 4100, 1 }, { &a, 4180, 2 }, { &a, 4190, 1 }, { &a, 4191, 1 }, { &a, 4192, 1 } });
    cache_close(&a);
}

/* A card with 64 KiB of shared memory has room for one part of a large head only. */
TEST(one_stage)
{
    static const shape shapes[] = { { 2, 1, 256, 0, MP_F16, 1 }, { 2, 1, 248, 0, MP_F16, 1 }, { 2, 1, 128, 0, MP_F16, 1 } };
    mp_dev_cuda *d = (mp_dev_cuda *)b.gpu;
    int major = d->major, minor = d->minor;
    d->major = 7, d->minor = 5;
    for (int i = 0; i < 3; i++)
        check_shape(&shapes[i]);
    d->major = major, d->minor = minor;
}

TEST(what_is_not_there_is_an_error)
{
    shape s = { 2, 1, 64, 0, MP_F16, 1 }, big = { 1, 1, 264, 0, MP_F16, 1 };
    float *q = both_floats(1024, 1.0f);
    mp_segment own = { 0, 1, 0, NULL, MP_F32, NULL };
    for (int i = 0; i < 2; i++) {
        mp_op op = attn_of(i ? &big : &s, 1, q);
        op.u.attn.seg = &own, op.u.attn.n_seg = 1;
        CHECK_EQ(mp_dev_run(b.gpu, &op), MP_E_FAILED);
        CHECK(strstr(mp_err_text(), i ? "264" : "training") != NULL);
    }
    free(q);
}

int main(void)
{
    if (!both_open(&b))
        return both_skipped();
    RUN(caches_are_the_same_bits);
    RUN(head_sizes_and_groups);
    RUN(windows);
    RUN(huge_and_tiny_scores);
    RUN(q_beyond_halves);
    RUN(every_position_counts_once);
    RUN(many_spans);
    RUN(several_waves);
    RUN(one_stage);
    RUN(what_is_not_there_is_an_error);
    both_close(&b);
    return test_done();
}
