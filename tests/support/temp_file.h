/* A temporary file with known bytes, for tests that read files. */
#ifndef MP_TESTS_TEMP_FILE_H
#define MP_TESTS_TEMP_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

unsigned char temp_byte(uint64_t offset); /* what lies at offset */
/* Writes `bytes` bytes to a new file in $TMPDIR (/tmp), on the disk and out of the page cache as far as the system allows. */
bool   temp_file(uint64_t bytes, char path[256]);
size_t temp_cached(const char *path); /* bytes of it in the page cache */
/* Whether n bytes at p are those of the file from offset on. */
bool   temp_right(const unsigned char *p, size_t n, uint64_t offset);

#endif
