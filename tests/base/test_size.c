/* base/size.h */
#include "base/size.h"

#include <inttypes.h>

#include "test.h"

static void reads(const char *text, uint64_t bytes) {
    uint64_t got = 1;
    char what[128];
    mp_err err = mp_size_parse(text, &got);
    snprintf(what, sizeof what, "\"%s\" gives %d, %" PRIu64, text, err, got);
    if (err || got != bytes) test_fail(__FILE__, __LINE__, what);
}

static void refuses(const char *text) {
    uint64_t got = 1;
    CHECK_EQ(mp_size_parse(text, &got), MP_E_USAGE);
    CHECK_EQ(got, 0);
    CHECK(strstr(mp_err_text(), text) != NULL);
}

TEST(parse) {
    const uint64_t k = 1024;
    reads("0", 0);
    reads("123", 123);
    reads("123B", 123);
    reads("8K", 8 * k);
    reads("8k", 8 * k);
    reads("8G", 8 * k * k * k);
    reads("8GiB", 8 * k * k * k);
    reads("8Gi", 8 * k * k * k);
    reads("8GB", 8000000000);
    reads("8gb", 8000000000);
    reads("512M", 512 * k * k);
    reads("512mb", 512000000);
    reads("1T", k * k * k * k);
    reads("2TB", 2000000000000);
    reads("1.5G", 3 * k * k * k / 2);
    reads(".5M", k * k / 2);
    reads("2.M", 2 * k * k);
    reads("0.1GB", 100000000);
    reads("1.0000000000000001K", 1024);
    reads("18446744073709551615", UINT64_MAX);
    reads("16777215T", 16777215 * k * k * k * k);
}

TEST(refuse) {
    static const char *const bad[] = {"G", ".", ".G", "-1", "+1", " 1", "1 ", "1 G", "1GG", "1.5", "1.5B", "1..5G", "1,5G", "8GBs",
                                      "0x10", "1e9", "nan", "18446744073709551616", "16777216T", "99999999999999999999999G"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refuses(bad[i]);
    uint64_t got = 1;
    CHECK_EQ(mp_size_parse("", &got), MP_E_USAGE);
    CHECK_EQ(got, 0);
}

TEST(print) {
    static const struct {
        uint64_t    bytes;
        const char *text;
    } cases[] = {
        {0, "0B"}, {1, "1B"}, {1023, "1023B"}, {1024, "1K"}, {1025, "1.00K"}, {1536, "1.50K"}, {512 << 20, "512M"},
        {(512 << 20) + 1, "512M"}, {8ull << 30, "8G"}, {(8ull << 30) - 1, "8.00G"}, {8547000000, "7.96G"}, {18576000000, "17.3G"},
        {1048575, "1.00M"}, {1048064, "1.00M"}, {1047000, "1022K"}, {10239, "10.0K"}, {102399, "100K"}, {9999 * 1024 / 1000, "10.0K"},
        {1ull << 40, "1T"}, {1ull << 60, "1E"}, {UINT64_MAX, "16.0E"}, {3ull << 50, "3P"}, {(3ull << 50) + (1ull << 49), "3.50P"},
    };
    char buf[MP_SIZE_TEXT];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) CHECK_STR(mp_size_format(cases[i].bytes, buf), cases[i].text);
}

/* What is printed reads back within the half of its last digit. */
TEST(round_trip) {
    for (uint64_t bytes = 1; bytes < 1ull << 42; bytes += bytes / 7 + 1) {
        char buf[MP_SIZE_TEXT];
        uint64_t back = 0;
        CHECK_OK(mp_size_parse(mp_size_format(bytes, buf), &back));
        CHECK_NEAR((double)back, (double)bytes, (double)bytes * 0.0051);
    }
}

int main(void) {
    RUN(parse);
    RUN(refuse);
    RUN(print);
    RUN(round_trip);
    return test_done();
}
