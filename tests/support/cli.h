/* What the tests of the program share: command lines, expected failures, JSON that it printed, and the models that it is tried with. */
#ifndef MP_TESTS_CLI_H
#define MP_TESTS_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "support/proc.h"
#include "test.h"

/* Makes a folder of its own for the test, under which the program finds its config, state and cache. False: the program is not built. */
bool        cli_open(const char *program);
const char *cli_folder(void);
void        cli_close(void); /* removes the folder and what the tests put there */

/* printf into one of a few buffers in turn: for building command lines ("run|model|-p|some text"). */
const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));

const char *cli_tiny(const char *name);  /* tests/golden/tiny/<name>.gguf */
const char *cli_stories(void);           /* the reference TinyStories model, or NULL when it is not here */
const char *cli_chatty(void);            /* a tiny model with a chat template: "<role>content" of each turn, "<answer>", "[enable_thinking]" */
void        cli_write(const char *name, const char *content, char *path, size_t room); /* a file in the folder */

proc_result moped(const char *line);
void        cli_explain(const char *line, const proc_result *r);

/* The exit code is `code` and stderr one sentence, which begins with "moped: " and holds `part`. */
bool cli_fails(const char *line, int code, const char *part);
#define FAILS(line, code, part) ((void)test_check(cli_fails(line, code, part), line, __FILE__, __LINE__))

/* What it prints must be exactly one JSON object; NULL when it is not. */
json_t *cli_object(const char *line, int code, const char *file, int at);
#define OBJECT(line, code) cli_object(line, code, __FILE__, __LINE__)
const json_t *at_path(const json_t *o, const char *path); /* "timings.load_ms" */
long long     int_at(const json_t *o, const char *path);
#define HAS_NUMBER(o, path) CHECK(json_is_number(at_path(o, path)))
/* One string of the object that a command prints; free it. */
char *string_of(const char *line, const char *path);
#endif
