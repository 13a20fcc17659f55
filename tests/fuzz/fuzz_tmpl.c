/* Chat templates on any bytes: a template, a zero byte, JSON. Whatever it is, it ends within its limits, gives everything back, and
 * prints valid UTF-8; and printing twice gives the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/tmpl/tmpl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ENSURE(cond) do { if (!(cond)) { fprintf(stderr, "fuzz_tmpl: %s: %s\n", #cond, mp_err_text()); abort(); } } while (0)

/* Small enough that a run takes milliseconds even under the sanitizers. */
static const mp_tmpl_limits limits = {
    .steps = 30000, .output_bytes = 1 << 20, .memory_bytes = 8 << 20, .depth = 200, .now_unix = 1739500200,
};

static bool is_utf8(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i++];
        int more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : -1;
        if (more < 0) return false;
        for (; more > 0; more--)
            if (i >= n || ((unsigned char)s[i++] & 0xc0) != 0x80) return false;
    }
    return true;
}

static void check_render(const mp_tmpl *tmpl, const char *json, size_t n)
{
    char *first = NULL, *second = NULL;
    size_t n_first, n_second;
    mp_err err = mp_tmpl_render(tmpl, json, n, &limits, &first, &n_first);
    ENSURE((err == MP_OK) == (first != NULL));
    ENSURE(err == MP_OK || *mp_err_text());
    mp_err again = mp_tmpl_render(tmpl, json, n, &limits, &second, &n_second);
    ENSURE(again == err && n_first == n_second);
    ENSURE(err || (memcmp(first, second, n_first + 1) == 0 && is_utf8(first, n_first)));
    mp_free(first);
    mp_free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mp_ledger *ledger;
    mp_tmpl *tmpl;
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t n = zero ? (size_t)(zero - data) : size;
    if (mp_ledger_open(false, &ledger)) exit(2);
    mp_err err = mp_tmpl_compile(ledger, (const char *)data, n, &tmpl);
    ENSURE((err == MP_OK) == (tmpl != NULL));
    if (err) ENSURE(err == MP_E_MODEL && *mp_err_text());
    else if (zero) check_render(tmpl, (const char *)zero + 1, size - n - 1);
    else check_render(tmpl, "{}", 2);
    ENSURE(mp_ledger_peak(ledger, MP_TIER_RAM) < (24u << 20) + 4096 * size); /* the limit, and the tree of the template */
    mp_tmpl_close(&tmpl);
    ENSURE(mp_ledger_used(ledger, MP_TIER_RAM) == 0);
    mp_ledger_close(&ledger);
    return 0;
}
