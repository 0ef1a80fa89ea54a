/* Rate limits: of a project here, of a key with the key. */
#include "gateway/admin/admin.h"
#include "projects/projects.h"

#define COLUMNS "requests_per_minute, tokens_per_minute, parallel_calls, version"

SQL(limits_get, DB_MAIN, 0, "uu", "SELECT " COLUMNS " FROM gateway_project_limits WHERE workspace_id = $1 AND project_id = $2");
SQL(limits_put, DB_MAIN, 0, "uuiiiii",
    "INSERT INTO gateway_project_limits (workspace_id, project_id, requests_per_minute, tokens_per_minute, parallel_calls, version, updated_us) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (project_id) DO UPDATE SET requests_per_minute = excluded.requests_per_minute, "
    "tokens_per_minute = excluded.tokens_per_minute, parallel_calls = excluded.parallel_calls, version = excluded.version, "
    "updated_us = excluded.updated_us");

#define LIMIT_FIELD(member_, meaning_) \
    FIELD(struct limits_view, member_, FIELD_INT, .min = 1, .max = 1000000000, .flags = FIELD_NULLABLE, .meaning = meaning_)
static const struct field fields[] = {
    LIMIT_FIELD(requests_per_minute, "Calls a minute; null: no limit."),
    LIMIT_FIELD(tokens_per_minute, "Tokens a minute, of input and output; null: no limit."),
    LIMIT_FIELD(parallel_calls, "Calls at the same time; null: no limit."),
};
const struct shape limits_shape = SHAPE("Limits", struct limits_view, fields, "Rate limits.");

static int64_t shown(int64_t limit) { return limit ? limit : NO_VALUE; }
static int64_t stored(int64_t limit) { return limit == NO_VALUE ? 0 : limit; }

struct limits_view limits_view_of(const struct rate_limits *l)
{
    return (struct limits_view){shown(l->requests_per_minute), shown(l->tokens_per_minute), shown(l->parallel_calls)};
}

struct rate_limits rate_limits_of(const struct limits_view *v)
{
    return (struct rate_limits){stored(v->requests_per_minute), stored(v->tokens_per_minute), stored(v->parallel_calls)};
}

static enum errc load(struct api_request *r, struct tx *tx, struct limits_view *out, int64_t *version, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, &limits_get, PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[0])), &rows, e);
    *out = (struct limits_view){NO_VALUE, NO_VALUE, NO_VALUE};
    *version = 0;
    if (rc == ERR_NONE && rows.n) {
        const struct val *row = row_at(&rows, 0);
        *out = (struct limits_view){shown(val_int(&row[0])), shown(val_int(&row[1])), shown(val_int(&row[2]))};
        *version = val_int(&row[3]);
    }
    return rc;
}

static enum errc show(struct api_request *r, struct tx *tx, err *e)
{
    struct limits_view *v = arena_new(r->arena, struct limits_view);
    int64_t version;
    if (!v)
        return err_code(e, ERR_TOO_LARGE);
    r->answer = v;
    enum errc rc = load(r, tx, v, &version, e);
    r->etag = api_etag(r, version);
    return rc;
}

static enum errc replace(struct api_request *r, struct tx *tx, err *e)
{
    struct limits_view before;
    const struct limits_view *after = r->body;
    struct rate_limits l = rate_limits_of(after);
    int64_t version;
    enum errc rc = load(r, tx, &before, &version, e);
    if (rc != ERR_NONE || (rc = api_if_match(r, api_etag(r, version), e)) != ERR_NONE)
        return rc;
    r->answer = r->body;
    if (memcmp(&before, after, sizeof before) != 0) {
        struct event ev = admin_event(r, version ? S("limits.updated") : S("limits.created"), 0, S("limit"), &r->path_id[0], &limits_shape, version ? &before : NULL, after);
        rc = tx_exec(tx, &limits_put,
                     PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[0]), v_int(l.requests_per_minute), v_int(l.tokens_per_minute),
                            v_int(l.parallel_calls), v_int(++version), v_int(r->now_us)),
                     NULL, e);
        if (rc == ERR_NONE)
            rc = tx_event(tx, &ev, e);
    }
    r->etag = api_etag(r, version);
    return rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_GET, .path = "/api/gateway/limits/:project_id", .name = "gateway_limits_show", .access = ACCESS_PERMISSION,
     .permission = PERMISSION_OPTIMIZER_READ, .scope = SCOPE_WORKSPACE, .resource = &project_id_resource, .answer = &limits_shape,
     .summary = "The rate limits of a project", .apply = show},
    {.method = HTTP_PUT, .path = "/api/gateway/limits/:project_id", .name = "gateway_limits_replace", .access = ACCESS_PERMISSION,
     .permission = PERMISSION_BUDGETS_MANAGE, .scope = SCOPE_WORKSPACE, .effect = EFFECT_STATE, .resource = &project_id_resource,
     .body = &limits_shape, .answer = &limits_shape, .summary = "Sets the rate limits of a project",
     .text = "They hold for all calls of keys that are bound to it, together.", .apply = replace, .after = admin_after},
};
const struct api_table gateway_limits_api = {"gateway", routes, LENGTH_OF(routes)};
