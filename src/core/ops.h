/* ops.h - what operators and probes ask every server: is it alive, is it ready, what does it measure.
 *
 * GET /healthz, /readyz, /metrics (Prometheus text 0.0.4), HEAD too.
 * /readyz says whether a balancer should send calls here: 503 before the server is ready, from SIGTERM on ("draining"), and while
 * calls cannot be taken. Without the database they can: 200 with "degraded". /readyz?for=api is for what needs the database, the
 * page and /api: 503 then.
 * /metrics is open to direct clients on the loopback; everybody else needs the configured token. A loopback client may be a proxy that speaks for
 * others when listen.behind_tls_proxy is set, so the token is needed then too.
 * Threads: one context per loop.
 */
#ifndef CORE_OPS_H
#define CORE_OPS_H

#include "base/options.h"
#include "core/router.h"

struct ops {
    str metrics_token;        /* empty: none */
    bool trusts_loopback;
    _Atomic bool *is_ready;   /* false while starting and draining */
    const _Atomic bool *is_draining;
    /* Whether calls can be taken now (the journal has room); *reason says why not, or what is amiss although they can. */
    bool (*can_serve)(void *ctx, const char **reason);
    void *ctx;
    bool (*is_cut_off)(void *ctx); /* from the database */
    void *cut_off_ctx;
};

extern const struct route_table ops_routes;
extern const struct option_table core_options;

#endif
