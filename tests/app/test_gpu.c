/* What doctor, bench and the library say of NVIDIA cards, told by a made-up driver (support/nvml): found by LD_LIBRARY_PATH where the program is run, and
 * loaded beforehand where the library is called. */
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <moped.h>

#include "app/doctor/machine.h"
#include "app/energy.h"
#include "app/json.h"
#include "support/cli.h"
#include "test.h"

static const char BENCH[] = "bench|--like|tiny-qwen3moe@2|--type|Q8_0|-p|8|-n|4|-r|3|--ram|1G|-t|2";
enum { DECODED = 3 * (4 + 1), PREFILLED = 3 * 8 };

/* Until `done`, the program finds this driver. */
static void driver(const char *age, const char *script) {
    setenv("LD_LIBRARY_PATH", text(FAKE_NVML_DIR "/%s", age), 1);
    setenv("FAKE_NVML", script, 1);
}

static void done(void) {
    unsetenv("LD_LIBRARY_PATH");
}

static void *preload(const char *age, const char *script) {
    setenv("FAKE_NVML", script, 1);
    return dlopen(text(FAKE_NVML_DIR "/%s/libnvidia-ml.so.1", age), RTLD_NOW | RTLD_LOCAL);
}

static double real_at(const json_t *o, const char *path) {
    return json_number_value(at_path(o, path));
}

static const char *word_at(const json_t *o, const char *path, size_t i) {
    return json_string_value(json_array_get(at_path(o, path), i));
}

/* A file that a disk can be measured with. */
static const char *large_file(void) {
    static char path[128];
    snprintf(path, sizeof path, "%s/large", cli_folder());
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    if (fd >= 0 && ftruncate(fd, 160 << 20) != 0) printf("  no large file\n");
    if (fd >= 0) close(fd);
    return path;
}

TEST(doctor_shows_two_cards) {
    driver("new", "cards=2 throttle=68 nvmlDeviceGetPowerUsage@1=3 nvmlDeviceGetCurrentClocksEventReasons@1=3 nvmlDeviceGetMemoryInfo@1=3");
    json_t *o = OBJECT(text("doctor|--quick|--json|-m|%s", large_file()), 0);
    done();
    const json_t *gpus = json_object_get(o, "gpus"), *a = json_array_get(gpus, 0), *b = json_array_get(gpus, 1);
    CHECK_EQ(json_array_size(gpus), 2);
    CHECK(!json_object_get(o, "gpu_fault"));
    CHECK_EQ(int_at(a, "index"), 0);
    CHECK_STR(json_string_value(at_path(a, "name")), "NVIDIA Fake 0");
    CHECK_STR(json_string_value(at_path(a, "uuid")), "GPU-00000000-fake-0000");
    CHECK_STR(json_string_value(at_path(a, "pci")), "0000:3b:00.0");
    CHECK(json_is_null(at_path(a, "fault")));
    CHECK_EQ(int_at(a, "total_bytes"), 16ll << 30);
    CHECK_EQ(int_at(a, "used_bytes"), 5ll << 30);
    CHECK_EQ(int_at(a, "free_bytes"), 11ll << 30);
    CHECK_EQ(int_at(a, "process_bytes"), 500ll << 20);
    CHECK_NEAR(real_at(a, "temperature_c"), 70, 0);
    CHECK_NEAR(real_at(a, "power_w"), 125.5, 1e-6);
    CHECK_NEAR(real_at(a, "power_limit_w"), 200, 1e-6);
    CHECK_NEAR(real_at(a, "energy_j"), 1000, 1e-6);
    CHECK_NEAR(real_at(a, "busy_percent"), 97, 0);
    CHECK_NEAR(real_at(a, "memory_busy_percent"), 45, 0);
    CHECK_NEAR(real_at(a, "clock_mhz"), 1410, 0);
    CHECK_NEAR(real_at(a, "max_clock_mhz"), 1980, 0);
    CHECK_NEAR(real_at(a, "memory_clock_mhz"), 5001, 0);
    CHECK_EQ(json_array_size(at_path(a, "throttle")), 2);
    CHECK_STR(word_at(a, "throttle", 0), "power limit");
    CHECK_STR(word_at(a, "throttle", 1), "hardware thermal slowdown");
    static const char *const UNKNOWN[] = {"power_w", "throttle", "total_bytes", "used_bytes", "free_bytes"};
    CHECK_EQ(int_at(b, "index"), 1);
    CHECK_NEAR(real_at(b, "temperature_c"), 71, 0);
    for (int i = 0; i < 5; i++) CHECK(json_is_null(at_path(b, UNKNOWN[i])));
    json_decref(o);
}

TEST(doctor_says_it_in_words) {
    driver("new", "cards=3 throttle=36 nvmlDeviceGetHandleByIndex_v2@1=15 nvmlDeviceGetTemperature@2=3 nvmlDeviceGetTemperatureV@2=3");
    proc_result r = moped(text("doctor|--quick|-m|%s", large_file()));
    done();
    CHECK_EQ(r.code, 0);
    static const char *const WORDS[] = {
        "\ngpu 0      NVIDIA Fake 0, 16G, 11G free, 500M used by this process, pci 0000:3b:00.0\n"
        "           70 °C, 126 W, power limit 200 W, busy 97 %, memory busy 45 %, clock 1410 MHz, at most 1980 MHz, memory clock 5001 MHz\n"
        "           clocks held down by: power limit, temperature limit\n",
        "\ngpu 1      NVIDIA GPU: does not answer: GPU is lost (NVML error 15)\ngpu 2      NVIDIA Fake 2, 16G",
        "\n           126 W, power limit 200 W, busy"};
    for (int i = 0; i < 3; i++) {
        if (!strstr(r.out, WORDS[i])) printf("  the output lacks \"%s\"\n", WORDS[i]);
        CHECK(strstr(r.out, WORDS[i]) != NULL);
    }
    proc_free(&r);
}

/* The same JSON without measuring anything. */
static json_t *machine_json(void) {
    app_machine *m = calloc(1, sizeof *m);
    json_t *o = NULL;
    if (m) app_gpu_list(m), o = app_machine_json(m);
    free(m);
    return o;
}

TEST(doctor_tells_a_broken_driver_from_none) {
    void *library = preload("new", "code=9");
    REQUIRE(library != NULL);
    json_t *o = machine_json();
    if (access("/proc/driver/nvidia/gpus", F_OK) != 0) CHECK_EQ(json_array_size(json_object_get(o, "gpus")), 0);
    CHECK_STR(json_string_value(json_object_get(o, "gpu_fault")), "the NVIDIA driver does not start: Driver Not Loaded (NVML error 9)");
    json_decref(o);
    dlclose(library);
    library = preload("bare", "cards=1");
    REQUIRE(library != NULL);
    o = machine_json();
    const json_t *card = json_array_get(json_object_get(o, "gpus"), 0);
    const char *key;
    json_t *value;
    CHECK_EQ(json_object_size(card), 19);
    json_object_foreach((json_t *)(uintptr_t)card, key, value) if (strcmp(key, "index") != 0) CHECK(json_is_null(value));
    json_decref(o);
    dlclose(library);
    o = machine_json();
    if (access("/proc/driver/nvidia", F_OK) != 0) CHECK(!json_object_get(o, "gpu_fault") && json_array_size(json_object_get(o, "gpus")) == 0);
    json_decref(o);
}

/* The list that one run of bench has of cards; o is the whole of what it printed. */
static const json_t *energy_of(const json_t *o) {
    return json_object_get(json_array_get(json_object_get(o, "runs"), 0), "energy");
}

TEST(bench_has_joules_of_each_counter) {
    driver("new", "cards=3 throttle=5 energy=6000 nvmlDeviceGetTotalEnergyConsumption@1=3 nvmlDeviceGetPowerUsage@1=3");
    json_t *o = OBJECT(text("%s|--json", BENCH), 0);
    done();
    const json_t *cards = energy_of(o);
    CHECK_EQ(json_array_size(cards), 2); /* of card 1 nothing is known */
    for (size_t i = 0; i < 2; i++) {
        const json_t *c = json_array_get(cards, i);
        CHECK_EQ(int_at(c, "index"), i == 0 ? 0 : 2);
        CHECK_STR(json_string_value(at_path(c, "energy_from")), "counter");
        CHECK_NEAR(real_at(c, "decode.joules"), 6, 1e-6); /* two looks at the counter for each phase */
        CHECK_NEAR(real_at(c, "prefill.joules"), 6, 1e-6);
        CHECK_EQ(int_at(c, "decode.tokens"), DECODED);
        CHECK_EQ(int_at(c, "prefill.tokens"), PREFILLED);
        CHECK_NEAR(real_at(c, "decode.joules_per_token"), 6. / DECODED, 1e-6);
        CHECK_NEAR(real_at(c, "prefill.joules_per_token"), 6. / PREFILLED, 1e-6);
        CHECK(real_at(c, "decode.seconds") > 0);
        CHECK_NEAR(real_at(c, "decode.mean_w") * real_at(c, "decode.seconds"), 6, 1e-5);
        CHECK_NEAR(real_at(c, "temperature_c"), i == 0 ? 70 : 72, 0);
        CHECK_NEAR(real_at(c, "power_limit_w"), 200, 1e-6);
        CHECK_EQ(json_array_size(at_path(c, "throttle")), 1); /* idle is left out */
        CHECK_STR(word_at(c, "throttle", 0), "power limit");
    }
    json_decref(o);
}

TEST(bench_sums_up_power_where_there_is_no_counter) {
    driver("old", "");
    json_t *o = OBJECT(text("%s|--json|-p|0", BENCH), 0);
    done();
    const json_t *c = json_array_get(energy_of(o), 0);
    CHECK_STR(json_string_value(at_path(c, "energy_from")), "power");
    CHECK_NEAR(real_at(c, "decode.joules"), 125.5 * real_at(c, "decode.seconds"), 1e-6);
    CHECK_NEAR(real_at(c, "decode.mean_w"), 125.5, 1e-3);
    CHECK(json_is_null(at_path(c, "prefill"))); /* was not measured */
    json_decref(o);
}

TEST(bench_says_it_in_words) {
    driver("new", "energy=6000 throttle=32");
    proc_result r = moped(BENCH);
    done();
    CHECK_EQ(r.code, 0);
    static const char *const WORDS[] = {"\n         gpu 0: decode 0.4 J/tok (", ": rough), prefill 0.25 J/tok (", " whole card, idle included; 70 °C; clocks held down by: temperature limit\n"};
    for (int i = 0; i < 3; i++) {
        if (!strstr(r.out, WORDS[i])) printf("  the output lacks \"%s\":\n%s", WORDS[i], r.out);
        CHECK(strstr(r.out, WORDS[i]) != NULL);
    }
    proc_free(&r);
}

TEST(bench_says_nothing_without_energy) {
    static const char *const DRIVERS[][2] = {{"bare", "cards=2"}, {"new", "code=9"}, {"new", "cards=0"}, {"new", "nvmlDeviceGetHandleByIndex_v2=15"}};
    for (size_t i = 0; i < sizeof DRIVERS / sizeof *DRIVERS; i++) {
        driver(DRIVERS[i][0], DRIVERS[i][1]);
        json_t *o = OBJECT(text("%s|--json", BENCH), 0);
        CHECK(json_array_size(json_object_get(o, "runs")) == 1 && !energy_of(o));
        json_decref(o);
    }
    proc_result r = moped(BENCH);
    done();
    CHECK(r.code == 0 && !strstr(r.out, "J/tok") && !strstr(r.out, "gpu"));
    CHECK(!strstr(r.err, "NVIDIA"));
    proc_free(&r);
}

/* Trapezoids over a power that rises with each look: more than the mean of first and last only says, were there no looks between. */
TEST(power_is_sampled_meanwhile) {
    void *library = preload("old", "ramp=10000");
    static app_energy e;
    REQUIRE(library != NULL);
    app_energy_open(&e);
    REQUIRE(e.cards == 1 && !e.card[0].counted);
    double first = mp_nvml_power_w(&e.nvml, 0) + 10;
    app_energy_start(&e);
    usleep(450 * 1000);
    app_energy_stop(&e, MOPED_PHASE_DECODE, 10);
    const app_energy_span *s = &e.card[0].spans[MOPED_PHASE_DECODE];
    double mean = s->joules / s->seconds, last = e.card[0].watts;
    CHECK(s->seconds >= 0.45 && last >= first + 20);
    CHECK(mean > first + 5 && mean < last);
    app_energy_stop(&e, MOPED_PHASE_PREFILL, 10); /* was not started */
    CHECK(isnan(e.card[0].spans[MOPED_PHASE_PREFILL].joules));
    setenv("FAKE_NVML", "nvmlDeviceGetPowerUsage=15", 1); /* the card goes: its energy is not known, rather than too low */
    app_energy_start(&e);
    app_energy_stop(&e, MOPED_PHASE_DECODE, 10);
    CHECK(isnan(e.card[0].spans[MOPED_PHASE_DECODE].joules));
    app_energy_close(&e);
    app_energy_close(&e);
    dlclose(library);
}

TEST(the_library_reads_a_card) {
    void *library = preload("new", "cards=2 throttle=4 nvmlDeviceGetTotalEnergyConsumption@1=3");
    moped_gpu g;
    REQUIRE(library != NULL);
    CHECK_OK(moped_gpu_read(1, &g));
    CHECK_EQ(g.index, 1);
    CHECK_STR(g.name, "NVIDIA Fake 1");
    CHECK_STR(g.uuid, "GPU-00000000-fake-0001");
    CHECK_STR(g.pci, "0000:3c:00.0");
    CHECK_STR(g.fault, "");
    CHECK_EQ(g.total_bytes, 16ll << 30);
    CHECK_EQ(g.used_bytes, (5ll << 30) + 1);
    CHECK_EQ(g.free_bytes, (11ll << 30) - 1);
    CHECK_EQ(g.process_bytes, 500ll << 20);
    CHECK(g.temperature_c == 71 && g.power_limit_w == 200 && isnan(g.energy_j));
    CHECK_NEAR(g.power_w, 125.5, 1e-9);
    CHECK(g.busy_percent == 97 && g.memory_busy_percent == 45 && g.clock_mhz == 1410 && g.max_clock_mhz == 1980 && g.memory_clock_mhz == 5001);
    CHECK(g.throttle_known && g.throttle == MOPED_THROTTLE_POWER);
    CHECK_STR(moped_throttle_name(2), "power limit");
    CHECK(moped_throttle_name(10) == NULL);
    CHECK_OK(moped_gpu_read(0, &g));
    CHECK_NEAR(g.energy_j, 1000, 1e-9);
    CHECK_EQ(moped_gpu_read(2, &g), MOPED_E_USAGE);
    CHECK_STR(moped_error(), "there is no GPU 2: this machine has 2");
    CHECK(g.total_bytes == 0 && g.name[0] == '\0'); /* zero, as all outputs of a call that failed */
    CHECK_EQ(moped_gpu_read(-1, &g), MOPED_E_USAGE);
    setenv("FAKE_NVML", "code=9", 1);
    CHECK_EQ(moped_gpu_read(0, &g), MOPED_E_FAILED);
    CHECK(strstr(moped_error(), "Driver Not Loaded") != NULL);
    dlclose(library);
    if (access("/proc/driver/nvidia", F_OK) != 0) CHECK_EQ(moped_gpu_read(0, &g), MOPED_E_USAGE);
}

int main(void) {
    if (!cli_open(MOPED_PROGRAM)) return 77;
    RUN(doctor_shows_two_cards);
    RUN(doctor_says_it_in_words);
    RUN(doctor_tells_a_broken_driver_from_none);
    RUN(bench_has_joules_of_each_counter);
    RUN(bench_sums_up_power_where_there_is_no_counter);
    RUN(bench_says_it_in_words);
    RUN(bench_says_nothing_without_energy);
    RUN(power_is_sampled_meanwhile);
    RUN(the_library_reads_a_card);
    cli_close();
    return test_done();
}
