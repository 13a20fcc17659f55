/* Tokenizers: text <-> token ids. Two kinds:
 *
 *   gpt2    byte-level BPE: text is cut by the file's pre-tokenizer, each piece is merged in rank order (Llama 3, Qwen, DeepSeek, ...)
 *   llama   SentencePiece BPE: characters are merged in score order, what has no token is spelled in byte tokens (Llama 2, Mixtral, Phi-3)
 *
 * A vocabulary comes out of a model file, so it is untrusted; text can be any bytes, UTF-8 or not. No Unicode normalisation is done: GGUF
 * does not record one. An open tokenizer never changes, so any number of threads may use it; what a call needs it allocates for itself.
 * Sources: Sennrich et al. 2016 (BPE), Kudo and Richardson 2018 (SentencePiece), published tokenizer.json files (patterns), GGUF's keys.
 * Tests: tests/model/test_tok.c, test_tok_vectors.c (other implementations' ids), test_tok_pre.c, tests/fault/test_tok_fault.c,
 * tests/fuzz/fuzz_tok.c. Speed: bench/tok.c. */
#ifndef MP_MODEL_TOK_TOK_H
#define MP_MODEL_TOK_TOK_H

#include "mem/gguf.h"

typedef struct mp_tok mp_tok;

/* Token types, as GGUF numbers them. */
typedef enum mp_tok_type {
    MP_TOK_NORMAL = 1, MP_TOK_UNKNOWN, MP_TOK_CONTROL, MP_TOK_USER, MP_TOK_UNUSED, MP_TOK_BYTE
} mp_tok_type;

/* encode: BOS adds BOS and EOS where the file says so; SPECIAL recognises control tokens written in the text (user-defined tokens always
 * are). decode: SPECIAL shows control tokens; CONTINUE says that the ids go on from earlier text, so that the blank that a SentencePiece
 * vocabulary puts before a text is kept. */
enum { MP_TOK_BOS = 1, MP_TOK_SPECIAL = 2, MP_TOK_CONTINUE = 4 };

/* ---- opening ---- */

/* Does the file hold a vocabulary at all (kind, tokens, and merges or scores)? When false mp_err_text() says why; such a model can still
 * be run by token ids. True does not promise that mp_tok_open succeeds: an unknown pre-tokenizer is an error there. */
bool mp_tok_usable(const mp_gguf *g);

/* Builds the tokenizer from a file's metadata; keeps no pointer into g. Memory: owner TOKENIZER, about 20 bytes a token and 22 a merge.
 * Errors: MP_E_MODEL naming what is missing, malformed or not known; MP_E_BUDGET. Close with mp_tok_close. */
mp_err mp_tok_open(mp_ledger *ledger, const mp_gguf *g, mp_tok **out);
void   mp_tok_close(mp_tok **tok);

/* The same without a file. Strings are as GGUF has them (gpt2: the GPT-2 byte alphabet). Everything is only read during the call. */
typedef struct mp_tok_source {
    const char *model, *pre, *name; /* tokenizer.ggml.model and .pre, general.name; pre and name may be NULL */
    int64_t     n_tokens, n_merges;
    const void *from;               /* handed to the functions */
    mp_str    (*token)(const void *from, int64_t i);
    mp_str    (*merge)(const void *from, int64_t i); /* "left right"; NULL without merges */
    double    (*score)(const void *from, int64_t i); /* NULL: none */
    int       (*type)(const void *from, int64_t i);  /* NULL: all normal */
    int64_t     bos, eos, eot, eom, unk, pad;        /* -1: none */
    int         add_bos, add_eos, add_space_prefix;  /* 0, 1, or -1: what the kind implies */
} mp_tok_source;
mp_err mp_tok_open_source(mp_ledger *ledger, const mp_tok_source *source, mp_tok **out);

/* ---- the vocabulary; ids outside of [0, count) are allowed everywhere and have no text ---- */
int         mp_tok_count(const mp_tok *tok);
mp_str      mp_tok_text(const mp_tok *tok, int32_t id);      /* the bytes it stands for; control tokens: their name. Owned by tok */
mp_tok_type mp_tok_type_of(const mp_tok *tok, int32_t id);   /* MP_TOK_UNUSED for ids outside */
int32_t     mp_tok_find(const mp_tok *tok, const char *text, size_t n); /* control or user-defined token of exactly this name; -1 */
bool        mp_tok_is_eog(const mp_tok *tok, int32_t id);    /* does it end an answer? eos, eot, eom and the usual names of end tokens */

typedef struct mp_tok_info {
    int32_t bos, eos, eot, eom, unk, pad; /* -1: none */
    bool    add_bos, add_eos, add_space_prefix;
    const char *model, *pre;              /* "gpt2" or "llama"; the pre-tokenizer's name ("" for llama) */
} mp_tok_info;
const mp_tok_info *mp_tok_get_info(const mp_tok *tok);

/* The file's chat template (Jinja), or the one of this name ("tool_use"); NULL when there is none. NUL-terminated, owned by tok. */
const char *mp_tok_chat_template(const mp_tok *tok, const char *name);

/* ---- text to ids and back ---- */

/* Encodes any bytes. When cap is too small, ids gets the first cap ids, and *out_n is the number needed: MP_OK all the same. So (NULL, 0)
 * counts. Bytes that the vocabulary cannot spell become unk, or nothing where there is no unk. Time is near linear in the text, and memory
 * below 2 MB (charged as TOKENIZER and given back) whatever the text; llama: and a copy of its first word. Errors: MP_E_BUDGET. */
mp_err mp_tok_encode(const mp_tok *tok, mp_str text, unsigned flags, int32_t *ids, size_t cap, size_t *out_n);

/* The bytes of n ids: writes the first cap of them to buf and returns how many there are, so (NULL, 0) counts. Not terminated, and UTF-8
 * only if the ids make it so. Exactly the text that was encoded, if it was byte-level and the special tokens are shown. */
size_t mp_tok_decode(const mp_tok *tok, const int32_t *ids, size_t n, unsigned flags, char *buf, size_t cap);

/* ---- a stream of ids to a stream of whole characters ---- */

/* The concatenation of what push and flush give is the decoded bytes with each maximal invalid part replaced by U+FFFD (Unicode 15,
 * 3.9, "substitution of maximal subparts"; Python's errors="replace"), and no push ends within a character. */
typedef struct mp_detok {
    unsigned      flags;
    bool          started;  /* something was shown */
    unsigned char n_held;   /* bytes of a character that has begun */
    unsigned char held[4];
} mp_detok;

static inline mp_detok mp_detok_init(unsigned flags) { return (mp_detok){ .flags = flags }; }
/* How many bytes one push may write at most. */
size_t mp_detok_cap(const mp_tok *tok);
/* Adds a token and writes what is certain now to out, which has room for mp_detok_cap(tok) bytes. Returns how many (not terminated). */
size_t mp_detok_push(mp_detok *d, const mp_tok *tok, int32_t id, char *out);
/* The stream is over: a held beginning of a character becomes U+FFFD. Writes at most 3 bytes and returns how many. */
size_t mp_detok_flush(mp_detok *d, char *out);
#endif
