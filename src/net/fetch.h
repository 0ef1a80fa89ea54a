/* fetch.h - HTTP to other servers, blocking, for everything but the gateway's hot path: webhooks, registries, mail
 * services, identity providers, live tests of a provider, the command line's own calls. On libcurl.
 *
 * Where a call may go is decided by outbound.h: the address is checked at the moment of connecting (so that a name that
 * is looked up anew cannot slip past), and again for every redirect. Redirects are followed here, not by libcurl: never
 * from https to http, without credentials to another origin, and allows_local counts for the first host only.
 * A call has one deadline for everything (name, TLS, redirects, retries), a limit of the answer's bytes after
 * decompression, and may be cancelled from another thread. Only what can be repeated is tried again (GET, HEAD, PUT,
 * DELETE, OPTIONS, or is_repeatable): after failures to connect, cut answers, 429, 502, 503 and 504, with growing
 * random pauses or as long as Retry-After says, within the host's retry budget.
 * TLS is always verified, 1.2 at least. Every call has its own connection: one that was allowed into a private network
 * is never found again by a call that is not.
 * Threads: any but event loops (asserted).
 * Errors: ERR_INVALID (the URL or a field), ERR_FORBIDDEN (the address), ERR_UNREACHABLE (name, connection, TLS,
 * proxy), ERR_UPSTREAM_TIMEOUT, ERR_UPSTREAM (no HTTP, or cut off), ERR_TOO_LARGE, ERR_CANCELLED, and what on_piece
 * returns. An answer of any status is no error.
 * Source: RFC 9110 (redirects 15.4, Retry-After 10.2.3); AWS Architecture Blog, "Exponential Backoff And Jitter".
 */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include <stdatomic.h>

#include "net/outbound.h"

struct fetch_field {
    str name, value;
    bool is_secret; /* not sent to another origin by a redirect; Authorization and Cookie never are */
};

struct fetch_request {
    str method; /* empty: GET, or POST with a body */
    str url;    /* http or https */
    const struct fetch_field *fields;
    unsigned n_fields;
    str body;
    size_t answer_max;           /* bytes; 0: 8 MiB, with on_piece none */
    unsigned connect_timeout_ms; /* 0: 10 s */
    unsigned deadline_ms;        /* 0: 30 s */
    unsigned redirects;          /* followed at most */
    unsigned tries;              /* 0 and 1: one */
    bool is_repeatable;          /* although the method does not say so */
    bool allows_local;           /* an administrator's own target: loopback and private addresses are fine */
    enum errc (*on_piece)(void *ctx, str piece,
                          err *e); /* gets the body of a 2xx answer instead; then there is one try */
    void *ctx;
    const atomic_bool *is_cancelled; /* looked at a few times a second; may be NULL */
};

struct fetch_answer {
    int status;
    struct fetch_field *fields; /* in the arena, as received */
    unsigned n_fields;
    str body;         /* in the arena */
    str url;          /* that answered, after redirects */
    unsigned n_tries; /* requests for it that were sent */
};

WARN_UNUSED enum errc fetch(struct outbound *o, struct arena *a, const struct fetch_request *request,
                            struct fetch_answer *out, err *e);
/* The value of the first field of that name (in any case); p == NULL when there is none. */
str fetch_answer_field(const struct fetch_answer *answer, str name);

#endif
