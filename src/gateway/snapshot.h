/* snapshot.h - providers, aliases, keys and prices as one immutable value that every call is decided by.
 *
 * Loaded from the configuration; nothing else looks models or keys up. Built in one arena and never changed afterwards.
 * Threads: immutable; shared by all loops.
 */
#ifndef GATEWAY_SNAPSHOT_H
#define GATEWAY_SNAPSHOT_H

#include "base/crypto.h"
#include "base/map.h"
#include "core/config.h"
#include "gateway/kinds.h"
#include "gateway/prices.h"
#include "json/write.h"
#include "net/client.h"

struct provider {
    str name;
    unsigned index;              /* in the snapshot; pools are numbered alike */
    const struct provider_kind *kind;
    str *models;                 /* globs */
    unsigned n_models;
    bool has_own_models;         /* the configuration names them */
    unsigned dialects;           /* bit set */
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
};

struct virtual_key {
    uint8_t sha256[SHA256_LEN];
    uint8_t id[16];
    str name, project;
};

struct snapshot {
    struct arena arena;
    struct provider *providers;
    unsigned n_providers;
    struct map aliases;          /* name -> struct alias */
    struct map keys;             /* SHA-256 -> struct virtual_key */
    struct price_book *prices;
    SSL_CTX *tls;                /* for upstream connections */
    str models_openai, models_anthropic; /* answers of GET /v1/models */
    str known_models;            /* for messages: patterns and aliases, cut to a readable length */
};

/* Builds it from a checked configuration. One line per problem goes into problems, ERR_CONFIG then. */
WARN_UNUSED enum errc snapshot_load(struct snapshot **out, const struct config *config, struct buf *problems, err *e);
void snapshot_free(struct snapshot *s);

struct route_choice {
    const struct provider *provider;
    str model;      /* as the provider knows it */
};
/* Which provider gets a call. ERR_MODEL_NOT_FOUND (the message lists the known names) or ERR_INVALID (no provider of this model speaks the dialect; the message
 * names the right endpoint). */
WARN_UNUSED enum errc snapshot_route(const struct snapshot *s, enum dialect d, str model, struct route_choice *out, err *e);

/* Whether a rule names the model (alias, a provider's models, PROVIDER/MODEL): what GET /v1/models/NAME knows. */
bool snapshot_names(const struct snapshot *s, str model, struct route_choice *out);

/* The key of this text, or NULL. Constant time in the key's content. */
const struct virtual_key *snapshot_key(const struct snapshot *s, str text);

/* One entry of the lists of models, as an object. provider may be NULL (an alias that leads nowhere). */
void snapshot_write_model(struct json_writer *w, str model, const struct provider *provider, bool is_anthropic);

/* "POST /v1/messages" and so on. */
const char *dialect_endpoint(enum dialect d);

#endif
