/* Attention over F16 and F32 with AVX-512: 16 positions (scores) or 16 columns (values) to a vector, up to eight rows at once.
 *
 * Floor: 4 dim operations for each row and position, 16 lanes of one fused multiply-add a cycle: at dim 128 and 8 rows, 4 KiB of K or V take 1024
 * cycles. Conversion of halves runs beside the multiply-adds on other ports, so nothing is unpacked beforehand. What comes next is asked for into
 * the second cache (the first holds what is worked on): 11.5 GB/s of one token's cache at dim 128 and 8 rows; into the first 10.3, not at all 9.2. */
#include "num/attn.h"
#include "num/x86/simd_avx512.h"
#include "num/x86/x86.h"

enum { CHUNK = 12 * MP_ATTN_GROUP }; /* keys that stay near while all rows pass: a multiple of three and of four groups */

enum { LINE = 64 };

typedef __m512 load_fn(const void *src, int64_t at, __mmask16 mask);

MP_INLINE __m512 load_f32(const void *src, int64_t at, __mmask16 mask)
{
    return _mm512_maskz_loadu_ps(mask, (const char *)src + at * 4);
}

MP_INLINE __m512 load_f16(const void *src, int64_t at, __mmask16 mask)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, (const char *)src + at * 2));
}

/* ---- scores ---- */

typedef struct score_in {
    const float *q;
    const void  *k;
    const char  *ahead; /* of the first key */
    int64_t      dim;
    int          bytes; /* of an element, a constant */
} score_in;

/* R rows over U groups of 16 keys; `at` is the first group's first element. */
MP_INLINE void score_tile(float *score, const score_in *in, int64_t at, int R, int U, load_fn *load)
{
    const int step = U * MP_ATTN_GROUP * in->bytes;
    const char *ahead = in->ahead + at * in->bytes;
    __m512 acc[MP_ATTN_ROWS][4];
    MP_UNROLL
    for (int r = 0; r < R; r++)
        MP_UNROLL
        for (int u = 0; u < U; u++)
            acc[r][u] = _mm512_setzero_ps();
    const float *q = in->q;
    for (int64_t d = 0; d < in->dim; d++, q += R, at += MP_ATTN_GROUP, ahead += step) {
        __m512 k[4];
        for (int i = 0; i < step; i += LINE)
            _mm_prefetch(ahead + i, _MM_HINT_T1);
        MP_UNROLL
        for (int u = 0; u < U; u++)
            k[u] = load(in->k, at + u * MP_ATTN_GROUP * in->dim, 0xffff);
        MP_UNROLL
        for (int r = 0; r < R; r++) {
            const __m512 x = _mm512_set1_ps(q[r]);
            MP_UNROLL
            for (int u = 0; u < U; u++)
                acc[r][u] = _mm512_fmadd_ps(x, k[u], acc[r][u]);
        }
    }
    MP_UNROLL
    for (int r = 0; r < R; r++)
        MP_UNROLL
        for (int u = 0; u < U; u++)
            _mm512_storeu_ps(score + r * MP_ATTN_STRIDE + u * MP_ATTN_GROUP, acc[r][u]);
}

/* R rows over n keys, n <= CHUNK. U fills the registers: 97 % of the multiply-adds' peak with six and with eight rows, where U = 2 gave 87 %. */
MP_INLINE void score_rows(float *score, const score_in *in, int64_t n, int R, load_fn *load)
{
    const int U = R <= 6 ? 4 : 3;
    int64_t i = 0;
    for (; n - i >= U * MP_ATTN_GROUP; i += U * MP_ATTN_GROUP)
        score_tile(score + i, in, i * in->dim, R, U, load);
    for (; n - i > 0; i += MP_ATTN_GROUP)
        score_tile(score + i, in, i * in->dim, R, 1, load);
}

MP_INLINE void score_block(float *score, const score_in *in, int64_t n, int rows, load_fn *load)
{
    switch (rows) {
    case 1: score_rows(score, in, n, 1, load); break;
    case 2: score_rows(score, in, n, 2, load); break;
    case 3: score_rows(score, in, n, 3, load); break;
    case 4: score_rows(score, in, n, 4, load); break;
    case 5: score_rows(score, in, n, 5, load); break;
    case 6: score_rows(score, in, n, 6, load); break;
    case 7: score_rows(score, in, n, 7, load); break;
    default: score_rows(score, in, n, 8, load); break;
    }
}

MP_INLINE void scores(float *score, const float *q, const mp_attn_keys *k, int rows, int bytes, load_fn *load)
{
    for (int64_t i = 0; i < k->n; i += CHUNK) {
        const char *keys = (const char *)k->k + i * k->dim * bytes;
        for (int r = 0; r < rows; r += MP_ATTN_ROWS) {
            const char *ahead = k->ahead && r == 0 ? (const char *)k->ahead + i * k->dim * bytes : keys;
            score_in in = { q + r * k->dim, keys, ahead, k->dim, bytes };
            score_block(score + r * MP_ATTN_STRIDE + i, &in, k->n - i < CHUNK ? k->n - i : CHUNK, rows - r, load);
        }
    }
}

static void score_f16(float *score, const float *q, const mp_attn_keys *k, int rows)
{
    scores(score, q, k, rows, 2, load_f16);
}

static void score_f32(float *score, const float *q, const mp_attn_keys *k, int rows)
{
    scores(score, q, k, rows, 4, load_f32);
}

/* ---- values ---- */

enum { VALUE_ROWS = 6 }; /* over two panels: 24 sums, four columns and a weight in 32 registers; 97 % of the peak */

typedef struct value_in {
    float                *acc;
    const float          *p;
    const mp_attn_values *v;
    int64_t               col, width; /* a panel's first column and its columns; of two panels, 64 */
    const char           *ahead;      /* of the panel's first position */
    int                   bytes;      /* of an element, a constant */
} value_in;

/* R rows of P panels `width` columns wide each (two panels: 32), which stay in registers while all positions pass, in order. */
MP_INLINE void value_tile(const value_in *in, int64_t width, int R, int P, load_fn *load)
{
    const mp_attn_values *v = in->v;
    const __mmask16 m[2] = { mp_mask_512(width), mp_mask_512(width > 16 ? width - 16 : 0) };
    const int64_t next = MP_ATTN_PANEL * v->room;
    int64_t at = in->col * v->room + v->first * width;
    const float *p = in->p;
    const char *ahead = in->ahead;
    float *acc = in->acc + in->col;
    __m512 sum[VALUE_ROWS][4];
    MP_UNROLL
    for (int r = 0; r < R; r++)
        MP_UNROLL
        for (int u = 0; u < 2 * P; u++)
            sum[r][u] = _mm512_maskz_loadu_ps(m[u & 1], acc + r * v->dim + 16 * u);
    for (int64_t i = 0; i < v->n; i++, at += width, p++, ahead += P * width * in->bytes) {
        __m512 x[4];
        for (int j = 0; j < P * MP_ATTN_PANEL * in->bytes; j += LINE)
            _mm_prefetch(ahead + j, _MM_HINT_T1);
        MP_UNROLL
        for (int u = 0; u < 2 * P; u++)
            x[u] = load(v->v, at + u / 2 * next + 16 * (u & 1), m[u & 1]);
        MP_UNROLL
        for (int r = 0; r < R; r++) {
            const __m512 w = _mm512_set1_ps(p[r * MP_ATTN_STRIDE]);
            MP_UNROLL
            for (int u = 0; u < 2 * P; u++)
                sum[r][u] = _mm512_fmadd_ps(w, x[u], sum[r][u]);
        }
    }
    MP_UNROLL
    for (int r = 0; r < R; r++)
        MP_UNROLL
        for (int u = 0; u < 2 * P; u++)
            _mm512_mask_storeu_ps(acc + r * v->dim + 16 * u, m[u & 1], sum[r][u]);
}

/* Whole panels are called with a constant, so that only a narrow one masks its end. */
MP_INLINE void value_rows(const value_in *in, int R, load_fn *load)
{
    if (in->width == 2 * MP_ATTN_PANEL)
        value_tile(in, MP_ATTN_PANEL, R, 2, load);
    else if (in->width == MP_ATTN_PANEL)
        value_tile(in, MP_ATTN_PANEL, R, 1, load);
    else
        value_tile(in, in->width, R, 1, load);
}

MP_INLINE void value_block(const value_in *in, int rows, load_fn *load)
{
    switch (rows) {
    case 1: value_rows(in, 1, load); break;
    case 2: value_rows(in, 2, load); break;
    case 3: value_rows(in, 3, load); break;
    case 4: value_rows(in, 4, load); break;
    case 5: value_rows(in, 5, load); break;
    default: value_rows(in, 6, load); break;
    }
}

MP_INLINE void values(float *acc, const float *p, const mp_attn_values *v, int rows, int bytes, load_fn *load)
{
    int64_t width;
    for (int64_t col = 0; col < v->dim; col += width) {
        int64_t left = v->dim - col;
        width = left >= 2 * MP_ATTN_PANEL ? 2 * MP_ATTN_PANEL : left >= MP_ATTN_PANEL ? MP_ATTN_PANEL : left;
        for (int r = 0, n; r < rows; r += n) {
            n = rows - r <= VALUE_ROWS ? rows - r : rows - r <= 8 ? 4 : VALUE_ROWS; /* 8 = 4 + 4: 90 % of the multiply-adds' peak, 6 + 2 89 % */
            const char *ahead = (const char *)(v->ahead && r == 0 ? v->ahead : v->v) + col * v->room * bytes;
            value_block(&(value_in){ acc + r * v->dim, p + r * MP_ATTN_STRIDE, v, col, width, ahead, bytes }, n, load);
        }
    }
}

static void value_f16(float *acc, const float *p, const mp_attn_values *v, int rows)
{
    values(acc, p, v, rows, 2, load_f16);
}

static void value_f32(float *acc, const float *p, const mp_attn_values *v, int rows)
{
    values(acc, p, v, rows, 4, load_f32);
}

void mp_avx512_init_attn(mp_kern *k)
{
    k->attn_score_f16 = score_f16;
    k->attn_score_f32 = score_f32;
    k->attn_value_f16 = value_f16;
    k->attn_value_f32 = value_f32;
}
