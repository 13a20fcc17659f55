/* The flags of the program: who wins, what is refused, and with which words. */
#include <math.h>
#include <sys/stat.h>

#include "app/flags.h"
#include "test.h"

static char folder[] = "/tmp/moped-test-flags-XXXXXX";

/* A config file with this text; parse() finds it through XDG_CONFIG_HOME. */
static void write_config(const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/moped/config", folder);
    FILE *f = fopen(path, "w");
    if (f) fputs(text, f), fclose(f);
}

static mp_err parse(app_flags *flags, unsigned command, int words, const char *line) {
    static char copy[1024];
    char *argv[64], *rest = copy, *word;
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    while ((word = strsep(&rest, "|")) != NULL)
        if (*word) argv[argc++] = word;
    return app_flags_parse(flags, command, words, argc, argv);
}

/* parse() must fail as usage, with a sentence that holds `part`. */
#define REFUSED(command, line, part)                                                      \
    do {                                                                                  \
        app_flags refused;                                                                \
        CHECK_EQ(parse(&refused, command, 2, line), MP_E_USAGE);                          \
        if (!strstr(mp_err_text(), part)) printf("  the sentence: %s\n", mp_err_text()); \
        CHECK(strstr(mp_err_text(), part) != NULL);                                       \
        app_flags_deinit(&refused);                                                       \
    } while (0)

TEST(nothing_given_is_all_defaults) {
    app_flags f;
    CHECK_OK(parse(&f, APP_RUN, 2, ""));
    for (int i = 0; i < F_COUNT; i++) CHECK(!app_given(&f, (app_flag_id)i));
    CHECK(app_text(&f, F_MODEL) == NULL);
    CHECK_EQ(app_int(&f, F_CTX, 17), 17);
    CHECK_NEAR(app_real(&f, F_TEMP, 0.25), 0.25, 0);
    app_flags_deinit(&f);
}

TEST(short_long_and_equals_are_the_same) {
    static const char *const LINES[] = {"-c|4096|--temp|0.5|-m|a.gguf", "--ctx-size|4096|--temperature|0.5|--model|a.gguf",
                                        "--ctx-size=4096|--temp=0.5|--model=a.gguf",
                                        "a.gguf|-c|4096|--temp|0.5"};
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        app_flags f;
        CHECK_OK(parse(&f, APP_RUN, 2, LINES[i]));
        CHECK_EQ(app_int(&f, F_CTX, 0), 4096);
        CHECK_NEAR(app_real(&f, F_TEMP, 0), 0.5, 0);
        CHECK_STR(app_text(&f, F_MODEL), "a.gguf");
        app_flags_deinit(&f);
    }
}

TEST(words_without_a_dash) {
    app_flags f;
    CHECK_OK(parse(&f, APP_RUN, 2, "a.gguf|Say hello|--json"));
    CHECK_STR(app_text(&f, F_MODEL), "a.gguf");
    CHECK_EQ(f.n_positional, 1);
    CHECK_STR(f.positional[0], "Say hello");
    CHECK(app_on(&f, F_JSON));
    app_flags_deinit(&f);
    CHECK_OK(parse(&f, APP_RUN, 2, "-m|a.gguf|Say hello")); /* -m names the model, so the word is the prompt */
    CHECK_STR(f.positional[0], "Say hello");
    app_flags_deinit(&f);
    CHECK_OK(parse(&f, APP_RUN, 2, "a.gguf|--|--not-a-flag"));
    CHECK_STR(f.positional[0], "--not-a-flag");
    app_flags_deinit(&f);
    REFUSED(APP_RUN, "a.gguf|Say|hello", "one word too many: \"hello\"");
    REFUSED(APP_RUN, "-m|a.gguf|Say|hello", "one word too many");
}

TEST(values_may_begin_with_a_dash) {
    app_flags f;
    CHECK_OK(parse(&f, APP_RUN, 2, "-p|-5 + 3 = ?|-n|-1|--presence-penalty|-0.5|--keep|-1"));
    CHECK_STR(app_text(&f, F_PROMPT), "-5 + 3 = ?");
    CHECK_EQ(app_int(&f, F_PREDICT, 0), -1);
    CHECK_NEAR(app_real(&f, F_PRESENCE, 0), -0.5, 0);
    app_flags_deinit(&f);
}

TEST(one_name_means_what_its_command_says) {
    app_flags f;
    CHECK_OK(parse(&f, APP_BENCH, 1, "m.gguf|-p|512|-n|32|--ram|4G,8GB|-t|1,2|-r|3"));
    CHECK_EQ(app_int(&f, F_BENCH_PROMPT, 0), 512);
    double *list;
    int n;
    CHECK_OK(app_list_parse(app_flag_find(APP_BENCH, "--ram"), app_text(&f, F_BENCH_RAM), &list, &n));
    CHECK_EQ(n, 2);
    CHECK_NEAR(list[0], 4294967296.0, 0);
    CHECK_NEAR(list[1], 8e9, 0);
    free(list);
    app_flags_deinit(&f);
    REFUSED(APP_RUN, "--ram|4G,8G", "not a size");
    REFUSED(APP_BENCH, "-p|hello", "whole number");
}

TEST(flag_beats_variable_beats_file) {
    app_flags f;
    write_config("# mine\n\n  ctx-size = 1000\ntemp=0.1\n top-k = 7 \n system-prompt = \"  two spaces  \"\n");
    setenv("MOPED_CTX_SIZE", "2000", 1);
    setenv("MOPED_TEMP", "0.2", 1);
    CHECK_OK(parse(&f, APP_RUN, 2, "-c|3000"));
    CHECK_EQ(app_int(&f, F_CTX, 0), 3000);
    CHECK_EQ(f.values[F_CTX].source, APP_FROM_FLAG);
    CHECK_STR(f.values[F_CTX].where, "-c");
    CHECK_NEAR(app_real(&f, F_TEMP, 0), 0.2, 0);
    CHECK_EQ(f.values[F_TEMP].source, APP_FROM_ENV);
    CHECK_STR(f.values[F_TEMP].where, "MOPED_TEMP");
    CHECK_EQ(app_int(&f, F_TOP_K, 0), 7);
    CHECK_EQ(f.values[F_TOP_K].source, APP_FROM_FILE);
    CHECK(strstr(f.values[F_TOP_K].where, "moped/config:5: top-k") != NULL);
    CHECK_STR(app_text(&f, F_SYSTEM), "  two spaces  ");
    app_flags_deinit(&f);
    unsetenv("MOPED_CTX_SIZE");
    unsetenv("MOPED_TEMP");
    write_config("");
}

TEST(repeated_flags_add_up_within_one_source) {
    app_flags f;
    write_config("stop = from the file\n");
    CHECK_OK(parse(&f, APP_RUN, 2, "--stop|a|--stop|b|--logit-bias|5+1.5|--logit-bias|7-inf"));
    CHECK_EQ(f.values[F_STOP].n_texts, 2);
    CHECK_STR(f.values[F_STOP].texts[0], "a");
    CHECK_STR(f.values[F_STOP].texts[1], "b");
    CHECK_EQ(f.values[F_BIAS].n_texts, 2);
    app_flags_deinit(&f);
    CHECK_OK(parse(&f, APP_RUN, 2, ""));
    CHECK_EQ(f.values[F_STOP].n_texts, 1);
    app_flags_deinit(&f);
    CHECK_OK(parse(&f, APP_RUN, 2, "--temp|1|--temp|2")); /* of those that don't repeat the last one counts */
    CHECK_NEAR(app_real(&f, F_TEMP, 0), 2, 0);
    CHECK_EQ(f.values[F_TEMP].n_texts, 1);
    app_flags_deinit(&f);
    write_config("");
}

TEST(switches) {
    app_flags f;
    CHECK_OK(parse(&f, APP_RUN, 2, "--json|--no-chat=off"));
    CHECK(app_on(&f, F_JSON));
    CHECK(!app_on(&f, F_NO_CHAT));
    app_flags_deinit(&f);
    setenv("MOPED_JSON", "true", 1);
    CHECK_OK(parse(&f, APP_RUN, 2, ""));
    CHECK(app_on(&f, F_JSON));
    app_flags_deinit(&f);
    CHECK_OK(parse(&f, APP_RUN, 2, "--json=no"));
    CHECK(!app_on(&f, F_JSON));
    app_flags_deinit(&f);
    setenv("MOPED_JSON", "perhaps", 1);
    REFUSED(APP_RUN, "", "MOPED_JSON is on or off");
    unsetenv("MOPED_JSON");
}

TEST(what_is_not_known_is_refused_with_the_nearest) {
    REFUSED(APP_RUN, "--tmep|1", "did you mean --temp?");
    REFUSED(APP_RUN, "--ctxsize|1", "did you mean --ctx-size?");
    REFUSED(APP_PLAN, "--quick", "for this command");
    REFUSED(APP_RUN, "--zzzzzzzz", "--help");
    REFUSED(APP_RUN, "-c", "needs a value, N");
    write_config("ctx_size = 5\n");
    REFUSED(APP_RUN, "", "did you mean ctx-size?");
    write_config("just words\n");
    REFUSED(APP_RUN, "", "config:1");
    write_config("quick = on\n"); /* doctor's: one file serves all commands */
    app_flags f;
    CHECK_OK(parse(&f, APP_RUN, 2, ""));
    app_flags_deinit(&f);
    write_config("");
    REFUSED(APP_RUN, "--config|/no/such/file", "/no/such/file");
}

TEST(numbers_are_checked) {
    REFUSED(APP_RUN, "--top-p|1.5", "--top-p must be from 0 to 1, not 1.5");
    REFUSED(APP_RUN, "--top-p|nan", "number");
    REFUSED(APP_RUN, "--temp|warm", "--temp needs a number, not \"warm\"");
    REFUSED(APP_RUN, "-t|0", "from 1 to 1024");
    REFUSED(APP_RUN, "-t|2.5", "whole number");
    REFUSED(APP_RUN, "-c|99999999999", "-c must be from 0 to 2147483647, not 99999999999");
    REFUSED(APP_RUN, "--ram|8Q", "--ram");
    REFUSED(APP_RUN, "--ram|0", "at least 1");
    REFUSED(APP_RUN, "--kv|f64", "f16 f32");
    REFUSED(APP_RUN, "--seed|-2", "at least -1");
    REFUSED(APP_RUN, "-c|-1", "at least 0");
    REFUSED(APP_BENCH, "-t|1,,2", "whole number");
    setenv("MOPED_TOP_P", "2", 1);
    REFUSED(APP_RUN, "", "MOPED_TOP_P must be from 0 to 1");
    unsetenv("MOPED_TOP_P");
}

TEST(biases) {
    int32_t token;
    float bias;
    CHECK_OK(app_bias_parse("15043+1.5", &token, &bias));
    CHECK_EQ(token, 15043);
    CHECK_NEAR(bias, 1.5, 0);
    CHECK_OK(app_bias_parse("0-inf", &token, &bias));
    CHECK(isinf(bias) && bias < 0);
    static const char *const BAD[] = {"", "5", "+1", "x+1", "5+", "5*2", "-5+1", "5+1x", "5+nan", "99999999999+1"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        CHECK_EQ(app_bias_parse(BAD[i], &token, &bias), MP_E_USAGE);
        CHECK_EQ(token, 0);
    }
}

TEST(distances) {
    CHECK_EQ(app_distance("temp", "temp"), 0);
    CHECK_EQ(app_distance("tmep", "temp"), 1); /* a swap is one slip */
    CHECK_EQ(app_distance("tem", "temp"), 1);
    CHECK_EQ(app_distance("", "temp"), 4);
    CHECK_EQ(app_distance("kitten", "sitting"), 3);
}

/* Each name must be findable by each of its spellings, for each of its commands, and mean one flag only. */
TEST(the_table_is_sound) {
    const app_flag *f, *g;
    bool seen[F_COUNT] = {false};
    for (size_t i = 0; (f = app_flag_at(i)) != NULL; i++) {
        CHECK(!seen[f->id]);
        seen[f->id] = true;
        char list[128], *rest = list, *word;
        snprintf(list, sizeof list, "--%s %s", f->name, f->aliases);
        while ((word = strsep(&rest, " ")) != NULL)
            for (unsigned c = 1; *word && c <= APP_ALL; c <<= 1)
                if ((f->commands & c) && app_flag_find(c, word) != f) printf("  %s means two things for command %u\n", word, c), CHECK(false);
        for (size_t k = i + 1; (g = app_flag_at(k)) != NULL; k++) CHECK(strcmp(f->name, g->name) != 0 || !(f->commands & g->commands));
    }
    for (int i = 0; i < F_COUNT; i++) CHECK(seen[i]);
}

TEST(help_and_dry_run_name_every_flag) {
    char *text = NULL;
    size_t n = 0;
    app_flags f;
    FILE *to = open_memstream(&text, &n);
    CHECK_OK(parse(&f, APP_RUN, 2, "--temp|0.5"));
    app_help_flags(to, APP_RUN);
    fputs("\f", to);
    app_help_dry_run(to, &f);
    fclose(to);
    const app_flag *flag;
    for (size_t i = 0; (flag = app_flag_at(i)) != NULL; i++) {
        char name[64];
        snprintf(name, sizeof name, "--%s", flag->name);
        if (flag->commands == APP_RUN) CHECK(strstr(text, name) != NULL);
    }
    CHECK(strstr(strchr(text, '\f'), "flag --temp") != NULL);
    free(text);
    app_flags_deinit(&f);
}

/* roff writes a dash of a name as "\-". */
TEST(the_man_page_names_every_flag) {
    FILE *f = fopen(MOPED_SOURCE_DIR "/docs/man/moped.1", "r");
    REQUIRE(f != NULL);
    char *page = calloc(1, 1 << 20);
    REQUIRE(page != NULL && fread(page, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    const app_flag *flag;
    for (size_t i = 0; (flag = app_flag_at(i)) != NULL; i++) {
        char name[128] = "\\-\\-";
        for (const char *c = flag->name; *c; c++) {
            size_t n = strlen(name);
            snprintf(name + n, sizeof name - n, "%s%c", *c == '-' ? "\\" : "", *c);
        }
        if (!strstr(page, name)) printf("  the page lacks %s\n", name), CHECK(false);
    }
    free(page);
}

int main(void) {
    char path[128];
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/moped", folder);
    if (mkdir(path, 0700) != 0) return 1;
    setenv("XDG_CONFIG_HOME", folder, 1);
    write_config("");
    RUN(nothing_given_is_all_defaults);
    RUN(short_long_and_equals_are_the_same);
    RUN(words_without_a_dash);
    RUN(values_may_begin_with_a_dash);
    RUN(one_name_means_what_its_command_says);
    RUN(flag_beats_variable_beats_file);
    RUN(repeated_flags_add_up_within_one_source);
    RUN(switches);
    RUN(what_is_not_known_is_refused_with_the_nearest);
    RUN(numbers_are_checked);
    RUN(biases);
    RUN(distances);
    RUN(the_table_is_sound);
    RUN(help_and_dry_run_name_every_flag);
    RUN(the_man_page_names_every_flag);
    snprintf(path, sizeof path, "%s/moped/config", folder);
    remove(path);
    *strrchr(path, '/') = '\0';
    remove(path);
    remove(folder);
    return test_done();
}
