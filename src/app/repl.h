/* The chat on a terminal. */
#ifndef APP_REPL_H
#define APP_REPL_H

#include "app/answer.h"

/* Reads lines until /bye or Ctrl-D and answers them. Returns the program's exit code. */
int app_repl(app_runner *runner);
#endif
