/* snapshot.h - providers, aliases, keys, budgets and prices as one immutable value that every call is decided by.
 *
 * Made by snapshot_build.h from what the configuration file and the database say; nothing else looks models or keys up. Each workspace has its own
 * providers, aliases and lists of models; entries of the file belong to the first workspace and win there by name.
 * Threads: immutable and reference-counted; shared by all loops. Only the counters that it points to change.
 */
#ifndef GATEWAY_SNAPSHOT_H
#define GATEWAY_SNAPSHOT_H

#include <stdatomic.h>

#include "base/crypto.h"
#include "base/map.h"
#include "core/config.h"
#include "gateway/budget.h"
#include "gateway/kinds.h"
#include "gateway/prices.h"
#include "gateway/rates.h"
#include "json/write.h"
#include "net/client.h"

struct workspace_view;

struct provider {
    uuid id;                     /* of the file's: derived from the name */
    str name;
    unsigned index;              /* in the snapshot */
    const struct workspace_view *workspace;
    const struct provider_kind *kind;
    str base_url;                /* as configured, else the kind's */
    bool has_api_key;
    str *models;                 /* globs */
    unsigned n_models;
    bool has_own_models;         /* the configuration names them */
    bool is_from_file;
    unsigned dialects;           /* bit set */
    str price_name;              /* what its own prices stand under in the price book */
    struct client_target target;
    /* Parts of a request head that are the same for every call, in order: request line up to the query, query, then the rest of the line with Host and
     * authentication. */
    str request_line[DIALECTS];  /* "POST /v1/chat/completions" */
    str base_query;              /* of the base URL, without '?' */
    str fixed_fields;            /* " HTTP/1.1\r\nHost: …\r\nAuthorization: …\r\nAccept-Encoding: identity\r\n" */
};

struct alias {
    str name, model;
    const struct provider *provider; /* NULL: found by the model's name */
    bool is_from_file;
};

/* What one workspace's keys see. */
struct workspace_view {
    uuid id;                     /* nil: the file's entries before there is any workspace */
    const struct snapshot *snapshot;
    struct provider **providers; /* in the order in which they are asked */
    unsigned n_providers;
    struct map aliases;          /* name -> struct alias */
    str models_openai, models_anthropic; /* answers of GET /v1/models */
    str known_models;            /* for messages: patterns and aliases, cut to a readable length */
};

struct virtual_key {
    uuid id;                     /* first 16 bytes of the SHA-256 of its (first) text */
    str name, project;           /* project: the label of its calls, empty when it is not bound to one */
    uuid project_id, user_id;    /* what it is bound to, or nil */
    const struct workspace_view *workspace;
    const str *models;           /* globs; none: all */
    unsigned n_models;
    const str *providers;        /* names; none: all */
    unsigned n_providers;
    usec expires_us;             /* INT64_MAX: never */
    bool is_enabled, is_from_file;
    bool is_left_behind;         /* bound to somebody who is no member any more: opens nothing */
    const struct budget_gate *budgets; /* in the order workspace, project, user, key */
    unsigned n_budgets;
    bool has_hard_budget;
    int64_t cap_pico;            /* for unknown prices: what all hard budgets allow at most; -1: one of them refuses */
    const struct rate_gate *rates;     /* key, project */
    unsigned n_rates;
};

/* One text of a key: after a rotation there are two for a while. */
struct key_secret {
    uint8_t sha256[SHA256_LEN];
    usec expires_us;             /* of this text */
    const struct virtual_key *key;
};

struct snapshot_base;

struct snapshot {
    atomic_uint refs;
    uint64_t version;
    int64_t log_number;          /* it holds what the log tells up to here; 0: without a database */
    struct arena arena;
    struct snapshot_base *base;
    struct workspace_view *workspaces; /* the first one has the file's entries; at least one */
    unsigned n_workspaces;
    struct provider *providers;
    unsigned n_providers;
    struct virtual_key *keys;
    unsigned n_keys;
    struct map secrets;          /* SHA-256 -> struct key_secret */
    struct map keys_by_id;       /* 16 bytes -> struct virtual_key */
    struct budget *budgets;
    unsigned n_budgets;
    struct map budget_slots;     /* private: scope and id -> struct budget_slot */
    struct map rate_counters;    /* private: 'k' or 'p' and id -> struct rate_counter */
    struct price_book *prices;
};

struct snapshot *snapshot_get(struct snapshot *s);
void snapshot_put(struct snapshot *s); /* NULL is fine */

struct route_choice {
    const struct provider *provider;
    str model;      /* as the provider knows it */
};
/* Which provider gets a call. ERR_MODEL_NOT_FOUND (the message lists the known names) or ERR_INVALID (no provider of this model speaks the dialect; the message
 * names the right endpoint). */
WARN_UNUSED enum errc snapshot_route(const struct workspace_view *w, enum dialect d, str model, struct route_choice *out, err *e);

/* Whether a rule names the model (alias, a provider's models, PROVIDER/MODEL): what GET /v1/models/NAME knows. */
bool snapshot_names(const struct workspace_view *w, str model, struct route_choice *out);

/* The secret of this text, or NULL. Constant time in the key's content. */
const struct key_secret *snapshot_secret(const struct snapshot *s, str text);
const struct key_secret *snapshot_secret_by_hash(const struct snapshot *s, const uint8_t sha256[SHA256_LEN]);
const struct virtual_key *snapshot_key_by_id(const struct snapshot *s, const uuid *id);
/* Whether calls are taken with it now; ERR_UNAUTHENTICATED with the reason. */
WARN_UNUSED enum errc key_secret_check(const struct key_secret *secret, usec now_us, err *e);
/* Whether the key may use the model as asked for or as routed, and the provider; ERR_FORBIDDEN with what it may use. */
WARN_UNUSED enum errc virtual_key_allows(const struct virtual_key *key, str asked, const struct route_choice *choice, err *e);

/* NULL when the snapshot does not know the workspace. */
const struct workspace_view *snapshot_workspace(const struct snapshot *s, const uuid *id);
/* The counter of this scope and period, when a budget looks at it. */
struct budget_counter *snapshot_counter(const struct snapshot *s, enum budget_scope scope, const uuid *scope_id, enum budget_period period);
/* The hard budget of the lowest limit on this one's counter. */
const struct budget *snapshot_hard_budget(const struct snapshot *s, const struct budget *b);

/* One entry of the lists of models, as an object. provider may be NULL (an alias that leads nowhere). */
void snapshot_write_model(struct json_writer *w, str model, const struct provider *provider, bool is_anthropic);
/* Each model that a list would show, once: aliases (provider NULL when nothing serves them), configured names, and what the price list knows for a pattern. */
typedef void (*snapshot_model_fn)(void *ctx, str model, const struct provider *provider);
WARN_UNUSED enum errc snapshot_models(const struct workspace_view *w, enum dialect d, snapshot_model_fn fn, void *ctx);

/* "POST /v1/messages" and so on. */
const char *dialect_endpoint(enum dialect d);

#endif
