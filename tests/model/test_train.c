/* The trainer's door: the same forward pass that inference runs, on a tape, and its gradients against finite differences - of a dense and of MoE families.
 * For each of several weights the derivative along a random direction is compared with (loss(w + h d) - loss(w - h d)) / 2h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "test.h"

enum { TOK = 24 };

static uint64_t state;
static int      shift; /* of the tokens: such that no router's choice is close (see slope) */

static float uniform(void) /* splitmix64, in [-1, 1) */
{
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (float)(int64_t)(z ^ (z >> 31)) * 0x1p-63f;
}

/* The loss of one step over two sequences; with a tape also its gradients. */
static double loss_of(mp_model *m, mp_tape *tape, bool backward)
{
    int32_t ids[TOK], pos[TOK], target[TOK];
    mp_segment seg[2] = { { .row = 0, .n = TOK / 3, .dtype = MP_F32 }, { .row = TOK / 3, .n = TOK - TOK / 3, .dtype = MP_F32 } };
    for (int i = 0; i < TOK; i++) {
        ids[i] = (i * 37 + 11 + shift) % m->config.vocab;
        pos[i] = i < TOK / 3 ? i : i - TOK / 3;
        target[i] = i % 5 == 4 ? -1 : (i * 53 + 7) % m->config.vocab;
    }
    mp_forward fw;
    mp_tensor logits, loss;
    mp_tape_clear(tape);
    CHECK_EQ(mp_forward_begin(m, &(mp_batch){ .ids = ids, .pos = pos, .seg = seg, .n_tok = TOK, .n_seg = 2 }, tape, &fw), MP_OK);
    CHECK_EQ(mp_forward_logits(m, &fw, 0, TOK, &logits), MP_OK);
    loss = mp_xent(&fw.f, logits, mp_tensor_1d(target, MP_I32, TOK));
    if (fw.f.err)
        fprintf(stderr, "%s\n", mp_err_text());
    CHECK_EQ(fw.f.err, MP_OK);
    double value = fw.f.err ? 0 : (double)*(float *)loss.data;
    if (backward)
        CHECK_EQ(mp_tape_backward(tape, m->dev, &loss), MP_OK);
    mp_forward_end(m, &fw);
    return value;
}

static void move(mp_tensor *w, const float *start, const float *d, float h)
{
    for (int64_t i = 0; i < mp_tensor_count(w); i++)
        ((float *)w->data)[i] = start[i] + h * d[i];
}

/* Central difference of the loss at w = start along d. */
static double slope(mp_model *m, mp_tape *tape, mp_tensor *w, const float *start, const float *d, float h)
{
    move(w, start, d, h);
    double up = loss_of(m, tape, false);
    move(w, start, d, -h);
    double down = loss_of(m, tape, false);
    move(w, start, d, 0);
    return (up - down) / (2 * (double)h);
}

static void check_direction(mp_model *m, mp_tape *tape, mp_tensor *w, const char *name, int seed)
{
    int64_t n = mp_tensor_count(w);
    float *d = malloc((size_t)n * sizeof(*d)), *start = malloc((size_t)n * sizeof(*start));
    double analytic = 0, norm = 0;
    state = (uint64_t)seed;
    loss_of(m, tape, true);
    mp_tensor g = mp_tape_grad(tape, w);
    CHECK(!mp_tensor_none(&g));
    for (int64_t i = 0; i < n; i++) {
        d[i] = uniform();
        norm += (double)d[i] * (double)d[i];
    }
    for (int64_t i = 0; i < n; i++) {
        d[i] = (float)((double)d[i] / sqrt(norm));
        analytic += (double)d[i] * (double)((const float *)g.data)[i];
        start[i] = ((const float *)w->data)[i];
    }
    /* Richardson: the error of h^2 cancels. The steps are small so that no token changes its experts on the way: there the loss jumps. */
    float h = 3e-3f;
    double numeric = (4 * slope(m, tape, w, start, d, h) - slope(m, tape, w, start, d, 2 * h)) / 3;
    double scale = fmax(fabs(analytic), fabs(numeric));
    /* float32 losses near 6 are told apart to about 5e-7: 1.2e-4 at worst over both steps, and about as much for the roundings on the way to the loss. (An
     * expert's gate of 2.86e-3 measured 2.62e-3 with h = 3e-3, 2.97e-3 with 6e-3, 2.861e-3 with 1e-2.) */
    if (!(fabs(analytic - numeric) <= 0.01 * scale + 3e-4))
        fprintf(stderr, "%s: analytic %.6g, numeric %.6g\n", name, analytic, numeric);
    CHECK(fabs(analytic - numeric) <= 0.01 * scale + 3e-4);
    free(d);
    free(start);
}

static void check_family(const char *name)
{
    char path[512];
    mp_model *m;
    mp_tape *tape;
    snprintf(path, sizeof(path), "%s/tests/golden/tiny/%s.gguf", MOPED_SOURCE_DIR, name);
    mp_err err = mp_model_open(&(mp_model_options){ .path = path, .train = true, .ram_bytes = 512u << 20, .batch_tok = TOK, .threads = 1 }, NULL, &m);
    if (err)
        fprintf(stderr, "%s: %s\n", name, mp_err_text());
    CHECK_EQ(err, MP_OK);
    if (err)
        return;
    CHECK_EQ(mp_tape_open(m->ledger, &tape), MP_OK);
    CHECK_EQ(mp_model_params(m, tape), MP_OK);
    for (int i = 0; i < m->binder.n; i++)
        if (m->binder.list[i].dst != &m->rope_divisors) {
            char label[128];
            snprintf(label, sizeof(label), "%s %.*s", name, (int)m->binder.list[i].src->name.n, m->binder.list[i].src->name.s);
            check_direction(m, tape, m->binder.list[i].dst, label, i + 1);
        }
    int with_gradient = 0;
    for (uint32_t i = 0; m->resident && i < m->binder.pages; i++) {
        loss_of(m, tape, true);
        mp_tensor g = mp_tape_grad(tape, &m->resident[i].down);
        if (mp_tensor_none(&g))
            continue; /* no token chose it */
        with_gradient++;
        check_direction(m, tape, &m->resident[i].gate, "an expert's gate", (int)i + 1000);
        check_direction(m, tape, &m->resident[i].up, "an expert's up", (int)i + 2000);
        check_direction(m, tape, &m->resident[i].down, "an expert's down", (int)i + 3000);
    }
    CHECK(!m->resident || with_gradient > 2);
    mp_tape_close(&tape);
    mp_model_close(&m);
}

TEST(gradients_of_a_dense_model) { check_family("llama"); check_family("qwen3"); check_family("qwen2"); }
TEST(gradients_of_mixtures_of_experts) { check_family("qwen3moe"); check_family("qwen2moe"); check_family("olmoe"); shift = 5; check_family("mixtral"); }

int main(void)
{
    RUN(gradients_of_a_dense_model);
    RUN(gradients_of_mixtures_of_experts);
    return test_done();
}
