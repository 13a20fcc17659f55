/* Where things lie, by the XDG base directory specification, and small whole-file helpers. */
#ifndef APP_PATHS_H
#define APP_PATHS_H

#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

typedef enum app_dir { APP_DIR_CONFIG, APP_DIR_STATE, APP_DIR_CACHE } app_dir;

/* "$XDG_..._HOME/moped/NAME", else the same under $HOME; in a new string (free it). make: creates the folders on the way.
 * Errors: MP_E_FAILED when there is no home or a folder cannot be made. */
mp_err app_path(app_dir dir, const char *name, int make, char **out);

/* The model that run and bench take when none is named: $MOPED_MODEL is a flag's variable and handled there; here the first *.gguf
 * of the installed data folder, else of the demo folder of the sources. Free it. Errors: MP_E_USAGE when there is none. */
mp_err app_default_model(char **out);

/* A new folder "NAME-XXXXXX" in $TMPDIR, else in the current one, for a file that is too large for /tmp. Free *out, remove the folder.
 * Errors: MP_E_FAILED. */
mp_err app_temp_folder(const char *name, char **out);

/* A whole file, or standard input for "-", with a NUL behind its n bytes. Free it. Errors: MP_E_FAILED. */
mp_err app_read_file(const char *path, char **out, size_t *n);

/* Opens "PATH.part" for writing; close renames it to PATH, or removes it when keep is 0, so that no half-written file is left. */
typedef struct app_output {
    FILE *file;
    char *path, *part;
} app_output;
mp_err app_output_open(const char *path, app_output *out);
mp_err app_output_close(app_output *out, int keep);
#endif
