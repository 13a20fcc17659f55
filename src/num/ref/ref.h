/* The plain C kernels, which are the specification of every format: what each code means, and what a product is.
 *
 * A codec unpacks one block into integer codes with a scale and a minimum for every 16 elements:
 *
 *     x[i] = scale[i / 16] * q[i] - min[i / 16]
 *
 * Both the decoder and the product are written once, over that. scale * q is exact in float32 for every type (11 bits of a half, at most
 * 7 of a sub-scale, at most 7 of a code), so an implementation that fuses or reorders the two operations gets the same bits.
 *
 * Source of the layouts: llama.cpp's ggml-common.h and ggml-quants.c, restated in our words; tests: tests/num/test_codec.c (vectors from the C
 * original), tests/num/test_golden.c (an independent decoder).
 */
#ifndef MP_NUM_REF_REF_H
#define MP_NUM_REF_REF_H

#include "num/kern_int.h"

typedef struct mp_ref_block {
    int8_t q[256];
    float  scale[16], min[16];
} mp_ref_block;

typedef struct mp_ref_codec {
    void (*unpack)(mp_ref_block *out, const uint8_t *src); /* fills the first len codes and len / 16 (at least 2) scales; min is zero before */
    int len, bytes; /* elements and bytes of a block */
    int sub;        /* elements that share a scale: 16 or 32. Exact integer sums span as many. */
} mp_ref_codec;

void mp_ref_dequant(const mp_ref_codec *codec, float *dst, const void *src, int64_t n);
void mp_ref_dot(const mp_ref_codec *codec, float *out, const mp_dot_in *in);

/* Fill in the table's entries of one family each. */
void mp_ref_init_legacy(mp_kern *k);  /* Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 */
void mp_ref_init_kquant(mp_kern *k);  /* Q2_K .. Q6_K */
void mp_ref_init_iq4(mp_kern *k);     /* IQ4_NL IQ4_XS */
void mp_ref_init_ternary(mp_kern *k); /* TQ1_0 TQ2_0 */
void mp_ref_init_mxfp4(mp_kern *k);
void mp_ref_init_float(mp_kern *k);   /* F32 F16 BF16, and all vectors of floats */
void mp_ref_init_attn(mp_kern *k);    /* attention over F16 and F32 */
void mp_ref_init_q8(mp_kern *k);      /* activations */

void mp_kern_init_ref(mp_kern *k);

/* Defines the two kernels of a type, static, over its codec. */
#define MP_REF_KERNELS(type, codec)                                                                                        \
    static void dequant_##type(float *dst, const void *src, int64_t n) { mp_ref_dequant(&(codec), dst, src, n); }          \
    static void dot_##type(float *out, const void *row, const void *const *x, int64_t n, int tok)                          \
    {                                                                                                                      \
        mp_ref_dot(&(codec), out, &(mp_dot_in){ row, x, n, tok });                                                         \
    }

static inline float mp_ref_f16(const uint8_t *p) /* the half stored at p, little-endian, at any address */
{
    return mp_f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}
static inline int mp_ref_nibble(uint8_t byte, int high)
{
    return (byte >> 4 * high) & 15;
}
#endif
