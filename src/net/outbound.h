/* outbound.h - the way out: which proxy leads to a target, which authorities are trusted, which addresses may be
 * reached. One object for everything that connects to other servers; the gateway's hot path takes its part from
 * it when its providers are loaded, net/fetch.h asks it for every call.
 *
 * Proxies are HTTP proxies (http://[user:password@]host:port): https targets are tunnelled with CONNECT, http
 * targets asked for in absolute form. A configured proxy stands above HTTPS_PROXY, HTTP_PROXY and ALL_PROXY (either
 * case), a configured list of exceptions above NO_PROXY. Loopback targets never go through a proxy. Entries of the
 * exceptions: a host (which also means the names below it; a leading dot or "*." says the same), host:port, an
 * address, a range (10.0.0.0/8), or "*" for everything.
 * What a proxy connects to is the proxy's to judge: behind one, only targets written as addresses are checked here.
 * Threads: any; outbound_change swaps what later calls see.
 * Errors: ERR_CONFIG with the key or variable and what is wrong; texts of proxies are never repeated, for they may
 * hold a password.
 * Source: RFC 9110 9.3.6 (CONNECT), RFC 9112 3.2.2 (absolute form), RFC 7617 (Basic).
 */
#ifndef NET_OUTBOUND_H
#define NET_OUTBOUND_H

#include "base/arena.h"
#include "net/address.h"
#include "net/url.h"

struct outbound_settings {
    str proxy;                   /* outbound.proxy; empty: by the environment */
    str https_proxy, http_proxy; /* of the environment */
    bool has_no_proxy;           /* outbound.no_proxy is set */
    str no_proxy;                /* entries separated by commas or spaces */
    str allow_addresses;         /* the same */
    const char *ca_file;         /* PEM, besides the system's authorities; NULL: none */
};
/* Fills in what the environment says, where the configuration says nothing. environ may be NULL. */
void outbound_environment(struct outbound_settings *s, const char *const *environ);

struct outbound;
WARN_UNUSED enum errc outbound_new(struct outbound **out, const struct outbound_settings *settings, err *e);
/* On an error nothing changes. */
WARN_UNUSED enum errc outbound_change(struct outbound *o, const struct outbound_settings *settings, err *e);
void outbound_free(struct outbound *o);
/* The same in two steps: a plan is checked settings. */
struct outbound_plan;
WARN_UNUSED enum errc outbound_plan_new(struct outbound_plan **out, const struct outbound_settings *settings,
                                        err *e);
void outbound_plan_free(struct outbound_plan *plan);
/* Takes the plan over. */
void outbound_adopt(struct outbound *o, struct outbound_plan *plan);

struct outbound_route {
    bool allows_local;          /* as asked */
    struct address_set allowed; /* outbound.allow_addresses */
    const char *proxy_host;     /* NULL: directly. In the arena */
    uint16_t proxy_port;
    str proxy_authorization; /* "Basic …", or empty */
    const char *ca_file;     /* or NULL */
};
/* The way to a target as it is configured now. ERR_FORBIDDEN when the host is an address that may not be reached. */
WARN_UNUSED enum errc outbound_route(struct outbound *o, struct arena *a, const struct url *target,
                                     bool allows_local, struct outbound_route *out, err *e);

/* Whether two routes lead the same way. NULL is fine. */
bool outbound_route_is_same(const struct outbound_route *a, const struct outbound_route *b);
/* A copy on the heap in one piece (free), without its ca_file; NULL when out of memory. */
struct outbound_route *outbound_route_copy(const struct outbound_route *from);

/* One more try after a failure is wanted for this host: false when its budget is spent. Every first try earns a tenth
 * of a retry, ten can be saved up, so that a host that is down gets at most a tenth more calls. */
bool outbound_may_retry(struct outbound *o, str host);
void outbound_tried(struct outbound *o, str host);

#endif
