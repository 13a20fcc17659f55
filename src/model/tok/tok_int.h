/* Inside of a tokenizer: the tables, and the parts that work on them.
 *
 *   blob   [ bytes of token 0 | bytes of token 1 | ... ]      off[i] .. off[i + 1]: raw bytes, as decoded
 *   words  open addressing, id + 1: bytes of a mergeable token -> id
 *   pairs  open addressing (gpt2): left id, right id -> rank, merged id
 *   rank   by id (llama): smaller merges first; from the scores
 *   named  ids of control, user-defined and unknown tokens, sorted by name: what is searched for in text
 */
#ifndef MP_MODEL_TOK_TOK_INT_H
#define MP_MODEL_TOK_TOK_INT_H

#include "model/tok/pre.h"
#include "model/tok/tok.h"

/* Per token: the type in the low bits, and what else is known about it. */
enum { MP_TOK_TYPE_MASK = 7, MP_TOK_EOG = 8, MP_TOK_EATS_SPACE = 16 /* white space after it in the text is dropped (Phi-3) */ };

typedef struct mp_tok_pair {
    uint32_t left, right; /* ids + 1; left 0: free */
    uint32_t rank, merged;
} mp_tok_pair;

struct mp_tok {
    mp_ledger    *ledger;
    mp_tok_info   info;
    bool          spm;          /* llama; else gpt2 */
    bool          whole_tokens; /* a piece that is a token is not merged */
    const mp_pre *pre;          /* gpt2 */
    char         *pre_name;
    int32_t       n;
    size_t        max_bytes;    /* of the longest token */
    char         *blob;
    uint32_t     *off;
    uint8_t      *kind;
    uint32_t     *words, n_words;
    mp_tok_pair  *pairs;
    uint32_t      n_pairs;
    uint32_t     *rank;
    int32_t       byte_id[256]; /* the token that spells one byte, or unk, or -1 */
    uint8_t      *joins;        /* llama: bit a << 8 | b: byte b follows byte a inside of some token */
    int32_t      *named, n_named;
    uint8_t       first_any[32], first_user[32]; /* bits: bytes that begin a name; ... of a user-defined token */
    char         *templates;    /* name NUL text NUL ... ; the unnamed one has the name "" */
    size_t        templates_bytes;
};

static inline mp_str mp_tok_bytes(const mp_tok *t, int32_t id)
{
    return (mp_str){ t->blob + t->off[id], t->off[id + 1] - t->off[id] };
}
static inline mp_tok_type mp_tok_kind(const mp_tok *t, int32_t id) { return (mp_tok_type)(t->kind[id] & MP_TOK_TYPE_MASK); }

/* What decode shows of a token. */
mp_str mp_tok_shown(const mp_tok *t, int32_t id, unsigned flags);

/* ---- vocab.c: the tables ---- */
mp_err mp_tok_vocab_build(mp_tok *t, const mp_tok_source *source);
/* The mergeable token with exactly these bytes, -1: none. */
int32_t mp_tok_word(const mp_tok *t, const char *s, size_t n);
/* The rule for these two neighbours (gpt2), NULL: none. */
const mp_tok_pair *mp_tok_pair_find(const mp_tok *t, int32_t left, int32_t right);
/* Writes the bytes that the GPT-2 alphabet text s stands for; returns how many, or cap + 1 when they don't fit. */
size_t mp_tok_from_alphabet(mp_str s, char *out, size_t cap);

static inline uint64_t mp_tok_mix(uint64_t h)
{
    h *= 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}
uint64_t mp_tok_hash(const char *s, size_t n);

/* ---- named.c: tokens that are found by name ---- */
mp_err mp_tok_named_build(mp_tok *t);
/* The first place at or after `from` where a token's name stands in the text: its id and place; of several the longest.
 * control: control and unknown tokens as well as user-defined ones. Returns -1 when there is none. */
int32_t mp_tok_named_next(const mp_tok *t, const char *text, size_t n, size_t from, bool control, size_t *at);

/* ---- merge.c: the merging of one piece ---- */
enum {
    MP_TOK_SHORT_MAX = 32,   /* bytes of a piece that needs no merger */
    MP_TOK_MERGE_MAX = 16384 /* bytes of the longest piece that is merged in one go */
};

typedef struct mp_tok_symbol {
    int32_t  id;  /* -1: these bytes are no token */
    uint32_t len; /* bytes */
} mp_tok_symbol;

/* Merges 1 .. MP_TOK_SHORT_MAX bytes; symbols has room for n. Returns how many there are. */
size_t mp_tok_merge_short(const mp_tok *t, const char *s, size_t n, mp_tok_symbol *symbols);

/* The same for longer pieces, with memory of its own: 36 bytes for each byte of the longest piece. */
typedef struct mp_tok_merger mp_tok_merger;
mp_err mp_tok_merger_open(const mp_tok *t, size_t max_bytes, mp_tok_merger **out);
void   mp_tok_merger_close(mp_tok_merger **m);
size_t mp_tok_merger_max(const mp_tok_merger *m); /* 0 for NULL */
size_t mp_tok_merge(mp_tok_merger *m, const char *s, size_t n, mp_tok_symbol *symbols);
#endif
