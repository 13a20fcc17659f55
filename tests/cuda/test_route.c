/* The router on the CUDA device against the CPU's. Exponentials good to 2^-21 and sums of up to 512 of them in another order: probabilities and weights differ
 * by at most 2^-18 of themselves. Ids are the same wherever the probabilities chosen from lie further apart than that; equal logits have equal
 * probabilities on both, so ties are compared strictly. */
#include "both.h"

static const double tolerance = 0x1p-18;
static both b;

typedef struct shape {
    int64_t tok, experts;
    int     k;
    bool    renorm;
    float   range, scale;
} shape;

static const shape shapes[] = {
    { 1, 128, 8, true, 3.0f, 1.0f },  { 9, 64, 6, false, 2.0f, 1.0f },   { 7, 8, 2, true, 5.0f, 2.5f },    { 3, 8, 8, true, 1.0f, 1.0f },
    { 33, 60, 4, false, 4.0f, 1.0f }, { 2, 512, 10, true, 2.0f, 1.0f },  { 5, 256, 8, true, 90.0f, 2.5f }, { 4, 1, 1, true, 1.0f, 1.0f },
    { 2, 33, 32, true, 1.0f, 1.0f },  { 6, 511, 16, true, 1e-3f, 1.0f }, { 3, 16, 16, false, 1e5f, 1.0f },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static mp_op op_of(const shape *s, float *x)
{
    mp_op op = { .kind = MP_OP_ROUTE, .n_out = 3, .u.route = { s->k, s->renorm, s->scale } };
    op.in[0] = mp_tensor_2d(x, MP_F32, s->tok, s->experts);
    op.out[0] = mp_tensor_2d(NULL, MP_I32, s->tok, s->k);
    op.out[1] = mp_tensor_2d(NULL, MP_F32, s->tok, s->k);
    op.out[2] = mp_tensor_2d(NULL, MP_F32, s->tok, s->experts);
    return op;
}

/* Is a's share of itself that b lies away small? Below 1e-35 floats have fewer bits, or none on a GPU. */
static bool close_to(double a, double c)
{
    return fabs(a - c) <= tolerance * fabs(a) + 1e-35;
}

static void check_token(const shape *s, int64_t t, bool strict)
{
    const int32_t *want = (int32_t *)b.want[0] + t * s->k, *got = (int32_t *)b.got[0] + t * s->k;
    const float *w = (float *)b.want[1] + t * s->k, *v = (float *)b.got[1] + t * s->k, *p = (float *)b.want[2] + t * s->experts, *q = (float *)b.got[2] + t * s->experts;
    bool seen[512] = { 0 };
    for (int64_t e = 0; e < s->experts; e++)
        CHECK(close_to((double)p[e], (double)q[e]));
    for (int j = 0; j < s->k; j++) {
        CHECK(close_to((double)w[j], (double)v[j]));
        CHECK(j == 0 || v[j] <= v[j - 1]);
        REQUIRE(got[j] >= 0 && got[j] < s->experts && !seen[got[j]]);
        seen[got[j]] = true;
        CHECK(got[j] == want[j] || (!strict && close_to((double)p[got[j]], (double)p[want[j]])));
    }
}

TEST(random_logits)
{
    int other = 0;
    for (int i = 0; i < SHAPES; i++) {
        float *x = both_floats(shapes[i].tok * shapes[i].experts, shapes[i].range);
        mp_op op = op_of(&shapes[i], x);
        CHECK(both_run(&b, &op));
        for (int64_t t = 0; t < shapes[i].tok; t++) {
            check_token(&shapes[i], t, false);
            other += memcmp((int32_t *)b.want[0] + t * shapes[i].k, (int32_t *)b.got[0] + t * shapes[i].k, (size_t)shapes[i].k * 4) != 0;
        }
        free(x);
    }
    CHECK(other <= 2); /* neighbours closer than the tolerance are rare */
}

static float tied(int kind, int64_t i, int64_t expert, int64_t experts)
{
    switch (kind) {
    case 0: return 1.25f;
    case 1: return (float)(i * 7 % 5);
    case 2: return i % 3 ? 2.0f : 9.0f;
    case 3: return i % 2 ? 0.0f : -0.0f;
    default: return expert == experts / 2 ? 0.0f : -INFINITY;
    }
}

/* All equal, equal in groups, two values, zeros of both signs, all but one infinitely small. */
TEST(ties_go_to_the_lower_index)
{
    for (int i = 0; i < SHAPES; i++)
        for (int kind = 0; kind < 5; kind++) {
            int64_t n = shapes[i].tok * shapes[i].experts;
            float *x = both_floats(n, 1.0f);
            for (int64_t e = 0; e < n; e++)
                x[e] = tied(kind, e, e % shapes[i].experts, shapes[i].experts);
            mp_op op = op_of(&shapes[i], x);
            CHECK(both_run(&b, &op));
            for (int64_t t = 0; t < shapes[i].tok; t++)
                check_token(&shapes[i], t, true);
            free(x);
        }
}

TEST(company_changes_nothing)
{
    for (int i = 0; i < SHAPES; i++) {
        shape s = shapes[i];
        float *x = both_floats(s.tok * s.experts, s.range);
        mp_op op = op_of(&s, x);
        CHECK(both_run(&b, &op));
        void *all[3] = { b.got[0], b.got[1], b.got[2] };
        size_t row[3] = { (size_t)s.k * 4, (size_t)s.k * 4, (size_t)s.experts * 4 };
        int64_t t = s.tok - 1;
        memset(b.got, 0, sizeof b.got);
        s.tok = 1;
        op = op_of(&s, x + t * s.experts);
        CHECK(both_run(&b, &op));
        for (int k = 0; k < 3; k++) {
            CHECK(!memcmp((char *)all[k] + (size_t)t * row[k], b.got[k], row[k]));
            free(all[k]);
        }
        free(x);
    }
}

/* A token whose logits are NaN gets ids that exist, each once, and does not touch others. */
TEST(nan_is_no_wild_id)
{
    shape s = shapes[4];
    float *x = both_floats(s.tok * s.experts, 1.0f);
    for (int64_t e = 0; e < s.experts; e++)
        x[e] = NAN, x[2 * s.experts + e] = e == 3 ? NAN : x[2 * s.experts + e];
    mp_op op = op_of(&s, x);
    CHECK(both_run(&b, &op));
    for (int64_t t = 0; t < s.tok; t++) {
        const int32_t *got = (int32_t *)b.got[0] + t * s.k;
        bool seen[512] = { 0 };
        if (t != 0 && t != 2)
            check_token(&s, t, false);
        for (int j = 0; j < s.k; j++) {
            REQUIRE(got[j] >= 0 && got[j] < s.experts && !seen[got[j]]);
            seen[got[j]] = true;
        }
        CHECK(isnan(((float *)b.got[1])[t * s.k]) == (t == 0 || t == 2));
    }
    free(x);
}

TEST(too_large_is_an_error)
{
    shape s = { 1, 513, 4, true, 1.0f, 1.0f };
    float *x = both_floats(s.experts, 1.0f);
    mp_op op = op_of(&s, x), gpu = op;
    both_forget(&b);
    gpu.in[0] = both_twin(&b, &op.in[0]);
    CHECK_EQ(mp_dev_run(b.gpu, &gpu), MP_E_FAILED);
    free(x);
}

int main(void)
{
    if (!both_open(&b))
        return both_skipped();
    RUN(random_logits);
    RUN(ties_go_to_the_lower_index);
    RUN(company_changes_nothing);
    RUN(nan_is_no_wild_id);
    RUN(too_large_is_an_error);
    both_close(&b);
    return test_done();
}
