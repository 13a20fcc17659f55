/* Halves, bfloat16 and exp, against other formulas. */
#include <math.h>

#include "num/kern.h"
#include "test.h"

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* The value that the definition of binary16 gives: fraction x power of two, in double. */
static double half_value(uint16_t h)
{
    int exponent = (h >> 10) & 31, fraction = h & 0x3ff;
    double v = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return h & 0x8000 ? -v : v;
}

TEST(every_half_to_float)
{
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        float f = mp_f16_to_f32(h);
        if ((h & 0x7c00) != 0x7c00) {
            CHECK(bits_of(f) == bits_of((float)half_value(h)));
            CHECK_EQ(mp_f16_from_f32(f), h);
        } else if (h & 0x3ff) {
            CHECK(isnan(f));
            CHECK_EQ(mp_f16_from_f32(f), h | 0x200); /* quiet, with sign and payload */
        } else {
            CHECK(isinf(f) && (signbit(f) != 0) == (h >> 15));
            CHECK_EQ(mp_f16_from_f32(f), h);
        }
    }
}

/* Between each half and the next: the middle goes to the even one, one float above and below it to the nearer one. */
TEST(rounding_to_half)
{
    for (uint32_t i = 0; i < 0x7bff; i++) {
        uint16_t low = (uint16_t)i, high = (uint16_t)(i + 1), even = i & 1 ? high : low;
        float middle = (float)((half_value(low) + half_value(high)) / 2);
        CHECK_EQ(mp_f16_from_f32(middle), even);
        CHECK_EQ(mp_f16_from_f32(nextafterf(middle, 1e30f)), high);
        CHECK_EQ(mp_f16_from_f32(nextafterf(middle, -1e30f)), low);
        CHECK_EQ(mp_f16_from_f32(-middle), even | 0x8000);
    }
    CHECK_EQ(mp_f16_from_f32(65519.996f), 0x7bff);
    CHECK_EQ(mp_f16_from_f32(65520.0f), 0x7c00);
    CHECK_EQ(mp_f16_from_f32(3e38f), 0x7c00);
    CHECK_EQ(mp_f16_from_f32(-INFINITY), 0xfc00);
    CHECK_EQ(mp_f16_from_f32(1e-45f), 0);
}

TEST(bf16)
{
    CHECK(mp_bf16_to_f32(0x3f80) == 1.0f);
    CHECK(mp_bf16_to_f32(0xc0a0) == -5.0f);
    CHECK(bits_of(mp_bf16_to_f32(0x7fc0)) == 0x7fc00000);
}

/* Every 4099th float between the places where the result leaves the normal numbers, against long double. */
TEST(exp_is_accurate)
{
    double worst = 0;
    for (uint64_t u = 0; u < (uint64_t)1 << 32; u += 4099) {
        float x = float_of((uint32_t)u);
        if (!(x > -87.3f && x < 88.7f))
            continue;
        long double want = expl(x);
        worst = fmax(worst, (double)fabsl((mp_expf(x) - want) / want));
    }
    printf("  largest relative error of mp_expf: %.3g\n", worst);
    CHECK(worst < 2e-7);
    CHECK(worst > 1e-9); /* a float cannot do better: the loop really ran */
}

/* Below the normal numbers: within one step of 2^-149. Above them: infinity. */
TEST(exp_at_the_edges)
{
    for (float x = -87.3f; x > -110.0f; x -= 0.0071f)
        CHECK(fabsl(mp_expf(x) - expl(x)) <= 0x1p-149L);
    CHECK(mp_expf(-INFINITY) == 0 && mp_expf(-1e30f) == 0 && mp_expf(-104.5f) == 0);
    CHECK(mp_expf(88.72f) < INFINITY && mp_expf(88.72f) > 3.3e38f);
    CHECK(mp_expf(88.73f) == INFINITY && mp_expf(1e30f) == INFINITY && mp_expf(INFINITY) == INFINITY);
    CHECK(isnan(mp_expf(NAN)) && isnan(mp_expf(-NAN)));
    CHECK(mp_expf(0.0f) == 1.0f && mp_expf(-0.0f) == 1.0f && mp_expf(1e-40f) == 1.0f);
}

TEST(tables_of_kernels)
{
    CHECK(mp_kern_get("ref") == mp_kern_at(0));
    CHECK(mp_kern_get("sse9") == NULL);
    CHECK(mp_kern_at(-1) == NULL && mp_kern_at(99) == NULL);
    int count = 0;
    for (; mp_kern_at(count); count++) {
        const mp_kern *k = mp_kern_at(count);
        CHECK(mp_kern_get(k->name) == k);
        for (int type = 0; type < MP_DTYPE_COUNT; type++)
            CHECK(mp_kern_has_mm(k, (mp_dtype)type) == (type != MP_I32) && (k->dequant[type] != NULL) == (type != MP_I32));
        CHECK(k->quantize_q8 && k->sum_sq && k->max && k->scale_mul && k->add && k->axpy && k->silu_mul && k->exp_sum && k->to_f16);
        CHECK(k->attn_score_f16 && k->attn_score_f32 && k->attn_value_f16 && k->attn_value_f32);
    }
    CHECK(mp_kern_get(NULL) == mp_kern_at(count - 1));
    printf("  tables here: %d, best %s\n", count, mp_kern_get(NULL)->name);
}

int main(void)
{
    RUN(every_half_to_float);
    RUN(rounding_to_half);
    RUN(bf16);
    RUN(exp_is_accurate);
    RUN(exp_at_the_edges);
    RUN(tables_of_kernels);
    return test_done();
}
