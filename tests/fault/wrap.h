/* Makes the N-th call of one kind fail, for tests that walk N from 1 until nothing fails any more:
 *
 *   for (int n = 1;; n++) {
 *       wrap_fail(WRAP_MEMORY, n);
 *       mp_err err = thing_open(...);
 *       bool hit = wrap_stop();
 *       CHECK(hit == (err != 0));  ... CHECK that nothing leaked ...
 *       if (!hit) break;
 *   }
 *
 * Only calls that the library or the test itself makes are seen (the linker's --wrap); what libc or other libraries call inside is not.
 * Threads: counted over all threads. Everything passes through while nothing is armed. */
#ifndef MP_TESTS_FAULT_WRAP_H
#define MP_TESTS_FAULT_WRAP_H

#include <stdbool.h>

enum { WRAP_HANG_MS = 5000 };

/* What is said of pread goes for preadv. */
typedef enum wrap_kind {
    WRAP_MEMORY, /* malloc calloc realloc aligned_alloc posix_memalign: no memory */
    WRAP_MAP,    /* mmap: ENOMEM */
    WRAP_READ,   /* pread: EIO */
    WRAP_SHORT,  /* pread: half of what was asked for (at least 1 byte), which is no error */
    WRAP_END,    /* pread: 0, as if the file ended */
    WRAP_INTR,   /* pread: EINTR, which is no error */
    WRAP_HANG,   /* pread: takes WRAP_HANG_MS, then works */
    WRAP_WRITE,  /* pwrite: ENOSPC */
    WRAP_RING,  /* io_uring_submit_and_wait: EIO, and nothing is submitted */
    WRAP_PART,   /* pwrite: half of what was to be written (at least 1 byte), which is no error */
    WRAP_KINDS
} wrap_kind;

void wrap_fail(wrap_kind kind, int nth);       /* arms: the nth call of kind from now on fails, once; nth >= 1 */
void wrap_fail_from(wrap_kind kind, int nth);  /* arms: the nth call and every later one fail */
bool wrap_stop(void);                          /* disarms; true when at least one call was made to fail */
int  wrap_calls(wrap_kind kind);               /* calls of kind since it was last armed */

#endif
