/* Line by line over read(2). stdio would do the same with memory that no ledger sees. */
#include "base/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool mp_lines_open(const char *path, mp_lines *out) {
    out->fd = open(path, O_RDONLY | O_CLOEXEC);
    out->at = out->end = 0;
    return out->fd >= 0;
}

static bool refill(mp_lines *lines) {
    ssize_t got;
    do got = read(lines->fd, lines->raw, sizeof lines->raw);
    while (got < 0 && errno == EINTR);
    lines->at = 0;
    lines->end = got > 0 ? (size_t)got : 0;
    return got > 0;
}

char *mp_lines_next(mp_lines *lines) {
    size_t n = 0;
    bool any = false;
    while (lines->at < lines->end || refill(lines)) {
        char c = lines->raw[lines->at++];
        any = true;
        if (c == '\n') break;
        if (n < sizeof lines->line - 1) lines->line[n++] = c;
    }
    lines->line[n] = 0;
    return any ? lines->line : NULL;
}

void mp_lines_close(mp_lines *lines) {
    close(lines->fd);
    lines->fd = -1;
}

uint64_t mp_file_field(const char *path, const char *key) {
    mp_lines lines;
    if (!mp_lines_open(path, &lines)) return 0;
    uint64_t value = 0;
    size_t n = strlen(key);
    for (char *line; (line = mp_lines_next(&lines));)
        if (!strncmp(line, key, n)) {
            value = strtoull(line + n, NULL, 10);
            break;
        }
    mp_lines_close(&lines);
    return value;
}

bool mp_file_line(const char *path, char *buf, size_t bytes) {
    mp_lines lines;
    buf[0] = 0;
    if (!mp_lines_open(path, &lines)) return false;
    const char *line = mp_lines_next(&lines);
    if (line) {
        size_t n = strlen(line);
        if (n > bytes - 1) n = bytes - 1;
        memcpy(buf, line, n);
        buf[n] = 0;
    }
    mp_lines_close(&lines);
    return line != NULL;
}
