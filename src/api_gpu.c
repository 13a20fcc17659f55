/* NVIDIA cards, of moped.h. */
#include <assert.h>
#include <string.h>

#include "base/nvml.h"
#include "moped.h"

static_assert((int)MOPED_THROTTLE_IDLE == (int)MP_THROTTLE_IDLE && (int)MOPED_THROTTLE_DISPLAY == (int)MP_THROTTLE_DISPLAY
                  && (int)MOPED_THROTTLE_OTHER == (int)MP_THROTTLE_OTHER && 1 << MP_THROTTLE_BITS == MOPED_THROTTLE_OTHER << 1,
              "reasons are the library's own");

const char *moped_throttle_name(int bit)
{
    return mp_throttle_name(bit);
}

static void copy(const mp_gpu *g, moped_gpu *out)
{
    static_assert(sizeof out->name == sizeof g->name && sizeof out->uuid == sizeof g->uuid && sizeof out->pci == sizeof g->pci
                      && sizeof out->fault == sizeof g->fault, "texts are as long");
    memcpy(out->name, g->name, sizeof(out->name));
    memcpy(out->uuid, g->uuid, sizeof(out->uuid));
    memcpy(out->pci, g->pci, sizeof(out->pci));
    memcpy(out->fault, g->fault, sizeof(out->fault));
    out->index = g->index;
    out->total_bytes = g->total_bytes;
    out->used_bytes = g->used_bytes;
    out->free_bytes = g->free_bytes;
    out->process_bytes = g->process_bytes;
    out->temperature_c = g->temperature_c;
    out->power_w = g->power_w;
    out->power_limit_w = g->power_limit_w;
    out->energy_j = g->energy_j;
    out->busy_percent = g->busy_percent;
    out->memory_busy_percent = g->memory_busy_percent;
    out->clock_mhz = g->clock_mhz;
    out->max_clock_mhz = g->max_clock_mhz;
    out->memory_clock_mhz = g->memory_clock_mhz;
    out->throttle_known = g->throttle_known;
    out->throttle = g->throttle;
}

moped_status moped_gpu_read(int i, moped_gpu *out)
{
    mp_nvml nvml;
    mp_gpu gpu;
    *out = (moped_gpu){ 0 };
    mp_err err = mp_nvml_open(&nvml);
    if (err)
        return err;
    if (i >= 0 && i < nvml.cards) {
        mp_nvml_read(&nvml, i, &gpu);
        copy(&gpu, out);
    } else {
        err = mp_fail(MP_E_USAGE, "there is no GPU %d: this machine has %d", i, nvml.cards);
    }
    mp_nvml_close(&nvml);
    return err;
}
