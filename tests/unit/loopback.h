/* loopback.h - for the tests of src/net and what stands on it: a loop on the test's own thread, and raw peers on
 * the same loop, driven step by step. The peers are libuv's own TCP handles, so that no test checks our sockets
 * with our sockets.
 *
 * WAIT turns the loop until its condition holds, and fails after a deadline: nothing sleeps.
 */
#ifndef TESTS_LOOPBACK_H
#define TESTS_LOOPBACK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "net/loop.h"

#define BENCH_DEADLINE_MS 30000
#define WIRE_BYTES_MAX (256u << 20)
#define PEER_WIRES_MAX 16

struct bench {
    struct loop loop;
    uv_timer_t deadline;
    bool is_late;
    struct wire *wires;
    struct peer *peers;
};

/* One raw connection, accepted or made. */
struct wire {
    uv_tcp_t tcp;
    struct wire *next;
    struct buf in; /* everything received */
    bool is_open, saw_eof, saw_error;
    unsigned n_unsent; /* wire_send calls that the kernel has not taken whole */
    uv_connect_t connecting;
    char bytes[65536];
};

/* A raw listener on 127.0.0.1. */
struct peer {
    uv_tcp_t listener;
    struct peer *next;
    struct bench *bench;
    uint16_t port;
    bool is_deaf; /* what it accepts is not read until wire_read */
    struct wire *wires[PEER_WIRES_MAX];
    unsigned n;
};

static inline void bench_late(uv_timer_t *t) { ((struct bench *)t->data)->is_late = true; }

#define WAIT(b, condition)                                                                                   \
    do {                                                                                                     \
        (b)->is_late = false;                                                                                \
        uv_timer_start(&(b)->deadline, bench_late, BENCH_DEADLINE_MS, 0);                                    \
        while (!(condition) && !(b)->is_late)                                                                \
            uv_run(&(b)->loop.uv, UV_RUN_ONCE);                                                              \
        uv_timer_stop(&(b)->deadline);                                                                       \
        if (!(condition)) fail_msg("line %d: it never came that %s", __LINE__, #condition);                  \
    } while (0)

/* Handles what has arrived by now: what was sent over the loopback before is there. */
static inline void bench_turn(struct bench *b)
{
    for (unsigned i = 0; i < 4; i++)
        uv_run(&b->loop.uv, UV_RUN_NOWAIT);
}

static inline struct bench *bench_new(void)
{
    err e = {0};
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(loop_init(&b->loop, 0, &e), ERR_NONE);
    uv_timer_init(&b->loop.uv, &b->deadline);
    b->deadline.data = b;
    return b;
}

static inline void bench_close_tcp(uv_handle_t *h, void *ctx)
{
    (void)ctx;
    if (h->type == UV_TCP && !uv_is_closing(h)) uv_close(h, NULL);
}

/* Everything of the product on the loop has been closed by the test: that the loop ends proves it. */
static inline void bench_free(struct bench *b)
{
    uv_walk(&b->loop.uv, bench_close_tcp, NULL);
    loop_finish(&b->loop);
    b->is_late = false;
    uv_timer_start(&b->deadline, bench_late, BENCH_DEADLINE_MS, 0);
    uv_unref((uv_handle_t *)&b->deadline);
    while (uv_run(&b->loop.uv, UV_RUN_ONCE) && !b->is_late)
        continue;
    assert_false(b->is_late);
    uv_close((uv_handle_t *)&b->deadline, NULL);
    uv_run(&b->loop.uv, UV_RUN_DEFAULT);
    loop_fini(&b->loop);
    while (b->wires) {
        struct wire *next = b->wires->next;
        buf_fini(&b->wires->in);
        free(b->wires);
        b->wires = next;
    }
    while (b->peers) {
        struct peer *next = b->peers->next;
        free(b->peers);
        b->peers = next;
    }
    free(b);
}

static inline void wire_room(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct wire *w = h->data;
    (void)suggested;
    *out = uv_buf_init(w->bytes, sizeof w->bytes);
}

static inline void wire_got(uv_stream_t *s, ssize_t n, const uv_buf_t *bytes)
{
    struct wire *w = s->data;
    if (n > 0) {
        buf_add(&w->in, str_of(bytes->base, (size_t)n));
    } else if (n < 0) {
        w->saw_eof |= n == UV_EOF;
        w->saw_error |= n != UV_EOF;
        uv_read_stop(s);
    }
}

static inline struct wire *wire_new(struct bench *b)
{
    struct wire *w = calloc(1, sizeof *w);
    assert_non_null(w);
    uv_tcp_init(&b->loop.uv, &w->tcp);
    w->tcp.data = w;
    buf_init(&w->in, WIRE_BYTES_MAX);
    w->next = b->wires;
    b->wires = w;
    return w;
}

static inline void wire_read(struct wire *w) { uv_read_start((uv_stream_t *)&w->tcp, wire_room, wire_got); }
static inline void wire_unread(struct wire *w) { uv_read_stop((uv_stream_t *)&w->tcp); }

static inline void wire_connected(uv_connect_t *request, int status)
{
    struct wire *w = request->data;
    w->is_open = status == 0;
    w->saw_error = status != 0;
    if (w->is_open) {
        uv_tcp_nodelay(&w->tcp, 1);
        wire_read(w);
    }
}

static inline struct wire *wire_connect(struct bench *b, uint16_t port)
{
    struct wire *w = wire_new(b);
    struct sockaddr_in to;
    uv_ip4_addr("127.0.0.1", port, &to);
    w->connecting.data = w;
    assert_int_equal(uv_tcp_connect(&w->connecting, &w->tcp, (const struct sockaddr *)&to, wire_connected),
                     0);
    WAIT(b, w->is_open || w->saw_error);
    assert_true(w->is_open);
    return w;
}

struct wire_sending {
    uv_write_t request;
    struct wire *wire;
};

static inline void wire_sent(uv_write_t *request, int status)
{
    struct wire_sending *s = (struct wire_sending *)request;
    s->wire->saw_error |= status < 0 && status != UV_ECANCELED;
    s->wire->n_unsent--;
    free(s);
}

/* Sends; what the kernel does not take at once goes out as the loop turns. */
static inline void wire_send(struct wire *w, str text)
{
    struct wire_sending *s = malloc(sizeof *s + text.len);
    assert_non_null(s);
    s->wire = w;
    memcpy(s + 1, text.p, text.len);
    uv_buf_t bytes = uv_buf_init((char *)(s + 1), (unsigned)text.len);
    w->n_unsent++;
    assert_int_equal(uv_write(&s->request, (uv_stream_t *)&w->tcp, &bytes, 1, wire_sent), 0);
}

static inline void wire_close(struct wire *w)
{
    if (!uv_is_closing((uv_handle_t *)&w->tcp)) uv_close((uv_handle_t *)&w->tcp, NULL);
    w->is_open = false;
}

static inline void wire_reset(struct wire *w)
{
    uv_tcp_close_reset(&w->tcp, NULL);
    w->is_open = false;
}

static inline bool wire_has(const struct wire *w, const char *text)
{
    return str_find(buf_str(&w->in), str_c(text)) >= 0;
}
static inline bool wire_ended(const struct wire *w) { return w->saw_eof || w->saw_error; }

static inline unsigned wire_count(const struct wire *w, const char *text)
{
    unsigned n = 0;
    ptrdiff_t at;
    for (str rest = buf_str(&w->in); (at = str_find(rest, str_c(text))) >= 0; n++)
        rest = str_skip(rest, (size_t)at + strlen(text));
    return n;
}

static inline void peer_accept(uv_stream_t *listener, int status)
{
    struct peer *p = listener->data;
    assert_int_equal(status, 0);
    assert_true(p->n < PEER_WIRES_MAX);
    struct wire *w = wire_new(p->bench);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&w->tcp), 0);
    uv_tcp_nodelay(&w->tcp, 1);
    w->is_open = true;
    if (!p->is_deaf) wire_read(w);
    p->wires[p->n++] = w;
}

static inline struct peer *peer_new(struct bench *b)
{
    struct peer *p = calloc(1, sizeof *p);
    struct sockaddr_in at;
    int len = sizeof at;
    assert_non_null(p);
    p->bench = b;
    p->next = b->peers;
    b->peers = p;
    uv_tcp_init(&b->loop.uv, &p->listener);
    p->listener.data = p;
    uv_ip4_addr("127.0.0.1", 0, &at);
    assert_int_equal(uv_tcp_bind(&p->listener, (const struct sockaddr *)&at, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&p->listener, 64, peer_accept), 0);
    assert_int_equal(uv_tcp_getsockname(&p->listener, (struct sockaddr *)&at, &len), 0);
    p->port = ntohs(at.sin_port);
    return p;
}

/* The port is free again: connecting there is refused. */
static inline uint16_t peer_gone(struct bench *b)
{
    struct peer *p = peer_new(b);
    uv_close((uv_handle_t *)&p->listener, NULL);
    bench_turn(b);
    return p->port;
}

#endif
