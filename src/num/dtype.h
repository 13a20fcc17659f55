/* The table of element types: names, block sizes, GGUF ids. Source: formats.md 5.1 (llama.cpp's ggml-common.h); test: tests/num/test_dtype.c. */
#ifndef MP_NUM_DTYPE_H
#define MP_NUM_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mp_dtype {
    MP_F32, MP_F16, MP_BF16,
    MP_Q4_0, MP_Q4_1, MP_Q5_0, MP_Q5_1, MP_Q8_0,
    MP_Q2_K, MP_Q3_K, MP_Q4_K, MP_Q5_K, MP_Q6_K,
    MP_IQ4_NL, MP_IQ4_XS, MP_TQ1_0, MP_TQ2_0, MP_MXFP4,
    MP_I32,
    MP_DTYPE_COUNT,
} mp_dtype;

/* What products are computed with: each has a peak of its own (num/limits.h). */
typedef enum mp_arith { MP_ARITH_INT8, MP_ARITH_BF16, MP_ARITH_F32, MP_ARITH_COUNT } mp_arith;

typedef struct mp_dtype_info {
    const char *name;       /* "Q4_K" */
    uint16_t    block_len;  /* elements per block */
    uint16_t    block_bytes;
    int16_t     gguf_id;
    bool        quantized;  /* products run on int8 activations */
} mp_dtype_info;

const mp_dtype_info *mp_dtype_get(mp_dtype type);
bool        mp_dtype_from_gguf(uint32_t gguf_id, mp_dtype *out); /* false: not decoded here */
const char *mp_gguf_type_name(uint32_t gguf_id);                 /* also of types that are not decoded ("IQ2_XXS"); NULL if unknown */
mp_arith    mp_dtype_arith(mp_dtype type);                       /* of products with weights of this type */
const char *mp_arith_name(mp_arith arith);                       /* "int8" "bf16" "float32" */
size_t      mp_dtype_row_bytes(mp_dtype type, int64_t n);        /* n is a multiple of block_len */
#endif
