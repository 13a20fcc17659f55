/* Read bandwidth of memory, in a buffer that is much larger than the last cache, and what the processors can compute. */
#include <string.h>

#include "app/app.h"
#include "app/doctor/machine.h"

enum { CHUNK_BYTES = 4 << 20, ROUNDS = 15, QUICK_ROUNDS = 6 };

/* Much larger than the last cache, but at most a quarter of what is free here. */
static uint64_t buffer_bytes(const app_machine *m, bool quick) {
    uint64_t bytes = quick ? 256ull << 20 : 1ull << 30, free_bytes = m->memory.available_bytes;
    if (bytes < 8 * m->l3_bytes) bytes = 8 * m->l3_bytes;
    if (m->memory.cgroup_limit_bytes && m->memory.cgroup_limit_bytes - m->memory.cgroup_used_bytes < free_bytes)
        free_bytes = m->memory.cgroup_limit_bytes > m->memory.cgroup_used_bytes ? m->memory.cgroup_limit_bytes - m->memory.cgroup_used_bytes : 0;
    if (bytes > free_bytes / 4) bytes = free_bytes / 4;
    if (bytes > 8ull << 30) bytes = 8ull << 30;
    return bytes / CHUNK_BYTES * CHUNK_BYTES;
}

mp_err app_ram_measure(app_machine *machine, bool quick) {
    moped_limits_options how = {.threads = machine->cpus, .bytes = buffer_bytes(machine, quick), .rounds = quick ? QUICK_ROUNDS : ROUNDS, .small_pages = true};
    moped_limits l;
    if (how.bytes == 0) return mp_fail(MP_E_FAILED, "there is too little free memory to measure with");
    mp_err e = moped_measure_limits(&how, &l);
    if (!e && app_signal()) e = mp_fail(MP_E_CANCELLED, "stopped");
    if (e) return e;
    machine->ram_bps = l.read_bps;
    machine->ram_small_bps = l.read_small_bps;
    machine->ram_tested_bytes = how.bytes;
    memcpy(machine->ops, l.ops, sizeof machine->ops);
    memcpy(machine->one_ops, l.one_ops, sizeof machine->one_ops);
    return MP_OK;
}
