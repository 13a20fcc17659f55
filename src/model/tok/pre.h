/* Pre-tokenizers: where a text is cut before byte-level BPE merges the pieces. The published patterns are regular expressions; here each
 * family is a scanner by hand, because a scanner is linear on every text, needs no memory, accepts bytes that are not UTF-8, and is several
 * times faster. tests/model/test_tok_pre.c holds the scanners against the expressions themselves, run by PCRE2.
 *
 * A pre-tokenizer is a sequence of stages. Each stage cuts every piece that the stage before left into its matches and the gaps between
 * them; both go on. */
#ifndef MP_MODEL_TOK_PRE_H
#define MP_MODEL_TOK_PRE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

typedef struct mp_pre mp_pre;

/* The pre-tokenizer that a file's tokenizer.ggml.pre names; NULL for one that is not known. "" and "default" mean GPT-2's. */
const mp_pre *mp_pre_find(const char *name, size_t n);
bool          mp_pre_whole_tokens(const mp_pre *pre); /* a piece that is a token is taken whole ("ignore_merges") */
bool          mp_pre_adds_bos(const mp_pre *pre);     /* when the file does not say */

/* Hands each piece, in order and without gaps, to sink. Errors: sink's. */
typedef mp_err mp_pre_sink(void *arg, const char *piece, size_t n);
mp_err mp_pre_split(const mp_pre *pre, const char *text, size_t n, mp_pre_sink *sink, void *arg);
#endif
