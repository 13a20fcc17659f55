/* The table of processors with SDOT (most since 2018: Cortex-A55 and A76, Neoverse N1, Apple A11 and later): over neon's, other integer products. */
#include "num/arm/quant_neon.h"

#if !defined(__ARM_FEATURE_DOTPROD)
#error "this file needs -march=armv8.2-a+dotprod"
#endif

void mp_kern_init_dotprod(mp_kern *k)
{
    k->name = "dotprod";
    set_quantized(k);
}
