/* client.h - the HTTP/1.1 client for the gateway's hot path: per-loop pools of kept connections to one target each.
 *
 * A request is given as slices and written at once where a kept connection is free; what the socket does not take is copied. The answer is reported as it
 * arrives, in slices of the loop's read buffer. Nothing is retried once a byte of the request was written, since a model call is not idempotent.
 * Upstream TLS is always verified. Through a proxy, a TLS target is reached by a tunnel (CONNECT); a plain one by requests in absolute form, which the
 * caller writes, with the proxy's credentials. Addresses that the policy forbids are not connected to (outbound.h).
 * Threads: a pool and its calls belong to one loop; a target is immutable and shared.
 * Source: RFC 9110, RFC 9112.
 */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include "base/buf.h"
#include "net/outbound.h"
#include "net/sock.h"

struct client_target {
    const char *host;       /* name or address, NUL-terminated */
    uint16_t port;
    SSL_CTX *tls;           /* NULL = plain */
    const struct outbound_route *route; /* NULL = directly, to any address */
    uint64_t connect_timeout_ms;    /* DNS, TCP and TLS together */
    uint64_t first_byte_timeout_ms; /* from the request written to the first byte of the answer */
    uint64_t stall_timeout_ms;      /* between bytes of the answer */
    uint64_t total_timeout_ms;
    uint64_t idle_timeout_ms;       /* of a kept connection; should be below the provider's own */
    unsigned idle_connections;      /* kept at most */
};

#define CLIENT_ADDRESSES_MAX 8
#define CLIENT_RESOLVE_TTL_MS 30000

struct client_conn;

struct client_pool {
    struct loop *loop;
    const struct client_target *target;
    struct client_conn *idle;       /* most recently used first */
    struct client_conn *all;
    unsigned n_idle;
    struct sockaddr_storage addresses[CLIENT_ADDRESSES_MAX];
    unsigned n_addresses;
    uint64_t resolved_ms;           /* 0 = not yet */
    bool is_numeric;                /* the host is an address: nothing to resolve */
    bool is_closing;
};

/* One request and its answer. The owner embeds it, sets the callbacks, and keeps it alive until on_end or on_error, or client_cancel.
 * After one read: on_head (once), on_data (any number), then on_end or on_read_done. */
struct client_call {
    void (*on_head)(struct client_call *call, const struct http_head *head);
    void (*on_data)(struct client_call *call, str piece);
    void (*on_read_done)(struct client_call *call);
    void (*on_end)(struct client_call *call);
    void (*on_error)(struct client_call *call, const err *e); /* ERR_UNREACHABLE, ERR_UPSTREAM, ERR_UPSTREAM_TIMEOUT */
    bool is_head_request;
    /* results */
    bool is_reused;         /* went over a kept connection */
    usec connect_us;        /* time spent until connected, 0 when reused */
    usec sent_mono_us;      /* when the last byte of the request was written; 0 = not yet */
    /* private */
    struct client_conn *conn;
    uint64_t started_ms;
    usec started_mono_us;
};

void client_pool_init(struct client_pool *p, struct loop *l, const struct client_target *target);
/* Closes all kept connections; calls under way must have been cancelled. */
void client_pool_close(struct client_pool *p);

/* Sends a request. Slices need to live only during the call. On an error (returned, and told in e) no callback follows. */
WARN_UNUSED enum errc client_start(struct client_pool *p, struct client_call *call, const str *slices, unsigned n, err *e);
/* Forgets the answer and closes its connection at once. No callback follows. */
void client_cancel(struct client_call *call);
/* Stops and resumes reading the answer (backpressure). Resuming may call back at once. */
void client_pause(struct client_call *call);
void client_resume(struct client_call *call);

#endif
