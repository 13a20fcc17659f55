/* Backward of every op that models are trained with, float32, plain loops on one thread: the reference that faster ones will be checked against.
 * Each function adds to the gradients of its op's inputs. d* names a gradient. Test: tests/model/test_train.c (finite differences). */
#include <math.h>
#include <string.h>

#include "dev/tape.h"

typedef const mp_op *op_p;
typedef const mp_op_grads *grads_p;

static float *data(const mp_tensor *t)
{
    return mp_tensor_none(t) ? NULL : t->data;
}

static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

static void back_embed(op_p op, grads_p g)
{
    int64_t d = mp_tensor_cols(&op->out[0]);
    const int32_t *ids = op->in[1].data;
    float *table = data(&g->in[0]);
    const float *dy = data(&g->out[0]);
    for (int64_t t = 0; table && t < op->in[1].shape[0]; t++)
        for (int64_t i = 0; i < d; i++)
            table[ids[t] * d + i] += dy[t * d + i];
}

/* y = x r w, r = (mean x^2 + eps)^-1/2: dx = r w dy - x r^3 / n sum(x w dy) */
static void back_rmsnorm(op_p op, grads_p g)
{
    int64_t n = mp_tensor_cols(&op->in[0]), rows = mp_tensor_rows(&op->in[0]);
    const float *w = data(&op->in[1]), *dy = data(&g->out[0]), *x = op->in[0].data;
    float *dx = data(&g->in[0]), *dw = data(&g->in[1]);
    for (int64_t r = 0; r < rows; r++, x += n, dy += n, dx = dx ? dx + n : NULL) {
        double ss = 0, dot = 0;
        for (int64_t i = 0; i < n; i++) {
            ss += (double)x[i] * (double)x[i];
            dot += (double)(x[i] * dy[i] * (w ? w[i] : 1.0f));
        }
        double inv = 1.0 / sqrt(ss / (double)n + (double)op->u.norm.eps), c = dot * inv * inv * inv / (double)n;
        for (int64_t i = 0; i < n; i++) {
            if (dx)
                dx[i] += (float)(inv * (double)(dy[i] * (w ? w[i] : 1.0f)) - c * (double)x[i]);
            if (dw)
                dw[i] += (float)((double)(dy[i] * x[i]) * inv);
        }
    }
}

/* y = x W^T: dx += dy W, dW += dy^T x. Any of dx, dW may be NULL. */
static void back_product(const float *x, const mp_tensor *W, const float *dy, float *dx, float *dW)
{
    const float *w = W->data;
    int64_t rows = W->shape[0], cols = W->shape[1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < cols; i++) {
            if (dx)
                dx[i] += dy[r] * w[r * cols + i];
            if (dW)
                dW[r * cols + i] += dy[r] * x[i];
        }
}

static void back_linear(op_p op, grads_p g)
{
    int64_t tok = mp_tensor_rows(&op->in[0]), cols = mp_tensor_cols(&op->in[0]);
    float *dx = data(&g->in[0]);
    for (int w = 0; w < op->n_out; w++) {
        int64_t rows = op->in[1 + 2 * w].shape[0];
        const float *dy = data(&g->out[w]), *x = op->in[0].data;
        float *db = data(&g->in[2 + 2 * w]);
        for (int64_t t = 0; dy && t < tok; t++) {
            back_product(x + t * cols, &op->in[1 + 2 * w], dy + t * rows, dx ? dx + t * cols : NULL, data(&g->in[1 + 2 * w]));
            for (int64_t r = 0; db && r < rows; r++)
                db[r] += dy[t * rows + r];
        }
    }
}

static void back_add(op_p op, grads_p g)
{
    const float *dy = data(&g->out[0]);
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; !mp_tensor_none(&g->in[k]) && i < mp_tensor_count(&op->out[0]); i++)
            data(&g->in[k])[i] += dy[i];
}

/* One element of silu(gate) * up. */
static void back_silu_mul(float gate, float up, float dy, float *dgate, float *dup)
{
    float s = sigmoid(gate);
    *dgate += dy * up * s * (1.0f + gate * (1.0f - s));
    *dup += dy * gate * s;
}

static void back_swiglu(op_p op, grads_p g)
{
    const float *gate = op->in[0].data, *up = op->in[1].data, *dy = data(&g->out[0]);
    float none[2], *dg = data(&g->in[0]), *du = data(&g->in[1]);
    for (int64_t i = 0; i < mp_tensor_count(&op->in[0]); i++)
        back_silu_mul(gate[i], up[i], dy[i], dg ? dg + i : none, du ? du + i : none + 1);
}

static void back_gate(op_p op, grads_p g)
{
    int64_t rows = mp_tensor_rows(&op->in[0]), n = mp_tensor_cols(&op->in[0]), per = mp_tensor_cols(&op->in[1]);
    const float *x = op->in[0].data, *gate = op->in[1].data, *dy = data(&g->out[0]);
    float *dx = data(&g->in[0]), *dg = data(&g->in[1]);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) {
            int64_t at = r * n + i, gi = r * per + (per == 1 ? 0 : i);
            float s = sigmoid(gate[gi]);
            if (dx)
                dx[at] += dy[at] * s;
            if (dg)
                dg[gi] += dy[at] * x[at] * s * (1.0f - s);
        }
}

static void back_clamp(op_p op, grads_p g)
{
    const float *x = op->in[0].data, *dy = data(&g->out[0]);
    float *dx = data(&g->in[0]), c = op->u.clamp.limit;
    for (int64_t i = 0; dx && i < mp_tensor_count(&op->in[0]); i++)
        dx[i] += x[i] >= -c && x[i] <= c ? dy[i] : 0.0f;
}

/* The rotation's transpose: the same angle the other way. */
static void back_rope(op_p op, grads_p g)
{
    int64_t tok = op->in[0].shape[0], heads = op->in[0].shape[1], dim = op->in[0].shape[2], half = op->in[2].shape[0];
    bool neox = op->u.rope.mode == MP_ROPE_NEOX;
    const float *dy = data(&g->out[0]), *freq = op->in[2].data;
    float *dx = data(&g->in[0]);
    for (int64_t t = 0; dx && t < tok; t++)
        for (int64_t h = 0; h < heads; h++, dx += dim, dy += dim) {
            for (int64_t i = 0; i < half; i++) {
                double angle = (double)((const int32_t *)op->in[1].data)[t] * (double)freq[i];
                float c = (float)cos(angle) * op->u.rope.factor, s = (float)sin(angle) * op->u.rope.factor;
                int64_t a = neox ? i : 2 * i, b = neox ? i + half : 2 * i + 1;
                dx[a] += c * dy[a] + s * dy[b];
                dx[b] += c * dy[b] - s * dy[a];
            }
            for (int64_t i = 2 * half; i < dim; i++)
                dx[i] += dy[i];
        }
}

typedef struct head { /* one query of one head: rows of k and v are `row` floats apart */
    const float *q, *k, *v, *dy;
    float       *dq, *dk, *dv;
    int64_t      n, row, dim;
    float        scale;
} head;

/* p = softmax(scale q k^T), y = p v. p: [n] scratch, dp: [n] scratch */
static void back_head(const head *a, double *p, double *dp)
{
    double max = -INFINITY, sum = 0, mean = 0;
    for (int64_t j = 0; j < a->n; j++) {
        p[j] = dp[j] = 0;
        for (int64_t i = 0; i < a->dim; i++) {
            p[j] += (double)(a->q[i] * a->k[j * a->row + i]);
            dp[j] += (double)(a->dy[i] * a->v[j * a->row + i]);
        }
        p[j] *= (double)a->scale;
        max = p[j] > max ? p[j] : max;
    }
    for (int64_t j = 0; j < a->n; j++)
        sum += p[j] = exp(p[j] - max);
    for (int64_t j = 0; j < a->n; j++)
        mean += (p[j] /= sum) * dp[j];
    for (int64_t j = 0; j < a->n; j++) {
        float ds = (float)(p[j] * (dp[j] - mean)) * a->scale;
        for (int64_t i = 0; i < a->dim; i++) {
            if (a->dq)
                a->dq[i] += ds * a->k[j * a->row + i];
            if (a->dk)
                a->dk[j * a->row + i] += ds * a->q[i];
            if (a->dv)
                a->dv[j * a->row + i] += (float)p[j] * a->dy[i];
        }
    }
}

static float *at(float *p, int64_t i)
{
    return p ? p + i : NULL;
}

static void back_attn(op_p op, grads_p g)
{
    int64_t heads = op->in[0].shape[1], dim = op->in[0].shape[2], kv = op->in[1].shape[1], tok = op->in[0].shape[0];
    double *p = g->scratch;
    for (int s = 0; s < op->u.attn.n_seg; s++)
        for (int64_t t = 0; t < op->u.attn.seg[s].n; t++)
            for (int64_t h = 0; h < heads; h++) {
                int64_t row0 = op->u.attn.seg[s].row, first = op->u.attn.window && t + 1 > op->u.attn.window ? t + 1 - op->u.attn.window : 0;
                int64_t q = ((row0 + t) * heads + h) * dim, k = ((row0 + first) * kv + h / (heads / kv)) * dim;
                head a = { .q = (float *)op->in[0].data + q, .k = (float *)op->in[1].data + k, .v = (float *)op->in[2].data + k, .n = t + 1 - first };
                a.dy = data(&g->out[0]) + q;
                a.dq = at(data(&g->in[0]), q);
                a.dk = at(data(&g->in[1]), k);
                a.dv = at(data(&g->in[2]), k);
                a.row = kv * dim;
                a.dim = dim;
                a.scale = op->u.attn.scale;
                back_head(&a, p, p + tok);
            }
}

/* w_j = scale p_j (/ sum of the chosen p); p = softmax(logits) */
static void back_route(op_p op, grads_p g)
{
    int64_t tok = mp_tensor_rows(&op->in[0]), experts = mp_tensor_cols(&op->in[0]);
    int k = op->u.route.k;
    float *dx = data(&g->in[0]), scale = op->u.route.scale;
    const float *p = op->out[2].data, *dw = data(&g->out[1]);
    const int32_t *ids = op->out[0].data;
    for (int64_t t = 0; dx && dw && t < tok; t++, p += experts, dx += experts, dw += k, ids += k) {
        float chosen = 0, mix = 0, inner = 0;
        for (int j = 0; j < k; j++)
            chosen += p[ids[j]];
        for (int j = 0; j < k; j++)
            mix += dw[j] * p[ids[j]] / chosen;
        for (int j = 0; j < k; j++) {
            float dp = op->u.route.renorm ? scale / chosen * (dw[j] - mix) : scale * dw[j];
            dx[ids[j]] += p[ids[j]] * dp;
            inner += p[ids[j]] * dp;
        }
        for (int64_t e = 0; e < experts; e++)
            dx[e] -= p[e] * inner;
    }
}

/* One row of one expert: recomputes gate, up and h, then walks back. s: scratch of 5 F floats */
static void back_expert_row(const mp_expert_job *j, const float *x, const float *dy, float *dx, const mp_tensor *dw, float *s)
{
    int64_t ff = j->gate.shape[0], d = j->gate.shape[1];
    float *gate = s, *up = s + ff, *h = s + 2 * ff, *dg = s + 3 * ff, *du = s + 4 * ff;
    const float *wg = j->gate.data, *wu = j->up.data;
    for (int64_t r = 0; r < ff; r++) {
        gate[r] = up[r] = dg[r] = du[r] = 0;
        for (int64_t i = 0; i < d; i++) {
            gate[r] += wg[r * d + i] * x[i];
            up[r] += wu[r * d + i] * x[i];
        }
        h[r] = gate[r] * sigmoid(gate[r]) * up[r];
    }
    float *dh = dg; /* dh is turned into dg in place */
    back_product(h, &j->down, dy, dh, data(&dw[2]));
    for (int64_t r = 0; r < ff; r++) {
        float got = dh[r];
        dh[r] = 0;
        back_silu_mul(gate[r], up[r], got, &dg[r], &du[r]);
    }
    back_product(x, &j->gate, dg, dx, data(&dw[0]));
    back_product(x, &j->up, du, dx, data(&dw[1]));
}

static void back_experts(op_p op, grads_p g)
{
    int64_t d = op->in[0].shape[1];
    float *dx = data(&g->in[0]);
    for (int i = 0; i < op->u.experts.n_jobs; i++) {
        const mp_expert_job *j = &op->u.experts.jobs[i];
        for (int32_t r = 0; r < j->n; r++) {
            int64_t t = j->rows[r] / op->u.experts.k;
            back_expert_row(j, (float *)op->in[0].data + t * d, data(&g->out[0]) + j->rows[r] * d, at(dx, t * d), &g->job_grads[3 * i], g->scratch);
        }
    }
}

static void back_combine(op_p op, grads_p g)
{
    int64_t n = mp_tensor_cols(&op->out[0]), choices = mp_tensor_count(&op->in[1]), k = mp_tensor_cols(&op->in[1]);
    const float *w = op->in[1].data, *y = op->in[0].data, *d = data(&g->out[0]);
    float *dy = data(&g->in[0]), *dw = data(&g->in[1]);
    for (int64_t c = 0; c < choices; c++)
        for (int64_t i = 0; i < n; i++) {
            if (dy)
                dy[c * n + i] += w[c] * d[c / k * n + i];
            if (dw)
                dw[c] += y[c * n + i] * d[c / k * n + i];
        }
}

static void back_xent(op_p op, grads_p g)
{
    int64_t rows = mp_tensor_rows(&op->in[0]), vocab = mp_tensor_cols(&op->in[0]), counted = 0;
    const int32_t *target = op->in[1].data;
    float *dx = data(&g->in[0]);
    for (int64_t t = 0; t < rows; t++)
        counted += target[t] >= 0;
    for (int64_t t = 0; dx && t < rows; t++) {
        const float *x = (const float *)op->in[0].data + t * vocab;
        double max = -INFINITY, sum = 0, each = (double)data(&g->out[0])[0] / (double)counted;
        for (int64_t i = 0; i < vocab; i++)
            max = (double)x[i] > max ? (double)x[i] : max;
        for (int64_t i = 0; i < vocab; i++)
            sum += exp((double)x[i] - max);
        for (int64_t i = 0; target[t] >= 0 && i < vocab; i++)
            dx[t * vocab + i] += (float)(each * (exp((double)x[i] - max) / sum - (i == target[t])));
    }
}

size_t mp_cpu_backward_scratch(const mp_op *op)
{
    if (op->kind == MP_OP_ATTN)
        return (size_t)op->in[0].shape[0] * 2 * sizeof(double);
    return op->kind == MP_OP_EXPERTS && op->u.experts.n_jobs ? (size_t)op->u.experts.jobs[0].gate.shape[0] * 5 * sizeof(float) : 0;
}

mp_err mp_cpu_backward(const mp_op *op, const mp_op_grads *g)
{
    switch (op->kind) {
    case MP_OP_EMBED: back_embed(op, g); return MP_OK;
    case MP_OP_RMSNORM: back_rmsnorm(op, g); return MP_OK;
    case MP_OP_LINEAR: back_linear(op, g); return MP_OK;
    case MP_OP_ADD: back_add(op, g); return MP_OK;
    case MP_OP_SWIGLU: back_swiglu(op, g); return MP_OK;
    case MP_OP_GATE: back_gate(op, g); return MP_OK;
    case MP_OP_CLAMP: back_clamp(op, g); return MP_OK;
    case MP_OP_ROPE: back_rope(op, g); return MP_OK;
    case MP_OP_ATTN: back_attn(op, g); return MP_OK;
    case MP_OP_ROUTE: back_route(op, g); return MP_OK;
    case MP_OP_EXPERTS: back_experts(op, g); return MP_OK;
    case MP_OP_COMBINE: back_combine(op, g); return MP_OK;
    case MP_OP_XENT: back_xent(op, g); return MP_OK;
    default: return mp_fail(MP_E_FAILED, "the operation '%s' has no backward", mp_op_name(op->kind));
    }
}
