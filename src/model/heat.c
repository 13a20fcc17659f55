/* Profiles of a model: where they lie, starting warm, keeping what was counted. */
#include "model/heat.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_ROOM = 49 };

/* ---- where ---- */

/* What a file may be called after: general.name in letters, digits, dots, dashes. */
static void file_name(const mp_model *m, char out[NAME_ROOM])
{
    mp_str name = { "model", 5 };
    size_t n = 0;
    mp_gguf_str(m->gguf, "general.name", &name);
    for (; n < name.n && n < NAME_ROOM - 1; n++) {
        char c = name.s[n];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (n && (c == '.' || c == '_'));
        out[n] = plain ? c : '-';
    }
    out[n] = '\0';
}

mp_err mp_heat_path(const mp_model *m, const mp_profile_id *id, const char *given, char **out, bool *named)
{
    char name[NAME_ROOM], tail[NAME_ROOM + 32] = "";
    size_t n = strlen(given);
    *out = NULL;
    *named = !n || given[n - 1] != '/';
    if (!*named) {
        file_name(m, name);
        snprintf(tail, sizeof(tail), "%s-%016llx.prof", name, (unsigned long long)id->hash);
    }
    mp_err err = MP_NEW(m->ledger, MP_OWN_OVERHEAD, char, n + strlen(tail) + 1, out);
    if (!err)
        sprintf(*out, "%s%s", given, tail);
    return err;
}

mp_err mp_heat_profile(const mp_model *m, const mp_profile_id *id, mp_profile **out)
{
    uint32_t experts = (uint32_t)m->config.experts;
    *out = NULL;
    if (!m->binder.pages)
        return mp_fail(MP_E_USAGE, "this model has no experts, so there is nothing to profile");
    return mp_profile_open(m->ledger, id, m->binder.pages / experts, experts, out);
}

/* ---- open and close ---- */

static void warn(const mp_model *m, const char *what)
{
    if (!mp_ledger_dry(m->ledger))
        mp_logf(&m->opt.log, MP_LOG_WARN, "%s%s", mp_err_text(), what);
}

/* The profile to start from. One that nobody named is a help, not a condition. */
static mp_err read_given(mp_model *m)
{
    char *path;
    bool named, found;
    mp_err err = mp_heat_path(m, &m->heat->id, m->opt.profile, &path, &named);
    if (err)
        return err;
    err = mp_profile_read(m->heat->profile, path, &found);
    if (!err && !found && named)
        err = mp_fail(MP_E_USAGE, "there is no profile %s; `moped experts profile MODEL -f TEXT -o FILE` makes one", path);
    if (err && !named) {
        warn(m, "; starting without it");
        err = MP_OK;
    }
    mp_free(path);
    return err;
}

/* Where to keep the counts. What was named must be ours to overwrite: better said before an hour of work than after. */
static mp_err find_out(mp_model *m)
{
    mp_heat *h = m->heat;
    bool found;
    mp_err err = mp_heat_path(m, &h->id, m->opt.profile_out, &h->out, &h->out_named);
    return !err && h->out_named ? mp_profile_read(h->profile, h->out, &found) : err;
}

mp_err mp_heat_open(mp_model *m)
{
    const mp_model_options *o = &m->opt;
    if (!m->binder.pages || o->train || (!o->profile && !o->profile_out))
        return MP_OK;
    mp_err err = MP_NEW(m->ledger, MP_OWN_OVERHEAD, mp_heat, 1, &m->heat);
    if (!err)
        err = mp_profile_identify(m->gguf, &m->heat->id);
    if (!err)
        err = mp_heat_profile(m, &m->heat->id, &m->heat->profile);
    if (!err)
        err = MP_NEW(m->ledger, MP_OWN_OVERHEAD, uint32_t, m->binder.pages, &m->heat->uses);
    if (!err)
        err = MP_NEW(m->ledger, MP_OWN_OVERHEAD, uint32_t, m->binder.pages, &m->heat->saved);
    if (!err && o->profile_out)
        err = find_out(m);
    if (err)
        return err;
    mp_profile_clear(m->heat->profile);
    return o->profile ? read_given(m) : MP_OK;
}

void mp_heat_close(mp_model *m)
{
    mp_heat *h = m->heat;
    if (!h)
        return;
    mp_profile_close(&h->profile);
    mp_free(h->out);
    mp_free(h->uses);
    mp_free(h->saved);
    MP_FREE(m->heat);
}

/* ---- starting ---- */

const float *mp_heat_counts(const mp_model *m)
{
    return m->heat && m->opt.profile && m->heat->profile->tokens ? m->heat->profile->count : NULL;
}

/* Where everything is resident nobody leaves: a pin counts then only after the budget has shrunk. */
static void keep_pinned(mp_model *m, const uint32_t *order, uint32_t n)
{
    const mp_profile *p = m->heat->profile;
    mp_pager_stats st;
    mp_pager_get_stats(m->pager, &st);
    bool warned = st.slots >= st.pages; /* where all fit, keeping some means nothing */
    for (uint32_t i = 0; i < n && p->pinned[order[i]]; i++) /* slots of one size may be used up while others are not */
        if (mp_pager_keep(m->pager, order[i], true) && !warned) {
            warn(m, "; such pinned experts come and go as the policy says");
            warned = true;
        }
}

mp_err mp_heat_start(mp_model *m)
{
    if (!m->heat || !m->pager || !m->opt.profile)
        return MP_OK;
    uint32_t *order = m->heat->uses, n = m->binder.pages;
    if (mp_ledger_dry(m->ledger)) {
        for (uint32_t i = 0; i < n; i++)
            order[i] = i;
    } else {
        n = mp_profile_order(m->heat->profile, order);
        keep_pinned(m, order, n);
    }
    return n ? mp_pager_warm(m->pager, order, n) : MP_OK;
}

/* ---- saving ---- */

mp_err mp_heat_write(mp_profile *profile, char *path, bool named)
{
    for (char *p = strchr(path, '/'); p && !named; p = strchr(p + 1, '/')) {
        if (p == path)
            continue;
        *p = '\0';
        mkdir(path, 0700); /* one that cannot be made shows when the file is written */
        *p = '/';
    }
    return mp_profile_write(profile, path);
}

/* What is in the file by now: another run may have ended, a pin may have been set. */
static mp_err read_again(mp_heat *h)
{
    bool found;
    mp_err err = mp_profile_read(h->profile, h->out, &found);
    return err && !h->out_named ? MP_OK : err; /* an automatic one that was damaged begins anew */
}

mp_err mp_heat_save(mp_model *m)
{
    mp_heat *h = m->heat;
    uint32_t pages = m->binder.pages;
    uint64_t first = 0;
    if (!h || !h->out || !m->pager)
        return MP_OK;
    mp_pager_get_uses(m->pager, h->uses);
    for (uint32_t i = 0; i < pages; i++) {
        uint32_t now = h->uses[i];
        h->uses[i] -= h->saved[i]; /* also right when they went round */
        h->saved[i] = now;
        first += i < (uint32_t)m->config.experts ? h->uses[i] : 0;
    }
    mp_err err = MP_OK;
    if (first) /* every token uses experts_used of a layer */
        err = read_again(h);
    if (first && !err) {
        mp_profile_add(h->profile, h->uses, first / (uint64_t)m->config.experts_used);
        err = mp_heat_write(h->profile, h->out, h->out_named);
    }
    for (uint32_t i = 0; err && i < pages; i++) /* they are still to be saved */
        h->saved[i] -= h->uses[i];
    return err;
}
