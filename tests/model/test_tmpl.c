/* Chat templates against Python's jinja2: our own snippets (tests/golden/tmpl_golden.json, made by make_tmpl_golden.py) and, where the
 * reference data is at hand, the templates of published models. */
#include "model/tmpl/tmpl.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#ifndef MOPED_SOURCE_DIR
#define MOPED_SOURCE_DIR "."
#endif

static mp_ledger *open_ledger(void)
{
    mp_ledger *ledger = NULL;
    CHECK_OK(mp_ledger_open(false, &ledger));
    return ledger;
}

/* Compiles and renders; the result is the error of whichever failed first. */
static mp_err render(mp_ledger *ledger, const char *text, size_t n, const char *json, const mp_tmpl_limits *limits, char **out)
{
    mp_tmpl *tmpl = NULL;
    size_t out_n = 0;
    *out = NULL;
    mp_err err = mp_tmpl_compile(ledger, text, n, &tmpl);
    CHECK((err == MP_OK) == (tmpl != NULL));
    if (!err) err = mp_tmpl_render(tmpl, json, strlen(json), limits, out, &out_n);
    CHECK((err == MP_OK) == (*out != NULL));
    if (*out) CHECK_EQ((*out)[out_n], 0);
    mp_tmpl_close(&tmpl);
    return err;
}

static mp_err render_text(mp_ledger *ledger, const char *text, const char *json, const mp_tmpl_limits *limits, char **out)
{
    return render(ledger, text, strlen(text), json, limits, out);
}

static bool check_output(const char *what, const char *text, const char *got, const char *want)
{
    if (got && want && strcmp(got, want) == 0) return true;
    printf("  %s: %.200s\n    got    %.600s\n    wanted %.600s\n", what, text, got ? got : mp_err_text(), want ? want : "an error");
    return false;
}

/* ---- our own snippets ---- */

TEST(snippets_print_what_jinja2_prints)
{
    json_t *golden = json_load_file(MOPED_SOURCE_DIR "/tests/golden/tmpl_golden.json", JSON_ALLOW_NUL, NULL);
    REQUIRE(golden != NULL);
    mp_ledger *ledger = open_ledger();
    mp_tmpl_limits limits = { .now_unix = json_integer_value(json_object_get(golden, "now")) };
    char *vars = json_dumps(json_object_get(golden, "variables"), 0), *got = NULL;
    size_t i, wrong = 0;
    json_t *c;
    json_array_foreach(json_object_get(golden, "cases"), i, c) {
        const json_t *text = json_object_get(c, "template");
        const char *want = json_string_value(json_object_get(c, "output"));
        mp_err err = render(ledger, json_string_value(text), json_string_length(text), vars, &limits, &got);
        if (want) wrong += !check_output("output", json_string_value(text), got, want);
        else {
            bool raised = strncmp(json_string_value(json_object_get(c, "error")), "TemplateError: ", 15) == 0;
            wrong += got ? !check_output("no error", json_string_value(text), got, NULL) : 0;
            if (raised) {
                CHECK_EQ(err, MP_E_FAILED);
                CHECK_STR(mp_err_text(), json_string_value(json_object_get(c, "error")) + 15);
            } else CHECK_EQ(err, MP_E_MODEL);
        }
        mp_free(got);
        got = NULL;
    }
    CHECK(i > 900);
    CHECK_EQ(wrong, 0);
    free(vars);
    json_decref(golden);
    mp_ledger_close(&ledger);
}

/* ---- templates of published models ---- */

static char *read_text(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *text = malloc(1 << 20);
    *n = f && text ? fread(text, 1, (1 << 20) - 1, f) : 0;
    if (text) text[*n] = 0;
    if (f) fclose(f);
    return text;
}

/* The scenario's members, and what the caller of a chat template always gives. */
static char *scenario_json(json_t *scenario, json_t *result)
{
    json_t *vars = json_copy(scenario);
    if (!json_object_get(vars, "add_generation_prompt")) json_object_set_new(vars, "add_generation_prompt", json_true());
    json_object_set(vars, "bos_token", json_object_get(result, "bos_token"));
    json_object_set(vars, "eos_token", json_object_get(result, "eos_token"));
    char *text = json_dumps(vars, 0);
    json_decref(vars);
    return text;
}

TEST(published_templates_print_what_jinja2_prints)
{
    char path[1024];
    if (!test_shared("data/chat-templates/jinja2-goldens.json", path, sizeof(path))) SKIP("the reference templates are not here");
    json_t *golden = json_load_file(path, 0, NULL), *result;
    REQUIRE(golden != NULL);
    mp_ledger *ledger = open_ledger();
    mp_tmpl_limits limits = { .now_unix = 1739500200 };
    size_t i, n, wrong = 0;
    json_array_foreach(json_object_get(golden, "results"), i, result) {
        const char *name = json_string_value(json_object_get(result, "template"));
        const char *scenario = json_string_value(json_object_get(result, "scenario"));
        char what[300];
        snprintf(what, sizeof(what), "data/chat-templates/templates/%s", name);
        CHECK(test_shared(what, path, sizeof(path)));
        char *text = read_text(path, &n), *got = NULL;
        char *vars = scenario_json(json_object_get(json_object_get(golden, "scenarios"), scenario), result);
        const char *want = json_string_value(json_object_get(result, "output"));
        mp_err err = render(ledger, text, n, vars, &limits, &got);
        snprintf(what, sizeof(what), "%s, %s", name, scenario);
        if (want) wrong += !check_output(what, "", got, want);
        else CHECK(err == MP_E_FAILED || err == MP_E_MODEL);
        mp_free(got);
        free(vars);
        free(text);
    }
    CHECK(i >= 90);
    CHECK_EQ(wrong, 0);
    json_decref(golden);
    mp_ledger_close(&ledger);
}

TEST(llamacpp_cases_print_what_jinja2_prints)
{
    char path[1024];
    if (!test_shared("data/chat-templates/llamacpp-chat-template-cases.json", path, sizeof(path))) SKIP("the reference cases are not here");
    json_t *file = json_load_file(path, 0, NULL), *c;
    REQUIRE(file != NULL);
    mp_ledger *ledger = open_ledger();
    size_t i, rendered = 0, wrong = 0;
    json_array_foreach(json_object_get(file, "cases"), i, c) {
        const char *text = json_string_value(json_object_get(c, "template"));
        const char *want = json_string_value(json_object_get(c, "jinja2_output"));
        if (!text) continue;
        json_t *vars = json_pack("{sOsOsOsO}", "messages", json_object_get(file, "messages"), "add_generation_prompt",
                                 json_object_get(file, "add_generation_prompt"), "bos_token", json_object_get(c, "bos_token"), "eos_token",
                                 json_object_get(c, "eos_token"));
        char *json = json_dumps(vars, 0), *got = NULL;
        mp_err err = render_text(ledger, text, json, NULL, &got);
        if (want) wrong += !check_output(json_string_value(json_object_get(c, "name")), "", got, want);
        else CHECK(err == MP_E_FAILED || err == MP_E_MODEL);
        rendered++;
        mp_free(got);
        free(json);
        json_decref(vars);
    }
    CHECK(rendered >= 31);
    CHECK_EQ(wrong, 0);
    json_decref(file);
    mp_ledger_close(&ledger);
}

/* ---- errors and limits ---- */

static void check_fails(mp_ledger *ledger, const char *text, const mp_tmpl_limits *limits, mp_err want, const char *words)
{
    char *got = NULL;
    mp_err err = render_text(ledger, text, "{\"l\": [1, 2, 3], \"s\": \"x\"}", limits, &got);
    CHECK_EQ(err, want);
    if (!strstr(mp_err_text(), words)) printf("  %s: \"%s\" does not say \"%s\"\n", text, mp_err_text(), words);
    CHECK(strstr(mp_err_text(), words) != NULL);
    mp_free(got);
}

TEST(errors_say_the_line)
{
    mp_ledger *ledger = open_ledger();
    check_fails(ledger, "a\nb\n{{ 1 + }}", NULL, MP_E_MODEL, "line 3");
    check_fails(ledger, "a\n{% if x %}\nb", NULL, MP_E_MODEL, "line 3");
    check_fails(ledger, "\n\n{% for x in l %}\n{{ x | nosuch }}{% endfor %}", NULL, MP_E_MODEL, "line 4");
    check_fails(ledger, "\n{{ nosuch.x }}", NULL, MP_E_MODEL, "line 2: 'nosuch' is undefined");
    check_fails(ledger, "{# c\n #}\n{{ s.a.b }}", NULL, MP_E_MODEL, "line 3");
    check_fails(ledger, "{% set x = '\n\n' %}{{ 1 // 0 }}", NULL, MP_E_MODEL, "line 3: division by zero");
    check_fails(ledger, "{% include 'x' %}", NULL, MP_E_MODEL, "line 1");
    check_fails(ledger, "{{ 'abc\xff' }}", NULL, MP_E_MODEL, "UTF-8");
    check_fails(ledger, "{{ raise_exception('that is wrong') }}", NULL, MP_E_FAILED, "that is wrong");
    mp_ledger_close(&ledger);
}

TEST(integers_are_64_bits)
{
    static const char *const too_large[] = {
        "{{ 9223372036854775808 }}", "{{ 9223372036854775807 + 1 }}", "{{ -9223372036854775807 - 2 }}", "{{ 4294967296 * 4294967296 }}",
        "{{ 2 ** 64 }}", "{{ (-9223372036854775807 - 1) // -1 }}", "{{ 1e300 | int }}", "{{ -(-9223372036854775807 - 1) }}",
    };
    mp_ledger *ledger = open_ledger();
    for (size_t i = 0; i < sizeof(too_large) / sizeof(too_large[0]); i++) check_fails(ledger, too_large[i], NULL, MP_E_MODEL, "64 bits");
    mp_ledger_close(&ledger);
}

TEST(limits_stop_what_would_not_end)
{
    static const char nested[] = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    mp_tmpl_limits small = { .steps = 10000, .output_bytes = 1000, .memory_bytes = 1 << 20, .depth = 50 };
    mp_ledger *ledger = open_ledger();
    check_fails(ledger, nested, NULL, MP_E_MODEL, "steps");
    check_fails(ledger, nested, &small, MP_E_MODEL, "steps");
    check_fails(ledger, "{{ 'x' * 2000 }}", &small, MP_E_MODEL, "writes more than 1000");
    check_fails(ledger, "{% set x = 'x' * 5000000 %}", &small, MP_E_MODEL, "steps");
    small.steps = 0;
    check_fails(ledger, "{% set x = 'x' * 5000000 %}", &small, MP_E_MODEL, "memory");
    check_fails(ledger, "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", NULL, MP_E_MODEL, "deep");
    check_fails(ledger, "{% for x in [[]] recursive %}{{ loop([1]) }}{% endfor %}", NULL, MP_E_MODEL, "deep");
    check_fails(ledger, "{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}", NULL,
                MP_E_MODEL, "deep");
    check_fails(ledger, "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}", NULL,
                MP_E_MODEL, "elements");
    check_fails(ledger, "{% set ns = namespace(x='a') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}", NULL,
                MP_E_MODEL, "memory");
    check_fails(ledger, "{{ '%9999999999d' % 5 }}{{ 'x'.center(99999999999) }}", NULL, MP_E_MODEL, "more than");
    mp_ledger_close(&ledger);
}

/* A text that grows in a loop, as some templates do it, costs memory in proportion to its length, not to its square. */
TEST(appending_is_linear)
{
    static const char text[] = "{% set ns = namespace(s='') %}{% for i in range(20000) %}"
                               "{% set ns.s = ns.s + 'twenty bytes of text' %}{% endfor %}{{ ns.s | length }}";
    mp_tmpl_limits limits = { .memory_bytes = 32 << 20 };
    mp_ledger *ledger = open_ledger();
    char *got = NULL;
    CHECK_OK(render_text(ledger, text, "{}", &limits, &got));
    CHECK_STR(got, "400000");
    mp_free(got);
    mp_ledger_close(&ledger);
}

TEST(deep_nesting_in_the_source_is_refused)
{
    static const struct { const char *open, *close; } shapes[] = {
        { "{{ (", ")" }, { "{{ [", "]" }, { "{{ -", "" }, { "{{ not ", "" }, { "{% if 1 %}", "" }, { "{{ {1:", "}" }, { "{{ a(", ")" },
        { "{{ a[", "]" }, { "{% macro m() %}", "" },
    };
    mp_ledger *ledger = open_ledger();
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        bool tag = shapes[i].open[1] == '%';
        size_t n = 0, len = strlen(shapes[i].open);
        static char text[200000];
        for (int k = 0; k < 5000; k++) {
            const char *part = tag || k == 0 ? shapes[i].open : shapes[i].open + 3;
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", part);
        }
        CHECK(len > 0);
        check_fails(ledger, text, NULL, MP_E_MODEL, "deep");
    }
    mp_ledger_close(&ledger);
}

/* Long chains, as opposed to nesting, are common; ten thousand are an error, not a crash. */
TEST(long_chains)
{
    static char text[200000];
    mp_ledger *ledger = open_ledger();
    char *got = NULL;
    size_t n = (size_t)snprintf(text, sizeof(text), "{{ 1");
    for (int i = 0; i < 200; i++) n += (size_t)snprintf(text + n, sizeof(text) - n, " + 1");
    snprintf(text + n, sizeof(text) - n, " }}");
    CHECK_OK(render_text(ledger, text, "{}", NULL, &got));
    CHECK_STR(got, "201");
    mp_free(got);
    for (int i = 0; i < 10000; i++) n += (size_t)snprintf(text + n, sizeof(text) - n, " + 1");
    snprintf(text + n, sizeof(text) - n, " }}");
    check_fails(ledger, text, NULL, MP_E_MODEL, "deep");
    mp_ledger_close(&ledger);
}

TEST(variables_must_be_a_json_object)
{
    static const char *const bad[] = { "", "[]", "5", "{", "{\"a\": }", "{\"a\": 99999999999999999999}", "\"\\ud800\"", "null" };
    mp_ledger *ledger = open_ledger();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *got = NULL;
        CHECK_EQ(render_text(ledger, "x", bad[i], NULL, &got), MP_E_USAGE);
    }
    mp_ledger_close(&ledger);
}

TEST(a_zero_byte_is_a_character)
{
    mp_ledger *ledger = open_ledger();
    mp_tmpl *tmpl = NULL;
    char *got = NULL;
    size_t n = 0;
    CHECK_OK(mp_tmpl_compile(ledger, "a\0{{ s }}{{ s | length }}{{ '\\0' }}", 35, &tmpl));
    CHECK_OK(mp_tmpl_render(tmpl, "{\"s\": \"x\\u0000y\"}", 17, NULL, &got, &n));
    CHECK_EQ(n, 7);
    CHECK(got && memcmp(got, "a\0x\0y3\0", 7) == 0);
    mp_free(got);
    mp_tmpl_close(&tmpl);
    mp_ledger_close(&ledger);
}

/* ---- allocation failure ---- */

/* A limit that grows a little each time lets every allocation in turn be the one that fails. */
TEST(every_failing_allocation_is_survived)
{
    static const char text[] = "{% macro m(x, y=[1, {'a': 2}]) %}{{ x | tojson(indent=2) }}{{ y }}{{ varargs }}{% endmacro %}"
                               "{% for x in l if x > 1 %}{% set z %}{{ m(x, *l) }}{% endset %}"
                               "{{ z | upper | replace('A', 'bb') }}{% endfor %}"
                               "{{ '%s %5d' % (l, 3) }}{{ '{:>9} {}'.format(s, l) }}{{ l | sort | map('string') | join(',') }}"
                               "{{ l | groupby(0, default=1) | list }}{{ s.split('x') }}"
                               "{{ namespace(a=1) }}{{ 'y' * 70000 }}{{ [3] * 5000 }}";
    mp_ledger *ledger = open_ledger();
    uint64_t baseline = mp_ledger_used(ledger, MP_TIER_RAM), step = 1;
    int failed = 0, passed = 0;
    for (uint64_t room = 1; room < (8u << 20) && passed < 3; room += step) {
        char *got = NULL;
        mp_ledger_set_limit(ledger, MP_TIER_RAM, baseline + room);
        mp_err err = render_text(ledger, text, "{\"l\": [1, 2, 3], \"s\": \"axbxc\"}", NULL, &got);
        CHECK(err == MP_OK || err == MP_E_BUDGET);
        failed += err != MP_OK;
        passed += err == MP_OK;
        mp_free(got);
        CHECK_EQ(mp_ledger_used(ledger, MP_TIER_RAM), baseline);
        step = room < 4096 ? 61 : 4093;
    }
    CHECK(failed > 50);
    CHECK_EQ(passed, 3);
    mp_ledger_close(&ledger);
}

int main(void)
{
    RUN(snippets_print_what_jinja2_prints);
    RUN(published_templates_print_what_jinja2_prints);
    RUN(llamacpp_cases_print_what_jinja2_prints);
    RUN(errors_say_the_line);
    RUN(integers_are_64_bits);
    RUN(limits_stop_what_would_not_end);
    RUN(appending_is_linear);
    RUN(deep_nesting_in_the_source_is_refused);
    RUN(long_chains);
    RUN(variables_must_be_a_json_object);
    RUN(a_zero_byte_is_a_character);
    RUN(every_failing_allocation_is_survived);
    return test_done();
}
