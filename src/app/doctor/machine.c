/* Names, sizes and limits that only need to be read. */
#include "app/doctor/machine.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"

/* The first line of a small file, without its end; "" when it cannot be read. */
static void first_line(const char *path, char *out, size_t room) {
    FILE *f = fopen(path, "re");
    out[0] = '\0';
    if (!f) return;
    if (!fgets(out, (int)room, f)) out[0] = '\0';
    fclose(f);
    out[strcspn(out, "\n")] = '\0';
}

/* "model name : ..." of /proc/cpuinfo; arm64 kernels don't write one. */
static void cpu_name(char *out, size_t room) {
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];
    snprintf(out, room, "unknown processor");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(out, room, "%.*s", (int)strcspn(colon, "\n"), colon);
        break;
    }
    if (f) fclose(f);
}

/* The kernel's figure, "32768K": what sysconf makes of CPUID counts the caches of processors that a virtual machine was not given. */
static uint64_t last_cache_bytes(void) {
    char text[32];
    uint64_t bytes = 0;
    first_line("/sys/devices/system/cpu/cpu0/cache/index3/size", text, sizeof text);
    if (*text && mp_size_parse(text, &bytes) == MP_OK) return bytes;
    long asked = sysconf(_SC_LEVEL3_CACHE_SIZE);
    return asked > 0 ? (uint64_t)asked : 0;
}

void app_machine_read(app_machine *out) {
    *out = (app_machine){0};
    cpu_name(out->cpu, sizeof out->cpu);
    out->cpus = mp_os_cpus();
    out->online = (int)sysconf(_SC_NPROCESSORS_ONLN);
    out->l3_bytes = last_cache_bytes();
    first_line("/sys/kernel/mm/transparent_hugepage/enabled", out->thp, sizeof out->thp);
    mp_os_memory_get(&out->memory);
}
