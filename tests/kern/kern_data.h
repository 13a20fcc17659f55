/* Data for the kernel tests: memory that ends at a page nobody may touch, rows of every type with chosen scales, and a random source. */
#ifndef MP_TESTS_KERN_KERN_DATA_H
#define MP_TESTS_KERN_KERN_DATA_H

#include <math.h>
#include <sys/mman.h>

#include "num/kern.h"
#include "test.h"

/* ---- random: xorshift64*, the same everywhere ---- */

static uint64_t rng_state = 88172645463325252ull;

static inline uint32_t rng(void) {
    rng_state ^= rng_state >> 12, rng_state ^= rng_state << 25, rng_state ^= rng_state >> 27;
    return (uint32_t)((rng_state * 2685821657736338717ull) >> 32);
}
static inline float rng_float(void) { return (float)(rng() >> 8) * 0x1p-23f - 1.0f; } /* [-1, 1) */

/* ---- memory ---- */

/* Bytes that end exactly where an inaccessible page begins, 64 canary bytes in front: reading or writing past the end dies, writing before
 * the start is seen by guard_ok. */
typedef struct guard {
    unsigned char *base, *p;
    size_t         mapped;
} guard;

enum { GUARD_PAGE = 4096, GUARD_CANARY = 64 };

static inline guard guard_open(size_t bytes) {
    guard  g;
    size_t body = (bytes + GUARD_CANARY + GUARD_PAGE - 1) / GUARD_PAGE * GUARD_PAGE;
    g.mapped = body + GUARD_PAGE;
    g.base = mmap(NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.base == MAP_FAILED || mprotect(g.base + body, GUARD_PAGE, PROT_NONE)) {
        perror("guard page");
        exit(1);
    }
    g.p = g.base + body - bytes;
    memset(g.p - GUARD_CANARY, 0xC5, GUARD_CANARY);
    return g;
}
static inline bool guard_ok(const guard *g) {
    for (int i = 1; i <= GUARD_CANARY; i++)
        if (g->p[-i] != 0xC5) return false;
    return true;
}
static inline void guard_close(guard *g) { munmap(g->base, g->mapped); }

/* ---- rows ---- */

typedef enum row_kind {
    ROW_RANDOM,   /* any codes, scales of a usual size */
    ROW_ZERO,     /* all bytes 0 */
    ROW_ONES,     /* all code bytes 0xff: the largest codes */
    ROW_LOW,      /* all code bytes 0x80: -128 in Q8_0 */
    ROW_TINY,     /* the smallest subnormal scale */
    ROW_HUGE,     /* the largest half as scale */
    ROW_KINDS,
} row_kind;

/* Where a type keeps its halves; -1: none. */
typedef struct half_at {
    mp_dtype type;
    int      first, second;
} half_at;

static inline void row_halves(mp_dtype type, int *first, int *second) {
    static const half_at at[] = {
        { MP_Q4_0, 0, -1 },  { MP_Q4_1, 0, 2 },    { MP_Q5_0, 0, -1 },  { MP_Q5_1, 0, 2 },     { MP_Q8_0, 0, -1 },  { MP_Q2_K, 80, 82 }, { MP_Q3_K, 108, -1 },
        { MP_Q4_K, 0, 2 },   { MP_Q5_K, 0, 2 },    { MP_Q6_K, 208, -1 }, { MP_IQ4_NL, 0, -1 }, { MP_IQ4_XS, 0, -1 }, { MP_TQ1_0, 52, -1 }, { MP_TQ2_0, 64, -1 },
    };
    *first = *second = -1;
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        if (at[i].type == type) *first = at[i].first, *second = at[i].second;
}

static inline void put_half(unsigned char *p, float f) {
    uint16_t h = mp_f16_from_f32(f);
    memcpy(p, &h, 2);
}

static inline float row_scale(row_kind kind) {
    if (kind == ROW_TINY) return 0x1p-24f;
    if (kind == ROW_HUGE) return rng() & 1 ? 65504.0f : -65504.0f;
    return kind == ROW_ZERO ? 0 : rng_float() * 0.05f;
}

static inline void row_fill_float(mp_dtype type, unsigned char *row, int64_t n, row_kind kind) {
    for (int64_t i = 0; i < n; i++) {
        float f = kind == ROW_ZERO ? 0 : rng_float() * (kind == ROW_HUGE ? 60000.0f : kind == ROW_TINY ? 1e-7f : 1.0f);
        uint32_t bits;
        memcpy(&bits, &f, 4);
        if (type == MP_F32) memcpy(row + 4 * i, &f, 4);
        else if (type == MP_F16) put_half(row + 2 * i, f);
        else row[2 * i] = (unsigned char)(bits >> 16), row[2 * i + 1] = (unsigned char)(bits >> 24);
    }
}

static inline void row_fill(mp_dtype type, unsigned char *row, int64_t n, row_kind kind) {
    const mp_dtype_info *info = mp_dtype_get(type);
    int first, second;
    if (!info->quantized) {
        row_fill_float(type, row, n, kind);
        return;
    }
    row_halves(type, &first, &second);
    for (int64_t b = 0; b < n / info->block_len; b++, row += info->block_bytes) {
        for (int i = 0; i < info->block_bytes; i++)
            row[i] = kind == ROW_ZERO ? 0 : kind == ROW_ONES ? 0xff : kind == ROW_LOW ? 0x80 : (unsigned char)rng();
        if (first >= 0) put_half(row + first, row_scale(kind));
        if (second >= 0) put_half(row + second, row_scale(kind));
        if (type == MP_MXFP4) row[0] = kind == ROW_TINY ? (unsigned char)(rng() % 3) : kind == ROW_HUGE ? 200 : (unsigned char)(100 + rng() % 30);
    }
}
#endif
