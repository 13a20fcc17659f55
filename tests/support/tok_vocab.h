/* Small vocabularies made by hand, for tests of the tokenizers. Out of memory ends the test program. */
#ifndef MP_TESTS_TOK_VOCAB_H
#define MP_TESTS_TOK_VOCAB_H

#include "model/tok/tok.h"

enum { TV_MOST = 2048, TV_TEXT = 64 };

typedef struct tv {
    char    text[TV_MOST][TV_TEXT], merge[TV_MOST][2 * TV_TEXT + 1]; /* as a file has them */
    size_t  n_text[TV_MOST], n_merge[TV_MOST];
    double  score[TV_MOST];
    int     type[TV_MOST];
    int64_t n, merges;
    mp_tok_source source; /* change what you like before mp_tok_open_source(ledger, tv_source(v), &t) */
} tv;

tv  *tv_open(const char *model, const char *pre); /* empty; free with free() */
int  tv_add(tv *v, const char *text, size_t n, int type, double score); /* returns its id */
int  tv_named(tv *v, const char *text, int type);
void tv_add_bytes(tv *v); /* 256 tokens for the bytes: in the GPT-2 alphabet, or <0x00> .. <0xFF> */
/* gpt2: joins two tokens, given in raw bytes, as the next merge, and adds the token that comes out unless it is there. Returns its id. */
int  tv_merge(tv *v, const char *left, const char *right);
/* llama: adds a piece (blanks as blanks). */
int  tv_piece(tv *v, const char *text, double score);
const mp_tok_source *tv_source(tv *v);

/* A vocabulary of each kind with a few words, control tokens 0 .. 4 (unk, bos, eos, <|im_end|>, user-defined <tool>) and all bytes. */
tv *tv_small(const char *model, const char *pre);
#endif
