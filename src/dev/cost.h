/* What an operation must read and compute: a pure function of its kind and shapes (and, for attention, of the positions). Reading: each weight and each
 * key and value once, however often a kernel really reads them; activations are not counted, caches hold them. Operations: two for each multiply-add of
 * the mathematics; what is only added, multiplied or moved counts nothing. Test: tests/dev/test_cost.c. */
#ifndef MP_DEV_COST_H
#define MP_DEV_COST_H

#include "dev/op.h"

typedef struct mp_cost {
    uint64_t weight_bytes, kv_bytes;
    uint64_t ops[MP_ARITH_COUNT]; /* by the arithmetic that the operand's type uses */
} mp_cost;

mp_cost mp_op_cost(const mp_op *op);
void    mp_cost_add(mp_cost *sum, const mp_cost *c);
#endif
