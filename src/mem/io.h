/* Reading slices of files past the page cache, at their phase, and the source of pages that lie in files. */
#ifndef MP_MEM_IO_H
#define MP_MEM_IO_H

#include "base/ledger.h"
#include "base/os.h"

/* Reads [offset, offset + n) so that the byte at offset lands at dst. Whole aligned blocks are read straight into place when
 * (uintptr_t)dst and offset agree modulo file->align: then up to align - 1 bytes before dst and after dst + n are overwritten. Otherwise buffered + dropped.
 * Errors: MP_E_FAILED. Threads: any number at once. Test: tests/mem/test_io.c. */
mp_err mp_io_read_phase(const mp_file *file, unsigned char *dst, size_t n, uint64_t offset);

/* How slices are read: `depth` threads that read one at a time, or one thread that keeps `depth` reads in an io_uring; buffered: through the page
 * cache, dropped afterwards. */
typedef enum mp_io_method { MP_IO_PREAD, MP_IO_URING, MP_IO_BUFFERED } mp_io_method;
typedef struct mp_io_choice { mp_io_method method; int depth; } mp_io_choice; /* depth 0: 8 */
enum { MP_IO_DEPTH = 8, MP_IO_DEPTH_MAX = 64 };
/* "pread", "pread:8", "io_uring:16", "buffered:4"; NULL or "": pread:8. Errors: MP_E_USAGE. */
mp_err mp_io_parse(const char *text, mp_io_choice *out);
const char *mp_io_name(mp_io_method method);

/* A run: slices that follow each other in a file and go to places of their own, in one read. Neighbours share the block that one ends and the other begins
 * in; it lands with the first, and mp_io_run_mend copies the second's share of it (less than a block). */
enum { MP_IO_RUN = 8 };
typedef struct mp_io_run {
    const mp_file *file;
    uint64_t       offset; /* of the first slice's first byte */
    int            n;
    struct { unsigned char *dst; size_t bytes; } slice[MP_IO_RUN];
} mp_io_run;
/* The blocks to read: part[i] for slice i, from *offset on, *want bytes of them (less than the parts hold at the end of a file). False: not in one direct
 * read (refused, out of phase, past the end, or a slice that has no block of its own). */
bool mp_io_run_parts(const mp_io_run *run, mp_part part[MP_IO_RUN], uint64_t *offset, uint64_t *want);
void mp_io_run_mend(const mp_io_run *run);
/* All of it now; false: read the slices one by one. */
bool mp_io_read_run(const mp_io_run *run);

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
