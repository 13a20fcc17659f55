/* What doctor remembers, and JSON for text that is none. */
#include <sys/stat.h>

#include "app/doctor/machine.h"
#include "app/json.h"
#include "app/paths.h"
#include "test.h"

static char folder[] = "/tmp/moped-test-machine-XXXXXX";

static app_machine measured(void) {
    app_machine m;
    app_machine_read(&m);
    m.ram_bps = 2e10;
    m.disk = (app_disk){.best_method = APP_READ_PREAD, .best_depth = 8, .best_bps = 3e9};
    app_device_of(folder, m.disk.device, sizeof m.disk.device);
    return m;
}

TEST(a_machine_has_a_processor_and_memory) {
    app_machine m;
    app_machine_read(&m);
    CHECK(m.cpus >= 1 && m.online >= m.cpus);
    CHECK(m.memory.total_bytes > 0);
    CHECK(*m.cpu != '\0');
    CHECK_EQ(m.n_gpus, 0); /* not asked for */
}

TEST(what_was_measured_is_found_again) {
    app_bandwidth known = {1, 1, ""};
    app_machine m = measured();
    app_machine_cached(folder, &known);
    CHECK_NEAR(known.ram_bps, 0, 0);
    CHECK_NEAR(known.disk_bps, 0, 0);
    CHECK_OK(app_machine_store(&m));
    app_machine_cached(folder, &known);
    CHECK_NEAR(known.ram_bps, 2e10, 1e5);
    CHECK_NEAR(known.disk_bps, 3e9, 1e4);
    app_machine_cached("/no/such/file", &known); /* another disk: memory is known all the same */
    CHECK_NEAR(known.ram_bps, 2e10, 1e5);
    CHECK_NEAR(known.disk_bps, 0, 0);
}

TEST(a_second_disk_joins_the_first) {
    app_bandwidth known;
    app_machine m = measured();
    snprintf(m.disk.device, sizeof m.disk.device, "999:1");
    m.disk.best_bps = 1e9;
    CHECK_OK(app_machine_store(&m));
    app_machine_cached(folder, &known);
    CHECK_NEAR(known.disk_bps, 3e9, 1e4);
}

/* A file that was just written says how fast, at most, but not how to read; and what a model's file said is not forgotten for it. */
TEST(fresh_files_choose_no_method) {
    app_bandwidth known;
    app_machine m = measured();
    m.disk.best_depth = 4;
    CHECK_OK(app_machine_store(&m));
    app_machine_cached(folder, &known);
    CHECK_STR(known.io, "pread:4");
    m.disk.fresh = true;
    m.disk.best_depth = 2;
    m.disk.best_bps = 9e9;
    CHECK_OK(app_machine_store(&m));
    app_machine_cached(folder, &known);
    CHECK_STR(known.io, "pread:4");
    CHECK_NEAR(known.disk_bps, 3e9, 1e4);
    char *path;
    REQUIRE(app_path(APP_DIR_CACHE, "doctor.json", 1, &path) == MP_OK);
    remove(path);
    free(path);
    CHECK_OK(app_machine_store(&m));
    app_machine_cached(folder, &known);
    CHECK_STR(known.io, "");
    CHECK_NEAR(known.disk_bps, 9e9, 1e4);
    m = measured();
    CHECK_OK(app_machine_store(&m)); /* the other way round */
    app_machine_cached(folder, &known);
    CHECK_STR(known.io, "pread:8");
    CHECK_NEAR(known.disk_bps, 3e9, 1e4);
}

/* A cache of an earlier version, which did not say what it measured with. */
TEST(old_caches_choose_no_method) {
    app_bandwidth known;
    app_machine m = measured();
    char *path;
    REQUIRE(app_path(APP_DIR_CACHE, "doctor.json", 1, &path) == MP_OK);
    FILE *f = fopen(path, "w");
    REQUIRE(f != NULL);
    fprintf(f, "{\"cpu\":\"%s\",\"cpus\":%d,\"ram_bps\":1e10,\"disks\":{\"%s\":{\"disk_bps\":3.9e9,\"method\":\"pread\",\"depth\":2}}}", m.cpu, m.cpus, m.disk.device);
    fclose(f);
    app_machine_cached(folder, &known);
    CHECK_STR(known.io, "");
    CHECK_NEAR(known.disk_bps, 3.9e9, 1e4);
    remove(path);
    free(path);
    CHECK_OK(app_machine_store(&m));
}

TEST(figures_of_another_machine_are_not_used) {
    app_bandwidth known;
    app_machine m = measured();
    m.cpus++;
    CHECK_OK(app_machine_store(&m));
    app_machine_cached(folder, &known);
    CHECK_NEAR(known.ram_bps, 0, 0);
}

TEST(a_broken_cache_is_no_cache) {
    app_bandwidth known;
    char *path;
    REQUIRE(app_path(APP_DIR_CACHE, "doctor.json", 1, &path) == MP_OK);
    FILE *f = fopen(path, "w");
    REQUIRE(f != NULL);
    fputs("{\"cpu\": [", f);
    fclose(f);
    app_machine_cached(folder, &known);
    CHECK_NEAR(known.ram_bps, 0, 0);
    app_machine m = measured();
    CHECK_OK(app_machine_store(&m)); /* and is written anew */
    app_machine_cached(folder, &known);
    CHECK_NEAR(known.ram_bps, 2e10, 1e5);
    remove(path);
    free(path);
}

/* Each broken byte becomes U+FFFD, and what is sound stays (Unicode 15, table 3-7 says what is sound). */
TEST(text_that_is_not_utf8) {
    static const struct { const char *in, *out; } CASES[] = {
        {"plain", "plain"},
        {"h\xc3\xa9", "h\xc3\xa9"},
        {"\xff" "a", "\xef\xbf\xbd" "a"},
        {"a\xe2\x82", "a\xef\xbf\xbd\xef\xbf\xbd"},               /* cut short */
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* not the shortest form */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* above U+10FFFF */
        {"\x80\xf0\x9f\x98\x80", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        json_t *s = app_json_text(CASES[i].in, strlen(CASES[i].in));
        CHECK_STR(json_string_value(s), CASES[i].out);
        json_decref(s);
    }
    json_t *nul = app_json_text("a\0b", 3);
    CHECK_EQ(json_string_length(nul), 3);
    json_decref(nul);
}

TEST(half_written_files_do_not_stay) {
    char path[128], part[160];
    app_output out;
    snprintf(path, sizeof path, "%s/result", folder);
    snprintf(part, sizeof part, "%s.part", path);
    REQUIRE(app_output_open(path, &out) == MP_OK);
    fputs("half", out.file);
    CHECK(access(part, F_OK) == 0 && access(path, F_OK) != 0);
    CHECK_OK(app_output_close(&out, 0));
    CHECK(access(part, F_OK) != 0 && access(path, F_OK) != 0);
    REQUIRE(app_output_open(path, &out) == MP_OK);
    fputs("whole", out.file);
    CHECK_OK(app_output_close(&out, 1));
    char *text;
    size_t n;
    REQUIRE(app_read_file(path, &text, &n) == MP_OK);
    CHECK_STR(text, "whole");
    CHECK_EQ(n, 5);
    free(text);
    remove(path);
    CHECK_EQ(app_output_open("/no/such/folder/x", &out), MP_E_FAILED);
    CHECK_EQ(app_read_file(folder, &text, &n), MP_E_FAILED); /* a folder is no file */
}

int main(void) {
    char path[160];
    if (!mkdtemp(folder)) return 1;
    setenv("XDG_CACHE_HOME", folder, 1);
    RUN(a_machine_has_a_processor_and_memory);
    RUN(what_was_measured_is_found_again);
    RUN(a_second_disk_joins_the_first);
    RUN(fresh_files_choose_no_method);
    RUN(old_caches_choose_no_method);
    RUN(figures_of_another_machine_are_not_used);
    RUN(a_broken_cache_is_no_cache);
    RUN(text_that_is_not_utf8);
    RUN(half_written_files_do_not_stay);
    snprintf(path, sizeof path, "%s/moped", folder);
    remove(path);
    remove(folder);
    return test_done();
}
