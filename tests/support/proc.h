/* Running the program as a person would: arguments, standard input, signals; then its exit code and what it wrote. */
#ifndef MP_TESTS_PROC_H
#define MP_TESTS_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct proc_result {
    int    code;       /* exit code; 128 + signal when one killed it */
    char  *out, *err;  /* NUL behind them; proc_free */
    size_t n_out, n_err;
} proc_result;

/* Runs argv[0] with argv (NULL at its end); input may be NULL (empty). Never returns with out or err NULL. */
proc_result proc_run(char *const *argv, const char *input);
void        proc_free(proc_result *r);

/* The same with words separated by '|' after the program; an empty word is written "''". */
proc_result proc_line(const char *program, const char *line, const char *input);

/* A program under way, its stdout a pipe: for signals and for readers that leave. */
typedef struct proc {
    pid_t  pid;
    int    out;   /* read end of its stdout, or its terminal */
    size_t found; /* of what a terminal showed: how much proc_expect has dealt with */
} proc;
/* pending: a signal that is blocked and waiting when the program starts; 0: none. */
bool        proc_start(const char *program, const char *line, int pending, proc *out);
size_t      proc_read(proc *p, char *text, size_t room, size_t least); /* waits for at least `least` bytes or the end */
proc_result proc_finish(proc *p);                                      /* closes the pipe, waits; out is empty */

/* The same on a terminal of its own. */
bool   proc_start_terminal(const char *program, const char *line, proc *out);
bool   proc_type(proc *p, const char *text);
/* Reads what the terminal shows; false when it was closed, nothing came for 20 s, or seen (which keeps everything) is full. */
bool   proc_more(proc *p, char *seen, size_t room);
/* The same until what comes after what earlier calls found contains `want`. */
bool   proc_expect(proc *p, const char *want, char *seen, size_t room);
#endif
