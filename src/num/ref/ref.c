/* Decoding and products over any codec, and the reference table. Slow on purpose: nothing here is for speed. */
#include "num/ref/ref.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void mp_ref_dequant(const mp_ref_codec *codec, float *dst, const void *src, int64_t n)
{
    const uint8_t *block = src;
    assert(n % codec->len == 0);
    for (int64_t i = 0; i < n; i += codec->len, block += codec->bytes) {
        mp_ref_block b = { 0 };
        codec->unpack(&b, block);
        for (int j = 0; j < codec->len; j++)
            dst[i + j] = b.scale[j / 16] * (float)b.q[j] - b.min[j / 16];
    }
}

/* The exact integer product of n codes; at most 32 * 128 * 127. */
static int32_t int_dot(const int8_t *w, const int8_t *x, int n)
{
    int32_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += w[i] * x[i];
    return sum;
}

/* The product of 32 elements: k is the place of the first code inside b, nth the block of activations. */
static float dot_32(const mp_ref_block *b, int k, int sub, const mp_q8 *x, int64_t nth)
{
    const mp_q8 *super = x + nth / 8;
    const int block = (int)(nth % 8);
    const int8_t *q = super->q + block * MP_Q8_BLOCK, *w = b->q + k;
    const float *scale = b->scale + k / 16, *min = b->min + k / 16;
    float d = super->d[block];
    if (sub == 32)
        return fmaf(scale[0] * d, (float)int_dot(w, q, 32), -(min[0] * super->s[block]));
    float sum = fmaf(scale[0], (float)int_dot(w, q, 16), scale[1] * (float)int_dot(w + 16, q + 16, 16));
    float off = min[0] * (float)super->a16[0][block] + min[1] * (float)super->a16[1][block]; /* -128 times what the minima take off */
    return fmaf(d, sum, d * off / 128);
}

void mp_ref_dot(const mp_ref_codec *codec, float *out, const mp_dot_in *in)
{
    const uint8_t *block = in->row;
    float acc[MP_DOT_TOK] = { 0 };
    assert(in->n % codec->len == 0 && in->tok >= 1 && in->tok <= MP_DOT_TOK);
    for (int64_t i = 0; i < in->n; i += codec->len, block += codec->bytes) {
        mp_ref_block b = { 0 };
        codec->unpack(&b, block);
        for (int t = 0; t < in->tok; t++) {
            for (int k = 0; k < codec->len; k += MP_Q8_BLOCK)
                acc[t] += dot_32(&b, k, codec->sub, in->x[t], (i + k) / MP_Q8_BLOCK);
        }
    }
    for (int t = 0; t < in->tok; t++)
        out[t] = acc[t];
}

void mp_kern_init_ref(mp_kern *k)
{
    memset(k, 0, sizeof *k);
    k->name = "ref";
    mp_ref_init_legacy(k);
    mp_ref_init_kquant(k);
    mp_ref_init_iq4(k);
    mp_ref_init_ternary(k);
    mp_ref_init_mxfp4(k);
    mp_ref_init_float(k);
    mp_ref_init_attn(k);
    mp_ref_init_q8(k);
}
