/* Profiles: what is written is read again; everything else is refused and leaves nothing; old habits fade. */
#include "mem/profile.h"

#include <signal.h>
#include <sys/resource.h>

#include "support/tiny.h"
#include "test.h"

enum { LAYERS = 3, EXPERTS = 8, PAGES = LAYERS * EXPERTS };
static const mp_profile_id ID = {123456, 0xfeedfacecafe};

static char       dir[] = "/tmp/moped-profile-XXXXXX", path[64];
static mp_ledger *ledger;

static mp_profile *open_like(mp_profile_id id, uint32_t layers, uint32_t experts) {
    mp_profile *p = NULL;
    CHECK_OK(mp_profile_open(ledger, &id, layers, experts, &p));
    return p;
}

static mp_profile *open_one(void) {
    return open_like(ID, LAYERS, EXPERTS);
}

static bool is_empty(const mp_profile *p) {
    bool empty = p->tokens == 0;
    for (uint32_t i = 0; i < p->layers * p->experts; i++) empty = empty && p->count[i] == 0 && !p->pinned[i];
    return empty;
}

/* A profile with counts and pins, in the file at path. */
static mp_profile *write_one(void) {
    mp_profile *p = open_one();
    uint32_t uses[PAGES];
    for (uint32_t i = 0; i < PAGES; i++) uses[i] = i * 7 % 41;
    mp_profile_add(p, uses, 50);
    p->pinned[3] = p->pinned[PAGES - 1] = 1;
    CHECK_OK(mp_profile_write(p, path));
    return p;
}

static size_t slurp(unsigned char *buf, size_t room) {
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(buf, 1, room, f) : 0;
    if (f) fclose(f);
    return n;
}

static void spill(const unsigned char *buf, size_t n) {
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(buf, 1, n, f) == n);
    if (f) fclose(f);
}

TEST(what_is_written_is_read_again) {
    mp_profile *a = write_one(), *b = open_one();
    bool found = false;
    CHECK_OK(mp_profile_read(b, path, &found));
    CHECK(found);
    CHECK_EQ(b->tokens, 50);
    CHECK(!memcmp(a->count, b->count, PAGES * sizeof *a->count) && !memcmp(a->pinned, b->pinned, PAGES));
    CHECK_EQ(b->count[5], 35);
    CHECK(mp_profile_read(b, "/tmp/there/is/no/such/profile", &found) == MP_OK && !found && is_empty(b));
    mp_profile_close(&a);
    mp_profile_close(&b);
    CHECK(!a && !b);
}

/* Every byte of it matters, and every length but its own. */
TEST(nothing_damaged_is_believed) {
    static unsigned char good[4096], bad[4096];
    mp_profile *p = write_one();
    bool found;
    size_t n = slurp(good, sizeof good);
    CHECK_EQ(n, p->file_bytes);
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            memcpy(bad, good, n);
            bad[i] ^= (unsigned char)(1 << bit);
            CHECK(mp_profile_parse(p, bad, n) == MP_E_MODEL && is_empty(p));
        }
    for (size_t k = 0; k < n; k++) CHECK(mp_profile_parse(p, good, k) == MP_E_MODEL && is_empty(p));
    memcpy(bad, good, n);
    bad[n] = 0;
    CHECK_EQ(mp_profile_parse(p, bad, n + 1), MP_E_MODEL);
    spill(bad, n + 1);
    CHECK(mp_profile_read(p, path, &found) == MP_E_MODEL && !found);
    CHECK(strstr(mp_err_text(), path) && strstr(mp_err_text(), "too long"));
    spill(good, n / 2);
    CHECK(mp_profile_read(p, path, &found) == MP_E_MODEL && !found && is_empty(p));
    CHECK(strstr(mp_err_text(), path) && strstr(mp_err_text(), "checksum"));
    CHECK(mp_profile_read(p, dir, &found) == MP_E_FAILED && !found);
    CHECK_OK(mp_profile_parse(p, good, n)); /* and the good one still is */
    CHECK_EQ(p->tokens, 50);
    mp_profile_close(&p);
}

TEST(another_models_is_refused) {
    mp_profile *one = write_one(), *others[] = {
        open_like((mp_profile_id){ID.bytes + 1, ID.hash}, LAYERS, EXPERTS), open_like((mp_profile_id){ID.bytes, ID.hash + 1}, LAYERS, EXPERTS),
        open_like(ID, LAYERS + 1, EXPERTS), open_like(ID, LAYERS, EXPERTS * 2), open_like(ID, LAYERS - 1, EXPERTS), open_like(ID, EXPERTS, LAYERS)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        bool found = true;
        CHECK_EQ(mp_profile_read(others[i], path, &found), MP_E_USAGE);
        CHECK(!found && is_empty(others[i]) && strstr(mp_err_text(), "another model"));
        mp_profile_close(&others[i]);
    }
    mp_profile_close(&one);
}

TEST(old_counts_fade) {
    mp_profile *p = open_one();
    uint32_t first[PAGES] = {[0] = 200000}, then[PAGES] = {[1] = 150000}, none[PAGES] = {0};
    mp_profile_add(p, first, 200000);
    CHECK_EQ(p->tokens, 200000);
    CHECK_EQ(p->count[0], 200000);
    mp_profile_add(p, then, 150000); /* 350000 are more than it keeps: all is halved */
    CHECK_EQ(p->tokens, 175000);
    CHECK_EQ(p->count[0], 100000);
    CHECK_EQ(p->count[1], 75000);
    mp_profile_add(p, none, 100000);
    CHECK_EQ(p->tokens, 137500);
    CHECK_EQ(p->count[0], 50000);
    for (int i = 0; i < 40; i++) mp_profile_add(p, then, 150000);
    CHECK(p->count[0] == 0 && p->count[1] > 60000); /* forgotten */
    first[2] = UINT32_MAX;
    mp_profile_add(p, first, UINT32_MAX); /* a run that counted for weeks */
    CHECK(p->tokens <= MP_PROFILE_TOKENS && p->count[2] <= (float)p->tokens && p->count[2] > (float)p->tokens / 2);
    mp_profile_close(&p);
}

TEST(the_order_is_pinned_then_hot_then_by_number) {
    mp_profile *p = open_like(ID, 40, 100);
    static uint32_t uses[4000], order[4000];
    bool right = true;
    srand(5);
    for (int i = 0; i < 4000; i++) uses[i] = (uint32_t)(rand() % 300);
    mp_profile_add(p, uses, 300);
    p->pinned[17] = p->pinned[3999] = p->pinned[0] = 1;
    uint32_t n = mp_profile_order(p, order), want = 0;
    for (int i = 0; i < 4000; i++) want += p->pinned[i] || p->count[i] > 0;
    CHECK_EQ(n, want);
    CHECK(n > 3900 && n < 4000);
    for (uint32_t i = 0; i < 3; i++) CHECK(p->pinned[order[i]]);
    for (uint32_t i = 4; i < n; i++) {
        float a = p->count[order[i - 1]], b = p->count[order[i]];
        right = right && !p->pinned[order[i]] && b > 0 && (a > b || (a == b && order[i - 1] < order[i]));
    }
    CHECK(right);
    mp_profile_close(&p);
}

/* A limit of the file's size stands for a full disk. */
TEST(a_full_disk_leaves_the_old_one) {
    static unsigned char before[4096], after[4096];
    mp_profile *p = write_one();
    struct rlimit was, small = {.rlim_cur = 40};
    size_t n = slurp(before, sizeof before);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &was) == 0);
    small.rlim_max = was.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    mp_profile_clear(p);
    mp_err err = mp_profile_write(p, path);
    setrlimit(RLIMIT_FSIZE, &was);
    CHECK_EQ(err, MP_E_FAILED);
    CHECK(slurp(after, sizeof after) == n && !memcmp(before, after, n));
    mp_profile_close(&p);
}

/* The same file is the same model; one byte of its name, or of its last weights, makes another. */
TEST(models_are_told_apart) {
    char model[TINY_PATH], copy[128];
    static unsigned char bytes[1 << 20];
    mp_profile_id id[4];
    tiny_path("mixtral", ".gguf", model);
    snprintf(copy, sizeof copy, "%s/copy.gguf", dir);
    FILE *f = fopen(model, "rb");
    size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (f) fclose(f);
    REQUIRE(n > 1000 && n < sizeof bytes);
    unsigned char *name = memmem(bytes, n, "general.name", 12);
    REQUIRE(name != NULL);
    for (int i = 0; i < 4; i++) {
        mp_gguf *g = NULL;
        if (i == 2) name[12 + 4 + 8] ^= 1; /* its first letter: behind the type and the length */
        if (i == 3) name[12 + 4 + 8] ^= 1, bytes[n - 1] ^= 1;
        f = fopen(copy, "wb");
        REQUIRE(f && fwrite(bytes, 1, n, f) == n);
        fclose(f);
        CHECK_OK(mp_gguf_open(ledger, copy, &g));
        CHECK_OK(mp_profile_identify(g, &id[i]));
        CHECK_EQ(id[i].bytes, n);
        mp_gguf_close(&g);
    }
    CHECK(id[0].hash == id[1].hash && id[0].hash != id[2].hash && id[0].hash != id[3].hash && id[2].hash != id[3].hash);
    unlink(copy);
}

int main(void) {
    if (!mkdtemp(dir) || mp_ledger_open(false, &ledger)) return 1;
    snprintf(path, sizeof path, "%s/one.prof", dir);
    RUN(what_is_written_is_read_again);
    RUN(nothing_damaged_is_believed);
    RUN(another_models_is_refused);
    RUN(old_counts_fade);
    RUN(the_order_is_pinned_then_hot_then_by_number);
    RUN(a_full_disk_leaves_the_old_one);
    RUN(models_are_told_apart);
    unlink(path);
    CHECK_EQ(rmdir(dir), 0); /* nothing was left beside it */
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    mp_ledger_close(&ledger);
    return test_done() || test_now.failures != 0;
}
