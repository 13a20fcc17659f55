/* The sampler: one row of logits in, one token id out.
 *
 *   logits -> bias -> penalties -> temperature 0? greedy
 *                               -> top-k -> typical -> top-p -> min-p -> temperature -> draw
 *
 * Invariants: the same seed, history and logits give the same id whatever the threads (the random numbers are keyed by seed and
 * position, not by call order); equal logits are ordered by id, lower first; nothing is allocated after open.
 * Order of the steps: llama.cpp's default chain (penalties, top_k, typ_p, top_p, min_p, temperature). Test: tests/model/test_sampler.c.
 */
#ifndef MP_MODEL_SAMPLER_H
#define MP_MODEL_SAMPLER_H

#include "base/ledger.h"

typedef struct mp_logit_bias {
    int32_t id;
    float   bias; /* added to the logit; -INFINITY excludes the token */
} mp_logit_bias;

/* Every field has a neutral value that switches its step off; MP_SAMPLING_NEUTRAL has them all (with temperature 0: greedy). */
typedef struct mp_sampling {
    float    temperature;       /* logits are divided by it; 0 = greedy, 1 = as the model says. >= 0 */
    float    top_p;             /* smallest set whose probabilities reach top_p; 1 = off. 0 keeps the best token only */
    float    min_p;             /* drops what is less likely than min_p * the best; 0 = off. 0..1 */
    float    typical_p;         /* locally typical mass (Meister et al. 2022); 1 = off. Above 0 */
    float    repeat_penalty;    /* of recent tokens: positive logits divided, others multiplied (CTRL, 2019); 1 = off. Above 0 */
    float    presence_penalty;  /* taken once from each recent token's logit; 0 = off */
    float    frequency_penalty; /* taken once per occurrence; 0 = off */
    int      top_k;             /* keeps the k best; 0 = off */
    int      repeat_last_n;     /* how many accepted tokens count as recent; 0 = penalties off. 0..65536 */
    uint64_t seed;
    const mp_logit_bias *bias;  /* copied by open; the last one wins where an id comes twice */
    int      n_bias;
} mp_sampling;

#define MP_SAMPLING_NEUTRAL \
    { .temperature = 0, .top_p = 1, .min_p = 0, .typical_p = 1, .repeat_penalty = 1, .repeat_last_n = 64 }

typedef struct mp_sampler mp_sampler;

/* Memory: 20 bytes per vocabulary entry and a little, as WORK. Errors: MP_E_USAGE when a parameter is out of its range or a bias id
 * is not in [0, vocab); MP_E_BUDGET. Threads: one sampler belongs to one thread at a time. */
mp_err mp_sampler_open(mp_ledger *ledger, int32_t vocab, const mp_sampling *params, mp_sampler **out);
void   mp_sampler_close(mp_sampler **sampler);

/* Tells the sampler that id is the next token of the text, whether it was picked or given (prompt tokens count for penalties too).
 * Advances the position, and so the random stream. id must be in [0, vocab). */
void mp_sampler_accept(mp_sampler *sampler, int32_t id);

/* Forgets history and position: the next pick is as after open. */
void mp_sampler_reset(mp_sampler *sampler);

/* The random stream goes on at `position`; history stays. For a prompt whose tokens were accepted for the penalties' sake, and for
 * resuming a text whose earlier tokens were drawn by another sampler. */
void mp_sampler_seek(mp_sampler *sampler, uint64_t position);

/* Picks one of the first n_valid ids from logits[n_valid] (changed in place by bias and penalties); 1 <= n_valid <= vocab.
 * Does not accept it. Two picks at one position draw the same random number.
 * Errors: MP_E_MODEL when a logit is NaN or +inf, or when all are -inf (nothing left to choose). */
mp_err mp_sampler_pick(mp_sampler *sampler, float *logits, int32_t n_valid, int32_t *out);

/* The probability that the last pick gave to the picked id, among the candidates left after all filters (1 for greedy). */
float mp_sampler_last_prob(const mp_sampler *sampler);
#endif
