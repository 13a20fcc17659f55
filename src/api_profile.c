/* moped.h's profiles, apart from a running model: looking at one and editing its pins. */
#include <stdlib.h>

#include "model/heat.h"
#include "moped.h"

struct moped_profile {
    mp_model   *m; /* described, not loaded */
    mp_profile *p;
    char       *path;
    bool        named, found;
};

static mp_err open_parts(moped_profile *h, const char *model, const char *profile)
{
    mp_ledger *ledger;
    mp_profile_id id;
    mp_err err = mp_ledger_open(false, &ledger);
    if (err)
        return err;
    err = mp_model_describe(&(mp_model_options){ .path = model }, ledger, &h->m);
    if (!h->m)
        mp_ledger_close(&ledger);
    if (!err)
        err = mp_profile_identify(h->m->gguf, &id);
    if (!err)
        err = mp_heat_path(h->m, &id, profile, &h->path, &h->named);
    if (!err)
        err = mp_heat_profile(h->m, &id, &h->p);
    if (!err)
        err = mp_profile_read(h->p, h->path, &h->found);
    return err;
}

moped_status moped_profile_open(const char *model, const char *profile, moped_profile **out)
{
    *out = NULL;
    if (!model || !*model || !profile || !*profile)
        return mp_fail(MP_E_USAGE, "a profile needs the file of its model and a place of its own");
    moped_profile *h = calloc(1, sizeof(*h));
    if (!h)
        return mp_fail(MP_E_FAILED, "the system has no memory");
    mp_err err = open_parts(h, model, profile);
    if (err)
        moped_profile_close(&h);
    *out = h;
    return err;
}

void moped_profile_close(moped_profile **profile)
{
    moped_profile *h = profile ? *profile : NULL;
    if (!h)
        return;
    mp_profile_close(&h->p);
    mp_free(h->path);
    mp_model_close(&h->m);
    free(h);
    *profile = NULL;
}

void moped_profile_get(const moped_profile *h, moped_profile_info *out)
{
    const mp_profile *p = h->p;
    *out = (moped_profile_info){ .path = h->path, .found = h->found, .tokens = p->tokens, .layers = (int)p->layers, .experts = (int)p->experts };
    out->experts_used = h->m->config.experts_used;
    for (size_t i = 0; i < (size_t)p->layers * p->experts; i++)
        out->pinned += p->pinned[i];
}

/* The layer in the file whose experts begin at this page. */
static int layer_at(const mp_model *m, uint32_t first)
{
    for (int l = 0; l < m->config.layers; l++)
        if (m->layers[l].is_moe && m->layers[l].moe.first == first)
            return l;
    return -1;
}

int moped_profile_layer(const moped_profile *h, int i, uint64_t *counts, bool *pins)
{
    const mp_profile *p = h->p;
    uint32_t first = (uint32_t)i * p->experts;
    for (uint32_t e = 0; e < p->experts; e++) {
        if (counts)
            counts[e] = (uint64_t)p->count[first + e];
        if (pins)
            pins[e] = p->pinned[first + e];
    }
    return layer_at(h->m, first);
}

moped_status moped_profile_pin(moped_profile *h, int layer, int expert, bool on)
{
    const mp_config *c = &h->m->config;
    if (layer < 0 || layer >= c->layers)
        return mp_fail(MP_E_USAGE, "there is no layer %d: they are numbered from 0 to %d", layer, c->layers - 1);
    if (!h->m->layers[layer].is_moe)
        return mp_fail(MP_E_USAGE, "layer %d has no experts", layer);
    if (expert < 0 || expert >= c->experts)
        return mp_fail(MP_E_USAGE, "there is no expert %d in layer %d: they are numbered from 0 to %d", expert, layer, c->experts - 1);
    h->p->pinned[h->m->layers[layer].moe.first + (uint32_t)expert] = on;
    return MOPED_OK;
}

void moped_profile_unpin_all(moped_profile *h)
{
    for (size_t i = 0; i < (size_t)h->p->layers * h->p->experts; i++)
        h->p->pinned[i] = 0;
}

moped_status moped_profile_save(moped_profile *h)
{
    return mp_heat_write(h->p, h->path, h->named);
}
