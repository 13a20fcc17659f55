/* What NVIDIA's driver says of its cards: memory, temperature, power, energy, use, clocks, and what holds the clocks down. Asked of the driver's own library
 * (libnvidia-ml.so.1), which is opened at run time: a machine without it is as good as any. Nothing here is needed to compute.
 * Source: NVML API reference, "Device Queries" and "NVML Clocks Event Reasons". Test: tests/base/test_nvml.c, tests/app/test_gpu.c, with a made-up driver. */
#ifndef MP_BASE_NVML_H
#define MP_BASE_NVML_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* One card, now. Doubles that are not known are NaN, bytes that are not known are -1, text is "". */
typedef struct mp_gpu {
    int      index;                        /* as nvidia-smi counts; CUDA may count otherwise: match by pci */
    char     name[96], uuid[96];           /* "NVIDIA H200"; "GPU-..." */
    char     pci[24];                      /* "0000:3b:00.0": as in /sys/bus/pci/devices and of cudaDeviceGetPCIBusId (which may write A-F) */
    char     fault[96];                    /* why the card does not answer: then nothing else is known; "": it does */
    int64_t  total_bytes, used_bytes, free_bytes; /* used by all, with what the driver keeps for itself */
    int64_t  process_bytes;                /* used by this process; -1 also when the driver does not list it: it has no context, or runs in a container of its own numbers */
    double   temperature_c;                /* of the chip */
    double   power_w, power_limit_w;       /* of the card, on most the mean of the last second; the limit that is in force */
    double   energy_j;                     /* since the driver was loaded; only differences mean something. Moves in steps, of 20 to 100 ms as others found */
    double   busy_percent, memory_busy_percent; /* share of the last 1/6 to 1 second in which a kernel ran; in which memory was read or written */
    double   clock_mhz, max_clock_mhz, memory_clock_mhz; /* of the multiprocessors now and at most; of the memory */
    bool     throttle_known;
    uint32_t throttle;                     /* MP_THROTTLE_*: what holds the clocks down now */
} mp_gpu;
void mp_gpu_unknown(int index, mp_gpu *out); /* a card of which only that is known */

enum { /* bits; the driver's own, but for the last */
    MP_THROTTLE_IDLE = 1 << 0,             /* nothing to do: no fault */
    MP_THROTTLE_CLOCK_SETTING = 1 << 1,    /* somebody set them lower */
    MP_THROTTLE_POWER = 1 << 2,
    MP_THROTTLE_HARDWARE = 1 << 3,         /* by half or more: heat, the power supply's brake, or too much power at once */
    MP_THROTTLE_SYNC_BOOST = 1 << 4,       /* as slow as the slowest of its group */
    MP_THROTTLE_THERMAL = 1 << 5,
    MP_THROTTLE_HARDWARE_THERMAL = 1 << 6, /* by half or more */
    MP_THROTTLE_POWER_BRAKE = 1 << 7,      /* by half or more; the power supply asked for it */
    MP_THROTTLE_DISPLAY = 1 << 8,
    MP_THROTTLE_OTHER = 1 << 9,            /* a reason that the driver knows and we don't */
    MP_THROTTLE_BITS = 10,
};
const char *mp_throttle_name(int bit);     /* of 1 << bit: "idle" "clock setting" "power limit" ...; NULL past the end */

typedef void *mp_nvml_card;
/* The driver's functions, each NULL where it has none. Return 0, or a code for error(). */
typedef struct mp_nvml_calls {
    int         (*init)(void);
    int         (*shutdown)(void);
    const char *(*error)(int code);
    int         (*count)(unsigned *cards);
    int         (*card)(unsigned index, mp_nvml_card *out);
    int         (*name)(mp_nvml_card, char *text, unsigned room);
    int         (*uuid)(mp_nvml_card, char *text, unsigned room);
    int         (*pci)(mp_nvml_card, void *pci_info);
    int         (*memory)(mp_nvml_card, void *memory);
    int         (*processes)(mp_nvml_card, unsigned *n, void *infos);
    int         (*temperature)(mp_nvml_card, int sensor, unsigned *celsius);
    int         (*temperature_v)(mp_nvml_card, void *temperature);
    int         (*power)(mp_nvml_card, unsigned *milliwatts);
    int         (*power_limit)(mp_nvml_card, unsigned *milliwatts);
    int         (*energy)(mp_nvml_card, unsigned long long *millijoules);
    int         (*utilization)(mp_nvml_card, unsigned percent[2]);
    int         (*clock)(mp_nvml_card, int which, unsigned *mhz);
    int         (*max_clock)(mp_nvml_card, int which, unsigned *mhz);
    int         (*throttle)(mp_nvml_card, unsigned long long *reasons);
} mp_nvml_calls;

typedef struct mp_nvml {
    void         *library;                 /* NULL: closed */
    int           cards;
    mp_nvml_calls calls;
} mp_nvml;

/* Opens the driver's library and starts it. That takes time (most where no one keeps the driver awake) and memory of this process; how much is not measured
 * yet. Do not use it across fork().
 * Errors: MP_E_USAGE: there is no such library here, the usual machine; MP_E_FAILED: it is here but does not start, and why. Threads: any. */
mp_err mp_nvml_open(mp_nvml *out);
void   mp_nvml_close(mp_nvml *nvml);       /* a closed one too */

/* Card i of nvml->cards (0 on). Never fails: what the card does not give is not known. Threads: any number at once, as of the two below. */
void   mp_nvml_read(const mp_nvml *nvml, int i, mp_gpu *out);
double mp_nvml_energy_j(const mp_nvml *nvml, int i); /* only mp_gpu.energy_j */
double mp_nvml_power_w(const mp_nvml *nvml, int i);
#endif
