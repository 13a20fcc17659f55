/* The GGUF writer: what it writes is read back the same, and what fails leaves no file and no memory behind. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/outfile.h"
#include "mem/gguf_write.h"
#include "test.h"

static char       dir[] = "/tmp/moped-write-XXXXXX", path[64], part[64];
static mp_ledger *ledger;

static bool there(const char *name) { return access(name, F_OK) == 0; }

/* n bytes that tell tensor and place */
static void fill(unsigned char *p, size_t n, int tensor)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(i * 7 + i / 251 + (size_t)tensor * 31);
}

static bool same(mp_str s, const char *text) { return s.n == strlen(text) && !memcmp(s.s, text, s.n); }

static void put_every_type(mp_gguf_writer *w)
{
    mp_gguf_put(w, "u8", MP_GGUF_U8, &(uint8_t){ 200 });
    mp_gguf_put(w, "i8", MP_GGUF_I8, &(int8_t){ -100 });
    mp_gguf_put(w, "u16", MP_GGUF_U16, &(uint16_t){ 60000 });
    mp_gguf_put(w, "i16", MP_GGUF_I16, &(int16_t){ -30000 });
    mp_gguf_put_u32(w, "u32", 4000000000u);
    mp_gguf_put(w, "i32", MP_GGUF_I32, &(int32_t){ -2000000000 });
    mp_gguf_put(w, "u64", MP_GGUF_U64, &(uint64_t){ 1ull << 40 });
    mp_gguf_put(w, "i64", MP_GGUF_I64, &(int64_t){ -(1ll << 40) });
    mp_gguf_put_f32(w, "f32", 0.25f);
    mp_gguf_put(w, "f64", MP_GGUF_F64, &(double){ 1e300 });
    mp_gguf_put_bool(w, "yes", true);
    mp_gguf_put_bool(w, "no", false);
    mp_gguf_put_str(w, "text", "a text");
    mp_gguf_put_str(w, "empty", "");
    mp_gguf_put_array(w, "numbers", MP_GGUF_I32, (int32_t[]){ 3, -1, 7 }, 3);
    mp_gguf_put_strings(w, "none", 0);
    mp_gguf_put_raw(w, "raw", MP_GGUF_STRING, "\2\0\0\0\0\0\0\0ab", 10);
}

static void check_every_type(const mp_gguf *g)
{
    int64_t i = 0;
    uint64_t u = 0;
    double f = 0;
    bool b = false;
    mp_str s;
    CHECK(mp_gguf_u64(g, "u8", &u) && u == 200);
    CHECK(mp_gguf_i64(g, "i8", &i) && i == -100);
    CHECK(mp_gguf_u64(g, "u16", &u) && u == 60000);
    CHECK(mp_gguf_i64(g, "i16", &i) && i == -30000);
    CHECK(mp_gguf_u64(g, "u32", &u) && u == 4000000000u);
    CHECK(mp_gguf_i64(g, "i32", &i) && i == -2000000000);
    CHECK(mp_gguf_u64(g, "u64", &u) && u == 1ull << 40);
    CHECK(mp_gguf_i64(g, "i64", &i) && i == -(1ll << 40));
    CHECK(mp_gguf_f64(g, "f32", &f) && f == 0.25);
    CHECK(mp_gguf_f64(g, "f64", &f) && f == 1e300);
    CHECK(mp_gguf_bool(g, "yes", &b) && b);
    CHECK(mp_gguf_bool(g, "no", &b) && !b);
    CHECK(mp_gguf_str(g, "text", &s) && same(s, "a text"));
    CHECK(mp_gguf_str(g, "empty", &s) && s.n == 0);
    CHECK(mp_gguf_str(g, "raw", &s) && same(s, "ab"));
    CHECK_EQ(mp_gguf_array_len(g, "numbers"), 3);
    CHECK(mp_gguf_array_f64(g, "numbers", 1, &f) && f == -1);
    CHECK_EQ(mp_gguf_array_len(g, "none"), 0);
}

enum { STRINGS = 70000 }; /* more than a window of them */

static void put_many_strings(mp_gguf_writer *w)
{
    mp_gguf_put_strings(w, "strings", STRINGS);
    for (int i = 0; i < STRINGS; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "the string no. %d", i);
        mp_gguf_put_element(w, text, (size_t)n);
    }
}

/* Tensors of sizes that are no multiple of 32, one larger than the window, one empty of surprises; data in pieces that respect no border. */
static const struct { const char *name; mp_dtype type; int rank; int64_t shape[3]; } TENSORS[] = {
    { "vector", MP_F32, 1, { 5 } }, { "matrix", MP_Q8_0, 2, { 3, 64 } }, { "stack", MP_Q4_K, 3, { 2, 3, 512 } },
    { "large", MP_F16, 2, { 1000, 1100 } }, { "last", MP_F32, 1, { 3 } },
};
enum { N_TENSORS = sizeof TENSORS / sizeof *TENSORS };

static mp_err write_model(const char *to, size_t piece, uint64_t *bytes)
{
    mp_gguf_writer *w;
    mp_err err = mp_gguf_writer_open(ledger, to, &w);
    if (err)
        return err;
    put_every_type(w);
    put_many_strings(w);
    for (int i = 0; i < N_TENSORS; i++)
        mp_gguf_put_tensor(w, TENSORS[i].name, TENSORS[i].type, TENSORS[i].rank, TENSORS[i].shape);
    err = mp_gguf_writer_begin(w);
    *bytes = mp_gguf_writer_bytes(w);
    unsigned char *all = NULL;
    size_t n = 0;
    for (int i = 0; i < N_TENSORS; i++) { /* all data one after the other, then cut into pieces */
        size_t k = mp_dtype_row_bytes(TENSORS[i].type, TENSORS[i].shape[TENSORS[i].rank - 1]);
        for (int d = 0; d + 1 < TENSORS[i].rank; d++)
            k *= (size_t)TENSORS[i].shape[d];
        all = realloc(all, n + k);
        fill(all + n, k, i);
        n += k;
    }
    for (size_t at = 0; !err && to && at < n; at += piece)
        err = mp_gguf_writer_data(w, all + at, n - at < piece ? n - at : piece);
    free(all);
    if (!err && to)
        err = mp_gguf_writer_finish(w);
    mp_gguf_writer_close(&w);
    CHECK(w == NULL);
    return err;
}

static void check_model(void)
{
    mp_gguf *g;
    CHECK_OK(mp_gguf_open(ledger, path, &g));
    if (!g)
        return;
    check_every_type(g);
    mp_gguf_array a;
    CHECK(mp_gguf_array_get(g, "strings", &a) && a.n == STRINGS && same(mp_gguf_array_str_at(&a, STRINGS - 1), "the string no. 69999"));
    CHECK_EQ(mp_gguf_tensors(g), N_TENSORS);
    for (int i = 0; i < N_TENSORS; i++) {
        const mp_gguf_tensor *t = mp_gguf_find(g, TENSORS[i].name);
        REQUIRE(t && t->dtype == TENSORS[i].type && t->rank == TENSORS[i].rank);
        for (int d = 0; d < t->rank; d++)
            CHECK_EQ(t->shape[d], TENSORS[i].shape[d]);
        CHECK_EQ(t->offset % MP_GGUF_ALIGNMENT, 0);
        unsigned char *want = malloc(t->bytes), *have = malloc(t->bytes);
        fill(want, t->bytes, i);
        CHECK_OK(mp_file_read(mp_gguf_file(g, 0), have, t->bytes, t->offset));
        CHECK(!memcmp(want, have, t->bytes));
        free(want), free(have);
    }
    mp_gguf_close(&g);
}

TEST(what_is_written_is_read)
{
    static const size_t pieces[] = { 1, 1000, 3u << 20 };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct stat st;
        uint64_t bytes = 0, counted = 0;
        CHECK_OK(write_model(path, pieces[i], &bytes));
        CHECK_OK(write_model(NULL, 1, &counted)); /* counting only */
        CHECK(stat(path, &st) == 0);
        CHECK_EQ(st.st_size, bytes);
        CHECK_EQ(counted, bytes);
        CHECK(!there(part));
        check_model();
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
        CHECK(remove(path) == 0);
    }
}

TEST(many_tensors_and_none)
{
    mp_gguf_writer *w;
    mp_gguf *g;
    CHECK_OK(mp_gguf_writer_open(ledger, path, &w));
    for (int i = 0; i < 3000; i++) {
        char name[32];
        snprintf(name, sizeof name, "blk.%d.weight", i);
        mp_gguf_put_tensor(w, name, MP_F32, 1, (int64_t[]){ 1 });
    }
    CHECK_OK(mp_gguf_writer_begin(w));
    for (int i = 0; i < 3000; i++)
        CHECK_OK(mp_gguf_writer_data(w, &(float){ (float)i }, 4));
    CHECK_OK(mp_gguf_writer_finish(w));
    mp_gguf_writer_close(&w);
    CHECK_OK(mp_gguf_open(ledger, path, &g));
    float v = 0;
    CHECK_OK(mp_file_read(mp_gguf_file(g, 0), &v, 4, mp_gguf_find(g, "blk.2999.weight")->offset));
    CHECK_EQ(v, 2999);
    mp_gguf_close(&g);
    CHECK_OK(mp_gguf_writer_open(ledger, path, &w)); /* over the old one */
    CHECK_OK(mp_gguf_writer_begin(w));
    CHECK_OK(mp_gguf_writer_finish(w));
    mp_gguf_writer_close(&w);
    CHECK_OK(mp_gguf_open(ledger, path, &g));
    CHECK_EQ(mp_gguf_tensors(g), 0);
    mp_gguf_close(&g);
    CHECK(remove(path) == 0);
}

static void write_note(void)
{
    FILE *f = fopen(path, "w");
    fputs("precious", f);
    fclose(f);
}

static bool note_is_there(void)
{
    char text[16] = "";
    FILE *f = fopen(path, "r");
    bool ok = f && fread(text, 1, 8, f) == 8 && !strcmp(text, "precious");
    if (f)
        fclose(f);
    return ok;
}

/* Stopped at any point: the file that was there stays, the half one goes. */
TEST(what_is_not_finished_is_removed)
{
    for (int stop = 0; stop < 3; stop++) {
        mp_gguf_writer *w;
        write_note();
        CHECK_OK(mp_gguf_writer_open(ledger, path, &w));
        CHECK(there(part));
        put_every_type(w);
        mp_gguf_put_tensor(w, "t", MP_F32, 1, (int64_t[]){ 1000 });
        if (stop > 0)
            CHECK_OK(mp_gguf_writer_begin(w));
        if (stop > 1)
            CHECK_OK(mp_gguf_writer_data(w, "abcd", 4));
        mp_gguf_writer_close(&w);
        CHECK(!there(part) && note_is_there());
    }
    mp_gguf_writer_close(&(mp_gguf_writer *){ NULL });
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    CHECK(remove(path) == 0);
}

TEST(places_where_nothing_can_be_written)
{
    mp_gguf_writer *w;
    CHECK_EQ(mp_gguf_writer_open(ledger, "/nosuchfolder/x.gguf", &w), MP_E_USAGE);
    CHECK(w == NULL && strstr(mp_err_text(), "/nosuchfolder/x.gguf: No such file"));
    CHECK_EQ(mp_gguf_writer_open(ledger, dir, &w), MP_E_USAGE);
    CHECK(strstr(mp_err_text(), "irectory"));
    CHECK_EQ(mp_gguf_writer_open(ledger, "", &w), MP_E_USAGE);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

/* /dev/full has no room; it is written in place, so that it stays what it is. */
TEST(a_full_disk)
{
    struct stat st;
    uint64_t bytes;
    if (access("/dev/full", W_OK) != 0)
        SKIP("no /dev/full");
    CHECK_EQ(write_model("/dev/full", 1000, &bytes), MP_E_FAILED);
    CHECK(strstr(mp_err_text(), "/dev/full: the disk is full") != NULL);
    CHECK(stat("/dev/full", &st) == 0 && S_ISCHR(st.st_mode));
    CHECK(!there("/dev/full.part"));
    CHECK_OK(write_model("/dev/null", 1000, &bytes));
    CHECK(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
}

/* A limit on the size of files stands for a disk that fills up under way. */
TEST(a_disk_that_fills_up)
{
    struct rlimit old, small;
    uint64_t bytes;
    mp_gguf_writer *w;
    REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
    signal(SIGXFSZ, SIG_IGN);
    small = old;
    small.rlim_cur = 3 << 20;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    mp_err err = write_model(path, 1000, &bytes), reserve = MP_OK;
    CHECK(err == MP_E_FAILED && strstr(mp_err_text(), path));
    CHECK(!there(path) && !there(part));
    CHECK_OK(mp_gguf_writer_open(ledger, path, &w));
    reserve = mp_gguf_writer_reserve(w, 100 << 20);
    mp_gguf_writer_close(&w);
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK(reserve == MP_E_FAILED && strstr(mp_err_text(), "needs 100M"));
    CHECK(!there(path) && !there(part));
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

TEST(more_than_the_disk_has)
{
    mp_gguf_writer *w;
    CHECK_OK(mp_gguf_writer_open(ledger, path, &w));
    CHECK_EQ(mp_gguf_writer_reserve(w, 1ull << 60), MP_E_FAILED);
    CHECK(strstr(mp_err_text(), ", and the disk has "));
    CHECK_OK(mp_gguf_writer_reserve(w, 8 << 20));
    CHECK_OK(mp_gguf_writer_begin(w));
    CHECK_OK(mp_gguf_writer_finish(w)); /* what was claimed too much is given back */
    mp_gguf_writer_close(&w);
    struct stat st;
    CHECK(stat(path, &st) == 0 && st.st_size < 100);
    CHECK(remove(path) == 0);
}

int main(void)
{
    if (!mkdtemp(dir) || mp_ledger_open(false, &ledger))
        return 2;
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    snprintf(part, sizeof part, "%s/m.gguf.part", dir);
    RUN(what_is_written_is_read);
    RUN(many_tensors_and_none);
    RUN(what_is_not_finished_is_removed);
    RUN(places_where_nothing_can_be_written);
    RUN(a_full_disk);
    RUN(a_disk_that_fills_up);
    RUN(more_than_the_disk_has);
    mp_ledger_close(&ledger);
    rmdir(dir);
    return test_done();
}
