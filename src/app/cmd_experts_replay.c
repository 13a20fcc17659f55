/* `moped experts replay`: what a cache policy would have done on a recorded trace. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/json.h"
#include "app/plot.h"

enum { POLICIES_MAX = APP_PLOT_LINES };
static const double CAPACITIES[] = {0.03, 0.0625, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75}; /* when --slots is not given */
enum { N_CAPACITIES = sizeof CAPACITIES / sizeof *CAPACITIES };

typedef struct replay {
    moped_trace         *trace;
    moped_trace_info     info;
    moped_replay_options options;
    char                *names;  /* what the policies' names point into */
    const char          *policy[POLICIES_MAX];
    int                  policies;
    double              *slots;  /* [n_slots] a layer, ascending as given */
    int                  n_slots;
    moped_replay_result *result; /* [policies][n_slots] */
    bool                 bar;
    int                  done;   /* runs */
} replay;

/* ---- what is asked for ---- */

static mp_err choose_policies(const app_flags *flags, replay *r) {
    const char *text = app_text(flags, F_REPLAY_POLICY), *name;
    char *rest, *item;
    if (!text) {
        for (int i = 0; (name = moped_policy_at(i)) && r->policies < POLICIES_MAX - 1; i++)
            if (strcmp(name, "none") != 0) r->policy[r->policies++] = name; /* the same as lru here */
        r->policy[r->policies++] = "oracle";
        return MP_OK;
    }
    r->names = rest = strdup(text);
    if (!rest) return mp_fail(MP_E_FAILED, "out of memory");
    while ((item = strsep(&rest, ",")) != NULL) {
        bool known = strcmp(item, "oracle") == 0;
        for (int i = 0; (name = moped_policy_at(i)) != NULL; i++) known |= strcmp(item, name) == 0;
        if (!known) return mp_fail(MP_E_USAGE, "--policy: there is no \"%s\"; adaptive is the default, and there are lru, lfu, static, none, oracle", item);
        if (r->policies == POLICIES_MAX) return mp_fail(MP_E_USAGE, "--policy: at most %d at once", POLICIES_MAX);
        r->policy[r->policies++] = item;
    }
    return MP_OK;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static mp_err choose_slots(const app_flags *flags, replay *r) {
    const char *text = app_text(flags, F_SLOTS);
    if (text) {
        mp_err e = app_list_parse(app_flag_find(APP_REPLAY, "--slots"), text, &r->slots, &r->n_slots);
        if (!e) qsort(r->slots, (size_t)r->n_slots, sizeof *r->slots, ascending);
        return e;
    }
    r->slots = malloc(N_CAPACITIES * sizeof *r->slots);
    if (!r->slots) return mp_fail(MP_E_FAILED, "out of memory");
    for (int i = 0; i < N_CAPACITIES; i++) {
        double unit = r->options.per_layer ? 1 : 1.0 / r->info.layers; /* whole slots */
        double slots = fmax(1, round(CAPACITIES[i] * r->info.experts / unit)) * unit;
        if (!r->n_slots || slots > r->slots[r->n_slots - 1]) r->slots[r->n_slots++] = slots;
    }
    return MP_OK;
}

/* ---- the work ---- */

static int progress(void *user, uint64_t done, uint64_t total) {
    const replay *r = user;
    if (r->bar) fprintf(stderr, "\r%3.0f %%", 100 * (r->done + (double)done / (double)total) / (r->policies * r->n_slots));
    return app_signal();
}

static mp_err simulate(replay *r) {
    mp_err e = MP_OK;
    r->result = calloc((size_t)r->policies * (size_t)r->n_slots, sizeof *r->result);
    if (!r->result) return mp_fail(MP_E_FAILED, "out of memory");
    r->options.progress = progress;
    r->options.user = r;
    for (int p = 0; p < r->policies && !e; p++)
        for (int s = 0; s < r->n_slots && !e; s++, r->done++) {
            r->options.policy = r->policy[p];
            r->options.slots = r->slots[s];
            e = moped_replay(r->trace, &r->options, NULL, &r->result[p * r->n_slots + s]);
        }
    if (r->bar) fputs("\r     \r", stderr);
    return e;
}

static double hit_rate(const moped_replay_result *result) {
    return result->accesses ? (double)result->hits / (double)result->accesses : 0;
}

static double percent(const replay *r, int s) { /* of the experts */
    return 100 * r->slots[s] / r->info.experts;
}

/* ---- what comes out ---- */

static void print_table(const replay *r, const char *path) {
    const moped_trace_info *i = &r->info;
    printf("%s: %llu tokens of %d sequences, %d layers of %d experts, %d used\n", path, (unsigned long long)i->tokens, i->sequences, i->layers, i->experts,
           i->experts_used);
    printf("hit rate in %% (%s%s)\n\n%10s %8s", r->options.per_layer ? "slots of each layer" : "slots shared by all layers",
           r->options.one_by_one ? ", one id at a time" : "", "slots", "% of all");
    for (int p = 0; p < r->policies; p++) printf(" %9s", r->policy[p]);
    putchar('\n');
    for (int s = 0; s < r->n_slots; s++) {
        printf("%10.2f %8.1f", r->slots[s], percent(r, s));
        for (int p = 0; p < r->policies; p++) printf(" %9.2f", 100 * hit_rate(&r->result[p * r->n_slots + s]));
        putchar('\n');
    }
}

static void put_result(json_t *o, const moped_replay_result *result) {
    app_put_real(o, "hit_rate", hit_rate(result));
    app_put_int(o, "accesses", result->accesses);
    app_put_int(o, "hits", result->hits);
}

static mp_err print_json(const replay *r, const char *path) {
    json_t *o = json_object(), *runs = json_array();
    app_put_text(o, "trace", path);
    app_put_int(o, "layers", (uint64_t)r->info.layers);
    app_put_int(o, "experts", (uint64_t)r->info.experts);
    app_put_int(o, "experts_used", (uint64_t)r->info.experts_used);
    app_put_int(o, "tokens", r->info.tokens);
    app_put_text(o, "scope", r->options.per_layer ? "layer" : "global");
    app_put_bool(o, "one_by_one", r->options.one_by_one);
    if (r->policies * r->n_slots == 1) {
        app_put_text(o, "policy", r->policy[0]);
        app_put_real(o, "slots", r->slots[0]);
        put_result(o, &r->result[0]);
    }
    for (int i = 0; i < r->policies * r->n_slots; i++) {
        json_t *run = json_object();
        app_put_text(run, "policy", r->policy[i / r->n_slots]);
        app_put_real(run, "slots", r->slots[i % r->n_slots]);
        app_put_int(run, "slots_total", r->result[i].slots);
        put_result(run, &r->result[i]);
        json_array_append_new(runs, run);
    }
    app_put(o, "runs", runs);
    mp_err e = app_json_print(stdout, o);
    json_decref(o);
    return e;
}

static mp_err draw(const replay *r, const char *trace, const char *path) {
    app_plot_line lines[POLICIES_MAX];
    char title[256];
    double *x = malloc((size_t)r->n_slots * sizeof *x), *y = malloc((size_t)(r->policies * r->n_slots) * sizeof *y);
    mp_err e = x && y ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
    const char *name = strrchr(trace, '/') ? strrchr(trace, '/') + 1 : trace;
    snprintf(title, sizeof title, "%.120s: %d layers of %d experts, %d used", name, r->info.layers, r->info.experts, r->info.experts_used);
    for (int s = 0; s < r->n_slots && !e; s++) x[s] = fmin(100, percent(r, s));
    for (int p = 0; p < r->policies && !e; p++) {
        lines[p] = (app_plot_line){.name = r->policy[p], .y = y + p * r->n_slots, .dashed = strcmp(r->policy[p], "oracle") == 0};
        for (int s = 0; s < r->n_slots; s++) y[p * r->n_slots + s] = 100 * hit_rate(&r->result[p * r->n_slots + s]);
    }
    app_plot plot = {.title = title, .x_label = "experts resident, %", .y_label = "hit rate, %", .x = x, .n_x = r->n_slots, .lines = lines,
                     .n_lines = r->policies, .x_max = 100, .y_max = 100};
    if (!e) e = app_plot_write(path, &plot);
    free(x);
    free(y);
    return e;
}

int app_experts_replay(app_flags *flags) {
    const char *path = flags->n_positional ? flags->positional[0] : NULL, *scope = app_text(flags, F_SCOPE), *plot = app_text(flags, F_PLOT);
    replay r = {.options = {.per_layer = scope && strcmp(scope, "layer") == 0, .one_by_one = app_on(flags, F_ONE_BY_ONE), .batch_tok = app_int(flags, F_BATCH, 0)},
                .bar = isatty(STDERR_FILENO) == 1};
    mp_err e = path ? MP_OK : mp_fail(MP_E_USAGE, "which trace? moped experts replay TRACE");
    if (!e) e = choose_policies(flags, &r);
    if (!e && plot) e = app_plot_check(plot);
    if (!e) e = moped_trace_open(path, &r.trace);
    if (!e) moped_trace_get_info(r.trace, &r.info);
    if (!e) e = choose_slots(flags, &r);
    if (!e) e = simulate(&r);
    if (!e && app_on(flags, F_JSON)) e = print_json(&r, path);
    else if (!e) print_table(&r, path);
    if (!e && plot) e = draw(&r, path, plot);
    moped_trace_close(&r.trace);
    free(r.names);
    free(r.slots);
    free(r.result);
    return e ? app_report(e) : APP_EXIT_FINE;
}
