/* What the files of the composition root share. */
#ifndef MP_API_INT_H
#define MP_API_INT_H

#include "model/tok/tok.h"
#include "moped.h"

struct moped_vocab {
    mp_ledger *ledger; /* own, when opened alone */
    mp_tok    *tok;
};

/* Zeroed memory outside of any model's ledger, for what the caller holds: a few hundred bytes of overhead. NULL: the system has none, and the sentence is set. */
void *mp_api_handle(size_t bytes);
#endif
