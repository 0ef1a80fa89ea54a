/* serve.h - what the files of `catalyst serve` share: the process, its loops, and how they take another configuration.
 *
 * Threads: a node belongs to its loop once that runs; the process to the main thread.
 */
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

#include <stdatomic.h>

#include "cli/cli.h"
#include "core/audit.h"
#include "core/audit_log.h"
#include "core/backend.h"
#include "core/control.h"
#include "core/flags.h"
#include "core/export.h"
#include "core/identity/identity.h"
#include "core/jobs.h"
#include "core/live.h"
#include "core/mail.h"
#include "core/nodes.h"
#include "core/notify.h"
#include "core/ops.h"
#include "core/page.h"
#include "core/reload.h"
#include "core/settings.h"
#include "gateway/gateway.h"
#include "net/outbound.h"

/* Everything of one loop. */
struct node {
    struct loop loop;
    struct server server;
    struct router router;
    struct ops ops;
    struct generation *generation; /* that ops points into */
    struct gateway_loop *gateway;
    struct loop_task drain, stop, abort;
    struct process *process;
};

/* The control plane, common to all loops. */
struct services {
    struct backend backend;
    struct nodes *nodes;     /* this server among all on the database */
    struct live *live;
    struct jobs *jobs;
    struct audit *audit;
    struct notify *notify;
    struct mailer *mailer;
    struct export *export;
    struct permissions *permissions;
    struct audit_log *audit_log;
    struct identity *identity;
    struct settings *settings;
    settings_mark settings_mark;
    struct flags *flags;
    struct gateway *gateway; /* the process's */
    struct api *api;
    struct control *control;
    struct control_command commands[2];
};

struct process {
    const struct cli_app *app;
    struct server_shared shared;
    struct reload *reload;
    struct outbound *outbound;
    struct gateway *gateway;
    struct services services;
    struct page *page;
    struct node *nodes;
    unsigned n_nodes, n_loops_made;
    atomic_uint n_running;
    _Atomic bool is_ready, is_draining;
    _Atomic uint64_t stop_deadline_ms, drain_delay_ms;
    uv_loop_t *main_loop;
    uv_signal_t on_term, on_int, on_hup;
    uv_timer_t drained, deadline;
    uv_async_t all_ended;
    bool is_stopping;
    int lock_fd;
};

/* Takes what holds from the start: log level, limits, certificate, the way out. */
WARN_UNUSED enum errc serve_settings(struct process *p, const struct config *c, struct arena *a, err *e);
/* Binds listen.address, unless it would send secrets in the clear. */
WARN_UNUSED enum errc serve_bind(struct process *p, const struct config *c, err *e);
/* Every room that takes another configuration while it runs, in the order of preparing. */
void serve_follow(struct process *p);

/* The one list of tables of endpoints, in the order of the documentation: what the server mounts and `catalyst openapi` describes. s may be NULL when
 * nothing is served. Returns their number. */
unsigned services_mounts(const struct services *s, struct api_mount out[API_TABLES_MAX]);
/* Opens the databases, and makes the first configuration anew with their settings. */
WARN_UNUSED enum errc services_open_database(struct process *p, const struct config *c, const char *data_dir, struct buf *problems, err *e);
/* Opens what the endpoints stand on, when the address is bound and the gateway is there; on an error services_close takes back what was opened. */
WARN_UNUSED enum errc services_open(struct process *p, const struct config *c, const char *data_dir, struct arena *a, err *e);
/* Starts what works by itself, and prints the link of the first start. */
WARN_UNUSED enum errc services_start(struct process *p, const char *data_dir, struct arena *a, err *e);
/* When the loops have ended: nothing calls into the gateway any more after this. */
void services_stop(struct services *s);
/* When the gateway is gone too, and before the loops are freed. */
void services_close(struct services *s);

/* What `config check` looks at beyond the values: the listener's safety, the certificate and its key, the way out. One line per problem, ERR_CONFIG. */
WARN_UNUSED enum errc serve_check(const struct config *c, struct arena *a, struct buf *problems, err *e);

#endif
