/* admin.h - the gateway's endpoints under /api: a file for each noun, with its SQL. Their service is the struct gateway.
 *
 * A change is in force when its answer goes out: `after` builds the next snapshot. What stands in the configuration file is shown beside it in lists (origin
 * "file", always of the first workspace) and is changed nowhere else.
 * Threads: the API pool.
 */
#ifndef GATEWAY_ADMIN_ADMIN_H
#define GATEWAY_ADMIN_ADMIN_H

#include "core/api.h"
#include "core/events.h"
#include "gateway/admin/rows.h"
#include "gateway/internal.h"

/* Builds the next snapshot. */
void admin_after(struct api_request *r);
/* The workspace's view in the latest snapshot, which the caller puts back; NULL (and nothing to put back) when there is none. */
const struct workspace_view *admin_view(const struct api_request *r, struct snapshot **held);
/* Whether the file's entries are this workspace's. */
static inline bool admin_has_file(const struct workspace_view *w) { return w && w == &w->snapshot->workspaces[0]; }

struct event admin_event(const struct api_request *r, str type, str resource_type, const uuid *id, const struct shape *shape, const void *before,
                         const void *after);
str admin_origin(bool is_from_file); /* "file" or "database" */
/* A list of texts for an answer. */
WARN_UNUSED enum errc admin_texts(struct arena *a, str json, struct texts *out, err *e);

/* --- limits.c --- */
struct limits_view {
    int64_t requests_per_minute, tokens_per_minute, parallel_calls; /* NO_VALUE: none */
};
extern const struct shape limits_shape;
struct limits_view limits_view_of(const struct rate_limits *l);
struct rate_limits rate_limits_of(const struct limits_view *v);

/* --- budgets.c --- */
struct budget_view {
    uuid id;
    str scope;
    uuid scope_id;
    str scope_name, period;
    int64_t limit;
    bool is_hard;
    str alerts_at; /* JSON list of percents */
    int64_t unknown_price_cap;
    int64_t spent, reserved, left;
    usec period_start, resets_at;
    str origin;
    usec created_at, updated_at;
    int64_t version;
};
extern const struct shape budget_shape;
/* Fills in what was spent, from the snapshot. */
void budget_view_fill(const struct snapshot *s, struct budget_view *v, usec now_us);
/* A key's first budget, or NULL; in the arena. */
WARN_UNUSED enum errc budget_of_key(struct tx *tx, struct arena *a, const uuid *workspace, const uuid *key, struct budget_view **out, err *e);
struct budget_view *budget_of_file_key(struct arena *a, const struct snapshot *s, const struct virtual_key *key);
WARN_UNUSED enum errc budget_insert(struct tx *tx, const uuid *workspace, const struct budget_view *b, err *e);
WARN_UNUSED enum errc budgets_delete_of(struct tx *tx, const uuid *workspace, const uuid *scope_id, err *e);

#endif
