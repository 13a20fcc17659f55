#include "base/uring.h"

#include <errno.h>
#include <string.h>

#ifdef MOPED_HAVE_URING
#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(mp_part) == sizeof(struct iovec), "a part is what the system calls an iovec");

enum { ENTRY_BYTES = 64 + 2 * 16, RING_BYTES = 16 << 10 };
enum { QUEUED = 128 }; /* entries at most: depth and one for the bell, rounded up to a power of two */
static const uint64_t WAKE = UINT32_MAX; /* no read has this tag */

struct mp_uring {
    struct io_uring ring;
    int             bell; /* eventfd: a wake is a read that completes */
    uint64_t        rung;
    bool            listening;
    bool            open;
    mp_ledger      *ledger;
    uint64_t        charged;
    uint64_t        tag[QUEUED]; /* of what was queued, in order, round and round */
    unsigned        queued;
};

static void name_it(mp_uring *u, struct io_uring_sqe *sqe, uint64_t tag) {
    io_uring_sqe_set_data64(sqe, tag);
    u->tag[u->queued++ % QUEUED] = tag;
}

static void hear(mp_uring *u) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (!sqe) return;
    io_uring_prep_read(sqe, u->bell, &u->rung, sizeof u->rung, 0);
    name_it(u, sqe, WAKE);
    u->listening = true;
}

static mp_err start(mp_uring *u, int depth) {
    char buf[MP_OS_ERROR_TEXT];
    if (depth >= QUEUED) return mp_fail(MP_E_USAGE, "%d reads in a ring are more than %d", depth, QUEUED - 1);
    int rc = io_uring_queue_init((unsigned)depth + 1, &u->ring, 0);
    if (rc < 0) return mp_fail(MP_E_FAILED, "the system refuses io_uring: %s; use --io pread", mp_os_error(-rc, buf));
    u->open = true;
    u->bell = eventfd(0, EFD_CLOEXEC);
    return u->bell >= 0 ? MP_OK : mp_fail(MP_E_FAILED, "the system refused an eventfd: %s", mp_os_error(errno, buf));
}

mp_err mp_uring_open(mp_ledger *ledger, int depth, mp_uring **out) {
    mp_uring *u = NULL;
    *out = NULL;
    mp_err err = MP_NEW(ledger, MP_OWN_OVERHEAD, mp_uring, 1, &u);
    if (err) return err;
    uint64_t bytes = RING_BYTES + (uint64_t)depth * ENTRY_BYTES;
    u->ledger = ledger;
    u->bell = -1;
    err = mp_ledger_charge(ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, bytes);
    if (!err) u->charged = bytes;
    if (!err && !mp_ledger_dry(ledger)) err = start(u, depth);
    if (err) mp_uring_close(&u);
    *out = u;
    return err;
}

void mp_uring_close(mp_uring **ring) {
    mp_uring *u = ring ? *ring : NULL;
    if (!u) return;
    if (u->open) io_uring_queue_exit(&u->ring);
    if (u->bell >= 0) close(u->bell);
    mp_ledger_credit(u->ledger, MP_TIER_RAM, MP_OWN_OVERHEAD, u->charged);
    MP_FREE(*ring);
}

bool mp_uring_read(mp_uring *u, int fd, const mp_part *parts, int n, uint64_t offset, uint32_t tag) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (!sqe) return false;
    if (n == 1) io_uring_prep_read(sqe, fd, parts->base, (unsigned)parts->bytes, offset);
    else io_uring_prep_readv(sqe, fd, (const struct iovec *)(const void *)parts, (unsigned)n, offset);
    name_it(u, sqe, tag);
    return true;
}

int mp_uring_peek(mp_uring *u, mp_uring_done *out, int room) {
    struct io_uring_cqe *cqe;
    int n = 0;
    while (n < room && !io_uring_peek_cqe(&u->ring, &cqe)) {
        uint64_t tag = io_uring_cqe_get_data64(cqe);
        if (tag == WAKE) u->listening = false;
        else out[n++] = (mp_uring_done){.tag = (uint32_t)tag, .bytes = cqe->res};
        io_uring_cqe_seen(&u->ring, cqe);
    }
    return n;
}

int mp_uring_wait(mp_uring *u, mp_uring_done *out, int room) {
    if (!u->listening) hear(u);
    int rc = io_uring_submit_and_wait(&u->ring, 1), n = mp_uring_peek(u, out, room);
    return n || rc >= 0 || rc == -EINTR ? n : rc;
}

int mp_uring_unsent(mp_uring *u, uint32_t *tags, int room) {
    int n = 0;
    for (unsigned i = u->queued - io_uring_sq_ready(&u->ring); i != u->queued && n < room; i++) /* the system takes them in order */
        if (u->tag[i % QUEUED] != WAKE) tags[n++] = (uint32_t)u->tag[i % QUEUED];
    return n;
}

void mp_uring_wake(mp_uring *u) {
    uint64_t one = 1;
    if (u->bell >= 0 && write(u->bell, &one, sizeof one) < 0) return; /* the counter is full: it rings already */
}

#else

mp_err mp_uring_open(mp_ledger *ledger, int depth, mp_uring **out) {
    (void)ledger, (void)depth;
    *out = NULL;
    return mp_fail(MP_E_FAILED, "this moped was built without io_uring; use --io pread");
}

void mp_uring_close(mp_uring **ring) {
    (void)ring;
}

bool mp_uring_read(mp_uring *u, int fd, const mp_part *parts, int n, uint64_t offset, uint32_t tag) {
    (void)u, (void)fd, (void)parts, (void)n, (void)offset, (void)tag;
    return false;
}

int mp_uring_wait(mp_uring *u, mp_uring_done *out, int room) {
    (void)u, (void)out, (void)room;
    return 0;
}

int mp_uring_peek(mp_uring *u, mp_uring_done *out, int room) {
    (void)u, (void)out, (void)room;
    return 0;
}

int mp_uring_unsent(mp_uring *u, uint32_t *tags, int room) {
    (void)u, (void)tags, (void)room;
    return 0;
}

void mp_uring_wake(mp_uring *u) {
    (void)u;
}
#endif
