/* Flags: one table drives the command line, the environment, the config file, --dry-run and the help.
 *
 *   --ctx-size 4096        a flag            (strongest)
 *   MOPED_CTX_SIZE=4096    a variable
 *   ctx-size = 4096        a line of the config file (weakest)
 *
 * Environment and config file are read here and in paths.c, nowhere else. */
#ifndef APP_FLAGS_H
#define APP_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/* Commands as bits, so that a flag can say where it belongs. */
enum {
    APP_RUN = 1, APP_PLAN = 2, APP_BENCH = 4, APP_DOCTOR = 8, APP_TOKENIZE = 16, APP_LOGITS = 32, APP_TEMPLATE = 64, APP_PERPLEXITY = 128,
    APP_REPLAY = 256, APP_PROFILE = 512, APP_STATS = 1024, APP_PIN = 2048,
    APP_ALL = 4095
};

typedef enum app_flag_id {
    F_HELP, F_CONFIG, F_DRY_RUN, F_VERBOSE, F_JSON, F_MODEL,
    F_PROMPT, F_FILE, F_SYSTEM, F_PREDICT, F_CTX, F_THREADS, F_BATCH,
    F_RAM, F_VRAM, F_HEADROOM, F_KV, F_CTK, F_CTV, F_POLICY, F_EXPERT_PROFILE, F_PREFETCH, F_IO, F_TRACE, F_NO_PAGING, F_DETERMINISTIC, F_ISA,
    F_TEMP, F_TOP_K, F_TOP_P, F_MIN_P, F_TYPICAL, F_REPEAT_PENALTY, F_REPEAT_LAST_N, F_PRESENCE, F_FREQUENCY, F_BIAS, F_SEED,
    F_IGNORE_EOS, F_SHIFT, F_KEEP, F_STOP, F_THINKING, F_NO_CHAT, F_SPECIAL,
    F_BENCH_PROMPT, F_BENCH_GEN, F_BENCH_RAM, F_BENCH_THREADS, F_BENCH_REPEAT, F_BENCH_PROFILE, F_ROUTING, F_LIKE, F_TYPE, F_KEEP_FILE,
    F_REPLAY_POLICY, F_SLOTS, F_SCOPE, F_ONE_BY_ONE, F_PLOT, F_TOP,
    F_NO_SPECIAL, F_NO_BOS, F_BOS_FIRST, F_TOKENS, F_OUT, F_TEMPLATE, F_BOS, F_EOS, F_NOW, F_SOLVE, F_QUICK,
    F_COUNT
} app_flag_id;

typedef enum app_kind { APP_BOOL, APP_TEXT, APP_INT, APP_REAL, APP_SIZE, APP_CHOICE, APP_INTS, APP_SIZES, APP_BIAS } app_kind;

typedef struct app_flag {
    app_flag_id id;
    app_kind    kind;
    unsigned    commands; /* which commands know it */
    const char *name;     /* "ctx-size" */
    const char *aliases;  /* "-c", several with spaces between, or "" */
    const char *value;    /* what the help calls its value, "N"; "" for switches */
    double      min, max; /* of numbers, and of each number of a list */
    const char *choices;  /* of APP_CHOICE, spaces between */
    bool        repeats;  /* every use adds one */
    const char *fallback; /* the default, for people */
    const char *help;
} app_flag;

const app_flag *app_flag_at(size_t i);                                /* the table; NULL past its end */
const app_flag *app_flag_find(unsigned command, const char *word);    /* "-c", "--ctx-size" or "ctx-size"; NULL: unknown there */
const char     *app_flag_nearest(unsigned command, const char *word); /* the known flag most like word, "--temp"; "" when none is like it */
int             app_distance(const char *a, const char *b);           /* letters to insert, delete, change or swap to get from a to b */

typedef enum app_source { APP_FROM_DEFAULT, APP_FROM_FILE, APP_FROM_ENV, APP_FROM_FLAG } app_source;

typedef struct app_value {
    app_source source;
    char      *where;   /* "MOPED_RAM", "/home/me/.config/moped/config:3", "--ram"; NULL by default */
    char     **texts;   /* as given */
    int        n_texts; /* at most 1 unless the flag repeats */
    int64_t    integer; /* of the last one: APP_INT, APP_BOOL (0, 1) */
    double     real;    /* APP_REAL, APP_INT */
    uint64_t   bytes;   /* APP_SIZE */
} app_value;

enum { APP_POSITIONALS = 2 };
typedef struct app_flags {
    unsigned  command;
    app_value values[F_COUNT];
    char     *positional[APP_POSITIONALS]; /* borrowed from argv */
    int       n_positional;
} app_flags;

/* Reads argv (after the command's name), then the environment, then the config file; zero-initializes *out. With --help it stops there.
 * max_positional: how many words without a dash the command takes. Errors: MP_E_USAGE with a sentence; *out can then only be deinitialized. */
mp_err app_flags_parse(app_flags *out, unsigned command, int max_positional, int argc, char **argv);
void   app_flags_deinit(app_flags *flags);

/* Gives one flag a value; a stronger source wins, an equal one replaces (or adds, if the flag repeats). where is copied. */
mp_err app_flags_set(app_flags *flags, const app_flag *flag, const char *text, app_source source, const char *where);

/* What was given, or the fallback. */
bool        app_given(const app_flags *flags, app_flag_id id);
bool        app_on(const app_flags *flags, app_flag_id id);
const char *app_text(const app_flags *flags, app_flag_id id); /* NULL: not given */
int         app_int(const app_flags *flags, app_flag_id id, int fallback);
double      app_real(const app_flags *flags, app_flag_id id, double fallback);
uint64_t    app_bytes(const app_flags *flags, app_flag_id id);

/* "4G,8G" or "1,2,3" into a new array (free it). Values are checked against the flag's range. */
mp_err app_list_parse(const app_flag *flag, const char *text, double **out, int *n);
/* "15043-1.5", "15043+inf" as llama.cpp writes it: the token and what is added to its logit. */
mp_err app_bias_parse(const char *text, int32_t *token, float *bias);

void app_help_flags(FILE *to, unsigned command);            /* the flags of one command */
void app_help_dry_run(FILE *to, const app_flags *flags);    /* each value and where it came from; JSON with --json */
#endif
