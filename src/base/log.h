/* Messages for people who watch: a sink that the program sets; without one nothing is printed. */
#ifndef MP_BASE_LOG_H
#define MP_BASE_LOG_H

typedef enum mp_log_level { MP_LOG_ERROR, MP_LOG_WARN, MP_LOG_INFO, MP_LOG_DEBUG } mp_log_level;
typedef void mp_log_fn(void *user, mp_log_level level, const char *text);

typedef struct mp_log {
    mp_log_fn   *fn; /* NULL: silent */
    void        *user;
    mp_log_level level;
} mp_log;

void mp_logf(const mp_log *log, mp_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));
#endif
