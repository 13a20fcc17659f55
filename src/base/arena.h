/* A bump arena over one region: push, mark, rewind. On a dry ledger it hands out NULL and only measures its peak, which is
 * how the planner learns how large the real one must be. */
#ifndef MP_BASE_ARENA_H
#define MP_BASE_ARENA_H

#include "base/ledger.h"

typedef struct mp_arena {
    mp_region region;
    size_t    used, peak; /* bytes; peak since open */
    bool      dry;
} mp_arena;

/* capacity is ignored on a dry ledger (nothing is charged there: the caller charges what the peak turned out to be). */
mp_err mp_arena_open(mp_ledger *ledger, mp_owner owner, size_t capacity_bytes, mp_arena *out);
mp_err mp_arena_open_in(mp_ledger *ledger, const mp_memory *memory, mp_owner owner, size_t capacity_bytes, mp_arena *out); /* memory NULL: the host's */
void   mp_arena_close(mp_arena *arena);

/* 64-byte aligned, not zeroed. Errors: MP_E_BUDGET when the arena is full. On a dry arena *out is NULL and it never fails. */
mp_err mp_arena_push(mp_arena *arena, size_t bytes, void **out);
static inline size_t mp_arena_mark(const mp_arena *arena) { return arena->used; }
static inline void   mp_arena_rewind(mp_arena *arena, size_t mark) { arena->used = mark; }
#endif
