/* `bench --profile`: that the program says where the time went, in JSON and as tables, and that what it says adds up. */
#include "support/cli.h"
#include "test.h"

enum { LAYERS = 2, TOKENS = 4, REPEATS = 2 };

static const json_t *row_of(const json_t *rows, const char *what) {
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) if (!strcmp(json_string_value(json_object_get(row, "what")), what)) return row;
    return NULL;
}

/* Every layer's rows and those outside add up to the phase's. */
static void check_sums(const json_t *phase, const char *key) {
    long long all = 0, by_layer = 0, by_row_of_layer = 0;
    size_t i, k;
    json_t *row, *layer;
    json_array_foreach(json_object_get(phase, "rows"), i, row) all += int_at(row, key);
    json_array_foreach(json_object_get(phase, "layers"), i, layer) {
        by_layer += int_at(layer, key);
        json_array_foreach(json_object_get(layer, "rows"), k, row) by_row_of_layer += int_at(row, key);
    }
    CHECK(all > 0);
    CHECK_EQ(by_layer, all);
    CHECK_EQ(by_row_of_layer, all);
}

static void check_phase(const json_t *phase, long long tokens, long long forwards) {
    static const char *const OPS[] = {"embed", "rmsnorm", "q k v", "attention", "attention out", "router", "route", "experts", "combine", "add", "head"};
    const json_t *rows = json_object_get(phase, "rows");
    CHECK_EQ(int_at(phase, "tokens"), tokens);
    CHECK_EQ(int_at(phase, "forwards"), forwards);
    CHECK_EQ(json_array_size(json_object_get(phase, "layers")), LAYERS + 1);
    for (size_t i = 0; i < sizeof OPS / sizeof *OPS; i++) CHECK(row_of(rows, OPS[i]) && json_is_true(json_object_get(row_of(rows, OPS[i]), "op")));
    CHECK(row_of(rows, "other") && json_is_false(json_object_get(row_of(rows, "other"), "op")));
    CHECK(row_of(rows, "pager") && row_of(rows, "sampling") && row_of(rows, "grouping"));
    CHECK_EQ(int_at(row_of(rows, "q k v"), "calls"), LAYERS * forwards);
    CHECK_EQ(int_at(row_of(rows, "head"), "calls"), forwards);
    check_sums(phase, "ns");
    check_sums(phase, "weight_bytes");
    check_sums(phase, "kv_bytes");
    double covered = json_number_value(at_path(phase, "covered"));
    CHECK(covered > 0 && covered <= 1); /* how near it is to 1 is the machine's business: bench prints it */
    HAS_NUMBER(phase, "read_fraction");
}

static const char line[] = "bench|--like|tiny-qwen3moe@2|--type|Q8_0|-p|8|-n|4|-r|2|--ram|1G|-t|2|--profile";

TEST(json_has_rows_that_add_up) {
    json_t *o = OBJECT(text("%s|--json", line), 0);
    const json_t *profile = at_path(json_array_get(json_object_get(o, "runs"), 0), "profile"), *decode = json_object_get(profile, "decode"), *prefill = json_object_get(profile, "prefill");
    REQUIRE(json_is_object(decode) && json_is_object(prefill));
    CHECK_EQ(int_at(profile, "limits.threads"), 2);
    CHECK(json_number_value(at_path(profile, "limits.read_bps")) > 0);
    check_phase(decode, TOKENS * REPEATS, TOKENS * REPEATS);
    check_phase(prefill, 8 * REPEATS, REPEATS);
    CHECK(row_of(json_object_get(decode, "rows"), "text") != NULL);
    CHECK(int_at(decode, "ops.int8") > int_at(decode, "ops.float32"));
    json_decref(o);
}

/* The reference has no peak of its own: then there is no share, rather than a wrong one. */
TEST(an_unknown_limit_is_no_number) {
    json_t *o = OBJECT("bench|--like|tiny-qwen3moe@1|-p|0|-n|2|-r|1|--ram|1G|-t|1|--profile|--isa|ref|--json", 0);
    const json_t *profile = at_path(json_array_get(json_object_get(o, "runs"), 0), "profile");
    CHECK(json_is_null(json_object_get(profile, "prefill")));
    CHECK(json_is_null(at_path(profile, "limits.ops_per_s.int8")));
    CHECK(json_is_null(at_path(profile, "decode.limit_fraction")) && json_is_null(at_path(profile, "decode.compute_fraction")));
    HAS_NUMBER(profile, "decode.read_fraction");
    json_decref(o);
}

TEST(tables_say_the_same) {
    static const char *const WORDS[] = {"limits of 2 threads", "\ndecode: 8 tokens in 8 forward passes", "\nprefill: 16 tokens in 2 forward passes",
                                        "of the peak of its arithmetic", "  experts ", "(no operation)", "the rows are ", "outside of the layers"};
    proc_result r = moped(line);
    CHECK_EQ(r.code, 0);
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
        if (!strstr(r.out, WORDS[i])) printf("  the output lacks \"%s\"\n", WORDS[i]);
        CHECK(strstr(r.out, WORDS[i]) != NULL);
    }
    proc_free(&r);
    json_t *o = OBJECT("bench|--like|tiny-qwen3moe@1|-p|4|-n|2|-r|1|--ram|1G|-t|1|--json", 0); /* not asked for */
    CHECK(!json_object_get(json_array_get(json_object_get(o, "runs"), 0), "profile"));
    json_decref(o);
}

int main(void) {
    if (!cli_open(MOPED_PROGRAM)) return 77;
    RUN(json_has_rows_that_add_up);
    RUN(an_unknown_limit_is_no_number);
    RUN(tables_say_the_same);
    cli_close();
    return test_done();
}
