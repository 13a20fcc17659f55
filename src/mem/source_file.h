/* The source of pages that lie in files: slices are read past the page cache, straight into their slot. */
#ifndef MP_MEM_SOURCE_FILE_H
#define MP_MEM_SOURCE_FILE_H

#include "mem/gguf.h"
#include "mem/pager.h"

typedef struct mp_file_source mp_file_source;

/* mp_slice.file counts the parts of the model; its files stay the caller's and must outlive the source. Errors: MP_E_BUDGET. */
mp_err mp_file_source_open(mp_ledger *ledger, const mp_gguf *gguf, mp_file_source **out);
/* The same for any files[0 .. n), which are copied (their descriptors are not). Test: tests/mem/test_pager_file.c. */
mp_err mp_file_source_open_files(mp_ledger *ledger, const mp_file *files, int n, mp_file_source **out);
/* buffered: no direct reads; keep: and what was read stays in the page cache (the operating system's cache instead of ours). */
void   mp_file_source_buffered(mp_file_source *source, bool buffered, bool keep);
void   mp_file_source_close(mp_file_source **source); /* after the pager that reads from it */
/* What mp_pager_config.source takes. Its pages are never dirty. align: the largest of the files'. */
mp_source mp_file_source_get(mp_file_source *source);

#endif
