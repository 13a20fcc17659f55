/* What the reader and the writer of traces both know of the layout. */
#ifndef MP_MEM_TRACE_INT_H
#define MP_MEM_TRACE_INT_H

#include "mem/trace.h"

enum { MP_MTR_HEAD = 24, MP_MTR_SEQ_HEAD = 12, MP_MTR_SEQUENCES_AT = 20, MP_MTR_TOKENS_AT = 8, MP_MTR_WEIGHTS = 1, MP_MTR_MARKS = 2 };
#define MP_MTR_OPEN 0xffffffffu /* a count that was not written: the writer did not end */

/* MP_E_MODEL when no model has such a shape. */
mp_err mp_trace_check_shape(mp_trace_shape shape, uint32_t id_bytes);
#endif
