/* Readings of NVIDIA cards, from a made-up driver (support/nvml). A test loads its file first, so that opening libnvidia-ml.so.1 finds that one, whatever the
 * machine has: the loader goes by soname. */
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>

#include "base/nvml.h"
#include "test.h"

static void *preload(const char *age) {
    char path[512];
    snprintf(path, sizeof path, FAKE_NVML_DIR "/%s/libnvidia-ml.so.1", age);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

/* Every start had its shutdown; then the library leaves. */
static void unload(void *library) {
    int (*shutdown)(void);
    void *address = dlsym(library, "nvmlShutdown");
    memcpy(&shutdown, &address, sizeof address);
    CHECK_EQ(shutdown(), 1);
    dlclose(library);
}

/* The readings that are not known, a bit for each. */
static unsigned unknown(const mp_gpu *g) {
    const double reals[] = {g->temperature_c, g->power_w, g->power_limit_w, g->energy_j, g->busy_percent, g->memory_busy_percent, g->clock_mhz, g->max_clock_mhz,
                            g->memory_clock_mhz};
    const int64_t bytes[] = {g->total_bytes, g->used_bytes, g->free_bytes, g->process_bytes};
    const char *const texts[] = {g->name, g->uuid, g->pci};
    unsigned bits = 0;
    for (int i = 0; i < 9; i++) bits |= (unsigned)(isnan(reals[i]) != 0) << i;
    for (int i = 0; i < 4; i++) bits |= (unsigned)(bytes[i] == -1) << (9 + i);
    for (int i = 0; i < 3; i++) bits |= (unsigned)(texts[i][0] == '\0') << (13 + i);
    return bits | (unsigned)!g->throttle_known << 16;
}
enum { CELSIUS = 1, WATTS = 2, LIMIT = 4, ENERGY = 8, BUSY = 0x30, CLOCKS = 0x140, MAX_CLOCK = 0x80, MEMORY = 0xe00, PROCESS = 0x1000, NAME = 0x2000, UUID = 0x4000,
       PCI = 0x8000, THROTTLE = 0x10000, EVERYTHING = 0x1ffff };

/* Card i of a driver, opened for it. */
static mp_gpu reading(const char *script, int i) {
    mp_nvml nvml;
    mp_gpu gpu = {0};
    setenv("FAKE_NVML", script, 1);
    CHECK_OK(mp_nvml_open(&nvml));
    if (nvml.library) mp_nvml_read(&nvml, i, &gpu);
    mp_nvml_close(&nvml);
    return gpu;
}

TEST(readings_have_their_units) {
    void *library = preload("new");
    REQUIRE(library != NULL);
    mp_gpu g = reading("cards=2 throttle=36", 1);
    CHECK_EQ(unknown(&g), 0);
    CHECK_EQ(g.index, 1);
    CHECK_STR(g.name, "NVIDIA Fake 1");
    CHECK_STR(g.uuid, "GPU-00000000-fake-0001");
    CHECK_STR(g.pci, "0000:3c:00.0");
    CHECK_STR(g.fault, "");
    CHECK_EQ(g.total_bytes, 16ll << 30);
    CHECK_EQ(g.free_bytes, (11ll << 30) - 1);
    CHECK_EQ(g.used_bytes, (5ll << 30) + 1);
    CHECK_EQ(g.process_bytes, 500ll << 20); /* both parts, not the neighbour's nor the one of which no bytes are known */
    CHECK_NEAR(g.temperature_c, 71, 0);
    CHECK_NEAR(g.power_w, 125.5, 1e-9);
    CHECK_NEAR(g.power_limit_w, 200, 1e-9);
    CHECK_NEAR(g.energy_j, 1000, 1e-9);
    CHECK_NEAR(g.busy_percent, 97, 0);
    CHECK_NEAR(g.memory_busy_percent, 45, 0);
    CHECK_NEAR(g.clock_mhz, 1410, 0);
    CHECK_NEAR(g.max_clock_mhz, 1980, 0);
    CHECK_NEAR(g.memory_clock_mhz, 5001, 0);
    CHECK_EQ(g.throttle, MP_THROTTLE_POWER | MP_THROTTLE_THERMAL);
    g = reading("cards=2", 0);
    CHECK_STR(g.pci, "0000:3b:00.0");
    CHECK_NEAR(g.temperature_c, 70, 0);
    CHECK_EQ(g.throttle, MP_THROTTLE_IDLE);
    unload(library);
}

TEST(what_the_driver_lacks_is_not_known) {
    void *library = preload("old");
    REQUIRE(library != NULL);
    mp_gpu g = reading("throttle=8", 0);
    CHECK_EQ(unknown(&g), ENERGY | PROCESS | PCI);
    CHECK_NEAR(g.temperature_c, 60, 0);    /* by the older call */
    CHECK_NEAR(g.power_limit_w, 180, 1e-9);
    CHECK_EQ(g.throttle, MP_THROTTLE_HARDWARE);
    unload(library);
    library = preload("bare");
    REQUIRE(library != NULL);
    g = reading("cards=3", 2);
    CHECK_EQ(unknown(&g), EVERYTHING);
    CHECK_EQ(g.index, 2);
    CHECK_STR(g.fault, "");
    unload(library);
}

/* Each function that refuses costs its own reading, of its own card. */
TEST(what_a_card_refuses_is_not_known) {
    static const struct { const char *function; unsigned lost; } CASES[] = {
        {"nvmlDeviceGetName", NAME}, {"nvmlDeviceGetUUID", UUID}, {"nvmlDeviceGetPciInfo_v3", PCI}, {"nvmlDeviceGetMemoryInfo", MEMORY},
        {"nvmlDeviceGetComputeRunningProcesses_v3", PROCESS}, {"nvmlDeviceGetTemperature", 0}, {"nvmlDeviceGetTemperatureV", 0},
        {"nvmlDeviceGetPowerUsage", WATTS}, {"nvmlDeviceGetEnforcedPowerLimit", LIMIT}, {"nvmlDeviceGetTotalEnergyConsumption", ENERGY},
        {"nvmlDeviceGetUtilizationRates", BUSY}, {"nvmlDeviceGetClockInfo", CLOCKS}, {"nvmlDeviceGetMaxClockInfo", MAX_CLOCK},
        {"nvmlDeviceGetCurrentClocksEventReasons", THROTTLE}};
    void *library = preload("new");
    char script[128];
    REQUIRE(library != NULL);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        snprintf(script, sizeof script, "cards=2 %s@1=3", CASES[i].function);
        mp_gpu whole = reading(script, 0), partly = reading(script, 1);
        CHECK_EQ(unknown(&whole), 0);
        if (unknown(&partly) != CASES[i].lost) printf("  %s:\n", CASES[i].function);
        CHECK_EQ(unknown(&partly), CASES[i].lost);
        CHECK_STR(partly.fault, "");
        CHECK_EQ(partly.throttle, CASES[i].lost == THROTTLE ? 0 : MP_THROTTLE_IDLE);
    }
    mp_gpu g = reading("nvmlDeviceGetTemperatureV=3", 0);
    CHECK_NEAR(g.temperature_c, 60, 0);
    g = reading("nvmlDeviceGetTemperatureV=3 nvmlDeviceGetTemperature=3", 0);
    CHECK_EQ(unknown(&g), CELSIUS);
    g = reading("pid=1", 0); /* the driver counts processes otherwise, as it does for a container */
    CHECK_EQ(unknown(&g), g.process_bytes == -1 ? PROCESS : 0);
    CHECK(getpid() == 1 || g.process_bytes == -1);
    unload(library);
}

TEST(a_card_that_does_not_answer_says_why) {
    void *library = preload("new");
    mp_nvml nvml;
    REQUIRE(library != NULL);
    mp_gpu g = reading("cards=2 nvmlDeviceGetHandleByIndex_v2@1=15", 1);
    CHECK_EQ(unknown(&g), EVERYTHING);
    CHECK_EQ(g.index, 1);
    CHECK_STR(g.fault, "GPU is lost (NVML error 15)");
    g = reading("cards=2 nvmlDeviceGetHandleByIndex_v2@1=15", 0);
    CHECK_EQ(unknown(&g), 0);
    REQUIRE(mp_nvml_open(&nvml) == MP_OK);
    CHECK_EQ(nvml.cards, 2);
    CHECK_NEAR(mp_nvml_power_w(&nvml, 0), 125.5, 1e-9);
    CHECK_NEAR(mp_nvml_energy_j(&nvml, 0), 1005, 1e-9); /* 5 more than at the first look */
    CHECK(isnan(mp_nvml_power_w(&nvml, 1)) && isnan(mp_nvml_energy_j(&nvml, 1)));
    mp_nvml_close(&nvml);
    CHECK(nvml.library == NULL);
    mp_nvml_close(&nvml);
    unload(library);
}

TEST(a_driver_that_does_not_start_is_an_error) {
    static const struct { const char *script, *sentence; } CASES[] = {
        {"code=9", "the NVIDIA driver does not start: Driver Not Loaded (NVML error 9)"},
        {"nvmlDeviceGetCount_v2=2", "the NVIDIA driver does not say how many cards there are: Made-up Error (NVML error 2)"}};
    void *library = preload("new");
    mp_nvml nvml;
    REQUIRE(library != NULL);
    for (int i = 0; i < 2; i++) {
        setenv("FAKE_NVML", CASES[i].script, 1);
        CHECK_EQ(mp_nvml_open(&nvml), MP_E_FAILED);
        CHECK_STR(mp_err_text(), CASES[i].sentence);
        CHECK(nvml.library == NULL && nvml.cards == 0);
        mp_nvml_close(&nvml);
    }
    setenv("FAKE_NVML", "cards=0", 1);
    CHECK_OK(mp_nvml_open(&nvml));
    CHECK_EQ(nvml.cards, 0);
    mp_nvml_close(&nvml);
    unload(library);
    library = preload("bare"); /* has no words for its codes */
    REQUIRE(library != NULL);
    setenv("FAKE_NVML", "code=999", 1);
    CHECK_EQ(mp_nvml_open(&nvml), MP_E_FAILED);
    CHECK_STR(mp_err_text(), "the NVIDIA driver does not start: it does not say why (NVML error 999)");
    unload(library);
}

TEST(no_driver_is_an_error_of_its_own) {
    mp_nvml nvml;
    void *real = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (real) {
        dlclose(real);
        SKIP("this machine has a driver of NVIDIA's");
    }
    CHECK_EQ(mp_nvml_open(&nvml), MP_E_USAGE);
    CHECK(strstr(mp_err_text(), "there is no NVIDIA driver here") != NULL);
    CHECK(nvml.library == NULL && nvml.cards == 0);
    mp_nvml_close(&nvml);
}

TEST(reasons_have_words) {
    void *library = preload("new");
    REQUIRE(library != NULL);
    mp_gpu g = reading("throttle=4607", 0); /* all nine that are known, and bit 12 */
    CHECK_EQ(g.throttle, (1 << MP_THROTTLE_BITS) - 1);
    g = reading("throttle=4096", 0);
    CHECK_EQ(g.throttle, MP_THROTTLE_OTHER);
    CHECK_STR(mp_throttle_name(0), "idle");
    CHECK_STR(mp_throttle_name(2), "power limit");
    CHECK_STR(mp_throttle_name(5), "temperature limit");
    CHECK_STR(mp_throttle_name(9), "other");
    CHECK(mp_throttle_name(10) == NULL && mp_throttle_name(-1) == NULL);
    unload(library);
}

enum { THREADS = 4, READS = 100 };

static void *read_on(void *user) {
    const mp_nvml *nvml = user;
    mp_gpu g;
    long bad = 0;
    for (int r = 0; r < READS; r++) {
        mp_nvml own; /* one that comes and goes beside it */
        if (r % 10 == 0 && mp_nvml_open(&own) == MP_OK) mp_nvml_close(&own);
        mp_nvml_read(nvml, r % 2, &g);
        bad += unknown(&g) != 0 || g.temperature_c != 70 + r % 2;
    }
    return (void *)bad;
}

TEST(threads_read_at_once) {
    void *library = preload("new");
    mp_nvml nvml;
    pthread_t threads[THREADS];
    REQUIRE(library != NULL);
    setenv("FAKE_NVML", "cards=2", 1);
    REQUIRE(mp_nvml_open(&nvml) == MP_OK);
    for (int t = 0; t < THREADS; t++) REQUIRE(pthread_create(&threads[t], NULL, read_on, &nvml) == 0);
    for (int t = 0; t < THREADS; t++) {
        void *bad;
        pthread_join(threads[t], &bad);
        CHECK(bad == NULL);
    }
    mp_nvml_close(&nvml);
    unload(library);
}

int main(void) {
    RUN(no_driver_is_an_error_of_its_own);
    RUN(readings_have_their_units);
    RUN(what_the_driver_lacks_is_not_known);
    RUN(what_a_card_refuses_is_not_known);
    RUN(a_card_that_does_not_answer_says_why);
    RUN(a_driver_that_does_not_start_is_an_error);
    RUN(reasons_have_words);
    RUN(threads_read_at_once);
    return test_done();
}
