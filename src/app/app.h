/* What the commands share: exit codes, one sentence for an error, signals, and opening a model from flags. */
#ifndef APP_APP_H
#define APP_APP_H

#include <moped.h>
#include <stdbool.h>
#include <stdio.h>

#include "app/flags.h"

/* Exit codes of every command; a signal gives 128 + its number, as shells expect. */
enum { APP_EXIT_FINE, APP_EXIT_FAILED, APP_EXIT_USAGE, APP_EXIT_NO_FIT, APP_EXIT_MODEL, APP_EXIT_GUARD, APP_EXIT_MISSED };

/* A command: gets its parsed flags, returns its exit code, prints its own errors through app_report. */
int app_run(app_flags *flags);
int app_plan(app_flags *flags);
int app_bench(app_flags *flags);
int app_doctor(app_flags *flags);
int app_tokenize(app_flags *flags);
int app_logits(app_flags *flags);
int app_template(app_flags *flags);
int app_perplexity(app_flags *flags);
int app_experts_replay(app_flags *flags);  /* cmd_experts_replay.c */
int app_experts_profile(app_flags *flags); /* cmd_experts_profile.c */
int app_experts_stats(app_flags *flags);
int app_experts_pin(app_flags *flags);
int app_experts_unpin(app_flags *flags);

/* Prints "moped: <this thread's sentence>" on stderr and returns the exit code of e. A cancelled command says nothing and exits
 * as the signal that cancelled it would. */
int app_report(int e);

/* ---- signals (signals.c) ---- */
void app_signals_install(void);  /* Ctrl-C and SIGTERM are remembered; SIGPIPE and SIGXFSZ become errors of the write */
int  app_signal(void);           /* the signal that is waiting, 0: none. Safe anywhere */
void app_signal_forget(void);    /* Ctrl-C was dealt with; SIGTERM stays */

/* ---- options (options.c) ---- */
/* Fills *out from the flags, with log and progress to stderr as they should be. The strings are the flags'. ui is kept by reference.
 * Errors: MP_E_USAGE (types of K and V that differ, unknown instruction set). */
typedef struct app_ui {
    bool     show;        /* stderr is a terminal, or -v: plan, load and ready lines */
    bool     bar;         /* stderr is a terminal: the load line is redrawn in place */
    bool     verbose;
    bool     bar_drawn;
    char     io[24];      /* the way of reading that doctor found best */
    uint64_t start_ns, last_ns; /* of loading; of the last redraw */
} app_ui;
mp_err app_options(const app_flags *flags, app_ui *ui, moped_options *out);
mp_err app_sampling(const app_flags *flags, const moped_model *model, moped_sampling *out, moped_bias **bias);

/* Bandwidths that `doctor` measured, put into options for the folder of its model; zeros when there are none. */
/* And the way of reading that it found best, unless --io names one. */
void app_options_bandwidth(app_ui *ui, moped_options *options);

/* --expert-profile: the file that it names is read and stays as it is. Not given, and `automatic`: the folder of automatic profiles in the cache, one
 * for each model, read and written. "none": neither. *own: a string that options borrow; free it when the model is open. */
mp_err app_options_profile(const app_flags *flags, bool automatic, moped_options *options, char **own);
/* The place of automatic profiles: "$XDG_CACHE_HOME/moped/profiles/". Free it. Errors: MP_E_FAILED when there is no home. */
mp_err app_profiles(char **out);

/* Plans, says so, and loads with a bar and a ready line on stderr (when ui->show). Errors: as moped_model_open. */
mp_err app_model_open(const moped_options *options, app_ui *ui, moped_model **out);
/* Closes it, and says on stderr when its counts could not be kept where profile_out says, or the trace of --trace not be written: warnings, never an
 * error. This thread's sentence stays. NULL is fine. */
void app_model_close(moped_model **model);
/* Redraws "load   [####----] 52%  0.9G/1.7G  2.9G/s  ETA 1s   dense weights" on stderr, if ui->bar and not too often; label: "load". */
void app_ui_bar(app_ui *ui, const char *label, const char *stage, uint64_t done, uint64_t total);

/* "plan   weights 17.3G = ram 7.1G + disk 10.2G | kv ... → fits, at most 5.1 tok/s" without a newline, for people. */
void app_plan_line(FILE *to, const moped_plan_info *plan);
#endif
