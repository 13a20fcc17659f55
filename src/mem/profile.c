/* Profiles: the file, merging, and the order of heat. */
#include "mem/profile.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "base/os_write.h"

enum { VERSION = 1, HEAD = 48, TAIL = 8 };
enum { FIRST_BYTES = 64 << 10, LAST_BYTES = 4 << 10, BLOCK_BYTES = 16 << 10 };

#define FNV_START 14695981039346656037u
#define FNV_PRIME 1099511628211u

/* FNV-1a, 64 bits (Fowler, Noll, Vo). Each step is a bijection of the state: one changed byte always shows. */
static uint64_t hash(uint64_t h, const unsigned char *data, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ data[i]) * FNV_PRIME;
    return h;
}

static void put(unsigned char *to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) to[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get(const unsigned char *from, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)from[i] << (8 * i);
    return value;
}

static size_t pages(const mp_profile *p) {
    return (size_t)p->layers * p->experts;
}

/* ---- identity ---- */

static mp_err hash_part(const mp_file *file, uint64_t from, uint64_t n, uint64_t *h) {
    unsigned char block[BLOCK_BYTES];
    mp_err err = MP_OK;
    for (uint64_t at = 0; at < n && !err; at += sizeof block) {
        size_t k = n - at < sizeof block ? (size_t)(n - at) : sizeof block;
        err = mp_file_read(file, block, k, from + at);
        if (!err) *h = hash(*h, block, k);
    }
    return err;
}

mp_err mp_profile_identify(const mp_gguf *g, mp_profile_id *out) {
    uint64_t h = FNV_START;
    mp_err err = MP_OK;
    *out = (mp_profile_id){0};
    for (int i = 0; i < mp_gguf_files(g) && !err; i++) {
        const mp_file *file = mp_gguf_file(g, i);
        unsigned char size[8];
        uint64_t last = file->bytes < LAST_BYTES ? file->bytes : LAST_BYTES;
        put(size, file->bytes, 8);
        h = hash(h, size, sizeof size);
        if (i == 0) err = hash_part(file, 0, file->bytes < FIRST_BYTES ? file->bytes : FIRST_BYTES, &h);
        if (!err) err = hash_part(file, file->bytes - last, last, &h);
    }
    if (!err) *out = (mp_profile_id){.bytes = mp_gguf_bytes(g), .hash = h};
    return err;
}

/* ---- open and close ---- */

mp_err mp_profile_open(mp_ledger *ledger, const mp_profile_id *id, uint32_t layers, uint32_t experts, mp_profile **out) {
    mp_profile *p;
    *out = NULL;
    mp_err err = MP_NEW(ledger, MP_OWN_OVERHEAD, mp_profile, 1, &p);
    if (err) return err;
    p->id = *id;
    p->layers = layers;
    p->experts = experts;
    p->file_bytes = HEAD + pages(p) * 5 + TAIL;
    err = MP_NEW(ledger, MP_OWN_OVERHEAD, float, pages(p), &p->count);
    if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, unsigned char, pages(p), &p->pinned);
    if (!err) err = MP_NEW(ledger, MP_OWN_OVERHEAD, unsigned char, p->file_bytes, &p->file);
    if (err) mp_profile_close(&p);
    *out = p;
    return err;
}

void mp_profile_close(mp_profile **profile) {
    mp_profile *p = profile ? *profile : NULL;
    if (!p) return;
    mp_free(p->count);
    mp_free(p->pinned);
    mp_free(p->file);
    MP_FREE(*profile);
}

void mp_profile_clear(mp_profile *p) {
    p->tokens = 0;
    memset(p->count, 0, pages(p) * sizeof *p->count);
    memset(p->pinned, 0, pages(p));
}

/* ---- reading ---- */

static mp_err fail_damaged(const char *why) {
    return mp_fail(MP_E_MODEL, "it is no profile, or a damaged one: %s", why);
}

/* Is it one, and of this model? The checksum first: what it covers is then as it was written. */
static mp_err check(const mp_profile *p, const unsigned char *d, size_t n) {
    if (n < HEAD + TAIL || memcmp(d, "MPRF", 4) != 0) return fail_damaged("it does not begin as one");
    if (get(d + n - TAIL, 8) != hash(FNV_START, d, n - TAIL)) return fail_damaged("its checksum is wrong");
    if (get(d + 4, 4) != VERSION)
        return mp_fail(MP_E_MODEL, "it is a profile of version %llu, and this moped reads version %d", (unsigned long long)get(d + 4, 4), VERSION);
    if (get(d + 24, 4) != p->layers || get(d + 28, 4) != p->experts || get(d + 8, 8) != p->id.bytes || get(d + 16, 8) != p->id.hash)
        return mp_fail(MP_E_USAGE, "it is the profile of another model: of %llu layers of %llu experts in a file of %llu bytes, and this one has %u of %u in %llu",
                       (unsigned long long)get(d + 24, 4), (unsigned long long)get(d + 28, 4), (unsigned long long)get(d + 8, 8), p->layers, p->experts,
                       (unsigned long long)p->id.bytes);
    if (n != p->file_bytes) return fail_damaged("its length is wrong");
    if (get(d + 32, 8) > MP_PROFILE_TOKENS || get(d + 40, 8)) return fail_damaged("it counts more tokens than can be");
    return MP_OK;
}

mp_err mp_profile_parse(mp_profile *p, const void *data, size_t n) {
    const unsigned char *d = data;
    mp_profile_clear(p);
    mp_err err = check(p, d, n);
    if (err) return err;
    const unsigned char *counts = d + HEAD, *pins = counts + pages(p) * 4;
    uint64_t tokens = get(d + 32, 8);
    for (size_t i = 0; i < pages(p) && !err; i++) {
        uint64_t count = get(counts + i * 4, 4);
        if (count > tokens || pins[i] > 1) err = fail_damaged("a count is larger than there were tokens, or a pin is no pin");
        p->count[i] = (float)count;
        p->pinned[i] = pins[i];
    }
    if (err) mp_profile_clear(p);
    else p->tokens = tokens;
    return err;
}

/* Whole into p->file. What is longer is none of this model, whatever its end says. */
static mp_err read_file(mp_profile *p, const mp_file *file, size_t *n) {
    *n = file->bytes < p->file_bytes ? (size_t)file->bytes : p->file_bytes;
    mp_err err = mp_file_read(file, p->file, *n, 0);
    if (err || file->bytes <= p->file_bytes) return err;
    bool larger = !memcmp(p->file, "MPRF", 4) && get(p->file + 24, 4) * get(p->file + 28, 4) > pages(p);
    return larger ? mp_fail(MP_E_USAGE, "it is the profile of another model, one of more experts") : fail_damaged("it is too long");
}

mp_err mp_profile_read(mp_profile *p, const char *path, bool *found) {
    mp_file file;
    size_t n;
    *found = false;
    mp_profile_clear(p);
    if (access(path, F_OK) != 0 && errno == ENOENT) return MP_OK;
    if (mp_file_open(path, false, &file)) return MP_E_FAILED; /* with its sentence */
    mp_err err = read_file(p, &file, &n);
    mp_file_close(&file);
    if (!err) err = mp_profile_parse(p, p->file, n);
    *found = !err;
    return err ? mp_fail_in(err, path) : MP_OK;
}

/* ---- writing ---- */

mp_err mp_profile_write(mp_profile *p, const char *path) {
    unsigned char *d = p->file, *counts = d + HEAD, *pins = counts + pages(p) * 4;
    memset(d, 0, HEAD);
    memcpy(d, "MPRF", 4);
    put(d + 4, VERSION, 4);
    put(d + 8, p->id.bytes, 8);
    put(d + 16, p->id.hash, 8);
    put(d + 24, p->layers, 4);
    put(d + 28, p->experts, 4);
    put(d + 32, p->tokens, 8);
    for (size_t i = 0; i < pages(p); i++) {
        put(counts + i * 4, (uint32_t)p->count[i], 4);
        pins[i] = p->pinned[i];
    }
    put(d + p->file_bytes - TAIL, hash(FNV_START, d, p->file_bytes - TAIL), 8);
    return mp_file_replace(path, d, p->file_bytes);
}

void mp_profile_add(mp_profile *p, const uint32_t *uses, uint64_t tokens) {
    uint64_t sum = p->tokens + tokens;
    int shift = 0;
    while (sum >> shift > MP_PROFILE_TOKENS) shift++;
    p->tokens = sum >> shift;
    for (size_t i = 0; i < pages(p); i++) {
        uint64_t count = ((uint64_t)p->count[i] + uses[i]) >> shift;
        p->count[i] = (float)(count < p->tokens ? count : p->tokens);
    }
}

/* ---- the order of heat ---- */

static bool hotter(const mp_profile *p, uint32_t a, uint32_t b) {
    if (p->pinned[a] != p->pinned[b]) return p->pinned[a] > p->pinned[b];
    if (p->count[a] != p->count[b]) return p->count[a] > p->count[b];
    return a < b;
}

/* Shell's sort (gaps: Ciura 2001, then times 2.25): in place, where qsort may take memory that nobody planned. */
static void sort(const mp_profile *p, uint32_t *order, uint32_t n) {
    static const uint32_t GAPS[] = {44842, 19930, 8858, 3937, 1750, 701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof GAPS / sizeof *GAPS; g++)
        for (uint32_t i = GAPS[g]; i < n; i++) {
            uint32_t page = order[i], at = i;
            for (; at >= GAPS[g] && hotter(p, page, order[at - GAPS[g]]); at -= GAPS[g]) order[at] = order[at - GAPS[g]];
            order[at] = page;
        }
}

uint32_t mp_profile_order(const mp_profile *p, uint32_t *order) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < pages(p); i++)
        if (p->pinned[i] || p->count[i] > 0) order[n++] = i;
    sort(p, order, n);
    return n;
}
