/* Products of many tokens compute on 16 rows for microseconds, while memory is idle: the rows that are unpacked next are asked for meanwhile, a few lines
 * with every tile, because many at once get in each other's way (docs/experiments.md). */
#ifndef MP_NUM_X86_AHEAD_H
#define MP_NUM_X86_AHEAD_H

#include <immintrin.h>

#include "num/kern.h"

enum { MP_AHEAD_ROWS = 16 };

typedef struct mp_ahead {
    const char *rows; /* bytes [0, bytes) of each of n rows that are row_bytes apart */
    size_t      row_bytes, bytes, part;
    int64_t     n;
} mp_ahead;

/* What comes after bytes [from - piece, from) of the 16 rows from r on: the next piece of these, other rows, or those that the caller goes on with.
 * strips: how often the rows will be passed over until then. */
static inline __attribute__((always_inline)) mp_ahead mp_ahead_of(const mp_mm *m, int64_t r, size_t from, size_t piece, int strips)
{
    if (from >= m->row_bytes)
        from = 0, r += MP_AHEAD_ROWS;
    mp_ahead a = { .row_bytes = m->row_bytes, .bytes = m->row_bytes - from < piece ? m->row_bytes - from : piece };
    a.n = r >= m->rows ? (m->next ? MP_AHEAD_ROWS : 0) : m->rows - r < MP_AHEAD_ROWS ? m->rows - r : MP_AHEAD_ROWS;
    a.rows = (const char *)(r >= m->rows ? m->next : (const char *)m->w + (size_t)r * m->row_bytes) + (a.n ? from : 0);
    a.part = (a.bytes / (size_t)strips + 63) / 64 * 64;
    return a;
}

/* The part of two of the rows that belongs to this strip. */
static inline __attribute__((always_inline)) void mp_ahead_ask(const mp_ahead *a, int row, int strip)
{
    size_t from = (size_t)strip * a->part, to = from + a->part < a->bytes ? from + a->part : a->bytes;
    for (int i = row; i < row + 2 && i < a->n; i++)
        for (size_t b = from; b < to; b += 64)
            _mm_prefetch(a->rows + (size_t)i * a->row_bytes + b, _MM_HINT_T1);
}
#endif
