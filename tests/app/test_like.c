/* `moped bench --like`: a model that is made, measured and removed, or kept; and everything that can be wrong with the request. */
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "support/cli.h"

static int entries(const char *folder) {
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) n += *e->d_name != '.';
    if (d) closedir(d);
    return n;
}

static char temp[128];

TEST(the_list_names_shapes_and_types) {
    proc_result r = moped("bench|--like|list");
    CHECK_EQ(r.code, 0);
    CHECK(strstr(r.out, "qwen3-30b-a3b") && strstr(r.out, "mixtral-8x7b") && strstr(r.out, "Q4_K_M") && strstr(r.out, "8 of 128"));
    CHECK_EQ(r.n_err, 0);
    proc_free(&r);
    json_t *o = OBJECT("bench|--like|list|--type|Q8_0|--json", 0);
    const json_t *shapes = json_object_get(o, "shapes");
    CHECK(json_array_size(shapes) >= 33);
    for (size_t i = 0; i < json_array_size(shapes); i++) {
        const json_t *s = json_array_get(shapes, i);
        CHECK(json_is_string(at_path(s, "name")) && int_at(s, "file_bytes") > int_at(s, "parameters")); /* 8.5 bits a weight */
        CHECK_STR(json_string_value(at_path(s, "type")), "Q8_0");
    }
    json_decref(o);
    FAILS("bench|--like|list|--type|Q9", 2, "Q4_K_M");
}

TEST(a_shape_is_made_measured_and_removed) {
    json_t *o = OBJECT("bench|--like|tiny-qwen3moe@2|--type|q8_0|-p|8|-n|4|-r|1|--ram|1G,1M|--json", 0);
    CHECK_STR(json_string_value(at_path(o, "model")), "random weights like tiny-qwen3moe, 2 layers");
    CHECK_STR(json_string_value(at_path(o, "like.shape")), "tiny-qwen3moe@2");
    CHECK_STR(json_string_value(at_path(o, "like.type")), "Q8_0");
    CHECK_EQ(int_at(o, "like.layers"), 2);
    const json_t *runs = json_object_get(o, "runs");
    CHECK_EQ(json_array_size(runs), 2);
    CHECK(json_number_value(at_path(json_array_get(runs, 0), "decode_tok_s")) > 0);
    long long accesses = int_at(json_array_get(runs, 0), "expert_accesses");
    CHECK(accesses > 0 && accesses % (2 * 4) == 0); /* layers, experts a token */
    CHECK(json_is_false(at_path(json_array_get(runs, 1), "fits")));
    json_decref(o);
    CHECK_EQ(entries(temp), 0);
    proc_result r = moped("bench|--like|tiny-llama|-p|4|-n|2|-r|1|--ram|1M"); /* made, and does not fit */
    CHECK_EQ(r.code, 3);
    proc_free(&r);
    CHECK_EQ(entries(temp), 0);
}

TEST(a_kept_file_is_a_model) {
    const char *keep = text("%s/kept.gguf", cli_folder());
    json_t *o = OBJECT(text("bench|--like|tiny-mixtral@1|--keep|%s|-p|4|-n|2|-r|1|--json", keep), 0);
    long long bytes = int_at(o, "like.file_bytes");
    json_decref(o);
    FILE *f = fopen(keep, "rb");
    REQUIRE(f != NULL);
    fseek(f, 0, SEEK_END);
    CHECK_EQ(ftell(f), bytes);
    fclose(f);
    proc_result r = moped(text("run|%s|-p|bako|-n|4|-s|1", keep));
    CHECK_EQ(r.code, 0);
    CHECK(r.n_out > 0);
    proc_free(&r);
    FAILS(text("bench|--like|tiny-llama|--keep|%s", keep), 2, "there already"); /* somebody's model */
    CHECK_EQ(entries(temp), 0);
    CHECK(remove(keep) == 0);
}

TEST(what_is_wrong_is_said) {
    FAILS("bench|--like|nope", 2, "nope");
    FAILS("bench|--like|tiny-llama@9", 2, "1 to 8");
    FAILS("bench|--like|tiny-llama|--type|Q9", 2, "Q4_K_M");
    FAILS(text("bench|%s|--like|tiny-llama", cli_tiny("llama")), 2, "leave one out");
    FAILS(text("bench|%s|--keep|x", cli_tiny("llama")), 2, "--keep");
    FAILS(text("bench|%s|--type|Q8_0", cli_tiny("llama")), 2, "--type");
    FAILS("bench|--like|tiny-llama|--keep|/nosuchfolder/x.gguf", 2, "/nosuchfolder");
    FAILS("bench|--like|tiny-llama|-c|3", 2, "-c 3"); /* before anything is written */
    CHECK_EQ(entries(temp), 0);
}

/* A limit on the size of files stands for a small disk. */
TEST(a_disk_that_is_too_small) {
    struct rlimit old, small;
    REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
    small = old;
    small.rlim_cur = 100 << 20;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    FAILS("bench|--like|small", 1, "small.gguf needs 926M");
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK_EQ(entries(temp), 0);
}

/* While the model is measured, and (the larger one) while it is written. */
TEST(ctrl_c_removes_it) {
    static const char *const LINES[] = {"bench|--like|tiny-llama|-p|64|-n|64|-r|1000|--ram|1G,1G,1G,1G,1G", "bench|--like|small|-p|4|-n|2"};
    for (int i = 0; i < 2; i++) {
        proc p;
        char some[256];
        REQUIRE(proc_start(MOPED_PROGRAM, LINES[i], 0, &p));
        if (i == 0) CHECK(proc_read(&p, some, sizeof some, 20) >= 20); /* the head of the table */
        for (int ms = 0; i == 1 && entries(temp) == 0 && ms < 10000; ms++) usleep(1000);
        CHECK_EQ(entries(temp), 1);
        kill(p.pid, SIGINT);
        proc_result r = proc_finish(&p);
        CHECK_EQ(r.code, 130);
        proc_free(&r);
        CHECK_EQ(entries(temp), 0);
    }
}

int main(void) {
    if (!cli_open(MOPED_PROGRAM)) return 77;
    snprintf(temp, sizeof temp, "%s/temp", cli_folder());
    if (mkdir(temp, 0700) != 0) return 1;
    setenv("TMPDIR", temp, 1);
    RUN(the_list_names_shapes_and_types);
    RUN(a_shape_is_made_measured_and_removed);
    RUN(a_kept_file_is_a_model);
    RUN(what_is_wrong_is_said);
    RUN(a_disk_that_is_too_small);
    RUN(ctrl_c_removes_it);
    cli_close();
    return test_done();
}
