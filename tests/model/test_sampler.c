/* Sampler and stop strings. Each filter is held against a plain float64 implementation written here; distributions against chi-square
 * bounds with fixed seeds (deterministic, and wide enough that a right sampler passes with any of almost all seeds). */
#include "model/sampler.h"
#include "model/stop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

enum { V = 1000, BIG_V = 151936 };

static uint64_t rng = 88172645463325252u;

static double uniform(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return ((double)(rng >> 11) + 0.5) * 0x1p-53;
}

static void random_logits(float *x, int n, double spread)
{
    for (int i = 0; i < n; i++) x[i] = (float)(spread * sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform()));
}

/* ---- the plain implementation: everything sorted, everything in double ---- */

typedef struct naive {
    int    id[V];
    double logit[V];
    int    n;
} naive;

typedef struct pair {
    double key;
    int    id;
    double logit;
} pair;

static int by_key(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return x->id - y->id;
}

static void naive_sort(naive *c, const double *key)
{
    static pair p[V];
    for (int i = 0; i < c->n; i++) p[i] = (pair){ key[i], c->id[i], c->logit[i] };
    qsort(p, (size_t)c->n, sizeof(p[0]), by_key);
    for (int i = 0; i < c->n; i++) {
        c->id[i] = p[i].id;
        c->logit[i] = p[i].logit;
    }
}

static void naive_probs(const naive *c, double temperature, double *p)
{
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < c->n; i++) max = fmax(max, c->logit[i]);
    for (int i = 0; i < c->n; i++) sum += p[i] = exp((c->logit[i] - max) / temperature);
    for (int i = 0; i < c->n; i++) p[i] /= sum;
}

/* The shortest prefix with at least mass. A case whose cut hangs on rounding is reported in *close. */
static int naive_cut(const double *p, int n, double mass, bool *close)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += p[i];
        if (fabs(sum - mass) < 1e-6) *close = true;
        if (sum >= mass) return i + 1;
    }
    return n;
}

static void naive_filter(const mp_sampling *s, const float *logits, int n, naive *c, bool *close)
{
    static double p[V], key[V];
    *close = false;
    c->n = 0;
    for (int i = 0; i < n; i++)
        if (logits[i] != -INFINITY) {
            c->id[c->n] = i;
            c->logit[c->n++] = (double)logits[i];
        }
    naive_sort(c, c->logit);
    if (s->top_k > 0 && s->top_k < c->n) c->n = s->top_k;
    if (s->typical_p < 1) {
        double entropy = 0;
        naive_probs(c, 1, p);
        for (int i = 0; i < c->n; i++) entropy -= p[i] > 0 ? p[i] * log(p[i]) : 0;
        for (int i = 0; i < c->n; i++) key[i] = -fabs(-log(p[i]) - entropy);
        naive_sort(c, key);
        naive_probs(c, 1, p);
        c->n = naive_cut(p, c->n, (double)s->typical_p, close);
        naive_sort(c, c->logit);
    }
    if (s->top_p < 1) {
        naive_probs(c, 1, p);
        c->n = naive_cut(p, c->n, (double)s->top_p, close);
    }
    if (s->min_p > 0) {
        int kept = 0;
        for (int i = 0; i < c->n; i++) {
            double over = c->logit[i] - c->logit[0] - log((double)s->min_p);
            if (i > 0 && fabs(over) < 1e-5) *close = true;
            if (over >= 0) kept = i + 1;
        }
        c->n = kept;
    }
}

static mp_sampling neutral(float temperature)
{
    mp_sampling s = MP_SAMPLING_NEUTRAL;
    s.temperature = temperature;
    return s;
}

static mp_sampler *open_sampler(mp_ledger *ledger, int32_t vocab, const mp_sampling *params)
{
    mp_sampler *s = NULL;
    CHECK_EQ(mp_sampler_open(ledger, vocab, params, &s), MP_OK);
    return s;
}

static int32_t pick(mp_sampler *s, const float *logits, int32_t n)
{
    static float x[BIG_V];
    int32_t id = -1;
    memcpy(x, logits, (size_t)n * sizeof(float));
    CHECK_EQ(mp_sampler_pick(s, x, n, &id), MP_OK);
    return id;
}

/* Draws many tokens from one row of logits and compares the counts with the plain implementation: nothing outside its set may come,
 * and chi-square over the cells that expect at least 5 must be below a bound that a right sampler passes but once in about 10^5.
 * False: the set hangs on rounding, so nothing was compared. */
static bool check_distribution(mp_ledger *ledger, mp_sampling params, const float *logits, int n, int draws)
{
    static naive c;
    static double p[V];
    static int count[V];
    bool close;
    naive_filter(&params, logits, n, &c, &close);
    if (close) return false;
    naive_probs(&c, (double)params.temperature, p);
    memset(count, 0, sizeof(count));
    mp_sampler *s = open_sampler(ledger, n, &params);
    for (int i = 0; i < draws; i++) {
        int32_t id = pick(s, logits, n);
        count[id]++;
        mp_sampler_accept(s, id);
    }
    double chi2 = 0;
    int cells = 0, inside = 0;
    for (int i = 0; i < c.n; i++) {
        double expect = p[i] * draws;
        inside += count[c.id[i]];
        if (expect < 5) continue;
        chi2 += (count[c.id[i]] - expect) * (count[c.id[i]] - expect) / expect;
        cells++;
    }
    CHECK_EQ(inside, draws);
    CHECK(chi2 < cells + 5 * sqrt(2.0 * cells) + 20);
    mp_sampler_close(&s);
    return true;
}

TEST(filters_agree_with_plain_implementation)
{
    static float x[V];
    static const float top_ps[] = { 1, 0.95f, 0.5f, 0 }, min_ps[] = { 0, 0.05f, 1 }, typicals[] = { 1, 0.9f, 0.2f };
    static const int top_ks[] = { 0, 1, 40, 700 };
    mp_ledger *ledger = NULL;
    int compared = 0;
    CHECK_OK(mp_ledger_open(false, &ledger));
    for (int shape = 0; shape < 3; shape++)
        for (int i = 0; i < 4 * 4 * 3 * 3; i++) {
            random_logits(x, V, shape == 0 ? 0.5 : shape == 1 ? 2 : 6);
            mp_sampling s = neutral(i % 2 ? 0.7f : 1.3f);
            s.top_k = top_ks[i % 4];
            s.top_p = top_ps[i / 4 % 4];
            s.min_p = min_ps[i / 16 % 3];
            s.typical_p = typicals[i / 48];
            s.seed = (uint64_t)i;
            compared += check_distribution(ledger, s, x, V, 500);
        }
    CHECK(compared > 400);
    mp_ledger_close(&ledger);
}

TEST(plain_temperature_has_the_right_distribution)
{
    static float x[V];
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    random_logits(x, V, 2);
    x[17] = -INFINITY;
    for (int i = 0; i < 4; i++) {
        mp_sampling s = neutral(0.5f + 0.5f * (float)i);
        s.seed = 1234 + (uint64_t)i;
        check_distribution(ledger, s, x, V, 20000);
        check_distribution(ledger, s, x, 3, 20000);
        check_distribution(ledger, s, x, 1, 10);
    }
    mp_ledger_close(&ledger);
}

/* Sets that a large vocabulary leaves, including ones that span many blocks and chunks. */
TEST(large_vocabulary)
{
    static float x[BIG_V];
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    random_logits(x, BIG_V, 1);
    static const int32_t best[] = { 5, 63, 64, 1023, 1024, 77777, BIG_V - 1 };
    for (int i = 0; i < 7; i++) x[best[i]] = 30 - (float)i;
    mp_sampling s = neutral(100); /* nearly uniform among what is left */
    s.top_k = 7;
    mp_sampler *sampler = open_sampler(ledger, BIG_V, &s);
    int count[7] = { 0 };
    for (int i = 0; i < 700; i++) {
        int32_t id = pick(sampler, x, BIG_V);
        for (int j = 0; j < 7; j++) count[j] += id == best[j];
        mp_sampler_accept(sampler, id);
    }
    int sum = 0;
    for (int j = 0; j < 7; j++) {
        CHECK(count[j] > 50 && count[j] < 160);
        sum += count[j];
    }
    CHECK_EQ(sum, 700);
    mp_sampler_close(&sampler);

    s = neutral(1); /* without a filter: the best three hold 95 % */
    sampler = open_sampler(ledger, BIG_V, &s);
    int top3 = 0;
    for (int i = 0; i < 200; i++) {
        int32_t id = pick(sampler, x, BIG_V);
        top3 += id == 5 || id == 63 || id == 64;
        mp_sampler_accept(sampler, id);
    }
    CHECK(top3 > 180 && top3 < 200);
    mp_sampler_close(&sampler);
    mp_ledger_close(&ledger);
}

TEST(ties_go_to_the_lower_id)
{
    static float x[V];
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    for (int i = 0; i < V; i++) x[i] = i >= 100 && i < 600 ? 3 : 1;
    mp_sampling s = neutral(0);
    mp_sampler *sampler = open_sampler(ledger, V, &s);
    CHECK_EQ(pick(sampler, x, V), 100);
    mp_sampler_close(&sampler);

    s = neutral(1); /* of 500 equals, top-k 10 keeps ids 100..109 */
    s.top_k = 10;
    sampler = open_sampler(ledger, V, &s);
    bool seen[V] = { false };
    for (int i = 0; i < 300; i++) {
        int32_t id = pick(sampler, x, V);
        CHECK(id >= 100 && id < 110);
        seen[id] = true;
        mp_sampler_accept(sampler, id);
    }
    for (int i = 100; i < 110; i++) CHECK(seen[i]);
    mp_sampler_close(&sampler);
    mp_ledger_close(&ledger);
}

TEST(greedy_takes_the_best_whatever_the_filters)
{
    static float x[V];
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    for (int round = 0; round < 20; round++) {
        random_logits(x, V, 3);
        int best = 0;
        for (int i = 1; i < V; i++)
            if (x[i] > x[best]) best = i;
        mp_sampling s = neutral(0);
        s.typical_p = round % 2 ? 0.1f : 1;
        s.top_k = round;
        s.seed = (uint64_t)round;
        mp_sampler *sampler = open_sampler(ledger, V, &s);
        CHECK_EQ(pick(sampler, x, V), best);
        CHECK_NEAR(mp_sampler_last_prob(sampler), 1, 0);
        mp_sampler_close(&sampler);
    }
    mp_ledger_close(&ledger);
}

TEST(penalties_follow_the_formula)
{
    float x[8] = { 4, -2, 3, 3.5f, 0, 1, 1, 1 };
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    mp_sampling s = neutral(0);
    s.repeat_penalty = 2;
    s.presence_penalty = 0.25f;
    s.frequency_penalty = 0.5f;
    s.repeat_last_n = 3;
    mp_sampler *sampler = open_sampler(ledger, 8, &s);
    mp_sampler_accept(sampler, 2); /* falls out of the window of 3 */
    mp_sampler_accept(sampler, 0);
    mp_sampler_accept(sampler, 1);
    mp_sampler_accept(sampler, 0);
    int32_t id = -1;
    CHECK_EQ(mp_sampler_pick(sampler, x, 8, &id), MP_OK);
    CHECK_EQ(id, 3);
    CHECK_NEAR(x[0], 4 / 2.0 - 2 * 0.5 - 0.25, 0);
    CHECK_NEAR(x[1], -2 * 2.0 - 0.5 - 0.25, 0);
    CHECK_NEAR(x[2], 3, 0);
    CHECK_NEAR(x[3], 3.5, 0);

    float again[8] = { 4, -2, 3, 3.5f, 0, 1, 1, 1 };
    mp_sampler_seek(sampler, 0); /* the random stream only */
    CHECK_EQ(mp_sampler_pick(sampler, again, 8, &id), MP_OK);
    CHECK_NEAR(again[0], x[0], 0);

    float y[8] = { 4, -2, 3, 3.5f, 0, 1, 1, 1 };
    mp_sampler_reset(sampler);
    CHECK_EQ(mp_sampler_pick(sampler, y, 8, &id), MP_OK);
    CHECK_EQ(id, 0);
    CHECK_NEAR(y[0], 4, 0);
    mp_sampler_close(&sampler);
    mp_ledger_close(&ledger);
}

TEST(bias_adds_and_excludes)
{
    static const float x[5] = { 1, 5, 2, 4.5f, 3 };
    mp_logit_bias bias[] = { { 1, 9 }, { 2, 2.75f }, { 1, -INFINITY } };
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    mp_sampling s = neutral(0);
    s.bias = bias;
    s.n_bias = 3;
    mp_sampler *sampler = open_sampler(ledger, 5, &s);
    bias[1].bias = -9; /* open copied the list */
    CHECK_EQ(pick(sampler, x, 5), 2);
    mp_sampler_close(&sampler);

    bias[0].id = 5;
    CHECK_EQ(mp_sampler_open(ledger, 5, &s, &sampler), MP_E_USAGE);
    CHECK(sampler == NULL);
    mp_ledger_close(&ledger);
}

TEST(same_seed_same_text)
{
    static float x[V];
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    random_logits(x, V, 1);
    mp_sampling s = neutral(1);
    s.seed = 42;
    s.top_p = 0.9f;
    mp_sampler *a = open_sampler(ledger, V, &s), *b = open_sampler(ledger, V, &s);
    int32_t text[100];
    for (int i = 0; i < 100; i++) {
        text[i] = pick(a, x, V);
        CHECK_EQ(pick(a, x, V), text[i]); /* picking again at one position changes nothing */
        mp_sampler_accept(a, text[i]);
    }
    mp_sampler_seek(b, 60);
    for (int i = 60; i < 100; i++) {
        CHECK_EQ(pick(b, x, V), text[i]);
        mp_sampler_accept(b, text[i]);
    }
    s.seed = 43;
    mp_sampler_close(&b);
    b = open_sampler(ledger, V, &s);
    int same = 0;
    for (int i = 0; i < 100; i++) {
        same += pick(b, x, V) == text[i];
        mp_sampler_accept(b, text[i]);
    }
    CHECK(same < 20);
    mp_sampler_close(&a);
    mp_sampler_close(&b);
    mp_ledger_close(&ledger);
}

TEST(bad_logits_are_errors)
{
    static float x[V];
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    for (int greedy = 0; greedy < 2; greedy++) {
        mp_sampling s = neutral(greedy ? 0 : 1);
        mp_sampler *sampler = open_sampler(ledger, V, &s);
        int32_t id = 7;
        for (int at = 0; at < V; at += 37) {
            random_logits(x, V, 1);
            x[at] = at % 2 ? NAN : INFINITY;
            CHECK_EQ(mp_sampler_pick(sampler, x, V, &id), MP_E_MODEL);
            CHECK_EQ(id, 0);
            CHECK(strstr(mp_err_text(), "NaN") != NULL);
        }
        for (int i = 0; i < V; i++) x[i] = -INFINITY;
        CHECK_EQ(mp_sampler_pick(sampler, x, V, &id), MP_E_MODEL);
        x[V - 1] = -1e30f;
        CHECK_EQ(mp_sampler_pick(sampler, x, V, &id), MP_OK);
        CHECK_EQ(id, V - 1);
        mp_sampler_close(&sampler);
    }
    mp_ledger_close(&ledger);
}

TEST(bad_parameters_are_refused)
{
    static const mp_sampling bad[] = {
        { .temperature = -1, .top_p = 1, .typical_p = 1, .repeat_penalty = 1 },
        { .temperature = NAN, .top_p = 1, .typical_p = 1, .repeat_penalty = 1 },
        { .top_p = 1.5f, .typical_p = 1, .repeat_penalty = 1 },
        { .top_p = 1, .typical_p = 0, .repeat_penalty = 1 },
        { .top_p = 1, .typical_p = 1, .repeat_penalty = 0 },
        { .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .min_p = -0.1f },
        { .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .top_k = -1 },
        { .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .repeat_last_n = -1 },
        { .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .presence_penalty = INFINITY },
    };
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mp_sampler *s = NULL;
        CHECK_EQ(mp_sampler_open(ledger, V, &bad[i], &s), MP_E_USAGE);
        CHECK(s == NULL);
    }
    mp_ledger_close(&ledger);
}

/* A limit that grows by a little each time makes every allocation in turn the one that fails. */
TEST(open_survives_every_failing_allocation)
{
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    static const mp_logit_bias bias[2] = { { 1, 1 }, { 2, 2 } };
    static const mp_stop_string stops[2] = { { "abc", 3 }, { "xy", 2 } };
    mp_sampling params = { .top_p = 1, .typical_p = 1, .repeat_penalty = 2, .repeat_last_n = 50, .bias = bias, .n_bias = 2 };
    uint64_t baseline = mp_ledger_used(ledger, MP_TIER_RAM);
    int failed = 0, opened = 0;
    for (uint64_t room = 1; room < 40000; room += 64) {
        mp_sampler *s = NULL;
        mp_stop *stop = NULL;
        mp_ledger_set_limit(ledger, MP_TIER_RAM, baseline + room);
        mp_err err = mp_sampler_open(ledger, 200, &params, &s);
        CHECK((err == MP_OK) == (s != NULL));
        CHECK(err == MP_OK || err == MP_E_BUDGET);
        err = mp_stop_open(ledger, stops, 2, &stop);
        CHECK((err == MP_OK) == (stop != NULL));
        failed += !s || !stop;
        opened += s && stop;
        mp_sampler_close(&s);
        mp_stop_close(&stop);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), baseline);
    }
    CHECK(failed > 100);
    CHECK(opened > 100);
    mp_ledger_close(&ledger);
}

/* ---- stop strings ---- */

/* What the header promises, the slow way: the match that ends first, the longest of those that end there. */
static mp_stop_result plain_stop(const char *text, size_t n, const mp_stop_string *s, int n_strings)
{
    mp_stop_result r = { .which = -1 };
    for (size_t end = 0; end <= n; end++) {
        size_t longest = 0, held = 0;
        for (int i = 0; i < n_strings; i++) {
            for (size_t k = 1; k <= s[i].n && k <= end; k++)
                if (memcmp(text + end - k, s[i].text, k) == 0 && k > held) held = k;
            if (s[i].n <= end && s[i].n > longest && memcmp(text + end - s[i].n, s[i].text, s[i].n) == 0) {
                longest = s[i].n;
                r.which = i;
            }
        }
        if (longest > 0) return (mp_stop_result){ end - longest, true, r.which, end };
        r.emit_to = end - held;
    }
    return r;
}

TEST(stop_strings_do_not_depend_on_pieces)
{
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    int matched = 0;
    for (int round = 0; round < 3000; round++) {
        char text[40], pattern[3][6];
        mp_stop_string s[3];
        int n_strings = (int)(uniform() * 4);
        for (size_t i = 0; i < sizeof(text); i++) text[i] = "ab\xc3"[(int)(uniform() * 3)];
        for (int i = 0; i < n_strings; i++) {
            s[i] = (mp_stop_string){ pattern[i], 2 + (size_t)(uniform() * 4) };
            for (size_t k = 0; k < s[i].n; k++) pattern[i][k] = "ab\xc3"[(int)(uniform() * 3)];
        }
        mp_stop *stop = NULL;
        CHECK_EQ(mp_stop_open(ledger, s, n_strings, &stop), MP_OK);
        uint64_t shown = 0;
        for (size_t at = 0; at < sizeof(text);) {
            size_t n = 1 + (size_t)(uniform() * 7);
            if (n > sizeof(text) - at) n = sizeof(text) - at;
            mp_stop_result got = mp_stop_feed(stop, text + at, n), want = plain_stop(text, at + n, s, n_strings);
            CHECK_EQ(got.emit_to, want.emit_to);
            CHECK_EQ(got.matched, want.matched);
            CHECK_EQ(got.end, want.end);
            CHECK_EQ(got.which, want.which);
            CHECK(got.emit_to >= shown);
            shown = got.emit_to;
            at += n;
        }
        mp_stop_result end = mp_stop_finish(stop);
        if (!end.matched) CHECK_EQ(end.emit_to, sizeof(text));
        matched += end.matched;
        mp_stop_close(&stop);
    }
    CHECK(matched > 500 && matched < 2900);
    mp_ledger_close(&ledger);
}

TEST(stop_strings_hold_back_and_release)
{
    static const mp_stop_string s[] = { { "</s>", 4 }, { "User:", 5 } };
    mp_ledger *ledger = NULL;
    mp_stop *stop = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    CHECK_EQ(mp_stop_open(ledger, s, 2, &stop), MP_OK);
    CHECK_EQ(mp_stop_feed(stop, "hi <", 4).emit_to, 3);
    CHECK_EQ(mp_stop_feed(stop, "/", 1).emit_to, 3);
    CHECK_EQ(mp_stop_feed(stop, "b> U", 4).emit_to, 8);
    CHECK_EQ(mp_stop_finish(stop).emit_to, 9);
    mp_stop_result r = mp_stop_feed(stop, "ser: more </s>", 14);
    CHECK(r.matched);
    CHECK_EQ(r.which, 1);
    CHECK_EQ(r.emit_to, 8);
    CHECK_EQ(r.end, 13);
    CHECK_EQ(mp_stop_feed(stop, "text", 4).emit_to, 8);
    mp_stop_reset(stop);
    CHECK_EQ(mp_stop_feed(stop, "ser:", 4).emit_to, 4);
    mp_stop_close(&stop);

    mp_stop_string empty = { "", 0 };
    CHECK_EQ(mp_stop_open(ledger, &empty, 1, &stop), MP_E_USAGE);
    CHECK(stop == NULL);
    mp_ledger_close(&ledger);
}

int main(void)
{
    RUN(filters_agree_with_plain_implementation);
    RUN(plain_temperature_has_the_right_distribution);
    RUN(large_vocabulary);
    RUN(ties_go_to_the_lower_id);
    RUN(greedy_takes_the_best_whatever_the_filters);
    RUN(penalties_follow_the_formula);
    RUN(bias_adds_and_excludes);
    RUN(same_seed_same_text);
    RUN(bad_logits_are_errors);
    RUN(bad_parameters_are_refused);
    RUN(open_survives_every_failing_allocation);
    RUN(stop_strings_do_not_depend_on_pieces);
    RUN(stop_strings_hold_back_and_release);
    return test_done();
}
