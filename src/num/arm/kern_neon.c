/* The table of every AArch64 processor. What its kernels have to do at least is counted in block_neon.h (quantized weights) and float_neon.c. */
#include "num/arm/quant_neon.h"

void mp_kern_init_neon(mp_kern *k)
{
    k->name = "neon";
    set_quantized(k);
    mp_neon_init_float(k);
    mp_neon_init_vector(k);
    mp_neon_init_attn(k);
}
