/* Products of quantized rows: blocks of 16 rows, for one token as the rows lie in memory, for more from a panel of turned codes.
 *
 * One token (decode): one row after the other, as they lie. Bytes that must move: the rows', once; the arithmetic of 256
 * weights takes 13 to 25 cycles (order_avx512.h says what binds it), their bytes (54 to 272) 7 to 36 at 28 GB/s a core and 3.7 GHz.
 *
 * More tokens (prefill): 16 rows are unpacked into a panel, 8 super-blocks of each at a time, and every tile of 2 rows x 4 tokens takes its codes and
 * activations from there: 26 of 32 registers. Floor: 256 products are 4 vpdpbusd and 2 (MIN_32 2.5, MIN_16 3.5) float operations,
 * all of which share one 512-bit port a cycle: 67 % (62, 53) of the peak of vpdpbusd.
 *
 *   scratch   the token (one), or panel [16 rows][8 super-blocks] 48 KiB | lanes [128 tokens][16 rows] of 64 bytes, 128 KiB
 */
#include <assert.h>

#include "num/x86/block_avx512.h"

enum { ROWS = MP_BLOCK_ROWS, TOKENS = 128, PAIR = 2, TILE = 4 };

typedef struct panel {
    mp_super512 w[ROWS][MP_PIECE];
    __m512      lanes[TOKENS][ROWS];
} panel;

_Static_assert(sizeof(panel) <= MP_MM_SCRATCH, "the panel has outgrown its scratch");

static void store_rows(const mp_mm *m, int64_t t, int64_t r, const __m512 *lanes)
{
    _mm512_mask_storeu_ps(mp_mm_out(m, t) + r, mp_mask_512(m->rows - r), mp_fold16_512(lanes));
}

static void one_token(const mp_mm *m, const mp_mm512 *how)
{
    const mp_q8 *x = m->scratch;
    how->token(m->scratch, mp_mm_x(m, 0), m->n, m->turned);
    for (int64_t r = 0; r < m->rows; r += ROWS) {
        __m512 lanes[ROWS] = { _mm512_setzero_ps() };
        int rows = mp_least(m->rows - r, ROWS);
        how->rows(lanes, m, r, rows, x);
        store_rows(m, 0, r, lanes);
    }
}

/* ---- more tokens ---- */

/* One token's codes in registers. Without the barrier the compiler reads them anew for each row, and loads, one a cycle, become what it waits for. */
MP_INLINE void hold(__m512i q[4], const mp_q8 *x)
{
    MP_UNROLL
    for (int k = 0; k < 4; k++) {
        q[k] = _mm512_loadu_si512(x->q + 64 * k);
        __asm__("" : "+v"(q[k]));
    }
}

/* A turned super-block with one token's 256 activations; share: MIN_16: of the minima. */
MP_INLINE __m512 step(__m512 acc, const mp_mm512 *how, const mp_super512 *w, const __m512i q[4], __m512 share, const mp_q8 *x)
{
    __m512i sum = how->is_signed ? _mm512_loadu_si512(x->a) : _mm512_setzero_si512();
    MP_UNROLL
    for (int k = 0; k < 4; k++)
        sum = _mm512_dpbusd_epi32(sum, w->q[k], q[k]);
    acc = mp_add_512(acc, sum, w, x);
    return how->min == MP_MIN_16 ? _mm512_fmadd_ps(w->min.all, share, acc) : acc;
}

/* What a panel is multiplied with: super-blocks [0, supers) of `rows` rows with those of up to TILE tokens, the first of which is the panel's t-th. */
typedef struct strip {
    const mp_q8 *x[TILE];
    int          rows, supers, t;
    bool         fresh; /* the lanes hold nothing yet */
    mp_ahead     ahead;
} strip;

/* The minima of both rows side by side. */
MP_INLINE __m512 mins(const mp_super512 *a, const mp_super512 *b)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(a->min.of_32), b->min.of_32, 1);
}

/* Lanes of 2 rows and `tok` tokens: adds the products of a strip's super-blocks. */
MP_INLINE void tile(__m512 *lanes, const mp_mm512 *how, const mp_super512 *w, const strip *s, int tok)
{
    __m512 acc[TILE][PAIR], off[TILE]; /* off: MIN_32: what is to be taken off the first row, and off the second */
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        off[t] = _mm512_setzero_ps();
        for (int r = 0; r < PAIR; r++)
            acc[t][r] = s->fresh ? _mm512_setzero_ps() : lanes[t * ROWS + r];
    }
    for (int i = 0; i < s->supers; i++) {
        const mp_super512 *a = w + i, *b = w + MP_PIECE + i;
        MP_UNROLL
        for (int t = 0; t < tok; t++) {
            __m512i q[4];
            hold(q, s->x[t] + i);
            __m512 share = how->min == MP_MIN_16 ? mp_min_share_512(s->x[t] + i) : _mm512_setzero_ps();
            acc[t][0] = step(acc[t][0], how, a, q, share, s->x[t] + i);
            acc[t][1] = step(acc[t][1], how, b, q, share, s->x[t] + i);
            if (how->min == MP_MIN_32)
                off[t] = _mm512_fmadd_ps(mins(a, b), _mm512_broadcast_f32x8(_mm256_loadu_ps(s->x[t][i].s)), off[t]);
        }
    }
    MP_UNROLL
    for (int t = 0; t < tok; t++) {
        if (how->min == MP_MIN_32) {
            acc[t][0] = _mm512_sub_ps(acc[t][0], _mm512_zextps256_ps512(_mm512_castps512_ps256(off[t])));
            acc[t][1] = _mm512_sub_ps(acc[t][1], _mm512_zextps256_ps512(_mm512_extractf32x8_ps(off[t], 1)));
        }
        lanes[t * ROWS] = acc[t][0], lanes[t * ROWS + 1] = acc[t][1];
    }
}

MP_INLINE void tiles(panel *p, const mp_mm512 *how, const strip *s, int tok)
{
    for (int r = 0; r < s->rows; r += PAIR) {
        mp_ahead_ask(&s->ahead, r, s->t / TILE);
        tile(&p->lanes[s->t][r], how, p->w[r], s, tok);
    }
}

MP_INLINE void tiles_of(panel *p, const mp_mm512 *how, const strip *s, int tok)
{
    switch (tok) {
    case 1: tiles(p, how, s, 1); break;
    case 2: tiles(p, how, s, 2); break;
    case 3: tiles(p, how, s, 3); break;
    default: tiles(p, how, s, 4); break;
    }
}

/* Compiled for each kind of codes. */
static void multiply(panel *p, const mp_mm512 *how, const strip *s, int tok)
{
    if (how->is_signed)
        tiles_of(p, &(const mp_mm512){ .is_signed = true, .min = MP_MIN_NONE }, s, tok);
    else if (how->min == MP_MIN_32)
        tiles_of(p, &(const mp_mm512){ .is_signed = false, .min = MP_MIN_32 }, s, tok);
    else
        tiles_of(p, &(const mp_mm512){ .is_signed = false, .min = MP_MIN_16 }, s, tok);
}

/* 16 rows from r on with tokens [first, first + tok). */
static void block(const mp_mm *m, const mp_mm512 *how, int64_t r, int64_t first, int tok)
{
    panel *p = m->scratch;
    int rows = mp_least(m->rows - r, ROWS);
    for (int64_t at = 0; at < mp_supers(m->n); at += MP_PIECE) {
        strip s = { .rows = rows + rows % 2, .supers = mp_least(mp_supers(m->n) - at, MP_PIECE), .fresh = at == 0 };
        s.ahead = mp_ahead_of(m, r, (size_t)(at + MP_PIECE) * how->bytes, MP_PIECE * how->bytes, (tok + TILE - 1) / TILE);
        for (int i = 0; i < s.rows; i++)
            how->panel(p->w[i], mp_mm_row(m, r + mp_least(i, rows - 1)) + at * how->bytes, mp_least(m->n - at * MP_SUPER, MP_PIECE * MP_SUPER));
        for (s.t = 0; s.t < tok; s.t += TILE) {
            int n = mp_least(tok - s.t, TILE);
            for (int i = 0; i < n; i++)
                s.x[i] = (const mp_q8 *)mp_mm_x(m, first + s.t + i) + at;
            multiply(p, how, &s, n);
            for (int i = 0; i < n && at + MP_PIECE >= mp_supers(m->n); i++) /* now, while others are computed: stores to many places take their time */
                store_rows(m, first + s.t + i, r, p->lanes[s.t + i]);
        }
    }
}

void mp_mm_512(const mp_mm *m, const mp_mm512 *how)
{
    assert(m->n <= MP_MM_COLS && mp_q8_bytes(MP_MM_COLS) <= MP_MM_SCRATCH);
    if (m->tok == 1) {
        one_token(m, how);
        return;
    }
    for (int64_t t = 0; t < m->tok; t += TOKENS)
        for (int64_t r = 0; r < m->rows; r += ROWS)
            block(m, how, r, t, mp_least(m->tok - t, TOKENS));
}
