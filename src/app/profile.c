#include "app/profile.h"

#include <stdlib.h>
#include <string.h>

#include "app/json.h"

mp_err app_phase_take(moped_model *model, moped_phase phase, uint64_t wall_ns, app_phase *out) {
    int n = moped_model_times(model, phase, NULL, NULL, 0);
    *out = (app_phase){.wall_ns = wall_ns, .rows = calloc((size_t)n + 1, sizeof *out->rows)};
    if (!out->rows) return mp_fail(MP_E_FAILED, "out of memory");
    moped_model_times(model, phase, &out->total, out->rows, n);
    return MP_OK;
}

void app_phase_deinit(app_phase *phase) {
    free(phase->rows);
    *phase = (app_phase){0};
}

/* ---- sums ---- */

static void add(moped_time *sum, const moped_time *row) {
    sum->calls += row->calls;
    sum->ns += row->ns;
    sum->weight_bytes += row->weight_bytes;
    sum->kv_bytes += row->kv_bytes;
    for (int a = 0; a < MOPED_ARITH_COUNT; a++) sum->ops[a] += row->ops[a];
}

static int by_time(const void *a, const void *b) {
    const moped_time *x = a, *y = b;
    return (x->ns < y->ns) - (x->ns > y->ns);
}

/* Rows [first, last) of one name become one, the longest first. out has room for all. Returns how many. */
static int merge(const moped_time *first, const moped_time *last, moped_time *out) {
    int n = 0;
    for (const moped_time *r = first; r < last; r++) {
        int at = 0;
        while (at < n && strcmp(out[at].what, r->what) != 0) at++;
        if (at == n) out[n++] = (moped_time){.what = r->what, .layer = r->layer, .op = r->op};
        add(&out[at], r);
    }
    qsort(out, (size_t)n, sizeof *out, by_time);
    return n;
}

static uint64_t all_ops(const moped_time *t) {
    uint64_t sum = 0;
    for (int a = 0; a < MOPED_ARITH_COUNT; a++) sum += t->ops[a];
    return sum;
}

/* Seconds that reading, and computing, take at least; negative when a limit is not known. */
static double least_reading(const moped_limits *l, const moped_time *t) {
    return (double)(t->weight_bytes + t->kv_bytes) / l->read_bps;
}

static double least_computing(const moped_limits *l, const moped_time *t) {
    double s = 0;
    for (int a = 0; a < MOPED_ARITH_COUNT; a++) {
        if (t->ops[a] && l->ops[a] <= 0) return -1;
        s += t->ops[a] ? (double)t->ops[a] / l->ops[a] : 0;
    }
    return s;
}

/* ---- JSON ---- */

static void put_fraction(json_t *o, const char *key, double least_s, uint64_t ns) {
    app_put(o, key, least_s >= 0 && ns > 0 ? json_real(least_s * 1e9 / (double)ns) : json_null());
}

static void put_figures(json_t *o, const moped_limits *l, const moped_time *t, uint64_t all_ns) {
    double s = (double)t->ns * 1e-9, read = least_reading(l, t), compute = least_computing(l, t);
    json_t *ops = json_object();
    for (int a = 0; a < MOPED_ARITH_COUNT; a++)
        if (t->ops[a]) app_put_int(ops, moped_arith_name((moped_arith)a), t->ops[a]);
    app_put_int(o, "ns", t->ns);
    app_put_real(o, "share", all_ns ? (double)t->ns / (double)all_ns : 0);
    app_put_int(o, "weight_bytes", t->weight_bytes);
    app_put_int(o, "kv_bytes", t->kv_bytes);
    app_put(o, "ops", ops);
    app_put_real(o, "bytes_per_s", s > 0 ? (double)(t->weight_bytes + t->kv_bytes) / s : 0);
    app_put_real(o, "ops_per_s", s > 0 ? (double)all_ops(t) / s : 0);
    put_fraction(o, "read_fraction", read, t->ns);
    put_fraction(o, "compute_fraction", compute, t->ns);
    put_fraction(o, "limit_fraction", compute < 0 ? -1 : read > compute ? read : compute, t->ns);
}

static json_t *rows_json(const moped_limits *l, const moped_time *rows, int n, uint64_t all_ns) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        json_t *o = json_object();
        app_put_text(o, "what", rows[i].what);
        app_put_bool(o, "op", rows[i].op);
        app_put_int(o, "calls", rows[i].calls);
        put_figures(o, l, &rows[i], all_ns);
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *layer_json(const moped_limits *l, const moped_time *first, const moped_time *last, moped_time *own, uint64_t all_ns) {
    json_t *o = json_object();
    moped_time sum = {0};
    for (const moped_time *r = first; r < last; r++) add(&sum, r);
    app_put(o, "layer", first->layer < 0 ? json_null() : json_integer(first->layer));
    put_figures(o, l, &sum, all_ns);
    app_put(o, "rows", rows_json(l, own, merge(first, last, own), all_ns));
    return o;
}

static json_t *phase_json(const moped_limits *l, const app_phase *p) {
    const moped_time *r = p->rows, *end = r + p->total.rows;
    moped_time sum = {0}, *own = calloc((size_t)p->total.rows + 1, sizeof *own);
    json_t *o = json_object(), *layers = json_array();
    for (const moped_time *i = r; i < end; i++) add(&sum, i);
    app_put_int(o, "tokens", p->total.tokens);
    app_put_int(o, "forwards", p->total.forwards);
    app_put_int(o, "wall_ns", p->wall_ns);
    app_put_real(o, "covered", p->wall_ns ? (double)sum.ns / (double)p->wall_ns : 0);
    sum.ns = p->wall_ns;
    put_figures(o, l, &sum, p->wall_ns);
    app_put(o, "rows", own ? rows_json(l, own, merge(r, end, own), p->wall_ns) : json_null());
    while (own && r < end) {
        const moped_time *next = r;
        while (next < end && next->layer == r->layer) next++;
        json_array_append_new(layers, layer_json(l, r, next, own, p->wall_ns));
        r = next;
    }
    app_put(o, "layers", layers);
    free(own);
    return o;
}

json_t *app_profile_json(const moped_limits *limits, const app_phase phases[MOPED_PHASE_COUNT]) {
    json_t *o = json_object(), *l = json_object(), *ops = json_object();
    for (int a = 0; a < MOPED_ARITH_COUNT; a++)
        app_put(ops, moped_arith_name((moped_arith)a), limits->ops[a] > 0 ? json_real(limits->ops[a]) : json_null());
    app_put_int(l, "threads", (uint64_t)limits->threads);
    app_put_real(l, "read_bps", limits->read_bps);
    app_put_real(l, "read_one_thread_bps", limits->read_one_bps);
    app_put(l, "ops_per_s", ops);
    app_put(o, "limits", l);
    for (int i = 0; i < MOPED_PHASE_COUNT; i++) {
        const char *name = i == MOPED_PHASE_DECODE ? "decode" : "prefill";
        app_put(o, name, phases[i].rows ? phase_json(limits, &phases[i]) : json_null());
    }
    return o;
}

/* ---- tables ---- */

static double real(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

static double ops_of(const json_t *o) {
    const char *name;
    json_t *v;
    double sum = 0;
    json_object_foreach(json_object_get(o, "ops"), name, v) sum += json_number_value(v);
    return sum;
}

/* "12.3 %" of a fraction, "-" of null. */
static void percent(const json_t *o, const char *key, char out[16]) {
    const json_t *v = json_object_get(o, key);
    if (json_is_number(v))
        snprintf(out, 16, "%.1f %%", 100 * json_number_value(v));
    else
        snprintf(out, 16, "-");
}

static void print_figures(const json_t *o, double forwards) {
    char limit[16];
    double bytes = real(o, "weight_bytes") + real(o, "kv_bytes"), ops = ops_of(o);
    printf(" %9.3f %6.1f %%", real(o, "ns") * 1e-6 / forwards, 100 * real(o, "share"));
    if (bytes > 0 || ops > 0) {
        percent(o, "limit_fraction", limit);
        printf(" %9.2f %7.2f %9.3f %7.1f %8s", bytes * 1e-6 / forwards, real(o, "bytes_per_s") * 1e-9, ops * 1e-9 / forwards, real(o, "ops_per_s") * 1e-9, limit);
    }
}

static const char HEAD[] = "%9s %8s %9s %7s %9s %7s %8s";

static void print_rows(const json_t *rows, double forwards) {
    size_t i;
    json_t *row;
    printf("  %-14s %7s ", "", "calls");
    printf(HEAD, "ms", "share", "MB", "GB/s", "Gop", "Gop/s", "of limit");
    printf("\n");
    json_array_foreach(rows, i, row) {
        printf("  %-14s %7.1f", json_string_value(json_object_get(row, "what")), real(row, "calls") / forwards);
        print_figures(row, forwards);
        printf("%s\n", json_is_true(json_object_get(row, "op")) ? "" : "  (no operation)");
    }
}

static void print_layers(const json_t *layers, double forwards) {
    size_t i;
    json_t *layer;
    printf("  %-22s ", "layer");
    printf(HEAD, "ms", "share", "MB", "GB/s", "Gop", "Gop/s", "of limit");
    printf("  longest\n");
    json_array_foreach(layers, i, layer) {
        const json_t *number = json_object_get(layer, "layer"), *longest = json_array_get(json_object_get(layer, "rows"), 0);
        char name[32] = "outside of the layers";
        if (json_is_integer(number)) snprintf(name, sizeof name, "%d", (int)json_integer_value(number));
        printf("  %-22s", name);
        print_figures(layer, forwards);
        printf("  %s %.0f %%\n", json_string_value(json_object_get(longest, "what")), 100 * real(longest, "ns") / real(layer, "ns"));
    }
}

/* "int8 99 %, float32 1 %" */
static void print_kinds(const json_t *o) {
    const char *name, *comma = "";
    json_t *v;
    double all = ops_of(o);
    json_object_foreach(json_object_get(o, "ops"), name, v) {
        printf("%s%s %.1f %%", comma, name, 100 * json_number_value(v) / all);
        comma = ", ";
    }
}

static void print_phase(const char *name, const json_t *p) {
    char read[16], compute[16];
    double forwards = real(p, "forwards");
    if (!json_is_object(p) || forwards <= 0) return;
    percent(p, "read_fraction", read);
    percent(p, "compute_fraction", compute);
    printf("\n%s: %.0f tokens in %.0f forward passes of %.3f ms; all figures but shares and rates are of one pass\n", name, real(p, "tokens"), forwards,
           real(p, "wall_ns") * 1e-6 / forwards);
    printf("  reads %.2f GB/s, %s of this machine's bandwidth; computes %.1f Gop/s, %s of the peak of its arithmetic (", real(p, "bytes_per_s") * 1e-9, read,
           real(p, "ops_per_s") * 1e-9, compute);
    print_kinds(p);
    printf(")\n");
    print_rows(json_object_get(p, "rows"), forwards);
    printf("  the rows are %.2f %% of the time\n\n", 100 * real(p, "covered"));
    print_layers(json_object_get(p, "layers"), forwards);
}

void app_profile_print(const json_t *profile) {
    const json_t *l = json_object_get(profile, "limits");
    const char *name;
    json_t *v;
    printf("\nlimits of %d threads, measured now: reads %.1f GB/s", (int)real(l, "threads"), real(l, "read_bps") * 1e-9);
    json_object_foreach(json_object_get(l, "ops_per_s"), name, v)
        if (json_is_number(v)) printf(", %s %.0f Gop/s", name, json_number_value(v) * 1e-9);
    printf(" (operations: multiply-adds times two)\n");
    print_phase("decode", json_object_get(profile, "decode"));
    print_phase("prefill", json_object_get(profile, "prefill"));
    fflush(stdout);
}
