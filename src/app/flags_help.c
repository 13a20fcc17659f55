/* What people see of the flags: the help of a command, and --dry-run. */
#include "app/flags.h"

#include <stdlib.h>
#include <string.h>

#include "app/json.h"

static void print_flag(FILE *to, const app_flag *f) {
    char left[96];
    const char *gap = *f->aliases ? ", " : "";
    char aliases[48];
    size_t n = 0;
    for (const char *p = f->aliases; *p && n + 2 < sizeof aliases; p++) { /* "-n --x" reads "-n, --x" */
        if (*p == ' ') aliases[n++] = ',';
        aliases[n++] = *p;
    }
    aliases[n] = '\0';
    snprintf(left, sizeof left, "%s%s--%s%s%s", aliases, gap, f->name, *f->value ? " " : "", f->value);
    if (strlen(left) > 30)
        fprintf(to, "  %s\n  %-30s  %s", left, "", f->help);
    else
        fprintf(to, "  %-30s  %s", left, f->help);
    if (*f->fallback && f->kind != APP_BOOL) fprintf(to, " [%s]", f->fallback);
    fputc('\n', to);
}

void app_help_flags(FILE *to, unsigned command) {
    const app_flag *f;
    for (size_t i = 0; (f = app_flag_at(i)) != NULL; i++)
        if (f->commands & command) print_flag(to, f);
}

static const char *source_name(app_source source) {
    static const char *const NAMES[] = {"default", "file", "environment", "flag"};
    return NAMES[source];
}

static json_t *value_json(const app_value *v, const app_flag *f) {
    json_t *o = json_object(), *list = NULL;
    if (v->source == APP_FROM_DEFAULT) {
        json_object_set_new(o, "value", json_null());
        json_object_set_new(o, "default", app_json_text(f->fallback, strlen(f->fallback)));
    } else if (f->repeats) {
        list = json_array();
        for (int i = 0; i < v->n_texts; i++) json_array_append_new(list, app_json_text(v->texts[i], strlen(v->texts[i])));
        json_object_set_new(o, "value", list);
    } else {
        json_object_set_new(o, "value", app_json_text(v->texts[0], strlen(v->texts[0])));
    }
    json_object_set_new(o, "source", json_string(source_name(v->source)));
    if (v->where) json_object_set_new(o, "where", app_json_text(v->where, strlen(v->where)));
    return o;
}

static void dry_run_json(FILE *to, const app_flags *flags) {
    json_t *values = json_object();
    const app_flag *f;
    for (size_t i = 0; (f = app_flag_at(i)) != NULL; i++)
        if ((f->commands & flags->command) && f->id != F_HELP && f->id != F_DRY_RUN)
            json_object_set_new(values, f->name, value_json(&flags->values[f->id], f));
    json_t *o = json_pack("{s:o}", "values", values);
    app_json_print(to, o);
    json_decref(o);
}

static void dry_run_line(FILE *to, const app_flag *f, const app_value *v) {
    if (v->source == APP_FROM_DEFAULT) {
        fprintf(to, "  %-20s %-24s default\n", f->name, *f->fallback ? f->fallback : "-");
        return;
    }
    for (int i = 0; i < v->n_texts; i++) {
        fprintf(to, "  %-20s %-24s %s %s\n", f->name, v->texts[i], source_name(v->source), v->where);
    }
}

void app_help_dry_run(FILE *to, const app_flags *flags) {
    const app_flag *f;
    if (app_on(flags, F_JSON)) {
        dry_run_json(to, flags);
        return;
    }
    for (size_t i = 0; (f = app_flag_at(i)) != NULL; i++)
        if ((f->commands & flags->command) && f->id != F_HELP && f->id != F_DRY_RUN)
            dry_run_line(to, f, &flags->values[f->id]);
    for (int i = 0; i < flags->n_positional; i++) fprintf(to, "  %-20s %-24s argument\n", "TEXT", flags->positional[i]);
}
