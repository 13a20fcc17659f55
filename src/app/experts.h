/* What the commands about profiles share. */
#ifndef APP_EXPERTS_H
#define APP_EXPERTS_H

#include <moped.h>

#include "app/flags.h"

/* The profile that --expert-profile names, else the model's automatic one. Errors: as moped_profile_open; MP_E_USAGE for none. */
mp_err app_profile_of(const app_flags *flags, moped_profile **out);
#endif
