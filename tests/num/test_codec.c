/* The reference decoders against numbers from elsewhere: vectors that llama.cpp's C decoder gave, blocks that its encoder made (beside the
 * checkout), and random blocks decoded by the gguf Python package (tests/golden/make_quant_golden.py). */
#include <math.h>

#include "num/kern.h"
#include "test.h"

/* ---- one patterned block of each type ---- */

typedef struct vector {
    mp_dtype type;
    int      d, m;      /* places of the halves 0.125 and 0.0625; -1: none */
    double   sum;       /* of all elements */
    int      at[7];     /* elements with known values; -1 ends */
    double   value[7];
} vector;

static const vector vectors[] = {
    { MP_Q4_0, 0, -1, -2, { 0, 1, 15, 16, 31, -1 }, { 0.375, -0.75, -0.5, -0.375, -0.75 } },
    { MP_Q4_1, 0, 2, 33.75, { 0, 1, 15, 16, 31, -1 }, { 1.1875, 0.0625, 0.3125, 1.3125, 0.9375 } },
    { MP_Q5_0, 0, -1, -8.5, { 0, 1, 15, 16, 31, -1 }, { 0.875, 1.75, -2, 1.875, -0.5 } },
    { MP_Q5_1, 0, 2, 67.25, { 0, 1, 15, 16, 31, -1 }, { 2.6875, 1.5625, 1.8125, 2.5625, 2.0625 } },
    { MP_Q8_0, 0, -1, -2, { 0, 1, 15, 16, 31, -1 }, { 11.375, 0.25, 4.5, -6.625, -13.5 } },
    { MP_Q2_K, 80, 82, 232.125, { 0, 1, 16, 32, 127, 128, 255 }, { 1.625, 0, -0.1875, 3.8125, 2.9375, 0.375, 0.6875 } },
    { MP_Q3_K, 108, -1, -97, { 0, 1, 16, 32, 127, 128, 255 }, { -0.375, 1.5, -3.5, -3.375, -7, -3.75, -9.5 } },
    { MP_Q4_K, 0, 2, 8428, { 0, 1, 16, 32, 127, 128, 255 }, { 66.3125, 20.1875, 66.3125, 11.25, 30.125, 51.75, 22.9375 } },
    { MP_Q5_K, 0, 2, 18138, { 0, 1, 16, 32, 127, 128, 255 }, { 148.3125, 20.1875, 148.3125, 7.25, 22.625, 117.75, 89.4375 } },
    { MP_Q6_K, 208, -1, 311, { 0, 1, 16, 32, 127, 128, 255 }, { -28.875, -269.5, 4.5, -366.125, -76.5, 46.125, 38.5 } },
    { MP_IQ4_NL, 0, -1, -21.125, { 0, 1, 15, 16, 31, -1 }, { 4.75, -10.375, -6.125, -4.375, -10.375 } },
    { MP_IQ4_XS, 0, -1, 1289.125, { 0, 1, 16, 32, 127, 128, 255 }, { -109.375, 165.625, -153.125, -43.75, 48.125, -30.625, 299 } },
    { MP_TQ1_0, 52, -1, -0.625, { 0, 1, 16, 32, 127, 128, 255 }, { -0.125, 0.125, 0, -0.125, 0, -0.125, 0 } },
    { MP_TQ2_0, 64, -1, 15.75, { 0, 1, 16, 32, 127, 128, 255 }, { 0, -0.125, 0, 0.25, 0, 0, -0.125 } },
    { MP_MXFP4, -1, -1, -1, { 0, 1, 15, 16, 31, -1 }, { 0.5, -0.375, -0.75, -0.375, 1.5 } },
};

static void put_half(unsigned char *block, int at, float f)
{
    uint16_t h = mp_f16_from_f32(f);
    if (at >= 0)
        memcpy(block + at, &h, 2);
}

/* Byte k is 167 k + 13 mod 256; the scales are 1/8 and 1/16, MXFP4's is 2^-2. */
TEST(patterned_blocks_as_llama_cpp_decodes_them)
{
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const vector *v = &vectors[i];
        const mp_dtype_info *info = mp_dtype_get(v->type);
        unsigned char block[256];
        float x[256];
        double sum = 0;
        for (int k = 0; k < info->block_bytes; k++)
            block[k] = (unsigned char)(167 * k + 13);
        put_half(block, v->d, 0.125f);
        put_half(block, v->m, 0.0625f);
        if (v->type == MP_MXFP4)
            block[0] = 0x7d;
        mp_kern_get("ref")->dequant[v->type](x, block, info->block_len);
        for (int j = 0; j < info->block_len; j++)
            sum += (double)x[j];
        CHECK_NEAR(sum, v->sum, 0);
        for (int j = 0; j < 7 && v->at[j] >= 0; j++)
            CHECK_NEAR(x[v->at[j]], v->value[j], 0);
    }
}

/* What the standard says and llama.cpp leaves open. */
TEST(mxfp4_special_scales)
{
    unsigned char block[17] = { 255, 0x21 };
    float x[32];
    mp_kern_get("ref")->dequant[MP_MXFP4](x, block, 32);
    CHECK(isnan(x[0]) && isnan(x[1]));
    block[0] = 0;
    mp_kern_get("ref")->dequant[MP_MXFP4](x, block, 32);
    CHECK(x[0] == 0x1p-128f && x[16] == 0x1p-127f && x[1] == 0);
}

/* ---- blocks made by llama.cpp's encoder ---- */

static bool read_all(const char *path, void *to, size_t bytes)
{
    FILE *file = fopen(path, "rb");
    bool ok = file && fread(to, 1, bytes, file) == bytes && fgetc(file) == EOF;
    if (file)
        fclose(file);
    return ok;
}

/* `rmse`: about 1.3 times what that encoder leaves on these values in [-1, 1]: its step / sqrt(12), more for types whose scales are quantized
 * too. A decoder with the elements in a wrong order leaves about 0.8. */
static const struct coded { mp_dtype type; const char *name; int n; double rmse; } coded[] = {
    { MP_Q4_0, "q4_0_64", 128, 0.05 },  { MP_Q4_1, "q4_1_64", 128, 0.05 },  { MP_Q5_0, "q5_0_64", 128, 0.025 }, { MP_Q5_1, "q5_1_64", 128, 0.025 },
    { MP_Q8_0, "q8_0_64", 128, 0.004 }, { MP_IQ4_NL, "iq4_nl_64", 128, 0.06 }, { MP_Q2_K, "q2_k_512", 1024, 0.2 }, { MP_Q3_K, "q3_k_512", 1024, 0.1 },
    { MP_Q4_K, "q4_k_512", 1024, 0.05 }, { MP_Q5_K, "q5_k_512", 1024, 0.025 }, { MP_Q6_K, "q6_k_512", 1024, 0.012 },
};

static void check_coded(const struct coded *c, const char *matrix)
{
    char name[128], path[512];
    static float input[1024], x[1024];
    static unsigned char blocks[1024];
    size_t bytes = mp_dtype_row_bytes(c->type, c->n);
    double sum = 0;
    snprintf(name, sizeof name, "data/quant-vectors/%s_%s_input.bin", c->name, matrix);
    REQUIRE(test_shared(name, path, sizeof path) && read_all(path, input, (size_t)c->n * 4));
    snprintf(name, sizeof name, "data/quant-vectors/%s_%s_expected.bin", c->name, matrix);
    REQUIRE(test_shared(name, path, sizeof path) && read_all(path, blocks, bytes));
    mp_kern_get("ref")->dequant[c->type](x, blocks, c->n);
    for (int i = 0; i < c->n; i++)
        sum += pow((double)(x[i] - input[i]), 2);
    double rmse = sqrt(sum / c->n);
    printf("  %-10s %-4s rmse %.5f\n", c->name, matrix, rmse);
    CHECK(rmse < c->rmse && rmse > 0);
}

TEST(blocks_of_another_encoder_decode_to_its_input)
{
    char path[512];
    if (!test_shared("data/quant-vectors/q8_0_64_noim_input.bin", path, sizeof path))
        SKIP("no quant-vectors beside the checkout");
    for (size_t i = 0; i < sizeof coded / sizeof *coded; i++)
        check_coded(&coded[i], "noim");
}

/* Q8_0 and Q4_0 encode by a rule without a search, so their blocks follow from the input to the last bit, and from ours. */
static int nearest(double v) /* halves away from zero, as that encoder rounds */
{
    return (int)(v < 0 ? v - 0.5 : v + 0.5);
}

/* The value that Q8_0's rule gives to input[i] of a block. */
static float by_rule_q8_0(const float *input, int i)
{
    float amax = 0;
    for (int j = 0; j < 32; j++)
        amax = fabsf(input[j]) > amax ? fabsf(input[j]) : amax;
    float d = amax / 127.0f, inverse = d != 0 ? 1.0f / d : 0;
    return mp_f16_to_f32(mp_f16_from_f32(d)) * (float)nearest((double)(input[i] * inverse));
}

/* Q4_0's: the element of largest magnitude, with its sign, becomes -8. */
static float by_rule_q4_0(const float *input, int i)
{
    float extreme = 0;
    for (int j = 0; j < 32; j++)
        extreme = fabsf(input[j]) > fabsf(extreme) ? input[j] : extreme;
    float d = extreme / -8.0f, inverse = d != 0 ? 1.0f / d : 0;
    int code = (int)(input[i] * inverse + 8.5f);
    return mp_f16_to_f32(mp_f16_from_f32(d)) * (float)((code > 15 ? 15 : code) - 8);
}

static void check_rule(mp_dtype type, const char *name, float rule(const float *, int))
{
    char file[128], path[512];
    float input[128], x[128];
    unsigned char blocks[256];
    snprintf(file, sizeof file, "data/quant-vectors/%s_64_noim_input.bin", name);
    REQUIRE(test_shared(file, path, sizeof path) && read_all(path, input, sizeof input));
    snprintf(file, sizeof file, "data/quant-vectors/%s_64_noim_expected.bin", name);
    REQUIRE(test_shared(file, path, sizeof path) && read_all(path, blocks, mp_dtype_row_bytes(type, 128)));
    mp_kern_get("ref")->dequant[type](x, blocks, 128);
    for (int i = 0; i < 128; i++)
        CHECK_NEAR(x[i], rule(input + i / 32 * 32, i % 32), 0);
}

TEST(plain_encoders_are_followed_exactly)
{
    char path[512];
    if (!test_shared("data/quant-vectors/q8_0_64_noim_input.bin", path, sizeof path))
        SKIP("no quant-vectors beside the checkout");
    check_rule(MP_Q8_0, "q8_0", by_rule_q8_0);
    check_rule(MP_Q4_0, "q4_0", by_rule_q4_0);
}

/* ---- random blocks, decoded elsewhere ---- */

/* Bit for bit, also the sign of zero: both multiply exact integers by one scale and round at most once, in the subtraction. */
TEST(random_blocks_as_the_gguf_package_decodes_them)
{
    FILE *file = fopen(MOPED_SOURCE_DIR "/tests/golden/quant_golden.bin", "rb");
    uint32_t head[2];
    int seen = 0;
    REQUIRE(file);
    while (fread(head, sizeof head, 1, file) == 1) {
        static unsigned char blocks[8192];
        static float want[1024], got[1024];
        mp_dtype type;
        REQUIRE(mp_dtype_from_gguf(head[0], &type));
        size_t n = head[1] * (size_t)mp_dtype_get(type)->block_len, bytes = mp_dtype_row_bytes(type, (int64_t)n);
        REQUIRE(n <= 1024 && bytes <= sizeof blocks);
        REQUIRE(fread(blocks, 1, bytes, file) == bytes && fread(want, 4, n, file) == n);
        for (int isa = 0; mp_kern_at(isa); isa++) {
            mp_kern_at(isa)->dequant[type](got, blocks, (int64_t)n);
            bool ok = memcmp(got, want, n * 4) == 0;
            for (size_t i = 0; !ok && i < n; i++) {
                if (memcmp(got + i, want + i, 4) != 0) {
                    printf("  %s %s element %zu: %.9g, want %.9g\n", mp_kern_at(isa)->name, mp_dtype_get(type)->name, i, (double)got[i], (double)want[i]);
                    break;
                }
            }
            CHECK(ok);
        }
        seen++;
    }
    fclose(file);
    CHECK_EQ(seen, 15);
}

int main(void)
{
    RUN(patterned_blocks_as_llama_cpp_decodes_them);
    RUN(mxfp4_special_scales);
    RUN(blocks_of_another_encoder_decode_to_its_input);
    RUN(plain_encoders_are_followed_exactly);
    RUN(random_blocks_as_the_gguf_package_decodes_them);
    return test_done();
}
