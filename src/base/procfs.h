/* Small text files of the system (/proc, /sys), read line by line with no memory but the caller's. Used by os.c and cgroup.c. */
#ifndef MP_BASE_PROCFS_H
#define MP_BASE_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MP_LINE_BYTES = 4096 }; /* longer lines are cut */

typedef struct mp_lines {
    int    fd;
    size_t at, end;                /* what is left in raw */
    char   raw[MP_LINE_BYTES], line[MP_LINE_BYTES];
} mp_lines;

/* False when the file cannot be opened; then nothing needs closing. */
bool mp_lines_open(const char *path, mp_lines *out);
/* The next line without its newline; NULL at the end. Valid until the next call. */
char *mp_lines_next(mp_lines *lines);
void  mp_lines_close(mp_lines *lines);

/* The number after `key` at the start of a line ("VmRSS:", "inactive_file "); 0 when there is none. Units are not looked at. */
uint64_t mp_file_field(const char *path, const char *key);
/* The first line of a file into buf, cut to fit; false when it cannot be read. */
bool mp_file_line(const char *path, char *buf, size_t bytes);

#endif
