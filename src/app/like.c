#include "app/like.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/json.h"
#include "app/paths.h"
#include "base/os.h"
#include "base/size.h"

/* ---- the list ---- */

static void put_info(json_t *o, const moped_shape_info *s) {
    app_put_text(o, "arch", s->arch);
    app_put_text(o, "type", s->type);
    app_put_int(o, "layers", (uint64_t)s->layers);
    app_put_int(o, "width", (uint64_t)s->width);
    app_put_int(o, "experts", (uint64_t)s->experts);
    app_put_int(o, "experts_used", (uint64_t)s->experts_used);
    app_put_int(o, "parameters", s->parameters);
    app_put_int(o, "active_parameters", s->active_parameters);
    app_put_int(o, "file_bytes", s->file_bytes);
}

static void print_info(const moped_shape_info *s) {
    char experts[32] = "", size[MP_SIZE_TEXT];
    if (s->experts) snprintf(experts, sizeof experts, "%d of %d", s->experts_used, s->experts);
    printf("%-18s %-9s %6d %6d %9s %9.2fB %9.2fB %8s\n", s->name, s->arch, s->layers, s->width, experts, (double)s->parameters * 1e-9,
           (double)s->active_parameters * 1e-9, mp_size_format(s->file_bytes, size));
}

int app_like_list(const app_flags *flags) {
    const char *type = app_text(flags, F_TYPE);
    json_t *list = json_array();
    moped_shape_info s;
    mp_err e = MOPED_OK;
    for (int i = 0; !e && moped_shape_at(i); i++) {
        e = moped_shape_find(moped_shape_at(i), type, &s);
        if (e) break;
        if (app_on(flags, F_JSON)) {
            json_t *o = json_object();
            app_put_text(o, "name", s.name);
            put_info(o, &s);
            json_array_append_new(list, o);
            continue;
        }
        if (i == 0) printf("%-18s %-9s %6s %6s %9s %10s %10s %8s\n", "shape", "family", "layers", "width", "experts", "parameters", "per token", s.type);
        print_info(&s);
    }
    if (!e && app_on(flags, F_JSON)) {
        json_t *o = json_object();
        app_put(o, "shapes", json_incref(list));
        e = app_json_print(stdout, o);
        json_decref(o);
    } else if (!e) {
        printf("SHAPE@N takes the first N layers. Types (--type):");
        for (int i = 0; moped_synth_type_at(i); i++) printf("%s %s", i ? "," : "", moped_synth_type_at(i));
        printf(".\n");
    }
    json_decref(list);
    return app_report(e);
}

/* ---- the file ---- */

static mp_err check_place(const char *keep) {
    if (access(keep, F_OK) == 0)
        return mp_fail(MP_E_USAGE, "--keep: %s is there already; measure it with `moped bench %s`, or keep the new one elsewhere", keep, keep);
    return MP_OK;
}

mp_err app_like_open(const app_flags *flags, app_like *out) {
    const char *keep = app_text(flags, F_KEEP_FILE);
    *out = (app_like){.shape = app_text(flags, F_LIKE), .type = app_text(flags, F_TYPE)};
    if (!out->shape) {
        const app_value *v = &flags->values[app_given(flags, F_KEEP_FILE) ? F_KEEP_FILE : F_TYPE];
        return v->source == APP_FROM_FLAG ? mp_fail(MP_E_USAGE, "%s says how --like makes a model; without --like there is none to make", v->where) : MP_OK;
    }
    if (flags->values[F_MODEL].source == APP_FROM_FLAG)
        return mp_fail(MP_E_USAGE, "a model is named and --like makes one: leave one out");
    mp_err e = moped_shape_find(out->shape, out->type, &out->info);
    if (e && moped_shape_find(out->shape, NULL, &out->info) != MOPED_OK)
        return mp_fail(e, "%s; `moped bench --like list` names the shapes", mp_err_text());
    if (e) return moped_shape_find(out->shape, out->type, &out->info); /* for the sentence about the type */
    if (keep && (e = check_place(keep)) != MP_OK) return e;
    out->path = keep ? strdup(keep) : NULL;
    if (keep) return out->path ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
    e = app_temp_folder("moped-like", &out->folder);
    if (!e && asprintf(&out->path, "%s/%s.gguf", out->folder, out->shape) < 0) {
        out->path = NULL;
        e = mp_fail(MP_E_FAILED, "out of memory");
    }
    if (e) app_like_close(out);
    return e;
}

static int on_progress(void *user, const char *stage, uint64_t done, uint64_t total) {
    if (app_signal()) return 1;
    app_ui_bar(user, "write", stage, done, total);
    return 0;
}

mp_err app_like_make(app_like *like, app_ui *ui) {
    moped_synth_options o = {.shape = like->shape, .type = like->type, .path = like->path, .progress = on_progress, .user = ui};
    char size[MP_SIZE_TEXT], rate[MP_SIZE_TEXT];
    if (!like->shape) return MP_OK;
    if (ui->show)
        fprintf(stderr, "like   %s, %s: %.2fB parameters, %.2fB used a token, %s, random weights → %s\n", like->shape, like->info.type,
                (double)like->info.parameters * 1e-9, (double)like->info.active_parameters * 1e-9, mp_size_format(like->info.file_bytes, size), like->path);
    ui->start_ns = mp_now_ns();
    mp_err e = moped_synth(&o);
    double seconds = (double)(mp_now_ns() - ui->start_ns) * 1e-9;
    if (ui->bar_drawn) fputs(e ? "\n" : "\r\033[K", stderr);
    ui->bar_drawn = false;
    if (!e && ui->show)
        fprintf(stderr, "wrote  %s in %.1fs, %s/s\n", mp_size_format(like->info.file_bytes, size), seconds,
                mp_size_format((uint64_t)((double)like->info.file_bytes / seconds), rate));
    return e;
}

void app_like_put(const app_like *like, json_t *object) {
    if (!like->shape) return;
    json_t *o = json_object();
    app_put_text(o, "shape", like->shape);
    put_info(o, &like->info);
    app_put(object, "like", o);
}

void app_like_close(app_like *like) {
    if (like->folder) {
        if (like->path) unlink(like->path);
        rmdir(like->folder);
    }
    free(like->path);
    free(like->folder);
    *like = (app_like){0};
}
