#include "support/temp_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

unsigned char temp_byte(uint64_t offset) {
    return (unsigned char)((offset * 2654435761u) >> 13);
}

bool temp_file(uint64_t bytes, char path[256]) {
    const char *folder = getenv("TMPDIR");
    snprintf(path, 256, "%s/moped-test-XXXXXX", folder ? folder : "/tmp");
    int fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!f) return false;
    for (uint64_t i = 0; i < bytes; i++) putc(temp_byte(i), f);
    bool good = fflush(f) == 0 && fsync(fd) == 0;
    struct statfs where;
    const int tries = fstatfs(fd, &where) || where.f_type == TMPFS_MAGIC ? 1 : 1000; /* a file in memory never leaves it */
    for (int i = 0; i < tries; i++) { /* pages that the kernel still has in hand stay: again, until they are gone */
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        if (!temp_cached(path)) break;
        usleep(2000);
    }
    return fclose(f) == 0 && good;
}

size_t temp_cached(const char *path) {
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st)) return 0;
    size_t pages = ((size_t)st.st_size + 4095) / 4096, found = 0;
    unsigned char *seen = calloc(pages, 1);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (seen && map != MAP_FAILED && !mincore(map, (size_t)st.st_size, seen))
        for (size_t i = 0; i < pages; i++) found += seen[i] & 1;
    if (map != MAP_FAILED) munmap(map, (size_t)st.st_size);
    free(seen);
    close(fd);
    return found * 4096;
}

bool temp_right(const unsigned char *p, size_t n, uint64_t offset) {
    for (size_t i = 0; i < n; i++)
        if (p[i] != temp_byte(offset + i)) return false;
    return true;
}
