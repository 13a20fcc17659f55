/* The wrapped calls. The linker turns the library's malloc into __wrap_malloc, and __real_malloc into the true one. */
#include "fault/wrap.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
    atomic_int nth;   /* 0: not armed */
    atomic_int calls;
    atomic_bool all;  /* every call from nth on */
} armed[WRAP_KINDS];
static atomic_bool hit;

static void arm(wrap_kind kind, int nth, bool all) {
    for (int i = 0; i < WRAP_KINDS; i++) armed[i].nth = 0;
    hit = false;
    armed[kind].calls = 0;
    armed[kind].all = all;
    armed[kind].nth = nth;
}

void wrap_fail(wrap_kind kind, int nth) {
    arm(kind, nth, false);
}

void wrap_fail_from(wrap_kind kind, int nth) {
    arm(kind, nth, true);
}

bool wrap_stop(void) {
    for (int i = 0; i < WRAP_KINDS; i++) armed[i].nth = 0;
    return hit;
}

int wrap_calls(wrap_kind kind) {
    return armed[kind].calls;
}

static bool fails(wrap_kind kind) {
    int nth = armed[kind].nth;
    if (!nth) return false;
    int call = atomic_fetch_add(&armed[kind].calls, 1) + 1;
    bool now = call == nth || (call > nth && armed[kind].all);
    if (now) hit = true;
    return now;
}

/* -Wmissing-prototypes wants these; the names are the linker's. */
void *__wrap_malloc(size_t n);
void *__real_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
int __wrap_posix_memalign(void **p, size_t align, size_t n);
int __real_posix_memalign(void **p, size_t align, size_t n);
void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t offset);
void *__real_mmap(void *p, size_t n, int prot, int flags, int fd, off_t offset);
ssize_t __wrap_pread(int fd, void *dst, size_t n, off_t offset);
ssize_t __real_pread(int fd, void *dst, size_t n, off_t offset);
ssize_t __wrap_pread64(int fd, void *dst, size_t n, off_t offset);
ssize_t __wrap_preadv(int fd, const struct iovec *v, int n, off_t offset);
ssize_t __real_preadv(int fd, const struct iovec *v, int n, off_t offset);
ssize_t __wrap_preadv64(int fd, const struct iovec *v, int n, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *src, size_t n, off_t offset);
ssize_t __real_pwrite(int fd, const void *src, size_t n, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *src, size_t n, off_t offset);

static void *no_memory(void) {
    errno = ENOMEM;
    return NULL;
}

void *__wrap_malloc(size_t n) {
    return fails(WRAP_MEMORY) ? no_memory() : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails(WRAP_MEMORY) ? no_memory() : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n) {
    return fails(WRAP_MEMORY) ? no_memory() : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n) {
    return fails(WRAP_MEMORY) ? no_memory() : __real_aligned_alloc(align, n);
}

int __wrap_posix_memalign(void **p, size_t align, size_t n) {
    return fails(WRAP_MEMORY) ? ENOMEM : __real_posix_memalign(p, align, n);
}

void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t offset) {
    if (!fails(WRAP_MAP)) return __real_mmap(p, n, prot, flags, fd, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}

struct io_uring;
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned n);
int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned n) __attribute__((weak)); /* built without liburing there is none */

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned n) {
    return fails(WRAP_RING) ? -EIO : __real_io_uring_submit_and_wait(ring, n);
}

/* True when the read is not to be made: then *result is what it gives. */
static bool read_fails(ssize_t *result) {
    *result = -1;
    errno = EIO;
    if (fails(WRAP_READ)) return true;
    errno = EINTR;
    if (fails(WRAP_INTR)) return true;
    *result = 0;
    if (fails(WRAP_END)) return true;
    if (fails(WRAP_HANG)) usleep(WRAP_HANG_MS * 1000);
    return false;
}

ssize_t __wrap_preadv(int fd, const struct iovec *v, int n, off_t offset) {
    ssize_t result;
    if (read_fails(&result)) return result;
    ssize_t got = __real_preadv(fd, v, n, offset);
    return got > 1 && fails(WRAP_SHORT) ? got / 2 : got;
}

ssize_t __wrap_preadv64(int fd, const struct iovec *v, int n, off_t offset) {
    return __wrap_preadv(fd, v, n, offset);
}

ssize_t __wrap_pread(int fd, void *dst, size_t n, off_t offset) {
    ssize_t result;
    if (read_fails(&result)) return result;
    return __real_pread(fd, dst, fails(WRAP_SHORT) && n > 1 ? n / 2 : n, offset);
}

ssize_t __wrap_pread64(int fd, void *dst, size_t n, off_t offset) {
    return __wrap_pread(fd, dst, n, offset);
}

ssize_t __wrap_pwrite(int fd, const void *src, size_t n, off_t offset) {
    if (fails(WRAP_WRITE)) {
        errno = ENOSPC;
        return -1;
    }
    return __real_pwrite(fd, src, fails(WRAP_PART) && n > 1 ? n / 2 : n, offset);
}

ssize_t __wrap_pwrite64(int fd, const void *src, size_t n, off_t offset) {
    return __wrap_pwrite(fd, src, n, offset);
}
