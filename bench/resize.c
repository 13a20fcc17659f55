/* Halves and doubles a model's budget at random while a session talks, and watches that the process never holds more than the budget of the moment.
 *
 *   cc -O2 -Iinclude -Isrc bench/resize.c build/libmoped.a $(pkg-config --libs libpcre2-8 libutf8proc jansson liburing) -lpthread -lm -o build/resize
 *   build/resize MODEL LEAST_MIB MOST_MIB SECONDS
 *
 * Prints one line: resizes, tokens, the most that was held over the budget of its moment (bytes; negative: under it), the slowest resize per GiB that it
 * moved, and whether the answers stayed the same. Exit 6 when a promise was broken. */
#include <moped.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"

enum { TOKENS = 24, PROMPT = 40 };

typedef struct talk {
    moped_session *session;
    int32_t        ids[PROMPT], first[TOKENS];
    atomic_bool    stop;
    atomic_long    tokens;
    bool           same, failed;
} talk;

static void talk_once(talk *t, bool keep) {
    moped_sampling greedy;
    moped_result r;
    moped_sampling_default(NULL, &greedy);
    greedy.temperature = 0;
    moped_request q = {.tokens = t->ids, .n_tokens = PROMPT, .max_tokens = TOKENS, .sampling = &greedy, .ignore_eos = true};
    moped_session_truncate(t->session, 0);
    if (moped_generate(t->session, &q, &r)) {
        printf("failed: %s\n", moped_error());
        t->failed = true;
        return;
    }
    if (keep) memcpy(t->first, r.tokens, sizeof t->first);
    else if (memcmp(t->first, r.tokens, sizeof t->first) != 0) t->same = false;
    atomic_fetch_add(&t->tokens, TOKENS + PROMPT);
}

static void *talk_on(void *arg) {
    talk *t = arg;
    while (!t->stop && !t->failed) talk_once(t, false);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 5) return fprintf(stderr, "resize MODEL LEAST_MIB MOST_MIB SECONDS\n"), 2;
    uint64_t least = strtoull(argv[2], NULL, 10) << 20, most = strtoull(argv[3], NULL, 10) << 20, now = most, state = 42;
    double seconds = strtod(argv[4], NULL), worst = 0;
    moped_options o = {.path = argv[1], .ram_bytes = most, .ctx_tok = 1024};
    moped_model *model;
    talk t = {.same = true};
    int resizes = 0;
    int64_t over = INT64_MIN;
    if (moped_model_open(&o, &model) || moped_session_open(model, 0, &t.session)) return fprintf(stderr, "%s\n", moped_error()), 1;
    for (int i = 0; i < PROMPT; i++) t.ids[i] = 1000 + i * 37;
    talk_once(&t, true);
    pthread_t thread;
    pthread_create(&thread, NULL, talk_on, &t);
    uint64_t start = mp_now_ns();
    while (!t.failed && (double)(mp_now_ns() - start) * 1e-9 < seconds) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint64_t next = state >> 63 ? now * 2 : now / 2, before = mp_now_ns();
        next = next < least ? least : next > most ? most : next;
        if (moped_model_resize(model, next)) {
            printf("failed: %s\n", moped_error());
            t.failed = true;
        }
        double took = (double)(mp_now_ns() - before) * 1e-9, gib = (double)(next > now ? next - now : now - next) / (1 << 30);
        if (gib > 0.25 && took / gib > worst) worst = took / gib;
        now = next;
        resizes++;
        for (int i = 0; i < 20; i++) {
            mp_os_usage u;
            mp_os_usage_get(&u);
            if ((int64_t)u.now_bytes - (int64_t)now > over) over = (int64_t)u.now_bytes - (int64_t)now;
            usleep(10000 + (useconds_t)(state >> 47));
        }
    }
    t.stop = true;
    pthread_join(thread, NULL);
    printf("%d resizes between %s and %s MiB in %.0f s, %ld tokens, most over the budget %.1f MiB, slowest %.2f s a GiB, answers %s\n", resizes, argv[2], argv[3],
           (double)(mp_now_ns() - start) * 1e-9, (long)t.tokens, (double)over / (1 << 20), worst, t.same ? "the same" : "DIFFER");
    moped_session_close(&t.session);
    moped_model_close(&model);
    return t.failed || !t.same || over > 0 ? 6 : 0;
}
