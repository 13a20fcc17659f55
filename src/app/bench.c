/* Measures one budget with one number of threads, in a process of its own (the peak of memory is a process's).
 *
 *   cold     the first tokens that the process decodes, reported apart: the cache of experts is as loading left it; and those of that run that come after
 *   prefill  n_prompt fixed pseudo-random tokens in an empty context, and the logits of the last: what llama-bench calls pp
 *   decode   from an empty context, the begin token, then n_gen tokens after the first one: llama-bench's tg. The tokens are sampled
 *            with a fixed seed: greedy text falls into loops, whose few experts would flatter the cache.
 *
 * Decode comes first, so that its first run, which counts for nothing else, is cold. Every run begins in an empty context; with --routing it goes on in
 * the trace where the one before ended. */
#include "app/bench.h"

#include <stdlib.h>
#include <string.h>

#include "app/energy.h"
#include "app/json.h"
#include "app/plan_json.h"
#include "app/profile.h"
#include "base/os.h"

enum { SEED = 42, TOP_K = 40, COLD_TOKENS = 16, LIMIT_BYTES = 256 << 20 };

typedef struct sample {
    uint64_t ns, accesses, hits, disk_bytes;
    double   bound_bytes; /* moped_expert_stats.bound_bytes of it */
} sample;

/* The first tokens of a generation, timed from the first one on, as decode is. */
typedef struct watch {
    moped_model       *model;
    int                most, all, seen; /* tokens that are cold; of the whole run, after its first; tokens that came, the first one too */
    uint64_t           since_ns;
    moped_expert_stats since;
    sample             sum, rest;    /* of the cold ones, and of those after them */
} watch;

/* What happened since w->since, which starts again from now. */
static sample lap(watch *w) {
    moped_expert_stats s;
    uint64_t now = mp_now_ns();
    moped_model_experts(w->model, &s);
    sample x = {now - w->since_ns, s.accesses - w->since.accesses, s.hits - w->since.hits, s.disk_bytes - w->since.disk_bytes, s.bound_bytes - w->since.bound_bytes};
    w->since = s;
    w->since_ns = mp_now_ns();
    return x;
}

static int on_token(void *user, int32_t token, const char *text, size_t n) {
    watch *w = user;
    (void)token, (void)text, (void)n;
    if (w && w->seen == 0) (void)lap(w);
    if (w && w->seen == w->most) w->sum = lap(w);
    if (w && w->seen == w->all && w->all > w->most) w->rest = lap(w);
    if (w) w->seen++;
    return app_signal() != 0;
}

static int on_prefill(void *user, int64_t done, int64_t total) {
    (void)user, (void)done, (void)total;
    return app_signal() != 0;
}

/* The same ids every time, anywhere in the vocabulary (a linear congruential sequence, Knuth's MMIX constants). */
static int32_t *prompt_ids(int n, int vocab) {
    int32_t *ids = malloc((size_t)(n > 0 ? n : 1) * sizeof *ids);
    uint64_t state = SEED;
    for (int i = 0; ids && i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int32_t)((state >> 33) % (uint64_t)vocab);
    }
    return ids;
}

/* Generates `most` tokens after ids[n] in an empty session; cold may be NULL. */
static mp_err generate(moped_session *session, const int32_t *ids, int n, int most, watch *cold, moped_result *out) {
    moped_sampling sampling;
    moped_sampling_default(NULL, &sampling);
    sampling.temperature = 1;
    sampling.top_k = TOP_K;
    sampling.seed = SEED;
    moped_request request = {.tokens = ids, .n_tokens = (size_t)n, .max_tokens = most, .sampling = &sampling, .ignore_eos = true,
                             .on_token = on_token, .on_prefill = on_prefill, .user = cold};
    moped_session_truncate(session, 0);
    mp_err e = moped_generate(session, &request, out);
    if (!e && app_signal()) e = mp_fail(MP_E_CANCELLED, "stopped");
    if (!e && out->n_tokens < (size_t)most)
        e = mp_fail(MP_E_FAILED, "the model stopped after %zu of %d tokens (%s)", out->n_tokens, most, moped_finish_name(out->finish));
    return e;
}

static int by_time(const void *a, const void *b) {
    const sample *x = a, *y = b;
    return (x->ns > y->ns) - (x->ns < y->ns);
}

typedef struct running {
    moped_model   *model;
    moped_session *session;
    app_energy    *energy;
    uint64_t       wall_ns; /* of all runs that counted */
} running;

/* Runs once to warm up (which is watched when that is asked for, by decode), then `repeats` times; *median is the sample in the middle (the lower one of two).
 * Energy is that of all of these together, since cards count in steps that one run may be shorter than; decode begins with the begin token, which counts. */
static mp_err repeat(running *run, const app_bench_job *job, const int32_t *ids, watch *cold, sample *median) {
    moped_session *session = run->session;
    moped_model *model = run->model;
    sample *samples = calloc((size_t)job->repeats, sizeof *samples);
    bool decode = cold != NULL;
    mp_err e = samples ? MP_OK : mp_fail(MP_E_FAILED, "out of memory");
    *median = (sample){0};
    run->wall_ns = 0;
    for (int r = -1; !e && r < job->repeats; r++) {
        moped_result x;
        moped_expert_stats before, after;
        moped_model_experts(model, &before);
        if (r == 0) app_energy_start(run->energy);
        e = generate(session, ids, decode ? 1 : job->n_prompt, decode ? job->n_gen + 1 : 1, r < 0 ? cold : NULL, &x);
        moped_model_experts(model, &after);
        if (r < 0) moped_model_reset_times(model);
        if (e || r < 0) continue;
        run->wall_ns += decode ? x.decode_ns : x.prefill_ns;
        samples[r] = (sample){decode ? x.decode_ns : x.prefill_ns, x.expert_accesses, x.expert_hits, x.disk_bytes, after.bound_bytes - before.bound_bytes};
    }
    app_energy_stop(run->energy, decode ? MOPED_PHASE_DECODE : MOPED_PHASE_PREFILL, (double)job->repeats * (decode ? job->n_gen + 1 : job->n_prompt));
    if (!e) {
        qsort(samples, (size_t)job->repeats, sizeof *samples, by_time);
        *median = samples[(job->repeats - 1) / 2];
    }
    free(samples);
    return e;
}

static double rate(int tokens, uint64_t ns) {
    return ns > 0 ? (double)tokens * 1e9 / (double)ns : 0;
}

/* What one process measured. */
typedef struct figures {
    sample    prefill, decode, cold, rest;
    app_phase phases[MOPED_PHASE_COUNT]; /* with --profile */
} figures;

static double share(const sample *s) {
    return s->accesses ? (double)s->hits / (double)s->accesses : 1;
}

static int cold_tokens(const app_bench_job *job) {
    return job->n_gen < COLD_TOKENS ? job->n_gen : COLD_TOKENS;
}


typedef struct bound {
    double layers, naive; /* tokens a second */
} bound;

/* What one decoded token cannot be faster than: every dense byte at the speed of memory, then layer by layer the slower of reading what is missing and computing
 * what is there (a read cannot begin before the router has chosen), and the last expert's own time. naive: as if all reads and all computing could overlap. */
static bound bound_of(const moped_plan_info *plan, const sample *s, int forwards) {
    double ram = plan->ram_bps, disk = plan->disk_bps, dense = (double)plan->model.dense_bytes_per_tok;
    double hit = share(s) * (double)plan->model.expert_bytes_per_tok, missed = (double)s->disk_bytes / forwards;
    return (bound){.layers = 1 / (dense / ram + s->bound_bytes / forwards / ram), .naive = 1 / (dense / ram + (hit / ram > missed / disk ? hit / ram : missed / disk))};
}

static void put_decode(json_t *o, const app_bench_job *job, const moped_plan_info *plan, const sample *s) {
    bound b = job->n_gen > 0 ? bound_of(plan, s, job->n_gen + 1) : (bound){0};
    double decoded = rate(job->n_gen, s->ns);
    app_put_int(o, "decode_tokens", (uint64_t)job->n_gen);
    app_put_real(o, "decode_tok_s", decoded);
    app_put_real(o, "bound_tok_s", b.layers);
    app_put_real(o, "bound_fraction", b.layers > 0 ? decoded / b.layers : 0);
    app_put_real(o, "naive_bound_tok_s", b.naive);
    app_put_bool(o, "bound_assumed", plan->bandwidth_assumed);
    app_put_real(o, "ram_bps", plan->ram_bps);
    app_put_real(o, "disk_bps", plan->disk_bps);
}

/* The first run: its cold tokens, and those after them, which nothing warmed up but the run itself. */
static void put_first(json_t *o, const app_bench_job *job, const moped_plan_info *plan, const figures *f) {
    int cold = cold_tokens(job), more = job->n_gen - cold;
    app_put_int(o, "cold_tokens", (uint64_t)cold);
    app_put_real(o, "cold_tok_s", rate(cold, f->cold.ns));
    app_put_real(o, "cold_hit_rate", share(&f->cold));
    app_put_int(o, "cold_disk_bytes", f->cold.disk_bytes);
    if (more <= 0) return;
    bound b = bound_of(plan, &f->rest, more);
    json_t *first = json_object();
    app_put_int(first, "tokens", (uint64_t)more);
    app_put_real(first, "tok_s", rate(more, f->rest.ns));
    app_put_real(first, "hit_rate", share(&f->rest));
    app_put_int(first, "disk_bytes", f->rest.disk_bytes);
    app_put_real(first, "bound_tok_s", b.layers);
    app_put_real(first, "bound_fraction", rate(more, f->rest.ns) / b.layers);
    app_put_real(first, "naive_bound_tok_s", b.naive);
    app_put(o, "after_cold", first);
}

static json_t *run_json(const app_bench_job *job, moped_model *model, const figures *f) {
    const moped_plan_info *plan = moped_model_plan(model);
    const sample *s = job->n_gen > 0 ? &f->decode : &f->prefill; /* whose experts are reported */
    moped_memory m;
    json_t *o = json_object();
    moped_model_memory(model, &m);
    app_put_bool(o, "fits", true);
    app_put_int(o, "ram_budget_bytes", m.budget_bytes);
    app_put_int(o, "ram_peak_bytes", m.peak_bytes);
    app_put_int(o, "vram_budget_bytes", m.vram_budget_bytes);
    app_put_int(o, "vram_peak_bytes", m.vram_peak_bytes);
    app_put_int(o, "plan_peak_bytes", m.plan_peak_bytes);
    app_put_int(o, "threads", (uint64_t)plan->threads);
    app_put_int(o, "prompt_tokens", (uint64_t)job->n_prompt);
    app_put_real(o, "prefill_tok_s", rate(job->n_prompt, f->prefill.ns));
    put_decode(o, job, plan, &f->decode);
    put_first(o, job, plan, f);
    if (job->options.routing) app_put_text(o, "routing", job->options.routing);
    app_put_int(o, "expert_accesses", s->accesses);
    app_put_int(o, "expert_hits", s->hits);
    app_put_real(o, "hit_rate", share(s));
    app_put_int(o, "disk_bytes", s->disk_bytes);
    app_put(o, "experts", app_experts_json(model)); /* since loading, the warm-up too */
    app_put(o, "owners", app_owners_json(&m));
    return o;
}

static mp_err measure(const app_bench_job *job, moped_model *model, app_energy *energy, figures *f) {
    const moped_vocab *vocab = moped_model_vocab(model);
    int32_t bos = vocab ? moped_vocab_bos(vocab) : -1, first = bos >= 0 ? bos : 0;
    int32_t *ids = prompt_ids(job->n_prompt, moped_model_plan(model)->model.vocab);
    running run = {.model = model, .energy = energy};
    mp_err e = ids ? moped_session_open(model, 0, &run.session) : mp_fail(MP_E_FAILED, "out of memory");
    watch cold = {.model = model, .most = cold_tokens(job), .all = job->n_gen};
    if (!e && job->n_gen > 0) e = repeat(&run, job, &first, &cold, &f->decode);
    if (!e && job->n_gen > 0 && job->profile) e = app_phase_take(model, MOPED_PHASE_DECODE, run.wall_ns, &f->phases[MOPED_PHASE_DECODE]);
    if (!e && job->n_prompt > 0) e = repeat(&run, job, ids, NULL, &f->prefill);
    if (!e && job->n_prompt > 0 && job->profile) e = app_phase_take(model, MOPED_PHASE_PREFILL, run.wall_ns, &f->phases[MOPED_PHASE_PREFILL]);
    f->cold = cold.sum;
    f->rest = cold.rest;
    moped_session_close(&run.session);
    free(ids);
    return e;
}

/* The rate at which the disk gives this very file, before and after: doctor's file may lie in another place, and the disk's speed changes. */
static mp_err measure_disk(const app_bench_job *job, double *bps) {
    mp_err e = moped_disk_rate(&job->options, 1, bps);
    return e == MOPED_E_BUDGET ? MP_OK : e; /* opening says that better */
}

/* The limits are measured when the model is closed: what that takes must not count as the model's. */
static mp_err put_profile(json_t *run, const app_bench_job *job, const figures *f) {
    moped_limits limits;
    moped_limits_options how = {.isa = job->options.isa, .threads = (int)json_integer_value(json_object_get(run, "threads")), .bytes = LIMIT_BYTES};
    uint64_t budget = (uint64_t)json_integer_value(json_object_get(run, "ram_budget_bytes"));
    if (how.bytes > budget / 2) how.bytes = budget / 2;
    mp_err e = moped_measure_limits(&how, &limits);
    if (!e) app_put(run, "profile", app_profile_json(&limits, f->phases));
    return e;
}

/* Everything but the energy's device. */
static mp_err measure_all(const app_bench_job *job, app_ui *ui, app_energy *energy, json_t **out) {
    moped_model *model = NULL;
    app_bench_job here = *job; /* with the disk's rate as it is now */
    figures f = {0};
    double before = 0, after = 0;
    mp_err e = measure_disk(job, &before);
    if (before > 0) here.options.disk_bps = before;
    job = &here;
    if (!e) e = app_model_open(&job->options, ui, &model);
    if (e == MOPED_E_BUDGET) {
        *out = json_object();
        app_put_bool(*out, "fits", false);
        app_put_int(*out, "ram_budget_bytes", job->options.ram_bytes);
        app_put_int(*out, "threads", (uint64_t)job->options.threads);
        app_put_text(*out, "error", mp_err_text());
        return MP_OK;
    }
    if (!e) e = measure(job, model, energy, &f);
    if (!e) *out = run_json(job, model, &f);
    app_model_close(&model);
    if (!e && job->profile) e = put_profile(*out, job, &f);
    for (int i = 0; i < MOPED_PHASE_COUNT; i++) app_phase_deinit(&f.phases[i]);
    if (!e && before > 0) e = measure_disk(job, &after);
    if (!e && before > 0) app_put_real(*out, "disk_bps_after", after);
    return e;
}

mp_err app_bench_measure(const app_bench_job *job, app_ui *ui, json_t **out) {
    app_energy *energy = calloc(1, sizeof *energy);
    *out = NULL;
    if (!energy) return mp_fail(MP_E_FAILED, "out of memory");
    app_energy_open(energy); /* before the model: what the driver's library takes belongs to what the plan finds here */
    mp_err e = measure_all(job, ui, energy, out);
    json_t *cards = e ? NULL : app_energy_json(energy);
    if (cards) app_put(*out, "energy", cards);
    app_energy_close(energy);
    free(energy);
    if (e) json_decref(*out), *out = NULL;
    return e;
}
