/* The control plane of the server: databases, log, jobs, identity, every service's endpoints, and DIR/control.sock. */
#include <stdio.h>

#include "base/log.h"
#include "cli/serve/serve.h"
#include "core/workspaces.h"
#include "projects/projects.h"

static enum errc recheck(void *ctx, struct api_request *r, struct tx *tx, err *e)
{
    const struct services *s = ctx;
    return identity_recheck(s->identity, r, tx, e);
}

/* What browsers put before a path: as configured, else where the server listens. */
static str public_url(struct process *p, const struct config *c, struct arena *a)
{
    char text[64];
    str configured = config_text(c, "listen.public_url"), address = server_address(&p->shared, text);
    while (configured.len && configured.p[configured.len - 1] == '/')
        configured.len--;
    if (configured.len)
        return configured;
    bool is_anywhere = str_starts(address, S("0.0.0.0:")) || str_starts(address, S("[::]:"));
    str port = str_skip(address, str_starts(address, S("[::]:")) ? 4 : 7);
    return arena_printf(a, "%s://%s%.*s%.*s", p->shared.tls ? "https" : "http", is_anywhere ? "localhost" : "",
                        STR(is_anywhere ? port : address), STR(config_text(c, "listen.path_prefix")));
}

/* Who issues tokens: the address that people know, or, where none is configured and each node has its own, the name of the database. */
static str issuer(const struct services *s, const struct config *c, struct arena *a)
{
    char text[UUID_TEXT_LEN + 1];
    uint8_t key[32];
    uuid id;
    str url = config_text(c, "listen.public_url");
    while (url.len && url.p[url.len - 1] == '/')
        url.len--;
    if (url.len)
        return url;
    secrets_derive(s->backend.secrets, "issuer", key);
    memcpy(id.b, key, sizeof id.b);
    return arena_printf(a, "urn:uuid:%.*s", STR(uuid_format(&id, text)));
}

/* On the log's thread: streams have something to tell, and jobs may have been added with it. */
static void on_sealed(void *ctx, int64_t number)
{
    struct services *s = ctx;
    nodes_followed(s->nodes, number);
    live_sealed(s->live, number);
    jobs_wake(s->jobs);
}

static enum errc open_background(struct services *s, const struct config *c, const char *data_dir, err *e)
{
    static const struct export_table *const tables[] = {&core_export, &projects_export, &gateway_export};
    struct export_setup export = {.store = s->backend.store, .config = c, .data_dir = data_dir, .tables = tables, .n_tables = LENGTH_OF(tables)};
    enum errc rc = jobs_new(&s->jobs, s->backend.store, s->live, c, nodes_id(s->nodes), nodes_boot(s->nodes), e);
    if (rc != ERR_NONE)
        return rc;
    jobs_join(s->jobs, s->nodes);
    export.jobs = s->jobs;
    struct audit_log_setup audit_log = {.store = s->backend.store};
    rc = export_new(&s->export, &export, e);
    if (rc == ERR_NONE) rc = audit_log_new(&s->audit_log, &audit_log, e);
    return rc == ERR_NONE ? notify_new(&s->notify, s->backend.store, s->backend.events, s->live, s->jobs, c, e) : rc;
}

unsigned services_mounts(const struct services *s, struct api_mount out[API_TABLES_MAX])
{
    struct identity *identity = s ? s->identity : NULL;
    struct gateway *gateway = s ? s->gateway : NULL;
    const struct api_mount mounts[] = {
        {&setup_api, identity}, {&auth_api, identity}, {&sign_in_steps_api, identity}, {&step_up_api, identity},
        {&enrolment_api, identity}, {&factors_api, identity}, {&sessions_api, identity}, {&users_api, identity},
        {&tokens_api, identity}, {&device_api, identity}, {&signing_api, identity},
        {&workspaces_api, identity}, {&members_api, identity}, {&invitations_api, identity}, {&api_keys_api, identity},
        {&roles_api, s ? s->permissions : NULL}, {&export_api, s ? s->export : NULL}, {&projects_api, NULL},
        {&jobs_api, s ? s->jobs : NULL}, {&audit_trail_api, s ? s->audit : NULL}, {&nodes_api, s ? s->nodes : NULL},
        {&settings_api, s ? s->settings : NULL}, {&flags_api, s ? s->flags : NULL},
        {&notify_api, s ? s->notify : NULL}, {&mail_api, s ? s->mailer : NULL}, {&live_api, s ? s->live : NULL},
        {&audit_log_api, s ? s->audit_log : NULL},
        {&gateway_providers_api, gateway}, {&gateway_aliases_api, gateway}, {&gateway_models_api, gateway}, {&gateway_keys_api, gateway},
        {&gateway_budgets_api, gateway}, {&gateway_billing_api, gateway}, {&gateway_limits_api, gateway}, {&gateway_requests_api, gateway},
    };
    memcpy(out, mounts, sizeof mounts);
    return LENGTH_OF(mounts);
}

static enum errc open_api(struct services *s, const struct config *c, err *e)
{
    struct api_mount mounts[API_TABLES_MAX];
    struct api_setup setup = {
        .store = s->backend.store,
        .config = c,
        .mounts = mounts,
        .n_mounts = services_mounts(s, mounts),
        .jobs = s->jobs,
        .authenticate = identity_authenticate,
        .authorize = identity_authorize,
        .only_workspace = identity_only_workspace,
        .ctx = s->identity,
    };
    return api_new(&s->api, &setup, e);
}

static enum errc read_settings(void *ctx, struct arena *a, struct config_setting **out, unsigned *n, err *e)
{
    struct services *s = ctx;
    return settings_read(s->backend.store, s->backend.secrets, a, out, n, &s->settings_mark, e);
}

enum errc services_open_database(struct process *p, const struct config *c, const char *data_dir, struct buf *problems, err *e)
{
    struct services *s = &p->services;
    enum errc rc = backend_open(&s->backend, c, data_dir, e);
    if (rc == ERR_NONE) rc = store_measure(s->backend.store, e);
    return rc == ERR_NONE ? reload_database(p->reload, read_settings, s, problems, e) : rc;
}

enum errc services_open(struct process *p, const struct config *c, const char *data_dir, struct arena *a, err *e)
{
    struct services *s = &p->services;
    struct live_setup live = {.config = c, .recheck = recheck, .ctx = s};
    enum errc rc;
    live.store = s->backend.store;
    struct gateway_backend gateway = {.store = s->backend.store, .secrets = s->backend.secrets, .events = s->backend.events};
    uuid node = gateway_node(p->gateway);
    char address[64];
    struct audit_setup audit = {.store = s->backend.store,
                                .events = s->backend.events,
                                .signing = s->backend.signing,
                                .config = c,
                                .data_dir = data_dir,
                                .outbound = p->outbound,
                                .node = node};
    if ((rc = audit_new(&s->audit, &audit, e)) != ERR_NONE ||
        (rc = audit_check(s->audit, e)) != ERR_NONE) /* before anything is added to an old copy of the log */
        return rc;
    if ((rc = nodes_new(&s->nodes, s->backend.store, c, &node, server_address(&p->shared, address), e)) != ERR_NONE ||
        (rc = nodes_start(s->nodes, e)) != ERR_NONE) /* before anything is done in its name */
        return rc;
    if ((rc = settings_new(&s->settings, s->backend.store, s->backend.secrets, p->reload, &s->settings_mark, p->app->tables,
                           p->app->n_tables, e)) != ERR_NONE ||
        (rc = flags_new(&s->flags, s->backend.store, e)) != ERR_NONE)
        return rc;
    live.nodes = s->nodes;
    if ((rc = live_new(&s->live, &live, e)) != ERR_NONE || (rc = open_background(s, c, data_dir, e)) != ERR_NONE)
        return rc;
    gateway.live = s->live;
    gateway.nodes = s->nodes;
    s->gateway = p->gateway;
    if ((rc = gateway_attach(p->gateway, &gateway, e)) != ERR_NONE)
        return rc;
    if ((rc = permissions_new(&s->permissions, e)) != ERR_NONE ||
        (rc = plans_put(s->backend.store, c, e)) != ERR_NONE)
        return rc;
    struct identity_source source = {
        .permissions = s->permissions,
        .store = s->backend.store,
        .secrets = s->backend.secrets,
        .config = c,
        .public_url = public_url(p, c, a),
        .live = s->live,
        .issuer = issuer(s, c, a),
        .signing = s->backend.signing,
        .find_project = project_resource.find,
        .project_ids = project_ids,
    };
    if (!source.public_url.p)
        return err_code(e, ERR_NO_MEMORY);
    const struct mailer_source mail = {
        .store = s->backend.store,
        .secrets = s->backend.secrets,
        .reload = p->reload,
        .data_dir = data_dir,
        .public_url = source.public_url,
        .jobs = s->jobs,
    };
    if ((rc = mailer_new(&s->mailer, &mail, e)) != ERR_NONE)
        return rc;
    source.mailer = s->mailer;
    if ((rc = identity_new(&s->identity, &source, e)) != ERR_NONE || (rc = open_api(s, c, e)) != ERR_NONE)
        return rc;
    audit_add_jobs(s->audit, s->jobs);
    events_on_sealed(s->backend.events, on_sealed, s);
    identity_watch(s->identity, s->backend.events);
    flags_watch(s->flags, s->backend.events);
    signing_watch(s->backend.signing, s->backend.events);
    jobs_add_chore(s->jobs, identity_tidy, s->identity);
    jobs_add_chore(s->jobs, signing_tidy, s->backend.signing);
    return secrets_watch(s->backend.secrets, s->backend.events, e);
}

enum errc services_start(struct process *p, const char *data_dir, struct arena *a, err *e)
{
    struct services *s = &p->services;
    str link;
    enum errc rc = settings_watch(s->settings, s->backend.events, nodes_id(s->nodes), e);
    if (rc == ERR_NONE)
        rc = events_start(s->backend.events, e);
    if (rc == ERR_NONE)
        rc = audit_log_start(s->audit_log, e);
    if (rc == ERR_NONE)
        rc = audit_start(s->audit, e);
    if (rc == ERR_NONE)
        rc = jobs_start(s->jobs, e);
    if (rc == ERR_NONE)
        rc = gateway_start(p->gateway, e);
    if (rc == ERR_NONE)
        rc = store_listen(s->backend.store, e);
    s->commands[0] = (struct control_command){"setup", identity_setup_command, s->identity};
    s->commands[1] = (struct control_command){"nodes", nodes_command, s->nodes};
    if (rc == ERR_NONE)
        rc = control_start(&s->control, data_dir, s->commands, LENGTH_OF(s->commands), e);
    if (rc == ERR_NONE)
        rc = identity_setup_link(s->identity, a, &link, e);
    if (rc == ERR_NONE && link.p) { /* on standard output: it is a secret, and no line of the log */
        printf("Nobody owns this Catalyst yet. Open this link in a browser to set it up; it works once, for an hour:\n  %.*s\n", STR(link));
        fflush(stdout);
    }
    return rc;
}

void services_stop(struct services *s)
{
    control_stop(s->control);
    api_free(s->api);
    if (s->backend.store)
        store_deafen(s->backend.store);
    if (s->jobs)
        jobs_stop(s->jobs);
    audit_log_stop(s->audit_log);
    if (s->backend.events)
        events_stop(s->backend.events); /* it wakes jobs and streams */
    audit_stop(s->audit);
    settings_stop(s->settings);
    s->control = NULL;
    s->api = NULL;
}

void services_close(struct services *s)
{
    services_stop(s);
    audit_free(s->audit);
    jobs_free(s->jobs);
    notify_free(s->notify);
    mailer_free(s->mailer);
    audit_log_free(s->audit_log);
    export_free(s->export);
    live_free(s->live);
    identity_free(s->identity);
    permissions_free(s->permissions);
    flags_free(s->flags);
    settings_free(s->settings);
    nodes_free(s->nodes);
    backend_close(&s->backend);
    *s = (struct services){0};
}
