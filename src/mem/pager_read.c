/* The threads that read and store.
 *
 * The unit of reading is a slice, so that one missing page keeps several reads going. Order: slices that a thread waits for, then stores
 * (they make room for such), then hints, then warming. Small slices that are neighbours in the file, of pages that are neighbours too, are
 * taken together (a run): below 1 MiB a request costs more than its bytes.
 *
 * pread: each thread takes a job, works at it without the lock, and tells. io_uring: one thread takes as many jobs as the ring has room for,
 * submits them together, and tells of those that are done; what a ring cannot do (stores, buffered files), and what failed or came short in it,
 * it does as the others would, so that errors have one sentence each, said in one place. A ring that refuses for RING_TRIES ms is given up: what the system has
 * of it is waited for, and its thread goes on as one that preads. */
#include "mem/pager_int.h"

#include <assert.h>
#include <signal.h>
#include <time.h>

enum { STACK_BYTES = 128 << 10, STACK_USED_BYTES = 16 << 10 }; /* what a reader touches of it is what it costs */
enum { RUN_BYTES = 2 << 20 }; /* larger requests were not faster */
enum { RING_TRIES = 100, RING_PAUSE_NS = 1000000 }; /* a system that is short of memory says so for a while */

/* Slice `slice` of pages [page, page + n); slice -1: store the page. */
typedef struct job {
    mp_page page;
    int     slice, n;
} job;

/* ---- what there is to do ---- */

static bool goes_on(const mp_pager *pager, job j, uint64_t bytes) {
    mp_page next = j.page + (mp_page)j.n;
    if (j.n == MP_IO_RUN || next >= pager->config.pages) return false;
    const mp_pager_page *p = &pager->page[next];
    const mp_slice *last = &pager->config.desc[next - 1].slice[j.slice], *more = &pager->config.desc[next].slice[j.slice];
    return (p->list == MP_LIST_DEMAND || p->list == MP_LIST_SPARE) && p->cursor == j.slice && more->file == last->file &&
           more->offset == last->offset + last->bytes && bytes + more->bytes <= RUN_BYTES;
}

static job next_slice(mp_pager *pager, mp_page page) {
    const mp_source *source = &pager->config.source;
    job j = {.page = page, .slice = pager->page[page].cursor++, .n = 1};
    const mp_slice *slice = &pager->config.desc[page].slice[j.slice];
    uint64_t bytes = slice->bytes;
    mp_pager_skip_unused(pager, page);
    while (source->file && goes_on(pager, j, bytes) && source->file(source->self, slice)) {
        mp_page next = page + (mp_page)j.n++;
        bytes += pager->config.desc[next].slice[j.slice].bytes;
        pager->page[next].cursor++;
        mp_pager_skip_unused(pager, next);
    }
    pager->stats.in_flight += (uint32_t)j.n;
    pager->stats.reads++;
    pager->stats.run_reads += j.n > 1;
    return j;
}

static bool next_job(mp_pager *pager, job *out) {
    if (pager->demand.n) {
        *out = next_slice(pager, pager->demand.first);
    } else if (pager->stores.n) {
        *out = (job){.page = pager->stores.first, .slice = -1, .n = 1};
        mp_pager_unlist(pager, out->page);
    } else if (pager->spare.n || mp_pager_start_spare(pager)) {
        *out = next_slice(pager, pager->spare.first);
    } else {
        return false;
    }
    return true;
}

/* ---- doing it ---- */

/* The memory behind a job's slices, before anything is read into it. No lock; the pages keep their slots. */
static void touch(mp_pager *pager, job j) {
    for (int i = 0; i < j.n && j.slice >= 0; i++) {
        mp_page page = j.page + (mp_page)i;
        const mp_pager_page *p = &pager->page[page];
        unsigned char *slice[MP_PAGE_SLICES];
        mp_pager_slot_addresses(pager, page, slice);
        mp_pager_touch(pager, pager->class[p->class].slot[p->slot].touched, slice[j.slice], pager->config.desc[page].slice[j.slice].bytes);
    }
}

static void run_of(const mp_pager *pager, job j, mp_io_run *run) {
    const mp_source *source = &pager->config.source;
    const mp_slice *first = &pager->config.desc[j.page].slice[j.slice];
    *run = (mp_io_run){.file = source->file ? source->file(source->self, first) : NULL, .offset = first->offset, .n = j.n};
    for (int i = 0; i < j.n; i++) {
        unsigned char *slice[MP_PAGE_SLICES];
        mp_pager_slot_addresses(pager, j.page + (mp_page)i, slice);
        run->slice[i].dst = slice[j.slice];
        run->slice[i].bytes = pager->config.desc[j.page + (mp_page)i].slice[j.slice].bytes;
    }
}

/* One slice, or the store of a page. Without the lock; pages that load or store keep their slots. */
static mp_err do_one(mp_pager *pager, mp_page page, int slice) {
    unsigned char *at[MP_PAGE_SLICES];
    const mp_source *source = &pager->config.source;
    const mp_page_desc *desc = &pager->config.desc[page];
    mp_pager_slot_addresses(pager, page, at);
    return slice < 0 ? source->store(source->self, page, desc, at) : source->load(source->self, page, desc, slice, at[slice]);
}

static void finish(mp_pager *pager, job j, mp_page page, mp_err err) {
    if (j.slice < 0) {
        mp_pager_finish_store(pager, page, err);
        return;
    }
    pager->stats.in_flight--;
    mp_pager_finish_slice(pager, page, err);
}

/* Takes and leaves the lock around each page's end, since the sentence of an error is this thread's last one. */
static void do_each(mp_pager *pager, job j) {
    for (int i = 0; i < j.n; i++) {
        mp_err err = do_one(pager, j.page + (mp_page)i, j.slice);
        pthread_mutex_lock(&pager->lock);
        finish(pager, j, j.page + (mp_page)i, err);
        if (i + 1 < j.n) pthread_mutex_unlock(&pager->lock);
    }
}

/* Called with the lock, which is released while the source works. */
static void do_job(mp_pager *pager, job j) {
    mp_io_run run;
    pthread_mutex_unlock(&pager->lock);
    touch(pager, j);
    if (j.n > 1) run_of(pager, j, &run);
    if (j.n == 1 || !mp_io_read_run(&run)) {
        do_each(pager, j);
        return;
    }
    pthread_mutex_lock(&pager->lock);
    for (int i = 0; i < j.n; i++) finish(pager, j, j.page + (mp_page)i, MP_OK);
}

/* Until the end, with the lock. */
static void serve(mp_pager *pager) {
    while (!pager->stop) {
        job j;
        if (next_job(pager, &j)) {
            do_job(pager, j);
            continue;
        }
        pager->idle++;
        pthread_cond_wait(&pager->work, &pager->lock);
        pager->idle--;
    }
}

static void *read_on(void *arg) {
    mp_pager *pager = arg;
    pthread_mutex_lock(&pager->lock);
    serve(pager);
    pthread_mutex_unlock(&pager->lock);
    return NULL;
}

/* ---- with a ring ---- */

typedef struct flight {
    job       job;
    mp_io_run run;
    mp_part   part[MP_IO_RUN];
    uint64_t  want;
    bool      busy;
} flight;

/* Puts one job into the ring; false: it must be done without. Without the lock: the job's pages load. */
static bool launch(mp_pager *pager, flight *f, uint32_t tag, job j) {
    uint64_t offset;
    *f = (flight){.job = j};
    if (j.slice < 0) return false;
    touch(pager, j);
    run_of(pager, j, &f->run);
    if (!f->run.file || !mp_io_run_parts(&f->run, f->part, &offset, &f->want)) return false;
    f->busy = mp_uring_read(pager->ring, f->run.file->direct_fd, f->part, f->run.n, offset, tag);
    return f->busy;
}

/* Fills the ring. Called with the lock. Returns how many were launched. */
static int launch_all(mp_pager *pager, flight *flights, int depth) {
    int launched = 0, i = 0;
    job j;
    pager->idle = 0;
    while (i < depth) {
        if (flights[i].busy) {
            i++;
            continue;
        }
        if (!next_job(pager, &j)) break;
        pthread_mutex_unlock(&pager->lock);
        bool flies = launch(pager, &flights[i], (uint32_t)i, j);
        pthread_mutex_lock(&pager->lock);
        if (flies) launched++;
        else do_job(pager, j); /* and this place in the ring is free for the next */
    }
    return launched;
}

static void land(mp_pager *pager, flight *f, int64_t bytes) {
    f->busy = false;
    if (bytes < 0 || (uint64_t)bytes < f->want) { /* refused, interrupted, short: once more, and if it fails again that says why */
        do_job(pager, f->job);
        return;
    }
    mp_io_run_mend(&f->run);
    for (int i = 0; i < f->job.n; i++) finish(pager, f->job, f->job.page + (mp_page)i, MP_OK);
}

static void pause_ring(mp_pager *pager) {
    struct timespec t = {.tv_nsec = RING_PAUSE_NS};
    pthread_mutex_unlock(&pager->lock);
    nanosleep(&t, NULL);
    pthread_mutex_lock(&pager->lock);
}

/* With the lock: the reads that the ring did not take are done here, the others' landing is watched for. Their slots are the system's until then. */
static void give_up_ring(mp_pager *pager, int flying) {
    flight *flights = pager->flights;
    uint32_t tag[MP_IO_DEPTH_MAX];
    mp_uring_done done[MP_IO_DEPTH_MAX];
    pager->ringless = true;
    pager->idle = 0;
    int n = mp_uring_unsent(pager->ring, tag, MP_IO_DEPTH_MAX);
    for (int i = 0; i < n; i++, flying--) do_job(pager, flights[tag[i]].job);
    while (flying > 0) {
        n = mp_uring_peek(pager->ring, done, MP_IO_DEPTH_MAX);
        for (int i = 0; i < n; i++, flying--) land(pager, &flights[done[i].tag], done[i].bytes);
        if (!n) pause_ring(pager);
    }
}

static void *ring_on(void *arg) {
    mp_pager *pager = arg;
    int depth = pager->config.readers, flying = 0, refused = 0;
    flight *flights = pager->flights;
    mp_uring_done done[MP_IO_DEPTH_MAX];
    pthread_mutex_lock(&pager->lock);
    while ((!pager->stop || flying) && refused < RING_TRIES) {
        if (!pager->stop) flying += launch_all(pager, flights, depth);
        if (pager->stop && !flying) break;
        pager->idle = (uint32_t)(depth - flying);
        pthread_mutex_unlock(&pager->lock);
        int n = mp_uring_wait(pager->ring, done, depth);
        pthread_mutex_lock(&pager->lock);
        pager->rung = false;
        refused = n < 0 ? refused + 1 : 0;
        if (n < 0) pause_ring(pager);
        for (int i = 0; i < n; i++, flying--) land(pager, &flights[done[i].tag], done[i].bytes);
    }
    if (refused == RING_TRIES) give_up_ring(pager, flying);
    pager->idle = 0;
    if (pager->ringless) serve(pager);
    pthread_mutex_unlock(&pager->lock);
    return NULL;
}

void mp_pager_ring(mp_pager *pager, uint32_t jobs) {
    if (pager->ring && !pager->ringless) {
        if (pager->idle && !pager->rung) { /* not idle: it looks once more before it waits */
            pager->rung = true;
            mp_uring_wake(pager->ring);
        }
        return;
    }
    for (uint32_t i = 0; i < jobs && i < pager->idle; i++) pthread_cond_signal(&pager->work);
}

/* ---- starting and ending ---- */

static mp_err start_reader(mp_pager *pager, const pthread_attr_t *attr) {
    mp_err err = mp_ledger_charge(pager->config.ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, STACK_USED_BYTES);
    if (err) return err;
    if (!pager->dry && pthread_create(&pager->reader[pager->readers], attr, pager->ring ? ring_on : read_on, pager)) {
        mp_ledger_credit(pager->config.ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, STACK_USED_BYTES);
        return mp_fail(MP_E_FAILED, "the system refused reader thread %d of %d", pager->readers + 1, pager->config.readers);
    }
    pager->readers++;
    return MP_OK;
}

static mp_err start_readers(mp_pager *pager, int n) {
    pthread_attr_t attr;
    if (pthread_attr_init(&attr)) return mp_fail(MP_E_FAILED, "the system refused the attributes of a thread");
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigset_t all, before; /* signals are for the program's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    mp_err err = MP_OK;
    while (!err && pager->readers < n) err = start_reader(pager, &attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return err;
}

mp_err mp_pager_readers_open(mp_pager *pager) {
    int depth = pager->config.readers, threads = pager->config.method == MP_IO_URING ? 1 : depth;
    mp_ledger *ledger = pager->config.ledger;
    mp_err err = MP_NEW(ledger, MP_OWN_OVERHEAD, pthread_t, (size_t)threads, &pager->reader);
    if (!err && pager->config.method == MP_IO_URING) {
        err = mp_alloc(ledger, MP_OWN_OVERHEAD, (size_t)depth * sizeof(flight), &pager->flights);
        if (!err) err = mp_uring_open(ledger, depth, &pager->ring);
    }
    return err ? err : start_readers(pager, threads);
}

void mp_pager_readers_close(mp_pager *pager) {
    pthread_mutex_lock(&pager->lock);
    pager->stop = true;
    pthread_cond_broadcast(&pager->work);
    if (pager->ring) mp_uring_wake(pager->ring);
    pthread_mutex_unlock(&pager->lock);
    for (; pager->readers > 0; pager->readers--) {
        if (!pager->dry) pthread_join(pager->reader[pager->readers - 1], NULL);
        mp_ledger_credit(pager->config.ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, STACK_USED_BYTES);
    }
    mp_uring_close(&pager->ring);
    MP_FREE(pager->flights);
    MP_FREE(pager->reader);
}
