/* Guessing the next layer's experts: its router, applied to what this layer's experts will be added to, names most of those that it will choose. They are
 * hinted to the pager, which reads them while the disk would idle. Guesses change speed, never results.
 *
 * A token's guesses are ranked by the router's weight. Of each rank it is counted how many of the guesses that were not resident came true; only ranks of
 * which most do are hinted: a wrong guess takes the disk's time and the slot of a page that may be needed.
 *
 * Whether that pays depends on model, machine and budget, so it is measured while decoding: windows with and without alternate, the winner stays for a
 * while, then they are compared again. For prompts of many tokens nearly every expert is needed, and guessing always pays.
 * Threads: used under the model's lock. Test: tests/model/test_prefetch.c. */
#ifndef MP_MODEL_BLOCK_PREFETCH_H
#define MP_MODEL_BLOCK_PREFETCH_H

#include "model/block/moe.h"

typedef enum mp_prefetch_mode { MP_PREFETCH_AUTO, MP_PREFETCH_OFF, MP_PREFETCH_ON } mp_prefetch_mode;
typedef enum mp_prefetch_state { MP_PREFETCH_IS_OFF, MP_PREFETCH_IS_ON, MP_PREFETCH_PROBING } mp_prefetch_state;

enum { MP_PREFETCH_SAMPLES = 28, MP_PREFETCH_RANKS = 16 };
typedef struct mp_prefetch {
    mp_prefetch_mode mode;
    bool     pays;      /* what the last comparison said; true before the first */
    bool     probing;
    uint32_t at, hold;  /* tokens of this phase so far; tokens until the next comparison */
    int      n[2];      /* [without, with] */
    uint64_t ns[2][MP_PREFETCH_SAMPLES];
    mp_page  guess[MP_PREFETCH_RANKS];     /* of the layer that comes next, likeliest first */
    uint64_t absent;                       /* which of them were not resident; 0: there is nothing to count */
    int      guesses;
    float    truth[MP_PREFETCH_RANKS];     /* share of those that came true, decayed */
} mp_prefetch;

void mp_prefetch_init(mp_prefetch *p, mp_prefetch_mode mode);
/* Does a forward of `tokens` guess? */
bool mp_prefetch_on(const mp_prefetch *p, int64_t tokens);
/* A forward of `tokens` took ns. */
void mp_prefetch_took(mp_prefetch *p, int64_t tokens, uint64_t ns);
mp_prefetch_state mp_prefetch_now(const mp_prefetch *p);
/* The next layer's set is known: were the guesses right? */
void mp_prefetch_learn(mp_prefetch *p, const mp_page *pages, int n);
/* Hints the experts that w's next layer is likely to choose for f->residual. On a dry device it only takes the memory. */
void mp_prefetch_guess(mp_fwd *f, const mp_moe *w);
#endif
