/* Sessions and generation: what a session reuses, drops and refuses; how an answer ends; and that the same request gives the same tokens whatever the
 * threads, the budget and the neighbours. On tests/golden/tiny, dense and with experts. */
#include <math.h>
#include <pthread.h>

#include "model/session.h"
#include "support/gguf_edit.h"
#include "support/tiny.h"
#include "test.h"

static char dir[] = "/tmp/moped-session-XXXXXX", paged[64];
static const char *const names[] = { "llama", "qwen3moe", "paged" };
enum { N_NAMES = 3, MAX_NEW = 64 };

static void path_of(const char *name, char out[TINY_PATH])
{
    if (strcmp(name, "paged"))
        tiny_path(name, ".gguf", out);
    else
        snprintf(out, TINY_PATH, "%s", paged);
}

static tiny_golden golden; /* its ids are used as prompts for both: the vocabularies are equally large */

/* ---- below the API: logits of every state ---- */

static mp_session *open_low(const char *name, int64_t ctx, mp_model **m)
{
    char path[TINY_PATH];
    mp_session *s = NULL;
    path_of(name, path);
    CHECK_OK(mp_model_open(&(mp_model_options){ .path = path, .ram_bytes = TINY_ROOM, .threads = 2, .ctx_tok = ctx, .batch_tok = 16, .sessions = 2 }, NULL, m));
    if (*m)
        CHECK_OK(mp_session_open(*m, 0, &s));
    return s;
}

static void close_low(mp_session **s, mp_model **m)
{
    mp_session_close(s);
    mp_model_close(m);
}

/* s->logits are those that a session of its own computes for tokens[0..n). */
static void check_as_from_scratch(mp_session *s, const int32_t *tokens, int64_t n)
{
    mp_session *fresh;
    CHECK_OK(mp_session_open(s->model, 0, &fresh));
    CHECK_OK(mp_session_eval(fresh, tokens, n, NULL, NULL, NULL));
    CHECK(!memcmp(s->logits, fresh->logits, (size_t)s->model->config.vocab * sizeof(float)));
    CHECK_EQ(mp_kv_len(s->kv), n);
    CHECK(!memcmp(s->ids, tokens, (size_t)n * sizeof(*tokens)));
    mp_session_close(&fresh);
}

TEST(a_common_prefix_is_reused)
{
    for (int i = 0; i < N_NAMES; i++) {
        mp_model *m = NULL;
        mp_session *s = open_low(names[i], 0, &m);
        REQUIRE(s);
        int32_t ids[72];
        int64_t reused = -1;
        memcpy(ids, golden.ids, sizeof(ids));
        CHECK_OK(mp_session_eval(s, ids, 40, NULL, NULL, &reused));
        CHECK_EQ(reused, 0);
        CHECK_OK(mp_session_eval(s, ids, 60, NULL, NULL, &reused)); /* longer */
        CHECK_EQ(reused, 40);
        check_as_from_scratch(s, ids, 60);
        ids[33] = (ids[33] + 1) % 264;
        CHECK_OK(mp_session_eval(s, ids, 70, NULL, NULL, &reused)); /* another way from place 33 on */
        CHECK_EQ(reused, 33);
        check_as_from_scratch(s, ids, 70);
        CHECK_OK(mp_session_eval(s, ids, 20, NULL, NULL, &reused)); /* shorter: the last token is computed again for its logits */
        CHECK_EQ(reused, 19);
        check_as_from_scratch(s, ids, 20);
        CHECK_OK(mp_session_eval(s, ids, 20, NULL, NULL, &reused)); /* the same: nothing to do */
        CHECK_EQ(reused, 20);
        check_as_from_scratch(s, ids, 20);
        ids[0] = (ids[0] + 1) % 264;
        CHECK_OK(mp_session_eval(s, ids, 20, NULL, NULL, &reused)); /* nothing in common */
        CHECK_EQ(reused, 0);
        check_as_from_scratch(s, ids, 20);
        close_low(&s, &m);
    }
}

TEST(truncating_goes_back_in_time)
{
    for (int i = 0; i < N_NAMES; i++) {
        mp_model *m = NULL;
        mp_session *s = open_low(names[i], 0, &m);
        REQUIRE(s);
        CHECK_OK(mp_session_eval(s, golden.ids, 50, NULL, NULL, NULL));
        CHECK_EQ(mp_session_truncate(s, 60), 50);
        CHECK_EQ(mp_session_truncate(s, 17), 17);
        CHECK_OK(mp_session_push(s, 5));
        CHECK_OK(mp_session_push(s, 6));
        int32_t now[19];
        memcpy(now, golden.ids, 17 * sizeof(*now));
        now[17] = 5;
        now[18] = 6;
        check_as_from_scratch(s, now, 19);
        CHECK_EQ(mp_session_truncate(s, 0), 0);
        CHECK_OK(mp_session_eval(s, golden.ids, 9, NULL, NULL, NULL));
        check_as_from_scratch(s, golden.ids, 9);
        close_low(&s, &m);
    }
}

/* ---- through moped.h ---- */

typedef struct chat { moped_model *m; moped_session *s; } chat;

static bool chat_open_path(const char *path, moped_options o, chat *out)
{
    *out = (chat){ 0 };
    o.path = path;
    if (!o.ram_bytes)
        o.ram_bytes = TINY_ROOM;
    if (!o.threads)
        o.threads = 1;
    bool ok = !moped_model_open(&o, &out->m) && !moped_session_open(out->m, 0, &out->s);
    if (!ok)
        fprintf(stderr, "%s: %s\n", path, moped_error());
    CHECK(ok);
    return ok;
}

static bool chat_open(const char *name, moped_options o, chat *out)
{
    char path[TINY_PATH];
    path_of(name, path);
    return chat_open_path(path, o, out);
}

static void chat_close(chat *c)
{
    moped_session_close(&c->s);
    moped_model_close(&c->m);
}

typedef struct answer { int32_t ids[512]; size_t n, n_text, reused; char text[8192]; moped_finish finish; } answer; /* text may hold any byte, zeros too */

static moped_status ask(moped_session *s, const moped_request *q, answer *out)
{
    moped_result r;
    *out = (answer){ 0 };
    moped_status err = moped_generate(s, q, &r);
    if (err)
        return err;
    CHECK(r.n_tokens <= 512 && r.n_text < sizeof(out->text));
    out->n = r.n_tokens;
    memcpy(out->ids, r.tokens, r.n_tokens * sizeof(*r.tokens));
    memcpy(out->text, r.text, r.n_text);
    CHECK_EQ(r.text[r.n_text], 0);
    out->n_text = r.n_text;
    out->finish = r.finish;
    out->reused = r.reused_tokens;
    CHECK_EQ(r.prompt_tokens, q->n_tokens);
    return err;
}

static bool same(const answer *a, const answer *b)
{
    return a->n == b->n && !memcmp(a->ids, b->ids, a->n * sizeof(*a->ids)) && a->n_text == b->n_text &&
           !memcmp(a->text, b->text, a->n_text) && a->finish == b->finish;
}

static moped_sampling warm(uint64_t seed)
{
    moped_sampling s = tiny_greedy();
    s.temperature = 1.5f;
    s.seed = seed;
    return s;
}

static moped_request request(size_t prompt, int most, const moped_sampling *sampling)
{
    return (moped_request){ .tokens = golden.ids, .n_tokens = prompt, .max_tokens = most, .sampling = sampling, .ignore_eos = true };
}

TEST(a_full_context_ends_the_answer)
{
    moped_sampling greedy = tiny_greedy();
    chat c;
    answer a, b;
    if (chat_open("llama", (moped_options){ .ctx_tok = 32 }, &c)) {
        moped_request q = request(33, 4, &greedy);
        CHECK_EQ(ask(c.s, &q, &a), MOPED_E_CONTEXT);
        CHECK(strstr(moped_error(), "33 tokens do not fit the context of 32"));
        q = request(0, 4, &greedy);
        CHECK_EQ(ask(c.s, &q, &a), MOPED_E_USAGE); /* nothing to start from */
        q = request(32, 4, &greedy);
        CHECK_EQ(ask(c.s, &q, &a), MOPED_OK); /* room to say one token more, not to read it */
        CHECK_EQ(a.n, 1);
        CHECK_EQ(a.finish, MOPED_FINISH_CONTEXT);
        q = request(28, 0, &greedy);
        CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
        CHECK_EQ(a.n, 5);
        CHECK_EQ(a.finish, MOPED_FINISH_CONTEXT);
        CHECK_EQ(moped_session_length(c.s), 32);
        q = request(28, 5, &greedy);
        CHECK_EQ(ask(c.s, &q, &b), MOPED_OK);
        CHECK_EQ(b.finish, MOPED_FINISH_LENGTH); /* what was asked for was said */
        CHECK(!memcmp(a.ids, b.ids, 5 * sizeof(*a.ids)));
    }
    chat_close(&c);
    CHECK_STR(moped_finish_name(MOPED_FINISH_CONTEXT), "context");
}

TEST(what_is_no_token_is_refused)
{
    moped_sampling greedy = tiny_greedy();
    chat c;
    answer a;
    if (chat_open("llama", (moped_options){ 0 }, &c)) {
        int32_t bad[3] = { 1, 264, 2 };
        moped_request q = { .tokens = bad, .n_tokens = 3, .max_tokens = 1, .sampling = &greedy };
        CHECK_EQ(ask(c.s, &q, &a), MOPED_E_USAGE);
        CHECK(strstr(moped_error(), "token 264 at place 1 is not in the vocabulary of 264"));
        bad[1] = -1;
        CHECK_EQ(ask(c.s, &q, &a), MOPED_E_USAGE);
        bad[1] = 263;
        CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
        CHECK_EQ(a.n, 1);
    }
    chat_close(&c);
}

/* A shift keeps 4 tokens and the newer half of the other 28, and reads them anew. */
TEST(a_shifted_context_is_exact)
{
    moped_sampling greedy = tiny_greedy();
    for (int i = 0; i < N_NAMES; i++) {
        chat c, fresh;
        answer a, b;
        if (chat_open(names[i], (moped_options){ .ctx_tok = 32 }, &c) && chat_open(names[i], (moped_options){ .ctx_tok = 32 }, &fresh)) {
            moped_request q = request(20, 26, &greedy);
            q.context_shift = true;
            q.keep_tok = 4;
            CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
            CHECK_EQ(a.n, 26);
            CHECK_EQ(a.finish, MOPED_FINISH_LENGTH);
            int32_t all[46], kept[19];
            memcpy(all, golden.ids, 20 * sizeof(*all));
            memcpy(all + 20, a.ids, 26 * sizeof(*all));
            memcpy(kept, all, 4 * sizeof(*kept)); /* full at 32; token 32 is the first after the shift */
            memcpy(kept + 4, all + 18, 15 * sizeof(*kept));
            q = (moped_request){ .tokens = kept, .n_tokens = 19, .max_tokens = 13, .sampling = &greedy, .ignore_eos = true };
            CHECK_EQ(ask(fresh.s, &q, &b), MOPED_OK);
            CHECK_EQ(b.n, 13);
            CHECK(!memcmp(all + 33, b.ids, 13 * sizeof(*all)));
            size_t n, m;
            const int32_t *held = moped_session_tokens(c.s, &n), *want = moped_session_tokens(fresh.s, &m);
            CHECK_EQ(n, m);
            CHECK(n == m && !memcmp(held, want, n * sizeof(*held)));
        }
        chat_close(&c);
        chat_close(&fresh);
    }
}

/* ---- how an answer ends ---- */

typedef struct heard { char text[8192]; size_t n; int calls, stop_at; } heard;

static int hear(void *user, int32_t token, const char *text, size_t n)
{
    heard *h = user;
    (void)token;
    memcpy(h->text + h->n, text, n);
    h->n += n;
    return ++h->calls == h->stop_at;
}

TEST(stop_strings_end_and_are_not_shown)
{
    moped_sampling s = warm(3);
    chat c;
    if (!chat_open("llama", (moped_options){ 0 }, &c))
        return;
    answer whole, a;
    moped_request q = request(8, MAX_NEW, &s);
    CHECK_EQ(ask(c.s, &q, &whole), MOPED_OK);
    size_t n = whole.n_text;
    CHECK(n > 20);
    for (size_t at = 1; at + 5 < n; at += 7) {
        char stop[6] = "";
        memcpy(stop, whole.text + at, 5);
        if (strlen(stop) < 5) /* a zero in it */
            continue;
        const char *first = memmem(whole.text, n, stop, 5); /* may come before */
        heard h = { 0 };
        const char *stops[] = { "never said, this", stop };
        q.stop = stops;
        q.n_stop = 2;
        q.on_token = hear;
        q.user = &h;
        CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
        CHECK_EQ(a.finish, MOPED_FINISH_STOP);
        CHECK_EQ(a.n_text, first - whole.text);
        CHECK(!memcmp(a.text, whole.text, a.n_text));
        CHECK(h.n == a.n_text && !memcmp(h.text, a.text, h.n)); /* nothing of the stop string was handed out before it was complete */
        CHECK_EQ(h.calls, a.n);
    }
    const char *never = "never said, this", *empty = "";
    q.stop = &never;
    q.n_stop = 1;
    heard h = { 0 };
    q.user = &h;
    CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
    CHECK(same(&a, &whole)); /* a string that never comes changes nothing, and nothing is held back at the end */
    CHECK(h.n == n && !memcmp(h.text, whole.text, n));
    q.stop = &empty;
    CHECK_EQ(ask(c.s, &q, &a), MOPED_E_USAGE);
    chat_close(&c);
}

TEST(any_end_token_ends_unless_ignored)
{
    char path[TINY_PATH];
    ge *e;
    tiny_path("llama", ".gguf", path);
    e = ge_read(path);
    ge_set_u32(e, "tokenizer.ggml.eot_token_id", 262);
    snprintf(path, sizeof(path), "%s/two.gguf", dir);
    ge_save(e, path);
    ge_close(&e);
    chat c;
    if (chat_open_path(path, (moped_options){ 0 }, &c)) {
        moped_vocab *v = moped_model_vocab(c.m);
        CHECK(moped_vocab_is_eog(v, 261) && moped_vocab_is_eog(v, 262) && !moped_vocab_is_eog(v, 263));
        for (int32_t id = 261; id <= 263; id++) {
            moped_bias bias = { id, 1000.0f };
            moped_sampling s = tiny_greedy();
            answer a;
            s.bias = &bias;
            s.n_bias = 1;
            moped_request q = request(8, 5, &s);
            q.ignore_eos = false;
            CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
            CHECK_EQ(a.finish, id == 263 ? MOPED_FINISH_LENGTH : MOPED_FINISH_STOP);
            CHECK_EQ(a.n, id == 263 ? 5 : 1);
            CHECK_EQ(a.ids[0], id);
            CHECK_EQ(a.n_text, 0); /* control tokens are not text */
            q.ignore_eos = true;
            CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
            CHECK_EQ(a.finish, MOPED_FINISH_LENGTH);
            CHECK_EQ(a.n, 5);
            for (size_t i = 0; i < a.n; i++)
                CHECK(a.ids[i] != 261 && a.ids[i] != 262);
        }
    }
    chat_close(&c);
    unlink(path);
}

TEST(a_bias_decides)
{
    chat c;
    if (!chat_open("qwen3moe", (moped_options){ 0 }, &c))
        return;
    moped_sampling s = tiny_greedy();
    answer plain, a;
    moped_request q = request(8, 10, &s);
    CHECK_EQ(ask(c.s, &q, &plain), MOPED_OK);
    moped_bias never = { plain.ids[0], -INFINITY };
    s.bias = &never;
    s.n_bias = 1;
    CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
    for (size_t i = 0; i < a.n; i++)
        CHECK(a.ids[i] != never.token);
    moped_bias always[2] = { { 77, 1000.0f }, { 78, 999.0f } };
    s.bias = always;
    s.n_bias = 2;
    CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
    CHECK_EQ(a.n, 10);
    for (size_t i = 0; i < a.n; i++)
        CHECK_EQ(a.ids[i], 77);
    always[0].token = 264;
    CHECK_EQ(ask(c.s, &q, &a), MOPED_E_USAGE);
    s.n_bias = 0;
    CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
    CHECK(same(&a, &plain)); /* a bias leaves no trace */
    chat_close(&c);
}

TEST(the_seed_and_nothing_else_decides)
{
    for (int i = 0; i < N_NAMES; i++) {
        char path[TINY_PATH];
        answer want = { 0 }, other, a;
        path_of(names[i], path);
        uint64_t least = tiny_least(path, (moped_options){ .threads = 2 });
        CHECK(least > 0);
        moped_options o[] = { { .threads = 1 }, { .threads = 2 }, { .threads = 2, .ram_bytes = least }, { .threads = 2, .batch_tok = 3 } };
        for (int j = 0; j < 4; j++) {
            chat c;
            moped_sampling s = warm(41);
            moped_request q = request(11, MAX_NEW, &s);
            if (chat_open(names[i], o[j], &c)) {
                const moped_plan_info *p = moped_model_plan(c.m);
                CHECK(j != 2 || strcmp(names[i], "paged") || p->expert_slots < p->expert_pages);
                CHECK_EQ(ask(c.s, &q, j ? &a : &want), MOPED_OK);
                CHECK(!j || same(&a, &want));
                CHECK_EQ(ask(c.s, &q, &a), MOPED_OK); /* again, now with a prefix to reuse */
                CHECK(a.reused >= 10 && same(&a, &want));
                s.seed = 42;
                CHECK_EQ(ask(c.s, &q, &other), MOPED_OK);
                CHECK(!same(&other, &want));
            }
            chat_close(&c);
        }
    }
}

/* ---- stopping ---- */

static int no_more(void *user, int64_t done, int64_t total)
{
    int *calls = user;
    (void)done, (void)total;
    return ++*calls > 2;
}

static int no_loading(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user, (void)stage, (void)done, (void)total;
    return 1;
}

TEST(callbacks_can_stop_everything)
{
    moped_sampling greedy = tiny_greedy();
    char path[TINY_PATH];
    chat c;
    answer whole, a;
    if (!chat_open("qwen3moe", (moped_options){ .batch_tok = 8 }, &c))
        return;
    moped_request q = request(40, 10, &greedy);
    CHECK_EQ(ask(c.s, &q, &whole), MOPED_OK);
    moped_session_truncate(c.s, 0);
    int calls = 0;
    q.on_prefill = no_more;
    q.user = &calls;
    CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
    CHECK_EQ(a.finish, MOPED_FINISH_CANCELLED);
    CHECK_EQ(a.n, 0);
    CHECK_EQ(moped_session_length(c.s), 16); /* two batches were read */
    q.on_prefill = NULL;
    heard h = { .stop_at = 3 };
    q.on_token = hear;
    q.user = &h;
    CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
    CHECK_EQ(a.reused, 16); /* what was read before the cancel serves now */
    CHECK_EQ(a.finish, MOPED_FINISH_CANCELLED);
    CHECK_EQ(a.n, 3);
    CHECK(!memcmp(a.ids, whole.ids, 3 * sizeof(*a.ids)));
    q.on_token = NULL;
    CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
    CHECK(same(&a, &whole));
    chat_close(&c);
    tiny_path("qwen3moe", ".gguf", path);
    moped_options o = { .path = path, .ram_bytes = TINY_ROOM, .progress = no_loading };
    CHECK_EQ(moped_model_open(&o, &c.m), MOPED_E_CANCELLED);
    CHECK(!c.m);
}

/* ---- several sessions of one model ---- */

static void ask_in_pieces(moped_session *s, int32_t *timeline, size_t *n, moped_sampling *sampling)
{
    answer a;
    moped_request q = { .tokens = timeline, .n_tokens = *n, .max_tokens = 3, .sampling = sampling, .ignore_eos = true };
    CHECK_EQ(ask(s, &q, &a), MOPED_OK);
    memcpy(timeline + *n, a.ids, a.n * sizeof(*timeline));
    *n += a.n;
}

TEST(sessions_do_not_hear_each_other)
{
    moped_sampling greedy = tiny_greedy();
    for (int i = 0; i < N_NAMES; i++) {
        chat c;
        moped_session *other = NULL;
        int32_t line[2][128], alone[2][128];
        size_t n[2], m[2];
        if (!chat_open(names[i], (moped_options){ .sessions = 2, .threads = 2 }, &c))
            return;
        CHECK_EQ(moped_session_open(c.m, 0, &other), MOPED_OK);
        for (int k = 0; k < 2; k++) {
            n[k] = m[k] = 20 + (size_t)k;
            memcpy(line[k], golden.ids + 30 * k, n[k] * sizeof(int32_t));
            memcpy(alone[k], golden.ids + 30 * k, n[k] * sizeof(int32_t));
        }
        for (int turn = 0; turn < 8; turn++)
            ask_in_pieces(turn % 2 ? other : c.s, line[turn % 2], &n[turn % 2], &greedy);
        for (int k = 0; k < 2; k++) {
            moped_session_truncate(c.s, 0);
            for (int turn = 0; turn < 4; turn++)
                ask_in_pieces(c.s, alone[k], &m[k], &greedy);
            CHECK_EQ(n[k], m[k]);
            CHECK(!memcmp(line[k], alone[k], n[k] * sizeof(int32_t)));
        }
        moped_session_close(&other);
        chat_close(&c);
    }
}

typedef struct speaker { moped_session *s; const int32_t *ids; answer a; } speaker;

static void *speak(void *arg)
{
    speaker *p = arg;
    moped_sampling s = warm(5);
    moped_request q = { .tokens = p->ids, .n_tokens = 25, .max_tokens = 20, .sampling = &s, .ignore_eos = true };
    CHECK_EQ(ask(p->s, &q, &p->a), MOPED_OK);
    return NULL;
}

TEST(sessions_of_two_threads)
{
    chat c;
    char path[TINY_PATH];
    path_of("paged", path);
    uint64_t least = tiny_least(path, (moped_options){ .sessions = 2, .threads = 2 });
    if (!chat_open("paged", (moped_options){ .sessions = 2, .threads = 2, .ram_bytes = least }, &c))
        return;
    CHECK(moped_model_plan(c.m)->expert_slots < moped_model_plan(c.m)->expert_pages);
    static speaker p[2], alone[2];
    pthread_t t;
    p[0] = (speaker){ .s = c.s, .ids = golden.ids };
    p[1] = (speaker){ .ids = golden.ids + 40 };
    CHECK_EQ(moped_session_open(c.m, 0, &p[1].s), MOPED_OK);
    CHECK(!pthread_create(&t, NULL, speak, &p[1]));
    speak(&p[0]);
    pthread_join(t, NULL);
    for (int i = 0; i < 2; i++) {
        alone[i] = p[i];
        moped_session_truncate(p[i].s, 0);
        speak(&alone[i]);
        CHECK(same(&alone[i].a, &p[i].a));
    }
    moped_session_close(&p[1].s);
    chat_close(&c);
}

/* There is room for the sessions that were planned for. One more can be opened, but what it reads must fit what the others left. */
TEST(no_more_sessions_than_planned)
{
    moped_sampling greedy = tiny_greedy();
    chat c;
    moped_session *extra = NULL;
    answer a;
    if (!chat_open("llama", (moped_options){ .ctx_tok = 64 }, &c))
        return;
    moped_request q = request(10, 2, &greedy);
    CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
    moped_status err = moped_session_open(c.m, 0, &extra);
    if (!err)
        err = ask(extra, &q, &a);
    CHECK_EQ(err, MOPED_E_BUDGET);
    CHECK_EQ(ask(c.s, &q, &a), MOPED_OK);
    moped_session_truncate(c.s, 0); /* now there is room */
    if (extra)
        CHECK_EQ(ask(extra, &q, &a), MOPED_OK);
    moped_session_close(&extra);
    CHECK_EQ(moped_session_open(c.m, 65, &extra), MOPED_E_USAGE);
    CHECK(strstr(moped_error(), "65 tokens does not fit the context of 64"));
    chat_close(&c);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    golden = tiny_golden_read("llama");
    snprintf(paged, sizeof(paged), "%s/paged.gguf", dir);
    tiny_write_paged(paged);
    RUN(a_common_prefix_is_reused);
    RUN(truncating_goes_back_in_time);
    RUN(a_full_context_ends_the_answer);
    RUN(what_is_no_token_is_refused);
    RUN(a_shifted_context_is_exact);
    RUN(stop_strings_end_and_are_not_shown);
    RUN(any_end_token_ends_unless_ignored);
    RUN(a_bias_decides);
    RUN(the_seed_and_nothing_else_decides);
    RUN(callbacks_can_stop_everything);
    RUN(sessions_do_not_hear_each_other);
    RUN(sessions_of_two_threads);
    RUN(no_more_sessions_than_planned);
    tiny_golden_free(&golden);
    unlink(paged);
    rmdir(dir);
    return test_done();
}
