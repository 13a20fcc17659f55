/* Measuring a model on this machine before it is loaded. */
#ifndef MP_MODEL_MEASURE_H
#define MP_MODEL_MEASURE_H

#include "model/model.h"

/* *bps: bytes a second at which the disk gives this model's experts, read for about ns nanoseconds by the options' method, past the page cache; 0: it has none, too
 * few, or the budget is too small to try. Takes about 150 slots of memory meanwhile. Errors: as of opening dry, of the pager, of the disk. */
mp_err mp_measure_disk(const mp_model_options *options, uint64_t ns, double *bps);
#endif
