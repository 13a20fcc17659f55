/* Ctrl-C and SIGTERM. A signal handler can only leave a note, so this file has the program's one mutable global. */
#include <signal.h>

#include "app/app.h"

static volatile sig_atomic_t pending; /* the note: SIGINT, SIGTERM or 0 */

static void remember(int signal_number) {
    if (pending != SIGTERM) pending = signal_number;
}

void app_signals_install(void) {
    sigset_t ours;
    struct sigaction note = {.sa_handler = remember}, ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&note.sa_mask); /* no SA_RESTART: a read of the terminal must come back */
    sigaction(SIGINT, &note, NULL);
    sigaction(SIGTERM, &note, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigprocmask(SIG_UNBLOCK, &ours, NULL); /* whoever started us may have blocked them */
}

int app_signal(void) {
    return pending;
}

void app_signal_forget(void) {
    if (pending == SIGINT) pending = 0;
}
