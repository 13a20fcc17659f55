/* Any bytes as a GGUF file: the reader must refuse or open them, and all that it then offers must be readable.
 * Seeds: tests/fuzz/seeds/gguf, written by tests/fuzz/make_gguf_seeds.py. */
#include "mem/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Like assert, but also where NDEBUG is set. */
static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Sums what it reads, so that no read is optimized away. */
static volatile uint64_t sink;

static void touch(mp_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        sink += (unsigned char)s.s[i];
    }
}

static void touch_key(const mp_gguf *g, const char *key)
{
    uint64_t      u = 0;
    int64_t       i = 0;
    double        f = 0;
    bool          b = false;
    mp_str        s = { 0 };
    mp_gguf_array a;
    sink += mp_gguf_u64(g, key, &u) + mp_gguf_i64(g, key, &i) + mp_gguf_f64(g, key, &f) + mp_gguf_bool(g, key, &b);
    if (mp_gguf_str(g, key, &s)) {
        touch(s);
    }
    int64_t n = mp_gguf_array_len(g, key);
    if (!mp_gguf_array_get(g, key, &a)) {
        return;
    }
    for (int64_t k = -1; k <= n; k++) { /* one before and one behind, too */
        touch(mp_gguf_array_str_at(&a, k));
        sink += mp_gguf_array_f64_at(&a, k) > 0;
        sink += mp_gguf_array_str(g, key, k, &s) + mp_gguf_array_f64(g, key, k, &f);
    }
}

static void touch_tensor(const mp_gguf *g, const mp_gguf_tensor *t)
{
    touch(t->name);
    expect(t->rank >= 1 && t->rank <= 4 && t->file == 0 && t->name.n > 0);
    expect(t->offset + t->bytes <= mp_gguf_file(g, t->file)->bytes && t->offset + t->bytes >= t->offset);
    const mp_dtype_info *info = mp_dtype_get(t->dtype);
    uint64_t             n = 1;
    for (int i = 0; i < t->rank; i++) {
        expect(t->shape[i] >= 1);
        n *= (uint64_t)t->shape[i];
    }
    expect(n % info->block_len == 0 && n / info->block_len * info->block_bytes == t->bytes);
    unsigned char first;
    if (mp_file_read(mp_gguf_file(g, t->file), &first, 1, t->offset) == MP_OK) {
        sink += first;
    }
}

static void touch_all(mp_gguf *g)
{
    static const char *const keys[] = {
        "general.architecture", "general.alignment", "llama.block_count", "llama.rope.freq_base", "llama.attention.head_count_kv",
        "tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "split.count", "a", "",
    };
    for (int round = 0; round < 2; round++) { /* whole, and with its arrays dropped */
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            touch_key(g, keys[i]);
        }
        mp_gguf_drop_arrays(g);
    }
    for (int64_t i = 0; i < mp_gguf_tensors(g); i++) {
        touch_tensor(g, mp_gguf_tensor_at(g, i));
    }
    sink += mp_gguf_find(g, "token_embd.weight") != NULL;
    sink += mp_gguf_bytes(g) + (uint64_t)mp_gguf_files(g) + strlen(mp_gguf_path(g, 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char       path[64];
    mp_ledger *ledger;
    mp_gguf   *g;
    int        fd = memfd_create("fuzz", 0);
    if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size) || mp_ledger_open(false, &ledger) != MP_OK) {
        perror("fuzz_gguf");
        exit(2);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    mp_err err = mp_gguf_open(ledger, path, &g);
    if (err == MP_OK) {
        touch_all(g);
    } else {
        expect(!g && strstr(mp_err_text(), path));
    }
    mp_gguf_close(&g);
    expect(mp_ledger_used(ledger, MP_TIER_RAM) == 0);
    expect(mp_ledger_peak(ledger, MP_TIER_RAM) < (4u << 20) + 64 * size); /* a lie about a count must not cost memory */
    mp_ledger_close(&ledger);
    close(fd);
    return 0;
}
