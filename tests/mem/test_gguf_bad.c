/* The GGUF reader on files that are wrong: each must be refused with the right code and a sentence that names the file and what is wrong in it,
 * and leave nothing behind. */
#include "mem/gguf.h"

#include "support/gguf_write.h"
#include "test.h"

static char       dir[] = "/tmp/moped-gguf-XXXXXX";
static char       one[64]; /* path of the file under test */
static mp_ledger *ledger;

/* Opens `one`, which must fail with code and a sentence that holds `part`. */
static void refuse(mp_err code, const char *part)
{
    mp_gguf *g = (mp_gguf *)&g;
    char     what[1500];
    mp_err   err = mp_gguf_open(ledger, one, &g);
    snprintf(what, sizeof what, "code %d wanted %d; \"%s\" wanted \"%s\"", err, code, err == MP_OK ? "" : mp_err_text(), part);
    test_check(err == code && !g && strstr(mp_err_text(), part) && strstr(mp_err_text(), one), what, __FILE__, __LINE__);
    if (err == MP_OK) {
        mp_gguf_close(&g);
    }
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

static void refuse_gw(gw *w, const char *part)
{
    gw_save(w, one);
    gw_close(&w);
    refuse(MP_E_MODEL, part);
}

static void refuse_bytes(const void *bytes, size_t n, const char *part)
{
    gw_write_file(one, bytes, n);
    refuse(MP_E_MODEL, part);
}

static gw *sound(void)
{
    gw *w = gw_open();
    gw_str(w, "general.architecture", "llama");
    gw_tensor(w, "first", 0, 2, (uint64_t[]){ 8, 4 }, NULL);
    gw_tensor(w, "second", 8, 2, (uint64_t[]){ 32, 4 }, NULL);
    return w;
}

TEST(paths_that_cannot_be_opened)
{
    mp_gguf *g;
    CHECK_EQ(mp_gguf_open(ledger, "/no/such/model.gguf", &g), MP_E_USAGE);
    CHECK(!g && strstr(mp_err_text(), "/no/such/model.gguf"));
    CHECK_EQ(mp_gguf_open(ledger, dir, &g), MP_E_USAGE);
    CHECK_EQ(mp_gguf_open(ledger, "", &g), MP_E_USAGE);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

TEST(files_that_are_not_gguf)
{
    refuse_bytes("", 0, "is empty");
    refuse_bytes("GG", 2, "the file ends inside the header");
    refuse_bytes("\x50\x4b\x03\x04 and so on", 14, "is not a GGUF file: it begins with the bytes 50 4b 03 04");
    refuse_bytes("tjgg\1\0\0\0", 8, "old GGML");
    refuse_bytes("GGUF\3\0\0\0", 8, "the file ends inside the header");
}

TEST(versions)
{
    static const struct { uint32_t version; const char *part; } table[] = {
        { 1, "is GGUF version 1, which moped does not read" }, { 0x03000000, "other byte order" }, { 0x02000000, "other byte order" },
        { 0, "version 0" }, { 4, "version 4, which moped does not know" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        gw *w = sound();
        gw_version(w, table[i].version);
        refuse_gw(w, table[i].part);
    }
}

TEST(counts_that_no_file_has)
{
    static const uint64_t counts[] = { 1000, 1u << 20, (uint64_t)1 << 32, (uint64_t)1 << 60, (uint64_t)1 << 63, UINT64_MAX };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        gw *w = sound();
        gw_claim_tensors(w, counts[i]);
        refuse_gw(w, "tensors, more than a file of");
        w = sound();
        gw_claim_keys(w, counts[i]);
        refuse_gw(w, "metadata keys, more than a file of");
    }
}

TEST(keys)
{
    gw *w = sound();
    gw_raw(w, "", 0, GW_U8, "\1", 1);
    refuse_gw(w, "metadata key 1 is empty");
    w = sound();
    gw_u8(w, "a.key", 1);
    gw_u16(w, "a.key", 2);
    refuse_gw(w, "metadata key a.key is there twice");
    w = sound();
    gw_raw(w, "odd", 3, 13, "\1", 1);
    refuse_gw(w, "metadata key odd: has a value of unknown type 13");
    w = sound();
    gw_raw(w, "odd\nname", 8, 4000000000u, "\1", 1);
    refuse_gw(w, "metadata key odd?name: has a value of unknown type 4000000000");
    static char longest[70000];
    memset(longest, 'k', sizeof longest);
    w = sound();
    gw_raw(w, longest, 65536, GW_U8, "\1", 1);
    refuse_gw(w, "metadata key 1 claims 65536 bytes");
}

static uint8_t *number(uint8_t *to, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        *to++ = (uint8_t)(v >> 8 * i);
    }
    return to;
}

TEST(strings_longer_than_the_file)
{
    static const uint64_t lengths[] = { 5000, (uint64_t)1 << 31, (uint64_t)1 << 63, UINT64_MAX };
    for (size_t i = 0; i < 4; i++) {
        uint8_t v[32], *end = number(v, lengths[i], 8);
        gw     *w = gw_open();
        gw_raw(w, "text", 4, GW_STRING, v, (size_t)(end - v));
        refuse_gw(w, "metadata key text: the file ends inside its value");
        w = gw_open(); /* a string array of one */
        end = number(number(number(v, GW_STRING, 4), 1, 8), lengths[i], 8);
        gw_raw(w, "texts", 5, GW_ARRAY, v, (size_t)(end - v));
        refuse_gw(w, "metadata key texts: the file ends inside its value");
    }
}

TEST(arrays)
{
    static const struct { uint64_t type, n; const char *part; } table[] = {
        { GW_ARRAY, 1, "is an array of arrays" },
        { 13, 1, "is an array of elements of unknown type 13" },
        { GW_U8, 100000, "claims 100000 array elements of at least 1 bytes" },
        { GW_F64, 1000, "claims 1000 array elements of at least 8 bytes" },
        { GW_F64, (uint64_t)1 << 61, "array elements of at least 8 bytes" },
        { GW_STRING, (uint64_t)1 << 61, "array elements of at least 8 bytes" },
        { GW_STRING, UINT64_MAX, "claims 18446744073709551615 array elements" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint8_t v[32] = { 0 };
        gw     *w = sound();
        number(number(v, table[i].type, 4), table[i].n, 8);
        gw_raw(w, "list", 4, GW_ARRAY, v, sizeof v);
        refuse_gw(w, table[i].part);
    }
}

TEST(alignments)
{
    static const uint32_t bad[] = { 0, 3, 33, 0x80000001u };
    for (size_t i = 0; i < 4; i++) {
        gw *w = sound();
        gw_u32(w, "general.alignment", bad[i]);
        refuse_gw(w, "which is no power of two");
    }
    gw *w = sound();
    gw_u64(w, "general.alignment", (uint64_t)1 << 40);
    refuse_gw(w, "which is no power of two");
    w = sound();
    gw_str(w, "general.alignment", "32");
    refuse_gw(w, "general.alignment is not a natural number");
    w = sound();
    gw_i32(w, "general.alignment", -32);
    refuse_gw(w, "general.alignment is not a natural number");
}

TEST(tensor_names)
{
    gw *w = sound();
    gw_tensor(w, "first", 0, 1, (uint64_t[]){ 8 }, NULL);
    refuse_gw(w, "tensor first is there twice");
    w = sound();
    gw_tensor(w, "", 0, 1, (uint64_t[]){ 8 }, NULL);
    refuse_gw(w, "tensor 2 has a name of 0 bytes");
}

TEST(shapes)
{
    static const struct { uint32_t type, rank; uint64_t ne[5]; const char *part; } table[] = {
        { 0, 0, { 1 }, "tensor bad has 0 dimensions" },
        { 0, 5, { 1, 1, 1, 1, 1 }, "tensor bad has 5 dimensions" },
        { 0, UINT32_MAX, { 1 }, "tensor bad has 4294967295 dimensions" },
        { 0, 2, { 8, 0 }, "tensor bad has dimension 1 of size 0" },
        { 0, 1, { UINT64_MAX }, "tensor bad has dimension 0 of size -1" },
        { 0, 1, { (uint64_t)1 << 63 }, "tensor bad has dimension 0 of size -9223372036854775808" },
        { 0, 1, { INT64_MAX }, "tensor bad claims more elements than can be counted" },
        { 0, 2, { (uint64_t)1 << 32, (uint64_t)1 << 31 }, "tensor bad claims more elements than can be counted" },
        { 0, 4, { 1u << 16, 1u << 16, 1u << 16, 1u << 16 }, "tensor bad claims more elements than can be counted" },
        { 0, 2, { (uint64_t)1 << 31, (uint64_t)1 << 31 }, "tensor bad claims more elements than can be counted" },
        { 8, 2, { 31, 2 }, "tensor bad has rows of 31 elements, which is no multiple of the 32 that one Q8_0 block holds" },
        { 12, 2, { 128, 2 }, "tensor bad has rows of 128 elements, which is no multiple of the 256 that one Q4_K block holds" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        gw *w = sound();
        gw_tensor_raw(w, "bad", table[i].type, table[i].rank, table[i].ne, NULL, 64);
        refuse_gw(w, table[i].part);
    }
}

TEST(types_that_are_not_decoded)
{
    static const struct { uint32_t type; const char *arch, *part; } table[] = {
        { 16, "llama", "tensor blk.0.ffn_up.weight is IQ2_XXS, which moped does not decode; take a file with" },
        { 17, "llama", "is IQ2_XS," }, { 18, "llama", "is IQ3_XXS," }, { 19, "llama", "is IQ1_S," }, { 21, "llama", "is IQ3_S," },
        { 22, "llama", "is IQ2_S," }, { 29, "llama", "is IQ1_M," }, { 9, "llama", "is Q8_1," }, { 15, "llama", "is Q8_K," },
        { 40, "llama", "is NVFP4," }, { 41, "llama", "is Q1_0," }, { 42, "llama", "is Q2_0," }, { 24, "llama", "is I8," },
        { 25, "llama", "is I16," }, { 27, "llama", "is I64," }, { 28, "llama", "is F64," },
        { 4, "llama", "has type id 4, which is retired or unknown" }, { 5, "llama", "type id 5," }, { 31, "llama", "type id 31," },
        { 36, "llama", "type id 36," }, { 37, "llama", "type id 37," }, { 38, "llama", "type id 38," }, { 43, "llama", "type id 43," },
        { 97, "llama", "type id 97," }, { UINT32_MAX, "llama", "type id 4294967295," },
        { 36, "bitnet-b1.58", "is I2_S," }, { 37, "bitnet-25", "is I8_S," }, { 38, "bitnet-b1.58", "is TL1," }, { 39, "bitnet-25", "is TL2," },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        gw *w = gw_open();
        gw_str(w, "general.architecture", table[i].arch);
        gw_tensor_raw(w, "blk.0.ffn_up.weight", table[i].type, 2, (uint64_t[]){ 256, 2 }, NULL, 4096);
        refuse_gw(w, table[i].part);
    }
}

TEST(places)
{
    static const struct { uint64_t offset; const char *part; } table[] = {
        { 96, "begins at byte 96 of the data, but the tensor described before it ends at 128" }, { 0, "overlap or are out of order" },
        { 130, "begins at byte 130 of the data, which is no multiple of the alignment 32" },
        { UINT64_MAX - 31, "which no file can have" }, { (uint64_t)1 << 63, "which no file can have" },
        { (uint64_t)1 << 40, "bytes are missing: tensor second ends at byte" }, { 160, " 32 bytes are missing: tensor second" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        gw *w = sound();
        gw_set_offset(w, 1, table[i].offset);
        refuse_gw(w, table[i].part);
    }
}

/* Every length from nothing to one byte short of the whole must be refused; from the end of the descriptions on, with the missing bytes. */
TEST(every_truncation)
{
    gw *w = sound();
    gw_array_str(w, "words", (const char *const[]){ "a", "bc" }, 2);
    gw_array(w, "list", GW_I16, (int16_t[]){ 1, 2, 3 }, 3);
    gw_f64(w, "last", 1.5);
    size_t   n, header;
    uint8_t *whole = gw_build(w, &n, &header);
    gw_close(&w);
    for (size_t cut = 0; cut < n; cut++) {
        char part[64] = "";
        if (cut >= header) {
            snprintf(part, sizeof part, " %zu bytes are missing: tensor second", n - cut);
        }
        refuse_bytes(whole, cut, part);
    }
    free(whole);
}

/* The budget is asked before memory is taken: every limit below what a success needs is a refusal that leaves nothing. */
TEST(budget)
{
    mp_ledger *own;
    mp_gguf   *g;
    gw        *w = sound();
    gw_array_numbered(w, "tokenizer.ggml.tokens", "t", 5000);
    gw_save(w, one);
    gw_close(&w);
    REQUIRE(mp_ledger_open(false, &own) == MP_OK);
    CHECK_OK(mp_gguf_open(own, one, &g));
    mp_gguf_close(&g);
    uint64_t need = mp_ledger_peak(own, MP_TIER_RAM);
    for (uint64_t limit = 1; limit < need; limit += limit < 1 << 20 ? 100000 : 500) {
        mp_ledger_set_limit(own, MP_TIER_RAM, limit);
        CHECK_EQ(mp_gguf_open(own, one, &g), MP_E_BUDGET);
        CHECK(!g);
        CHECK_EQ(mp_ledger_used(own, MP_TIER_RAM), 0);
    }
    mp_ledger_set_limit(own, MP_TIER_RAM, need);
    CHECK_OK(mp_gguf_open(own, one, &g));
    mp_gguf_close(&g);
    mp_ledger_close(&own);
}

/* Writes sound three-part files and returns the path of part no. */
static const char *part_path(int no)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/m-%05d-of-00003.gguf", dir, no);
    return path;
}

static void write_parts(void)
{
    gw  *w = sound();
    char stem[64];
    gw_tensor(w, "third", 0, 1, (uint64_t[]){ 8 }, NULL);
    snprintf(stem, sizeof stem, "%s/m", dir);
    gw_save_split(w, stem, 3);
    gw_close(&w);
}

static void refuse_parts(int given, const char *part)
{
    mp_gguf *g;
    char     what[1500];
    mp_err   err = mp_gguf_open(ledger, part_path(given), &g);
    snprintf(what, sizeof what, "%d \"%s\" wanted \"%s\"", err, mp_err_text(), part);
    test_check(err == MP_E_MODEL && !g && strstr(mp_err_text(), part), what, __FILE__, __LINE__);
    CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), 0);
}

/* Replaces part no by a file that says it is part `says` of `count` and has one tensor of that name. */
static void replace_part(int no, int says, int count, const char *tensor)
{
    gw *w = gw_open();
    gw_u16(w, "split.no", (uint16_t)says);
    gw_u16(w, "split.count", (uint16_t)count);
    gw_i32(w, "split.tensors.count", 3);
    gw_tensor(w, tensor, 0, 1, (uint64_t[]){ 8 }, NULL);
    gw_save(w, part_path(no));
    gw_close(&w);
}

TEST(parts)
{
    char why[160];
    for (int missing = 1; missing <= 3; missing++) {
        write_parts();
        remove(part_path(missing));
        snprintf(why, sizeof why, "part %d of the 3 that this model is split into", missing);
        for (int given = 1; given <= 3; given++) {
            if (given != missing) {
                refuse_parts(given, why);
            }
        }
    }
    write_parts();
    replace_part(2, 2, 3, "second");
    refuse_parts(1, "says that it is part 3 of 3, but by its name and its first part it is 2 of 3");
    replace_part(2, 1, 4, "second");
    refuse_parts(3, "says that it is part 2 of 4");
    replace_part(2, 1, 3, "third");
    refuse_parts(1, "tensor third is there twice");
    write_parts();
    gw *w = gw_open(); /* one tensor too many in the last part */
    gw_u16(w, "split.no", 2);
    gw_u16(w, "split.count", 3);
    gw_tensor(w, "third", 0, 1, (uint64_t[]){ 8 }, NULL);
    gw_tensor(w, "fourth", 0, 1, (uint64_t[]){ 8 }, NULL);
    gw_save(w, part_path(3));
    gw_close(&w);
    refuse_parts(1, "split.tensors.count says 3 tensors, but the parts have 4 together");
    gw_write_file(part_path(3), "GGUF", 4);
    refuse_parts(1, "m-00003-of-00003.gguf: the file ends inside the header");
}

TEST(a_part_under_another_name)
{
    gw *w = sound();
    gw_u16(w, "split.no", 1);
    gw_u16(w, "split.count", 2);
    refuse_gw(w, "says that it is part 2 of 2, but by its name and its first part it is 1 of 1");
    w = sound();
    gw_u16(w, "split.no", 0);
    gw_u16(w, "split.count", 2);
    refuse_gw(w, "says that it is part 1 of 2");
}

int main(void)
{
    if (!mkdtemp(dir) || mp_ledger_open(false, &ledger) != MP_OK) {
        return 1;
    }
    snprintf(one, sizeof one, "%s/one.gguf", dir);
    RUN(paths_that_cannot_be_opened);
    RUN(files_that_are_not_gguf);
    RUN(versions);
    RUN(counts_that_no_file_has);
    RUN(keys);
    RUN(strings_longer_than_the_file);
    RUN(arrays);
    RUN(alignments);
    RUN(tensor_names);
    RUN(shapes);
    RUN(types_that_are_not_decoded);
    RUN(places);
    RUN(every_truncation);
    RUN(budget);
    RUN(parts);
    RUN(a_part_under_another_name);
    mp_ledger_close(&ledger);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command) == 0 ? test_done() : 1;
}
