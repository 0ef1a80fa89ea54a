/* What happens on the loop: the route, what can be refused by the head alone, the way to the pool and back. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/api/api_internal.h"

#define ARENA_LEAST (4u << 20)
#define ARENA_FIRST (8u << 10)
#define ADDRESS_MAX 64

static const struct route *find(void *service, const struct http_head *h, str *allow, size_t *body_max)
{
    const struct endpoint *ep = api_find(service, h->method, h->path, allow);
    if (!ep) return NULL;
    *body_max = ep->body_max;
    return &ep->route;
}

static const struct endpoint *endpoint_of(const struct route *route)
{
    return (const struct endpoint *)(const void *)route;
}

/* "application/json; charset=utf-8" is JSON too. */
static bool is_media_type(str value, str wanted) { return str_ieq(str_trim(str_cut(&value, ';')), wanted); }

enum errc api_admit(void *service, struct http_conn *c, const struct http_head *h, err *e)
{
    const struct endpoint *ep = endpoint_of(c->route);
    bool has_body =
        h->framing == HTTP_BODY_CHUNKED || (h->framing == HTTP_BODY_LENGTH && h->content_length > 0);
    (void)service;
    if (!has_body || is_media_type(h->content_type, S("application/json")) ||
        (ep->api->is_merge && is_media_type(h->content_type, S("application/merge-patch+json"))))
        return ERR_NONE;
    return err_set(e, ERR_MEDIA_TYPE, "the body must be sent with Content-Type: application/json%s",
                   ep->api->is_merge ? " or application/merge-patch+json" : "");
}

/* --- calls --- */

void api_call_free(struct api_call *k)
{
    struct api *a = k->api;
    pthread_mutex_lock(&a->lock);
    *k->link = k->next;
    if (k->next) k->next->link = k->link;
    pthread_mutex_unlock(&a->lock);
    buf_fini(&k->body);
    buf_fini(&k->fields);
    buf_fini(&k->out);
    access_let_go(k->r.access);
    arena_fini(&k->arena);
    free(k);
}

void api_calls_free(struct api *a)
{
    while (a->calls)
        api_call_free(a->calls);
}

struct api_call *api_call_new(struct api *a, const struct endpoint *ep)
{
    struct api_call *k = malloc(sizeof *k);
    if (!k) return NULL;
    memset(k, 0, offsetof(struct api_call, head)); /* of the head only what is used is ever written */
    memset((char *)k + offsetof(struct api_call, body), 0, sizeof *k - offsetof(struct api_call, body));
    k->api = a;
    k->endpoint = ep;
    size_t limit = 4 * ep->body_max;
    arena_init(&k->arena, limit > ARENA_LEAST ? limit : ARENA_LEAST, ARENA_FIRST);
    buf_init(&k->fields, API_FIELDS_MAX);
    buf_init(&k->out, API_ANSWER_MAX);
    pthread_mutex_lock(&a->lock);
    k->next = a->calls;
    k->link = &a->calls;
    if (k->next) k->next->link = &k->next;
    a->calls = k;
    pthread_mutex_unlock(&a->lock);
    return k;
}

static str copy(struct arena *a, str s, bool *is_full)
{
    if (!s.p) return s;
    str out = str_dup(a, s);
    *is_full |= !out.p;
    return out;
}

static bool copy_head(struct arena *a, const struct http_head *from, struct http_head *to)
{
    bool is_full = false;
    memcpy(to, from, offsetof(struct http_head, fields));
    to->method_text = copy(a, from->method_text, &is_full);
    to->target = copy(a, from->target, &is_full);
    to->path = copy(a, from->path, &is_full);
    to->query = copy(a, from->query, &is_full);
    to->host = copy(a, from->host, &is_full);
    to->reason = (str){NULL, 0};
    to->content_type = copy(a, from->content_type, &is_full);
    to->content_encoding = copy(a, from->content_encoding, &is_full);
    for (unsigned i = 0; i < from->n_fields; i++) {
        to->fields[i].name = copy(a, from->fields[i].name, &is_full);
        to->fields[i].value = copy(a, from->fields[i].value, &is_full);
    }
    return !is_full;
}

static str field_or_empty(const struct http_head *h, str name)
{
    const str *v = http_field(h, name);
    return v ? *v : S("");
}

/* The peer; behind a proxy that makes the TLS what that proxy added last to X-Forwarded-For. */
static str client_address(const struct api *a, const struct http_conn *c, const struct http_head *h,
                          char out[ADDRESS_MAX])
{
    struct in6_addr ignored;
    str forwarded = a->is_behind_proxy ? field_or_empty(h, S("x-forwarded-for")) : S("");
    ptrdiff_t comma;
    while ((comma = str_chr(forwarded, ',')) >= 0)
        forwarded = str_skip(forwarded, (size_t)comma + 1);
    forwarded = str_trim(forwarded);
    if (forwarded.len && forwarded.len < INET6_ADDRSTRLEN) {
        snprintf(out, ADDRESS_MAX, "%.*s", STR(forwarded));
        if (inet_pton(AF_INET6, out, &ignored) == 1 || inet_pton(AF_INET, out, &ignored) == 1)
            return str_of(out, forwarded.len);
    }
    if (IN6_IS_ADDR_V4MAPPED(&c->peer))
        inet_ntop(AF_INET, &c->peer.s6_addr[12], out, ADDRESS_MAX);
    else
        inet_ntop(AF_INET6, &c->peer, out, ADDRESS_MAX);
    return str_c(out);
}

/* An IPv4 address, or the /64 that an IPv6 address is in: one subscriber has all of it. */
static str address_key(str address, uint8_t out[16])
{
    char text[ADDRESS_MAX];
    snprintf(text, sizeof text, "%.*s", STR(address));
    if (inet_pton(AF_INET, text, out) == 1) return str_of((const char *)out, 4);
    if (inet_pton(AF_INET6, text, out) == 1) return str_of((const char *)out, 8);
    return address;
}

static bool is_secure(const struct api *a, const struct http_conn *c)
{
    return c->server->shared->tls || a->is_behind_proxy;
}

/* --- the way back --- */

static void measure(struct api_call *k)
{
    char status[12];
    snprintf(status, sizeof status, "%d", k->status);
    str values[] = {str_c(k->endpoint->api->name), str_c(status)};
    stats_add(stats_series(k->api->requests, values), k->loop->index, 1);
    stats_observe(k->endpoint->seconds, k->loop->index, clock_mono_us() - k->arrived_mono_us);
}

static struct http_conn *let_go_of_conn(struct api_call *k)
{
    struct http_conn *c = k->conn;
    k->conn = NULL;
    c->user = NULL;
    c->on_gone = NULL;
    c->on_stop = NULL;
    return c;
}

static void reply(struct api_call *k)
{
    struct http_conn *c = let_go_of_conn(k);
    if (buf_err(&k->fields) != ERR_NONE || buf_err(&k->out) != ERR_NONE) {
        err e;
        buf_clear(&k->fields);
        buf_clear(&k->out);
        api_answer_problem(
            k, (err_set(&e, ERR_TOO_LARGE, "the answer does not fit into memory; ask for less of it"), &e));
    }
    http_reply(c, k->status, k->media_type, buf_str(&k->fields), buf_str(&k->out));
}

static void on_answer(struct loop_task *task)
{
    struct api_call *k = (struct api_call *)(void *)((char *)task - offsetof(struct api_call, answer));
    measure(k);
    if (k->conn && k->is_stream)
        k->r.route->stream(&k->r, let_go_of_conn(k), buf_str(&k->fields));
    else if (k->conn)
        reply(k);
    api_call_free(k);
}

/* The client went away: the pool goes on, its answer has no reader. */
static void on_gone(void *user) { ((struct api_call *)user)->conn = NULL; }

/* The stop deadline has passed: the client is told now, whatever the pool still does with the call. */
static void on_stop(void *user)
{
    struct api_call *k = user;
    err e;
    struct http_conn *c = let_go_of_conn(k);
    err_set(&e, ERR_UNAVAILABLE, "the server stops before this request could be answered");
    problem_reply(c, &e, S("Retry-After: 5\r\n"));
}

/* --- the way there --- */

static void run(struct pool_task *task, bool is_late)
{
    struct api_call *k = (struct api_call *)(void *)((char *)task - offsetof(struct api_call, task));
    err e;
    if (is_late) {
        err_set(&e, ERR_BUSY, "the server is busy: the request waited too long for its turn");
        api_answer_problem(k, &e);
    } else {
        api_run(k);
    }
    loop_post(k->loop, &k->answer);
}

/* Nobody waits for the answer any more. A server that hung finds such requests when it wakes: done now, they could overwrite
 * what the client has done elsewhere since. */
static bool has_left(const struct http_conn *c)
{
    struct pollfd p = {.fd = c->sock.fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

/* Answers without the pool. */
static void refuse_now(struct api_call *k, const err *e)
{
    api_answer_problem(k, e);
    measure(k);
    reply(k);
    api_call_free(k);
}

void api_handle(void *service, struct http_conn *c, const struct route *route,
                const struct http_request *request)
{
    struct api *a = service;
    const struct endpoint *ep = endpoint_of(route);
    struct api_call *k = api_call_new(a, ep);
    char address[ADDRESS_MAX];
    uint8_t key[16];
    err e;
    if (!k) {
        err_code(&e, ERR_NO_MEMORY);
        problem_reply(c, &e, S("Retry-After: 1\r\n"));
        return;
    }
    k->loop = c->server->loop;
    k->conn = c;
    k->task.run = run;
    k->answer.run = on_answer;
    k->arrived_mono_us = request->arrived_mono_us;
    k->r = (struct api_request){
        .arena = &k->arena,
        .route = ep->api,
        .store = a->store,
        .service = ep->service,
        .now_us = request->arrived_us,
        .request_id = uuid7_make(request->arrived_us),
        .method = request->head->method == HTTP_HEAD ? HTTP_GET : request->head->method,
        .is_secure = is_secure(a, c),
    };
    k->r.address = str_dup(&k->arena, client_address(a, c, request->head, address));
    if (!copy_head(&k->arena, request->head, &k->head) || !k->r.address.p ||
        !http_take_body(c, request, &k->body)) {
        err_code(&e, ERR_NO_MEMORY);
        refuse_now(k, &e);
        return;
    }
    k->r.user_agent = field_or_empty(&k->head, S("user-agent"));
    struct rate_answer by_address = rate_take(a->by_address, address_key(k->r.address, key), clock_mono_us());
    if (!by_address.is_allowed) {
        k->r.retry_after_s = by_address.wait_s;
        err_set(&e, ERR_RATE_LIMITED, "more than %u requests a minute from this address",
                rate_per_minute(a->by_address));
        refuse_now(k, &e);
        return;
    }
    if (ep->api->effect == EFFECT_STATE && has_left(c)) {
        err_set(&e, ERR_CANCELLED, "the client left before its request was begun");
        refuse_now(k, &e);
        return;
    }
    c->user = k;
    c->on_gone = on_gone;
    c->on_stop = on_stop;
    if (pool_submit(a->pool, &k->task, &e) != ERR_NONE) refuse_now(k, &e);
}

/* What is refused by the head, or because the body could not be read. */
static void refuse(void *service, struct http_conn *c, const struct route *route, const struct http_head *h,
                   const err *e)
{
    const struct api *a = service;
    struct buf fields, body;
    char id_text[UUID_TEXT_LEN + 1];
    uuid id = uuid7_make(clock_now_us());
    str instance = h ? h->path : S("");
    if (route) instance = api_instance(route->path, instance);
    uuid_format(&id, id_text);
    buf_init(&fields, API_FIELDS_MAX);
    buf_init(&body, API_PROBLEM_MAX);
    api_security_fields(&fields, is_secure(a, c), 0);
    buf_addf(&fields, "X-Request-Id: %s\r\n", id_text);
    api_problem(&body, errc_http_status(e->code), api_code(e->code), str_c(e->msg), instance,
                str_c(id_text), NULL, NULL);
    http_reply(c, errc_http_status(e->code), S("application/problem+json"), buf_str(&fields), buf_str(&body));
    buf_fini(&fields);
    buf_fini(&body);
}

void api_mount_on(struct api *a, struct router *r)
{
    static const struct route_table table = {.prefix = STR_LIT("/api"), .refuse = refuse},
                                    well_known = {.prefix = STR_LIT("/.well-known"), .refuse = refuse}; /* RFC 8615 */
    router_mount_finder(r, &table, find, a);
    router_mount_finder(r, &well_known, find, a);
}
