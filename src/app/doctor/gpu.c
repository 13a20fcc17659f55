/* NVIDIA GPUs: asked of the driver's own library when it is here, else read from /proc. None is fine. */
#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "app/doctor/machine.h"

/* The few functions and the one struct of NVML that are needed. Source: NVML API reference, "Device Queries". */
typedef struct nvml_memory {
    unsigned long long total, free, used;
} nvml_memory;

typedef struct nvml {
    int (*init)(void);
    int (*shutdown)(void);
    int (*count)(unsigned *n);
    int (*handle)(unsigned i, void **device);
    int (*name)(void *device, char *text, unsigned room);
    int (*memory)(void *device, nvml_memory *out);
} nvml;

static bool load_nvml(void *library, nvml *out) {
    const struct { const char *name; void *slot; } WANTED[] = {
        {"nvmlInit_v2", &out->init}, {"nvmlShutdown", &out->shutdown}, {"nvmlDeviceGetCount_v2", &out->count},
        {"nvmlDeviceGetHandleByIndex_v2", &out->handle}, {"nvmlDeviceGetName", &out->name}, {"nvmlDeviceGetMemoryInfo", &out->memory}};
    for (size_t i = 0; i < sizeof WANTED / sizeof *WANTED; i++) {
        void *address = dlsym(library, WANTED[i].name);
        if (!address) return false;
        memcpy(WANTED[i].slot, &address, sizeof address); /* ISO C has no cast from an object pointer to a function pointer */
    }
    return true;
}

static int list_nvml(app_gpu *out, int room) {
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL), *device = NULL;
    nvml api;
    unsigned n = 0;
    int found = 0;
    if (!library) return 0;
    if (!load_nvml(library, &api) || api.init() != 0) return dlclose(library), 0;
    if (api.count(&n) != 0) n = 0;
    for (unsigned i = 0; i < n && found < room; i++) {
        nvml_memory memory = {0};
        if (api.handle(i, &device) != 0) continue;
        app_gpu *gpu = &out[found++];
        *gpu = (app_gpu){0};
        if (api.name(device, gpu->name, sizeof gpu->name) != 0) snprintf(gpu->name, sizeof gpu->name, "NVIDIA GPU");
        if (api.memory(device, &memory) == 0) gpu->total_bytes = memory.total, gpu->free_bytes = memory.free;
    }
    api.shutdown();
    dlclose(library);
    return found;
}

/* Names only: /proc/driver/nvidia/gpus/ * /information says "Model: ...". */
static int list_proc(app_gpu *out, int room) {
    glob_t found;
    int n = 0;
    if (glob("/proc/driver/nvidia/gpus/*/information", 0, NULL, &found) != 0) return 0;
    for (size_t i = 0; i < found.gl_pathc && n < room; i++) {
        char line[256];
        FILE *f = fopen(found.gl_pathv[i], "re");
        while (f && fgets(line, sizeof line, f)) {
            if (strncmp(line, "Model:", 6) != 0) continue;
            const char *name = line + 6 + strspn(line + 6, " \t");
            out[n] = (app_gpu){0};
            snprintf(out[n].name, sizeof out[n].name, "%.*s", (int)strcspn(name, "\n"), name);
            n++;
            break;
        }
        if (f) fclose(f);
    }
    globfree(&found);
    return n;
}

int app_gpu_list(app_gpu *out, int room) {
    int n = list_nvml(out, room);
    return n > 0 ? n : list_proc(out, room);
}
