/* The stages of pre-tokenizers: shared by pre.c (the table and the driver) and pre_match.c (the scanners). */
#ifndef MP_MODEL_TOK_PRE_INT_H
#define MP_MODEL_TOK_PRE_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mp_pre_stage mp_pre_stage;

/* Length of the match that begins at s, 0 when none does. */
typedef size_t mp_pre_match(const mp_pre_stage *stage, const char *s, size_t n);
typedef bool   mp_pre_set(uint32_t cp, unsigned cls);

enum {
    MP_PRE_CONTRACT = 1,    /* tiktoken: an English contraction is a piece of its own */
    MP_PRE_CONTRACT_END = 2,/* tiktoken: ... or belongs to the word before it */
    MP_PRE_CASED = 4,       /* tiktoken: words are cut where the case goes up */
    MP_PRE_MARKS = 8,       /* tiktoken: marks count as letters */
    MP_PRE_SLASH = 16,      /* tiktoken: punctuation takes '/' as well as newlines behind it */
    MP_PRE_NO_TAIL = 32,    /* tiktoken: punctuation takes nothing behind it */
    MP_PRE_BLANK = 64,      /* run: may begin with one ' ' */
    MP_PRE_SPACE = 128      /* run: may begin with one white space */
};

struct mp_pre_stage {
    mp_pre_match *match; /* NULL: the white space at the very end (`\s+$`) */
    mp_pre_set   *set;   /* run: which characters */
    unsigned      flags;
    unsigned      most;  /* run: most characters of a match, 0: no limit; tiktoken: most digits */
    unsigned      least; /* run: fewest characters of a match */
};

mp_pre_match mp_pre_gpt2;      /* `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` */
mp_pre_match mp_pre_tiktoken;  /* the family of cl100k and o200k, by flags */
mp_pre_match mp_pre_deepseek3; /* the last stage of DeepSeek-V3 */
mp_pre_match mp_pre_run;       /* `[set]{least,most}` */
#endif
