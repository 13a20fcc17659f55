/* Reading slices of files past the page cache, at their phase, and the source of pages that lie in files. */
#ifndef MP_MEM_IO_H
#define MP_MEM_IO_H

#include "base/ledger.h"
#include "base/os.h"

/* Reads [offset, offset + n) so that the byte at offset lands at dst. Whole aligned blocks are read straight into place when
 * (uintptr_t)dst and offset agree modulo file->align: then up to align - 1 bytes before dst and after dst + n are overwritten. Otherwise buffered + dropped.
 * Errors: MP_E_FAILED. Threads: any number at once. Test: tests/mem/test_io.c. */
mp_err mp_io_read_phase(const mp_file *file, unsigned char *dst, size_t n, uint64_t offset);

/* Reads long ranges into place (dense weights), in pieces, on `threads` threads (8 suits most disks). Whole aligned blocks go straight into place
 * where dst and offset agree modulo file->align, the rest through one bounded staging buffer per thread (charged WORK; the threads' stacks are
 * OVERHEAD). Only [dst, dst + bytes) is written. progress (may be NULL; called on the caller's thread) nonzero stops it (MP_E_CANCELLED).
 * On a dry ledger it charges the same and reads nothing. Errors: the first read's, named by its file offset; MP_E_BUDGET; then dst is undefined.
 * Leaves nothing in the page cache. Test: tests/mem/test_io.c. */
typedef struct mp_io_job { const mp_file *file; unsigned char *dst; uint64_t bytes, offset; } mp_io_job;
mp_err mp_io_read_all(mp_ledger *ledger, const mp_io_job *jobs, int n, int threads,
                      int (*progress)(void *user, uint64_t done, uint64_t total), void *user);
uint64_t mp_io_staging_bytes(int threads); /* the WORK that mp_io_read_all charges while it runs */
#endif
