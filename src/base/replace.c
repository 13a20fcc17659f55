/* Write beside, then rename. */
#include "base/replace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_ROOM = 4096 };

/* 0, or errno. */
static int write_all(int fd, const unsigned char *data, size_t n) {
    while (n > 0) {
        ssize_t k = write(fd, data, n);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return k < 0 ? errno : ENOSPC;
        data += k;
        n -= (size_t)k;
    }
    return 0;
}

mp_err mp_file_replace(const char *path, const void *data, size_t n) {
    char beside[PATH_ROOM];
    int k = snprintf(beside, sizeof beside, "%s.XXXXXX", path);
    int fd = k > 0 && k < PATH_ROOM ? mkstemp(beside) : -1, code = fd < 0 ? (k < PATH_ROOM ? errno : ENAMETOOLONG) : 0;
    if (fd >= 0) {
        code = write_all(fd, data, n);
        if (close(fd) != 0 && !code) code = errno; /* some file systems say only now that they are full */
        if (!code && rename(beside, path) != 0) code = errno;
        if (code) unlink(beside);
    }
    if (!code) return MP_OK;
    return mp_fail(MP_E_FAILED, "cannot write %.512s: %s", path, strerror(code)); /* known codes: both C libraries have constant texts for them */
}
