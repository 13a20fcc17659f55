/* Model files of real shapes with random weights: to measure a model before it is downloaded, and for tests. The file is a sound GGUF that other
 * engines load too: the families' metadata and tensors, llama.cpp's mixes of types, a made-up vocabulary of the real size.
 *
 * Weights: random bits in blocks of the type, scaled so that a weight's standard deviation is 1/sqrt(fan-in) (embedding: 1; shared with the head:
 * 1/sqrt(width)); norms near 1, biases small, routers normal with log-normal norms per expert (sigma 0.5), so that some experts are hotter than others as
 * in trained models. The same shape, type and seed give the same bytes everywhere.
 * Tests: tests/model/test_synth.c, tests/mem/test_gguf_write.c; other engines: bench/like_llamacpp.py. */
#ifndef MP_MODEL_SYNTH_H
#define MP_MODEL_SYNTH_H

#include "base/ledger.h"
#include "num/dtype.h"

typedef enum mp_synth_vocab { MP_VOCAB_QWEN, MP_VOCAB_LLAMA3, MP_VOCAB_OLMO, MP_VOCAB_SPM } mp_synth_vocab;
typedef enum mp_synth_family { MP_FAMILY_LLAMA, MP_FAMILY_QWEN2, MP_FAMILY_QWEN2MOE, MP_FAMILY_QWEN3, MP_FAMILY_QWEN3MOE, MP_FAMILY_OLMOE } mp_synth_family;

typedef struct mp_shape {
    const char     *name;     /* "qwen3-30b-a3b" */
    mp_synth_family family;
    mp_synth_vocab  tokens;   /* kind of vocabulary */
    int             layers, width, heads, kv_heads, head_dim;
    int             ff;       /* dense; with experts: what the metadata say of it */
    int             experts, used, expert_ff, shared_ff; /* 0: none */
    int             vocab, ctx;
    float           rope_base, eps;
    int             rope_factor; /* of Llama 3.1's stretched rotation; 0: none */
    bool            tied;        /* the embedding is the head */
    double          published;   /* parameters, in billions, that its makers state; 0: made up here */
    int             all_layers;  /* of the uncut model; set by mp_shape_find */
} mp_shape;

const mp_shape *mp_shape_at(int i); /* the table (synth_shapes.c); NULL past its end */
const char     *mp_shape_arch(const mp_shape *s);
/* "NAME" or "NAME@N": the first N layers of it. Errors: MP_E_USAGE naming what is not known. */
mp_err mp_shape_find(const char *text, mp_shape *out);
/* All parameters; *active (may be NULL): without the experts that a token does not use. */
uint64_t mp_shape_parameters(const mp_shape *s, uint64_t *active);

typedef struct mp_mix mp_mix; /* which type each tensor gets: "Q4_K_M" */
const mp_mix *mp_mix_at(int i);
const char   *mp_mix_name(const mp_mix *m);
mp_err        mp_mix_find(const char *name, const mp_mix **out); /* in any case; NULL: Q4_K_M. Errors: MP_E_USAGE naming those that there are */

typedef struct mp_synth_options {
    const char *shape, *type, *path; /* type NULL: Q4_K_M */
    uint64_t    seed;
    int       (*progress)(void *user, const char *stage, uint64_t done, uint64_t total); /* nonzero cancels. May be NULL */
    void       *user;
} mp_synth_options;

/* Writes the file; when it fails there is none (a file that was there before stays). Errors: MP_E_USAGE; MP_E_FAILED (no room: says how much is needed);
 * MP_E_CANCELLED; MP_E_BUDGET (about 4 MiB are used). */
mp_err mp_synth_write(mp_ledger *ledger, const mp_synth_options *options);
/* How large that file is. */
mp_err mp_synth_bytes(mp_ledger *ledger, const mp_shape *shape, const mp_mix *mix, uint64_t *out);
#endif
