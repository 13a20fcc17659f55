/* A bump arena: one region, one position. Rewinding is setting the position back. */
#include "base/arena.h"

#include <string.h>

enum { ALIGN = 64 }; /* a cache line, and the widest vector */

mp_err mp_arena_open(mp_ledger *ledger, mp_owner owner, size_t capacity_bytes, mp_arena *out) {
    *out = (mp_arena){.dry = mp_ledger_dry(ledger)};
    if (out->dry) return MP_OK;
    mp_err err = mp_region_open(ledger, owner, capacity_bytes, true, &out->region);
    if (err) *out = (mp_arena){0};
    return err;
}

mp_err mp_arena_open_in(mp_ledger *ledger, const mp_memory *memory, mp_owner owner, size_t capacity_bytes, mp_arena *out) {
    if (!memory || mp_ledger_dry(ledger)) return mp_arena_open(ledger, owner, capacity_bytes, out);
    *out = (mp_arena){0};
    mp_err err = mp_region_open_in(ledger, memory, owner, capacity_bytes, &out->region);
    if (err) *out = (mp_arena){0};
    return err;
}

void mp_arena_close(mp_arena *arena) {
    if (!arena) return;
    mp_region_close(&arena->region);
    *arena = (mp_arena){0};
}

mp_err mp_arena_push(mp_arena *arena, size_t bytes, void **out) {
    *out = NULL;
    size_t room = (arena->dry ? SIZE_MAX : arena->region.bytes) - arena->used;
    if (bytes > SIZE_MAX - ALIGN || (bytes + ALIGN - 1) / ALIGN * ALIGN > room)
        return mp_fail(MP_E_BUDGET, "scratch memory is full: %zu bytes are needed, %zu of %zu are free", bytes, room,
                       arena->region.bytes);
    if (!arena->dry) *out = arena->region.base + arena->used;
    arena->used += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (arena->used > arena->peak) arena->peak = arena->used;
    return MP_OK;
}
