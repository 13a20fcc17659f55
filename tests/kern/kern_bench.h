/* The measuring half of test_kern: one thread, the best of several runs.
 *   GB/s    weights read for one token, rows of 2048 from 96 MiB, more than the caches hold: what decoding does
 *   Gop/s   2 operations per weight and token, 64 tokens, 256 KiB of weights: what prefill does */
#ifndef MP_TESTS_KERN_KERN_BENCH_H
#define MP_TESTS_KERN_KERN_BENCH_H

#include <time.h>

#include "kern_data.h"

enum { BENCH_COLS = 2048, BENCH_LARGE = 96 << 20, BENCH_SMALL = 256 << 10, BENCH_RUNS = 5, BENCH_TOK = 64 };

static inline double bench_now(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

/* Seconds of the fastest product of `count` rows with tok tokens. */
static inline double bench_mm(const mp_kern *k, mp_dtype type, const unsigned char *rows, size_t count, const unsigned char *x, int tok) {
    static unsigned char scratch[MP_MM_SCRATCH] __attribute__((aligned(64)));
    size_t stride = mp_dtype_get(type)->quantized ? mp_q8_bytes(BENCH_COLS) : BENCH_COLS * 4;
    float *out = malloc(count * (size_t)tok * sizeof *out);
    mp_mm  m = { .w = rows, .row_bytes = mp_dtype_row_bytes(type, BENCH_COLS), .rows = (int64_t)count, .n = BENCH_COLS, .x = x, .x_stride = stride,
                 .out = out, .out_stride = (int64_t)count, .tok = tok, .turned = tok > 1, .scratch = scratch };
    double best = 1e9; /* the tokens are not really turned, which takes the same time */
    for (int run = 0; run < BENCH_RUNS; run++) {
        double start = bench_now();
        mp_kern_mm(k, type, &m);
        best = fmin(best, bench_now() - start);
    }
    free(out);
    return best;
}

/* GB/s of a plain read of the same memory: eight sums, as wide as the compiler makes them. */
static inline double bench_read(const unsigned char *p) {
    double best = 1e9;
    for (int run = 0; run < BENCH_RUNS; run++) {
        const uint64_t   *v = (const uint64_t *)(const void *)p;
        volatile uint64_t sink = 0;
        uint64_t          s[8] = { 0 };
        double            start = bench_now();
        for (size_t i = 0; i < BENCH_LARGE / 8; i += 8)
            for (int j = 0; j < 8; j++)
                s[j] += v[i + (size_t)j];
        sink = s[0] ^ s[1] ^ s[2] ^ s[3] ^ s[4] ^ s[5] ^ s[6] ^ s[7];
        (void)sink;
        best = fmin(best, bench_now() - start);
    }
    return BENCH_LARGE / best / 1e9;
}

static inline void bench_type(const mp_kern *k, mp_dtype type, unsigned char *rows, unsigned char *x) {
    const mp_dtype_info *info = mp_dtype_get(type);
    size_t               row_bytes = mp_dtype_row_bytes(type, BENCH_COLS), small = BENCH_SMALL / row_bytes, large = BENCH_LARGE / row_bytes;
    if (strcmp(k->name, "ref") == 0) large /= 32; /* the reference is slow: a part of the memory tells enough */
    row_fill(type, rows, (int64_t)(large * BENCH_COLS), ROW_RANDOM);
    for (int t = 0; t < BENCH_TOK; t++) {
        float f[BENCH_COLS];
        for (int i = 0; i < BENCH_COLS; i++) f[i] = rng_float();
        if (info->quantized) k->quantize_q8((mp_q8 *)(void *)(x + (size_t)t * mp_q8_bytes(BENCH_COLS)), f, BENCH_COLS);
        else memcpy(x + (size_t)t * sizeof f, f, sizeof f);
    }
    double read = bench_mm(k, type, rows, large, x, 1), cached = bench_mm(k, type, rows, small, x, 1), many = bench_mm(k, type, rows, small, x, BENCH_TOK);
    printf("%-7s %-7s %8.2f GB/s %8.2f GB/s in cache %8.1f Gop/s\n", k->name, info->name, (double)(large * row_bytes) / read / 1e9,
           (double)(small * row_bytes) / cached / 1e9, 2.0 * BENCH_TOK * BENCH_COLS * (double)small / many / 1e9);
    fflush(stdout);
}

static inline int bench_all(void) {
    unsigned char *rows = mmap(NULL, BENCH_LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *x = aligned_alloc(64, BENCH_TOK * BENCH_COLS * 4);
    if (rows == MAP_FAILED || !x) return 1;
    madvise(rows, BENCH_LARGE, MADV_HUGEPAGE);
    memset(rows, 1, BENCH_LARGE);
    printf("plain read: %.2f GB/s (one thread)\n", bench_read(rows));
    for (int isa = 0; mp_kern_at(isa); isa++)
        for (int type = 0; type < MP_DTYPE_COUNT; type++)
            if (mp_kern_has_mm(mp_kern_at(isa), (mp_dtype)type)) bench_type(mp_kern_at(isa), (mp_dtype)type, rows, x);
    free(x);
    munmap(rows, BENCH_LARGE);
    return 0;
}
#endif
