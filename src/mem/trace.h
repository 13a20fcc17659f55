/* Routing traces: which experts a model chose, token by token. Recorded by a running engine, replayed by the simulator (mem/replay.h) and by
 * `bench --routing`.
 *
 * Two layouts, little endian, both read; new files are MTR2.
 *   MTR1   "MTR1", u32 layers, u32 experts, u32 top_k, u32 bytes per id (1, 2), u32 sequences; then per sequence: u32 bytes of the name,
 *          u32 prompt tokens (not traced), u32 traced tokens, the name, then tokens x layers x top_k ids in router order (highest weight first)
 *   MTR2   the same head, then u32 flags (1: weights, 2: marks); per sequence the same head, then for each token: with marks u8 (0 decode,
 *          1 prefill); ids; with weights f16 router weights [layers][top_k], 0 <= weight < infinity.
 * An MTR2 file whose writer did not end (it was killed, the disk was full) has 0xffffffff sequences in its head: sequences follow as far as the
 * file goes, and the last one may be cut anywhere and have 0xffffffff traced tokens; the tokens that are whole count.
 * Ids of one token and layer are distinct and below experts; names have at most MP_TRACE_NAME bytes and no control bytes; nothing follows the last
 * sequence; anything else is refused. Source: ../shared/data/moe-traces/README.md (MTR1), ours (MTR2).
 * Threads: a reader is constant once open; a writer is used by one thread at a time. Tests: tests/mem/test_trace.c, tests/fault/test_trace_fault.c,
 * tests/fuzz/fuzz_trace.c. */
#ifndef MP_MEM_TRACE_H
#define MP_MEM_TRACE_H

#include "base/ledger.h"

enum { MP_TRACE_NAME = 1024, MP_TRACE_LAYERS = 16384, MP_TRACE_EXPERTS = 65536 }; /* most that is believed */

typedef struct mp_trace_shape { uint32_t layers, experts, top_k; } mp_trace_shape; /* layers: those with experts */

typedef struct mp_trace_seq {
    char    *name;        /* UTF-8 or not, as in the file; NUL behind it */
    uint32_t prompt_tok;  /* MTR1: tokens before the traced ones, which are not in the file */
    uint32_t tokens;      /* traced; may be 0 */
    uint64_t first;       /* of its tokens in the arrays below */
} mp_trace_seq;

typedef struct mp_trace {
    uint32_t      layers, experts, top_k, sequences;
    uint64_t      tokens;
    mp_trace_seq *seq;     /* [sequences] */
    uint16_t     *ids;     /* [tokens][layers][top_k] */
    uint16_t     *weights; /* likewise, as f16; NULL: not in the file */
    uint8_t      *prefill; /* [tokens] 1: of a prompt; NULL: all decode */
    char         *text;    /* of the names */
} mp_trace;

/* Reads a whole trace (charged to `owner`; also on a dry ledger it is in memory). Errors: MP_E_USAGE: no such file; MP_E_FAILED: cannot be read;
 * MP_E_MODEL: not a trace, cut short, ids out of range or repeated, sizes that do not add up: the sentence says where; MP_E_BUDGET. */
mp_err mp_trace_open(mp_ledger *ledger, mp_owner owner, const char *path, mp_trace **out);
void   mp_trace_close(mp_trace **trace);

/* An empty one to be filled by hand: one sequence without a name of `tokens` zeroed tokens, with marks, without weights. MP_E_USAGE: a shape that cannot be. */
mp_err mp_trace_make(mp_ledger *ledger, mp_owner owner, mp_trace_shape shape, uint32_t tokens, mp_trace **out);

static inline const uint16_t *mp_trace_ids(const mp_trace *t, uint64_t token, uint32_t layer) {
    return t->ids + (token * t->layers + layer) * t->top_k;
}

static inline const uint16_t *mp_trace_weights(const mp_trace *t, uint64_t token, uint32_t layer) {
    return t->weights ? t->weights + (token * t->layers + layer) * t->top_k : NULL;
}

typedef struct mp_trace_writer mp_trace_writer;

#define MP_TRACE_WRITER_BYTES (68u << 10) /* what a writer takes of the ledger, at most */

/* Creates path, or replaces it when it is empty or a trace (anything else is refused: it may be a model). Buffered (64 KiB, charged WORK); nothing is
 * written before the buffer is full or the writer ends. The first error that writing meets is kept: from then on nothing is written, and every call
 * returns it, so that the caller may go on without looking. What is in the file then can be read up to its last whole token.
 * Errors: MP_E_FAILED (cannot be written, disk full), MP_E_USAGE (a file that is no trace, a shape that the layout cannot hold). */
mp_err mp_trace_create(mp_ledger *ledger, const char *path, mp_trace_shape shape, mp_trace_writer **out);
/* A new sequence; control bytes of the name become '?', and it is cut to what fits. NULL: no name. */
mp_err mp_trace_begin(mp_trace_writer *writer, const char *name);
/* ids, weights [layers][top_k] in router order, after at least one mp_trace_begin. Weights are kept within 0 and the largest half; NaN becomes 0;
 * NULL: zeros. */
mp_err mp_trace_token(mp_trace_writer *writer, bool prefill, const uint16_t *ids, const float *weights);
/* Writes what is left and the counts, and closes, also after an error. The first error of its life; NULL is fine. */
mp_err mp_trace_end(mp_trace_writer **writer);
#endif
