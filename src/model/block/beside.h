/* The processor beside the GPU. Of the experts that a layer needs and VRAM has not, some go up over the link and some are computed where they are, in RAM, while
 * the GPU computes the others: the processor and the link work at the same time, so the set is divided such that both are done at the same time, by what each
 * took lately. Those with the most rows go up, then those that were used most: they are the likeliest to be needed again.
 *
 *   misses, most wanted first   | e e e e e | e e e e |
 *                                 go up       stay        largest of (bytes up / link, work of those that stay / processor) is least
 *
 * The two devices add in different orders, so which expert went where shows in the last bits of its result. Where that must not be (fixed), all of them go up.
 * Only batches of few tokens are divided: in larger ones an expert has so many rows that the link is the faster way. Threads: under the model's lock; costs of
 * uploads are told from the pager's readers. Test: tests/tier/test_beside.c. */
#ifndef MP_MODEL_BLOCK_BESIDE_H
#define MP_MODEL_BLOCK_BESIDE_H

#include <pthread.h>

#include "model/fwd.h"

enum { MP_BESIDE_TOK = 16, MP_BESIDE_LISTS = 20 /* bytes of the host for each expert that is divided */ };

typedef struct mp_beside {
    mp_dev   *cpu;
    mp_pager *ram;      /* the slots that hold what VRAM has not */
    bool      fixed;    /* everything goes up */
    pthread_mutex_t lock;                          /* of these */
    uint64_t  up_ns, up_bytes, here_ns, here_bytes; /* what was measured lately; older things fade. up_ns: while there was any upload */
    uint64_t  up_since_ns;
    int       ups;                                  /* under way */
    _Atomic uint64_t computed;                      /* experts that stayed, so far */
} mp_beside;

/* An upload begins, and is done. */
void mp_beside_up_begin(mp_beside *b);
void mp_beside_up_end(mp_beside *b, size_t bytes);

/* A layer's experts, some of which stay. */
typedef struct mp_beside_set {
    mp_expert_job *job;     /* [n], without addresses */
    mp_page       *page;    /* [n] */
    int            n;
    mp_tensor      x, y;    /* of the host: [T,D], [T*k,D] */
    const mp_tensor *out;   /* of the device: [T*k,D] */
} mp_beside_set;

/* Does it take part in a batch of so many tokens? */
static inline bool mp_beside_on(const mp_beside *b, int64_t tok) { return b && !b->fixed && tok <= MP_BESIDE_TOK; }
/* here[i] = the i-th of n jobs stays: never one that is in VRAM. Announces to the host's slots what those in VRAM lack. weights: of one expert, sizes only. */
mp_err mp_beside_divide(mp_fwd *f, const mp_expert_job *jobs, const mp_page *pages, int n, bool *here);
/* What compute() needs: copies x to the host, so before anything else is enqueued. On a dry device it only takes the memory. */
void   mp_beside_prepare(mp_fwd *f, const mp_tensor *x, const mp_tensor *y, mp_beside_set *set);
/* Computes the set on the processor, each expert as its weights are in RAM, and puts its rows of y where the device has them. */
mp_err mp_beside_compute(mp_fwd *f, mp_beside_set *set);
#endif
