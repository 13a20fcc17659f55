/* `bench --profile`: where the time of a phase went, held against what the machine can do. Taken in the process that measured, printed by its parent. */
#ifndef APP_PROFILE_H
#define APP_PROFILE_H

#include <jansson.h>
#include <moped.h>

#include "base/err.h"

typedef struct app_phase {
    moped_times total;
    moped_time *rows;    /* [total.rows] */
    uint64_t    wall_ns; /* of the generations, as moped_result says: what the rows should add up to */
} app_phase;

/* Copies what the model counted since it was reset; app_phase_deinit frees it. Errors: MP_E_FAILED (no memory). */
mp_err app_phase_take(moped_model *model, moped_phase phase, uint64_t wall_ns, app_phase *out);
void   app_phase_deinit(app_phase *phase);

/* {"limits":{...},"decode":{...},"prefill":{...}}: each phase with "rows" (all layers together, the longest first) and "layers" (each with its own rows);
 * null for a phase without tokens. "share": of the phase's time. "limit_fraction": the time that the machine's limits leave over the time it took, the
 * larger of reading and computing; null when a limit is not known. A new reference. */
json_t *app_profile_json(const moped_limits *limits, const app_phase phases[MOPED_PHASE_COUNT]);
/* That object as tables. */
void app_profile_print(const json_t *profile);
#endif
