/* snapshot_build.h - how a snapshot comes to be: the file's part (a base), rows of the database, and the snapshot before it, whose counters go on.
 *
 * Threads: one builder at a time; a base is immutable and reference-counted.
 */
#ifndef GATEWAY_SNAPSHOT_BUILD_H
#define GATEWAY_SNAPSHOT_BUILD_H

#include "gateway/snapshot.h"

struct provider_times {
    uint64_t connect_ms, first_byte_ms, stall_ms, total_ms; /* 0: the common one */
};

struct provider_spec {
    uuid id, workspace_id;
    str name, kind, base_url, api_key; /* base_url empty: the kind's */
    const str *models;
    unsigned n_models;
    bool has_models;                   /* else the kind's */
    bool has_dialects;                 /* else the kind's */
    unsigned dialects;                 /* bit set */
    struct provider_times times;
    const struct json *prices;         /* or NULL */
    bool is_from_file;
};

struct alias_spec {
    uuid workspace_id;
    str name, model;
    bool is_from_file;
};

#define KEY_SECRETS_MAX 2
struct key_spec {
    uuid id, workspace_id;
    str name, project;
    uuid project_id, user_id;
    struct {
        uint8_t sha256[SHA256_LEN];
        usec expires_us;               /* INT64_MAX: as long as the key */
    } secrets[KEY_SECRETS_MAX];
    unsigned n_secrets;
    const str *models, *providers;
    unsigned n_models, n_providers;
    bool is_enabled, is_from_file;
    bool is_left_behind;               /* bound to somebody who is no member any more */
    usec expires_us;
    struct rate_limits limits;
};

struct project_spec {
    uuid id, workspace_id;
    str name;
    struct rate_limits limits;
};

/* What the database has, in the order in which it was made. Budgets are without their counters. */
struct snapshot_rows {
    const uuid *workspaces;
    const struct provider_spec *providers;
    const struct alias_spec *aliases;
    const struct key_spec *keys;
    const struct budget *budgets;
    const struct project_spec *projects;
    unsigned n_workspaces, n_providers, n_aliases, n_keys, n_budgets, n_projects;
    int64_t log_number; /* of the log when they were read */
};

/* --- the file's part --- */

struct snapshot_base {
    atomic_uint refs;
    struct arena arena;
    struct outbound *outbound;         /* the way to providers */
    SSL_CTX *tls;                      /* for upstream connections */
    uint8_t tls_hash[SHA256_LEN];      /* of what it was made from */
    struct price_book *prices;
    struct provider_times times;       /* the common ones */
    uint64_t idle_timeout_ms;
    unsigned idle_connections;
    struct snapshot_rows rows;         /* workspace ids are nil: the first one */
};

/* Reads a checked configuration, environment variables and files that it names. One line per problem goes into problems, ERR_CONFIG then. before (may
 * be NULL) is the one that this replaces: connections to providers can be kept when both trust the same authorities. */
WARN_UNUSED enum errc snapshot_base_load(struct snapshot_base **out, const struct config *config, const struct snapshot_base *before,
                                         struct buf *problems, err *e);
struct snapshot_base *snapshot_base_get(struct snapshot_base *b);
void snapshot_base_put(struct snapshot_base *b);

/* --- building --- */

/* What a new counter has to start with. */
struct spent_query {
    enum budget_scope scope;
    uuid scope_id;
    int32_t from_day;                  /* this day and later ones */
    int64_t nanousd;                   /* the result */
};

struct snapshot_source {
    struct snapshot_base *base;
    const struct snapshot_rows *rows;  /* NULL: only the file */
    const struct snapshot *before;     /* counters that it has too are taken over; NULL: none */
    struct rate_pool *rates;           /* for new counters; NULL: nobody to share them with */
    uint64_t version;
    usec now_us;
    bool is_shared;                    /* other nodes may spend from the same budgets */
    /* NULL: nothing was spent. Called once, and only when there are new counters. */
    enum errc (*spent)(void *ctx, struct spent_query *queries, unsigned n, err *e);
    void *ctx;
};
/* One reference. Rows that cannot be used (an unknown kind, a bad URL) are left out and logged; ERR_NO_MEMORY, ERR_TOO_LARGE, and what spent returns. */
WARN_UNUSED enum errc snapshot_build(struct snapshot **out, const struct snapshot_source *source, err *e);

/* Both, from the file alone. */
WARN_UNUSED enum errc snapshot_load(struct snapshot **out, const struct config *config, struct buf *problems, err *e);

/* Text that can stand in a header field. */
bool text_is_visible(str s);
/* 1 to 64 letters, digits, '-', '_' or '.'. */
bool provider_name_is_good(str s);
/* The id of what has only a name (the file's entries): the first 16 bytes of SHA-256 of what it is and its name. */
uuid id_of_name(const char *what, str name);

#endif
