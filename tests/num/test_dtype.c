/* The table of types and tensors. */
#include "num/tensor.h"
#include "test.h"

/* From the format sheet: GGUF id, name, elements and bytes of a block. */
static const struct row { mp_dtype type; uint32_t id; const char *name; int len, bytes; } rows[] = {
    { MP_F32, 0, "F32", 1, 4 },       { MP_F16, 1, "F16", 1, 2 },       { MP_BF16, 30, "BF16", 1, 2 },    { MP_Q4_0, 2, "Q4_0", 32, 18 },
    { MP_Q4_1, 3, "Q4_1", 32, 20 },   { MP_Q5_0, 6, "Q5_0", 32, 22 },   { MP_Q5_1, 7, "Q5_1", 32, 24 },   { MP_Q8_0, 8, "Q8_0", 32, 34 },
    { MP_Q2_K, 10, "Q2_K", 256, 84 }, { MP_Q3_K, 11, "Q3_K", 256, 110 }, { MP_Q4_K, 12, "Q4_K", 256, 144 }, { MP_Q5_K, 13, "Q5_K", 256, 176 },
    { MP_Q6_K, 14, "Q6_K", 256, 210 }, { MP_IQ4_NL, 20, "IQ4_NL", 32, 18 }, { MP_IQ4_XS, 23, "IQ4_XS", 256, 136 }, { MP_TQ1_0, 34, "TQ1_0", 256, 54 },
    { MP_TQ2_0, 35, "TQ2_0", 256, 66 }, { MP_MXFP4, 39, "MXFP4", 32, 17 }, { MP_I32, 26, "I32", 1, 4 },
};
enum { ROWS = sizeof rows / sizeof *rows };

TEST(table_is_the_format_sheet)
{
    CHECK_EQ(ROWS, MP_DTYPE_COUNT);
    for (int i = 0; i < ROWS; i++) {
        const mp_dtype_info *info = mp_dtype_get(rows[i].type);
        mp_dtype back = MP_I32;
        CHECK_STR(info->name, rows[i].name);
        CHECK_STR(mp_gguf_type_name(rows[i].id), rows[i].name);
        CHECK_EQ(info->block_len, rows[i].len);
        CHECK_EQ(info->block_bytes, rows[i].bytes);
        CHECK_EQ(info->gguf_id, rows[i].id);
        CHECK_EQ(info->quantized, rows[i].len > 1);
        CHECK(mp_dtype_from_gguf(rows[i].id, &back));
        CHECK_EQ(back, rows[i].type);
        CHECK_EQ(mp_dtype_row_bytes(rows[i].type, 512), 512 / rows[i].len * rows[i].bytes);
        CHECK_EQ(mp_dtype_row_bytes(rows[i].type, 0), 0);
    }
}

TEST(other_ids_have_names_only)
{
    mp_dtype type;
    CHECK(!mp_dtype_from_gguf(16, &type));
    CHECK_STR(mp_gguf_type_name(16), "IQ2_XXS");
    CHECK_STR(mp_gguf_type_name(40), "NVFP4");
    CHECK(!mp_dtype_from_gguf(40, &type));
    for (uint32_t id = 0; id < 300; id++) {
        if (mp_dtype_from_gguf(id, &type))
            CHECK(mp_gguf_type_name(id) != NULL);
    }
    CHECK(mp_gguf_type_name(36) == NULL); /* means different things in different forks */
    CHECK(mp_gguf_type_name(43) == NULL);
    CHECK(mp_gguf_type_name(UINT32_MAX) == NULL);
    CHECK(!mp_dtype_from_gguf(UINT32_MAX, &type));
}

/* More than 2^32 bytes in a row count right. */
TEST(long_rows)
{
    CHECK_EQ(mp_dtype_row_bytes(MP_F32, (int64_t)1 << 34), (int64_t)1 << 36);
    CHECK_EQ(mp_dtype_row_bytes(MP_Q4_K, (int64_t)1 << 36), ((int64_t)1 << 28) * 144);
}

TEST(tensors)
{
    char data[8];
    mp_tensor none = { 0 }, v = mp_tensor_1d(data, MP_F32, 10), m = mp_tensor_2d(data, MP_Q4_K, 3, 512), e = mp_tensor_3d(NULL, MP_F16, 4, 5, 6);
    CHECK(mp_tensor_none(&none) && !mp_tensor_none(&v));
    CHECK_EQ(mp_tensor_count(&none), 0);
    CHECK_EQ(mp_tensor_count(&v), 10);
    CHECK_EQ(mp_tensor_rows(&v), 1);
    CHECK_EQ(mp_tensor_bytes(&v), 40);
    CHECK_EQ(v.stride[0], 4);
    CHECK_EQ(mp_tensor_rows(&m), 3);
    CHECK_EQ(mp_tensor_cols(&m), 512);
    CHECK_EQ(m.stride[0], 288);
    CHECK_EQ(mp_tensor_bytes(&m), 864);
    CHECK_EQ(m.shape[2], 1);
    CHECK_EQ(e.stride[0], 60);
    CHECK_EQ(e.stride[1], 12);
    CHECK_EQ(e.stride[2], 2);
    CHECK_EQ(mp_tensor_rows(&e), 20);
    CHECK_EQ(mp_tensor_bytes(&e), 240);
}

TEST(reshaping_keeps_data_and_node)
{
    char data[4];
    mp_tensor t = mp_tensor_2d(data, MP_F32, 6, 4);
    t.node = 7;
    mp_tensor cube = mp_tensor_reshape_3d(t, 2, 3, 4), flat = mp_tensor_reshape_2d(cube, 3, 8);
    CHECK(cube.data == data && flat.data == data);
    CHECK_EQ(cube.node, 7);
    CHECK_EQ(flat.node, 7);
    CHECK_EQ(cube.rank, 3);
    CHECK_EQ(cube.stride[0], 48);
    CHECK_EQ(flat.stride[0], 32);
    CHECK_EQ(mp_tensor_count(&flat), 24);
}

int main(void)
{
    RUN(table_is_the_format_sheet);
    RUN(other_ids_have_names_only);
    RUN(long_rows);
    RUN(tensors);
    RUN(reshaping_keeps_data_and_node);
    return test_done();
}
