/* What synth*.c share and nobody else includes but their test. */
#ifndef MP_MODEL_SYNTH_INT_H
#define MP_MODEL_SYNTH_INT_H

#include "mem/gguf_write.h"
#include "model/synth.h"

/* ---- synth_mix.c ---- */
typedef enum mp_role { MP_ROLE_EMBD, MP_ROLE_HEAD, MP_ROLE_Q, MP_ROLE_K, MP_ROLE_V, MP_ROLE_ATTN_OUT, MP_ROLE_UP, MP_ROLE_DOWN } mp_role;

struct mp_mix {
    const char *name;
    mp_dtype    base;
    uint32_t    file_type; /* general.file_type */
};

/* The type of a matrix with rows of `cols` in layer `layer`. */
mp_dtype mp_mix_type(const mp_mix *m, const mp_shape *s, mp_role role, int layer, int64_t cols);

/* ---- synth_fill.c ---- */
typedef struct mp_rng { uint64_t s[4]; } mp_rng; /* xoshiro256**, Blackman and Vigna 2018 */

mp_rng   mp_rng_init(uint64_t seed, const char *stream); /* another stream for every name */
uint64_t mp_rng_next(mp_rng *r);
float    mp_rng_normal(mp_rng *r); /* nearly: a sum of four uniforms, so within 3.5 and without libm */
/* dst = n weights (whole blocks) with this standard deviation; dst is 8-aligned and has 7 bytes of slack behind it. Never a NaN or infinity.
 * Types: those of the mixes. */
void mp_synth_fill(mp_rng *r, mp_dtype type, float deviation, void *dst, int64_t n);

/* ---- synth_vocab.c ---- */
mp_err mp_synth_put_vocab(mp_ledger *ledger, mp_gguf_writer *w, const mp_shape *s);
#endif
