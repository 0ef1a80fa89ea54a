/* Feature flags: definitions, rules, versions, and the distribution that flagd's own test bed expects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "core/flags.h"
#include "core/flags/rule.h"

static struct arena arena;

static const struct json *json(const char *text)
{
    struct json *v = NULL;
    err e = {0};
    if (json_parse(&arena, str_c(text), &v, &e)) fail_msg("%s in %s", e.msg, text);
    return v;
}

/* The variant and reason of a flag for a context: "on TARGETING_MATCH". */
static const char *evaluated(const char *name, const char *definition, const char *key,
                             const char *attributes)
{
    static char out[128];
    struct feature_flag f;
    err e = {0};
    if (flag_parse(str_c(name), json(definition), &f, &e)) fail_msg("%s in %s", e.msg, definition);
    struct flag_context c = {.targeting_key = str_c(key), .attributes = attributes ? json(attributes) : NULL};
    struct flag_result r = flag_evaluate(&arena, &f, &c);
    snprintf(out, sizeof out, "%.*s %s", STR(r.value ? r.variant : S("-")), flag_reason_name(r.reason));
    return out;
}

/* The value of a rule as JSON-like text; "failed" when an operator could not work. */
struct names {
    const struct json *attributes;
};
static struct rule_value lookup(const void *ctx, str name)
{
    const struct names *n = ctx;
    return rule_value_of(json_get(n->attributes, name));
}
static const char *valued(const char *rule, const char *attributes)
{
    static char out[256];
    const struct names n = {json(attributes ? attributes : "{}")};
    const struct rule_context context = {.lookup = lookup, .ctx = &n, .flag_key = S("flag")};
    struct rule_value v;
    if (!rule_evaluate(&arena, json(rule), &context, &v)) return "failed";
    switch (v.type) {
    case RULE_NULL: return "null";
    case RULE_BOOL: return v.boolean ? "true" : "false";
    case RULE_NUMBER: snprintf(out, sizeof out, "%g", v.number); return out;
    case RULE_TEXT: snprintf(out, sizeof out, "'%.*s'", STR(v.text)); return out;
    case RULE_LIST: return "list";
    case RULE_OBJECT: return "object";
    }
    return "?";
}

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 64 << 20, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void without_a_rule_the_default_variant_holds(void **state)
{
    (void)state;
    assert_string_equal(
        evaluated(
            "f", "{\"state\":\"ENABLED\",\"variants\":{\"on\":true,\"off\":false},\"defaultVariant\":\"on\"}",
            "", NULL),
        "on STATIC");
    assert_string_equal(
        evaluated(
            "f",
            "{\"state\":\"ENABLED\",\"variants\":{\"on\":true},\"defaultVariant\":\"on\",\"targeting\":{}}",
            "", NULL),
        "on STATIC");
    assert_string_equal(
        evaluated("f", "{\"state\":\"ENABLED\",\"variants\":{\"on\":true},\"defaultVariant\":null}", "",
                  NULL),
        "- DEFAULT");
    assert_string_equal(
        evaluated("f", "{\"state\":\"DISABLED\",\"variants\":{\"on\":true},\"defaultVariant\":\"on\"}", "",
                  NULL),
        "- DISABLED");
}

static void a_rule_chooses_by_workspace_user_and_role(void **state)
{
    (void)state;
    static const char by_role[] =
        "{\"state\":\"ENABLED\",\"variants\":{\"on\":true,\"off\":false},\"defaultVariant\":\"off\","
        "\"targeting\":{\"if\":[{\"or\":[{\"in\":[{\"var\":\"role\"},[\"owner\",\"admin\"]]},"
        "{\"==\":[{\"var\":\"user\"},\"u1\"]},"
        "{\"==\":[{\"var\":\"workspace\"},\"01900000-0000-7000-8000-000000000001\"]}]},\"on\",null]}}";
    struct feature_flag f;
    err e = {0};
    uuid workspace;
    assert_int_equal(flag_parse(S("f"), json(by_role), &f, &e), ERR_NONE);
    assert_true(uuid_parse(S("01900000-0000-7000-8000-000000000001"), &workspace));
    const struct flag_context contexts[] = {
        {.role = S("admin")}, {.user = S("u1")}, {.workspace_id = workspace}};
    for (size_t i = 0; i < LENGTH_OF(contexts); i++) {
        struct flag_result r = flag_evaluate(&arena, &f, &contexts[i]);
        assert_int_equal(r.reason, FLAG_TARGETING_MATCH);
        assert_int_equal(r.value->type, JSON_TRUE);
    }
    const struct flag_context other = {.role = S("viewer"), .user = S("u2")};
    struct flag_result r = flag_evaluate(&arena, &f, &other);
    assert_int_equal(r.reason, FLAG_DEFAULT);
    assert_int_equal(r.value->type, JSON_FALSE);
}

static void a_rule_that_names_no_variant_is_an_error_and_nothing_means_the_default(void **state)
{
    (void)state;
#define RULE(r)                                                                                              \
    "{\"state\":\"ENABLED\",\"variants\":{\"true\":1,\"b\":2},\"defaultVariant\":\"b\",\"targeting\":" r "}"
    assert_string_equal(evaluated("f", RULE("{\"if\":[true,\"c\"]}"), "", NULL), "- ERROR");
    assert_string_equal(evaluated("f", RULE("{\"if\":[true,7]}"), "", NULL), "- ERROR");
    assert_string_equal(evaluated("f", RULE("{\"==\":[1,1]}"), "", NULL), "true TARGETING_MATCH");
    assert_string_equal(evaluated("f", RULE("{\"==\":[1,2]}"), "", NULL), "- ERROR");
    assert_string_equal(evaluated("f", RULE("{\"if\":[false,\"true\"]}"), "", NULL), "b DEFAULT");
    assert_string_equal(
        evaluated("f", RULE("{\"if\":[{\"sem_ver\":[\"x\",\"=\",\"1.0.0\"]},\"true\",\"true\"]}"), "", NULL),
        "b DEFAULT");
#undef RULE
}

static void operators_are_those_of_json_logic(void **state)
{
    (void)state;
    static const char data[] = "{\"a\":{\"b\":[10,{\"c\":\"deep\"}]},\"n\":3,\"s\":\"abc\",\"zero\":0,"
                               "\"empty\":\"\",\"x.y\":\"dotted\","
                               "\"list\":[\"p\",\"q\"],\"no\":null,\"t\":true}";
    static const struct {
        const char *rule, *wanted;
    } rows[] = {
        {"{\"var\":\"n\"}", "3"},
        {"{\"var\":[\"n\"]}", "3"},
        {"{\"var\":\"a.b.0\"}", "10"},
        {"{\"var\":\"a.b.1.c\"}", "'deep'"},
        {"{\"var\":\"a.b.2\"}", "null"},
        {"{\"var\":\"a.x.y\"}", "null"},
        {"{\"var\":\"x.y\"}", "'dotted'"},
        {"{\"var\":[\"missing\",\"instead\"]}", "'instead'"},
        {"{\"var\":\"\"}", "null"},
        {"{\"==\":[1,\"1\"]}", "true"},
        {"{\"==\":[1,true]}", "true"},
        {"{\"==\":[0,\"\"]}", "true"},
        {"{\"==\":[{\"var\":\"no\"},{\"var\":\"missing\"}]}", "true"},
        {"{\"==\":[{\"var\":\"no\"},0]}", "false"},
        {"{\"==\":[\"1e1\",10]}", "true"},
        {"{\"==\":[\"0x10\",16]}", "false"},
        {"{\"===\":[1,\"1\"]}", "false"},
        {"{\"!=\":[1,\"1\"]}", "false"},
        {"{\"!==\":[1,\"1\"]}", "true"},
        {"{\"<\":[1,2]}", "true"},
        {"{\"<\":[1,2,3]}", "true"},
        {"{\"<\":[1,3,3]}", "false"},
        {"{\"<=\":[1,3,3]}", "true"},
        {"{\">\":[\"10\",9]}", "true"},
        {"{\">=\":[\"x\",9]}", "false"},
        {"{\"!\":[{\"var\":\"zero\"}]}", "true"},
        {"{\"!\":{\"var\":\"t\"}}", "false"},
        {"{\"!!\":[[]]}", "false"},
        {"{\"!!\":[[0]]}", "true"},
        {"{\"!!\":[\"0\"]}", "true"},
        {"{\"and\":[1,\"\",{\"sem_ver\":[\"x\",\"=\",\"y\"]}]}", "''"},
        {"{\"and\":[true,2]}", "2"},
        {"{\"or\":[0,\"\",\"third\",{\"sem_ver\":[\"x\",\"=\",\"y\"]}]}", "'third'"},
        {"{\"or\":[0,false]}", "false"},
        {"{\"if\":[0,1,\"\",2,3]}", "3"},
        {"{\"if\":[0,1]}", "null"},
        {"{\"if\":[5]}", "5"},
        {"{\"in\":[\"b\",{\"var\":\"s\"}]}", "true"},
        {"{\"in\":[\"q\",{\"var\":\"list\"}]}", "true"},
        {"{\"in\":[\"z\",{\"var\":\"list\"}]}", "false"},
        {"{\"in\":[3,[1,2,{\"var\":\"n\"}]]}", "true"},
        {"{\"in\":[\"3\",[3]]}", "false"},
        {"{\"in\":[\"a\",{\"var\":\"missing\"}]}", "false"},
        {"{\"cat\":[\"x\",1,true,1.5,{\"var\":\"missing\"}]}", "'x1true1.5'"},
        {"{\"cat\":\"one\"}", "'one'"},
        {"{\"starts_with\":[{\"var\":\"s\"},\"ab\"]}", "true"},
        {"{\"ends_with\":[{\"var\":\"s\"},\"ab\"]}", "false"},
        {"{\"starts_with\":[{\"var\":\"n\"},\"ab\"]}", "failed"},
        {"{\"starts_with\":[\"ab\"]}", "failed"},
        {"{\"unknown\":[1]}", "failed"},
        {"{\"a\":1,\"b\":2}", "failed"},
        {"[1]", "list"},
        {"7", "7"},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++)
        if (strcmp(valued(rows[i].rule, data), rows[i].wanted) != 0)
            fail_msg("%s gives %s, not %s", rows[i].rule, valued(rows[i].rule, data), rows[i].wanted);
}

static void versions_compare_by_their_standard(void **state)
{
    (void)state;
    static const struct {
        const char *a, *op, *b;
        int wanted; /* -1: cannot be compared */
    } rows[] = {
        {"2.0.0", "=", "2.0.0", 1},
        {"2.1.0", ">", "2.0.0", 1},
        {"1.9.0", "<", "2.0.0", 1},
        {"2.0.0-alpha", "<", "2.0.0", 1},
        {"2.0.0.0", "=", "2.0.0", -1},
        {"3.0.1", "~", "3.0.0", 1},
        {"3.1.0", "~", "3.0.0", 0},
        {"3.1.0", "^", "3.0.0", 1},
        {"4.0.0", "^", "3.0.0", 0},
        {"v1.0.0", "=", "1.0.0", 1},
        {"1.5.0", "^", "1", 1},
        {"1.0", "=", "1.0.0", 1},
        {"1.0.0+build", "=", "1.0.0", 1},
        {"1.0.0+a", "=", "1.0.0+b", 1},
        {"1.0.0", "!=", "1.0.1", 1},
        {"1.0.0", "<=", "1.0.0", 1},
        {"1.0.0", ">=", "1.0.1", 0},
        {"1.10.0", ">", "1.9.0", 1},
        {"1.0.0-alpha", "<", "1.0.0-alpha.1", 1},
        {"1.0.0-alpha.1", "<", "1.0.0-alpha.beta", 1},
        {"1.0.0-beta.2", "<", "1.0.0-beta.11", 1},
        {"1.0.0-rc.1", "<", "1.0.0", 1},
        {"18446744073709551616.0.0", ">", "18446744073709551615.0.0", 1},
        {"01.0.0", "=", "1.0.0", -1},
        {"1.0.0-01", "=", "1.0.0", -1},
        {"1.0-x", "=", "1.0.0", -1},
        {"1..0", "=", "1.0.0", -1},
        {"", "=", "1.0.0", -1},
        {"x", "=", "1.0.0", -1},
        {"1.0.0", "===", "1.0.0", -1},
        {"1.0.0-", "=", "1.0.0", -1},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        bool holds = false;
        bool is_known = semver_compare(str_c(rows[i].a), str_c(rows[i].op), str_c(rows[i].b), &holds);
        if ((is_known ? (int)holds : -1) != rows[i].wanted)
            fail_msg("%s %s %s", rows[i].a, rows[i].op, rows[i].b);
    }
}

static void the_hash_is_murmur3(void **state)
{
    (void)state;
    /* of the algorithm's author's verification and of Wikipedia's table, seed 0 */
    assert_int_equal(murmur3_32(S("")), 0);
    assert_int_equal(murmur3_32(S("test")), 0xba6bd213);
    assert_int_equal(murmur3_32(S("Hello, world!")), 0xc0363e43);
    assert_int_equal(murmur3_32(S("The quick brown fox jumps over the lazy dog")), 0x2e4ff723);
}

static void fractional_distributes_as_flagds_test_bed_expects(void **state)
{
    (void)state;
#define CARDS "[\"clubs\",25],[\"diamonds\",25],[\"hearts\",25],[\"spades\",25]"
    static const char own[] =
        "{\"state\":\"ENABLED\",\"variants\":{\"clubs\":1,\"diamonds\":2,\"hearts\":3,\"spades\":4,\"wild\":"
        "5},"
        "\"defaultVariant\":\"wild\",\"targeting\":{\"fractional\":[{\"cat\":[{\"var\":\"$flagd.flagKey\"},"
        "{\"var\":\"user.name\"}]}," CARDS "]}}";
    static const char shared[] =
        "{\"state\":\"ENABLED\",\"variants\":{\"clubs\":1,\"diamonds\":2,\"hearts\":3,\"spades\":4},"
        "\"defaultVariant\":\"clubs\",\"targeting\":{\"fractional\":[{\"cat\":[\"shared-seed\","
        "{\"var\":\"user.name\"}]}," CARDS "]}}";
    static const char edge[] =
        "{\"state\":\"ENABLED\",\"variants\":{\"lower\":1,\"upper\":2},\"defaultVariant\":\"lower\","
        "\"targeting\":{\"fractional\":[{\"var\":\"targetingKey\"},[\"lower\",50],[\"upper\",50]]}}";
    static const char shorthand[] =
        "{\"state\":\"ENABLED\",\"variants\":{\"heads\":1,\"tails\":2,\"draw\":3},"
        "\"defaultVariant\":\"draw\",\"targeting\":{\"fractional\":[[\"heads\"],[\"tails\",1]]}}";
    static const char *const names[][3] = {{"jack", "hearts", NULL},    {"queen", "spades", NULL},
                                           {"ten", "clubs", NULL},      {"nine", "diamonds", "clubs"},
                                           {"3", "clubs", NULL},        {"seven", NULL, "hearts"},
                                           {"eight", NULL, "diamonds"}, {"two", NULL, "spades"}};
    static const char *const keys[][2] = {{"ejOoVL", "lower"},
                                          {"bY9fO-", "lower"},
                                          {"SI7p-", "lower"},
                                          {"6LvT0", "upper"},
                                          {"ceQdGm", "upper"}};
    char user[64], wanted[64];
    for (size_t i = 0; i < LENGTH_OF(names); i++) {
        snprintf(user, sizeof user, "{\"user\":{\"name\":\"%s\"}}", names[i][0]);
        if (names[i][1]) {
            snprintf(wanted, sizeof wanted, "%s TARGETING_MATCH", names[i][1]);
            assert_string_equal(evaluated("fractional-flag", own, "", user), wanted);
        }
        if (names[i][2]) {
            snprintf(wanted, sizeof wanted, "%s TARGETING_MATCH", names[i][2]);
            assert_string_equal(evaluated("any", shared, "", user), wanted);
        }
    }
    for (size_t i = 0; i < LENGTH_OF(keys); i++) {
        snprintf(wanted, sizeof wanted, "%s TARGETING_MATCH", keys[i][1]);
        assert_string_equal(evaluated("f", edge, keys[i][0], NULL), wanted);
    }
    assert_string_equal(evaluated("fractional-flag-shorthand", shorthand, "jon@company.com", NULL),
                        "heads TARGETING_MATCH");
    assert_string_equal(evaluated("fractional-flag-shorthand", shorthand, "jane@company.com", NULL),
                        "tails TARGETING_MATCH");
    assert_string_equal(evaluated("fractional-flag-shorthand", shorthand, "", NULL),
                        "draw DEFAULT"); /* nothing to go by */
}

static void fractional_refuses_what_is_no_distribution(void **state)
{
    (void)state;
    static const char *const rules[] = {
        "{\"fractional\":[\"k\",[\"a\",0],[\"b\",0]]}",
        "{\"fractional\":[\"k\",[\"a\",-1],[\"b\",2]]}",
        "{\"fractional\":[\"k\",[\"a\",1.5]]}",
        "{\"fractional\":[\"k\",[\"a\",\"1\"]]}",
        "{\"fractional\":[\"k\",\"a\"]}",
        "{\"fractional\":[\"k\",[]]}",
        "{\"fractional\":[\"k\",[\"a\",2147483647],[\"b\",1]]}",
        "{\"fractional\":[7,[\"a\",1]]}",
        "{\"fractional\":\"k\"}",
        "{\"fractional\":[\"k\"]}",
        "{\"fractional\":[\"k\",[\"a\",1,1]]}",
    };
    for (size_t i = 0; i < LENGTH_OF(rules); i++)
        if (strcmp(valued(rules[i], NULL), "failed") != 0)
            fail_msg("%s gives %s", rules[i], valued(rules[i], NULL));
    assert_string_equal(
        valued("{\"fractional\":[\"k\",[{\"var\":\"v\"},{\"if\":[true,1]}]]}", "{\"v\":\"x\"}"), "'x'");
    assert_string_equal(valued("{\"fractional\":[\"k\",[\"only\",2147483647]]}", NULL), "'only'");
}

static void a_definition_that_is_wrong_is_refused_with_its_member(void **state)
{
    (void)state;
    static const struct {
        const char *definition, *words;
    } rows[] = {
        {"{}", "state"},
        {"{\"state\":\"on\"}", "state"},
        {"{\"state\":\"ENABLED\"}", "variants"},
        {"{\"state\":\"ENABLED\",\"variants\":{}}", "variants"},
        {"{\"state\":\"ENABLED\",\"variants\":{\"a\":1,\"b\":\"x\"}}", "'b' is not"},
        {"{\"state\":\"ENABLED\",\"variants\":{\"a\":null}}", "'a' is not"},
        {"{\"state\":\"ENABLED\",\"variants\":{\"\":1}}", "empty name"},
        {"{\"state\":\"ENABLED\",\"variants\":{\"a\":1},\"defaultVariant\":\"b\"}", "defaultVariant"},
        {"{\"state\":\"ENABLED\",\"variants\":{\"a\":1},\"targeting\":\"a\"}", "targeting"},
        {"{\"state\":\"ENABLED\",\"variants\":{\"a\":1},\"targeting\":{\"iff\":[]}}", "'iff' is no operator"},
        {"{\"state\":\"ENABLED\",\"variants\":{\"a\":1},\"targeting\":{\"==\":[1]}}", "takes 2 to 2"},
        {"{\"state\":\"ENABLED\",\"variants\":{\"a\":1},\"targeting\":{\"if\":[{\"a\":1,\"b\":2}]}}",
         "one member"},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        struct feature_flag f;
        err e = {0};
        assert_int_equal(flag_parse(S("f"), json(rows[i].definition), &f, &e), ERR_INVALID);
        if (!strstr(e.msg, rows[i].words)) fail_msg("no '%s' in: %s", rows[i].words, e.msg);
    }
    char deep[4096];
    int n = 0;
    for (unsigned i = 0; i < 30; i++)
        n += snprintf(deep + n, sizeof deep - (size_t)n, "{\"!\":");
    n += snprintf(deep + n, sizeof deep - (size_t)n, "1");
    for (unsigned i = 0; i < 30; i++)
        n += snprintf(deep + n, sizeof deep - (size_t)n, "}");
    err e = {0};
    assert_int_equal(rule_check(json(deep), &e), ERR_INVALID);
    assert_string_equal(valued(deep, NULL), "failed");
}

static void a_rule_ends_after_so_many_steps(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 16 << 20);
    buf_add(&text, S("{\"or\":[0"));
    for (unsigned i = 0; i < 20000; i++)
        buf_add(&text, S(",0"));
    buf_add(&text, S("]}"));
    buf_add_char(&text, '\0');
    assert_string_equal(valued(text.p, NULL), "failed");
    buf_fini(&text);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(without_a_rule_the_default_variant_holds),
        T(a_rule_chooses_by_workspace_user_and_role),
        T(a_rule_that_names_no_variant_is_an_error_and_nothing_means_the_default),
        T(operators_are_those_of_json_logic),
        T(versions_compare_by_their_standard),
        T(the_hash_is_murmur3),
        T(fractional_distributes_as_flagds_test_bed_expects),
        T(fractional_refuses_what_is_no_distribution),
        T(a_definition_that_is_wrong_is_refused_with_its_member),
        T(a_rule_ends_after_so_many_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
