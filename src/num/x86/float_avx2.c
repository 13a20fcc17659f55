/* Products of rows of F32, F16 and BF16 with float activations.
 *
 * Element i is added to lane i % 16 of a row and token (two registers), in order; the lanes are folded at the end: the same for one token, with
 * one row at a time, and for many, with tiles of 2 rows x 3 tokens (12 of 16 registers), 1024 elements of 16 rows at a time.
 * Floor: one token: the rows' bytes; many: 16 products a cycle (two 256-bit multiply-adds), with 10 loads, of which two a cycle are done, for every 12.
 *
 *   scratch   lanes [96 tokens][16 rows] of two registers, 96 KiB
 */
#include "num/x86/mm.h"
#include "num/x86/simd_avx2.h"
#include "num/x86/x86.h"

enum { ROWS = MP_BLOCK_ROWS, TOKENS = 96, PIECE = 1024, TILE_ROWS = 2, TILE_TOK = 3, STEP = 16 };

typedef struct lanes { __m256 v[2]; } lanes;

_Static_assert(sizeof(lanes[TOKENS][ROWS]) <= MP_MM_SCRATCH, "the lanes have outgrown their scratch");

/* Elements [at, at + 8), at any address; from `left` (which may be negative) on they are 0 and not touched. */
typedef __m256 load_fn(const void *src, int64_t at, int64_t left);

MP_INLINE __m256 load_f32(const void *src, int64_t at, int64_t left)
{
    const void *p = (const char *)src + at * 4;
    return mp_get_256(p, left);
}

MP_INLINE __m128i load_halves(const void *src, int64_t at, int64_t left)
{
    __m128i h = _mm_setzero_si128();
    if (left > 0)
        memcpy(&h, (const char *)src + at * 2, left >= 8 ? 16 : (size_t)left * 2);
    return h;
}

MP_INLINE __m256 load_f16(const void *src, int64_t at, int64_t left)
{
    return _mm256_cvtph_ps(load_halves(src, at, left));
}

MP_INLINE __m256 load_bf16(const void *src, int64_t at, int64_t left)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_halves(src, at, left)), 16));
}

MP_INLINE void one_token(const mp_mm *m, load_fn *load)
{
    const float *x = mp_mm_x(m, 0);
    float *out = mp_mm_out(m, 0);
    for (int64_t r = 0; r < m->rows; r++) {
        const char *row = (const char *)m->w + (size_t)r * m->row_bytes;
        __m256 low = _mm256_setzero_ps(), high = low;
        int64_t i = 0;
        for (; m->n - i >= STEP; i += STEP) {
            low = _mm256_fmadd_ps(load(row, i, 8), _mm256_loadu_ps(x + i), low);
            high = _mm256_fmadd_ps(load(row, i + 8, 8), _mm256_loadu_ps(x + i + 8), high);
        }
        low = _mm256_fmadd_ps(load(row, i, m->n - i), mp_get_256(x + i, m->n - i), low);
        high = _mm256_fmadd_ps(load(row, i + 8, m->n - i - 8), mp_get_256(x + i + 8, m->n - i - 8), high);
        out[r] = mp_fold_256(low, high);
    }
}

/* Elements [from, from + n) of 16 rows and 96 tokens. */
typedef struct block {
    int64_t      r, t, from, n;
    int          rows, tok;
    const void  *w[ROWS]; /* from element `from` on */
    mp_ahead     ahead;
} block;

/* An operand of several products, which the compiler would otherwise read anew for each. */
MP_INLINE __m256 held(__m256 v)
{
    __asm__("" : "+x"(v));
    return v;
}

typedef struct operands {
    load_fn     *load;
    const void  *w[TILE_ROWS];
    const float *x[TILE_TOK];
} operands;

/* Elements [at, at + 16), of which `left` remain. */
MP_INLINE void step(lanes acc[TILE_TOK][TILE_ROWS], const operands *o, int64_t at, int64_t left, int tok)
{
    MP_UNROLL
    for (int h = 0; h < 2; h++) {
        __m256 row[TILE_ROWS];
        MP_UNROLL
        for (int r = 0; r < TILE_ROWS; r++)
            row[r] = held(o->load(o->w[r], at + 8 * h, left - 8 * h));
        MP_UNROLL
        for (int t = 0; t < tok; t++) {
            __m256 a = held(mp_get_256(o->x[t] + at + 8 * h, left - 8 * h));
            MP_UNROLL
            for (int r = 0; r < TILE_ROWS; r++)
                acc[t][r].v[h] = _mm256_fmadd_ps(row[r], a, acc[t][r].v[h]);
        }
    }
}

/* Adds the products of rows r and r + 1 and `tok` tokens. */
MP_INLINE void tile(lanes (*sum)[ROWS], const block *b, int r, const operands *tokens, int tok)
{
    operands o = *tokens;
    lanes acc[TILE_TOK][TILE_ROWS];
    int64_t at = 0;
    MP_UNROLL
    for (int i = 0; i < TILE_ROWS; i++)
        o.w[i] = b->w[r + i];
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        MP_UNROLL
        for (int i = 0; i < TILE_ROWS; i++)
            acc[t][i] = b->from ? sum[t][r + i] : (lanes){ 0 };
    for (; b->n - at >= STEP; at += STEP)
        step(acc, &o, at, STEP, tok);
    if (b->n > at)
        step(acc, &o, at, b->n - at, tok);
    MP_UNROLL
    for (int t = 0; t < tok; t++)
        MP_UNROLL
        for (int i = 0; i < TILE_ROWS; i++)
            sum[t][r + i] = acc[t][i];
}

static void store_rows(const mp_mm *m, int64_t t, int64_t r, const lanes *sum)
{
    for (int i = 0; i < ROWS && r + i < m->rows; i += 8) {
        __m256 v[8];
        MP_UNROLL
        for (int j = 0; j < 8; j++)
            v[j] = _mm256_add_ps(sum[i + j].v[0], sum[i + j].v[1]);
        mp_put_256(mp_mm_out(m, t) + r + i, m->rows - r - i, mp_folds_256(v));
    }
}

MP_INLINE void multiply(const mp_mm *m, const block *b, load_fn *load)
{
    lanes (*sum)[ROWS] = m->scratch;
    for (int first = 0; first < b->tok; first += TILE_TOK) {
        operands o = { .load = load };
        int tok = mp_least(b->tok - first, TILE_TOK);
        for (int i = 0; i < tok; i++)
            o.x[i] = (const float *)mp_mm_x(m, b->t + first + i) + b->from;
        for (int r = 0; r < b->rows; r += TILE_ROWS) {
            mp_ahead_ask(&b->ahead, r, first / TILE_TOK);
            switch (tok) {
            case 1: tile(sum + first, b, r, &o, 1); break;
            case 2: tile(sum + first, b, r, &o, 2); break;
            default: tile(sum + first, b, r, &o, 3); break;
            }
        }
        for (int i = 0; i < tok && b->from + b->n == m->n; i++) /* now, while others are computed: stores to many places take their time */
            store_rows(m, b->t + first + i, b->r, sum[first + i]);
    }
}

/* Of an odd number of rows the last one is there twice. */
static void set_rows(const mp_mm *m, block *b, size_t size)
{
    for (int i = 0; i < ROWS && i <= b->rows; i++)
        b->w[i] = (const char *)m->w + (size_t)(b->r + mp_least(i, b->rows - 1)) * m->row_bytes + (size_t)b->from * size;
}

MP_INLINE void mm(const mp_mm *m, load_fn *load)
{
    const size_t size = load == load_f32 ? 4 : 2;
    if (m->tok == 1) {
        one_token(m, load);
        return;
    }
    for (int64_t t = 0; t < m->tok; t += TOKENS)
        for (int64_t r = 0; r < m->rows; r += ROWS) {
            block b = { .r = r, .t = t, .rows = mp_least(m->rows - r, ROWS), .tok = mp_least(m->tok - t, TOKENS) };
            for (; b.from < m->n; b.from += PIECE) {
                b.n = mp_least(m->n - b.from, PIECE);
                b.ahead = mp_ahead_of(m, r, (size_t)(b.from + PIECE) * size, PIECE * size, (b.tok + TILE_TOK - 1) / TILE_TOK);
                set_rows(m, &b, size);
                multiply(m, &b, load);
            }
        }
}

static void mm_f32(const mp_mm *m) { mm(m, load_f32); }
static void mm_f16(const mp_mm *m) { mm(m, load_f16); }
static void mm_bf16(const mp_mm *m) { mm(m, load_bf16); }

MP_INLINE void decode(float *dst, const void *src, int64_t n, load_fn *load)
{
    for (int64_t i = 0; i < n; i += 8)
        mp_put_256(dst + i, n - i, load(src, i, n - i));
}

static void dequant_f16(float *dst, const void *src, int64_t n) { decode(dst, src, n, load_f16); }
static void dequant_bf16(float *dst, const void *src, int64_t n) { decode(dst, src, n, load_bf16); }

void mp_avx2_init_float(mp_kern *k)
{
    k->dequant[MP_F16] = dequant_f16;
    k->dequant[MP_BF16] = dequant_bf16;
    k->mm[MP_F32] = mm_f32;
    k->mm[MP_F16] = mm_f16;
    k->mm[MP_BF16] = mm_bf16;
}
