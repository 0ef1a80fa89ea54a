/* The server on a real loop, against raw clients that are clumsy, slow or gone, and against our own client. */
#include "loopback.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "net/client.h"
#include "net/server.h"

#define BODY_MAX (1u << 20)

struct state {
    struct bench *b;
    struct server_shared shared;
    struct server server;
    uint16_t port;
    /* what the handler saw and is to do */
    struct http_conn *waiting; /* a request on /later that the test answers */
    unsigned n_requests, n_gone, n_drained, n_stopped, n_idle;
    struct buf taken;
    err refused;
    size_t large; /* bytes that /large answers with */
    err e;
};

static struct state *state_of(void *server_ctx) { return server_ctx; }

static enum errc on_head(void *ctx, struct http_conn *c, const struct http_head *h, size_t *body_max, err *e)
{
    (void)ctx;
    (void)c;
    *body_max = BODY_MAX;
    return str_eq(h->path, S("/forbidden")) ? err_set(e, ERR_FORBIDDEN, "not for you") : ERR_NONE;
}

static void on_gone(void *user) { ((struct state *)user)->n_gone++; }
static void on_drained(void *user) { ((struct state *)user)->n_drained++; }

static void on_stop(void *user)
{
    struct state *s = user;
    s->n_stopped++;
    http_reply(s->waiting, 503, S("text/plain"), S(""), S("stopping"));
}

static void large_answer(struct state *s, struct http_conn *c)
{
    char head[96];
    char *bytes = malloc(s->large);
    int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", s->large);
    memset(bytes, 'L', s->large);
    c->user = s;
    c->on_gone = on_gone;
    c->on_drained = on_drained;
    http_send(c, (str[]){str_of(head, (size_t)n), str_of(bytes, s->large)}, 2);
    free(bytes);
}

static void on_request(void *ctx, struct http_conn *c, const struct http_request *r)
{
    struct state *s = state_of(ctx);
    s->n_requests++;
    if (str_eq(r->head->path, S("/echo"))) {
        http_reply(c, 200, S("text/plain"), S("X-Extra: yes\r\n"), r->body);
    } else if (str_eq(r->head->path, S("/take"))) {
        buf_fini(&s->taken);
        assert_true(http_take_body(c, r, &s->taken));
        http_reply(c, 204, S(""), S(""), S(""));
    } else if (str_eq(r->head->path, S("/chunked"))) {
        http_send(c, (str[]){S("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), S("3\r\none\r\n")},
                  2);
        http_send(c, (str[]){S(""), S("3\r\ntwo\r\n"), S("0\r\n\r\n"), S("")}, 4);
        http_finish(c, true);
    } else if (str_eq(r->head->path, S("/close"))) {
        http_send(c, (str[]){S("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"), S("until the end")}, 2);
        http_finish(c, false);
    } else if (str_eq(r->head->path, S("/hold"))) {
        http_send(c, (str[]){S("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")}, 1);
        http_hold(c, (str[]){S("two")}, 1);
        http_finish(c, true);
        s->waiting = c;
    } else if (str_eq(r->head->path, S("/large"))) {
        large_answer(s, c);
        s->waiting = c;
    } else {
        s->waiting = c;
        c->user = s;
        c->on_gone = on_gone;
        c->on_stop = on_stop;
    }
}

static void on_error(void *ctx, struct http_conn *c, const struct http_head *h, const err *e)
{
    struct state *s = state_of(ctx);
    (void)h;
    s->refused = *e;
    http_reply(c, errc_http_status(e->code), S("text/plain"), S(""), str_c(e->msg));
}

static void on_idle(struct server *server) { state_of(server->ctx)->n_idle++; }

/* Listens with what the test has set in s->shared. */
static void serve(struct state *s)
{
    struct http_handler handler = {on_head, on_request, on_error};
    assert_int_equal(server_bind(&s->shared, S("127.0.0.1"), 0, &s->e), ERR_NONE);
    assert_int_equal(server_start(&s->server, &s->b->loop, &s->shared, &handler, s, &s->e), ERR_NONE);
    s->port = ntohs(((const struct sockaddr_in *)&s->shared.address)->sin_port);
}

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    assert_int_equal(stats_init(2), ERR_NONE);
    s->b = bench_new();
    assert_int_equal(server_shared_init(&s->shared, &s->e), ERR_NONE);
    s->shared.limits = (struct server_limits){
        .http = {.head_bytes = 4096, .headers = 20},
        .head_timeout_ms = BENCH_DEADLINE_MS,
        .idle_timeout_ms = BENCH_DEADLINE_MS,
        .write_timeout_ms = BENCH_DEADLINE_MS,
        .body_grace_ms = BENCH_DEADLINE_MS,
        .body_min_rate = 1024,
        .queue_bytes = 64 << 10,
        .connections = 100,
        .connections_per_address = 100,
    };
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    if (s->server.loop) {
        if (!s->server.is_stopping) server_stop(&s->server, on_idle);
        server_abort(&s->server);
        server_abort(&s->server);
        WAIT(s->b, s->n_idle == 1);
        assert_int_equal(s->shared.n_connections, 0);
        assert_int_equal(s->shared.peers.n, 0);
        assert_int_equal(stats_sum(s->shared.open), 0);
    }
    bench_free(s->b);
    server_fini(&s->server);
    server_shared_fini(&s->shared);
    SSL_CTX_free(s->shared.tls);
    stats_fini();
    buf_fini(&s->taken);
    free(s);
    return 0;
}

static struct wire *ask(struct state *s, str request)
{
    struct wire *w = wire_connect(s->b, s->port);
    wire_send(w, request);
    return w;
}

/* --- requests --- */

static void requests_are_answered_on_one_connection_one_after_the_other(void **state)
{
    struct state *s = *state;
    serve(s);
    struct wire *w = ask(s, S("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, wire_has(w, "\r\n\r\n"));
    assert_true(wire_has(w, "HTTP/1.1 200 OK\r\nDate: "));
    assert_true(wire_has(w, " GMT\r\nContent-Length: 0\r\nContent-Type: text/plain\r\nX-Extra: yes\r\n\r\n"));
    buf_clear(&w->in);
    wire_send(w, S("\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"));
    WAIT(s->b, wire_has(w, "\r\n\r\nhello"));
    buf_clear(&w->in);
    wire_send(w, S("HEAD /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    WAIT(s->b, w->saw_eof);
    assert_true(wire_has(w, "Connection: close\r\n"));
    assert_true(str_ends(buf_str(&w->in), S("\r\n\r\n")));
}

static void http_1_0_closes_unless_it_is_asked_to_stay(void **state)
{
    struct state *s = *state;
    serve(s);
    struct wire *w = ask(s, S("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    WAIT(s->b, wire_has(w, "Connection: keep-alive\r\n"));
    wire_send(w, S("GET /echo HTTP/1.0\r\n\r\n"));
    WAIT(s->b, w->saw_eof);
    assert_int_equal(s->n_requests, 2);
}

static void pipelined_requests_are_answered_in_order_also_when_the_first_takes_long(void **state)
{
    struct state *s = *state;
    serve(s);
    struct wire *w =
        ask(s, S("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"
                 "GET /later HTTP/1.1\r\nHost: x\r\n\r\n"
                 "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n3\r\n0\r\n\r\n"
                 "GET /close HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, s->waiting && wire_has(w, "\r\n\r\n1"));
    wire_send(w, S("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")); /* behind one that closes: never answered */
    bench_turn(s->b);
    assert_int_equal(s->n_requests, 2);
    http_reply(s->waiting, 200, S(""), S(""), S("2"));
    WAIT(s->b, wire_ended(w));
    assert_int_equal(s->n_requests, 4);
    assert_int_equal(wire_count(w, "HTTP/1.1 200 OK"), 4);
    ptrdiff_t two = str_find(buf_str(&w->in), S("\r\n\r\n2")),
              three = str_find(buf_str(&w->in), S("\r\n\r\n3"));
    assert_true(two > 0 && three > two);
    assert_true(str_ends(buf_str(&w->in), S("until the end")));
}

static void a_body_is_the_same_however_it_arrives(void **state)
{
    static const str requests[] = {
        STR_LIT("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nsome body"),
        STR_LIT("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n5\r\n "
                "body\r\n0\r\n\r\n")};
    struct state *s = *state;
    serve(s);
    struct wire *w = wire_connect(s->b, s->port);
    for (unsigned i = 0; i < LENGTH_OF(requests); i++)
        for (size_t cut = 1; cut < requests[i].len; cut++) {
            buf_clear(&w->in);
            wire_send(w, str_take(requests[i], cut));
            bench_turn(s->b);
            wire_send(w, str_skip(requests[i], cut));
            WAIT(s->b, wire_has(w, "\r\n\r\nsome body"));
        }
}

static void a_large_body_is_collected_and_can_be_kept(void **state)
{
    enum { LEN = 900000 };
    struct state *s = *state;
    serve(s);
    char *body = malloc(LEN);
    for (unsigned i = 0; i < LEN; i++)
        body[i] = (char)(i * 7 >> 2);
    for (unsigned pieces = 1; pieces <= 3; pieces += 2) {
        struct wire *w = ask(s, S("POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n"));
        for (unsigned i = 0; i < pieces; i++) {
            wire_send(w, str_of(body + i * (LEN / pieces), LEN / pieces));
            bench_turn(s->b);
        }
        WAIT(s->b, wire_has(w, "HTTP/1.1 204 No Content\r\n"));
        assert_int_equal(s->taken.len, LEN);
        assert_memory_equal(s->taken.p, body, LEN);
        assert_false(wire_has(w, "Content-Length"));
    }
    free(body);
    struct wire *w = ask(s, S("POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nsmall"));
    WAIT(s->b, wire_has(w, "204"));
    assert_int_equal(s->taken.len, 5);
}

static str gzipped(char *out, size_t room, const char *text, size_t len)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (unsigned)len;
    z.next_out = (Bytef *)out;
    z.avail_out = (unsigned)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return str_of(out, z.total_out);
}

static void post_gzip(struct wire *w, str body)
{
    char head[128];
    int n = snprintf(
        head, sizeof head,
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", body.len);
    wire_send(w, str_of(head, (size_t)n));
    wire_send(w, body);
}

static void a_compressed_body_is_handed_over_decompressed_and_a_bomb_is_not(void **state)
{
    struct state *s = *state;
    char small[64], *zeros = calloc(1, 2 * BODY_MAX), bomb[8192];
    serve(s);
    struct wire *w = wire_connect(s->b, s->port);
    str body = gzipped(small, sizeof small, "compressed", 10);
    post_gzip(w, body);
    post_gzip(w, body); /* pipelined: waits for the other thread to end with the first */
    WAIT(s->b, wire_count(w, "\r\n\r\ncompressed") == 2);
    buf_clear(&w->in);
    post_gzip(w, gzipped(bomb, sizeof bomb, zeros, 2 * BODY_MAX));
    WAIT(s->b, wire_ended(w));
    assert_true(wire_has(w, "HTTP/1.1 413 "));
    free(zeros);
    w = wire_connect(s->b, s->port);
    post_gzip(w, S("this is not gzip"));
    WAIT(s->b, wire_ended(w));
    assert_true(wire_has(w, "HTTP/1.1 400 "));
    w = wire_connect(s->b, s->port);
    post_gzip(w, body);
    wire_reset(w); /* gone while it is decompressed, or before */
    bench_turn(s->b);
}

static void a_client_that_waits_for_100_is_told_to_go_on(void **state)
{
    struct state *s = *state;
    serve(s);
    struct wire *w =
        ask(s, S("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
    WAIT(s->b, str_eq(buf_str(&w->in), S("HTTP/1.1 100 Continue\r\n\r\n")));
    wire_send(w, S("ok"));
    WAIT(s->b, wire_has(w, "\r\n\r\nok"));
    buf_clear(&w->in);
    wire_send(w,
              S("POST /forbidden HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
    WAIT(s->b, wire_ended(w));
    assert_true(wire_has(w, "HTTP/1.1 403 "));
    assert_false(wire_has(w, "100 Continue"));
}

static void what_is_refused_is_answered_and_the_connection_closed(void **state)
{
    static const struct {
        const char *request;
        const char *status;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
        {"GET / HTTP/1.1\nHost: x\n\n", "400"},
        {"GET / HTTP/3.0\r\nHost: x\r\n\r\n", "505"},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "501"},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Encoding: br\r\n\r\n", "415"},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n", "413"},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n", "413"},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: the unexpected\r\n\r\n", "417"},
        {"POST /forbidden HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", "403"},
    };
    struct state *s = *state;
    serve(s);
    for (unsigned i = 0; i < LENGTH_OF(cases); i++) {
        char wanted[32];
        struct wire *w = ask(s, str_c(cases[i].request));
        snprintf(wanted, sizeof wanted, "HTTP/1.1 %s ", cases[i].status);
        WAIT(s->b, wire_ended(w));
        if (!wire_has(w, wanted)) fail_msg("case %u: %.*s", i, STR(buf_str(&w->in)));
        assert_int_equal(wire_count(w, "Connection: close\r\n"), 1);
        wire_close(w);
    }
    assert_int_equal(s->n_requests, 0);
    assert_int_equal(stats_sum(s->shared.malformed), LENGTH_OF(cases));
    struct wire *w = ask(s, S("GET / HTTP/1.1\r\nHost: x\r\nLong: "));
    char filler[4096];
    memset(filler, 'f', sizeof filler);
    wire_send(w, str_of(filler, sizeof filler));
    WAIT(s->b, wire_ended(w));
    assert_true(wire_has(w, "HTTP/1.1 431 "));
}

static void a_refused_client_that_goes_on_sending_still_gets_its_answer(void **state)
{
    struct state *s = *state;
    serve(s);
    struct wire *w = ask(s, S("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"));
    char *body = calloc(1, 9000000);
    wire_send(w, str_of(body, 9000000));
    free(body);
    WAIT(s->b, wire_ended(w));
    assert_true(wire_has(w, "HTTP/1.1 413 "));
    assert_false(w->saw_error);
}

/* --- answers --- */

static void what_is_held_goes_out_only_when_it_is_released(void **state)
{
    struct state *s = *state;
    serve(s);
    struct wire *w = ask(s, S("GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, wire_has(w, "\r\n\r\none"));
    bench_turn(s->b);
    assert_false(wire_has(w, "two"));
    assert_int_equal(s->n_requests, 1);
    http_release(s->waiting);
    http_release(s->waiting);
    WAIT(s->b, wire_has(w, "onetwoHTTP/1.1 200 OK"));
    assert_int_equal(s->n_requests, 2);
}

static void an_aborted_answer_cannot_look_complete(void **state)
{
    struct state *s = *state;
    serve(s);
    struct wire *w = ask(s, S("GET /later HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, s->waiting);
    http_send(s->waiting, (str[]){S("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")}, 1);
    http_abort(s->waiting);
    WAIT(s->b, wire_ended(w));
    assert_false(wire_has(w, "0\r\n\r\n"));
    assert_int_equal(s->n_gone, 0); /* the handler knows: it did it */
}

static void a_slow_reader_congests_and_drains_and_gets_every_byte(void **state)
{
    struct state *s = *state;
    s->large = 64u << 20;
    serve(s);
    struct wire *w = wire_connect(s->b, s->port);
    wire_unread(w);
    wire_send(w, S("GET /large HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, s->waiting);
    assert_true(http_is_congested(s->waiting));
    http_send(s->waiting, (str[]){S("")}, 1);
    bench_turn(s->b);
    assert_int_equal(s->n_drained, 0);
    wire_read(w);
    WAIT(s->b, s->n_drained == 1);
    http_finish(s->waiting, true);
    wire_send(w, S("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, wire_has(w, "LHTTP/1.1 200 OK"));
    assert_true(w->in.len > s->large);
}

static void a_client_that_goes_away_is_told_to_the_handler(void **state)
{
    struct state *s = *state;
    s->large = 64u << 20;
    serve(s);
    struct wire *w = ask(s, S("GET /later HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, s->waiting);
    wire_close(w);
    WAIT(s->b, s->n_gone == 1);
    s->waiting = NULL;
    w = ask(s, S("GET /later HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, s->waiting);
    wire_reset(w);
    WAIT(s->b, s->n_gone == 2);
    s->waiting = NULL;
    w = ask(s, S("GET /large HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, s->waiting);
    wire_reset(w); /* in the middle of its answer */
    WAIT(s->b, s->n_gone == 3);
    WAIT(s->b, s->shared.n_connections == 0);
}

/* --- limits --- */

static void a_head_that_does_not_end_in_time_is_answered_with_408(void **state)
{
    struct state *s = *state;
    s->shared.limits.head_timeout_ms = 100;
    serve(s);
    struct wire *w = ask(s, S("GET / HTTP/1.1\r\nHo"));
    struct wire *silent = wire_connect(s->b, s->port);
    WAIT(s->b, wire_ended(w) && wire_ended(silent));
    assert_true(wire_has(w, "HTTP/1.1 408 "));
    assert_int_equal(silent->in.len, 0);
    assert_int_equal(stats_sum(s->shared.timed_out), 1);
}

static void a_connection_without_requests_is_closed_after_the_idle_time(void **state)
{
    struct state *s = *state;
    s->shared.limits.idle_timeout_ms = 100;
    serve(s);
    struct wire *w = ask(s, S("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, wire_ended(w));
    assert_int_equal(wire_count(w, "HTTP/1.1 "), 1);
    assert_true(wire_has(w, "HTTP/1.1 200 OK"));
}

static void a_body_that_trickles_is_answered_with_408(void **state)
{
    struct state *s = *state;
    s->shared.limits.body_grace_ms = 50;
    serve(s);
    struct wire *w = ask(s, S("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nslow"));
    WAIT(s->b, wire_ended(w));
    assert_true(wire_has(w, "HTTP/1.1 408 "));
    assert_true(wire_has(w, "less than 1024 bytes per second"));
}

static void a_client_that_does_not_read_is_dropped_after_the_write_time(void **state)
{
    struct state *s = *state;
    s->shared.limits.write_timeout_ms = 100;
    s->large = 64u << 20;
    serve(s);
    struct wire *w = wire_connect(s->b, s->port);
    wire_unread(w);
    wire_send(w, S("GET /large HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, s->n_gone == 1);
    assert_int_equal(stats_sum(s->shared.timed_out), 1);
}

static void connections_over_a_limit_are_closed_at_once(void **state)
{
    struct state *s = *state;
    s->shared.limits.connections = 3;
    s->shared.limits.connections_per_address = 2;
    serve(s);
    struct wire *first = wire_connect(s->b, s->port);
    wire_connect(s->b, s->port);
    WAIT(s->b, s->shared.n_connections == 2);
    struct wire *third = wire_connect(s->b, s->port);
    WAIT(s->b, wire_ended(third));
    assert_int_equal(stats_sum(s->shared.refused_address), 1);
    s->shared.limits.connections = 2;
    server_change(&s->server, &s->shared.limits, NULL);
    third = wire_connect(s->b, s->port);
    WAIT(s->b, wire_ended(third));
    assert_int_equal(stats_sum(s->shared.refused_full), 1);
    wire_close(first);
    WAIT(s->b, s->shared.n_connections == 1);
    third = ask(s, S("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, wire_has(third, "200 OK"));
    assert_int_equal(stats_sum(s->shared.accepted), 3);
}

/* --- stopping --- */

static void stopping_closes_idle_connections_and_waits_for_busy_ones(void **state)
{
    struct state *s = *state;
    serve(s);
    struct wire *idle = ask(s, S("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"));
    struct wire *busy = ask(s, S("GET /later HTTP/1.1\r\nHost: x\r\n\r\n"));
    struct wire *begun = ask(s, S("GET /echo HTTP/1.1\r\nHo"));
    WAIT(s->b, s->waiting && wire_has(idle, "200 OK") && s->shared.n_connections == 3);
    bench_turn(s->b);
    server_stop(&s->server, on_idle);
    WAIT(s->b, wire_ended(idle));
    assert_int_equal(s->n_idle, 0);
    http_reply(s->waiting, 200, S(""), S(""), S("done"));
    wire_send(begun, S("st: x\r\n\r\n"));
    WAIT(s->b, wire_ended(busy) && wire_ended(begun));
    assert_true(wire_has(busy, "Connection: close\r\n") && wire_has(busy, "\r\n\r\ndone"));
    assert_true(wire_has(begun, "Connection: close\r\n") && wire_has(begun, "200 OK"));
    wire_close(busy);
    wire_close(begun);
    WAIT(s->b, s->n_idle == 1);
}

static void stopping_an_unused_server_ends_at_once(void **state)
{
    struct state *s = *state;
    serve(s);
    server_stop(&s->server, on_idle);
    assert_int_equal(s->n_idle, 1);
}

static void the_stop_deadline_ends_what_is_busy_and_asking_again_cuts_it(void **state)
{
    struct state *s = *state;
    s->large = 64u << 20;
    serve(s);
    struct wire *later = ask(s, S("GET /later HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, s->waiting);
    struct http_conn *answered_late = s->waiting;
    struct wire *deaf = wire_connect(s->b, s->port);
    wire_unread(deaf);
    wire_send(deaf, S("GET /large HTTP/1.1\r\nHost: x\r\n\r\n"));
    WAIT(s->b, s->waiting != answered_late);
    s->waiting = answered_late;
    server_stop(&s->server, on_idle);
    server_abort(&s->server);
    assert_int_equal(s->n_stopped, 1);
    WAIT(s->b, wire_has(later, "HTTP/1.1 503 ") && wire_has(later, "stopping"));
    server_abort(&s->server);
    WAIT(s->b, s->n_idle == 1);
    assert_int_equal(s->n_gone, 1);
}

/* --- binding --- */

static void only_free_numeric_addresses_are_bound(void **state)
{
    struct state *s = *state;
    struct server_shared other = {0};
    char text[64], wanted[64];
    err e = {0};
    serve(s);
    snprintf(wanted, sizeof wanted, "127.0.0.1:%u", s->port);
    assert_true(str_eq(server_address(&s->shared, text), str_c(wanted)));
    assert_int_equal(server_bind(&other, S("localhost"), s->port, &e), ERR_BUSY);
    assert_non_null(strstr(e.msg, wanted));
    assert_int_equal(server_bind(&other, S("example.com"), 80, &e), ERR_CONFIG);
    assert_non_null(strstr(e.msg, "'example.com' is not an address to listen on"));
    char longer[200];
    memset(longer, '1', sizeof longer);
    assert_int_equal(server_bind(&other, str_of(longer, sizeof longer), 80, &e), ERR_CONFIG);
    assert_int_equal(server_bind(&other, S("*"), 0, &e), ERR_NONE);
    assert_true(str_starts(server_address(&other, text), S("0.0.0.0:")));
    if (server_bind(&other, S("::1"), 0, &e) == ERR_NONE) /* where there is IPv6 */
        assert_true(str_starts(server_address(&other, text), S("[::1]:")));
}

/* --- our client with our server --- */

struct asked {
    struct client_call call;
    int status;
    struct buf body;
    bool is_done;
    err e;
};

static void asked_head(struct client_call *c, const struct http_head *h)
{
    ((struct asked *)c)->status = h->status;
}
static void asked_data(struct client_call *c, str piece) { buf_add(&((struct asked *)c)->body, piece); }
static void asked_read(struct client_call *c) { (void)c; }
static void asked_end(struct client_call *c) { ((struct asked *)c)->is_done = true; }

static void asked_error(struct client_call *c, const err *e)
{
    ((struct asked *)c)->e = *e;
    ((struct asked *)c)->is_done = true;
}

static void call(struct state *s, struct client_pool *p, struct asked *a, str request)
{
    buf_fini(&a->body);
    *a = (struct asked){.call = {.on_head = asked_head,
                                 .on_data = asked_data,
                                 .on_read_done = asked_read,
                                 .on_end = asked_end,
                                 .on_error = asked_error}};
    buf_init(&a->body, WIRE_BYTES_MAX);
    assert_int_equal(client_start(p, &a->call, &request, 1, &a->e), ERR_NONE);
    WAIT(s->b, a->is_done);
}

static struct client_target target_of(const struct state *s, const char *host, SSL_CTX *tls)
{
    return (struct client_target){.host = host,
                                  .port = s->port,
                                  .tls = tls,
                                  .connect_timeout_ms = BENCH_DEADLINE_MS,
                                  .first_byte_timeout_ms = BENCH_DEADLINE_MS,
                                  .stall_timeout_ms = BENCH_DEADLINE_MS,
                                  .total_timeout_ms = BENCH_DEADLINE_MS,
                                  .idle_timeout_ms = BENCH_DEADLINE_MS,
                                  .idle_connections = 4};
}

static void exchange_everything(struct state *s, struct client_pool *p)
{
    struct asked a = {0};
    call(s, p, &a, S("GET /chunked HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_int_equal(a.status, 200);
    assert_true(str_eq(buf_str(&a.body), S("onetwo")));
    call(s, p, &a, S("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"));
    assert_true(a.call.is_reused);
    assert_true(str_eq(buf_str(&a.body), S("hello")));
    /* larger than what the sockets hold and what one record of TLS carries */
    char head[80];
    size_t len = BODY_MAX - 7;
    int n = snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", len);
    char *request = malloc((size_t)n + len);
    memcpy(request, head, (size_t)n);
    for (size_t i = 0; i < len; i++)
        request[(size_t)n + i] = (char)(i * 13 >> 4);
    call(s, p, &a, str_of(request, (size_t)n + len));
    assert_int_equal(a.body.len, len);
    assert_memory_equal(a.body.p, request + n, len);
    free(request);
    call(s, p, &a, S("GET /close HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(a.call.is_reused);
    assert_true(str_eq(buf_str(&a.body), S("until the end")));
    assert_int_equal(p->n_idle, 0);
    buf_fini(&a.body);
}

static void our_client_and_our_server_understand_each_other(void **state)
{
    struct state *s = *state;
    struct client_pool p;
    serve(s);
    struct client_target target = target_of(s, "127.0.0.1", NULL);
    client_pool_init(&p, &s->b->loop, &target);
    exchange_everything(s, &p);
    client_pool_close(&p);
}

/* --- TLS --- */

struct certificate {
    char dir[40], cert[64], key[64], other_key[64];
};

static EVP_PKEY *make_key(const char *file)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *f = fopen(file, "w");
    assert_true(key && f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(f);
    return key;
}

/* Self-signed, for these names; an hour long. */
static void certificate_make(struct certificate *c, const char *names)
{
    snprintf(c->dir, sizeof c->dir, "/tmp/catalyst_server_XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    snprintf(c->cert, sizeof c->cert, "%s/cert.pem", c->dir);
    snprintf(c->key, sizeof c->key, "%s/key.pem", c->dir);
    snprintf(c->other_key, sizeof c->other_key, "%s/other.pem", c->dir);
    EVP_PKEY *key = make_key(c->key);
    EVP_PKEY_free(make_key(c->other_key));
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"test",
                               -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509V3_CTX v3;
    X509V3_set_ctx(&v3, x, x, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &v3, NID_subject_alt_name, names);
    assert_non_null(extension);
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    FILE *f = fopen(c->cert, "w");
    assert_true(f && PEM_write_X509(f, x) == 1);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void certificate_remove(struct certificate *c)
{
    unlink(c->cert);
    unlink(c->key);
    unlink(c->other_key);
    rmdir(c->dir);
}

/* A name that no resolver knows, at the server's address. */
static void pool_at(struct state *s, struct client_pool *p, const struct client_target *target)
{
    client_pool_init(p, &s->b->loop, target);
    uv_ip4_addr("127.0.0.1", s->port, (struct sockaddr_in *)&p->addresses[0]);
    p->n_addresses = 1;
    p->is_numeric = true;
}

static void tls_is_verified_through_the_ca_file_by_name_and_by_address(void **state)
{
    static const struct {
        const char *host;
        bool has_ca;
        const char *fault;
    } cases[] = {{"127.0.0.1", true, NULL},
                 {"gateway.test", true, NULL},
                 {"gateway.test", false, "certificate: "},
                 {"other.test", true, "certificate: hostname mismatch"},
                 {"127.0.0.2", true, "certificate: IP address mismatch"}};
    struct state *s = *state;
    struct certificate c;
    certificate_make(&c, "DNS:gateway.test,IP:127.0.0.1");
    assert_int_equal(tls_server_new(&s->shared.tls, c.cert, c.key, false, &s->e), ERR_NONE);
    serve(s);
    for (unsigned i = 0; i < LENGTH_OF(cases); i++) {
        SSL_CTX *tls = NULL;
        struct client_pool p;
        struct asked a = {0};
        assert_int_equal(tls_client_new(&tls, cases[i].has_ca ? c.cert : NULL, &s->e), ERR_NONE);
        struct client_target target = target_of(s, cases[i].host, tls);
        pool_at(s, &p, &target);
        if (cases[i].fault) {
            call(s, &p, &a, S("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_int_equal(a.e.code, ERR_UNREACHABLE);
            if (!strcasestr(a.e.msg, cases[i].fault)) fail_msg("no '%s' in: %s", cases[i].fault, a.e.msg);
            buf_fini(&a.body);
        } else {
            exchange_everything(s, &p);
        }
        client_pool_close(&p);
        WAIT(s->b, p.all == NULL);
        SSL_CTX_free(tls);
    }
    certificate_remove(&c);
}

static void tls_1_2_is_spoken_only_when_it_is_allowed(void **state)
{
    struct state *s = *state;
    struct certificate c;
    SSL_CTX *tls = NULL, *tls12 = NULL;
    certificate_make(&c, "IP:127.0.0.1");
    assert_int_equal(tls_server_new(&s->shared.tls, c.cert, c.key, false, &s->e), ERR_NONE);
    assert_int_equal(tls_server_new(&tls12, c.cert, c.key, true, &s->e), ERR_NONE);
    serve(s);
    assert_int_equal(tls_client_new(&tls, c.cert, &s->e), ERR_NONE);
    SSL_CTX_set_max_proto_version(tls, TLS1_2_VERSION);
    struct client_target target = target_of(s, "127.0.0.1", tls);
    struct client_pool p;
    struct asked a = {0};
    client_pool_init(&p, &s->b->loop, &target);
    call(s, &p, &a, S("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_int_equal(a.e.code, ERR_UNREACHABLE);
    server_change(&s->server, &s->shared.limits, tls12);
    SSL_CTX_free(tls12);
    exchange_everything(s, &p);
    client_pool_close(&p);
    WAIT(s->b, p.all == NULL);
    SSL_CTX_free(tls);
    buf_fini(&a.body);
    certificate_remove(&c);
}

static void a_plain_request_to_a_tls_port_is_closed_and_a_silent_one_times_out(void **state)
{
    struct state *s = *state;
    struct certificate c;
    certificate_make(&c, "IP:127.0.0.1");
    assert_int_equal(tls_server_new(&s->shared.tls, c.cert, c.key, false, &s->e), ERR_NONE);
    s->shared.limits.head_timeout_ms = 100;
    serve(s);
    struct wire *w = ask(s, S("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"));
    struct wire *silent = wire_connect(s->b, s->port);
    WAIT(s->b, wire_ended(w) && wire_ended(silent));
    assert_false(wire_has(w, "HTTP/1.1"));
    assert_int_equal(s->n_requests, 0);
    certificate_remove(&c);
}

static void tls_files_that_do_not_fit_are_named(void **state)
{
    struct state *s = *state;
    struct certificate c;
    SSL_CTX *tls = NULL;
    certificate_make(&c, "IP:127.0.0.1");
    assert_int_equal(tls_server_new(&tls, "/nonexistent/cert.pem", c.key, false, &s->e), ERR_CONFIG);
    assert_non_null(strstr(s->e.msg, "/nonexistent/cert.pem cannot be used for TLS: "));
    assert_int_equal(tls_server_new(&tls, c.cert, c.other_key, false, &s->e), ERR_CONFIG);
    assert_non_null(strstr(s->e.msg, c.other_key));
    assert_int_equal(tls_server_new(&tls, c.key, c.key, false, &s->e), ERR_CONFIG);
    assert_int_equal(tls_client_new(&tls, "/nonexistent/ca.pem", &s->e), ERR_CONFIG);
    assert_non_null(strstr(s->e.msg, "the CA file /nonexistent/ca.pem cannot be used: "));
    certificate_remove(&c);
}

/* --- threads --- */

struct thread {
    struct loop loop;
    struct server server;
    struct loop_task stop;
};

static void thread_idle(struct server *server) { loop_finish(server->loop); }

static void thread_stop(struct loop_task *task)
{
    struct thread *t = (struct thread *)((char *)task - offsetof(struct thread, stop));
    server_stop(&t->server, thread_idle);
}

static void servers_of_two_threads_share_a_port(void **state)
{
    struct state *s = *state;
    struct thread *threads = calloc(2, sizeof *threads);
    struct http_handler handler = {on_head, on_request, on_error};
    struct state *own = calloc(2, sizeof *own);
    assert_int_equal(server_bind(&s->shared, S("127.0.0.1"), 0, &s->e), ERR_NONE);
    s->port = ntohs(((const struct sockaddr_in *)&s->shared.address)->sin_port);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(loop_init(&threads[i].loop, i, &s->e), ERR_NONE);
        assert_int_equal(
            server_start(&threads[i].server, &threads[i].loop, &s->shared, &handler, &own[i], &s->e),
            ERR_NONE);
        assert_int_equal(loop_start(&threads[i].loop, &s->e), ERR_NONE);
    }
    for (unsigned i = 0; i < 40; i++) {
        struct wire *w = ask(s, S("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        WAIT(s->b, wire_ended(w));
        assert_true(wire_has(w, "200 OK"));
        wire_close(w);
    }
    for (unsigned i = 0; i < 2; i++) {
        threads[i].stop.run = thread_stop;
        loop_post(&threads[i].loop, &threads[i].stop);
    }
    for (unsigned i = 0; i < 2; i++) {
        loop_join(&threads[i].loop);
        loop_fini(&threads[i].loop);
        server_fini(&threads[i].server);
        assert_true(own[i].n_requests > 0);
    }
    assert_int_equal(own[0].n_requests + own[1].n_requests, 40);
    assert_int_equal(stats_sum(s->shared.accepted), 40);
    assert_int_equal(s->shared.n_connections, 0);
    free(own);
    free(threads);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(requests_are_answered_on_one_connection_one_after_the_other),
        T(http_1_0_closes_unless_it_is_asked_to_stay),
        T(pipelined_requests_are_answered_in_order_also_when_the_first_takes_long),
        T(a_body_is_the_same_however_it_arrives),
        T(a_large_body_is_collected_and_can_be_kept),
        T(a_compressed_body_is_handed_over_decompressed_and_a_bomb_is_not),
        T(a_client_that_waits_for_100_is_told_to_go_on),
        T(what_is_refused_is_answered_and_the_connection_closed),
        T(a_refused_client_that_goes_on_sending_still_gets_its_answer),
        T(what_is_held_goes_out_only_when_it_is_released),
        T(an_aborted_answer_cannot_look_complete),
        T(a_slow_reader_congests_and_drains_and_gets_every_byte),
        T(a_client_that_goes_away_is_told_to_the_handler),
        T(a_head_that_does_not_end_in_time_is_answered_with_408),
        T(a_connection_without_requests_is_closed_after_the_idle_time),
        T(a_body_that_trickles_is_answered_with_408),
        T(a_client_that_does_not_read_is_dropped_after_the_write_time),
        T(connections_over_a_limit_are_closed_at_once),
        T(stopping_closes_idle_connections_and_waits_for_busy_ones),
        T(stopping_an_unused_server_ends_at_once),
        T(the_stop_deadline_ends_what_is_busy_and_asking_again_cuts_it),
        T(only_free_numeric_addresses_are_bound),
        T(our_client_and_our_server_understand_each_other),
        T(tls_is_verified_through_the_ca_file_by_name_and_by_address),
        T(tls_1_2_is_spoken_only_when_it_is_allowed),
        T(a_plain_request_to_a_tls_port_is_closed_and_a_silent_one_times_out),
        T(tls_files_that_do_not_fit_are_named),
        T(servers_of_two_threads_share_a_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
