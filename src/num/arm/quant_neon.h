/* All quantized types: compiled twice, by kern_neon.c for every AArch64 processor and by kern_dotprod.c for those with SDOT. */
#ifndef MP_NUM_ARM_QUANT_NEON_H
#define MP_NUM_ARM_QUANT_NEON_H

#include "num/arm/legacy_neon.h"

/* Defines the two kernels of a type over its static const mp_type_neon `name`, and the function that puts them into a table. */
#define KERNELS(id, name)                                                                                                  \
    static void dequant_##name(float *dst, const void *src, int64_t n) { mp_dequant_neon(dst, name, src, n); }             \
    static void dot_##name(float *out, const void *row, const void *const *x, int64_t n, int tok)                          \
    {                                                                                                                      \
        mp_dot_neon(out, name, &(mp_dot_in){ row, x, n, tok });                                                            \
    }                                                                                                                      \
    static void set_##name(mp_kern *k)                                                                                     \
    {                                                                                                                      \
        k->dequant[id] = dequant_##name;                                                                                   \
        k->dot[id] = dot_##name;                                                                                           \
    }

static const mp_type_neon q4_0 = { scales_18, codes_q4_0, 32, 8 * 18, 32, false };
static const mp_type_neon q4_1 = { scales_q4_1, codes_q4_1, 32, 8 * 20, 32, true };
static const mp_type_neon q5_0 = { scales_q5_0, codes_q5_0, 32, 8 * 22, 32, false };
static const mp_type_neon q5_1 = { scales_q5_1, codes_q5_1, 32, 8 * 24, 32, true };
static const mp_type_neon q8_0 = { scales_q8_0, codes_q8_0, 32, 8 * 34, 32, false };
static const mp_type_neon iq4_nl = { scales_18, codes_iq4_nl, 32, 8 * 18, 32, false };
static const mp_type_neon mxfp4 = { scales_mxfp4, codes_mxfp4, 32, 8 * 17, 32, false };
static const mp_type_neon q2_k = { scales_q2_k, codes_q2_k, 256, 84, 16, true };
static const mp_type_neon q3_k = { scales_q3_k, codes_q3_k, 256, 110, 16, false };
static const mp_type_neon q4_k = { scales_6bit, codes_q4_k, 256, 144, 32, true };
static const mp_type_neon q5_k = { scales_6bit, codes_q5_k, 256, 176, 32, true };
static const mp_type_neon q6_k = { scales_q6_k, codes_q6_k, 256, 210, 16, false };
static const mp_type_neon iq4_xs = { scales_iq4_xs, codes_iq4_xs, 256, 136, 32, false };
static const mp_type_neon tq1_0 = { scales_tq1_0, codes_tq1_0, 256, 54, 32, false };
static const mp_type_neon tq2_0 = { scales_tq2_0, codes_tq2_0, 256, 66, 32, false };

KERNELS(MP_Q4_0, q4_0)
KERNELS(MP_Q4_1, q4_1)
KERNELS(MP_Q5_0, q5_0)
KERNELS(MP_Q5_1, q5_1)
KERNELS(MP_Q8_0, q8_0)
KERNELS(MP_IQ4_NL, iq4_nl)
KERNELS(MP_MXFP4, mxfp4)
KERNELS(MP_Q2_K, q2_k)
KERNELS(MP_Q3_K, q3_k)
KERNELS(MP_Q4_K, q4_k)
KERNELS(MP_Q5_K, q5_k)
KERNELS(MP_Q6_K, q6_k)
KERNELS(MP_IQ4_XS, iq4_xs)
KERNELS(MP_TQ1_0, tq1_0)
KERNELS(MP_TQ2_0, tq2_0)

static void set_quantized(mp_kern *k)
{
    set_q4_0(k);
    set_q4_1(k);
    set_q5_0(k);
    set_q5_1(k);
    set_q8_0(k);
    set_iq4_nl(k);
    set_mxfp4(k);
    set_q2_k(k);
    set_q3_k(k);
    set_q4_k(k);
    set_q5_k(k);
    set_q6_k(k);
    set_iq4_xs(k);
    set_tq1_0(k);
    set_tq2_0(k);
}
#endif
