/* Activations as int8: what the CUDA device makes (dev/cuda/mm.h says how it lies) has the codes, scales and sums of src/num/ref/q8.c to the bit, NaN included. So
 * products differ only in the order of their sums. */
#include <float.h>

#include "both.h"
#include "dev/cuda/cuda.h"

/* From dev/cuda/mm.h, which is C++. */
mp_err mp_cuda_quantize(mp_dev_cuda *d, unsigned char *q, const float *x, int64_t n, int64_t k, const int32_t *rows, int div);
static size_t token_bytes(int64_t k) { return (size_t)(k / 32 * 40 + 15) / 16 * 16; }

static both b;

/* ---- blocks of 32 ---- */

typedef enum block_kind {
    RANDOM, ZEROS, BOTH_ZEROS, EQUAL, EQUAL_NEGATIVE, ALTERNATE, ONE, NEAR_EQUAL,
    TIES, TIES_TINY, TIES_HUGE, TIES_NEGATIVE,  /* largest 127 steps, the others at (j + 1/2) steps: a step of 1, 2^-119, 2^120, 1 */
    SUBNORMAL, LEAST, MIXED,                    /* all below 2^-126; 2^-149 alone; the former among ordinary ones */
    UNDER, AT_LAST, OVER,                       /* the largest for which 127 / it overflows, that one and its neighbours: zeros, zeros, codes */
    LARGEST, LARGEST_ONE,                       /* FLT_MAX everywhere, both signs; once */
    HAS_NAN, HAS_INF, HAS_BOTH, BLOCK_KINDS,
} block_kind;

static float last_that_overflows(void)
{
    float x = 127.0f / FLT_MAX;
    for (int i = 0; i < 64; i++)
        x = nextafterf(x, 0);
    while (isinf(127.0f / nextafterf(x, 1)))
        x = nextafterf(x, 1);
    return x;
}

/* Element i of a block whose largest is 127 steps: ties from -15.5 to 14.5 steps, those next to the largest, and the largest. */
static float tie(int i, float step)
{
    const float halves = i == 31 ? 127.0f : i == 30 ? 126.5f : i == 29 ? -126.5f : i == 28 ? 125.5f : (float)i - 15.5f;
    return halves * step;
}

static float usual(block_kind kind, int i)
{
    switch (kind) {
    case ZEROS: return 0.0f;
    case BOTH_ZEROS: return i % 3 ? -0.0f : 0.0f;
    case EQUAL: return 3.7f;
    case EQUAL_NEGATIVE: return -0.3f;
    case ALTERNATE: return i % 2 ? -1.1f : 1.1f;
    case ONE: return i == 21 ? -5.3f : 0.0f;
    case NEAR_EQUAL: return i == 3 ? 1.0f : -0x1.fffffep-1f;
    case HAS_NAN: return i == 17 ? NAN : both_float();
    case HAS_INF: return i == 2 ? -INFINITY : both_float();
    case HAS_BOTH: return i == 30 ? NAN : i == 4 ? INFINITY : both_float();
    default: return both_float() * 3.0f;
    }
}

static float element(block_kind kind, int i)
{
    switch (kind) {
    case TIES: return tie(i, 1.0f);
    case TIES_TINY: return tie(i, 0x1p-119f);
    case TIES_HUGE: return tie(i, 0x1p120f);
    case TIES_NEGATIVE: return -tie(i, 1.0f);
    case SUBNORMAL: return both_float() * 0x1p-126f;
    case LEAST: return i % 2 ? -0x1p-149f : 0x1p-149f;
    case MIXED: return i % 4 ? both_float() * 0x1p-127f : both_float();
    case UNDER: return i == 9 ? nextafterf(last_that_overflows(), 0) : both_float() * 1e-37f;
    case AT_LAST: return i == 9 ? -last_that_overflows() : both_float() * 1e-37f;
    case OVER: return i == 9 ? nextafterf(last_that_overflows(), 1) : both_float() * 1e-37f;
    case LARGEST: return i % 5 == 2 ? -FLT_MAX : FLT_MAX;
    case LARGEST_ONE: return i == 31 ? -FLT_MAX : both_float() * 1e38f;
    default: return usual(kind, i);
    }
}

/* Block j of token t is of kind (t + j) % BLOCK_KINDS. */
static float *tokens(int64_t n, int64_t k)
{
    float *x = malloc((size_t)(n * k) * sizeof *x);
    for (int64_t i = 0; i < n * k; i++)
        x[i] = element((block_kind)((i / k + i % k / 32) % BLOCK_KINDS), (int)(i % 32));
    return x;
}

/* ---- what was made of them ---- */

typedef struct block { /* as the device has it, gathered */
    int8_t  q[32];
    float   d;
    int16_t sum[2];
} block;

static block block_at(const unsigned char *token, int64_t nb, int64_t i)
{
    block v;
    memcpy(v.q, token + 16 * i, 16);
    memcpy(v.q + 16, token + 16 * (nb + i), 16);
    memcpy(&v.d, token + 32 * nb + 8 * i, 4);
    memcpy(v.sum, token + 32 * nb + 8 * i + 4, 4);
    return v;
}

/* want: the super-block; i: which of its blocks. s is not stored: products make it from d and the sums as they need it. */
static bool same_block(const mp_q8 *want, int i, const block *got)
{
    const float s = got->d * (float)(got->sum[0] + got->sum[1]);
    return !memcmp(want->q + 32 * i, got->q, 32) && !memcmp(&want->d[i], &got->d, 4) && both_same(&want->s[i], &s, 1) && got->sum[0] * -128 == want->a16[0][i] &&
           got->sum[1] * -128 == want->a16[1][i] && (got->sum[0] + got->sum[1]) * -128 == want->a[i];
}

/* kind: of its first block. Bytes past the token's end are as they were. */
static void check_token(const unsigned char *token, const float *x, int64_t k, int64_t kind)
{
    const int64_t nb = k / 32;
    mp_q8 *want = malloc(mp_q8_bytes(k));
    mp_kern_at(0)->quantize_q8(want, x, k);
    for (int64_t i = 0; i < nb; i++) {
        const block got = block_at(token, nb, i);
        if (!same_block(&want[i / 8], (int)(i % 8), &got)) {
            printf("  block %lld of %lld, kind %lld\n", (long long)i, (long long)nb, (long long)((kind + i) % BLOCK_KINDS));
            CHECK(false);
        }
    }
    for (size_t i = (size_t)nb * 40; i < token_bytes(k); i++)
        CHECK(token[i] == BOTH_RESULT);
    free(want);
}

/* Rows of x [.., k], all in their order (rows NULL) or n that are chosen, as int8, in the host's memory. */
static unsigned char *quantized(const float *x, int64_t x_rows, int64_t k, const int32_t *rows, int64_t n, int div)
{
    enum { PAST = 64 };
    const size_t bytes = (size_t)n * token_bytes(k) + PAST;
    unsigned char *got = malloc(bytes);
    both_forget(&b);
    const float *gx = both_put(&b, x, (size_t)(x_rows * k) * sizeof *x);
    const int32_t *grows = rows ? both_put(&b, rows, (size_t)n * sizeof *rows) : NULL;
    unsigned char *q = both_blank(&b, BOTH_RESULT, bytes);
    CHECK_OK(mp_cuda_quantize((mp_dev_cuda *)b.gpu, q, gx, n, k, grows, div));
    CHECK_OK(b.gpu->v->get(b.gpu, got, q, bytes));
    for (int i = 1; i <= PAST; i++)
        CHECK(got[bytes - (size_t)i] == BOTH_RESULT);
    return got;
}

TEST(every_kind_of_block)
{
    static const int64_t shapes[][2] = { { BLOCK_KINDS, 32 }, { 1, 32 }, { 5, 64 }, { 33, 96 }, { BLOCK_KINDS, 256 }, { 3, 288 }, { 2, 32 * 2 * BLOCK_KINDS }, { 7, 5632 } };
    for (int i = 0; i < 8; i++) {
        const int64_t n = shapes[i][0], k = shapes[i][1];
        float *x = tokens(n, k);
        unsigned char *got = quantized(x, n, k, NULL, n, 1);
        for (int64_t t = 0; t < n; t++)
            check_token(got + (size_t)t * token_bytes(k), x + t * k, k, t);
        free(x), free(got);
    }
}

/* Random blocks of every size: their scales are rounded in every way. */
TEST(many_random_blocks)
{
    enum { N = 40, K = 2048 };
    float *x = both_floats(N * K, 1.0f);
    for (int i = 0; i < N * K; i++)
        x[i] = ldexpf(x[i], i / 32 % 250 - 125);
    unsigned char *got = quantized(x, N, K, NULL, N, 1);
    for (int t = 0; t < N; t++)
        check_token(got + (size_t)t * token_bytes(K), x + t * K, K, RANDOM);
    free(x), free(got);
}

/* Not what the reference does but what it should: halves go to the even neighbour. */
TEST(ties_go_to_even)
{
    static const block_kind kinds[] = { TIES, TIES_TINY, TIES_HUGE, TIES_NEGATIVE };
    static const float steps[] = { 1.0f, 0x1p-119f, 0x1p120f, 1.0f };
    for (int i = 0; i < 4; i++) {
        float x[32];
        for (int j = 0; j < 32; j++)
            x[j] = element(kinds[i], j);
        unsigned char *got = quantized(x, 1, 32, NULL, 1, 1);
        const block v = block_at(got, 1, 0);
        CHECK(v.d == steps[i]);
        for (int j = 0; j < 32; j++) {
            const float exact = x[j] / steps[i];
            CHECK(fabsf(exact - (float)v.q[j]) <= 0.5f && (j == 31 ? fabsf(exact) == 127.0f && exact == (float)v.q[j] : v.q[j] % 2 == 0));
        }
        free(got);
    }
}

/* Rows of the batch for the experts' jobs: any, some twice, each for `div` of its choices. */
TEST(rows_that_are_chosen)
{
    enum { ROWS = 11, N = 37, K = 96 };
    float *x = tokens(ROWS, K);
    for (int div = 1; div <= 3; div++) {
        int32_t rows[N];
        for (int i = 0; i < N; i++)
            rows[i] = i * 7 % (ROWS * div);
        unsigned char *got = quantized(x, ROWS, K, rows, N, div);
        for (int i = 0; i < N; i++)
            check_token(got + (size_t)i * token_bytes(K), x + rows[i] / div * K, K, rows[i] / div);
        free(got);
    }
    free(x);
}

int main(void)
{
    if (!both_open(&b))
        return both_skipped();
    RUN(every_kind_of_block);
    RUN(many_random_blocks);
    RUN(ties_go_to_even);
    RUN(rows_that_are_chosen);
    both_close(&b);
    return test_done();
}
