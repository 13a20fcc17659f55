/* The measurements of doctor: they give figures, and leave nothing behind. How large the figures are is the machine's business. */
#include <dirent.h>

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
    CHECK(d.best_method != APP_READ_MMAP);
    CHECK_EQ(files_in(folder), 0);
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
    RUN(a_folder_that_is_not_there);
    return test_done();
}
