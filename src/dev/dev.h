/* A device behind one small vtable. run() enqueues; wait() completes; no host code reads an operand but through get() - on the CPU all of
 * that is immediate. */
#ifndef MP_DEV_DEV_H
#define MP_DEV_DEV_H

#include "base/ledger.h"
#include "base/pool.h"
#include "dev/op.h"
#include "num/kern.h"

typedef struct mp_dev mp_dev;

typedef struct mp_dev_vtable {
    const char *name;
    mp_err   (*put)(mp_dev *dev, void *dst, const void *host, size_t bytes); /* in the order of run(); host may change at once */
    mp_err   (*get)(mp_dev *dev, void *host, const void *src, size_t bytes); /* waits for what was enqueued before */
    mp_err   (*wait)(mp_dev *dev);                                           /* until everything enqueued is done */
    void     (*lock)(mp_dev *dev, void *host, size_t bytes, bool on); /* host memory that its link shall read directly, or no longer; NULL: it has no link */
    bool     (*can)(const mp_dev *dev, const mp_op *op);     /* does it have a kernel for these types? */
    size_t   (*scratch)(const mp_dev *dev, const mp_op *op); /* bytes of op->scratch that run needs: a pure function of the shapes */
    mp_err   (*run)(mp_dev *dev, const mp_op *op);
    void     (*close)(mp_dev *dev);
} mp_dev_vtable;

struct mp_dev {
    const mp_dev_vtable *v;
    mp_ledger           *ledger;
    const mp_memory     *memory; /* where its operands lie; NULL: the host's */
    bool                 dry; /* run() is not called: the planner's forward pass */
};

/* The processor. pool NULL: one thread; both outlive the device. */
mp_err mp_dev_cpu_open(mp_ledger *ledger, mp_pool *pool, const mp_kern *kern, mp_dev **out);
/* The ordinal-th NVIDIA GPU, its memory charged as VRAM. Operands of run() lie in its memory, what the jobs and segments of an op point to in the host's
 * but for the weights and tiles themselves. Errors: MP_E_FAILED where there is no GPU, no driver, or moped was built without CUDA; MP_E_USAGE. */
mp_err mp_dev_cuda_open(mp_ledger *ledger, int ordinal, mp_dev **out);
/* How much memory the card has. Opens the driver's context, which stays for the life of the process. Errors: as of opening. */
typedef struct mp_dev_vram {
    uint64_t total_bytes, free_bytes; /* free: now, for anybody */
    uint64_t context_bytes;           /* what the driver takes for this process beside regions; every open device charges it as OVERHEAD */
} mp_dev_vram;
mp_err mp_dev_cuda_vram(int ordinal, mp_dev_vram *out);
void   mp_dev_close(mp_dev **dev);

static inline size_t mp_dev_scratch(const mp_dev *dev, const mp_op *op) { return dev->v->scratch(dev, op); }
static inline mp_err mp_dev_run(mp_dev *dev, const mp_op *op) { return dev->dry ? MP_OK : dev->v->run(dev, op); }
#endif
