#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/url.h"

#define assert_str(s, text) assert_true(str_eq((s), str_c(text)))

static void urls_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_tls;
        const char *host;
        bool is_ipv6;
        uint16_t port;
        bool has_port;
        const char *path, *query; /* query NULL: there is none */
    } rows[] = {
        {"http://a", false, "a", false, 80, false, "", NULL},
        {"https://api.openai.com/v1", true, "api.openai.com", false, 443, false, "/v1", NULL},
        {"HTTPS://A:8443/", true, "A", false, 8443, true, "/", NULL},
        {"http://127.0.0.1:1/a/b?c=d?e", false, "127.0.0.1", false, 1, true, "/a/b", "c=d?e"},
        {"http://[::1]:65535/x", false, "::1", true, 65535, true, "/x", NULL},
        {"https://[2001:db8::1]", true, "2001:db8::1", true, 443, false, "", NULL},
        {"http://a?b", false, "a", false, 80, false, "", "b"},
        {"http://a/?", false, "a", false, 80, false, "/", ""},
        {"http://a_b-c.d./%41;x=~!$&'()*+,:@", false, "a_b-c.d.", false, 80, false, "/%41;x=~!$&'()*+,:@",
         NULL},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        struct url u;
        err e = {0};
        if (url_parse(str_c(rows[i].text), &u, &e) != ERR_NONE) fail_msg("%s: %s", rows[i].text, e.msg);
        assert_int_equal(u.is_tls, rows[i].is_tls);
        assert_str(u.host, rows[i].host);
        assert_int_equal(u.is_ipv6, rows[i].is_ipv6);
        assert_int_equal(u.port, rows[i].port);
        assert_int_equal(u.has_port, rows[i].has_port);
        assert_str(u.path, rows[i].path);
        assert_int_equal(u.query.p == NULL, rows[i].query == NULL);
        if (rows[i].query) assert_str(u.query, rows[i].query);
    }
}

static void urls_that_are_none_or_hold_secrets_are_refused(void **state)
{
    (void)state;
    static const str rows[] = {
        STR_LIT(""),
        STR_LIT("a"),
        STR_LIT("//a"),
        STR_LIT("http:"),
        STR_LIT("http://"),
        STR_LIT("https://"),
        STR_LIT("http:///a"),
        STR_LIT("http:/a"),
        STR_LIT("ftp://a"),
        STR_LIT("unix:/a"),
        STR_LIT(" http://a"),
        STR_LIT("http://a "),
        STR_LIT("http://user@a/"),
        STR_LIT("http://user:hunter2@a/"),
        STR_LIT("http://@a/"),
        STR_LIT("http://a#b"),
        STR_LIT("http://a/#"),
        STR_LIT("http://a:"),
        STR_LIT("http://a:0"),
        STR_LIT("http://a:65536"),
        STR_LIT("http://a:+1"),
        STR_LIT("http://a:000080"),
        STR_LIT("http://a:1:2"),
        STR_LIT("http://:80"),
        STR_LIT("http://[::1"),
        STR_LIT("http://[]"),
        STR_LIT("http://[1.2.3.4]"),
        STR_LIT("http://[::1]a"),
        STR_LIT("http://[::1%25eth0]"),
        STR_LIT("http://::1/"),
        STR_LIT("http://a b/"),
        STR_LIT("http://a\\b/"),
        STR_LIT("http://a/\\b"),
        STR_LIT("http://a/b c"),
        STR_LIT("http://a/\xc3\xa9"),
        STR_LIT("http://\xc3\xa9/"),
        STR_LIT("http://a/%"),
        STR_LIT("http://a/%4"),
        STR_LIT("http://a/%4g"),
        STR_LIT("http://a/\n"),
        STR_LIT("http://a/b\0c"),
        STR_LIT("http://a\0b/"),
        STR_LIT("http://a%41/"),
        STR_LIT("http://a/?<"),
        STR_LIT("http://a/\x7f"),
        STR_LIT("http://a,b/"),
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        struct url u;
        err e = {0};
        if (url_parse(rows[i], &u, &e) != ERR_INVALID) fail_msg("accepted: %.*s", STR(rows[i]));
        assert_true(str_find(str_c(e.msg), S("hunter2")) < 0);
    }
    char host[7 + 256];
    memcpy(host, "http://", 7);
    memset(host + 7, 'a', 256);
    struct url u;
    assert_int_equal(url_parse(str_of(host, 7 + 255), &u, NULL), ERR_NONE);
    assert_int_equal(url_parse(str_of(host, 7 + 256), &u, NULL), ERR_INVALID);
}

static void listening_addresses_are_hosts_with_a_port(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
    } good[] = {{"127.0.0.1:8080", "127.0.0.1", 8080},
                {":80", "", 80},
                {"[::]:0", "::", 0},
                {"localhost:0", "localhost", 0},
                {"[::1]:65535", "::1", 65535}};
    static const char *const bad[] = {"",     "80",          "a",     "a:",     ":",      "a:65536",
                                      "a:-1", "a:b",         "[]:80", "[::1]",  "::1:80", "a b:80",
                                      "*:80", "http://a:80", "a:80/", "[::1]80"};
    for (size_t i = 0; i < LENGTH_OF(good); i++) {
        str host;
        uint16_t port;
        assert_int_equal(url_parse_listen(str_c(good[i].text), &host, &port, NULL), ERR_NONE);
        assert_str(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < LENGTH_OF(bad); i++) {
        str host;
        uint16_t port;
        if (url_parse_listen(str_c(bad[i]), &host, &port, NULL) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void loopback_hosts_are_told_from_others(void **state)
{
    (void)state;
    static const char *const yes[] = {"127.0.0.1", "127.255.0.9",     "::1", "0:0:0:0:0:0:0:1", "localhost",
                                      "LocalHost", "::ffff:127.0.0.1"};
    static const char *const no[] = {"",
                                     "128.0.0.1",
                                     "127.1",
                                     "127.0.0.1.example.com",
                                     "localhost.example.com",
                                     "::",
                                     "::2",
                                     "::ffff:128.0.0.1",
                                     "::127.0.0.1",
                                     "0.0.0.0",
                                     "0x7f.0.0.1",
                                     "127.0.0.1 "};
    for (size_t i = 0; i < LENGTH_OF(yes); i++)
        assert_true(url_host_is_loopback(str_c(yes[i])));
    for (size_t i = 0; i < LENGTH_OF(no); i++) {
        if (url_host_is_loopback(str_c(no[i]))) fail_msg("loopback: %s", no[i]);
    }
    assert_false(url_host_is_loopback(S("127.0.0.1\0")));
}

static void percent_escapes_are_decoded_once(void **state)
{
    (void)state;
    char out[64];
    size_t len;
    assert_true(url_decode(S("a%20b%2f%2F+%25%34%31\x80"), out, &len));
    assert_true(str_eq(str_of(out, len), S("a b//+%41\x80")));
    assert_true(url_decode(S(""), out, &len));
    assert_int_equal(len, 0);
    static const str bad[] = {STR_LIT("%"),   STR_LIT("a%"),   STR_LIT("%4"),  STR_LIT("%g1"), STR_LIT("%1g"),
                              STR_LIT("%00"), STR_LIT("%%41"), STR_LIT("a\0"), STR_LIT("%-1")};
    for (size_t i = 0; i < LENGTH_OF(bad); i++)
        assert_false(url_decode(bad[i], out, &len));
}

static void query_parameters_are_found_by_their_whole_name(void **state)
{
    (void)state;
    str query = S("ab=1&a=2=3&b&c=&a=4&&=5&d=%20");
    assert_str(url_query_get(query, S("a")), "2=3");
    assert_str(url_query_get(query, S("ab")), "1");
    assert_str(url_query_get(query, S("d")), "%20");
    assert_non_null(url_query_get(query, S("b")).p);
    assert_int_equal(url_query_get(query, S("b")).len, 0);
    assert_non_null(url_query_get(query, S("c")).p);
    assert_null(url_query_get(query, S("x")).p);
    assert_null(url_query_get(S(""), S("x")).p);
    assert_null(url_query_get((str){NULL, 0}, S("x")).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(urls_that_are_none_or_hold_secrets_are_refused),
        cmocka_unit_test(listening_addresses_are_hosts_with_a_port),
        cmocka_unit_test(loopback_hosts_are_told_from_others),
        cmocka_unit_test(percent_escapes_are_decoded_once),
        cmocka_unit_test(query_parameters_are_found_by_their_whole_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
