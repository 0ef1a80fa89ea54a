/* The web page out of a packed file: what browsers, programs and caches get, under which headers. A pack of the test's own stands for the built
 * page, which may be absent. */
#include "core/page.h"

#include "loopback.h"

#define PACK                                                                                                  \
    "catalyst-page 1\n"                                                                                       \
    "html\t0\t36\n"                                                                                           \
    "route\t/things/:id\n"                                                                                    \
    "route\t/deep/:rest\n"                                                                                    \
    "asset\tapp-1.js\ttext/javascript\tabc\t36\t5\t41\t2\t43\t1\n"                                            \
    "asset\tpicture.png\timage/png\tdef\t36\t5\t0\t0\t0\t0\n"                                                 \
    "\n"                                                                                                      \
    "<a href=@BASE@x><b nonce=@NONCE@>..."                                                                    \
    "plain"                                                                                                   \
    "GZ"                                                                                                      \
    "B"

struct state {
    struct bench *b;
    struct server_shared shared;
    struct server server;
    struct router router;
    struct page *page;
    struct wire *w;
    uint16_t port;
    unsigned n_idle;
    err e;
};

static void on_idle(struct server *server)
{
    struct state *s = (struct state *)((char *)server - offsetof(struct state, server));
    s->n_idle++;
}

static int set_up_below(void **state, const char *prefix)
{
    struct state *s = calloc(1, sizeof *s);
    struct http_handler handler = router_handler();
    assert_int_equal(stats_init(1), ERR_NONE);
    s->b = bench_new();
    assert_int_equal(server_shared_init(&s->shared, &s->e), ERR_NONE);
    s->shared.limits = (struct server_limits){.http = {.head_bytes = 4096, .headers = 20},
                                              .head_timeout_ms = BENCH_DEADLINE_MS,
                                              .idle_timeout_ms = BENCH_DEADLINE_MS,
                                              .write_timeout_ms = BENCH_DEADLINE_MS,
                                              .body_grace_ms = BENCH_DEADLINE_MS,
                                              .queue_bytes = 64 << 10,
                                              .connections = 100,
                                              .connections_per_address = 100};
    assert_int_equal(page_of(&s->page, S(PACK), str_c(prefix), &s->e), ERR_NONE);
    router_init(&s->router, 10, 20);
    router_mount(&s->router, &page_routes, s->page);
    assert_int_equal(server_bind(&s->shared, S("127.0.0.1"), 0, &s->e), ERR_NONE);
    assert_int_equal(server_start(&s->server, &s->b->loop, &s->shared, &handler, &s->router, &s->e), ERR_NONE);
    s->port = ntohs(((const struct sockaddr_in *)&s->shared.address)->sin_port);
    *state = s;
    return 0;
}

static int set_up(void **state) { return set_up_below(state, ""); }
static int set_up_prefixed(void **state) { return set_up_below(state, "/team/catalyst"); }

static int tear_down(void **state)
{
    struct state *s = *state;
    server_stop(&s->server, on_idle);
    server_abort(&s->server);
    WAIT(s->b, s->n_idle == 1);
    bench_free(s->b);
    server_fini(&s->server);
    server_shared_fini(&s->shared);
    page_free(s->page);
    stats_fini();
    free(s);
    return 0;
}

static void ask(struct state *s, const char *line, const char *fields)
{
    char request[600];
    int n = snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", line, fields);
    s->w = wire_connect(s->b, s->port);
    wire_send(s->w, str_of(request, (size_t)n));
    WAIT(s->b, wire_ended(s->w));
}

static void assert_answer(struct state *s, const char *status, const char *part)
{
    char line[40];
    snprintf(line, sizeof line, "HTTP/1.1 %s ", status);
    if (!str_starts(buf_str(&s->w->in), str_c(line)) || !wire_has(s->w, part))
        fail_msg("no %s with '%s' in: %.*s", status, part, STR(buf_str(&s->w->in)));
}

#define BROWSER "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n"

/* The text between two marks of the answer. */
static str between(struct state *s, const char *before, const char *after)
{
    str rest = buf_str(&s->w->in);
    ptrdiff_t at = str_find(rest, str_c(before));
    assert_true(at >= 0);
    rest = str_skip(rest, (size_t)at + strlen(before));
    at = str_find(rest, str_c(after));
    assert_true(at >= 0);
    return str_take(rest, (size_t)at);
}

static void a_browser_gets_the_page_under_a_strict_policy(void **state)
{
    static const char *const fields[] = {"Content-Type: text/html; charset=utf-8\r\n", "Cache-Control: no-cache\r\n",
                                         "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-",
                                         "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r\n",
                                         "Strict-Transport-Security: max-age=63072000; includeSubDomains\r\n",
                                         "X-Content-Type-Options: nosniff\r\n", "Referrer-Policy: no-referrer\r\n",
                                         "Cross-Origin-Opener-Policy: same-origin\r\n",
                                         "Cross-Origin-Resource-Policy: same-origin\r\n", "Permissions-Policy: "};
    static const char *const lines[] = {"GET /", "GET /things/7", "GET /things/7/", "GET /deep/a/b/c", "GET /things/7?x=1"};
    struct state *s = *state;
    for (unsigned i = 0; i < LENGTH_OF(lines); i++) {
        ask(s, lines[i], BROWSER);
        for (unsigned k = 0; k < LENGTH_OF(fields); k++)
            assert_answer(s, "200", fields[k]);
        assert_answer(s, "200", "<a href=/x>");
        assert_false(wire_has(s->w, "unsafe"));
    }
}

static void each_answer_has_a_nonce_of_its_own(void **state)
{
    struct state *s = *state;
    char first[80];
    ask(s, "GET /", BROWSER);
    str nonce = between(s, "'nonce-", "'");
    assert_int_equal(nonce.len, 32);
    assert_true(str_eq(nonce, between(s, "<b nonce=", ">")));
    snprintf(first, sizeof first, "%.*s", STR(nonce));
    ask(s, "GET /", BROWSER);
    assert_false(str_eq(str_c(first), between(s, "'nonce-", "'")));
}

static void paths_below_a_prefix_are_written_with_it(void **state)
{
    struct state *s = *state;
    ask(s, "GET /", BROWSER);
    assert_answer(s, "200", "<a href=/team/catalyst/x>");
}

static void a_program_gets_a_line_of_text(void **state)
{
    struct state *s = *state;
    ask(s, "GET /", "Accept: */*\r\n");
    assert_answer(s, "200", "Catalyst is running");
    ask(s, "GET /", "");
    assert_answer(s, "200", "Catalyst is running");
    ask(s, "GET /", "Accept: text/html;q=0\r\n");
    assert_answer(s, "200", "Catalyst is running");
}

static void what_is_not_there_is_404_in_the_shape_that_was_asked_for(void **state)
{
    static const char *const lines[] = {"GET /nothing", "GET /things", "GET /things/", "GET /things/7/8", "GET /deep"};
    struct state *s = *state;
    for (unsigned i = 0; i < LENGTH_OF(lines); i++) {
        ask(s, lines[i], BROWSER);
        assert_answer(s, "404", "<a href=/x>");
        ask(s, lines[i], "");
        assert_answer(s, "404", "application/problem+json");
    }
    ask(s, "GET /assets/none.js", BROWSER);
    assert_answer(s, "404", "Cache-Control: no-store\r\n");
    ask(s, "POST /", "");
    assert_answer(s, "405", "Allow: GET, HEAD\r\n");
}

static void assets_come_in_the_best_coding_that_is_accepted(void **state)
{
    static const struct {
        const char *accept, *coding, *tail;
    } cases[] = {{"Accept-Encoding: gzip, deflate, br, zstd\r\n", "Content-Encoding: br\r\nVary: Accept-Encoding\r\n", "\r\n\r\nB"},
                 {"Accept-Encoding: GZIP;q=0.5\r\n", "ETag: \"abc-gzip\"\r\nContent-Encoding: gzip\r\n", "\r\n\r\nGZ"},
                 {"Accept-Encoding: br;q=0, gzip;q=0.000\r\n", "ETag: \"abc\"\r\nVary: ", "\r\n\r\nplain"},
                 {"", "Cache-Control: public, max-age=31536000, immutable\r\n", "\r\n\r\nplain"}};
    struct state *s = *state;
    for (unsigned i = 0; i < LENGTH_OF(cases); i++) {
        ask(s, "GET /assets/app-1.js", cases[i].accept);
        assert_answer(s, "200", cases[i].coding);
        assert_answer(s, "200", "Content-Type: text/javascript\r\n");
        assert_true(str_ends(buf_str(&s->w->in), str_c(cases[i].tail)));
    }
    ask(s, "GET /assets/picture.png", "Accept-Encoding: br, gzip\r\n");
    assert_answer(s, "200", "\r\n\r\nplain");
    ask(s, "HEAD /assets/app-1.js", "Accept-Encoding: gzip\r\n");
    assert_answer(s, "200", "Content-Length: 2\r\n");
    assert_true(str_ends(buf_str(&s->w->in), S("\r\n\r\n")));
}

static void a_known_tag_costs_no_bytes(void **state)
{
    struct state *s = *state;
    ask(s, "GET /assets/app-1.js", "Accept-Encoding: br\r\nIf-None-Match: \"x\", W/\"abc-br\"\r\n");
    assert_answer(s, "304", "ETag: \"abc-br\"\r\n");
    assert_true(str_ends(buf_str(&s->w->in), S("\r\n\r\n")));
    ask(s, "GET /assets/app-1.js", "If-None-Match: \"abc-br\"\r\n");
    assert_answer(s, "200", "plain");
}

static void a_damaged_pack_and_a_wrong_prefix_are_refused(void **state)
{
    static const char *const packs[] = {"", "catalyst-page 2\n\n", "catalyst-page 1\nhtml\t0\t1\n\n", "catalyst-page 1\nnew\tx\n\n",
                                        "catalyst-page 1\nhtml\t0\t4\n\nabcd", "catalyst-page 1\nroute\t/x\n\n",
                                        "catalyst-page 1\nasset\ta\tb\tc\t18446744073709551615\t1\t0\t0\t0\t0\n\nabcd"};
    static const char *const prefixes[] = {"/", "team", "/team/", "/te\"am", "/te am"};
    struct page *p = NULL;
    err e;
    (void)state;
    for (unsigned i = 0; i < LENGTH_OF(packs); i++)
        assert_int_equal(page_of(&p, str_c(packs[i]), S(""), &e), ERR_INTERNAL);
    for (unsigned i = 0; i < LENGTH_OF(prefixes); i++)
        assert_int_equal(page_of(&p, S(PACK), str_c(prefixes[i]), &e), ERR_CONFIG);
    assert_null(p);
}

static void the_embedded_page_can_be_read(void **state)
{
    struct page *p = NULL;
    err e;
    (void)state;
    assert_int_equal(page_new(&p, S("/x"), &e), ERR_NONE);
    page_free(p);
    assert_int_equal(page_of(&p, S("catalyst-page 1\n\n"), S(""), &e), ERR_NONE);
    assert_false(page_is_there(p));
    page_free(p);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_browser_gets_the_page_under_a_strict_policy),
        T(each_answer_has_a_nonce_of_its_own),
        cmocka_unit_test_setup_teardown(paths_below_a_prefix_are_written_with_it, set_up_prefixed, tear_down),
        T(a_program_gets_a_line_of_text),
        T(what_is_not_there_is_404_in_the_shape_that_was_asked_for),
        T(assets_come_in_the_best_coding_that_is_accepted),
        T(a_known_tag_costs_no_bytes),
        cmocka_unit_test(a_damaged_pack_and_a_wrong_prefix_are_refused),
        cmocka_unit_test(the_embedded_page_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
