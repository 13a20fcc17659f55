/* Where things lie. One of the two files that read the environment. */
#include "app/paths.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Set by the build: the installed data folder, and the demo folder of the checkout. */
#ifndef MOPED_DATA_DIR
#define MOPED_DATA_DIR "/usr/local/share/moped"
#endif
#ifndef MOPED_DEMO_DIR
#define MOPED_DEMO_DIR "demo"
#endif

static mp_err make_folders(char *path) {
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        int failed = mkdir(path, 0700) != 0 && errno != EEXIST;
        if (failed) {
            mp_fail(MP_E_FAILED, "cannot make the folder %s: %s", path, strerror(errno));
            return *p = '/', MP_E_FAILED;
        }
        *p = '/';
    }
    return MP_OK;
}

mp_err app_path(app_dir dir, const char *name, int make, char **out) {
    static const struct { const char *variable, *home; } DIRS[] = {
        {"XDG_CONFIG_HOME", ".config"}, {"XDG_STATE_HOME", ".local/state"}, {"XDG_CACHE_HOME", ".cache"}};
    const char *base = getenv(DIRS[dir].variable), *home = getenv("HOME");
    *out = NULL;
    char *path = NULL;
    int n;
    if (base && base[0] == '/') /* the specification says that relative ones are ignored */
        n = asprintf(&path, "%s/moped/%s", base, name);
    else if (home && home[0] == '/')
        n = asprintf(&path, "%s/%s/moped/%s", home, DIRS[dir].home, name);
    else
        return mp_fail(MP_E_FAILED, "neither %s nor HOME says where moped may keep %s", DIRS[dir].variable, name);
    if (n < 0) return mp_fail(MP_E_FAILED, "out of memory");
    mp_err e = make ? make_folders(path) : MP_OK;
    if (e) return free(path), e;
    *out = path;
    return MP_OK;
}

mp_err app_default_model(char **out) {
    static const char *const PLACES[] = {MOPED_DATA_DIR "/*.gguf", MOPED_DEMO_DIR "/*.gguf"};
    *out = NULL;
    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++) {
        glob_t found;
        if (glob(PLACES[i], 0, NULL, &found) == 0) {
            *out = strdup(found.gl_pathv[0]); /* glob sorts, so the first one is the same every time */
            globfree(&found);
            return *out ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
        }
    }
    return mp_fail(MP_E_USAGE, "no model was named and none came with this moped: give one, as in `moped run model.gguf`");
}

mp_err app_temp_folder(const char *name, char **out) {
    const char *parent = getenv("TMPDIR");
    *out = NULL;
    if (!parent || !*parent) parent = ".";
    if (asprintf(out, "%s/%s-XXXXXX", parent, name) < 0) return *out = NULL, mp_fail(MP_E_FAILED, "out of memory");
    if (mkdtemp(*out)) return MP_OK;
    mp_err e = mp_fail(MP_E_FAILED, "cannot make a folder in %s: %s", parent, strerror(errno));
    free(*out);
    *out = NULL;
    return e;
}

static mp_err read_all(FILE *f, const char *path, char **out, size_t *n) {
    char *text = NULL;
    size_t used = 0, room = 0;
    for (;;) {
        if (room - used < 65536) {
            char *more = realloc(text, room = room * 2 + 131072);
            if (!more) return free(text), mp_fail(MP_E_FAILED, "out of memory while reading %s", path);
            text = more;
        }
        size_t k = fread(text + used, 1, room - used - 1, f);
        used += k;
        if (k == 0) break;
    }
    if (ferror(f)) return free(text), mp_fail(MP_E_FAILED, "cannot read %s: %s", path, strerror(errno));
    text[used] = '\0';
    *out = text;
    *n = used;
    return MP_OK;
}

mp_err app_read_file(const char *path, char **out, size_t *n) {
    *out = NULL;
    *n = 0;
    if (strcmp(path, "-") == 0) return read_all(stdin, "standard input", out, n);
    FILE *f = fopen(path, "re");
    if (!f) return mp_fail(MP_E_FAILED, "cannot open %s: %s", path, strerror(errno));
    mp_err e = read_all(f, path, out, n);
    fclose(f);
    return e;
}

mp_err app_output_open(const char *path, app_output *out) {
    *out = (app_output){0};
    out->path = strdup(path);
    if (!out->path || asprintf(&out->part, "%s.part", path) < 0) {
        free(out->path);
        *out = (app_output){0};
        return mp_fail(MP_E_FAILED, "out of memory");
    }
    out->file = fopen(out->part, "we");
    if (out->file) return MP_OK;
    mp_fail(MP_E_FAILED, "cannot write %s: %s", path, strerror(errno));
    free(out->path);
    free(out->part);
    *out = (app_output){0};
    return MP_E_FAILED;
}

mp_err app_output_close(app_output *out, int keep) {
    mp_err e = MP_OK;
    if (!out->file) return MP_OK;
    int bad = ferror(out->file);
    if (fclose(out->file) != 0) bad = 1;
    if (keep && bad) e = mp_fail(MP_E_FAILED, "cannot write %s: %s", out->path, strerror(errno));
    if (keep && !bad && rename(out->part, out->path) != 0)
        e = mp_fail(MP_E_FAILED, "cannot write %s: %s", out->path, strerror(errno));
    if (!keep || e) unlink(out->part);
    free(out->path);
    free(out->part);
    *out = (app_output){0};
    return e;
}
