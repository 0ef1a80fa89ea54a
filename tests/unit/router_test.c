/* Routing on a real server: known and unknown paths, methods, prefixes, rests, refusals in each table's own shape;
 * and the routes that every server has. */
#include "loopback.h"

#include <stdatomic.h>

#include "core/ops.h"

struct state {
    struct bench *b;
    struct server_shared shared;
    struct server server;
    struct router router;
    struct ops ops;
    _Atomic bool is_ready, is_draining;
    bool is_cut_off;
    const char *obstacle; /* why calls cannot be served, NULL when they can */
    uint16_t port;
    struct wire *w;
    unsigned n_idle;
    err e;
};

static int services[2]; /* stand for what tables are mounted with */

static enum errc admit(void *service, struct http_conn *c, const struct http_head *h, err *e)
{
    assert_ptr_equal(service, &services[0]);
    c->principal = http_field(h, S("x-name"));
    return c->principal ? ERR_NONE : err_set(e, ERR_UNAUTHENTICATED, "say your name");
}

static void handle(void *service, struct http_conn *c, const struct route *route,
                   const struct http_request *r)
{
    char text[200];
    str rest = str_ends(route->path, S(":rest")) ? route_rest(route, r->head->path) : S("-");
    int n = snprintf(text, sizeof text, "service=%d tag=%d rest=%.*s body=%.*s",
                     (int)((int *)service - services), route->tag, STR(rest), STR(r->body));
    http_reply(c, 200, S("text/plain"), S(""), str_of(text, (size_t)n));
}

static void refuse(void *service, struct http_conn *c, const struct route *route, const struct http_head *h,
                   const err *e)
{
    char text[400];
    assert_ptr_equal(service, &services[0]);
    int n = snprintf(text, sizeof text, "own shape: route=%d head=%d %s", route ? route->tag : 0, h != NULL,
                     e->msg);
    http_reply(c, errc_http_status(e->code), S("text/plain"), S(""), str_of(text, (size_t)n));
}

static const struct route v1_routes[] = {
    {HTTP_POST, STR_LIT("/v1/things"), ROUTE_GATEWAY_BODY, 1, NULL, handle},
    {HTTP_GET, STR_LIT("/v1/things/:rest"), ROUTE_NO_BODY, 2, NULL, handle},
    {HTTP_DELETE, STR_LIT("/v1/secret"), ROUTE_NO_BODY, 3, admit, handle},
    {HTTP_PUT, STR_LIT("/v1/put"), ROUTE_API_BODY, 4, NULL, handle},
    {HTTP_PATCH, STR_LIT("/v1/patch"), ROUTE_API_BODY, 5, NULL, handle},
};
static const struct route_table v1 = {STR_LIT("/v1"), v1_routes, LENGTH_OF(v1_routes), refuse};
static const struct route inner_routes[] = {
    {HTTP_GET, STR_LIT("/v1/inner/x"), ROUTE_NO_BODY, 6, NULL, handle},
};
static const struct route rest_routes[] = {
    {HTTP_GET, STR_LIT("/:rest"), ROUTE_NO_BODY, 7, NULL, handle},
};
static const struct route_table rest = {STR_LIT(""), rest_routes, LENGTH_OF(rest_routes), NULL};
static const struct route_table inner = {STR_LIT("/v1/inner"), inner_routes, LENGTH_OF(inner_routes), NULL};

static bool is_cut_off(void *ctx) { return ((struct state *)ctx)->is_cut_off; }

static bool can_serve(void *ctx, const char **reason)
{
    const struct state *s = ctx;
    if (s->obstacle) *reason = s->obstacle;
    return s->obstacle == NULL;
}

static void on_idle(struct server *server)
{
    struct state *s = (struct state *)((char *)server - offsetof(struct state, server));
    s->n_idle++;
}

static int set_up(void **state)
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
                                              .connections = 10,
                                              .connections_per_address = 10};
    s->ops = (struct ops){.trusts_loopback = true,
                          .is_ready = &s->is_ready,
                          .is_draining = &s->is_draining,
                          .can_serve = can_serve,
                          .ctx = s,
                          .is_cut_off = is_cut_off,
                          .cut_off_ctx = s};
    router_init(&s->router, 10, 20);
    router_mount(&s->router, &ops_routes, &s->ops);
    router_mount(&s->router, &v1, &services[0]);
    router_mount(&s->router, &inner, &services[1]);
    assert_int_equal(server_bind(&s->shared, S("127.0.0.1"), 0, &s->e), ERR_NONE);
    assert_int_equal(server_start(&s->server, &s->b->loop, &s->shared, &handler, &s->router, &s->e),
                     ERR_NONE);
    s->port = ntohs(((const struct sockaddr_in *)&s->shared.address)->sin_port);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    server_stop(&s->server, on_idle);
    server_abort(&s->server);
    WAIT(s->b, s->n_idle == 1);
    bench_free(s->b);
    server_fini(&s->server);
    server_shared_fini(&s->shared);
    stats_fini();
    free(s);
    return 0;
}

/* Sends "METHOD TARGET" with more fields and a body, and waits for the whole answer. */
static void ask(struct state *s, const char *line, const char *fields, const char *body)
{
    char request[400];
    int n = snprintf(request, sizeof request,
                     "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s", line,
                     fields, strlen(body), body);
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

static void a_path_and_its_method_find_their_handler_and_its_service(void **state)
{
    struct state *s = *state;
    ask(s, "POST /v1/things", "", "hello");
    assert_answer(s, "200", "service=0 tag=1 rest=- body=hello");
    ask(s, "POST /v1/things?query=1", "", "");
    assert_answer(s, "200", "tag=1");
    ask(s, "PUT /v1/put", "", "1");
    assert_answer(s, "200", "tag=4");
    ask(s, "PATCH /v1/patch", "", "1");
    assert_answer(s, "200", "tag=5");
}

static void a_rest_is_anything_that_is_not_empty(void **state)
{
    struct state *s = *state;
    ask(s, "GET /v1/things/a", "", "");
    assert_answer(s, "200", "tag=2 rest=a body=");
    ask(s, "GET /v1/things/a/b%20c", "", "");
    assert_answer(s, "200", "rest=a/b%20c body=");
    ask(s, "GET /v1/things/", "", "");
    assert_answer(s, "404", "own shape: route=0 head=1 there is nothing at /v1/things/");
}

static void an_unknown_path_is_refused_by_the_table_above_it(void **state)
{
    struct state *s = *state;
    ask(s, "GET /v1/none", "", "");
    assert_answer(s, "404", "own shape: route=0 head=1 there is nothing at /v1/none");
    ask(s, "GET /v1", "", "");
    assert_answer(s, "404", "own shape");
    ask(s, "GET /v1x", "", "");
    assert_answer(s, "404", "Content-Type: application/problem+json\r\nX-Request-Id: ");
    assert_true(wire_has(s->w,
                         "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
                         "\"detail\":\"there is nothing at /v1x\",\"code\":\"not_found\",\"request_id\":\""));
    ask(s, "GET /v1/inner/y", "", "");
    assert_answer(s, "404", "application/problem+json");
    ask(s, "GET /v1/inner/x", "", "");
    assert_answer(s, "200", "service=1 tag=6");
}

static void a_wrong_method_is_told_the_right_one(void **state)
{
    static const struct {
        const char *line, *allow;
    } cases[] = {{"GET /v1/things", "Allow: POST\r\n"},   {"POST /v1/things/a", "Allow: GET, HEAD\r\n"},
                 {"GET /v1/secret", "Allow: DELETE\r\n"}, {"POST /v1/put", "Allow: PUT\r\n"},
                 {"BREW /v1/patch", "Allow: PATCH\r\n"},  {"DELETE /healthz", "Allow: GET, HEAD\r\n"}};
    struct state *s = *state;
    for (unsigned i = 0; i < LENGTH_OF(cases); i++) {
        ask(s, cases[i].line, "", "");
        assert_answer(s, "405", cases[i].allow);
        assert_true(wire_has(s->w, "is not allowed on /"));
    }
}

static void a_last_resort_takes_what_nobody_else_has(void **state)
{
    struct state *s = *state;
    router_mount(&s->router, &rest, &services[1]);
    ask(s, "GET /nobody/has/this", "", "");
    assert_answer(s, "200", "service=1 tag=7 rest=nobody/has/this");
    ask(s, "HEAD /v1x", "", "");
    assert_answer(s, "200", "");
    ask(s, "GET /healthz", "", "");
    assert_answer(s, "200", "\"status\"");
    ask(s, "GET /v1/none", "", "");
    assert_answer(s, "404", "own shape: route=0");
    ask(s, "GET /v1/inner/y", "", "");
    assert_answer(s, "404", "application/problem+json");
    ask(s, "POST /nobody", "", "");
    assert_answer(s, "404", "there is nothing at /nobody");
    ask(s, "DELETE /healthz", "", "");
    assert_answer(s, "405", "Allow: GET, HEAD\r\n");
}

static void head_is_served_where_get_is(void **state)
{
    struct state *s = *state;
    ask(s, "HEAD /v1/things/a", "", "");
    assert_answer(s, "200", "Content-Length: 28\r\n");
    assert_true(str_ends(buf_str(&s->w->in), S("\r\n\r\n")));
    ask(s, "HEAD /healthz", "", "");
    assert_answer(s, "200", "\r\n\r\n");
}

static void admission_is_decided_before_the_body(void **state)
{
    struct state *s = *state;
    ask(s, "DELETE /v1/secret", "", "");
    assert_answer(s, "401", "own shape: route=3 head=1 say your name");
    ask(s, "DELETE /v1/secret", "X-Name: me\r\n", "");
    assert_answer(s, "200", "tag=3");
    s->w = wire_connect(s->b, s->port);
    wire_send(s->w, S("DELETE /v1/secret HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"));
    WAIT(s->b, wire_ended(s->w));
    assert_answer(s, "401", "say your name");
}

static void each_kind_of_body_has_its_own_limit(void **state)
{
    struct state *s = *state;
    ask(s, "POST /v1/things", "", "01234567890123456789");
    assert_answer(s, "200", "body=01234567890123456789");
    ask(s, "POST /v1/things", "", "012345678901234567890");
    assert_answer(s, "413",
                  "own shape: route=1 head=1 the request body of 21 bytes is larger than the limit of 20");
    ask(s, "PUT /v1/put", "", "01234567890");
    assert_answer(s, "413", "limit of 10 bytes");
    ask(s, "GET /healthz", "", "x");
    assert_answer(s, "413", "application/problem+json");
    s->w = wire_connect(s->b, s->port);
    wire_send(s->w, S("POST /v1/things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n"));
    WAIT(s->b, wire_ended(s->w));
    assert_answer(s, "413", "own shape: route=1 head=0");
}

static void what_is_not_even_a_request_is_a_problem(void **state)
{
    struct state *s = *state;
    s->w = wire_connect(s->b, s->port);
    wire_send(s->w, S("nonsense\r\n\r\n"));
    WAIT(s->b, wire_ended(s->w));
    assert_answer(s, "400", "application/problem+json");
}

static void health_and_readiness_are_told_apart(void **state)
{
    struct state *s = *state;
    ask(s, "GET /healthz", "", "");
    assert_answer(s, "200", "{\"status\":\"ok\"}");
    ask(s, "GET /readyz", "", "");
    assert_answer(s, "503", "{\"status\":\"starting\"}");
    s->is_ready = true;
    ask(s, "GET /readyz", "", "");
    assert_answer(s, "200", "{\"status\":\"ready\"}");
    ask(s, "GET /readyz?for=api", "", "");
    assert_answer(s, "200", "{\"status\":\"ready\"}");
    s->is_cut_off = true; /* calls go on */
    ask(s, "GET /readyz", "", "");
    assert_answer(s, "200", "{\"status\":\"ready\",\"degraded\":\"database_unavailable\"}");
    ask(s, "GET /readyz?x&for=api", "", "");
    assert_answer(s, "503", "{\"status\":\"database_unavailable\"}");
    s->is_cut_off = false;
    s->obstacle = "disk_full";
    ask(s, "GET /readyz", "", "");
    assert_answer(s, "503", "{\"status\":\"disk_full\"}");
    s->is_ready = false;
    s->is_draining = true;
    ask(s, "GET /readyz", "", "");
    assert_answer(s, "503", "{\"status\":\"draining\"}");
}

static void metrics_are_open_to_the_trusted_loopback_and_to_the_token(void **state)
{
    struct state *s = *state;
    ask(s, "GET /metrics", "", "");
    assert_answer(s, "200", "# TYPE catalyst_connections_open gauge\ncatalyst_connections_open ");
    assert_true(wire_has(s->w, "Content-Type: text/plain; version=0.0.4"));
    s->ops.trusts_loopback = false;
    ask(s, "GET /metrics", "", "");
    assert_answer(s, "401", "metrics.token");
    ask(s, "GET /metrics", "Authorization: Bearer \r\n", "");
    assert_answer(s, "401", "metrics.token");
    s->ops.metrics_token = S("sesame");
    ask(s, "GET /metrics", "Authorization: Bearer sesam\r\n", "");
    assert_answer(s, "401", "metrics.token");
    ask(s, "GET /metrics", "Authorization: bearer sesame\r\n", "");
    assert_answer(s, "200", "\ncatalyst_connections_open ");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_path_and_its_method_find_their_handler_and_its_service),
        T(a_rest_is_anything_that_is_not_empty),
        T(an_unknown_path_is_refused_by_the_table_above_it),
        T(a_wrong_method_is_told_the_right_one),
        T(a_last_resort_takes_what_nobody_else_has),
        T(head_is_served_where_get_is),
        T(admission_is_decided_before_the_body),
        T(each_kind_of_body_has_its_own_limit),
        T(what_is_not_even_a_request_is_a_problem),
        T(health_and_readiness_are_told_apart),
        T(metrics_are_open_to_the_trusted_loopback_and_to_the_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
