/* Writing files (Linux). Tests: tests/mem/test_trace.c, tests/fault/test_trace_fault.c. */
#include "base/os_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ERROR_TEXT = 128 };

/* As in os.c: the two strerror_r disagree on what they return. */
static const char *error_text(int code, char buf[ERROR_TEXT]) {
#if defined(__GLIBC__)
    return strerror_r(code, buf, ERROR_TEXT);
#else
    return strerror_r(code, buf, ERROR_TEXT) ? "unknown error" : buf;
#endif
}

static mp_err fail_open(const char *path, int code) {
    char buf[ERROR_TEXT];
    bool person = code == ENOENT || code == ENOTDIR || code == ENAMETOOLONG || code == EISDIR;
    return mp_fail(person ? MP_E_USAGE : MP_E_FAILED, "cannot write %.512s: %s", path, error_text(code, buf));
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
            char buf[ERROR_TEXT];
            int code = put < 0 ? errno : ENOSPC;
            return mp_fail(MP_E_FAILED, "writing %zu bytes at offset %llu failed: %s", n, (unsigned long long)offset, error_text(code, buf));
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
    char buf[ERROR_TEXT];
    if (!fstat(out->fd, &st) && !S_ISREG(st.st_mode)) return MP_OK;
    if (!ftruncate(out->fd, (off_t)bytes)) return MP_OK;
    return mp_fail(MP_E_FAILED, "cutting the file to %llu bytes failed: %s", (unsigned long long)bytes, error_text(errno, buf));
}

mp_err mp_out_close(mp_out *out) {
    char buf[ERROR_TEXT];
    int rc = out->fd >= 0 ? close(out->fd) : 0, code = errno;
    *out = (mp_out){.fd = -1};
    return rc && code != EINTR ? mp_fail(MP_E_FAILED, "closing the file failed: %s", error_text(code, buf)) : MP_OK;
}
