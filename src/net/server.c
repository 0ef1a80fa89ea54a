#include "net/server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define ACCEPTS_PER_TURN 64
#define FIRST_REQUEST_MS 300 /* when the server stops: for the first request of a connection */
#define ACCEPT_PAUSE_MS 100 /* when the process has no file descriptors left */
#define SPARE_CONNECTIONS 1024
#define LINGER_MS 2000
#define BODY_CHECK_MS 1000
#define BODY_FIRST_BYTES 65536 /* a claimed length is believed up to here, then the buffer grows as bytes arrive */
#define WRITE_SLICES_MAX 64

struct peer {
    struct in6_addr address;
    unsigned n;
};

/* --- shared --- */

enum errc server_shared_init(struct server_shared *s, err *e)
{
    static const char *const reasons[] = {"reason", NULL};
    pthread_mutex_init(&s->peers_lock, NULL);
    map_init(&s->peers);
    s->n_connections = 0;
    struct stat *accepted = stats_declare(STAT_COUNTER, "catalyst_connections_accepted_total", "Client connections accepted.",
                                          NULL, NULL, 0, 1);
    struct stat *open = stats_declare(STAT_GAUGE, "catalyst_connections_open", "Client connections open now.", NULL, NULL, 0, 1);
    struct stat *refused = stats_declare(STAT_COUNTER, "catalyst_connections_refused_total",
                                         "Client connections closed by the server for a reason of its own.", reasons, NULL, 0, 1);
    s->accepted = stats_series(accepted, NULL);
    s->open = stats_series(open, NULL);
    s->refused_full = stats_series(refused, (str[]){S("connections")});
    s->refused_address = stats_series(refused, (str[]){S("connections_per_address")});
    s->malformed = stats_series(refused, (str[]){S("bad_request")});
    s->timed_out = stats_series(refused, (str[]){S("timeout")});
    (void)e;
    return ERR_NONE;
}

void server_shared_fini(struct server_shared *s)
{
    str key;
    void *peer;
    for (size_t it = 0; map_next(&s->peers, &it, &key, &peer);)
        free(peer);
    map_fini(&s->peers);
    pthread_mutex_destroy(&s->peers_lock);
}

static int listen_fd(const struct sockaddr_storage *address, bool shares_port, err *e)
{
    socklen_t len = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int one = 1, fd = sock_new_fd(address->ss_family);
    if (fd < 0) {
        err_errno(e, ERR_IO, errno, "making a listening socket");
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (shares_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)address, len) < 0 || listen(fd, 1024) < 0) {
        int number = errno;
        close(fd);
        err_errno(e, number == EADDRINUSE ? ERR_BUSY : ERR_IO, number, "listening");
        return -1;
    }
    return fd;
}

enum errc server_bind(struct server_shared *s, str host, uint16_t port, err *e)
{
    char text[64];
    struct sockaddr_in *v4 = (struct sockaddr_in *)&s->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&s->address;
    memset(&s->address, 0, sizeof s->address);
    if (str_eq(host, S("localhost")))
        host = S("127.0.0.1");
    if (host.len == 0 || str_eq(host, S("*")))
        host = S("0.0.0.0");
    if (host.len >= sizeof text)
        return err_set(e, ERR_CONFIG, "'%.*s' is not an address to listen on", STR(host));
    memcpy(text, host.p, host.len);
    text[host.len] = '\0';
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
    } else {
        return err_set(e, ERR_CONFIG, "'%s' is not an address to listen on; use an IPv4 or IPv6 address such as 127.0.0.1", text);
    }
    /* Without SO_REUSEPORT, so that a second server does not silently share the port. */
    int fd = listen_fd(&s->address, false, e);
    if (fd < 0) {
        err_prefix(e, "%.*s:%u", STR(host), port);
        return e ? e->code : ERR_IO;
    }
    socklen_t len = sizeof s->address;
    getsockname(fd, (struct sockaddr *)&s->address, &len);
    close(fd);
    return ERR_NONE;
}

str server_address(const struct server_shared *s, char out[64])
{
    char host[INET6_ADDRSTRLEN];
    int n;
    if (s->address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&s->address;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        n = snprintf(out, 64, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&s->address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        n = snprintf(out, 64, "%s:%u", host, ntohs(v4->sin_port));
    }
    return str_of(out, (size_t)n);
}

/* Counts a connection of this address; false when it would be one too many. */
static bool peer_enter(struct server_shared *s, const struct in6_addr *address, unsigned most)
{
    str key = str_of((const char *)address, sizeof *address);
    bool is_allowed = false;
    pthread_mutex_lock(&s->peers_lock);
    struct peer *p = map_get(&s->peers, key);
    if (!p && (p = malloc(sizeof *p))) {
        *p = (struct peer){.address = *address};
        if (map_put(&s->peers, str_of((const char *)&p->address, sizeof p->address), p) != ERR_NONE) {
            free(p);
            p = NULL;
        }
    }
    if (p && p->n < most) {
        p->n++;
        is_allowed = true;
    }
    pthread_mutex_unlock(&s->peers_lock);
    return is_allowed;
}

static void peer_leave(struct server_shared *s, const struct in6_addr *address)
{
    str key = str_of((const char *)address, sizeof *address);
    pthread_mutex_lock(&s->peers_lock);
    struct peer *p = map_get(&s->peers, key);
    if (p && --p->n == 0) {
        map_del(&s->peers, key);
        free(p);
    }
    pthread_mutex_unlock(&s->peers_lock);
}

/* --- connection life --- */

static void conn_process(struct http_conn *c, str data);
static void conn_resume(struct http_conn *c);
static void on_input(struct http_conn *c);

static unsigned slot(const struct http_conn *c) { return c->server->loop->index; }

static void conn_close(struct http_conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    loop_disarm(c->server->loop, &c->timer);
    sock_close(&c->sock);
}

static void job_detach(struct decode_job *job);

static void on_conn_closed(struct sock *sock)
{
    struct http_conn *c = (struct http_conn *)((char *)sock - offsetof(struct http_conn, sock));
    struct server *s = c->server;
    peer_leave(s->shared, &c->peer);
    s->shared->n_connections--;
    stats_add(s->shared->open, slot(c), -1);
    if (c->job)
        job_detach(c->job);
    buf_fini(&c->in);
    buf_fini(&c->head_bytes);
    buf_fini(&c->body);
    buf_fini(&c->out);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    if (s->n_spare < SPARE_CONNECTIONS && !s->is_stopping) {
        c->next = s->spare;
        s->spare = c;
        s->n_spare++;
    } else {
        free(c);
    }
    if (s->is_stopping && !s->first && s->on_idle)
        s->on_idle(s);
}

/* The client is gone while the handler works for it. */
static void conn_gone(struct http_conn *c)
{
    void (*tell)(void *) = c->on_gone;
    void *user = c->user;
    c->on_gone = NULL;
    c->on_drained = NULL;
    c->on_stop = NULL;
    c->user = NULL;
    conn_close(c);
    if (tell)
        tell(user);
}

void http_abort(struct http_conn *c)
{
    /* An HTTP/1.0 answer without a length ends with the connection: only a reset tells that it is not whole. */
    struct linger reset = {.l_onoff = 1};
    if (c->is_http10 && c->state != CONN_CLOSED)
        setsockopt(c->sock.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    c->on_gone = NULL;
    c->on_drained = NULL;
    c->on_stop = NULL;
    c->user = NULL;
    conn_close(c);
}

static void conn_linger(struct http_conn *c)
{
    c->state = CONN_LINGER;
    if (c->sock.ssl)
        SSL_shutdown(c->sock.ssl);
    shutdown(c->sock.fd, SHUT_WR);
    if (c->saw_eof || c->server->is_aborting) {
        conn_close(c);
        return;
    }
    sock_watch(&c->sock, SOCK_READ);
    loop_arm(c->server->loop, &c->timer, LINGER_MS);
}

/* --- writing --- */

static size_t queued(const struct http_conn *c) { return c->out.len - c->out_at; }

bool http_is_congested(const struct http_conn *c) { return queued(c) > c->server->limits.queue_bytes; }

static void queue(struct http_conn *c, const str *slices, unsigned n, size_t skip)
{
    if (c->out_at == c->out.len)
        c->out_at = c->out.len = 0;
    for (unsigned i = 0; i < n; i++) {
        size_t drop = skip < slices[i].len ? skip : slices[i].len;
        skip -= drop;
        buf_add(&c->out, str_skip(slices[i], drop));
    }
}

static unsigned reading_watch(const struct http_conn *c)
{
    bool reads = c->state == CONN_HEAD || c->state == CONN_BODY || c->state == CONN_LINGER || c->state == CONN_HANDSHAKE;
    return reads && !c->saw_eof ? SOCK_READ : 0;
}

/* Watching for input goes on while the handler works (a request rarely follows before the answer): changing epoll's mind costs
 * two system calls, so it is changed only when input really comes too early (on_ready). */
static void watch_more(struct http_conn *c, unsigned also)
{
    sock_watch(&c->sock, reading_watch(c) | (c->sock.watched & SOCK_READ) | also);
}

static void after_flush(struct http_conn *c)
{
    if (c->state != CONN_FLUSH)
        return;
    if (!c->keeps_alive) {
        conn_linger(c);
        return;
    }
    conn_resume(c);
}

/* Writes the queue. False when the connection broke (and is closed). */
static bool flush(struct http_conn *c)
{
    while (queued(c)) {
        struct iovec v = {c->out.p + c->out_at, queued(c)};
        ssize_t n = sock_writev(&c->sock, &v, 1);
        if (n == SOCK_AGAIN) {
            watch_more(c, SOCK_WRITE);
            if (!wheel_is_armed(&c->timer))
                loop_arm(c->server->loop, &c->timer, c->server->limits.write_timeout_ms);
            return true;
        }
        if (n < 0) {
            conn_gone(c);
            return false;
        }
        c->out_at += (size_t)n;
        if (c->state == CONN_BUSY || c->state == CONN_FLUSH)
            loop_disarm(c->server->loop, &c->timer); /* progress: the write time-out starts anew */
    }
    if (c->out.cap > LOOP_READ_BYTES || c->state != CONN_BUSY)
        buf_fini(&c->out); /* idle connections and streams keep no buffer */
    c->out_at = c->out.len = 0;
    if (c->sock.watched & SOCK_WRITE)
        sock_watch(&c->sock, c->sock.watched & ~(unsigned)SOCK_WRITE);
    return true;
}

void http_send(struct http_conn *c, const str *slices, unsigned n)
{
    if (c->state == CONN_CLOSED)
        return;
    if (queued(c) || c->has_hold || n > WRITE_SLICES_MAX) {
        queue(c, slices, n, 0);
        if (c->out.failed) {
            conn_gone(c);
            return;
        }
        if (!c->has_hold && !(c->sock.watched & SOCK_WRITE))
            flush(c);
        c->was_congested |= http_is_congested(c);
        return;
    }
    struct iovec v[WRITE_SLICES_MAX];
    size_t total = 0;
    for (unsigned i = 0; i < n; i++) {
        v[i] = (struct iovec){(void *)(uintptr_t)slices[i].p, slices[i].len};
        total += slices[i].len;
    }
    if (!total)
        return;
    ssize_t sent = sock_writev(&c->sock, v, n);
    if (sent == SOCK_FAILED) {
        conn_gone(c);
        return;
    }
    if (sent == SOCK_AGAIN)
        sent = 0;
    if ((size_t)sent < total) {
        queue(c, slices, n, (size_t)sent);
        if (c->out.failed) {
            conn_gone(c);
            return;
        }
        watch_more(c, SOCK_WRITE);
        loop_arm(c->server->loop, &c->timer, c->server->limits.write_timeout_ms);
        c->was_congested |= http_is_congested(c);
    }
}

void http_hold(struct http_conn *c, const str *slices, unsigned n)
{
    if (c->state == CONN_CLOSED)
        return;
    c->has_hold = true;
    queue(c, slices, n, 0);
    if (c->out.failed)
        conn_gone(c);
}

void http_release(struct http_conn *c)
{
    if (c->state == CONN_CLOSED || !c->has_hold)
        return;
    c->has_hold = false;
    if (flush(c) && !queued(c))
        after_flush(c);
}

str http_connection_line(const struct http_conn *c)
{
    if (!c->keeps_alive || c->server->is_draining)
        return S("Connection: close\r\n");
    return c->is_http10 ? S("Connection: keep-alive\r\n") : S("");
}

str http_date(struct server *s)
{
    int64_t now = clock_now_us() / USEC_PER_S;
    if (now != s->date_s) {
        struct tm t;
        time_t seconds = (time_t)now;
        gmtime_r(&seconds, &t);
        strftime(s->date, sizeof s->date, "%a, %d %b %Y %H:%M:%S GMT", &t); /* the program never leaves the C locale */
        s->date_s = now;
    }
    return str_c(s->date);
}

void http_reply(struct http_conn *c, int status, str content_type, str extra, str body)
{
    char head[256];
    str connection = http_connection_line(c), date = http_date(c->server);
    bool has_length = status != 204 && status != 304;
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d %s\r\nDate: %.*s\r\n%.*s", status, http_reason(status), STR(date),
                     STR(connection));
    int m = has_length ? snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %zu\r\n", body.len) : 0;
    bool tells_allow = status == 405 && c->allow.len;
    str slices[] = {
        str_of(head, (size_t)(n + m)),
        tells_allow ? S("Allow: ") : S(""),
        tells_allow ? c->allow : S(""),
        tells_allow ? S("\r\n") : S(""),
        content_type.len ? S("Content-Type: ") : S(""),
        content_type,
        content_type.len ? S("\r\n") : S(""),
        extra,
        S("\r\n"),
        c->is_head_request ? S("") : body,
    };
    http_send(c, slices, LENGTH_OF(slices));
    http_finish(c, true);
}

void http_finish(struct http_conn *c, bool keeps_alive)
{
    if (c->state == CONN_CLOSED)
        return;
    c->user = NULL;
    c->on_gone = NULL;
    c->on_drained = NULL;
    c->on_stop = NULL;
    c->was_congested = false;
    c->keeps_alive = c->keeps_alive && keeps_alive && !c->server->is_draining;
    buf_fini(&c->body);
    c->state = CONN_FLUSH;
    c->n_requests++;
    if (!queued(c) && !c->has_hold)
        after_flush(c);
}

/* --- requests --- */

static void start_head(struct http_conn *c)
{
    c->state = CONN_HEAD;
    c->is_head_request = false;
    c->first_byte_ms = 0;
    http_head_scan_init(&c->scan);
    loop_arm(c->server->loop, &c->timer, c->server->limits.idle_timeout_ms);
    if (!(c->sock.watched & SOCK_READ) && !c->saw_eof)
        watch_more(c, 0);
}

/* The answer is out and the connection stays: on to the next request, which may have arrived already. */
static void conn_resume(struct http_conn *c)
{
    buf_fini(&c->out);
    c->out_at = 0;
    if (c->server->is_stopping) {
        conn_close(c);
        return;
    }
    start_head(c);
    if (c->is_processing)
        return; /* the loop further up the stack goes on */
    if (c->in.len)
        conn_process(c, S(""));
    else if (c->saw_eof)
        conn_close(c);
    if ((c->state == CONN_HEAD || c->state == CONN_BODY) && sock_has_buffered(&c->sock))
        on_input(c); /* epoll does not tell of bytes that TLS has read ahead */
}

static void refuse(struct http_conn *c, const struct http_head *h, const err *e)
{
    struct server *s = c->server;
    c->keeps_alive = false;
    c->state = CONN_BUSY;
    loop_disarm(s->loop, &c->timer);
    stats_add(e->code == ERR_TIMEOUT ? s->shared->timed_out : s->shared->malformed, slot(c), 1);
    s->handler.on_error(s->ctx, c, h, e);
}

static void dispatch(struct http_conn *c, const struct http_head *h, str body)
{
    struct http_request r = {h, body, c->arrived_us, c->arrived_mono_us};
    c->state = CONN_BUSY;
    loop_disarm(c->server->loop, &c->timer);
    c->server->handler.on_request(c->server->ctx, c, &r);
}

bool http_take_body(struct http_conn *c, const struct http_request *r, struct buf *out)
{
    if (r->body.len && r->body.p == c->body.p) {
        *out = c->body;
        buf_init(&c->body, 0);
        return true;
    }
    buf_init(out, r->body.len);
    buf_add(out, r->body);
    return !out->failed;
}

/* The body is complete in c->body: the head is parsed again (it was found good), since heads are not kept as structures. */
static void dispatch_collected(struct http_conn *c)
{
    struct http_head *h = &c->server->loop->head;
    err e = {0};
    struct buf head = c->head_bytes; /* an answer given at once may let the next request begin, with a head of its own */
    buf_init(&c->head_bytes, 0);
    enum errc rc = http_parse_request(buf_str(&head), &c->server->limits.http, h, &e);
    assert(rc == ERR_NONE);
    (void)rc;
    dispatch(c, h, buf_str(&c->body));
    buf_fini(&head);
}

/* --- decompression, on libuv's thread pool: a bomb must not hold up the loop --- */

struct decode_job {
    uv_work_t work;
    struct http_conn *conn; /* NULL when it is gone */
    enum http_coding coding;
    struct buf in, out;
    err e;
    enum errc rc;
};

static void job_detach(struct decode_job *job) { job->conn = NULL; }

static void job_run(uv_work_t *w)
{
    struct decode_job *job = w->data;
    job->rc = coding_decode(job->coding, buf_str(&job->in), &job->out, &job->e);
}

static void job_done(uv_work_t *w, int status)
{
    struct decode_job *job = w->data;
    struct http_conn *c = job->conn;
    (void)status;
    buf_fini(&job->in);
    if (c && c->state == CONN_DECODE) {
        c->job = NULL;
        if (job->rc != ERR_NONE) {
            struct http_head *h = &c->server->loop->head;
            err ignored;
            bool is_parsed = http_parse_request(buf_str(&c->head_bytes), &c->server->limits.http, h, &ignored) == ERR_NONE;
            refuse(c, is_parsed ? h : NULL, &job->e);
        } else {
            c->body = job->out;
            job->out = (struct buf){0};
            dispatch_collected(c);
        }
    } else if (c) {
        c->job = NULL;
    }
    buf_fini(&job->out);
    free(job);
}

static void start_decoding(struct http_conn *c)
{
    struct decode_job *job = calloc(1, sizeof *job);
    if (!job) {
        err e;
        err_code(&e, ERR_NO_MEMORY);
        refuse(c, NULL, &e);
        return;
    }
    job->conn = c;
    job->coding = c->coding;
    job->in = c->body;
    buf_init(&job->out, c->body.max);
    job->work.data = job;
    buf_init(&c->body, job->in.max);
    c->job = job;
    c->state = CONN_DECODE;
    loop_disarm(c->server->loop, &c->timer);
    uv_queue_work(&c->server->loop->uv, &job->work, job_run, job_done);
}

static void body_complete(struct http_conn *c)
{
    if (c->coding != CODING_IDENTITY)
        start_decoding(c);
    else
        dispatch_collected(c);
}

/* Takes body bytes from *data. False when the connection was refused. */
static bool take_body(struct http_conn *c, str *data)
{
    err e = {0};
    if (c->framing == HTTP_BODY_LENGTH) {
        str part = str_take(*data, c->body_left > SIZE_MAX ? SIZE_MAX : (size_t)c->body_left);
        buf_add(&c->body, part);
        c->body_left -= part.len;
        *data = str_skip(*data, part.len);
        if (c->body_left == 0 && !c->body.failed) {
            body_complete(c);
            return true;
        }
    } else {
        enum http_progress progress = HTTP_MORE;
        while (data->len && progress == HTTP_MORE && !c->body.failed) {
            str part;
            progress = http_chunked_next(&c->chunked, data, &part, &e);
            buf_add(&c->body, part);
            if (c->chunked.left > c->body.max - c->body.len)
                c->body.failed = ERR_TOO_LARGE; /* the chunk's announced size tells it already */
        }
        if (progress == HTTP_BAD) {
            refuse(c, NULL, &e);
            return false;
        }
        if (progress == HTTP_DONE && !c->body.failed) {
            body_complete(c);
            return true;
        }
    }
    if (c->body.failed) {
        if (c->body.failed == ERR_TOO_LARGE)
            err_set(&e, ERR_TOO_LARGE, "the request body is larger than the limit of %zu bytes", c->body.max);
        else
            err_code(&e, c->body.failed);
        refuse(c, NULL, &e);
        return false;
    }
    return true;
}

/* A head is complete; what follows it stands at the start of *rest. */
static void begin_request(struct http_conn *c, str head, str *rest)
{
    struct server *s = c->server;
    struct http_head *h = &s->loop->head;
    err e = {0};
    size_t body_max = 0;
    c->arrived_us = clock_now_us();
    c->arrived_mono_us = clock_mono_us();
    c->is_head_request = false;
    c->is_http10 = false;
    c->keeps_alive = false;
    if (http_parse_request(head, &s->limits.http, h, &e) != ERR_NONE) {
        refuse(c, NULL, &e);
        return;
    }
    c->is_head_request = h->method == HTTP_HEAD;
    c->is_http10 = h->minor_version == 0;
    c->keeps_alive = h->keeps_alive && !s->is_draining;
    if (s->handler.on_head(s->ctx, c, h, &body_max, &e) != ERR_NONE ||
        coding_parse(h->content_encoding, &c->coding, &e) != ERR_NONE) {
        refuse(c, h, &e);
        return;
    }
    if (h->framing == HTTP_BODY_LENGTH && h->content_length > body_max) {
        err_set(&e, ERR_TOO_LARGE, "the request body of %llu bytes is larger than the limit of %zu bytes",
                (unsigned long long)h->content_length, body_max);
        refuse(c, h, &e);
        return;
    }
    c->framing = h->framing;
    if (h->framing == HTTP_BODY_NONE || (h->framing == HTTP_BODY_LENGTH && h->content_length == 0)) {
        dispatch(c, h, S(""));
        return;
    }
    if (h->framing == HTTP_BODY_LENGTH && c->coding == CODING_IDENTITY && rest->len >= h->content_length) {
        str body = str_take(*rest, (size_t)h->content_length);
        *rest = str_skip(*rest, body.len);
        dispatch(c, h, body);
        return;
    }
    c->body_left = h->content_length;
    http_chunked_init(&c->chunked);
    buf_fini(&c->head_bytes);
    buf_init(&c->head_bytes, head.len);
    buf_add(&c->head_bytes, head);
    buf_fini(&c->body);
    buf_init(&c->body, body_max);
    if (h->framing == HTTP_BODY_LENGTH)
        buf_reserve(&c->body, h->content_length < BODY_FIRST_BYTES ? (size_t)h->content_length : BODY_FIRST_BYTES);
    if (c->head_bytes.failed || c->body.failed) {
        err_code(&e, ERR_NO_MEMORY);
        refuse(c, h, &e);
        return;
    }
    c->state = CONN_BODY;
    c->first_byte_ms = loop_now_ms(s->loop);
    loop_arm(s->loop, &c->timer, BODY_CHECK_MS);
    if (h->expects_continue && rest->len == 0)
        http_send(c, (str[]){S("HTTP/1.1 100 Continue\r\n\r\n")}, 1);
}

/* Works through input until it is used up or the handler is busy. data follows what c->in holds. */
static void conn_process(struct http_conn *c, str data)
{
    struct server *s = c->server;
    bool is_own = c->in.len > 0;
    if (is_own) {
        buf_add(&c->in, data);
        if (c->in.failed) {
            conn_close(c);
            return;
        }
        data = buf_str(&c->in);
    }
    str rest = data;
    c->is_processing = true;
    while (rest.len && (c->state == CONN_HEAD || c->state == CONN_BODY)) {
        if (c->state == CONN_BODY) {
            if (!take_body(c, &rest))
                break;
            continue;
        }
        size_t head_len = 0;
        err e = {0};
        enum http_progress progress = http_head_find(&c->scan, rest, &s->limits.http, &head_len, &e);
        if (progress == HTTP_MORE) {
            if (c->first_byte_ms == 0) {
                c->first_byte_ms = loop_now_ms(s->loop);
                loop_arm(s->loop, &c->timer, s->limits.head_timeout_ms);
            }
            break;
        }
        c->first_byte_ms = 0;
        if (progress == HTTP_BAD) {
            refuse(c, NULL, &e);
            break;
        }
        str head = str_take(rest, head_len);
        rest = str_skip(rest, head_len);
        begin_request(c, head, &rest);
    }
    c->is_processing = false;
    if (c->state == CONN_CLOSED)
        return;
    if (c->state == CONN_LINGER) {
        buf_fini(&c->in);
        return;
    }
    if (is_own) {
        buf_consume(&c->in, data.len - rest.len);
        if (!c->in.len)
            buf_fini(&c->in);
    } else if (rest.len) {
        buf_init(&c->in, s->limits.http.head_bytes + 2 * LOOP_READ_BYTES);
        buf_add(&c->in, rest);
        if (c->in.failed)
            conn_close(c);
    }
    if (c->state == CONN_HEAD && c->saw_eof)
        conn_close(c);
}

static void on_input(struct http_conn *c)
{
    struct loop *l = c->server->loop;
    do {
        /* a large body with known length goes straight into its buffer */
        bool is_direct = c->state == CONN_BODY && c->framing == HTTP_BODY_LENGTH && !c->in.len && c->body.cap - c->body.len > 4096;
        size_t room = LOOP_READ_BYTES;
        char *into = l->read_bytes;
        if (is_direct) {
            room = c->body.cap - c->body.len;
            if (room > c->body_left)
                room = (size_t)c->body_left;
            into = c->body.p + c->body.len;
        }
        ssize_t n = sock_read(&c->sock, into, room);
        if (n == SOCK_AGAIN)
            return;
        if (n <= 0) {
            c->saw_eof = true;
            if (c->state == CONN_HEAD || c->state == CONN_BODY || c->state == CONN_LINGER || n < 0)
                conn_close(c);
            return;
        }
        if (c->state == CONN_LINGER)
            continue;
        if (is_direct) {
            buf_added(&c->body, (size_t)n);
            c->body_left -= (uint64_t)n;
            if (c->body_left == 0) {
                c->is_processing = true;
                body_complete(c);
                c->is_processing = false;
                if (c->state == CONN_HEAD && c->in.len)
                    conn_process(c, S(""));
            }
        } else {
            conn_process(c, str_of(l->read_bytes, (size_t)n));
        }
    } while ((c->state == CONN_HEAD || c->state == CONN_BODY || c->state == CONN_LINGER) && sock_has_buffered(&c->sock));
}

static void on_ready(struct sock *sock, bool can_read, bool can_write, bool is_gone)
{
    struct http_conn *c = (struct http_conn *)((char *)sock - offsetof(struct http_conn, sock));
    if (c->state == CONN_HANDSHAKE) {
        bool failed;
        if (sock_handshake(sock, &failed)) {
            start_head(c);
            loop_arm(c->server->loop, &c->timer, c->server->limits.head_timeout_ms);
            if (sock_has_buffered(sock))
                on_input(c);
        } else if (failed || is_gone) {
            conn_close(c);
        }
        return;
    }
    if (can_write && !c->has_hold) {
        if (!flush(c))
            return;
        if (!queued(c))
            after_flush(c);
        if (c->state == CONN_BUSY && c->was_congested && queued(c) <= c->server->limits.queue_bytes / 2) {
            c->was_congested = false;
            if (c->on_drained)
                c->on_drained(c->user);
        }
    }
    if (c->state == CONN_CLOSED)
        return;
    if (can_write && c->has_hold) /* http_release writes, and watches again when it must */
        sock_watch(sock, sock->watched & ~(unsigned)SOCK_WRITE);
    if (can_read && (c->state == CONN_HEAD || c->state == CONN_BODY || c->state == CONN_LINGER)) {
        on_input(c);
        return;
    }
    if (is_gone) {
        /* While an answer is made, a client that closed its side counts as gone: its request is not worth the provider's tokens. */
        c->saw_eof = true;
        if (c->state == CONN_BUSY || c->state == CONN_DECODE)
            conn_gone(c);
        else if (c->state != CONN_FLUSH)
            conn_close(c);
        else if (c->has_hold)
            sock_watch(sock, 0); /* a broken connection would be told again and again until the release finds it */
        return;
    }
    if (can_read) /* the next request came before this one was answered: it waits in the kernel */
        sock_watch(sock, sock->watched & ~(unsigned)SOCK_READ);
}

static void on_timer(struct wheel_timer *t)
{
    struct http_conn *c = (struct http_conn *)((char *)t - offsetof(struct http_conn, timer));
    const struct server_limits *limits = &c->server->limits;
    err e = {0};
    uint64_t now = loop_now_ms(c->server->loop);
    switch (c->state) {
    case CONN_HEAD:
        if (!c->in.len) {
            conn_close(c);
            return;
        }
        err_set(&e, ERR_TIMEOUT, "the request head did not arrive within %llu ms", (unsigned long long)limits->head_timeout_ms);
        refuse(c, NULL, &e);
        return;
    case CONN_BODY: {
        uint64_t elapsed_ms = now - c->first_byte_ms;
        if (elapsed_ms > limits->body_grace_ms && c->body.len * 1000 / elapsed_ms < limits->body_min_rate) {
            err_set(&e, ERR_TIMEOUT, "the request body arrives at less than %llu bytes per second",
                    (unsigned long long)limits->body_min_rate);
            refuse(c, NULL, &e);
            return;
        }
        loop_arm(c->server->loop, &c->timer, BODY_CHECK_MS);
        return;
    }
    case CONN_BUSY:
    case CONN_FLUSH:
        stats_add(c->server->shared->timed_out, slot(c), 1);
        conn_gone(c); /* the client does not read */
        return;
    default:
        conn_close(c);
        return;
    }
}

/* --- accepting --- */

static void map_peer(const struct sockaddr_storage *from, struct in6_addr *out)
{
    if (from->ss_family == AF_INET6) {
        *out = ((const struct sockaddr_in6 *)from)->sin6_addr;
        return;
    }
    memset(out, 0, sizeof *out);
    out->s6_addr[10] = out->s6_addr[11] = 0xff;
    memcpy(out->s6_addr + 12, &((const struct sockaddr_in *)from)->sin_addr, 4);
}

bool http_peer_is_loopback(const struct http_conn *c)
{
    return IN6_IS_ADDR_LOOPBACK(&c->peer) || (IN6_IS_ADDR_V4MAPPED(&c->peer) && c->peer.s6_addr[12] == 127);
}

static void conn_accept(struct server *s, int fd, const struct sockaddr_storage *from)
{
    struct server_shared *shared = s->shared;
    struct in6_addr peer;
    err e;
    map_peer(from, &peer);
    if (shared->n_connections >= s->limits.connections) {
        stats_add(shared->refused_full, s->loop->index, 1);
        close(fd);
        return;
    }
    if (!peer_enter(shared, &peer, s->limits.connections_per_address)) {
        stats_add(shared->refused_address, s->loop->index, 1);
        close(fd);
        return;
    }
    struct http_conn *c = s->spare;
    if (c) {
        s->spare = c->next;
        s->n_spare--;
    } else {
        c = malloc(sizeof *c);
    }
    SSL *ssl = s->tls ? SSL_new(s->tls) : NULL;
    if (!c || (s->tls && !ssl)) {
        free(c);
        SSL_free(ssl);
        peer_leave(shared, &peer);
        close(fd);
        return;
    }
    memset(c, 0, sizeof *c);
    c->server = s;
    c->peer = peer;
    c->out.max = SIZE_MAX / 2; /* bounded by whoever sends: answers stop being read upstream when congested */
    c->timer.fire = on_timer;
    c->sock.on_ready = on_ready;
    c->sock.on_closed = on_conn_closed;
    if (ssl)
        SSL_set_accept_state(ssl);
    if (sock_open(&c->sock, s->loop, fd, ssl, &e) != ERR_NONE) {
        log_error(LOG_ERROR, "connection_failed", &e);
        SSL_free(ssl);
        free(c);
        peer_leave(shared, &peer);
        close(fd);
        return;
    }
    shared->n_connections++;
    stats_add(shared->accepted, s->loop->index, 1);
    stats_add(shared->open, s->loop->index, 1);
    c->next = s->first;
    c->link = &s->first;
    if (c->next)
        c->next->link = &c->next;
    s->first = c;
    start_head(c);
    if (ssl)
        c->state = CONN_HANDSHAKE;
    loop_arm(s->loop, &c->timer, s->limits.head_timeout_ms);
}

static void on_acceptable(uv_poll_t *h, int status, int events);

static void accept_again(struct wheel_timer *t)
{
    struct server *s = (struct server *)((char *)t - offsetof(struct server, accept_pause));
    s->is_accept_paused = false;
    if (s->is_listening)
        uv_poll_start(&s->listener, UV_READABLE, on_acceptable);
}

static void on_acceptable(uv_poll_t *h, int status, int events)
{
    struct server *s = h->data;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        int fd = accept4(s->listen_fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            conn_accept(s, fd, &from);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            err e;
            err_errno(&e, ERR_UNAVAILABLE, errno, "accepting a connection");
            log_error(LOG_ERROR, "accept_failed", &e);
            uv_poll_stop(&s->listener);
            s->is_accept_paused = true;
            loop_arm(s->loop, &s->accept_pause, ACCEPT_PAUSE_MS);
            return;
        }
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

enum errc server_start(struct server *s, struct loop *l, struct server_shared *shared, const struct http_handler *handler,
                       void *ctx, err *e)
{
    *s = (struct server){.loop = l, .shared = shared, .handler = *handler, .ctx = ctx, .date_s = -1};
    s->accept_pause.fire = accept_again;
    server_change(s, &shared->limits, shared->tls);
    s->listen_fd = listen_fd(&shared->address, true, e);
    if (s->listen_fd < 0)
        return e ? e->code : ERR_IO;
    uv_poll_init(&l->uv, &s->listener, s->listen_fd);
    s->listener.data = s;
    uv_poll_start(&s->listener, UV_READABLE, on_acceptable);
    s->is_listening = true;
    return ERR_NONE;
}

void server_change(struct server *s, const struct server_limits *limits, SSL_CTX *tls)
{
    s->limits = *limits;
    if (tls)
        SSL_CTX_up_ref(tls);
    SSL_CTX_free(s->tls);
    s->tls = tls;
}

void server_drain(struct server *s) { s->is_draining = true; }

void server_stop(struct server *s, void (*on_idle)(struct server *s))
{
    s->is_draining = s->is_stopping = true;
    s->on_idle = on_idle;
    if (s->is_listening) {
        on_acceptable(&s->listener, 0, UV_READABLE); /* who is connected already would see a reset */
        s->is_listening = false;
        loop_disarm(s->loop, &s->accept_pause);
        uv_close((uv_handle_t *)&s->listener, NULL);
        close(s->listen_fd);
    }
    bool is_empty = s->first == NULL;
    for (struct http_conn *c = s->first, *next; c; c = next) {
        next = c->next;
        /* A new connection is there for a request, which is on its way: a proxy may not send it again elsewhere. */
        bool is_idle = c->state == CONN_HANDSHAKE || (c->state == CONN_HEAD && !c->in.len);
        if (is_idle && !c->n_requests)
            loop_arm(s->loop, &c->timer, FIRST_REQUEST_MS);
        else if (is_idle || c->state == CONN_LINGER)
            conn_close(c);
    }
    if (is_empty && on_idle)
        on_idle(s);
}

void server_abort(struct server *s)
{
    bool is_first = !s->is_aborting;
    s->is_aborting = true;
    for (struct http_conn *c = s->first, *next; c; c = next) {
        next = c->next;
        void (*stop)(void *) = c->on_stop;
        c->on_stop = NULL;
        if (is_first && stop)
            stop(c->user);
        else
            conn_gone(c);
    }
}

void server_fini(struct server *s)
{
    SSL_CTX_free(s->tls);
    s->tls = NULL;
    while (s->spare) {
        struct http_conn *next = s->spare->next;
        free(s->spare);
        s->spare = next;
    }
}
