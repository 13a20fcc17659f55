/* Files that the library writes, small ones whole (profiles) and others at any place (traces); a large one from front to end is base/outfile.h. The reading
 * half is in os.h; as there, nothing above knows a system call or an errno. */
#ifndef MP_BASE_OS_WRITE_H
#define MP_BASE_OS_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct mp_out {
    int      fd;    /* -1 when closed */
    uint64_t bytes; /* that the file held when it was opened */
} mp_out;

/* Opens path for writing at any offset and makes it when it is not there; what it holds stays until mp_out_cut. Refused: folders, and pipes and
 * sockets, where nothing can be written twice. Errors: MP_E_USAGE (no such folder, not a file), MP_E_FAILED (no permission, disk full). */
mp_err mp_out_open(const char *path, mp_out *out);
/* Writes exactly n bytes at offset, retrying EINTR and short writes. Errors: MP_E_FAILED with the system's reason; a part may have been written. */
mp_err mp_out_write(const mp_out *out, const void *src, size_t n, uint64_t offset);
/* Reads at most n bytes from offset; how many came, 0 when it cannot be read. */
size_t mp_out_peek(const mp_out *out, void *dst, size_t n, uint64_t offset);
mp_err mp_out_cut(const mp_out *out, uint64_t bytes); /* makes the file so long; does nothing to a device */
mp_err mp_out_close(mp_out *out);                     /* MP_E_FAILED: the system says only now that it could not write */

/* Writes n bytes beside path and renames it there, so that readers see the old file or the new one, never a half; it is the user's alone (0600). On error
 * path is as it was and nothing lies beside it. What a crash of the machine leaves may be empty: it is not synced to the disk, so the content has to be
 * able to tell (a checksum). Errors: MP_E_FAILED (the folder is missing or cannot be written, the disk is full). Threads: any; the last one wins.
 * Test: tests/base/test_os_write.c. */
mp_err mp_file_replace(const char *path, const void *data, size_t n);
#endif
