/* Profiles of a running model: every token is counted once, the next start has the hottest experts before its first token, and a profile that cannot
 * be used or kept costs no answer. A model of 8 layers of 16 experts, 2 of which a token uses, in a budget that holds fewer than all. */
#include <dirent.h>
#include <sys/stat.h>

#include "base/os.h"
#include "mem/profile.h"
#include "model/heat.h"
#include "support/tiny.h"
#include "test.h"

enum { LAYERS = 8, EXPERTS = 16, USED = 2, PROMPT = 24, ANSWER = 30, FEW = 4, COUNTED = PROMPT + ANSWER - 1 /* the last one is not fed back */ };
#define PATIENCE_NS 60000000000u

static char     dir[] = "/tmp/moped-heat-XXXXXX", model_path[64], folder[64], named[64];
static uint64_t tight; /* a budget in which about half of the experts have slots */
static char     said[1100]; /* warnings */

static void listen(void *user, moped_log_level level, const char *text)
{
    (void)user;
    if (level <= MOPED_LOG_WARN)
        snprintf(said, sizeof(said), "%.1024s", text);
}

static moped_options options(const char *in, const char *out)
{
    moped_options o = { .path = model_path, .ram_bytes = tight, .threads = 1, .ctx_tok = 64, .batch_tok = 16, .expert_profile = in, .profile_out = out, .log = listen };
    *said = '\0';
    return o;
}

static moped_status answer(moped_model *m, int32_t *out)
{
    int32_t ids[PROMPT];
    moped_sampling greedy = tiny_greedy();
    moped_result r;
    moped_session *s;
    moped_status err = moped_session_open(m, 0, &s);
    for (int i = 0; i < PROMPT; i++)
        ids[i] = i * 11 % 250;
    moped_request q = { .tokens = ids, .n_tokens = PROMPT, .max_tokens = ANSWER, .sampling = &greedy, .ignore_eos = true };
    if (!err)
        err = moped_generate(s, &q, &r);
    CHECK(err || r.n_tokens == ANSWER);
    if (!err && out)
        memcpy(out, r.tokens, ANSWER * sizeof(*out));
    moped_session_close(&s);
    return err;
}

/* Opens, answers and closes. */
static void run(const char *in, const char *out, int32_t *tokens)
{
    moped_model *m;
    moped_options o = options(in, out);
    CHECK_OK(moped_model_open(&o, &m));
    if (m)
        CHECK_OK(answer(m, tokens));
    moped_model_close(&m);
}

static moped_profile_info info_of(const char *profile)
{
    moped_profile *p;
    moped_profile_info info = { 0 };
    CHECK_OK(moped_profile_open(model_path, profile, &p));
    if (p)
        moped_profile_get(p, &info);
    moped_profile_close(&p);
    info.path = NULL;
    return info;
}

static void forget(void)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char path[512];
        snprintf(path, sizeof(path), "%s%s", folder, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    unlink(named);
}

/* The one file in the folder. */
static const char *automatic(void)
{
    static char path[512];
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.' && ++n)
            snprintf(path, sizeof(path), "%s%s", folder, e->d_name);
    if (d)
        closedir(d);
    CHECK_EQ(n, 1);
    return path;
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(text, f) >= 0);
    if (f)
        fclose(f);
}

TEST(every_token_is_counted_once)
{
    uint64_t counts[EXPERTS];
    moped_profile *p;
    forget();
    run(NULL, folder, NULL);
    CHECK_EQ(info_of(folder).tokens, COUNTED);
    run(folder, folder, NULL); /* another run is added */
    CHECK_OK(moped_profile_open(model_path, folder, &p));
    REQUIRE(p != NULL);
    moped_profile_info info;
    moped_profile_get(p, &info);
    CHECK(info.found && !strcmp(info.path, automatic()));
    CHECK_EQ(info.tokens, 2 * COUNTED);
    CHECK(info.layers == LAYERS && info.experts == EXPERTS && info.experts_used == USED && info.pinned == 0);
    for (int l = 0; l < LAYERS; l++) {
        uint64_t sum = 0;
        CHECK_EQ(moped_profile_layer(p, l, counts, NULL), l);
        for (int e = 0; e < EXPERTS; e++)
            sum += counts[e];
        CHECK_EQ(sum, 2 * COUNTED * USED);
    }
    moped_profile_close(&p);
    struct stat st;
    CHECK(stat(folder, &st) == 0 && (st.st_mode & 0777) == 0700); /* which was made for it */
}

TEST(saving_twice_counts_once)
{
    moped_model *m;
    forget();
    moped_options o = options(NULL, named);
    CHECK_OK(moped_model_open(&o, &m));
    REQUIRE(m != NULL);
    CHECK_OK(moped_model_save_profile(m));
    CHECK(!info_of(named).found); /* nothing was counted: nothing is written */
    CHECK_OK(answer(m, NULL));
    CHECK_OK(moped_model_save_profile(m));
    CHECK_OK(moped_model_save_profile(m));
    CHECK_EQ(info_of(named).tokens, COUNTED);
    CHECK_OK(answer(m, NULL));
    moped_model_close(&m);
    CHECK_EQ(info_of(named).tokens, 2 * COUNTED);
}

/* What a profile of so many slots should have resident, layer by layer. */
static void expect_resident(uint32_t slots, uint32_t want[LAYERS], uint32_t *known)
{
    uint64_t counts[LAYERS * EXPERTS];
    uint32_t order[LAYERS * EXPERTS], n = 0;
    moped_profile *p;
    memset(want, 0, LAYERS * sizeof(*want));
    CHECK_OK(moped_profile_open(model_path, folder, &p));
    for (int l = 0; p && l < LAYERS; l++)
        moped_profile_layer(p, l, counts + l * EXPERTS, NULL);
    moped_profile_close(&p);
    for (uint32_t i = 0; i < LAYERS * EXPERTS; i++) { /* insertion, hottest first, equals by number */
        if (!counts[i])
            continue;
        uint32_t at = n++;
        for (; at && counts[order[at - 1]] < counts[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    *known = n < slots ? n : slots;
    for (uint32_t i = 0; i < *known; i++)
        want[order[i] / EXPERTS]++;
}

/* Waits until so many are resident. */
static bool wait_resident(moped_model *m, uint32_t want)
{
    moped_expert_stats s;
    uint64_t until = mp_now_ns() + PATIENCE_NS;
    do {
        moped_model_experts(m, &s);
        usleep(1000);
    } while (s.resident < want && mp_now_ns() < until);
    return s.resident >= want;
}

TEST(the_next_start_is_warm)
{
    moped_model *m;
    moped_expert_stats cold, warm;
    moped_expert_layer layers[LAYERS];
    uint32_t want[LAYERS], known;
    int32_t first[ANSWER], second[ANSWER];
    forget();
    moped_options o = options(folder, folder);
    o.expert_policy = "static"; /* others would soon forget what was known, as a prompt uses nearly all experts of this model: by how much it helps depends on the slots */
    CHECK_OK(moped_model_open(&o, &m));
    REQUIRE(m != NULL);
    CHECK(!*said); /* no profile yet: nothing to say */
    CHECK_OK(answer(m, first));
    moped_model_experts(m, &cold);
    CHECK(cold.slots < cold.pages && cold.slots > cold.pages / 4);
    moped_model_close(&m);
    o = options(folder, NULL);
    o.expert_policy = "static";
    CHECK_OK(moped_model_open(&o, &m));
    REQUIRE(m != NULL);
    moped_model_experts(m, &warm);
    CHECK(warm.slots < warm.pages);
    expect_resident(warm.slots, want, &known);
    CHECK(known > LAYERS * USED);
    CHECK(wait_resident(m, known));
    moped_model_experts(m, &warm);
    CHECK(warm.accesses == 0 && warm.resident == known && warm.loads == known && warm.evictions == 0);
    CHECK_EQ(moped_model_expert_layers(m, layers, LAYERS), LAYERS);
    for (int l = 0; l < LAYERS; l++)
        CHECK_EQ(layers[l].resident, want[l]);
    CHECK_OK(answer(m, second));
    CHECK(!memcmp(first, second, sizeof(first)));
    moped_model_experts(m, &warm);
    CHECK(warm.accesses == cold.accesses && warm.misses < cold.misses); /* the same questions; known experts were there */
    moped_model_close(&m);
}

/* Counters of a request of one token and its answer, by the default policy, nothing guessed. warm: with the profile of `folder`, once it is read. */
static void misses_of(bool warm, moped_expert_stats *s)
{
    moped_model *m;
    moped_options o = options(warm ? folder : NULL, NULL);
    o.prefetch = MOPED_PREFETCH_OFF;
    CHECK_OK(moped_model_open(&o, &m));
    if (!m)
        return;
    moped_model_experts(m, s);
    if (warm) {
        uint32_t want[LAYERS], known;
        expect_resident(s->slots, want, &known);
        CHECK(wait_resident(m, known));
    }
    int32_t id = 11;
    moped_sampling greedy = tiny_greedy();
    moped_request q = { .tokens = &id, .n_tokens = 1, .max_tokens = FEW, .sampling = &greedy, .ignore_eos = true };
    moped_result r;
    moped_session *session;
    CHECK_OK(moped_session_open(m, 0, &session));
    CHECK_OK(moped_generate(session, &q, &r));
    moped_session_close(&session);
    moped_model_experts(m, s);
    moped_model_close(&m);
}

/* What a profile of another text knows saves reads, although experts that it names are evicted before they are used. */
TEST(a_warm_start_helps_the_default_policy)
{
    moped_expert_stats cold, warm;
    forget();
    run(folder, folder, NULL);
    misses_of(false, &cold);
    misses_of(true, &warm);
    CHECK(cold.misses > 0 && cold.evictions == 0);
    CHECK(warm.evictions > 0);
    CHECK_EQ(warm.accesses, cold.accesses);
    CHECK(warm.misses < cold.misses);
}

TEST(counters_add_up)
{
    moped_model *m;
    moped_expert_stats s;
    moped_expert_layer l[LAYERS + 1] = { 0 }, sum = { 0 };
    moped_options o = options(NULL, NULL);
    CHECK_OK(moped_model_open(&o, &m));
    REQUIRE(m != NULL);
    CHECK_OK(answer(m, NULL));
    moped_model_experts(m, &s);
    CHECK_EQ(moped_model_expert_layers(m, l, LAYERS + 1), LAYERS);
    for (int i = 0; i < LAYERS; i++) {
        CHECK_EQ(l[i].layer, i);
        CHECK_EQ(l[i].accesses, l[i].hits + l[i].misses);
        CHECK(l[i].experts == EXPERTS && l[i].used >= USED && l[i].used <= EXPERTS && l[i].resident <= EXPERTS);
        CHECK(l[i].accesses >= (ANSWER - 1) * USED);
        sum.accesses += l[i].accesses;
        sum.hits += l[i].hits;
        sum.disk_bytes += l[i].disk_bytes;
        sum.resident += l[i].resident;
    }
    CHECK(s.accesses == s.hits + s.misses && s.misses > 0 && s.hits > 0);
    CHECK(sum.accesses == s.accesses && sum.hits == s.hits && sum.disk_bytes == s.disk_bytes && sum.resident == s.resident);
    uint64_t page = moped_model_plan(m)->model.expert_bytes / (LAYERS * EXPERTS);
    CHECK_EQ(s.disk_bytes, s.loads * page);
    CHECK_EQ(s.resident, s.loads - s.evictions);
    CHECK_EQ(s.tier_bytes[MOPED_TIER_RAM], s.resident * page);
    CHECK_EQ(s.tier_bytes[MOPED_TIER_DISK], (s.pages - s.resident) * page);
    l[1].layer = -1;
    CHECK(moped_model_expert_layers(m, l, 1) == LAYERS && l[1].layer == -1); /* no further than there is room */
    moped_model_close(&m);
}

/* Pinned experts that no run ever used are there at the start and stay, however much the others are used. */
TEST(pinned_experts_stay)
{
    enum { LAYER = 5, PINNED = 12 };
    moped_profile *p;
    moped_model *m;
    moped_expert_layer l[LAYERS];
    forget();
    CHECK_OK(moped_profile_open(model_path, folder, &p));
    REQUIRE(p != NULL);
    for (int e = 0; e < PINNED; e++)
        CHECK_OK(moped_profile_pin(p, LAYER, e, true));
    CHECK_EQ(moped_profile_pin(p, LAYERS, 0, true), MOPED_E_USAGE);
    CHECK_EQ(moped_profile_pin(p, -1, 0, true), MOPED_E_USAGE);
    CHECK_EQ(moped_profile_pin(p, 0, EXPERTS, true), MOPED_E_USAGE);
    CHECK_EQ(moped_profile_pin(p, 0, -1, true), MOPED_E_USAGE);
    CHECK_OK(moped_profile_save(p));
    moped_profile_close(&p);
    moped_options o = options(folder, folder);
    CHECK_OK(moped_model_open(&o, &m));
    REQUIRE(m != NULL);
    CHECK(wait_resident(m, PINNED));
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(moped_model_expert_layers(m, l, LAYERS), LAYERS);
        CHECK(l[LAYER].resident >= PINNED);
        CHECK_OK(answer(m, NULL));
    }
    moped_expert_stats s;
    moped_model_experts(m, &s);
    CHECK(s.evictions > 0 && l[0].resident < PINNED);
    moped_model_close(&m);
    CHECK_EQ(info_of(folder).pinned, PINNED); /* counting does not lose them */
    CHECK_EQ(info_of(folder).tokens, 4 * COUNTED);
}

/* Set while a run is under way: the run's end keeps it. */
TEST(a_pin_set_meanwhile_is_kept)
{
    moped_model *m;
    moped_profile *p;
    forget();
    moped_options o = options(folder, folder);
    CHECK_OK(moped_model_open(&o, &m));
    REQUIRE(m != NULL);
    CHECK_OK(answer(m, NULL));
    CHECK_OK(moped_profile_open(model_path, folder, &p));
    CHECK_OK(moped_profile_pin(p, 2, 3, true));
    CHECK_OK(moped_profile_save(p));
    moped_profile_close(&p);
    moped_model_close(&m);
    CHECK(info_of(folder).pinned == 1 && info_of(folder).tokens == COUNTED);
}

TEST(too_many_pins_are_a_warning)
{
    moped_profile *p;
    forget();
    CHECK_OK(moped_profile_open(model_path, folder, &p));
    REQUIRE(p != NULL);
    for (int i = 0; i < LAYERS * EXPERTS; i++)
        CHECK_OK(moped_profile_pin(p, i / EXPERTS, i % EXPERTS, true));
    CHECK_OK(moped_profile_save(p));
    run(folder, folder, NULL);
    CHECK(strstr(said, "half of the") && strstr(said, "pinned"));
    moped_model *m;
    moped_options o = options(folder, NULL);
    o.ram_bytes = TINY_ROOM; /* where all are resident, nothing is lost */
    CHECK_OK(moped_model_open(&o, &m));
    moped_model_close(&m);
    CHECK(!*said);
    moped_profile_unpin_all(p);
    CHECK_OK(moped_profile_save(p));
    moped_profile_close(&p);
    CHECK_EQ(info_of(folder).pinned, 0);
}

TEST(a_named_profile_must_be_there_and_sound)
{
    moped_model *m;
    moped_options o = options(named, NULL);
    forget();
    CHECK_EQ(moped_model_open(&o, &m), MOPED_E_USAGE);
    CHECK(!m && strstr(moped_error(), named));
    write_text(named, "this is not a profile, but it is long enough to have a head and more than that");
    CHECK_EQ(moped_model_open(&o, &m), MOPED_E_MODEL);
    CHECK(!m && strstr(moped_error(), named));
    o = options(NULL, named); /* nor is anything else overwritten */
    CHECK_EQ(moped_model_open(&o, &m), MOPED_E_MODEL);
    forget();
    run(NULL, named, NULL);
    CHECK_EQ(info_of(named).tokens, COUNTED);
    char other[TINY_PATH];
    tiny_path("mixtral", ".gguf", other);
    o = options(named, NULL);
    o.path = other;
    o.ram_bytes = TINY_ROOM;
    CHECK_EQ(moped_model_open(&o, &m), MOPED_E_USAGE);
    CHECK(!m && strstr(moped_error(), "another model"));
    o.expert_profile = NULL;
    o.profile_out = named;
    CHECK_EQ(moped_model_open(&o, &m), MOPED_E_USAGE);
}

TEST(an_automatic_profile_is_only_a_help)
{
    char path[512];
    int32_t without[ANSWER], with[ANSWER];
    forget();
    run(NULL, NULL, without);
    run(folder, folder, with);
    CHECK(!*said);
    CHECK(!memcmp(with, without, sizeof(with)));
    snprintf(path, sizeof(path), "%s", automatic());
    FILE *f = fopen(path, "r+");
    REQUIRE(f && fseek(f, 60, SEEK_SET) == 0 && fputc(0xa5, f) != EOF);
    fclose(f);
    run(folder, folder, with);
    CHECK(strstr(said, path) && strstr(said, "checksum") && strstr(said, "without it"));
    CHECK(!memcmp(with, without, sizeof(with)));
    CHECK_EQ(info_of(folder).tokens, COUNTED); /* begun anew */
}

/* A place that cannot be written (a file where a folder should be; root may write anywhere else). */
TEST(what_cannot_be_kept_costs_nothing)
{
    char below[80];
    moped_model *m;
    forget();
    write_text(named, "x");
    snprintf(below, sizeof(below), "%s/", named);
    moped_options o = options(below, below);
    CHECK_OK(moped_model_open(&o, &m));
    REQUIRE(m != NULL);
    CHECK_OK(answer(m, NULL));
    CHECK_EQ(moped_model_save_profile(m), MOPED_E_FAILED);
    CHECK(strstr(moped_error(), "cannot write"));
    CHECK_OK(answer(m, NULL));
    unlink(named);
    CHECK_OK(moped_model_save_profile(m)); /* and what was counted is not lost */
    CHECK_EQ(info_of(below).tokens, 2 * COUNTED);
    moped_model_close(&m);
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", named);
    CHECK_EQ(system(command), 0);
}

/* The plan knows what profiles take: with the least budget it opens, and the ledger stays within the limit. */
TEST(the_least_budget_still_works)
{
    moped_model *m;
    forget();
    run(folder, folder, NULL);
    moped_options o = options(folder, folder);
    o.ram_bytes = tiny_least(model_path, o);
    CHECK(o.ram_bytes > 0 && o.ram_bytes <= tight); /* whole MiB, and the process has grown meanwhile */
    CHECK_OK(moped_model_open(&o, &m));
    REQUIRE(m != NULL);
    CHECK_OK(answer(m, NULL));
    CHECK_OK(moped_model_save_profile(m));
    moped_model_close(&m);
    CHECK_EQ(info_of(folder).tokens, 2 * COUNTED);
}

TEST(a_dense_model_has_none)
{
    char path[TINY_PATH];
    moped_profile *p;
    moped_model *m;
    tiny_path("llama", ".gguf", path);
    CHECK_EQ(moped_profile_open(path, folder, &p), MOPED_E_USAGE);
    CHECK(!p && strstr(moped_error(), "no experts"));
    moped_options o = options(folder, folder);
    o.path = path;
    o.ram_bytes = TINY_ROOM;
    CHECK_OK(moped_model_open(&o, &m));
    REQUIRE(m != NULL);
    CHECK_EQ(moped_model_expert_layers(m, NULL, 0), 0);
    CHECK_OK(moped_model_save_profile(m));
    moped_model_close(&m);
}

/* In whole MiB, a budget with about half of the slots; the plan says how many. */
static bool find_budget(void)
{
    moped_options o = options(NULL, NULL);
    moped_plan_info p = { 0 };
    tight = o.ram_bytes = tiny_least(model_path, o);
    for (; tight && !moped_plan(&o, &p) && p.expert_slots * 2 < p.expert_pages; o.ram_bytes = tight += 1 << 20)
        ;
    printf("        %u of %u experts have slots in %llu MiB\n", p.expert_slots, p.expert_pages, (unsigned long long)(tight >> 20));
    return p.expert_slots && p.expert_slots < p.expert_pages;
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    snprintf(model_path, sizeof(model_path), "%s/paged.gguf", dir);
    snprintf(folder, sizeof(folder), "%s/a/b/", dir);
    snprintf(named, sizeof(named), "%s/named.prof", dir);
    tiny_write_paged(model_path);
    if (!find_budget())
        return 1;
    RUN(every_token_is_counted_once);
    RUN(saving_twice_counts_once);
    RUN(the_next_start_is_warm);
    RUN(a_warm_start_helps_the_default_policy);
    RUN(counters_add_up);
    RUN(pinned_experts_stay);
    RUN(a_pin_set_meanwhile_is_kept);
    RUN(too_many_pins_are_a_warning);
    RUN(a_named_profile_must_be_there_and_sound);
    RUN(an_automatic_profile_is_only_a_help);
    RUN(what_cannot_be_kept_costs_nothing);
    RUN(the_least_budget_still_works);
    RUN(a_dense_model_has_none);
    forget();
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", dir);
    CHECK_EQ(system(command), 0);
    return test_done() || test_now.failures != 0;
}
