/* What a measurement takes of each NVIDIA GPU's energy. Whole cards, from its start to its end: what idles and what others do on them is in it. */
#ifndef APP_ENERGY_H
#define APP_ENERGY_H

#include <jansson.h>
#include <moped.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/nvml.h"

enum { APP_ENERGY_CARDS = 16 };

typedef struct app_energy_span { /* of one card and one phase */
    double   joules, seconds;    /* joules NaN: not known */
    double   tokens;
} app_energy_span;

typedef struct app_energy_card {
    bool            counted;     /* the card counts its energy itself; else its power is sampled and summed up */
    mp_gpu          gpu;         /* readings at the end of the last span */
    uint32_t        throttle;    /* of the ends of all spans, but for idle */
    double          joules, watts; /* at the start, or summed up until now; the last sample */
    app_energy_span spans[MOPED_PHASE_COUNT];
} app_energy_card;

typedef struct app_energy {
    mp_nvml         nvml;
    int             cards;       /* 0: nothing is measured */
    app_energy_card card[APP_ENERGY_CARDS];
    uint64_t        start_ns, sample_ns;
    bool            running, sampling; /* a span is under way; a thread samples for it */
    bool            stop;
    pthread_t       thread;
    pthread_mutex_t lock;        /* of stop */
    pthread_cond_t  wake;
} app_energy;

/* Never fails: without a driver there are no cards. In the process that measures, before it opens the model: the driver's library is then part of what
 * the model's plan finds in the process. */
void app_energy_open(app_energy *out);
void app_energy_close(app_energy *energy);
/* One span at a time. stop without start does nothing; tokens: what went through the model meanwhile. */
void app_energy_start(app_energy *energy);
void app_energy_stop(app_energy *energy, moped_phase phase, double tokens);
/* A list with an object for each card whose energy is known in a phase; NULL when there is none. */
json_t *app_energy_json(const app_energy *energy);
/* The same list as lines under a row of bench's table. */
void app_energy_print(const json_t *cards);
#endif
