/* Stop strings over a stream of text: which bytes can be shown now, and where the first stop string began.
 *
 *   fed so far:   ......................|END o      stop = "END of text"
 *                 shown                 ^held back: may yet become a stop string
 *
 * Exact whatever the pieces: the result depends on the concatenation only. The match that completes first wins; of several that
 * complete at the same byte, the longest (it begins first). Test: tests/model/test_sampler.c.
 */
#ifndef MP_MODEL_STOP_H
#define MP_MODEL_STOP_H

#include "base/ledger.h"

typedef struct mp_stop mp_stop;

typedef struct mp_stop_string {
    const char *text; /* bytes, not necessarily NUL-terminated */
    size_t      n;    /* above 0 */
} mp_stop_string;

typedef struct mp_stop_result {
    uint64_t emit_to;  /* bytes of the whole stream that can be shown now; never decreases. At a match: where the stop string begins */
    bool     matched;  /* a stop string is complete; everything fed later is ignored */
    int      which;    /* its index; -1 without a match */
    uint64_t end;      /* at a match: the byte after the stop string */
} mp_stop_result;

/* Copies the strings. n == 0 is fine (everything can be shown at once). Errors: MP_E_USAGE for an empty string, more than 64
 * strings or one above 4096 bytes; MP_E_BUDGET. Memory: as WORK. */
mp_err mp_stop_open(mp_ledger *ledger, const mp_stop_string *strings, int n, mp_stop **out);
void   mp_stop_close(mp_stop **stop);
void   mp_stop_reset(mp_stop *stop); /* a new stream begins at byte 0 */

/* Feeds the next n bytes of the stream. Allocates nothing. */
mp_stop_result mp_stop_feed(mp_stop *stop, const char *piece, size_t n);

/* The stream is over: without a match, everything that was held back can be shown (emit_to = all bytes fed). */
mp_stop_result mp_stop_finish(const mp_stop *stop);
#endif
