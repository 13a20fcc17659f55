/* The small operations of the CUDA device against the CPU's, each element by itself. Sums and clamps are the same bits. Where there is an exponential both
 * compute in float32, with it good to 2^-22 and up to five roundings of 2^-24 around it: results differ by at most 2^-19 of their own size - and, where
 * something on the way or at the end is below 2^-126, by the 2^-149 that floats are apart there, times what it is multiplied with (floor_of). */
#include <float.h>

#include "both.h"

static const double tolerance = 0x1p-19;
static both b;

static mp_tensor tensor(int64_t rows, int64_t cols, float range)
{
    return mp_tensor_2d(both_floats(rows * cols, range), MP_F32, rows, cols);
}

static const int64_t shapes[][2] = { { 1, 1 }, { 1, 2048 }, { 3, 128 }, { 7, 33 }, { 64, 64 }, { 2, 5000 } };
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* What overflows or vanishes, in the exponential or in the product. exp(88.7) is the last that a float holds; one divided by it is below 2^-126. */
static const float odd[] = {
    0.0f, -0.0f, 1.0f, -1.0f, 1e-45f, -1e-45f, 3e-39f, -1e-38f, 1e-30f, 17.5f, -17.5f, 87.5f, -87.5f, 88.5f, -88.5f, 95.0f, -95.0f, 200.0f, -200.0f, 1e10f, -1e30f,
    FLT_MAX, -FLT_MAX, INFINITY, -INFINITY, NAN,
};
enum { ODD = sizeof odd / sizeof *odd };

/* One after another, the first at element k, a few ordinary elements in between. */
static void make_odd(mp_tensor *t, int64_t k)
{
    float *x = t->data;
    for (int64_t i = 0; k < mp_tensor_count(t); i++, k += 5)
        x[k] = odd[i % ODD];
}

/* Of an element a and its gate g (GATE), or of a gate a and its partner g (SWIGLU). The sigmoid of less than -89 is 0 on both: exp overflows. */
static double floor_of(mp_op_kind kind, float a, float g)
{
    if (kind == MP_OP_ADD || !isfinite(a) || !isfinite(g))
        return 0;
    return 0x1p-149 * (1 + (kind == MP_OP_GATE ? fabs((double)a) : (1 + fmin(fabs((double)a), 89)) * fabs((double)g)));
}

/* The result of an op over in0 and in1; per: elements of in0 that an element of in1 is for. */
static void check_two(const mp_op *op, int64_t per)
{
    const float *x = op->in[0].data, *g = op->in[1].data, *want = b.want[0], *got = b.got[0];
    if (op->kind == MP_OP_ADD)
        CHECK(both_same(want, got, b.n[0]));
    for (int64_t i = 0; i < b.n[0]; i++)
        if (!both_near((double)want[i], (double)got[i], tolerance * fabs((double)want[i]) + floor_of(op->kind, x[i], g[i / per]))) {
            printf("  %s of %.9g and %.9g: %.9g, not %.9g\n", mp_op_name(op->kind), (double)x[i], (double)g[i / per], (double)got[i], (double)want[i]);
            CHECK(false);
            break;
        }
}

/* Ordinary elements alone, then with odd ones among them. */
static void of_two(mp_op_kind kind, float range)
{
    for (int i = 0; i < 2 * SHAPES; i++) {
        const int64_t *s = shapes[i / 2];
        mp_op op = { .kind = kind, .n_out = 1, .in = { tensor(s[0], s[1], range), tensor(s[0], s[1], range) } };
        op.out[0] = mp_tensor_2d(NULL, MP_F32, s[0], s[1]);
        if (i % 2)
            make_odd(&op.in[0], 0), make_odd(&op.in[1], 2);
        CHECK(both_run(&b, &op));
        check_two(&op, 1);
        free(op.in[0].data), free(op.in[1].data);
    }
}

TEST(add_and_swiglu)
{
    of_two(MP_OP_ADD, 3.0f);
    of_two(MP_OP_SWIGLU, 8.0f);
    of_two(MP_OP_GATE, 8.0f);
}

TEST(every_odd_one_with_every_other)
{
    static const mp_op_kind kinds[] = { MP_OP_ADD, MP_OP_SWIGLU, MP_OP_GATE };
    float x[ODD * ODD], y[ODD * ODD];
    for (int i = 0; i < ODD * ODD; i++)
        x[i] = odd[i / ODD], y[i] = odd[i % ODD];
    for (int i = 0; i < 3; i++) {
        mp_op op = { .kind = kinds[i], .n_out = 1, .in = { mp_tensor_2d(x, MP_F32, ODD, ODD), mp_tensor_2d(y, MP_F32, ODD, ODD) } };
        op.out[0] = mp_tensor_2d(NULL, MP_F32, ODD, ODD);
        CHECK(both_run(&b, &op));
        check_two(&op, 1);
    }
}

TEST(gate_of_rows)
{
    for (int i = 0; i < 2 * SHAPES; i++) {
        const int64_t *s = shapes[i / 2];
        mp_op op = { .kind = MP_OP_GATE, .n_out = 1, .in = { tensor(s[0], s[1], 2.0f), tensor(s[0], 1, 5.0f) } };
        op.out[0] = mp_tensor_2d(NULL, MP_F32, s[0], s[1]);
        if (i % 2)
            make_odd(&op.in[0], 3), make_odd(&op.in[1], 1);
        CHECK(both_run(&b, &op));
        check_two(&op, s[1]);
        free(op.in[0].data), free(op.in[1].data);
    }
}

/* The specification, not only the CPU: both sides, at the limits and next to them. */
TEST(clamp)
{
    const float limit = 0.75f, edge[] = { limit, -limit, nextafterf(limit, 1), nextafterf(-limit, -1), nextafterf(limit, 0), nextafterf(-limit, 0) };
    for (int i = 0; i < SHAPES; i++) {
        const int64_t *s = shapes[i], n = s[0] * s[1];
        mp_op op = { .kind = MP_OP_CLAMP, .n_out = 1, .in = { tensor(s[0], s[1], 2.0f) }, .u.clamp.limit = limit };
        op.out[0] = mp_tensor_2d(NULL, MP_F32, s[0], s[1]);
        float *x = op.in[0].data, *want = malloc((size_t)n * sizeof *want);
        make_odd(&op.in[0], 4);
        for (int64_t k = 0; k < 6 && 5 * k + 1 < n; k++)
            x[5 * k + 1] = edge[k];
        for (int64_t k = 0; k < n; k++)
            want[k] = isnan(x[k]) ? x[k] : fabsf(x[k]) > limit ? copysignf(limit, x[k]) : x[k];
        CHECK(both_run(&b, &op));
        CHECK(both_same(want, b.want[0], n) && both_same(want, b.got[0], n));
        free(x), free(want);
    }
}

/* ---- rmsnorm ---- */

/* Rows that have nothing to do with each other: what is taken from a wrong one shows. */
enum { USUAL, ZEROS, SMALL /* eps is most of the mean */, SMALLER /* nearly all of it */, VANISHES /* squares are 0 */, OVERFLOWS /* so all results are */, ONE_LARGE, HAS_NAN, NORM_ROWS };

static void norm_row(float *x, int64_t cols, int kind)
{
    static const float range[NORM_ROWS] = { 100, 0, 1e-3f, 1e-5f, 1e-39f, 1, 1, 1 };
    for (int64_t i = 0; i < cols; i++)
        x[i] = both_float() * range[kind];
    if (kind == OVERFLOWS || kind == ONE_LARGE || kind == HAS_NAN)
        x[cols / 2] = kind == HAS_NAN ? NAN : kind == OVERFLOWS ? -1e30f : 1e15f;
}

/* A product with a weight after one that may have been rounded to a multiple of 2^-149. */
static void check_norm(const mp_op *op)
{
    const float *want = b.want[0], *got = b.got[0], *w = mp_tensor_none(&op->in[1]) ? NULL : op->in[1].data;
    const int64_t cols = op->in[0].shape[1];
    for (int64_t i = 0; i < b.n[0]; i++)
        if (!both_near((double)want[i], (double)got[i], tolerance * fabs((double)want[i]) + 0x1p-149 * (w ? 1 + fabs((double)w[i % cols]) : 1))) {
            printf("  row %lld of kind %lld, element %lld of %lld: %.9g, not %.9g\n", (long long)(i / cols), (long long)(i / cols % NORM_ROWS), (long long)(i % cols),
                   (long long)cols, (double)got[i], (double)want[i]);
            CHECK(false);
            break;
        }
}

/* Up to 5000 squares are added in another order; their roundings go both ways, so that the sum, then halved by the root, is well within the tolerance. */
TEST(rmsnorm_with_and_without_weights)
{
    static const int64_t lengths[] = { 1, 31, 33, 64, 128, 129, 2048, 5000 };
    for (int i = 0; i < 2 * 8; i++) {
        const int64_t cols = lengths[i / 2], rows = 2 * NORM_ROWS + 1;
        mp_op op = { .kind = MP_OP_RMSNORM, .n_out = 1, .in = { tensor(rows, cols, 1.0f) }, .u.norm.eps = i % 2 ? 1e-6f : 1e-5f };
        for (int64_t r = 0; r < rows; r++)
            norm_row((float *)op.in[0].data + r * cols, cols, (int)(r % NORM_ROWS));
        if (i % 2)
            op.in[1] = mp_tensor_1d(both_floats(cols, 2.0f), MP_F32, cols);
        op.out[0] = mp_tensor_2d(NULL, MP_F32, rows, cols);
        CHECK(both_run(&b, &op));
        check_norm(&op);
        free(op.in[0].data), free(op.in[1].data);
    }
}

/* ---- memory ---- */

/* The ring of uploads comes round many times, and large pieces go past it. Each piece has other bytes than those before, which may have lain at its place, and
 * the host's are gone at once. */
TEST(what_is_put_comes_back)
{
    enum { MOST = 5 << 20, TIMES = 60, STEP = 977 };
    unsigned char *all = malloc(MOST + TIMES * STEP), *from = malloc(MOST), *to = malloc(MOST);
    for (int i = 0; i < MOST + TIMES * STEP; i++)
        all[i] = (unsigned char)(i * 7 + i / 251);
    for (int i = 0; i < TIMES; i++) {
        size_t bytes = i % 7 == 6 ? MOST : (size_t)(1 + i * 37 % 50) * 40961;
        both_forget(&b);
        memset(to, 0, bytes);
        memcpy(from, all + i * STEP, bytes);
        void *p = both_put(&b, from, bytes);
        memset(from, 0xa5, bytes);
        CHECK(!b.gpu->v->get(b.gpu, to, p, bytes) && !memcmp(all + i * STEP, to, bytes));
    }
    free(all), free(from), free(to);
}

TEST(memory_is_charged_as_vram_and_given_back)
{
    mp_region r;
    uint64_t before = mp_ledger_used(b.ledger, MP_TIER_VRAM);
    mp_ledger_set_limit(b.ledger, MP_TIER_VRAM, before + (4 << 20));
    CHECK_EQ(mp_region_open_in(b.ledger, b.gpu->memory, MP_OWN_EXPERTS, 5 << 20, &r), MP_E_BUDGET);
    CHECK_EQ(mp_region_open_in(b.ledger, b.gpu->memory, MP_OWN_EXPERTS, 3 << 20, &r), MP_OK);
    CHECK(mp_ledger_used(b.ledger, MP_TIER_VRAM) == before + (4 << 20) && r.bytes >= 3 << 20);
    mp_region_close(&r);
    CHECK(mp_ledger_used(b.ledger, MP_TIER_VRAM) == before && !r.base);
    mp_ledger_set_limit(b.ledger, MP_TIER_VRAM, 0);
}

int main(void)
{
    if (!both_open(&b))
        return both_skipped();
    RUN(add_and_swiglu);
    RUN(every_odd_one_with_every_other);
    RUN(gate_of_rows);
    RUN(clamp);
    RUN(rmsnorm_with_and_without_weights);
    RUN(what_is_put_comes_back);
    both_forget(&b);
    RUN(memory_is_charged_as_vram_and_given_back);
    both_close(&b);
    return test_done();
}
