/* The merging of one piece: of all neighbours that may be joined, the pair of the lowest rank is, the leftmost of equals, until none is
 * left. The two kinds of vocabulary differ only in how a pair's rank is found. Short pieces are scanned; longer ones keep the candidates
 * in a heap:
 *
 *   nodes   by the byte where the symbol begins: id, length, previous, and the rank and result of joining it with the next
 *   heap    rank << 32 | place; an entry is stale when the node is gone or its rank has changed since
 *
 * Each join removes one node and adds two entries at most: n log n steps, and 2n entries. */
#include <string.h>

#include "model/tok/tok_int.h"
#include "model/tok/uchar.h"

enum { GONE = -2 };
#define NO_RANK UINT32_MAX

typedef struct node {
    int32_t  id;      /* -1: no token; GONE: joined to the one before */
    uint32_t len;     /* bytes; the next symbol begins at place + len */
    uint32_t prev;    /* place of the one before; own place: none */
    uint32_t rank;    /* of joining with the next one */
    int32_t  merged;  /* what that gives */
} node;

struct mp_tok_merger {
    const mp_tok *t;
    size_t        max;
    const char   *s; /* the piece at hand */
    uint32_t      n;
    node         *nodes;
    uint64_t     *heap;
    uint32_t      n_heap;
};

mp_err mp_tok_merger_open(const mp_tok *t, size_t max_bytes, mp_tok_merger **out)
{
    *out = NULL;
    mp_tok_merger *m = NULL;
    mp_err         err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, mp_tok_merger, 1, &m);
    if (err) return err;
    m->t = t;
    m->max = max_bytes;
    err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, node, max_bytes, &m->nodes);
    if (!err) err = MP_NEW(t->ledger, MP_OWN_TOKENIZER, uint64_t, 2 * max_bytes, &m->heap);
    if (err) mp_tok_merger_close(&m);
    *out = m;
    return err;
}

void mp_tok_merger_close(mp_tok_merger **m)
{
    if (!*m) return;
    mp_free((*m)->nodes);
    mp_free((*m)->heap);
    MP_FREE(*m);
}

size_t mp_tok_merger_max(const mp_tok_merger *m) { return m ? m->max : 0; }

/* Rank and result of joining the symbols a and b, neighbours, the first of which begins at s. */
static void rate(const mp_tok *t, const char *s, node *a, const node *b)
{
    a->rank = NO_RANK;
    a->merged = -1;
    if (t->spm) {
        int32_t id = mp_tok_word(t, s, (size_t)a->len + b->len);
        if (id < 0) return;
        a->rank = t->rank[id];
        a->merged = id;
        return;
    }
    const mp_tok_pair *p = mp_tok_pair_find(t, a->id, b->id);
    if (!p) return;
    a->rank = p->rank;
    a->merged = (int32_t)p->merged;
}

/* The symbol to start with at s: a byte, or a character. */
static node first_symbol(const mp_tok *t, const char *s, size_t n)
{
    node a = { .id = -1, .len = 1, .rank = NO_RANK, .merged = -1 };
    if (t->spm) {
        uint32_t cp;
        a.len = (uint32_t)mp_uchar_decode(s, n, &cp);
        a.id = mp_tok_word(t, s, a.len);
        return a;
    }
    a.id = t->byte_id[(unsigned char)s[0]];
    return a;
}

/* ---- short pieces ---- */

size_t mp_tok_merge_short(const mp_tok *t, const char *s, size_t n, mp_tok_symbol *symbols)
{
    node     a[MP_TOK_SHORT_MAX];
    uint32_t start[MP_TOK_SHORT_MAX];
    size_t   count = 0;
    for (size_t at = 0; at < n; at += a[count++].len) {
        a[count] = first_symbol(t, s + at, n - at);
        start[count] = (uint32_t)at;
        if (count) rate(t, s + start[count - 1], &a[count - 1], &a[count]);
    }
    for (;;) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++)
            if (a[i].rank < a[best].rank) best = i;
        if (count < 2 || a[best].merged < 0) break;
        a[best].id = a[best].merged;
        a[best].len += a[best + 1].len;
        a[best].rank = NO_RANK;
        a[best].merged = -1;
        count--;
        memmove(&a[best + 1], &a[best + 2], (count - best - 1) * sizeof *a);
        memmove(&start[best + 1], &start[best + 2], (count - best - 1) * sizeof *start);
        if (best + 1 < count) rate(t, s + start[best], &a[best], &a[best + 1]);
        if (best) rate(t, s + start[best - 1], &a[best - 1], &a[best]);
    }
    for (size_t i = 0; i < count; i++) symbols[i] = (mp_tok_symbol){ a[i].id, a[i].len };
    return count;
}

/* ---- long pieces ---- */

static void push(mp_tok_merger *m, uint64_t key)
{
    uint32_t i = m->n_heap++;
    for (; i && m->heap[(i - 1) / 2] > key; i = (i - 1) / 2) m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = key;
}

static uint64_t pop(mp_tok_merger *m)
{
    uint64_t top = m->heap[0], last = m->heap[--m->n_heap];
    uint32_t i = 0, child;
    while ((child = 2 * i + 1) < m->n_heap) {
        if (child + 1 < m->n_heap && m->heap[child + 1] < m->heap[child]) child++;
        if (m->heap[child] >= last) break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

/* Rates the symbol at `at` against its next one, and makes it a candidate. */
static void offer(mp_tok_merger *m, uint32_t at)
{
    node    *a = &m->nodes[at];
    uint32_t next = at + a->len;
    a->rank = NO_RANK;
    a->merged = -1;
    if (next >= m->n) return;
    rate(m->t, m->s + at, a, &m->nodes[next]);
    if (a->merged >= 0) push(m, (uint64_t)a->rank << 32 | at);
}

static void join(mp_tok_merger *m, uint32_t at)
{
    node    *a = &m->nodes[at], *b = &m->nodes[at + a->len];
    uint32_t after = at + a->len + b->len;
    a->id = a->merged;
    a->len += b->len;
    b->id = GONE;
    if (after < m->n) m->nodes[after].prev = at;
    offer(m, at);
    if (a->prev != at) offer(m, a->prev);
}

size_t mp_tok_merge(mp_tok_merger *m, const char *s, size_t n, mp_tok_symbol *symbols)
{
    uint32_t prev = 0;
    m->s = s;
    m->n = (uint32_t)n;
    m->n_heap = 0;
    for (uint32_t at = 0; at < n; at += m->nodes[at].len) {
        m->nodes[at] = first_symbol(m->t, s + at, n - at);
        m->nodes[at].prev = prev;
        for (uint32_t i = 1; i < m->nodes[at].len; i++) m->nodes[at + i].id = GONE;
        prev = at;
    }
    for (uint32_t at = 0; at < n; at += m->nodes[at].len) offer(m, at);
    while (m->n_heap) {
        uint64_t key = pop(m);
        uint32_t at = (uint32_t)key;
        node    *a = &m->nodes[at];
        if (a->id != GONE && a->merged >= 0 && a->rank == key >> 32) join(m, at);
    }
    size_t count = 0;
    for (uint32_t at = 0; at < n; at += m->nodes[at].len) symbols[count++] = (mp_tok_symbol){ m->nodes[at].id, m->nodes[at].len };
    return count;
}
