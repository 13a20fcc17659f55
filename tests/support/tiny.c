/* See tiny.h. */
#include "support/tiny.h"

#include "support/gguf_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The address sanitizer keeps what was freed, 256 MB of it, and that counts against budgets: then what a plan finds is no longer so at the next open. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=1";
}

void tiny_path(const char *name, const char *suffix, char out[TINY_PATH])
{
    snprintf(out, TINY_PATH, "%s/tests/golden/tiny/%s%s", MOPED_SOURCE_DIR, name, suffix);
}

tiny_golden tiny_golden_read(const char *name)
{
    char path[TINY_PATH];
    tiny_golden g = { 0 };
    tiny_path(name, ".bin", path);
    FILE *f = fopen(path, "rb");
    bool ok = f && fread(&g.tok, 4, 1, f) == 1 && fread(&g.vocab, 4, 1, f) == 1;
    size_t n = ok ? (size_t)g.tok : 0, values = ok ? n * (size_t)g.vocab : 0;
    g.ids = malloc(n * 4 + 1);
    g.logits = malloc(values * 4 + 1);
    ok = ok && g.ids && g.logits && fread(g.ids, 4, n, f) == n && fread(g.logits, 4, values, f) == values;
    if (!ok) {
        fprintf(stderr, "tiny: cannot read %s\n", path);
        exit(2);
    }
    fclose(f);
    return g;
}

void tiny_golden_free(tiny_golden *g)
{
    free(g->ids);
    free(g->logits);
    *g = (tiny_golden){ 0 };
}

static int take(void *user, size_t position, const float *logits, int vocab)
{
    float *out = user;
    memcpy(out + position * (size_t)vocab, logits, (size_t)vocab * sizeof(float));
    return 0;
}

float *tiny_session_logits(moped_session *s, int vocab, const int32_t *ids, size_t n)
{
    float *out = calloc(n * (size_t)vocab, sizeof(*out));
    if (out && !moped_logits(s, ids, n, 0, take, out))
        return out;
    fprintf(stderr, "tiny: %s\n", moped_error());
    free(out);
    return NULL;
}

float *tiny_logits(const char *path, moped_options o, const int32_t *ids, size_t n)
{
    moped_model *m;
    moped_session *s = NULL;
    float *out = NULL;
    o.path = path;
    if (!moped_model_open(&o, &m) && !moped_session_open(m, 0, &s))
        out = tiny_session_logits(s, moped_model_plan(m)->model.vocab, ids, n);
    else
        fprintf(stderr, "tiny: %s: %s\n", path, moped_error());
    moped_session_close(&s);
    moped_model_close(&m);
    return out;
}

moped_sampling tiny_greedy(void)
{
    return (moped_sampling){ .top_p = 1, .typical_p = 1, .repeat_penalty = 1 };
}

double tiny_distance(const float *a, const float *b, size_t n)
{
    double most = 0, lo = INFINITY, hi = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        double d = a ? fabs((double)a[i] - (double)b[i]) : INFINITY;
        if (!(d <= most))
            most = isnan(d) ? INFINITY : d;
        lo = b[i] < lo ? b[i] : lo;
        hi = b[i] > hi ? b[i] : hi;
    }
    return most / (hi - lo);
}

uint64_t tiny_least(const char *path, moped_options o)
{
    moped_plan_info p;
    o.path = path;
    o.ram_bytes = 1 << 20;
    moped_plan(&o, &p); /* the first one of a process counts code that was not needed yet as not held */
    return moped_plan(&o, &p) == MOPED_E_BUDGET ? p.least_ram_bytes : 0;
}

/* ---- the paged model ---- */

enum { WIDTH = 64, FF = 64, EXPERTS = 16, LAYERS = 8, VOCAB = 264 };

/* A matrix whose products keep the size of what goes in (gain 1), or a vector of about ones. seed: names the tensor. */
static void put_random(gw *w, const char *name, uint32_t rank, const uint64_t *ne, double gain, uint64_t *seed)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < rank; i++)
        n *= ne[i];
    float *v = malloc(n * sizeof(*v));
    for (uint64_t i = 0; v && i < n; i++) {
        *seed = *seed * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX generator */
        double uniform = (double)(*seed >> 40) / (1 << 24) * 2 - 1;
        v[i] = (float)(rank == 1 ? 1 + 0.3 * uniform : gain * uniform * sqrt(3.0 / (double)ne[0]));
    }
    gw_tensor_f32(w, name, rank, ne, v);
    free(v);
}

static void put_layer(gw *w, int layer, uint64_t *seed)
{
    static const struct { const char *name; uint32_t rank; uint64_t ne[3]; double gain; } tensors[] = {
        { "attn_norm", 1, { WIDTH }, 1 }, { "attn_q", 2, { WIDTH, WIDTH }, 2 }, { "attn_k", 2, { WIDTH, WIDTH / 2 }, 2 },
        { "attn_v", 2, { WIDTH, WIDTH / 2 }, 1 }, { "attn_output", 2, { WIDTH, WIDTH }, 1 }, { "attn_q_norm", 1, { WIDTH / 4 }, 1 },
        { "attn_k_norm", 1, { WIDTH / 4 }, 1 }, { "ffn_norm", 1, { WIDTH }, 1 }, { "ffn_gate_inp", 2, { WIDTH, EXPERTS }, 2 },
        { "ffn_gate_exps", 3, { WIDTH, FF, EXPERTS }, 1 }, { "ffn_up_exps", 3, { WIDTH, FF, EXPERTS }, 1 }, { "ffn_down_exps", 3, { FF, WIDTH, EXPERTS }, 1 },
    };
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
        char name[96];
        snprintf(name, sizeof(name), "blk.%d.%s.weight", layer, tensors[i].name);
        put_random(w, name, tensors[i].rank, tensors[i].ne, tensors[i].gain, seed);
    }
}

void tiny_write_paged(const char *path)
{
    static const struct { const char *key; uint32_t v; } keys[] = {
        { "block_count", LAYERS }, { "embedding_length", WIDTH }, { "context_length", 512 }, { "feed_forward_length", FF },
        { "attention.head_count", 4 }, { "attention.head_count_kv", 2 }, { "attention.key_length", WIDTH / 4 }, { "attention.value_length", WIDTH / 4 },
        { "expert_count", EXPERTS }, { "expert_used_count", 2 }, { "expert_feed_forward_length", FF },
    };
    gw *w = gw_open();
    uint64_t seed = 1;
    gw_str(w, "general.architecture", "qwen3moe");
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char key[96];
        snprintf(key, sizeof(key), "qwen3moe.%s", keys[i].key);
        gw_u32(w, key, keys[i].v);
    }
    gw_f32(w, "qwen3moe.attention.layer_norm_rms_epsilon", 1e-6f);
    put_random(w, "token_embd.weight", 2, (uint64_t[]){ WIDTH, VOCAB }, 4, &seed);
    put_random(w, "output_norm.weight", 1, (uint64_t[]){ WIDTH }, 1, &seed);
    put_random(w, "output.weight", 2, (uint64_t[]){ WIDTH, VOCAB }, 2, &seed);
    for (int i = 0; i < LAYERS; i++)
        put_layer(w, i, &seed);
    gw_save(w, path);
    gw_close(&w);
}
