/* Writing a small file whole: readers see the old one or the new one, never a half. */
#ifndef MP_BASE_REPLACE_H
#define MP_BASE_REPLACE_H

#include <stddef.h>

#include "base/err.h"

/* Writes n bytes beside path and renames it there; the file is the user's alone (0600). On error path is as it was and nothing lies beside it.
 * What a crash of the machine leaves may be empty: it is not synced to the disk, so the content has to be able to tell (a checksum).
 * Errors: MP_E_FAILED (the folder is missing or cannot be written, the disk is full). Threads: any; the last one wins.
 * Tests: tests/base/test_replace.c. */
mp_err mp_file_replace(const char *path, const void *data, size_t n);

#endif
