/* The one seam to the operating system: files, memory, clocks, limits. Only os.c knows which system it is. */
#ifndef MP_BASE_OS_H
#define MP_BASE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* ---- errors ---- */
enum { MP_OS_ERROR_TEXT = 128 };
const char *mp_os_error(int code, char buf[MP_OS_ERROR_TEXT]); /* what an errno means; for base only, whose sentences name the cause. Threads: any */

/* ---- time ---- */
uint64_t mp_now_ns(void); /* monotonic */

/* ---- files ---- */
typedef struct mp_file {
    int      fd;         /* buffered descriptor; -1 when closed */
    int      direct_fd;  /* the same file opened with O_DIRECT; -1 where it is refused (tmpfs, overlay, FUSE) */
    uint32_t align;      /* alignment that direct reads need in offset, length and memory (from statx, else 4096) */
    uint64_t bytes;      /* size when opened */
} mp_file;

mp_err mp_file_open(const char *path, bool direct, mp_file *out); /* for reading; directories and empty paths are refused */
void   mp_file_close(mp_file *file);
/* Reads exactly n bytes at offset, retrying EINTR and short reads. Errors: MP_E_FAILED (the sentence says errno, offset; or that the
 * file is shorter than when it was opened). Threads: any number at once. Leaves what it read in the page cache. */
mp_err mp_file_read(const mp_file *file, void *dst, size_t n, uint64_t offset);
/* The same past the page cache: dst, n and offset are multiples of align, but the last block may reach past the file's end (then the rest
 * of dst is undefined). Falls back to buffered reads followed by dropping them from the cache where O_DIRECT is refused. */
mp_err mp_file_read_direct(const mp_file *file, void *dst, size_t n, uint64_t offset);
/* One direct read of [offset, ...) into parts one after the other; offset, bases and sizes are multiples of align. True when everything came that the
 * file has; false: refused, interrupted or short, and the parts are undefined: read them one by one, which says why. */
typedef struct mp_part { void *base; size_t bytes; } mp_part;
enum { MP_PARTS = 16 };
bool   mp_file_read_parts(const mp_file *file, const mp_part *parts, int n, uint64_t offset);
void   mp_file_drop_cache(const mp_file *file, uint64_t offset, uint64_t bytes); /* posix_fadvise DONTNEED */

/* ---- memory ---- */
void  mp_os_trim(void); /* gives what free() kept back to the system, where the C library can (glibc) */
void *mp_os_map(size_t bytes, bool huge); /* anonymous, zero; NULL when refused. huge: 2 MiB aligned, and spread over the nodes of memory */
/* The nodes that a list of the kernel's names ("0-1,4"), as bits; those from 64 on are left out. */
uint64_t mp_os_node_mask(const char *list);
void  mp_os_unmap(void *p, size_t bytes);
bool  mp_os_populate(void *p, size_t bytes); /* touches every page for writing; false when the system refuses */

typedef struct mp_os_memory {
    uint64_t total_bytes, available_bytes;       /* MemTotal, MemAvailable */
    uint64_t cgroup_limit_bytes;                 /* smallest limit on the path to the root, v1 or v2; 0 = none */
    uint64_t cgroup_used_bytes;                  /* of that group, less its inactive file cache */
    int      cgroup_version;                     /* 0 none, 1, 2 */
    bool     thp;                                /* transparent huge pages: always or madvise */
} mp_os_memory;
void mp_os_memory_get(mp_os_memory *out);

typedef struct mp_os_usage {
    uint64_t peak_bytes;  /* VmHWM + VmPTE: the most that this process held */
    uint64_t now_bytes;   /* VmRSS + VmPTE */
    uint64_t anon_bytes, file_bytes, shmem_bytes, pte_bytes;
} mp_os_usage;
void mp_os_usage_get(mp_os_usage *out);
/* What the process holds now, for planning. Under a sanitizer, whose own memory swamps ours and grows as it runs, a constant: so that budgets mean something. */
uint64_t mp_os_own_bytes(void);

/* ---- processors ---- */
void mp_os_thread_background(void); /* the calling thread gets about a tenth of a processor that others want too (Linux: nice 10) */
int mp_os_cpus(void); /* usable ones: affinity and cgroup quota (v1, v2) considered; at least 1 */
void mp_cpu_relax(void); /* a pause inside a spin loop */
#endif
