/* The table of processors with AVX-512 and VNNI (Zen 4 and 5, Sapphire Rapids and later). */
#include <string.h>

#include "num/x86/x86.h"

void mp_kern_init_avx512(mp_kern *k)
{
    k->name = "avx512";
    memset(k->dot, 0, sizeof k->dot); /* products of AVX2 would not know this table's order of activations */
    mp_avx512_init_legacy(k);
    mp_avx512_init_kquant(k);
    mp_avx512_init_rest(k);
    mp_avx512_init_float(k);
    mp_avx512_init_vector(k);
    mp_avx512_init_attn(k);
    mp_avx512_init_peak(k);
}
