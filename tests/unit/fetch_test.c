/* Outbound HTTP against a server on a thread that answers by a script, well and badly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <assert.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "net/fetch.h"
#include "net/loop.h"

#define ANSWERS_MAX 24

/* Connection n gets answer n ("" closes without one, NULL never answers) and is closed; what was asked is kept. */
struct server {
    int fd;
    uint16_t port;
    pthread_t thread;
    const char *answers[ANSWERS_MAX];
    struct buf asked[ANSWERS_MAX];
    atomic_uint n;
    atomic_bool is_ending;
};

static void serve_one(struct server *s, int fd, unsigned n)
{
    struct buf *asked = &s->asked[n];
    size_t want = SIZE_MAX;
    buf_init(asked, 1 << 20);
    while (asked->len < want && !s->is_ending) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 20) == 0) continue;
        char *room = buf_reserve(asked, 4096);
        assert(room != NULL);
        ssize_t got = recv(fd, room, 4096, 0);
        if (got <= 0) break;
        buf_added(asked, (size_t)got);
        if (asked->p[0] == 0x16) break; /* TLS */
        ptrdiff_t end = str_find(buf_str(asked), S("\r\n\r\n"));
        if (end < 0) continue;
        ptrdiff_t length = str_find(buf_str(asked), S("Content-Length: "));
        want = (size_t)end + 4;
        if (length >= 0 && length < end) want += strtoul(asked->p + length + 16, NULL, 10);
    }
    const char *answer = s->answers[n];
    if (answer) {
        size_t len = strlen(answer);
        while (len) {
            ssize_t sent = send(fd, answer, len, MSG_NOSIGNAL);
            if (sent <= 0) break;
            answer += sent;
            len -= (size_t)sent;
        }
    } else {
        while (!s->is_ending) { /* until the other side gives up */
            struct pollfd p = {.fd = fd, .events = POLLIN};
            char byte;
            if (poll(&p, 1, 20) > 0 && recv(fd, &byte, 1, 0) <= 0) break;
        }
    }
    shutdown(fd, SHUT_WR);
    for (char byte; !s->is_ending && recv(fd, &byte, 1, 0) > 0;)
        continue;
    close(fd);
}

static void *server_main(void *arg)
{
    struct server *s = arg;
    while (!s->is_ending) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        if (poll(&p, 1, 20) <= 0) continue;
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0) continue;
        unsigned n = s->n;
        if (n == ANSWERS_MAX) {
            close(fd);
            continue;
        }
        s->n = n + 1;
        serve_one(s, fd, n);
    }
    return NULL;
}

static void server_start_on(struct server *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(s->fd, 16), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &len), 0);
    s->port = ntohs(at.sin_port);
    for (unsigned i = 0; i < ANSWERS_MAX; i++)
        s->answers[i] = "";
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void server_end(struct server *s)
{
    s->is_ending = true;
    pthread_join(s->thread, NULL);
    close(s->fd);
    for (unsigned i = 0; i < s->n; i++)
        buf_fini(&s->asked[i]);
}

struct state {
    struct server server, other;
    struct outbound *outbound;
    struct arena arena;
    struct fetch_request request;
    struct fetch_answer answer;
    err e;
};

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    struct outbound_settings settings = {.has_no_proxy = true};
    assert_non_null(s);
    server_start_on(&s->server);
    server_start_on(&s->other);
    arena_init(&s->arena, 64 << 20, 0);
    assert_int_equal(outbound_new(&s->outbound, &settings, &s->e), ERR_NONE);
    s->request.allows_local = true;
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    server_end(&s->server);
    server_end(&s->other);
    outbound_free(s->outbound);
    arena_fini(&s->arena);
    free(s);
    return 0;
}

static str url_of(struct state *s, const struct server *server, const char *path)
{
    return arena_printf(&s->arena, "http://127.0.0.1:%u%s", server->port, path);
}

static enum errc get(struct state *s, const char *path)
{
    s->request.url = url_of(s, &s->server, path);
    s->e = (err){0};
    return fetch(s->outbound, &s->arena, &s->request, &s->answer, &s->e);
}

static bool asked_has(const struct server *server, unsigned n, const char *text)
{
    return n < server->n && str_find(buf_str(&server->asked[n]), str_c(text)) >= 0;
}

#define OK(body) "HTTP/1.1 200 OK\r\nConnection: close\r\nX-One:  two \r\n\r\n" body

static void an_answer_comes_with_its_fields_and_body(void **state)
{
    struct state *s = *state;
    s->server.answers[0] = OK("hello");
    assert_int_equal(get(s, "/a/../b?c=d"), ERR_NONE);
    assert_int_equal(s->answer.status, 200);
    assert_true(str_eq(s->answer.body, S("hello")));
    assert_true(str_eq(fetch_answer_field(&s->answer, S("x-ONE")), S("two")));
    assert_null(fetch_answer_field(&s->answer, S("x-two")).p);
    assert_true(asked_has(&s->server, 0, "User-Agent: Catalyst/"));
}

static void a_body_is_posted_with_the_given_fields(void **state)
{
    struct state *s = *state;
    const struct fetch_field fields[] = {{.name = S("Content-Type"), .value = S("application/json")},
                                         {.name = S("X-Empty"), .value = S("")},
                                         {.name = S("Authorization"), .value = S("Bearer x")}};
    s->server.answers[0] = "HTTP/1.1 422 No\r\nContent-Length: 2\r\n\r\n{}";
    s->request.fields = fields;
    s->request.n_fields = LENGTH_OF(fields);
    s->request.body = S("{\"a\":1}");
    assert_int_equal(get(s, "/hook"), ERR_NONE);
    assert_int_equal(s->answer.status, 422);
    assert_true(asked_has(&s->server, 0, "POST /hook HTTP/1.1\r\n"));
    assert_true(asked_has(&s->server, 0, "Content-Type: application/json\r\n"));
    assert_true(asked_has(&s->server, 0, "X-Empty:"));
    assert_true(asked_has(&s->server, 0, "Authorization: Bearer x\r\n"));
    assert_true(asked_has(&s->server, 0, "\r\n\r\n{\"a\":1}"));
    assert_false(asked_has(&s->server, 0, "Expect"));
}

static void what_would_break_the_request_is_refused(void **state)
{
    struct state *s = *state;
    static const struct fetch_field wrong[] = {{.name = STR_LIT("A"), .value = STR_LIT("x\r\nB: y")},
                                               {.name = STR_LIT("A\r\nB"), .value = STR_LIT("x")},
                                               {.name = STR_LIT("A:"), .value = STR_LIT("x")},
                                               {.name = STR_LIT(""), .value = STR_LIT("x")},
                                               {.name = STR_LIT("A"), .value = STR_LIT("\0")}};
    for (size_t i = 0; i < LENGTH_OF(wrong); i++) {
        s->request.fields = &wrong[i];
        s->request.n_fields = 1;
        assert_int_equal(get(s, "/"), ERR_INVALID);
    }
    s->request.n_fields = 0;
    s->request.method = S("GET /x HTTP/1.1\r\nA:");
    assert_int_equal(get(s, "/"), ERR_INVALID);
    s->request.method = S("");
    static const char *const urls[] = {"ftp://a/",    "http://user:pw@127.0.0.1/", "file:///etc/passwd", "",
                                       "http://a b/", "http://127.0.0.1/#x"};
    for (size_t i = 0; i < LENGTH_OF(urls); i++) {
        s->request.url = str_c(urls[i]);
        assert_int_equal(fetch(s->outbound, &s->arena, &s->request, &s->answer, &s->e), ERR_INVALID);
    }
    assert_int_equal(s->server.n, 0);
}

static void a_local_address_is_refused_however_it_is_written(void **state)
{
    struct state *s = *state;
    static const char *const hosts[] = {"127.0.0.1", "localhost", "127.1",           "2130706433",
                                        "0x7f.1",    "0.0.0.0",   "[::ffff:7f00:1]", "[::]"};
    s->request.allows_local = false;
    for (size_t i = 0; i < LENGTH_OF(hosts); i++) {
        s->request.url = arena_printf(&s->arena, "http://%s:%u/", hosts[i], s->server.port);
        s->e = (err){0};
        if (fetch(s->outbound, &s->arena, &s->request, &s->answer, &s->e) != ERR_FORBIDDEN)
            fail_msg("%s: %s", hosts[i], s->e.msg);
    }
    s->request.allows_local = true;
    s->request.url = S("http://169.254.169.254/latest/meta-data/");
    assert_int_equal(fetch(s->outbound, &s->arena, &s->request, &s->answer, &s->e), ERR_FORBIDDEN);
    assert_int_equal(s->server.n, 0);
}

static void an_address_that_is_allowed_by_configuration_is_reached(void **state)
{
    struct state *s = *state;
    struct outbound_settings settings = {.has_no_proxy = true, .allow_addresses = S("127.0.0.0/8")};
    assert_int_equal(outbound_change(s->outbound, &settings, &s->e), ERR_NONE);
    s->server.answers[0] = OK("in");
    s->request.allows_local = false;
    assert_int_equal(get(s, "/"), ERR_NONE);
}

static void a_redirect_is_checked_again_and_loses_credentials(void **state)
{
    struct state *s = *state;
    const struct fetch_field fields[] = {{.name = S("Authorization"), .value = S("Bearer planted")},
                                         {.name = S("X-Key"), .value = S("planted"), .is_secret = true},
                                         {.name = S("X-Plain"), .value = S("stays")}};
    str to = url_of(s, &s->other, "/there");
    s->request.fields = fields;
    s->request.n_fields = LENGTH_OF(fields);
    s->request.redirects = 3;
    s->server.answers[0] = s->server.answers[2] =
        arena_printf(&s->arena, "HTTP/1.1 302 Found\r\nLocation: %.*s\r\nContent-Length: 0\r\n\r\n", STR(to))
            .p;
    s->server.answers[1] = "HTTP/1.1 307 Same\r\nLocation: other?x#frag\r\nContent-Length: 0\r\n\r\n";
    s->server.answers[3] = OK("same origin");
    /* the permission for local addresses is for the first origin only */
    assert_int_equal(get(s, "/"), ERR_FORBIDDEN);
    assert_int_equal(s->other.n, 0);
    struct outbound_settings settings = {.has_no_proxy = true, .allow_addresses = S("127.0.0.1")};
    assert_int_equal(outbound_change(s->outbound, &settings, &s->e), ERR_NONE);
    s->other.answers[0] = OK("there");
    s->request.body = S("{}");
    assert_int_equal(get(s, "/dir/page"), ERR_NONE); /* 307 to its own origin, 302 to the other */
    assert_true(asked_has(&s->server, 2, "POST /dir/other?x HTTP/1.1"));
    assert_true(asked_has(&s->server, 2, "X-Key: planted"));
    assert_true(asked_has(&s->server, 2, "\r\n\r\n{}"));
    assert_true(asked_has(&s->other, 0, "GET /there HTTP/1.1"));
    assert_true(asked_has(&s->other, 0, "X-Plain: stays"));
    assert_false(asked_has(&s->other, 0, "planted"));
    assert_false(asked_has(&s->other, 0, "Content-Length"));
    assert_true(str_eq(s->answer.body, S("there")));
    assert_true(str_eq(s->answer.url, to));
}

static void redirects_end_somewhere(void **state)
{
    struct state *s = *state;
    for (unsigned i = 0; i < 8; i++)
        s->server.answers[i] = "HTTP/1.1 308 Again\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(get(s, "/"), ERR_NONE); /* none is followed unless asked */
    assert_int_equal(s->answer.status, 308);
    s->request.redirects = 3;
    assert_int_equal(get(s, "/"), ERR_UPSTREAM);
    assert_int_equal(s->server.n, 5);
    s->server.answers[5] = "HTTP/1.1 302 x\r\nLocation: gopher://127.0.0.1/\r\nContent-Length: 0\r\n\r\n";
    s->server.answers[6] = "HTTP/1.1 302 x\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(get(s, "/"), ERR_UPSTREAM);
    assert_int_equal(get(s, "/"), ERR_UPSTREAM);
}

static void an_answer_beyond_its_limit_is_refused(void **state)
{
    struct state *s = *state;
    s->server.answers[0] = s->server.answers[1] = OK("0123456789");
    s->request.answer_max = 10;
    assert_int_equal(get(s, "/"), ERR_NONE);
    s->request.answer_max = 9;
    assert_int_equal(get(s, "/"), ERR_TOO_LARGE);
    char *many = arena_bytes(&s->arena, 80000);
    int n = snprintf(many, 80000, "HTTP/1.1 200 OK\r\n");
    for (unsigned i = 0; i < 300; i++)
        n += snprintf(many + n, 80000u - (size_t)n, "X-%u: y\r\n", i);
    snprintf(many + n, 80000u - (size_t)n, "\r\n");
    s->server.answers[2] = many;
    assert_int_equal(get(s, "/"), ERR_TOO_LARGE);
}

static enum errc keep_piece(void *ctx, str piece, err *e)
{
    struct buf *out = ctx;
    buf_add(out, piece);
    return buf_err(out) ? err_set(e, ERR_DISK_FULL, "no room for it") : ERR_NONE;
}

static void a_body_can_be_taken_piece_by_piece(void **state)
{
    struct state *s = *state;
    struct buf out;
    buf_init(&out, 8);
    s->server.answers[0] = OK("12345678");
    s->server.answers[1] = OK("123456789");
    s->server.answers[2] = "HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnone";
    s->request.on_piece = keep_piece;
    s->request.ctx = &out;
    assert_int_equal(get(s, "/"), ERR_NONE);
    assert_true(str_eq(buf_str(&out), S("12345678")));
    assert_int_equal(s->answer.body.len, 0);
    buf_clear(&out);
    assert_int_equal(get(s, "/"), ERR_DISK_FULL);
    assert_string_equal(s->e.msg, "no room for it");
    s->request.answer_max = 7;
    s->server.answers[3] = OK("12345678");
    buf_clear(&out);
    assert_int_equal(get(s, "/"), ERR_NONE); /* what is no success is not given away */
    assert_int_equal(out.len, 0);
    assert_true(str_eq(s->answer.body, S("none")));
    assert_int_equal(get(s, "/"), ERR_TOO_LARGE); /* a piece over the limit is not given away either */
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void what_can_be_repeated_is_tried_again(void **state)
{
    struct state *s = *state;
    s->server.answers[0] = "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
    s->server.answers[1] = ""; /* gone without an answer */
    s->server.answers[2] = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut";
    s->server.answers[3] = OK("at last");
    s->request.tries = 5;
    assert_int_equal(get(s, "/"), ERR_NONE);
    assert_true(str_eq(s->answer.body, S("at last")));
    assert_int_equal(s->answer.n_tries, 4);
    /* a POST is not, unless it is said to be repeatable */
    s->server.answers[4] = s->server.answers[5] =
        "HTTP/1.1 429 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
    s->server.answers[6] = OK("yes");
    s->request.body = S("x");
    assert_int_equal(get(s, "/"), ERR_NONE);
    assert_int_equal(s->answer.status, 429);
    s->request.is_repeatable = true;
    assert_int_equal(get(s, "/"), ERR_NONE);
    assert_int_equal(s->answer.status, 200);
    assert_int_equal(s->answer.n_tries, 2);
    /* a wait beyond the deadline is not begun */
    s->server.answers[7] = "HTTP/1.1 429 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(get(s, "/"), ERR_NONE);
    assert_int_equal(s->answer.status, 429);
    assert_int_equal(s->server.n, 8);
}

static void the_deadline_covers_everything(void **state)
{
    struct state *s = *state;
    s->server.answers[0] = NULL;
    s->request.deadline_ms = 150;
    s->request.tries = 5;
    usec began = clock_mono_us();
    assert_int_equal(get(s, "/"), ERR_UPSTREAM_TIMEOUT);
    assert_true(clock_mono_us() - began < 10 * USEC_PER_S);
    assert_int_equal(s->server.n, 1);
}

static void *cancel(void *arg)
{
    struct state *s = arg;
    while (s->server.n == 0) {
        struct timespec moment = {.tv_nsec = 1000000};
        nanosleep(&moment, NULL);
    }
    atomic_store((atomic_bool *)(uintptr_t)s->request.is_cancelled, true);
    return NULL;
}

static void a_fetch_is_cancelled_from_another_thread(void **state)
{
    struct state *s = *state;
    static atomic_bool is_cancelled;
    pthread_t thread;
    s->server.answers[0] = NULL;
    s->request.is_cancelled = &is_cancelled;
    assert_int_equal(pthread_create(&thread, NULL, cancel, s), 0);
    assert_int_equal(get(s, "/"), ERR_CANCELLED);
    pthread_join(thread, NULL);
}

static void who_does_not_answer_is_unreachable(void **state)
{
    struct state *s = *state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    s->request.url = arena_printf(&s->arena, "http://127.0.0.1:%u/", ntohs(at.sin_port));
    assert_int_equal(fetch(s->outbound, &s->arena, &s->request, &s->answer, &s->e), ERR_UNREACHABLE);
    close(fd);
    s->request.url = S("http://no-such-name.invalid/");
    assert_int_equal(fetch(s->outbound, &s->arena, &s->request, &s->answer, &s->e), ERR_UNREACHABLE);
    assert_non_null(strstr(s->e.msg, "no-such-name.invalid"));
    s->server.answers[0] = "I am no web server\r\n\r\n";
    assert_int_equal(get(s, "/"), ERR_UPSTREAM);
    s->request.url = arena_printf(&s->arena, "https://127.0.0.1:%u/", s->server.port);
    s->server.answers[1] = "no TLS either";
    assert_int_equal(fetch(s->outbound, &s->arena, &s->request, &s->answer, &s->e), ERR_UNREACHABLE);
}

static void a_proxy_is_asked_in_absolute_form_and_by_connect(void **state)
{
    struct state *s = *state;
    struct outbound_settings settings = {
        .proxy = arena_printf(&s->arena, "http://me:secret@127.0.0.1:%u", s->server.port),
        .has_no_proxy = true};
    assert_int_equal(outbound_change(s->outbound, &settings, &s->e), ERR_NONE);
    s->request.allows_local = false; /* the proxy itself may stand anywhere */
    s->request.url = S("http://far.test/x?y");
    s->server.answers[0] = OK("through");
    assert_int_equal(fetch(s->outbound, &s->arena, &s->request, &s->answer, &s->e), ERR_NONE);
    assert_true(asked_has(&s->server, 0, "GET http://far.test/x?y HTTP/1.1\r\nHost: far.test\r\n"));
    assert_true(asked_has(&s->server, 0, "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"));
    s->request.url = S("https://far.test/x");
    s->server.answers[1] = "HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(fetch(s->outbound, &s->arena, &s->request, &s->answer, &s->e), ERR_UNREACHABLE);
    assert_true(asked_has(&s->server, 1, "CONNECT far.test:443 HTTP/1.1\r\n"));
    assert_true(asked_has(&s->server, 1, "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"));
    assert_non_null(strstr(s->e.msg, "407"));
    assert_null(strstr(s->e.msg, "secret"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_answer_comes_with_its_fields_and_body),
        T(a_body_is_posted_with_the_given_fields),
        T(what_would_break_the_request_is_refused),
        T(a_local_address_is_refused_however_it_is_written),
        T(an_address_that_is_allowed_by_configuration_is_reached),
        T(a_redirect_is_checked_again_and_loses_credentials),
        T(redirects_end_somewhere),
        T(an_answer_beyond_its_limit_is_refused),
        T(a_body_can_be_taken_piece_by_piece),
        T(what_can_be_repeated_is_tried_again),
        T(the_deadline_covers_everything),
        T(a_fetch_is_cancelled_from_another_thread),
        T(who_does_not_answer_is_unreachable),
        T(a_proxy_is_asked_in_absolute_form_and_by_connect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
