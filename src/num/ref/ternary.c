/* Weights of -1, 0, +1 with one scale per 256.
 *
 *   TQ1_0 | qs 48 | qh 4 | d |    five ternary digits a byte (four in qh)
 *   TQ2_0 | qs 64 | d |           two bits a weight
 *
 * A byte of TQ1_0 is the fraction 0.t0t1t2t3t4 in base 3, scaled to 256 and rounded up. Multiplying it by 3^n modulo 256 brings digit n to the
 * front, and three times that, divided by 256, reads it off.
 */
#include "num/ref/ref.h"

static int digit(uint8_t byte, int n)
{
    static const uint8_t power[5] = { 1, 3, 9, 27, 81 };
    return (uint8_t)(byte * power[n]) * 3 >> 8;
}

static void set_scale(mp_ref_block *out, float d)
{
    for (int k = 0; k < 16; k++)
        out->scale[k] = d;
}

static void unpack_tq1_0(mp_ref_block *out, const uint8_t *src)
{
    set_scale(out, mp_ref_f16(src + 52));
    for (int i = 0; i < 160; i++)
        out->q[i] = (int8_t)(digit(src[i % 32], i / 32) - 1);
    for (int i = 0; i < 80; i++)
        out->q[160 + i] = (int8_t)(digit(src[32 + i % 16], i / 16) - 1);
    for (int i = 0; i < 16; i++)
        out->q[240 + i] = (int8_t)(digit(src[48 + i % 4], i / 4) - 1);
}

static void unpack_tq2_0(mp_ref_block *out, const uint8_t *src)
{
    set_scale(out, mp_ref_f16(src + 64));
    for (int i = 0; i < 256; i++)
        out->q[i] = (int8_t)(((src[32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32)) & 3) - 1);
}

static const mp_ref_codec tq1_0 = { unpack_tq1_0, 256, 54, 32 };
static const mp_ref_codec tq2_0 = { unpack_tq2_0, 256, 66, 32 };

MP_REF_KERNELS(tq1_0, tq1_0)
MP_REF_KERNELS(tq2_0, tq2_0)

void mp_ref_init_ternary(mp_kern *k)
{
    k->dequant[MP_TQ1_0] = dequant_tq1_0;
    k->dequant[MP_TQ2_0] = dequant_tq2_0;
    k->dot[MP_TQ1_0] = dot_tq1_0;
    k->dot[MP_TQ2_0] = dot_tq2_0;
}
