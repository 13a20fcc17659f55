/* An operation on the CPU device and on the GPU's, from the same operands in the host's memory: what tests/cuda compares. Where the program was linked with
 * the emulation (tests/support/cuda) the GPU is that; the same programs run on a real one (make test-gpu). */
#ifndef MP_TESTS_CUDA_BOTH_H
#define MP_TESTS_CUDA_BOTH_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dev/dev.h"
#include "test.h"

enum { BOTH_REGIONS = 64 };

/* Of lists of shapes every so-manieth is taken: the emulation under AddressSanitizer takes twenty times as long, and where addresses go wrong fewer show it. */
#ifdef __SANITIZE_ADDRESS__
enum { BOTH_STEP = 3 };
#else
enum { BOTH_STEP = 1 };
#endif

typedef struct both {
    mp_ledger *ledger;
    mp_dev    *cpu, *gpu;
    mp_region  regions[BOTH_REGIONS]; /* of the operation that is run */
    int        count;
    void      *want[MP_OP_OUT], *got[MP_OP_OUT]; /* results of the CPU and of the GPU, in the host's memory; of the last both_run */
    int64_t    n[MP_OP_OUT];                     /* elements */
} both;

static uint64_t both_seed = 7;

static inline float both_float(void) /* [-1, 1) */
{
    both_seed = both_seed * 6364136223846793005ull + 1442695040888963407ull;
    return (float)(int32_t)(both_seed >> 32) * 0x1p-31f;
}

static inline float *both_floats(int64_t n, float range)
{
    float *x = malloc((size_t)(n ? n : 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = both_float() * range;
    return x;
}

/* false: there is no GPU. One thread on the CPU is enough. */
static inline bool both_open(both *b)
{
    *b = (both){ 0 };
    if (mp_ledger_open(false, &b->ledger) || mp_dev_cpu_open(b->ledger, NULL, mp_kern_get(NULL), &b->cpu))
        return false;
    return mp_dev_cuda_open(b->ledger, 0, &b->gpu) == MP_OK;
}

static inline int both_skipped(void)
{
    printf("SKIPPED: %s\n", mp_err_text());
    return 77;
}

static inline void both_forget(both *b) /* what the last operation left */
{
    for (int i = 0; i < b->count; i++)
        mp_region_close(&b->regions[i]);
    for (int i = 0; i < MP_OP_OUT; i++) {
        free(b->want[i]), free(b->got[i]);
        b->want[i] = b->got[i] = NULL;
    }
    b->count = 0;
}

static inline void both_close(both *b)
{
    both_forget(b);
    mp_dev_close(&b->gpu);
    mp_dev_close(&b->cpu);
    mp_ledger_close(&b->ledger);
}

/* Memory of the GPU with these bytes in it, until both_forget. */
static inline void *both_put(both *b, const void *host, size_t bytes)
{
    mp_region *r = &b->regions[b->count++];
    if (b->count > BOTH_REGIONS || mp_region_open_in(b->ledger, b->gpu->memory, MP_OWN_WORK, bytes ? bytes : 1, r) || b->gpu->v->put(b->gpu, r->base, host, bytes)) {
        printf("  %s\n", mp_err_text());
        exit(1);
    }
    return r->base;
}

/* Memory freed by one case is handed to the next, and may hold just what that is to compute. So results begin as 8e37 - not wanted anywhere, not small, and
 * not NaN, which is wanted in places - and scratch as NaN, which spreads when it is read before it is written. */
enum { BOTH_RESULT = 0x7e, BOTH_SCRATCH = 0xff };

/* Memory of the GPU with this byte all over it, until both_forget. */
static inline void *both_blank(both *b, int byte, size_t bytes)
{
    void *host = malloc(bytes ? bytes : 1);
    memset(host, byte, bytes);
    void *p = both_put(b, host, bytes);
    free(host);
    return p;
}

static inline mp_tensor both_twin(both *b, const mp_tensor *t)
{
    mp_tensor twin = *t;
    if (!mp_tensor_none(t) && t->data) /* of some only the shape matters */
        twin.data = both_put(b, t->data, mp_tensor_bytes(t));
    return twin;
}

/* Runs op on each device: gpu is the same with its inputs in the GPU's memory. Outputs are made here, from op's shapes. */
static inline bool both_run_placed(both *b, const mp_op *op, const mp_op *gpu)
{
    mp_op c = *op, g = *gpu;
    for (int i = 0; i < MP_OP_OUT; i++) {
        if (mp_tensor_none(&op->out[i]))
            continue;
        size_t bytes = mp_tensor_bytes(&op->out[i]);
        b->n[i] = mp_tensor_count(&op->out[i]);
        b->want[i] = calloc(1, bytes), b->got[i] = calloc(1, bytes);
        c.out[i].data = b->want[i];
        g.out[i].data = both_blank(b, BOTH_RESULT, bytes);
    }
    c.scratch = aligned_alloc(64, (mp_dev_scratch(b->cpu, &c) + 127) / 64 * 64);
    g.scratch = both_blank(b, BOTH_SCRATCH, mp_dev_scratch(b->gpu, &g));
    bool ok = !mp_dev_run(b->cpu, &c) && !mp_dev_run(b->gpu, &g);
    for (int i = 0; ok && i < MP_OP_OUT; i++)
        if (!mp_tensor_none(&op->out[i]))
            ok = !b->gpu->v->get(b->gpu, b->got[i], g.out[i].data, mp_tensor_bytes(&op->out[i]));
    free(c.scratch);
    if (!ok)
        printf("  %s\n", mp_err_text());
    return ok;
}

/* Runs a copy of op on each device. op's inputs have data; its outputs have shapes, and the data of an output that is an input too; the rest is made here.
 * gpu: the same op with operands of the GPU where those are more than tensors (jobs, segments), or NULL. */
static inline bool both_run_as(both *b, const mp_op *op, const mp_op *gpu)
{
    mp_op g = gpu ? *gpu : *op;
    for (int i = 0; i < MP_OP_IN; i++)
        g.in[i] = both_twin(b, &op->in[i]);
    return both_run_placed(b, op, &g);
}

static inline bool both_run(both *b, const mp_op *op)
{
    both_forget(b);
    return both_run_as(b, op, NULL);
}

/* Infinities must be the same; any NaN is any NaN. The slack is of this element: one that was taken from the largest of many would, where that is huge, let
 * all others be anything. */
static inline bool both_near(double want, double got, double slack)
{
    return isnan(want) ? isnan(got) : want == got || fabs(want - got) <= slack;
}

/* The same bits; any NaN is any NaN. */
static inline bool both_same(const float *want, const float *got, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(want + i, got + i, sizeof *want) && !(isnan(want[i]) && isnan(got[i])))
            return false;
    return true;
}
#endif
