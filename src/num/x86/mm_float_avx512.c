/* Products of rows of F32, F16 and BF16 with float activations.
 *
 * Element i is added to lane i % 32 of a row and token (two registers), in order; the lanes are folded at the end: the same for one token, with
 * one row at a time, and for many, with tiles of 2 rows x 4 tokens over pieces of 512 elements that stay in the first cache.
 * Floor: one token: the rows' bytes; many: 16 products a cycle (one 512-bit multiply-add), with 12 loads for every 16 of them.
 *
 *   scratch   lanes [32 tokens][16 rows] of two registers, 64 KiB
 */
#include <string.h>

#include "num/x86/simd_avx512.h"
#include "num/x86/x86.h"

enum { ROWS = 16, TOKENS = 32, PIECE = 512, FEW_ROWS = 1, TILE_ROWS = 2, TILE_TOK = 4, STEP = 32 };

typedef struct lanes { __m512 v[2]; } lanes;

_Static_assert(sizeof(lanes) * TOKENS * ROWS <= MP_MM_SCRATCH, "the lanes have outgrown their scratch");

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

/* Elements [at, at + 32) of `rows` rows for `tok` tokens: those that the masks select. */
MP_INLINE void step(lanes *acc, load_fn *load, const char *const *row, const float *const *x, int64_t at, const __mmask16 *m, int rows, int tok)
{ /* long: eight parameters; inlined, all but `at` and the masks constant */
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        __m512 w[TILE_ROWS];
        MP_UNROLL
        for (int r = 0; r < rows; r++)
            w[r] = load(row[r], at + 16 * h, m[h]);
        MP_UNROLL
        for (int t = 0; t < tok; t++) {
            __m512 a = _mm512_maskz_loadu_ps(m[h], x[t] + at + 16 * h);
            MP_UNROLL
            for (int r = 0; r < rows; r++)
                acc[t * rows + r].v[h] = _mm512_fmadd_ps(w[r], a, acc[t * rows + r].v[h]);
        }
    }
}

/* Adds elements [from, to) to acc[tok][rows]. */
MP_INLINE void piece(lanes *acc, load_fn *load, const char *const *row, const float *const *x, int64_t from, int64_t to, int rows, int tok)
{ /* long: as step */
    static const __mmask16 all[2] = { 0xffff, 0xffff };
    lanes sum[TILE_ROWS * TILE_TOK];
    MP_UNROLL
    for (int i = 0; i < rows * tok; i++)
        sum[i] = acc[i];
    for (; to - from >= STEP; from += STEP)
        step(sum, load, row, x, from, all, rows, tok);
    if (to > from) {
        const __mmask16 m[2] = { mp_mask_512(to - from), mp_mask_512(to - from > 16 ? to - from - 16 : 0) };
        step(sum, load, row, x, from, m, rows, tok);
    }
    MP_UNROLL
    for (int i = 0; i < rows * tok; i++)
        acc[i] = sum[i];
}

static float fold(const lanes *l)
{
    return mp_fold_512(_mm512_add_ps(l->v[0], l->v[1]));
}

static int least(int64_t a, int b)
{
    return a < b ? (int)a : b;
}

MP_INLINE void one_token(const mp_mm *m, load_fn *load)
{
    const float *x = mp_mm_x(m, 0);
    float *out = mp_mm_out(m, 0);
    for (int64_t r = 0; r < m->rows; r += FEW_ROWS) {
        int n = least(m->rows - r, FEW_ROWS);
        const char *row[FEW_ROWS];
        lanes acc[TILE_ROWS * TILE_TOK] = { 0 };
        for (int i = 0; i < FEW_ROWS; i++)
            row[i] = (const char *)m->w + (size_t)(r + (i < n ? i : n - 1)) * m->row_bytes;
        piece(acc, load, row, &x, 0, m->n, FEW_ROWS, 1);
        for (int i = 0; i < n; i++)
            out[r + i] = fold(&acc[i]);
    }
}

typedef struct spot { int64_t r, t, from; int tok; } spot; /* of a tile: its first row, token and element, and how many tokens */

/* Two rows (the same one twice at the end of an odd number) for up to TILE_TOK tokens; a tile that is not full repeats its last token. */
MP_INLINE void tile(const mp_mm *m, load_fn *load, spot at, lanes acc[TILE_TOK * TILE_ROWS])
{
    const float *x[TILE_TOK];
    const char *row[TILE_ROWS];
    for (int i = 0; i < TILE_TOK; i++)
        x[i] = mp_mm_x(m, at.t + (i < at.tok ? i : at.tok - 1));
    for (int i = 0; i < TILE_ROWS; i++)
        row[i] = (const char *)m->w + (size_t)(at.r + i < m->rows ? at.r + i : m->rows - 1) * m->row_bytes;
    piece(acc, load, row, x, at.from, m->n - at.from < PIECE ? m->n : at.from + PIECE, TILE_ROWS, TILE_TOK);
}

/* 16 rows for 32 tokens. */
MP_INLINE void block(const mp_mm *m, load_fn *load, int64_t r0, int64_t t0)
{
    lanes (*acc)[ROWS / TILE_ROWS][TILE_TOK * TILE_ROWS] = m->scratch; /* [tile of tokens][pair of rows] */
    int rows = least(m->rows - r0, ROWS), tok = least(m->tok - t0, TOKENS);
    memset(acc, 0, sizeof(lanes) * TOKENS * ROWS);
    for (int64_t from = 0; from < m->n; from += PIECE)
        for (int t = 0; t < tok; t += TILE_TOK)
            for (int r = 0; r < rows; r += TILE_ROWS)
                tile(m, load, (spot){ r0 + r, t0 + t, from, least(tok - t, TILE_TOK) }, acc[t / TILE_TOK][r / TILE_ROWS]);
    for (int t = 0; t < tok; t++)
        for (int r = 0; r < rows; r++)
            mp_mm_out(m, t0 + t)[r0 + r] = fold(&acc[t / TILE_TOK][r / TILE_ROWS][t % TILE_TOK * TILE_ROWS + r % TILE_ROWS]);
}

MP_INLINE void mm(const mp_mm *m, load_fn *load)
{
    if (m->tok == 1) {
        one_token(m, load);
        return;
    }
    for (int64_t t = 0; t < m->tok; t += TOKENS)
        for (int64_t r = 0; r < m->rows; r += ROWS)
            block(m, load, r, t);
}

static void mm_f32(const mp_mm *m) { mm(m, load_f32); }
static void mm_f16(const mp_mm *m) { mm(m, load_f16); }
static void mm_bf16(const mp_mm *m) { mm(m, load_bf16); }

void mp_avx512_init_mm_float(mp_kern *k)
{
    k->mm[MP_F32] = mm_f32;
    k->mm[MP_F16] = mm_f16;
    k->mm[MP_BF16] = mm_bf16;
}
