/* What kern.c and the files of this folder know of each other. Files named *_avx2.c and *_avx512.c are compiled for those processors only, so
 * nothing outside may call into them but through a table that kern.c has checked. */
#ifndef MP_NUM_X86_X86_H
#define MP_NUM_X86_X86_H

#include "num/kern_int.h"

/* Override what they do better in a table that is already filled. */
void mp_kern_init_avx2(mp_kern *k);
void mp_kern_init_avx512(mp_kern *k);

/* Parts of them, one per file. */
void mp_avx2_init_legacy(mp_kern *k);  /* codecs with blocks of 32 */
void mp_avx2_init_kquant(mp_kern *k);  /* Q2_K .. Q6_K */
void mp_avx2_init_rest(mp_kern *k);    /* IQ4_XS TQ1_0 TQ2_0 */
void mp_avx2_init_float(mp_kern *k);   /* products and decoding of F32 F16 BF16 */
void mp_avx2_init_vector(mp_kern *k);  /* float vectors, activations to int8 */
void mp_avx2_init_attn(mp_kern *k);    /* attention over F16 and F32 */
void mp_avx2_init_peak(mp_kern *k);    /* chains of instructions, to measure the processor with */
void mp_avx512_init_legacy(mp_kern *k);
void mp_avx512_init_kquant(mp_kern *k);
void mp_avx512_init_rest(mp_kern *k);
void mp_avx512_init_float(mp_kern *k);
void mp_avx512_init_vector(mp_kern *k);
void mp_avx512_init_attn(mp_kern *k);
void mp_avx512_init_peak(mp_kern *k);
#endif
