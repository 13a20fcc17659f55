/* One value of one flag: checking what was given, remembering the strongest source, and handing it out. */
#include "app/flags.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

static mp_err no_memory(void) {
    return mp_fail(MP_E_FAILED, "out of memory while reading the flags");
}

/* "must be from 0 to 1"; "must be at least 1" where there is no end that a person would reach. */
static mp_err out_of_range(const app_flag *flag, const char *where, const char *text) {
    if (flag->max > flag->min && (flag->max < INT32_MAX || *text != '-'))
        return mp_fail(MP_E_USAGE, "%s must be from %g to %.16g, not %s", where, flag->min, flag->max, text);
    return mp_fail(MP_E_USAGE, "%s must be at least %g, not %s", where, flag->min, text);
}

static mp_err number(const app_flag *flag, const char *where, const char *text, double *out) {
    char *end = NULL;
    errno = 0;
    double x = strtod(text, &end);
    bool whole = flag->kind == APP_INT || flag->kind == APP_INTS;
    *out = 0;
    if (end == text || *end != '\0' || !isfinite(x) || (whole && x != floor(x)))
        return mp_fail(MP_E_USAGE, "%s needs a %s, not \"%s\"", where, whole ? "whole number" : "number", text);
    if (x < flag->min || (flag->max > flag->min && x > flag->max)) return out_of_range(flag, where, text);
    *out = x;
    return MP_OK;
}

static mp_err size(const app_flag *flag, const char *where, const char *text, uint64_t *out) {
    mp_err e = mp_size_parse(text, out);
    if (e) return mp_fail_in(e, where);
    return (double)*out < flag->min ? out_of_range(flag, where, text) : MP_OK;
}

static mp_err truth(const char *where, const char *text, int64_t *out) {
    static const char *const WORDS[2][5] = {{"off", "0", "false", "no", ""}, {"on", "1", "true", "yes", "y"}};
    for (int v = 0; v < 2; v++)
        for (int i = 0; i < 5; i++)
            if (strcmp(text, WORDS[v][i]) == 0) return *out = v, MP_OK;
    return mp_fail(MP_E_USAGE, "%s is on or off, not \"%s\"", where, text);
}

static mp_err choice(const app_flag *flag, const char *where, const char *text) {
    size_t n = strlen(text);
    for (const char *p = flag->choices; *p != '\0';) {
        size_t k = strcspn(p, " ");
        if (k == n && memcmp(p, text, n) == 0) return MP_OK;
        p += k + strspn(p + k, " ");
    }
    return mp_fail(MP_E_USAGE, "%s is one of: %s; not \"%s\"", where, flag->choices, text);
}

/* Checks text against the flag and fills the numbers of *out. */
static mp_err check(const app_flag *flag, const char *where, const char *text, app_value *out) {
    double *list = NULL, real = 0;
    float bias = 0;
    int32_t token = 0;
    int n = 0;
    mp_err e = MP_OK;
    switch (flag->kind) {
    case APP_BOOL: return truth(where, text, &out->integer);
    case APP_INT:
    case APP_REAL:
        e = number(flag, where, text, &real);
        out->real = real;
        out->integer = flag->kind == APP_INT ? (int64_t)real : 0;
        return e;
    case APP_SIZE: return size(flag, where, text, &out->bytes);
    case APP_CHOICE: return choice(flag, where, text);
    case APP_BIAS:
        e = app_bias_parse(text, &token, &bias);
        return e ? mp_fail_in(e, where) : MP_OK;
    case APP_INTS:
    case APP_SIZES:
        e = app_list_parse(flag, text, &list, &n);
        free(list);
        return e;
    case APP_TEXT: return MP_OK;
    }
    return MP_OK;
}

mp_err app_bias_parse(const char *text, int32_t *token, float *bias) {
    char *end = NULL;
    errno = 0;
    long id = strtol(text, &end, 10);
    *token = 0;
    *bias = 0;
    if (end != text && errno == 0 && id >= 0 && id <= INT32_MAX && (*end == '+' || *end == '-')) {
        char *stop = NULL;
        float x = strtof(end, &stop);
        if (stop != end + 1 && *stop == '\0' && !isnan(x)) {
            *token = (int32_t)id;
            *bias = x;
            return MP_OK;
        }
    }
    return mp_fail(MP_E_USAGE, "a bias is a token id, + or -, and a number, like 15043+1 or 15043-inf, not \"%s\"", text);
}

mp_err app_list_parse(const app_flag *flag, const char *text, double **out, int *n) {
    char where[64], *copy = strdup(text), *rest = copy, *item = NULL;
    double *list = malloc((strlen(text) + 1) * sizeof *list); /* more than there can be items */
    mp_err e = copy && list ? MP_OK : no_memory();
    int k = 0;
    snprintf(where, sizeof where, "--%s", flag->name);
    *out = NULL;
    *n = 0;
    while (!e && (item = strsep(&rest, ",")) != NULL) {
        uint64_t bytes = 0;
        item += strspn(item, " ");
        if (flag->kind == APP_SIZES) {
            e = size(flag, where, item, &bytes);
            list[k++] = (double)bytes;
        } else {
            e = number(flag, where, item, &list[k++]);
        }
    }
    free(copy);
    if (e) return free(list), e;
    *out = list;
    *n = k;
    return MP_OK;
}

static void forget_texts(app_value *v) {
    for (int i = 0; i < v->n_texts; i++) free(v->texts[i]);
    free(v->texts);
    v->texts = NULL;
    v->n_texts = 0;
}

mp_err app_flags_set(app_flags *flags, const app_flag *flag, const char *text, app_source source, const char *where) {
    app_value *v = &flags->values[flag->id], fresh = {0};
    mp_err e = check(flag, where, text, &fresh);
    if (e || v->source > source) return e;
    if (v->source < source || !flag->repeats) forget_texts(v);
    char **texts = realloc(v->texts, (size_t)(v->n_texts + 1) * sizeof *texts), *copy = strdup(text), *from = strdup(where);
    if (texts) v->texts = texts;
    if (!texts || !copy || !from) return free(copy), free(from), no_memory();
    v->texts[v->n_texts++] = copy;
    free(v->where);
    v->where = from;
    v->source = source;
    v->integer = fresh.integer;
    v->real = fresh.real;
    v->bytes = fresh.bytes;
    return MP_OK;
}

void app_flags_deinit(app_flags *flags) {
    for (int i = 0; i < F_COUNT; i++) {
        forget_texts(&flags->values[i]);
        free(flags->values[i].where);
    }
    *flags = (app_flags){0};
}

bool app_given(const app_flags *flags, app_flag_id id) {
    return flags->values[id].source != APP_FROM_DEFAULT;
}

bool app_on(const app_flags *flags, app_flag_id id) {
    return flags->values[id].integer != 0;
}

const char *app_text(const app_flags *flags, app_flag_id id) {
    const app_value *v = &flags->values[id];
    return v->n_texts ? v->texts[v->n_texts - 1] : NULL;
}

int app_int(const app_flags *flags, app_flag_id id, int fallback) {
    return app_given(flags, id) ? (int)flags->values[id].integer : fallback;
}

double app_real(const app_flags *flags, app_flag_id id, double fallback) {
    return app_given(flags, id) ? flags->values[id].real : fallback;
}

uint64_t app_bytes(const app_flags *flags, app_flag_id id) {
    return flags->values[id].bytes;
}
