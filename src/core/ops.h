/* ops.h - what operators and probes ask every server: is it alive, is it ready, what does it measure.
 *
 * GET /healthz, /readyz, /metrics (Prometheus text 0.0.4), HEAD too.
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
    _Atomic bool *is_ready;   /* false while starting and stopping */
    /* Whether calls can be taken now (the journal has room); *reason says why not, or what is amiss although they can. */
    bool (*can_serve)(void *ctx, const char **reason);
    void *ctx;
};

extern const struct route_table ops_routes;
extern const struct option_table core_options;

#endif
