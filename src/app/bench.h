/* One measurement of `moped bench`: a budget and a number of threads. */
#ifndef APP_BENCH_H
#define APP_BENCH_H

#include <jansson.h>

#include "app/app.h"

typedef struct app_bench_job {
    moped_options options;
    int           n_prompt, n_gen, repeats;
    bool          profile;   /* where the time goes, too: options.time_ops is set */
} app_bench_job;

/* Opens the model, measures, and gives *out the object of `runs` (a new reference). Errors: as moped_model_open and moped_generate;
 * a budget that does not fit is no error but an object with "fits": false and the sentence under "error". */
mp_err app_bench_measure(const app_bench_job *job, app_ui *ui, json_t **out);
#endif
