/* moped experts stats: what a profile knows.
 *
 *   layer  entropy  for 90 %   hottest first, to the least used     hottest
 *       0     5.91        61   █▆▅▄▄▃▃▂▂▂▁▁▁                          17 4.1 %  *3 3.9 %  ...
 *
 * Entropy: -sum p log2 p of the shares p; log2 of the experts when all are used alike. A bar of the line is a sixteenth of the experts, its height
 * relative to the highest. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/experts.h"
#include "app/json.h"

enum { TOP = 5, BARS = 16 };

typedef struct expert {
    int      id;
    uint64_t count;
    bool     pinned;
} expert;

typedef struct layer {
    int      number, experts; /* as the file numbers it */
    uint64_t sum;
    double   entropy;
    int      for_90; /* the hottest that make up 90 %; 0: nothing was counted */
    expert  *list;   /* [experts] hottest first */
} layer;

static int by_heat(const void *a, const void *b) {
    const expert *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

static double share(const layer *l, uint64_t count) {
    return l->sum ? (double)count / (double)l->sum : 0;
}

/* l->list has room for the experts; counts and pins are scratch of that size. */
static void read_layer(const moped_profile *profile, int i, uint64_t *counts, bool *pins, layer *l) {
    uint64_t so_far = 0;
    l->number = moped_profile_layer(profile, i, counts, pins);
    l->sum = 0;
    l->entropy = 0;
    l->for_90 = 0;
    for (int e = 0; e < l->experts; e++) {
        l->list[e] = (expert){e, counts[e], pins[e]};
        l->sum += counts[e];
    }
    qsort(l->list, (size_t)l->experts, sizeof *l->list, by_heat);
    for (int e = 0; e < l->experts && l->list[e].count; e++) {
        double p = share(l, l->list[e].count);
        l->entropy -= p * log2(p);
        if (so_far * 10 < l->sum * 9) l->for_90 = e + 1;
        so_far += l->list[e].count;
    }
    if (l->entropy < 0) l->entropy = 0; /* -0 of a layer with one expert */
}

static json_t *expert_json(const layer *l, const expert *x) {
    json_t *o = json_object();
    app_put_int(o, "expert", (uint64_t)x->id);
    app_put_int(o, "count", x->count);
    app_put_real(o, "share", share(l, x->count));
    app_put_bool(o, "pinned", x->pinned);
    return o;
}

static json_t *layer_json(const layer *l, int top) {
    json_t *o = json_object(), *hottest = json_array(), *pinned = json_array();
    int used = 0;
    for (int e = 0; e < l->experts; e++) {
        used += l->list[e].count > 0;
        if (e < top) json_array_append_new(hottest, expert_json(l, &l->list[e]));
        if (l->list[e].pinned) json_array_append_new(pinned, json_integer(l->list[e].id));
    }
    app_put_int(o, "layer", (uint64_t)l->number);
    app_put_int(o, "uses", l->sum);
    app_put_real(o, "entropy_bits", l->entropy);
    app_put_int(o, "used_experts", (uint64_t)used);
    app_put_int(o, "experts_for_90", (uint64_t)l->for_90);
    app_put(o, "hottest", hottest);
    app_put(o, "pinned", pinned);
    return o;
}

static void print_bars(const layer *l) {
    static const char *const HEIGHT[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    int bars = l->experts < BARS ? l->experts : BARS;
    double most = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int b = 0; b < bars; b++) {
            int from = b * l->experts / bars, to = (b + 1) * l->experts / bars;
            uint64_t sum = 0;
            for (int e = from; e < to; e++) sum += l->list[e].count;
            double mean = (double)sum / (to - from);
            if (pass == 0 && mean > most) most = mean;
            if (pass == 1) fputs(HEIGHT[most > 0 ? (int)ceil(mean / most * 8) : 0], stdout);
        }
    for (int b = bars; b < BARS; b++) fputc(' ', stdout);
}

static void print_layer(const layer *l, int top) {
    printf("%5d %8.2f %9d   ", l->number, l->entropy, l->for_90);
    print_bars(l);
    for (int e = 0; e < l->experts; e++)
        if (e < top ? l->list[e].count > 0 || l->list[e].pinned : l->list[e].pinned)
            printf("  %s%d %.1f%%", l->list[e].pinned ? "*" : "", l->list[e].id, 100 * share(l, l->list[e].count));
    fputc('\n', stdout);
}

/* Each layer in turn, into the table or the list. */
static mp_err each_layer(const moped_profile *profile, const moped_profile_info *info, int top, json_t *list) {
    size_t n = (size_t)info->experts;
    uint64_t *counts = calloc(n, sizeof *counts);
    bool *pins = calloc(n, sizeof *pins);
    layer l = {.experts = info->experts, .list = calloc(n, sizeof *l.list)};
    mp_err e = counts && pins && l.list ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
    for (int i = 0; !e && i < info->layers; i++) {
        read_layer(profile, i, counts, pins, &l);
        if (list)
            json_array_append_new(list, layer_json(&l, top));
        else
            print_layer(&l, top);
    }
    free(l.list);
    free(pins);
    free(counts);
    return e;
}

static mp_err print_table(const moped_profile *profile, const moped_profile_info *info, int top) {
    printf("%s\n%llu tokens, %d layers of %d experts, %d of them used for a token; %d pinned\n\n", info->path, (unsigned long long)info->tokens,
           info->layers, info->experts, info->experts_used, info->pinned);
    printf("layer  entropy  for 90 %%   %-16s  hottest\n", "hottest first");
    return each_layer(profile, info, top, NULL);
}

static mp_err print_json(const moped_profile *profile, const moped_profile_info *info, int top) {
    json_t *o = json_object(), *list = json_array();
    app_put_text(o, "file", info->path);
    app_put_int(o, "tokens", info->tokens);
    app_put_int(o, "experts", (uint64_t)info->experts);
    app_put_int(o, "experts_used", (uint64_t)info->experts_used);
    app_put_int(o, "pinned", (uint64_t)info->pinned);
    mp_err e = each_layer(profile, info, top, list);
    app_put(o, "layers", list);
    if (!e) e = app_json_print(stdout, o);
    json_decref(o);
    return e;
}

int app_experts_stats(app_flags *flags) {
    moped_profile *profile = NULL;
    moped_profile_info info = {0};
    int top = app_int(flags, F_TOP, TOP);
    mp_err e = app_profile_of(flags, &profile);
    if (!e) {
        moped_profile_get(profile, &info);
        if (!info.found)
            e = mp_fail(MP_E_FAILED, "nothing has been counted yet: there is no %s; `moped run` counts as it goes, `moped experts profile` counts a text", info.path);
    }
    if (!e) e = app_on(flags, F_JSON) ? print_json(profile, &info, top) : print_table(profile, &info, top);
    moped_profile_close(&profile);
    return app_report(e);
}
