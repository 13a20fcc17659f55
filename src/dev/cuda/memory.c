/* The card's memory: what regions are made of, copies under what is computed, and how much there is. */
#include "dev/cuda/cuda.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include "base/nvml.h"
#include "base/size.h"

enum { CARDS = 64, ASSUMED = 512 << 20, LATER = 48 << 20, ODD = 2 << 10 /* MiB */ };

/* The driver has one context for all of a process, so what it takes is the process's too: the one thing here that lives as long. ASSUMED where no reading is to be
 * had, LATER for code that it loads when it is first run. */
static struct card {
    _Atomic uint64_t taken;   /* by regions, whosever */
    uint64_t         context; /* 0: not known yet */
} cards[CARDS];
static pthread_mutex_t cards_lock = PTHREAD_MUTEX_INITIALIZER;

mp_err mp_cuda_use(const mp_dev_cuda *d)
{
    return mp_cuda_check(cudaSetDevice(d->ordinal), "choosing it");
}

enum { GRAIN = 2 << 20 }; /* what the driver hands out, and therefore what is charged */

static mp_err take(void *self, size_t bytes, unsigned char **out)
{
    void *p = NULL;
    mp_err err = mp_cuda_use(self);
    cudaError_t e = err ? cudaSuccess : cudaMalloc(&p, bytes);
    if (e != cudaSuccess && e != cudaErrorMemoryAllocation)
        return mp_cuda_check(e, "allocating memory");
    if (e != cudaSuccess) {
        char text[MP_SIZE_TEXT];
        cudaGetLastError(); /* it is told; the next launch must not be blamed for it */
        err = mp_fail(MP_E_BUDGET, "the GPU has not %s of memory left in one piece; close what else uses it, or give a smaller --vram or a shorter context",
                      mp_size_format(bytes, text));
    }
    if (!err)
        cards[((mp_dev_cuda *)self)->ordinal].taken += bytes;
    *out = p;
    return err;
}

static void give(void *self, unsigned char *base, size_t bytes)
{
    if (!mp_cuda_use(self))
        cudaFree(base);
    cards[((mp_dev_cuda *)self)->ordinal].taken -= bytes;
}

/* On the stream for copies, under what is computed. Memory that is not pinned is copied through the driver's own buffers. */
static mp_err move(mp_dev_cuda *d, void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind)
{
    mp_err err = mp_cuda_use(d);
    if (!err)
        err = mp_cuda_check(cudaMemcpyAsync(dst, src, bytes, kind, d->copies), "a copy");
    return err ? err : mp_cuda_check(cudaStreamSynchronize(d->copies), "a copy");
}

static mp_err fill(void *self, unsigned char *dst, const void *host, size_t bytes)
{
    return move(self, dst, host, bytes, cudaMemcpyHostToDevice);
}

static mp_err copy(void *self, unsigned char *dst, const unsigned char *src, size_t bytes)
{
    mp_dev_cuda *d = self;
    mp_err err = d->base.v->wait(&d->base); /* what is copied may still be computed */
    return err ? err : move(d, dst, src, bytes, cudaMemcpyDeviceToDevice);
}

void mp_cuda_memory_of(mp_dev_cuda *d, mp_memory *out)
{
    *out = (mp_memory){ .tier = MP_TIER_VRAM, .grain = GRAIN, .self = d, .take = take, .give = give, .fill = fill, .copy = copy };
}

/* ---- how much there is ---- */

/* The card of this bus address, as the driver's own tools see it. */
static bool find_reading(const mp_nvml *nvml, const char *pci, mp_gpu *out)
{
    for (int i = 0; i < nvml->cards; i++) {
        mp_nvml_read(nvml, i, out);
        if (!strcasecmp(out->pci, pci))
            return true;
    }
    return false;
}

/* What the process holds there beyond regions, with its context open. before: what all held before it was, -1: not known. */
static uint64_t context_of(const mp_gpu *g, int64_t before, uint64_t taken)
{
    int64_t own = g->process_bytes > 0 ? g->process_bytes - (int64_t)taken : before >= 0 && g->used_bytes >= 0 ? g->used_bytes - before : -1;
    return own > 0 && own >> 20 < ODD ? (uint64_t)own + LATER : ASSUMED;
}

/* Opens the context, which is the first call that makes the driver take memory, between two readings. */
static mp_err measure_context(int ordinal, struct card *c)
{
    mp_nvml nvml;
    mp_gpu g;
    char pci[24] = "";
    mp_err err = mp_cuda_check(cudaDeviceGetPCIBusId(pci, sizeof pci, ordinal), "asking where it is");
    if (err)
        return err;
    bool readable = !mp_nvml_open(&nvml) && find_reading(&nvml, pci, &g);
    int64_t before = readable ? g.used_bytes : -1;
    err = mp_cuda_check(cudaSetDevice(ordinal), "choosing it");
    if (!err)
        err = mp_cuda_check(cudaFree(NULL), "opening its context");
    if (!err && readable)
        readable = find_reading(&nvml, pci, &g);
    if (!err)
        c->context = readable ? context_of(&g, before, c->taken) : ASSUMED;
    mp_nvml_close(&nvml);
    return err;
}

mp_err mp_dev_cuda_vram(int ordinal, mp_dev_vram *out)
{
    int n = 0;
    size_t left = 0, total = 0;
    *out = (mp_dev_vram){ 0 };
    if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0) {
        cudaGetLastError();
        return mp_fail(MP_E_FAILED, "there is no NVIDIA GPU here, or no driver for it");
    }
    if (ordinal < 0 || ordinal >= n || ordinal >= CARDS)
        return mp_fail(MP_E_USAGE, "there is no GPU %d; the last one here is %d", ordinal, n - 1);
    pthread_mutex_lock(&cards_lock);
    mp_err err = cards[ordinal].context ? mp_cuda_check(cudaSetDevice(ordinal), "choosing it") : measure_context(ordinal, &cards[ordinal]);
    out->context_bytes = cards[ordinal].context;
    pthread_mutex_unlock(&cards_lock);
    if (!err)
        err = mp_cuda_check(cudaMemGetInfo(&left, &total), "asking how much memory it has");
    out->free_bytes = left > LATER ? left - LATER : 0; /* counted above, and not taken yet */
    out->total_bytes = total;
    return err;
}
