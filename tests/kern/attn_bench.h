/* The measuring half of test_attn: the whole operation on the CPU device, best of several runs, beside what the machine can do, measured here too.
 *   decode   one token, GB/s of keys and values; layers are gone through so that nothing stays in the caches
 *   prefill  512 tokens, Gflop/s: 4 dim for each query head and position that a token sees */
#ifndef MP_TESTS_KERN_ATTN_BENCH_H
#define MP_TESTS_KERN_ATTN_BENCH_H

#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "dev/dev.h"
#include "kern_data.h"

enum { BENCH_RUNS = 5 };
static const size_t bench_bytes = (size_t)320 << 20;

typedef struct bench_shape {
    const char *name;
    int64_t     heads, kv_heads, dim;
} bench_shape;

typedef struct bench { /* the memory plays the caches of as many layers as it has room for */
    mp_ledger     *ledger;
    mp_pool       *pool;
    mp_dev        *dev;
    unsigned char *memory;
    bench_shape    shape;
    int64_t        ctx; /* positions of a layer */
    float         *q, *out;
    void          *scratch;
    float          sink;
} bench;

static inline double bench_now(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static inline void bench_tile(const void *kv, int layer, int64_t pos, mp_kv_tile *out) {
    const bench *b = kv;
    size_t       head = (size_t)(MP_TILE_TOK * b->shape.dim) * 2, half = head * (size_t)b->shape.kv_heads, tile = (size_t)(pos / MP_TILE_TOK);
    *out = (mp_kv_tile){ .k_head = head, .v_head = head, .first = pos / MP_TILE_TOK * MP_TILE_TOK };
    out->k = b->memory + ((size_t)layer * (size_t)((b->ctx + MP_TILE_TOK - 1) / MP_TILE_TOK) + tile) * 2 * half;
    out->v = out->k + half;
}

/* ---- what the machine can do ---- */

static inline void bench_read_part(void *arg, int64_t first, int64_t last, int thread) {
    bench *b = arg;
    (void)thread;
    for (int64_t i = first; i < last; i++) {
        const uint64_t *v = (const uint64_t *)(const void *)(b->memory + (size_t)i * 65536);
        uint64_t        s[8] = { 0 };
        for (size_t j = 0; j < 65536 / 8; j += 8)
            for (size_t l = 0; l < 8; l++) s[l] += v[j + l];
        if ((s[0] ^ s[1] ^ s[2] ^ s[3] ^ s[4] ^ s[5] ^ s[6] ^ s[7]) == 42) b->sink = 1;
    }
}

#if defined(__x86_64__)
/* Sixteen chains of 512-bit multiply-adds, or of 256-bit ones where there are no others. */
__attribute__((target("avx512f"))) static inline float bench_fma_512(int64_t n) {
    __m512 x[16], a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
    for (int j = 0; j < 16; j++) x[j] = _mm512_set1_ps((float)j);
    for (int64_t i = 0; i < n; i++)
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++) x[j] = _mm512_fmadd_ps(x[j], a, b);
    for (int j = 1; j < 16; j++) x[0] = _mm512_add_ps(x[0], x[j]);
    return _mm512_reduce_add_ps(x[0]);
}
static inline void bench_fma_part(void *arg, int64_t first, int64_t last, int thread) {
    bench *b = arg;
    (void)thread;
    if (bench_fma_512((last - first) * 1000) == 42.0f) b->sink = 1;
}
#endif

static inline double bench_best(bench *b, int64_t n, mp_pool_fn *fn) {
    double best = 1e9;
    for (int run = 0; run < BENCH_RUNS; run++) {
        double start = bench_now();
        mp_pool_run(b->pool, n, 1, fn, b);
        best = fmin(best, bench_now() - start);
    }
    return best;
}

/* ---- the operation ---- */

static inline double bench_attn(bench *b, int64_t tok, int64_t ctx, int layers) {
    mp_segment seg = { .n = (int32_t)tok, .pos = ctx - tok, .kv = b, .dtype = MP_F16, .tile = bench_tile };
    mp_op      op = { .kind = MP_OP_ATTN, .n_out = 1, .scratch = b->scratch };
    double     best = 1e9;
    b->ctx = ctx;
    op.in[0] = mp_tensor_3d(b->q, MP_F32, tok, b->shape.heads, b->shape.dim);
    op.in[1] = op.in[2] = mp_tensor_3d(NULL, MP_F32, tok, b->shape.kv_heads, b->shape.dim);
    op.out[0] = mp_tensor_2d(b->out, MP_F32, tok, b->shape.heads * b->shape.dim);
    op.u.attn.seg = &seg, op.u.attn.n_seg = 1, op.u.attn.scale = 1.0f / sqrtf((float)b->shape.dim);
    for (int run = 0; run < BENCH_RUNS; run++) {
        double start = bench_now();
        for (op.u.attn.layer = 0; op.u.attn.layer < layers; op.u.attn.layer++)
            if (mp_dev_run(b->dev, &op)) return 1e9;
        best = fmin(best, bench_now() - start);
    }
    return best / layers;
}

static inline void bench_shape_all(bench *b, bench_shape shape, double peak) {
    static const int64_t before[] = { 0, 4096, 15872 };
    size_t               position = (size_t)(shape.kv_heads * shape.dim) * 4;
    mp_op                op = { .kind = MP_OP_ATTN };
    b->shape = shape;
    op.in[0].shape[0] = 512, op.in[0].shape[1] = shape.heads, op.in[0].shape[2] = shape.dim, op.in[1].shape[1] = shape.kv_heads;
    b->scratch = aligned_alloc(64, mp_dev_scratch(b->dev, &op));
    b->q = malloc((size_t)(512 * shape.heads * shape.dim) * 4), b->out = malloc((size_t)(512 * shape.heads * shape.dim) * 4);
    for (int64_t i = 0; i < 512 * shape.heads * shape.dim; i++) b->q[i] = rng_float();
    for (int64_t ctx = 1024; ctx <= 32768 && (size_t)ctx * position <= bench_bytes; ctx *= 4) {

        double  s = bench_attn(b, 1, ctx, (int)(bench_bytes / ((size_t)ctx * position)));
        printf("  %-22s decode  %5lld        %8.1f us %7.2f GB/s %8.1f Gflop/s %5.1f %% of the multiply-adds\n", shape.name, (long long)ctx, s * 1e6,
               (double)((size_t)ctx * position) / s / 1e9, 4e-9 * (double)(ctx * shape.heads * shape.dim) / s, 4e-7 * (double)(ctx * shape.heads * shape.dim) / s / peak);
    }
    for (int i = 0; i < 3 && (size_t)(before[i] + 512) * position <= bench_bytes; i++) {
        double s = bench_attn(b, 512, before[i] + 512, 1), flop = 4.0 * (double)(shape.heads * shape.dim) * (512.0 * (double)before[i] + 512 * 513 / 2);
        printf("  %-22s prefill %5lld + 512  %8.1f us %23.1f Gflop/s %5.1f %%\n", shape.name, (long long)before[i], s * 1e6, flop / s / 1e9, flop / s / peak / 1e7);
    }
    free(b->scratch), free(b->q), free(b->out);
}

static inline int bench_all(void) {
    static const bench_shape shapes[] = { { "30B-A3B 32/4 x 128", 32, 4, 128 }, { "small 16/4 x 64", 16, 4, 64 }, { "16/4 x 128", 16, 4, 128 }, { "8/8 x 128", 8, 8, 128 } };
    bench b = { 0 };
    if (mp_ledger_open(false, &b.ledger)) return 1;
    b.memory = mmap(NULL, bench_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b.memory == MAP_FAILED) return 1;
    madvise(b.memory, bench_bytes, MADV_HUGEPAGE);
    row_fill(MP_F16, b.memory, (int64_t)bench_bytes / 2, ROW_RANDOM);
    for (int threads = 1; threads <= 2; threads++) {
        double peak = 1;
        if (mp_pool_open(b.ledger, threads, &b.pool) || mp_dev_cpu_open(b.ledger, b.pool, mp_kern_get(NULL), &b.dev)) return 1;
        printf("%d thread%s: plain read %.2f GB/s", threads, threads > 1 ? "s" : "", (double)bench_bytes / bench_best(&b, (int64_t)bench_bytes / 65536, bench_read_part) / 1e9);
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx512f")) printf(", float multiply-adds %.1f Gflop/s", peak = 2.0 * 16 * 16 * 1000 * 2000 / bench_best(&b, 2000, bench_fma_part) / 1e9);
#endif
        printf("\n");
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) bench_shape_all(&b, shapes[i], peak);
        mp_dev_close(&b.dev);
        mp_pool_close(&b.pool);
    }
    munmap(b.memory, bench_bytes);
    mp_ledger_close(&b.ledger);
    return 0;
}
#endif
