/* Whole files, or none: what is there before stays when writing fails, and nothing is left beside it. */
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/os_write.h"
#include "test.h"

static char dir[] = "/tmp/moped-replace-XXXXXX";

static const char *at(const char *name) {
    static char path[2][4400];
    static int turn;
    snprintf(path[turn ^= 1], sizeof path[0], "%s/%s", dir, name);
    return path[turn];
}

static bool holds(const char *path, const char *want) {
    char buf[64] = "";
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(buf, 1, sizeof buf - 1, f) : 0;
    if (f) fclose(f);
    return f && n == strlen(want) && !memcmp(buf, want, n);
}

static int entries(void) {
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

TEST(replaces_whole_files) {
    CHECK_OK(mp_file_replace(at("a"), "first", 5));
    CHECK(holds(at("a"), "first"));
    CHECK_OK(mp_file_replace(at("a"), "2", 1));
    CHECK(holds(at("a"), "2"));
    CHECK_OK(mp_file_replace(at("a"), "", 0));
    CHECK(holds(at("a"), ""));
    CHECK_EQ(entries(), 1);
    struct stat st;
    CHECK(stat(at("a"), &st) == 0 && (st.st_mode & 0777) == 0600);
}

TEST(a_folder_that_is_not_there_is_an_error) {
    CHECK_EQ(mp_file_replace(at("none/a"), "x", 1), MP_E_FAILED);
    CHECK(strstr(mp_err_text(), "none/a") && strstr(mp_err_text(), "No such file"));
    CHECK_EQ(mp_file_replace(at("a/b"), "x", 1), MP_E_FAILED); /* a is a file */
    CHECK_EQ(mp_file_replace(dir, "x", 1), MP_E_FAILED);       /* written beside it, but a folder cannot be replaced */
    char *deep = malloc(5000);
    REQUIRE(deep);
    memset(deep, 'x', 4999);
    deep[4999] = '\0';
    CHECK_EQ(mp_file_replace(deep, "x", 1), MP_E_FAILED);
    free(deep);
    CHECK_EQ(entries(), 1);
}

/* A limit of the file's size stands for a full disk: both cut the write short. */
TEST(a_full_disk_leaves_what_was_there) {
    struct rlimit before, small = {.rlim_cur = 1000};
    static char big[100000];
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_OK(mp_file_replace(at("a"), "old", 3));
    signal(SIGXFSZ, SIG_IGN);
    small.rlim_max = before.rlim_max;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    mp_err err = mp_file_replace(at("a"), big, sizeof big);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK_EQ(err, MP_E_FAILED);
    CHECK(strstr(mp_err_text(), "cannot write"));
    CHECK(holds(at("a"), "old"));
    CHECK_EQ(entries(), 1);
}

int main(void) {
    if (!mkdtemp(dir)) return 1;
    RUN(replaces_whole_files);
    RUN(a_folder_that_is_not_there_is_an_error);
    RUN(a_full_disk_leaves_what_was_there);
    unlink(at("a"));
    rmdir(dir);
    return test_done();
}
