/* moped bench: speed over budgets and threads. Every measurement runs in a child, because the peak of memory is a process's. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/app.h"
#include "app/bench.h"
#include "app/doctor/machine.h"
#include "app/energy.h"
#include "app/json.h"
#include "app/like.h"
#include "app/profile.h"
#include "app/text.h"
#include "base/size.h"

enum { POLL_MS = 200 };

/* The child: measures, writes its object into the pipe, and leaves with the exit code. */
static int child(const app_bench_job *job, app_ui *ui, int fd) {
    json_t *run = NULL;
    mp_err e = app_bench_measure(job, ui, &run);
    FILE *to = fdopen(fd, "w");
    if (!e && to) e = app_json_print(to, run);
    json_decref(run);
    if (to) fclose(to);
    return app_report(e);
}

/* What a child wrote, or NULL. A signal that reached only us is passed on: the child ends by itself then. */
static json_t *collect(int fd, pid_t pid) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (!app_signal() && poll(&ready, 1, POLL_MS) <= 0) {} /* it writes once, at its end */
    if (app_signal()) kill(pid, app_signal());
    FILE *from = fdopen(fd, "r");
    json_t *o = from ? json_loadf(from, 0, NULL) : NULL;
    if (from) fclose(from);
    return o;
}

/* The child's exit code, or what to report when it was killed. */
static int wait_for(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) kill(pid, app_signal());
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    return app_report(mp_fail(MP_E_FAILED, "the measuring process was killed by signal %d%s", WTERMSIG(status),
                              WTERMSIG(status) == SIGKILL ? ": probably there was no more memory" : ""));
}

/* *out: the object of this run, NULL when the child failed (it has said why). Returns the exit code. */
static int run_child(const app_bench_job *job, app_ui *ui, json_t **out) {
    int ends[2];
    *out = NULL;
    if (pipe(ends) != 0) return app_report(mp_fail(MP_E_FAILED, "no pipe: %s", strerror(errno)));
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) return close(ends[0]), close(ends[1]), app_report(mp_fail(MP_E_FAILED, "no process: %s", strerror(errno)));
    if (pid == 0) {
        close(ends[0]);
        _exit(child(job, ui, ends[1]));
    }
    close(ends[1]);
    *out = collect(ends[0], pid);
    int code = wait_for(pid);
    if (code == APP_EXIT_FINE && !*out) code = app_report(mp_fail(MP_E_FAILED, "the measuring process left without a result"));
    return code;
}

static void print_head(const app_bench_job *job) {
    char pp[32], tg[32];
    snprintf(pp, sizeof pp, "pp%d tok/s", job->n_prompt);
    snprintf(tg, sizeof tg, "tg%d tok/s", job->n_gen);
    if (job->options.routing) printf("routing: the choices of %s in place of the router's; what the model answers is nonsense\n", job->options.routing);
    printf("%8s %8s %8s %4s %12s %12s %12s %10s %6s %7s %9s %8s\n", "budget", "peak", "plan", "t", pp, tg, "cold tok/s", "bound", "of it", "hits", "disk/run", "naive");
    fflush(stdout);
}

static double real(const json_t *run, const char *key) {
    return json_number_value(json_object_get(run, key));
}

static uint64_t whole(const json_t *run, const char *key) {
    return (uint64_t)json_integer_value(json_object_get(run, key));
}

static void print_row(const json_t *run) {
    char a[MP_SIZE_TEXT], b[MP_SIZE_TEXT], c[MP_SIZE_TEXT], d[MP_SIZE_TEXT];
    if (!json_is_true(json_object_get(run, "fits"))) {
        printf("%8s %s\n", mp_size_format(whole(run, "ram_budget_bytes"), a), json_string_value(json_object_get(run, "error")));
    } else {
        printf("%8s %8s %8s %4d %12.2f %12.2f %12.2f %10.2f %5.0f%% %6.1f%% %9s %8.2f%s\n", mp_size_format(whole(run, "ram_budget_bytes"), a),
               mp_size_format(whole(run, "ram_peak_bytes"), b), mp_size_format(whole(run, "plan_peak_bytes"), c), (int)whole(run, "threads"),
               real(run, "prefill_tok_s"), real(run, "decode_tok_s"), real(run, "cold_tok_s"), real(run, "bound_tok_s"), 100 * real(run, "bound_fraction"),
               100 * real(run, "hit_rate"), mp_size_format(whole(run, "disk_bytes"), d), real(run, "naive_bound_tok_s"),
               json_is_true(json_object_get(run, "bound_assumed")) ? "  (bound: bandwidths assumed)" : "");
        app_energy_print(json_object_get(run, "energy"));
        if (json_object_get(run, "profile")) app_profile_print(json_object_get(run, "profile"));
    }
    fflush(stdout);
}

/* The lists of --ram and -t; one entry of 0 (the library's choice) when not given. */
static mp_err read_list(const app_flags *flags, app_flag_id id, const char *name, double **out, int *n) {
    const char *text = app_text(flags, id);
    if (text) return app_list_parse(app_flag_find(APP_BENCH, name), text, out, n);
    *out = calloc(1, sizeof **out);
    *n = *out ? 1 : 0;
    return *out ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
}

static mp_err print_all(const char *path, const app_like *like, json_t *runs) {
    app_machine *m = calloc(1, sizeof *m);
    app_bandwidth known;
    moped_plan_info plan;
    moped_options options = {.path = path};
    if (!m) return mp_fail(MP_E_FAILED, "out of memory");
    app_machine_read(m);
    app_machine_cached(path, &known);
    mp_err e = moped_plan(&options, &plan);
    const char *name = (e == MOPED_OK || e == MOPED_E_BUDGET) && *plan.model.name ? plan.model.name : path;
    json_t *o = json_object(), *machine = json_object();
    app_put_text(machine, "cpu", m->cpu);
    app_put_int(machine, "cpus", (uint64_t)m->cpus);
    app_put_int(machine, "ram_bytes", m->memory.total_bytes);
    app_put_real(machine, "ram_bps", known.ram_bps);
    app_put_real(machine, "disk_bps", known.disk_bps);
    app_put_text(o, "model", name);
    app_like_put(like, o);
    app_put(o, "machine", machine);
    app_put(o, "runs", json_incref(runs));
    e = app_json_print(stdout, o);
    json_decref(o);
    free(m);
    return e;
}

/* All budgets with all thread numbers. The exit code: of the first failure; 3 when nothing fits. */
static int run_all(app_bench_job *job, app_ui *ui, const app_flags *flags, json_t *runs) {
    double *budgets = NULL, *threads = NULL;
    int n_budgets = 0, n_threads = 0, code = APP_EXIT_FINE, fitting = 0;
    bool table = !app_on(flags, F_JSON);
    mp_err e = read_list(flags, F_BENCH_RAM, "--ram", &budgets, &n_budgets);
    if (!e) e = read_list(flags, F_BENCH_THREADS, "--threads", &threads, &n_threads);
    if (!e && job->options.trace && n_budgets * n_threads > 1)
        e = mp_fail(MP_E_USAGE, "--trace records one measurement, and these are %d: give one --ram and one -t", n_budgets * n_threads);
    if (!e && table) print_head(job);
    for (int i = 0; !e && code == APP_EXIT_FINE && i < n_budgets * n_threads; i++) {
        json_t *run = NULL;
        job->options.ram_bytes = (uint64_t)budgets[i / n_threads];
        job->options.threads = (int)threads[i % n_threads];
        code = run_child(job, ui, &run);
        if (run && table) print_row(run);
        if (json_is_true(json_object_get(run, "fits"))) fitting++;
        if (run) json_array_append_new(runs, run);
    }
    free(budgets);
    free(threads);
    if (e) return app_report(e);
    return code == APP_EXIT_FINE && fitting == 0 ? APP_EXIT_NO_FIT : code;
}

/* Enough context for both measurements, and no more. */
static mp_err fill_job(const app_flags *flags, const char *path, app_ui *ui, app_bench_job *job) {
    job->n_prompt = app_int(flags, F_BENCH_PROMPT, 512);
    job->n_gen = app_int(flags, F_BENCH_GEN, 32);
    job->repeats = app_int(flags, F_BENCH_REPEAT, 5);
    char *none; /* only a profile that was asked for: two runs must measure the same */
    mp_err e = app_options(flags, ui, &job->options);
    if (!e) e = app_options_profile(flags, false, &job->options, &none);
    if (e) return e;
    int need = job->n_prompt + 1 > job->n_gen + 2 ? job->n_prompt + 1 : job->n_gen + 2;
    if (job->n_prompt == 0 && job->n_gen == 0) return mp_fail(MP_E_USAGE, "-p 0 -n 0 measures nothing");
    if (job->options.ctx_tok == 0) job->options.ctx_tok = need;
    if (job->options.ctx_tok < need)
        return mp_fail(MP_E_USAGE, "-c %d is too small: these measurements need %d tokens of context", job->options.ctx_tok, need);
    job->options.path = path;
    job->options.time_ops = job->profile = app_on(flags, F_BENCH_PROFILE);
    return MP_OK;
}

/* What is measured: the file that --like makes, or the model that is named. */
static mp_err choose_model(const app_flags *flags, app_like *like, char **path) {
    mp_err e = app_like_open(flags, like);
    if (e || !like->shape) return e ? e : app_model_path(flags, true, path);
    *path = strdup(like->path);
    return *path ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
}

int app_bench(app_flags *flags) {
    char *path = NULL;
    app_ui ui;
    app_bench_job job = {0};
    app_like like;
    if (app_text(flags, F_LIKE) && strcmp(app_text(flags, F_LIKE), "list") == 0) return app_like_list(flags);
    json_t *runs = json_array();
    mp_err e = choose_model(flags, &like, &path);
    if (!e) e = fill_job(flags, path, &ui, &job);
    if (!e) e = app_like_make(&like, &ui);
    if (!e) app_options_bandwidth(&ui, &job.options);
    int code = e ? app_report(e) : run_all(&job, &ui, flags, runs);
    bool worth = code == APP_EXIT_FINE || code == APP_EXIT_NO_FIT;
    if (!e && worth && app_on(flags, F_JSON) && (e = print_all(path, &like, runs)) != MP_OK) code = app_report(e);
    app_like_close(&like);
    json_decref(runs);
    free(path);
    return code;
}
