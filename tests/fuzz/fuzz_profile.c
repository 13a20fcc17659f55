/* Any bytes as a profile. The first byte, when odd, has the checksum put right, so that what lies behind it is tried too. What is refused leaves nothing
 * behind; what is believed keeps its promises, and adding and ordering keep them.
 * Seeds: tests/fuzz/seeds/profile, each a byte and a file that tests/fuzz/make_profile_seeds.py wrote. */
#include "mem/profile.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LAYERS = 2, EXPERTS = 4, PAGES = LAYERS * EXPERTS };

#define ENSURE(cond) do { if (!(cond)) abort(); } while (0)

static void fix_checksum(uint8_t *d, size_t n)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i + 8 < n; i++)
        h = (h ^ d[i]) * 1099511628211u;
    for (size_t i = 0; i < 8 && n >= 8; i++)
        d[n - 8 + i] = (uint8_t)(h >> (8 * i));
}

static void check(const mp_profile *p, bool empty)
{
    ENSURE(p->tokens <= MP_PROFILE_TOKENS && !(empty && p->tokens));
    for (int i = 0; i < PAGES; i++) {
        ENSURE(p->count[i] >= 0 && p->count[i] <= (float)p->tokens && p->count[i] == (float)(uint32_t)p->count[i]);
        ENSURE(p->pinned[i] <= 1 && !(empty && p->pinned[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mp_ledger *ledger;
    uint32_t uses[PAGES] = { 0 }, order[PAGES];
    mp_profile *p;
    if (size < 1)
        return 0;
    uint8_t *copy = malloc(size > 1 ? size - 1 : 1);
    ENSURE(copy && (ledger || mp_ledger_open(false, &ledger) == MP_OK));
    memcpy(copy, data + 1, size - 1);
    if (data[0] & 1)
        fix_checksum(copy, size - 1);
    ENSURE(mp_profile_open(ledger, &(mp_profile_id){ 1000, 0x1234 }, LAYERS, EXPERTS, &p) == MP_OK);
    mp_err err = mp_profile_parse(p, copy, size - 1);
    ENSURE(err == MP_OK || err == MP_E_MODEL || err == MP_E_USAGE);
    check(p, err != MP_OK);
    for (int i = 0; i < PAGES; i++)
        uses[i] = (uint32_t)(data[size - 1 - (size_t)i % size] * 70000u);
    mp_profile_add(p, uses, 255u * 70000u);
    check(p, false);
    uint32_t n = mp_profile_order(p, order);
    ENSURE(n <= PAGES);
    for (uint32_t i = 1; i < n; i++)
        ENSURE(p->pinned[order[i - 1]] > p->pinned[order[i]] || (p->pinned[order[i - 1]] == p->pinned[order[i]] && p->count[order[i - 1]] >= p->count[order[i]]));
    mp_profile_close(&p);
    ENSURE(mp_ledger_used(ledger, MP_TIER_RAM) == 0);
    free(copy);
    return 0;
}
