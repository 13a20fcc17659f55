/* Four-bit codes that index a table of unevenly spaced values.
 *
 *   IQ4_NL | d | nibbles 16 |                                        32 elements, laid out as Q4_0
 *   IQ4_XS | d | scales_h u16 | scales_l 4 | nibbles 128 |           256 elements, a 6-bit scale - 32 per 32
 */
#include "num/ref/ref.h"

static const int8_t values[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };

static void look_up(int8_t *q, const uint8_t *nibbles)
{
    for (int i = 0; i < 32; i++)
        q[i] = values[mp_ref_nibble(nibbles[i % 16], i / 16)];
}

static void unpack_iq4_nl(mp_ref_block *out, const uint8_t *src)
{
    out->scale[0] = out->scale[1] = mp_ref_f16(src);
    look_up(out->q, src + 2);
}

static void unpack_iq4_xs(mp_ref_block *out, const uint8_t *src)
{
    float d = mp_ref_f16(src);
    int high = src[2] | src[3] << 8;
    for (int k = 0; k < 8; k++) {
        int scale = mp_ref_nibble(src[4 + k / 2], k % 2) | ((high >> 2 * k) & 3) << 4;
        out->scale[2 * k] = out->scale[2 * k + 1] = d * (float)(scale - 32);
        look_up(out->q + 32 * k, src + 8 + 16 * k);
    }
}

static const mp_ref_codec iq4_nl = { unpack_iq4_nl, 32, 18, 32 };
static const mp_ref_codec iq4_xs = { unpack_iq4_xs, 256, 136, 32 };

MP_REF_KERNELS(iq4_nl, iq4_nl)
MP_REF_KERNELS(iq4_xs, iq4_xs)

void mp_ref_init_iq4(mp_kern *k)
{
    k->dequant[MP_IQ4_NL] = dequant_iq4_nl;
    k->dequant[MP_IQ4_XS] = dequant_iq4_xs;
    k->dot[MP_IQ4_NL] = dot_iq4_nl;
    k->dot[MP_IQ4_XS] = dot_iq4_xs;
}
