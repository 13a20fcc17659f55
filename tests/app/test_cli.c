/* The program from outside: exit codes, what goes to which stream, JSON, signals.
 * Models: the tiny goldens of this repository, and the reference TinyStories model where it is. The chat is in test_chat.c. */
#include <math.h>
#include <signal.h>
#include <stdint.h>

#include "support/cli.h"
#include "support/gguf_edit.h"
#include "support/tiny.h"

/* A sanitizer's own memory grows as it likes: no plan can hold it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
static char mixtral[512];

/* Byte for byte, and not empty. */
static bool same_file(const char *a, const char *b) {
    FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
    int c = 0, n = 0;
    while (f && g && (c = fgetc(f)) == fgetc(g) && c != EOF) n++;
    if (f) fclose(f);
    if (g) fclose(g);
    return c == EOF && n > 0;
}

TEST(help_goes_to_stdout) {
    static const char *const LINES[] = {"", "--help", "run|--help", "plan|-h", "bench|--help", "doctor|--help", "tokenize|--help",
                                        "logits|--help", "template|--help", "perplexity|--help", "--version"};
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        proc_result r = moped(LINES[i]);
        if (r.code != 0 || r.n_out == 0 || r.n_err != 0) cli_explain(LINES[i], &r), CHECK(false);
        proc_free(&r);
    }
}

TEST(usage_errors_exit_2) {
    FAILS("rnu", 2, "did you mean run?");
    FAILS("run|--tmep|1", 2, "did you mean --temp?");
    FAILS("plan", 2, "model");
    FAILS("run|--top-p|2", 2, "--top-p must be from 0 to 1");
    FAILS(text("run|%s|-ctk|f16|-ctv|f32|-p|x", mixtral), 2, "agree");
    FAILS(text("run|%s|-p|a|-f|b", mixtral), 2, "leave one out");
    FAILS(text("run|%s|-p|a|--isa|mmx", mixtral), 2, "instruction set");
    FAILS(text("plan|%s|--ram|8Q", mixtral), 2, "--ram");
    FAILS(text("logits|%s|--tokens|1,2", mixtral), 2, "-o");
    FAILS("template|-f|x", 2, "whose template");
    FAILS(text("perplexity|%s|-c|4000|-p", mixtral), 2, "-p");
}

TEST(bad_files_are_told_apart) {
    char path[128];
    cli_write("bad.gguf", "this is not a model, but it is long enough to have a header", path, sizeof path);
    FAILS(text("plan|%s", path), 4, "");
    FAILS(text("run|%s|-p|x", path), 4, "");
    FAILS(text("tokenize|%s|-p|x", path), 4, "");
    FAILS(text("run|%s|-f|%s/none.txt", mixtral, cli_folder()), 1, "none.txt");
    proc_result r = moped("run|/no/such/model.gguf|-p|x");
    CHECK_EQ(r.code, 2);
    CHECK(strstr(r.err, "/no/such/model.gguf") != NULL);
    proc_free(&r);
}

TEST(plan_says_everything_and_3_when_it_does_not_fit) {
    static const char *const NUMBERS[] = {"need_bytes", "least_ram_bytes", "largest_ctx", "budget_bytes", "ctx", "plan_peak_bytes",
                                          "bound_tok_s", "bandwidth.ram_bps",
                                          "bandwidth.disk_bps", "experts.pages", "experts.slots", "tiers.ram.weights", "tiers.ram.experts",
                                          "tiers.ram.kv", "tiers.ram.work",
                                          "tiers.ram.tokenizer", "tiers.ram.overhead", "tiers.disk.experts", "tiers.vram.weights", "model.layers"};
    json_t *o = OBJECT(text("plan|%s|--ram|1G|--json", mixtral), 0);
    CHECK(json_is_true(at_path(o, "fits")));
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) HAS_NUMBER(o, NUMBERS[i]);
    CHECK_EQ(int_at(o, "budget_bytes"), 1 << 30);
    long long least = int_at(o, "least_ram_bytes");
    json_decref(o);
    o = OBJECT(text("plan|%s|--ram|1M|--json", mixtral), 3);
    CHECK(json_is_false(at_path(o, "fits")));
    json_decref(o);
    proc_result r = moped(text("plan|%s|--ram|1M", mixtral));
    CHECK_EQ(r.code, 3);
    CHECK(strstr(r.out, "does not fit") != NULL);
    CHECK(strncmp(r.err, "moped: ", 7) == 0);
    proc_free(&r);
    FAILS(text("run|%s|--ram|1M|-p|x", mixtral), 3, "");
    o = OBJECT(text("plan|%s|--ram|%lld|--json", mixtral, least), 0); /* the least that works, works */
    json_decref(o);
    o = OBJECT(text("plan|%s|--ram|1G|--solve|ctx|--json", mixtral), 0);
    CHECK(int_at(o, "largest_ctx") > 0);
    json_decref(o);
}

TEST(tokens_of_a_text) {
    json_t *o = OBJECT(text("tokenize|%s|-p|the thin|--json", mixtral), 0);
    json_t *list = json_object_get(o, "tokens");
    CHECK(json_array_size(list) > 2);
    json_t *with = OBJECT(text("tokenize|%s|-p|the thin|--bos|--json", mixtral), 0), *without = OBJECT(text("tokenize|%s|-p|the thin|--no-bos|--json", mixtral), 0);
    CHECK_EQ(json_array_size(json_object_get(with, "tokens")), json_array_size(json_object_get(without, "tokens")) + 1);
    json_decref(o);
    json_decref(with);
    json_decref(without);
    proc_result r = moped(text("tokenize|%s|-p|the thin", mixtral));
    CHECK_EQ(r.code, 0);
    CHECK(strstr(r.out, "th\n") != NULL); /* the vocabulary merges these two */
    proc_free(&r);
    r = proc_line(MOPED_PROGRAM, text("tokenize|%s|--json", mixtral), "the thin"); /* a pipe is as good as -p */
    CHECK_EQ(r.code, 0);
    proc_free(&r);
}

/* Row by row against what transformers computed (tests/golden/README.md); through the .npy file. */
TEST(logits_file_holds_the_golden_numbers) {
    char path[512], out[128], head[128] = "", *ids = NULL;
    int32_t dims[2] = {0};
    size_t n_ids = 0;
    snprintf(path, sizeof path, MOPED_SOURCE_DIR "/tests/golden/tiny/mixtral.bin");
    FILE *f = fopen(path, "rb");
    REQUIRE(f != NULL);
    REQUIRE(fread(dims, 4, 2, f) == 2);
    int32_t *tokens = calloc((size_t)dims[0], 4);
    float *want = calloc((size_t)dims[0] * (size_t)dims[1], 4), *got = calloc((size_t)dims[0] * (size_t)dims[1], 4);
    REQUIRE(fread(tokens, 4, (size_t)dims[0], f) == (size_t)dims[0]);
    REQUIRE(fread(want, 4, (size_t)dims[0] * (size_t)dims[1], f) == (size_t)dims[0] * (size_t)dims[1]);
    fclose(f);
    FILE *list = open_memstream(&ids, &n_ids);
    for (int i = 0; i < dims[0]; i++) fprintf(list, "%s%d", i ? "," : "", tokens[i]);
    fclose(list);
    snprintf(out, sizeof out, "%s/logits.npy", cli_folder());
    proc_result r = moped(text("logits|%s|--tokens|%s|-o|%s|-b|16", mixtral, ids, out));
    CHECK_EQ(r.code, 0);
    CHECK_EQ(r.n_out, 0);
    proc_free(&r);
    f = fopen(out, "rb");
    REQUIRE(f != NULL);
    REQUIRE(fread(head, 1, 128, f) == 128);
    CHECK(memcmp(head, "\x93NUMPY\x01\x00", 8) == 0);
    int start = 10 + (unsigned char)head[8] + 256 * (unsigned char)head[9];
    CHECK_EQ(start % 64, 0);
    CHECK(strstr(head + 10, text("'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d)", dims[0], dims[1])) != NULL);
    fseek(f, start, SEEK_SET);
    REQUIRE(fread(got, 4, (size_t)dims[0] * (size_t)dims[1], f) == (size_t)dims[0] * (size_t)dims[1]);
    CHECK_EQ(fgetc(f), EOF);
    fclose(f);
    double worst = 0;
    for (long i = 0; i < (long)dims[0] * dims[1]; i++) worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
    CHECK_NEAR(worst, 0, 2e-4);
    free(ids), free(tokens), free(want), free(got);
}

TEST(an_answer_as_json) {
    static const char *const NUMBERS[] = {"prompt_tokens", "completion_tokens", "seed", "timings.load_ms", "timings.prompt_ms",
                                          "timings.predicted_ms", "timings.prompt_per_second",
                                          "timings.predicted_per_second", "expert.accesses", "expert.hits", "expert.disk_bytes",
                                          "memory.ram_budget_bytes", "memory.ram_peak_bytes"};
    json_t *o = OBJECT(text("run|%s|-p|the thin|-n|5|--ignore-eos|--json|--seed|7|--ram|1G", mixtral), 0);
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) HAS_NUMBER(o, NUMBERS[i]);
    CHECK(json_is_string(at_path(o, "text")));
    CHECK_EQ(json_array_size(at_path(o, "tokens")), 5);
    CHECK_EQ(int_at(o, "completion_tokens"), 5);
    CHECK_EQ(int_at(o, "seed"), 7);
    CHECK_STR(json_string_value(at_path(o, "finish_reason")), "length");
    CHECK(int_at(o, "expert.accesses") > 0);
    CHECK(int_at(o, "memory.ram_peak_bytes") <= 1 << 30);
    json_decref(o);
}

/* A random model writes bytes that are no text: the object must be valid all the same. */
TEST(json_survives_text_that_is_not_utf8) {
    for (int seed = 0; seed < 5; seed++) {
        json_t *o = OBJECT(text("run|%s|-p|a|-n|40|--ignore-eos|--temp|5|--top-k|0|--top-p|1|--min-p|0|--json|-s|%d", mixtral, seed), 0);
        json_decref(o);
    }
}

TEST(the_same_seed_gives_the_same_text) {
    char *a = string_of(text("run|%s|-p|the|-n|30|--ignore-eos|--temp|1|--json|-s|5|-t|1", mixtral), "text");
    char *b = string_of(text("run|%s|-p|the|-n|30|--ignore-eos|--temp|1|--json|-s|5|-t|2|-b|8", mixtral), "text");
    char *c = string_of(text("run|%s|-p|the|-n|30|--ignore-eos|--temp|1|--json|-s|6", mixtral), "text");
    CHECK_STR(a, b);
    CHECK(strcmp(a, c) != 0);
    free(a), free(b), free(c);
}

TEST(a_random_seed_is_said_and_can_be_used_again) {
    proc_result r = moped(text("run|%s|-p|the|-n|20|--ignore-eos|--temp|1", mixtral));
    const char *said = strstr(r.err, "seed");
    REQUIRE(said != NULL);
    unsigned long long seed = strtoull(said + 4, NULL, 10);
    proc_result again = moped(text("run|%s|-p|the|-n|20|--ignore-eos|--temp|1|--seed|%llu", mixtral, seed));
    CHECK_STR(again.out, r.out);
    CHECK(strstr(again.err, "seed") == NULL);
    proc_free(&r);
    proc_free(&again);
}

TEST(prompts_come_from_everywhere) {
    char path[128];
    cli_write("prompt.txt", "the thin", path, sizeof path);
    const char *rest = "-n|12|--temp|0|--ignore-eos";
    proc_result a = moped(text("run|%s|-p|the thin|%s", mixtral, rest)), b = moped(text("run|%s|-f|%s|%s", mixtral, path, rest));
    proc_result c = moped(text("run|%s|the thin|%s", mixtral, rest)), d = proc_line(MOPED_PROGRAM, text("run|%s|%s", mixtral, rest), "the thin\n");
    setenv("MOPED_PROMPT", "the thin", 1);
    setenv("MOPED_MODEL", mixtral, 1);
    proc_result e = moped(text("run|%s", rest));
    unsetenv("MOPED_PROMPT");
    unsetenv("MOPED_MODEL");
    CHECK_EQ(a.code, 0);
    CHECK(a.n_out > 1);
    CHECK_STR(b.out, a.out);
    CHECK_STR(c.out, a.out);
    CHECK_STR(d.out, a.out);
    CHECK_STR(e.out, a.out);
    proc_free(&a), proc_free(&b), proc_free(&c), proc_free(&d), proc_free(&e);
}

TEST(stories_are_the_reference_text) {
    const char *stories = cli_stories();
    if (!stories) SKIP("the reference TinyStories model is not here");
    char path[512], want[1024] = "";
    if (!test_shared("data/llama2c/stories260K.expected.t0.n200.txt", path, sizeof path)) SKIP("its expected text is not here");
    FILE *f = fopen(path, "r");
    if (f) want[fread(want, 1, sizeof want - 1, f)] = '\0', fclose(f);
    char *got = string_of(text("run|%s|-p|''|-n|199|--temp|0|--json", stories), "text");
    want[strcspn(want, "\0")] = '\0';
    size_t n = strlen(want);
    while (n > 0 && want[n - 1] == '\n') want[--n] = '\0';
    const char *start = got + (got[0] == ' ');
    CHECK(n > 300);
    if (strncmp(start, want, n < 400 ? n : 400) != 0) printf("  got:  %.200s\n  want: %.200s\n", start, want);
    CHECK(strncmp(start, want, n < 400 ? n : 400) == 0);
    free(got);
}

TEST(a_stop_string_ends_the_answer_before_itself) {
    const char *stories = cli_stories();
    if (!stories) SKIP("the reference TinyStories model is not here");
    char *full = string_of(text("run|%s|-p|Once upon a time|-n|60|--temp|0|--json", stories), "text");
    json_t *o = OBJECT(text("run|%s|-p|Once upon a time|-n|60|--temp|0|--json|--stop|loved|--stop|zzz", stories), 0);
    const char *cut = json_string_value(at_path(o, "text")), *at = strstr(full, "loved");
    REQUIRE(at != NULL && cut != NULL);
    CHECK_EQ(strlen(cut), at - full);
    CHECK(strncmp(full, cut, strlen(cut)) == 0);
    CHECK_STR(json_string_value(at_path(o, "finish_reason")), "stop");
    json_decref(o);
    free(full);
}

TEST(a_full_context_ends_or_shifts) {
    json_t *o = OBJECT(text("run|%s|-p|the thin|-c|32|--ignore-eos|--temp|0|--json", mixtral), 0);
    CHECK_STR(json_string_value(at_path(o, "finish_reason")), "context");
    json_decref(o);
    o = OBJECT(text("run|%s|-p|the thin|-c|32|-n|30|--ignore-eos|--temp|0|--json|--context-shift|--keep|4", mixtral), 0);
    CHECK_EQ(json_array_size(at_path(o, "tokens")), 30);
    json_decref(o);
    proc_result r = moped(text("run|%s|-p|the thin|-c|32|--ignore-eos|--temp|0", mixtral));
    CHECK_EQ(r.code, 0);
    CHECK(strstr(r.err, "context") != NULL);
    proc_free(&r);
    FAILS(text("run|%s|-c|4|-p|the thin the thin the thin|-n|1", mixtral), 1, "context");
}

TEST(signals_stop_it_with_the_shells_codes) {
    static const struct { int signal_number, code; } CASES[] = {{SIGINT, 130}, {SIGTERM, 143}};
    for (size_t i = 0; i < 2; i++) {
        proc p;
        char some[64];
        const char *endless = text("run|%s|-p|the|--ignore-eos|--context-shift|-n|2000000000", mixtral);
        REQUIRE(proc_start(MOPED_PROGRAM, endless, 0, &p)); /* while it answers */
        CHECK(proc_read(&p, some, sizeof some, 20) >= 20);
        kill(p.pid, CASES[i].signal_number);
        proc_result r = proc_finish(&p);
        CHECK_EQ(r.code, CASES[i].code);
        proc_free(&r);
        REQUIRE(proc_start(MOPED_PROGRAM, endless, CASES[i].signal_number, &p)); /* while it loads: the signal waits from the start on */
        CHECK_EQ(proc_read(&p, some, sizeof some, 1), 0);
        r = proc_finish(&p);
        CHECK_EQ(r.code, CASES[i].code);
        proc_free(&r);
    }
}

TEST(a_reader_that_leaves_is_an_error_and_no_crash) {
    proc p;
    char some[64];
    REQUIRE(proc_start(MOPED_PROGRAM, text("run|%s|-p|the|--ignore-eos|--context-shift|-n|2000000000", mixtral), 0, &p));
    CHECK(proc_read(&p, some, sizeof some, 20) >= 20);
    proc_result r = proc_finish(&p);
    CHECK_EQ(r.code, 1);
    proc_free(&r);
}

TEST(templates_are_rendered_exactly) {
    char tmpl[128], request[128];
    cli_write("t.jinja", "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if x is defined %}{{ x }}{% endif %}", tmpl,
              sizeof tmpl);
    cli_write("r.json", "{\"messages\":[{\"role\":\"user\",\"content\":\"h\xc3\xa9\"}],\"x\":1.5}", request, sizeof request);
    proc_result r = moped(text("template|--template|%s|-f|%s|--bos|[B]", tmpl, request));
    CHECK_EQ(r.code, 0);
    CHECK_STR(r.out, "[B]<user>h\xc3\xa9" "1.5");
    proc_free(&r);
    cli_write("r.json", "[1,", request, sizeof request);
    FAILS(text("template|--template|%s|-f|%s", tmpl, request), 2, "JSON");
}

TEST(perplexity_of_a_text) {
    const char *stories = cli_stories();
    if (!stories) SKIP("the reference TinyStories model is not here");
    char sample[512];
    if (!test_shared("data/text/tinystories_sample.txt", sample, sizeof sample)) SKIP("the sample text is not here");
    json_t *o = OBJECT(text("perplexity|%s|-f|%s|-c|128|--json", stories, sample), 0);
    double ppl = json_number_value(at_path(o, "perplexity"));
    CHECK_NEAR(ppl, 6.84529, 2e-3); /* from the logits of llama.cpp (llama-cpp-python 0.3.36, float32 cache) over the same windows */
    CHECK(json_number_value(at_path(o, "error")) > 0);
    long long windows = int_at(o, "windows");
    CHECK_EQ(int_at(o, "tokens"), windows * 63);
    json_decref(o);
    FAILS(text("perplexity|%s|-f|%s|-c|400000", stories, sample), 2, "window");
}

TEST(bench_reports_every_run) {
    static const char *const KEYS[] = {"ram_budget_bytes", "ram_peak_bytes", "plan_peak_bytes", "threads", "prompt_tokens", "prefill_tok_s",
                                       "decode_tokens", "decode_tok_s",
                                       "bound_tok_s", "bound_fraction", "expert_accesses", "expert_hits", "hit_rate", "disk_bytes",
                                       "owners.weights.plan_bytes"};
    json_t *o = OBJECT(text("bench|%s|-p|16|-n|4|-r|2|--ram|1G,1M|-t|1,2|--json", mixtral), 0);
    const json_t *runs = json_object_get(o, "runs");
    CHECK(json_is_string(at_path(o, "model")) && json_is_object(at_path(o, "machine")));
    CHECK_EQ(json_array_size(runs), 4);
    for (size_t i = 0; i < 2; i++) {
        const json_t *run = json_array_get(runs, i);
        for (size_t k = 0; k < sizeof KEYS / sizeof *KEYS; k++) HAS_NUMBER(run, KEYS[k]);
        CHECK_EQ(int_at(run, "threads"), i + 1);
        CHECK(json_number_value(at_path(run, "decode_tok_s")) > 0);
        CHECK(json_is_false(at_path(json_array_get(runs, i + 2), "fits")));
        CHECK(json_is_string(at_path(json_array_get(runs, i + 2), "error")));
    }
    json_decref(o);
    proc_result r = moped(text("bench|%s|-p|4|-n|2|-r|1|--ram|1M", mixtral));
    CHECK_EQ(r.code, 3);
    proc_free(&r);
}

static bool is_trace(const char *path) {
    char magic[4] = {0};
    FILE *f = fopen(path, "rb");
    bool good = f && fread(magic, 1, 4, f) == 4 && !memcmp(magic, "MTR2", 4);
    if (f) fclose(f);
    return good;
}

TEST(routing_is_recorded_and_replaced) {
    char trace[512], other[512], npy[512], words[128];
    snprintf(trace, sizeof trace, "%s/t.mtr", cli_folder());
    snprintf(other, sizeof other, "%s/u.mtr", cli_folder());
    snprintf(npy, sizeof npy, "%s/t.npy", cli_folder());
    cli_write("words.txt", "the a the a the a the a the a the a the a the a the a", words, sizeof words);
    const char *const lines[] = {text("run|%s|-p|the|-n|8|--seed|1|--trace|%s", mixtral, other), text("logits|%s|-p|the|-o|%s|--trace|%s", mixtral, npy, other),
                                 text("perplexity|%s|-f|%s|-c|8|--trace|%s", mixtral, words, other),
                                 text("bench|%s|-p|8|-n|4|-r|1|--ram|1G|-t|1|--trace|%s", mixtral, trace)};
    for (int i = 0; i < 4; i++) {
        proc_result r = moped(lines[i]);
        CHECK_EQ(r.code, 0);
        CHECK(is_trace(i == 3 ? trace : other));
        unlink(other);
        proc_free(&r);
    }
    json_t *o = OBJECT(text("bench|%s|-p|8|-n|20|-r|1|--ram|1G|-t|1|--json|--routing|%s", mixtral, trace), 0);
    const json_t *run = json_array_get(json_object_get(o, "runs"), 0);
    CHECK_STR(json_string_value(json_object_get(run, "routing")), trace);
    CHECK_EQ(int_at(run, "cold_tokens"), 16);
    CHECK(json_number_value(at_path(run, "cold_tok_s")) > 0);
    HAS_NUMBER(run, "cold_hit_rate");
    HAS_NUMBER(run, "cold_disk_bytes");
    json_decref(o);
    o = OBJECT(text("bench|%s|-p|0|-n|4|-r|1|--ram|1G|-t|1|--json", mixtral), 0);
    run = json_array_get(json_object_get(o, "runs"), 0);
    CHECK(!json_object_get(run, "routing"));
    CHECK_EQ(int_at(run, "cold_tokens"), 4);
    json_decref(o);
    proc_result r = moped(text("bench|%s|-p|8|-n|4|-r|1|--ram|1G|-t|1|--routing|%s", mixtral, trace));
    CHECK(!strncmp(r.out, "routing: the choices of ", 24) && strstr(r.out, trace));
    proc_free(&r);
    FAILS(text("bench|%s|-p|8|-n|4|-r|1|--ram|1G,2G|-t|1|--trace|%s", mixtral, other), 2, "one measurement");
    FAILS(text("bench|%s|-p|8|-n|4|-r|1|--ram|1G|-t|1|--routing|%s", mixtral, words), 4, "no routing trace");
    FAILS(text("run|%s|-p|the|-n|4|--trace|%s", mixtral, mixtral), 2, "is no trace");
    unlink(trace);
    unlink(npy);
}

TEST(a_trace_that_fails_costs_no_answer) {
    if (access("/dev/full", W_OK)) SKIP("there is no /dev/full");
    proc_result good = moped(text("run|%s|-p|the|-n|8|--seed|1", mixtral)), full = moped(text("run|%s|-p|the|-n|8|--seed|1|--trace|/dev/full", mixtral));
    CHECK_EQ(full.code, 0);
    CHECK_STR(full.out, good.out);
    CHECK(!strncmp(full.err, "moped: the trace /dev/full is not complete: ", 44) && strstr(full.err, "No space left"));
    proc_free(&good);
    proc_free(&full);
    /* A command's own error keeps its sentence. */
    proc_result r = moped(text("run|%s|-p|the a the a the a the a the a|-c|4|--trace|/dev/full", mixtral));
    CHECK_EQ(r.code, 1);
    CHECK(strstr(r.err, "moped: the trace /dev/full") && strstr(r.err, "do not fit the context of 4"));
    proc_free(&r);
}

/* Only the parent gets the signal: it must pass it on, or the measuring child would go on alone. */
TEST(bench_passes_signals_on) {
    proc p;
    char some[256];
    REQUIRE(proc_start(MOPED_PROGRAM, text("bench|%s|-p|64|-n|64|-r|1000|--ram|1G,1G,1G,1G,1G,1G", mixtral), 0, &p));
    CHECK(proc_read(&p, some, sizeof some, 20) >= 20); /* the head of the table: children come next */
    kill(p.pid, SIGINT);
    proc_result r = proc_finish(&p);
    CHECK_EQ(r.code, 130);
    proc_free(&r);
}

TEST(dry_run_says_where_values_come_from) {
    setenv("MOPED_RAM", "2G", 1);
    json_t *o = OBJECT("run|--dry-run|--json|-c|99", 0);
    unsetenv("MOPED_RAM");
    CHECK_STR(json_string_value(at_path(o, "values.ram.source")), "environment");
    CHECK_STR(json_string_value(at_path(o, "values.ctx-size.value")), "99");
    CHECK_STR(json_string_value(at_path(o, "values.temp.source")), "default");
    json_decref(o);
}

/* A model without a vocabulary can be computed with, and cannot talk. */
TEST(a_model_without_a_vocabulary) {
    char path[128];
    snprintf(path, sizeof path, "%s/mute.gguf", cli_folder());
    ge *e = ge_read(cli_tiny("mixtral"));
    ge_drop_keys(e, "tokenizer.");
    ge_save(e, path);
    ge_close(&e);
    json_t *o = OBJECT(text("logits|%s|--tokens|1,2,3|-o|%s/mute.npy|--json", path, cli_folder()), 0);
    CHECK_EQ(json_integer_value(json_array_get(at_path(o, "shape"), 0)), 3);
    json_decref(o);
    FAILS(text("run|%s|-p|x", path), 4, "vocabulary");
    FAILS(text("tokenize|%s|-p|x", path), 4, "");
    FAILS(text("logits|%s|-p|x|-o|%s/mute.npy", path, cli_folder()), 4, "");
    FAILS(text("logits|%s|--tokens|1,99999|-o|%s/none.npy", path, cli_folder()), 2, "99999");
    CHECK(access(text("%s/none.npy", cli_folder()), F_OK) != 0 && access(text("%s/none.npy.part", cli_folder()), F_OK) != 0);
}

/* The smallest budget, in steps of half a MiB, with which this command does not say that it does not fit. `line` ends where the budget goes.
 * A process weighs a little more or less than the next, so the least of the plan of another one is no use here. */
static int least_halves(const char *line) {
    int low = 0, high = 2048; /* low does not fit, high does */
    while (high - low > 1) {
        int middle = (low + high) / 2;
        proc_result r = moped(text("%s%dK", line, middle * 512));
        *(r.code == 3 ? &low : &high) = middle;
        proc_free(&r);
    }
    return high;
}

/* A budget that cannot hold the experts changes the traffic and not one logit. */
TEST(a_small_budget_pages_and_changes_nothing) {
    char path[128], small[160], large[160], line[1024];
    snprintf(path, sizeof path, "%s/paged.gguf", cli_folder());
    tiny_write_paged(path);
    snprintf(line, sizeof line, "bench|%s|-c|128|-t|1|-b|16|-p|64|-n|32|-r|1|--json|--ram|", path);
    int halves = least_halves(line) + 1; /* one more: it must fit again */
    json_t *o = OBJECT(text("%s%dK,1G", line, halves * 512), 0);
    const json_t *runs = json_object_get(o, "runs"), *tight = json_array_get(runs, 0), *roomy = json_array_get(runs, 1);
    CHECK(json_is_true(at_path(tight, "fits")));
    CHECK(int_at(tight, "expert_hits") < int_at(tight, "expert_accesses"));
    CHECK(int_at(tight, "disk_bytes") > 0);
    if (!SANITIZED) CHECK(int_at(tight, "ram_peak_bytes") <= halves * 512ll * 1024);
    CHECK_EQ(int_at(tight, "expert_accesses"), int_at(roomy, "expert_accesses"));
    CHECK_EQ(int_at(roomy, "disk_bytes"), 0);
    json_decref(o);
    snprintf(small, sizeof small, "%s/small.npy", cli_folder());
    snprintf(large, sizeof large, "%s/large.npy", cli_folder());
    const char *ids = "1,2,3,200,100,50,25,12,6,3,1,99,98,97,96,95,94,93,92,91";
    snprintf(line, sizeof line, "logits|%s|--tokens|%s|-o|%s|-t|1|-b|4|--ram|", path, ids, small);
    halves = least_halves(line) + 1;
    proc_result r = moped(text("%s%dK", line, halves * 512));
    CHECK_EQ(r.code, 0);
    proc_free(&r);
    r = moped(text("logits|%s|--tokens|%s|-o|%s|--ram|1G|-t|2|-b|16", path, ids, large));
    CHECK_EQ(r.code, 0);
    proc_free(&r);
    CHECK(same_file(small, large));
}

int main(void) {
    if (!cli_open(MOPED_PROGRAM)) return 77;
    snprintf(mixtral, sizeof mixtral, "%s", cli_tiny("mixtral"));
    RUN(help_goes_to_stdout);
    RUN(usage_errors_exit_2);
    RUN(bad_files_are_told_apart);
    RUN(plan_says_everything_and_3_when_it_does_not_fit);
    RUN(tokens_of_a_text);
    RUN(logits_file_holds_the_golden_numbers);
    RUN(an_answer_as_json);
    RUN(json_survives_text_that_is_not_utf8);
    RUN(the_same_seed_gives_the_same_text);
    RUN(a_random_seed_is_said_and_can_be_used_again);
    RUN(prompts_come_from_everywhere);
    RUN(stories_are_the_reference_text);
    RUN(a_stop_string_ends_the_answer_before_itself);
    RUN(a_full_context_ends_or_shifts);
    RUN(signals_stop_it_with_the_shells_codes);
    RUN(a_reader_that_leaves_is_an_error_and_no_crash);
    RUN(templates_are_rendered_exactly);
    RUN(perplexity_of_a_text);
    RUN(bench_reports_every_run);
    RUN(routing_is_recorded_and_replaced);
    RUN(a_trace_that_fails_costs_no_answer);
    RUN(bench_passes_signals_on);
    RUN(dry_run_says_where_values_come_from);
    RUN(a_model_without_a_vocabulary);
    RUN(a_small_budget_pages_and_changes_nothing);
    cli_close();
    return test_done();
}
