/* Products of quantized rows: blocks of 16 rows, for one token as the rows lie in memory, for more from a panel of turned codes.
 *
 * One token (decode): one row after the other, as they lie. Bytes that must move: the rows', once; the arithmetic of 256
 * weights takes 13 to 25 cycles (order_avx512.h says what binds it), their bytes (54 to 272) 7 to 36 at 28 GB/s a core and 3.7 GHz.
 *
 * More tokens (prefill): 16 rows are unpacked into a panel, 8 super-blocks of each at a time, and every tile of 4 rows x 4 tokens takes its codes and
 * activations from there. Floor: 512 products, two rows' 256, are 8 vpdpbusd and 2 float operations (MIN_32 3; scales for 16 3, and MIN_16 5), all of
 * which share one 512-bit port a cycle: 80 % (73; 73, 62) of the peak of vpdpbusd.
 *
 *   scratch   the token (one), or panel [8 pairs of rows][8 super-blocks] 48 KiB | lanes [128 tokens][16 rows] of 32 bytes, 64 KiB
 */
#include <assert.h>

#include "num/x86/block_avx512.h"

enum { PIECE = 8 /* super-blocks */, PAIRS = MP_BLOCK_ROWS / 2, TOKENS = 128, WIDE = 2 /* pairs of a tile */, TILE = 4 /* tokens of it */ };

typedef struct panel {
    mp_pair512 w[PAIRS][PIECE];
    __m512     lanes[TOKENS][PAIRS];
} panel;

_Static_assert(sizeof(panel) <= MP_MM_SCRATCH, "the panel has outgrown its scratch");

/* A store of a whole line past the caches needs nothing read first (docs/experiments.md). */
static void store_rows(const mp_mm *m, int64_t t, int64_t r, const __m512 *lanes)
{
    float *out = mp_mm_out(m, t) + r;
    if (m->stream && m->rows - r >= MP_BLOCK_ROWS && (uintptr_t)out % 64 == 0)
        _mm512_stream_ps(out, mp_fold8_512(lanes));
    else
        _mm512_mask_storeu_ps(out, mp_mask_512(m->rows - r), mp_fold8_512(lanes));
}

static void one_token(const mp_mm *m, const mp_mm512 *how)
{
    how->token(m->scratch, mp_mm_x(m, 0), m->n, m->turned);
    for (int64_t r = 0; r < m->rows; r += MP_BLOCK_ROWS) {
        union { __m512 pair[PAIRS]; __m256 row[MP_BLOCK_ROWS]; } lanes = { .pair = { _mm512_setzero_ps() } };
        how->rows(lanes.row, m, r, mp_least(m->rows - r, MP_BLOCK_ROWS), m->scratch);
        store_rows(m, 0, r, lanes.pair);
    }
}

/* ---- more tokens ---- */

MP_INLINE __m512i twice_i(const void *p) /* 32 bytes for both rows */
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256(p));
}

MP_INLINE __m512 twice(const float *p)
{
    return _mm512_broadcast_f32x8(_mm256_loadu_ps(p));
}

/* WIDE pairs of rows' super-blocks: codes in registers, the rest in memory. Without the barriers the compiler reads codes anew for each token, and
 * loads, one a cycle, become what is waited for. */
typedef struct held {
    __m512i           q[WIDE][8];
    const mp_pair512 *w[WIDE];
} held;

MP_INLINE void hold(held *to, const mp_pair512 *w)
{
    MP_UNROLL
    for (int p = 0; p < WIDE; p++) {
        to->w[p] = w + p * PIECE;
        MP_UNROLL
        for (int k = 0; k < 8; k++) {
            to->q[p][k] = to->w[p]->q[k];
            __asm__("" : "+v"(to->q[p][k]));
        }
    }
}

/* Adds the exact sums of words [first, last) of a token's super-block and each pair of rows. */
MP_INLINE void multiply_words(__m512i sum[WIDE], const held *w, const mp_q8 *x, int first, int last)
{
    MP_UNROLL
    for (int k = first; k < last; k++) {
        __m512i q = twice_i(x->q + 32 * k);
        MP_UNROLL
        for (int p = 0; p < WIDE; p++)
            sum[p] = _mm512_dpbusd_epi32(sum[p], w->q[p][k], q);
    }
}

MP_INLINE void step_32(__m512 acc[WIDE], const mp_mm512 *how, const held *w, const mp_q8 *x)
{
    __m512i sum[WIDE];
    MP_UNROLL
    for (int p = 0; p < WIDE; p++)
        sum[p] = how->is_signed ? twice_i(x->a) : _mm512_setzero_si512();
    multiply_words(sum, w, x, 0, 8);
    MP_UNROLL
    for (int p = 0; p < WIDE; p++) {
        acc[p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[p]), _mm512_mul_ps(w->w[p]->scale[0], twice(x->d)), acc[p]);
        if (how->min == MP_MIN_32)
            acc[p] = _mm512_fnmadd_ps(w->w[p]->min[0], twice(x->s), acc[p]);
    }
}

MP_INLINE void step_16(__m512 acc[WIDE], const mp_mm512 *how, const held *w, const mp_q8 *x)
{
    __m512i sum[2][WIDE];
    MP_UNROLL
    for (int h = 0; h < 2; h++)
        MP_UNROLL
        for (int p = 0; p < WIDE; p++)
            sum[h][p] = how->is_signed ? twice_i(x->a16[h]) : _mm512_setzero_si512();
    MP_UNROLL
    for (int k = 0; k < 4; k++)
        MP_UNROLL
        for (int h = 0; h < 2; h++)
            multiply_words(sum[h], w, x, 4 * h + k, 4 * h + k + 1);
    MP_UNROLL
    for (int p = 0; p < WIDE; p++) {
        __m512 part = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[0][p]), w->w[p]->scale[0]);
        part = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[1][p]), w->w[p]->scale[1], part);
        for (int h = 0; how->min == MP_MIN_16 && h < 2; h++)
            part = _mm512_fmadd_ps(w->w[p]->min[h], _mm512_cvtepi32_ps(twice_i(x->a16[h])), part);
        acc[p] = _mm512_fmadd_ps(part, twice(x->d), acc[p]);
    }
}

/* What a panel is multiplied with: super-blocks [0, supers) of `pairs` pairs of rows with those of up to TILE tokens, the first of which is the panel's
 * t-th. */
typedef struct strip {
    const mp_q8 *x[TILE];
    int          pairs, supers, t;
    bool         fresh; /* the lanes hold nothing yet */
    mp_ahead     ahead;
} strip;

/* Lanes of WIDE pairs of rows and `tok` tokens: adds the products of a strip's super-blocks. */
MP_INLINE void tile(__m512 *lanes, const mp_mm512 *how, const mp_pair512 *w, const strip *s, int tok)
{
    __m512 acc[TILE][WIDE];
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        for (int p = 0; p < WIDE; p++)
            acc[t][p] = s->fresh ? _mm512_setzero_ps() : lanes[t * PAIRS + p];
    for (int i = 0; i < s->supers; i++) {
        held both;
        hold(&both, w + i);
        MP_UNROLL
        for (int t = 0; t < tok; t++) {
            if (how->sub == 16)
                step_16(acc[t], how, &both, s->x[t] + i);
            else
                step_32(acc[t], how, &both, s->x[t] + i);
        }
    }
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        for (int p = 0; p < WIDE; p++)
            lanes[t * PAIRS + p] = acc[t][p];
}

MP_INLINE void tiles(panel *p, const mp_mm512 *how, const strip *s, int tok)
{
    for (int pair = 0; pair < s->pairs; pair += WIDE) {
        for (int row = 2 * pair; row < 2 * (pair + WIDE); row += 2)
            mp_ahead_ask(&s->ahead, row, s->t / TILE);
        tile(&p->lanes[s->t][pair], how, p->w[pair], s, tok);
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
    if (how->sub == 16 && how->min == MP_MIN_16)
        tiles_of(p, &(const mp_mm512){ .sub = 16, .is_signed = false, .min = MP_MIN_16 }, s, tok);
    else if (how->sub == 16)
        tiles_of(p, &(const mp_mm512){ .sub = 16, .is_signed = true, .min = MP_MIN_NONE }, s, tok);
    else if (how->is_signed)
        tiles_of(p, &(const mp_mm512){ .sub = 32, .is_signed = true, .min = MP_MIN_NONE }, s, tok);
    else
        tiles_of(p, &(const mp_mm512){ .sub = 32, .is_signed = false, .min = MP_MIN_32 }, s, tok);
}

/* 16 rows from r on with tokens [first, first + tok). */
static void block(const mp_mm *m, const mp_mm512 *how, int64_t r, int64_t first, int tok)
{
    panel *p = m->scratch;
    int rows = mp_least(m->rows - r, MP_BLOCK_ROWS);
    for (int64_t at = 0; at < mp_supers(m->n); at += PIECE) {
        strip s = { .pairs = (rows + 3) / 4 * WIDE, .supers = mp_least(mp_supers(m->n) - at, PIECE), .fresh = at == 0 };
        s.ahead = mp_ahead_of(m, r, (size_t)(at + PIECE) * how->bytes, PIECE * how->bytes, (tok + TILE - 1) / TILE);
        for (int i = 0; i < s.pairs; i++) { /* past the last row, that one again */
            const uint8_t *a = mp_mm_row(m, r + mp_least(2 * i, rows - 1)), *b = mp_mm_row(m, r + mp_least(2 * i + 1, rows - 1));
            how->panel(p->w[i], (const uint8_t *const[2]){ a + at * how->bytes, b + at * how->bytes }, mp_least(m->n - at * MP_SUPER, PIECE * MP_SUPER));
        }
        for (s.t = 0; s.t < tok; s.t += TILE) {
            int n = mp_least(tok - s.t, TILE);
            for (int i = 0; i < n; i++)
                s.x[i] = (const mp_q8 *)mp_mm_x(m, first + s.t + i) + at;
            multiply(p, how, &s, n);
            for (int i = 0; i < n && at + PIECE >= mp_supers(m->n); i++) /* now, while others are computed: stores to many places take their time */
                store_rows(m, first + s.t + i, r, p->lanes[s.t + i]);
        }
    }
}

void mp_mm_512(const mp_mm *m, const mp_mm512 *how)
{
    assert(m->n <= MP_MM_COLS && (MP_MM_COLS / MP_SUPER + 1) / 2 * sizeof(mp_token512) <= MP_MM_SCRATCH);
    if (m->tok == 1) {
        one_token(m, how);
        return;
    }
    for (int64_t t = 0; t < m->tok; t += TOKENS)
        for (int64_t r = 0; r < m->rows; r += MP_BLOCK_ROWS)
            block(m, how, r, t, mp_least(m->tok - t, TOKENS));
    if (m->stream)
        _mm_sfence(); /* other threads read the results after what they wait for next */
}
