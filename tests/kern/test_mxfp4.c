/* Every scale that MXFP4 has, in every table: the two subnormal ones and NaN are made apart from the others. */
#include "kern_data.h"

TEST(every_scale_decodes_as_in_the_reference)
{
    enum { BLOCKS = 256, N = 32 * BLOCKS };
    static unsigned char row[17 * BLOCKS];
    static float         want[N], got[N];
    for (int e = 0; e < BLOCKS; e++) {
        unsigned char *block = row + 17 * e;
        block[0] = (unsigned char)e;
        for (int i = 1; i < 17; i++)
            block[i] = (unsigned char)rng();
    }
    mp_kern_at(0)->dequant[MP_MXFP4](want, row, N);
    for (int isa = 0; mp_kern_at(isa); isa++) {
        mp_kern_at(isa)->dequant[MP_MXFP4](got, row, N);
        for (int i = 0; i < N; i++) {
            bool ok = i / 32 == 255 ? isnan(got[i]) : memcmp(got + i, want + i, sizeof *got) == 0;
            if (!ok)
                printf("  %s: scale %d gives %.9g, not %.9g\n", mp_kern_at(isa)->name, i / 32, (double)got[i], (double)want[i]);
            CHECK(ok);
        }
    }
}

int main(void)
{
    RUN(every_scale_decodes_as_in_the_reference);
    return test_done();
}
