/* What the tests of the program share. */
#include "support/cli.h"

#include <ftw.h>
#include <stdarg.h>

#include "support/gguf_edit.h"

static struct {
    char program[512], folder[64], chatty[128];
} cli;

bool cli_open(const char *program) {
    static const char *const KINDS[] = {"CONFIG", "STATE", "CACHE"};
    snprintf(cli.program, sizeof cli.program, "%s", program);
    snprintf(cli.folder, sizeof cli.folder, "/tmp/moped-test-cli-XXXXXX");
    if (access(program, X_OK) != 0 || !mkdtemp(cli.folder)) return printf("SKIPPED: %s is not built\n", program), false;
    for (int i = 0; i < 3; i++) setenv(text("XDG_%s_HOME", KINDS[i]), text("%s/%s", cli.folder, KINDS[i]), 1);
    return true;
}

const char *cli_folder(void) {
    return cli.folder;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)st, (void)kind, (void)where;
    return remove(path);
}

void cli_close(void) {
    if (*cli.folder) nftw(cli.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *text(const char *format, ...) {
    static char ring[8][2048];
    static int at;
    va_list args;
    at = (at + 1) % 8;
    va_start(args, format);
    vsnprintf(ring[at], sizeof ring[at], format, args);
    va_end(args);
    return ring[at];
}

const char *cli_tiny(const char *name) {
    return text(MOPED_SOURCE_DIR "/tests/golden/tiny/%s.gguf", name);
}

const char *cli_stories(void) {
    static char path[512];
    return test_shared("data/llama2c/stories260K.gguf", path, sizeof path) ? path : NULL;
}

const char *cli_chatty(void) {
    if (!*cli.chatty) {
        snprintf(cli.chatty, sizeof cli.chatty, "%s/chatty.gguf", cli.folder);
        ge *e = ge_read(cli_tiny("qwen3moe"));
        ge_set_str(e, "tokenizer.chat_template", "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
                                                 "{% if add_generation_prompt %}<answer>{% endif %}"
                                                 "{% if enable_thinking is defined %}[{{ enable_thinking }}]{% endif %}");
        ge_save(e, cli.chatty);
        ge_close(&e);
    }
    return cli.chatty;
}

void cli_write(const char *name, const char *content, char *path, size_t room) {
    snprintf(path, room, "%s/%s", cli.folder, name);
    FILE *f = fopen(path, "w");
    if (f) fputs(content, f), fclose(f);
}

proc_result moped(const char *line) {
    return proc_line(cli.program, line, NULL);
}

void cli_explain(const char *line, const proc_result *r) {
    printf("  moped %s\n  exit %d, stdout: %.300s\n  stderr: %.300s\n", line, r->code, r->out, r->err);
}

bool cli_fails(const char *line, int code, const char *part) {
    proc_result r = moped(line);
    bool sentence = strncmp(r.err, "moped: ", 7) == 0 && strstr(r.err, part) && strchr(r.err, '\n') == r.err + r.n_err - 1;
    bool ok = r.code == code && sentence;
    if (!ok) cli_explain(line, &r);
    proc_free(&r);
    return ok;
}

json_t *cli_object(const char *line, int code, const char *file, int at) {
    proc_result r = moped(line);
    json_t *o = json_loadb(r.out, r.n_out, JSON_ALLOW_NUL, NULL);
    bool ok = r.code == code && json_is_object(o);
    if (!ok) cli_explain(line, &r);
    (void)test_check(ok, line, file, at);
    proc_free(&r);
    return o;
}

const json_t *at_path(const json_t *o, const char *path) {
    char copy[128], *rest = copy, *key;
    snprintf(copy, sizeof copy, "%s", path);
    while ((key = strsep(&rest, ".")) != NULL) o = json_object_get(o, key);
    return o;
}

long long int_at(const json_t *o, const char *path) {
    return (long long)json_integer_value(at_path(o, path));
}

char *string_of(const char *line, const char *path) {
    json_t *o = OBJECT(line, 0);
    const char *s = json_string_value(at_path(o, path));
    char *copy = strdup(s ? s : "(none)");
    json_decref(o);
    return copy;
}
