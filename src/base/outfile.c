#include "base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/os.h"
#include "base/size.h"

enum { WINDOW = 32 << 20 };

static mp_err fail(const char *path, int code) {
    char buf[MP_OS_ERROR_TEXT];
    bool person = code == ENOENT || code == ENOTDIR || code == EISDIR || code == ENAMETOOLONG;
    const char *why = mp_os_error(code, buf);
    if (code == ENOSPC || code == EDQUOT) why = "the disk is full";
    return mp_fail(person ? MP_E_USAGE : MP_E_FAILED, "cannot write %.512s: %s", path, why);
}

static mp_err copy_name(mp_ledger *ledger, const char *path, const char *suffix, char **out) {
    size_t n = strlen(path) + strlen(suffix) + 1;
    mp_err e = MP_NEW(ledger, MP_OWN_WORK, char, n, out);
    if (!e) snprintf(*out, n, "%s%s", path, suffix);
    return e;
}

mp_err mp_outfile_open(mp_ledger *ledger, const char *path, mp_outfile *out) {
    struct stat st;
    *out = (mp_outfile){.fd = -1};
    if (!path || !*path) return mp_fail(MP_E_USAGE, "no file name was given");
    bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode)) return fail(path, EISDIR);
    mp_err e = copy_name(ledger, path, "", &out->path);
    if (!e) e = copy_name(ledger, path, ".part", &out->part);
    out->in_place = there && !S_ISREG(st.st_mode);
    if (!e) out->fd = open(out->in_place ? path : out->part, O_WRONLY | O_CREAT | O_CLOEXEC | (out->in_place ? 0 : O_TRUNC), 0666);
    if (!e && out->fd < 0) e = fail(path, errno);
    if (e) mp_outfile_close(out);
    return e;
}

uint64_t mp_outfile_room(const char *path) {
    char folder[4096] = ".";
    struct statvfs fs;
    const char *slash = strrchr(path, '/');
    if (slash && (size_t)(slash - path) < sizeof folder - 1) snprintf(folder, sizeof folder, "%.*s", (int)(slash - path) + 1, path);
    return statvfs(folder, &fs) ? UINT64_MAX : (uint64_t)fs.f_bavail * fs.f_frsize;
}

mp_err mp_outfile_reserve(mp_outfile *f, uint64_t bytes) {
    char need[MP_SIZE_TEXT], have[MP_SIZE_TEXT];
    uint64_t room = f->in_place ? UINT64_MAX : mp_outfile_room(f->path);
    if (bytes > room)
        return mp_fail(MP_E_FAILED, "%.512s needs %s, and the disk has %s free", f->path, mp_size_format(bytes, need), mp_size_format(room, have));
    if (f->in_place || fallocate(f->fd, 0, 0, (off_t)bytes) == 0) return MP_OK;
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
        return mp_fail(MP_E_FAILED, "%.512s needs %s, more than the disk or a limit allows", f->path, mp_size_format(bytes, need));
    return MP_OK; /* a file system that cannot promise: the writing will tell */
}

/* Two windows are under way at most: the one before the last must be on the disk, and then leaves the cache. */
static void write_behind(mp_outfile *f) {
    while (!f->in_place && f->bytes - f->synced >= WINDOW) {
        sync_file_range(f->fd, (off_t)f->synced, WINDOW, SYNC_FILE_RANGE_WRITE);
        if (f->synced >= WINDOW) {
            off_t before = (off_t)(f->synced - WINDOW);
            sync_file_range(f->fd, before, WINDOW, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
            posix_fadvise(f->fd, before, WINDOW, POSIX_FADV_DONTNEED);
        }
        f->synced += WINDOW;
    }
}

mp_err mp_outfile_append(mp_outfile *f, const void *p, size_t n) {
    const char *at = p;
    while (n > 0) {
        ssize_t k = write(f->fd, at, n < WINDOW ? n : WINDOW);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return fail(f->path, k < 0 ? errno : EIO);
        at += k;
        n -= (size_t)k;
        f->bytes += (uint64_t)k;
        write_behind(f);
    }
    return MP_OK;
}

mp_err mp_outfile_patch(mp_outfile *f, uint64_t offset, const void *p, size_t n) {
    const char *at = p;
    while (n > 0) {
        ssize_t k = pwrite(f->fd, at, n, (off_t)offset);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return fail(f->path, k < 0 ? errno : EIO);
        at += k;
        n -= (size_t)k;
        offset += (uint64_t)k;
    }
    return MP_OK;
}

mp_err mp_outfile_commit(mp_outfile *f) {
    if (f->in_place) {
        close(f->fd);
        f->fd = -1;
        return MP_OK;
    }
    if (ftruncate(f->fd, (off_t)f->bytes) || fsync(f->fd)) return fail(f->path, errno);
    posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
    int code = close(f->fd) ? errno : 0;
    f->fd = -1;
    if (!code && rename(f->part, f->path)) code = errno;
    if (code) unlink(f->part);
    return code ? fail(f->path, code) : MP_OK;
}

void mp_outfile_close(mp_outfile *f) {
    if (f->part && f->fd >= 0) {
        close(f->fd);
        if (!f->in_place) unlink(f->part);
    }
    MP_FREE(f->path);
    MP_FREE(f->part);
    *f = (mp_outfile){.fd = -1};
}
