/* The driver's structs and numbers, and who asks for what. Each function that a driver lacks, and each that refuses, costs its own reading only. */
#include "base/nvml.h"

#include <assert.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SENSOR_CHIP = 0, CLOCK_SM = 1, CLOCK_MEMORY = 2, PROCESSES = 256 };
static const unsigned long long NOT_AVAILABLE = ~0ull; /* NVML_VALUE_NOT_AVAILABLE, -1 */

typedef struct nvml_memory { unsigned long long total, free, used; } nvml_memory;
typedef struct nvml_process { unsigned pid; unsigned long long bytes; unsigned gpu_instance, compute_instance; } nvml_process;
typedef struct nvml_temperature { unsigned version; int sensor, celsius; } nvml_temperature;
typedef struct nvml_pci { char old_id[16]; unsigned domain, bus, device, device_id, subsystem_id; char id[32]; } nvml_pci;
static_assert(sizeof(nvml_process) == 24 && sizeof(nvml_temperature) == 12 && sizeof(nvml_pci) == 68, "as the driver lays them out");

const char *mp_throttle_name(int bit) {
    static const char *const NAMES[] = {"idle", "clock setting", "power limit", "hardware slowdown", "sync boost", "temperature limit", "hardware thermal slowdown",
                                        "power brake", "display clock setting", "other"};
    static_assert(sizeof NAMES / sizeof *NAMES == MP_THROTTLE_BITS, "a word for each bit");
    return bit >= 0 && bit < MP_THROTTLE_BITS ? NAMES[bit] : NULL;
}

/* The first of the names that the library has, a NULL at their end. */
static void *find(void *library, const char *const names[3]) {
    void *address = NULL;
    for (int i = 0; i < 3 && names[i] && !address; i++) address = dlsym(library, names[i]);
    return address;
}

static void load(void *library, mp_nvml_calls *out) {
    const struct { void *slot; const char *names[3]; } WANTED[] = {
        {&out->init, {"nvmlInit_v2", "nvmlInit"}}, {&out->shutdown, {"nvmlShutdown"}}, {&out->error, {"nvmlErrorString"}},
        {&out->count, {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"}}, {&out->card, {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"}},
        {&out->name, {"nvmlDeviceGetName"}}, {&out->uuid, {"nvmlDeviceGetUUID"}}, {&out->pci, {"nvmlDeviceGetPciInfo_v3"}},
        {&out->memory, {"nvmlDeviceGetMemoryInfo"}}, {&out->processes, {"nvmlDeviceGetComputeRunningProcesses_v3"}},
        {&out->temperature, {"nvmlDeviceGetTemperature"}}, {&out->temperature_v, {"nvmlDeviceGetTemperatureV"}},
        {&out->power, {"nvmlDeviceGetPowerUsage"}}, {&out->power_limit, {"nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetPowerManagementLimit"}},
        {&out->energy, {"nvmlDeviceGetTotalEnergyConsumption"}}, {&out->utilization, {"nvmlDeviceGetUtilizationRates"}},
        {&out->clock, {"nvmlDeviceGetClockInfo"}}, {&out->max_clock, {"nvmlDeviceGetMaxClockInfo"}},
        {&out->throttle, {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"}}};
    static_assert(sizeof WANTED / sizeof *WANTED == sizeof(mp_nvml_calls) / sizeof(void *), "a name for each slot");
    for (size_t i = 0; i < sizeof WANTED / sizeof *WANTED; i++) {
        void *address = find(library, WANTED[i].names);
        memcpy(WANTED[i].slot, &address, sizeof address); /* ISO C has no cast from an object pointer to a function pointer */
    }
}

static const char *reason(const mp_nvml_calls *calls, int code) {
    const char *text = calls->error ? calls->error(code) : NULL;
    return text ? text : "it does not say why";
}

mp_err mp_nvml_open(mp_nvml *out) {
    unsigned n = 0;
    *out = (mp_nvml){0};
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) return mp_fail(MP_E_USAGE, "there is no NVIDIA driver here: %s", dlerror());
    mp_nvml_calls *c = &out->calls;
    load(library, c);
    mp_err e = MP_OK;
    if (!c->init || !c->shutdown || !c->count || !c->card)
        e = mp_fail(MP_E_FAILED, "the NVIDIA driver's library (libnvidia-ml.so.1) is not one that moped knows");
    int code = e ? 0 : c->init();
    if (code) e = mp_fail(MP_E_FAILED, "the NVIDIA driver does not start: %s (NVML error %d)", reason(c, code), code);
    if (!e && (code = c->count(&n)) != 0) {
        e = mp_fail(MP_E_FAILED, "the NVIDIA driver does not say how many cards there are: %s (NVML error %d)", reason(c, code), code);
        c->shutdown();
    }
    out->library = library;
    out->cards = (int)n;
    if (!e) return MP_OK;
    dlclose(library);
    *out = (mp_nvml){0};
    return e;
}

void mp_nvml_close(mp_nvml *nvml) {
    if (!nvml->library) return;
    nvml->calls.shutdown();
    dlclose(nvml->library);
    *nvml = (mp_nvml){0};
}

/* ---- readings ---- */
void mp_gpu_unknown(int index, mp_gpu *out) {
    *out = (mp_gpu){.index = index, .total_bytes = -1, .used_bytes = -1, .free_bytes = -1, .process_bytes = -1, .temperature_c = NAN, .power_w = NAN,
                    .power_limit_w = NAN, .energy_j = NAN, .busy_percent = NAN, .memory_busy_percent = NAN, .clock_mhz = NAN, .max_clock_mhz = NAN,
                    .memory_clock_mhz = NAN};
}

static void read_names(const mp_nvml_calls *c, mp_nvml_card card, mp_gpu *out) {
    nvml_pci pci = {0};
    if (!c->name || c->name(card, out->name, sizeof out->name) != 0) out->name[0] = '\0';
    if (!c->uuid || c->uuid(card, out->uuid, sizeof out->uuid) != 0) out->uuid[0] = '\0';
    if (c->pci && c->pci(card, &pci) == 0) snprintf(out->pci, sizeof out->pci, "%04x:%02x:%02x.0", pci.domain, pci.bus & 0xff, pci.device & 0xff);
}

static int64_t process_bytes(const mp_nvml_calls *c, mp_nvml_card card) {
    nvml_process list[PROCESSES];
    unsigned n = PROCESSES, self = (unsigned)getpid();
    int64_t sum = -1;
    if (!c->processes || c->processes(card, &n, list) != 0) return -1;
    for (unsigned i = 0; i < n && i < PROCESSES; i++) {
        if (list[i].pid != self || list[i].bytes == NOT_AVAILABLE) continue;
        sum = (sum < 0 ? 0 : sum) + (int64_t)list[i].bytes; /* once for each part of a divided card */
    }
    return sum;
}

static void read_memory(const mp_nvml_calls *c, mp_nvml_card card, mp_gpu *out) {
    nvml_memory memory = {0};
    out->process_bytes = process_bytes(c, card);
    if (!c->memory || c->memory(card, &memory) != 0) return;
    out->total_bytes = (int64_t)memory.total;
    out->used_bytes = (int64_t)memory.used;
    out->free_bytes = (int64_t)memory.free;
}

/* The newer call first: the older one is on its way out, and knows no frost. */
static double temperature(const mp_nvml_calls *c, mp_nvml_card card) {
    nvml_temperature t = {.version = (unsigned)sizeof t | 1u << 24, .sensor = SENSOR_CHIP};
    unsigned celsius = 0;
    if (c->temperature_v && c->temperature_v(card, &t) == 0) return t.celsius;
    return c->temperature && c->temperature(card, SENSOR_CHIP, &celsius) == 0 ? (double)celsius : NAN;
}

static double thousandth(int (*call)(mp_nvml_card, unsigned *), mp_nvml_card card) {
    unsigned x = 0;
    return call && call(card, &x) == 0 ? x * 1e-3 : NAN;
}

static double clock_of(int (*call)(mp_nvml_card, int, unsigned *), mp_nvml_card card, int which) {
    unsigned mhz = 0;
    return call && call(card, which, &mhz) == 0 ? (double)mhz : NAN;
}

static double energy(const mp_nvml_calls *c, mp_nvml_card card) {
    unsigned long long mj = 0;
    return c->energy && c->energy(card, &mj) == 0 ? (double)mj * 1e-3 : NAN;
}

static void read_work(const mp_nvml_calls *c, mp_nvml_card card, mp_gpu *out) {
    unsigned percent[2] = {0};
    unsigned long long reasons = 0, named = MP_THROTTLE_OTHER - 1;
    out->temperature_c = temperature(c, card);
    out->power_w = thousandth(c->power, card);
    out->power_limit_w = thousandth(c->power_limit, card);
    out->energy_j = energy(c, card);
    out->clock_mhz = clock_of(c->clock, card, CLOCK_SM);
    out->max_clock_mhz = clock_of(c->max_clock, card, CLOCK_SM);
    out->memory_clock_mhz = clock_of(c->clock, card, CLOCK_MEMORY);
    if (c->utilization && c->utilization(card, percent) == 0) out->busy_percent = percent[0], out->memory_busy_percent = percent[1];
    out->throttle_known = c->throttle && c->throttle(card, &reasons) == 0;
    if (out->throttle_known) out->throttle = (uint32_t)(reasons & named) | (reasons & ~named ? MP_THROTTLE_OTHER : 0);
}

/* The card, or NULL and the code. */
static mp_nvml_card find_card(const mp_nvml *nvml, int i, int *code) {
    mp_nvml_card card = NULL;
    *code = nvml->calls.card((unsigned)i, &card);
    return *code ? NULL : card;
}

void mp_nvml_read(const mp_nvml *nvml, int i, mp_gpu *out) {
    int code;
    mp_nvml_card card = find_card(nvml, i, &code);
    mp_gpu_unknown(i, out);
    if (code) {
        snprintf(out->fault, sizeof out->fault, "%s (NVML error %d)", reason(&nvml->calls, code), code);
        return;
    }
    read_names(&nvml->calls, card, out);
    read_memory(&nvml->calls, card, out);
    read_work(&nvml->calls, card, out);
}

double mp_nvml_energy_j(const mp_nvml *nvml, int i) {
    int code;
    mp_nvml_card card = find_card(nvml, i, &code);
    return code ? NAN : energy(&nvml->calls, card);
}

double mp_nvml_power_w(const mp_nvml *nvml, int i) {
    int code;
    mp_nvml_card card = find_card(nvml, i, &code);
    return code ? NAN : thousandth(nvml->calls.power, card);
}
