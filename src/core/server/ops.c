#include "core/ops.h"

#include <stdio.h>

#include "base/crypto.h"

#define METRICS_TEXT_MAX (64u << 20)

static void reply_json(struct http_conn *c, int status, str body) { http_reply(c, status, S("application/json"), S(""), body); }

static void handle_health(void *service, struct http_conn *c, const struct route *route, const struct http_request *r)
{
    (void)service;
    (void)route;
    (void)r;
    reply_json(c, 200, S("{\"status\":\"ok\"}"));
}

static bool asks_for_api(str query)
{
    while (query.len)
        if (str_eq(str_cut(&query, '&'), S("for=api"))) return true;
    return false;
}

static void handle_ready(void *service, struct http_conn *c, const struct route *route, const struct http_request *r)
{
    const struct ops *ops = service;
    const char *reason = NULL;
    char body[128];
    (void)route;
    bool is_ready = *ops->is_ready && ops->can_serve(ops->ctx, &reason), is_cut_off = ops->is_cut_off(ops->cut_off_ctx);
    if (*ops->is_draining)
        reason = "draining";
    else if (is_ready && is_cut_off && !reason)
        reason = "database_unavailable";
    if (is_cut_off && asks_for_api(r->head->query)) is_ready = false;
    int n = is_ready && reason ? snprintf(body, sizeof body, "{\"status\":\"ready\",\"degraded\":\"%s\"}", reason)
                               : snprintf(body, sizeof body, "{\"status\":\"%s\"}", is_ready ? "ready" : reason ? reason : "starting");
    reply_json(c, is_ready ? 200 : 503, str_of(body, (size_t)n));
}

static enum errc admit_metrics(void *service, struct http_conn *c, const struct http_head *h, err *e)
{
    const struct ops *ops = service;
    const str *authorization = http_field(h, S("authorization"));
    if (ops->trusts_loopback && http_peer_is_loopback(c))
        return ERR_NONE;
    if (ops->metrics_token.len && authorization && authorization->len > 7 && str_ieq(str_take(*authorization, 7), S("Bearer ")) &&
        secret_eq(str_skip(*authorization, 7), ops->metrics_token))
        return ERR_NONE;
    return err_set(e, ERR_UNAUTHENTICATED, "/metrics needs the bearer token that is configured as metrics.token");
}

static void handle_metrics(void *service, struct http_conn *c, const struct route *route, const struct http_request *r)
{
    struct buf text;
    (void)service;
    (void)route;
    (void)r;
    buf_init(&text, METRICS_TEXT_MAX);
    stats_write(&text);
    if (text.failed) {
        err e;
        err_set(&e, text.failed, "the metrics do not fit into memory");
        problem_reply(c, &e, S(""));
    } else {
        http_reply(c, 200, S("text/plain; version=0.0.4; charset=utf-8"), S(""), buf_str(&text));
    }
    buf_fini(&text);
}

static const struct route routes[] = {
    {HTTP_GET, STR_LIT("/healthz"), ROUTE_NO_BODY, 0, NULL, handle_health},
    {HTTP_GET, STR_LIT("/readyz"), ROUTE_NO_BODY, 0, NULL, handle_ready},
    {HTTP_GET, STR_LIT("/metrics"), ROUTE_NO_BODY, 0, admit_metrics, handle_metrics},
};

const struct route_table ops_routes = {STR_LIT(""), routes, LENGTH_OF(routes), NULL};

static const struct option options[] = {
    {.key = "log.level", .type = OPTION_ONE_OF, .change = OPTION_SETTABLE, .fallback = "info", .choices = "debug|info|warn|error|off",
     .meaning = "Least important events that are logged."},
    {.key = "metrics.token", .type = OPTION_SECRET, .change = OPTION_SETTABLE,
     .meaning = "Bearer token for /metrics; without one only direct clients on the loopback may read it."},
};

const struct option_table core_options = {options, LENGTH_OF(options)};
