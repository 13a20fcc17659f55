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

enum { TOKENS = 4 };

typedef struct dot_case {
    mp_dtype type;
    int64_t  n;
    guard    row;
    float   *x[TOKENS];
    double   magnitude[TOKENS]; /* bound of the sum of |terms| */
} dot_case;

static unsigned char scratch[MP_MM_SCRATCH] __attribute__((aligned(64)));

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
    c.row = guard_open(mp_dtype_row_bytes(type, n));
    row_fill(type, c.row.p, n, kind);
    for (int t = 0; t < TOKENS; t++) {
        c.x[t] = malloc((size_t)n * sizeof(float));
        fill(c.x[t], n, kind == ROW_HUGE ? 10.0f : 1.0f);
        for (int64_t i = 0; t == TOKENS - 1 && (kind == ROW_ONES || kind == ROW_LOW) && i < n; i++)
            c.x[t][i] = 1.0f; /* the largest codes of both */
        measure(&c, t, c.x[t]);
    }
    return c;
}

static void dot_close(dot_case *c)
{
    guard_close(&c->row);
    for (int t = 0; t < TOKENS; t++)
        free(c->x[t]);
}

/* Tokens as the table's products want them, up to the end of mapped memory. */
static guard tokens_of(const mp_kern *k, mp_dtype type, float *const *x, int64_t n, int tok, size_t *stride)
{
    bool q8 = mp_dtype_get(type)->quantized;
    *stride = q8 ? mp_q8_bytes(n) : (size_t)n * sizeof(float);
    guard g = guard_open(*stride * (size_t)tok);
    for (int t = 0; t < tok; t++) {
        mp_q8 *q = (mp_q8 *)(void *)(g.p + *stride * (size_t)t);
        if (q8)
            k->quantize_q8(q, x[t], n);
        if (q8 && tok > 1 && k->turn_q8)
            k->turn_q8(q, n);
        if (!q8)
            memcpy(g.p + *stride * (size_t)t, x[t], *stride);
    }
    return g;
}

/* One row; tok < 0: a token that was turned with others. */
static void dot(const mp_kern *k, const dot_case *c, float *out, const void *x, size_t stride, int tok)
{
    bool  turned = tok < 0 || tok > 1;
    mp_mm m = { .w = c->row.p, .row_bytes = mp_dtype_row_bytes(c->type, c->n), .rows = 1, .n = c->n, .x = x, .x_stride = stride,
                .out = out, .out_stride = 1, .tok = abs(tok), .turned = turned, .scratch = scratch };
    mp_kern_mm(k, c->type, &m);
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
    size_t      stride, ref_stride;
    guard       x = tokens_of(k, c->type, c->x, c->n, TOKENS, &stride), ref = tokens_of(mp_kern_at(0), c->type, c->x, c->n, TOKENS, &ref_stride);
    float       one[TOKENS], want[TOKENS];
    const char *name = mp_dtype_get(c->type)->name;
    dot(mp_kern_at(0), c, want, ref.p, ref_stride, TOKENS);
    for (int t = 0; t < TOKENS; t++) {
        guard alone = tokens_of(k, c->type, c->x + t, c->n, 1, &stride);
        float turned;
        dot(k, c, one + t, alone.p, stride, 1);
        dot(k, c, &turned, x.p + stride * (size_t)t, stride, -1);
        expect(same(&turned, one + t, 1), k->name, "dot: one token, turned", name, c->n);
        guard_close(&alone);
        bool near = fabs((double)one[t] - (double)want[t]) <= tolerance(c, t);
        if (!near)
            printf("  %.9g, reference %.9g, tolerance %.3g\n", (double)one[t], (double)want[t], tolerance(c, t));
        expect(near, k->name, "dot", name, c->n);
    }
    for (int tok = 2; tok <= TOKENS; tok++) {
        guard g;
        float *few = floats(&g, tok);
        dot(k, c, few, x.p, stride, tok);
        expect(same(few, one, tok) && guard_ok(&g), k->name, "dot: a token's result depends on its company", name, c->n);
        guard_close(&g);
    }
    size_t   bytes = mp_dtype_row_bytes(c->type, c->n);
    guard    odd = guard_open(bytes + 1);
    dot_case moved = *c;
    float    all[TOKENS], first;
    memcpy(odd.p, c->row.p, bytes);
    moved.row = odd;
    dot(k, &moved, all, x.p, stride, TOKENS);
    dot(k, &moved, &first, x.p, stride, -1);
    expect(same(all, one, TOKENS) && same(&first, one, 1), k->name, "dot at another address", name, c->n);
    guard_close(&x), guard_close(&ref), guard_close(&odd);
}

TEST(products_match_the_reference)
{
    for (int type = 0; type < MP_DTYPE_COUNT; type++) {
        for (int i = 0; i < LENGTHS * ROW_KINDS; i++) {
            int64_t n = lengths[i / ROW_KINDS];
            if (!mp_kern_has_mm(mp_kern_at(0), (mp_dtype)type) || n % mp_dtype_get((mp_dtype)type)->block_len)
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
        if (!mp_kern_has_mm(k, (mp_dtype)type))
            continue;
        dot_case c = dot_open((mp_dtype)type, 1536, ROW_RANDOM);
        float    w[1536], got;
        double   want = 0;
        size_t   stride;
        guard    g = tokens_of(k, c.type, c.x, c.n, 1, &stride);
        mp_q8   *q8 = (mp_q8 *)(void *)g.p;
        k->dequant[type](w, c.row.p, c.n);
        for (int64_t i = 0; i < c.n; i++)
            want += (double)w[i] * (mp_dtype_get((mp_dtype)type)->quantized ? (double)q8[i / 256].d[i % 256 / 32] * q8[i / 256].q[i % 256] : (double)c.x[0][i]);
        dot(k, &c, &got, g.p, stride, 1);
        CHECK_NEAR(got, want, tolerance(&c, 0));
        guard_close(&g);
        dot_close(&c);
    }
}

/* ---- many rows and tokens ---- */

enum { MANY_ROWS = 37, MANY_TOK = 134, OUT_STRIDE = MANY_ROWS + 3 };

/* Row by row and token by token is what whole products must give, bit for bit, wherever tokens and results lie. */
static void many_check(const mp_kern *k, mp_dtype type, int64_t n, int rows, int tok)
{
    const row_kind kind = tok == 8 ? ROW_ONES : tok == 5 ? ROW_LOW : ROW_RANDOM; /* the largest codes: then tokens 0, 3, ... have them too */
    size_t row_bytes = mp_dtype_row_bytes(type, n), stride;
    guard  w = guard_open(row_bytes * (size_t)rows), out = guard_open(sizeof(float) * OUT_STRIDE * (size_t)tok);
    float *x[MANY_TOK], *got = (float *)(void *)out.p, one;
    int32_t x_row[MANY_TOK], out_row[MANY_TOK];
    row_fill(type, w.p, n * rows, kind);
    for (int t = 0; t < tok; t++) {
        x[t] = malloc((size_t)n * sizeof(float));
        fill(x[t], n, 1.0f);
        for (int64_t i = 0; kind != ROW_RANDOM && t % 3 == 0 && i < n; i++)
            x[t][i] = 1.0f;
        x_row[t] = (tok - 1 - t) * 3 + t % 3; /* of the token before, twice over */
        out_row[t] = (t + 1) % tok;
    }
    guard q = tokens_of(k, type, x, n, tok, &stride);
    mp_mm m = { .w = w.p, .row_bytes = row_bytes, .rows = rows, .n = n, .x = q.p, .x_stride = stride, .x_row = x_row, .x_div = 3, .out = got,
                .out_stride = OUT_STRIDE, .out_row = out_row, .tok = tok, .turned = tok > 1, .stream = tok % 2 == 0, .next = w.p, .scratch = scratch };
    memset(out.p, 0xee, sizeof(float) * OUT_STRIDE * (size_t)tok);
    mp_kern_mm(k, type, &m);
    for (int t = 0; t < tok; t++) {
        float *y = got + out_row[t] * OUT_STRIDE;
        for (int r = 0; r < rows; r++) {
            mp_mm single = { .w = w.p + row_bytes * (size_t)r, .row_bytes = row_bytes, .rows = 1, .n = n, .x = q.p + stride * (size_t)(tok - 1 - t),
                             .x_stride = stride, .out = &one, .out_stride = 1, .tok = 1, .turned = tok > 1, .alone = t % 2, .scratch = scratch };
            mp_kern_mm(k, type, &single);
            expect(same(&one, y + r, 1), k->name, "many rows and tokens", mp_dtype_get(type)->name, n);
        }
        for (int r = rows; r < OUT_STRIDE; r++)
            expect(memcmp(y + r, "\xee\xee\xee\xee", 4) == 0, k->name, "written past the rows", mp_dtype_get(type)->name, n);
        free(x[t]);
    }
    expect(guard_ok(&out), k->name, "written before the results", mp_dtype_get(type)->name, n);
    guard_close(&w), guard_close(&out), guard_close(&q);
}

TEST(many_rows_and_tokens)
{
    static const int shapes[][2] = { { 1, 7 }, { 2, 1 }, { 15, 2 }, { 16, 3 }, { 17, 5 }, { 37, 8 }, { 3, 10 }, { 33, MANY_TOK } };
    static const int64_t many_lengths[] = { 32, 288, 512, 768, 2304, 4352 };
    for (int type = 0; type < MP_DTYPE_COUNT; type++) {
        if (!mp_kern_has_mm(mp_kern_at(0), (mp_dtype)type))
            continue;
        for (int i = 0; i < 8 * 6; i++) {
            int64_t n = many_lengths[i % 6];
            if (n % mp_dtype_get((mp_dtype)type)->block_len == 0)
                for (int isa = n > 512 ? 1 : 0; mp_kern_at(isa); isa++) /* the reference is slow, and has no tiles */
                    many_check(mp_kern_at(isa), (mp_dtype)type, n, shapes[i / 6][0], shapes[i / 6][1]);
        }
    }
}

/* A NaN among the scales or the activations must come out, whatever stands beside it. */
TEST(nan_shows)
{
    for (int isa = 0; mp_kern_at(isa); isa++) {
        for (int type = 0; type < MP_DTYPE_COUNT; type++) {
            const mp_kern *k = mp_kern_at(isa);
            if (!mp_kern_has_mm(k, (mp_dtype)type) || !mp_dtype_get((mp_dtype)type)->quantized)
                continue;
            dot_case c = dot_open((mp_dtype)type, 512, ROW_RANDOM);
            float    out[TOKENS];
            size_t   stride;
            c.x[1][37] = NAN;
            guard    g = tokens_of(k, c.type, c.x, c.n, TOKENS, &stride);
            dot(k, &c, out, g.p, stride, TOKENS);
            expect(isnan(out[1]) && !isnan(out[0]) && !isnan(out[2]) && !isnan(out[3]), k->name, "NaN", mp_dtype_get((mp_dtype)type)->name, c.n);
            guard_close(&g);
            dot_close(&c);
        }
    }
}

/* A damaged scale must come out too, in every row that has it and in no other, so that the logits tell (the sampler refuses them). */
TEST(infinite_scales_show)
{
    enum { ROWS = 3, TOK = 5, N = 512 };
    for (int type = 0; type < MP_DTYPE_COUNT; type++) {
        int    first, second;
        size_t row_bytes = mp_dtype_row_bytes((mp_dtype)type, N), stride;
        row_halves((mp_dtype)type, &first, &second);
        if (first < 0)
            continue;
        dot_case c = dot_open((mp_dtype)type, ROWS * N, ROW_RANDOM);
        put_half(c.row.p + row_bytes + first, type % 2 ? INFINITY : -INFINITY);
        for (int isa = 0; mp_kern_at(isa); isa++) {
            const mp_kern *k = mp_kern_at(isa);
            for (int tok = 1; tok <= TOK; tok += TOK - 1) {
                float *x[TOK] = { c.x[0], c.x[1], c.x[2], c.x[3], c.x[0] }, out[TOK * ROWS];
                guard  g = tokens_of(k, c.type, x, N, tok, &stride);
                mp_mm  m = { .w = c.row.p, .row_bytes = row_bytes, .rows = ROWS, .n = N, .x = g.p, .x_stride = stride, .out = out, .out_stride = ROWS,
                             .tok = tok, .turned = tok > 1, .scratch = scratch };
                mp_kern_mm(k, c.type, &m);
                for (int i = 0; i < tok * ROWS; i++)
                    expect(isfinite(out[i]) == (i % ROWS != 1), k->name, "infinite scale", mp_dtype_get(c.type)->name, N);
                guard_close(&g);
            }
        }
        dot_close(&c);
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
    RUN(many_rows_and_tokens);
    RUN(reference_products_are_right);
    RUN(nan_shows);
    RUN(infinite_scales_show);
    RUN(decoders_match_bit_for_bit);
    return test_done();
}
