/* The measuring half of test_kern: one thread, the best of several runs.
 *   GB/s    weights read for one token, rows of 2048 from 96 MiB, more than the caches hold: what decoding does
 *   Gop/s   2 operations per weight and token, four tokens, 256 KiB of weights: what prefill does */
#ifndef MP_TESTS_KERN_KERN_BENCH_H
#define MP_TESTS_KERN_KERN_BENCH_H

#include <time.h>

#include "kern_data.h"

enum { BENCH_COLS = 2048, BENCH_LARGE = 96 << 20, BENCH_SMALL = 256 << 10, BENCH_RUNS = 5 };

static inline double bench_now(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

/* Seconds of the fastest pass over `rows` rows. */
static inline double bench_dot(const mp_kern *k, mp_dtype type, const unsigned char *rows, size_t count, const unsigned char *x, int tok) {
    size_t row_bytes = mp_dtype_row_bytes(type, BENCH_COLS), stride = mp_dtype_get(type)->quantized ? mp_q8_bytes(BENCH_COLS) : BENCH_COLS * 4;
    double best = 1e9;
    for (int run = 0; run < BENCH_RUNS; run++) {
        volatile float sink = 0;
        double         start = bench_now();
        for (size_t r = 0; r < count; r++) {
            float out[MP_DOT_TOK];
            k->dot[type](out, rows + r * row_bytes, x, stride, BENCH_COLS, tok);
            sink = out[0];
        }
        (void)sink;
        best = fmin(best, bench_now() - start);
    }
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
    for (int t = 0; t < MP_DOT_TOK; t++) {
        float f[BENCH_COLS];
        for (int i = 0; i < BENCH_COLS; i++) f[i] = rng_float();
        if (info->quantized) k->quantize_q8(x + (size_t)t * mp_q8_bytes(BENCH_COLS), f, BENCH_COLS);
        else memcpy(x + (size_t)t * sizeof f, f, sizeof f);
    }
    double read = bench_dot(k, type, rows, large, x, 1), four = bench_dot(k, type, rows, small, x, MP_DOT_TOK);
    printf("%-7s %-7s %8.2f GB/s %8.1f Gop/s\n", k->name, info->name, (double)(large * row_bytes) / read / 1e9,
           2.0 * MP_DOT_TOK * BENCH_COLS * (double)small / four / 1e9);
    fflush(stdout);
}

static inline int bench_all(void) {
    unsigned char *rows = mmap(NULL, BENCH_LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *x = malloc(MP_DOT_TOK * BENCH_COLS * 4);
    if (rows == MAP_FAILED || !x) return 1;
    madvise(rows, BENCH_LARGE, MADV_HUGEPAGE);
    memset(rows, 1, BENCH_LARGE);
    printf("plain read: %.2f GB/s (one thread)\n", bench_read(rows));
    for (int isa = 0; mp_kern_at(isa); isa++)
        for (int type = 0; type < MP_DTYPE_COUNT; type++)
            if (mp_kern_at(isa)->dot[type]) bench_type(mp_kern_at(isa), (mp_dtype)type, rows, x);
    free(x);
    munmap(rows, BENCH_LARGE);
    return 0;
}
#endif
