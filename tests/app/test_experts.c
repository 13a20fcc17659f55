/* `moped experts`, and the profile that run keeps: with the model that ships, in a cache folder of the test's own. */
#include <dirent.h>
#include <math.h>

#include "support/cli.h"

static char model[512];

static long long tokens_of(const char *more) {
    json_t *o = OBJECT(text("experts|stats|%s|--json%s", model, more), 0);
    long long n = int_at(o, "tokens");
    json_decref(o);
    return n;
}

static void forget(void) {
    DIR *d = opendir(text("%s/CACHE/moped/profiles", cli_folder()));
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) unlink(text("%s/CACHE/moped/profiles/%s", cli_folder(), e->d_name));
    if (d) closedir(d);
}

static void works(const char *line) {
    proc_result r = moped(line);
    if (r.code != 0) cli_explain(line, &r), CHECK(false);
    proc_free(&r);
}

TEST(run_keeps_an_automatic_profile) {
    forget();
    FAILS(text("experts|stats|%s", model), 1, "nothing has been counted");
    json_t *o = OBJECT(text("run|%s|-p|Once upon a time|-n|20|--seed|1|--json", model), 0);
    long long fed = int_at(o, "prompt_tokens") + int_at(o, "completion_tokens") - 1;
    json_decref(o);
    CHECK_EQ(tokens_of(""), fed);
    works(text("run|%s|-p|Once upon a time|-n|20|--seed|1|--expert-profile|none", model));
    CHECK_EQ(tokens_of(""), fed);
    works(text("run|%s|-p|Once upon a time|-n|20|--seed|1", model));
    CHECK_EQ(tokens_of(""), 2 * fed);
    works(text("bench|%s|-p|8|-n|4|-r|1", model)); /* which must measure the same every time */
    works(text("plan|%s", model));
    CHECK_EQ(tokens_of(""), 2 * fed);
}

TEST(a_text_is_counted) {
    char words[8192] = "", path[128], out[128];
    forget();
    for (int i = 0; i < 300; i++) snprintf(words + strlen(words), sizeof words - strlen(words), "%s", i % 2 ? "a kind boy " : "the old river ");
    cli_write("words.txt", words, path, sizeof path);
    json_t *t = OBJECT(text("tokenize|%s|-f|%s|--json", model, path), 0);
    long long n = (long long)json_array_size(json_object_get(t, "tokens"));
    json_decref(t);
    CHECK(n > 600); /* more than one window */
    json_t *o = OBJECT(text("experts|profile|%s|-f|%s|--json", model, path), 0);
    CHECK_EQ(int_at(o, "tokens"), n);
    CHECK_EQ(int_at(o, "total_tokens"), n);
    json_decref(o);
    CHECK_EQ(tokens_of(""), n);
    works(text("perplexity|%s|-f|%s|-c|64", model, path));
    CHECK_EQ(tokens_of(""), n + n / 64 * 64);
    snprintf(out, sizeof out, "%s/words.prof", cli_folder());
    for (int i = 1; i <= 2; i++) { /* -o: elsewhere, and the second time added */
        o = OBJECT(text("experts|profile|%s|-f|%s|-o|%s|-c|100|--json", model, path, out), 0);
        CHECK_STR(json_string_value(at_path(o, "file")), out);
        CHECK_EQ(int_at(o, "total_tokens"), n * i);
        json_decref(o);
    }
    CHECK_EQ(tokens_of(text("|--expert-profile|%s", out)), 2 * n);
    works(text("run|%s|-p|The|-n|3|--expert-profile|%s", model, out)); /* a named one is read only */
    CHECK_EQ(tokens_of(text("|--expert-profile|%s", out)), 2 * n);
    FAILS(text("experts|profile|%s|-f|%s/none.txt", model, cli_folder()), 1, "none.txt");
    FAILS(text("experts|profile|%s|-f|%s|-o|%s", model, path, path), 4, "words.txt"); /* the text is no profile to write into */
    FAILS(text("experts|profile|%s|-f|%s|--ram|1M", model, out), 3, "");
}

TEST(stats_say_who_is_hot) {
    enum { LAYERS = 6, EXPERTS = 8, USED = 2 };
    char path[128];
    forget();
    cli_write("story.txt", "There was once a kind boy named Omar who lived by a river. He owned a fine pillow.", path, sizeof path);
    works(text("experts|profile|%s|-f|%s", model, path));
    json_t *o = OBJECT(text("experts|stats|%s|--json|--top|8", model), 0), *layers = json_object_get(o, "layers");
    long long tokens = int_at(o, "tokens");
    CHECK_EQ(json_array_size(layers), LAYERS);
    CHECK(int_at(o, "experts") == EXPERTS && int_at(o, "experts_used") == USED);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *l = json_array_get(layers, i), *hottest = json_object_get(l, "hottest");
        double sum = 0, entropy = 0, last = 2;
        long long uses = 0, for_90 = 0;
        CHECK_EQ(int_at(l, "layer"), i);
        CHECK_EQ(json_array_size(hottest), EXPERTS);
        for (size_t e = 0; e < json_array_size(hottest); e++) {
            const json_t *x = json_array_get(hottest, e);
            double p = json_real_value(at_path(x, "share"));
            CHECK_NEAR(p, (double)int_at(x, "count") / (double)int_at(l, "uses"), 1e-8);
            CHECK(p <= last);
            if ((double)uses < 0.9 * (double)int_at(l, "uses")) for_90++;
            last = p;
            sum += p;
            uses += int_at(x, "count");
            entropy -= p > 0 ? p * log2(p) : 0;
        }
        CHECK_NEAR(sum, 1, 1e-6);
        CHECK_EQ(uses, tokens * USED);
        CHECK_EQ(int_at(l, "uses"), uses);
        CHECK_EQ(int_at(l, "experts_for_90"), for_90);
        CHECK_NEAR(json_real_value(at_path(l, "entropy_bits")), entropy, 1e-6);
    }
    json_decref(o);
    proc_result r = moped(text("experts|stats|%s", model)); /* and for people: a line for each layer */
    int lines = 0;
    for (const char *p = r.out; (p = strchr(p, '\n')) != NULL; p++) lines++;
    CHECK(r.code == 0 && lines == 4 + LAYERS && strstr(r.out, "entropy") && strstr(r.out, "█"));
    proc_free(&r);
}

TEST(pins_are_set_and_taken_back) {
    forget();
    json_t *o = OBJECT(text("experts|pin|%s|0:1,5:7,2:0|--json", model), 0), *list = json_object_get(o, "pinned");
    json_t *want = json_pack("[[i,i],[i,i],[i,i]]", 0, 1, 2, 0, 5, 7);
    CHECK(json_equal(list, want));
    json_decref(want);
    json_decref(o);
    FAILS(text("experts|pin|%s|0:8", model), 2, "no expert 8 in layer 0: they are numbered from 0 to 7");
    FAILS(text("experts|pin|%s|6:0", model), 2, "no layer 6");
    FAILS(text("experts|pin|%s|1:2,x", model), 2, "LAYER:EXPERT");
    FAILS(text("experts|pin|%s|-1:2", model), 2, "");
    FAILS(text("experts|pin|%s|1:", model), 2, "LAYER:EXPERT");
    FAILS(text("experts|pin|%s|1:2:3", model), 2, "LAYER:EXPERT");
    FAILS(text("experts|pin|%s|99999999999999999999:1", model), 2, "LAYER:EXPERT");
    FAILS(text("experts|pin|%s", model), 2, "which ones");
    FAILS("experts|pin", 2, "model");
    FAILS(text("experts|pin|%s|0:0|--expert-profile|none", model), 2, "none");
    FAILS(text("experts|pin|%s|0:0", cli_tiny("llama")), 2, "no experts");
    o = OBJECT(text("experts|stats|%s|--json", model), 0);
    CHECK_EQ(int_at(o, "pinned"), 3); /* what failed changed nothing */
    CHECK_EQ(json_integer_value(json_array_get(at_path(json_array_get(at_path(o, "layers"), 5), "pinned"), 0)), 7);
    json_decref(o);
    works(text("run|%s|-p|The|-n|5|--seed|1", model));
    o = OBJECT(text("experts|unpin|%s|5:7|--json", model), 0);
    CHECK_EQ(json_array_size(json_object_get(o, "pinned")), 2);
    json_decref(o);
    o = OBJECT(text("experts|unpin|%s|all|--json", model), 0);
    CHECK_EQ(json_array_size(json_object_get(o, "pinned")), 0);
    json_decref(o);
    CHECK(tokens_of("") > 4); /* the counts are still there */
}

TEST(bad_profiles_are_refused_when_named) {
    char bad[128], out[128];
    cli_write("bad.prof", "MPRF, but no more of a profile than that: some sixty bytes of text", bad, sizeof bad);
    FAILS(text("run|%s|-p|x|--expert-profile|%s", model, bad), 4, "bad.prof");
    FAILS(text("experts|stats|%s|--expert-profile|%s", model, bad), 4, "bad.prof");
    FAILS(text("experts|pin|%s|0:0|--expert-profile|%s", model, bad), 4, "bad.prof");
    FAILS(text("run|%s|-p|x|--expert-profile|%s/none.prof", model, cli_folder()), 2, "none.prof");
    FAILS(text("bench|%s|-p|4|-n|2|-r|1|--expert-profile|%s/none.prof", model, cli_folder()), 2, "none.prof");
    snprintf(out, sizeof out, "%s/mine.prof", cli_folder());
    works(text("experts|pin|%s|0:0|--expert-profile|%s", model, out));
    FAILS(text("run|%s|-p|x|--expert-profile|%s", cli_tiny("mixtral"), out), 2, "another model");
}

/* An automatic profile that is damaged, and a cache that cannot be written, are a line on stderr. */
TEST(the_cache_is_only_a_help) {
    char folder[128];
    forget();
    works(text("run|%s|-p|The|-n|5|--seed|1", model));
    char *file = string_of(text("experts|stats|%s|--json", model), "file");
    FILE *f = fopen(file, "r+");
    REQUIRE(f != NULL);
    CHECK(fseek(f, 50, SEEK_SET) == 0 && fputc(0x5a, f) != EOF);
    fclose(f);
    FAILS(text("experts|stats|%s", model), 4, "checksum");
    const char *line = text("run|%s|-p|The|-n|5|--seed|1", model);
    proc_result r = moped(line);
    CHECK(r.code == 0 && r.n_out > 0 && strstr(r.err, file) && strstr(r.err, "checksum"));
    proc_free(&r);
    CHECK(tokens_of("") > 0);
    free(file);
    cli_write("no-folder", "a file", folder, sizeof folder);
    setenv("XDG_CACHE_HOME", folder, 1);
    r = moped(line);
    CHECK(r.code == 0 && r.n_out > 0 && strstr(r.err, "not kept"));
    proc_free(&r);
    setenv("XDG_CACHE_HOME", text("%s/CACHE", cli_folder()), 1);
}

TEST(counters_are_in_the_json) {
    static const char *const NUMBERS[] = {"accesses", "hits", "misses", "disk_bytes", "total.accesses", "total.hits", "total.misses", "total.loads",
                                          "total.disk_bytes", "total.reads_in_flight", "total.evictions", "total.stall_ns", "total.slots",
                                          "total.resident", "total.pages", "total.prefetch.issued", "total.prefetch.used", "total.prefetch.late",
                                          "total.prefetch.wasted_bytes", "total.tier_bytes.ram", "total.tier_bytes.disk"};
    json_t *o = OBJECT(text("run|%s|-p|Once|-n|20|--seed|1|--json", model), 0), *x = json_object_get(o, "expert");
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) HAS_NUMBER(x, NUMBERS[i]);
    CHECK_EQ(int_at(x, "accesses"), int_at(x, "hits") + int_at(x, "misses"));
    CHECK_EQ(int_at(x, "total.accesses"), int_at(x, "total.hits") + int_at(x, "total.misses"));
    const json_t *layers = at_path(x, "total.layers");
    long long accesses = 0, resident = 0;
    CHECK_EQ(json_array_size(layers), 6);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        accesses += int_at(json_array_get(layers, i), "accesses");
        resident += int_at(json_array_get(layers, i), "resident");
        HAS_NUMBER(json_array_get(layers, i), "stall_ns");
        CHECK(int_at(json_array_get(layers, i), "used_experts") >= 2);
    }
    CHECK_EQ(accesses, int_at(x, "total.accesses"));
    CHECK_EQ(resident, int_at(x, "total.resident"));
    json_decref(o);
    o = OBJECT(text("bench|%s|-p|8|-n|4|-r|1|--json", model), 0);
    x = json_object_get(json_array_get(json_object_get(o, "runs"), 0), "experts");
    CHECK_EQ(int_at(x, "accesses"), int_at(x, "hits") + int_at(x, "misses"));
    CHECK_EQ(json_array_size(at_path(x, "layers")), 6);
    json_decref(o);
}

int main(void) {
    if (!cli_open(MOPED_PROGRAM)) return 77;
    snprintf(model, sizeof model, "%s", MOPED_SOURCE_DIR "/demo/stories.gguf");
    RUN(run_keeps_an_automatic_profile);
    RUN(a_text_is_counted);
    RUN(stats_say_who_is_hot);
    RUN(pins_are_set_and_taken_back);
    RUN(bad_profiles_are_refused_when_named);
    RUN(the_cache_is_only_a_help);
    RUN(counters_are_in_the_json);
    cli_close();
    return test_done();
}
