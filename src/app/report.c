/* One sentence on stderr, and the exit code that goes with it. */
#include "app/app.h"

#include "base/err.h"

int app_report(int e) {
    static const int CODES[] = {
        [-MP_OK] = APP_EXIT_FINE,          [-MP_E_FAILED] = APP_EXIT_FAILED, [-MP_E_USAGE] = APP_EXIT_USAGE, [-MP_E_BUDGET] = APP_EXIT_NO_FIT,
        [-MP_E_MODEL] = APP_EXIT_MODEL,    [-MP_E_GUARD] = APP_EXIT_GUARD,   [-MP_E_CANCELLED] = APP_EXIT_FAILED,
        [-MP_E_CONTEXT] = APP_EXIT_FAILED,
    };
    if (e == MP_OK) return APP_EXIT_FINE;
    if (app_signal()) return 128 + app_signal();
    fprintf(stderr, "moped: %s\n", mp_err_text());
    return -e < (int)(sizeof CODES / sizeof *CODES) ? CODES[-e] : APP_EXIT_FAILED;
}
