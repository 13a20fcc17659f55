/* Text in, tokens out: what the commands that read a prompt share. */
#ifndef APP_TEXT_H
#define APP_TEXT_H

#include <moped.h>

#include "app/flags.h"

/* The model flag, or the model that ships when `ships`; *out is a new string (free it). Errors: MP_E_USAGE when there is none. */
mp_err app_model_path(const app_flags *flags, bool ships, char **out);

/* The text of -p, -f or a word argument, or all of standard input when that is no terminal. *out is new, NUL behind its n bytes.
 * *out is NULL without an error when there is no text at all (standard input is a terminal). Errors: a file that cannot be read; two texts. */
mp_err app_input_text(const app_flags *flags, const char *word, char **out, size_t *n);

typedef struct app_ids {
    int32_t *ids; /* app_ids_deinit frees them */
    size_t   n;
    bool     own; /* from malloc, else from the library */
} app_ids;
/* flags: MOPED_TOK_*. */
mp_err app_ids_of(const moped_vocab *vocab, const char *text, size_t n, unsigned flags, app_ids *out);
void   app_ids_deinit(app_ids *ids);
/* The begin token in front, unless it is there already or the vocabulary has none. */
mp_err app_ids_begin(const moped_vocab *vocab, app_ids *ids);
#endif
