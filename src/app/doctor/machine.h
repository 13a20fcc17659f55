/* What this machine is: measured or read, printed by `moped doctor`, and cached for the bounds that plan, run and bench show.
 *
 *   ram.c      read bandwidth of memory, huge pages and small ones; operations a second
 *   disk.c     read bandwidth of a folder's disk, by method and depth (uring.c: the io_uring method)
 *   gpu.c      NVIDIA GPUs
 *   cache.c    $XDG_CACHE_HOME/moped/doctor.json, one entry for each device */
#ifndef APP_DOCTOR_MACHINE_H
#define APP_DOCTOR_MACHINE_H

#include <jansson.h>
#include <moped.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/nvml.h"
#include "base/os.h"

enum { APP_DEPTHS = 5, APP_METHODS = 3, APP_GPUS = 16 };

typedef enum app_read_method { APP_READ_MMAP, APP_READ_PREAD, APP_READ_URING } app_read_method;
const char *app_read_name(app_read_method method); /* "mmap" "pread" "io_uring" */

typedef struct app_disk {
    char   device[32];                     /* "254:0": the key in the cache */
    char   filesystem[32];
    bool   direct;                         /* O_DIRECT is possible */
    bool   fresh;                          /* measured with a file that was written for it: its rate may be a cache's, and no method and depth follow from it */
    int    depths[APP_DEPTHS], n_depths;
    double bps[APP_METHODS][APP_DEPTHS];   /* 0: not measured */
    app_read_method best_method;           /* among those past the page cache where direct, else pread; fresh: pread, 8 deep */
    int    best_depth;
    double best_bps;                       /* the fastest reading of all */
} app_disk;

typedef struct app_machine {
    char         cpu[96];
    int          cpus, online;             /* usable by us; in the machine */
    uint64_t     l3_bytes;
    char         thp[64];                  /* /sys/kernel/mm/transparent_hugepage/enabled */
    mp_os_memory memory;
    double       ram_bps, ram_small_bps;   /* huge pages, small pages; 0: not measured */
    uint64_t     ram_tested_bytes;
    double       ops[MOPED_ARITH_COUNT], one_ops[MOPED_ARITH_COUNT]; /* a second, all processors and one; 0: no such instruction, or not measured */
    app_disk     disk;
    mp_gpu       gpus[APP_GPUS];
    int          n_gpus;
    char         gpu_fault[256];           /* why NVIDIA's driver, which is here, does not start; "": it does, or is not here */
} app_machine;

/* Names, sizes, limits: takes no time. Never fails: what is not known stays empty. */
void app_machine_read(app_machine *out);

/* Read bandwidth of memory in bytes/s with all usable processors, and what they compute. Errors: MP_E_FAILED (no memory), MP_E_CANCELLED. */
mp_err app_ram_measure(app_machine *machine, bool quick);

/* path: a large file, a model best, of which random places are read, never one twice; or a folder, in which a file of random bytes is written (nameless from its
 * first moment, so that nothing can be left behind). Reads cold, by each method and depth. Errors: MP_E_USAGE (the file cannot be read or is smaller than
 * 128 MiB), MP_E_FAILED (folder not writable, disk full), MP_E_CANCELLED. */
mp_err app_disk_measure(const char *path, bool quick, app_disk *out);

/* Reads records of `record` bytes at offsets[n] of fd (O_DIRECT) with `depth` of them under way; stops after ns nanoseconds.
 * *bytes: how many were read. Errors: MP_E_FAILED: io_uring is not here or refused. */
typedef struct app_read_job {
    int             fd;
    const uint64_t *offsets;
    int             n, depth;
    uint64_t        record_bytes, limit_ns;
} app_read_job;
mp_err app_uring_read(const app_read_job *job, uint64_t *bytes);

/* ---- NVIDIA GPUs ---- */
/* Fills gpus, n_gpus and gpu_fault. Loads the driver's library, which is large: only doctor asks. Without it, names from /proc, and nothing else known. */
void    app_gpu_list(app_machine *machine);
void    app_gpu_print(const mp_gpu *gpu);  /* lines of doctor; what is not known is left out */
json_t *app_gpu_json(const mp_gpu *gpu);   /* what is not known is null */
enum { APP_THROTTLE_TEXT = 192 };          /* room for all reasons */
void    app_throttle_text(uint32_t bits, char out[APP_THROTTLE_TEXT]); /* "power limit, temperature limit" */
json_t *app_throttle_json(bool known, uint32_t bits);                  /* a list of these words; null when not known */

/* ---- the cache ---- */
typedef struct app_bandwidth {
    double ram_bps, disk_bps; /* 0: not measured */
    char   io[24];            /* how that disk was read fastest, as --io takes it: "pread:8"; "" when not measured with a file that was there */
} app_bandwidth;
/* For the disk that holds path (a file or folder). Zeros when doctor has not run on this machine. */
void   app_machine_cached(const char *path, app_bandwidth *out);
/* What a model's file said of a disk is not replaced by what a fresh one says. */
mp_err app_machine_store(const app_machine *machine);
json_t *app_machine_json(const app_machine *machine);
/* The device that holds path, "254:0"; "" when there is no such path. */
void app_device_of(const char *path, char *out, int room);
#endif
