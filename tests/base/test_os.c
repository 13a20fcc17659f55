/* base/os.h and base/cgroup.h: files at their edges, and limits read from made-up systems. */
#include "base/os.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cgroup.h"
#include "base/ledger.h"
#include "test.h"

enum { PATH = 512 };

static char folder[PATH]; /* a scratch folder of this run */

static const char *in_folder(const char *name) {
    static char path[2 * PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Writes a file, making the folders on its way. */
static void put(const char *name, const void *data, size_t n) {
    char path[2 * PATH];
    snprintf(path, sizeof path, "%s", in_folder(name));
    for (char *s = path + strlen(folder) + 1; (s = strchr(s, '/')); s++) {
        *s = 0;
        mkdir(path, 0700);
        *s = '/';
    }
    FILE *f = fopen(path, "wb");
    REQUIRE(f);
    CHECK_EQ(fwrite(data, 1, n, f), n);
    fclose(f);
}

static void put_text(const char *name, const char *text) {
    put(name, text, strlen(text));
}

/* ---- files ---- */

static unsigned char byte_at(uint64_t offset) {
    return (unsigned char)(offset * 167 + (offset >> 8) * 59);
}

static void put_pattern(const char *name, size_t n) {
    unsigned char *data = malloc(n ? n : 1);
    REQUIRE(data);
    for (size_t i = 0; i < n; i++) data[i] = byte_at(i);
    put(name, data, n);
    free(data);
}

static void check_bytes(const unsigned char *got, size_t n, uint64_t offset) {
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) wrong += got[i] != byte_at(offset + i);
    CHECK_EQ(wrong, 0);
}

TEST(read_exactly) {
    unsigned char buf[200];
    mp_file file;
    put_pattern("plain", 10000);
    CHECK_OK(mp_file_open(in_folder("plain"), false, &file));
    CHECK_EQ(file.bytes, 10000);
    CHECK_EQ(file.direct_fd, -1);
    CHECK_OK(mp_file_read(&file, buf, 200, 0));
    check_bytes(buf, 200, 0);
    CHECK_OK(mp_file_read(&file, buf, 200, 9800));
    check_bytes(buf, 200, 9800);
    CHECK_OK(mp_file_read(&file, buf, 0, 10000));
    CHECK_EQ(mp_file_read(&file, buf, 1, 10000), MP_E_FAILED);
    CHECK_EQ(mp_file_read(&file, buf, 200, 9801), MP_E_FAILED);
    CHECK(strstr(mp_err_text(), "9801") && strstr(mp_err_text(), "10000"));
    CHECK_EQ(mp_file_read(&file, buf, 200, UINT64_MAX - 100), MP_E_FAILED);
    mp_file_close(&file);
    CHECK_EQ(file.fd, -1);
    mp_file_close(&file);
}

TEST(a_file_that_shrinks) {
    unsigned char buf[200];
    mp_file file;
    put_pattern("shrinks", 10000);
    CHECK_OK(mp_file_open(in_folder("shrinks"), false, &file));
    CHECK_EQ(truncate(in_folder("shrinks"), 9900), 0);
    CHECK_EQ(mp_file_read(&file, buf, 200, 9800), MP_E_FAILED);
    CHECK(strstr(mp_err_text(), "9900") != NULL);
    mp_file_close(&file);
}

TEST(what_is_no_file) {
    mp_file file = {.fd = 7};
    CHECK_EQ(mp_file_open("", true, &file), MP_E_USAGE);
    CHECK_EQ(file.fd, -1);
    CHECK_EQ(mp_file_open(NULL, true, &file), MP_E_USAGE);
    CHECK_EQ(mp_file_open(in_folder("absent"), true, &file), MP_E_USAGE);
    CHECK(strstr(mp_err_text(), "absent") && strstr(mp_err_text(), "No such file"));
    CHECK_EQ(mp_file_open(folder, true, &file), MP_E_USAGE);
    CHECK(strstr(mp_err_text(), "folder") != NULL);
    CHECK_EQ(mkfifo(in_folder("pipe"), 0600), 0);
    CHECK_EQ(mp_file_open(in_folder("pipe"), true, &file), MP_E_USAGE); /* and it does not hang */
    CHECK_EQ(file.fd, -1);
    CHECK_EQ(file.direct_fd, -1);
}

/* Direct reads of every block of a file whose end is not aligned. */
static void check_direct(const char *path, size_t bytes) {
    mp_file file;
    void *buf = NULL;
    CHECK_OK(mp_file_open(path, true, &file));
    REQUIRE(file.align && (file.align & (file.align - 1)) == 0);
    size_t align = file.align, whole = (bytes + align - 1) / align * align;
    REQUIRE(!posix_memalign(&buf, align < 64 ? 64 : align, whole));
    CHECK_OK(mp_file_read_direct(&file, buf, whole, 0));
    check_bytes(buf, bytes, 0);
    for (size_t at = 0; at < bytes; at += align) {
        memset(buf, 0, align);
        CHECK_OK(mp_file_read_direct(&file, buf, align, at));
        check_bytes(buf, bytes - at < align ? bytes - at : align, at);
    }
    CHECK_OK(mp_file_read_direct(&file, buf, 0, whole));
    CHECK_EQ(mp_file_read_direct(&file, buf, align, whole), MP_E_FAILED);
    free(buf);
    mp_file_close(&file);
}

TEST(direct_reads) {
    put_pattern("direct", 5 * 4096 + 123);
    check_direct(in_folder("direct"), 5 * 4096 + 123);
    put_pattern("one", 1);
    check_direct(in_folder("one"), 1);
    put_pattern("whole", 8192);
    check_direct(in_folder("whole"), 8192);
}

TEST(memory_files_fall_back) {
    if (access("/dev/shm", W_OK)) SKIP("no /dev/shm to write to");
    char path[64], saved[PATH];
    snprintf(saved, sizeof saved, "%s", folder);
    snprintf(path, sizeof path, "moped-test-%d", (int)getpid());
    snprintf(folder, sizeof folder, "/dev/shm");
    put_pattern(path, 3 * 4096 + 5);
    mp_file file;
    CHECK_OK(mp_file_open(in_folder(path), true, &file));
    CHECK_EQ(file.direct_fd, -1); /* whatever the kernel says about O_DIRECT there: it is not a disk */
    mp_file_close(&file);
    check_direct(in_folder(path), 3 * 4096 + 5);
    unlink(in_folder(path));
    snprintf(folder, sizeof folder, "%s", saved);
}

/* ---- memory, time, processors ---- */

TEST(maps) {
    for (size_t bytes = 4096; bytes <= 16 << 20; bytes = bytes * 3 / 2 / 4096 * 4096 + 4096) {
        for (int huge = 0; huge < 2; huge++) {
            unsigned char *p = mp_os_map(bytes, huge);
            REQUIRE(p);
            CHECK_EQ((uintptr_t)p % (huge ? 2 << 20 : 4096), 0);
            p[0] = 7;
            CHECK(mp_os_populate(p, bytes));
            CHECK_EQ(p[0], 7); /* what was there stays */
            CHECK_EQ(p[bytes - 1], 0);
            mp_os_unmap(p, bytes);
        }
    }
    CHECK(mp_os_map(SIZE_MAX - 4096, true) == NULL);
    CHECK(mp_os_map((size_t)1 << 60, false) == NULL);
    mp_os_unmap(NULL, 4096);
}

TEST(this_machine) {
    mp_os_memory memory;
    mp_os_usage usage;
    mp_os_memory_get(&memory);
    mp_os_usage_get(&usage);
    CHECK(memory.total_bytes > 64 << 20);
    CHECK(memory.available_bytes > 0 && memory.available_bytes <= memory.total_bytes);
    CHECK(memory.cgroup_version >= 0 && memory.cgroup_version <= 2);
    CHECK(usage.anon_bytes > 0 && usage.pte_bytes > 0);
    CHECK(usage.peak_bytes > 0 && usage.now_bytes >= usage.anon_bytes);
    CHECK(mp_os_cpus() >= 1 && mp_os_cpus() <= sysconf(_SC_NPROCESSORS_CONF));
    uint64_t before = mp_now_ns();
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    CHECK(mp_now_ns() >= before + 1000000);
}

/* ---- control groups of made-up systems ---- */

static mp_cgroup cgroup_of(const char *system) {
    mp_cgroup got;
    char root[2 * PATH];
    snprintf(root, sizeof root, "%s", in_folder(system));
    mp_cgroup_get(root, &got);
    return got;
}

TEST(cgroup_none) {
    mp_cgroup got = cgroup_of("nothing");
    CHECK_EQ(got.version, 0);
    CHECK_EQ(got.limit_bytes, 0);
    CHECK_EQ(got.quota_mcpu, 0);
}

TEST(cgroup_v2) {
    put_text("v2/proc/self/cgroup", "0::/a/b\n");
    put_text("v2/proc/self/mountinfo", "25 30 0:23 / /proc rw - proc proc rw\n"
                                       "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
    put_text("v2/sys/fs/cgroup/a/b/memory.max", "max\n");
    put_text("v2/sys/fs/cgroup/a/b/cpu.max", "250000 100000\n");
    put_text("v2/sys/fs/cgroup/a/memory.max", "1000000\n"); /* the parent's limit is the one that counts */
    put_text("v2/sys/fs/cgroup/a/memory.current", "700000\n");
    put_text("v2/sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 200000\nactive_file 9\n");
    put_text("v2/sys/fs/cgroup/a/cpu.max", "max 100000\n");
    mp_cgroup got = cgroup_of("v2");
    CHECK_EQ(got.version, 2);
    CHECK_EQ(got.limit_bytes, 1000000);
    CHECK_EQ(got.used_bytes, 500000);
    CHECK_EQ(got.quota_mcpu, 2500);
    put_text("v2/sys/fs/cgroup/a/b/memory.max", "900000\n");
    put_text("v2/sys/fs/cgroup/a/b/memory.current", "100\n");
    put_text("v2/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    got = cgroup_of("v2");
    CHECK_EQ(got.limit_bytes, 900000);
    CHECK_EQ(got.used_bytes, 100);
    CHECK_EQ(got.quota_mcpu, 1500);
}

TEST(cgroup_v1) {
    put_text("v1/proc/self/cgroup", "9:name=systemd:/\n4:memory:/job\n3:cpuset:/\n2:cpuacct,cpu:/job\n0::/\n");
    put_text("v1/proc/self/mountinfo", "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                                       "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
                                       "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                                       "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put_text("v1/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put_text("v1/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "5000\n");
    put_text("v1/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "4000\n");
    put_text("v1/sys/fs/cgroup/memory/job/memory.stat", "inactive_file 1\ntotal_inactive_file 1500\n");
    put_text("v1/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
    put_text("v1/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
    mp_cgroup got = cgroup_of("v1");
    CHECK_EQ(got.version, 1);
    CHECK_EQ(got.limit_bytes, 5000);
    CHECK_EQ(got.used_bytes, 2500);
    CHECK_EQ(got.quota_mcpu, 0);
    put_text("v1/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n");
    CHECK_EQ(cgroup_of("v1").quota_mcpu, 500);
}

/* A container sees its own group as the top of the mount. */
TEST(cgroup_mounted_part) {
    put_text("part/proc/self/cgroup", "4:memory:/docker/abc/x\n");
    put_text("part/proc/self/mountinfo", "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put_text("part/sys/fs/cgroup/memory/memory.limit_in_bytes", "77\n");
    put_text("part/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "99\n");
    CHECK_EQ(cgroup_of("part").limit_bytes, 77);
    put_text("part/proc/self/cgroup", "4:memory:/docker/abcd\n"); /* not below /docker/abc: read the top */
    CHECK_EQ(cgroup_of("part").limit_bytes, 77);
}

/* Hybrid: memory is ruled by v1, the processors by nobody; the empty v2 mount must not be asked. */
TEST(cgroup_hybrid) {
    put_text("hy/proc/self/cgroup", "4:memory:/\n0::/\n");
    put_text("hy/proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
                                       "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put_text("hy/sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
    put_text("hy/sys/fs/cgroup/unified/memory.max", "1\n");
    mp_cgroup got = cgroup_of("hy");
    CHECK_EQ(got.version, 1);
    CHECK_EQ(got.limit_bytes, 4096);
    CHECK_EQ(got.used_bytes, 0);
}

TEST(cgroup_garbage) {
    static char junk[20000];
    for (size_t i = 0; i < sizeof junk; i++) junk[i] = "/: -,a0"[(i * 2654435761u >> 7) % 7];
    put("junk/proc/self/cgroup", junk, sizeof junk);
    put("junk/proc/self/mountinfo", junk, sizeof junk);
    CHECK_EQ(cgroup_of("junk").limit_bytes, 0);
    put_text("junk/proc/self/cgroup", "0::\n\n::\n0\n0::/\n");
    put_text("junk/proc/self/mountinfo", "1 2 - cgroup2\n - cgroup2 x y\n1 2 3 4 - cgroup2 x y\n1 2 3 / /m rw - cgroup2 x y\n");
    put_text("junk/m/memory.max", "12x\n");
    CHECK_EQ(cgroup_of("junk").limit_bytes, 12);
}

TEST(lists_of_nodes)
{
    CHECK_EQ(mp_os_node_mask(""), 0);
    CHECK_EQ(mp_os_node_mask("0"), 1);
    CHECK_EQ(mp_os_node_mask("0-1"), 3);
    CHECK_EQ(mp_os_node_mask("0,2-4,63"), 1ull | 7ull << 2 | 1ull << 63);
    CHECK_EQ(mp_os_node_mask("62-70"), 3ull << 62);
    CHECK_EQ(mp_os_node_mask("1\n"), 2);
    CHECK_EQ(mp_os_node_mask("none"), 0);
}

int main(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/moped-os-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) return 1;
    RUN(lists_of_nodes);
    RUN(read_exactly);
    RUN(a_file_that_shrinks);
    RUN(what_is_no_file);
    RUN(direct_reads);
    RUN(memory_files_fall_back);
    RUN(maps);
    RUN(this_machine);
    RUN(cgroup_none);
    RUN(cgroup_v2);
    RUN(cgroup_v1);
    RUN(cgroup_mounted_part);
    RUN(cgroup_hybrid);
    RUN(cgroup_garbage);
    char command[PATH + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) ? 1 : test_done();
}
