/* What stands for the CUDA device where there was no nvcc when moped was built. */
#include "dev/dev.h"

mp_err mp_dev_cuda_open(mp_ledger *ledger, int ordinal, mp_dev **out)
{
    (void)ledger, (void)ordinal;
    *out = NULL;
    return mp_fail(MP_E_FAILED, "this moped was built without CUDA");
}

mp_err mp_dev_cuda_vram(int ordinal, mp_dev_vram *out)
{
    (void)ordinal;
    *out = (mp_dev_vram){ 0 };
    return mp_fail(MP_E_FAILED, "this moped was built without CUDA");
}
