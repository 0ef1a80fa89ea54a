/* router.h - from a request's method and path to its handler, for every service, in one place.
 *
 * Route tables are const arrays that services export; main.c mounts them with the service's context. A table covers the paths below its prefix; what is not in it there is
 * refused in the table's own error shape, everything else as RFC 9457 problem+json.
 * Threads: immutable after mounting; one router per loop (contexts are per loop).
 */
#ifndef CORE_ROUTER_H
#define CORE_ROUTER_H

#include "net/server.h"

enum route_body { ROUTE_NO_BODY, ROUTE_API_BODY, ROUTE_GATEWAY_BODY, ROUTE_BODIES };

struct route {
    enum http_method method; /* HTTP_GET serves HEAD too */
    str path;                /* exact; a last segment ":rest" matches any non-empty rest, slashes included. "/:rest" alone is the last
                                resort: GET and HEAD of what no other route and no prefix of a table covers */
    enum route_body body;
    int tag;                 /* the service's own */
    /* Decides on the head alone, before any body is read: authentication. NULL = open to all. */
    enum errc (*admit)(void *service, struct http_conn *c, const struct http_head *h, err *e);
    void (*handle)(void *service, struct http_conn *c, const struct route *route, const struct http_request *r);
};

struct route_table {
    str prefix; /* "/v1"; empty: the whole tree */
    const struct route *routes;
    unsigned n;
    /* Answers a refusal (http_reply). h may be NULL when the body was at fault; route too when no route matched. NULL = problem+json. */
    void (*refuse)(void *service, struct http_conn *c, const struct route *route, const struct http_head *h, const err *e);
};

/* For a service that has a table of its own (core/api): the route of a request and the most bytes of its body, or NULL; then *allow are the methods of a path that is
 * known ("GET, HEAD, POST"), else it is left alone. */
typedef const struct route *(*route_finder)(void *service, const struct http_head *h, str *allow, size_t *body_max);

#define ROUTER_TABLES_MAX 16

struct router {
    struct {
        const struct route_table *table;
        void *service;
        route_finder find; /* NULL: the table's routes */
    } mounts[ROUTER_TABLES_MAX];
    unsigned n;
    size_t body_max[ROUTE_BODIES]; /* bytes */
};

void router_init(struct router *r, size_t api_body_max, size_t gateway_body_max);
/* Other limits from now on, on the loop's thread. */
void router_change(struct router *r, size_t api_body_max, size_t gateway_body_max);
void router_mount(struct router *r, const struct route_table *table, void *service);
/* A table without routes of which find knows the routes; exact paths of other tables come first. */
void router_mount_finder(struct router *r, const struct route_table *table, route_finder find, void *service);
/* The callbacks for server_start, with the router as their context. */
struct http_handler router_handler(void);
/* The rest that a ":rest" path matched. */
str route_rest(const struct route *route, str path);

/* RFC 9457 answer. */
void problem_reply(struct http_conn *c, const err *e, str extra_fields);

#endif
