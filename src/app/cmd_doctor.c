/* moped doctor: what this machine is, and what moped would choose from that. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/doctor/machine.h"
#include "app/json.h"
#include "base/size.h"

static void list_isas(char *out, size_t room) {
    const char *name;
    out[0] = '\0';
    for (int i = 0; (name = moped_isa_at(i)) != NULL; i++) {
        size_t n = strlen(out);
        snprintf(out + n, room - n, "%s%s", n ? " " : "", name);
    }
}

static const char *best_isa(void) {
    const char *best = "ref", *name;
    for (int i = 0; (name = moped_isa_at(i)) != NULL; i++) best = name;
    return best;
}

static void print_machine(const app_machine *m) {
    char a[MP_SIZE_TEXT], b[MP_SIZE_TEXT], isas[128];
    list_isas(isas, sizeof isas);
    printf("processor  %s, %d of %d processors usable, L3 %s\n", m->cpu, m->cpus, m->online, mp_size_format(m->l3_bytes, a));
    printf("           instruction sets: %s\n", isas);
    printf("memory     %s, %s available; huge pages: %s\n", mp_size_format(m->memory.total_bytes, a), mp_size_format(m->memory.available_bytes, b),
           *m->thp ? m->thp : "none");
    if (m->memory.cgroup_limit_bytes)
        printf("           this control group (v%d): %s of %s used\n", m->memory.cgroup_version, mp_size_format(m->memory.cgroup_used_bytes, a),
               mp_size_format(m->memory.cgroup_limit_bytes, b));
    for (int i = 0; i < m->n_gpus; i++) app_gpu_print(&m->gpus[i]);
    if (m->n_gpus == 0) printf("gpu        none\n");
    if (*m->gpu_fault) printf("           %s\n", m->gpu_fault);
    fflush(stdout);
}

static void print_ram(const app_machine *m) {
    char a[MP_SIZE_TEXT];
    printf("ram read   %.1f GB/s with huge pages, %.1f GB/s with small ones (%d thread%s over %s)\n", m->ram_bps * 1e-9, m->ram_small_bps * 1e-9,
           m->cpus, m->cpus == 1 ? "" : "s", mp_size_format(m->ram_tested_bytes, a));
    printf("computing ");
    for (int i = 0; i < MOPED_ARITH_COUNT; i++)
        if (m->ops[i] > 0) printf(" %s %.0f Gop/s", moped_arith_name((moped_arith)i), m->ops[i] * 1e-9);
    printf(" (multiply-adds times two, %d thread%s)\n", m->cpus, m->cpus == 1 ? "" : "s");
    fflush(stdout);
}

static void print_disk(const app_disk *d, const char *path) {
    printf("disk read  %s: device %s, %s, O_DIRECT %s; GB/s of 2 MiB records in random order, cold\n", path, d->device, d->filesystem,
           d->direct ? "works" : "is refused (buffered reads instead)");
    printf("           %-10s", "depth");
    for (int i = 0; i < d->n_depths; i++) printf("%8d", d->depths[i]);
    printf("\n");
    for (int m = 0; m < APP_METHODS; m++) {
        printf("           %-10s", app_read_name((app_read_method)m));
        for (int i = 0; i < d->n_depths; i++) {
            if (d->bps[m][i] > 0)
                printf("%8.2f", d->bps[m][i] * 1e-9);
            else
                printf("%8s", "-");
        }
        printf("\n");
    }
}

/* What moped would take with no flags: what is free here or in the control group, less the smaller of 1 GiB and a tenth. */
static void choose_ram(const app_machine *m, uint64_t *ram, uint64_t *headroom) {
    const mp_os_memory *mem = &m->memory;
    uint64_t room = mem->available_bytes, left = mem->cgroup_limit_bytes - mem->cgroup_used_bytes;
    if (mem->cgroup_limit_bytes > 0 && mem->cgroup_limit_bytes < mem->cgroup_used_bytes) left = 0;
    if (mem->cgroup_limit_bytes > 0 && left < room) room = left;
    *headroom = room / 10 < 1ull << 30 ? room / 10 : 1ull << 30;
    *ram = room - *headroom;
}

static void print_choice(const app_machine *m) {
    char a[MP_SIZE_TEXT], b[MP_SIZE_TEXT];
    uint64_t ram, headroom;
    choose_ram(m, &ram, &headroom);
    printf("moped would take %s of ram (headroom %s), %d thread%s, %s", mp_size_format(ram, a), mp_size_format(headroom, b), m->cpus,
           m->cpus == 1 ? "" : "s", best_isa());
    if (m->disk.best_bps > 0)
        printf("; reads here: --io %s:%d, up to %.2f GB/s%s", app_read_name(m->disk.best_method), m->disk.best_depth, m->disk.best_bps * 1e-9,
               m->disk.fresh ? "\n(a file that was just written may come from a cache: `moped doctor -m MODEL` measures the disk with a large file that is there)" : "");
    printf("\n");
}

static mp_err print_json(const app_machine *m) {
    json_t *o = app_machine_json(m), *isas = json_array(), *choice = json_object();
    const char *name;
    uint64_t ram, headroom;
    choose_ram(m, &ram, &headroom);
    for (int i = 0; (name = moped_isa_at(i)) != NULL; i++) json_array_append_new(isas, json_string(name));
    app_put_int(choice, "ram_bytes", ram);
    app_put_int(choice, "headroom_bytes", headroom);
    app_put_int(choice, "threads", (uint64_t)m->cpus);
    app_put_text(choice, "isa", best_isa());
    app_put(o, "isa", isas);
    app_put(o, "choice", choice);
    mp_err e = app_json_print(stdout, o);
    json_decref(o);
    return e;
}

/* Bandwidths measured beside others' work are too low, and the bounds made of them too. */
static void warn_if_busy(const app_machine *m) {
    double load[1];
    if (getloadavg(load, 1) == 1 && load[0] > m->cpus)
        fprintf(stderr, "moped: the machine is busy (load %.1f on %d processor%s): it can do better than what follows\n", load[0], m->cpus,
                m->cpus == 1 ? "" : "s");
}

int app_doctor(app_flags *flags) {
    const char *named = app_text(flags, F_MODEL), *path = named ? named : "."; /* a folder, or a file that lies on the disk */
    bool json = app_on(flags, F_JSON), quick = app_on(flags, F_QUICK);
    app_machine *m = calloc(1, sizeof *m);
    if (!m) return app_report(mp_fail(MP_E_FAILED, "out of memory"));
    mp_err e = access(path, F_OK) == 0 ? MP_OK : mp_fail(MP_E_USAGE, "there is no folder or file %s", path);
    if (!e) {
        app_machine_read(m);
        app_gpu_list(m);
        warn_if_busy(m);
    }
    if (!e && !json) print_machine(m);
    if (!e) e = app_ram_measure(m, quick);
    if (!e && !json) print_ram(m);
    if (!e) e = app_disk_measure(path, quick, &m->disk);
    if (!e && !json) print_disk(&m->disk, path);
    if (!e && !json) print_choice(m);
    if (!e && json) e = print_json(m);
    if (!e && app_machine_store(m)) fprintf(stderr, "moped: the figures are not kept: %s\n", mp_err_text());
    free(m);
    return app_report(e);
}
