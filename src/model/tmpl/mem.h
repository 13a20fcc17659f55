/* Memory of one compiled template or of one render: chunks that are charged to the ledger and freed all at once. Nothing is freed
 * before, so values and nodes can point at each other freely. Test: tests/model/test_tmpl.c (every allocation fails once). */
#ifndef MP_MODEL_TMPL_MEM_H
#define MP_MODEL_TMPL_MEM_H

#include "base/ledger.h"

typedef struct mp_tmem {
    mp_ledger            *ledger;
    struct mp_tmem_chunk *chunks;
    char                 *at, *end; /* what is left of the newest chunk */
    uint64_t              held_bytes, limit_bytes;
} mp_tmem;

void mp_tmem_init(mp_ledger *ledger, uint64_t limit_bytes, mp_tmem *out);
void mp_tmem_free(mp_tmem *mem);

/* Zeroed, 8-byte aligned; bytes == 0 is fine. Errors: MP_E_MODEL past the limit, MP_E_BUDGET. */
mp_err mp_tmem_push(mp_tmem *mem, size_t bytes, void **out);
mp_err mp_tmem_array(mp_tmem *mem, size_t n, size_t size, void **out); /* checks n * size */
#define MP_TNEW(mem, T, n, pp) mp_tmem_array((mem), (n), sizeof(T), (void **)(void *)(pp))

/* The n bytes at p with room for `more` behind them. When p is the newest thing in the arena it grows in place, which makes a loop
 * that appends to one string linear. p NULL: n is 0. Strings share bytes this way; they are never written again. */
mp_err mp_tmem_extend(mp_tmem *mem, const char *p, size_t n, size_t more, char **out);

/* A growing run of bytes inside the arena. */
typedef struct mp_tbuf {
    mp_tmem *mem;
    char    *p;
    size_t   n, room;
    uint64_t limit_bytes; /* 0 = that of the arena only */
} mp_tbuf;

mp_err mp_tbuf_add(mp_tbuf *buf, const char *p, size_t n);
mp_err mp_tbuf_text(mp_tbuf *buf, const char *zero_terminated);
mp_err mp_tbuf_byte(mp_tbuf *buf, char byte);
mp_err mp_tbuf_fill(mp_tbuf *buf, const char *p, size_t n, int64_t times); /* p again and again */
#endif
