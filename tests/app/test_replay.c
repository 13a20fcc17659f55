/* `moped experts replay`: what it prints, draws and refuses. */
#include <math.h>
#include <stdint.h>

#include "support/cli.h"

/* A trace of three layers of eight experts, two used, made of a small pattern; in the test's folder. */
static const char *trace(void) {
    static char path[512];
    snprintf(path, sizeof path, "%s/small.mtr", cli_folder());
    FILE *f = fopen(path, "wb");
    if (!f) return path;
    const uint32_t head[] = {3, 8, 2, 1, 1, 4, 5, 60}; /* layers, experts, used, bytes an id, sequences; name, prompt, tokens */
    fwrite("MTR1", 1, 4, f);
    fwrite(head, sizeof *head, 8, f);
    fwrite("made", 1, 4, f);
    for (int t = 0; t < 60; t++)
        for (int l = 0; l < 3; l++) {
            int a = (t * (l + 1) / 2) % 8;
            fputc(a, f);
            fputc((a + 1 + t % 3) % 8, f);
        }
    fclose(f);
    return path;
}

TEST(json_has_the_figures_of_every_run) {
    json_t *o = OBJECT(text("experts|replay|%s|--policy|lru|--slots|4|--json", trace()), 0);
    CHECK_EQ(int_at(o, "accesses"), 60 * 3 * 2);
    CHECK(int_at(o, "hits") > 0);
    CHECK_NEAR(json_number_value(at_path(o, "hit_rate")), (double)int_at(o, "hits") / (60 * 3 * 2), 1e-8);
    long long global = int_at(o, "hits");
    json_decref(o);
    o = OBJECT(text("experts|replay|%s|--policy|lru,oracle|--slots|2.5,4|--json", trace()), 0);
    const json_t *runs = at_path(o, "runs");
    CHECK_EQ(json_array_size(runs), 4);
    CHECK(at_path(o, "hit_rate") == NULL);
    CHECK_EQ(int_at(json_array_get(runs, 1), "hits"), global);
    CHECK(int_at(json_array_get(runs, 3), "hits") >= global);
    CHECK_EQ(int_at(json_array_get(runs, 0), "slots_total"), 8); /* 2.5 of three layers: 7.5 */
    json_decref(o);
    o = OBJECT(text("experts|replay|%s|--policy|lru|--slots|8|--scope|layer|--one-by-one|--json", trace()), 0);
    CHECK_EQ(int_at(o, "hits"), 60 * 3 * 2 - 3 * 8); /* all have room: each is missed once */
    json_decref(o);
}

TEST(a_table_of_all_policies) {
    proc_result r = moped(text("experts|replay|%s", trace()));
    CHECK_EQ(r.code, 0);
    CHECK(strstr(r.out, "3 layers of 8 experts") && strstr(r.out, "adaptive") && strstr(r.out, "lru") && strstr(r.out, "oracle"));
    CHECK_EQ(r.n_err, 0);
    proc_free(&r);
}

/* How often `part` is in the file; -1: no file. */
static int count_in(const char *path, const char *part) {
    static char bytes[1 << 20];
    FILE *f = fopen(path, "rb");
    if (!f) return -1;
    size_t n = fread(bytes, 1, sizeof bytes - 1, f);
    bytes[n] = '\0';
    fclose(f);
    int count = 0;
    for (const char *p = bytes; (p = strstr(p, part)) != NULL; p++) count++;
    return count;
}

TEST(draws_what_it_printed) {
    const char *path = text("%s/plot.svg", cli_folder());
    proc_result r = moped(text("experts|replay|%s|--policy|lru,lfu,oracle|--slots|1,2,4|--plot|%s", trace(), path));
    CHECK_EQ(r.code, 0);
    CHECK_EQ(count_in(path, "<svg"), 1);
    CHECK_EQ(count_in(path, "</svg>"), 1);
    CHECK_EQ(count_in(path, "<circle"), 3 * 3 + 3);  /* a dot for each figure and each name */
    CHECK_EQ(count_in(path, ">oracle<"), 1);
    CHECK_EQ(count_in(path, "hit rate, %"), 1);
    proc_free(&r);
    path = text("%s/plot.png", cli_folder());
    r = moped(text("experts|replay|%s|--slots|1,2,4|--plot|%s", trace(), path));
    if (r.code == 2) CHECK(strstr(r.err, "cairo") != NULL); /* built without it */
    else CHECK(r.code == 0 && count_in(path, "PNG") == 1);
    proc_free(&r);
}

TEST(refuses_with_a_sentence) {
    char path[512];
    FAILS("experts|replay", 2, "which trace");
    FAILS("experts|replay|/no/such/file.mtr", 2, "/no/such/file.mtr");
    FAILS(text("experts|replay|%s|--policy|lru,best", trace()), 2, "best");
    FAILS(text("experts|replay|%s|--slots|0", trace()), 2, "slots");
    FAILS(text("experts|replay|%s|--slots|2.5|--scope|layer", trace()), 2, "whole slots");
    FAILS(text("experts|replay|%s|--scope|both", trace()), 2, "scope");
    FAILS(text("experts|replay|%s|--plot|x.gif", trace()), 2, ".svg");
    FAILS(text("experts|replay|%s|--slots|2|--plot|%s/none/x.svg", trace(), cli_folder()), 1, "x.svg");
    cli_write("bad.mtr", "MTR1 and then nothing of use", path, sizeof path);
    FAILS(text("experts|replay|%s", path), 4, "");
}

int main(void) {
    if (!cli_open(MOPED_PROGRAM)) return 77;
    RUN(json_has_the_figures_of_every_run);
    RUN(a_table_of_all_policies);
    RUN(draws_what_it_printed);
    RUN(refuses_with_a_sentence);
    cli_close();
    return test_done();
}
