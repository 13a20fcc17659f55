/* Writing one large file from front to end so that no half of it is ever taken for the whole: the bytes go to "PATH.part", which gets its name
 * when all of them are on the disk and is removed otherwise. What was written leaves the page cache again: a file of 45 GB would throw out
 * everything that the machine knows.
 * A path that is no regular file (/dev/null) is written in place. Threads: one at a time. Test: tests/mem/test_gguf_write.c. */
#ifndef MP_BASE_OUTFILE_H
#define MP_BASE_OUTFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ledger.h"

typedef struct mp_outfile {
    int      fd;        /* -1: closed */
    bool     in_place;  /* no regular file */
    char    *path, *part; /* owned */
    uint64_t bytes;     /* appended so far */
    uint64_t synced;    /* up to here the system was told to write */
} mp_outfile;

/* Errors: MP_E_USAGE where nothing can be created at path (no such folder, a folder itself), MP_E_FAILED; *out is then closed. */
mp_err mp_outfile_open(mp_ledger *ledger, const char *path, mp_outfile *out);
/* Claims room for the whole file, so that a disk that is too small says so now. Errors: MP_E_FAILED with how much is needed and free. */
mp_err mp_outfile_reserve(mp_outfile *f, uint64_t bytes);
/* Appends. Errors, here and below: MP_E_FAILED naming path and reason. */
mp_err mp_outfile_append(mp_outfile *f, const void *p, size_t n);
mp_err mp_outfile_patch(mp_outfile *f, uint64_t offset, const void *p, size_t n); /* over what was appended */
mp_err mp_outfile_commit(mp_outfile *f); /* to the disk, and under its name */
void   mp_outfile_close(mp_outfile *f);  /* removes what was not committed; a zeroed or closed one is fine */

/* Bytes that an ordinary user may still write in the folder of path; UINT64_MAX where the system does not say. */
uint64_t mp_outfile_room(const char *path);
#endif
