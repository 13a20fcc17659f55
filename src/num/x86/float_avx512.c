/* Rows of F32, F16 and BF16: products with float activations, and decoding.
 *
 * Element i is added to lane i % 32 of a row and token (two registers), in order; the lanes are folded at the end: the same for one token, with
 * one row at a time, and for many, with tiles of 4 rows x 3 tokens (24 registers), 2048 elements at a time: three tokens' 24 KiB leave room in the first
 * cache, and in its sets, for rows and results. Floor: one token: the rows' bytes; many: 16 products a cycle (one 512-bit multiply-add), with 7 loads for
 * every 12 of them.
 *
 *   scratch   of rows longer than 2048, lanes [48 tokens][16 rows] of two registers, 96 KiB
 */
#include <string.h>

#include "num/x86/mm.h"
#include "num/x86/simd_avx512.h"
#include "num/x86/x86.h"

enum { ROWS = MP_BLOCK_ROWS, TOKENS = 48, PIECE = 2048, TILE_ROWS = 4, TILE_TOK = 3, TILE = TILE_ROWS * TILE_TOK, STEP = 32 };

typedef struct lanes { __m512 v[2]; } lanes;

typedef lanes held_lanes[ROWS / TILE_ROWS][TILE]; /* of a strip of tokens, between the pieces of rows */

_Static_assert(sizeof(held_lanes) * (TOKENS / TILE_TOK) <= MP_MM_SCRATCH, "the lanes have outgrown their scratch");

/* Elements [at, at + 16) that the mask selects, at any address; others are 0 and are not touched. */
typedef __m512 load_fn(const char *row, int64_t at, __mmask16 mask);

MP_INLINE __m512 load_f32(const char *row, int64_t at, __mmask16 mask)
{
    return _mm512_maskz_loadu_ps(mask, row + at * 4);
}

MP_INLINE __m512 load_f16(const char *row, int64_t at, __mmask16 mask)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + at * 2));
}

MP_INLINE __m512 load_bf16(const char *row, int64_t at, __mmask16 mask)
{
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, row + at * 2));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}

/* n elements of up to TILE_ROWS rows and TILE_TOK tokens. */
typedef struct strip {
    const char  *row[TILE_ROWS];
    const float *x[TILE_TOK];
    int64_t      n;
} strip;

/* Elements [at, at + 32): those that the masks select. acc[t * rows + r]. */
MP_INLINE void step(lanes *acc, load_fn *load, const strip *s, int64_t at, const __mmask16 m[2], int rows, int tok)
{ /* long: seven parameters; inlined, all but `at` and the masks constant */
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        __m512 w[TILE_ROWS];
        MP_UNROLL
        for (int r = 0; r < rows; r++)
            w[r] = load(s->row[r], at + 16 * h, m[h]);
        MP_UNROLL
        for (int t = 0; t < tok; t++) {
            __m512 a = _mm512_maskz_loadu_ps(m[h], s->x[t] + at + 16 * h);
            MP_UNROLL
            for (int r = 0; r < rows; r++)
                acc[t * rows + r].v[h] = _mm512_fmadd_ps(w[r], a, acc[t * rows + r].v[h]);
        }
    }
}

/* Adds the strip's products to sum[tok][rows], an array of the caller's own: it stays in registers. */
MP_INLINE void add_strip(lanes *sum, load_fn *load, const strip *s, int rows, int tok)
{
    static const __mmask16 all[2] = { 0xffff, 0xffff };
    int64_t at = 0;
    for (; s->n - at >= STEP; at += STEP)
        step(sum, load, s, at, all, rows, tok);
    if (s->n > at) {
        const __mmask16 m[2] = { mp_mask_512(s->n - at), mp_mask_512(s->n - at > 16 ? s->n - at - 16 : 0) };
        step(sum, load, s, at, m, rows, tok);
    }
}

MP_INLINE void one_token(const mp_mm *m, load_fn *load)
{
    strip s = { .x = { mp_mm_x(m, 0) }, .n = m->n };
    float *out = mp_mm_out(m, 0);
    for (int64_t r = 0; r < m->rows; r++) {
        lanes sum = { 0 };
        s.row[0] = (const char *)m->w + (size_t)r * m->row_bytes;
        add_strip(&sum, load, &s, 1, 1);
        out[r] = mp_fold_512(_mm512_add_ps(sum.v[0], sum.v[1]));
    }
}

/* Elements [from, from + n) of 16 rows and 48 tokens. */
typedef struct block {
    int64_t     r, t, from, n;
    int         rows, tok;
    mp_ahead    ahead;
} block;

MP_INLINE void put(const mp_mm *m, const block *b, int t, int r, const lanes *sum)
{
    __m512 v[16];
    float out[16];
    MP_UNROLL
    for (int i = 0; i < 16; i++)
        v[i] = i < TILE ? _mm512_add_ps(sum[i].v[0], sum[i].v[1]) : _mm512_setzero_ps();
    _mm512_storeu_ps(out, mp_fold16_512(v));
    for (int i = 0; i < mp_least(b->tok - t, TILE_TOK); i++)
        memcpy(mp_mm_out(m, b->t + t + i) + b->r + r, out + i * TILE_ROWS, (size_t)mp_least(b->rows - r, TILE_ROWS) * sizeof(float));
}

/* Tokens [t, t + tok) of the block with all of its rows. */
MP_INLINE void strip_rows(const mp_mm *m, const block *b, load_fn *load, int t, int tok)
{
    const int64_t at = load == load_f32 ? b->from * 4 : b->from * 2;
    held_lanes *held = (held_lanes *)m->scratch + t / TILE_TOK;
    strip s = { .n = b->n };
    for (int i = 0; i < tok; i++)
        s.x[i] = (const float *)mp_mm_x(m, b->t + t + i) + b->from;
    for (int r = 0; r < b->rows; r += TILE_ROWS) {
        lanes sum[TILE];
        for (int i = 0; i < TILE_ROWS; i++) /* the last one again where rows are missing */
            s.row[i] = (const char *)m->w + (size_t)(b->r + mp_least(r + i, b->rows - 1)) * m->row_bytes + at;
        for (int i = 0; i < TILE_ROWS; i += 2)
            mp_ahead_ask(&b->ahead, r + i, t / TILE_TOK);
        MP_UNROLL
        for (int i = 0; i < TILE; i++)
            sum[i] = b->from && i < tok * TILE_ROWS ? (*held)[r / TILE_ROWS][i] : (lanes){ 0 };
        add_strip(sum, load, &s, TILE_ROWS, tok);
        if (b->from + b->n == m->n) {
            put(m, b, t, r, sum);
            continue;
        }
        MP_UNROLL
        for (int i = 0; i < tok * TILE_ROWS; i++)
            (*held)[r / TILE_ROWS][i] = sum[i];
    }
}

MP_INLINE void multiply(const mp_mm *m, const block *b, load_fn *load)
{
    for (int t = 0; t < b->tok; t += TILE_TOK)
        switch (mp_least(b->tok - t, TILE_TOK)) {
        case 1: strip_rows(m, b, load, t, 1); break;
        case 2: strip_rows(m, b, load, t, 2); break;
        default: strip_rows(m, b, load, t, 3); break;
        }
}

MP_INLINE void mm(const mp_mm *m, load_fn *load)
{
    if (m->tok == 1) {
        one_token(m, load);
        return;
    }
    const size_t size = load == load_f32 ? 4 : 2;
    for (int64_t t = 0; t < m->tok; t += TOKENS)
        for (int64_t r = 0; r < m->rows; r += ROWS)
            for (int64_t from = 0; from < m->n; from += PIECE) {
                block b = { .r = r, .t = t, .from = from, .n = mp_least(m->n - from, PIECE), .rows = mp_least(m->rows - r, ROWS), .tok = mp_least(m->tok - t, TOKENS) };
                b.ahead = mp_ahead_of(m, r, (size_t)(from + PIECE) * size, PIECE * size, (b.tok + TILE_TOK - 1) / TILE_TOK);
                multiply(m, &b, load);
            }
}

static void mm_f32(const mp_mm *m) { mm(m, load_f32); }
static void mm_f16(const mp_mm *m) { mm(m, load_f16); }
static void mm_bf16(const mp_mm *m) { mm(m, load_bf16); }

MP_INLINE void decode(float *dst, const void *src, int64_t n, load_fn *load)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = mp_mask_512(n - i);
        _mm512_mask_storeu_ps(dst + i, m, load(src, i, m));
    }
}

static void dequant_f16(float *dst, const void *src, int64_t n) { decode(dst, src, n, load_f16); }
static void dequant_bf16(float *dst, const void *src, int64_t n) { decode(dst, src, n, load_bf16); }

void mp_avx512_init_float(mp_kern *k)
{
    k->dequant[MP_F16] = dequant_f16;
    k->dequant[MP_BF16] = dequant_bf16;
    k->mm[MP_F32] = mm_f32;
    k->mm[MP_F16] = mm_f16;
    k->mm[MP_BF16] = mm_bf16;
}
