/* gateway.h - the data plane: one address in front of all model providers, in the dialects that agents and SDKs speak.
 *
 * A call is admitted by its key, routed by its model's name, forwarded byte for byte (but for members edited in place), answered as the provider's bytes come, and
 * recorded in the usage journal before its last bytes go out.
 * What decides (providers, aliases, keys, budgets, limits, prices) is one immutable snapshot of the configuration file and the database. A change builds the
 * next one, which every loop takes up before its next call; calls under way end with theirs, but for those whose key is gone: they are cut.
 * Threads: struct gateway is for any thread, struct gateway_loop belongs to one loop.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "base/random.h"
#include "core/api.h"
#include "core/config.h"
#include "core/export.h"
#include "core/router.h"

extern const struct option_table gateway_options;
extern const struct route_table gateway_routes; /* mounted with a struct gateway_loop as context */
/* Under /api, with the struct gateway as service. */
extern const struct api_table gateway_providers_api, gateway_aliases_api, gateway_models_api, gateway_keys_api, gateway_budgets_api, gateway_billing_api, gateway_limits_api,
    gateway_requests_api;
extern const struct export_table gateway_export;

struct gateway;
struct gateway_loop;

/* Checks what only the gateway knows about a configuration: one line per problem, ERR_CONFIG. */
WARN_UNUSED enum errc gateway_config_check(const struct config *config, struct arena *a, struct buf *problems, err *e);

struct gateway_setup {
    const struct config *config;
    const char *data_dir;        /* must be locked */
    unsigned n_loops;
};
/* Loads the snapshot and opens the journal. stats_init must have been called. One line per problem of the configuration goes into problems. */
WARN_UNUSED enum errc gateway_new(struct gateway **out, const struct gateway_setup *setup, struct buf *problems, err *e);
/* The configuration was read again: providers, aliases, keys and prices of the new one hold for all calls that begin after this. On ERR_CONFIG nothing
 * changes. journal.* and limits.* keep what they were at the start. */
WARN_UNUSED enum errc gateway_reload(struct gateway *g, const struct config *config, struct buf *problems, err *e);

/* What the database adds: its providers, keys and budgets, and a place for the calls. */
struct store;
struct secrets;
struct live;
struct nodes;
struct events;
struct gateway_backend {
    struct store *store;
    const struct secrets *secrets;
    struct events *events;
    struct live *live;           /* gets a frame for each call; may be NULL */
    struct nodes *nodes;         /* hears of the snapshot and of the journal's backlog; may be NULL */
};
/* Once, before the loops begin to work: drains what earlier runs have left, and takes what the database says. */
WARN_UNUSED enum errc gateway_attach(struct gateway *g, const struct gateway_backend *backend, err *e);
/* Begins to drain the journal. */
WARN_UNUSED enum errc gateway_start(struct gateway *g, err *e);
/* Ends that, with a last look; before the store is closed. */
void gateway_stop(struct gateway *g);

/* After all loops have ended. */
void gateway_free(struct gateway *g);

WARN_UNUSED enum errc gateway_loop_new(struct gateway_loop **out, struct gateway *g, struct loop *l, err *e);
/* On the loop's thread, when its server is idle: closes the connections to providers. */
void gateway_loop_close(struct gateway_loop *gl);
void gateway_loop_free(struct gateway_loop *gl);

/* Whether calls can be admitted on this loop; *reason is a word for /readyz: why not, or what is amiss although they can (else it is left alone). */
bool gateway_can_serve(void *gateway_loop, const char **reason);

/* The id of this node: of its data folder, made once. */
uuid gateway_node(const struct gateway *g);
/* For the ready line of the log. */
unsigned gateway_n_providers(struct gateway *g);
unsigned gateway_n_keys(struct gateway *g);

#endif
