/* What everything around a GPU's kernels costs, without one: VRAM, its speed and the link to it are simulated (tests/support/sim_gpu.h), RAM, the pagers, the
 * processor beside the GPU and its kernels are real. Nothing is computed on the pretended GPU, so the routers see noise: give it a trace.
 *
 *   cmake --build build --target bench-tiers
 *   build/bench/tiers MODEL.gguf --vram 2G --link 12e9 --vram-bps 400e9 [--routing TRACE] [-p 512] [-n 64] [--deterministic] [--headroom-ram 8G]
 *
 * Prefill: its bound is the bytes that went up at the speed of the link, or the GPU's own time, whichever is more. Decode: the bound is what a token misses, divided
 * between link and processor such that both are done at once, plus the GPU's time for the rest; the processor's rate is what it reached in this run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/size.h"
#include "moped.h"
#include "support/sim_gpu.h"

typedef struct args {
    moped_options o;
    double        link, vram_bps;
    int           prompt, gen;
} args;

static int parse(int argc, char **argv, args *a)
{
    *a = (args){ .link = 12e9, .vram_bps = 400e9, .prompt = 512, .gen = 64, .o = { .ctx_tok = 2048, .time_ops = true } };
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (flag[0] != '-') {
            a->o.path = flag;
            continue;
        }
        if (!strcmp(flag, "--deterministic")) {
            a->o.deterministic = true;
            continue;
        }
        if (!strcmp(flag, "--vram"))
            mp_size_parse(value, &a->o.vram_bytes);
        else if (!strcmp(flag, "--ram"))
            mp_size_parse(value, &a->o.ram_bytes);
        else if (!strcmp(flag, "--link"))
            a->link = strtod(value, NULL);
        else if (!strcmp(flag, "--vram-bps"))
            a->vram_bps = strtod(value, NULL);
        else if (!strcmp(flag, "--routing"))
            a->o.routing = value;
        else if (!strcmp(flag, "--policy"))
            a->o.expert_policy = value;
        else if (!strcmp(flag, "-p"))
            a->prompt = atoi(value);
        else if (!strcmp(flag, "-n"))
            a->gen = atoi(value);
        else if (!strcmp(flag, "-t"))
            a->o.threads = atoi(value);
        else
            return fprintf(stderr, "tiers: no flag %s\n", flag), 1;
        i++;
    }
    return !a->o.path;
}

typedef struct span {
    double             seconds;
    moped_expert_stats s; /* differences */
} span;

/* A prompt of n tokens; or, with generate, so many tokens behind what the session holds. */
static moped_status run(moped_model *m, moped_session *s, const int32_t *ids, int n, bool generate, span *out)
{
    moped_expert_stats a, b;
    moped_model_experts(m, &a);
    uint64_t since = mp_now_ns();
    moped_status err = MOPED_OK;
    if (generate) {
        moped_sampling greedy = { .top_p = 1, .typical_p = 1, .repeat_penalty = 1 };
        moped_request r = { .max_tokens = n, .ignore_eos = true, .sampling = &greedy };
        moped_result x;
        r.tokens = moped_session_tokens(s, &r.n_tokens);
        err = moped_generate(s, &r, &x);
        out->seconds = (double)(x.prefill_ns + x.decode_ns) * 1e-9; /* of the prompt one token is computed again */
    } else {
        err = moped_logits(s, ids, (size_t)n, (size_t)n, NULL, NULL);
        out->seconds = (double)(mp_now_ns() - since) * 1e-9;
    }
    moped_model_experts(m, &b);
    out->s.accesses = b.accesses - a.accesses;
    out->s.misses = b.misses - a.misses;
    out->s.computed = b.computed - a.computed;
    out->s.upload_bytes = b.upload_bytes - a.upload_bytes;
    out->s.disk_bytes = b.disk_bytes - a.disk_bytes;
    return err;
}

static void print(const char *what, int tokens, const span *x, const args *a)
{
    double up = (double)x->s.upload_bytes / a->link;
    printf("%-8s %6d tokens  %9.2f tok/s  %6.2f%% hits  %6.2f GB up (%5.1f%% of the time at the link's speed)  %llu of %llu misses on the processor  %.2f GB from disk\n", what, tokens,
           tokens / x->seconds, x->s.accesses ? 100.0 * (double)(x->s.accesses - x->s.misses) / (double)x->s.accesses : 0, (double)x->s.upload_bytes * 1e-9,
           100 * up / x->seconds, (unsigned long long)x->s.computed, (unsigned long long)x->s.misses, (double)x->s.disk_bytes * 1e-9);
}

/* Where the time of decoding went, summed over layers. */
static void print_times(moped_model *m, int tokens)
{
    moped_time rows[4096];
    int n = moped_model_times(m, MOPED_PHASE_DECODE, NULL, rows, 4096);
    for (int i = 0; i < n && i < 4096; i++) {
        double us = 0;
        for (int j = i; j < n && j < 4096; j++)
            if (rows[j].what == rows[i].what) {
                us += (double)rows[j].ns * 1e-3;
                rows[j].ns = 0;
            }
        if (us / tokens > 50)
            printf("  %-14s %8.0f us a token\n", rows[i].what, us / tokens);
    }
}

int main(int argc, char **argv)
{
    args a;
    moped_model *m = NULL;
    moped_session *s = NULL;
    span fill = { 0 }, prefill = { 0 }, decode = { 0 };
    if (parse(argc, argv, &a))
        return fprintf(stderr, "usage: tiers MODEL.gguf --vram SIZE [--ram SIZE] [--link B/s] [--vram-bps B/s] [--routing TRACE] [-p N] [-n N] [-t N] [--deterministic]\n"), 2;
    sim_gpu_set(&(sim_gpu){ .room_bytes = 1ull << 40, .vram_bps = a.vram_bps }); /* loading is not what is measured */
    moped_status err = moped_model_open(&a.o, &m);
    if (!err)
        err = moped_session_open(m, 0, &s);
    int32_t *ids = calloc((size_t)a.prompt + 1, sizeof *ids);
    for (int i = 0; !err && ids && i < a.prompt; i++)
        ids[i] = (i * 7919 + 13) % moped_model_plan(m)->model.vocab;
    if (!err)
        err = run(m, s, ids, a.prompt, false, &fill); /* experts come from the disk */
    moped_session_truncate(s, 0);
    sim_gpu_set(&(sim_gpu){ .room_bytes = 1ull << 40, .vram_bps = a.vram_bps, .link_bps = a.link });
    if (!err)
        err = run(m, s, ids, a.prompt, false, &prefill);
    if (!err)
        err = run(m, s, ids, a.gen, true, &fill); /* the cache learns what decoding uses */
    moped_model_reset_times(m);
    if (!err)
        err = run(m, s, ids, a.gen, true, &decode);
    if (err)
        return fprintf(stderr, "tiers: %s\n", moped_error()), 1;
    const moped_plan_info *p = moped_model_plan(m);
    printf("vram %.2f GB: %u of %u experts; ram %.2f GB: %u; link %.1f GB/s, vram at %.0f GB/s%s\n", (double)p->vram_budget_bytes * 1e-9, p->expert_vram_slots, p->expert_pages,
           (double)p->budget_bytes * 1e-9, p->expert_slots, a.link * 1e-9, a.vram_bps * 1e-9, a.o.deterministic ? ", deterministic" : "");
    print("prefill", a.prompt, &prefill, &a);
    print("decode", a.gen, &decode, &a);
    print_times(m, a.gen);
    free(ids);
    moped_session_close(&s);
    moped_model_close(&m);
    return 0;
}
