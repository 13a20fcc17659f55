/* moped as one side of a comparison: loads a model once, then measures what its standard input asks for, a line at a time, and answers each with a line of
 * JSON. So two engines can take turns without loading between them. bench/kernels.py makes and runs it.
 *
 *   cc -O3 -march=native -Iinclude bench/turns.c -o build/turns -Lbuild -lmoped -Wl,-rpath,$PWD/build -lpthread
 *   build/turns limits THREADS           read bandwidth of memory (huge pages) and peaks of arithmetic, measured here
 *   build/turns shape SHAPE TYPE         what a file of `moped bench --like` would be
 *   build/turns MODEL THREADS CONTEXT    then on standard input: prefill N | decode N DEPTH
 *
 * prefill: N tokens in an empty context, and the logits of the last. decode: N tokens after the first one, sampled as `moped bench` does, with DEPTH tokens of context
 * before them, which are computed once and kept. Public interface only. */
#include <moped.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, moped_error());
    return 1;
}

static int shape(const char *name, const char *type) {
    moped_shape_info s;
    if (moped_shape_find(name, type, &s)) return failed(name);
    printf("{\"file_bytes\": %llu, \"parameters\": %llu, \"active_parameters\": %llu}\n", (unsigned long long)s.file_bytes, (unsigned long long)s.parameters,
           (unsigned long long)s.active_parameters);
    return 0;
}

/* ---- turns ---- */

/* The ids of `moped bench`. */
static void fill(int32_t *ids, int n, int vocab) {
    uint64_t state = 42;
    for (int i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int32_t)((state >> 33) % (uint64_t)vocab);
    }
}

static int generate(moped_session *s, const int32_t *ids, int n, int most, moped_result *out) {
    moped_sampling sampling;
    moped_sampling_default(NULL, &sampling);
    sampling.temperature = 1;
    sampling.top_k = 40;
    sampling.seed = 42;
    moped_request request = {.tokens = ids, .n_tokens = (size_t)n, .max_tokens = most, .sampling = &sampling, .ignore_eos = true};
    if (moped_generate(s, &request, out)) return failed("generate");
    return out->n_tokens == (size_t)most ? 0 : (fprintf(stderr, "%zu tokens of %d\n", out->n_tokens, most), 1);
}

static int take_turn(moped_session *s, const char *line, const int32_t *ids, int32_t begin, int context) {
    moped_result r;
    int n = 0, depth = 0;
    if (sscanf(line, "prefill %d", &n) == 1 && n > 0 && n < context) {
        moped_session_truncate(s, 0);
        if (generate(s, ids, n, 1, &r)) return 1;
        printf("{\"tok_s\": %.6g}\n", n * 1e9 / (double)r.prefill_ns);
    } else if (sscanf(line, "decode %d %d", &n, &depth) == 2 && n > 0 && depth >= 0 && depth + n + 2 <= context) {
        if (!depth) moped_session_truncate(s, 0);
        if (generate(s, depth ? ids : &begin, depth ? depth : 1, n + 1, &r)) return 1;
        printf("{\"tok_s\": %.6g, \"reused\": %zu}\n", n * 1e9 / (double)r.decode_ns, r.reused_tokens);
    } else {
        return fprintf(stderr, "no such turn: %s", line), 1;
    }
    return fflush(stdout);
}

static int take_turns(moped_model *model, int context) {
    const moped_plan_info *plan = moped_model_plan(model);
    const moped_vocab *vocab = moped_model_vocab(model);
    int32_t begin = vocab && moped_vocab_bos(vocab) >= 0 ? moped_vocab_bos(vocab) : 0;
    int32_t *ids = malloc((size_t)context * sizeof *ids);
    moped_session *s = NULL;
    moped_memory m;
    char line[128];
    if (!ids || moped_session_open(model, 0, &s)) return free(ids), failed("session");
    fill(ids, context, plan->model.vocab);
    if (plan->bytes[MOPED_TIER_DISK][MOPED_OWN_EXPERTS]) fprintf(stderr, "not everything is in memory\n"), exit(1);
    moped_model_memory(model, &m);
    printf("{\"ready\": true, \"bytes_per_tok\": %llu, \"kv_bytes_per_tok\": %llu, \"ram_bytes\": %llu, \"version\": \"%s\"}\n",
           (unsigned long long)(plan->model.dense_bytes_per_tok + plan->model.expert_bytes_per_tok), (unsigned long long)plan->model.kv_bytes_per_tok,
           (unsigned long long)m.now_bytes, moped_version());
    fflush(stdout);
    int code = 0;
    while (!code && fgets(line, sizeof line, stdin)) code = take_turn(s, line, ids, begin, context);
    moped_session_close(&s);
    free(ids);
    return code;
}

/* The library measures it; small machines' noise is the caller's matter. */
static int limits(int threads) {
    moped_limits l;
    if (moped_measure_limits(&(moped_limits_options){.threads = threads, .bytes = 1ull << 30}, &l)) return failed("limits");
    printf("{\"threads\": %d, \"read_bps\": %.4g", l.threads, l.read_bps);
    const char *names[MOPED_ARITH_COUNT] = {[MOPED_ARITH_INT8] = "int8_ops", [MOPED_ARITH_BF16] = "bf16_ops", [MOPED_ARITH_F32] = "f32_ops"};
    for (int i = 0; i < MOPED_ARITH_COUNT; i++)
        if (names[i] && l.ops[i] > 0) printf(", \"%s\": %.4g", names[i], l.ops[i]);
    printf("}\n");
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "limits")) {
        int threads = atoi(argv[2]);
        return threads > 0 ? limits(threads) : 2;
    }
    if (argc == 4 && !strcmp(argv[1], "shape")) return shape(argv[2], argv[3]);
    if (argc != 4) return fprintf(stderr, "turns limits THREADS, or turns MODEL THREADS CONTEXT\n"), 2;
    moped_options o = {.path = argv[1], .threads = atoi(argv[2]), .ctx_tok = atoi(argv[3])};
    moped_model *model = NULL;
    if (moped_model_open(&o, &model)) return failed(argv[1]);
    int code = take_turns(model, o.ctx_tok);
    moped_model_close(&model);
    return code;
}
