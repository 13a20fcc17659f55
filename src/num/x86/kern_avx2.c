/* The table of processors with AVX2, FMA and F16C (Haswell, Zen, and later). */
#include <string.h>

#include "num/x86/x86.h"

void mp_kern_init_avx2(mp_kern *k)
{
    k->name = "avx2";
    memset(k->dot, 0, sizeof k->dot); /* the reference's would not know turned activations */
    mp_avx2_init_legacy(k);
    mp_avx2_init_kquant(k);
    mp_avx2_init_rest(k);
    mp_avx2_init_float(k);
    mp_avx2_init_vector(k);
    mp_avx2_init_attn(k);
    mp_avx2_init_peak(k);
}
