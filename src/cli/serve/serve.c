/* catalyst serve: one process, one event loop per core, until SIGTERM or SIGINT. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/version.h"
#include "cli/serve/serve.h"
#include "core/datadir.h"

#define PROBLEMS_MAX (1u << 20)
#define ABORT_GRACE_MS 2000 /* after the stop deadline: time to close what was aborted */

static struct node *node_of_server(struct server *s) { return (struct node *)((char *)s - offsetof(struct node, server)); }

/* --- stopping --- */

static void on_idle(struct server *s)
{
    struct node *n = node_of_server(s);
    gateway_loop_close(n->gateway);
    loop_finish(&n->loop);
}

static void run_drain(struct loop_task *task)
{
    server_drain(&((struct node *)((char *)task - offsetof(struct node, drain)))->server);
}

static void run_stop(struct loop_task *task)
{
    struct node *n = (struct node *)((char *)task - offsetof(struct node, stop));
    server_stop(&n->server, on_idle);
}

static void run_abort(struct loop_task *task)
{
    struct node *n = (struct node *)((char *)task - offsetof(struct node, abort));
    server_abort(&n->server);
}

static void abort_all(struct process *p)
{
    for (unsigned i = 0; i < p->n_nodes; i++)
        loop_post(&p->nodes[i].loop, &p->nodes[i].abort);
}

static void on_deadline(uv_timer_t *t)
{
    struct process *p = t->data;
    log_event(LOG_WARN, "stop_deadline_passed", LOG_I("connections", p->shared.n_connections));
    abort_all(p);
}

/* The balancer, if there is one, has been told: the listener closes, streams come to their end. */
static void stop_all(struct process *p)
{
    p->is_stopping = true;
    uv_timer_stop(&p->drained);
    live_stop(p->services.live); /* browsers come back at another node */
    reload_close(p->reload);     /* what it posted to the loops comes before their end */
    for (unsigned i = 0; i < p->n_nodes; i++)
        loop_post(&p->nodes[i].loop, &p->nodes[i].stop);
    uv_timer_start(&p->deadline, on_deadline, p->stop_deadline_ms, ABORT_GRACE_MS);
}

static void on_drained(uv_timer_t *t) { stop_all(t->data); }

/* Asked once: drain, then stop. Asked again: do not wait for the balancer, then not for streams either. */
static void on_signal(uv_signal_t *h, int number)
{
    struct process *p = h->data;
    if (p->is_stopping) {
        abort_all(p);
        return;
    }
    if (p->is_draining) {
        stop_all(p);
        return;
    }
    p->is_draining = true;
    p->is_ready = false;
    nodes_set_state(p->services.nodes, "draining");
    log_event(LOG_INFO, "stopping", LOG_S("signal", number == SIGTERM ? S("SIGTERM") : S("SIGINT")),
              LOG_I("drain_delay_ms", (int64_t)p->drain_delay_ms));
    if (p->drain_delay_ms == 0) {
        stop_all(p);
        return;
    }
    for (unsigned i = 0; i < p->n_nodes; i++)
        loop_post(&p->nodes[i].loop, &p->nodes[i].drain);
    uv_timer_start(&p->drained, on_drained, p->drain_delay_ms, 0);
}

static void on_hang_up(uv_signal_t *h, int number)
{
    struct process *p = h->data;
    (void)number;
    if (reload_now(p->reload, S("SIGHUP"), NULL) != ERR_NONE)
        return; /* it has been logged, and nothing has changed */
}

static void on_all_ended(uv_async_t *h)
{
    struct process *p = h->data;
    uv_unref((uv_handle_t *)&p->on_term); /* caught to the end: a late one must not kill what is being stored */
    uv_unref((uv_handle_t *)&p->on_int);
    uv_unref((uv_handle_t *)&p->on_hup);
    uv_close((uv_handle_t *)&p->drained, NULL);
    uv_close((uv_handle_t *)&p->deadline, NULL);
    uv_close((uv_handle_t *)h, NULL);
}

/* --- starting --- */

static void *node_main(void *arg)
{
    struct node *n = arg;
    store_this_is_a_loop();
    loop_run(&n->loop);
    if (--n->process->n_running == 0)
        uv_async_send(&n->process->all_ended);
    return NULL;
}

static unsigned loops_wanted(const struct config *c)
{
    int64_t n = config_int(c, "loops");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : cores > 0 ? (unsigned)cores : 1;
}

static bool is_cut_off(void *nodes) { return nodes_is_cut_off(nodes); }

/* Another server under this node's id: the one that lost its row is the one to take out of service. */
static bool can_serve(void *ctx, const char **reason)
{
    const struct node *n = ctx;
    bool is_doubled = nodes_is_doubled(n->process->services.nodes);
    if (is_doubled)
        *reason = "node_id_in_use";
    return !is_doubled && gateway_can_serve(n->gateway, reason);
}

static enum errc node_start(struct process *p, unsigned i, const struct config *c, err *e)
{
    struct node *n = &p->nodes[i];
    struct http_handler handler = router_handler();
    n->process = p;
    n->drain.run = run_drain;
    n->stop.run = run_stop;
    n->abort.run = run_abort;
    enum errc rc = loop_init(&n->loop, i, e);
    if (rc != ERR_NONE)
        return rc;
    p->n_loops_made++;
    if ((rc = gateway_loop_new(&n->gateway, p->gateway, &n->loop, e)) != ERR_NONE)
        return rc;
    n->ops = (struct ops){
        .metrics_token = config_text(c, "metrics.token"),
        .trusts_loopback = !config_bool(c, "listen.behind_tls_proxy"),
        .is_ready = &p->is_ready,
        .can_serve = can_serve,
        .ctx = n,
        .is_draining = &p->is_draining,
        .is_cut_off = is_cut_off,
        .cut_off_ctx = p->services.nodes,
    };
    router_init(&n->router, (size_t)config_int(c, "limits.api_body_bytes"), (size_t)config_int(c, "limits.gateway_body_bytes"));
    router_mount(&n->router, &ops_routes, &n->ops);
    router_mount(&n->router, &gateway_routes, n->gateway);
    api_mount_on(p->services.api, &n->router);
    router_mount(&n->router, &page_routes, p->page);
    return server_start(&n->server, &n->loop, &p->shared, &handler, &n->router, e);
}

/* The usual soft limit of 1,024 descriptors is less than the connections that are allowed. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void run_until_stopped(struct process *p, uv_loop_t *main_loop, unsigned *n_started)
{
    err e = {0};
    char address[64];
    p->main_loop = main_loop;
    p->on_term.data = p->on_int.data = p->on_hup.data = p->drained.data = p->deadline.data = p->all_ended.data = p;
    uv_timer_init(main_loop, &p->drained);
    uv_timer_init(main_loop, &p->deadline);
    uv_async_init(main_loop, &p->all_ended, on_all_ended);
    uv_signal_init(main_loop, &p->on_term);
    uv_signal_init(main_loop, &p->on_int);
    uv_signal_init(main_loop, &p->on_hup);
    uv_signal_start(&p->on_hup, on_hang_up, SIGHUP);
    uv_signal_start(&p->on_term, on_signal, SIGTERM);
    uv_signal_start(&p->on_int, on_signal, SIGINT);
    p->n_running = p->n_nodes;
    p->is_ready = true;
    for (; *n_started < p->n_nodes; ++*n_started) {
        struct node *n = &p->nodes[*n_started];
        int rc = pthread_create(&n->loop.thread, NULL, node_main, n);
        if (rc != 0) {
            err_errno(&e, ERR_INTERNAL, rc, "starting event loop %u", *n_started);
            log_error(LOG_ERROR, "start_failed", &e);
            abort();
        }
    }
    nodes_set_state(p->services.nodes, "serving");
    log_event(LOG_INFO, "ready", LOG_S("address", server_address(&p->shared, address)), LOG_I("loops", p->n_nodes),
              LOG_I("providers", gateway_n_providers(p->gateway)), LOG_I("keys", gateway_n_keys(p->gateway)),
              LOG_B("tls", p->shared.tls != NULL), LOG_S("version", S(CATALYST_VERSION)), LOG_I("pid", getpid()));
    uv_run(main_loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < *n_started; i++)
        pthread_join(p->nodes[i].loop.thread, NULL);
}

static int serve(const struct cli_app *app, const struct cli_args *args)
{
    struct process p = {.app = app, .lock_fd = -1};
    struct arena a;
    struct config_source layers;
    struct generation *first = NULL;
    const struct config *config;
    struct buf problems;
    err e = {0};
    unsigned n_started = 0;
    uv_loop_t main_loop;
    bool has_shared = false;
    arena_init(&a, 64u << 20, 64u << 10);
    buf_init(&problems, PROBLEMS_MAX);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (cli_config_source(app, args, &a, &layers, &e) != ERR_NONE || reload_new(&p.reload, &layers, &problems, &e) != ERR_NONE)
        goto failed;
    first = reload_current(p.reload);
    config = generation_config(first); /* without the database's settings: what they cannot change */
    raise_descriptor_limit();
    p.n_nodes = loops_wanted(config);
    if (datadir_open(cli_data_dir(args), &p.lock_fd, &e) != ERR_NONE || stats_init(p.n_nodes) != ERR_NONE ||
        server_shared_init(&p.shared, &e) != ERR_NONE)
        goto failed;
    has_shared = true;
    reload_declare(p.reload);
    if (page_new(&p.page, config_text(config, "listen.path_prefix"), &e) != ERR_NONE || serve_bind(&p, config, &e) != ERR_NONE ||
        services_open_database(&p, config, cli_data_dir(args), &problems, &e) != ERR_NONE)
        goto failed;
    generation_let_go(first);
    first = reload_current(p.reload);
    config = generation_config(first);
    fprintf(stderr, "%.*s", STR(buf_str(&problems))); /* warnings */
    buf_clear(&problems);
    if (serve_settings(&p, config, &a, &e) != ERR_NONE ||
        gateway_new(&p.gateway, &(struct gateway_setup){config, cli_data_dir(args), p.n_nodes}, &problems, &e) != ERR_NONE ||
        services_open(&p, config, cli_data_dir(args), &a, &e) != ERR_NONE)
        goto failed;
    p.nodes = calloc(p.n_nodes, sizeof *p.nodes);
    if (!p.nodes) {
        err_code(&e, ERR_NO_MEMORY);
        goto failed;
    }
    for (unsigned i = 0; i < p.n_nodes; i++)
        if (node_start(&p, i, config, &e) != ERR_NONE)
            goto failed;
    serve_follow(&p);
    if (services_start(&p, cli_data_dir(args), &a, &e) != ERR_NONE)
        goto failed;
    uv_loop_init(&main_loop);
    run_until_stopped(&p, &main_loop, &n_started);
    services_stop(&p.services);
    gateway_free(p.gateway); /* before the loops: the journal's last sync still posts to them */
    p.gateway = NULL;
    services_close(&p.services);
    for (unsigned i = 0; i < p.n_nodes; i++) {
        server_fini(&p.nodes[i].server);
        generation_let_go(p.nodes[i].generation);
        loop_fini(&p.nodes[i].loop);
    }
    uv_close((uv_handle_t *)&p.on_term, NULL);
    uv_close((uv_handle_t *)&p.on_int, NULL);
    uv_close((uv_handle_t *)&p.on_hup, NULL);
    uv_run(&main_loop, UV_RUN_DEFAULT);
    uv_loop_close(&main_loop);
    log_event(LOG_INFO, "stopped", LOG_I("pid", getpid()));
failed:
    if (problems.len)
        fprintf(stderr, "%.*s", STR(buf_str(&problems)));
    int code = e.code == ERR_NONE ? EXIT_OK : cli_fail(&e);
    services_stop(&p.services);
    gateway_free(p.gateway);
    services_close(&p.services);
    page_free(p.page);
    free(p.nodes);
    if (has_shared)
        server_shared_fini(&p.shared);
    SSL_CTX_free(p.shared.tls);
    outbound_free(p.outbound);
    generation_let_go(first);
    reload_free(p.reload);
    if (p.lock_fd >= 0)
        close(p.lock_fd);
    buf_fini(&problems);
    arena_fini(&a);
    return code;
}

static const struct flag flags[] = {CLI_CONFIG_FLAGS};

const struct command cmd_serve = {
    .name = "serve",
    .arguments = "",
    .meaning = "runs the server until SIGTERM or SIGINT",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = serve,
};
