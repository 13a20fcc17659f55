/* Chat templates: an interpreter for the part of Jinja that the templates of published models use. What it prints is what Python's
 * jinja2 prints under the settings of Hugging Face's transformers (sandboxed and immutable, trim_blocks, lstrip_blocks, loop controls,
 * `tojson` that keeps non-ASCII text, raise_exception, strftime_now, {% generation %}).
 *
 *   text -> lex -> parse -> tree (mp_tmpl, immutable, shared by threads)
 *   tree + JSON variables -> eval -> text
 *
 * A template comes out of a model file, so it is untrusted: it can reach nothing but its variables, and steps, output, nesting and
 * memory are bounded. Known differences from Python: integers are 64-bit (overflow is an error); a generator is walked when it is
 * made, so its errors come even when nobody looks at it; upper and lower map single characters (only sharp s grows); parts cut out of
 * Markup are plain strings; includes, imports, inheritance and autoescape are refused, and so are the filters pprint, random, striptags,
 * urlize, wordwrap and xmlattr.
 * Sources: the Jinja 3.1 template designer documentation; transformers' chat_template_utils. Tests: tests/model/test_tmpl.c.
 */
#ifndef MP_MODEL_TMPL_TMPL_H
#define MP_MODEL_TMPL_TMPL_H

#include "base/ledger.h"

typedef struct mp_tmpl mp_tmpl;

/* Zero means default everywhere. */
typedef struct mp_tmpl_limits {
    uint64_t steps;        /* evaluated nodes and copied elements; default 20,000,000 */
    uint64_t output_bytes; /* default 4 MiB + 8 * bytes of JSON */
    uint64_t memory_bytes; /* values held by one render; default 64 MiB + 32 * bytes of JSON. The ledger's own limit holds as well */
    int      depth;        /* nested evaluations (a call of a macro is about 8 of them, each about 300 bytes of stack); default 500,
                            * at most 2000 */
    int64_t  now_unix;     /* what strftime_now formats, as seconds since 1970 in UTC; 0 = the system's local time now */
} mp_tmpl_limits;

/* Compiles n bytes of template text; keeps the ledger for what renders need. Errors: MP_E_MODEL with the line number and what is wrong,
 * for text that is not UTF-8 or not a template that this interpreter knows; MP_E_BUDGET. Memory: as TOKENIZER. Free with mp_tmpl_close. */
mp_err mp_tmpl_compile(mp_ledger *ledger, const char *text, size_t n, mp_tmpl **out);
void   mp_tmpl_close(mp_tmpl **tmpl);

/* Renders with the members of one JSON object as variables. *out is NUL-terminated, *out_n bytes long without the NUL, charged as
 * TOKENIZER, and the caller's to mp_free. limits NULL: all defaults.
 * Errors: MP_E_USAGE when json is not a JSON object; MP_E_FAILED with the template's own words when it calls raise_exception;
 * MP_E_MODEL when the template does what Python would refuse, or passes a limit (the sentence says the line); MP_E_BUDGET.
 * Threads: any number of renders of one mp_tmpl at once. */
mp_err mp_tmpl_render(const mp_tmpl *tmpl, const char *json, size_t n, const mp_tmpl_limits *limits, char **out, size_t *out_n);
#endif
