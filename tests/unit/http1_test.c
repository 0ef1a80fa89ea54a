/* Message heads and chunked bodies. Every head goes through http_head_find twice: whole, and growing by
 * one byte in memory that moves each time. Both ways must end the same, down to the offsets of all slices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/http1.h"

static const struct http_limits default_limits = {.head_bytes = 16384, .headers = 100};

enum kind { REQUEST, RESPONSE, RESPONSE_TO_HEAD };

struct outcome {
    enum errc code; /* ERR_NONE: `head` is set */
    bool is_incomplete;
    char *copy; /* the bytes that the slices of `head` point into */
    size_t head_len;
    struct http_head head;
};

static void parse(struct outcome *o, str text, enum kind kind, const struct http_limits *limits)
{
    err e = {0};
    str head = str_of(o->copy, o->head_len);
    assert_true(o->head_len <= text.len);
    o->code = kind == REQUEST ? http_parse_request(head, limits, &o->head, &e)
                              : http_parse_response(head, limits, kind == RESPONSE_TO_HEAD, &o->head, &e);
    assert_int_equal(o->code, e.code);
}

static char *copy_of(str s)
{
    char *copy = malloc(s.len > 0 ? s.len : 1);
    assert_non_null(copy);
    memcpy(copy, s.p, s.len);
    return copy;
}

/* pieces: how many bytes arrive at a time. */
static struct outcome read_head(str text, enum kind kind, const struct http_limits *limits, size_t piece)
{
    struct outcome o = {.code = ERR_NONE};
    struct http_head_scan scan;
    http_head_scan_init(&scan);
    for (size_t n = piece < text.len ? piece : text.len;; n = n + piece < text.len ? n + piece : text.len) {
        err e = {0};
        free(o.copy);
        o.copy = copy_of(str_take(text, n));
        switch (http_head_find(&scan, str_of(o.copy, n), limits, &o.head_len, &e)) {
        case HTTP_DONE:
            assert_int_equal(e.code, ERR_NONE);
            parse(&o, text, kind, limits);
            return o;
        case HTTP_BAD:
            assert_int_not_equal(e.code, ERR_NONE);
            o.code = e.code;
            return o;
        case HTTP_MORE: break;
        }
        if (n == text.len) {
            o.is_incomplete = true;
            return o;
        }
    }
}

static void same_slice(const struct outcome *a, str x, const struct outcome *b, str y)
{
    assert_int_equal(x.len, y.len);
    assert_int_equal(x.p == NULL, y.p == NULL);
    if (x.p == NULL) return;
    assert_true(x.p >= a->copy && x.p + x.len <= a->copy + a->head_len);
    assert_int_equal(x.p - a->copy, y.p - b->copy);
}

static void same_outcome(const struct outcome *a, const struct outcome *b)
{
    const struct http_head *x = &a->head, *y = &b->head;
    assert_int_equal(a->code, b->code);
    assert_int_equal(a->is_incomplete, b->is_incomplete);
    if (a->code != ERR_NONE || a->is_incomplete) return;
    assert_int_equal(a->head_len, b->head_len);
    assert_int_equal(x->method, y->method);
    assert_int_equal(x->status, y->status);
    assert_int_equal(x->minor_version, y->minor_version);
    assert_int_equal(x->keeps_alive, y->keeps_alive);
    assert_int_equal(x->expects_continue, y->expects_continue);
    assert_int_equal(x->asks_upgrade, y->asks_upgrade);
    assert_int_equal(x->framing, y->framing);
    assert_int_equal(x->content_length, y->content_length);
    assert_int_equal(x->n_fields, y->n_fields);
    same_slice(a, x->method_text, b, y->method_text);
    same_slice(a, x->target, b, y->target);
    same_slice(a, x->path, b, y->path);
    same_slice(a, x->query, b, y->query);
    same_slice(a, x->host, b, y->host);
    same_slice(a, x->reason, b, y->reason);
    same_slice(a, x->content_type, b, y->content_type);
    same_slice(a, x->content_encoding, b, y->content_encoding);
    for (unsigned i = 0; i < x->n_fields; i++) {
        same_slice(a, x->fields[i].name, b, y->fields[i].name);
        same_slice(a, x->fields[i].value, b, y->fields[i].value);
    }
}

/* Reads the text whole and byte by byte; the caller frees o.copy. */
static struct outcome read_both(str text, enum kind kind, const struct http_limits *limits)
{
    struct outcome whole = read_head(text, kind, limits, text.len);
    for (size_t piece = 1; piece <= 7; piece++) {
        struct outcome split = read_head(text, kind, limits, piece);
        same_outcome(&whole, &split);
        free(split.copy);
    }
    return whole;
}

struct refusal {
    const char *name;
    str text;
    enum errc code;
};

static void refuse_all(const struct refusal *rows, size_t n, enum kind kind)
{
    for (size_t i = 0; i < n; i++) {
        struct outcome o = read_both(rows[i].text, kind, &default_limits);
        if (o.is_incomplete || o.code != rows[i].code) {
            print_error("%s: %s instead of %s\n", rows[i].name,
                        o.is_incomplete ? "incomplete" : errc_name(o.code), errc_name(rows[i].code));
            fail();
        }
        free(o.copy);
    }
}

static struct outcome accept(str text, enum kind kind)
{
    struct outcome o = read_both(text, kind, &default_limits);
    if (o.code != ERR_NONE || o.is_incomplete) {
        print_error("refused: %.*s: %s\n", STR(text), errc_name(o.code));
        fail();
    }
    return o;
}

#define assert_str(s, text)                                                                                  \
    do {                                                                                                     \
        str assert_str_s = (s);                                                                              \
        assert_int_equal(assert_str_s.len, strlen(text));                                                    \
        assert_memory_equal(assert_str_s.p, (text), strlen(text));                                           \
    } while (0)

/* --- requests --- */

static void a_typical_request_is_taken_apart(void **state)
{
    (void)state;
    struct outcome o = accept(S("POST /v1/chat/completions?a=b&c HTTP/1.1\r\nHost: api.example.com:8080\r\n"
                                "Content-Type: application/json\r\ncontent-length: 42\r\nX-Empty:\r\n"
                                "X-Spaced: \t a  b \t \r\nAccept: \x80\xff\r\nExpect: 100-Continue\r\n"
                                "Content-Encoding: gzip\r\n\r\n{\"body\":1}"),
                              REQUEST);
    const struct http_head *h = &o.head;
    assert_int_equal(h->method, HTTP_POST);
    assert_str(h->method_text, "POST");
    assert_str(h->target, "/v1/chat/completions?a=b&c");
    assert_str(h->path, "/v1/chat/completions");
    assert_str(h->query, "a=b&c");
    assert_str(h->host, "api.example.com:8080");
    assert_str(h->content_type, "application/json");
    assert_str(h->content_encoding, "gzip");
    assert_int_equal(h->framing, HTTP_BODY_LENGTH);
    assert_int_equal(h->content_length, 42);
    assert_int_equal(h->minor_version, 1);
    assert_true(h->keeps_alive);
    assert_true(h->expects_continue);
    assert_false(h->asks_upgrade);
    assert_int_equal(h->n_fields, 8);
    assert_str(h->fields[3].name, "X-Empty");
    assert_str(h->fields[3].value, "");
    assert_str(h->fields[4].value, "a  b");
    assert_str(*http_field(h, S("x-SPACED")), "a  b");
    assert_null(http_field(h, S("x-space")));
    free(o.copy);
}

static void methods_are_known_by_their_exact_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum http_method method;
    } rows[] = {
        {"GET", HTTP_GET},
        {"HEAD", HTTP_HEAD},
        {"POST", HTTP_POST},
        {"PUT", HTTP_PUT},
        {"PATCH", HTTP_PATCH},
        {"DELETE", HTTP_DELETE},
        {"OPTIONS", HTTP_OPTIONS},
        {"get", HTTP_OTHER_METHOD},
        {"Post", HTTP_OTHER_METHOD},
        {"M-SEARCH", HTTP_OTHER_METHOD},
        {"TRACE", HTTP_OTHER_METHOD},
        {"!#$%&'*+-.^_`|~09", HTTP_OTHER_METHOD},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        char text[128];
        int n = snprintf(text, sizeof text, "%s / HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].text);
        struct outcome o = accept(str_of(text, (size_t)n), REQUEST);
        assert_int_equal(o.head.method, rows[i].method);
        assert_str(o.head.method_text, rows[i].text);
        free(o.copy);
    }
}

static void targets_split_into_path_and_query(void **state)
{
    (void)state;
    static const struct {
        const char *line, *path, *query; /* query NULL: there is none */
    } rows[] = {
        {"GET / HTTP/1.1", "/", NULL},
        {"GET /? HTTP/1.1", "/", ""},
        {"GET /a?b?c HTTP/1.1", "/a", "b?c"},
        {"GET //a/%00|\"<>\\ HTTP/1.1", "//a/%00|\"<>\\", NULL},
        {"GET http://h:1/a/b?c HTTP/1.1", "/a/b", "c"},
        {"GET HTTP://H:1/a HTTP/1.1", "/a", NULL},
        {"GET https://h:1/ HTTP/1.1", "/", NULL},
        {"GET http://h:1 HTTP/1.1", "/", NULL},
        {"GET http://h:1?x HTTP/1.1", "/", "x"},
        {"OPTIONS * HTTP/1.1", "*", NULL},
        {"OPTIONS /a HTTP/1.1", "/a", NULL},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        char text[256];
        int n = snprintf(text, sizeof text, "%s\r\nHost: h:1\r\n\r\n", rows[i].line);
        struct outcome o = accept(str_of(text, (size_t)n), REQUEST);
        assert_str(o.head.path, rows[i].path);
        assert_int_equal(o.head.query.p == NULL, rows[i].query == NULL);
        if (rows[i].query) assert_str(o.head.query, rows[i].query);
        free(o.copy);
    }
}

static void the_framing_of_a_request_follows_its_fields_and_not_its_method(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum http_framing framing;
        uint64_t length;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BODY_NONE, 0},
        {"POST / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BODY_NONE, 0},
        {"POST / HTTP/1.0\r\n\r\n", HTTP_BODY_NONE, 0},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", HTTP_BODY_LENGTH, 5},
        {"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", HTTP_BODY_LENGTH, 5},
        {"DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_BODY_CHUNKED, 0},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", HTTP_BODY_LENGTH, 0},
        {"POST / HTTP/1.1\r\nHost: a\r\nCONTENT-LENGTH: 9999999999999999999\r\n\r\n", HTTP_BODY_LENGTH,
         9999999999999999999u},
        {"POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-encoding: CHUNKED \t\r\n\r\n", HTTP_BODY_CHUNKED, 0},
        {"POST / HTTP/1.0\r\nContent-Length: 7\r\n\r\n", HTTP_BODY_LENGTH, 7},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        struct outcome o = accept(str_c(rows[i].text), REQUEST);
        assert_int_equal(o.head.framing, rows[i].framing);
        assert_int_equal(o.head.content_length, rows[i].length);
        free(o.copy);
    }
}

static void persistence_follows_the_version_and_connection(void **state)
{
    (void)state;
    static const struct {
        const char *version, *fields;
        bool keeps_alive, asks_upgrade;
    } rows[] = {
        {"1.1", "", true, false},
        {"1.0", "", false, false},
        {"1.1", "Connection: close\r\n", false, false},
        {"1.1", "Connection: Close\r\n", false, false},
        {"1.0", "Connection: keep-alive\r\n", true, false},
        {"1.0", "connection: foo,\t Keep-Alive , bar\r\n", true, false},
        {"1.0", "Connection: keep-alive, close\r\n", false, false},
        {"1.0", "Connection: keep-alive\r\nConnection: close\r\n", false, false},
        {"1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", true, true},
        {"1.1", "Upgrade: h2c\r\n", true, false},
        {"1.1", "Connection: closed, not-close\r\n", true, false},
        {"1.1", "Connection:\r\n", true, false},
        {"1.1", "Connection: ,,close,\r\n", false, false},
        {"1.1", "Proxy-Connection: close\r\n", true, false},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        char text[256];
        int n = snprintf(text, sizeof text, "GET / HTTP/%s\r\nHost: a\r\n%s\r\n", rows[i].version,
                         rows[i].fields);
        struct outcome o = accept(str_of(text, (size_t)n), REQUEST);
        assert_int_equal(o.head.keeps_alive, rows[i].keeps_alive);
        assert_int_equal(o.head.asks_upgrade, rows[i].asks_upgrade);
        free(o.copy);
    }
}

static void a_continue_is_expected_only_where_a_body_can_be_held_back(void **state)
{
    (void)state;
    static const struct {
        const char *version, *fields;
        bool expects;
    } rows[] = {
        {"1.1", "Expect: 100-continue\r\nContent-Length: 1\r\n", true},
        {"1.1", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", true},
        {"1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n", false},
        {"1.1", "Expect: 100-continue\r\n", false},
        {"1.0", "Expect: 100-continue\r\nContent-Length: 1\r\n", false},
        {"1.1", "Content-Length: 1\r\n", false},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        char text[256];
        int n = snprintf(text, sizeof text, "PUT / HTTP/%s\r\nHost: a\r\n%s\r\n", rows[i].version,
                         rows[i].fields);
        struct outcome o = accept(str_of(text, (size_t)n), REQUEST);
        assert_int_equal(o.head.expects_continue, rows[i].expects);
        free(o.copy);
    }
}

static void hosts_of_every_form_are_accepted(void **state)
{
    (void)state;
    static const char *const hosts[] = {"a",       "A-b.c_d.example", "127.0.0.1:8080",    "[::1]",
                                        "[::1]:1", "h:65535",         "[2001:db8::1]:443", "h."};
    for (size_t i = 0; i < LENGTH_OF(hosts); i++) {
        char text[256];
        int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nhOST:%s\r\n\r\n", hosts[i]);
        struct outcome o = accept(str_of(text, (size_t)n), REQUEST);
        assert_str(o.head.host, hosts[i]);
        free(o.copy);
    }
    struct outcome o = accept(S("GET / HTTP/1.0\r\n\r\n"), REQUEST);
    assert_null(o.head.host.p);
    free(o.copy);
}

static void one_empty_line_before_a_request_is_skipped(void **state)
{
    (void)state;
    struct outcome o = accept(S("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), REQUEST);
    assert_int_equal(o.head_len, 29);
    assert_str(o.head.target, "/");
    free(o.copy);
}

static void bytes_behind_the_head_are_left_alone(void **state)
{
    (void)state;
    struct outcome o = accept(S("GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n\n\x01GET"), REQUEST);
    assert_int_equal(o.head_len, 27);
    free(o.copy);
    err e;
    assert_int_equal(http_parse_request(S("GET / HTTP/1.1\r\nHost: a\r\n\r\nX: y\r\n\r\n"), &default_limits,
                                        &(struct http_head){0}, &e),
                     ERR_INVALID);
}

#define GOOD "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"

static void requests_that_could_be_smuggled_are_refused(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"CL and TE", STR_LIT(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), ERR_INVALID},
        {"TE and CL", STR_LIT(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), ERR_INVALID},
        {"CL and unknown TE", STR_LIT(POST "Transfer-Encoding: x\r\nContent-Length: 5\r\n\r\n"), ERR_INVALID},
        {"two different CL", STR_LIT(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), ERR_INVALID},
        {"two equal CL", STR_LIT(POST "Content-Length: 5\r\ncontent-length: 5\r\n\r\n"), ERR_INVALID},
        {"CL with a plus", STR_LIT(POST "Content-Length: +5\r\n\r\n"), ERR_INVALID},
        {"CL with a minus", STR_LIT(POST "Content-Length: -5\r\n\r\n"), ERR_INVALID},
        {"CL as a list", STR_LIT(POST "Content-Length: 5, 5\r\n\r\n"), ERR_INVALID},
        {"CL in hexadecimal", STR_LIT(POST "Content-Length: 0x5\r\n\r\n"), ERR_INVALID},
        {"CL as a fraction", STR_LIT(POST "Content-Length: 5.0\r\n\r\n"), ERR_INVALID},
        {"CL with an inner space", STR_LIT(POST "Content-Length: 5 5\r\n\r\n"), ERR_INVALID},
        {"CL in quotes", STR_LIT(POST "Content-Length: \"5\"\r\n\r\n"), ERR_INVALID},
        {"CL with a vertical tab", STR_LIT(POST "Content-Length: \v5\r\n\r\n"), ERR_INVALID},
        {"CL with a NUL", STR_LIT(POST "Content-Length: 5\0\r\n\r\n"), ERR_INVALID},
        {"CL with a no-break space", STR_LIT(POST "Content-Length: 5\xa0\r\n\r\n"), ERR_INVALID},
        {"CL in other digits", STR_LIT(POST "Content-Length: \xd9\xa5\r\n\r\n"), ERR_INVALID},
        {"CL empty", STR_LIT(POST "Content-Length:\r\n\r\n"), ERR_INVALID},
        {"CL of 20 digits", STR_LIT(POST "Content-Length: 18446744073709551616\r\n\r\n"), ERR_INVALID},
        {"CL of 20 digits, most zero", STR_LIT(POST "Content-Length: 00000000000000000005\r\n\r\n"),
         ERR_INVALID},
        {"TE twice", STR_LIT(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
         ERR_INVALID},
        {"TE twice, one identity",
         STR_LIT(POST "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"), ERR_INVALID},
        {"TE in HTTP/1.0", STR_LIT("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
         ERR_INVALID},
        {"TE chunked twice", STR_LIT(POST "Transfer-Encoding: chunked, chunked\r\n\r\n"), ERR_INVALID},
        {"TE with a coding behind chunked", STR_LIT(POST "Transfer-Encoding: chunked, gzip\r\n\r\n"),
         ERR_INVALID},
        {"TE with chunked behind gzip", STR_LIT(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
         ERR_NOT_IMPLEMENTED},
        {"TE unknown", STR_LIT(POST "Transfer-Encoding: xchunked\r\n\r\n"), ERR_NOT_IMPLEMENTED},
        {"TE identity", STR_LIT(POST "Transfer-Encoding: identity\r\n\r\n"), ERR_NOT_IMPLEMENTED},
        {"TE empty", STR_LIT(POST "Transfer-Encoding:\r\n\r\n"), ERR_INVALID},
        {"TE with an empty element", STR_LIT(POST "Transfer-Encoding: chunked,\r\n\r\n"), ERR_INVALID},
        {"TE with an empty first element", STR_LIT(POST "Transfer-Encoding: ,chunked\r\n\r\n"), ERR_INVALID},
        {"TE in quotes", STR_LIT(POST "Transfer-Encoding: \"chunked\"\r\n\r\n"), ERR_INVALID},
        {"TE with a parameter", STR_LIT(POST "Transfer-Encoding: chunked;q=1\r\n\r\n"), ERR_INVALID},
        {"TE of two words", STR_LIT(POST "Transfer-Encoding: chunked foo\r\n\r\n"), ERR_INVALID},
        {"TE with a vertical tab", STR_LIT(POST "Transfer-Encoding: \vchunked\r\n\r\n"), ERR_INVALID},
        {"TE with a NUL", STR_LIT(POST "Transfer-Encoding: chunked\0\r\n\r\n"), ERR_INVALID},
        {"TE with a form feed", STR_LIT(POST "Transfer-Encoding: chunked\f\r\n\r\n"), ERR_INVALID},
        {"TE with a bare CR", STR_LIT(POST "Transfer-Encoding: \rchunked\r\n\r\n"), ERR_INVALID},
        {"TE with a bare LF", STR_LIT(POST "Transfer-Encoding:\n chunked\r\n\r\n"), ERR_INVALID},
        {"TE folded", STR_LIT(POST "Transfer-Encoding:\r\n chunked\r\n\r\n"), ERR_INVALID},
        {"TE in a fold", STR_LIT(POST "X: y\r\n Transfer-Encoding: chunked\r\n\r\n"), ERR_INVALID},
        {"TE with a space before the colon", STR_LIT(POST "Transfer-Encoding : chunked\r\n\r\n"),
         ERR_INVALID},
        {"TE with a tab before the colon", STR_LIT(POST "Transfer-Encoding\t: chunked\r\n\r\n"), ERR_INVALID},
        {"two Content-Encoding", STR_LIT(POST "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\n"),
         ERR_INVALID},
        {"two Content-Type", STR_LIT(POST "Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n"), ERR_INVALID},
    };
    refuse_all(rows, LENGTH_OF(rows), REQUEST);
}

static void malformed_lines_are_refused(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"bare LF ends the request line", STR_LIT("GET / HTTP/1.1\nHost: a\r\n\r\n"), ERR_INVALID},
        {"bare LF ends a field", STR_LIT(GOOD "X: y\nZ: w\r\n\r\n"), ERR_INVALID},
        {"bare LF ends the head", STR_LIT(GOOD "\n"), ERR_INVALID},
        {"LF LF", STR_LIT("GET / HTTP/1.1\nHost: a\n\n"), ERR_INVALID},
        {"bare CR in a value", STR_LIT(GOOD "X: y\rz\r\n\r\n"), ERR_INVALID},
        {"bare CR ends a field", STR_LIT(GOOD "X: y\rZ: w\r\n\r\n"), ERR_INVALID},
        {"CR CR LF", STR_LIT(GOOD "X: y\r\r\n\r\n"), ERR_INVALID},
        {"bare CR at the start of a line", STR_LIT(GOOD "\rX: y\r\n\r\n"), ERR_INVALID},
        {"bare CR in the target", STR_LIT("GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_INVALID},
        {"obs-fold with a space", STR_LIT(GOOD "X: y\r\n z\r\n\r\n"), ERR_INVALID},
        {"obs-fold with a tab", STR_LIT(GOOD "X: y\r\n\tz\r\n\r\n"), ERR_INVALID},
        {"a space before the first field", STR_LIT("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), ERR_INVALID},
        {"a line of spaces", STR_LIT(GOOD "  \r\n\r\n"), ERR_INVALID},
        {"a space before the colon", STR_LIT("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), ERR_INVALID},
        {"a space in a name", STR_LIT(GOOD "X Y: z\r\n\r\n"), ERR_INVALID},
        {"a tab in a name", STR_LIT(GOOD "X\tY: z\r\n\r\n"), ERR_INVALID},
        {"an empty name", STR_LIT(GOOD ": z\r\n\r\n"), ERR_INVALID},
        {"no colon", STR_LIT(GOOD "X\r\n\r\n"), ERR_INVALID},
        {"a NUL in a name", STR_LIT(GOOD "X\0Y: z\r\n\r\n"), ERR_INVALID},
        {"a separator in a name", STR_LIT(GOOD "X(Y): z\r\n\r\n"), ERR_INVALID},
        {"a non-ASCII name", STR_LIT(GOOD "X\xc3\xa9: z\r\n\r\n"), ERR_INVALID},
        {"a NUL in a value", STR_LIT(GOOD "X: a\0b\r\n\r\n"), ERR_INVALID},
        {"an escape in a value", STR_LIT(GOOD "X: a\x1b[0m\r\n\r\n"), ERR_INVALID},
        {"DEL in a value", STR_LIT(GOOD "X: a\x7f\r\n\r\n"), ERR_INVALID},
        {"DEL in a long value",
         STR_LIT(GOOD "X: 0123456789abcdef0123456789abcdef\x7f 0123456789abcdef\r\n\r\n"), ERR_INVALID},
        {"two empty lines first", STR_LIT("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_INVALID},
        {"a bare LF first", STR_LIT("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_INVALID},
        {"a TLS hello", STR_LIT("\x16\x03\x01\x02\x00\x01"), ERR_INVALID},
    };
    refuse_all(rows, LENGTH_OF(rows), REQUEST);
}

static void every_control_byte_is_refused_in_every_place(void **state)
{
    (void)state;
    static const char *const places[] = {
        "GE@T / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n", "GET /@ HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
        "GET / HTTP/1.1@\r\nHost: a\r\nX: y\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX@: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y@y0123456789abcdef0123456789abcdef\r\n\r\n"};
    for (size_t i = 0; i < LENGTH_OF(places); i++) {
        for (int c = 0; c < 0x80; c++) {
            char text[128];
            size_t len = strlen(places[i]);
            memcpy(text, places[i], len);
            *(char *)memchr(text, '@', len) = (char)c;
            if ((c >= 0x20 && c != 0x7f) || (c == '\t' && i == 4)) continue;
            struct outcome o = read_both(str_of(text, len), REQUEST, &default_limits);
            assert_int_equal(o.code, ERR_INVALID);
            free(o.copy);
        }
    }
}

static void malformed_request_lines_are_refused(void **state)
{
    (void)state;
#define LINE(text) STR_LIT(text "\r\nHost: a\r\n\r\n")
    static const struct refusal rows[] = {
        {"lower-case version", LINE("GET / http/1.1"), ERR_INVALID},
        {"two-digit minor version", LINE("GET / HTTP/1.10"), ERR_INVALID},
        {"leading zero", LINE("GET / HTTP/01.1"), ERR_INVALID},
        {"no minor version", LINE("GET / HTTP/1"), ERR_INVALID},
        {"version with junk", LINE("GET / HTTP/1.1x"), ERR_INVALID},
        {"version with a space behind", LINE("GET / HTTP/1.1 "), ERR_INVALID},
        {"version with a space inside", LINE("GET / HTTP /1.1"), ERR_INVALID},
        {"no version", LINE("GET /"), ERR_INVALID},
        {"no version but a space", LINE("GET / "), ERR_INVALID},
        {"HTTP/1.2", LINE("GET / HTTP/1.2"), ERR_HTTP_VERSION},
        {"HTTP/0.9", LINE("GET / HTTP/0.9"), ERR_HTTP_VERSION},
        {"HTTP/2.0", LINE("GET / HTTP/2.0"), ERR_HTTP_VERSION},
        {"the preface of HTTP/2", STR_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ERR_HTTP_VERSION},
        {"no method", LINE(" / HTTP/1.1"), ERR_INVALID},
        {"a method that is no token", LINE("GE(T / HTTP/1.1"), ERR_INVALID},
        {"a method with a colon", LINE("GET: / HTTP/1.1"), ERR_INVALID},
        {"a tab behind the method", LINE("GET\t/ HTTP/1.1"), ERR_INVALID},
        {"two spaces behind the method", LINE("GET  / HTTP/1.1"), ERR_INVALID},
        {"two spaces before the version", LINE("GET /  HTTP/1.1"), ERR_INVALID},
        {"a space in the target", LINE("GET /a b HTTP/1.1"), ERR_INVALID},
        {"a tab in the target", LINE("GET /a\tb HTTP/1.1"), ERR_INVALID},
        {"non-ASCII in the target", LINE("GET /\xc3\xa9 HTTP/1.1"), ERR_INVALID},
        {"a fragment", LINE("GET /#a HTTP/1.1"), ERR_INVALID},
        {"a target without a slash", LINE("GET a HTTP/1.1"), ERR_INVALID},
        {"an asterisk without OPTIONS", LINE("GET * HTTP/1.1"), ERR_INVALID},
        {"an asterisk with a path", LINE("OPTIONS */a HTTP/1.1"), ERR_INVALID},
        {"authority-form", LINE("CONNECT a:443 HTTP/1.1"), ERR_INVALID},
        {"another authority than Host", LINE("GET http://b/ HTTP/1.1"), ERR_INVALID},
        {"the authority with a port", LINE("GET http://a:80/ HTTP/1.1"), ERR_INVALID},
        {"user information", LINE("GET http://a@b/ HTTP/1.1"), ERR_INVALID},
        {"no authority", LINE("GET http:///a HTTP/1.1"), ERR_INVALID},
        {"another scheme", LINE("GET ftp://a/ HTTP/1.1"), ERR_INVALID},
        {"absolute-form without Host", STR_LIT("GET http://a/ HTTP/1.0\r\n\r\n"), ERR_INVALID},
        {"a status line", LINE("HTTP/1.1 200 OK"), ERR_INVALID},
        {"a status line of another version", LINE("HTTP/2.0"), ERR_HTTP_VERSION},
    };
    refuse_all(rows, LENGTH_OF(rows), REQUEST);
}

static void requests_without_exactly_one_good_host_are_refused(void **state)
{
    (void)state;
#define HOST(fields) STR_LIT("GET / HTTP/1.1\r\n" fields "\r\n")
    static const struct refusal rows[] = {
        {"no host", HOST(""), ERR_INVALID},
        {"two hosts", HOST("Host: a\r\nHost: b\r\n"), ERR_INVALID},
        {"two equal hosts", HOST("Host: a\r\nhost: a\r\n"), ERR_INVALID},
        {"two hosts in 1.0", STR_LIT("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), ERR_INVALID},
        {"empty", HOST("Host:\r\n"), ERR_INVALID},
        {"a list", HOST("Host: a, b\r\n"), ERR_INVALID},
        {"a space", HOST("Host: a b\r\n"), ERR_INVALID},
        {"user information", HOST("Host: u@a\r\n"), ERR_INVALID},
        {"a password", HOST("Host: u:p@a\r\n"), ERR_INVALID},
        {"a path", HOST("Host: a/b\r\n"), ERR_INVALID},
        {"a query", HOST("Host: a?b\r\n"), ERR_INVALID},
        {"a fragment", HOST("Host: a#b\r\n"), ERR_INVALID},
        {"a scheme", HOST("Host: http://a\r\n"), ERR_INVALID},
        {"an escape", HOST("Host: %61\r\n"), ERR_INVALID},
        {"non-ASCII", HOST("Host: \xc3\xa9\r\n"), ERR_INVALID},
        {"a backslash", HOST("Host: a\\b\r\n"), ERR_INVALID},
        {"an empty port", HOST("Host: a:\r\n"), ERR_INVALID},
        {"port 0", HOST("Host: a:0\r\n"), ERR_INVALID},
        {"a port above 65535", HOST("Host: a:65536\r\n"), ERR_INVALID},
        {"a port of six digits", HOST("Host: a:000080\r\n"), ERR_INVALID},
        {"a port with a sign", HOST("Host: a:+80\r\n"), ERR_INVALID},
        {"a port alone", HOST("Host: :80\r\n"), ERR_INVALID},
        {"two ports", HOST("Host: a:80:81\r\n"), ERR_INVALID},
        {"IPv6 without brackets", HOST("Host: ::1\r\n"), ERR_INVALID},
        {"IPv6 with half brackets", HOST("Host: [::1\r\n"), ERR_INVALID},
        {"IPv6 with junk", HOST("Host: [::1]x\r\n"), ERR_INVALID},
        {"IPv6 with a zone", HOST("Host: [fe80::1%eth0]\r\n"), ERR_INVALID},
        {"a name in brackets", HOST("Host: [a]\r\n"), ERR_INVALID},
    };
    refuse_all(rows, LENGTH_OF(rows), REQUEST);
}

static void expectations_but_100_continue_are_refused(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"another", STR_LIT(POST "Expect: 200-ok\r\n\r\n"), ERR_EXPECTATION},
        {"a list", STR_LIT(POST "Expect: 100-continue, x\r\n\r\n"), ERR_EXPECTATION},
        {"empty", STR_LIT(POST "Expect:\r\n\r\n"), ERR_EXPECTATION},
        {"a second one", STR_LIT(POST "Expect: x\r\nExpect: 100-continue\r\n\r\n"), ERR_EXPECTATION},
        {"framing comes first", STR_LIT(POST "Expect: x\r\nContent-Length: x\r\n\r\n"), ERR_INVALID},
    };
    refuse_all(rows, LENGTH_OF(rows), REQUEST);
}

static void the_first_malformed_line_decides_the_error(void **state)
{
    (void)state;
    static const struct refusal rows[] = {
        {"version before a bad field", STR_LIT("GET / HTTP/3.0\r\nHost: a\r\n b\r\n\r\n"), ERR_HTTP_VERSION},
        {"version before a control byte", STR_LIT("GET / HTTP/3.0\r\nHost: a\x01\r\n\r\n"), ERR_HTTP_VERSION},
        {"a control byte in its own line", STR_LIT("GET / HTTP/3.0\x01\r\nHost: a\r\n\r\n"), ERR_INVALID},
        {"a bad line before a bad coding", STR_LIT(POST "Transfer-Encoding: x\r\nX\r\n\r\n"), ERR_INVALID},
        {"a bad line of an incomplete head", STR_LIT(POST "X Y: z\r\nX: "), ERR_INVALID},
        {"a bad version of an incomplete head", STR_LIT("GET / HTTP/3.0\r\nX"), ERR_HTTP_VERSION},
    };
    refuse_all(rows, LENGTH_OF(rows), REQUEST);
}

static void incomplete_heads_ask_for_more(void **state)
{
    (void)state;
    str whole = S("\r\nPOST /a HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n");
    for (size_t n = 0; n < whole.len; n++) {
        struct outcome o = read_both(str_take(whole, n), REQUEST, &default_limits);
        assert_int_equal(o.code, ERR_NONE);
        assert_true(o.is_incomplete);
        free(o.copy);
    }
    err e;
    assert_int_equal(
        http_parse_request(str_take(whole, whole.len - 1), &default_limits, &(struct http_head){0}, &e),
        ERR_INVALID);
    assert_int_equal(http_parse_request(S(""), &default_limits, &(struct http_head){0}, &e), ERR_INVALID);
    assert_int_equal(http_parse_request(S("\r\n\r\n"), &default_limits, &(struct http_head){0}, &e),
                     ERR_INVALID);
}

static void the_limits_of_a_head_are_exact(void **state)
{
    (void)state;
    str head = S("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 2\r\n\r\n");
    struct http_limits limits = {.head_bytes = head.len, .headers = 3};
    struct outcome o = read_both(head, REQUEST, &limits);
    assert_int_equal(o.code, ERR_NONE);
    assert_false(o.is_incomplete);
    free(o.copy);

    limits.headers = 2;
    o = read_both(head, REQUEST, &limits);
    assert_int_equal(o.code, ERR_HEAD_TOO_LARGE);
    free(o.copy);
    assert_int_equal(http_parse_request(head, &limits, &o.head, NULL), ERR_HEAD_TOO_LARGE);

    limits = (struct http_limits){.head_bytes = head.len - 1, .headers = 3};
    o = read_both(head, REQUEST, &limits);
    assert_int_equal(o.code, ERR_HEAD_TOO_LARGE);
    free(o.copy);
    assert_int_equal(http_parse_request(head, &limits, &o.head, NULL), ERR_HEAD_TOO_LARGE);

    limits = (struct http_limits){.head_bytes = 20, .headers = 3};
    o = read_both(S("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), REQUEST, &limits);
    assert_int_equal(o.code, ERR_HEAD_TOO_LARGE);
    free(o.copy);
}

static void no_more_fields_fit_than_there_is_room_for(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 16);
    buf_add(&b, S("GET / HTTP/1.1\r\nHost: a\r\n"));
    for (int i = 1; i < HTTP_HEADERS_MAX; i++)
        buf_addf(&b, "X%d: y\r\n", i);
    size_t len = b.len;
    struct http_limits limits = {.head_bytes = 1 << 16, .headers = 100000};
    buf_add(&b, S("\r\n"));
    struct outcome o = read_both(buf_str(&b), REQUEST, &limits);
    assert_int_equal(o.code, ERR_NONE);
    assert_int_equal(o.head.n_fields, HTTP_HEADERS_MAX);
    free(o.copy);
    b.len = len;
    buf_add(&b, S("Z: y\r\n\r\n"));
    o = read_both(buf_str(&b), REQUEST, &limits);
    assert_int_equal(o.code, ERR_HEAD_TOO_LARGE);
    free(o.copy);
    buf_fini(&b);
}

static void a_head_arriving_byte_by_byte_is_looked_at_once(void **state)
{
    (void)state;
    struct http_head_scan scan;
    struct http_limits limits = {.head_bytes = 1 << 16, .headers = 100};
    size_t len;
    http_head_scan_init(&scan);
    str head = S("GET / HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r");
    for (size_t n = 1; n <= head.len; n++) {
        assert_int_equal(http_head_find(&scan, str_take(head, n), &limits, &len, NULL), HTTP_MORE);
        assert_true(scan.at + 1 >= n); /* all but a CR whose LF has not come */
    }
}

/* --- responses --- */

static void a_typical_response_is_taken_apart(void **state)
{
    (void)state;
    struct outcome o = accept(S("HTTP/1.1 200 OK then\r\ncontent-type: text/event-stream\r\n"
                                "Transfer-Encoding: chunked\r\nx-request-id: 1\r\n\r\n"),
                              RESPONSE);
    assert_int_equal(o.head.status, 200);
    assert_str(o.head.reason, "OK then");
    assert_str(o.head.content_type, "text/event-stream");
    assert_int_equal(o.head.framing, HTTP_BODY_CHUNKED);
    assert_true(o.head.keeps_alive);
    assert_int_equal(o.head.n_fields, 3);
    free(o.copy);
}

static void the_framing_of_a_response_follows_status_request_and_fields(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum kind kind;
        enum http_framing framing;
        uint64_t length;
    } rows[] = {
        {"HTTP/1.1 200 \r\n\r\n", RESPONSE, HTTP_BODY_UNTIL_CLOSE, 0},
        {"HTTP/1.1 200\r\n\r\n", RESPONSE, HTTP_BODY_UNTIL_CLOSE, 0},
        {"HTTP/1.0 200 OK\r\n\r\n", RESPONSE, HTTP_BODY_UNTIL_CLOSE, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", RESPONSE, HTTP_BODY_LENGTH, 3},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", RESPONSE_TO_HEAD, HTTP_BODY_NONE, 3},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", RESPONSE_TO_HEAD, HTTP_BODY_NONE, 0},
        {"HTTP/1.1 100 Continue\r\n\r\n", RESPONSE, HTTP_BODY_NONE, 0},
        {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", RESPONSE, HTTP_BODY_NONE, 0},
        {"HTTP/1.1 204 No Content\r\n\r\n", RESPONSE, HTTP_BODY_NONE, 0},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", RESPONSE, HTTP_BODY_NONE, 9},
        {"HTTP/1.1 999 \t\xff\r\nContent-Length: 0\r\n\r\n", RESPONSE, HTTP_BODY_LENGTH, 0},
        {"HTTP/1.1 500 OK\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n", RESPONSE, HTTP_BODY_UNTIL_CLOSE, 0},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        struct outcome o = accept(str_c(rows[i].text), rows[i].kind);
        assert_int_equal(o.head.framing, rows[i].framing);
        assert_int_equal(o.head.content_length, rows[i].length);
        free(o.copy);
    }
}

static void responses_that_could_be_split_or_misread_are_refused(void **state)
{
    (void)state;
#define OK "HTTP/1.1 200 OK\r\n"
    static const struct refusal rows[] = {
        {"CL and TE", STR_LIT(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), ERR_INVALID},
        {"two CL", STR_LIT(OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), ERR_INVALID},
        {"CL as a list", STR_LIT(OK "Content-Length: 5, 5\r\n\r\n"), ERR_INVALID},
        {"unknown TE", STR_LIT(OK "Transfer-Encoding: gzip\r\n\r\n"), ERR_NOT_IMPLEMENTED},
        {"TE in 1.0", STR_LIT("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), ERR_INVALID},
        {"two Content-Encoding", STR_LIT(OK "Content-Encoding: gzip\r\nContent-Encoding: br\r\n\r\n"),
         ERR_INVALID},
        {"an empty line first", STR_LIT("\r\n" OK "\r\n"), ERR_INVALID},
        {"two digits", STR_LIT("HTTP/1.1 20 OK\r\n\r\n"), ERR_INVALID},
        {"four digits", STR_LIT("HTTP/1.1 2000 OK\r\n\r\n"), ERR_INVALID},
        {"below 100", STR_LIT("HTTP/1.1 099 OK\r\n\r\n"), ERR_INVALID},
        {"no status", STR_LIT("HTTP/1.1 \r\n\r\n"), ERR_INVALID},
        {"a version alone", STR_LIT("HTTP/1.1\r\n\r\n"), ERR_INVALID},
        {"two spaces", STR_LIT("HTTP/1.1  200 OK\r\n\r\n"), ERR_INVALID},
        {"a tab", STR_LIT("HTTP/1.1\t200 OK\r\n\r\n"), ERR_INVALID},
        {"a tab behind the status", STR_LIT("HTTP/1.1 200\tOK\r\n\r\n"), ERR_INVALID},
        {"a sign", STR_LIT("HTTP/1.1 +20 OK\r\n\r\n"), ERR_INVALID},
        {"a control byte in the reason", STR_LIT("HTTP/1.1 200 O\x01K\r\n\r\n"), ERR_INVALID},
        {"lower-case", STR_LIT("http/1.1 200 OK\r\n\r\n"), ERR_INVALID},
        {"HTTP/2.0", STR_LIT("HTTP/2.0 200 OK\r\n\r\n"), ERR_HTTP_VERSION},
        {"ICY", STR_LIT("ICY 200 OK\r\n\r\n"), ERR_INVALID},
        {"a request", STR_LIT(GOOD "\r\n"), ERR_INVALID},
        {"a request of another version", STR_LIT("GET / HTTP/3.0\r\n\r\n"), ERR_HTTP_VERSION},
        {"another version behind an empty line", STR_LIT("\r\nHTTP/1.2 200 OK\r\n\r\n"), ERR_HTTP_VERSION},
        {"obs-fold", STR_LIT(OK "X: y\r\n z\r\n\r\n"), ERR_INVALID},
        {"bare LF", STR_LIT("HTTP/1.1 200 OK\nX: y\n\n"), ERR_INVALID},
    };
    refuse_all(rows, LENGTH_OF(rows), RESPONSE);
}

/* --- fields --- */

static void hop_by_hop_fields_are_told_from_those_that_go_on(void **state)
{
    (void)state;
    struct outcome o =
        accept(S(GOOD "Connection: keep-alive, X-Hop\r\nConnection: \tX-Other ,\r\n\r\n"), REQUEST);
    static const char *const hops[] = {
        "Connection",          "keep-alive",       "TE",    "trailer", "Transfer-Encoding", "UPGRADE",
        "Proxy-Authorization", "proxy-connection", "x-hop", "X-OTHER"};
    static const char *const others[] = {"Host",  "X-Ho",           "X-Hop2",       "",
                                         "Proxy", "Content-Length", "Authorization"};
    for (size_t i = 0; i < LENGTH_OF(hops); i++)
        assert_true(http_field_is_hop(&o.head, str_c(hops[i])));
    for (size_t i = 0; i < LENGTH_OF(others); i++) {
        if (others[i][0] != '\0') assert_false(http_field_is_hop(&o.head, str_c(others[i])));
    }
    free(o.copy);
}

static void list_membership_ignores_case_and_spaces_and_nothing_else(void **state)
{
    (void)state;
    assert_true(http_list_has(S("a, B\t,c"), S("b")));
    assert_true(http_list_has(S("close"), S("CLOSE")));
    assert_true(http_list_has(S(",,x,"), S("x")));
    assert_false(http_list_has(S("ab, bc"), S("b")));
    assert_false(http_list_has(S("a b"), S("b")));
    assert_false(http_list_has(S(""), S("x")));
    assert_false(http_list_has((str){NULL, 0}, S("x")));
}

static void reasons_are_those_of_the_registry(void **state)
{
    (void)state;
    assert_string_equal(http_reason(200), "OK");
    assert_string_equal(http_reason(413), "Content Too Large");
    assert_string_equal(http_reason(505), "HTTP Version Not Supported");
    assert_string_equal(http_reason(299), "Unknown");
}

/* --- chunked --- */

struct chunked_outcome {
    enum http_progress progress;
    struct buf body;
    size_t used;
};

static struct chunked_outcome read_chunked(str text, size_t piece)
{
    struct chunked_outcome o = {.progress = HTTP_MORE};
    struct http_chunked c;
    http_chunked_init(&c);
    buf_init(&o.body, 1 << 20);
    while (o.progress == HTTP_MORE && o.used < text.len) {
        size_t n = text.len - o.used < piece ? text.len - o.used : piece;
        char *copy = copy_of(str_of(text.p + o.used, n));
        str in = str_of(copy, n), data;
        err e = {0};
        do {
            o.progress = http_chunked_next(&c, &in, &data, &e);
            assert_true(data.len == 0 || (data.p >= copy && data.p + data.len <= copy + n));
            assert_true(o.progress == HTTP_MORE || data.len == 0);
            assert_int_equal(e.code, o.progress == HTTP_BAD ? ERR_INVALID : ERR_NONE);
            buf_add(&o.body, data);
        } while (o.progress == HTTP_MORE && in.len > 0);
        o.used += n - in.len;
        free(copy);
    }
    return o;
}

static void read_chunked_both(const char *name, str text, enum http_progress progress, str body, size_t left)
{
    for (size_t piece = text.len; piece > 0; piece--) {
        struct chunked_outcome o = read_chunked(text, piece);
        if (o.progress != progress || (progress != HTTP_BAD && !str_eq(buf_str(&o.body), body)) ||
            (progress == HTTP_DONE && o.used != text.len - left)) {
            print_error("%s, in pieces of %zu: progress %d, body '%.*s', used %zu\n", name, piece,
                        (int)o.progress, STR(buf_str(&o.body)), o.used);
            fail();
        }
        buf_fini(&o.body);
    }
}

static void chunked_bodies_decode_in_any_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        str text, body;
        size_t left;
    } rows[] = {
        {"empty body", STR_LIT("0\r\n\r\n"), STR_LIT(""), 0},
        {"one chunk", STR_LIT("5\r\nhello\r\n0\r\n\r\n"), STR_LIT("hello"), 0},
        {"several chunks", STR_LIT("1\r\na\r\nA\r\n0123456789\r\n00b\r\n01234567890\r\n000\r\n\r\n"),
         STR_LIT("a012345678901234567890"), 0},
        {"line ends in the data", STR_LIT("4\r\n\r\n\r\n\r\n0\r\n\r\n"), STR_LIT("\r\n\r\n"), 0},
        {"extensions", STR_LIT("1;a=b; c=\"d\"\t\xff\r\nx\r\n0;z\r\n\r\n"), STR_LIT("x"), 0},
        {"an empty extension", STR_LIT("1;\r\nx\r\n0\r\n\r\n"), STR_LIT("x"), 0},
        {"trailers", STR_LIT("1\r\nx\r\n0\r\nA: b\r\nC-d:\r\n\r\n"), STR_LIT("x"), 0},
        {"sixteen digits", STR_LIT("0000000000000001\r\nx\r\n0000000000000000\r\n\r\n"), STR_LIT("x"), 0},
        {"the next message behind it", STR_LIT("1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1"), STR_LIT("x"), 14},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        read_chunked_both(rows[i].name, rows[i].text, HTTP_DONE, rows[i].body, rows[i].left);
    }
}

static void malformed_chunked_bodies_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        str text;
    } rows[] = {
        {"no size", STR_LIT("\r\nx")},
        {"an extension without a size", STR_LIT(";a\r\n")},
        {"a plus", STR_LIT("+1\r\nx\r\n")},
        {"a minus", STR_LIT("-1\r\nx\r\n")},
        {"0x", STR_LIT("0x1\r\nx\r\n")},
        {"a space before the size", STR_LIT(" 1\r\nx\r\n")},
        {"a space behind the size", STR_LIT("1 \r\nx\r\n")},
        {"an underscore", STR_LIT("1_0\r\nx\r\n")},
        {"seventeen digits", STR_LIT("00000000000000001\r\nx\r\n")},
        {"an overflow", STR_LIT("10000000000000000\r\nx\r\n")},
        {"a letter behind f", STR_LIT("g\r\nx\r\n")},
        {"bare LF behind the size", STR_LIT("1\nx\r\n")},
        {"bare CR behind the size", STR_LIT("1\rx\r\n")},
        {"bare LF in an extension", STR_LIT("1;a\nx\r\n")},
        {"bare CR in an extension", STR_LIT("1;a\rb\r\nx\r\n")},
        {"a NUL in an extension", STR_LIT("1;a\0\r\nx\r\n")},
        {"data longer than its size", STR_LIT("1\r\nxy\r\n")},
        {"data shorter than its size", STR_LIT("3\r\nx\r\n0\r\n\r\n")},
        {"bare LF behind the data", STR_LIT("1\r\nx\n0\r\n\r\n")},
        {"bare CR behind the data", STR_LIT("1\r\nx\r0\r\n\r\n")},
        {"bare LF ends the trailers", STR_LIT("0\r\n\n")},
        {"bare LF in the trailers", STR_LIT("0\r\nA: b\n\r\n")},
        {"bare CR in the trailers", STR_LIT("0\r\nA: b\rc\r\n\r\n")},
        {"a trailer without a colon", STR_LIT("0\r\nA\r\n\r\n")},
        {"a trailer without a name", STR_LIT("0\r\n: a\r\n\r\n")},
        {"a request in the trailers", STR_LIT("0\r\nGET /: HTTP/1.1\r\n\r\n")},
        {"a folded trailer", STR_LIT("0\r\nA: b\r\n c\r\n\r\n")},
        {"a control byte in a trailer", STR_LIT("0\r\nA: \x7f\r\n\r\n")},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        read_chunked_both(rows[i].name, rows[i].text, HTTP_BAD, S(""), 0);
    }
}

static void unfinished_chunked_bodies_ask_for_more(void **state)
{
    (void)state;
    str whole = S("3;a\r\nabc\r\n0\r\nA: b\r\n\r\n");
    for (size_t n = 1; n < whole.len; n++) {
        struct chunked_outcome o = read_chunked(str_take(whole, n), n);
        assert_int_equal(o.progress, HTTP_MORE);
        assert_int_equal(o.used, n);
        assert_int_equal(o.body.len, n < 5 ? 0 : n < 8 ? n - 5 : 3);
        buf_fini(&o.body);
    }
}

static void a_chunk_may_have_any_size_of_64_bits(void **state)
{
    (void)state;
    struct http_chunked c;
    http_chunked_init(&c);
    str in = S("ffffffffffffffff\r\nabc"), data;
    assert_int_equal(http_chunked_next(&c, &in, &data, NULL), HTTP_MORE);
    assert_str(data, "abc");
    assert_int_equal(in.len, 0);
    assert_true(c.left == UINT64_MAX - 3);
}

static void extensions_and_trailers_have_limits(void **state)
{
    (void)state;
    for (size_t n = 255; n <= 257; n++) {
        struct buf b;
        buf_init(&b, 8192);
        buf_add(&b, S("1;"));
        for (size_t i = 0; i < n; i++)
            buf_add_char(&b, 'a');
        buf_add(&b, S("\r\nx\r\n0\r\n\r\n"));
        struct chunked_outcome o = read_chunked(buf_str(&b), b.len);
        assert_int_equal(o.progress, n <= 256 ? HTTP_DONE : HTTP_BAD);
        buf_fini(&o.body);
        buf_fini(&b);
    }
    for (size_t n = 4095; n <= 4097; n++) {
        struct buf b;
        buf_init(&b, 8192);
        buf_add(&b, S("0\r\nA:"));
        for (size_t i = 2; i + 4 < n; i++)
            buf_add_char(&b, 'a');
        buf_add(&b, S("\r\n\r\n"));
        struct chunked_outcome o = read_chunked(buf_str(&b), b.len);
        assert_int_equal(o.progress, n <= 4096 ? HTTP_DONE : HTTP_BAD);
        buf_fini(&o.body);
        buf_fini(&b);
    }
}

static void chunk_heads_are_read_back(void **state)
{
    (void)state;
    static const struct {
        uint64_t n;
        const char *text;
    } rows[] = {
        {1, "1\r\n"}, {15, "f\r\n"}, {16, "10\r\n"}, {500, "1f4\r\n"}, {UINT64_MAX, "ffffffffffffffff\r\n"}};
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        char out[20];
        size_t len = http_chunk_head(rows[i].n, out);
        assert_str(str_of(out, len), rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_typical_request_is_taken_apart),
        cmocka_unit_test(methods_are_known_by_their_exact_spelling),
        cmocka_unit_test(targets_split_into_path_and_query),
        cmocka_unit_test(the_framing_of_a_request_follows_its_fields_and_not_its_method),
        cmocka_unit_test(persistence_follows_the_version_and_connection),
        cmocka_unit_test(a_continue_is_expected_only_where_a_body_can_be_held_back),
        cmocka_unit_test(hosts_of_every_form_are_accepted),
        cmocka_unit_test(one_empty_line_before_a_request_is_skipped),
        cmocka_unit_test(bytes_behind_the_head_are_left_alone),
        cmocka_unit_test(requests_that_could_be_smuggled_are_refused),
        cmocka_unit_test(malformed_lines_are_refused),
        cmocka_unit_test(every_control_byte_is_refused_in_every_place),
        cmocka_unit_test(malformed_request_lines_are_refused),
        cmocka_unit_test(requests_without_exactly_one_good_host_are_refused),
        cmocka_unit_test(expectations_but_100_continue_are_refused),
        cmocka_unit_test(the_first_malformed_line_decides_the_error),
        cmocka_unit_test(incomplete_heads_ask_for_more),
        cmocka_unit_test(the_limits_of_a_head_are_exact),
        cmocka_unit_test(no_more_fields_fit_than_there_is_room_for),
        cmocka_unit_test(a_head_arriving_byte_by_byte_is_looked_at_once),
        cmocka_unit_test(a_typical_response_is_taken_apart),
        cmocka_unit_test(the_framing_of_a_response_follows_status_request_and_fields),
        cmocka_unit_test(responses_that_could_be_split_or_misread_are_refused),
        cmocka_unit_test(hop_by_hop_fields_are_told_from_those_that_go_on),
        cmocka_unit_test(list_membership_ignores_case_and_spaces_and_nothing_else),
        cmocka_unit_test(reasons_are_those_of_the_registry),
        cmocka_unit_test(chunked_bodies_decode_in_any_pieces),
        cmocka_unit_test(malformed_chunked_bodies_are_refused),
        cmocka_unit_test(unfinished_chunked_bodies_ask_for_more),
        cmocka_unit_test(a_chunk_may_have_any_size_of_64_bits),
        cmocka_unit_test(extensions_and_trailers_have_limits),
        cmocka_unit_test(chunk_heads_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
