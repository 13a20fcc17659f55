/* The test frame: each tests/<floor>/test_*.c is one program.
 *
 *   #include "test.h"
 *   TEST(adds) { CHECK_EQ(1 + 1, 2); }
 *   int main(void) { RUN(adds); return test_done(); }
 *
 * A failed CHECK is printed and counted and the test goes on; REQUIRE leaves the test. SKIP says why and leaves the test.
 * test_done: 0 all passed, 1 something failed, 77 (what ctest takes for "skipped") when tests were skipped and none ran.
 * MOPED_TEST=text in the environment runs only tests whose name contains it. CHECKs may come from any thread. */
#ifndef MP_TESTS_TEST_H
#define MP_TESTS_TEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct test_state {
    atomic_int  checks, failures; /* of the whole program */
    int         passed, failed, skipped;
    bool        skip; /* the running test asked to be skipped */
} test_state;
static test_state test_now;

static inline void test_fail(const char *file, int line, const char *what) {
    atomic_fetch_add(&test_now.failures, 1);
    printf("%s:%d: %s\n", file, line, what);
}

static inline bool test_check(bool ok, const char *text, const char *file, int line) {
    atomic_fetch_add(&test_now.checks, 1);
    if (!ok) test_fail(file, line, text);
    return ok;
}

static inline bool test_eq(long long a, long long b, const char *text, const char *file, int line) {
    char what[512];
    snprintf(what, sizeof what, "%s: %lld is not %lld", text, a, b);
    return test_check(a == b, what, file, line);
}

/* NaN is near nothing. */
static inline bool test_near(double a, double b, double tol, const char *text, const char *file, int line) {
    char what[512];
    double d = a > b ? a - b : b - a;
    snprintf(what, sizeof what, "%s: %.9g is not within %.3g of %.9g", text, a, tol, b);
    return test_check(a == b || d <= tol, what, file, line);
}

static inline bool test_str(const char *a, const char *b, const char *text, const char *file, int line) {
    char what[1024];
    snprintf(what, sizeof what, "%s: \"%s\" is not \"%s\"", text, a ? a : "(null)", b ? b : "(null)");
    return test_check(a == b || (a && b && !strcmp(a, b)), what, file, line);
}

#define TEST(name) static void name(void)
#define CHECK(cond) ((void)test_check((cond) ? true : false, "CHECK(" #cond ")", __FILE__, __LINE__))
#define CHECK_EQ(a, b) ((void)test_eq((long long)(a), (long long)(b), #a " == " #b, __FILE__, __LINE__))
#define CHECK_NEAR(a, b, tol) \
    ((void)test_near((double)(a), (double)(b), (double)(tol), #a " ~ " #b, __FILE__, __LINE__))
#define CHECK_STR(a, b) ((void)test_str((a), (b), #a " == " #b, __FILE__, __LINE__))
/* An error code that must be 0; prints mp_err_text() of the library when it is not. Needs base/err.h. */
#define CHECK_OK(call)                                                                                   \
    do {                                                                                                 \
        int test_code = (call);                                                                          \
        char test_what[1400];                                                                            \
        snprintf(test_what, sizeof test_what, "%s: %d: %s", #call, test_code, mp_err_text());            \
        (void)test_check(test_code == 0, test_what, __FILE__, __LINE__);                                 \
    } while (0)
#define REQUIRE(cond)                                                                    \
    do {                                                                                 \
        if (!test_check((cond) ? true : false, "REQUIRE(" #cond ")", __FILE__, __LINE__)) return; \
    } while (0)
#define SKIP(why)                                              \
    do {                                                       \
        printf("%s:%d: SKIPPED: %s\n", __FILE__, __LINE__, (why)); \
        test_now.skip = true;                                  \
        return;                                                \
    } while (0)
#define RUN(name) test_run(name, #name)

static inline void test_run(void (*fn)(void), const char *name) {
    const char *only = getenv("MOPED_TEST");
    if (only && !strstr(name, only)) return;
    int before = test_now.failures;
    test_now.skip = false;
    fn();
    const char *how = "ok";
    if (test_now.failures != before) how = "FAILED", test_now.failed++;
    else if (test_now.skip) how = "skipped", test_now.skipped++;
    else test_now.passed++;
    printf("%-7s %s\n", how, name);
    fflush(stdout);
}

static inline int test_done(void) {
    printf("%d passed, %d failed, %d skipped, %d checks\n", test_now.passed, test_now.failed, test_now.skipped, test_now.checks);
    if (test_now.failed) return 1;
    return test_now.skipped && !test_now.passed ? 77 : 0;
}

/* Under AddressSanitizer freed memory stays resident, so a process grows although its ledger does not. Tests that give a budget to
 * the byte add this much to it. */
#if defined(__SANITIZE_ADDRESS__)
enum { TEST_SLACK_BYTES = 64 << 20 };
#else
enum { TEST_SLACK_BYTES = 0 };
#endif

/* Path of a reference file outside of the repository: $MOPED_SHARED/rel, else ../shared/rel beside the checkout. False when it is
 * not there: SKIP then. */
static inline bool test_shared(const char *rel, char *path, size_t bytes) {
    const char *root = getenv("MOPED_SHARED");
#ifdef MOPED_SOURCE_DIR
    if (!root) root = MOPED_SOURCE_DIR "/../shared";
#endif
    if (!root) root = "../shared";
    snprintf(path, bytes, "%s/%s", root, rel);
    return access(path, R_OK) == 0;
}

#endif
