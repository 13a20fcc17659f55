/* Plots. One piece of drawing code over a canvas of three calls; the canvas is an SVG file or cairo's image. */
#include "app/plot.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#ifdef MOPED_HAVE_CAIRO
#include <cairo.h>
#endif

enum { WIDTH = 900, HEIGHT = 560, LEFT = 80, RIGHT = 170, TOP = 56, BOTTOM = 64, TICKS = 10, PNG_SCALE = 2 };

typedef enum anchor { START, MIDDLE, END } anchor;
typedef struct style {
    unsigned rgb;
    double   width; /* of lines; size of text */
    bool     dashed, upright, bold;
    anchor   anchor;
} style;

typedef struct canvas canvas;
struct canvas {
    void (*line)(canvas *c, const double (*points)[2], int n, style s);
    void (*dot)(canvas *c, double x, double y, style s);
    void (*text)(canvas *c, double x, double y, const char *text, style s);
    FILE *svg;
    void *cairo;
};

/* Okabe and Ito's colours, which can be told apart by everybody; grey for what goes beyond. */
static const unsigned COLOURS[APP_PLOT_LINES] = {0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7, 0xe69f00, 0x000000, 0x56b4e9, 0x7f7f7f, 0x999933, 0x882255};

/* ---- SVG ---- */

static void svg_line(canvas *c, const double (*points)[2], int n, style s) {
    fprintf(c->svg, "<polyline fill=\"none\" stroke=\"#%06x\" stroke-width=\"%g\"%s points=\"", s.rgb, s.width, s.dashed ? " stroke-dasharray=\"7 4\"" : "");
    for (int i = 0; i < n; i++) fprintf(c->svg, "%s%.1f,%.1f", i ? " " : "", points[i][0], points[i][1]);
    fputs("\"/>\n", c->svg);
}

static void svg_dot(canvas *c, double x, double y, style s) {
    fprintf(c->svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%g\" fill=\"#%06x\"/>\n", x, y, s.width, s.rgb);
}

static void svg_text(canvas *c, double x, double y, const char *text, style s) {
    static const char *const ANCHORS[] = {"start", "middle", "end"};
    fprintf(c->svg, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%g\" fill=\"#%06x\" text-anchor=\"%s\"%s", x, y, s.width, s.rgb, ANCHORS[s.anchor],
            s.bold ? " font-weight=\"bold\"" : "");
    if (s.upright) fprintf(c->svg, " transform=\"rotate(-90 %.1f %.1f)\"", x, y);
    fputc('>', c->svg);
    for (; *text; text++) {
        if (*text == '<') fputs("&lt;", c->svg);
        else if (*text == '&') fputs("&amp;", c->svg);
        else if ((unsigned char)*text >= ' ') fputc(*text, c->svg); /* control characters are not XML */
    }
    fputs("</text>\n", c->svg);
}

/* ---- the plot ---- */

static double at_x(const app_plot *p, double x) {
    return LEFT + (WIDTH - LEFT - RIGHT) * x / p->x_max;
}

static double at_y(const app_plot *p, double y) {
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / p->y_max;
}

static void draw_axes(const app_plot *p, canvas *c) {
    const style grid = {.rgb = 0xdddddd, .width = 1}, axis = {.rgb = 0x333333, .width = 1.5}, label = {.rgb = 0x333333, .width = 13, .anchor = MIDDLE};
    style number = label;
    for (int i = 0; i <= TICKS; i++) {
        char text[32];
        double x = at_x(p, p->x_max * i / TICKS), y = at_y(p, p->y_max * i / TICKS);
        c->line(c, (const double[][2]){{x, TOP}, {x, HEIGHT - BOTTOM}}, 2, grid);
        c->line(c, (const double[][2]){{LEFT, y}, {WIDTH - RIGHT, y}}, 2, grid);
        snprintf(text, sizeof text, "%g", p->x_max * i / TICKS);
        number.anchor = MIDDLE;
        c->text(c, x, HEIGHT - BOTTOM + 20, text, number);
        snprintf(text, sizeof text, "%g", p->y_max * i / TICKS);
        number.anchor = END;
        c->text(c, LEFT - 8, y + 4, text, number);
    }
    c->line(c, (const double[][2]){{LEFT, TOP}, {LEFT, HEIGHT - BOTTOM}, {WIDTH - RIGHT, HEIGHT - BOTTOM}}, 3, axis);
    c->text(c, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 18, p->x_label, label);
    number = label;
    number.upright = true;
    c->text(c, 26, (TOP + HEIGHT - BOTTOM) / 2.0, p->y_label, number);
    c->text(c, LEFT, 32, p->title, (style){.rgb = 0x111111, .width = 16, .bold = true});
}

static void draw_lines(const app_plot *p, canvas *c) {
    double points[256][2];
    for (int l = 0; l < p->n_lines; l++) {
        style s = {.rgb = COLOURS[l % APP_PLOT_LINES], .width = 2.2, .dashed = p->lines[l].dashed}, dot = {.rgb = s.rgb, .width = 3};
        int n = p->n_x < 256 ? p->n_x : 256;
        for (int i = 0; i < n; i++) {
            points[i][0] = at_x(p, p->x[i]);
            points[i][1] = at_y(p, p->lines[l].y[i]);
            c->dot(c, points[i][0], points[i][1], dot);
        }
        c->line(c, (const double (*)[2])points, n, s);
        double y = TOP + 12 + 24 * l, x = WIDTH - RIGHT + 20;
        c->line(c, (const double[][2]){{x, y}, {x + 32, y}}, 2, s);
        c->dot(c, x + 16, y, dot);
        c->text(c, x + 40, y + 5, p->lines[l].name, (style){.rgb = 0x111111, .width = 14});
    }
}

static mp_err write_svg(const char *path, const app_plot *p) {
    canvas c = {.line = svg_line, .dot = svg_dot, .text = svg_text, .svg = fopen(path, "w")};
    if (!c.svg) return mp_fail(MP_E_FAILED, "%s cannot be written: %s", path, strerror(errno));
    fprintf(c.svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n", WIDTH, HEIGHT, WIDTH, HEIGHT);
    draw_axes(p, &c);
    draw_lines(p, &c);
    fputs("</svg>\n", c.svg);
    bool bad = ferror(c.svg) != 0;
    if (fclose(c.svg) != 0 || bad) return mp_fail(MP_E_FAILED, "%s cannot be written: %s", path, strerror(errno));
    return MP_OK;
}

/* ---- PNG ---- */

#ifdef MOPED_HAVE_CAIRO
static void set_colour(cairo_t *cr, unsigned rgb) {
    cairo_set_source_rgb(cr, (rgb >> 16 & 255) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0);
}

static void png_line(canvas *c, const double (*points)[2], int n, style s) {
    static const double DASH[] = {7, 4};
    cairo_t *cr = c->cairo;
    set_colour(cr, s.rgb);
    cairo_set_line_width(cr, s.width);
    cairo_set_dash(cr, DASH, s.dashed ? 2 : 0, 0);
    cairo_new_path(cr); /* text leaves a point behind */
    for (int i = 0; i < n; i++) cairo_line_to(cr, points[i][0], points[i][1]);
    cairo_stroke(cr);
}

static void png_dot(canvas *c, double x, double y, style s) {
    cairo_t *cr = c->cairo;
    set_colour(cr, s.rgb);
    cairo_new_path(cr);
    cairo_arc(cr, x, y, s.width, 0, 6.2831853);
    cairo_fill(cr);
}

static void png_text(canvas *c, double x, double y, const char *text, style s) {
    cairo_t *cr = c->cairo;
    cairo_text_extents_t e;
    /* cairo's own strokes: the same picture everywhere, also where no fonts are */
    cairo_select_font_face(cr, "@cairo:", CAIRO_FONT_SLANT_NORMAL, s.bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, s.width);
    cairo_text_extents(cr, text, &e);
    set_colour(cr, s.rgb);
    cairo_save(cr);
    cairo_translate(cr, x, y);
    if (s.upright) cairo_rotate(cr, -1.5707963);
    cairo_move_to(cr, s.anchor == MIDDLE ? -e.x_advance / 2 : s.anchor == END ? -e.x_advance : 0, 0);
    cairo_show_text(cr, text);
    cairo_restore(cr);
}

static mp_err write_png(const char *path, const app_plot *p) {
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH * PNG_SCALE, HEIGHT * PNG_SCALE);
    canvas c = {.line = png_line, .dot = png_dot, .text = png_text, .cairo = cairo_create(surface)};
    cairo_scale(c.cairo, PNG_SCALE, PNG_SCALE);
    set_colour(c.cairo, 0xffffff);
    cairo_paint(c.cairo);
    draw_axes(p, &c);
    draw_lines(p, &c);
    cairo_status_t status = cairo_status(c.cairo);
    if (status == CAIRO_STATUS_SUCCESS) status = cairo_surface_write_to_png(surface, path);
    cairo_destroy(c.cairo);
    cairo_surface_destroy(surface);
    return status == CAIRO_STATUS_SUCCESS ? MP_OK : mp_fail(MP_E_FAILED, "%s cannot be written: %s", path, cairo_status_to_string(status));
}
#else
static mp_err write_png(const char *path, const app_plot *p) {
    (void)p;
    return mp_fail(MP_E_USAGE, "%s: this build draws no PNG (cairo was not there); give a file that ends in .svg", path);
}
#endif

static bool ends(const char *path, const char *end) {
    size_t n = strlen(path), k = strlen(end);
    return n > k && strcmp(path + n - k, end) == 0;
}

mp_err app_plot_check(const char *path) {
#ifndef MOPED_HAVE_CAIRO
    if (ends(path, ".png")) return write_png(path, NULL);
#endif
    if (ends(path, ".svg") || ends(path, ".png")) return MP_OK;
    return mp_fail(MP_E_USAGE, "a plot is a file that ends in .svg or .png, not \"%s\"", path);
}

mp_err app_plot_write(const char *path, const app_plot *plot) {
    mp_err e = app_plot_check(path);
    if (e) return e;
    return ends(path, ".png") ? write_png(path, plot) : write_svg(path, plot);
}
