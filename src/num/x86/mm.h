/* What the products of both instruction sets share: how rows are counted and found, and how those that come next are asked for.
 *
 * Products of many tokens compute on 16 rows for microseconds, while memory is idle: the rows that are unpacked next are asked for meanwhile, a few lines
 * with every tile, because many at once get in each other's way (docs/experiments.md). */
#ifndef MP_NUM_X86_MM_H
#define MP_NUM_X86_MM_H

#include <immintrin.h>

#include "num/kern.h"

enum { MP_SUPER = MP_Q8_SUPER, MP_BLOCK_ROWS = 16 /* that are computed at once */ };

typedef enum mp_min_kind { MP_MIN_NONE, MP_MIN_32, MP_MIN_16 } mp_min_kind; /* of how many elements a type has a minimum */

static inline int mp_least(int64_t a, int b)
{
    return a < b ? (int)a : b;
}

static inline int64_t mp_supers(int64_t n)
{
    return (n + MP_SUPER - 1) / MP_SUPER;
}

static inline const uint8_t *mp_mm_row(const mp_mm *m, int64_t r)
{
    return (const uint8_t *)m->w + (size_t)r * m->row_bytes;
}

typedef struct mp_ahead {
    const uint8_t *rows; /* bytes [0, bytes) of each of n rows that are row_bytes apart */
    size_t         row_bytes, bytes, part;
    int            n;
} mp_ahead;

/* What comes after bytes [from - piece, from) of the 16 rows from r on: the next piece of these, other rows, or those that the caller goes on with.
 * strips: how often the rows will be passed over until then. */
static inline __attribute__((always_inline)) mp_ahead mp_ahead_of(const mp_mm *m, int64_t r, size_t from, size_t piece, int strips)
{
    if (from >= m->row_bytes)
        from = 0, r += MP_BLOCK_ROWS;
    const uint8_t *rows = r < m->rows ? mp_mm_row(m, r) : m->next;
    if (!rows)
        return (mp_ahead){ .n = 0 };
    mp_ahead a = { .rows = rows + from, .row_bytes = m->row_bytes, .bytes = m->row_bytes - from < piece ? m->row_bytes - from : piece };
    a.n = r < m->rows ? mp_least(m->rows - r, MP_BLOCK_ROWS) : MP_BLOCK_ROWS;
    a.part = (a.bytes / (size_t)strips + 63) / 64 * 64;
    return a;
}

/* The part of two of the rows that belongs to this strip. */
static inline __attribute__((always_inline)) void mp_ahead_ask(const mp_ahead *a, int row, int strip)
{
    size_t from = (size_t)strip * a->part, to = from + a->part < a->bytes ? from + a->part : a->bytes;
    for (int i = row; i < row + 2 && i < a->n; i++)
        for (size_t b = from; b < to; b += 64)
            _mm_prefetch((const char *)a->rows + (size_t)i * a->row_bytes + b, _MM_HINT_T1);
}
#endif
