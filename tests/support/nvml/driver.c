/* A made-up libnvidia-ml.so.1 for machines without a GPU, built three times (tests/CMakeLists.txt):
 *
 *   new    every function that moped asks for
 *   old    what a driver of a card before Volta had: no energy, no list of processes, older names
 *   bare   only what lists cards
 *
 * Found by LD_LIBRARY_PATH (a child process) or because a test has loaded it before. FAKE_NVML in the environment is its script, words with spaces between:
 *   cards=N (1)    code=N of nvmlInit (0)    nvmlDeviceGetX=N or nvmlDeviceGetX@I=N: the code that this function returns, for card I only
 *   pid=N          the process that uses the card (this one)
 *   throttle=N     bits (1)
 *   energy=N       millijoules that each look at the counter finds more (5000)
 *   ramp=N         milliwatts that each look at the power finds more (0)
 * Signatures: NVML API reference. Written for moped's tests; the figures are its own. */
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { BAD_ARGUMENT = 2, TOO_SMALL = 7, CARDS_MOST = 8 };

static int cards[CARDS_MOST]; /* a handle is the address of one */
static atomic_int started;

static long script(const char *word, long otherwise) {
    const char *at = getenv("FAKE_NVML");
    size_t n = strlen(word);
    while (at && (at = strstr(at, word)) != NULL && at[n] != '=') at += n;
    return at ? atol(at + n + 1) : otherwise;
}

static int index_of(const void *card) { return (int)((const int *)card - cards); }

/* The code that the script has for a function of a card; an error of its own when nobody has started the library. */
static int code_of(const char *function, const void *card) {
    char word[96];
    snprintf(word, sizeof word, "%s@%d", function, card ? index_of(card) : -1);
    if (atomic_load(&started) <= 0) return 1;
    return (int)script(word, script(function, 0));
}

/* Each is declared and then defined, as -Wmissing-prototypes asks. */
#define DRIVER(name, ...) EXPORT int name(__VA_ARGS__); EXPORT int name(__VA_ARGS__)
#define REFUSE(card) do { int code_ = code_of(__func__, card); if (code_) return code_; } while (0)

static int count_cards(unsigned *n) { *n = (unsigned)script("cards", 1); return 0; }

static int find_card(unsigned i, void **card) {
    if (i >= (unsigned)script("cards", 1)) return BAD_ARGUMENT;
    *card = &cards[i];
    return 0;
}

DRIVER(nvmlShutdown, void) { return atomic_load(&started) > 0 ? atomic_fetch_sub(&started, 1), 0 : 1; } /* 1: it was not started */

static int start(void) {
    int code = (int)script("code", 0);
    if (code == 0) atomic_fetch_add(&started, 1);
    return code;
}

/* DRIVER_AGE: 0 bare, 1 old, 2 new */
#if DRIVER_AGE > 0
EXPORT const char *nvmlErrorString(int code);
EXPORT const char *nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : code == 15 ? "GPU is lost" : "Made-up Error"; }

DRIVER(nvmlInit_v2, void) { return start(); }
DRIVER(nvmlDeviceGetCount_v2, unsigned *n) { REFUSE(NULL); return count_cards(n); }
DRIVER(nvmlDeviceGetHandleByIndex_v2, unsigned i, void **card) {
    if (i < CARDS_MOST) REFUSE(&cards[i]);
    return find_card(i, card);
}

DRIVER(nvmlDeviceGetName, void *card, char *text, unsigned room) {
    REFUSE(card);
    return snprintf(text, room, "NVIDIA Fake %d", index_of(card)) < (int)room ? 0 : TOO_SMALL;
}

DRIVER(nvmlDeviceGetUUID, void *card, char *text, unsigned room) {
    REFUSE(card);
    return snprintf(text, room, "GPU-00000000-fake-%04d", index_of(card)) < (int)room ? 0 : TOO_SMALL;
}

DRIVER(nvmlDeviceGetMemoryInfo, void *card, unsigned long long memory[3]) {
    REFUSE(card);
    memory[0] = 16ull << 30; /* total, free, used */
    memory[1] = (11ull << 30) - (unsigned long long)index_of(card);
    memory[2] = (5ull << 30) + (unsigned long long)index_of(card);
    return 0;
}

DRIVER(nvmlDeviceGetTemperature, void *card, int sensor, unsigned *celsius) {
    REFUSE(card);
    *celsius = 60u + (unsigned)index_of(card);
    return sensor == 0 ? 0 : BAD_ARGUMENT;
}

DRIVER(nvmlDeviceGetPowerUsage, void *card, unsigned *milliwatts) {
    static atomic_uint looks[CARDS_MOST];
    REFUSE(card);
    *milliwatts = 125500 + (unsigned)script("ramp", 0) * atomic_fetch_add(&looks[index_of(card)], 1);
    return 0;
}

DRIVER(nvmlDeviceGetUtilizationRates, void *card, unsigned percent[2]) { REFUSE(card); percent[0] = 97; percent[1] = 45; return 0; }
DRIVER(nvmlDeviceGetClockInfo, void *card, int which, unsigned *mhz) { REFUSE(card); *mhz = which == 2 ? 5001 : which == 1 ? 1410 : 1; return 0; }
DRIVER(nvmlDeviceGetMaxClockInfo, void *card, int which, unsigned *mhz) { REFUSE(card); *mhz = which == 1 ? 1980 : 1; return 0; }

static int bits(unsigned long long *out) { *out = (unsigned long long)script("throttle", 1); return 0; }
#endif

#if DRIVER_AGE == 1
DRIVER(nvmlDeviceGetPowerManagementLimit, void *card, unsigned *milliwatts) { REFUSE(card); *milliwatts = 180000; return 0; }
DRIVER(nvmlDeviceGetCurrentClocksThrottleReasons, void *card, unsigned long long *out) { REFUSE(card); return bits(out); }
#endif

#if DRIVER_AGE == 2
struct pci { char old_id[16]; unsigned domain, bus, device, device_id, subsystem_id; char id[32]; };
struct process { unsigned pid; unsigned long long bytes; unsigned gpu_instance, compute_instance; };
struct temperature { unsigned version; int sensor, celsius; };

DRIVER(nvmlDeviceGetPciInfo_v3, void *card, struct pci *out) {
    REFUSE(card);
    *out = (struct pci){.domain = 0, .bus = 0x3b + (unsigned)index_of(card), .device = 0, .id = "00000000:3B:00.0"};
    return 0;
}

/* A neighbour, this process in two parts of the card, and one whose bytes are not known. */
DRIVER(nvmlDeviceGetComputeRunningProcesses_v3, void *card, unsigned *n, struct process *out) {
    unsigned self = (unsigned)script("pid", getpid());
    REFUSE(card);
    if (*n < 4) return *n = 4, TOO_SMALL;
    *n = 4;
    out[0] = (struct process){1, 1ull << 30, ~0u, ~0u};
    out[1] = (struct process){self, 300ull << 20, 0, 0};
    out[2] = (struct process){self, 200ull << 20, 1, 0};
    out[3] = (struct process){self, ~0ull, 2, 0};
    return 0;
}

DRIVER(nvmlDeviceGetTemperatureV, void *card, struct temperature *t) {
    REFUSE(card);
    if (t->version != (sizeof *t | 1u << 24) || t->sensor != 0) return 25;
    t->celsius = 70 + index_of(card);
    return 0;
}

DRIVER(nvmlDeviceGetEnforcedPowerLimit, void *card, unsigned *milliwatts) { REFUSE(card); *milliwatts = 200000; return 0; }
DRIVER(nvmlDeviceGetCurrentClocksEventReasons, void *card, unsigned long long *out) { REFUSE(card); return bits(out); }

DRIVER(nvmlDeviceGetTotalEnergyConsumption, void *card, unsigned long long *millijoules) {
    static atomic_ullong looks[CARDS_MOST];
    REFUSE(card);
    *millijoules = 1000000 + (unsigned long long)script("energy", 5000) * atomic_fetch_add(&looks[index_of(card)], 1);
    return 0;
}
#endif

#if DRIVER_AGE == 0 /* the names of long ago */
DRIVER(nvmlInit, void) { return start(); }
DRIVER(nvmlDeviceGetCount, unsigned *n) { REFUSE(NULL); return count_cards(n); }
DRIVER(nvmlDeviceGetHandleByIndex, unsigned i, void **card) { REFUSE(NULL); return find_card(i, card); }
#endif
