/* A GPU that is none: the CPU device computes, its memory is the host's, but it counts as VRAM, there is only so much of it, and what comes there comes over a
 * link of a given speed that can fail. So everything above the kernels is tested without a card: what lies where, what is moved, and what happens when it cannot be.
 *
 * A program that names one of these functions is linked with this in place of the CUDA device. Its results are the CPU device's to the bit. */
#ifndef MP_TESTS_SIM_GPU_H
#define MP_TESTS_SIM_GPU_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sim_gpu {
    uint64_t room_bytes;     /* of the card, free for anybody; 0: 1 GiB */
    uint64_t context_bytes;  /* what the driver takes */
    double   link_bps;       /* bytes a second of uploads; 0: at once */
    uint64_t latency_ns;     /* of each */
    double   vram_bps;       /* not 0: nothing is computed but routes and nothing is copied; an operation takes its bytes at this speed, after those before it, and
                                the host waits for it only where it asks. To see what everything around the kernels costs (bench/tiers.c) */
    int      fail_fill;      /* the so-manieth upload from now fails, and each after it; 0: none does */
    int      fail_take;      /* likewise of allocations, as if somebody else had taken the memory; those of at most small_bytes go on */
    uint64_t small_bytes;
} sim_gpu;

void sim_gpu_set(const sim_gpu *how); /* of what is done from now on; counters begin again */

typedef struct sim_gpu_counts {
    uint64_t fills, fill_bytes; /* uploads: of weights, at loading and later */
    uint64_t taken_bytes, peak_bytes; /* of regions, now and at most */
    uint64_t locked_bytes;      /* of the host, that the link may read */
    uint64_t runs;              /* operations */
    uint64_t waits;             /* times that the host waited for the device, for results or otherwise */
} sim_gpu_counts;
sim_gpu_counts sim_gpu_get(void);
#endif
