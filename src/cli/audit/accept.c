/* catalyst audit accept-restore: the database is an older copy on purpose, and the log goes on from there. */
#include <unistd.h>

#include "base/log.h"
#include "cli/data/store.h"
#include "core/audit.h"
#include "core/datadir.h"
#include "core/outbound_config.h"

#define REASON_MAX 500

struct accept {
    struct arena a;
    struct config *config;
    struct backend backend;
    struct outbound *outbound;
    struct audit *audit;
    int lock;
    struct buf out;
    err e;
};

static enum errc open_all(struct accept *c, const struct cli_app *app, const struct cli_args *args)
{
    struct outbound_settings settings;
    enum errc rc = cli_config(app, args, &c->a, &c->config, &c->e);
    if (!rc) rc = datadir_open(cli_data_dir(args), &c->lock, &c->e);
    if (!rc) {
        struct store_source source = backend_store_source(c->config, cli_data_dir(args));
        rc = cli_store_exists(&source, &c->e);
    }
    if (!rc) rc = backend_open(&c->backend, c->config, cli_data_dir(args), &c->e);
    if (!rc) rc = outbound_settings_of(c->config, &c->a, &settings, &c->e);
    if (!rc) rc = outbound_new(&c->outbound, &settings, &c->e);
    struct audit_setup setup = {.store = c->backend.store,
                                .events = c->backend.events,
                                .signing = c->backend.signing,
                                .config = c->config,
                                .data_dir = cli_data_dir(args),
                                .outbound = c->outbound};
    return rc ? rc : audit_new(&c->audit, &setup, &c->e);
}

static int run_accept(const struct cli_app *app, const struct cli_args *args)
{
    struct accept c = {.lock = -1};
    struct audit_break *breaks = NULL;
    unsigned n = 0;
    const char *reason = cli_flag(args, "--reason");
    log_set_level(LOG_WARN);
    arena_init(&c.a, 64u << 20, 0);
    buf_init(&c.out, 1u << 20);
    enum errc rc = reason && *reason && strlen(reason) <= REASON_MAX
                       ? ERR_NONE
                       : err_set(&c.e, ERR_USAGE, "say why, in at most %d bytes: --reason TEXT; it stands in the log for ever", REASON_MAX);
    if (!rc) rc = open_all(&c, app, args);
    if (!rc) rc = audit_accept(c.audit, str_c(reason), &c.a, &breaks, &n, &c.e);
    for (unsigned i = 0; !rc && i < n; i++)
        buf_addf(&c.out, "%.*s had a head over %lld events that this log does not bear out; it goes on from %lld.\n%.*s", STR(breaks[i].source),
                 (long long)breaks[i].lost.size, (long long)breaks[i].now.size, STR(breaks[i].note));
    if (!rc && !n) buf_add(&c.out, S("Nothing to accept: the log bears out every head outside the database.\n"));
    int code = rc ? cli_fail(&c.e) : cli_print(&c.out);
    audit_free(c.audit);
    backend_close(&c.backend);
    outbound_free(c.outbound);
    if (c.lock >= 0) close(c.lock);
    buf_fini(&c.out);
    arena_fini(&c.a);
    return code;
}

static const struct flag flags[] = {
    CLI_CONFIG_FLAGS,
    {"--reason", "TEXT", NULL, "why an older copy was restored"},
};

const struct command cmd_audit_accept = {
    .name = "audit accept-restore",
    .arguments = "",
    .meaning = "accepts that the database is an older copy than heads of its log that were given away: writes a signed record of it",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run_accept,
};
