/* What doctor found, as JSON: printed by --json, and kept in $XDG_CACHE_HOME/moped/doctor.json:
 *
 *   {"cpu":"...","cpus":2,"ram_bps":3.7e10,"disks":{"254:0":{"disk_bps":2.9e9,"method":"pread","depth":8,"fresh":false}}}
 *
 * fresh: measured with a file that was just written; then, as where nothing is said, method and depth are not used. Figures of another processor or another number of them are not used. */
#include <stdlib.h>
#include <string.h>

#include "app/doctor/machine.h"
#include "app/json.h"
#include "app/paths.h"

enum { MOST_DEEP = 64 }; /* what --io takes */

/* The cache if it is of this machine, else an empty object. Never NULL unless out of memory. */
static json_t *load(const app_machine *machine) {
    char *path = NULL;
    json_t *o = NULL;
    if (app_path(APP_DIR_CACHE, "doctor.json", 0, &path) == MP_OK) o = json_load_file(path, 0, NULL);
    free(path);
    const char *cpu = json_string_value(json_object_get(o, "cpu"));
    bool same = cpu && strcmp(cpu, machine->cpu) == 0 && json_integer_value(json_object_get(o, "cpus")) == machine->cpus;
    if (same) return o;
    json_decref(o);
    return json_object();
}

void app_machine_cached(const char *path, app_bandwidth *out) {
    app_machine *machine = calloc(1, sizeof *machine);
    char device[32];
    *out = (app_bandwidth){0};
    if (!machine) return;
    app_machine_read(machine);
    app_device_of(path, device, sizeof device);
    json_t *o = load(machine);
    out->ram_bps = json_number_value(json_object_get(o, "ram_bps"));
    const json_t *disk = json_object_get(json_object_get(o, "disks"), device);
    const char *method = json_string_value(json_object_get(disk, "method"));
    int depth = (int)json_integer_value(json_object_get(disk, "depth"));
    out->disk_bps = json_number_value(json_object_get(disk, "disk_bps"));
    bool known = json_is_false(json_object_get(disk, "fresh")) && method && (!strcmp(method, "pread") || !strcmp(method, "io_uring")) && depth > 0 && depth <= MOST_DEEP;
    if (known) snprintf(out->io, sizeof out->io, "%s:%d", method, depth);
    json_decref(o);
    free(machine);
}

mp_err app_machine_store(const app_machine *machine) {
    char *path = NULL;
    app_output out;
    mp_err e = app_path(APP_DIR_CACHE, "doctor.json", 1, &path);
    if (e) return e;
    json_t *o = load(machine), *disks = json_object_get(o, "disks");
    if (!disks) json_object_set_new(o, "disks", disks = json_object());
    app_put_text(o, "cpu", machine->cpu);
    app_put_int(o, "cpus", (uint64_t)machine->cpus);
    if (machine->ram_bps > 0) app_put_real(o, "ram_bps", machine->ram_bps);
    const json_t *old = json_object_get(disks, machine->disk.device);
    bool better = machine->disk.fresh && json_is_false(json_object_get(old, "fresh"));
    if (machine->disk.best_bps > 0 && !better) {
        json_t *disk = json_object();
        app_put_real(disk, "disk_bps", machine->disk.best_bps);
        app_put_text(disk, "method", app_read_name(machine->disk.best_method));
        app_put_int(disk, "depth", (uint64_t)machine->disk.best_depth);
        app_put_bool(disk, "fresh", machine->disk.fresh);
        app_put(disks, machine->disk.device, disk);
    }
    e = app_output_open(path, &out);
    if (!e) {
        bool written = json_dumpf(o, out.file, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) == 0;
        e = app_output_close(&out, written);
    }
    json_decref(o);
    free(path);
    return e;
}

static json_t *disk_json(const app_disk *d) {
    json_t *o = json_object(), *methods = json_object(), *best = json_object();
    for (int m = 0; m < APP_METHODS; m++) {
        json_t *depths = json_object();
        for (int i = 0; i < d->n_depths; i++) {
            char key[16];
            snprintf(key, sizeof key, "%d", d->depths[i]);
            if (d->bps[m][i] > 0) app_put_real(depths, key, d->bps[m][i]);
        }
        app_put(methods, app_read_name((app_read_method)m), depths);
    }
    app_put_text(best, "method", app_read_name(d->best_method));
    app_put_int(best, "depth", (uint64_t)d->best_depth);
    app_put_real(best, "bps", d->best_bps);
    app_put_text(o, "device", d->device);
    app_put_text(o, "filesystem", d->filesystem);
    app_put_bool(o, "direct", d->direct);
    app_put_bool(o, "fresh", d->fresh);
    app_put(o, "read_bps", methods);
    app_put(o, "best", best);
    return o;
}

static json_t *ram_json(const app_machine *m) {
    json_t *o = json_object();
    app_put_int(o, "total_bytes", m->memory.total_bytes);
    app_put_int(o, "available_bytes", m->memory.available_bytes);
    app_put_real(o, "read_bps", m->ram_bps);
    app_put_real(o, "read_small_pages_bps", m->ram_small_bps);
    app_put_text(o, "huge_pages", m->thp);
    return o;
}

static json_t *ops_json(const app_machine *m) {
    json_t *o = json_object();
    for (int i = 0; i < MOPED_ARITH_COUNT; i++) {
        json_t *a = json_object();
        app_put_real(a, "ops", m->ops[i]);
        app_put_real(a, "one_thread_ops", m->one_ops[i]);
        app_put(o, moped_arith_name((moped_arith)i), m->ops[i] > 0 ? json_incref(a) : json_null());
        json_decref(a);
    }
    return o;
}

static json_t *gpus_json(const app_machine *m) {
    json_t *list = json_array();
    for (int i = 0; i < m->n_gpus; i++) json_array_append_new(list, app_gpu_json(&m->gpus[i]));
    return list;
}

json_t *app_machine_json(const app_machine *m) {
    json_t *o = json_object(), *group = json_object();
    app_put_int(group, "version", (uint64_t)m->memory.cgroup_version);
    app_put_int(group, "limit_bytes", m->memory.cgroup_limit_bytes);
    app_put_int(group, "used_bytes", m->memory.cgroup_used_bytes);
    app_put_text(o, "cpu", m->cpu);
    app_put_int(o, "cpus", (uint64_t)m->cpus);
    app_put_int(o, "cpus_online", (uint64_t)m->online);
    app_put_int(o, "l3_bytes", m->l3_bytes);
    app_put(o, "ram", ram_json(m));
    app_put(o, "computing", ops_json(m));
    app_put(o, "cgroup", group);
    app_put(o, "disk", m->disk.n_depths ? disk_json(&m->disk) : json_null());
    app_put(o, "gpus", gpus_json(m));
    if (*m->gpu_fault) app_put_text(o, "gpu_fault", m->gpu_fault);
    return o;
}
