#include "core/router.h"

#include <assert.h>

#include "base/random.h"
#include "json/write.h"

#define PROBLEM_MAX 4096

void router_init(struct router *r, size_t api_body_max, size_t gateway_body_max)
{
    *r = (struct router){.n = 0};
    router_change(r, api_body_max, gateway_body_max);
}

void router_change(struct router *r, size_t api_body_max, size_t gateway_body_max)
{
    r->body_max[ROUTE_API_BODY] = api_body_max;
    r->body_max[ROUTE_GATEWAY_BODY] = gateway_body_max;
}

void router_mount_finder(struct router *r, const struct route_table *table, route_finder find, void *service)
{
    assert(r->n < ROUTER_TABLES_MAX);
    r->mounts[r->n].table = table;
    r->mounts[r->n].find = find;
    r->mounts[r->n++].service = service;
}

void router_mount(struct router *r, const struct route_table *table, void *service) { router_mount_finder(r, table, NULL, service); }

/* "/:rest": what no other route has. */
static bool is_last_resort(const struct route *route) { return str_eq(route->path, S("/:rest")); }

static bool has_rest(str path) { return str_ends(path, S("/:rest")); }

str route_rest(const struct route *route, str path) { return str_skip(path, route->path.len - (sizeof ":rest" - 1)); }

static bool path_matches(const struct route *route, str path)
{
    if (!has_rest(route->path))
        return str_eq(route->path, path);
    str fixed = str_take(route->path, route->path.len - (sizeof ":rest" - 1));
    return path.len > fixed.len && str_starts(path, fixed);
}

static bool below(str prefix, str path)
{
    return str_starts(path, prefix) && (path.len == prefix.len || prefix.len == 0 || path.p[prefix.len] == '/');
}

static str allowed(enum http_method m)
{
    switch (m) {
    case HTTP_GET: return S("GET, HEAD");
    case HTTP_POST: return S("POST");
    case HTTP_PUT: return S("PUT");
    case HTTP_PATCH: return S("PATCH");
    case HTTP_DELETE: return S("DELETE");
    default: return S("");
    }
}

/* The route; else NULL, with *allow telling the methods of a known path (405) from an unknown one (404). *mount is the table that answers for the path.
 * A last resort takes only GET and HEAD of paths that are not below another table's prefix, and makes no other method a 405. */
static const struct route *match(const struct router *r, const struct http_head *h, unsigned *mount, str *allow, size_t *body_max)
{
    const struct route *last_resort = NULL, *found = NULL;
    unsigned last_mount = r->n, found_mount = r->n;
    size_t found_body_max = 0;
    *allow = S("");
    *mount = r->n;
    for (unsigned m = 0; m < r->n; m++) {
        const struct route_table *t = r->mounts[m].table;
        if (!below(t->prefix, h->path))
            continue;
        if (*mount == r->n || t->prefix.len > r->mounts[*mount].table->prefix.len)
            *mount = m;
        if (r->mounts[m].find) {
            str methods = S("");
            size_t most = 0;
            const struct route *route = r->mounts[m].find(r->mounts[m].service, h, &methods, &most);
            if (route && !found) {
                found = route;
                found_mount = m;
                found_body_max = most;
            }
            if (methods.len && !allow->len) {
                *allow = methods;
                *mount = m;
            }
            continue;
        }
        for (unsigned i = 0; i < t->n; i++) {
            const struct route *route = &t->routes[i];
            if (!path_matches(route, h->path))
                continue;
            if (is_last_resort(route)) {
                last_resort = route;
                last_mount = m;
                continue;
            }
            *mount = m;
            *allow = allowed(route->method);
            if (route->method == h->method || (route->method == HTTP_GET && h->method == HTTP_HEAD)) {
                *body_max = r->body_max[route->body];
                return route;
            }
        }
    }
    if (found) {
        *mount = found_mount;
        *body_max = found_body_max;
        return found;
    }
    if (!last_resort || allow->len || r->mounts[*mount].table->prefix.len || (h->method != HTTP_GET && h->method != HTTP_HEAD))
        return NULL;
    *mount = last_mount;
    *body_max = r->body_max[last_resort->body];
    return last_resort;
}

static enum errc on_head(void *ctx, struct http_conn *c, const struct http_head *h, size_t *body_max, err *e)
{
    const struct router *r = ctx;
    unsigned mount;
    const struct route *route = match(r, h, &mount, &c->allow, body_max);
    c->route = route;
    c->mount = mount;
    c->principal = NULL;
    if (!route && c->allow.len)
        return err_set(e, ERR_METHOD, "%.*s is not allowed on %.*s", STR(str_take(h->method_text, 20)), STR(str_take(h->path, 80)));
    if (!route)
        return err_set(e, ERR_NOT_FOUND, "there is nothing at %.*s", STR(str_take(h->path, 120)));
    return route->admit ? route->admit(r->mounts[mount].service, c, h, e) : ERR_NONE;
}

static void on_request(void *ctx, struct http_conn *c, const struct http_request *request)
{
    const struct router *r = ctx;
    const struct route *route = c->route;
    route->handle(r->mounts[c->mount].service, c, route, request);
}

static void on_error(void *ctx, struct http_conn *c, const struct http_head *h, const err *e)
{
    const struct router *r = ctx;
    const struct route *route = c->route;
    unsigned mount = route ? c->mount : r->n;
    str ignored;
    size_t ignored_max;
    if (!route && h)
        match(r, h, &mount, &ignored, &ignored_max);
    if (mount < r->n && r->mounts[mount].table->refuse)
        r->mounts[mount].table->refuse(r->mounts[mount].service, c, route, h, e);
    else
        problem_reply(c, e, S(""));
}

struct http_handler router_handler(void) { return (struct http_handler){on_head, on_request, on_error}; }

void problem_reply(struct http_conn *c, const err *e, str extra_fields)
{
    struct buf body;
    struct json_writer w;
    char id_text[UUID_TEXT_LEN + 1], fields[256];
    uuid id = uuid7_make(clock_now_us());
    str id_str = uuid_format(&id, id_text);
    buf_init(&body, PROBLEM_MAX);
    json_writer_init(&w, &body);
    json_object(&w);
    json_put_str(&w, "type", S("about:blank"));
    json_put_str(&w, "title", str_c(http_reason(errc_http_status(e->code))));
    json_put_int(&w, "status", errc_http_status(e->code));
    json_put_str(&w, "detail", str_c(e->msg));
    json_put_str(&w, "code", str_c(errc_name(e->code)));
    json_put_str(&w, "request_id", id_str);
    json_end(&w);
    int n = snprintf(fields, sizeof fields, "X-Request-Id: %s\r\n%.*s", id_text, STR(str_take(extra_fields, 180)));
    http_reply(c, errc_http_status(e->code), S("application/problem+json"), str_of(fields, (size_t)n), buf_str(&body));
    buf_fini(&body);
}
