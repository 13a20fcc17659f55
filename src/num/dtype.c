/* The table of element types. One row per decoded type; the names of the others exist so that an error can say what a file holds. */
#include "num/dtype.h"

#include <assert.h>

static const mp_dtype_info types[MP_DTYPE_COUNT] = {
    [MP_F32] = { "F32", 1, 4, 0, false },
    [MP_F16] = { "F16", 1, 2, 1, false },
    [MP_BF16] = { "BF16", 1, 2, 30, false },
    [MP_Q4_0] = { "Q4_0", 32, 18, 2, true },
    [MP_Q4_1] = { "Q4_1", 32, 20, 3, true },
    [MP_Q5_0] = { "Q5_0", 32, 22, 6, true },
    [MP_Q5_1] = { "Q5_1", 32, 24, 7, true },
    [MP_Q8_0] = { "Q8_0", 32, 34, 8, true },
    [MP_Q2_K] = { "Q2_K", 256, 84, 10, true },
    [MP_Q3_K] = { "Q3_K", 256, 110, 11, true },
    [MP_Q4_K] = { "Q4_K", 256, 144, 12, true },
    [MP_Q5_K] = { "Q5_K", 256, 176, 13, true },
    [MP_Q6_K] = { "Q6_K", 256, 210, 14, true },
    [MP_IQ4_NL] = { "IQ4_NL", 32, 18, 20, true },
    [MP_IQ4_XS] = { "IQ4_XS", 256, 136, 23, true },
    [MP_TQ1_0] = { "TQ1_0", 256, 54, 34, true },
    [MP_TQ2_0] = { "TQ2_0", 256, 66, 35, true },
    [MP_MXFP4] = { "MXFP4", 32, 17, 39, true },
    [MP_I32] = { "I32", 1, 4, 26, false },
};

/* By GGUF id, up to the newest one known; holes are retired ids. 36-38 mean different things in different forks. */
static const char *const gguf_names[] = {
    [0] = "F32", [1] = "F16", [2] = "Q4_0", [3] = "Q4_1", [6] = "Q5_0", [7] = "Q5_1", [8] = "Q8_0", [9] = "Q8_1",
    [10] = "Q2_K", [11] = "Q3_K", [12] = "Q4_K", [13] = "Q5_K", [14] = "Q6_K", [15] = "Q8_K",
    [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S", [22] = "IQ2_S",
    [23] = "IQ4_XS", [24] = "I8", [25] = "I16", [26] = "I32", [27] = "I64", [28] = "F64", [29] = "IQ1_M", [30] = "BF16",
    [34] = "TQ1_0", [35] = "TQ2_0", [39] = "MXFP4", [40] = "NVFP4", [41] = "Q1_0", [42] = "Q2_0",
};

const mp_dtype_info *mp_dtype_get(mp_dtype type)
{
    assert((unsigned)type < MP_DTYPE_COUNT);
    return &types[type];
}

bool mp_dtype_from_gguf(uint32_t gguf_id, mp_dtype *out)
{
    for (int i = 0; i < MP_DTYPE_COUNT; i++) {
        if ((uint32_t)types[i].gguf_id == gguf_id) {
            *out = (mp_dtype)i;
            return true;
        }
    }
    *out = MP_F32;
    return false;
}

const char *mp_gguf_type_name(uint32_t gguf_id)
{
    return gguf_id < sizeof gguf_names / sizeof *gguf_names ? gguf_names[gguf_id] : NULL;
}

mp_arith mp_dtype_arith(mp_dtype type)
{
    return mp_dtype_get(type)->quantized ? MP_ARITH_INT8 : MP_ARITH_F32; /* F16 and BF16 are widened: activations are float32 */
}

const char *mp_arith_name(mp_arith arith)
{
    static const char *const names[MP_ARITH_COUNT] = { "int8", "bf16", "float32" };
    assert((unsigned)arith < MP_ARITH_COUNT);
    return names[arith];
}

size_t mp_dtype_row_bytes(mp_dtype type, int64_t n)
{
    const mp_dtype_info *info = mp_dtype_get(type);
    assert(n >= 0 && n % info->block_len == 0);
    return (size_t)(n / info->block_len) * info->block_bytes;
}
