/* Picking a token. Responsible for the order of the steps and for being cheap over a vocabulary of 150,000 and more.
 *
 * Every filter but `typical` keeps a prefix of the order "higher logit first, lower id first", so one primitive does most of the work:
 * prefix_reaching() partitions candidates, without sorting them, so that the shortest prefix whose weights reach a target comes first.
 * With weights 1 it is top-k, with probabilities it is top-p, and with a random target it is the draw itself.
 *
 *   logits  |....64....|....64....|  ...  |   first pass: the maximum of each block, and a look for NaN
 *   maxima  |    5.1   |    3.2   |  ...  |   blocks below the threshold are never looked at again
 *   cand    | those above the threshold   |   usually a few hundred
 *
 * With no filter at all the draw walks the ids in order, a chunk of 1024 at a time, and needs no candidates.
 */
#include "model/sampler.h"

#include <assert.h>
#include <math.h>

#include "num/kern.h"

enum { BLOCK = 64, CHUNK = 1024, MAX_LAST_N = 65536 };

typedef struct cand {
    float   rank;   /* what orders it: the logit, or minus the distance from typical */
    float   weight; /* what prefix_reaching counts */
    float   logit;
    int32_t id;
} cand;

struct mp_sampler {
    mp_sampling    p;
    const mp_kern *kern;
    int32_t        vocab;
    mp_logit_bias *bias;      /* p.n_bias of them */
    cand          *cand;      /* vocab of them */
    float         *block_max; /* one for each BLOCK ids */
    double        *chunk_sum; /* one for each CHUNK ids */
    int32_t       *count;     /* occurrences among the recent tokens, one for each id; NULL when penalties are off */
    int32_t       *recent;    /* ring of p.repeat_last_n ids */
    int            n_recent, next_recent;
    uint64_t       position;
    float          last_prob;
    float          scaled[CHUNK], prob[CHUNK];
};

/* ---- open, close, history ---- */

static mp_err check_shape(const mp_sampling *p)
{
    if (!(p->temperature >= 0 && p->temperature <= 1e6f))
        return mp_fail(MP_E_USAGE, "temperature is %g; it must be 0 (greedy) or more", (double)p->temperature);
    if (!(p->top_p >= 0 && p->top_p <= 1))
        return mp_fail(MP_E_USAGE, "top_p is %g; it must be between 0 and 1 (1 = off)", (double)p->top_p);
    if (!(p->min_p >= 0 && p->min_p <= 1))
        return mp_fail(MP_E_USAGE, "min_p is %g; it must be between 0 (off) and 1", (double)p->min_p);
    if (!(p->typical_p > 0 && p->typical_p <= 1))
        return mp_fail(MP_E_USAGE, "typical_p is %g; it must be above 0 and at most 1 (off)", (double)p->typical_p);
    if (p->top_k < 0) return mp_fail(MP_E_USAGE, "top_k is %d; it must be 0 (off) or more", p->top_k);
    return MP_OK;
}

static mp_err check_penalties(const mp_sampling *p, int32_t vocab)
{
    if (!(p->repeat_penalty > 0 && p->repeat_penalty <= 1e6f))
        return mp_fail(MP_E_USAGE, "repeat_penalty is %g; it must be above 0 (1 = off)", (double)p->repeat_penalty);
    if (!isfinite(p->presence_penalty) || !isfinite(p->frequency_penalty))
        return mp_fail(MP_E_USAGE, "presence_penalty and frequency_penalty must be finite numbers (0 = off)");
    if (p->repeat_last_n < 0 || p->repeat_last_n > MAX_LAST_N)
        return mp_fail(MP_E_USAGE, "repeat_last_n is %d; it must be between 0 (off) and %d", p->repeat_last_n, MAX_LAST_N);
    if (p->n_bias < 0 || (p->n_bias > 0 && !p->bias)) return mp_fail(MP_E_USAGE, "the list of logit biases is not usable");
    for (int i = 0; i < p->n_bias; i++) {
        if (p->bias[i].id < 0 || p->bias[i].id >= vocab)
            return mp_fail(MP_E_USAGE, "logit bias for token %d; the vocabulary has ids 0 to %d", p->bias[i].id, vocab - 1);
        if (!(p->bias[i].bias <= 1e30f))
            return mp_fail(MP_E_USAGE, "logit bias of token %d is not a number or too large", p->bias[i].id);
    }
    return MP_OK;
}

static bool penalties_on(const mp_sampling *p)
{
    return p->repeat_last_n > 0 && (p->repeat_penalty != 1 || p->presence_penalty != 0 || p->frequency_penalty != 0);
}

static int bias_index(const mp_logit_bias *bias, int n, int32_t id)
{
    for (int i = 0; i < n; i++)
        if (bias[i].id == id) return i;
    return n;
}

static void copy_bias(mp_sampler *s, const mp_sampling *params)
{
    int n = 0;
    for (int i = 0; i < params->n_bias; i++) {
        int at = bias_index(s->bias, n, params->bias[i].id);
        s->bias[at] = params->bias[i];
        if (at == n) n++;
    }
    s->p.bias = s->bias;
    s->p.n_bias = n;
}

static mp_err alloc_parts(mp_ledger *ledger, mp_sampler *s)
{
    size_t vocab = (size_t)s->vocab;
    mp_err err = MP_NEW(ledger, MP_OWN_WORK, mp_logit_bias, (size_t)s->p.n_bias, &s->bias);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, cand, vocab, &s->cand);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, float, (vocab + BLOCK - 1) / BLOCK, &s->block_max);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, double, (vocab + CHUNK - 1) / CHUNK, &s->chunk_sum);
    if (err || !penalties_on(&s->p)) return err;
    err = MP_NEW(ledger, MP_OWN_WORK, int32_t, vocab, &s->count);
    if (!err) err = MP_NEW(ledger, MP_OWN_WORK, int32_t, (size_t)s->p.repeat_last_n, &s->recent);
    return err;
}

mp_err mp_sampler_open(mp_ledger *ledger, int32_t vocab, const mp_sampling *params, mp_sampler **out)
{
    mp_sampler *s = NULL;
    *out = NULL;
    if (vocab < 1) return mp_fail(MP_E_USAGE, "a sampler needs a vocabulary; this one has %d entries", vocab);
    mp_err err = check_shape(params);
    if (!err) err = check_penalties(params, vocab);
    if (err) return err;

    err = MP_NEW(ledger, MP_OWN_WORK, mp_sampler, 1, &s);
    if (err) return err;
    s->p = *params;
    s->vocab = vocab;
    s->kern = mp_kern_get(NULL);
    err = alloc_parts(ledger, s);
    if (err) {
        mp_sampler_close(&s);
        return err;
    }
    copy_bias(s, params);
    *out = s;
    return MP_OK;
}

void mp_sampler_close(mp_sampler **sampler)
{
    mp_sampler *s = *sampler;
    *sampler = NULL;
    if (!s) return;
    mp_free(s->bias);
    mp_free(s->cand);
    mp_free(s->block_max);
    mp_free(s->chunk_sum);
    mp_free(s->count);
    mp_free(s->recent);
    mp_free(s);
}

void mp_sampler_accept(mp_sampler *s, int32_t id)
{
    assert(id >= 0 && id < s->vocab);
    s->position++;
    if (!s->recent) return;
    if (s->n_recent == s->p.repeat_last_n) s->count[s->recent[s->next_recent]]--;
    else s->n_recent++;
    s->recent[s->next_recent] = id;
    s->count[id]++;
    s->next_recent = (s->next_recent + 1) % s->p.repeat_last_n;
}

void mp_sampler_reset(mp_sampler *s)
{
    for (int i = 0; i < s->n_recent; i++) s->count[s->recent[i]] = 0;
    s->n_recent = s->next_recent = 0;
    s->position = 0;
    s->last_prob = 0;
}

void mp_sampler_seek(mp_sampler *s, uint64_t position) { s->position = position; }

float mp_sampler_last_prob(const mp_sampler *s) { return s->last_prob; }

/* ---- random numbers ---- */

/* splitmix64's finalizer (Steele, Lea, Flood 2014): every bit of the result depends on every bit of x. */
static uint64_t mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* In (0, 1]: a target of 0 would pick a token of probability 0. */
static double random_at(uint64_t seed, uint64_t position)
{
    uint64_t bits = mix64(mix64(seed + 0x9e3779b97f4a7c15u) + position * 0x9e3779b97f4a7c15u);
    return ((double)(bits >> 11) + 1) * 0x1p-53;
}

/* ---- the primitive ---- */

static bool before(const cand *a, const cand *b) { return a->rank > b->rank || (a->rank == b->rank && a->id < b->id); }

static void swap_cand(cand *a, cand *b)
{
    cand t = *a;
    *a = *b;
    *b = t;
}

/* Puts the median of first, middle and last at c[hi - 1]. */
static void place_pivot(cand *c, size_t lo, size_t hi)
{
    size_t mid = lo + (hi - lo) / 2, last = hi - 1;
    if (before(&c[mid], &c[lo])) swap_cand(&c[mid], &c[lo]);
    if (before(&c[last], &c[lo])) swap_cand(&c[last], &c[lo]);
    if (before(&c[mid], &c[last])) swap_cand(&c[mid], &c[last]);
}

/* Reorders c[0..n) so that the shortest prefix of its order whose weights sum to at least target comes first; its worst member is last
 * in it. Returns its length (n when even the sum of all is below target). Quickselect: linear on average, nothing allocated. */
static size_t prefix_reaching(cand *c, size_t n, double target)
{
    size_t lo = 0, hi = n;
    double sum = 0; /* of c[0..lo) */
    while (hi - lo > 1) {
        place_pivot(c, lo, hi);
        size_t mid = lo;
        double mass = 0;
        for (size_t i = lo; i < hi - 1; i++) {
            if (!before(&c[i], &c[hi - 1])) continue;
            mass += (double)c[i].weight;
            swap_cand(&c[i], &c[mid++]);
        }
        swap_cand(&c[mid], &c[hi - 1]);
        if (mid > lo && sum + mass >= target) {
            hi = mid;
            continue;
        }
        sum += mass + (double)c[mid].weight;
        if (sum >= target) return mid + 1;
        lo = mid + 1;
    }
    return hi;
}

/* ---- bias, penalties, the first look ---- */

static void apply_bias(const mp_sampler *s, float *logits, int32_t n_valid)
{
    for (int i = 0; i < s->p.n_bias; i++)
        if (s->bias[i].id < n_valid) logits[s->bias[i].id] += s->bias[i].bias;
}

/* Each recent id once: its count is made negative when it has had its penalty, and restored at the end. */
static void apply_penalties(mp_sampler *s, float *logits, int32_t n_valid)
{
    for (int i = 0; i < s->n_recent; i++) {
        int32_t id = s->recent[i], count = s->count[id];
        if (count < 0) continue;
        s->count[id] = -count;
        if (id >= n_valid) continue;
        float x = logits[id];
        x = x > 0 ? x / s->p.repeat_penalty : x * s->p.repeat_penalty;
        logits[id] = x - ((float)count * s->p.frequency_penalty + s->p.presence_penalty);
    }
    for (int i = 0; i < s->n_recent; i++) {
        int32_t id = s->recent[i];
        if (s->count[id] < 0) s->count[id] = -s->count[id];
    }
}

/* Is something not below +infinity? Apart from the maximum and of a fixed length, so that compilers turn it into vector code. */
static bool bad_block(const float *x)
{
    int bad = 0;
    for (int i = 0; i < BLOCK; i++)
        bad |= !(x[i] < INFINITY);
    return bad;
}

static bool bad_rest(const float *x, int32_t n)
{
    int bad = 0;
    for (int32_t i = 0; i < n; i++)
        bad |= !(x[i] < INFINITY);
    return bad;
}

/* Fills block_max and finds the maximum of all. */
static mp_err look_over(mp_sampler *s, const float *logits, int32_t n, float *out_max)
{
    float max = -INFINITY;
    *out_max = 0;
    for (int32_t b = 0; b * BLOCK < n; b++) {
        const float *x = logits + b * BLOCK;
        int32_t len = n - b * BLOCK < BLOCK ? n - b * BLOCK : BLOCK;
        if (len == BLOCK ? bad_block(x) : bad_rest(x, len))
            return mp_fail(MP_E_MODEL, "the model produced logits that are NaN or infinite at token %llu; its file may be damaged",
                           (unsigned long long)s->position);
        s->block_max[b] = s->kern->max(x, len);
        if (s->block_max[b] > max) max = s->block_max[b];
    }
    if (max == -INFINITY)
        return mp_fail(MP_E_MODEL, "no token is left to choose from at token %llu: all logits are -infinity",
                       (unsigned long long)s->position);
    *out_max = max;
    return MP_OK;
}

static int32_t greedy(const mp_sampler *s, const float *logits, float max)
{
    int32_t b = 0;
    while (s->block_max[b] != max) b++;
    int32_t id = b * BLOCK;
    while (logits[id] != max) id++;
    return id;
}

/* ---- candidates and filters ---- */

/* Everything with logits of at least threshold (and above -inf), in id order. */
static size_t collect(mp_sampler *s, const float *logits, int32_t n_valid, float threshold)
{
    size_t n = 0;
    for (int32_t b = 0; b * BLOCK < n_valid; b++) {
        if (s->block_max[b] < threshold || s->block_max[b] == -INFINITY) continue;
        int32_t end = n_valid - b * BLOCK < BLOCK ? n_valid : (b + 1) * BLOCK;
        for (int32_t i = b * BLOCK; i < end; i++)
            if (logits[i] >= threshold && logits[i] != -INFINITY) s->cand[n++] = (cand){ logits[i], 1, logits[i], i };
    }
    return n;
}

/* The k-th best of the blocks' maxima: at least k logits are not below it. */
static float threshold_for_top_k(mp_sampler *s, int32_t n_valid, size_t k)
{
    size_t blocks = ((size_t)n_valid + BLOCK - 1) / BLOCK;
    if (k > blocks) return -INFINITY;
    for (size_t b = 0; b < blocks; b++) s->cand[b] = (cand){ s->block_max[b], 1, 0, (int32_t)b };
    size_t n = prefix_reaching(s->cand, blocks, (double)k);
    return s->cand[n - 1].rank;
}

/* weight = exp((logit - max) / temperature); those that round to 0 are dropped. Returns the sum; *n may shrink. */
static double weigh(cand *c, size_t *n, float max, float temperature)
{
    double sum = 0;
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        c[i].rank = c[i].logit;
        c[i].weight = mp_expf((c[i].logit - max) / temperature);
        if (!(c[i].weight > 0)) continue;
        sum += (double)c[i].weight;
        c[kept++] = c[i];
    }
    *n = kept;
    return sum;
}

static float best_of(const cand *c, size_t n)
{
    float best = c[0].logit;
    for (size_t i = 1; i < n; i++)
        if (c[i].logit > best) best = c[i].logit;
    return best;
}

/* Keeps the candidates whose surprise (-log p) is nearest to the expected surprise until they hold typical_p of the mass. */
static size_t filter_typical(cand *c, size_t n, float max, float typical_p)
{
    double sum = weigh(c, &n, max, 1), log_sum = log(sum), entropy = 0;
    for (size_t i = 0; i < n; i++) {
        double log_p = (double)(c[i].logit - max) - log_sum;
        entropy -= (double)c[i].weight / sum * log_p;
    }
    for (size_t i = 0; i < n; i++) c[i].rank = (float)-fabs(log_sum - (double)(c[i].logit - max) - entropy);
    n = prefix_reaching(c, n, (double)typical_p * sum);
    for (size_t i = 0; i < n; i++) c[i].rank = c[i].logit;
    return n;
}

static size_t filter_min_p(cand *c, size_t n, float threshold)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (c[i].logit >= threshold) c[kept++] = c[i];
    return kept;
}

/* prob = exp((x - max) / temperature) for one chunk of len <= CHUNK logits; returns the sum. */
static double weigh_chunk(mp_sampler *s, const float *x, int32_t len, float max, float temperature)
{
    if (temperature == 1) return (double)s->kern->exp_sum(s->prob, x, max, len);
    float inv = 1 / temperature;
    s->kern->scale_mul(s->scaled, x, inv, NULL, len);
    return (double)s->kern->exp_sum(s->prob, s->scaled, max * inv, len);
}

/* The sum of that over all ids; each chunk's share stays in chunk_sum. */
static double sum_all(mp_sampler *s, const float *logits, int32_t n_valid, float max, float temperature)
{
    double sum = 0;
    for (int32_t k = 0; k * CHUNK < n_valid; k++) {
        int32_t len = n_valid - k * CHUNK < CHUNK ? n_valid - k * CHUNK : CHUNK;
        s->chunk_sum[k] = weigh_chunk(s, logits + k * CHUNK, len, max, temperature);
        sum += s->chunk_sum[k];
    }
    return sum;
}

/* When top-p comes first: the logits that can matter to it, those above max - t. At most n_valid ids lie below, each of at most exp(-t),
 * so t = log(n_valid / ((1 - top_p) total)) is always enough; but most rows are peaked and need far less, so smaller ones are tried
 * first. total: the sum of exp(x - max) over all ids. */
static size_t collect_for_top_p(mp_sampler *s, const float *logits, int32_t n_valid, float max, double total)
{
    double enough = log((double)n_valid / ((1 - (double)s->p.top_p) * total)) + 1e-3;
    for (double t = 6;; t *= 1.5) {
        bool last = t >= enough;
        size_t n = collect(s, logits, n_valid, max - (float)(last ? enough : t));
        if (last || weigh(s->cand, &n, max, 1) >= (double)s->p.top_p * total) return n;
    }
}

/* The first filter that is on decides which logits can matter at all. */
static size_t collect_for_others(mp_sampler *s, const float *logits, int32_t n_valid, float max)
{
    float threshold = max + logf(s->p.min_p);
    if (s->p.top_k > 0 && s->p.top_k < n_valid) threshold = threshold_for_top_k(s, n_valid, (size_t)s->p.top_k);
    else if (s->p.typical_p < 1) threshold = -INFINITY;
    return collect(s, logits, n_valid, threshold);
}

/* Runs the filters that are on; the candidates that are left are cand[0..result). */
static size_t filter(mp_sampler *s, const float *logits, int32_t n_valid, float max)
{
    const mp_sampling *p = &s->p;
    bool top_k = p->top_k > 0 && p->top_k < n_valid;
    bool need_total = !top_k && p->typical_p >= 1 && p->top_p < 1;
    double total = need_total ? sum_all(s, logits, n_valid, max, 1) : 0;
    size_t n = need_total ? collect_for_top_p(s, logits, n_valid, max, total) : collect_for_others(s, logits, n_valid, max);

    if (top_k) n = prefix_reaching(s->cand, n, (double)p->top_k);
    if (p->typical_p < 1) n = filter_typical(s->cand, n, max, p->typical_p);
    float best = best_of(s->cand, n);
    if (p->top_p < 1) {
        double sum = weigh(s->cand, &n, best, 1);
        n = prefix_reaching(s->cand, n, (double)p->top_p * (need_total ? total : sum));
    }
    if (p->min_p > 0) n = filter_min_p(s->cand, n, best + logf(p->min_p));
    return n;
}

/* ---- the draw ---- */

static int32_t draw_filtered(mp_sampler *s, size_t n, double u)
{
    double sum = weigh(s->cand, &n, best_of(s->cand, n), s->p.temperature);
    size_t at = prefix_reaching(s->cand, n, u * sum) - 1;
    s->last_prob = (float)((double)s->cand[at].weight / sum);
    return s->cand[at].id;
}

/* No filter is on: walks the ids in order. */
static int32_t draw_all(mp_sampler *s, const float *logits, int32_t n_valid, float max, double u)
{
    double sum = sum_all(s, logits, n_valid, max, s->p.temperature), target = u * sum;
    int32_t last = (n_valid - 1) / CHUNK, k = 0;
    while (k < last && target > s->chunk_sum[k]) target -= s->chunk_sum[k++];
    int32_t len = n_valid - k * CHUNK < CHUNK ? n_valid - k * CHUNK : CHUNK, pick = -1;
    weigh_chunk(s, logits + k * CHUNK, len, max, s->p.temperature);
    for (int32_t i = 0; i < len && (pick < 0 || target > 0); i++) {
        if (!(s->prob[i] > 0)) continue;
        pick = i;
        target -= (double)s->prob[i];
    }
    if (pick < 0) return greedy(s, logits, max); /* rounding walked past the last chunk that has any mass */
    s->last_prob = (float)((double)s->prob[pick] / sum);
    return k * CHUNK + pick;
}

mp_err mp_sampler_pick(mp_sampler *s, float *logits, int32_t n_valid, int32_t *out)
{
    assert(n_valid >= 1 && n_valid <= s->vocab);
    const mp_sampling *p = &s->p;
    float max;
    *out = 0;
    apply_bias(s, logits, n_valid);
    if (s->recent) apply_penalties(s, logits, n_valid);
    mp_err err = look_over(s, logits, n_valid, &max);
    if (err) return err;

    s->last_prob = 1;
    double u = random_at(p->seed, s->position);
    bool filtered = (p->top_k > 0 && p->top_k < n_valid) || p->typical_p < 1 || p->top_p < 1 || p->min_p > 0;
    if (p->temperature <= 0) *out = greedy(s, logits, max);
    else if (filtered) *out = draw_filtered(s, filter(s, logits, n_valid, max), u);
    else *out = draw_all(s, logits, n_valid, max, u);
    return MP_OK;
}
