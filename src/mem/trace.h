/* Routing traces: which experts a model chose, token by token. Recorded by a running engine, replayed by the simulator (mem/replay.h) and by
 * `bench --routing`.
 *
 * Two layouts, little endian, both read; new files are MTR2.
 *   MTR1   "MTR1", u32 layers, u32 experts, u32 top_k, u32 bytes per id (1, 2), u32 sequences; then per sequence: u32 bytes of the name,
 *          u32 prompt tokens (not traced), u32 traced tokens, the name, then tokens x layers x top_k ids in router order (highest weight first)
 *   MTR2   the same head, then u32 flags (1: weights, 2: marks); per sequence the same head, then for each token: with marks u8 (0 decode,
 *          1 prefill); ids; with weights f16 router weights [layers][top_k]. u32 traced tokens = 0xffffffff in the last sequence: the writer
 *          did not end; the tokens that are whole count.
 * Ids of one token and layer are distinct and below experts; anything else is refused. Source: ../shared/data/moe-traces/README.md (MTR1), ours (MTR2).
 * Threads: a reader is constant once open; a writer is used by one thread at a time. Tests: tests/mem/test_trace.c, tests/fault, tests/fuzz. */
#ifndef MP_MEM_TRACE_H
#define MP_MEM_TRACE_H

#include "base/ledger.h"

typedef struct mp_trace_seq {
    char    *name;
    uint32_t prompt_tok;  /* MTR1: tokens before the traced ones, which are not in the file */
    uint32_t tokens;      /* traced */
    uint64_t first;       /* of its tokens in the arrays below */
} mp_trace_seq;

typedef struct mp_trace {
    uint32_t      layers, experts, top_k, sequences;
    uint64_t      tokens;
    mp_trace_seq *seq;     /* [sequences] */
    uint16_t     *ids;     /* [tokens][layers][top_k] */
    uint16_t     *weights; /* likewise, as f16; NULL: not in the file */
    uint8_t      *prefill; /* [tokens] 1: of a prompt; NULL: all decode */
} mp_trace;

/* Reads a whole trace (charged to `owner`). Errors: MP_E_FAILED: cannot be read; MP_E_MODEL: not a trace, cut short, ids out of range or
 * repeated, sizes that do not add up: the sentence says where; MP_E_BUDGET. */
mp_err mp_trace_open(mp_ledger *ledger, mp_owner owner, const char *path, mp_trace **out);
void   mp_trace_close(mp_trace **trace);

static inline const uint16_t *mp_trace_ids(const mp_trace *t, uint64_t token, uint32_t layer) {
    return t->ids + (token * t->layers + layer) * t->top_k;
}

typedef struct mp_trace_writer mp_trace_writer;

typedef struct mp_trace_shape { uint32_t layers, experts, top_k; } mp_trace_shape;

/* Creates or replaces path. Buffered (64 KiB, charged WORK); every write error is kept and returned by the next call and by close, and never stops the
 * model. Errors: MP_E_FAILED (cannot be written, disk full), MP_E_USAGE (a shape that the layout cannot hold). */
mp_err mp_trace_create(mp_ledger *ledger, const char *path, mp_trace_shape shape, mp_trace_writer **out);
mp_err mp_trace_begin(mp_trace_writer *writer, const char *name);
/* ids, weights [layers][top_k] in router order; weights as float, may be NULL: zeros. */
mp_err mp_trace_token(mp_trace_writer *writer, bool prefill, const uint16_t *ids, const float *weights);
mp_err mp_trace_end(mp_trace_writer **writer); /* writes what is left and the counts; closes it also on error; the first error of its life */
#endif
