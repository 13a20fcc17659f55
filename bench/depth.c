/* Decodes behind a long prompt, as often as it is told to: the moped half of bench/depth.py.
 *
 *   cc -O2 -Iinclude -Isrc bench/depth.c build/libmoped.a $(pkg-config --libs libpcre2-8 libutf8proc jansson liburing) -lpthread -lm -o build/depth
 *   build/depth MODEL DEPTH TOKENS THREADS
 *
 * Fills the context with DEPTH fixed tokens and prints how many a second; then, for each line that it reads, decodes TOKENS tokens from there (top-k 40,
 * temperature 1, fixed seed), goes back, and prints how many a second of time, and with the prompt's last one, of processor time. */
#include <moped.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int run(moped_session *session, const int32_t *ids, int depth, int tokens, moped_result *out) {
    moped_sampling sampling;
    moped_sampling_default(NULL, &sampling);
    sampling.temperature = 1;
    sampling.top_k = 40;
    sampling.seed = 42;
    moped_request q = {.tokens = ids, .n_tokens = (size_t)depth, .max_tokens = tokens, .sampling = &sampling, .ignore_eos = true};
    if (!moped_generate(session, &q, out)) return 0;
    fprintf(stderr, "%s\n", moped_error());
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 5) return fprintf(stderr, "depth MODEL DEPTH TOKENS THREADS\n"), 2;
    int depth = atoi(argv[2]), tokens = atoi(argv[3]);
    moped_options o = {.path = argv[1], .ctx_tok = depth + tokens + 2, .threads = atoi(argv[4]), .no_paging = true};
    moped_model *model;
    moped_session *session;
    moped_result r;
    if (moped_model_open(&o, &model) || moped_session_open(model, 0, &session)) return fprintf(stderr, "%s\n", moped_error()), 1;
    int32_t *ids = malloc((size_t)depth * sizeof *ids);
    uint64_t state = 42;
    for (int i = 0; i < depth; i++) { /* the ids of moped bench */
        state = state * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int32_t)((state >> 33) % (uint64_t)moped_model_plan(model)->model.vocab);
    }
    int failed = run(session, ids, depth, 1, &r);
    if (!failed) printf("%.2f\n", depth / ((double)r.prefill_ns * 1e-9));
    fflush(stdout);
    while (!failed && getchar() == '\n') {
        clock_t cpu = clock();
        failed = run(session, ids, depth, tokens + 1, &r);
        double seconds = (double)(clock() - cpu) / CLOCKS_PER_SEC;
        if (!failed) printf("%.2f %.2f\n", tokens / ((double)r.decode_ns * 1e-9), (tokens + 1) / seconds);
        fflush(stdout);
    }
    free(ids);
    moped_session_close(&session);
    moped_model_close(&model);
    return failed;
}
