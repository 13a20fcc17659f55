/* One answer: generating it, streaming it, and reporting it. */
#ifndef APP_ANSWER_H
#define APP_ANSWER_H

#include <moped.h>

#include "app/app.h"
#include "app/chat.h"

/* What `run` holds while it lives. */
typedef struct app_runner {
    app_flags      *flags;    /* /set changes them */
    moped_model    *model;
    moped_session  *session;
    app_chat        chat;
    moped_sampling  sampling; /* refilled from the flags before each answer */
    uint64_t        seed;     /* the random one of this run */
    uint64_t        rerolls;  /* added to the seed: /regen must not say the same again */
    bool            seeded;
    moped_bias     *bias;
    uint64_t        load_ns;
    bool            stream;   /* text goes to stdout as it comes */
    bool            wrote_newline, write_failed;
    moped_result    last;     /* its text and tokens belong to the session */
} app_runner;

/* Answers the chat's last turn into runner->last. A full chat loses its oldest turns with --context-shift.
 * Errors: as moped_generate; a stdout that cannot be written is MP_E_FAILED. */
mp_err app_answer(app_runner *runner);

/* The object that `run --json` prints. */
mp_err app_answer_json(const app_runner *runner);

/* Tokens, speeds, experts and memory, for people. */
void app_answer_stats(FILE *to, const app_runner *runner);
#endif
