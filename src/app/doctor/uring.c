/* Reading with io_uring: one thread, `depth` reads under way. Built only where liburing is. */
#include "app/app.h"
#include "app/doctor/machine.h"

#ifdef MOPED_HAVE_URING
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

static void queue(struct io_uring *ring, const app_read_job *job, int i, unsigned char *buffer, uint64_t slot) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (!sqe) return;
    io_uring_prep_read(sqe, job->fd, buffer + slot * job->record_bytes, (unsigned)job->record_bytes, job->offsets[i]);
    io_uring_sqe_set_data64(sqe, slot);
}

/* Keeps depth reads under way until all are done or the time is up; then waits for those that are. */
static mp_err pump(struct io_uring *ring, const app_read_job *job, unsigned char *buffer, uint64_t *bytes) {
    uint64_t start = mp_now_ns();
    int next = 0, flying = 0;
    for (; next < job->n && flying < job->depth; next++, flying++) queue(ring, job, next, buffer, (uint64_t)flying);
    while (flying > 0) {
        struct io_uring_cqe *cqe = NULL;
        int rc = io_uring_submit_and_wait(ring, 1);
        if (rc == -EINTR) continue;
        if (rc < 0 || io_uring_peek_cqe(ring, &cqe) != 0) return mp_fail(MP_E_FAILED, "io_uring: %s", strerror(-rc));
        uint64_t slot = io_uring_cqe_get_data64(cqe);
        int got = cqe->res;
        io_uring_cqe_seen(ring, cqe);
        flying--;
        if (got < 0) return mp_fail(MP_E_FAILED, "io_uring: %s", strerror(-got));
        *bytes += (uint64_t)got;
        bool more = next < job->n && mp_now_ns() - start < job->limit_ns && !app_signal();
        if (more) queue(ring, job, next++, buffer, slot), flying++;
    }
    return MP_OK;
}

mp_err app_uring_read(const app_read_job *job, uint64_t *bytes) {
    struct io_uring ring;
    *bytes = 0;
    int rc = io_uring_queue_init((unsigned)job->depth, &ring, 0);
    if (rc < 0) return mp_fail(MP_E_FAILED, "io_uring is refused: %s", strerror(-rc));
    size_t room = (size_t)job->depth * job->record_bytes;
    unsigned char *buffer = mp_os_map(room, true);
    mp_err e = buffer ? pump(&ring, job, buffer, bytes) : mp_fail(MP_E_FAILED, "out of memory");
    io_uring_queue_exit(&ring); /* waits for what is under way, so the buffer may go after it */
    if (buffer) mp_os_unmap(buffer, room);
    return e;
}
#else
mp_err app_uring_read(const app_read_job *job, uint64_t *bytes) {
    (void)job;
    *bytes = 0;
    return mp_fail(MP_E_FAILED, "this moped was built without io_uring");
}
#endif
