/* The types with blocks of 32 and one scale: 4 bits, 5 bits, 8 bits, with a minimum (_1) or around zero (_0).
 *
 *   Q4_0 | d | 16 bytes of nibbles |                 Q4_1 | d | m | nibbles |
 *   Q5_0 | d | qh: 32 fifth bits | nibbles |         Q5_1 | d | m | qh | nibbles |
 *   Q8_0 | d | 32 int8 |
 *
 * Byte j of the nibbles holds element j (low) and element j + 16 (high). Halves are 2 bytes, little-endian.
 */
#include "num/ref/ref.h"

static void set_scale(mp_ref_block *out, float d, float min)
{
    out->scale[0] = out->scale[1] = d;
    out->min[0] = out->min[1] = min;
}

static void unpack_nibbles(mp_ref_block *out, const uint8_t *nibbles, int offset)
{
    for (int i = 0; i < 32; i++)
        out->q[i] = (int8_t)(mp_ref_nibble(nibbles[i % 16], i / 16) - offset);
}

static void add_fifth_bits(mp_ref_block *out, const uint8_t *qh)
{
    for (int i = 0; i < 32; i++)
        out->q[i] = (int8_t)(out->q[i] + 16 * ((qh[i / 8] >> i % 8) & 1));
}

static void unpack_q4_0(mp_ref_block *out, const uint8_t *src)
{
    set_scale(out, mp_ref_f16(src), 0);
    unpack_nibbles(out, src + 2, 8);
}

static void unpack_q4_1(mp_ref_block *out, const uint8_t *src)
{
    set_scale(out, mp_ref_f16(src), -mp_ref_f16(src + 2));
    unpack_nibbles(out, src + 4, 0);
}

static void unpack_q5_0(mp_ref_block *out, const uint8_t *src)
{
    set_scale(out, mp_ref_f16(src), 0);
    unpack_nibbles(out, src + 6, 16);
    add_fifth_bits(out, src + 2);
}

static void unpack_q5_1(mp_ref_block *out, const uint8_t *src)
{
    set_scale(out, mp_ref_f16(src), -mp_ref_f16(src + 2));
    unpack_nibbles(out, src + 8, 0);
    add_fifth_bits(out, src + 4);
}

static void unpack_q8_0(mp_ref_block *out, const uint8_t *src)
{
    set_scale(out, mp_ref_f16(src), 0);
    for (int i = 0; i < 32; i++)
        out->q[i] = (int8_t)src[2 + i];
}

static const mp_ref_codec q4_0 = { unpack_q4_0, 32, 18, 32 };
static const mp_ref_codec q4_1 = { unpack_q4_1, 32, 20, 32 };
static const mp_ref_codec q5_0 = { unpack_q5_0, 32, 22, 32 };
static const mp_ref_codec q5_1 = { unpack_q5_1, 32, 24, 32 };
static const mp_ref_codec q8_0 = { unpack_q8_0, 32, 34, 32 };

MP_REF_KERNELS(q4_0, q4_0)
MP_REF_KERNELS(q4_1, q4_1)
MP_REF_KERNELS(q5_0, q5_0)
MP_REF_KERNELS(q5_1, q5_1)
MP_REF_KERNELS(q8_0, q8_0)

void mp_ref_init_legacy(mp_kern *k)
{
    k->dequant[MP_Q4_0] = dequant_q4_0;
    k->dequant[MP_Q4_1] = dequant_q4_1;
    k->dequant[MP_Q5_0] = dequant_q5_0;
    k->dequant[MP_Q5_1] = dequant_q5_1;
    k->dequant[MP_Q8_0] = dequant_q8_0;
    k->dot[MP_Q4_0] = dot_q4_0;
    k->dot[MP_Q4_1] = dot_q4_1;
    k->dot[MP_Q5_0] = dot_q5_0;
    k->dot[MP_Q5_1] = dot_q5_1;
    k->dot[MP_Q8_0] = dot_q8_0;
}
