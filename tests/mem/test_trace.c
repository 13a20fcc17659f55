/* Traces: what is written is read again; MTR1 too; everything that is wrong with a file is refused with a sentence; an unfinished file gives its whole
 * tokens, wherever it was cut. */
#include "test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "mem/trace.h"
#include "num/kern.h"

static mp_ledger *ledger;
static char dir[] = "/tmp/moped-trace-XXXXXX", path[64];

static void write_file(const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n && !fclose(f));
}

static size_t read_file(unsigned char *bytes, size_t room) {
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(bytes, 1, room, f) : 0;
    if (f) fclose(f);
    return n;
}

static mp_err reopen(mp_trace **t) {
    mp_err err = mp_trace_open(ledger, MP_OWN_WORK, path, t);
    CHECK((err == MP_OK) == (*t != NULL));
    if (err) CHECK(strstr(mp_err_text(), path));
    return err;
}

/* A made-up choice: distinct ids below experts that tell token and layer, weights that fall. */
static void choice(mp_trace_shape s, uint64_t token, uint16_t *ids, float *weights) {
    for (uint32_t l = 0; l < s.layers; l++)
        for (uint32_t k = 0; k < s.top_k; k++) {
            ids[l * s.top_k + k] = (uint16_t)((token * 7 + l * 3 + k) % s.experts);
            weights[l * s.top_k + k] = 1.0f / (float)(1u << (k + 1)) + (float)(token % 8) / 64;
        }
}

static void check_token(const mp_trace *t, uint64_t at, uint64_t token) {
    mp_trace_shape s = {t->layers, t->experts, t->top_k};
    uint16_t ids[512];
    float weights[512];
    choice(s, token, ids, weights);
    CHECK(!memcmp(mp_trace_ids(t, at, 0), ids, (size_t)s.layers * s.top_k * sizeof *ids));
    for (uint32_t i = 0; t->weights && i < s.layers * s.top_k; i++) CHECK(mp_f16_to_f32(mp_trace_weights(t, at, 0)[i]) == weights[i]);
}

/* counts[i] tokens in sequence i; tokens are numbered through. */
static void write_trace(mp_trace_shape s, const int *counts, int n) {
    mp_trace_writer *w;
    uint64_t token = 0;
    CHECK_OK(mp_trace_create(ledger, path, s, &w));
    for (int i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "sequence %d", i);
        CHECK_OK(mp_trace_begin(w, name));
        for (int k = 0; k < counts[i]; k++, token++) {
            uint16_t ids[512];
            float weights[512];
            choice(s, token, ids, weights);
            CHECK_OK(mp_trace_token(w, k < 2, ids, weights));
        }
    }
    CHECK_OK(mp_trace_end(&w));
    CHECK(!w);
}

TEST(what_is_written_is_read) {
    static const mp_trace_shape shapes[] = {{1, 1, 1}, {3, 8, 2}, {48, 256, 8}, {5, 257, 4}, {2, 512, 10}, {1, 65536, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        mp_trace_shape s = shapes[i];
        mp_trace *t;
        int counts[] = {5, 0, 300, 1}; /* 300 tokens of 48 layers are more than the buffer: counts are patched on disk too */
        write_trace(s, counts, 4);
        REQUIRE(!reopen(&t));
        CHECK(t->layers == s.layers && t->experts == s.experts && t->top_k == s.top_k && t->sequences == 4 && t->tokens == 306);
        CHECK(t->weights && t->prefill);
        uint64_t at = 0;
        for (int q = 0; q < 4; q++) {
            char name[32];
            snprintf(name, sizeof name, "sequence %d", q);
            CHECK_STR(t->seq[q].name, name);
            CHECK_EQ(t->seq[q].tokens, counts[q]);
            CHECK_EQ(t->seq[q].first, at);
            for (int k = 0; k < counts[q]; k++, at++) {
                check_token(t, at, at);
                CHECK_EQ(t->prefill[at], k < 2);
            }
        }
        mp_trace_close(&t);
    }
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

TEST(weights_and_names_that_a_file_may_not_have_are_put_right) {
    mp_trace_writer *w;
    mp_trace *t;
    char name[2000];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0, name[0] = '\n', name[1] = 0x7f, name[2] = (char)0xc3, name[3] = (char)0xa4;
    CHECK_OK(mp_trace_create(ledger, path, (mp_trace_shape){1, 8, 5}, &w));
    CHECK_OK(mp_trace_begin(w, name));
    CHECK_OK(mp_trace_token(w, false, (uint16_t[]){0, 1, 2, 3, 4}, (float[]){1e30f, -1, 0.5f, __builtin_nanf(""), __builtin_inff()}));
    CHECK_OK(mp_trace_token(w, false, (uint16_t[]){0, 1, 2, 3, 4}, NULL));
    CHECK_OK(mp_trace_begin(w, NULL));
    CHECK_OK(mp_trace_end(&w));
    REQUIRE(!reopen(&t));
    CHECK_EQ(strlen(t->seq[0].name), MP_TRACE_NAME);
    CHECK(!strncmp(t->seq[0].name, "??\xc3\xa4xx", 6));
    CHECK_STR(t->seq[1].name, "");
    const float want[] = {65504, 0, 0.5f, 0, 65504};
    for (int i = 0; i < 5; i++) CHECK(mp_f16_to_f32(t->weights[i]) == want[i] && t->weights[5 + i] == 0);
    mp_trace_close(&t);
}

TEST(shapes_that_cannot_be) {
    static const mp_trace_shape bad[] = {{0, 8, 2}, {3, 0, 0}, {3, 8, 9}, {3, 8, 0}, {3, 65537, 2}, {16385, 8, 2}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mp_trace_writer *w;
        mp_trace *t;
        CHECK_EQ(mp_trace_create(ledger, path, bad[i], &w), MP_E_USAGE);
        CHECK(!w);
        CHECK_EQ(mp_trace_make(ledger, MP_OWN_WORK, bad[i], 1, &t), MP_E_USAGE);
        CHECK(!t);
    }
}

/* ---- files made by hand ---- */

typedef struct bytes {
    unsigned char b[4096];
    size_t n;
} bytes;

static void u32(bytes *f, uint32_t v) {
    for (int i = 0; i < 4; i++) f->b[f->n++] = (unsigned char)(v >> 8 * i);
}

static void str(bytes *f, const char *s) {
    memcpy(f->b + f->n, s, strlen(s));
    f->n += strlen(s);
}

static bytes head(const char *magic, uint32_t layers, uint32_t experts, uint32_t top_k, uint32_t id_bytes) {
    bytes f = {0};
    str(&f, magic);
    u32(&f, layers), u32(&f, experts), u32(&f, top_k), u32(&f, id_bytes);
    return f;
}

static void seq(bytes *f, const char *name, uint32_t prompt, uint32_t tokens) {
    u32(f, (uint32_t)strlen(name)), u32(f, prompt), u32(f, tokens);
    str(f, name);
}

static mp_err open_bytes(const bytes *f, mp_trace **t) {
    write_file(f->b, f->n);
    return reopen(t);
}

static bytes sound(void) { /* 2 layers, 4 experts, 2 chosen; two sequences of 1 and 2 tokens */
    bytes f = head("MTR1", 2, 4, 2, 1);
    u32(&f, 2);
    seq(&f, "one", 7, 1);
    memcpy(f.b + f.n, "\0\1\2\3", 4), f.n += 4;
    seq(&f, "", 0, 2);
    memcpy(f.b + f.n, "\3\2\1\0\0\3\1\2", 8), f.n += 8;
    return f;
}

TEST(the_first_layout) {
    bytes f = sound();
    mp_trace *t;
    REQUIRE(!open_bytes(&f, &t));
    CHECK(t->sequences == 2 && t->tokens == 3 && !t->weights && !t->prefill && !mp_trace_weights(t, 0, 0));
    CHECK(t->seq[0].prompt_tok == 7 && t->seq[1].first == 1);
    CHECK_STR(t->seq[0].name, "one");
    CHECK(mp_trace_ids(t, 2, 1)[0] == 1 && mp_trace_ids(t, 2, 1)[1] == 2 && mp_trace_ids(t, 1, 0)[0] == 3);
    mp_trace_close(&t);
}

static void refused(const bytes *f, const char *part) {
    mp_trace *t;
    mp_err err = open_bytes(f, &t);
    CHECK_EQ(err, MP_E_MODEL);
    if (!strstr(mp_err_text(), part)) printf("'%s' is not in: %s\n", part, mp_err_text());
    CHECK(strstr(mp_err_text(), part));
    mp_trace_close(&t);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

TEST(a_file_that_ends_early_or_late_is_refused) {
    bytes f = sound();
    for (size_t n = f.n; n-- > 0;) { /* the first layout has no unfinished files */
        bytes g = f;
        g.n = n;
        refused(&g, "trace");
    }
    f.n++;
    refused(&f, "1 bytes follow");
}

TEST(lies_are_refused) {
    bytes f = sound();
    f.b[24 + 12 + 3] = 4;
    refused(&f, "token 0 of the trace, layer 0: expert 4 of 4");
    f = sound();
    f.b[f.n - 1] = 1;
    refused(&f, "token 2 of the trace, layer 1: expert 1 twice");
    f = sound();
    f.b[24 + 12 + 1] = '\n';
    refused(&f, "control byte");
    f = sound();
    memcpy(f.b + 20, "\xff\xff\xff\xff", 4);
    refused(&f, "claims 4294967295 sequences");
    f = sound();
    memcpy(f.b + 24, "\xff\xff\xff\xff", 4);
    refused(&f, "a name of 4294967295 bytes");
    f = sound();
    memcpy(f.b + 24 + 8, "\xff\xff\xff\xff", 4);
    refused(&f, "claims 4294967295 tokens");
    for (size_t at = 4; at < 20; at += 4) { /* layers, experts, top_k, bytes per id: none, and far too many */
        f = sound();
        memcpy(f.b + at, "\xff\xff\xff\xff", 4);
        refused(&f, at == 16 ? "bytes for an id" : "cannot be");
        memcpy(f.b + at, "\0\0\0\0", 4);
        refused(&f, at == 16 ? "bytes for an id" : "cannot be");
    }
    f = head("MTR1", 1, 257, 1, 1);
    u32(&f, 0);
    refused(&f, "257 experts and 1 bytes");
    f = head("MTR3", 1, 4, 1, 1);
    u32(&f, 0);
    refused(&f, "does not begin with MTR1 or MTR2");
    f = head("MTR2", 1, 4, 1, 1);
    u32(&f, 0), u32(&f, 4);
    refused(&f, "flags");
}

TEST(marks_and_weights_are_looked_at) {
    bytes f = head("MTR2", 1, 4, 2, 2);
    u32(&f, 1), u32(&f, 3);
    seq(&f, "x", 0, 1);
    size_t at = f.n;
    memcpy(f.b + f.n, "\1\3\0\1\0\0\x3c\0\x38", 9), f.n += 9; /* a prompt's token: experts 3 and 1, 1 and 0.5 */
    mp_trace *t;
    REQUIRE(!open_bytes(&f, &t));
    CHECK(t->prefill[0] == 1 && t->ids[0] == 3 && t->ids[1] == 1 && t->weights[0] == 0x3c00 && t->weights[1] == 0x3800);
    mp_trace_close(&t);
    bytes g = f;
    g.b[at] = 2;
    refused(&g, "mark 2");
    g = f;
    g.b[at + 2] = 1;
    refused(&g, "expert 259 of 4");
    static const unsigned char bad[] = {0x7c, 0x7e, 0x80, 0xfc}; /* infinity, NaN, -0, -infinity */
    for (int i = 0; i < 4; i++) {
        g = f;
        g.b[at + 8] = bad[i];
        refused(&g, "weight");
    }
}

/* ---- unfinished files ---- */

TEST(an_unfinished_file_gives_its_whole_tokens_wherever_it_was_cut) {
    static unsigned char file[4096];
    mp_trace_shape s = {2, 5, 2};
    write_trace(s, (int[]){3, 2, 4}, 3);
    size_t n = read_file(file, sizeof file), token = 1 + 4 + 8, seq_head = 12 + 10;
    REQUIRE(n == 28 + 3 * seq_head + 9 * token);
    memset(file + 20, 0xff, 4); /* as before mp_trace_end */
    for (int open = 0; open < 2; open++) { /* the last sequence's count patched, or not yet */
        if (open) memset(file + 28 + 2 * seq_head + 5 * token + 8, 0xff, 4);
        for (size_t cut = 28; cut <= n; cut++) {
            size_t tokens = 0, at = 28;
            for (int q = 0; q < 3 && at + seq_head <= cut; q++) {
                at += seq_head;
                for (int k = 0; k < (int[]){3, 2, 4}[q]; k++, at += token)
                    if (at + token <= cut) tokens++;
            }
            mp_trace *t;
            write_file(file, cut);
            if (!test_check(!reopen(&t), "it can be read", __FILE__, __LINE__)) continue;
            CHECK_EQ(t->tokens, tokens);
            for (uint64_t i = 0; i < t->tokens; i++) check_token(t, i, i);
            mp_trace_close(&t);
        }
    }
}

/* The system writes a part of what is asked for, then nothing more: as on a full disk. */
TEST(a_file_that_cannot_grow_keeps_what_it_has) {
    mp_trace_shape s = {16, 64, 4};
    struct rlimit was;
    getrlimit(RLIMIT_FSIZE, &was);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t most = 30; most < 400000; most = most * 3 + 1) {
        mp_trace_writer *w;
        uint16_t ids[64];
        float weights[64];
        mp_err first = MP_OK;
        int failed = 0, written = 0;
        CHECK_OK(mp_trace_create(ledger, path, s, &w));
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){most, was.rlim_max});
        for (int i = 0; i < 3000; i++) { /* 3000 tokens of 193 bytes */
            if (i % 700 == 0) mp_trace_begin(w, "part");
            choice(s, (uint64_t)i, ids, weights);
            mp_err err = mp_trace_token(w, false, ids, weights);
            if (err && !first) first = err, CHECK(strstr(mp_err_text(), "not complete"));
            failed += err != MP_OK;
            written += !first;
        }
        CHECK_EQ(failed, 3000 - written); /* the error stays */
        mp_err last = mp_trace_end(&w);
        setrlimit(RLIMIT_FSIZE, &was);
        CHECK(first == MP_E_FAILED && last == first);
        CHECK(strstr(mp_err_text(), "not complete") && strstr(mp_err_text(), path) && !w);
        mp_trace *t;
        if (most < 40 || !test_check(!reopen(&t), "it can be read", __FILE__, __LINE__)) continue;
        CHECK(t->tokens <= 3000 && t->tokens + 5 >= (most - 28) / 193);
        for (uint64_t i = 0; i < t->tokens; i++) check_token(t, i, i);
        mp_trace_close(&t);
    }
    signal(SIGXFSZ, SIG_DFL);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

TEST(a_full_device_is_said_at_the_end) {
    mp_trace_writer *w;
    if (access("/dev/full", W_OK)) SKIP("there is no /dev/full");
    CHECK_OK(mp_trace_create(ledger, "/dev/full", (mp_trace_shape){1, 4, 1}, &w));
    CHECK_OK(mp_trace_begin(w, "x"));
    CHECK_OK(mp_trace_token(w, false, (uint16_t[]){1}, NULL));
    CHECK_EQ(mp_trace_end(&w), MP_E_FAILED);
    CHECK(strstr(mp_err_text(), "No space left"));
}

TEST(what_is_no_trace_is_not_replaced) {
    mp_trace_writer *w;
    mp_trace *t;
    char none[96];
    write_file("GGUF and 40 GB more", 19);
    CHECK_EQ(mp_trace_create(ledger, path, (mp_trace_shape){1, 4, 1}, &w), MP_E_USAGE);
    CHECK(strstr(mp_err_text(), "is no trace") && strstr(mp_err_text(), path) && !w);
    unsigned char still[32];
    CHECK(read_file(still, sizeof still) == 19 && !memcmp(still, "GGUF", 4));
    CHECK_EQ(mp_trace_create(ledger, dir, (mp_trace_shape){1, 4, 1}, &w), MP_E_USAGE);
    CHECK_EQ(mp_trace_create(ledger, "", (mp_trace_shape){1, 4, 1}, &w), MP_E_USAGE);
    snprintf(none, sizeof none, "%s/none/x", dir);
    CHECK_EQ(mp_trace_create(ledger, none, (mp_trace_shape){1, 4, 1}, &w), MP_E_USAGE);
    CHECK_EQ(mp_trace_open(ledger, MP_OWN_WORK, none, &t), MP_E_USAGE);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
    unlink(path);
    write_trace((mp_trace_shape){4, 8, 2}, (int[]){40}, 1); /* a longer trace is replaced by a shorter one */
    write_trace((mp_trace_shape){1, 4, 1}, (int[]){1}, 1);
    REQUIRE(!reopen(&t));
    CHECK(t->tokens == 1 && t->layers == 1);
    mp_trace_close(&t);
}

TEST(an_empty_one_to_fill) {
    mp_trace *t;
    CHECK_OK(mp_trace_make(ledger, MP_OWN_WORK, (mp_trace_shape){3, 500, 4}, 10, &t));
    REQUIRE(t);
    CHECK(t->tokens == 10 && t->sequences == 1 && t->seq[0].tokens == 10 && t->ids && !t->weights && t->prefill && !*t->seq[0].name);
    t->ids[10 * 3 * 4 - 1] = 499;
    CHECK_EQ(mp_trace_ids(t, 9, 2)[3], 499);
    mp_trace_close(&t);
}

TEST(the_real_trace) {
    char real[512];
    mp_trace *t;
    if (!test_shared("data/moe-traces/gpt-oss-20b.decode.mtr", real, sizeof real)) SKIP("../shared is not here");
    CHECK_OK(mp_trace_open(ledger, MP_OWN_WORK, real, &t));
    REQUIRE(t);
    CHECK(t->layers == 24 && t->experts == 32 && t->top_k == 4 && t->sequences == 144 && t->tokens == 50728);
    CHECK_STR(t->seq[0].name, "mmlu_pro_test/biology/False_False#row2761");
    CHECK(t->seq[0].prompt_tok == 258 && t->seq[1].first == 511);
    mp_trace_close(&t);
}

int main(void) {
    if (!mkdtemp(dir) || mp_ledger_open(false, &ledger)) return 1;
    snprintf(path, sizeof path, "%s/t.mtr", dir);
    RUN(what_is_written_is_read);
    RUN(weights_and_names_that_a_file_may_not_have_are_put_right);
    RUN(shapes_that_cannot_be);
    RUN(the_first_layout);
    RUN(a_file_that_ends_early_or_late_is_refused);
    RUN(lies_are_refused);
    RUN(marks_and_weights_are_looked_at);
    RUN(an_unfinished_file_gives_its_whole_tokens_wherever_it_was_cut);
    RUN(a_file_that_cannot_grow_keeps_what_it_has);
    RUN(a_full_device_is_said_at_the_end);
    RUN(what_is_no_trace_is_not_replaced);
    RUN(an_empty_one_to_fill);
    RUN(the_real_trace);
    unlink(path);
    rmdir(dir);
    mp_ledger_close(&ledger);
    return test_done();
}
