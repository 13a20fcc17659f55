/* Attention's kernels: every instruction set bit for bit with the reference, the reference against double, at the edge of mapped memory.
 * `test_attn --bench` measures the operation instead. */
#include "attn_bench.h"
#include "kern_data.h"

typedef enum data_kind { ORDINARY, LARGE, TINY, WITH_NAN, DATA_KINDS } data_kind;

static const int64_t dims[] = { 1, 7, 16, 31, 32, 33, 48, 63, 64, 65, 80, 96, 100, 128, 192, 256, 576 };
enum { DIMS = sizeof dims / sizeof *dims };

static float *floats(guard *g, int64_t n)
{
    *g = guard_open((size_t)n * sizeof(float));
    return (float *)(void *)g->p;
}

static void expect(bool ok, const char *isa, const char *what, int64_t dim, int rows)
{
    if (!ok)
        printf("  %s %s dim=%lld rows=%d\n", isa, what, (long long)dim, rows);
    CHECK(ok);
}

/* Bit for bit, but any NaN equals any NaN: which NaN comes out of an operation is the processor's choice. */
static bool same(const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            return false;
    }
    return true;
}

static void fill(float *x, int64_t n, data_kind kind)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = rng_float() * (kind == LARGE ? 1e30f : kind == TINY ? 1e-30f : 4.0f);
    if (kind == WITH_NAN)
        x[rng() % (uint64_t)n] = rng() & 1 ? NAN : INFINITY;
}

/* Keys or values of one type that end at the guard page, at an odd address when `odd`. */
static unsigned char *halves(guard *g, mp_dtype type, int64_t n, data_kind kind, bool odd)
{
    size_t bytes = mp_dtype_row_bytes(type, n);
    *g = guard_open(bytes + odd);
    row_fill(type, g->p, n, kind == LARGE ? ROW_HUGE : kind == TINY ? ROW_TINY : ROW_RANDOM);
    return g->p;
}

static float element(mp_dtype type, const unsigned char *p, int64_t i)
{
    float f;
    mp_kern_at(0)->dequant[type](&f, p + mp_dtype_row_bytes(type, 1) * (size_t)i, 1);
    return f;
}

/* ---- scores ---- */

typedef struct score_case {
    mp_dtype       type;
    data_kind      kind;
    int            rows;
    int64_t        n, dim, out; /* out: floats from the first score to the last */
    guard          q_at, k_at;
    float         *q;
    unsigned char *k;
} score_case;

static void score_run(const mp_kern *k, const score_case *c, float *out)
{
    (c->type == MP_F16 ? k->attn_score_f16 : k->attn_score_f32)(out, c->q, &(mp_attn_keys){ c->k, NULL, c->n, c->dim }, c->rows);
}

/* q of row r, element d, in blocks of eight rows. */
static float q_at(const score_case *c, int r, int64_t d)
{
    int block = r / 8 * 8, step = c->rows - block < 8 ? c->rows - block : 8;
    return c->q[block * c->dim + d * step + r - block];
}

/* One chain of dim fused steps: dim roundings of at most the sum of |terms| each. */
static void score_is_right(const score_case *c, const float *got)
{
    for (int r = 0; r < c->rows; r++) {
        for (int64_t i = 0; i < c->n; i++) {
            double want = 0, size = 0;
            for (int64_t d = 0; d < c->dim; d++) {
                double term = (double)q_at(c, r, d) * (double)element(c->type, c->k, (i / 16 * c->dim + d) * 16 + i % 16);
                want += term, size += fabs(term);
            }
            double error = fabs((double)got[r * MP_ATTN_STRIDE + i] - want);
            expect(error <= (double)c->dim * 0x1p-24 * size + (double)c->dim * 0x1p-149, "ref", "score", c->dim, c->rows);
        }
    }
}

static void score_check(const score_case *c)
{
    guard want_at;
    float *want = floats(&want_at, c->out);
    memset(want, 0x11, (size_t)c->out * sizeof(float)); /* between the rows nothing is written */
    score_run(mp_kern_at(0), c, want);
    if (c->kind == ORDINARY && c->n <= 32)
        score_is_right(c, want);
    for (int isa = 0; mp_kern_at(isa); isa++) {
        guard g;
        float *got = floats(&g, c->out);
        memset(got, 0x11, (size_t)c->out * sizeof(float));
        score_run(mp_kern_at(isa), c, got);
        expect(same(got, want, c->out) && guard_ok(&g), mp_kern_at(isa)->name, "score", c->dim, c->rows);
        guard_close(&g);
    }
    guard_close(&want_at);
}

TEST(scores_match_bit_for_bit)
{
    static const int64_t counts[] = { 16, 32, 48, 80, 240, 256 };
    for (int i = 0; i < DIMS * 20 * DATA_KINDS; i++) {
        score_case c = { .type = i & 1 ? MP_F16 : MP_F32, .kind = (data_kind)(i % DATA_KINDS), .rows = 1 + i / DATA_KINDS % 20, .dim = dims[i / DATA_KINDS / 20] };
        c.n = counts[rng() % 6];
        c.out = (c.rows - 1) * MP_ATTN_STRIDE + c.n;
        c.q = floats(&c.q_at, c.rows * c.dim);
        fill(c.q, c.rows * c.dim, c.kind);
        c.k = halves(&c.k_at, c.type, c.n * c.dim, c.kind, i % 3 == 0);
        score_check(&c);
        guard_close(&c.q_at), guard_close(&c.k_at);
    }
}

/* ---- values ---- */

typedef struct value_case {
    mp_dtype       type;
    data_kind      kind;
    int            rows;
    mp_attn_values v;
    guard          p_at, v_at;
    float         *p, *acc; /* acc: what the sums start from */
} value_case;

static void value_run(const mp_kern *k, const value_case *c, float *acc, int rows)
{
    memcpy(acc, c->acc, (size_t)(rows * c->v.dim) * sizeof(float));
    (c->type == MP_F16 ? k->attn_value_f16 : k->attn_value_f32)(acc, c->p, &c->v, rows);
}

static void value_is_right(const value_case *c, const float *got)
{
    for (int64_t j = 0; j < c->rows * c->v.dim; j++) {
        int64_t r = j / c->v.dim, col = j % c->v.dim, panel = col / 32 * 32, width = c->v.dim - panel < 32 ? c->v.dim - panel : 32;
        double want = (double)c->acc[j], size = fabs(want);
        for (int64_t i = 0; i < c->v.n; i++) {
            double term = (double)c->p[r * MP_ATTN_STRIDE + i] * (double)element(c->type, c->v.v, panel * c->v.room + (c->v.first + i) * width + col - panel);
            want += term, size += fabs(term);
        }
        expect(fabs((double)got[j] - want) <= (double)(c->v.n + 1) * 0x1p-24 * size, "ref", "value", c->v.dim, c->rows);
    }
}

static void value_check(const value_case *c)
{
    guard want_at, one_at;
    float *want = floats(&want_at, c->rows * c->v.dim), *one = floats(&one_at, c->v.dim);
    value_run(mp_kern_at(0), c, want, c->rows);
    if (c->kind == ORDINARY)
        value_is_right(c, want);
    for (int isa = 0; mp_kern_at(isa); isa++) {
        guard g;
        float *got = floats(&g, c->rows * c->v.dim);
        value_run(mp_kern_at(isa), c, got, c->rows);
        expect(same(got, want, c->rows * c->v.dim) && guard_ok(&g), mp_kern_at(isa)->name, "value", c->v.dim, c->rows);
        value_run(mp_kern_at(isa), c, one, 1);
        expect(same(one, want, c->v.dim) && guard_ok(&one_at), mp_kern_at(isa)->name, "value: a row depends on its company", c->v.dim, c->rows);
        guard_close(&g);
    }
    guard_close(&want_at), guard_close(&one_at);
}

TEST(values_match_bit_for_bit)
{
    for (int i = 0; i < DIMS * 20 * DATA_KINDS; i++) {
        value_case c = { .type = i & 1 ? MP_F16 : MP_F32, .kind = (data_kind)(i % DATA_KINDS), .rows = 1 + i / DATA_KINDS % 20 };
        c.v = (mp_attn_values){ .room = i % 5 ? 256 : 16, .dim = dims[i / DATA_KINDS / 20] };
        c.v.first = (int64_t)(rng() % (uint64_t)c.v.room);
        c.v.n = 1 + (int64_t)(rng() % (uint64_t)(c.v.room - c.v.first));
        guard acc_at;
        c.acc = floats(&acc_at, c.rows * c.v.dim);
        c.p = floats(&c.p_at, (c.rows - 1) * MP_ATTN_STRIDE + c.v.n);
        fill(c.acc, c.rows * c.v.dim, c.kind);
        fill(c.p, (c.rows - 1) * MP_ATTN_STRIDE + c.v.n, c.kind == WITH_NAN ? ORDINARY : c.kind);
        c.v.v = halves(&c.v_at, c.type, c.v.room * c.v.dim, c.kind, i % 3 == 0);
        value_check(&c);
        guard_close(&acc_at), guard_close(&c.p_at), guard_close(&c.v_at);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench_all();
    RUN(scores_match_bit_for_bit);
    RUN(values_match_bit_for_bit);
    return test_done();
}
