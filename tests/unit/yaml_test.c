/* YAML: what configuration needs is read into the tree; everything surprising is refused at its line and
 * column. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "json/write.h"
#include "json/yaml.h"

static int set_up(void **state)
{
    static struct arena a;
    arena_init(&a, 64u << 20, 0);
    *state = &a;
    return 0;
}

static int tear_down(void **state)
{
    arena_fini(*state);
    return 0;
}

static void write_tree(struct json_writer *w, const struct json *v)
{
    switch (v->type) {
    case JSON_STRING: json_str(w, v->text); break;
    case JSON_NUMBER: json_raw(w, v->text); break;
    case JSON_TRUE: json_boolean(w, true); break;
    case JSON_FALSE: json_boolean(w, false); break;
    case JSON_ARRAY: json_array(w); break;
    case JSON_OBJECT: json_object(w); break;
    default: json_null(w); break;
    }
    if (v->type != JSON_ARRAY && v->type != JSON_OBJECT) return;
    uint32_t n = 0;
    for (const struct json *c = v->child; c; c = c->next, n++) {
        if (v->type == JSON_OBJECT) json_name(w, c->name);
        write_tree(w, c);
    }
    assert_int_equal(n, v->n);
    json_end(w);
}

/* The tree of a YAML text, as JSON. */
static void assert_means(struct arena *a, str yaml, const char *json)
{
    struct json *root;
    struct json_writer w;
    struct buf b;
    err e = {0};
    if (yaml_parse(a, yaml, &root, &e)) fail_msg("%.*s: %s", STR(yaml), e.msg);
    buf_init(&b, 1 << 20);
    json_writer_init(&w, &b);
    write_tree(&w, root);
    if (!str_eq(buf_str(&b), str_c(json))) fail_msg("%.*s instead of %s", STR(buf_str(&b)), json);
    buf_fini(&b);
}

static void assert_refused(struct arena *a, str yaml, enum errc code, const char *message)
{
    struct json *root;
    err e = {0};
    const enum errc got = yaml_parse(a, yaml, &root, &e);
    if (got != code || !strstr(e.msg, message)) fail_msg("%.*s: code %d, %s", STR(yaml), (int)got, e.msg);
    assert_null(root);
}

static void a_configuration_becomes_a_tree_with_lines(void **state)
{
    const str text = S("# comment\n"
                       "listen: 127.0.0.1:8080\n"
                       "tls: {cert: a.pem, min_version: \"1.3\"}\n"
                       "limits:\n"
                       "  head_bytes: 16KiB\n"
                       "  headers: 100\n"
                       "providers:\n"
                       "  - name: openai\n"
                       "    models: [gpt-*, 'o*']\n"
                       "  -\n"
                       "    name: x\n"
                       "ca_file:\n"
                       "text: |\n"
                       "  one\n"
                       "  two\n"
                       "folded: >-\n"
                       "  one\n"
                       "  two\n");
    assert_means(*state, text,
                 "{\"listen\":\"127.0.0.1:8080\",\"tls\":{\"cert\":\"a.pem\",\"min_version\":\"1.3\"},"
                 "\"limits\":{\"head_bytes\":\"16KiB\",\"headers\":100},"
                 "\"providers\":[{\"name\":\"openai\",\"models\":[\"gpt-*\",\"o*\"]},{\"name\":\"x\"}],"
                 "\"ca_file\":null,\"text\":\"one\\ntwo\\n\",\"folded\":\"one two\"}");
    struct json *root;
    assert_int_equal(yaml_parse(*state, text, &root, NULL), ERR_NONE);
    assert_int_equal(root->line, 2);
    assert_int_equal(json_at(root, S("tls.min_version"))->line, 3);
    assert_int_equal(json_at(root, S("limits"))->line, 4);
    assert_int_equal(json_at(root, S("limits.headers"))->line, 6);
    const struct json *providers = json_get(root, S("providers"));
    assert_int_equal(providers->line, 7);
    assert_int_equal(providers->child->line, 8);
    assert_int_equal(json_get(providers->child->next, S("name"))->line, 11);
}

static void only_json_like_plain_scalars_are_more_than_text(void **state)
{
    const struct {
        const char *yaml, *json;
    } cases[] = {
        {"null", "null"},
        {"~", "null"},
        {"true", "true"},
        {"false", "false"},
        {"12", "12"},
        {"-3", "-3"},
        {"1.50", "1.50"},
        {"-1e9", "-1e9"},
        {"12345678901234567890123", "12345678901234567890123"},
        {"0", "0"},
        {"Null", "\"Null\""},
        {"NULL", "\"NULL\""},
        {"True", "\"True\""},
        {"TRUE", "\"TRUE\""},
        {"yes", "\"yes\""},
        {"no", "\"no\""},
        {"on", "\"on\""},
        {"off", "\"off\""},
        {"010", "\"010\""},
        {"0x10", "\"0x10\""},
        {"0o7", "\"0o7\""},
        {"+1", "\"+1\""},
        {".5", "\".5\""},
        {"1.", "\"1.\""},
        {"1_000", "\"1_000\""},
        {".inf", "\".inf\""},
        {"-.nan", "\"-.nan\""},
        {"1:30", "\"1:30\""},
        {"2024-02-29", "\"2024-02-29\""},
        {"'12'", "\"12\""},
        {"\"true\"", "\"true\""},
        {"''", "\"\""},
        {"\"\"", "\"\""},
        {"'~'", "\"~\""},
        {"|\n 12", "\"12\""},
        {"\"\\u00e9\\0\\x41\"", "\"\xC3\xA9\\u0000A\""},
        {"-", "[null]"},
        {"- -", "[[null]]"},
        {"--1", "\"--1\""},
        {"-a", "\"-a\""},
        {"[]", "[]"},
        {"{}", "{}"},
        {"{a: , b}", "{\"a\":null,\"b\":null}"},
        {"1: x\ntrue: y\nnull: z\n'<<': w", "{\"1\":\"x\",\"true\":\"y\",\"null\":\"z\",\"<<\":\"w\"}"},
        {"a b: c d", "{\"a b\":\"c d\"}"},
        {"[a, {b: c}]", "[\"a\",{\"b\":\"c\"}]"},
        {"[a: b]", "[{\"a\":\"b\"}]"},
    };
    for (size_t i = 0; i < LENGTH_OF(cases); i++)
        assert_means(*state, str_c(cases[i].yaml), cases[i].json);
}

static void an_empty_text_is_null(void **state)
{
    const char *texts[] = {"", "\n\n", "# nothing\n", "---\n", "---\n...\n", "\xEF\xBB\xBF"};
    for (size_t i = 0; i < LENGTH_OF(texts); i++)
        assert_means(*state, str_c(texts[i]), "null");
    assert_means(*state, (str){NULL, 0}, "null");
    assert_means(*state,
                 S("\xEF\xBB\xBF"
                   "a: 1\n"),
                 "{\"a\":1}");
}

static void bombs_and_surprises_are_refused(void **state)
{
    assert_refused(*state, S("a: &x 1\n"), ERR_INVALID, "line 1, column 4: anchors");
    assert_refused(*state, S("a: 1\nb: *x\n"), ERR_INVALID, "line 2, column 4: aliases");
    assert_refused(*state, S("&m {a: 1}"), ERR_INVALID, "line 1, column 1: anchors");
    assert_refused(*state, S("- &l [a]"), ERR_INVALID, "line 1, column 3: anchors");
    assert_refused(*state, S("&k a: 1"), ERR_INVALID, "anchors");
    assert_refused(*state, S("*k : 1"), ERR_INVALID, "aliases");
    assert_refused(*state, S("x:\n  <<: {a: 1}\n"), ERR_INVALID, "line 2, column 3: merge keys");
    assert_refused(*state, S("a: !!str 1\n"), ERR_INVALID, "line 1, column 4: tags");
    assert_refused(*state, S("a: !secret x\n"), ERR_INVALID, "tags");
    assert_refused(*state, S("! a: 1\n"), ERR_INVALID, "tags");
    assert_refused(*state, S("!!map {a: 1}\n"), ERR_INVALID, "tags");
    assert_refused(*state, S("- !!seq [1]\n"), ERR_INVALID, "tags");
    assert_refused(*state, S("a: 1\n---\nb: 2\n"), ERR_INVALID, "line 2, column 1: more than one document");
    assert_refused(*state, S("---\n---\n"), ERR_INVALID, "more than one document");
    assert_refused(*state, S("[a]: 1\n"), ERR_INVALID, "line 1, column 1: a key must be a scalar");
    assert_refused(*state, S("? {a: b}\n: 1\n"), ERR_INVALID, "a key must be a scalar");
    assert_refused(*state, S("a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n"), ERR_INVALID, "anchors");
}

static void duplicate_keys_are_refused(void **state)
{
    assert_refused(*state, S("a: 1\nb:\n  c: 1\n  'c': 2\n"), ERR_INVALID,
                   "line 4, column 3: duplicate key 'c'");
    assert_refused(*state, S("{a: 1, \"\\x61\": 2}"), ERR_INVALID, "line 1, column 8: duplicate key 'a'");
    assert_means(*state, S("a: {a: {a: 1}}\nb: [{a: 1}, {a: 2}]\n"),
                 "{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":2}]}");
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 40000; i++)
        buf_addf(&b, "k%d: 1\n", i);
    struct json *root;
    assert_int_equal(yaml_parse(*state, buf_str(&b), &root, NULL), ERR_NONE);
    assert_int_equal(root->n, 40000);
    buf_add(&b, S("k777: 2\n"));
    assert_refused(*state, buf_str(&b), ERR_INVALID, "line 40001, column 1: duplicate key 'k777'");
    buf_fini(&b);
}

static void syntax_errors_name_line_and_column(void **state)
{
    assert_refused(*state, S("a:\n\tb: 1\n"), ERR_SYNTAX, "line 2, column 1: ");
    assert_refused(*state, S("a: [1,\nb: }\n"), ERR_SYNTAX, "line 2, column ");
    assert_refused(*state, S("a: \"x\n"), ERR_SYNTAX, "line 2, column 1: ");
    assert_refused(*state, S("a: 1\n b: 2\n"), ERR_SYNTAX, "line 2, column ");
    assert_refused(*state, S("a: @x\n"), ERR_SYNTAX, "line 1, column 4: ");
    assert_refused(*state, S("a: \"\\ud800\"\n"), ERR_SYNTAX, "line 1, column ");
    assert_refused(*state, S("a: 1\nb: \xFF\n"), ERR_SYNTAX, "line 2, column 4: ");
    assert_refused(*state, S("a: 1\nbc: \xC3"), ERR_SYNTAX, "line 2, column 5: ");
    assert_refused(*state, S("a: x\0y\n"), ERR_SYNTAX, "line 1, column 5: ");
    assert_refused(*state, S("a: \x01\n"), ERR_SYNTAX, "line 1, column 4: ");
    assert_refused(*state,
                   S("\xFF\xFE"
                     "a\0"),
                   ERR_SYNTAX, "line 1, column 1: ");
    assert_refused(*state, S("a\n...\nb\n"), ERR_SYNTAX, "line 3, column 1: ");
    assert_refused(*state, S("%FOO bar\na: 1\n"), ERR_SYNTAX, "line ");
}

static void depth_size_and_memory_are_limited(void **state)
{
    char text[128];
    memset(text, '[', 32);
    memset(text + 32, ']', 32);
    struct json *root;
    assert_int_equal(yaml_parse(*state, str_of(text, 64), &root, NULL), ERR_NONE);
    memset(text, '[', 33);
    assert_refused(*state, str_of(text, 33), ERR_INVALID, "line 1, column 33: nesting deeper than 32");

    char *large = malloc(YAML_TEXT_MAX + 1);
    assert_non_null(large);
    memset(large, '[', YAML_TEXT_MAX + 1);
    assert_refused(*state, str_of(large, YAML_TEXT_MAX), ERR_INVALID, "nesting deeper than 32");
    assert_refused(*state, str_of(large, YAML_TEXT_MAX + 1), ERR_TOO_LARGE, "1048576");
    memset(large, '#', YAML_TEXT_MAX);
    assert_means(*state, str_of(large, YAML_TEXT_MAX), "null");
    free(large);

    bool fits = false;
    for (size_t limit = 64; !fits; limit += 64) {
        struct arena a;
        err e = {0};
        arena_init(&a, limit, 64);
        const enum errc code = yaml_parse(
            &a, S("a: [x, y, {z: w}]\nb: 12\nc: 1\nd: 1\ne: 1\nf: 1\ng: 1\nh: 1\ni: 1\nj: 1\n"), &root, &e);
        fits = code == ERR_NONE;
        if (!fits) assert_int_equal(code, ERR_TOO_LARGE);
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_configuration_becomes_a_tree_with_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_json_like_plain_scalars_are_more_than_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_text_is_null, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bombs_and_surprises_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(duplicate_keys_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(syntax_errors_name_line_and_column, set_up, tear_down),
        cmocka_unit_test_setup_teardown(depth_size_and_memory_are_limited, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
