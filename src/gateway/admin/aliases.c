/* Aliases: other names for models. */
#include "gateway/admin/admin.h"

SQL(alias_get, DB_MAIN, 0, "ut", "SELECT name, model, updated_us FROM gateway_aliases WHERE workspace_id = $1 AND name = $2");
SQL(alias_list, DB_MAIN, 0, "u", "SELECT name, model, updated_us FROM gateway_aliases WHERE workspace_id = $1");
SQL(alias_put, DB_MAIN, 0, "utti",
    "INSERT INTO gateway_aliases (workspace_id, name, model, updated_us) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (workspace_id, name) DO UPDATE SET model = excluded.model, updated_us = excluded.updated_us");
SQL(alias_delete, DB_MAIN, 0, "ut", "DELETE FROM gateway_aliases WHERE workspace_id = $1 AND name = $2");

struct alias_view {
    str name, model, origin;
    usec updated_at;
};
static const struct field fields[] = {
    FIELD(struct alias_view, name, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "What clients ask for."),
    FIELD(struct alias_view, model, FIELD_TEXT, .min = 1, .max = 200, .format = FORMAT_LINE, .flags = FIELD_REQUIRED,
          .meaning = "What they get: MODEL, or PROVIDER/MODEL."),
    FIELD(struct alias_view, origin, FIELD_ONE_OF, .choices = "database|file", .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "Where it is defined; one of the file is changed there."),
    FIELD(struct alias_view, updated_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE, .meaning = "When it was changed last."),
};
static const struct shape alias_shape = SHAPE("Alias", struct alias_view, fields, "Another name for a model.");

static void read_row(const struct val *row, struct alias_view *v)
{
    *v = (struct alias_view){.name = val_str(&row[0]), .model = val_str(&row[1]), .updated_at = val_int(&row[2]), .origin = S("database")};
}

/* An alias has no id: events name the workspace, and the alias by its members. */
static struct event alias_event(const struct api_request *r, str type, const struct alias_view *before, const struct alias_view *after)
{
    uuid id = id_of_name("alias", after ? after->name : before->name);
    return admin_event(r, type, S("alias"), &id, &alias_shape, before, after);
}

static enum errc find(struct api_request *r, struct tx *tx, str name, struct alias_view *out, bool *is_there, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, &alias_get, PARAMS(v_uuid(&r->workspace_id), v_text(name)), &rows, e);
    *is_there = rc == ERR_NONE && rows.n;
    if (*is_there)
        read_row(row_at(&rows, 0), out);
    return rc;
}

static enum errc is_of_file(struct api_request *r, str name, err *e)
{
    struct snapshot *s;
    const struct workspace_view *w = admin_view(r, &s);
    const struct alias *alias = w ? map_get(&w->aliases, name) : NULL;
    bool is_file = alias && alias->is_from_file;
    snapshot_put(s);
    return is_file ? err_set(e, ERR_CONFLICT, "the alias '%.*s' is defined in the configuration file and is changed there", STR(name)) : ERR_NONE;
}

static enum errc list(struct api_request *r, struct tx *tx, err *e)
{
    struct keyset key = {.column = "name", .param = 't', .cursor = r->cursor, .limit = r->limit};
    struct snapshot *s;
    const struct workspace_view *w = admin_view(r, &s);
    struct rows rows;
    unsigned n = 0;
    enum errc rc = tx_list(tx, r->arena, &alias_list, PARAMS(v_uuid(&r->workspace_id)), NULL, 0, &key, &rows, &r->next_cursor, e);
    struct alias_view *all = rc == ERR_NONE ? arena_news(r->arena, struct alias_view, rows.n + (w ? w->aliases.n : 0) + 1u) : NULL;
    str name;
    void *value;
    for (size_t it = 0; all && w && !r->cursor.len && map_next(&w->aliases, &it, &name, &value);) {
        const struct alias *alias = value;
        if (!alias->is_from_file)
            continue;
        all[n] = (struct alias_view){.name = str_dup(r->arena, name), .origin = S("file"), .updated_at = NO_VALUE};
        all[n++].model = alias->provider ? arena_printf(r->arena, "%.*s/%.*s", STR(alias->provider->name), STR(alias->model)) : str_dup(r->arena, alias->model);
    }
    snapshot_put(s);
    if (rc != ERR_NONE || !all)
        return rc != ERR_NONE ? rc : err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++)
        read_row(row_at(&rows, i), &all[n++]);
    r->items = (struct objects){all, n};
    return ERR_NONE;
}

static enum errc put_prepare(struct api_request *r, err *e)
{
    str name = r->path_text[0];
    const struct alias_view *body = r->body;
    bool is_fine = name.len > 0 && name.len <= 200 && text_is_visible(name);
    if (!is_fine)
        return api_field_error(r, e, "name", "bad_format", "must be 1 to 200 visible ASCII characters");
    if (str_eq(name, body->model))
        return api_field_error(r, e, "model", "bad_format", "must not be the alias itself");
    return is_of_file(r, name, e);
}

static enum errc put(struct api_request *r, struct tx *tx, err *e)
{
    struct alias_view before, *after = r->body;
    bool is_there;
    after->name = r->path_text[0];
    after->origin = S("database");
    after->updated_at = r->now_us;
    r->answer = after;
    enum errc rc = find(r, tx, after->name, &before, &is_there, e);
    if (rc != ERR_NONE || (is_there && str_eq(before.model, after->model)))
        return rc;
    struct event ev = alias_event(r, is_there ? S("alias.updated") : S("alias.created"), is_there ? &before : NULL, after);
    rc = tx_exec(tx, &alias_put, PARAMS(v_uuid(&r->workspace_id), v_text(after->name), v_text(after->model), v_int(r->now_us)), NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static enum errc delete_prepare(struct api_request *r, err *e) { return is_of_file(r, r->path_text[0], e); }

static enum errc remove_alias(struct api_request *r, struct tx *tx, err *e)
{
    struct alias_view before;
    bool is_there;
    enum errc rc = find(r, tx, r->path_text[0], &before, &is_there, e);
    if (rc != ERR_NONE || !is_there)
        return rc != ERR_NONE ? rc : err_set(e, ERR_NOT_FOUND, "there is no such alias");
    struct event ev = alias_event(r, S("alias.deleted"), &before, NULL);
    rc = tx_exec(tx, &alias_delete, PARAMS(v_uuid(&r->workspace_id), v_text(before.name)), NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_GET, .path = "/api/gateway/aliases", .name = "gateway_aliases_list", .access = ACCESS_PERMISSION,
     .permission = PERMISSION_OPTIMIZER_READ, .scope = SCOPE_WORKSPACE, .answer = &alias_shape, .is_list = true, .summary = "Aliases by name",
     .text = "Those of the configuration file come first.", .apply = list},
    {.method = HTTP_PUT, .path = "/api/gateway/aliases/:name", .name = "gateway_aliases_put", .access = ACCESS_PERMISSION,
     .permission = PERMISSION_LLM_PROVIDERS, .scope = SCOPE_WORKSPACE, .effect = EFFECT_STATE, .body = &alias_shape, .answer = &alias_shape,
     .summary = "Makes or changes an alias", .prepare = put_prepare, .apply = put, .after = admin_after},
    {.method = HTTP_DELETE, .path = "/api/gateway/aliases/:name", .name = "gateway_aliases_delete", .access = ACCESS_PERMISSION,
     .permission = PERMISSION_LLM_PROVIDERS, .scope = SCOPE_WORKSPACE, .effect = EFFECT_STATE, .status = 204, .summary = "Deletes an alias",
     .prepare = delete_prepare, .apply = remove_alias, .after = admin_after},
};
const struct api_table gateway_aliases_api = {"gateway", routes, LENGTH_OF(routes)};
