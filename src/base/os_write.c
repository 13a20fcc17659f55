/* Writing files (Linux). Tests: tests/base/test_os_write.c, tests/mem/test_trace.c, tests/fault/test_trace_fault.c. */
#include "base/os_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"

enum { PATH_ROOM = 4096 };

static mp_err fail_open(const char *path, int code) {
    char buf[MP_OS_ERROR_TEXT];
    bool person = code == ENOENT || code == ENOTDIR || code == ENAMETOOLONG || code == EISDIR;
    return mp_fail(person ? MP_E_USAGE : MP_E_FAILED, "cannot write %.512s: %s", path, mp_os_error(code, buf));
}

mp_err mp_out_open(const char *path, mp_out *out) {
    *out = (mp_out){.fd = -1};
    if (!path || !*path) return mp_fail(MP_E_USAGE, "no file name was given");
    /* Not cut: the caller may want to look at what it would destroy. A pipe without a reader must not hang us before it is refused. */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
    if (fd < 0) return fail_open(path, errno);
    struct stat st;
    if (fstat(fd, &st)) {
        int code = errno;
        close(fd);
        return fail_open(path, code);
    }
    if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) {
        close(fd);
        return mp_fail(MP_E_USAGE, "%.512s is no file that can be written at any place", path);
    }
    *out = (mp_out){.fd = fd, .bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0};
    return MP_OK;
}

mp_err mp_out_write(const mp_out *out, const void *src, size_t n, uint64_t offset) {
    const unsigned char *p = src;
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(out->fd, p + done, n - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            char buf[MP_OS_ERROR_TEXT];
            int code = put < 0 ? errno : ENOSPC;
            return mp_fail(MP_E_FAILED, "writing %zu bytes at offset %llu failed: %s", n, (unsigned long long)offset, mp_os_error(code, buf));
        }
        done += (size_t)put;
    }
    return MP_OK;
}

size_t mp_out_peek(const mp_out *out, void *dst, size_t n, uint64_t offset) {
    ssize_t got;
    do got = pread(out->fd, dst, n, (off_t)offset);
    while (got < 0 && errno == EINTR);
    return got > 0 ? (size_t)got : 0;
}

mp_err mp_out_cut(const mp_out *out, uint64_t bytes) {
    struct stat st;
    char buf[MP_OS_ERROR_TEXT];
    if (!fstat(out->fd, &st) && !S_ISREG(st.st_mode)) return MP_OK;
    if (!ftruncate(out->fd, (off_t)bytes)) return MP_OK;
    return mp_fail(MP_E_FAILED, "cutting the file to %llu bytes failed: %s", (unsigned long long)bytes, mp_os_error(errno, buf));
}

mp_err mp_out_close(mp_out *out) {
    char buf[MP_OS_ERROR_TEXT];
    int rc = out->fd >= 0 ? close(out->fd) : 0, code = errno;
    *out = (mp_out){.fd = -1};
    return rc && code != EINTR ? mp_fail(MP_E_FAILED, "closing the file failed: %s", mp_os_error(code, buf)) : MP_OK;
}

/* ---- whole small files ---- */

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
    char beside[PATH_ROOM], buf[MP_OS_ERROR_TEXT];
    int k = snprintf(beside, sizeof beside, "%s.XXXXXX", path);
    int fd = k > 0 && k < PATH_ROOM ? mkstemp(beside) : -1, code = fd < 0 ? (k < PATH_ROOM ? errno : ENAMETOOLONG) : 0;
    if (fd >= 0) {
        code = write_all(fd, data, n);
        if (close(fd) != 0 && !code) code = errno; /* some file systems say only now that they are full */
        if (!code && rename(beside, path) != 0) code = errno;
        if (code) unlink(beside);
    }
    if (!code) return MP_OK;
    return mp_fail(MP_E_FAILED, "cannot write %.512s: %s", path, mp_os_error(code, buf));
}
