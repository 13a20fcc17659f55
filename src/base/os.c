/* The one seam to the operating system (Linux). Nothing above knows a system call, a /proc file or an errno. */
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/procfs.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; C libraries learned it later */
#endif

enum { PAGE_BYTES = 4096, HUGE_BYTES = 2 << 20, DIRECT_ALIGN = 4096, TMPFS = 0x01021994 };
static const uint32_t RAMFS = 0x858458f6u;

/* ---- errors ---- */

/* strerror is not for threads; the two strerror_r disagree on what they return. */
const char *mp_os_error(int code, char buf[MP_OS_ERROR_TEXT]) {
#if defined(__GLIBC__)
    return strerror_r(code, buf, MP_OS_ERROR_TEXT);
#else
    return strerror_r(code, buf, MP_OS_ERROR_TEXT) ? "unknown error" : buf;
#endif
}

/* ---- time and processors ---- */

uint64_t mp_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void mp_cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void mp_os_thread_background(void) {
    enum { NICE = 10 };
    setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* on Linux of one thread; a refusal only costs others some time */
}

int mp_os_cpus(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? (int)sysconf(_SC_NPROCESSORS_ONLN) : CPU_COUNT(&set);
    mp_cgroup group;
    mp_cgroup_get("", &group);
    int quota = (int)(group.quota_mcpu / 1000); /* down: one thread too many and all are stopped for the rest of each period */
    if (group.quota_mcpu && quota < n) n = quota;
    return n < 1 ? 1 : n;
}

/* ---- files ---- */

static mp_err fail_open(const char *path, int code) {
    char buf[MP_OS_ERROR_TEXT];
    bool person = code == ENOENT || code == ENOTDIR || code == ENAMETOOLONG;
    return mp_fail(person ? MP_E_USAGE : MP_E_FAILED, "cannot open %.512s: %s", path, mp_os_error(code, buf));
}

/* tmpfs and ramfs accept O_DIRECT on newer kernels and read from memory all the same; that must not be taken for a disk. */
static bool lives_in_memory(int fd) {
    struct statfs fs;
    if (fstatfs(fd, &fs)) return false;
    return (uint32_t)fs.f_type == (uint32_t)TMPFS || (uint32_t)fs.f_type == RAMFS;
}

/* What direct reads of fd need; 0 when the system says that it has none; DIRECT_ALIGN when it does not say. */
static uint32_t direct_align(int fd) {
#if defined(STATX_DIOALIGN)
    struct statx sx;
    if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) && (sx.stx_mask & STATX_DIOALIGN)) {
        uint32_t mem = sx.stx_dio_mem_align, off = sx.stx_dio_offset_align;
        if (!mem || !off) return 0;
        return mem > off ? mem : off;
    }
#else
    (void)fd;
#endif
    return DIRECT_ALIGN;
}

static void open_direct(const char *path, mp_file *file) {
    uint32_t align = direct_align(file->fd);
    if (!align || lives_in_memory(file->fd)) return;
    file->direct_fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (file->direct_fd >= 0) file->align = align;
}

mp_err mp_file_open(const char *path, bool direct, mp_file *out) {
    *out = (mp_file){.fd = -1, .direct_fd = -1};
    if (!path || !*path) return mp_fail(MP_E_USAGE, "no file name was given");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us before it is refused */
    if (fd < 0) return fail_open(path, errno);
    struct stat st;
    if (fstat(fd, &st)) {
        int code = errno;
        close(fd);
        return fail_open(path, code);
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return mp_fail(MP_E_USAGE, "%.512s is %s, not a file", path, S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
    }
    *out = (mp_file){.fd = fd, .direct_fd = -1, .align = DIRECT_ALIGN, .bytes = (uint64_t)st.st_size};
    if (direct) open_direct(path, out);
    return MP_OK;
}

void mp_file_close(mp_file *file) {
    if (!file) return;
    if (file->fd >= 0) close(file->fd);
    if (file->direct_fd >= 0) close(file->direct_fd);
    *file = (mp_file){.fd = -1, .direct_fd = -1};
}

/* Reads up to n bytes until the file ends. *done counts what came; returns 0 or errno. */
static int read_fully(int fd, unsigned char *dst, size_t n, uint64_t offset, size_t *done) {
    while (*done < n) {
        ssize_t got = pread(fd, dst + *done, n - *done, (off_t)(offset + *done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        if (!got) break;
        *done += (size_t)got;
    }
    return 0;
}

static mp_err fail_read(int code, size_t want, uint64_t offset, size_t done) {
    char buf[MP_OS_ERROR_TEXT];
    if (code)
        return mp_fail(MP_E_FAILED, "reading %zu bytes at offset %llu failed: %s", want, (unsigned long long)offset,
                       mp_os_error(code, buf));
    return mp_fail(MP_E_FAILED, "the file ends at %llu, %zu bytes before the end of what was to be read; it is cut short or changed",
                   (unsigned long long)(offset + done), want - done);
}

static bool beyond(const mp_file *file, size_t n, uint64_t offset) {
    return offset > file->bytes || n > file->bytes - offset;
}

mp_err mp_file_read(const mp_file *file, void *dst, size_t n, uint64_t offset) {
    if (beyond(file, n, offset))
        return mp_fail(MP_E_FAILED, "%zu bytes at offset %llu reach past the end of a file of %llu bytes", n,
                       (unsigned long long)offset, (unsigned long long)file->bytes);
    size_t done = 0;
    int code = read_fully(file->fd, dst, n, offset, &done);
    return code || done < n ? fail_read(code, n, offset, done) : MP_OK;
}

mp_err mp_file_read_direct(const mp_file *file, void *dst, size_t n, uint64_t offset) {
    if (n && offset >= file->bytes)
        return mp_fail(MP_E_FAILED, "offset %llu is past the end of a file of %llu bytes", (unsigned long long)offset,
                       (unsigned long long)file->bytes);
    if (!n) return MP_OK;
    size_t want = beyond(file, n, offset) ? (size_t)(file->bytes - offset) : n, done = 0;
    int code = EINVAL;
    if (file->direct_fd >= 0) code = read_fully(file->direct_fd, dst, n, offset, &done);
    if (done >= want) return MP_OK;
    if (code != 0 && code != EINVAL) return fail_read(code, want, offset, done);
    /* Refused, or stopped at an odd place where a direct read cannot go on: the rest comes through the cache. */
    code = read_fully(file->fd, dst, want, offset, &done);
    mp_file_drop_cache(file, offset, want);
    return code || done < want ? fail_read(code, want, offset, done) : MP_OK;
}

bool mp_file_read_parts(const mp_file *file, const mp_part *parts, int n, uint64_t offset) {
    struct iovec v[MP_PARTS];
    size_t sum = 0;
    for (int i = 0; i < n; i++) {
        v[i] = (struct iovec){.iov_base = parts[i].base, .iov_len = parts[i].bytes};
        sum += parts[i].bytes;
    }
    if (file->direct_fd < 0 || offset >= file->bytes) return false;
    size_t want = beyond(file, sum, offset) ? (size_t)(file->bytes - offset) : sum;
    ssize_t got = preadv(file->direct_fd, v, n, (off_t)offset);
    return got >= 0 && (size_t)got >= want;
}

void mp_file_drop_cache(const mp_file *file, uint64_t offset, uint64_t bytes) {
    posix_fadvise(file->fd, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED); /* advice: a refusal changes nothing */
}

/* ---- memory ---- */

uint64_t mp_os_node_mask(const char *list) {
    uint64_t mask = 0;
    while (*list) {
        char *end;
        unsigned long first = strtoul(list, &end, 10), last = first;
        if (end == list) return mask;
        if (*end == '-') last = strtoul(end + 1, &end, 10);
        for (unsigned long i = first; i <= last && i < 64; i++) mask |= 1ull << i;
        list = end + (*end == ',');
    }
    return mask;
}

/* The seam for machines with several nodes of memory. Every thread reads all of the weights, so their pages alternate between the nodes: each
 * thread gets the sum of what the nodes give. Advice: where it is refused (a cpuset) pages come from where they are touched. */
static void spread(void *p, size_t bytes) {
    enum { INTERLEAVE = 3 }; /* MPOL_INTERLEAVE of <linux/mempolicy.h> */
    char line[256];
    if (!mp_file_line("/sys/devices/system/node/has_memory", line, sizeof line)) return;
    unsigned long mask = (unsigned long)mp_os_node_mask(line);
    if (mask & (mask - 1)) syscall(SYS_mbind, p, bytes, INTERLEAVE, &mask, 8 * sizeof mask + 1, 0);
}

void *mp_os_map(size_t bytes, bool huge) {
    size_t room = huge ? bytes + HUGE_BYTES : bytes;
    if (room < bytes) return NULL;
    unsigned char *p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    if (!huge) return p;
    size_t skip = (HUGE_BYTES - (uintptr_t)p % HUGE_BYTES) % HUGE_BYTES, tail = HUGE_BYTES - skip;
    if (skip) munmap(p, skip);
    if (tail) munmap(p + skip + (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES, tail);
    madvise(p + skip, bytes, MADV_HUGEPAGE); /* advice: without it the pages are small and everything works */
    spread(p + skip, bytes);
    return p + skip;
}

void mp_os_unmap(void *p, size_t bytes) {
    if (p) munmap(p, bytes);
}

static bool populate_here(unsigned char *p, size_t bytes) {
    int rc;
    do rc = madvise(p, bytes, MADV_POPULATE_WRITE);
    while (rc && (errno == EINTR || errno == EAGAIN));
    if (!rc) return true;
    if (errno != EINVAL) return false;
    for (volatile unsigned char *byte = p; byte < p + bytes; byte += PAGE_BYTES) *byte = *byte; /* a kernel before 5.14 */
    return true;
}

typedef struct populate_part {
    pthread_t      thread;
    unsigned char *p;
    size_t         bytes;
    bool           started, ok;
} populate_part;

static void *populate_run(void *arg) {
    populate_part *part = arg;
    part->ok = populate_here(part->p, part->bytes);
    return NULL;
}

/* Zeroing is the work: gigabytes are split over the processors. A part whose thread is refused is done here. */
bool mp_os_populate(void *p, size_t bytes) {
    enum { MOST = 8 };
    populate_part part[MOST];
    size_t n = bytes / ((size_t)256 << 20) + 1, cpus = (size_t)mp_os_cpus(), at = 0;
    n = n < cpus ? n : cpus;
    n = n < MOST ? n : MOST;
    size_t share = (bytes / n + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        size_t m = bytes - at < share || i + 1 == n ? bytes - at : share;
        part[i] = (populate_part){.p = (unsigned char *)p + at, .bytes = m};
        part[i].started = i + 1 < n && !pthread_create(&part[i].thread, NULL, populate_run, &part[i]);
        if (!part[i].started) populate_run(&part[i]);
        at += m;
    }
    for (size_t i = 0; i < n; i++) {
        if (part[i].started) pthread_join(part[i].thread, NULL);
        ok &= part[i].ok;
    }
    return ok;
}

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

uint64_t mp_os_own_bytes(void) {
    mp_os_usage usage;
    mp_os_usage_get(&usage);
    return SANITIZED ? (uint64_t)64 << 20 : usage.now_bytes;
}

void mp_os_trim(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void mp_os_memory_get(mp_os_memory *out) {
    char thp[128];
    mp_cgroup group;
    mp_cgroup_get("", &group);
    *out = (mp_os_memory){
        .total_bytes = mp_file_field("/proc/meminfo", "MemTotal:") * 1024,
        .available_bytes = mp_file_field("/proc/meminfo", "MemAvailable:") * 1024,
        .cgroup_limit_bytes = group.limit_bytes,
        .cgroup_used_bytes = group.used_bytes,
        .cgroup_version = group.version,
    };
    out->thp = mp_file_line("/sys/kernel/mm/transparent_hugepage/enabled", thp, sizeof thp) &&
               (strstr(thp, "[always]") || strstr(thp, "[madvise]"));
}

static uint64_t status_bytes(const char *line, const char *key) {
    size_t n = strlen(key);
    if (strncmp(line, key, n) != 0) return 0;
    uint64_t kib = 0;
    for (line += n; *line == ' ' || *line == '\t';) line++;
    for (; *line >= '0' && *line <= '9'; line++) kib = kib * 10 + (uint64_t)(*line - '0');
    return kib * 1024;
}

void mp_os_usage_get(mp_os_usage *out) {
    *out = (mp_os_usage){0};
    mp_lines lines;
    if (!mp_lines_open("/proc/self/status", &lines)) return;
    for (const char *line; (line = mp_lines_next(&lines));) { /* one pass, so that the figures belong together */
        out->peak_bytes += status_bytes(line, "VmHWM:");
        out->now_bytes += status_bytes(line, "VmRSS:");
        out->anon_bytes += status_bytes(line, "RssAnon:");
        out->file_bytes += status_bytes(line, "RssFile:");
        out->shmem_bytes += status_bytes(line, "RssShmem:");
        out->pte_bytes += status_bytes(line, "VmPTE:");
    }
    mp_lines_close(&lines);
    out->peak_bytes += out->pte_bytes;
    out->now_bytes += out->pte_bytes;
}
