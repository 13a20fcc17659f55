/* How much of a card is there, and what its driver takes for the process: by the driver's own readings where it gives them (support/nvml makes them up), else by
 * belief. Regions are charged in what the card hands out, and given back. The context is read once in a process, so each case is one of its own. */
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "both.h"

#ifdef FAKE_NVML_DIR
enum { LATER = 48, ASSUMED = 512 }; /* MiB, as dev/cuda/memory.c has them */

/* MiB that are believed to be the driver's, in a process with this driver (NULL: none) and its script. */
static int context_mib(const char *age, const char *script)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char path[512];
        mp_dev_vram v;
        setenv("FAKE_NVML", script, 1);
        snprintf(path, sizeof path, FAKE_NVML_DIR "/%s/libnvidia-ml.so.1", age ? age : "");
        void *library = age ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
        bool ok = (library || !age) && !mp_dev_cuda_vram(0, &v) && v.free_bytes == v.total_bytes - ((uint64_t)LATER << 20);
        _exit(ok ? (int)(v.context_bytes >> 20) / 4 : 255); /* an exit code has eight bits */
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) != 255 ? WEXITSTATUS(status) * 4 : -1;
}

TEST(the_drivers_own_share)
{
    CHECK_EQ(context_mib("new", ""), 500 + LATER);        /* this process has 500 MiB there, in two parts */
    CHECK_EQ(context_mib("new", "pid=1"), ASSUMED);       /* others have; nothing changed when the context came */
    CHECK_EQ(context_mib("old", ""), ASSUMED);            /* no list of processes */
    CHECK_EQ(context_mib("new", "cards=0"), ASSUMED);     /* not this card */
}
#endif

TEST(regions_are_charged_as_the_card_hands_them_out)
{
    both b;
    mp_region r;
    REQUIRE(both_open(&b));
    uint64_t before = mp_ledger_used(b.ledger, MP_TIER_VRAM), ram = mp_ledger_used(b.ledger, MP_TIER_RAM);
    CHECK(before > 0); /* the driver's */
    CHECK_OK(mp_region_open_in(b.ledger, b.gpu->memory, MP_OWN_WORK, 3 << 20, &r));
    CHECK_EQ(mp_ledger_used(b.ledger, MP_TIER_VRAM) - before, 4 << 20);
    CHECK_EQ(mp_ledger_used(b.ledger, MP_TIER_RAM), ram);
    mp_region_close(&r);
    CHECK_EQ(mp_ledger_used(b.ledger, MP_TIER_VRAM), before);
    both_close(&b);
}

int main(void)
{
#ifdef FAKE_NVML_DIR
    RUN(the_drivers_own_share); /* before this process has a context, which children would inherit */
#endif
    both b;
    if (!both_open(&b))
        return both_skipped();
    both_close(&b);
    RUN(regions_are_charged_as_the_card_hands_them_out);
    return test_done();
}
