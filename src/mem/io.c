/* Reading past the page cache: one slice at its phase, or long ranges in parallel pieces.
 *
 *   job     |..|=================|..|   pieces are cut at multiples of PIECE_BYTES of the file, so that only a job's two ends
 *   pieces  |  0  |  1  |  2  |  3  |   are not whole aligned blocks; those, and jobs out of phase, go through staging
 */
#include "mem/io.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"

enum { CACHE_PAGE = 4096, READAHEAD_BYTES = 1 << 20 };
enum { PIECE_BYTES = 4 << 20 };   /* what a thread takes at a time */
enum { STAGE_BYTES = 1 << 20 };   /* one staged read: larger ones were not faster, and 8 of them count against the budget */
enum { STAGE_ALIGN_MAX = 64 << 10, TEXT_BYTES = 1024 };

static uint64_t down(uint64_t x, uint64_t align) {
    return x & ~(align - 1);
}

static uint64_t up(uint64_t x, uint64_t align) {
    return down(x + align - 1, align);
}

/* Buffered, then dropped, with the whole pages at the ends that the advice would leave and what the system read ahead. */
static mp_err read_buffered(const mp_file *file, unsigned char *dst, size_t n, uint64_t offset) {
    mp_err err = mp_file_read(file, dst, n, offset);
    uint64_t first = down(offset, CACHE_PAGE);
    mp_file_drop_cache(file, first, up(offset + n, CACHE_PAGE) + READAHEAD_BYTES - first);
    return err;
}

static bool in_phase(const mp_file *file, const unsigned char *dst, uint64_t offset) {
    return ((uint64_t)(uintptr_t)dst - offset) % file->align == 0;
}

/* Direct reads forgive a range that ends past the file; here it means that the file is not what its directory says. */
static mp_err check_range(const mp_file *file, uint64_t n, uint64_t offset) {
    if (n <= file->bytes && offset <= file->bytes - n) return MP_OK;
    return mp_fail(MP_E_FAILED, "%llu bytes at offset %llu reach past the end of a file of %llu bytes; it is cut short or changed",
                   (unsigned long long)n, (unsigned long long)offset, (unsigned long long)file->bytes);
}

mp_err mp_io_read_phase(const mp_file *file, unsigned char *dst, size_t n, uint64_t offset) {
    mp_err err = check_range(file, n, offset);
    if (err) return err;
    if (file->direct_fd < 0 || !in_phase(file, dst, offset)) return read_buffered(file, dst, n, offset);
    uint64_t first = down(offset, file->align), last = up(offset + n, file->align);
    return mp_file_read_direct(file, dst - (offset - first), (size_t)(last - first), first);
}

/* ---- methods ---- */

static const char *const METHODS[] = {"pread", "io_uring", "buffered"};

const char *mp_io_name(mp_io_method method) {
    return METHODS[method];
}

mp_err mp_io_parse(const char *text, mp_io_choice *out) {
    *out = (mp_io_choice){.method = MP_IO_PREAD, .depth = MP_IO_DEPTH};
    if (!text || !*text) return MP_OK;
    size_t n = strcspn(text, ":");
    int method = -1;
    for (int i = 0; i < (int)(sizeof METHODS / sizeof *METHODS); i++)
        if (strlen(METHODS[i]) == n && !memcmp(text, METHODS[i], n)) method = i;
    char *end = NULL;
    long depth = text[n] ? strtol(text + n + 1, &end, 10) : MP_IO_DEPTH;
    if (method < 0 || (end && (*end || end == text + n + 1)) || depth < 1 || depth > MP_IO_DEPTH_MAX)
        return mp_fail(MP_E_USAGE, "\"%.64s\" is no way to read: give pread, io_uring or buffered, and how many at once, 1 to %d, as in pread:8", text,
                       MP_IO_DEPTH_MAX);
    *out = (mp_io_choice){.method = (mp_io_method)method, .depth = (int)depth};
    return MP_OK;
}

/* ---- runs ---- */

bool mp_io_run_parts(const mp_io_run *run, mp_part part[MP_IO_RUN], uint64_t *offset, uint64_t *want) {
    const mp_file *file = run->file;
    uint64_t at = run->offset, align = file->align;
    *offset = down(at, align);
    if (file->direct_fd < 0) return false;
    for (int i = 0; i < run->n; i++) {
        uint64_t end = at + run->slice[i].bytes, first = i ? up(at, align) : *offset, last = up(end, align);
        if (first >= last || end > file->bytes || !in_phase(file, run->slice[i].dst, at)) return false;
        part[i] = (mp_part){.base = run->slice[i].dst + (int64_t)(first - at), .bytes = (size_t)(last - first)};
        at = end;
    }
    *want = at - *offset;
    return true;
}

void mp_io_run_mend(const mp_io_run *run) {
    uint64_t at = run->offset, align = run->file->align;
    for (int i = 1; i < run->n; i++) {
        const unsigned char *end = run->slice[i - 1].dst + run->slice[i - 1].bytes; /* the shared block goes on here */
        at += run->slice[i - 1].bytes;
        memcpy(run->slice[i].dst, end, (size_t)(up(at, align) - at));
    }
}

bool mp_io_read_run(const mp_io_run *run) {
    mp_part part[MP_IO_RUN];
    uint64_t offset, want;
    if (!mp_io_run_parts(run, part, &offset, &want) || !mp_file_read_parts(run->file, part, run->n, offset)) return false;
    mp_io_run_mend(run);
    return true;
}

/* ---- long ranges ---- */

typedef struct reading {
    const mp_io_job *jobs;
    int              n;
    unsigned char   *staging; /* one of stage_room() per thread */
    uint64_t         total;
    int            (*progress)(void *user, uint64_t done, uint64_t total);
    void            *user;
    _Atomic uint64_t done;
    atomic_bool      stop;
    pthread_mutex_t  lock; /* of the first error */
    mp_err           err;
    char             text[TEXT_BYTES];
} reading;

static size_t stage_room(void) {
    return STAGE_BYTES + 2 * STAGE_ALIGN_MAX;
}

uint64_t mp_io_staging_bytes(int threads) {
    return mp_region_cost((size_t)threads * stage_room());
}

/* Reads whole blocks around [offset, offset + n), n <= STAGE_BYTES, into stage and copies the bytes out. */
static mp_err read_staged(const mp_file *file, unsigned char *stage, unsigned char *dst, size_t n, uint64_t offset) {
    uint64_t first = down(offset, file->align), last = up(offset + n, file->align);
    mp_err err = mp_file_read_direct(file, stage, (size_t)(last - first), first);
    if (!err) memcpy(dst, stage + (offset - first), n);
    return err;
}

/* Bytes that the next single read of a piece takes: the rest of a block, whole blocks in place, or a stage full. */
static size_t next_step(const mp_file *file, const unsigned char *dst, size_t n, uint64_t offset, bool *straight) {
    uint64_t end = offset + n, head = up(offset, file->align) - offset;
    *straight = in_phase(file, dst, offset) && !head && down(end, file->align) > offset;
    if (*straight) return (size_t)(down(end, file->align) - offset);
    size_t most = in_phase(file, dst, offset) && head ? (size_t)head : (size_t)(down(offset, file->align) + STAGE_BYTES - offset);
    return n < most ? n : most;
}

static mp_err read_piece(const mp_file *file, unsigned char *stage, unsigned char *dst, size_t n, uint64_t offset) {
    if (file->direct_fd < 0 || file->align > STAGE_ALIGN_MAX) return read_buffered(file, dst, n, offset);
    mp_err err = MP_OK;
    while (n && !err) {
        bool straight;
        size_t step = next_step(file, dst, n, offset, &straight);
        err = straight ? mp_file_read_direct(file, dst, step, offset) : read_staged(file, stage, dst, step, offset);
        dst += step;
        offset += step;
        n -= step;
    }
    return err;
}

static int64_t piece_count(const mp_io_job *job) {
    if (!job->bytes) return 0;
    return (int64_t)((up(job->offset + job->bytes, PIECE_BYTES) - down(job->offset, PIECE_BYTES)) / PIECE_BYTES);
}

static void keep_first_error(reading *r, mp_err err) {
    pthread_mutex_lock(&r->lock);
    if (!r->err) {
        r->err = err;
        snprintf(r->text, sizeof r->text, "%s", mp_err_text());
    }
    pthread_mutex_unlock(&r->lock);
    r->stop = true;
}

static void read_one(reading *r, const mp_io_job *job, int64_t piece, int thread) {
    uint64_t from = down(job->offset, PIECE_BYTES) + (uint64_t)piece * PIECE_BYTES, to = from + PIECE_BYTES;
    if (from < job->offset) from = job->offset;
    if (to > job->offset + job->bytes) to = job->offset + job->bytes;
    unsigned char *stage = r->staging + (size_t)thread * stage_room();
    mp_err err = read_piece(job->file, stage, job->dst + (from - job->offset), (size_t)(to - from), from);
    if (err) {
        keep_first_error(r, err);
        return;
    }
    uint64_t done = atomic_fetch_add(&r->done, to - from) + (to - from);
    if (thread == 0 && r->progress && r->progress(r->user, done, r->total))
        keep_first_error(r, mp_fail(MP_E_CANCELLED, "reading was stopped on request"));
}

/* Piece i of all jobs' pieces one after the other. */
static void read_pieces(void *arg, int64_t first, int64_t last, int thread) {
    reading *r = arg;
    int64_t before = 0;
    for (int j = 0; j < r->n && before < last; j++) {
        int64_t pieces = piece_count(&r->jobs[j]);
        for (int64_t i = first > before ? first - before : 0; i < pieces && before + i < last && !r->stop; i++)
            read_one(r, &r->jobs[j], i, thread);
        before += pieces;
    }
}

static mp_err run_all(reading *r, mp_pool *pool) {
    int64_t pieces = 0;
    for (int j = 0; j < r->n; j++) {
        mp_err err = check_range(r->jobs[j].file, r->jobs[j].bytes, r->jobs[j].offset);
        if (err) return err;
        pieces += piece_count(&r->jobs[j]);
        r->total += r->jobs[j].bytes;
    }
    mp_pool_run(pool, pieces, 1, read_pieces, r);
    if (r->err) return mp_fail(r->err, "%s", r->text);
    if (r->progress && r->progress(r->user, r->total, r->total)) return mp_fail(MP_E_CANCELLED, "reading was stopped on request");
    return MP_OK;
}

mp_err mp_io_read_all(mp_ledger *ledger, const mp_io_job *jobs, int n, int threads,
                      int (*progress)(void *user, uint64_t done, uint64_t total), void *user) {
    reading r = {.jobs = jobs, .n = n, .progress = progress, .user = user, .lock = PTHREAD_MUTEX_INITIALIZER};
    mp_pool *pool = NULL;
    mp_region staging;
    mp_err err = mp_region_open(ledger, MP_OWN_WORK, (size_t)threads * stage_room(), false, &staging);
    if (err) return err;
    err = mp_pool_open(ledger, threads, &pool);
    r.staging = staging.base;
    if (!err && !mp_ledger_dry(ledger)) err = run_all(&r, pool);
    mp_pool_close(&pool);
    mp_region_close(&staging);
    return err;
}
