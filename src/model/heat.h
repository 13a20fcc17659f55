/* What earlier runs know of a model's experts: the profile that a model is opened with, and the one that it is kept in.
 *
 *   a file         one profile, which the user named: it must be there and be of this model
 *   a folder/      ends in a slash: the automatic one of this model in it, NAME-HASH.prof; one that cannot be used is a warning
 *
 * Memory is taken when the model is opened (mp_model_spend), on a dry ledger as on a real one: nothing more is taken to start or to save.
 * Threads: open, start and close by whoever opens the model; save by any, one at a time. Tests: tests/model/test_heat.c, tests/app/test_experts.c. */
#ifndef MP_MODEL_HEAT_H
#define MP_MODEL_HEAT_H

#include "mem/profile.h"
#include "model/model.h"

typedef struct mp_heat {
    mp_profile_id id;    /* of the model */
    mp_profile *profile; /* read at the start; at saving: what is in the file by then */
    char       *out;     /* where to keep this run's counts; NULL: nowhere */
    bool        out_named;
    uint32_t   *uses;    /* [pages] scratch */
    uint32_t   *saved;   /* [pages] what of this run is in the file already */
} mp_heat;

/* "given" as above into the file's path, charged OVERHEAD. *named: it was no folder. Errors: MP_E_BUDGET, MP_E_FAILED. */
mp_err mp_heat_path(const mp_model *m, const mp_profile_id *id, const char *given, char **out, bool *named);
/* An empty profile for a described model. Errors: MP_E_USAGE: it has no experts; MP_E_BUDGET, MP_E_FAILED. */
mp_err mp_heat_profile(const mp_model *m, const mp_profile_id *id, mp_profile **out);

/* mp_profile_write; unless it was named, the folders on the way are made. */
mp_err mp_heat_write(mp_profile *profile, char *path, bool named);

/* By m->opt.profile and profile_out, into m->heat; NULL when there is nothing to do. Errors: of a profile that was named: MP_E_USAGE (not there,
 * another model's), MP_E_MODEL (damaged), MP_E_FAILED; MP_E_BUDGET. */
mp_err mp_heat_open(mp_model *m);
void   mp_heat_close(mp_model *m);
const float *mp_heat_counts(const mp_model *m); /* [pages], for the policy; NULL: nothing is known */
/* Pins and warms what the open pager has room for. On a dry ledger: charges the most that it may take. */
mp_err mp_heat_start(mp_model *m);
/* Adds what was counted since the last call to the file; does nothing without one. Errors: as mp_profile_write; MP_E_USAGE, MP_E_MODEL: there is
 * something else by now where the profile was named to be (it stays as it is). */
mp_err mp_heat_save(mp_model *m);

#endif
