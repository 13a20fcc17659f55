/* A plot of a few lines over one axis: SVG by hand, PNG through cairo where the build found it. */
#ifndef APP_PLOT_H
#define APP_PLOT_H

#include "base/err.h"

typedef struct app_plot_line {
    const char   *name;
    const double *y;      /* [n_x] */
    int           dashed;
} app_plot_line;

typedef struct app_plot {
    const char          *title, *x_label, *y_label;
    const double        *x;     /* [n_x], ascending */
    int                  n_x;
    const app_plot_line *lines; /* [n_lines], at most APP_PLOT_LINES */
    int                  n_lines;
    double               x_max, y_max; /* both axes begin at 0 and have a tick every tenth */
} app_plot;

enum { APP_PLOT_LINES = 10 };

/* MP_E_USAGE when path can't be drawn: it ends in neither .svg nor .png, or in .png and this build has no cairo. For asking before the work. */
mp_err app_plot_check(const char *path);
/* Errors: as above; MP_E_FAILED when it cannot be written. */
mp_err app_plot_write(const char *path, const app_plot *plot);
#endif
