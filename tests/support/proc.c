/* Running the program as a person would. */
#include "support/proc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 64, PATIENCE_MS = 20000 };

/* An open file without a name, for what a child reads or writes. */
static int scratch_file(void) {
    char path[] = "/tmp/moped-test-XXXXXX";
    int fd = mkstemp(path);
    if (fd >= 0) unlink(path);
    return fd;
}

static char *slurp(int fd, size_t *n) {
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)(size > 0 ? size : 0) + 1);
    *n = 0;
    if (text && size > 0) {
        ssize_t k = pread(fd, text, (size_t)size, 0);
        *n = k > 0 ? (size_t)k : 0;
    }
    return text;
}

static int wait_code(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

proc_result proc_run(char *const *argv, const char *input) {
    proc_result r = {.code = -1};
    int in = scratch_file(), out = scratch_file(), err = scratch_file();
    if (input && write(in, input, strlen(input)) < 0) perror("write");
    lseek(in, 0, SEEK_SET);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in, 0);
        dup2(out, 1);
        dup2(err, 2);
        execv(argv[0], argv);
        _exit(127);
    }
    r.code = wait_code(pid);
    r.out = slurp(out, &r.n_out);
    r.err = slurp(err, &r.n_err);
    close(in);
    close(out);
    close(err);
    return r;
}

void proc_free(proc_result *r) {
    free(r->out);
    free(r->err);
    *r = (proc_result){0};
}

/* Cuts copy at '|' into argv; returns it. */
static char **words_of(const char *program, char *copy, char **argv) {
    int n = 0;
    char *rest = copy, *word;
    argv[n++] = (char *)(size_t)program;
    while (n < WORDS - 1 && (word = strsep(&rest, "|")) != NULL)
        if (*word) argv[n++] = strcmp(word, "''") == 0 ? word + 2 : word;
    argv[n] = NULL;
    return argv;
}

proc_result proc_line(const char *program, const char *line, const char *input) {
    char *argv[WORDS], *copy = strdup(line);
    proc_result r = proc_run(words_of(program, copy, argv), input);
    free(copy);
    return r;
}

/* In the child: takes the words apart and becomes the program. */
static void become(const char *program, const char *line) {
    char *argv[WORDS], *copy = strdup(line);
    execv(program, words_of(program, copy, argv));
    _exit(127);
}

bool proc_start(const char *program, const char *line, int pending, proc *out) {
    int ends[2];
    *out = (proc){.pid = -1, .out = -1};
    if (pipe(ends) != 0) return false;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(ends[1], 1);
        dup2(null, 2);
        close(ends[0]);
        close(ends[1]);
        if (pending) {
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, pending);
            sigprocmask(SIG_BLOCK, &set, NULL);
            raise(pending);
        }
        become(program, line);
    }
    close(ends[1]);
    out->pid = pid;
    out->out = ends[0];
    return pid > 0;
}

size_t proc_read(proc *p, char *text, size_t room, size_t least) {
    size_t n = 0;
    while (n < least && n + 1 < room) {
        ssize_t k = read(p->out, text + n, room - 1 - n);
        if (k <= 0) break;
        n += (size_t)k;
    }
    text[n] = '\0';
    return n;
}

proc_result proc_finish(proc *p) {
    proc_result r = {.code = -1, .out = calloc(1, 1), .err = calloc(1, 1)};
    close(p->out);
    r.code = wait_code(p->pid);
    return r;
}

bool proc_start_terminal(const char *program, const char *line, proc *out) {
    *out = (proc){.pid = -1, .out = posix_openpt(O_RDWR | O_NOCTTY)};
    if (out->out < 0 || grantpt(out->out) != 0 || unlockpt(out->out) != 0) return false;
    char *name = ptsname(out->out);
    if (!name) return false;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        int fd = open(name, O_RDWR);
        ioctl(fd, TIOCSCTTY, 0);
        dup2(fd, 0);
        dup2(fd, 1);
        dup2(fd, 2);
        close(out->out);
        setenv("TERM", "vt100", 1);
        become(program, line);
    }
    out->pid = pid;
    return pid > 0;
}

bool proc_type(proc *p, const char *text) {
    return write(p->out, text, strlen(text)) == (ssize_t)strlen(text);
}

bool proc_more(proc *p, char *seen, size_t room) {
    size_t n = strlen(seen);
    struct pollfd wait = {.fd = p->out, .events = POLLIN};
    if (n + 1 >= room || poll(&wait, 1, PATIENCE_MS) <= 0) return false;
    ssize_t k = read(p->out, seen + n, room - 1 - n);
    for (ssize_t i = 0; i < k; i++)
        if (seen[n + (size_t)i] == '\0') seen[n + (size_t)i] = '?'; /* a model may say NUL */
    if (k > 0) seen[n + (size_t)k] = '\0';
    return k > 0;
}

bool proc_expect(proc *p, const char *want, char *seen, size_t room) {
    for (;;) {
        const char *at = strstr(seen + p->found, want);
        if (at) return p->found = (size_t)(at - seen) + strlen(want), true;
        if (!proc_more(p, seen, room)) return false;
    }
}
