/* MXFP4: 32 four-bit floats (E2M1) under one power of two (E8M0).   | e | nibbles 16, as Q4_0 |
 *
 * The values 0, .5, 1, 1.5, 2, 3, 4, 6 are held doubled, as integers, so the scale is 2^(e - 128). e = 255 is NaN, as in the OCP MX standard.
 */
#include "num/ref/ref.h"

#include <math.h>

static void unpack_mxfp4(mp_ref_block *out, const uint8_t *src)
{
    static const int8_t doubled[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
    out->scale[0] = out->scale[1] = src[0] == 255 ? NAN : ldexpf(1.0f, src[0] - 128);
    for (int i = 0; i < 32; i++)
        out->q[i] = doubled[mp_ref_nibble(src[1 + i % 16], i / 16)];
}

static const mp_ref_codec mxfp4 = { unpack_mxfp4, 32, 17, 32 };

MP_REF_KERNELS(mxfp4, mxfp4)

void mp_ref_init_mxfp4(mp_kern *k)
{
    k->dequant[MP_MXFP4] = dequant_mxfp4;
    k->dot[MP_MXFP4] = dot_mxfp4;
}
