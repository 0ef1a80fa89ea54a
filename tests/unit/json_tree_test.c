/* Trees: the same texts as scan but for duplicates, and the same contents as jansson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "json_random.h"
#include "oracle.h"
#include "json/tree.h"

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

static void a_tree_holds_names_values_and_their_order(void **state)
{
    struct json *root;
    const str text = S(
        " {\"s\":\"a\\u00e9\\n\",\"n\":-12.50e1,\"l\":[true,false,null,{}],\"\\u006f\":{\"x\":{\"y\":7}}} ");
    assert_int_equal(json_parse(*state, text, &root, NULL), ERR_NONE);
    assert_int_equal(root->type, JSON_OBJECT);
    assert_int_equal(root->n, 4);
    assert_null(root->next);
    assert_true(str_eq(json_get(root, S("s"))->text, S("a\xC3\xA9\n")));
    assert_true(str_eq(json_get(root, S("n"))->text, S("-12.50e1")));
    const struct json *l = json_get(root, S("l"));
    assert_int_equal(l->n, 4);
    const enum json_type types[] = {JSON_TRUE, JSON_FALSE, JSON_NULL, JSON_OBJECT};
    const struct json *c = l->child;
    for (size_t i = 0; i < 4; i++, c = c->next) {
        assert_int_equal(c->type, types[i]);
        assert_int_equal(c->name.len, 0);
        assert_int_equal(c->line, 0);
    }
    assert_null(c);
    assert_true(str_eq(json_get(root, S("o"))->name, S("o")));
    int64_t v;
    assert_true(json_i64(json_at(root, S("o.x.y")), &v));
    assert_int_equal(v, 7);
    assert_true(json_i64(json_get(root, S("n")), &v));
    assert_int_equal(v, -125);
    assert_ptr_equal(json_at(root, S("")), root);
    const char *nothing[] = {"o.x.z", "o.x.y.z", "l.x", "s.t", "zz", "o.", ".o", "o..x"};
    for (size_t i = 0; i < LENGTH_OF(nothing); i++)
        assert_null(json_at(root, str_c(nothing[i])));
    assert_null(json_get(NULL, S("a")));
    assert_null(json_at(NULL, S("a.b")));
}

static void integers_and_booleans_are_read_only_from_their_own_types(void **state)
{
    struct json *root;
    assert_int_equal(json_parse(*state, S("[1,true,false,\"1\",1.5,null,505874924095815681]"), &root, NULL),
                     ERR_NONE);
    const struct json *c = root->child;
    const int want_int[] = {1, 0, 0, 0, 0, 0, 1}, want_bool[] = {0, 1, 1, 0, 0, 0, 0};
    for (size_t i = 0; c; c = c->next, i++) {
        int64_t v;
        bool b;
        assert_int_equal(json_i64(c, &v), want_int[i]);
        assert_int_equal(json_bool(c, &b), want_bool[i]);
        if (want_bool[i]) assert_int_equal(b, i == 1);
        if (i == 6) assert_true(v == 505874924095815681);
    }
    int64_t v;
    bool b;
    assert_false(json_i64(NULL, &v));
    assert_false(json_bool(NULL, &b));
}

static void plain_strings_are_slices_of_the_text(void **state)
{
    struct json *root;
    const str text = S("{\"name\":\"value\"}");
    assert_int_equal(json_parse(*state, text, &root, NULL), ERR_NONE);
    assert_ptr_equal(root->child->name.p, text.p + 2);
    assert_ptr_equal(root->child->text.p, text.p + 9);
}

static void duplicate_names_are_refused_wherever_they_stand(void **state)
{
    const struct {
        str text;
        const char *place; /* NULL: accepted */
    } cases[] = {
        {S("{\"a\":1,\"a\":1}"), "byte 7"},
        {S("{\"a\":1,\"\\u0061\":1}"), "byte 7"},
        {S("[{\"b\":{\"x\":1,\"\":2,\"\":3}}]"), "byte 18"},
        {S("{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":2}]}"), NULL},
        {S("{\"a\":1,\"A\":2,\"a\\u0000\":3,\"\":4}"), NULL},
    };
    for (size_t i = 0; i < LENGTH_OF(cases); i++) {
        struct json *root = NULL;
        err e = {0};
        assert_int_equal(json_parse(*state, cases[i].text, &root, &e),
                         cases[i].place ? ERR_INVALID : ERR_NONE);
        if (cases[i].place) assert_non_null(strstr(e.msg, cases[i].place));
        assert_int_equal(root == NULL, cases[i].place != NULL);
    }
}

static void duplicates_are_found_among_very_many_members(void **state)
{
    struct buf b;
    buf_init(&b, 8 << 20);
    for (unsigned n = 1; n <= 20000; n = n < 300 ? n + 1 : n * 3) {
        for (unsigned twin = 0; twin < 2; twin++) {
            buf_clear(&b);
            buf_add_char(&b, '{');
            for (unsigned i = 0; i < n; i++)
                buf_addf(&b, "\"key%u\":%u,", i, i);
            buf_addf(&b, "\"k\\u0065y%u\":0}", twin ? n / 2 : n);
            const struct arena_mark mark = arena_mark(*state);
            struct json *root;
            assert_int_equal(json_parse(*state, buf_str(&b), &root, NULL), twin ? ERR_INVALID : ERR_NONE);
            if (!twin) assert_int_equal(root->n, n + 1);
            arena_reset(*state, mark);
        }
    }
    buf_fini(&b);
}

static void a_full_arena_is_an_error_at_every_size(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_add_char(&b, '{');
    for (unsigned i = 0; i < 40; i++)
        buf_addf(&b, "\"na\\u006de%u\":[\"esc\\naped\",{}],", i);
    buf_add(&b, S("\"last\":1}"));
    bool fits = false;
    for (size_t limit = 64; !fits; limit += 64) {
        struct arena a;
        struct json *root;
        err e = {0};
        arena_init(&a, limit, 64);
        const enum errc code = json_parse(&a, buf_str(&b), &root, &e);
        fits = code == ERR_NONE;
        if (!fits) {
            assert_int_equal(code, ERR_TOO_LARGE);
            assert_null(root);
        }
        arena_fini(&a);
    }
    buf_fini(&b);
}

static void nesting_is_limited_as_in_scan(void **state)
{
    char text[2 * JSON_DEPTH_MAX + 2];
    struct json *root;
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_int_equal(json_parse(*state, str_of(text, 2 * JSON_DEPTH_MAX), &root, NULL), ERR_NONE);
    memset(text, '[', sizeof text);
    err e = {0};
    assert_int_equal(json_parse(*state, str_of(text, sizeof text), &root, &e), ERR_SYNTAX);
    assert_non_null(strstr(e.msg, "byte 128"));
}

static void trees_equal_those_of_jansson_and_fail_where_scan_fails(void **state)
{
    struct rng r = {31337};
    struct buf made, changed;
    buf_init(&made, 1 << 20);
    buf_init(&changed, 1 << 20);
    unsigned n_good = 0, n_bad = 0;
    for (int i = 0; i < 20000; i++) {
        const struct arena_mark mark = arena_mark(*state);
        str text = random_document(&r, &made, rng_one_in(&r, 2));
        if (i % 4) text = random_mutation(&r, &changed, text);
        struct json *root;
        err e = {0}, scan_e = {0};
        bool is_undecided;
        const enum errc code = json_parse(*state, text, &root, &e);
        const enum errc scan_code = json_scan(text, NULL, NULL, NULL, NULL, NULL, &scan_e);
        if (code == ERR_SYNTAX) {
            assert_int_equal(scan_code, ERR_SYNTAX);
            assert_string_equal(e.msg, scan_e.msg);
        } else if (code == ERR_NONE) {
            assert_int_equal(scan_code, ERR_NONE);
        }
        json_t *doc = oracle_load(text, JSON_REJECT_DUPLICATES, &is_undecided);
        if (!is_undecided) {
            if ((doc != NULL) != (code == ERR_NONE) || (doc && !oracle_equals(root, doc)))
                fail_msg("%.*s: %s", STR(text), e.msg);
            n_good += doc != NULL;
            n_bad += doc == NULL;
        }
        json_decref(doc);
        arena_reset(*state, mark);
    }
    assert_true(n_good > 4000 && n_bad > 4000);
    buf_fini(&made);
    buf_fini(&changed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_tree_holds_names_values_and_their_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(integers_and_booleans_are_read_only_from_their_own_types, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(plain_strings_are_slices_of_the_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(duplicate_names_are_refused_wherever_they_stand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(duplicates_are_found_among_very_many_members, set_up, tear_down),
        cmocka_unit_test(a_full_arena_is_an_error_at_every_size),
        cmocka_unit_test_setup_teardown(nesting_is_limited_as_in_scan, set_up, tear_down),
        cmocka_unit_test_setup_teardown(trees_equal_those_of_jansson_and_fail_where_scan_fails, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
