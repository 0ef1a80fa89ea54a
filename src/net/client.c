#include "net/client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEND_SLICES_MAX 64
#define PEEK_AFTER_MS 1000 /* a connection that rested longer is looked at before it is used again */

/* Answers of providers carry long heads (rate limits, cookies, policies). */
static const struct http_limits head_limits = {.head_bytes = 64 << 10, .headers = HTTP_HEADERS_MAX};

enum client_state { CLIENT_RESOLVING, CLIENT_CONNECTING, CLIENT_TUNNEL, CLIENT_HANDSHAKE, CLIENT_HEAD, CLIENT_BODY, CLIENT_IDLE, CLIENT_CLOSED };

struct client_conn {
    struct sock sock;
    struct client_pool *pool;
    struct client_call *call; /* NULL while idle or closed */
    struct client_conn *next_idle, **idle_link;
    struct client_conn *next_all, **all_link;
    struct wheel_timer timer;
    enum client_state state;
    bool keeps_alive, is_paused, has_sock;
    enum http_framing framing;
    struct http_head_scan scan;
    struct http_chunked chunked;
    uint64_t body_left;
    uint64_t last_ms;         /* of the last byte of the answer, or when it became idle */
    struct buf in;            /* a head in progress */
    struct buf tunnel;        /* what is left of the request for a tunnel */
    struct buf out;           /* request bytes not yet written */
    size_t out_at;
    unsigned next_address;
    uv_getaddrinfo_t *resolving;
};

static void on_ready(struct sock *sock, bool can_read, bool can_write, bool is_gone);
static void on_timer(struct wheel_timer *t);
static void on_connect_ready(struct client_conn *c);

/* --- connection life --- */

static void conn_free(struct client_conn *c)
{
    buf_fini(&c->in);
    buf_fini(&c->tunnel);
    buf_fini(&c->out);
    *c->all_link = c->next_all;
    if (c->next_all)
        c->next_all->all_link = c->all_link;
    free(c);
}

static void on_sock_closed(struct sock *sock)
{
    conn_free((struct client_conn *)((char *)sock - offsetof(struct client_conn, sock)));
}

static void leave_idle(struct client_conn *c)
{
    *c->idle_link = c->next_idle;
    if (c->next_idle)
        c->next_idle->idle_link = c->idle_link;
    c->idle_link = NULL;
    c->pool->n_idle--;
}

static void conn_close(struct client_conn *c)
{
    if (c->state == CLIENT_CLOSED)
        return;
    if (c->state == CLIENT_IDLE)
        leave_idle(c);
    enum client_state before = c->state;
    c->state = CLIENT_CLOSED;
    loop_disarm(c->pool->loop, &c->timer);
    if (c->call)
        c->call->conn = NULL;
    c->call = NULL;
    if (before == CLIENT_RESOLVING) {
        uv_cancel((uv_req_t *)c->resolving); /* freed when the resolver answers, cancelled or not */
        return;
    }
    if (c->has_sock)
        sock_close(&c->sock);
    else
        conn_free(c);
}

static void fail(struct client_conn *c, const err *e)
{
    struct client_call *call = c->call;
    conn_close(c);
    if (call)
        call->on_error(call, e);
}

static struct client_conn *conn_new(struct client_pool *p)
{
    struct client_conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->pool = p;
    c->state = CLIENT_CONNECTING;
    c->timer.fire = on_timer;
    c->sock.on_ready = on_ready;
    c->sock.on_closed = on_sock_closed;
    buf_init(&c->out, SIZE_MAX / 2); /* bounded by the request's own limit */
    c->next_all = p->all;
    c->all_link = &p->all;
    if (c->next_all)
        c->next_all->all_link = &c->next_all;
    p->all = c;
    return c;
}

/* --- time limits --- */

static uint64_t left_until(uint64_t due, uint64_t now) { return due > now ? due - now : 0; }

/* One timer per connection, armed for the limit that can strike first; bytes that arrive only move last_ms, and the timer looks at it when it fires. */
static void arm(struct client_conn *c)
{
    const struct client_target *t = c->pool->target;
    uint64_t now = loop_now_ms(c->pool->loop), wait;
    if (c->state == CLIENT_IDLE) {
        wait = left_until(c->last_ms + t->idle_timeout_ms, now);
    } else if (c->state < CLIENT_HEAD) {
        wait = left_until(c->call->started_ms + t->connect_timeout_ms, now);
    } else {
        uint64_t total = left_until(c->call->started_ms + t->total_timeout_ms, now);
        wait = left_until(c->last_ms + (c->state == CLIENT_HEAD ? t->first_byte_timeout_ms : t->stall_timeout_ms), now);
        if (total < wait)
            wait = total;
    }
    loop_arm(c->pool->loop, &c->timer, wait);
}

static void on_timer(struct wheel_timer *timer)
{
    struct client_conn *c = (struct client_conn *)((char *)timer - offsetof(struct client_conn, timer));
    const struct client_target *t = c->pool->target;
    uint64_t now = loop_now_ms(c->pool->loop);
    err e;
    if (c->state == CLIENT_IDLE) {
        conn_close(c);
        return;
    }
    if (c->state < CLIENT_HEAD) {
        err_set(&e, ERR_UPSTREAM_TIMEOUT, "connecting to %s:%u took longer than upstream.connect_timeout_ms (%llu ms)", t->host,
                t->port, (unsigned long long)t->connect_timeout_ms);
    } else if (now >= c->call->started_ms + t->total_timeout_ms) {
        err_set(&e, ERR_UPSTREAM_TIMEOUT, "the answer of %s took longer than upstream.total_timeout_ms (%llu ms)", t->host,
                (unsigned long long)t->total_timeout_ms);
    } else if (c->state == CLIENT_HEAD && now >= c->last_ms + t->first_byte_timeout_ms) {
        err_set(&e, ERR_UPSTREAM_TIMEOUT, "%s did not begin to answer within upstream.first_byte_timeout_ms (%llu ms)", t->host,
                (unsigned long long)t->first_byte_timeout_ms);
    } else if (c->state == CLIENT_BODY && !c->is_paused && now >= c->last_ms + t->stall_timeout_ms) {
        err_set(&e, ERR_UPSTREAM_TIMEOUT, "%s sent nothing for upstream.stall_timeout_ms (%llu ms) in the middle of its answer",
                t->host, (unsigned long long)t->stall_timeout_ms);
    } else {
        if (c->is_paused)
            c->last_ms = now; /* the client's slowness is not the provider's */
        arm(c);
        return;
    }
    fail(c, &e);
}

/* --- sending --- */

static bool flush(struct client_conn *c)
{
    while (c->out_at < c->out.len) {
        struct iovec v = {c->out.p + c->out_at, c->out.len - c->out_at};
        ssize_t n = sock_writev(&c->sock, &v, 1);
        if (n == SOCK_AGAIN) {
            sock_watch(&c->sock, c->sock.watched | SOCK_WRITE);
            return true;
        }
        if (n < 0)
            return false;
        c->out_at += (size_t)n;
        c->last_ms = loop_now_ms(c->pool->loop);
    }
    buf_fini(&c->out);
    c->out_at = 0;
    if (c->call && !c->call->sent_mono_us)
        c->call->sent_mono_us = clock_mono_us();
    if (c->sock.watched & SOCK_WRITE)
        sock_watch(&c->sock, c->sock.watched & ~(unsigned)SOCK_WRITE);
    return true;
}

static void await_answer(struct client_conn *c)
{
    c->state = CLIENT_HEAD;
    c->last_ms = loop_now_ms(c->pool->loop);
    http_head_scan_init(&c->scan);
    arm(c);
    if (!(c->sock.watched & SOCK_READ))
        sock_watch(&c->sock, c->sock.watched | SOCK_READ);
}

static void write_failed(struct client_conn *c)
{
    err e;
    err_set(&e, ERR_UPSTREAM, "%s closed the connection while the request was being written", c->pool->target->host);
    fail(c, &e);
}

/* The connection stands: the request that waited goes out. */
static void connected(struct client_conn *c)
{
    c->call->connect_us = clock_mono_us() - c->call->started_mono_us;
    await_answer(c);
    if (!flush(c))
        write_failed(c);
}

/* --- connecting --- */

static bool has_proxy(const struct client_target *t) { return t->route && t->route->proxy_host; }
static const char *dial_host(const struct client_target *t) { return has_proxy(t) ? t->route->proxy_host : t->host; }
static uint16_t dial_port(const struct client_target *t) { return has_proxy(t) ? t->route->proxy_port : t->port; }

static enum errc unreachable(const struct client_target *t, int number, err *e)
{
    return err_errno(e, ERR_UNREACHABLE, number, "connecting to %s%s:%u", has_proxy(t) ? "the proxy " : "", dial_host(t), dial_port(t));
}

/* Starts on the next address; ERR_UNREACHABLE when all have failed. */
static enum errc try_next_address(struct client_conn *c, int last_errno, err *e)
{
    struct client_pool *p = c->pool;
    while (c->next_address < p->n_addresses) {
        const struct sockaddr_storage *address = &p->addresses[c->next_address++];
        const struct outbound_route *route = p->target->route;
        struct address number;
        if (route && !has_proxy(p->target) && address_of((const struct sockaddr *)address, &number) &&
            !address_may_connect(&number, &route->allowed, route->allows_local))
            return err_set(e, ERR_UNREACHABLE, "%s leads to an address that may not be reached (see outbound.allow_addresses)",
                           p->target->host);
        socklen_t len = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        int fd = sock_new_fd(address->ss_family);
        if (fd < 0) {
            last_errno = errno;
            continue;
        }
        if (connect(fd, (const struct sockaddr *)address, len) < 0 && errno != EINPROGRESS) {
            last_errno = errno;
            close(fd);
            continue;
        }
        SSL *ssl = NULL;
        if (p->target->tls && !has_proxy(p->target) && !(ssl = tls_client_connection(p->target->tls, p->target->host))) {
            close(fd);
            return err_code(e, ERR_NO_MEMORY);
        }
        enum errc rc = sock_open(&c->sock, p->loop, fd, ssl, e);
        if (rc != ERR_NONE) {
            SSL_free(ssl);
            close(fd);
            return rc;
        }
        c->has_sock = true;
        c->state = CLIENT_CONNECTING;
        sock_watch(&c->sock, SOCK_WRITE);
        return ERR_NONE;
    }
    return unreachable(p->target, last_errno ? last_errno : EHOSTUNREACH, e);
}

/* A socket that failed to connect is closed on its own, since libuv needs its handle until the end of the turn: a fresh connection
 * object takes over call, request and place in the list of addresses. */
static void connect_failed(struct client_conn *c, int number)
{
    err e = {0};
    struct client_call *call = c->call;
    struct client_conn *fresh = c->next_address < c->pool->n_addresses ? conn_new(c->pool) : NULL;
    if (fresh) {
        fresh->call = call;
        fresh->out = c->out;
        fresh->next_address = c->next_address;
        buf_init(&c->out, 0);
        c->call = NULL;
        call->conn = fresh;
        conn_close(c);
        if (try_next_address(fresh, number, &e) == ERR_NONE) {
            arm(fresh);
            return;
        }
        fail(fresh, &e);
        return;
    }
    unreachable(c->pool->target, number, &e);
    fail(c, &e);
}

static void remember_addresses(struct client_pool *p, const struct addrinfo *found)
{
    p->n_addresses = 0;
    for (; found && p->n_addresses < CLIENT_ADDRESSES_MAX; found = found->ai_next) {
        if (found->ai_family != AF_INET && found->ai_family != AF_INET6)
            continue;
        struct sockaddr_storage *a = &p->addresses[p->n_addresses++];
        memcpy(a, found->ai_addr, found->ai_addrlen);
        if (a->ss_family == AF_INET)
            ((struct sockaddr_in *)a)->sin_port = htons(dial_port(p->target));
        else
            ((struct sockaddr_in6 *)a)->sin6_port = htons(dial_port(p->target));
    }
    p->resolved_ms = loop_now_ms(p->loop) + 1;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct client_conn *c = req->data;
    struct client_pool *p = c->pool;
    err e = {0};
    free(req);
    c->resolving = NULL;
    if (c->state == CLIENT_CLOSED) {
        uv_freeaddrinfo(found);
        conn_free(c);
        return;
    }
    if (status == 0)
        remember_addresses(p, found);
    uv_freeaddrinfo(found);
    c->state = CLIENT_CONNECTING; /* nothing is being resolved any more, whatever follows */
    if (status != 0) {
        err_set(&e, ERR_UNREACHABLE, "looking up %s: %s", dial_host(p->target), uv_strerror(status));
        fail(c, &e);
        return;
    }
    if (try_next_address(c, 0, &e) != ERR_NONE)
        fail(c, &e);
}

static enum errc start_connecting(struct client_conn *c, err *e)
{
    struct client_pool *p = c->pool;
    if (p->is_numeric || (p->resolved_ms && loop_now_ms(p->loop) < p->resolved_ms + CLIENT_RESOLVE_TTL_MS)) {
        c->state = CLIENT_CONNECTING;
        return try_next_address(c, 0, e);
    }
    c->resolving = malloc(sizeof *c->resolving);
    if (!c->resolving)
        return err_code(e, ERR_NO_MEMORY);
    c->resolving->data = c;
    c->state = CLIENT_RESOLVING;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    int rc = uv_getaddrinfo(&p->loop->uv, c->resolving, on_resolved, dial_host(p->target), NULL, &hints);
    if (rc == 0)
        return ERR_NONE;
    free(c->resolving);
    c->resolving = NULL;
    c->state = CLIENT_CONNECTING;
    return err_set(e, ERR_UNREACHABLE, "looking up %s: %s", dial_host(p->target), uv_strerror(rc));
}

/* --- answers --- */

static void finished(struct client_conn *c, bool has_leftover)
{
    struct client_call *call = c->call;
    struct client_pool *p = c->pool;
    bool is_reusable = c->keeps_alive && !has_leftover && c->out_at == c->out.len && !c->out.len && !p->is_closing &&
                       !c->sock.is_gone_told && !sock_has_buffered(&c->sock);
    struct buf in = c->in; /* reported slices may point into it until on_end has returned */
    buf_init(&c->in, 0);
    c->call = NULL;
    call->conn = NULL;
    if (!is_reusable || !p->target->idle_connections) {
        conn_close(c);
    } else {
        if (p->n_idle >= p->target->idle_connections) {
            struct client_conn *oldest = p->idle;
            while (oldest->next_idle)
                oldest = oldest->next_idle;
            conn_close(oldest);
        }
        c->state = CLIENT_IDLE;
        c->next_idle = p->idle;
        c->idle_link = &p->idle;
        if (c->next_idle)
            c->next_idle->idle_link = &c->next_idle;
        p->idle = c;
        p->n_idle++;
        c->last_ms = loop_now_ms(p->loop);
        arm(c);
    }
    call->on_end(call);
    buf_fini(&in);
}

/* Whether the callbacks so far have left this call on this connection. */
static bool goes_on(const struct client_conn *c, const struct client_call *call) { return c->state != CLIENT_CLOSED && c->call == call; }

/* Takes a complete head from *in. False when there is nothing more to do with this read. */
static bool take_head(struct client_conn *c, str *in)
{
    struct client_call *call = c->call;
    struct http_head *h = &c->pool->loop->head;
    size_t len = 0;
    err e = {0};
    enum http_progress progress = http_head_find(&c->scan, *in, &head_limits, &len, &e);
    if (progress == HTTP_MORE)
        return false;
    if (progress == HTTP_BAD || http_parse_response(str_take(*in, len), &head_limits, call->is_head_request, h, &e) != ERR_NONE) {
        e.code = ERR_UPSTREAM;
        err_prefix(&e, "%s answered with something that is not HTTP/1.1", c->pool->target->host);
        fail(c, &e);
        return false;
    }
    *in = str_skip(*in, len);
    http_head_scan_init(&c->scan);
    if (h->status == 101) {
        err_set(&e, ERR_UPSTREAM, "%s switched protocols without being asked", c->pool->target->host);
        fail(c, &e);
        return false;
    }
    if (h->status < 200)
        return true; /* informational: the real head follows */
    c->state = CLIENT_BODY;
    c->framing = h->framing;
    c->body_left = h->content_length;
    c->keeps_alive = h->keeps_alive && h->framing != HTTP_BODY_UNTIL_CLOSE;
    http_chunked_init(&c->chunked);
    arm(c);
    call->on_head(call, h);
    return goes_on(c, call);
}

enum body_step { BODY_MORE, BODY_END, BODY_STOP };

static enum body_step take_body(struct client_conn *c, str *in)
{
    struct client_call *call = c->call;
    err e = {0};
    switch (c->framing) {
    case HTTP_BODY_NONE:
        return BODY_END;
    case HTTP_BODY_UNTIL_CLOSE:
    case HTTP_BODY_LENGTH: {
        str piece = c->framing == HTTP_BODY_LENGTH && c->body_left < in->len ? str_take(*in, (size_t)c->body_left) : *in;
        *in = str_skip(*in, piece.len);
        c->body_left -= c->framing == HTTP_BODY_LENGTH ? piece.len : 0;
        if (piece.len)
            call->on_data(call, piece);
        if (!goes_on(c, call))
            return BODY_STOP;
        return c->framing == HTTP_BODY_LENGTH && c->body_left == 0 ? BODY_END : BODY_MORE;
    }
    case HTTP_BODY_CHUNKED:
        while (in->len) {
            str piece;
            enum http_progress progress = http_chunked_next(&c->chunked, in, &piece, &e);
            if (piece.len)
                call->on_data(call, piece);
            if (!goes_on(c, call))
                return BODY_STOP;
            if (progress == HTTP_DONE)
                return BODY_END;
            if (progress == HTTP_BAD) {
                e.code = ERR_UPSTREAM;
                err_prefix(&e, "the answer of %s", c->pool->target->host);
                fail(c, &e);
                return BODY_STOP;
            }
        }
        return BODY_MORE;
    }
    return BODY_STOP;
}

static void on_answer_bytes(struct client_conn *c, str in)
{
    struct client_call *call = c->call;
    struct buf own;
    bool is_own = c->in.len > 0;
    c->last_ms = loop_now_ms(c->pool->loop);
    if (c->state == CLIENT_HEAD) {
        if (is_own) {
            buf_add(&c->in, in);
            in = buf_str(&c->in);
        }
        str rest = in;
        while (c->state == CLIENT_HEAD && take_head(c, &rest) && c->state == CLIENT_HEAD)
            continue;
        if (!goes_on(c, call))
            return;
        if (c->state == CLIENT_HEAD) { /* more of the head is to come */
            if (is_own) {
                buf_consume(&c->in, in.len - rest.len);
            } else {
                buf_init(&c->in, head_limits.head_bytes + LOOP_READ_BYTES);
                buf_add(&c->in, rest);
            }
            if (c->in.failed) {
                err e;
                err_code(&e, c->in.failed);
                fail(c, &e);
            }
            return;
        }
        in = rest;
    }
    switch (take_body(c, &in)) {
    case BODY_END:
        finished(c, in.len > 0);
        return;
    case BODY_MORE:
        own = c->in; /* reported slices may point into it until on_read_done has returned */
        buf_init(&c->in, 0);
        call->on_read_done(call);
        buf_fini(&own);
        return;
    case BODY_STOP:
        return;
    }
}

static void on_input_end(struct client_conn *c, bool is_failure)
{
    err e;
    if (!c->call) {
        conn_close(c);
        return;
    }
    if (c->state == CLIENT_BODY && c->framing == HTTP_BODY_UNTIL_CLOSE && !is_failure) {
        c->keeps_alive = false;
        finished(c, false);
        return;
    }
    err_set(&e, ERR_UPSTREAM, "%s closed the connection %s", c->pool->target->host,
            c->state == CLIENT_BODY ? "in the middle of its answer" : "without an answer");
    fail(c, &e);
}

static void on_input(struct client_conn *c)
{
    struct loop *l = c->pool->loop;
    do {
        ssize_t n = sock_read(&c->sock, l->read_bytes, LOOP_READ_BYTES);
        if (n == SOCK_AGAIN)
            return;
        if (n <= 0) {
            on_input_end(c, n < 0);
            return;
        }
        if (!c->call) { /* nothing was asked */
            conn_close(c);
            return;
        }
        on_answer_bytes(c, str_of(l->read_bytes, (size_t)n));
    } while (c->state != CLIENT_CLOSED && c->call && !c->is_paused && sock_has_buffered(&c->sock));
}

/* --- tunnels --- */

static bool send_tunnel(struct client_conn *c)
{
    struct iovec v = {c->tunnel.p, c->tunnel.len};
    ssize_t n = c->tunnel.len ? sock_writev(&c->sock, &v, 1) : 0;
    if (n == SOCK_FAILED)
        return false;
    if (n > 0)
        buf_consume(&c->tunnel, (size_t)n);
    sock_watch(&c->sock, c->tunnel.len ? SOCK_READ | SOCK_WRITE : SOCK_READ);
    return true;
}

static void start_tunnel(struct client_conn *c)
{
    const struct client_target *t = c->pool->target;
    bool is_ipv6 = strchr(t->host, ':') != NULL;
    const char *open = is_ipv6 ? "[" : "", *shut = is_ipv6 ? "]" : "";
    err e = {0};
    c->state = CLIENT_TUNNEL;
    buf_init(&c->tunnel, head_limits.head_bytes);
    buf_init(&c->in, head_limits.head_bytes);
    http_head_scan_init(&c->scan);
    buf_addf(&c->tunnel, "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n", open, t->host, shut, t->port, open, t->host, shut, t->port);
    if (t->route->proxy_authorization.len)
        buf_addf(&c->tunnel, "Proxy-Authorization: %.*s\r\n", STR(t->route->proxy_authorization));
    buf_add(&c->tunnel, S("\r\n"));
    if (buf_err(&c->tunnel) != ERR_NONE || !send_tunnel(c)) {
        err_set(&e, ERR_UNREACHABLE, "the proxy %s closed the connection", t->route->proxy_host);
        fail(c, &e);
    }
}

/* More of the proxy's answer. True when the tunnel stands; false when it has failed or more is to come. */
static bool take_tunnel(struct client_conn *c)
{
    const struct client_target *t = c->pool->target;
    struct http_head *h = &c->pool->loop->head;
    const char *proxy = t->route->proxy_host;
    size_t len = 0;
    SSL *ssl = NULL;
    err e = {0};
    char *room = buf_reserve(&c->in, 4096);
    ssize_t n = room ? sock_read(&c->sock, room, 4096) : 0;
    if (n == SOCK_AGAIN)
        return false;
    if (n > 0)
        buf_added(&c->in, (size_t)n);
    enum http_progress progress = n > 0 ? http_head_find(&c->scan, buf_str(&c->in), &head_limits, &len, &e) : HTTP_BAD;
    if (progress == HTTP_MORE)
        return false;
    if (n <= 0)
        err_set(&e, ERR_UNREACHABLE, "the proxy %s closed the connection without an answer", proxy);
    else if (progress == HTTP_BAD || http_parse_response(str_take(buf_str(&c->in), len), &head_limits, true, h, &e) != ERR_NONE)
        err_set(&e, ERR_UNREACHABLE, "the proxy %s answered with something that is not HTTP/1.1", proxy);
    else if (h->status < 200 || h->status > 299)
        err_set(&e, ERR_UNREACHABLE, "the proxy %s refused the way to %s:%u with status %d", proxy, t->host, t->port, h->status);
    else if (c->in.len > len)
        err_set(&e, ERR_UNREACHABLE, "the proxy %s sent something of its own into the tunnel", proxy);
    else if (!(ssl = tls_client_connection(t->tls, t->host)))
        err_code(&e, ERR_NO_MEMORY);
    if (e.code != ERR_NONE) {
        fail(c, &e);
        return false;
    }
    buf_fini(&c->in);
    buf_init(&c->in, 0);
    http_head_scan_init(&c->scan);
    sock_start_tls(&c->sock, ssl);
    return true;
}

static void on_tunnel_ready(struct client_conn *c, bool can_read, bool can_write)
{
    err e = {0};
    if (can_write && !send_tunnel(c)) {
        err_set(&e, ERR_UNREACHABLE, "the proxy %s closed the connection", c->pool->target->route->proxy_host);
        fail(c, &e);
    } else if (can_read && take_tunnel(c)) {
        c->state = CLIENT_HANDSHAKE;
        sock_watch(&c->sock, SOCK_READ);
        on_connect_ready(c);
    }
}

static void on_connect_ready(struct client_conn *c)
{
    bool failed = false;
    if (c->state == CLIENT_CONNECTING) {
        int number = 0;
        socklen_t len = sizeof number;
        getsockopt(c->sock.fd, SOL_SOCKET, SO_ERROR, &number, &len);
        if (number != 0) {
            connect_failed(c, number);
            return;
        }
        if (has_proxy(c->pool->target) && c->pool->target->tls) {
            start_tunnel(c);
            return;
        }
        if (!c->sock.ssl) {
            connected(c);
            return;
        }
        c->state = CLIENT_HANDSHAKE;
        sock_watch(&c->sock, SOCK_READ);
    }
    if (sock_handshake(&c->sock, &failed)) {
        connected(c);
    } else if (failed) {
        char reason[128];
        err e;
        tls_reason(c->sock.ssl, reason, sizeof reason);
        err_set(&e, ERR_UNREACHABLE, "TLS with %s:%u failed: %s", c->pool->target->host, c->pool->target->port, reason);
        fail(c, &e);
    }
}

static void on_ready(struct sock *sock, bool can_read, bool can_write, bool is_gone)
{
    struct client_conn *c = (struct client_conn *)((char *)sock - offsetof(struct client_conn, sock));
    if (c->state == CLIENT_CONNECTING || c->state == CLIENT_HANDSHAKE) {
        on_connect_ready(c);
        return;
    }
    if (c->state == CLIENT_TUNNEL) {
        on_tunnel_ready(c, can_read, can_write);
        return;
    }
    /* Input first: an answer (a 413, say) may have come before the request was all written. */
    if (can_read && !c->is_paused) {
        on_input(c);
        if (c->state == CLIENT_CLOSED)
            return;
    }
    if (can_write && !flush(c)) {
        write_failed(c);
        return;
    }
    if (is_gone && c->state == CLIENT_IDLE)
        conn_close(c);
}

/* --- calls --- */

void client_pool_init(struct client_pool *p, struct loop *l, const struct client_target *target)
{
    *p = (struct client_pool){.loop = l, .target = target};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&p->addresses[0];
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&p->addresses[0];
    if (inet_pton(AF_INET, dial_host(target), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(dial_port(target));
        p->is_numeric = true;
    } else if (inet_pton(AF_INET6, dial_host(target), &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(dial_port(target));
        p->is_numeric = true;
    }
    p->n_addresses = p->is_numeric;
}

void client_pool_close(struct client_pool *p)
{
    p->is_closing = true;
    while (p->idle)
        conn_close(p->idle);
}

/* A kept connection that is still good, or NULL. */
static struct client_conn *take_idle(struct client_pool *p)
{
    while (p->idle) {
        struct client_conn *c = p->idle;
        char byte;
        if (loop_now_ms(p->loop) - c->last_ms > PEEK_AFTER_MS) {
            ssize_t n = recv(c->sock.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
            if (n == 0 || (n > 0 && !c->sock.ssl)) { /* closed, or talking without being asked (TLS may send tickets) */
                conn_close(c);
                continue;
            }
        }
        leave_idle(c);
        return c;
    }
    return NULL;
}

static void queue(struct client_conn *c, const str *slices, unsigned n, size_t skip)
{
    for (unsigned i = 0; i < n; i++) {
        size_t drop = skip < slices[i].len ? skip : slices[i].len;
        skip -= drop;
        buf_add(&c->out, str_skip(slices[i], drop));
    }
}

enum errc client_start(struct client_pool *p, struct client_call *call, const str *slices, unsigned n, err *e)
{
    struct iovec v[SEND_SLICES_MAX];
    size_t total = 0;
    struct client_conn *c;
    assert(n <= SEND_SLICES_MAX);
    call->started_ms = loop_now_ms(p->loop);
    call->started_mono_us = clock_mono_us();
    call->sent_mono_us = 0;
    call->connect_us = 0;
    for (unsigned i = 0; i < n; i++) {
        v[i] = (struct iovec){(void *)(uintptr_t)slices[i].p, slices[i].len};
        total += slices[i].len;
    }
    while ((c = take_idle(p))) {
        ssize_t sent = sock_writev(&c->sock, v, n);
        if (sent == SOCK_FAILED) { /* nothing of the request went out: another connection may take it */
            c->state = CLIENT_HEAD;
            conn_close(c);
            continue;
        }
        c->call = call;
        call->conn = c;
        call->is_reused = true;
        await_answer(c);
        if (sent == (ssize_t)total) {
            call->sent_mono_us = clock_mono_us();
        } else {
            queue(c, slices, n, sent > 0 ? (size_t)sent : 0);
            sock_watch(&c->sock, c->sock.watched | SOCK_WRITE);
        }
        break;
    }
    if (!c) {
        c = conn_new(p);
        if (!c)
            return err_code(e, ERR_NO_MEMORY);
        c->call = call;
        call->conn = c;
        call->is_reused = false;
        queue(c, slices, n, 0);
        enum errc rc = c->out.failed ? err_code(e, c->out.failed) : start_connecting(c, e);
        if (rc != ERR_NONE) {
            conn_close(c);
            return rc;
        }
        arm(c);
    }
    if (c->out.failed) {
        enum errc rc = err_code(e, c->out.failed);
        conn_close(c);
        return rc;
    }
    return ERR_NONE;
}

void client_cancel(struct client_call *call)
{
    if (call->conn)
        conn_close(call->conn);
}

void client_pause(struct client_call *call)
{
    struct client_conn *c = call->conn;
    if (!c || c->is_paused)
        return;
    c->is_paused = true;
    sock_watch(&c->sock, c->sock.watched & ~(unsigned)SOCK_READ);
}

void client_resume(struct client_call *call)
{
    struct client_conn *c = call->conn;
    if (!c || !c->is_paused)
        return;
    c->is_paused = false;
    c->last_ms = loop_now_ms(c->pool->loop);
    sock_watch(&c->sock, c->sock.watched | SOCK_READ);
    if (sock_has_buffered(&c->sock))
        on_input(c);
}
