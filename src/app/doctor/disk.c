/* Read bandwidth of a disk, the way moped reads it: records of the size of an expert, in random order, cold. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "app/app.h"
#include "app/doctor/machine.h"
#include "base/ledger.h"
#include "base/pool.h"

enum { RECORD_BYTES = 2 << 20, PAGE = 4096, LEAST_DEPTH = 4, GOOD_DEPTH = 8, LEAST_RECORDS = 64 };
#define FILE_BYTES (1ull << 30)
#define QUICK_FILE_BYTES (256ull << 20)
#define LIMIT_NS 1500000000ull
#define QUICK_LIMIT_NS 400000000ull

/* A pseudo-random sequence (xorshift64*, Vigna 2016): incompressible, so that no layer below can cheat. */
static uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Dull;
}

const char *app_read_name(app_read_method method) {
    static const char *const NAMES[] = {"mmap", "pread", "io_uring"};
    return NAMES[method];
}

void app_device_of(const char *path, char *out, int room) {
    struct stat st;
    out[0] = '\0';
    if (path && stat(path, &st) == 0) snprintf(out, (size_t)room, "%u:%u", major(st.st_dev), minor(st.st_dev));
}

static void filesystem_name(int fd, char *out, size_t room) {
    static const struct { unsigned long magic; const char *name; } KNOWN[] = { /* linux/magic.h */
        {0xEF53, "ext4"}, {0x58465342, "xfs"}, {0x9123683E, "btrfs"}, {0x01021994, "tmpfs"}, {0x794C7630, "overlay"},
        {0x65735546, "fuse"}, {0x6969, "nfs"}, {0x2FC12FC1, "zfs"}, {0xF2F52010, "f2fs"}};
    struct statfs fs;
    snprintf(out, room, "unknown");
    if (fstatfs(fd, &fs) != 0) return;
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if ((unsigned long)fs.f_type == KNOWN[i].magic) snprintf(out, room, "%s", KNOWN[i].name);
}

/* Makes the file, takes its name away at once, fills it, and sees it onto the disk. */
static mp_err make_file(const char *folder, uint64_t bytes, int *out) {
    char *path = NULL;
    uint64_t state = 88172645463325252ull, *block = malloc(RECORD_BYTES);
    mp_err e = MP_OK;
    *out = -1;
    if (!block || asprintf(&path, "%s/.moped-doctor-XXXXXX", folder) < 0) return free(block), mp_fail(MP_E_FAILED, "out of memory");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) e = mp_fail(MP_E_FAILED, "cannot make a file in %s to measure with: %s", folder, strerror(errno));
    if (fd >= 0) unlink(path);
    for (uint64_t done = 0; !e && done < bytes; done += RECORD_BYTES) {
        for (size_t i = 0; i < RECORD_BYTES / sizeof *block; i++) block[i] = next_random(&state);
        ssize_t n = pwrite(fd, block, RECORD_BYTES, (off_t)done);
        if (app_signal()) e = mp_fail(MP_E_CANCELLED, "stopped");
        if (!e && n != RECORD_BYTES) e = mp_fail(MP_E_FAILED, "cannot write %llu bytes into %s: %s", (unsigned long long)bytes, folder,
                                                 n < 0 ? strerror(errno) : "the disk is full");
    }
    if (!e && fsync(fd) != 0) e = mp_fail(MP_E_FAILED, "cannot write to the disk of %s: %s", folder, strerror(errno));
    if (e && fd >= 0) close(fd);
    if (!e) *out = fd;
    free(block);
    free(path);
    return e;
}

typedef struct reader {
    int             fd;
    app_read_method method;
    const unsigned char *map;      /* APP_READ_MMAP */
    unsigned char  *buffers;       /* APP_READ_PREAD: one record a thread */
    const uint64_t *offsets;
    uint64_t        deadline_ns;
    uint64_t       *read_bytes;    /* one a record */
} reader;

static void read_records(void *arg, int64_t first, int64_t last, int thread) {
    const reader *r = arg;
    for (int64_t i = first; i < last; i++) {
        if (mp_now_ns() > r->deadline_ns || app_signal()) return;
        if (r->method == APP_READ_PREAD) {
            ssize_t n = pread(r->fd, r->buffers + (size_t)thread * RECORD_BYTES, RECORD_BYTES, (off_t)r->offsets[i]);
            r->read_bytes[i] = n > 0 ? (uint64_t)n : 0;
            continue;
        }
        volatile unsigned char sink = 0;
        for (size_t k = 0; k < RECORD_BYTES; k += PAGE) sink = (unsigned char)(sink ^ r->map[r->offsets[i] + k]);
        r->read_bytes[i] = RECORD_BYTES;
    }
}

/* mmap and pread: `depth` threads, a record at a time each. */
static mp_err read_threads(reader *r, int n, int depth, uint64_t *bytes) {
    mp_ledger *ledger = NULL;
    mp_pool *pool = NULL;
    size_t room = (size_t)depth * RECORD_BYTES;
    *bytes = 0;
    r->read_bytes = calloc((size_t)n, sizeof *r->read_bytes);
    r->buffers = mp_os_map(room, true);
    mp_err e = r->read_bytes && r->buffers ? mp_ledger_open(false, &ledger) : mp_fail(MP_E_FAILED, "out of memory");
    if (!e) e = mp_pool_open(ledger, depth, &pool);
    if (!e) mp_pool_run(pool, n, 1, read_records, r);
    for (int i = 0; !e && i < n; i++) *bytes += r->read_bytes[i];
    mp_pool_close(&pool);
    mp_ledger_close(&ledger);
    if (r->buffers) mp_os_unmap(r->buffers, room);
    free(r->read_bytes);
    return e;
}

/* What is read: one that was written for it, or somebody's. */
typedef struct subject {
    int      fd, direct_fd;
    uint64_t bytes; /* whole records */
    bool     fresh;
} subject;

/* One method at one depth, from a cold cache. *bps is 0 when the method is not to be had. */
static mp_err measure(const subject *s, const app_read_job *job, app_read_method method, double *bps) {
    uint64_t bytes = 0, size = s->bytes;
    mp_err e = MP_OK;
    *bps = 0;
    posix_fadvise(s->fd, 0, 0, POSIX_FADV_DONTNEED);
    uint64_t start = mp_now_ns();
    if (method == APP_READ_URING) {
        app_read_job direct = *job;
        direct.fd = s->direct_fd;
        if (app_uring_read(&direct, &bytes) != MP_OK) return MP_OK;
    } else {
        void *map = method == APP_READ_MMAP ? mmap(NULL, size, PROT_READ, MAP_SHARED, s->fd, 0) : NULL;
        if (map == MAP_FAILED) return MP_OK;
        reader r = {.fd = s->direct_fd, .method = method, .map = map, .offsets = job->offsets, .deadline_ns = start + job->limit_ns};
        e = read_threads(&r, job->n, job->depth, &bytes);
        if (map) munmap(map, size);
    }
    double seconds = (double)(mp_now_ns() - start) * 1e-9;
    *bps = seconds > 0 ? (double)bytes / seconds : 0;
    return e ? e : app_signal() ? mp_fail(MP_E_CANCELLED, "stopped") : MP_OK;
}

/* Every record once, in a random order. */
static uint64_t *shuffled_offsets(int n, uint64_t state) {
    uint64_t *offsets = malloc((size_t)n * sizeof *offsets);
    for (int i = 0; offsets && i < n; i++) {
        int j = (int)(next_random(&state) % (uint64_t)(i + 1));
        offsets[i] = offsets[j];
        offsets[j] = (uint64_t)i * RECORD_BYTES;
    }
    return offsets;
}

/* The best of those that moped uses: not mmap, whose pages the page cache would hold twice. Another method must be clearly better than pread, and one or two
 * reads at a time clearly better than more. A file that was just written may still lie in some cache below us, where depth is no use, and models do not: it says
 * nothing of method and depth. */
static void choose(app_disk *d) {
    double best = 0;
    d->best_method = APP_READ_PREAD;
    d->best_depth = GOOD_DEPTH;
    for (int m = APP_READ_PREAD; m < APP_METHODS; m++)
        for (int i = 0; i < d->n_depths; i++) {
            double worth = d->bps[m][i] * (m == APP_READ_PREAD ? 1 : 0.95) * (d->depths[i] < LEAST_DEPTH ? 0.8 : 1) * (d->depths[i] == GOOD_DEPTH ? 1.05 : 1);
            if (d->bps[m][i] > d->best_bps) d->best_bps = d->bps[m][i];
            if (worth <= best || d->fresh) continue;
            best = worth;
            d->best_method = (app_read_method)m;
            d->best_depth = d->depths[i];
        }
}

/* A file that was there is read in other places each time, since what was read once may come from a cache afterwards. */
static mp_err measure_all(const subject *s, bool quick, app_disk *out) {
    static const int ALL[] = {1, 2, 4, 8, 16}, FEW[] = {1, 8, 16};
    int n = (int)(s->bytes / RECORD_BYTES), part = n, at = 0;
    uint64_t *offsets = shuffled_offsets(n, s->fresh ? 1234567891011ull : mp_now_ns() | 1);
    mp_err e = offsets ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
    out->n_depths = quick ? 3 : APP_DEPTHS;
    if (!s->fresh) part = n / (APP_METHODS * out->n_depths);
    for (int i = 0; i < out->n_depths; i++) out->depths[i] = quick ? FEW[i] : ALL[i];
    for (int m = 0; !e && m < APP_METHODS; m++)
        for (int i = 0; !e && i < out->n_depths; i++) {
            app_read_job job = {.offsets = offsets + at, .n = part, .depth = out->depths[i], .record_bytes = RECORD_BYTES,
                                .limit_ns = quick ? QUICK_LIMIT_NS : LIMIT_NS};
            e = measure(s, &job, (app_read_method)m, &out->bps[m][i]);
            if (!s->fresh) at += part;
        }
    free(offsets);
    if (!e) choose(out);
    return e;
}

static mp_err open_file(const char *path, subject *out) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return mp_fail(MP_E_USAGE, "cannot open %s: %s", path, strerror(errno));
    *out = (subject){.fd = fd};
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) out->bytes = (uint64_t)st.st_size / RECORD_BYTES * RECORD_BYTES;
    if (out->bytes >= (uint64_t)LEAST_RECORDS * RECORD_BYTES) return MP_OK;
    close(fd);
    return mp_fail(MP_E_USAGE, "%s is too small to measure a disk with: it takes a file of %d MiB", path, LEAST_RECORDS * (RECORD_BYTES >> 20));
}

mp_err app_disk_measure(const char *path, bool quick, app_disk *out) {
    char self[64];
    struct stat st;
    bool folder = stat(path, &st) != 0 || S_ISDIR(st.st_mode);
    subject s = {.fd = -1, .fresh = true, .bytes = quick ? QUICK_FILE_BYTES : FILE_BYTES};
    *out = (app_disk){.fresh = folder};
    app_device_of(path, out->device, sizeof out->device);
    mp_err e = folder ? make_file(path, s.bytes, &s.fd) : open_file(path, &s);
    if (e) return e;
    filesystem_name(s.fd, out->filesystem, sizeof out->filesystem);
    snprintf(self, sizeof self, "/proc/self/fd/%d", s.fd); /* the only way to open a nameless file again, with O_DIRECT */
    int direct_fd = open(self, O_RDONLY | O_DIRECT | O_CLOEXEC);
    out->direct = direct_fd >= 0;
    s.direct_fd = out->direct ? direct_fd : s.fd;
    e = measure_all(&s, quick, out);
    if (direct_fd >= 0) close(direct_fd);
    close(s.fd);
    return e;
}
