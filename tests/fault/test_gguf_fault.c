/* The GGUF reader when the system fails it: the N-th allocation, the N-th read, for every N. Each failure is an error with nothing left behind;
 * reads that come in halves are no failure at all. */
#include "fault/wrap.h"
#include "mem/gguf.h"
#include "support/gguf_write.h"
#include "test.h"

static char       dir[] = "/tmp/moped-gguf-XXXXXX";
static char       path[64];
static mp_ledger *ledger;

/* Two parts; the first has arrays of both kinds, one of them larger than a window, so that there are several reads. */
static void write_model(void)
{
    char stem[48];
    gw  *w = gw_open();
    gw_str(w, "general.architecture", "llama");
    gw_array_numbered(w, "tokenizer.ggml.tokens", "a rather long token so that there are fewer of them ", 30000);
    gw_array(w, "tokenizer.ggml.scores", GW_F32, (float[]){ 1, 2, 3 }, 3);
    gw_tensor(w, "first", 0, 2, (uint64_t[]){ 8, 4 }, NULL);
    gw_tensor(w, "second", 8, 2, (uint64_t[]){ 32, 4 }, NULL);
    snprintf(stem, sizeof stem, "%s/m", dir);
    gw_save_split(w, stem, 2);
    gw_close(&w);
    snprintf(path, sizeof path, "%s/m-00001-of-00002.gguf", dir);
}

/* Walks N until nothing fails any more; returns how many failures there were. */
static int walk(wrap_kind kind)
{
    for (int n = 1;; n++) {
        mp_gguf *g;
        wrap_fail(kind, n);
        mp_err err = mp_gguf_open(ledger, path, &g);
        bool   hit = wrap_stop();
        CHECK_EQ(hit, err != MP_OK);
        CHECK_EQ(err != MP_OK, g == NULL);
        CHECK(!hit || err == MP_E_FAILED);
        mp_gguf_close(&g);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
        if (!hit) {
            return n - 1;
        }
    }
}

TEST(every_allocation_can_fail)
{
    CHECK(walk(WRAP_MEMORY) >= 12); /* two windows, two paths, table, index, text, arrays, directory, ... */
}

TEST(every_read_can_fail)
{
    CHECK(walk(WRAP_READ) >= 4); /* both passes over the tokens, and the other part */
    CHECK(walk(WRAP_END) >= 4);
}

TEST(short_reads_are_no_failure)
{
    for (int n = 1; n < 12; n++) {
        mp_gguf *g;
        mp_str   s = { 0 };
        wrap_fail_from(WRAP_SHORT, n);
        mp_err err = mp_gguf_open(ledger, path, &g);
        wrap_stop();
        CHECK_EQ(err, MP_OK);
        REQUIRE(g);
        CHECK(mp_gguf_array_str(g, "tokenizer.ggml.tokens", 29999, &s) && s.n == 57 && memcmp(s.s + 52, "29999", 5) == 0);
        CHECK_EQ(mp_gguf_tensors(g), 2);
        mp_gguf_close(&g);
    }
}

int main(void)
{
    if (!mkdtemp(dir) || mp_ledger_open(false, &ledger) != MP_OK) {
        return 1;
    }
    write_model();
    RUN(every_allocation_can_fail);
    RUN(every_read_can_fail);
    RUN(short_reads_are_no_failure);
    mp_ledger_close(&ledger);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command) == 0 ? test_done() : 1;
}
