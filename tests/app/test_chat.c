/* The chat: prompts through a template, and the terminal. */
#include "support/cli.h"

static long long count_of(const char *line) {
    json_t *o = OBJECT(line, 0);
    long long n = (long long)json_array_size(json_object_get(o, "tokens"));
    json_decref(o);
    return n;
}

/* A prompt is the user's turn of the template, with the system's before it; --no-chat leaves it as it is. */
TEST(prompts_go_through_the_template) {
    static const struct { const char *flags, *rendered; } CASES[] = {
        {"", "<user>hello<answer>"},
        {"-sys|be nice", "<system>be nice<user>hello<answer>"},
        {"--thinking|off", "<user>hello<answer>[False]"},
        {"--thinking|on", "<user>hello<answer>[True]"},
        {"--no-chat", "hello"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        json_t *o = OBJECT(text("run|%s|-p|hello|-n|1|--json|%s", cli_chatty(), CASES[i].flags), 0);
        CHECK_EQ(int_at(o, "prompt_tokens"), count_of(text("tokenize|%s|-p|%s|--json", cli_chatty(), CASES[i].rendered)));
        json_decref(o);
    }
    FAILS(text("run|%s|-p|''", cli_chatty()), 2, "empty");
}

/* Two turns, of which the second reuses the first; saving, clearing, loading, and answering again. */
TEST(a_chat_of_several_turns) {
    enum { SEEN = 1 << 18 };
    char *seen = calloc(1, SEEN), path[128];
    static const struct { const char *type, *want; } SAID[] = {
        {"thin\\\rthing\r", "\n> "}, {"/stats\r", "(0 reused)"}, {"and then\r", "\n> "}, {"/stats\r", "finish: length"},
        {"/save %s\r", "> "}, {"/clear\r", "> "}, {"/load %s\r", "4 turns"}, {"/regen\r", "\n> "}, {"/save %s\r", "> "},
        {"/set top-p 7\r", "must be from 0 to 1"}, {"/set ram 1G\r", "fixed"}, {"/load /no/such\r", "cannot open"},
    };
    proc p;
    snprintf(path, sizeof path, "%s/chat.json", cli_folder());
    REQUIRE(seen && proc_start_terminal(MOPED_PROGRAM, text("run|%s|-n|4|--ignore-eos|-s|3", cli_chatty()), &p));
    CHECK(proc_expect(&p, "> ", seen, SEEN));
    for (size_t i = 0; i < sizeof SAID / sizeof *SAID; i++) {
        char line[256];
        const char *at = strstr(SAID[i].type, "%s");
        snprintf(line, sizeof line, "%.*s%s%s", (int)(at ? at - SAID[i].type : (long)strlen(SAID[i].type)), SAID[i].type, at ? path : "", at ? at + 2 : "");
        CHECK(proc_type(&p, line));
        if (!proc_expect(&p, SAID[i].want, seen, SEEN)) printf("  after %s: %s\n", SAID[i].type, seen), CHECK(false);
    }
    CHECK(proc_type(&p, "/bye\r"));
    while (proc_more(&p, seen, SEEN)) {}
    proc_result r = proc_finish(&p);
    CHECK_EQ(r.code, 0);
    proc_free(&r);
    json_t *o = json_load_file(path, 0, NULL), *messages = json_object_get(o, "messages");
    CHECK_EQ(json_array_size(messages), 4);
    CHECK_STR(json_string_value(json_object_get(json_array_get(messages, 0), "content")), "thin\nthing");
    CHECK_STR(json_string_value(json_object_get(json_array_get(messages, 3), "role")), "assistant");
    json_decref(o);
    free(seen);
}

/* The chat, on a terminal: answers, commands, and Ctrl-C, which stops an answer (an endless one here) and not the program. */
TEST(a_chat_on_a_terminal) {
    enum { SEEN = 1 << 20 };
    char *seen = calloc(1, SEEN);
    proc p;
    REQUIRE(seen && proc_start_terminal(MOPED_PROGRAM, text("run|%s|-c|64|--ignore-eos|--context-shift", cli_tiny("mixtral")), &p));
    CHECK(proc_expect(&p, "ready", seen, SEEN)); /* on a terminal the load is told */
    CHECK(proc_expect(&p, "> ", seen, SEEN));
    CHECK(proc_type(&p, "/set temp 0.5\r"));
    CHECK(proc_expect(&p, "> ", seen, SEEN));
    CHECK(proc_type(&p, "/nonsense\r"));
    CHECK(proc_expect(&p, "/help lists", seen, SEEN));
    CHECK(proc_expect(&p, "> ", seen, SEEN)); /* typed earlier, the terminal itself would echo it, and the wait below be over too soon */
    CHECK(proc_type(&p, "the thin\r"));
    CHECK(proc_expect(&p, "the thin\r\n", seen, SEEN));
    for (int i = 0; i < 5; i++) CHECK(proc_more(&p, seen, SEEN)); /* let it say something */
    CHECK(proc_type(&p, "\x03"));
    CHECK(proc_expect(&p, "\n> ", seen, SEEN));
    CHECK(proc_type(&p, "/stats\r"));
    CHECK(proc_expect(&p, "finish: cancelled", seen, SEEN));
    CHECK(proc_expect(&p, "> ", seen, SEEN));
    CHECK(proc_type(&p, "/bye\r"));
    while (proc_more(&p, seen, SEEN)) {}
    proc_result r = proc_finish(&p);
    CHECK_EQ(r.code, 0);
    proc_free(&r);
    char history[128];
    snprintf(history, sizeof history, "%s/STATE/moped/history", cli_folder());
    CHECK(access(history, R_OK) == 0);
    free(seen);
}

/* At an empty prompt Ctrl-C leaves when it comes twice, and Ctrl-D at once. */
TEST(leaving_a_chat) {
    static const char *const KEYS[] = {"\x03", "\x04"};
    for (int i = 0; i < 2; i++) {
        char seen[16384] = "";
        proc p;
        REQUIRE(proc_start_terminal(MOPED_PROGRAM, text("run|%s", cli_tiny("mixtral")), &p));
        CHECK(proc_expect(&p, "> ", seen, sizeof seen));
        CHECK(proc_type(&p, KEYS[i]));
        if (i == 0) {
            CHECK(proc_expect(&p, "again to leave", seen, sizeof seen));
            CHECK(proc_expect(&p, "> ", seen, sizeof seen));
            CHECK(proc_type(&p, KEYS[i]));
        }
        while (proc_more(&p, seen, sizeof seen)) {}
        proc_result r = proc_finish(&p);
        CHECK_EQ(r.code, 0);
        proc_free(&r);
    }
}

/* A chat that outgrows its context says so and can start anew; with --context-shift the oldest turns go instead. */
TEST(a_chat_that_outgrows_its_context) {
    enum { SEEN = 1 << 16, TURNS = 8 };
    for (int shift = 0; shift < 2; shift++) {
        char *seen = calloc(1, SEEN);
        proc p;
        const char *line = text("run|%s|-c|96|-n|8|--ignore-eos|-s|1%s", cli_chatty(), shift ? "|--context-shift" : "");
        REQUIRE(seen && proc_start_terminal(MOPED_PROGRAM, line, &p));
        CHECK(proc_expect(&p, "> ", seen, SEEN));
        for (int i = 0; i < TURNS; i++) {
            CHECK(proc_type(&p, "hello\r"));
            CHECK(proc_expect(&p, "hello\r\n", seen, SEEN));
            CHECK(proc_expect(&p, "\n> ", seen, SEEN));
        }
        CHECK((strstr(seen, "/clear starts anew") == NULL) == (shift == 1));
        CHECK(proc_type(&p, "/clear\r") && proc_expect(&p, "> ", seen, SEEN));
        CHECK(proc_type(&p, "hello\r") && proc_expect(&p, "\n> ", seen, SEEN));
        CHECK(proc_type(&p, "/stats\r") && proc_expect(&p, "finish: length", seen, SEEN));
        CHECK(proc_type(&p, "/bye\r"));
        while (proc_more(&p, seen, SEEN)) {}
        proc_result r = proc_finish(&p);
        CHECK_EQ(r.code, 0);
        proc_free(&r);
        free(seen);
    }
}

int main(void) {
    if (!cli_open(MOPED_PROGRAM)) return 77;
    RUN(prompts_go_through_the_template);
    RUN(a_chat_of_several_turns);
    RUN(a_chat_on_a_terminal);
    RUN(leaving_a_chat);
    RUN(a_chat_that_outgrows_its_context);
    cli_close();
    return test_done();
}
