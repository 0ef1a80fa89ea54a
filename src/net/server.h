/* server.h - the HTTP/1.1 server of one loop: accepts, reads strict requests, hands them to a handler, writes its answers.
 *
 * A handler sees whole requests (head and decoded body). Where a request arrives in one piece it is parsed and handed over in place, without a copy.
 * Pipelined requests are answered in order: the next one is looked at when the answer before it has been finished. Requests that could be read in two
 * ways are refused and the connection closed (http1.h). Every limit is in struct server_limits.
 * Threads: a server and its connections belong to one loop; struct server_shared is common to all loops.
 * Source: RFC 9110, RFC 9112.
 */
#ifndef NET_SERVER_H
#define NET_SERVER_H

#include <netinet/in.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/stats.h"
#include "net/decode.h"
#include "net/sock.h"

struct server_limits {
    struct http_limits http;
    uint64_t head_timeout_ms;   /* from the first byte of a head (or from accept) to its end */
    uint64_t idle_timeout_ms;   /* between requests */
    uint64_t write_timeout_ms;  /* without progress while bytes wait to be written */
    uint64_t body_grace_ms;     /* before the minimum rate counts */
    uint64_t body_min_rate;     /* bytes per second, averaged over the body */
    size_t queue_bytes;         /* unsent answer bytes of a connection before it counts as congested */
    unsigned connections, connections_per_address;
};

struct http_conn;

struct http_request {
    const struct http_head *head; /* valid during on_request */
    str body;                     /* decoded; valid during on_request, longer with http_take_body */
    usec arrived_us;              /* wall clock, when the head was complete */
    usec arrived_mono_us;
};

struct http_handler {
    /* A head has arrived. Sets *body_max, or refuses: the error is then answered through on_error and the body never read. */
    enum errc (*on_head)(void *ctx, struct http_conn *c, const struct http_head *h, size_t *body_max, err *e);
    /* A whole request. Answers now or later, with http_reply, or with http_send/http_hold and http_finish. */
    void (*on_request)(void *ctx, struct http_conn *c, const struct http_request *r);
    /* A request that was refused before on_request; h is NULL when not even the head could be read. Must call http_reply. */
    void (*on_error)(void *ctx, struct http_conn *c, const struct http_head *h, const err *e);
};

/* Common to the servers of all loops. */
struct server_shared {
    struct server_limits limits;     /* at the start: server_change gives a server others */
    struct sockaddr_storage address; /* where to listen */
    SSL_CTX *tls;                    /* at the start; NULL = plain */
    _Atomic unsigned n_connections;
    pthread_mutex_t peers_lock;      /* guards peers */
    struct map peers;                /* address -> struct peer, for connections_per_address */
    struct stat_series *accepted, *open, *refused_full, *refused_address, *malformed, *timed_out;
};

struct server {
    struct loop *loop;
    struct server_shared *shared;
    struct http_handler handler;
    void *ctx;                       /* of the handler */
    struct server_limits limits;     /* in force on this loop */
    SSL_CTX *tls;                    /* of new connections; a reference of its own */
    uv_poll_t listener;
    int listen_fd;
    bool is_listening, is_draining, is_stopping, is_aborting, is_accept_paused;
    struct wheel_timer accept_pause;
    struct http_conn *first;         /* all open connections */
    struct http_conn *spare;         /* freed ones, kept for the next */
    unsigned n_spare;
    char date[30];                   /* IMF-fixdate of date_s */
    int64_t date_s;
    void (*on_idle)(struct server *s); /* after server_stop: the last connection is gone */
};

enum http_state {
    CONN_HANDSHAKE, /* TLS */
    CONN_HEAD,      /* waiting for or reading a head */
    CONN_BODY,      /* reading a body */
    CONN_DECODE,    /* the body is being decompressed on another thread */
    CONN_BUSY,      /* the handler has the request */
    CONN_FLUSH,     /* the answer is finished, not all of it written */
    CONN_LINGER,    /* closed for writing; what still comes in is thrown away so that the answer is not lost to a reset */
    CONN_CLOSED,
};

struct decode_job;

struct http_conn {
    struct sock sock;
    struct server *server;
    struct http_conn *next, **link;
    struct wheel_timer timer;
    enum http_state state;
    bool keeps_alive;       /* after the answer in progress */
    bool is_head_request;
    bool is_http10;
    bool is_processing;     /* input is being worked on further up the stack */
    bool has_hold;          /* what is queued must not be written before http_release */
    bool was_congested;
    bool saw_eof;
    enum http_framing framing;
    enum http_coding coding;
    struct http_head_scan scan;
    struct http_chunked chunked;
    uint64_t body_left;
    uint64_t first_byte_ms; /* of the head or the body in progress */
    struct buf in;          /* received and not yet consumed */
    struct buf head_bytes;  /* the head, while its body arrives */
    struct buf body;
    struct buf out;         /* answer bytes not yet written */
    size_t out_at;
    usec arrived_us, arrived_mono_us;
    struct decode_job *job;
    struct in6_addr peer;   /* IPv4 as mapped address */
    str allow;              /* what a 405 says about the path */
    const void *route, *principal; /* of the request in progress: what on_head found out, for on_request */
    uint64_t principal_version;    /* of what principal points into: whoever set it looks whether it still holds */
    unsigned mount;         /* the same: whose route it is */
    uint64_t n_requests;
    /* of the exchange in progress, set by the handler in on_request, cleared by http_finish */
    void *user;
    void (*on_gone)(void *user);    /* the client went away: nothing can be answered any more; the connection is closed */
    void (*on_drained)(void *user); /* no longer congested */
    void (*on_stop)(void *user);    /* the stop deadline has passed: the answer must end now, with an error if it is not complete */
};

WARN_UNUSED enum errc server_shared_init(struct server_shared *s, err *e);
void server_shared_fini(struct server_shared *s);
/* Resolves "host:port" (numeric hosts, "localhost" or empty) and checks that nobody listens there yet, by binding without SO_REUSEPORT; with port 0 a free
 * port is chosen. ERR_BUSY when the port is taken. */
WARN_UNUSED enum errc server_bind(struct server_shared *s, str host, uint16_t port, err *e);
/* "127.0.0.1:8080" of the bound address. */
str server_address(const struct server_shared *s, char out[64]);

/* Listens on the loop (SO_REUSEPORT). Before the loop runs, or on its thread. */
WARN_UNUSED enum errc server_start(struct server *s, struct loop *l, struct server_shared *shared,
                                   const struct http_handler *handler, void *ctx, err *e);
/* Other limits and another certificate from now on, on the loop's thread: connections that stand keep the TLS they were made with. */
void server_change(struct server *s, const struct server_limits *limits, SSL_CTX *tls);
/* The server will stop soon: it goes on taking connections and requests, and each answer is the last on its connection, so that
 * whoever keeps connections open (a proxy) does not find them closed under a request. */
void server_drain(struct server *s);
/* Stops accepting; idle connections close (new ones in a moment, unless a request comes), busy ones after their answer. on_idle (may be NULL) follows, at once when there are none. */
void server_stop(struct server *s, void (*on_idle)(struct server *s));
/* The stop deadline has passed: handlers end their answers (on_stop), everything else is closed. Called again, closes what is still open. */
void server_abort(struct server *s);
void server_fini(struct server *s);

/* --- answers --- */
/* A complete answer of the server's own: status line, Date, Content-Type (if any), Content-Length, extra (complete lines ending in CRLF, may be empty), body. */
void http_reply(struct http_conn *c, int status, str content_type, str extra, str body);
/* Writes what it can now, queues the rest. Slices need to live only during the call. Nothing happens on a connection that is gone. */
void http_send(struct http_conn *c, const str *slices, unsigned n);
/* Queues without writing; nothing more is written until http_release. */
void http_hold(struct http_conn *c, const str *slices, unsigned n);
void http_release(struct http_conn *c);
/* The answer is complete; keeps_alive false closes after the last byte. May be called while held. */
void http_finish(struct http_conn *c, bool keeps_alive);
/* Closes at once without finishing the answer, so that it cannot look complete. */
void http_abort(struct http_conn *c);
bool http_is_congested(const struct http_conn *c);
/* Moves the request's body into *out (copying it where it was handed over in place); false when out of memory. */
bool http_take_body(struct http_conn *c, const struct http_request *r, struct buf *out);
/* "Connection: close\r\n" or "" (or keep-alive for HTTP/1.0): what an answer's head must say. */
str http_connection_line(const struct http_conn *c);
str http_date(struct server *s);
bool http_peer_is_loopback(const struct http_conn *c);

#endif
