/* The policies by name. */
#include "mem/policy.h"

#include <stdio.h>
#include <string.h>

/* For the operating system's page cache, which the engine then leaves the caching to: the few slots that it has are buffers, and the oldest goes. */
static mp_err open_none(mp_ledger *ledger, const mp_policy_config *config, mp_policy *out) {
    mp_err err = mp_policy_lru(ledger, config, out);
    if (!err) out->name = "none";
    return err;
}

static const struct { const char *name; mp_err (*open)(mp_ledger *ledger, const mp_policy_config *config, mp_policy *out); } POLICIES[] = {
    {"adaptive", mp_policy_adaptive}, {"lru", mp_policy_lru}, {"lfu", mp_policy_lfu}, {"static", mp_policy_static}, {"none", open_none},
};
enum { N_POLICIES = sizeof POLICIES / sizeof *POLICIES };

const char *mp_policy_name_at(int i) {
    return i >= 0 && i < N_POLICIES ? POLICIES[i].name : NULL;
}

mp_err mp_policy_open(mp_ledger *ledger, const mp_policy_config *config, mp_policy *out) {
    char known[128] = "";
    *out = (mp_policy){0};
    for (int i = 0; i < N_POLICIES; i++) {
        if (!config->name || !*config->name || !strcmp(config->name, POLICIES[i].name)) return POLICIES[i].open(ledger, config, out);
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", POLICIES[i].name);
    }
    return mp_fail(MP_E_USAGE, "there is no policy \"%.64s\"; this version has: %s", config->name, known);
}
