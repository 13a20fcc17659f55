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

#include <immintrin.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the machine's limits ---- */

enum { MEMORY_BYTES = 1 << 30, CHUNK_BYTES = 4 << 20, CHUNKS = MEMORY_BYTES / CHUNK_BYTES, PASSES = 15, AHEAD = 4096, LINE = 64, CHAINS = 12, STEPS = 1 << 16, THREADS_MAX = 256 };

typedef uint64_t lanes __attribute__((vector_size(64), may_alias));

/* Threads take chunks of work until there are none; the best of all passes counts, since neighbours can only make it slower. */
typedef struct race {
    const unsigned char *memory;
    double (*work)(struct race *, int chunk); /* returns bytes or operations */
    atomic_int           next;
    pthread_barrier_t    together;
    atomic_ullong        sink;
    double               done[THREADS_MAX], best;
    int                  threads;
} race;

/* Asks 4 KiB ahead: the processor's own prefetcher stops at each small page, and moped's kernels ask too. */
static double read_chunk(race *r, int chunk) {
    const lanes *p = (const lanes *)(const void *)(r->memory + (size_t)chunk * CHUNK_BYTES), *end = p + CHUNK_BYTES / sizeof *p;
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    for (; p < end; p += 4) {
        for (int k = 0; k < 4; k++) __builtin_prefetch((const char *)p + AHEAD + k * LINE);
        a += p[0];
        b += p[1];
        c += p[2];
        d += p[3];
    }
    a += b + c + d;
    r->sink += a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7];
    return CHUNK_BYTES;
}

/* CHAINS independent accumulators hide the latency; the empty asm keeps them in registers and apart. */
#define PEAK(name, type, operand, x0, a0, step, ops)                          \
    static double name(race *r, int chunk) {                                  \
        type a[CHAINS];                                                       \
        operand x = x0;                                                       \
        (void)chunk;                                                          \
        for (int j = 0; j < CHAINS; j++) a[j] = a0;                           \
        for (int i = 0; i < STEPS; i++) {                                     \
            _Pragma("GCC unroll 12") for (int j = 0; j < CHAINS; j++) {       \
                a[j] = step;                                                  \
                __asm__ volatile("" : "+v"(a[j]));                            \
            }                                                                 \
        }                                                                     \
        for (int j = 0; j < CHAINS; j++) r->sink += ((const unsigned char *)&a[j])[0]; \
        return (double)(ops) * CHAINS * STEPS;                                \
    }
#if defined(__AVX512F__)
PEAK(peak_f32, __m512, __m512, _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_fmadd_ps(x, x, a[j]), 32)
#elif defined(__FMA__)
PEAK(peak_f32, __m256, __m256, _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_fmadd_ps(x, x, a[j]), 16)
#endif
#if defined(__AVX512VNNI__)
PEAK(peak_int8, __m512i, __m512i, _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_dpbusd_epi32(a[j], x, x), 128)
#endif
#if defined(__AVX512BF16__)
PEAK(peak_bf16, __m512, __m512bh, (__m512bh)_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_dpbf16_ps(a[j], x, x), 64)
#endif

typedef struct runner {
    race *race;
    int   i;
} runner;

static void *run(void *arg) {
    race *r = ((runner *)arg)->race;
    int i = ((runner *)arg)->i;
    for (int pass = 0; pass < PASSES; pass++) {
        pthread_barrier_wait(&r->together);
        double start = now(), sum = 0;
        for (int c; (c = atomic_fetch_add(&r->next, 1)) < CHUNKS;) sum += r->work(r, c);
        r->done[i] = sum;
        pthread_barrier_wait(&r->together);
        if (i) continue;
        double took = now() - start, all = 0;
        for (int t = 0; t < r->threads; t++) all += r->done[t];
        if (all / took > r->best) r->best = all / took;
        r->next = 0;
    }
    return NULL;
}

static double limit(double (*work)(race *, int), const unsigned char *memory, int threads) {
    static race r;
    runner who[THREADS_MAX];
    pthread_t t[THREADS_MAX];
    r = (race){.memory = memory, .work = work, .threads = threads};
    pthread_barrier_init(&r.together, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        who[i] = (runner){&r, i};
        if (pthread_create(&t[i], NULL, run, &who[i])) exit(1);
    }
    for (int i = 0; i < threads; i++) pthread_join(t[i], NULL);
    pthread_barrier_destroy(&r.together);
    return r.best;
}

static int limits(int threads) {
    unsigned char *memory = mmap(NULL, MEMORY_BYTES + AHEAD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return perror("memory"), 1;
    madvise(memory, MEMORY_BYTES, MADV_HUGEPAGE);
    memset(memory, 1, MEMORY_BYTES);
    printf("{\"threads\": %d, \"read_bps\": %.4g", threads, limit(read_chunk, memory, threads));
    munmap(memory, MEMORY_BYTES + AHEAD);
#if defined(__FMA__)
    printf(", \"f32_ops\": %.4g", limit(peak_f32, NULL, threads));
#endif
#if defined(__AVX512VNNI__)
    printf(", \"int8_ops\": %.4g", limit(peak_int8, NULL, threads));
#endif
#if defined(__AVX512BF16__)
    printf(", \"bf16_ops\": %.4g", limit(peak_bf16, NULL, threads));
#endif
    printf("}\n");
    return 0;
}

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

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "limits")) {
        int threads = atoi(argv[2]);
        return threads > 0 && threads <= THREADS_MAX ? limits(threads) : 2;
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
