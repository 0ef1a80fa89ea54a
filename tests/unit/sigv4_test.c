/* Signatures that AWS published: its test suite for Signature Version 4 (20150830, service "service"), the example of
 * the General Reference (IAM), and those of the S3 API Reference (2013-05-24). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "net/sigv4.h"

#define assert_str(s, text) assert_true(str_eq((s), str_c(text)))

static const usec suite_time = 1440938160LL * USEC_PER_S; /* 2015-08-30T12:36:00Z */
static const usec s3_time = 1369353600LL * USEC_PER_S;    /* 2013-05-24T00:00:00Z */

static const struct sigv4_credentials suite = {
    .access_key = STR_LIT("AKIDEXAMPLE"), .secret_key = STR_LIT("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")};
static const struct sigv4_credentials s3 = {.access_key = STR_LIT("AKIAIOSFODNN7EXAMPLE"),
                                            .secret_key =
                                                STR_LIT("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")};

static str value_of(const struct fetch_field *fields, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++)
        if (str_ieq(fields[i].name, str_c(name))) return fields[i].value;
    return (str){0};
}

static void check(const struct sigv4_credentials *c, const struct sigv4_request *r, usec now,
                  const char *names, const char *signature)
{
    struct arena a;
    struct fetch_field *fields = NULL;
    unsigned n = 0;
    err e = {0};
    arena_init(&a, 1 << 20, 0);
    if (sigv4_sign(&a, c, r, now, &fields, &n, &e) != ERR_NONE) fail_msg("%.*s: %s", STR(r->url), e.msg);
    str got = value_of(fields, n, "authorization");
    str want = arena_printf(&a, "SignedHeaders=%s, Signature=%s", names, signature);
    if (!str_ends(got, want)) fail_msg("%.*s: %.*s, not %.*s", STR(r->url), STR(got), STR(want));
    arena_fini(&a);
}

static void requests_of_the_published_suite_have_its_signatures(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target, *field, *value, *body, *names, *signature;
    } rows[] = {
        {"GET", "/", NULL, NULL, "", "host;x-amz-date",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"POST", "/", NULL, NULL, "", "host;x-amz-date",
         "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
        {"GET", "/?Param2=value2&Param1=value1", NULL, NULL, "", "host;x-amz-date",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
        {"GET", "/?Param1=value1", NULL, NULL, "", "host;x-amz-date",
         "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
        {"POST", "/", "Content-Type", "application/x-www-form-urlencoded", "Param1=value1",
         "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
        {"GET", "/", "My-Header1", "value4,value1,value3,value2", "", "host;my-header1;x-amz-date",
         "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        char url[200];
        snprintf(url, sizeof url, "https://example.amazonaws.com%s", rows[i].target);
        struct fetch_field field = {.name = str_c(rows[i].field), .value = str_c(rows[i].value)};
        struct sigv4_request r = {.region = S("us-east-1"),
                                  .service = S("service"),
                                  .method = str_c(rows[i].method),
                                  .url = str_c(url),
                                  .fields = &field,
                                  .n_fields = rows[i].field != NULL,
                                  .body = str_c(rows[i].body)};
        check(&suite, &r, suite_time, rows[i].names, rows[i].signature);
    }
}

static void the_example_of_the_general_reference_has_its_signature(void **state)
{
    (void)state;
    struct fetch_field type = {.name = S("Content-Type"),
                               .value = S("application/x-www-form-urlencoded; charset=utf-8")};
    struct sigv4_request r = {.region = S("us-east-1"),
                              .service = S("iam"),
                              .method = S("GET"),
                              .url = S("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08"),
                              .fields = &type,
                              .n_fields = 1};
    check(&suite, &r, suite_time, "content-type;host;x-amz-date",
          "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

static void the_examples_of_s3_have_their_signatures(void **state)
{
    (void)state;
    struct fetch_field range = {.name = S("Range"), .value = S("bytes=0-9")};
    struct fetch_field put[] = {{.name = S("Date"), .value = S("Fri, 24 May 2013 00:00:00 GMT")},
                                {.name = S("x-amz-storage-class"), .value = S("REDUCED_REDUNDANCY")}};
    struct sigv4_request r = {.region = S("us-east-1"),
                              .service = S("s3"),
                              .method = S("GET"),
                              .url = S("https://examplebucket.s3.amazonaws.com/test.txt"),
                              .fields = &range,
                              .n_fields = 1,
                              .is_s3 = true};
    check(&s3, &r, s3_time, "host;range;x-amz-content-sha256;x-amz-date",
          "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    r.fields = NULL, r.n_fields = 0;
    r.url = S("https://examplebucket.s3.amazonaws.com/?lifecycle");
    check(&s3, &r, s3_time, "host;x-amz-content-sha256;x-amz-date",
          "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    r.url = S("https://examplebucket.s3.amazonaws.com?prefix=J&max-keys=2");
    check(&s3, &r, s3_time, "host;x-amz-content-sha256;x-amz-date",
          "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    r.fields = put, r.n_fields = 2, r.method = S("PUT"), r.body = S("Welcome to Amazon S3.");
    r.url = S("https://examplebucket.s3.amazonaws.com/test$file.text"); /* signed as test%24file.text */
    check(&s3, &r, s3_time, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
          "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void a_session_token_and_the_payload_s_hash_are_sent_and_signed(void **state)
{
    (void)state;
    struct arena a;
    struct fetch_field *fields = NULL;
    unsigned n = 0;
    err e = {0};
    struct sigv4_credentials c = suite;
    c.session_token = S("TOKEN");
    struct sigv4_request r = {.region = S("eu-west-1"),
                              .service = S("s3"),
                              .method = S("PUT"),
                              .url = S("http://127.0.0.1:9000/bucket/key"),
                              .body = S("x"),
                              .payload_hash = S("UNSIGNED-PAYLOAD"),
                              .is_s3 = true};
    arena_init(&a, 1 << 20, 0);
    assert_int_equal(sigv4_sign(&a, &c, &r, suite_time, &fields, &n, &e), ERR_NONE);
    assert_int_equal(n, 4);
    assert_str(value_of(fields, n, "x-amz-date"), "20150830T123600Z");
    assert_str(value_of(fields, n, "x-amz-security-token"), "TOKEN");
    assert_str(value_of(fields, n, "x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    assert_true(
        str_starts(value_of(fields, n, "authorization"),
                   S("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/s3/aws4_request, "
                     "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=")));
    assert_int_equal(value_of(fields, n, "host").len, 0);
    arena_fini(&a);
}

static void what_cannot_be_signed_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *url, *first, *second;
    } rows[] = {
        {"ftp://a/", NULL, NULL},           {"https://a/../b", NULL, NULL},
        {"https://a/b//c", NULL, NULL},     {"https://a/?x=%zz", NULL, NULL},
        {"https://a/", "Host", NULL},       {"https://a/", "authorization", NULL},
        {"https://a/", "X-Amz-Date", NULL}, {"https://a/", "A", "a"},
    };
    struct arena a;
    struct fetch_field *fields = NULL;
    unsigned n = 0;
    arena_init(&a, 1 << 20, 0);
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        err e = {0};
        struct fetch_field two[] = {{.name = str_c(rows[i].first), .value = S("v")},
                                    {.name = str_c(rows[i].second), .value = S("v")}};
        struct sigv4_request r = {.region = S("r"),
                                  .service = S("s"),
                                  .method = S("GET"),
                                  .url = str_c(rows[i].url),
                                  .fields = two,
                                  .n_fields = !rows[i].first ? 0u : !rows[i].second ? 1u : 2u};
        assert_int_equal(sigv4_sign(&a, &suite, &r, suite_time, &fields, &n, &e), ERR_INVALID);
    }
    struct sigv4_credentials none = {0};
    struct sigv4_request r = {
        .region = S("r"), .service = S("s"), .method = S("GET"), .url = S("https://a/")};
    assert_int_equal(sigv4_sign(&a, &none, &r, suite_time, &fields, &n, &(err){0}), ERR_INVALID);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_of_the_published_suite_have_its_signatures),
        cmocka_unit_test(the_example_of_the_general_reference_has_its_signature),
        cmocka_unit_test(the_examples_of_s3_have_their_signatures),
        cmocka_unit_test(a_session_token_and_the_payload_s_hash_are_sent_and_signed),
        cmocka_unit_test(what_cannot_be_signed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
