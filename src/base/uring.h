/* io_uring, as far as reading files needs it: reads are queued, submitted together, and come back in any order. Linux with liburing; elsewhere
 * mp_uring_open refuses with a sentence. Threads: one thread uses a ring; mp_uring_wake may come from any. Test: tests/base/test_uring.c. */
#ifndef MP_BASE_URING_H
#define MP_BASE_URING_H

#include "base/ledger.h"
#include "base/os.h"

typedef struct mp_uring mp_uring;

typedef struct mp_uring_done {
    uint32_t tag;
    int64_t  bytes; /* read; negative: an errno */
} mp_uring_done;

/* depth: reads in flight at most, below 128. Charged: OVERHEAD. Errors: MP_E_FAILED: not built in, or the system refuses it. On a dry ledger it has no ring. */
mp_err mp_uring_open(mp_ledger *ledger, int depth, mp_uring **out);
void   mp_uring_close(mp_uring **ring); /* no reads in flight */
/* Queues one read of n <= 16 pieces from offset on. parts stay the caller's until it is done. false: the queue is full. */
bool   mp_uring_read(mp_uring *ring, int fd, const mp_part *parts, int n, uint64_t offset, uint32_t tag);
/* Submits what is queued, waits for one completion or a wake, and takes up to room completions. Returns how many; with none, the errno, negative, of a
 * system that refuses to wait (an interruption is no refusal: 0). Then what is queued still is, and what was submitted still goes on. */
int    mp_uring_wait(mp_uring *ring, mp_uring_done *out, int room);
/* The same without submitting, without waiting, and without asking the system. */
int    mp_uring_peek(mp_uring *ring, mp_uring_done *out, int room);
/* For giving a ring up: the tags of reads that were queued and the system never took. They must be done otherwise, and mp_uring_wait not be called again;
 * those that it took still come by mp_uring_peek. Returns how many. */
int    mp_uring_unsent(mp_uring *ring, uint32_t *tags, int room);
void   mp_uring_wake(mp_uring *ring);
#endif
