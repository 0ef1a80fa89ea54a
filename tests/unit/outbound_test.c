/* Which addresses may be reached, and which way leads to a target. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "net/outbound.h"

static enum address_class class_of(const char *text)
{
    struct address a;
    if (!address_parse(str_c(text), &a)) fail_msg("%s is no address", text);
    return address_class(&a);
}

static void addresses_fall_into_their_class(void **state)
{
    (void)state;
    static const char *const public[] = {
        "1.1.1.1",        "8.8.8.8",         "100.63.255.255",  "100.128.0.0", "172.15.0.1",
        "172.32.0.1",     "192.167.255.255", "198.17.1.1",      "223.255.0.1", "2606:4700::1111",
        "::ffff:1.1.1.1", "2002:101:101::1", "64:ff9b::101:101"};
    static const char *const local[] = {
        "127.0.0.1",   "127.255.0.9",     "0.0.0.0",       "10.1.2.3",      "172.16.0.1", "172.31.9.9",
        "192.168.0.1", "100.64.0.1",      "198.18.0.1",    "::1",           "::",         "fd12::1",
        "fc00::1",     "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1"};
    static const char *const forbidden[] = {
        "169.254.169.254",   "169.254.0.1",        "0.0.0.1",       "224.0.0.1",   "240.0.0.1",
        "255.255.255.255",   "192.0.2.7",          "198.51.100.1",  "203.0.113.1", "192.0.0.192",
        "100.100.100.200",   "168.63.129.16",      "fd00:ec2::254", "fe80::1",     "fec0::1",
        "ff02::1",           "2001:db8::1",        "2001:0:1::1",   "100::1",      "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",  "4000::1"};
    for (size_t i = 0; i < LENGTH_OF(public); i++)
        if (class_of(public[i]) != ADDRESS_PUBLIC) fail_msg("%s is not public", public[i]);
    for (size_t i = 0; i < LENGTH_OF(local); i++)
        if (class_of(local[i]) != ADDRESS_LOCAL) fail_msg("%s is not local", local[i]);
    for (size_t i = 0; i < LENGTH_OF(forbidden); i++)
        if (class_of(forbidden[i]) != ADDRESS_FORBIDDEN) fail_msg("%s is not forbidden", forbidden[i]);
}

static void ranges_are_read_and_matched_bit_by_bit(void **state)
{
    (void)state;
    static const struct {
        const char *range, *in, *out;
    } rows[] = {
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"10.1.2.128/25", "10.1.2.128", "10.1.2.127"},
        {"10.1.2.3", "10.1.2.3", "10.1.2.4"},
        {"0.0.0.0/0", "255.1.1.1", "::1"},
        {"fd00::/9", "fd7f::1", "fd80::1"},
        {"::/0", "::ffff:1.2.3.4", NULL},
        {"::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        struct address_range range;
        struct address a;
        assert_true(address_range_parse(str_c(rows[i].range), &range));
        assert_true(address_parse(str_c(rows[i].in), &a));
        assert_true(address_in(&a, &range));
        if (!rows[i].out) continue;
        assert_true(address_parse(str_c(rows[i].out), &a));
        assert_false(address_in(&a, &range));
    }
    static const char *const wrong[] = {"",         "a",          "10.0.0.0/",   "10.0.0.0/33",
                                        "10.0.0/8", "::1/129",    "10.0.0.0/-1", "10.0.0.0/8/8",
                                        "[::1]",    "1.2.3.4:80", "010.0.0.1",   "1.2.3.4 "};
    for (size_t i = 0; i < LENGTH_OF(wrong); i++) {
        struct address_set set = {.n = 0};
        err e = {0};
        assert_int_equal(address_set_add(&set, str_c(wrong[i]), &e), ERR_INVALID);
        assert_int_equal(set.n, 0);
    }
}

static void what_is_allowed_by_name_stands_above_the_class(void **state)
{
    (void)state;
    struct address_set set = {.n = 0};
    struct address a, b;
    err e = {0};
    assert_int_equal(address_set_add(&set, S("169.254.0.0/16"), &e), ERR_NONE);
    assert_true(address_parse(S("169.254.169.254"), &a));
    assert_true(address_parse(S("10.0.0.1"), &b));
    assert_true(address_may_connect(&a, &set, false));
    assert_false(address_may_connect(&a, NULL, true));
    assert_false(address_may_connect(&b, &set, false));
    assert_true(address_may_connect(&b, &set, true));
    while (set.n < ADDRESS_RANGES_MAX)
        assert_int_equal(address_set_add(&set, S("::1"), &e), ERR_NONE);
    assert_int_equal(address_set_add(&set, S("::1"), &e), ERR_TOO_LARGE);
}

/* The proxy of a target as "host:port authorization", "-" for none, the error's name otherwise. */
static const char *way(const struct outbound_settings *settings, const char *target, bool allows_local)
{
    static char text[512];
    struct outbound *o = NULL;
    struct outbound_route route;
    struct url url;
    struct arena a;
    err e = {0};
    arena_init(&a, 1 << 20, 0);
    assert_int_equal(url_parse(str_c(target), &url, &e), ERR_NONE);
    if (outbound_new(&o, settings, &e) || outbound_route(o, &a, &url, allows_local, &route, &e))
        snprintf(text, sizeof text, "%s", errc_name(e.code));
    else if (route.proxy_host)
        snprintf(text, sizeof text, "%s:%u%s%.*s", route.proxy_host, route.proxy_port,
                 route.proxy_authorization.len ? " " : "", STR(route.proxy_authorization));
    else
        snprintf(text, sizeof text, "-");
    outbound_free(o);
    arena_fini(&a);
    return text;
}

static void a_configured_proxy_leads_everywhere_but_to_loopback_and_exceptions(void **state)
{
    (void)state;
    struct outbound_settings s = {
        .proxy = S("http://proxy.test:3128"),
        .http_proxy = S("http://other:1"),
        .https_proxy = S("socks5://unread:1"),
        .no_proxy = S("internal, .corp.test *.lab.test,one.test:8443 10.0.0.0/8 192.168.1.7")};
    static const struct {
        const char *target, *wanted;
    } rows[] = {
        {"https://api.openai.com/v1", "proxy.test:3128"},
        {"http://example.com", "proxy.test:3128"},
        {"http://localhost:11434", "-"},
        {"http://127.0.0.9", "-"},
        {"http://[::1]:80", "-"},
        {"https://internal", "-"},
        {"https://a.internal", "-"},
        {"https://xinternal", "proxy.test:3128"},
        {"https://CORP.test", "-"},
        {"https://x.corp.test", "-"},
        {"https://lab.test", "-"},
        {"https://a.b.lab.test", "-"},
        {"https://one.test", "proxy.test:3128"},
        {"https://one.test:8443", "-"},
        {"http://10.2.3.4", "-"},
        {"http://192.168.1.7", "-"},
        {"http://192.168.1.77", "proxy.test:3128"},
        {"http://8.192.168.1.7.test", "proxy.test:3128"},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++)
        assert_string_equal(way(&s, rows[i].target, true), rows[i].wanted);
    s.no_proxy = S("*");
    assert_string_equal(way(&s, "https://api.openai.com", false), "-");
}

static void the_environment_is_asked_in_either_case_by_scheme(void **state)
{
    (void)state;
    static const char *const environ[] = {"HTTPS_PROXY=http://secure:8080/",
                                          "http_proxy=plain:81",
                                          "HTTP_PROXY=http://no:1",
                                          "https_proxy=",
                                          "NO_PROXY=x.test",
                                          NULL};
    static const char *const all[] = {"ALL_PROXY=http://[fd00::1]:7", NULL};
    struct outbound_settings s = {.has_no_proxy = false};
    outbound_environment(&s, environ);
    assert_string_equal(way(&s, "https://a.test", false), "secure:8080");
    assert_string_equal(way(&s, "http://a.test", false), "plain:81");
    assert_string_equal(way(&s, "https://x.test", false), "-");
    s = (struct outbound_settings){.has_no_proxy = true, .no_proxy = S("a.test")};
    outbound_environment(&s, environ);
    assert_string_equal(way(&s, "https://a.test", false), "-");
    assert_string_equal(way(&s, "https://x.test", false), "secure:8080");
    s = (struct outbound_settings){.has_no_proxy = false};
    outbound_environment(&s, all);
    assert_string_equal(way(&s, "https://a.test", false), "fd00::1:7");
    s = (struct outbound_settings){.has_no_proxy = false};
    outbound_environment(&s, NULL);
    assert_string_equal(way(&s, "https://a.test", false), "-");
}

static void the_password_of_a_proxy_becomes_its_credentials_and_is_never_told(void **state)
{
    (void)state;
    struct outbound_settings s = {.proxy = S("http://user:p%40ss:w@proxy:3128")};
    assert_string_equal(way(&s, "https://a.test", false), "proxy:3128 Basic dXNlcjpwQHNzOnc=");
    s.proxy = S("http://u@proxy");
    assert_string_equal(way(&s, "https://a.test", false), "proxy:80 Basic dQ==");
    static const char *const wrong[] = {
        "socks5://user:hunter2@proxy:1",   "https://user:hunter2@proxy:1", "http://",
        "http://user:hunter2%@proxy:1",    "http://user:hunter2@proxy:0",  "http://user:hunter2@pro xy",
        "http://user:hunter2@proxy:1/path"};
    for (size_t i = 0; i < LENGTH_OF(wrong); i++) {
        struct outbound *o = NULL;
        err e = {0};
        s.proxy = str_c(wrong[i]);
        assert_int_equal(outbound_new(&o, &s, &e), ERR_CONFIG);
        assert_null(strstr(e.msg, "hunter2"));
        assert_non_null(strstr(e.msg, "outbound.proxy"));
    }
    s = (struct outbound_settings){.https_proxy = S("socks4://x:1")};
    struct outbound *o = NULL;
    err e = {0};
    assert_int_equal(outbound_new(&o, &s, &e), ERR_CONFIG);
    assert_non_null(strstr(e.msg, "HTTPS_PROXY"));
}

static void a_target_that_is_an_address_is_judged_even_behind_a_proxy(void **state)
{
    (void)state;
    struct outbound_settings s = {.proxy = S("http://proxy:1")};
    assert_string_equal(way(&s, "http://169.254.169.254/latest", true), "permission_denied");
    assert_string_equal(way(&s, "http://10.0.0.1/", false), "permission_denied");
    assert_string_equal(way(&s, "http://10.0.0.1/", true), "proxy:1");
    s.allow_addresses = S("10.0.0.0/8, 169.254.169.254");
    assert_string_equal(way(&s, "http://10.0.0.1/", false), "proxy:1");
    assert_string_equal(way(&s, "http://169.254.169.254/latest", false), "proxy:1");
    s.allow_addresses = S("10.0.0.0/8, nonsense");
    assert_string_equal(way(&s, "http://10.0.0.1/", false), "invalid_configuration");
}

static void a_change_that_is_wrong_changes_nothing(void **state)
{
    (void)state;
    struct outbound *o = NULL;
    struct outbound_settings s = {.proxy = S("http://one:1")};
    struct outbound_route route;
    struct arena a;
    struct url url;
    err e = {0};
    arena_init(&a, 1 << 20, 0);
    assert_int_equal(url_parse(S("https://a.test"), &url, &e), ERR_NONE);
    assert_int_equal(outbound_new(&o, &s, &e), ERR_NONE);
    s.proxy = S("socks://two:2");
    assert_int_equal(outbound_change(o, &s, &e), ERR_CONFIG);
    assert_int_equal(outbound_route(o, &a, &url, false, &route, &e), ERR_NONE);
    assert_string_equal(route.proxy_host, "one");
    s.proxy = S("http://two:2");
    s.ca_file = "/etc/ca.pem";
    assert_int_equal(outbound_change(o, &s, &e), ERR_NONE);
    assert_string_equal(route.proxy_host, "one"); /* what was asked before stays */
    assert_int_equal(outbound_route(o, &a, &url, false, &route, &e), ERR_NONE);
    assert_string_equal(route.proxy_host, "two");
    assert_string_equal(route.ca_file, "/etc/ca.pem");
    outbound_free(o);
    arena_fini(&a);
}

static void retries_are_a_tenth_of_the_calls_to_a_host(void **state)
{
    (void)state;
    struct outbound *o = NULL;
    struct outbound_settings s = {.has_no_proxy = false};
    err e = {0};
    unsigned n = 0;
    assert_int_equal(outbound_new(&o, &s, &e), ERR_NONE);
    while (outbound_may_retry(o, S("down.test")))
        n++;
    assert_int_equal(n, 10);
    for (unsigned i = 0; i < 1000; i++) {
        outbound_tried(o, S("down.test"));
        n += outbound_may_retry(o, S("down.test"));
    }
    assert_int_equal(n, 110);
    outbound_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_fall_into_their_class),
        cmocka_unit_test(ranges_are_read_and_matched_bit_by_bit),
        cmocka_unit_test(what_is_allowed_by_name_stands_above_the_class),
        cmocka_unit_test(a_configured_proxy_leads_everywhere_but_to_loopback_and_exceptions),
        cmocka_unit_test(the_environment_is_asked_in_either_case_by_scheme),
        cmocka_unit_test(the_password_of_a_proxy_becomes_its_credentials_and_is_never_told),
        cmocka_unit_test(a_target_that_is_an_address_is_judged_even_behind_a_proxy),
        cmocka_unit_test(a_change_that_is_wrong_changes_nothing),
        cmocka_unit_test(retries_are_a_tenth_of_the_calls_to_a_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
