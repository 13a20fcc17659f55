/* moped.h's model files with random weights, over model/synth.h. */
#include <stdio.h>

#include "model/synth.h"
#include "moped.h"

const char *moped_shape_at(int i)
{
    const mp_shape *s = mp_shape_at(i);
    return s ? s->name : NULL;
}

const char *moped_synth_type_at(int i)
{
    const mp_mix *m = mp_mix_at(i);
    return m ? mp_mix_name(m) : NULL;
}

moped_status moped_shape_find(const char *name, const char *type, moped_shape_info *out)
{
    mp_ledger *ledger;
    mp_shape s;
    const mp_mix *mix;
    *out = (moped_shape_info){ 0 };
    mp_err err = mp_shape_find(name, &s);
    if (!err)
        err = mp_mix_find(type, &mix);
    if (!err)
        err = mp_ledger_open(false, &ledger);
    if (err)
        return err;
    moped_shape_info info = { .layers = s.layers, .all_layers = s.all_layers, .width = s.width, .experts = s.experts, .experts_used = s.used };
    snprintf(info.name, sizeof(info.name), "%s", s.name);
    snprintf(info.arch, sizeof(info.arch), "%s", mp_shape_arch(&s));
    snprintf(info.type, sizeof(info.type), "%s", mp_mix_name(mix));
    info.parameters = mp_shape_parameters(&s, &info.active_parameters);
    err = mp_synth_bytes(ledger, &s, mix, &info.file_bytes);
    mp_ledger_close(&ledger);
    if (!err)
        *out = info;
    return err;
}

moped_status moped_synth(const moped_synth_options *o)
{
    mp_ledger *ledger;
    mp_synth_options options = { .shape = o->shape, .type = o->type, .path = o->path, .seed = o->seed, .progress = o->progress, .user = o->user };
    mp_err err = mp_ledger_open(false, &ledger);
    if (err)
        return err;
    err = mp_synth_write(ledger, &options);
    mp_ledger_close(&ledger);
    return err;
}
