#include "support/sim_gpu.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/os.h"
#include "dev/cost.h"
#include "dev/dev.h"

enum { GRAIN = 64 << 10 };

static struct {
    pthread_mutex_t lock;
    sim_gpu         how;
    sim_gpu_counts  n;
    uint64_t        free_at_ns; /* when the link is done with what it has */
    uint64_t        done_at_ns; /* when the last operation is */
} sim = { .lock = PTHREAD_MUTEX_INITIALIZER };

typedef struct gpu {
    mp_dev    base;
    mp_dev   *cpu;
    mp_memory memory;
    uint64_t  context_bytes;
} gpu;

void sim_gpu_set(const sim_gpu *how)
{
    pthread_mutex_lock(&sim.lock);
    sim.how = *how;
    if (!sim.how.room_bytes)
        sim.how.room_bytes = 1 << 30;
    sim.n = (sim_gpu_counts){ .taken_bytes = sim.n.taken_bytes, .peak_bytes = sim.n.taken_bytes, .locked_bytes = sim.n.locked_bytes };
    pthread_mutex_unlock(&sim.lock);
}

sim_gpu_counts sim_gpu_get(void)
{
    pthread_mutex_lock(&sim.lock);
    sim_gpu_counts n = sim.n;
    pthread_mutex_unlock(&sim.lock);
    return n;
}

/* true when it is this one that must fail. *at counts down to 1 and stays there. */
static bool fails(int *at)
{
    if (*at == 1)
        return true;
    *at -= *at > 0;
    return false;
}

static mp_err take(void *self, size_t bytes, unsigned char **out)
{
    (void)self;
    pthread_mutex_lock(&sim.lock);
    bool none = (bytes > sim.how.small_bytes && fails(&sim.how.fail_take)) || sim.n.taken_bytes + bytes > sim.how.room_bytes;
    if (!none)
        sim.n.taken_bytes += bytes;
    if (sim.n.taken_bytes > sim.n.peak_bytes)
        sim.n.peak_bytes = sim.n.taken_bytes;
    pthread_mutex_unlock(&sim.lock);
    void *p = none ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); /* nothing of it is left afterwards */
    *out = p == MAP_FAILED ? NULL : p;
    if (*out)
        memset(*out, 0xa5, bytes);
    return *out ? MP_OK : mp_fail(MP_E_BUDGET, "the simulated GPU has not so much memory left");
}

static void give(void *self, unsigned char *base, size_t bytes)
{
    (void)self;
    pthread_mutex_lock(&sim.lock);
    sim.n.taken_bytes -= bytes;
    pthread_mutex_unlock(&sim.lock);
    munmap(base, bytes);
}

static void sleep_until(uint64_t ns)
{
    struct timespec t = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static mp_err fill(void *self, unsigned char *dst, const void *host, size_t bytes)
{
    (void)self;
    pthread_mutex_lock(&sim.lock);
    bool bad = fails(&sim.how.fail_fill);
    uint64_t now = mp_now_ns(), takes = sim.how.latency_ns + (sim.how.link_bps > 0 ? (uint64_t)((double)bytes / sim.how.link_bps * 1e9) : 0);
    sim.free_at_ns = (sim.free_at_ns > now ? sim.free_at_ns : now) + takes;
    uint64_t until = sim.free_at_ns;
    sim.n.fills++;
    sim.n.fill_bytes += bytes;
    pthread_mutex_unlock(&sim.lock);
    if (takes)
        sleep_until(until);
    if (bad)
        return mp_fail(MP_E_FAILED, "the simulated link failed");
    if (!(sim.how.vram_bps > 0))
        memcpy(dst, host, bytes);
    return MP_OK;
}

static mp_err copy(void *self, unsigned char *dst, const unsigned char *src, size_t bytes)
{
    (void)self;
    memcpy(dst, src, bytes);
    return MP_OK;
}

static mp_err sim_put(mp_dev *dev, void *dst, const void *host, size_t bytes)
{
    if (!dev->dry)
        memcpy(dst, host, bytes);
    return MP_OK;
}

/* Until the operations so far are done. */
static void catch_up(void)
{
    pthread_mutex_lock(&sim.lock);
    sim.n.waits++;
    uint64_t until = sim.done_at_ns;
    pthread_mutex_unlock(&sim.lock);
    if (until > mp_now_ns())
        sleep_until(until);
}

static mp_err sim_get(mp_dev *dev, void *host, const void *src, size_t bytes)
{
    catch_up();
    if (!dev->dry)
        memcpy(host, src, bytes);
    return MP_OK;
}

static mp_err sim_wait(mp_dev *dev)
{
    (void)dev;
    catch_up();
    return MP_OK;
}

static void sim_lock(mp_dev *dev, void *host, size_t bytes, bool on)
{
    (void)dev, (void)host;
    pthread_mutex_lock(&sim.lock);
    sim.n.locked_bytes = on ? sim.n.locked_bytes + bytes : sim.n.locked_bytes - bytes;
    pthread_mutex_unlock(&sim.lock);
}

static bool sim_can(const mp_dev *dev, const mp_op *op)
{
    const mp_dev *cpu = ((const gpu *)dev)->cpu;
    return cpu->v->can(cpu, op);
}

/* Experts by their ids as jobs, which is what the CPU device knows. Those of a dry device have no ids to look at. */
typedef struct by_id {
    mp_op         op;
    mp_expert_job job[MP_OP_CHOICES];
    int32_t       row[MP_OP_CHOICES];
} by_id;

static const mp_op *as_jobs(const mp_op *op, bool look, by_id *out)
{
    if (op->kind != MP_OP_EXPERTS || !op->u.experts.ids)
        return op;
    int n = (int)op->in[0].shape[0] * op->u.experts.k;
    out->op = *op;
    for (int i = 0; i < n; i++) {
        void *const *at = look ? op->u.experts.at + 3 * op->u.experts.ids[i] : NULL;
        mp_expert_job *j = &out->job[i];
        out->row[i] = i;
        *j = op->u.experts.jobs[0];
        j->gate.data = look ? at[0] : NULL, j->up.data = look ? at[1] : NULL, j->down.data = look ? at[2] : NULL;
        j->rows = &out->row[i], j->n = 1, j->first = i;
    }
    out->op.u.experts.jobs = out->job, out->op.u.experts.n_jobs = n, out->op.u.experts.ids = NULL;
    return &out->op;
}

static size_t sim_scratch(const mp_dev *dev, const mp_op *op)
{
    by_id own;
    return mp_dev_scratch(((const gpu *)dev)->cpu, as_jobs(op, false, &own));
}

static mp_err sim_run(mp_dev *dev, const mp_op *op)
{
    by_id own;
    pthread_mutex_lock(&sim.lock);
    sim.n.runs++;
    bool only_time = sim.how.vram_bps > 0;
    if (only_time) {
        mp_cost c = mp_op_cost(op);
        uint64_t now = mp_now_ns();
        sim.done_at_ns = (sim.done_at_ns > now ? sim.done_at_ns : now) + (uint64_t)((double)(c.weight_bytes + c.kv_bytes) / sim.how.vram_bps * 1e9);
    }
    pthread_mutex_unlock(&sim.lock);
    if (only_time && op->kind != MP_OP_ROUTE)
        return MP_OK;
    return mp_dev_run(((gpu *)dev)->cpu, as_jobs(op, true, &own));
}

static void sim_close(mp_dev *dev)
{
    gpu *g = (gpu *)dev;
    mp_ledger_credit(dev->ledger, MP_TIER_VRAM, MP_OWN_OVERHEAD, g->context_bytes);
    mp_dev_close(&g->cpu);
    mp_free(g);
}

mp_err mp_dev_cuda_vram(int ordinal, mp_dev_vram *out)
{
    (void)ordinal;
    pthread_mutex_lock(&sim.lock);
    *out = (mp_dev_vram){ sim.how.room_bytes, sim.how.room_bytes - sim.n.taken_bytes, sim.how.context_bytes };
    pthread_mutex_unlock(&sim.lock);
    return MP_OK;
}

mp_err mp_dev_cuda_open(mp_ledger *ledger, int ordinal, mp_dev **out)
{
    static const mp_dev_vtable vtable = { "simulated", sim_put, sim_get, sim_wait, sim_lock, sim_can, sim_scratch, sim_run, sim_close };
    void *p;
    mp_dev_vram v;
    *out = NULL;
    mp_dev_cuda_vram(ordinal, &v);
    mp_err err = mp_alloc(ledger, MP_OWN_OVERHEAD, sizeof(gpu), &p);
    if (err)
        return err;
    gpu *g = p;
    g->memory = (mp_memory){ .tier = MP_TIER_VRAM, .grain = GRAIN, .self = g, .take = take, .give = give, .fill = fill, .copy = copy };
    g->base = (mp_dev){ .v = &vtable, .ledger = ledger, .memory = &g->memory, .dry = mp_ledger_dry(ledger) };
    err = mp_ledger_charge(ledger, MP_TIER_VRAM, MP_OWN_OVERHEAD, v.context_bytes);
    if (!err) {
        g->context_bytes = v.context_bytes;
        err = mp_dev_cpu_open(ledger, NULL, mp_kern_get(NULL), &g->cpu);
    }
    if (err)
        sim_close(&g->base);
    else
        *out = &g->base;
    return err;
}
