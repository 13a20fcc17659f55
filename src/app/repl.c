/* The chat on a terminal: line editing and history (libedit), commands that begin with a slash.
 *
 * Ctrl-C while an answer comes stops the answer. At a prompt it clears the line, and leaves when it comes twice. */
#include "app/repl.h"

#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "app/paths.h"
#include "base/size.h"

enum { HISTORY_LINES = 1000 };

typedef struct repl {
    app_runner *runner;
    EditLine   *edit;
    History    *history;
    char       *history_path; /* NULL: not kept */
    bool        more;         /* the line before ended with a backslash */
    bool        leave;
} repl;

static char *prompt(EditLine *edit) {
    static char first[] = "> ", next[] = ". ";
    repl *r = NULL;
    el_get(edit, EL_CLIENTDATA, &r);
    return r && r->more ? next : first;
}

/* Waits for a key. False when a signal came first: also one that came before the wait, which a plain read would sleep through. */
static bool wait_key(void) {
    sigset_t ours, before;
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigprocmask(SIG_BLOCK, &ours, &before);
    while (!app_signal() && ppoll(&in, 1, NULL, &before) < 0 && errno == EINTR) {}
    sigprocmask(SIG_SETMASK, &before, NULL);
    return !app_signal();
}

/* libedit's own reader goes on after a signal; this one gives the prompt back, so that Ctrl-C is seen. */
static int read_character(EditLine *edit, wchar_t *out) {
    mbstate_t state = {0};
    char byte;
    (void)edit;
    for (;;) {
        if (!wait_key()) return -1;
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n == 0) return 0;
        if (n < 0 && (errno != EINTR || app_signal())) return -1;
        if (n < 0) continue;
        size_t k = mbrtowc(out, &byte, 1, &state);
        if (k == (size_t)-2) continue; /* more bytes of it to come */
        if (k == (size_t)-1) *out = L'?';
        return 1;
    }
}

static bool open_editor(repl *r) {
    HistEvent event;
    r->edit = el_init("moped", stdin, stdout, stderr);
    r->history = history_init();
    if (!r->edit || !r->history) return false;
    history(r->history, &event, H_SETSIZE, HISTORY_LINES);
    history(r->history, &event, H_SETUNIQUE, 1);
    el_set(r->edit, EL_CLIENTDATA, r);
    el_set(r->edit, EL_PROMPT, prompt);
    el_set(r->edit, EL_EDITOR, "emacs");
    el_set(r->edit, EL_HIST, history, r->history);
    el_set(r->edit, EL_GETCFN, read_character);
    el_set(r->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    if (app_path(APP_DIR_STATE, "history", 1, &r->history_path) == MP_OK) history(r->history, &event, H_LOAD, r->history_path);
    return true;
}

static void close_editor(repl *r) {
    HistEvent event;
    if (r->history && r->history_path) history(r->history, &event, H_SAVE, r->history_path);
    if (r->history) history_end(r->history);
    if (r->edit) el_end(r->edit);
    free(r->history_path);
}

/* Appends a line to *text (n bytes), without its line end; false when out of memory. */
static bool append(char **text, size_t *n, const char *line, size_t k) {
    char *more = realloc(*text, *n + k + 2);
    if (!more) return false;
    memcpy(more + *n, line, k);
    more[*n + k] = '\0';
    *text = more;
    *n += k;
    return true;
}

/* One entry of the person, several lines if they end with a backslash. NULL: an end of input or a signal. Free it. */
static char *read_entry(repl *r) {
    char *text = NULL;
    size_t n = 0;
    r->more = false;
    for (;;) {
        int k = 0;
        HistEvent event;
        el_set(r->edit, EL_PREP_TERM, 1); /* before the prompt: a Ctrl-D typed between the prompt and the raw mode would be lost */
        const char *line = el_gets(r->edit, &k);
        if (!line || k <= 0) return free(text), NULL;
        if (line[k - 1] == '\n') k--;
        r->more = k > 0 && line[k - 1] == '\\';
        if (r->more) k--;
        if (!append(&text, &n, line, (size_t)k) || (r->more && !append(&text, &n, "\n", 1))) return free(text), NULL;
        if (r->more) continue;
        if (n > 0) history(r->history, &event, H_ENTER, text);
        return text;
    }
}

static void answer(repl *r) {
    app_runner *a = r->runner;
    mp_err e = app_answer(a);
    if (!a->wrote_newline) fputc('\n', stdout);
    fputc('\n', stdout);
    fflush(stdout);
    if (e && e != MP_E_CANCELLED) {
        fprintf(stderr, "moped: %s%s\n", mp_err_text(), e == MP_E_CONTEXT ? " (/clear starts anew; --context-shift goes on by itself)" : "");
        app_chat_pop(&a->chat);
        return;
    }
    if (!e && a->last.finish == MOPED_FINISH_CONTEXT)
        fprintf(stderr, "moped: the context of %d tokens is full: /clear starts anew, -c makes it larger, --context-shift goes on by itself\n",
                moped_model_plan(a->model)->ctx_tok);
    if (app_chat_add(&a->chat, "assistant", a->last.text, e ? 0 : a->last.n_text)) fprintf(stderr, "moped: %s\n", mp_err_text());
    app_signal_forget();
}

static void slash_help(repl *r, char *words) {
    (void)r, (void)words;
    puts("/stats             speed, experts and memory of the last answer\n"
         "/set NAME VALUE    change a flag of sampling or of the answer: /set temp 0.2\n"
         "/set               what they are now\n"
         "/save FILE         save the chat      /load FILE   take it up again\n"
         "/clear             start anew         /regen       answer the last question again\n"
         "/bye               leave (so does Ctrl-D)\n"
         "A line that ends with \\ goes on in the next one. Ctrl-C stops an answer.");
}

static void slash_stats(repl *r, char *words) {
    (void)words;
    app_answer_stats(stdout, r->runner);
}

/* Sampling and the answer may change while the model is loaded; memory and threads may not. */
static bool settable(app_flag_id id) {
    return (id >= F_TEMP && id <= F_THINKING) || id == F_SPECIAL || id == F_PREDICT;
}

static void print_settings(const app_flags *flags) {
    const app_flag *f;
    for (size_t i = 0; (f = app_flag_at(i)) != NULL; i++)
        if ((f->commands & APP_RUN) && settable(f->id))
            printf("  %-20s %s\n", f->name, app_text(flags, f->id) ? app_text(flags, f->id) : f->fallback);
}

static void slash_set(repl *r, char *words) {
    app_runner *a = r->runner;
    char *name = strsep(&words, " "), full[64];
    if (!name || !*name) {
        print_settings(a->flags);
        return;
    }
    snprintf(full, sizeof full, "--%s", name);
    const app_flag *f = app_flag_find(APP_RUN, full);
    mp_err e = MP_OK;
    if (!f)
        e = mp_fail(MP_E_USAGE, "there is no setting \"%s\"; /set lists them", name);
    else if (!settable(f->id))
        e = mp_fail(MP_E_USAGE, "%s is fixed while the model is loaded", name);
    else if (!words)
        e = mp_fail(MP_E_USAGE, "to what? /set %s VALUE", name);
    else
        e = app_flags_set(a->flags, f, words, APP_FROM_FLAG, name);
    if (e) fprintf(stderr, "moped: %s\n", mp_err_text());
    if (!e && f->id == F_THINKING) a->chat.thinking = strcmp(words, "on") == 0;
}

static void slash_save(repl *r, char *path) {
    mp_err e = path && *path ? app_chat_save(&r->runner->chat, path) : mp_fail(MP_E_USAGE, "where to? /save FILE");
    if (e) fprintf(stderr, "moped: %s\n", mp_err_text());
}

static void slash_load(repl *r, char *path) {
    mp_err e = path && *path ? app_chat_load(&r->runner->chat, path) : mp_fail(MP_E_USAGE, "what? /load FILE");
    if (e)
        fprintf(stderr, "moped: %s\n", mp_err_text());
    else
        printf("%zu turns\n", app_chat_turns(&r->runner->chat));
}

static void slash_clear(repl *r, char *words) {
    (void)words;
    app_chat_clear(&r->runner->chat);
}

static void slash_regen(repl *r, char *words) {
    (void)words;
    app_runner *a = r->runner;
    if (app_chat_turns(&a->chat) < 2) {
        fputs("moped: there is no answer yet\n", stderr);
        return;
    }
    app_chat_pop(&a->chat);
    a->rerolls++;
    answer(r);
}

static void slash_bye(repl *r, char *words) {
    (void)words;
    r->leave = true;
}

static void slash(repl *r, char *line) {
    static const struct { const char *name; void (*call)(repl *r, char *words); } WORDS[] = {
        {"/help", slash_help}, {"/?", slash_help}, {"/stats", slash_stats}, {"/set", slash_set}, {"/save", slash_save},
        {"/load", slash_load}, {"/clear", slash_clear}, {"/regen", slash_regen}, {"/bye", slash_bye}, {"/exit", slash_bye}, {"/quit", slash_bye}};
    char *words = line, *name = strsep(&words, " ");
    while (words && *words == ' ') words++;
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (strcmp(name, WORDS[i].name) == 0) {
            WORDS[i].call(r, words);
            return;
        }
    fprintf(stderr, "moped: there is no %s; /help lists what there is\n", name);
}

/* What to do when a line did not come: SIGTERM and the end of input leave, a second Ctrl-C in a row too. */
static void interrupted(repl *r, bool *warned) {
    bool typed = app_signal() != 0 && app_signal() != SIGTERM;
    fputc('\n', stdout);
    r->leave = !typed || *warned;
    if (typed && !*warned) fputs("(again to leave, or /bye)\n", stderr);
    *warned = typed;
    app_signal_forget();
    el_reset(r->edit);
}

int app_repl(app_runner *runner) {
    repl r = {.runner = runner};
    bool warned = false;
    if (!open_editor(&r)) return close_editor(&r), app_report(mp_fail(MP_E_FAILED, "the terminal cannot be edited"));
    if (runner->chat.raw) fputs("No chat template is in use: every line is a text of its own, and the model writes on from there.\n", stderr);
    fputs("/help lists what there is besides talking.\n", stderr);
    while (!r.leave) {
        char *entry = read_entry(&r);
        if (!entry) {
            interrupted(&r, &warned);
            continue;
        }
        warned = false;
        if (*entry == '/') {
            slash(&r, entry);
        } else if (*entry) {
            if (app_chat_add(&runner->chat, "user", entry, strlen(entry)) == MP_OK) answer(&r);
        }
        free(entry);
    }
    close_editor(&r);
    return app_signal() ? 128 + app_signal() : APP_EXIT_FINE;
}
