/* `moped experts profile`, `stats`, `pin` and `unpin`: who is hot, and who stays. */
#include "app/app.h"

int app_experts_profile(app_flags *flags) {
    (void)flags;
    return app_report(mp_fail(MP_E_FAILED, "experts profile is being built"));
}

int app_experts_stats(app_flags *flags) {
    return app_experts_profile(flags);
}

int app_experts_pin(app_flags *flags) {
    return app_experts_profile(flags);
}

int app_experts_unpin(app_flags *flags) {
    return app_experts_profile(flags);
}
