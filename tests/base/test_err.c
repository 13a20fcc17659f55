/* base/err.h and base/log.h: the sentence of each thread, and messages that go to the sink or nowhere. */
#include "base/err.h"

#include <pthread.h>

#include "base/log.h"
#include "test.h"

static void *fresh_thread(void *arg) {
    (void)arg;
    CHECK_STR(mp_err_text(), "");
    mp_fail(MP_E_FAILED, "theirs");
    CHECK_STR(mp_err_text(), "theirs");
    return NULL;
}

TEST(sentences) {
    CHECK_STR(mp_err_text(), "");
    CHECK_EQ(mp_fail(MP_E_MODEL, "tensor %s has %d dimensions", "x", 9), MP_E_MODEL);
    CHECK_STR(mp_err_text(), "tensor x has 9 dimensions");
    CHECK_EQ(mp_fail_in(MP_E_MODEL, "a.gguf"), MP_E_MODEL);
    CHECK_STR(mp_err_text(), "a.gguf: tensor x has 9 dimensions");
    mp_fail(MP_E_FAILED, "again: %s", mp_err_text());
    CHECK_STR(mp_err_text(), "again: a.gguf: tensor x has 9 dimensions");
    pthread_t thread;
    REQUIRE(!pthread_create(&thread, NULL, fresh_thread, NULL));
    pthread_join(thread, NULL);
    CHECK_STR(mp_err_text(), "again: a.gguf: tensor x has 9 dimensions");
}

TEST(long_sentences_are_cut) {
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    mp_fail(MP_E_FAILED, "%s", text);
    CHECK_EQ(strlen(mp_err_text()), 1023);
    mp_fail_in(MP_E_FAILED, "where");
    CHECK_EQ(strlen(mp_err_text()), 1023);
    CHECK(!strncmp(mp_err_text(), "where: xxx", 10));
}

typedef struct heard {
    int  times;
    char text[64];
} heard;

static void hear(void *user, mp_log_level level, const char *text) {
    heard *h = user;
    h->times++;
    snprintf(h->text, sizeof h->text, "%d %s", (int)level, text);
}

TEST(log_levels) {
    heard h = {0};
    mp_log log = {.fn = hear, .user = &h, .level = MP_LOG_WARN};
    mp_logf(&log, MP_LOG_INFO, "no");
    CHECK_EQ(h.times, 0);
    mp_logf(&log, MP_LOG_WARN, "disk %d", 3);
    CHECK_STR(h.text, "1 disk 3");
    mp_logf(&log, MP_LOG_ERROR, "bad");
    CHECK_STR(h.text, "0 bad");
    CHECK_EQ(h.times, 2);
    log.fn = NULL;
    mp_logf(&log, MP_LOG_ERROR, "nobody listens");
    mp_logf(NULL, MP_LOG_ERROR, "nor here");
    CHECK_EQ(h.times, 2);
}

int main(void) {
    RUN(sentences);
    RUN(long_sentences_are_cut);
    RUN(log_levels);
    return test_done();
}
