/* table: shapes of published models. Sources: the config.json that stands beside each model's weights on its makers' pages at huggingface.co
 * (meta-llama/Llama-*, mistralai/Mi*tral-*-v0.1 and Mistral-7B-v0.3, Qwen/Qwen*, allenai/OLMoE-1B-7B-0924), as they read in November 2025; parameter
 * counts as their model cards state them. The test holds each row against its count. */
#include <stdlib.h>
#include <string.h>

#include "model/synth.h"

#define LLAMA2(...) .family = MP_FAMILY_LLAMA, .tokens = MP_VOCAB_SPM, .head_dim = 128, .eps = 1e-5f, __VA_ARGS__
#define LLAMA3(...) .family = MP_FAMILY_LLAMA, .tokens = MP_VOCAB_LLAMA3, .vocab = 128256, .ctx = 131072, .rope_base = 500000, .eps = 1e-5f, __VA_ARGS__
#define QWEN(family_, ...) .family = family_, .tokens = MP_VOCAB_QWEN, .rope_base = 1e6f, .eps = 1e-6f, __VA_ARGS__
#define QWEN25(...) QWEN(MP_FAMILY_QWEN2, .ctx = 32768, __VA_ARGS__)
#define QWEN3(...) QWEN(MP_FAMILY_QWEN3, .head_dim = 128, .vocab = 151936, .ctx = 40960, __VA_ARGS__)
#define QWEN3MOE(...) QWEN(MP_FAMILY_QWEN3MOE, .ctx = 40960, __VA_ARGS__)
#define TINY(family_, tokens_, ...) .family = family_, .tokens = tokens_, .layers = 8, .width = 256, .heads = 4, .kv_heads = 2, .head_dim = 64, \
    .ff = 512, .vocab = 768, .ctx = 4096, .rope_base = 1e6f, .eps = 1e-5f, __VA_ARGS__

static const mp_shape SHAPES[] = {
    /* experts */
    { "mixtral-8x7b", LLAMA2(.layers = 32, .width = 4096, .heads = 32, .kv_heads = 8, .ff = 14336, .experts = 8, .used = 2, .expert_ff = 14336,
                             .vocab = 32000, .ctx = 32768, .rope_base = 1e6f, .published = 46.7) },
    { "mixtral-8x22b", LLAMA2(.layers = 56, .width = 6144, .heads = 48, .kv_heads = 8, .ff = 16384, .experts = 8, .used = 2, .expert_ff = 16384,
                              .vocab = 32000, .ctx = 65536, .rope_base = 1e6f, .published = 140.6) },
    { "qwen3-30b-a3b", QWEN3MOE(.layers = 48, .width = 2048, .heads = 32, .kv_heads = 4, .head_dim = 128, .ff = 6144, .experts = 128, .used = 8,
                                .expert_ff = 768, .vocab = 151936, .published = 30.5) },
    { "qwen3-235b-a22b", QWEN3MOE(.layers = 94, .width = 4096, .heads = 64, .kv_heads = 4, .head_dim = 128, .ff = 12288, .experts = 128, .used = 8,
                                  .expert_ff = 1536, .vocab = 151936, .published = 235) },
    { "qwen1.5-moe-a2.7b", QWEN(MP_FAMILY_QWEN2MOE, .layers = 24, .width = 2048, .heads = 16, .kv_heads = 16, .head_dim = 128, .ff = 5632, .experts = 60,
                                .used = 4, .expert_ff = 1408, .shared_ff = 5632, .vocab = 151936, .ctx = 8192, .published = 14.3) },
    { "qwen2-57b-a14b", QWEN(MP_FAMILY_QWEN2MOE, .layers = 28, .width = 3584, .heads = 28, .kv_heads = 4, .head_dim = 128, .ff = 18944, .experts = 64,
                             .used = 8, .expert_ff = 2560, .shared_ff = 20480, .vocab = 151936, .ctx = 131072, .published = 57.41) },
    { "olmoe-1b-7b", .family = MP_FAMILY_OLMOE, .tokens = MP_VOCAB_OLMO, .layers = 16, .width = 2048, .heads = 16, .kv_heads = 16, .head_dim = 128, .ff = 1024,
      .experts = 64, .used = 8, .expert_ff = 1024, .vocab = 50304, .ctx = 4096, .rope_base = 10000, .eps = 1e-5f, .published = 6.92 },
    /* dense */
    { "llama-2-7b", LLAMA2(.layers = 32, .width = 4096, .heads = 32, .kv_heads = 32, .ff = 11008, .vocab = 32000, .ctx = 4096, .rope_base = 10000, .published = 6.74) },
    { "mistral-7b", LLAMA2(.layers = 32, .width = 4096, .heads = 32, .kv_heads = 8, .ff = 14336, .vocab = 32768, .ctx = 32768, .rope_base = 1e6f, .published = 7.25) },
    { "llama-3.1-8b", LLAMA3(.layers = 32, .width = 4096, .heads = 32, .kv_heads = 8, .head_dim = 128, .ff = 14336, .rope_factor = 8, .published = 8.03) },
    { "llama-3.1-70b", LLAMA3(.layers = 80, .width = 8192, .heads = 64, .kv_heads = 8, .head_dim = 128, .ff = 28672, .rope_factor = 8, .published = 70.6) },
    { "llama-3.2-1b", LLAMA3(.layers = 16, .width = 2048, .heads = 32, .kv_heads = 8, .head_dim = 64, .ff = 8192, .rope_factor = 32, .tied = true, .published = 1.24) },
    { "llama-3.2-3b", LLAMA3(.layers = 28, .width = 3072, .heads = 24, .kv_heads = 8, .head_dim = 128, .ff = 8192, .rope_factor = 32, .tied = true, .published = 3.21) },
    { "qwen2.5-0.5b", QWEN25(.layers = 24, .width = 896, .heads = 14, .kv_heads = 2, .head_dim = 64, .ff = 4864, .vocab = 151936, .tied = true, .published = 0.49) },
    { "qwen2.5-1.5b", QWEN25(.layers = 28, .width = 1536, .heads = 12, .kv_heads = 2, .head_dim = 128, .ff = 8960, .vocab = 151936, .tied = true, .published = 1.54) },
    { "qwen2.5-3b", QWEN25(.layers = 36, .width = 2048, .heads = 16, .kv_heads = 2, .head_dim = 128, .ff = 11008, .vocab = 151936, .tied = true, .published = 3.09) },
    { "qwen2.5-7b", QWEN25(.layers = 28, .width = 3584, .heads = 28, .kv_heads = 4, .head_dim = 128, .ff = 18944, .vocab = 152064, .published = 7.61) },
    { "qwen2.5-14b", QWEN25(.layers = 48, .width = 5120, .heads = 40, .kv_heads = 8, .head_dim = 128, .ff = 13824, .vocab = 152064, .published = 14.7) },
    { "qwen2.5-32b", QWEN25(.layers = 64, .width = 5120, .heads = 40, .kv_heads = 8, .head_dim = 128, .ff = 27648, .vocab = 152064, .published = 32.5) },
    { "qwen2.5-72b", QWEN25(.layers = 80, .width = 8192, .heads = 64, .kv_heads = 8, .head_dim = 128, .ff = 29568, .vocab = 152064, .published = 72.7) },
    { "qwen3-0.6b", QWEN3(.layers = 28, .width = 1024, .heads = 16, .kv_heads = 8, .ff = 3072, .tied = true, .published = 0.6) },
    { "qwen3-1.7b", QWEN3(.layers = 28, .width = 2048, .heads = 16, .kv_heads = 8, .ff = 6144, .tied = true, .published = 1.7) },
    { "qwen3-4b", QWEN3(.layers = 36, .width = 2560, .heads = 32, .kv_heads = 8, .ff = 9728, .tied = true, .published = 4.0) },
    { "qwen3-8b", QWEN3(.layers = 36, .width = 4096, .heads = 32, .kv_heads = 8, .ff = 12288, .published = 8.2) },
    { "qwen3-14b", QWEN3(.layers = 40, .width = 5120, .heads = 40, .kv_heads = 8, .ff = 17408, .published = 14.8) },
    { "qwen3-32b", QWEN3(.layers = 64, .width = 5120, .heads = 64, .kv_heads = 8, .ff = 25600, .published = 32.8) },
    /* made up: one that a laptop measures in seconds, and one of each family for tests; 352 is no multiple of 256, as 1408 is none */
    { "small", QWEN3MOE(.layers = 12, .width = 1024, .heads = 16, .kv_heads = 4, .head_dim = 64, .ff = 4096, .experts = 64, .used = 8, .expert_ff = 512, .vocab = 151936) },
    { "tiny-llama", TINY(MP_FAMILY_LLAMA, MP_VOCAB_LLAMA3, .rope_factor = 8, .tied = true) },
    { "tiny-mixtral", TINY(MP_FAMILY_LLAMA, MP_VOCAB_SPM, .experts = 8, .used = 2, .expert_ff = 512) },
    { "tiny-qwen2", TINY(MP_FAMILY_QWEN2, MP_VOCAB_QWEN, .tied = false) },
    { "tiny-qwen2moe", TINY(MP_FAMILY_QWEN2MOE, MP_VOCAB_QWEN, .experts = 8, .used = 2, .expert_ff = 352, .shared_ff = 512) },
    { "tiny-qwen3", TINY(MP_FAMILY_QWEN3, MP_VOCAB_QWEN, .tied = true) },
    { "tiny-qwen3moe", TINY(MP_FAMILY_QWEN3MOE, MP_VOCAB_QWEN, .experts = 16, .used = 4, .expert_ff = 256) },
    { "tiny-olmoe", .family = MP_FAMILY_OLMOE, .tokens = MP_VOCAB_OLMO, .layers = 8, .width = 256, .heads = 4, .kv_heads = 4, .head_dim = 64, .ff = 512,
      .experts = 8, .used = 2, .expert_ff = 512, .vocab = 768, .ctx = 4096, .rope_base = 10000, .eps = 1e-5f }, /* its norms of q and k need as many kv heads */
};

const mp_shape *mp_shape_at(int i)
{
    return i >= 0 && i < (int)(sizeof(SHAPES) / sizeof(*SHAPES)) ? &SHAPES[i] : NULL;
}

const char *mp_shape_arch(const mp_shape *s)
{
    static const char *const names[] = { "llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "olmoe" };
    return names[s->family];
}

mp_err mp_shape_find(const char *text, mp_shape *out)
{
    const char *at = text ? strchr(text, '@') : NULL;
    size_t n = !text ? 0 : at ? (size_t)(at - text) : strlen(text);
    const mp_shape *s = NULL;
    *out = (mp_shape){ 0 };
    for (int i = 0; n && (s = mp_shape_at(i)) != NULL && (strlen(s->name) != n || memcmp(s->name, text, n)); i++) {}
    if (!s)
        return mp_fail(MP_E_USAGE, "there is no shape named \"%.64s\"", text ? text : "");
    char *end = NULL;
    long layers = at ? strtol(at + 1, &end, 10) : s->layers;
    if (at && (end == at + 1 || *end || layers < 1 || layers > s->layers))
        return mp_fail(MP_E_USAGE, "\"%.64s\": behind the @ stands a number of layers, 1 to %d", text, s->layers);
    *out = *s;
    out->all_layers = s->layers;
    out->layers = (int)layers;
    return MP_OK;
}

uint64_t mp_shape_parameters(const mp_shape *s, uint64_t *active)
{
    uint64_t D = (uint64_t)s->width, q = (uint64_t)s->heads * (uint64_t)s->head_dim, kv = (uint64_t)s->kv_heads * (uint64_t)s->head_dim;
    uint64_t expert = 3 * D * (uint64_t)s->expert_ff, experts = (uint64_t)s->experts * expert, used = (uint64_t)s->used * expert;
    uint64_t layer = 2 * D * q + 2 * D * kv + 2 * D + (s->experts ? D * (uint64_t)s->experts : 3 * D * (uint64_t)s->ff);
    if (s->family == MP_FAMILY_QWEN2 || s->family == MP_FAMILY_QWEN2MOE)
        layer += q + 2 * kv;
    if (s->family == MP_FAMILY_QWEN3 || s->family == MP_FAMILY_QWEN3MOE)
        layer += 2 * (uint64_t)s->head_dim;
    if (s->family == MP_FAMILY_OLMOE)
        layer += q + kv;
    if (s->shared_ff)
        layer += 3 * D * (uint64_t)s->shared_ff + D;
    uint64_t ends = D * (uint64_t)s->vocab * (s->tied ? 1 : 2) + D, layers = (uint64_t)s->layers;
    if (active)
        *active = layers * (layer + used) + ends;
    return layers * (layer + experts) + ends;
}
