/* Attention over F16 and F32; num/attn.h says how the operands lie. Four rows over 16 positions (scores) and two over 32 columns (values): 16 sums in
 * registers, which is more than two multiply-adds of four cycles keep busy.
 *
 * The floor, per position and head of dim elements. Bytes: 4 dim of F16 keys and values, read once for four (two) rows; the tile, 256 positions of one
 * head, then stays in cache for the others. Operations: 2 dim / 4 FMLA a row, and of F16 2 dim / 4 conversions for every four (two) rows. With two
 * 128-bit units one row takes at least dim / 4 cycles a position, so four rows or more of F16 read at most 4 bytes a cycle.
 * What is read next (`ahead`) is not asked for: whether that pays can only be seen on a processor.
 */
#include "num/arm/arm.h"
#include "num/arm/simd_neon.h"
#include "num/attn.h"

typedef float32x4_t load_fn(const void *src, int64_t at, int64_t left); /* elements [at, at + 4); from `left` (maybe negative) on they are 0 and not touched */

MP_INLINE float32x4_t load_f32(const void *src, int64_t at, int64_t left)
{
    return mp_get_neon((const char *)src + at * 4, left);
}

MP_INLINE float32x4_t load_f16(const void *src, int64_t at, int64_t left)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(mp_get_halves_neon((const char *)src + at * 2, left)));
}

/* ---- scores ---- */

enum { ROWS = 4, KEYS = MP_ATTN_GROUP / 4, COLUMNS = MP_ATTN_PANEL / 4 }; /* the last two in registers */

typedef struct score_in {
    const float *q;
    const void  *k;
    int64_t      dim;
    int          step; /* rows of the block that q lies in */
} score_in;

/* R rows over the 16 keys of the group whose first element is `at`. */
MP_INLINE void score_tile(float *score, const score_in *in, int64_t at, int R, load_fn *load)
{
    float32x4_t acc[ROWS][KEYS];
    const float *q = in->q;
    MP_UNROLL
    for (int r = 0; r < R; r++)
        acc[r][0] = acc[r][1] = acc[r][2] = acc[r][3] = vdupq_n_f32(0);
    for (int64_t d = 0; d < in->dim; d++, q += in->step, at += MP_ATTN_GROUP) {
        MP_UNROLL
        for (int u = 0; u < KEYS; u++) {
            float32x4_t keys = load(in->k, at + 4 * u, 4);
            MP_UNROLL
            for (int r = 0; r < R; r++)
                acc[r][u] = vfmaq_n_f32(acc[r][u], keys, q[r]);
        }
    }
    MP_UNROLL
    for (int r = 0; r < R; r++)
        MP_UNROLL
        for (int u = 0; u < KEYS; u++)
            vst1q_f32(score + r * MP_ATTN_STRIDE + 4 * u, acc[r][u]);
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

/* R rows of one panel, `width` columns wide, which stay in registers while all positions pass, in order. */
MP_INLINE void value_tile(float *acc, const float *p, const mp_attn_values *v, int64_t width, int R, load_fn *load)
{
    int64_t at = v->first * width;
    float32x4_t sum[2][COLUMNS];
    MP_UNROLL
    for (int r = 0; r < R; r++)
        MP_UNROLL
        for (int u = 0; u < COLUMNS; u++)
            sum[r][u] = mp_get_neon(acc + r * v->dim + 4 * u, width - 4 * u);
    for (int64_t i = 0; i < v->n; i++, at += width, p++) {
        MP_UNROLL
        for (int u = 0; u < COLUMNS; u++) {
            float32x4_t x = load(v->v, at + 4 * u, width - 4 * u);
            MP_UNROLL
            for (int r = 0; r < R; r++)
                sum[r][u] = vfmaq_n_f32(sum[r][u], x, p[r * MP_ATTN_STRIDE]);
        }
    }
    MP_UNROLL
    for (int r = 0; r < R; r++)
        MP_UNROLL
        for (int u = 0; u < COLUMNS; u++)
            mp_put_neon(acc + r * v->dim + 4 * u, width - 4 * u, sum[r][u]);
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

void mp_neon_init_attn(mp_kern *k)
{
    k->attn_score_f16 = score_f16;
    k->attn_score_f32 = score_f32;
    k->attn_value_f16 = value_f16;
    k->attn_value_f32 = value_f32;
}
