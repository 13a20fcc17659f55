/* `moped bench --like SHAPE`: the model file with random weights that is made, measured like any other, and removed unless --keep names a place. */
#ifndef APP_LIKE_H
#define APP_LIKE_H

#include <jansson.h>

#include "app/app.h"

typedef struct app_like {
    const char *shape, *type; /* the flags'; shape NULL: no --like */
    char       *path;         /* of the file; owned */
    char       *folder;       /* made for it and removed with it; NULL with --keep. Owned */
    moped_shape_info info;
} app_like;

/* `--like list`: the shapes with their parameters and sizes. Returns the exit code. */
int app_like_list(const app_flags *flags);

/* Checks the flags and chooses the place: --keep, else a folder in $TMPDIR or here. Makes nothing yet; without --like it leaves *out empty.
 * Errors: MP_E_USAGE (unknown shape or type, a model named as well, --keep on a file that is there). */
mp_err app_like_open(const app_flags *flags, app_like *out);
/* Writes the file, with a line and a bar on stderr when ui->show. Errors: as moped_synth. */
mp_err app_like_make(app_like *like, app_ui *ui);
void   app_like_put(const app_like *like, json_t *object); /* what bench's --json says of it */
void   app_like_close(app_like *like); /* removes what is not to be kept */
#endif
