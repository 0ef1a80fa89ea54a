/* The client of providers against a raw peer that answers step by step, well and badly. */
#include "loopback.h"

#include <arpa/inet.h>

#include "net/client.h"

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

/* A call, and what it reported. As the gateway does, it looks at the slices of a read only at the end of it. */
struct asked {
    struct client_call call;
    struct client_pool *pool;
    int status;
    str pieces[4096];
    unsigned n_pieces, n_heads, n_reads, n_ended, n_failed;
    struct buf body;
    bool pauses, cancels_in_head, asks_again;
    err e;
};

static struct asked *asked_of(struct client_call *c) { return (struct asked *)c; }

static void keep(struct asked *a)
{
    for (unsigned i = 0; i < a->n_pieces; i++)
        buf_add(&a->body, a->pieces[i]);
    a->n_pieces = 0;
}

static void on_head(struct client_call *c, const struct http_head *head)
{
    struct asked *a = asked_of(c);
    a->n_heads++;
    a->status = head->status;
    if (a->cancels_in_head) client_cancel(c);
}

static void on_data(struct client_call *c, str piece)
{
    struct asked *a = asked_of(c);
    if (a->n_pieces == LENGTH_OF(a->pieces)) keep(a);
    a->pieces[a->n_pieces++] = piece;
}

static void on_read_done(struct client_call *c)
{
    struct asked *a = asked_of(c);
    a->n_reads++;
    keep(a);
    if (a->pauses) client_pause(c);
}

static void on_error(struct client_call *c, const err *e)
{
    struct asked *a = asked_of(c);
    keep(a);
    a->n_failed++;
    a->e = *e;
}

static void on_end(struct client_call *c)
{
    struct asked *a = asked_of(c);
    keep(a);
    a->n_ended++;
    if (a->asks_again) {
        a->asks_again = false;
        assert_int_equal(client_start(a->pool, c, &S("GET /again HTTP/1.1\r\nHost: x\r\n\r\n"), 1, NULL),
                         ERR_NONE);
    }
}

struct state {
    struct bench *b;
    struct peer *peer;
    struct client_target target;
    struct client_pool pool;
    struct asked *a;
    err e;
};

static void start(struct state *s, str request)
{
    struct asked *a = s->a;
    buf_fini(&a->body);
    memset(a, 0, sizeof *a);
    a->call = (struct client_call){.on_head = on_head,
                                   .on_data = on_data,
                                   .on_read_done = on_read_done,
                                   .on_end = on_end,
                                   .on_error = on_error};
    a->pool = &s->pool;
    buf_init(&a->body, WIRE_BYTES_MAX);
    assert_int_equal(client_start(&s->pool, &a->call, &request, 1, &s->e), ERR_NONE);
}

/* A call that is refused before anything is connected. */
static void start_refused(struct state *s, const char *words)
{
    str request = S("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(client_start(&s->pool, &s->a->call, &request, 1, &s->e), ERR_UNREACHABLE);
    if (!strstr(s->e.msg, words)) fail_msg("no '%s' in: %s", words, s->e.msg);
}

static void get(struct state *s) { start(s, S("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); }

/* Starts a call and gives the connection that its request has arrived on. */
static struct wire *get_on(struct state *s, unsigned connection)
{
    get(s);
    WAIT(s->b, s->peer->n > connection && wire_has(s->peer->wires[connection], "\r\n\r\n"));
    struct wire *w = s->peer->wires[connection];
    buf_clear(&w->in);
    return w;
}

static void assert_body(struct state *s, const char *wanted)
{
    assert_int_equal(s->a->body.len, strlen(wanted));
    assert_memory_equal(s->a->body.p, wanted, strlen(wanted));
}

static void wait_for_end(struct state *s)
{
    WAIT(s->b, s->a->n_ended || s->a->n_failed);
    if (s->a->n_failed) fail_msg("it failed: %s", s->a->e.msg);
    assert_null(s->a->call.conn);
}

static void wait_for_failure(struct state *s, enum errc code, const char *words)
{
    WAIT(s->b, s->a->n_ended || s->a->n_failed);
    assert_int_equal(s->a->n_ended, 0);
    assert_int_equal(s->a->e.code, code);
    if (!strstr(s->a->e.msg, words)) fail_msg("no '%s' in: %s", words, s->a->e.msg);
    assert_null(s->a->call.conn);
}

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    s->b = bench_new();
    s->peer = peer_new(s->b);
    s->a = calloc(1, sizeof *s->a);
    s->target = (struct client_target){
        .host = "127.0.0.1",
        .port = s->peer->port,
        .connect_timeout_ms = BENCH_DEADLINE_MS,
        .first_byte_timeout_ms = BENCH_DEADLINE_MS,
        .stall_timeout_ms = BENCH_DEADLINE_MS,
        .total_timeout_ms = BENCH_DEADLINE_MS,
        .idle_timeout_ms = BENCH_DEADLINE_MS,
        .idle_connections = 2,
    };
    client_pool_init(&s->pool, &s->b->loop, &s->target);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    client_cancel(&s->a->call);
    client_pool_close(&s->pool);
    bench_free(s->b);
    assert_null(s->pool.all);
    buf_fini(&s->a->body);
    free(s->a);
    free(s);
    return 0;
}

/* --- answers --- */

static void an_answer_with_a_length_ends_with_it_and_its_connection_is_used_again(void **state)
{
    struct state *s = *state;
    struct wire *w = get_on(s, 0);
    assert_false(s->a->call.is_reused);
    assert_true(s->a->call.sent_mono_us > 0);
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"));
    WAIT(s->b, s->a->n_reads == 1);
    wire_send(w, S("llo"));
    wait_for_end(s);
    assert_body(s, "hello");
    assert_int_equal(s->pool.n_idle, 1);
    get_on(s, 0);
    assert_true(s->a->call.is_reused);
    assert_int_equal(s->a->call.connect_us, 0);
    wire_send(w, S("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
    wait_for_end(s);
    assert_int_equal(s->a->status, 404);
    assert_body(s, "");
    assert_int_equal(s->peer->n, 1);
}

static void a_chunked_answer_comes_without_its_framing(void **state)
{
    struct state *s = *state;
    struct wire *w = get_on(s, 0);
    wire_send(w, S(CHUNKED "3\r\nabc\r\n5;x=y\r\nde"));
    WAIT(s->b, s->a->n_reads == 1);
    assert_body(s, "abcde");
    wire_send(w, S("fgh\r\n0\r\nTrailer: x\r\n\r\n"));
    wait_for_end(s);
    assert_body(s, "abcdefgh");
    assert_int_equal(s->pool.n_idle, 1);
}

static void an_answer_without_a_length_ends_with_its_connection(void **state)
{
    struct state *s = *state;
    struct wire *w = get_on(s, 0);
    wire_send(w, S("HTTP/1.1 200 OK\r\n\r\nuntil the end"));
    WAIT(s->b, s->a->n_reads == 1);
    wire_close(w);
    wait_for_end(s);
    assert_body(s, "until the end");
    assert_int_equal(s->pool.n_idle, 0);
}

static void answers_without_a_body_end_with_their_head(void **state)
{
    static const str heads[] = {
        STR_LIT("HTTP/1.1 204 No Content\r\n\r\n"),
        STR_LIT("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
        STR_LIT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")};
    struct state *s = *state;
    for (unsigned i = 0; i < LENGTH_OF(heads); i++) {
        struct wire *w = get_on(s, 0);
        wire_send(w, heads[i]);
        wait_for_end(s);
        assert_int_equal(s->a->n_heads, 1);
        assert_body(s, "");
        assert_int_equal(s->pool.n_idle, 1);
    }
}

static void a_head_request_has_no_body_whatever_its_length_says(void **state)
{
    struct state *s = *state;
    start(s, S("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"));
    s->a->call.is_head_request = true;
    WAIT(s->b, s->peer->n == 1);
    wire_send(s->peer->wires[0], S("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"));
    wait_for_end(s);
    assert_int_equal(s->pool.n_idle, 1);
}

static void an_answer_that_comes_byte_by_byte_is_the_same_answer(void **state)
{
    static const str answers[] = {STR_LIT("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef"),
                                  STR_LIT(CHUNKED "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")};
    struct state *s = *state;
    for (unsigned i = 0; i < LENGTH_OF(answers); i++) {
        struct wire *w = get_on(s, 0);
        for (size_t at = 0; at < answers[i].len; at++) {
            wire_send(w, str_of(answers[i].p + at, 1));
            bench_turn(s->b);
        }
        wait_for_end(s);
        assert_body(s, "abcdef");
    }
}

static void an_answer_that_comes_in_two_reads_is_the_same_answer_wherever_it_is_cut(void **state)
{
    static const str answer =
        STR_LIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");
    struct state *s = *state;
    for (size_t cut = 1; cut < answer.len; cut++) {
        struct wire *w = get_on(s, 0);
        wire_send(w, str_take(answer, cut));
        bench_turn(s->b);
        wire_send(w, str_skip(answer, cut));
        wait_for_end(s);
        assert_body(s, "abcdef");
    }
}

static void an_early_answer_is_heard_before_the_request_is_all_sent(void **state)
{
    struct state *s = *state;
    size_t len = 64u << 20;
    char *large = calloc(1, len);
    memcpy(large, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n", 53);
    s->peer->is_deaf = true;
    start(s, str_of(large, len));
    free(large);
    WAIT(s->b, s->peer->n == 1);
    wire_send(s->peer->wires[0], S("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"));
    wait_for_end(s);
    assert_int_equal(s->a->status, 413);
    assert_body(s, "big");
    assert_int_equal(s->a->call.sent_mono_us, 0);
    assert_int_equal(s->pool.n_idle, 0); /* half a request stands in it */
}

static void a_large_request_is_written_as_the_peer_reads(void **state)
{
    struct state *s = *state;
    size_t len = 16u << 20;
    char *large = malloc(len);
    for (size_t i = 0; i < len; i++)
        large[i] = (char)(i * 31 >> 3);
    start(s, str_of(large, len));
    WAIT(s->b, s->peer->n == 1 && s->peer->wires[0]->in.len == len);
    assert_memory_equal(s->peer->wires[0]->in.p, large, len);
    free(large);
    wire_send(s->peer->wires[0], S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    wait_for_end(s);
    assert_true(s->a->call.sent_mono_us > 0);
    assert_int_equal(s->pool.n_idle, 1);
    /* once more over the kept connection: what the socket does not take waits too */
    buf_clear(&s->peer->wires[0]->in);
    large = calloc(1, len);
    start(s, str_of(large, len));
    free(large);
    assert_true(s->a->call.is_reused);
    WAIT(s->b, s->peer->wires[0]->in.len == len);
    wire_send(s->peer->wires[0], S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    wait_for_end(s);
}

/* --- bad answers --- */

static void what_is_not_http_fails_the_call(void **state)
{
    static const str wrong[] = {
        STR_LIT("SSH-2.0-OpenSSH\r\n\r\n"), STR_LIT("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
        STR_LIT("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        STR_LIT(CHUNKED "zz\r\n"), STR_LIT("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")};
    struct state *s = *state;
    for (unsigned i = 0; i < LENGTH_OF(wrong); i++) {
        struct wire *w = get_on(s, i);
        wire_send(w, wrong[i]);
        wait_for_failure(s, ERR_UPSTREAM, "127.0.0.1");
        WAIT(s->b, w->saw_eof || w->saw_error);
    }
    assert_int_equal(s->pool.n_idle, 0);
}

static void a_head_over_64_kib_fails_the_call(void **state)
{
    struct state *s = *state;
    struct wire *w = get_on(s, 0);
    wire_send(w, S("HTTP/1.1 200 OK\r\nX: "));
    char a[8192];
    memset(a, 'a', sizeof a);
    for (unsigned i = 0; i < 9; i++)
        wire_send(w, str_of(a, sizeof a));
    wait_for_failure(s, ERR_UPSTREAM, "not HTTP/1.1");
}

static void a_connection_that_ends_too_early_fails_the_call(void **state)
{
    static const struct {
        str sent;
        const char *words;
    } cases[] = {{STR_LIT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"), "in the middle of its answer"},
                 {STR_LIT(CHUNKED "5\r\nhe"), "in the middle of its answer"},
                 {STR_LIT("HTTP/1.1 200"), "without an answer"},
                 {STR_LIT("\r\n"), "without an answer"}};
    struct state *s = *state;
    for (unsigned i = 0; i < LENGTH_OF(cases); i++) {
        struct wire *w = get_on(s, i);
        wire_send(w, cases[i].sent);
        wire_close(w);
        wait_for_failure(s, ERR_UPSTREAM, cases[i].words);
    }
}

static void a_reset_ends_even_an_answer_without_a_length_as_a_failure(void **state)
{
    struct state *s = *state;
    struct wire *w = get_on(s, 0);
    wire_send(w, S("HTTP/1.1 200 OK\r\n\r\nhalf"));
    WAIT(s->b, s->a->n_reads == 1);
    wire_reset(w);
    wait_for_failure(s, ERR_UPSTREAM, "in the middle of its answer");
    assert_body(s, "half");
}

static void bytes_after_the_answer_cost_the_connection_its_place(void **state)
{
    struct state *s = *state;
    struct wire *w = get_on(s, 0);
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, and more"));
    wait_for_end(s);
    assert_body(s, "ok");
    assert_int_equal(s->pool.n_idle, 0);
    w = get_on(s, 1);
    wire_send(w, S("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"));
    wait_for_end(s);
    assert_int_equal(s->pool.n_idle, 0);
}

/* --- kept connections --- */

static void a_kept_connection_that_its_peer_closes_is_forgotten(void **state)
{
    struct state *s = *state;
    struct wire *w = get_on(s, 0);
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    wait_for_end(s);
    wire_close(w);
    WAIT(s->b, s->pool.n_idle == 0);
    w = get_on(s, 1);
    assert_false(s->a->call.is_reused);
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    wait_for_end(s);
    wire_send(w, S("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")); /* nobody asked */
    WAIT(s->b, s->pool.n_idle == 0);
    assert_int_equal(s->a->n_heads, 1);
}

static void a_call_may_be_started_from_the_end_of_another_on_the_same_connection(void **state)
{
    struct state *s = *state;
    struct wire *w = get_on(s, 0);
    s->a->asks_again = true;
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"));
    WAIT(s->b, wire_has(w, "GET /again"));
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"));
    WAIT(s->b, s->a->n_ended == 2);
    assert_body(s, "12");
    assert_int_equal(s->peer->n, 1);
}

static void only_so_many_connections_are_kept_and_only_so_long(void **state)
{
    struct state *s = *state;
    struct asked *all[3];
    s->target.idle_timeout_ms = 100;
    for (unsigned i = 0; i < LENGTH_OF(all); i++) {
        get_on(s, i);
        all[i] = s->a;
        s->a = calloc(1, sizeof *s->a);
    }
    for (unsigned i = 0; i < LENGTH_OF(all); i++) {
        wire_send(s->peer->wires[i], S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        WAIT(s->b, all[i]->n_ended == 1);
        assert_true(s->pool.n_idle <= s->target.idle_connections);
    }
    WAIT(s->b, s->peer->wires[0]->saw_eof); /* the one that rested longest made room */
    WAIT(s->b, s->pool.n_idle == 0 && s->peer->wires[1]->saw_eof && s->peer->wires[2]->saw_eof);
    for (unsigned i = 0; i < LENGTH_OF(all); i++)
        free(all[i]);
    s->target.idle_connections = 0;
    struct wire *w = get_on(s, 3);
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    wait_for_end(s);
    assert_int_equal(s->pool.n_idle, 0);
}

/* --- connecting --- */

static void address(struct sockaddr_storage *a, const char *ip, uint16_t port)
{
    uv_ip4_addr(ip, port, (struct sockaddr_in *)a);
}

static void the_next_address_is_tried_when_the_first_refuses(void **state)
{
    struct state *s = *state;
    uint16_t closed = peer_gone(s->b);
    address(&s->pool.addresses[0], "127.0.0.1", closed);
    address(&s->pool.addresses[1], "127.0.0.2", closed);
    address(&s->pool.addresses[2], "127.0.0.1", s->peer->port);
    s->pool.n_addresses = 3;
    struct wire *w = get_on(s, 0);
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    wait_for_end(s);
    assert_body(s, "ok");
    assert_true(s->a->call.connect_us > 0);
}

static void a_refused_connection_is_told_as_such(void **state)
{
    struct state *s = *state;
    uint16_t closed = peer_gone(s->b);
    for (unsigned n = 1; n <= 2; n++) {
        for (unsigned i = 0; i < n; i++)
            address(&s->pool.addresses[i], "127.0.0.1", closed);
        s->pool.n_addresses = n;
        get(s);
        wait_for_failure(s, ERR_UNREACHABLE, "Connection refused");
    }
}

static void a_name_is_looked_up_once_and_remembered(void **state)
{
    struct state *s = *state;
    s->target.host = "localhost";
    client_pool_init(&s->pool, &s->b->loop, &s->target);
    assert_false(s->pool.is_numeric);
    struct wire *w = get_on(s, 0);
    assert_true(s->pool.n_addresses > 0);
    uint64_t resolved_ms = s->pool.resolved_ms;
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    wait_for_end(s);
    w = get_on(s, 1);
    assert_int_equal(s->pool.resolved_ms, resolved_ms);
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    wait_for_end(s);
}

static void a_name_that_cannot_be_is_unreachable(void **state)
{
    struct state *s = *state;
    s->target.host = "no..such..name";
    client_pool_init(&s->pool, &s->b->loop, &s->target);
    get(s);
    wait_for_failure(s, ERR_UNREACHABLE, "looking up no..such..name");
}

static void an_ipv6_address_is_not_looked_up(void **state)
{
    struct state *s = *state;
    s->target.host = "::1";
    s->target.port = 9;
    client_pool_init(&s->pool, &s->b->loop, &s->target);
    assert_true(s->pool.is_numeric);
    assert_int_equal(s->pool.n_addresses, 1);
    assert_int_equal(s->pool.addresses[0].ss_family, AF_INET6);
    assert_int_equal(ntohs(((const struct sockaddr_in6 *)&s->pool.addresses[0])->sin6_port), 9);
}

/* --- time limits --- */

static void a_peer_that_never_answers_meets_the_first_byte_limit(void **state)
{
    struct state *s = *state;
    s->target.first_byte_timeout_ms = 100;
    struct wire *w = get_on(s, 0);
    wait_for_failure(s, ERR_UPSTREAM_TIMEOUT, "upstream.first_byte_timeout_ms (100 ms)");
    WAIT(s->b, wire_ended(w));
}

static void a_silence_in_the_middle_meets_the_stall_limit(void **state)
{
    struct state *s = *state;
    s->target.stall_timeout_ms = 100;
    struct wire *w = get_on(s, 0);
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"));
    wait_for_failure(s, ERR_UPSTREAM_TIMEOUT, "upstream.stall_timeout_ms (100 ms)");
    assert_body(s, "he");
}

static void drops_that_keep_coming_meet_the_total_limit(void **state)
{
    struct state *s = *state;
    s->target.total_timeout_ms = 300;
    s->target.stall_timeout_ms = 20000;
    struct wire *w = get_on(s, 0);
    wire_send(w, S(CHUNKED));
    while (!s->a->n_failed && !s->a->n_ended) { /* each piece as soon as the one before has been read */
        unsigned n = s->a->n_reads;
        wire_send(w, S("1\r\nx\r\n"));
        WAIT(s->b, s->a->n_reads > n || s->a->n_failed);
    }
    wait_for_failure(s, ERR_UPSTREAM_TIMEOUT, "upstream.total_timeout_ms (300 ms)");
}

static void a_peer_that_accepts_but_makes_no_tls_meets_the_connect_limit(void **state)
{
    struct state *s = *state;
    s->target.connect_timeout_ms = 100;
    assert_int_equal(tls_client_new(&s->target.tls, NULL, &s->e), ERR_NONE);
    get(s);
    wait_for_failure(s, ERR_UPSTREAM_TIMEOUT, "upstream.connect_timeout_ms (100 ms)");
    SSL_CTX_free(s->target.tls);
}

static void a_peer_that_speaks_no_tls_is_unreachable(void **state)
{
    struct state *s = *state;
    assert_int_equal(tls_client_new(&s->target.tls, NULL, &s->e), ERR_NONE);
    get(s);
    WAIT(s->b, s->peer->n == 1);
    wire_send(s->peer->wires[0], S("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    wait_for_failure(s, ERR_UNREACHABLE, "TLS with 127.0.0.1");
    SSL_CTX_free(s->target.tls);
}

/* --- proxies, the policy of addresses --- */

/* What the proxy said ends the call with these words. */
static void tunnel_fails(struct state *s, const char *answer, const char *words)
{
    unsigned n = s->peer->n;
    get(s);
    WAIT(s->b, s->peer->n > n && wire_has(s->peer->wires[n], "\r\n\r\n"));
    if (answer) wire_send(s->peer->wires[n], str_c(answer));
    if (!answer) wire_close(s->peer->wires[n]);
    wait_for_failure(s, ERR_UNREACHABLE, words);
    if (answer) wire_close(s->peer->wires[n]);
}

static void a_tls_target_is_reached_through_a_tunnel(void **state)
{
    struct state *s = *state;
    struct outbound_route route = {.proxy_host = "127.0.0.1",
                                   .proxy_port = s->peer->port,
                                   .proxy_authorization = S("Basic bWU6c2VjcmV0")};
    assert_int_equal(tls_client_new(&s->target.tls, NULL, &s->e), ERR_NONE);
    s->target.host = "far.test"; /* known to the proxy only */
    s->target.port = 443;
    s->target.route = &route;
    client_pool_init(&s->pool, &s->b->loop, &s->target);
    get(s);
    WAIT(s->b, s->peer->n == 1 && wire_has(s->peer->wires[0], "\r\n\r\n"));
    struct wire *w = s->peer->wires[0];
    static const char wanted[] = "CONNECT far.test:443 HTTP/1.1\r\nHost: far.test:443\r\n"
                                 "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n";
    assert_int_equal(w->in.len, sizeof wanted - 1);
    assert_memory_equal(w->in.p, wanted, w->in.len);
    buf_clear(&w->in);
    wire_send(w, S("HTTP/1.1 200 Connection"));
    bench_turn(s->b);
    assert_int_equal(w->in.len, 0);
    wire_send(w, S(" established\r\nContent-Length: 7\r\nVia: x\r\n\r\n"));
    WAIT(s->b, w->in.len > 5);
    assert_int_equal(w->in.p[0], 0x16); /* a TLS handshake record, with the target's name in it */
    assert_true(wire_has(w, "far.test"));
    wire_close(w);
    wait_for_failure(s, ERR_UNREACHABLE, "TLS with far.test:443 failed");
    tunnel_fails(s, "HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n",
                 "refused the way to far.test:443 with status 407");
    tunnel_fails(s, "SSH-2.0-x\r\n\r\n", "something that is not HTTP/1.1");
    tunnel_fails(s, "HTTP/1.1 200 OK\r\n\r\nhello", "something of its own");
    tunnel_fails(s, NULL, "closed the connection without an answer");
    SSL_CTX_free(s->target.tls);
}

static void a_plain_target_is_asked_of_the_proxy(void **state)
{
    struct state *s = *state;
    struct outbound_route route = {.proxy_host = "127.0.0.1", .proxy_port = s->peer->port};
    s->target.host = "far.test";
    s->target.port = 80;
    s->target.route = &route;
    client_pool_init(&s->pool, &s->b->loop, &s->target);
    struct wire *w = get_on(s, 0);
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"));
    wait_for_end(s);
    assert_body(s, "hi");
}

static void an_address_that_the_policy_forbids_is_not_connected_to(void **state)
{
    struct state *s = *state;
    struct outbound_route route = {.allows_local = false};
    s->target.route = &route;
    start_refused(s, "127.0.0.1 leads to an address that may not be reached");
    s->target.host = "localhost";
    client_pool_init(&s->pool, &s->b->loop, &s->target);
    get(s);
    wait_for_failure(s, ERR_UNREACHABLE, "localhost leads to an address that may not be reached");
    assert_int_equal(s->peer->n, 0);
    route.allows_local = true;
    struct wire *w = get_on(s, 0);
    wire_send(w, S("HTTP/1.1 204 No Content\r\n\r\n"));
    wait_for_end(s);
    s->target.host = "169.254.169.254";
    client_pool_init(&s->pool, &s->b->loop, &s->target);
    start_refused(s, "169.254.169.254 leads to");
}

/* --- backpressure, cancelling --- */

static void a_paused_answer_waits_in_the_sockets_and_is_no_stall(void **state)
{
    enum { PIECE = 1 << 20, PIECES = 48 };
    struct state *s = *state;
    s->target.stall_timeout_ms = 1000; /* more than a busy machine keeps this program waiting */
    struct wire *w = get_on(s, 0);
    char head[96];
    int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", PIECE * PIECES);
    char *piece = malloc(PIECE);
    memset(piece, 'p', PIECE);
    s->a->pauses = true;
    wire_send(w, str_of(head, (size_t)n));
    WAIT(s->b, s->a->n_heads == 1);
    for (unsigned i = 0; i < PIECES; i++)
        wire_send(w, str_of(piece, PIECE));
    free(piece);
    WAIT(s->b, s->a->n_reads >= 1);
    unsigned n_reads = s->a->n_reads;
    uint64_t until = loop_now_ms(&s->b->loop) + 3 * s->target.stall_timeout_ms / 2;
    uv_timer_t later; /* turns the loop now and then, until the stall limit has long passed */
    uv_timer_init(&s->b->loop.uv, &later);
    later.data = s->b;
    uv_timer_start(&later, bench_late, 50, 50);
    for (;;) {
        s->b->is_late = false;
        uv_run(&s->b->loop.uv, UV_RUN_ONCE);
        if (loop_now_ms(&s->b->loop) >= until) break;
    }
    uv_close((uv_handle_t *)&later, NULL);
    bench_turn(s->b);
    assert_int_equal(s->a->n_failed, 0);
    assert_int_equal(s->a->n_reads, n_reads);
    assert_true(w->n_unsent > 0);
    client_pause(&s->a->call); /* again changes nothing */
    s->a->pauses = false;
    client_resume(&s->a->call);
    client_resume(&s->a->call);
    wait_for_end(s);
    assert_int_equal(s->a->body.len, (size_t)PIECE * PIECES);
}

static void an_end_that_comes_while_paused_is_seen_after_it(void **state)
{
    struct state *s = *state;
    struct wire *w = get_on(s, 0);
    s->a->pauses = true;
    wire_send(w, S("HTTP/1.1 200 OK\r\n\r\none"));
    WAIT(s->b, s->a->n_reads == 1);
    wire_send(w, S(", two"));
    wire_close(w);
    bench_turn(s->b);
    assert_int_equal(s->a->n_ended, 0);
    s->a->pauses = false;
    client_resume(&s->a->call);
    wait_for_end(s);
    assert_body(s, "one, two");
}

static void a_cancelled_call_is_not_heard_of_again(void **state)
{
    struct state *s = *state;
    /* while connecting */
    get(s);
    client_cancel(&s->a->call);
    assert_null(s->a->call.conn);
    client_cancel(&s->a->call);
    WAIT(s->b, s->pool.all == NULL);
    WAIT(s->b, s->peer->n == 1 && wire_ended(s->peer->wires[0]));
    /* before and in the middle of the answer */
    for (unsigned i = 0; i < 2; i++) {
        struct wire *w = get_on(s, s->peer->n);
        if (i) {
            wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"));
            WAIT(s->b, s->a->n_reads == 1);
        }
        client_cancel(&s->a->call);
        WAIT(s->b, wire_ended(w));
        assert_int_equal(s->a->n_ended + s->a->n_failed, 0);
    }
    /* in a callback of its own */
    struct wire *w = get_on(s, s->peer->n);
    s->a->cancels_in_head = true;
    wire_send(w, S("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
    WAIT(s->b, wire_ended(w));
    assert_int_equal(s->a->n_heads, 1);
    assert_int_equal(s->a->body.len + s->a->n_ended + s->a->n_failed, 0);
}

static void a_call_may_be_cancelled_while_its_name_is_looked_up(void **state)
{
    struct state *s = *state;
    s->target.host = "localhost";
    client_pool_init(&s->pool, &s->b->loop, &s->target);
    get(s);
    client_cancel(&s->a->call);
    WAIT(s->b, s->pool.all == NULL);
    assert_int_equal(s->a->n_ended + s->a->n_failed, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_answer_with_a_length_ends_with_it_and_its_connection_is_used_again),
        T(a_chunked_answer_comes_without_its_framing),
        T(an_answer_without_a_length_ends_with_its_connection),
        T(answers_without_a_body_end_with_their_head),
        T(a_head_request_has_no_body_whatever_its_length_says),
        T(an_answer_that_comes_byte_by_byte_is_the_same_answer),
        T(an_answer_that_comes_in_two_reads_is_the_same_answer_wherever_it_is_cut),
        T(an_early_answer_is_heard_before_the_request_is_all_sent),
        T(a_large_request_is_written_as_the_peer_reads),
        T(what_is_not_http_fails_the_call),
        T(a_head_over_64_kib_fails_the_call),
        T(a_connection_that_ends_too_early_fails_the_call),
        T(a_reset_ends_even_an_answer_without_a_length_as_a_failure),
        T(bytes_after_the_answer_cost_the_connection_its_place),
        T(a_kept_connection_that_its_peer_closes_is_forgotten),
        T(a_call_may_be_started_from_the_end_of_another_on_the_same_connection),
        T(only_so_many_connections_are_kept_and_only_so_long),
        T(the_next_address_is_tried_when_the_first_refuses),
        T(a_refused_connection_is_told_as_such),
        T(a_name_is_looked_up_once_and_remembered),
        T(a_name_that_cannot_be_is_unreachable),
        T(an_ipv6_address_is_not_looked_up),
        T(a_peer_that_never_answers_meets_the_first_byte_limit),
        T(a_silence_in_the_middle_meets_the_stall_limit),
        T(drops_that_keep_coming_meet_the_total_limit),
        T(a_peer_that_accepts_but_makes_no_tls_meets_the_connect_limit),
        T(a_peer_that_speaks_no_tls_is_unreachable),
        T(a_tls_target_is_reached_through_a_tunnel),
        T(a_plain_target_is_asked_of_the_proxy),
        T(an_address_that_the_policy_forbids_is_not_connected_to),
        T(a_paused_answer_waits_in_the_sockets_and_is_no_stall),
        T(an_end_that_comes_while_paused_is_seen_after_it),
        T(a_cancelled_call_is_not_heard_of_again),
        T(a_call_may_be_cancelled_while_its_name_is_looked_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
