/* Joules of a span: by the cards' own counters where they have one (Volta and newer). Of others a thread asks for the power ten times a second and
 * sums up trapezoids. */
#include "app/energy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "app/doctor/machine.h"
#include "app/json.h"
#include "base/os.h"

enum { SAMPLE_MS = 100 };
static const double ROUGH_S = 2; /* counters move in steps of 20 to 100 ms, as others found: of a shorter span up to a tenth or more can be another's */

void app_energy_open(app_energy *out) {
    *out = (app_energy){0};
    if (mp_nvml_open(&out->nvml)) return;
    out->cards = out->nvml.cards < APP_ENERGY_CARDS ? out->nvml.cards : APP_ENERGY_CARDS;
    pthread_mutex_init(&out->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&out->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    for (int i = 0; i < out->cards; i++) {
        app_energy_card *c = &out->card[i];
        mp_nvml_read(&out->nvml, i, &c->gpu);
        c->counted = !isnan(c->gpu.energy_j);
        for (int p = 0; p < MOPED_PHASE_COUNT; p++) c->spans[p].joules = NAN;
    }
}

void app_energy_close(app_energy *energy) {
    if (!energy->nvml.library) return;
    pthread_cond_destroy(&energy->wake);
    pthread_mutex_destroy(&energy->lock);
    mp_nvml_close(&energy->nvml);
    energy->cards = 0;
}

/* A power that is not known makes the sum so, too. */
static void sample(app_energy *e, bool first) {
    uint64_t now = mp_now_ns();
    double seconds = first ? 0 : (double)(now - e->sample_ns) * 1e-9;
    for (int i = 0; i < e->cards; i++) {
        app_energy_card *c = &e->card[i];
        if (c->counted) continue;
        double watts = mp_nvml_power_w(&e->nvml, i);
        c->joules = first ? 0 * watts : c->joules + (c->watts + watts) / 2 * seconds;
        c->watts = watts;
    }
    e->sample_ns = now;
}

static void *keep_sampling(void *user) {
    app_energy *e = user;
    pthread_mutex_lock(&e->lock);
    while (!e->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += SAMPLE_MS * 1000000;
        if (until.tv_nsec >= 1000000000) until.tv_nsec -= 1000000000, until.tv_sec++;
        pthread_cond_timedwait(&e->wake, &e->lock, &until);
        if (!e->stop) sample(e, false);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

void app_energy_start(app_energy *e) {
    bool uncounted = false;
    if (e->cards == 0) return;
    for (int i = 0; i < e->cards; i++) {
        if (e->card[i].counted) e->card[i].joules = mp_nvml_energy_j(&e->nvml, i);
        uncounted |= !e->card[i].counted;
    }
    e->stop = false;
    e->running = true;
    sample(e, true);
    e->start_ns = e->sample_ns;
    e->sampling = uncounted && pthread_create(&e->thread, NULL, keep_sampling, e) == 0; /* without the thread there are two samples */
}

static void end_sampling(app_energy *e) {
    if (!e->sampling) return;
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
    e->sampling = false;
}

void app_energy_stop(app_energy *e, moped_phase phase, double tokens) {
    if (!e->running) return;
    end_sampling(e);
    sample(e, false);
    double seconds = (double)(e->sample_ns - e->start_ns) * 1e-9;
    for (int i = 0; i < e->cards; i++) {
        app_energy_card *c = &e->card[i];
        double joules = c->counted ? mp_nvml_energy_j(&e->nvml, i) - c->joules : c->joules;
        c->spans[phase] = (app_energy_span){joules >= 0 ? joules : NAN, seconds, tokens}; /* a driver that was loaded anew counts from 0 */
    }
    for (int i = 0; i < e->cards; i++) { /* afterwards: it takes longer */
        app_energy_card *c = &e->card[i];
        mp_nvml_read(&e->nvml, i, &c->gpu);
        c->throttle |= c->gpu.throttle & ~(uint32_t)MP_THROTTLE_IDLE;
    }
    e->running = false;
}

/* ---- what comes out ---- */
static void put_span(json_t *o, const char *phase, const app_energy_span *s) {
    json_t *span = json_object();
    app_put_real(span, "joules", s->joules);
    app_put_real(span, "seconds", s->seconds);
    app_put_int(span, "tokens", (uint64_t)s->tokens);
    app_put_real(span, "joules_per_token", s->joules / s->tokens);
    app_put_real(span, "mean_w", s->joules / s->seconds);
    app_put(o, phase, isnan(s->joules) ? json_null() : json_incref(span));
    json_decref(span);
}

static json_t *card_json(const app_energy_card *c) {
    json_t *o = json_object();
    app_put_int(o, "index", (uint64_t)c->gpu.index);
    app_put_text(o, "name", c->gpu.name);
    app_put_text(o, "pci", c->gpu.pci);
    app_put_text(o, "energy_from", c->counted ? "counter" : "power");
    put_span(o, "decode", &c->spans[MOPED_PHASE_DECODE]);
    put_span(o, "prefill", &c->spans[MOPED_PHASE_PREFILL]);
    app_put_real(o, "temperature_c", c->gpu.temperature_c);
    app_put_real(o, "power_limit_w", c->gpu.power_limit_w);
    app_put(o, "throttle", app_throttle_json(c->gpu.throttle_known, c->throttle));
    return o;
}

json_t *app_energy_json(const app_energy *e) {
    json_t *list = json_array();
    for (int i = 0; i < e->cards; i++) {
        const app_energy_card *c = &e->card[i];
        if (!isnan(c->spans[MOPED_PHASE_DECODE].joules) || !isnan(c->spans[MOPED_PHASE_PREFILL].joules)) json_array_append_new(list, card_json(c));
    }
    if (json_array_size(list) > 0) return list;
    json_decref(list);
    return NULL;
}

static void print_phase(const json_t *card, const char *phase) {
    const json_t *span = json_object_get(card, phase);
    if (!json_is_object(span)) return;
    double seconds = json_number_value(json_object_get(span, "seconds"));
    printf(" %s %.3g J/tok (%.0f W for %.2f s%s),", phase, json_number_value(json_object_get(span, "joules_per_token")),
           json_number_value(json_object_get(span, "mean_w")), seconds, seconds < ROUGH_S ? ": rough" : "");
}

void app_energy_print(const json_t *cards) {
    size_t i, k;
    json_t *card, *word;
    json_array_foreach(cards, i, card) {
        const json_t *celsius = json_object_get(card, "temperature_c"), *throttle = json_object_get(card, "throttle");
        printf("%8s gpu %d:", "", (int)json_integer_value(json_object_get(card, "index")));
        print_phase(card, "decode");
        print_phase(card, "prefill");
        printf(" whole card, idle included");
        if (json_is_number(celsius)) printf("; %.0f °C", json_number_value(celsius));
        json_array_foreach(throttle, k, word) printf("%s%s", k ? ", " : "; clocks held down by: ", json_string_value(word));
        printf("\n");
    }
}
