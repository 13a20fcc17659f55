/* Attention's inner loops in plain C: the specification that num/attn.h words. */
#include <math.h>
#include <string.h>

#include "num/attn.h"
#include "num/ref/ref.h"

typedef float load_fn(const void *src, int64_t i); /* element i, at any address */

static float load_f32(const void *src, int64_t i)
{
    float f;
    memcpy(&f, (const char *)src + 4 * i, 4);
    return f;
}

static float load_f16(const void *src, int64_t i)
{
    return mp_ref_f16((const uint8_t *)src + 2 * i);
}

static float score_one(const float *q, int step, const void *k, int64_t at, int64_t dim, load_fn *load)
{
    float sum = 0.0f;
    for (int64_t d = 0; d < dim; d++)
        sum = fmaf(q[d * step], load(k, at + d * MP_ATTN_GROUP), sum);
    return sum;
}

static void scores(float *score, const float *q, const mp_attn_keys *k, int rows, load_fn *load)
{
    for (int r = 0; r < rows; r++) {
        int block = r / MP_ATTN_ROWS * MP_ATTN_ROWS, step = rows - block < MP_ATTN_ROWS ? rows - block : MP_ATTN_ROWS;
        const float *x = q + block * k->dim + r - block;
        for (int64_t i = 0; i < k->n; i++)
            score[r * MP_ATTN_STRIDE + i] = score_one(x, step, k->k, i / MP_ATTN_GROUP * MP_ATTN_GROUP * k->dim + i % MP_ATTN_GROUP, k->dim, load);
    }
}

static void values(float *acc, const float *p, const mp_attn_values *v, int rows, load_fn *load)
{
    for (int64_t j = 0; j < v->dim; j++) {
        int64_t panel = j / MP_ATTN_PANEL * MP_ATTN_PANEL, width = v->dim - panel < MP_ATTN_PANEL ? v->dim - panel : MP_ATTN_PANEL;
        int64_t at = panel * v->room + v->first * width + j - panel;
        for (int r = 0; r < rows; r++) {
            float sum = acc[r * v->dim + j];
            for (int64_t i = 0; i < v->n; i++)
                sum = fmaf(p[r * MP_ATTN_STRIDE + i], load(v->v, at + i * width), sum);
            acc[r * v->dim + j] = sum;
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

static void value_f16(float *acc, const float *p, const mp_attn_values *v, int rows)
{
    values(acc, p, v, rows, load_f16);
}

static void value_f32(float *acc, const float *p, const mp_attn_values *v, int rows)
{
    values(acc, p, v, rows, load_f32);
}

void mp_ref_init_attn(mp_kern *k)
{
    k->attn_score_f16 = score_f16;
    k->attn_score_f32 = score_f32;
    k->attn_value_f16 = value_f16;
    k->attn_value_f32 = value_f32;
}
