/* NVIDIA GPUs: asked of the driver's own library when it is here (base/nvml.h), else read from /proc. None is fine. */
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/doctor/machine.h"
#include "app/json.h"
#include "base/size.h"

static int list_nvml(mp_gpu *out, int room, char *fault, size_t fault_room) {
    mp_nvml nvml;
    int n = 0;
    mp_err e = mp_nvml_open(&nvml);
    snprintf(fault, fault_room, "%s", e && e != MP_E_USAGE ? mp_err_text() : ""); /* no driver is no fault */
    for (; !e && n < nvml.cards && n < room; n++) mp_nvml_read(&nvml, n, &out[n]);
    mp_nvml_close(&nvml);
    return n;
}

/* Names only: /proc/driver/nvidia/gpus/ * /information says "Model: ...". */
static int list_proc(mp_gpu *out, int room) {
    glob_t found;
    int n = 0;
    if (glob("/proc/driver/nvidia/gpus/*/information", 0, NULL, &found) != 0) return 0;
    for (size_t i = 0; i < found.gl_pathc && n < room; i++) {
        char line[256];
        FILE *f = fopen(found.gl_pathv[i], "re");
        while (f && fgets(line, sizeof line, f)) {
            if (strncmp(line, "Model:", 6) != 0) continue;
            const char *name = line + 6 + strspn(line + 6, " \t");
            mp_gpu_unknown(n, &out[n]);
            snprintf(out[n].name, sizeof out[n].name, "%.*s", (int)strcspn(name, "\n"), name);
            n++;
            break;
        }
        if (f) fclose(f);
    }
    globfree(&found);
    return n;
}

void app_gpu_list(app_machine *m) {
    m->n_gpus = list_nvml(m->gpus, APP_GPUS, m->gpu_fault, sizeof m->gpu_fault);
    if (m->n_gpus == 0) m->n_gpus = list_proc(m->gpus, APP_GPUS);
}

/* ---- text ---- */
void app_throttle_text(uint32_t bits, char out[APP_THROTTLE_TEXT]) {
    size_t n = 0;
    out[0] = '\0';
    for (int b = 0; b < MP_THROTTLE_BITS; b++)
        if (bits >> b & 1) n += (size_t)snprintf(out + n, APP_THROTTLE_TEXT - n, "%s%s", n ? ", " : "", mp_throttle_name(b));
}

static void print_work(const mp_gpu *g) {
    const struct { const char *before; double value; const char *unit; } SAID[] = {
        {"", g->temperature_c, "°C"}, {"", g->power_w, "W"}, {"power limit ", g->power_limit_w, "W"}, {"busy ", g->busy_percent, "%"},
        {"memory busy ", g->memory_busy_percent, "%"}, {"clock ", g->clock_mhz, "MHz"}, {"at most ", g->max_clock_mhz, "MHz"},
        {"memory clock ", g->memory_clock_mhz, "MHz"}};
    char words[APP_THROTTLE_TEXT];
    const char *gap = "           ";
    for (size_t i = 0; i < sizeof SAID / sizeof *SAID; i++) {
        if (isnan(SAID[i].value)) continue;
        printf("%s%s%.0f %s", gap, SAID[i].before, SAID[i].value, SAID[i].unit);
        gap = ", ";
    }
    if (*gap == ',') printf("\n");
    app_throttle_text(g->throttle, words);
    if (*words) printf("           clocks held down by: %s\n", words);
}

void app_gpu_print(const mp_gpu *g) {
    char a[MP_SIZE_TEXT];
    printf("gpu %-7d%s", g->index, *g->name ? g->name : "NVIDIA GPU");
    if (*g->fault) printf(": does not answer: %s", g->fault);
    if (g->total_bytes >= 0) printf(", %s", mp_size_format((uint64_t)g->total_bytes, a));
    if (g->free_bytes >= 0) printf(", %s free", mp_size_format((uint64_t)g->free_bytes, a));
    if (g->process_bytes >= 0) printf(", %s used by this process", mp_size_format((uint64_t)g->process_bytes, a));
    if (*g->pci) printf(", pci %s", g->pci);
    printf("\n");
    print_work(g);
}

/* ---- JSON: null is not known ---- */
static void put_bytes(json_t *o, const char *key, int64_t bytes) {
    app_put(o, key, bytes >= 0 ? json_integer(bytes) : json_null());
}

static void put_known(json_t *o, const char *key, const char *text) {
    app_put(o, key, *text ? app_json_text(text, strlen(text)) : json_null());
}

json_t *app_throttle_json(bool known, uint32_t bits) {
    if (!known) return json_null();
    json_t *list = json_array();
    for (int b = 0; b < MP_THROTTLE_BITS; b++)
        if (bits >> b & 1) json_array_append_new(list, json_string(mp_throttle_name(b)));
    return list;
}

json_t *app_gpu_json(const mp_gpu *g) {
    json_t *o = json_object();
    app_put_int(o, "index", (uint64_t)g->index);
    put_known(o, "name", g->name);
    put_known(o, "uuid", g->uuid);
    put_known(o, "pci", g->pci);
    put_known(o, "fault", g->fault);
    put_bytes(o, "total_bytes", g->total_bytes);
    put_bytes(o, "used_bytes", g->used_bytes);
    put_bytes(o, "free_bytes", g->free_bytes);
    put_bytes(o, "process_bytes", g->process_bytes);
    app_put_real(o, "temperature_c", g->temperature_c);
    app_put_real(o, "power_w", g->power_w);
    app_put_real(o, "power_limit_w", g->power_limit_w);
    app_put_real(o, "energy_j", g->energy_j);
    app_put_real(o, "busy_percent", g->busy_percent);
    app_put_real(o, "memory_busy_percent", g->memory_busy_percent);
    app_put_real(o, "clock_mhz", g->clock_mhz);
    app_put_real(o, "max_clock_mhz", g->max_clock_mhz);
    app_put_real(o, "memory_clock_mhz", g->memory_clock_mhz);
    app_put(o, "throttle", app_throttle_json(g->throttle_known, g->throttle));
    return o;
}
