/* Writing a model with random weights when the N-th allocation fails, for every N: an error, no file, no memory left behind. */
#include "fault/wrap.h"
#include "model/synth.h"
#include "test.h"

static char       dir[] = "/tmp/moped-synth-XXXXXX";
static char       path[64], part[80];
static mp_ledger *ledger;

TEST(every_allocation_can_fail)
{
    static const char *const SHAPES[] = { "tiny-mixtral@1", "tiny-qwen3@1" }; /* both kinds of vocabulary */
    for (int i = 0; i < 2; i++) {
        mp_synth_options o = { .shape = SHAPES[i], .path = path };
        for (int n = 1;; n++) {
            wrap_fail(WRAP_MEMORY, n);
            mp_err err = mp_synth_write(ledger, &o);
            bool   hit = wrap_stop();
            CHECK_EQ(hit, err != MP_OK);
            CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
            CHECK_EQ(access(path, F_OK) == 0, !hit);
            CHECK(access(part, F_OK) != 0);
            if (!hit) {
                CHECK(n >= 10); /* the list, the counting writer, the buffer, the writer, two names, window, sizes, types, ... */
                break;
            }
        }
        CHECK(remove(path) == 0);
    }
}

int main(void)
{
    if (!mkdtemp(dir) || mp_ledger_open(false, &ledger))
        return 2;
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    snprintf(part, sizeof part, "%s.part", path);
    RUN(every_allocation_can_fail);
    mp_ledger_close(&ledger);
    rmdir(dir);
    return test_done();
}
