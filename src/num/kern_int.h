/* Arguments of kernels, bundled for the functions inside num that several kernels share. */
#ifndef MP_NUM_KERN_INT_H
#define MP_NUM_KERN_INT_H

#include "num/kern.h"

/* What mp_kern.dot gets beside its output. */
typedef struct mp_dot_in {
    const void        *row;
    const void *const *x; /* of each token */
    int64_t            n;
    int                tok;
} mp_dot_in;

#endif
