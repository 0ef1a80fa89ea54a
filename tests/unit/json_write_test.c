/* Writing: whatever goes in, what comes out is JSON that reads back the same. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "json_random.h"
#include "oracle.h"
#include "json/tree.h"
#include "json/write.h"

static void commas_and_nesting_are_done_by_the_writer(void **state)
{
    (void)state;
    struct buf b;
    struct json_writer w;
    buf_init(&b, 4096);
    json_writer_init(&w, &b);
    json_object(&w);
    json_put_str(&w, "s", S("a\"b"));
    json_put_int(&w, "i", INT64_MIN);
    json_put_bool(&w, "t", true);
    json_put_bool(&w, "f", false);
    json_put_null(&w, "n");
    json_name(&w, S("u"));
    json_uint(&w, UINT64_MAX);
    json_name(&w, S("l"));
    json_array(&w);
    json_int(&w, -1);
    json_array(&w);
    json_end(&w);
    json_object(&w);
    json_end(&w);
    json_str(&w, (str){NULL, 0});
    json_null(&w);
    json_boolean(&w, true);
    json_raw(&w, S("{\"x\": 1}"));
    json_end(&w);
    json_put_str(&w, "", S(""));
    json_end(&w);
    assert_int_equal(buf_err(&b), ERR_NONE);
    const str want = S("{\"s\":\"a\\\"b\",\"i\":-9223372036854775808,\"t\":true,\"f\":false,\"n\":null,"
                       "\"u\":18446744073709551615,\"l\":[-1,[],{},\"\",null,true,{\"x\": 1}],\"\":\"\"}");
    assert_true(str_eq(buf_str(&b), want));
    buf_fini(&b);
}

static void strings_are_escaped_by_rule(void **state)
{
    (void)state;
    const struct {
        str in, want;
    } cases[] = {
        {S(""), S("")},
        {S("plain/text \x7f"), S("plain/text \x7f")},
        {S("\"\\\b\f\n\r\t"), S("\\\"\\\\\\b\\f\\n\\r\\t")},
        {S("\0\x01\x1f"), S("\\u0000\\u0001\\u001f")},
        {S("\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80"), S("\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80")},
        {S("a\xE2\x80\xA8"
           "b\xE2\x80\xA9"),
         S("a\\u2028b\\u2029")},
        {S("\xE2\x80\xA7\xE2\x80\xAA"), S("\xE2\x80\xA7\xE2\x80\xAA")},
        {S("\xFF"), S("\xEF\xBF\xBD")},
        {S("a\xC3"), S("a\xEF\xBF\xBD")},
        {S("\xED\xA0\x80z"), S("\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz")},
        {S("\xC0\xAF\""), S("\xEF\xBF\xBD\xEF\xBF\xBD\\\"")},
    };
    for (size_t i = 0; i < LENGTH_OF(cases); i++) {
        struct buf b;
        buf_init(&b, 4096);
        json_escape(&b, cases[i].in);
        if (!str_eq(buf_str(&b), cases[i].want)) fail_msg("case %zu: %.*s", i, STR(buf_str(&b)));
        buf_fini(&b);
    }
}

static void any_bytes_become_a_string_that_reads_back(void **state)
{
    (void)state;
    struct rng r = {99};
    struct buf b;
    buf_init(&b, 1 << 16);
    struct arena a;
    arena_init(&a, 1 << 20, 0);
    for (int i = 0; i < 20000; i++) {
        char bytes[64];
        size_t len = 0;
        const bool is_valid = i % 2;
        while (len + 4 <= sizeof bytes && !rng_one_in(&r, 40))
            len += is_valid ? utf8_encode(random_scalar_value(&r), bytes + len)
                            : (bytes[len] = (char)rng_below(&r, 256), 1u);
        buf_clear(&b);
        struct json_writer w;
        json_writer_init(&w, &b);
        json_str(&w, str_of(bytes, len));
        json_t *theirs = oracle_load(buf_str(&b), 0, NULL);
        assert_non_null(theirs);
        struct json *ours;
        const struct arena_mark mark = arena_mark(&a);
        assert_int_equal(json_parse(&a, buf_str(&b), &ours, NULL), ERR_NONE);
        assert_true(oracle_equals(ours, theirs));
        if (utf8_is_valid(str_of(bytes, len)))
            assert_true(str_eq(ours->text, str_of(bytes, len)));
        else
            assert_true(str_find(ours->text, S("\xEF\xBF\xBD")) >= 0);
        arena_reset(&a, mark);
        json_decref(theirs);
    }
    arena_fini(&a);
    buf_fini(&b);
}

static void a_full_buffer_is_a_sticky_error(void **state)
{
    (void)state;
    struct buf b;
    struct json_writer w;
    buf_init(&b, 16);
    json_writer_init(&w, &b);
    json_array(&w);
    for (int i = 0; i < 100; i++)
        json_str(&w, S("\xFFtext\n"));
    json_end(&w);
    assert_int_equal(buf_err(&b), ERR_TOO_LARGE);
    assert_true(b.len <= 16);
    buf_fini(&b);
}

/* Whether fn ends its process by an assertion. */
static bool aborts(void (*fn)(struct json_writer *w))
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct buf b;
        struct json_writer w;
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGABRT, SIG_DFL); /* cmocka's handler would go on with the next test */
        if (!freopen("/dev/null", "w", stderr)) _exit(1);
        buf_init(&b, 4096);
        json_writer_init(&w, &b);
        fn(&w);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void end_without_start(struct json_writer *w) { json_end(w); }
static void two_roots(struct json_writer *w)
{
    json_null(w);
    json_null(w);
}
static void value_without_name(struct json_writer *w)
{
    json_object(w);
    json_int(w, 1);
}
static void name_in_array(struct json_writer *w)
{
    json_array(w);
    json_name(w, S("a"));
}
static void name_without_value(struct json_writer *w)
{
    json_object(w);
    json_name(w, S("a"));
    json_end(w);
}
static void too_deep(struct json_writer *w)
{
    for (int i = 0; i <= JSON_WRITE_DEPTH; i++)
        json_array(w);
}
static void as_deep_as_allowed(struct json_writer *w)
{
    for (int i = 0; i < JSON_WRITE_DEPTH; i++)
        json_array(w);
    for (int i = 0; i < JSON_WRITE_DEPTH; i++)
        json_end(w);
}

static void wrong_nesting_is_a_programming_error(void **state)
{
    (void)state;
    assert_true(aborts(end_without_start));
    assert_true(aborts(two_roots));
    assert_true(aborts(value_without_name));
    assert_true(aborts(name_in_array));
    assert_true(aborts(name_without_value));
    assert_true(aborts(too_deep));
    assert_false(aborts(as_deep_as_allowed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_and_nesting_are_done_by_the_writer),
        cmocka_unit_test(strings_are_escaped_by_rule),
        cmocka_unit_test(any_bytes_become_a_string_that_reads_back),
        cmocka_unit_test(a_full_buffer_is_a_sticky_error),
        cmocka_unit_test(wrong_nesting_is_a_programming_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
