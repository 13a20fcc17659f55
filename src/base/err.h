/* Errors: a negative code plus one sentence for a person, set once, where the cause is known. */
#ifndef MP_BASE_ERR_H
#define MP_BASE_ERR_H

/* 0, or one of the negative codes below. The values are those of moped_status in moped.h. */
typedef int mp_err;

enum {
    MP_OK = 0,
    MP_E_FAILED = -1,    /* anything without a code of its own (I/O error, no memory from the system, ...) */
    MP_E_USAGE = -2,     /* a value that the caller gave is not usable */
    MP_E_BUDGET = -3,    /* it does not fit the budget */
    MP_E_MODEL = -4,     /* the model file is bad, or of a kind that is not supported */
    MP_E_GUARD = -5,     /* a guard stopped it */
    MP_E_CANCELLED = -6, /* the caller asked to stop */
    MP_E_CONTEXT = -7,   /* the context is full */
};

/* Sets this thread's sentence (printf-like, at most 1023 bytes, no final newline) and returns code, so that
 * `return mp_fail(MP_E_MODEL, "...")` reads well. The sentence says what is wrong, how much, and what to do.
 * Like errno it is thread-local; it is the one piece of mutable state outside of objects. */
mp_err mp_fail(mp_err code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The sentence of this thread's last mp_fail; "" if there was none. Valid until the next mp_fail of this thread. */
const char *mp_err_text(void);

/* Puts "prefix: " in front of this thread's sentence and returns code (for adding a file name on the way up). */
mp_err mp_fail_in(mp_err code, const char *prefix);

#endif
