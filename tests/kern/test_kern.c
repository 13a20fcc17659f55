/* Every kernel of every instruction set against the reference, on ordinary and adversarial data at the edge of mapped memory.
 * `test_kern --bench` measures them instead. */
#include "kern_bench.h"
#include "kern_data.h"

static const int64_t lengths[] = { 32, 64, 96, 224, 256, 288, 512, 544, 1536, 2048, 2880, 11008 };
enum { LENGTHS = sizeof lengths / sizeof *lengths };

/* Bit for bit, but any NaN equals any NaN: which NaN comes out of an operation is the processor's choice. */
static bool same(const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            return false;
    }
    return true;
}

/* Names the case that failed, since the check is one line for all of them. */
static void expect(bool ok, const char *isa, const char *what, const char *type, int64_t n)
{
    if (!ok)
        printf("  %s %s %s n=%lld\n", isa, what, type, (long long)n);
    CHECK(ok);
}

static float *floats(guard *g, int64_t n)
{
    *g = guard_open((size_t)n * sizeof(float));
    return (float *)(void *)g->p;
}

static void fill(float *x, int64_t n, float range)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = rng_float() * range;
}

/* ---- products ---- */

typedef struct dot_case {
    mp_dtype type;
    int64_t  n;
    guard    row, x;     /* x: four tokens, stride bytes apart; the last ends at the page's end */
    size_t   x_stride;
    double   magnitude[MP_DOT_TOK]; /* bound of the sum of |terms| */
} dot_case;

/* What the error of any order of adding is proportional to: the largest weight (a k-quant's two parts are of that size even where they cancel) times
 * the sum of |x|. */
static void measure(dot_case *c, int t, const float *x)
{
    float  *w = malloc((size_t)c->n * sizeof *w);
    double largest = 0, sum = 0;
    mp_kern_at(0)->dequant[c->type](w, c->row.p, c->n);
    for (int64_t i = 0; i < c->n; i++) {
        largest = fmax(largest, fabs((double)w[i]));
        sum += fabs((double)x[i]);
    }
    c->magnitude[t] = largest * sum;
    free(w);
}

static dot_case dot_open(mp_dtype type, int64_t n, row_kind kind)
{
    dot_case c = { .type = type, .n = n };
    bool     q8 = mp_dtype_get(type)->quantized;
    size_t   last = q8 ? (size_t)n / 32 * 44 : (size_t)n * 4;
    float   *x = malloc((size_t)n * sizeof *x);
    c.x_stride = q8 ? mp_q8_bytes(n) : last;
    c.row = guard_open(mp_dtype_row_bytes(type, n));
    c.x = guard_open(c.x_stride * (MP_DOT_TOK - 1) + last);
    row_fill(type, c.row.p, n, kind);
    for (int t = 0; t < MP_DOT_TOK; t++) {
        fill(x, n, kind == ROW_HUGE ? 10.0f : 1.0f);
        if (q8)
            mp_kern_at(0)->quantize_q8(c.x.p + c.x_stride * (size_t)t, x, n);
        else
            memcpy(c.x.p + c.x_stride * (size_t)t, x, last);
        measure(&c, t, x);
    }
    free(x);
    return c;
}

static void dot_close(dot_case *c)
{
    guard_close(&c->row);
    guard_close(&c->x);
}

/* Both add n / 32 block products (floats: n terms in at least 16 lanes) with a rounding each, twice 2^-24 of what is summed so far; lane sums and the
 * scale's product add a few more. So their distance stays below (n / 16 + 16) * 2^-23 of the magnitude - in fact far below. The last term lets
 * subnormal results differ in their last place. */
static double tolerance(const dot_case *c, int t)
{
    return ((double)c->n / 16 + 16) * 0x1p-23 * c->magnitude[t] + 0x1p-148;
}

static void dot_check(const mp_kern *k, const dot_case *c)
{
    guard       g;
    float      *out = floats(&g, MP_DOT_TOK), one[MP_DOT_TOK], want[MP_DOT_TOK];
    const char *name = mp_dtype_get(c->type)->name;
    mp_kern_at(0)->dot[c->type](want, c->row.p, c->x.p, c->x_stride, c->n, MP_DOT_TOK);
    for (int t = 0; t < MP_DOT_TOK; t++) {
        k->dot[c->type](one + t, c->row.p, c->x.p + c->x_stride * (size_t)t, c->x_stride, c->n, 1);
        bool near = fabs((double)one[t] - (double)want[t]) <= tolerance(c, t);
        if (!near)
            printf("  %.9g, reference %.9g, tolerance %.3g\n", (double)one[t], (double)want[t], tolerance(c, t));
        expect(near, k->name, "dot", name, c->n);
    }
    for (int tok = 2; tok <= MP_DOT_TOK; tok++) {
        guard   g2;
        float  *few = floats(&g2, tok);
        k->dot[c->type](few, c->row.p, c->x.p, c->x_stride, c->n, tok);
        expect(same(few, one, tok) && guard_ok(&g2), k->name, "dot: a token's result depends on its company", name, c->n);
        guard_close(&g2);
    }
    /* The last token alone, up to the very end of the mapping. */
    k->dot[c->type](out, c->row.p, c->x.p + 3 * c->x_stride, c->x_stride, c->n, 1);
    expect(same(out, one + 3, 1) && guard_ok(&g), k->name, "dot: last token", name, c->n);
    guard_close(&g);
}

TEST(products_match_the_reference)
{
    for (int type = 0; type < MP_DTYPE_COUNT; type++) {
        for (int i = 0; i < LENGTHS * ROW_KINDS; i++) {
            int64_t n = lengths[i / ROW_KINDS];
            if (!mp_kern_at(0)->dot[type] || n % mp_dtype_get((mp_dtype)type)->block_len)
                continue;
            dot_case c = dot_open((mp_dtype)type, n, (row_kind)(i % ROW_KINDS));
            for (int isa = 0; mp_kern_at(isa); isa++)
                dot_check(mp_kern_at(isa), &c);
            dot_close(&c);
        }
    }
}

/* Rows of floats need not be multiples of anything. */
TEST(float_products_of_any_length)
{
    static const mp_dtype types[] = { MP_F32, MP_F16, MP_BF16 };
    for (int i = 0; i < 3 * 150; i++) {
        dot_case c = dot_open(types[i % 3], 1 + i / 3, ROW_RANDOM);
        for (int isa = 0; mp_kern_at(isa); isa++)
            dot_check(mp_kern_at(isa), &c);
        dot_close(&c);
    }
}

/* The reference itself, against products of the decoded weights in double. */
TEST(reference_products_are_right)
{
    for (int type = 0; type < MP_DTYPE_COUNT; type++) {
        const mp_kern *k = mp_kern_at(0);
        if (!k->dot[type])
            continue;
        dot_case c = dot_open((mp_dtype)type, 1536, ROW_RANDOM);
        float    w[1536], got;
        double   want = 0;
        mp_q8    x = mp_q8_at(c.x.p, c.n);
        k->dequant[type](w, c.row.p, c.n);
        for (int64_t i = 0; i < c.n; i++)
            want += (double)w[i] * (mp_dtype_get((mp_dtype)type)->quantized ? (double)x.d[i / 16] * x.q[i] : (double)((float *)(void *)c.x.p)[i]);
        k->dot[type](&got, c.row.p, c.x.p, c.x_stride, c.n, 1);
        CHECK_NEAR(got, want, tolerance(&c, 0));
        dot_close(&c);
    }
}

/* A NaN among the scales or the activations must come out, whatever stands beside it. */
TEST(nan_shows)
{
    for (int isa = 0; mp_kern_at(isa); isa++) {
        for (int type = 0; type < MP_DTYPE_COUNT; type++) {
            const mp_kern *k = mp_kern_at(isa);
            if (!k->dot[type] || !mp_dtype_get((mp_dtype)type)->quantized)
                continue;
            dot_case c = dot_open((mp_dtype)type, 512, ROW_RANDOM);
            float    out[MP_DOT_TOK], nan = NAN;
            memcpy(c.x.p + c.x_stride + 4 * 5, &nan, 4); /* a scale of token 1 */
            k->dot[type](out, c.row.p, c.x.p, c.x_stride, c.n, MP_DOT_TOK);
            expect(isnan(out[1]) && !isnan(out[0]) && !isnan(out[2]) && !isnan(out[3]), k->name, "NaN", mp_dtype_get((mp_dtype)type)->name, c.n);
            dot_close(&c);
        }
    }
}

/* ---- decoding ---- */

/* Exact in every instruction set (see num/ref/ref.h), also at odd addresses. */
TEST(decoders_match_bit_for_bit)
{
    for (int type = 0; type < MP_DTYPE_COUNT; type++) {
        for (int i = 0; i < LENGTHS * ROW_KINDS; i++) {
            int64_t n = lengths[i / ROW_KINDS];
            if (!mp_kern_at(0)->dequant[type] || n % mp_dtype_get((mp_dtype)type)->block_len)
                continue;
            size_t bytes = mp_dtype_row_bytes((mp_dtype)type, n);
            guard  row = guard_open(bytes), odd = guard_open(bytes + 1), want_at, got_at;
            float *want = floats(&want_at, n), *got = floats(&got_at, n);
            row_fill((mp_dtype)type, row.p, n, (row_kind)(i % ROW_KINDS));
            memcpy(odd.p, row.p, bytes);
            mp_kern_at(0)->dequant[type](want, row.p, n);
            for (int isa = 0; mp_kern_at(isa); isa++) {
                const mp_kern *k = mp_kern_at(isa);
                k->dequant[type](got, row.p, n);
                expect(same(got, want, n) && guard_ok(&got_at), k->name, "dequant", mp_dtype_get((mp_dtype)type)->name, n);
                k->dequant[type](got, odd.p, n);
                expect(same(got, want, n), k->name, "dequant at another address", mp_dtype_get((mp_dtype)type)->name, n);
            }
            guard_close(&row), guard_close(&odd), guard_close(&want_at), guard_close(&got_at);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench_all();
    RUN(products_match_the_reference);
    RUN(float_products_of_any_length);
    RUN(reference_products_are_right);
    RUN(nan_shows);
    RUN(decoders_match_bit_for_bit);
    return test_done();
}
