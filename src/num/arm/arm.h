/* What kern.c and the files of this folder know of each other. NEON is part of AArch64, so *_neon.c is compiled as all other code is; files named
 * *_dotprod.c may hold SDOT, so nothing outside may call into them but through a table that kern.c has checked. */
#ifndef MP_NUM_ARM_ARM_H
#define MP_NUM_ARM_ARM_H

#include "num/kern_int.h"

/* Override what they do better in a table that is already filled. */
void mp_kern_init_neon(mp_kern *k);
void mp_kern_init_dotprod(mp_kern *k);

/* Parts of them, one per file. */
void mp_neon_init_float(mp_kern *k);  /* products and decoding of F16 BF16 F32 */
void mp_neon_init_vector(mp_kern *k); /* float vectors, activations to int8 */
void mp_neon_init_attn(mp_kern *k);   /* attention over F16 and F32 */
#endif
