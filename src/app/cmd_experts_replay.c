/* `moped experts replay`: what a cache policy would have done on a recorded trace. */
#include "app/app.h"

int app_experts_replay(app_flags *flags) {
    (void)flags;
    return app_report(mp_fail(MP_E_FAILED, "experts replay is being built"));
}
