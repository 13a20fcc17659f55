/* The models of tests/golden/tiny, run through moped.h. */
#ifndef MP_TESTS_TINY_H
#define MP_TESTS_TINY_H

#include "moped.h"

enum { TINY_PATH = 512 };
#define TINY_ROOM (4ull << 30) /* a budget that is no limit, under a sanitizer neither */

/* tests/golden/tiny/<name><suffix> */
void tiny_path(const char *name, const char *suffix, char out[TINY_PATH]);

typedef struct tiny_golden { /* what transformers computes: logits[tok][vocab] after ids[0..t] */
    int32_t  tok, vocab;
    int32_t *ids;
    float   *logits;
} tiny_golden;
tiny_golden tiny_golden_read(const char *name); /* ends the program when it cannot */
void        tiny_golden_free(tiny_golden *g);

/* All logits [n, vocab] of ids, by a model and a session of its own; NULL (and the sentence printed) when something failed. free() it. */
float *tiny_logits(const char *path, moped_options o, const int32_t *ids, size_t n);
/* The same of an open session. */
float *tiny_session_logits(moped_session *s, int vocab, const int32_t *ids, size_t n);

/* Everything off: the likeliest token. */
moped_sampling tiny_greedy(void);

/* Largest difference of a and b as a share of b's range; infinite when a is NULL or holds a NaN. */
double tiny_distance(const float *a, const float *b, size_t n);

/* Writes a model of 264 tokens, without vocabulary, whose 128 experts (qwen3moe, 8 layers of 16, 2 used; 48 KiB each) do not nearly fit the smallest
 * budget that it opens with. Those of tests/golden/tiny do: budgets are planned in whole MiB. Its weights follow from nothing but this code. */
void tiny_write_paged(const char *path);

/* The smallest budget that this model opens with under these options; 0 when it cannot be planned. */
uint64_t tiny_least(const char *path, moped_options o);
#endif
