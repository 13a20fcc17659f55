/* What doctor found, as JSON: printed by --json, and kept in $XDG_CACHE_HOME/moped/doctor.json:
 *
 *   {"cpu":"...","cpus":2,"ram_bps":3.7e10,"disks":{"254:0":{"disk_bps":2.9e9,"method":"pread","depth":8}}}
 *
 * Figures of another processor or another number of them are not used. */
#include <stdlib.h>
#include <string.h>

#include "app/doctor/machine.h"
#include "app/json.h"
#include "app/paths.h"

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
    out->disk_bps = json_number_value(json_object_get(json_object_get(json_object_get(o, "disks"), device), "disk_bps"));
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
    json_object_set_new(o, "cpu", app_json_text(machine->cpu, strlen(machine->cpu)));
    json_object_set_new(o, "cpus", json_integer(machine->cpus));
    if (machine->ram_bps > 0) json_object_set_new(o, "ram_bps", json_real(machine->ram_bps));
    if (machine->disk.best_bps > 0)
        json_object_set_new(disks, machine->disk.device, json_pack("{s:f s:s s:i}", "disk_bps", machine->disk.best_bps, "method",
                            app_read_name(machine->disk.best_method), "depth", machine->disk.best_depth));
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
    json_t *methods = json_object(), *depths = NULL;
    for (int m = 0; m < APP_METHODS; m++) {
        depths = json_object();
        for (int i = 0; i < d->n_depths; i++) {
            char key[16];
            snprintf(key, sizeof key, "%d", d->depths[i]);
            if (d->bps[m][i] > 0) json_object_set_new(depths, key, json_real(d->bps[m][i]));
        }
        json_object_set_new(methods, app_read_name((app_read_method)m), depths);
    }
    return json_pack("{s:s s:s s:b s:o s:{s:s s:i s:f}}", "device", d->device, "filesystem", d->filesystem, "direct", d->direct, "read_bps", methods,
                     "best", "method", app_read_name(d->best_method), "depth", d->best_depth, "bps", d->best_bps);
}

json_t *app_machine_json(const app_machine *m) {
    json_t *gpus = json_array();
    for (int i = 0; i < m->n_gpus; i++)
        json_array_append_new(gpus, json_pack("{s:o s:I s:I}", "name", app_json_text(m->gpus[i].name, strlen(m->gpus[i].name)), "total_bytes",
                                              (json_int_t)m->gpus[i].total_bytes, "free_bytes", (json_int_t)m->gpus[i].free_bytes));
    return json_pack("{s:o s:i s:i s:I s:{s:I s:I s:f s:f s:s} s:{s:i s:I s:I} s:o s:o}", "cpu", app_json_text(m->cpu, strlen(m->cpu)), "cpus",
                     m->cpus, "cpus_online", m->online, "l3_bytes", (json_int_t)m->l3_bytes, "ram", "total_bytes",
                     (json_int_t)m->memory.total_bytes, "available_bytes", (json_int_t)m->memory.available_bytes, "read_bps", m->ram_bps,
                     "read_small_pages_bps", m->ram_small_bps, "huge_pages", m->thp, "cgroup", "version", m->memory.cgroup_version,
                     "limit_bytes", (json_int_t)m->memory.cgroup_limit_bytes, "used_bytes", (json_int_t)m->memory.cgroup_used_bytes, "disk",
                     m->disk.n_depths ? disk_json(&m->disk) : json_null(), "gpus", gpus);
}
