/* Speed of a tokenizer: MB/s of encoding and decoding, in user CPU time (the machine may be shared), best of five.
 *
 *   cc -O2 -D_GNU_SOURCE -Isrc -Iinclude bench/tok.c build/libmoped.a -lutf8proc -ljansson -lpcre2-8 -luring -lpthread -lm -o bench_tok
 *   bench_tok VOCABULARY.gguf TEXT-FILE [MB]     the text is repeated up to MB (10) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "model/tok/tok.h"

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec * 1e-6;
}

static char *repeat_file(const char *path, size_t bytes)
{
    char *s = malloc(bytes);
    FILE *f = fopen(path, "rb");
    if (!s || !f) exit(2);
    size_t n = fread(s, 1, bytes, f);
    fclose(f);
    if (n == 0) exit(2);
    for (size_t i = n; i < bytes; i++) s[i] = s[i - n];
    return s;
}

int main(int argc, char **argv)
{
    if (argc < 3) return fprintf(stderr, "usage: %s VOCABULARY.gguf TEXT-FILE [MB]\n", argv[0]), 2;
    size_t     n = (size_t)(argc > 3 ? atoi(argv[3]) : 10) * 1000000, m = 0, k = 0;
    mp_ledger *ledger;
    mp_gguf   *g = NULL;
    mp_tok    *t = NULL;
    char      *text = repeat_file(argv[2], n), *back = malloc(2 * n);
    int32_t   *ids = malloc(n * sizeof *ids);
    if (!back || !ids || mp_ledger_open(false, &ledger)) return 2;
    double t0 = cpu_seconds();
    if (mp_gguf_open(ledger, argv[1], &g)) return fprintf(stderr, "%s\n", mp_err_text()), 1;
    double t1 = cpu_seconds();
    if (mp_tok_open(ledger, g, &t)) return fprintf(stderr, "%s\n", mp_err_text()), 1;
    double t2 = cpu_seconds(), enc = 1e9, dec = 1e9;
    mp_gguf_close(&g);
    double held = (double)mp_ledger_used(ledger, MP_TIER_RAM);
    for (int i = 0; i < 5; i++) {
        double a = cpu_seconds();
        if (mp_tok_encode(t, (mp_str){ text, n }, 0, ids, n, &m)) return 1;
        double b = cpu_seconds();
        k = mp_tok_decode(t, ids, m, 0, back, 2 * n);
        double c = cpu_seconds();
        if (b - a < enc) enc = b - a;
        if (c - b < dec) dec = c - b;
    }
    printf("%-14s gguf %.0f ms, open %.0f ms, %.1f MB held; %zu ids, encode %.1f MB/s, decode %.0f MB/s, round trip %s\n",
           mp_tok_get_info(t)->pre[0] ? mp_tok_get_info(t)->pre : mp_tok_get_info(t)->model,
           (t1 - t0) * 1e3, (t2 - t1) * 1e3, held / 1e6, m,
           (double)n / 1e6 / enc, (double)n / 1e6 / dec, k == n && memcmp(back, text, n) == 0 ? "exact" : "differs");
    mp_tok_close(&t);
    mp_ledger_close(&ledger);
    free(text);
    free(back);
    free(ids);
    return 0;
}
