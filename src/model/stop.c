/* Several stop strings at once, each with its own Knuth-Morris-Pratt automaton: O(1) amortized per byte and string, no memory of the
 * text itself, so pieces of any size can come. What is held back is the longest beginning of a stop string that the text ends with. */
#include "model/stop.h"

#include <string.h>

enum { MAX_STRINGS = 64, MAX_BYTES = 4096 };

typedef struct pattern {
    char     *text;
    uint16_t *back; /* back[i]: the longest proper prefix of text[0..i] that is also its suffix */
    size_t    n, at; /* at: how many bytes of it the stream ends with */
} pattern;

struct mp_stop {
    pattern       *pattern;
    int            n;
    uint64_t       fed;
    mp_stop_result result;
};

static mp_err pattern_init(mp_ledger *ledger, const mp_stop_string *string, pattern *p)
{
    if (string->n == 0) return mp_fail(MP_E_USAGE, "a stop string is empty; it would stop everything");
    if (string->n > MAX_BYTES)
        return mp_fail(MP_E_USAGE, "a stop string has %zu bytes; at most %d are possible", string->n, MAX_BYTES);
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, char, string->n, &p->text);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, uint16_t, string->n, &p->back);
    if (err) return err;
    memcpy(p->text, string->text, string->n);
    p->n = string->n;
    for (size_t i = 1, k = 0; i < p->n; i++) {
        while (k > 0 && p->text[i] != p->text[k]) k = p->back[k - 1];
        if (p->text[i] == p->text[k]) k++;
        p->back[i] = (uint16_t)k;
    }
    return MP_OK;
}

mp_err mp_stop_open(mp_ledger *ledger, const mp_stop_string *strings, int n, mp_stop **out)
{
    mp_stop *s = NULL;
    *out = NULL;
    if (n < 0 || n > MAX_STRINGS) return mp_fail(MP_E_USAGE, "%d stop strings; at most %d are possible", n, MAX_STRINGS);
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, mp_stop, 1, &s);
    if (err) return err;
    err = MP_NEW(ledger, MP_OWN_WORK, pattern, (size_t)n, &s->pattern);
    if (err) goto out;
    s->n = n;
    for (int i = 0; i < n && !err; i++) err = pattern_init(ledger, &strings[i], &s->pattern[i]);
    if (err) goto out;
    mp_stop_reset(s);
    *out = s;
    s = NULL;
out:
    mp_stop_close(&s);
    return err;
}

void mp_stop_close(mp_stop **stop)
{
    mp_stop *s = *stop;
    *stop = NULL;
    if (!s) return;
    for (int i = 0; i < s->n; i++) {
        mp_free(s->pattern[i].text);
        mp_free(s->pattern[i].back);
    }
    mp_free(s->pattern);
    mp_free(s);
}

void mp_stop_reset(mp_stop *s)
{
    for (int i = 0; i < s->n; i++) s->pattern[i].at = 0;
    s->fed = 0;
    s->result = (mp_stop_result){ .which = -1 };
}

/* True when the pattern is complete with this byte. */
static bool advance(pattern *p, char byte)
{
    while (p->at > 0 && p->text[p->at] != byte) p->at = p->back[p->at - 1];
    if (p->text[p->at] == byte) p->at++;
    return p->at == p->n;
}

static void feed_byte(mp_stop *s, char byte)
{
    mp_stop_result *r = &s->result;
    size_t held = 0, longest = 0;
    s->fed++;
    for (int i = 0; i < s->n; i++) {
        pattern *p = &s->pattern[i];
        bool complete = advance(p, byte);
        if (p->at > held) held = p->at;
        if (!complete || p->n <= longest) continue;
        longest = p->n;
        r->matched = true;
        r->which = i;
    }
    if (r->matched) r->end = s->fed;
    r->emit_to = s->fed - (r->matched ? longest : held);
}

mp_stop_result mp_stop_feed(mp_stop *s, const char *piece, size_t n)
{
    for (size_t i = 0; i < n && !s->result.matched; i++) feed_byte(s, piece[i]);
    return s->result;
}

mp_stop_result mp_stop_finish(const mp_stop *s)
{
    mp_stop_result r = s->result;
    if (!r.matched) r.emit_to = s->fed;
    return r;
}
