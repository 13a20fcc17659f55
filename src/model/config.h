/* A model's hyper-parameters, as its file gives them. Names of dimensions as in dev/op.h. */
#ifndef MP_MODEL_CONFIG_H
#define MP_MODEL_CONFIG_H

#include "dev/op.h"
#include "mem/gguf.h"

typedef enum mp_rope_scaling { MP_ROPE_PLAIN, MP_ROPE_LINEAR, MP_ROPE_YARN } mp_rope_scaling;

typedef struct mp_rope_config {
    mp_rope_mode    mode;
    mp_rope_scaling scaling;
    int             dims;        /* R: rotated dimensions of a head */
    double          base, factor, original_ctx, beta_fast, beta_slow;
    double          attn_factor; /* cos and sin are multiplied by it */
} mp_rope_config;

typedef struct mp_config {
    const char *arch;            /* general.architecture, of a static string */
    int   layers, width, vocab, ctx_train;
    int   heads, kv_heads, head_dim;
    int   ff;                    /* dense FFN width */
    int   experts, experts_used, expert_ff, shared_ff; /* experts 0: dense */
    bool  renorm;                /* router weights are renormalised over the chosen */
    float expert_scale;
    float eps, clamp_qkv;        /* clamp 0: none */
    int   window;                /* sliding window, 0: none */
    float attn_scale;            /* 0: 1/sqrt(head_dim) */
    mp_rope_config rope;
} mp_config;

/* Reads the keys that all families share, checks them against each other, and fills defaults. rope mode NEOX unless the family changes it.
 * Errors: MP_E_MODEL naming the key that is missing or contradicts another. */
mp_err mp_config_read(const mp_gguf *g, const char *arch, mp_config *out);
/* A key of this architecture: "{arch}.{name}". Returns whether it is there. */
bool mp_config_int(const mp_gguf *g, const char *arch, const char *name, int *out);
bool mp_config_float(const mp_gguf *g, const char *arch, const char *name, double *out);

/* inv_freq[R/2] of models.md 0.3: plain, linear or YaRN, divided by divisors[R/2] (rope_freqs.weight) when not NULL. */
void mp_rope_table(const mp_rope_config *rope, const float *divisors, float *inv_freq);
#endif
