/* Any bytes as a routing trace: the reader must refuse or open them, and what it opens must hold to its own rules.
 * Seeds: tests/fuzz/seeds/trace, written by tests/fuzz/make_trace_seeds.py. */
#include "mem/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Like assert, but also where NDEBUG is set. */
static void expect(bool holds) {
    if (!holds) abort();
}

static void check_layer(const mp_trace *t, uint64_t token, uint32_t layer) {
    const uint16_t *ids = mp_trace_ids(t, token, layer), *w = mp_trace_weights(t, token, layer);
    for (uint32_t k = 0; k < t->top_k; k++) {
        expect(ids[k] < t->experts && (!w || w[k] < 0x7c00));
        for (uint32_t j = 0; j < k && t->top_k < 64; j++) expect(ids[j] != ids[k]);
    }
}

static void check_all(const mp_trace *t) {
    uint64_t at = 0;
    expect(t->layers && t->experts && t->top_k && t->top_k <= t->experts);
    for (uint32_t i = 0; i < t->sequences; i++) {
        expect(t->seq[i].first == at && strlen(t->seq[i].name) <= MP_TRACE_NAME);
        at += t->seq[i].tokens;
    }
    expect(at == t->tokens);
    for (uint64_t token = 0; token < t->tokens; token++) {
        expect(!t->prefill || t->prefill[token] <= 1);
        for (uint32_t l = 0; l < t->layers; l++) check_layer(t, token, l);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    mp_ledger *ledger;
    mp_trace *t;
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size) || mp_ledger_open(false, &ledger)) {
        perror("fuzz_trace");
        exit(2);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    mp_err err = mp_trace_open(ledger, MP_OWN_WORK, path, &t);
    if (err) expect(!t && strstr(mp_err_text(), path));
    else check_all(t);
    mp_trace_close(&t);
    expect(mp_ledger_used(ledger, MP_TIER_RAM) == 0);
    expect(mp_ledger_peak(ledger, MP_TIER_RAM) < (1u << 20) + 8 * size); /* a lie about a count must not cost memory */
    mp_ledger_close(&ledger);
    close(fd);
    return 0;
}
