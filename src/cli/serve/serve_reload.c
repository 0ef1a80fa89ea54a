/* What a configuration means for the server: taken at the start, and again on every reload. */
#include <stdlib.h>

#include "base/log.h"
#include "cli/serve/serve.h"
#include "core/outbound_config.h"
#include "net/url.h"

#define SCRATCH_LIMIT (1u << 20)
#define SHARED_DRAIN_DELAY_MS 2000

static enum errc listen_address(const struct config *c, str *host, uint16_t *port, err *e)
{
    str cert = config_text(c, "tls.cert"), key = config_text(c, "tls.key");
    enum errc rc = url_parse_listen(config_text(c, "listen.address"), host, port, e);
    if (rc != ERR_NONE) {
        err_prefix(e, "listen.address");
        return e ? (e->code = ERR_CONFIG) : ERR_CONFIG;
    }
    if ((cert.len > 0) != (key.len > 0))
        return err_set(e, ERR_CONFIG, "tls.cert and tls.key belong together: %s is missing", cert.len ? "tls.key" : "tls.cert");
    if (!cert.len && !url_host_is_loopback(*host) && !config_bool(c, "listen.behind_tls_proxy"))
        return err_set(e, ERR_CONFIG,
                       "listening on %.*s without TLS would send keys and prompts in the clear: set tls.cert and tls.key, "
                       "or listen.behind_tls_proxy: true, or listen on 127.0.0.1",
                       STR(config_text(c, "listen.address")));
    return ERR_NONE;
}

static enum errc open_tls(const struct config *c, struct arena *a, SSL_CTX **out, err *e)
{
    const char *cert = config_path(c, a, config_text(c, "tls.cert")), *key = config_path(c, a, config_text(c, "tls.key"));
    if (!cert || !key) return ERR_NONE;
    return tls_server_new(out, cert, key, str_eq(config_text(c, "tls.min_version"), S("1.2")), e);
}

static struct server_limits limits_of(const struct config *c)
{
    return (struct server_limits){
        .http = {(size_t)config_int(c, "limits.head_bytes"), (unsigned)config_int(c, "limits.headers")},
        .head_timeout_ms = (uint64_t)config_int(c, "limits.head_timeout_ms"),
        .idle_timeout_ms = (uint64_t)config_int(c, "limits.idle_timeout_ms"),
        .write_timeout_ms = (uint64_t)config_int(c, "limits.write_timeout_ms"),
        .body_grace_ms = (uint64_t)config_int(c, "limits.body_grace_ms"),
        .body_min_rate = (uint64_t)config_int(c, "limits.body_min_rate"),
        .queue_bytes = (size_t)config_int(c, "limits.stream_buffer_bytes"),
        .connections = (unsigned)config_int(c, "limits.connections"),
        .connections_per_address = (unsigned)config_int(c, "limits.connections_per_address"),
    };
}

static enum errc plan_of(const struct config *c, struct arena *a, struct outbound_plan **out, err *e)
{
    struct outbound_settings settings;
    SSL_CTX *tls = NULL;
    enum errc rc = outbound_settings_of(c, a, &settings, e);
    if (rc == ERR_NONE && settings.ca_file) { /* that it can be read at all */
        rc = tls_client_new(&tls, settings.ca_file, e);
        if (rc != ERR_NONE) err_prefix(e, "outbound.ca_file");
        SSL_CTX_free(tls);
    }
    return rc == ERR_NONE ? outbound_plan_new(out, &settings, e) : rc;
}

static void set_log_level(const struct config *c)
{
    enum log_level level = LOG_INFO;
    if (log_level_parse(config_text(c, "log.level"), &level)) log_set_level(level);
}

/* How long /readyz tells that the end is near before it comes: only who has another node can use it. */
static uint64_t drain_delay_of(const struct config *c)
{
    if (config_origin_of(c, "listen.drain_delay_ms") != CONFIG_DEFAULT) return (uint64_t)config_int(c, "listen.drain_delay_ms");
    return config_text(c, "database.url").len ? SHARED_DRAIN_DELAY_MS : 0;
}

enum errc serve_settings(struct process *p, const struct config *c, struct arena *a, err *e)
{
    struct outbound_settings settings;
    set_log_level(c);
    p->stop_deadline_ms = (uint64_t)config_int(c, "limits.stop_deadline_ms");
    p->drain_delay_ms = drain_delay_of(c);
    p->shared.limits = limits_of(c);
    enum errc rc = open_tls(c, a, &p->shared.tls, e);
    if (rc == ERR_NONE) rc = outbound_settings_of(c, a, &settings, e);
    return rc == ERR_NONE ? outbound_new(&p->outbound, &settings, e) : rc;
}

enum errc serve_bind(struct process *p, const struct config *c, err *e)
{
    str host;
    uint16_t port;
    enum errc rc = listen_address(c, &host, &port, e);
    return rc == ERR_NONE ? server_bind(&p->shared, host, port, e) : rc;
}

enum errc serve_check(const struct config *c, struct arena *a, struct buf *problems, err *e)
{
    str host;
    uint16_t port;
    SSL_CTX *tls = NULL;
    struct outbound_plan *plan = NULL;
    err of_address = {0}, of_tls = {0}, of_way = {0};
    const err *const all[] = {&of_address, &of_tls, &of_way};
    enum errc rc = listen_address(c, &host, &port, &of_address);
    enum errc tls_rc = open_tls(c, a, &tls, &of_tls), way_rc = plan_of(c, a, &plan, &of_way);
    SSL_CTX_free(tls);
    outbound_plan_free(plan);
    for (size_t i = 0; i < LENGTH_OF(all); i++)
        if (all[i]->code) buf_addf(problems, "%s\n", all[i]->msg);
    enum errc mail_rc = mail_config_check(c, problems, NULL);
    if (!rc && !tls_rc && !way_rc && !mail_rc) return ERR_NONE;
    return err_set(e, ERR_CONFIG, "the server would not start with this configuration");
}

/* --- the server itself --- */

struct node_change {
    struct loop_task task;
    struct node *node;
    struct server_limits limits;
    SSL_CTX *tls;
    struct generation *generation;
};

struct server_change {
    struct generation *generation;
    struct server_limits limits;
    SSL_CTX *tls;
    struct outbound_plan *plan;
    struct node_change *of_nodes[]; /* one each, NULL once posted */
};

static void change_discard(void *ctx, void *prepared)
{
    struct process *p = ctx;
    struct server_change *change = prepared;
    for (unsigned i = 0; i < p->n_nodes; i++)
        free(change->of_nodes[i]);
    SSL_CTX_free(change->tls);
    outbound_plan_free(change->plan);
    generation_let_go(change->generation);
    free(change);
}

static enum errc change_prepare(void *ctx, struct generation *next, void **prepared, struct buf *problems, err *e)
{
    struct process *p = ctx;
    const struct config *c = generation_config(next);
    struct server_change *change = calloc(1, sizeof *change + p->n_nodes * sizeof change->of_nodes[0]);
    struct arena scratch;
    str host;
    uint16_t port;
    if (!change) return err_code(e, ERR_NO_MEMORY);
    arena_init(&scratch, SCRATCH_LIMIT, 0);
    change->generation = generation_hold(next);
    change->limits = limits_of(c);
    enum errc rc = listen_address(c, &host, &port, e);
    if (rc == ERR_NONE) rc = mail_config_check(c, problems, e);
    if (rc == ERR_NONE) rc = open_tls(c, &scratch, &change->tls, e);
    if (rc == ERR_NONE) rc = plan_of(c, &scratch, &change->plan, e);
    for (unsigned i = 0; i < p->n_nodes && rc == ERR_NONE; i++)
        if (!(change->of_nodes[i] = calloc(1, sizeof *change->of_nodes[i]))) rc = err_code(e, ERR_NO_MEMORY);
    arena_fini(&scratch);
    if (rc != ERR_NONE)
        change_discard(p, change);
    else
        *prepared = change;
    return rc;
}

/* On the loop's thread. */
static void node_change(struct loop_task *task)
{
    struct node_change *change = (struct node_change *)task;
    struct node *n = change->node;
    const struct config *c = generation_config(change->generation);
    server_change(&n->server, &change->limits, change->tls);
    router_change(&n->router, (size_t)config_int(c, "limits.api_body_bytes"), (size_t)config_int(c, "limits.gateway_body_bytes"));
    n->ops.metrics_token = config_text(c, "metrics.token");
    generation_let_go(n->generation);
    n->generation = change->generation;
    SSL_CTX_free(change->tls);
    free(change);
}

static void change_commit(void *ctx, void *prepared)
{
    struct process *p = ctx;
    struct server_change *change = prepared;
    const struct config *c = generation_config(change->generation);
    set_log_level(c);
    p->stop_deadline_ms = (uint64_t)config_int(c, "limits.stop_deadline_ms");
    p->drain_delay_ms = drain_delay_of(c);
    outbound_adopt(p->outbound, change->plan);
    change->plan = NULL;
    for (unsigned i = 0; i < p->n_nodes; i++) {
        struct node_change *own = change->of_nodes[i];
        *own = (struct node_change){.task.run = node_change,
                                    .node = &p->nodes[i],
                                    .limits = change->limits,
                                    .tls = change->tls,
                                    .generation = generation_hold(change->generation)};
        if (own->tls) SSL_CTX_up_ref(own->tls);
        change->of_nodes[i] = NULL;
        loop_post(&p->nodes[i].loop, &own->task);
    }
    change_discard(p, change);
}

/* --- the gateway --- */

static enum errc gateway_prepare(void *ctx, struct generation *next, void **prepared, struct buf *problems, err *e)
{
    struct arena scratch;
    (void)ctx;
    arena_init(&scratch, SCRATCH_LIMIT, 0);
    enum errc rc = gateway_config_check(generation_config(next), &scratch, problems, e);
    arena_fini(&scratch);
    if (rc == ERR_NONE) *prepared = generation_hold(next);
    return rc;
}

static void gateway_discard(void *ctx, void *prepared)
{
    (void)ctx;
    generation_let_go(prepared);
}

static void gateway_commit(void *ctx, void *prepared)
{
    struct process *p = ctx;
    struct buf problems;
    err e = {0};
    buf_init(&problems, 1 << 20);
    /* It has just been checked: what can still fail is memory, or a file that changed meanwhile. */
    if (gateway_reload(p->gateway, generation_config(prepared), &problems, &e) != ERR_NONE)
        log_error(LOG_ERROR, "gateway_keeps_its_providers", &e);
    buf_fini(&problems);
    generation_let_go(prepared);
}

void serve_follow(struct process *p)
{
    const struct config_follower followers[] = {
        {"server", change_prepare, change_commit, change_discard, p},
        {"gateway", gateway_prepare, gateway_commit, gateway_discard, p},
    };
    for (size_t i = 0; i < LENGTH_OF(followers); i++)
        reload_follow(p->reload, &followers[i]);
}
