/* A short fuzz run without libFuzzer: the harness sees the empty input, every seed, every seed cut at a few places, and a few
 * thousand mutations from a fixed seed, so that each run is the same run. A crash or a sanitizer report is the failure.
 *
 *   test_fuzz_x [rounds | file]   more rounds, or one input again (as saved by libFuzzer)
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifndef FUZZ_SEEDS
#define FUZZ_SEEDS "seeds"
#endif
enum { ROUNDS = 4000, SEEDS_MAX = 256, INPUT_MAX = 64 << 10 };

typedef struct input {
    uint8_t *data;
    size_t   size;
} input;

typedef struct corpus {
    input seed[SEEDS_MAX];
    int   n;
} corpus;

/* splitmix64, Steele et al. 2014 */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The harness gets its own exact heap copy, so that a sanitizer sees a read past the end. */
static void run_one(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) exit(2);
    if (size) memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int load(const char *path, input *out) {
    *out = (input){0};
    struct stat st;
    FILE *f = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "rb") : NULL;
    if (!f) return -1;
    out->data = malloc(INPUT_MAX);
    if (!out->data) exit(2);
    out->size = fread(out->data, 1, INPUT_MAX, f);
    fclose(f);
    return 0;
}

static int is_name(const struct dirent *e) {
    return e->d_name[0] != '.';
}

static void load_seeds(corpus *c) {
    struct dirent **names = NULL;
    int n = scandir(FUZZ_SEEDS, &names, is_name, alphasort); /* sorted: the same run everywhere */
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", FUZZ_SEEDS, names[i]->d_name);
        if (c->n < SEEDS_MAX && !load(path, &c->seed[c->n])) c->n++;
        free(names[i]);
    }
    free(names);
}

static size_t cut_out(uint8_t *buf, size_t size, size_t at, size_t n) {
    if (n > size - at) n = size - at;
    memmove(buf + at, buf + at + n, size - at - n);
    return size - n;
}

/* One edit of buf in place; returns the new size. */
static size_t mutate(uint8_t *buf, size_t size, uint64_t *rng) {
    static const uint8_t odd[] = {0x00, 0xff, 0x7f, 0x80, 0x01, '"', '\\', '{', '[', '\n', 0xc3, 0xf0};
    uint64_t r = next_random(rng), at = next_random(rng) % (size + 1); /* at == size is a byte past the input, still inside buf */
    switch (r % 8) {
    case 0: buf[at] ^= (uint8_t)(1u << (r >> 8) % 8); return size;
    case 1: buf[at] = (uint8_t)(r >> 8); return size;
    case 2: buf[at] = odd[(r >> 8) % sizeof odd]; return size;
    case 3: return at; /* the end is gone */
    case 4: /* a byte in */
        if (size >= INPUT_MAX) return size;
        memmove(buf + at + 1, buf + at, size - at);
        buf[at] = odd[(r >> 8) % sizeof odd];
        return size + 1;
    case 5: return cut_out(buf, size, at, 1 + (r >> 8) % 16);
    case 6: /* a large or small little-endian number over what is there */
        for (size_t i = 0; i < 8 && at + i < size; i++) buf[at + i] = (uint8_t)(i < 1 + (r >> 8) % 8 ? 0xff : 0);
        return size;
    default: /* a stretch of random bytes in the end */
        for (size_t n = (r >> 8) % 32; n && size < INPUT_MAX; n--) buf[size++] = (uint8_t)next_random(rng);
        return size;
    }
}

static void run_mutations(const corpus *c, long rounds) {
    uint8_t *buf = malloc(INPUT_MAX + 64);
    if (!buf) exit(2);
    uint64_t rng = 2026;
    for (long i = 0; i < rounds; i++) {
        const input *seed = c->n ? &c->seed[next_random(&rng) % (uint64_t)c->n] : NULL;
        size_t size = seed ? seed->size : 0;
        if (size) memcpy(buf, seed->data, size);
        for (uint64_t edits = 1 + next_random(&rng) % 6; edits; edits--) size = mutate(buf, size, &rng);
        run_one(buf, size);
    }
    free(buf);
}

int main(int argc, char **argv) {
    static corpus c;
    input one;
    if (argc > 1 && !load(argv[1], &one)) {
        run_one(one.data, one.size);
        free(one.data);
        return 0;
    }
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : ROUNDS;
    load_seeds(&c);
    run_one(NULL, 0);
    for (int i = 0; i < c.n; i++) {
        run_one(c.seed[i].data, c.seed[i].size);
        for (size_t cut = 1; cut < c.seed[i].size; cut += 1 + c.seed[i].size / 64) run_one(c.seed[i].data, cut);
    }
    run_mutations(&c, rounds);
    printf("%d seeds, %ld mutations\n", c.n, rounds);
    for (int i = 0; i < c.n; i++) free(c.seed[i].data);
    return 0;
}
