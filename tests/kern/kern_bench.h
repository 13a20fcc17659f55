/* The measuring half of test_kern: one thread, the best of several runs, beside what this machine can do at most (num/limits.h).
 *   GB/s    weights read for one token, rows of 2048 from 96 MiB, more than the caches hold: what decoding does
 *   Gop/s   2 operations per weight and token, 64 tokens, 256 KiB of weights: what prefill does */
#ifndef MP_TESTS_KERN_KERN_BENCH_H
#define MP_TESTS_KERN_KERN_BENCH_H

#include <time.h>

#include "base/os.h"
#include "kern_data.h"
#include "num/limits.h"

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

/* What one thread can do at most, with the instructions of one set. */
typedef struct bench_limits {
    double read_bps, ops[MP_ARITH_COUNT]; /* 0: not known */
} bench_limits;

typedef struct bench_result {
    double read_bps, cached_bps, ops;
} bench_result;

static inline void bench_percent(double part, double whole) {
    if (whole > 0) printf(" %3.0f %%", 100 * part / whole);
    else printf("     -");
}

/* Both of one type, each with its share of the limit. */
static inline void bench_print(const mp_kern *k, mp_dtype type, const bench_limits *l, const bench_result *r) {
    mp_arith arith = mp_dtype_arith(type);
    printf("%-7s %-7s %8.2f GB/s", k->name, mp_dtype_get(type)->name, r->read_bps * 1e-9);
    bench_percent(r->read_bps, l->read_bps);
    printf(" %8.2f GB/s in cache %8.1f Gop/s", r->cached_bps * 1e-9, r->ops * 1e-9);
    bench_percent(r->ops, l->ops[arith]);
    printf(" of %s\n", mp_arith_name(arith));
    fflush(stdout);
}

static inline void bench_type(const mp_kern *k, mp_dtype type, const bench_limits *l, unsigned char *rows, unsigned char *x) {
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
    bench_print(k, type, l, &(bench_result){ (double)(large * row_bytes) / read, (double)(small * row_bytes) / cached, 2.0 * BENCH_TOK * BENCH_COLS * (double)small / many });
}

/* What k's instructions can do at most. */
static inline void bench_peaks(const mp_kern *k, bench_limits *l) {
    for (int a = 0; a < MP_ARITH_COUNT; a++) {
        l->ops[a] = mp_limits_ops(k, (mp_arith)a);
        if (l->ops[a] > 0) printf("%-7s %-7s can do at most       %8.1f Gop/s\n", k->name, mp_arith_name((mp_arith)a), l->ops[a] * 1e-9);
    }
    fflush(stdout);
}

/* 0 when both could be measured. */
static inline int bench_reads(mp_pool *pool, bench_limits *l) {
    static const mp_read_test test = { BENCH_LARGE, true, 8 * BENCH_RUNS };
    double all = 0;
    if (mp_limits_read(NULL, &test, &l->read_bps) || mp_limits_read(pool, &test, &all)) return 1;
    printf("reading huge pages: %.2f GB/s, %.2f with %d threads; below: one thread, and its share of one thread's limit\n", l->read_bps * 1e-9, all * 1e-9, mp_pool_threads(pool));
    return 0;
}

static inline int bench_all(void) {
    mp_ledger     *ledger = NULL;
    mp_pool       *pool = NULL;
    bench_limits   limits = { 0 };
    unsigned char *rows = mmap(NULL, BENCH_LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *x = aligned_alloc(64, BENCH_TOK * BENCH_COLS * 4);
    if (rows == MAP_FAILED || !x || mp_ledger_open(false, &ledger) || mp_pool_open(ledger, mp_os_cpus(), &pool) || bench_reads(pool, &limits)) return 1;
    madvise(rows, BENCH_LARGE, MADV_HUGEPAGE);
    for (int isa = 0; mp_kern_at(isa); isa++) {
        bench_peaks(mp_kern_at(isa), &limits);
        for (int type = 0; type < MP_DTYPE_COUNT; type++)
            if (mp_kern_has_mm(mp_kern_at(isa), (mp_dtype)type)) bench_type(mp_kern_at(isa), (mp_dtype)type, &limits, rows, x);
    }
    mp_pool_close(&pool);
    mp_ledger_close(&ledger);
    free(x);
    munmap(rows, BENCH_LARGE);
    return 0;
}
#endif
