/* The kernels over floats: vectors and the quantization of activations bit for bit with the reference. */
#include "kern_data.h"

static float *floats(guard *g, int64_t n)
{
    *g = guard_open((size_t)n * sizeof(float));
    return (float *)(void *)g->p;
}

static void expect(bool ok, const char *isa, const char *what, int64_t n)
{
    if (!ok)
        printf("  %s %s n=%lld\n", isa, what, (long long)n);
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

typedef enum data_kind { ORDINARY, ZEROS, WIDE, SUBNORMAL, TIES, WITH_NAN, WITH_INF, DATA_KINDS } data_kind;

/* WIDE: every exponent that a float has. TIES: halves of the step that 127 gives, where rounding must go to even. */
static void fill(float *x, int64_t n, data_kind kind)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = rng() & 0x807fffff, exponent = kind == SUBNORMAL ? 0 : rng() % 255;
        bits |= exponent << 23;
        memcpy(x + i, &bits, 4);
        if (kind == ORDINARY || kind == WITH_NAN || kind == WITH_INF)
            x[i] = rng_float() * 4;
        else if (kind == ZEROS)
            x[i] = i & 1 ? -0.0f : 0.0f;
        else if (kind == TIES)
            x[i] = i % 32 == 7 ? 127.0f : (float)(int)(rng() % 252) - 126.0f + 0.5f;
    }
    if (n > 0 && kind >= WITH_NAN)
        x[rng() % (uint64_t)n] = kind == WITH_NAN ? NAN : rng() & 1 ? INFINITY : -INFINITY;
}

static int64_t length(int i) /* every tail, then long ones */
{
    static const int64_t more[] = { 100, 255, 256, 1000, 2048, 4097 };
    return i < 70 ? i : more[i - 70];
}
enum { LENGTHS = 76 };

/* Turns the codes, and takes them back by the header's words. */
static void straighten(const mp_kern *k, mp_q8 *q)
{
    if (!k->turn_q8)
        return;
    k->turn_q8(q, 256);
    mp_q8 from = *q;
    for (int i = 0; i < 256; i++)
        q->q[i] = from.q[i / 4 % 8 * 32 + i / 32 * 4 + i % 4];
}

static bool same_q8(const mp_q8 *a, const mp_q8 *b)
{
    return same(a->d, b->d, 8) && same(a->s, b->s, 8) && !memcmp(a->a, b->a, sizeof a->a) && !memcmp(a->a16, b->a16, sizeof a->a16) && !memcmp(a->q, b->q, sizeof a->q);
}

TEST(activations_quantize_to_the_same_bits)
{
    for (int i = 1; i < LENGTHS * DATA_KINDS; i++) {
        int64_t n = length(i / DATA_KINDS), supers = (n + 255) / 256;
        guard   xg, wg = guard_open(mp_q8_bytes(n));
        float  *x = floats(&xg, n);
        mp_q8  *want = (mp_q8 *)(void *)wg.p;
        fill(x, n, (data_kind)(i % DATA_KINDS));
        mp_kern_at(0)->quantize_q8(want, x, n);
        for (int isa = 1; mp_kern_at(isa); isa++) {
            guard  g = guard_open(mp_q8_bytes(n));
            mp_q8 *got = (mp_q8 *)(void *)g.p;
            mp_kern_at(isa)->quantize_q8(got, x, n);
            for (int64_t s = 0; s < supers; s++) {
                straighten(mp_kern_at(isa), got + s);
                expect(same_q8(got + s, want + s) && guard_ok(&g), mp_kern_at(isa)->name, "quantize_q8", n);
            }
            guard_close(&g);
        }
        guard_close(&xg), guard_close(&wg);
    }
}

/* What the header promises of the reference: scale amax / 127, half a step of error at most, padding of zeros, NaN that shows. */
TEST(quantization_keeps_its_promise)
{
    float x[100];
    mp_q8 v;
    fill(x, 100, ORDINARY);
    x[40] = INFINITY;
    mp_kern_at(0)->quantize_q8(&v, x, 100);
    CHECK_EQ(mp_q8_bytes(100), sizeof v);
    CHECK_EQ(mp_q8_bytes(257), 2 * sizeof v);
    for (int b = 0; b < 8; b++) {
        float amax = 0;
        int   sum[2] = { 0 };
        for (int i = b * 32; i < b * 32 + 32; i++) {
            amax = i < 100 && fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
            sum[i / 16 % 2] += v.q[i];
            if (i >= 100)
                CHECK_EQ(v.q[i], 0);
            else if (b != 1)
                CHECK_NEAR(v.d[b] * v.q[i], x[i], v.d[b] * 0.5001f);
        }
        CHECK(v.a16[0][b] == -128 * sum[0] && v.a16[1][b] == -128 * sum[1] && v.a[b] == -128 * (sum[0] + sum[1]));
        if (b == 1)
            CHECK(isnan(v.d[b]) && isnan(v.s[b]) && v.a[b] == 0);
        else
            CHECK(v.d[b] == amax / 127.0f && v.s[b] == v.d[b] * (float)(sum[0] + sum[1]));
    }
}

typedef struct vectors {
    guard  ag, bg, dg;
    float *a, *b, *dst; /* dst starts as a third vector */
} vectors;

static vectors vectors_open(int64_t n, data_kind kind, uint64_t seed)
{
    vectors v;
    rng_state = seed;
    v.a = floats(&v.ag, n), v.b = floats(&v.bg, n), v.dst = floats(&v.dg, n);
    fill(v.a, n, kind), fill(v.b, n, kind), fill(v.dst, n, kind);
    return v;
}

static void vectors_close(vectors *v)
{
    guard_close(&v->ag), guard_close(&v->bg), guard_close(&v->dg);
}

enum { OPS = 10 };
static const char *const op_names[OPS] = { "sum_sq", "max", "scale_mul", "scale_mul without w", "add", "axpy", "silu_mul", "exp_sum", "to_f16", "in place" };

/* Runs operation `op`; its scalar result, or 0. */
static float apply(const mp_kern *k, int op, vectors *v, int64_t n)
{
    switch (op) {
    case 0: return k->sum_sq(v->a, n);
    case 1: return k->max(v->a, n);
    case 2: k->scale_mul(v->dst, v->a, 1.7f, v->b, n); return 0;
    case 3: k->scale_mul(v->dst, v->a, -0.3f, NULL, n); return 0;
    case 4: k->add(v->dst, v->a, v->b, n); return 0;
    case 5: k->axpy(v->dst, -1.3f, v->a, n); return 0;
    case 6: k->silu_mul(v->dst, v->a, v->b, n); return 0;
    case 7: return k->exp_sum(v->dst, v->a, 2.5f, n);
    case 8: k->to_f16((unsigned char *)v->dst + 2 * n, v->a, n); return 0; /* the upper half: ends at the guard page */
    default: k->silu_mul(v->a, v->a, v->b, n); k->add(v->b, v->a, v->b, n); return k->exp_sum(v->dst, v->dst, 0, n);
    }
}

TEST(vectors_match_bit_for_bit)
{
    for (int i = 0; i < LENGTHS * DATA_KINDS * OPS; i++) {
        int     op = i % OPS;
        int64_t n = length(i / OPS / DATA_KINDS);
        data_kind kind = (data_kind)(i / OPS % DATA_KINDS);
        vectors want = vectors_open(n, kind, 1 + (uint64_t)i);
        float   scalar = apply(mp_kern_at(0), op, &want, n);
        for (int isa = 1; mp_kern_at(isa); isa++) {
            vectors got = vectors_open(n, kind, 1 + (uint64_t)i);
            float   s = apply(mp_kern_at(isa), op, &got, n);
            bool    ok = (op == 1 ? s == scalar : same(&s, &scalar, 1)) && same(got.a, want.a, n) && same(got.b, want.b, n);
            /* Of zeros, max may take either sign. Halves are compared as bytes: their NaNs are made the same way. */
            ok = ok && (op == 8 ? !memcmp(got.dst, want.dst, (size_t)n * 4) : same(got.dst, want.dst, n));
            expect(ok && guard_ok(&got.dg) && guard_ok(&got.ag), mp_kern_at(isa)->name, op_names[op], n);
            vectors_close(&got);
        }
        vectors_close(&want);
    }
}

/* Every 4099th float there is, then four million evenly over the range where exp is a number: so many, because a coefficient that is off by its
 * last place changes one result in 100,000. */
TEST(exp_matches_bit_for_bit)
{
    enum { N = 2048, SPARSE = 512, DENSE = 2048 };
    float x[N], want[N], got[N];
    int wrong = 0;
    for (uint32_t round = 0; round < SPARSE + DENSE; round++) {
        for (uint32_t i = 0; i < N; i++) {
            uint32_t k = round * N + i, bits = k * 4099;
            x[i] = -104.0f + (float)(k - SPARSE * N) * (193.0f / (DENSE * N));
            if (round < SPARSE)
                memcpy(x + i, &bits, 4);
        }
        mp_kern_at(0)->exp_sum(want, x, 0, N);
        for (int isa = 1; mp_kern_at(isa); isa++) {
            mp_kern_at(isa)->exp_sum(got, x, 0, N);
            wrong += !same(got, want, N);
        }
    }
    CHECK_EQ(wrong, 0);
}

/* The reference itself, by other means. */
TEST(reference_vectors_are_right)
{
    const mp_kern *k = mp_kern_at(0);
    enum { N = 1000 };
    static float x[N], y[N], dst[N];
    double sum = 0, exps = 0;
    float  largest = -INFINITY;
    fill(x, N, ORDINARY), fill(y, N, ORDINARY);
    for (int i = 0; i < N; i++) {
        sum += (double)x[i] * x[i];
        exps += exp((double)x[i] - 4);
        largest = fmaxf(largest, x[i]);
    }
    CHECK_NEAR(k->sum_sq(x, N), sum, sum * 1e-5);
    CHECK(k->max(x, N) == largest);
    CHECK(k->max(x, 0) == -INFINITY);
    CHECK_NEAR(k->exp_sum(dst, x, 4, N), exps, exps * 1e-5);
    k->silu_mul(dst, x, y, N);
    for (int i = 0; i < N; i++)
        CHECK_NEAR(dst[i], (double)x[i] / (1 + exp(-(double)x[i])) * y[i], 2e-6);
}

int main(void)
{
    RUN(activations_quantize_to_the_same_bits);
    RUN(quantization_keeps_its_promise);
    RUN(vectors_match_bit_for_bit);
    RUN(exp_matches_bit_for_bit);
    RUN(reference_vectors_are_right);
    return test_done();
}
