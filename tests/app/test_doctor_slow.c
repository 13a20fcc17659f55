/* The measurements of doctor: they give figures, and leave nothing behind. How large the figures are is the machine's business. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "app/doctor/machine.h"
#include "test.h"

TEST(memory_has_a_read_bandwidth) {
    app_machine m;
    app_machine_read(&m);
    CHECK_OK(app_ram_measure(&m, true));
    CHECK(m.ram_bps > 0 && m.ram_small_bps > 0);
    CHECK(strcmp(moped_isa_at(0), "ref") == 0 && (!moped_isa_at(1) || (m.ops[MOPED_ARITH_INT8] > 0 && m.one_ops[MOPED_ARITH_F32] > 0)));
    CHECK(m.ram_tested_bytes >= 4 * m.l3_bytes || m.ram_tested_bytes * 5 > m.memory.available_bytes);
}

static int files_in(const char *folder) {
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (d) closedir(d);
    return n;
}

TEST(a_disk_has_a_read_bandwidth_by_method_and_depth) {
    char folder[] = "/tmp/moped-test-disk-XXXXXX";
    app_disk d;
    REQUIRE(mkdtemp(folder) != NULL);
    CHECK_OK(app_disk_measure(folder, true, &d));
    CHECK(d.n_depths > 1 && *d.device != '\0');
    for (int i = 0; i < d.n_depths; i++) {
        CHECK(d.bps[APP_READ_MMAP][i] > 0);
        CHECK(d.bps[APP_READ_PREAD][i] > 0);
        CHECK(d.bps[APP_READ_PREAD][i] <= d.best_bps);
    }
    CHECK(d.fresh && d.best_method == APP_READ_PREAD && d.best_depth == 8); /* whatever the figures were */
    CHECK_EQ(files_in(folder), 0);
    remove(folder);
}

TEST(a_file_that_is_there_is_measured_and_left_alone) {
    enum { BYTES = 160 << 20 };
    char folder[] = "/tmp/moped-test-disk-XXXXXX", path[64];
    app_disk d;
    struct stat before, after;
    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/large", folder);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    REQUIRE(fd >= 0 && ftruncate(fd, BYTES) == 0);
    fsync(fd);
    close(fd);
    REQUIRE(stat(path, &before) == 0);
    CHECK_OK(app_disk_measure(path, true, &d));
    CHECK(!d.fresh && d.n_depths > 1 && *d.device != '\0' && d.best_depth >= 1);
    for (int i = 0; i < d.n_depths; i++) CHECK(d.bps[APP_READ_MMAP][i] > 0 && d.bps[APP_READ_PREAD][i] > 0);
    REQUIRE(stat(path, &after) == 0);
    CHECK(before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec && before.st_size == after.st_size);
    CHECK_EQ(files_in(folder), 1);
    CHECK(truncate(path, 100 << 20) == 0);
    CHECK_EQ(app_disk_measure(path, true, &d), MP_E_USAGE);
    CHECK(strstr(mp_err_text(), "too small") != NULL);
    remove(path);
    remove(folder);
}

TEST(a_folder_that_is_not_there) {
    app_disk d;
    CHECK_EQ(app_disk_measure("/no/such/folder", true, &d), MP_E_FAILED);
    CHECK(strstr(mp_err_text(), "/no/such/folder") != NULL);
}

int main(void) {
    RUN(memory_has_a_read_bandwidth);
    RUN(a_disk_has_a_read_bandwidth_by_method_and_depth);
    RUN(a_file_that_is_there_is_measured_and_left_alone);
    RUN(a_folder_that_is_not_there);
    return test_done();
}
