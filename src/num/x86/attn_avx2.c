/* Attention over F16 and F32 with AVX2: four rows over 16 positions (scores), two over 32 columns (values), eight sums each: as many as two
 * multiply-adds of four cycles keep busy. */
#include "num/attn.h"
#include "num/x86/simd_avx2.h"
#include "num/x86/x86.h"

typedef __m256 load_fn(const void *src, int64_t at, int64_t left); /* elements [at, at + 8); from `left` (maybe negative) on they are 0 and not touched */

MP_INLINE __m256 load_f32(const void *src, int64_t at, int64_t left)
{
    const void *p = (const char *)src + at * 4;
    return mp_get_256(p, left);
}

MP_INLINE __m256 load_f16(const void *src, int64_t at, int64_t left)
{
    __m128i h = _mm_setzero_si128();
    if (left > 0)
        memcpy(&h, (const char *)src + at * 2, left >= 8 ? 16 : (size_t)left * 2);
    return _mm256_cvtph_ps(h);
}

/* ---- scores ---- */

enum { ROWS = 4 };

typedef struct score_in {
    const float *q;
    const void  *k;
    int64_t      dim;
    int          step; /* rows of the block that q lies in */
} score_in;

/* R rows over the 16 keys of the group whose first element is `at`. */
MP_INLINE void score_tile(float *score, const score_in *in, int64_t at, int R, load_fn *load)
{
    __m256 acc[ROWS][2];
    MP_UNROLL
    for (int r = 0; r < R; r++)
        acc[r][0] = acc[r][1] = _mm256_setzero_ps();
    const float *q = in->q;
    for (int64_t d = 0; d < in->dim; d++, q += in->step, at += MP_ATTN_GROUP) {
        const __m256 low = load(in->k, at, 8), high = load(in->k, at + 8, 8);
        MP_UNROLL
        for (int r = 0; r < R; r++) {
            const __m256 x = _mm256_set1_ps(q[r]);
            acc[r][0] = _mm256_fmadd_ps(x, low, acc[r][0]);
            acc[r][1] = _mm256_fmadd_ps(x, high, acc[r][1]);
        }
    }
    MP_UNROLL
    for (int r = 0; r < R; r++) {
        _mm256_storeu_ps(score + r * MP_ATTN_STRIDE, acc[r][0]);
        _mm256_storeu_ps(score + r * MP_ATTN_STRIDE + 8, acc[r][1]);
    }
}

MP_INLINE void scores(float *score, const float *q, const mp_attn_keys *k, int rows, load_fn *load)
{
    for (int64_t i = 0; i < k->n; i += MP_ATTN_GROUP) {
        for (int r = 0; r < rows; r += ROWS) {
            int block = r / MP_ATTN_ROWS * MP_ATTN_ROWS;
            score_in in = { q + block * k->dim + r - block, k->k, k->dim, rows - block < MP_ATTN_ROWS ? rows - block : MP_ATTN_ROWS };
            float *out = score + r * MP_ATTN_STRIDE + i;
            switch (rows - r) {
            case 1: score_tile(out, &in, i * k->dim, 1, load); break;
            case 2: score_tile(out, &in, i * k->dim, 2, load); break;
            case 3: score_tile(out, &in, i * k->dim, 3, load); break;
            default: score_tile(out, &in, i * k->dim, 4, load); break;
            }
        }
    }
}

static void score_f16(float *score, const float *q, const mp_attn_keys *k, int rows)
{
    scores(score, q, k, rows, load_f16);
}

static void score_f32(float *score, const float *q, const mp_attn_keys *k, int rows)
{
    scores(score, q, k, rows, load_f32);
}

/* ---- values ---- */

/* R rows of one panel from column col, `width` columns wide, which stay in registers while all positions pass, in order. */
MP_INLINE void value_tile(float *acc, const float *p, const mp_attn_values *v, int64_t width, int R, load_fn *load)
{
    int64_t at = v->first * width;
    __m256 sum[2][4];
    MP_UNROLL
    for (int r = 0; r < R; r++)
        MP_UNROLL
        for (int u = 0; u < 4; u++)
            sum[r][u] = mp_get_256(acc + r * v->dim + 8 * u, width - 8 * u);
    for (int64_t i = 0; i < v->n; i++, at += width, p++) {
        __m256 w[2];
        MP_UNROLL
        for (int r = 0; r < R; r++)
            w[r] = _mm256_set1_ps(p[r * MP_ATTN_STRIDE]);
        MP_UNROLL
        for (int u = 0; u < 4; u++) {
            const __m256 x = load(v->v, at + 8 * u, width - 8 * u);
            MP_UNROLL
            for (int r = 0; r < R; r++)
                sum[r][u] = _mm256_fmadd_ps(w[r], x, sum[r][u]);
        }
    }
    MP_UNROLL
    for (int r = 0; r < R; r++)
        MP_UNROLL
        for (int u = 0; u < 4; u++)
            mp_put_256(acc + r * v->dim + 8 * u, width - 8 * u, sum[r][u]);
}

/* Whole panels are called with a constant width, so that only a narrow one checks its end. */
MP_INLINE void value_rows(float *acc, const float *p, const mp_attn_values *v, int64_t width, int R, load_fn *load)
{
    if (width == MP_ATTN_PANEL)
        value_tile(acc, p, v, MP_ATTN_PANEL, R, load);
    else
        value_tile(acc, p, v, width, R, load);
}

MP_INLINE void values(float *acc, const float *p, const mp_attn_values *all, int rows, int bytes, load_fn *load)
{
    mp_attn_values v = *all;
    for (int64_t col = 0; col < v.dim; col += MP_ATTN_PANEL) {
        int64_t width = v.dim - col < MP_ATTN_PANEL ? v.dim - col : MP_ATTN_PANEL;
        v.v = (const char *)all->v + col * v.room * bytes;
        for (int r = 0; r < rows; r += 2) {
            float *a = acc + r * v.dim + col;
            const float *w = p + r * MP_ATTN_STRIDE;
            if (rows - r < 2)
                value_rows(a, w, &v, width, 1, load);
            else
                value_rows(a, w, &v, width, 2, load);
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

void mp_avx2_init_attn(mp_kern *k)
{
    k->attn_score_f16 = score_f16;
    k->attn_score_f32 = score_f32;
    k->attn_value_f16 = value_f16;
    k->attn_value_f32 = value_f32;
}
