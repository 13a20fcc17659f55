/* The k-quants: super-blocks of 256 with quantized scales. Offsets in bytes:
 *
 *   Q2_K | scales 16 | qs 64 | d | dmin |             scale k: low nibble; minimum k: high nibble; 16 elements each
 *   Q3_K | hmask 32 | qs 64 | scales 12 | d |         6-bit scales - 32, 16 elements each
 *   Q4_K | d | dmin | scales 12 | qs 128 |            6-bit scales and minima, 32 elements each
 *   Q5_K | d | dmin | scales 12 | qh 32 | qs 128 |    the same, a fifth bit in qh
 *   Q6_K | ql 128 | qh 64 | scales 16 (int8) | d |    16 elements each
 *
 * Codes lie in rows of 32 bytes: a row holds the 32-element groups of its half at 2 (or 4) bits each, lowest bits first.
 */
#include "num/ref/ref.h"

/* Two bits of element i in the layout that Q2_K and Q3_K share: 32 bytes serve 128 elements. */
static int two_bits(const uint8_t *qs, int i)
{
    return (qs[32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32)) & 3;
}

/* Four bits of element i as in Q4_K and Q5_K: 32 bytes serve 64 elements. */
static int four_bits(const uint8_t *qs, int i)
{
    return mp_ref_nibble(qs[32 * (i / 64) + i % 32], i % 64 / 32);
}

static void unpack_q2_k(mp_ref_block *out, const uint8_t *src)
{
    float d = mp_ref_f16(src + 80), dmin = mp_ref_f16(src + 82);
    for (int k = 0; k < 16; k++) {
        out->scale[k] = d * (float)(src[k] & 15);
        out->min[k] = dmin * (float)(src[k] >> 4);
    }
    for (int i = 0; i < 256; i++)
        out->q[i] = (int8_t)two_bits(src + 16, i);
}

static void unpack_q3_k(mp_ref_block *out, const uint8_t *src)
{
    const uint8_t *s = src + 96;
    float d = mp_ref_f16(src + 108);
    for (int k = 0; k < 16; k++) {
        int low = mp_ref_nibble(s[k % 8], k / 8), high = (s[8 + k % 4] >> 2 * (k / 4)) & 3;
        out->scale[k] = d * (float)((low | high << 4) - 32);
    }
    for (int i = 0; i < 256; i++)
        out->q[i] = (int8_t)((two_bits(src + 32, i) | ((src[i % 32] >> i / 32) & 1) << 2) - 4);
}

/* Scale and minimum of the 32-element group k of Q4_K and Q5_K, from their 12 packed bytes s. */
static void scale_min_6bit(const uint8_t *s, int k, int *scale, int *min)
{
    if (k < 4) {
        *scale = s[k] & 63;
        *min = s[k + 4] & 63;
    } else {
        *scale = (s[k + 4] & 15) | (s[k - 4] >> 6) << 4;
        *min = (s[k + 4] >> 4) | (s[k] >> 6) << 4;
    }
}

static void unpack_scales_6bit(mp_ref_block *out, const uint8_t *src)
{
    float d = mp_ref_f16(src), dmin = mp_ref_f16(src + 2);
    for (int k = 0; k < 8; k++) {
        int scale, min;
        scale_min_6bit(src + 4, k, &scale, &min);
        out->scale[2 * k] = out->scale[2 * k + 1] = d * (float)scale;
        out->min[2 * k] = out->min[2 * k + 1] = dmin * (float)min;
    }
}

static void unpack_q4_k(mp_ref_block *out, const uint8_t *src)
{
    unpack_scales_6bit(out, src);
    for (int i = 0; i < 256; i++)
        out->q[i] = (int8_t)four_bits(src + 16, i);
}

static void unpack_q5_k(mp_ref_block *out, const uint8_t *src)
{
    unpack_scales_6bit(out, src);
    for (int i = 0; i < 256; i++)
        out->q[i] = (int8_t)(four_bits(src + 48, i) | ((src[16 + i % 32] >> i / 32) & 1) << 4);
}

static void unpack_q6_k(mp_ref_block *out, const uint8_t *src)
{
    float d = mp_ref_f16(src + 208);
    for (int k = 0; k < 16; k++)
        out->scale[k] = d * (float)(int8_t)src[192 + k];
    for (int i = 0; i < 256; i++) {
        int half = i / 128, group = i % 128 / 32, l = i % 32;
        int low = mp_ref_nibble(src[64 * half + 32 * (group & 1) + l], group >> 1);
        int high = (src[128 + 32 * half + l] >> 2 * group) & 3;
        out->q[i] = (int8_t)((low | high << 4) - 32);
    }
}

static const mp_ref_codec q2_k = { unpack_q2_k, 256, 84, 16 };
static const mp_ref_codec q3_k = { unpack_q3_k, 256, 110, 16 };
static const mp_ref_codec q4_k = { unpack_q4_k, 256, 144, 32 };
static const mp_ref_codec q5_k = { unpack_q5_k, 256, 176, 32 };
static const mp_ref_codec q6_k = { unpack_q6_k, 256, 210, 16 };

MP_REF_KERNELS(q2_k, q2_k)
MP_REF_KERNELS(q3_k, q3_k)
MP_REF_KERNELS(q4_k, q4_k)
MP_REF_KERNELS(q5_k, q5_k)
MP_REF_KERNELS(q6_k, q6_k)

void mp_ref_init_kquant(mp_kern *k)
{
    k->dequant[MP_Q2_K] = dequant_q2_k;
    k->dequant[MP_Q3_K] = dequant_q3_k;
    k->dequant[MP_Q4_K] = dequant_q4_k;
    k->dequant[MP_Q5_K] = dequant_q5_k;
    k->dequant[MP_Q6_K] = dequant_q6_k;
    k->dot[MP_Q2_K] = dot_q2_k;
    k->dot[MP_Q3_K] = dot_q3_k;
    k->dot[MP_Q4_K] = dot_q4_k;
    k->dot[MP_Q5_K] = dot_q5_k;
    k->dot[MP_Q6_K] = dot_q6_k;
}
