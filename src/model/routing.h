/* What the routers chose: recording it, and replacing it by a recorded trace. Both sit behind one call in block/moe.c, mp_routed; both count layers
 * with experts from 0 (page / experts) and are driven under the model's lock by mp_forward_begin and mp_forward_end.
 *
 * Replacing (`bench --routing`): speed is measured with the locality of a real model on a model of any shape; the answers are nonsense. For a trace of
 * Lt layers, Et experts, kt chosen, N tokens (all sequences one after the other, wrapping) and a model of Lm, Em, km:
 *
 *   banks    B = ceil(Em / Et): bank b owns the experts [b Em / B, (b + 1) Em / B) before the permutation, at most Et. It gets ids by
 *            (trace id) mod (width of the bank)
 *   ranks    B <= km: every bank gives km / B choices to every token, the first km % B of them one more: the top ranks of its own trace token.
 *            B > km: one choice each, the banks take turns: choice j of all choices ever made in this layer belongs to bank j mod B, whose trace
 *            goes on by one token each time that it is asked, so that reuse within a bank is the trace's own
 *   copies   C = ceil(choices of a bank / kt): a bank that has to give more than kt choices takes the next kt from another stream
 *   streams  one for each (layer / Lt, b, copy); stream u begins at the u-th of as many evenly spaced sequences (of tokens, when there are fewer
 *            sequences than streams), so that no two layers read the same choices: those with the same layer % Lt are different streams
 *   doubles  a choice that the token has already (folding makes them) is replaced by the next lower rank of the same trace token, or when there is
 *            none by a seeded expert of the bank, then by any of the layer
 *   permutation  each layer has a fixed seeded permutation of its experts; seed and generator (splitmix64) are constants of the code
 *   position p of a timeline takes trace token start(stream) + base + p (times km / B when B > km). base is 0 for a model's first session and moves
 *            on by the tokens computed whenever a timeline begins again at position 0, so that a repetition does not meet a cache that has seen its
 *            tokens; the base of the i-th session begins at the golden ratio's multiple of the trace, i phi N
 *
 * So the choices depend on trace, shape and position alone: not on batch, threads, budget or what the model computes. Router weights are those of the
 * trace where it has them, scaled to the sum of the router's own; else the router's own, rank by rank. The router's probabilities stay as they are and
 * have nothing to do with the choices then.
 *
 * Recording: the choices (replaced ones, when they are) of every forward that succeeded, in the order of its rows, go to a trace file if there is one,
 * and into a window of the last MP_WINDOW_TOK tokens. A new sequence begins whenever the rows do not go on where those before them ended: another
 * session, another position. Rows are marked prefill unless the batch says that it decodes.
 * Everything is charged as WORK, on a dry ledger too. Errors of writing are kept for mp_recorder_finish and never stop a forward.
 * Tests: tests/model/test_routing.c. */
#ifndef MP_MODEL_ROUTING_H
#define MP_MODEL_ROUTING_H

#include "mem/trace.h"
#include "model/fwd.h"

enum { MP_WINDOW_TOK = 256 };

/* ---- replacing ---- */
/* shape: the model's. Errors: those of mp_trace_open; MP_E_USAGE: a trace without tokens. */
mp_err mp_routing_open(mp_ledger *ledger, const char *path, mp_trace_shape shape, mp_routing **out);
void   mp_routing_close(mp_routing **routing);
/* A forward begins: each segment's timeline is found or begun. Rows of n_seg 0 belong to none. */
void mp_routing_begin(mp_routing *r, const mp_batch *batch);
/* It succeeded: its positions are used up. */
void mp_routing_commit(mp_routing *r, const mp_batch *batch);
/* ids i32[T,k] and weights f32[T,k] of one layer, in place. */
void mp_routing_apply(const mp_routing *r, int layer, const mp_batch *batch, int32_t *ids, float *weights);

/* ---- recording ---- */
/* path NULL: only the window. On a dry ledger no file is made. Errors: MP_E_BUDGET; those of mp_trace_create. */
mp_err mp_recorder_open(mp_ledger *ledger, mp_trace_shape shape, int batch_tok, const char *path, mp_recorder **out);
void   mp_recorder_close(mp_recorder **recorder);
void   mp_recorder_layer(mp_recorder *r, int layer, const mp_batch *batch, const int32_t *ids, const float *weights);
/* The forward succeeded. accesses, hits: the pager's counters now. */
void   mp_recorder_commit(mp_recorder *r, const mp_batch *batch, uint64_t accesses, uint64_t hits);
/* Ends the trace file; later forwards only fill the window. The first error that writing it met. Threads: any. */
mp_err mp_recorder_finish(mp_recorder *r);

typedef struct mp_window {
    uint32_t tok;            /* decoded ones among the last MP_WINDOW_TOK tokens: of a prompt's batch a page is read once for many */
    uint64_t accesses, hits; /* of the pager by these */
} mp_window;
void mp_recorder_window(mp_recorder *r, mp_window *out); /* Threads: any */
/* The window as a trace in memory, oldest token first, in one sequence without a name; decoded_only: those that mp_recorder_window counts. Threads: any.
 * Errors: MP_E_BUDGET. */
mp_err mp_recorder_export(mp_recorder *r, bool decoded_only, mp_trace **out);
/* The window as a trace file, with its sequences, weights 0. Threads: any. Errors: those of the writer. */
mp_err mp_recorder_save(mp_recorder *r, const char *path);
/* The same tokens with the most hits that any policy can have with `slots` pages of one size, whatever was resident before them: the clairvoyant policy from
 * an empty cache, whose first loads into empty slots count as hits. Guesses that are read ahead can do better. tok 0: nothing was decoded. Threads: any,
 * one at a time. Errors: MP_E_BUDGET (a budget that shrank). */
mp_err mp_recorder_oracle(mp_recorder *r, uint32_t slots, mp_window *out);

/* ---- the hook of block/moe.c, after the router ---- */
void mp_routed(const mp_fwd *f, int layer, int32_t *ids, float *weights);
#endif
