/* The tape: the ops of one forward pass in order, and the walk back. A tensor that needs a gradient has a node number; record() gives one to
 * each output. Gradients are float32, contiguous, owned by the tape. Only float32 operands have a backward. Test: tests/dev/test_tape.c,
 * tests/model/test_train.c (finite differences). */
#ifndef MP_DEV_TAPE_H
#define MP_DEV_TAPE_H

#include "base/ledger.h"
#include "dev/dev.h"

typedef struct mp_tape mp_tape;

mp_err mp_tape_open(mp_ledger *ledger, mp_tape **out);
void   mp_tape_close(mp_tape **tape);
void   mp_tape_clear(mp_tape *tape); /* forgets ops and activations' nodes and zeroes all gradients; parameters keep their nodes */

/* Gives a weight a node, before any op is recorded; its gradient adds up over backward walks until cleared. */
mp_err mp_tape_param(mp_tape *tape, mp_tensor *weight);
/* Copies the op with its operands and numbers its outputs (op->out[i].node is set). What the operands' data point to must live until backward. */
mp_err mp_tape_record(mp_tape *tape, mp_op *op);
/* Walks back from the scalar loss, seeding its gradient with 1. */
mp_err mp_tape_backward(mp_tape *tape, mp_dev *dev, const mp_tensor *loss);
/* The gradient of a tensor: a contiguous float32 tensor of its shape; rank 0 when it has none. */
mp_tensor mp_tape_grad(const mp_tape *tape, const mp_tensor *t);

/* The device's side: adds to the gradients of op's inputs, given those of its outputs. g_in[i].rank is 0 where no gradient is wanted. */
typedef struct mp_op_grads {
    mp_tensor        in[MP_OP_IN], out[MP_OP_OUT];
    const mp_tensor *job_grads; /* EXPERTS: gate, up, down of each job */
    void            *scratch;   /* mp_cpu_backward_scratch(op) bytes */
} mp_op_grads;
size_t mp_cpu_backward_scratch(const mp_op *op);
mp_err mp_cpu_backward(const mp_op *op, const mp_op_grads *g);
#endif
