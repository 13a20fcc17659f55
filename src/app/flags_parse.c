/* Where values come from: the command line, MOPED_* variables, the config file. One of the two files that read the environment. */
#include "app/flags.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "app/paths.h"

enum { NEAR_ENOUGH = 3, WORD_MAX = 63 };

int app_distance(const char *a, const char *b) {
    /* Damerau-Levenshtein distance, the "optimal string alignment" form: three rows are enough. */
    int rows[3][WORD_MAX + 1], n = (int)strlen(a), m = (int)strlen(b);
    if (n > WORD_MAX || m > WORD_MAX) return WORD_MAX;
    for (int j = 0; j <= m; j++) rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best) best = up[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best) best = up2[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *app_flag_nearest(unsigned command, const char *word) {
    const char *name = word + strspn(word, "-"), *best = "";
    int least = NEAR_ENOUGH + 1;
    const app_flag *f;
    for (size_t i = 0; (f = app_flag_at(i)) != NULL; i++) {
        int d = app_distance(name, f->name);
        if (!(f->commands & command) || d >= least || 2 * d > (int)strlen(f->name)) continue; /* half of it wrong is not like it */
        least = d;
        best = f->name;
    }
    return best;
}

static mp_err unknown(unsigned command, const char *word) {
    const char *near = app_flag_nearest(command, word), *elsewhere = "";
    if (app_flag_find(APP_ALL, word)) elsewhere = " for this command";
    if (*near && !*elsewhere) return mp_fail(MP_E_USAGE, "there is no flag %s; did you mean --%s?", word, near);
    return mp_fail(MP_E_USAGE, "there is no flag %s%s; --help lists those that there are", word, elsewhere);
}

/* One flag at argv[*i]; moves *i over its value. */
static mp_err parse_flag(app_flags *flags, int argc, char **argv, int *i) {
    char word[WORD_MAX + 1], *arg = argv[*i];
    size_t n = strcspn(arg, "=");
    const char *value = strncmp(arg, "--", 2) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
    if (!value) n = strlen(arg);
    snprintf(word, sizeof word, "%.*s", (int)n, arg);
    const app_flag *flag = app_flag_find(flags->command, word);
    if (!flag) return unknown(flags->command, word);
    if (!value && flag->kind == APP_BOOL) value = "on";
    if (!value && *i + 1 >= argc) return mp_fail(MP_E_USAGE, "%s needs a value, %s", word, flag->value);
    if (!value) value = argv[++*i];
    return app_flags_set(flags, flag, value, APP_FROM_FLAG, word);
}

static mp_err parse_arguments(app_flags *flags, int max_positional, int argc, char **argv) {
    int limit = max_positional, n = 0;
    char *words[APP_POSITIONALS + 1];
    bool literal = false;
    for (int i = 0; i < argc; i++) {
        if (!literal && strcmp(argv[i], "--") == 0) {
            literal = true;
        } else if (!literal && argv[i][0] == '-' && argv[i][1] != '\0') {
            mp_err e = parse_flag(flags, argc, argv, &i);
            if (e) return e;
        } else if (n < limit && n < APP_POSITIONALS) {
            words[n++] = argv[i];
        } else {
            return mp_fail(MP_E_USAGE, "one word too many: \"%s\"; put a text of several words in quotes", argv[i]);
        }
    }
    /* The model may be named without -m; what follows it belongs to the command. */
    int first = 0;
    const app_flag *model = app_flag_find(flags->command, "--model");
    if (model && n > 0 && flags->values[F_MODEL].source != APP_FROM_FLAG) {
        mp_err e = app_flags_set(flags, model, words[0], APP_FROM_FLAG, "MODEL");
        if (e) return e;
        first = 1;
    }
    if (model && !first && n == max_positional && max_positional > 0)
        return mp_fail(MP_E_USAGE, "one word too many: \"%s\" (-m names the model already)", words[n - 1]);
    for (int k = first; k < n; k++) flags->positional[flags->n_positional++] = words[k];
    return MP_OK;
}

static mp_err read_environment(app_flags *flags) {
    const app_flag *f;
    for (size_t i = 0; (f = app_flag_at(i)) != NULL; i++) {
        char name[WORD_MAX + 1];
        if (!(f->commands & flags->command) || f->id == F_HELP) continue;
        int n = snprintf(name, sizeof name, "MOPED_%s", f->name);
        for (int k = 0; k < n; k++) name[k] = name[k] == '-' ? '_' : (char)toupper((unsigned char)name[k]);
        const char *text = getenv(name);
        mp_err e = text ? app_flags_set(flags, f, text, APP_FROM_ENV, name) : MP_OK;
        if (e) return e;
    }
    return MP_OK;
}

/* Cuts the spaces around text, in place. */
static char *trim(char *text) {
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1])) *--end = '\0';
    while (isspace((unsigned char)*text)) text++;
    return text;
}

static mp_err read_line(app_flags *flags, char *line, const char *where) {
    char full[WORD_MAX + 3], label[512];
    char *text = trim(line);
    if (*text == '\0' || *text == '#') return MP_OK;
    char *equals = strchr(text, '=');
    if (!equals) return mp_fail(MP_E_USAGE, "%s: \"%s\" is not of the form `name = value`", where, text);
    *equals = '\0';
    char *name = trim(text), *value = trim(equals + 1);
    size_t n = strlen(value);
    if (n >= 2 && value[0] == '"' && value[n - 1] == '"') value[n - 1] = '\0', value++; /* quotes keep spaces at the ends */
    snprintf(full, sizeof full, "--%s", name);
    if (name[0] == '-' || !app_flag_find(APP_ALL, full)) {
        const char *near = app_flag_nearest(APP_ALL, name);
        if (*near) return mp_fail(MP_E_USAGE, "%s: there is no setting \"%s\"; did you mean %s?", where, name, near);
        return mp_fail(MP_E_USAGE, "%s: there is no setting \"%s\"", where, name);
    }
    const app_flag *flag = app_flag_find(flags->command, full);
    if (!flag || flag->id == F_HELP || flag->id == F_CONFIG) return MP_OK; /* one file serves all commands */
    snprintf(label, sizeof label, "%s: %s", where, name);
    return app_flags_set(flags, flag, value, APP_FROM_FILE, label);
}

static mp_err read_config(app_flags *flags) {
    char *path = NULL, *text = NULL, where[400];
    const char *named = app_text(flags, F_CONFIG);
    size_t n = 0;
    if (!named && app_path(APP_DIR_CONFIG, "config", 0, &path) != MP_OK) return MP_OK; /* no home, no file */
    mp_err e = app_read_file(named ? named : path, &text, &n);
    if (e) {
        free(path);
        return named ? mp_fail(MP_E_USAGE, "the config file %s cannot be read", named) : MP_OK;
    }
    char *rest = text, *line;
    for (int i = 1; !e && (line = strsep(&rest, "\n")) != NULL; i++) {
        snprintf(where, sizeof where, "%s:%d", named ? named : path, i);
        e = read_line(flags, line, where);
    }
    free(text);
    free(path);
    return e;
}

mp_err app_flags_parse(app_flags *out, unsigned command, int max_positional, int argc, char **argv) {
    *out = (app_flags){.command = command};
    mp_err e = parse_arguments(out, max_positional, argc, argv);
    if (!e && app_on(out, F_HELP)) return MP_OK;
    if (!e) e = read_environment(out);
    if (!e) e = read_config(out);
    return e;
}
